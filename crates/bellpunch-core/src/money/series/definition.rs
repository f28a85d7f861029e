//! What a series is: its template, class, zone, and those that every book has.
//!
//! Invariant: once it has given a number, all of a series but its overflow is fixed. One that every
//! book has is written down with its first number, so a later change of the book's zone moves none
//! of its dates.

use serde::{Deserialize, Serialize};

use super::template::Template;
use super::zone::Zone;
use super::{Series, zone};
use crate::money::{Book, Decided, MoneyRejection, settings};
use crate::{Key, Kind, Record, RecordId, Timestamp};

/// What a series promises of its numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SeriesClass {
    /// Consecutive.
    Gapless,
    /// Rising, and never the same.
    Unique,
    /// 128 random bits: no order.
    Opaque,
}

/// What a series does with more numbers than its width has.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Overflow {
    /// Goes on, one digit wider.
    #[default]
    Widen,
    /// Gives none.
    Refuse,
}

/// A series.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Definition {
    pub(super) template: Template,
    pub(super) class: SeriesClass,
    pub(super) zone: Zone,
    pub(super) scoped: bool,
    pub(super) start: u64,
    pub(super) overflow: Overflow,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) chain: Option<Key>,
    pub(super) defined_at: Timestamp,
    /// The last date that a number was given on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_date: Option<String>,
}

impl Record for Definition {
    const KIND: Kind = Kind::new("series");
}

/// Those that every book has: name, template, class, and whether each scope counts apart.
const DEFAULTS: [(&str, &str, SeriesClass, Scopes); 7] = [
    ("PAY", "PAY-{YYYY}-{N:4}", SeriesClass::Gapless, Scopes::None),
    ("RET", "RET-{YYYY}-{N:4}", SeriesClass::Gapless, Scopes::None),
    ("CLT", "CLT-{YYYY}-{N:4}", SeriesClass::Gapless, Scopes::Each),
    ("INV", "INV-{YYYY}{MM}-{N:4}", SeriesClass::Gapless, Scopes::None),
    ("CRN", "CRN-{YYYY}{MM}-{N:4}", SeriesClass::Gapless, Scopes::None),
    ("RFD", "RFD-{YYYY}{MM}-{N:4}", SeriesClass::Gapless, Scopes::None),
    ("TXN", "TXN-{YYYY}{MM}-{N:5}", SeriesClass::Unique, Scopes::None),
];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Scopes {
    None,
    Each,
}

/// The series of this name: one that the book defined, or one of those that every book has.
///
/// # Errors
/// `series_not_found`.
pub(crate) fn find(book: &mut Book<'_, '_>, name: &str) -> Decided<Series> {
    let name = Key::new(name).map_err(|_| MoneyRejection::InvalidRequest {
        field: "series",
        reason: "must be the name of a series",
    })?;
    let id = RecordId::from(&name);
    if let Some(defined) = book.draft.get::<Definition>(&id) {
        return Ok(Series { name, definition: (*defined).clone(), is_stored: true });
    }
    let Some(default) = DEFAULTS.iter().find(|(default, ..)| *default == name.as_str()) else {
        return Err(MoneyRejection::SeriesNotFound { name });
    };
    let (_, template, class, scopes) = *default;
    let definition = Definition {
        template: Template::new(template).expect("the templates of the table are right"),
        class,
        zone: settings::of(book).zone,
        scoped: scopes == Scopes::Each,
        start: 1,
        overflow: Overflow::Widen,
        chain: None,
        defined_at: book.now,
        last_date: None,
    };
    Ok(Series { name, definition, is_stored: false })
}

impl Definition {
    /// Whether another one is the same but for its overflow.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let fixed = |one: &Self| (one.class, one.scoped, one.start);
        fixed(self) == fixed(other)
            && self.template == other.template
            && self.zone.name() == other.zone.name()
            && self.chain == other.chain
    }

    /// The date of a decision in the series' zone. It never falls, not even where a clock that is
    /// put back crosses midnight.
    pub(super) fn date(&self, now: Timestamp) -> jiff::civil::Date {
        let date = self.zone.date(now);
        let last = self.last_date.as_deref().and_then(zone::date);
        last.map_or(date, |last| last.max(date))
    }
}
