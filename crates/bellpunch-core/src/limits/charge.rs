//! Charges: one record per admitted use, and their refund.
//!
//! Invariant: a charge is written in the commit that takes its units, so there is no use without
//! its event and no event without its use. A refund belongs to one charge, happens once per item,
//! and reaches only what still counts: it revives no past window and mints nothing.

use serde::{Deserialize, Serialize};

use super::account::{Account, QuotaAccount, RateAccount, Space, version_of};
use super::admission::Admission;
use super::counter::Place;
use super::epoch::Epoch;
use super::quota::Retention;
use super::target::{names_of, target_of};
use super::view::{ChargeView, QuotaView, TargetView, least_remaining};
use super::{Quota, Rejection, Target};
use crate::{
    Command, Draft, Duration, IfVersion, Key, Kind, Labels, Limit, Record, RecordId, Timestamp,
    Units, ValueError,
};

/// How long the charge of a rate is kept after it can be refunded, so that a refund that comes too
/// late is told so.
const KEPT_AFTER_WINDOW: Duration = Duration::from_days(1);

/// A usage event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Charge {
    pub(super) items: Vec<ChargeItem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hold: Option<Key>,
    pub(super) at: Timestamp,
    /// Absent: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) keep_until: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub(super) labels: Labels,
}

/// The units of one target.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ChargeItem {
    pub(super) target: Target,
    #[serde(default, skip_serializing_if = "super::policy::is_false")]
    inline: bool,
    pub(super) units: Units,
    pub(super) used: Units,
    pub(super) held: Units,
    pub(super) limit: Limit,
    epoch: Epoch,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<Place>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) refunded: Option<(Units, Timestamp)>,
}

impl Record for Charge {
    const KIND: Kind = Kind::new("charges");

    fn sweep_at(&self) -> Option<Timestamp> {
        self.keep_until
    }
}

impl Charge {
    pub(super) fn is_kept(&self, now: Timestamp) -> bool {
        self.keep_until.is_none_or(|keep_until| now < keep_until)
    }
}

/// The charge with this id, if it is kept; swept or not.
fn kept(draft: &mut Draft<'_>, now: Timestamp, id: &Key) -> Option<Charge> {
    let charge = draft.get::<Charge>(&RecordId::from(id))?;
    if charge.is_kept(now) { Some((*charge).clone()) } else { None }
}

/// Stage existence: a given id that is taken.
pub(super) fn check_free(
    draft: &mut Draft<'_>,
    now: Timestamp,
    id: Option<&Key>,
) -> Result<(), Rejection> {
    match id.and_then(|id| kept(draft, now, id)) {
        Some(charge) => Err(Rejection::ChargeExists { at: charge.at }),
        None => Ok(()),
    }
}

/// What a charge says beside its items.
#[derive(Debug)]
pub(super) struct Event<'c> {
    pub(super) id: Option<&'c Key>,
    pub(super) hold: Option<&'c Key>,
    pub(super) labels: &'c Labels,
}

/// Writes the charge of what `admission` took, where a target keeps charges; gives its id.
pub(super) fn record(
    draft: &mut Draft<'_>,
    admission: &mut Admission,
    event: &Event<'_>,
) -> Option<Key> {
    let now = admission.now;
    let (mut items, mut keep_until) = (Vec::new(), Some(now));
    for entry in admission.entries.iter().filter(|entry| entry.changes && !entry.cost.is_zero()) {
        let until = match &entry.account {
            Account::Quota(account) => match account.quota.charges {
                Retention::None => continue,
                Retention::For(span) => now.plus(span),
                Retention::ForEver => None,
            },
            Account::Rate(account) if account.counter.terms().keeps_charges() => {
                account.counter.charge_counts_until().and_then(|at| at.plus(KEPT_AFTER_WINDOW))
            }
            Account::Rate(_) => continue,
        };
        keep_until = keep_until.zip(until).map(|(one, other)| one.max(other));
        let after = entry.account.standing(now);
        items.push(ChargeItem {
            target: entry.account.target(),
            inline: matches!(&entry.account, Account::Rate(rate) if rate.space != Space::Stored),
            units: entry.cost,
            used: after.used,
            held: after.held,
            limit: after.limit,
            epoch: entry.account.epoch(),
            place: entry.place,
            refunded: None,
        });
    }
    if items.is_empty() {
        return None;
    }
    let id = event.id.cloned().unwrap_or_else(|| draft.drawn_key());
    let record_id = RecordId::from(&id);
    if let Some(old) = draft.get::<Charge>(&record_id) {
        // It is no longer kept, only not yet swept.
        prune(draft, &old);
        admission.read_totals(draft);
    }
    let (hold, labels) = (event.hold.cloned(), event.labels.clone());
    draft.put(&record_id, Charge { items, hold, at: now, keep_until, labels });
    Some(id)
}

