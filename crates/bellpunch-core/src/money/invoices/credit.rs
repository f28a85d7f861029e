//! `invoices.credit`: a credit note takes back what an issued invoice says, in whole or in part.
//!
//! Invariant: at each rate no more is credited than the invoice has, and the VAT of a credit note
//! is the VAT of all that was credited with it less that of what was credited before. So crediting
//! everything, in whatever slices, gives exactly the invoice's VAT.
//!
//! What was paid of it and is no longer owed goes back where the caller says so: a payment's part
//! becomes unapplied again, a retainer's returns to the retainer, the newest first. Nothing is
//! taken that a refund has set aside, for it would be paid out twice.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::allocation::{at, lower};
use super::credit_note::{CreditNote, CreditNoteView, view_note};
use super::issue::date_of;
use super::lines::{count_fits, fits};
use super::worth::{Asked, Worth};
use super::{AllocationSource, Invoice, InvoiceView, find, put, view};
use crate::money::OfOneState as _;
use crate::money::payments::{self, PaymentView};
use crate::money::retainers::{self, Consumption, RetainerView};
use crate::money::series;
use crate::money::{
    Book, Booking, Decided, MoneyRejection, Moved, at_version, known_currency, same_currency,
};
use crate::{AccountId, Command, Draft, IfVersion, Key, Minor, Money, RecordId, Timestamp};

/// The series of credit notes.
const SERIES: &str = "CRN";

/// How many payments and retainers a credit note gives back to at once: with its own lines they
/// are the 40 of a transfer.
const RELEASED_MAX: u64 = 36;

/// How many of the newest allocations are looked at for what is free.
const LOOKED_AT_MAX: usize = 4_096;

/// What a credit note takes back at a rate.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CreditLine {
    /// Without VAT.
    pub net: Money,
    /// In hundredths of a percent; a rate of the invoice.
    pub vat_bp: u64,
}

/// What happens with what was paid and is no longer owed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Excess {
    /// There must be nothing: no more is credited than is due.
    #[default]
    Refuse,
    /// It goes back to the payments and retainers that it came from.
    Unapplied,
}

/// Credits an issued invoice, by a document of its own.
///
/// ```
/// use bellpunch_core::money::invoices::{Credit, Excess};
/// let credit: Credit = serde_json::from_value(serde_json::json!({
///     "id": "i1", "reason": "returned",
///     "lines": [{"net": {"amount": 50000, "currency": "SAR"}, "vat_bp": 1500}],
/// }))?;
/// assert_eq!(credit.excess, Excess::Refuse);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Credit {
    /// Which invoice.
    pub id: Key,
    /// What is taken back: 1 to 200 lines.
    pub lines: Vec<CreditLine>,
    /// Why.
    pub reason: Key,
    /// What happens with what was paid and is no longer owed.
    #[serde(default)]
    pub excess: Excess,
    /// Only at one of these versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

/// What a credit note brought about.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreditReply {
    /// The credit note.
    pub credit_note: CreditNoteView,
    /// The invoice after it.
    pub invoice: InvoiceView,
    /// The payments that it gave back to.
    #[serde(default)]
    pub payments: Vec<PaymentView>,
    /// The retainers that it gave back to.
    #[serde(default)]
    pub retainers: Vec<RetainerView>,
    /// What it posted and emitted.
    #[serde(flatten)]
    pub moved: Moved,
}

