//! The records of one partition as a batch of commands sees them.
//!
//! Invariant: a record is either as the store last told (committed), or that plus what one batch that
//! is on its way to the store wrote (sent), or either plus what accepted commands of the next batch
//! wrote (pending). What was sent becomes committed when the store said so, and vanishes otherwise
//! with all that was decided upon it; nothing in between is told to a caller, but of
//! rate limits whose policy says so.
//!
//! Why values stay decoded here: a hot record is decided on thousands of times a second and
//! encoded once per batch.
//!
//! Why places and not a sorted map: a decision looks at each of its records several times, and a
//! sorted map compares text at every level of every look. Here a record is found by its hash once,
//! and then by its place. Nothing depends on the hash but speed: what is gone through in order is
//! the places, and those are given in the order of loading.

mod confirmed;
mod sent;

use std::any::Any;
use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use self::confirmed::Confirmed;
use self::sent::Sent;
use crate::draft::IsWritten;
use crate::record::decode;
use crate::{AnyRecord, DecodeError, Kind, Record, RecordId, RecordKey, Timestamp, Version};

/// Bytes that a record is counted with beside its value and its key.
const SLOT_BYTES: usize = 192;
/// A decoded value takes more than its stored form; what it is multiplied with.
const DECODED_FACTOR: usize = 3;

/// A record as a store gave it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Loaded {
    /// 0 is absent for ever; above 0 without a value is deleted.
    pub version: Version,
    /// The decision time of the commit that wrote it; of an absent record at least that of the last
    /// purge of its kind.
    pub at: Timestamp,
    /// The stored form; `None` if there is none.
    pub value: Option<Arc<[u8]>>,
}

/// What is left of the records of a kind that were purged: the highest version and the latest
/// decision time of any of their purges.
///
/// An absent record of the kind may be one of them. So it reads as at least this new: none is made
/// again at a version as low, or decided on at an earlier time.
///
/// ```
/// use bellpunch_core::{Floor, Timestamp, Version};
/// let at = |text: &str| text.parse::<Timestamp>().expect("it is an instant");
/// let mut floor = Floor::default();
/// floor.raise(Floor { version: Version::new(9), at: at("2026-01-01T00:00:00Z") });
/// floor.raise(Floor { version: Version::new(4), at: at("2026-01-02T00:00:00Z") });
/// // Two purges, and each of the two is of another one.
/// assert_eq!(floor, Floor { version: Version::new(9), at: at("2026-01-02T00:00:00Z") });
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Floor {
    /// The highest version that a purge had.
    pub version: Version,
    /// The latest time that a purge was decided at.
    pub at: Timestamp,
}

impl Floor {
    /// Takes in another purge, or another floor: neither of the two falls.
    pub fn raise(&mut self, other: Self) {
        *self = self.above(other);
    }

    /// The higher of both, in version and in time.
    #[must_use]
    pub fn above(self, other: Self) -> Self {
        Self { version: self.version.max(other.version), at: self.at.max(other.at) }
    }
}

/// A question for records of a kind, by id prefix: those whose time has come, or any.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Due {
    /// Of this kind.
    pub kind: Kind,
    /// With ids that begin so.
    pub prefix: String,
    /// Only those whose [`Record::sweep_at`] has come at this instant, the decision's; `None`: any.
    pub by: Option<Timestamp>,
}

/// What a batch writes of one record.
#[derive(Clone, Debug)]
pub struct PendingWrite {
    /// The version that the store must find.
    pub expected: Version,
    /// The version after the batch.
    pub version: Version,
    /// The decision time of the last command that wrote it.
    pub at: Timestamp,
    /// When it may be removed.
    pub sweep_at: Option<Timestamp>,
    /// The value; `None` deletes it.
    pub value: Option<Arc<dyn AnyRecord>>,
    /// Forget it altogether: no tombstone.
    pub purge: bool,
}

#[derive(Clone, Debug)]
enum Content {
    Absent,
    Encoded(Arc<[u8]>),
    Decoded(Arc<dyn AnyRecord>),
}

#[derive(Clone, Debug)]
struct State {
    version: Version,
    at: Timestamp,
    content: Content,
}

