//! Sequences of commands with known answers.

use serde_json::{Value, json};

use super::Limits;
use crate::model::{Call, Verdict};

const S: i128 = 1_000_000_000;

#[derive(Default)]
struct Asked {
    limits: Limits,
}

impl Asked {
    fn send(&mut self, at: i128, cmd: &str, args: &Value) -> (String, Value) {
        let before = self.limits.clone();
        let verdict = self.limits.apply(&Call { cmd, args, at, drawn: None });
        self.limits.check(at).unwrap();
        match verdict {
            Verdict::Accepted { reply, .. } => ("ok".to_owned(), reply),
            Verdict::Rejected { code, reply } => {
                assert_eq!(self.limits, before, "a rejection changes nothing");
                (code, reply)
            }
            Verdict::Housekeeping | Verdict::NotModelled => panic!("{cmd}: {verdict:?}"),
        }
    }

    fn made(commands: &[(&str, Value)]) -> Self {
        let mut asked = Self::default();
        for (cmd, args) in commands {
            assert_eq!(asked.send(0, cmd, args).0, "ok");
        }
        asked
    }

    /// Uses of one key, and what they answer: a code, what remains, and the wait.
    fn uses(&mut self, policy: &str, lines: &[(i128, u64, &str, Value, Value)]) {
        for (at, units, code, remaining, wait) in lines {
            let args = json!({ "id": policy, "key": "k", "units": units });
            let (told, reply) = self.send(*at, "policies.consume", &args);
            let shown = reply.get("counter").unwrap_or(&reply);
            assert_eq!(
                (told.as_str(), &shown["remaining"]),
                (*code, remaining),
                "at {at}: {reply}"
            );
            assert_eq!(reply["retry_after_ns"], *wait, "at {at}");
        }
    }
}

fn policy(terms: &Value) -> Asked {
    let mut args = terms.clone();
    args["id"] = json!("p");
    Asked::made(&[("policies.set", args)])
}

#[test]
fn the_use_that_reaches_the_cap_passes() {
    let mut asked = Asked::made(&[("quotas.create", json!({ "id": "q", "limit": 3 }))]);
    let one = json!({ "id": "q", "units": 1 });
    let codes: Vec<String> = (0..5).map(|_| asked.send(0, "quotas.consume", &one).0).collect();
    assert_eq!(codes, ["ok", "ok", "ok", "quota_exceeded", "quota_exceeded"]);
    let (code, reply) = asked.send(0, "quotas.consume", &json!({ "id": "q", "units": 4 }));
    assert_eq!((code.as_str(), &reply["retry_after_ns"]), ("exceeds_limit", &Value::Null));
    let (_, reply) = asked.send(0, "quotas.read", &json!({ "id": "q" }));
    assert_eq!(reply["quota"]["state"], "exhausted");
}

#[test]
fn all_or_nothing() {
    let mut asked = Asked::made(&[
        ("quotas.create", json!({ "id": "a", "limit": 5 })),
        ("quotas.create", json!({ "id": "b", "limit": 1, "used": 1 })),
    ]);
    let both = json!({ "items": [{ "quota": "a" }, { "quota": "b" }] });
    let (code, reply) = asked.send(0, "checks.consume", &both);
    assert_eq!(
        (code.as_str(), reply["violations"].as_array().unwrap().len()),
        ("quota_exceeded", 1)
    );
    let sum = json!({ "items": [{ "quota": "a", "units": 3 }, { "quota": "a", "units": 3 }] });
    assert_eq!(asked.send(0, "checks.consume", &sum).0, "exceeds_limit");
    let missing = json!({ "items": [{ "quota": "a" }, { "quota": "nope" }] });
    assert_eq!(asked.send(0, "checks.consume", &missing).0, "quota_not_found");
    let (_, reply) = asked.send(0, "quotas.read", &json!({ "id": "a" }));
    assert_eq!(reply["quota"]["used"], 0);
}

#[test]
fn an_interval_that_is_no_whole_nanosecond() {
    let mut asked = policy(&json!({ "algorithm": "gcra", "rate": 7, "period_ns": 1_000_000_000 }));
    asked.uses(
        "p",
        &[
            (0, 7, "ok", json!(0), Value::Null),
            (0, 1, "rate_limited", json!(0), json!(142_857_143)),
            (142_857_142, 1, "rate_limited", json!(0), json!(1)),
            (142_857_143, 1, "ok", json!(0), Value::Null),
            (S - 1, 6, "rate_limited", json!(5), json!(1)),
            (S, 6, "ok", json!(0), Value::Null),
        ],
    );
}

#[test]
fn windows_at_their_edges() {
    let period = 60_000_000_000_u64;
    let terms =
        json!({ "algorithm": "fixed_window", "align": "epoch", "limit": 5, "period_ns": period });
    let mut asked = policy(&terms);
    asked.uses(
        "p",
        &[
            (59 * S, 5, "ok", json!(0), Value::Null),
            (60 * S - 1_000, 1, "rate_limited", json!(0), json!(1_000)),
            (60 * S, 5, "ok", json!(0), Value::Null),
        ],
    );
    let terms = json!({ "algorithm": "sliding_log", "limit": 5, "period_ns": period });
    let mut asked = policy(&terms);
    asked.uses(
        "p",
        &[
            (59 * S, 5, "ok", json!(0), Value::Null),
            (61 * S, 1, "rate_limited", json!(0), json!(58_000_000_000_u64)),
            (119 * S, 5, "ok", json!(0), Value::Null),
        ],
    );
}

