//! One key under a policy: the six algorithms, in the formulas of their description.
//!
//! Invariant: without commands, what is counted never rises.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::integer_division,
    reason = "the formulas stand as they are described; units stay below 2^53 and spans below \
              2^64, so no product comes near the end of an i128"
)]

use super::open::Holds;
use super::terms::{Algorithm, Terms};
use super::value::{earlier, first, reachable};
use crate::instant::Nanos;

/// Tells incarnations apart: when it began, and how often it was begun anew since.
pub(super) type Epoch = (u64, u64);

/// What was counted.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    /// `fixed_window`, `calendar`: the window, its end (none: never), the count.
    Window { start: Nanos, end: Option<Nanos>, count: i128 },
    /// `sliding_counter`: windows since the epoch.
    Sliding { start: Nanos, cur: i128, prev: i128 },
    /// `sliding_log`: one entry for each instant.
    Log(Vec<(Nanos, i128)>),
    /// `gcra`, in ticks.
    Bucket { debt: i128, at: Nanos, gone: i128 },
    /// `concurrency`: the open holds are all there is.
    Leases,
}

/// Where a charge stands, to find it again at a refund.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    /// The window it is in starts here.
    Window(Nanos),
    /// The entry of this instant.
    Entry(Nanos),
    /// Ticks taken and gone before and with it.
    Position(i128),
}

/// A key under a policy.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Counter {
    pub(super) terms: Terms,
    /// Which change of the policy brought the terms.
    pub(super) change: u64,
    pub(super) policy_epoch: u64,
    pub(super) state: State,
    pub(super) epoch: Epoch,
    pub(super) holds: Holds,
    /// Whether it has its place among the keys of its policy.
    pub(super) placed: bool,
    /// Nothing was charged since it began: it is as if it had never been used.
    fresh: bool,
    /// When it was last written. A change of the policy that another clock dates before it counts
    /// from here on.
    touched: Nanos,
}

const fn ceil_div(number: i128, by: i128) -> i128 {
    -((-number).div_euclid(by))
}

const fn floor_to(at: Nanos, period: i128) -> Nanos {
    at.div_euclid(period) * period
}

impl State {
    /// Nothing counted yet.
    pub(super) fn unused(algorithm: &Algorithm, at: Nanos) -> Self {
        match algorithm {
            Algorithm::FirstHit { .. } | Algorithm::Epoch { .. } | Algorithm::Calendar(_) => {
                Self::Window { start: at, end: Some(at), count: 0 }
            }
            Algorithm::SlidingCounter { period } => {
                // Two windows ago, so that it is idle.
                Self::Sliding { start: floor_to(at, *period) - 2 * period, cur: 0, prev: 0 }
            }
            Algorithm::SlidingLog { .. } => Self::Log(Vec::new()),
            Algorithm::Gcra { .. } => Self::Bucket { debt: 0, at, gone: 0 },
            Algorithm::Concurrency => Self::Leases,
        }
    }

    /// As time alone has made it.
    fn moved_to(&self, at: Nanos, algorithm: &Algorithm) -> Self {
        match (self, algorithm) {
            (Self::Sliding { start, cur, prev }, Algorithm::SlidingCounter { period }) => {
                let now = floor_to(at, *period);
                match now - start {
                    0 => Self::Sliding { start: *start, cur: *cur, prev: *prev },
                    gone if gone == *period => Self::Sliding { start: now, cur: 0, prev: *cur },
                    _ => Self::Sliding { start: now, cur: 0, prev: 0 },
                }
            }
            (Self::Log(entries), Algorithm::SlidingLog { period }) => {
                let counts = |entry: &&(Nanos, i128)| at < entry.0 + period;
                Self::Log(entries.iter().filter(counts).copied().collect())
            }
            (Self::Bucket { debt, at: last, gone }, Algorithm::Gcra { rate, .. }) => {
                let drained = (*debt).min((at - last) * rate);
                Self::Bucket { debt: debt - drained, at, gone: gone + drained }
            }
            _ => self.clone(),
        }
    }

    /// Units counted at an instant.
    pub(super) fn used(&self, at: Nanos, algorithm: &Algorithm) -> i128 {
        match (self.moved_to(at, algorithm), algorithm) {
            (Self::Window { end, count, .. }, _) if end.is_none_or(|end| at < end) => count,
            (Self::Sliding { start, cur, prev }, Algorithm::SlidingCounter { period }) => {
                cur + ceil_div(prev * (period - (at - start)), *period)
            }
            (Self::Log(entries), _) => entries.iter().map(|(_, units)| units).sum(),
            (Self::Bucket { debt, .. }, Algorithm::Gcra { period, .. }) => ceil_div(debt, *period),
            _ => 0,
        }
    }

    /// From which instant on it is as if it had never been used.
    fn idle_at(&self, algorithm: &Algorithm) -> Option<Nanos> {
        match (self, algorithm) {
            (Self::Window { end, .. }, _) => *end,
            (Self::Sliding { start, .. }, Algorithm::SlidingCounter { period }) => {
                Some(start + 2 * period)
            }
            (Self::Log(entries), Algorithm::SlidingLog { period }) => {
                Some(entries.last().map_or(0, |(at, _)| at + period))
            }
            (Self::Bucket { debt, at, .. }, Algorithm::Gcra { rate, .. }) => {
                Some(at + ceil_div(*debt, *rate))
            }
            _ => Some(0),
        }
    }
}