#[derive(Clone, Debug)]
struct Slot {
    key: RecordKey,
    committed: State,
    /// Where what the batch wrote of it is.
    pending: Option<usize>,
    bytes: usize,
    used: bool,
    /// How many purges this view had seen when it was loaded.
    purges: u64,
    /// The last draft that touched it, and where that draft has it.
    draft: (u64, usize),
    /// The last batch that rests on it.
    batch: u64,
    /// The batch on its way to the store that wrote what is committed of it here; 0: none.
    sent: u64,
    /// The last round in which a command was set aside that is about it, and whether one of those
    /// writes it.
    aside: (u64, IsWritten),
    /// Of few records.
    confirmed: Option<Box<Confirmed>>,
}

/// Where a view has a record, until it forgets it.
pub(crate) type Place = usize;

/// The records of one partition as a batch of commands sees them.
#[derive(Clone, Debug, Default)]
pub struct View {
    slots: Vec<Option<Slot>>,
    /// Places of the table of slots, by the hash of the record's key.
    places: HashTable<Place>,
    /// Places that are free.
    free: Vec<Place>,
    hasher: RandomState,
    /// How many purges this view has seen, and how many had been seen after the last of each kind.
    /// A purge raises the version of all absent records of its kind at the store. To raise it here
    /// would be a guess: one that somebody else has made meanwhile may be at just that version.
    purges: u64,
    purged: BTreeMap<Kind, u64>,
    due: BTreeMap<Due, Vec<RecordId>>,
    /// What the batch wrote, and how much of it is neither settled nor discarded.
    pending: Vec<Option<PendingWrite>>,
    open: usize,
    /// Where the records are that the batch wrote, by kind; some of them may be settled.
    written: BTreeMap<Kind, Vec<Place>>,
    /// What batches on their way wrote, and the records as they were before.
    sent: Vec<Sent>,
    /// The kinds of which those batches purge records.
    sent_purges: Vec<(u64, Kind)>,
    bytes: usize,
    cursor: Place,
    /// The last draft and the last batch.
    drafts: u64,
    batches: u64,
    /// The rounds that have ended in which commands were set aside.
    rounds: u64,
    clock_steps: u64,
}

/// What a draft reads.
pub(crate) struct Seen<R> {
    pub(crate) version: Version,
    pub(crate) at: Timestamp,
    pub(crate) value: Option<Arc<R>>,
}

pub(crate) enum SeenError {
    NotLoaded,
    Undecodable(DecodeError),
}

impl State {
    /// A record once what was written of it is committed.
    fn after(write: PendingWrite) -> Self {
        let content = match write.value {
            None => Content::Absent,
            Some(value) => match value.sealed() {
                Some(bytes) => Content::Encoded(Arc::clone(bytes)),
                None => Content::Decoded(value),
            },
        };
        Self { version: write.version, at: write.at, content }
    }
}

impl Slot {
    const fn is_absent(&self) -> bool {
        matches!(self.committed.content, Content::Absent)
    }

    /// Whether it is as the store told, or took it: nothing of it is on its way or pending.
    const fn is_told(&self) -> bool {
        self.pending.is_none() && self.sent == 0
    }
}

fn hash(hasher: &RandomState, kind: &Kind, id: &RecordId) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(kind.name().as_bytes());
    state.write(id.as_str().as_bytes());
    state.finish()
}

impl View {
    /// Where a record is.
    pub(crate) fn find(&self, kind: &Kind, id: &RecordId) -> Option<Place> {
        let is_it = |place: &Place| {
            self.slots.get(*place).and_then(Option::as_ref).is_some_and(|slot| {
                // Ids differ more often than kinds.
                slot.key.id == *id && slot.key.kind == *kind
            })
        };
        self.places.find(hash(&self.hasher, kind, id), is_it).copied()
    }

    fn found(&self, key: &RecordKey) -> Option<&Slot> {
        self.find(&key.kind, &key.id).map(|place| self.slot(place))
    }

    fn slot(&self, place: Place) -> &Slot {
        self.slots.get(place).and_then(Option::as_ref).expect("a place that is known is taken")
    }

    fn slot_mut(&mut self, place: Place) -> &mut Slot {
        self.slots.get_mut(place).and_then(Option::as_mut).expect("a place that is known is taken")
    }

    pub(crate) fn key(&self, place: Place) -> &RecordKey {
        &self.slot(place).key
    }

