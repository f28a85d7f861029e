//! What clients ask for: commands of every domain, with amounts at the edges.
//!
//! Names are few and hot on purpose: two callers that never meet prove nothing.

mod bank;
mod billing;

use serde_json::{Value, json};

use crate::case::{Asked, MILLI, SECOND};
use crate::rng::Rng;

/// The largest count that a request may name.
const UNITS_MAX: u64 = 9_007_199_254_740_991;
/// For how long a refusal may be told from memory, by the policies that allow it.
pub(crate) const STALE_DENIALS: u64 = 500 * MILLI;
/// 2026-03-01T00:00:00Z in seconds.
const ORIGIN_SECONDS: i64 = 1_772_323_200;

/// The parts of the product that a case is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Domain {
    /// Quotas, their holds and charges.
    Quotas,
    /// Rate limits.
    Rates,
    /// Tickets.
    Tickets,
    /// Uploads.
    Uploads,
    /// Lists of commands.
    Lists,
    /// Accounts, transfers, holds on accounts, and tickets that move money.
    Bank,
    /// Clients, retainers, invoices, payments, refunds, numbers, jobs.
    Billing,
}

/// Those of a book: what they accept is entered into a journal.
pub const MONEY: [Domain; 2] = [Domain::Bank, Domain::Billing];
/// All others.
pub const DOMAINS: [Domain; 5] =
    [Domain::Quotas, Domain::Rates, Domain::Tickets, Domain::Uploads, Domain::Lists];

fn asked(cmd: &str, args: Value) -> Asked {
    Asked { cmd: cmd.to_owned(), args }
}

/// An instant, so many nanoseconds after the start, as a request names it.
pub(crate) fn instant(after: u64) -> String {
    let seconds = i64::try_from(after.checked_div(SECOND).unwrap_or_default()).unwrap_or_default();
    let nanos = after.checked_rem(SECOND).unwrap_or_default();
    let total = i128::from(ORIGIN_SECONDS.saturating_add(seconds))
        .saturating_mul(1_000_000_000)
        .saturating_add(nanos.into());
    bellpunch_check::instant::print(total)
}

/// Amounts at the edges of a limit.
fn units(rng: &mut Rng, limit: u64) -> u64 {
    match rng.below(20) {
        0 => 0,
        1 => limit,
        2 => limit.saturating_add(1),
        3 => UNITS_MAX,
        4..=7 => 2,
        8 | 9 => 3,
        _ => 1,
    }
}

fn quota(rng: &mut Rng) -> &'static str {
    rng.pick::<&str>(&["q", "q", "q", "r", "s"])
}

/// The limit of all quotas: small, so that it is reached.
const LIMIT: u64 = 12;

/// What a partition is given first: each of these is a list of commands, all or nothing.
#[must_use]
pub fn first(domains: &[Domain], rng: &mut Rng) -> Vec<Vec<Asked>> {
    let mut lists = Vec::new();
    let mut all = Vec::new();
    for domain in domains {
        match domain {
            Domain::Quotas | Domain::Lists | Domain::Uploads => {
                for id in ["q", "r", "s"] {
                    let mut args = json!({ "id": id, "limit": LIMIT });
                    match rng.below(5) {
                        0 => {
                            args["expires_at"] =
                                json!(instant(rng.between(2, 25).saturating_mul(SECOND)))
                        }
                        1 => args["refill"] = json!({ "amount": 5, "period_ns": 3 * SECOND }),
                        2 => args["limit"] = json!(2),
                        _ => {}
                    }
                    all.push(asked("quotas.create", args));
                }
            }
            Domain::Rates => {
                for id in ["f", "g"] {
                    all.push(policy(id, rng));
                }
            }
            Domain::Tickets => {}
            Domain::Bank => lists.push(bank::first()),
            Domain::Billing => lists.push(billing::first(rng)),
        }
    }
    lists.extend(all.into_iter().map(|one| vec![one]));
    lists
}

