//! The journal: what a partition accepted, one entry for each command, each bound to the one before.
//!
//! Invariant: an entry is written in the commit of the command it tells of, at the place after the
//! last one, and never changed or removed. Its hash is over all of it and over the hash before, so
//! a journal whose last hash is known elsewhere cannot be changed unseen. (Haber and Stornetta, How
//! to time-stamp a digital document, 1991.)
//!
//! The tail is a record like any other: who appends has read it, so entries have one order, and all
//! that is journaled in a partition conflicts there. That is the price; checks of rate limits do
//! not pay it and have no entries.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::record::Sealed;
use crate::{AnyCommand, Digest, Draft, Kind, Record, RecordId, Timestamp, Versions};

/// Whether a request is entered into a journal.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Journaling {
    /// If the partition has one.
    #[default]
    Begun,
    /// Yes; the partition's journal begins here if it has none.
    FromStart,
    /// No, and nobody looks: the caller knows that the partition has none.
    Off,
}

/// The last entry of a journal: its place and its hash.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tail {
    /// How many entries there are.
    pub seq: u64,
    /// The hash of the last one.
    pub hash: Digest,
}

impl Record for Tail {
    const KIND: Kind = Kind::new("journal");
}

/// One accepted command.
///
/// ```
/// use bellpunch_core::{Digest, Entry, Timestamp, Versions};
/// let entry = Entry {
///     seq: 1,
///     at: Timestamp::EPOCH,
///     command: "quotas.reset".to_owned(),
///     content: serde_json::json!({"id": "q"}),
///     versions: Versions::new(),
///     events: Vec::new(),
///     previous: Digest::new([0; 32]),
///     hash: Digest::new([0; 32]),
/// };
/// let sealed = entry.sealed();
/// assert_eq!(sealed.hash, sealed.clone().sealed().hash);
/// assert_ne!(sealed.hash, Entry { seq: 2, ..sealed.clone() }.sealed().hash);
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its place, from 1 on, without gap.
    pub seq: u64,
    /// The decision time; never falls.
    pub at: Timestamp,
    /// The command's wire name.
    pub command: String,
    /// What was asked for, as the rule had it: durations in nanoseconds, `…_ns`. Of a secret it has
    /// the hash alone.
    pub content: Value,
    /// The records that the command wrote, and their versions after it.
    pub versions: Versions,
    /// What it brought about that others may want to hear of: objects whose field `event` names
    /// what it is.
    pub events: Vec<Value>,
    /// The hash of the entry before; 64 zeros of the first.
    pub previous: Digest,
    /// The SHA-256 of this entry as JSON without this field: names sorted, no spaces.
    pub hash: Digest,
}

impl Record for Entry {
    const KIND: Kind = Kind::new("entries");
    /// No command reads an entry.
    const CACHED: bool = false;
}

/// What an entry's hash is over: its names sorted, like those of all maps in it.
#[derive(Serialize)]
struct Form<'a> {
    at: Timestamp,
    command: &'a str,
    content: &'a Value,
    events: &'a [Value],
    previous: &'a Digest,
    seq: u64,
    versions: &'a Versions,
}

impl Form<'_> {
    /// The entry as JSON without its hash, and the hash. Maps are sorted by name, so there is one
    /// text for one meaning.
    fn hashed(&self) -> (String, Digest) {
        let text = serde_json::to_string(self).expect("an entry is plain data");
        let hash = Digest::new(Sha256::digest(&text).into());
        (text, hash)
    }
}

impl Entry {
    /// The entry with the hash of what it says.
    #[must_use]
    pub fn sealed(self) -> Self {
        let hash = self.expected_hash();
        Self { hash, ..self }
    }

    /// The hash that it ought to have.
    #[must_use]
    pub fn expected_hash(&self) -> Digest {
        let Self { seq, at, command, content, versions, events, previous, hash: _ } = self;
        Form { at: *at, command, content, events, previous, seq: *seq, versions }.hashed().1
    }

    /// The id under which an entry is stored: in order of places.
    ///
    /// ```
    /// use bellpunch_core::Entry;
    /// assert!(Entry::id(9).as_str() < Entry::id(10).as_str());
    /// ```
    #[must_use]
    pub fn id(seq: u64) -> RecordId {
        RecordId::stored(&format!("{seq:020}"))
    }
}

/// Where the tail is.
#[must_use]
pub fn tail_id() -> RecordId {
    RecordId::stored("tail")
}

