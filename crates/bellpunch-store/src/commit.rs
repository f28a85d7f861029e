//! What is committed, and what came of it.

use std::fmt;
use std::sync::Arc;

use bellpunch_core::{Floor, Partition, RecordKey, Timestamp, Version};

use crate::Failure;

/// The name of one commit: 128 random bits, never an order or a clock. The same commit sent again
/// has the same id, so that a store knows it.
///
/// ```
/// use bellpunch_store::CommitId;
/// assert_eq!(CommitId::new(255).to_string(), "000000000000000000000000000000ff");
/// ```
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct CommitId(u128);

impl CommitId {
    /// An id from random bits.
    #[must_use]
    pub const fn new(bits: u128) -> Self {
        Self(bits)
    }

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u128 {
        self.0
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A record that a decision read, and the version it had.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Precondition {
    /// Which record.
    pub key: RecordKey,
    /// Its version. Absent is 0, a tombstone's version, or the floor that purged records left.
    pub version: Version,
}

/// The new content of a record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum WriteValue {
    /// This value.
    Put(Arc<[u8]>),
    /// None; the version goes on in a tombstone.
    Delete,
    /// None, and no tombstone: absent records of this kind in this partition have at least this
    /// version and this `at` from now on (a [`Floor`]), so that none is ever made again at a version
    /// as low, or decided on at an earlier time.
    Purge,
}

/// One write of a commit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Write {
    /// Which record; it is also among the commit's preconditions.
    pub key: RecordKey,
    /// Its new version: the old one plus one for each accepted command that wrote it.
    pub version: Version,
    /// The decision time of the last of these. Stored with the record; never falls.
    pub at: Timestamp,
    /// From when on the record may be removed by a sweep. `None`: never.
    pub sweep_at: Option<Timestamp>,
    /// The new content.
    pub value: WriteValue,
}

/// Preconditions and writes within one partition: applied whole or not at all.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Commit {
    /// Its name.
    pub id: CommitId,
    /// The partition that all its records belong to.
    pub partition: Partition,
    /// The node's clock at the decision, before any record raised it. A store with a clock of its
    /// own refuses one that is ahead by more than the configured skew.
    pub now: Timestamp,
    /// Refuse at or after this instant of the store's clock.
    pub deadline: Option<Timestamp>,
    /// Every record the decisions read, written or not.
    pub preconditions: Vec<Precondition>,
    /// What changes. Empty: a confirmation that all preconditions held at one instant.
    pub writes: Vec<Write>,
}

/// A record as the store has it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Versioned {
    /// Its version; of an absent record the version a create must name.
    pub version: Version,
    /// The decision time of the commit that wrote it; the epoch if none did. Of a record without
    /// content at least that of the last purge of its kind.
    pub at: Timestamp,
    /// When it may be removed.
    pub sweep_at: Option<Timestamp>,
    /// Its content; `None` if it is absent or deleted.
    pub value: Option<Arc<[u8]>>,
}

impl Versioned {
    /// As it reads above the floor that the purged records of its kind left: a record without
    /// content may be one of them, so it is at least as new as they.
    ///
    /// ```
    /// use bellpunch_store::{Floor, Timestamp, Version, Versioned};
    /// let floor = Floor { version: Version::new(4), at: Timestamp::MAX };
    /// let absent = Versioned::default().above(floor);
    /// assert_eq!((absent.version, absent.at), (floor.version, floor.at));
    /// let there = Versioned { value: Some([1].into()), ..Versioned::default() };
    /// assert_eq!(there.clone().above(floor), there, "what is there says how new it is");
    /// ```
    #[must_use]
    pub fn above(self, floor: Floor) -> Self {
        if self.value.is_some() {
            return self;
        }
        let Floor { version, at } = floor.above(Floor { version: self.version, at: self.at });
        Self { version, at, ..self }
    }
}

/// What came of a commit.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CommitResult {
    /// Applied, and as durable as the store's [`Properties`](crate::Properties) say.
    Committed {
        /// The store's clock when it had exclusivity.
        at: Timestamp,
    },
    /// A precondition did not hold. Nothing was applied.
    Conflict {
        /// The records whose versions differed, as they are now.
        current: Vec<(RecordKey, Versioned)>,
    },
    /// The deadline had come. Nothing was applied.
    TooLate {
        /// The store's clock when it had exclusivity.
        store_time: Timestamp,
    },
    /// `now` was too far ahead of the store's clock. Nothing was applied.
    ClockAhead {
        /// The store's clock.
        store_time: Timestamp,
    },
    /// It may or may not have been applied. Ask [`Store::resolve`](crate::Store::resolve), or send
    /// the same commit again.
    Unknown,
    /// Certainly not applied.
    Failed(Failure),
}
