//! `invoices.*`, credit notes and payments apart.
//!
//! Invariant: what is due is the total less what was credited, written off and paid, and never
//! less than nothing.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "amounts stay below 2^53, far from the end of an i128"
)]

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Book;
use super::budget::Target;
use super::ledger::{Line, line, system};
use super::series::Link;
use super::totals::{Discount, InvoiceLine, Totals};
use super::value::{Ask, LARGEST, Shown, What, number, plain};
use crate::instant::Nanos;
use crate::model::fields::{Refusal, field, flag, needed, refuse, senseless, text};

const LINES_MAX: usize = 200;
const POINTS_MAX: i128 = 10_000;

/// How far it got.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    Draft,
    Discarded,
    Issued,
    Void,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Invoice {
    pub(super) client: String,
    pub(super) currency: String,
    pub(super) lines: Vec<InvoiceLine>,
    pub(super) discount: Option<Discount>,
    pub(super) totals: Totals,
    pub(super) series: String,
    pub(super) due_on: String,
    pub(super) stage: Stage,
    pub(super) number: Option<String>,
    pub(super) link: Option<Link>,
    pub(super) issue_date: Option<String>,
    pub(super) issued_at: Option<Nanos>,
    pub(super) sent_at: Option<Nanos>,
    pub(super) due_at: Option<Nanos>,
    pub(super) paid_at: Option<Nanos>,
    pub(super) amount_paid: i128,
    pub(super) credited: i128,
    pub(super) written_off: i128,
    /// Credited, by rate, without tax.
    pub(super) credited_nets: BTreeMap<i128, i128>,
    /// The last payments that were to bring something, the oldest first.
    pub(super) equals: Vec<Equal>,
}

/// How many of these an invoice remembers.
pub(super) const EQUALS_MAX: usize = 40;

/// A payment that brought something to an invoice, and how much it was to bring.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Equal {
    pub(super) payment: String,
    pub(super) amount: i128,
    pub(super) at: Nanos,
}

impl Invoice {
    pub(super) const fn due(&self) -> i128 {
        match self.stage {
            Stage::Issued => {
                self.totals.total() - self.credited - self.written_off - self.amount_paid
            }
            Stage::Draft | Stage::Discarded | Stage::Void => 0,
        }
    }

    pub(super) const fn status(&self) -> &'static str {
        match self.stage {
            Stage::Draft => "draft",
            Stage::Discarded => "discarded",
            Stage::Void => "void",
            Stage::Issued if self.due() == 0 && 0 < self.written_off => "written_off",
            Stage::Issued if self.due() == 0 => "paid",
            Stage::Issued if 0 < self.amount_paid => "partial",
            Stage::Issued => "issued",
        }
    }

    pub(super) fn is_draft(&self) -> Result<(), Refusal> {
        match self.stage {
            Stage::Draft => Ok(()),
            Stage::Discarded | Stage::Issued | Stage::Void => {
                refuse("invoice_not_draft", json!({ "status": self.status() }))
            }
        }
    }

    pub(super) fn is_issued(&self) -> Result<(), Refusal> {
        match self.stage {
            Stage::Issued => Ok(()),
            Stage::Discarded | Stage::Draft | Stage::Void => {
                refuse("invoice_not_issued", json!({ "status": self.status() }))
            }
        }
    }

    /// As a reply shows an amount of it.
    pub(super) fn show(&self, minor: i128) -> Value {
        number(minor)
    }
}

/// What a caller says an invoice is.
struct Content {
    lines: Vec<InvoiceLine>,
    currencies: Vec<super::value::Money>,
    discount: Option<Discount>,
}

impl Book {
    pub(super) fn invoice(&self, id: &str) -> Result<&Invoice, Refusal> {
        let invoice = self.invoices.get(id);
        invoice.map_or_else(|| refuse("invoice_not_found", json!({ "id": id })), Ok)
    }

    /// Changes an invoice that is there, and notes whether it was paid before.
    pub(super) fn change_invoice(&mut self, id: &str, change: impl FnOnce(&mut Invoice)) {
        let Some(invoice) = self.invoices.get_mut(id) else { return };
        let was_paid = invoice.stage == Stage::Issued && invoice.due() == 0;
        change(invoice);
        if !self.turn.invoices.iter().any(|(noted, _)| noted == id) {
            self.turn.invoices.push((id.to_owned(), was_paid));
        }
        self.writes("invoices", id);
    }

