use serde_json::{Value, json};

use super::{Stored, audit};
use crate::{Digest, Entry, Kind, RecordId, RecordKey, Timestamp, Version};

fn stored(kind: &str, id: &str, record: Value) -> Stored {
    let key = RecordKey { kind: Kind::named(kind), id: RecordId::stored(id) };
    Stored { key, version: Version::new(1), record }
}

fn at(second: u8) -> String {
    format!("2026-01-01T00:00:{second:02}Z")
}

fn checks(records: &[Stored]) -> Vec<&'static str> {
    let now: Timestamp = at(30).parse().unwrap();
    audit(records.iter().cloned(), now).into_iter().map(|finding| finding.check).collect()
}

/// A partition in which everything agrees.
fn sound() -> Vec<Stored> {
    [of_limits(), of_tickets_and_uploads(), journal()].concat()
}

/// Three entries and their tail.
fn journal() -> Vec<Stored> {
    let mut previous = Digest::new([0; 32]);
    let mut records = Vec::new();
    for seq in 1..=3_u8 {
        let entry = Entry {
            seq: seq.into(),
            at: at(seq).parse().unwrap(),
            command: "quotas.consume".to_owned(),
            content: json!({"id": "q", "units": seq}),
            versions: [("quotas/q".to_owned(), Version::new(seq.into()))].into(),
            events: Vec::new(),
            previous,
            hash: previous,
        };
        let entry = entry.sealed();
        previous = entry.hash;
        let id = Entry::id(seq.into());
        records.push(stored("entries", id.as_str(), serde_json::to_value(entry).unwrap()));
    }
    records.push(stored("journal", "tail", json!({"seq": 3, "hash": previous})));
    records
}

fn of_limits() -> Vec<Stored> {
    let totals =
        json!({"opening": "1", "charged": "9", "refunded": "2", "forgiven": "3", "pruned": "4"});
    let item = |units: u64| {
        json!({"target": {"quota": "q"}, "units": units, "used": 5, "held": 2,
        "limit": 7, "epoch": [1, 0]})
    };
    let mut refunded = item(4);
    refunded["refunded"] = json!([2, at(3)]);
    vec![
        stored(
            "quotas",
            "q",
            json!({"limit": 7, "used": 5, "charges": "for_ever",
            "totals": totals, "holds": [{"id": "h", "units": 2, "expires_at": at(40)},
            {"id": "over", "units": 9, "expires_at": at(30)}]}),
        ),
        stored("quotas", "new", json!({"limit": 7, "used": 0, "charges": "none"})),
        stored(
            "quotas",
            "few",
            json!({"limit": 7, "used": 3, "charges": "none",
            "totals": {"charged": "3", "pruned": "3"}}),
        ),
        stored("charges", "c1", json!({"items": [refunded], "at": at(1)})),
        stored("charges", "c2", json!({"items": [item(1)], "at": at(2), "hold": "g"})),
        stored(
            "holds",
            "g",
            json!({"items": [{"item": {"quota": "q", "units": 1}, "held": 1}],
            "created_at": at(1), "expires_at": at(50),
            "end": {"captured": {"at": at(2), "charge": "c2"}}}),
        ),
        stored(
            "holds",
            "h",
            json!({"items": [{"item": {"quota": "q", "units": 2}, "held": 2}],
            "created_at": at(1), "expires_at": at(40)}),
        ),
        stored(
            "holds",
            "over",
            json!({"items": [{"item": {"quota": "q", "units": 9}, "held": 9}],
            "created_at": at(1), "expires_at": at(30)}),
        ),
        stored("policies", "p", json!({"changes": [{"terms": {}}, {"terms": {"max_keys": 2}}]})),
        stored("key_counts", "p", json!({"count": 1, "epoch": [1, 0]})),
        stored("counters", "1:pk", json!({"policy_epoch": [1, 0]})),
        stored("counters", "1:pold", json!({"policy_epoch": [0, 0]})),
    ]
}

fn of_tickets_and_uploads() -> Vec<Stored> {
    vec![
        stored(
            "tickets",
            "t1",
            json!({"status": "used", "holder": "c", "audience": "s",
            "issued_at": at(1), "expires_at": at(20), "approved_at": at(2), "partial": true,
            "max_amount": {"amount": 9, "unit": "use"},
            "used": {"at": at(3), "by": "s", "amount": {"amount": 4, "unit": "use"}}}),
        ),
        stored(
            "tickets",
            "t2",
            json!({"status": "pending", "holder": "c", "audience": "s",
            "issued_at": at(1), "expires_at": at(40), "partial": true,
            "max_amount": {"amount": 9, "unit": "use"}}),
        ),
        stored(
            "ticket_issues",
            "1:cs",
            json!({"pending": [
            {"ticket": "t2", "expires_at": at(40)}, {"ticket": "t0", "expires_at": at(9)}]}),
        ),
        stored(
            "uploads",
            "u",
            json!({"status": "completed", "charge": [{"quota": "q"}],
            "hold": "g", "charged": "c2", "size_limit": 10, "pending_until": at(50),
            "payload": {"size": 10, "generation": 1}, "max_downloads": 1, "downloads": 1,
            "completed_at": at(2)}),
        ),
    ]
}

#[test]
fn finds_nothing_where_everything_agrees() {
    let now: Timestamp = at(30).parse().unwrap();
    assert_eq!(audit(sound(), now), []);
}