/// Adds the net units of a charge that goes away to the totals of its quotas.
pub(super) fn prune(draft: &mut Draft<'_>, charge: &Charge) {
    for item in &charge.items {
        let Target::Quota { quota: id } = &item.target else { continue };
        let id = RecordId::from(id);
        let Some(quota) = draft.get::<Quota>(&id) else { continue };
        let mut quota = (*quota).clone();
        let refunded = item.refunded.map_or(Units::ZERO, |(units, _)| units);
        quota.prune(item.units.minus_or_zero(refunded));
        draft.put(&id, quota);
    }
}

/// Which item of a charge to refund, and how much of it. JSON as of an [`super::Item`]; without
/// `units`, the whole.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "RefundItemForm", into = "RefundItemForm")]
pub struct RefundItem {
    /// Which.
    pub target: Target,
    /// How much; absent is all of it.
    pub units: Option<Units>,
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename = "RefundItem")]
struct RefundItemForm {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quota: Option<Key>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<Key>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<Key>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    units: Option<Units>,
}

impl TryFrom<RefundItemForm> for RefundItem {
    type Error = ValueError;

    fn try_from(form: RefundItemForm) -> Result<Self, ValueError> {
        let target = target_of(form.quota, form.policy, form.key)?;
        Ok(Self { target, units: form.units })
    }
}

impl From<RefundItem> for RefundItemForm {
    fn from(item: RefundItem) -> Self {
        let (quota, policy, key) = names_of(item.target);
        Self { quota, policy, key, units: item.units }
    }
}

/// Gives back units of one charge. `charges.refund`.
///
/// ```
/// use bellpunch_core::{Key, limits::RefundCharge};
/// let refund = RefundCharge::whole(Key::new("order-81")?);
/// assert_eq!(refund.items, None);
/// # Ok::<(), bellpunch_core::ValueError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RefundCharge {
    /// The charge.
    pub id: Key,
    /// Which items; without, each that was not refunded yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<Vec<RefundItem>>,
    /// Without `items`: how much of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub units: Option<Units>,
}

impl RefundCharge {
    /// Gives back all of a charge that was not given back yet.
    #[must_use]
    pub const fn whole(id: Key) -> Self {
        Self { id, items: None, units: None }
    }
}

/// What a refund gave back.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RefundReply {
    /// The charge as it now is.
    pub charge: ChargeView,
    /// Units given back, of all items.
    pub refunded: u64,
    /// What was refunded, after it.
    pub targets: Vec<TargetView>,
    /// The least that is left on them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<Limit>,
}