    /// When it was paid, after a command that moved what is due.
    pub(super) fn invoice_moved(&mut self, (id, was_paid): (&str, bool), at: Nanos) {
        let Some(invoice) = self.invoices.get_mut(id) else { return };
        let is_paid = invoice.stage == Stage::Issued && invoice.due() == 0;
        if is_paid && !was_paid {
            invoice.paid_at = Some(at);
            if invoice.status() == "paid" {
                let paid = invoice.show(invoice.amount_paid);
                self.event("invoice_paid", json!({ "invoice": id, "amount_paid": paid }));
            }
        } else if !is_paid {
            invoice.paid_at = None;
        }
    }

    /// Refuses to pay what asks for nothing yet, or no more.
    pub(super) fn is_payable(&self, id: &str) -> Result<(), Refusal> {
        let invoice = self.invoice(id)?;
        if invoice.stage == Stage::Issued {
            return Ok(());
        }
        refuse("invoice_not_payable", json!({ "invoice": id, "status": invoice.status() }))
    }

    /// Refuses to pay more than is due.
    pub(super) fn is_due(&self, id: &str, amount: i128) -> Result<(), Refusal> {
        let invoice = self.invoice(id)?;
        if amount <= invoice.due() {
            return Ok(());
        }
        let due = invoice.show(invoice.due());
        refuse("exceeds_due", json!({ "invoice": id, "balance_due": due }))
    }

    /// What clients owe for an invoice falls by so much.
    pub(super) fn receivable(&self, id: &str, paid: i128) -> Line {
        let currency = self.invoices.get(id).map(|invoice| invoice.currency.clone());
        let place = system("sys:receivable", &currency.unwrap_or_default());
        Line { about: Some(id.to_owned()), ..line(&place, paid) }
    }

    fn content(ask: &Ask<'_>) -> Result<Option<Content>, Refusal> {
        let discount = discount(ask)?;
        let Some(list) = field(ask.args, "lines") else { return Ok(None) };
        let Some(list) = list.as_array() else { return senseless("lines") };
        if list.is_empty() || LINES_MAX < list.len() {
            return senseless("lines");
        }
        let mut content = Content { lines: Vec::new(), currencies: Vec::new(), discount: None };
        for one in list {
            let of = ask.with(one);
            let Some(price) = of.maybe_zero("unit_price")? else { return senseless("lines") };
            content.lines.push(InvoiceLine {
                description: text(one, "description").unwrap_or_default().to_owned(),
                quantity_milli: plain(one, "quantity_milli", Some(1_000))?,
                unit_price: price.minor,
                vat_bp: plain(one, "vat_bp", Some(0))?,
            });
            content.currencies.push(price);
        }
        content.currencies.extend(discount.as_ref().and_then(|(money, _)| money.clone()));
        content.discount = discount.map(|(_, discount)| discount);
        Ok(Some(content))
    }

    /// What lines come to, in the currency of the invoice.
    fn totals(content: &Content, currency: &str) -> Result<Totals, Refusal> {
        for money in &content.currencies {
            money.is_in(currency)?;
        }
        let Some(totals) = Totals::of(&content.lines, content.discount) else {
            return refuse("discount_exceeds_net", json!({}));
        };
        let beyond = totals.parts.iter().any(|(gross, _)| LARGEST < *gross);
        if beyond || LARGEST < totals.total() {
            return refuse("amount_overflow", json!({}));
        }
        Ok(totals)
    }

    pub(super) fn create_invoice(&mut self, ask: &Ask<'_>) -> Shown {
        let (client, currency) = (needed(ask.args, "client")?, needed(ask.args, "currency")?);
        let due_on = needed(ask.args, "due_on")?.to_owned();
        ask.currencies.know("currency", currency)?;
        let Some(content) = Self::content(ask)? else { return senseless("lines") };
        let issue = flag(ask.args, "issue");
        let series = text(ask.args, "series").unwrap_or("INV").to_owned();
        let id = ask.given_or_drawn("/invoice/id");
        self.client(client)?;
        if self.invoices.contains_key(&id) {
            return refuse("invoice_exists", json!({ "id": id }));
        }
        if issue {
            self.series_is(&series)?;
        }
        self.is_active(client)?;
        let totals = Self::totals(&content, currency)?;
        let mut invoice = Invoice {
            client: client.to_owned(),
            currency: currency.to_owned(),
            lines: content.lines,
            discount: content.discount,
            totals,
            series,
            due_on,
            stage: Stage::Draft,
            number: None,
            link: None,
            issue_date: None,
            issued_at: None,
            sent_at: None,
            due_at: None,
            paid_at: None,
            amount_paid: 0,
            credited: 0,
            written_off: 0,
            credited_nets: BTreeMap::new(),
            equals: Vec::new(),
        };
        if issue {
            self.issue((&id, &mut invoice), ask)?;
        }

        // Past here it succeeds.
        self.invoices.insert(id.clone(), invoice);
        self.writes("invoices", &id);
        Ok(vec![("invoice", What::Invoice(id))])
    }

