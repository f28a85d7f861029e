//! `invoices.write_off` and `invoices.reinstate`: what will not be paid, and is owed after all.
//!
//! Invariant: what is written off is all that was due then, so nothing more is due; reinstating
//! makes all of it due again.

use serde::{Deserialize, Serialize};

use super::{Invoice, InvoiceReply, find, put};
use crate::money::{Book, Booking, Decided, MoneyRejection, at_version};
use crate::{AccountId, Command, Draft, IfVersion, Key, Minor, Timestamp};

/// Gives up all that is due.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WriteOff {
    /// Which invoice.
    pub id: Key,
    /// Why.
    pub reason: Key,
    /// Only at one of these versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for WriteOff {
    const NAME: &'static str = "invoices.write_off";
    type Reply = InvoiceReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<InvoiceReply> {
        let mut book = Book::open(draft, now);
        let (before, version) = find(&mut book, &self.id)?;
        at_version(self.if_version.as_ref(), version)?;
        before.issued()?;
        let due = before.balance_due();
        if due.is_zero() {
            return Err(MoneyRejection::NothingDue {});
        }
        let currency = &before.currency;
        let booking = Booking::of(Self::NAME, currency.clone())
            .debit(AccountId::written_off(currency), due, Some(&self.id))
            .credit(AccountId::receivable(currency), due, Some(&self.id));
        book.post(booking)?;

        // Past here it succeeds.
        let written_off = before.written_off.checked_add(due);
        let invoice = Invoice {
            written_off: written_off.expect("what is due is part of the total"),
            write_off_reason: Some(self.reason.clone()),
            ..(*before).clone()
        };
        put(&mut book, &self.id, (&before, invoice));
        InvoiceReply::of(book, &self.id)
    }
}

/// Makes what was written off due again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Reinstate {
    /// Which invoice.
    pub id: Key,
    /// Only at one of these versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for Reinstate {
    const NAME: &'static str = "invoices.reinstate";
    type Reply = InvoiceReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<InvoiceReply> {
        let mut book = Book::open(draft, now);
        let (before, version) = find(&mut book, &self.id)?;
        at_version(self.if_version.as_ref(), version)?;
        before.issued()?;
        let back = before.written_off;
        if back.is_zero() {
            return Err(MoneyRejection::NothingWrittenOff {});
        }
        let currency = &before.currency;
        let booking = Booking::of(Self::NAME, currency.clone())
            .debit(AccountId::receivable(currency), back, Some(&self.id))
            .credit(AccountId::written_off(currency), back, Some(&self.id));
        book.post(booking)?;

        // Past here it succeeds.
        let (written_off, write_off_reason) = (Minor::ZERO, None);
        let invoice = Invoice { written_off, write_off_reason, ..(*before).clone() };
        put(&mut book, &self.id, (&before, invoice));
        InvoiceReply::of(book, &self.id)
    }
}
