//! What was deleted or purged goes on at its version and its time after an export and an import.

use std::path::Path;
use std::sync::Arc;

use bellpunch::store::{
    Commit, CommitId, CommitResult, Precondition, Scan, Show, Store, Versioned, Write, WriteValue,
};
use bellpunch::{Floor, Kind, Partition, RecordId, RecordKey, SystemClock, Timestamp, Version};
use bellpunch_disk::{DiskConfig, DiskStore};

use crate::{code, run, text};

static KIND: Kind = Kind::new("records");

fn open(folder: &Path) -> DiskStore {
    DiskStore::open(&DiskConfig::new(folder), Arc::new(SystemClock::new())).unwrap()
}

fn key(kind: &Kind, id: &str) -> RecordKey {
    RecordKey { kind: kind.clone(), id: RecordId::stored(id) }
}

async fn write(store: &DiskStore, partition: &str, key: RecordKey, change: (u64, WriteValue)) {
    let partition = Partition::new(partition).unwrap();
    let before = store.read(&partition, std::slice::from_ref(&key)).await.unwrap().remove(0);
    // The lower the version, the later: no two of them are the same purge's.
    let version = Version::new(change.0);
    let at = Timestamp::from_nanos(1_000 - u128::from(change.0)).unwrap();
    let commit = Commit {
        id: CommitId::new(u128::from(change.0) << 64 | u128::from(store.report().syncs)),
        partition,
        now: at,
        deadline: None,
        preconditions: vec![Precondition { key: key.clone(), version: before.version }],
        writes: vec![Write { key, version, at, sweep_at: None, value: change.1 }],
    };
    let result = store.commit(vec![Arc::new(commit)]).await.remove(0);
    assert!(matches!(result, CommitResult::Committed { .. }), "{result:?}");
}

/// All that is left in a partition, removed or not, and how some records are read.
async fn all(store: &DiskStore, partition: &str) -> (Vec<(Kind, Floor)>, Vec<Versioned>) {
    let partition = Partition::new(partition).unwrap();
    let scan = Scan { kind: None, show: Show::All, ..Scan::of(KIND.clone(), 1_000) };
    let page = store.scan(&partition, &scan).await.unwrap();
    let mut records: Vec<_> = page.records.into_iter().map(|(_, record)| record).collect();
    let keys = ["kept", "deleted", "purged", "never"].map(|id| key(&KIND, id));
    records.extend(store.read(&partition, &keys).await.unwrap());
    (page.floors, records)
}

#[tokio::test]
async fn no_version_or_time_falls() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let store = open(&folder.join("first"));
    let put = || WriteValue::Put(b"{\"a\":1}".as_slice().into());
    for partition in ["acme", "bell"] {
        for id in ["kept", "deleted", "purged"] {
            write(&store, partition, key(&KIND, id), (1, put())).await;
        }
        write(&store, partition, key(&KIND, "deleted"), (7, WriteValue::Delete)).await;
        write(&store, partition, key(&KIND, "purged"), (4, WriteValue::Purge)).await;
        write(&store, partition, key(&KIND, "purged later"), (3, WriteValue::Purge)).await;
        // A partition and a kind of which nothing else is left.
        write(&store, "gone", key(&Kind::named(partition), "x"), (9, WriteValue::Purge)).await;
    }
    let mut before = Vec::new();
    for partition in ["acme", "bell", "gone"] {
        before.push(all(&store, partition).await);
    }
    assert_eq!(before[0].1[3].version.get(), 7, "kept, deleted; then as read: kept, deleted");
    let at = Timestamp::from_nanos(997).unwrap();
    assert_eq!(before[0].0, [(KIND.clone(), Floor { version: Version::new(4), at })]);
    drop(store);

    let exported = run(folder, &["export", "--store", "disk:first", "all.ndjson"]);
    assert_eq!(code(&exported), 0, "{}", text(&exported.stderr));
    let imported = run(folder, &["import", "--store", "disk:second", "all.ndjson"]);
    assert_eq!(code(&imported), 0, "{}", text(&imported.stderr));
    let again = run(folder, &["import", "--store", "disk:second", "all.ndjson"]);
    assert_eq!(code(&again), 5, "not even what is left of removed records is written over");

    let store = open(&folder.join("second"));
    for (partition, before) in ["acme", "bell", "gone"].into_iter().zip(before) {
        assert_eq!(all(&store, partition).await, before, "{partition}");
    }
}

#[tokio::test]
async fn an_export_of_before_floors_had_times_is_still_read() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let lines = [
        r#"{"bellpunch_export":1,"release":"0.1.0","at":"2026-01-01T00:00:00Z"}"#,
        r#"{"partition":"acme","kind":"records","floor":9}"#,
        r#"{"records":1}"#,
    ];
    std::fs::write(folder.join("old.ndjson"), lines.join("\n") + "\n").unwrap();
    let imported = run(folder, &["import", "--store", "disk:new", "old.ndjson"]);
    assert_eq!(code(&imported), 0, "{}", text(&imported.stderr));
    let (floors, records) = all(&open(&folder.join("new")), "acme").await;
    let floor = Floor { version: Version::new(9), at: Timestamp::EPOCH };
    assert_eq!(floors, [(KIND.clone(), floor)]);
    assert!(records.iter().all(|absent| absent.version == floor.version));
}
