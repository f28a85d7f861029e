//! Tickets: rights that can be used once. Redemption sessions, vouchers, one-time codes.
//!
//! Invariant: a ticket reaches one of `used`, `rejected`, `cancelled` and `expired`, once, and
//! nothing leaves them. What time alone changes is derived: a stored `pending` or `approved` ticket
//! at or after `expires_at` *is* expired, for every command and read, swept or not. So state and
//! expiry are one check, on one `now`, and no answer depends on whether a sweep has run.
//!
//! To refuse a right that was still good is harmless, it costs a retry. To honour one twice, or one
//! that is over, is the mistake that must not happen: commands that rely on a ticket's time state
//! it as their commit's deadline.

mod accounts;
mod close;
mod expire;
mod index;
mod issue;
mod metadata;
mod redeem;
mod rejection;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::accounts::Accounts;
use crate::{
    AccountId, Amount, AnyCommand, Command, Draft, IfVersion, Key, Kind, Record, RecordId,
    SecretHash, Timestamp, Version,
};

pub use accounts::TicketMoney;
pub use close::{Approve, Cancel, Reject, Revoke};
pub use expire::{Expire, Expired, Skipped};
pub use index::{Issues, PendingTicket, SweepIssues};
pub use issue::{Create, IssueLimit};
pub use metadata::Metadata;
pub use redeem::Redeem;
pub use rejection::TicketRejection;

/// What became of a ticket.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// Issued; its holder has not answered.
    Pending,
    /// May be redeemed.
    Approved,
    /// Was redeemed.
    Used,
    /// Its holder said no.
    Rejected,
    /// Was withdrawn.
    Cancelled,
    /// Its time is over.
    Expired,
}

/// A ticket as it is stored. Its id is the record's.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// Whose right it is; `None` for a bearer ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    holder: Option<Key>,
    audience: Key,
    max_amount: Amount,
    partial: bool,
    status: Status,
    issued_at: Timestamp,
    issued_by: Key,
    expires_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    approved_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    accounts: Option<Accounts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    used: Option<Use>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    closed: Option<Close>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret_hash: Option<SecretHash>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata>,
}

/// That a ticket was redeemed.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Use {
    at: Timestamp,
    by: Key,
    amount: Amount,
}

/// That a ticket was rejected, cancelled or expired.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Close {
    at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<Key>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<Key>,
}

impl Record for Ticket {
    const KIND: Kind = Kind::new("tickets");

    /// When a sweep may store it as expired. A ticket itself is never removed: its id is not
    /// reused.
    fn sweep_at(&self) -> Option<Timestamp> {
        match self.status {
            Status::Pending | Status::Approved => Some(self.expires_at),
            Status::Used | Status::Rejected | Status::Cancelled | Status::Expired => None,
        }
    }
}

impl Ticket {
    /// The ticket as it is at `now`; the secret's hash is never part of it.
    #[must_use]
    pub fn view(&self, id: &Key, version: Version, now: Timestamp) -> TicketView {
        let status = self.effective(now);
        let expired = || Close { at: self.expires_at, by: None, reason: None };
        let closed = self.closed.clone();
        let closed = closed.or_else(|| (status == Status::Expired).then(expired));
        let (closed_at, closed_by, reason) =
            closed.map_or((None, None, None), |close| (Some(close.at), close.by, close.reason));
        let used = self.used.clone();
        let (used_at, used_by, amount_used) = used
            .map_or((None, None, None), |used| (Some(used.at), Some(used.by), Some(used.amount)));
        let accounts = self.accounts.as_ref();
        TicketView {
            id: id.clone(),
            holder: self.holder.clone(),
            audience: self.audience.clone(),
            max_amount: self.max_amount.clone(),
            partial: self.partial,
            debit_account: accounts.map(|accounts| accounts.debit.clone()),
            credit_account: accounts.map(|accounts| accounts.credit.clone()),
            status,
            issued_at: self.issued_at,
            issued_by: self.issued_by.clone(),
            expires_at: self.expires_at,
            approved_at: self.approved_at,
            hold: accounts.and_then(|accounts| accounts.hold.clone()),
            used_at,
            used_by,
            amount_used,
            closed_at,
            closed_by,
            reason,
            metadata: self.metadata.clone(),
            version,
        }
    }

    fn effective(&self, now: Timestamp) -> Status {
        match self.status {
            Status::Pending | Status::Approved if self.expires_at <= now => Status::Expired,
            stored @ (Status::Pending
            | Status::Approved
            | Status::Used
            | Status::Rejected
            | Status::Cancelled
            | Status::Expired) => stored,
        }
    }

    /// Why the ticket is over, if it is. One check for state and time, on one `now`.
    fn over(&self, version: Version, now: Timestamp) -> Result<(), TicketRejection> {
        let closed = self.closed.as_ref();
        let closed_at = closed.map_or(self.expires_at, |close| close.at);
        let closed_by = closed.and_then(|close| close.by.clone());
        match self.effective(now) {
            Status::Pending | Status::Approved => Ok(()),
            Status::Used => {
                let used = self.used.clone().expect("a used ticket says when and by whom");
                Err(TicketRejection::AlreadyRedeemed {
                    used_at: used.at,
                    used_by: used.by,
                    amount_used: used.amount,
                    version,
                })
            }
            Status::Rejected => Err(TicketRejection::TicketRejected { closed_at, closed_by }),
            Status::Cancelled => Err(TicketRejection::TicketCancelled { closed_at, closed_by }),
            Status::Expired => Err(TicketRejection::TicketExpired { expires_at: self.expires_at }),
        }
    }

