//! Rate counters: what one key has used under a policy.
//!
//! Invariant: a counter that is idle (nothing counts, nothing is held) equals a fresh one, so it
//! may be removed, and is read as absent whether it was or not. What was consumed is kept over a
//! change of terms: no change mints.

use serde::{Deserialize, Serialize};

use super::algorithm::calendar::CalendarWindow;
use super::algorithm::fixed_window::FixedWindow;
use super::algorithm::gcra::Gcra;
use super::algorithm::sliding_counter::SlidingCounter;
use super::algorithm::sliding_log::SlidingLog;
use super::algorithm::{epoch_start, is_over};
use super::epoch::{Epoch, digits};
use super::open_holds::OpenHolds;
use super::view::CounterView;
use super::{Algorithm, RatePolicy, Terms};
use crate::{Duration, Key, Kind, Limit, Record, Timestamp, Units, Version};

/// What was counted, by algorithm.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// Nothing is counted; so are leases, which are holds and nothing else.
    Unused,
    FixedWindow(FixedWindow),
    Calendar(CalendarWindow),
    SlidingCounter(SlidingCounter),
    SlidingLog(SlidingLog),
    Gcra(Gcra),
}

/// Where a charge stands in the state, so that a refund finds it again.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    /// The window that began then.
    Window(Timestamp),
    /// The entry of that instant.
    Entry(Timestamp),
    /// So many ticks after the first.
    Position(#[serde(with = "digits")] u128),
}

impl State {
    /// The state at `at` as time alone has made it; what is over is `Unused`.
    fn at(&self, algorithm: &Algorithm, at: Timestamp) -> Self {
        match (self, algorithm) {
            (Self::FixedWindow(window), Algorithm::FixedWindow { period, .. })
                if !window.is_over(*period, at) =>
            {
                self.clone()
            }
            (Self::Calendar(window), Algorithm::Calendar(_)) if !window.is_over(at) => self.clone(),
            (Self::SlidingCounter(counter), Algorithm::SlidingCounter { period })
                if !is_over(counter.idle_at(*period), at) =>
            {
                Self::SlidingCounter(counter.rolled(*period, at))
            }
            (Self::SlidingLog(log), Algorithm::SlidingLog { period }) => {
                let log = log.pruned(*period, at);
                if log.is_empty() { Self::Unused } else { Self::SlidingLog(log) }
            }
            (Self::Gcra(bucket), Algorithm::Gcra { rate, .. }) => {
                let bucket = bucket.drained(*rate, at);
                if bucket.is_empty() && bucket.position() == 0 {
                    Self::Unused
                } else {
                    Self::Gcra(bucket)
                }
            }
            _ => Self::Unused,
        }
    }

    /// Units counted at `at`; the state is that of `at` already.
    fn counted(&self, algorithm: &Algorithm, at: Timestamp) -> Units {
        match (self, algorithm) {
            (Self::FixedWindow(window), _) => window.count,
            (Self::Calendar(window), _) => window.count,
            (Self::SlidingCounter(counter), Algorithm::SlidingCounter { period }) => {
                counter.counted(*period, at)
            }
            (Self::SlidingLog(log), Algorithm::SlidingLog { period }) => log.counted(*period, at),
            (Self::Gcra(bucket), Algorithm::Gcra { period, .. }) => bucket.counted(*period),
            _ => Units::ZERO,
        }
    }

    /// The first instant from `now` on at which no more than `room` are counted.
    fn falls(&self, algorithm: &Algorithm, now: Timestamp, room: Units) -> Option<Timestamp> {
        if self.counted(algorithm, now) <= room {
            return Some(now);
        }
        let at = match (self, algorithm) {
            (Self::FixedWindow(window), Algorithm::FixedWindow { period, .. }) => {
                window.end(*period)
            }
            (Self::Calendar(window), _) => window.end,
            (Self::SlidingCounter(counter), Algorithm::SlidingCounter { period }) => {
                counter.falls(*period, room)
            }
            (Self::SlidingLog(log), Algorithm::SlidingLog { period }) => {
                log.falls(*period, (now, room))
            }
            (Self::Gcra(bucket), Algorithm::Gcra { rate, period }) => {
                bucket.falls((*rate, *period), room)
            }
            _ => Some(now),
        };
        at.map(|at| at.max(now))
    }

