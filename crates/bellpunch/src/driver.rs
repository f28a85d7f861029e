//! The driver: threads of execution, time and the store's futures around the executors.
//!
//! Invariant: it decides nothing. It carries inputs to a shard's executor and outputs away from
//! it, in the order in which they come.
//!
//! Why one task per shard and no lock: an executor is only ever touched by its own task, so a
//! caller that goes away, or a slow store call, holds up nobody.

use std::collections::BTreeMap;
use std::sync::Arc;

use bellpunch_core::{DUE_MAX, Due, Partition, RecordKey, Request, Timestamp, planted};
use bellpunch_store::{
    BoxFuture, Clock, Commit, CommitResult, Failure, FailureKind, Scan, Sharing, Store,
};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};

use crate::api::COMMIT_MICROS;
use crate::executor::{Caller, Executor, Input, Op, Output, ReadResult};
use crate::runtime::{Instant, Mutex, MutexGuard, mpsc, oneshot, select, sleep, spawn, yield_now};
use crate::{AnyOutcome, EngineConfig, EngineStats, Error, ErrorKind, Histogram};

/// Messages that wait for a shard; above it, `overloaded`.
pub(crate) const INBOX_MAX: usize = 65_536;
/// Messages taken at once before the executor is asked what to do.
const TAKE_MAX: usize = 1_024;
/// Calls of a shared store that carry commits of a shard, at once. Above it commits wait for one to
/// end and then travel together: on a server each call costs about as much as its commits. A store
/// of this process alone combines what comes by itself.
const CALLS_MAX: usize = 2;

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
    /// What is told once it is counted.
    replies: Vec<(Caller, Answer)>,
    /// What is to be committed by the next call.
    ready: Vec<(Op, Arc<Commit>)>,
    /// Calls that carry commits now, and how many may.
    calls: usize,
    calls_max: usize,
    drained: Vec<oneshot::Sender<()>>,
    stats: Arc<Mutex<EngineStats>>,
    watch: Watch,
}

/// What only the driver can measure: an executor has no clock.
#[derive(Debug, Default)]
struct Watch {
    last: Option<Timestamp>,
    clock_steps: u64,
    clock_skew_nanos: i64,
    commit_micros: [Histogram; 6],
}

/// What came of something that was waited for.
struct Done {
    inputs: Vec<Input>,
    /// Of commits: when they were sent, and how long that took.
    sent: Option<(Timestamp, std::time::Duration)>,
}

impl From<Input> for Done {
    fn from(input: Input) -> Self {
        Self { inputs: vec![input], sent: None }
    }
}

type Pending = FuturesUnordered<BoxFuture<'static, Done>>;

/// Starts a shard; its task ends when every sender of its inbox is gone.
pub(crate) fn start(
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    (config, seed): (EngineConfig, u64),
) -> (mpsc::Sender<Message>, Arc<Mutex<EngineStats>>) {
    let (sender, inbox) = mpsc::channel(INBOX_MAX);
    let stats = Arc::new(Mutex::new(EngineStats::default()));
    let properties = store.properties();
    let shard = Shard {
        executor: Executor::new(config, &properties, seed),
        store,
        clock,
        waiters: BTreeMap::new(),
        replies: Vec::new(),
        ready: Vec::new(),
        calls: 0,
        calls_max: if properties.sharing == Sharing::Shared { CALLS_MAX } else { usize::MAX },
        drained: Vec::new(),
        stats: Arc::clone(&stats),
        watch: Watch::default(),
    };
    spawn(shard.run(inbox));
    (sender, stats)
}

/// Waits for messages. One that is dropped has taken none: the loop drops it whenever something
/// else comes first.
async fn receive(inbox: &mut mpsc::Receiver<Message>, messages: &mut Vec<Message>) -> usize {
    if planted!("message_lost") {
        let mut held = Vec::new();
        let taken = inbox.recv_many(&mut held, TAKE_MAX).await;
        sleep(std::time::Duration::from_millis(1)).await;
        messages.append(&mut held);
        return taken;
    }
    inbox.recv_many(messages, TAKE_MAX).await
}

