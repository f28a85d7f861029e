//! Promises as properties, over random commands.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Answer, World, nanos};
use crate::Timestamp;
use crate::trial::cases;

const SECOND: u128 = 1_000_000_000;
const MAX: u64 = 9_007_199_254_740_991;
const POLICIES: [(&str, &str); 7] = [
    (
        "f",
        r#"{"algorithm": "fixed_window", "align": "first_hit", "limit": 5, "period_ns": 10000000000}"#,
    ),
    (
        "e",
        r#"{"algorithm": "fixed_window", "align": "epoch", "limit": 5, "period_ns": 7000000001}"#,
    ),
    ("c", r#"{"algorithm": "sliding_counter", "limit": 5, "period_ns": 10000000000}"#),
    ("l", r#"{"algorithm": "sliding_log", "limit": 5, "period_ns": 10000000000}"#),
    ("g", r#"{"algorithm": "gcra", "rate": 3, "burst": 5, "period_ns": 10000000000}"#),
    ("d", r#"{"algorithm": "calendar", "unit": "day", "zone": "Europe/Berlin", "limit": 5}"#),
    ("n", r#"{"algorithm": "concurrency", "limit": 3}"#),
];

fn world() -> World {
    let mut world = World::default();
    for (name, terms) in POLICIES {
        let mut command: Value = serde_json::from_str(terms).unwrap();
        command["command"] = json!("policies.set");
        command["id"] = json!(name);
        command["charges"] = json!(true);
        assert!(world.send(nanos(0), command).ok());
    }
    let refill = json!({ "amount": 2, "period_ns": 6_000_000_000_u64 });
    let quota = json!({ "command": "quotas.create", "id": "q", "limit": 6, "refill": refill });
    assert!(world.send(nanos(0), quota).ok());
    let quota = json!({
        "command": "quotas.create", "id": "x", "limit": 6, "expires_at": "1970-01-01T00:00:40Z",
        "refill": { "amount": "full", "unit": "day", "zone": "UTC" },
    });
    assert!(world.send(nanos(0), quota).ok());
    world
}

fn item(target: u8, units: u64) -> Value {
    match target % 9 {
        0 => json!({ "quota": "q", "units": units }),
        1 => json!({ "quota": "x", "units": units }),
        other => {
            let (policy, _) = POLICIES[usize::from(other) - 2];
            json!({ "policy": policy, "key": "k", "units": units })
        }
    }
}

#[derive(Clone, Debug)]
struct Step {
    wait: u128,
    verb: u8,
    targets: (u8, u8),
    units: (u64, u64),
    id: u8,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let wait = prop_oneof![Just(0), Just(1), 0..SECOND * 4, Just(10 * SECOND), 0..SECOND * 90_000];
    let step = (wait, 0..12_u8, (0..9_u8, 0..9_u8), (1..5_u64, 1..7_u64), 0..4_u8);
    let step =
        step.prop_map(|(wait, verb, targets, units, id)| Step { wait, verb, targets, units, id });
    prop::collection::vec(step, 1..40)
}

fn command(step: &Step) -> Value {
    let id = format!("i{}", step.id);
    let one = item(step.targets.0, step.units.0);
    match step.verb {
        0..=3 => json!({ "command": "checks.consume", "items": [one], "id": id }),
        4 => {
            let items = [one, item(step.targets.1, step.units.1)];
            json!({ "command": "checks.consume", "items": items })
        }
        5 | 6 => {
            let ttl = step.units.1 * 3_000_000_000;
            json!({ "command": "holds.create", "items": [one], "id": id, "ttl_ns": ttl })
        }
        7 => {
            json!({ "command": "holds.capture", "id": id, "units": step.units.1 - 1, "charge": format!("c{id}") })
        }
        8 => json!({ "command": "holds.void", "id": id }),
        9 => json!({ "command": "holds.extend", "id": id, "ttl_ns": step.units.1 * 4_000_000_000 }),
        10 => json!({ "command": "charges.refund", "id": id }),
        _ => {
            json!({ "command": "policies.reset", "id": POLICIES[usize::from(step.targets.0) % 7].0, "key": "k" })
        }
    }
}

fn is_limit(answer: &Answer) -> bool {
    ["quota_exceeded", "rate_limited", "exceeds_limit"].contains(&answer.code.as_str())
}

/// A view without what depends on how often a record was written.
fn shown(answer: &Answer) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.remove("version");
                fields.values_mut().for_each(strip);
            }
            Value::Array(values) => values.iter_mut().for_each(strip),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut fields = answer.fields.clone();
    strip(&mut fields);
    json!([answer.code, answer.at, fields])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(90), failure_persistence: None, ..ProptestConfig::default() })]

    /// At `retry_after` the same command passes, a nanosecond earlier it does not; without one it
    /// never does.
    #[test]
    fn retry_after_is_exact(steps in steps()) {
        let mut world = world();
        let mut now = 0;
        for step in steps {
            now += step.wait;
            let sent = command(&step);
            let answer = world.send(nanos(now), sent.clone());
            if !is_limit(&answer) {
                continue;
            }
            let mut dry = sent;
            dry["dry_run"] = json!(true);
            let mut passes = |wait: u128| world.send(nanos(now + wait), dry.clone());
            if let Some(wait) = answer.fields["retry_after_ns"].as_u64() {
                let there = passes(wait.into());
                prop_assert!(there.ok(), "{dry} {answer:?} {there:?}");
                if 1 < wait {
                    let before = passes(u128::from(wait) - 1);
                    prop_assert!(is_limit(&before), "{dry} {answer:?} {before:?}");
                }
            } else {
                for wait in [1, SECOND, 60 * SECOND, 86_400 * SECOND, 3_000_000_000 * SECOND] {
                    let there = passes(wait);
                    prop_assert!(!there.ok(), "{dry} {answer:?} {there:?}");
                }
            }
        }
    }

    /// No answer depends on a sweep having run.
    #[test]
    fn sweeps_change_no_answer(steps in steps(), every in 1..6_usize) {
        let (mut swept, mut kept) = (world(), world());
        let mut now = 0;
        for (index, step) in steps.iter().enumerate() {
            now += step.wait;
            if index % every == 0 {
                swept.sweep(nanos(now));
            }
            let (one, other) = (swept.send(nanos(now), command(step)), kept.send(nanos(now), command(step)));
            prop_assert_eq!(shown(&one), shown(&other), "{:?}", command(step));
        }
    }

    /// `used = opening + charged - refunded - forgiven`, and the audit finds nothing: the count is
    /// what the charges say, also after those no longer kept are gone.
    #[test]
    fn usage_matches_charges(steps in steps()) {
        let mut world = world();
        let mut now = 0;
        for step in steps {
            now += step.wait;
            world.send(nanos(now), command(&step));
            world.sweep(nanos(now));
            for id in ["q", "x"] {
                let quota = world.send(nanos(now), json!({ "command": "quotas.read", "id": id }));
                let quota = &quota.fields["quota"];
                let total = |name: &str| quota["totals"][name].as_str().unwrap().parse::<i128>().unwrap();
                let used = i128::from(quota["used"].as_u64().unwrap());
                prop_assert_eq!(used, total("opening") + total("charged") - total("refunded") - total("forgiven"));
                prop_assert_eq!(world.audit(nanos(now), id), json!([]));
            }
        }
    }

    /// `law.window`: in every span no more passes than the documented bound, in exact integers.
    #[test]
    fn no_window_has_more_than_its_bound(
        uses in prop::collection::vec((prop_oneof![Just(0), Just(1), 0..SECOND * 4], 1..4_u64), 1..60),
        start in 0..SECOND * 100,
    ) {
        let mut world = world();
        let (rate, burst, limit, period) = (3_u128, 5, 5, 10 * SECOND);
        for policy in ["g", "l"] {
            let mut passed: Vec<(u128, u128)> = Vec::new();
            let mut now = start;
            for &(wait, units) in &uses {
                now += wait;
                let sent = json!({ "command": "policies.consume", "id": policy, "key": "w", "units": units });
                if world.send(nanos(now), sent).ok() {
                    passed.push((now, units.into()));
                }
            }
            for from in 0..passed.len() {
                let mut sum = 0;
                for &(at, units) in &passed[from..] {
                    sum += units;
                    let span = at - passed[from].0;
                    if policy == "g" {
                        prop_assert!(sum <= burst + rate * span / period, "{passed:?}");
                    } else if span < period {
                        prop_assert!(sum <= limit, "{passed:?}");
                    }
                }
            }
        }
    }

    /// A quota with holds against a model of ten lines.
    #[test]
    fn quotas_do_as_their_model(steps in steps(), limit in 0..12_u64) {
        let mut world = World::default();
        let quota = json!({ "command": "quotas.create", "id": "q", "limit": limit });
        prop_assert!(world.send(nanos(0), quota).ok());
        let mut model = Model { limit, used: 0, holds: BTreeMap::new(), charges: BTreeMap::new() };
        let mut now = 0;
        for step in steps {
            now += step.wait;
            let step = Step { targets: (0, 0), ..step };
            let sent = if step.verb == 11 {
                json!({ "command": "quotas.set_limit", "id": "q", "limit": step.units.0 + step.units.1 })
            } else {
                command(&step)
            };
            let answer = world.send(nanos(now), sent.clone());
            let wanted = model.decide(now, &step);
            prop_assert_eq!(&answer.code, wanted, "{} {:?} {:?}", sent, model, answer.fields);
            let view = world.send(nanos(now), json!({ "command": "quotas.read", "id": "q" }));
            let view = &view.fields["quota"];
            let held = model.held(now);
            prop_assert_eq!(view["used"].as_u64(), Some(model.used));
            prop_assert_eq!(view["held"].as_u64(), Some(held));
            let remaining = model.limit.saturating_sub(model.used).saturating_sub(held);
            prop_assert_eq!(view["remaining"].as_u64(), Some(remaining));
        }
    }
}

