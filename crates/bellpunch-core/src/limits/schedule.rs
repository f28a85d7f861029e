//! Calendars: windows that begin at a local midnight.
//!
//! Invariant: windows of one calendar follow each other without gap or overlap. A window begins at
//! local 00:00: after the gap where that time does not exist, at the first where it occurs twice.
//!
//! Why windows have numbers: the n-th window from here is then arithmetic and no loop, and a
//! refill that was due a thousand times is applied in one step.

use jiff::ToSpan as _;
use jiff::civil::{Date, date};
use jiff::tz::{AmbiguousOffset, TimeZone};
use serde::{Deserialize, Serialize};

use crate::{Timestamp, ValueError};

/// Length of a calendar window.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CalendarUnit {
    /// From midnight to midnight: 23, 24 or 25 hours.
    Day,
    /// Seven days.
    Week,
    /// To the same day of the next month, or its last.
    Month,
    /// To the same date of the next year.
    Year,
}

/// The first day of a window. JSON: the day of the week (1 is Monday) or of the month; of a year,
/// `"MM-DD"`. Days 29 to 31 mean the last one of a shorter month.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Anchor {
    /// Of a week or a month.
    Day(u8),
    /// Of a year.
    Date(String),
}

/// Windows by the calendar of a place.
///
/// ```
/// use bellpunch_core::limits::{Anchor, Calendar, CalendarUnit};
/// let billing = Calendar::new(CalendarUnit::Month, "UTC", Some(Anchor::Day(31)))?;
/// let (start, end) = billing.window("2026-02-10T00:00:00Z".parse()?);
/// assert_eq!(start.to_string(), "2026-01-31T00:00:00Z");
/// assert_eq!(end.expect("long before 9999").to_string(), "2026-02-28T00:00:00Z");
/// # Ok::<(), bellpunch_core::ValueError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Calendar {
    unit: CalendarUnit,
    zone: String,
    anchor: Option<Anchor>,
    /// Of the anchor: the month of a year, and the day of a week, month or year.
    month: i8,
    day: i8,
    time_zone: TimeZone,
}

impl Calendar {
    /// A calendar. The default anchor is Monday, the 1st, or 1 January.
    ///
    /// # Errors
    /// `invalid_request` for an unknown zone, or an anchor that the unit has not.
    pub fn new(unit: CalendarUnit, zone: &str, anchor: Option<Anchor>) -> Result<Self, ValueError> {
        let time_zone =
            TimeZone::get(zone).map_err(|_| ValueError::Request("zone is no IANA time zone"))?;
        let (month, day) = match (unit, &anchor) {
            (_, None) => (1, 1),
            (CalendarUnit::Week, Some(Anchor::Day(day @ 1..=7)))
            | (CalendarUnit::Month, Some(Anchor::Day(day @ 1..=31))) => {
                (1, i8::try_from(*day).expect("a day of the month fits"))
            }
            (CalendarUnit::Year, Some(Anchor::Date(text))) => month_and_day(text)?,
            (_, Some(_)) => {
                return Err(ValueError::Request(
                    "anchor is a day of the week (1 to 7) or month (1 to 31), of a year \"MM-DD\"",
                ));
            }
        };
        Ok(Self { unit, zone: zone.to_owned(), anchor, month, day, time_zone })
    }

    /// The unit.
    #[must_use]
    pub const fn unit(&self) -> CalendarUnit {
        self.unit
    }

    /// The zone's name.
    #[must_use]
    pub fn zone(&self) -> &str {
        &self.zone
    }

    /// The first day, if it is not the default.
    #[must_use]
    pub const fn anchor(&self) -> Option<&Anchor> {
        self.anchor.as_ref()
    }

    /// Start and end of the window that contains `at`; no end beyond the year 9999.
    #[must_use]
    pub fn window(&self, at: Timestamp) -> (Timestamp, Option<Timestamp>) {
        let number = self.number(at);
        let start = self.start(number).unwrap_or(Timestamp::EPOCH).min(at);
        (start, self.next_start(number, at))
    }

    /// How many windows began after `after` and not after `through`.
    pub(super) fn starts_between(&self, after: Timestamp, through: Timestamp) -> u64 {
        let count = self.number(through).saturating_sub(self.number(after));
        u64::try_from(count).unwrap_or(0)
    }

    /// The start of the `count`-th window after the one that contains `at`.
    pub(super) fn nth_start(&self, at: Timestamp, count: u64) -> Option<Timestamp> {
        let count = i64::try_from(count).ok()?;
        self.next_start(self.number(at).checked_add(count)?.checked_sub(1)?, at)
    }

