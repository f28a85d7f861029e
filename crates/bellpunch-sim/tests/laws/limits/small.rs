//! Small scope: every short sequence of three kinds of commands on one limit, against the model.
//!
//! Amounts are 0, 1 and the limit; instants the last nanosecond before something ends, the end
//! itself, and the nanosecond after it; callers two, who take each other's names.

use serde_json::{Value, json};

use crate::partition::{Answer, Command, Counts, Enumeration, Pair, written};

const MS: i128 = 1_000_000;
const MS_NS: u64 = 1_000_000;
const LIMIT: u64 = 2;

/// What is counted.
#[derive(Clone, Copy, Debug)]
enum Counted {
    Quota,
    Rate,
}

/// The commands of a kind: by two callers, of each amount, where it has one.
fn letters(kind: &'static str, counted: Counted) -> Vec<Command> {
    let mut letters: Vec<Command> = Vec::new();
    for caller in ["o", "p"] {
        let is_first = caller == "o";
        let target = |units: u64| match counted {
            Counted::Quota => json!([{ "quota": "q", "units": units }]),
            Counted::Rate => json!([{ "policy": "p", "key": "k", "units": units }]),
        };
        // What the second may do does not depend on the amount as well: strangers are refused before,
        // and a count of its own is as the first's.
        let amounts: &[u64] = if is_first { &[0, 1, LIMIT] } else { &[1] };
        for &amount in amounts {
            let args = match kind {
                "quotas.consume" | "policies.consume" => {
                    let mut args = json!({ "units": amount, "id": "q" });
                    if matches!(counted, Counted::Rate) {
                        // Another caller has a count of its own.
                        args["id"] = json!("p");
                        args["key"] = json!(if is_first { "k" } else { "l" });
                    }
                    if !is_first {
                        args["charge"] = json!("a");
                    }
                    args
                }
                "quotas.set_limit" if is_first => json!({ "id": "q", "limit": amount }),
                "holds.create" => {
                    let items = target(amount);
                    let id = if amount == 1 { "h" } else { "i" };
                    json!({ "id": id, "owner": caller, "items": items, "ttl_ns": 1 })
                }
                "holds.capture" => json!({ "id": "h", "owner": caller, "units": amount }),
                "holds.extend" => json!({ "id": "h", "owner": caller, "ttl_ns": amount }),
                "charges.refund" if is_first => json!({ "id": "a", "units": amount }),
                "charges.refund" => json!({ "id": "a" }),
                _ if is_first && 0 < amount => continue,
                "holds.void" => json!({ "id": "h", "owner": caller }),
                "policies.reset" => json!({ "id": "p", "key": if is_first { "k" } else { "l" } }),
                "quotas.reset" | "quotas.revoke" | "quotas.reactivate" if is_first => {
                    json!({ "id": "q" })
                }
                "quotas.configure" if is_first => {
                    json!({ "id": "q", "expires_at": null })
                }
                _ => continue,
            };
            letters.push((kind, args));
        }
    }
    letters
}

/// The last nanosecond before an end, the end, and the one after.
fn around(end: i128) -> [i128; 3] {
    [end - 1, end, end + 1]
}

