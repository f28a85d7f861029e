//! The executor: runs the commands of its partitions in turn and combines them. No I/O.
//!
//! A state machine: [`Executor::handle`] takes what happened, [`Executor::poll`] gives what to do.
//! It has no clock, no randomness and no async of its own, and iterates over nothing unordered, so
//! the same inputs give the same outputs, byte for byte.
//!
//! Invariant: no caller hears of an effect before the commit that carries it, and everything it
//! stands on, was taken by the store, unless it is a rate limit whose policy says so (`relaxed.rs`).
//! While a commit is in flight its partition's arrivals are the next batch (group commit: Gawlick and
//! Kinkade 1985; flat combining: Hendler et al., SPAA 2010): decided upon that commit, sent when it
//! has landed, decided again if it does not. No timer is waited for.
//!
//! Why a lane per partition: partitions are independent, and within one there is one order.

mod answer;
mod batch;
mod flight;
mod lane;
mod relaxed;
mod storeless;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bellpunch_core::{Due, Partition, RecordId, RecordKey, Request, Timestamp};
use bellpunch_store::{
    Commit, CommitId, CommitResult, Failure, Guarantee, Properties, Resolution, Risk, Sharing,
    StoreClock, Versioned,
};

use crate::{AnyOutcome, EngineConfig, EngineStats, Error, ErrorKind};
use lane::Lane;

/// Who waits for a reply.
pub type Caller = u64;
/// One request to the store, or one timer.
pub type Op = u64;

/// Records looked at per step when the cache is over its bound, at least.
const EVICT_VISITS: usize = 256;
/// And for each record that was loaded, or that a batch held of which something was heard: most are
/// dropped when they are looked at twice, and between them are some that have to stay.
const EVICT_VISITS_PER_RECORD: usize = 4;
/// What looking into a partition counts as, at least.
const EVICT_VISITS_PER_LANE: usize = 64;

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// A command came.
    Arrived {
        /// Who gets the reply.
        caller: Caller,
        /// Where it belongs.
        partition: Partition,
        /// What is asked for.
        request: Box<Request>,
    },
    /// The caller's time is up. It gets its reply now.
    GaveUp {
        /// Who.
        caller: Caller,
        /// Where its command is.
        partition: Partition,
    },
    /// A read of the store ended.
    Read {
        /// Which one.
        op: Op,
        /// What it gave.
        result: Result<ReadResult, Failure>,
    },
    /// A commit ended.
    Committed {
        /// Which one.
        op: Op,
        /// What came of it.
        result: CommitResult,
    },
    /// A question for the fate of a commit ended.
    Resolved {
        /// Which one.
        op: Op,
        /// What the store said.
        result: Result<Resolution, Failure>,
    },
    /// A pause is over.
    Woke {
        /// Which one.
        op: Op,
    },
    /// Take no more commands, and say when all are answered.
    Drain,
}

/// What a read gave: records, and the answers to questions for due ones.
#[derive(Debug, Default)]
pub struct ReadResult {
    /// As the store has them, each with its key.
    pub records: Vec<(RecordKey, Versioned)>,
    /// The ids that answer each question.
    pub due: Vec<(Due, Vec<RecordId>)>,
}

/// What to do.
#[derive(Debug)]
pub enum Output {
    /// Tell a caller.
    Reply {
        /// Whom.
        caller: Caller,
        /// What.
        result: Result<AnyOutcome, Error>,
    },
    /// Read records, and ask which are due.
    Read {
        /// Its name, for the input that ends it.
        op: Op,
        /// Where.
        partition: Partition,
        /// These records.
        records: Vec<RecordKey>,
        /// These questions, each answered with at most [`bellpunch_core::DUE_MAX`] ids.
        due: Vec<Due>,
    },
    /// Commit. All that are asked for at once may travel in one call.
    Commit {
        /// Its name, for the input that ends it.
        op: Op,
        /// What.
        commit: Arc<Commit>,
    },
    /// Ask what became of a commit.
    Resolve {
        /// Its name, for the input that ends it.
        op: Op,
        /// Where.
        partition: Partition,
        /// The commit's own name.
        id: CommitId,
    },
    /// Say when a pause is over.
    Wake {
        /// Its name, for the input that ends it.
        op: Op,
        /// How long.
        after: std::time::Duration,
    },
    /// Every command that was taken has been answered.
    Drained,
}

