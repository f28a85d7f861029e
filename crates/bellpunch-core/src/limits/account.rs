//! Accounts: a quota or a counter as one command sees it, loaded once and written once.
//!
//! Invariant: what stands here is the record as time alone has made it by `now`, so that no answer
//! depends on a sweeper having run.

use std::sync::Arc;

use super::admission::KeyCount;
use super::counter::{InlineCounter, LocalCounter, Place, RateCounter};
use super::epoch::Epoch;
use super::view::TargetView;
use super::{AlgorithmName, Quota, RatePolicy, Target, Terms};
use crate::{Draft, Duration, Key, Limit, Record, RecordId, Timestamp, Units, Version};

/// Which counters a rate is counted on. Two of them never share one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Space {
    /// Of a stored policy.
    Stored,
    /// Of inline terms.
    Inline,
    /// In this node alone, for a stored policy.
    LocalStored,
    /// In this node alone, for inline terms.
    LocalInline,
}

impl Space {
    pub(super) const fn of(terms: Option<&Terms>) -> Self {
        match terms {
            None => Self::Stored,
            Some(_) => Self::Inline,
        }
    }

    fn id(self, policy: &Key, key: &Key) -> RecordId {
        let local = |space: &str| {
            let space = Key::new(space).expect("a word is a legal name");
            RecordId::compound(&[&space, policy, key])
        };
        match self {
            Self::Stored | Self::Inline => RecordId::compound(&[policy, key]),
            Self::LocalStored => local("stored"),
            Self::LocalInline => local("inline"),
        }
    }

    fn read(self, draft: &mut Draft<'_>, id: &RecordId) -> (Version, Option<RateCounter>) {
        match self {
            Self::Stored => {
                let counter = draft.get::<RateCounter>(id).map(|record| (*record).clone());
                (draft.version::<RateCounter>(id), counter)
            }
            Self::Inline => {
                let counter = draft.get::<InlineCounter>(id).map(|record| record.0.clone());
                (draft.version::<InlineCounter>(id), counter)
            }
            Self::LocalStored | Self::LocalInline => {
                let counter = draft.get::<LocalCounter>(id).map(|record| record.0.clone());
                (draft.version::<LocalCounter>(id), counter)
            }
        }
    }

    fn write(self, draft: &mut Draft<'_>, id: &RecordId, counter: RateCounter) -> Version {
        match self {
            Self::Stored => draft.put(id, counter),
            Self::Inline => draft.put(id, InlineCounter(counter)),
            Self::LocalStored | Self::LocalInline => draft.put(id, LocalCounter(counter)),
        }
    }
}

/// A quota, loaded.
#[derive(Clone, Debug)]
pub(super) struct QuotaAccount {
    pub(super) id: Key,
    pub(super) quota: Quota,
    pub(super) version: Version,
}

impl QuotaAccount {
    pub(super) fn load(draft: &mut Draft<'_>, now: Timestamp, id: &Key) -> Option<Self> {
        let record_id = RecordId::from(id);
        let quota = draft.get::<Quota>(&record_id)?.at(now);
        Some(Self { id: id.clone(), quota, version: draft.version::<Quota>(&record_id) })
    }

    pub(super) fn write(&mut self, draft: &mut Draft<'_>) {
        self.version = draft.put(&RecordId::from(&self.id), self.quota.clone());
    }
}

/// A counter, loaded.
#[derive(Clone, Debug)]
pub(super) struct RateAccount {
    pub(super) policy: Key,
    pub(super) key: Key,
    pub(super) space: Space,
    pub(super) counter: RateCounter,
    pub(super) version: Version,
    /// Whether there is a counter that is not idle.
    pub(super) is_live: bool,
    /// Whether a record of this policy's epoch is there, idle or not: it has its place already.
    pub(super) has_place: bool,
    /// The counter under the terms it had, where inline terms bring others.
    pub(super) before: Option<Box<RateCounter>>,
    /// Another algorithm than the counter has.
    pub(super) clash: Option<AlgorithmName>,
    pub(super) would_reject: bool,
}

impl RateAccount {
    /// The account of a stored policy's key.
    pub(super) fn stored(
        draft: &mut Draft<'_>,
        now: Timestamp,
        (name, key): (&Key, &Key),
        policy: &RatePolicy,
    ) -> Self {
        let (version, found) = Space::Stored.read(draft, &Space::Stored.id(name, key));
        let has_place =
            found.as_ref().is_some_and(|counter| counter.policy_epoch() == policy.epoch());
        let live =
            found.map(|counter| counter.under(policy, now)).filter(|counter| !counter.is_idle(now));
        let is_live = live.is_some();
        let counter =
            live.unwrap_or_else(|| RateCounter::fresh_of(policy, now, Epoch::of(version.plus(1))));
        Self { has_place, is_live, ..Self::new((name, key), Space::Stored, (counter, version)) }
    }

