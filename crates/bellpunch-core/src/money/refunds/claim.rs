//! What a refund and a dispute have in common: the tests of what is asked back, what is set aside
//! while it is pending, and how its sources are reversed.
//!
//! Invariant: what is set aside is free before and nobody's after; what is reversed was taken out of
//! the payment in the same commit. So refunds and disputes, pending and done, are at most what came.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Source;
use crate::money::OfOneState as _;
use crate::money::invoices::{self, InvoiceView};
use crate::money::ledger::HOLDS_MAX;
use crate::money::payments::{self, Destination, Listed, Only, Payment, Purse, Reach, Target};
use crate::money::retainers::{self, RetainerView};
use crate::money::{
    AccountHold, Book, Booking, Decided, HeldBy, HoldStatus, MoneyRejection, at_version, external,
    same_currency,
};
use crate::{AccountId, CurrencyCode, IfVersion, Key, Minor, MinorUnits, Money, RecordId};

/// What is asked back of a payment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim<'a> {
    pub(super) payment: &'a Key,
    pub(super) amount: Option<&'a Money>,
    pub(super) sources: Option<&'a [Destination]>,
    /// The collection and the id of the outside.
    pub(super) external: (&'static str, Option<&'a Key>),
    pub(super) if_version: Option<&'a IfVersion>,
    pub(super) reach: Reach,
}

/// What can be given back.
#[derive(Clone, Debug)]
pub(super) struct Claimed {
    pub(super) payment: Arc<Payment>,
    pub(super) amount: MinorUnits,
    pub(super) sources: Vec<Source>,
}

impl Claim<'_> {
    /// The tests, in their order.
    ///
    /// # Errors
    /// `sources_mismatch`, `payment_not_found`, `source_not_found`, `external_id_in_use`,
    /// `version_mismatch`, `payment_not_completed`, `currency_mismatch`, `exceeds_refundable` or
    /// `exceeds_free`, `exceeds_source`.
    pub(super) fn check(&self, book: &mut Book<'_, '_>) -> Decided<Claimed> {
        let listed = self.check_shape(book)?;
        let (payment, version) = payments::find(book, self.payment)?;
        let mut purse = Purse::open(book, &payment, self.reach);
        for part in listed.iter().flat_map(|listed| &listed.parts) {
            if !purse.has(part.target.as_ref()) {
                return Err(MoneyRejection::SourceNotFound { source: name(part.target.as_ref()) });
            }
        }
        let (collection, external_id) = self.external;
        external::is_free(book, (collection, external_id), None)?;
        at_version(self.if_version, version)?;
        payment.completed()?;
        if let Some(amount) = self.amount {
            same_currency(&payment.currency, &amount.currency)?;
        }
        if let Some(listed) = &listed {
            listed.are_in(&payment.currency)?;
        }
        let free = purse.free(Only::All);
        let requested = self.amount.map_or(free, |amount| amount.amount.into());
        if let Some(listed) = &listed {
            // With an amount this was seen at the start.
            adds_up(listed, requested)?;
        }
        let amount = requested.positive().filter(|_| requested <= free);
        let amount = amount.ok_or_else(|| self.exceeds(free, requested, payment.held()))?;
        let sources = match &listed {
            None => purse.take(Only::All, requested),
            Some(listed) => named(&mut purse, listed)?,
        };
        Ok(Claimed { payment, amount, sources })
    }

    fn check_shape(&self, book: &mut Book<'_, '_>) -> Decided<Option<Listed>> {
        let beside = self.amount.map(|amount| &amount.currency);
        let listed = Listed::read(book, "sources", self.sources.unwrap_or_default(), beside)?;
        if self.sources.is_none() {
            return Ok(None);
        }
        if let Some(amount) = self.amount {
            adds_up(&listed, amount.amount.into())?;
        }
        Ok(Some(listed))
    }

    fn exceeds(&self, free: Minor, requested: Minor, pending: Minor) -> MoneyRejection {
        match self.reach {
            Reach::Available => {
                MoneyRejection::ExceedsRefundable { refundable: free, requested, pending }
            }
            Reach::Spent => MoneyRejection::ExceedsFree { free, pending },
        }
    }
}

