//! `tickets.create`: issues a ticket, pending or approved at once.
//!
//! Invariant: an id is drawn, never chosen, and never used again. What a pair of holder and
//! audience may have at once is tested and written in one index record, in this commit.

use serde::{Deserialize, Serialize};

use super::accounts::{self, Accounts, Named};
use super::index::{ISSUES_MAX, Issues, PERIOD_MAX};
use super::{Metadata, Status, Ticket, TicketRejection, TicketReply, put};
use crate::currencies;
use crate::{Amount, Command, Draft, Duration, Key, Measure, RecordId, SecretHash, Timestamp};

/// The longest a ticket is valid.
const TTL_MAX: Duration = Duration::from_days(3_660);

/// At most `count` issues to one holder for one audience within `period_ns`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct IssueLimit {
    /// 1 to 100.
    pub count: u8,
    /// At most 3,660 days.
    pub period_ns: Duration,
}

/// Issues a ticket.
///
/// ```
/// use bellpunch_core::{command, tickets::Create};
/// let content = serde_json::json!({
///     "holder": "c1", "audience": "s1", "max_amount": {"amount": 1000, "currency": "SAR"},
///     "ttl_ns": 300_000_000_000_u64, "issued_by": "desk",
/// });
/// let create: Create = serde_json::from_value(content.clone())?;
/// assert!(create.partial && !create.approved);
/// let parse = command("tickets.create").expect("it is in the table").parse;
/// assert!(parse(content).is_ok());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// Whose right it is. Left out only for a bearer ticket: one with a secret, approved at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Key>,
    /// Who may redeem it.
    pub audience: Key,
    /// What it is good for.
    pub max_amount: Amount,
    /// How long it is valid: at most 3,660 days.
    pub ttl_ns: Duration,
    /// Who issues it.
    pub issued_by: Key,
    /// Whether it may be redeemed for less than all.
    #[serde(default = "partial_by_default")]
    pub partial: bool,
    /// The account that pays. Both accounts or neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debit_account: Option<Key>,
    /// The account that is paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit_account: Option<Key>,
    /// Issue it approved.
    #[serde(default)]
    pub approved: bool,
    /// The SHA-256 of the secret that its bearer must show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_hash: Option<SecretHash>,
    /// The door makes the secret, and shows it once.
    #[serde(default)]
    pub make_secret: bool,
    /// The SHA-256 of the secret that the door made. Not in the fingerprint: each try makes its
    /// own, and is still the same command.
    #[serde(default, skip_serializing)]
    pub made_secret_hash: Option<SecretHash>,
    /// Refuse while another one of this holder for this audience is pending.
    #[serde(default)]
    pub one_pending: bool,
    /// Refuse above this many issues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue_limit: Option<IssueLimit>,
    /// Refuse what the debit account could not pay now. Reserves nothing.
    #[serde(default)]
    pub require_funds: bool,
    /// Stored, never read by a rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
}

const fn partial_by_default() -> bool {
    true
}

impl Create {
    fn check_shape(&self) -> Result<(), TicketRejection> {
        let has_secret = self.secret_hash.is_some() || self.make_secret;
        let has_accounts = self.debit_account.is_some();
        let limit = self.issue_limit;
        let count_fits =
            |limit: IssueLimit| 0 < limit.count && usize::from(limit.count) <= ISSUES_MAX;
        let checks = [
            (
                has_accounts == self.credit_account.is_some(),
                "credit_account",
                "debit_account and credit_account come together or not at all",
            ),
            (
                self.secret_hash.is_none() || !self.make_secret,
                "make_secret",
                "a secret is the caller's or the door's, not both",
            ),
            (
                self.make_secret == self.made_secret_hash.is_some(),
                "make_secret",
                "the door makes the secret if and only if it is asked to",
            ),
            (
                self.holder.is_some() || (has_secret && self.approved),
                "holder",
                "a ticket without a holder has a secret and is issued approved",
            ),
            (
                self.holder.is_some() || (!self.one_pending && limit.is_none()),
                "holder",
                "one_pending and issue_limit need a holder",
            ),
            (limit.is_none_or(count_fits), "issue_limit.count", "must be 1 to 100"),
            (
                limit.is_none_or(|limit| limit.period_ns <= PERIOD_MAX),
                "issue_limit.period_ns",
                "must be at most 3,660 days",
            ),
            (!self.require_funds || has_accounts, "require_funds", "needs the accounts"),
        ];
        match checks.into_iter().find(|(holds, _, _)| !holds) {
            Some((_, field, reason)) => Err(TicketRejection::InvalidRequest { field, reason }),
            None => Ok(()),
        }
    }

