//! One question for all uses: does `used + held + cost <= limit` hold on every target?
//!
//! Invariant: nothing here changes the state that was asked; accounts are copies, and are written
//! back after the last question was answered with yes.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "units stay below 2^53 and instants below 2^68, far from the end of an i128"
)]

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Map, Value};

use super::counter::{Counter, Place};
use super::open::Open;
use super::quota::Quota;
use super::terms::{OPEN_HOLDS_MAX, TTL_MAX, Terms};
use super::value::{Limit, Target, Units, at as shown_at, record, span, units};
use super::{Limits, No};
use crate::instant::Nanos;

/// How many items one command may have.
const ITEMS_MAX: usize = 32;

/// Units of one target, as a command names them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    pub(super) target: Target,
    pub(super) units: i128,
    pub(super) terms: Option<Terms>,
    /// As it is shown.
    pub(super) form: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    quota: Option<String>,
    policy: Option<String>,
    key: Option<String>,
    units: Option<Units>,
    terms: Option<Terms>,
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = Form::deserialize(deserializer)?;
        let target = match (form.quota, form.policy, form.key) {
            (Some(quota), None, None) if form.terms.is_none() => Target::Quota(quota),
            (None, Some(policy), Some(key)) => Target::Rate { policy, key },
            _ => return Err(D::Error::custom("a quota, or a policy and a key")),
        };
        Ok(Self::new(target, form.units.map_or(1, |units| units.0), form.terms))
    }
}

impl Item {
    /// Units of a target under its stored terms, or under these.
    pub(super) fn new(target: Target, count: i128, terms: Option<Terms>) -> Self {
        let mut form = target.names();
        form.insert("units".to_owned(), units(count));
        if let Some(terms) = &terms {
            form.insert("terms".to_owned(), Value::Object(terms.form.clone()));
        }
        Self { target, units: count, terms, form: Value::Object(form) }
    }

    /// Units of a target under its stored terms.
    pub(crate) fn of(target: Target, units: i128) -> Self {
        Self::new(target, units, None)
    }
}

/// The units of each target, summed, in the order in which targets first occur.
pub(super) fn demands(items: &[Item]) -> Result<Vec<Item>, No> {
    if items.is_empty() || ITEMS_MAX < items.len() {
        return Err(No::shape("invalid_request", "items".to_owned()));
    }
    let mut demands: Vec<Item> = Vec::new();
    let mut too_large = None;
    for (index, item) in items.iter().enumerate() {
        let Some(earlier) = demands.iter_mut().find(|one| one.target == item.target) else {
            demands.push(item.clone());
            continue;
        };
        if earlier.terms != item.terms {
            return Err(No::shape("invalid_request", format!("items[{index}].terms")));
        }
        let sum = earlier.units + item.units;
        if super::value::UNITS_MAX < sum {
            too_large = too_large.or_else(|| Some(format!("items[{index}].units")));
        }
        *earlier = Item::new(item.target.clone(), sum, item.terms.clone());
    }
    if let Some(field) = too_large {
        return Err(No::shape("invalid_units", field));
    }
    Ok(demands)
}

/// Where the terms of a counter come from. Counters of the two never meet.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Space {
    /// A stored policy.
    Stored,
    /// The items themselves.
    Inline,
}

impl Space {
    pub(super) const fn of(terms: Option<&Terms>) -> Self {
        if terms.is_some() { Self::Inline } else { Self::Stored }
    }
}

/// A key under a policy, as a command finds it.
#[derive(Clone, Debug)]
pub(super) struct Rate {
    pub(super) counter: Counter,
    pub(super) space: Space,
    /// It has no live counter: to charge it takes a place.
    pub(super) is_new: bool,
    /// The name stands for this algorithm, and the terms are of another.
    pub(super) clash: Option<&'static str>,
    /// Inline: as it was before these terms. A refusal leaves it so.
    pub(super) before: Option<Box<Counter>>,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Quota(Box<Quota>),
    Rate(Box<Rate>),
}

/// One target of a command, and what is asked of it.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) target: Target,
    pub(super) kind: Kind,
    pub(super) cost: i128,
    /// Of a shadow policy: whether it would have said no.
    pub(super) would_reject: bool,
    /// Of a capture: what it holds itself.
    pub(super) own: i128,
    /// Whether it is one of a hold's own targets.
    pub(super) of_hold: bool,
    pub(super) charged: Option<Charged>,
}

