//! Finds an order of the calls, or the shortest cycle that forbids one.
//!
//! A call may come next when all that its versions put before it have come, and when no call that
//! is still to come had returned before it was sent. The second is one comparison with the earliest
//! return among those still to come: the time edges are never made, there may be n² of them.
//!
//! Invariant: the shortest cycle has at most one time edge. If A returned before B was sent and C
//! before D, then A returned before D was sent or C before B, so of two time edges one closes a
//! shorter cycle. That is why the search follows versions only, and closes with time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use super::Node;
use super::chains::index;
use crate::instant::Nanos;

/// From how many calls a shortest cycle is looked for.
const STARTS_MAX: usize = 512;
/// How many calls that search looks at in all.
const VISITS_MAX: usize = 4_000_000;

/// Calls of which each comes before the next, and the last before the first.
pub(super) type Cycle = Vec<u32>;

/// Edges by the node they begin at.
struct Graph {
    starts: Vec<u32>,
    ends: Vec<u32>,
}

impl Graph {
    fn new(nodes: usize, edges: impl Iterator<Item = (u32, u32)> + Clone) -> Self {
        let mut starts = vec![0_u32; nodes.saturating_add(1)];
        for (from, _) in edges.clone() {
            if let Some(count) = starts.get_mut(index(from)) {
                *count = count.saturating_add(1);
            }
        }
        let mut sum = 0_u32;
        for start in &mut starts {
            let count = *start;
            *start = sum;
            sum = sum.saturating_add(count);
        }
        let mut next = starts.clone();
        let mut ends = vec![0_u32; index(sum)];
        for (from, to) in edges {
            let Some(next) = next.get_mut(index(from)) else { continue };
            if let Some(end) = ends.get_mut(index(*next)) {
                *end = to;
            }
            *next = next.saturating_add(1);
        }
        Self { starts, ends }
    }

    fn of(&self, node: u32) -> &[u32] {
        let node = index(node);
        let start = self.starts.get(node).copied().map_or(0, index);
        let end = self.starts.get(node.saturating_add(1)).copied().map_or(0, index);
        self.ends.get(start..end).unwrap_or_default()
    }
}

/// What may come next: the earliest decision first, for answers that do not name all they saw.
type Next = Reverse<(Nanos, u64, u32)>;

