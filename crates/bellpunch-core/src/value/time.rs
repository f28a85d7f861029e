//! Instants and spans, in whole nanoseconds.
//!
//! Intervals are half-open everywhere: at the boundary instant the new state applies. An instant
//! beyond the year 9999 does not exist; a computation that would give one gives `None`, "never".

use std::fmt;

use jiff::fmt::temporal::DateTimePrinter;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ValueError;

const NANOS_PER_SECOND: u128 = 1_000_000_000;
const NANOS_PER_MILLI: u64 = 1_000_000;
/// 9999-12-30T22:00:00.999999999Z: every time zone can still show it.
const TIMESTAMP_MAX: u128 = 253_402_207_200_999_999_999;

/// An instant: nanoseconds since the Unix epoch, UTC, up to the year 9999. JSON: RFC 3339.
///
/// ```
/// use bellpunch_core::{Duration, Timestamp};
/// let noon: Timestamp = "2026-03-01T12:00:00+03:00".parse()?;
/// assert_eq!(noon.to_string(), "2026-03-01T09:00:00Z");
/// let later = noon.plus(Duration::from_millis(1)).expect("long before 9999");
/// assert_eq!(later.to_string(), "2026-03-01T09:00:00.001Z");
/// assert_eq!(later.since(noon), Some(Duration::from_millis(1)));
/// assert_eq!(Timestamp::MAX.plus(Duration::from_nanos(1)), None);
/// # Ok::<(), bellpunch_core::ValueError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Timestamp(u128);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);
    /// The last instant that every time zone shows within the year 9999.
    pub const MAX: Self = Self(TIMESTAMP_MAX);

    /// An instant by its nanoseconds since the epoch; `None` beyond the year 9999.
    #[must_use]
    pub const fn from_nanos(nanos: u128) -> Option<Self> {
        if TIMESTAMP_MAX < nanos { None } else { Some(Self(nanos)) }
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub const fn nanos(self) -> u128 {
        self.0
    }

    /// The instant `span` later, or `None` beyond the year 9999.
    #[must_use]
    pub const fn plus(self, span: Duration) -> Option<Self> {
        match self.0.checked_add(span.0 as u128) {
            Some(nanos) => Self::from_nanos(nanos),
            None => None,
        }
    }

    /// The instant `span` earlier, or the epoch.
    #[must_use]
    pub const fn minus_or_epoch(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span.0 as u128))
    }

    /// The span since `earlier`; `None` if that is later, or if it is more than 584 years.
    #[must_use]
    pub fn since(self, earlier: Self) -> Option<Duration> {
        let nanos = self.0.checked_sub(earlier.0)?;
        u64::try_from(nanos).ok().map(Duration)
    }

    /// The instant for calendar arithmetic.
    #[must_use]
    pub fn to_jiff(self) -> jiff::Timestamp {
        let nanos = i128::try_from(self.0).expect("nanoseconds up to 9999 fit");
        jiff::Timestamp::from_nanosecond(nanos).expect("both end at the same instant")
    }

    /// The instant of a calendar computation; `None` before the epoch.
    #[must_use]
    pub fn from_jiff(timestamp: jiff::Timestamp) -> Option<Self> {
        u128::try_from(timestamp.as_nanosecond()).ok().and_then(Self::from_nanos)
    }
}

/// RFC 3339 with `Z` and 0, 3, 6 or 9 fraction digits, whichever is exact.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fraction = self.0.checked_rem(NANOS_PER_SECOND).expect("a second is not 0");
        let digits = match fraction {
            0 => 0,
            _ if fraction.is_multiple_of(1_000_000) => 3,
            _ if fraction.is_multiple_of(1_000) => 6,
            _ => 9,
        };
        let printer = DateTimePrinter::new().precision(Some(digits));
        f.write_str(&printer.timestamp_to_string(&self.to_jiff()))
    }
}

impl std::str::FromStr for Timestamp {
    type Err = ValueError;

    /// Reads RFC 3339 with any offset and at most 9 fraction digits.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        const WRONG: ValueError = ValueError::Request("not an RFC 3339 time");
        let bytes = text.as_bytes();
        let shaped = 20 <= bytes.len()
            && bytes.len() <= 35
            && bytes.get(4) == Some(&b'-')
            && matches!(bytes.get(10), Some(b'T' | b't'))
            && bytes.get(13) == Some(&b':')
            && bytes.get(16) == Some(&b':')
            && !text.contains('[')
            // jiff takes second 60 for 59; a leap second is refused here.
            && text.get(17..19) != Some("60");
        if !shaped {
            return Err(WRONG);
        }
        let parsed: jiff::Timestamp = text.parse().map_err(|_| WRONG)?;
        Self::from_jiff(parsed).ok_or(ValueError::Request("a time before 1970"))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// A span of more than 0 and at most 584 years, in whole nanoseconds. JSON: the count of
/// nanoseconds, in a field whose name ends in `_ns`; a door shows `_ms`, rounded up.
///
/// ```
/// use bellpunch_core::Duration;
/// assert_eq!(Duration::from_secs(2), Duration::from_millis(2_000));
/// assert_eq!(Duration::from_nanos(1).millis_up(), 1);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Duration(#[cfg_attr(feature = "schema", schemars(range(min = 1)))] u64);

impl Duration {
    /// The longest span.
    pub const MAX: Self = Self(u64::MAX);

    /// A span by its nanoseconds.
    ///
    /// # Panics
    /// If `nanos` is 0: an empty span is never meant.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        assert!(0 < nanos, "a span is longer than 0");
        Self(nanos)
    }

    /// A span by its nanoseconds, `None` for 0 and beyond 584 years.
    #[must_use]
    pub fn checked(nanos: u128) -> Option<Self> {
        u64::try_from(nanos).ok().filter(|&nanos| 0 < nanos).map(Self)
    }

    /// A span by its milliseconds.
    ///
    /// # Panics
    /// If `millis` is 0 or more than 584 years.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self::from_nanos(millis.checked_mul(NANOS_PER_MILLI).expect("at most 584 years"))
    }

    /// A span by its seconds.
    ///
    /// # Panics
    /// If `seconds` is 0 or more than 584 years.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self::from_millis(seconds.checked_mul(1_000).expect("at most 584 years"))
    }

    /// A span by its days of 86,400 seconds.
    ///
    /// # Panics
    /// If `days` is 0 or more than 584 years.
    #[must_use]
    pub const fn from_days(days: u64) -> Self {
        Self::from_secs(days.checked_mul(86_400).expect("at most 584 years"))
    }

    /// Nanoseconds.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Milliseconds, rounded up: waiting so long is enough.
    #[must_use]
    pub const fn millis_up(self) -> u64 {
        self.0.div_ceil(NANOS_PER_MILLI)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let nanos = u64::deserialize(deserializer)?;
        Self::checked(nanos.into())
            .ok_or_else(|| D::Error::custom(ValueError::Request("must be longer than 0")))
    }
}
