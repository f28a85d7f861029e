//! Refunds of payments and of retainers, and disputes.
//!
//! Invariant: what is pending is set aside in its sources, to the last unit; what succeeded was
//! taken from them at once.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "amounts stay below 2^53, far from the end of an i128"
)]

use serde_json::{Value, json};

use super::Book;
use super::budget::{Part, Share, Target};
use super::ledger::{line, system};
use super::retainers::place_of;
use super::value::{Ask, Money, Shown, What, number};
use crate::instant::Nanos;
use crate::model::fields::{Refusal, needed, record, refuse, senseless, shown, text};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Status {
    /// Or open.
    Pending,
    /// Or lost.
    Succeeded,
    /// Or won.
    Failed,
}

/// A refund or a dispute.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Return {
    pub(super) payment: Option<String>,
    pub(super) retainer: Option<String>,
    pub(super) number: Option<String>,
    pub(super) amount: i128,
    pub(super) currency: String,
    pub(super) status: Status,
    /// When it got there.
    pub(super) at: Nanos,
    pub(super) parts: Vec<Part>,
    /// Of a retainer: all of it, for good.
    pub(super) whole: bool,
    pub(super) reason: Option<String>,
    pub(super) external_id: Option<String>,
}

impl Status {
    pub(super) const fn of_refund(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }

    pub(super) const fn of_dispute(self) -> &'static str {
        match self {
            Self::Pending => "open",
            Self::Succeeded => "lost",
            Self::Failed => "won",
        }
    }
}

/// Whether the money is already back.
fn settles_now(ask: &Ask<'_>) -> Result<bool, Refusal> {
    match text(ask.args, "settle") {
        None | Some("now") => Ok(true),
        Some("later") => Ok(false),
        Some(_) => senseless("settle"),
    }
}

/// Which parts are taken: of those that are named, or of all, the first that are free.
fn chosen(
    sources: Option<&[Share]>,
    (free, wanted): (&[Part], i128),
) -> Result<Vec<Part>, Refusal> {
    let Some(sources) = sources else { return Ok(first(free.iter(), wanted)) };
    let mut parts = Vec::new();
    for share in sources {
        let there = || free.iter().filter(|part| part.target == share.target);
        let all: i128 = there().map(|part| part.amount).sum();
        if all < share.money.minor {
            return refuse("exceeds_source", json!({ "free": number(all) }));
        }
        parts.extend(first(there(), share.money.minor));
    }
    Ok(parts)
}

/// As much as is wanted, of the first parts that have it.
fn first<'p>(free: impl Iterator<Item = &'p Part>, wanted: i128) -> Vec<Part> {
    let mut left = wanted;
    let mut parts = Vec::new();
    for part in free {
        let amount = left.min(part.amount);
        if 0 < amount {
            left -= amount;
            parts.push(Part { amount, covered: part.covered.min(amount), ..part.clone() });
        }
    }
    parts
}

impl Book {
    pub(super) fn refund_retainer(&mut self, ask: &Ask<'_>) -> Shown {
        let (id, money) = (ask.id()?.to_owned(), ask.maybe("amount")?);
        let reason = Some(needed(ask.args, "reason")?.to_owned());
        let now = settles_now(ask)?;
        let retainer = self.retainer(&id)?.clone();
        self.series_is("RFD")?;
        ask.fits(self.version("retainers", &id))?;
        retainer.not_refunded()?;
        retainer.not_closing()?;
        let place = place_of(&id, &retainer.currency);
        let (balance, held) = (self.ledger.posted(&place), self.ledger.held(&place, ask.at));
        let whole = money.is_none();
        if whole && held != 0 {
            let data = json!({ "held": number(held) });
            return refuse("retainer_has_holds", data);
        }
        if balance == 0 {
            return refuse("nothing_to_refund", json!({}));
        }
        let money = money.unwrap_or_else(|| Money { minor: balance, currency: place.1.clone() });
        money.is_in(&retainer.currency)?;
        self.ledger.has(&place, money.minor, ask.at)?;
        let name = ask.drawn("/refund/id");
        let number = self.take_number(("RFD", None), &name, ask)?;

        // Past here it succeeds.
        let target = Target::Retainer(id.clone());
        let part = Part { age: 0, target, amount: money.minor, covered: money.minor };
        let refund = Return {
            payment: None,
            retainer: Some(id.clone()),
            number: Some(number),
            amount: money.minor,
            currency: money.currency,
            status: Status::Pending,
            at: ask.at,
            parts: vec![part],
            whole,
            reason,
            external_id: None,
        };
        self.begin(&name, refund, ask);
        if now {
            self.settle(&name, Status::Succeeded, ask);
        }
        Ok(vec![("refund", What::Refund(name)), ("retainer", What::Retainer(id))])
    }