    /// Numbers an invoice and asks for its total: the last question, and then its effects.
    fn issue(&mut self, (id, invoice): (&str, &mut Invoice), ask: &Ask<'_>) -> Result<(), Refusal> {
        let total = invoice.totals.total();
        let currency = &invoice.currency;
        let owed = system("sys:receivable", currency);
        let lines = vec![
            Line { about: Some(id.to_owned()), ..line(&owed, -total) },
            line(&system("sys:revenue", currency), invoice.totals.net),
            line(&system("sys:vat", currency), invoice.totals.vat),
        ];
        self.ledger.bears(&lines)?;
        let number = self.take_number((&invoice.series, None), id, ask)?;
        self.ledger.move_money(lines, (ask.at, &mut self.turn));
        invoice.stage = Stage::Issued;
        invoice.link = self.link(&invoice.series);
        invoice.number = Some(number);
        invoice.issued_at = Some(ask.at);
        invoice.issue_date = self.date_of(&invoice.series, ask.at).map(|on| on.to_string());
        invoice.due_at = self.end_of_day(&invoice.series, &invoice.due_on);
        if total == 0 {
            self.turn.invoices.push((id.to_owned(), false));
        }
        Ok(())
    }

    pub(super) fn update_invoice(&mut self, ask: &Ask<'_>) -> Shown {
        let id = ask.id()?.to_owned();
        ask.needs_version()?;
        let content = Self::content(ask)?;
        let discount = discount(ask)?;
        let mut invoice = self.invoice(&id)?.clone();
        let client = text(ask.args, "client").unwrap_or(&invoice.client).to_owned();
        self.client(&client)?;
        ask.fits(self.version("invoices", &id))?;
        invoice.is_draft()?;
        self.is_active(&client)?;
        let content = content.unwrap_or_else(|| Content {
            lines: invoice.lines.clone(),
            currencies: discount.iter().filter_map(|(money, _)| money.clone()).collect(),
            discount: discount.as_ref().map(|(_, discount)| *discount).or(invoice.discount),
        });
        let content = Content { discount: content.discount.or(invoice.discount), ..content };
        invoice.totals = Self::totals(&content, &invoice.currency)?;
        invoice.lines = content.lines;
        invoice.discount = content.discount;
        invoice.client = client;
        if let Some(due_on) = text(ask.args, "due_on") {
            due_on.clone_into(&mut invoice.due_on);
        }
        if let Some(series) = text(ask.args, "series") {
            series.clone_into(&mut invoice.series);
        }
        Ok(self.keep_invoice(id, invoice))
    }

    fn keep_invoice(&mut self, id: String, invoice: Invoice) -> Vec<(&'static str, What)> {
        self.change_invoice(&id, |kept| *kept = invoice);
        vec![("invoice", What::Invoice(id))]
    }

    pub(super) fn discard_invoice(&mut self, ask: &Ask<'_>) -> Shown {
        let id = ask.id()?.to_owned();
        let invoice = self.invoice(&id)?.clone();
        ask.fits(self.version("invoices", &id))?;
        invoice.is_draft()?;
        Ok(self.keep_invoice(id, Invoice { stage: Stage::Discarded, ..invoice }))
    }

    pub(super) fn issue_invoice(&mut self, ask: &Ask<'_>) -> Shown {
        let id = ask.id()?.to_owned();
        let mut invoice = self.invoice(&id)?.clone();
        self.series_is(&invoice.series)?;
        ask.fits(self.version("invoices", &id))?;
        invoice.is_draft()?;
        self.issue((&id, &mut invoice), ask)?;
        Ok(self.keep_invoice(id, invoice))
    }

    pub(super) fn send_invoice(&mut self, ask: &Ask<'_>) -> Shown {
        let id = ask.id()?.to_owned();
        let invoice = self.invoice(&id)?.clone();
        ask.fits(self.version("invoices", &id))?;
        invoice.is_issued()?;
        Ok(self.keep_invoice(id, Invoice { sent_at: Some(ask.at), ..invoice }))
    }