/// What a charge keeps of an account.
#[derive(Clone, Copy, Debug)]
pub(super) struct Charged {
    pub(super) units: i128,
    pub(super) place: Option<Place>,
}

impl Account {
    fn new(item: &Item, kind: Kind) -> Self {
        let (target, cost) = (item.target.clone(), item.units);
        Self { target, kind, cost, would_reject: false, own: 0, of_hold: false, charged: None }
    }

    pub(super) fn limit(&self) -> Limit {
        match &self.kind {
            Kind::Quota(quota) => quota.limit,
            Kind::Rate(rate) => rate.counter.terms.limit,
        }
    }

    pub(super) fn used(&self, at: Nanos) -> i128 {
        match &self.kind {
            Kind::Quota(quota) => quota.used(at),
            Kind::Rate(rate) => rate.counter.used(at),
        }
    }

    /// Units used later, if nothing is written now: inline terms come with the use that brings
    /// them, whenever that is.
    fn used_if_refused(&self, at: Nanos) -> i128 {
        let Kind::Rate(rate) = &self.kind else { return self.used(at) };
        let Some(before) = &rate.before else { return self.used(at) };
        let mut counter = (**before).clone();
        counter.take_terms(&rate.counter.terms, at);
        counter.used(at)
    }

    /// When more remains by time alone, if nothing is written now.
    fn next_if_refused(&self, now: Nanos) -> Option<Nanos> {
        if let Kind::Quota(quota) = &self.kind {
            return quota.next_at(now);
        }
        let limit = self.limit().0?;
        let left = |at: Nanos| (limit - self.used_if_refused(at) - self.held(at)).max(0);
        super::value::first(now, |at| left(now) < left(at))
    }

    pub(super) fn held(&self, at: Nanos) -> i128 {
        match &self.kind {
            Kind::Quota(quota) => quota.holds.held(at),
            Kind::Rate(rate) => rate.counter.holds.held(at),
        }
    }

    /// A rate without limit accepts, and counts nothing.
    pub(super) fn counts(&self) -> bool {
        matches!(self.kind, Kind::Quota(_)) || self.limit().0.is_some()
    }

    pub(super) fn is_lease(&self) -> bool {
        matches!(&self.kind, Kind::Rate(rate)
            if rate.counter.terms.algorithm == super::terms::Algorithm::Concurrency)
    }

    pub(super) fn is_shadow(&self) -> bool {
        matches!(&self.kind, Kind::Rate(rate) if rate.counter.terms.shadow)
    }

    /// The rule. What a capture takes beyond its hold is asked for; its own units are free.
    pub(super) fn fits(&self, at: Nanos) -> bool {
        let excess = self.cost - self.own;
        // Also nothing of nothing: that takes nothing, whatever the limit is.
        let is_promised = self.of_hold && excess <= 0;
        !self.counts()
            || is_promised
            || self.used_if_refused(at) + self.held(at) + excess <= self.limit().count()
    }

    /// When the quota ends.
    fn expires_at(&self) -> Option<Nanos> {
        match &self.kind {
            Kind::Quota(quota) => quota.expires_at,
            Kind::Rate(_) => None,
        }
    }

    fn max_ttl(&self, now: Nanos) -> i128 {
        match &self.kind {
            Kind::Quota(quota) => quota.expires_at.map_or(TTL_MAX, |end| TTL_MAX.min(end - now)),
            Kind::Rate(rate) => rate.counter.terms.max_ttl,
        }
    }

    /// The longest that a hold may last in all.
    pub(super) fn max_ttl_from_creation(&self) -> i128 {
        match &self.kind {
            Kind::Quota(_) => TTL_MAX,
            Kind::Rate(rate) => rate.counter.terms.max_ttl,
        }
    }

    /// What remains until the quota ends.
    pub(super) fn rest(&self, now: Nanos) -> Option<i128> {
        self.expires_at().map(|end| end - now)
    }

