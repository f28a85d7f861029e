//! A batch being made: its bytes, and the state as it will be.
//!
//! Invariant: every commit is checked against the index *and* the commits before it in this batch.
//! The changes are applied to the index in the order of the bytes, so recovery gives the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use bellpunch_store::{
    Commit, CommitId, CommitResult, Failure, FailureKind, Floor, Kind, Partition, RecordKey,
    Timestamp, Version, Versioned, Write, WriteValue,
};

use crate::config::DiskConfig;
use crate::format::{BATCH_HEADER_BYTES, BatchHeader, FrameStart, Head, Operation, Seed, WriteRef};
use crate::index::{Change, Index, Place, Seen, memory};

/// How many preconditions and writes one commit may have.
pub(crate) const RECORDS_MAX: usize = 65_536;
/// Records that take much less time than a sync.
pub(crate) const RECORDS_MIN: usize = 8;
/// How many bytes of keys and values one commit may have.
pub(crate) const COMMIT_BYTES_MAX: usize = 16 << 20;

#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    frames: u32,
    /// In order, with places from the start of the batch.
    changes: Vec<(Partition, RecordKey, Change)>,
    shelves: BTreeMap<Partition, DraftShelf>,
    applied: BTreeMap<CommitId, Timestamp>,
    memory_added: usize,
    memory_removed: usize,
}

#[derive(Debug, Default)]
struct DraftShelf {
    records: BTreeMap<RecordKey, Draft>,
    floors: BTreeMap<Kind, Floor>,
}

/// A record as this batch leaves it.
#[derive(Debug)]
enum Draft {
    Written(Versioned),
    Purged,
}

/// A record as the commits before left it.
enum Found {
    Durable(Seen),
    Drafted(Versioned),
}

impl Found {
    fn version(&self) -> Version {
        match self {
            Self::Durable(seen) => seen.version,
            Self::Drafted(versioned) => versioned.version,
        }
    }

    fn at(&self) -> Timestamp {
        match self {
            Self::Durable(seen) => seen.at,
            Self::Drafted(versioned) => versioned.at,
        }
    }

    fn fetch(
        self,
        index: &Index,
        partition: &Partition,
        key: &RecordKey,
    ) -> Result<Versioned, Failure> {
        match self {
            Self::Durable(seen) => seen.open(index).fetch(partition, key),
            Self::Drafted(versioned) => Ok(versioned),
        }
    }
}

/// A frame being written.
pub(crate) struct FrameWriter<'a> {
    batch: &'a mut Batch,
    writes: usize,
}

impl FrameWriter<'_> {
    pub(crate) fn write(&mut self, partition: &Partition, key: RecordKey, write: &WriteRef<'_>) {
        let offset = u32::try_from(self.batch.bytes.len()).expect("a batch is bounded");
        let length = write.put(partition, &mut self.batch.bytes);
        let length = u32::try_from(length).expect("a batch is bounded");
        let place = Place { segment: 0, offset, length };
        let WriteRef { operation, version, at, sweep_at, .. } = *write;
        let change = Change { operation, version, at, sweep_at, place };
        self.batch.changes.push((partition.clone(), key, change));
        self.writes = self.writes.saturating_add(1);
    }
}

impl Batch {
    /// Forgets everything, and keeps the buffer.
    pub(crate) fn clear(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        bytes.resize(BATCH_HEADER_BYTES, 0);
        *self = Self { bytes, ..Self::default() };
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames == 0
    }