    fn already_approved(&self) -> Result<(), TicketRejection> {
        match self.approved_at {
            Some(approved_at) => Err(TicketRejection::AlreadyApproved { approved_at }),
            None => Ok(()),
        }
    }

    /// Whether `by` is one of the three that have to do with the ticket.
    fn knows(&self, by: &Key) -> bool {
        self.holder.as_ref() == Some(by) || self.audience == *by || self.issued_by == *by
    }
}

/// A ticket as callers see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TicketView {
    /// Its id.
    pub id: Key,
    /// Whose right it is; absent for a bearer ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Key>,
    /// Who may redeem it.
    pub audience: Key,
    /// What it is good for.
    pub max_amount: Amount,
    /// Whether it may be redeemed for less.
    pub partial: bool,
    /// The account that pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debit_account: Option<AccountId>,
    /// The account that is paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit_account: Option<AccountId>,
    /// What it is now, the passing of time included.
    pub status: Status,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// By whom.
    pub issued_by: Key,
    /// Valid before this instant.
    pub expires_at: Timestamp,
    /// When its holder approved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_at: Option<Timestamp>,
    /// The hold on the account that pays, which came with that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Key>,
    /// When it was redeemed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_at: Option<Timestamp>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_by: Option<Key>,
    /// For how much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount_used: Option<Amount>,
    /// When it was rejected, cancelled, or expired: then its `expires_at`, swept or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
    /// By whom; nobody, if by time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_by: Option<Key>,
    /// Why, in the words of who closed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Key>,
    /// As it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// The version; rises with every change.
    pub version: Version,
}

/// What a ticket's command answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TicketReply {
    /// The ticket after the command.
    pub ticket: TicketView,
    /// The door made a secret. The first reply shows it beside the receipt; a replay only has this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_withheld: Option<bool>,
    /// What a command did to the accounts; of a ticket that has some.
    #[serde(flatten)]
    pub money: Option<TicketMoney>,
}

/// A ticket that was found, and where.
struct Found {
    ticket: Arc<Ticket>,
    version: Version,
}

impl Found {
    fn find(draft: &mut Draft<'_>, id: &Key) -> Result<Self, TicketRejection> {
        let record = RecordId::from(id);
        let Some(ticket) = draft.get::<Ticket>(&record) else {
            return Err(TicketRejection::TicketNotFound { id: id.clone() });
        };
        let version = draft.version::<Ticket>(&record);
        Ok(Self { ticket, version })
    }

    fn at_version(&self, wanted: Option<&IfVersion>) -> Result<(), TicketRejection> {
        match wanted {
            Some(wanted) if !wanted.allows(Some(self.version)) => {
                Err(TicketRejection::VersionMismatch { version: self.version })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn over(&self, now: Timestamp) -> Result<(), TicketRejection> {
        self.ticket.over(self.version, now)
    }
}

/// Writes a changed ticket and tells how it is now, and what was done to its accounts.
fn put(
    draft: &mut Draft<'_>,
    (id, ticket): (&Key, Ticket),
    (money, now): (Option<TicketMoney>, Timestamp),
) -> TicketReply {
    let money = money.or_else(|| ticket.accounts.is_some().then(TicketMoney::default));
    let version = draft.put(&RecordId::from(id), ticket.clone());
    TicketReply { ticket: ticket.view(id, version, now), secret_withheld: None, money }
}

/// Tells how a ticket is now.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// Which one.
    pub id: Key,
}

impl Command for Read {
    const NAME: &'static str = "tickets.read";
    type Reply = TicketReply;
    type Rejection = TicketRejection;

    fn decide(
        &self,
        draft: &mut Draft<'_>,
        now: Timestamp,
    ) -> Result<TicketReply, TicketRejection> {
        let found = Found::find(draft, &self.id)?;
        let ticket = found.ticket.view(&self.id, found.version, now);
        Ok(TicketReply { ticket, secret_withheld: None, money: None })
    }
}

/// The command that tidies records of this domain whose time has come; `None` for other kinds.
/// At most 100 are taken at once, the others are still due afterwards.
#[must_use]
pub fn sweep(kind: &str, ids: Vec<RecordId>) -> Option<Arc<dyn AnyCommand>> {
    if kind == Ticket::KIND.name() {
        let ids = ids.iter().filter_map(|id| id.split(1)).flatten();
        return Some(Arc::new(Expire { ids: ids.take(expire::IDS_MAX).collect() }));
    }
    (kind == Issues::KIND.name()).then(|| Arc::new(SweepIssues { ids }) as Arc<dyn AnyCommand>)
}

#[cfg(test)]
mod tests;
