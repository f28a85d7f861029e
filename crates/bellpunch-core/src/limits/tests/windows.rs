//! `law.window` on counters alone, so that many cases are few seconds: whatever comes when, no span
//! has more than the documented bound, in exact integers.

use super::super::counter::RateCounter;
use super::super::epoch::Epoch;
use super::super::{Align, Terms};
use super::nanos;
use crate::{Duration, Limit, PositiveUnits, Units};

const CASES: u64 = 100_000;
const USES: u64 = 12;

/// Numbers from a seed (SplitMix64, Steele et al. 2014).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn pick(&mut self, of: &[u64]) -> u64 {
        of[usize::try_from(self.below(u64::try_from(of.len()).unwrap())).unwrap()]
    }
}

/// From `BELLPUNCH_SEED`, or one of its own; it is printed either way.
#[expect(clippy::disallowed_methods, reason = "a seed is given back to a test this way")]
#[expect(clippy::print_stdout, reason = "a seed is shown where a test fails")]
fn dice(default: u64) -> Dice {
    let given = std::env::var("BELLPUNCH_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or(default);
    println!("BELLPUNCH_SEED={seed}");
    Dice(seed)
}

/// What a span may have.
#[derive(Clone, Copy, Debug)]
enum Bound {
    /// So many in every span as long as the period.
    Span(u64),
    /// So many at once, and so many more per period.
    Drain(u64, u64),
    /// So many from one multiple of the period to the next, and so many in every span as long.
    Window(u64, u64),
}

fn terms(kind: u64, dice: &mut Dice, period: u64) -> (Terms, Bound) {
    let limit = 1 + dice.below(6);
    let (units, span) = (Limit::Finite(Units::new(limit).unwrap()), Duration::from_nanos(period));
    match kind {
        0 => (Terms::sliding_log(units, span).unwrap(), Bound::Span(limit)),
        1 => {
            let rate = 1 + dice.below(7);
            let terms = Terms::gcra(PositiveUnits::new(rate).unwrap(), span).unwrap();
            (terms.with_burst(units), Bound::Drain(limit, rate))
        }
        2 => {
            let terms = Terms::fixed_window(Align::Epoch, units, span).unwrap();
            (terms, Bound::Window(limit, 2 * limit))
        }
        3 => {
            let terms = Terms::fixed_window(Align::FirstHit, units, span).unwrap();
            (terms, Bound::Span(2 * limit))
        }
        _ => {
            let terms = Terms::sliding_counter(units, span).unwrap();
            (terms, Bound::Window(limit, (2 * limit).saturating_sub(1)))
        }
    }
}

/// Whether all spans and windows of what passed have no more than they may.
fn holds(passed: &[(u128, u64)], bound: Bound, period: u128) -> bool {
    let from = |start: usize| {
        let mut sum = 0;
        passed[start..].iter().map(move |(at, units)| {
            sum += units;
            (at - passed[start].0, sum)
        })
    };
    let in_spans = |limit: u64| {
        (0..passed.len()).all(|start| from(start).all(|(span, sum)| period <= span || sum <= limit))
    };
    match bound {
        Bound::Span(limit) => in_spans(limit),
        Bound::Drain(burst, rate) => (0..passed.len()).all(|start| {
            from(start).all(|(span, sum)| {
                u128::from(sum) <= u128::from(burst) + u128::from(rate) * span / period
            })
        }),
        Bound::Window(limit, span) => {
            let window = |at: u128| at / period;
            let fits = |(at, _): &(u128, u64)| {
                let same = passed.iter().filter(|(other, _)| window(*other) == window(*at));
                same.map(|(_, units)| units).sum::<u64>() <= limit
            };
            in_spans(span) && passed.iter().all(fits)
        }
    }
}

#[test]
fn no_window_of_any_algorithm_has_more_than_its_bound() {
    let mut dice = dice(6);
    let (mut passed_at_all, mut refused) = (0_u64, 0_u64);
    for case in 0..CASES {
        // Most are no whole number of periods per unit.
        let period = dice.pick(&[1_000_000, 1_000_003, 10_000_000_000, 7_000_000_001]);
        let (terms, bound) = terms(case % 5, &mut dice, period);
        let mut now = u128::from(dice.below(period));
        let mut counter = RateCounter::fresh(terms, nanos(now), Epoch::NONE);
        let mut passed = Vec::new();
        let mut fits = None;
        for _ in 0..USES {
            let wait = match dice.below(8) {
                0 | 1 => 0,
                2 => 1,
                3 => dice.below(period / 2),
                4 => dice.below(2 * period),
                _ => 0,
            };
            now += u128::from(wait);
            // To the edge at which there is room again, and just before it.
            if let Some(at) = fits.take().filter(|_| dice.below(2) == 0) {
                now = now.max(at - u128::from(dice.below(2)));
            }
            counter = counter.under_own(nanos(now));
            let units = 1 + dice.below(3);
            let cost = Units::new(units).unwrap();
            let Limit::Finite(left) = counter.remaining() else { panic!("it is limited") };
            if cost <= left {
                counter.charge(cost);
                passed.push((now, units));
            } else {
                refused += 1;
                fits = counter.first_fit(cost).map(|at| at.nanos());
            }
        }
        passed_at_all += u64::try_from(passed.len()).unwrap();
        assert!(holds(&passed, bound, period.into()), "{case}: {bound:?} per {period}: {passed:?}");
    }
    assert!(CASES < passed_at_all && CASES < refused, "{passed_at_all} passed, {refused} refused");
}

/// A bucket that is asked again the instant it may: unit after unit passes when its share of the
/// period is over, rounded up once and not added up. (A bucket of one is empty by then, and what
/// comes a part of a nanosecond late begins there.)
#[test]
fn a_bucket_does_not_drift() {
    let period = 10_000_000_000_u64;
    for (rate, burst) in [(3, 2), (7, 2), (1_000, 5), (9_999_999_967, 2)] {
        let terms = Terms::gcra(PositiveUnits::new(rate).unwrap(), Duration::from_nanos(period));
        let terms = terms.unwrap().with_burst(Limit::Finite(Units::new(burst).unwrap()));
        let mut counter = RateCounter::fresh(terms, nanos(0), Epoch::NONE);
        for passed in 0..2_000_u64 {
            let due = u128::from(passed.saturating_sub(burst - 1)) * u128::from(period);
            let due = due.div_ceil(rate.into());
            let at = counter.first_fit(Units::ONE).unwrap();
            assert_eq!(at.nanos(), due, "unit {passed} of {rate}");
            counter = counter.under_own(at);
            assert_ne!(counter.remaining(), Limit::Finite(Units::ZERO));
            counter.charge(Units::ONE);
        }
    }
}