fn window_of(algorithm: &Algorithm, at: Nanos) -> (Nanos, Option<Nanos>) {
    match algorithm {
        Algorithm::FirstHit { period } => (at, reachable(at + period)),
        Algorithm::Epoch { period } => {
            let start = floor_to(at, *period);
            (start, reachable(start + period))
        }
        Algorithm::Calendar(calendar) => calendar.window(at),
        Algorithm::SlidingCounter { .. }
        | Algorithm::SlidingLog { .. }
        | Algorithm::Gcra { .. }
        | Algorithm::Concurrency => (at, None),
    }
}

impl Counter {
    /// One that was never used.
    pub(super) fn unused(terms: Terms, at: Nanos, epoch: Epoch) -> Self {
        let state = State::unused(&terms.algorithm, at);
        let holds = Holds::default();
        Self {
            terms,
            change: 0,
            policy_epoch: 0,
            state,
            epoch,
            holds,
            placed: false,
            fresh: true,
            touched: at,
        }
    }

    /// Units counted at an instant.
    pub(super) fn used(&self, at: Nanos) -> i128 {
        self.state.used(at, &self.terms.algorithm)
    }

    /// Whether it is as if it had never been used, so that it may be forgotten.
    pub(super) fn is_idle(&self, at: Nanos) -> bool {
        let idle_at = self.state.idle_at(&self.terms.algorithm);
        let over = self.fresh || idle_at.is_some_and(|idle_at| idle_at <= at);
        over && self.holds.count(at) == 0
    }

    /// Takes note of when it was written.
    pub(super) fn touch(&mut self, at: Nanos) {
        self.touched = self.touched.max(at);
    }

    /// Counts units.
    pub(super) fn charge(&mut self, units: i128, at: Nanos) -> Place {
        self.fresh = false;
        self.touched = self.touched.max(at);
        let algorithm = &self.terms.algorithm;
        self.state = self.state.moved_to(at, algorithm);
        match (&mut self.state, algorithm) {
            (State::Window { start, end, count }, _) => {
                if end.is_none_or(|end| at < end) {
                    *count += units;
                } else {
                    (*start, *end) = window_of(algorithm, at);
                    *count = units;
                }
                Place::Window(*start)
            }
            (State::Sliding { start, cur, .. }, _) => {
                *cur += units;
                Place::Window(*start)
            }
            (State::Log(entries), _) => {
                match entries.last_mut() {
                    Some((last, counted)) if *last == at => *counted += units,
                    _ => entries.push((at, units)),
                }
                Place::Entry(at)
            }
            (State::Bucket { debt, gone, .. }, Algorithm::Gcra { period, .. }) => {
                *debt += units * *period;
                Place::Position(*gone + *debt)
            }
            _ => Place::Window(at),
        }
    }

    /// How much of a charge can still be taken back: `None` if nothing of it counts.
    pub(super) fn refundable(&self, units: i128, place: Place, at: Nanos) -> Option<i128> {
        let algorithm = &self.terms.algorithm;
        match (self.state.moved_to(at, algorithm), place, algorithm) {
            (State::Window { start, end, .. }, Place::Window(of), _) => {
                (start == of && end.is_none_or(|end| at < end)).then_some(units)
            }
            (
                State::Sliding { start, .. },
                Place::Window(of),
                Algorithm::SlidingCounter { period },
            ) => (of == start || of + period == start).then_some(units),
            (State::Log(entries), Place::Entry(of), _) => {
                entries.iter().any(|(at, _)| *at == of).then_some(units)
            }
            (State::Bucket { gone, .. }, Place::Position(of), Algorithm::Gcra { period, .. }) => {
                let left = (units * period).min(of - gone).max(0) / period;
                (0 < left).then_some(left)
            }
            _ => None,
        }
    }

    /// Takes back what [`Counter::refundable`] allowed.
    pub(super) fn refund(&mut self, units: i128, place: Place, at: Nanos) {
        let algorithm = &self.terms.algorithm;
        self.state = self.state.moved_to(at, algorithm);
        match (&mut self.state, place, algorithm) {
            (State::Window { count, .. }, _, _) => *count -= units,
            (State::Sliding { start, cur, prev }, Place::Window(of), _) => {
                *(if *start == of { cur } else { prev }) -= units;
            }
            (State::Log(entries), Place::Entry(of), _) => {
                for entry in entries.iter_mut().filter(|(at, _)| *at == of) {
                    entry.1 -= units;
                }
                entries.retain(|(_, left)| 0 < *left);
            }
            (State::Bucket { debt, gone, .. }, _, Algorithm::Gcra { period, .. }) => {
                *debt -= units * period;
                *gone += units * period;
            }
            _ => {}
        }
    }

