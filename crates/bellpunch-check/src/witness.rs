//! The check of histories whose replies carry their order.
//!
//! Receipts name the versions they wrote, rejections and reads those they were decided on. So
//! nothing has to be searched: versions give the order, time gives the rest, and a reference model
//! that goes through the calls in that order has to give every answer again.
//!
//! Invariant: an order that is found respects every version and every pair of calls of which one
//! had returned before the other was sent. Why a graph and not a sort: two records may contradict
//! each other although each alone is fine.
//!
//! The steps: [keys](keys) turns replies into effects, one per idempotency key; [chains](chains)
//! follows each record's versions; [gaps](gaps) finds who may have written a version that nobody
//! was told of; [order](order) finds the order or a cycle; [replay](replay) asks the model;
//! [places](places) looks for another legal order when the model does not agree with the first.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::Value;

use crate::calls::{Op, Part, named};
use crate::history::{Invoke, Rejected, Versions};
use crate::instant::Nanos;
use crate::judge::{Findings, Sequential, count};

mod chains;
mod gaps;
mod keys;
mod order;
mod places;
mod replay;

/// What a call was told.
#[derive(Clone, Debug)]
enum Told<'h> {
    /// Yes, and this.
    Accepted(Cow<'h, Value>),
    /// No.
    Rejected(&'h Rejected),
    /// What a read shows.
    Read(&'h Value),
    /// Nothing, but its versions are missing elsewhere.
    Nothing,
}

/// A call with a place in the order.
#[derive(Clone, Debug)]
struct Node<'h> {
    call: &'h Invoke,
    /// When the first call that can have caused this was sent.
    sent: u64,
    /// When somebody first saw that it had happened; `u64::MAX` if nobody did.
    returned: u64,
    at: Nanos,
    sees: Cow<'h, Versions>,
    writes: Cow<'h, Versions>,
    seq: Option<u64>,
    told: Told<'h>,
}

impl Node<'_> {
    fn named(&self) -> String {
        named(self.call)
    }

    /// How many commands it has: each may raise a record by one.
    fn commands(&self) -> u64 {
        let list = if self.call.cmd == "commands" { self.call.args.as_array() } else { None };
        list.map_or(1, |list| u64::try_from(list.len()).unwrap_or(u64::MAX))
    }
}

/// The nodes, and the calls of which nobody knows whether they had an effect.
#[derive(Debug, Default)]
struct Known<'h> {
    nodes: Vec<Node<'h>>,
    open: Vec<Op<'h>>,
}

/// Judges one partition.
pub(crate) fn check<S: Sequential + Default>(part: &Part<'_>, findings: &mut Findings) {
    held_to_bounds(part, findings);
    let Known { nodes, open } = keys::known(part, findings);
    let chains = chains::follow(part, &nodes);
    if chains.gaps.is_empty() {
        leftovers(part, &open, findings);
        explain::<S>(part, (&nodes, chains), findings);
        return;
    }
    for when in [gaps::When::Before, gaps::When::After] {
        let fillers = gaps::fill(&chains.gaps, (&open, &nodes), when);
        let used: BTreeSet<u64> = fillers.iter().map(|node| node.call.op).collect();
        let all: Vec<Node<'_>> = nodes.iter().cloned().chain(fillers).collect();
        let filled = chains::follow(part, &all);
        if !filled.gaps.is_empty() || !filled.broken.is_empty() {
            break;
        }
        if explain::<S>(part, (&all, filled), findings) == replay::End::Explained {
            let more = u64::try_from(used.len()).unwrap_or(u64::MAX);
            let resolved = &mut findings.counts.unknown_resolved;
            *resolved = resolved.saturating_add(more);
            let rest: Vec<Op<'_>> =
                open.into_iter().filter(|op| !used.contains(&op.call.op)).collect();
            leftovers(part, &rest, findings);
            return;
        }
    }
    for gap in &chains.gaps {
        findings.undecided(format!(
            "{gap}, and no one call without a known end accounts for it (partition {:?})",
            part.name
        ));
    }
    explain::<S>(part, (&nodes, chains), findings);
}

/// Finds an order, and asks the model unless something is missing or broken.
fn explain<S: Sequential + Default>(
    part: &Part<'_>,
    (nodes, mut chains): (&[Node<'_>], chains::Chains<'_>),
    findings: &mut Findings,
) -> replay::End {
    let is_whole = chains.gaps.is_empty() && chains.broken.is_empty();
    for (rule, ops, text) in std::mem::take(&mut chains.broken) {
        findings.violation(rule, ops, format!("{text} (partition {:?})", part.name));
    }
    match order::order(nodes, &chains.edges) {
        Err(cycle) => {
            let guessed = nodes.iter().any(|node| matches!(node.told, Told::Nothing));
            if guessed {
                return replay::End::Unexplained;
            }
            let (ops, text) = order::told(nodes, &cycle);
            findings.violation("witness.order", ops, text);
        }
        // A broken chain gives no state to compare with; what broke it has been told.
        Ok(order) if is_whole => {
            let end = replay::replay::<S>(part, (nodes, &order, &chains), findings);
            if end == replay::End::Unexplained {
                return end;
            }
        }
        Ok(_) => {}
    }
    let records = u64::try_from(chains.records).unwrap_or(u64::MAX);
    findings.counts.records = findings.counts.records.saturating_add(records);
    replay::End::Explained
}

/// Calls without a known end that left no gap had no effect, if the final versions are known. If
/// not, an effect that nobody saw may stand at the end, where it changes no answer; only of a key
/// that could have been asked for is that not accepted.
fn leftovers(part: &Part<'_>, open: &[Op<'_>], findings: &mut Findings) {
    for op in open {
        if part.is_final() || op.call.key.is_none() {
            count(&mut findings.counts.unknown_resolved);
        } else {
            findings.undecided(format!(
                "nobody asked what became of the {}, and the final versions are not recorded",
                op.named()
            ));
        }
    }
}

/// Answers without an order are held to the number that the header allows.
fn held_to_bounds(part: &Part<'_>, findings: &mut Findings) {
    for (flag, bound) in &part.flagged_max {
        let flagged = part.ops.iter().filter(|op| {
            op.flag() == Some(flag) && matches!(op.end, crate::calls::Ended::Accepted(_))
        });
        let ops: Vec<u64> = flagged.map(|op| op.call.op).collect();
        let count = u64::try_from(ops.len()).unwrap_or(u64::MAX);
        if *bound < count {
            let text = format!(
                "{count} calls of partition {:?} were accepted with the flag {flag}, at most \
                 {bound} may be.",
                part.name
            );
            findings.violation("witness.flagged", ops, text);
        }
    }
}

#[cfg(test)]
mod tests;