fn policy(id: &str, rng: &mut Rng) -> Asked {
    let period = rng.pick(&[SECOND, 3 * SECOND, 7 * SECOND, 60 * SECOND]);
    let limit = rng.pick(&[2, 3, 5, 10]);
    let mut args = match rng.below(7) {
        0 => json!({
            "algorithm": "fixed_window", "align": "epoch", "limit": limit, "period_ns": period
        }),
        1 => json!({
            "algorithm": "fixed_window", "align": "first_hit", "limit": limit, "period_ns": period
        }),
        2 => json!({ "algorithm": "sliding_counter", "limit": limit, "period_ns": period }),
        3 => json!({ "algorithm": "sliding_log", "limit": limit, "period_ns": period }),
        4 => json!({ "algorithm": "calendar", "limit": limit, "unit": "day", "zone": "UTC" }),
        5 => json!({ "algorithm": "concurrency", "limit": limit }),
        _ => json!({ "algorithm": "gcra", "rate": limit, "period_ns": period, "burst": limit }),
    };
    args["id"] = json!(id);
    if args["algorithm"] != "concurrency" {
        match rng.below(8) {
            0 => args["on_store_failure"] = json!("open"),
            1 => {
                args["on_store_failure"] = json!("local");
                args["local_limit"] = json!(2);
                if args["algorithm"] == "gcra" {
                    args["local_rate"] = json!(1);
                }
            }
            2 => args["stale_denials_ns"] = json!(STALE_DENIALS),
            // Which keys are idle rests on what housekeeping has removed, which histories do not always
            // pin to one order; `max_keys` is steered at, and held to its model in sequence.
            3 => args["charges"] = json!(true),
            4 => args["shadow"] = json!(true),
            _ => {}
        }
    }
    asked("policies.set", args)
}

/// What is asked for next.
#[must_use]
pub fn next(domain: Domain, rng: &mut Rng) -> Vec<Asked> {
    match domain {
        Domain::Quotas => vec![of_quota(rng)],
        Domain::Rates => vec![of_rate(rng)],
        Domain::Tickets => vec![of_ticket(rng)],
        Domain::Uploads => vec![of_upload(rng)],
        Domain::Bank => together(rng, bank::next),
        Domain::Billing => together(rng, billing::next),
        Domain::Lists => {
            let count = rng.between(2, 5);
            let mut list = Vec::new();
            for _ in 0..count {
                list.push(match rng.below(4) {
                    0 => of_ticket(rng),
                    1 => of_upload(rng),
                    _ => of_quota(rng),
                });
            }
            list.retain(|one| !one.cmd.ends_with(".read"));
            if list.is_empty() {
                list.push(consume(rng));
            }
            list
        }
    }
}

/// Mostly one command, sometimes a list.
fn together(rng: &mut Rng, next: fn(&mut Rng) -> Asked) -> Vec<Asked> {
    if !rng.chance(120) {
        return vec![next(rng)];
    }
    let mut list: Vec<Asked> = (0..rng.between(2, 4)).map(|_| next(rng)).collect();
    list.retain(|one| !one.cmd.ends_with(".read"));
    if list.is_empty() { vec![next(rng)] } else { list }
}

fn consume(rng: &mut Rng) -> Asked {
    let mut args = json!({ "id": quota(rng), "units": units(rng, LIMIT) });
    if rng.chance(100) {
        args["charge"] = json!(format!("c{}", rng.below(30)));
    }
    asked("quotas.consume", args)
}

fn place(rng: &mut Rng) -> u64 {
    rng.below(12)
}

fn of_quota(rng: &mut Rng) -> Asked {
    let id = quota(rng);
    match rng.below(30) {
        0 => asked("quotas.set_limit", json!({ "id": id, "limit": units(rng, LIMIT) })),
        1 => asked("quotas.revoke", json!({ "id": id })),
        2 | 3 => asked("quotas.reactivate", json!({ "id": id })),
        4 => asked("quotas.reset", json!({ "id": id })),
        5 => asked("quotas.read", json!({ "id": id })),
        6 => asked("charges.refund", json!({ "id": format!("$charges:{}", place(rng)) })),
        7 => {
            let charge = format!("$charges:{}", place(rng));
            asked("quotas.refund", json!({ "id": id, "charge": charge, "units": 1 }))
        }
        8 | 9 => {
            let ttl = rng.pick(&[SECOND, 2 * SECOND, 4 * SECOND, 9 * SECOND]);
            let item = json!({ "quota": id, "units": rng.between(1, 5) });
            asked("holds.create", json!({ "items": [item], "ttl_ns": ttl }))
        }
        10 | 11 => {
            let mut args = json!({ "id": format!("$holds:{}", place(rng)) });
            if rng.chance(500) {
                args["units"] = json!(rng.below(4));
            }
            asked("holds.capture", args)
        }
        12 => asked("holds.void", json!({ "id": format!("$holds:{}", place(rng)) })),
        13 => {
            let id = format!("$holds:{}", place(rng));
            asked("holds.extend", json!({ "id": id, "ttl_ns": 3 * SECOND }))
        }
        14 => asked("holds.read", json!({ "id": format!("$holds:{}", place(rng)) })),
        15 | 16 => {
            let items = json!([
                { "quota": "q", "units": rng.between(1, 4) },
                { "quota": "r", "units": rng.between(1, 4) },
            ]);
            asked("checks.consume", json!({ "items": items }))
        }
        17 => asked("quotas.create", json!({ "id": id, "limit": LIMIT })),
        _ => consume(rng),
    }
}

