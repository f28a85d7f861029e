//! The ledger: accounts, the holds on them, and transfers, each the sum of its postings.
//!
//! Invariant: [`Book::post`] is the only way to a balance. It writes a transfer, one posting for
//! each of its lines and the accounts they move; the debits of a transfer are its credits. A
//! posting is never changed: what was wrong is made good by another transfer. A bounded account
//! keeps `held <= posted` after every command.
//!
//! Why a balance is stored beside its postings, which say it already: a decision reads one record
//! and not a history. The audit adds the postings up again.

use serde::{Deserialize, Serialize};

use super::accounts::AccountView;
use super::series::ChainPlace;
use super::{Decided, Event, MoneyRejection};
use crate::{
    AccountId, Balance, CurrencyCode, Draft, Key, Kind, Minor, MinorUnits, Record, RecordId,
    Timestamp, Version,
};

/// How many holds are open on one account at once.
pub(crate) const HOLDS_MAX: usize = 1_024;

/// Which side of an account. A credit raises it, a debit lowers it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "an account has two sides")]
pub enum Side {
    /// Lowers.
    Debit,
    /// Raises.
    Credit,
}

impl Side {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Debit => Self::Credit,
            Self::Credit => Self::Debit,
        }
    }
}

/// Whether an account may go below nothing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Class {
    /// What is available is never below 0.
    #[default]
    Bounded,
    /// Stands for the outside: a bank, a mint, another book. No bound, no holds.
    External,
}

/// An account. Its id is its [`AccountId`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Whose it is; `None` for the book's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<Key>,
    pub(crate) currency: CurrencyCode,
    pub(crate) class: Class,
    pub(crate) posted: Balance,
    /// What is set aside, in the order in which it was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) holds: Vec<OpenHold>,
    pub(crate) opened_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) closed_at: Option<Timestamp>,
}

impl Record for Account {
    const KIND: Kind = Kind::new("accounts");
}

/// An open hold, as its account counts it: while `now < expires_at`, written or not.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenHold {
    pub(crate) id: Key,
    pub(crate) amount: MinorUnits,
    /// `None`: until it is captured or voided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<Timestamp>,
}

impl OpenHold {
    fn is_open(&self, now: Timestamp) -> bool {
        if crate::planted!("account_hold_forever") {
            return true;
        }
        self.expires_at.is_none_or(|expires_at| now < expires_at)
    }
}

impl Account {
    pub(crate) fn new(
        owner: Option<Key>,
        (currency, class): (CurrencyCode, Class),
        opened_at: Timestamp,
    ) -> Self {
        let posted = Balance::ZERO;
        Self { owner, currency, class, posted, holds: Vec::new(), opened_at, closed_at: None }
    }

    /// What is set aside at `now`.
    pub(crate) fn held(&self, now: Timestamp) -> Minor {
        let open = self.holds.iter().filter(|hold| hold.is_open(now));
        open.fold(Minor::ZERO, |sum, hold| {
            sum.checked_add(hold.amount.into()).expect("what is held was posted")
        })
    }

    /// How many holds are open at `now`.
    pub(crate) fn holds_open(&self, now: Timestamp) -> usize {
        self.holds.iter().filter(|hold| hold.is_open(now)).count()
    }

    /// What a debit may take at `now`, of a bounded account.
    pub(crate) fn available(&self, now: Timestamp) -> Minor {
        let posted = self.posted.sum().unwrap_or_default();
        if crate::planted!("account_hold_uncounted") {
            return posted;
        }
        posted.checked_sub(self.held(now)).unwrap_or_default()
    }

    /// Sets aside; the caller has seen that it is available and that there are not too many.
    pub(crate) fn hold(
        &mut self,
        id: Key,
        (amount, expires_at): (MinorUnits, Option<Timestamp>),
        now: Timestamp,
    ) {
        // Those that ran out say nothing any more.
        self.holds.retain(|hold| hold.is_open(now));
        self.holds.push(OpenHold { id, amount, expires_at });
    }

    /// Ends a hold, if it is one of these.
    pub(crate) fn release(&mut self, id: &Key) {
        self.holds.retain(|hold| hold.id != *id);
    }
}

/// A hold on an account, kept for ever.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountHold {
    pub(crate) account: AccountId,
    pub(crate) amount: MinorUnits,
    pub(crate) currency: CurrencyCode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) status: HoldStatus,
    pub(crate) made_at: Timestamp,
    /// When it was captured or voided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) by: HeldBy,
    /// The caller's own word for it.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub(crate) reference: Option<Key>,
    /// The transfer of its capture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) transfer: Option<Key>,
}

