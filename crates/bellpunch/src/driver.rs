//! The driver: threads of execution, time and the store's futures around the executors.
//!
//! Invariant: it decides nothing. It carries inputs to a shard's executor and outputs away from
//! it, in the order in which they come.
//!
//! Why one task per shard and no lock: an executor is only ever touched by its own task, so a
//! caller that goes away, or a slow store call, holds up nobody.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bellpunch_core::{DUE_MAX, Due, Partition, RecordKey, Request, Timestamp};
use bellpunch_store::{BoxFuture, Clock, CommitResult, Failure, FailureKind, Scan, Store};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};

use crate::executor::{Caller, Executor, Input, Op, Output, ReadResult};
use crate::{AnyOutcome, EngineConfig, EngineStats, Error};

/// Messages that wait for a shard; above it, `overloaded`.
pub(crate) const INBOX_MAX: usize = 65_536;
/// Messages taken at once before the executor is asked what to do.
const TAKE_MAX: usize = 1_024;

pub(crate) type Answer = Result<AnyOutcome, Error>;

/// What a shard is told.
#[derive(Debug)]
pub(crate) enum Message {
    Send {
        partition: Partition,
        request: Box<Request>,
        caller: Caller,
        reply: oneshot::Sender<Answer>,
    },
    GaveUp {
        partition: Partition,
        caller: Caller,
    },
    Drain(oneshot::Sender<()>),
}

/// One executor, and who waits for it.
struct Shard {
    executor: Executor,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    waiters: BTreeMap<Caller, oneshot::Sender<Answer>>,
    drained: Vec<oneshot::Sender<()>>,
    stats: Arc<Mutex<EngineStats>>,
}

type Pending = FuturesUnordered<BoxFuture<'static, Vec<Input>>>;

/// Starts a shard; its task ends when every sender of its inbox is gone.
pub(crate) fn start(
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    (config, seed): (EngineConfig, u64),
) -> (mpsc::Sender<Message>, Arc<Mutex<EngineStats>>) {
    let (sender, inbox) = mpsc::channel(INBOX_MAX);
    let stats = Arc::new(Mutex::new(EngineStats::default()));
    let shard = Shard {
        executor: Executor::new(config, &store.properties(), seed),
        store,
        clock,
        waiters: BTreeMap::new(),
        drained: Vec::new(),
        stats: Arc::clone(&stats),
    };
    tokio::spawn(shard.run(inbox));
    (sender, stats)
}

impl Shard {
    async fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        let mut pending = Pending::new();
        let mut messages = Vec::with_capacity(TAKE_MAX);
        let mut open = true;
        while open || !pending.is_empty() {
            tokio::select! {
                Some(inputs) = pending.next(), if !pending.is_empty() => {
                    let now = self.clock.now();
                    for input in inputs {
                        self.executor.handle(input, now);
                    }
                }
                taken = inbox.recv_many(&mut messages, TAKE_MAX), if open => {
                    open = 0 < taken;
                    let now = self.clock.now();
                    for message in messages.drain(..) {
                        self.take(message, now);
                    }
                }
            }
            self.work(&mut pending);
        }
    }

    fn take(&mut self, message: Message, now: Timestamp) {
        let input = match message {
            Message::Send { partition, request, caller, reply } => {
                self.waiters.insert(caller, reply);
                Input::Arrived { caller, partition, request }
            }
            Message::GaveUp { partition, caller } => Input::GaveUp { caller, partition },
            Message::Drain(done) => {
                self.drained.push(done);
                Input::Drain
            }
        };
        self.executor.handle(input, now);
    }

    /// Does what the executor asks for. All its commits travel in one call of the store.
    fn work(&mut self, pending: &mut Pending) {
        let (mut ops, mut commits) = (Vec::new(), Vec::new());
        while let Some(output) = self.executor.poll() {
            match output {
                Output::Reply { caller, result } => {
                    // A caller that went away does not mind.
                    if let Some(waiter) = self.waiters.remove(&caller) {
                        let _ = waiter.send(result);
                    }
                }
                Output::Commit { op, commit } => {
                    ops.push(op);
                    commits.push(commit);
                }
                Output::Read { op, partition, records, due, now } => {
                    let store = Arc::clone(&self.store);
                    pending.push(Box::pin(async move {
                        let result = read(&*store, &partition, (records, due), now).await;
                        vec![Input::Read { op, result }]
                    }));
                }
                Output::Resolve { op, partition, id } => {
                    let store = Arc::clone(&self.store);
                    pending.push(Box::pin(async move {
                        let result = store.resolve(&partition, id).await;
                        vec![Input::Resolved { op, result }]
                    }));
                }
                Output::Wake { op, after } => pending.push(Box::pin(async move {
                    tokio::time::sleep(after).await;
                    vec![Input::Woke { op }]
                })),
                Output::Drained => {
                    for done in self.drained.drain(..) {
                        let _ = done.send(());
                    }
                }
            }
        }
        if !ops.is_empty() {
            let store = Arc::clone(&self.store);
            pending.push(Box::pin(async move {
                let results = store.commit(commits).await;
                assert_eq!(results.len(), ops.len(), "a store answers each commit");
                let ended = |(op, result): (Op, CommitResult)| Input::Committed { op, result };
                ops.into_iter().zip(results).map(ended).collect()
            }));
        }
        *lock(&self.stats) = self.executor.stats();
    }
}

async fn read(
    store: &dyn Store,
    partition: &Partition,
    (records, due): (Vec<RecordKey>, Vec<Due>),
    now: Timestamp,
) -> Result<ReadResult, Failure> {
    let mut result = ReadResult::default();
    if !records.is_empty() {
        let read = store.read(partition, &records).await?;
        if read.len() != records.len() {
            let message = "the store did not answer for every record";
            return Err(Failure::new(FailureKind::Unavailable, message));
        }
        result.records = records.into_iter().zip(read).collect();
    }
    for due in due {
        let mut scan = Scan::of(due.kind.clone(), DUE_MAX);
        scan.prefix.clone_from(&due.prefix);
        scan.due_by = due.over_only.then_some(now);
        let mut ids = Vec::new();
        loop {
            let page = store.scan(partition, &scan).await?;
            ids.extend(page.records.into_iter().map(|(key, _)| key.id));
            match page.resume {
                Some(resume) if ids.len() < DUE_MAX => {
                    scan.limit = DUE_MAX.saturating_sub(ids.len());
                    scan.after = Some(resume);
                }
                Some(_) | None => break,
            }
        }
        result.due.push((due, ids));
    }
    Ok(result)
}

pub(crate) fn lock(stats: &Mutex<EngineStats>) -> MutexGuard<'_, EngineStats> {
    stats.lock().expect("no code panics while it holds this lock")
}
