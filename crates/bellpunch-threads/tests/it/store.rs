//! A store in memory that answers from a task of its own, and notes what it was asked.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bellpunch_threads::runtime::{oneshot, point};
use bellpunch_threads::store::fault::FaultStore;
use bellpunch_threads::store::{
    BoxFuture, Clock, Commit, CommitId, CommitResult, Failure, MemoryConfig, MemoryStore, Page,
    PartitionPage, Properties, Resolution, Scan, Sharing, Store, Versioned,
};
use bellpunch_threads::{Partition, Record as _, RecordKey, Timestamp, Versions};
use serde::Deserialize;

use crate::rule::{Sheet, sheet};

/// A clock that stands where it is put.
#[derive(Debug)]
pub(crate) struct Hand(AtomicU64);

impl Hand {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(1_000_000_000))
    }

    pub(crate) fn move_on(&self, nanos: u64) {
        self.0.fetch_add(nanos, Ordering::Relaxed);
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.load(Ordering::Relaxed).into()).expect("a time")
    }
}

/// What the store was asked, and what became of it.
#[derive(Debug, Default)]
struct Log {
    /// Partitions with a commit on its way.
    open: BTreeSet<Partition>,
    /// Versions that commits made which ended: partition, record, version.
    ended: BTreeSet<(Partition, String, u64)>,
    /// Commits whose answer nobody waited for.
    cut: u32,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Watched {
    inner: Arc<FaultStore>,
    sharing: Sharing,
    batch_max: u64,
    log: Arc<Mutex<Log>>,
}

impl Watched {
    pub(crate) fn new(clock: Arc<Hand>, sharing: Sharing, batch_max: usize) -> Self {
        let memory = MemoryStore::new(clock, MemoryConfig::default());
        let inner = Arc::new(FaultStore::new(Arc::new(memory)));
        let batch_max = u64::try_from(batch_max).expect("a few");
        Self { inner, sharing, batch_max, log: Arc::default() }
    }

    pub(crate) fn faults(&self) -> &FaultStore {
        &self.inner
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("no code panics while it holds this lock")
    }

    /// What an answer rests on was durable before it was told.
    pub(crate) fn assert_ended(&self, partition: &Partition, versions: &Versions) {
        let early = {
            let log = self.log();
            versions.iter().find_map(|(record, version)| {
                let made = (partition.clone(), record.clone(), version.get());
                (0 < made.2 && !log.ended.contains(&made)).then_some(made)
            })
        };
        assert_eq!(early, None, "no reply before its commit ended");
    }

    /// Nothing is on its way.
    pub(crate) fn assert_idle(&self) {
        let open = self.log().open.clone();
        assert!(open.is_empty(), "commits are left running: {open:?}");
    }

    /// Every commit was waited for.
    pub(crate) fn assert_uncut(&self) {
        let cut = self.log().cut;
        assert_eq!(cut, 0, "commits were sent, and their ends not waited for");
    }

    /// Who signed the sheet of a partition.
    pub(crate) async fn lines(&self, partition: &Partition) -> Vec<u64> {
        #[derive(Deserialize)]
        struct Envelope {
            record: Sheet,
        }
        let read = self.inner.read(partition, &[Sheet::key(&sheet())]).await;
        let value = read.expect("it is up").pop().and_then(|versioned| versioned.value);
        value.map_or_else(Vec::new, |value| {
            serde_json::from_slice::<Envelope>(&value).expect("a sheet").record.lines
        })
    }

