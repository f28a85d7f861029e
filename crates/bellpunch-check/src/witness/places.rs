//! Looks for other places of a call, when the model disagrees with it at the one it was given.
//!
//! A call without writes is not always pinned by what it names: a refusal can rest on the absence
//! of something. Then several orders are legal, and one that the model agrees with is enough.
//!
//! What a call without writes is told depends on the writers before it alone. So the writers stay
//! in their order, and each other call is tried at every slot between them that time and versions
//! leave it. It takes the first at which the model agrees: of two such calls one after the other the
//! later needs a slot no earlier than that of the first, so the first slot never is in the way.
//!
//! Invariant: for one order of the writers, a call for which no slot is found has none. Of the
//! orders of the writers some are tried, [`REPLAYS_MAX`] at most; if a legal place was left
//! untried then, nothing is claimed.

use std::collections::{BTreeMap, BTreeSet};

use super::chains::{Chains, index};
use super::replay::{CHECKS_MAX, RULE, Replayed};
use super::{Node, Told};
use crate::instant::Nanos;
use crate::judge::Sequential;

/// How many orders of the writers are tried.
const REPLAYS_MAX: usize = 64;

/// What the model disagrees with.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) place: u32,
    pub(super) rule: &'static str,
    pub(super) text: String,
    /// How many writers came before it.
    slot: usize,
}

impl Failure {
    pub(super) const fn new(place: u32, rule: &'static str, text: String) -> Self {
        Self { place, rule, text, slot: 0 }
    }
}

/// What became of the search.
pub(super) enum Found<S> {
    /// A legal order that the model agrees with.
    Explained(Replayed<S>),
    /// There is none.
    Failed(Failure),
    /// Some places were not tried.
    Untried(Failure),
}

/// The calls, and what binds them.
pub(super) type Bound<'a, 'h> = (&'a [Node<'h>], &'a Chains<'a>);

/// Whether a call can have changed nothing that another sees.
fn is_free(node: &Node<'_>) -> bool {
    match node.told {
        Told::Rejected(_) | Told::Read(_) => true,
        Told::Accepted(_) => {
            node.writes.is_empty() && node.seq.is_none() && !node.call.cmd.ends_with(".sweep")
        }
        Told::Nothing => false,
    }
}

/// Looks for an order in which the model agrees with all.
pub(super) fn look<S: Sequential + Default>(
    (nodes, chains): Bound<'_, '_>,
    order: &[u32],
) -> Found<S> {
    let is_writer = |place: &u32| nodes.get(index(*place)).is_some_and(|node| !is_free(node));
    let mut writers: Vec<u32> = order.iter().copied().filter(is_writer).collect();
    let mut slots = Slots::new((nodes, chains), &writers);
    let mut failure = match run((nodes, chains), &writers, &slots) {
        Ok(replayed) => return Found::Explained(replayed),
        Err(failure) => failure,
    };
    let mut left = REPLAYS_MAX;
    while failure.rule == RULE {
        let mut best: Option<(Vec<u32>, Slots, Failure)> = None;
        for (from, to) in moves(nodes, (&writers, &slots), &failure) {
            let Some(less) = left.checked_sub(1) else {
                return Found::Untried(failure);
            };
            left = less;
            let mut moved = writers.clone();
            let place = moved.remove(from);
            moved.insert(to, place);
            let places = Slots::new((nodes, chains), &moved);
            match run((nodes, chains), &moved, &places) {
                Ok(replayed) => return Found::Explained(replayed),
                // A call that fails later only because it was moved is no step forward.
                Err(next) if next.place == failure.place || next.slot <= failure.slot => {}
                Err(next) => {
                    if best.as_ref().is_none_or(|(_, _, best)| best.slot < next.slot) {
                        best = Some((moved, places, next));
                    }
                }
            }
        }
        let Some(next) = best else { break };
        (writers, slots, failure) = next;
    }
    Found::Failed(failure)
}

/// Where each call may stand among the writers: after the first `lowest` of them and before those
/// from `highest` on.
struct Slots {
    lowest: Vec<usize>,
    highest: Vec<usize>,
    /// The place of each writer.
    ranks: BTreeMap<u32, usize>,
}

