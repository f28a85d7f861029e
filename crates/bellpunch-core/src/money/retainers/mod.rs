//! Retainers: money of a client that the firm holds, consumed as it works.
//!
//! Invariant: a retainer's balance is what stands on its account `sys:retainer:{id}`, a bounded
//! one. Its status is a function of what is stored and the time. The command that takes the balance
//! to the minimum or below tells so once, in its own commit.

mod consume;
mod create;
mod refund;
mod replenish;
mod update;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Book, Decided, Event, MoneyRejection, Moved, OfOneState as _};
use crate::tickets::Metadata;
use crate::{
    AccountId, CommandSpec, CurrencyCode, Key, Kind, Minor, Record, RecordId, Timestamp, Version,
};

pub use consume::{Consume, ConsumptionReply, ConsumptionView, Restore};
pub use create::Create;
pub use refund::{RefundRetainer, RefundRetainerReply};
pub(crate) use refund::{pay_back, reopen};
pub use replenish::{Replenish, ReplenishReply};
pub use update::{Read, ReadConsumption, ReadConsumptionReply, ReadReply, Update};

/// What a retainer is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RetainerType {
    /// Paid ahead, used up.
    Advance,
    /// Filled up again when it runs low.
    Evergreen,
    /// A fee agreed on.
    FlatFee,
    /// Kept as a security.
    Security,
}

/// What a retainer is at an instant.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RetainerStatus {
    /// Refunded whole; terminal.
    Refunded,
    /// Its time is over.
    Expired,
    /// Nothing is left.
    Depleted,
    /// May be consumed.
    Active,
}

/// A retainer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retainer {
    pub(crate) number: String,
    pub(crate) client: Key,
    #[serde(rename = "type")]
    pub(crate) retainer_type: RetainerType,
    pub(crate) currency: CurrencyCode,
    /// What stands on its account.
    pub(crate) balance: Minor,
    pub(crate) minimum_balance: Minor,
    /// Whether the next fall to the minimum is to be told.
    pub(crate) alert_armed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) top_up: Option<Minor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) starts_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ends_at: Option<Timestamp>,
    /// When it was refunded whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refunded_at: Option<Timestamp>,
    /// The pending refund of all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) closing: Option<Key>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) metadata: Option<Metadata>,
    pub(crate) created_at: Timestamp,
}

impl Record for Retainer {
    const KIND: Kind = Kind::new("retainers");
}

/// What was consumed of a retainer, once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consumption {
    pub(crate) retainer: Key,
    pub(crate) amount: Minor,
    /// What of it was given back.
    pub(crate) restored: Minor,
    /// The invoice that it paid, and its allocation there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) invoice: Option<(Key, u64)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<Key>,
    pub(crate) seq: u64,
    pub(crate) at: Timestamp,
}

impl Record for Consumption {
    const KIND: Kind = Kind::new("consumptions");
}

/// The retainer of this id, and its version.
///
/// # Errors
/// `retainer_not_found`.
pub(crate) fn find(book: &mut Book<'_, '_>, id: &Key) -> Decided<(Arc<Retainer>, Version)> {
    let record = RecordId::from(id);
    let found = book.draft.get::<Retainer>(&record);
    let found = found.ok_or_else(|| MoneyRejection::RetainerNotFound { id: id.clone() })?;
    Ok((found, book.draft.version::<Retainer>(&record)))
}

impl Retainer {
    /// What it is at `now`.
    pub(crate) fn status(&self, now: Timestamp) -> RetainerStatus {
        if self.refunded_at.is_some() {
            RetainerStatus::Refunded
        } else if self.ends_at.is_some_and(|ends_at| ends_at <= now) {
            RetainerStatus::Expired
        } else if self.balance.is_zero() {
            RetainerStatus::Depleted
        } else {
            RetainerStatus::Active
        }
    }

    /// Tests that it was not refunded whole.
    ///
    /// # Errors
    /// `retainer_refunded`.
    pub(crate) fn not_refunded(&self) -> Decided<()> {
        self.refunded_at.map_or(Ok(()), |at| Err(MoneyRejection::RetainerRefunded { at }))
    }

    /// Tests that its time is not over.
    ///
    /// # Errors
    /// `retainer_expired`.
    pub(crate) fn not_expired(&self, now: Timestamp) -> Decided<()> {
        match self.ends_at {
            Some(ends_at) if ends_at <= now => Err(MoneyRejection::RetainerExpired { ends_at }),
            Some(_) | None => Ok(()),
        }
    }

    /// Tests that it is not being refunded whole.
    ///
    /// # Errors
    /// `retainer_closing`.
    pub(crate) fn not_closing(&self) -> Decided<()> {
        match &self.closing {
            Some(refund) => Err(MoneyRejection::RetainerClosing { refund: refund.clone() }),
            None => Ok(()),
        }
    }

    /// Tests that money may come in.
    ///
    /// # Errors
    /// `retainer_refunded`, `retainer_expired`, `retainer_closing`.
    pub(crate) fn takes_money(&self, now: Timestamp) -> Decided<()> {
        self.not_refunded()?;
        self.not_expired(now)?;
        self.not_closing()
    }
}

/// Writes a retainer whose balance is now another, as was posted in this command; tells what that
/// brought about. All that changes a balance comes through here. An end that the decision relied on
/// is stated by its rule.
pub(crate) fn put_balance(
    book: &mut Book<'_, '_>,
    id: &Key,
    (retainer, balance): (Retainer, Minor),
) -> Version {
    let after = Retainer { balance, ..retainer.clone() };
    put(book, id, (&retainer, after))
}

