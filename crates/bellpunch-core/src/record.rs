//! Records: typed values under `(partition, kind, id)`, stored as self-describing JSON.
//!
//! Invariant: what was written is read again, or refused with a reason. Each stored record names
//! its format; one newer than known is refused, never guessed at.

use std::any::Any;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{AccountId, Key, Timestamp};

/// A type of record. Compared by name.
#[derive(Clone, Debug)]
pub struct Kind {
    name: Cow<'static, str>,
    parts: u8,
}

impl Kind {
    /// A kind whose ids have one part, for example `quotas`.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), parts: 1 }
    }

    /// A kind whose ids have `parts` parts, for example a policy and a key.
    #[must_use]
    pub const fn compound(name: &'static str, parts: u8) -> Self {
        Self { name: Cow::Borrowed(name), parts }
    }

    /// A kind read from a store; only its name is known.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: Cow::Owned(name.into()), parts: 1 }
    }

    /// The name, as in paths and receipts.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Kind {}

impl PartialOrd for Kind {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Kind {
    fn cmp(&self, other: &Self) -> Ordering {
        // Mostly it is the same constant; maps of records compare millions of them.
        if std::ptr::eq(self.name(), other.name()) {
            return Ordering::Equal;
        }
        self.name.cmp(&other.name)
    }
}

/// The id of a record within its kind: one name, or several, length-prefixed and never joined by
/// a separator, so that `(a:b, c)` and `(a, b:c)` stay apart.
///
/// ```
/// use bellpunch_core::{Key, RecordId};
/// let (a, b) = (Key::new("a:b")?, Key::new("c")?);
/// assert_eq!(RecordId::compound(&[&a, &b]).as_str(), "3:a:bc");
/// assert_eq!(RecordId::from(&a).as_str(), "a:b");
/// # Ok::<(), bellpunch_core::ValueError>(())
/// ```
#[derive(Clone, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct RecordId(Arc<str>);

impl RecordId {
    /// An id of several names. Ids that share all but the last name share a prefix, and stand in
    /// byte order of the last.
    #[must_use]
    pub fn compound(parts: &[&Key]) -> Self {
        let mut id = String::new();
        for (index, part) in parts.iter().enumerate() {
            if index.checked_add(1) != Some(parts.len()) {
                write!(id, "{}:", part.as_str().len()).expect("writing to a string succeeds");
            }
            id.push_str(part.as_str());
        }
        Self(id.into())
    }

    /// What the ids of all records begin with whose first names are `parts`.
    #[must_use]
    pub fn prefix(parts: &[&Key]) -> String {
        let mut prefix = String::new();
        for part in parts {
            write!(prefix, "{}:{}", part.as_str().len(), part).expect("writing succeeds");
        }
        prefix
    }

    /// An id as a store gave it back.
    #[must_use]
    pub fn stored(id: &str) -> Self {
        Self(id.into())
    }

    /// The encoded id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names an id of `count` parts is made of; `None` if it is not of that shape.
    #[must_use]
    pub fn split(&self, count: u8) -> Option<Vec<Key>> {
        let mut rest: &str = &self.0;
        let mut parts = Vec::new();
        for _ in 1..count {
            let (length, tail) = rest.split_once(':')?;
            let length: usize = length.parse().ok()?;
            parts.push(Key::new(tail.get(..length)?).ok()?);
            rest = tail.get(length..)?;
        }
        parts.push(Key::new(rest).ok()?);
        Some(parts)
    }
}

impl From<&AccountId> for RecordId {
    fn from(account: &AccountId) -> Self {
        Self(account.shared())
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<&Key> for RecordId {
    fn from(key: &Key) -> Self {
        Self(key.shared())
    }
}

/// Which record of a partition.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct RecordKey {
    /// Its type.
    pub kind: Kind,
    /// Its id within the type.
    pub id: RecordId,
}

impl RecordKey {
    /// As it is displayed.
    pub(crate) fn name(&self) -> String {
        let (kind, id) = (self.kind.name(), self.id.as_str());
        if self.kind.parts != 1 || id.contains(['/', '%']) {
            return self.to_string();
        }
        let mut name = String::with_capacity(kind.len().saturating_add(1).saturating_add(id.len()));
        name.push_str(kind);
        name.push('/');
        name.push_str(id);
        name
    }
}

/// `kind/id`, each name percent-encoded where it would be mistaken for two.
impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        let Some(parts) = self.id.split(self.kind.parts) else {
            return write!(f, "/{}", self.id.as_str());
        };
        for part in parts {
            f.write_char('/')?;
            for character in part.as_str().chars() {
                match character {
                    '/' => f.write_str("%2F")?,
                    '%' => f.write_str("%25")?,
                    _ => f.write_char(character)?,
                }
            }
        }
        Ok(())
    }
}