    /// Counts `units` at `now`; gives where they stand.
    fn take(&mut self, algorithm: &Algorithm, now: Timestamp, units: Units) -> Option<Place> {
        const FITS: &str = "used never passes the largest limit";
        if matches!(self, Self::Unused) {
            *self = match algorithm {
                Algorithm::FixedWindow { align, period } => {
                    Self::FixedWindow(FixedWindow::opened(*align, *period, now))
                }
                Algorithm::Calendar(calendar) => {
                    Self::Calendar(CalendarWindow::opened(calendar, now))
                }
                Algorithm::SlidingCounter { period } => {
                    Self::SlidingCounter(SlidingCounter::opened(*period, now))
                }
                Algorithm::SlidingLog { .. } => Self::SlidingLog(SlidingLog::default()),
                Algorithm::Gcra { .. } => Self::Gcra(Gcra::empty(now)),
                Algorithm::Concurrency => Self::Unused,
            };
        }
        match (self, algorithm) {
            (Self::FixedWindow(window), _) => {
                window.count = window.count.checked_add(units).expect(FITS);
                Some(Place::Window(window.start))
            }
            (Self::Calendar(window), _) => {
                window.count = window.count.checked_add(units).expect(FITS);
                Some(Place::Window(window.start))
            }
            (Self::SlidingCounter(counter), _) => {
                counter.current = counter.current.checked_add(units).expect(FITS);
                Some(Place::Window(counter.start))
            }
            (Self::SlidingLog(log), _) => {
                log.append(now, units);
                Some(Place::Entry(now))
            }
            (Self::Gcra(bucket), Algorithm::Gcra { period, .. }) => {
                bucket.add(*period, units);
                Some(Place::Position(bucket.position()))
            }
            _ => None,
        }
    }

    /// How many of `units` charged at `place` still count at `now`.
    fn refundable(&self, algorithm: &Algorithm, (place, units): (Place, Units)) -> Units {
        match (self, algorithm, place) {
            (Self::FixedWindow(window), _, Place::Window(start)) if window.start == start => units,
            (Self::Calendar(window), _, Place::Window(start)) if window.start == start => units,
            (
                Self::SlidingCounter(counter),
                Algorithm::SlidingCounter { period },
                Place::Window(start),
            ) if counter.start == start || start.plus(*period) == Some(counter.start) => units,
            (Self::SlidingLog(log), _, Place::Entry(at)) if log.entry(at).is_some() => units,
            (Self::Gcra(bucket), Algorithm::Gcra { period, .. }, Place::Position(position)) => {
                bucket.refundable(*period, (units, position))
            }
            _ => Units::ZERO,
        }
    }

    /// Gives back units that still count.
    fn take_back(&mut self, algorithm: &Algorithm, (place, units): (Place, Units)) {
        const THERE: &str = "a charge of this window still counts";
        match (self, algorithm, place) {
            (Self::FixedWindow(window), _, _) => {
                window.count = window.count.checked_sub(units).expect(THERE);
            }
            (Self::Calendar(window), _, _) => {
                window.count = window.count.checked_sub(units).expect(THERE);
            }
            (Self::SlidingCounter(counter), _, Place::Window(start)) => {
                let count = if counter.start == start {
                    &mut counter.current
                } else {
                    &mut counter.previous
                };
                *count = count.checked_sub(units).expect(THERE);
            }
            (Self::SlidingLog(log), _, Place::Entry(at)) => log.take_back(at, units),
            (Self::Gcra(bucket), Algorithm::Gcra { period, .. }, _) => {
                bucket.take_back(*period, units);
            }
            _ => {}
        }
    }

