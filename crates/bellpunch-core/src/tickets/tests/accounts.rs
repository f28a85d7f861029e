//! Tickets that move money.

use serde_json::{Value, json};

use super::{approve, book, expire, lay_over, read, redeem, revoke, ticket, time};
use crate::trial::{World, at};

const LARGEST: u64 = 9_007_199_254_740_991;

fn rcn(amount: u64) -> Value {
    json!({"amount": amount, "currency": "RCN"})
}

/// `c1` with 1500 and `s1` with nothing, each its owner's; `m1` is the issuer's.
fn shop() -> World {
    let mut world = book();
    open(&mut world, "bank", json!({"class": "external"}));
    for id in ["c1", "s1", "m"] {
        open(&mut world, id, json!({}));
    }
    credit(&mut world, "c1", 1_500);
    world
}

fn open(world: &mut World, id: &str, over: Value) {
    let mut content = json!({"id": id, "owner": id, "currency": "RCN"});
    lay_over(&mut content, over);
    world.send(0, ("accounts.create", content)).ok();
}

fn credit(world: &mut World, id: &str, amount: u64) {
    let content = json!({"id": id, "amount": rcn(amount), "from": "bank"});
    world.send(0, ("accounts.credit", content)).ok();
}

fn close(world: &mut World, id: &str) {
    world.send(0, ("accounts.close", json!({"id": id}))).ok();
}

fn paying(over: Value) -> (&'static str, Value) {
    let mut call = ticket(json!({"debit_account": "c1", "credit_account": "s1"}));
    lay_over(&mut call.1, over);
    call
}

fn issue(world: &mut World, over: Value) -> String {
    world.send(0, paying(over)).ok()["ticket"]["id"].as_str().unwrap().to_owned()
}

/// `posted` and `held`.
fn sums(world: &mut World, millis: i64, id: &str) -> (i64, u64) {
    let answer = world.send(millis, ("accounts.read", json!({"id": id})));
    let account = &answer.ok()["account"];
    (account["posted"].as_i64().unwrap(), account["held"].as_u64().unwrap())
}

#[test]
fn each_change_tells_the_accounts_that_it_changed() {
    let mut world = shop();
    let answer = world.send(0, paying(json!({})));
    let reply = answer.ok();
    assert_eq!((&reply["accounts"], &reply["postings"]), (&json!([]), &json!([])));
    let view = &reply["ticket"];
    assert_eq!((&view["debit_account"], &view["credit_account"]), (&json!("c1"), &json!("s1")));
    assert!(view.get("hold").is_none(), "a pending ticket holds nothing");
    let t = view["id"].as_str().unwrap().to_owned();
    let answer = world.send(5, approve(&t));
    let reply = answer.ok();
    assert_eq!(reply["accounts"][0]["held"], 1_000);
    assert_eq!(answer.deadline(), Some(at(300_000)));
    let hold = reply["ticket"]["hold"].clone();
    let held = world.send(5, ("account_holds.read", json!({"id": hold})));
    let view = &held.ok()["hold"];
    assert_eq!((&view["by"], &view["expires_at"]), (&json!({"ticket": t}), &json!(time(300_000))));
    for (name, content) in [
        ("accounts.void_hold", json!({"hold": hold})),
        ("accounts.capture", json!({"hold": hold, "amount": rcn(1), "to": "s1"})),
    ] {
        assert_eq!(world.send(5, (name, content)).no("reserved_hold")["ticket"], t);
    }
    let answer = world.send(9, redeem(&t, json!({"amount": rcn(400)})));
    let reply = answer.ok();
    let told: Vec<&Value> = reply["accounts"].as_array().unwrap().iter().collect();
    assert_eq!((&told[0]["posted"], &told[0]["held"]), (&json!(1_100), &json!(0)));
    assert_eq!((&told[1]["id"], &told[1]["posted"]), (&json!("s1"), &json!(400)));
    assert_eq!(reply["transfer"]["command"], "tickets.redeem");
    assert_eq!(reply["transfer"]["ref"], t);
    assert_eq!(reply["postings"].as_array().unwrap().len(), 2);
    assert_eq!(reply["events"], json!([]));
    let held = world.send(9, ("account_holds.read", json!({"id": hold})));
    assert_eq!(held.ok()["hold"]["status"], "captured");
    // Money goes back by a transfer; the ticket stays used, and its own once is over.
    let id = &reply["transfer"]["id"];
    world.send(9, ("transfers.reverse", json!({"id": id}))).ok();
    assert_eq!((sums(&mut world, 9, "c1"), sums(&mut world, 9, "s1")), ((1_500, 0), (0, 0)));
    assert_eq!(read(&mut world, 9, &t)["status"], "used");
    world.send(9, ("transfers.reverse", json!({"id": id}))).no("already_reversed");
}