impl Slots {
    fn new((nodes, chains): Bound<'_, '_>, writers: &[u32]) -> Self {
        let mut lowest = vec![0; nodes.len()];
        let mut highest = vec![writers.len(); nodes.len()];
        let ranks: BTreeMap<u32, usize> = writers.iter().copied().zip(0..).collect();
        for (from, to) in &chains.edges {
            if let (Some(rank), Some(low)) = (ranks.get(from), lowest.get_mut(index(*to))) {
                *low = (*low).max(rank.saturating_add(1));
            }
            if let (Some(rank), Some(high)) = (ranks.get(to), highest.get_mut(index(*from))) {
                *high = (*high).min(*rank);
            }
        }
        let timed = |rank: usize, place: &u32| {
            let node = nodes.get(index(*place));
            let (sent, returned) = node.map_or((0, u64::MAX), |node| (node.sent, node.returned));
            (sent, returned, rank)
        };
        let timed: Vec<(u64, u64, usize)> =
            writers.iter().enumerate().map(|(rank, place)| timed(rank, place)).collect();
        // Of those that had returned by a time the last, of those that were sent after it the first.
        let mut returns: Vec<(u64, usize)> =
            timed.iter().map(|(_, returned, rank)| (*returned, rank.saturating_add(1))).collect();
        returns.sort_unstable();
        let mut last = 0;
        for (_, rank) in &mut returns {
            last = last.max(*rank);
            *rank = last;
        }
        let mut sends: Vec<(u64, usize)> =
            timed.iter().map(|(sent, _, rank)| (*sent, *rank)).collect();
        sends.sort_unstable();
        let mut first = writers.len();
        for (_, rank) in sends.iter_mut().rev() {
            first = first.min(*rank);
            *rank = first;
        }
        for ((low, high), node) in lowest.iter_mut().zip(&mut highest).zip(nodes) {
            let before = returns.partition_point(|(returned, _)| *returned < node.sent);
            let before = before.checked_sub(1).and_then(|last| returns.get(last));
            *low = (*low).max(before.map_or(0, |(_, rank)| *rank));
            let after = sends.partition_point(|(sent, _)| *sent <= node.returned);
            *high = (*high).min(sends.get(after).map_or(usize::MAX, |(_, rank)| *rank));
        }
        Self { lowest, highest, ranks }
    }

    fn of(&self, place: u32) -> (usize, usize) {
        let at = |all: &[usize]| all.get(index(place)).copied().unwrap_or_default();
        (at(&self.lowest), at(&self.highest))
    }
}

/// Which writers to move, from where to where: the one that the model disagrees with, the nearest
/// place first, and those that do not name what they stand on across the one it disagrees with.
fn moves(
    nodes: &[Node<'_>],
    (writers, slots): (&[u32], &Slots),
    failure: &Failure,
) -> Vec<(usize, usize)> {
    let mut all = Vec::new();
    let (lowest, highest) = slots.of(failure.place);
    let rank = slots.ranks.get(&failure.place).copied();
    if let Some(rank) = rank {
        for step in 1..writers.len() {
            let before = rank.checked_sub(step).filter(|to| lowest <= *to);
            let after = rank.checked_add(step).filter(|to| *to < highest);
            all.extend(before.into_iter().chain(after).map(|to| (rank, to)));
        }
    }
    let (first, last) = rank.map_or((lowest, failure.slot), |rank| (rank, rank));
    for (from, place) in writers.iter().enumerate() {
        let names_nothing = nodes.get(index(*place)).is_some_and(|node| node.sees.is_empty());
        if *place == failure.place || !names_nothing {
            continue;
        }
        let (low, high) = slots.of(*place);
        if from < last || (rank.is_none() && from < failure.slot) {
            let to = last.min(high.saturating_sub(1));
            let is_across = if rank.is_some() { to == last } else { first <= to };
            if from < to && is_across {
                all.push((from, to));
            }
        } else {
            let to = first.max(low);
            if to < from && to <= last {
                all.push((from, to));
            }
        }
    }
    all
}

/// Goes through the writers in this order, and gives every other call its first slot.
fn run<S: Sequential + Default>(
    (nodes, chains): Bound<'_, '_>,
    writers: &[u32],
    slots: &Slots,
) -> Result<Replayed<S>, Failure> {
    let mut run = Run::new((nodes, chains), slots);
    let stride = writers.len().div_ceil(CHECKS_MAX).max(1);
    let mut latest = Nanos::MIN;
    for (slot, place) in writers.iter().enumerate() {
        run.settle(slot);
        if run.due.first().is_some_and(|(last, _)| *last <= slot) {
            return run.stuck(slot);
        }
        let Some(node) = nodes.get(index(*place)) else { continue };
        latest = latest.max(node.at);
        run.clean = None;
        let failed = run.replayed.one(node, (*place, &chains.rises)).err();
        let failed = failed.map(|text| (RULE, text));
        let checked =
            slot.checked_rem(stride) == Some(0) || writers.len() <= slot.saturating_add(1);
        let unsound = || run.replayed.state.check(latest).err().filter(|_| checked);
        let failed = failed.or_else(|| unsound().map(|text| ("model.check", text)));
        if let Some((rule, text)) = failed {
            return run.ends(Failure { place: *place, rule, text, slot });
        }
    }
    run.settle(writers.len());
    if run.due.is_empty() { Ok(run.replayed) } else { run.stuck(writers.len()) }
}

struct Run<'a, 'h, S> {
    nodes: &'a [Node<'h>],
    chains: &'a Chains<'a>,
    slots: &'a Slots,
    replayed: Replayed<S>,
    /// The state as it is, for the way back.
    clean: Option<S>,
    /// Those whose slots have not begun, the last first.
    later: Vec<(usize, u32)>,
    /// Those without a slot, whose slots have begun: by when they were sent.
    waiting: BTreeSet<(u64, u32)>,
    /// Those without a slot, by when they had returned.
    returns: BTreeSet<(u64, u32)>,
    /// Those without a slot, by their last.
    due: BTreeSet<(usize, u32)>,
    /// How often the model disagreed with one, and how it did first.
    failed: BTreeMap<u32, (u64, String)>,
}