impl Command for RefundCharge {
    const NAME: &'static str = "charges.refund";
    type Reply = RefundReply;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<RefundReply, Rejection> {
        if self.items.is_some() && self.units.is_some() {
            return Err(Rejection::invalid_request("units", "stands in `items` already"));
        }
        let zero = self.items.iter().flatten().map(|item| item.units).chain([self.units]);
        if zero.flatten().any(Units::is_zero) {
            return Err(Rejection::InvalidUnits { field: "units".to_owned(), reason: "zero" });
        }
        if let Some(items) = &self.items {
            let repeated = items.iter().enumerate().any(|(index, item)| {
                items.iter().skip(index.saturating_add(1)).any(|other| other.target == item.target)
            });
            if items.is_empty() || super::ITEMS_MAX < items.len() || repeated {
                let reason = "needs 1 to 32 items, each target once";
                return Err(Rejection::invalid_request("items", reason));
            }
        }
        let Some(mut charge) = kept(draft, now, &self.id) else {
            return Err(Rejection::ChargeNotFound {});
        };
        let wanted = self.wanted(&charge)?;
        let mut parts = parts(draft, now, (&charge, &wanted))?;

        // Past here it succeeds.
        let mut refunded = 0_u64;
        for part in &mut parts {
            let item = charge.items.get_mut(part.index).expect("it was found there");
            part.account.refund(item.place, part.units);
            part.account.write(draft);
            item.refunded = Some((part.units, now));
            refunded = refunded.saturating_add(part.units.get());
        }
        let id = RecordId::from(&self.id);
        let version = draft.put(&id, charge.clone());
        let targets: Vec<TargetView> = parts.iter().map(|part| part.account.view(now)).collect();
        let remaining = least_remaining(&targets);
        let charge = ChargeView::new(&self.id, &charge, version);
        Ok(RefundReply { charge, refunded, targets, remaining })
    }
}

impl RefundCharge {
    /// The items asked for, by their place in the charge. Stage state.
    fn wanted(&self, charge: &Charge) -> Result<Vec<(usize, Option<Units>)>, Rejection> {
        let Some(items) = &self.items else {
            let open = charge.items.iter().enumerate().filter(|(_, item)| item.refunded.is_none());
            let open: Vec<_> = open.map(|(index, _)| (index, self.units)).collect();
            if open.is_empty() {
                check_not_refunded(charge.items.iter())?;
            }
            return Ok(open);
        };
        let place = |item: &RefundItem| {
            charge.items.iter().position(|charged| charged.target == item.target)
        };
        let found: Vec<(usize, Option<Units>)> =
            items.iter().filter_map(|item| Some((place(item)?, item.units))).collect();
        check_not_refunded(found.iter().filter_map(|(index, _)| charge.items.get(*index)))?;
        if found.len() != items.len() {
            let missing = items.iter().filter(|item| place(item).is_none());
            let targets = missing.map(|item| item.target.clone()).collect();
            return Err(Rejection::NotRefundable { targets });
        }
        Ok(found)
    }
}

fn check_not_refunded<'c>(items: impl Iterator<Item = &'c ChargeItem>) -> Result<(), Rejection> {
    let done: Vec<(&Target, Units, Timestamp)> = items
        .filter_map(|item| item.refunded.map(|(units, at)| (&item.target, units, at)))
        .collect();
    let Some(&(_, refunded, at)) = done.first() else { return Ok(()) };
    if crate::planted!("refund_unsummed") {
        return Ok(());
    }
    let targets = done.into_iter().map(|(target, _, _)| target.clone()).collect();
    Err(Rejection::AlreadyRefunded { at, refunded, targets })
}

struct Part {
    index: usize,
    account: Account,
    units: Units,
}

/// Loads what is to be refunded. Stages time and amount.
fn parts(
    draft: &mut Draft<'_>,
    now: Timestamp,
    (charge, wanted): (&Charge, &[(usize, Option<Units>)]),
) -> Result<Vec<Part>, Rejection> {
    let mut parts = Vec::with_capacity(wanted.len());
    let (mut over, mut too_large) = (Vec::new(), Vec::new());
    let mut first_too_large = None;
    for &(index, units) in wanted {
        let item = charge.items.get(index).expect("it was found there");
        let account = account_of(draft, now, item);
        let refundable = account.as_ref().map_or(Units::ZERO, |account| account.refundable(item));
        let Some(account) = account.filter(|_| !refundable.is_zero()) else {
            over.push(item.target.clone());
            continue;
        };
        let units = units.unwrap_or(item.units);
        if refundable < units {
            too_large.push(item.target.clone());
            first_too_large = first_too_large.or(Some((item.units, refundable)));
        }
        parts.push(Part { index, account, units });
    }
    if !over.is_empty() {
        return Err(Rejection::ChargeWindowOver { targets: over });
    }
    if let Some((charged, refundable)) = first_too_large {
        return Err(Rejection::RefundTooLarge { charged, refundable, targets: too_large });
    }
    Ok(parts)
}

