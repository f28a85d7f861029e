//! `gcra`: a token bucket, counted in ticks.
//!
//! One unit is as many ticks as the period has nanoseconds, and a nanosecond drains `rate` of
//! them, so one unit's interval is the exact fraction `period / rate` and nothing is ever rounded
//! in the state. Bound: `burst + floor(rate * T / P)` in any span T. (ITU-T I.371, Annex A, whose
//! theoretical arrival time is `at + debt / rate` here.)

use serde::{Deserialize, Serialize};

use crate::limits::epoch::digits;
use crate::{Duration, PositiveUnits, Timestamp, Units};

/// Time drains less than this, but units that are taken and given back again and again add up.
const GONE_MAX: u128 = 1 << 126;

/// What is in the bucket.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(in crate::limits) struct Gcra {
    /// Ticks charged and not yet drained, as of `at`. Never below 0: idleness earns one burst.
    #[serde(with = "digits")]
    debt: u128,
    at: Timestamp,
    /// Ticks drained or refunded, ever.
    #[serde(with = "digits")]
    gone: u128,
}

impl Gcra {
    pub(in crate::limits) const fn empty(at: Timestamp) -> Self {
        Self { debt: 0, at, gone: 0 }
    }

    pub(in crate::limits) const fn is_empty(&self) -> bool {
        self.debt == 0
    }

    /// The state at `now`; a clock that went back drains nothing.
    pub(in crate::limits) fn drained(&self, rate: PositiveUnits, now: Timestamp) -> Self {
        let elapsed = now.nanos().saturating_sub(self.at.nanos());
        let most = elapsed.checked_mul(rate.get().into()).expect("2^68 ns times 2^53");
        let drained = most.min(self.debt);
        Self {
            debt: self.debt.saturating_sub(drained),
            at: self.at.max(now),
            gone: self.gone.checked_add(drained).expect("8,000 years of 2^53 ticks per ns"),
        }
    }

    /// Counts positions from 0 again, long before they grow too large; whether it did. Charges of
    /// before then have none any more.
    pub(in crate::limits) const fn restarted(&mut self) -> bool {
        let is_far = GONE_MAX <= self.gone;
        if is_far {
            self.gone = 0;
        }
        is_far
    }

    /// Units counted, rounded up.
    pub(in crate::limits) fn counted(&self, period: Duration) -> Units {
        let units = self.debt.div_ceil(period.nanos().into());
        Units::new(u64::try_from(units).expect("the debt is no more than a burst"))
            .expect("the debt is no more than a burst")
    }

    pub(in crate::limits) fn add(&mut self, period: Duration, units: Units) {
        let more = ticks(period, units);
        self.debt = self.debt.checked_add(more).expect("two bursts of 2^115 ticks");
    }

    /// `gone + debt`: where the last charge stands in the order in which ticks drain.
    pub(in crate::limits) fn position(&self) -> u128 {
        self.gone.checked_add(self.debt).expect("both stay below 2^123")
    }

    /// How many of `units` charged at `position` have not drained yet, the oldest draining first.
    pub(in crate::limits) fn refundable(
        &self,
        period: Duration,
        (units, position): (Units, u128),
    ) -> Units {
        let left = ticks(period, units).min(position.saturating_sub(self.gone));
        let whole = left.checked_div(period.nanos().into()).expect("a period is longer than 0");
        Units::new(u64::try_from(whole).expect("no more than was charged"))
            .expect("no more than was charged")
    }

    pub(in crate::limits) fn take_back(&mut self, period: Duration, units: Units) {
        let back = ticks(period, units);
        self.debt = self.debt.checked_sub(back).expect("what has not drained is owed");
        self.gone = self.gone.checked_add(back).expect("both stay below 2^123");
    }

    /// The same debt in units of another period, rounded up.
    pub(in crate::limits) fn converted(&self, from: Duration, to: Duration) -> Self {
        let (from, to) = (u128::from(from.nanos()), u128::from(to.nanos()));
        let whole = self.debt.checked_div(from).expect("a period is longer than 0");
        let rest = self.debt.checked_rem(from).expect("a period is longer than 0");
        let rest = rest.checked_mul(to).expect("2^62 times 2^62").div_ceil(from);
        let whole = whole.checked_mul(to).expect("2^54 units of 2^62 ticks");
        let debt = whole.checked_add(rest).expect("both stay below 2^123");
        Self { debt, at: self.at, gone: 0 }
    }

    /// The first instant at which no more than `room` units are counted.
    pub(in crate::limits) fn falls(
        &self,
        (rate, period): (PositiveUnits, Duration),
        room: Units,
    ) -> Option<Timestamp> {
        let surplus = self.debt.saturating_sub(ticks(period, room));
        let wait = surplus.div_ceil(rate.get().into());
        Timestamp::from_nanos(self.at.nanos().checked_add(wait)?)
    }
}

/// A unit is as many ticks as the period has nanoseconds.
fn ticks(period: Duration, units: Units) -> u128 {
    u128::from(units.get()).checked_mul(period.nanos().into()).expect("2^53 times 2^62")
}
