//! Admission: the one rule, `used + held + cost <= limit`, for uses, holds and captures alike.
//!
//! Invariant: all targets of a command are tested before any is written, so a refusal leaves all
//! untouched and names every limit that said no. The use that reaches the cap passes.
//!
//! Why one function: two copies of a rule are two rules (CWE-367 begins where the test is not the
//! taking's own).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::account::{Account, QuotaAccount, RateAccount, Space, Standing, policy};
use super::counter::Place;
use super::epoch::Epoch;
use super::target::{Demand, names_of};
use super::view::{TargetView, least, wait};
use super::{Quota, RateCounter, Rejection, Target, Violation};
use crate::{Draft, Duration, Key, Kind, Limit, Record, RecordId, Timestamp, Units};

/// How many counters of a policy are live, where the policy bounds that: as many as there are
/// records of the policy's epoch.
///
/// A reset of the whole policy begins an epoch without a look at its counters, so those of before
/// take no place then; one that open holds keep alive takes its place when it is next written.
/// Until then as many keys more than the bound may be live as had open holds at the reset. To find
/// them would take a scan, and to go on counting the others would refuse keys for nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyCount {
    pub(super) count: Units,
    /// Counters of another epoch of the policy are not counted.
    pub(super) epoch: Epoch,
}

impl KeyCount {
    fn known(draft: &mut Draft<'_>, name: &Key, epoch: Epoch) -> Units {
        let known = draft.get::<Self>(&RecordId::from(name));
        known.filter(|known| known.epoch == epoch).map_or(Units::ZERO, |known| known.count)
    }

    /// Counts one more, whether there is room for it or not.
    pub(super) fn add(draft: &mut Draft<'_>, name: &Key, epoch: Epoch) {
        let count = Self::known(draft, name, epoch).checked_add(Units::ONE);
        let count = count.expect("nobody has 2^53 counters");
        draft.put(&RecordId::from(name), Self { count, epoch });
    }
}

impl Record for KeyCount {
    const KIND: Kind = Kind::new("key_counts");
}

/// One target of a command.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) account: Account,
    pub(super) cost: Units,
    /// Of a capture: what its hold held here.
    pub(super) own: Option<Units>,
    /// As it was found.
    pub(super) before: Standing,
    /// Whether the command changes it.
    pub(super) changes: bool,
    pub(super) place: Option<Place>,
}

impl Entry {
    pub(super) fn new(account: Account, cost: Units, now: Timestamp) -> Self {
        let before = account.standing(now);
        let changes = !cost.is_zero() && account.counts();
        Self { account, cost, own: None, before, changes, place: None }
    }

    /// A hold is a promise: what was held passes also after the limit was lowered.
    fn fits(&self, now: Timestamp) -> bool {
        self.own.is_some_and(|own| self.cost <= own) || self.account.fits(self.cost, now)
    }

    fn never(&self) -> bool {
        self.before.limit.units() < self.cost
    }

    /// Takes nothing here; what a capture held is released all the same.
    fn pass_over(&mut self) {
        self.cost = Units::ZERO;
        self.changes = self.own.is_some_and(|own| !own.is_zero());
        if let Account::Rate(account) = &mut self.account {
            account.would_reject = true;
        }
    }
}

/// What besides the limits bounds the instants at which a command would still pass.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Horizon {
    /// Of a hold with a span: its quotas must outlive it.
    pub(super) ttl: Option<Duration>,
    /// Of a capture: its hold must be open.
    pub(super) before: Option<Timestamp>,
}

impl Horizon {
    fn allows(&self, at: Timestamp, account: &Account) -> bool {
        let open = self.before.is_none_or(|before| at < before);
        let lasts = match (account.expires_at(), self.ttl) {
            (None, _) => true,
            (Some(end), None) => at < end,
            (Some(end), Some(ttl)) => at.plus(ttl).is_some_and(|until| until <= end),
        };
        open && lasts
    }
}

/// The places of a policy that bounds its counters.
#[derive(Debug)]
struct Places {
    count: Units,
    epoch: Epoch,
    freed: Vec<RecordId>,
    changed: bool,
}

/// All targets of a command. See the [module](self).
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) now: Timestamp,
    pub(super) entries: Vec<Entry>,
    places: BTreeMap<Key, Places>,
}

impl Admission {
    pub(super) const fn of(now: Timestamp, entries: Vec<Entry>) -> Self {
        Self { now, entries, places: BTreeMap::new() }
    }

