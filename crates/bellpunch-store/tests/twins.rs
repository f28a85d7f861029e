//! The kit has power: a store that is wrong in one way fails it.
#![expect(clippy::unwrap_used, reason = "tests stop at the unexpected")]
#![expect(clippy::wildcard_enum_match_arm, reason = "each bug changes one thing")]

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use bellpunch_store::kit::{self, Backend, KitClock, Place, block_on};
use bellpunch_store::probe::{self, ProbeError, probe};
use bellpunch_store::{
    BoxFuture, Clock, Commit, CommitId, CommitResult, Failure, MemoryConfig, MemoryStore, Page,
    Partition, PartitionPage, Properties, RecordKey, Resolution, Scan, Store, Version, Versioned,
    WriteValue,
};

/// What is wrong with it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Bug {
    None,
    NoVersionCheck,
    WrittenOnly,
    DeadlineDropped,
    DeadlineBeforeLock,
    ExpiryInclusive,
    ClockAheadTaken,
    VersionRestarts,
    PurgeTimeForgotten,
    PurgeTimeOfHighest,
    IdsForgotten,
    UnknownIdsApplied,
    FirstConflictEnds,
    ConflictWithoutValues,
    ConfirmationTaken,
    PageOne,
    DueIgnored,
    EmptyIsAbsent,
    PartitionsShared,
    CheckedApart,
    ReadsBehind,
}

#[derive(Debug)]
struct Twin {
    inner: MemoryStore,
    clock: Arc<KitClock>,
    bug: Bug,
    ids: AtomicU64,
    /// The highest version that was purged.
    highest: AtomicU64,
    /// What was read last.
    seen: Mutex<BTreeMap<RecordKey, Versioned>>,
}

impl Twin {
    fn partition(&self, partition: &Partition) -> Partition {
        match self.bug {
            Bug::PartitionsShared => Partition::new("one for all").unwrap(),
            _ => partition.clone(),
        }
    }

    /// The commit as a store with this bug understands it.
    fn spoil(&self, commit: &Commit) -> Result<Commit, CommitResult> {
        let mut commit = commit.clone();
        commit.partition = self.partition(&commit.partition);
        let written = |key: &RecordKey| commit.writes.iter().any(|write| write.key == *key);
        match self.bug {
            Bug::NoVersionCheck => commit.preconditions.clear(),
            Bug::ConfirmationTaken if commit.writes.is_empty() => commit.preconditions.clear(),
            Bug::WrittenOnly => {
                let kept = commit.preconditions.iter().filter(|one| written(&one.key));
                commit.preconditions = kept.cloned().collect();
            }
            Bug::DeadlineDropped => commit.deadline = None,
            Bug::DeadlineBeforeLock => {
                let store_time = self.clock.now();
                if commit.deadline.take().is_some_and(|deadline| deadline <= store_time) {
                    return Err(CommitResult::TooLate { store_time });
                }
            }
            Bug::ExpiryInclusive => {
                let nano = "1970-01-01T00:00:00.000000001Z".parse().unwrap();
                let nano = bellpunch_store::Timestamp::since(nano, Default::default()).unwrap();
                commit.deadline = commit.deadline.and_then(|deadline| deadline.plus(nano));
            }
            Bug::ClockAheadTaken => commit.now = bellpunch_store::Timestamp::EPOCH,
            Bug::VersionRestarts => {
                for write in &mut commit.writes {
                    if write.value == WriteValue::Delete {
                        (write.value, write.version) = (WriteValue::Purge, Version::ABSENT);
                    }
                }
            }
            Bug::PurgeTimeForgotten => {
                for write in &mut commit.writes {
                    if write.value == WriteValue::Purge {
                        write.at = bellpunch_store::Timestamp::EPOCH;
                    }
                }
            }
            Bug::PurgeTimeOfHighest => {
                for write in &mut commit.writes {
                    let version = write.version.get();
                    if write.value == WriteValue::Purge
                        && version < self.highest.fetch_max(version, Ordering::Relaxed)
                    {
                        write.at = bellpunch_store::Timestamp::EPOCH;
                    }
                }
            }
            Bug::IdsForgotten => {
                let id = self.ids.fetch_add(1, Ordering::Relaxed);
                commit.id = CommitId::new(u128::from(id));
            }
            Bug::EmptyIsAbsent => {
                for write in &mut commit.writes {
                    if matches!(&write.value, WriteValue::Put(value) if value.is_empty()) {
                        write.value = WriteValue::Delete;
                    }
                }
            }
            _ => {}
        }
        Ok(commit)
    }
}

