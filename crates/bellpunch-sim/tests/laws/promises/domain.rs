//! `law.domain`: numbers that are no amounts are refused, by name, and nothing is bent to fit.

use serde_json::{Value, json};

use super::{How, MAX, MS, World, consume, hold, publish, quota, ticket, upload};
use crate::partition::{Command, START, written};

fn start() -> World {
    let gcra =
        json!({ "id": "p", "algorithm": "gcra", "rate": 3, "burst": 5, "period_ns": 1_000_000 });
    World::of(&[quota(json!({})), ("policies.set", gcra), consume(1), hold(), upload(json!({}))])
}

/// Every command that takes a number, and where.
fn numbers() -> Vec<(Command, &'static str)> {
    let gcra =
        json!({ "id": "n", "algorithm": "gcra", "rate": 3, "burst": 5, "period_ns": 1_000_000 });
    let window = json!({ "id": "n", "algorithm": "fixed_window", "align": "epoch", "limit": 5,
                         "period_ns": 1_000_000 });
    let items = json!([{ "quota": "q", "units": 1 }]);
    let check = ("checks.consume", json!({ "items": items }));
    let refill = json!({ "refill": { "amount": 1, "period_ns": 1_000_000 } });
    let quota_of = |over: Value| quota(super::with(json!({ "id": "n" }), over));
    let capture = ("holds.capture", json!({ "id": "h", "units": 1 }));
    let limited = json!({ "issue_limit": { "count": 1, "period_ns": 1_000_000 } });
    let charged = json!({ "id": "v", "charge": [{ "quota": "q", "units": 1 }] });
    vec![
        (quota_of(json!({})), "/limit"),
        (quota_of(json!({ "used": 1 })), "/used"),
        (quota_of(refill.clone()), "/refill/amount"),
        (quota_of(refill), "/refill/period_ns"),
        (quota_of(json!({ "charges": { "keep_ns": 1 } })), "/charges/keep_ns"),
        (("quotas.set_limit", json!({ "id": "q", "limit": 1 })), "/limit"),
        (("quotas.consume", json!({ "id": "q", "units": 1 })), "/units"),
        (("quotas.refund", json!({ "id": "q", "charge": "a", "units": 1 })), "/units"),
        (("charges.refund", json!({ "id": "a", "units": 1 })), "/units"),
        (("policies.set", gcra.clone()), "/rate"),
        (("policies.set", gcra.clone()), "/burst"),
        (("policies.set", gcra), "/period_ns"),
        (("policies.set", window), "/limit"),
        (("policies.consume", json!({ "id": "p", "key": "k", "units": 1 })), "/units"),
        (check, "/items/0/units"),
        (("holds.create", json!({ "items": items, "ttl_ns": 1 })), "/items/0/units"),
        (("holds.create", json!({ "items": items, "ttl_ns": 1 })), "/ttl_ns"),
        (capture, "/units"),
        (("holds.extend", json!({ "id": "h", "ttl_ns": 20 * MS })), "/ttl_ns"),
        (ticket(json!({})), "/max_amount/amount"),
        (ticket(json!({})), "/ttl_ns"),
        (ticket(limited.clone()), "/issue_limit/count"),
        (ticket(limited), "/issue_limit/period_ns"),
        (upload(json!({ "id": "v" })), "/size_limit"),
        (upload(json!({ "id": "v" })), "/ttl_ns"),
        (upload(charged), "/charge/0/units"),
        (publish("b"), "/size"),
        (("uploads.extend", json!({ "id": "u", "ttl_ns": 20 * MS })), "/ttl_ns"),
    ]
}

