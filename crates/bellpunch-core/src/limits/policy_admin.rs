//! Rate policies: setting, deleting and reading them, and resetting what was counted.
//!
//! Invariant: no change of terms mints, so the algorithm of a name never changes, and a policy
//! whose counters are live is not deleted. `reset_all` writes one record however many counters
//! there are: each later sees that its epoch is over.

use serde::{Deserialize, Serialize};

use super::account::{RateAccount, is_best_effort, policy, version_of};
use super::admission::KeyCount;
use super::consume::check_version;
use super::epoch::Epoch;
use super::policy::{FailureMode, TermsForm};
use super::schedule::{Anchor, CalendarUnit};
use super::view::{CounterView, PolicyView};
use super::{AlgorithmName, Align, Durability, RateCounter, RatePolicy, Rejection, Target, Terms};
use crate::{
    Command, DUE_MAX, Draft, Duration, IfVersion, Key, Limit, PositiveUnits, RecordId, Timestamp,
    Units, ValueError, Version,
};

/// Sets the terms of a policy, new or known. JSON: `id`, and the terms beside it. `policies.set`.
///
/// ```
/// use bellpunch_core::limits::SetPolicy;
/// let set: SetPolicy = serde_json::from_str(
///     r#"{"id": "login", "algorithm": "gcra", "rate": 100, "period_ns": 60000000000}"#,
/// )?;
/// assert_eq!(set.terms.limit().to_string(), "100");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "SetPolicyForm", into = "SetPolicyForm")]
pub struct SetPolicy {
    /// The policy's name.
    pub id: Key,
    /// Its terms from now on.
    pub terms: Terms,
    /// The policy must be at this version.
    pub if_version: Option<IfVersion>,
}

impl SetPolicy {
    /// Sets these terms.
    #[must_use]
    pub const fn of(id: Key, terms: Terms) -> Self {
        Self { id, terms, if_version: None }
    }
}

/// [`TermsForm`] and what stands beside it, spelled out so that unknown fields are refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename = "SetPolicy")]
struct SetPolicyForm {
    id: Key,
    algorithm: AlgorithmName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    align: Option<Align>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit: Option<Limit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    period_ns: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate: Option<PositiveUnits>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    burst: Option<Limit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<CalendarUnit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    anchor: Option<Anchor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_ttl_ns: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_open_holds: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_keys: Option<Units>,
    #[serde(default)]
    charges: bool,
    #[serde(default)]
    shadow: bool,
    #[serde(default)]
    on_store_failure: FailureMode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    local_limit: Option<Limit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    local_rate: Option<PositiveUnits>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stale_denials_ns: Option<Duration>,
    #[serde(default)]
    best_effort: bool,
    #[serde(default)]
    durability: Durability,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    if_version: Option<IfVersion>,
}

impl TryFrom<SetPolicyForm> for SetPolicy {
    type Error = ValueError;

    fn try_from(form: SetPolicyForm) -> Result<Self, ValueError> {
        let terms = TermsForm {
            algorithm: form.algorithm,
            align: form.align,
            limit: form.limit,
            period_ns: form.period_ns,
            rate: form.rate,
            burst: form.burst,
            unit: form.unit,
            zone: form.zone,
            anchor: form.anchor,
            max_ttl_ns: form.max_ttl_ns,
            max_open_holds: form.max_open_holds,
            max_keys: form.max_keys,
            charges: form.charges,
            shadow: form.shadow,
            on_store_failure: form.on_store_failure,
            local_limit: form.local_limit,
            local_rate: form.local_rate,
            stale_denials_ns: form.stale_denials_ns,
            best_effort: form.best_effort,
            durability: form.durability,
        };
        Ok(Self { id: form.id, terms: terms.try_into()?, if_version: form.if_version })
    }
}

