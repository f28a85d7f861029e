//! The one thread that decides and appends.
//!
//! Invariant: a batch is begun only after the one before it is synced; the index changes only after
//! the sync; a failed write or sync stops the store for good. Why a thread and not the caller: the
//! caller is a task of an async runtime with few threads. While one blocks in a sync, no other
//! task could queue up, and each commit would get a sync of its own.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, RwLock};

use bellpunch_store::{Clock, Commit, CommitResult, Failure, FailureKind};
use tokio::sync::oneshot;

use crate::batch::Batch;
use crate::compaction::Compaction;
use crate::config::DiskConfig;
use crate::files::{File, Files};
use crate::format::{End, Head, SEGMENT_HEADER_BYTES, Seed};
use crate::index::{Index, Segment};
use crate::keeper::Keeper;
use crate::recovery::CLOSED;

/// Bytes of commits after which no more are taken into a batch.
pub(crate) const BATCH_BYTES: usize = 4 << 20;
/// Bytes of commits that may wait.
const QUEUE_BYTES_MAX: usize = 256 << 20;
/// Commits that may wait.
const QUEUE_COMMITS_MAX: usize = 65_536;
/// How often the processor is offered to others before the thread sleeps: a caller that is alone
/// sends its next commit within that time, and waking a sleeping thread costs as much as a third of
/// a sync.
const YIELDS: u32 = 256;

/// Commits of one call.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) commits: Vec<Arc<Commit>>,
    pub(crate) bytes: usize,
    pub(crate) reply: oneshot::Sender<Vec<CommitResult>>,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    commits: usize,
    bytes: usize,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Phase {
    #[default]
    Open,
    Closing,
}

/// What the committer and the store's callers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: DiskConfig,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) index: RwLock<Index>,
    queue: Mutex<Queue>,
    /// Whether jobs wait: told without the lock.
    waiting: AtomicBool,
    wake: Condvar,
    /// Why nothing works any more.
    pub(crate) stopped: OnceLock<Failure>,
    /// Why no space is freed any more.
    pub(crate) compaction: OnceLock<Failure>,
    pub(crate) syncs: AtomicU64,
    pub(crate) compacted: AtomicU64,
}

impl Shared {
    pub(crate) fn new(config: DiskConfig, clock: Arc<dyn Clock>, index: Index) -> Self {
        Self {
            config,
            clock,
            index: RwLock::new(index),
            queue: Mutex::default(),
            waiting: AtomicBool::new(false),
            wake: Condvar::new(),
            stopped: OnceLock::new(),
            compaction: OnceLock::new(),
            syncs: AtomicU64::new(0),
            compacted: AtomicU64::new(0),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("no code panics while it holds this lock")
    }

    /// Queues a job, or answers it.
    pub(crate) fn send(&self, job: Job) {
        let mut queue = self.queue();
        let commits = queue.commits.saturating_add(job.commits.len());
        let bytes = queue.bytes.saturating_add(job.bytes);
        let full = QUEUE_COMMITS_MAX < commits || QUEUE_BYTES_MAX < bytes;
        let refusal = if queue.phase == Phase::Closing {
            Some(Failure::new(FailureKind::Unavailable, "the disk store is closed"))
        } else if full && !queue.jobs.is_empty() {
            let message = "too many commits wait for the disk; send fewer at once";
            Some(Failure::new(FailureKind::Throttled, message))
        } else {
            None
        };
        if let Some(failure) = refusal {
            drop(queue);
            job.answer_all(&CommitResult::Failed(failure));
            return;
        }
        (queue.commits, queue.bytes) = (commits, bytes);
        queue.jobs.push_back(job);
        self.waiting.store(true, Ordering::Release);
        drop(queue);
        self.wake.notify_one();
    }

    pub(crate) fn close(&self) {
        self.queue().phase = Phase::Closing;
        self.wake.notify_one();
    }

    /// The committer has panicked: nobody waits for it, and nobody begins to.
    fn abandon(&self) {
        let message = "the disk store's thread has panicked; restart to recover from the log";
        // If it had stopped before, that reason stays.
        let _ = self.stopped.set(Failure::new(FailureKind::Unavailable, message));
        let mut queue = self.queue();
        queue.phase = Phase::Closing;
        queue.jobs.clear();
    }
}

impl Job {
    fn answer_all(self, result: &CommitResult) {
        let results = self.commits.iter().map(|_| result.clone()).collect();
        answer(self.reply, results);
    }
}

/// A caller that went away needs no answer.
fn answer(reply: oneshot::Sender<Vec<CommitResult>>, results: Vec<CommitResult>) {
    let _ = reply.send(results);
}

#[derive(Debug)]
pub(crate) struct Committer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) files: Arc<dyn Files>,
    pub(crate) keeper: Keeper,
    pub(crate) seed: Seed,
    pub(crate) segment: u32,
    pub(crate) file: Arc<dyn File>,
    pub(crate) bytes: u64,
    /// The number of the next batch.
    pub(crate) number: u64,
    pub(crate) batch: Batch,
    /// Bytes that the commits of the last batch took.
    pub(crate) appended: usize,
    pub(crate) compaction: Compaction,
    pub(crate) pace: Pace,
}