impl Twin {
    /// Looks first and writes later, as a client does that has no conditional write.
    async fn check_then_act(&self, commit: &Commit) -> CommitResult {
        let mut commit = commit.clone();
        let keys: Vec<_> = commit.preconditions.iter().map(|one| one.key.clone()).collect();
        let found = self.inner.read(&commit.partition, &keys).await.unwrap();
        let pairs = commit.preconditions.iter().zip(&found);
        if pairs.into_iter().all(|(expected, found)| expected.version == found.version) {
            let mut waited = false;
            poll_fn(|context| {
                context.waker().wake_by_ref();
                let before = std::mem::replace(&mut waited, true);
                if before { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            commit.preconditions.clear();
        }
        self.inner.commit(vec![Arc::new(commit)]).await.remove(0)
    }
}

impl Store for Twin {
    fn properties(&self) -> Properties {
        self.inner.properties()
    }

    fn read<'a>(
        &'a self,
        partition: &'a Partition,
        keys: &'a [RecordKey],
    ) -> BoxFuture<'a, Result<Vec<Versioned>, Failure>> {
        Box::pin(async {
            let mut found = self.inner.read(&self.partition(partition), keys).await?;
            if self.bug == Bug::ReadsBehind {
                let mut seen = self.seen.lock().unwrap();
                for (key, found) in keys.iter().zip(&mut found) {
                    let before = seen.insert(key.clone(), found.clone());
                    *found = before.unwrap_or_else(|| found.clone());
                }
            }
            Ok(found)
        })
    }

    fn commit(&self, commits: Vec<Arc<Commit>>) -> BoxFuture<'_, Vec<CommitResult>> {
        Box::pin(async move {
            let mut results = Vec::new();
            let mut ended = None;
            for commit in &commits {
                let mut result = match self.spoil(commit) {
                    Ok(commit) if self.bug == Bug::CheckedApart => {
                        self.check_then_act(&commit).await
                    }
                    Ok(commit) => self.inner.commit(vec![Arc::new(commit)]).await.remove(0),
                    Err(result) => result,
                };
                if let CommitResult::Conflict { current } = &mut result {
                    if self.bug == Bug::ConflictWithoutValues {
                        current.iter_mut().for_each(|(_, found)| *found = Versioned::default());
                    }
                    if self.bug == Bug::FirstConflictEnds {
                        ended = Some(result.clone());
                    }
                }
                results.push(ended.clone().unwrap_or(result));
            }
            results
        })
    }

    fn scan<'a>(
        &'a self,
        partition: &'a Partition,
        scan: &'a Scan,
    ) -> BoxFuture<'a, Result<Page, Failure>> {
        Box::pin(async {
            let mut scan = scan.clone();
            if self.bug == Bug::DueIgnored {
                scan.due_by = None;
            }
            let mut page = self.inner.scan(&self.partition(partition), &scan).await?;
            if self.bug == Bug::PageOne {
                page.resume = None;
            }
            Ok(page)
        })
    }

    fn resolve<'a>(
        &'a self,
        partition: &'a Partition,
        id: CommitId,
    ) -> BoxFuture<'a, Result<Resolution, Failure>> {
        Box::pin(async move {
            match self.bug {
                Bug::UnknownIdsApplied => Ok(Resolution::Applied),
                _ => self.inner.resolve(partition, id).await,
            }
        })
    }

    fn partitions<'a>(
        &'a self,
        after: Option<&'a Partition>,
        limit: usize,
    ) -> BoxFuture<'a, Result<PartitionPage, Failure>> {
        self.inner.partitions(after, limit)
    }
}

#[derive(Debug)]
struct Twins(Bug);

#[derive(Debug)]
struct Once(Bug, Arc<KitClock>);

