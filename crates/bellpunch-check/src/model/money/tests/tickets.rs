//! Tickets that move money.

use super::*;

fn rcn(amount: i64) -> Value {
    json!({ "amount": amount, "currency": "RCN" })
}

fn given() -> Desk {
    let mut desk = Desk::empty();
    desk.at = 0;
    desk.ok("currencies.define", json!({ "code": "RCN", "scale": 2 }));
    for id in ["bank", "c1", "c2", "s1", "s2", "m"] {
        let class = if id == "bank" { "external" } else { "bounded" };
        let args = json!({ "id": id, "owner": id, "currency": "RCN", "class": class });
        desk.ok("accounts.create", args);
    }
    for (id, amount) in [("c1", 10_000), ("c2", 10_000), ("m", 1_000)] {
        let args = json!({ "id": id, "amount": rcn(amount), "from": "bank" });
        desk.ok("accounts.credit", args);
    }
    desk
}

fn issue(more: Value) -> Value {
    let mut args = json!({
        "holder": "c1", "audience": "s1", "issued_by": "i", "max_amount": rcn(1_000),
        "ttl_ns": 300_000_000_000_u64, "debit_account": "c1", "credit_account": "s1",
    });
    extend(&mut args, more);
    args
}

fn issued(desk: &mut Desk, more: Value) -> Value {
    desk.ok("tickets.create", issue(more))["ticket"]["id"].clone()
}

fn redeem(id: &Value, amount: i64) -> Value {
    json!({ "id": id, "holder": "c1", "audience": "s1", "amount": rcn(amount) })
}

fn posted(desk: &mut Desk, id: &str) -> (Value, Value) {
    let account = desk.read("account", id);
    (account["posted"].clone(), account["held"].clone())
}

#[test]
fn t01_a_redeem_moves_what_was_held() {
    let mut desk = given();
    let id = issued(&mut desk, json!({}));
    desk.at = 1_000 * MILLI;
    desk.ok("tickets.approve", json!({ "id": id, "holder": "c1" }));
    assert_eq!(posted(&mut desk, "c1"), (json!(10_000), json!(1_000)));
    desk.at = 2_000 * MILLI;
    desk.ok("tickets.redeem", redeem(&id, 1_000));
    assert_eq!(posted(&mut desk, "c1"), (json!(9_000), json!(0)));
    assert_eq!(posted(&mut desk, "s1"), (json!(1_000), json!(0)));
    desk.no("tickets.redeem", redeem(&id, 1_000), "already_redeemed");
}

#[test]
fn t07_two_approvals_do_not_share_a_balance() {
    let mut desk = given();
    let more = json!({ "max_amount": rcn(10_000) });
    let (one, other) = (issued(&mut desk, more.clone()), issued(&mut desk, more));
    desk.ok("tickets.approve", json!({ "id": one, "holder": "c1" }));
    let refused =
        desk.no("tickets.approve", json!({ "id": other, "holder": "c1" }), "insufficient_funds");
    assert_eq!((&refused["available"], &refused["required"]), (&json!(0), &json!(10_000)));
}

#[test]
fn t11_t12_the_rest_and_what_expired_is_free() {
    let mut desk = given();
    let approved = json!({ "approved": true });
    let id = issued(&mut desk, approved.clone());
    desk.ok("tickets.redeem", redeem(&id, 400));
    assert_eq!(posted(&mut desk, "c1"), (json!(9_600), json!(0)));
    let whole = json!({ "approved": true, "max_amount": rcn(9_600) });
    issued(&mut desk, whole);
    assert_eq!(posted(&mut desk, "c1"), (json!(9_600), json!(9_600)));
    desk.at = 300_000 * MILLI;
    assert_eq!(posted(&mut desk, "c1"), (json!(9_600), json!(0)));
}

#[test]
fn t22_t23_closed_accounts_and_revoking() {
    let mut desk = given();
    let id = issued(&mut desk, json!({ "approved": true }));
    desk.ok("accounts.close", json!({ "id": "s1" }));
    let refused = desk.no("tickets.redeem", redeem(&id, 1_000), "account_closed");
    assert_eq!(refused["account"], "s1");
    desk.no("tickets.revoke", json!({ "id": id, "by": "s2" }), "not_allowed");
    desk.ok("tickets.revoke", json!({ "id": id, "by": "s1" }));
    assert_eq!(posted(&mut desk, "c1"), (json!(10_000), json!(0)));
}

#[test]
fn t25_an_account_is_its_owners() {
    let mut desk = given();
    let refused = desk.no(
        "tickets.create",
        issue(json!({ "debit_account": "c2" })),
        "account_owner_mismatch",
    );
    assert_eq!(refused["account"], "c2");
    desk.no("tickets.create", issue(json!({ "credit_account": "z" })), "account_not_found");
    let more = json!({ "debit_account": "m", "issued_by": "m", "approved": true });
    issued(&mut desk, more);
    assert_eq!(posted(&mut desk, "m"), (json!(1_000), json!(1_000)));
}
