//! Refunds and disputes: money that goes back, asked for by us or by the bank.
//!
//! Invariant: what is pending is set aside in its payment (and held on its retainers), so all that
//! was and may yet be given back is at most what came. Success reverses each source in one commit;
//! failure ends the set-aside and nothing else.

mod claim;
mod dispute;
mod refund;
#[cfg(test)]
mod tests;
mod view;

use serde::{Deserialize, Serialize};

use super::payments::Target;
use crate::{CommandSpec, CurrencyCode, Key, Kind, Minor, MinorUnits, Record, Timestamp};

pub use dispute::{
    DisputePayment, DisputeReply, DisputeView, Lose, ReadDispute, ReadDisputeReply, Win,
};
pub use refund::{Complete, Fail, Read, ReadReply, RefundPayment, RefundReply};
pub use view::RefundView;
pub(crate) use view::view;

/// When a refund settles.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Settle {
    /// The money is back already.
    #[default]
    Now,
    /// It is asked for first: pending until it is completed or fails.
    Later,
}

/// What a refund is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RefundStatus {
    /// Asked for: its sources are set aside.
    Pending,
    /// The money is back.
    Succeeded,
    /// It did not go.
    Failed,
}

/// What a dispute is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DisputeStatus {
    /// The bank has not decided.
    Open,
    /// The bank took the money back.
    Lost,
    /// The money stays.
    Won,
}

/// From where so much goes back.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The invoice that it is taken off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invoice: Option<Key>,
    /// Or the retainer that it is taken from. Neither: unapplied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retainer: Option<Key>,
    /// How much.
    pub amount: Minor,
    /// The place of the part: of an invoice that of its allocation.
    #[serde(default)]
    pub ordinal: u64,
    /// What of it the retainer had spent: a dispute takes that from the firm.
    #[serde(default)]
    pub spent: Minor,
}

impl Source {
    /// Nothing yet, from there.
    pub(crate) fn at(target: Option<&Target>, ordinal: u64) -> Self {
        let (invoice, retainer) = match target.cloned() {
            Some(Target::Invoice(id)) => (Some(id), None),
            Some(Target::Retainer(id)) => (None, Some(id)),
            None => (None, None),
        };
        Self { invoice, retainer, amount: Minor::ZERO, ordinal, spent: Minor::ZERO }
    }

    /// Where it is taken from; `None` is unapplied.
    pub(crate) fn target(&self) -> Option<Target> {
        let invoice = self.invoice.clone().map(Target::Invoice);
        invoice.or_else(|| self.retainer.clone().map(Target::Retainer))
    }
}

/// A refund of a payment or of a retainer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refund {
    pub(crate) number: String,
    /// The payment that goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) payment: Option<Key>,
    /// Or the retainer that does, and whether all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retainer: Option<(Key, Extent)>,
    pub(crate) amount: MinorUnits,
    pub(crate) currency: CurrencyCode,
    pub(crate) status: RefundStatus,
    pub(crate) sources: Vec<Source>,
    pub(crate) reason: Key,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) external_id: Option<Key>,
    /// The hold on the retainer's account while it is pending; of a payment, one for each retainer
    /// among its sources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) holds: Vec<Key>,
    pub(crate) created_at: Timestamp,
    /// When it succeeded or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_at: Option<Timestamp>,
}

/// That a refund is of a payment, by the names of both: a payment's refunds are listed from these,
/// and no list grows inside the payment.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefundOfPayment {
    pub(crate) created_at: Timestamp,
}

impl Record for RefundOfPayment {
    const KIND: Kind = Kind::compound("payment_refunds", 2);
}

/// How much of a retainer is refunded.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Extent {
    /// An amount.
    Part,
    /// All of it: it ends.
    Whole,
}

impl Record for Refund {
    const KIND: Kind = Kind::new("refunds");
}

/// A dispute of a payment.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dispute {
    pub(crate) payment: Key,
    pub(crate) amount: MinorUnits,
    pub(crate) currency: CurrencyCode,
    pub(crate) status: DisputeStatus,
    pub(crate) sources: Vec<Source>,
    pub(crate) external_id: Key,
    /// The holds on retainers' accounts while it is open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) holds: Vec<Key>,
    pub(crate) created_at: Timestamp,
    /// When it was lost or won.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_at: Option<Timestamp>,
}

impl Record for Dispute {
    const KIND: Kind = Kind::new("disputes");
}

/// The commands of refunds and disputes.
pub(crate) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::change::<RefundPayment>().of_money(),
    CommandSpec::change::<Complete>().of_money(),
    CommandSpec::change::<Fail>().of_money(),
    CommandSpec::read::<Read>().of_money(),
    CommandSpec::change::<DisputePayment>().of_money(),
    CommandSpec::change::<Lose>().of_money(),
    CommandSpec::change::<Win>().of_money(),
    CommandSpec::read::<ReadDispute>().of_money(),
];