/// When to compact.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pace {
    /// Between batches too.
    Free,
    /// The disk is full: only with a batch, which shows whether it still is.
    Riding,
}

/// Why a batch was not made durable.
enum Trouble {
    /// Nothing was written; the next one may fare better.
    Full(Failure),
    /// What is durable is not known.
    Stop(Failure),
}

/// Tells the callers when the thread ends by a panic.
struct Abandon(Arc<Shared>);

impl Drop for Abandon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.abandon();
        }
    }
}

impl Committer {
    /// Works until the store is closed.
    pub(crate) fn run(mut self) {
        let _abandon = Abandon(Arc::clone(&self.shared));
        self.prepare();
        while let Some(jobs) = self.wait() {
            if let Some(failure) = self.shared.stopped.get() {
                for job in jobs {
                    job.answer_all(&CommitResult::Failed(failure.clone()));
                }
                continue;
            }
            self.work(jobs);
        }
        let Self { shared, files, keeper, seed, segment, bytes, number, .. } = self;
        drop(keeper);
        if shared.stopped.get().is_none() {
            let segment = u64::from(segment);
            // Without the mark the next start takes the log for one that was cut short.
            let _ = mark(&*files, End { store: seed.store, segment, bytes, batches: number });
        }
    }

    fn prepare(&mut self) {
        if let Some(next) = self.segment.checked_add(1) {
            self.keeper.prepare(next);
        }
    }

    /// The next jobs; none if there is only compaction to go on with.
    fn wait(&mut self) -> Option<Vec<Job>> {
        let stopped = self.shared.stopped.get().is_some();
        let mut compacts = false;
        if !stopped {
            let index = self.shared.index.read().expect("no code panics while it holds this lock");
            compacts = match self.shared.compaction.get() {
                None => self.compaction.begin(&index, self.shared.config.slack_bytes),
                Some(_) => self.compaction.done.is_some(),
            } && self.pace == Pace::Free;
        }
        if !stopped && !compacts {
            for _ in 0..YIELDS {
                if self.shared.waiting.load(Ordering::Acquire) {
                    break;
                }
                std::thread::yield_now();
            }
        }
        let mut queue = self.shared.queue();
        loop {
            if !queue.jobs.is_empty() {
                self.shared.waiting.store(false, Ordering::Release);
                return Some(queue.drain());
            }
            if queue.phase == Phase::Closing {
                return None;
            }
            if compacts {
                return Some(Vec::new());
            }
            let woken = self.shared.wake.wait(queue);
            queue = woken.expect("no code panics while it holds this lock");
        }
    }

    /// Decides jobs as one batch, makes it durable, then visible, then known.
    fn work(&mut self, jobs: Vec<Job>) {
        let shared = Arc::clone(&self.shared);
        self.batch.clear();
        let mut answers = Vec::with_capacity(jobs.len());
        let copied;
        let stepped = {
            let index = shared.index.read().expect("no code panics while it holds this lock");
            let stepped = self.compact(&index);
            copied = self.batch.bytes();
            for job in jobs {
                let take = |commit: &Arc<Commit>| {
                    // The batch is this thread's alone: only now is the clock read.
                    let now = shared.clock.now();
                    self.batch.take(&index, &shared.config, (commit, now))
                };
                let results: Vec<_> = job.commits.iter().map(take).collect();
                answers.push((job.reply, results));
            }
            stepped
        };
        if !self.batch.is_empty()
            && let Err(trouble) = self.write()
        {
            self.fail(answers, trouble);
            return;
        }
        self.appended = self.batch.bytes().saturating_sub(copied);
        if let Some(stepped) = stepped {
            self.stepped(stepped);
        }
        for (reply, results) in answers {
            answer(reply, results);
        }
    }

    /// Adds a piece of compaction to the batch; how far it has come once that is durable.
    fn compact(&mut self, index: &Index) -> Option<Compaction> {
        let Compaction { done, .. } = self.compaction;
        if let Some(through) = done {
            self.batch.frame(&Head::Removed { through }, |_| {});
        }
        if self.shared.compaction.get().is_some() {
            return Some(Compaction::default());
        }
        let pace = (self.shared.config.slack_bytes, self.appended);
        match self.compaction.clone().advance(index, pace, &mut self.batch) {
            Ok(next) => Some(next.told(done)),
            Err(failure) => {
                self.batch.clear();
                self.compaction = Compaction::ended(done);
                // It is set once: compaction is not begun again.
                let _ = self.shared.compaction.set(failure);
                None
            }
        }
    }

