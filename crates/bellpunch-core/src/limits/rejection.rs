//! Why not: the rejections of this domain, in order of precedence.

use serde::{Deserialize, Serialize};

use super::{AlgorithmName, Target};
use crate::rejection::rejections;
use crate::{Duration, Key, Limit, Timestamp, Units, Version};

rejections! {
    /// Why a command on limits was refused. The first stage where anything fails gives the code.
    pub enum Rejection {
        /// The command makes no sense by itself.
        Shape "invalid_request" => InvalidRequest {
            /// Which field.
            field: String,
            /// What is wrong with it.
            reason: &'static str,
        },
        /// Units that are none, or a sum of them that is too large.
        Shape "invalid_units" => InvalidUnits {
            /// Which field.
            field: String,
            /// What is wrong with it.
            reason: &'static str,
        },
        /// No quota has this id.
        Existence "quota_not_found" => QuotaNotFound {
            /// All that are missing.
            targets: Vec<Target>,
        },
        /// No policy has this name.
        Existence "policy_not_found" => PolicyNotFound {
            /// All that are missing, where targets were named.
            targets: Option<Vec<Target>>,
        },
        /// No hold has this id, or it ended more than 7 days ago.
        Existence "hold_not_found" => HoldNotFound {},
        /// No charge has this id, or it is no longer kept.
        Existence "charge_not_found" => ChargeNotFound {},
        /// The id is taken. A quota is never deleted, so it stays taken.
        Existence "quota_exists" => QuotaExists {
            /// Since when.
            at: Timestamp,
        },
        /// The id is taken.
        Existence "hold_exists" => HoldExists {
            /// Since when.
            at: Timestamp,
        },
        /// The id is taken.
        Existence "charge_exists" => ChargeExists {
            /// Since when.
            at: Timestamp,
        },
        /// The hold has an owner, and it is somebody else.
        Right "not_owner" => NotOwner {},
        /// The record is at another version than the caller named.
        Version "version_mismatch" => VersionMismatch {
            /// The version it is at.
            version: Version,
        },
        /// The hold was captured.
        State "hold_captured" => HoldCaptured {
            /// When.
            at: Timestamp,
            /// The charge it became, where one is kept.
            charge: Option<Key>,
        },
        /// The hold was voided.
        State "hold_voided" => HoldVoided {
            /// When.
            at: Timestamp,
        },
        /// Each item is refunded once.
        State "already_refunded" => AlreadyRefunded {
            /// When.
            at: Timestamp,
            /// How many units.
            refunded: Units,
            /// All items that were.
            targets: Vec<Target>,
        },
        /// The charge does not keep this item.
        State "not_refundable" => NotRefundable {
            /// All such items.
            targets: Vec<Target>,
        },
        /// The quota was revoked.
        State "quota_revoked" => QuotaRevoked {
            /// When.
            revoked_at: Timestamp,
            /// All that were.
            targets: Vec<Target>,
        },
        /// The name stands for another algorithm or alignment.
        State "algorithm_changed" => AlgorithmChanged {
            /// The one it stands for.
            algorithm: AlgorithmName,
            /// All such targets, where targets were named.
            targets: Option<Vec<Target>>,
        },
        /// Leases are taken by a hold, not by a use.
        State "lease_required" => LeaseRequired {
            /// All such targets.
            targets: Vec<Target>,
        },
        /// Counters of the policy are live.
        State "policy_in_use" => PolicyInUse {},
        /// The hold ran out.
        Time "hold_expired" => HoldExpired {
            /// When.
            expires_at: Timestamp,
        },
        /// The quota ran out.
        Time "quota_expired" => QuotaExpired {
            /// When.
            expires_at: Timestamp,
            /// All that did.
            targets: Vec<Target>,
        },
        /// What was charged no longer counts.
        Time "charge_window_over" => ChargeWindowOver {
            /// All items of which nothing counts.
            targets: Vec<Target>,
        },
        /// No hold may last so long.
        Time "ttl_too_long" => TtlTooLong {
            /// The longest that would do.
            max_ttl_ns: Option<Duration>,
        },
        /// The end would not be later than it is, or than now.
        Time "expiry_not_later" => ExpiryNotLater {
            /// The end in question.
            expires_at: Timestamp,
        },
        /// More than was charged, or than still counts.
        Amount "refund_too_large" => RefundTooLarge {
            /// Units charged.
            charged: Units,
            /// Units that can be refunded now.
            refundable: Units,
            /// All such items.
            targets: Vec<Target>,
        },
        /// As many holds are open as may be.
        Limit "too_many_holds" => TooManyHolds {
            /// How many may be.
            max: u32,
            /// All such targets.
            targets: Vec<Target>,
        },
        /// As many counters are live as may be, and none is idle.
        Limit "too_many_keys" => TooManyKeys {
            /// How many may be.
            max: Units,
            /// All such targets.
            targets: Vec<Target>,
        },
        /// Some item is above its limit itself: waiting never helps.
        Limit "exceeds_limit" => ExceedsLimit {
            /// What there is.
            remaining: Limit,
            /// Waiting so long would be enough.
            retry_after_ns: Option<Duration>,
            /// What a capture could take.
            capturable: Option<Units>,
            /// Every limit that said no.
            violations: Vec<Violation>,
        },
        /// Some quota has not enough left.
        Limit "quota_exceeded" => QuotaExceeded {
            /// What there is.
            remaining: Limit,
            /// Waiting so long is enough.
            retry_after_ns: Option<Duration>,
            /// What a capture could take.
            capturable: Option<Units>,
            /// Every limit that said no.
            violations: Vec<Violation>,
        },
        /// Some rate has not enough left.
        Limit "rate_limited" => RateLimited {
            /// What there is.
            remaining: Limit,
            /// Waiting so long is enough.
            retry_after_ns: Option<Duration>,
            /// What a capture could take.
            capturable: Option<Units>,
            /// Every limit that said no.
            violations: Vec<Violation>,
        },
    }
}

impl Rejection {
    pub(super) fn invalid_request(field: impl Into<String>, reason: &'static str) -> Self {
        Self::InvalidRequest { field: field.into(), reason }
    }
}

/// A limit that said no, and what it saw.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Violation {
    /// The quota, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Key>,
    /// The policy, if it is a rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Key>,
    /// The key under the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// Its limit.
    pub limit: Limit,
    /// Units counted now.
    pub used: Units,
    /// Units of open holds.
    pub held: Units,
    /// What there is.
    pub remaining: Limit,
    /// What was asked for.
    pub requested: Units,
    /// The least wait after which this one would pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ns: Option<Duration>,
    /// When more remains by time alone, be it enough or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
    /// The time that gives back as many units as the limit has, where it is always the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_ns: Option<Duration>,
    /// More than the limit itself: no waiting helps under these terms.
    pub never: bool,
}