impl Backend for Twins {
    fn place(&self, clock: Arc<KitClock>) -> Box<dyn Place> {
        Box::new(Once(self.0, clock))
    }
}

impl Place for Once {
    fn open(&self) -> Result<Arc<dyn Store>, String> {
        let clock: Arc<dyn Clock> = Arc::<KitClock>::clone(&self.1);
        let inner = MemoryStore::new(clock, MemoryConfig::default());
        Ok(Arc::new(twin(inner, Arc::clone(&self.1), self.0)))
    }
}

fn twin(inner: MemoryStore, clock: Arc<KitClock>, bug: Bug) -> Twin {
    let (ids, highest) = (AtomicU64::new(1), AtomicU64::default());
    Twin { inner, clock, bug, ids, highest, seen: Mutex::default() }
}

#[test]
fn every_twin_fails_and_the_sound_one_passes() {
    assert!(!kit::check(&Twins(Bug::None)).passed.is_empty());
    for bug in [
        Bug::NoVersionCheck,
        Bug::WrittenOnly,
        Bug::DeadlineDropped,
        Bug::DeadlineBeforeLock,
        Bug::ExpiryInclusive,
        Bug::ClockAheadTaken,
        Bug::VersionRestarts,
        Bug::PurgeTimeForgotten,
        Bug::PurgeTimeOfHighest,
        Bug::IdsForgotten,
        Bug::UnknownIdsApplied,
        Bug::FirstConflictEnds,
        Bug::ConflictWithoutValues,
        Bug::ConfirmationTaken,
        Bug::PageOne,
        Bug::DueIgnored,
        Bug::EmptyIsAbsent,
        Bug::PartitionsShared,
    ] {
        let checked = catch_unwind(AssertUnwindSafe(|| kit::check(&Twins(bug))));
        assert!(checked.is_err(), "{bug:?} passes the kit");
    }
}

fn probed(bug: Bug) -> (Result<(), ProbeError>, Twin) {
    let clock = Arc::new(KitClock::new());
    let reader: Arc<dyn Clock> = Arc::<KitClock>::clone(&clock);
    let twin = twin(MemoryStore::shared(reader, MemoryConfig::default()), clock, bug);
    (block_on(probe(&twin, 0x5eed)), twin)
}

/// All that is left in the probe's partition.
fn left(store: &dyn Store) -> Page {
    let partition = Partition::new(probe::PARTITION).unwrap();
    let kind = bellpunch_store::Kind::named("");
    let scan = Scan { kind: None, show: bellpunch_store::Show::All, ..Scan::of(kind, 100) };
    block_on(store.scan(&partition, &scan)).unwrap()
}

#[test]
fn the_probe_sees_the_lies_that_it_claims_to_see() {
    let (sound, twin) = probed(Bug::None);
    assert_eq!(sound, Ok(()));
    let left = left(&twin);
    assert_eq!((left.records.len(), left.floors.len()), (0, 1), "nothing grows");
    for (bug, claim) in [
        (Bug::NoVersionCheck, "of two creates of one record exactly one wins"),
        (Bug::CheckedApart, "of two creates of one record exactly one wins"),
        (Bug::ReadsBehind, "a read sees what was acknowledged"),
        (Bug::PartitionsShared, "partitions are apart"),
        (Bug::WrittenOnly, "a commit is refused if a record that it only read has changed"),
        (Bug::DeadlineDropped, "a commit after its deadline is refused"),
        (Bug::ClockAheadTaken, "a commit far ahead of the store's clock is refused"),
        (Bug::VersionRestarts, "the version and the time of what was removed never fall"),
        (Bug::PurgeTimeForgotten, "the version and the time of what was removed never fall"),
        (Bug::IdsForgotten, "a commit that is sent again is applied once, and acknowledged again"),
        (Bug::UnknownIdsApplied, "the store knows which commits it applied"),
        (Bug::FirstConflictEnds, "commits of one call are apart"),
        (Bug::ConflictWithoutValues, "a conflict shows the records that differed, as they are"),
        (Bug::ConfirmationTaken, "a confirmation of a stale version is refused"),
        (Bug::PageOne, "a scan shows each record once, in order"),
        (Bug::DueIgnored, "a scan of what is due shows nothing else"),
    ] {
        match probed(bug).0 {
            Err(ProbeError::Lie(lie)) => assert_eq!(lie.claim(), claim, "{bug:?}: {lie}"),
            other => panic!("{bug:?}: {other:?}"),
        }
    }
}

