//! Uses: take units from quotas and rates, all of them or none.
//!
//! Invariant: an accepted use leaves `used + held <= limit` on every target; a refusal leaves all
//! as it was and names every limit that said no.

use serde::{Deserialize, Serialize};

use super::account::{is_best_effort, is_relaxed, stale_denials, version_of};
use super::admission::{Admission, Horizon};
use super::charge::{self, Event};
use super::local;
use super::target::{demands, one};
use super::view::{CounterView, QuotaView, TargetView, least_remaining};
use super::{Item, Quota, Rejection, Target};
use crate::{
    Command, Draft, Duration, IfVersion, Key, Labels, Limit, Timestamp, Units, WithoutStore,
};

/// Takes units of several targets, all or nothing. `checks.consume`.
///
/// ```
/// use bellpunch_core::{Key, Units};
/// use bellpunch_core::limits::{Consume, Item, Target};
/// let quota = Target::quota(Key::new("uploads")?);
/// let rate = Target::rate(Key::new("per-address")?, Key::new("10.0.0.1")?);
/// let check = Consume::of(vec![Item::new(quota, Units::ONE), Item::new(rate, Units::ONE)]);
/// assert_eq!(check.items.len(), 2);
/// # Ok::<(), bellpunch_core::ValueError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Consume {
    /// What to take; 0 units only look.
    pub items: Vec<Item>,
    /// The charge's id; drawn if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Key>,
    /// The caller's own, for the charge.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

impl Consume {
    /// Takes these units, with a drawn id for the charge.
    #[must_use]
    pub fn of(items: Vec<Item>) -> Self {
        Self { items, id: None, labels: Labels::default() }
    }
}

/// What was taken.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ConsumeReply {
    /// Each target after it.
    pub targets: Vec<TargetView>,
    /// The least that is left on them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<Limit>,
    /// The charge, where one is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charge: Option<Key>,
    /// Nothing was asked for: it was only a look.
    #[serde(default, skip_serializing_if = "super::policy::is_false")]
    pub dry_run: bool,
}

/// What every use decides by; `stage_version` is asked between existence and state.
fn consume(
    draft: &mut Draft<'_>,
    now: Timestamp,
    check: &Consume,
    if_version: Option<(&Key, &IfVersion)>,
) -> Result<ConsumeReply, Rejection> {
    let demands = demands(&check.items)?;
    let mut admission = Admission::load(draft, now, &demands)?;
    charge::check_free(draft, now, check.id.as_ref())?;
    if let Some((id, wanted)) = if_version {
        check_version(version_of::<Quota>(draft, id), Some(wanted))?;
    }
    admission.check_revoked()?;
    admission.check_algorithms()?;
    admission.check_leases()?;
    admission.check_expired()?;
    admission.check_limits(draft, Horizon::default())?;

    // Past here it succeeds.
    admission.charge();
    admission.commit_before_ends(draft);
    admission.write(draft);
    let event = Event { id: check.id.as_ref(), hold: None, labels: &check.labels };
    let charge = charge::record(draft, &mut admission, &event);
    let targets = admission.views();
    let remaining = least_remaining(&targets);
    let dry_run = demands.iter().all(|demand| demand.units.is_zero());
    Ok(ConsumeReply { targets, remaining, charge, dry_run })
}

/// Stage version.
pub(super) fn check_version(
    version: Option<crate::Version>,
    wanted: Option<&IfVersion>,
) -> Result<(), Rejection> {
    if wanted.is_some_and(|wanted| !wanted.allows(version)) {
        return Err(Rejection::VersionMismatch { version: version.unwrap_or_default() });
    }
    Ok(())
}

impl Command for Consume {
    const NAME: &'static str = "checks.consume";
    type Reply = ConsumeReply;
    type Rejection = Rejection;

    fn is_rate_limit(&self) -> bool {
        self.items.iter().all(|item| matches!(item.target, Target::Rate { .. }))
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<ConsumeReply, Rejection> {
        consume(draft, now, self, None)
    }

    fn is_best_effort(&self, known: &mut Draft<'_>) -> bool {
        self.items.iter().all(|item| match (&item.target, &item.terms) {
            (Target::Quota { .. }, _) => false,
            (Target::Rate { .. }, Some(terms)) => terms.is_best_effort(),
            (Target::Rate { policy, .. }, None) => is_best_effort(known, policy),
        })
    }

    fn stale_denials(&self, known: &mut Draft<'_>) -> Option<Duration> {
        // A use with a name may be a repetition of one that passed elsewhere.
        if self.id.is_some() {
            return None;
        }
        let spans = self.items.iter().map(|item| match (&item.target, &item.terms) {
            (Target::Quota { .. }, _) => None,
            (Target::Rate { .. }, Some(terms)) => terms.stale_denials(),
            (Target::Rate { policy, .. }, None) => stale_denials(known, policy),
        });
        spans.collect::<Option<Vec<_>>>()?.into_iter().min()
    }

    fn is_relaxed(&self, known: &mut Draft<'_>) -> bool {
        // Who names a charge means to speak of it later.
        self.id.is_none()
            && self.items.iter().all(|item| match (&item.target, &item.terms) {
                (Target::Quota { .. }, _) => false,
                (Target::Rate { .. }, Some(terms)) => terms.is_relaxed(),
                (Target::Rate { policy, .. }, None) => is_relaxed(known, policy),
            })
    }

    fn without_store(&self, known: &mut Draft<'_>, now: Timestamp) -> WithoutStore {
        match local::without_store(known, now, &self.items) {
            local::Answer::Closed => WithoutStore::Closed,
            local::Answer::Open(reply) => WithoutStore::Open(Box::new(reply)),
            local::Answer::Local(command) => WithoutStore::Local(std::sync::Arc::new(command)),
        }
    }
}

/// Takes units of one quota. `quotas.consume`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ConsumeQuota {
    /// The quota.
    pub id: Key,
    /// How many; 0 only looks.
    #[serde(default = "one")]
    pub units: Units,
    /// The charge's id; drawn if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charge: Option<Key>,
    /// The caller's own, for the charge.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// The quota must be at this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl ConsumeQuota {
    /// Takes so many units.
    #[must_use]
    pub fn of(id: Key, units: Units) -> Self {
        Self { id, units, charge: None, labels: Labels::default(), if_version: None }
    }
}

