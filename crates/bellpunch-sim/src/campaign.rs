//! Many seeds, on several threads, added up.
//!
//! Invariant: what comes out depends on the plan alone, not on how many threads there are or which
//! of them is faster. Outcomes are kept by seed and added up in order of it; if a campaign stops at
//! the first failure, that is the failure of the lowest seed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use serde::{Deserialize, Serialize};

use crate::case::{Case, Instant};
use crate::counts::Counts;
use crate::quiet::WORLD;
use crate::run::{Report, run};
use crate::situations::{About, required};
use crate::trace::Trace;
use crate::{Violation, generate, steer};

/// What makes cases from seeds.
type Generate = fn(u64) -> Case;

/// All generators; by seed, [`ALL`] takes turns with them, and [`BOTH`] with the first two.
const GENERATORS: &[(&str, Generate)] =
    &[("random", generate::random), ("steered", steer::steered), (MONEY, money)];
/// Seeds from which on every required situation has to be reached.
pub const SITUATIONS_FROM: u64 = 1_500;
/// Failures that are kept with their text.
const FAILURES_MAX: usize = 1_000;

/// The name that stands for all generators in turn.
pub const ALL: &str = "all";
/// The name that stands for the first two in turn: all that is not about a book.
pub const BOTH: &str = "both";
/// The name of the one about a book.
pub const MONEY: &str = "money";

/// Of the seeds about money one in so many is a plot.
const PLOT_OF: u64 = 4;

/// A case about money: mostly anything, sometimes a plot. As this generator has every third seed in
/// turns of all, the choice rests on the threes.
fn money(seed: u64) -> Case {
    if seed.div_euclid(3).checked_rem(PLOT_OF) == Some(0) {
        return steer::book(seed, MONEY);
    }
    generate::money(seed)
}

/// The names of generators.
pub fn generators() -> impl Iterator<Item = &'static str> {
    GENERATORS.iter().map(|(name, _)| *name).chain([BOTH, ALL])
}

/// What the cases of a generator are about.
#[must_use]
pub fn about(generator: &str) -> About {
    match generator {
        ALL => About::All,
        MONEY => About::Money,
        _ => About::Others,
    }
}

/// The case of a seed, if there is a generator of that name.
///
/// ```
/// let case = bellpunch_sim::campaign::generate("random", 7).expect("there is one");
/// assert_eq!(case.seed, 7);
/// assert!(bellpunch_sim::campaign::generate("kind", 7).is_none());
/// ```
#[must_use]
pub fn generate(generator: &str, seed: u64) -> Option<Case> {
    let in_turn = |of: u64| {
        let turn = seed.checked_rem(of).and_then(|turn| usize::try_from(turn).ok());
        turn.and_then(|turn| GENERATORS.get(turn))
    };
    let chosen = match generator {
        ALL => in_turn(3),
        BOTH => in_turn(2),
        _ => GENERATORS.iter().find(|(name, _)| *name == generator),
    };
    chosen.map(|(_, make)| make(seed))
}

/// Whether to go on after a failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum After {
    /// All seeds are run.
    GoOn,
    /// No seed above the first that failed is.
    Stop,
}

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The first seed.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// Which generator.
    pub generator: String,
    /// What is wrong with the store; empty: nothing.
    pub defect: String,
    /// The bug that is planted; empty: none.
    pub planted: &'static str,
    /// How many threads.
    pub threads: usize,
    /// How many of the seeds run twice.
    pub twice: u64,
    /// Whether to go on after a failure.
    pub after: After,
}

/// A seed that failed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// Which.
    pub seed: u64,
    /// What made its case.
    pub generator: String,
    /// What was broken.
    pub rule: String,
    /// What happened.
    pub text: String,
    /// When.
    pub at: Instant,
}

/// What came of many seeds.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// How many were run.
    pub seeds: u64,
    /// How many were run twice, with equal traces.
    pub twice: u64,
    /// How many failed.
    pub failed: u64,
    /// How much was tried.
    pub counts: Counts,
    /// How often each situation was reached.
    pub situations: BTreeMap<String, u64>,
    /// How many failed, by rule.
    pub rules: BTreeMap<String, u64>,
    /// Those that failed: the first of them.
    pub failures: Vec<Failure>,
}

impl Totals {
    /// Adds those of other seeds.
    pub fn add(&mut self, other: Self) {
        self.seeds = self.seeds.saturating_add(other.seeds);
        self.twice = self.twice.saturating_add(other.twice);
        self.failed = self.failed.saturating_add(other.failed);
        self.counts.add(&other.counts);
        for (mine, theirs) in
            [(&mut self.situations, other.situations), (&mut self.rules, other.rules)]
        {
            for (name, count) in theirs {
                let sum = mine.entry(name).or_default();
                *sum = sum.saturating_add(count);
            }
        }
        self.failures.extend(other.failures);
        self.failures.sort_by_key(|failure| failure.seed);
        self.failures.truncate(FAILURES_MAX);
    }

