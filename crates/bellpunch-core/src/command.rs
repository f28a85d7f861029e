//! Commands: intents, each with the pure function that decides it.

use std::any::Any;
use std::fmt;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::{Draft, Duration, Rejection, Timestamp, ValueError, Version};

/// An intent and its rule. Open: a rule of your own gets all that the built-in ones have.
///
/// ```
/// use bellpunch_core::{
///     Command, Draft, Key, Kind, Record, RecordId, Rejection, Category, Timestamp,
/// };
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Debug, Serialize, Deserialize)]
/// struct Seat { taken_by: Key }
/// impl Record for Seat {
///     const KIND: Kind = Kind::new("seats");
/// }
///
/// #[derive(Clone, Debug, Serialize, Deserialize)]
/// struct TakeSeat { seat: Key, by: Key }
/// impl Command for TakeSeat {
///     const NAME: &'static str = "seats.take";
///     type Reply = Seat;
///     type Rejection = Rejection;
///
///     fn decide(&self, draft: &mut Draft<'_>, _: Timestamp) -> Result<Seat, Rejection> {
///         let id = RecordId::from(&self.seat);
///         if draft.get::<Seat>(&id).is_some() {
///             let data = serde_json::Map::new();
///             return Err(Rejection { code: "seat_taken", category: Category::State, data });
///         }
///         // Past here it succeeds.
///         let seat = Seat { taken_by: self.by.clone() };
///         draft.put(&id, seat.clone());
///         Ok(seat)
///     }
/// }
/// assert_eq!(TakeSeat::NAME, "seats.take");
/// ```
pub trait Command: fmt::Debug + Serialize + Send + Sync + 'static {
    /// The wire name: `collection.verb`.
    const NAME: &'static str;
    /// What an accepted command answers, beside the receipt's own fields.
    type Reply: Serialize + DeserializeOwned + fmt::Debug + Send + 'static;
    /// Why not.
    type Rejection: Into<Rejection>;

    /// Decides at `now` on the records of `draft`. Pure: reads top to bottom, cheapest first, and
    /// writes only past the line where it can no longer fail.
    ///
    /// # Errors
    /// The rule's "no". Nothing is written then.
    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp)
    -> Result<Self::Reply, Self::Rejection>;

    /// Whether a store will do whose commits may be lost, or applied in part or twice. `known` holds
    /// what it rests on. Only what is about rate limits whose policy says so may answer yes.
    fn is_best_effort(&self, known: &mut Draft<'_>) -> bool {
        let _ = known;
        false
    }

    /// Whether a store will do that can lose what it acknowledged, although nobody accepted that:
    /// what is lost gives units of a rate limit back, and nothing else. By the kind of command
    /// alone, whatever its policy says.
    fn is_rate_limit(&self) -> bool {
        false
    }

    /// Whether one that is accepted and writes is an entry of the journal, where the partition has
    /// one. All entries of a partition have one order; a check of a rate limit does not wait for it.
    fn is_journaled(&self) -> bool {
        !self.is_rate_limit()
    }

    /// Whether the partition's journal begins with this command, if it has none. All that is about
    /// money answers yes.
    fn begins_journal(&self) -> bool {
        false
    }

    /// For how long a refusal may be told again from memory once the store has confirmed what it was
    /// decided on. `known` holds that. Only rate limits whose policy says so answer anything but never.
    fn stale_denials(&self, known: &mut Draft<'_>) -> Option<Duration> {
        let _ = known;
        None
    }

    /// Whether its answer may be told before it is durable. `known` holds what it was decided on. Only
    /// rate limits whose policy says so may answer yes.
    fn is_relaxed(&self, known: &mut Draft<'_>) -> bool {
        let _ = known;
        false
    }

    /// What to do when the store fails before it took the commit. `known` holds the records still
    /// in memory. Only rate limits whose policy says so answer anything but closed.
    fn without_store(&self, known: &mut Draft<'_>, now: Timestamp) -> WithoutStore {
        let _ = (known, now);
        WithoutStore::Closed
    }
}

/// What a command does when the store fails.
#[derive(Debug)]
#[non_exhaustive]
pub enum WithoutStore {
    /// Nothing passes.
    Closed,
    /// Accepted with this reply; nothing is charged.
    Open(Box<dyn AnyReply>),
    /// Decided by this command on records that live in this node alone.
    Local(std::sync::Arc<dyn AnyCommand>),
}