    pub(super) fn void_invoice(&mut self, ask: &Ask<'_>) -> Shown {
        let id = ask.id()?.to_owned();
        needed(ask.args, "reason")?;
        let invoice = self.invoice(&id)?.clone();
        ask.fits(self.version("invoices", &id))?;
        invoice.is_issued()?;
        if !self.settings.void_allowed {
            return refuse("void_not_allowed", json!({}));
        }
        let Invoice { amount_paid, credited, written_off, .. } = invoice;
        if (amount_paid, credited, written_off) != (0, 0, 0) {
            return refuse(
                "invoice_not_voidable",
                json!({ "amount_paid": invoice.show(amount_paid),
                        "credited": invoice.show(credited),
                        "written_off": invoice.show(written_off) }),
            );
        }

        // Past here it succeeds.
        let (net, vat) = (invoice.totals.net, invoice.totals.vat);
        let lines = vec![
            line(&system("sys:revenue", &invoice.currency), -net),
            line(&system("sys:vat", &invoice.currency), -vat),
            self.receivable(&id, net + vat),
        ];
        self.ledger.move_money(lines, (ask.at, &mut self.turn));
        Ok(self.keep_invoice(id, Invoice { stage: Stage::Void, ..invoice }))
    }

    /// Write off and reinstate.
    pub(super) fn write_off_invoice(&mut self, ask: &Ask<'_>) -> Shown {
        let id = ask.id()?.to_owned();
        let writes_off = ask.cmd == "invoices.write_off";
        if writes_off {
            needed(ask.args, "reason")?;
        }
        let invoice = self.invoice(&id)?.clone();
        ask.fits(self.version("invoices", &id))?;
        invoice.is_issued()?;
        let change = if writes_off { invoice.due() } else { -invoice.written_off };
        if change == 0 {
            let code = if writes_off { "nothing_due" } else { "nothing_written_off" };
            return refuse(code, json!({}));
        }

        // Past here it succeeds.
        let place = system("sys:written_off", &invoice.currency);
        let lines = vec![line(&place, -change), self.receivable(&id, change)];
        self.ledger.move_money(lines, (ask.at, &mut self.turn));
        let written_off = invoice.written_off + change;
        Ok(self.keep_invoice(id, Invoice { written_off, ..invoice }))
    }

    /// What holds of every invoice.
    pub(super) fn check_invoices(&self) -> Result<(), String> {
        for (id, invoice) in &self.invoices {
            let broken = |what: &str| Err(format!("V4: invoice {id}: {what}"));
            let target = Target::Invoice(id.clone());
            let paid: i128 = self.allocations_to(&target).map(|one| one.amount).sum();
            if paid != invoice.amount_paid {
                return broken("its payments are not what was paid");
            }
            let notes = self.notes.values().filter(|note| note.invoice == *id);
            if notes.map(|note| note.net + note.vat).sum::<i128>() != invoice.credited {
                return broken("its credit notes are not what was credited");
            }
            let posted = self.ledger.postings.iter();
            let owed: i128 = posted
                .filter(|line| line.place.0.starts_with("sys:receivable:"))
                .filter(|line| line.about.as_deref() == Some(id))
                .map(|line| -line.change)
                .sum();
            if invoice.due() < 0 || owed != invoice.due() {
                return broken("what is due is not what was posted");
            }
            if Totals::of(&invoice.lines, invoice.discount).as_ref() != Some(&invoice.totals) {
                return broken("its totals do not follow from its lines");
            }
        }
        Ok(())
    }
}

type Asked = (Option<super::value::Money>, Discount);

fn discount(ask: &Ask<'_>) -> Result<Option<Asked>, Refusal> {
    let Some(discount) = field(ask.args, "discount") else { return Ok(None) };
    let of = ask.with(discount);
    match (of.maybe_zero("amount")?, field(discount, "bp")) {
        (Some(money), None) => {
            let discount = Discount::Amount(money.minor);
            Ok(Some((Some(money), discount)))
        }
        (None, Some(_)) => match plain(discount, "bp", None)? {
            points if points <= POINTS_MAX => Ok(Some((None, Discount::BasisPoints(points)))),
            _ => senseless("discount"),
        },
        (Some(_), Some(_)) | (None, None) => senseless("discount"),
    }
}
