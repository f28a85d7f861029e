//! Money: accounts, retainers, invoices, payments, refunds, numbers, jobs, and the events about
//! them.
//!
//! Invariant: each sum is computed again from records that no command overwrites, or from the other
//! end of what it is about: a balance from its postings, what was paid of an invoice from what
//! payments and consumptions say that they paid.

mod events;
mod invoices;
mod jobs;
mod ledger;
mod numbers;
mod payments;
mod retainers;
mod seals;
mod tickets;

use serde_json::Value;

use super::{Book, Finding, Stored, finding, number, or_unreadable};
use ledger::Ledger;

pub(super) fn check(book: &mut Book) {
    let findings = {
        let book: &Book = book;
        let (ledger, unreadable) = Ledger::of(book);
        [
            unreadable,
            ledger::check(book, &ledger),
            retainers::check(book, &ledger),
            invoices::check(book, &ledger),
            payments::check(book),
            tickets::check(book),
            numbers::check(book),
            jobs::check(book),
            events::check(book, &ledger),
        ]
        .concat()
    };
    book.findings.extend(findings);
}

/// Tests each record of a kind.
fn each<'a>(
    book: &'a Book,
    kind: &str,
    test: impl Fn(&'a Stored) -> Option<Vec<Finding>>,
) -> Vec<Finding> {
    book.all(kind).flat_map(|stored| or_unreadable(stored, test(stored))).collect()
}

/// Reads something of each record of a kind, as far as it is there: where it is not, the test of
/// that kind says so.
fn gather<'a>(book: &'a Book, kind: &str, mut read: impl FnMut(&'a Stored) -> Option<()>) {
    for stored in book.all(kind) {
        let _ = read(stored);
    }
}

/// A sum of minor units, which may be below nothing.
fn signed(value: &Value, name: &str) -> Option<i128> {
    value.get(name)?.as_i64().map(i128::from)
}

/// A sum of minor units.
fn sum(value: &Value, name: &str) -> Option<i128> {
    number(value.get(name)?).and_then(|sum| i128::try_from(sum).ok())
}

/// The names of a compound id; an account is longer than a name may be.
fn names(id: &str, count: usize) -> Option<Vec<&str>> {
    let mut rest = id;
    let mut names = Vec::new();
    for _ in 1..count {
        let (length, tail) = rest.split_once(':')?;
        let (name, after) = tail.split_at_checked(length.parse().ok()?)?;
        names.push(name);
        rest = after;
    }
    names.push(rest);
    Some(names)
}

/// A finding, unless both sums are equal.
fn equal(
    check: &'static str,
    stored: &Stored,
    (expected, found, of): (i128, i128, &str),
) -> Option<Finding> {
    (expected != found)
        .then(|| finding(check, stored, format!("{of} {expected}"), format!("{of} {found}")))
}

/// Adds to a sum of a map.
fn add<K: Ord>(sums: &mut std::collections::BTreeMap<K, i128>, key: K, amount: i128) {
    let sum = sums.entry(key).or_default();
    *sum = sum.saturating_add(amount);
}

#[cfg(test)]
mod tests;
