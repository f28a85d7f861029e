//! The open holds on one quota or counter.
//!
//! Invariant: an entry counts while `now < expires_at`, written or not; those that ran out are
//! dropped when the record is next written. Expiry so needs no command.

use serde::{Deserialize, Serialize};

use crate::{Key, Timestamp, Units};

#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
struct OpenHold {
    id: Key,
    units: Units,
    expires_at: Timestamp,
}

impl OpenHold {
    fn is_open(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }
}

/// See the [module](self). In the order in which they were made.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub(super) struct OpenHolds(Vec<OpenHold>);

impl OpenHolds {
    pub(super) const NONE: Self = Self(Vec::new());

    /// When the last of them ends, those that ran out already included.
    pub(super) fn last_end(&self) -> Option<Timestamp> {
        self.0.iter().map(|hold| hold.expires_at).max()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn open(&self, now: Timestamp) -> impl Iterator<Item = &OpenHold> {
        self.0.iter().filter(move |hold| hold.is_open(now))
    }

    pub(super) fn held(&self, now: Timestamp) -> Units {
        sum(self.open(now).map(|hold| hold.units))
    }

    pub(super) fn count(&self, now: Timestamp) -> usize {
        self.open(now).count()
    }

    pub(super) fn ends(&self, now: Timestamp) -> impl Iterator<Item = Timestamp> {
        self.open(now).map(|hold| hold.expires_at)
    }

    pub(super) fn add(&mut self, id: Key, units: Units, expires_at: Timestamp) {
        self.0.push(OpenHold { id, units, expires_at });
    }

    /// Ends a hold; gives what it held, 0 if it is none of these.
    pub(super) fn remove(&mut self, id: &Key) -> Units {
        let held = sum(self.0.iter().filter(|hold| hold.id == *id).map(|hold| hold.units));
        self.0.retain(|hold| hold.id != *id);
        held
    }

    pub(super) fn extend(&mut self, id: &Key, expires_at: Timestamp) {
        for hold in self.0.iter_mut().filter(|hold| hold.id == *id) {
            hold.expires_at = expires_at;
        }
    }

    pub(super) fn prune(&mut self, now: Timestamp) {
        self.0.retain(|hold| hold.is_open(now));
    }

    /// Since when how much is held, from `now` on, if nobody does anything.
    fn steps(&self, now: Timestamp) -> Vec<(Timestamp, Units)> {
        let mut open: Vec<&OpenHold> = self.open(now).collect();
        open.sort_by_key(|hold| hold.expires_at);
        let mut held = self.held(now);
        let mut steps = vec![(now, held)];
        for hold in open {
            held = held.checked_sub(hold.units).expect("what is held is a sum with it");
            match steps.last_mut() {
                Some((since, last)) if *since == hold.expires_at => *last = held,
                Some(_) | None => steps.push((hold.expires_at, held)),
            }
        }
        steps
    }

    /// The first instant from `now` on at which `cost` more units fit below `limit`. `falls(room)`
    /// is the first instant from `now` on at which no more than `room` are counted: counts and
    /// holds only fall with time, so what fits once fits ever after.
    pub(super) fn first_fit(
        &self,
        now: Timestamp,
        (limit, cost): (Units, Units),
        falls: impl Fn(Units) -> Option<Timestamp>,
    ) -> Option<Timestamp> {
        let steps = self.steps(now);
        let fit = |held: Units| -> Option<Timestamp> {
            falls(limit.checked_sub(held.checked_add(cost)?)?)
        };
        // Later steps leave more room, so the count is low enough earlier: the answer lies where
        // the one meets the other.
        let meets = steps.partition_point(|&(since, held)| match fit(held) {
            Some(at) => since < at,
            None => true,
        });
        let at_step = steps.get(meets).map(|&(since, _)| since);
        let before = meets.checked_sub(1).and_then(|index| steps.get(index));
        let in_step = before.and_then(|&(_, held)| fit(held));
        match (at_step, in_step) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, other) => one.or(other),
        }
    }
}

fn sum(units: impl Iterator<Item = Units>) -> Units {
    units.fold(Units::ZERO, |sum, units| {
        sum.checked_add(units).expect("used + held never passed the largest limit")
    })
}
