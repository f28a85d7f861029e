//! A world: nodes with production executors, one store, clients, and everything between them.
//!
//! One loop over a heap of events, one thread. Nothing here waits for real time or reads it.
//!
//! Invariant: the same case gives the same events in the same order; `trace` says what they were.
//! What must never happen is tested when it happens, not at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use bellpunch::executor::{Caller, Op as ExecutorOp};
use bellpunch::store::{Commit, CommitId, CommitResult};
use bellpunch::{AnyOutcome, Due, Error, Partition, RecordKey, Timestamp};
use bellpunch_check::history::{Header, Line, Note};
use serde_json::json;

use crate::case::{Case, Episode, FaultKind, Instant, SECOND, StoreKind};
use crate::client::{Intent, Sent};
use crate::node::Node;
use crate::rng::Rng;
use crate::situations::Situations;
use crate::store::SimStore;
use crate::trace::Trace;
use crate::watch::Watch;

/// 2026-03-01T00:00:00Z: the true time when a world begins.
const ORIGIN: u128 = 1_772_323_200_000_000_000;
/// Events of a world, at most: a loop that does not end is a failure.
const EVENTS_MAX: u64 = 400_000;

/// What a node told a caller.
pub(crate) type Told = Result<AnyOutcome, Error>;

/// What happens next.
#[derive(Debug)]
pub(crate) enum Event {
    /// A client sends an intent, for the first time or again.
    Send { intent: usize },
    /// A request reaches its node.
    Arrive { sent: Caller, as_caller: Caller },
    /// A node takes what has come.
    Turn { node: usize, life: u64 },
    /// The time of a caller is up.
    GiveUp { node: usize, life: u64, caller: Caller, partition: Partition },
    /// A reply reaches its client.
    Told { sent: Caller, told: Box<Told> },
    /// A client waits no longer.
    Lost { sent: Caller, code: &'static str },
    /// A commit of a call has exclusivity.
    Land { call: u64, place: usize },
    /// A commit comes that nobody waits for any more: late, or for the second time.
    Stray { node: usize, life: u64, stray: Box<Stray> },
    /// The reply of a call reaches the node.
    Landed { call: u64 },
    /// A read of the store reaches the node.
    Read { node: usize, life: u64, asked: Box<Asking> },
    /// The answer to a question for the fate of a commit reaches the node.
    Resolve { node: usize, life: u64, op: ExecutorOp, id: CommitId },
    /// A pause of an executor is over.
    Wake { node: usize, life: u64, op: ExecutorOp },
    /// A fault begins.
    Begin { episode: usize },
    /// A fault ends.
    End { episode: usize },
    /// A node that stood still goes on.
    GoOn { node: usize, life: u64 },
    /// A node sweeps.
    Sweep { node: usize, life: u64 },
    /// Everything is well from now on.
    Heal,
    /// Clients connect anew.
    Reconnect,
}

/// A read on its way.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) op: ExecutorOp,
    pub(crate) partition: Partition,
    pub(crate) records: Vec<RecordKey>,
    pub(crate) due: Vec<Due>,
    pub(crate) begun: Instant,
    pub(crate) number: u64,
}

/// What is to become of one commit of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    Lands,
    /// Refused before the effect.
    Refused(bellpunch::store::FailureKind),
    /// Applied, and nobody is told.
    ReplyLost,
    /// Never arrives, and nobody is told.
    Vanishes,
    /// Lands after the node was told that nobody knows.
    Late,
    /// A conflict although nothing changed.
    Contradicted,
}

/// One commit of a call.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) op: ExecutorOp,
    pub(crate) commit: Arc<Commit>,
    pub(crate) fate: Fate,
    pub(crate) arrived: Instant,
    pub(crate) clock_arrived: Timestamp,
    pub(crate) result: Option<CommitResult>,
}

/// A commit that nobody waits for any more.
#[derive(Debug)]
pub(crate) struct Stray {
    pub(crate) commit: Arc<Commit>,
    pub(crate) arrived: Instant,
    pub(crate) clock_arrived: Timestamp,
    pub(crate) late: bool,
}

