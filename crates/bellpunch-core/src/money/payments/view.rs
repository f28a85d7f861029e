//! What callers see of a payment, and `payments.read`.

use serde::{Deserialize, Serialize};

use super::{PaymentStatus, Planned, Target, find, refundable, sum};
use crate::money::{Book, Decided, MoneyRejection, Moved};
use crate::{Command, CurrencyCode, Draft, Key, Minor, MinorUnits, Timestamp, Version};

/// Where a part of a payment was to go.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DestinationView {
    /// The invoice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invoice: Option<Key>,
    /// Or the retainer. Neither: unapplied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retainer: Option<Key>,
    /// How much.
    pub amount: Minor,
}

impl DestinationView {
    pub(super) fn of(target: Option<&Target>, amount: Minor) -> Self {
        let (invoice, retainer) = match target.cloned() {
            Some(Target::Invoice(id)) => (Some(id), None),
            Some(Target::Retainer(id)) => (None, Some(id)),
            None => (None, None),
        };
        Self { invoice, retainer, amount }
    }
}

/// How much of a payment was given back.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RefundedHow {
    /// Nothing.
    None,
    /// Some of it.
    Partial,
    /// All of it.
    Full,
}

/// A payment as callers see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PaymentView {
    /// Its id.
    pub id: Key,
    /// Its number, of the series PAY.
    pub number: String,
    /// Who pays.
    pub client: Key,
    /// How much.
    pub amount: MinorUnits,
    /// Of all its sums.
    pub currency: CurrencyCode,
    /// How it is paid, in the caller's words.
    pub method: Key,
    /// What the outside calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<Key>,
    /// What it is.
    pub status: PaymentStatus,
    /// Where it was to go.
    pub destinations: Vec<DestinationView>,
    /// What is on invoices.
    pub allocated: Minor,
    /// What is on retainers, or was spent from them.
    pub retained: Minor,
    /// What goes nowhere yet.
    pub unapplied: Minor,
    /// What was given back.
    pub refunded: Minor,
    /// What disputes took.
    pub lost: Minor,
    /// What pending refunds and open disputes have set aside.
    pub held: Minor,
    /// What can be given back now.
    pub refundable: Minor,
    /// How much of it was given back.
    pub refund_status: RefundedHow,
    /// When it completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// When it failed or was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Key>,
    /// Rises with every change.
    pub version: Version,
}

/// A payment as it is now, in this command's eyes.
///
/// # Errors
/// `payment_not_found`.
pub(crate) fn view(book: &mut Book<'_, '_>, id: &Key) -> Decided<PaymentView> {
    let (found, version) = find(book, id)?;
    let refundable = refundable(book, &found);
    let back = sum([found.refunded, found.lost]);
    let refund_status = if back.is_zero() {
        RefundedHow::None
    } else if back == found.amount.into() {
        RefundedHow::Full
    } else {
        RefundedHow::Partial
    };
    let (allocated, retained, held) = (found.allocated(), found.retained(), found.held());
    let payment = (*found).clone();
    let destination =
        |planned: Planned| DestinationView::of(planned.target.as_ref(), planned.amount.into());
    let (ended_at, reason) = payment.ended.unzip();
    Ok(PaymentView {
        id: id.clone(),
        number: payment.number,
        client: payment.client,
        amount: payment.amount,
        currency: payment.currency,
        method: payment.method,
        external_id: payment.external_id,
        status: payment.status,
        destinations: payment.destinations.into_iter().map(destination).collect(),
        allocated,
        retained,
        unapplied: payment.unapplied,
        refunded: payment.refunded,
        lost: payment.lost,
        held,
        refundable,
        refund_status,
        completed_at: payment.completed.map(|(at, _)| at),
        ended_at,
        reason,
        version,
    })
}

/// Reads a payment.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// Which one.
    pub id: Key,
}

/// A payment, after the command.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PaymentReply {
    /// The payment.
    pub payment: PaymentView,
    /// What was posted and told.
    #[serde(flatten)]
    pub moved: Moved,
}

impl PaymentReply {
    /// The payment as the command leaves it, and the book closed.
    pub(super) fn of(mut book: Book<'_, '_>, id: &Key) -> Decided<Self> {
        let payment = view(&mut book, id)?;
        Ok(Self { payment, moved: book.close() })
    }
}

impl Command for Read {
    const NAME: &'static str = "payments.read";
    type Reply = PaymentReply;
    type Rejection = MoneyRejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<PaymentReply> {
        PaymentReply::of(Book::look(draft, now), &self.id)
    }
}