    /// Situations that had to be reached by a generator, and were not.
    #[must_use]
    pub fn missing(&self, generator: &str) -> Vec<&'static str> {
        let reached = |name: &str| self.situations.get(name).is_some_and(|count| 0 < *count);
        required(about(generator)).filter(|name| !reached(name)).collect()
    }
}

/// Does something in a thread of its own, which is quiet and has a bug planted in it.
///
/// # Panics
/// If the machine has no room for a thread, or `work` panics.
pub fn apart<T: Send>(planted: &'static str, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let named = thread::Builder::new().name(WORLD.to_owned());
        let work = || {
            plant(planted);
            work()
        };
        let handle = named.spawn_scoped(scope, work).expect("there is room for a thread");
        handle.join().expect("what happens in a world is caught there")
    })
}

/// Chooses the bug of this thread.
fn plant(bug: &'static str) {
    #[cfg(feature = "planted")]
    bellpunch::planted::choose(bug);
    let _ = bug;
}

/// Runs a plan.
///
/// # Panics
/// If there is no such generator, or no room for a thread.
#[must_use]
pub fn campaign(plan: &Plan) -> Totals {
    let next = AtomicU64::new(0);
    let last = AtomicU64::new(plan.count);
    let outcomes = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for number in 0..plan.threads.max(1) {
            let work = || {
                plant(plan.planted);
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    if last.load(Ordering::Relaxed) <= place {
                        break;
                    }
                    let outcome = one(plan, place);
                    if 0 < outcome.failed && plan.after == After::Stop {
                        last.fetch_min(place.saturating_add(1), Ordering::Relaxed);
                    }
                    let mut all = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
                    all.insert(place, outcome);
                }
            };
            let named = thread::Builder::new().name(format!("{WORLD} {number}"));
            let _ = named.spawn_scoped(scope, work).expect("there is room for a thread");
        }
    });
    let last = last.into_inner();
    let mut totals = Totals::default();
    let outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (_, outcome) in outcomes.into_iter().filter(|(place, _)| *place < last) {
        totals.add(outcome);
    }
    totals
}

/// One seed, as totals.
fn one(plan: &Plan, place: u64) -> Totals {
    let seed = plan.first.wrapping_add(place);
    let mut case = generate(&plan.generator, seed).expect("the generator was looked up before");
    case.settings.defect.clone_from(&plan.defect);
    let mut report = run(&case, Trace::default());
    let twice = place < plan.twice && is_equal_again(&case, &mut report);
    Totals { twice: u64::from(twice), ..totals_of(&case, &report) }
}

/// What came of one run.
#[must_use]
pub fn totals_of(case: &Case, report: &Report) -> Totals {
    let mut totals = Totals {
        seeds: 1,
        failed: u64::from(!report.violations.is_empty()),
        counts: report.counts.clone(),
        ..Totals::default()
    };
    for (name, count) in report.situations.iter() {
        totals.situations.insert(name.to_owned(), count);
    }
    if let Some(Violation { rule, text, at }) = report.violations.first().cloned() {
        totals.rules.insert(rule.to_owned(), 1);
        let generator = case.generator.clone();
        totals.failures.push(Failure {
            seed: case.seed,
            generator,
            rule: rule.to_owned(),
            text,
            at,
        });
    }
    totals
}

/// Runs a case again; that its trace differs is a violation of its own.
pub fn is_equal_again(case: &Case, report: &mut Report) -> bool {
    let difference = differs(case, report);
    let equal = difference.is_none();
    report.violations.extend(difference);
    equal
}

/// The first line in which a second run differs.
fn differs(case: &Case, first: &Report) -> Option<Violation> {
    let again = run(case, Trace::default());
    if again.hash == first.hash && again.violations == first.violations {
        return None;
    }
    let (one, two) = (run(case, Trace::kept()), run(case, Trace::kept()));
    let (one, two) = (one.trace.unwrap_or_default(), two.trace.unwrap_or_default());
    let text = one.lines().zip(two.lines()).enumerate().find(|(_, (one, two))| one != two);
    let text = match text {
        Some((line, (one, two))) => format!("line {line}: {one}\nand the second time: {two}"),
        None if one == two => "the third and the fourth run were equal again".to_owned(),
        None => "one trace is longer than the other".to_owned(),
    };
    Some(Violation { rule: "deterministic", text, at: 0 })
}
