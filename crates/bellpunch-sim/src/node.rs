//! A node: one process with an executor, a clock of its own, and whatever befalls it.
//!
//! This is what the driver is to the production executor: it carries inputs in and outputs out,
//! in the order in which they come, and decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration as Span;

use bellpunch::executor::{Caller, Executor, Input, Op, Output};
use bellpunch::{Duration, EngineConfig, Partition, Timestamp};

use crate::calls::name_of;
use crate::case::{FaultKind, Instant, MICRO, MILLI, SECOND, StoreKind};
use crate::watch;
use crate::world::{Asking, Event, World, shifted};

/// How long after the first input a node takes all that have come.
const TURN: u64 = 20 * MICRO;
/// A driver that gets no word of a command says this long after its time that nobody knows.
pub(crate) const LAST_WORD: u64 = 500 * MILLI;

/// A node's clock, as a function of true time.
#[derive(Clone, Copy, Debug, Default)]
struct NodeClock {
    /// Since when the drift counts.
    since: Instant,
    offset: i128,
    drift_ppm: i64,
    frozen: Option<Timestamp>,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Node {
    /// Rises with each start: what was meant for an earlier process is lost.
    pub(crate) life: u64,
    executor: Option<Executor>,
    clock: NodeClock,
    inbox: Vec<Input>,
    turn_planned: bool,
    paused_until: Instant,
    pub(crate) waiters: BTreeMap<Caller, Partition>,
    /// Told to stop.
    pub(crate) draining: bool,
    pub(crate) drained: bool,
    /// Partitions that this process has worked on.
    pub(crate) touched: BTreeSet<Partition>,
}

impl Node {
    pub(crate) const fn new() -> Self {
        Self {
            life: 0,
            executor: None,
            clock: NodeClock { since: 0, offset: 0, drift_ppm: 0, frozen: None },
            inbox: Vec::new(),
            turn_planned: false,
            paused_until: 0,
            waiters: BTreeMap::new(),
            draining: false,
            drained: false,
            touched: BTreeSet::new(),
        }
    }

    pub(crate) const fn is_up(&self) -> bool {
        self.executor.is_some()
    }

    pub(crate) const fn executor(&self) -> Option<&Executor> {
        self.executor.as_ref()
    }
}

fn std_span(nanos: u64) -> Span {
    Span::from_nanos(nanos)
}

impl World {
    pub(crate) fn node(&self, node: usize) -> &Node {
        self.nodes.get(node).expect("a node of this world")
    }

    pub(crate) fn node_mut(&mut self, node: usize) -> &mut Node {
        self.nodes.get_mut(node).expect("a node of this world")
    }

    /// The node's clock.
    pub(crate) fn clock(&self, node: usize) -> Timestamp {
        let clock = self.node(node).clock;
        if let Some(frozen) = clock.frozen {
            return frozen;
        }
        let run = i128::from(self.now.saturating_sub(clock.since));
        let drift = run.saturating_mul(clock.drift_ppm.into()).checked_div(1_000_000);
        shifted(self.truth(), clock.offset.saturating_add(drift.unwrap_or_default()))
    }

    /// Sets a node's clock as its faults say.
    pub(crate) fn set_clock(&mut self, node: usize) {
        let jump = self.fault(FaultKind::ClockJump, node).map_or(0, |episode| episode.amount);
        let drift = self.fault(FaultKind::ClockDrift, node).map_or(0, |episode| episode.amount);
        let frozen = self.fault(FaultKind::ClockFreeze, node).is_some();
        let frozen = frozen.then(|| self.clock(node));
        let since = self.now;
        let offset = i128::from(jump);
        self.node_mut(node).clock = NodeClock { since, offset, drift_ppm: drift, frozen };
    }

