//! The cheap rules of what comes in an order: numbers, rates, generations, keys.

use std::collections::BTreeMap;

use serde_json::Value;

use super::state::units;
use super::{Rule, Target};
use crate::calls::{Ended, Foreign, Op};
use crate::wgl::{Answer, Seen};

/// 1, 2, 3 …: none twice, none left out but by a call without an end, and in the order of time.
pub(super) fn series(of: &Target<'_, '_>) -> Result<Rule, String> {
    let first = u64::try_from(of.number_or("first", 1)).map_err(|_| "first is below 0")?;
    let mut numbers: Vec<(u64, &Seen<'_>)> = Vec::new();
    for seen in of.seen {
        let Answer::Yes(body) = seen.answer else { continue };
        let number = ["number", "value"].iter().find_map(|name| body.get(name)?.as_u64());
        let Some(number) = number else {
            return Err(format!("call {} was told no number", seen.op));
        };
        numbers.push((number, seen));
    }
    numbers.sort_by_key(|(number, seen)| (*number, seen.op));
    for pair in numbers.windows(2) {
        if let [(number, one), (other, two)] = pair
            && number == other
        {
            let text = format!("Calls {} and {} both have the number {number}.", one.op, two.op);
            return Ok(Rule::Broken(vec![one.op, two.op], text));
        }
    }
    if let Some((number, seen)) = numbers.first().filter(|(number, _)| *number < first) {
        let text = format!("Call {} has the number {number}, below {first}.", seen.op);
        return Ok(Rule::Broken(vec![seen.op], text));
    }
    let mut latest: Option<&Seen<'_>> = None;
    for (number, seen) in &numbers {
        if let Some(earlier) = latest.filter(|earlier| seen.returned < earlier.sent) {
            let text = format!(
                "Call {} has the number {number}, above that of call {}, which was sent later.",
                seen.op, earlier.op
            );
            return Ok(Rule::Broken(vec![seen.op, earlier.op], text));
        }
        if latest.is_none_or(|earlier| earlier.sent < seen.sent) {
            latest = Some(seen);
        }
    }
    Ok(left_out(first, &numbers, of.seen))
}

/// Each number that is left out must belong to a call without an end that was sent early enough,
/// and late enough by what was known before: of these the earliest fits best.
fn left_out(first: u64, numbers: &[(u64, &Seen<'_>)], seen: &[Seen<'_>]) -> Rule {
    let mut open = seen.iter().filter(|seen| matches!(seen.answer, Answer::Open));
    let mut next = first;
    for (place, (number, seen)) in numbers.iter().enumerate() {
        let rest = numbers.get(place..).unwrap_or_default().iter();
        let by = rest.map(|(_, later)| later.returned).min().unwrap_or(seen.returned);
        while next < *number {
            let Some(_owner) = open.next().filter(|open| open.sent <= by) else {
                let text =
                    format!("Nobody has the number {next}, and call {} has {number}.", seen.op);
                return Rule::Broken(vec![seen.op], text);
            };
            next = next.saturating_add(1);
        }
        next = number.saturating_add(1);
    }
    Rule::Holds
}

/// In any time T at most `burst + rate · T` units: the most over calls that lie wholly inside.
pub(super) fn rate_limit(of: &Target<'_, '_>) -> Result<Rule, String> {
    let burst = i128::from(of.number("burst")?);
    let (units_each, per) = (i128::from(of.number("units")?), of.nanos_or_none("per"));
    if per == 0 {
        return Err("the model has no duration \"per\"".to_owned());
    }
    let per = i128::from(per);
    // A fixed window lets twice its limit pass around its edge; that is its promise.
    let fixed = of.model.get("window").and_then(Value::as_str) == Some("fixed");
    let burst = if fixed { burst.saturating_mul(2) } else { burst };
    let yes = of.seen.iter().filter(|seen| matches!(seen.answer, Answer::Yes(_)));
    let mut by_end: Vec<&Seen<'_>> = yes.collect();
    by_end.sort_by_key(|seen| (seen.returned, seen.op));
    let mut sent: Vec<u64> = by_end.iter().map(|seen| seen.sent).collect();
    sent.sort_unstable();
    sent.dedup();
    // For each end t2, over all begins t1: units of calls inside [t1, t2], in 1/per units, plus
    // rate · t1. Adding a call raises every begin up to its own: a tree of maxima with additions.
    let mut best = Maxima::new(&sent, units_each);
    for seen in by_end {
        let upto = sent.partition_point(|at| *at <= seen.sent);
        best.add(upto, i128::from(units(seen.args)).saturating_mul(per));
        let over = best.most(upto_all(&sent, seen.returned));
        let allowed = burst
            .saturating_mul(per)
            .saturating_add(units_each.saturating_mul(i128::from(seen.returned)));
        if let Some((most, place)) = over.filter(|(most, _)| allowed < *most) {
            let from = sent.get(place).copied().unwrap_or_default();
            let excess = most.saturating_sub(allowed).div_euclid(per);
            let text = format!(
                "Between {from} and {} more was accepted than the rate allows, by {} units.",
                seen.returned,
                excess.max(1)
            );
            return Ok(Rule::Broken(vec![seen.op], text));
        }
    }
    Ok(Rule::Holds)
}

fn upto_all(sent: &[u64], returned: u64) -> usize {
    sent.partition_point(|at| *at <= returned)
}

/// The greatest of many numbers, of which a first part is raised at once.
struct Maxima {
    /// Leaves of a full tree.
    leaves: usize,
    /// The greatest below a node, without what was added above it; and its leaf.
    most: Vec<(i128, usize)>,
    added: Vec<i128>,
}

impl Maxima {
    fn new(sent: &[u64], rate: i128) -> Self {
        let leaves = sent.len().next_power_of_two();
        let size = leaves.saturating_mul(2);
        let mut most = vec![(i128::MIN >> 1_u32, 0_usize); size];
        for (place, at) in sent.iter().enumerate() {
            if let Some(leaf) = most.get_mut(leaves.saturating_add(place)) {
                *leaf = (rate.saturating_mul(i128::from(*at)), place);
            }
        }
        let mut tree = Self { leaves, most, added: vec![0; size] };
        for node in (1..leaves).rev() {
            tree.pull(node);
        }
        tree
    }

    fn at(&self, node: usize) -> (i128, usize) {
        let (most, place) = self.most.get(node).copied().unwrap_or((i128::MIN >> 1_u32, 0));
        (most.saturating_add(self.added.get(node).copied().unwrap_or_default()), place)
    }

    fn pull(&mut self, node: usize) {
        let left = node.saturating_mul(2);
        let (one, other) = (self.at(left), self.at(left.saturating_add(1)));
        if let Some(most) = self.most.get_mut(node) {
            *most = if other.0 <= one.0 { one } else { other };
        }
    }

    /// Raises the first `upto`.
    fn add(&mut self, upto: usize, by: i128) {
        // From the leaf behind the part up: whatever lies left of the path is raised whole.
        let mut node = self.leaves.saturating_add(upto);
        if self.leaves <= upto {
            if let Some(added) = self.added.get_mut(1) {
                *added = added.saturating_add(by);
            }
            return;
        }
        while 1 < node {
            if node & 1 == 1
                && let Some(added) = self.added.get_mut(node ^ 1)
            {
                *added = added.saturating_add(by);
            }
            node >>= 1_u32;
            self.pull(node);
        }
    }

    /// The greatest of the first `upto`, and its place.
    fn most(&self, upto: usize) -> Option<(i128, usize)> {
        if self.leaves <= upto {
            return (0 < upto).then(|| self.at(1));
        }
        let mut best: Option<(i128, usize)> = None;
        let mut node = self.leaves.saturating_add(upto);
        while 1 < node {
            if node & 1 == 1 {
                let (most, place) = self.at(node ^ 1);
                if best.is_none_or(|(best, _)| best < most) {
                    best = Some((most, place));
                }
            }
            node >>= 1_u32;
            let above = self.added.get(node).copied().unwrap_or_default();
            best = best.map(|(most, place)| (most.saturating_add(above), place));
        }
        best
    }
}

/// After it is complete, what is served is one thing.
pub(super) fn upload(of: &Target<'_, '_>) -> Result<Rule, String> {
    let complete = of
        .seen
        .iter()
        .filter(|seen| seen.verb == "complete" && matches!(seen.answer, Answer::Yes(_)));
    let complete: Vec<&Seen<'_>> = complete.collect();
    let digest = |body: &Value| {
        ["digest", "sha256", "etag"]
            .iter()
            .find_map(|name| body.get(name)?.as_str().map(str::to_owned))
    };
    let served = of.seen.iter().filter(|seen| seen.verb == "download" || seen.verb == "read");
    let mut pinned: Option<(String, u64)> = None;
    let done = complete.iter().map(|seen| seen.returned).min();
    for seen in &complete {
        if let Answer::Yes(body) = seen.answer
            && let Some(found) = digest(body)
        {
            pinned = Some((found, seen.op));
        }
    }
    for seen in served.filter(|seen| done.is_some_and(|done| done < seen.sent)) {
        let (Answer::Yes(body) | Answer::Shown(body)) = seen.answer else { continue };
        let Some(found) = digest(body) else {
            return Err(format!("call {} was told no digest", seen.op));
        };
        match &pinned {
            None => pinned = Some((found, seen.op)),
            Some((known, _)) if *known == found => {}
            Some((known, other)) => {
                let text = format!(
                    "After it was complete, call {other} was given {known} and call {} {found}.",
                    seen.op
                );
                return Ok(Rule::Broken(vec![*other, seen.op], text));
            }
        }
    }
    Ok(Rule::Holds)
}

/// One key and one content have one answer; another content of that key has none.
pub(super) fn idempotency(foreign: &Foreign<'_>) -> Result<Rule, String> {
    let mut first: BTreeMap<&str, Op<'_>> = BTreeMap::new();
    for op in &foreign.ops {
        let (Ended::Accepted(end), Some(key)) = (op.end, &op.call.key) else { continue };
        let Some(known) = first.get(key.as_str()) else {
            first.insert(key, *op);
            continue;
        };
        let Ended::Accepted(told) = known.end else { continue };
        let ops = vec![known.call.op, op.call.op];
        if known.call.cmd != op.call.cmd || known.call.args != op.call.args {
            let text = format!(
                "Calls {} and {} have the key {key:?} and different content, and both were \
                 accepted.",
                known.call.op, op.call.op
            );
            return Ok(Rule::Broken(ops, text));
        }
        if told.reply != end.reply {
            let text = format!(
                "Calls {} and {} have the key {key:?} and were answered differently.",
                known.call.op, op.call.op
            );
            return Ok(Rule::Broken(ops, text));
        }
    }
    Ok(Rule::Holds)
}
