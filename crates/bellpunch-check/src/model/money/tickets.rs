//! The money of tickets: whose accounts they may name, and what they hold and move.
//!
//! Invariant: a ticket's hold moves only by the ticket, and is for all that it may take.

use serde_json::{Map, Value, json};

use super::Book;
use super::accounts::moved;
use super::ledger::{End, Hold, Transfer};
use super::value::{Money, What};
use crate::instant::Nanos;
use crate::model::fields::{Refusal, Writes, refuse};

/// The accounts of a ticket, with what it may take.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::model) struct Purse {
    pub(in crate::model) debit: String,
    pub(in crate::model) credit: String,
    pub(in crate::model) amount: u64,
    pub(in crate::model) currency: String,
}

impl Purse {
    fn money(&self, count: u64) -> Money {
        Money { minor: i128::from(count), currency: self.currency.clone() }
    }
}

/// The name of a ticket's hold.
fn hold_of(ticket: &str) -> String {
    format!("\u{0}ticket {ticket}")
}

impl Book {
    /// Refuses accounts that are not there, not theirs, or closed.
    pub(in crate::model) fn owns_purse(
        &self,
        purse: &Purse,
        payers: &[Option<&str>],
        audience: &str,
    ) -> Result<(), Refusal> {
        let debit = self.account(&purse.debit)?;
        let credit = self.account(&purse.credit)?;
        let mismatch =
            |account: &str| refuse("account_owner_mismatch", json!({ "account": account }));
        if !payers.contains(&Some(&debit.owner)) {
            return mismatch(&purse.debit);
        }
        if credit.owner != audience {
            return mismatch(&purse.credit);
        }
        self.is_purse_open(purse)
    }

    pub(in crate::model) fn is_purse_open(&self, purse: &Purse) -> Result<(), Refusal> {
        self.is_account_open(&purse.debit)?;
        self.is_account_open(&purse.credit)
    }

    /// Refuses accounts of another currency.
    pub(in crate::model) fn fits_purse(&self, purse: &Purse) -> Result<(), Refusal> {
        let money = purse.money(purse.amount);
        money.is_in(&self.account(&purse.debit)?.currency)?;
        money.is_in(&self.account(&purse.credit)?.currency)
    }

    /// Refuses what the payer does not have.
    pub(in crate::model) fn funds_purse(&self, purse: &Purse, at: Nanos) -> Result<(), Refusal> {
        self.ledger.has(&self.ledger.place(&purse.debit), i128::from(purse.amount), at)
    }

    /// Refuses one hold too many.
    pub(in crate::model) fn holds_fit(&self, purse: &Purse, at: Nanos) -> Result<(), Refusal> {
        if super::accounts::HOLDS_MAX <= self.ledger.live_holds(&purse.debit, at) {
            return refuse("too_many_holds", json!({ "max": super::accounts::HOLDS_MAX }));
        }
        Ok(())
    }

    /// Holds all that a ticket may take, until it expires.
    pub(in crate::model) fn hold_for(&mut self, ticket: &str, purse: &Purse, expires_at: Nanos) {
        let hold = Hold {
            account: purse.debit.clone(),
            amount: i128::from(purse.amount),
            expires_at,
            end: None,
            about: None,
            ticket: Some(ticket.to_owned()),
        };
        self.keep_hold(&hold_of(ticket), hold);
    }

    /// Frees what a ticket held.
    pub(in crate::model) fn void_for(&mut self, ticket: &str, at: Nanos) {
        let name = hold_of(ticket);
        if let Some(hold) = self.ledger.holds.get(&name).cloned() {
            self.keep_hold(&name, Hold { end: Some(End::Voided(at)), ..hold });
        }
    }

    /// Refuses a redeem after which a balance is beyond the largest.
    pub(in crate::model) fn bears_purse(&self, purse: &Purse, count: u64) -> Result<(), Refusal> {
        let places = (purse.debit.clone(), purse.credit.clone());
        self.ledger.bears(&moved(places, &purse.money(count)))
    }

    /// Moves what a ticket is redeemed for; the rest is free.
    pub(in crate::model) fn capture_for(
        &mut self,
        (ticket, purse): (&str, &Purse),
        count: u64,
        (id, at): (&str, Nanos),
    ) {
        let name = hold_of(ticket);
        if let Some(hold) = self.ledger.holds.get(&name).cloned() {
            self.keep_hold(&name, Hold { end: Some(End::Captured(at)), ..hold });
        }
        let lines = moved((purse.debit.clone(), purse.credit.clone()), &purse.money(count));
        let about = Some(ticket.to_owned());
        let transfer = Transfer { lines, about, number: None, at, reverses: None, reversed: None };
        self.ledger.post((id, transfer), &mut self.turn);
    }

    /// What is told of the money that a ticket moved, and what was written.
    pub(in crate::model) fn told_of_ticket(
        &mut self,
        (accounts, transfer): (&[&str], Option<&str>),
        at: Nanos,
    ) -> (Map<String, Value>, Writes) {
        let all = accounts.iter().map(|id| What::Account((*id).to_owned())).collect();
        let mut shown = vec![("accounts", What::All(all))];
        shown.extend(transfer.map(|id| ("transfer", What::Transfer(id.to_owned()))));
        self.told(shown, at)
    }

    /// What a ticket holds at `at`.
    pub(in crate::model) fn held_for(&self, ticket: &str, at: Nanos) -> i128 {
        let hold = self.ledger.holds.get(&hold_of(ticket)).filter(|hold| hold.is_open(at));
        hold.map_or(0, |hold| hold.amount)
    }
}
