//! Where the money of payments and consumptions went, and which of it can be taken back.
//!
//! Invariant: of every allocation no more is set aside than there is; what is set aside is of a
//! pending refund or of an open dispute.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "amounts stay below 2^53, far from the end of an i128"
)]

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Book;
use super::ledger::{Line, Place, line, system};
use super::payments::Payment;
use super::value::{Ask, Money, number};
use crate::instant::Nanos;
use crate::model::fields::{Refusal, field, record, refuse, senseless, text};

/// Whose money it is.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Source {
    Payment(String),
    Consumption(String),
}

/// Where it went.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Target {
    Invoice(String),
    Retainer(String),
    /// Nowhere yet: of payments only.
    Unapplied,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Allocation {
    pub(super) source: Source,
    pub(super) target: Target,
    pub(super) amount: i128,
    /// Set aside.
    pub(super) held: i128,
}

impl Allocation {
    pub(super) const fn free(&self) -> i128 {
        self.amount - self.held
    }
}

/// A part of a payment, as it is asked for: where to, or where from, and how much.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Share {
    pub(super) target: Target,
    pub(super) money: Money,
}

impl Target {
    /// Reads `{invoice}` or `{retainer}`.
    pub(super) fn read(value: &Value, name: &str) -> Result<Self, Refusal> {
        match (text(value, "invoice"), text(value, "retainer")) {
            (Some(id), None) => Ok(Self::Invoice(id.to_owned())),
            (None, Some(id)) => Ok(Self::Retainer(id.to_owned())),
            (Some(_), Some(_)) | (None, None) => senseless(name),
        }
    }

    pub(super) fn show(&self, amount: Value) -> Value {
        match self {
            Self::Invoice(id) => json!({ "invoice": id, "amount": amount }),
            Self::Retainer(id) => json!({ "retainer": id, "amount": amount }),
            Self::Unapplied => json!({ "invoice": null, "retainer": null, "amount": amount }),
        }
    }
}

impl Share {
    /// Reads a list of `{invoice, amount}`, `{retainer, amount}` and `{unapplied: amount}`.
    pub(super) fn read_all(ask: &Ask<'_>, name: &str) -> Result<Option<Vec<Self>>, Refusal> {
        let Some(list) = field(ask.args, name) else { return Ok(None) };
        let Some(list) = list.as_array() else { return senseless(name) };
        let mut all: Vec<Self> = Vec::new();
        for one in list {
            let of = ask.with(one);
            let share = match of.maybe("unapplied")? {
                Some(money) => Self { target: Target::Unapplied, money },
                None => Self { target: Target::read(one, name)?, money: of.money("amount")? },
            };
            if all.iter().any(|known| known.target == share.target) {
                return senseless(name);
            }
            all.push(share);
        }
        Ok(Some(all))
    }

    pub(super) fn sum(all: &[Self]) -> i128 {
        all.iter().map(|share| share.money.minor).sum()
    }

    pub(super) fn show(&self) -> Value {
        self.target.show(number(self.money.minor))
    }
}

/// A part of a return: how much of it is taken from where, and how much of that is there.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    /// Which allocation; it does not matter of what is unapplied.
    pub(super) age: u64,
    pub(super) target: Target,
    pub(super) amount: i128,
    /// Of a retainer, what is still in it; else all.
    pub(super) covered: i128,
}

