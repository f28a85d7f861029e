//! `retainers.update`, `read`, `consumptions.read`: what a retainer is set to, and what is known.
//!
//! Invariant: no command sets a balance or a status. A minimum that is changed is compared like a
//! balance that is, so it tells once.

use serde::{Deserialize, Serialize};

use super::consume::view_consumption;
use super::create::ends_later;
use super::{ConsumptionView, RetainerReply, RetainerView, find, put, reply, view};
use crate::money::{Book, Decided, MoneyRejection, at_version, known_currency, same_currency};
use crate::tickets::Metadata;
use crate::{Command, CurrencyCode, Draft, IfVersion, Key, Money, MoneyOrZero, Timestamp};

/// Sets what a retainer is to have; what is left out stays. `retainers.update`.
///
/// ```
/// use bellpunch_core::money::retainers::Update;
/// let update: Update = serde_json::from_str(r#"{"id": "r", "if_version": 3}"#)?;
/// assert!(update.if_version.is_some() && update.ends_at.is_none());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// Which retainer.
    pub id: Key,
    /// Only at one of these versions. Needed: it writes values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
    /// At or below this its owner is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_balance: Option<MoneyOrZero>,
    /// What the owner wants asked for when it is low.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_up: Option<Money>,
    /// Until when it may be consumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// Stored, never read by a rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
}

impl Update {
    fn currencies(&self) -> impl Iterator<Item = &CurrencyCode> {
        let minimum = self.minimum_balance.iter().map(|sum| &sum.currency);
        minimum.chain(self.top_up.iter().map(|sum| &sum.currency))
    }
}

impl Command for Update {
    const NAME: &'static str = "retainers.update";
    type Reply = RetainerReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<RetainerReply> {
        for currency in self.currencies() {
            known_currency(draft, currency)?;
        }
        if self.if_version.is_none() {
            return Err(MoneyRejection::IfVersionRequired {});
        }
        let mut book = Book::open(draft, now);
        let (before, version) = find(&mut book, &self.id)?;
        at_version(self.if_version.as_ref(), version)?;
        before.not_refunded()?;
        before.not_expired(now)?;
        ends_later(self.ends_at, before.starts_at, now)?;
        for currency in self.currencies() {
            same_currency(&before.currency, currency)?;
        }

        // Past here it succeeds.
        for ends_at in [before.ends_at, self.ends_at].into_iter().flatten() {
            book.draft.commit_before(ends_at);
        }
        let mut after = (*before).clone();
        if let Some(minimum) = &self.minimum_balance {
            after.minimum_balance = minimum.amount;
        }
        if let Some(top_up) = &self.top_up {
            after.top_up = Some(top_up.amount.into());
        }
        after.ends_at = self.ends_at.or(before.ends_at);
        after.metadata = self.metadata.clone().or(after.metadata);
        put(&mut book, &self.id, (&before, after));
        reply(book, &self.id)
    }
}

/// Reads a retainer. `retainers.read`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// Which one.
    pub id: Key,
}

/// A retainer as it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReadReply {
    /// The retainer.
    pub retainer: RetainerView,
}

impl Command for Read {
    const NAME: &'static str = "retainers.read";
    type Reply = ReadReply;
    type Rejection = MoneyRejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<ReadReply> {
        let mut book = Book::look(draft, now);
        Ok(ReadReply { retainer: view(&mut book, &self.id)? })
    }
}

/// Reads a consumption. `consumptions.read`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ReadConsumption {
    /// Which one.
    pub id: Key,
}

/// A consumption as it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReadConsumptionReply {
    /// The consumption.
    pub consumption: ConsumptionView,
}

impl Command for ReadConsumption {
    const NAME: &'static str = "consumptions.read";
    type Reply = ReadConsumptionReply;
    type Rejection = MoneyRejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<ReadConsumptionReply> {
        let mut book = Book::look(draft, now);
        Ok(ReadConsumptionReply { consumption: view_consumption(&mut book, &self.id)? })
    }
}
