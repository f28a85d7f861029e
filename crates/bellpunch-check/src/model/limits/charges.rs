//! Charges: the event of each use, and what of it is given back.
//!
//! Invariant: each item of a charge is given back once, and never more than still counts.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::admission::{Account, Admission, Charged, Kind, Space};
use super::counter::{Epoch, Place};
use super::value::{
    DAY, IfVersion, Limit, Retention, Target, Units, at as shown_at, reachable, record, units,
};
use super::{Limits, No, Yes, content, given_or_drawn};
use crate::instant::Nanos;
use crate::model::Call;

/// How long the charge of a rate stays after it can be given back, to say that it is too late.
const KEPT_AFTER_WINDOW: i128 = DAY;

/// The units of one target.
#[derive(Clone, Debug, PartialEq)]
struct ChargeItem {
    target: Target,
    space: Space,
    units: i128,
    used: i128,
    held: i128,
    limit: Limit,
    epoch: Epoch,
    place: Option<Place>,
    refunded: Option<(i128, Nanos)>,
}

/// The event of a use.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Charge {
    items: Vec<ChargeItem>,
    hold: Option<String>,
    at: Nanos,
    /// `None`: for ever.
    keep_until: Option<Nanos>,
    labels: Value,
}

/// What a use says of its charge.
pub(super) struct Event<'e> {
    pub(super) id: Option<&'e str>,
    pub(super) hold: Option<&'e str>,
    pub(super) labels: Option<&'e Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refund {
    id: String,
    items: Option<Vec<RefundItem>>,
    units: Option<Units>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefundItem {
    quota: Option<String>,
    policy: Option<String>,
    key: Option<String>,
    units: Option<Units>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefundQuota {
    id: String,
    charge: String,
    units: Option<Units>,
    if_version: Option<IfVersion>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    id: String,
}

/// A target to give back to, and how much: `None` is all of it.
type Part = (Target, Option<i128>);

impl RefundItem {
    fn part(&self) -> Result<Part, No> {
        let units = self.units.map(|units| units.0);
        match (&self.quota, &self.policy, &self.key) {
            (Some(quota), None, None) => Ok((Target::Quota(quota.clone()), units)),
            (None, Some(policy), Some(key)) => {
                Ok((Target::Rate { policy: policy.clone(), key: key.clone() }, units))
            }
            _ => Err(No::new("invalid_request")),
        }
    }
}

impl Charge {
    fn is_kept(&self, now: Nanos) -> bool {
        self.keep_until.is_none_or(|until| now < until)
    }

    fn shown(&self, id: &str) -> Value {
        let item = |item: &ChargeItem| {
            let mut shown = item.target.names();
            shown.insert("units".to_owned(), units(item.units));
            shown.insert("used".to_owned(), units(item.used));
            shown.insert("held".to_owned(), units(item.held));
            shown.insert("limit".to_owned(), item.limit.shown());
            let (refunded, at) = item.refunded.unzip();
            shown.insert("refunded".to_owned(), refunded.map_or(Value::Null, units));
            shown.insert("refunded_at".to_owned(), shown_at(at));
            Value::Object(shown)
        };
        json!({
            "id": id,
            "items": self.items.iter().map(item).collect::<Vec<_>>(),
            "hold": self.hold,
            "at": shown_at(Some(self.at)),
            "keep_until": shown_at(self.keep_until),
            "labels": self.labels,
        })
    }
}

/// Until when an item asks its charge to be kept: not at all, or until then (`None`: for ever).
fn keep(account: &Account, now: Nanos) -> Option<Option<Nanos>> {
    match &account.kind {
        Kind::Quota(quota) => match quota.charges {
            Retention::None => None,
            Retention::For(span) => Some(now.checked_add(span).and_then(reachable)),
            Retention::ForEver => Some(None),
        },
        Kind::Rate(rate) if rate.counter.terms.charges => {
            let until = rate.counter.refundable_until(now);
            Some(until.and_then(|until| until.checked_add(KEPT_AFTER_WINDOW)).and_then(reachable))
        }
        Kind::Rate(_) => None,
    }
}

fn epoch(account: &Account) -> Epoch {
    match &account.kind {
        Kind::Quota(quota) => quota.epoch,
        Kind::Rate(rate) => rate.counter.epoch,
    }
}

impl Limits {
    /// `charge_exists`.
    pub(super) fn check_charge_free(&self, id: Option<&str>, now: Nanos) -> Result<(), No> {
        let known = id.and_then(|id| self.charges.get(id)).filter(|charge| charge.is_kept(now));
        match known {
            Some(charge) => Err(No::new("charge_exists").with("at", shown_at(Some(charge.at)))),
            None => Ok(()),
        }
    }

    /// `charge_exists`, unless it is what the hold became itself.
    pub(super) fn check_charge_of(&self, id: &str, hold: &str, now: Nanos) -> Result<(), No> {
        let is_own = |charge: &Charge| charge.hold.as_deref() == Some(hold);
        if self.charges.get(id).is_some_and(is_own) {
            return Ok(());
        }
        self.check_charge_free(Some(id), now)
    }

    /// Removes charges that are no longer kept: housekeeping.
    pub(super) fn sweep_charges(&mut self, call: &Call<'_>) {
        let ids = call.args.get("ids").and_then(Value::as_array).into_iter().flatten();
        for id in ids.filter_map(Value::as_str) {
            if self.charges.get(id).is_some_and(|charge| !charge.is_kept(call.at)) {
                self.charges.remove(id);
            }
        }
    }

    /// The quotas of a charge that is no longer kept and was not removed, whose id is used again:
    /// what it took counts as pruned then.
    pub(super) fn replaced(&self, id: &str) -> Vec<String> {
        let items = self.charges.get(id).map(|charge| charge.items.as_slice()).unwrap_or_default();
        let quotas = items.iter().filter_map(|item| match &item.target {
            Target::Quota(id) => Some(record("quotas", &[id])),
            Target::Rate { .. } => None,
        });
        quotas.collect()
    }

    /// Keeps the event of a use, if any target of it asks for that; gives its id, and the
    /// records it wrote.
    pub(super) fn record_charge(
        &mut self,
        admission: &Admission,
        event: &Event<'_>,
        call: &Call<'_>,
    ) -> (Value, Vec<String>) {
        let now = admission.now;
        let charged = admission.accounts.iter().filter_map(|it| Some((it, it.charged?)));
        let kept: Vec<(&Account, Charged, Option<Nanos>)> =
            charged.filter_map(|(it, charged)| Some((it, charged, keep(it, now)?))).collect();
        if kept.is_empty() {
            return (Value::Null, Vec::new());
        }
        let id = given_or_drawn(event.id.map(str::to_owned), call, "/charge");
        let id = id.unwrap_or_default();
        let until = kept.iter().map(|(_, _, until)| *until);
        let keep_until = until.reduce(|one, other| Some(one?.max(other?))).flatten();
        let items = kept.iter().map(|(account, charged, _)| ChargeItem {
            target: account.target.clone(),
            space: match &account.kind {
                Kind::Rate(rate) => rate.space,
                Kind::Quota(_) => Space::Stored,
            },
            units: charged.units,
            used: account.used(now),
            held: account.held(now),
            limit: account.limit(),
            epoch: epoch(account),
            place: charged.place,
            refunded: None,
        });
        let charge = Charge {
            items: items.collect(),
            hold: event.hold.map(str::to_owned),
            at: now,
            keep_until,
            labels: event.labels.cloned().unwrap_or_else(|| json!({})),
        };
        let mut writes = self.replaced(&id);
        writes.push(record("charges", &[&id]));
        self.charges.insert(id.clone(), charge);
        (id.into(), writes)
    }

    fn charge(&self, id: &str, now: Nanos) -> Result<&Charge, No> {
        let known = self.charges.get(id).filter(|charge| charge.is_kept(now));
        known.ok_or_else(|| No::new("charge_not_found"))
    }

    pub(super) fn read_charge(&self, call: &Call<'_>) -> Result<Yes, No> {
        let Read { id } = content(call)?;
        let charge = self.charge(&id, call.at)?;
        Ok(Yes::default().with("charge", charge.shown(&id)))
    }

    pub(super) fn refund_charge(&mut self, call: &Call<'_>) -> Result<Yes, No> {
        let Refund { id, items, units: each } = content(call)?;
        let parts = items.map(|items| items.iter().map(RefundItem::part).collect());
        let parts: Option<Vec<Part>> = parts.transpose()?;
        if parts.is_some() && each.is_some() {
            return Err(No::shape("invalid_request", "units".to_owned()));
        }
        check_parts(parts.as_deref(), each)?;
        let charge = self.charge(&id, call.at)?;
        let parts = parts.unwrap_or_else(|| charge.open_parts(each));
        let (given, accounts, writes) = self.give_back(&id, &parts, call)?;
        let charge = self.charge(&id, call.at)?.shown(&id);
        let admission = Admission { now: call.at, accounts };
        let yes = Yes { writes, reply: Map::new() };
        Ok(yes
            .with("charge", charge)
            .with("refunded", units(given))
            .with("targets", Value::Array(admission.shown()))
            .with("remaining", admission.least_left()))
    }

    pub(super) fn refund_quota(&mut self, call: &Call<'_>) -> Result<Yes, No> {
        let RefundQuota { id, charge, units: count, if_version } = content(call)?;
        let target = Target::Quota(id.clone());
        let parts = [(target.clone(), count.map(|count| count.0))];
        check_parts(Some(&parts), None)?;
        if !self.quotas.contains_key(&id) {
            return Err(No::new("quota_not_found").with("targets", json!([target.shown()])));
        }
        self.charge(&charge, call.at)?;
        self.check_quota_version(&id, if_version.as_ref())?;
        let (given, accounts, writes) = self.give_back(&charge, &parts, call)?;
        let mut quota = accounts.first().map(|account| account.shown(call.at)).unwrap_or_default();
        quota.remove("quota");
        let yes = Yes { writes, reply: Map::new() };
        Ok(yes.with("quota", Value::Object(quota)).with("refunded", units(given)))
    }

    fn give_back(
        &mut self,
        id: &str,
        parts: &[Part],
        call: &Call<'_>,
    ) -> Result<(i128, Vec<Account>, std::collections::BTreeSet<String>), No> {
        let now = call.at;
        let charge = self.charge(id, now)?.clone();
        let found: Vec<(&Part, Option<usize>)> = parts
            .iter()
            .map(|part| (part, charge.items.iter().position(|item| item.target == part.0)))
            .collect();
        let item = |place: &Option<usize>| place.and_then(|place| charge.items.get(place));
        check_refunded(found.iter().filter_map(|(_, place)| item(place)))?;
        let strange = found.iter().filter(|(_, place)| place.is_none());
        let strange: Vec<Value> = strange.map(|((target, _), _)| target.shown()).collect();
        if !strange.is_empty() {
            return Err(No::new("not_refundable").with("targets", Value::Array(strange)));
        }
        let mut wanted: Vec<Wanted> = Vec::new();
        for ((_, count), place) in &found {
            let (Some(place), Some(item)) = (place, item(place)) else { continue };
            let account = self.existing(&item.target, item.space, now);
            let account = account.filter(|account| epoch(account) == item.epoch);
            let left = account.as_ref().and_then(|account| item.refundable(account, now));
            let units = count.unwrap_or(item.units);
            wanted.push(Wanted { place: *place, item: item.clone(), account, left, units });
        }
        check_left(&wanted)?;

        let (mut given, mut accounts) = (0_i128, Vec::new());
        let mut writes = std::collections::BTreeSet::from([record("charges", &[id])]);
        for part in wanted {
            let Some(mut account) = part.account else { continue };
            account.give_back(part.units, part.item.place, now);
            given = given.saturating_add(part.units);
            self.write(&[&account], &mut writes, now);
            let stored = self.charges.get_mut(id).and_then(|it| it.items.get_mut(part.place));
            if let Some(item) = stored {
                item.refunded = Some((part.units, now));
            }
            accounts.push(account);
        }
        Ok((given, accounts, writes))
    }
}

/// One item to be given back.
struct Wanted {
    place: usize,
    item: ChargeItem,
    account: Option<Account>,
    left: Option<i128>,
    units: i128,
}

impl Charge {
    /// Each item that was not given back; all of them if there is none.
    fn open_parts(&self, each: Option<Units>) -> Vec<Part> {
        let part = |item: &ChargeItem| (item.target.clone(), each.map(|units| units.0));
        let open = self.items.iter().filter(|item| item.refunded.is_none());
        let open: Vec<Part> = open.map(part).collect();
        if open.is_empty() { self.items.iter().map(part).collect() } else { open }
    }
}

impl ChargeItem {
    fn refundable(&self, account: &Account, now: Nanos) -> Option<i128> {
        match (&account.kind, self.place) {
            (Kind::Quota(_), _) => Some(self.units),
            (Kind::Rate(rate), Some(place)) => rate.counter.refundable(self.units, place, now),
            (Kind::Rate(_), None) => None,
        }
    }
}

impl Account {
    fn give_back(&mut self, units: i128, place: Option<Place>, now: Nanos) {
        match (&mut self.kind, place) {
            (Kind::Quota(quota), _) => {
                quota.used = quota.used.saturating_sub(units);
                quota.refunded = quota.refunded.saturating_add(units);
            }
            (Kind::Rate(rate), Some(place)) => rate.counter.refund(units, place, now),
            (Kind::Rate(_), None) => {}
        }
    }
}

fn check_parts(parts: Option<&[Part]>, each: Option<Units>) -> Result<(), No> {
    let parts = parts.unwrap_or_default();
    if each == Some(Units(0)) || parts.iter().any(|(_, units)| *units == Some(0)) {
        return Err(No::new("invalid_units"));
    }
    let mut seen = std::collections::BTreeSet::new();
    if parts.iter().any(|(target, _)| !seen.insert(target)) {
        return Err(No::new("invalid_request"));
    }
    Ok(())
}

fn check_refunded<'i>(items: impl Iterator<Item = &'i ChargeItem>) -> Result<(), No> {
    let done: Vec<(&ChargeItem, (i128, Nanos))> =
        items.filter_map(|item| Some((item, item.refunded?))).collect();
    let Some((_, (refunded, at))) = done.first() else { return Ok(()) };
    let targets = done.iter().map(|(item, _)| item.target.shown()).collect();
    Err(No::new("already_refunded")
        .with("at", shown_at(Some(*at)))
        .with("refunded", units(*refunded))
        .with("targets", Value::Array(targets)))
}

fn check_left(wanted: &[Wanted]) -> Result<(), No> {
    let shown = |parts: Vec<&Wanted>| -> Value {
        Value::Array(parts.iter().map(|part| part.item.target.shown()).collect())
    };
    let over: Vec<&Wanted> = wanted.iter().filter(|part| part.left.is_none()).collect();
    if !over.is_empty() {
        return Err(No::new("charge_window_over").with("targets", shown(over)));
    }
    let is_large = |part: &&Wanted| part.left.is_some_and(|left| left < part.units);
    let large: Vec<&Wanted> = wanted.iter().filter(is_large).collect();
    let Some(first) = large.first() else { return Ok(()) };
    Err(No::new("refund_too_large")
        .with("charged", units(first.item.units))
        .with("refundable", first.left.map_or(Value::Null, units))
        .with("targets", shown(large)))
}
