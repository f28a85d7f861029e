//! Where each record's last write is: all that is kept in memory.
//!
//! Invariant: an entry names only durable bytes, so whoever reads through it sees only what is
//! acknowledged or may be. Why maps within maps: partition and kind are stored once, and a scan is
//! a range. An entry has 48 bytes; values stay in the log.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use bellpunch_store::{
    CommitId, Failure, FailureKind, Kind, Partition, RecordId, RecordKey, Scan, Show, Timestamp,
    Version, Versioned,
};

use crate::files::File;
use crate::format::{COPY_BYTES, Operation, Placed, WriteRef};

/// How many commit ids are remembered.
pub(crate) const COMMIT_IDS_MAX: usize = 65_536;
/// What an entry costs beside its id: itself, its share of a tree node, the id's header.
const ENTRY_BYTES: usize = 160;
/// Records looked at for one page of a scan: the index is locked meanwhile.
const SCAN_VISITS_MAX: usize = 4_096;

/// A place in the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
    pub(crate) length: u32,
}

/// An instant, or none, in 12 bytes that need no alignment.
#[derive(Clone, Copy, Debug)]
struct Packed([u8; 12]);

impl Packed {
    fn new(at: Option<Timestamp>) -> Self {
        let bytes = at.map_or(u128::MAX, Timestamp::nanos).to_le_bytes();
        Self(*bytes.first_chunk().expect("16 bytes begin with 12"))
    }

    fn time(self) -> Option<Timestamp> {
        let mut bytes = [0; 16];
        *bytes.first_chunk_mut().expect("16 bytes begin with 12") = self.0;
        Timestamp::from_nanos(u128::from_le_bytes(bytes))
    }
}

/// A record's last write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    version: Version,
    place: Place,
    at: Packed,
    sweep_at: Packed,
    deleted: Deleted,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Deleted {
    No,
    Yes,
}

#[derive(Debug, Default)]
struct Drawer {
    floor: Version,
    /// Where the write is that raised the floor.
    floor_place: Option<Place>,
    records: BTreeMap<RecordId, Entry>,
}

type Shelf = BTreeMap<Kind, Drawer>;

/// A segment of the log.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) file: Arc<dyn File>,
    pub(crate) bytes: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Index {
    shelves: BTreeMap<Partition, Shelf>,
    pub(crate) segments: BTreeMap<u32, Segment>,
    applied: BTreeMap<CommitId, Timestamp>,
    order: VecDeque<CommitId>,
    pub(crate) forgot: Forgot,
    pub(crate) memory: usize,
    pub(crate) live: u64,
    pub(crate) total: u64,
    pub(crate) records: u64,
}

/// Whether commit ids were forgotten: then one that is not known may have been applied.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Forgot {
    #[default]
    None,
    Some,
}

/// A record without its content.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) version: Version,
    pub(crate) at: Timestamp,
    pub(crate) sweep_at: Option<Timestamp>,
    pub(crate) content: Content,
}

/// Where a record's content is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Content {
    #[default]
    None,
    At(Place),
}

/// The change of one record that a synced batch made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) operation: Operation,
    pub(crate) version: Version,
    pub(crate) at: Timestamp,
    pub(crate) sweep_at: Option<Timestamp>,
    pub(crate) place: Place,
}

/// The memory that a record takes.
pub(crate) fn memory(id: &RecordId) -> usize {
    ENTRY_BYTES.saturating_add(id.as_str().len())
}

fn live_bytes(partition: &Partition, place: Place) -> u64 {
    let overhead = COPY_BYTES.saturating_add(partition.as_str().len());
    u64::from(place.length).saturating_add(u64::try_from(overhead).unwrap_or(u64::MAX))
}

impl Index {
    fn drawer(&self, partition: &Partition, kind: &Kind) -> Option<&Drawer> {
        self.shelves.get(partition)?.get(kind)
    }

    /// What is known of a record.
    pub(crate) fn seen(&self, partition: &Partition, key: &RecordKey) -> Seen {
        let Some(drawer) = self.drawer(partition, &key.kind) else {
            return Seen::default();
        };
        match drawer.records.get(&key.id) {
            Some(entry) => entry.seen(drawer.floor),
            None => Seen { version: drawer.floor, ..Seen::default() },
        }
    }

    pub(crate) fn floor(&self, partition: &Partition, kind: &Kind) -> Version {
        self.drawer(partition, kind).map_or(Version::ABSENT, |drawer| drawer.floor)
    }

    pub(crate) fn has(&self, partition: &Partition, key: &RecordKey) -> Option<()> {
        self.drawer(partition, &key.kind)?.records.get(&key.id).map(|_| ())
    }