/// What a lane may know of its executor.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) config: EngineConfig,
    pub(crate) sharing: Sharing,
    pub(crate) guarantee: Guarantee,
    /// The store's risk, if it was not accepted.
    pub(crate) risk: Option<Risk>,
    pub(crate) clock: StoreClock,
    pub(crate) records_max: usize,
    pub(crate) records_min: usize,
}

/// One step of a lane: when, by which rules, and where its outputs go.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    pub(crate) now: Timestamp,
    pub(crate) rules: &'a Rules,
    pub(crate) desk: &'a mut Desk,
}

/// What a lane does to the rest of its executor.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) stats: EngineStats,
    random: u64,
    next_op: Op,
    owners: BTreeMap<Op, Partition>,
    /// Records that batches held which were told without a commit.
    released: usize,
}

impl Desk {
    /// Names a request to the store, and remembers whose it is.
    pub(crate) fn op(&mut self, partition: &Partition) -> Op {
        self.next_op = self.next_op.wrapping_add(1);
        self.owners.insert(self.next_op, partition.clone());
        self.next_op
    }

    pub(crate) fn reply(&mut self, caller: Caller, result: Result<AnyOutcome, Error>) {
        self.outputs.push_back(Output::Reply { caller, result });
    }

    /// The next number of a seeded sequence (SplitMix64: Steele, Lea and Flood, OOPSLA 2014). The
    /// driver gives the seed, so it is as random or as repeatable as that.
    pub(crate) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn commit_id(&mut self) -> CommitId {
        let high = u128::from(self.random());
        CommitId::new(high << 64 | u128::from(self.random()))
    }
}

/// Runs the commands of its partitions in turn; see the [module](self). [`Engine`](crate::Engine)
/// is this, driven by tokio; drive it yourself to run on another runtime, or on none:
///
/// ```
/// # use std::sync::Arc;
/// # use bellpunch::store::{Clock, MemoryConfig, MemoryStore, Store};
/// # use bellpunch::{EngineConfig, Partition, Request, Timestamp, command, Duration};
/// use bellpunch::Journaling;
/// use bellpunch::executor::{Executor, Input, Output};
/// # #[derive(Debug)]
/// # struct Stopped;
/// # impl Clock for Stopped {
/// #     fn now(&self) -> Timestamp { Timestamp::EPOCH }
/// # }
/// # let properties = MemoryStore::new(Arc::new(Stopped), MemoryConfig::default()).properties();
/// let mut executor = Executor::new(EngineConfig::default(), &properties, 7);
/// let read = command("quotas.read").unwrap().parse;
/// let request = Request {
///     commands: vec![read(serde_json::json!({ "id": "q1" }))?],
///     entropy: vec![0],
///     key: None,
///     keep: Duration::from_days(7),
///     dry_run: false,
///     journaling: Journaling::Begun,
/// };
/// let (partition, request) = (Partition::new("acme")?, Box::new(request));
/// executor.handle(Input::Arrived { caller: 1, partition, request }, Timestamp::EPOCH);
/// // The record is not in memory yet.
/// assert!(matches!(executor.poll(), Some(Output::Read { .. })));
/// assert!(executor.poll().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Executor {
    rules: Rules,
    desk: Desk,
    lanes: BTreeMap<Partition, Lane>,
    /// Lanes that have something to decide.
    dirty: BTreeSet<Partition>,
    /// Lanes that have just sent a batch, and have more to decide meanwhile.
    ahead: BTreeSet<Partition>,
    now: Timestamp,
    cache_bytes: usize,
    evict_after: Option<Partition>,
    /// Visits that are owed for records that were loaded, or can be dropped again.
    evict_visits: usize,
    /// Nothing more is taken, for good.
    draining: bool,
    /// Those who asked to be told when all is answered.
    drains: u32,
}

