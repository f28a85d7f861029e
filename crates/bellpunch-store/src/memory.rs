//! The memory backend: everything is gone with the process.
//!
//! Invariant: one lock around all of it, so a commit is applied at one instant. Why one lock: the
//! engine already combines many commands into one commit, and this store is the yardstick for all
//! others, so it stays obviously right.

use std::collections::{BTreeMap, VecDeque};
use std::future::ready;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use bellpunch_core::{Floor, Kind, Partition, RecordKey, Timestamp};

use crate::{
    BoxFuture, Clock, Commit, CommitId, CommitResult, Failure, FailureKind, Guarantee, Page,
    PartitionPage, Properties, Resolution, Scan, Sharing, Show, Store, StoreClock, Survives,
    Versioned, WriteValue,
};

/// Bytes that a record is counted with beside its key and value.
const RECORD_BYTES: usize = 160;
/// Records looked at for one page of a scan.
const SCAN_VISITS_MAX: usize = 4_096;
/// How many commit ids are remembered.
const COMMIT_IDS_MAX: usize = 65_536;

/// Bounds of a memory store.
#[derive(Clone, Debug)]
pub struct MemoryConfig {
    /// Bytes of records above which a commit that adds some is refused as full.
    pub bytes_max: usize,
    /// How far a commit's `now` may be ahead of the store's clock, in nanoseconds.
    pub clock_skew_max_ns: u64,
}

impl Default for MemoryConfig {
    /// 1 GiB and 500 ms.
    fn default() -> Self {
        Self { bytes_max: 1 << 30, clock_skew_max_ns: 500_000_000 }
    }
}

#[derive(Debug, Default)]
struct Shelf {
    records: BTreeMap<RecordKey, Versioned>,
    floors: BTreeMap<Kind, Floor>,
}

#[derive(Debug, Default)]
struct State {
    shelves: BTreeMap<Partition, Shelf>,
    applied: BTreeMap<CommitId, Timestamp>,
    order: VecDeque<CommitId>,
    forgot: bool,
    bytes: usize,
}

/// A store in memory. Everything in it is gone with the process.
///
/// ```
/// use bellpunch_store::{Clock, MemoryConfig, MemoryStore, Sharing, Store, Timestamp};
/// #[derive(Debug)]
/// struct Stopped;
/// impl Clock for Stopped {
///     fn now(&self) -> Timestamp { Timestamp::EPOCH }
/// }
/// let store = MemoryStore::new(std::sync::Arc::new(Stopped), MemoryConfig::default());
/// assert_eq!(store.properties().sharing, Sharing::Exclusive);
/// ```
#[derive(Debug)]
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    config: MemoryConfig,
    sharing: Sharing,
    state: Mutex<State>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, config: MemoryConfig) -> Self {
        Self { clock, config, sharing: Sharing::Exclusive, state: Mutex::default() }
    }

    /// An empty store that several engines of this process use at once.
    #[must_use]
    pub fn shared(clock: Arc<dyn Clock>, config: MemoryConfig) -> Self {
        Self { sharing: Sharing::Shared, ..Self::new(clock, config) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds this lock")
    }

    fn apply(&self, state: &mut State, commit: &Commit) -> CommitResult {
        if let Some(at) = state.applied.get(&commit.id) {
            return CommitResult::Committed { at: *at };
        }
        let properties = self.properties();
        let records = commit.preconditions.len().max(commit.writes.len());
        if properties.records_max < records || properties.bytes_max < commit_bytes(commit) {
            return CommitResult::Failed(Failure::new(
                FailureKind::TooLarge,
                "the commit has more records or bytes than a memory store takes at once",
            ));
        }
        // The lock is held: this is exclusivity, so the clock is read now and not before.
        let store_time = self.clock.now();
        let shelf = state.shelves.get(&commit.partition);
        let mut current = Vec::new();
        let mut latest = Timestamp::EPOCH;
        for precondition in &commit.preconditions {
            let versioned =
                shelf.map_or_else(Versioned::default, |shelf| shelf.read(&precondition.key));
            latest = latest.max(versioned.at);
            if versioned.version != precondition.version {
                current.push((precondition.key.clone(), versioned));
            }
        }
        if !current.is_empty() {
            return CommitResult::Conflict { current };
        }
        if commit.deadline.is_some_and(|deadline| deadline <= store_time) {
            return CommitResult::TooLate { store_time };
        }
        let ahead = commit.now.nanos().saturating_sub(store_time.nanos());
        if u128::from(self.config.clock_skew_max_ns) < ahead && latest < commit.now {
            return CommitResult::ClockAhead { store_time };
        }
        if commit.writes.is_empty() {
            return CommitResult::Committed { at: store_time };
        }
        let (added, removed) =
            shelf.map_or_else(|| (commit_bytes(commit), 0), |shelf| shelf.change(commit));
        let bytes = state.bytes.saturating_add(added).saturating_sub(removed);
        if self.config.bytes_max < bytes && removed < added {
            return CommitResult::Failed(Failure::new(
                FailureKind::Full,
                "the memory store has reached its bound (bytes_max); remove records or raise it",
            ));
        }
        state.bytes = bytes;
        state.shelves.entry(commit.partition.clone()).or_default().write(commit);
        state.remember(commit.id, store_time);
        CommitResult::Committed { at: store_time }
    }
}

fn record_bytes(key: &RecordKey, value: Option<&Arc<[u8]>>) -> usize {
    RECORD_BYTES
        .saturating_add(key.id.as_str().len())
        .saturating_add(value.map_or(0, |value| value.len()))
}

fn commit_bytes(commit: &Commit) -> usize {
    commit.writes.iter().fold(0, |bytes, write| {
        let value = match &write.value {
            WriteValue::Put(value) => Some(value),
            WriteValue::Delete | WriteValue::Purge => None,
        };
        bytes.saturating_add(record_bytes(&write.key, value))
    })
}

