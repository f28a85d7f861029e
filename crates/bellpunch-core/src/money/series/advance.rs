//! `series.advance`: goes on where another system ended.
//!
//! Invariant: forward only, and a gapless series only before it gave a number itself. What is
//! passed over stands as one record of imported numbers, so that no value is without a record.

use serde::{Deserialize, Serialize};

use super::definition::Definition;
use super::next::NO_SCOPES;
use super::number::{Counter, Number, NumberStatus, Place, VALUE_MAX};
use super::template::Mark;
use super::view::{self, CounterView};
use super::{Overflow, Series, SeriesClass, find};
use crate::money::{Book, Decided, MoneyRejection, Moved, at_version};
use crate::{Command, Draft, IfVersion, Key, RecordId, Timestamp};

/// Imports the last number of a series from another system.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Advance {
    /// The series.
    pub name: Key,
    /// The scope, where each counts apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Key>,
    /// The date fields that its numbers print: `202506`. Empty for a series that prints none.
    pub period: String,
    /// The last value there.
    pub last: u64,
    /// Only at one of these versions of the series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

/// A counter, as it now is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AdvanceReply {
    /// The counter.
    pub counter: CounterView,
    /// What it brought about.
    #[serde(flatten)]
    pub moved: Moved,
}

impl Advance {
    /// Tests what only the series can tell is wrong with the content; gives the counter's place.
    ///
    /// # Errors
    /// `invalid_request`, `scope_required`.
    fn place(&self, series: &Series) -> Decided<Place> {
        let definition = &series.definition;
        let wrong = |field, reason| Err(MoneyRejection::InvalidRequest { field, reason });
        if definition.class == SeriesClass::Opaque {
            return wrong("name", "an opaque series does not count");
        }
        if self.scope.is_some() && !definition.scoped {
            return Err(NO_SCOPES);
        }
        let scope = series.scope(self.scope.as_ref())?;
        if !definition.template.has_period(&self.period) {
            return wrong("period", "must be the date fields that the template prints");
        }
        let max = match definition.overflow {
            Overflow::Widen => VALUE_MAX,
            Overflow::Refuse => definition.template.value_max().unwrap_or(VALUE_MAX),
        };
        if max < self.last {
            return wrong("last", "must be a value that the series can give");
        }
        Ok(Place { series: self.name.clone(), scope, period: self.period.clone() })
    }
}

impl Command for Advance {
    const NAME: &'static str = "series.advance";
    type Reply = AdvanceReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<AdvanceReply> {
        let mut book = Book::open(draft, now);
        let series = find(&mut book, self.name.as_str())?;
        let place = self.place(&series)?;
        let version = book.draft.version::<Definition>(&RecordId::from(&self.name));
        at_version(self.if_version.as_ref(), version)?;
        let Counter { last, given } = series.counter(&mut book, &place);
        if series.definition.class == SeriesClass::Gapless && 0 < given {
            return Err(MoneyRejection::SeriesInUse { last });
        }
        if self.last <= last {
            return Err(MoneyRejection::SeriesCannotMoveBack { last });
        }

        // Past here it succeeds.
        let mark = Mark::Value(self.last);
        let template = &series.definition.template;
        let number = Number {
            text: template.render(&place.period, place.scope.as_ref(), &mark),
            scope: place.scope.clone(),
            period: place.period.clone(),
            value: Some(self.last),
            status: NumberStatus::Imported,
            first: last.checked_add(1),
            document: None,
            elsewhere: true,
            date: None,
            chain: None,
            seq: book.seq,
            at: book.now,
            void: None,
        };
        series.keep(&mut book, None);
        series.count(&mut book, &place, Counter { last: self.last, given });
        book.draft.put_first(&place.number(&mark), number);
        let counter = view::counter(&mut book, &series, place);
        Ok(AdvanceReply { counter, moved: book.close() })
    }
}
