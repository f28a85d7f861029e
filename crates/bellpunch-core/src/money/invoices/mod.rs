//! Invoices and credit notes: what clients owe, and why.
//!
//! Invariant: an invoice's status is a function of its amounts. Issuing freezes lines and totals;
//! afterwards `balance_due = total - credited - written_off - amount_paid`, never below 0: what
//! would make it negative is refused. `amount_paid` is the sum of its live allocations.

mod allocation;
mod create;
mod credit;
mod credit_note;
mod end;
mod issue;
mod lines;
mod view;
mod worth;
mod write_off;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::series::ChainPlace;
use super::{Book, Decided, MoneyRejection};
use crate::{
    CivilDate, CommandSpec, CurrencyCode, Key, Kind, Minor, Record, RecordId, Timestamp, Version,
};

pub use allocation::{Allocation, AllocationSource};
pub(crate) use allocation::{allocate, release};
pub use create::{Create, Update};
pub use credit::{Credit, CreditLine, CreditReply, Excess};
pub use credit_note::{
    CreditNote, CreditNoteView, CreditedRate, ReadCreditNote, ReadCreditNoteReply,
};
pub use end::{Discard, Void};
pub use issue::{Issue, Send};
pub use lines::{Discount, NewLine};
pub(crate) use view::view;
pub use view::{InvoiceReply, InvoiceView, Read, ReadReply};
pub use write_off::{Reinstate, WriteOff};

/// What an invoice is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum InvoiceStatus {
    /// Not issued; it has no number.
    Draft,
    /// A draft that was thrown away.
    Discarded,
    /// Taken back; its number stays.
    Void,
    /// Nothing is due, because it will not be paid.
    WrittenOff,
    /// Nothing is due.
    Paid,
    /// Some of it was paid.
    Partial,
    /// Nothing of it was paid.
    Issued,
}

/// How far an invoice has come; the rest of its status follows from its amounts.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub(crate) enum Stage {
    Draft,
    Discarded { at: Timestamp },
    Issued,
    Void { at: Timestamp, reason: Key },
}

/// A line of an invoice, as it was computed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct InvoiceLine {
    /// What it is for.
    pub description: Key,
    /// Thousandths: 2.5 hours are 2500.
    pub quantity_milli: u64,
    /// For a whole one.
    pub unit_price: Minor,
    /// In hundredths of a percent: 15 % is 1500.
    pub vat_bp: u64,
    /// Its share of the discount.
    pub discount: Minor,
    /// `unit_price * quantity_milli / 1000`, rounded half up, less its discount.
    pub net: Minor,
}

/// What an invoice has at one rate.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RateTotal {
    /// In hundredths of a percent.
    pub vat_bp: u64,
    /// The lines of this rate.
    pub net: Minor,
    /// Of that net, once.
    pub vat: Minor,
    /// What of the net was credited.
    pub credited_net: Minor,
}

/// An invoice.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invoice {
    pub(crate) stage: Stage,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) number: Option<String>,
    pub(crate) client: Key,
    pub(crate) currency: CurrencyCode,
    /// The series that it is numbered in.
    pub(crate) series: Key,
    pub(crate) lines: Vec<InvoiceLine>,
    /// As it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) asked_discount: Option<Discount>,
    /// The sum of the lines' discounts.
    pub(crate) discount: Minor,
    pub(crate) rates: Vec<RateTotal>,
    pub(crate) net: Minor,
    pub(crate) vat: Minor,
    pub(crate) total: Minor,
    pub(crate) amount_paid: Minor,
    /// With its VAT.
    pub(crate) credited: Minor,
    pub(crate) written_off: Minor,
    /// Why, while something is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) write_off_reason: Option<Key>,
    /// How many allocations it ever had; each has its place in that order.
    pub(crate) allocations: u64,
    /// In the series' zone.
    pub(crate) due_on: CivilDate,
    /// The start of the day after it, there.
    pub(crate) due_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) issue_date: Option<CivilDate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) issued_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sent_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) paid_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) chain: Option<ChainPlace>,
    /// The last payments that were applied, for the event of a possible duplicate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) recent: Vec<RecentPayment>,
    pub(crate) created_at: Timestamp,
}

/// A payment that was applied to an invoice a while ago.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecentPayment {
    pub(crate) payment: Key,
    pub(crate) amount: Minor,
    pub(crate) at: Timestamp,
}

impl Record for Invoice {
    const KIND: Kind = Kind::new("invoices");
}