    pub(crate) fn applied(&self, id: CommitId) -> Option<Timestamp> {
        self.applied.get(&id).copied()
    }

    pub(crate) fn remember(&mut self, id: CommitId, at: Timestamp) {
        if self.applied.insert(id, at).is_some() {
            return;
        }
        self.order.push_back(id);
        if COMMIT_IDS_MAX < self.order.len()
            && let Some(oldest) = self.order.pop_front()
        {
            self.applied.remove(&oldest);
            self.forgot = Forgot::Some;
        }
    }

    /// The commits that are remembered, the oldest first.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn commits(&self) -> Vec<(CommitId, Timestamp)> {
        self.order.iter().filter_map(|id| Some((*id, self.applied(*id)?))).collect()
    }

    /// Makes a durable change visible.
    pub(crate) fn change(&mut self, partition: &Partition, key: &RecordKey, change: Change) {
        let shelf = self.shelves.entry(partition.clone()).or_default();
        let drawer = shelf.entry(key.kind.clone()).or_default();
        let added = live_bytes(partition, change.place);
        let deleted = match change.operation {
            Operation::Put => Deleted::No,
            Operation::Delete => Deleted::Yes,
            Operation::Purge | Operation::Floor => {
                if change.operation == Operation::Purge
                    && let Some(old) = drawer.records.remove(&key.id)
                {
                    self.memory = self.memory.saturating_sub(memory(&key.id));
                    self.live = self.live.saturating_sub(live_bytes(partition, old.place));
                    self.records = self.records.saturating_sub(1);
                }
                if drawer.floor <= change.version {
                    let old = drawer.floor_place.replace(change.place);
                    let removed = old.map_or(0, |place| live_bytes(partition, place));
                    self.live = self.live.saturating_sub(removed).saturating_add(added);
                    drawer.floor = change.version;
                }
                return;
            }
        };
        let (at, sweep_at) = (Packed::new(Some(change.at)), Packed::new(change.sweep_at));
        let entry = Entry { version: change.version, place: change.place, at, sweep_at, deleted };
        self.live = self.live.saturating_add(added);
        match drawer.records.entry(key.id.clone()) {
            Slot::Occupied(mut slot) => {
                let old = slot.insert(entry);
                self.live = self.live.saturating_sub(live_bytes(partition, old.place));
            }
            Slot::Vacant(slot) => {
                slot.insert(entry);
                self.memory = self.memory.saturating_add(memory(&key.id));
                self.records = self.records.saturating_add(1);
            }
        }
    }

    /// What of a write in the log still counts, so what a copy of it must say.
    pub(crate) fn live<'a>(
        &self,
        partition: &Partition,
        place: Place,
        write: &WriteRef<'a>,
    ) -> Option<WriteRef<'a>> {
        let drawer = self.drawer(partition, &Kind::named(write.kind))?;
        match write.operation {
            Operation::Put | Operation::Delete => {
                let entry = drawer.records.get(&RecordId::stored(write.id))?;
                (entry.place == place).then_some(*write)
            }
            Operation::Purge | Operation::Floor => (drawer.floor_place == Some(place))
                .then_some(WriteRef { operation: Operation::Floor, id: "", ..*write }),
        }
    }

    /// Replays one write of a frame that begins at `start` of `segment`.
    pub(crate) fn replay(
        &mut self,
        partition: &Partition,
        placed: &Placed<'_>,
        frame: (u32, usize),
    ) -> Option<()> {
        let (segment, start) = frame;
        let offset = u32::try_from(start.checked_add(placed.offset)?).ok()?;
        let place = Place { segment, offset, length: u32::try_from(placed.length).ok()? };
        let WriteRef { operation, version, at, sweep_at, .. } = placed.write;
        let change = Change { operation, version, at, sweep_at, place };
        self.change(partition, &placed.write.key(), change);
        Some(())
    }

    /// The entries of a page, and whether there may be more.
    pub(crate) fn page(
        &self,
        partition: &Partition,
        scan: &Scan,
    ) -> (Vec<(RecordKey, Seen)>, Option<RecordKey>) {
        let mut found = Vec::new();
        let Some(shelf) = self.shelves.get(partition) else {
            return (found, None);
        };
        let start = scan.start();
        let prefix = RecordId::stored(&scan.prefix);
        let mut last = None;
        let mut visits = 0_usize;
        for (kind, drawer) in shelf.range(&start.kind..) {
            if scan.kind.as_ref().is_some_and(|wanted| wanted < kind) {
                break;
            }
            let from = match &scan.after {
                Some(after) if after.kind == *kind && prefix <= after.id => {
                    Bound::Excluded(&after.id)
                }
                Some(_) | None => Bound::Included(&prefix),
            };
            for (id, entry) in drawer.records.range((from, Bound::Unbounded)) {
                if !id.as_str().starts_with(&scan.prefix) {
                    break;
                }
                let key = |id: &RecordId| RecordKey { kind: kind.clone(), id: id.clone() };
                if found.len() == scan.limit || visits == SCAN_VISITS_MAX {
                    return (found, last);
                }
                visits = visits.saturating_add(1);
                last = Some(key(id));
                let due = entry.sweep_at.time();
                let wanted = (entry.deleted == Deleted::No || scan.show == Show::All)
                    && scan.due_by.is_none_or(|by| due.is_some_and(|due| due <= by));
                if wanted {
                    found.push((key(id), entry.seen(drawer.floor)));
                }
            }
        }
        (found, None)
    }

    /// The floors that a page has.
    pub(crate) fn floors(&self, partition: &Partition, scan: &Scan) -> Vec<(Kind, Version)> {
        let drawers = self.shelves.get(partition).into_iter().flatten();
        let floors = drawers.map(|(kind, drawer)| (kind, drawer.floor));
        floors
            .filter(|(kind, floor)| Version::ABSENT < *floor && scan.wants_floor(kind))
            .map(|(kind, floor)| (kind.clone(), floor))
            .collect()
    }

    /// The partitions after one.
    pub(crate) fn partitions(
        &self,
        after: Option<&Partition>,
        limit: usize,
    ) -> (Vec<Partition>, bool) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut names = self.shelves.range::<Partition, _>((from, Bound::Unbounded));
        let partitions = names.by_ref().take(limit).map(|(name, _)| name.clone()).collect();
        (partitions, names.next().is_some())
    }
}