fn of_rate(rng: &mut Rng) -> Asked {
    let id = rng.pick(&["f", "f", "g"]);
    let key = rng.pick(&["k", "k", "k", "l", "m", "n"]);
    match rng.below(24) {
        0 => policy(id, rng),
        1 => asked("policies.reset", json!({ "id": id, "key": key })),
        2 => asked("policies.read", json!({ "id": id })),
        3 => asked("counters.read", json!({ "policy": id, "key": key })),
        4 => asked("policies.reset_all", json!({ "id": id })),
        5 | 6 => {
            let item = json!({ "policy": id, "key": key, "units": 1 });
            asked("holds.create", json!({ "items": [item], "ttl_ns": 2 * SECOND }))
        }
        7 => asked("holds.capture", json!({ "id": format!("$holds:{}", place(rng)) })),
        8 => asked("holds.void", json!({ "id": format!("$holds:{}", place(rng)) })),
        9 | 10 => {
            let items = json!([
                { "policy": "f", "key": key, "units": 1 },
                { "policy": "g", "key": key, "units": 1 },
            ]);
            asked("checks.consume", json!({ "items": items }))
        }
        11 => asked("charges.refund", json!({ "id": format!("$charges:{}", place(rng)) })),
        _ => {
            let units = units(rng, 3).min(12);
            asked("policies.consume", json!({ "id": id, "key": key, "units": units }))
        }
    }
}

fn of_ticket(rng: &mut Rng) -> Asked {
    let id = format!("$tickets:{}", place(rng));
    let holder = rng.pick(&["c1", "c1", "c1", "c2"]);
    let audience = rng.pick(&["s1", "s1", "s1", "s2"]);
    match rng.below(20) {
        0..=3 => {
            let ttl = rng.pick(&[SECOND, 2 * SECOND, 4 * SECOND, 20 * SECOND]);
            let mut args = json!({
                "holder": "c1", "audience": "s1", "issued_by": "i",
                "max_amount": { "amount": 10, "unit": "cup" }, "ttl_ns": ttl,
            });
            if rng.chance(600) {
                args["approved"] = json!(true);
            }
            match rng.below(8) {
                0 => args["partial"] = json!(false),
                1 => args["one_pending"] = json!(true),
                2 => args["issue_limit"] = json!({ "count": 3, "period_ns": 5 * SECOND }),
                _ => {}
            }
            asked("tickets.create", args)
        }
        4 | 5 => asked("tickets.approve", json!({ "id": id, "holder": holder })),
        6 => asked("tickets.reject", json!({ "id": id, "holder": holder })),
        7 => asked("tickets.cancel", json!({ "id": id, "by": audience })),
        8 => asked("tickets.revoke", json!({ "id": id, "by": "i" })),
        9 => asked("tickets.expire", json!({ "ids": [id] })),
        10 => asked("tickets.read", json!({ "id": id })),
        _ => {
            let mut args = json!({ "id": id, "holder": holder, "audience": audience });
            args["amount"] = json!(*rng.pick(&[10, 10, 10, 4, 11]));
            asked("tickets.redeem", args)
        }
    }
}

fn of_upload(rng: &mut Rng) -> Asked {
    let id = rng.pick(&["u1", "u2", "u3", "u4", "u5"]);
    match rng.below(16) {
        0..=3 => {
            let mut args = json!({ "id": id, "size_limit": 10 });
            if rng.chance(700) {
                args["charge"] = json!([{ "quota": quota(rng), "units": rng.between(1, 4) }]);
            }
            if rng.chance(500) {
                args["delete_hash"] = json!("ab".repeat(32));
            }
            if rng.chance(300) {
                args["max_downloads"] = json!(2);
            }
            if rng.chance(300) {
                args["ttl_ns"] = json!(2 * SECOND);
            }
            asked("uploads.create", args)
        }
        4..=6 => {
            let blob = format!("b{}", rng.below(1_000));
            let sha256 = format!("{:02x}", rng.below(256)).repeat(32);
            let size = rng.between(1, 12);
            let started_at = instant(0);
            let args = json!({
                "id": id, "blob": blob, "size": size, "sha256": sha256, "started_at": started_at,
                "publish_window_ns": 3_600 * SECOND,
            });
            asked("uploads.publish", args)
        }
        7 | 8 => asked("uploads.complete", json!({ "id": id })),
        9 => asked("uploads.abandon", json!({ "id": id })),
        10 => asked("uploads.extend", json!({ "id": id, "ttl_ns": 5 * SECOND })),
        11 => asked("uploads.delete", json!({ "id": id, "secret_hash": "ab".repeat(32) })),
        12 => asked("uploads.read", json!({ "id": id })),
        _ => asked("uploads.download", json!({ "id": id })),
    }
}