/// The invoice of this id, and its version.
///
/// # Errors
/// `invoice_not_found`.
pub(crate) fn find(book: &mut Book<'_, '_>, id: &Key) -> Decided<(Arc<Invoice>, Version)> {
    let record = RecordId::from(id);
    let found = book.draft.get::<Invoice>(&record);
    let found = found.ok_or_else(|| MoneyRejection::InvoiceNotFound { id: id.clone() })?;
    Ok((found, book.draft.version::<Invoice>(&record)))
}

impl Invoice {
    /// What is due: nothing, while it is not issued.
    pub(crate) fn balance_due(&self) -> Minor {
        if self.stage != Stage::Issued {
            return Minor::ZERO;
        }
        let taken = [self.credited, self.written_off, self.amount_paid];
        let due = taken.iter().try_fold(self.total, |due, part| due.checked_sub(*part));
        due.expect("no command takes more than is due")
    }

    /// What it is.
    pub(crate) fn status(&self) -> InvoiceStatus {
        match &self.stage {
            Stage::Draft => InvoiceStatus::Draft,
            Stage::Discarded { .. } => InvoiceStatus::Discarded,
            Stage::Void { .. } => InvoiceStatus::Void,
            Stage::Issued if self.balance_due().is_zero() && !self.written_off.is_zero() => {
                InvoiceStatus::WrittenOff
            }
            Stage::Issued if self.balance_due().is_zero() => InvoiceStatus::Paid,
            Stage::Issued if !self.amount_paid.is_zero() => InvoiceStatus::Partial,
            Stage::Issued => InvoiceStatus::Issued,
        }
    }

    /// Whether something is due past its day.
    pub(crate) fn is_overdue(&self, now: Timestamp) -> bool {
        !self.balance_due().is_zero() && self.due_at <= now
    }

    /// Tests that it is a draft.
    ///
    /// # Errors
    /// `invoice_not_draft`.
    pub(crate) fn draft(&self) -> Decided<()> {
        if self.stage == Stage::Draft {
            return Ok(());
        }
        Err(MoneyRejection::InvoiceNotDraft { status: self.status() })
    }

    /// Tests that it takes payments. A paid one does: of nothing (`exceeds_due`).
    ///
    /// # Errors
    /// `invoice_not_payable`.
    pub(crate) fn payable(&self, id: &Key) -> Decided<()> {
        if self.stage == Stage::Issued {
            return Ok(());
        }
        Err(MoneyRejection::InvoiceNotPayable { invoice: id.clone(), status: self.status() })
    }

    /// Tests that it was issued, and is not void.
    ///
    /// # Errors
    /// `invoice_not_issued`.
    pub(crate) fn issued(&self) -> Decided<()> {
        if self.stage == Stage::Issued {
            return Ok(());
        }
        Err(MoneyRejection::InvoiceNotIssued { status: self.status() })
    }

    /// Tests that so much is due.
    ///
    /// # Errors
    /// `exceeds_due`.
    pub(crate) fn owes(&self, id: &Key, amount: Minor) -> Decided<()> {
        let balance_due = self.balance_due();
        if balance_due < amount {
            return Err(MoneyRejection::ExceedsDue { invoice: id.clone(), balance_due });
        }
        Ok(())
    }
}

/// Writes an invoice; what was due, or is no longer, is noted and told. All that changes its
/// amounts comes through here.
pub(crate) fn put(
    book: &mut Book<'_, '_>,
    id: &Key,
    (before, mut invoice): (&Invoice, Invoice),
) -> Version {
    let was_settled = before.stage == Stage::Issued && before.balance_due().is_zero();
    let is_settled = invoice.stage == Stage::Issued && invoice.balance_due().is_zero();
    if is_settled && !was_settled {
        invoice.paid_at = Some(book.now);
        if invoice.status() == InvoiceStatus::Paid {
            let (invoice, amount_paid) = (id.clone(), invoice.amount_paid);
            book.emit(super::Event::InvoicePaid { invoice, amount_paid });
        }
    } else if !is_settled {
        invoice.paid_at = None;
    }
    book.draft.put(&RecordId::from(id), invoice)
}

/// The commands of invoices.
pub(crate) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::change::<Create>().of_money(),
    CommandSpec::change::<Update>().of_money(),
    CommandSpec::change::<Discard>().of_money(),
    CommandSpec::change::<Issue>().of_money(),
    CommandSpec::change::<Send>().of_money(),
    CommandSpec::change::<Void>().of_money(),
    CommandSpec::change::<Credit>().of_money(),
    CommandSpec::change::<WriteOff>().of_money(),
    CommandSpec::change::<Reinstate>().of_money(),
    CommandSpec::read::<Read>().of_money(),
    CommandSpec::read::<ReadCreditNote>().of_money(),
];

#[cfg(test)]
mod tests;
