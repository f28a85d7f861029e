//! The store: what callers see of the log.

use std::fmt;
use std::future::ready;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, RwLockReadGuard};
use std::thread::JoinHandle;

use bellpunch_store::{
    BoxFuture, Clock, Commit, CommitId, CommitResult, Failure, Guarantee, Page, Partition,
    PartitionPage, Properties, RecordKey, Resolution, Scan, Sharing, Store, StoreClock, Survives,
    Versioned,
};
use tokio::sync::oneshot;

use crate::batch::{Batch, COMMIT_BYTES_MAX, RECORDS_MAX, RECORDS_MIN, check_bounds};
use crate::committer::{BATCH_BYTES, Committer, Job, Pace, Shared};
use crate::compaction::Compaction;
use crate::config::{DiskConfig, OpenError, OpenErrorKind};
use crate::files::{Files, Folder};
use crate::format::Seed;
use crate::index::{Forgot, Index, Opened, Seen};
use crate::keeper::Keeper;
use crate::recovery::{Recovered, recover};

/// How a disk store is doing.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct DiskReport {
    /// Segment files.
    pub segments: u64,
    /// Bytes of the log.
    pub total_bytes: u64,
    /// Bytes that would be left if all of it were compacted, at most.
    pub live_bytes: u64,
    /// Bytes of memory that the index counts with.
    pub index_bytes: u64,
    /// Records and tombstones.
    pub records: u64,
    /// Bytes of an unfinished batch that were cut when the store was opened.
    pub cut_bytes: u64,
    /// Batches written, so syncs, since then.
    pub syncs: u64,
    /// Segments compacted since then.
    pub compacted: u64,
    /// Why the store has stopped.
    pub stopped: Option<Failure>,
    /// Why it frees no more space.
    pub compaction_stopped: Option<Failure>,
}

/// A store in a folder. See the [crate's documentation](crate).
#[derive(Debug)]
pub struct DiskStore {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    cut_bytes: u64,
    /// Keeps the folder locked until the threads have ended.
    _files: Arc<dyn Files>,
}

impl DiskStore {
    /// Opens or makes the store of a folder, and recovers what is in it.
    ///
    /// # Errors
    /// If another process has the folder, if acknowledged data is damaged or missing, if a newer
    /// release wrote it, or if the file system refuses.
    pub fn open(config: &DiskConfig, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let files = Folder::open(&config.folder).map_err(|cause| {
            let folder = config.folder.display();
            OpenError::new(OpenErrorKind::Files, format!("cannot open folder {folder}: {cause}"))
        })?;
        Self::open_on(Arc::new(files), config, clock)
    }

    /// As [`open`](Self::open), on other files than those of the machine.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_on(
        files: Arc<dyn Files>,
        config: &DiskConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        config.check()?;
        files.lock().map_err(|cause| locked(config, &cause))?;
        let recovered = recover(&*files, &*clock)?;
        let Recovered { index, store, segment, batch: number, cut_bytes } = recovered;
        let threads = |cause: std::io::Error| {
            OpenError::new(OpenErrorKind::Files, format!("cannot start a thread: {cause}"))
        };
        let (file, bytes) = match index.segments.get(&segment) {
            Some(active) => (Arc::clone(&active.file), active.bytes),
            None => unreachable!("recovery gives a segment that it opened"),
        };
        let shared = Arc::new(Shared::new(config.clone(), clock, index));
        let committer = Committer {
            shared: Arc::clone(&shared),
            files: Arc::clone(&files),
            keeper: Keeper::start(Arc::clone(&files), store).map_err(threads)?,
            seed: Seed { store, segment: u64::from(segment) },
            segment,
            file,
            bytes,
            number,
            batch: Batch::default(),
            appended: 0,
            compaction: Compaction::default(),
            pace: Pace::Free,
        };
        let builder = std::thread::Builder::new().name("bellpunch-commit".to_owned());
        let thread = builder.spawn(move || committer.run()).map_err(threads)?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)), cut_bytes, _files: files })
    }

    /// Finishes what was queued, refuses what comes after, and marks the log as closed in order.
    /// Dropping the store does the same.
    pub fn close(&self) {
        self.shared.close();
        let thread = self.thread.lock().expect("no code panics while it holds this lock").take();
        if let Some(thread) = thread {
            // If it panicked, there is no mark, and the next start recovers.
            let _ = thread.join();
        }
    }

    /// How it is doing.
    #[must_use]
    pub fn report(&self) -> DiskReport {
        let index = self.index();
        let wide = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
        DiskReport {
            segments: wide(index.segments.len()),
            total_bytes: index.total,
            live_bytes: index.live,
            index_bytes: wide(index.memory),
            records: index.records,
            cut_bytes: self.cut_bytes,
            syncs: self.shared.syncs.load(Ordering::Relaxed),
            compacted: self.shared.compacted.load(Ordering::Relaxed),
            stopped: self.shared.stopped.get().cloned(),
            compaction_stopped: self.shared.compaction.get().cloned(),
        }
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.shared.index.read().expect("no code panics while it holds this lock")
    }

    /// Refuses everything once the store has stopped: what the log says is then not known.
    fn running(&self) -> Result<(), Failure> {
        self.shared.stopped.get().map_or(Ok(()), |failure| Err(failure.clone()))
    }

    fn read_now(
        &self,
        partition: &Partition,
        keys: &[RecordKey],
    ) -> Result<Vec<Versioned>, Failure> {
        self.running()?;
        let index = self.index();
        let seen: Vec<_> = keys.iter().map(|key| index.seen(partition, key).open(&index)).collect();
        drop(index);
        keys.iter().zip(seen).map(|(key, opened)| opened.fetch(partition, key)).collect()
    }

    fn scan_now(&self, partition: &Partition, scan: &Scan) -> Result<Page, Failure> {
        self.running()?;
        let index = self.index();
        let (found, resume) = index.page(partition, scan);
        let floors = index.floors(partition, scan);
        let opened = |(key, seen): (RecordKey, Seen)| (key, seen.open(&index));
        let found: Vec<_> = found.into_iter().map(opened).collect();
        drop(index);
        let fetch = |(key, opened): (RecordKey, Opened)| {
            let versioned = opened.fetch(partition, &key)?;
            Ok((key, versioned))
        };
        let records = found.into_iter().map(fetch).collect::<Result<_, Failure>>()?;
        Ok(Page { floors, records, resume })
    }
}

