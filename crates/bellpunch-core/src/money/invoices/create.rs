//! `invoices.create` and `invoices.update`: drafts, and their lines.
//!
//! Invariant: a draft has no number and moves nothing, so it may be changed as a whole. Whatever it
//! says was computed from its lines in the same command.

use serde::{Deserialize, Serialize};

use super::issue::{due_at, issue};
use super::lines::{
    Discount, NewLine, Totals, check_currencies, check_discount, check_lines, day_fits,
};
use super::{Invoice, InvoiceReply, Stage, find};
use crate::money::{Book, Decided, MoneyRejection, at_version, clients, known_currency, series};
use crate::{
    CivilDate, Command, CurrencyCode, Draft, IfVersion, Key, Minor, MoneyOrZero, RecordId,
    Timestamp,
};

/// The series of invoices that name no other.
const SERIES: &str = "INV";

/// Makes an invoice: a draft, or issued at once.
///
/// ```
/// use bellpunch_core::{command, money::invoices::Create};
/// let content = serde_json::json!({
///     "client": "c1", "currency": "SAR", "due_on": "2025-07-15",
///     "lines": [{
///         "description": "advice", "quantity_milli": 2500,
///         "unit_price": {"amount": 33333, "currency": "SAR"}, "vat_bp": 1500,
///     }],
///     "discount": {"bp": 1250},
/// });
/// let create: Create = serde_json::from_value(content.clone())?;
/// assert!(!create.issue && create.lines.len() == 1);
/// let parse = command("invoices.create").expect("it is in the table").parse;
/// assert!(parse(content).is_ok());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// Its id; drawn at random if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Key>,
    /// Who owes.
    pub client: Key,
    /// Of all its sums.
    pub currency: CurrencyCode,
    /// What it is for: 1 to 200 lines.
    pub lines: Vec<NewLine>,
    /// What is taken off all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discount: Option<Discount>,
    /// The day until whose end it is to be paid, in the series' zone.
    pub due_on: CivilDate,
    /// Issue it at once.
    #[serde(default)]
    pub issue: bool,
    /// The series that numbers it when it is issued; INV if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<Key>,
}

impl Command for Create {
    const NAME: &'static str = "invoices.create";
    type Reply = InvoiceReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<InvoiceReply> {
        let mut book = Book::open(draft, now);
        check_lines(&self.lines)?;
        check_discount(self.discount.as_ref())?;
        day_fits(self.due_on)?;
        known_currency(book.draft, &self.currency)?;
        check_currencies(book.draft, &self.lines, self.discount.as_ref())?;
        let client = clients::find(&mut book, &self.client)?;
        let id = self.id.clone().unwrap_or_else(|| book.draft.drawn_key());
        if book.draft.get::<Invoice>(&RecordId::from(&id)).is_some() {
            return Err(MoneyRejection::InvoiceExists { id });
        }
        let name = self.series.clone().unwrap_or_else(own_series);
        // A draft needs no series yet.
        let series = self.issue.then(|| series::find(&mut book, name.as_str())).transpose()?;
        client.is_open()?;
        let totals = Totals::of(&self.currency, &self.lines, self.discount.as_ref())?;

        let content = Content {
            client: self.client.clone(),
            currency: self.currency.clone(),
            series: name,
            discount: self.discount.clone(),
            due_on: self.due_on,
            totals,
        };
        let invoice = content.drawn_up(&mut book, now)?;
        match &series {
            Some(series) => issue(&mut book, &id, (Self::NAME, &invoice, series))?,
            None => {
                book.draft.put(&RecordId::from(&id), invoice);
            }
        }
        InvoiceReply::of(book, &id)
    }
}

/// Changes a draft: what is named is set, all else stays.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// Which invoice.
    pub id: Key,
    /// Only at one of these versions. Required: this command writes values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
    /// Who owes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Key>,
    /// Of all its sums; another one needs new lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<CurrencyCode>,
    /// All its lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<Vec<NewLine>>,
    /// What is taken off all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discount: Option<Discount>,
    /// The day until whose end it is to be paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_on: Option<CivilDate>,
    /// The series that numbers it when it is issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<Key>,
}

