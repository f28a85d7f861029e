//! `payments.dispute`, `disputes.lose`, `disputes.win`: a refund that the bank asks for.
//!
//! Invariant: a dispute is on the same budget as refunds and never takes what one of them has set
//! aside. Unlike a refund it may take what a retainer has spent: what of it was there when the
//! dispute began is held and taken from the retainer, the rest is the firm's loss.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::claim::{Back, Claim, end_holds, lift, release_holds, reverse, set_aside, targets};
use super::{Dispute, DisputeStatus, Source};
use crate::money::invoices::InvoiceView;
use crate::money::payments::{self, Destination, PaymentView, Reach};
use crate::money::retainers::RetainerView;
use crate::money::{Book, Decided, HeldBy, MoneyRejection, Moved, at_version, external};
use crate::{
    Command, CurrencyCode, Draft, IfVersion, Key, MinorUnits, Money, RecordId, Timestamp, Version,
};

/// The bank asks money of a completed payment back.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DisputePayment {
    /// Which payment.
    pub id: Key,
    /// How much.
    pub amount: Money,
    /// What the bank calls the dispute.
    pub external_id: Key,
    /// From where; else unapplied, then invoices, then retainers, newest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<Destination>>,
    /// Only at one of these versions of the payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

/// A dispute as callers see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DisputeView {
    /// Its id.
    pub id: Key,
    /// The payment that is asked back.
    pub payment: Key,
    /// How much.
    pub amount: MinorUnits,
    /// Of all its sums.
    pub currency: CurrencyCode,
    /// What it is.
    pub status: DisputeStatus,
    /// From where.
    pub sources: Vec<Source>,
    /// What the bank calls it.
    pub external_id: Key,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was lost or won.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Rises with every change.
    pub version: Version,
}

/// A dispute and what it changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DisputeReply {
    /// The dispute.
    pub dispute: DisputeView,
    /// The payment.
    pub payment: PaymentView,
    /// The invoices among its sources.
    pub invoices: Vec<InvoiceView>,
    /// The retainers among them.
    pub retainers: Vec<RetainerView>,
    /// What was posted and told.
    #[serde(flatten)]
    pub moved: Moved,
}

/// The dispute of this id, and its version.
fn find(book: &mut Book<'_, '_>, id: &Key) -> Decided<(Arc<Dispute>, Version)> {
    let record = RecordId::from(id);
    let found = book.draft.get::<Dispute>(&record);
    let found = found.ok_or_else(|| MoneyRejection::DisputeNotFound { id: id.clone() })?;
    Ok((found, book.draft.version::<Dispute>(&record)))
}

fn view(book: &mut Book<'_, '_>, id: &Key) -> Decided<DisputeView> {
    let (found, version) = find(book, id)?;
    let dispute = (*found).clone();
    Ok(DisputeView {
        id: id.clone(),
        payment: dispute.payment,
        amount: dispute.amount,
        currency: dispute.currency,
        status: dispute.status,
        sources: dispute.sources,
        external_id: dispute.external_id,
        created_at: dispute.created_at,
        ended_at: dispute.ended_at,
        version,
    })
}

/// A dispute, its payment and its sources, as the command leaves them.
fn reply(mut book: Book<'_, '_>, id: &Key) -> Decided<DisputeReply> {
    let dispute = view(&mut book, id)?;
    let payment = payments::view(&mut book, &dispute.payment)?;
    let (invoices, retainers) = targets(&mut book, &dispute.sources)?;
    Ok(DisputeReply { dispute, payment, invoices, retainers, moved: book.close() })
}

impl Command for DisputePayment {
    const NAME: &'static str = "payments.dispute";
    type Reply = DisputeReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<DisputeReply> {
        let mut book = Book::open(draft, now);
        let claim = Claim {
            payment: &self.id,
            amount: Some(&self.amount),
            sources: self.sources.as_deref(),
            external: ("disputes", Some(&self.external_id)),
            if_version: self.if_version.as_ref(),
            reach: Reach::Spent,
        };
        let claimed = claim.check(&mut book)?;
        let id = book.draft.drawn_key();
        let holds = set_aside(&mut book, (&self.id, &claimed), &HeldBy::Dispute(id.clone()))?;

        // Past here it succeeds.
        external::claim(&mut book, ("disputes", &self.external_id), &id);
        let dispute = Dispute {
            payment: self.id.clone(),
            amount: claimed.amount,
            currency: claimed.payment.currency.clone(),
            status: DisputeStatus::Open,
            sources: claimed.sources,
            external_id: self.external_id.clone(),
            holds,
            created_at: now,
            ended_at: None,
        };
        book.draft.put_first(&RecordId::from(&id), dispute);
        reply(book, &id)
    }
}

/// Finds a dispute that is open.
fn open(book: &mut Book<'_, '_>, id: &Key, if_version: Option<&IfVersion>) -> Decided<Dispute> {
    let (dispute, version) = find(book, id)?;
    at_version(if_version, version)?;
    match dispute.ended_at {
        Some(at) => Err(MoneyRejection::DisputeNotOpen { status: dispute.status, at }),
        None => Ok((*dispute).clone()),
    }
}

/// The bank took the money back.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Lose {
    /// Which dispute.
    pub id: Key,
    /// Only at one of these versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for Lose {
    const NAME: &'static str = "disputes.lose";
    type Reply = DisputeReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<DisputeReply> {
        let mut book = Book::open(draft, now);
        let dispute = open(&mut book, &self.id, self.if_version.as_ref())?;

        // Past here only a sum above the largest can refuse it.
        release_holds(&mut book, &dispute.holds);
        lift(&mut book, &dispute.payment, &dispute.sources)?;
        let sources = (&dispute.payment, dispute.sources.as_slice());
        let transfer = reverse(&mut book, sources, (Self::NAME, &self.id), Back::Lost)?;
        end_holds(&mut book, &dispute.holds, transfer.as_ref());
        let (status, ended_at) = (DisputeStatus::Lost, Some(now));
        book.draft.put(&RecordId::from(&self.id), Dispute { status, ended_at, ..dispute });
        reply(book, &self.id)
    }
}

/// The money stays.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Win {
    /// Which dispute.
    pub id: Key,
    /// Only at one of these versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for Win {
    const NAME: &'static str = "disputes.win";
    type Reply = DisputeReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<DisputeReply> {
        let mut book = Book::open(draft, now);
        let dispute = open(&mut book, &self.id, self.if_version.as_ref())?;

        // Past here it succeeds.
        release_holds(&mut book, &dispute.holds);
        end_holds(&mut book, &dispute.holds, None);
        lift(&mut book, &dispute.payment, &dispute.sources)?;
        let (status, ended_at) = (DisputeStatus::Won, Some(now));
        book.draft.put(&RecordId::from(&self.id), Dispute { status, ended_at, ..dispute });
        reply(book, &self.id)
    }
}

/// Reads a dispute.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ReadDispute {
    /// Which one.
    pub id: Key,
}

/// A dispute.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReadDisputeReply {
    /// The dispute.
    pub dispute: DisputeView,
}

impl Command for ReadDispute {
    const NAME: &'static str = "disputes.read";
    type Reply = ReadDisputeReply;
    type Rejection = MoneyRejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<ReadDisputeReply> {
        let mut book = Book::look(draft, now);
        view(&mut book, &self.id).map(|dispute| ReadDisputeReply { dispute })
    }
}
