//! `payments.complete`: the money is there, and goes where it was sent.
//!
//! Invariant: a payment completes once, whatever the key, with all of its destinations or none. What
//! a destination cannot take refuses the whole, unless the caller said that it may stay unapplied.

use serde::{Deserialize, Serialize};

use super::destination::{Found, Listed, may_take};
use super::{
    Destination, DestinationView, Part, Payment, PaymentStatus, PaymentView, Planned, Target,
    duplicate, find, sum, view,
};
use crate::money::invoices::{self, AllocationSource, InvoiceView};
use crate::money::retainers::{self, RetainerView};
use crate::money::{
    Book, Booking, Decided, MoneyRejection, Moved, at_version, external, same_currency,
};
use crate::{AccountId, Command, Draft, IfVersion, Key, Minor, Money, RecordId, Timestamp};

/// What becomes of money that a destination cannot take.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Overpayment {
    /// Nothing completes.
    #[default]
    Refuse,
    /// It stays with the payment, as the client's credit.
    Unapplied,
}

/// Completes a payment, once.
///
/// ```
/// use bellpunch_core::money::payments::{Complete, Overpayment};
/// let complete: Complete = serde_json::from_str(r#"{"id": "p1"}"#)?;
/// assert_eq!(complete.overpayment, Overpayment::Refuse);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Complete {
    /// Which one.
    pub id: Key,
    /// How much came: refused if that is not the payment's amount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    /// Where it goes, in place of what was said before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destinations: Option<Vec<Destination>>,
    /// What becomes of money that a destination cannot take.
    #[serde(default)]
    pub overpayment: Overpayment,
    /// What the outside calls it, in place of what was said before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<Key>,
    /// Only at one of these versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

/// A payment that completed, and what it went to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CompletedReply {
    /// The payment.
    pub payment: PaymentView,
    /// The invoices that it paid.
    pub invoices: Vec<InvoiceView>,
    /// The retainers that it filled.
    pub retainers: Vec<RetainerView>,
    /// What a destination could not take, and stays unapplied.
    pub diverted: Vec<DestinationView>,
    /// What was posted and told.
    #[serde(flatten)]
    pub moved: Moved,
}

impl Complete {
    /// The tests of the content by itself; gives the destinations that it names.
    fn check_shape(&self, book: &mut Book<'_, '_>) -> Decided<Option<Listed>> {
        let (list, amount) = (self.destinations.as_deref(), self.amount.as_ref());
        let beside = amount.map(|amount| &amount.currency);
        let listed = Listed::read(book, "destinations", list.unwrap_or_default(), beside)?;
        if list.is_none() {
            return Ok(None);
        }
        if let Some(amount) = &self.amount {
            listed.are_all_of(amount.amount.into())?;
        }
        Ok(Some(listed))
    }

    /// The tests of amounts, but of what targets can take.
    fn check_amount(&self, payment: &Payment, listed: Option<&Listed>) -> Decided<()> {
        if let Some(amount) = &self.amount {
            same_currency(&payment.currency, &amount.currency)?;
        }
        listed.map_or(Ok(()), |listed| listed.are_in(&payment.currency))
    }
}

impl Command for Complete {
    const NAME: &'static str = "payments.complete";
    type Reply = CompletedReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<CompletedReply> {
        let mut book = Book::open(draft, now);
        let listed = self.check_shape(&mut book)?;
        let (payment, version) = find(&mut book, &self.id)?;
        if let (Some(listed), None) = (&listed, &self.amount) {
            listed.are_all_of(payment.amount.into())?;
        }
        let planned = listed.as_ref().map_or(&payment.destinations, |listed| &listed.parts);
        let targets = Found::all(&mut book, planned)?;
        let external_id = self.external_id.as_ref();
        external::is_free(&mut book, ("payments", external_id), Some(&self.id))?;
        targets.iter().flatten().try_for_each(|target| target.is_of(&payment.client))?;
        at_version(self.if_version.as_ref(), version)?;
        if !crate::planted!("completed_again") {
            payment.is_pending()?;
        }
        if planned.is_empty() {
            return Err(MoneyRejection::DestinationsRequired {});
        }
        if self.overpayment == Overpayment::Refuse {
            may_take(&book, targets.iter().flatten())?;
        }
        self.check_amount(&payment, listed.as_ref())?;
        targets.iter().flatten().try_for_each(|target| target.is_in(&payment.currency))?;
        if self.amount.as_ref().is_some_and(|amount| amount.amount != payment.amount) {
            return Err(MoneyRejection::AmountMismatch { expected: payment.amount.into() });
        }
        let shares = shares(&book, (planned, &targets), self.overpayment)?;

        // Past here only a sum above the largest can refuse it.
        let mut payment = Payment { destinations: planned.clone(), ..(*payment).clone() };
        if let Some(external_id) = external_id {
            if let Some(earlier) = payment.external_id.replace(external_id.clone()) {
                external::free(&mut book, "payments", &earlier);
            }
            external::claim(&mut book, ("payments", external_id), &self.id);
        }
        settle(&mut book, (&self.id, payment), &shares, Self::NAME)?;
        reply(book, &self.id, &shares)
    }
}

/// What a destination gets of what it was to get.
#[derive(Clone, Debug)]
pub(super) struct Share {
    target: Option<Target>,
    planned: Minor,
    taken: Minor,
}

impl Share {
    fn diverted(&self) -> Minor {
        self.planned.checked_sub(self.taken).expect("a destination takes at most what was planned")
    }
}

