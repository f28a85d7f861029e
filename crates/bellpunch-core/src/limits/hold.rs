//! Holds: units set aside, to be captured, voided, or released by time.
//!
//! Invariant: a hold counts in full from its commit until it is captured, voided, or
//! `now >= expires_at`; one capture ends it, and after its end it passes nothing. A hold is a
//! promise: what it holds can be captured also after the limit was lowered, but not while a quota
//! in it is revoked or over.
//!
//! Why expiry needs no command: a hold that ran out simply no longer counts, so answers are the
//! same whether a sweep has run or not.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::account::{Account, QuotaAccount, RateAccount, Space};
use super::admission::{Admission, Entry, Horizon};
use super::charge::{self, Event};
use super::policy::HOLD_TTL_MAX;
use super::target::demands;
use super::view::{HoldStatus, HoldView, TargetView, least_remaining};
use super::{Item, Rejection, Target};
use crate::{
    Command, Draft, Duration, Key, Kind, Labels, Limit, Record, RecordId, Timestamp, Units, Version,
};

/// How long a hold lasts that says nothing else.
const TTL_DEFAULT: Duration = Duration::from_secs(600);
/// How long an ended hold can still be read.
const KEPT_AFTER_END: Duration = Duration::from_days(7);

/// A hold, as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hold {
    items: Vec<HeldItem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<Key>,
    created_at: Timestamp,
    expires_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<End>,
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    labels: Labels,
}

/// An item, and what of it is held: all, or nothing where only told or not counted.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct HeldItem {
    item: Item,
    held: Units,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum End {
    Captured { at: Timestamp, charge: Option<Key> },
    Voided { at: Timestamp },
}

impl Record for Hold {
    const KIND: Kind = Kind::new("holds");

    fn sweep_at(&self) -> Option<Timestamp> {
        let ended_at = match self.end {
            Some(End::Captured { at, .. } | End::Voided { at }) => at,
            None => self.expires_at,
        };
        ended_at.plus(KEPT_AFTER_END)
    }
}

impl Hold {
    /// The hold with this id, unless it ended too long ago; swept or not.
    fn kept(draft: &mut Draft<'_>, now: Timestamp, id: &Key) -> Result<Self, Rejection> {
        let hold = draft.get::<Self>(&RecordId::from(id));
        match hold.filter(|hold| hold.sweep_at().is_none_or(|over| now < over)) {
            Some(hold) => Ok((*hold).clone()),
            None => Err(Rejection::HoldNotFound {}),
        }
    }

    /// Stage right.
    fn check_owner(&self, owner: Option<&Key>) -> Result<(), Rejection> {
        match &self.owner {
            Some(own) if owner != Some(own) => Err(Rejection::NotOwner {}),
            Some(_) | None => Ok(()),
        }
    }

    /// Stage state.
    fn check_not_ended(&self) -> Result<(), Rejection> {
        match &self.end {
            Some(End::Captured { at, charge }) => {
                Err(Rejection::HoldCaptured { at: *at, charge: charge.clone() })
            }
            Some(End::Voided { at }) => Err(Rejection::HoldVoided { at: *at }),
            None => Ok(()),
        }
    }

    /// Whether this charge is what the hold was captured as.
    fn became(&self, id: &Key) -> bool {
        matches!(&self.end, Some(End::Captured { charge: Some(charge), .. }) if charge == id)
    }

    /// Stage time. At `expires_at` itself it is over.
    fn check_not_expired(&self, now: Timestamp) -> Result<(), Rejection> {
        if self.expires_at <= now {
            return Err(Rejection::HoldExpired { expires_at: self.expires_at });
        }
        Ok(())
    }

    fn view(&self, id: &Key, version: Version, now: Timestamp) -> HoldView {
        let (status, ended_at, charge) = match &self.end {
            Some(End::Captured { at, charge }) => (HoldStatus::Captured, Some(*at), charge.clone()),
            Some(End::Voided { at }) => (HoldStatus::Voided, Some(*at), None),
            None if self.expires_at <= now => (HoldStatus::Expired, None, None),
            None => (HoldStatus::Open, None, None),
        };
        HoldView {
            id: id.clone(),
            items: self.items.iter().map(|held| held.item.clone()).collect(),
            owner: self.owner.clone(),
            status,
            created_at: self.created_at,
            expires_at: self.expires_at,
            ended_at,
            charge,
            labels: self.labels.clone(),
            version,
        }
    }

