//! Claims about messages and their signatures.

use bellpunch::{Digest, Versions};

use super::*;

fn entry(events: Vec<Value>) -> Entry {
    Entry {
        seq: 7,
        at: Timestamp::EPOCH,
        command: "retainers.consume".to_owned(),
        content: json!({ "id": "r" }),
        versions: Versions::new(),
        events,
        previous: Digest::new([0; 32]),
        hash: Digest::new([0; 32]),
    }
}

fn wanted(events: &[&str], commands: &[&str]) -> Wanted {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Wanted { events: owned(events), commands: owned(commands) }
}

fn of(name: &str) -> Partition {
    Partition::new(name).unwrap()
}

/// The example of the specification, whose signature was made by others.
#[test]
fn signs_as_the_specification_does() {
    let secrets = Secrets::read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    let id = "msg_p5jXN8AQM9LWM0D4loKWxJek".to_owned();
    let message = Message { id, body: Bytes::from_static(br#"{"test": 2432232314}"#) };
    let signature = secrets.sign(&message, "1614265330");
    assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[test]
fn each_secret_signs_and_what_is_none_is_refused() {
    let one = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let two = Secrets::read(&format!("{one}\n{one}\n")).unwrap();
    let message = Message { id: "m".to_owned(), body: Bytes::new() };
    assert_eq!(two.sign(&message, "1").split(' ').count(), 2);
    let short = format!("whsec_{}", STANDARD.encode([7; 23]));
    let long = format!("whsec_{}", STANDARD.encode([7; 65]));
    let many = format!("{one}\n").repeat(5);
    for text in ["", "\n", "secret", "whsec_!", &short, &long, &many] {
        assert!(Secrets::read(text).is_err(), "{text:?}");
    }
}

#[test]
fn an_entry_has_a_message_for_each_event_that_is_wanted() {
    let low = json!({ "event": "low_balance", "retainer": "r", "balance": 40 });
    let empty = json!({ "event": "retainer_depleted", "retainer": "r" });
    let entry = entry(vec![low, empty]);
    let told = |wanted: &Wanted| -> Vec<Value> {
        let messages = wanted.messages("w", (&of("acme"), &entry));
        messages.iter().map(|one| serde_json::from_slice(&one.body).unwrap()).collect()
    };
    let all = told(&wanted(&["*"], &["retainers.*"]));
    let types: Vec<&str> = all.iter().map(|one| one["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["retainers.consume", "low_balance", "retainer_depleted"]);
    assert_eq!(
        all[1],
        json!({
            "type": "low_balance", "timestamp": "1970-01-01T00:00:00Z", "partition": "acme",
            "seq": 7, "command": "retainers.consume", "data": { "retainer": "r", "balance": 40 },
        })
    );
    assert_eq!(told(&wanted(&["retainer_depleted"], &[])), all[2..]);
    assert!(told(&wanted(&["invoice_paid"], &["quotas.consume"])).is_empty());
    assert_eq!(told(&wanted(&[], &["*"])), all[..1]);
}

#[test]
fn an_id_names_one_message_of_one_place_for_ever() {
    let both = || entry(vec![json!({ "event": "a" }), json!({ "event": "a" })]);
    let ids = |webhook: &str, name: &str, entry: &Entry| -> Vec<String> {
        let messages = wanted(&["*"], &["*"]).messages(webhook, (&of(name), entry));
        messages.into_iter().map(|one| one.id).collect()
    };
    assert_eq!(ids("w", "acme", &both()), ids("w", "acme", &both()));
    let next = Entry { seq: 8, ..both() };
    let all = [ids("w", "acme", &both()), ids("x", "acme", &both()), ids("w", "b", &both())];
    let mut all: Vec<String> = all.into_iter().flatten().chain(ids("w", "acme", &next)).collect();
    // What two names have between them tells them apart.
    all.extend(ids("wa", "cme", &both()));
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 15);
}
