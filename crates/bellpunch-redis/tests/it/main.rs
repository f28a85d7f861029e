//! The Redis store on real servers.
#![expect(clippy::unwrap_used, reason = "tests stop at the unexpected")]
#![expect(clippy::arithmetic_side_effects, reason = "overflow is checked, and ends the test")]
#![expect(clippy::wildcard_enum_match_arm, reason = "any other answer fails the test")]

mod failover;
mod honest;
mod kit;
mod late;
mod scripts;
mod tls;
mod trouble;
#[path = "../../../bellpunch/tests/it/world.rs"]
mod world;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bellpunch_redis::{ConnectError, RedisConfig, RedisStore};
use bellpunch_store::kit::block_on;
use bellpunch_store::{
    Commit, CommitId, CommitResult, Failure, FailureKind, Kind, Partition, Precondition, RecordId,
    RecordKey, Store, Timestamp, Version, Versioned, Write, WriteValue,
};
use tokio::runtime::Runtime;

/// All stores of all tests work here, so that tests wait on threads of their own.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

fn connect(config: &RedisConfig) -> Result<RedisStore, ConnectError> {
    RUNTIME.block_on(RedisStore::connect(config))
}

fn key(id: &str) -> RecordKey {
    RecordKey { kind: Kind::new("records"), id: RecordId::stored(id) }
}

fn partition() -> Partition {
    Partition::new("p").unwrap()
}

/// A commit that reads records, and so far writes nothing. Decided at the epoch: no clock is ahead.
fn reads(id: u128, records: &[(&str, u64)]) -> Commit {
    let preconditions = records
        .iter()
        .map(|(id, version)| Precondition { key: key(id), version: Version::new(*version) });
    Commit {
        id: CommitId::new(id),
        partition: partition(),
        now: Timestamp::EPOCH,
        deadline: None,
        preconditions: preconditions.collect(),
        writes: Vec::new(),
    }
}

/// A commit that writes all it reads.
fn puts(id: u128, records: &[(&str, u64)], value: &[u8]) -> Commit {
    let mut commit = reads(id, records);
    commit.writes = records
        .iter()
        .map(|(id, version)| Write {
            key: key(id),
            version: Version::new(version + 1),
            at: Timestamp::EPOCH,
            sweep_at: None,
            value: WriteValue::Put(value.into()),
        })
        .collect();
    commit
}

fn send(store: &dyn Store, commit: &Commit) -> CommitResult {
    block_on(store.commit(vec![Arc::new(commit.clone())])).remove(0)
}

#[track_caller]
fn committed(store: &dyn Store, commit: &Commit) {
    let result = send(store, commit);
    assert!(matches!(result, CommitResult::Committed { .. }), "{result:?}");
}

#[track_caller]
fn failed(store: &dyn Store, commit: &Commit, kind: FailureKind) -> Failure {
    match send(store, commit) {
        CommitResult::Failed(failure) if failure.kind() == kind => failure,
        other => panic!("expected Failed({kind:?}), got {other:?}"),
    }
}

fn read(store: &dyn Store, id: &str) -> Result<Versioned, Failure> {
    block_on(store.read(&partition(), &[key(id)])).map(|mut found| found.remove(0))
}

#[track_caller]
fn version(store: &dyn Store, id: &str) -> u64 {
    read(store, id).unwrap().version.get()
}

/// Asks again until it is so: servers need time to notice what was done to each other.
fn until(mut so: impl FnMut() -> bool) {
    for _ in 0..TICKS_MAX {
        if so() {
            return;
        }
        pause(TICK);
    }
    panic!("it is still not so");
}

fn pause(span: Duration) {
    RUNTIME.block_on(async { tokio::time::sleep(span).await });
}

const TICK: Duration = Duration::from_millis(20);
const TICKS_MAX: u32 = 3_000;
