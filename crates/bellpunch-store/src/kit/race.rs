//! Many writers at once, and whether the store is what it says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;

use super::{Able, Backend, Bench, KIND, block_on, committed, key, put, reads};
use crate::{
    Commit, CommitId, CommitResult, Guarantee, Partition, Precondition, RecordKey, Sharing, Store,
    Survives, Version, Versioned, Write,
};

const WRITERS: u64 = 16;
const COMMITS: u64 = 1_000;

/// A small generator: the kit has no dependencies, and its seeds are its own.
fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

struct Rise {
    before: u64,
    after: u64,
    value: String,
}

/// Raises records until the writer's share of commits is done; gives what was acknowledged.
fn write(
    store: &dyn Store,
    base: &Commit,
    (writer, records): (u64, u64),
) -> Vec<(RecordKey, Rise)> {
    let mut seed = 0x5eed_0000 + writer;
    let mut rises = Vec::new();
    let mut done = 0;
    while done < COMMITS.div_ceil(WRITERS) {
        let mut keys: Vec<_> = (0..1 + next(&mut seed) % records.min(3))
            .map(|_| key(&format!("r{}", next(&mut seed) % records)))
            .collect();
        keys.sort();
        keys.dedup();
        if next(&mut seed).is_multiple_of(2) {
            keys.reverse();
        }
        let found = block_on(store.read(&base.partition, &keys)).unwrap();
        let rise = 1 + next(&mut seed) % 5;
        let id = (u128::from(next(&mut seed)) << 64) | u128::from(next(&mut seed));
        let mut commit = Commit { id: CommitId::new(id), ..base.clone() };
        for (key, found) in keys.iter().zip(&found) {
            let version = found.version.plus(rise);
            let value = put(&format!("{writer} {done} {}", version.get()));
            let precondition = Precondition { key: key.clone(), version: found.version };
            commit.preconditions.push(precondition);
            let (key, at) = (key.clone(), base.now);
            commit.writes.push(Write { key, version, at, sweep_at: None, value });
        }
        match block_on(store.commit(vec![Arc::new(commit)])).remove(0) {
            CommitResult::Committed { .. } => {
                for (key, found) in keys.into_iter().zip(found) {
                    let (before, after) = (found.version.get(), found.version.get() + rise);
                    let value = format!("{writer} {done} {after}");
                    rises.push((key, Rise { before, after, value }));
                }
                done += 1;
            }
            CommitResult::Conflict { current } => {
                for (key, current) in current {
                    let read = found_version(&keys, &found, &key);
                    assert_ne!(current.version, read, "a conflict names what differs");
                }
            }
            other => panic!("expected Committed or Conflict, got {other:?}"),
        }
    }
    rises
}

fn found_version(keys: &[RecordKey], found: &[Versioned], key: &RecordKey) -> Version {
    let at = keys.iter().position(|one| one == key).expect("a record of this commit");
    found[at].version
}

pub(super) fn race(backend: &dyn Backend) -> Able {
    for records in [1, 8] {
        let mut bench = Bench::new(backend);
        let base = bench.commit(Vec::new());
        let all = Mutex::new(BTreeMap::<RecordKey, BTreeMap<u64, Rise>>::new());
        let (store, base, all_ref) = (&bench.store, &base, &all);
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                scope.spawn(move || {
                    let rises = write(&**store, base, (writer, records));
                    let mut all = all_ref.lock().unwrap();
                    for (key, rise) in rises {
                        let of_record = all.entry(key).or_default();
                        let twice = of_record.insert(rise.before, rise);
                        assert!(twice.is_none(), "two commits were taken on one version");
                    }
                });
            }
        });
        // The versions of each record are a chain without gap, to the one that is there now.
        for (key, rises) in all.into_inner().unwrap() {
            let last = rises.values().fold(None, |last: Option<&Rise>, rise| {
                assert_eq!(rise.before, last.map_or(0, |last| last.after), "{key}");
                Some(rise)
            });
            let last = last.expect("it was written");
            bench.expect(key.id.as_str(), last.after, Some(&last.value));
        }
    }
    Able::Yes
}

pub(super) fn order(backend: &dyn Backend) -> Able {
    let mut bench = Bench::new(backend);
    for id in ["a", "b"] {
        let first = bench.put(id, 0, "first");
        committed(&bench.send(&first));
    }
    let base = bench.commit(Vec::new());
    let (store, base) = (&bench.store, &base);
    let forward = [key("a"), key("b")];
    let backward = [key("b"), key("a")];
    std::thread::scope(|scope| {
        for (writer, keys) in [(1_u128, &forward), (2, &backward)] {
            scope.spawn(move || {
                let mut done = 0_u128;
                while done < 100 {
                    let found = block_on(store.read(&base.partition, keys)).unwrap();
                    let id = CommitId::new((writer << 64) | done);
                    let mut commit = Commit { id, ..base.clone() };
                    for (key, found) in keys.iter().zip(&found) {
                        let precondition =
                            Precondition { key: key.clone(), version: found.version };
                        commit.preconditions.push(precondition);
                        let (key, version) = (key.clone(), found.version.plus(1));
                        let (at, value) = (base.now, put("next"));
                        commit.writes.push(Write { key, version, at, sweep_at: None, value });
                    }
                    match block_on(store.commit(vec![Arc::new(commit)])).remove(0) {
                        CommitResult::Committed { .. } => done += 1,
                        CommitResult::Conflict { .. } => {}
                        other => panic!("expected Committed or Conflict, got {other:?}"),
                    }
                }
            });
        }
    });
    assert_eq!(bench.read("a").version.get(), 201);
    assert_eq!(bench.read("b").version.get(), 201);
    Able::Yes
}

/// The claims that have no test of their own, and that fit together.
pub(super) fn honest(backend: &dyn Backend) -> Able {
    let mut bench = Bench::new(backend);
    let properties = bench.store.properties();
    assert!(!properties.name.is_empty());
    assert!(0 < properties.records_max && 0 < properties.bytes_max);
    if properties.guarantee == Guarantee::BestEffort {
        return Able::No("it promises no atomic commits: the other tests show what it lacks");
    }
    let survives = bench.place.keeps() == Able::Yes;
    assert_eq!(survives, properties.survives != Survives::Nothing, "what it says it survives");
    if properties.sharing == Sharing::Exclusive && survives {
        let second = bench.place.open();
        assert!(second.is_err(), "a second owner of an exclusive store is refused");
    }
    let commit = bench.put("a", 0, "a");
    committed(&bench.send(&commit));
    if Survives::Machine <= properties.survives {
        assert_eq!(bench.place.crash(), Able::Yes, "a claim to survive power loss is tried");
        bench = bench.reopen();
        bench.expect("a", 1, Some("a"));
    }
    let elsewhere = Partition::new("elsewhere").unwrap();
    let found = block_on(bench.store.read(&elsewhere, &[key("a")])).unwrap();
    assert_eq!(found, [Versioned::default()], "partitions are apart");
    let confirmation = bench.commit(vec![reads("a", 1)]);
    committed(&bench.send(&confirmation));
    assert_eq!(bench.scan(&crate::Scan::of(KIND, 1)).records.len(), 1);
    Able::Yes
}