#[test]
fn law_domain() {
    // Of the wrong sign, beyond what any number of JSON holds exactly, or no integers at all.
    let senseless = [
        json!(-1),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(0.5),
        json!(1e3),
        json!(-0.0),
        json!(1e300),
        json!("1"),
        json!(true),
        json!([1]),
        json!({}),
    ];
    let mut cases = 0;
    for ((cmd, args), path) in numbers() {
        let mut world = start();
        let told = world.send(cmd, args.clone(), 0);
        assert_eq!(told.code, "ok", "{cmd} {args}: {told:?}");
        for number in &senseless {
            // A span of centuries is long, and makes sense.
            if path.ends_with("_ns") && number.is_u64() {
                continue;
            }
            let mut args = args.clone();
            *args.pointer_mut(path).unwrap() = number.clone();
            let mut world = start();
            let before = world.send("quotas.read", json!({ "id": "q" }), 0);
            let told = world.send(cmd, args.clone(), 0);
            let is_refused = told.code.starts_with("invalid_")
                || ["ttl_too_long", "payload_too_large", "issue_limit_exceeded"]
                    .contains(&&*told.code);
            // One number for each of the items is a list of numbers.
            let is_list = cmd == "holds.capture" && *number == json!([1]);
            assert!(is_refused != is_list, "{cmd} {args}: {told:?}");
            if !is_list {
                let after = world.send("quotas.read", json!({ "id": "q" }), 0);
                assert_eq!(before.body, after.body, "{cmd} {args}");
            }
            cases += 1;
        }
        // The edges of what is legal are taken as they are, or refused: no rule panics.
        for number in [0, 1, MAX - 1, MAX, MAX + 1] {
            let mut args = args.clone();
            *args.pointer_mut(path).unwrap() = json!(number);
            let mut world = start();
            let told = world.send(cmd, args.clone(), 0);
            let is_amount = !path.ends_with("_ns");
            if is_amount && number == MAX + 1 {
                assert_ne!(told.code, "ok", "{cmd} {args}");
            }
            let quota = world.send("quotas.read", json!({ "id": "q" }), 0).ok().body;
            let count = |name: &str| quota["quota"][name].as_u64().unwrap();
            let room = count("limit").saturating_sub(count("used") + count("held"));
            assert_eq!(count("remaining"), room, "{cmd} {args}");
            cases += 1;
        }
    }
    println!("{cases} cases");
    assert_eq!(cases, 439);
}

/// Sums that no number holds are refused, and what is there is as it was.
#[test]
fn law_domain_of_sums() {
    let full = || World::of(&[quota(json!({ "limit": MAX, "used": MAX - 1 }))]);
    let most = |units: u64| json!({ "quota": "q", "units": units });
    let rows: [(Command, &str); 6] = [
        (("quotas.consume", json!({ "id": "q", "units": 1 })), "ok"),
        (("quotas.consume", json!({ "id": "q", "units": 2 })), "quota_exceeded"),
        (("quotas.consume", json!({ "id": "q", "units": MAX })), "quota_exceeded"),
        (("checks.consume", json!({ "items": [most(MAX)] })), "quota_exceeded"),
        (("holds.create", json!({ "items": [most(MAX)] })), "quota_exceeded"),
        (("checks.consume", json!({ "items": [most(MAX), most(MAX)] })), "invalid_units"),
    ];
    for ((cmd, args), code) in rows {
        let told = full().send(cmd, args.clone(), 0);
        assert_eq!(told.code, code, "{cmd} {args}: {told:?}");
    }
    let mut world = full();
    let two = [consume(1), ("quotas.consume", json!({ "id": "q", "units": 1 }))];
    assert_eq!(world.send_all(&two, 0, How::default()).code, "quota_exceeded");
}

/// At the last instants there are, nothing wraps: what would end later is refused or never ends.
#[test]
fn law_domain_of_instants() {
    let last = i128::try_from(bellpunch::Timestamp::MAX.nanos()).unwrap() - START;
    let commands: [(Command, &str); 6] = [
        (consume(1), "ok"),
        (hold(), "ttl_too_long"),
        (ticket(json!({})), "ttl_too_long"),
        (upload(json!({})), "ttl_too_long"),
        (("policies.consume", json!({ "id": "p", "key": "k" })), "ok"),
        (("quotas.configure", json!({ "id": "q", "expires_at": written(last) })), "ok"),
    ];
    let mut world = World::of(&[quota(json!({}))]);
    let window = json!({ "id": "p", "algorithm": "fixed_window", "align": "first_hit", "limit": 5,
                         "period_ns": 1_000_000 });
    world.send("policies.set", window, 0).ok();
    for ((cmd, args), code) in commands {
        let told = world.send(cmd, args.clone(), last);
        assert_eq!(told.code, code, "{cmd} {args}: {told:?}");
    }
}
