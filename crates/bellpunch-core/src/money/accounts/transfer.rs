//! `transfers.create`, its two-line forms `accounts.credit` and `accounts.debit`,
//! `transfers.reverse`, `transfers.read`.
//!
//! Invariant: a transfer is of one currency, its debits are its credits, and all of its lines are
//! posted or none. It is never changed but for the mark that it was reversed, once, by its mirror.

use serde::{Deserialize, Serialize};

use super::{AccountView, TransferView, is_open, stored};
use crate::money::series::{self, Assigned, Series};
use crate::money::{
    Account, Book, Booking, Decided, MoneyRejection, Moved, Side, Transfer, at_version,
    known_currency, same_currency,
};
use crate::{
    AccountId, Command, CurrencyCode, Draft, IfVersion, Key, Minor, Money, RecordId, Timestamp,
};

/// Lines of one transfer: a commit must fit the smallest backend.
const LINES_MAX: usize = 40;

/// One side of a transfer that a caller asks for.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TransferLine {
    /// Which account.
    pub account: Key,
    /// Which side of it.
    pub side: Side,
    /// How much.
    pub amount: Money,
}

/// Moves money between accounts.
///
/// ```
/// use bellpunch_core::money::{Side, accounts::CreateTransfer};
/// let transfer: CreateTransfer = serde_json::from_value(serde_json::json!({ "lines": [
///     {"account": "a", "side": "debit", "amount": {"amount": 5, "currency": "SAR"}},
///     {"account": "b", "side": "credit", "amount": {"amount": 5, "currency": "SAR"}},
/// ]}))?;
/// assert_eq!(transfer.lines[0].side, Side::Debit);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateTransfer {
    /// Its sides, at most 40. A debit lowers an account, a credit raises it.
    pub lines: Vec<TransferLine>,
    /// The caller's own word for it.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Key>,
    /// Gives it a number of this series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<Key>,
}

/// A transfer and what it moved.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Transferred {
    /// The transfer.
    pub transfer: TransferView,
    /// Its accounts after it, in the order of its lines.
    pub accounts: Vec<AccountView>,
    /// What was posted, and what else it brought about.
    #[serde(flatten)]
    pub moved: Moved,
}

impl Command for CreateTransfer {
    const NAME: &'static str = "transfers.create";
    type Reply = Transferred;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<Transferred> {
        Moving {
            command: Self::NAME,
            lines: &self.lines,
            reference: self.reference.as_ref(),
            series: self.series.as_ref(),
            if_version: None,
        }
        .decide(draft, now)
    }
}

/// Raises an account, and lowers another by as much.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CreditAccount {
    /// The account that is raised.
    pub id: Key,
    /// By how much.
    pub amount: Money,
    /// The account that is lowered.
    pub from: Key,
    /// Only at one of these versions of the account that is raised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for CreditAccount {
    const NAME: &'static str = "accounts.credit";
    type Reply = Transferred;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<Transferred> {
        let lines = two_lines((&self.id, Side::Credit), &self.from, &self.amount);
        let if_version = self.if_version.as_ref();
        Moving { command: Self::NAME, lines: &lines, reference: None, series: None, if_version }
            .decide(draft, now)
    }
}

/// Lowers an account, and raises another by as much.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DebitAccount {
    /// The account that is lowered.
    pub id: Key,
    /// By how much.
    pub amount: Money,
    /// The account that is raised.
    pub to: Key,
    /// Only at one of these versions of the account that is lowered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for DebitAccount {
    const NAME: &'static str = "accounts.debit";
    type Reply = Transferred;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<Transferred> {
        let lines = two_lines((&self.id, Side::Debit), &self.to, &self.amount);
        let if_version = self.if_version.as_ref();
        Moving { command: Self::NAME, lines: &lines, reference: None, series: None, if_version }
            .decide(draft, now)
    }
}

fn two_lines((id, side): (&Key, Side), other: &Key, amount: &Money) -> [TransferLine; 2] {
    [(id, side), (other, side.other())].map(|(account, side)| TransferLine {
        account: account.clone(),
        side,
        amount: amount.clone(),
    })
}

