//! Makes a failing case small: fewer clients, fewer faults, fewer commands.
//!
//! Delta debugging (Zeller and Hildebrandt, IEEE TSE 2002): leave out halves, then quarters, down
//! to single things, and keep whatever still breaks the same rule. Because the luck of one thing
//! does not depend on the others (see [`crate::rng`]), most of a case can go without a change to
//! what is left.
//!
//! Invariant: what comes out breaks the rule that went in. It ends, after so many runs or when the
//! caller says that the time is over, with the smallest case so far.

use crate::case::{Case, Episode, Instant, SECOND, Step};

/// Runs of one shrinking, at most.
const RUNS_MAX: u32 = 20_000;

/// See the [module](self).
pub struct Shrinking<'a> {
    /// Whether a case breaks the rule, and when.
    pub fails: &'a mut dyn FnMut(&Case) -> Option<Instant>,
    /// Whether there is time left.
    pub go_on: &'a dyn Fn() -> bool,
    runs: u32,
}

impl std::fmt::Debug for Shrinking<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shrinking").field("runs", &self.runs).finish_non_exhaustive()
    }
}

impl<'a> Shrinking<'a> {
    /// One that has not begun.
    pub fn new(
        fails: &'a mut dyn FnMut(&Case) -> Option<Instant>,
        go_on: &'a dyn Fn() -> bool,
    ) -> Self {
        Self { fails, go_on, runs: 0 }
    }

    /// How many cases were tried.
    #[must_use]
    pub const fn runs(&self) -> u32 {
        self.runs
    }

    /// Shrinks a case that fails.
    pub fn shrink(&mut self, case: &Case) -> Case {
        let mut best = case.clone();
        if let Some(at) = self.tries(case) {
            self.cut_after(&mut best, at);
        }
        loop {
            let before = size(&best);
            self.drop_clients(&mut best);
            self.drop_faults(&mut best);
            self.drop_steps(&mut best);
            self.drop_commands(&mut best);
            self.simplify(&mut best);
            if size(&best) == before || !self.has_time() {
                return best;
            }
        }
    }

    fn has_time(&self) -> bool {
        self.runs < RUNS_MAX && (self.go_on)()
    }

    fn tries(&mut self, case: &Case) -> Option<Instant> {
        if !self.has_time() {
            return None;
        }
        self.runs = self.runs.saturating_add(1);
        (self.fails)(case)
    }

    /// Takes a smaller case if it fails too.
    fn takes(&mut self, best: &mut Case, smaller: Case) -> bool {
        let fails = smaller != *best && self.tries(&smaller).is_some();
        if fails {
            *best = smaller;
        }
        fails
    }

    /// What comes after the failure did not cause it.
    fn cut_after(&mut self, best: &mut Case, at: Instant) {
        let mut smaller = best.clone();
        smaller.steps.retain(|step| step.at <= at);
        smaller.faults.retain(|episode| episode.from <= at);
        self.takes(best, smaller);
    }

    fn drop_clients(&mut self, best: &mut Case) {
        let mut clients: Vec<u64> = best.steps.iter().map(|step| step.client).collect();
        clients.sort_unstable();
        clients.dedup();
        let all = best.clone();
        self.drop_some(clients, best, |kept| {
            let mut smaller = all.clone();
            smaller.steps.retain(|step| kept.contains(&step.client));
            smaller
        });
    }

    fn drop_faults(&mut self, best: &mut Case) {
        let all = best.clone();
        self.drop_some(best.faults.clone(), best, |kept: &[Episode]| Case {
            faults: kept.to_vec(),
            ..all.clone()
        });
    }

    fn drop_steps(&mut self, best: &mut Case) {
        let all = best.clone();
        self.drop_some(best.steps.clone(), best, |kept: &[Step]| Case {
            steps: kept.to_vec(),
            ..all.clone()
        });
    }

    /// Commands of lists.
    fn drop_commands(&mut self, best: &mut Case) {
        for place in 0..best.steps.len() {
            let mut command = 0;
            loop {
                let mut smaller = best.clone();
                let Some(step) = smaller.steps.get_mut(place) else { break };
                if step.commands.len() <= 1 || step.commands.len() <= command {
                    break;
                }
                step.commands.remove(command);
                if !self.takes(best, smaller) {
                    command = command.saturating_add(1);
                }
            }
        }
    }

    /// Fewer nodes, no sweeper, an earlier end, the plain mode of a step.
    fn simplify(&mut self, best: &mut Case) {
        for nodes in 1..best.settings.nodes {
            let mut smaller = best.clone();
            smaller.settings.nodes = nodes;
            if self.takes(best, smaller) {
                break;
            }
        }
        let mut smaller = best.clone();
        smaller.settings.sweep = 0;
        self.takes(best, smaller);
        let steps = best.steps.iter().map(|step| step.at);
        let last = steps.chain(best.faults.iter().map(|episode| episode.until)).max();
        let mut smaller = best.clone();
        smaller.settings.heal =
            best.settings.heal.min(last.unwrap_or_default().saturating_add(SECOND));
        self.takes(best, smaller);
        for place in 0..best.steps.len() {
            let mut smaller = best.clone();
            let Some(step) = smaller.steps.get_mut(place) else { break };
            (step.dry_run, step.elsewhere) = (false, false);
            self.takes(best, smaller);
        }
    }

    /// Leaves out of a list what can be left out.
    fn drop_some<T: Clone>(
        &mut self,
        mut list: Vec<T>,
        best: &mut Case,
        with: impl Fn(&[T]) -> Case,
    ) {
        let mut chunk = list.len();
        while 0 < chunk {
            let mut from = 0;
            while from < list.len() && self.has_time() {
                let mut kept = list.clone();
                kept.drain(from..from.saturating_add(chunk).min(list.len()));
                if self.takes(best, with(&kept)) {
                    list = kept;
                } else {
                    from = from.saturating_add(chunk);
                }
            }
            chunk = chunk.checked_div(2).unwrap_or_default();
        }
    }
}

/// How large a case is: smaller in any way is smaller.
fn size(case: &Case) -> (usize, usize, usize, u64, u64) {
    let commands = case.steps.iter().map(|step| step.commands.len()).sum();
    let settings = &case.settings;
    (case.steps.len(), commands, case.faults.len(), settings.nodes, settings.heal)
}
