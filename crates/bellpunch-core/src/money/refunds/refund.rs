//! `payments.refund`, `refunds.complete`, `refunds.fail`: money that we give back.
//!
//! Invariant: a refund that settles later is written before the gateway is asked, and what it asks
//! for is set aside. Success reverses its sources, failure frees them, each once.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::claim::{Back, Claim, end_holds, lift, release_holds, reverse, set_aside, targets};
use super::{Extent, Refund, RefundOfPayment, RefundStatus, RefundView, Settle, view};
use crate::money::invoices::InvoiceView;
use crate::money::payments::{self, Destination, PaymentView, Reach};
use crate::money::retainers::{self, RetainerView};
use crate::money::{Book, Decided, HeldBy, MoneyRejection, Moved, at_version, external, series};
use crate::{Command, Draft, IfVersion, Key, Money, RecordId, Timestamp, Version};

/// Gives money of a completed payment back.
///
/// ```
/// use bellpunch_core::money::refunds::{RefundPayment, Settle};
/// let refund: RefundPayment = serde_json::from_str(r#"{"id": "p1", "reason": "returned"}"#)?;
/// assert!(refund.amount.is_none() && refund.settle == Settle::Now);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RefundPayment {
    /// Which payment.
    pub id: Key,
    /// How much; else all that can be given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    /// From where; else unapplied, then invoices, then retainers, newest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<Destination>>,
    /// Why.
    pub reason: Key,
    /// Whether the money is back already; it is unless said.
    #[serde(default)]
    pub settle: Settle,
    /// What the outside calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<Key>,
    /// Only at one of these versions of the payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

/// A refund and what it changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RefundReply {
    /// The refund.
    pub refund: RefundView,
    /// The payment, if it is one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<PaymentView>,
    /// The invoices among its sources.
    pub invoices: Vec<InvoiceView>,
    /// The retainers among them.
    pub retainers: Vec<RetainerView>,
    /// What was posted and told.
    #[serde(flatten)]
    pub moved: Moved,
}

/// A refund, its payment and its sources, as the command leaves them.
fn reply(mut book: Book<'_, '_>, id: &Key) -> Decided<RefundReply> {
    let refund = view(&mut book, id)?;
    let payment = refund.payment.as_ref();
    let payment = payment.map(|id| payments::view(&mut book, id)).transpose()?;
    let (invoices, retainers) = targets(&mut book, &refund.sources)?;
    Ok(RefundReply { refund, payment, invoices, retainers, moved: book.close() })
}

impl RefundPayment {
    fn claim(&self) -> Claim<'_> {
        Claim {
            payment: &self.id,
            amount: self.amount.as_ref(),
            sources: self.sources.as_deref(),
            external: ("refunds", self.external_id.as_ref()),
            if_version: self.if_version.as_ref(),
            reach: Reach::Available,
        }
    }
}

impl Command for RefundPayment {
    const NAME: &'static str = "payments.refund";
    type Reply = RefundReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<RefundReply> {
        let mut book = Book::open(draft, now);
        let claimed = self.claim().check(&mut book)?;
        let series = series::find(&mut book, "RFD")?;
        let id = book.draft.drawn_key();
        let (mut holds, mut status, mut ended_at) = (Vec::new(), RefundStatus::Pending, None);
        match self.settle {
            Settle::Now => {
                let sources = (&self.id, claimed.sources.as_slice());
                reverse(&mut book, sources, (Self::NAME, &id), Back::Refunded)?;
                (status, ended_at) = (RefundStatus::Succeeded, Some(now));
            }
            Settle::Later => {
                let by = HeldBy::Refund(id.clone());
                holds = set_aside(&mut book, (&self.id, &claimed), &by)?;
            }
        }
        let assigned = series.assign(&mut book, None, &id)?;

        // Past here it succeeds.
        if let Some(external_id) = &self.external_id {
            external::claim(&mut book, ("refunds", external_id), &id);
        }
        let currency = claimed.payment.currency.clone();
        let frozen = json!({
            "id": id, "number": assigned.number, "payment": self.id, "amount": claimed.amount,
            "currency": currency, "created_at": now, "chain": assigned.chain,
        });
        series::seal(&mut book, &assigned, &frozen);
        let refund = Refund {
            number: assigned.number,
            payment: Some(self.id.clone()),
            retainer: None,
            amount: claimed.amount,
            currency,
            status,
            sources: claimed.sources,
            reason: self.reason.clone(),
            external_id: self.external_id.clone(),
            holds,
            created_at: now,
            ended_at,
        };
        book.draft.put_first(&RecordId::from(&id), refund);
        let of_payment = RecordId::compound(&[&self.id, &id]);
        book.draft.put_first(&of_payment, RefundOfPayment { created_at: now });
        reply(book, &id)
    }
}

