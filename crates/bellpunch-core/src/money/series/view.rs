//! Series, numbers and chains as callers see them.

use serde::{Deserialize, Serialize};

use super::chain::{self, Chain};
use super::definition::Definition;
use super::number::{self, Counter, Number, NumberStatus, Place};
use super::{ChainPlace, Overflow, SealMode, Series, SeriesClass};
use crate::money::{Book, Decided, MoneyRejection};
use crate::{Digest, Key, RecordId, Timestamp, Version};

/// A series.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SeriesView {
    /// Its name.
    pub id: Key,
    /// What its numbers look like.
    pub template: String,
    /// What it promises of them.
    pub class: SeriesClass,
    /// Where its days begin.
    pub zone: String,
    /// Whether each scope counts apart.
    pub scoped: bool,
    /// The first value of each scope and period.
    pub start: u64,
    /// What it does with more numbers than its width has.
    pub overflow: Overflow,
    /// The chain that its documents belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<Key>,
    /// The last date that a number was given on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_date: Option<String>,
    /// Rises with every change; 0 of a series that every book has, while nobody used it.
    pub version: Version,
}

/// A series as it is now, in this command's eyes.
///
/// # Errors
/// `series_not_found`.
pub(super) fn series(book: &mut Book<'_, '_>, name: &Key) -> Decided<SeriesView> {
    let Series { name, definition, .. } = super::find(book, name.as_str())?;
    let version = book.draft.version::<Definition>(&RecordId::from(&name));
    Ok(SeriesView {
        id: name,
        template: definition.template.to_string(),
        class: definition.class,
        zone: definition.zone.to_string(),
        scoped: definition.scoped,
        start: definition.start,
        overflow: definition.overflow,
        chain: definition.chain,
        last_date: definition.last_date,
        version,
    })
}

/// The counter of a series in one scope and period.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CounterView {
    /// Whose it is.
    pub series: Key,
    /// Of which scope, if each counts apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Key>,
    /// The date fields that its numbers print.
    pub period: String,
    /// The last value given or imported.
    pub last: u64,
    /// How many were given here, beside those imported.
    pub given: u64,
    /// Rises with every change.
    pub version: Version,
}

/// A counter as it is now, in this command's eyes.
pub(super) fn counter(book: &mut Book<'_, '_>, series: &Series, place: Place) -> CounterView {
    let Counter { last, given } = series.counter(book, &place);
    let version = book.draft.version::<Counter>(&place.counter());
    let Place { series, scope, period } = place;
    CounterView { series, scope, period, last, given, version }
}

/// A number that was given; or, imported, all from `first` to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NumberView {
    /// Where it stands: in order of its value within series, scope and period.
    pub id: String,
    /// Its text.
    pub number: String,
    /// Of which series.
    pub series: Key,
    /// Of which scope, if each counts apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Key>,
    /// The date fields that its text prints.
    pub period: String,
    /// Its place there. An opaque one has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<u64>,
    /// What it is.
    pub status: NumberStatus,
    /// The first of those that were imported with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// Which document has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Key>,
    /// The date it was given on, in the series' zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// The place of its document in the chain of its series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<ChainPlace>,
    /// The entry of the journal.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Since when it is void.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub void_at: Option<Timestamp>,
    /// Why it is void.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub void_reason: Option<Key>,
    /// Rises with every change.
    pub version: Version,
}

/// A number as it is now, in this command's eyes.
///
/// # Errors
/// `number_not_found`.
pub(super) fn number(book: &mut Book<'_, '_>, id: &RecordId) -> Decided<NumberView> {
    let not_found = || MoneyRejection::NumberNotFound { number: id.as_str().to_owned() };
    let found = book.draft.get::<Number>(id).ok_or_else(not_found)?;
    let version = book.draft.version::<Number>(id);
    let series = number::series_of(id).ok_or_else(not_found)?;
    let number = (*found).clone();
    let (void_at, void_reason) = number.void.map(|void| (void.at, void.reason)).unzip();
    Ok(NumberView {
        id: id.as_str().to_owned(),
        number: number.text,
        series,
        scope: number.scope,
        period: number.period,
        value: number.value,
        status: number.status,
        first: number.first,
        document: number.document,
        date: number.date,
        chain: number.chain,
        seq: number.seq,
        at: number.at,
        void_at,
        void_reason,
        version,
    })
}

/// A chain.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ChainView {
    /// Its name.
    pub id: Key,
    /// What its first document carries.
    pub genesis_hash: Digest,
    /// Who hashes its documents.
    pub seal: SealMode,
    /// The counter of the last document; 0 before the first.
    pub counter: u64,
    /// The last document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Key>,
    /// What the next document carries; absent while the last one waits for its seal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_prev_hash: Option<Digest>,
    /// Rises with every change.
    pub version: Version,
}

/// A chain as it is now, in this command's eyes.
///
/// # Errors
/// `chain_not_found`.
pub(super) fn chain(book: &mut Book<'_, '_>, name: &Key) -> Decided<ChainView> {
    let Chain { genesis_hash, seal, counter, document, head, .. } = chain::find(book, name)?;
    let version = book.draft.version::<Chain>(&RecordId::from(name));
    let next_prev_hash = if document.is_some() { head } else { Some(genesis_hash) };
    let id = name.clone();
    Ok(ChainView { id, genesis_hash, seal, counter, document, next_prev_hash, version })
}
