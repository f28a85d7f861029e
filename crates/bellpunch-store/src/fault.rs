//! A store in front of a store, which fails as it is told.
//!
//! Invariant: without a fault it passes everything on, and a fault happens once, to the call it was
//! planned for; nothing here is random, and no time passes that a test did not ask for. Why in front
//! and not inside: the same faults then work on every backend, and no production code knows of them.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};

use bellpunch_core::{Partition, RecordKey};

use crate::{
    BoxFuture, Commit, CommitId, CommitResult, Failure, FailureKind, Page, PartitionPage,
    Properties, Resolution, Scan, Store, Versioned,
};

/// What happens to one call of [`Store::commit`].
#[non_exhaustive]
pub enum Fault {
    /// It is applied, and its reply is lost: every result is `Unknown`.
    LoseReply,
    /// It is not applied, and says so.
    Fail(FailureKind),
    /// It is not applied, and nobody can know: every result is `Unknown`.
    LoseCommit,
    /// Every result is `Unknown`; it is applied when [`FaultStore::land`] is called.
    Late,
    /// Every result is a conflict, although nothing changed.
    Conflict,
    /// Somebody else holds the store: it and all commits behind it wait for
    /// [`FaultStore::release`]. Their deadlines are compared after that.
    Stall,
    /// Somebody else holds the store, and this happens meanwhile: mostly the clock moves on.
    StallWhile(Box<dyn FnOnce() + Send>),
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoseReply => f.write_str("LoseReply"),
            Self::Fail(kind) => f.debug_tuple("Fail").field(kind).finish(),
            Self::LoseCommit => f.write_str("LoseCommit"),
            Self::Late => f.write_str("Late"),
            Self::Conflict => f.write_str("Conflict"),
            Self::Stall => f.write_str("Stall"),
            Self::StallWhile(_) => f.write_str("StallWhile"),
        }
    }
}

/// Whether the store can be reached.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Reach {
    #[default]
    Up,
    Down,
}

/// Whether commits go through.
#[derive(Debug, Default)]
enum Gate {
    #[default]
    Open,
    Held(Vec<Waker>),
}

#[derive(Debug, Default)]
struct State {
    plan: VecDeque<Fault>,
    reach: Reach,
    gate: Gate,
    late: Vec<Arc<Commit>>,
}

/// A store that fails as it is told. It does nothing by itself.
///
/// ```
/// use std::sync::Arc;
/// use bellpunch_store::fault::FaultStore;
/// use bellpunch_store::kit::{KitClock, block_on};
/// use bellpunch_store::{MemoryConfig, MemoryStore, Partition, Store};
///
/// let memory = MemoryStore::new(Arc::new(KitClock::new()), MemoryConfig::default());
/// let store = FaultStore::new(Arc::new(memory));
/// let partition = Partition::new("acme").unwrap();
/// store.down();
/// assert!(block_on(store.read(&partition, &[])).is_err());
/// store.up();
/// assert!(block_on(store.read(&partition, &[])).is_ok());
/// ```
#[derive(Debug)]
pub struct FaultStore {
    inner: Arc<dyn Store>,
    state: Mutex<State>,
    before_scans: Wait,
}

/// What is waited for, each time.
struct Wait(Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>);

impl Default for Wait {
    fn default() -> Self {
        Self(Box::new(|| Box::pin(std::future::ready(()))))
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wait")
    }
}

