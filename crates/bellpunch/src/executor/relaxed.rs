//! What is told before it is durable: uses of rate limits whose policy says `durability = relaxed`.
//!
//! Invariant: each such answer says that it is not durable. Only where nobody else writes: there a use
//! that was decided is lost if the store fails or the machine does, and in no other way. One that
//! passed goes on with its commit; one that was refused is over. Nothing is told so while a commit has
//! been on its way for long: what a crash can lose is what was told in the second before it.

use bellpunch_core::{Duration, Timestamp, is_relaxed};
use bellpunch_store::Sharing;

use super::Turn;
use super::answer::Prepared;
use super::batch::Waiting;
use super::flight::Flight;
use super::lane::Lane;
use crate::{AnyOutcome, Error, ErrorKind};

/// While a commit is on its way for longer, nothing is told early. Half a second: what is told until
/// then is in the next commit at the latest, which has as long.
const FLIGHT_MAX: Duration = Duration::from_nanos(500_000_000);

impl Lane {
    /// Tells an answer that need not be durable. Gives back what has to be committed.
    pub(super) fn tell_early(
        &mut self,
        (mut waiting, mut prepared): (Waiting, Prepared),
        turn: &mut Turn<'_>,
    ) -> Option<(Waiting, Prepared)> {
        let may = turn.rules.sharing == Sharing::Exclusive
            && !waiting.gone
            && prepared.outcome.is_ok()
            && self.flights.iter().all(|flight| is_young(flight, turn.now))
            && is_relaxed(&mut self.view, &waiting.request);
        if !may {
            return Some((waiting, prepared));
        }
        let told = Err(Error::new(ErrorKind::Unknown, "it was told before it was durable"));
        let mut outcome = std::mem::replace(&mut prepared.outcome, told);
        match &mut outcome {
            Ok(AnyOutcome::Accepted(receipt)) => receipt.durable = false,
            Ok(AnyOutcome::Rejected(refusal)) => refusal.durable = false,
            Err(_) => {}
        }
        if prepared.touched.writes.is_empty() {
            self.answer(&waiting, outcome, turn.desk);
            return None;
        }
        turn.desk.reply(waiting.caller, outcome);
        waiting.gone = true;
        Some((waiting, prepared))
    }
}

fn is_young(flight: &Flight, now: Timestamp) -> bool {
    flight.is_on_course() && flight.age(now).is_some_and(|age| age <= FLIGHT_MAX)
}
