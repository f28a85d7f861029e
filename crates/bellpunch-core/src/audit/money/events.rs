//! Events about retainers: each fall is told once.

use std::collections::BTreeMap;

use super::{Ledger, sum};
use crate::audit::{Book, Finding, Stored, or_unreadable, same, text};

const CHECK: &str = "events_match_postings";

/// A retainer as the journal has it so far.
#[derive(Clone, Copy, Default)]
struct Seen {
    balance: i128,
    minimum: i128,
}

/// What ought to be told at one entry: the event, of which retainer, at which balance and minimum.
type Told<'a> = (&'static str, &'a str, i128, i128);

pub(super) fn check(book: &Book, ledger: &Ledger<'_>) -> Vec<Finding> {
    // What stood on each retainer after each entry that moved it.
    let mut moved: BTreeMap<(u128, &str), i128> = BTreeMap::new();
    for retainer in book.all("retainers") {
        let id = retainer.key.id.as_str();
        for leg in ledger.postings(&format!("sys:retainer:{id}")) {
            moved.insert((leg.seq, id), leg.after);
        }
    }
    let mut seen: BTreeMap<&str, Seen> = BTreeMap::new();
    let mut findings = Vec::new();
    for entry in book.all("entries") {
        findings.extend(or_unreadable(entry, of_entry(entry, &moved, &mut seen)));
    }
    findings
}

fn of_entry<'a>(
    entry: &'a Stored,
    moved: &BTreeMap<(u128, &'a str), i128>,
    seen: &mut BTreeMap<&'a str, Seen>,
) -> Option<Vec<Finding>> {
    let seq = entry.number("seq")?;
    let (command, content) = (entry.text("command")?, entry.record.get("content")?);
    let sets = matches!(command, "retainers.create" | "retainers.update");
    let minimum = content.get("minimum_balance").filter(|_| sets);
    let minimum = minimum.and_then(|minimum| sum(minimum, "amount"));
    let versions = entry.record.get("versions")?.as_object()?;
    let mut expected: Vec<Told<'_>> = Vec::new();
    for id in versions.keys().filter_map(|key| key.strip_prefix("retainers/")) {
        let before = seen.get(id).copied().unwrap_or_default();
        let balance = moved.get(&(seq, id)).copied().unwrap_or(before.balance);
        let after = Seen { balance, minimum: minimum.unwrap_or(before.minimum) };
        seen.insert(id, after);
        if command == "retainers.create" {
            continue;
        }
        let fell = before.minimum < before.balance && balance <= after.minimum;
        if 0 < after.minimum && fell {
            expected.push(("low_balance", id, balance, after.minimum));
        }
        if 0 < before.balance && balance == 0 {
            expected.push(("retainer_depleted", id, 0, 0));
        }
    }
    let mut found: Vec<Told<'_>> = Vec::new();
    for event in entry.list("events") {
        let retainer = || text(event, "retainer");
        match text(event, "event")? {
            "low_balance" => {
                let (balance, minimum) = (sum(event, "balance")?, sum(event, "minimum_balance")?);
                found.push(("low_balance", retainer()?, balance, minimum));
            }
            "retainer_depleted" => found.push(("retainer_depleted", retainer()?, 0, 0)),
            _ => {}
        }
    }
    expected.sort_unstable();
    found.sort_unstable();
    Some(same(CHECK, entry, (expected, found)).into_iter().collect())
}
