//! What scripts cannot say: inline terms, deadlines, calendars, the largest amounts.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Answer, World, nanos, request};
use crate::limits::epoch::Epoch;
use crate::limits::{
    Anchor, Calendar, CalendarUnit, Consume, CreateHold, Item, RateCounter, SetPolicy, Target,
    Terms,
};
use crate::{
    AnyCommand, Decision, Duration, Key, Limit, Loaded, PositiveUnits, RecordId, Request,
    Timestamp, Units, View, decide, is_relaxed,
};

const SECOND: u128 = 1_000_000_000;
const MAX: u64 = 9_007_199_254_740_991;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn log(limit: u64) -> Value {
    json!({ "algorithm": "sliding_log", "limit": limit, "period_ns": 1_000_000_000 })
}

fn inline(units: u64, terms: Value) -> Value {
    let item = json!({ "policy": "p", "key": "k", "units": units, "terms": terms });
    json!({ "command": "checks.consume", "items": [item] })
}

fn used(answer: &Answer) -> u64 {
    answer.fields["targets"][0]["used"].as_u64().unwrap_or_else(|| panic!("{answer:?}"))
}

#[test]
fn inline_and_stored_counters_stay_apart() {
    let mut world = World::default();
    let mut set = log(1);
    set["command"] = json!("policies.set");
    set["id"] = json!("p");
    assert!(world.send(nanos(0), set).ok());
    assert_eq!(used(&world.send(nanos(0), inline(1, log(3)))), 1);
    let stored = json!({ "command": "policies.consume", "id": "p", "key": "k" });
    assert!(world.send(nanos(0), stored).ok());
    assert_eq!(used(&world.send(nanos(0), inline(1, log(3)))), 2);
}

#[test]
fn inline_terms_change_with_the_use_that_brings_them() {
    let mut world = World::default();
    let gcra = |period: u64| json!({ "algorithm": "gcra", "rate": 10, "period_ns": period });
    assert_eq!(used(&world.send(nanos(0), inline(10, gcra(10_000_000_000)))), 10);
    // Four have drained. A refusal changes no terms, so the rest drains as before until a use
    // passes; from then on it drains half as fast.
    let slow = gcra(20_000_000_000);
    let answer = world.send(nanos(4 * SECOND), inline(5, slow.clone()));
    assert_eq!(answer.fields["retry_after_ns"], json!(SECOND));
    let answer = world.send(nanos(5 * SECOND - 1), inline(5, slow.clone()));
    assert_eq!(answer.fields["retry_after_ns"], json!(1));
    assert_eq!(used(&world.send(nanos(5 * SECOND), inline(5, slow.clone()))), 10);
    let answer = world.send(nanos(5 * SECOND), inline(1, slow.clone()));
    assert_eq!(answer.fields["retry_after_ns"], json!(2 * SECOND));
    let answer = world.send(nanos(5 * SECOND), inline(1, gcra(80_000_000_000)));
    assert_eq!(answer.fields["retry_after_ns"], json!(2 * SECOND));
    let answer = world.send(nanos(5 * SECOND), inline(11, gcra(80_000_000_000)));
    assert_eq!(answer.fields["retry_after_ns"], Value::Null);
    assert_eq!(used(&world.send(nanos(7 * SECOND), inline(1, slow))), 10);
    let answer = world.send(nanos(7 * SECOND), inline(1, log(3)));
    let clash = (answer.code.as_str(), &answer.fields["algorithm"]);
    assert_eq!(clash, ("algorithm_changed", &json!("gcra")));
    // An idle counter equals a fresh one, so it clashes with nothing.
    assert_eq!(used(&world.send(nanos(27 * SECOND), inline(1, log(3)))), 1);
}