    /// Units that it holds of a target now.
    pub(super) fn open_units(&self, target: &Target, now: Timestamp) -> u64 {
        if self.end.is_some() || self.expires_at <= now {
            return 0;
        }
        let here = self.items.iter().filter(|held| held.item.target == *target);
        here.fold(0, |sum, held| sum.saturating_add(held.held.get()))
    }

    /// Loads what the hold is on, each target once; what is left of nothing is left out.
    fn entries(&self, draft: &mut Draft<'_>, now: Timestamp) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::with_capacity(self.items.len());
        for HeldItem { item, .. } in &self.items {
            if entries.iter().any(|entry| entry.account.target() == item.target) {
                continue;
            }
            if let Some(account) = account_of(draft, now, item) {
                entries.push(Entry::new(account, Units::ZERO, now));
            }
        }
        entries
    }
}

fn account_of(draft: &mut Draft<'_>, now: Timestamp, item: &Item) -> Option<Account> {
    match (&item.target, &item.terms) {
        (Target::Quota { quota }, _) => {
            QuotaAccount::load(draft, now, quota).map(Box::new).map(Account::Quota)
        }
        (Target::Rate { policy, key }, terms) => {
            let space = Space::of(terms.as_ref());
            let existing = RateAccount::existing(draft, now, (policy, key, space));
            let account = match (existing, terms) {
                (Some(account), _) => account,
                (None, Some(terms)) => RateAccount::inline(draft, now, (policy, key, space), terms),
                (None, None) => {
                    let stored = super::account::policy(draft, policy)?;
                    RateAccount::stored(draft, now, (policy, key), &stored)
                }
            };
            Some(Account::Rate(Box::new(account)))
        }
    }
}

/// Sets units aside. `holds.create`.
///
/// ```
/// use bellpunch_core::{Duration, Key, Units};
/// use bellpunch_core::limits::{CreateHold, Item, Target};
/// let target = Target::quota(Key::new("uploads")?);
/// let hold = CreateHold::of(vec![Item::new(target, Units::ONE)]).lasting(Duration::from_secs(60));
/// assert_eq!(hold.ttl_ns, Some(Duration::from_secs(60)));
/// # Ok::<(), bellpunch_core::ValueError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateHold {
    /// What to hold, at least one unit of each.
    pub items: Vec<Item>,
    /// Its id; drawn if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Key>,
    /// How long; 10 minutes, or as long as its quotas last if that is shorter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ns: Option<Duration>,
    /// Who alone may end it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Key>,
    /// The caller's own.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

/// What came of a command on a hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HoldReply {
    /// The hold as it now is.
    pub hold: HoldView,
    /// What it is on, after it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetView>,
    /// The least that is left on them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<Limit>,
    /// Of a capture: the charge it became.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charge: Option<Key>,
    /// Of a capture: units taken, of all items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captured: Option<u64>,
    /// Of a capture or void: units held and not taken, of all items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<u64>,
}

impl HoldReply {
    fn new(hold: HoldView, targets: Vec<TargetView>) -> Self {
        let remaining = least_remaining(&targets);
        Self { hold, targets, remaining, charge: None, captured: None, released: None }
    }
}

impl CreateHold {
    /// A hold with a drawn id, the default span, and no owner.
    #[must_use]
    pub fn of(items: Vec<Item>) -> Self {
        Self { items, id: None, ttl_ns: None, owner: None, labels: Labels::default() }
    }

    /// With this span.
    #[must_use]
    pub fn lasting(self, ttl: Duration) -> Self {
        Self { ttl_ns: Some(ttl), ..self }
    }

