//! On small random histories the search, brute force over all orders, and, where replies carry
//! their order, the witness check say the same.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    reason = "an overflow fails the test; a test that fails prints its seed, and takes it back"
)]

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::history::{Header, History, Line};
use crate::instant::{Nanos, print};
use crate::judge::{Sequential, Verdict3, judge};
use crate::model::{Call, Verdict};
use crate::wgl::Object;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (bits ^ (bits >> 31)) % bound
    }
}

/// How many histories: the full count is asked for with `BELLPUNCH_HISTORIES=100000`.
fn histories() -> u64 {
    let count = std::env::var("BELLPUNCH_HISTORIES").ok().and_then(|count| count.parse().ok());
    count.unwrap_or(4_000)
}

fn seed() -> u64 {
    let seed = std::env::var("BELLPUNCH_SEED").ok().and_then(|seed| seed.parse().ok());
    seed.unwrap_or(0xBE11)
}

/// Whether any order of the calls, with any of those without an end left out, explains all.
fn brute_force(start: &State, seen: &[Seen<'_>]) -> bool {
    fn go(state: &State, seen: &[Seen<'_>], left: u32) -> bool {
        let is_left = |place: usize| left & (1 << place) != 0;
        let open = |seen: &Seen<'_>| matches!(seen.answer, Answer::Open);
        let places = || (0..seen.len()).filter(|place| is_left(*place));
        if places().all(|place| open(&seen[place])) {
            return true;
        }
        places().any(|place| {
            let blocked = places().any(|other| seen[other].returned < seen[place].sent);
            let after = state.step(&seen[place]);
            !blocked && after.is_some_and(|after| go(&after, seen, left & !(1 << place)))
        })
    }
    go(start, seen, (1 << seen.len()) - 1)
}

/// One call as it is drawn: its lines are made for each checker.
struct Drawn {
    sent: u64,
    /// `None`: it has no end.
    returned: Option<u64>,
    verb: &'static str,
    args: Value,
    yes: bool,
    body: Value,
}

fn spans(random: &mut Random) -> Vec<(u64, Option<u64>)> {
    let count = 1 + random.below(7);
    let wide = 1 + random.below(30);
    let spans = (0..count).map(|_| {
        let sent = 1 + random.below(40);
        let returned = (random.below(8) != 0).then(|| sent + random.below(wide));
        (sent, returned)
    });
    spans.collect()
}

fn seen_of(drawn: &[Drawn]) -> Vec<Seen<'_>> {
    let mut all: Vec<Seen<'_>> = Vec::new();
    for (op, one) in (1..).zip(drawn) {
        let answer = match one.returned {
            None if one.verb == "read" => continue,
            None => Answer::Open,
            Some(_) if one.verb == "read" => Answer::Shown(&one.body),
            Some(_) if one.yes => Answer::Yes(&one.body),
            Some(_) => Answer::No("no", &one.body),
        };
        let returned = one.returned.unwrap_or(u64::MAX);
        let Drawn { sent, verb, args, .. } = one;
        all.push(Seen { op, sent: *sent, returned, verb, args, answer });
    }
    all.sort_by_key(|seen| (seen.sent, seen.op));
    all
}

/// Three kinds of target, with answers that are right by luck or by design.
fn draw(random: &mut Random, model: u64) -> (State, Vec<Drawn>) {
    let mut spans = spans(random);
    spans.sort_unstable();
    let limit = 1 + random.below(4);
    let mut state = match model {
        0 => State::Counter { limit, used: 0 },
        1 => State::Balance { floor: 0, balance: 2 },
        _ => State::Holds { limit, used: 0, held: std::collections::BTreeMap::new(), untold: 0 },
    };
    let start = state.clone();
    let mut drawn = Vec::new();
    // Mostly answers of one real order: the calls as they were drawn, then told with mistakes.
    for (place, (sent, returned)) in spans.into_iter().enumerate() {
        let verbs: &[&str] = match model {
            0 => &["consume", "consume", "consume", "read"],
            1 => &["debit", "debit", "credit", "read"],
            _ => &["create", "capture", "void", "consume", "read"],
        };
        let verb = verbs[usize::try_from(random.below(verbs.len() as u64)).unwrap()];
        let units = 1 + random.below(if model == 0 { 1 } else { 3 });
        let args = match verb {
            "read" => json!({}),
            "create" => json!({"id": format!("h{place}"), "units": units}),
            "capture" | "void" => json!({"hold": format!("h{}", random.below(3))}),
            _ => json!({"units": units}),
        };
        let lie = random.below(8) == 0;
        let asked = Seen { op: 0, sent, returned: 0, verb, args: &args, answer: Answer::Open };
        let after = if verb == "read" { None } else { state.step(&asked) };
        let yes = after.is_some() != (lie && random.below(2) == 0);
        // A call without an end may have had no effect.
        let happened = returned.is_some() || random.below(2) == 0;
        if let Some(after) = after.filter(|_| yes && happened) {
            state = after;
        }
        let body = match &state {
            State::Counter { limit, used } => {
                let used = if lie { random.below(*limit + 1) } else { *used };
                json!({"used": used, "remaining": limit - used})
            }
            State::Balance { balance, .. } => json!({"balance": balance + i64::from(lie)}),
            State::Holds { used, held, .. } => {
                json!({"used": used + u64::from(lie), "held": held.values().sum::<u64>()})
            }
        };
        drawn.push(Drawn { sent, returned, verb, args, yes, body });
    }
    (start, drawn)
}

#[test]
fn the_search_and_brute_force_agree() {
    let seed = seed();
    let mut random = Random(seed);
    let mut found = [0_u64; 2];
    for history in 0..histories() {
        let (start, drawn) = draw(&mut random, history % 3);
        let seen = seen_of(&drawn);
        let expected = brute_force(&start, &seen);
        let expect = if expected { Search::Found } else { Search::None };
        let searched = search(start.clone(), &seen, STEPS_MAX);
        assert_eq!(searched, expect, "BELLPUNCH_SEED={seed}, history {history}: {seen:#?}");
        found[usize::from(expected)] += 1;
    }
    assert!(found.iter().all(|count| histories() < 10 * *count), "{found:?}");
}

/// A cheap rule that is broken, or that is all there is to know, agrees with every order tried.
#[test]
fn the_cheap_rules_and_brute_force_agree() {
    let seed = seed();
    let mut random = Random(seed);
    let mut decided = [0_u64; 2];
    for history in 0..histories() {
        let kind = history % 3;
        let (start, mut drawn) = draw(&mut random, kind);
        if kind == 0 {
            // Without what is left, the rule of counters is all there is to know.
            drawn.retain(|one| one.verb != "read");
            for one in &mut drawn {
                one.body = json!({});
            }
        }
        let seen = seen_of(&drawn);
        let expected = brute_force(&start, &seen);
        let limit = match &start {
            State::Counter { limit, .. } | State::Holds { limit, .. } => *limit,
            State::Balance { .. } => 0,
        };
        let model = json!({"limit": limit, "initial": 2});
        let of = Target { model: &model, seen: &seen };
        let rule = match kind {
            0 => rules::counter(&of),
            1 => rules::balance(&of),
            _ => rules::holds(&of),
        };
        let told = format!("BELLPUNCH_SEED={seed}, history {history}: {rule:?} {seen:#?}");
        match rule.unwrap() {
            Rule::Holds => assert!(expected, "{told}"),
            Rule::Broken(..) => assert!(!expected, "{told}"),
            Rule::NotAll(_) | Rule::Undecided(_) => continue,
        }
        decided[usize::from(expected)] += 1;
    }
    assert!(decided.iter().all(|count| histories() < 20 * *count), "{decided:?}");
}

/// The counter as a model for the witness check; it is told its limit by the calls.
#[derive(Clone, Default)]
struct Counter(u64);

impl Sequential for Counter {
    fn apply(&mut self, call: &Call<'_>) -> Verdict {
        let limit = call.args["limit"].as_u64().unwrap();
        let tells = |used: u64| json!({"used": used, "remaining": limit - used});
        if call.cmd == "quotas.read" {
            return Verdict::Accepted { reply: tells(self.0), writes: BTreeSet::new() };
        }
        if limit <= self.0 {
            return Verdict::Rejected { code: "no".to_owned(), reply: tells(self.0) };
        }
        self.0 += 1;
        let writes = BTreeSet::from(["quotas/q".to_owned()]);
        Verdict::Accepted { reply: tells(self.0), writes }
    }

    fn check(&self, _: Nanos) -> Result<(), String> {
        Ok(())
    }
}

/// A counter's replies say its version, for each acceptance raises it by one.
fn with_versions(limit: u64, drawn: &[Drawn]) -> History {
    let mut lines: Vec<Value> = Vec::new();
    for (op, one) in (1_u64..).zip(drawn) {
        let verb = one.verb;
        lines
            .push(json!({"kind": "invoke", "t": one.sent, "op": op, "proc": "a", "partition": "p",
            "cmd": format!("quotas.{verb}"), "target": "quotas/q", "args": {"limit": limit}}));
        let Some(t) = one.returned else { continue };
        let place = json!({"quotas/q": one.body["used"]});
        // One clock that stands still: the times say nothing.
        let (at, reply) = (print(0), &one.body);
        lines.push(if verb == "read" {
            json!({"kind": "read", "t": t, "op": op, "as_of": place, "at": at, "reply": reply})
        } else if one.yes {
            json!({"kind": "accepted", "t": t, "op": op, "writes": place, "at": at,
                "reply": reply})
        } else {
            json!({"kind": "rejected", "t": t, "op": op, "code": "no", "as_of": place, "at": at,
                "reply": reply})
        });
    }
    let lines = lines.into_iter().map(|line| serde_json::from_value::<Line>(line).unwrap());
    History { header: Header::of("kit"), lines: lines.collect() }
}

#[test]
fn the_witness_check_and_brute_force_agree() {
    let seed = seed();
    let mut random = Random(seed);
    let mut passed = [0_u64; 2];
    for history in 0..histories() {
        let (start, drawn) = draw(&mut random, 0);
        let State::Counter { limit, .. } = start else { unreachable!() };
        let seen = seen_of(&drawn);
        let expected = brute_force(&start, &seen);
        let judgement = judge::<Counter>(&with_versions(limit, &drawn));
        let told = format!("BELLPUNCH_SEED={seed}, history {history}: {judgement} {seen:#?}");
        assert_eq!(judgement.verdict == Verdict3::Pass, expected, "{told}");
        passed[usize::from(expected)] += 1;
    }
    assert!(passed.iter().all(|count| histories() < 10 * *count), "{passed:?}");
}
