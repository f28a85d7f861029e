//! The money of a ticket: whose accounts they are, its hold, its capture.
//!
//! Invariant: an approved ticket with accounts has a hold of its whole amount on the account that
//! pays, until it expires; one that is used has one transfer; one that is over has neither. There
//! is no state between "used" and "paid": both are written by one decision. The accounts are fixed
//! when it is issued, and no later command can name another.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Create, Ticket, TicketRejection};
use crate::money::accounts::{AccountView, NewHold, Take, TransferView};
use crate::money::accounts::{capture, has_funds, has_room, hold, void};
use crate::money::{Account, AccountHold, Book, HeldBy, MoneyRejection, Moved};
use crate::{AccountId, Amount, Draft, Key, Measure, MinorUnits, RecordId, Timestamp};

type Tested<T> = Result<T, TicketRejection>;

/// Which accounts a ticket moves, and what it did there.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Accounts {
    pub(super) debit: AccountId,
    pub(super) credit: AccountId,
    /// Since it was approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hold: Option<Key>,
    /// Since it was redeemed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) transfer: Option<Key>,
}

/// What a command did to the accounts of its ticket.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TicketMoney {
    /// What was paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer: Option<TransferView>,
    /// The accounts that it changed, as they are now.
    pub accounts: Vec<AccountView>,
    /// What was posted, and what else it brought about.
    #[serde(flatten)]
    pub moved: Moved,
}

/// The accounts that a ticket is issued with, as they are.
pub(super) struct Named {
    pub(super) accounts: Accounts,
    debit: Arc<Account>,
    credit: Arc<Account>,
}

/// Why a rule of accounts refused, in the words of tickets.
#[expect(clippy::wildcard_enum_match_arm, reason = "what no rule here gives has no word here")]
fn refused(refusal: MoneyRejection) -> TicketRejection {
    match refusal {
        MoneyRejection::AccountClosed { account } => TicketRejection::AccountClosed { account },
        MoneyRejection::InsufficientFunds { account, available, required } => {
            TicketRejection::InsufficientFunds { account, available, required }
        }
        MoneyRejection::TooManyHolds { max } => TicketRejection::TooManyHolds { max },
        MoneyRejection::AmountOverflow {} => TicketRejection::AmountOverflow {},
        other => panic!("a ticket's accounts are not refused with {other:?}"),
    }
}

impl Named {
    /// The accounts that a ticket is to be issued with: there, and of whom they must be.
    ///
    /// # Errors
    /// `account_not_found`, `account_owner_mismatch`, `account_closed`.
    pub(super) fn find(draft: &mut Draft<'_>, create: &Create) -> Tested<Option<Self>> {
        let (Some(payer), Some(payee)) = (&create.debit_account, &create.credit_account) else {
            return Ok(None);
        };
        let (debit, credit) = (AccountId::of(payer), AccountId::of(payee));
        // Both are read before one is missed, so that they are loaded together.
        let found = [payer, payee].map(|id| (draft.get::<Account>(&RecordId::from(id)), id));
        let missing = |id: &Key| TicketRejection::AccountNotFound { id: id.clone() };
        let [(payer, payer_id), (payee, payee_id)] = found;
        let payer = payer.ok_or_else(|| missing(payer_id))?;
        let payee = payee.ok_or_else(|| missing(payee_id))?;
        // The holder's, who consents by approving, or that of an issuer who pays for it.
        let owner = payer.owner.as_ref();
        if owner.is_none() || owner != create.holder.as_ref() && owner != Some(&create.issued_by) {
            return Err(TicketRejection::AccountOwnerMismatch { account: debit });
        }
        if payee.owner.as_ref() != Some(&create.audience) {
            return Err(TicketRejection::AccountOwnerMismatch { account: credit });
        }
        is_open(&debit, &payer)?;
        is_open(&credit, &payee)?;
        let accounts = Accounts { debit, credit, hold: None, transfer: None };
        Ok(Some(Self { accounts, debit: payer, credit: payee }))
    }

    /// Tests that a ticket over this amount can be paid from one and to the other.
    ///
    /// # Errors
    /// `currency_mismatch`.
    pub(super) fn same_currency(&self, amount: &Amount) -> Tested<()> {
        for account in [&self.debit, &self.credit] {
            let same = Measure::Currency(account.currency.clone()) == amount.measure;
            if !same {
                let expected = account.currency.to_string();
                let got = amount.measure.to_string();
                return Err(TicketRejection::CurrencyMismatch { expected, got });
            }
        }
        Ok(())
    }

    /// Tests that so much is available.
    ///
    /// # Errors
    /// `insufficient_funds`.
    pub(super) fn has_funds(&self, amount: MinorUnits, now: Timestamp) -> Tested<()> {
        has_funds((&self.accounts.debit, &self.debit), amount, now).map_err(refused)
    }

    /// Tests that there may be one more hold.
    ///
    /// # Errors
    /// `too_many_holds`.
    pub(super) fn has_room(&self, now: Timestamp) -> Tested<()> {
        has_room(&self.debit, now).map_err(refused)
    }
}

