//! The open holds of one target.
//!
//! Invariant: a hold counts while `now < expires_at`, swept or not.

use super::value::INSTANT_MAX;
use crate::instant::Nanos;

/// What one hold holds of a target.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Open {
    pub(super) hold: String,
    pub(super) units: i128,
    pub(super) expires_at: Nanos,
}

/// The holds of one target that were not ended by a command.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Holds(Vec<Open>);

impl Holds {
    fn open(&self, at: Nanos) -> impl Iterator<Item = &Open> {
        self.0.iter().filter(move |open| at < open.expires_at)
    }

    /// Units held at an instant.
    pub(super) fn held(&self, at: Nanos) -> i128 {
        self.open(at).map(|open| open.units).sum()
    }

    /// How many are open at an instant.
    pub(super) fn count(&self, at: Nanos) -> usize {
        self.open(at).count()
    }

    /// When the first that is open ends.
    pub(super) fn first_end(&self, at: Nanos) -> Option<Nanos> {
        self.open(at).map(|open| open.expires_at).min().filter(|end| *end <= INSTANT_MAX)
    }

    pub(super) fn add(&mut self, open: Open) {
        self.0.push(open);
    }

    pub(super) fn remove(&mut self, hold: &str) {
        self.0.retain(|open| open.hold != hold);
    }

    pub(super) fn extend(&mut self, hold: &str, expires_at: Nanos) {
        for open in self.0.iter_mut().filter(|open| open.hold == hold) {
            open.expires_at = expires_at;
        }
    }
}
