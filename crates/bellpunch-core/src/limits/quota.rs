//! Quotas: allocations that time does not refill, unless a schedule says so.
//!
//! Invariant: `used = opening + charged - refunded - forgiven`, and no accepted use leaves
//! `used + held` above the limit. To refuse units that were free costs a retry; to give away what
//! nobody has is the mistake that must not happen.

use serde::{Deserialize, Serialize};

use super::epoch::Epoch;
use super::open_holds::OpenHolds;
use super::schedule::{Anchor, Calendar, CalendarUnit};
use super::view::{QuotaState, QuotaStatus, QuotaView, StoredTotals, Totals};
use crate::{Duration, Key, Kind, Labels, Limit, Record, Timestamp, Units, ValueError, Version};

/// How long charges are kept. JSON: `"none"`, `"for_ever"`, or `{"keep_ns": n}`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", from = "RetentionForm", into = "RetentionForm")]
pub enum Retention {
    /// Not at all: uses cannot be refunded.
    None,
    /// For so long.
    For(Duration),
    /// Without end.
    ForEver,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, rename = "Retention")]
enum RetentionForm {
    Word(RetentionWord),
    Span(RetentionSpan),
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum RetentionWord {
    None,
    ForEver,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RetentionSpan {
    keep_ns: Duration,
}

impl From<RetentionForm> for Retention {
    fn from(form: RetentionForm) -> Self {
        match form {
            RetentionForm::Word(RetentionWord::None) => Self::None,
            RetentionForm::Word(RetentionWord::ForEver) => Self::ForEver,
            RetentionForm::Span(RetentionSpan { keep_ns }) => Self::For(keep_ns),
        }
    }
}

impl From<Retention> for RetentionForm {
    fn from(retention: Retention) -> Self {
        match retention {
            Retention::None => Self::Word(RetentionWord::None),
            Retention::ForEver => Self::Word(RetentionWord::ForEver),
            Retention::For(keep_ns) => Self::Span(RetentionSpan { keep_ns }),
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self::For(Duration::from_days(30))
    }
}

/// How much a refill gives back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RefillAmount {
    /// All that was used.
    Full,
    /// So many units.
    Units(Units),
}

impl Serialize for RefillAmount {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Full => serializer.serialize_str("full"),
            Self::Units(units) => units.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for RefillAmount {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let value = serde_json::Value::deserialize(deserializer)?;
        if value.as_str() == Some("full") {
            return Ok(Self::Full);
        }
        Units::deserialize(value).map(Self::Units).map_err(D::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for RefillAmount {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RefillAmount".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let units = generator.subschema_for::<Units>();
        schemars::json_schema!({ "oneOf": [units, { "const": "full" }] })
    }
}

/// When a quota is refilled, and by how much.
///
/// ```
/// use bellpunch_core::limits::Refill;
/// let hourly = r#"{"amount": 30, "period_ns": 3600000000000}"#;
/// assert!(serde_json::from_str::<Refill>(hourly).is_ok());
/// let monthly = r#"{"amount": "full", "unit": "month", "zone": "UTC"}"#;
/// assert!(serde_json::from_str::<Refill>(monthly).is_ok());
/// assert!(serde_json::from_str::<Refill>(r#"{"amount": 30}"#).is_err());
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "RefillForm", into = "RefillForm")]
pub struct Refill {
    /// How much.
    pub amount: RefillAmount,
    #[cfg_attr(feature = "schema", schemars(skip))]
    every: Every,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Every {
    Period {
        period: Duration,
        /// The creation of the quota, if absent.
        origin: Option<Timestamp>,
    },
    Calendar(Calendar),
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename = "Refill")]
struct RefillForm {
    amount: RefillAmount,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    period_ns: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<CalendarUnit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    anchor: Option<Anchor>,
}

impl TryFrom<RefillForm> for Refill {
    type Error = ValueError;

    fn try_from(form: RefillForm) -> Result<Self, ValueError> {
        let every = match form {
            RefillForm {
                period_ns: Some(period),
                origin,
                unit: None,
                zone: None,
                anchor: None,
                ..
            } => Every::Period { period, origin },
            RefillForm {
                period_ns: None,
                origin: None,
                unit: Some(unit),
                zone: Some(zone),
                anchor,
                ..
            } => Every::Calendar(Calendar::new(unit, &zone, anchor)?),
            _ => {
                return Err(ValueError::Request(
                    "a refill has either `period_ns`, or `unit` and `zone`",
                ));
            }
        };
        Ok(Self { amount: form.amount, every })
    }
}

impl From<Refill> for RefillForm {
    fn from(refill: Refill) -> Self {
        let mut form = Self {
            amount: refill.amount,
            period_ns: None,
            origin: None,
            unit: None,
            zone: None,
            anchor: None,
        };
        match refill.every {
            Every::Period { period, origin } => {
                form.period_ns = Some(period);
                form.origin = origin;
            }
            Every::Calendar(calendar) => {
                form.unit = Some(calendar.unit());
                form.zone = Some(calendar.zone().to_owned());
                form.anchor = calendar.anchor().cloned();
            }
        }
        form
    }
}

impl Refill {
    /// A refill every `period` from the creation of the quota, or from `origin`.
    #[must_use]
    pub const fn every(amount: RefillAmount, period: Duration, origin: Option<Timestamp>) -> Self {
        Self { amount, every: Every::Period { period, origin } }
    }

    /// A refill at the start of each window of a calendar.
    #[must_use]
    pub const fn at_calendar(amount: RefillAmount, calendar: Calendar) -> Self {
        Self { amount, every: Every::Calendar(calendar) }
    }

    /// The time that gives back as many units as `limit`; a calendar has no such span.
    pub(super) fn window(&self, limit: Limit) -> Option<Duration> {
        let Every::Period { period, .. } = &self.every else { return None };
        match (self.amount, limit) {
            (RefillAmount::Full, _) => Some(*period),
            (RefillAmount::Units(units), Limit::Finite(limit)) if !units.is_zero() => {
                let times = limit.get().div_ceil(units.get()).max(1);
                Duration::checked(u128::from(times).checked_mul(period.nanos().into())?)
            }
            (RefillAmount::Units(_), _) => None,
        }
    }

    /// The same, with its origin fixed where it was left to the creation.
    pub(super) fn fixed(self, created_at: Timestamp) -> Self {
        let every = match self.every {
            Every::Period { period, origin } => {
                Every::Period { period, origin: origin.or(Some(created_at)) }
            }
            every @ Every::Calendar(_) => every,
        };
        Self { every, ..self }
    }

    /// How many refills are due after `after` and not after `through`.
    fn due(&self, after: Timestamp, through: Timestamp) -> u64 {
        match &self.every {
            Every::Period { period, origin } => {
                let until = |at: Timestamp| periods_until(at, *period, *origin);
                until(through).saturating_sub(until(after))
            }
            Every::Calendar(calendar) => calendar.starts_between(after, through),
        }
    }

    /// The `count`-th refill after `after`; `None` beyond the year 9999.
    fn nth(&self, after: Timestamp, count: u64) -> Option<Timestamp> {
        match &self.every {
            Every::Period { period, origin } => {
                let index =
                    periods_until(after, *period, *origin).checked_add(count)?.checked_sub(1)?;
                let span = u128::from(period.nanos()).checked_mul(index.into())?;
                let origin = origin.unwrap_or_default().nanos();
                Timestamp::from_nanos(origin.checked_add(span)?)
            }
            Every::Calendar(calendar) => calendar.nth_start(after, count),
        }
    }

    /// How many refills it takes to give back `units`; `None` if no number does.
    fn needed(&self, units: Units) -> Option<u64> {
        match self.amount {
            RefillAmount::Full => Some(1),
            RefillAmount::Units(amount) if amount.is_zero() => None,
            RefillAmount::Units(amount) => Some(units.get().div_ceil(amount.get())),
        }
    }
}

/// How many instants `origin + k * period` there are up to and including `at`.
fn periods_until(at: Timestamp, period: Duration, origin: Option<Timestamp>) -> u64 {
    let Some(elapsed) = at.nanos().checked_sub(origin.unwrap_or_default().nanos()) else {
        return 0;
    };
    let whole = elapsed.checked_div(period.nanos().into()).expect("a period is longer than 0");
    u64::try_from(whole).unwrap_or(u64::MAX).saturating_add(1)
}

/// A quota, as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Quota {
    pub(super) limit: Limit,
    pub(super) used: Units,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) revoked_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) refill: Option<Refill>,
    /// Refills are counted from here; if absent, from its creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) refilled_through: Option<Timestamp>,
    pub(super) charges: Retention,
    #[serde(default, skip_serializing_if = "Totals::is_zero", with = "StoredTotals")]
    pub(super) totals: Totals,
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub(super) metadata: Labels,
    pub(super) created_at: Timestamp,
    pub(super) epoch: Epoch,
    #[serde(default, skip_serializing_if = "OpenHolds::is_empty")]
    pub(super) holds: OpenHolds,
}

