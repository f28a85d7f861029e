//! Payments: money that a client sends, and where it goes.
//!
//! Invariant: a payment completes once, with all of its destinations or none, and from then on
//! `amount = allocated + retained + unapplied + refunded + lost`. Pending refunds and open disputes
//! set parts of the first three aside; only what is free moves. So all that was ever given back is
//! at most what came.
//!
//! Where the parts are: in the payment itself, at most 40 live ones, in the order in which they
//! came. An invoice has the other end of its part, an [`super::invoices::Allocation`].

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Book, Decided, MoneyRejection};
use crate::{
    CommandSpec, CurrencyCode, Key, Kind, Minor, MinorUnits, Record, RecordId, Timestamp, Version,
};

/// How many destinations a payment has, and how many live parts.
pub(crate) const DESTINATIONS_MAX: usize = 40;

/// What a payment is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PaymentStatus {
    /// Announced.
    Pending,
    /// The money is there.
    Completed,
    /// It did not come.
    Failed,
    /// It was called off.
    Cancelled,
}

/// Where a part of a payment goes, or is.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Target {
    /// To an invoice.
    Invoice(Key),
    /// To a retainer.
    Retainer(Key),
}

/// A live part of a completed payment.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    pub(crate) target: Target,
    /// The place of the invoice's allocation; 0 of a retainer.
    pub(crate) ordinal: u64,
    /// What stands there, set aside or not; at least 1.
    pub(crate) amount: Minor,
    /// What of it pending refunds and open disputes have set aside.
    pub(crate) set_aside: Minor,
}

impl Part {
    /// What of it is not set aside.
    pub(crate) fn free(&self) -> Minor {
        self.amount.checked_sub(self.set_aside).expect("no more is set aside than is there")
    }
}

/// What a destination asks for, in the order of the list.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Planned {
    /// `None`: unapplied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<Target>,
    pub(crate) amount: MinorUnits,
}

/// A payment.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payment {
    pub(crate) number: String,
    pub(crate) client: Key,
    pub(crate) amount: MinorUnits,
    pub(crate) currency: CurrencyCode,
    pub(crate) method: Key,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) external_id: Option<Key>,
    pub(crate) status: PaymentStatus,
    /// Where it is to go, or went.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) destinations: Vec<Planned>,
    /// Where it is, in the order in which it came there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) parts: Vec<Part>,
    /// What of it goes nowhere, set aside or not.
    pub(crate) unapplied: Minor,
    pub(crate) unapplied_set_aside: Minor,
    pub(crate) refunded: Minor,
    pub(crate) lost: Minor,
    pub(crate) created_at: Timestamp,
    /// When it completed, and the entry of the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) completed: Option<(Timestamp, u64)>,
    /// When it failed or was cancelled, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<(Timestamp, Key)>,
    /// The retainer that it replenished, and the entry of the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) credited: Option<(Key, u64)>,
}

impl Record for Payment {
    const KIND: Kind = Kind::new("payments");
}

/// The payment of this id, and its version.
///
/// # Errors
/// `payment_not_found`.
pub(crate) fn find(book: &mut Book<'_, '_>, id: &Key) -> Decided<(Arc<Payment>, Version)> {
    let record = RecordId::from(id);
    let found = book.draft.get::<Payment>(&record);
    let found = found.ok_or_else(|| MoneyRejection::PaymentNotFound { id: id.clone() })?;
    Ok((found, book.draft.version::<Payment>(&record)))
}

impl Payment {
    /// Tests that the money is there.
    ///
    /// # Errors
    /// `payment_not_completed`.
    pub(crate) fn completed(&self) -> Decided<()> {
        if self.status == PaymentStatus::Completed {
            return Ok(());
        }
        Err(MoneyRejection::PaymentNotCompleted { status: self.status })
    }

    /// What of the unapplied is not set aside.
    pub(crate) fn unapplied_free(&self) -> Minor {
        let free = self.unapplied.checked_sub(self.unapplied_set_aside);
        free.expect("no more is set aside than is there")
    }

    /// What pending refunds and open disputes have set aside.
    pub(crate) fn held(&self) -> Minor {
        let parts = self.parts.iter().map(|part| part.set_aside);
        sum(parts.chain([self.unapplied_set_aside]))
    }

    /// What is allocated to invoices.
    pub(crate) fn allocated(&self) -> Minor {
        let parts = self.parts.iter().filter(|part| matches!(part.target, Target::Invoice(_)));
        sum(parts.map(|part| part.amount))
    }

