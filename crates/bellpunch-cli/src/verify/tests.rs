//! Each check finds what was planted, and nothing where nothing was.

use bellpunch::{Kind, RecordId};

use super::*;

const NOW: &str = "2026-03-01T00:00:00Z";

fn findings(records: &[(&str, &str, Value)]) -> Vec<&'static str> {
    let partition = Partition::new("p").unwrap();
    let mut book = Book::new(&partition, NOW.parse().unwrap());
    let payloads = uploads::Payloads::none();
    for (kind, id, value) in records {
        let key = RecordKey { kind: Kind::named(*kind), id: RecordId::stored(id) };
        let stored = json!({"format": 1, "record": value}).to_string();
        let value = Some(stored.into_bytes().into());
        book.take(&key, &Versioned { value, ..Versioned::default() }, &payloads);
    }
    book.close().into_iter().map(|finding| finding.check).collect()
}

fn quota(used: u64, held: u64) -> (&'static str, &'static str, Value) {
    let holds = json!([
        {"id": "h", "units": held, "expires_at": "2026-03-01T00:00:01Z"},
        {"id": "over", "units": 9, "expires_at": NOW}
    ]);
    let totals = json!({
        "opening": "1", "charged": "9", "refunded": "1", "forgiven": "2", "pruned": "3"
    });
    ("quotas", "q", json!({"limit": 10, "used": used, "totals": totals, "holds": holds}))
}

fn charge(used: u64) -> (&'static str, &'static str, Value) {
    let items = json!([
        {"target": {"quota": "q"}, "units": 6, "used": used, "held": 0, "limit": 10,
         "refunded": [1, NOW]},
        {"target": {"policy": "p", "key": "k"}, "units": 6, "used": 6, "held": 0,
         "limit": "unlimited"}
    ]);
    ("charges", "c", json!({"items": items, "at": NOW}))
}

fn hold(units: u64) -> (&'static str, &'static str, Value) {
    let items = json!([{"item": {"quota": "q", "units": units}, "held": units}]);
    ("holds", "h", json!({"items": items, "expires_at": "2026-03-01T00:00:01Z"}))
}

#[test]
fn sums_that_agree_are_no_finding() {
    // used + forgiven = 7 + 2; opening + pruned + kept = 1 + 3 + 5.
    assert_eq!(findings(&[charge(6), hold(2), quota(7, 2)]), Vec::<&str>::new());
}

#[test]
fn a_lost_update_is_found_although_the_sum_stays_within_its_limit() {
    assert_eq!(findings(&[charge(6), hold(2), quota(6, 2)]), ["usage_matches_charges"]);
    assert_eq!(findings(&[hold(2), quota(7, 2)]), ["usage_matches_charges"]);
    assert_eq!(findings(&[charge(6)]), ["usage_matches_charges"]);
}

#[test]
fn held_units_are_those_of_open_holds() {
    assert_eq!(findings(&[charge(6), hold(3), quota(7, 2)]), ["held_matches_holds"]);
    assert_eq!(findings(&[charge(6), quota(7, 2)]), ["held_matches_holds"]);
    let mut ended = hold(2);
    ended.2["end"] = json!({"voided": {"at": NOW}});
    assert_eq!(findings(&[charge(6), ended, quota(7, 2)]), ["held_matches_holds"]);
}

#[test]
fn no_use_leaves_more_than_its_limit_but_a_capture_may() {
    assert_eq!(findings(&[charge(11), hold(2), quota(7, 2)]), ["usage_within_limit"]);
    let mut captured = charge(11);
    captured.2["hold"] = json!("h");
    assert_eq!(findings(&[captured, hold(2), quota(7, 2)]), Vec::<&str>::new());
}

fn used_ticket() -> Value {
    let amount = |amount: u64| json!({"amount": amount, "unit": "use"});
    json!({
        "status": "used", "max_amount": amount(5), "approved_at": "2026-02-01T00:00:00Z",
        "expires_at": NOW,
        "used": {"at": "2026-02-02T00:00:00Z", "by": "s", "amount": amount(5)}
    })
}

#[test]
fn a_ticket_has_the_fields_of_its_one_end() {
    let check = |ticket: Value| findings(&[("tickets", "t", ticket)]);
    assert_eq!(check(used_ticket()), Vec::<&str>::new());
    let mut both = used_ticket();
    both["closed"] = json!({"at": NOW});
    assert_eq!(check(both), ["ticket_terminal_fields"]);
    let mut unused = used_ticket();
    unused["used"] = Value::Null;
    assert_eq!(check(unused), ["ticket_terminal_fields"]);
    let mut late = used_ticket();
    late["used"]["at"] = json!(NOW);
    assert_eq!(check(late), ["ticket_times"]);
    let mut dear = used_ticket();
    dear["used"]["amount"]["amount"] = json!(6);
    assert_eq!(check(dear), ["ticket_amount"]);
}

#[test]
fn a_record_that_is_no_record_is_found() {
    let partition = Partition::new("p").unwrap();
    let mut book = Book::new(&partition, NOW.parse().unwrap());
    let key = RecordKey { kind: Kind::named("quotas"), id: RecordId::stored("q") };
    let value = Some(b"{".to_vec().into());
    let record = Versioned { value, ..Versioned::default() };
    book.take(&key, &record, &uploads::Payloads::none());
    assert_eq!(book.close().first().unwrap().check, "records_readable");
}

#[test]
fn a_completed_upload_has_its_bytes() {
    use std::sync::Arc;

    use bellpunch::store::{BlobStore as _, MemoryBlobs};
    use sha2::{Digest as _, Sha256};
    let blobs = Arc::new(MemoryBlobs::new(Arc::new(SystemClock::new()), 1 << 20));
    let mut writer = blobs.create(&bellpunch::uploads::BlobName::new("a").unwrap()).unwrap();
    writer.write(b"bytes").unwrap();
    writer.finish().unwrap();
    let payloads = uploads::Payloads::of(blobs);
    let sha256: String = Sha256::digest(b"bytes").iter().map(|b| format!("{b:02x}")).collect();
    let upload = |blob: &str, size: u64| {
        json!({
            "status": "completed", "max_downloads": "unlimited", "downloads": 0,
            "payload": {"blob": blob, "size": size, "sha256": sha256}
        })
    };
    let check = |upload: &Value| -> Vec<&str> {
        let found = payloads.check(upload, NOW.parse().unwrap());
        found.into_iter().map(|(check, ..)| check).collect()
    };
    assert_eq!(check(&upload("a", 5)), Vec::<&str>::new());
    assert_eq!(check(&upload("a", 6)), ["upload_payload"]);
    assert_eq!(check(&upload("b", 5)), ["upload_payload"]);
    let mut altered = upload("a", 5);
    altered["payload"]["sha256"] = json!("00");
    assert_eq!(check(&altered), ["upload_payload"]);
    let mut none = upload("a", 5);
    none["payload"] = Value::Null;
    assert_eq!(check(&none), ["upload_payload"]);
    let mut free = upload("a", 5);
    free["charge"] = json!([{"quota": "q", "units": 1}]);
    assert_eq!(check(&free), ["upload_charged"]);
    let mut swept = upload("b", 5);
    swept["expires_at"] = json!(NOW);
    assert_eq!(check(&swept), Vec::<&str>::new());
}