    /// The state under terms that cut time differently: what was consumed is kept.
    fn converted(&self, from: &Algorithm, to: &Algorithm, at: Timestamp) -> Self {
        let state = self.at(from, at);
        let counted = state.counted(from, at);
        match (state, to) {
            (Self::Unused, _) => Self::Unused,
            // The window of a first hit stays where it began: its end moves.
            (Self::FixedWindow(window), Algorithm::FixedWindow { align, period }) => {
                let start = match align {
                    super::Align::FirstHit => window.start,
                    super::Align::Epoch => epoch_start(at, *period),
                };
                Self::FixedWindow(FixedWindow { start, count: counted })
            }
            (Self::Calendar(_), Algorithm::Calendar(calendar)) => Self::Calendar(CalendarWindow {
                count: counted,
                ..CalendarWindow::opened(calendar, at)
            }),
            (Self::SlidingCounter(_), Algorithm::SlidingCounter { period }) => {
                let opened = SlidingCounter::opened(*period, at);
                Self::SlidingCounter(SlidingCounter { current: counted, ..opened })
            }
            (Self::Gcra(bucket), Algorithm::Gcra { period, .. }) => {
                let Algorithm::Gcra { period: before, .. } = from else { return Self::Unused };
                Self::Gcra(bucket.converted(*before, *period))
            }
            (state, _) => state,
        }
    }

    /// When the view's `reset_at` comes; of an unused state what a use of one unit now would give.
    fn reset_at(&self, algorithm: &Algorithm, now: Timestamp) -> Option<Timestamp> {
        match (self, algorithm) {
            (Self::Unused, _) => {
                let mut used = Self::Unused;
                used.take(algorithm, now, Units::ONE);
                if used == Self::Unused { None } else { used.reset_at(algorithm, now) }
            }
            (Self::FixedWindow(window), Algorithm::FixedWindow { period, .. }) => {
                window.end(*period)
            }
            (Self::Calendar(window), _) => window.end,
            (Self::SlidingCounter(counter), Algorithm::SlidingCounter { period }) => {
                counter.reset_at(*period)
            }
            (Self::SlidingLog(log), Algorithm::SlidingLog { period }) => log.reset_at(*period),
            (Self::Gcra(bucket), Algorithm::Gcra { rate, period }) => {
                bucket.falls((*rate, *period), Units::ZERO)
            }
            _ => None,
        }
    }

    /// When nothing counts any more: `Ok(None)` is never, `Err` is already.
    fn idle_at(&self, algorithm: &Algorithm) -> Idle {
        let at = match (self, algorithm) {
            (Self::FixedWindow(window), Algorithm::FixedWindow { period, .. }) => {
                window.end(*period)
            }
            (Self::Calendar(window), _) => window.end,
            (Self::SlidingCounter(counter), Algorithm::SlidingCounter { period }) => {
                counter.idle_at(*period)
            }
            (Self::SlidingLog(log), Algorithm::SlidingLog { period }) => log.idle_at(*period),
            (Self::Gcra(bucket), Algorithm::Gcra { rate, period }) => {
                bucket.falls((*rate, *period), Units::ZERO)
            }
            _ => return Idle::Already,
        };
        at.map_or(Idle::Never, Idle::At)
    }
}

enum Idle {
    Already,
    At(Timestamp),
    Never,
}

/// What one key has used under a stored policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RateCounter {
    /// The terms last decided under, and the change of the policy that brought them.
    terms: Terms,
    change: u64,
    policy_epoch: Epoch,
    state: State,
    /// When it was last decided on.
    at: Timestamp,
    epoch: Epoch,
    #[serde(default, skip_serializing_if = "OpenHolds::is_empty")]
    pub(super) holds: OpenHolds,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    idle_at: Option<Timestamp>,
}

impl Record for RateCounter {
    const KIND: Kind = Kind::compound("counters", 2);

    fn sweep_at(&self) -> Option<Timestamp> {
        self.idle_at
    }
}

/// What one key has used under terms that come with each use.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InlineCounter(pub(super) RateCounter);

impl Record for InlineCounter {
    const KIND: Kind = Kind::compound("inline_counters", 2);

    fn sweep_at(&self) -> Option<Timestamp> {
        self.0.idle_at
    }
}

/// What one key has used in this node alone, while the store failed: of a stored policy or of
/// inline terms, which is the first name of its id.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LocalCounter(pub(super) RateCounter);

impl Record for LocalCounter {
    const KIND: Kind = Kind::compound("local_counters", 3);

    fn sweep_at(&self) -> Option<Timestamp> {
        self.0.idle_at
    }
}