    /// Takes a record as the store gave it. What a batch wrote on it stays, and so does a record
    /// that is on its way: the store does not know it yet.
    pub fn load(&mut self, key: RecordKey, loaded: Loaded) {
        let value_bytes = loaded.value.as_ref().map_or(0, |value| value.len());
        let bytes = bytes_of(&key, value_bytes);
        let content = loaded.value.map_or(Content::Absent, Content::Encoded);
        let committed = State { version: loaded.version, at: loaded.at, content };
        let purges = self.purges;
        self.bytes = self.bytes.saturating_add(bytes);
        let Self { slots, places, free, hasher, .. } = self;
        let own = hash(hasher, &key.kind, &key.id);
        let at = |place: Place| slots.get(place).and_then(Option::as_ref);
        let is_it = |place: &Place| at(*place).is_some_and(|slot| slot.key == key);
        let rehash =
            |place: &Place| at(*place).map_or(0, |slot| hash(hasher, &slot.key.kind, &slot.key.id));
        match places.entry(own, is_it, rehash) {
            Entry::Occupied(entry) => {
                let place = *entry.get();
                let slot = self.slot_mut(place);
                if slot.sent != 0 {
                    self.bytes = self.bytes.saturating_sub(bytes);
                    return;
                }
                let before = std::mem::replace(&mut slot.bytes, bytes);
                (slot.committed, slot.used, slot.purges) = (committed, true, purges);
                self.bytes = self.bytes.saturating_sub(before);
            }
            Entry::Vacant(entry) => {
                let place = free.pop().unwrap_or(slots.len());
                entry.insert(place);
                let slot = Slot {
                    key,
                    committed,
                    pending: None,
                    bytes,
                    used: true,
                    purges,
                    draft: (0, 0),
                    batch: 0,
                    sent: 0,
                    aside: (0, IsWritten::No),
                    confirmed: None,
                };
                match slots.get_mut(place) {
                    Some(hole) => *hole = Some(slot),
                    None => slots.push(Some(slot)),
                }
            }
        }
    }

    /// Takes a record that is not loaded for one that never was. The store is the judge.
    pub(crate) fn assume_absent(&mut self, key: &RecordKey) {
        if self.find(&key.kind, &key.id).is_none() {
            self.load(key.clone(), Loaded::default());
        }
    }

    /// Answers a question for due records: ids in order, at most [`crate::DUE_MAX`].
    pub fn answer(&mut self, due: Due, ids: Vec<RecordId>) {
        self.due.insert(due, ids);
    }

    pub(crate) fn due(&self, due: &Due) -> Option<&[RecordId]> {
        // What was due at a later instant has all that is due now.
        let (known, ids) = self.due.range(due..).next()?;
        let same = known.kind == due.kind
            && known.prefix == due.prefix
            && known.by.is_some() == due.by.is_some();
        same.then_some(ids.as_slice())
    }

    /// The number of the next draft.
    pub(crate) fn begin_draft(&mut self) -> u64 {
        self.drafts = self.drafts.wrapping_add(1);
        self.drafts
    }

    /// Where a draft has a record; if it has not, it will have it at `next`.
    pub(crate) fn touch(&mut self, place: Place, (draft, next): (u64, usize)) -> usize {
        let mark = &mut self.slot_mut(place).draft;
        if mark.0 != draft {
            *mark = (draft, next);
        }
        mark.1
    }

    /// Where a draft has a record, if it has touched it.
    pub(crate) fn touched(&self, place: Place, draft: u64) -> Option<usize> {
        let (last, at) = self.slot(place).draft;
        (last == draft).then_some(at)
    }

    pub(crate) fn read<R: Record>(&mut self, place: Place) -> Result<Seen<R>, SeenError> {
        let Self { slots, pending, purged, .. } = self;
        let slot = slots.get_mut(place).and_then(Option::as_mut);
        let slot = slot.expect("a place that is known is taken");
        let written = slot.pending.and_then(|at| pending.get(at)?.as_ref());
        if written.is_none()
            && slot.is_absent()
            && purged.get(&slot.key.kind).is_some_and(|purges| slot.purges < *purges)
        {
            return Err(SeenError::NotLoaded);
        }
        slot.used = true;
        if let Some(written) = written
            && !crate::planted!("batch_blind")
        {
            let value = written.value.as_ref().map(open::<R>).transpose();
            let value = value.map_err(SeenError::Undecodable)?;
            return Ok(Seen { version: written.version, at: written.at, value });
        }
        let State { version, at, content } = &mut slot.committed;
        let value = match content {
            Content::Absent => return Ok(Seen { version: *version, at: *at, value: None }),
            Content::Decoded(value) => downcast::<R>(Arc::clone(value)),
            Content::Encoded(bytes) => {
                let value = Arc::new(decode::<R>(bytes).map_err(SeenError::Undecodable)?);
                *content = Content::Decoded(Arc::clone(&value) as Arc<dyn AnyRecord>);
                value
            }
        };
        Ok(Seen { version: *version, at: *at, value: Some(value) })
    }