impl Record for AccountHold {
    const KIND: Kind = Kind::new("account_holds");
}

/// What became of a hold. That it ran out is derived from the time.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HoldStatus {
    /// Set aside, while its time lasts.
    Open,
    /// Taken, in whole or in part.
    Captured,
    /// Released.
    Voided,
}

/// Whose a hold is: only that may end it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HeldBy {
    /// A caller's.
    Caller,
    /// A ticket's.
    Ticket(Key),
    /// A refund's.
    Refund(Key),
    /// A dispute's.
    Dispute(Key),
}

/// Money moved, whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// The wire name of the command that moved it.
    pub(crate) command: String,
    pub(crate) currency: CurrencyCode,
    pub(crate) lines: Vec<Line>,
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub(crate) reference: Option<Key>,
    /// Its number, of a series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) number: Option<String>,
    /// Its place in the chain of that series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) chain: Option<ChainPlace>,
    pub(crate) seq: u64,
    pub(crate) at: Timestamp,
    /// The transfer that this one reverses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reverses: Option<Key>,
    /// The transfer that reversed this one, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reversed: Option<(Key, Timestamp)>,
}

impl Record for Transfer {
    const KIND: Kind = Kind::new("transfers");
    /// Read again to be reversed alone.
    const CACHED: bool = false;
}

/// One side of a transfer, as it is asked for.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Which account.
    pub account: AccountId,
    /// Which side of it.
    pub side: Side,
    /// Minor units of the transfer's currency.
    pub amount: MinorUnits,
    /// What it is about: an invoice, a payment.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Key>,
}

/// One side of a transfer, as it was posted. Stored in order of account and place.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Posting {
    pub(crate) transfer: Key,
    pub(crate) side: Side,
    pub(crate) amount: MinorUnits,
    pub(crate) posted_after: Balance,
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub(crate) reference: Option<Key>,
    pub(crate) seq: u64,
    pub(crate) at: Timestamp,
}

impl Record for Posting {
    const KIND: Kind = Kind::compound("postings", 2);
    /// No command reads a posting.
    const CACHED: bool = false;
}

/// Where a posting is: the account, length-prefixed as in every id of several names, then the place
/// in the journal and in the command.
pub(crate) fn posting_id(account: &AccountId, seq: u64, place: u64) -> RecordId {
    let account = account.as_str();
    RecordId::stored(&format!("{}:{account}{seq:020}:{place:03}", account.len()))
}

/// A posting as callers see it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PostingView {
    /// The transfer that it is a side of.
    pub transfer: Key,
    /// The account that it moved.
    pub account: AccountId,
    /// To which side.
    pub side: Side,
    /// By how many minor units.
    pub amount: MinorUnits,
    /// What stood on the account then.
    pub posted_after: Balance,
    /// What it is about.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Key>,
    /// The entry of the journal.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
}

/// What a command about money tells beside the resources it changed.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Moved {
    /// What it posted.
    #[serde(default)]
    pub postings: Vec<PostingView>,
    /// What others may want to hear of.
    #[serde(default)]
    pub events: Vec<Event>,
}

/// A transfer in the making: lines of one currency. Lines of nothing are left out.
#[derive(Clone, Debug)]
pub struct Booking {
    command: &'static str,
    currency: CurrencyCode,
    lines: Vec<Line>,
    /// The transfer's id, if it is drawn already.
    pub(crate) id: Option<Key>,
    pub(crate) reference: Option<Key>,
    pub(crate) number: Option<String>,
    pub(crate) chain: Option<ChainPlace>,
    pub(crate) reverses: Option<Key>,
}

impl Booking {
    /// Nothing yet, for the command of this wire name.
    pub(crate) const fn of(command: &'static str, currency: CurrencyCode) -> Self {
        let lines = Vec::new();
        let (id, reference, number, chain, reverses) = (None, None, None, None, None);
        Self { command, currency, lines, id, reference, number, chain, reverses }
    }

    /// Adds a debit that is about `reference`.
    #[must_use]
    pub(crate) fn debit(self, account: AccountId, amount: Minor, about: Option<&Key>) -> Self {
        self.line((account, Side::Debit), amount, about)
    }

    /// Adds a credit that is about `reference`.
    #[must_use]
    pub(crate) fn credit(self, account: AccountId, amount: Minor, about: Option<&Key>) -> Self {
        self.line((account, Side::Credit), amount, about)
    }

