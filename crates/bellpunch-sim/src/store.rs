//! The store of a simulated world, with every defect that can be asked for.
//!
//! Invariant: without a defect it is what a store has to be, one instant per commit; every state
//! it was ever in is kept, so that reads from the past, and crashes back to it, are exact.
//!
//! Why not the memory backend with faults in front: a simulated store is not in one place. A
//! commit is on its way, waits for exclusivity, lands, is synced, and its reply is on its way back;
//! what goes wrong goes wrong between these.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bellpunch::store::{
    Commit, CommitId, CommitResult, Failure, FailureKind, Guarantee, Properties, Resolution,
    Sharing, StoreClock, Survives, Versioned, WriteValue,
};
use bellpunch::{DUE_MAX, Due, Floor, Kind, Partition, RecordId, RecordKey, Timestamp, Version};

use crate::case::{ClockKind, Instant, Settings, StoreKind};

/// A state of a record, and since when.
#[derive(Clone, Debug)]
struct Slot {
    index: usize,
    since: Instant,
    /// `None`: purged.
    state: Option<Versioned>,
}

#[derive(Clone, Debug)]
struct Raised {
    index: usize,
    since: Instant,
    to: Floor,
}

#[derive(Clone, Debug, Default)]
struct Shelf {
    records: BTreeMap<RecordKey, Vec<Slot>>,
    floors: BTreeMap<Kind, Vec<Raised>>,
}

impl Shelf {
    fn read(&self, key: &RecordKey, when: Instant) -> Versioned {
        let raised = self.floors.get(&key.kind).into_iter().flatten();
        let raised = raised.filter(|raised| raised.since <= when);
        let floor = raised.fold(Floor::default(), |floor, raised| floor.above(raised.to));
        let slots = self.records.get(key).into_iter().flatten();
        let last = { slots }.rfind(|slot| slot.since <= when);
        last.and_then(|slot| slot.state.clone()).unwrap_or_default().above(floor)
    }
}

/// A commit that was applied.
#[derive(Clone, Debug)]
pub struct Applied {
    /// When.
    pub when: Instant,
    /// What.
    pub commit: Arc<Commit>,
}

/// How one commit is to be taken.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// When it came: a store that is wrong looks at this instant instead of the next one.
    pub arrived: Instant,
    /// When it has exclusivity.
    pub now: Instant,
    /// The clock that its deadline is compared with, when it came.
    pub clock_arrived: Timestamp,
    /// The same, when it has exclusivity.
    pub clock: Timestamp,
}

/// See the [module](self).
#[derive(Debug)]
pub struct SimStore {
    kind: StoreKind,
    clock: ClockKind,
    defect: String,
    ids_max: usize,
    skew: u64,
    shelves: BTreeMap<Partition, Shelf>,
    ids: VecDeque<CommitId>,
    forgot: bool,
    log: Vec<Applied>,
    synced: usize,
}

/// How far a lagging replica is behind, if a store is wrong in that way.
const LAG: Instant = 40_000_000;