fn is_open(id: &AccountId, account: &Account) -> Tested<()> {
    match account.closed_at {
        Some(_) => Err(TicketRejection::AccountClosed { account: id.clone() }),
        None => Ok(()),
    }
}

/// Tests that both accounts of a ticket still take something.
///
/// # Errors
/// `account_closed`.
pub(super) fn are_open(draft: &mut Draft<'_>, ticket: &Ticket) -> Tested<()> {
    let Some(accounts) = &ticket.accounts else { return Ok(()) };
    let both = [&accounts.debit, &accounts.credit];
    let found = both.map(|id| (id, draft.get::<Account>(&RecordId::from(id))));
    for (id, account) in found {
        if let Some(account) = account {
            is_open(id, &account)?;
        }
    }
    Ok(())
}

/// Tests that what a ticket is good for can be held now.
///
/// # Errors
/// `account_closed`, `insufficient_funds`, `too_many_holds`.
pub(super) fn can_hold(draft: &mut Draft<'_>, ticket: &Ticket, now: Timestamp) -> Tested<()> {
    are_open(draft, ticket)?;
    let Some(Accounts { debit, .. }) = &ticket.accounts else { return Ok(()) };
    let Some(account) = draft.get::<Account>(&RecordId::from(debit)) else {
        return Err(TicketRejection::AccountNotFound { id: debit.key() });
    };
    has_funds((debit, &account), ticket.max_amount.count, now).map_err(refused)?;
    has_room(&account, now).map_err(refused)
}

/// Sets aside what a ticket is good for, until it expires. The caller has seen that it can be.
pub(super) fn hold_all(
    draft: &mut Draft<'_>,
    (id, ticket): (&Key, &mut Ticket),
    now: Timestamp,
) -> Option<TicketMoney> {
    let accounts = ticket.accounts.as_mut()?;
    let mut book = Book::open(draft, now);
    let account = book.own_account(&accounts.debit, &currency(&ticket.max_amount)?);
    let new = NewHold {
        amount: ticket.max_amount.count,
        expires_at: ticket.expires_at,
        by: HeldBy::Ticket(id.clone()),
        reference: None,
    };
    accounts.hold = Some(hold(&mut book, (&accounts.debit, account), new));
    let accounts = AccountView::find(book.draft, &accounts.debit, now).into_iter().collect();
    Some(TicketMoney { transfer: None, accounts, moved: book.close() })
}

fn currency(amount: &Amount) -> Option<crate::CurrencyCode> {
    match &amount.measure {
        Measure::Currency(code) => Some(code.clone()),
        Measure::Unit(_) => None,
    }
}

/// Pays so much of what was set aside, and gives back the rest. The ticket is approved, not over,
/// and good for it.
///
/// # Errors
/// `amount_overflow`.
pub(super) fn pay(
    draft: &mut Draft<'_>,
    (id, ticket): (&Key, &mut Ticket),
    (amount, now): (MinorUnits, Timestamp),
) -> Tested<Option<TicketMoney>> {
    let Some(accounts) = &mut ticket.accounts else { return Ok(None) };
    let mut book = Book::open(draft, now);
    let (hold, record) = held(&mut book, accounts)?;
    let (to, reference) = (accounts.credit.clone(), Some(id.clone()));
    let take = Take { command: "tickets.redeem", amount, to, reference };
    let paid = capture(&mut book, (&hold, &record), take).map_err(refused)?;
    let (transfer, changed) = paid;
    accounts.transfer = Some(transfer.id.clone());
    let transfer = Some(transfer);
    Ok(Some(TicketMoney { transfer, accounts: changed, moved: book.close() }))
}

/// Gives back what was set aside for a ticket that is approved and not over.
///
/// # Errors
/// None but of a hold that is not loaded yet.
pub(super) fn give_back(
    draft: &mut Draft<'_>,
    ticket: &Ticket,
    now: Timestamp,
) -> Tested<Option<TicketMoney>> {
    let Some(accounts) = &ticket.accounts else { return Ok(None) };
    if accounts.hold.is_none() {
        return Ok(None);
    }
    let mut book = Book::open(draft, now);
    let (hold, record) = held(&mut book, accounts)?;
    void(&mut book, (&hold, &record));
    let accounts = AccountView::find(book.draft, &accounts.debit, now).into_iter().collect();
    Ok(Some(TicketMoney { transfer: None, accounts, moved: book.close() }))
}

/// The hold of an approved ticket.
fn held(book: &mut Book<'_, '_>, accounts: &Accounts) -> Tested<(Key, Arc<AccountHold>)> {
    let missing = || TicketRejection::AccountNotFound { id: accounts.debit.key() };
    let hold = accounts.hold.clone().ok_or_else(missing)?;
    // Its account is read with it, so that they are loaded together.
    let account = book.account(&accounts.debit);
    let record = book.draft.get::<AccountHold>(&RecordId::from(&hold));
    let (record, _) = record.zip(account).ok_or_else(missing)?;
    Ok((hold, record))
}