/// The refund of this id, and its version.
fn find(book: &mut Book<'_, '_>, id: &Key) -> Decided<(Arc<Refund>, Version)> {
    let record = RecordId::from(id);
    let found = book.draft.get::<Refund>(&record);
    let found = found.ok_or_else(|| MoneyRejection::RefundNotFound { id: id.clone() })?;
    Ok((found, book.draft.version::<Refund>(&record)))
}

impl Refund {
    fn is_pending(&self) -> Decided<()> {
        match self.ended_at {
            Some(at) => Err(MoneyRejection::RefundNotPending { status: self.status, at }),
            None => Ok(()),
        }
    }
}

/// Finds a refund that may still end.
fn open(book: &mut Book<'_, '_>, id: &Key, if_version: Option<&IfVersion>) -> Decided<Refund> {
    let (refund, version) = find(book, id)?;
    at_version(if_version, version)?;
    refund.is_pending()?;
    Ok((*refund).clone())
}

/// The money of a pending refund is back.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Complete {
    /// Which refund.
    pub id: Key,
    /// Only at one of these versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for Complete {
    const NAME: &'static str = "refunds.complete";
    type Reply = RefundReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<RefundReply> {
        let mut book = Book::open(draft, now);
        let refund = open(&mut book, &self.id, self.if_version.as_ref())?;

        // Past here only a sum above the largest can refuse it.
        release_holds(&mut book, &refund.holds);
        let about = (Self::NAME, &self.id);
        let mut transfer = None;
        if let Some(payment) = &refund.payment {
            lift(&mut book, payment, &refund.sources)?;
            transfer = reverse(&mut book, (payment, &refund.sources), about, Back::Refunded)?;
        }
        if let Some((retainer, extent)) = &refund.retainer {
            let what = (&self.id, *extent, refund.amount);
            transfer = retainers::pay_back(&mut book, (Self::NAME, retainer), what)?;
        }
        end_holds(&mut book, &refund.holds, transfer.as_ref());
        let (status, ended_at) = (RefundStatus::Succeeded, Some(now));
        book.draft.put(&RecordId::from(&self.id), Refund { status, ended_at, ..refund });
        reply(book, &self.id)
    }
}

/// The money of a pending refund did not go.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Fail {
    /// Which refund.
    pub id: Key,
    /// Only at one of these versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for Fail {
    const NAME: &'static str = "refunds.fail";
    type Reply = RefundReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<RefundReply> {
        let mut book = Book::open(draft, now);
        let refund = open(&mut book, &self.id, self.if_version.as_ref())?;

        // Past here it succeeds.
        release_holds(&mut book, &refund.holds);
        end_holds(&mut book, &refund.holds, None);
        if let Some(payment) = &refund.payment {
            lift(&mut book, payment, &refund.sources)?;
        }
        match &refund.retainer {
            Some((retainer, Extent::Whole)) => retainers::reopen(&mut book, retainer)?,
            Some((retainer, Extent::Part)) => {
                retainers::touch(&mut book, retainer)?;
            }
            None => {}
        }
        let (status, ended_at) = (RefundStatus::Failed, Some(now));
        book.draft.put(&RecordId::from(&self.id), Refund { status, ended_at, ..refund });
        reply(book, &self.id)
    }
}

/// Reads a refund.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// Which one.
    pub id: Key,
}

/// A refund.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReadReply {
    /// The refund.
    pub refund: RefundView,
}

impl Command for Read {
    const NAME: &'static str = "refunds.read";
    type Reply = ReadReply;
    type Rejection = MoneyRejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<ReadReply> {
        let mut book = Book::look(draft, now);
        view(&mut book, &self.id).map(|refund| ReadReply { refund })
    }
}