impl Record for Quota {
    const KIND: Kind = Kind::new("quotas");
    /// 2: what says nothing is left out.
    const FORMAT: u32 = 2;
}

impl Quota {
    /// Since when it is revoked, if it is.
    pub(crate) const fn revoked_at(&self) -> Option<Timestamp> {
        self.revoked_at
    }

    /// Usable before this instant.
    pub(crate) const fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    fn refilled_through(&self) -> Timestamp {
        self.refilled_through.unwrap_or(self.created_at)
    }

    /// The quota as time alone has made it by `now`: due refills applied, once each.
    pub(super) fn at(&self, now: Timestamp) -> Self {
        let mut quota = self.clone();
        quota.holds.prune(now);
        let due = self.refill.as_ref().map_or(0, |refill| refill.due(self.refilled_through(), now));
        let Some(refill) = self.refill.as_ref().filter(|_| 0 < due) else {
            return quota;
        };
        let most = match refill.amount {
            RefillAmount::Full => self.used.get().into(),
            RefillAmount::Units(amount) => u128::from(amount.get()).saturating_mul(due.into()),
        };
        let cleared = most.min(self.used.get().into());
        quota.forgive(
            Units::new(u64::try_from(cleared).expect("no more than was used"))
                .expect("no more than was used"),
        );
        quota.refilled_through = Some(now);
        quota
    }