/// Writes a retainer with another balance or minimum. Who was above its minimum and is no longer is
/// told of once: only above it is the next fall told again.
fn put(book: &mut Book<'_, '_>, id: &Key, (before, mut after): (&Retainer, Retainer)) -> Version {
    let Retainer { balance, minimum_balance, top_up, .. } = after;
    let was_above = before.minimum_balance < before.balance;
    let is_above = minimum_balance < balance;
    // A minimum of nothing tells nobody: what is depleted is told below.
    let is_watched = !minimum_balance.is_zero();
    after.alert_armed = is_watched && is_above;
    if is_watched && was_above && !is_above {
        let event = Event::LowBalance { retainer: id.clone(), balance, minimum_balance, top_up };
        if crate::planted!("told_twice") {
            book.emit(event.clone());
        }
        book.emit(event);
    }
    if balance.is_zero() && !before.balance.is_zero() {
        book.emit(Event::RetainerDepleted { retainer: id.clone() });
    }
    book.draft.put(&RecordId::from(id), after)
}

/// Raises the balance of a retainer in the record, as a booking of this command credits its
/// account.
pub(crate) fn credit(book: &mut Book<'_, '_>, id: &Key, amount: Minor) -> Decided<Version> {
    let (retainer, _) = find(book, id)?;
    let balance = retainer.balance.checked_add(amount);
    let balance = balance.ok_or(MoneyRejection::AmountOverflow {})?;
    Ok(put_balance(book, id, ((*retainer).clone(), balance)))
}

/// Lowers the balance of a retainer in the record, as a booking of this command debits its account.
pub(crate) fn debit(book: &mut Book<'_, '_>, id: &Key, amount: Minor) -> Decided<Version> {
    let (retainer, _) = find(book, id)?;
    let balance = retainer.balance.checked_sub(amount);
    let balance = balance.of_one_state("the booking of this command was available on its account");
    Ok(put_balance(book, id, ((*retainer).clone(), balance)))
}

/// Writes a retainer of which another part is held now: what callers see of it is another, and has
/// another version.
pub(crate) fn touch(book: &mut Book<'_, '_>, id: &Key) -> Decided<Version> {
    let (retainer, _) = find(book, id)?;
    Ok(book.draft.put(&RecordId::from(id), (*retainer).clone()))
}

/// A retainer as callers see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RetainerView {
    /// Its id.
    pub id: Key,
    /// Its number, of the series RET.
    pub number: String,
    /// Whose money it is.
    pub client: Key,
    /// What it is for.
    #[serde(rename = "type")]
    pub retainer_type: RetainerType,
    /// Of all its sums.
    pub currency: CurrencyCode,
    /// What stands on it.
    pub balance: Minor,
    /// What of it is not held.
    pub available: Minor,
    /// At or below this its owner is told.
    pub minimum_balance: Minor,
    /// Whether the next fall to the minimum is to be told.
    pub alert_armed: bool,
    /// What the owner wants asked for when it is low.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_up: Option<Minor>,
    /// From when on it may be consumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
    /// Until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// What it is now.
    pub status: RetainerStatus,
    /// When it was refunded whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refunded_at: Option<Timestamp>,
    /// The pending refund of all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closing: Option<Key>,
    /// As it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// Rises with every change.
    pub version: Version,
}

/// A retainer as it is now, in this command's eyes.
///
/// # Errors
/// `retainer_not_found`.
pub(crate) fn view(book: &mut Book<'_, '_>, id: &Key) -> Decided<RetainerView> {
    let (found, version) = find(book, id)?;
    let now = book.now;
    let account = book.own_account(&AccountId::retainer(id), &found.currency);
    let status = found.status(now);
    let retainer = (*found).clone();
    Ok(RetainerView {
        id: id.clone(),
        number: retainer.number,
        client: retainer.client,
        retainer_type: retainer.retainer_type,
        currency: retainer.currency,
        balance: retainer.balance,
        available: account.available(now),
        minimum_balance: retainer.minimum_balance,
        alert_armed: retainer.alert_armed,
        top_up: retainer.top_up,
        starts_at: retainer.starts_at,
        ends_at: retainer.ends_at,
        status,
        refunded_at: retainer.refunded_at,
        closing: retainer.closing,
        metadata: retainer.metadata,
        version,
    })
}

/// A retainer, after the command.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RetainerReply {
    /// The retainer.
    pub retainer: RetainerView,
    /// What the command posted and emitted.
    #[serde(flatten)]
    pub moved: Moved,
}

fn reply(mut book: Book<'_, '_>, id: &Key) -> Decided<RetainerReply> {
    let retainer = view(&mut book, id)?;
    Ok(RetainerReply { retainer, moved: book.close() })
}

/// The commands of retainers.
pub(crate) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::change::<Create>().of_money(),
    CommandSpec::change::<Consume>().of_money(),
    CommandSpec::change::<Replenish>().of_money(),
    CommandSpec::change::<Restore>().of_money(),
    CommandSpec::change::<RefundRetainer>().of_money(),
    CommandSpec::change::<Update>().of_money(),
    CommandSpec::read::<Read>().of_money(),
    CommandSpec::read::<ReadConsumption>().of_money(),
];

#[cfg(test)]
mod tests;