fn adds_up(listed: &Listed, amount: Minor) -> Decided<()> {
    if listed.sum == amount {
        return Ok(());
    }
    Err(MoneyRejection::SourcesMismatch { sum: listed.sum, amount })
}

/// Takes from the sources that were named.
fn named(purse: &mut Purse, listed: &Listed) -> Decided<Vec<Source>> {
    let mut sources = Vec::new();
    for part in &listed.parts {
        let (target, amount) = (part.target.as_ref(), Minor::from(part.amount));
        let free = purse.free(Only::From(target));
        if free < amount {
            return Err(MoneyRejection::ExceedsSource { source: name(target), free });
        }
        sources.extend(purse.take(Only::From(target), amount));
    }
    Ok(sources)
}

fn name(target: Option<&Target>) -> Key {
    match target {
        Some(target) => target.id().clone(),
        None => Key::new("unapplied").expect("it is a name"),
    }
}

/// What sources take of each retainer's account.
fn of_retainers(sources: &[Source]) -> BTreeMap<&Key, Minor> {
    let mut amounts = BTreeMap::new();
    for source in sources {
        let Some(retainer) = &source.retainer else { continue };
        let amount: &mut Minor = amounts.entry(retainer).or_default();
        let there = source.amount.checked_sub(source.spent).expect("what was spent is part of it");
        *amount = amount.checked_add(there).expect("sources are at most the payment's amount");
    }
    amounts
}

/// Sets sources aside until the outside has decided: in the payment, and as holds on the accounts of
/// retainers. Gives the holds.
///
/// # Errors
/// `too_many_holds`.
pub(super) fn set_aside(
    book: &mut Book<'_, '_>,
    (id, claimed): (&Key, &Claimed),
    by: &HeldBy,
) -> Decided<Vec<Key>> {
    let mut holds = Vec::new();
    let currency = &claimed.payment.currency;
    for (retainer, amount) in of_retainers(&claimed.sources) {
        let Some(amount) = amount.positive() else { continue };
        let account_id = AccountId::retainer(retainer);
        let mut account = book.own_account(&account_id, currency);
        if HOLDS_MAX <= account.holds_open(book.now) {
            let max = u64::try_from(HOLDS_MAX).expect("it is small");
            return Err(MoneyRejection::TooManyHolds { max });
        }
        let hold = book.draft.drawn_key();
        account.hold(hold.clone(), (amount, None), book.now);
        book.put_account(&account_id, account);
        let record = AccountHold {
            account: account_id,
            amount,
            currency: currency.clone(),
            expires_at: None,
            status: HoldStatus::Open,
            made_at: book.now,
            ended_at: None,
            by: by.clone(),
            reference: None,
            transfer: None,
        };
        book.draft.put_first(&RecordId::from(&hold), record);
        holds.push(hold);
        retainers::touch(book, retainer)?;
    }
    let mut payment = (*claimed.payment).clone();
    payment.set_aside(&claimed.sources);
    payment.assert_budget();
    book.draft.put(&RecordId::from(id), payment);
    Ok(holds)
}

/// Frees what holds have set aside on accounts; how they ended is written with [`end_holds`], for
/// their transfer is known later.
pub(super) fn release_holds(book: &mut Book<'_, '_>, holds: &[Key]) {
    for id in holds {
        let hold = book.draft.get::<AccountHold>(&RecordId::from(id));
        let Some(hold) = hold else { continue };
        let mut account = book.own_account(&hold.account, &hold.currency);
        account.release(id);
        book.put_account(&hold.account, account);
    }
}

/// Writes how holds ended: captured by a transfer, or voided.
pub(super) fn end_holds(book: &mut Book<'_, '_>, holds: &[Key], transfer: Option<&Key>) {
    let status = if transfer.is_some() { HoldStatus::Captured } else { HoldStatus::Voided };
    for id in holds {
        let record = RecordId::from(id);
        let Some(hold) = book.draft.get::<AccountHold>(&record) else { continue };
        let (ended_at, transfer) = (Some(book.now), transfer.cloned());
        book.draft.put(&record, AccountHold { status, ended_at, transfer, ..(*hold).clone() });
    }
}

