//! `accounts.create`, `close`, `read`.
//!
//! Invariant: an account is opened once and empty, and closed once and empty; it is never removed,
//! so its postings always have one.

use serde::{Deserialize, Serialize};

use super::{AccountView, is_open};
use crate::money::{
    Account, Book, Class, Decided, MoneyRejection, Moved, at_version, known_currency, open_account,
};
use crate::{AccountId, Command, CurrencyCode, Draft, IfVersion, Key, RecordId, Timestamp};

/// Opens an account.
///
/// ```
/// use bellpunch_core::money::{Class, accounts::CreateAccount};
/// let json = r#"{"id": "c1", "owner": "c1", "currency": "SAR"}"#;
/// let create: CreateAccount = serde_json::from_str(json)?;
/// assert_eq!(create.class, Class::Bounded);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateAccount {
    /// Its id; drawn unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Key>,
    /// Whose it is.
    pub owner: Key,
    /// Of all its sums, for ever.
    pub currency: CurrencyCode,
    /// Whether it has a lower bound: it does, unless it stands for the outside.
    #[serde(default)]
    pub class: Class,
}

/// An account after a command.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AccountReply {
    /// The account.
    pub account: AccountView,
    /// What was posted, and what else it brought about.
    #[serde(flatten)]
    pub moved: Moved,
}

impl Command for CreateAccount {
    const NAME: &'static str = "accounts.create";
    type Reply = AccountReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<AccountReply> {
        let mut book = Book::open(draft, now);
        known_currency(book.draft, &self.currency)?;
        let id = self.id.clone().unwrap_or_else(|| book.draft.drawn_key());
        let account = AccountId::of(&id);
        if super::stored(&mut book, &account).is_some() {
            return Err(MoneyRejection::AccountExists { id });
        }
        if account.is_system() {
            return Err(MoneyRejection::ReservedAccount { account });
        }

        // Past here it succeeds.
        let terms = (self.currency.clone(), self.class);
        let record = Account::new(Some(self.owner.clone()), terms, now);
        Ok(put(book, account, record))
    }
}

/// Closes an account on which nothing stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CloseAccount {
    /// Which one.
    pub id: Key,
    /// Only at one of these versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for CloseAccount {
    const NAME: &'static str = "accounts.close";
    type Reply = AccountReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<AccountReply> {
        let mut book = Book::open(draft, now);
        let (id, account) = open_account(&mut book, &self.id)?;
        let version = book.draft.version::<Account>(&RecordId::from(&id));
        at_version(self.if_version.as_ref(), version)?;
        is_open((&id, &account))?;
        let (posted, held) = (account.posted, account.held(now));
        if posted.get() != 0 || !held.is_zero() {
            return Err(MoneyRejection::AccountNotEmpty { posted, held });
        }

        // Past here it succeeds.
        let holds = Vec::new();
        Ok(put(book, id, Account { holds, closed_at: Some(now), ..account }))
    }
}

/// Writes an account and tells how it is now.
fn put(mut book: Book<'_, '_>, id: AccountId, record: Account) -> AccountReply {
    let view = AccountView::of((id, &record), crate::Version::ABSENT, book.now);
    let version = book.put_account(&view.id, record);
    AccountReply { account: AccountView { version, ..view }, moved: book.close() }
}

/// Tells how an account is now, one of the book's own too.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ReadAccount {
    /// Which one.
    pub id: Key,
}

impl Command for ReadAccount {
    const NAME: &'static str = "accounts.read";
    type Reply = AccountReply;
    type Rejection = MoneyRejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<AccountReply> {
        match AccountView::find(draft, &AccountId::of(&self.id), now) {
            Some(account) => Ok(AccountReply { account, moved: Moved::default() }),
            None => Err(MoneyRejection::AccountNotFound { id: self.id.clone() }),
        }
    }
}
