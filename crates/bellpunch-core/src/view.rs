//! The records of one partition as a batch of commands sees them.
//!
//! Invariant: a record is either as the store last told (committed), or that plus what accepted
//! commands of the batch wrote (pending). Pending state becomes committed when the store said so,
//! and vanishes otherwise; nothing in between is ever told to a caller.
//!
//! Why values stay decoded here: a hot record is decided on thousands of times a second and
//! encoded once per batch.

use std::any::Any;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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
    committed: State,
    pending: Option<PendingWrite>,
    bytes: usize,
    used: bool,
    /// How many purges this view had seen when it was loaded.
    purges: u64,
}

/// The records of one partition as a batch of commands sees them.
#[derive(Clone, Debug, Default)]
pub struct View {
    slots: BTreeMap<RecordKey, Slot>,
    /// How many purges this view has seen, and how many had been seen after the last of each kind.
    /// A purge raises the version of all absent records of its kind at the store. To raise it here
    /// would be a guess: one that somebody else has made meanwhile may be at just that version.
    purges: u64,
    purged: BTreeMap<Kind, u64>,
    due: BTreeMap<Due, Vec<RecordId>>,
    /// Those that the batch wrote.
    written: BTreeSet<RecordKey>,
    bytes: usize,
    cursor: Option<RecordKey>,
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

impl Slot {
    const fn is_absent(&self) -> bool {
        matches!(self.committed.content, Content::Absent)
    }
}

impl View {
    /// Takes a record as the store gave it. What a batch wrote on it stays.
    pub fn load(&mut self, key: RecordKey, loaded: Loaded) {
        let value_bytes = loaded.value.as_ref().map_or(0, |value| value.len());
        let bytes = value_bytes
            .saturating_mul(DECODED_FACTOR)
            .saturating_add(key.id.as_str().len())
            .saturating_add(SLOT_BYTES);
        let content = loaded.value.map_or(Content::Absent, Content::Encoded);
        let committed = State { version: loaded.version, at: loaded.at, content };
        let purges = self.purges;
        let slot = Slot { committed, pending: None, bytes, used: true, purges };
        self.bytes = self.bytes.saturating_add(bytes);
        match self.slots.entry(key) {
            Entry::Vacant(place) => {
                place.insert(slot);
            }
            Entry::Occupied(mut place) => {
                self.bytes = self.bytes.saturating_sub(place.get().bytes);
                let pending = place.get_mut().pending.take();
                place.insert(Slot { pending, ..slot });
            }
        }
    }

