//! `payments.complete`, and `invoices.pay`: to create and to complete at once.
//!
//! Invariant: a payment completes once, with all of its destinations or with none.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "amounts stay below 2^53, far from the end of an i128"
)]

use serde_json::{Value, json};

use super::Book;
use super::budget::{Share, Source, Target};
use super::invoices::{EQUALS_MAX, Equal, Stage};
use super::ledger::{Line, line, system};
use super::payments::{Payment, Status, few, sums_up};
use super::value::{Ask, Money, Shown, What, number};
use crate::instant::Nanos;
use crate::model::fields::{Refusal, needed, refuse, senseless, text};

impl Book {
    pub(super) fn complete_payment(&mut self, ask: &Ask<'_>) -> Shown {
        let (id, asserted) = (ask.id()?.to_owned(), ask.maybe("amount")?);
        let given = Share::read_all(ask, "destinations")?;
        few(given.as_deref())?;
        if let (Some(shares), Some(money)) = (&given, &asserted) {
            sums_up(shares, money.minor)?;
        }
        let diverts = match text(ask.args, "overpayment") {
            None | Some("refuse") => None,
            Some("unapplied") => Some(()),
            Some(_) => return senseless("overpayment"),
        };
        let external_id = text(ask.args, "external_id").map(str::to_owned);
        let payment = self.payment(&id)?.clone();
        let shares = given.clone().or_else(|| payment.destinations.clone());
        let listed = shares.clone().unwrap_or_default();
        for share in &listed {
            self.owner_of(&share.target)?;
        }
        self.is_external_free("payments", external_id.as_deref(), &id)?;
        self.are_of(&listed, &payment.client)?;
        ask.fits(self.version("payments", &id))?;
        payment.is_pending()?;
        if shares.is_none() {
            return refuse("destinations_required", json!({}));
        }
        if diverts.is_none() {
            self.can_take(&listed, ask.at)?;
        }
        if let Some(money) = &asserted {
            money.is_in(&payment.currency)?;
        }
        self.are_in(&listed, &payment.currency)?;
        if asserted.is_some_and(|money| money.minor != payment.amount) {
            let data = json!({ "expected": payment.show(payment.amount) });
            return refuse("amount_mismatch", data);
        }
        sums_up(&listed, payment.amount)?;
        if diverts.is_none() {
            self.is_all_due(&listed)?;
        }
        let (taken, diverted) = self.split(&listed, (ask.at, diverts));
        let lines = self.lines_of((&payment, &taken), Share::sum(&diverted));
        self.ledger.bears(&lines)?;

        // Past here it succeeds.
        if external_id.is_some() {
            self.keep_external("payments", external_id.as_deref(), &id);
        }
        let unapplied = Share::sum(&diverted) + unapplied_in(&taken);
        self.change_payment(&id, |paid| {
            paid.status = Status::Completed;
            paid.at = ask.at;
            paid.destinations = shares;
            paid.external_id = external_id.or_else(|| paid.external_id.take());
            paid.unapplied = unapplied;
        });
        self.note_equals(&id, (&listed, &taken), ask.at);
        let shown = self.take_shares(&id, taken);
        self.ledger.move_money(lines, (ask.at, &mut self.turn));
        let mut reply = vec![("payment", What::Payment(id))];
        if diverted.is_empty() {
            reply.extend(shown);
        }
        let diverted = diverted.iter().map(Share::show).collect();
        reply.push(("diverted", What::Plain(Value::Array(diverted))));
        Ok(reply)
    }

    /// Allocates what targets take; gives what there is to show of them.
    fn take_shares(&mut self, id: &str, taken: Vec<Share>) -> Vec<(&'static str, What)> {
        let (mut invoices, mut retainers) = (Vec::new(), Vec::new());
        for share in taken {
            match &share.target {
                Target::Invoice(invoice) => invoices.push(What::Invoice(invoice.clone())),
                Target::Retainer(retainer) => {
                    self.change_retainer(retainer, |_| ());
                    retainers.push(What::Retainer(retainer.clone()));
                }
                Target::Unapplied => continue,
            }
            self.allocate(Source::Payment(id.to_owned()), share.target, share.money.minor);
        }
        vec![("invoices", What::All(invoices)), ("retainers", What::All(retainers))]
    }

    /// Tells of another payment that was to bring as much to the same invoice a short while ago,
    /// and remembers this one of each that took anything of it.
    pub(super) fn note_equals(
        &mut self,
        id: &str,
        (listed, taken): (&[Share], &[Share]),
        at: Nanos,
    ) {
        let window = self.settings.duplicate_window;
        for share in listed {
            let Target::Invoice(name) = &share.target else { continue };
            let Some(invoice) = self.invoices.get_mut(name) else { continue };
            invoice.equals.retain(|one| at < one.at + window);
            let amount = share.money.minor;
            let others = invoice.equals.iter().rev();
            let other = { others }.find(|one| one.payment != id && one.amount == amount);
            let other = other.map(|other| other.payment.clone());
            if taken.iter().any(|took| took.target == share.target) {
                invoice.equals.push(Equal { payment: id.to_owned(), amount, at });
                let beyond = invoice.equals.len().saturating_sub(EQUALS_MAX);
                invoice.equals.drain(..beyond);
            }
            if let Some(other) = other {
                let data = json!({ "invoice": name, "payment": id, "earlier": other,
                                   "amount": number(amount) });
                self.event("possible_duplicate_payment", data);
            }
        }
    }

