//! A quota: units that come back by a schedule, a refund or a reset, and not else.
//!
//! Invariant: `used = opening + charged - refunded - forgiven`.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "units stay below 2^53 and instants below 2^68, far from the end of an i128"
)]

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Map, Value};

use super::calendar::Calendar;
use super::counter::Epoch;
use super::open::Holds;
use super::value::{
    INSTANT_MAX, Instant, Limit, Retention, Span, Units, at as shown_at, first, object, reachable,
    units,
};
use crate::instant::Nanos;

/// A schedule.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refill {
    /// `None`: all of it.
    amount: Option<i128>,
    every: Every,
    /// As it is shown.
    form: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq)]
enum Every {
    Period { period: i128, origin: Option<Nanos> },
    Calendar(Calendar),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    amount: Value,
    period_ns: Option<Span>,
    origin: Option<Instant>,
    unit: Option<String>,
    zone: Option<String>,
    anchor: Option<Value>,
}

impl<'de> Deserialize<'de> for Refill {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let content: Map<String, Value> = Map::deserialize(deserializer)?;
        let form: Form =
            serde_json::from_value(Value::Object(content.clone())).map_err(D::Error::custom)?;
        let amount = if form.amount == "full" {
            None
        } else {
            let amount: Units = serde_json::from_value(form.amount).map_err(D::Error::custom)?;
            Some(amount.0)
        };
        let every = match (form.period_ns, form.unit.as_deref(), form.zone.as_deref()) {
            (Some(period), None, None) => {
                Every::Period { period: period.0, origin: form.origin.map(|origin| origin.0) }
            }
            (None, Some(unit), Some(zone)) => Every::Calendar(
                Calendar::new(unit, zone, form.anchor.as_ref())
                    .ok_or_else(|| D::Error::custom("no such calendar"))?,
            ),
            _ => return Err(D::Error::custom("a period, or a calendar")),
        };
        Ok(Self { amount, every, form: content })
    }
}

impl Refill {
    /// How many instants lie after `after` and not after `through`.
    fn due(&self, created_at: Nanos, (after, through): (Nanos, Nanos)) -> i128 {
        match &self.every {
            Every::Period { period, origin } => {
                let origin = origin.unwrap_or(created_at);
                // The origin itself is the first instant.
                let until = |at: Nanos| ((at - origin).div_euclid(*period) + 1).max(0);
                until(through) - until(after)
            }
            Every::Calendar(calendar) => {
                i128::from(calendar.number(through) - calendar.number(after))
            }
        }
    }

    /// The next instant.
    fn next(&self, created_at: Nanos, at: Nanos) -> Option<Nanos> {
        match &self.every {
            Every::Period { period, origin } => {
                let origin = origin.unwrap_or(created_at);
                let since = (at - origin).div_euclid(*period) + 1;
                reachable(origin + since.max(0) * period)
            }
            Every::Calendar(calendar) => calendar.window(at).1,
        }
    }
}

/// A quota.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Quota {
    pub(super) limit: Limit,
    pub(super) used: i128,
    pub(super) revoked_at: Option<Nanos>,
    pub(super) expires_at: Option<Nanos>,
    pub(super) refill: Option<Refill>,
    pub(super) refilled_through: Nanos,
    pub(super) charges: Retention,
    pub(super) opening: i128,
    pub(super) charged: i128,
    pub(super) refunded: i128,
    pub(super) forgiven: i128,
    pub(super) metadata: Value,
    pub(super) created_at: Nanos,
    pub(super) epoch: Epoch,
    pub(super) holds: Holds,
    /// The most that is used and held above the limit for a reason: it was lowered, or imported,
    /// or promised before.
    pub(super) excused: i128,
}

impl Quota {
    /// As time alone has made it: due refills, once each.
    pub(super) fn moved_to(&self, at: Nanos) -> Self {
        let mut quota = self.clone();
        let span = (self.refilled_through, at);
        let due = self.refill.as_ref().map_or(0, |refill| refill.due(self.created_at, span));
        let Some(refill) = self.refill.as_ref().filter(|_| 0 < due) else { return quota };
        let back = refill.amount.map_or(quota.used, |amount| (amount * due).min(quota.used));
        quota.used -= back;
        quota.forgiven += back;
        quota.refilled_through = at;
        quota.epoch.1 += 1;
        quota
    }

    /// Units used at an instant.
    pub(super) fn used(&self, at: Nanos) -> i128 {
        self.moved_to(at).used
    }

    pub(super) fn is_expired(&self, at: Nanos) -> bool {
        self.expires_at.is_some_and(|end| end <= at)
    }

    /// What is left at an instant.
    pub(super) fn remaining(&self, at: Nanos) -> Limit {
        self.limit.less(self.used(at) + self.holds.held(at))
    }

    /// Takes back all that is used. Open holds stay.
    pub(super) fn reset(&mut self) {
        self.forgiven += self.used;
        self.used = 0;
        self.epoch.1 += 1;
    }

    /// What is used and held now is so for a reason, be it above the limit or not.
    pub(super) fn excuse(&mut self, at: Nanos) {
        self.excused = self.used(at) + self.holds.held(at);
    }

    /// When more remains by time alone, while it can be used.
    pub(super) fn next_at(&self, at: Nanos) -> Option<Nanos> {
        let now = self.remaining(at).0?;
        let next = first(at, |then| self.remaining(then).0.is_some_and(|left| now < left));
        next.filter(|next| !self.is_expired(*next))
    }

    /// As replies show it.
    pub(super) fn shown(&self, id: &str, at: Nanos) -> Map<String, Value> {
        let now = self.moved_to(at);
        let remaining = now.remaining(at);
        let state = if now.revoked_at.is_some() {
            "revoked"
        } else if now.is_expired(at) {
            "expired"
        } else if remaining.0 == Some(0) {
            "exhausted"
        } else {
            "active"
        };
        let status = if now.revoked_at.is_some() { "revoked" } else { "active" };
        let next = now.refill.as_ref().and_then(|refill| refill.next(now.created_at, at));
        let totals = object([
            ("opening", now.opening.to_string().into()),
            ("charged", now.charged.to_string().into()),
            ("refunded", now.refunded.to_string().into()),
            ("forgiven", now.forgiven.to_string().into()),
        ]);
        let refill =
            now.refill.as_ref().map_or(Value::Null, |refill| Value::Object(refill.form.clone()));
        let Value::Object(shown) = object([
            ("id", id.into()),
            ("limit", now.limit.shown()),
            ("used", units(now.used)),
            ("held", units(now.holds.held(at))),
            ("remaining", remaining.shown()),
            ("state", state.into()),
            ("status", status.into()),
            ("expires_at", shown_at(now.expires_at)),
            ("reset_at", shown_at(next)),
            ("next_at", shown_at(now.next_at(at))),
            ("refill", refill),
            ("charges", now.charges.shown()),
            ("totals", totals),
            ("metadata", now.metadata.clone()),
            ("created_at", shown_at(Some(now.created_at))),
            ("revoked_at", shown_at(now.revoked_at)),
        ]) else {
            return Map::new();
        };
        shown
    }

    /// Whether the totals explain what is used.
    pub(super) fn totals_agree(&self) -> bool {
        self.opening + self.charged - self.refunded - self.forgiven == self.used
            && 0 <= self.used
            && self.created_at <= INSTANT_MAX
    }

    /// Whether no more is used and held than may be.
    pub(super) fn is_within(&self, at: Nanos) -> bool {
        self.used(at) + self.holds.held(at) <= self.limit.count().max(self.excused)
    }
}
