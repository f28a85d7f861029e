//! `payments.*`, refunds and disputes apart.
//!
//! Invariant: of a completed payment, what was allocated, retained, not applied, refunded and lost
//! is its amount.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "amounts stay below 2^53, far from the end of an i128"
)]

use serde_json::{Value, json};

use super::Book;
use super::budget::{Share, Source, Target};
use super::ledger::{Place, line};
use super::value::{Ask, Money, Shown, What, number};
use crate::instant::Nanos;
use crate::model::fields::{Refusal, field, needed, refuse, senseless, shown, text};

const DESTINATIONS_MAX: usize = 40;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Status {
    Pending,
    Completed,
    Failed,
    Cancelled,
}

impl Status {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Payment {
    pub(super) client: String,
    pub(super) amount: i128,
    pub(super) currency: String,
    pub(super) method: String,
    pub(super) number: String,
    pub(super) external_id: Option<String>,
    pub(super) status: Status,
    /// When it got there.
    pub(super) at: Nanos,
    pub(super) destinations: Option<Vec<Share>>,
    pub(super) unapplied: i128,
    pub(super) unapplied_held: i128,
    pub(super) refunded: i128,
    pub(super) lost: i128,
    /// In pending refunds and open disputes.
    pub(super) pending: i128,
    /// The retainer that all of it replenished.
    pub(super) credited: Option<String>,
}

impl Payment {
    pub(super) fn money(&self, minor: i128) -> Money {
        Money { minor, currency: self.currency.clone() }
    }

    pub(super) fn show(&self, minor: i128) -> Value {
        number(minor)
    }

    pub(super) const fn free_unapplied(&self) -> i128 {
        self.unapplied - self.unapplied_held
    }

    pub(super) fn unapplied_place(&self) -> Place {
        Book::unapplied_of(&self.client, &self.currency)
    }

    pub(super) fn is_completed(&self) -> Result<(), Refusal> {
        if self.status == Status::Completed {
            return Ok(());
        }
        refuse("payment_not_completed", json!({ "status": self.status.name() }))
    }

    pub(super) fn is_pending(&self) -> Result<(), Refusal> {
        let at = shown(self.at);
        match self.status {
            Status::Pending => Ok(()),
            Status::Completed => refuse("already_completed", json!({ "completed_at": at })),
            Status::Failed | Status::Cancelled => {
                let data = json!({ "status": self.status.name(), "at": at });
                refuse("payment_not_pending", data)
            }
        }
    }

    pub(super) fn has_unapplied(&self, amount: i128) -> Result<(), Refusal> {
        let free = self.free_unapplied();
        if amount <= free {
            return Ok(());
        }
        refuse("exceeds_unapplied", json!({ "unapplied": self.show(free) }))
    }
}

/// Refuses shares that are not the amount.
pub(super) fn sums_up(shares: &[Share], amount: i128) -> Result<(), Refusal> {
    let sum = Share::sum(shares);
    if shares.is_empty() || sum == amount {
        return Ok(());
    }
    let of = |minor| number(minor);
    refuse("destinations_mismatch", json!({ "sum": of(sum), "amount": of(amount) }))
}

pub(super) fn few(shares: Option<&[Share]>) -> Result<(), Refusal> {
    match shares {
        Some([]) => senseless("destinations"),
        Some(shares) if DESTINATIONS_MAX < shares.len() => {
            refuse("too_many_destinations", json!({ "max": DESTINATIONS_MAX }))
        }
        Some(_) | None => Ok(()),
    }
}

impl Book {
    pub(super) fn payment(&self, id: &str) -> Result<&Payment, Refusal> {
        let payment = self.payments.get(id);
        payment.map_or_else(|| refuse("payment_not_found", json!({ "id": id })), Ok)
    }

    pub(super) fn change_payment(&mut self, id: &str, change: impl FnOnce(&mut Payment)) {
        if let Some(payment) = self.payments.get_mut(id) {
            change(payment);
        }
        self.writes("payments", id);
    }

    /// Whose a target is, and in which currency; refuses one that is not there.
    pub(super) fn owner_of(&self, target: &Target) -> Result<Option<(&str, &str)>, Refusal> {
        match target {
            Target::Invoice(id) => {
                let invoice = self.invoice(id)?;
                Ok(Some((&invoice.client, &invoice.currency)))
            }
            Target::Retainer(id) => {
                let retainer = self.retainer(id)?;
                Ok(Some((&retainer.client, &retainer.currency)))
            }
            Target::Unapplied => Ok(None),
        }
    }