impl Update {
    fn check_shape(&self, draft: &mut Draft<'_>) -> Decided<()> {
        if let Some(lines) = &self.lines {
            check_lines(lines)?;
        }
        check_discount(self.discount.as_ref())?;
        self.due_on.map_or(Ok(()), day_fits)?;
        if let Some(currency) = &self.currency {
            known_currency(draft, currency)?;
        }
        let lines = self.lines.as_deref().unwrap_or_default();
        check_currencies(draft, lines, self.discount.as_ref())?;
        if self.if_version.is_none() {
            return Err(MoneyRejection::IfVersionRequired {});
        }
        Ok(())
    }

    /// What the draft then adds up to. Its lines, left as they are, stay in their currency.
    fn totals(&self, before: &Invoice) -> Decided<(CurrencyCode, Option<Discount>, Totals)> {
        let currency = self.currency.as_ref().unwrap_or(&before.currency);
        let discount = self.discount.as_ref().or(before.asked_discount.as_ref());
        let kept;
        let lines = match &self.lines {
            Some(lines) => lines,
            None => {
                kept = asked_lines(before);
                &kept
            }
        };
        let totals = Totals::of(currency, lines, discount)?;
        Ok((currency.clone(), discount.cloned(), totals))
    }
}

impl Command for Update {
    const NAME: &'static str = "invoices.update";
    type Reply = InvoiceReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<InvoiceReply> {
        let mut book = Book::open(draft, now);
        self.check_shape(book.draft)?;
        let (before, version) = find(&mut book, &self.id)?;
        let client_id = self.client.as_ref().unwrap_or(&before.client);
        let client = clients::find(&mut book, client_id)?;
        at_version(self.if_version.as_ref(), version)?;
        before.draft()?;
        client.is_open()?;
        let (currency, discount, totals) = self.totals(&before)?;

        // Past here it succeeds.
        let content = Content {
            client: client_id.clone(),
            currency,
            series: self.series.as_ref().unwrap_or(&before.series).clone(),
            discount,
            due_on: self.due_on.unwrap_or(before.due_on),
            totals,
        };
        let invoice = content.drawn_up(&mut book, before.created_at)?;
        book.draft.put(&RecordId::from(&self.id), invoice);
        InvoiceReply::of(book, &self.id)
    }
}

/// What a draft says.
struct Content {
    client: Key,
    currency: CurrencyCode,
    series: Key,
    discount: Option<Discount>,
    due_on: CivilDate,
    totals: Totals,
}

impl Content {
    /// The draft. Where its series is not defined yet it is due in the zone of the one that every
    /// book has; its issue needs its own, and says it again.
    fn drawn_up(self, book: &mut Book<'_, '_>, created_at: Timestamp) -> Decided<Invoice> {
        let Self { client, currency, series, discount, due_on, totals } = self;
        let found = series::find(book, series.as_str()).or_else(|_| series::find(book, SERIES))?;
        let due_at = due_at(&found, due_on);
        Ok(Invoice {
            stage: Stage::Draft,
            number: None,
            client,
            currency,
            series,
            lines: totals.lines,
            asked_discount: discount,
            discount: totals.discount,
            rates: totals.rates,
            net: totals.net,
            vat: totals.vat,
            total: totals.total,
            amount_paid: Minor::ZERO,
            credited: Minor::ZERO,
            written_off: Minor::ZERO,
            write_off_reason: None,
            allocations: 0,
            due_on,
            due_at,
            issue_date: None,
            issued_at: None,
            sent_at: None,
            paid_at: None,
            chain: None,
            recent: Vec::new(),
            created_at,
        })
    }
}

fn own_series() -> Key {
    Key::new(SERIES).expect("the name of a series is a name")
}

/// The lines of a draft as they were asked for.
fn asked_lines(invoice: &Invoice) -> Vec<NewLine> {
    let line = |line: &super::InvoiceLine| NewLine {
        description: line.description.clone(),
        quantity_milli: line.quantity_milli,
        unit_price: MoneyOrZero { amount: line.unit_price, currency: invoice.currency.clone() },
        vat_bp: line.vat_bp,
    };
    invoice.lines.iter().map(line).collect()
}