/// Commits of a node that travel together.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) node: usize,
    pub(crate) life: u64,
    pub(crate) items: Vec<Item>,
    /// How many commits the store had applied when the last of these had landed.
    pub(crate) applied: usize,
}

/// A broken promise.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation {
    /// Which rule.
    pub rule: &'static str,
    /// What happened.
    pub text: String,
    /// When.
    pub at: Instant,
}

/// See the [module](self).
#[derive(Debug)]
pub struct World {
    pub(crate) case: Case,
    pub(crate) now: Instant,
    heap: BTreeMap<(Instant, u64), Event>,
    scheduled: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) store: SimStore,
    pub(crate) store_offset: i128,
    pub(crate) intents: Vec<Intent>,
    pub(crate) sent: BTreeMap<Caller, Sent>,
    pub(crate) duplicates: BTreeSet<Caller>,
    pub(crate) next_caller: Caller,
    pub(crate) calls: BTreeMap<u64, Call>,
    pub(crate) next_call: u64,
    /// Commits that were refused for certain, and may be sent again.
    pub(crate) refused: BTreeSet<CommitId>,
    pub(crate) active: BTreeSet<usize>,
    pub(crate) healed: bool,
    /// Ids that were drawn, by partition and collection.
    pub(crate) drawn: BTreeMap<(String, String), Vec<String>>,
    /// Where in the store's log each version of a record is.
    pub(crate) published: BTreeMap<(Partition, String), BTreeMap<u64, usize>>,
    pub(crate) watched: usize,
    pub(crate) lines: Vec<Line>,
    stamp: u64,
    pub(crate) violations: Vec<Violation>,
    pub(crate) situations: Situations,
    pub(crate) watch: Watch,
    pub(crate) trace: Trace,
}

impl World {
    /// The world of a case, before anything has happened.
    #[must_use]
    pub fn new(case: Case, trace: Trace) -> Self {
        let count = usize::try_from(case.settings.nodes).unwrap_or(1);
        let store = SimStore::new(&case.settings);
        let mut world = Self {
            now: 0,
            heap: BTreeMap::new(),
            scheduled: 0,
            nodes: Vec::new(),
            store,
            store_offset: 0,
            intents: Vec::new(),
            sent: BTreeMap::new(),
            duplicates: BTreeSet::new(),
            next_caller: 0,
            calls: BTreeMap::new(),
            next_call: 0,
            refused: BTreeSet::new(),
            active: BTreeSet::new(),
            healed: false,
            drawn: BTreeMap::new(),
            published: BTreeMap::new(),
            watched: 0,
            lines: Vec::new(),
            stamp: 0,
            violations: Vec::new(),
            situations: Situations::default(),
            watch: Watch::default(),
            trace,
            case,
        };
        for number in 0..count {
            world.nodes.push(Node::new());
            world.start(number);
        }
        for place in 0..world.case.steps.len() {
            world.plan_step(place);
        }
        for episode in 0..world.case.faults.len() {
            let (from, until) = {
                let episode = world.episode(episode);
                (episode.from, episode.until)
            };
            world.after(from, Event::Begin { episode });
            world.after(until, Event::End { episode });
        }
        let heal = world.case.settings.heal;
        world.after(heal, Event::Heal);
        world
    }

    /// The first line of its history.
    #[must_use]
    pub fn header(&self) -> Header {
        let mut header = Header::of("sim");
        header.seed = Some(self.case.seed);
        let model = json!({ "model": "bellpunch", "keep_ns": self.case.settings.keep });
        header.model.insert("*".to_owned(), model);
        header
    }

    pub(crate) fn rng(&self, name: &str, number: u64) -> Rng {
        Rng::of(self.case.seed, name, number)
    }

    pub(crate) fn episode(&self, place: usize) -> &Episode {
        self.case.faults.get(place).expect("an episode of this case")
    }

    /// Something happens so much later.
    pub(crate) fn after(&mut self, delay: u64, event: Event) {
        self.scheduled = self.scheduled.saturating_add(1);
        self.heap.insert((self.now.saturating_add(delay), self.scheduled), event);
    }