    /// Clears used units; a new epoch begins, so that charges of before cannot be refunded.
    pub(super) fn forgive(&mut self, units: Units) {
        self.used = self.used.checked_sub(units).expect("no more is forgiven than was used");
        self.totals.forgiven = total(self.totals.forgiven, units);
        self.epoch = self.epoch.next();
    }

    pub(super) fn charge(&mut self, units: Units) {
        self.used = self.used.checked_add(units).expect("used + held <= limit");
        self.totals.charged = total(self.totals.charged, units);
        if self.charges == Retention::None {
            self.totals.pruned = total(self.totals.pruned, units);
        }
    }

    pub(super) fn refund(&mut self, units: Units) {
        self.used = self.used.checked_sub(units).expect("a charge of this epoch is still used");
        self.totals.refunded = total(self.totals.refunded, units);
    }

    pub(super) fn prune(&mut self, units: Units) {
        self.totals.pruned = total(self.totals.pruned, units);
    }

    pub(super) fn is_expired(&self, now: Timestamp) -> bool {
        if crate::planted!("expiry_inclusive") {
            return self.expires_at.is_some_and(|expires_at| expires_at < now);
        }
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }

    pub(super) fn remaining(&self, now: Timestamp) -> Limit {
        let Limit::Finite(limit) = self.limit else { return Limit::Unlimited };
        if crate::planted!("hold_uncounted") {
            return Limit::Finite(limit.minus_or_zero(self.used));
        }
        Limit::Finite(limit.minus_or_zero(self.used).minus_or_zero(self.holds.held(now)))
    }

    /// The first instant from `now` on at which no more than `room` units are used.
    pub(super) fn falls(&self, now: Timestamp, room: Units) -> Option<Timestamp> {
        let surplus = self.used.minus_or_zero(room);
        if surplus.is_zero() {
            return Some(now);
        }
        let refill = self.refill.as_ref()?;
        refill.nth(self.refilled_through().max(now), refill.needed(surplus)?)
    }

    /// When `cost` more units would fit by time alone; not once the quota has expired.
    pub(super) fn first_fit(&self, now: Timestamp, cost: Units) -> Option<Timestamp> {
        let amounts = (self.limit.units(), cost);
        let at = self.holds.first_fit(now, amounts, |room| self.falls(now, room))?;
        match self.expires_at {
            Some(expires_at) if expires_at <= at => None,
            Some(_) | None => Some(at),
        }
    }

    fn state(&self, now: Timestamp) -> QuotaState {
        if self.revoked_at.is_some() {
            QuotaState::Revoked
        } else if self.is_expired(now) {
            QuotaState::Expired
        } else if self.remaining(now) == Limit::Finite(Units::ZERO) {
            QuotaState::Exhausted
        } else {
            QuotaState::Active
        }
    }

    pub(super) fn view(&self, id: &Key, version: Version, now: Timestamp) -> QuotaView {
        let remaining = self.remaining(now);
        let more = match remaining {
            Limit::Finite(units) => units.checked_add(Units::ONE),
            Limit::Unlimited => None,
        };
        QuotaView {
            id: id.clone(),
            quota: None,
            limit: self.limit,
            used: self.used,
            held: self.holds.held(now),
            remaining,
            state: self.state(now),
            status: match self.revoked_at {
                Some(_) => QuotaStatus::Revoked,
                None => QuotaStatus::Active,
            },
            expires_at: self.expires_at,
            reset_at: self
                .refill
                .as_ref()
                .and_then(|refill| refill.nth(self.refilled_through().max(now), 1)),
            next_at: more.and_then(|cost| self.first_fit(now, cost)),
            window_ns: self.refill.as_ref().and_then(|refill| refill.window(self.limit)),
            refill: self.refill.clone(),
            charges: self.charges,
            totals: self.totals,
            metadata: self.metadata.clone(),
            created_at: self.created_at,
            revoked_at: self.revoked_at,
            version,
        }
    }
}

fn total(sum: u128, units: Units) -> u128 {
    sum.checked_add(units.get().into()).expect("2^75 largest uses are never reached")
}