#[test]
fn inline_leases_and_refunds_find_their_counter_again() {
    let mut world = World::default();
    let terms = json!({ "algorithm": "concurrency", "limit": 1 });
    let item = json!({ "policy": "p", "key": "k", "units": 1, "terms": terms });
    let hold = json!({ "command": "holds.create", "id": "h", "items": [item] });
    assert!(world.send(nanos(0), hold.clone()).ok());
    let mut other = hold;
    other["id"] = json!("i");
    assert_eq!(world.send(nanos(0), other.clone()).code, "rate_limited");
    let capture = json!({ "command": "holds.capture", "id": "h" });
    let answer = world.send(nanos(0), capture);
    assert_eq!(answer.fields["captured"], json!(0), "a lease ends, it is not used: {answer:?}");
    assert_eq!(answer.fields["released"], json!(1));
    assert!(world.send(nanos(0), other).ok());

    let mut terms = log(3);
    terms["charges"] = json!(true);
    let mut consume = inline(2, terms);
    consume["id"] = json!("c");
    consume["items"][0]["key"] = json!("other");
    assert!(world.send(nanos(0), consume).ok());
    let answer = world.send(nanos(1), json!({ "command": "charges.refund", "id": "c" }));
    assert_eq!(answer.fields["refunded"], json!(2), "{answer:?}");
    assert_eq!(world.sweep(nanos(3_000_000 * SECOND)), 5, "{:?}", world.kinds());
    assert!(world.kinds().is_empty());
}

#[test]
fn shapes_are_refused_before_anything_is_asked() {
    let mut world = World::default();
    let mut code = |content: Value| {
        let answer = world.send(nanos(0), content);
        format!("{} {}", answer.code, answer.fields["field"].as_str().unwrap_or("-"))
    };
    let items = |items: Vec<Value>| json!({ "command": "checks.consume", "items": items });
    let quota = json!({ "quota": "nope", "units": 1 });
    assert_eq!(code(items(vec![])), "invalid_request items");
    assert_eq!(code(items(vec![quota.clone(); 33])), "invalid_request items");
    assert_eq!(code(items(vec![quota.clone(); 32])), "quota_not_found -");
    let two = inline(1, log(3))["items"][0].clone();
    let other = inline(1, log(4))["items"][0].clone();
    assert_eq!(code(items(vec![two.clone(), other])), "invalid_request items[1].terms");
    let stored = json!({ "policy": "p", "key": "k" });
    assert_eq!(code(items(vec![two.clone(), stored])), "invalid_request items[1].terms");
    assert_eq!(code(items(vec![two.clone(), two])), "ok -");
    assert_eq!(
        code(items(vec![json!({ "quota": "q", "policy": "p" })])),
        "invalid_request items[0]"
    );
    assert_eq!(
        code(items(vec![json!({ "quota": "q", "terms": log(1) })])),
        "invalid_request items[0]"
    );
    let mut bounded = log(1);
    bounded["max_keys"] = json!(1);
    assert_eq!(code(inline(1, bounded)), "invalid_request items[0]");
    assert_eq!(
        code(items(vec![json!({ "quota": "q", "units": -1 })])),
        "invalid_units items[0].units"
    );
    assert_eq!(code(items(vec![json!({ "quota": "" })])), "name_invalid items[0].quota");
    let large = json!({ "quota": "nope", "units": MAX });
    assert_eq!(code(items(vec![quota, large])), "invalid_units items[1].units");
    let hold = json!({ "command": "holds.create", "items": [{ "quota": "q", "units": 0 }] });
    assert_eq!(code(hold), "invalid_units items[0].units");
}

#[test]
fn decisions_state_the_earliest_end_they_relied_on() {
    let mut world = World::default();
    let mut deadline = |content: Value| {
        let answer = world.send(nanos(0), content);
        assert!(answer.ok(), "{answer:?}");
        answer.deadline.map(|at| at.nanos() / SECOND)
    };
    let quota = |id: &str, end: u8| {
        json!({
            "command": "quotas.create", "id": id, "limit": 9,
            "expires_at": format!("1970-01-01T00:00:{end}Z"),
        })
    };
    assert_eq!(deadline(quota("a", 30)), None);
    assert_eq!(deadline(quota("b", 20)), None);
    let both = json!([{ "quota": "a", "units": 1 }, { "quota": "b", "units": 1 }]);
    assert_eq!(deadline(json!({ "command": "checks.consume", "items": both })), Some(20));
    assert_eq!(deadline(json!({ "command": "quotas.consume", "id": "a" })), Some(30));
    let hold = |id: &str, ttl: u64| {
        json!({
            "command": "holds.create", "id": id, "items": both, "ttl_ns": ttl * 1_000_000_000
        })
    };
    assert_eq!(deadline(hold("h", 10)), Some(10));
    assert_eq!(deadline(hold("i", 20)), Some(20));
    let extend = json!({ "command": "holds.extend", "id": "h", "ttl_ns": 15_000_000_000_u64 });
    assert_eq!(deadline(extend), Some(10));
    assert_eq!(deadline(json!({ "command": "holds.capture", "id": "h" })), Some(15));
    assert_eq!(deadline(json!({ "command": "holds.capture", "id": "i" })), Some(20));
}

