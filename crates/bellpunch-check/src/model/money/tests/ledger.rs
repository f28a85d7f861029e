//! Accounts, transfers and holds.

use super::*;

fn bank() -> Desk {
    let mut desk = Desk::empty();
    for (id, class) in [("bank", "external"), ("A", "bounded"), ("B", "bounded")] {
        let args = json!({ "id": id, "owner": id, "currency": "SAR", "class": class });
        desk.ok("accounts.create", args);
    }
    desk
}

fn credit(desk: &mut Desk, id: &str, amount: i64) -> Value {
    let mut args = of(id, amount);
    args["from"] = json!("bank");
    desk.ok("accounts.credit", args)
}

fn hold(amount: i64, ttl_ms: u64) -> Value {
    json!({ "id": "A", "amount": sar(amount), "ttl_ns": ttl_ms * 1_000_000 })
}

#[test]
fn m62_a_balance_has_a_largest() {
    let mut desk = bank();
    credit(&mut desk, "A", 9_007_199_254_740_990);
    let mut args = of("A", 2);
    args["from"] = json!("bank");
    desk.no("accounts.credit", args, "amount_overflow");
}

#[test]
fn m63_held_money_is_not_available() {
    let mut desk = bank();
    credit(&mut desk, "A", 10_000);
    let held = desk.ok("accounts.hold", hold(6_000, 60_000));
    assert_eq!(
        (&held["account"]["held"], &held["account"]["available"]),
        (&json!(6000), &json!(4000))
    );
    let name = held["hold"]["id"].clone();
    let refused = desk.no("accounts.hold", hold(6_000, 60_000), "insufficient_funds");
    assert_eq!(refused["available"], json!(4000));
    let captured =
        desk.ok("accounts.capture", json!({ "hold": name, "amount": sar(4000), "to": "B" }));
    let (a, b) = (&captured["accounts"][0], &captured["accounts"][1]);
    assert_eq!((&a["posted"], &a["held"]), (&json!(6000), &json!(0)));
    assert_eq!(b["posted"], 4000);
    desk.no("accounts.void_hold", json!({ "hold": name }), "hold_captured");
}

#[test]
fn m63_a_hold_ends_at_its_time() {
    let mut desk = bank();
    credit(&mut desk, "A", 6_000);
    let name = desk.ok("accounts.hold", hold(6_000, 1_000))["hold"]["id"].clone();
    desk.at += 1_000 * MILLI;
    desk.ok("accounts.hold", hold(6_000, 1_000));
    let late = json!({ "hold": name, "amount": sar(1), "to": "B" });
    desk.no("accounts.capture", late, "hold_expired");
    desk.no("accounts.close", json!({ "id": "A" }), "account_not_empty");
}

#[test]
fn m64_a_transfer_balances_and_is_reversed_once() {
    let mut desk = bank();
    credit(&mut desk, "A", 5);
    let line = |account: &str, side: &str, amount| json!({ "account": account, "side": side, "amount": sar(amount) });
    let of = |one, other| json!({ "lines": [one, other] });
    desk.no("transfers.create", of(line("A", "debit", 5), line("B", "credit", 4)), "unbalanced");
    let cash = of(line("A", "debit", 5), line("sys:cash", "credit", 5));
    desk.no("transfers.create", cash, "reserved_account");
    let missing = of(line("A", "debit", 5), line("Z", "credit", 5));
    desk.no("transfers.create", missing, "account_not_found");
    let done = desk.ok("transfers.create", of(line("A", "debit", 5), line("B", "credit", 5)));
    let id = json!({ "id": done["transfer"]["id"] });
    desk.ok("transfers.reverse", id.clone());
    desk.no("transfers.reverse", id, "already_reversed");
    assert_eq!(desk.read("account", "A")["posted"], 5);
}

#[test]
fn a_closed_account_moves_nothing() {
    let mut desk = bank();
    desk.ok("accounts.close", json!({ "id": "B" }));
    desk.no("accounts.close", json!({ "id": "B" }), "account_closed");
    credit(&mut desk, "A", 5);
    let args = json!({ "id": "A", "amount": sar(1), "to": "B" });
    desk.no("accounts.debit", args, "account_closed");
    let other = json!({ "id": "A", "amount": { "amount": 1, "currency": "USD" }, "to": "bank" });
    let told = desk.no("accounts.debit", other, "currency_mismatch");
    assert_eq!(told, json!({ "expected": "SAR", "got": "USD" }));
}