    pub(crate) fn write(&mut self, place: Place, mut write: PendingWrite) {
        let Self { slots, pending, written, open, .. } = self;
        let slot = slots.get_mut(place).and_then(Option::as_mut);
        let slot = slot.expect("a record is read before it is written");
        let earlier = slot.pending.and_then(|at| pending.get_mut(at)?.as_mut());
        write.expected = match &earlier {
            Some(earlier) => earlier.expected,
            None => slot.committed.version,
        };
        if crate::planted!("version_per_batch") {
            write.version = write.expected.plus(1);
        }
        if let Some(earlier) = earlier {
            *earlier = write;
            return;
        }
        slot.pending = Some(pending.len());
        pending.push(Some(write));
        *open = open.saturating_add(1);
        match written.get_mut(&slot.key.kind) {
            Some(places) => places.push(place),
            None => {
                written.insert(slot.key.kind.clone(), vec![place]);
            }
        }
    }

    /// What the batch wrote of a kind, in no order; some of it may be named twice.
    pub(crate) fn written_of(
        &self,
        kind: &Kind,
    ) -> impl Iterator<Item = (&RecordKey, &PendingWrite)> {
        let places = self.written.get(kind).into_iter().flatten();
        let slots = places.filter_map(|place| self.slots.get(*place)?.as_ref());
        // A place may have become another record's since.
        let slots = slots.filter(move |slot| slot.key.kind == *kind);
        slots.filter_map(|slot| Some((&slot.key, self.pending_of(slot)?)))
    }

    fn pending_of(&self, slot: &Slot) -> Option<&PendingWrite> {
        slot.pending.and_then(|at| self.pending.get(at)?.as_ref())
    }

    /// The number of the next batch, for [`claim`](Self::claim).
    pub fn begin_batch(&mut self) -> u64 {
        self.batches = self.batches.wrapping_add(1);
        self.batches
    }

    /// The version the store must find for a batch to stand: what was committed when it read, or
    /// `None` if the batch has been told; and the batch on its way that this waits for, 0 for none.
    ///
    /// # Panics
    /// If the record was never loaded.
    pub fn claim(&mut self, key: &RecordKey, batch: u64) -> (Option<Version>, u64) {
        let place = self.find(&key.kind, &key.id).expect("what was read is loaded");
        let slot = self.slot_mut(place);
        let before = std::mem::replace(&mut slot.batch, batch);
        ((before != batch).then_some(slot.committed.version), slot.sent)
    }

    /// Whether a command wrote the record, of the batch or of one that is on its way: the store has
    /// not said that it took it.
    #[must_use]
    pub fn is_pending(&self, key: &RecordKey) -> bool {
        let written = |slot: &Slot| !slot.is_told();
        (0 < self.open || !self.sent.is_empty()) && self.found(key).is_some_and(written)
    }

    /// What the batch wrote, of the records named.
    #[must_use]
    pub fn pending(&self, key: &RecordKey) -> Option<&PendingWrite> {
        self.found(key).and_then(|slot| self.pending_of(slot))
    }

    /// What the batch wrote of a record, in its stored form; its size counts for the bound of the
    /// cache.
    pub fn encode(&mut self, key: &RecordKey) -> Option<(PendingWrite, Option<Arc<[u8]>>)> {
        let place = self.find(&key.kind, &key.id)?;
        let write = self.pending_of(self.slot(place))?.clone();
        let Some(value) = &write.value else { return Some((write, None)) };
        let value = value.stored();
        let slot = self.slot_mut(place);
        let bytes = bytes_of(&slot.key, value.len());
        let before = std::mem::replace(&mut slot.bytes, bytes);
        self.bytes = self.bytes.saturating_sub(before).saturating_add(bytes);
        Some((write, Some(value)))
    }