#[test]
fn a_sliding_counter_counts_the_window_before_by_its_share() {
    let terms =
        json!({ "algorithm": "sliding_counter", "limit": 5, "period_ns": 60_000_000_000_u64 });
    let mut asked = policy(&terms);
    asked.uses(
        "p",
        &[
            (59_900_000_000, 5, "ok", json!(0), Value::Null),
            (60_100_000_000, 1, "rate_limited", json!(0), json!(11_900_000_000_u64)),
            (72 * S, 1, "ok", json!(0), Value::Null),
            (72 * S, 1, "rate_limited", json!(0), json!(12_000_000_000_u64)),
        ],
    );
}

#[test]
fn a_month_has_its_last_day_and_a_day_its_hours() {
    let at = |text: &str| crate::instant::parse(text).unwrap();
    let terms = json!({
        "algorithm": "calendar", "unit": "month", "anchor": 31, "zone": "UTC", "limit": 1,
    });
    let mut asked = policy(&terms);
    asked.uses(
        "p",
        &[
            (at("2026-01-31T00:00:00Z"), 1, "ok", json!(0), Value::Null),
            (at("2026-02-27T23:59:59Z"), 1, "rate_limited", json!(0), json!(1_000_000_000)),
            (at("2026-02-28T00:00:00Z"), 1, "ok", json!(0), Value::Null),
        ],
    );
    let terms =
        json!({ "algorithm": "calendar", "unit": "day", "zone": "Europe/Berlin", "limit": 2 });
    let mut asked = policy(&terms);
    let args = json!({ "id": "p", "key": "k" });
    let (_, reply) = asked.send(at("2026-03-28T23:00:00Z"), "policies.consume", &args);
    assert_eq!(reply["counter"]["reset_at"], "2026-03-29T22:00:00Z");
}

#[test]
fn a_refill_comes_once_and_never_past_the_limit() {
    let refill = json!({ "amount": 30, "period_ns": 3_600_000_000_000_u64 });
    let quota = json!({ "id": "q", "limit": 100, "used": 100, "refill": refill });
    let mut asked = Asked::made(&[("quotas.create", quota)]);
    let (code, reply) = asked.send(0, "quotas.consume", &json!({ "id": "q", "units": 31 }));
    assert_eq!(code, "quota_exceeded");
    assert_eq!(reply["retry_after_ns"], json!(7_200_000_000_000_u64));
    let (_, reply) = asked.send(9_000 * S, "quotas.read", &json!({ "id": "q" }));
    assert_eq!(
        (&reply["quota"]["used"], &reply["quota"]["reset_at"]),
        (&json!(40), &json!("1970-01-01T03:00:00Z"))
    );
    let (_, reply) = asked.send(36_000 * S, "quotas.read", &json!({ "id": "q" }));
    assert_eq!(reply["quota"]["remaining"], 100);
}

#[test]
fn one_capture_ends_a_hold() {
    let mut asked = Asked::made(&[("quotas.create", json!({ "id": "q", "limit": 10, "used": 5 }))]);
    let hold =
        json!({ "id": "h", "items": [{ "quota": "q", "units": 3 }], "ttl_ns": 60_000_000_000_u64 });
    assert_eq!(asked.send(0, "holds.create", &hold).1["remaining"], 2);
    let (code, reply) = asked.send(S, "holds.capture", &json!({ "id": "h", "units": 6 }));
    assert_eq!((code.as_str(), &reply["capturable"]), ("quota_exceeded", &json!(5)));
    let (code, reply) = asked.send(S, "holds.capture", &json!({ "id": "h", "units": 5 }));
    assert_eq!((code.as_str(), &reply["targets"][0]["used"]), ("ok", &json!(10)));
    assert_eq!(asked.send(S, "holds.capture", &json!({ "id": "h" })).0, "hold_captured");
}

#[test]
fn a_hold_is_a_promise_until_revoked() {
    let hold = |id: &str| json!({ "id": id, "items": [{ "quota": "q", "units": 3 }] });
    let mut asked = Asked::made(&[
        ("quotas.create", json!({ "id": "q", "limit": 10, "used": 4 })),
        ("holds.create", hold("h")),
        ("holds.create", hold("i")),
        ("quotas.set_limit", json!({ "id": "q", "limit": 5 })),
    ]);
    assert_eq!(asked.send(S, "holds.capture", &json!({ "id": "h" })).0, "ok");
    assert_eq!(asked.send(S, "quotas.revoke", &json!({ "id": "q" })).1["changed"], true);
    assert_eq!(asked.send(S, "holds.capture", &json!({ "id": "i" })).0, "quota_revoked");
    assert_eq!(asked.send(S, "quotas.reactivate", &json!({ "id": "q" })).0, "ok");
    assert_eq!(asked.send(S, "quotas.consume", &json!({ "id": "q" })).0, "quota_exceeded");
    let (_, reply) = asked.send(S, "holds.void", &json!({ "id": "i" }));
    assert_eq!((&reply["released"], &reply["targets"][0]["held"]), (&json!(3), &json!(0)));
}