impl SimStore {
    /// An empty store.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self {
            kind: settings.store,
            clock: settings.clock,
            defect: settings.defect.clone(),
            ids_max: settings.ids_max,
            skew: settings.skew,
            shelves: BTreeMap::new(),
            ids: VecDeque::new(),
            forgot: false,
            log: Vec::new(),
            synced: 0,
        }
    }

    fn wrong(&self, defect: &str) -> bool {
        self.defect == defect
    }

    /// What it says of itself, defects left out.
    #[must_use]
    pub const fn properties(&self) -> Properties {
        Properties {
            name: "simulated",
            sharing: match self.kind {
                StoreKind::Exclusive => Sharing::Exclusive,
                StoreKind::Shared => Sharing::Shared,
            },
            guarantee: Guarantee::Atomic,
            survives: Survives::Machine,
            risk: None,
            clock: match self.clock {
                ClockKind::AtExclusivity => StoreClock::AtExclusivity,
                ClockKind::Node => StoreClock::Node,
            },
            records_max: 4_096,
            records_min: 1,
            bytes_max: 1 << 20,
        }
    }

    /// A record as it was at an instant.
    #[must_use]
    pub fn read(&self, partition: &Partition, key: &RecordKey, when: Instant) -> Versioned {
        let when = if self.wrong("lagging_reads") { when.saturating_sub(LAG) } else { when };
        self.truth(partition, key, when)
    }

    /// A record as it was at an instant, whatever is wrong with the store.
    #[must_use]
    pub fn truth(&self, partition: &Partition, key: &RecordKey, when: Instant) -> Versioned {
        let shelf = self.shelves.get(partition);
        shelf.map_or_else(Versioned::default, |shelf| shelf.read(key, when))
    }

    /// The ids that answer a question, as of an instant.
    #[must_use]
    pub fn due(&self, partition: &Partition, due: &Due, when: Instant) -> Vec<RecordId> {
        let Some(shelf) = self.shelves.get(partition) else { return Vec::new() };
        let keys = shelf.records.keys().filter(|key| key.kind == due.kind);
        let keys = keys.filter(|key| key.id.as_str().starts_with(&due.prefix));
        let wanted = keys.filter(|key| {
            let record = shelf.read(key, when);
            let over = |by| record.sweep_at.is_some_and(|at| at <= by);
            record.value.is_some() && due.by.is_none_or(over)
        });
        wanted.take(DUE_MAX).map(|key| key.id.clone()).collect()
    }

    /// All that is due in a partition, as the sweeper asks.
    #[must_use]
    pub fn sweepable(
        &self,
        partition: &Partition,
        (by, when): (Timestamp, Instant),
    ) -> Vec<RecordKey> {
        let Some(shelf) = self.shelves.get(partition) else { return Vec::new() };
        let keys = shelf.records.keys().filter(|key| {
            let record = shelf.read(key, when);
            record.value.is_some() && record.sweep_at.is_some_and(|at| at <= by)
        });
        keys.cloned().collect()
    }

    /// The partitions that have, or had, a record.
    pub fn partitions(&self) -> impl Iterator<Item = &Partition> {
        self.shelves.keys()
    }

    /// All records of a partition as they are, tombstones too, and its floors.
    #[must_use]
    pub fn dump(
        &self,
        partition: &Partition,
    ) -> (Vec<(RecordKey, Versioned)>, Vec<(Kind, Version)>) {
        let Some(shelf) = self.shelves.get(partition) else { return (Vec::new(), Vec::new()) };
        let mut records = Vec::new();
        for (key, slots) in &shelf.records {
            if slots.last().is_some_and(|slot| slot.state.is_some()) {
                records.push((key.clone(), shelf.read(key, Instant::MAX)));
            }
        }
        let floors = shelf.floors.iter().filter_map(|(kind, floors)| {
            let version = floors.iter().map(|raised| raised.to.version).max()?;
            Some((kind.clone(), version))
        });
        (records, floors.collect())
    }

    /// What was applied, in order.
    #[must_use]
    pub fn log(&self) -> &[Applied] {
        &self.log
    }

    /// From when until when a record had a version; `None` if it never had, or purges hide it.
    #[must_use]
    pub fn span(
        &self,
        partition: &Partition,
        key: &RecordKey,
        version: Version,
    ) -> Option<(Instant, Instant)> {
        let shelf = self.shelves.get(partition)?;
        if shelf.floors.contains_key(&key.kind) {
            return None;
        }
        let slots = shelf.records.get(key).map(Vec::as_slice).unwrap_or_default();
        let of = |slot: &Slot| slot.state.as_ref().map_or(Version::ABSENT, |state| state.version);
        let place = slots.iter().position(|slot| of(slot) == version);
        match place {
            Some(place) => {
                let next = slots.iter().skip(place).nth(1);
                let until = next.map_or(Instant::MAX, |next| next.since);
                slots.get(place).map(|slot| (slot.since, until))
            }
            None if version == Version::ABSENT => {
                Some((0, slots.first().map_or(Instant::MAX, |first| first.since)))
            }
            None => None,
        }
    }

    /// What became of a commit.
    #[must_use]
    pub fn resolve(&self, id: CommitId) -> Resolution {
        match self.ids.contains(&id) {
            true => Resolution::Applied,
            false if self.forgot => Resolution::NotKnown,
            false => Resolution::NotApplied,
        }
    }

    /// Takes a commit, or says why not.
    pub fn commit(&mut self, commit: &Arc<Commit>, attempt: Attempt) -> CommitResult {
        if self.ids.contains(&commit.id) && !self.wrong("ids_ignored") {
            return CommitResult::Committed { at: attempt.clock };
        }
        let properties = self.properties();
        let records = commit.preconditions.len().max(commit.writes.len());
        if properties.records_max < records {
            return CommitResult::Failed(Failure::new(FailureKind::TooLarge, "too many records"));
        }
        let (current, latest) = self.conflicts(commit, attempt);
        if !current.is_empty() {
            return CommitResult::Conflict { current };
        }
        let clock =
            if self.wrong("deadline_at_arrival") { attempt.clock_arrived } else { attempt.clock };
        let missed = commit.deadline.is_some_and(|deadline| deadline <= clock);
        if missed && !self.wrong("deadline_ignored") {
            return CommitResult::TooLate { store_time: attempt.clock };
        }
        let ahead = commit.now.nanos().saturating_sub(attempt.clock.nanos());
        let far = u128::from(self.skew) < ahead && latest < commit.now;
        if far && self.clock == ClockKind::AtExclusivity && !self.wrong("clock_ahead_taken") {
            return CommitResult::ClockAhead { store_time: attempt.clock };
        }
        if !commit.writes.is_empty() {
            self.apply(commit, attempt.now);
        }
        CommitResult::Committed { at: attempt.clock }
    }

    /// The preconditions that do not hold, and the latest commit time of a record.
    fn conflicts(
        &self,
        commit: &Commit,
        attempt: Attempt,
    ) -> (Vec<(RecordKey, Versioned)>, Timestamp) {
        let mut current = Vec::new();
        let mut latest = Timestamp::EPOCH;
        // A confirmation is a read of versions: a store that lags, lags here.
        let lagging = commit.writes.is_empty() && self.wrong("lagging_reads");
        let when = match () {
            () if self.wrong("no_isolation") => attempt.arrived,
            () if lagging => attempt.now.saturating_sub(LAG),
            () => attempt.now,
        };
        for precondition in &commit.preconditions {
            let key = &precondition.key;
            let record = self.truth(&commit.partition, key, when);
            latest = latest.max(record.at);
            let written = commit.writes.iter().any(|write| write.key == *key);
            let absent = record.value.is_none() || precondition.version == Version::ABSENT;
            let looked_at = !(self.wrong("conditions_dropped")
                || (self.wrong("written_only") && !written)
                || (self.wrong("racing_create") && absent && written));
            if looked_at && record.version != precondition.version {
                current.push((key.clone(), record));
            }
        }
        (current, latest)
    }

    fn apply(&mut self, commit: &Arc<Commit>, now: Instant) {
        let index = self.log.len();
        self.log.push(Applied { when: now, commit: Arc::clone(commit) });
        let half = if self.wrong("half_commit") { 1 } else { usize::MAX };
        let restarts = self.wrong("version_restarts");
        let shelf = self.shelves.entry(commit.partition.clone()).or_default();
        for write in commit.writes.iter().take(half) {
            let record = |value| Versioned {
                version: write.version,
                at: write.at,
                sweep_at: write.sweep_at,
                value,
            };
            let state = match &write.value {
                WriteValue::Put(value) => Some(record(Some(Arc::clone(value)))),
                WriteValue::Delete if restarts => None,
                WriteValue::Delete => Some(record(None)),
                WriteValue::Purge => {
                    if !restarts {
                        let to = Floor { version: write.version, at: write.at };
                        let floors = shelf.floors.entry(write.key.kind.clone()).or_default();
                        floors.push(Raised { index, since: now, to });
                    }
                    None
                }
            };
            let slots = shelf.records.entry(write.key.clone()).or_default();
            slots.push(Slot { index, since: now, state });
        }
        self.ids.push_back(commit.id);
        if self.ids_max < self.ids.len() {
            self.ids.pop_front();
            self.forgot = true;
        }
    }

    /// How many commits were applied.
    #[must_use]
    pub fn applied(&self) -> usize {
        self.log.len()
    }

    /// All that was applied so far is safe from a crash.
    pub fn sync(&mut self, applied: usize) {
        self.synced = self.synced.max(applied);
    }

    /// How many applied commits a crash cannot take.
    #[must_use]
    pub const fn synced(&self) -> usize {
        self.synced
    }

    /// Power is lost: of what was not synced, only so many commits are found again.
    pub fn crash(&mut self, kept: usize) {
        let kept = if self.wrong("lost_at_failover") { kept } else { kept.max(self.synced) };
        self.log.truncate(kept);
        // What is found again is safe from the next crash.
        self.synced = kept;
        for shelf in self.shelves.values_mut() {
            for slots in shelf.records.values_mut() {
                slots.retain(|slot| slot.index < kept);
            }
            for floors in shelf.floors.values_mut() {
                floors.retain(|raised| raised.index < kept);
            }
        }
        let known: BTreeSet<CommitId> = self.log.iter().map(|applied| applied.commit.id).collect();
        self.ids.retain(|id| known.contains(id));
    }
}
