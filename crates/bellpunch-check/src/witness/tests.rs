#![expect(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    reason = "an overflow fails the test; a test that fails prints its seed, and takes it back"
)]

mod mutants;
mod places;

use serde_json::{Value, json};

use crate::history::{Header, History, Line};
use crate::instant::Nanos;
use crate::judge::{Judgement, Sequential, Verdict3, judge};
use crate::model::{Call, Verdict};

/// A counter with a limit of 3.
#[derive(Clone, Default)]
struct Counter {
    used: u64,
}

impl Sequential for Counter {
    fn apply(&mut self, call: &Call<'_>) -> Verdict {
        let writes = [format!("quotas/{}", call.args["quota"].as_str().unwrap())].into();
        match call.cmd {
            "quotas.consume" if self.used < 3 => {
                self.used += 1;
                Verdict::Accepted { reply: json!({"remaining": 3 - self.used}), writes }
            }
            "quotas.consume" => {
                let code = "quota_exceeded".to_owned();
                Verdict::Rejected { code, reply: json!({"remaining": 0}) }
            }
            "quotas.read" => {
                Verdict::Accepted { reply: json!({"used": self.used}), writes: [].into() }
            }
            _ => Verdict::NotModelled,
        }
    }

    fn check(&self, _: Nanos) -> Result<(), String> {
        if self.used <= 3 { Ok(()) } else { Err("used is above the limit".to_owned()) }
    }
}

fn line(value: Value) -> Line {
    serde_json::from_value(value).unwrap()
}

fn sent(t: u64, op: u64, key: Option<&str>) -> Line {
    let mut value = json!({"kind": "invoke", "t": t, "op": op, "proc": "a", "partition": "p",
        "cmd": "quotas.consume", "target": "quotas/q", "args": {"quota": "q"}});
    if let Some(key) = key {
        value["key"] = key.into();
    }
    line(value)
}

fn at(seconds: u64) -> String {
    crate::instant::print(Nanos::from(seconds) * 1_000_000_000)
}

fn accepted(t: u64, op: u64, version: u64) -> Line {
    line(json!({"kind": "accepted", "t": t, "op": op, "at": at(version),
        "writes": {"quotas/q": version}, "reply": {"remaining": 3 - version.min(3)}}))
}

fn rejected(t: u64, op: u64, version: u64) -> Line {
    line(json!({"kind": "rejected", "t": t, "op": op, "at": at(version),
        "as_of": {"quotas/q": version}, "code": "quota_exceeded", "reply": {"remaining": 0}}))
}

fn found(version: u64) -> Line {
    line(json!({"kind": "record", "partition": "p", "record": "quotas/q", "version": version,
        "value": {}}))
}

fn judged(lines: Vec<Line>) -> Judgement {
    judge::<Counter>(&History { header: Header::of("kit"), lines })
}

fn is(verdict: Verdict3, rule: &str, lines: Vec<Line>) {
    let judgement = judged(lines);
    let rules: Vec<&str> = judgement.violations.iter().map(|found| found.rule).collect();
    assert_eq!(judgement.verdict, verdict, "{judgement}");
    assert!(rule.is_empty() || rules.contains(&rule), "{judgement}");
}

#[test]
fn concurrent_calls_stand_in_the_order_of_their_versions() {
    is(
        Verdict3::Pass,
        "",
        vec![
            sent(1, 1, None),
            sent(2, 2, None),
            accepted(3, 1, 2),
            accepted(4, 2, 1),
            sent(5, 3, None),
            accepted(6, 3, 3),
            sent(7, 4, None),
            rejected(8, 4, 3),
            found(3),
        ],
    );
}

#[test]
fn a_later_call_before_an_earlier_one_is_a_cycle_in_words() {
    let lines =
        vec![sent(1, 1, None), accepted(2, 1, 2), sent(3, 2, None), accepted(4, 2, 1), found(2)];
    let judgement = judged(lines);
    assert_eq!(judgement.violations.len(), 1, "{judgement}");
    assert_eq!(
        judgement.violations[0].text,
        "No order explains these calls. The call 2 (quotas.consume of quotas/q by a) wrote version \
         1 of quotas/q, the call 1 (quotas.consume of quotas/q by a) 2. The call 1 (quotas.consume \
         of quotas/q by a) had returned (at 2) before the call 2 (quotas.consume of quotas/q by a) \
         was sent (at 3)."
    );
}

#[test]
fn a_version_written_twice_is_a_violation() {
    let lines = vec![sent(1, 1, None), sent(2, 2, None), accepted(3, 1, 1), accepted(4, 2, 1)];
    is(Verdict3::Fail, "witness.versions", lines);
}

#[test]
fn a_version_that_is_gone_in_the_end_is_a_violation() {
    is(Verdict3::Fail, "witness.versions", vec![sent(1, 1, None), accepted(3, 1, 1), found(0)]);
}

#[test]
fn a_gap_is_filled_by_the_one_call_without_an_end_and_not_by_nobody() {
    let two = |t| [sent(t, 2, None), accepted(t + 1, 2, 2), found(2)];
    let filled = [&[sent(1, 1, None)][..], &two(3)].concat();
    is(Verdict3::Pass, "", filled);
    is(Verdict3::Inconclusive, "", two(3).to_vec());
    // It was sent too late.
    let late = [&two(3)[..], &[sent(9, 1, None)]].concat();
    is(Verdict3::Inconclusive, "", late);
}

#[test]
fn a_refusal_that_was_stale_is_a_violation() {
    let lines = vec![sent(1, 1, None), accepted(2, 1, 1), sent(3, 2, None), rejected(4, 2, 1)];
    is(Verdict3::Fail, "witness.reply", lines);
    let lines = vec![sent(1, 1, None), accepted(2, 1, 1), sent(3, 2, None), rejected(4, 2, 0)];
    is(Verdict3::Fail, "witness.order", lines);
}

#[test]
fn one_key_has_one_effect() {
    let mut again = accepted(4, 2, 1);
    if let Line::Accepted(again) = &mut again {
        again.replayed = true;
    }
    let one = [sent(1, 1, Some("k")), accepted(2, 1, 1), sent(3, 2, Some("k"))];
    is(Verdict3::Pass, "", [&one[..], &[again]].concat());
    is(Verdict3::Fail, "witness.key", [&one[..], &[accepted(4, 2, 2)]].concat());
}

#[test]
fn an_unknown_is_settled_by_its_outcome() {
    let outcome = |applied: bool| {
        line(json!({"kind": "resolved", "t": 9, "partition": "p", "key": "k", "applied": applied,
        "receipt": if applied {
            json!({"at": at(1), "versions": {"quotas/q": 1}, "replies": [{"remaining": 2}]})
        } else {
            Value::Null
        }}))
    };
    let unknown = [sent(1, 1, Some("k"))];
    let two = [sent(1, 2, None), accepted(2, 2, 2)];
    is(Verdict3::Pass, "", [&unknown[..], &two, &[outcome(true)]].concat());
    is(Verdict3::Inconclusive, "", [&unknown[..], &two, &[outcome(false)]].concat());
    is(Verdict3::Inconclusive, "", unknown.to_vec());
    is(Verdict3::Pass, "", [&unknown[..], &[outcome(false)]].concat());
}
