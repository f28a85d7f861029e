//! `accounts.hold`, `capture`, `void_hold`; `account_holds.read`.
//!
//! Invariant: a hold counts while `now < expires_at`, swept or not, and ends once: captured, voided
//! or by time. What it set aside was available, so a capture of it never lacks funds, and several
//! holds never share one balance. A capture states the hold's end as its deadline.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{AccountHoldView, AccountView, TransferView, is_open, stored};
use crate::money::ledger::HOLDS_MAX;
use crate::money::{
    Account, AccountHold, Book, Booking, Class, Decided, HeldBy, HoldStatus, MoneyRejection, Moved,
    at_version, known_currency, open_account, same_currency,
};
use crate::{
    AccountId, Command, Draft, Duration, IfVersion, Key, Minor, MinorUnits, Money, RecordId,
    Timestamp, Version,
};

/// The longest that a hold lasts.
const TTL_MAX: Duration = Duration::from_days(3_660);

/// Sets money aside.
///
/// ```
/// use bellpunch_core::money::accounts::HoldFunds;
/// let hold: HoldFunds = serde_json::from_value(serde_json::json!({
///     "id": "a", "amount": {"amount": 5, "currency": "SAR"}, "ttl_ns": 1_000_000_000,
/// }))?;
/// assert_eq!(hold.amount.amount.get(), 5);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HoldFunds {
    /// On which account.
    pub id: Key,
    /// How much.
    pub amount: Money,
    /// For how long: at most 3,660 days.
    pub ttl_ns: Duration,
    /// The caller's own word for it.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Key>,
    /// Only at one of these versions of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

/// A hold and its account after a command.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Held {
    /// The hold.
    pub hold: AccountHoldView,
    /// The account that it is on.
    pub account: AccountView,
    /// What was posted, and what else it brought about.
    #[serde(flatten)]
    pub moved: Moved,
}

impl Command for HoldFunds {
    const NAME: &'static str = "accounts.hold";
    type Reply = Held;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<Held> {
        let mut book = Book::open(draft, now);
        known_currency(book.draft, &self.amount.currency)?;
        let (id, account) = open_account(&mut book, &self.id)?;
        let version = book.draft.version::<Account>(&RecordId::from(&id));
        at_version(self.if_version.as_ref(), version)?;
        is_open((&id, &account))?;
        let expires_at = now.plus(self.ttl_ns).filter(|_| self.ttl_ns <= TTL_MAX);
        let too_long = MoneyRejection::TtlTooLong { max_ttl_ns: TTL_MAX };
        let expires_at = expires_at.ok_or(too_long)?;
        same_currency(&account.currency, &self.amount.currency)?;
        has_funds((&id, &account), self.amount.amount, now)?;
        has_room(&account, now)?;

        // Past here it succeeds.
        let (amount, by) = (self.amount.amount, HeldBy::Caller);
        let new = NewHold { amount, expires_at, by, reference: self.reference.clone() };
        let hold = hold(&mut book, (&id, account), new);
        let (hold, account) = (hold_view(&mut book, &hold), account_view(&mut book, &id));
        Ok(Held { hold, account, moved: book.close() })
    }
}

/// Tests that so much is available on an account, for a hold. One that stands for the outside has
/// no bound.
///
/// # Errors
/// `insufficient_funds`.
pub(crate) fn has_funds(
    (id, account): (&AccountId, &Account),
    amount: MinorUnits,
    now: Timestamp,
) -> Decided<()> {
    let (available, required) = (account.available(now), Minor::from(amount));
    if account.class != Class::External && available < required {
        let account = id.clone();
        return Err(MoneyRejection::InsufficientFunds { account, available, required });
    }
    Ok(())
}

/// Tests that an account takes one more hold. One that stands for the outside takes none.
///
/// # Errors
/// `too_many_holds`.
pub(crate) fn has_room(account: &Account, now: Timestamp) -> Decided<()> {
    let max = if account.class == Class::External { 0 } else { HOLDS_MAX };
    if max <= account.holds_open(now) {
        let max = u64::try_from(max).expect("it is a small number");
        return Err(MoneyRejection::TooManyHolds { max });
    }
    Ok(())
}

/// A hold that is to be made.
pub(crate) struct NewHold {
    pub(crate) amount: MinorUnits,
    pub(crate) expires_at: Timestamp,
    pub(crate) by: HeldBy,
    pub(crate) reference: Option<Key>,
}