    /// Starts a process with an empty memory.
    pub(crate) fn start(&mut self, number: usize) {
        self.crash(number);
        let settings = &self.case.settings;
        let config = EngineConfig {
            shards: 1,
            queue_max: settings.queue_max,
            batch_max: settings.batch_max,
            retries_max: settings.retries_max,
            cache_bytes_max: settings.cache_max,
            keep_outcomes: Duration::from_nanos(settings.keep),
            clock_skew_max: Duration::from_nanos(settings.skew),
            timeout: std_span(settings.patience),
            ..EngineConfig::default()
        };
        let (sweep, properties) = (settings.sweep, self.store.properties());
        let life = self.node(number).life.saturating_add(1);
        let place = u64::try_from(number).unwrap_or_default().wrapping_mul(1_000);
        let seed = self.rng("life", place.wrapping_add(life)).number();
        self.note(format_args!("n{number} starts, life {life}"));
        let node = self.node_mut(number);
        node.life = life;
        node.executor = Some(Executor::new(config, &properties, seed));
        node.inbox.clear();
        node.turn_planned = false;
        node.paused_until = 0;
        node.draining = false;
        node.drained = false;
        node.touched.clear();
        if 0 < sweep && !self.healed {
            self.after(sweep, Event::Sweep { node: number, life });
        }
    }

    /// Kills a process. What it had sent goes on without it.
    pub(crate) fn crash(&mut self, number: usize) {
        if !self.node(number).is_up() {
            return;
        }
        self.note(format_args!("n{number} dies"));
        let (synced, applied) = (self.store.synced(), self.store.applied());
        let exclusive = self.case.settings.store == StoreKind::Exclusive;
        self.watch_crash(number, self.node(number).life);
        let node = self.node_mut(number);
        node.executor = None;
        node.life = node.life.saturating_add(1);
        node.inbox.clear();
        let waiters = std::mem::take(&mut node.waiters);
        let times = u64::try_from(applied).unwrap_or_default();
        let mut rng = self.rng("crash", times);
        if exclusive || self.case.settings.defect == "lost_at_failover" {
            let lowest = if exclusive { synced } else { applied.saturating_sub(3) };
            let room = u64::try_from(applied.saturating_sub(lowest)).unwrap_or_default();
            let more = rng.below(room.saturating_add(1));
            let kept = lowest.saturating_add(usize::try_from(more).unwrap_or_default());
            if kept < applied {
                self.reached("tail_lost");
            }
            self.store.crash(kept);
            self.forget_from(kept);
        }
        for caller in waiters.into_keys() {
            if self.sent.contains_key(&caller) {
                let delay = rng.between(MILLI, 20 * MILLI);
                self.after(delay, Event::Lost { sent: caller, code: "cut" });
            }
        }
    }

    /// Tells a process to stop.
    pub(crate) fn drain(&mut self, number: usize) {
        let life = self.node(number).life;
        self.note(format_args!("n{number} is told to stop"));
        self.watch_drain(number, life);
        self.node_mut(number).draining = true;
        self.deliver((number, life), Input::Drain);
    }

    /// A process stands still until an instant.
    pub(crate) fn pause(&mut self, number: usize, until: Instant) {
        let life = self.node(number).life;
        let node = self.node_mut(number);
        node.paused_until = node.paused_until.max(until);
        let delay = until.saturating_sub(self.now);
        self.after(delay, Event::GoOn { node: number, life });
    }

    pub(crate) fn go_on(&mut self, (number, life): (usize, u64)) {
        let (now, healed) = (self.now, self.healed);
        let node = self.node_mut(number);
        if node.life != life || (now < node.paused_until && !healed) {
            return;
        }
        node.paused_until = 0;
        if !node.inbox.is_empty() && !node.turn_planned {
            node.turn_planned = true;
            self.after(TURN, Event::Turn { node: number, life });
        }
    }

    /// Something reaches a process, unless that is gone.
    pub(crate) fn deliver(&mut self, (number, life): (usize, u64), input: Input) {
        let node = self.node_mut(number);
        if node.life != life || node.executor.is_none() {
            return;
        }
        node.inbox.push(input);
        if !node.turn_planned && node.paused_until == 0 {
            node.turn_planned = true;
            self.after(TURN, Event::Turn { node: number, life });
        }
    }