impl Shelf {
    fn read(&self, key: &RecordKey) -> Versioned {
        let floor = self.floors.get(&key.kind).copied().unwrap_or_default();
        match self.records.get(key) {
            Some(record) if record.value.is_some() => record.clone(),
            Some(tombstone) => tombstone.clone().above(floor),
            None => Versioned::default().above(floor),
        }
    }

    /// The bytes that a commit would add and take away.
    fn change(&self, commit: &Commit) -> (usize, usize) {
        let (mut added, mut removed) = (0_usize, 0_usize);
        for write in &commit.writes {
            let old = self.records.get(&write.key);
            let old = old.map_or(0, |old| record_bytes(&write.key, old.value.as_ref()));
            removed = removed.saturating_add(old);
            let new = match &write.value {
                WriteValue::Put(value) => record_bytes(&write.key, Some(value)),
                WriteValue::Delete => record_bytes(&write.key, None),
                WriteValue::Purge => 0,
            };
            added = added.saturating_add(new);
        }
        (added, removed)
    }

    fn write(&mut self, commit: &Commit) {
        for write in &commit.writes {
            let value = match &write.value {
                WriteValue::Put(value) => Some(Arc::clone(value)),
                WriteValue::Delete => None,
                WriteValue::Purge => {
                    self.records.remove(&write.key);
                    let purge = Floor { version: write.version, at: write.at };
                    self.floors.entry(write.key.kind.clone()).or_default().raise(purge);
                    continue;
                }
            };
            let sweep_at = write.sweep_at;
            let record = Versioned { version: write.version, at: write.at, sweep_at, value };
            self.records.insert(write.key.clone(), record);
        }
    }

    fn page(&self, scan: &Scan) -> Page {
        let floors = self.floors.iter().filter(|(kind, _)| scan.wants_floor(kind));
        let floors = floors.map(|(kind, floor)| (kind.clone(), *floor)).collect();
        let mut page = Page { floors, ..Page::default() };
        let start = scan.start();
        let from = if scan.after.as_ref() == Some(&start) {
            Bound::Excluded(&start)
        } else {
            Bound::Included(&start)
        };
        let mut last: Option<&RecordKey> = None;
        for (visited, (key, record)) in self.records.range((from, Bound::Unbounded)).enumerate() {
            let other_kind = scan.kind.as_ref().is_some_and(|kind| *kind < key.kind);
            if other_kind || (scan.kind.is_some() && !key.id.as_str().starts_with(&scan.prefix)) {
                break;
            }
            if page.records.len() == scan.limit || visited == SCAN_VISITS_MAX {
                page.resume = last.cloned();
                break;
            }
            last = Some(key);
            let shown = record.value.is_some() || scan.show == Show::All;
            if shown && scan.wants(key, record.sweep_at) {
                page.records.push((key.clone(), self.read(key)));
            }
        }
        page
    }
}

impl State {
    fn remember(&mut self, id: CommitId, at: Timestamp) {
        self.applied.insert(id, at);
        self.order.push_back(id);
        if COMMIT_IDS_MAX < self.order.len()
            && let Some(oldest) = self.order.pop_front()
        {
            self.applied.remove(&oldest);
            self.forgot = true;
        }
    }
}

impl Store for MemoryStore {
    fn properties(&self) -> Properties {
        Properties {
            name: "memory",
            sharing: self.sharing,
            guarantee: Guarantee::Atomic,
            survives: Survives::Nothing,
            risk: None,
            clock: StoreClock::AtExclusivity,
            records_max: 65_536,
            records_min: 8,
            bytes_max: 64 << 20,
        }
    }

    fn read<'a>(
        &'a self,
        partition: &'a Partition,
        keys: &'a [RecordKey],
    ) -> BoxFuture<'a, Result<Vec<Versioned>, Failure>> {
        let state = self.state();
        let shelf = state.shelves.get(partition);
        let read = |key| shelf.map_or_else(Versioned::default, |shelf| shelf.read(key));
        Box::pin(ready(Ok(keys.iter().map(read).collect())))
    }

    fn commit(&self, commits: Vec<Arc<Commit>>) -> BoxFuture<'_, Vec<CommitResult>> {
        let mut state = self.state();
        let results = commits.iter().map(|commit| self.apply(&mut state, commit)).collect();
        Box::pin(ready(results))
    }

    fn scan<'a>(
        &'a self,
        partition: &'a Partition,
        scan: &'a Scan,
    ) -> BoxFuture<'a, Result<Page, Failure>> {
        let state = self.state();
        let page = state.shelves.get(partition).map(|shelf| shelf.page(scan));
        Box::pin(ready(Ok(page.unwrap_or_default())))
    }

    fn resolve<'a>(
        &'a self,
        _: &'a Partition,
        id: CommitId,
    ) -> BoxFuture<'a, Result<Resolution, Failure>> {
        let state = self.state();
        Box::pin(ready(Ok(match state.applied.get(&id) {
            Some(_) => Resolution::Applied,
            None if state.forgot => Resolution::NotKnown,
            None => Resolution::NotApplied,
        })))
    }

    fn partitions<'a>(
        &'a self,
        after: Option<&'a Partition>,
        limit: usize,
    ) -> BoxFuture<'a, Result<PartitionPage, Failure>> {
        let state = self.state();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut names = state.shelves.range::<Partition, _>((from, Bound::Unbounded));
        let partitions: Vec<_> = names.by_ref().take(limit).map(|(name, _)| name.clone()).collect();
        let more = names.next().is_some();
        Box::pin(ready(Ok(PartitionPage { partitions, more })))
    }
}