impl FaultStore {
    /// In front of this store, without a fault.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, state: Mutex::default(), before_scans: Wait::default() }
    }

    /// The same, where each page of a scan waits for what this gives: a timer, if a page is to take
    /// time.
    #[must_use]
    pub fn before_scans(
        self,
        wait: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Self {
        Self { before_scans: Wait(Box::new(wait)), ..self }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds this lock")
    }

    /// Plans a fault for the next commit call that has none yet.
    pub fn plan(&self, fault: Fault) {
        self.state().plan.push_back(fault);
    }

    /// The next commit is applied, and its reply is lost.
    pub fn lose_next_reply(&self) {
        self.plan(Fault::LoseReply);
    }

    /// The next commit is certainly not applied.
    pub fn fail_next(&self) {
        self.plan(Fault::Fail(FailureKind::Unavailable));
    }

    /// The next commit, and all behind it, wait until [`release`](Self::release).
    pub fn stall_next(&self) {
        self.plan(Fault::Stall);
    }

    /// While the next commit waits for the store, this happens.
    pub fn stall_next_while(&self, meanwhile: impl FnOnce() + Send + 'static) {
        self.plan(Fault::StallWhile(Box::new(meanwhile)));
    }

    /// The next commit is refused as a conflict once.
    pub fn conflict_next(&self) {
        self.plan(Fault::Conflict);
    }

    /// Lets stalled commits go on, in the order in which they are polled.
    pub fn release(&self) {
        let gate = mem::take(&mut self.state().gate);
        if let Gate::Held(wakers) = gate {
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    /// Cuts the store off: every call fails, nothing is applied.
    pub fn down(&self) {
        self.state().reach = Reach::Down;
    }

    /// It can be reached again.
    pub fn up(&self) {
        self.state().reach = Reach::Up;
    }

    /// How many planned faults have not happened yet.
    #[must_use]
    pub fn planned(&self) -> usize {
        self.state().plan.len()
    }

    /// Lets the abandoned commits arrive; gives what came of them.
    pub async fn land(&self) -> Vec<CommitResult> {
        let late = mem::take(&mut self.state().late);
        self.inner.commit(late).await
    }

    fn reachable(&self) -> Result<(), Failure> {
        match self.state().reach {
            Reach::Up => Ok(()),
            Reach::Down => Err(Failure::new(
                FailureKind::Unavailable,
                "the store cannot be reached (a planned fault)",
            )),
        }
    }

    async fn gate(&self) {
        poll_fn(|context| match &mut self.state().gate {
            Gate::Open => Poll::Ready(()),
            Gate::Held(wakers) => {
                wakers.push(context.waker().clone());
                Poll::Pending
            }
        })
        .await;
    }

    async fn pass(&self, commits: Vec<Arc<Commit>>) -> Vec<CommitResult> {
        self.gate().await;
        match self.reachable() {
            Ok(()) => self.inner.commit(commits).await,
            Err(failure) => all(&commits, &CommitResult::Failed(failure)),
        }
    }

    async fn conflicts(&self, commits: &[Arc<Commit>]) -> Vec<CommitResult> {
        let mut results = Vec::new();
        for commit in commits {
            let keys: Vec<_> = commit.preconditions.iter().map(|one| one.key.clone()).collect();
            results.push(match self.inner.read(&commit.partition, &keys).await {
                Ok(found) => {
                    CommitResult::Conflict { current: keys.into_iter().zip(found).collect() }
                }
                Err(failure) => CommitResult::Failed(failure),
            });
        }
        results
    }

    async fn strike(&self, fault: Option<Fault>, commits: Vec<Arc<Commit>>) -> Vec<CommitResult> {
        match fault {
            None => self.pass(commits).await,
            Some(Fault::LoseReply) => {
                let results = self.pass(commits).await;
                results.iter().map(|_| CommitResult::Unknown).collect()
            }
            Some(Fault::Fail(kind)) => {
                let failure = Failure::new(kind, "the commit was refused (a planned fault)");
                all(&commits, &CommitResult::Failed(failure))
            }
            Some(Fault::LoseCommit) => all(&commits, &CommitResult::Unknown),
            Some(Fault::Late) => {
                let results = all(&commits, &CommitResult::Unknown);
                self.state().late.extend(commits);
                results
            }
            Some(Fault::Conflict) => self.conflicts(&commits).await,
            Some(Fault::Stall) => self.pass(commits).await,
            Some(Fault::StallWhile(meanwhile)) => {
                meanwhile();
                self.pass(commits).await
            }
        }
    }
}

fn all(commits: &[Arc<Commit>], result: &CommitResult) -> Vec<CommitResult> {
    commits.iter().map(|_| result.clone()).collect()
}

#[deny(clippy::missing_trait_methods)]
impl Store for FaultStore {
    fn properties(&self) -> Properties {
        self.inner.properties()
    }

    fn read<'a>(
        &'a self,
        partition: &'a Partition,
        keys: &'a [RecordKey],
    ) -> BoxFuture<'a, Result<Vec<Versioned>, Failure>> {
        Box::pin(async move {
            self.reachable()?;
            self.inner.read(partition, keys).await
        })
    }

    /// The fault is taken when this is called, and strikes when the future is first polled.
    fn commit(&self, commits: Vec<Arc<Commit>>) -> BoxFuture<'_, Vec<CommitResult>> {
        if let Err(failure) = self.reachable() {
            let results = all(&commits, &CommitResult::Failed(failure));
            return Box::pin(std::future::ready(results));
        }
        let mut state = self.state();
        let fault = state.plan.pop_front();
        if matches!(fault, Some(Fault::Stall)) && matches!(state.gate, Gate::Open) {
            state.gate = Gate::Held(Vec::new());
        }
        drop(state);
        Box::pin(self.strike(fault, commits))
    }

    fn scan<'a>(
        &'a self,
        partition: &'a Partition,
        scan: &'a Scan,
    ) -> BoxFuture<'a, Result<Page, Failure>> {
        Box::pin(async move {
            (self.before_scans.0)().await;
            self.reachable()?;
            self.inner.scan(partition, scan).await
        })
    }

    fn resolve<'a>(
        &'a self,
        partition: &'a Partition,
        id: CommitId,
    ) -> BoxFuture<'a, Result<Resolution, Failure>> {
        Box::pin(async move {
            self.reachable()?;
            self.inner.resolve(partition, id).await
        })
    }

    fn partitions<'a>(
        &'a self,
        after: Option<&'a Partition>,
        limit: usize,
    ) -> BoxFuture<'a, Result<PartitionPage, Failure>> {
        Box::pin(async move {
            self.reachable()?;
            self.inner.partitions(after, limit).await
        })
    }
}

#[cfg(test)]
mod tests;
