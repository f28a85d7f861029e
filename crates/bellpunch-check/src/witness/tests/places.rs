//! Calls that versions leave free: a refusal here rests on the absence of room, which has none.

use std::collections::BTreeSet;

use serde_json::json;

use super::{at, line};
use crate::history::{Header, History, Line};
use crate::instant::Nanos;
use crate::judge::{Judgement, Sequential, Verdict3, judge};
use crate::model::{Call, Verdict};

/// There is room for one. `take` takes it, `free` gives it back, `note` does neither.
#[derive(Clone, Default)]
struct Room {
    taken: BTreeSet<String>,
}

impl Sequential for Room {
    fn apply(&mut self, call: &Call<'_>) -> Verdict {
        let name = call.args["name"].as_str().unwrap();
        let done = match call.cmd {
            "rooms.take" => self.taken.is_empty() && self.taken.insert(name.to_owned()),
            "rooms.free" => self.taken.remove(name),
            "rooms.note" => true,
            _ => return Verdict::NotModelled,
        };
        if done {
            let writes = [format!("rooms/{name}")].into();
            return Verdict::Accepted { reply: json!({}), writes };
        }
        Verdict::Rejected { code: "full".to_owned(), reply: json!({}) }
    }

    fn check(&self, _: Nanos) -> Result<(), String> {
        if self.taken.len() <= 1 { Ok(()) } else { Err("two have the room".to_owned()) }
    }
}

/// A call `take a`: when it was sent and had returned, when it was decided, and the version that it
/// wrote. Without one it was refused, and names nothing.
fn call(
    op: u64,
    what: &str,
    span: (u64, u64),
    (decided, version): (u64, Option<u64>),
) -> Vec<Line> {
    let (cmd, name) = what.split_once(' ').unwrap();
    let sent = json!({"kind": "invoke", "t": span.0, "op": op, "proc": "p", "partition": "p",
        "cmd": format!("rooms.{cmd}"), "args": {"name": name}});
    let mut end = json!({"t": span.1, "op": op, "at": at(decided), "reply": {}});
    match version {
        Some(version) => {
            end["kind"] = "accepted".into();
            end["writes"] = json!({ format!("rooms/{name}"): version });
        }
        None => {
            end["kind"] = "rejected".into();
            end["as_of"] = json!({});
            end["code"] = "full".into();
        }
    }
    vec![line(sent), line(end)]
}

fn judged(calls: &[Vec<Line>]) -> Judgement {
    judge::<Room>(&History { header: Header::of("kit"), lines: calls.concat() })
}

fn is(verdict: Verdict3, calls: &[Vec<Line>]) -> String {
    let judgement = judged(calls);
    assert_eq!(judgement.verdict, verdict, "{judgement}");
    judgement.violations.iter().map(|found| found.text.clone()).collect()
}

#[test]
fn a_refusal_may_have_come_before_a_call_that_was_decided_earlier() {
    let taken = call(1, "take a", (1, 2), (1, Some(1)));
    let freed = call(2, "free a", (3, 10), (3, Some(2)));
    is(Verdict3::Pass, &[taken.clone(), freed, call(3, "take b", (4, 9), (5, None))]);
    // Time cuts that place off.
    let freed = call(2, "free a", (3, 4), (3, Some(2)));
    is(Verdict3::Fail, &[taken, freed, call(3, "take b", (5, 9), (5, None))]);
}

#[test]
fn a_refusal_may_have_come_after_a_call_that_was_decided_later() {
    let taken = call(1, "take a", (1, 10), (5, Some(1)));
    is(Verdict3::Pass, &[taken, call(2, "take b", (2, 9), (1, None))]);
    let taken = call(1, "take a", (4, 10), (5, Some(1)));
    is(Verdict3::Fail, &[taken, call(2, "take b", (2, 3), (1, None))]);
}

#[test]
fn a_refusal_that_no_place_explains_is_a_violation() {
    let noted = |op| call(op, &format!("note n{op}"), (1, 10), (op, Some(1)));
    let refused = call(5, "take b", (2, 9), (2, None));
    let text = is(Verdict3::Fail, &[noted(1), noted(2), refused.clone()]);
    assert!(text.contains("call 5") && text.contains("no other place"), "{text}");
    let many: Vec<Vec<Line>> = (100..150).map(noted).chain([refused]).collect();
    is(Verdict3::Fail, &many);
}

#[test]
fn those_who_were_refused_one_after_the_other_stay_so() {
    let taken = call(1, "take a", (1, 20), (1, Some(1)));
    let freed = call(2, "free a", (3, 20), (2, Some(2)));
    // Before it was taken, or after it was freed, nobody is refused.
    let refused = |op, span| call(op, "take b", span, (9, None));
    let both = [taken, freed, refused(3, (4, 5)), refused(4, (6, 7))];
    is(Verdict3::Pass, &both);
    // The first had returned before the room was taken; that the others fit does not help it.
    let taken = call(1, "take a", (6, 20), (1, Some(1)));
    let late = [taken, refused(3, (4, 9)), refused(4, (10, 12)), refused(5, (2, 3))];
    let text = is(Verdict3::Fail, &late);
    assert!(text.contains("call 5"), "{text}");
}

#[test]
fn a_writer_that_names_nothing_may_have_another_place_too() {
    let taken = call(1, "take a", (1, 2), (1, Some(1)));
    let freed = call(2, "free a", (3, 10), (5, Some(2)));
    let next = |span| call(3, "take b", span, (3, Some(1)));
    is(Verdict3::Pass, &[taken.clone(), freed.clone(), next((4, 9))]);
    let freed = call(2, "free a", (13, 20), (5, Some(2)));
    is(Verdict3::Fail, &[taken, freed, next((4, 9))]);
}

#[test]
fn what_was_left_untried_is_not_claimed() {
    let noted = |op| call(op, &format!("note n{op}"), (1, 10), (op, Some(1)));
    let all = |count: u64| -> Vec<Vec<Line>> {
        let taken = call(1, "take a", (1, 2), (1, Some(1)));
        let again = call(2, "take b", (3, 9), (150, Some(1)));
        [taken, again].into_iter().chain((100..100 + count).map(noted)).collect()
    };
    is(Verdict3::Fail, &all(20));
    is(Verdict3::Inconclusive, &all(100));
}