/// A typed value under `(partition, kind, id)`. Users of the library implement it for their own.
///
/// ```
/// use bellpunch_core::{Kind, Record};
/// #[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
/// struct Seat { taken_by: Option<String> }
/// impl Record for Seat {
///     const KIND: Kind = Kind::new("seats");
/// }
/// assert_eq!(Seat::KIND.name(), "seats");
/// ```
pub trait Record:
    Clone + fmt::Debug + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The type's name; never changed once records are stored.
    const KIND: Kind;

    /// The format written. Older ones are read (give new fields a `serde` default), newer refused.
    const FORMAT: u32 = 1;

    /// Whether it stays in memory once it is stored. `false` for what is written once, and read by
    /// no command but rarely.
    const CACHED: bool = true;

    /// From when on the record says nothing that its absence would not say, so that it may be
    /// removed. `None`: never.
    fn sweep_at(&self) -> Option<Timestamp> {
        None
    }

    /// The key of the record of this type with this id.
    #[must_use]
    fn key(id: &RecordId) -> RecordKey {
        RecordKey { kind: Self::KIND, id: id.clone() }
    }
}

/// A record of any type.
pub trait AnyRecord: fmt::Debug + Send + Sync {
    /// The record, to be downcast.
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
    /// The stored form.
    fn encode(&self) -> Vec<u8>;
    /// See [`Record::sweep_at`].
    fn due(&self) -> Option<Timestamp>;
    /// See [`Record::CACHED`].
    fn is_cached(&self) -> bool;
    /// The stored form, to be shared.
    fn stored(&self) -> Arc<[u8]> {
        self.encode().into()
    }
    /// The stored form of a record that is kept in no other.
    fn sealed(&self) -> Option<&Arc<[u8]>> {
        None
    }
}

#[derive(Serialize, Deserialize)]
struct Envelope<R> {
    format: u32,
    record: R,
}

impl<R: Record> AnyRecord for R {
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(&Envelope { format: R::FORMAT, record: self })
            .expect("a record is plain data with names for keys")
    }

    fn due(&self) -> Option<Timestamp> {
        self.sweep_at()
    }

    fn is_cached(&self) -> bool {
        R::CACHED
    }
}

/// A record that was encoded when it was written. For those that are written once and hardly ever
/// read: their parts need not be kept until the commit.
#[derive(Debug)]
pub(crate) struct Sealed {
    stored: Arc<[u8]>,
    due: Option<Timestamp>,
    cached: bool,
}

impl Sealed {
    /// Encodes what has the form of a record of type `R`.
    pub(crate) fn of<R: Record>(record: &impl Serialize, due: Option<Timestamp>) -> Self {
        let stored = serde_json::to_vec(&Envelope { format: R::FORMAT, record })
            .expect("a record is plain data with names for keys");
        Self { stored: stored.into(), due, cached: R::CACHED }
    }

    /// A record of type `R` of which the JSON is there already.
    pub(crate) fn of_text<R: Record>(record: &str, due: Option<Timestamp>) -> Self {
        let stored = format!(r#"{{"format":{},"record":{record}}}"#, R::FORMAT);
        Self { stored: stored.into_bytes().into(), due, cached: R::CACHED }
    }
}

impl AnyRecord for Sealed {
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn encode(&self) -> Vec<u8> {
        self.stored.to_vec()
    }

    fn due(&self) -> Option<Timestamp> {
        self.due
    }

    fn is_cached(&self) -> bool {
        self.cached
    }

    fn stored(&self) -> Arc<[u8]> {
        Arc::clone(&self.stored)
    }

    fn sealed(&self) -> Option<&Arc<[u8]>> {
        Some(&self.stored)
    }
}

/// Why stored bytes are not a record.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DecodeError {
    /// Written by a newer release.
    Newer {
        /// The format found.
        found: u32,
        /// The newest format this release reads.
        known: u32,
    },
    /// Not what any release writes.
    Damaged(String),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer { found, known } => write!(
                f,
                "the record has format {found}, this release reads up to {known}: upgrade first"
            ),
            Self::Damaged(cause) => write!(f, "the stored record is damaged: {cause}"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Reads the stored form of a record.
///
/// # Errors
/// If it is of a newer format, or damaged.
pub(crate) fn decode<R: Record>(bytes: &[u8]) -> Result<R, DecodeError> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    match serde_json::from_slice::<Envelope<R>>(bytes) {
        Ok(envelope) if envelope.format <= R::FORMAT => Ok(envelope.record),
        Ok(Envelope { format: found, .. }) => Err(DecodeError::Newer { found, known: R::FORMAT }),
        Err(cause) => match serde_json::from_slice::<Head>(bytes) {
            Ok(Head { format: found }) if R::FORMAT < found => {
                Err(DecodeError::Newer { found, known: R::FORMAT })
            }
            Ok(_) | Err(_) => Err(DecodeError::Damaged(cause.to_string())),
        },
    }
}