impl Drop for DiskStore {
    fn drop(&mut self) {
        self.close();
    }
}

/// The answers to the commits of one call: some at once, the others with their batches.
struct Sent {
    results: Vec<Option<CommitResult>>,
    waiting: Vec<(Vec<usize>, oneshot::Receiver<Vec<CommitResult>>)>,
}

impl Sent {
    async fn wait(self) -> Vec<CommitResult> {
        let Self { mut results, waiting } = self;
        for (indexes, reply) in waiting {
            // A committer that is gone answers nothing: it may have written.
            let answers = reply.await.unwrap_or_default();
            for (index, answer) in indexes.into_iter().zip(answers) {
                if let Some(result) = results.get_mut(index) {
                    *result = Some(answer);
                }
            }
        }
        results.into_iter().map(|result| result.unwrap_or(CommitResult::Unknown)).collect()
    }
}

impl Store for DiskStore {
    fn properties(&self) -> Properties {
        Properties {
            name: "disk",
            sharing: Sharing::Exclusive,
            guarantee: Guarantee::Atomic,
            survives: Survives::Machine,
            risk: None,
            clock: StoreClock::AtExclusivity,
            records_max: RECORDS_MAX,
            records_min: RECORDS_MIN,
            bytes_max: COMMIT_BYTES_MAX,
        }
    }

    fn read<'a>(
        &'a self,
        partition: &'a Partition,
        keys: &'a [RecordKey],
    ) -> BoxFuture<'a, Result<Vec<Versioned>, Failure>> {
        Box::pin(ready(self.read_now(partition, keys)))
    }

    /// Queued when called, not when first polled; a caller that goes away cancels nothing.
    fn commit(&self, commits: Vec<Arc<Commit>>) -> BoxFuture<'_, Vec<CommitResult>> {
        let mut sent =
            Sent { results: commits.iter().map(|_| None).collect(), waiting: Vec::new() };
        let mut chunk = (Vec::new(), Vec::new(), 0_usize);
        for (index, commit) in commits.into_iter().enumerate() {
            match check_bounds(&commit) {
                Ok(bytes) => {
                    chunk.0.push(index);
                    chunk.1.push(commit);
                    chunk.2 = chunk.2.saturating_add(bytes);
                }
                Err(failure) => {
                    if let Some(result) = sent.results.get_mut(index) {
                        *result = Some(CommitResult::Failed(failure));
                    }
                }
            }
            if BATCH_BYTES <= chunk.2 {
                self.send(std::mem::take(&mut chunk), &mut sent);
            }
        }
        self.send(chunk, &mut sent);
        Box::pin(sent.wait())
    }

    fn scan<'a>(
        &'a self,
        partition: &'a Partition,
        scan: &'a Scan,
    ) -> BoxFuture<'a, Result<Page, Failure>> {
        Box::pin(ready(self.scan_now(partition, scan)))
    }

    fn resolve<'a>(
        &'a self,
        _: &'a Partition,
        id: CommitId,
    ) -> BoxFuture<'a, Result<Resolution, Failure>> {
        Box::pin(ready(self.running().map(|()| {
            let index = self.index();
            match (index.applied(id), index.forgot) {
                (Some(_), _) => Resolution::Applied,
                (None, Forgot::Some) => Resolution::NotKnown,
                (None, Forgot::None) => Resolution::NotApplied,
            }
        })))
    }

    fn partitions<'a>(
        &'a self,
        after: Option<&'a Partition>,
        limit: usize,
    ) -> BoxFuture<'a, Result<PartitionPage, Failure>> {
        let page = self.running().map(|()| {
            let (partitions, more) = self.index().partitions(after, limit);
            PartitionPage { partitions, more }
        });
        Box::pin(ready(page))
    }
}

/// Where the commits of a chunk stand in their call, the commits, and their bytes.
type Chunk = (Vec<usize>, Vec<Arc<Commit>>, usize);

impl DiskStore {
    fn send(&self, (indexes, commits, bytes): Chunk, sent: &mut Sent) {
        if !commits.is_empty() {
            let (reply, receiver) = oneshot::channel();
            self.shared.send(Job { commits, bytes, reply });
            sent.waiting.push((indexes, receiver));
        }
    }
}

fn locked(config: &DiskConfig, cause: &std::io::Error) -> OpenError {
    let folder = config.folder.display();
    let (kind, what): (_, &dyn fmt::Display) = if cause.kind() == std::io::ErrorKind::WouldBlock {
        (OpenErrorKind::Locked, &"another process has it: stop that one, or use another folder")
    } else {
        (OpenErrorKind::Files, cause)
    };
    OpenError::new(kind, format!("cannot lock folder {folder}: {what}"))
}