impl Command for Credit {
    const NAME: &'static str = "invoices.credit";
    type Reply = CreditReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<CreditReply> {
        let mut book = Book::open(draft, now);
        self.check_shape(book.draft)?;
        let (invoice, version) = find(&mut book, &self.id)?;
        let series = series::find(&mut book, SERIES)?;
        at_version(self.if_version.as_ref(), version)?;
        invoice.issued()?;
        // What would go back follows from the sums alone, so that a retainer which takes nothing is
        // told before the sums are.
        let asked = Asked::of(&invoice, &self.lines);
        let back = self.planned(&mut book, &invoice, asked.total)?;
        let retainers = takes_back(&mut book, &back)?;
        let mut currencies = self.lines.iter().map(|line| &line.net.currency);
        currencies.try_for_each(|currency| same_currency(&invoice.currency, currency))?;
        let worth = Worth::of(&invoice, &asked)?;
        let released = self.covered(&invoice, (&worth, &back))?;
        let payments = unapply(&mut book, &self.id, &back)?;
        self.post(&mut book, &invoice, (&worth, &back))?;
        few_enough(payments.len().saturating_add(retainers.len()))?;
        let note = book.draft.drawn_key();
        let assigned = series.assign(&mut book, None, &note)?;

        // Past here it succeeds.
        let record = CreditNote {
            number: assigned.number.clone(),
            invoice: self.id.clone(),
            client: invoice.client.clone(),
            currency: invoice.currency.clone(),
            rates: worth.rates.clone(),
            net: worth.net,
            vat: worth.vat,
            total: worth.total,
            released,
            reason: self.reason.clone(),
            issue_date: date_of(&series, now),
            issued_at: now,
            chain: assigned.chain.clone(),
        };
        series::seal(&mut book, &assigned, &record.frozen(&note));
        book.draft.put_first(&RecordId::from(&note), record);
        for part in &back {
            lower(&mut book, (&self.id, part.ordinal), part.amount);
            restore(&mut book, part)?;
        }
        put(&mut book, &self.id, (&invoice, worth.credit(&invoice, released)));
        Ok(CreditReply {
            credit_note: view_note(&mut book, &note)?,
            invoice: view(&mut book, &self.id)?,
            payments: each(&payments, |id| payments::view(&mut book, id))?,
            retainers: each(&retainers, |id| retainers::view(&mut book, id))?,
            moved: book.close(),
        })
    }
}

impl Credit {
    fn check_shape(&self, draft: &mut Draft<'_>) -> Decided<()> {
        count_fits(self.lines.len())?;
        self.lines.iter().try_for_each(|line| fits("lines.vat_bp", line.vat_bp))?;
        let mut currencies = self.lines.iter().map(|line| &line.net.currency);
        currencies.try_for_each(|currency| known_currency(draft, currency))
    }

    /// What goes back if so much is credited: of the newest allocations, as much as the due cannot
    /// take; if there is less than that, all there is.
    fn planned(
        &self,
        book: &mut Book<'_, '_>,
        invoice: &Invoice,
        total: i128,
    ) -> Decided<Vec<Back>> {
        let mut back = Vec::new();
        let mut left = total.saturating_sub(invoice.balance_due().wide());
        if self.excess == Excess::Refuse {
            return Ok(back);
        }
        for ordinal in (1..=invoice.allocations).rev().take(LOOKED_AT_MAX) {
            if left <= 0 {
                break;
            }
            let Some(allocation) = at(book, &self.id, ordinal) else { continue };
            let free = match &allocation.source {
                AllocationSource::Consumption(_) => allocation.amount,
                AllocationSource::Payment(id) => {
                    payments::find(book, id)?.0.free_at(&self.id, ordinal)
                }
            };
            let amount = Minor::from_wide(left).map_or(free, |left| free.min(left));
            left = left.saturating_sub(amount.wide());
            if !amount.is_zero() {
                back.push(Back { ordinal, source: allocation.source.clone(), amount });
            }
        }
        Ok(back)
    }

    /// Tests that the due takes it, but for what goes back; gives how much that is.
    ///
    /// # Errors
    /// `exceeds_due`, `exceeds_allocation`.
    fn covered(&self, invoice: &Invoice, (worth, back): (&Worth, &[Back])) -> Decided<Minor> {
        if self.excess == Excess::Refuse {
            return invoice.owes(&self.id, worth.total).map(|()| Minor::ZERO);
        }
        let (balance_due, free) = (invoice.balance_due(), sum(back)?);
        if balance_due.wide().saturating_add(free.wide()) < worth.total.wide() {
            let allocated = invoice.amount_paid;
            return Err(MoneyRejection::ExceedsAllocation { allocated, free });
        }
        Ok(free)
    }

    /// Books the note: what was earned and owed in tax falls with what the client owes; what it
    /// paid and no longer owes returns to where it came from.
    fn post(
        &self,
        book: &mut Book<'_, '_>,
        invoice: &Invoice,
        (worth, back): (&Worth, &[Back]),
    ) -> Decided<()> {
        let (currency, about) = (&invoice.currency, Some(&self.id));
        let receivable = || AccountId::receivable(currency);
        let mut booking = Booking::of(Self::NAME, currency.clone())
            .debit(AccountId::revenue(currency), worth.net, about)
            .debit(AccountId::vat(currency), worth.vat, about)
            .credit(receivable(), worth.total, about)
            .debit(receivable(), sum(back)?, about);
        for part in gathered(book, back) {
            let (account, from, amount) = match part {
                (AllocationSource::Payment(payment), amount) => {
                    (AccountId::unapplied(&invoice.client, currency), payment, amount)
                }
                (AllocationSource::Consumption(retainer), amount) => {
                    (AccountId::retainer(&retainer), retainer, amount)
                }
            };
            booking = booking.credit(account, amount, Some(&from));
        }
        book.post(booking).map(|_| ())
    }
}