    fn issued(
        &self,
        accounts: Option<Accounts>,
        (now, expires_at): (Timestamp, Timestamp),
    ) -> Ticket {
        Ticket {
            holder: self.holder.clone(),
            audience: self.audience.clone(),
            max_amount: self.max_amount.clone(),
            partial: self.partial,
            status: if self.approved { Status::Approved } else { Status::Pending },
            issued_at: now,
            issued_by: self.issued_by.clone(),
            expires_at,
            approved_at: self.approved.then_some(now),
            accounts,
            used: None,
            closed: None,
            secret_hash: self.secret_hash.or(self.made_secret_hash),
            metadata: self.metadata.clone(),
        }
    }
}

impl Command for Create {
    const NAME: &'static str = "tickets.create";
    type Reply = TicketReply;
    type Rejection = TicketRejection;

    fn begins_journal(&self) -> bool {
        self.debit_account.is_some()
    }

    fn decide(
        &self,
        draft: &mut Draft<'_>,
        now: Timestamp,
    ) -> Result<TicketReply, TicketRejection> {
        self.check_shape()?;
        if let Measure::Currency(code) = &self.max_amount.measure
            && !currencies::is_known(draft, code)
        {
            return Err(TicketRejection::UnknownCurrency { currency: code.clone() });
        }
        let named = Named::find(draft, self)?;
        let pair = self.holder.as_ref().map(|holder| (holder, &self.audience));
        let mut issues = pair.map(|pair| Issues::of(draft, pair, now));
        if let Some(issues) = &issues
            && self.one_pending
        {
            issues.nothing_pending()?;
        }
        let too_long = TicketRejection::TtlTooLong { max_ttl_ns: TTL_MAX };
        let expires_at = now.plus(self.ttl_ns).filter(|_| self.ttl_ns <= TTL_MAX);
        let expires_at = expires_at.ok_or(too_long)?;
        if let Some(named) = &named {
            named.same_currency(&self.max_amount)?;
            if self.approved || self.require_funds {
                named.has_funds(self.max_amount.count, now)?;
            }
        }
        if let Some(issues) = &issues {
            if !self.approved {
                issues.room_for_pending()?;
            }
            if let Some(limit) = self.issue_limit {
                issues.within_limit(limit, now)?;
            }
        }
        if let Some(named) = &named
            && self.approved
        {
            named.has_room(now)?;
        }
        let id = draft.drawn_key();
        let known = draft.get::<Ticket>(&RecordId::from(&id));
        assert!(known.is_none(), "128 random bits are drawn once");

        // Past here it succeeds.
        if let (Some(issues), Some(pair)) = (&mut issues, pair) {
            issues.issue(now);
            if !self.approved {
                issues.add_pending(id.clone(), expires_at);
            }
            issues.clone().write(draft, pair);
        }
        let mut ticket = self.issued(named.map(|named| named.accounts), (now, expires_at));
        let money =
            if self.approved { accounts::hold_all(draft, (&id, &mut ticket), now) } else { None };
        let mut reply = put(draft, (&id, ticket), (money, now));
        reply.secret_withheld = self.make_secret.then_some(true);
        Ok(reply)
    }
}
