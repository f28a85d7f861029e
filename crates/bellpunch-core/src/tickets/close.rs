//! `tickets.approve`, `reject`, `cancel`, `revoke`: what happens to a ticket before it is used.
//!
//! Invariant: each states the ticket's expiry as its deadline, so that none lands on a ticket that
//! expired while the commit waited.

use serde::{Deserialize, Serialize};

use super::index::Issues;
use super::{Close, Found, Status, Ticket, TicketRejection, TicketReply, accounts, put};
use crate::{Command, Draft, IfVersion, Key, Timestamp};

/// The holder consents.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Approve {
    /// Which ticket.
    pub id: Key,
    /// Who says so.
    pub holder: Key,
    /// Only at one of these versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for Approve {
    const NAME: &'static str = "tickets.approve";
    type Reply = TicketReply;
    type Rejection = TicketRejection;

    fn decide(
        &self,
        draft: &mut Draft<'_>,
        now: Timestamp,
    ) -> Result<TicketReply, TicketRejection> {
        let found = Found::find(draft, &self.id)?;
        of_holder(&found.ticket, &self.holder)?;
        found.at_version(self.if_version.as_ref())?;
        found.over(now)?;
        found.ticket.already_approved()?;
        accounts::can_hold(draft, &found.ticket, now)?;

        // Past here it succeeds.
        draft.commit_before(found.ticket.expires_at);
        Issues::answered(draft, &self.id, &found.ticket, now);
        let ticket = (*found.ticket).clone();
        let mut ticket = Ticket { status: Status::Approved, approved_at: Some(now), ..ticket };
        let money = accounts::hold_all(draft, (&self.id, &mut ticket), now);
        Ok(put(draft, (&self.id, ticket), (money, now)))
    }
}

/// The holder says no.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Reject {
    /// Which ticket.
    pub id: Key,
    /// Who says so.
    pub holder: Key,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Key>,
    /// Only at one of these versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for Reject {
    const NAME: &'static str = "tickets.reject";
    type Reply = TicketReply;
    type Rejection = TicketRejection;

    fn decide(
        &self,
        draft: &mut Draft<'_>,
        now: Timestamp,
    ) -> Result<TicketReply, TicketRejection> {
        let found = Found::find(draft, &self.id)?;
        of_holder(&found.ticket, &self.holder)?;
        found.at_version(self.if_version.as_ref())?;
        found.over(now)?;
        found.ticket.already_approved()?;

        // Past here it succeeds.
        let close = Close { at: now, by: Some(self.holder.clone()), reason: self.reason.clone() };
        end(draft, &self.id, (&found.ticket, Status::Rejected), close)
    }
}

/// Somebody who has to do with the ticket withdraws it before it is approved.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    /// Which ticket.
    pub id: Key,
    /// Its holder, audience or issuer.
    pub by: Key,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Key>,
    /// Only at one of these versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for Cancel {
    const NAME: &'static str = "tickets.cancel";
    type Reply = TicketReply;
    type Rejection = TicketRejection;

    fn decide(
        &self,
        draft: &mut Draft<'_>,
        now: Timestamp,
    ) -> Result<TicketReply, TicketRejection> {
        let found = Found::find(draft, &self.id)?;
        allowed(&found.ticket, &self.by)?;
        found.at_version(self.if_version.as_ref())?;
        found.over(now)?;
        found.ticket.already_approved()?;

        // Past here it succeeds.
        let close = Close { at: now, by: Some(self.by.clone()), reason: self.reason.clone() };
        end(draft, &self.id, (&found.ticket, Status::Cancelled), close)
    }
}

/// Somebody who has to do with the ticket withdraws it, approved or not.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// Which ticket.
    pub id: Key,
    /// Its holder, audience or issuer.
    pub by: Key,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Key>,
    /// Only at one of these versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for Revoke {
    const NAME: &'static str = "tickets.revoke";
    type Reply = TicketReply;
    type Rejection = TicketRejection;

    fn decide(
        &self,
        draft: &mut Draft<'_>,
        now: Timestamp,
    ) -> Result<TicketReply, TicketRejection> {
        let found = Found::find(draft, &self.id)?;
        allowed(&found.ticket, &self.by)?;
        found.at_version(self.if_version.as_ref())?;
        found.over(now)?;

        // Past here it succeeds.
        let close = Close { at: now, by: Some(self.by.clone()), reason: self.reason.clone() };
        end(draft, &self.id, (&found.ticket, Status::Cancelled), close)
    }
}

fn of_holder(ticket: &Ticket, holder: &Key) -> Result<(), TicketRejection> {
    if ticket.holder.as_ref() != Some(holder) {
        return Err(TicketRejection::WrongHolder {});
    }
    Ok(())
}

fn allowed(ticket: &Ticket, by: &Key) -> Result<(), TicketRejection> {
    if !ticket.knows(by) {
        return Err(TicketRejection::NotAllowed {});
    }
    Ok(())
}

/// Closes a ticket that is neither used nor over. What was set aside for it is given back.
fn end(
    draft: &mut Draft<'_>,
    id: &Key,
    (ticket, status): (&Ticket, Status),
    close: Close,
) -> Result<TicketReply, TicketRejection> {
    let now = close.at;
    let money = accounts::give_back(draft, ticket, now)?;
    draft.commit_before(ticket.expires_at);
    if ticket.status == Status::Pending {
        Issues::answered(draft, id, ticket, now);
    }
    let ticket = Ticket { status, closed: Some(close), ..ticket.clone() };
    Ok(put(draft, (id, ticket), (money, now)))
}
