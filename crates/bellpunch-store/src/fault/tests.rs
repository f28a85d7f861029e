use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bellpunch_core::Duration;

use super::{Fault, FaultStore};
use crate::kit::{KitClock, block_on};
use crate::{
    Clock, Commit, CommitId, CommitResult, FailureKind, Kind, MemoryConfig, MemoryStore, Partition,
    Precondition, RecordId, RecordKey, Resolution, Store, Version, Versioned, Write, WriteValue,
};

fn stores() -> (Arc<KitClock>, FaultStore) {
    let clock = Arc::new(KitClock::new());
    let shared: Arc<KitClock> = Arc::clone(&clock);
    let memory = MemoryStore::new(shared, MemoryConfig::default());
    (clock, FaultStore::new(Arc::new(memory)))
}

fn key() -> RecordKey {
    RecordKey { kind: Kind::new("records"), id: RecordId::stored("a") }
}

/// A commit that raises the record from this version.
fn commit(clock: &KitClock, version: u64) -> Arc<Commit> {
    let now = clock.now();
    let value = WriteValue::Put(b"value"[..].into());
    let next = Version::new(version.checked_add(1).unwrap());
    Arc::new(Commit {
        id: CommitId::new(u128::from(version)),
        partition: Partition::new("p").unwrap(),
        now,
        deadline: now.plus(Duration::from_millis(10)),
        preconditions: vec![Precondition { key: key(), version: Version::new(version) }],
        writes: vec![Write { key: key(), version: next, at: now, sweep_at: None, value }],
    })
}

fn send(store: &FaultStore, commit: &Arc<Commit>) -> CommitResult {
    block_on(store.commit(vec![Arc::clone(commit)])).remove(0)
}

fn read(store: &FaultStore) -> Versioned {
    block_on(store.read(&Partition::new("p").unwrap(), &[key()])).unwrap().remove(0)
}

#[test]
fn loses_a_reply_but_not_the_effect() {
    let (clock, store) = stores();
    store.lose_next_reply();
    let first = commit(&clock, 0);
    assert!(matches!(send(&store, &first), CommitResult::Unknown));
    assert_eq!(read(&store).version, Version::new(1));
    let resolution = block_on(store.resolve(&first.partition, first.id)).unwrap();
    assert_eq!(resolution, Resolution::Applied);
    assert!(matches!(send(&store, &first), CommitResult::Committed { .. }));
}

#[test]
fn fails_or_loses_a_commit_without_effect() {
    let (clock, store) = stores();
    store.fail_next();
    store.plan(Fault::LoseCommit);
    assert_eq!(store.planned(), 2);
    let first = commit(&clock, 0);
    assert!(matches!(send(&store, &first), CommitResult::Failed(_)));
    assert!(matches!(send(&store, &first), CommitResult::Unknown));
    assert_eq!(read(&store), Versioned::default());
    assert!(matches!(send(&store, &first), CommitResult::Committed { .. }));
}

#[test]
fn is_cut_off_and_back() {
    let (clock, store) = stores();
    store.down();
    let first = commit(&clock, 0);
    let CommitResult::Failed(failure) = send(&store, &first) else { panic!("it is down") };
    assert_eq!(failure.kind(), FailureKind::Unavailable);
    let partition = Partition::new("p").unwrap();
    assert!(block_on(store.resolve(&partition, first.id)).is_err());
    assert!(block_on(store.partitions(None, 1)).is_err());
    store.up();
    assert!(matches!(send(&store, &first), CommitResult::Committed { .. }));
}

#[test]
fn compares_the_deadline_after_the_stall() {
    let (clock, store) = stores();
    let first = commit(&clock, 0);
    let (moved, deadline) = (Arc::clone(&clock), first.deadline.unwrap());
    store.stall_next_while(move || moved.set(deadline));
    assert!(matches!(send(&store, &first), CommitResult::TooLate { .. }));
    assert_eq!(read(&store), Versioned::default());
}

#[test]
fn holds_all_commits_behind_a_stalled_one() {
    let (clock, store) = stores();
    store.stall_next();
    let (first, second) = (commit(&clock, 0), commit(&clock, 1));
    let mut stalled = pin!(store.commit(vec![first]));
    let mut behind = pin!(store.commit(vec![second]));
    let mut context = Context::from_waker(Waker::noop());
    assert!(stalled.as_mut().poll(&mut context).is_pending());
    assert!(behind.as_mut().poll(&mut context).is_pending());
    assert_eq!(read(&store), Versioned::default(), "reads go on");
    store.release();
    for future in [stalled.as_mut(), behind.as_mut()] {
        let Poll::Ready(results) = future.poll(&mut context) else { panic!("it was released") };
        assert!(matches!(results[..], [CommitResult::Committed { .. }]));
    }
}

#[test]
fn lands_late_or_is_fenced() {
    let (clock, store) = stores();
    store.plan(Fault::Late);
    store.plan(Fault::Late);
    let (first, again) = (commit(&clock, 0), commit(&clock, 0));
    assert!(matches!(send(&store, &first), CommitResult::Unknown));
    assert_eq!(read(&store), Versioned::default());
    assert!(matches!(block_on(store.land())[..], [CommitResult::Committed { .. }]));
    let other = Commit { id: CommitId::new(99), ..(*again).clone() };
    assert!(matches!(send(&store, &Arc::new(other)), CommitResult::Unknown));
    assert!(matches!(block_on(store.land())[..], [CommitResult::Conflict { .. }]));
}

#[test]
fn refuses_once_with_the_truth() {
    let (clock, store) = stores();
    store.conflict_next();
    let first = commit(&clock, 0);
    let CommitResult::Conflict { current } = send(&store, &first) else { panic!("planned") };
    assert_eq!(current, [(key(), Versioned::default())]);
    assert!(matches!(send(&store, &first), CommitResult::Committed { .. }));
}
