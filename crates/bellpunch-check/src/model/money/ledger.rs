//! Accounts, the money in them, and what moves it.
//!
//! Invariant: every transfer's debits equal its credits, and a credit raises what a debit lowers,
//! so all accounts of a currency sum to nothing.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "amounts stay below 2^53, far from the end of an i128"
)]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::value::{LARGEST, Turn, number};
use crate::instant::Nanos;
use crate::model::fields::{Refusal, record, refuse};

/// Which account: its name, and of those of the system its currency.
pub(super) type Place = (String, String);

/// One side of a transfer: more than nothing is credited, less is debited.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) place: Place,
    pub(super) change: i128,
    /// What the posting carries: an invoice of `sys:receivable`.
    pub(super) about: Option<String>,
}

/// How a hold ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum End {
    Captured(Nanos),
    Voided(Nanos),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hold {
    pub(super) account: String,
    pub(super) amount: i128,
    pub(super) expires_at: Nanos,
    pub(super) end: Option<End>,
    pub(super) about: Option<String>,
    /// Of a ticket: it moves only by the ticket.
    pub(super) ticket: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Account {
    pub(super) owner: String,
    pub(super) currency: String,
    pub(super) external: bool,
    pub(super) open: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Transfer {
    pub(super) lines: Vec<Line>,
    pub(super) about: Option<String>,
    pub(super) number: Option<String>,
    pub(super) at: Nanos,
    pub(super) reverses: Option<String>,
    pub(super) reversed: Option<(String, Nanos)>,
}

/// All accounts of a book.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ledger {
    /// Those that callers made.
    pub(super) accounts: BTreeMap<String, Account>,
    /// What is in each account, theirs and the system's.
    pub(super) posted: BTreeMap<Place, i128>,
    pub(super) holds: BTreeMap<String, Hold>,
    pub(super) transfers: BTreeMap<String, Transfer>,
    /// Set aside for pending refunds and open disputes, by place.
    pub(super) aside: BTreeMap<Place, i128>,
    /// Every posting, to be counted again.
    pub(super) postings: Vec<Line>,
}

/// Whether a name is the system's.
pub(super) fn is_reserved(id: &str) -> bool {
    id.starts_with("sys:")
}

/// A place of the system: one for each currency.
pub(super) fn system(name: &str, currency: &str) -> Place {
    (format!("{name}:{currency}"), currency.to_owned())
}

/// A line of the system's own commands.
pub(super) fn line(place: &Place, change: i128) -> Line {
    Line { place: place.clone(), change, about: None }
}

impl Ledger {
    /// Where the money of an account is that is there.
    pub(super) fn place(&self, id: &str) -> Place {
        let currency = self.accounts.get(id).map(|account| account.currency.clone());
        (id.to_owned(), currency.unwrap_or_default())
    }

    pub(super) fn posted(&self, place: &Place) -> i128 {
        self.posted.get(place).copied().unwrap_or_default()
    }

    /// What open holds keep, and what is set aside.
    pub(super) fn held(&self, place: &Place, at: Nanos) -> i128 {
        let holds = self.holds.values().filter(|hold| hold.account == place.0 && hold.is_open(at));
        let aside = self.aside.get(place).copied().unwrap_or_default();
        holds.map(|hold| hold.amount).sum::<i128>() + aside
    }

    pub(super) fn live_holds(&self, id: &str, at: Nanos) -> usize {
        self.holds.values().filter(|hold| hold.account == id && hold.is_open(at)).count()
    }

    pub(super) fn available(&self, place: &Place, at: Nanos) -> i128 {
        self.posted(place) - self.held(place, at)
    }

    /// Whether a place may not go below nothing.
    pub(super) fn is_bounded(&self, place: &Place) -> bool {
        match self.accounts.get(&place.0) {
            Some(account) => !account.external,
            None => place.0.starts_with("sys:retainer:") || place.0.starts_with("sys:unapplied:"),
        }
    }

    /// What each place gains by these lines together.
    fn changes(lines: &[Line]) -> Vec<(&Place, i128)> {
        let mut order: Vec<(&Place, i128)> = Vec::new();
        for line in lines {
            match order.iter_mut().find(|(place, _)| *place == &line.place) {
                Some((_, change)) => *change += line.change,
                None => order.push((&line.place, line.change)),
            }
        }
        order
    }

    /// Refuses lines that take more than is available.
    pub(super) fn covers(&self, lines: &[Line], at: Nanos) -> Result<(), Refusal> {
        for (place, change) in Self::changes(lines) {
            if change < 0 && self.is_bounded(place) {
                self.has(place, -change, at)?;
            }
        }
        Ok(())
    }

    /// Refuses to take more from a place than is available.
    pub(super) fn has(&self, place: &Place, required: i128, at: Nanos) -> Result<(), Refusal> {
        let available = self.available(place, at);
        if required <= available {
            return Ok(());
        }
        refuse(
            "insufficient_funds",
            json!({ "account": place.0, "available": number(available),
                    "required": number(required) }),
        )
    }

    /// Refuses lines of which a posting, one after the other, leaves a balance beyond the largest.
    pub(super) fn bears(&self, lines: &[Line]) -> Result<(), Refusal> {
        let mut after: BTreeMap<&Place, i128> = BTreeMap::new();
        for line in lines {
            let posted = after.entry(&line.place).or_insert_with(|| self.posted(&line.place));
            *posted += line.change;
            if !(-LARGEST..=LARGEST).contains(posted) {
                return refuse("amount_overflow", json!({}));
            }
        }
        Ok(())
    }

    /// Moves money: what it does to each account is kept for ever.
    pub(super) fn post(&mut self, (id, transfer): (&str, Transfer), turn: &mut Turn) {
        for line in &transfer.lines {
            let after = self.posted(&line.place) + line.change;
            self.posted.insert(line.place.clone(), after);
            let side = if line.change < 0 { "debit" } else { "credit" };
            turn.postings.push(json!({
                "account": line.place.0, "side": side,
                "amount": number(line.change.abs()),
                "posted_after": number(after),
            }));
            turn.writes.insert(record("accounts", &[&line.place.0]));
            self.postings.push(line.clone());
        }
        turn.writes.insert(record("transfers", &[id]));
        self.transfers.insert(id.to_owned(), transfer);
    }

    /// A transfer of the system's own.
    pub(super) fn move_money(&mut self, lines: Vec<Line>, (at, turn): (Nanos, &mut Turn)) {
        let lines: Vec<Line> = lines.into_iter().filter(|line| line.change != 0).collect();
        if lines.is_empty() {
            return;
        }
        let id = format!("\u{0}{}", self.transfers.len());
        let transfer =
            Transfer { lines, about: None, number: None, at, reverses: None, reversed: None };
        self.post((&id, transfer), turn);
    }

    /// Sets money aside in a place, or gives it back.
    pub(super) fn set_aside(&mut self, place: &Place, change: i128) {
        *self.aside.entry(place.clone()).or_default() += change;
    }

    /// What holds of every account at `at`, whatever happened.
    pub(super) fn check(&self, at: Nanos) -> Result<(), String> {
        let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
        for ((_, currency), posted) in &self.posted {
            *sums.entry(currency).or_default() += posted;
        }
        if let Some((currency, sum)) = sums.into_iter().find(|(_, sum)| *sum != 0) {
            return Err(format!("V1: the accounts of {currency} sum to {sum}"));
        }
        for (id, transfer) in &self.transfers {
            let currencies: BTreeSet<&str> =
                transfer.lines.iter().map(|line| line.place.1.as_str()).collect();
            for currency in currencies {
                let of = transfer.lines.iter().filter(|line| line.place.1 == currency);
                if of.map(|line| line.change).sum::<i128>() != 0 {
                    return Err(format!("V1: transfer {id} does not balance in {currency}"));
                }
            }
        }
        let mut again: BTreeMap<&Place, i128> = BTreeMap::new();
        for line in &self.postings {
            *again.entry(&line.place).or_default() += line.change;
        }
        for (place, posted) in &self.posted {
            if again.get(place).copied().unwrap_or_default() != *posted {
                return Err(format!("V2: account {}: its postings do not explain it", place.0));
            }
            if self.is_bounded(place) && self.available(place, at) < 0 {
                return Err(format!("V2: account {}: less than nothing is available", place.0));
            }
            if LARGEST < posted.abs() {
                return Err(format!("V2: account {}: it is beyond the largest balance", place.0));
            }
        }
        Ok(())
    }
}

impl Hold {
    /// Whether it keeps money at `at`, swept or not.
    pub(super) fn is_open(&self, at: Nanos) -> bool {
        self.end.is_none() && at < self.expires_at
    }

    /// Refuses what is over, or its time.
    pub(super) fn is_waiting(&self) -> Result<(), Refusal> {
        match self.end {
            None => Ok(()),
            Some(End::Captured(at)) => {
                refuse("hold_captured", json!({ "at": crate::model::fields::shown(at) }))
            }
            Some(End::Voided(at)) => {
                refuse("hold_voided", json!({ "at": crate::model::fields::shown(at) }))
            }
        }
    }

    pub(super) fn is_in_time(&self, at: Nanos) -> Result<(), Refusal> {
        if at < self.expires_at {
            return Ok(());
        }
        let until: Value = crate::model::fields::shown(self.expires_at);
        refuse("hold_expired", json!({ "expires_at": until }))
    }
}