#[test]
fn the_largest_amounts_stay_exact() {
    let far = at("9999-12-30T00:00:00Z");
    for (algorithm, fields) in [
        ("fixed_window", json!({ "align": "first_hit" })),
        ("fixed_window", json!({ "align": "epoch" })),
        ("sliding_counter", json!({})),
        ("gcra", json!({ "rate": MAX })),
    ] {
        let mut world = World::default();
        let mut set = fields;
        set["command"] = json!("policies.set");
        set["id"] = json!("p");
        set["algorithm"] = json!(algorithm);
        set["charges"] = json!(true);
        set["period_ns"] = json!(36_525 * 86_400_u64 * 1_000_000_000);
        if algorithm != "gcra" {
            set["limit"] = json!(MAX);
        }
        assert!(world.send(nanos(0), set.clone()).ok());
        let mut consume =
            json!({ "command": "policies.consume", "id": "p", "key": "k", "units": MAX });
        for now in [nanos(1), at("2500-01-01T00:00:00Z"), far] {
            consume["charge"] = json!(format!("c{}", now.nanos()));
            let answer = world.send(now, consume.clone());
            assert!(answer.ok(), "{algorithm} {answer:?}");
            assert_eq!(answer.fields["counter"]["remaining"], json!(0));
            consume["units"] = json!(1);
            consume["charge"] = json!("more");
            assert_eq!(world.send(now, consume.clone()).code, "rate_limited");
            consume["units"] = json!(MAX);
        }
        set["period_ns"] = json!(36_524 * 86_400_u64 * 1_000_000_000);
        assert!(world.send(far, set).ok());
        let view =
            world.send(far, json!({ "command": "counters.read", "policy": "p", "key": "k" }));
        assert_eq!(view.fields["counter"]["used"], json!(MAX), "{algorithm}");
    }
}

#[test]
fn a_sliding_log_takes_ten_thousand_uses() {
    let mut world = World::default();
    let mut set = log(10_000);
    set["command"] = json!("policies.set");
    set["id"] = json!("p");
    assert!(world.send(nanos(0), set).ok());
    let consume = json!({ "command": "policies.consume", "id": "p", "key": "k", "units": 2_500 });
    for now in 0..4 {
        assert!(world.send(nanos(now), consume.clone()).ok());
    }
    let refused = world.send(nanos(4), consume);
    assert_eq!(refused.fields["retry_after_ns"], json!(SECOND - 4));
}

#[test]
fn windows_begin_at_local_midnight() {
    let window = |calendar: &Calendar, now: &str| {
        let (start, end) = calendar.window(at(now));
        format!("{start} {}", end.unwrap())
    };
    let day = |zone: &str| Calendar::new(CalendarUnit::Day, zone, None).unwrap();
    // Beirut skips 00:00 in spring: the day begins at 01:00, which is 22:00 UTC as ever.
    assert_eq!(
        window(&day("Asia/Beirut"), "2024-03-30T22:00:00Z"),
        "2024-03-30T22:00:00Z 2024-03-31T21:00:00Z"
    );
    // Havana has 00:00 twice in autumn: the day begins at the first.
    assert_eq!(
        window(&day("America/Havana"), "2024-11-03T04:30:00Z"),
        "2024-11-03T04:00:00Z 2024-11-04T05:00:00Z"
    );
    assert_eq!(
        window(&day("America/Havana"), "2024-11-03T05:30:00Z"),
        "2024-11-03T04:00:00Z 2024-11-04T05:00:00Z"
    );
    // Toronto went from 23:30 to 00:30 in 1919, before time began here; Apia skipped a whole day.
    assert_eq!(
        window(&day("Pacific/Apia"), "2011-12-30T09:59:59Z"),
        "2011-12-29T10:00:00Z 2011-12-30T10:00:00Z"
    );
    assert_eq!(
        window(&day("Pacific/Apia"), "2011-12-30T10:00:00Z"),
        "2011-12-30T10:00:00Z 2011-12-31T10:00:00Z"
    );
    let week = Calendar::new(CalendarUnit::Week, "UTC", None).unwrap();
    assert_eq!(window(&week, "2026-02-01T23:00:00Z"), "2026-01-26T00:00:00Z 2026-02-02T00:00:00Z");
    let sunday = Calendar::new(CalendarUnit::Week, "UTC", Some(Anchor::Day(7))).unwrap();
    assert_eq!(
        window(&sunday, "2026-02-01T00:00:00Z"),
        "2026-02-01T00:00:00Z 2026-02-08T00:00:00Z"
    );
    let year =
        Calendar::new(CalendarUnit::Year, "UTC", Some(Anchor::Date("02-29".into()))).unwrap();
    assert_eq!(window(&year, "2025-03-01T00:00:00Z"), "2025-02-28T00:00:00Z 2026-02-28T00:00:00Z");
    assert_eq!(window(&year, "2024-02-28T23:00:00Z"), "2023-02-28T00:00:00Z 2024-02-29T00:00:00Z");
    let month = Calendar::new(CalendarUnit::Month, "UTC", Some(Anchor::Day(30))).unwrap();
    assert_eq!(window(&month, "2026-03-29T23:00:00Z"), "2026-02-28T00:00:00Z 2026-03-30T00:00:00Z");
    assert_eq!(day("UTC").window(at("9999-12-30T12:00:00Z")).1, None);
    assert_eq!(
        window(&day("Asia/Tokyo"), "1970-01-01T00:00:00Z"),
        "1970-01-01T00:00:00Z 1970-01-01T15:00:00Z"
    );
}

