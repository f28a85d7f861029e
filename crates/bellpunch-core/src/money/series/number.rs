//! Numbers and their counters, as they are stored.
//!
//! Invariant: a counter is keyed by series, scope and period, and each value it gave is a record of
//! its own, in order of value: used, void, or imported. Nothing ever removes one.

use serde::{Deserialize, Serialize};

use super::ChainPlace;
use super::template::Mark;
use crate::{Key, Kind, Record, RecordId, Timestamp};

/// What a counter without scope or period has in their place. No scope of a series without scopes
/// is ever told, and a period is digits, so nothing else is taken for it.
const NONE: &str = "-";

/// The largest value, 2^53 − 1: exact in every JSON reader.
pub(super) const VALUE_MAX: u64 = 9_007_199_254_740_991;

/// The last number of a series in one scope and period.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counter {
    /// The last value given or imported; one below the first, before.
    pub(super) last: u64,
    /// How many were given here, beside those imported.
    pub(super) given: u64,
}

impl Record for Counter {
    const KIND: Kind = Kind::compound("series_counters", 3);
}

/// A series' counter: its scope and period.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Place {
    pub(super) series: Key,
    pub(super) scope: Option<Key>,
    pub(super) period: String,
}

impl Place {
    fn names(&self) -> [Key; 3] {
        let none = || Key::new(NONE).expect("a dash is a name");
        let scope = self.scope.clone().unwrap_or_else(none);
        let period = Key::new(&self.period).unwrap_or_else(|_| none());
        [self.series.clone(), scope, period]
    }

    /// Where the counter is.
    pub(super) fn counter(&self) -> RecordId {
        let [series, scope, period] = self.names();
        RecordId::compound(&[&series, &scope, &period])
    }

    /// Where a number is: in order of its value, as far as it has one.
    pub(super) fn number(&self, mark: &Mark) -> RecordId {
        let [series, scope, period] = self.names();
        let mark = match mark {
            Mark::Value(value) => format!("{value:016}"),
            Mark::Random(digits) => digits.clone(),
        };
        let mark = Key::new(mark).expect("digits are a name");
        RecordId::compound(&[&series, &scope, &period, &mark])
    }
}

/// The series of the number that is here; `None` where none can be.
pub(super) fn series_of(id: &RecordId) -> Option<Key> {
    id.split(4)?.into_iter().next()
}

/// What a number is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NumberStatus {
    /// A document has it.
    Used,
    /// Its document never came.
    Void,
    /// It was given before this book was here.
    Imported,
}

/// A number that was given; or, imported, all from `first` to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Number {
    pub(super) text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<Key>,
    pub(super) period: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<u64>,
    pub(super) status: NumberStatus,
    /// The first of those imported with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) first: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) document: Option<Key>,
    /// Whether the document is kept elsewhere, so that the number may be void.
    #[serde(default)]
    pub(super) elsewhere: bool,
    /// The date in the series' zone whose fields the period is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) date: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) chain: Option<ChainPlace>,
    pub(super) seq: u64,
    pub(super) at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) void: Option<VoidMark>,
}

impl Record for Number {
    const KIND: Kind = Kind::compound("numbers", 4);
    /// Read again to be void alone.
    const CACHED: bool = false;
}

/// When a number was made void, and why.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VoidMark {
    pub(super) at: Timestamp,
    pub(super) reason: Key,
}
