//! The form that is digested.

use std::sync::Arc;

use bellpunch::store::fault::FaultStore;
use bellpunch::store::{MemoryConfig, MemoryStore};
use bellpunch::{RecordId, SystemClock, Timestamp, Version};

use super::*;
use crate::transfer::tests::{Change, put, write};

fn same(left: &str, right: &str) -> bool {
    meaning(left.as_bytes()) == meaning(right.as_bytes())
}

#[test]
fn json_is_compared_by_its_meaning() {
    for (left, right) in [
        (r#"{"a":1,"bb":[true,null]}"#, r#"{ "bb": [true, null], "a": 1 }"#),
        (r#"{"a":{"c":"\u00e9","b":"\/"}}"#, r#"{"a":{"b":"/","c":"é"}}"#),
        ("1.50", "1.5"),
        ("1e3", "1000"),
        ("0.001", "1E-3"),
        ("-0", "0.00"),
        ("340282366920938463463374607431768211456", "340282366920938463463374607431768211456.0"),
    ] {
        assert!(same(left, right), "{left} {right}");
    }
    for (left, right) in [
        ("1", "2"),
        ("1", "\"1\""),
        ("-1", "1"),
        ("10", "1"),
        ("9007199254740993", "9007199254740992"),
        ("18446744073709551617", "18446744073709551616"),
        ("0.30000000000000000001", "0.3"),
        ("[1,2]", "[2,1]"),
        (r#"{"a":null}"#, "{}"),
        ("null", ""),
        ("a", "b"),
        ("[[1],2]", "[[1,2]]"),
    ] {
        assert!(!same(left, right), "{left} {right}");
    }
    assert_ne!(meaning(b"\xff"), meaning(b"\xfe"), "what is no text is itself");
    let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    assert!(!same(&deep(250), &deep(251)), "what is too deep is itself");
}

#[test]
fn every_part_of_a_record_is_in_its_form() {
    let key =
        |kind: &str, id: &str| RecordKey { kind: Kind::named(kind), id: RecordId::stored(id) };
    let at = |nanos| Timestamp::from_nanos(nanos).unwrap();
    let record = |version, nanos, due: Option<u128>, content: Option<&str>| Versioned {
        version: Version::new(version),
        at: at(nanos),
        sweep_at: due.map(at),
        value: content.map(|content| content.as_bytes().into()),
    };
    let all = [
        (key("k", "i"), record(1, 1, None, Some("1"))),
        (key("ki", ""), record(1, 1, None, Some("1"))),
        (key("k", "j"), record(1, 1, None, Some("1"))),
        (key("k", "i"), record(2, 1, None, Some("1"))),
        (key("k", "i"), record(1, 2, None, Some("1"))),
        (key("k", "i"), record(1, 1, Some(0), Some("1"))),
        (key("k", "i"), record(1, 1, None, Some("2"))),
        (key("k", "i"), record(1, 1, None, None)),
    ];
    let forms = all.iter().map(|(key, record)| Summing::form(&Item::Record(key, record)));
    let floors = [(1, 1), (2, 1), (1, 2)].map(|(version, nanos)| {
        let floor = Floor { version: Version::new(version), at: at(nanos) };
        Summing::form(&Item::Floor(&Kind::named("k"), floor))
    });
    let forms: std::collections::BTreeSet<_> = forms.chain(floors).collect();
    assert_eq!(forms.len(), all.len() + floors.len());
}

#[test]
fn numbers_are_told_in_threes() {
    for (number, told) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
        assert_eq!(grouped(number), told);
    }
}

#[tokio::test]
async fn a_partition_that_is_written_is_read_until_it_is_of_one_instant() {
    let clock = Arc::new(SystemClock::new());
    let memory = Arc::new(MemoryStore::shared(clock, MemoryConfig::default()));
    let store = FaultStore::new(Arc::clone(&memory) as Arc<dyn Store>);
    let partition = Partition::new("p").unwrap();
    let change = |id, version, change| (id, version, change);
    write(&*memory, "p", change("a", 1, put("1"))).await;
    let once = pass(&store, &partition, |_| Ok(())).await.unwrap();
    let mut settling = Settling::of(&store, &partition);
    assert!(settling.is_shared());
    assert!(!settling.settled(once).unwrap(), "one pass proves nothing");
    // Made, and gone again: all that is left is a floor.
    write(&*memory, "p", change("b", 1, put("1"))).await;
    write(&*memory, "p", change("b", 2, Change::Purge)).await;
    let then = pass(&store, &partition, |_| Ok(())).await.unwrap();
    assert_eq!((once.records, once.floors, then.records, then.floors), (1, 0, 1, 1));
    assert!(!settling.settled(then).unwrap());
    assert!(settling.settled(then).unwrap());
    let mut settling = Settling::of(&store, &partition);
    for _ in 1..PASSES_MAX {
        let version = memory_version(&memory).await;
        write(&*memory, "p", change("a", version + 1, put("1"))).await;
        let sum = pass(&store, &partition, |_| Ok(())).await.unwrap();
        assert!(!settling.settled(sum).unwrap());
    }
    write(&*memory, "p", change("a", 100, put("1"))).await;
    let sum = pass(&store, &partition, |_| Ok(())).await.unwrap();
    let error = settling.settled(sum).unwrap_err();
    assert!(error.to_string().contains("stop the servers"), "{error}");
    assert_eq!(error.code(), 4);
}

async fn memory_version(memory: &MemoryStore) -> u64 {
    let key = RecordKey { kind: Kind::named("records"), id: RecordId::stored("a") };
    let partition = Partition::new("p").unwrap();
    memory.read(&partition, &[key]).await.unwrap()[0].version.get()
}