    /// `payments.refund` and `payments.dispute`.
    pub(super) fn return_payment(&mut self, ask: &Ask<'_>) -> Shown {
        let is_dispute = (ask.cmd == "payments.dispute").then_some(());
        let kind = if is_dispute.is_some() { "disputes" } else { "refunds" };
        let (id, money) = (ask.id()?.to_owned(), ask.maybe("amount")?);
        let sources = Share::read_all(ask, "sources")?;
        if let (Some(sources), Some(money)) = (&sources, &money)
            && Share::sum(sources) != money.minor
        {
            return refuse("sources_mismatch", json!({}));
        }
        let now = is_dispute.is_none() && settles_now(ask)?;
        let external_id = text(ask.args, "external_id").map(str::to_owned);
        if is_dispute.is_some() && (external_id.is_none() || money.is_none()) {
            return senseless(if money.is_none() { "amount" } else { "external_id" });
        }
        let payment = self.payment(&id)?.clone();
        let free = self.free_parts(&id, (ask.at, is_dispute));
        for share in sources.iter().flatten() {
            if share.target != Target::Unapplied
                && !free.iter().any(|part| part.target == share.target)
            {
                return refuse("source_not_found", json!({}));
            }
        }
        let name = ask.drawn(if is_dispute.is_some() { "/dispute/id" } else { "/refund/id" });
        self.is_external_free(kind, external_id.as_deref(), &name)?;
        if is_dispute.is_none() {
            self.series_is("RFD")?;
        }
        ask.fits(self.version("payments", &id))?;
        payment.is_completed()?;
        let all: i128 = free.iter().map(|part| part.amount).sum();
        let listed = sources.as_deref();
        let money = money.unwrap_or_else(|| payment.money(listed.map_or(all, Share::sum)));
        for share in sources.iter().flatten() {
            share.money.is_in(&payment.currency)?;
        }
        money.is_in(&payment.currency)?;
        self.is_free_in_all((&payment, all), (money.minor, is_dispute))?;
        let parts = chosen(listed, (&free, money.minor))?;
        let number = match is_dispute {
            None => Some(self.take_number(("RFD", None), &name, ask)?),
            Some(()) => None,
        };

        // Past here it succeeds.
        self.keep_external(kind, external_id.as_deref(), &name);
        let refund = Return {
            payment: Some(id.clone()),
            retainer: None,
            number,
            amount: money.minor,
            currency: money.currency,
            status: Status::Pending,
            at: ask.at,
            parts,
            whole: false,
            reason: text(ask.args, "reason").map(str::to_owned),
            external_id,
        };
        self.begin(&name, refund, ask);
        if now {
            self.settle(&name, Status::Succeeded, ask);
        }
        Ok(self.returned(&name, is_dispute))
    }

    fn is_free_in_all(
        &self,
        (payment, all): (&super::payments::Payment, i128),
        (wanted, is_dispute): (i128, Option<()>),
    ) -> Result<(), Refusal> {
        if wanted <= all && 0 < wanted {
            return Ok(());
        }
        let (free, pending) = (payment.show(all), payment.show(payment.pending));
        match is_dispute {
            Some(()) => refuse("exceeds_free", json!({ "free": free, "pending": pending })),
            None => refuse(
                "exceeds_refundable",
                json!({ "refundable": free, "requested": payment.show(wanted),
                        "pending": pending }),
            ),
        }
    }

    /// Sets aside what a return will take.
    fn begin(&mut self, name: &str, refund: Return, ask: &Ask<'_>) {
        for part in &refund.parts {
            match (&refund.payment, &part.target) {
                (Some(payment), _) => self.hold_part(payment, part, 1),
                (None, Target::Retainer(id)) => {
                    let place = self.retainer_place(id);
                    self.ledger.set_aside(&place, part.covered);
                    self.turn.writes.insert(record("accounts", &[&place.0]));
                    let closing = refund.whole.then(|| name.to_owned());
                    self.change_retainer(id, |retainer| retainer.closing = closing);
                }
                (None, Target::Invoice(_) | Target::Unapplied) => {}
            }
        }
        if let Some(payment) = &refund.payment {
            self.change_payment(payment, |paid| paid.pending += refund.amount);
        }
        let kind = if ask.cmd == "payments.dispute" { "disputes" } else { "refunds" };
        self.writes(kind, name);
        let all = if kind == "disputes" { &mut self.disputes } else { &mut self.refunds };
        all.insert(name.to_owned(), refund);
    }

