//! `retainers.*`: money that clients put down beforehand.
//!
//! Invariant: the balance is what is posted in the retainer's account, and every amount that came
//! or went is of a deposit, a consumption, a refund or a dispute.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "amounts stay below 2^53, far from the end of an i128"
)]

use serde_json::{Value, json};

use super::Book;
use super::budget::{Source, Target};
use super::ledger::{Line, Place, line, system};
use super::show::known;
use super::value::{Ask, Money, Shown, What, number};
use crate::instant::Nanos;
use crate::model::fields::{
    Refusal, field, moment, needed, object, refuse, senseless, shown, text,
};

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Retainer {
    pub(super) client: String,
    pub(super) kind: String,
    pub(super) currency: String,
    pub(super) number: String,
    pub(super) minimum: i128,
    pub(super) armed: bool,
    pub(super) top_up: Option<Value>,
    pub(super) starts_at: Option<Nanos>,
    pub(super) ends_at: Option<Nanos>,
    pub(super) refunded_at: Option<Nanos>,
    /// The whole refund that is pending.
    pub(super) closing: Option<String>,
    pub(super) metadata: Option<Value>,
    /// Came in as cash.
    pub(super) cash: i128,
    /// Went back by refunds of the retainer.
    pub(super) paid_back: i128,
    /// Of lost disputes, what was not there any more.
    pub(super) losses: i128,
}

/// What was taken from a retainer, at once.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Consumption {
    pub(super) retainer: String,
    pub(super) invoice: Option<String>,
    pub(super) amount: i128,
    pub(super) restored: i128,
    pub(super) at: Nanos,
    pub(super) description: Option<String>,
}

/// Where the money of a retainer is.
pub(super) fn place_of(id: &str, currency: &str) -> Place {
    (format!("sys:retainer:{id}"), currency.to_owned())
}

const KINDS: [&str; 4] = ["advance", "evergreen", "flat_fee", "security"];

impl Retainer {
    pub(super) fn is_expired(&self, at: Nanos) -> bool {
        self.ends_at.is_some_and(|ends_at| ends_at <= at)
    }

    pub(super) fn not_refunded(&self) -> Result<(), Refusal> {
        match self.refunded_at {
            Some(at) => refuse("retainer_refunded", json!({ "at": shown(at) })),
            None => Ok(()),
        }
    }

    pub(super) fn not_expired(&self, at: Nanos) -> Result<(), Refusal> {
        match self.ends_at.filter(|ends_at| *ends_at <= at) {
            Some(ends_at) => refuse("retainer_expired", json!({ "ends_at": shown(ends_at) })),
            None => Ok(()),
        }
    }

    pub(super) fn not_closing(&self) -> Result<(), Refusal> {
        match &self.closing {
            Some(refund) => refuse("retainer_closing", object([("refund", known(refund))])),
            None => Ok(()),
        }
    }
}

impl Book {
    pub(super) fn retainer(&self, id: &str) -> Result<&Retainer, Refusal> {
        let retainer = self.retainers.get(id);
        retainer.map_or_else(|| refuse("retainer_not_found", json!({ "id": id })), Ok)
    }

    /// Where the money of a retainer that is there is.
    pub(super) fn retainer_place(&self, id: &str) -> Place {
        let currency = self.retainers.get(id).map(|retainer| retainer.currency.as_str());
        place_of(id, currency.unwrap_or_default())
    }

    pub(super) fn balance(&self, id: &str) -> i128 {
        self.ledger.posted(&self.retainer_place(id))
    }

    pub(super) fn left(&self, id: &str, at: Nanos) -> i128 {
        self.ledger.available(&self.retainer_place(id), at)
    }

    /// Changes a retainer that is there, and notes its balance and its minimum before.
    pub(super) fn change_retainer(&mut self, id: &str, change: impl FnOnce(&mut Retainer)) {
        let before = self.balance(id);
        if !self.turn.retainers.iter().any(|(noted, _)| noted == id) {
            let minimum = self.retainers.get(id).map_or(0, |retainer| retainer.minimum);
            self.turn.retainers.push((id.to_owned(), (before, minimum)));
        }
        if let Some(retainer) = self.retainers.get_mut(id) {
            change(retainer);
        }
        self.writes("retainers", id);
    }