    /// A process takes what has come, and does what its executor asks for.
    pub(crate) fn turn(&mut self, number: usize, life: u64) {
        if self.node(number).life != life || !self.node(number).is_up() {
            return;
        }
        self.node_mut(number).turn_planned = false;
        if self.node(number).paused_until != 0 {
            return;
        }
        let now = self.clock(number);
        let inbox = std::mem::take(&mut self.node_mut(number).inbox);
        self.note(format_args!("n{number} takes {} at {now}", inbox.len()));
        let ended = watch::ended(&inbox, name_of);
        let mut outputs = Vec::new();
        if let Some(executor) = &mut self.node_mut(number).executor {
            for input in inbox {
                executor.handle(input, now);
            }
            while let Some(output) = executor.poll() {
                outputs.push(output);
            }
        }
        // A process that stalls now has read its clock, and has sent nothing yet.
        let mut rng = self.rng("stall", self.now);
        let mut delay = 0;
        if self.strikes(FaultKind::Stall, number, &mut rng) {
            let most = self.fault(FaultKind::Stall, number).map_or(0, |episode| episode.amount);
            delay = rng.between(MILLI, u64::try_from(most).unwrap_or(MILLI).max(2 * MILLI));
            let until = self.now.saturating_add(delay);
            self.pause(number, until);
        }
        self.watch_turn((number, life), (&ended, &outputs), delay);
        if self.dies_replying(number, &mut outputs) {
            return;
        }
        let mut commits = Vec::new();
        for output in outputs {
            match output {
                Output::Reply { caller, result } => self.reply((number, caller), result, delay),
                Output::Commit { op, commit } => commits.push((op, commit)),
                Output::Read { op, partition, records, due } => {
                    self.next_call = self.next_call.saturating_add(1);
                    let (number_of, begun) = (self.next_call, self.now.saturating_add(delay));
                    let asked = Asking { op, partition, records, due, begun, number: number_of };
                    self.ask((number, life), asked, delay);
                }
                Output::Resolve { op, partition: _, id } => {
                    self.ask_fate((number, life), (op, id), delay);
                }
                Output::Wake { op, after } => {
                    let after = u64::try_from(after.as_nanos()).unwrap_or(SECOND);
                    let after = after.saturating_add(delay);
                    self.after(after, Event::Wake { node: number, life, op });
                }
                Output::Drained => self.drained(number),
            }
        }
        if !commits.is_empty() {
            self.send_commits((number, life), commits, delay);
        }
        self.stop_if_done(number);
    }

    /// A process dies in the midst of a batch's replies: the first half of them is on its way.
    fn dies_replying(&mut self, number: usize, outputs: &mut Vec<Output>) -> bool {
        let is_told = |output: &Output| matches!(output, Output::Reply { result: Ok(_), .. });
        let replies = outputs.iter().filter(|output| is_told(output)).count();
        let mut rng = self.rng("crash replying", self.now);
        if replies < 2 || !self.strikes(FaultKind::CrashReplying, number, &mut rng) {
            return false;
        }
        self.reached("crash_half_replied");
        let half = replies.div_ceil(2);
        for output in outputs.drain(..).filter(is_told).take(half) {
            if let Output::Reply { caller, result } = output {
                self.reply((number, caller), result, 0);
            }
        }
        self.crash(number);
        true
    }

    /// The executor says that every command it took has been answered.
    fn drained(&mut self, number: usize) {
        self.note(format_args!("n{number} has answered all"));
        let node = self.node(number);
        let mut waiting: BTreeSet<Caller> = node.waiters.keys().copied().collect();
        for input in &node.inbox {
            // It came since: it will be told that this node is stopping.
            if let Input::Arrived { caller, .. } = input {
                waiting.remove(caller);
            }
        }
        if !waiting.is_empty() {
            self.violated("drain.answers_all", format!("n{number} left {waiting:?} unanswered"));
        }
        self.node_mut(number).drained = true;
        self.stop_if_done(number);
    }

    /// A process that has drained ends when nobody is connected any more.
    fn stop_if_done(&mut self, number: usize) {
        let node = self.node_mut(number);
        if node.drained && node.waiters.is_empty() {
            node.executor = None;
            node.life = node.life.saturating_add(1);
        }
    }

    pub(crate) fn wake(&mut self, (node, life): (usize, u64), op: Op) {
        self.deliver((node, life), Input::Woke { op });
    }
}
