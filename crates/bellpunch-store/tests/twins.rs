//! The kit has power: a store that is wrong in one way fails it.
#![expect(clippy::unwrap_used, reason = "tests stop at the unexpected")]
#![expect(clippy::wildcard_enum_match_arm, reason = "each bug changes one thing")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bellpunch_store::kit::{self, Backend, KitClock, Place};
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
}

#[derive(Debug)]
struct Twin {
    inner: MemoryStore,
    clock: Arc<KitClock>,
    bug: Bug,
    ids: AtomicU64,
    /// The highest version that was purged.
    highest: AtomicU64,
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

impl Store for Twin {
    fn properties(&self) -> Properties {
        self.inner.properties()
    }

    fn read<'a>(
        &'a self,
        partition: &'a Partition,
        keys: &'a [RecordKey],
    ) -> BoxFuture<'a, Result<Vec<Versioned>, Failure>> {
        Box::pin(async { self.inner.read(&self.partition(partition), keys).await })
    }

    fn commit(&self, commits: Vec<Arc<Commit>>) -> BoxFuture<'_, Vec<CommitResult>> {
        Box::pin(async move {
            let mut results = Vec::new();
            let mut ended = None;
            for commit in &commits {
                let mut result = match self.spoil(commit) {
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
        let clock = Arc::clone(&self.1);
        let (ids, highest) = (AtomicU64::new(1), AtomicU64::default());
        Ok(Arc::new(Twin { inner, clock, bug: self.0, ids, highest }))
    }
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