    /// Takes a record that is not loaded for one that never was. The store is the judge.
    pub(crate) fn assume_absent(&mut self, key: &RecordKey) {
        if !self.slots.contains_key(key) {
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

    pub(crate) fn read<R: Record>(&mut self, key: &RecordKey) -> Result<Seen<R>, SeenError> {
        let purges = self.purged.get(&key.kind).copied().unwrap_or_default();
        let slot = self.slots.get_mut(key).ok_or(SeenError::NotLoaded)?;
        if slot.pending.is_none() && slot.is_absent() && slot.purges < purges {
            return Err(SeenError::NotLoaded);
        }
        slot.used = true;
        if let Some(pending) = &slot.pending
            && !crate::planted!("batch_blind")
        {
            let value = pending.value.clone().map(downcast::<R>);
            return Ok(Seen { version: pending.version, at: pending.at, value });
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

    pub(crate) fn write(&mut self, key: &RecordKey, mut write: PendingWrite) {
        let slot = self.slots.get_mut(key).expect("a record is read before it is written");
        write.expected = match &slot.pending {
            Some(earlier) => earlier.expected,
            None => slot.committed.version,
        };
        if crate::planted!("version_per_batch") {
            write.version = write.expected.plus(1);
        }
        slot.pending = Some(write);
        self.written.insert(key.clone());
    }

    /// What the batch wrote of a kind, from an id on, in order.
    pub(crate) fn written_from(
        &self,
        from: &RecordKey,
    ) -> impl Iterator<Item = (&RecordKey, &PendingWrite)> {
        let keys = self.written.range(from..).take_while(|key| key.kind == from.kind);
        keys.filter_map(|key| Some((key, self.pending(key)?)))
    }

    /// The version the store must find for the batch to stand: what was committed when it read.
    ///
    /// # Panics
    /// If the record was never loaded.
    #[must_use]
    pub fn expected(&self, key: &RecordKey) -> Version {
        self.slots.get(key).expect("what was read is loaded").committed.version
    }

    /// Whether a command of the batch wrote the record.
    #[must_use]
    pub fn is_pending(&self, key: &RecordKey) -> bool {
        self.slots.get(key).is_some_and(|slot| slot.pending.is_some())
    }

    /// What the batch wrote, of the records named.
    #[must_use]
    pub fn pending(&self, key: &RecordKey) -> Option<&PendingWrite> {
        self.slots.get(key).and_then(|slot| slot.pending.as_ref())
    }

    /// The store took the batch: what it wrote is committed.
    pub fn settle<'k>(&mut self, written: impl IntoIterator<Item = &'k RecordKey>) {
        for key in written {
            let Some(slot) = self.slots.get_mut(key) else { continue };
            let Some(pending) = slot.pending.take() else { continue };
            self.written.remove(key);
            if pending.purge {
                self.purges = self.purges.saturating_add(1);
                self.purged.insert(key.kind.clone(), self.purges);
            }
            let content = pending.value.map_or(Content::Absent, Content::Decoded);
            slot.committed = State { version: pending.version, at: pending.at, content };
        }
        self.due.clear();
    }

    /// Sets the size of a record that was just encoded, for the bound of the cache.
    pub fn weigh(&mut self, key: &RecordKey, value_bytes: usize) {
        if let Some(slot) = self.slots.get_mut(key) {
            let bytes = value_bytes
                .saturating_mul(DECODED_FACTOR)
                .saturating_add(key.id.as_str().len())
                .saturating_add(SLOT_BYTES);
            self.bytes = self.bytes.saturating_sub(slot.bytes).saturating_add(bytes);
            slot.bytes = bytes;
        }
    }

    /// The store did not take the batch: nothing of it stays.
    pub fn discard<'k>(&mut self, written: impl IntoIterator<Item = &'k RecordKey>) {
        for key in written {
            if let Some(slot) = self.slots.get_mut(key) {
                slot.pending = None;
                self.written.remove(key);
            }
        }
        self.due.clear();
    }

    /// Forgets a record, so that it is loaded afresh.
    pub fn forget(&mut self, key: &RecordKey) {
        if let Some(slot) = self.slots.remove(key) {
            self.written.remove(key);
            self.bytes = self.bytes.saturating_sub(slot.bytes);
        }
        self.due.clear();
    }

    /// Bytes that the records are counted with.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Drops records until `bytes_max` is kept or `visits` were looked at: clean ones that were not
    /// used since the last visit (the CLOCK algorithm, Corbató 1968). Pending ones stay. Gives how
    /// many were looked at.
    pub fn evict(&mut self, bytes_max: usize, visits: usize) -> usize {
        let visits = visits.min(self.slots.len().saturating_mul(2));
        for visited in 0..visits {
            if self.bytes <= bytes_max {
                return visited;
            }
            let next = match &self.cursor {
                Some(cursor) => self.slots.range_mut(cursor..).next(),
                None => self.slots.iter_mut().next(),
            };
            let Some((key, slot)) = next else {
                if self.cursor.take().is_none() {
                    return visited;
                }
                continue;
            };
            let key = key.clone();
            if slot.used || slot.pending.is_some() {
                slot.used = false;
                let after = (std::ops::Bound::Excluded(&key), std::ops::Bound::Unbounded);
                self.cursor = self.slots.range(after).next().map(|(key, _)| key.clone());
            } else {
                self.bytes = self.bytes.saturating_sub(slot.bytes);
                self.slots.remove(&key);
                self.cursor = Some(key);
            }
        }
        visits
    }
}

fn downcast<R: Record>(record: Arc<dyn AnyRecord>) -> Arc<R> {
    let any: Arc<dyn Any + Send + Sync> = record.as_any();
    any.downcast().expect("one kind is one type")
}