    pub(super) fn are_of(&self, shares: &[Share], client: &str) -> Result<(), Refusal> {
        for share in shares {
            if self.owner_of(&share.target)?.is_some_and(|(owner, _)| owner != client) {
                return refuse("client_mismatch", json!({}));
            }
        }
        Ok(())
    }

    pub(super) fn are_in(&self, shares: &[Share], currency: &str) -> Result<(), Refusal> {
        for share in shares {
            share.money.is_in(currency)?;
            if let Some((_, theirs)) = self.owner_of(&share.target)? {
                Money { minor: 0, currency: theirs.to_owned() }.is_in(currency)?;
            }
        }
        Ok(())
    }

    pub(super) fn create_payment(&mut self, ask: &Ask<'_>) -> Shown {
        let (client, money) = (needed(ask.args, "client")?, ask.money("amount")?);
        let method = needed(ask.args, "method")?.to_owned();
        let shares = Share::read_all(ask, "destinations")?;
        few(shares.as_deref())?;
        let listed = shares.as_deref().unwrap_or_default();
        sums_up(listed, money.minor)?;
        let external_id = text(ask.args, "external_id").map(str::to_owned);
        let id = ask.given_or_drawn("/payment/id");
        self.client(client)?;
        for share in listed {
            self.owner_of(&share.target)?;
        }
        if self.payments.contains_key(&id) {
            return refuse("payment_exists", json!({ "id": id }));
        }
        self.is_external_free("payments", external_id.as_deref(), &id)?;
        self.series_is("PAY")?;
        self.are_of(listed, client)?;
        self.is_active(client)?;
        self.are_in(listed, &money.currency)?;
        let number = self.take_number(("PAY", None), &id, ask)?;

        // Past here it succeeds.
        self.keep_external("payments", external_id.as_deref(), &id);
        let payment = Payment {
            client: client.to_owned(),
            amount: money.minor,
            currency: money.currency,
            method,
            number,
            external_id,
            status: Status::Pending,
            at: ask.at,
            destinations: shares,
            unapplied: 0,
            unapplied_held: 0,
            refunded: 0,
            lost: 0,
            pending: 0,
            credited: None,
        };
        self.payments.insert(id.clone(), payment);
        self.writes("payments", &id);
        Ok(vec![("payment", What::Payment(id))])
    }

    /// Fail and cancel.
    pub(super) fn end_payment(&mut self, ask: &Ask<'_>) -> Shown {
        let id = ask.id()?.to_owned();
        let payment = self.payment(&id)?.clone();
        ask.fits(self.version("payments", &id))?;
        payment.is_pending()?;

        // Past here it succeeds.
        if let Some(external) = payment.external_id {
            self.externals.remove(&("payments".to_owned(), external));
        }
        let failed = ask.cmd == "payments.fail";
        self.change_payment(&id, |paid| {
            paid.status = if failed { Status::Failed } else { Status::Cancelled };
            paid.at = ask.at;
        });
        Ok(vec![("payment", What::Payment(id))])
    }

    pub(super) fn apply_payment(&mut self, ask: &Ask<'_>) -> Shown {
        let (id, money) = (ask.id()?.to_owned(), ask.money("amount")?);
        let Some(to) = field(ask.args, "to") else { return senseless("to") };
        let target = Target::read(to, "to")?;
        let payment = self.payment(&id)?.clone();
        let share = [Share { target: target.clone(), money: money.clone() }];
        self.owner_of(&target)?;
        self.are_of(&share, &payment.client)?;
        ask.fits(self.version("payments", &id))?;
        payment.is_completed()?;
        self.can_take(&share, ask.at)?;
        self.are_in(&share, &payment.currency)?;
        payment.has_unapplied(money.minor)?;
        self.is_all_due(&share)?;
        let into = match &target {
            Target::Invoice(id) => self.receivable(id, money.minor),
            Target::Retainer(id) => line(&self.retainer_place(id), money.minor),
            Target::Unapplied => return senseless("to"),
        };
        let lines = vec![line(&payment.unapplied_place(), -money.minor), into];
        self.ledger.bears(&lines)?;
        if DESTINATIONS_MAX <= self.allocations_of(&id).count() {
            return refuse("too_many_destinations", json!({ "max": DESTINATIONS_MAX }));
        }

        // Past here it succeeds.
        self.change_payment(&id, |paid| paid.unapplied -= money.minor);
        self.note_equals(&id, (&share, &share), ask.at);
        let shown = self.moved_to(&target);
        self.allocate(Source::Payment(id.clone()), target, money.minor);
        self.ledger.move_money(lines, (ask.at, &mut self.turn));
        Ok(vec![("payment", What::Payment(id)), shown])
    }