/// What was taken of a quota.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ConsumeQuotaReply {
    /// The quota after it.
    pub quota: QuotaView,
    /// The charge, where one is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charge: Option<Key>,
    /// Nothing was asked for: it was only a look.
    #[serde(default, skip_serializing_if = "super::policy::is_false")]
    pub dry_run: bool,
}

impl Command for ConsumeQuota {
    const NAME: &'static str = "quotas.consume";
    type Reply = ConsumeQuotaReply;
    type Rejection = Rejection;

    fn decide(
        &self,
        draft: &mut Draft<'_>,
        now: Timestamp,
    ) -> Result<ConsumeQuotaReply, Rejection> {
        let check = Consume {
            items: vec![Item::new(Target::quota(self.id.clone()), self.units)],
            id: self.charge.clone(),
            labels: self.labels.clone(),
        };
        let if_version = self.if_version.as_ref().map(|wanted| (&self.id, wanted));
        let ConsumeReply { targets, charge, dry_run, .. } =
            consume(draft, now, &check, if_version)?;
        let Some(TargetView::Quota(quota)) = targets.into_iter().next() else {
            unreachable!("its only target is the quota")
        };
        Ok(ConsumeQuotaReply { quota: QuotaView { quota: None, ..*quota }, charge, dry_run })
    }
}

/// Takes units of one key under a stored policy. `policies.consume`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ConsumeRate {
    /// The policy.
    pub id: Key,
    /// The key.
    pub key: Key,
    /// How many; 0 only looks.
    #[serde(default = "one")]
    pub units: Units,
    /// The charge's id; drawn if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charge: Option<Key>,
    /// The caller's own, for the charge.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

impl ConsumeRate {
    /// Takes so many units.
    #[must_use]
    pub fn of(target: (Key, Key), units: Units) -> Self {
        let (id, key) = target;
        Self { id, key, units, charge: None, labels: Labels::default() }
    }

    pub(super) fn item(&self) -> Item {
        Item::new(Target::rate(self.id.clone(), self.key.clone()), self.units)
    }
}

/// What was taken under a policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ConsumeRateReply {
    /// The counter after it.
    pub counter: CounterView,
    /// The charge, where one is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charge: Option<Key>,
    /// Nothing was asked for: it was only a look.
    #[serde(default, skip_serializing_if = "super::policy::is_false")]
    pub dry_run: bool,
}

impl From<ConsumeReply> for ConsumeRateReply {
    fn from(reply: ConsumeReply) -> Self {
        let ConsumeReply { targets, charge, dry_run, .. } = reply;
        let Some(TargetView::Counter(counter)) = targets.into_iter().next() else {
            unreachable!("its only target is a rate")
        };
        Self { counter, charge, dry_run }
    }
}

impl Command for ConsumeRate {
    const NAME: &'static str = "policies.consume";
    type Reply = ConsumeRateReply;
    type Rejection = Rejection;

    fn is_rate_limit(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<ConsumeRateReply, Rejection> {
        let check = Consume {
            items: vec![self.item()],
            id: self.charge.clone(),
            labels: self.labels.clone(),
        };
        consume(draft, now, &check, None).map(ConsumeRateReply::from)
    }

    fn is_best_effort(&self, known: &mut Draft<'_>) -> bool {
        is_best_effort(known, &self.id)
    }

    fn stale_denials(&self, known: &mut Draft<'_>) -> Option<Duration> {
        // As of `checks.consume`.
        if self.charge.is_some() {
            return None;
        }
        stale_denials(known, &self.id)
    }

    fn is_relaxed(&self, known: &mut Draft<'_>) -> bool {
        self.charge.is_none() && is_relaxed(known, &self.id)
    }

    fn without_store(&self, known: &mut Draft<'_>, now: Timestamp) -> WithoutStore {
        match local::without_store(known, now, &[self.item()]) {
            local::Answer::Closed => WithoutStore::Closed,
            local::Answer::Open(reply) => {
                WithoutStore::Open(Box::new(ConsumeRateReply::from(reply)))
            }
            local::Answer::Local(command) => {
                WithoutStore::Local(std::sync::Arc::new(local::ConsumeRateLocally(command)))
            }
        }
    }
}
