//! `retainers.refund`: money of a retainer goes back to its client, in part or all of it.
//!
//! Invariant: what a pending refund asks for is held on the retainer's account, so nobody consumes
//! it; a pending refund of all of it closes the retainer, so nothing comes in that it would not
//! pay back. Success of a whole one ends the retainer for ever; failure lifts both.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Retainer, RetainerView, debit, find, view};
use crate::money::ledger::HOLDS_MAX;
use crate::money::refunds::{Extent, Refund, RefundStatus, RefundView, Settle, Source};
use crate::money::{
    Account, AccountHold, Book, Booking, Decided, HeldBy, HoldStatus, MoneyRejection, Moved,
    at_version, known_currency, refunds, same_currency, series,
};
use crate::{
    AccountId, Command, Draft, IfVersion, Key, Minor, MinorUnits, Money, RecordId, Timestamp,
};

/// Pays money of a retainer back. `retainers.refund`.
///
/// ```
/// use bellpunch_core::money::{refunds::Settle, retainers::RefundRetainer};
/// let refund: RefundRetainer = serde_json::from_str(r#"{"id": "r", "reason": "closed"}"#)?;
/// assert!(refund.amount.is_none() && refund.settle == Settle::Now);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RefundRetainer {
    /// Which retainer.
    pub id: Key,
    /// How much; all of it unless said, and the retainer ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    /// Why.
    pub reason: Key,
    /// Whether the money is back already; it is unless said.
    #[serde(default)]
    pub settle: Settle,
    /// Only at one of these versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

/// A refund and its retainer, after the command.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RefundRetainerReply {
    /// The refund.
    pub refund: RefundView,
    /// The retainer.
    pub retainer: RetainerView,
    /// What it posted and emitted.
    #[serde(flatten)]
    pub moved: Moved,
}