impl RateCounter {
    /// A counter that nothing was charged on.
    pub(super) const fn fresh(terms: Terms, now: Timestamp, epoch: Epoch) -> Self {
        Self {
            terms,
            change: 0,
            policy_epoch: Epoch::NONE,
            state: State::Unused,
            at: now,
            epoch,
            holds: OpenHolds::NONE,
            idle_at: None,
        }
    }

    /// A fresh counter of a stored policy.
    pub(super) fn fresh_of(policy: &RatePolicy, now: Timestamp, epoch: Epoch) -> Self {
        Self {
            change: policy.last().number,
            policy_epoch: policy.epoch(),
            ..Self::fresh(policy.terms().clone(), now, epoch)
        }
    }

    /// The counter at `now`, brought forward through each kept change of its policy in turn.
    pub(super) fn under(&self, policy: &RatePolicy, now: Timestamp) -> Self {
        let mut counter = self.clone();
        if counter.policy_epoch != policy.epoch() {
            counter.void();
            counter.terms = policy.terms().clone();
            counter.change = policy.last().number;
            counter.policy_epoch = policy.epoch();
        }
        for change in policy.changes() {
            if counter.change < change.number {
                counter.adopt(&change.terms, change.at.max(self.at));
                counter.change = change.number;
            }
        }
        counter.at_instant(now);
        counter
    }

    /// The counter at `now` under terms that come with a use. They are of the same kind.
    pub(super) fn under_terms(&self, terms: &Terms, now: Timestamp) -> Self {
        let mut counter = self.clone();
        counter.adopt(terms, now.max(self.at));
        counter.at_instant(now);
        counter
    }

    /// The counter at `now` under the terms it had.
    pub(super) fn under_own(&self, now: Timestamp) -> Self {
        let mut counter = self.clone();
        counter.at_instant(now);
        counter
    }

    fn adopt(&mut self, terms: &Terms, at: Timestamp) {
        let (from, to) = (self.terms.algorithm().clone(), terms.algorithm());
        if from.same_windows(to) {
            self.state = self.state.at(&from, at);
        } else {
            self.state = self.state.converted(&from, to, at);
            self.epoch = self.epoch.next();
        }
        self.terms = terms.clone();
    }

    fn at_instant(&mut self, now: Timestamp) {
        self.state = self.state.at(self.terms.algorithm(), now);
        self.holds.prune(now);
        self.at = now;
        self.idle_at = self.becomes_idle();
    }

    /// When it may be removed; `None` is never.
    fn becomes_idle(&self) -> Option<Timestamp> {
        let released = self.holds.last_end();
        match self.state.idle_at(self.terms.algorithm()) {
            Idle::Never => None,
            Idle::Already => Some(released.unwrap_or(self.at)),
            Idle::At(at) => Some(released.map_or(at, |released| released.max(at))),
        }
    }

    /// Whether it equals a fresh one; the counter is that of `now` already.
    pub(super) fn is_idle(&self, now: Timestamp) -> bool {
        is_over(self.idle_at, now)
    }

    /// Forgets what was used. Open holds stay.
    pub(super) fn void(&mut self) {
        self.state = State::Unused;
        self.epoch = self.epoch.next();
        self.idle_at = self.becomes_idle();
    }

    pub(super) const fn terms(&self) -> &Terms {
        &self.terms
    }

    pub(super) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(super) const fn policy_epoch(&self) -> Epoch {
        self.policy_epoch
    }

    pub(super) const fn idle_at(&self) -> Option<Timestamp> {
        self.idle_at
    }

    pub(super) fn counted(&self) -> Units {
        if self.terms.limit().is_unlimited() {
            return Units::ZERO;
        }
        self.state.counted(self.terms.algorithm(), self.at)
    }

    pub(super) fn charge(&mut self, units: Units) -> Option<Place> {
        let algorithm = self.terms.algorithm().clone();
        if let State::Gcra(bucket) = &mut self.state
            && bucket.restarted()
        {
            self.epoch = self.epoch.next();
        }
        let place = self.state.take(&algorithm, self.at, units);
        self.idle_at = self.becomes_idle();
        place
    }

    /// To be told of every change of `holds`.
    pub(super) fn settle_holds(&mut self) {
        self.idle_at = self.becomes_idle();
    }

