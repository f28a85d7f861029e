//! How much was tried: a campaign that found nothing says how hard it looked.
//!
//! Invariant: everything is counted from the history, so that a count is never of something that a
//! checker did not see.

use std::collections::{BTreeMap, BTreeSet};

use bellpunch_check::history::{History, Line};
use serde::{Deserialize, Serialize};

use crate::case::FaultKind;

/// See the [module](self).
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Requests that clients sent, and that the network doubled.
    pub sent: u64,
    /// Of these, with a key that had been sent before.
    pub retried: u64,
    /// Accepted for the first time.
    pub accepted: u64,
    /// Told again from the record of a key.
    pub replayed: u64,
    /// Rejected.
    pub rejected: u64,
    /// Reads that came back.
    pub reads: u64,
    /// Certainly without effect.
    pub errors: u64,
    /// Nobody was told.
    pub unknown: u64,
    /// Keys whose outcome was asked for, and told, in the end.
    pub resolved: u64,
    /// Processes that were killed, and started again.
    pub crashes: u64,
    /// Faults that began, by kind.
    pub faults: BTreeMap<String, u64>,
    /// Commits that the store applied.
    pub commits: u64,
    /// Histories that were written down.
    pub histories: u64,
    /// Of these, those of which every call was explained, or a violation found.
    pub decided: u64,
}

fn more(count: &mut u64) {
    *count = count.saturating_add(1);
}

impl Counts {
    /// What is in a history.
    #[must_use]
    pub fn of(history: &History) -> Self {
        let mut counts = Self { histories: 1, ..Self::default() };
        let mut keys = BTreeSet::new();
        let crash = format!("{:?}", FaultKind::Crash);
        for line in &history.lines {
            match line {
                Line::Invoke(invoke) => {
                    more(&mut counts.sent);
                    if let Some(key) = &invoke.key
                        && !keys.insert((&invoke.partition, key))
                    {
                        more(&mut counts.retried);
                    }
                }
                Line::Accepted(accepted) if accepted.replayed => more(&mut counts.replayed),
                Line::Accepted(_) => more(&mut counts.accepted),
                Line::Rejected(_) => more(&mut counts.rejected),
                Line::Read(_) => more(&mut counts.reads),
                Line::Error(_) => more(&mut counts.errors),
                Line::Unknown(_) => more(&mut counts.unknown),
                Line::Resolved(_) => more(&mut counts.resolved),
                Line::Fault(note) => {
                    let words = note.text.strip_prefix("begins: ");
                    if let Some(fault) = words.and_then(|words| words.split(' ').next()) {
                        if fault == crash {
                            more(&mut counts.crashes);
                        }
                        more(counts.faults.entry(fault.to_owned()).or_default());
                    }
                }
                Line::Record(_) | Line::Floor(_) | Line::Entry(_) | Line::Note(_) => {}
            }
        }
        counts
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in [
            (&mut self.sent, other.sent),
            (&mut self.retried, other.retried),
            (&mut self.accepted, other.accepted),
            (&mut self.replayed, other.replayed),
            (&mut self.rejected, other.rejected),
            (&mut self.reads, other.reads),
            (&mut self.errors, other.errors),
            (&mut self.unknown, other.unknown),
            (&mut self.resolved, other.resolved),
            (&mut self.crashes, other.crashes),
            (&mut self.commits, other.commits),
            (&mut self.histories, other.histories),
            (&mut self.decided, other.decided),
        ] {
            *mine = mine.saturating_add(theirs);
        }
        for (fault, theirs) in &other.faults {
            let mine = self.faults.entry(fault.clone()).or_default();
            *mine = mine.saturating_add(*theirs);
        }
    }
}