#[test]
fn a_lease_has_an_owner_and_an_end() {
    let mut asked = policy(&json!({ "algorithm": "concurrency", "limit": 1 }));
    let lease = |id: &str| {
        json!({ "id": id, "owner": "w", "ttl_ns": 30_000_000_000_u64,
                "items": [{ "policy": "p", "key": "k" }] })
    };
    assert_eq!(asked.send(0, "holds.create", &lease("a")).0, "ok");
    let (code, reply) = asked.send(S, "holds.create", &lease("b"));
    assert_eq!(
        (code.as_str(), &reply["retry_after_ns"]),
        ("rate_limited", &json!(29_000_000_000_u64))
    );
    assert_eq!(
        asked.send(S, "policies.consume", &json!({ "id": "p", "key": "k" })).0,
        "lease_required"
    );
    assert_eq!(asked.send(S, "holds.void", &json!({ "id": "a", "owner": "x" })).0, "not_owner");
    assert_eq!(
        asked.send(30 * S, "holds.extend", &json!({ "id": "a", "owner": "w", "ttl_ns": 1 })).0,
        "hold_expired"
    );
    assert_eq!(asked.send(30 * S, "holds.create", &lease("b")).0, "ok");
}

#[test]
fn a_refund_revives_no_past_window() {
    let mut asked = policy(&json!({
        "algorithm": "gcra", "rate": 1, "burst": 10, "period_ns": 1_000_000_000, "charges": true,
    }));
    let ten = |charge: &str| json!({ "id": "p", "key": "k", "units": 10, "charge": charge });
    assert_eq!(asked.send(0, "policies.consume", &ten("c1")).0, "ok");
    assert_eq!(asked.send(10 * S, "policies.consume", &ten("c2")).0, "ok");
    assert_eq!(
        asked.send(10 * S, "charges.refund", &json!({ "id": "c1" })).0,
        "charge_window_over"
    );
    let (code, reply) = asked.send(12 * S, "charges.refund", &json!({ "id": "c2" }));
    assert_eq!((code.as_str(), &reply["refundable"]), ("refund_too_large", &json!(8)));
    let (code, reply) = asked.send(12 * S, "charges.refund", &json!({ "id": "c2", "units": 8 }));
    assert_eq!((code.as_str(), &reply["remaining"]), ("ok", &json!(10)));
    assert_eq!(asked.send(12 * S, "charges.refund", &json!({ "id": "c2" })).0, "already_refunded");
}

#[test]
fn what_was_consumed_is_kept_under_new_terms() {
    let terms = |period: u64, burst: u64| json!({ "id": "p", "algorithm": "gcra", "rate": 10, "burst": burst, "period_ns": period });
    let mut asked = Asked::made(&[("policies.set", terms(10_000_000_000, 10))]);
    asked.uses("p", &[(0, 10, "ok", json!(0), Value::Null)]);
    assert_eq!(asked.send(4 * S, "policies.set", &terms(20_000_000_000, 10)).0, "ok");
    asked.uses("p", &[(4 * S, 5, "rate_limited", json!(4), json!(2_000_000_000_u64))]);
    assert_eq!(asked.send(6 * S, "policies.set", &terms(20_000_000_000, 20)).0, "ok");
    let (_, reply) = asked.send(6 * S, "counters.read", &json!({ "policy": "p", "key": "k" }));
    assert_eq!(
        (&reply["counter"]["used"], &reply["counter"]["remaining"]),
        (&json!(5), &json!(15))
    );
    let other =
        json!({ "id": "p", "algorithm": "sliding_log", "limit": 5, "period_ns": 1_000_000_000 });
    assert_eq!(asked.send(6 * S, "policies.set", &other).0, "algorithm_changed");
}

#[test]
fn other_keys_do_not_evict_a_live_one() {
    let mut asked = policy(&json!({
        "algorithm": "sliding_log", "limit": 2, "period_ns": 60_000_000_000_u64, "max_keys": 2,
    }));
    let of = |key: &str| json!({ "id": "p", "key": key });
    assert_eq!(asked.send(0, "policies.consume", &of("a")).0, "ok");
    assert_eq!(asked.send(S, "policies.consume", &of("b")).0, "ok");
    assert_eq!(asked.send(S, "policies.consume", &of("c")).0, "too_many_keys");
    assert_eq!(asked.send(S, "policies.delete", &json!({ "id": "p" })).0, "policy_in_use");
    assert_eq!(asked.send(60 * S, "policies.consume", &of("c")).0, "ok");
    assert_eq!(asked.send(60 * S, "policies.consume", &of("a")).0, "too_many_keys");
    assert_eq!(asked.send(60 * S, "policies.reset_all", &json!({ "id": "p" })).0, "ok");
    assert_eq!(asked.send(60 * S, "policies.consume", &of("a")).0, "ok");
}
