//! Accounts, holds and transfers as callers see them.

use serde::{Deserialize, Serialize};

use crate::money::series::ChainPlace;
use crate::money::{Account, AccountHold, Class, HeldBy, HoldStatus, Line, Transfer};
use crate::{AccountId, Balance, CurrencyCode, Draft, Key, Minor, MinorUnits, RecordId};
use crate::{Timestamp, Version};

/// Whether an account takes anything.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AccountStatus {
    /// It does.
    Open,
    /// Nothing any more.
    Closed,
}

/// An account as callers see it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AccountView {
    /// Its id.
    pub id: AccountId,
    /// Whose it is; absent of the book's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Key>,
    /// Of all its sums.
    pub currency: CurrencyCode,
    /// Whether it has a lower bound.
    pub class: Class,
    /// Credits minus debits.
    pub posted: Balance,
    /// What is set aside, holds that ran out not counted.
    pub held: Minor,
    /// What stands on it and is not set aside.
    pub available: Balance,
    /// Whether it takes anything.
    pub status: AccountStatus,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it was closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
    /// Rises with every change.
    pub version: Version,
}

impl AccountView {
    /// How an account is at `now`.
    pub(crate) fn of(
        (id, account): (AccountId, &Account),
        version: Version,
        now: Timestamp,
    ) -> Self {
        let held = account.held(now);
        let available = account.posted.debit(held).expect("what is held was posted");
        let closed = account.closed_at.is_some();
        Self {
            id,
            owner: account.owner.clone(),
            currency: account.currency.clone(),
            class: account.class,
            posted: account.posted,
            held,
            available,
            status: if closed { AccountStatus::Closed } else { AccountStatus::Open },
            opened_at: account.opened_at,
            closed_at: account.closed_at,
            version,
        }
    }

    /// How an account is in this command's eyes; `None` if there is none.
    pub(crate) fn find(draft: &mut Draft<'_>, id: &AccountId, now: Timestamp) -> Option<Self> {
        let record = RecordId::from(id);
        let account = draft.get::<Account>(&record)?;
        let version = draft.version::<Account>(&record);
        Some(Self::of((id.clone(), &account), version, now))
    }
}

/// What a hold is, the passing of time included.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HoldState {
    /// Its amount is set aside.
    Open,
    /// Taken, in whole or in part.
    Captured,
    /// Released.
    Voided,
    /// Released by time.
    Expired,
}

/// A hold on an account as callers see it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AccountHoldView {
    /// Its id.
    pub id: Key,
    /// The account that it is on.
    pub account: AccountId,
    /// What it set aside, minor units.
    pub amount: MinorUnits,
    /// The account's.
    pub currency: CurrencyCode,
    /// Until when; absent: until it is captured or voided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// What it is now.
    pub status: HoldState,
    /// When it was made.
    pub made_at: Timestamp,
    /// When it was captured or voided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Who may end it: a caller, or the ticket, refund or dispute that made it.
    pub by: HeldBy,
    /// As it was given.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Key>,
    /// The transfer of its capture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer: Option<Key>,
    /// Rises with every change.
    pub version: Version,
}

impl AccountHoldView {
    /// How a hold is at `now`.
    pub(crate) fn of((id, hold): (&Key, &AccountHold), version: Version, now: Timestamp) -> Self {
        let ran_out = hold.expires_at.is_some_and(|expires_at| expires_at <= now);
        let status = match hold.status {
            HoldStatus::Open if ran_out => HoldState::Expired,
            HoldStatus::Open => HoldState::Open,
            HoldStatus::Captured => HoldState::Captured,
            HoldStatus::Voided => HoldState::Voided,
        };
        Self {
            id: id.clone(),
            account: hold.account.clone(),
            amount: hold.amount,
            currency: hold.currency.clone(),
            expires_at: hold.expires_at,
            status,
            made_at: hold.made_at,
            ended_at: hold.ended_at,
            by: hold.by.clone(),
            reference: hold.reference.clone(),
            transfer: hold.transfer.clone(),
            version,
        }
    }
}

/// A transfer as callers see it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TransferView {
    /// Its id.
    pub id: Key,
    /// The wire name of the command that moved it.
    pub command: String,
    /// Of all its lines.
    pub currency: CurrencyCode,
    /// Its sides. Their debits are their credits.
    pub lines: Vec<Line>,
    /// As it was given.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Key>,
    /// Its number, of a series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    /// Its place in the chain of that series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<ChainPlace>,
    /// Its entry in the journal.
    pub seq: u64,
    /// When it was moved.
    pub at: Timestamp,
    /// The transfer that this one reverses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverses: Option<Key>,
    /// The transfer that reversed this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reversed_by: Option<Key>,
    /// When it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reversed_at: Option<Timestamp>,
    /// Rises with every change.
    pub version: Version,
}

impl TransferView {
    /// How a transfer is in this command's eyes; `None` if there is none.
    pub(crate) fn find(draft: &mut Draft<'_>, id: &Key) -> Option<Self> {
        let record = RecordId::from(id);
        let transfer = draft.get::<Transfer>(&record)?;
        let version = draft.version::<Transfer>(&record);
        let reversed = transfer.reversed.clone();
        let (reversed_by, reversed_at) =
            reversed.map_or((None, None), |(by, at)| (Some(by), Some(at)));
        Some(Self {
            id: id.clone(),
            command: transfer.command.clone(),
            currency: transfer.currency.clone(),
            lines: transfer.lines.clone(),
            reference: transfer.reference.clone(),
            number: transfer.number.clone(),
            chain: transfer.chain.clone(),
            seq: transfer.seq,
            at: transfer.at,
            reverses: transfer.reverses.clone(),
            reversed_by,
            reversed_at,
            version,
        })
    }
}