impl<'a, 'h, S: Sequential + Default> Run<'a, 'h, S> {
    fn new((nodes, chains): Bound<'a, 'h>, slots: &'a Slots) -> Self {
        let (mut later, mut returns, mut due) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        for (place, node) in (0_u32..).zip(nodes).filter(|(_, node)| is_free(node)) {
            let (lowest, highest) = slots.of(place);
            later.push((lowest, place));
            returns.insert((node.returned, place));
            due.insert((highest, place));
        }
        later.sort_unstable();
        later.reverse();
        let (replayed, waiting, failed) = (Replayed::new(), BTreeSet::new(), BTreeMap::new());
        Self { nodes, chains, slots, replayed, clean: None, later, waiting, returns, due, failed }
    }

    /// Gives this slot to all with which the model agrees here.
    fn settle(&mut self, slot: usize) {
        while let Some((_, place)) = self.later.pop_if(|(lowest, _)| *lowest <= slot) {
            let sent = self.nodes.get(index(place)).map_or(0, |node| node.sent);
            self.waiting.insert((sent, place));
        }
        let mut from = (0, 0);
        while let Some((sent, place)) = self.waiting.range(from..).next().copied() {
            // Whoever was sent after another had returned comes after it.
            if self.returns.first().is_some_and(|(returned, _)| *returned < sent) {
                break;
            }
            from = (sent, place.saturating_add(1));
            let Some(node) = self.nodes.get(index(place)) else { continue };
            if self.clean.is_none() {
                self.clean = Some(self.replayed.state.clone());
            }
            match self.replayed.one(node, (place, &self.chains.rises)) {
                Ok(()) => {
                    self.waiting.remove(&(sent, place));
                    self.returns.remove(&(node.returned, place));
                    self.due.remove(&(self.slots.of(place).1, place));
                    if matches!(node.told, Told::Accepted(_)) {
                        self.clean = None;
                    }
                }
                Err(text) => {
                    if let Some(clean) = &self.clean {
                        self.replayed.state = clean.clone();
                    }
                    let (count, _) = self.failed.entry(place).or_insert((0, text));
                    *count = count.saturating_add(1);
                }
            }
        }
    }

    /// A call is past its last slot: of all without one, the first to return waits for none.
    fn stuck(self, slot: usize) -> Result<Replayed<S>, Failure> {
        let place = self.returns.first().map_or(0, |(_, place)| *place);
        let (count, mut text) = self.failed.get(&place).cloned().unwrap_or_default();
        if 1 < count {
            text.push_str(" At no other place that it may have is it explained.");
        }
        self.ends(Failure { place, rule: RULE, text, slot })
    }

    /// Once the model cannot know a command, its state is a guess.
    fn ends(self, failure: Failure) -> Result<Replayed<S>, Failure> {
        if self.replayed.unknown.is_empty() { Err(failure) } else { Ok(self.replayed) }
    }
}