    /// The alert of a retainer whose balance or minimum a command changed: it was above its minimum
    /// of before, if only above nothing, and is so of the one of now no more.
    pub(super) fn retainer_moved(&mut self, id: &str, (before, minimum_before): (i128, i128)) {
        let balance = self.balance(id);
        let Some(retainer) = self.retainers.get_mut(id) else { return };
        let minimum = retainer.minimum;
        let fires = 0 < minimum && minimum_before < before && balance <= minimum;
        retainer.armed = 0 < minimum && minimum < balance;
        let top_up = retainer.top_up.clone();
        if fires {
            let data = json!({
                "retainer": id, "balance": number(balance),
                "minimum_balance": number(minimum), "top_up": top_up,
            });
            self.event("low_balance", data);
        }
        if balance == 0 && 0 < before {
            self.event("retainer_depleted", json!({ "retainer": id }));
        }
    }

    pub(super) fn create_retainer(&mut self, ask: &Ask<'_>) -> Shown {
        let args = ask.args;
        let (client, currency) = (needed(args, "client")?, needed(args, "currency")?);
        let kind = needed(args, "type")?;
        if !KINDS.contains(&kind) {
            return senseless("type");
        }
        ask.currencies.know("currency", currency)?;
        let (initial, minimum) =
            (ask.maybe_zero("initial_amount")?, ask.maybe_zero("minimum_balance")?);
        let (starts_at, ends_at) = (moment(args, "starts_at")?, moment(args, "ends_at")?);
        let id = ask.given_or_drawn("/retainer/id");
        self.client(client)?;
        if self.retainers.contains_key(&id) {
            return refuse("retainer_exists", json!({ "id": id }));
        }
        self.series_is("RET")?;
        self.is_active(client)?;
        if ends_at.is_some_and(|ends_at| ends_at <= starts_at.unwrap_or(ask.at).max(ask.at)) {
            return refuse("expiry_not_later", json!({}));
        }
        for money in initial.iter().chain(&minimum) {
            money.is_in(currency)?;
        }
        let top_up = ask.maybe_zero("top_up")?.map(|money| number(money.minor));
        let number = self.take_number(("RET", None), &id, ask)?;

        // Past here it succeeds.
        let initial = initial.map_or(0, |money| money.minor);
        let minimum = minimum.map_or(0, |money| money.minor);
        let retainer = Retainer {
            client: client.to_owned(),
            kind: kind.to_owned(),
            currency: currency.to_owned(),
            number,
            minimum,
            armed: 0 < minimum && minimum < initial,
            top_up,
            starts_at,
            ends_at,
            refunded_at: None,
            closing: None,
            metadata: field(args, "metadata").cloned(),
            cash: initial,
            paid_back: 0,
            losses: 0,
        };
        self.retainers.insert(id.clone(), retainer);
        self.writes("retainers", &id);
        let lines = self.cash_into(&id, initial);
        self.ledger.move_money(lines, (ask.at, &mut self.turn));
        Ok(vec![("retainer", What::Retainer(id))])
    }

    /// Cash into a retainer.
    fn cash_into(&self, id: &str, amount: i128) -> Vec<Line> {
        let place = self.retainer_place(id);
        vec![line(&system("sys:cash", &place.1), -amount), line(&place, amount)]
    }