impl Shard {
    async fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        let mut pending = Pending::new();
        let mut messages = Vec::with_capacity(TAKE_MAX);
        let mut open = true;
        while open || !(pending.is_empty() || planted!("ends_early")) {
            select! {
                Some(done) = pending.next(), if !pending.is_empty() => {
                    self.done(done);
                }
                taken = receive(&mut inbox, &mut messages), if open => {
                    open = 0 < taken;
                    self.take_all(&mut messages);
                }
            }
            // Whoever is told now may have more to ask. Those who are ready ask before the next
            // batch is decided: otherwise half of them would wait for the commit of the others.
            self.work(&mut pending, Executor::poll_undecided);
            yield_now().await;
            while let Some(Some(done)) = pending.next().now_or_never() {
                self.done(done);
            }
            if open && let Some(taken) = receive(&mut inbox, &mut messages).now_or_never() {
                open = 0 < taken;
                self.take_all(&mut messages);
            }
            // What is sent is on its way before more is decided upon it.
            self.work(&mut pending, Executor::poll_sent);
            self.work(&mut pending, Executor::poll);
            if planted!("drain_drops") && !self.drained.is_empty() {
                return;
            }
        }
        debug_assert!(self.waiters.is_empty(), "all that was taken has been answered");
    }

    fn done(&mut self, done: Done) {
        let now = self.watch.read(&*self.clock);
        self.watch.commits(&done, now);
        self.calls = self.calls.saturating_sub(usize::from(done.sent.is_some()));
        for input in done.inputs {
            self.executor.handle(input, now);
        }
    }

    fn take_all(&mut self, messages: &mut Vec<Message>) {
        let now = self.watch.read(&*self.clock);
        for message in messages.drain(..) {
            self.take(message, now);
        }
    }

    fn take(&mut self, message: Message, now: Timestamp) {
        let input = match message {
            Message::Send { partition, request, caller, reply } => {
                self.waiters.insert(caller, reply);
                Input::Arrived { caller, partition, request }
            }
            Message::GaveUp { partition, caller } => {
                if planted!("taken_back_late") {
                    self.reply(caller, Err(Error::new(ErrorKind::TimedOut, "nobody asked")));
                }
                Input::GaveUp { caller, partition }
            }
            Message::Drain(done) => {
                self.drained.push(done);
                Input::Drain
            }
        };
        self.executor.handle(input, now);
    }

    fn reply(&mut self, caller: Caller, result: Answer) {
        let first = || self.waiters.keys().next().copied().unwrap_or(caller);
        let caller = if planted!("reply_swapped") { first() } else { caller };
        // A caller that went away does not mind.
        if let Some(waiter) = self.waiters.remove(&caller) {
            let _ = waiter.send(result);
        }
    }

    /// Does what the executor asks for. All its commits that are ready travel in one call of the
    /// store.
    fn work(&mut self, pending: &mut Pending, poll: fn(&mut Executor) -> Option<Output>) {
        let mut drained = false;
        while let Some(output) = poll(&mut self.executor) {
            match output {
                Output::Reply { caller, result } => self.replies.push((caller, result)),
                Output::Commit { op, commit } => {
                    if planted!("told_in_flight") {
                        let result = CommitResult::Committed { at: commit.now };
                        let early = Input::Committed { op, result };
                        pending.push(Box::pin(std::future::ready(early.into())));
                    }
                    self.ready.push((op, commit));
                }
                Output::Read { op, partition, records, due } => {
                    let store = Arc::clone(&self.store);
                    pending.push(Box::pin(async move {
                        let result = read(&*store, &partition, (records, due)).await;
                        Input::Read { op, result }.into()
                    }));
                }
                Output::Resolve { op, partition, id } => {
                    let store = Arc::clone(&self.store);
                    pending.push(Box::pin(async move {
                        let result = store.resolve(&partition, id).await;
                        Input::Resolved { op, result }.into()
                    }));
                }
                Output::Wake { op, after } => pending.push(Box::pin(async move {
                    sleep(after).await;
                    Input::Woke { op }.into()
                })),
                Output::Drained => drained = true,
            }
        }
        let gone = || self.waiters.values().any(oneshot::Sender::is_closed);
        let free = self.calls < self.calls_max && !self.ready.is_empty();
        if free && !(planted!("gone_cancels") && gone()) {
            self.call(pending);
        } else if planted!("gone_cancels") && gone() {
            self.ready.clear();
        }
        *lock(&self.stats) = EngineStats {
            commit_micros: self.watch.commit_micros,
            clock_steps: self.watch.clock_steps,
            clock_skew_nanos: self.watch.clock_skew_nanos,
            ..self.executor.stats()
        };
        self.tell();
        if drained {
            while let Some(done) = self.drained.pop() {
                let _ = done.send(());
                if planted!("wake_lost") {
                    break;
                }
            }
        }
    }

    /// Sends what is to be committed.
    fn call(&mut self, pending: &mut Pending) {
        let (ops, commits): (Vec<Op>, Vec<_>) = std::mem::take(&mut self.ready).into_iter().unzip();
        let store = Arc::clone(&self.store);
        let (now, begun) = (self.watch.read(&*self.clock), Instant::now());
        self.calls = self.calls.saturating_add(1);
        let mut call: BoxFuture<'static, Done> = Box::pin(async move {
            let results = store.commit(commits).await;
            assert_eq!(results.len(), ops.len(), "a store answers each commit");
            let ended = |(op, result): (Op, CommitResult)| Input::Committed { op, result };
            let inputs = ops.into_iter().zip(results).map(ended).collect();
            Done { inputs, sent: Some((now, begun.elapsed())) }
        });
        // It begins now: those who are told would run before this task comes to it.
        match (&mut call).now_or_never() {
            Some(done) => pending.push(Box::pin(std::future::ready(done))),
            None => pending.push(call),
        }
    }

    /// Tells the callers. Whoever is told finds it among the counts.
    fn tell(&mut self) {
        let mut replies = std::mem::take(&mut self.replies);
        for (caller, result) in replies.drain(..) {
            self.reply(caller, result);
        }
        self.replies = replies;
    }
}

