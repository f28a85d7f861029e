//! Number series: gapless, unique or opaque numbers of documents.
//!
//! Invariant: a number is assigned in the commit that makes its document, from a counter keyed by
//! series, scope and period, and the scope of the counter is the scope of uniqueness. A failed
//! commit leaves neither document nor number. Nothing ever frees one.
//!
//! Why not count the documents: a count repeats after a delete, and two counts at once are one
//! number. Why not a random number: of four digits, two of 119 are the same half of the time.

mod advance;
mod chain;
mod chains;
mod define;
mod definition;
mod next;
mod number;
mod template;
mod view;
mod zone;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Book, Decided, Event, MoneyRejection};
use crate::{CommandSpec, Digest, Key, RecordId, Timestamp};
pub use advance::{Advance, AdvanceReply};
use chain::ChainDocument;
pub use chain::SealMode;
pub(crate) use chain::seal;
pub use chains::{ChainReply, ChainShown, Define as DefineChain, Read as ReadChain, Seal};
pub use define::{Define, Read, SeriesReply, SeriesShown};
use definition::Definition;
pub(crate) use definition::find;
pub use definition::{Overflow, SeriesClass};
pub use next::{Next, NumberReply, NumberShown, Read as ReadNumber, Void};
pub use number::NumberStatus;
use number::{Counter, Number, Place, VALUE_MAX};
use template::Mark;
pub use view::{ChainView, CounterView, NumberView, SeriesView};
pub(crate) use zone::Zone;

/// The place of a document in its chain.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ChainPlace {
    /// Which chain.
    pub chain: Key,
    /// From 1 on, without gap, in the order of commits.
    pub counter: u64,
    /// The hash of the document before; the chain's genesis of the first.
    pub prev_hash: Digest,
}

/// A number that was assigned.
#[derive(Clone, Debug)]
pub(crate) struct Assigned {
    /// Its text.
    pub(crate) number: String,
    /// Where the document stands, if the series is bound to a chain.
    pub(crate) chain: Option<ChainPlace>,
    /// Where the number is.
    id: RecordId,
}

/// A series that was found.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    name: Key,
    definition: Definition,
    /// Whether it is written down: defined by the book, or in use.
    is_stored: bool,
}

/// Where a document is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Keeper {
    /// In this book.
    Book,
    /// By somebody else, so that it may never come.
    Elsewhere,
}

/// What a number will be.
#[derive(Debug)]
struct Drawn {
    place: Place,
    mark: Mark,
    counter: Option<Counter>,
}

impl Series {
    /// The date of a decision in the series' zone, as `2025-06-15`.
    pub(crate) fn date_of(&self, now: Timestamp) -> String {
        self.definition.date(now).to_string()
    }

    /// The start of the day after a date, in the series' zone; `None` if the text is no date, or
    /// the instant is beyond the year 9999.
    pub(crate) fn end_of_day(&self, date: &str) -> Option<Timestamp> {
        self.definition.zone.end_of_day(zone::date(date)?)
    }

    /// Gives the next number to a document of this book, in this commit.
    ///
    /// # Errors
    /// `scope_required`, `series_exhausted`, `chain_unsealed`: the last tests of a rule.
    pub(crate) fn assign(
        &self,
        book: &mut Book<'_, '_>,
        scope: Option<&Key>,
        document: &Key,
    ) -> Decided<Assigned> {
        let scope = self.scope(scope)?;
        self.assign_to(book, scope, (document, Keeper::Book))
    }

    /// The scope that the series counts in: none, if it has no scopes.
    ///
    /// # Errors
    /// `scope_required`.
    fn scope(&self, scope: Option<&Key>) -> Decided<Option<Key>> {
        match (self.definition.scoped, scope) {
            (false, _) => Ok(None),
            (true, Some(scope)) => Ok(Some(scope.clone())),
            (true, None) => Err(MoneyRejection::ScopeRequired { series: self.name.clone() }),
        }
    }