/// A transfer as all three commands ask for it.
struct Moving<'c> {
    command: &'static str,
    lines: &'c [TransferLine],
    reference: Option<&'c Key>,
    series: Option<&'c Key>,
    /// On the first line's account.
    if_version: Option<&'c IfVersion>,
}

impl Moving<'_> {
    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<Transferred> {
        let mut book = Book::open(draft, now);
        let currency = self.check_shape(&mut book)?;
        // All are read before one is missed, so that they are loaded together.
        let ids: Vec<AccountId> =
            self.lines.iter().map(|line| AccountId::of(&line.account)).collect();
        let found: Vec<_> = ids.iter().map(|id| stored(&mut book, id)).collect();
        let mut accounts = Vec::with_capacity(found.len());
        for ((id, account), line) in ids.iter().zip(found).zip(self.lines) {
            match account {
                Some(account) => accounts.push(account),
                // One of the book's own is there before its first posting.
                None if id.is_system() => {}
                None => return Err(MoneyRejection::AccountNotFound { id: line.account.clone() }),
            }
        }
        let series = self.series.map(|name| series::find(&mut book, name.as_str())).transpose()?;
        if let Some(account) = ids.iter().find(|id| id.is_system()) {
            return Err(MoneyRejection::ReservedAccount { account: account.clone() });
        }
        if let (Some(wanted), [id, ..]) = (self.if_version, ids.as_slice()) {
            at_version(Some(wanted), book.draft.version::<Account>(&RecordId::from(id)))?;
        }
        for (id, account) in ids.iter().zip(&accounts) {
            is_open((id, account))?;
        }
        let mut booking = Booking::of(self.command, currency.clone());
        for ((id, account), line) in ids.into_iter().zip(accounts).zip(self.lines) {
            same_currency(&account.currency, &line.amount.currency)?;
            same_currency(currency, &line.amount.currency)?;
            booking = booking.line((id, line.side), line.amount.amount.into(), None);
        }
        booking.reference = self.reference.cloned();
        let assigned = match series {
            Some(series) => Some(number(&mut book, &mut booking, &series)?),
            None => None,
        };
        let posted = book.move_all(booking)?;
        if let Some(assigned) = assigned {
            let record = book.draft.get::<Transfer>(&RecordId::from(&posted.transfer));
            let frozen = serde_json::to_value(record.as_deref()).expect("a record is plain data");
            series::seal(&mut book, &assigned, &frozen);
        }
        let transfer = TransferView::find(book.draft, &posted.transfer);
        let transfer = transfer.expect("it was written by this command");
        Ok(Transferred { transfer, accounts: posted.accounts, moved: book.close() })
    }

    /// Tests what the command says by itself; gives the currency of its first line.
    fn check_shape(&self, book: &mut Book<'_, '_>) -> Decided<&CurrencyCode> {
        let wrong = |reason| MoneyRejection::InvalidRequest { field: "lines", reason };
        let [first, rest @ ..] = self.lines else {
            return Err(wrong("a transfer has lines"));
        };
        if LINES_MAX < self.lines.len() {
            return Err(wrong("a transfer has at most 40 lines"));
        }
        let currency = &first.amount.currency;
        known_currency(book.draft, currency)?;
        for line in rest.iter().filter(|line| line.amount.currency != *currency) {
            known_currency(book.draft, &line.amount.currency)?;
        }
        let mut checked: Vec<&CurrencyCode> = Vec::with_capacity(1);
        for line in self.lines {
            if !checked.contains(&&line.amount.currency) {
                self.balances(&line.amount.currency)?;
                checked.push(&line.amount.currency);
            }
        }
        Ok(currency)
    }

    /// Tests that the debits of a currency are its credits.
    fn balances(&self, currency: &CurrencyCode) -> Decided<()> {
        let of = |side: Side| {
            let lines = self.lines.iter().filter(|line| line.side == side);
            let lines = lines.filter(|line| line.amount.currency == *currency);
            lines.fold(0_i128, |sum, line| sum.saturating_add(line.amount.amount.get().into()))
        };
        let sum = |sum| Minor::from_wide(sum).ok_or(MoneyRejection::AmountOverflow {});
        let (debits, credits) = (of(Side::Debit), of(Side::Credit));
        if debits == credits {
            return Ok(());
        }
        let (currency, debits, credits) = (currency.clone(), sum(debits)?, sum(credits)?);
        Err(MoneyRejection::Unbalanced { currency, debits, credits })
    }
}

