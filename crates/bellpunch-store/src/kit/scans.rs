//! Pages, and bounds.

use std::collections::BTreeSet;

use super::{Able, Backend, Bench, KIND, block_on, committed, put, reads};
use crate::{
    CommitResult, FailureKind, Floor, Kind, Partition, Precondition, RecordId, RecordKey, Scan,
    Show, Version, Write, WriteValue,
};

/// Ids in whose order stores have gone wrong: prefixes of each other, bytes above ASCII, NUL.
const IDS: &[&str] = &[
    "", "\0", "\0a", "a", "a\0", "a\0b", "a b", "a%", "a.b", "a/b", "a:b", "a_b", "ab", "b", "z",
    "\u{7f}", "\u{80}", "é", "e\u{301}", "\u{ffff}", "😀", "3:a:b", "3:a:bc", "A",
];

fn all(bench: &Bench, mut scan: Scan) -> Vec<RecordKey> {
    let mut keys = Vec::new();
    loop {
        let page = bench.scan(&scan);
        assert!(page.records.len() <= scan.limit, "a page has at most so many");
        keys.extend(page.records.iter().map(|(key, _)| key.clone()));
        let Some(resume) = page.resume else { return keys };
        assert!(scan.after.as_ref().is_none_or(|after| *after < resume), "pages go on");
        assert!(keys.last().is_none_or(|last| *last <= resume), "nothing shown is shown again");
        scan.after = Some(resume);
    }
}

pub(super) fn scan(backend: &dyn Backend) -> Able {
    let mut bench = Bench::new(backend);
    let kinds = [Kind::new("other"), KIND, KIND, Kind::new("recordsx")];
    let mut expected = BTreeSet::new();
    let mut commit = bench.commit(Vec::new());
    for (kind, id) in kinds.iter().flat_map(|kind| IDS.iter().map(move |id| (kind, id))) {
        let key = RecordKey { kind: kind.clone(), id: RecordId::stored(id) };
        if expected.insert(key.clone()) {
            let version = Version::ABSENT;
            commit.preconditions.push(Precondition { key: key.clone(), version });
            let (at, version) = (commit.now, Version::new(1));
            let value = put(id);
            commit.writes.push(Write { key, version, at, sweep_at: None, value });
        }
    }
    committed(&bench.send(&commit));
    let gone = bench.commit(vec![reads("gone", 0)]).with("gone", 1, WriteValue::Delete);
    committed(&bench.send(&gone));
    let expected: Vec<_> = expected.into_iter().collect();
    for limit in [1, 2, 7, 1_000] {
        for kind in [None, Some(KIND), Some(Kind::new("missing"))] {
            for prefix in ["", "a", "a\0", "3:a:b", "é", "nothing"] {
                let mut scan = Scan::of(KIND, limit);
                (scan.kind, scan.prefix) = (kind.clone(), prefix.to_owned());
                let wanted: Vec<_> =
                    expected.iter().filter(|key| scan.wants(key, None)).cloned().collect();
                assert_eq!(all(&bench, scan), wanted, "{kind:?} {prefix:?} {limit}");
            }
        }
    }
    let page = bench.scan(&Scan::of(KIND, 3));
    assert!(page.records.iter().all(|(key, record)| {
        record.version == Version::new(1)
            && record.value.as_deref() == Some(key.id.as_str().as_bytes())
    }));
    bench.partition = Partition::new("elsewhere").unwrap();
    assert!(bench.scan(&Scan::of(KIND, 3)).records.is_empty());
    Able::Yes
}

