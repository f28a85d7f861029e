//! A currency is declared once, as an entry of the journal, and shown as it was declared.

use serde_json::{Value, json};

use crate::trial::World;

fn define(code: &str, scale: u8) -> (&'static str, Value) {
    ("currencies.define", json!({"code": code, "scale": scale}))
}

#[test]
fn what_was_declared_is_shown() {
    let mut world = World::default();
    let declared = world.send(0, define("PTS", 3)).ok().clone();
    assert_eq!(declared["currency"], json!({"id": "PTS", "scale": 3, "version": 1}));
    assert_eq!((&declared["postings"], &declared["events"]), (&json!([]), &json!([])));
    let read = |id: &str| ("currencies.read", json!({"id": id}));
    let shown = world.send(1, read("PTS")).ok().clone();
    assert_eq!(shown["currency"], declared["currency"]);
    for other in ["pts", "SAR", "no code"] {
        assert_eq!(world.send(1, read(other)).no("currency_not_found")["id"], other);
    }
}

#[test]
fn declaring_one_is_an_entry_of_the_journal_and_begins_it() {
    let mut world = World::default();
    world.send(0, define("PTS", 3)).ok();
    world.send(0, define("PTS", 3)).no("currency_exists");
    world.send(0, define("KM", 0)).ok();
    let entries: Vec<_> = world
        .stored()
        .into_iter()
        .filter(|stored| stored.key.kind.name() == "entries")
        .map(|entry| (entry.record["seq"].clone(), entry.record["command"].clone()))
        .collect();
    let entry = |seq: u64| (json!(seq), json!("currencies.define"));
    assert_eq!(entries, [entry(1), entry(2)]);
}