    fn open_holds(&self, at: Nanos) -> (usize, usize) {
        match &self.kind {
            Kind::Quota(quota) => (quota.holds.count(at), OPEN_HOLDS_MAX),
            Kind::Rate(rate) => (rate.counter.holds.count(at), rate.counter.terms.max_open_holds),
        }
    }

    /// As replies show it.
    pub(super) fn shown(&self, at: Nanos) -> Map<String, Value> {
        let rate = match (&self.kind, &self.target) {
            (Kind::Quota(quota), Target::Quota(id)) => {
                let mut shown = quota.shown(id, at);
                shown.insert("quota".to_owned(), id.clone().into());
                return shown;
            }
            (Kind::Rate(rate), _) => rate,
            (Kind::Quota(_), Target::Rate { .. }) => return Map::new(),
        };
        let mut shown = self.target.names();
        let counter = &rate.counter;
        let (limit, used, held) = (self.limit(), self.used(at), self.held(at));
        shown.insert("limit".to_owned(), limit.shown());
        shown.insert("used".to_owned(), units(used));
        shown.insert("held".to_owned(), units(held));
        shown.insert("remaining".to_owned(), limit.less(used + held).shown());
        if !counter.is_full(at) || limit.0.is_none() {
            shown.insert("reset_at".to_owned(), shown_at(counter.reset_at(at)));
        }
        shown.insert("next_at".to_owned(), shown_at(counter.next_at(at)));
        shown.insert("window_ns".to_owned(), span(counter.window()));
        shown
    }

    fn violation(&self, now: Nanos, retry: Option<i128>) -> Value {
        let (limit, used, held) = (self.limit(), self.used(now), self.held(now));
        let mut shown = self.target.names();
        let next_at = self.next_if_refused(now);
        shown.insert("limit".to_owned(), limit.shown());
        shown.insert("used".to_owned(), units(used));
        shown.insert("held".to_owned(), units(held));
        shown.insert("remaining".to_owned(), limit.less(used + held).shown());
        shown.insert("requested".to_owned(), units(self.cost));
        shown.insert("retry_after_ns".to_owned(), span(retry));
        shown.insert("next_at".to_owned(), shown_at(next_at));
        shown.insert("never".to_owned(), self.is_never().into());
        Value::Object(shown)
    }

    fn is_never(&self) -> bool {
        self.limit().count() < self.cost
    }

    /// Counts the cost.
    pub(super) fn charge(&mut self, now: Nanos) {
        if self.cost == 0 || !self.counts() || self.would_reject || self.is_lease() {
            return;
        }
        let units = self.cost;
        let place = match &mut self.kind {
            Kind::Quota(quota) => {
                quota.used += units;
                quota.charged += units;
                None
            }
            Kind::Rate(rate) => Some(rate.counter.charge(units, now)),
        };
        self.charged = Some(Charged { units, place });
    }

    pub(super) fn hold(&mut self, open: Open) {
        match &mut self.kind {
            Kind::Quota(quota) => quota.holds.add(open),
            Kind::Rate(rate) => rate.counter.holds.add(open),
        }
    }

    pub(super) fn release(&mut self, hold: &str) {
        match &mut self.kind {
            Kind::Quota(quota) => quota.holds.remove(hold),
            Kind::Rate(rate) => rate.counter.holds.remove(hold),
        }
    }

    pub(super) fn extend(&mut self, hold: &str, expires_at: Nanos) {
        match &mut self.kind {
            Kind::Quota(quota) => quota.holds.extend(hold, expires_at),
            Kind::Rate(rate) => rate.counter.holds.extend(hold, expires_at),
        }
    }
}

/// How long an answer must stay possible for a wait to help.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Horizon {
    /// Of a hold: the time it was asked for.
    pub(super) ttl: Option<i128>,
    /// Of a capture: the end of the hold.
    pub(super) before: Option<Nanos>,
}

/// The targets of one command.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    pub(super) now: Nanos,
    pub(super) accounts: Vec<Account>,
}