#[test]
fn windows_follow_each_other_without_gap() {
    let zones =
        ["UTC", "Europe/Berlin", "Asia/Beirut", "America/Havana", "Pacific/Apia", "Africa/Cairo"];
    let units = [CalendarUnit::Day, CalendarUnit::Week, CalendarUnit::Month, CalendarUnit::Year];
    for zone in zones {
        for unit in units {
            let calendar = Calendar::new(unit, zone, None).unwrap();
            let mut now = at("2009-12-31T12:00:00Z");
            let (_, mut end) = calendar.window(now);
            for _ in 0..900 {
                now = end.unwrap();
                let (start, next) = calendar.window(now);
                assert_eq!(start, now, "{zone} {unit:?}");
                let before = nanos(now.nanos() - 1);
                assert_eq!(calendar.window(before).1, Some(now), "{zone} {unit:?}");
                end = next;
            }
        }
    }
}

#[test]
fn open_replies_charge_nothing_and_inline_terms_are_known() {
    let mut world = World::default();
    let mut terms = log(3);
    terms["on_store_failure"] = json!("local");
    terms["local_limit"] = json!(1);
    let sent = inline(1, terms);
    let answer = world.try_send(nanos(0), sent.clone(), "down");
    assert_eq!(answer.fields["decided_by"], json!("local"), "{answer:?}");
    assert_eq!(world.try_send(nanos(0), sent.clone(), "down").code, "rate_limited");
    assert_eq!(world.kinds(), ["local_counters/inline/p/k"]);
    assert_eq!(used(&world.send(nanos(0), sent)), 1);
    assert_eq!(world.sweep(nanos(9 * SECOND)), 2);
}

#[test]
fn the_audit_sees_what_the_count_hides() {
    let mut world = World::default();
    let quota = json!({ "command": "quotas.create", "id": "q", "limit": 9, "used": 1 });
    assert!(world.send(nanos(0), quota).ok());
    assert!(
        world.send(nanos(0), json!({ "command": "quotas.consume", "id": "q", "units": 2 })).ok()
    );
    let hold = json!({ "command": "holds.create", "items": [{ "quota": "q", "units": 3 }] });
    assert!(world.send(nanos(0), hold).ok());
    assert_eq!(world.audit(nanos(1), "q"), json!([]));
    world.lose("charges");
    world.lose("holds");
    let found = json!([
        { "check": "usage_matches_charges", "expected": "1", "found": "3" },
        { "check": "held_matches_holds", "expected": "0", "found": "3" },
    ]);
    assert_eq!(world.audit(nanos(1), "q"), found);
}