    fn begin(&self, commits: &[Arc<Commit>]) -> Open {
        let partitions: Vec<_> = commits.iter().map(|commit| commit.partition.clone()).collect();
        for commit in commits {
            let first = self.log().open.insert(commit.partition.clone());
            assert!(first, "a partition has one commit on its way");
            for write in &commit.writes {
                let read = commit.preconditions.iter().find(|read| read.key == write.key);
                let before = read.expect("what is written was read").version.get();
                let commands = write.version.get().saturating_sub(before);
                assert!(commands <= self.batch_max, "a batch of {commands} commands");
            }
        }
        Open { partitions, log: Some(Arc::clone(&self.log)) }
    }
}

/// A commit whose answer is waited for.
struct Open {
    partitions: Vec<Partition>,
    log: Option<Arc<Mutex<Log>>>,
}

impl Open {
    fn close(mut self) {
        let log = self.log.take().expect("it is open");
        let mut log = log.lock().expect("no code panics while it holds this lock");
        for partition in &self.partitions {
            log.open.remove(partition);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(Ok(mut log)) = self.log.as_ref().map(|log| log.lock()) {
            log.cut = log.cut.saturating_add(1);
        }
    }
}

fn note(log: &Mutex<Log>, commits: &[Arc<Commit>], results: &[CommitResult]) {
    let mut log = log.lock().expect("no code panics while it holds this lock");
    for (commit, result) in commits.iter().zip(results) {
        // One whose reply is lost may have ended well: it is asked for, or sent again.
        if matches!(result, CommitResult::Committed { .. } | CommitResult::Unknown) {
            for write in &commit.writes {
                // A commit of many commands makes all the versions between.
                let read = commit.preconditions.iter().find(|read| read.key == write.key);
                let before = read.map_or(0, |read| read.version.get());
                for version in before.saturating_add(1)..=write.version.get() {
                    log.ended.insert((commit.partition.clone(), write.key.to_string(), version));
                }
            }
        }
    }
}

/// Does it in a task of its own, as the threads of a store do: the schedule says when.
async fn elsewhere<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let (done, wait) = oneshot::channel();
    drop(shuttle::future::spawn(async move {
        let _ = done.send(work.await);
    }));
    wait.await.expect("the store's task ends")
}

#[deny(clippy::missing_trait_methods)]
impl Store for Watched {
    fn properties(&self) -> Properties {
        Properties { sharing: self.sharing, ..self.inner.properties() }
    }

    fn read<'a>(
        &'a self,
        partition: &'a Partition,
        keys: &'a [RecordKey],
    ) -> BoxFuture<'a, Result<Vec<Versioned>, Failure>> {
        let (inner, partition, keys) =
            (Arc::clone(&self.inner), partition.clone(), keys.to_owned());
        Box::pin(elsewhere(async move { inner.read(&partition, &keys).await }))
    }

    fn commit(&self, commits: Vec<Arc<Commit>>) -> BoxFuture<'_, Vec<CommitResult>> {
        let open = self.begin(&commits);
        let (inner, log) = (Arc::clone(&self.inner), Arc::clone(&self.log));
        let work = async move {
            let results = inner.commit(commits.clone()).await;
            point();
            note(&log, &commits, &results);
            results
        };
        Box::pin(async move {
            let results = elsewhere(work).await;
            open.close();
            results
        })
    }

    fn scan<'a>(
        &'a self,
        partition: &'a Partition,
        scan: &'a Scan,
    ) -> BoxFuture<'a, Result<Page, Failure>> {
        let (inner, partition, scan) = (Arc::clone(&self.inner), partition.clone(), scan.clone());
        Box::pin(elsewhere(async move { inner.scan(&partition, &scan).await }))
    }

    fn resolve<'a>(
        &'a self,
        partition: &'a Partition,
        id: CommitId,
    ) -> BoxFuture<'a, Result<Resolution, Failure>> {
        let (inner, partition) = (Arc::clone(&self.inner), partition.clone());
        Box::pin(elsewhere(async move { inner.resolve(&partition, id).await }))
    }

    fn partitions<'a>(
        &'a self,
        after: Option<&'a Partition>,
        limit: usize,
    ) -> BoxFuture<'a, Result<PartitionPage, Failure>> {
        let (inner, after) = (Arc::clone(&self.inner), after.cloned());
        Box::pin(elsewhere(async move { inner.partitions(after.as_ref(), limit).await }))
    }
}