    /// The piece of compaction is durable.
    fn stepped(&mut self, next: Compaction) {
        let told = std::mem::replace(&mut self.compaction, next).done;
        let Some(through) = told else { return };
        let mut index = self.shared.index.write().expect("no code panics while it holds this lock");
        let kept = index.segments.split_off(&through.saturating_add(1));
        let gone = std::mem::replace(&mut index.segments, kept);
        let bytes = gone.values().map(|segment| segment.bytes).sum();
        index.total = index.total.saturating_sub(bytes);
        drop(index);
        for segment in gone.keys() {
            self.shared.compacted.fetch_add(1, Ordering::Relaxed);
            self.keeper.remove(*segment);
        }
    }

    fn write(&mut self) -> Result<(), Trouble> {
        let bytes = u64::try_from(self.batch.bytes()).expect("64 bits fit");
        let empty = u64::try_from(SEGMENT_HEADER_BYTES).expect("64 bits fit");
        if self.shared.config.segment_bytes < self.bytes.saturating_add(bytes) && empty < self.bytes
        {
            self.rotate()?;
        }
        let base = self.bytes;
        let sealed = self.batch.seal(self.seed, self.number);
        self.file.write_at(sealed, base).map_err(|cause| stop("write", &cause))?;
        self.file.sync().map_err(|cause| stop("sync", &cause))?;
        self.shared.syncs.fetch_add(1, Ordering::Relaxed);
        self.bytes = base.saturating_add(bytes);
        self.number = self.number.checked_add(1).expect("2^64 batches are never written");
        let mut index = self.shared.index.write().expect("no code panics while it holds this lock");
        self.pace = Pace::Free;
        let base = u32::try_from(base).expect("segments are short");
        self.batch.apply(&mut index, self.segment, base);
        index.total = index.total.saturating_add(bytes);
        if let Some(segment) = index.segments.get_mut(&self.segment) {
            segment.bytes = self.bytes;
        }
        Ok(())
    }

    /// Goes on in the segment that was made ahead.
    fn rotate(&mut self) -> Result<(), Trouble> {
        let next = self.segment.checked_add(1).expect("2^32 segments are never written");
        let file = self.keeper.take(next).map_err(|cause| {
            let full = [std::io::ErrorKind::StorageFull, std::io::ErrorKind::QuotaExceeded];
            if full.contains(&cause.kind()) {
                let message = format!("no room for another segment file: {cause}; free some space");
                Trouble::Full(Failure::new(FailureKind::Full, message))
            } else {
                stop("make a segment", &cause)
            }
        })?;
        let bytes = u64::try_from(SEGMENT_HEADER_BYTES).expect("64 bits fit");
        (self.segment, self.file, self.bytes) = (next, Arc::clone(&file), bytes);
        self.seed.segment = u64::from(next);
        let mut index = self.shared.index.write().expect("no code panics while it holds this lock");
        index.segments.insert(next, Segment { file, bytes });
        index.total = index.total.saturating_add(bytes);
        drop(index);
        self.prepare();
        Ok(())
    }

    fn fail(
        &mut self,
        answers: Vec<(oneshot::Sender<Vec<CommitResult>>, Vec<CommitResult>)>,
        trouble: Trouble,
    ) {
        let result = match trouble {
            Trouble::Full(failure) => {
                self.pace = Pace::Riding;
                CommitResult::Failed(failure)
            }
            Trouble::Stop(failure) => {
                // Set once: nothing is written after it.
                let _ = self.shared.stopped.set(failure);
                CommitResult::Unknown
            }
        };
        for (reply, results) in answers {
            answer(reply, results.iter().map(|_| result.clone()).collect());
        }
    }
}

impl Queue {
    fn drain(&mut self) -> Vec<Job> {
        let (mut jobs, mut bytes) = (Vec::new(), 0_usize);
        while bytes < BATCH_BYTES
            && let Some(job) = self.jobs.pop_front()
        {
            bytes = bytes.saturating_add(job.bytes);
            self.commits = self.commits.saturating_sub(job.commits.len());
            jobs.push(job);
        }
        self.bytes = self.bytes.saturating_sub(bytes);
        jobs
    }
}

fn stop(what: &str, cause: &std::io::Error) -> Trouble {
    let message = format!(
        "{what} failed: {cause}; the disk store has stopped: check the disk, then restart to \
         recover from the log"
    );
    Trouble::Stop(Failure::new(FailureKind::Unavailable, message))
}

fn mark(files: &dyn Files, end: End) -> std::io::Result<()> {
    let file = files.create(CLOSED)?;
    file.write_at(&end.encode(), 0)?;
    file.sync()?;
    files.sync_folder()
}