#[test]
fn typed_commands_do_as_their_json() {
    let key = |name: &str| Key::new(name).unwrap();
    let mut world = World::default();
    let terms = Terms::gcra(PositiveUnits::new(2).unwrap(), Duration::from_secs(1))
        .unwrap()
        .with_burst(Limit::Finite(Units::new(3).unwrap()))
        .with_charges()
        .with_max_keys(Units::ONE);
    let set = SetPolicy::of(key("p"), terms);
    let round: SetPolicy = serde_json::from_value(serde_json::to_value(&set).unwrap()).unwrap();
    assert_eq!(round, set);
    assert!(world.run(nanos(0), &request(set), "store").ok());
    let item = Item::new(Target::rate(key("p"), key("k")), Units::new(2).unwrap());
    let round: Item = serde_json::from_value(serde_json::to_value(&item).unwrap()).unwrap();
    assert_eq!(round, item);
    let answer = world.run(nanos(0), &request(Consume::of(vec![item.clone()])), "store");
    assert_eq!(answer.fields["remaining"], json!(1));
    assert_eq!(answer.fields["charge"].as_str().unwrap().len(), 32, "drawn");
    let hold = CreateHold::of(vec![Item { units: Units::ONE, ..item }]);
    let answer = world.run(nanos(0), &request(hold.clone()), "store");
    assert_eq!(answer.fields["hold"]["expires_at"], json!("1970-01-01T00:10:00Z"));
    let answer = world.run(nanos(0), &request(hold), "store");
    assert_eq!(answer.fields["retry_after_ns"], json!(500_000_000));
    assert_eq!(answer.fields["violations"][0]["held"], json!(1));
    assert_eq!(Target::rate(key("p"), key("k")).to_string(), "p/k");
    assert_eq!(Target::quota(key("q")).to_string(), "q");
    let item = Item::new(Target::rate(key("p"), key("k")), Units::ONE);
    let hold = CreateHold::of(vec![item]).lasting(Duration::from_secs(60));
    let answer = world.run(nanos(1_000_000_000), &request(hold), "store");
    assert_eq!(answer.fields["hold"]["expires_at"], json!("1970-01-01T00:01:01Z"));
}

#[test]
fn only_policies_that_say_so_run_where_writes_may_be_lost() {
    let mut world = World::default();
    for (id, best_effort) in [("loose", true), ("strict", false)] {
        let set = json!({ "command": "policies.set", "id": id, "algorithm": "gcra", "rate": 1,
                          "period_ns": 1_000_000, "best_effort": best_effort });
        assert!(world.send(nanos(0), set).ok());
    }
    let key = |name: &str| Key::new(name).unwrap();
    for (policy, allowed) in [("loose", true), ("strict", false), ("loose", true)] {
        let item = Item::new(Target::rate(key(policy), key("k")), Units::ONE);
        let found = crate::best_effort(&mut world.view, &request(Consume::of(vec![item])));
        assert_eq!(found == crate::BestEffort::Allowed, allowed, "{policy}: {found:?}");
    }
}

/// A reply about one quota does not name it twice.
#[test]
fn a_quota_is_named_once() {
    let mut world = World::default();
    let mut send = |command: Value| world.send(nanos(0), command);
    assert!(send(json!({ "command": "quotas.create", "id": "q", "limit": 5 })).ok());
    let used = send(json!({ "command": "quotas.consume", "id": "q", "charge": "a" }));
    let back = send(json!({ "command": "quotas.refund", "id": "q", "charge": "a" }));
    for answer in [used, back] {
        assert_eq!(answer.fields["quota"]["id"], json!("q"));
        assert_eq!(answer.fields["quota"].get("quota"), None);
    }
}

#[test]
fn every_wire_command_reads_its_own_content_again() {
    for (name, content) in [
        (
            "quotas.create",
            json!({ "limit": "unlimited", "charges": "for_ever", "refill": { "amount": "full", "unit": "week", "zone": "UTC", "anchor": 7 } }),
        ),
        ("quotas.configure", json!({ "id": "q", "expires_at": null, "charges": { "keep_ns": 5 } })),
        (
            "policies.set",
            json!({ "id": "p", "algorithm": "calendar", "unit": "year", "zone": "UTC", "anchor": "04-01", "limit": 1, "shadow": true, "durability": "relaxed", "best_effort": true }),
        ),
        ("holds.capture", json!({ "id": "h", "units": [1, 2] })),
        (
            "charges.refund",
            json!({ "id": "c", "items": [{ "policy": "p", "key": "k", "units": 1 }] }),
        ),
    ] {
        let parse = crate::command(name).unwrap().parse;
        let once = parse(content.clone()).unwrap().content();
        let again = parse(serde_json::from_slice(&once).unwrap()).unwrap().content();
        assert_eq!(once, again, "{name}");
        let mut typo = content;
        typo["typo"] = json!(1);
        assert_eq!(parse(typo).unwrap_err().code, "invalid_request", "{name}");
    }
}

