//! Payments: money that a client sends, and where it goes.
//!
//! Invariant: a payment completes once, with all of its destinations or none, and from then on
//! `amount = allocated + retained + unapplied + refunded + lost`. Pending refunds and open disputes
//! set parts of the first three aside; only what is free moves. So all that was ever given back is
//! at most what came.
//!
//! Where the parts are: in the payment itself, at most 40 live ones, in the order in which they
//! came. An invoice has the other end of its part, an [`super::invoices::Allocation`].

mod apply;
mod complete;
mod create;
mod destination;
mod duplicate;
mod end;
#[cfg(test)]
pub(crate) mod fixture;
mod pay;
mod purse;
#[cfg(test)]
mod tests;
mod view;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::series::{self, Assigned};
use super::{Book, Decided, MoneyRejection, OfOneState as _};
use crate::{
    CommandSpec, CurrencyCode, Key, Kind, Minor, MinorUnits, Money, Record, RecordId, Timestamp,
    Version,
};

pub use apply::{AppliedReply, Apply, Unapply};
pub use complete::{Complete, CompletedReply, Overpayment};
pub use create::Create;
pub use destination::Destination;
pub(crate) use destination::Listed;
pub use end::{Cancel, Fail};
pub use pay::Pay;
pub(crate) use purse::{Only, Purse, Reach};
pub(crate) use view::view;
pub use view::{DestinationView, PaymentReply, PaymentView, Read, RefundedHow};

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

impl Target {
    /// The id of the invoice or retainer.
    pub(crate) const fn id(&self) -> &Key {
        match self {
            Self::Invoice(id) | Self::Retainer(id) => id,
        }
    }
}

/// A live part of a completed payment.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    pub(crate) target: Target,
    /// The place of the invoice's allocation; of a retainer, told apart from its other live parts.
    pub(crate) ordinal: u64,
    /// What stands there, set aside or not; at least 1.
    pub(crate) amount: Minor,
    /// What of it pending refunds and open disputes have set aside.
    pub(crate) set_aside: Minor,
}

impl Part {
    /// What of it is not set aside.
    pub(crate) fn free(&self) -> Minor {
        if crate::planted!("set_aside_uncounted") {
            return self.amount;
        }
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
    /// One that was announced, and goes nowhere yet.
    fn pending(
        (number, client): (String, &Key),
        money: &Money,
        method: &Key,
        created_at: Timestamp,
    ) -> Self {
        Self {
            number,
            client: client.clone(),
            amount: money.amount,
            currency: money.currency.clone(),
            method: method.clone(),
            external_id: None,
            status: PaymentStatus::Pending,
            destinations: Vec::new(),
            parts: Vec::new(),
            unapplied: Minor::ZERO,
            unapplied_set_aside: Minor::ZERO,
            refunded: Minor::ZERO,
            lost: Minor::ZERO,
            created_at,
            completed: None,
            ended: None,
            credited: None,
        }
    }

    /// Tests that it may still complete.
    ///
    /// # Errors
    /// `already_completed`, `payment_not_pending`.
    pub(crate) fn is_pending(&self) -> Decided<()> {
        if let Some((completed_at, seq)) = self.completed {
            return Err(MoneyRejection::AlreadyCompleted { completed_at, seq });
        }
        match &self.ended {
            Some((at, _)) => {
                Err(MoneyRejection::PaymentNotPending { status: self.status, at: *at })
            }
            None => Ok(()),
        }
    }

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

    /// What of the allocation of this place is not set aside.
    pub(crate) fn free_at(&self, invoice: &Key, ordinal: u64) -> Minor {
        let part = self.parts.iter().find(|part| {
            part.ordinal == ordinal && matches!(&part.target, Target::Invoice(id) if id == invoice)
        });
        part.map_or(Minor::ZERO, Part::free)
    }

    /// What stands at one target, set aside or not.
    fn at(&self, target: &Target) -> Minor {
        let parts = self.parts.iter().filter(|part| part.target == *target);
        sum(parts.map(|part| part.amount))
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

    /// Asserts the budget: all of a completed payment is somewhere, once; what refunds and disputes
    /// have set aside is there, so that with it no more is given back than came.
    pub(crate) fn assert_budget(&self) {
        let all = [self.allocated(), self.retained(), self.unapplied, self.refunded, self.lost];
        assert_eq!(sum(all), self.amount.into(), "all of a payment is somewhere, once");
        let free = sum(self.parts.iter().map(Part::free).chain([self.unapplied_free()]));
        let budget = sum([free, self.held(), self.refunded, self.lost]);
        assert!(budget <= self.amount.into(), "no more is given back than came");
        assert!(self.parts.len() <= DESTINATIONS_MAX, "a payment has few live parts");
    }

    /// The place of the next part at a retainer: no live one has it.
    fn next_ordinal(&self, retainer: &Key) -> u64 {
        let parts = self.parts.iter();
        let there =
            parts.filter(|part| matches!(&part.target, Target::Retainer(id) if id == retainer));
        there.map(|part| part.ordinal.saturating_add(1)).max().unwrap_or(0)
    }
}

/// Seals a payment that has its number, if the chain of its series does so by itself.
fn freeze(book: &mut Book<'_, '_>, (id, client): (&Key, &Key), money: &Money, assigned: &Assigned) {
    let frozen = serde_json::json!({
        "id": id, "number": assigned.number, "client": client, "amount": money,
        "created_at": book.now, "chain": assigned.chain,
    });
    series::seal(book, assigned, &frozen);
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
    let part = part.of_one_state("an allocation of a payment is one of its parts");
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

/// What of a completed payment can be given back now: free allocations, free unapplied, and per
/// retainer the lesser of what is free and what it has available.
pub(crate) fn refundable(book: &mut Book<'_, '_>, payment: &Payment) -> Minor {
    if payment.status != PaymentStatus::Completed {
        return Minor::ZERO;
    }
    Purse::open(book, payment, Reach::Available).free(Only::All)
}

/// The commands of payments.
pub(crate) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::change::<Create>().of_money(),
    CommandSpec::change::<Complete>().of_money(),
    CommandSpec::change::<Fail>().of_money(),
    CommandSpec::change::<Cancel>().of_money(),
    CommandSpec::change::<Apply>().of_money(),
    CommandSpec::change::<Unapply>().of_money(),
    CommandSpec::change::<Pay>().of_money(),
    CommandSpec::read::<Read>().of_money(),
];
