//! `tickets.expire`: writes down what time has done. No answer depends on it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Close, Status, Ticket, TicketRejection};
use crate::{Command, Draft, Key, RecordId, Timestamp};

/// Tickets in one command.
pub(super) const IDS_MAX: usize = 100;

/// Stores tickets that are past their time as expired.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Expire {
    /// Which ones: 1 to 100.
    pub ids: Vec<Key>,
}

/// What became of each.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Expired {
    /// Those that are stored as expired now and were not before.
    pub expired: Vec<Key>,
    /// The others.
    pub skipped: Vec<Skipped>,
}

/// A ticket that was left alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Skipped {
    /// Which one.
    pub id: Key,
    /// What it is; absent if there is no such ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

impl Command for Expire {
    const NAME: &'static str = "tickets.expire";
    type Reply = Expired;
    type Rejection = TicketRejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<Expired, TicketRejection> {
        if self.ids.is_empty() || IDS_MAX < self.ids.len() {
            let reason = "names 1 to 100 tickets";
            return Err(TicketRejection::InvalidRequest { field: "ids", reason });
        }
        let (mut due, mut skipped) = (Vec::new(), Vec::new());
        let mut named = BTreeSet::new();
        for id in self.ids.iter().filter(|id| named.insert(*id)) {
            let ticket = draft.get::<Ticket>(&RecordId::from(id));
            let stored = ticket.as_ref().map(|ticket| ticket.status);
            match ticket {
                Some(ticket) if Some(ticket.effective(now)) != stored => {
                    due.push((id.clone(), ticket));
                }
                Some(_) | None => skipped.push(Skipped { id: id.clone(), status: stored }),
            }
        }
        if due.is_empty() {
            return Err(TicketRejection::NothingToExpire {});
        }

        // Past here it succeeds.
        let mut expired = Vec::with_capacity(due.len());
        for (id, ticket) in due {
            let closed = Some(Close { at: ticket.expires_at, by: None, reason: None });
            let ticket = Ticket { status: Status::Expired, closed, ..(*ticket).clone() };
            draft.put(&RecordId::from(&id), ticket);
            expired.push(id);
        }
        Ok(Expired { expired, skipped })
    }
}