/// Changes one value of the sound partition and gives what the audit then finds.
fn changed(id: &str, pointer: &str, value: Value) -> Vec<&'static str> {
    let mut records = sound();
    let record = records.iter_mut().find(|stored| stored.key.to_string() == id).unwrap();
    *record.record.pointer_mut(pointer).unwrap() = value;
    checks(&records)
}

#[test]
fn finds_each_thing_that_does_not_agree() {
    for (id, pointer, value, check) in [
        ("quotas/q", "/used", json!(6), "usage_matches_totals"),
        ("quotas/new", "/used", json!(1), "usage_matches_totals"),
        ("quotas/few", "/totals/charged", json!("4"), "usage_matches_totals"),
        ("quotas/q", "/totals/pruned", json!("5"), "usage_matches_charges"),
        ("charges/c1", "/items/0/units", json!(5), "usage_matches_charges"),
        ("charges/c1", "/items/0/refunded/0", json!(1), "usage_matches_charges"),
        ("charges/c1", "/items/0/used", json!(6), "usage_within_limit"),
        ("quotas/q", "/holds/0/units", json!(3), "held_matches_holds"),
        ("quotas/q", "/holds/1/expires_at", json!(at(31)), "held_matches_holds"),
        ("holds/h", "/items/0/held", json!(1), "held_matches_holds"),
        ("holds/h", "/expires_at", json!(at(41)), "held_matches_holds"),
        ("holds/h", "/items/0/item/quota", json!("none"), "held_matches_holds"),
        ("charges/c2", "/hold", json!("h"), "captures_match_charges"),
        ("holds/g", "/end/captured/charge", json!("c1"), "captures_match_charges"),
        ("key_counts/p", "/count", json!(2), "keys_match_counters"),
        ("tickets/t1", "/used/at", json!(at(20)), "ticket_consistent"),
        ("tickets/t1", "/used/at", json!(at(1)), "ticket_consistent"),
        ("tickets/t1", "/used/amount/amount", json!(10), "ticket_consistent"),
        ("tickets/t1", "/partial", json!(false), "ticket_consistent"),
        ("tickets/t1", "/status", json!("cancelled"), "ticket_consistent"),
        ("tickets/t2", "/status", json!("approved"), "ticket_consistent"),
        ("ticket_issues/1:cs", "/pending/0/ticket", json!("t3"), "pending_matches_index"),
        ("tickets/t2", "/audience", json!("s2"), "pending_matches_index"),
        ("uploads/u", "/downloads", json!(2), "upload_states"),
        ("uploads/u", "/payload/size", json!(11), "upload_states"),
        ("uploads/u", "/completed_at", json!(at(50)), "upload_states"),
        ("uploads/u", "/charged", json!("c1"), "upload_matches_hold"),
        ("uploads/u", "/hold", json!("h"), "upload_matches_hold"),
        ("quotas/q", "/totals/opening", json!(-1), "record_readable"),
        ("entries/00000000000000000002", "/content/units", json!(9), "journal_intact"),
        ("entries/00000000000000000002", "/seq", json!(3), "journal_intact"),
        ("entries/00000000000000000002", "/at", json!(at(9)), "journal_intact"),
        ("entries/00000000000000000003", "/hash", json!("00".repeat(32)), "journal_intact"),
        ("entries/00000000000000000003", "/previous", json!("00".repeat(32)), "journal_intact"),
        ("journal/tail", "/seq", json!(2), "journal_intact"),
        ("journal/tail", "/hash", json!("00".repeat(32)), "journal_intact"),
    ] {
        let found = changed(id, pointer, value);
        assert!(found.contains(&check), "{id} {pointer}: {found:?}");
    }
}

#[test]
fn finds_an_entry_or_a_tail_that_is_gone() {
    for gone in ["entries/00000000000000000002", "entries/00000000000000000003", "journal/tail"] {
        let mut records = sound();
        records.retain(|stored| stored.key.to_string() != gone);
        assert_eq!(checks(&records).first(), Some(&"journal_intact"), "{gone}");
    }
}

#[test]
fn each_check_is_in_the_table_and_the_table_has_no_others() {
    let source = include_str!("../audit.rs");
    let rows = source.lines().filter_map(|line| line.strip_prefix("//! | `")?.split('`').next());
    let mut rows: Vec<&str> = rows.collect();
    let mut checks = super::CHECKS.to_vec();
    rows.sort_unstable();
    checks.sort_unstable();
    assert_eq!(rows, checks);
    let manual = include_str!("../../../../docs/operating/verify.md");
    let mut lines =
        source.lines().filter_map(|line| line.strip_prefix("//! ")?.strip_prefix("| `"));
    assert!(lines.all(|row| manual.contains(row)), "the manual has the same table");
    assert!(super::OF_THE_BOOK.iter().all(|check| checks.contains(check)));
}

#[test]
fn of_an_outcome_only_its_places_are_needed() {
    let outcome = stored("outcomes", "k", json!({"replies": [{"a": 1}], "seqs": [4, null]}));
    assert_eq!(outcome.needed().unwrap().record, json!({"seqs": [4, null]}));
    assert!(stored("outcomes", "k", json!({"replies": []})).needed().is_none());
    assert!(stored("quotas", "q", json!({"used": 1})).needed().is_some());
}
