//! Which situations a run has reached: a generator that never gets anywhere proves nothing.

use std::collections::BTreeMap;

/// Situations that a run of many seeds must reach, each at least once.
pub const REQUIRED: &[&str] = &[];

/// How often each situation was reached.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Situations(BTreeMap<&'static str, u64>);

impl Situations {
    /// It was reached once more.
    pub fn reached(&mut self, situation: &'static str) {
        let count = self.0.entry(situation).or_default();
        *count = count.saturating_add(1);
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        for (situation, more) in &other.0 {
            let count = self.0.entry(situation).or_default();
            *count = count.saturating_add(*more);
        }
    }

    /// How often it was reached.
    #[must_use]
    pub fn count(&self, situation: &str) -> u64 {
        self.0.get(situation).copied().unwrap_or_default()
    }

    /// Those that were reached, in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(situation, count)| (*situation, *count))
    }
}
