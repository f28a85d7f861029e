//! One record per holder and audience: the tickets that are pending, and when the last ones were
//! issued.
//!
//! Invariant: every issue with a holder writes it, whether it asks for a limit or not, so the next
//! one that does ask counts them all. Why one record: two issues of a pair conflict in it, so both
//! cannot find room for one.

use serde::{Deserialize, Serialize};

use super::{Ticket, TicketRejection};
use crate::{
    Category, Command, Draft, Duration, Key, Kind, Record, RecordId, Rejection, Timestamp,
};

/// Tickets that may be pending at once for a pair.
const PENDING_MAX: usize = 100;
/// Times of issues that are kept.
pub(super) const ISSUES_MAX: usize = 100;
/// The longest period of an issue limit, so that the record can be forgotten some day.
pub(super) const PERIOD_MAX: Duration = Duration::from_days(3_660);

/// The index record of a holder and an audience.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issues {
    pending: Vec<PendingTicket>,
    /// Oldest first.
    issued_at: Vec<Timestamp>,
}

/// A ticket that waits for its holder's answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PendingTicket {
    ticket: Key,
    expires_at: Timestamp,
}

impl Record for Issues {
    const KIND: Kind = Kind::compound("ticket_issues", 2);

    fn sweep_at(&self) -> Option<Timestamp> {
        let last = self.pending.iter().map(|pending| pending.expires_at).max();
        let Some(newest) = self.issued_at.last() else { return last };
        Some(newest.plus(PERIOD_MAX)?.max(last.unwrap_or_default()))
    }
}

fn index_id(holder: &Key, audience: &Key) -> RecordId {
    RecordId::compound(&[holder, audience])
}

impl Issues {
    /// The index of a pair as of `now`: what expired by then is not pending.
    pub(super) fn of(draft: &mut Draft<'_>, pair: (&Key, &Key), now: Timestamp) -> Self {
        let known = draft.get::<Self>(&index_id(pair.0, pair.1));
        let mut issues = known.map(|issues| (*issues).clone()).unwrap_or_default();
        issues.pending.retain(|pending| now < pending.expires_at);
        issues
    }

    pub(super) fn nothing_pending(&self) -> Result<(), TicketRejection> {
        match self.pending.first().cloned() {
            Some(PendingTicket { ticket, expires_at }) => {
                Err(TicketRejection::AlreadyPending { ticket, expires_at })
            }
            None => Ok(()),
        }
    }

    pub(super) const fn room_for_pending(&self) -> Result<(), TicketRejection> {
        if self.pending.len() < PENDING_MAX {
            return Ok(());
        }
        Err(TicketRejection::TooManyPending { max: PENDING_MAX as u64 })
    }

    /// Whether fewer than `count` were issued within `period`: an issue at `t` counts while
    /// `now < t + period`.
    pub(super) fn within_limit(
        &self,
        limit: super::IssueLimit,
        now: Timestamp,
    ) -> Result<(), TicketRejection> {
        // With the count-th newest issue out of the period, so is every older one.
        let nth = usize::from(limit.count).checked_sub(1);
        let Some(nth_newest) = nth.and_then(|nth| self.issued_at.iter().rev().nth(nth)) else {
            return Ok(());
        };
        match nth_newest.plus(limit.period_ns) {
            Some(retry_at) if retry_at <= now => Ok(()),
            retry_at => Err(TicketRejection::IssueLimitExceeded {
                retry_at,
                retry_after_ns: retry_at.and_then(|retry_at| retry_at.since(now)),
            }),
        }
    }

    pub(super) fn issue(&mut self, now: Timestamp) {
        self.issued_at.push(now);
        let surplus = self.issued_at.len().saturating_sub(ISSUES_MAX);
        self.issued_at.drain(..surplus);
    }

    pub(super) fn add_pending(&mut self, ticket: Key, expires_at: Timestamp) {
        self.pending.push(PendingTicket { ticket, expires_at });
    }

    pub(super) fn write(self, draft: &mut Draft<'_>, pair: (&Key, &Key)) {
        draft.put(&index_id(pair.0, pair.1), self);
    }

    /// Takes a ticket that is no longer pending out of its index.
    pub(super) fn answered(draft: &mut Draft<'_>, id: &Key, ticket: &Ticket, now: Timestamp) {
        let Some(holder) = &ticket.holder else { return };
        let pair = (holder, &ticket.audience);
        let mut issues = Self::of(draft, pair, now);
        issues.pending.retain(|pending| pending.ticket != *id);
        issues.write(draft, pair);
    }
}

/// Forgets index records that say nothing any more. Not on any wire.
#[derive(Clone, Debug, Serialize)]
pub struct SweepIssues {
    /// Which ones.
    pub ids: Vec<RecordId>,
}

impl Command for SweepIssues {
    const NAME: &'static str = "ticket_issues.sweep";
    type Reply = u64;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<u64, Rejection> {
        let mut due = Vec::new();
        for id in &self.ids {
            let sweep_at = draft.get::<Issues>(id).and_then(|issues| issues.sweep_at());
            if sweep_at.is_some_and(|sweep_at| sweep_at <= now) {
                due.push(id);
            }
        }
        if due.is_empty() {
            let data = serde_json::Map::new();
            return Err(Rejection { code: "nothing_to_sweep", category: Category::State, data });
        }

        // Past here it succeeds.
        for id in &due {
            draft.purge::<Issues>(id);
        }
        Ok(u64::try_from(due.len()).expect("a list is shorter than 2^64"))
    }
}