    fn next_start(&self, number: i64, at: Timestamp) -> Option<Timestamp> {
        // A day that a zone skipped altogether is a window of no length; two in a row are none.
        let next = self.start(number.checked_add(1)?)?;
        if at < next { Some(next) } else { self.start(number.checked_add(2)?) }
    }

    /// The number of the window that contains `at`.
    fn number(&self, at: Timestamp) -> i64 {
        let date = self.time_zone.to_datetime(at.to_jiff()).date();
        let days = days_since_epoch(date);
        let number = match self.unit {
            CalendarUnit::Day => days,
            // Day 4 was a Monday.
            CalendarUnit::Week => days
                .saturating_sub(4)
                .saturating_sub(i64::from(self.day))
                .saturating_add(1)
                .div_euclid(7),
            CalendarUnit::Month => {
                let number = months(date.year(), date.month());
                if date.day() < self.anchor_in(date).day() {
                    number.saturating_sub(1)
                } else {
                    number
                }
            }
            CalendarUnit::Year => {
                let number = i64::from(date.year());
                if date < self.anchor_in(date) { number.saturating_sub(1) } else { number }
            }
        };
        // A clock set back over midnight shows the day before within a window that has begun.
        let began = |number: i64| self.start(number).is_some_and(|start| start <= at);
        let after = number.saturating_add(1);
        if began(after) {
            after
        } else if began(number) || self.start(number).is_none() {
            number
        } else {
            number.saturating_sub(1)
        }
    }

    /// The anchor day in the month (of a year: the anchor month) of `date`.
    fn anchor_in(&self, of: Date) -> Date {
        let month = match self.unit {
            CalendarUnit::Year => self.month,
            CalendarUnit::Day | CalendarUnit::Week | CalendarUnit::Month => of.month(),
        };
        let first = date(of.year(), month, 1);
        let day = self.day.min(first.days_in_month());
        date(of.year(), month, day)
    }

    /// When the window of this number begins; `None` outside 1970 to 9999.
    fn start(&self, number: i64) -> Option<Timestamp> {
        let first = match self.unit {
            CalendarUnit::Day => date_of_day(number)?,
            CalendarUnit::Week => {
                let days = number.checked_mul(7)?.checked_add(4)?;
                date_of_day(days.checked_add(i64::from(self.day))?.checked_sub(1)?)?
            }
            CalendarUnit::Month => {
                let year = i16::try_from(number.div_euclid(12)).ok()?;
                let month = i8::try_from(number.rem_euclid(12)).ok()?.checked_add(1)?;
                self.anchor_in(Date::new(year, month, 1).ok()?)
            }
            CalendarUnit::Year => {
                self.anchor_in(Date::new(i16::try_from(number).ok()?, 1, 1).ok()?)
            }
        };
        let midnight = first.at(0, 0, 0, 0);
        let ambiguous = self.time_zone.to_ambiguous_timestamp(midnight);
        let instant = match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => {
                ambiguous.earlier().ok()?
            }
            AmbiguousOffset::Gap { .. } => {
                // Read with the offset after the gap, a time in it lies before the transition.
                let before = ambiguous.earlier().ok()?;
                self.time_zone.following(before).next()?.timestamp()
            }
        };
        Timestamp::from_jiff(instant)
    }
}

fn month_and_day(text: &str) -> Result<(i8, i8), ValueError> {
    const WRONG: ValueError = ValueError::Request("the anchor of a year is \"MM-DD\"");
    let (month, day) = text.split_once('-').ok_or(WRONG)?;
    let number = |text: &str| -> Result<i8, ValueError> {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        if digits { text.parse().map_err(|_| WRONG) } else { Err(WRONG) }
    };
    let (month, day) = (number(month)?, number(day)?);
    if (1..=12).contains(&month) && (1..=31).contains(&day) { Ok((month, day)) } else { Err(WRONG) }
}

const EPOCH: Date = date(1970, 1, 1);

fn days_since_epoch(of: Date) -> i64 {
    let span = EPOCH.until(of).expect("days between two dates");
    i64::from(span.get_days())
}

fn date_of_day(days: i64) -> Option<Date> {
    EPOCH.checked_add(i32::try_from(days).ok()?.days()).ok()
}

fn months(year: i16, month: i8) -> i64 {
    i64::from(year).saturating_mul(12).saturating_add(i64::from(month)).saturating_sub(1)
}
