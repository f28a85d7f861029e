//! `invoices.issue` and `invoices.send`: a draft becomes a document.
//!
//! Invariant: issuing gives the number, freezes lines and totals, books what is owed, all in one
//! commit, on the decision's own date: no parameter backdates it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Invoice, InvoiceReply, Stage, find, put};
use crate::money::series::{self, Series};
use crate::money::{Book, Booking, Decided, MoneyRejection, at_version};
use crate::{AccountId, CivilDate, Command, Draft, IfVersion, Key, Timestamp};

/// Issues a draft.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Issue {
    /// Which invoice.
    pub id: Key,
    /// Only at one of these versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for Issue {
    const NAME: &'static str = "invoices.issue";
    type Reply = InvoiceReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<InvoiceReply> {
        let mut book = Book::open(draft, now);
        let (before, version) = find(&mut book, &self.id)?;
        let series = series::find(&mut book, before.series.as_str())?;
        at_version(self.if_version.as_ref(), version)?;
        before.draft()?;

        issue(&mut book, &self.id, (Self::NAME, &before, &series))?;
        InvoiceReply::of(book, &self.id)
    }
}

/// Notes that an invoice was sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Send {
    /// Which invoice.
    pub id: Key,
    /// Only at one of these versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for Send {
    const NAME: &'static str = "invoices.send";
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

        // Past here it succeeds.
        let invoice = Invoice { sent_at: Some(now), ..(*before).clone() };
        put(&mut book, &self.id, (&before, invoice));
        InvoiceReply::of(book, &self.id)
    }
}

/// Issues a draft: its last tests, then the number and the books.
///
/// # Errors
/// `amount_overflow`, then those of the series.
pub(super) fn issue(
    book: &mut Book<'_, '_>,
    id: &Key,
    (command, before, series): (&'static str, &Invoice, &Series),
) -> Decided<()> {
    let (now, currency) = (book.now, &before.currency);
    let booking = Booking::of(command, currency.clone())
        .debit(AccountId::receivable(currency), before.total, Some(id))
        .credit(AccountId::revenue(currency), before.net, Some(id))
        .credit(AccountId::vat(currency), before.vat, Some(id));
    book.post(booking)?;
    let assigned = series.assign(book, None, id)?;

    // Past here it succeeds.
    let invoice = Invoice {
        stage: Stage::Issued,
        number: Some(assigned.number.clone()),
        due_at: due_at(series, before.due_on),
        issue_date: Some(date_of(series, now)),
        issued_at: Some(now),
        chain: assigned.chain.clone(),
        ..before.clone()
    };
    series::seal(book, &assigned, &frozen(id, &invoice));
    put(book, id, (before, invoice));
    Ok(())
}

/// What of an issued invoice never changes again: the document that a chain hashes.
pub(crate) fn frozen(id: &Key, invoice: &Invoice) -> Value {
    let rate = |rate: &super::RateTotal| json!({ "vat_bp": rate.vat_bp, "net": rate.net, "vat": rate.vat });
    let rates: Vec<Value> = invoice.rates.iter().map(rate).collect();
    json!({
        "document": "invoice",
        "id": id,
        "number": invoice.number,
        "client": invoice.client,
        "currency": invoice.currency,
        "lines": invoice.lines,
        "discount": invoice.discount,
        "rates": rates,
        "net": invoice.net,
        "vat": invoice.vat,
        "total": invoice.total,
        "issue_date": invoice.issue_date,
        "issued_at": invoice.issued_at,
        "due_on": invoice.due_on,
        "chain": invoice.chain,
    })
}

/// The date of a decision in the series' zone.
pub(super) fn date_of(series: &Series, now: Timestamp) -> CivilDate {
    series.date_of(now).parse().expect("each instant has a date in each zone")
}

/// The start of the day after a date, in the series' zone.
pub(super) fn due_at(series: &Series, due_on: CivilDate) -> Timestamp {
    let end = series.end_of_day(&due_on.to_string());
    end.expect("the shape of the command was tested: such a day ends in each zone")
}
