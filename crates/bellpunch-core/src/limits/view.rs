//! What replies show of quotas, counters, holds and charges, as of one instant.

use serde::{Deserialize, Serialize};

use super::policy::TermsForm;
use super::{Charge, Item, Refill, Retention};
use crate::{Duration, Key, Labels, Limit, Timestamp, Units, Version};

/// Whether a quota may be used, as it was set.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum QuotaStatus {
    /// It may.
    Active,
    /// It was revoked.
    Revoked,
}

/// What a quota is worth now: the first that holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum QuotaState {
    /// It was revoked.
    Revoked,
    /// Its time is over.
    Expired,
    /// Nothing remains.
    Exhausted,
    /// It can be used.
    Active,
}

/// A quota as of one instant.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct QuotaView {
    /// Its id.
    pub id: Key,
    /// Its id again, where it stands among targets of both kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Key>,
    /// How many units there may be.
    pub limit: Limit,
    /// Units taken.
    pub used: Units,
    /// Units of open holds.
    pub held: Units,
    /// What is left.
    pub remaining: Limit,
    /// What it is worth now.
    pub state: QuotaState,
    /// As it was set.
    pub status: QuotaStatus,
    /// Usable before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The next refill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_at: Option<Timestamp>,
    /// When more remains by time alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
    /// The time that gives back as many units as the limit has, where it is always the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_ns: Option<Duration>,
    /// Its schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refill: Option<Refill>,
    /// How long charges are kept.
    pub charges: Retention,
    /// Units imported, charged, refunded, forgiven by refill or reset, and charged by charges
    /// that are no longer kept.
    pub totals: Totals,
    /// The caller's own.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub metadata: Labels,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// Of the record.
    pub version: Version,
}

/// Sums over the life of a quota; strings of digits in JSON.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Totals {
    /// Imported when it was made.
    #[serde(with = "super::epoch::digits")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub opening: u128,
    /// Taken by uses and captures.
    #[serde(with = "super::epoch::digits")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub charged: u128,
    /// Given back by refunds.
    #[serde(with = "super::epoch::digits")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub refunded: u128,
    /// Cleared by refills and resets.
    #[serde(with = "super::epoch::digits")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub forgiven: u128,
    /// Net units of charges that are no longer kept, or never were.
    #[serde(with = "super::epoch::digits")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub pruned: u128,
}

impl Totals {
    pub(super) fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

/// [`Totals`] as they are stored: without those that are 0.
#[derive(Default, Serialize, Deserialize)]
#[serde(remote = "Totals", default)]
pub(super) struct StoredTotals {
    #[serde(with = "super::epoch::digits", skip_serializing_if = "is_zero")]
    opening: u128,
    #[serde(with = "super::epoch::digits", skip_serializing_if = "is_zero")]
    charged: u128,
    #[serde(with = "super::epoch::digits", skip_serializing_if = "is_zero")]
    refunded: u128,
    #[serde(with = "super::epoch::digits", skip_serializing_if = "is_zero")]
    forgiven: u128,
    #[serde(with = "super::epoch::digits", skip_serializing_if = "is_zero")]
    pruned: u128,
}

const fn is_zero(sum: &u128) -> bool {
    *sum == 0
}

/// One key under a rate policy, as of one instant.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CounterView {
    /// The policy.
    pub policy: Key,
    /// The key.
    pub key: Key,
    /// How many units there may be; of a token bucket its burst.
    pub limit: Limit,
    /// Units counted now.
    pub used: Units,
    /// Units of open holds.
    pub held: Units,
    /// What is left.
    pub remaining: Limit,
    /// When nothing of it counts any more; without a counter, what a use now would give.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_at: Option<Timestamp>,
    /// When more remains by time alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
    /// The time that gives back as many units as the limit has, where it is always the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_ns: Option<Duration>,
    /// Of a shadow policy: whether it would have said no. Then nothing was charged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would_reject: Option<bool>,
    /// Of the record; 0 for a key that was never used.
    pub version: Version,
}

/// A target as of one instant.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum TargetView {
    /// A quota.
    Quota(Box<QuotaView>),
    /// A rate.
    Counter(CounterView),
}

impl TargetView {
    /// What is left.
    #[must_use]
    pub const fn remaining(&self) -> Limit {
        match self {
            Self::Quota(view) => view.remaining,
            Self::Counter(view) => view.remaining,
        }
    }
}

/// The least of what is left; `None` of no targets.
pub(super) fn least_remaining(targets: &[TargetView]) -> Option<Limit> {
    targets.iter().map(TargetView::remaining).reduce(least)
}

pub(super) const fn least(one: Limit, other: Limit) -> Limit {
    match (one, other) {
        (Limit::Unlimited, limit) | (limit, Limit::Unlimited) => limit,
        (Limit::Finite(a), Limit::Finite(b)) if b.get() < a.get() => Limit::Finite(b),
        (limit, Limit::Finite(_)) => limit,
    }
}

/// A rate policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PolicyView {
    /// Its name.
    pub id: Key,
    /// Its terms, as they are set.
    #[serde(flatten)]
    pub(super) terms: TermsForm,
    /// Since when these terms hold.
    pub since: Timestamp,
    /// Of the record.
    pub version: Version,
}

/// What became of a hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HoldStatus {
    /// Its units are set aside.
    Open,
    /// Some or all of it were taken.
    Captured,
    /// It was released.
    Voided,
    /// Time released it.
    Expired,
}

/// A hold as of one instant.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HoldView {
    /// Its id.
    pub id: Key,
    /// What it holds.
    pub items: Vec<Item>,
    /// Who alone may end it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Key>,
    /// What became of it.
    pub status: HoldStatus,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it holds.
    pub expires_at: Timestamp,
    /// When it was captured or voided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The charge it became.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charge: Option<Key>,
    /// The caller's own.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Of the record.
    pub version: Version,
}

/// One item of a charge.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ChargedItem {
    /// The quota, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Key>,
    /// The policy, if it is a rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Key>,
    /// The key under the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// Units taken.
    pub units: Units,
    /// Units counted after it.
    pub used: Units,
    /// Units of open holds after it.
    pub held: Units,
    /// The limit it was decided under.
    pub limit: Limit,
    /// Units given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refunded: Option<Units>,
    /// When they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refunded_at: Option<Timestamp>,
}

/// A charge: the event of one use.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ChargeView {
    /// Its id.
    pub id: Key,
    /// What was taken.
    pub items: Vec<ChargedItem>,
    /// The hold it was captured from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Key>,
    /// When.
    pub at: Timestamp,
    /// Until when it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_until: Option<Timestamp>,
    /// The caller's own.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Of the record.
    pub version: Version,
}

impl ChargeView {
    pub(super) fn new(id: &Key, charge: &Charge, version: Version) -> Self {
        let items = charge.items.iter().map(|item| {
            let (quota, policy, key) = super::target::names_of(item.target.clone());
            ChargedItem {
                quota,
                policy,
                key,
                units: item.units,
                used: item.used,
                held: item.held,
                limit: item.limit,
                refunded: item.refunded.map(|(units, _)| units),
                refunded_at: item.refunded.map(|(_, at)| at),
            }
        });
        Self {
            id: id.clone(),
            items: items.collect(),
            hold: charge.hold.clone(),
            at: charge.at,
            keep_until: charge.keep_until,
            labels: charge.labels.clone(),
            version,
        }
    }
}

/// A span until an instant; `None` if there is none.
pub(super) fn wait(now: Timestamp, until: Option<Timestamp>) -> Option<Duration> {
    until.and_then(|until| until.since(now))
}