    /// Decides with another default span than 10 minutes.
    ///
    /// # Errors
    /// The rule's "no".
    ///
    /// # Panics
    /// Never: what was admitted fits.
    pub fn decide_with_default(
        &self,
        draft: &mut Draft<'_>,
        now: Timestamp,
        ttl_default: Duration,
    ) -> Result<HoldReply, Rejection> {
        let demands = demands(&self.items)?;
        if let Some(index) = self.items.iter().position(|item| item.units.is_zero()) {
            let field = format!("items[{index}].units");
            return Err(Rejection::InvalidUnits { field, reason: "zero" });
        }
        let mut admission = Admission::load(draft, now, &demands)?;
        if let Some(id) = &self.id
            && let Ok(hold) = Hold::kept(draft, now, id)
        {
            return Err(Rejection::HoldExists { at: hold.created_at });
        }
        admission.check_revoked()?;
        admission.check_algorithms()?;
        admission.check_expired()?;
        let longest = longest(&admission, now);
        let ttl = self.ttl_ns.or_else(|| longest.map(|longest| longest.min(ttl_default)));
        let fits = ttl.filter(|ttl| longest.is_some_and(|longest| *ttl <= longest));
        let Some(expires_at) = fits.and_then(|ttl| now.plus(ttl)) else {
            return Err(Rejection::TtlTooLong { max_ttl_ns: longest });
        };
        admission.check_holds()?;
        admission.check_limits(draft, Horizon { ttl: self.ttl_ns, before: None })?;

        // Past here it succeeds.
        let id = self.id.clone().unwrap_or_else(|| draft.drawn_key());
        for entry in admission.entries.iter_mut().filter(|entry| entry.changes) {
            entry.account.add_hold(id.clone(), entry.cost, expires_at);
        }
        admission.commit_before_ends(draft);
        draft.commit_before(expires_at);
        admission.write(draft);
        let items = self.items.iter().map(|item| {
            let entry = admission.entries.iter().find(|e| e.account.target() == item.target);
            let is_held = entry.is_some_and(|entry| entry.changes);
            HeldItem { item: item.clone(), held: if is_held { item.units } else { Units::ZERO } }
        });
        let hold = Hold {
            items: items.collect(),
            owner: self.owner.clone(),
            created_at: now,
            expires_at,
            end: None,
            labels: self.labels.clone(),
        };
        let version = draft.put(&RecordId::from(&id), hold.clone());
        Ok(HoldReply::new(hold.view(&id, version, now), admission.views()))
    }
}

/// The longest span a hold on all of these may have now.
fn longest(admission: &Admission, now: Timestamp) -> Option<Duration> {
    let mut spans = admission.entries.iter().map(|entry| longest_on(&entry.account, now));
    spans.try_fold(LONGEST, |least, span| span.map(|span| span.min(least)))
}

/// Above every bound that a target sets.
const LONGEST: Duration = Duration::MAX;

fn longest_on(account: &Account, now: Timestamp) -> Option<Duration> {
    match account {
        Account::Quota(account) => match account.quota.expires_at {
            // It has not expired, so a rest that is no span is one of more than 584 years.
            Some(end) => Some(end.since(now).map_or(HOLD_TTL_MAX, |rest| rest.min(HOLD_TTL_MAX))),
            None => Some(HOLD_TTL_MAX),
        },
        Account::Rate(account) => Some(account.counter.terms().max_ttl()),
    }
}

impl Command for CreateHold {
    const NAME: &'static str = "holds.create";
    type Reply = HoldReply;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<HoldReply, Rejection> {
        self.decide_with_default(draft, now, TTL_DEFAULT)
    }
}

/// How much a capture takes. JSON: a count for every item, or a list with one for each.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum CaptureUnits {
    /// So many of every item.
    All(Units),
    /// One count for each item, in order.
    Each(Vec<Units>),
}

impl<'de> Deserialize<'de> for CaptureUnits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        if value.is_array() {
            return Vec::deserialize(value).map(Self::Each).map_err(D::Error::custom);
        }
        Units::deserialize(value).map(Self::All).map_err(D::Error::custom)
    }
}

/// Takes some or all of a hold, and ends it. `holds.capture`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CaptureHold {
    /// The hold.
    pub id: Key,
    /// How much; without, what is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub units: Option<CaptureUnits>,
    /// The owner, where the hold has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Key>,
    /// The charge's id; the hold's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charge: Option<Key>,
    /// The caller's own, for the charge; the hold's if absent.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

impl CaptureHold {
    /// Takes all that a hold without owner holds.
    ///
    /// ```
    /// use bellpunch_core::{Key, Units};
    /// use bellpunch_core::limits::{CaptureHold, CaptureUnits};
    /// let part = CaptureHold::all(Key::new("h1")?).taking(CaptureUnits::All(Units::ONE));
    /// assert_eq!(serde_json::to_string(&part).unwrap(), r#"{"id":"h1","units":1}"#);
    /// # Ok::<(), bellpunch_core::ValueError>(())
    /// ```
    #[must_use]
    pub fn all(id: Key) -> Self {
        Self { id, units: None, owner: None, charge: None, labels: Labels::default() }
    }