    /// Ends a pending return: what was set aside is taken, or free again.
    fn settle(&mut self, name: &str, end: Status, ask: &Ask<'_>) {
        let is_dispute = ask.cmd.starts_with("disputes.");
        let all = if is_dispute { &mut self.disputes } else { &mut self.refunds };
        let Some(kept) = all.get_mut(name) else { return };
        kept.status = end;
        kept.at = ask.at;
        let refund = kept.clone();
        self.writes(if is_dispute { "disputes" } else { "refunds" }, name);
        let succeeded = end == Status::Succeeded;
        let mut lines = vec![line(&system("sys:cash", &refund.currency), refund.amount)];
        for part in &refund.parts {
            match (&refund.payment, &part.target) {
                (Some(payment), _) => {
                    self.hold_part(payment, part, -1);
                    if succeeded {
                        lines.extend(self.take_part(payment, part));
                    }
                }
                (None, Target::Retainer(id)) => {
                    let place = self.retainer_place(id);
                    self.ledger.set_aside(&place, -part.covered);
                    self.turn.writes.insert(record("accounts", &[&place.0]));
                    lines.push(line(&place, -part.amount));
                    let (whole, at) = (refund.whole, ask.at);
                    self.change_retainer(id, |retainer| {
                        if whole {
                            retainer.closing = None;
                        }
                        if whole && succeeded {
                            retainer.refunded_at = Some(at);
                        }
                        if succeeded {
                            retainer.paid_back += part.amount;
                        }
                    });
                }
                (None, Target::Invoice(_) | Target::Unapplied) => {}
            }
        }
        if let Some(payment) = &refund.payment {
            self.change_payment(payment, |paid| {
                paid.pending -= refund.amount;
                if succeeded && is_dispute {
                    paid.lost += refund.amount;
                } else if succeeded {
                    paid.refunded += refund.amount;
                }
            });
        }
        if succeeded {
            self.ledger.move_money(lines, (ask.at, &mut self.turn));
        }
    }

    /// `refunds.complete`, `refunds.fail`, `disputes.lose`, `disputes.win`.
    pub(super) fn end_return(&mut self, ask: &Ask<'_>) -> Shown {
        let name = ask.id()?.to_owned();
        let is_dispute = ask.cmd.starts_with("disputes.").then_some(());
        let (all, kind) = match is_dispute {
            Some(()) => (&self.disputes, "disputes"),
            None => (&self.refunds, "refunds"),
        };
        let Some(refund) = all.get(&name).cloned() else {
            let code = if is_dispute.is_some() { "dispute_not_found" } else { "refund_not_found" };
            return refuse(code, json!({ "id": name }));
        };
        ask.fits(self.version(kind, &name))?;
        if refund.status != Status::Pending {
            let (code, status) = match is_dispute {
                Some(()) => ("dispute_not_open", refund.status.of_dispute()),
                None => ("refund_not_pending", refund.status.of_refund()),
            };
            return refuse(code, json!({ "status": status, "at": shown(refund.at) }));
        }

        // Past here it succeeds.
        let succeeds = matches!(ask.cmd, "refunds.complete" | "disputes.lose");
        let end = if succeeds { Status::Succeeded } else { Status::Failed };
        self.settle(&name, end, ask);
        Ok(self.returned(&name, is_dispute))
    }

    /// What there is to show of a return and of what it touches.
    fn returned(&self, name: &str, is_dispute: Option<()>) -> Vec<(&'static str, What)> {
        let (first, all) = match is_dispute {
            Some(()) => (("dispute", What::Dispute(name.to_owned())), &self.disputes),
            None => (("refund", What::Refund(name.to_owned())), &self.refunds),
        };
        let mut shown = vec![first];
        let Some(refund) = all.get(name) else { return shown };
        let Some(payment) = &refund.payment else {
            let retainer = refund.retainer.clone().unwrap_or_default();
            shown.push(("retainers", What::All(vec![What::Retainer(retainer)])));
            return shown;
        };
        shown.push(("payment", What::Payment(payment.clone())));
        let (mut invoices, mut retainers) = (Vec::new(), Vec::new());
        for part in &refund.parts {
            // Each once, however many of its allocations are taken back.
            let (all, what) = match &part.target {
                Target::Invoice(id) => (&mut invoices, What::Invoice(id.clone())),
                Target::Retainer(id) => (&mut retainers, What::Retainer(id.clone())),
                Target::Unapplied => continue,
            };
            if !all.contains(&what) {
                all.push(what);
            }
        }
        shown.extend([("invoices", What::All(invoices)), ("retainers", What::All(retainers))]);
        shown
    }

    /// As a reply shows the sources of a return.
    pub(super) fn show_parts(refund: &Return) -> Value {
        let show = |part: &Part| part.target.show(number(part.amount));
        refund.parts.iter().map(show).collect()
    }
}
