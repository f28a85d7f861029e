//! Commits for tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bellpunch_store::{
    Commit, CommitId, Kind, Partition, Precondition, RecordId, RecordKey, Timestamp, Version,
    Write, WriteValue,
};

static IDS: AtomicU64 = AtomicU64::new(1);

pub(crate) const KIND: Kind = Kind::new("records");

pub(crate) fn partition() -> Partition {
    Partition::new("p").unwrap()
}

pub(crate) fn key(id: &str) -> RecordKey {
    RecordKey { kind: KIND, id: RecordId::stored(id) }
}

pub(crate) fn reading(id: &str, version: u64) -> Precondition {
    Precondition { key: key(id), version: Version::new(version) }
}

pub(crate) fn writing(id: &str, version: u64, value: WriteValue) -> Write {
    let (at, version) = (Timestamp::EPOCH, Version::new(version));
    Write { key: key(id), version, at, sweep_at: None, value }
}

/// A commit whose `now` is long ago, with an id of its own.
pub(crate) fn commit(preconditions: Vec<Precondition>, writes: Vec<Write>) -> Commit {
    let id = CommitId::new(u128::from(IDS.fetch_add(1, Ordering::SeqCst)) << 32);
    let now = Timestamp::EPOCH;
    Commit { id, partition: partition(), now, deadline: None, preconditions, writes }
}

/// Reads a record at a version, and writes some JSON at the next.
pub(crate) fn put(id: &str, version: u64) -> Arc<Commit> {
    let value = format!(r#"{{"format":1,"record":{{"version":{}}}}}"#, version + 1);
    let value = WriteValue::Put(value.into_bytes().into());
    Arc::new(commit(vec![reading(id, version)], vec![writing(id, version + 1, value)]))
}

/// Reads a record at a version, and purges it.
pub(crate) fn delete(id: &str, version: u64) -> Arc<Commit> {
    let write = writing(id, version + 1, WriteValue::Purge);
    Arc::new(commit(vec![reading(id, version)], vec![write]))
}
