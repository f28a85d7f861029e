//! Values of the limits domain, as commands write them and as replies show them.
//!
//! Invariant: numbers are `i128`. Units stay below 2^53, spans below 2^64, instants below 2^68, so
//! sums of them, and products of units and spans, are far from its end.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::{Map, Value};

use crate::instant::{self, Nanos};

/// The most units there can be.
pub(super) const UNITS_MAX: i128 = 9_007_199_254_740_991;
/// The last instant that can be written; what would be later is never.
pub(super) const INSTANT_MAX: Nanos = 253_402_207_200_999_999_999;
/// A day.
pub(super) const DAY: i128 = 86_400_000_000_000;

/// An instant, unless it is beyond the last.
pub(super) fn reachable(at: Nanos) -> Option<Nanos> {
    (at <= INSTANT_MAX).then_some(at)
}

/// Units of a command.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Units(pub(super) i128);

impl<'de> Deserialize<'de> for Units {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let units = value.as_u64().map(i128::from).filter(|units| *units <= UNITS_MAX);
        units.map(Self).ok_or_else(|| D::Error::custom("invalid_units"))
    }
}

/// A limit; `None` is unlimited.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Limit(pub(super) Option<i128>);

impl Limit {
    /// As it stands in arithmetic.
    pub(super) fn count(self) -> i128 {
        self.0.unwrap_or(UNITS_MAX)
    }

    /// What is left of it.
    pub(super) fn less(self, taken: i128) -> Self {
        Self(self.0.map(|limit| limit.saturating_sub(taken).max(0)))
    }

    /// As replies show it.
    pub(super) fn shown(self) -> Value {
        self.0.map_or_else(|| Value::from("unlimited"), units)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if value.as_str() == Some("unlimited") {
            return Ok(Self(None));
        }
        Units::deserialize(value).map(|units| Self(Some(units.0))).map_err(D::Error::custom)
    }
}

/// An instant of a command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Instant(pub(super) Nanos);

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        instant::parse(&text).map(Self).ok_or_else(|| D::Error::custom("no instant"))
    }
}

/// A span of a command. None is of no length.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Span(pub(super) i128);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            0 => Err(D::Error::custom("a span of no length")),
            nanos => Ok(Self(nanos.into())),
        }
    }
}

/// How long charges of a quota are kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Retention {
    None,
    For(i128),
    ForEver,
}

impl Retention {
    pub(super) fn shown(self) -> Value {
        match self {
            Self::None => "none".into(),
            Self::ForEver => "for_ever".into(),
            Self::For(span) => object([("keep_ns", units(span))]),
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self::For(30 * DAY)
    }
}

impl<'de> Deserialize<'de> for Retention {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        match (value.as_str(), value.get("keep_ns").and_then(Value::as_u64)) {
            (Some("none"), _) => Ok(Self::None),
            (Some("for_ever"), _) => Ok(Self::ForEver),
            (_, Some(span)) => Ok(Self::For(span.into())),
            _ => Err(D::Error::custom("no retention")),
        }
    }
}

/// What units are taken from.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Target {
    /// A quota.
    Quota(String),
    /// A key under a policy.
    Rate {
        /// The policy.
        policy: String,
        /// The key.
        key: String,
    },
}

impl Target {
    pub(super) fn shown(&self) -> Value {
        Value::Object(self.names())
    }

    pub(super) fn names(&self) -> Map<String, Value> {
        let mut names = Map::new();
        match self {
            Self::Quota(id) => {
                names.insert("quota".to_owned(), id.clone().into());
            }
            Self::Rate { policy, key } => {
                names.insert("policy".to_owned(), policy.clone().into());
                names.insert("key".to_owned(), key.clone().into());
            }
        }
        names
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.shown().serialize(serializer)
    }
}

/// Which versions of a record a command is for.
#[derive(Clone, Debug)]
pub(super) enum IfVersion {
    Any,
    Absent,
    OneOf(Vec<u64>),
}

impl IfVersion {
    pub(super) fn allows(&self, version: Option<u64>) -> bool {
        match self {
            Self::Any => version.is_some(),
            Self::Absent => version.is_none(),
            Self::OneOf(allowed) => version.is_some_and(|version| allowed.contains(&version)),
        }
    }
}

impl<'de> Deserialize<'de> for IfVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        match (value.as_str(), value.as_u64()) {
            (Some("*"), _) => Ok(Self::Any),
            (Some("none"), _) => Ok(Self::Absent),
            (_, Some(version)) => Ok(Self::OneOf(vec![version])),
            _ => Vec::deserialize(value).map(Self::OneOf).map_err(D::Error::custom),
        }
    }
}

/// Units as replies show them.
pub(super) fn units(units: i128) -> Value {
    u64::try_from(units).map_or(Value::Null, Value::from)
}

/// An instant as replies show it; `null` of none.
pub(super) fn at(at: Option<Nanos>) -> Value {
    at.and_then(reachable).map_or(Value::Null, |at| instant::print(at).into())
}

/// A span as replies show it; `null` of none.
pub(super) fn span(span: Option<i128>) -> Value {
    span.map_or(Value::Null, units)
}

/// An object of these fields.
pub(super) fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// The lesser of two numbers, either of which may be missing.
pub(super) fn earlier(one: Option<i128>, other: Option<i128>) -> Option<i128> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// The least instant after `after` from which on `holds` is true; it never turns false again.
pub(super) fn first(after: Nanos, holds: impl Fn(Nanos) -> bool) -> Option<Nanos> {
    if !holds(INSTANT_MAX) {
        return None;
    }
    let (mut no, mut yes) = (after, INSTANT_MAX);
    // Grow the span first: most answers are near.
    let mut step = 1_i128;
    while let Some(near) = after.checked_add(step).filter(|near| *near < INSTANT_MAX) {
        if holds(near) {
            yes = near;
            break;
        }
        no = near;
        step = step.saturating_mul(8);
    }
    while no.saturating_add(1) < yes {
        let middle = no.midpoint(yes);
        if holds(middle) {
            yes = middle;
        } else {
            no = middle;
        }
    }
    Some(yes)
}

/// The name of a record, as receipts have it.
pub(super) fn record(kind: &str, parts: &[&str]) -> String {
    let mut name = kind.to_owned();
    for part in parts {
        name.push('/');
        name.push_str(&part.replace('%', "%25").replace('/', "%2F"));
    }
    name
}