    /// The account of a key under terms that come with the use.
    pub(super) fn inline(
        draft: &mut Draft<'_>,
        now: Timestamp,
        (name, key, space): (&Key, &Key, Space),
        terms: &Terms,
    ) -> Self {
        let (version, found) = space.read(draft, &space.id(name, key));
        let live = found.filter(|counter| !counter.under_own(now).is_idle(now));
        let clash = live
            .as_ref()
            .map(|counter| counter.terms().algorithm())
            .filter(|algorithm| !algorithm.same_kind(terms.algorithm()))
            .map(super::Algorithm::name);
        let before = live
            .as_ref()
            .filter(|counter| counter.terms() != terms)
            .map(|counter| Box::new(counter.under_own(now)));
        let live = live
            .map(|counter| match clash {
                Some(_) => counter.under_own(now),
                None => counter.under_terms(terms, now),
            })
            .filter(|counter| !counter.is_idle(now));
        let is_live = live.is_some();
        let counter = live
            .unwrap_or_else(|| RateCounter::fresh(terms.clone(), now, Epoch::of(version.plus(1))));
        Self { is_live, before, clash, ..Self::new((name, key), space, (counter, version)) }
    }

    /// The account of a counter that a hold or a charge is on, under the terms it has; `None` if
    /// nothing is left of it.
    pub(super) fn existing(
        draft: &mut Draft<'_>,
        now: Timestamp,
        (name, key, space): (&Key, &Key, Space),
    ) -> Option<Self> {
        let (version, found) = space.read(draft, &space.id(name, key));
        let found = found?;
        let policy = match space {
            Space::Stored => draft.get::<RatePolicy>(&RecordId::from(name)),
            Space::Inline | Space::LocalStored | Space::LocalInline => None,
        };
        let has_place = policy.as_ref().is_none_or(|p| found.policy_epoch() == p.epoch());
        let counter = match policy {
            Some(policy) => found.under(&policy, now),
            None => found.under_own(now),
        };
        if counter.is_idle(now) {
            return None;
        }
        let account = Self::new((name, key), space, (counter, version));
        Some(Self { is_live: true, has_place, ..account })
    }

    fn new(
        (policy, key): (&Key, &Key),
        space: Space,
        (counter, version): (RateCounter, Version),
    ) -> Self {
        Self {
            policy: policy.clone(),
            key: key.clone(),
            space,
            counter,
            version,
            is_live: false,
            has_place: false,
            before: None,
            clash: None,
            would_reject: false,
        }
    }

    pub(super) fn record_id(&self) -> RecordId {
        self.space.id(&self.policy, &self.key)
    }

    pub(super) fn write(&mut self, draft: &mut Draft<'_>) {
        let is_bounded = self.counter.terms().max_keys().is_some();
        if is_bounded && self.space == Space::Stored && !self.has_place {
            // It has lived since before the last reset of its policy: room or not, it is one more.
            KeyCount::add(draft, &self.policy, self.counter.policy_epoch());
            self.has_place = true;
        }
        self.version = self.space.write(draft, &self.record_id(), self.counter.clone());
    }
}

/// Either kind.
#[derive(Clone, Debug)]
pub(super) enum Account {
    Quota(Box<QuotaAccount>),
    Rate(Box<RateAccount>),
}

/// The amounts of an account at one instant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) limit: Limit,
    pub(super) used: Units,
    pub(super) held: Units,
    pub(super) remaining: Limit,
}

impl Account {
    pub(super) fn target(&self) -> Target {
        match self {
            Self::Quota(account) => Target::quota(account.id.clone()),
            Self::Rate(account) => Target::rate(account.policy.clone(), account.key.clone()),
        }
    }

    pub(super) fn standing(&self, now: Timestamp) -> Standing {
        match self {
            Self::Quota(account) => Standing {
                limit: account.quota.limit,
                used: account.quota.used,
                held: account.quota.holds.held(now),
                remaining: account.quota.remaining(now),
            },
            Self::Rate(account) => Standing {
                limit: account.counter.terms().limit(),
                used: account.counter.counted(),
                held: account.counter.holds.held(now),
                remaining: account.counter.remaining(),
            },
        }
    }

    /// Whether uses of it are counted: a rate without limit accepts and counts nothing.
    pub(super) fn counts(&self) -> bool {
        match self {
            Self::Quota(_) => true,
            Self::Rate(account) => !account.counter.terms().limit().is_unlimited(),
        }
    }

    pub(super) fn is_lease(&self) -> bool {
        match self {
            Self::Quota(_) => false,
            Self::Rate(account) => {
                account.counter.terms().algorithm().name() == AlgorithmName::Concurrency
            }
        }
    }

    pub(super) fn is_shadow(&self) -> bool {
        match self {
            Self::Quota(_) => false,
            Self::Rate(account) => account.counter.terms().is_shadow(),
        }
    }