impl Entry {
    fn seen(&self, floor: Version) -> Seen {
        let at = self.at.time().expect("an entry is made with a time");
        let sweep_at = self.sweep_at.time();
        match self.deleted {
            Deleted::No => {
                Seen { version: self.version, at, sweep_at, content: Content::At(self.place) }
            }
            Deleted::Yes => {
                Seen { version: self.version.max(floor), at, sweep_at, content: Content::None }
            }
        }
    }
}

impl Seen {
    /// The same with the floor of purged records raised.
    pub(crate) fn above(self, floor: Version) -> Self {
        match self.content {
            Content::None => Self { version: self.version.max(floor), ..self },
            Content::At(_) => self,
        }
    }

    /// With the file that its content is in, so that it can be fetched without the index.
    pub(crate) fn open(self, index: &Index) -> Opened {
        let file = match self.content {
            Content::None => None,
            Content::At(place) => {
                index.segments.get(&place.segment).map(|segment| Arc::clone(&segment.file))
            }
        };
        Opened { seen: self, file }
    }
}

/// A record whose content can be fetched.
#[derive(Debug)]
pub(crate) struct Opened {
    seen: Seen,
    file: Option<Arc<dyn File>>,
}

impl Opened {
    /// The record with its content, read from its file and checked.
    pub(crate) fn fetch(
        self,
        partition: &Partition,
        key: &RecordKey,
    ) -> Result<Versioned, Failure> {
        let Seen { version, at, sweep_at, content } = self.seen;
        let Content::At(place) = content else {
            return Ok(Versioned { version, at, sweep_at, value: None });
        };
        let corrupt = |what: &str| {
            let Place { segment, offset, .. } = place;
            let message = format!(
                "the stored value of {key} in partition {partition} is damaged ({what}; segment \
                 {segment}, offset {offset}): restore the data folder from a backup"
            );
            Failure::new(FailureKind::Corrupt, message)
        };
        let file = self.file.ok_or_else(|| corrupt("its segment is gone"))?;
        let length = usize::try_from(place.length).expect("32 bits fit");
        let mut bytes = vec![0; length];
        let read = file.read_at(&mut bytes, u64::from(place.offset));
        read.map_err(|cause| corrupt(&cause.to_string()))?;
        let write = WriteRef::decode(partition, &bytes).ok_or_else(|| corrupt("wrong checksum"))?;
        let same = write.operation == Operation::Put
            && write.version == version
            && write.kind == key.kind.name()
            && write.id == key.id.as_str();
        if !same {
            return Err(corrupt("it is another record's"));
        }
        Ok(Versioned { version, at, sweep_at, value: write.content() })
    }
}