#[test]
fn issuing_with_accounts_refuses_in_order() {
    let mut world = shop();
    open(&mut world, "gone", json!({"owner": "c1"}));
    close(&mut world, "gone");
    open(&mut world, "sar", json!({"owner": "s1", "currency": "SAR"}));
    let limit = json!({"count": 1, "period_ns": 1});
    world.send(0, ticket(json!({}))).ok();
    for (over, code, field, value) in [
        (json!({"debit_account": "x", "credit_account": "c1"}), "account_not_found", "id", "x"),
        (json!({"debit_account": "s1", "credit_account": "x"}), "account_not_found", "id", "x"),
        (
            json!({"debit_account": "s1", "credit_account": "c1"}),
            "account_owner_mismatch",
            "account",
            "s1",
        ),
        (
            json!({"debit_account": "gone", "credit_account": "m"}),
            "account_owner_mismatch",
            "account",
            "m",
        ),
        (
            json!({"debit_account": "gone", "one_pending": true}),
            "account_closed",
            "account",
            "gone",
        ),
    ] {
        assert_eq!(world.send(0, paying(over.clone())).no(code)[field], value, "{over}");
    }
    for (over, code) in [
        (json!({"one_pending": true, "ttl_ns": u64::MAX}), "already_pending"),
        (json!({"ttl_ns": u64::MAX, "max_amount": {"amount": 9, "unit": "use"}}), "ttl_too_long"),
        (
            json!({"max_amount": {"amount": 9_999, "unit": "use"}, "require_funds": true}),
            "currency_mismatch",
        ),
        (json!({"credit_account": "sar", "max_amount": rcn(9_999)}), "currency_mismatch"),
        (
            json!({"max_amount": rcn(1_501), "require_funds": true, "issue_limit": limit}),
            "insufficient_funds",
        ),
        (
            json!({"max_amount": rcn(1_501), "approved": true, "issue_limit": limit}),
            "insufficient_funds",
        ),
        (
            json!({"debit_account": "bank", "issued_by": "bank", "approved": true,
                "issue_limit": limit}),
            "issue_limit_exceeded",
        ),
        (json!({"debit_account": "bank", "issued_by": "bank", "approved": true}), "too_many_holds"),
    ] {
        let answer = world.send(0, paying(over.clone()));
        assert_eq!(answer.code(), code, "{over}");
    }
    // Asked for no funds, none are tested; asked for them, none are set aside.
    issue(&mut world, json!({"max_amount": rcn(1_501)}));
    issue(&mut world, json!({"max_amount": rcn(1_500), "require_funds": true}));
    assert_eq!(sums(&mut world, 0, "c1"), (1_500, 0));
}

#[test]
fn an_issuer_may_pay_and_nobody_else() {
    let mut world = shop();
    credit(&mut world, "m", 1_000);
    open(&mut world, "c2", json!({}));
    let answer = world.send(0, paying(json!({"debit_account": "c2"})));
    assert_eq!(answer.no("account_owner_mismatch")["account"], "c2");
    let t = issue(&mut world, json!({"debit_account": "m", "approved": true}));
    assert_eq!(sums(&mut world, 0, "m"), (1_000, 1_000));
    world.send(0, redeem(&t, json!({}))).ok();
    assert_eq!((sums(&mut world, 0, "m"), sums(&mut world, 0, "s1")), ((0, 0), (1_000, 0)));
}

#[test]
fn approving_refuses_in_order_and_burns_nothing() {
    let mut world = shop();
    let t = issue(&mut world, json!({"max_amount": rcn(1_501)}));
    close(&mut world, "s1");
    assert_eq!(world.send(0, approve(&t)).no("account_closed")["account"], "s1");
    let mut world = shop();
    let t = issue(&mut world, json!({"max_amount": rcn(1_501)}));
    let answer = world.send(0, approve(&t));
    let data = answer.no("insufficient_funds");
    assert_eq!((&data["available"], &data["required"]), (&json!(1_500), &json!(1_501)));
    assert_eq!(read(&mut world, 0, &t)["status"], "pending");
    credit(&mut world, "c1", 1_100);
    for _ in 0..1_024 {
        let content = json!({"id": "c1", "amount": rcn(1), "ttl_ns": 300_000_000});
        world.send(0, ("accounts.hold", content)).ok();
    }
    assert_eq!(world.send(0, approve(&t)).no("too_many_holds")["max"], 1_024);
    world.send(300, approve(&t)).ok();
    let bank = issue(&mut world, json!({"debit_account": "bank", "issued_by": "bank"}));
    assert_eq!(world.send(0, approve(&bank)).no("too_many_holds")["max"], 0);
}

#[test]
fn redeeming_refuses_when_the_paid_account_is_full_and_burns_nothing() {
    let mut world = shop();
    open(&mut world, "mint", json!({"class": "external"}));
    let t = issue(&mut world, json!({"approved": true}));
    let content = json!({"id": "s1", "amount": rcn(LARGEST), "from": "mint"});
    world.send(0, ("accounts.credit", content)).ok();
    world.send(0, redeem(&t, json!({"amount": rcn(1_001)}))).no("amount_exceeds_ticket");
    world.send(0, redeem(&t, json!({}))).no("amount_overflow");
    assert_eq!(read(&mut world, 0, &t)["status"], "approved");
    assert_eq!(sums(&mut world, 0, "c1"), (1_500, 1_000));
}

#[test]
fn what_is_set_aside_comes_back_by_revoking_and_by_time() {
    let mut world = shop();
    let t = issue(&mut world, json!({"approved": true}));
    let answer = world.send(0, revoke(&t));
    assert_eq!(answer.ok()["accounts"][0]["held"], 0);
    assert_eq!(answer.deadline(), Some(at(300_000)));
    let t = issue(&mut world, json!({"approved": true}));
    assert_eq!(sums(&mut world, 299_999, "c1"), (1_500, 1_000));
    assert_eq!(sums(&mut world, 300_000, "c1"), (1_500, 0));
    world.send(300_000, expire(&[&t])).ok();
    assert_eq!(sums(&mut world, 300_000, "c1"), (1_500, 0));
    // One that holds nothing gives nothing back.
    let t = issue(&mut world, json!({}));
    let answer = world.send(0, revoke(&t));
    assert_eq!(answer.ok()["accounts"], json!([]));
}

#[test]
fn a_ticket_without_accounts_tells_of_none() {
    let mut world = shop();
    let answer = world.send(0, ticket(json!({"approved": true})));
    for name in ["accounts", "postings", "events", "transfer"] {
        assert!(answer.ok().get(name).is_none(), "{name}");
    }
}