impl Book {
    /// The allocations to a target, older first.
    pub(super) fn allocations_to<'b>(
        &'b self,
        target: &'b Target,
    ) -> impl DoubleEndedIterator<Item = &'b Allocation> {
        self.allocations.values().filter(move |one| one.target == *target)
    }

    /// The allocations of a payment, older first.
    pub(super) fn allocations_of<'b>(
        &'b self,
        payment: &'b str,
    ) -> impl DoubleEndedIterator<Item = &'b Allocation> {
        let is_of = move |source: &Source| matches!(source, Source::Payment(id) if id == payment);
        self.allocations.values().filter(move |one| is_of(&one.source))
    }

    /// What of a payment is at a target, and what of that is free.
    pub(super) fn standing(&self, payment: &str, target: &Target) -> (i128, i128) {
        let there = self.allocations_of(payment).filter(|one| one.target == *target);
        there.fold((0, 0), |(all, free), one| (all + one.amount, free + one.free()))
    }

    /// Allocates money that came; of an invoice it is paid.
    pub(super) fn allocate(&mut self, source: Source, target: Target, amount: i128) {
        if let Target::Invoice(id) = &target {
            self.change_invoice(id, |invoice| invoice.amount_paid += amount);
        }
        self.ages = self.ages.saturating_add(1);
        self.allocations.insert(self.ages, Allocation { source, target, amount, held: 0 });
    }

    /// Takes an allocation back, or part of it.
    pub(super) fn release(&mut self, age: u64, amount: i128) {
        let Some(one) = self.allocations.get_mut(&age) else { return };
        one.amount -= amount;
        if let Target::Invoice(id) = one.target.clone() {
            self.change_invoice(&id, |invoice| invoice.amount_paid -= amount);
        }
        self.allocations.retain(|_, one| 0 < one.amount);
    }

    /// Takes back what is free of a source at a target, newest first.
    pub(super) fn release_newest(&mut self, (source, target): (&Source, &Target), amount: i128) {
        let all = self.allocations.iter().rev();
        let there = all.filter(|(_, one)| one.source == *source && one.target == *target);
        let there: Vec<(u64, i128)> = there.map(|(age, one)| (*age, one.free())).collect();
        let mut left = amount;
        for (age, free) in there {
            let part = free.min(left);
            if 0 < part {
                left -= part;
                self.release(age, part);
            }
        }
    }

    /// Sets part of a payment aside, or gives it back.
    pub(super) fn hold_part(&mut self, payment: &str, part: &Part, sign: i128) {
        let currency = self.payments.get(payment).map(|paid| paid.currency.clone());
        let currency = currency.unwrap_or_default();
        match &part.target {
            Target::Unapplied => {
                let place = self.payments.get(payment).map(Payment::unapplied_place);
                if let Some(place) = place {
                    self.ledger.set_aside(&place, sign * part.amount);
                }
                self.change_payment(payment, |paid| paid.unapplied_held += sign * part.amount);
            }
            target @ (Target::Invoice(_) | Target::Retainer(_)) => {
                if let Some(one) = self.allocations.get_mut(&part.age) {
                    one.held += sign * part.amount;
                }
                if let Target::Retainer(id) = target {
                    let place = super::retainers::place_of(id, &currency);
                    self.ledger.set_aside(&place, sign * part.covered);
                    if 0 < part.covered {
                        self.turn.writes.insert(record("accounts", &[&place.0]));
                        // What it has available is another.
                        self.turn.writes.insert(record("retainers", &[id]));
                    }
                }
            }
        }
    }

    /// Takes part of a payment back; gives the lines that it is moved by, cash apart.
    pub(super) fn take_part(&mut self, payment: &str, part: &Part) -> Vec<Line> {
        match &part.target {
            Target::Unapplied => {
                self.change_payment(payment, |paid| paid.unapplied -= part.amount);
                let place = self.payments.get(payment).map(Payment::unapplied_place);
                place.map(|place| line(&place, -part.amount)).into_iter().collect()
            }
            Target::Invoice(id) => {
                self.release(part.age, part.amount);
                vec![self.receivable(id, -part.amount)]
            }
            Target::Retainer(id) => {
                self.release(part.age, part.amount);
                let lost = part.amount - part.covered;
                if part.covered == 0 {
                    // Nothing of the retainer moves: what it had spent is the firm's loss alone.
                    if let Some(retainer) = self.retainers.get_mut(id) {
                        retainer.losses += lost;
                    }
                } else {
                    self.change_retainer(id, |retainer| retainer.losses += lost);
                }
                let place = self.retainer_place(id);
                let losses = system("sys:dispute_losses", &place.1);
                vec![line(&place, -part.covered), line(&losses, -lost)]
            }
        }
    }

    /// All parts of a payment in the order in which they are taken back, with what is free of
    /// each: unapplied, then invoices, then retainers, newest first. A dispute may take what a
    /// retainer has already spent, a refund what it has.
    pub(super) fn free_parts(
        &self,
        payment: &str,
        (at, is_dispute): (Nanos, Option<()>),
    ) -> Vec<Part> {
        let unapplied = self.payments.get(payment).map_or(0, Payment::free_unapplied);
        let part = |age: u64, target: Target, amount: i128| {
            let covered = amount;
            Part { age, target, amount, covered }
        };
        let mut all = vec![part(0, Target::Unapplied, unapplied)];
        let mine = || {
            let of = |source: &Source| matches!(source, Source::Payment(id) if id == payment);
            self.allocations.iter().rev().filter(move |(_, one)| of(&one.source))
        };
        for (age, one) in mine().filter(|(_, one)| matches!(one.target, Target::Invoice(_))) {
            all.push(part(*age, one.target.clone(), one.free()));
        }
        let mut spent: BTreeMap<&str, i128> = BTreeMap::new();
        for (age, one) in mine() {
            let Target::Retainer(id) = &one.target else { continue };
            let spent = spent.entry(id).or_default();
            let left = self.left(id, at) - *spent;
            let amount =
                if is_dispute.is_some() { one.free() } else { one.free().min(left).max(0) };
            let covered = amount.min(left).max(0);
            *spent += covered;
            all.push(Part { age: *age, target: one.target.clone(), amount, covered });
        }
        all
    }

    /// The place where the unapplied money of a client is.
    pub(super) fn unapplied_of(client: &str, currency: &str) -> Place {
        system(&format!("sys:unapplied:{client}"), currency)
    }

    /// Refuses an amount of which less is free at a target.
    pub(super) fn is_free((all, free): (i128, i128), amount: i128) -> Result<(), Refusal> {
        if 0 < amount && amount <= free {
            return Ok(());
        }
        let data = json!({ "allocated": number(all), "free": number(free) });
        refuse("exceeds_allocation", data)
    }
}