/// Pays back money of a retainer that is available or was held for this until now: books it and
/// writes the retainer, which ends if it is all of it. Gives the transfer. `command`: the wire name.
///
/// # Errors
/// `amount_overflow`.
pub(crate) fn pay_back(
    book: &mut Book<'_, '_>,
    (command, id): (&'static str, &Key),
    (refund, extent, amount): (&Key, Extent, MinorUnits),
) -> Decided<Option<Key>> {
    let (retainer, _) = find(book, id)?;
    let (currency, now) = (&retainer.currency, book.now);
    let booking = Booking::of(command, currency.clone())
        .debit(AccountId::retainer(id), amount.into(), Some(refund))
        .credit(AccountId::cash(currency), amount.into(), Some(refund));
    let transfer = book.post(booking)?;
    debit(book, id, amount.into())?;
    if extent == Extent::Whole {
        let (retainer, _) = find(book, id)?;
        assert!(retainer.balance.is_zero(), "nothing came in while all of it was to go back");
        let ended = Retainer { refunded_at: Some(now), closing: None, ..(*retainer).clone() };
        book.draft.put(&RecordId::from(id), ended);
    }
    Ok(transfer)
}

/// Lifts what a pending refund of all of a retainer forbids: it has failed.
pub(crate) fn reopen(book: &mut Book<'_, '_>, id: &Key) -> Decided<()> {
    let (retainer, _) = find(book, id)?;
    book.draft.put(&RecordId::from(id), Retainer { closing: None, ..(*retainer).clone() });
    Ok(())
}

/// Holds money on a retainer's account for a refund; the rule has seen that it is available.
fn set_aside(
    book: &mut Book<'_, '_>,
    (account_id, mut account): (AccountId, Account),
    (refund, amount): (&Key, MinorUnits),
) -> Key {
    let (hold, now) = (book.draft.drawn_key(), book.now);
    account.hold(hold.clone(), (amount, None), now);
    let record = AccountHold {
        account: account_id.clone(),
        amount,
        currency: account.currency.clone(),
        expires_at: None,
        status: HoldStatus::Open,
        made_at: now,
        ended_at: None,
        by: HeldBy::Refund(refund.clone()),
        reference: None,
        transfer: None,
    };
    book.draft.put_first(&RecordId::from(&hold), record);
    book.put_account(&account_id, account);
    hold
}

impl RefundRetainer {
    /// How much goes back, if it can.
    fn takes(
        &self,
        retainer: &Retainer,
        (account, now): (&Account, Timestamp),
    ) -> Decided<(MinorUnits, Extent)> {
        retainer.not_refunded()?;
        retainer.not_closing()?;
        let held = account.held(now);
        if self.amount.is_none() && !held.is_zero() {
            return Err(MoneyRejection::RetainerHasHolds { held });
        }
        let whole = retainer.balance.positive().ok_or(MoneyRejection::NothingToRefund {})?;
        let Some(amount) = &self.amount else { return Ok((whole, Extent::Whole)) };
        same_currency(&retainer.currency, &amount.currency)?;
        let available = account.available(now);
        if available < amount.amount.into() {
            let (account, required) = (AccountId::retainer(&self.id), amount.amount.into());
            return Err(MoneyRejection::InsufficientFunds { account, available, required });
        }
        Ok((amount.amount, Extent::Part))
    }

    fn written(
        &self,
        retainer: &Retainer,
        (amount, extent): (MinorUnits, Extent),
        now: Timestamp,
    ) -> Refund {
        let from = Source {
            invoice: None,
            retainer: Some(self.id.clone()),
            amount: amount.into(),
            ordinal: 0,
            spent: Minor::ZERO,
        };
        let (status, ended_at) = match self.settle {
            Settle::Now => (RefundStatus::Succeeded, Some(now)),
            Settle::Later => (RefundStatus::Pending, None),
        };
        Refund {
            number: String::new(),
            payment: None,
            retainer: Some((self.id.clone(), extent)),
            amount,
            currency: retainer.currency.clone(),
            status,
            sources: vec![from],
            reason: self.reason.clone(),
            external_id: None,
            holds: Vec::new(),
            created_at: now,
            ended_at,
        }
    }
}

impl Command for RefundRetainer {
    const NAME: &'static str = "retainers.refund";
    type Reply = RefundRetainerReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<RefundRetainerReply> {
        if let Some(amount) = &self.amount {
            known_currency(draft, &amount.currency)?;
        }
        let mut book = Book::open(draft, now);
        let (retainer, version) = find(&mut book, &self.id)?;
        let series = series::find(&mut book, "RFD")?;
        at_version(self.if_version.as_ref(), version)?;
        let account_id = AccountId::retainer(&self.id);
        let account = book.own_account(&account_id, &retainer.currency);
        let (amount, extent) = self.takes(&retainer, (&account, now))?;
        let id = book.draft.drawn_key();
        let mut refund = self.written(&retainer, (amount, extent), now);
        match self.settle {
            Settle::Now => {
                pay_back(&mut book, (Self::NAME, &self.id), (&id, extent, amount))?;
            }
            Settle::Later if HOLDS_MAX <= account.holds_open(now) => {
                let max = u64::try_from(HOLDS_MAX).unwrap_or(u64::MAX);
                return Err(MoneyRejection::TooManyHolds { max });
            }
            Settle::Later => {
                refund.holds = vec![set_aside(&mut book, (account_id, account), (&id, amount))];
                let closing = match extent {
                    Extent::Whole => Some(id.clone()),
                    Extent::Part => None,
                };
                let retainer = Retainer { closing, ..(*retainer).clone() };
                book.draft.put(&RecordId::from(&self.id), retainer);
            }
        }
        let assigned = series.assign(&mut book, None, &id)?;

        // Past here it succeeds.
        refund.number = assigned.number.clone();
        let frozen = json!({
            "id": id, "number": refund.number, "retainer": self.id, "amount": amount,
            "currency": refund.currency, "created_at": now, "chain": assigned.chain,
        });
        series::seal(&mut book, &assigned, &frozen);
        book.draft.put_first(&RecordId::from(&id), refund);
        let refund = refunds::view(&mut book, &id)?;
        let retainer = view(&mut book, &self.id)?;
        Ok(RefundRetainerReply { refund, retainer, moved: book.close() })
    }
}