/// Decides on one view without a store that ever hears of it, as commands of one batch are.
fn batch(view: &mut View, commands: Vec<Arc<dyn AnyCommand>>, at: Timestamp) -> String {
    let entropy = vec![1; commands.len()];
    let keep = Duration::from_days(7);
    let request = Request {
        commands,
        entropy,
        key: None,
        keep,
        dry_run: false,
        journaling: crate::Journaling::Off,
    };
    loop {
        match decide(view, &request, at) {
            Decision::Load { records, due } => {
                records.into_iter().for_each(|key| view.load(key, Loaded::default()));
                due.into_iter().for_each(|due| view.answer(due, Vec::new()));
            }
            Decision::Accepted { .. } => return "ok".to_owned(),
            Decision::Rejected { rejection, .. } => return rejection.code.to_owned(),
            failed @ (Decision::Failed(_) | Decision::Panicked { .. }) => panic!("{failed:?}"),
        }
    }
}

fn parsed(line: &str) -> Arc<dyn AnyCommand> {
    let mut content = super::scripts::parse(line);
    let name = content.as_object_mut().unwrap().remove("command").unwrap();
    let spec = crate::command(name.as_str().unwrap()).unwrap();
    (spec.parse)(content).unwrap_or_else(|error| panic!("{line}: {error:?}"))
}

#[test]
fn a_batch_knows_the_counters_it_made_itself() {
    let mut view = View::default();
    let mut send = |seconds: u128, lines: &[&str]| {
        let commands = lines.iter().map(|line| parsed(line)).collect();
        batch(&mut view, commands, nanos(seconds * SECOND))
    };
    let policy = "set_policy p fixed_window align=first_hit limit=1 period=10s max_keys=1";
    assert_eq!(send(0, &[policy]), "ok");
    // Asked before anything was there, and so the answer says that nothing is.
    assert_eq!(send(0, &["delete_policy p"]), "ok");
    assert_eq!(send(0, &[policy]), "ok");
    assert_eq!(send(0, &["consume p/a 1"]), "ok");
    assert_eq!(send(1, &["delete_policy p"]), "policy_in_use");
    assert_eq!(send(1, &["consume p/b 1"]), "too_many_keys");
    assert_eq!(send(10, &["consume p/b 1"]), "ok", "the place of p/a, which is idle");
    assert_eq!(send(10, &["delete_policy p"]), "policy_in_use");
    assert_eq!(send(20, &["delete_policy p"]), "ok");
    let other = "set_policy q sliding_log limit=1 period=10s";
    assert_eq!(send(20, &[policy, other, "consume q/a 1"]), "ok");
    assert_eq!(send(20, &["delete_policy p"]), "ok", "what is live is of another policy");
    // Of the commands of one list, too.
    assert_eq!(send(20, &[policy, "consume p/c 1", "delete_policy p"]), "policy_in_use");
    assert_eq!(send(20, &[policy, "consume p/a 1"]), "ok");
}

#[test]
fn units_may_be_given_back_without_end() {
    let longest = Duration::from_days(36_525);
    let terms = Terms::gcra(PositiveUnits::ONE, longest).unwrap();
    let terms = terms.with_burst(Limit::Finite(Units::MAX));
    let mut counter = RateCounter::fresh(terms, nanos(0), Epoch::NONE);
    counter.charge(Units::ONE);
    let most = Units::new(MAX - 1).unwrap();
    let mut epochs = 0;
    for _ in 0..40_000 {
        let epoch = counter.epoch();
        let place = counter.charge(most).unwrap();
        epochs += u64::from(counter.epoch() != epoch);
        assert_eq!(counter.counted(), Units::MAX);
        assert_eq!(counter.refundable(place, most), most);
        counter.refund(place, most);
        assert_eq!(counter.counted(), Units::ONE);
    }
    assert!(0 < epochs, "a charge of before is not found at a place that was counted afresh");
}