/// An order that respects all edges and all time.
pub(super) fn order(nodes: &[Node<'_>], edges: &[(u32, u32)]) -> Result<Vec<u32>, Cycle> {
    let graph = Graph::new(nodes.len(), edges.iter().copied());
    let mut blocked = vec![0_u32; nodes.len()];
    for (_, to) in edges {
        if let Some(count) = blocked.get_mut(index(*to)) {
            *count = count.saturating_add(1);
        }
    }
    let all = 0_u32..u32::try_from(nodes.len()).expect("fewer calls than 2^32");
    let mut returns: Vec<(u64, u32)> =
        all.clone().zip(nodes).map(|(place, node)| (node.returned, place)).collect();
    returns.sort_unstable();
    let mut returns = returns.into_iter().peekable();
    let mut early: BinaryHeap<Reverse<(u64, u32)>> = BinaryHeap::new();
    for (place, node) in all.zip(nodes) {
        if blocked.get(index(place)) == Some(&0) {
            early.push(Reverse((node.sent, place)));
        }
    }
    let mut ready: BinaryHeap<Next> = BinaryHeap::new();
    let mut done = vec![false; nodes.len()];
    let mut order = Vec::with_capacity(nodes.len());
    loop {
        while returns.next_if(|(_, place)| done.get(index(*place)) == Some(&true)).is_some() {}
        let until = returns.peek().map_or(u64::MAX, |(returned, _)| *returned);
        while let Some(Reverse((sent, place))) = early.peek().copied() {
            if until < sent {
                break;
            }
            early.pop();
            let at = nodes.get(index(place)).map_or(0, |node| node.at);
            ready.push(Reverse((at, sent, place)));
        }
        let Some(Reverse((_, _, place))) = ready.pop() else { break };
        if let Some(done) = done.get_mut(index(place)) {
            *done = true;
        }
        order.push(place);
        for next in graph.of(place) {
            let Some(count) = blocked.get_mut(index(*next)) else { continue };
            *count = count.saturating_sub(1);
            if *count == 0 {
                let sent = nodes.get(index(*next)).map_or(0, |node| node.sent);
                early.push(Reverse((sent, *next)));
            }
        }
    }
    if order.len() == nodes.len() { Ok(order) } else { Err(shortest(nodes, edges, &done)) }
}

/// The shortest cycle among the calls that found no place.
fn shortest(nodes: &[Node<'_>], edges: &[(u32, u32)], done: &[bool]) -> Cycle {
    let open = |place: u32| done.get(index(place)) == Some(&false);
    let back =
        edges.iter().filter(|(from, to)| open(*from) && open(*to)).map(|(from, to)| (*to, *from));
    let back = Graph::new(nodes.len(), back);
    let mut starts: Vec<(u64, u32)> = (0_u32..)
        .zip(nodes)
        .filter(|(place, _)| open(*place))
        .map(|(place, node)| (node.returned, place))
        .collect();
    starts.sort_unstable();
    let mut best: Cycle = Vec::new();
    let mut visits = 0_usize;
    for (tried, (_, start)) in starts.iter().enumerate() {
        let is_over = STARTS_MAX <= tried || VISITS_MAX <= visits;
        if (is_over && !best.is_empty()) || best.len() == 2 {
            break;
        }
        let found = closes((nodes, &back), *start, &mut visits);
        if !found.is_empty() && (best.is_empty() || found.len() < best.len()) {
            best = found;
        }
    }
    best
}

/// The nearest call before `start` by versions that was sent after `start` had returned, or
/// `start` itself, and the way from there.
fn closes((nodes, back): (&[Node<'_>], &Graph), start: u32, visits: &mut usize) -> Cycle {
    let returned = nodes.get(index(start)).map_or(u64::MAX, |node| node.returned);
    let mut after: BTreeMap<u32, u32> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(place) = queue.pop_front() {
        *visits = visits.saturating_add(1);
        for before in back.of(place) {
            let is_new = !after.contains_key(before);
            if is_new {
                after.insert(*before, place);
            }
            let sent = nodes.get(index(*before)).map_or(0, |node| node.sent);
            if *before == start || returned < sent {
                let mut cycle = vec![*before];
                let mut at = after.get(before).copied();
                while let Some(next) = at.filter(|next| *next != *before) {
                    cycle.push(next);
                    at = if next == start { None } else { after.get(&next).copied() };
                }
                return cycle;
            }
            if is_new {
                queue.push_back(*before);
            }
        }
    }
    Vec::new()
}

/// A cycle in words.
pub(super) fn told(nodes: &[Node<'_>], cycle: &[u32]) -> (Vec<u64>, String) {
    let calls: Vec<&Node<'_>> = cycle.iter().filter_map(|place| nodes.get(index(*place))).collect();
    let ops = calls.iter().map(|node| node.call.op).collect();
    let mut text = "No order explains these calls.".to_owned();
    let others = calls.iter().cycle().skip(1);
    for (before, after) in calls.iter().zip(others) {
        text.push(' ');
        text.push_str(&why(before, after));
    }
    (ops, text)
}

/// Why one call comes before another.
fn why(before: &Node<'_>, after: &Node<'_>) -> String {
    let (one, other) = (before.named(), after.named());
    for (record, version) in before.writes.iter() {
        if let Some(seen) = after.sees.get(record).filter(|seen| version <= *seen) {
            return format!(
                "The {other} saw version {seen} of {record}; the {one} wrote {version}."
            );
        }
        if let Some(next) = after.writes.get(record).filter(|next| version < *next) {
            return format!("The {one} wrote version {version} of {record}, the {other} {next}.");
        }
    }
    for (record, version) in before.sees.iter() {
        if let Some(next) = after.writes.get(record).filter(|next| version < *next) {
            return format!(
                "The {one} saw version {version} of {record}; the {other} wrote {next}."
            );
        }
    }
    if let (Some(seq), Some(next)) = (before.seq, after.seq)
        && seq < next
    {
        return format!("The {one} is entry {seq} of the journal, the {other} entry {next}.");
    }
    let (returned, sent) = (before.returned, after.sent);
    format!("The {one} had returned (at {returned}) before the {other} was sent (at {sent}).")
}