    /// Until when a charge can be refunded, in the best case.
    pub(super) fn refundable_until(&self, at: Nanos) -> Option<Nanos> {
        let until = match (&self.state, &self.terms.algorithm) {
            (State::Window { end, .. }, _) => return *end,
            (State::Sliding { start, .. }, Algorithm::SlidingCounter { period }) => {
                start + 2 * period
            }
            (State::Log(_), Algorithm::SlidingLog { period }) => at + period,
            (State::Bucket { debt, .. }, Algorithm::Gcra { rate, .. }) => {
                at + ceil_div(*debt, *rate)
            }
            _ => at,
        };
        reachable(until)
    }

    /// Forgets what was used. Open holds stay.
    pub(super) fn reset(&mut self, at: Nanos) {
        self.state = State::unused(&self.terms.algorithm, at);
        self.fresh = true;
        self.touched = self.touched.max(at);
        self.epoch.1 += 1;
    }

    /// Goes over to other terms: what was consumed is kept.
    pub(super) fn take_terms(&mut self, terms: &Terms, at: Nanos) {
        let at = at.max(self.touched);
        let before = std::mem::replace(&mut self.terms, terms.clone());
        if before.algorithm == terms.algorithm {
            return;
        }
        let used = self.state.used(at, &before.algorithm);
        let moved = self.state.moved_to(at, &before.algorithm);
        // Only the rate of a bucket can change beside a period, a unit or a zone.
        let same_time = match (&before.algorithm, &terms.algorithm) {
            (Algorithm::Gcra { period: old, .. }, Algorithm::Gcra { period, .. }) => old == period,
            _ => false,
        };
        self.state = match (moved, &terms.algorithm) {
            (State::Window { start, end, count }, Algorithm::FirstHit { period }) => {
                let over = end.is_some_and(|end| end <= at);
                if over {
                    State::unused(&terms.algorithm, at)
                } else {
                    State::Window { start, end: reachable(start + period), count }
                }
            }
            (State::Window { end, .. }, _) => {
                if end.is_some_and(|end| end <= at) {
                    State::unused(&terms.algorithm, at)
                } else {
                    let (start, end) = window_of(&terms.algorithm, at);
                    State::Window { start, end, count: used }
                }
            }
            (State::Sliding { .. }, Algorithm::SlidingCounter { period }) => {
                State::Sliding { start: floor_to(at, *period), cur: used, prev: 0 }
            }
            (State::Bucket { debt, at, gone }, Algorithm::Gcra { period, .. }) => {
                let Algorithm::Gcra { period: old, .. } = before.algorithm else { return };
                let debt = debt / old * period + ceil_div(debt % old * period, old);
                State::Bucket { debt, at, gone }
            }
            (moved, _) => moved,
        };
        if !same_time {
            self.epoch.1 += 1;
        }
    }

    /// Whether it is a bucket without debt: when it will be full is not stated.
    pub(super) fn is_full(&self, at: Nanos) -> bool {
        matches!(self.state.moved_to(at, &self.terms.algorithm), State::Bucket { debt: 0, .. })
    }

    /// When nothing that is counted counts any more; of one that counts nothing, what a use now
    /// would give.
    pub(super) fn reset_at(&self, at: Nanos) -> Option<Nanos> {
        // Without a limit nothing is counted.
        self.terms.limit.0?;
        let algorithm = &self.terms.algorithm;
        match (self.state.moved_to(at, algorithm), algorithm) {
            (State::Window { end, .. }, _) => {
                if end.is_none_or(|end| at < end) {
                    end
                } else {
                    window_of(algorithm, at).1
                }
            }
            (State::Sliding { start, .. }, Algorithm::SlidingCounter { period }) => {
                reachable(start + period)
            }
            (State::Log(entries), Algorithm::SlidingLog { period }) => {
                reachable(entries.first().map_or(at, |(oldest, _)| *oldest) + period)
            }
            (State::Bucket { debt, .. }, Algorithm::Gcra { rate, .. }) => {
                reachable(at + ceil_div(debt, *rate))
            }
            _ => self.holds.first_end(at),
        }
    }

    /// When more remains by time alone.
    pub(super) fn next_at(&self, at: Nanos) -> Option<Nanos> {
        let limit = self.terms.limit.0?;
        let left = |at: Nanos| (limit - self.used(at) - self.holds.held(at)).max(0);
        let now = left(at);
        first(at, |then| now < left(then))
    }

    /// The time that gives back as many units as the limit has, where it is always the same.
    pub(super) fn window(&self) -> Option<i128> {
        match &self.terms.algorithm {
            Algorithm::FirstHit { period }
            | Algorithm::Epoch { period }
            | Algorithm::SlidingCounter { period }
            | Algorithm::SlidingLog { period } => Some(*period),
            Algorithm::Gcra { rate, period } => {
                let burst = self.terms.limit.0?;
                Some(ceil_div(burst * period, *rate)).filter(|span| *span <= u64::MAX.into())
            }
            Algorithm::Calendar(_) | Algorithm::Concurrency => None,
        }
    }

    /// The first end of what is counted or held; for people who read a failed check.
    pub(super) fn first_change(&self, at: Nanos) -> Option<Nanos> {
        earlier(self.reset_at(at), self.holds.first_end(at))
    }
}