/// Of any size that is legal, the extremes most of all.
fn amounts() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(1),
        Just(2),
        Just(MAX),
        Just(MAX - 1),
        Just(10_000),
        1..20_u64,
        1..=MAX,
        (0..53_u32).prop_map(|bit| 1 << bit),
    ]
}

fn periods() -> impl Strategy<Value = u64> {
    let longest = 36_525 * 86_400_000_000_000_u64;
    prop_oneof![Just(1_000_000), Just(longest), Just(longest - 1), 1_000_000..=longest]
}

fn any_terms() -> impl Strategy<Value = Value> {
    (0..6_u8, amounts(), amounts(), periods()).prop_map(|(kind, limit, burst, period)| {
        let mut terms = match kind {
            0 => json!({ "algorithm": "fixed_window", "align": "first_hit", "limit": limit }),
            1 => json!({ "algorithm": "fixed_window", "align": "epoch", "limit": limit }),
            2 => json!({ "algorithm": "sliding_counter", "limit": limit }),
            3 => json!({ "algorithm": "sliding_log", "limit": limit % 10_001 }),
            4 => json!({ "algorithm": "gcra", "rate": limit, "burst": burst }),
            _ => json!({ "algorithm": "calendar", "unit": "year", "zone": "Asia/Tokyo", "limit": limit }),
        };
        if kind < 5 {
            terms["period_ns"] = json!(period);
        }
        terms["charges"] = json!(true);
        terms
    })
}