/// What is wrong with an entry, seen from the one before it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Break {
    /// It is not the next place.
    Gap {
        /// The place that should come.
        expected: u64,
    },
    /// It does not name the hash of the entry before.
    Unlinked {
        /// The hash before.
        expected: Digest,
    },
    /// Its own hash is not that of what it says.
    Changed {
        /// The hash of what it says.
        expected: Digest,
    },
    /// It is older than the entry before.
    Earlier {
        /// The time before.
        expected: Timestamp,
    },
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap { expected } => write!(f, "entry {expected} is missing"),
            Self::Unlinked { expected } => write!(f, "the hash of the entry before is {expected}"),
            Self::Changed { expected } => write!(f, "the hash of what it says is {expected}"),
            Self::Earlier { expected } => write!(f, "the entry before was at {expected}"),
        }
    }
}

/// Follows a journal, entry by entry.
///
/// ```
/// use bellpunch_core::{Break, Chain, Digest, Entry, Timestamp, Versions};
/// let entry = |seq, previous| Entry {
///     seq, at: Timestamp::EPOCH, command: "a.b".to_owned(), content: serde_json::json!({}),
///     versions: Versions::new(), events: Vec::new(), previous, hash: Digest::new([0; 32]),
/// }.sealed();
/// let first = entry(1, Digest::new([0; 32]));
/// let second = entry(2, first.hash);
/// let mut chain = Chain::default();
/// assert_eq!(chain.follow(&first), Ok(()));
/// assert_eq!(chain.clone().follow(&second), Ok(()));
/// assert_eq!(chain.follow(&entry(3, first.hash)), Err(Break::Gap { expected: 2 }));
/// ```
#[derive(Clone, Debug)]
pub struct Chain {
    seq: u64,
    hash: Digest,
    at: Timestamp,
}

impl Default for Chain {
    /// Before the first entry.
    fn default() -> Self {
        Self { seq: 0, hash: Digest::new([0; 32]), at: Timestamp::EPOCH }
    }
}

impl Chain {
    /// Takes the next entry.
    ///
    /// # Errors
    /// What is wrong with it. The chain then goes on from it all the same.
    pub fn follow(&mut self, entry: &Entry) -> Result<(), Break> {
        let expected = self.seq.saturating_add(1);
        let (before, at) = (self.hash, self.at);
        *self = Self { seq: entry.seq, hash: entry.hash, at: entry.at };
        if entry.seq != expected {
            return Err(Break::Gap { expected });
        }
        if entry.previous != before {
            return Err(Break::Unlinked { expected: before });
        }
        let own = entry.expected_hash();
        if entry.hash != own {
            return Err(Break::Changed { expected: own });
        }
        if entry.at < at {
            return Err(Break::Earlier { expected: at });
        }
        Ok(())
    }

    /// The last place and its hash: what the tail ought to say.
    #[must_use]
    pub const fn last(&self) -> (u64, Digest) {
        (self.seq, self.hash)
    }
}

/// Whether commands of this request are entered: the tail is read, unless nobody is to look.
pub(crate) fn is_kept(draft: &mut Draft<'_>, journaling: Journaling) -> bool {
    match journaling {
        Journaling::Off => false,
        Journaling::FromStart => true,
        Journaling::Begun => draft.get::<Tail>(&tail_id()).is_some(),
    }
}

/// Enters an accepted command that wrote these versions; gives its place.
pub(crate) fn enter(
    draft: &mut Draft<'_>,
    command: &dyn AnyCommand,
    (versions, at): (Versions, Timestamp),
) -> u64 {
    let tail = draft.get::<Tail>(&tail_id());
    let (last, previous) =
        tail.map_or_else(|| Chain::default().last(), |tail| (tail.seq, tail.hash));
    let seq = last.saturating_add(1);
    let (content, events) = (command.content_tree(), draft.take_events());
    let (content, events, versions) = (&content, events.as_slice(), &versions);
    let form =
        Form { at, command: command.name(), content, events, previous: &previous, seq, versions };
    let (mut text, hash) = form.hashed();
    // The text that was hashed is what is stored, with the hash as its last field.
    let closed = text.pop();
    debug_assert_eq!(closed, Some('}'), "an entry is an object");
    text.push_str(&format!(r#","hash":"{hash}"}}"#));
    draft.put(&tail_id(), Tail { seq, hash });
    draft.put_first_sealed::<Entry>(&Entry::id(seq), Sealed::of_text::<Entry>(&text, None));
    seq
}

#[cfg(test)]
mod tests;