    /// Loads the targets. Stage existence.
    pub(super) fn load(
        draft: &mut Draft<'_>,
        now: Timestamp,
        demands: &[Demand],
    ) -> Result<Self, Rejection> {
        let mut entries = Vec::with_capacity(demands.len());
        let mut missing = Vec::new();
        for demand in demands {
            match load(draft, now, demand) {
                Some(account) => entries.push(Entry::new(account, demand.units, now)),
                None => missing.push(demand.target.clone()),
            }
        }
        if missing.iter().any(|target| matches!(target, Target::Quota { .. })) {
            return Err(Rejection::QuotaNotFound { targets: missing });
        }
        if !missing.is_empty() {
            return Err(Rejection::PolicyNotFound { targets: Some(missing) });
        }
        Ok(Self::of(now, entries))
    }

    fn targets(&self, which: impl Fn(&Account) -> bool) -> Vec<Target> {
        let hit = self.entries.iter().filter(|entry| which(&entry.account));
        hit.map(|entry| entry.account.target()).collect()
    }

    /// Stage state: revoked quotas.
    pub(super) fn check_revoked(&self) -> Result<(), Rejection> {
        let revoked = |account: &Account| match account {
            Account::Quota(account) => account.quota.revoked_at,
            Account::Rate(_) => None,
        };
        match self.entries.iter().find_map(|entry| revoked(&entry.account)) {
            Some(revoked_at) => Err(Rejection::QuotaRevoked {
                revoked_at,
                targets: self.targets(|account| revoked(account).is_some()),
            }),
            None => Ok(()),
        }
    }

    /// Stage state: inline terms of another algorithm.
    pub(super) fn check_algorithms(&self) -> Result<(), Rejection> {
        let clash = |account: &Account| match account {
            Account::Quota(_) => None,
            Account::Rate(account) => account.clash,
        };
        match self.entries.iter().find_map(|entry| clash(&entry.account)) {
            Some(algorithm) => Err(Rejection::AlgorithmChanged {
                algorithm,
                targets: Some(self.targets(|account| clash(account).is_some())),
            }),
            None => Ok(()),
        }
    }

    /// Stage state: leases are held, not used.
    pub(super) fn check_leases(&self) -> Result<(), Rejection> {
        let targets = self.targets(Account::is_lease);
        if targets.is_empty() { Ok(()) } else { Err(Rejection::LeaseRequired { targets }) }
    }

    /// Stage time: quotas whose time is over. At `expires_at` itself it is.
    pub(super) fn check_expired(&self) -> Result<(), Rejection> {
        let now = self.now;
        let expired = |account: &Account| account.expires_at().filter(|end| *end <= now);
        match self.entries.iter().find_map(|entry| expired(&entry.account)) {
            Some(expires_at) => Err(Rejection::QuotaExpired {
                expires_at,
                targets: self.targets(|account| expired(account).is_some()),
            }),
            None => Ok(()),
        }
    }

    /// Stage limit: one more open hold on each.
    pub(super) fn check_holds(&mut self) -> Result<(), Rejection> {
        let (mut targets, mut least_max) = (Vec::new(), u32::MAX);
        for entry in self.entries.iter_mut().filter(|entry| entry.changes) {
            let max = match &entry.account {
                Account::Quota(_) => super::policy::OPEN_HOLDS_MAX,
                Account::Rate(account) => account.counter.terms().max_open_holds(),
            };
            let open = u32::try_from(entry.account.open_holds(self.now)).unwrap_or(u32::MAX);
            if open < max {
                continue;
            }
            if entry.account.is_shadow() {
                entry.pass_over();
            } else {
                targets.push(entry.account.target());
                least_max = least_max.min(max);
            }
        }
        if targets.is_empty() {
            return Ok(());
        }
        Err(Rejection::TooManyHolds { max: least_max, targets })
    }

    /// Stage limit: a place for each new key, and then the rule. What only tells is passed over.
    pub(super) fn check_limits(
        &mut self,
        draft: &mut Draft<'_>,
        horizon: Horizon,
    ) -> Result<(), Rejection> {
        let now = self.now;
        for entry in self.entries.iter_mut().filter(|entry| entry.account.is_shadow()) {
            if !entry.fits(now) {
                entry.pass_over();
            }
        }
        self.check_keys(draft)?;
        let violated = |entry: &&Entry| !entry.account.is_shadow() && !entry.fits(now);
        if self.entries.iter().any(|entry| violated(&entry)) {
            let violated: Vec<&Entry> = self.entries.iter().filter(violated).collect();
            return Err(self.refusal(&violated, horizon));
        }
        Ok(())
    }