    /// Adds a line.
    #[must_use]
    pub(crate) fn line(
        mut self,
        (account, side): (AccountId, Side),
        amount: Minor,
        about: Option<&Key>,
    ) -> Self {
        if let Some(amount) = amount.positive() {
            self.lines.push(Line { account, side, amount, reference: about.cloned() });
        }
        self
    }

    /// Whether there is nothing to post.
    pub(crate) const fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

/// What came of a booking.
#[derive(Debug)]
pub(crate) struct Posted {
    /// The transfer's id.
    pub(crate) transfer: Key,
    /// The accounts that it moved, in the order of its lines.
    pub(crate) accounts: Vec<AccountView>,
}

/// Accounts by their ids.
type Accounts = Vec<(AccountId, Account)>;

/// A draft in the hands of a rule about money: what it posts and emits is told in its reply.
///
/// A rule makes one at its start: to read the journal's tail is what gives all commands of a book
/// one order, in which `now` never goes back.
#[derive(Debug)]
pub(crate) struct Book<'d, 'v> {
    pub(crate) draft: &'d mut Draft<'v>,
    pub(crate) now: Timestamp,
    pub(crate) seq: u64,
    moved: Moved,
}

impl<'d, 'v> Book<'d, 'v> {
    /// Opens the book for one command.
    pub(crate) fn open(draft: &'d mut Draft<'v>, now: Timestamp) -> Self {
        let seq = draft.seq();
        Self { draft, now, seq, moved: Moved::default() }
    }

    /// Opens the book to look alone: who only reads has no place in its order.
    pub(crate) fn look(draft: &'d mut Draft<'v>, now: Timestamp) -> Self {
        Self { draft, now, seq: 0, moved: Moved::default() }
    }

    /// Says what others may want to hear of.
    pub(crate) fn emit(&mut self, event: Event) {
        let json = serde_json::to_value(&event).expect("an event is plain data");
        self.draft.emit(json);
        self.moved.events.push(event);
    }

    /// An account, as all that came before left it.
    pub(crate) fn account(&mut self, id: &AccountId) -> Option<Account> {
        let account = self.draft.get::<Account>(&RecordId::from(id));
        account.map(|account| (*account).clone())
    }

    /// An account of the book itself, open from its first posting on.
    pub(crate) fn own_account(&mut self, id: &AccountId, currency: &CurrencyCode) -> Account {
        let bounded = ["sys:retainer:", "sys:unapplied:"];
        let bounded = bounded.iter().any(|prefix| id.as_str().starts_with(prefix));
        let class = if bounded { Class::Bounded } else { Class::External };
        let now = self.now;
        self.account(id).unwrap_or_else(|| Account::new(None, (currency.clone(), class), now))
    }

    /// Writes an account; gives its version.
    pub(crate) fn put_account(&mut self, id: &AccountId, account: Account) -> Version {
        self.draft.put(&RecordId::from(id), account)
    }

    /// Tests whether a booking can be posted: what it takes is available, and no balance grows
    /// above the largest. Accounts of callers are there, open and in its currency: their rules have
    /// tested that before.
    ///
    /// # Errors
    /// `insufficient_funds`, then `amount_overflow`.
    pub(crate) fn can_post(&mut self, booking: &Booking) -> Decided<()> {
        self.moved_accounts(booking).map(|_| ())
    }

    /// Each account of a booking after it, in the order of its lines, and what stood there after
    /// each line.
    fn moved_accounts(&mut self, booking: &Booking) -> Decided<(Accounts, Vec<Balance>)> {
        // A booking has few lines, so a search from the start is the shortest way to its account.
        let mut accounts: Accounts = Vec::with_capacity(booking.lines.len());
        for line in &booking.lines {
            if !accounts.iter().any(|(id, _)| *id == line.account) {
                let account = self.own_account(&line.account, &booking.currency);
                accounts.push((line.account.clone(), account));
            }
        }
        for (id, account) in &accounts {
            self.can_pay(booking, (id, account))?;
        }
        let mut after = Vec::with_capacity(booking.lines.len());
        for line in &booking.lines {
            let one_sided = crate::planted!("one_sided") && line.side == Side::Credit;
            let found = accounts.iter_mut().find(|(id, _)| *id == line.account);
            let (_, account) = found.expect("each line's account was read");
            let amount = line.amount.into();
            let posted = match line.side {
                Side::Debit => account.posted.debit(amount),
                Side::Credit if one_sided => Some(account.posted),
                Side::Credit => account.posted.credit(amount),
            };
            account.posted = posted.ok_or(MoneyRejection::AmountOverflow {})?;
            after.push(account.posted);
        }
        Ok((accounts, after))
    }