    /// The rule: `used + held + cost <= limit`.
    pub(super) fn fits(&self, cost: Units, now: Timestamp) -> bool {
        let Standing { limit, used, held, .. } = self.standing(now);
        let sum = used.checked_add(held).and_then(|sum| sum.checked_add(cost));
        sum.is_some_and(|sum| sum <= limit.units())
    }

    pub(super) fn first_fit(&self, cost: Units, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Quota(account) => account.quota.first_fit(now, cost),
            Self::Rate(account) => match &account.before {
                Some(before) => before.first_fit_under(account.counter.terms(), cost),
                None => account.counter.first_fit(cost),
            },
        }
    }

    /// The time that gives back as many units as the limit has.
    pub(super) fn window(&self) -> Option<Duration> {
        match self {
            Self::Quota(account) => {
                let quota = &account.quota;
                quota.refill.as_ref().and_then(|refill| refill.window(quota.limit))
            }
            Self::Rate(account) => account.counter.window(),
        }
    }

    /// Charges what fits; gives where it stands.
    pub(super) fn charge(&mut self, units: Units) -> Option<Place> {
        match self {
            Self::Quota(account) => {
                account.quota.charge(units);
                None
            }
            Self::Rate(account) => account.counter.charge(units),
        }
    }

    pub(super) fn add_hold(&mut self, id: Key, units: Units, expires_at: Timestamp) {
        match self {
            Self::Quota(account) => account.quota.holds.add(id, units, expires_at),
            Self::Rate(account) => {
                account.counter.holds.add(id, units, expires_at);
                account.counter.settle_holds();
            }
        }
    }

    /// Ends a hold; gives what it held here.
    pub(super) fn release(&mut self, id: &Key) -> Units {
        match self {
            Self::Quota(account) => account.quota.holds.remove(id),
            Self::Rate(account) => {
                let held = account.counter.holds.remove(id);
                account.counter.settle_holds();
                held
            }
        }
    }

    pub(super) fn extend_hold(&mut self, id: &Key, expires_at: Timestamp) {
        match self {
            Self::Quota(account) => account.quota.holds.extend(id, expires_at),
            Self::Rate(account) => {
                account.counter.holds.extend(id, expires_at);
                account.counter.settle_holds();
            }
        }
    }

    pub(super) fn open_holds(&self, now: Timestamp) -> usize {
        match self {
            Self::Quota(account) => account.quota.holds.count(now),
            Self::Rate(account) => account.counter.holds.count(now),
        }
    }

    pub(super) fn epoch(&self) -> Epoch {
        match self {
            Self::Quota(account) => account.quota.epoch,
            Self::Rate(account) => account.counter.epoch(),
        }
    }

    /// Only quotas end.
    pub(super) const fn expires_at(&self) -> Option<Timestamp> {
        match self {
            Self::Quota(account) => account.quota.expires_at,
            Self::Rate(_) => None,
        }
    }

    pub(super) fn write(&mut self, draft: &mut Draft<'_>) {
        match self {
            Self::Quota(account) => account.write(draft),
            Self::Rate(account) => account.write(draft),
        }
    }

    pub(super) fn view(&self, now: Timestamp) -> TargetView {
        match self {
            Self::Quota(account) => {
                let mut view = account.quota.view(&account.id, account.version, now);
                view.quota = Some(account.id.clone());
                TargetView::Quota(Box::new(view))
            }
            Self::Rate(account) => {
                let RateAccount { policy, key, version, .. } = &**account;
                let mut view = account.counter.view(policy, key, *version);
                if self.is_shadow() {
                    view.would_reject = Some(account.would_reject);
                }
                TargetView::Counter(view)
            }
        }
    }
}

/// A stored policy.
pub(super) fn policy(draft: &mut Draft<'_>, name: &Key) -> Option<Arc<RatePolicy>> {
    draft.get::<RatePolicy>(&RecordId::from(name))
}

/// Whether a policy may run on a best-effort store. One that is not there takes nothing.
pub(super) fn is_best_effort(known: &mut Draft<'_>, name: &Key) -> bool {
    policy(known, name).is_none_or(|policy| policy.terms().is_best_effort())
}

/// For how long refusals of a policy may be told again from memory.
pub(super) fn stale_denials(known: &mut Draft<'_>, name: &Key) -> Option<Duration> {
    policy(known, name)?.terms().stale_denials()
}

/// Whether uses of a policy may be acknowledged before they are durable.
pub(super) fn is_relaxed(known: &mut Draft<'_>, name: &Key) -> bool {
    policy(known, name).is_some_and(|policy| policy.terms().is_relaxed())
}

/// Reads a record's version as [`crate::IfVersion`] wants it.
pub(super) fn version_of<R: Record>(draft: &mut Draft<'_>, id: &Key) -> Option<Version> {
    let id = RecordId::from(id);
    draft.get::<R>(&id)?;
    Some(draft.version::<R>(&id))
}