    fn check_keys(&mut self, draft: &mut Draft<'_>) -> Result<(), Rejection> {
        let taken: Vec<RecordId> = self.entries.iter().filter_map(counter_id).collect();
        let (mut targets, mut least_max) = (Vec::new(), Units::MAX);
        for entry in self.entries.iter_mut().filter(|entry| entry.changes) {
            // What it holds is live already.
            if entry.own.is_some_and(|own| !own.is_zero()) {
                continue;
            }
            let Account::Rate(account) = &mut entry.account else { continue };
            let Some(max) = account.counter.terms().max_keys() else { continue };
            // What is held since before a reset of its policy is no new key.
            if account.is_live || account.space != Space::Stored {
                continue;
            }
            let epoch = account.counter.policy_epoch();
            let name = account.policy.clone();
            let places = self
                .places
                .entry(name.clone())
                .or_insert_with(|| Places::load(draft, &name, epoch));
            if account.has_place && places.count <= max {
                continue;
            }
            if account.has_place {
                // An idle counter that a sweep has not removed yet is no better than none: above the
                // maximum it gives its place back before it asks for one.
                places.count = places.count.minus_or_zero(Units::ONE);
                places.changed = true;
            }
            if places.claim(draft, (&name, max), (&taken, self.now)) {
                account.has_place = true;
                continue;
            }
            if entry.account.is_shadow() {
                entry.pass_over();
            } else {
                targets.push(entry.account.target());
                least_max = least_max.min(max);
            }
        }
        if targets.is_empty() {
            return Ok(());
        }
        Err(Rejection::TooManyKeys { max: least_max, targets })
    }

    fn refusal(&self, violated: &[&Entry], horizon: Horizon) -> Rejection {
        let fit = |entry: &Entry| {
            let at = entry.account.first_fit(entry.cost, self.now)?;
            Some(at).filter(|at| horizon.allows(*at, &entry.account))
        };
        let violation = |entry: &&Entry| {
            let (quota, policy, key) = names_of(entry.account.target());
            let Standing { limit, used, held, remaining } = entry.before;
            Violation {
                quota,
                policy,
                key,
                limit,
                used,
                held,
                remaining,
                requested: entry.cost,
                retry_after_ns: wait(self.now, fit(entry)),
                next_at: self.grows_at(entry, horizon),
                window_ns: entry.account.window(),
                never: entry.never(),
            }
        };
        let violations: Vec<Violation> = violated.iter().map(violation).collect();
        // All pass at the greatest of the waits, if none of the others has ended by then.
        let at = violated
            .iter()
            .map(|entry| fit(entry))
            .try_fold(self.now, |latest, at| at.map(|at| at.max(latest)));
        let at =
            at.filter(|at| self.entries.iter().all(|entry| horizon.allows(*at, &entry.account)));
        let retry_after_ns = wait(self.now, at);
        let remaining = self
            .entries
            .iter()
            .map(|entry| entry.before.remaining)
            .reduce(least)
            .unwrap_or(Limit::Unlimited);
        let capturable = horizon
            .before
            .and_then(|_| violated.iter().map(|entry| capturable(entry, self.now)).min());
        if violations.iter().any(|violation| violation.never) {
            Rejection::ExceedsLimit { remaining, retry_after_ns, capturable, violations }
        } else if violations.iter().any(|violation| violation.quota.is_some()) {
            Rejection::QuotaExceeded { remaining, retry_after_ns, capturable, violations }
        } else {
            Rejection::RateLimited { remaining, retry_after_ns, capturable, violations }
        }
    }

