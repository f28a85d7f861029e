//! What the store confirmed of records that it was only asked about.
//!
//! Invariant: records are confirmed together only by a batch by which the store had all of them as
//! they are here; each by itself may have been so at another time.

use super::View;
use crate::{RecordKey, Timestamp, Version};

/// From which batch to which the store is known to have had a record at a version.
#[derive(Clone, Copy, Debug)]
pub(super) struct Confirmed {
    version: Version,
    first: u64,
    last: u64,
    /// When the last was sent, and how often the clock had gone back by then.
    at: Timestamp,
    steps: u64,
}

impl View {
    /// The store has taken a batch that was sent at this instant and rests on these records at these
    /// versions.
    pub fn confirm<'k>(
        &mut self,
        (batch, at): (u64, Timestamp),
        records: impl IntoIterator<Item = (&'k RecordKey, Version)>,
    ) {
        let steps = self.clock_steps;
        for (key, version) in records {
            let Some(place) = self.find(&key.kind, &key.id) else { continue };
            let slot = self.slot_mut(place);
            let known = slot.confirmed.as_deref().copied();
            let known = known.filter(|known| known.version == version && known.steps == steps);
            let mut confirmed = Confirmed { version, first: batch, last: batch, at, steps };
            if let Some(known) = known {
                confirmed.first = known.first.min(batch);
                if batch < known.last {
                    (confirmed.last, confirmed.at) = (known.last, known.at);
                }
            }
            slot.confirmed = Some(Box::new(confirmed));
        }
    }

    /// When the last batch was sent by which the store is known to have had all of these records as
    /// they are here; `None` if there is none.
    pub fn confirmed_at<'k>(
        &self,
        records: impl IntoIterator<Item = &'k RecordKey>,
    ) -> Option<Timestamp> {
        let (mut first, mut last, mut at) = (0, u64::MAX, Timestamp::MAX);
        for key in records {
            let slot = self.found(key).filter(|slot| slot.is_told())?;
            let known = slot.confirmed.as_deref()?;
            if known.version != slot.committed.version || known.steps != self.clock_steps {
                return None;
            }
            (first, last, at) = (first.max(known.first), last.min(known.last), at.min(known.at));
        }
        (first <= last).then_some(at)
    }

    /// The clock by which records were confirmed went back: how long ago that was nobody knows.
    pub const fn clock_went_back(&mut self) {
        self.clock_steps = self.clock_steps.wrapping_add(1);
    }
}