/// Enumerates three kinds after these commands, which are all accepted.
fn enumerate(
    (counted, start): (Counted, &[Command]),
    (kinds, length): (&[&'static str], usize),
    end: i128,
    counts: &mut Counts,
) {
    let mut pair = Pair::default();
    for (cmd, args) in start {
        let answer = pair.send(cmd, args.clone(), 0);
        assert!(matches!(answer, Answer::Yes { .. }), "{cmd} {args}: {answer:?}");
    }
    let alphabet = |_: &[Answer], _: i128| -> Vec<Command> {
        kinds.iter().flat_map(|kind| letters(kind, counted)).collect()
    };
    let enumeration = Enumeration { alphabet: &alphabet, instants: &around(end) };
    enumeration.extend((&pair, &mut Vec::new()), length, counts);
}

fn quota(over: &Value) -> Command {
    let mut args = json!({ "id": "q", "limit": LIMIT });
    args.as_object_mut().unwrap().extend(over.as_object().unwrap().clone());
    ("quotas.create", args)
}

/// One of it is set aside until the end.
fn hold(target: Value) -> Command {
    let args = json!({ "id": "h", "owner": "o", "items": [target], "ttl_ns": 10 * MS_NS });
    ("holds.create", args)
}

/// Three kinds at a time, at most four commands on a quota: one that refills, one that expires, one
/// whose charges are forgotten, one with a hold that ends, each at the same instant.
#[test]
fn enumerate_quotas() {
    let one = || ("quotas.consume", json!({ "id": "q", "units": 1, "charge": "a" }));
    let refills = quota(&json!({ "refill": { "amount": 1, "period_ns": 10 * MS_NS } }));
    let expires = quota(&json!({ "expires_at": written(10 * MS) }));
    let forgets = quota(&json!({ "charges": { "keep_ns": 10 * MS_NS } }));
    let held = || hold(json!({ "quota": "q", "units": 1 }));
    let mut counts = Counts::default();
    let mut of = |start: &[Command], kinds: [&'static str; 3]| {
        enumerate((Counted::Quota, start), (&kinds, 4), 10 * MS, &mut counts);
    };
    for start in [refills, forgets] {
        of(&[start.clone(), one()], ["quotas.consume", "quotas.set_limit", "charges.refund"]);
        of(&[start.clone(), one()], ["quotas.consume", "quotas.reset", "charges.refund"]);
    }
    of(&[expires.clone(), one()], ["quotas.consume", "quotas.configure", "charges.refund"]);
    of(&[expires, one()], ["quotas.revoke", "quotas.reactivate", "quotas.consume"]);
    for kinds in [
        ["holds.capture", "holds.void", "quotas.consume"],
        ["holds.capture", "holds.extend", "quotas.set_limit"],
        ["holds.create", "holds.capture", "quotas.reset"],
        ["holds.create", "holds.void", "holds.extend"],
        ["holds.extend", "holds.void", "quotas.revoke"],
    ] {
        of(&[quota(&json!({})), held(), one()], kinds);
    }
    counts.assert_reached(&[
        ("quotas.consume", "ok quota_exceeded exceeds_limit quota_expired quota_revoked"),
        ("quotas.consume", "charge_exists"),
        ("charges.refund", "ok already_refunded charge_window_over charge_not_found"),
        ("holds.create", "ok hold_exists quota_exceeded invalid_units"),
        ("holds.capture", "ok hold_captured hold_expired hold_voided not_owner quota_exceeded"),
        ("holds.void", "ok hold_captured hold_expired hold_voided not_owner"),
        ("holds.extend", "ok hold_captured hold_expired hold_voided not_owner expiry_not_later"),
    ]);
    println!("{} sequences", counts.total());
    assert_eq!(counts.total(), 40_318);
}

/// The terms of each algorithm, and when what was used at the start is gone.
fn algorithms() -> [(Value, i128); 7] {
    let period = 10 * MS_NS;
    let ten = 10 * MS;
    [
        (json!({ "algorithm": "fixed_window", "align": "first_hit", "period_ns": period }), ten),
        (json!({ "algorithm": "fixed_window", "align": "epoch", "period_ns": period }), ten),
        (json!({ "algorithm": "sliding_counter", "period_ns": period }), ten),
        (json!({ "algorithm": "sliding_log", "period_ns": period }), ten),
        (json!({ "algorithm": "gcra", "rate": 1, "burst": LIMIT, "period_ns": period }), ten),
        // The start is at 08:00.
        (json!({ "algorithm": "calendar", "unit": "day", "zone": "UTC" }), 16 * 3_600_000 * MS),
        (json!({ "algorithm": "concurrency" }), ten),
    ]
}

/// Each algorithm: uses, refunds, holds and resets around the instant at which its window ends.
#[test]
fn enumerate_rates() {
    let mut counts = Counts::default();
    for (mut terms, end) in algorithms() {
        let is_lease = terms["algorithm"] == "concurrency";
        terms["id"] = json!("p");
        terms["charges"] = json!(true);
        if terms.get("burst").is_none() {
            terms["limit"] = json!(LIMIT);
        }
        let set = ("policies.set", terms);
        let rate = json!({ "policy": "p", "key": "k", "units": 1 });
        let used =
            ("policies.consume", json!({ "id": "p", "key": "k", "units": 1, "charge": "a" }));
        let mut of = |start: &[Command], kinds: [&'static str; 3]| {
            enumerate((Counted::Rate, start), (&kinds, 4), end, &mut counts);
        };
        if is_lease {
            of(&[set.clone(), hold(rate.clone())], ["holds.create", "holds.void", "holds.extend"]);
        } else {
            of(&[set.clone(), used], ["policies.consume", "policies.reset", "charges.refund"]);
        }
        of(&[set, hold(rate)], ["holds.create", "holds.capture", "policies.consume"]);
    }
    counts.assert_reached(&[
        ("policies.consume", "ok rate_limited lease_required charge_exists"),
        ("charges.refund", "ok already_refunded charge_window_over"),
        ("holds.create", "ok rate_limited hold_exists"),
        ("holds.capture", "ok hold_captured hold_expired not_owner"),
    ]);
    println!("{} sequences", counts.total());
    assert_eq!(counts.total(), 43_036);
}
