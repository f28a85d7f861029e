//! What clients ask of a bank: accounts, transfers, holds, and tickets that move money.
//!
//! Few accounts with little in them, so that two callers meet at the last of it.

use serde_json::{Value, json};

use super::{asked, place};
use crate::case::{Asked, SECOND};
use crate::rng::Rng;

fn money(amount: u64) -> Value {
    json!({ "amount": amount, "currency": "SAR" })
}

const ACCOUNTS: [&str; 5] = ["a", "b", "c", "c1", "s1"];
/// What each account begins with.
const BEGIN: u64 = 1_000;

/// What a book is given first, as one list: nobody finds half of it.
pub(super) fn first() -> Vec<Asked> {
    let open = |id: &str, class: &str| {
        asked(
            "accounts.create",
            json!({ "id": id, "owner": id, "currency": "SAR", "class": class }),
        )
    };
    let mut all = vec![open("bank", "external")];
    all.extend(ACCOUNTS.iter().map(|id| open(id, "bounded")));
    for id in ACCOUNTS {
        let args = json!({ "id": id, "amount": money(BEGIN), "from": "bank" });
        all.push(asked("accounts.credit", args));
    }
    all
}

/// Amounts at the edges of what an account has.
fn amount(rng: &mut Rng) -> u64 {
    match rng.below(12) {
        0 => BEGIN,
        1 => BEGIN.saturating_add(1),
        2 => 9_007_199_254_740_991,
        3 => 1,
        4..=6 => BEGIN >> 1,
        _ => rng.between(1, 400),
    }
}

fn account(rng: &mut Rng) -> &'static str {
    rng.pick::<&str>(&["a", "a", "a", "b", "b", "c", "c1", "s1", "z", "nobody"])
}

fn line(account: &str, side: &str, amount: u64) -> Value {
    json!({ "account": account, "side": side, "amount": money(amount) })
}

fn transfer(rng: &mut Rng) -> Asked {
    let (one, other) = (amount(rng), rng.between(1, 300));
    let (from, to) = (account(rng), account(rng));
    let lines = match rng.below(8) {
        0 => json!([
            line(from, "debit", one.min(900)),
            line("b", "debit", other),
            line(to, "credit", one.min(900).saturating_add(other)),
        ]),
        1 => json!([line(from, "debit", one), line(to, "credit", other)]),
        2 => json!([line(from, "debit", one), line("sys:cash:SAR", "credit", one)]),
        _ => json!([line(from, "debit", one), line(to, "credit", one)]),
    };
    let mut args = json!({ "lines": lines });
    if rng.chance(200) {
        args["series"] = json!("TXN");
    }
    if rng.chance(200) {
        args["ref"] = json!("rent");
    }
    asked("transfers.create", args)
}

fn held(rng: &mut Rng) -> String {
    format!("$account_holds:{}", place(rng))
}

/// What is asked for next.
pub(super) fn next(rng: &mut Rng) -> Asked {
    let id = account(rng);
    match rng.below(32) {
        0..=3 => transfer(rng),
        4 | 5 => asked(
            "accounts.credit",
            json!({ "id": id, "amount": money(amount(rng)), "from": "bank" }),
        ),
        6 => {
            asked("accounts.debit", json!({ "id": id, "amount": money(amount(rng)), "to": "bank" }))
        }
        7..=10 => {
            let ttl = rng.pick(&[SECOND, 2 * SECOND, 4 * SECOND, 9 * SECOND]);
            let args = json!({ "id": id, "amount": money(amount(rng)), "ttl_ns": ttl });
            asked("accounts.hold", args)
        }
        11..=13 => {
            let args = json!({ "hold": held(rng), "amount": money(amount(rng)), "to": id });
            asked("accounts.capture", args)
        }
        14 => asked("accounts.void_hold", json!({ "hold": held(rng) })),
        15 | 16 => {
            asked("transfers.reverse", json!({ "id": format!("$transfers:{}", place(rng)) }))
        }
        17 => asked("accounts.close", json!({ "id": rng.pick(&["z", "z", "c"]) })),
        18 => {
            let currency = *rng.pick(&["SAR", "SAR", "JPY"]);
            asked("accounts.create", json!({ "id": "z", "owner": "z", "currency": currency }))
        }
        19 => asked("accounts.read", json!({ "id": id })),
        20 => asked("transfers.read", json!({ "id": format!("$transfers:{}", place(rng)) })),
        _ => ticket(rng),
    }
}

fn ticket(rng: &mut Rng) -> Asked {
    let id = format!("$tickets:{}", place(rng));
    match rng.below(12) {
        0..=3 => {
            let ttl = rng.pick(&[SECOND, 2 * SECOND, 4 * SECOND, 20 * SECOND]);
            let mut args = json!({
                "holder": "c1", "audience": "s1", "issued_by": "i", "ttl_ns": ttl,
                "max_amount": money(*rng.pick(&[100, 400, 700, 1_500])),
                "debit_account": "c1", "credit_account": "s1",
            });
            if rng.chance(600) {
                args["approved"] = json!(true);
            }
            match rng.below(8) {
                0 => args["partial"] = json!(false),
                1 => args["require_funds"] = json!(true),
                2 => args["debit_account"] = json!("a"),
                3 => args["credit_account"] = json!("z"),
                _ => {}
            }
            asked("tickets.create", args)
        }
        4 | 5 => asked("tickets.approve", json!({ "id": id, "holder": "c1" })),
        6 => asked("tickets.cancel", json!({ "id": id, "by": "s1" })),
        7 => asked("tickets.revoke", json!({ "id": id, "by": "i" })),
        8 => asked("tickets.expire", json!({ "ids": [id] })),
        _ => {
            let amount = money(*rng.pick(&[100, 400, 50, 1_500]));
            let args = json!({ "id": id, "holder": "c1", "audience": "s1", "amount": amount });
            asked("tickets.redeem", args)
        }
    }
}