    pub(super) fn refundable(&self, place: Place, units: Units) -> Units {
        self.state.refundable(self.terms.algorithm(), (place, units))
    }

    pub(super) fn refund(&mut self, place: Place, units: Units) {
        let algorithm = self.terms.algorithm().clone();
        self.state.take_back(&algorithm, (place, units));
        self.state = self.state.at(&algorithm, self.at);
        self.idle_at = self.becomes_idle();
    }

    /// Until when a charge made now could be refunded.
    pub(super) fn charge_counts_until(&self) -> Option<Timestamp> {
        match self.state.idle_at(self.terms.algorithm()) {
            Idle::Already => Some(self.at),
            Idle::At(at) => Some(at),
            Idle::Never => None,
        }
    }

    pub(super) fn remaining(&self) -> Limit {
        let Limit::Finite(limit) = self.terms.limit() else { return Limit::Unlimited };
        let rest = limit.minus_or_zero(self.counted());
        Limit::Finite(rest.minus_or_zero(self.holds.held(self.at)))
    }

    /// When `cost` more units would fit under terms that come with the use: until that use, time
    /// goes by under the terms of before. More fits later, so the instant is found by halving.
    pub(super) fn first_fit_under(&self, terms: &Terms, cost: Units) -> Option<Timestamp> {
        let fits = |at: u128| {
            let at = Timestamp::from_nanos(at).expect("between two instants");
            let counter = self.under_terms(terms, at);
            let taken = counter.counted().checked_add(counter.holds.held(at));
            let idle = self.under_own(at).is_idle(at);
            let sum = if idle { Some(cost) } else { taken.and_then(|sum| sum.checked_add(cost)) };
            sum.is_some_and(|sum| sum <= terms.limit().units())
        };
        let mut no = self.at.nanos();
        let mut yes = self.idle_at.unwrap_or(Timestamp::MAX).nanos();
        if !fits(yes) {
            return None;
        }
        while let Some(middle) = no.checked_add(yes.saturating_sub(no) >> 1)
            && no < middle
        {
            if fits(middle) {
                yes = middle;
            } else {
                no = middle;
            }
        }
        Timestamp::from_nanos(yes)
    }

    /// When `cost` more units would fit by time alone.
    pub(super) fn first_fit(&self, cost: Units) -> Option<Timestamp> {
        let algorithm = self.terms.algorithm();
        self.holds.first_fit(self.at, (self.terms.limit().units(), cost), |room| {
            self.state.falls(algorithm, self.at, room)
        })
    }

    pub(super) fn view(&self, policy: &Key, key: &Key, version: Version) -> CounterView {
        let remaining = self.remaining();
        let more = match remaining {
            Limit::Finite(units) => units.checked_add(Units::ONE),
            Limit::Unlimited => None,
        };
        let reset_at = match (self.terms.limit(), self.terms.algorithm()) {
            (Limit::Unlimited, _) => None,
            (Limit::Finite(_), Algorithm::Concurrency) => self.holds.ends(self.at).min(),
            (Limit::Finite(_), algorithm) => self.state.reset_at(algorithm, self.at),
        };
        CounterView {
            policy: policy.clone(),
            key: key.clone(),
            limit: self.terms.limit(),
            used: self.counted(),
            held: self.holds.held(self.at),
            remaining,
            reset_at,
            next_at: more.and_then(|cost| self.first_fit(cost)),
            window_ns: self.window(),
            would_reject: None,
            version,
        }
    }

    /// The time that gives back as many units as the limit has: a window, or what a bucket takes
    /// to run empty. Calendars and leases have no such span.
    pub(super) fn window(&self) -> Option<Duration> {
        match self.terms.algorithm() {
            Algorithm::FixedWindow { period, .. }
            | Algorithm::SlidingCounter { period }
            | Algorithm::SlidingLog { period } => Some(*period),
            Algorithm::Gcra { rate, period } => {
                let Limit::Finite(burst) = self.terms.limit() else { return None };
                let ticks = u128::from(burst.get()).checked_mul(period.nanos().into())?;
                Duration::checked(ticks.div_ceil(rate.get().into()))
            }
            Algorithm::Calendar(_) | Algorithm::Concurrency => None,
        }
    }
}
