//! What one commit does, and two do to each other.

use std::sync::Arc;

use super::{Able, Backend, Bench, block_on, committed, conflict, key, put, reads};
use crate::{CommitResult, Partition, Resolution, WriteValue};

pub(super) fn create(backend: &dyn Backend) -> Able {
    let mut bench = Bench::new(backend);
    let (one, two) = (bench.put("a", 0, "one"), bench.put("a", 0, "two"));
    committed(&bench.send(&one));
    assert_eq!(conflict(&bench.send(&two)), [("a".to_owned(), 1)]);
    bench.expect("a", 1, Some("one"));
    let delete = bench.commit(vec![reads("a", 1)]).with("a", 2, WriteValue::Delete);
    committed(&bench.send(&delete));
    bench.expect("a", 2, None);
    let again = bench.put("a", 0, "again");
    assert_eq!(conflict(&bench.send(&again)), [("a".to_owned(), 2)]);
    let again = bench.put("a", 2, "again");
    committed(&bench.send(&again));
    bench.expect("a", 3, Some("again"));
    Able::Yes
}

pub(super) fn fence(backend: &dyn Backend) -> Able {
    let mut bench = Bench::new(backend);
    let delayed = bench.put("a", 1, "delayed");
    for (version, value) in [(0, "same"), (1, "other"), (2, "same")] {
        let next = bench.put("a", version, value);
        committed(&bench.send(&next));
    }
    // The bytes are again what the delayed commit was decided on; the version is not.
    assert_eq!(conflict(&bench.send(&delayed)), [("a".to_owned(), 3)]);
    let ahead = bench.put("a", 4, "from the future");
    assert_eq!(conflict(&bench.send(&ahead)), [("a".to_owned(), 3)]);
    bench.expect("a", 3, Some("same"));
    Able::Yes
}

pub(super) fn read_set(backend: &dyn Backend) -> Able {
    let mut bench = Bench::new(backend);
    for id in ["a", "b"] {
        let first = bench.put(id, 0, "first");
        committed(&bench.send(&first));
    }
    let one = bench.commit(vec![reads("a", 1), reads("b", 1)]).with("a", 2, put("one"));
    let two = bench.commit(vec![reads("a", 1), reads("b", 1)]).with("b", 2, put("two"));
    let results = block_on(bench.store.commit(vec![Arc::new(one), Arc::new(two)]));
    committed(&results[0]);
    assert_eq!(conflict(&results[1]), [("a".to_owned(), 2)]);
    bench.expect("b", 1, Some("first"));
    // Absence is a version too.
    let one = bench.commit(vec![reads("c", 0), reads("d", 0)]).with("c", 1, put("one"));
    let two = bench.commit(vec![reads("c", 0), reads("d", 0)]).with("d", 1, put("two"));
    committed(&bench.send(&one));
    assert_eq!(conflict(&bench.send(&two)), [("c".to_owned(), 1)]);
    Able::Yes
}

pub(super) fn confirm(backend: &dyn Backend) -> Able {
    let mut bench = Bench::new(backend);
    let first = bench.put("a", 0, "first");
    committed(&bench.send(&first));
    let holds = bench.commit(vec![reads("a", 1), reads("b", 0)]);
    committed(&bench.send(&holds));
    let fails = bench.commit(vec![reads("a", 1), reads("b", 1)]);
    assert_eq!(conflict(&bench.send(&fails)), [("b".to_owned(), 0)]);
    // Together with a commit before it in the same call.
    let write = bench.put("b", 0, "b");
    let (stale, fresh) = (holds.clone(), bench.commit(vec![reads("a", 1), reads("b", 1)]));
    let commits = [write, stale, fresh].map(Arc::new).to_vec();
    let results = block_on(bench.store.commit(commits));
    committed(&results[0]);
    assert_eq!(conflict(&results[1]), [("b".to_owned(), 1)]);
    committed(&results[2]);
    Able::Yes
}

pub(super) fn read(backend: &dyn Backend) -> Able {
    let mut bench = Bench::new(backend);
    bench.expect("a", 0, None);
    for version in 0..20 {
        let value = format!("value {version}");
        let next = bench.put("a", version, &value);
        committed(&bench.send(&next));
        bench.expect("a", version + 1, Some(&value));
    }
    // Records read at different instants cannot commit together, and the conflict says the truth.
    let torn = bench.commit(vec![reads("a", 19), reads("b", 0)]).with("b", 1, put("torn"));
    let CommitResult::Conflict { current } = bench.send(&torn) else { panic!("a is at 20") };
    assert_eq!(current.len(), 1, "only the record that differs");
    assert_eq!(current[0], (key("a"), bench.read("a")));
    let keys = [key("b"), key("a"), key("b")];
    let found = block_on(bench.store.read(&bench.partition, &keys)).unwrap();
    let versions: Vec<_> = found.iter().map(|found| found.version.get()).collect();
    assert_eq!(versions, [0, 20, 0], "answers stand in the order of the keys");
    Able::Yes
}