    /// Taking so much.
    #[must_use]
    pub fn taking(self, units: CaptureUnits) -> Self {
        Self { units: Some(units), ..self }
    }

    /// What to take of each target. Stage shape: as many counts as items, and sums that are counts.
    fn taken<'h>(&self, hold: &'h Hold) -> Result<BTreeMap<&'h Target, Units>, Rejection> {
        let each: Vec<Units> = match &self.units {
            None => hold.items.iter().map(|held| held.item.units).collect(),
            Some(CaptureUnits::All(units)) => hold.items.iter().map(|_| *units).collect(),
            Some(CaptureUnits::Each(each)) if each.len() == hold.items.len() => each.clone(),
            Some(CaptureUnits::Each(_)) => {
                return Err(Rejection::invalid_request("units", "needs one count for each item"));
            }
        };
        let mut taken = BTreeMap::new();
        for (held, units) in hold.items.iter().zip(each) {
            let sum: &mut Units = taken.entry(&held.item.target).or_default();
            *sum = sum.checked_add(units).ok_or_else(|| Rejection::InvalidUnits {
                field: "units".to_owned(),
                reason: "too_large",
            })?;
        }
        Ok(taken)
    }

    /// Gives each target what is taken of it, with what the hold held there set free.
    fn aim(&self, taken: &BTreeMap<&Target, Units>, entries: &mut [Entry]) {
        for entry in entries.iter_mut() {
            entry.cost = taken.get(&entry.account.target()).copied().unwrap_or_default();
            if entry.account.is_lease() {
                // A lease ends; it is nothing that was used.
                entry.cost = Units::ZERO;
            }
            let own = entry.account.release(&self.id);
            entry.own = Some(own);
            let uses = !entry.cost.is_zero() && entry.account.counts();
            entry.changes = uses || !own.is_zero();
        }
    }
}

impl Command for CaptureHold {
    const NAME: &'static str = "holds.capture";
    type Reply = HoldReply;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<HoldReply, Rejection> {
        let mut hold = Hold::kept(draft, now, &self.id)?;
        let found = hold.clone();
        let taken = self.taken(&found)?;
        let charge_id = self.charge.as_ref().unwrap_or(&self.id);
        if !hold.became(charge_id) {
            charge::check_free(draft, now, Some(charge_id))?;
        }
        hold.check_owner(self.owner.as_ref())?;
        hold.check_not_ended()?;
        let mut entries = hold.entries(draft, now);
        let mut admission = Admission::of(now, Vec::new());
        self.aim(&taken, &mut entries);
        admission.entries = entries;
        admission.check_revoked()?;
        hold.check_not_expired(now)?;
        admission.check_expired()?;
        let horizon = Horizon { ttl: None, before: Some(hold.expires_at) };
        admission.check_limits(draft, horizon)?;

        // Past here it succeeds.
        let (captured, released) = admission.captured();
        admission.charge();
        admission.commit_before_ends(draft);
        draft.commit_before(hold.expires_at);
        admission.write(draft);
        let labels = if self.labels.is_empty() { &hold.labels } else { &self.labels };
        let event = Event { id: Some(charge_id), hold: Some(&self.id), labels };
        let charge = charge::record(draft, &mut admission, &event);
        hold.end = Some(End::Captured { at: now, charge: charge.clone() });
        let version = draft.put(&RecordId::from(&self.id), hold.clone());
        Ok(HoldReply {
            charge,
            captured: Some(captured),
            released: Some(released),
            ..HoldReply::new(hold.view(&self.id, version, now), admission.views())
        })
    }
}

impl Admission {
    /// Units taken, and units held and not taken, of all targets.
    fn captured(&self) -> (u64, u64) {
        let mut sums = (0_u64, 0_u64);
        for entry in self.entries.iter().filter(|entry| entry.changes) {
            let own = entry.own.unwrap_or_default();
            sums.0 = sums.0.saturating_add(entry.cost.get());
            sums.1 = sums.1.saturating_add(own.minus_or_zero(entry.cost).get());
        }
        sums
    }
}

