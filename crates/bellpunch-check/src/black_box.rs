//! The check of foreign targets, which show a status and a body and nothing else.
//!
//! Each model has a cheap rule that finds what is wrong in most histories, and for some is all
//! there is to know. Where it is not, an order is [searched](crate::wgl) for. What a target may
//! answer is described in `docs/reference/history.md`.
//!
//! Invariant: a violation is certain; calls without a known end are given the benefit of having had
//! their effect, or of not having had it.

use serde_json::Value;

use crate::calls::{Ended, Foreign, duration};
use crate::judge::{Findings, count};
use crate::wgl::{Answer, STEPS_MAX, Search, Seen, search};

mod order;
mod rules;
mod state;

use state::State;

/// How many calls may be under way at once for a search.
const CONCURRENT_MAX: usize = 8;
/// As many if replies say what is left, which leaves few orders.
const CONCURRENT_TOLD_MAX: usize = 16;

/// What a cheap rule came to.
#[derive(Debug, Eq, PartialEq)]
enum Rule {
    /// It is all there is to know.
    Holds,
    /// It holds, and does not tell all.
    NotAll(Box<State>),
    /// It does not hold: which calls, and why.
    Broken(Vec<u64>, String),
    /// Nobody can tell.
    Undecided(String),
}

/// Judges one foreign target.
pub(crate) fn check(target: &str, foreign: &Foreign<'_>, findings: &mut Findings) {
    let model = foreign.model;
    let name = model.as_str().or_else(|| model.get("model")?.as_str()).unwrap_or_default();
    let seen = seen(foreign);
    let of = Target { model, seen: &seen };
    let (rule, judged) = match name {
        "counter" => ("counter", rules::counter(&of)),
        "ticket" => ("ticket", rules::ticket(&of)),
        "balance" => ("balance", rules::balance(&of)),
        "holds" => ("holds", rules::holds(&of)),
        "series" => ("series", order::series(&of)),
        "rate_limit" => ("rate_limit", order::rate_limit(&of)),
        "upload" => ("upload", order::upload(&of)),
        "idempotency" => ("idempotency", order::idempotency(foreign)),
        _ => ("model", Err(format!("there is no model {name:?}"))),
    };
    let judged = judged.unwrap_or_else(Rule::Undecided);
    match judged {
        Rule::Holds => {}
        Rule::Broken(ops, text) => findings.violation(rule, ops, format!("{text} ({target})")),
        Rule::Undecided(why) => findings.undecided(format!("{why} ({target})")),
        Rule::NotAll(start) => match searched(*start, &seen) {
            Search::Found => {}
            Search::None => findings.violation(
                rule,
                seen.iter().map(|seen| seen.op).take(64).collect(),
                format!("No order of the calls explains their answers. ({target})"),
            ),
            Search::GaveUp => findings.undecided(format!(
                "the rule of {rule} holds, and there are too many calls at once to search for an \
                 order ({target})"
            )),
        },
    }
    for seen in &seen {
        if matches!(seen.answer, Answer::Open) {
            count(&mut findings.counts.unknown_resolved);
        }
    }
}

/// A target's model and what was seen of it, in the order of sending.
struct Target<'t, 'h> {
    model: &'h Value,
    seen: &'t [Seen<'h>],
}

impl Target<'_, '_> {
    /// A parameter of the model.
    fn number(&self, name: &str) -> Result<u64, String> {
        let number = self.model.get(name).and_then(Value::as_u64);
        number.ok_or_else(|| format!("the model has no number {name:?}"))
    }

    /// A parameter that may be left out.
    fn number_or(&self, name: &str, other: i64) -> i64 {
        self.model.get(name).and_then(Value::as_i64).unwrap_or(other)
    }

    /// A duration that may be left out, in nanoseconds.
    fn nanos_or_none(&self, name: &str) -> u64 {
        let nanos = duration(self.model, name).and_then(|nanos| u64::try_from(nanos).ok());
        nanos.unwrap_or_default()
    }
}

fn seen<'h>(foreign: &Foreign<'h>) -> Vec<Seen<'h>> {
    let mut all: Vec<Seen<'h>> = Vec::new();
    for op in &foreign.ops {
        let answer = match op.end {
            Ended::Accepted(end) if end.replayed => continue,
            Ended::Accepted(end) => Answer::Yes(&end.reply),
            Ended::Rejected(end) => Answer::No(&end.code, &end.reply),
            Ended::Read(end) => Answer::Shown(&end.reply),
            Ended::Error(_) => continue,
            Ended::Unknown if op.only_looks() => continue,
            Ended::Unknown => Answer::Open,
        };
        let verb = op.call.cmd.rsplit_once('.').map_or(op.call.cmd.as_str(), |(_, verb)| verb);
        let (sent, returned) = (op.call.t, op.returned());
        all.push(Seen { op: op.call.op, sent, returned, verb, args: &op.call.args, answer });
    }
    all.sort_by_key(|seen| (seen.sent, seen.op));
    all
}

fn searched(start: State, seen: &[Seen<'_>]) -> Search {
    let tells = |seen: &Seen<'_>| match seen.answer {
        Answer::Yes(body) => ["remaining", "balance"].iter().any(|name| body.get(name).is_some()),
        Answer::No(..) | Answer::Shown(_) | Answer::Open => true,
    };
    let max = if seen.iter().all(tells) { CONCURRENT_TOLD_MAX } else { CONCURRENT_MAX };
    if max < concurrent(seen) {
        return Search::GaveUp;
    }
    search(start, seen, STEPS_MAX)
}

/// How many calls that ended were under way at once, at most.
fn concurrent(seen: &[Seen<'_>]) -> usize {
    let ended = || seen.iter().filter(|seen| !matches!(seen.answer, Answer::Open));
    let mut returns: Vec<u64> = ended().map(|seen| seen.returned).collect();
    returns.sort_unstable();
    let (mut over, mut most) = (0_usize, 0_usize);
    for (begun, seen) in ended().enumerate() {
        while returns.get(over).is_some_and(|returned| *returned < seen.sent) {
            over = over.saturating_add(1);
        }
        most = most.max(begun.saturating_add(1).saturating_sub(over));
    }
    most
}

#[cfg(test)]
mod tests;