impl Limits {
    /// Finds all targets: `quota_not_found`, `policy_not_found`.
    pub(crate) fn admission(&self, items: &[Item], now: Nanos) -> Result<Admission, No> {
        let is_missing = |item: &&Item| match &item.target {
            Target::Quota(id) => !self.quotas.contains_key(id),
            Target::Rate { policy, .. } => {
                item.terms.is_none() && !self.policies.contains_key(policy)
            }
        };
        let missing: Vec<&Item> = items.iter().filter(is_missing).collect();
        if !missing.is_empty() {
            let is_quota = missing.iter().any(|item| matches!(item.target, Target::Quota(_)));
            let code = if is_quota { "quota_not_found" } else { "policy_not_found" };
            let targets = missing.iter().map(|item| item.target.shown()).collect();
            return Err(No::new(code).with("targets", Value::Array(targets)));
        }
        let accounts = items.iter().filter_map(|item| self.account(item, now)).collect();
        Ok(Admission { now, accounts })
    }

    fn account(&self, item: &Item, now: Nanos) -> Option<Account> {
        let kind = match &item.target {
            Target::Quota(id) => Kind::Quota(Box::new(self.quotas.get(id)?.moved_to(now))),
            Target::Rate { policy, key } => {
                let names = (policy.as_str(), key.as_str());
                Kind::Rate(Box::new(match &item.terms {
                    None => self.stored(names, now)?,
                    Some(terms) => self.inline(names, terms, now),
                }))
            }
        };
        Some(Account::new(item, kind))
    }

    /// A target as a hold or a charge left it; `None` if nothing is left of it.
    pub(super) fn existing(&self, target: &Target, space: Space, now: Nanos) -> Option<Account> {
        let item = Item::of(target.clone(), 0);
        let Target::Rate { policy, key } = target else { return self.account(&item, now) };
        if space == Space::Stored {
            let account = self.account(&item, now)?;
            let is_new = matches!(&account.kind, Kind::Rate(rate) if rate.is_new);
            return (!is_new).then_some(account);
        }
        let counter = self.counters.get(&(Space::Inline, policy.clone(), key.clone()))?.clone();
        if counter.is_idle(now) {
            return None;
        }
        let rate = Rate { counter, space, is_new: false, clash: None, before: None };
        Some(Account::new(&item, Kind::Rate(Box::new(rate))))
    }

    /// A key under a stored policy.
    pub(super) fn stored(&self, (name, key): (&str, &str), now: Nanos) -> Option<Rate> {
        let policy = self.policies.get(name)?;
        let terms = &policy.changes.last()?.terms;
        let known = self.counters.get(&(Space::Stored, name.to_owned(), key.to_owned()));
        let live = known.map(|counter| policy.forward(counter, now));
        let live = live.filter(|counter| !counter.is_idle(now));
        let is_new = live.is_none();
        let counter = live.unwrap_or_else(|| {
            let mut counter = Counter::unused(terms.clone(), now, (self.births, 0));
            counter.change = policy.changes.last().map_or(0, |change| change.number);
            counter.policy_epoch = policy.epoch;
            counter
        });
        Some(Rate { counter, space: Space::Stored, is_new, clash: None, before: None })
    }

    fn inline(&self, (name, key): (&str, &str), terms: &Terms, now: Nanos) -> Rate {
        let known = self.counters.get(&(Space::Inline, name.to_owned(), key.to_owned()));
        let Some(known) = known.filter(|counter| !counter.is_idle(now)) else {
            let counter = Counter::unused(terms.clone(), now, (self.births, 0));
            return Rate { counter, space: Space::Inline, is_new: true, clash: None, before: None };
        };
        let mut counter = known.clone();
        if !counter.terms.algorithm.is_like(&terms.algorithm) {
            let clash = Some(counter.terms.algorithm.name());
            return Rate { counter, space: Space::Inline, is_new: false, clash, before: None };
        }
        counter.take_terms(terms, now);
        let before = Some(Box::new(known.clone()));
        Rate { counter, space: Space::Inline, is_new: false, clash: None, before }
    }

    /// Keys of a policy that have a place and count something.
    pub(super) fn live_keys(&self, name: &str, now: Nanos) -> i128 {
        let Some(policy) = self.policies.get(name) else { return 0 };
        let of_policy = self.counters.iter().filter(|((space, of, _), counter)| {
            *space == Space::Stored
                && of == name
                && counter.placed
                && counter.policy_epoch == policy.epoch
        });
        let live = of_policy.filter(|(_, counter)| !policy.forward(counter, now).is_idle(now));
        i128::try_from(live.count()).unwrap_or(i128::MAX)
    }

