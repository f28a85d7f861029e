//! Invoices and credit notes: what clients owe, and why.
//!
//! Invariant: an invoice's status is a function of its amounts. Issuing freezes lines and totals;
//! afterwards `balance_due = total - credited - written_off - amount_paid`, never below 0: what
//! would make it negative is refused. `amount_paid` is the sum of its live allocations.

mod allocation;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::series::ChainPlace;
use super::{Book, Decided, MoneyRejection};
use crate::{CommandSpec, CurrencyCode, Key, Kind, Minor, Record, RecordId, Timestamp, Version};

pub use allocation::{Allocation, AllocationSource};
pub(crate) use allocation::{allocate, newest_first, release};

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
    /// How many allocations it ever had; each has its place in that order.
    pub(crate) allocations: u64,
    /// The civil date, as `2025-06-15`, in the series' zone.
    pub(crate) due_on: String,
    /// The start of the day after it, there.
    pub(crate) due_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) issue_date: Option<String>,
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
    /// What is due.
    pub(crate) fn balance_due(&self) -> Minor {
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
        self.stage == Stage::Issued && !self.balance_due().is_zero() && self.due_at <= now
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

/// An invoice as callers see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct InvoiceView {
    /// Its id.
    pub id: Key,
    /// Its number, from its issue on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    /// Who owes.
    pub client: Key,
    /// Of all its sums.
    pub currency: CurrencyCode,
    /// As they were computed.
    pub lines: Vec<InvoiceLine>,
    /// The sum of the lines' discounts.
    pub discount: Minor,
    /// Net and VAT of each rate.
    pub rates: Vec<RateTotal>,
    /// Without VAT.
    pub net: Minor,
    /// The VAT of all rates.
    pub vat: Minor,
    /// Net and VAT.
    pub total: Minor,
    /// What payments and retainers have paid.
    pub amount_paid: Minor,
    /// What its credit notes took off.
    pub credited: Minor,
    /// What will not be paid.
    pub written_off: Minor,
    /// What is left to pay.
    pub balance_due: Minor,
    /// What it is.
    pub status: InvoiceStatus,
    /// Whether something is due past its day.
    pub overdue: bool,
    /// The date of its issue, in the series' zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue_date: Option<String>,
    /// When it was issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<Timestamp>,
    /// When it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// The day until whose end it is to be paid.
    pub due_on: String,
    /// The end of that day, in the series' zone.
    pub due_at: Timestamp,
    /// When what was due reached 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid_at: Option<Timestamp>,
    /// Its place in the chain of its series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<ChainPlace>,
    /// Rises with every change.
    pub version: Version,
}

/// An invoice as it is now, in this command's eyes.
///
/// # Errors
/// `invoice_not_found`.
pub(crate) fn view(book: &mut Book<'_, '_>, id: &Key) -> Decided<InvoiceView> {
    let (found, version) = find(book, id)?;
    let (balance_due, status) = (found.balance_due(), found.status());
    let overdue = found.is_overdue(book.now);
    let invoice = (*found).clone();
    Ok(InvoiceView {
        id: id.clone(),
        number: invoice.number,
        client: invoice.client,
        currency: invoice.currency,
        lines: invoice.lines,
        discount: invoice.discount,
        rates: invoice.rates,
        net: invoice.net,
        vat: invoice.vat,
        total: invoice.total,
        amount_paid: invoice.amount_paid,
        credited: invoice.credited,
        written_off: invoice.written_off,
        balance_due,
        status,
        overdue,
        issue_date: invoice.issue_date,
        issued_at: invoice.issued_at,
        sent_at: invoice.sent_at,
        due_on: invoice.due_on,
        due_at: invoice.due_at,
        paid_at: invoice.paid_at,
        chain: invoice.chain,
        version,
    })
}

/// The commands of invoices.
pub(crate) const COMMANDS: &[CommandSpec] = &[];