    /// Tests that what a booking takes of an account is available there.
    fn can_pay(&self, booking: &Booking, (id, account): (&AccountId, &Account)) -> Decided<()> {
        if account.class == Class::External {
            return Ok(());
        }
        let own = booking.lines.iter().filter(|line| line.account == *id);
        let required = own.fold(0_i128, |sum, line| match line.side {
            Side::Debit => sum.saturating_add(line.amount.get().into()),
            Side::Credit => sum.saturating_sub(line.amount.get().into()),
        });
        let available = account.available(self.now);
        if available.wide() < required {
            let required = Minor::from_wide(required).ok_or(MoneyRejection::AmountOverflow {})?;
            let account = id.clone();
            return Err(MoneyRejection::InsufficientFunds { account, available, required });
        }
        Ok(())
    }

    /// Posts a booking: the transfer, its postings and the accounts they move. Gives the
    /// transfer's id; `None` if there was nothing to post.
    ///
    /// # Errors
    /// As [`Book::can_post`].
    ///
    /// # Panics
    /// If its debits are not its credits: a mistake of the rule.
    pub(crate) fn post(&mut self, booking: Booking) -> Decided<Option<Key>> {
        if booking.is_empty() {
            return Ok(None);
        }
        self.move_all(booking).map(|moved| Some(moved.transfer))
    }

    /// As [`Book::post`], of a booking with lines; tells how the accounts are after it.
    ///
    /// # Errors
    /// As [`Book::can_post`].
    ///
    /// # Panics
    /// If its debits are not its credits: a mistake of the rule.
    pub(crate) fn move_all(&mut self, booking: Booking) -> Decided<Posted> {
        let sum = booking.lines.iter().fold(0_i128, |sum, line| match line.side {
            Side::Debit => sum.saturating_sub(line.amount.get().into()),
            Side::Credit => sum.saturating_add(line.amount.get().into()),
        });
        assert_eq!(sum, 0, "a transfer balances");
        let (accounts, after) = self.moved_accounts(&booking)?;

        // Past here it succeeds.
        let accounts = accounts.into_iter().map(|(id, account)| {
            let view = AccountView::of((id.clone(), &account), Version::ABSENT, self.now);
            let version = self.draft.put(&RecordId::from(&id), account);
            AccountView { version, ..view }
        });
        let accounts = accounts.collect();
        let transfer = booking.id.clone().unwrap_or_else(|| self.draft.drawn_key());
        for (line, posted_after) in booking.lines.iter().zip(after) {
            self.put_posting((&transfer, booking.reference.as_ref()), line, posted_after);
        }
        let record = Transfer {
            command: booking.command.to_owned(),
            currency: booking.currency,
            lines: booking.lines,
            reference: booking.reference,
            number: booking.number,
            chain: booking.chain,
            seq: self.seq,
            at: self.now,
            reverses: booking.reverses,
            reversed: None,
        };
        self.draft.put_first(&RecordId::from(&transfer), record);
        Ok(Posted { transfer, accounts })
    }

    /// Writes one side of a transfer. It is about what its line says, else what the transfer says.
    fn put_posting(
        &mut self,
        (transfer, about): (&Key, Option<&Key>),
        line: &Line,
        posted_after: Balance,
    ) {
        let place = u64::try_from(self.moved.postings.len()).expect("a transfer has few lines");
        let Line { account, side, amount, reference } = line.clone();
        let (transfer, reference) = (transfer.clone(), reference.or_else(|| about.cloned()));
        let (seq, at) = (self.seq, self.now);
        let id = posting_id(&account, seq, place);
        let view =
            PostingView { transfer, account, side, amount, posted_after, reference, seq, at };
        let PostingView { transfer, reference, .. } = view.clone();
        self.moved.postings.push(view);
        if crate::planted!("posting_left_out") && side == Side::Credit {
            return;
        }
        let posting = Posting { transfer, side, amount, posted_after, reference, seq, at };
        self.draft.put_first(&id, posting);
    }

    /// Closes the book: what the command posted and emitted.
    pub(crate) fn close(self) -> Moved {
        self.moved
    }
}

/// An account that a caller named, as the first tests of a rule want it: there, and not the book's
/// own.
///
/// # Errors
/// `account_not_found`, then `reserved_account`.
pub(crate) fn open_account(book: &mut Book<'_, '_>, id: &Key) -> Decided<(AccountId, Account)> {
    let account = AccountId::of(id);
    if account.is_system() {
        return Err(MoneyRejection::ReservedAccount { account });
    }
    match book.account(&account) {
        Some(found) => Ok((account, found)),
        None => Err(MoneyRejection::AccountNotFound { id: id.clone() }),
    }
}