impl From<SetPolicy> for SetPolicyForm {
    fn from(set: SetPolicy) -> Self {
        let terms = TermsForm::from(set.terms);
        Self {
            id: set.id,
            algorithm: terms.algorithm,
            align: terms.align,
            limit: terms.limit,
            period_ns: terms.period_ns,
            rate: terms.rate,
            burst: terms.burst,
            unit: terms.unit,
            zone: terms.zone,
            anchor: terms.anchor,
            max_ttl_ns: terms.max_ttl_ns,
            max_open_holds: terms.max_open_holds,
            max_keys: terms.max_keys,
            charges: terms.charges,
            shadow: terms.shadow,
            on_store_failure: terms.on_store_failure,
            local_limit: terms.local_limit,
            local_rate: terms.local_rate,
            stale_denials_ns: terms.stale_denials_ns,
            best_effort: terms.best_effort,
            durability: terms.durability,
            if_version: set.if_version,
        }
    }
}

/// A policy, and whether the command changed it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PolicyReply {
    /// The policy as it now is.
    pub policy: PolicyView,
    /// Of a change: whether it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<bool>,
}

fn view(id: &Key, policy: &RatePolicy, version: Version) -> PolicyView {
    let last = policy.last();
    PolicyView { id: id.clone(), terms: last.terms.clone().into(), since: last.at, version }
}

impl Command for SetPolicy {
    const NAME: &'static str = "policies.set";
    type Reply = PolicyReply;
    type Rejection = Rejection;

    fn is_best_effort(&self, _: &mut Draft<'_>) -> bool {
        self.terms.is_best_effort()
    }

    fn is_rate_limit(&self) -> bool {
        true
    }

    fn is_journaled(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<PolicyReply, Rejection> {
        let id = RecordId::from(&self.id);
        let known = draft.get::<RatePolicy>(&id);
        if self.terms.max_keys().is_some()
            && known.as_ref().is_some_and(|known| known.terms().max_keys().is_none())
        {
            let reason = "may be set only when the policy is made";
            return Err(Rejection::invalid_request("max_keys", reason));
        }
        let version = version_of::<RatePolicy>(draft, &self.id);
        check_version(version, self.if_version.as_ref())?;
        if let Some(known) = &known {
            let algorithm = known.terms().algorithm();
            if !algorithm.same_kind(self.terms.algorithm()) {
                let algorithm = algorithm.name();
                return Err(Rejection::AlgorithmChanged { algorithm, targets: None });
            }
            if *known.terms() == self.terms {
                let policy = view(&self.id, known, version.unwrap_or_default());
                return Ok(PolicyReply { policy, changed: Some(false) });
            }
        }

        // Past here it succeeds.
        let policy = match &known {
            Some(known) => known.changed(self.terms.clone(), now),
            None => {
                let epoch = Epoch::of(draft.version::<RatePolicy>(&id).plus(1));
                RatePolicy::new(self.terms.clone(), now, epoch)
            }
        };
        let version = draft.put(&id, policy.clone());
        Ok(PolicyReply { policy: view(&self.id, &policy, version), changed: Some(true) })
    }
}

/// Stage existence and version of a policy.
fn load(
    draft: &mut Draft<'_>,
    (id, if_version): (&Key, Option<&IfVersion>),
) -> Result<(RatePolicy, Version), Rejection> {
    let Some(known) = policy(draft, id) else {
        return Err(Rejection::PolicyNotFound { targets: None });
    };
    let version = draft.version::<RatePolicy>(&RecordId::from(id));
    check_version(Some(version), if_version)?;
    Ok(((*known).clone(), version))
}

/// Deletes a policy that no live counter is under. `policies.delete`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DeletePolicy {
    /// The policy.
    pub id: Key,
    /// The policy must be at this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for DeletePolicy {
    const NAME: &'static str = "policies.delete";
    type Reply = PolicyReply;
    type Rejection = Rejection;

    fn is_best_effort(&self, known: &mut Draft<'_>) -> bool {
        is_best_effort(known, &self.id)
    }

    fn is_rate_limit(&self) -> bool {
        true
    }