    /// Whether any key of a policy counts or holds something.
    pub(super) fn is_in_use(&self, name: &str, now: Nanos) -> bool {
        let Some(policy) = self.policies.get(name) else { return false };
        let mut counters = self
            .counters
            .iter()
            .filter(|((space, of, _), _)| *space == Space::Stored && of == name);
        counters.any(|(_, counter)| !policy.forward(counter, now).is_idle(now))
    }

    /// Writes accounts back; gives the names of their records.
    pub(super) fn write(
        &mut self,
        accounts: &[&Account],
        writes: &mut BTreeSet<String>,
        now: Nanos,
    ) {
        for account in accounts {
            match (&account.kind, &account.target) {
                (Kind::Quota(quota), Target::Quota(id)) => {
                    writes.insert(record("quotas", &[id]));
                    self.quotas.insert(id.clone(), (**quota).clone());
                }
                (Kind::Rate(rate), Target::Rate { policy, key }) => {
                    let kind = match rate.space {
                        Space::Stored => "counters",
                        Space::Inline => "inline_counters",
                    };
                    writes.insert(record(kind, &[policy, key]));
                    let mut counter = rate.counter.clone();
                    counter.placed = true;
                    counter.touch(now);
                    self.counters.insert((rate.space, policy.clone(), key.clone()), counter);
                }
                _ => {}
            }
        }
    }
}

