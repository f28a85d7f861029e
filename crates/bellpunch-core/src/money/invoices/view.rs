//! Invoices as callers see them.

use serde::{Deserialize, Serialize};

use super::{InvoiceLine, InvoiceStatus, RateTotal, Stage, find};
use crate::money::series::ChainPlace;
use crate::money::{Book, Decided, MoneyRejection, Moved};
use crate::{CivilDate, Command, CurrencyCode, Draft, Key, Minor, Timestamp, Version};

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
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_off_reason: Option<Key>,
    /// What is left to pay.
    pub balance_due: Minor,
    /// What it is.
    pub status: InvoiceStatus,
    /// Whether something is due past its day.
    pub overdue: bool,
    /// The date of its issue, in the series' zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue_date: Option<CivilDate>,
    /// When it was issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<Timestamp>,
    /// When it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// The day until whose end it is to be paid.
    pub due_on: CivilDate,
    /// The end of that day, in the series' zone.
    pub due_at: Timestamp,
    /// When what was due reached 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid_at: Option<Timestamp>,
    /// When it was discarded or made void.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Why it is void.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Key>,
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
    let (ended_at, reason) = match invoice.stage {
        Stage::Draft | Stage::Issued => (None, None),
        Stage::Discarded { at } => (Some(at), None),
        Stage::Void { at, reason } => (Some(at), Some(reason)),
    };
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
        write_off_reason: invoice.write_off_reason,
        balance_due,
        status,
        overdue,
        issue_date: invoice.issue_date,
        issued_at: invoice.issued_at,
        sent_at: invoice.sent_at,
        due_on: invoice.due_on,
        due_at: invoice.due_at,
        paid_at: invoice.paid_at,
        ended_at,
        reason,
        chain: invoice.chain,
        version,
    })
}

/// What a command on an invoice answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct InvoiceReply {
    /// The invoice after the command.
    pub invoice: InvoiceView,
    /// What it posted and emitted.
    #[serde(flatten)]
    pub moved: Moved,
}

impl InvoiceReply {
    /// What a command answers that wrote this invoice.
    pub(super) fn of(mut book: Book<'_, '_>, id: &Key) -> Decided<Self> {
        let invoice = view(&mut book, id)?;
        Ok(Self { invoice, moved: book.close() })
    }
}

/// Tells how an invoice is now.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// Which one.
    pub id: Key,
}

/// How an invoice is now.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReadReply {
    /// The invoice.
    pub invoice: InvoiceView,
}

impl Command for Read {
    const NAME: &'static str = "invoices.read";
    type Reply = ReadReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<ReadReply> {
        let mut book = Book::look(draft, now);
        Ok(ReadReply { invoice: view(&mut book, &self.id)? })
    }
}