    /// Notes that a target is moved; gives what there is to show of it.
    fn moved_to(&mut self, target: &Target) -> (&'static str, What) {
        match target {
            Target::Invoice(id) => ("invoice", What::Invoice(id.clone())),
            Target::Retainer(id) => {
                self.change_retainer(id, |_| ());
                ("retainer", What::Retainer(id.clone()))
            }
            Target::Unapplied => ("unapplied", What::Plain(Value::Null)),
        }
    }

    pub(super) fn unapply_payment(&mut self, ask: &Ask<'_>) -> Shown {
        let (id, money) = (ask.id()?.to_owned(), ask.maybe("amount")?);
        let Some(from) = field(ask.args, "from") else { return senseless("from") };
        let target = Target::read(from, "from")?;
        let payment = self.payment(&id)?.clone();
        let standing = self.standing(&id, &target);
        if standing.0 == 0 {
            return refuse("allocation_not_found", json!({}));
        }
        ask.fits(self.version("payments", &id))?;
        let money = money.unwrap_or_else(|| payment.money(standing.1));
        money.is_in(&payment.currency)?;
        Self::is_free(standing, money.minor)?;
        let loss = match &target {
            Target::Retainer(id) => {
                let place = self.retainer_place(id);
                self.ledger.has(&place, money.minor, ask.at)?;
                line(&place, -money.minor)
            }
            Target::Invoice(id) => self.receivable(id, -money.minor),
            Target::Unapplied => return senseless("from"),
        };

        // Past here it succeeds.
        let lines = vec![loss, line(&payment.unapplied_place(), money.minor)];
        self.change_payment(&id, |paid| paid.unapplied += money.minor);
        let shown = self.moved_to(&target);
        self.release_newest((&Source::Payment(id.clone()), &target), money.minor);
        self.ledger.move_money(lines, (ask.at, &mut self.turn));
        Ok(vec![("payment", What::Payment(id)), shown])
    }

    /// What holds of every payment.
    pub(super) fn check_payments(&self) -> Result<(), String> {
        let mut unapplied = std::collections::BTreeMap::<Place, i128>::new();
        for (id, payment) in &self.payments {
            let broken = |what: &str| Err(format!("V5: payment {id}: {what}"));
            *unapplied.entry(payment.unapplied_place()).or_default() += payment.unapplied;
            let given: i128 = self.allocations_of(id).map(|one| one.amount).sum();
            let held: i128 = self.allocations_of(id).map(|one| one.held).sum();
            let all = given + payment.unapplied + payment.refunded + payment.lost;
            let completed = payment.status == Status::Completed;
            if all != if completed { payment.amount } else { 0 } {
                return broken("its parts are not its amount");
            }
            if held + payment.unapplied_held != payment.pending {
                return broken("what is set aside is not what is pending");
            }
            let is_within = |one: &super::budget::Allocation| (0..=one.amount).contains(&one.held);
            let all_within = self.allocations_of(id).all(is_within)
                && (0..=payment.unapplied).contains(&payment.unapplied_held);
            if !all_within {
                return broken("more is set aside than there is");
            }
            let of = |all: &std::collections::BTreeMap<String, super::refunds::Return>, wanted| {
                let mine = all.values().filter(|one| one.payment.as_ref() == Some(id));
                mine.filter(|one| one.status == wanted).map(|one| one.amount).sum::<i128>()
            };
            let done = super::refunds::Status::Succeeded;
            if of(&self.refunds, done) != payment.refunded
                || of(&self.disputes, done) != payment.lost
            {
                return broken("its refunds are not what was refunded");
            }
        }
        for (place, sum) in unapplied {
            if self.ledger.posted(&place) != sum {
                return Err(format!("V6: {}: it is not what its payments have left", place.0));
            }
        }
        Ok(())
    }
}