    pub(super) fn consume_retainer(&mut self, ask: &Ask<'_>) -> Shown {
        let (id, money) = (ask.id()?.to_owned(), ask.money("amount")?);
        let invoice = text(ask.args, "invoice").map(str::to_owned);
        let retainer = self.retainer(&id)?.clone();
        if let Some(invoice) = &invoice {
            let invoice = self.invoice(invoice)?;
            if invoice.client != retainer.client {
                return refuse("client_mismatch", json!({}));
            }
        }
        ask.fits(self.version("retainers", &id))?;
        retainer.not_refunded()?;
        retainer.not_expired(ask.at)?;
        if self.balance(&id) == 0 {
            return refuse("retainer_depleted", json!({}));
        }
        if let Some(invoice) = &invoice {
            self.is_payable(invoice)?;
        }
        if let Some(starts_at) = retainer.starts_at.filter(|starts_at| ask.at < *starts_at) {
            return refuse("retainer_not_started", json!({ "starts_at": shown(starts_at) }));
        }
        money.is_in(&retainer.currency)?;
        if let Some(invoice) = &invoice {
            money.is_in(&self.invoice(invoice)?.currency)?;
            self.is_due(invoice, money.minor)?;
        }
        let place = place_of(&id, &retainer.currency);
        self.ledger.has(&place, money.minor, ask.at)?;

        // Past here it succeeds.
        let name = ask.drawn("/consumption/id");
        self.change_retainer(&id, |_| ());
        let consumption = Consumption {
            retainer: id.clone(),
            invoice: invoice.clone(),
            amount: money.minor,
            restored: 0,
            at: ask.at,
            description: text(ask.args, "description").map(str::to_owned),
        };
        self.consumptions.insert(name.clone(), consumption);
        self.writes("consumptions", &name);
        let gain = match &invoice {
            Some(invoice) => {
                let source = Source::Consumption(name.clone());
                self.allocate(source, Target::Invoice(invoice.clone()), money.minor);
                self.receivable(invoice, money.minor)
            }
            None => line(&system("sys:revenue", &place.1), money.minor),
        };
        let lines = vec![line(&place, -money.minor), gain];
        self.ledger.move_money(lines, (ask.at, &mut self.turn));
        let mut shown =
            vec![("consumption", What::Consumption(name)), ("retainer", What::Retainer(id))];
        shown.extend(invoice.map(|invoice| ("invoice", What::Invoice(invoice))));
        Ok(shown)
    }

    pub(super) fn replenish_retainer(&mut self, ask: &Ask<'_>) -> Shown {
        let (id, money) = (ask.id()?.to_owned(), ask.money("amount")?);
        let payment = text(ask.args, "payment").map(str::to_owned);
        let retainer = self.retainer(&id)?.clone();
        if let Some(payment) = &payment {
            let payment = self.payment(payment)?;
            if payment.client != retainer.client {
                return refuse("client_mismatch", json!({}));
            }
        }
        ask.fits(self.version("retainers", &id))?;
        retainer.not_refunded()?;
        retainer.not_expired(ask.at)?;
        retainer.not_closing()?;
        let place = place_of(&id, &retainer.currency);
        let Some(payment) = payment else {
            money.is_in(&retainer.currency)?;
            let lines = self.cash_into(&id, money.minor);
            self.ledger.bears(&lines)?;

            // Past here it succeeds.
            self.change_retainer(&id, |retainer| retainer.cash += money.minor);
            self.ledger.move_money(lines, (ask.at, &mut self.turn));
            return Ok(vec![("retainer", What::Retainer(id))]);
        };
        let paid = self.payment(&payment)?.clone();
        paid.is_completed()?;
        if let Some(retainer) = &paid.credited {
            return refuse("payment_already_credited", json!({ "retainer": retainer }));
        }
        money.is_in(&retainer.currency)?;
        paid.money(paid.amount).is_in(&retainer.currency)?;
        if money.minor != paid.amount {
            let data = json!({ "expected": number(paid.amount) });
            return refuse("amount_mismatch", data);
        }
        paid.has_unapplied(money.minor)?;
        let from = paid.unapplied_place();
        let lines = vec![line(&from, -money.minor), line(&place, money.minor)];
        self.ledger.bears(&lines)?;

        // Past here it succeeds.
        self.change_retainer(&id, |_| ());
        let credited = Some(id.clone());
        self.change_payment(&payment, |paid| {
            paid.unapplied -= money.minor;
            paid.credited = credited;
        });
        let source = Source::Payment(payment.clone());
        self.allocate(source, Target::Retainer(id.clone()), money.minor);
        self.ledger.move_money(lines, (ask.at, &mut self.turn));
        Ok(vec![("retainer", What::Retainer(id)), ("payment", What::Payment(payment))])
    }