/// Ends a set-aside in the payment: its sources are free again, and what was held on retainers is
/// available there.
pub(super) fn lift(book: &mut Book<'_, '_>, id: &Key, sources: &[Source]) -> Decided<()> {
    for (retainer, amount) in of_retainers(sources) {
        if !amount.is_zero() {
            retainers::touch(book, retainer)?;
        }
    }
    let (payment, _) = payments::find(book, id)?;
    let mut payment = (*payment).clone();
    payment.lift(sources);
    payment.assert_budget();
    book.draft.put(&RecordId::from(id), payment);
    Ok(())
}

/// Why money goes back.
#[derive(Clone, Copy, Debug)]
pub(super) enum Back {
    /// We gave it.
    Refunded,
    /// The bank took it.
    Lost,
}

/// Reverses sources that are free: books it, and writes the payment, its invoices and its retainers.
/// Gives the transfer. `about`: the wire name of the command, and the refund or dispute.
///
/// # Errors
/// `amount_overflow`.
pub(super) fn reverse(
    book: &mut Book<'_, '_>,
    (id, sources): (&Key, &[Source]),
    (command, about): (&'static str, &Key),
    back: Back,
) -> Decided<Option<Key>> {
    let (payment, _) = payments::find(book, id)?;
    let transfer = book.post(booking(&payment, sources, (command, about)))?;
    for source in sources {
        if let Some(invoice) = &source.invoice {
            invoices::release(book, (invoice, source.ordinal), source.amount)?;
        }
    }
    for (retainer, amount) in of_retainers(sources) {
        if !amount.is_zero() {
            retainers::debit(book, retainer, amount)?;
        }
    }
    let mut payment = (*payment).clone();
    payment.take_out(sources);
    let sum = sources.iter().try_fold(Minor::ZERO, |sum, source| sum.checked_add(source.amount));
    let total = match back {
        Back::Refunded => &mut payment.refunded,
        Back::Lost => &mut payment.lost,
    };
    let raised = sum.and_then(|sum| total.checked_add(sum));
    *total = raised.of_one_state("what goes back is at most the payment's amount");
    payment.assert_budget();
    book.draft.put(&RecordId::from(id), payment);
    Ok(transfer)
}

/// The transfer of what goes back: each source against cash.
fn booking(
    payment: &Payment,
    sources: &[Source],
    (command, about): (&'static str, &Key),
) -> Booking {
    let currency: &CurrencyCode = &payment.currency;
    let mut booking = Booking::of(command, currency.clone());
    booking.reference = Some(about.clone());
    let mut total = Minor::ZERO;
    for source in sources {
        total = total.checked_add(source.amount).expect("sources are at most the payment's amount");
        let there = source.amount.checked_sub(source.spent).expect("what was spent is part of it");
        booking = match source.target() {
            Some(Target::Invoice(invoice)) => {
                booking.debit(AccountId::receivable(currency), there, Some(&invoice))
            }
            Some(Target::Retainer(retainer)) => booking
                .debit(AccountId::retainer(&retainer), there, Some(about))
                .debit(AccountId::dispute_losses(currency), source.spent, Some(about)),
            None => {
                booking.debit(AccountId::unapplied(&payment.client, currency), there, Some(about))
            }
        };
    }
    booking.credit(AccountId::cash(currency), total, Some(about))
}

/// The invoices and retainers of sources, as the command leaves them.
pub(super) fn targets(
    book: &mut Book<'_, '_>,
    sources: &[Source],
) -> Decided<(Vec<InvoiceView>, Vec<RetainerView>)> {
    let invoices: BTreeSet<&Key> = sources.iter().filter_map(|one| one.invoice.as_ref()).collect();
    let retainers: BTreeSet<&Key> =
        sources.iter().filter_map(|one| one.retainer.as_ref()).collect();
    let invoices =
        invoices.into_iter().map(|id| invoices::view(book, id)).collect::<Decided<_>>()?;
    let retainers = retainers.into_iter().map(|id| retainers::view(book, id));
    Ok((invoices, retainers.collect::<Decided<_>>()?))
}
