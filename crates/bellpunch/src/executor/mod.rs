//! The executor: runs the commands of its partitions in turn and combines them. No I/O.
//!
//! A state machine: [`Executor::handle`] takes what happened, [`Executor::poll`] gives what to do.
//! It has no clock, no randomness and no async of its own, and iterates over nothing unordered, so
//! the same inputs give the same outputs, byte for byte.
//!
//! Invariant: no caller hears of an effect before the commit that carries it, and everything it
//! stands on, was taken by the store. While a commit is in flight its partition's arrivals queue;
//! when it ends, the queue is the next batch (group commit: Gawlick and Kinkade 1985; flat
//! combining: Hendler et al., SPAA 2010). No timer is waited for.
//!
//! Why a lane per partition: partitions are independent, and within one there is one order.

mod answer;
mod batch;
mod lane;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bellpunch_core::{Due, Partition, RecordId, RecordKey, Request, Timestamp};
use bellpunch_store::{
    Commit, CommitId, CommitResult, Failure, Guarantee, Properties, Resolution, Sharing,
    StoreClock, Versioned,
};

use crate::{AnyOutcome, EngineConfig, EngineStats, Error, ErrorKind};
use lane::Lane;

/// Who waits for a reply.
pub(crate) type Caller = u64;
/// One request to the store, or one timer.
pub(crate) type Op = u64;

/// Records looked at per step when the cache is over its bound, at least.
const EVICT_VISITS: usize = 256;
/// And for each record that was loaded: one is dropped when it is looked at twice, and between them
/// are some that are used.
const EVICT_VISITS_PER_LOAD: usize = 4;
/// What looking into a partition counts as, at least.
const EVICT_VISITS_PER_LANE: usize = 64;

/// What happened.
#[derive(Debug)]
pub(crate) enum Input {
    Arrived {
        caller: Caller,
        partition: Partition,
        request: Box<Request>,
    },
    /// The caller's time is up. It gets its reply now.
    GaveUp {
        caller: Caller,
        partition: Partition,
    },
    Read {
        op: Op,
        result: Result<ReadResult, Failure>,
    },
    Committed {
        op: Op,
        result: CommitResult,
    },
    Resolved {
        op: Op,
        result: Result<Resolution, Failure>,
    },
    Woke {
        op: Op,
    },
    Drain,
}

/// What a read gave: records, and the answers to questions for due ones.
#[derive(Debug, Default)]
pub(crate) struct ReadResult {
    pub(crate) records: Vec<(RecordKey, Versioned)>,
    pub(crate) due: Vec<(Due, Vec<RecordId>)>,
}

/// What to do.
#[derive(Debug)]
pub(crate) enum Output {
    Reply {
        caller: Caller,
        result: Result<AnyOutcome, Error>,
    },
    Read {
        op: Op,
        partition: Partition,
        records: Vec<RecordKey>,
        due: Vec<Due>,
        now: Timestamp,
    },
    Commit {
        op: Op,
        commit: Arc<Commit>,
    },
    Resolve {
        op: Op,
        partition: Partition,
        id: CommitId,
    },
    Wake {
        op: Op,
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
    pub(crate) clock: StoreClock,
    pub(crate) records_max: usize,
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

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Executor {
    rules: Rules,
    desk: Desk,
    lanes: BTreeMap<Partition, Lane>,
    /// Lanes that have something to decide.
    dirty: BTreeSet<Partition>,
    now: Timestamp,
    cache_bytes: usize,
    evict_after: Option<Partition>,
    /// Visits that are owed for records that were loaded.
    evict_visits: usize,
    /// Nothing more is taken, for good.
    draining: bool,
    /// Those who asked to be told when all is answered.
    drains: u32,
}

impl Executor {
    /// An executor for a store with these properties. `seed` names its commits and its pauses.
    pub(crate) fn new(config: EngineConfig, properties: &Properties, seed: u64) -> Self {
        let rules = Rules {
            config,
            sharing: properties.sharing,
            guarantee: properties.guarantee,
            clock: properties.clock,
            records_max: properties.records_max,
        };
        let desk = Desk {
            outputs: VecDeque::new(),
            stats: EngineStats::default(),
            random: seed,
            next_op: 0,
            owners: BTreeMap::new(),
        };
        Self {
            rules,
            desk,
            lanes: BTreeMap::new(),
            dirty: BTreeSet::new(),
            now: Timestamp::EPOCH,
            cache_bytes: 0,
            evict_after: None,
            evict_visits: 0,
            draining: false,
            drains: 0,
        }
    }

    /// Takes what happened; `now` is the node's clock.
    pub(crate) fn handle(&mut self, input: Input, now: Timestamp) {
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
                let owed = loaded.saturating_mul(EVICT_VISITS_PER_LOAD);
                self.evict_visits = self.evict_visits.saturating_add(owed);
                self.with_lane(op, |lane, turn| lane.read(result, turn));
            }
            Input::Committed { op, result } => {
                self.with_lane(op, |lane, turn| lane.committed(op, result, turn));
            }
            Input::Resolved { op, result } => {
                self.with_lane(op, |lane, turn| lane.resolved(result, turn));
            }
            Input::Woke { op } => self.with_lane(op, |lane, turn| lane.woke(turn.desk)),
            Input::Drain => {
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
        let before = lane.cache_bytes();
        work(lane, &mut Turn { now: self.now, rules: &self.rules, desk: &mut self.desk });
        self.cache_bytes =
            self.cache_bytes.saturating_sub(before).saturating_add(lane.cache_bytes());
        self.dirty.insert(partition);
    }

    /// The next thing to do. Lanes that can decide do so first, so that all arrivals handled since
    /// the last call are in one batch.
    pub(crate) fn poll(&mut self) -> Option<Output> {
        // Before a batch begins to read, which needs room, and behind it.
        self.evict();
        while let Some(partition) = self.dirty.pop_first() {
            let Some(lane) = self.lanes.get_mut(&partition) else { continue };
            let before = lane.cache_bytes();
            lane.run(&mut Turn { now: self.now, rules: &self.rules, desk: &mut self.desk });
            let after = lane.cache_bytes();
            self.cache_bytes = self.cache_bytes.saturating_sub(before).saturating_add(after);
            if lane.is_idle() && after == 0 {
                self.lanes.remove(&partition);
            }
        }
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

    /// Counts since the start.
    pub(crate) fn stats(&self) -> EngineStats {
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
            if lane.is_idle() && after == 0 {
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