/// Releases a hold. `holds.void`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct VoidHold {
    /// The hold.
    pub id: Key,
    /// The owner, where the hold has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Key>,
}

impl Command for VoidHold {
    const NAME: &'static str = "holds.void";
    type Reply = HoldReply;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<HoldReply, Rejection> {
        let mut hold = Hold::kept(draft, now, &self.id)?;
        hold.check_owner(self.owner.as_ref())?;
        hold.check_not_ended()?;
        hold.check_not_expired(now)?;
        let mut admission = Admission::of(now, hold.entries(draft, now));

        // Past here it succeeds.
        let mut released = 0_u64;
        for entry in &mut admission.entries {
            let own = entry.account.release(&self.id);
            entry.changes = !own.is_zero();
            released = released.saturating_add(own.get());
        }
        admission.write(draft);
        hold.end = Some(End::Voided { at: now });
        let version = draft.put(&RecordId::from(&self.id), hold.clone());
        Ok(HoldReply {
            released: Some(released),
            ..HoldReply::new(hold.view(&self.id, version, now), admission.views())
        })
    }
}

/// Lets a hold last longer. `holds.extend`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ExtendHold {
    /// The hold.
    pub id: Key,
    /// How long, from now.
    pub ttl_ns: Duration,
    /// The owner, where the hold has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Key>,
}

impl ExtendHold {
    /// The longest span from now: the target's maximum counts from the creation.
    fn longest(&self, hold: &Hold, admission: &Admission) -> Option<Duration> {
        let now = admission.now;
        let rest = |account: &Account| {
            let most = match account {
                Account::Quota(_) => HOLD_TTL_MAX,
                Account::Rate(account) => account.counter.terms().max_ttl(),
            };
            let end = hold.created_at.plus(most).unwrap_or(Timestamp::MAX);
            let end = account.expires_at().map_or(end, |expires_at| expires_at.min(end));
            end.since(now).filter(|rest| 0 < rest.nanos())
        };
        let mut rests = admission.entries.iter().map(|entry| rest(&entry.account));
        rests.try_fold(LONGEST, |least, rest| rest.map(|rest| rest.min(least)))
    }
}

impl Command for ExtendHold {
    const NAME: &'static str = "holds.extend";
    type Reply = HoldReply;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<HoldReply, Rejection> {
        let mut hold = Hold::kept(draft, now, &self.id)?;
        hold.check_owner(self.owner.as_ref())?;
        hold.check_not_ended()?;
        let mut admission = Admission::of(now, hold.entries(draft, now));
        admission.check_revoked()?;
        hold.check_not_expired(now)?;
        admission.check_expired()?;
        let longest = self.longest(&hold, &admission);
        let fits = longest.is_some_and(|longest| self.ttl_ns <= longest);
        let Some(expires_at) = now.plus(self.ttl_ns).filter(|_| fits) else {
            return Err(Rejection::TtlTooLong { max_ttl_ns: longest });
        };
        if expires_at <= hold.expires_at {
            return Err(Rejection::ExpiryNotLater { expires_at: hold.expires_at });
        }

        // Past here it succeeds.
        for entry in &mut admission.entries {
            let target = entry.account.target();
            let here = hold.items.iter().filter(|held| held.item.target == target);
            entry.changes = here.into_iter().any(|held| !held.held.is_zero());
            entry.account.extend_hold(&self.id, expires_at);
        }
        admission.commit_before_ends(draft);
        draft.commit_before(hold.expires_at);
        admission.write(draft);
        hold.expires_at = expires_at;
        let version = draft.put(&RecordId::from(&self.id), hold.clone());
        Ok(HoldReply::new(hold.view(&self.id, version, now), admission.views()))
    }
}

/// Reads a hold. `holds.read`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ReadHold {
    /// The hold.
    pub id: Key,
}

impl Command for ReadHold {
    const NAME: &'static str = "holds.read";
    type Reply = HoldReply;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<HoldReply, Rejection> {
        let hold = Hold::kept(draft, now, &self.id)?;
        let version = draft.version::<Hold>(&RecordId::from(&self.id));
        Ok(HoldReply::new(hold.view(&self.id, version, now), Vec::new()))
    }
}