impl Watch {
    /// Reads the clock, and notes whether it went back.
    fn read(&mut self, clock: &dyn Clock) -> Timestamp {
        let now = clock.now();
        if self.last.is_some_and(|last| now < last) {
            self.clock_steps = self.clock_steps.saturating_add(1);
        }
        self.last = Some(now);
        now
    }

    /// Notes how long commits took, and what the store's clock said.
    fn commits(&mut self, done: &Done, now: Timestamp) {
        let Some((sent, took)) = done.sent else { return };
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        for input in &done.inputs {
            let Input::Committed { result, .. } = input else { continue };
            if let Some(histogram) = self.commit_micros.get_mut(place_of(result)) {
                histogram.observe(&COMMIT_MICROS, micros);
            }
            match result {
                CommitResult::Committed { at: store }
                | CommitResult::TooLate { store_time: store }
                | CommitResult::ClockAhead { store_time: store } => {
                    self.clock_skew_nanos = skew(*store, (sent, now));
                }
                CommitResult::Conflict { .. }
                | CommitResult::Unknown
                | CommitResult::Failed(_)
                | _ => {}
            }
        }
    }
}

/// The place of a result in what is counted by result.
pub(crate) const fn place_of(result: &CommitResult) -> usize {
    match result {
        CommitResult::Committed { .. } => 0,
        CommitResult::Conflict { .. } => 1,
        CommitResult::TooLate { .. } => 2,
        CommitResult::ClockAhead { .. } => 3,
        CommitResult::Unknown => 4,
        CommitResult::Failed(_) | _ => 5,
    }
}

/// How far this node's clock is ahead of a store that read its own between `sent` and `ended`; 0
/// if both may agree.
fn skew(store: Timestamp, (sent, ended): (Timestamp, Timestamp)) -> i64 {
    let nanos = |later: Timestamp, earlier: Timestamp| {
        i64::try_from(later.nanos().saturating_sub(earlier.nanos())).unwrap_or(i64::MAX)
    };
    let ahead = nanos(sent, store);
    if 0 < ahead { ahead } else { nanos(store, ended).saturating_neg() }
}

async fn read(
    store: &dyn Store,
    partition: &Partition,
    (records, due): (Vec<RecordKey>, Vec<Due>),
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
        scan.due_by = due.by;
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

#[cfg(test)]
mod tests;
