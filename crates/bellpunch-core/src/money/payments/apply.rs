//! `payments.apply` and `payments.unapply`: a completed payment finds its place late, or loses it.
//!
//! Invariant: both move what is free between the payment's unapplied and one target, on both sides
//! and in one transfer. What refunds and disputes have set aside stays where it is.

use serde::{Deserialize, Serialize};

use super::complete::put_part;
use super::destination::{Found, may_take, too_many};
use super::{
    DESTINATIONS_MAX, Only, Payment, PaymentView, Purse, Reach, Target, duplicate, find, view,
};
use crate::money::invoices::{self, InvoiceView};
use crate::money::refunds::Source;
use crate::money::retainers::{self, RetainerView};
use crate::money::{
    Book, Booking, Decided, MoneyRejection, Moved, at_version, known_currency, same_currency,
};
use crate::{AccountId, Command, Draft, IfVersion, Key, Minor, Money, RecordId, Timestamp};

/// Applies unapplied credit of a payment.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Apply {
    /// Which payment.
    pub id: Key,
    /// To which invoice or retainer.
    pub to: Target,
    /// How much.
    pub amount: Money,
    /// Only at one of these versions of the payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

/// A payment and the one target that a command moved.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AppliedReply {
    /// The payment.
    pub payment: PaymentView,
    /// The invoice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invoice: Option<InvoiceView>,
    /// Or the retainer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retainer: Option<RetainerView>,
    /// What was posted and told.
    #[serde(flatten)]
    pub moved: Moved,
}

impl Command for Apply {
    const NAME: &'static str = "payments.apply";
    type Reply = AppliedReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<AppliedReply> {
        let mut book = Book::open(draft, now);
        known_currency(book.draft, &self.amount.currency)?;
        let (payment, version) = find(&mut book, &self.id)?;
        let found = Found::find(&mut book, &self.to)?;
        found.is_of(&payment.client)?;
        at_version(self.if_version.as_ref(), version)?;
        payment.completed()?;
        may_take(&book, std::iter::once(&found))?;
        same_currency(&payment.currency, &self.amount.currency)?;
        found.is_in(&payment.currency)?;
        let amount = Minor::from(self.amount.amount);
        let unapplied = payment.unapplied_free();
        if unapplied < amount {
            return Err(MoneyRejection::ExceedsUnapplied { unapplied });
        }
        if let Found::Invoice(id, invoice) = &found {
            invoice.owes(id, amount)?;
        }
        let credit = AccountId::unapplied(&payment.client, &payment.currency);
        let booking = Booking::of(Self::NAME, payment.currency.clone());
        let booking = booking.debit(credit, amount, Some(&self.id));
        let (account, about) = account_of(&self.to, (&self.id, &payment));
        let mut booking = booking.credit(account, amount, Some(about));
        booking.reference = Some(self.id.clone());
        book.can_post(&booking)?;
        if DESTINATIONS_MAX <= payment.parts.len() {
            return Err(too_many());
        }

        // Past here it succeeds.
        book.post(booking)?;
        let mut payment = (*payment).clone();
        payment.take_out(&[Source { amount, ..Source::at(None, 0) }]);
        if let Target::Invoice(invoice) = &self.to {
            duplicate::tell(&mut book, invoice, (&self.id, amount))?;
        }
        put_part(&mut book, (&self.id, &mut payment), &self.to, amount)?;
        if let Target::Invoice(invoice) = &self.to {
            duplicate::note(&mut book, invoice, (&self.id, amount))?;
        }
        payment.assert_budget();
        book.draft.put(&RecordId::from(&self.id), payment);
        reply(book, &self.id, &self.to)
    }
}

/// Takes a part of a payment back from its target; it is unapplied then.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Unapply {
    /// Which payment.
    pub id: Key,
    /// From which invoice or retainer.
    pub from: Target,
    /// How much; else all that is free there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    /// Only at one of these versions of the payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for Unapply {
    const NAME: &'static str = "payments.unapply";
    type Reply = AppliedReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<AppliedReply> {
        let mut book = Book::open(draft, now);
        if let Some(amount) = &self.amount {
            known_currency(book.draft, &amount.currency)?;
        }
        let (payment, version) = find(&mut book, &self.id)?;
        let mut purse = Purse::open(&mut book, &payment, Reach::Spent);
        let from = Only::From(Some(&self.from));
        if !purse.has(Some(&self.from)) {
            let target = self.from.id().clone();
            return Err(MoneyRejection::AllocationNotFound { target });
        }
        at_version(self.if_version.as_ref(), version)?;
        if let Some(amount) = &self.amount {
            same_currency(&payment.currency, &amount.currency)?;
        }
        let free = purse.free(from);
        let amount = self.amount.as_ref().map_or(free, |amount| amount.amount.into());
        if amount.is_zero() || free < amount {
            let allocated = payment.at(&self.from);
            return Err(MoneyRejection::ExceedsAllocation { allocated, free });
        }
        let (account, about) = account_of(&self.from, (&self.id, &payment));
        let credit = AccountId::unapplied(&payment.client, &payment.currency);
        let booking = Booking::of(Self::NAME, payment.currency.clone());
        let booking = booking.debit(account, amount, Some(about));
        let mut booking = booking.credit(credit, amount, Some(&self.id));
        booking.reference = Some(self.id.clone());
        book.post(booking)?;

        // Past here it succeeds.
        let sources = purse.take(from, amount);
        let mut payment = (*payment).clone();
        payment.take_out(&sources);
        let unapplied = payment.unapplied.checked_add(amount);
        payment.unapplied = unapplied.expect("the parts of a payment are at most its amount");
        match &self.from {
            Target::Invoice(id) => {
                for source in sources {
                    invoices::release(&mut book, (id, source.ordinal), source.amount)?;
                }
            }
            Target::Retainer(id) => {
                retainers::debit(&mut book, id, amount)?;
            }
        }
        payment.assert_budget();
        book.draft.put(&RecordId::from(&self.id), payment);
        reply(book, &self.id, &self.from)
    }
}

/// The account of a target, and what a line there is about.
fn account_of<'t>(target: &'t Target, (id, payment): (&'t Key, &Payment)) -> (AccountId, &'t Key) {
    match target {
        Target::Invoice(invoice) => (AccountId::receivable(&payment.currency), invoice),
        Target::Retainer(retainer) => (AccountId::retainer(retainer), id),
    }
}

fn reply(mut book: Book<'_, '_>, id: &Key, target: &Target) -> Decided<AppliedReply> {
    let payment = view(&mut book, id)?;
    let (mut invoice, mut retainer) = (None, None);
    match target {
        Target::Invoice(id) => invoice = Some(invoices::view(&mut book, id)?),
        Target::Retainer(id) => retainer = Some(retainers::view(&mut book, id)?),
    }
    Ok(AppliedReply { payment, invoice, retainer, moved: book.close() })
}
