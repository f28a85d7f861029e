//! What happens once: money that comes, and events that are told.
//!
//! Invariant: what is in the system's cash is what completed payments and retainers brought, less what
//! went back; a payment whose completion was entered twice would bring its amount twice. And a low
//! balance was told as often as the history of a retainer's balance and minimum falls to it.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "amounts stay below 2^53, far from the end of an i128"
)]

use std::collections::{BTreeMap, BTreeSet};

use super::Book;
use super::ledger::system;
use super::payments::Status;
use super::retainers::Retainer;

/// How often a retainer came from above its minimum to it or below, by what it was after each command.
fn falls(stands: &[(i128, i128)]) -> usize {
    let pairs = stands.windows(2).filter_map(|pair| match pair {
        [before, after] => Some((before, after)),
        _ => None,
    });
    let is_fall = |((balance, minimum), (then, now)): &(&(i128, i128), &(i128, i128))| {
        minimum < balance && 0 < *now && then <= now
    };
    pairs.filter(is_fall).count()
}

impl Book {
    /// V7: what came in cash came once.
    fn check_cash(&self) -> Result<(), String> {
        let mut cash: BTreeMap<&str, i128> = BTreeMap::new();
        for payment in self.payments.values().filter(|one| one.status == Status::Completed) {
            let kept = payment.amount - payment.refunded - payment.lost;
            *cash.entry(&payment.currency).or_default() -= kept;
        }
        for retainer in self.retainers.values() {
            let kept = retainer.cash - retainer.paid_back;
            *cash.entry(&retainer.currency).or_default() -= kept;
        }
        let currencies: BTreeSet<&str> = cash.keys().copied().collect();
        for currency in currencies {
            let place = system("sys:cash", currency);
            let (posted, expected) =
                (self.ledger.posted(&place), cash.get(currency).copied().unwrap_or_default());
            if posted != expected {
                return Err(format!("V7: {}: {posted}, and {expected} by what came", place.0));
            }
        }
        Ok(())
    }

    /// What holds of what happens once.
    pub(super) fn check_once(&self) -> Result<(), String> {
        self.check_cash()?;
        for (id, retainer) in &self.retainers {
            let Retainer { stands, told, .. } = retainer;
            if stands.last().map(|(balance, _)| *balance) != Some(self.balance(id)) {
                return Err(format!("V11: retainer {id}: its balance changed unseen"));
            }
            let falls = falls(stands);
            if falls != *told {
                return Err(format!("V11: retainer {id}: {told} told, of {falls} falls"));
            }
        }
        Ok(())
    }
}
