//! `invoices.credit`: credit notes.
//!
//! Invariant: what is credited of a rate never exceeds what the invoice has of it, and the tax of
//! all notes together is that of all they credit together.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "amounts stay below 2^53, far from the end of an i128"
)]

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Book;
use super::budget::{Allocation, Source, Target};
use super::invoices::Invoice;
use super::ledger::{Line, line, system};
use super::totals::vat;
use super::value::{Ask, Money, Shown, What, plain};
use crate::instant::Nanos;
use crate::model::fields::{Refusal, field, needed, refuse, senseless, text};

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Note {
    pub(super) invoice: String,
    pub(super) number: String,
    pub(super) net: i128,
    pub(super) vat: i128,
    pub(super) at: Nanos,
}

/// What is asked to be credited: amounts without tax, by line.
type Asked = Vec<(Money, i128)>;

fn asked(ask: &Ask<'_>) -> Result<Asked, Refusal> {
    let Some(list) = field(ask.args, "lines").and_then(Value::as_array) else {
        return senseless("lines");
    };
    let mut all = Asked::new();
    for one in list {
        all.push((ask.with(one).money("net")?, plain(one, "vat_bp", Some(0))?));
    }
    if all.is_empty() { senseless("lines") } else { Ok(all) }
}

/// What is asked to be credited, by rate.
fn by_rate(lines: &Asked) -> BTreeMap<i128, i128> {
    let mut nets: BTreeMap<i128, i128> = BTreeMap::new();
    for (money, rate) in lines {
        *nets.entry(*rate).or_default() += money.minor;
    }
    nets
}

fn credited(invoice: &Invoice, rate: i128) -> i128 {
    invoice.credited_nets.get(&rate).copied().unwrap_or_default()
}

/// What is credited without tax, and the tax of it: the difference of what all notes come to.
fn amounts(nets: &BTreeMap<i128, i128>, invoice: &Invoice) -> (i128, i128) {
    let tax = |(rate, net): (&i128, &i128)| {
        let before = credited(invoice, *rate);
        vat(before + net, *rate) - vat(before, *rate)
    };
    (nets.values().sum(), nets.iter().map(tax).sum())
}

fn is_creditable(nets: &BTreeMap<i128, i128>, invoice: &Invoice) -> Result<(), Refusal> {
    for (rate, net) in nets {
        let all = invoice.totals.nets.get(rate).copied().unwrap_or_default();
        let creditable = all - credited(invoice, *rate);
        if creditable < *net {
            let creditable = invoice.show(creditable);
            let data = json!({ "vat_bp": super::value::number(*rate), "creditable": creditable });
            return refuse("exceeds_invoice", data);
        }
    }
    Ok(())
}

impl Book {
    pub(super) fn credit_invoice(&mut self, ask: &Ask<'_>) -> Shown {
        let id = ask.id()?.to_owned();
        let lines = asked(ask)?;
        needed(ask.args, "reason")?;
        let releases = match text(ask.args, "excess") {
            None | Some("refuse") => false,
            Some("unapplied") => true,
            Some(_) => return senseless("excess"),
        };
        let invoice = self.invoice(&id)?.clone();
        self.series_is("CRN")?;
        ask.fits(self.version("invoices", &id))?;
        invoice.is_issued()?;
        let nets = by_rate(&lines);
        let (net, tax) = amounts(&nets, &invoice);
        let excess = if releases { net + tax - invoice.due() } else { 0 };
        let plan = self.released(&id, excess);
        for (_, one, _) in &plan {
            if let Some(retainer) = self.retainer_behind(one) {
                let retainer = self.retainer(&retainer)?;
                retainer.not_refunded()?;
                retainer.not_closing()?;
            }
        }
        for (money, _) in &lines {
            money.is_in(&invoice.currency)?;
        }
        is_creditable(&nets, &invoice)?;
        if !releases {
            self.is_due(&id, net + tax)?;
        }
        let free: i128 = plan.iter().map(|(_, _, amount)| *amount).sum();
        if free < excess {
            return refuse("exceeds_allocation", json!({ "free": invoice.show(free) }));
        }
        let name = ask.drawn("/credit_note/id");
        let number = self.take_number(("CRN", None), &name, ask)?;

        // Past here it succeeds.
        let at = ask.at;
        let note = Note { invoice: id.clone(), number, net, vat: tax, at };
        self.notes.insert(name.clone(), note);
        self.writes("credit_notes", &name);
        self.change_invoice(&id, |invoice| {
            invoice.credited += net + tax;
            for (rate, net) in nets {
                *invoice.credited_nets.entry(rate).or_default() += net;
            }
        });
        let mut moves = vec![
            line(&system("sys:revenue", &invoice.currency), -net),
            line(&system("sys:vat", &invoice.currency), -tax),
            self.receivable(&id, net + tax),
            self.receivable(&id, -excess.max(0)),
        ];
        let back = self.give_back(plan);
        moves.extend(back.iter().map(|(_, line)| line.clone()));
        let back = back.into_iter().map(|(what, _)| what);
        let (payments, retainers) = back.partition(|what| matches!(what, What::Payment(_)));
        self.ledger.move_money(moves, (at, &mut self.turn));
        Ok(vec![
            ("credit_note", What::CreditNote(name)),
            ("invoice", What::Invoice(id)),
            ("payments", What::All(payments)),
            ("retainers", What::All(retainers)),
        ])
    }

    /// Gives allocations back, or parts of them: each payment and each retainer gets back once,
    /// however many allocations it had.
    fn give_back(&mut self, plan: Vec<(u64, Allocation, i128)>) -> Vec<(What, Line)> {
        let mut back: Vec<(What, Line)> = Vec::new();
        for (age, one, amount) in plan {
            self.release(age, amount);
            let (what, line) = self.given_back(&one.source, amount);
            match back.iter_mut().find(|(known, _)| *known == what) {
                Some((_, sum)) => sum.change += line.change,
                None => back.push((what, line)),
            }
        }
        back
    }

    /// Which allocations to an invoice are released, newest first, for as much as is wanted.
    fn released(&self, invoice: &str, wanted: i128) -> Vec<(u64, Allocation, i128)> {
        let target = Target::Invoice(invoice.to_owned());
        let mut left = wanted;
        let mut plan = Vec::new();
        for (age, one) in self.allocations.iter().rev().filter(|(_, one)| one.target == target) {
            let amount = one.free().min(left);
            if 0 < amount {
                left -= amount;
                plan.push((*age, one.clone(), amount));
            }
        }
        plan
    }

    /// The retainer whose money it was.
    fn retainer_behind(&self, one: &Allocation) -> Option<String> {
        match &one.source {
            Source::Consumption(name) => {
                self.consumptions.get(name).map(|consumption| consumption.retainer.clone())
            }
            Source::Payment(_) => None,
        }
    }

    /// Money that was allocated goes back where it was before; gives what that is.
    fn given_back(&mut self, source: &Source, amount: i128) -> (What, Line) {
        match source {
            Source::Payment(id) => {
                self.change_payment(id, |paid| paid.unapplied += amount);
                let place = self.payments.get(id).map(super::payments::Payment::unapplied_place);
                (What::Payment(id.clone()), line(&place.unwrap_or_default(), amount))
            }
            Source::Consumption(name) => {
                let retainer = self.consumptions.get(name).map(|one| one.retainer.clone());
                let retainer = retainer.unwrap_or_default();
                self.change_retainer(&retainer, |_| ());
                self.restore_consumption(name, amount);
                let line = line(&self.retainer_place(&retainer), amount);
                (What::Retainer(retainer), line)
            }
        }
    }
}
