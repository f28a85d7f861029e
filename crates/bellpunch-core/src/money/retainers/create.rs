//! `retainers.create`: opens a retainer, with money or without.
//!
//! Invariant: its number, its account's first posting and its record are one commit. One that
//! begins at its minimum or below is not told of: it has not fallen there.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Retainer, RetainerReply, RetainerType, reply};
use crate::money::{
    Book, Booking, Decided, MoneyRejection, clients, known_currency, same_currency, series,
};
use crate::{
    AccountId, Command, CurrencyCode, Draft, Key, Minor, Money, MoneyOrZero, RecordId, Timestamp,
};

/// Opens a retainer. `retainers.create`.
///
/// ```
/// use bellpunch_core::{command, money::retainers::Create};
/// let content = serde_json::json!({
///     "client": "c", "type": "advance", "currency": "SAR",
///     "initial_amount": {"amount": 10_000, "currency": "SAR"},
/// });
/// let create: Create = serde_json::from_value(content)?;
/// assert!(create.minimum_balance.is_none());
/// assert!(command("retainers.create").is_some_and(|spec| spec.money));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// Its id; one is drawn unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Key>,
    /// Whose money it is.
    pub client: Key,
    /// What it is for.
    #[serde(rename = "type")]
    pub retainer_type: RetainerType,
    /// Of all its sums.
    pub currency: CurrencyCode,
    /// Cash received with it; nothing unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_amount: Option<MoneyOrZero>,
    /// At or below this its owner is told; nothing unless said, which tells nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_balance: Option<MoneyOrZero>,
    /// What the owner wants asked for when it is low.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_up: Option<Money>,
    /// From when on it may be consumed; at once unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
    /// Until when; for ever unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
}

impl Create {
    /// Each sum that it names, if the retainer's currency is theirs.
    fn currencies(&self) -> impl Iterator<Item = &CurrencyCode> {
        let sums = [&self.initial_amount, &self.minimum_balance];
        let sums = sums.into_iter().flatten().map(|sum| &sum.currency);
        sums.chain(self.top_up.as_ref().map(|sum| &sum.currency))
    }

    fn opened(&self, number: String, now: Timestamp) -> Retainer {
        let sum = |sum: &Option<MoneyOrZero>| sum.as_ref().map_or(Minor::ZERO, |sum| sum.amount);
        let (balance, minimum_balance) = (sum(&self.initial_amount), sum(&self.minimum_balance));
        Retainer {
            number,
            client: self.client.clone(),
            retainer_type: self.retainer_type,
            currency: self.currency.clone(),
            balance,
            minimum_balance,
            alert_armed: !minimum_balance.is_zero() && minimum_balance < balance,
            top_up: self.top_up.as_ref().map(|sum| sum.amount.into()),
            starts_at: self.starts_at,
            ends_at: self.ends_at,
            refunded_at: None,
            closing: None,
            metadata: None,
            created_at: now,
        }
    }
}

/// Tests that a retainer ends after it begins, and after now.
///
/// # Errors
/// `expiry_not_later`.
pub(super) fn ends_later(
    ends_at: Option<Timestamp>,
    starts_at: Option<Timestamp>,
    now: Timestamp,
) -> Decided<()> {
    let after = starts_at.map_or(now, |starts_at| starts_at.max(now));
    match ends_at {
        Some(ends_at) if ends_at <= after => Err(MoneyRejection::ExpiryNotLater { after }),
        Some(_) | None => Ok(()),
    }
}

impl Command for Create {
    const NAME: &'static str = "retainers.create";
    type Reply = RetainerReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<RetainerReply> {
        known_currency(draft, &self.currency)?;
        for currency in self.currencies() {
            known_currency(draft, currency)?;
        }
        let mut book = Book::open(draft, now);
        let client = clients::find(&mut book, &self.client)?;
        let id = self.id.clone().unwrap_or_else(|| book.draft.drawn_key());
        let record = RecordId::from(&id);
        if book.draft.get::<Retainer>(&record).is_some() {
            return Err(MoneyRejection::RetainerExists { id });
        }
        let series = series::find(&mut book, "RET")?;
        client.is_open()?;
        ends_later(self.ends_at, self.starts_at, now)?;
        for currency in self.currencies() {
            same_currency(&self.currency, currency)?;
        }
        let initial = self.initial_amount.as_ref().map_or(Minor::ZERO, |sum| sum.amount);
        let booking = Booking::of(Self::NAME, self.currency.clone())
            .debit(AccountId::cash(&self.currency), initial, Some(&id))
            .credit(AccountId::retainer(&id), initial, Some(&id));
        book.post(booking)?;
        let assigned = series.assign(&mut book, None, &id)?;

        // Past here it succeeds.
        if let Some(ends_at) = self.ends_at {
            book.draft.commit_before(ends_at);
        }
        let retainer = self.opened(assigned.number.clone(), now);
        let frozen = json!({
            "id": id, "number": retainer.number, "client": retainer.client,
            "type": retainer.retainer_type, "currency": retainer.currency, "created_at": now,
            "chain": assigned.chain,
        });
        series::seal(&mut book, &assigned, &frozen);
        book.draft.put(&record, retainer);
        reply(book, &id)
    }
}
