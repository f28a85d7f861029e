//! `invoices.discard` and `invoices.void`: an invoice that is none.
//!
//! Invariant: a discarded draft never had a number; a void invoice keeps its own, and nothing was
//! ever applied to it that still stands. Both stay where they are.

use serde::{Deserialize, Serialize};

use super::{Invoice, InvoiceReply, Stage, find, put};
use crate::money::{Book, Booking, Decided, MoneyRejection, at_version, settings};
use crate::{AccountId, Command, Draft, IfVersion, Key, Timestamp};

/// Throws a draft away.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Discard {
    /// Which invoice.
    pub id: Key,
    /// Only at one of these versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for Discard {
    const NAME: &'static str = "invoices.discard";
    type Reply = InvoiceReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<InvoiceReply> {
        let mut book = Book::open(draft, now);
        let (before, version) = find(&mut book, &self.id)?;
        at_version(self.if_version.as_ref(), version)?;
        before.draft()?;

        // Past here it succeeds.
        let invoice = Invoice { stage: Stage::Discarded { at: now }, ..(*before).clone() };
        put(&mut book, &self.id, (&before, invoice));
        InvoiceReply::of(book, &self.id)
    }
}

/// Takes an issued invoice back, before anything was applied to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Void {
    /// Which invoice.
    pub id: Key,
    /// Why.
    pub reason: Key,
    /// Only at one of these versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for Void {
    const NAME: &'static str = "invoices.void";
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
        if !settings::of(&mut book).void_allowed {
            return Err(MoneyRejection::VoidNotAllowed {});
        }
        let Invoice { amount_paid, credited, written_off, .. } = *before;
        let is_untouched =
            [amount_paid, credited, written_off].iter().all(|applied| applied.is_zero());
        if !is_untouched && !crate::planted!("paid_and_voided") {
            return Err(MoneyRejection::InvoiceNotVoidable { amount_paid, credited, written_off });
        }
        let currency = &before.currency;
        let booking = Booking::of(Self::NAME, currency.clone())
            .debit(AccountId::revenue(currency), before.net, Some(&self.id))
            .debit(AccountId::vat(currency), before.vat, Some(&self.id))
            .credit(AccountId::receivable(currency), before.total, Some(&self.id));
        book.post(booking)?;

        // Past here it succeeds.
        let stage = Stage::Void { at: now, reason: self.reason.clone() };
        put(&mut book, &self.id, (&before, Invoice { stage, ..(*before).clone() }));
        InvoiceReply::of(book, &self.id)
    }
}