    pub(super) fn restore_retainer(&mut self, ask: &Ask<'_>) -> Shown {
        let (name, money) = (needed(ask.args, "consumption")?.to_owned(), ask.maybe("amount")?);
        let Some(consumption) = self.consumptions.get(&name).cloned() else {
            return refuse("consumption_not_found", json!({ "id": name }));
        };
        let id = consumption.retainer.clone();
        let retainer = self.retainer(&id)?.clone();
        ask.fits(self.version("retainers", &id))?;
        retainer.not_refunded()?;
        retainer.not_closing()?;
        let place = place_of(&id, &retainer.currency);
        let left = consumption.amount - consumption.restored;
        let money = money.unwrap_or_else(|| Money { minor: left, currency: place.1.clone() });
        money.is_in(&retainer.currency)?;
        if left < money.minor || left == 0 {
            let data = json!({ "restorable": number(left) });
            return refuse("exceeds_consumption", data);
        }

        // Past here it succeeds.
        self.change_retainer(&id, |_| ());
        self.restore_consumption(&name, money.minor);
        let loss = match &consumption.invoice {
            Some(invoice) => {
                let source = Source::Consumption(name.clone());
                self.release_newest((&source, &Target::Invoice(invoice.clone())), money.minor);
                self.receivable(invoice, -money.minor)
            }
            None => line(&system("sys:revenue", &place.1), -money.minor),
        };
        let lines = vec![loss, line(&place, money.minor)];
        self.ledger.move_money(lines, (ask.at, &mut self.turn));
        let mut shown = vec![("retainer", What::Retainer(id))];
        shown.extend(consumption.invoice.map(|invoice| ("invoice", What::Invoice(invoice))));
        Ok(shown)
    }

    /// Gives back part of a consumption.
    pub(super) fn restore_consumption(&mut self, name: &str, amount: i128) {
        if let Some(consumption) = self.consumptions.get_mut(name) {
            consumption.restored += amount;
        }
        self.writes("consumptions", name);
    }

    pub(super) fn update_retainer(&mut self, ask: &Ask<'_>) -> Shown {
        let id = ask.id()?.to_owned();
        ask.needs_version()?;
        let minimum = ask.maybe_zero("minimum_balance")?;
        let top_up = ask.maybe_zero("top_up")?;
        let ends_at = moment(ask.args, "ends_at")?;
        let retainer = self.retainer(&id)?.clone();
        ask.fits(self.version("retainers", &id))?;
        retainer.not_refunded()?;
        retainer.not_expired(ask.at)?;
        if ends_at
            .is_some_and(|ends_at| ends_at <= retainer.starts_at.unwrap_or(ask.at).max(ask.at))
        {
            return refuse("expiry_not_later", json!({}));
        }
        if let Some(minimum) = &minimum {
            minimum.is_in(&retainer.currency)?;
        }

        // Past here it succeeds.
        let metadata = field(ask.args, "metadata");
        let top_up = top_up.map(|money| number(money.minor));
        self.change_retainer(&id, |retainer| {
            retainer.minimum = minimum.map_or(retainer.minimum, |minimum| minimum.minor);
            retainer.ends_at = ends_at.or(retainer.ends_at);
            retainer.top_up = top_up.or_else(|| retainer.top_up.take());
            retainer.metadata = metadata.cloned().or_else(|| retainer.metadata.take());
        });
        Ok(vec![("retainer", What::Retainer(id))])
    }

    /// What holds of every retainer at `at`.
    pub(super) fn check_retainers(&self, at: Nanos) -> Result<(), String> {
        for (id, retainer) in &self.retainers {
            let target = Target::Retainer(id.clone());
            let deposits: i128 = self.allocations_to(&target).map(|one| one.amount).sum();
            let mine = self.consumptions.values().filter(|one| one.retainer == *id);
            let consumed: i128 = mine.map(|one| one.amount - one.restored).sum();
            let expected =
                retainer.cash + deposits + retainer.losses - consumed - retainer.paid_back;
            if expected != self.balance(id) {
                let balance = self.balance(id);
                return Err(format!("V3: retainer {id}: {balance}, and {expected} by what came"));
            }
            if self.left(id, at) < 0 {
                return Err(format!("V3: retainer {id}: less than nothing is available"));
            }
        }
        Ok(())
    }
}
