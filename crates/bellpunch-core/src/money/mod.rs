//! Money: accounts, retainers, invoices, payments, refunds, number series, jobs and proposals.
//!
//! Invariant: a partition is one book. Whatever moves money is one command, one transfer whose
//! debits are its credits, one entry of the journal, in one commit; so the accounts of a book sum
//! to nothing in each currency, a bounded one never goes below it, and no balance is ever told that
//! its postings do not explain.
//!
//! To refuse what could have been paid is harmless, it costs a retry. To pay twice, to pay out what
//! is not there, to give a number twice are the mistakes that must not happen. So every rule reads
//! one state, tests it top to bottom, and writes past the line where it can no longer fail; there
//! is no other way to a balance than `Book::post`.

pub mod accounts;
pub mod clients;
mod event;
pub(crate) mod external;
pub mod invoices;
pub mod jobs;
mod ledger;
pub mod payments;
pub mod refunds;
mod rejection;
pub mod retainers;
pub mod series;
pub mod settings;

use crate::{CommandSpec, CurrencyCode, Draft, IfVersion, Version, currencies};

pub use event::Event;
pub use ledger::{
    Account, AccountHold, Booking, Class, HeldBy, HoldStatus, Line, Moved, Posting, PostingView,
    Side, Transfer,
};
pub(crate) use ledger::{Book, open_account};
pub use rejection::MoneyRejection;

/// What a decision about money gives.
pub(crate) type Decided<T> = Result<T, MoneyRejection>;

/// What is so of the records of one state.
///
/// A node that shares its store may know some records as they were before others. What comes of
/// them is thrown away and decided again, so this unwinds without a word on stderr; it is told, as
/// the panic of a rule, only if the store confirms what was read.
pub(crate) trait OfOneState<T> {
    /// What is there, since records of one state agree in it.
    fn of_one_state(self, how: &'static str) -> T;
}

impl<T> OfOneState<T> for Option<T> {
    fn of_one_state(self, how: &'static str) -> T {
        self.unwrap_or_else(|| std::panic::resume_unwind(Box::new(how)))
    }
}

/// The commands about money.
pub(crate) const COMMANDS: &[&[CommandSpec]] = &[
    accounts::COMMANDS,
    clients::COMMANDS,
    invoices::COMMANDS,
    jobs::COMMANDS,
    payments::COMMANDS,
    refunds::COMMANDS,
    retainers::COMMANDS,
    series::COMMANDS,
    settings::COMMANDS,
];

/// Tests that a currency is of ISO 4217 or declared in this book.
pub(crate) fn known_currency(draft: &mut Draft<'_>, currency: &CurrencyCode) -> Decided<()> {
    if currencies::is_known(draft, currency) {
        return Ok(());
    }
    Err(MoneyRejection::UnknownCurrency { currency: currency.clone() })
}

/// Tests that what a command brings is in the currency of the record.
pub(crate) fn same_currency(expected: &CurrencyCode, got: &CurrencyCode) -> Decided<()> {
    if expected == got {
        return Ok(());
    }
    Err(MoneyRejection::CurrencyMismatch { expected: expected.clone(), got: got.clone() })
}

/// Tests the version that a caller named, if it named one.
pub(crate) fn at_version(wanted: Option<&IfVersion>, version: Version) -> Decided<()> {
    match wanted {
        Some(wanted) if !wanted.allows(Some(version)) => {
            Err(MoneyRejection::VersionMismatch { version })
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
