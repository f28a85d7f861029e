//! What is to be seen of a book: money that moves, is held, comes back; numbers; proposals.
//!
//! Everything is taken from receipts and rejections, as callers are told them, and from commits.

use std::sync::Arc;

use bellpunch::store::{Commit, WriteValue};
use bellpunch::{AnyReceipt, Partition};
use serde_json::{Map, Value};

use crate::case::Asked;
use crate::world::World;

/// What a rejection says: the command that it is of, its code, and its data.
type No<'a> = (&'a Asked, &'a str, &'a Map<String, Value>);

/// What commands of a book begin with.
const OF_BOOKS: [&str; 9] = [
    "accounts.",
    "transfers.",
    "retainers.",
    "invoices.",
    "payments.",
    "refunds.",
    "disputes.",
    "series.",
    "tickets.redeem",
];

/// Whether a commit writes an entry of the journal: money moved, or a number was given.
pub(super) fn enters(commit: &Commit) -> bool {
    commit.writes.iter().any(|write| write.key.kind.name() == "entries")
}

/// The numbers that a commit gives to documents, each with its document.
fn numbers(commit: &Commit) -> impl Iterator<Item = (String, String)> {
    let numbers = commit.writes.iter().filter(|write| write.key.kind.name() == "numbers");
    numbers.filter_map(|write| {
        let WriteValue::Put(bytes) = &write.value else { return None };
        let stored: Value = serde_json::from_slice(bytes).ok()?;
        let document = stored.get("record")?.get("document")?.as_str()?.to_owned();
        Some((write.key.to_string(), document))
    })
}

fn count(value: Option<&Value>) -> u64 {
    value.and_then(Value::as_u64).unwrap_or_default()
}

fn has_some(value: &Value, list: &str) -> bool {
    value.get(list).and_then(Value::as_array).is_some_and(|list| !list.is_empty())
}

/// What a rejection shows.
fn of_rejection((asked, code, data): No<'_>) -> Option<&'static str> {
    let is = |command: &str| asked.cmd == command;
    let number = |field: &str| count(data.get(field));
    let names = |field: &str| data.get(field).and_then(Value::as_str);
    match code {
        "exceeds_refundable" if 0 < number("refundable") => Some("over_refund"),
        "exceeds_free" if 0 < number("free") => Some("over_refund"),
        "exceeds_due" if 0 < number("balance_due") => Some("over_pay"),
        "insufficient_funds" if 0 < number("available") => Some("overdraft_refused"),
        "invoice_not_payable" if names("status") == Some("void") => Some("void_vs_pay"),
        "invoice_not_voidable" if 0 < number("amount_paid") => Some("void_vs_pay"),
        "already_completed" if is("payments.complete") => Some("completed_twice"),
        "job_not_open" if is("proposals.accept") => {
            let other = names("accepted_proposal")?;
            (asked.args.get("proposer").and_then(Value::as_str) != Some(other))
                .then_some("two_accepts")
        }
        "hold_expired" if is("accounts.capture") => Some("hold_too_late"),
        "already_reversed" => Some("reversed_twice"),
        "retainer_closing" => Some("closing_refuses"),
        "chain_unsealed" => Some("chain_waits"),
        _ => None,
    }
}

/// What the reply of one accepted command shows.
fn of_reply(asked: &Asked, reply: &Value) -> Vec<&'static str> {
    let mut reached = Vec::new();
    for event in reply.get("events").and_then(Value::as_array).into_iter().flatten() {
        match event.get("event").and_then(Value::as_str) {
            Some("low_balance") => reached.push("minimum_crossed"),
            Some("possible_duplicate_payment") => reached.push("equal_payments"),
            _ => {}
        }
    }
    let moved = has_some(reply, "postings");
    match asked.cmd.as_str() {
        "refunds.fail" => reached.push("refund_failed"),
        "series.void" => reached.push("number_voided"),
        "payments.complete" if has_some(reply, "diverted") => reached.push("diverted"),
        "tickets.redeem" if moved => reached.push("ticket_paid"),
        "invoices.credit" if has_some(reply, "payments") || has_some(reply, "retainers") => {
            reached.push("credit_gives_back");
        }
        "disputes.lose" => {
            let sources = reply.get("dispute").and_then(|dispute| dispute.get("sources"));
            let sources = sources.and_then(Value::as_array).into_iter().flatten();
            if sources.into_iter().any(|source| 0 < count(source.get("spent"))) {
                reached.push("lost_after_spending");
            }
        }
        _ => {}
    }
    reached
}

impl World {
    /// Commands of a book were accepted, or told again.
    pub(super) fn watch_book_accepted(&mut self, commands: &[Asked], receipt: &AnyReceipt) {
        if receipt.dry_run {
            return;
        }
        for (asked, reply) in commands.iter().zip(&receipt.replies) {
            if !OF_BOOKS.iter().any(|prefix| asked.cmd.starts_with(prefix)) {
                continue;
            }
            let reply = reply.to_json();
            if receipt.replayed {
                if has_some(&reply, "postings") {
                    self.reached("money_replayed");
                }
                continue;
            }
            for situation in of_reply(asked, &reply) {
                self.reached(situation);
            }
        }
    }

    /// A command of a book was rejected.
    pub(super) fn watch_book_rejected(
        &mut self,
        commands: &[Asked],
        (code, data): (&str, &Map<String, Value>),
    ) {
        let [asked] = commands else { return };
        if let Some(situation) = of_rejection((asked, code, data)) {
            self.reached(situation);
        }
    }

    /// A commit of a process was not taken: numbers that it gave are given again.
    pub(super) fn watch_numbers_lost(&mut self, commit: &Arc<Commit>) {
        for (number, document) in numbers(commit) {
            let name = (commit.partition.clone(), number);
            let _ = self.watch.lost_numbers.insert(name, document);
        }
    }

    /// A commit was applied: which numbers it gave, and whether a series turned to a later period.
    pub(super) fn watch_numbers(&mut self, commit: &Arc<Commit>) {
        let partition: &Partition = &commit.partition;
        for (number, document) in numbers(commit) {
            let lost = self.watch.lost_numbers.remove(&(partition.clone(), number.clone()));
            if lost.is_some_and(|lost| lost != document) {
                self.reached("number_after_abort");
            }
            // The place of a number ends with its period and its value.
            let mut parts = number.rsplitn(3, '/');
            let period = parts.nth(1).unwrap_or_default().to_owned();
            let series = parts.next().unwrap_or_default().to_owned();
            let known = self.watch.periods.insert((partition.clone(), series), period.clone());
            if known.is_some_and(|known| known < period) {
                self.reached("period_rollover");
            }
        }
    }
}