impl Executor {
    /// An executor for a store with these properties. `seed` names its commits and its pauses.
    pub fn new(config: EngineConfig, properties: &Properties, seed: u64) -> Self {
        let risk = properties.risk.filter(|risk| config.accept_risk != Some(*risk));
        let rules = Rules {
            config,
            risk,
            sharing: properties.sharing,
            guarantee: properties.guarantee,
            clock: properties.clock,
            records_max: properties.records_max,
            records_min: properties.records_min,
        };
        let desk = Desk {
            outputs: VecDeque::new(),
            stats: EngineStats::default(),
            random: seed,
            next_op: 0,
            owners: BTreeMap::new(),
            released: 0,
        };
        Self {
            rules,
            desk,
            lanes: BTreeMap::new(),
            dirty: BTreeSet::new(),
            ahead: BTreeSet::new(),
            now: Timestamp::EPOCH,
            cache_bytes: 0,
            evict_after: None,
            evict_visits: 0,
            draining: false,
            drains: 0,
        }
    }

    /// Takes what happened; `now` is the node's clock.
    pub fn handle(&mut self, input: Input, now: Timestamp) {
        if now < self.now {
            self.lanes.values_mut().for_each(Lane::clock_went_back);
        }
        self.now = now;
        match input {
            Input::Arrived { caller, partition, request } => {
                self.arrived(caller, partition, *request);
            }
            Input::GaveUp { caller, partition } => {
                if let Some(lane) = self.lanes.get_mut(&partition) {
                    lane.gave_up(caller, &mut self.desk);
                }
            }
            Input::Read { op, result } => {
                let loaded = result.as_ref().map_or(0, |read| read.records.len());
                self.owe_visits(loaded);
                self.with_lane(op, |lane, turn| lane.read(result, turn));
            }
            Input::Committed { op, result } => {
                self.with_lane(op, |lane, turn| lane.committed(op, result, turn));
            }
            Input::Resolved { op, result } => {
                self.with_lane(op, |lane, turn| lane.resolved(op, result, turn));
            }
            Input::Woke { op } => self.with_lane(op, |lane, turn| lane.woke(op, turn)),
            Input::Drain => {
                if bellpunch_core::planted!("drain_drops") {
                    self.lanes.values_mut().for_each(Lane::forget_queue);
                }
                self.draining = true;
                self.drains = self.drains.saturating_add(1);
            }
        }
    }

    fn arrived(&mut self, caller: Caller, partition: Partition, request: Request) {
        if self.draining {
            let error = Error::new(ErrorKind::Draining, "this node is stopping");
            self.desk.reply(caller, Err(error));
            return;
        }
        let lane =
            self.lanes.entry(partition.clone()).or_insert_with(|| Lane::new(partition.clone()));
        if let Err(error) = lane.enqueue(caller, request, &self.rules) {
            if error.kind() == ErrorKind::Overloaded {
                self.desk.stats.queue_full = self.desk.stats.queue_full.saturating_add(1);
            }
            self.desk.reply(caller, Err(error));
            return;
        }
        self.desk.stats.queued = self.desk.stats.queued.saturating_add(1);
        self.dirty.insert(partition);
    }

