//! The zone of a series: where its days begin.
//!
//! Invariant: a zone comes from the table compiled into the program, never from the host's, so all
//! nodes give one instant one date; a fixed offset needs no table.

use std::fmt;
use std::sync::LazyLock;

use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Timestamp;

/// The table of the program. What was looked up stays in memory.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A zone by its IANA name, or an offset like `+03:00`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Zone {
    name: String,
    time_zone: TimeZone,
}

impl Zone {
    /// The zone of this name; `None` if there is none.
    pub(crate) fn new(name: &str) -> Option<Self> {
        if let Some(offset) = offset(name) {
            return Some(Self { name: name.to_owned(), time_zone: TimeZone::fixed(offset) });
        }
        let time_zone = ZONES.get(name).ok().filter(|found| !found.is_unknown())?;
        let name = time_zone.iana_name().unwrap_or(name).to_owned();
        Some(Self { name, time_zone })
    }

    /// UTC.
    pub(crate) fn utc() -> Self {
        Self { name: "UTC".to_owned(), time_zone: TimeZone::UTC }
    }

    /// The name, as the table spells it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The date here at an instant.
    pub(super) fn date(&self, at: Timestamp) -> Date {
        self.time_zone.to_datetime(at.to_jiff()).date()
    }

    /// The first instant of the day after a date; `None` beyond the year 9999 and before 1970.
    pub(super) fn end_of_day(&self, date: Date) -> Option<Timestamp> {
        let after = date.tomorrow().ok()?.to_zoned(self.time_zone.clone()).ok()?;
        Timestamp::from_jiff(after.start_of_day().ok()?.timestamp())
    }
}

/// An offset of the form `+03:00`, of less than a day.
fn offset(text: &str) -> Option<Offset> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1_i32, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let two_digits = |part: &str, below: i32| {
        let digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<i32>().ok().filter(|&number| digits && number < below)
    };
    let minutes = two_digits(hours, 24)?.checked_mul(60)?.checked_add(two_digits(minutes, 60)?)?;
    Offset::from_seconds(minutes.checked_mul(60)?.checked_mul(sign)?).ok()
}

/// Reads a civil date, as `2025-06-15` and in no other form.
pub(super) fn date(text: &str) -> Option<Date> {
    let date: Date = text.parse().ok()?;
    (date.to_string() == text).then_some(date)
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::new(&name).ok_or_else(|| D::Error::custom("no such time zone"))
    }
}