pub(super) fn many(backend: &dyn Backend) -> Able {
    let mut bench = Bench::new(backend);
    let mut commits = Vec::new();
    for (partition, version) in [("p", 0), ("q", 0), ("q", 7), ("r", 0)] {
        bench.partition = Partition::new(partition).unwrap();
        commits.push(Arc::new(bench.put("a", version, partition)));
    }
    let results = block_on(bench.store.commit(commits));
    assert_eq!(results.len(), 4);
    committed(&results[0]);
    committed(&results[1]);
    assert_eq!(conflict(&results[2]), [("a".to_owned(), 1)]);
    committed(&results[3]);
    for partition in ["p", "q", "r"] {
        bench.partition = Partition::new(partition).unwrap();
        bench.expect("a", 1, Some(partition));
    }
    assert!(block_on(bench.store.commit(Vec::new())).is_empty());
    Able::Yes
}

pub(super) fn purge(backend: &dyn Backend) -> Able {
    let mut bench = Bench::new(backend);
    for version in 0..3 {
        let next = bench.put("a", version, "a");
        committed(&bench.send(&next));
    }
    let purge = bench.commit(vec![reads("a", 3)]).with("a", 4, WriteValue::Purge);
    committed(&bench.send(&purge));
    // The floor holds for all absent records of the kind, also those that never were.
    bench.expect("a", 4, None);
    bench.expect("never", 4, None);
    let low = bench.put("never", 0, "low");
    assert_eq!(conflict(&bench.send(&low)), [("never".to_owned(), 4)]);
    let high = bench.put("never", 4, "high");
    committed(&bench.send(&high));
    bench.expect("never", 5, Some("high"));
    // Also within one call.
    let make = bench.put("b", 4, "b");
    let purge = bench.commit(vec![reads("b", 5)]).with("b", 9, WriteValue::Purge);
    let (low, high) = (bench.put("c", 4, "low"), bench.put("c", 9, "high"));
    let commits = [make, purge, low, high].map(Arc::new).to_vec();
    let results = block_on(bench.store.commit(commits));
    committed(&results[0]);
    committed(&results[1]);
    assert_eq!(conflict(&results[2]), [("c".to_owned(), 9)]);
    committed(&results[3]);
    bench.expect("b", 9, None);
    bench.expect("c", 10, Some("high"));
    // A lower purge leaves the floor, a tombstone below it shows the floor.
    let delete = bench.commit(vec![reads("never", 5)]).with("never", 6, WriteValue::Delete);
    committed(&bench.send(&delete));
    bench.expect("never", 9, None);
    // Another partition has its own floors.
    bench.partition = Partition::new("q").unwrap();
    bench.expect("a", 0, None);
    Able::Yes
}

pub(super) fn unknown(backend: &dyn Backend) -> Able {
    let mut bench = Bench::new(backend);
    let first = bench.put("a", 0, "first");
    let at = committed(&bench.send(&first));
    bench.clock.set(at.plus(super::second()).unwrap());
    // Sent again after its reply was lost: recognised, although its preconditions no longer hold.
    assert_eq!(committed(&bench.send(&first)), at, "the instant of the effect");
    bench.expect("a", 1, Some("first"));
    let second = bench.put("a", 1, "second");
    let twice = [second.clone(), second].map(Arc::new).to_vec();
    for result in block_on(bench.store.commit(twice)) {
        committed(&result);
    }
    bench.expect("a", 2, Some("second"));
    Able::Yes
}

pub(super) fn resolve(backend: &dyn Backend) -> Able {
    let mut bench = Bench::new(backend);
    let (sent, stale) = (bench.put("a", 0, "sent"), bench.put("a", 0, "stale"));
    assert_eq!(bench.resolve(sent.id), Resolution::NotApplied);
    committed(&bench.send(&sent));
    conflict(&bench.send(&stale));
    assert_eq!(bench.resolve(sent.id), Resolution::Applied);
    assert_eq!(bench.resolve(stale.id), Resolution::NotApplied);
    Able::Yes
}