/// Gives a booking that can be posted its number. That is the last thing that can fail: no amount
/// fails after it was taken.
///
/// # Errors
/// Those of the booking, then `scope_required`, `series_exhausted`, `chain_unsealed`.
fn number(book: &mut Book<'_, '_>, booking: &mut Booking, series: &Series) -> Decided<Assigned> {
    book.can_post(booking)?;
    let transfer = book.draft.drawn_key();
    let assigned = series.assign(book, None, &transfer)?;
    booking.number = Some(assigned.number.clone());
    booking.chain = assigned.chain.clone();
    booking.id = Some(transfer);
    Ok(assigned)
}

/// Moves back what a transfer moved: a mirror of it, once. Also of a capture and of a ticket's
/// redeem; the ticket stays used.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ReverseTransfer {
    /// Which one.
    pub id: Key,
    /// Only at one of these versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

/// A transfer that was reversed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Reversed {
    /// The mirror transfer.
    pub transfer: TransferView,
    /// The one that it reverses.
    pub reversed: TransferView,
    /// The accounts after it, in the order of its lines.
    pub accounts: Vec<AccountView>,
    /// What was posted, and what else it brought about.
    #[serde(flatten)]
    pub moved: Moved,
}

impl Command for ReverseTransfer {
    const NAME: &'static str = "transfers.reverse";
    type Reply = Reversed;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<Reversed> {
        let mut book = Book::open(draft, now);
        let record = RecordId::from(&self.id);
        let missing = || MoneyRejection::TransferNotFound { id: self.id.clone() };
        let transfer = book.draft.get::<Transfer>(&record).ok_or_else(missing)?;
        if let Some(line) = transfer.lines.iter().find(|line| line.account.is_system()) {
            return Err(MoneyRejection::ReservedAccount { account: line.account.clone() });
        }
        at_version(self.if_version.as_ref(), book.draft.version::<Transfer>(&record))?;
        if let Some((by, at)) = transfer.reversed.clone() {
            return Err(MoneyRejection::AlreadyReversed { by, at });
        }
        let mut booking = Booking::of(Self::NAME, transfer.currency.clone());
        for line in &transfer.lines {
            if let Some(account) = stored(&mut book, &line.account) {
                is_open((&line.account, &account))?;
            }
            let to = (line.account.clone(), line.side.other());
            booking = booking.line(to, line.amount.into(), line.reference.as_ref());
        }
        booking.reverses = Some(self.id.clone());
        booking.reference = transfer.reference.clone();
        let posted = book.move_all(booking)?;

        // Past here it succeeds.
        let reversed = Some((posted.transfer.clone(), now));
        book.draft.put(&record, Transfer { reversed, ..(*transfer).clone() });
        let mut view =
            |id: &Key| TransferView::find(book.draft, id).expect("it was written by this command");
        let (mirror, reversed) = (view(&posted.transfer), view(&self.id));
        Ok(Reversed { transfer: mirror, reversed, accounts: posted.accounts, moved: book.close() })
    }
}

/// Tells how a transfer is now.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ReadTransfer {
    /// Which one.
    pub id: Key,
}

/// A transfer as it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TransferReply {
    /// The transfer.
    pub transfer: TransferView,
}

impl Command for ReadTransfer {
    const NAME: &'static str = "transfers.read";
    type Reply = TransferReply;
    type Rejection = MoneyRejection;

    fn decide(&self, draft: &mut Draft<'_>, _: Timestamp) -> Decided<TransferReply> {
        match TransferView::find(draft, &self.id) {
            Some(transfer) => Ok(TransferReply { transfer }),
            None => Err(MoneyRejection::TransferNotFound { id: self.id.clone() }),
        }
    }
}