    /// The true time.
    pub(crate) fn truth(&self) -> Timestamp {
        Timestamp::from_nanos(ORIGIN.saturating_add(self.now.into())).expect("before 9999")
    }

    /// The store's clock.
    pub(crate) fn store_clock(&self) -> Timestamp {
        shifted(self.truth(), self.store_offset)
    }

    /// A fault of this kind that is on, at this node where it has one.
    pub(crate) fn fault(&self, kind: FaultKind, node: usize) -> Option<&Episode> {
        let node = u64::try_from(node).unwrap_or_default();
        let active = self.active.iter().map(|place| self.episode(*place));
        { active }.find(|episode| {
            let everywhere = matches!(kind, FaultKind::SlowPartition | FaultKind::StoreClock);
            episode.fault == kind && (everywhere || episode.node == node)
        })
    }

    /// Whether a fault of this kind strikes.
    pub(crate) fn strikes(&self, kind: FaultKind, node: usize, rng: &mut Rng) -> bool {
        let intensity = self.fault(kind, node).map_or(0, |episode| episode.intensity);
        0 < intensity && rng.chance(intensity)
    }

    /// A stamp of the recorder: no two are equal.
    pub(crate) fn stamp(&mut self) -> u64 {
        self.stamp = self.now.max(self.stamp.saturating_add(1));
        self.stamp
    }

    pub(crate) fn violated(&mut self, rule: &'static str, text: String) {
        self.note(format_args!("VIOLATION {rule}: {text}"));
        self.violations.push(Violation { rule, text, at: self.now });
    }

    pub(crate) fn note(&mut self, what: std::fmt::Arguments<'_>) {
        self.trace.line(self.now, what);
    }

    pub(crate) fn reached(&mut self, situation: &'static str) {
        self.situations.reached(situation);
    }

