//! The cable between a node and its store, which scripts cut and the clock that they set.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bellpunch::store::{
    BoxFuture, Clock, Commit, CommitId, CommitResult, Failure, FailureKind, Page, PartitionPage,
    Properties, Resolution, Scan, Store, Versioned,
};
use bellpunch::{Partition, RecordKey, Timestamp};

/// A clock that stands where it was set.
#[derive(Debug, Default)]
pub(crate) struct ManualClock(AtomicU64);

impl ManualClock {
    pub(crate) fn set(&self, now: Timestamp) {
        let nanos = u64::try_from(now.nanos()).expect("scripts end before 2554");
        self.0.store(nanos, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.load(Ordering::SeqCst).into()).expect("before 9999")
    }
}

/// What goes wrong on the way.
#[derive(Debug)]
pub(crate) struct Faults {
    clock: Arc<ManualClock>,
    down: AtomicBool,
    lose_next: AtomicBool,
    stall_until: Mutex<Option<Timestamp>>,
}

impl Faults {
    pub(crate) fn new(clock: Arc<ManualClock>) -> Self {
        let (down, lose_next) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { clock, down, lose_next, stall_until: Mutex::new(None) }
    }

    pub(crate) fn cut(&self, down: &Down) {
        self.down.store(matches!(down, Down::Yes), Ordering::SeqCst);
    }

    /// The next commit is applied, and its result lost.
    pub(crate) fn lose_next(&self) {
        self.lose_next.store(true, Ordering::SeqCst);
    }

    /// The next commit waits until then for somebody else who has the store.
    pub(crate) fn stall_until(&self, until: Timestamp) {
        *self.stall_until.lock().unwrap() = Some(until);
    }

    fn check(&self) -> Result<(), Failure> {
        if self.down.load(Ordering::SeqCst) {
            return Err(Failure::new(FailureKind::Unavailable, "the cable is cut"));
        }
        Ok(())
    }
}

/// Whether the store is cut off.
#[derive(Debug)]
pub(crate) enum Down {
    Yes,
    No,
}

/// A store at the other end of a cable.
#[derive(Debug)]
pub(crate) struct Cable {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) faults: Arc<Faults>,
}

#[deny(clippy::missing_trait_methods)]
impl Store for Cable {
    fn properties(&self) -> Properties {
        self.store.properties()
    }

    fn read<'a>(
        &'a self,
        partition: &'a Partition,
        keys: &'a [RecordKey],
    ) -> BoxFuture<'a, Result<Vec<Versioned>, Failure>> {
        Box::pin(async move {
            self.faults.check()?;
            self.store.read(partition, keys).await
        })
    }

    fn commit(&self, commits: Vec<Arc<Commit>>) -> BoxFuture<'_, Vec<CommitResult>> {
        Box::pin(async move {
            if let Err(failure) = self.faults.check() {
                return commits.iter().map(|_| CommitResult::Failed(failure.clone())).collect();
            }
            if let Some(until) = self.faults.stall_until.lock().unwrap().take() {
                // Time passes, and only then the store compares its clock.
                self.faults.clock.set(until);
            }
            let results = self.store.commit(commits).await;
            if self.faults.lose_next.swap(false, Ordering::SeqCst) {
                return results.iter().map(|_| CommitResult::Unknown).collect();
            }
            results
        })
    }

    fn scan<'a>(
        &'a self,
        partition: &'a Partition,
        scan: &'a Scan,
    ) -> BoxFuture<'a, Result<Page, Failure>> {
        Box::pin(async move {
            self.faults.check()?;
            self.store.scan(partition, scan).await
        })
    }

    fn resolve<'a>(
        &'a self,
        partition: &'a Partition,
        id: CommitId,
    ) -> BoxFuture<'a, Result<Resolution, Failure>> {
        Box::pin(async move {
            self.faults.check()?;
            self.store.resolve(partition, id).await
        })
    }

    fn partitions<'a>(
        &'a self,
        after: Option<&'a Partition>,
        limit: usize,
    ) -> BoxFuture<'a, Result<PartitionPage, Failure>> {
        Box::pin(async move {
            self.faults.check()?;
            self.store.partitions(after, limit).await
        })
    }
}
