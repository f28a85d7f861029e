//! What is told before it is durable: uses of rate limits whose policy says `durability = relaxed`.
//!
//! Invariant: each such answer says that it is not durable. Only where nobody else writes: there a use
//! that was decided is lost if the store fails or the machine does, and decided again if a commit misses
//! its deadline. One that passed goes on with its commit; one that was refused is over. Nothing is told
//! so while a commit has been on its way for long, and none after the store refused one until it takes
//! them again: what can be lost at once is what was told within a second.

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
/// For so long after the store took nothing of a commit nothing is told early, and not until another
/// one has landed then: a store that is full takes some commits and refuses others.
const DISTRUST: Duration = Duration::from_secs(10);

impl Lane {
    /// Tells an answer that need not be durable. Gives back what has to be committed.
    pub(super) fn tell_early(
        &mut self,
        (mut waiting, mut prepared): (Waiting, Prepared),
        turn: &mut Turn<'_>,
    ) -> Option<(Waiting, Prepared)> {
        let may = turn.rules.sharing == Sharing::Exclusive
            && !waiting.gone
            && self.refused_at.is_none()
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

    /// A commit has landed.
    pub(super) fn trust_again(&mut self, now: Timestamp) {
        let is_over = |at: &Timestamp| now.since(*at).is_some_and(|passed| DISTRUST <= passed);
        if self.refused_at.as_ref().is_some_and(is_over) {
            self.refused_at = None;
        }
    }
}

fn is_young(flight: &Flight, now: Timestamp) -> bool {
    flight.is_on_course() && flight.age(now).is_some_and(|age| age <= FLIGHT_MAX)
}