    /// Lets everything happen that is scheduled, up to an instant.
    pub(crate) fn run_until(&mut self, end: Instant) {
        let mut events = 0_u64;
        while let Some((&(at, _), _)) = self.heap.first_key_value() {
            if end < at {
                break;
            }
            let ((at, _), event) = self.heap.pop_first().expect("it was just seen");
            self.now = at.max(self.now);
            self.happen(event);
            events = events.saturating_add(1);
            if EVENTS_MAX < events || !self.violations.is_empty() {
                if self.violations.is_empty() {
                    self.violated("live.ends", format!("more than {EVENTS_MAX} events"));
                }
                return;
            }
        }
        self.now = self.now.max(end);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Send { intent } => self.send(intent),
            Event::Arrive { sent, as_caller } => self.arrive(sent, as_caller),
            Event::Turn { node, life } => self.turn(node, life),
            Event::GiveUp { node, life, caller, partition } => {
                self.give_up((node, life), caller, partition);
            }
            Event::Told { sent, told } => self.told(sent, *told),
            Event::Lost { sent, code } => self.lost(sent, code),
            Event::Land { call, place } => {
                self.land(call, place);
                self.watch_store();
            }
            Event::Stray { node, life, stray } => {
                self.stray((node, life), &stray);
                self.watch_store();
            }
            Event::Landed { call } => self.landed(call),
            Event::Read { node, life, asked } => self.read((node, life), *asked),
            Event::Resolve { node, life, op, id } => self.resolve((node, life), op, id),
            Event::Wake { node, life, op } => self.wake((node, life), op),
            Event::Begin { episode } => self.begin(episode),
            Event::End { episode } => self.end(episode),
            Event::GoOn { node, life } => self.go_on((node, life)),
            Event::Sweep { node, life } => self.sweep((node, life)),
            Event::Heal => self.heal(),
            Event::Reconnect => self.reconnect(),
        }
    }

    fn describe(&mut self, what: &str, place: usize) {
        let episode = self.episode(place).clone();
        let mut text = String::new();
        let _ = write!(text, "{what} {:?} n{}", episode.fault, episode.node);
        if episode.amount != 0 {
            let _ = write!(text, " by {}", episode.amount);
        }
        self.note(format_args!("{text}"));
        let t = self.stamp();
        self.lines.push(Line::Fault(Note { t, text }));
    }

    fn begin(&mut self, place: usize) {
        if self.healed {
            return;
        }
        self.describe("begins:", place);
        self.active.insert(place);
        let episode = self.episode(place).clone();
        let node = self.node_of(&episode);
        match episode.fault {
            FaultKind::ClockJump | FaultKind::ClockFreeze | FaultKind::ClockDrift => {
                self.set_clock(node);
            }
            FaultKind::StoreClock => self.store_offset = episode.amount.into(),
            FaultKind::Pause => self.pause(node, episode.until),
            FaultKind::Crash => self.crash(node),
            FaultKind::Drain => self.drain(node),
            _ => {}
        }
    }

    fn end(&mut self, place: usize) {
        if !self.active.remove(&place) {
            return;
        }
        self.describe("ends:", place);
        let episode = self.episode(place).clone();
        let node = self.node_of(&episode);
        self.watch_end(episode.fault, node);
        match episode.fault {
            FaultKind::ClockJump | FaultKind::ClockFreeze | FaultKind::ClockDrift => {
                self.set_clock(node);
            }
            FaultKind::StoreClock => self.store_offset = 0,
            FaultKind::Crash => self.start(node),
            FaultKind::CrashReplying if !self.node(node).is_up() => self.start(node),
            // Whoever has not stopped by himself is killed.
            FaultKind::Drain => {
                self.crash(node);
                self.start(node);
            }
            // What was read as of a newer format is in memory until the newer release starts.
            FaultKind::Newer => {
                self.crash(node);
                self.start(node);
            }
            _ => {}
        }
    }

    fn node_of(&self, episode: &Episode) -> usize {
        let node = usize::try_from(episode.node).unwrap_or_default();
        node.min(self.nodes.len().saturating_sub(1))
    }

    fn heal(&mut self) {
        self.note(format_args!("heal"));
        for place in self.active.clone() {
            self.end(place);
        }
        self.healed = true;
        self.store_offset = 0;
        for node in 0..self.nodes.len() {
            let life = self.node(node).life;
            self.go_on((node, life));
            if !self.node(node).is_up() {
                self.start(node);
            }
        }
        self.after(2 * SECOND, Event::Reconnect);
    }

    /// Clients that still wait for a reply that was lost on its way connect anew.
    fn reconnect(&mut self) {
        let open = self.sent.iter().filter(|(_, sent)| !sent.ended).map(|(caller, _)| *caller);
        for sent in open.collect::<Vec<_>>() {
            self.lost(sent, "cut");
        }
    }

    /// Tests what was applied since the last time.
    fn watch_store(&mut self) {
        while let Some(applied) = self.store.log().get(self.watched).cloned() {
            let index = self.watched;
            self.watched = self.watched.saturating_add(1);
            for write in &applied.commit.writes {
                let name = (applied.commit.partition.clone(), write.key.to_string());
                let version = write.version.get();
                let known = self.published.entry(name).or_default();
                let last = known.last_key_value().map(|(version, _)| *version);
                known.insert(version, index);
                if last.is_some_and(|last| version <= last) {
                    let text = format!("{} went from {last:?} to {version}", write.key);
                    self.violated("store.versions_rise", text);
                }
            }
            if self.case.settings.store == StoreKind::Shared {
                self.store.sync(self.watched);
            }
        }
    }

    /// Forgets what a crash took.
    pub(crate) fn forget_from(&mut self, kept: usize) {
        self.watched = self.watched.min(kept);
        self.watch_forget(kept);
        for versions in self.published.values_mut() {
            versions.retain(|_, index| *index < kept);
        }
    }
}

/// An instant, moved.
pub(crate) fn shifted(instant: Timestamp, by: i128) -> Timestamp {
    let nanos = i128::try_from(instant.nanos()).unwrap_or(i128::MAX).saturating_add(by);
    let nanos = u128::try_from(nanos).unwrap_or_default();
    Timestamp::from_nanos(nanos).unwrap_or(Timestamp::MAX)
}
