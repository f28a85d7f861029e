//! `payments.create`: announces a payment.
//!
//! Invariant: a pending payment has moved nothing and takes nothing off its targets; what they can
//! take is decided when it completes. Its number is assigned here, in this commit.

use serde::{Deserialize, Serialize};

use super::destination::{Found, Listed};
use super::{Destination, Payment, PaymentReply};
use crate::money::{Book, Decided, MoneyRejection, clients, external, series};
use crate::{Command, Draft, Key, Money, RecordId, Timestamp};

/// Announces a payment.
///
/// ```
/// use bellpunch_core::money::payments::Create;
/// let create: Create = serde_json::from_value(serde_json::json!({
///     "client": "c1", "method": "card", "amount": {"amount": 50000, "currency": "SAR"},
///     "destinations": [{"invoice": "i1", "amount": {"amount": 50000, "currency": "SAR"}}],
/// }))?;
/// assert_eq!(create.destinations.map(|list| list.len()), Some(1));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// The id to have; else one is drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Key>,
    /// Who pays.
    pub client: Key,
    /// How much.
    pub amount: Money,
    /// How it is paid, in the caller's words.
    pub method: Key,
    /// Where it is to go; at the latest at completion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destinations: Option<Vec<Destination>>,
    /// What the outside calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<Key>,
}

impl Command for Create {
    const NAME: &'static str = "payments.create";
    type Reply = PaymentReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<PaymentReply> {
        let mut book = Book::open(draft, now);
        let (listed, beside) = (self.destinations.as_deref(), Some(&self.amount.currency));
        let listed = Listed::read(&mut book, "destinations", listed.unwrap_or_default(), beside)?;
        if self.destinations.is_some() {
            listed.are_all_of(self.amount.amount.into())?;
        }
        let client = clients::find(&mut book, &self.client)?;
        let targets = Found::all(&mut book, &listed.parts)?;
        let id = self.id.clone().unwrap_or_else(|| book.draft.drawn_key());
        if book.draft.get::<Payment>(&RecordId::from(&id)).is_some() {
            return Err(MoneyRejection::PaymentExists { id });
        }
        external::is_free(&mut book, ("payments", self.external_id.as_ref()), None)?;
        let series = series::find(&mut book, "PAY")?;
        targets.iter().flatten().try_for_each(|target| target.is_of(&self.client))?;
        client.is_open()?;
        listed.are_in(&self.amount.currency)?;
        targets.iter().flatten().try_for_each(|target| target.is_in(&self.amount.currency))?;
        let assigned = series.assign(&mut book, None, &id)?;

        // Past here it succeeds.
        super::freeze(&mut book, (&id, &self.client), &self.amount, &assigned);
        if let Some(external_id) = &self.external_id {
            external::claim(&mut book, ("payments", external_id), &id);
        }
        let payment = Payment {
            external_id: self.external_id.clone(),
            destinations: listed.parts,
            ..Payment::pending((assigned.number, &self.client), &self.amount, &self.method, now)
        };
        book.draft.put(&RecordId::from(&id), payment);
        PaymentReply::of(book, &id)
    }
}