pub(super) fn due(backend: &dyn Backend) -> Able {
    let mut bench = Bench::new(backend);
    let start = bench.clock.time();
    let after = |nanos| start.plus(bellpunch_core::Duration::from_nanos(nanos)).unwrap();
    for (id, sweep) in [("a", None), ("b", Some(1)), ("c", Some(2)), ("d", Some(3)), ("e", None)] {
        let mut commit = bench.put(id, 0, id);
        commit.writes[0].sweep_at = sweep.map(after);
        committed(&bench.send(&commit));
    }
    let ids = |bench: &Bench, by| {
        let mut scan = Scan::of(KIND, 1);
        scan.due_by = Some(by);
        all(bench, scan).iter().map(|key| key.id.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert!(ids(&bench, start).is_empty());
    assert_eq!(ids(&bench, after(2)), ["b", "c"], "due at the instant itself");
    // A record written again is due when its last write says.
    let again = bench.put("b", 1, "b");
    committed(&bench.send(&again));
    assert_eq!(ids(&bench, after(9)), ["c", "d"]);
    Able::Yes
}

pub(super) fn removed(backend: &dyn Backend) -> Able {
    let mut bench = Bench::new(backend);
    let other = Kind::new("other");
    for id in ["deleted", "kept", "low", "purged"] {
        let made = bench.put(id, 0, id);
        committed(&bench.send(&made));
    }
    for (id, version, value) in [
        ("deleted", 9, WriteValue::Delete),
        ("low", 2, WriteValue::Delete),
        ("purged", 5, WriteValue::Purge),
    ] {
        let gone = bench.commit(vec![reads(id, 1)]).with(id, version, value);
        committed(&bench.send(&gone));
    }
    // Of this kind nothing is left but its floor.
    let mut gone = bench.commit(Vec::new());
    let key = RecordKey { kind: other.clone(), id: RecordId::stored("purged") };
    gone.preconditions.push(Precondition { key: key.clone(), version: Version::ABSENT });
    let (at, version) = (gone.now, Version::new(3));
    gone.writes.push(Write { key, version, at, sweep_at: None, value: WriteValue::Purge });
    committed(&bench.send(&gone));

    let mut scan = Scan { kind: None, show: Show::All, ..Scan::of(KIND, 1) };
    let first = bench.scan(&scan);
    let floor = |kind: &Kind, version| (kind.clone(), Floor { version: Version::new(version), at });
    assert_eq!(first.floors, [floor(&other, 3), floor(&KIND, 5)], "in order of kind");
    scan.after = first.resume;
    assert_eq!(bench.scan(&scan).floors, [], "told once");
    (scan.after, scan.limit) = (None, 1_000);
    let records = bench.scan(&scan).records;
    let found: Vec<_> = records
        .iter()
        .map(|(key, now)| (key.id.as_str(), now.version.get(), now.value.is_some()))
        .collect();
    // A tombstone below the floor shows the floor, as a read does.
    assert_eq!(found, [("deleted", 9, false), ("kept", 1, true), ("low", 5, false)]);
    for (key, record) in records {
        assert_eq!(bench.read(key.id.as_str()), record);
    }
    scan.kind = Some(other.clone());
    let page = bench.scan(&scan);
    assert_eq!((page.floors, page.records), (vec![floor(&other, 3)], Vec::new()));
    (scan.kind, scan.show) = (None, Show::Records);
    assert_eq!(bench.scan(&scan).floors, [], "not asked for");
    assert_eq!(all(&bench, scan).len(), 1, "records alone");
    Able::Yes
}

pub(super) fn partitions(backend: &dyn Backend) -> Able {
    let mut bench = Bench::new(backend);
    let names = ["a", "a b", "a/b", "b", "é"].map(|name| Partition::new(name).unwrap());
    for name in names.iter().rev() {
        bench.partition = name.clone();
        let commit = bench.put("a", 0, "a");
        committed(&bench.send(&commit));
    }
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = block_on(bench.store.partitions(after.as_ref(), 2)).unwrap();
        found.extend(page.partitions);
        after = found.last().cloned();
        if !page.more {
            break;
        }
    }
    assert_eq!(found, names);
    Able::Yes
}

pub(super) fn bounds(backend: &dyn Backend) -> Able {
    let mut bench = Bench::new(backend);
    let properties = bench.store.properties();
    let too_large = |result: &CommitResult| match result {
        CommitResult::Failed(failure) => assert_eq!(failure.kind(), FailureKind::TooLarge),
        other => panic!("expected TooLarge, got {other:?}"),
    };
    // The longest names the values allow: a compound id of four keys of 256 bytes.
    let long = "x".repeat(4 * 256 + 12);
    // A kilobyte and some are left for the store's own count of names.
    let value = |bytes: usize| WriteValue::Put(vec![7; bytes].into());
    let largest = bench.commit(vec![reads(&long, 0)]);
    let largest = largest.with(&long, 1, value(properties.bytes_max - 2_048));
    committed(&bench.send(&largest));
    assert_eq!(bench.read(&long).value.unwrap().len(), properties.bytes_max - 2_048);
    let beyond = bench.commit(vec![reads("a", 0)]).with("a", 1, value(properties.bytes_max + 1));
    too_large(&bench.send(&beyond));
    bench.expect("a", 0, None);
    let empty = bench.put("a", 0, "");
    committed(&bench.send(&empty));
    bench.expect("a", 1, Some(""));
    let mut most = bench.commit(Vec::new());
    for record in 0..properties.records_max {
        let id = format!("{record}");
        most.preconditions.push(reads(&id, 0));
        most = most.with(&id, 1, put(""));
    }
    let id = properties.records_max.to_string();
    let mut beyond = most.clone().with(&id, 1, put(""));
    beyond.preconditions.push(reads(&id, 0));
    too_large(&bench.send(&beyond));
    bench.expect("0", 0, None);
    committed(&bench.send(&most));
    bench.expect("0", 1, Some(""));
    Able::Yes
}
