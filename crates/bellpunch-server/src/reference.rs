//! What every code means: for `detail`, for `/problems/{code}` and for the generated reference.

use bellpunch_core::{DataSchema, Stage, currencies, limits, money, tickets, uploads};

use crate::problem::ERRORS;

/// Stage, code and meaning, in order of precedence.
pub(crate) type Table = &'static [(Stage, &'static str, &'static str)];

/// The rejections of each domain, in order of precedence.
pub(crate) const DOMAINS: &[(&str, Table)] = &[
    ("limits", limits::Rejection::TABLE),
    ("tickets", tickets::TicketRejection::TABLE),
    ("uploads", uploads::UploadRejection::TABLE),
    ("money", money::MoneyRejection::TABLE),
    ("currencies", currencies::CurrencyRejection::TABLE),
];

/// A sentence on what a code means.
pub(crate) fn meaning(code: &str) -> Option<&'static str> {
    let error = ERRORS.iter().find(|(name, ..)| *name == code).map(|(_, _, text)| *text);
    error.or_else(|| {
        let mut rejections = DOMAINS.iter().flat_map(|(_, table)| table.iter());
        rejections.find(|(_, name, _)| *name == code).map(|(_, _, text)| text.trim())
    })
}

/// Whether a code says that there is not enough left.
pub(crate) fn is_limit(code: &str) -> bool {
    let mut rejections = DOMAINS.iter().flat_map(|(_, table)| table.iter());
    rejections.any(|(stage, name, _)| *name == code && *stage == Stage::Limit)
}

/// Whether a code says "no" to money alone: with what sums, times and names it does is told in its
/// `detail`. Limits and tickets have sentences of their own.
pub(crate) fn is_of_the_book(code: &str) -> bool {
    let has = |table: Table| table.iter().any(|(_, name, _)| *name == code);
    has(money::MoneyRejection::TABLE)
        && !has(limits::Rejection::TABLE)
        && !has(uploads::UploadRejection::TABLE)
}

/// A domain's way to describe the data of its codes.
type Describe = fn(&mut schemars::SchemaGenerator) -> Vec<(&'static str, DataSchema)>;

/// The data of the rejections of each domain.
pub(crate) const DATA: &[Describe] = &[
    limits::Rejection::data_schemas,
    tickets::TicketRejection::data_schemas,
    uploads::UploadRejection::data_schemas,
    money::MoneyRejection::data_schemas,
    currencies::CurrencyRejection::data_schemas,
];

#[cfg(test)]
mod tests;
