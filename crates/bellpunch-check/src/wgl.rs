//! Searches for an order of calls that explains their answers (Wing and Gong 1993, with Lowe's memo
//! 2017).
//!
//! A call may come next if no call that is still to come had returned before it was sent. A call
//! without an end may come at any time after it was sent, or never. States that were reached with
//! the same calls done are not looked at twice.
//!
//! Invariant: *found* and *none* are certain; whatever is cut short is *gave up*. Why an answer
//! that changes nothing is taken at once and without another try: it stands in nobody's way.

use std::collections::BTreeSet;

use serde_json::Value;

/// How many steps are taken before giving up.
pub(crate) const STEPS_MAX: u64 = 30_000_000;
/// How many states are remembered.
const MEMO_MAX: usize = 4_000_000;
/// How many calls may be done ahead of one that is not, and how many may have no end.
const WINDOW: usize = 128;

/// What a call was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer<'h> {
    /// Yes, with this body.
    Yes(&'h Value),
    /// No, with this code and body.
    No(&'h str, &'h Value),
    /// A read shows this.
    Shown(&'h Value),
    /// Nothing that is known.
    Open,
}

/// A call of a foreign target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'h> {
    pub(crate) op: u64,
    pub(crate) sent: u64,
    /// `u64::MAX` if it never did.
    pub(crate) returned: u64,
    /// The last word of its command.
    pub(crate) verb: &'h str,
    pub(crate) args: &'h Value,
    pub(crate) answer: Answer<'h>,
}

/// Sequential state of a foreign target.
pub(crate) trait Object: Clone + Ord {
    /// The state after this call, if it can have been answered so. Of a call without a known
    /// answer: the state after its effect, if it can have had one.
    fn step(&self, seen: &Seen<'_>) -> Option<Self>;
}

/// What a search came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Search {
    /// There is an order.
    Found,
    /// There is none.
    None,
    /// Too many steps, or too many calls at once.
    GaveUp,
}

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Spot<O> {
    /// So many of the calls that returned are done, in the order of sending,
    low: usize,
    /// and of those after them these.
    ahead: u128,
    /// Of the calls without an end these are done.
    open: u128,
    state: O,
}

struct Frame<O> {
    spot: Spot<O>,
    next: Vec<Spot<O>>,
}

struct Calls<'s, 'h> {
    ended: Vec<&'s Seen<'h>>,
    open: Vec<&'s Seen<'h>>,
    /// Of a call without an end the one before it that asks for the same.
    twin: Vec<Option<usize>>,
}

/// Searches, for at most so many steps.
pub(crate) fn search<O: Object>(start: O, seen: &[Seen<'_>], steps_max: u64) -> Search {
    let by_sent = |one: &&Seen<'_>, other: &&Seen<'_>| {
        (one.sent, one.returned, one.op).cmp(&(other.sent, other.returned, other.op))
    };
    let is_open = |seen: &&Seen<'_>| matches!(seen.answer, Answer::Open);
    let (mut open, mut ended): (Vec<&Seen<'_>>, Vec<&Seen<'_>>) = seen.iter().partition(is_open);
    open.sort_by(by_sent);
    ended.sort_by(by_sent);
    let twin = (0..open.len()).map(|place| twin(&open, place)).collect();
    let calls = Calls { ended, open, twin };
    if WINDOW < calls.open.len() {
        return Search::GaveUp;
    }
    let mut known: BTreeSet<Spot<O>> = BTreeSet::new();
    let spot = Spot { low: 0, ahead: 0, open: 0, state: start };
    let Some(next) = calls.next(&spot) else { return Search::GaveUp };
    let mut stack = vec![Frame { spot, next }];
    let mut steps = 0_u64;
    while let Some(frame) = stack.last_mut() {
        if frame.spot.low == calls.ended.len() {
            return Search::Found;
        }
        let Some(spot) = frame.next.pop() else {
            stack.pop();
            continue;
        };
        steps = steps.saturating_add(1);
        if steps_max < steps {
            return Search::GaveUp;
        }
        if known.contains(&spot) {
            continue;
        }
        if known.len() < MEMO_MAX {
            known.insert(spot.clone());
        }
        let Some(next) = calls.next(&spot) else { return Search::GaveUp };
        stack.push(Frame { spot, next });
    }
    Search::None
}

fn twin(open: &[&Seen<'_>], place: usize) -> Option<usize> {
    let mine = open.get(place)?;
    let alike = |other: &&Seen<'_>| mine.verb == other.verb && mine.args == other.args;
    open.get(..place)?.iter().rposition(alike)
}

impl Calls<'_, '_> {
    /// Where to go from here, the best last; `None` if the window is too small.
    fn next<O: Object>(&self, spot: &Spot<O>) -> Option<Vec<Spot<O>>> {
        let mut until = u64::MAX;
        let mut may = Vec::new();
        for (place, seen) in self.ended.iter().enumerate().skip(spot.low) {
            if until < seen.sent {
                break;
            }
            let bit = place.checked_sub(spot.low).filter(|bit| *bit < WINDOW)?;
            if spot.ahead & bit_of(bit) == 0 {
                until = until.min(seen.returned);
                may.push((bit, *seen));
            }
        }
        let mut next = Vec::new();
        for (bit, seen) in may {
            if until < seen.sent {
                continue;
            }
            let Some(state) = spot.state.step(seen) else { continue };
            let changes = state != spot.state;
            let after = spot.done(bit, state);
            if !changes {
                return Some(vec![after]);
            }
            next.push(after);
        }
        next.reverse();
        // An effect that nobody was told of is tried last.
        let mut untold = Vec::new();
        for (place, seen) in self.open.iter().enumerate() {
            let is_done = |place: usize| spot.open & bit_of(place) != 0;
            let after_twin = self.twin.get(place).copied().flatten().is_none_or(is_done);
            if until < seen.sent || is_done(place) || !after_twin {
                continue;
            }
            let Some(state) = spot.state.step(seen).filter(|state| *state != spot.state) else {
                continue;
            };
            let open = spot.open | bit_of(place);
            untold.push(Spot { low: spot.low, ahead: spot.ahead, open, state });
        }
        untold.append(&mut next);
        Some(untold)
    }
}

impl<O> Spot<O> {
    fn done(&self, bit: usize, state: O) -> Self {
        let mut ahead = self.ahead | bit_of(bit);
        let whole = ahead.trailing_ones();
        ahead = ahead.checked_shr(whole).unwrap_or_default();
        let more = usize::try_from(whole).unwrap_or_default();
        Self { low: self.low.saturating_add(more), ahead, open: self.open, state }
    }
}

fn bit_of(place: usize) -> u128 {
    u32::try_from(place).ok().and_then(|place| 1_u128.checked_shl(place)).unwrap_or_default()
}
