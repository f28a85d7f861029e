//! Accounts of callers: opened, moved between, held on, closed.
//!
//! Invariant: what a caller names here is a caller's. The accounts of the book itself, `sys:…`,
//! move by the commands of retainers, invoices, payments and refunds alone; a ticket's hold by the
//! ticket alone. `available` of a bounded account is never below 0, and nothing is on a closed one.
//!
//! To refuse money that was there is harmless, it costs a retry. To move what is not there, to give
//! one sum to two holders, to take a hold that ran out are the mistakes that must not happen.

mod account;
mod hold;
mod transfer;
mod view;

use std::sync::Arc;

use crate::money::{Account, Book, Decided, MoneyRejection};
use crate::{AccountId, CommandSpec, RecordId};

pub use account::{AccountReply, CloseAccount, CreateAccount, ReadAccount};
pub use hold::{CaptureFunds, Captured, Held, HoldFunds, HoldReply, ReadAccountHold, VoidFunds};
pub(crate) use hold::{NewHold, Take, capture, has_funds, has_room, hold, void};
pub use transfer::{
    CreateTransfer, CreditAccount, DebitAccount, ReadTransfer, ReverseTransfer, Reversed,
    TransferLine, TransferReply, Transferred,
};
pub use view::{AccountHoldView, AccountStatus, AccountView, HoldState, TransferView};

/// The commands of accounts, of holds on them and of transfers.
pub(crate) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::change::<CreateAccount>().of_money(),
    CommandSpec::change::<CreditAccount>().of_money(),
    CommandSpec::change::<DebitAccount>().of_money(),
    CommandSpec::change::<HoldFunds>().of_money(),
    CommandSpec::change::<CaptureFunds>().of_money(),
    CommandSpec::change::<VoidFunds>().of_money(),
    CommandSpec::change::<CloseAccount>().of_money(),
    CommandSpec::read::<ReadAccount>().of_money(),
    CommandSpec::read::<ReadAccountHold>().of_money(),
    CommandSpec::change::<CreateTransfer>().of_money(),
    CommandSpec::change::<ReverseTransfer>().of_money(),
    CommandSpec::read::<ReadTransfer>().of_money(),
];

/// An account that a rule goes on with, as it is stored: no copy of what is held on it.
pub(crate) fn stored(book: &mut Book<'_, '_>, id: &AccountId) -> Option<Arc<Account>> {
    book.draft.get::<Account>(&RecordId::from(id))
}

/// Tests that something may still happen on an account.
///
/// # Errors
/// `account_closed`.
pub(crate) fn is_open((id, account): (&AccountId, &Account)) -> Decided<()> {
    match account.closed_at {
        Some(_) => Err(MoneyRejection::AccountClosed { account: id.clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
