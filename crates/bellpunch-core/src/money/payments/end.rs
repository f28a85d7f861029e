//! `payments.fail` and `payments.cancel`: the money did not come, or is not to.
//!
//! Invariant: both end a pending payment that moved nothing, and move nothing. Its number stays; its
//! id of the outside is free for another.

use serde::{Deserialize, Serialize};

use super::{Payment, PaymentReply, PaymentStatus, find};
use crate::money::{Book, Decided, MoneyRejection, at_version, external};
use crate::{Command, Draft, IfVersion, Key, RecordId, Timestamp};

/// The money did not come.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Fail {
    /// Which payment.
    pub id: Key,
    /// Why.
    pub reason: Key,
    /// Only at one of these versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for Fail {
    const NAME: &'static str = "payments.fail";
    type Reply = PaymentReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<PaymentReply> {
        let version = self.if_version.as_ref();
        end((draft, now), (&self.id, version), &self.reason, PaymentStatus::Failed)
    }
}

/// The payment is called off.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    /// Which payment.
    pub id: Key,
    /// Why.
    pub reason: Key,
    /// Only at one of these versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for Cancel {
    const NAME: &'static str = "payments.cancel";
    type Reply = PaymentReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<PaymentReply> {
        let version = self.if_version.as_ref();
        end((draft, now), (&self.id, version), &self.reason, PaymentStatus::Cancelled)
    }
}

fn end(
    (draft, now): (&mut Draft<'_>, Timestamp),
    (id, if_version): (&Key, Option<&IfVersion>),
    reason: &Key,
    status: PaymentStatus,
) -> Decided<PaymentReply> {
    let mut book = Book::open(draft, now);
    let (payment, version) = find(&mut book, id)?;
    at_version(if_version, version)?;
    payment.is_pending()?;

    // Past here it succeeds.
    if let Some(external_id) = &payment.external_id {
        external::free(&mut book, "payments", external_id);
    }
    let ended = Some((now, reason.clone()));
    book.draft.put(&RecordId::from(id), Payment { status, ended, ..(*payment).clone() });
    PaymentReply::of(book, id)
}