/// What each destination takes: all, or what it can if the rest may stay unapplied.
///
/// # Errors
/// `exceeds_due`.
pub(super) fn shares(
    book: &Book<'_, '_>,
    (planned, targets): (&[Planned], &[Option<Found>]),
    overpayment: Overpayment,
) -> Decided<Vec<Share>> {
    let share = |(part, found): (&Planned, &Option<Found>)| {
        let planned = Minor::from(part.amount);
        let taken = match (found, overpayment) {
            (Some(Found::Invoice(id, invoice)), Overpayment::Refuse) => {
                invoice.owes(id, planned).map(|()| planned)?
            }
            (Some(Found::Invoice(id, invoice)), Overpayment::Unapplied) => {
                let due = invoice.payable(id).map_or(Minor::ZERO, |()| invoice.balance_due());
                due.min(planned)
            }
            (Some(Found::Retainer(retainer)), _) => {
                retainer.takes_money(book.now).map_or(Minor::ZERO, |()| planned)
            }
            (None, _) => planned,
        };
        Ok(Share { target: part.target.clone(), planned, taken })
    };
    planned.iter().zip(targets).map(share).collect()
}

/// Completes a payment that may: books it and writes it, its invoices and its retainers.
///
/// # Errors
/// `amount_overflow`.
pub(super) fn settle(
    book: &mut Book<'_, '_>,
    (id, mut payment): (&Key, Payment),
    shares: &[Share],
    command: &'static str,
) -> Decided<()> {
    let booking = booking((id, &payment), shares, command);
    payment.unapplied = unapplied(shares);
    book.post(booking)?;
    for share in shares {
        place(book, (id, &mut payment), share)?;
    }
    payment.status = PaymentStatus::Completed;
    payment.completed = Some((book.now, book.seq));
    payment.assert_budget();
    book.draft.put(&RecordId::from(id), payment);
    Ok(())
}

/// What stays unapplied: what was to, and what was diverted.
fn unapplied(shares: &[Share]) -> Minor {
    sum(shares.iter().map(|share| match share.target {
        Some(_) => share.diverted(),
        None => share.taken,
    }))
}

/// The transfer of a payment that completes.
pub(super) fn booking(
    (id, payment): (&Key, &Payment),
    shares: &[Share],
    command: &'static str,
) -> Booking {
    let currency = &payment.currency;
    let mut booking = Booking::of(command, currency.clone());
    booking.reference = Some(id.clone());
    booking = booking.debit(AccountId::cash(currency), payment.amount.into(), Some(id));
    for share in shares {
        booking = match &share.target {
            Some(Target::Invoice(invoice)) => {
                booking.credit(AccountId::receivable(currency), share.taken, Some(invoice))
            }
            Some(Target::Retainer(retainer)) => {
                booking.credit(AccountId::retainer(retainer), share.taken, Some(id))
            }
            None => booking,
        };
    }
    let credit = AccountId::unapplied(&payment.client, currency);
    booking.credit(credit, unapplied(shares), Some(id))
}

/// Puts one share where it goes.
fn place(
    book: &mut Book<'_, '_>,
    (id, payment): (&Key, &mut Payment),
    share: &Share,
) -> Decided<()> {
    if let Some(Target::Invoice(invoice)) = &share.target {
        duplicate::tell(book, invoice, (id, share.planned))?;
    }
    if share.taken.is_zero() {
        return Ok(());
    }
    let Some(target) = &share.target else { return Ok(()) };
    put_part(book, (id, payment), target, share.taken)?;
    if let Target::Invoice(invoice) = target {
        duplicate::note(book, invoice, (id, share.planned))?;
    }
    Ok(())
}

/// Adds a part of a payment to a target that takes it, on both sides.
pub(super) fn put_part(
    book: &mut Book<'_, '_>,
    (id, payment): (&Key, &mut Payment),
    target: &Target,
    amount: Minor,
) -> Decided<()> {
    let ordinal = match target {
        Target::Invoice(invoice) => {
            let source = AllocationSource::Payment(id.clone());
            invoices::allocate(book, invoice, (source, amount))?
        }
        Target::Retainer(retainer) => {
            let (found, _) = retainers::find(book, retainer)?;
            if let Some(ends_at) = found.ends_at {
                book.draft.commit_before(ends_at);
            }
            retainers::credit(book, retainer, amount)?;
            payment.next_ordinal(retainer)
        }
    };
    payment.parts.push(Part { target: target.clone(), ordinal, amount, set_aside: Minor::ZERO });
    Ok(())
}

/// The payment and what it went to, as the command leaves them.
pub(super) fn reply(mut book: Book<'_, '_>, id: &Key, shares: &[Share]) -> Decided<CompletedReply> {
    let payment = view(&mut book, id)?;
    let (mut invoices, mut retainers, mut diverted) = (Vec::new(), Vec::new(), Vec::new());
    for share in shares {
        match &share.target {
            Some(Target::Invoice(id)) if !share.taken.is_zero() => {
                invoices.push(invoices::view(&mut book, id)?);
            }
            Some(Target::Retainer(id)) if !share.taken.is_zero() => {
                retainers.push(retainers::view(&mut book, id)?);
            }
            Some(_) | None => {}
        }
        if !share.diverted().is_zero() {
            diverted.push(DestinationView::of(share.target.as_ref(), share.diverted()));
        }
    }
    Ok(CompletedReply { payment, invoices, retainers, diverted, moved: book.close() })
}