    fn with_lane(&mut self, op: Op, work: impl FnOnce(&mut Lane, &mut Turn<'_>)) {
        let Some(partition) = self.desk.owners.remove(&op) else { return };
        let Some(lane) = self.lanes.get_mut(&partition) else { return };
        let (before, held) = (lane.cache_bytes(), lane.records_of(op));
        work(lane, &mut Turn { now: self.now, rules: &self.rules, desk: &mut self.desk });
        self.cache_bytes =
            self.cache_bytes.saturating_sub(before).saturating_add(lane.cache_bytes());
        self.dirty.insert(partition);
        self.owe_visits(held);
    }

    /// So many records have come, or can go from now on: eviction looks at as many more.
    fn owe_visits(&mut self, records: usize) {
        let owed = records.saturating_mul(EVICT_VISITS_PER_RECORD);
        self.evict_visits = self.evict_visits.saturating_add(owed);
    }

    /// The next thing to do. Lanes that can decide do so first, so that all arrivals handled since
    /// the last call are in one batch.
    pub fn poll(&mut self) -> Option<Output> {
        loop {
            if let Some(output) = self.poll_sent() {
                return Some(output);
            }
            self.dirty.insert(self.ahead.pop_first()?);
        }
    }

    /// The next thing to do, but for what is decided upon commits that this itself gave: a driver
    /// that sends those before it calls [`poll`](Self::poll) has the store at work meanwhile.
    pub fn poll_sent(&mut self) -> Option<Output> {
        // Before a batch begins to read, which needs room, and behind it.
        self.evict();
        while let Some(partition) = self.dirty.pop_first() {
            let Some(lane) = self.lanes.get_mut(&partition) else { continue };
            let before = lane.cache_bytes();
            let more =
                lane.run(&mut Turn { now: self.now, rules: &self.rules, desk: &mut self.desk });
            let after = lane.cache_bytes();
            self.cache_bytes = self.cache_bytes.saturating_sub(before).saturating_add(after);
            if lane.is_over() && after == 0 {
                self.lanes.remove(&partition);
            }
            if more {
                self.ahead.insert(partition);
            }
        }
        let released = std::mem::take(&mut self.desk.released);
        self.owe_visits(released);
        self.evict();
        if let Some(output) = self.desk.outputs.pop_front() {
            return Some(output);
        }
        if 0 < self.drains && self.lanes.values().all(Lane::is_idle) {
            self.drains = 0;
            return Some(Output::Drained);
        }
        None
    }

    /// What the inputs alone brought, replies first of all: nothing is decided for it. A driver
    /// that tells callers before it calls [`poll`](Self::poll) has their next commands in the next
    /// batch.
    pub fn poll_undecided(&mut self) -> Option<Output> {
        self.desk.outputs.pop_front()
    }

    /// Counts since the start.
    pub fn stats(&self) -> EngineStats {
        let cache_bytes = u64::try_from(self.cache_bytes).unwrap_or(u64::MAX);
        EngineStats { cache_bytes, ..self.desk.stats.clone() }
    }

    /// Drops clean records while the cache is over its bound, some at each step, lane after lane.
    fn evict(&mut self) {
        if self.cache_bytes <= self.rules.config.cache_bytes_max {
            self.evict_visits = 0;
            return;
        }
        let mut visits = EVICT_VISITS.max(self.evict_visits);
        while self.rules.config.cache_bytes_max < self.cache_bytes && 0 < visits {
            let next = match &self.evict_after {
                Some(after) => {
                    let from = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
                    self.lanes.range_mut::<Partition, _>(from).next()
                }
                None => self.lanes.iter_mut().next(),
            };
            let Some((partition, lane)) = next else {
                if self.evict_after.take().is_none() {
                    return;
                }
                visits = visits.saturating_sub(1);
                continue;
            };
            let partition = partition.clone();
            let before = lane.cache_bytes();
            let excess = self.cache_bytes.saturating_sub(self.rules.config.cache_bytes_max);
            let visited = lane.evict(before.saturating_sub(excess), visits);
            let after = lane.cache_bytes();
            self.cache_bytes = self.cache_bytes.saturating_sub(before).saturating_add(after);
            if lane.is_over() && after == 0 {
                self.lanes.remove(&partition);
            }
            self.evict_visits = self.evict_visits.saturating_sub(visited);
            visits = visits.saturating_sub(visited.max(EVICT_VISITS_PER_LANE));
            self.evict_after = Some(partition);
        }
    }
}

#[cfg(test)]
mod tests;