    /// Gives the next number of this scope.
    ///
    /// # Errors
    /// `series_exhausted`, `chain_unsealed`.
    fn assign_to(
        &self,
        book: &mut Book<'_, '_>,
        scope: Option<Key>,
        (document, keeper): (&Key, Keeper),
    ) -> Decided<Assigned> {
        let definition = &self.definition;
        let drawn = self.draw(book, scope)?;
        let chain = match &definition.chain {
            Some(name) => Some(chain::next(book, name, document)?),
            None => None,
        };

        // Past here it succeeds.
        let Drawn { place, mark, counter } = drawn;
        let date = self.date_of(book.now);
        let text = definition.template.render(&place.period, place.scope.as_ref(), &mark);
        self.keep(book, Some(&date));
        if let Some(counter) = counter {
            self.count(book, &place, counter);
        }
        let id = place.number(&mark);
        let number = Number {
            text: text.clone(),
            scope: place.scope.clone(),
            period: place.period.clone(),
            value: mark.value(),
            status: NumberStatus::Used,
            first: None,
            document: Some(document.clone()),
            elsewhere: keeper == Keeper::Elsewhere,
            date: Some(date),
            chain: chain.as_ref().map(|(_, place)| place.clone()),
            seq: book.seq,
            at: book.now,
            void: None,
        };
        book.draft.put_first(&id, number);
        let chain = chain.map(|(chain, at)| {
            let document = ChainDocument {
                document: document.clone(),
                series: self.name.clone(),
                number: text.clone(),
                prev_hash: at.prev_hash,
                hash: None,
                at: book.now,
                sealed_at: None,
            };
            chain::append(book, (chain, &at), document);
            at
        });
        Ok(Assigned { number: text, chain, id })
    }

    /// What the next number of a scope is.
    ///
    /// # Errors
    /// `series_exhausted`.
    fn draw(&self, book: &mut Book<'_, '_>, scope: Option<Key>) -> Decided<Drawn> {
        let definition = &self.definition;
        let period = definition.template.period(definition.date(book.now));
        let place = Place { series: self.name.clone(), scope, period };
        if definition.class == SeriesClass::Opaque {
            let mark = Mark::Random(random(book));
            return Ok(Drawn { place, mark, counter: None });
        }
        let Counter { last, given } = self.counter(book, &place);
        let max = match definition.overflow {
            Overflow::Widen => VALUE_MAX,
            Overflow::Refuse => definition.template.value_max().unwrap_or(VALUE_MAX),
        };
        let next = last.checked_add(1).filter(|&next| next <= max);
        let mut next = next.ok_or(MoneyRejection::SeriesExhausted { last })?;
        if crate::planted!("number_left_out") && next.checked_rem(4) == Some(0) {
            next = next.saturating_add(1);
        }
        if crate::planted!("number_given_twice") && next.checked_rem(4) == Some(0) {
            next = last;
        }
        let counter = Some(Counter { last: next, given: given.saturating_add(1) });
        Ok(Drawn { place, mark: Mark::Value(next), counter })
    }

    /// The counter of a place, as all that came before left it.
    fn counter(&self, book: &mut Book<'_, '_>, place: &Place) -> Counter {
        let found = book.draft.get::<Counter>(&place.counter());
        let before = Counter { last: self.definition.start.saturating_sub(1), given: 0 };
        found.map_or(before, |found| (*found).clone())
    }

    /// Writes a counter, and tells when its width is nearly used up.
    fn count(&self, book: &mut Book<'_, '_>, place: &Place, counter: Counter) {
        let before = self.counter(book, place).last;
        let last = counter.last;
        book.draft.put(&place.counter(), counter);
        let Some(max) = self.definition.template.value_max() else { return };
        // 8 of 10 of what the width has: of 9,999 that is 8,000.
        let nearly = |value: u64| max.saturating_mul(8) <= value.saturating_mul(10);
        if nearly(last) && !nearly(before) {
            book.emit(Event::SeriesNearlyFull { series: self.name.clone(), last, max });
        }
    }

    /// Writes the series down, if it is not yet, and the date of its last number.
    fn keep(&self, book: &mut Book<'_, '_>, date: Option<&str>) {
        let last_date = date.map(str::to_owned).or_else(|| self.definition.last_date.clone());
        if self.is_stored && self.definition.last_date == last_date {
            return;
        }
        let definition = Definition { last_date, ..self.definition.clone() };
        book.draft.put(&RecordId::from(&self.name), definition);
    }
}

/// 128 bits in hex, random as the id that they are made from, and telling nothing of it: an id
/// stands beside its record, a number on paper.
fn random(book: &mut Book<'_, '_>) -> String {
    let drawn = book.draft.drawn_key();
    let hash = Digest::new(Sha256::digest(drawn.as_str()).into()).to_string();
    hash.chars().take(32).collect()
}

/// The commands of series and chains.
pub(crate) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::change::<Define>().of_money(),
    CommandSpec::change::<Next>().of_money(),
    CommandSpec::change::<Void>().of_money(),
    CommandSpec::change::<Advance>().of_money(),
    CommandSpec::read::<Read>().of_money(),
    CommandSpec::read::<ReadNumber>().of_money(),
    CommandSpec::change::<DefineChain>().of_money(),
    CommandSpec::change::<Seal>().of_money(),
    CommandSpec::read::<ReadChain>().of_money(),
];

#[cfg(test)]
mod tests;