/// Makes a hold on an account, as [`has_funds`] and [`has_room`] allow; gives its id.
pub(crate) fn hold(
    book: &mut Book<'_, '_>,
    (id, mut account): (&AccountId, Account),
    new: NewHold,
) -> Key {
    let hold = book.draft.drawn_key();
    let NewHold { amount, expires_at, by, reference } = new;
    let expires_at = Some(expires_at);
    let record = AccountHold {
        account: id.clone(),
        amount,
        currency: account.currency.clone(),
        expires_at,
        status: HoldStatus::Open,
        made_at: book.now,
        ended_at: None,
        by,
        reference,
        transfer: None,
    };
    account.hold(hold.clone(), (amount, expires_at), book.now);
    book.put_account(id, account);
    book.draft.put_first(&RecordId::from(&hold), record);
    hold
}

/// A hold, and its version.
///
/// # Errors
/// `hold_not_found`.
pub(crate) fn find_hold(book: &mut Book<'_, '_>, id: &Key) -> Decided<(Arc<AccountHold>, Version)> {
    let record = RecordId::from(id);
    let Some(hold) = book.draft.get::<AccountHold>(&record) else {
        return Err(MoneyRejection::HoldNotFound { id: id.clone() });
    };
    Ok((hold, book.draft.version::<AccountHold>(&record)))
}

impl AccountHold {
    /// Tests that a caller may end it.
    fn is_callers(&self) -> Decided<()> {
        match &self.by {
            HeldBy::Caller => Ok(()),
            HeldBy::Ticket(ticket) | HeldBy::Refund(ticket) | HeldBy::Dispute(ticket) => {
                Err(MoneyRejection::ReservedHold { ticket: ticket.clone() })
            }
        }
    }

    fn is_not_ended(&self) -> Decided<()> {
        let at = self.ended_at.unwrap_or(self.made_at);
        match self.status {
            HoldStatus::Open => Ok(()),
            HoldStatus::Captured => Err(MoneyRejection::HoldCaptured { at }),
            HoldStatus::Voided => Err(MoneyRejection::HoldVoided { at }),
        }
    }