    pub(crate) fn frame(&mut self, head: &Head<'_>, writes: impl FnOnce(&mut FrameWriter<'_>)) {
        let start = FrameStart::put(head, &mut self.bytes);
        let mut frame = FrameWriter { batch: self, writes: 0 };
        writes(&mut frame);
        let count = frame.writes;
        start.end(count, &mut self.bytes);
        self.frames = self.frames.saturating_add(1);
    }

    /// The bytes, headed.
    pub(crate) fn seal(&mut self, seed: Seed, number: u64) -> &[u8] {
        let bytes = self.bytes.len().saturating_sub(BATCH_HEADER_BYTES);
        BatchHeader { number, bytes, frames: self.frames }.put(seed, &mut self.bytes);
        &self.bytes
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Makes it visible, now that it is durable at this place.
    pub(crate) fn apply(&mut self, index: &mut Index, segment: u32, base: u32) {
        for (partition, key, mut change) in self.changes.drain(..) {
            change.place.segment = segment;
            change.place.offset =
                change.place.offset.checked_add(base).expect("segments are short");
            index.change(&partition, &key, change);
        }
        for (id, at) in &self.applied {
            index.remember(*id, *at);
        }
    }

    fn found(&self, index: &Index, partition: &Partition, key: &RecordKey) -> Found {
        let Some(shelf) = self.shelves.get(partition) else {
            return Found::Durable(index.seen(partition, key));
        };
        let drafted = shelf.floors.get(&key.kind).copied().unwrap_or_default();
        match shelf.records.get(key) {
            Some(Draft::Written(record)) if record.value.is_some() => {
                Found::Drafted(record.clone())
            }
            Some(Draft::Written(tombstone)) => {
                let floor = drafted.above(index.floor(partition, &key.kind));
                Found::Drafted(tombstone.clone().above(floor))
            }
            Some(Draft::Purged) => {
                let floor = drafted.above(index.floor(partition, &key.kind));
                Found::Drafted(Versioned::default().above(floor))
            }
            None => Found::Durable(index.seen(partition, key).above(drafted)),
        }
    }

    fn has(&self, index: &Index, partition: &Partition, key: &RecordKey) -> Option<()> {
        match self.shelves.get(partition).and_then(|shelf| shelf.records.get(key)) {
            Some(Draft::Written(_)) => Some(()),
            Some(Draft::Purged) => None,
            None => index.has(partition, key),
        }
    }

    /// Decides one commit, and if it is taken, appends it. `store_time` is read by the caller now
    /// that nothing can come between.
    pub(crate) fn take(
        &mut self,
        index: &Index,
        config: &DiskConfig,
        (commit, store_time): (&Commit, Timestamp),
    ) -> CommitResult {
        let applied = self.applied.get(&commit.id).copied();
        if let Some(at) = applied.or_else(|| index.applied(commit.id)) {
            return CommitResult::Committed { at };
        }
        let partition = &commit.partition;
        let mut current = Vec::new();
        let mut latest = Timestamp::EPOCH;
        for precondition in &commit.preconditions {
            let found = self.found(index, partition, &precondition.key);
            latest = latest.max(found.at());
            if found.version() != precondition.version {
                match found.fetch(index, partition, &precondition.key) {
                    Ok(versioned) => current.push((precondition.key.clone(), versioned)),
                    Err(failure) => return CommitResult::Failed(failure),
                }
            }
        }
        if !current.is_empty() {
            return CommitResult::Conflict { current };
        }
        if commit.deadline.is_some_and(|deadline| deadline <= store_time) {
            return CommitResult::TooLate { store_time };
        }
        let ahead = commit.now.nanos().saturating_sub(store_time.nanos());
        if u128::from(config.clock_skew_max_ns) < ahead && latest < commit.now {
            return CommitResult::ClockAhead { store_time };
        }
        if !commit.writes.is_empty() {
            if let Err(failure) = self.fits(index, config, commit) {
                return CommitResult::Failed(failure);
            }
            self.append(commit, store_time);
        }
        CommitResult::Committed { at: store_time }
    }

    /// Counts the memory that a commit needs, if there is that much.
    fn fits(&mut self, index: &Index, config: &DiskConfig, commit: &Commit) -> Result<(), Failure> {
        let (mut added, mut removed) = (0_usize, 0_usize);
        for write in &commit.writes {
            let bytes = memory(&write.key.id);
            match (&write.value, self.has(index, &commit.partition, &write.key)) {
                (WriteValue::Put(_) | WriteValue::Delete, None) => {
                    added = added.saturating_add(bytes);
                }
                (WriteValue::Purge, Some(())) => removed = removed.saturating_add(bytes),
                (WriteValue::Put(_) | WriteValue::Delete, Some(())) | (WriteValue::Purge, None) => {
                }
            }
        }
        let (all_added, all_removed) =
            (self.memory_added.saturating_add(added), self.memory_removed.saturating_add(removed));
        let memory = index.memory.saturating_add(all_added).saturating_sub(all_removed);
        if config.index_bytes_max < memory && removed < added {
            return Err(Failure::new(
                FailureKind::Full,
                "the index has reached its bound (index_bytes_max); remove records or raise it",
            ));
        }
        (self.memory_added, self.memory_removed) = (all_added, all_removed);
        Ok(())
    }

    fn append(&mut self, commit: &Commit, at: Timestamp) {
        let Commit { id, partition, now, .. } = commit;
        self.frame(&Head::Commit { id: *id, now: *now, at, partition }, |frame| {
            for write in &commit.writes {
                frame.write(partition, write.key.clone(), &write_ref(write));
            }
        });
        let shelf = self.shelves.entry(partition.clone()).or_default();
        for write in &commit.writes {
            let value = match &write.value {
                WriteValue::Put(value) => Some(Arc::clone(value)),
                WriteValue::Delete => None,
                WriteValue::Purge => {
                    shelf.records.insert(write.key.clone(), Draft::Purged);
                    let purge = Floor { version: write.version, at: write.at };
                    shelf.floors.entry(write.key.kind.clone()).or_default().raise(purge);
                    continue;
                }
            };
            let Write { version, at, sweep_at, .. } = *write;
            let versioned = Versioned { version, at, sweep_at, value };
            shelf.records.insert(write.key.clone(), Draft::Written(versioned));
        }
        self.applied.insert(*id, at);
    }
}

fn write_ref(write: &Write) -> WriteRef<'_> {
    let (operation, value): (_, &[u8]) = match &write.value {
        WriteValue::Put(value) => (Operation::Put, value),
        WriteValue::Delete => (Operation::Delete, &[]),
        WriteValue::Purge => (Operation::Purge, &[]),
    };
    let Write { version, at, sweep_at, .. } = *write;
    let (kind, id) = (write.key.kind.name(), write.key.id.as_str());
    WriteRef { operation, version, at, sweep_at, kind, id, value }
}

/// Refuses a commit that is too large, before it takes a place in the queue; gives its bytes.
pub(crate) fn check_bounds(commit: &Commit) -> Result<usize, Failure> {
    let names = |key: &RecordKey| key.kind.name().len().saturating_add(key.id.as_str().len());
    let long = |key: &RecordKey| usize::from(u16::MAX) < names(key);
    let records = commit.preconditions.len().max(commit.writes.len());
    let bytes = commit.writes.iter().fold(0_usize, |bytes, write| {
        let value = match &write.value {
            WriteValue::Put(value) => value.len(),
            WriteValue::Delete | WriteValue::Purge => 0,
        };
        bytes.saturating_add(names(&write.key)).saturating_add(value)
    });
    if RECORDS_MAX < records
        || COMMIT_BYTES_MAX < bytes
        || commit.writes.iter().any(|write| long(&write.key))
    {
        return Err(Failure::new(
            FailureKind::TooLarge,
            "the commit has more than 65,536 records, 16 MiB, or a name of more than 64 KiB",
        ));
    }
    Ok(bytes)
}