    /// What went to retainers.
    pub(crate) fn retained(&self) -> Minor {
        let parts = self.parts.iter().filter(|part| matches!(part.target, Target::Retainer(_)));
        sum(parts.map(|part| part.amount))
    }

    /// Asserts the budget: all of a completed payment is somewhere, once.
    pub(crate) fn assert_budget(&self) {
        let all = [self.allocated(), self.retained(), self.unapplied, self.refunded, self.lost];
        assert_eq!(sum(all), self.amount.into(), "all of a payment is somewhere, once");
    }
}

fn sum(parts: impl IntoIterator<Item = Minor>) -> Minor {
    let sum = parts.into_iter().try_fold(Minor::ZERO, Minor::checked_add);
    sum.expect("the parts of a payment are at most its amount")
}

/// Moves a part of what a payment has on an invoice back to its unapplied, in the payment alone:
/// for a credit note that leaves the invoice less to take. The rule releases the allocation and
/// books it.
///
/// # Errors
/// `exceeds_allocation`, of what is set aside.
pub(crate) fn unapply_part(
    book: &mut Book<'_, '_>,
    id: &Key,
    (invoice, ordinal): (&Key, u64),
    amount: Minor,
) -> Decided<Version> {
    let (found, _) = find(book, id)?;
    let mut payment = (*found).clone();
    let part = payment.parts.iter_mut().find(|part| {
        part.ordinal == ordinal && matches!(&part.target, Target::Invoice(id) if id == invoice)
    });
    let part = part.expect("an allocation of a payment is one of its parts");
    let (allocated, free) = (part.amount, part.free());
    if free < amount {
        return Err(MoneyRejection::ExceedsAllocation { allocated, free });
    }
    part.amount = allocated.checked_sub(amount).expect("what is free is there");
    payment.parts.retain(|part| !part.amount.is_zero());
    let unapplied = payment.unapplied.checked_add(amount);
    payment.unapplied = unapplied.expect("the parts of a payment are at most its amount");
    payment.assert_budget();
    Ok(book.draft.put(&RecordId::from(id), payment))
}

/// Moves all of a payment, which must be unapplied, to a retainer, in the payment alone. The rule
/// credits the retainer and books it.
pub(crate) fn retain_all(book: &mut Book<'_, '_>, id: &Key, retainer: &Key) -> Decided<Version> {
    let (found, _) = find(book, id)?;
    let mut payment = (*found).clone();
    let amount = Minor::from(payment.amount);
    let left = payment.unapplied.checked_sub(amount);
    payment.unapplied = left.expect("the rule has tested that all is unapplied");
    let (target, ordinal) = (Target::Retainer(retainer.clone()), 0);
    payment.parts.push(Part { target, ordinal, amount, set_aside: Minor::ZERO });
    payment.credited = Some((retainer.clone(), book.seq));
    payment.assert_budget();
    Ok(book.draft.put(&RecordId::from(id), payment))
}

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

/// What of a completed payment can be given back now: free allocations, free unapplied, and per
/// retainer the lesser of what is free and what it has available.
pub(crate) fn refundable(book: &mut Book<'_, '_>, payment: &Payment) -> Minor {
    if payment.status != PaymentStatus::Completed {
        return Minor::ZERO;
    }
    let mut all = payment.unapplied_free();
    let mut retainers: std::collections::BTreeMap<&Key, Minor> = std::collections::BTreeMap::new();
    for part in &payment.parts {
        match &part.target {
            Target::Invoice(_) => all = sum([all, part.free()]),
            Target::Retainer(id) => {
                let free = retainers.entry(id).or_default();
                *free = sum([*free, part.free()]);
            }
        }
    }
    for (id, free) in retainers {
        let account = crate::AccountId::retainer(id);
        let account = book.own_account(&account, &payment.currency);
        all = sum([all, free.min(account.available(book.now))]);
    }
    all
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
    let destination = |planned: Planned| {
        let (invoice, retainer) = match planned.target {
            Some(Target::Invoice(id)) => (Some(id), None),
            Some(Target::Retainer(id)) => (None, Some(id)),
            None => (None, None),
        };
        DestinationView { invoice, retainer, amount: planned.amount.into() }
    };
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

/// The commands of payments.
pub(crate) const COMMANDS: &[CommandSpec] = &[];
