//! `tickets.redeem`: uses a ticket, once.
//!
//! Invariant: `approved_at <= used_at < expires_at`, and the commit lands before `expires_at` by the
//! store's own clock. Ticket, audience, holder, secret and amount are matched in this one decision:
//! a refusal burns nothing, and what was used for one is used for all.

use serde::{Deserialize, Serialize};

use super::{Found, Status, Ticket, TicketRejection, TicketReply, Use, accounts, put};
use crate::currencies;
use crate::{
    Amount, Command, Draft, IfVersion, Key, Measure, MinorUnits, SecretHash, Taking, Timestamp,
};

/// Uses a ticket, for all or (if it is partial) for some of its amount.
///
/// ```
/// use bellpunch_core::{MinorUnits, Taking, tickets::Redeem};
/// let code: Redeem = serde_json::from_str(r#"{"id": "t", "audience": "s1", "holder": "c1"}"#)?;
/// assert_eq!(code.amount, Taking::Units(MinorUnits::ONE));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Redeem {
    /// Which ticket.
    pub id: Key,
    /// Who redeems it.
    pub audience: Key,
    /// Whose right it is; left out for a bearer ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Key>,
    /// How much: money with its currency, or units (1 unless said).
    #[serde(default = "one_unit")]
    pub amount: Taking,
    /// The SHA-256 of the secret that was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_hash: Option<SecretHash>,
    /// Who is said to have used it; the audience unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Key>,
    /// Only at one of these versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

const fn one_unit() -> Taking {
    Taking::Units(MinorUnits::ONE)
}

impl Redeem {
    /// A currency that is not the ticket's must at least be one. The ticket's own was tested when
    /// it was issued.
    fn check_currency(&self, draft: &mut Draft<'_>) -> Result<(), TicketRejection> {
        let Taking::Amount(Amount { measure: Measure::Currency(code), .. }) = &self.amount else {
            return Ok(());
        };
        let ticket = draft.get::<Ticket>(&crate::RecordId::from(&self.id));
        let measure = ticket.as_ref().map(|ticket| &ticket.max_amount.measure);
        let same = measure == Some(&Measure::Currency(code.clone()));
        if !same && !currencies::is_known(draft, code) {
            return Err(TicketRejection::UnknownCurrency { currency: code.clone() });
        }
        Ok(())
    }

    fn check_right(&self, ticket: &Ticket) -> Result<(), TicketRejection> {
        if ticket.audience != self.audience {
            return Err(TicketRejection::WrongAudience {});
        }
        if ticket.holder != self.holder {
            return Err(TicketRejection::WrongHolder {});
        }
        match (&ticket.secret_hash, &self.secret_hash) {
            (None, None) => Ok(()),
            (Some(expected), Some(shown)) if expected.matches(shown) => Ok(()),
            (Some(_), Some(_) | None) | (None, Some(_)) => Err(TicketRejection::WrongSecret {}),
        }
    }

    fn amount(&self, ticket: &Ticket) -> Result<Amount, TicketRejection> {
        let Amount { count: max, measure } = &ticket.max_amount;
        let mismatch = |got: &str| {
            let (expected, got) = (measure.to_string(), got.to_owned());
            Err(TicketRejection::CurrencyMismatch { expected, got })
        };
        let count = match (&self.amount, measure) {
            (Taking::Units(count), Measure::Unit(_)) => *count,
            // A bare number is never money.
            (Taking::Units(_), Measure::Currency(_)) => return mismatch("units"),
            (Taking::Amount(amount), _) if amount.measure == *measure => amount.count,
            (Taking::Amount(amount), _) => return mismatch(&amount.measure.to_string()),
        };
        let max_amount = ticket.max_amount.clone();
        if *max < count {
            return Err(TicketRejection::AmountExceedsTicket { max_amount });
        }
        if !ticket.partial && count < *max {
            return Err(TicketRejection::AmountNotExact { max_amount });
        }
        Ok(Amount { count, measure: measure.clone() })
    }
}

impl Command for Redeem {
    const NAME: &'static str = "tickets.redeem";
    type Reply = TicketReply;
    type Rejection = TicketRejection;

    fn decide(
        &self,
        draft: &mut Draft<'_>,
        now: Timestamp,
    ) -> Result<TicketReply, TicketRejection> {
        self.check_currency(draft)?;
        let found = Found::find(draft, &self.id)?;
        let ticket = &found.ticket;
        self.check_right(ticket)?;
        found.at_version(self.if_version.as_ref())?;
        found.over(now)?;
        if ticket.status != Status::Approved {
            return Err(TicketRejection::TicketNotApproved { status: ticket.status });
        }
        accounts::are_open(draft, ticket)?;
        let amount = self.amount(ticket)?;
        let by = self.by.clone().unwrap_or_else(|| self.audience.clone());
        let count = amount.count;
        let used = Some(Use { at: now, by, amount });
        let mut ticket = Ticket { status: Status::Used, used, ..(**ticket).clone() };
        // To be used is to be paid: that the account holds no more is the last that can fail.
        let money = accounts::pay(draft, (&self.id, &mut ticket), (count, now))?;

        // Past here it succeeds.
        draft.commit_before(ticket.expires_at);
        let approved_at = ticket.approved_at.expect("an approved ticket says since when");
        assert!(approved_at <= now && now < ticket.expires_at, "used while it was good");
        Ok(put(draft, (&self.id, ticket), (money, now)))
    }
}