    fn is_in_time(&self, now: Timestamp) -> Decided<()> {
        match self.expires_at {
            Some(expires_at) if expires_at <= now => {
                Err(MoneyRejection::HoldExpired { expires_at })
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Takes all or some of a hold, for another account. The rest is released.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CaptureFunds {
    /// Which hold.
    pub hold: Key,
    /// How much, at most what it set aside.
    pub amount: Money,
    /// The account that is credited.
    pub to: Key,
    /// Only at one of these versions of the hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

/// A hold that was captured.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Captured {
    /// The hold.
    pub hold: AccountHoldView,
    /// What moved.
    pub transfer: TransferView,
    /// The account that paid and the one that was paid.
    pub accounts: Vec<AccountView>,
    /// What was posted, and what else it brought about.
    #[serde(flatten)]
    pub moved: Moved,
}

impl Command for CaptureFunds {
    const NAME: &'static str = "accounts.capture";
    type Reply = Captured;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<Captured> {
        let mut book = Book::open(draft, now);
        known_currency(book.draft, &self.amount.currency)?;
        let (hold, version) = find_hold(&mut book, &self.hold)?;
        let (to, credited) = open_account(&mut book, &self.to)?;
        hold.is_callers()?;
        at_version(self.if_version.as_ref(), version)?;
        hold.is_not_ended()?;
        if let Some(held) = stored(&mut book, &hold.account) {
            is_open((&hold.account, &held))?;
        }
        is_open((&to, &credited))?;
        hold.is_in_time(now)?;
        same_currency(&hold.currency, &self.amount.currency)?;
        same_currency(&hold.currency, &credited.currency)?;
        if hold.amount < self.amount.amount {
            return Err(MoneyRejection::ExceedsHold { amount: hold.amount.into() });
        }
        let (amount, reference) = (self.amount.amount, hold.reference.clone());
        let taking = Take { command: Self::NAME, amount, to, reference };
        let (transfer, accounts) = capture(&mut book, (&self.hold, &hold), taking)?;
        let hold = hold_view(&mut book, &self.hold);
        Ok(Captured { hold, transfer, accounts, moved: book.close() })
    }
}

/// What is taken of a hold, and where it goes.
pub(crate) struct Take {
    pub(crate) command: &'static str,
    pub(crate) amount: MinorUnits,
    pub(crate) to: AccountId,
    pub(crate) reference: Option<Key>,
}

/// Captures a hold that is open and in time, for at most what it set aside, in its currency: its
/// account is debited, another credited, the rest released.
///
/// # Errors
/// `amount_overflow`, if the credited account holds no more.
pub(crate) fn capture(
    book: &mut Book<'_, '_>,
    (id, hold): (&Key, &AccountHold),
    taking: Take,
) -> Decided<(TransferView, Vec<AccountView>)> {
    release(book, id, hold);
    let mut booking = Booking::of(taking.command, hold.currency.clone())
        .debit(hold.account.clone(), taking.amount.into(), None)
        .credit(taking.to, taking.amount.into(), None);
    booking.reference = taking.reference;
    let posted = book.move_all(booking)?;

    // Past here it succeeds.
    if let Some(expires_at) = hold.expires_at {
        book.draft.commit_before(expires_at);
    }
    let (status, ended_at) = (HoldStatus::Captured, Some(book.now));
    let transfer = Some(posted.transfer.clone());
    let record = AccountHold { status, ended_at, transfer, ..hold.clone() };
    book.draft.put(&RecordId::from(id), record);
    let transfer = TransferView::find(book.draft, &posted.transfer);
    Ok((transfer.expect("it was written by this command"), posted.accounts))
}

/// Gives back what a hold set aside.
fn release(book: &mut Book<'_, '_>, id: &Key, hold: &AccountHold) {
    let mut account = book.own_account(&hold.account, &hold.currency);
    account.release(id);
    book.put_account(&hold.account, account);
}

/// Releases a hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct VoidFunds {
    /// Which hold.
    pub hold: Key,
    /// Only at one of these versions of the hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for VoidFunds {
    const NAME: &'static str = "accounts.void_hold";
    type Reply = Held;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<Held> {
        let mut book = Book::open(draft, now);
        let (hold, version) = find_hold(&mut book, &self.hold)?;
        hold.is_callers()?;
        at_version(self.if_version.as_ref(), version)?;
        hold.is_not_ended()?;
        hold.is_in_time(now)?;

        // Past here it succeeds.
        void(&mut book, (&self.hold, &hold));
        let view = hold_view(&mut book, &self.hold);
        let account = account_view(&mut book, &hold.account);
        Ok(Held { hold: view, account, moved: book.close() })
    }
}

/// Voids a hold that is open and in time.
pub(crate) fn void(book: &mut Book<'_, '_>, (id, hold): (&Key, &AccountHold)) {
    if let Some(expires_at) = hold.expires_at {
        book.draft.commit_before(expires_at);
    }
    release(book, id, hold);
    let (status, ended_at) = (HoldStatus::Voided, Some(book.now));
    book.draft.put(&RecordId::from(id), AccountHold { status, ended_at, ..hold.clone() });
}

fn hold_view(book: &mut Book<'_, '_>, id: &Key) -> AccountHoldView {
    let now = book.now;
    let (hold, version) = find_hold(book, id).expect("it was written by this command");
    AccountHoldView::of((id, &hold), version, now)
}

fn account_view(book: &mut Book<'_, '_>, id: &AccountId) -> AccountView {
    let view = AccountView::find(book.draft, id, book.now);
    view.expect("it was written by this command")
}

/// Tells how a hold on an account is now.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ReadAccountHold {
    /// Which one.
    pub id: Key,
}

/// A hold on an account as it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HoldReply {
    /// The hold.
    pub hold: AccountHoldView,
}

impl Command for ReadAccountHold {
    const NAME: &'static str = "account_holds.read";
    type Reply = HoldReply;
    type Rejection = MoneyRejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<HoldReply> {
        let record = RecordId::from(&self.id);
        let Some(hold) = draft.get::<AccountHold>(&record) else {
            return Err(MoneyRejection::HoldNotFound { id: self.id.clone() });
        };
        let version = draft.version::<AccountHold>(&record);
        Ok(HoldReply { hold: AccountHoldView::of((&self.id, &hold), version, now) })
    }
}
