//! A refund as callers see it.

use serde::{Deserialize, Serialize};

use super::{Refund, RefundStatus, Source};
use crate::money::{Book, Decided, MoneyRejection};
use crate::{CurrencyCode, Key, MinorUnits, RecordId, Timestamp, Version};

/// A refund as callers see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RefundView {
    /// Its id.
    pub id: Key,
    /// Its number, of the series RFD.
    pub number: String,
    /// The payment that goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<Key>,
    /// Or the retainer that does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retainer: Option<Key>,
    /// How much.
    pub amount: MinorUnits,
    /// Of all its sums.
    pub currency: CurrencyCode,
    /// What it is.
    pub status: RefundStatus,
    /// From where.
    pub sources: Vec<Source>,
    /// Why.
    pub reason: Key,
    /// What the outside calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<Key>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it succeeded or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Rises with every change.
    pub version: Version,
}

/// A refund as it is now, in this command's eyes.
///
/// # Errors
/// `refund_not_found`.
pub(crate) fn view(book: &mut Book<'_, '_>, id: &Key) -> Decided<RefundView> {
    let record = RecordId::from(id);
    let found = book.draft.get::<Refund>(&record);
    let found = found.ok_or_else(|| MoneyRejection::RefundNotFound { id: id.clone() })?;
    let version = book.draft.version::<Refund>(&record);
    let refund = (*found).clone();
    Ok(RefundView {
        id: id.clone(),
        number: refund.number,
        payment: refund.payment,
        retainer: refund.retainer.map(|(retainer, _)| retainer),
        amount: refund.amount,
        currency: refund.currency,
        status: refund.status,
        sources: refund.sources,
        reason: refund.reason,
        external_id: refund.external_id,
        created_at: refund.created_at,
        ended_at: refund.ended_at,
        version,
    })
}