/// What a charge item was taken from, if it is still of the same epoch.
fn account_of(draft: &mut Draft<'_>, now: Timestamp, item: &ChargeItem) -> Option<Account> {
    let account = match &item.target {
        Target::Quota { quota } => Account::Quota(Box::new(QuotaAccount::load(draft, now, quota)?)),
        Target::Rate { policy, key } => {
            let space = if item.inline { Space::Inline } else { Space::Stored };
            Account::Rate(Box::new(RateAccount::existing(draft, now, (policy, key, space))?))
        }
    };
    if account.epoch() == item.epoch { Some(account) } else { None }
}

impl Account {
    /// How many units of a charge of this epoch still count.
    fn refundable(&self, item: &ChargeItem) -> Units {
        match (self, item.place) {
            (Self::Quota(_), _) => item.units,
            (Self::Rate(account), Some(place)) => account.counter.refundable(place, item.units),
            (Self::Rate(_), None) => Units::ZERO,
        }
    }

    fn refund(&mut self, place: Option<Place>, units: Units) {
        match (self, place) {
            (Self::Quota(account), _) => account.quota.refund(units),
            (Self::Rate(account), Some(place)) => account.counter.refund(place, units),
            (Self::Rate(_), None) => {}
        }
    }
}

/// Gives back units that one charge took from one quota. `quotas.refund`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RefundQuota {
    /// The quota.
    pub id: Key,
    /// The charge.
    pub charge: Key,
    /// How much; without, all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub units: Option<Units>,
    /// The quota must be at this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

/// What a refund to one quota gave back.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RefundQuotaReply {
    /// The quota after it.
    pub quota: QuotaView,
    /// Units given back.
    pub refunded: u64,
}

impl Command for RefundQuota {
    const NAME: &'static str = "quotas.refund";
    type Reply = RefundQuotaReply;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<RefundQuotaReply, Rejection> {
        let target = Target::quota(self.id.clone());
        if self.units.is_some_and(Units::is_zero) {
            return Err(Rejection::InvalidUnits { field: "units".to_owned(), reason: "zero" });
        }
        let Some(version) = version_of::<Quota>(draft, &self.id) else {
            return Err(Rejection::QuotaNotFound { targets: vec![target] });
        };
        if kept(draft, now, &self.charge).is_none() {
            return Err(Rejection::ChargeNotFound {});
        }
        if self.if_version.as_ref().is_some_and(|wanted| !wanted.allows(Some(version))) {
            return Err(Rejection::VersionMismatch { version });
        }
        let items = Some(vec![RefundItem { target, units: self.units }]);
        let refund = RefundCharge { id: self.charge.clone(), items, units: None };
        let reply = refund.decide(draft, now)?;
        let quota = reply.targets.into_iter().find_map(|target| match target {
            TargetView::Quota(view) => Some(view),
            TargetView::Counter(_) => None,
        });
        let quota = quota.expect("its only target is the quota");
        Ok(RefundQuotaReply {
            quota: QuotaView { quota: None, ..*quota },
            refunded: reply.refunded,
        })
    }
}

/// Reads a charge. `charges.read`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ReadCharge {
    /// The charge.
    pub id: Key,
}

/// A charge as it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ChargeReply {
    /// The charge.
    pub charge: ChargeView,
}

impl Command for ReadCharge {
    const NAME: &'static str = "charges.read";
    type Reply = ChargeReply;
    type Rejection = Rejection;

    /// Rate limits leave charges too, if their policy says so.
    fn is_rate_limit(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<ChargeReply, Rejection> {
        let Some(charge) = kept(draft, now, &self.id) else {
            return Err(Rejection::ChargeNotFound {});
        };
        let version = draft.version::<Charge>(&RecordId::from(&self.id));
        Ok(ChargeReply { charge: ChargeView::new(&self.id, &charge, version) })
    }
}