#[test]
fn a_sweep_looks_again() {
    let mut world = World::default();
    let mut send = |line: &str| {
        let answer = world.send(nanos(0), super::scripts::parse(line));
        assert!(answer.ok(), "{line}: {answer:?}");
    };
    send("set_policy p fixed_window align=epoch limit=9 period=10s max_keys=9 charges=true");
    send("consume p/k 1 id=c");
    send("hold h p/k 1 ttl=5s");
    let mut consume = inline(1, log(3));
    consume["items"][0]["key"] = json!("i");
    assert!(world.send(nanos(0), consume).ok());
    // What was due when it was listed may have been used again since.
    let of = |kind: &str| -> Vec<RecordId> {
        let id = match kind {
            "counters" => RecordId::compound(&[&Key::new("p").unwrap(), &Key::new("k").unwrap()]),
            "inline_counters" => {
                RecordId::compound(&[&Key::new("p").unwrap(), &Key::new("i").unwrap()])
            }
            "holds" => RecordId::stored("h"),
            _ => RecordId::stored("c"),
        };
        vec![id]
    };
    let swept = |world: &mut World, kind: &str| {
        let commands = vec![crate::limits::sweep(kind, of(kind)).unwrap()];
        let keep = Duration::from_days(7);
        let request = Request {
            commands,
            entropy: vec![0],
            key: None,
            keep,
            dry_run: false,
            journaling: crate::Journaling::Off,
        };
        world.run(nanos(1), &request, "store").code
    };
    let before = world.kinds();
    for kind in ["counters", "inline_counters", "holds", "charges"] {
        assert_eq!(swept(&mut world, kind), "nothing_due", "{kind}");
    }
    assert_eq!(world.kinds(), before);
    // One that a hold keeps alive over a reset takes its place when a sweep writes it.
    assert!(world.send(nanos(1), super::scripts::parse("reset_all p")).ok());
    assert_eq!(swept(&mut world, "counters"), "ok");
    let lower = "set_policy p fixed_window align=epoch limit=9 period=10s max_keys=1 charges=true";
    assert!(world.send(nanos(1), super::scripts::parse(lower)).ok());
    let answer = world.send(nanos(1), super::scripts::parse("consume p/other 1"));
    assert_eq!(answer.code, "too_many_keys");
}

#[test]
fn a_policy_with_many_counters_is_deleted_when_none_is_live() {
    let mut world = World::default();
    let mut send = |seconds: u128, line: &str| {
        world.send(nanos(seconds * SECOND), super::scripts::parse(line)).code
    };
    assert_eq!(
        send(0, "set_policy p fixed_window align=first_hit limit=9 period=10s max_keys=99"),
        "ok"
    );
    for key in 0..crate::DUE_MAX {
        assert_eq!(send(0, &format!("consume p/a{key} 1")), "ok");
    }
    assert_eq!(send(5, "consume p/z 1"), "ok");
    // The store names no more than so many at once, and what it did not name may be live.
    assert_eq!(send(10, "delete_policy p"), "policy_in_use");
    assert_eq!(world.sweep(nanos(10 * SECOND)), crate::DUE_MAX);
    let mut delete = |seconds: u128| {
        world.send(nanos(seconds * SECOND), super::scripts::parse("delete_policy p")).code
    };
    assert_eq!(delete(10), "policy_in_use");
    assert_eq!(delete(15), "ok");
    let left = world.kinds();
    assert!(!left.iter().any(|key| key.starts_with("key_counts")), "{left:?}");
}

#[test]
fn thirty_two_items_may_be_refunded() {
    let mut world = World::default();
    let mut send = |content: Value| world.send(nanos(0), content).code;
    assert_eq!(send(super::scripts::parse("create_quota q limit=9")), "ok");
    assert_eq!(send(super::scripts::parse("consume q 1 id=c")), "ok");
    let items = |count: u32| -> Vec<Value> {
        (0..count).map(|index| json!({ "quota": format!("q{index}") })).collect()
    };
    let mut refund =
        |count| send(json!({ "command": "charges.refund", "id": "c", "items": items(count) }));
    assert_eq!(refund(32), "not_refundable");
    assert_eq!(refund(33), "invalid_request");
}

