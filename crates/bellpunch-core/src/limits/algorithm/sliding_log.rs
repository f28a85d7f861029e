//! `sliding_log`: each use for itself. At most L in **every** span of the period, exactly.

use serde::{Deserialize, Serialize};

use super::is_over;
use crate::{Duration, Timestamp, Units};

/// Uses in order of time, one entry per instant.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub(in crate::limits) struct SlidingLog(Vec<(Timestamp, Units)>);

impl SlidingLog {
    fn counting(
        &self,
        period: Duration,
        at: Timestamp,
    ) -> impl Iterator<Item = &(Timestamp, Units)> {
        self.0.iter().filter(move |(used_at, _)| !is_over(used_at.plus(period), at))
    }

    pub(in crate::limits) fn counted(&self, period: Duration, at: Timestamp) -> Units {
        self.counting(period, at).fold(Units::ZERO, |sum, (_, units)| {
            sum.checked_add(*units).expect("used never passes the largest limit")
        })
    }

    pub(in crate::limits) fn pruned(&self, period: Duration, at: Timestamp) -> Self {
        Self(self.counting(period, at).copied().collect())
    }

    pub(in crate::limits) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(in crate::limits) fn append(&mut self, at: Timestamp, units: Units) {
        match self.0.last_mut() {
            Some((last, sum)) if at <= *last => {
                *sum = sum.checked_add(units).expect("used never passes the largest limit");
            }
            Some(_) | None => self.0.push((at, units)),
        }
    }

    /// Units of the entry at an instant.
    pub(in crate::limits) fn entry(&self, at: Timestamp) -> Option<Units> {
        self.0.iter().find(|(used_at, _)| *used_at == at).map(|(_, units)| *units)
    }

    pub(in crate::limits) fn take_back(&mut self, at: Timestamp, units: Units) {
        for (used_at, sum) in &mut self.0 {
            if *used_at == at {
                *sum = sum.checked_sub(units).expect("an entry has all its unrefunded charges");
            }
        }
        self.0.retain(|(_, sum)| !sum.is_zero());
    }

    /// The first instant at which no more than `room` units are counted: entries leave in order.
    pub(in crate::limits) fn falls(
        &self,
        period: Duration,
        (now, room): (Timestamp, Units),
    ) -> Option<Timestamp> {
        let mut counted = self.counted(period, now);
        let mut at = Some(now);
        for (used_at, units) in self.counting(period, now) {
            if counted <= room {
                break;
            }
            counted = counted.minus_or_zero(*units);
            at = used_at.plus(period);
        }
        at
    }

    pub(in crate::limits) fn reset_at(&self, period: Duration) -> Option<Timestamp> {
        self.0.first().and_then(|(at, _)| at.plus(period))
    }

    pub(in crate::limits) fn idle_at(&self, period: Duration) -> Option<Timestamp> {
        self.0.last().and_then(|(at, _)| at.plus(period))
    }
}
