//! Finds who wrote the versions that nobody was told of.
//!
//! Invariant: a gap is filled only where one call alone can fill it, or calls that ask for the
//! same. What was put there is a guess until the model has gone over it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::chains::{Gap, index};
use super::{Node, Told};
use crate::calls::Op;
use crate::history::Versions;
use crate::instant::Nanos;

/// The time that a call in a gap is tried with.
#[derive(Clone, Copy, Debug)]
pub(super) enum When {
    /// That of the call before the gap.
    Before,
    /// That of the call after it.
    After,
}

type Taken = BTreeMap<usize, (Versions, Nanos)>;

/// The calls that must have written what is missing; none if that is not certain.
pub(super) fn fill<'h>(
    gaps: &[Gap],
    (open, nodes): (&[Op<'h>], &[Node<'h>]),
    when: When,
) -> Vec<Node<'h>> {
    let mut taken = Taken::new();
    let mut unnamed: Vec<&Gap> = Vec::new();
    for gap in gaps {
        let may = candidates(gap, open, nodes);
        if may.is_empty() {
            unnamed.push(gap);
        } else if take(gap, (open, may), (&mut taken, decided(gap, nodes, when))).is_none() {
            return Vec::new();
        }
    }
    // What a call made under a drawn name can only be its own if there is one call.
    if !unnamed.is_empty() {
        let place = match (taken.len(), open.len()) {
            (1, _) => taken.keys().next().copied(),
            (0, 1) => Some(0),
            _ => None,
        };
        let Some(place) = place else { return Vec::new() };
        for gap in unnamed {
            let at = decided(gap, nodes, when);
            let (writes, _) = taken.entry(place).or_insert_with(|| (Versions::new(), at));
            if gap.first != gap.last || writes.insert(gap.record.clone(), gap.first).is_some() {
                return Vec::new();
            }
        }
    }
    let filler = |(place, (writes, at)): (usize, (Versions, Nanos))| {
        let op: &Op<'h> = open.get(place)?;
        Some(Node {
            call: op.call,
            sent: op.call.t,
            returned: u64::MAX,
            at,
            sees: Cow::Owned(Versions::new()),
            writes: Cow::Owned(writes),
            seq: None,
            told: Told::Nothing,
        })
    };
    taken.into_iter().filter_map(filler).collect()
}

/// The calls that name the record of a gap and were sent early enough, in the order of sending.
fn candidates(gap: &Gap, open: &[Op<'_>], nodes: &[Node<'_>]) -> Vec<usize> {
    let sent_by = returned(gap, nodes);
    let may = open.iter().enumerate();
    let may = may.filter(|(_, op)| op.call.t <= sent_by && names(op, &gap.record));
    let mut may: Vec<(u64, usize)> = may.map(|(place, op)| (op.call.t, place)).collect();
    may.sort_unstable();
    may.into_iter().map(|(_, place)| place).collect()
}

/// Gives the versions of a gap to its candidates: `None` if it is not certain to whom.
fn take(
    gap: &Gap,
    (open, mut may): (&[Op<'_>], Vec<usize>),
    (taken, at): (&mut Taken, Nanos),
) -> Option<()> {
    let missing = gap.last.checked_sub(gap.first)?.checked_add(1)?;
    let first = open.get(*may.first()?)?.call;
    let mut calls = may.iter().filter_map(|place| open.get(*place)).map(|op| op.call);
    let alike = calls.all(|call| call.cmd == first.cmd && call.args == first.args);
    may.retain(|place| {
        taken.get(place).is_none_or(|(writes, _)| !writes.contains_key(&gap.record))
    });
    let available = u64::try_from(may.len()).ok()?;
    // Of calls that ask for the same the earliest is as good as any.
    if available < missing || (!alike && (missing, available) != (1, 1)) {
        return None;
    }
    for (version, place) in (gap.first..=gap.last).zip(may) {
        let (writes, _) = taken.entry(place).or_insert_with(|| (Versions::new(), at));
        writes.insert(gap.record.clone(), version);
    }
    Some(())
}

/// When the call after a gap had returned: what fills the gap was sent before that.
fn returned(gap: &Gap, nodes: &[Node<'_>]) -> u64 {
    let (_, after) = gap.around;
    let after = after.and_then(|after| nodes.get(index(after)));
    after.map_or(u64::MAX, |node| node.returned)
}

/// A time that fits into a gap.
fn decided(gap: &Gap, nodes: &[Node<'_>], when: When) -> Nanos {
    let (before, after) = gap.around;
    let place = match when {
        When::Before => before.or(after),
        When::After => after.or(before),
    };
    place.and_then(|place| nodes.get(index(place))).map_or(0, |node| node.at)
}

/// Whether a call is about a record.
fn names(op: &Op<'_>, record: &str) -> bool {
    let id = record.split_once('/').map_or(record, |(_, id)| id);
    op.call.target == record || mentions(&op.call.args, id)
}

fn mentions(value: &Value, id: &str) -> bool {
    match value {
        Value::String(text) => text == id,
        Value::Array(values) => values.iter().any(|value| mentions(value, id)),
        Value::Object(fields) => fields.values().any(|value| mentions(value, id)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