#[test]
fn what_a_batch_wrote_outlasts_a_read() {
    let mut view = View::default();
    let policy = "set_policy p sliding_log limit=1 period=10s";
    assert_eq!(batch(&mut view, vec![parsed(policy), parsed("consume p/k 1")], nanos(0)), "ok");
    let id = RecordId::compound(&[&Key::new("p").unwrap(), &Key::new("k").unwrap()]);
    view.load(<RateCounter as crate::Record>::key(&id), Loaded::default());
    assert_eq!(batch(&mut view, vec![parsed("consume p/k 1")], nanos(1)), "rate_limited");
}

#[test]
fn terms_that_may_yet_come_to_nothing_tell_nothing_early() {
    let mut view = View::default();
    let relaxed = |view: &mut View, use_of: &str| {
        let (commands, entropy) = (vec![parsed(use_of)], vec![1]);
        is_relaxed(view, &Request { commands, entropy, ..request(Consume::of(Vec::new())) })
    };
    let policy = "set_policy p sliding_log limit=9 period=10s durability=relaxed";
    assert_eq!(batch(&mut view, vec![parsed(policy)], nanos(0)), "ok");
    assert!(!relaxed(&mut view, "consume p/k 1"), "nobody has taken them yet");
    let key =
        <crate::limits::RatePolicy as crate::Record>::key(&RecordId::from(&Key::new("p").unwrap()));
    view.settle([&key]);
    assert!(relaxed(&mut view, "consume p/k 1"));
    assert!(!relaxed(&mut view, "consume q/k 1"), "there are none");
    assert_eq!(
        batch(&mut view, vec![parsed("set_policy p sliding_log limit=9 period=10s")], nanos(1)),
        "ok"
    );
    assert!(!relaxed(&mut view, "consume p/k 1"));
    view.settle([&key]);
    assert!(!relaxed(&mut view, "consume p/k 1"));
}

#[test]
fn a_node_alone_tells_of_all_targets() {
    let mut world = World::default();
    for line in [
        "set_policy l sliding_log limit=9 period=10s on_store_failure=local local_limit=3",
        "set_policy o sliding_log limit=2 period=10s on_store_failure=open",
    ] {
        assert!(world.send(nanos(0), super::scripts::parse(line)).ok());
    }
    let mut send = |content: Value| world.try_send(nanos(0), content, "down");
    let answer = send(super::scripts::parse("consume l/k 1 + o/k 1"));
    assert_eq!(answer.fields["targets"].as_array().map(Vec::len), Some(2), "{answer:?}");
    assert_eq!(answer.fields["remaining"], json!(2));
    let answer = send(super::scripts::parse("consume o/k 1 + o/j 1"));
    assert_eq!(answer.fields["remaining"], json!(2), "{answer:?}");
    let mut terms = log(3);
    terms["on_store_failure"] = json!("local");
    terms["local_limit"] = json!(3);
    assert!(send(inline(1, terms.clone())).ok());
    terms["algorithm"] = json!("sliding_counter");
    assert_eq!(send(inline(1, terms)).code, "algorithm_changed");
}

#[test]
fn terms_that_contradict_each_other_come_before_a_sum_that_is_too_large() {
    let item = |key: &str, units: u64, limit: u64| json!({ "policy": "p", "key": key, "units": units, "terms": log(limit) });
    let items = [item("a", MAX, 5), item("a", 1, 5), item("b", 1, 5), item("b", 1, 6)];
    let check = json!({ "command": "checks.consume", "items": items });
    let answer = World::default().send(nanos(0), check);
    assert_eq!(answer.code, "invalid_request");
    assert_eq!(answer.fields["field"], "items[3].terms");
}

#[test]
fn a_refused_capture_says_when_more_remains() {
    let mut world = World::default();
    let quota = json!({ "command": "quotas.create", "id": "q", "limit": 10, "used": 5 });
    assert!(world.send(nanos(0), quota).ok());
    let hold = json!({
        "command": "holds.create", "id": "h", "items": [{ "quota": "q", "units": 3 }],
        "ttl_ns": 60_000_000_000_u64,
    });
    assert!(world.send(nanos(0), hold).ok());
    let capture = json!({ "command": "holds.capture", "id": "h", "units": 6 });
    let answer = world.send(nanos(SECOND), capture);
    assert_eq!(answer.code, "quota_exceeded");
    // What the hold itself holds remains again when it ends.
    let end = nanos(60 * SECOND).to_string();
    assert_eq!(answer.fields["violations"][0]["next_at"], end);
}
