//! `retainers.replenish`: money comes in, from a payment or as cash.
//!
//! Invariant: a payment replenishes a retainer once, with all of it, which must be unapplied until
//! then. What came with no payment is cash that was received in this moment.

use serde::{Deserialize, Serialize};

use super::{RetainerView, credit, find, view};
use crate::money::payments::PaymentView;
use crate::money::{
    Book, Booking, Decided, MoneyRejection, Moved, at_version, clients, known_currency, payments,
    same_currency,
};
use crate::{AccountId, Command, Draft, IfVersion, Key, Minor, Money, Timestamp};

/// Adds money to a retainer. `retainers.replenish`.
///
/// ```
/// use bellpunch_core::money::retainers::Replenish;
/// let content = r#"{"id": "r", "amount": {"amount": 5000, "currency": "SAR"}, "payment": "p"}"#;
/// let replenish: Replenish = serde_json::from_str(content)?;
/// assert_eq!(replenish.payment.map(|payment| payment.to_string()), Some("p".to_owned()));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Replenish {
    /// Which retainer.
    pub id: Key,
    /// How much; with a payment, the payment's amount.
    pub amount: Money,
    /// The payment that it comes from; cash unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<Key>,
    /// Only at one of these versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

/// A retainer and the payment that it was replenished by, after the command.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReplenishReply {
    /// The retainer.
    pub retainer: RetainerView,
    /// The payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<PaymentView>,
    /// What it posted and emitted.
    #[serde(flatten)]
    pub moved: Moved,
}

impl Command for Replenish {
    const NAME: &'static str = "retainers.replenish";
    type Reply = ReplenishReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<ReplenishReply> {
        known_currency(draft, &self.amount.currency)?;
        let mut book = Book::open(draft, now);
        let (retainer, version) = find(&mut book, &self.id)?;
        let payment = self.payment.as_ref().map(|id| payments::find(&mut book, id)).transpose()?;
        let payment = payment.map(|(payment, _)| payment);
        if let Some(payment) = &payment {
            clients::same(&retainer.client, &payment.client)?;
        }
        at_version(self.if_version.as_ref(), version)?;
        retainer.takes_money(now)?;
        if let Some(payment) = &payment {
            payment.completed()?;
            if let Some((retainer, seq)) = payment.credited.clone() {
                return Err(MoneyRejection::PaymentAlreadyCredited { retainer, seq });
            }
        }
        let (amount, currency) = (Minor::from(self.amount.amount), &retainer.currency);
        same_currency(currency, &self.amount.currency)?;
        if let Some(payment) = &payment {
            same_currency(currency, &payment.currency)?;
            let (expected, unapplied) = (Minor::from(payment.amount), payment.unapplied_free());
            if amount != expected {
                return Err(MoneyRejection::AmountMismatch { expected });
            }
            if unapplied < amount {
                return Err(MoneyRejection::ExceedsUnapplied { unapplied });
            }
        }
        let from = match &payment {
            Some(payment) => AccountId::unapplied(&payment.client, currency),
            None => AccountId::cash(currency),
        };
        let about = Some(self.payment.as_ref().unwrap_or(&self.id));
        let booking = Booking::of(Self::NAME, currency.clone()).debit(from, amount, about).credit(
            AccountId::retainer(&self.id),
            amount,
            about,
        );
        book.post(booking)?;

        // Past here it succeeds.
        if let Some(ends_at) = retainer.ends_at {
            book.draft.commit_before(ends_at);
        }
        credit(&mut book, &self.id, amount)?;
        if let Some(payment) = &self.payment {
            payments::retain_all(&mut book, payment, &self.id)?;
        }
        let retainer = view(&mut book, &self.id)?;
        let payment = self.payment.as_ref();
        let payment = payment.map(|payment| payments::view(&mut book, payment)).transpose()?;
        Ok(ReplenishReply { retainer, payment, moved: book.close() })
    }
}
