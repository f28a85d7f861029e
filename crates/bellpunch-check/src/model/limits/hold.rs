//! Holds: units set aside, taken or released later.
//!
//! Invariant: one capture or one void ends a hold, or its time does; what it held is held until
//! then and no longer.

mod uploads;

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::admission::{Account, Admission, Horizon, Item, Kind, Space, demands};
use super::charges::Event;
use super::open::Open;
use super::value::{DAY, Span, Target, Units, at as shown_at, reachable, record, span, units};
use super::{Limits, No, Yes, content, given_or_drawn};
use crate::instant::Nanos;
use crate::model::Call;

/// How long a hold lasts that says nothing else.
const TTL_DEFAULT: i128 = 600_000_000_000;
/// How long an ended hold can still be read.
const KEPT_AFTER_END: i128 = 7 * DAY;

#[derive(Clone, Debug, PartialEq)]
struct HeldItem {
    item: Item,
    /// Of what is only told, nothing.
    held: i128,
}

#[derive(Clone, Debug, PartialEq)]
enum End {
    Captured { at: Nanos, charge: Value },
    Voided { at: Nanos },
}

/// A hold.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hold {
    items: Vec<HeldItem>,
    owner: Option<String>,
    pub(super) created_at: Nanos,
    expires_at: Nanos,
    end: Option<End>,
    labels: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    items: Vec<Item>,
    id: Option<String>,
    ttl_ns: Option<Span>,
    owner: Option<String>,
    labels: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Capture {
    id: String,
    units: Option<Taking>,
    owner: Option<String>,
    charge: Option<String>,
    labels: Option<Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Taking {
    Each(Vec<Units>),
    All(Units),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct One {
    id: String,
    owner: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Extend {
    id: String,
    ttl_ns: Span,
    owner: Option<String>,
}

/// A hold to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewHold {
    /// Its id.
    pub(crate) id: String,
    /// Who alone may end it.
    pub(crate) owner: Option<String>,
    /// When it ends.
    pub(crate) expires_at: Nanos,
    /// The caller's own.
    pub(crate) labels: Value,
}

/// What came of a capture.
#[derive(Clone, Debug)]
pub(crate) struct Captured {
    /// The targets after it.
    pub(crate) admission: Admission,
    /// The charge, or `null`.
    pub(crate) charge: Value,
    /// Units taken.
    pub(crate) captured: i128,
    /// Units held and not taken.
    pub(crate) released: i128,
    /// The records that were written, the hold's apart.
    pub(crate) writes: BTreeSet<String>,
}

impl Hold {
    fn is_kept(&self, now: Nanos) -> bool {
        let ended_at = match &self.end {
            Some(End::Captured { at, .. } | End::Voided { at }) => *at,
            None => self.expires_at,
        };
        now < ended_at.saturating_add(KEPT_AFTER_END)
    }

    pub(super) fn is_open(&self, now: Nanos) -> bool {
        self.end.is_none() && now < self.expires_at
    }

    fn shown(&self, id: &str, now: Nanos) -> Value {
        let (status, ended_at, charge) = match &self.end {
            Some(End::Captured { at, charge }) => ("captured", Some(*at), charge.clone()),
            Some(End::Voided { at }) => ("voided", Some(*at), Value::Null),
            None if now < self.expires_at => ("open", None, Value::Null),
            None => ("expired", None, Value::Null),
        };
        json!({
            "id": id,
            "items": self.items.iter().map(|held| held.item.form.clone()).collect::<Vec<_>>(),
            "owner": self.owner,
            "status": status,
            "created_at": shown_at(Some(self.created_at)),
            "expires_at": shown_at(Some(self.expires_at)),
            "ended_at": shown_at(ended_at),
            "charge": charge,
            "labels": self.labels,
        })
    }

    fn check_ended(&self) -> Result<(), No> {
        match &self.end {
            Some(End::Captured { at, charge }) => Err(No::new("hold_captured")
                .with("at", shown_at(Some(*at)))
                .with("charge", charge.clone())),
            Some(End::Voided { at }) => Err(No::new("hold_voided").with("at", shown_at(Some(*at)))),
            None => Ok(()),
        }
    }

    fn check_time(&self, now: Nanos) -> Result<(), No> {
        if self.expires_at <= now {
            return Err(No::new("hold_expired").with("expires_at", shown_at(Some(self.expires_at))));
        }
        Ok(())
    }

    fn check_owner(&self, owner: Option<&str>) -> Result<(), No> {
        let is_other = self.owner.is_some() && self.owner.as_deref() != owner;
        if is_other { Err(No::new("not_owner")) } else { Ok(()) }
    }
}

impl Limits {
    fn hold(&self, id: &str, now: Nanos) -> Result<&Hold, No> {
        let known = self.holds.get(id).filter(|hold| hold.is_kept(now));
        known.ok_or_else(|| No::new("hold_not_found"))
    }

    pub(super) fn create_hold(&mut self, call: &Call<'_>) -> Result<Yes, No> {
        let Create { items, id, ttl_ns, owner, labels } = content(call)?;
        let wanted = demands(&items)?;
        if items.iter().any(|item| item.units == 0) {
            return Err(No::new("invalid_units"));
        }
        let now = call.at;
        let mut admission = self.admission(&wanted, now)?;
        if let Some(Ok(known)) = id.as_ref().map(|id| self.hold(id, now)) {
            return Err(No::new("hold_exists").with("at", shown_at(Some(known.created_at))));
        }
        admission.check_revoked()?;
        admission.check_algorithms()?;
        admission.check_expired()?;
        let asked = ttl_ns.map(|ttl| ttl.0);
        let ttl = admission.ttl(asked, TTL_DEFAULT)?;
        admission.check_holds()?;
        admission.check_keys(self)?;
        admission.check_room_until(Horizon { ttl: asked, before: None })?;

        let Some(id) = given_or_drawn(id, call, "/hold/id") else {
            return Err(No::new("invalid_request"));
        };
        let expires_at = now.saturating_add(ttl);
        let labels = labels.unwrap_or_else(|| json!({}));
        let new = NewHold { id: id.clone(), owner, expires_at, labels };
        let (admission, writes) = self.open_hold(new, &items, admission);
        let yes = Yes { writes, reply: Map::new() };
        let shown = self.hold(&id, now)?.shown(&id, now);
        Ok(yes
            .with("hold", shown)
            .with("targets", Value::Array(admission.uses()))
            .with("remaining", admission.least_left()))
    }

    /// Sets units aside: after all questions of an [`Admission`] were answered with yes. Gives the
    /// targets after it, and the records it wrote.
    pub(crate) fn open_hold(
        &mut self,
        new: NewHold,
        items: &[Item],
        mut admission: Admission,
    ) -> (Admission, BTreeSet<String>) {
        let NewHold { id, owner, expires_at, labels } = new;
        for account in &mut admission.accounts {
            if account.counts() && !account.would_reject {
                account.own = account.cost;
                account.hold(Open { hold: id.clone(), units: account.own, expires_at });
            }
        }
        let is_held = |item: &Item| {
            let mut accounts = admission.accounts.iter();
            accounts.any(|account| account.target == item.target && 0 < account.own)
        };
        let held = items.iter().map(|item| {
            let held = if is_held(item) { item.units } else { 0 };
            HeldItem { item: item.clone(), held }
        });
        let held: Vec<HeldItem> = held.collect();
        let mut writes = BTreeSet::from([record("holds", &[&id])]);
        let written: Vec<&Account> =
            admission.accounts.iter().filter(|account| 0 < account.own).collect();
        self.write(&written, &mut writes, admission.now);
        let created_at = admission.now;
        let hold = Hold { items: held, owner, created_at, expires_at, end: None, labels };
        self.holds.insert(id, hold);
        (admission, writes)
    }

    /// The targets of a hold.
    pub(super) fn held_targets(&self, hold: &Hold, now: Nanos) -> Admission {
        let mut accounts: Vec<Account> = Vec::new();
        for held in &hold.items {
            let target = &held.item.target;
            if let Some(known) = accounts.iter_mut().find(|account| account.target == *target) {
                known.own = known.own.saturating_add(held.held);
                continue;
            }
            let space = Space::of(held.item.terms.as_ref());
            let again = || self.admission(std::slice::from_ref(&held.item), now).ok();
            let found = self.existing(target, space, now);
            let Some(mut account) = found.or_else(|| again()?.accounts.pop()) else { continue };
            account.own = held.held;
            account.of_hold = true;
            accounts.push(account);
        }
        Admission { now, accounts }
    }

    pub(super) fn capture_hold(&mut self, call: &Call<'_>) -> Result<Yes, No> {
        let Capture { id, units: taking, owner, charge, labels } = content(call)?;
        let now = call.at;
        let hold = self.hold(&id, now)?.clone();
        let taken: Vec<i128> = match &taking {
            None => hold.items.iter().map(|held| held.item.units).collect(),
            Some(Taking::All(all)) => hold.items.iter().map(|_| all.0).collect(),
            Some(Taking::Each(each)) => each.iter().map(|units| units.0).collect(),
        };
        if taken.len() != hold.items.len() {
            return Err(No::shape("invalid_request", "units".to_owned()));
        }
        let charge = charge.unwrap_or_else(|| id.clone());
        self.check_charge_of(&charge, &id, now)?;
        hold.check_owner(owner.as_deref())?;
        hold.check_ended()?;
        let mut admission = self.held_targets(&hold, now);
        admission.check_revoked()?;
        hold.check_time(now)?;
        admission.check_expired()?;
        admission.take(&hold, &taken);
        let horizon = Horizon { ttl: None, before: Some(hold.expires_at) };
        let room = admission.check_room_until(horizon);
        room.map_err(|no| no.with("capturable", units(admission.capturable(&hold))))?;

        let labels = labels.filter(|labels| labels != &json!({})).unwrap_or(hold.labels);
        let event = Event { id: Some(&charge), hold: Some(&id), labels: Some(&labels) };
        let captured = self.close_captured(&id, admission, &event);
        let Captured { admission, charge, captured, released, mut writes } = captured;
        writes.insert(record("holds", &[&id]));
        let yes = Yes { writes, reply: Map::new() };
        let shown = self.hold(&id, now)?.shown(&id, now);
        Ok(yes
            .with("hold", shown)
            .with("charge", charge)
            .with("captured", units(captured))
            .with("released", units(released))
            .with("targets", Value::Array(admission.uses()))
            .with("remaining", admission.least_left()))
    }

    fn close_captured(
        &mut self,
        id: &str,
        mut admission: Admission,
        event: &Event<'_>,
    ) -> Captured {
        let now = admission.now;
        let (mut captured, mut released) = (0_i128, 0_i128);
        for account in &mut admission.accounts {
            account.release(id);
            account.charge(now);
            if let Kind::Quota(quota) = &mut account.kind {
                quota.excuse(now);
            }
            let took = account.charged.map_or(0, |charged| charged.units);
            captured = captured.saturating_add(took);
            released = released.saturating_add(account.own.saturating_sub(took).max(0));
        }
        let written: Vec<&Account> = admission
            .accounts
            .iter()
            .filter(|account| 0 < account.own || account.charged.is_some())
            .collect();
        let mut writes = BTreeSet::new();
        self.write(&written, &mut writes, now);
        let nothing = Call { cmd: "", args: &Value::Null, at: now, drawn: None };
        let (charge, written) = self.record_charge(&admission, event, &nothing);
        writes.extend(written);
        if let Some(hold) = self.holds.get_mut(id) {
            hold.end = Some(End::Captured { at: now, charge: charge.clone() });
        }
        Captured { admission, charge, captured, released, writes }
    }

    pub(super) fn void_hold(&mut self, call: &Call<'_>) -> Result<Yes, No> {
        let One { id, owner } = content(call)?;
        let now = call.at;
        let hold = self.hold(&id, now)?.clone();
        hold.check_owner(owner.as_deref())?;
        hold.check_ended()?;
        hold.check_time(now)?;

        let (admission, writes) = self.close_voided(&id, now);
        let released: i128 = hold.items.iter().map(|held| held.held).sum();
        let yes = Yes { writes, reply: Map::new() };
        let shown = self.hold(&id, now)?.shown(&id, now);
        Ok(yes
            .with("hold", shown)
            .with("released", units(released))
            .with("targets", Value::Array(admission.uses()))
            .with("remaining", admission.least_left()))
    }

    /// Releases a hold that is open. Gives its targets after it, and the records it wrote.
    pub(crate) fn close_voided(&mut self, id: &str, now: Nanos) -> (Admission, BTreeSet<String>) {
        let mut writes = BTreeSet::from([record("holds", &[id])]);
        let Some(hold) = self.holds.get(id).cloned() else {
            return (Admission { now, accounts: Vec::new() }, BTreeSet::new());
        };
        let mut admission = self.held_targets(&hold, now);
        for account in &mut admission.accounts {
            account.release(id);
        }
        let written: Vec<&Account> =
            admission.accounts.iter().filter(|account| 0 < account.own).collect();
        self.write(&written, &mut writes, now);
        if let Some(hold) = self.holds.get_mut(id) {
            hold.end = Some(End::Voided { at: now });
        }
        (admission, writes)
    }

    pub(super) fn extend_hold(&mut self, call: &Call<'_>) -> Result<Yes, No> {
        let Extend { id, ttl_ns, owner } = content(call)?;
        let now = call.at;
        let hold = self.hold(&id, now)?.clone();
        hold.check_owner(owner.as_deref())?;
        hold.check_ended()?;
        let admission = self.held_targets(&hold, now);
        admission.check_revoked()?;
        hold.check_time(now)?;
        admission.check_expired()?;
        let max = admission.longest_extension(hold.created_at);
        if max < ttl_ns.0 {
            let shown = if 0 < max { span(Some(max)) } else { Value::Null };
            return Err(No::new("ttl_too_long").with("max_ttl_ns", shown));
        }
        let expires_at = now.saturating_add(ttl_ns.0);
        if expires_at <= hold.expires_at {
            let known = shown_at(Some(hold.expires_at));
            return Err(No::new("expiry_not_later").with("expires_at", known));
        }

        let (admission, writes) = self.move_end(&id, expires_at, now);
        let yes = Yes { writes, reply: Map::new() };
        let shown = self.hold(&id, now)?.shown(&id, now);
        Ok(yes
            .with("hold", shown)
            .with("targets", Value::Array(admission.uses()))
            .with("remaining", admission.least_left()))
    }

    /// Moves the end of a hold that is open. Gives its targets after it, and the records it wrote.
    pub(crate) fn move_end(
        &mut self,
        id: &str,
        expires_at: Nanos,
        now: Nanos,
    ) -> (Admission, BTreeSet<String>) {
        let mut writes = BTreeSet::from([record("holds", &[id])]);
        let Some(hold) = self.holds.get(id).cloned() else {
            return (Admission { now, accounts: Vec::new() }, BTreeSet::new());
        };
        let mut admission = self.held_targets(&hold, now);
        for account in &mut admission.accounts {
            account.extend(id, expires_at);
        }
        let written: Vec<&Account> =
            admission.accounts.iter().filter(|account| 0 < account.own).collect();
        self.write(&written, &mut writes, now);
        if let Some(hold) = self.holds.get_mut(id) {
            hold.expires_at = expires_at;
        }
        (admission, writes)
    }

    pub(super) fn read_hold(&self, call: &Call<'_>) -> Result<Yes, No> {
        let One { id, .. } = content(call)?;
        let hold = self.hold(&id, call.at)?;
        Ok(Yes::default().with("hold", hold.shown(&id, call.at)))
    }

    /// Units of a quota that open holds are for.
    pub(super) fn held_of(&self, target: &Target, at: Nanos) -> i128 {
        self.held_under(target, Space::Stored, at)
    }

    /// Units of a target that open holds are for.
    pub(super) fn held_under(&self, target: &Target, space: Space, at: Nanos) -> i128 {
        let open = self.holds.values().filter(|hold| hold.is_open(at));
        let items = open.flat_map(|hold| &hold.items).filter(|held| {
            held.item.target == *target && Space::of(held.item.terms.as_ref()) == space
        });
        items.map(|held| held.held).sum()
    }
}

impl Admission {
    /// How long a hold will last: `ttl_too_long`. Unless something else was asked for, `usual`, or
    /// as long as it may if that is shorter.
    pub(crate) fn ttl(&self, asked: Option<i128>, usual: i128) -> Result<i128, No> {
        let max = self.max_ttl();
        let ttl = asked.unwrap_or_else(|| usual.min(max));
        if max < ttl || reachable(self.now.saturating_add(ttl)).is_none() {
            return Err(No::new("ttl_too_long").with("max_ttl_ns", span(Some(max))));
        }
        Ok(ttl)
    }

    /// The longest that an open hold may last from now.
    pub(crate) fn longest_extension(&self, created_at: Nanos) -> i128 {
        let gone = self.now.saturating_sub(created_at);
        let of = |account: &Account| {
            let max = account.max_ttl_from_creation().saturating_sub(gone);
            account.rest(self.now).map_or(max, |rest| max.min(rest))
        };
        self.accounts.iter().map(of).min().unwrap_or(i128::MAX)
    }

    /// Asks for so many units of each item.
    fn take(&mut self, hold: &Hold, taken: &[i128]) {
        for account in &mut self.accounts {
            let items = hold.items.iter().zip(taken);
            let of_it = items.filter(|(held, _)| held.item.target == account.target);
            // A lease is taken by its hold alone; a capture ends it, and takes nothing.
            let is_lease = account.is_lease();
            account.cost = if is_lease { 0 } else { of_it.map(|(_, units)| *units).sum() };
        }
    }

    /// The most of every item that could be captured now.
    fn capturable(&self, hold: &Hold) -> i128 {
        let most = |account: &Account| {
            let taken = account.used(self.now).saturating_add(account.held(self.now));
            let free = account.limit().count().saturating_sub(taken).max(0);
            account.own.saturating_add(free)
        };
        let counted = self.accounts.iter().filter(|account| account.counts());
        let most = counted.filter(|account| !account.is_shadow()).map(most).min();
        most.unwrap_or_else(|| hold.items.iter().map(|held| held.held).sum())
    }
}