impl Admission {
    /// Refuses with the targets for which something is so.
    fn refuse(
        &self,
        code: &'static str,
        is_so: impl Fn(&Account) -> bool,
        first: (&'static str, &dyn Fn(&Account) -> Value),
    ) -> Result<(), No> {
        let found: Vec<&Account> = self.accounts.iter().filter(|account| is_so(account)).collect();
        let Some(account) = found.first() else { return Ok(()) };
        let targets = found.iter().map(|account| account.target.shown()).collect();
        let no = No::new(code).with("targets", Value::Array(targets));
        Err(if first.0.is_empty() { no } else { no.with(first.0, first.1(account)) })
    }

    /// `quota_revoked`.
    pub(crate) fn check_revoked(&self) -> Result<(), No> {
        let revoked_at = |account: &Account| match &account.kind {
            Kind::Quota(quota) => quota.revoked_at,
            Kind::Rate(_) => None,
        };
        let is_so = |account: &Account| revoked_at(account).is_some();
        self.refuse("quota_revoked", is_so, ("revoked_at", &|it| shown_at(revoked_at(it))))
    }

    /// `algorithm_changed`.
    pub(crate) fn check_algorithms(&self) -> Result<(), No> {
        let clash = |account: &Account| match &account.kind {
            Kind::Quota(_) => None,
            Kind::Rate(rate) => rate.clash,
        };
        let is_so = |account: &Account| clash(account).is_some();
        self.refuse("algorithm_changed", is_so, ("algorithm", &|it| clash(it).into()))
    }

    /// `lease_required`.
    pub(super) fn check_leases(&self) -> Result<(), No> {
        self.refuse("lease_required", Account::is_lease, ("", &|_| Value::Null))
    }

    /// `quota_expired`.
    pub(crate) fn check_expired(&self) -> Result<(), No> {
        let is_so = |account: &Account| account.expires_at().is_some_and(|end| end <= self.now);
        self.refuse("quota_expired", is_so, ("expires_at", &|it| shown_at(it.expires_at())))
    }

    /// The longest that a hold may last from now.
    pub(crate) fn max_ttl(&self) -> i128 {
        self.accounts.iter().map(|it| it.max_ttl(self.now)).min().unwrap_or(TTL_MAX)
    }

    /// `too_many_holds`. A shadow policy takes note.
    pub(crate) fn check_holds(&mut self) -> Result<(), No> {
        let now = self.now;
        for account in &mut self.accounts {
            let (open, max) = account.open_holds(now);
            if max <= open && account.is_shadow() {
                account.would_reject = true;
            }
        }
        let is_so = |account: &Account| {
            let (open, max) = account.open_holds(now);
            account.counts() && !account.is_shadow() && max <= open
        };
        self.refuse(
            "too_many_holds",
            is_so,
            ("max", &|it| u64::try_from(it.open_holds(now).1).unwrap_or(u64::MAX).into()),
        )
    }

    /// `too_many_keys`. A shadow policy takes note.
    pub(crate) fn check_keys(&mut self, limits: &Limits) -> Result<(), No> {
        let mut taken: BTreeMap<String, i128> = BTreeMap::new();
        let (mut targets, mut first) = (Vec::new(), None);
        for account in &mut self.accounts {
            let (shadow, counts) = (account.is_shadow(), account.counts());
            let (Kind::Rate(rate), Target::Rate { policy, .. }) = (&account.kind, &account.target)
            else {
                continue;
            };
            let Some(max) = rate.counter.terms.max_keys.filter(|_| rate.space == Space::Stored)
            else {
                continue;
            };
            if !rate.is_new || account.cost == 0 || !counts || account.would_reject {
                continue;
            }
            let live = limits.live_keys(policy, self.now);
            let taken = taken.entry(policy.clone()).or_default();
            if live + *taken < max {
                *taken += 1;
            } else if shadow {
                account.would_reject = true;
            } else {
                targets.push(account.target.shown());
                first = Some(first.map_or(max, |known: i128| known.min(max)));
            }
        }
        let Some(max) = first else { return Ok(()) };
        Err(No::new("too_many_keys").with("max", units(max)).with("targets", Value::Array(targets)))
    }

    /// The rule: `exceeds_limit`, `quota_exceeded`, `rate_limited`. A shadow policy takes note.
    pub(crate) fn check_room(&mut self) -> Result<(), No> {
        self.check_room_until(Horizon::default())
    }

    pub(super) fn check_room_until(&mut self, horizon: Horizon) -> Result<(), No> {
        let now = self.now;
        for account in &mut self.accounts {
            if account.is_shadow() && !account.fits(now) {
                account.would_reject = true;
            }
        }
        let violated = self.accounts.iter().filter(|it| !it.is_shadow() && !it.fits(now));
        let violated: Vec<(&Account, Option<i128>)> =
            violated.map(|account| (account, self.retry(account, horizon))).collect();
        if violated.is_empty() {
            return Ok(());
        }
        let code = if violated.iter().any(|(account, _)| account.is_never()) {
            "exceeds_limit"
        } else if violated.iter().any(|(account, _)| matches!(account.kind, Kind::Quota(_))) {
            "quota_exceeded"
        } else {
            "rate_limited"
        };
        let retry =
            violated.iter().map(|(_, retry)| *retry).reduce(|one, other| Some(one?.max(other?)));
        let retry = retry.flatten().filter(|retry| {
            self.accounts.iter().all(|account| Self::lasts(account, now + retry, horizon))
        });
        let shown = violated.iter().map(|(account, retry)| account.violation(now, *retry));
        Err(No::new(code)
            .with("remaining", self.least_left())
            .with("retry_after_ns", span(retry))
            .with("violations", Value::Array(shown.collect())))
    }

    fn lasts(account: &Account, at: Nanos, horizon: Horizon) -> bool {
        let until = at + horizon.ttl.unwrap_or(0);
        account.expires_at().is_none_or(|end| at < end && until <= end)
            && horizon.before.is_none_or(|before| at < before)
    }

    /// The least wait after which one target would let it pass.
    fn retry(&self, account: &Account, horizon: Horizon) -> Option<i128> {
        if account.is_never() {
            return None;
        }
        let then = super::value::first(self.now, |at| account.fits(at))?;
        Self::lasts(account, then, horizon).then(|| then - self.now)
    }

    pub(super) fn shown(&self) -> Vec<Value> {
        self.accounts.iter().map(|account| Value::Object(account.shown(self.now))).collect()
    }

    /// The least that is left.
    pub(super) fn least_left(&self) -> Value {
        let now = self.now;
        let left = self
            .accounts
            .iter()
            .map(|account| account.limit().less(account.used(now) + account.held(now)));
        let least = left.reduce(|one, other| match (one.0, other.0) {
            (None, _) => other,
            (Some(_), None) => one,
            (Some(a), Some(b)) => Limit(Some(a.min(b))),
        });
        least.map_or(Value::Null, Limit::shown)
    }
}
