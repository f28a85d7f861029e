//! Days of the calendar, without a time and without a zone.
//!
//! Invariant: a date is one that a [`super::Timestamp`] has in some zone.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, date};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ValueError;

/// A day of the calendar: 1969-12-30 to 9999-12-31. JSON: `"2025-06-15"`.
///
/// ```
/// use bellpunch_core::CivilDate;
/// let day: CivilDate = serde_json::from_str(r#""2025-06-15""#)?;
/// assert_eq!(day.to_string(), "2025-06-15");
/// for wrong in ["2025-6-15", "20250615", "2025-02-29", "2025-06-15T00:00", "1969-12-29"] {
///     assert!(wrong.parse::<CivilDate>().is_err());
/// }
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct CivilDate(Date);

impl CivilDate {
    /// A day of the calendar; `None` outside of its years.
    #[must_use]
    pub fn from_jiff(day: Date) -> Option<Self> {
        (date(1969, 12, 30) <= day).then_some(Self(day))
    }

    /// Whether the day ends at a [`super::Timestamp`] in every zone.
    #[must_use]
    pub fn ends_everywhere(self) -> bool {
        date(1970, 1, 2) <= self.0 && self.0 <= date(9999, 12, 28)
    }

    /// The day for calendar arithmetic.
    #[must_use]
    pub const fn to_jiff(self) -> Date {
        self.0
    }
}

impl fmt::Display for CivilDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for CivilDate {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        const WRONG: ValueError = ValueError::Request("not a date like 2025-06-15");
        // jiff reads more forms than this one.
        let day: Date = text.parse().map_err(|_| WRONG)?;
        let day = Self::from_jiff(day).filter(|day| day.to_string() == text);
        day.ok_or(WRONG)
    }
}

impl Serialize for CivilDate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CivilDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'_, str>>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for CivilDate {
    fn schema_name() -> Cow<'static, str> {
        "CivilDate".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date" })
    }
}
