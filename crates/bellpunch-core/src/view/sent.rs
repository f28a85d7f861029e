//! What batches on their way to the store wrote, and which commands have to wait for them.
//!
//! Invariant: what a batch sent counts as committed until it lands or is taken back; then the record is
//! as that batch left it, or as it was before.

use super::{Place, State, View};
use crate::RecordKey;
use crate::draft::IsWritten;

/// A record that a batch on its way to the store wrote.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    batch: u64,
    place: Place,
    /// As it was before.
    before: State,
    /// Whether a command may read it again.
    cached: bool,
}

impl View {
    /// A batch is on its way to the store: what it wrote counts as committed for the next one, until
    /// it [has landed](Self::land) or is [taken back](Self::take_back).
    pub fn send<'k>(&mut self, batch: u64, written: impl IntoIterator<Item = &'k RecordKey>) {
        for key in written {
            let Some((place, pending)) = self.take_pending(key) else { continue };
            if pending.purge {
                self.sent_purges.push((batch, key.kind.clone()));
            }
            let cached = pending.value.as_ref().is_none_or(|value| value.is_cached());
            let slot = self.slot_mut(place);
            slot.sent = batch;
            let before = std::mem::replace(&mut slot.committed, State::after(pending));
            self.sent.push(Sent { batch, place, before, cached });
        }
        self.close();
    }

    /// Whether a batch that is on its way purges records. What reads of absent ones give changes by
    /// that, so nothing is to be decided meanwhile.
    #[must_use]
    pub const fn sends_purges(&self) -> bool {
        !self.sent_purges.is_empty()
    }

    /// The store took a batch that was on its way. What no command reads again
    /// ([`Record::CACHED`](crate::Record::CACHED)) is dropped, unless the next batch rests on it.
    pub fn land(&mut self, batch: u64) {
        for (_, kind) in self.sent_purges.extract_if(.., |(of, _)| *of == batch).collect::<Vec<_>>()
        {
            self.purge(kind);
        }
        for Sent { place, cached, .. } in self.take_sent(batch) {
            let slot = self.slot_mut(place);
            slot.sent = 0;
            let rests_on_it = slot.pending.is_some() || slot.batch != batch;
            if !(cached || rests_on_it) {
                self.remove(place);
            }
        }
        self.end(batch);
    }

    /// The store did not take a batch that was on its way: the records are as before it. What was
    /// decided upon it is to be discarded first.
    pub fn take_back(&mut self, batch: u64) {
        self.sent_purges.retain(|(of, _)| *of != batch);
        for Sent { place, before, .. } in self.take_sent(batch) {
            let slot = self.slot_mut(place);
            (slot.committed, slot.sent) = (before, 0);
        }
        self.end(batch);
    }

    fn take_sent(&mut self, batch: u64) -> Vec<Sent> {
        if self.sent.iter().all(|sent| sent.batch == batch) {
            return std::mem::take(&mut self.sent);
        }
        self.sent.extract_if(.., |sent| sent.batch == batch).collect()
    }

    /// Begins a round in which [`decide_beside`](crate::decide_beside) may set commands aside.
    /// None is yet.
    pub fn begin_round(&mut self) {
        self.rounds = self.rounds.wrapping_add(1);
    }

    /// The number of this round. No record has 0 but one that nothing was set aside for.
    const fn round(&self) -> u64 {
        self.rounds.wrapping_add(1)
    }

    /// Whether a command has to wait that reads a record, or writes it: it is on its way to the store,
    /// or one was set aside in this round that writes it, or reads what this one would write.
    pub(crate) fn is_busy(&self, place: Place, here: IsWritten) -> bool {
        let slot = self.slot(place);
        let (round, aside) = slot.aside;
        let written = [here, aside].contains(&IsWritten::Yes);
        slot.sent != 0 || (round == self.round() && written)
    }

    /// A command that reads the record, or writes it, is set aside in this round.
    pub(crate) fn set_aside(&mut self, place: Place, here: IsWritten) {
        let now = self.round();
        let (round, aside) = &mut self.slot_mut(place).aside;
        if *round != now || here == IsWritten::Yes {
            (*round, *aside) = (now, here);
        }
    }
}
