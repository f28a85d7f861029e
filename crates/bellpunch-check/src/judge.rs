//! The entry: one history in, one verdict out.
//!
//! Targets whose replies carry versions are judged by the witness check, all
//! others by the black-box check.
//!
//! Invariant: *pass* means that every call was explained; a violation is named with the calls that
//! show it; whatever could not be decided is *inconclusive*, and a violation outweighs it. The same
//! history gives the same judgement, byte for byte.

use std::collections::BTreeMap;
use std::fmt;

use crate::calls::Calls;
use crate::history::History;
use crate::instant::Nanos;
use crate::model::{Call, Verdict};
use crate::{black_box, witness};

/// How many violations, and how many reasons to be undecided, are kept with their text.
pub const KEPT_MAX: usize = 32;

/// A reference model: the state of one partition.
pub trait Sequential: Clone {
    /// Does one command. A call that is rejected leaves the state as it was.
    fn apply(&mut self, call: &Call<'_>) -> Verdict;

    /// Tests what must hold in every state, for example that no more is used than the limit.
    ///
    /// # Errors
    /// With a sentence that says what does not hold.
    fn check(&self, at: Nanos) -> Result<(), String>;

    /// Whether a record of this name may go as housekeeping of any command.
    fn may_go(&self, record: &str, at: Nanos) -> bool {
        let _ = (record, at);
        false
    }

    /// Takes what housekeeping wrote.
    fn told(&mut self, versions: &crate::history::Versions, at: Nanos) {
        let _ = (versions, at);
    }

    /// Whether the model says of a record which commands write it.
    fn states(&self, record: &str) -> bool {
        let _ = record;
        true
    }

    /// Whether a record exists, `None` if the model does not say.
    fn exists(&self, record: &str) -> Option<bool> {
        let _ = record;
        None
    }
}

/// What became of a history.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict3 {
    /// Every call was explained.
    Pass,
    /// At least one rule was broken.
    Fail,
    /// It could not be decided.
    Inconclusive,
}

impl fmt::Display for Verdict3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Inconclusive => "INCONCLUSIVE",
        })
    }
}

/// A rule that was broken.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation {
    /// The name of the rule, `witness.order`.
    pub rule: &'static str,
    /// What happened, in sentences.
    pub text: String,
    /// The calls that show it.
    pub ops: Vec<u64>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.text)
    }
}

/// What was looked at.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Calls that were sent.
    pub ops: u64,
    /// Of these, accepted (replays apart).
    pub accepted: u64,
    /// Told again from the record of their key.
    pub replays: u64,
    /// Rejected.
    pub rejected: u64,
    /// Reads that came back.
    pub reads: u64,
    /// Broke without an effect.
    pub errors: u64,
    /// Nobody was told, or no end was recorded.
    pub unknown: u64,
    /// Of these, those that were shown to have had their effect, or none.
    pub unknown_resolved: u64,
    /// Left out of the order, by flag.
    pub flagged: BTreeMap<String, u64>,
    /// Partitions.
    pub partitions: u64,
    /// Records whose versions were followed.
    pub records: u64,
    /// Questions to the models.
    pub modelled: u64,
}

/// See the [module](self).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Judgement {
    /// What became of it.
    pub verdict: Verdict3,
    /// Which rules were broken: the first [`KEPT_MAX`].
    pub violations: Vec<Violation>,
    /// How many were broken.
    pub violated: u64,
    /// Why something could not be decided: the first [`KEPT_MAX`] reasons.
    pub undecided: Vec<String>,
    /// What was looked at.
    pub counts: Counts,
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.verdict)?;
        for violation in &self.violations {
            writeln!(f, "{violation}")?;
        }
        let kept = u64::try_from(self.violations.len()).unwrap_or(u64::MAX);
        let more = self.violated.saturating_sub(kept);
        if 0 < more {
            writeln!(f, "And {more} more violations.")?;
        }
        for reason in &self.undecided {
            writeln!(f, "undecided: {reason}")?;
        }
        let Counts { ops, accepted, replays, rejected, reads, errors, unknown, .. } = &self.counts;
        writeln!(
            f,
            "{ops} calls: {accepted} accepted, {replays} replayed, {rejected} rejected, {reads} \
             read, {errors} failed, {unknown} unknown ({} resolved).",
            self.counts.unknown_resolved
        )?;
        for (flag, count) in &self.counts.flagged {
            writeln!(f, "{count} flagged {flag} were left out of the order.")?;
        }
        let Counts { partitions, records, modelled, .. } = &self.counts;
        writeln!(f, "{partitions} partitions, {records} records, {modelled} questions to models.")
    }
}

/// What is being found out.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    violations: Vec<Violation>,
    violated: u64,
    undecided: Vec<String>,
    pub(crate) counts: Counts,
}

impl Findings {
    pub(crate) fn violation(&mut self, rule: &'static str, ops: Vec<u64>, text: String) {
        self.violated = self.violated.saturating_add(1);
        if self.violations.len() < KEPT_MAX {
            self.violations.push(Violation { rule, text, ops });
        }
    }

    pub(crate) fn undecided(&mut self, reason: String) {
        if self.undecided.len() < KEPT_MAX && !self.undecided.contains(&reason) {
            self.undecided.push(reason);
        }
    }

    pub(crate) const fn violated(&self) -> u64 {
        self.violated
    }

    fn judged(self) -> Judgement {
        let Self { violations, violated, undecided, counts } = self;
        let verdict = if 0 < violated {
            Verdict3::Fail
        } else if undecided.is_empty() {
            Verdict3::Pass
        } else {
            Verdict3::Inconclusive
        };
        Judgement { verdict, violations, violated, undecided, counts }
    }
}

/// Adds one.
pub(crate) const fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

/// Judges a history.
#[must_use]
pub fn judge<S: Sequential + Default>(history: &History) -> Judgement {
    let mut findings = Findings::default();
    let calls = Calls::of(history, &mut findings);
    for part in &calls.parts {
        count(&mut findings.counts.partitions);
        witness::check::<S>(part, &mut findings);
    }
    for (target, foreign) in &calls.foreign {
        black_box::check(target, foreign, &mut findings);
    }
    findings.judged()
}