    /// Refuses targets that are over.
    pub(super) fn can_take(&self, shares: &[Share], at: Nanos) -> Result<(), Refusal> {
        for share in shares {
            if let Target::Invoice(id) = &share.target {
                self.is_payable(id)?;
            }
        }
        let retainers = shares.iter().filter_map(|share| match &share.target {
            Target::Retainer(id) => self.retainers.get(id),
            Target::Invoice(_) | Target::Unapplied => None,
        });
        let all: Vec<_> = retainers.collect();
        all.iter().try_for_each(|retainer| retainer.not_refunded())?;
        all.iter().try_for_each(|retainer| retainer.not_expired(at))?;
        all.iter().try_for_each(|retainer| retainer.not_closing())
    }

    pub(super) fn is_all_due(&self, shares: &[Share]) -> Result<(), Refusal> {
        for share in shares {
            if let Target::Invoice(id) = &share.target {
                self.is_due(id, share.money.minor)?;
            }
        }
        Ok(())
    }

    /// What targets take, and what is diverted because they cannot.
    pub(super) fn split(
        &self,
        shares: &[Share],
        (at, diverts): (Nanos, Option<()>),
    ) -> (Vec<Share>, Vec<Share>) {
        let (mut taken, mut diverted) = (Vec::new(), Vec::new());
        for share in shares {
            let asked = share.money.minor;
            let takes = match &share.target {
                _ if diverts.is_none() => asked,
                Target::Unapplied => asked,
                Target::Invoice(id) => self.invoices.get(id).map_or(0, |invoice| {
                    if invoice.stage == Stage::Issued { invoice.due().min(asked) } else { 0 }
                }),
                Target::Retainer(id) => self.retainers.get(id).map_or(0, |retainer| {
                    let is_over = retainer.refunded_at.is_some()
                        || retainer.is_expired(at)
                        || retainer.closing.is_some();
                    if is_over { 0 } else { asked }
                }),
            };
            let part = |minor: i128| Share {
                target: share.target.clone(),
                money: Money { minor, currency: share.money.currency.clone() },
            };
            if 0 < takes {
                taken.push(part(takes));
            }
            if takes < asked {
                diverted.push(part(asked - takes));
            }
        }
        (taken, diverted)
    }

    pub(super) fn lines_of(
        &self,
        (payment, taken): (&Payment, &[Share]),
        diverted: i128,
    ) -> Vec<Line> {
        let mut lines = vec![line(&system("sys:cash", &payment.currency), -payment.amount)];
        for share in taken {
            lines.push(match &share.target {
                Target::Invoice(id) => self.receivable(id, share.money.minor),
                Target::Retainer(id) => line(&self.retainer_place(id), share.money.minor),
                Target::Unapplied => continue,
            });
        }
        let rest = unapplied_in(taken) + diverted;
        lines.push(line(&payment.unapplied_place(), rest));
        lines
    }

    /// A payment that is made and completed at once.
    pub(super) fn pay_invoice(&mut self, ask: &Ask<'_>) -> Shown {
        let (id, money) = (ask.id()?.to_owned(), ask.money("amount")?);
        let method = needed(ask.args, "method")?.to_owned();
        let external_id = text(ask.args, "external_id").map(str::to_owned);
        let invoice = self.invoice(&id)?.clone();
        let name = ask.drawn("/payment/id");
        self.is_external_free("payments", external_id.as_deref(), &name)?;
        self.series_is("PAY")?;
        ask.fits(self.version("invoices", &id))?;
        self.is_active(&invoice.client)?;
        self.is_payable(&id)?;
        money.is_in(&invoice.currency)?;
        self.is_due(&id, money.minor)?;
        let share = Share { target: Target::Invoice(id.clone()), money: money.clone() };
        let payment = Payment {
            client: invoice.client.clone(),
            amount: money.minor,
            currency: money.currency,
            method,
            number: String::new(),
            external_id: external_id.clone(),
            status: Status::Completed,
            at: ask.at,
            destinations: Some(vec![share.clone()]),
            unapplied: 0,
            unapplied_held: 0,
            refunded: 0,
            lost: 0,
            pending: 0,
            credited: None,
        };
        let lines = self.lines_of((&payment, std::slice::from_ref(&share)), 0);
        self.ledger.bears(&lines)?;
        let number = self.take_number(("PAY", None), &name, ask)?;

        // Past here it succeeds.
        self.keep_external("payments", external_id.as_deref(), &name);
        self.payments.insert(name.clone(), Payment { number, ..payment });
        self.writes("payments", &name);
        let whole = std::slice::from_ref(&share);
        self.note_equals(&name, (whole, whole), ask.at);
        self.take_shares(&name, vec![share]);
        self.ledger.move_money(lines, (ask.at, &mut self.turn));
        Ok(vec![("payment", What::Payment(name)), ("invoices", What::All(vec![What::Invoice(id)]))])
    }
}

fn unapplied_in(shares: &[Share]) -> i128 {
    let of = |share: &&Share| share.target == Target::Unapplied;
    shares.iter().filter(of).map(|share| share.money.minor).sum()
}
