//! Retainers and consumptions.

use std::collections::BTreeMap;

use super::{Ledger, add, each, equal, gather, sum};
use crate::audit::{Book, Finding, Stored, holds, list, same, text};

const CHECK: &str = "retainer_matches_postings";

/// What is known of retainers beside their own records.
#[derive(Default)]
struct Known<'a> {
    /// What stands on each, by what came and went.
    balances: BTreeMap<&'a str, i128>,
    /// Refunds of all of one that succeeded.
    ended: BTreeMap<&'a str, &'a str>,
    /// Those that are pending.
    closing: BTreeMap<&'a str, &'a str>,
}

impl<'a> Known<'a> {
    fn of(book: &'a Book) -> Self {
        let mut known = Self::default();
        gather(book, "transfers", |transfer| known.cash(transfer));
        gather(book, "payments", |payment| known.payment(payment));
        gather(book, "disputes", |dispute| known.dispute(dispute));
        gather(book, "refunds", |refund| known.refund(refund));
        gather(book, "consumptions", |consumption| {
            let (retainer, left) = (consumption.text("retainer")?, left(consumption)?);
            add(&mut known.balances, retainer, left.saturating_neg());
            Some(())
        });
        known
    }

    /// Cash received without a payment.
    fn cash(&mut self, transfer: &'a Stored) -> Option<()> {
        if !matches!(transfer.text("command")?, "retainers.create" | "retainers.replenish") {
            return None;
        }
        let lines = transfer.list("lines");
        let is_cash = |account: Option<&str>| account.is_some_and(|id| id.starts_with("sys:cash:"));
        if !lines.iter().any(|line| is_cash(text(line, "account"))) {
            return None;
        }
        for line in lines {
            if let Some(retainer) = text(line, "account")?.strip_prefix("sys:retainer:") {
                add(&mut self.balances, retainer, sum(line, "amount")?);
            }
        }
        Some(())
    }

    /// What of a payment is there, spent or not.
    fn payment(&mut self, payment: &'a Stored) -> Option<()> {
        for part in payment.list("parts") {
            if let Some(retainer) = text(part.get("target")?, "retainer") {
                add(&mut self.balances, retainer, sum(part, "amount")?);
            }
        }
        Some(())
    }

    /// What the bank took of a payment and the retainer had spent, it did not give.
    fn dispute(&mut self, dispute: &'a Stored) -> Option<()> {
        if dispute.text("status")? == "lost" {
            for source in dispute.list("sources") {
                if let Some(retainer) = text(source, "retainer") {
                    add(&mut self.balances, retainer, sum(source, "spent")?);
                }
            }
        }
        Some(())
    }

    fn refund(&mut self, refund: &'a Stored) -> Option<()> {
        let [retainer, extent] = refund.list("retainer") else { return None };
        let (id, retainer) = (refund.key.id.as_str(), retainer.as_str()?);
        let whole = extent.as_str()? == "whole";
        match refund.text("status")? {
            "succeeded" => {
                let amount = sum(&refund.record, "amount")?;
                add(&mut self.balances, retainer, amount.saturating_neg());
                if whole {
                    self.ended.insert(retainer, id);
                }
            }
            "pending" if whole => {
                self.closing.insert(retainer, id);
            }
            _ => {}
        }
        Some(())
    }
}

/// What of a consumption was not given back.
fn left(consumption: &Stored) -> Option<i128> {
    sum(&consumption.record, "amount")?.checked_sub(sum(&consumption.record, "restored")?)
}

pub(super) fn check(book: &Book, ledger: &Ledger<'_>) -> Vec<Finding> {
    let known = Known::of(book);
    [
        each(book, "retainers", |retainer| of_retainer(retainer, &known, ledger)),
        each(book, "consumptions", |consumption| of_consumption(book, consumption)),
    ]
    .concat()
}

fn of_retainer(retainer: &Stored, known: &Known<'_>, ledger: &Ledger<'_>) -> Option<Vec<Finding>> {
    let id = retainer.key.id.as_str();
    let balance = sum(&retainer.record, "balance")?;
    let minimum = sum(&retainer.record, "minimum_balance")?;
    let expected = known.balances.get(id).copied().unwrap_or_default();
    let posted = ledger.balance(&format!("sys:retainer:{id}"));
    let mut findings: Vec<Finding> = [
        equal(CHECK, retainer, (expected, balance, "balance")),
        equal(CHECK, retainer, (posted, balance, "balance as posted")),
    ]
    .into_iter()
    .flatten()
    .collect();
    let ended = known.ended.contains_key(id);
    let armed = retainer.record.get("alert_armed")?.as_bool()?;
    let claims = [
        (retainer.has("refunded_at") == ended, "refunded if and only if a refund of all of it did"),
        (!ended || balance == 0, "nothing on it after a refund of all"),
        (armed == (0 < minimum && minimum < balance), "armed if and only if above its minimum"),
    ];
    findings.extend(claims.into_iter().filter_map(|claim| holds(CHECK, retainer, claim)));
    let closing = (known.closing.get(id).copied(), retainer.text("closing"));
    findings.extend(same(CHECK, retainer, closing));
    Some(findings)
}

fn of_consumption(book: &Book, consumption: &Stored) -> Option<Vec<Finding>> {
    let (id, left) = (consumption.key.id.as_str(), left(consumption)?);
    let retainer = book.one("retainers", consumption.text("retainer")?);
    let mut findings: Vec<Finding> =
        [(0 <= left, "no more restored than was consumed"), (retainer.is_some(), "a retainer")]
            .into_iter()
            .filter_map(|claim| holds(CHECK, consumption, claim))
            .collect();
    if let [invoice, ordinal] = list(&consumption.record, "invoice") {
        let (invoice, ordinal) = (invoice.as_str()?, ordinal.as_u64()?);
        let place = format!("{}:{invoice}{ordinal:020}", invoice.len());
        let allocation = book.one("allocations", &place);
        let source = allocation.and_then(|one| text(one.record.get("source")?, "consumption"));
        let there = allocation.and_then(|one| sum(&one.record, "amount"));
        let claim = (source == Some(id) && there == Some(left), "an allocation of what is left");
        findings.extend(holds(CHECK, consumption, claim));
    }
    Some(findings)
}