/// A part of an allocation that goes back.
struct Back {
    ordinal: u64,
    source: AllocationSource,
    amount: Minor,
}

fn sum(back: &[Back]) -> Decided<Minor> {
    let sum = back.iter().try_fold(Minor::ZERO, |sum, part| sum.checked_add(part.amount));
    sum.ok_or(MoneyRejection::AmountOverflow {})
}

/// The consumption that paid a part. `None` while it is not loaded: the answer is thrown away.
fn consumption(book: &mut Book<'_, '_>, id: &Key) -> Option<Arc<Consumption>> {
    book.draft.get::<Consumption>(&RecordId::from(id))
}

/// Tests that the retainers take back what came from them; gives which these are.
///
/// # Errors
/// `retainer_refunded`, `retainer_closing`.
fn takes_back(book: &mut Book<'_, '_>, back: &[Back]) -> Decided<Vec<Key>> {
    let mut ids = Vec::new();
    for part in back {
        let AllocationSource::Consumption(id) = &part.source else { continue };
        let consumption = consumption(book, id);
        let consumption =
            consumption.ok_or_else(|| MoneyRejection::ConsumptionNotFound { id: id.clone() })?;
        if !ids.contains(&consumption.retainer) {
            ids.push(consumption.retainer.clone());
        }
    }
    let mut retainers = Vec::with_capacity(ids.len());
    for id in &ids {
        retainers.push(retainers::find(book, id)?.0);
    }
    retainers.iter().try_for_each(|retainer| retainer.not_refunded())?;
    retainers.iter().try_for_each(|retainer| retainer.not_closing())?;
    Ok(ids)
}

/// Makes the payments' parts unapplied again; gives which payments these are.
///
/// # Errors
/// `exceeds_allocation`.
fn unapply(book: &mut Book<'_, '_>, invoice: &Key, back: &[Back]) -> Decided<Vec<Key>> {
    let mut ids = Vec::new();
    for part in back {
        let AllocationSource::Payment(id) = &part.source else { continue };
        payments::unapply_part(book, id, (invoice, part.ordinal), part.amount)?;
        if !ids.contains(id) {
            ids.push(id.clone());
        }
    }
    Ok(ids)
}

/// Gives a retainer back what was consumed of it.
fn restore(book: &mut Book<'_, '_>, part: &Back) -> Decided<()> {
    let AllocationSource::Consumption(id) = &part.source else { return Ok(()) };
    let Some(found) = consumption(book, id) else { return Ok(()) };
    let restored = found.restored.checked_add(part.amount);
    let restored = restored.of_one_state("what is allocated was consumed, and not restored");
    let retainer = found.retainer.clone();
    book.draft.put(&RecordId::from(id), Consumption { restored, ..(*found).clone() });
    retainers::credit(book, &retainer, part.amount).map(|_| ())
}

/// What goes back to each payment and, named instead of the consumption, each retainer.
fn gathered(book: &mut Book<'_, '_>, back: &[Back]) -> Vec<(AllocationSource, Minor)> {
    let mut gathered: Vec<(AllocationSource, Minor)> = Vec::new();
    for part in back {
        let to = match &part.source {
            AllocationSource::Payment(payment) => AllocationSource::Payment(payment.clone()),
            AllocationSource::Consumption(id) => {
                let Some(consumption) = consumption(book, id) else { continue };
                AllocationSource::Consumption(consumption.retainer.clone())
            }
        };
        match gathered.iter_mut().find(|(known, _)| *known == to) {
            Some((_, sum)) => {
                *sum = sum.checked_add(part.amount).expect("parts of what was paid");
            }
            None => gathered.push((to, part.amount)),
        }
    }
    gathered
}

/// Tests that one commit can give back to so many.
///
/// # Errors
/// `too_many_allocations`.
fn few_enough(payments_and_retainers: usize) -> Decided<()> {
    match u64::try_from(payments_and_retainers) {
        Ok(few) if few <= RELEASED_MAX => Ok(()),
        Ok(_) | Err(_) => Err(MoneyRejection::TooManyAllocations { max: RELEASED_MAX }),
    }
}

fn each<T>(ids: &[Key], view: impl FnMut(&Key) -> Decided<T>) -> Decided<Vec<T>> {
    ids.iter().map(view).collect()
}