    /// Takes what the batch wrote of a record.
    fn take_pending(&mut self, key: &RecordKey) -> Option<(Place, PendingWrite)> {
        let place = self.find(&key.kind, &key.id)?;
        let at = self.slot_mut(place).pending.take()?;
        let pending = self.pending.get_mut(at).and_then(Option::take)?;
        self.open = self.open.saturating_sub(1);
        Some((place, pending))
    }

    /// Once nothing is pending, nothing is written.
    fn close(&mut self) {
        if self.open == 0 {
            self.pending.clear();
            self.written.values_mut().for_each(Vec::clear);
        }
        self.due.clear();
    }

    /// The store took the batch: what it wrote is committed.
    pub fn settle<'k>(&mut self, written: impl IntoIterator<Item = &'k RecordKey>) {
        for key in written {
            let Some((place, pending)) = self.take_pending(key) else { continue };
            if pending.purge {
                self.purge(key.kind.clone());
            }
            self.slot_mut(place).committed = State::after(pending);
        }
        self.close();
    }

    /// Whether the batch purges records.
    #[must_use]
    pub fn purges(&self) -> bool {
        self.pending.iter().flatten().any(|write| write.purge)
    }

    fn purge(&mut self, kind: Kind) {
        self.purges = self.purges.saturating_add(1);
        self.purged.insert(kind, self.purges);
    }

    /// A batch is over: records stay no longer for it.
    fn end(&mut self, batch: u64) {
        if self.batches == batch {
            self.begin_batch();
        }
    }

    /// The batch is not to be sent: nothing of it stays.
    pub fn discard<'k>(&mut self, written: impl IntoIterator<Item = &'k RecordKey>) {
        for key in written {
            self.take_pending(key);
        }
        self.close();
    }

    /// Forgets a record, so that it is loaded afresh; not one that is on its way.
    pub fn forget(&mut self, key: &RecordKey) {
        self.take_pending(key);
        if let Some(place) = self.find(&key.kind, &key.id)
            && self.slot(place).sent == 0
        {
            self.remove(place);
        }
        self.close();
    }

    fn remove(&mut self, place: Place) {
        let Some(slot) = self.slots.get_mut(place).and_then(Option::take) else { return };
        let own = hash(&self.hasher, &slot.key.kind, &slot.key.id);
        if let Ok(entry) = self.places.find_entry(own, |known| *known == place) {
            entry.remove();
        }
        self.bytes = self.bytes.saturating_sub(slot.bytes);
        self.free.push(place);
    }

    /// Bytes that the records are counted with.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Drops records until `bytes_max` is kept or `visits` were looked at: clean ones that were not
    /// used since the last visit (the CLOCK algorithm, Corbató 1968), and in the second half of the
    /// visits used ones too, so that as many leave as come although all are used. Those stay that the
    /// last batch rests on, or that are on their way. Gives how many were looked at.
    pub fn evict(&mut self, bytes_max: usize, visits: usize) -> usize {
        let visits = visits.min(self.slots.len().saturating_mul(2));
        let chances = visits.div_ceil(2);
        for visited in 0..visits {
            if self.bytes <= bytes_max {
                return visited;
            }
            let place = self.cursor;
            match self.slots.get_mut(place) {
                None => {
                    self.cursor = 0;
                    continue;
                }
                Some(Some(slot)) if !slot.is_told() => {}
                Some(Some(slot)) if slot.batch == self.batches && slot.batch != 0 => {}
                Some(Some(slot)) if slot.used && visited < chances => slot.used = false,
                Some(Some(_)) => self.remove(place),
                Some(None) => {}
            }
            self.cursor = place.saturating_add(1);
        }
        visits
    }
}

/// What a record is counted with, for the bound of the cache.
fn bytes_of(key: &RecordKey, value_bytes: usize) -> usize {
    value_bytes
        .saturating_mul(DECODED_FACTOR)
        .saturating_add(key.id.as_str().len())
        .saturating_add(SLOT_BYTES)
}

/// A record that was written, as its type.
pub(crate) fn open<R: Record>(record: &Arc<dyn AnyRecord>) -> Result<Arc<R>, DecodeError> {
    match record.sealed() {
        Some(bytes) => decode::<R>(bytes).map(Arc::new),
        None => Ok(downcast(Arc::clone(record))),
    }
}

fn downcast<R: Record>(record: Arc<dyn AnyRecord>) -> Arc<R> {
    let any: Arc<dyn Any + Send + Sync> = record.as_any();
    any.downcast().expect("one kind is one type")
}

#[cfg(test)]
mod tests;