#[test]
fn probes_at_once_do_not_take_each_other_for_lies() {
    let clock = Arc::new(KitClock::new());
    let store = Arc::new(MemoryStore::shared(clock, MemoryConfig::default()));
    let probes: Vec<_> = (0..8_u128)
        .map(|seed| {
            let store = Arc::clone(&store);
            std::thread::spawn(move || {
                for round in 0..50_u128 {
                    let seed = (seed << 64) | (round << 32);
                    assert_eq!(block_on(probe(&*store, seed)), Ok(()));
                }
            })
        })
        .collect();
    for probe in probes {
        probe.join().unwrap();
    }
    let left = left(&*store);
    assert_eq!((left.records.len(), left.floors.len()), (0, 1), "nothing grows");
}

#[test]
fn what_a_probe_left_is_purged_by_a_later_one() {
    let clock = Arc::new(KitClock::new());
    let reader: Arc<dyn Clock> = Arc::<KitClock>::clone(&clock);
    let store = MemoryStore::shared(reader, MemoryConfig::default());
    let fails = FailsLate(&store, AtomicU64::new(12));
    assert!(matches!(block_on(probe(&fails, 1)), Err(ProbeError::Failed(_))));
    assert!(!left(&store).records.is_empty(), "it ended half-way");
    assert_eq!(block_on(probe(&store, 2)), Ok(()));
    assert!(!left(&store).records.is_empty(), "another one may still be at it");
    clock.set("2026-03-01T13:00:00Z".parse().unwrap());
    assert_eq!(block_on(probe(&store, 3)), Ok(()));
    assert!(left(&store).records.is_empty());
}

/// A store that is gone after some calls.
#[derive(Debug)]
struct FailsLate<'a>(&'a MemoryStore, AtomicU64);

impl FailsLate<'_> {
    fn reach(&self) -> Result<(), Failure> {
        let left = self.1.load(Ordering::Relaxed).checked_sub(1);
        self.1.store(left.unwrap_or_default(), Ordering::Relaxed);
        let gone = || Failure::new(bellpunch_store::FailureKind::Unavailable, "gone");
        left.map(drop).ok_or_else(gone)
    }
}

impl Store for FailsLate<'_> {
    fn properties(&self) -> Properties {
        self.0.properties()
    }

    fn read<'a>(
        &'a self,
        partition: &'a Partition,
        keys: &'a [RecordKey],
    ) -> BoxFuture<'a, Result<Vec<Versioned>, Failure>> {
        match self.reach() {
            Ok(()) => self.0.read(partition, keys),
            Err(failure) => Box::pin(std::future::ready(Err(failure))),
        }
    }

    fn commit(&self, commits: Vec<Arc<Commit>>) -> BoxFuture<'_, Vec<CommitResult>> {
        match self.reach() {
            Ok(()) => self.0.commit(commits),
            Err(failure) => {
                let failed = commits.iter().map(|_| CommitResult::Failed(failure.clone()));
                Box::pin(std::future::ready(failed.collect()))
            }
        }
    }

    fn scan<'a>(
        &'a self,
        partition: &'a Partition,
        scan: &'a Scan,
    ) -> BoxFuture<'a, Result<Page, Failure>> {
        match self.reach() {
            Ok(()) => self.0.scan(partition, scan),
            Err(failure) => Box::pin(std::future::ready(Err(failure))),
        }
    }

    fn resolve<'a>(
        &'a self,
        partition: &'a Partition,
        id: CommitId,
    ) -> BoxFuture<'a, Result<Resolution, Failure>> {
        self.0.resolve(partition, id)
    }

    fn partitions<'a>(
        &'a self,
        after: Option<&'a Partition>,
        limit: usize,
    ) -> BoxFuture<'a, Result<PartitionPage, Failure>> {
        self.0.partitions(after, limit)
    }
}