    /// When more remains by time alone than as it was found. A capture gave back what its hold
    /// held; for everybody else that counts until the hold ends.
    fn grows_at(&self, entry: &Entry, horizon: Horizon) -> Option<Timestamp> {
        let more = more(entry.before.remaining)?;
        let fit = |cost: Units| entry.account.first_fit(cost, self.now);
        let beside = more.checked_add(entry.own.unwrap_or_default()).and_then(fit);
        let after = fit(more).map(|at| horizon.before.map_or(at, |end| end.max(at)));
        match (beside, after) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// States the ends of the quotas that the decision relied on.
    pub(super) fn commit_before_ends(&self, draft: &mut Draft<'_>) {
        let changed = self.entries.iter().filter(|entry| entry.changes);
        for end in changed.filter_map(|entry| entry.account.expires_at()) {
            draft.commit_before(end);
        }
    }

    /// Charges each target that changes.
    pub(super) fn charge(&mut self) {
        for entry in self.entries.iter_mut().filter(|entry| entry.changes) {
            if !entry.cost.is_zero() {
                entry.place = entry.account.charge(entry.cost);
            }
        }
    }

    /// Writes what changed, once each.
    pub(super) fn write(&mut self, draft: &mut Draft<'_>) {
        for (name, places) in self.places.iter().filter(|(_, places)| places.changed) {
            let count = KeyCount { count: places.count, epoch: places.epoch };
            draft.put(&RecordId::from(name), count);
            for id in &places.freed {
                draft.purge::<RateCounter>(id);
            }
        }
        // Last, since a counter that brings its place with it adds to the count.
        for entry in self.entries.iter_mut().filter(|entry| entry.changes) {
            entry.account.write(draft);
        }
    }

    /// Takes up what the totals of the quotas have become since they were loaded.
    pub(super) fn read_totals(&mut self, draft: &mut Draft<'_>) {
        for entry in &mut self.entries {
            let Account::Quota(account) = &mut entry.account else { continue };
            if let Some(quota) = draft.get::<Quota>(&RecordId::from(&account.id)) {
                account.quota.totals = quota.totals;
                account.version = draft.version::<Quota>(&RecordId::from(&account.id));
            }
        }
    }

    pub(super) fn views(&self) -> Vec<TargetView> {
        self.entries.iter().map(|entry| entry.account.view(self.now)).collect()
    }
}

fn load(draft: &mut Draft<'_>, now: Timestamp, demand: &Demand) -> Option<Account> {
    match (&demand.target, &demand.terms) {
        (Target::Quota { quota }, _) => {
            QuotaAccount::load(draft, now, quota).map(Box::new).map(Account::Quota)
        }
        (Target::Rate { policy, key }, Some(terms)) => {
            let names = (policy, key, Space::Inline);
            Some(Account::Rate(Box::new(RateAccount::inline(draft, now, names, terms))))
        }
        (Target::Rate { policy: name, key }, None) => {
            let policy = policy(draft, name)?;
            Some(Account::Rate(Box::new(RateAccount::stored(draft, now, (name, key), &policy))))
        }
    }
}

fn counter_id(entry: &Entry) -> Option<RecordId> {
    match &entry.account {
        Account::Rate(account) if account.space == Space::Stored => Some(account.record_id()),
        Account::Rate(_) | Account::Quota(_) => None,
    }
}

/// One unit more than what is left.
fn more(remaining: Limit) -> Option<Units> {
    match remaining {
        Limit::Finite(units) => units.checked_add(Units::ONE),
        Limit::Unlimited => None,
    }
}

/// What a capture could take here: what it held, or what is free without it.
fn capturable(entry: &Entry, now: Timestamp) -> Units {
    let Standing { limit, used, held, .. } = entry.account.standing(now);
    limit.units().minus_or_zero(used).minus_or_zero(held).max(entry.own.unwrap_or_default())
}

impl Places {
    fn load(draft: &mut Draft<'_>, name: &Key, epoch: Epoch) -> Self {
        let count = KeyCount::known(draft, name, epoch);
        Self { count, epoch, freed: Vec::new(), changed: false }
    }

    /// Takes a place for one more key, that of an idle counter if all are taken.
    fn claim(
        &mut self,
        draft: &mut Draft<'_>,
        (name, max): (&Key, Units),
        (taken, now): (&[RecordId], Timestamp),
    ) -> bool {
        if self.add_below(max) {
            return true;
        }
        let Some(policy) = policy(draft, name) else { return false };
        for id in draft.due::<RateCounter>(&RecordId::prefix(&[name])) {
            if taken.contains(&id) || self.freed.contains(&id) {
                continue;
            }
            let Some(counter) = draft.get::<RateCounter>(&id) else { continue };
            let counted = counter.policy_epoch() == self.epoch;
            if counted && counter.under(&policy, now).is_idle(now) {
                self.freed.push(id);
                self.count = self.count.minus_or_zero(Units::ONE);
                if self.add_below(max) {
                    return true;
                }
            }
        }
        false
    }

    fn add_below(&mut self, max: Units) -> bool {
        if max <= self.count {
            return false;
        }
        self.count = self.count.checked_add(Units::ONE).expect("one more is at most `max`");
        self.changed = true;
        true
    }
}
