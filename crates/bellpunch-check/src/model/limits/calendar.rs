//! Windows by the calendar of a place.
//!
//! Invariant: windows are numbered, and each begins where the one before ends.

use jiff::civil::{Date, date};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};
use serde_json::Value;

use super::value::INSTANT_MAX;
use crate::instant::Nanos;

/// Days, weeks, months or years of a zone.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Calendar {
    pub(super) unit: Unit,
    zone: TimeZone,
    month: i8,
    day: i8,
}

/// What a window is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Unit {
    Day,
    Week,
    Month,
    Year,
}

impl Calendar {
    /// A calendar, if there is such a zone and anchor.
    pub(super) fn new(unit: &str, zone: &str, anchor: Option<&Value>) -> Option<Self> {
        let unit = match unit {
            "day" => Unit::Day,
            "week" => Unit::Week,
            "month" => Unit::Month,
            "year" => Unit::Year,
            _ => return None,
        };
        let (month, day) = match anchor {
            None | Some(Value::Null) => (1, 1),
            Some(Value::String(text)) => {
                let (month, day) = text.split_once('-')?;
                (month.parse().ok()?, day.parse().ok()?)
            }
            Some(number) => (1, i8::try_from(number.as_i64()?).ok()?),
        };
        Some(Self { unit, zone: TimeZone::get(zone).ok()?, month, day })
    }

    /// Start and end of the window that contains an instant; no end beyond the last instant.
    pub(super) fn window(&self, at: Nanos) -> (Nanos, Option<Nanos>) {
        let number = self.number(at);
        (self.start(number).unwrap_or(0), self.start(number.saturating_add(1)))
    }

    /// The number of the window that contains an instant.
    pub(super) fn number(&self, at: Nanos) -> i64 {
        let mut number = self.number_of_date(self.date_at(at));
        while self.start(number).is_some_and(|start| at < start) {
            number = number.saturating_sub(1);
        }
        while self.start(number.saturating_add(1)).is_some_and(|start| start <= at) {
            number = number.saturating_add(1);
        }
        number
    }

    fn date_at(&self, at: Nanos) -> Date {
        let at = Timestamp::from_nanosecond(at).expect("an instant before 9999");
        self.zone.to_datetime(at).date()
    }

    fn number_of_date(&self, on: Date) -> i64 {
        let days = days(on);
        match self.unit {
            Unit::Day => days,
            // 1970-01-01 was a Thursday, the fourth day of its week.
            Unit::Week => days.saturating_sub(i64::from(self.day)).saturating_add(4).div_euclid(7),
            Unit::Month => {
                let number = months(on);
                let begun = self.day.min(on.days_in_month()) <= on.day();
                if begun { number } else { number.saturating_sub(1) }
            }
            Unit::Year => {
                let year = i64::from(on.year());
                let first = self.first_of_year(on.year());
                let begun = first.is_some_and(|first| first <= on);
                if begun { year } else { year.saturating_sub(1) }
            }
        }
    }

    fn first_of_year(&self, year: i16) -> Option<Date> {
        day_or_last(year, self.month, self.day)
    }

    /// When a window starts.
    fn start(&self, number: i64) -> Option<Nanos> {
        let first = match self.unit {
            Unit::Day => date_of(number)?,
            Unit::Week => {
                let days = number.checked_mul(7)?.checked_add(i64::from(self.day))?;
                date_of(days.checked_sub(4)?)?
            }
            Unit::Month => {
                let year = i16::try_from(number.div_euclid(12)).ok()?;
                let month = i8::try_from(number.rem_euclid(12)).ok()?.checked_add(1)?;
                day_or_last(year, month, self.day)?
            }
            Unit::Year => self.first_of_year(i16::try_from(number).ok()?)?,
        };
        self.midnight(first).filter(|start| *start <= INSTANT_MAX)
    }

    /// 00:00 of a day: after the gap if there is none, the first if there are two.
    fn midnight(&self, on: Date) -> Option<Nanos> {
        let midnight = on.at(0, 0, 0, 0);
        let found = self.zone.to_ambiguous_timestamp(midnight);
        let gap = matches!(found.offset(), AmbiguousOffset::Gap { .. });
        let first = found.earlier().ok()?.as_nanosecond();
        if !gap {
            return Some(first);
        }
        // Between the two readings of a time that does not exist the clock jumps over it, once.
        let last = self.zone.to_ambiguous_timestamp(midnight).later().ok()?.as_nanosecond();
        let (mut before, mut after) = (first, last);
        while before.saturating_add(1) < after {
            let middle = before.midpoint(after);
            let shown = self.zone.to_datetime(Timestamp::from_nanosecond(middle).ok()?);
            if shown < midnight {
                before = middle;
            } else {
                after = middle;
            }
        }
        Some(after)
    }
}

fn days(on: Date) -> i64 {
    date(1970, 1, 1).until(on).map_or(0, |span| i64::from(span.get_days()))
}

fn date_of(days: i64) -> Option<Date> {
    date(1970, 1, 1).checked_add(i32::try_from(days).ok()?.days()).ok()
}

fn months(on: Date) -> i64 {
    i64::from(on.year()).saturating_mul(12).saturating_add(i64::from(on.month())).saturating_sub(1)
}

/// That day of the month, or its last if it is shorter.
fn day_or_last(year: i16, month: i8, day: i8) -> Option<Date> {
    let first = Date::new(year, month, 1).ok()?;
    Date::new(year, month, day.min(first.days_in_month())).ok()
}
