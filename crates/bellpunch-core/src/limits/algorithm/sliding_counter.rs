//! `sliding_counter`: the count of this window, and of the one before it the share still in sight.
//!
//! Bound: L per window, and at most 2L - 1 in any span as long as one, the worst when all of a
//! window's use came at its end.

use serde::{Deserialize, Serialize};

use super::epoch_start;
use crate::{Duration, Timestamp, Units};

/// Two neighbouring windows since the epoch.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(in crate::limits) struct SlidingCounter {
    pub(in crate::limits) start: Timestamp,
    pub(in crate::limits) current: Units,
    pub(in crate::limits) previous: Units,
}

impl SlidingCounter {
    /// The window that contains `at`, and nothing before it.
    pub(in crate::limits) fn opened(period: Duration, at: Timestamp) -> Self {
        let start = epoch_start(at, period);
        Self { start, current: Units::ZERO, previous: Units::ZERO }
    }

    /// The same counts, seen from the window that contains `at`: this one or the next.
    pub(in crate::limits) fn rolled(&self, period: Duration, at: Timestamp) -> Self {
        let start = epoch_start(at, period);
        if start <= self.start {
            return self.clone();
        }
        // Two windows on nothing is in sight: the counter is idle, and nobody asks.
        Self { start, current: Units::ZERO, previous: self.current }
    }

    /// Units counted at `at`, within this window.
    pub(in crate::limits) fn counted(&self, period: Duration, at: Timestamp) -> Units {
        let elapsed = at.nanos().saturating_sub(self.start.nanos());
        let in_sight = u128::from(period.nanos()).saturating_sub(elapsed);
        let share = u128::from(self.previous.get())
            .checked_mul(in_sight)
            .expect("2^53 units times 2^62 nanoseconds")
            .div_ceil(period.nanos().into());
        let share = Units::new(u64::try_from(share).expect("a share is no more than the whole"))
            .expect("a share is no more than the whole");
        self.current.checked_add(share).expect("used never passes the largest limit")
    }

    /// The first instant at which no more than `room` units are counted.
    pub(in crate::limits) fn falls(&self, period: Duration, room: Units) -> Option<Timestamp> {
        if let Some(above) = room.checked_sub(self.current)
            && let Some(at) = share_falls(self.start, period, (self.previous, above))
        {
            return Some(at);
        }
        share_falls(self.start.plus(period)?, period, (self.current, room))
    }

    pub(in crate::limits) fn reset_at(&self, period: Duration) -> Option<Timestamp> {
        self.start.plus(period)
    }

    pub(in crate::limits) fn idle_at(&self, period: Duration) -> Option<Timestamp> {
        self.start.plus(period)?.plus(period)
    }
}

/// When in the window from `start` no more than `room` of `previous` are in sight: the share is
/// `previous * (P - e) / P` rounded up, so `P - e <= room * P / previous`.
fn share_falls(
    start: Timestamp,
    period: Duration,
    (previous, room): (Units, Units),
) -> Option<Timestamp> {
    let whole = u128::from(period.nanos());
    let in_sight = whole
        .checked_mul(room.get().into())
        .expect("2^53 units times 2^62 nanoseconds")
        .checked_div(previous.get().into());
    let elapsed = in_sight.map_or(0, |in_sight| whole.saturating_sub(in_sight));
    Timestamp::from_nanos(start.nanos().checked_add(elapsed)?)
}