/// Instants up to the last one there is.
fn waits() -> impl Strategy<Value = u128> {
    let century = 36_525 * 86_400 * SECOND;
    prop_oneof![
        4 => Just(0),
        2 => Just(1),
        2 => 0..SECOND,
        2 => 0..=century,
        1 => Just(century),
        1 => 0..80 * century,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(400), failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the terms, the costs and the instants, up to the largest: no rule panics (the
    /// world does not take that for an answer), what was used and held stays within the limit that
    /// admitted it, and a wait is never 0 and always long enough.
    #[test]
    fn the_extremes_are_counted_like_all_else(
        terms in prop::collection::vec(any_terms(), 2),
        steps in prop::collection::vec((waits(), 0..9_u8, amounts(), amounts()), 1..25),
    ) {
        let mut world = World::default();
        let mut set = terms[0].clone();
        set["command"] = json!("policies.set");
        set["id"] = json!("p");
        prop_assert!(world.send(nanos(0), set.clone()).ok());
        let refill = json!({ "amount": set["limit"].as_u64().unwrap_or(1), "period_ns": set["period_ns"].as_u64().unwrap_or(7) });
        let quota = json!({ "command": "quotas.create", "id": "q", "limit": MAX, "refill": refill });
        prop_assert!(world.send(nanos(0), quota).ok());
        let mut now = 0_u128;
        for (index, (wait, verb, one, other)) in steps.into_iter().enumerate() {
            now = (now + wait).min(Timestamp::MAX.nanos());
            let rate = json!({ "policy": "p", "key": "k", "units": one });
            let both = json!([rate, { "quota": "q", "units": other }]);
            let id = format!("i{}", index / 3);
            let sent = match verb {
                0..=2 => json!({ "command": "checks.consume", "items": [rate], "id": id }),
                3 => json!({ "command": "checks.consume", "items": both, "id": id }),
                4 => json!({ "command": "holds.create", "items": both, "id": id, "ttl_ns": one.min(2_678_400_000_000_000) }),
                5 => json!({ "command": "holds.capture", "id": id, "units": other, "charge": format!("c{id}") }),
                6 => json!({ "command": "charges.refund", "id": id }),
                7 => json!({ "command": "charges.refund", "id": id, "units": other }),
                _ => {
                    let mut other = terms[1].clone();
                    other["algorithm"] = terms[0]["algorithm"].clone();
                    other["command"] = json!("policies.set");
                    other["id"] = json!("p");
                    other
                }
            };
            let answer = world.send(nanos(now), sent.clone());
            let read = json!({ "command": "counters.read", "policy": "p", "key": "k" });
            let view = world.send(nanos(now), read).fields["counter"].clone();
            let amount = |name: &str| view[name].as_u64().unwrap();
            let taken = amount("used") + amount("held");
            prop_assert!(taken <= MAX, "{view}");
            prop_assert_eq!(amount("remaining"), amount("limit").saturating_sub(taken));
            if answer.ok() && verb <= 4 {
                prop_assert!(taken <= amount("limit"), "{sent} {view}");
            }
            if is_limit(&answer) && let Some(wait) = answer.fields["retry_after_ns"].as_u64() {
                prop_assert!(0 < wait, "{answer:?}");
                let mut dry = sent;
                dry["dry_run"] = json!(true);
                prop_assert!(world.send(nanos(now + u128::from(wait)), dry.clone()).ok(), "{dry} {answer:?}");
                if 1 < wait {
                    prop_assert!(!world.send(nanos(now + u128::from(wait) - 1), dry).ok(), "{answer:?}");
                }
            }
        }
    }
}

/// What a quota should do, written another way: no window, no list, no stages.
#[derive(Debug)]
struct Model {
    limit: u64,
    used: u64,
    /// Units, end, and how it ended.
    holds: BTreeMap<u8, (u64, u128, u128, &'static str)>,
    /// Units, when, whether refunded.
    charges: BTreeMap<String, (u64, u128, bool)>,
}

impl Model {
    const DAY: u128 = 86_400 * SECOND;

    fn held(&self, now: u128) -> u64 {
        let open = self.holds.values().filter(|hold| hold.3 == "open" && now < hold.1);
        open.map(|hold| hold.0).sum()
    }

    fn take(&mut self, cost: u64, held: u64) -> &'static str {
        if self.limit < cost && self.limit < self.used + held + cost {
            "exceeds_limit"
        } else if self.limit < self.used + held + cost {
            "quota_exceeded"
        } else {
            "ok"
        }
    }

    fn decide(&mut self, now: u128, step: &Step) -> &'static str {
        self.charges.retain(|_, charge| now < charge.1 + 30 * Self::DAY);
        self.holds.retain(|_, hold| now < hold.2 + 7 * Self::DAY);
        let (a, b) = step.units;
        let (held, id) = (self.held(now), format!("i{}", step.id));
        match step.verb {
            0..=4 => {
                let cost = if step.verb == 4 { a + b } else { a };
                if step.verb != 4 && self.charges.contains_key(&id) {
                    return "charge_exists";
                }
                let code = self.take(cost, held);
                if code == "ok" {
                    self.used += cost;
                    if step.verb != 4 {
                        self.charges.insert(id, (cost, now, false));
                    }
                }
                code
            }
            5 | 6 => {
                if self.holds.contains_key(&step.id) {
                    return "hold_exists";
                }
                let code = self.take(a, held);
                if code == "ok" {
                    let end = now + u128::from(b) * 3 * SECOND;
                    self.holds.insert(step.id, (a, end, end, "open"));
                }
                code
            }
            7..=9 => self.end(now, step, held),
            10 => match self.charges.get_mut(&id) {
                None => "charge_not_found",
                Some((_, _, true)) => "already_refunded",
                Some((units, _, refunded)) => {
                    *refunded = true;
                    self.used -= *units;
                    "ok"
                }
            },
            _ => {
                self.limit = a + b;
                "ok"
            }
        }
    }

    fn end(&mut self, now: u128, step: &Step, held: u64) -> &'static str {
        let Some(&(units, end, _, state)) = self.holds.get(&step.id) else {
            return "hold_not_found";
        };
        let charge = format!("ci{}", step.id);
        if step.verb == 7 && state != "captured" && self.charges.contains_key(&charge) {
            return "charge_exists";
        }
        match state {
            "captured"
                if step.verb == 7
                    && self.charges.get(&charge).is_some_and(|c| c.1 != self.holds[&step.id].2) =>
            {
                return "charge_exists";
            }
            "captured" => return "hold_captured",
            "voided" => return "hold_voided",
            _ if end <= now => return "hold_expired",
            _ => {}
        }
        match step.verb {
            7 => {
                let taken = step.units.1 - 1;
                let code = if taken <= units { "ok" } else { self.take(taken, held - units) };
                if code == "ok" {
                    self.used += taken;
                    self.holds.insert(step.id, (units, end, now, "captured"));
                    if taken != 0 {
                        self.charges.insert(charge, (taken, now, false));
                    }
                }
                code
            }
            8 => {
                self.holds.insert(step.id, (units, end, now, "voided"));
                "ok"
            }
            _ => {
                let later = now + u128::from(step.units.1) * 4 * SECOND;
                if later <= end {
                    return "expiry_not_later";
                }
                self.holds.insert(step.id, (units, later, later, "open"));
                "ok"
            }
        }
    }
}