/// A command of any type.
pub trait AnyCommand: fmt::Debug + Send + Sync {
    /// See [`Command::NAME`].
    fn name(&self) -> &'static str;
    /// The whole content as JSON, defaults filled in; what the fingerprint is made of.
    fn content(&self) -> Vec<u8>;
    /// The same as a tree.
    fn content_tree(&self) -> Value;
    /// See [`Command::decide`].
    ///
    /// # Errors
    /// The rule's "no".
    fn decide_any(
        &self,
        draft: &mut Draft<'_>,
        now: Timestamp,
    ) -> Result<Box<dyn AnyReply>, Rejection>;
    /// See [`Command::is_best_effort`].
    fn is_best_effort_any(&self, known: &mut Draft<'_>) -> bool;
    /// See [`Command::is_rate_limit`].
    fn is_rate_limit_any(&self) -> bool;
    /// See [`Command::is_journaled`].
    fn is_journaled_any(&self) -> bool;
    /// See [`Command::begins_journal`].
    fn begins_journal_any(&self) -> bool;
    /// See [`Command::stale_denials`].
    fn stale_denials_any(&self, known: &mut Draft<'_>) -> Option<Duration>;
    /// See [`Command::is_relaxed`].
    fn is_relaxed_any(&self, known: &mut Draft<'_>) -> bool;
    /// See [`Command::without_store`].
    fn without_store_any(&self, known: &mut Draft<'_>, now: Timestamp) -> WithoutStore;
}

impl<C: Command> AnyCommand for C {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn content(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a command is plain data with names for keys")
    }

    fn content_tree(&self) -> Value {
        serde_json::to_value(self).expect("a command is plain data with names for keys")
    }

    fn decide_any(
        &self,
        draft: &mut Draft<'_>,
        now: Timestamp,
    ) -> Result<Box<dyn AnyReply>, Rejection> {
        match self.decide(draft, now) {
            Ok(reply) => Ok(Box::new(reply)),
            Err(rejection) => Err(rejection.into()),
        }
    }

    fn is_best_effort_any(&self, known: &mut Draft<'_>) -> bool {
        self.is_best_effort(known)
    }

    fn is_rate_limit_any(&self) -> bool {
        self.is_rate_limit()
    }

    fn is_journaled_any(&self) -> bool {
        self.is_journaled()
    }

    fn begins_journal_any(&self) -> bool {
        self.begins_journal()
    }

    fn stale_denials_any(&self, known: &mut Draft<'_>) -> Option<Duration> {
        self.stale_denials(known)
    }

    fn is_relaxed_any(&self, known: &mut Draft<'_>) -> bool {
        self.is_relaxed(known)
    }

    fn without_store_any(&self, known: &mut Draft<'_>, now: Timestamp) -> WithoutStore {
        self.without_store(known, now)
    }
}

/// A reply of any type.
pub trait AnyReply: fmt::Debug + Send {
    /// The reply as JSON.
    fn to_json(&self) -> Value;
    /// The reply as JSON text, to be stored.
    fn to_raw(&self) -> Box<RawValue>;
    /// The reply, to be downcast.
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send>;
}

impl<R: Serialize + fmt::Debug + Send + 'static> AnyReply for R {
    fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("a reply is plain data with names for keys")
    }

    fn to_raw(&self) -> Box<RawValue> {
        let raw = serde_json::value::to_raw_value(self);
        raw.expect("a reply is plain data with names for keys")
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

/// A precondition on a record's version (`If-Match`, `If-None-Match: *`). Tested inside the rule,
/// after existence and right. JSON: a version, a list of them, `"*"`, or `"none"`.
///
/// ```
/// use bellpunch_core::{IfVersion, Version};
/// let tags: IfVersion = serde_json::from_str("[3, 4]")?;
/// assert!(tags.allows(Some(Version::new(4))) && !tags.allows(Some(Version::new(5))));
/// assert!(IfVersion::Absent.allows(None) && !IfVersion::Any.allows(None));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum IfVersion {
    /// There is one.
    Any,
    /// There is none.
    Absent,
    /// It is at one of these.
    OneOf(Vec<Version>),
}

impl IfVersion {
    /// Whether a record at `version` (`None`: there is no such record) satisfies this.
    #[must_use]
    pub fn allows(&self, version: Option<Version>) -> bool {
        match self {
            Self::Any => version.is_some(),
            Self::Absent => version.is_none(),
            Self::OneOf(versions) => version.is_some_and(|version| versions.contains(&version)),
        }
    }
}

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum IfVersionForm {
    One(u64),
    Many(Vec<u64>),
    Word(String),
}

impl Serialize for IfVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => "*".serialize(serializer),
            Self::Absent => "none".serialize(serializer),
            Self::OneOf(versions) => versions.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for IfVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong = || D::Error::custom(ValueError::Request("a version, a list of them, or \"*\""));
        match IfVersionForm::deserialize(deserializer).map_err(|_| wrong())? {
            IfVersionForm::One(version) => Ok(Self::OneOf(vec![Version::new(version)])),
            IfVersionForm::Many(versions) => {
                Ok(Self::OneOf(versions.into_iter().map(Version::new).collect()))
            }
            IfVersionForm::Word(word) if word == "*" => Ok(Self::Any),
            IfVersionForm::Word(word) if word == "none" => Ok(Self::Absent),
            IfVersionForm::Word(_) => Err(wrong()),
        }
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for IfVersion {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "IfVersion".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "oneOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "array", "items": { "type": "integer", "minimum": 0 } },
                { "enum": ["*", "none"] }
            ]
        })
    }
}