    fn is_journaled(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<PolicyReply, Rejection> {
        let (known, _) = load(draft, (&self.id, self.if_version.as_ref()))?;
        let counters = draft.any::<RateCounter>(&RecordId::prefix(&[&self.id]));
        // A full page may have more behind it: to refuse then costs a retry after the sweep.
        let mut in_use = DUE_MAX <= counters.len();
        for id in &counters {
            let counter = draft.get::<RateCounter>(id);
            in_use |= counter.is_some_and(|counter| !counter.under(&known, now).is_idle(now));
        }
        if in_use {
            return Err(Rejection::PolicyInUse {});
        }

        // Past here it succeeds.
        let id = RecordId::from(&self.id);
        let version = draft.delete::<RatePolicy>(&id);
        if draft.get::<KeyCount>(&id).is_some() {
            draft.delete::<KeyCount>(&id);
        }
        Ok(PolicyReply { policy: view(&self.id, &known, version), changed: Some(true) })
    }
}

/// Forgets what every key under a policy has used. Open holds stay. `policies.reset_all`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ResetPolicy {
    /// The policy.
    pub id: Key,
    /// The policy must be at this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for ResetPolicy {
    const NAME: &'static str = "policies.reset_all";
    type Reply = PolicyReply;
    type Rejection = Rejection;

    fn is_best_effort(&self, known: &mut Draft<'_>) -> bool {
        is_best_effort(known, &self.id)
    }

    fn is_rate_limit(&self) -> bool {
        true
    }

    fn is_journaled(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, _: Timestamp) -> Result<PolicyReply, Rejection> {
        let (known, _) = load(draft, (&self.id, self.if_version.as_ref()))?;

        // Past here it succeeds.
        let policy = known.reset();
        let version = draft.put(&RecordId::from(&self.id), policy.clone());
        Ok(PolicyReply { policy: view(&self.id, &policy, version), changed: None })
    }
}

/// Reads a policy. `policies.read`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ReadPolicy {
    /// The policy.
    pub id: Key,
}

impl Command for ReadPolicy {
    const NAME: &'static str = "policies.read";
    type Reply = PolicyReply;
    type Rejection = Rejection;

    fn is_best_effort(&self, known: &mut Draft<'_>) -> bool {
        is_best_effort(known, &self.id)
    }

    fn is_rate_limit(&self) -> bool {
        true
    }

    fn is_journaled(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, _: Timestamp) -> Result<PolicyReply, Rejection> {
        let (known, version) = load(draft, (&self.id, None))?;
        Ok(PolicyReply { policy: view(&self.id, &known, version), changed: None })
    }
}

/// One key under a policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CounterReply {
    /// The counter as it now is.
    pub counter: CounterView,
}

fn counter(
    draft: &mut Draft<'_>,
    now: Timestamp,
    (name, key): (&Key, &Key),
) -> Result<RateAccount, Rejection> {
    let Some(policy) = policy(draft, name) else {
        let target = Target::rate(name.clone(), key.clone());
        return Err(Rejection::PolicyNotFound { targets: Some(vec![target]) });
    };
    Ok(RateAccount::stored(draft, now, (name, key), &policy))
}

fn counter_view(account: &RateAccount) -> CounterView {
    account.counter.view(&account.policy, &account.key, account.version)
}

/// Forgets what one key has used, and no other. Open holds stay. `policies.reset`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ResetCounter {
    /// The policy.
    pub id: Key,
    /// The key, exactly.
    pub key: Key,
}

impl Command for ResetCounter {
    const NAME: &'static str = "policies.reset";
    type Reply = CounterReply;
    type Rejection = Rejection;

    fn is_best_effort(&self, known: &mut Draft<'_>) -> bool {
        is_best_effort(known, &self.id)
    }

    fn is_rate_limit(&self) -> bool {
        true
    }

    fn is_journaled(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<CounterReply, Rejection> {
        let mut account = counter(draft, now, (&self.id, &self.key))?;

        // Past here it succeeds.
        if account.is_live {
            account.counter.void();
            account.write(draft);
        }
        Ok(CounterReply { counter: counter_view(&account) })
    }
}

/// Reads one key; one that was never used reads as unused. `counters.read`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ReadCounter {
    /// The policy.
    pub policy: Key,
    /// The key.
    pub key: Key,
}

impl Command for ReadCounter {
    const NAME: &'static str = "counters.read";
    type Reply = CounterReply;
    type Rejection = Rejection;

    fn is_best_effort(&self, known: &mut Draft<'_>) -> bool {
        is_best_effort(known, &self.policy)
    }

    fn is_rate_limit(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<CounterReply, Rejection> {
        let account = counter(draft, now, (&self.policy, &self.key))?;
        Ok(CounterReply { counter: counter_view(&account) })
    }
}
