//! The scripts of the domain, on the rules alone. What moves accounts is in a file of its own.

mod accounts;

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Metadata, sweep};
use crate::trial::{Answer, Call, World, at, count};
use crate::{Key, RecordId};

const MINUTE_MS: u64 = 60_000;
const TTL_NS: u64 = 5 * MINUTE_MS * 1_000_000;

/// A book with the currency RCN.
fn book() -> World {
    let mut world = World::default();
    world.send(0, ("currencies.define", json!({"code": "RCN", "scale": 2}))).ok();
    world
}

fn rcn(amount: u64) -> Value {
    json!({"amount": amount, "currency": "RCN"})
}

/// Holder c1, audience s1, 1000 RCN, five minutes; and what is laid over that.
fn ticket(over: Value) -> Call<'static> {
    let mut content = json!({
        "holder": "c1", "audience": "s1", "max_amount": rcn(1000), "ttl_ns": TTL_NS,
        "issued_by": "m",
    });
    lay_over(&mut content, over);
    ("tickets.create", content)
}

fn lay_over(content: &mut Value, over: Value) {
    let Value::Object(over) = over else { panic!("an object") };
    for (name, value) in over {
        if value.is_null() {
            content.as_object_mut().unwrap().remove(&name);
        } else {
            content[name] = value;
        }
    }
}

/// Issues a ticket; gives its id.
fn issue(world: &mut World, millis: i64, over: Value) -> String {
    world.send(millis, ticket(over)).ok()["ticket"]["id"].as_str().unwrap().to_owned()
}

/// Issues one that is approved at once.
fn approved(world: &mut World, millis: i64) -> String {
    issue(world, millis, json!({"approved": true}))
}

fn redeem(id: &str, over: Value) -> Call<'static> {
    let mut content = json!({"id": id, "audience": "s1", "holder": "c1", "amount": rcn(1000)});
    lay_over(&mut content, over);
    ("tickets.redeem", content)
}

fn approve(id: &str) -> Call<'static> {
    ("tickets.approve", json!({"id": id, "holder": "c1"}))
}

fn reject(id: &str) -> Call<'static> {
    ("tickets.reject", json!({"id": id, "holder": "c1"}))
}

fn cancel(id: &str) -> Call<'static> {
    ("tickets.cancel", json!({"id": id, "by": "s1"}))
}

fn revoke(id: &str) -> Call<'static> {
    ("tickets.revoke", json!({"id": id, "by": "s1"}))
}

fn expire(ids: &[&str]) -> Call<'static> {
    ("tickets.expire", json!({"ids": ids}))
}

fn read(world: &mut World, millis: i64, id: &str) -> Value {
    world.send(millis, ("tickets.read", json!({"id": id}))).ok()["ticket"].clone()
}

fn time(millis: i64) -> String {
    at(millis).to_string()
}

fn counts(answers: &[Answer]) -> String {
    let counts = count(answers);
    let words: Vec<String> = counts.iter().map(|(code, n)| format!("{n} {code}")).collect();
    words.join(", ")
}

#[test]
fn t01_issued_approved_and_redeemed() {
    let mut world = book();
    let t = issue(&mut world, 0, json!({}));
    assert_eq!(read(&mut world, 0, &t)["status"], "pending");
    let answer = world.send(1_000, approve(&t));
    assert_eq!(answer.ok()["ticket"]["approved_at"], time(1_000));
    assert_eq!(answer.ok()["ticket"]["expires_at"], time(300_000), "approving extends nothing");
    let answer = world.send(2_000, redeem(&t, json!({})));
    let view = &answer.ok()["ticket"];
    assert_eq!(view["status"], "used");
    assert_eq!((&view["used_at"], &view["used_by"]), (&json!(time(2_000)), &json!("s1")));
    assert_eq!((&view["amount_used"], &view["version"]), (&rcn(1000), &json!(3)));
    assert!(view.get("secret_hash").is_none() && view.get("closed_at").is_none());
}

#[test]
fn t02_used_once() {
    let mut world = book();
    let t = approved(&mut world, 0);
    let answers = world.all(0, &vec![redeem(&t, json!({})); 100]);
    assert_eq!(counts(&answers), "99 already_redeemed, 1 ok");
    for answer in &answers[1..] {
        let data = answer.no("already_redeemed");
        assert_eq!((&data["used_by"], &data["amount_used"]), (&json!("s1"), &rcn(1000)));
        assert_eq!((&data["used_at"], &data["version"]), (&json!(time(0)), &json!(2)));
    }
}

#[test]
fn t03_each_change_states_the_expiry_as_its_deadline() {
    for (over, call) in [
        (json!({"approved": true}), redeem as fn(&str, Value) -> Call<'static>),
        (json!({"approved": true}), |id, _| revoke(id)),
        (json!({}), |id, _| revoke(id)),
        (json!({}), |id, _| approve(id)),
        (json!({}), |id, _| reject(id)),
        (json!({}), |id, _| cancel(id)),
    ] {
        let mut world = book();
        let t = issue(&mut world, 0, over);
        let call = call(&t, json!({}));
        // What would happen is decided in the same way, and reserves nothing.
        assert_eq!(world.dry(299_999, call.clone()).code(), "ok");
        assert_eq!(read(&mut world, 299_999, &t)["version"], 1);
        let answer = world.send(299_999, call.clone());
        assert_eq!(answer.deadline(), Some(at(300_000)), "{call:?}");
        // The commit came too late: decided again at the deadline, it is refused.
        let mut world = book();
        let t = issue(&mut world, 0, json!({"approved": call.0 == "tickets.redeem"}));
        let mut call = call;
        call.1["id"] = json!(t);
        let answer = world.send(300_000, call);
        assert_eq!(answer.no("ticket_expired")["expires_at"], time(300_000));
    }
}

#[test]
fn t04_expires_at_its_instant() {
    let mut world = book();
    let (t, u) = (approved(&mut world, 0), approved(&mut world, 0));
    let answer = world.send(299_999, redeem(&t, json!({})));
    assert_eq!(answer.ok()["ticket"]["used_at"], time(299_999));
    let answer = world.send(300_000, redeem(&u, json!({})));
    assert_eq!(answer.no("ticket_expired")["expires_at"], time(300_000));
}

#[test]
fn t06_approve_and_cancel_exclude_each_other() {
    for (first, second, code) in
        [(true, false, "already_approved"), (false, true, "ticket_cancelled")]
    {
        let mut world = book();
        let t = issue(&mut world, 0, json!({}));
        let call = |approves: bool| if approves { approve(&t) } else { cancel(&t) };
        let answers = world.all(0, &[call(first), call(second)]);
        assert_eq!((answers[0].code(), answers[1].code()), ("ok", code));
    }
}

#[test]
fn t08_a_refusal_burns_nothing() {
    let mut world = book();
    let t = approved(&mut world, 0);
    world.send(0, redeem(&t, json!({"holder": "c2"}))).no("wrong_holder");
    world.send(0, redeem(&t, json!({"holder": null}))).no("wrong_holder");
    world.send(0, redeem(&t, json!({"audience": "s2"}))).no("wrong_audience");
    world.send(0, redeem(&t, json!({}))).ok();
}

#[test]
fn t09_the_order_of_refusals() {
    let mut world = book();
    let t = issue(&mut world, 0, json!({}));
    let all_wrong = json!({"audience": "s2", "holder": "c2", "amount": rcn(9999)});
    world.send(0, redeem("nowhere", json!({}))).no("ticket_not_found");
    world.send(0, redeem(&t, all_wrong)).no("wrong_audience");
    let too_much = json!({"amount": rcn(9999)});
    let answer = world.send(0, redeem(&t, too_much.clone()));
    assert_eq!(answer.no("ticket_not_approved")["status"], "pending");
    world.send(300_000, redeem(&t, too_much)).no("ticket_expired");
    world.send(300_000, redeem(&t, json!({"holder": "c2"}))).no("wrong_holder");
    world.send(300_000, redeem(&t, json!({"if_version": 7}))).no("version_mismatch");
}

#[test]
fn t10_amounts_are_refused_not_bent() {
    let mut world = book();
    let t = approved(&mut world, 0);
    for (amount, reason) in [
        (json!(0), "zero"),
        (json!(-5), "negative"),
        (json!(10.5), "not_an_integer"),
        (json!("10"), "not_an_integer"),
        (json!(1_u64 << 53), "too_large"),
    ] {
        let money = json!({"amount": {"amount": amount, "currency": "RCN"}});
        let answer = world.send(0, redeem(&t, money));
        let data = answer.no("invalid_amount");
        assert_eq!((&data["field"], &data["reason"]), (&json!("amount.amount"), &json!(reason)));
        let answer = world.send(0, redeem(&t, json!({"amount": amount})));
        let data = answer.no("invalid_amount");
        assert_eq!((&data["field"], &data["reason"]), (&json!("amount"), &json!(reason)));
    }
    let answer = world.send(0, redeem(&t, json!({"amount": rcn(1001)})));
    assert_eq!(answer.no("amount_exceeds_ticket")["max_amount"], rcn(1000));
    for (amount, got) in [
        (json!({"amount": 1000, "currency": "SAR"}), "SAR"),
        (json!({"amount": 1001, "unit": "use"}), "use"),
        (json!(1), "units"),
        (Value::Null, "units"),
    ] {
        let answer = world.send(0, redeem(&t, json!({"amount": amount})));
        let data = answer.no("currency_mismatch");
        assert_eq!((&data["expected"], &data["got"]), (&json!("RCN"), &json!(got)));
    }
    let unknown = json!({"amount": {"amount": 1, "currency": "RCX"}});
    assert_eq!(world.send(0, redeem(&t, unknown)).no("unknown_currency")["currency"], "RCX");
    let both = json!({"amount": {"amount": 1, "currency": "RCN", "unit": "use"}});
    world.send(0, redeem(&t, both)).no("invalid_request");
    assert_eq!(read(&mut world, 0, &t)["status"], "approved");
}

#[test]
fn t11_a_part_uses_it_up() {
    let mut world = book();
    let t = approved(&mut world, 0);
    let answer = world.send(0, redeem(&t, json!({"amount": rcn(400)})));
    assert_eq!(answer.ok()["ticket"]["amount_used"], rcn(400));
    let answer = world.send(0, redeem(&t, json!({"amount": rcn(600)})));
    assert_eq!(answer.no("already_redeemed")["amount_used"], rcn(400));
}

#[test]
fn t12_expired_by_time_and_written_down_later() {
    let mut world = book();
    let t = approved(&mut world, 0);
    let v = approved(&mut world, 1);
    assert_eq!(read(&mut world, 299_999, &t)["status"], "approved");
    let derived = read(&mut world, 300_000, &t);
    assert_eq!(derived["status"], "expired");
    let answer = world.send(300_000, expire(&[&t, &v, &t, "nowhere"]));
    assert_eq!(answer.ok()["expired"], json!([t]));
    let skipped = json!([{"id": v, "status": "approved"}, {"id": "nowhere"}]);
    assert_eq!(answer.ok()["skipped"], skipped);
    // Swept or not, it reads the same, its version apart.
    let mut stored = read(&mut world, 300_000, &t);
    assert_eq!(stored["version"], 2);
    stored["version"] = json!(1);
    assert_eq!(stored, derived);
    world.send(300_000, expire(&[])).no("invalid_request");
    world.send(300_000, expire(&["x"; 101])).no("invalid_request");
}

#[test]
fn t13_a_replay_is_told_from_a_second_use() {
    let mut world = book();
    let t = approved(&mut world, 0);
    let first = world.keyed("k", 0, redeem(&t, json!({})));
    let again = world.keyed("k", 5, redeem(&t, json!({})));
    assert!(!first.replayed() && again.replayed());
    assert_eq!(first.ok(), again.ok());
    world.keyed("k", 5, redeem(&t, json!({"amount": rcn(999)}))).no("idempotency_key_reused");
    let answer = world.keyed("k2", 5, redeem(&t, json!({})));
    assert_eq!(answer.no("already_redeemed")["version"], first.ok()["ticket"]["version"]);
}

#[test]
fn t14_one_pending() {
    let mut world = book();
    let one = || json!({"one_pending": true});
    let answers = world.all(0, &vec![ticket(one()); 50]);
    assert_eq!(counts(&answers), "49 already_pending, 1 ok");
    let t = answers[0].ok()["ticket"]["id"].as_str().unwrap().to_owned();
    let data = answers[1].no("already_pending");
    assert_eq!((&data["ticket"], &data["expires_at"]), (&json!(t), &json!(time(300_000))));
    // Another audience is another pair.
    issue(&mut world, 0, json!({"one_pending": true, "audience": "s2"}));
    world.send(0, approve(&t)).ok();
    let second = issue(&mut world, 0, one());
    world.send(1, ticket(one())).no("already_pending");
    for answer in [reject, cancel, revoke] {
        let pending = read(&mut world, 1, &second)["status"] == "pending";
        let id = if pending { second.clone() } else { issue(&mut world, 1, one()) };
        world.send(1, answer(&id)).ok();
    }
    issue(&mut world, 1, one());
    world.send(300_000, ticket(one())).no("already_pending");
    issue(&mut world, 300_001, one());
}

#[test]
fn t15_an_issue_limit_counts_every_issue() {
    let mut world = book();
    let five = || {
        let limit = json!({"count": 5, "period_ns": TTL_NS});
        ticket(json!({"issue_limit": limit, "ttl_ns": 1, "approved": true}))
    };
    let answers = world.all(0, &vec![five(); 6]);
    assert_eq!(counts(&answers), "1 issue_limit_exceeded, 5 ok");
    let data = answers[5].no("issue_limit_exceeded");
    assert_eq!(data["retry_at"], time(300_000));
    assert_eq!(data["retry_after_ns"], TTL_NS);
    let answer = world.send(299_999, five());
    assert_eq!(answer.no("issue_limit_exceeded")["retry_after_ns"], 1_000_000);
    world.send(300_000, five()).ok();
    // One without a limit counts for the next one that has it, and a shorter period cuts nothing.
    for _ in 0..3 {
        issue(&mut world, 300_000, json!({}));
    }
    let short = json!({"issue_limit": {"count": 1, "period_ns": 1}});
    issue(&mut world, 300_001, short);
    world.send(599_999, five()).no("issue_limit_exceeded");
    for (count, period_ns) in [(0, 1), (101, 1), (1, u64::MAX)] {
        let limit = json!({"issue_limit": {"count": count, "period_ns": period_ns}});
        world.send(600_000, ticket(limit)).no("invalid_request");
    }
}

#[test]
fn t16_one_terminal_status() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut world = book();
        let t = issue(&mut world, 0, json!({}));
        let call = [approve(&t), reject(&t), revoke(&t)];
        let answers: Vec<Answer> =
            order.iter().map(|&which| world.send(0, call[which].clone())).collect();
        let codes: Vec<&str> = answers.iter().map(Answer::code).collect();
        let (expected, status) = match order {
            [0, 1, 2] => (["ok", "already_approved", "ok"], "cancelled"),
            [0, 2, 1] => (["ok", "ok", "ticket_cancelled"], "cancelled"),
            [1, _, _] => (["ok", "ticket_rejected", "ticket_rejected"], "rejected"),
            _ => (["ok", "ticket_cancelled", "ticket_cancelled"], "cancelled"),
        };
        assert_eq!(codes, expected, "{order:?}");
        let view = read(&mut world, 0, &t);
        assert_eq!(view["status"], status);
        assert_eq!(view["closed_at"], time(0));
    }
}

#[test]
fn t17_nothing_leaves_used() {
    let mut world = book();
    let t = approved(&mut world, 0);
    world.send(0, redeem(&t, json!({}))).ok();
    for call in [approve(&t), reject(&t), revoke(&t), cancel(&t)] {
        world.send(0, call).no("already_redeemed");
    }
    world.send(300_000, expire(&[&t])).no("nothing_to_expire");
    world.send(300_000, redeem(&t, json!({}))).no("already_redeemed");
}

#[test]
fn t20_a_bearer_ticket_is_its_secret() {
    let (right, wrong) = ("ab".repeat(32), "cd".repeat(32));
    let bearer = json!({
        "holder": null, "approved": true, "make_secret": true, "made_secret_hash": right,
    });
    let mut world = book();
    let issued = world.keyed("w", 0, ticket(bearer.clone()));
    assert_eq!(issued.ok()["secret_withheld"], true);
    assert!(!issued.ok().to_string().contains(&right), "a hash is never told");
    let mut again = bearer;
    again["made_secret_hash"] = json!(wrong);
    let replay = world.keyed("w", 1, ticket(again));
    assert!(replay.replayed(), "the door's secret is not in the fingerprint");
    assert_eq!(replay.ok()["secret_withheld"], true);

    let w = issued.ok()["ticket"]["id"].as_str().unwrap().to_owned();
    let shown = |secret: Value| redeem(&w, json!({"holder": null, "secret_hash": secret}));
    world.send(1, shown(Value::Null)).no("wrong_secret");
    world.send(1, shown(json!(wrong))).no("wrong_secret");
    world.send(1, ("tickets.approve", json!({"id": w, "holder": "c1"}))).no("wrong_holder");
    world.send(1, shown(json!(right))).ok();
    world.send(1, shown(json!(right))).no("already_redeemed");
    world.send(1, shown(json!(wrong))).no("wrong_secret");
    world.send(1, shown(json!("ab"))).no("invalid_request");
}

#[test]
fn t21_used_never_before_the_last_commit() {
    let mut world = book();
    let t = approved(&mut world, 10_000);
    let answer = world.send(-3_600_000, redeem(&t, json!({})));
    assert_eq!(answer.ok()["ticket"]["used_at"], time(10_000));
}

#[test]
fn t23_withdrawn_by_those_who_may() {
    let mut world = book();
    let t = approved(&mut world, 0);
    world.send(0, cancel(&t)).no("already_approved");
    world.send(0, reject(&t)).no("already_approved");
    let stranger = json!({"id": t, "by": "s2"});
    world.send(0, ("tickets.revoke", stranger.clone())).no("not_allowed");
    world.send(0, ("tickets.cancel", stranger)).no("not_allowed");
    let answer = world.send(0, ("tickets.revoke", json!({"id": t, "by": "s1", "reason": "shut"})));
    let view = &answer.ok()["ticket"];
    assert_eq!((&view["status"], &view["reason"]), (&json!("cancelled"), &json!("shut")));
    let answer = world.send(0, redeem(&t, json!({})));
    assert_eq!(answer.no("ticket_cancelled")["closed_by"], "s1");
    for by in ["c1", "m"] {
        let t = issue(&mut world, 0, json!({}));
        world.send(0, ("tickets.cancel", json!({"id": t, "by": by}))).ok();
    }
}

#[test]
fn t24_whole_or_not() {
    let mut world = book();
    let t = issue(&mut world, 0, json!({"approved": true, "partial": false}));
    let answer = world.send(0, redeem(&t, json!({"amount": rcn(999)})));
    assert_eq!(answer.no("amount_not_exact")["max_amount"], rcn(1000));
    world.send(0, redeem(&t, json!({}))).ok();
}

#[test]
fn a_one_time_code_is_one_use() {
    let mut world = book();
    let code = json!({"max_amount": {"amount": 1, "unit": "use"}, "approved": true});
    let t = issue(&mut world, 0, code);
    let answer = world.send(0, redeem(&t, json!({"amount": null, "by": "till 4"})));
    let view = &answer.ok()["ticket"];
    assert_eq!(view["amount_used"], json!({"amount": 1, "unit": "use"}));
    assert_eq!(view["used_by"], "till 4");
}

#[test]
fn what_makes_no_sense_is_refused_by_its_field() {
    let hash = "ab".repeat(32);
    for (over, code, field) in [
        (json!({"debit_account": "c1"}), "invalid_request", "credit_account"),
        (json!({"credit_account": "s1"}), "invalid_request", "credit_account"),
        (json!({"require_funds": true}), "invalid_request", "require_funds"),
        (json!({"holder": null}), "invalid_request", "holder"),
        (json!({"holder": null, "approved": true}), "invalid_request", "holder"),
        (json!({"holder": null, "secret_hash": hash}), "invalid_request", "holder"),
        (
            json!({"holder": null, "secret_hash": hash, "approved": true, "one_pending": true}),
            "invalid_request",
            "holder",
        ),
        (json!({"make_secret": true}), "invalid_request", "make_secret"),
        (json!({"made_secret_hash": hash}), "invalid_request", "make_secret"),
        (
            json!({"secret_hash": hash, "make_secret": true, "made_secret_hash": hash}),
            "invalid_request",
            "make_secret",
        ),
        (json!({"metadata": {"a": "x".repeat(4_096)}}), "invalid_request", "metadata"),
        (json!({"max_amount": 5}), "invalid_request", "max_amount"),
        (
            json!({"max_amount": {"amount": 0, "unit": "use"}}),
            "invalid_amount",
            "max_amount.amount",
        ),
        (json!({"audience": ""}), "name_invalid", "audience"),
        (json!({"ttl_ns": 0}), "invalid_request", "ttl_ns"),
        (json!({"id": "mine"}), "invalid_request", "id"),
    ] {
        let mut world = book();
        let answer = world.send(0, ticket(over.clone()));
        assert_eq!(answer.no(code)["field"], field, "{over}");
    }
}

#[test]
fn issuing_refuses_in_order() {
    let mut world = book();
    let accounts = json!({
        "debit_account": "c1", "credit_account": "s1", "one_pending": true, "ttl_ns": u64::MAX,
    });
    let unknown = json!({"max_amount": {"amount": 1, "currency": "XXQ"}, "debit_account": "c1",
        "credit_account": "s1"});
    issue(&mut world, 0, json!({}));
    world.send(0, ticket(unknown)).no("unknown_currency");
    assert_eq!(world.send(0, ticket(accounts)).no("account_not_found")["id"], "c1");
    let limit = json!({"count": 1, "period_ns": 1});
    let late = json!({"one_pending": true, "ttl_ns": u64::MAX, "issue_limit": limit});
    world.send(0, ticket(late)).no("already_pending");
    let long = json!({"ttl_ns": u64::MAX, "issue_limit": limit});
    let answer = world.send(0, ticket(long));
    assert_eq!(answer.no("ttl_too_long")["max_ttl_ns"], 3_660_u64 * 24 * 3_600 * 1_000_000_000);
    for _ in 1..100 {
        issue(&mut world, 0, json!({}));
    }
    let answer = world.send(0, ticket(json!({"issue_limit": limit})));
    assert_eq!(answer.no("too_many_pending")["max"], 100);
    // An approved one is not pending.
    issue(&mut world, 0, json!({"approved": true}));
    issue(&mut world, 300_000, json!({}));
}

#[test]
fn a_currency_is_declared_once() {
    let mut world = book();
    let define =
        |code: &str, scale: u8| ("currencies.define", json!({"code": code, "scale": scale}));
    assert_eq!(world.send(0, define("RCN", 0)).no("currency_exists")["scale"], 2);
    assert_eq!(world.send(0, define("KWD", 0)).no("currency_exists")["scale"], 3);
    world.send(0, define("miles", 16)).no("invalid_request");
    world.send(0, define("a b", 0)).no("invalid_request");
    world.send(0, define("KW", 0)).ok();
}

#[test]
fn what_is_stored_is_read_again() {
    let mut world = book();
    let metadata = json!({"qr": [1, {"x": null}]});
    let over = json!({"metadata": metadata, "secret_hash": "0f".repeat(32), "approved": true});
    let t = issue(&mut world, 0, over);
    assert_eq!(read(&mut world, 0, &t)["metadata"], metadata);
    let metadata: Metadata = serde_json::from_value(metadata).unwrap();
    assert_eq!(serde_json::to_string(&metadata).unwrap(), r#"{"qr":[1,{"x":null}]}"#);
}

#[test]
fn metadata_of_any_shape_is_stored_as_it_was_or_refused() {
    let mut world = book();
    // A number that a quick reader of JSON takes for its neighbour.
    let text = r#"{"n":9.223318446744073e+25}"#;
    let metadata: Metadata = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&metadata).unwrap(), text);
    // The deepest, also within a record and the outcome that tells of it.
    let nested = |levels: usize| (1..levels).fold(json!(1), |value, _| json!([value]));
    let deepest = json!({"a": nested(100)});
    let t = issue(&mut world, 0, json!({"metadata": deepest, "approved": true}));
    assert_eq!(read(&mut world, 0, &t)["metadata"], deepest);
    let deeper = json!({"a": nested(101)});
    assert!(serde_json::from_value::<Metadata>(deeper).is_err());
}

#[test]
fn sweeps_change_no_answer() {
    let mut world = book();
    let t = issue(&mut world, 0, json!({}));
    let id = |name: &str| RecordId::from(&Key::new(name).unwrap());
    let command = sweep("tickets", vec![id(&t)]).unwrap();
    world.send_any(299_999, Arc::clone(&command)).no("nothing_to_expire");
    world.send_any(300_000, command).ok();
    world.send(300_000, approve(&t)).no("ticket_expired");

    let (c1, s1) = (Key::new("c1").unwrap(), Key::new("s1").unwrap());
    let pair = RecordId::compound(&[&c1, &s1]);
    let command = sweep("ticket_issues", vec![pair]).unwrap();
    let ten_years_ms = 3_660 * 24 * 3_600_000;
    world.send_any(ten_years_ms - 1, Arc::clone(&command)).no("nothing_to_sweep");
    world.send_any(ten_years_ms, command).ok();
    issue(&mut world, ten_years_ms, json!({"one_pending": true}));
    assert!(sweep("quotas", Vec::new()).is_none());
}

#[test]
fn each_change_tests_holder_version_and_state() {
    let mut world = book();
    let t = issue(&mut world, 0, json!({}));
    for (name, mut content) in [approve(&t), reject(&t), cancel(&t), revoke(&t)] {
        content["if_version"] = json!([2, 3]);
        let answer = world.send(0, (name, content));
        assert_eq!(answer.no("version_mismatch")["version"], 1, "{name}");
    }
    for name in ["tickets.approve", "tickets.reject"] {
        world.send(0, (name, json!({"id": t, "holder": "c2"}))).no("wrong_holder");
    }
    let (name, mut content) = approve(&t);
    content["if_version"] = json!(1);
    world.send(0, (name, content)).ok();
    let answer = world.send(5, approve(&t));
    assert_eq!(answer.no("already_approved")["approved_at"], time(0));
}

#[test]
fn what_is_just_within_a_bound_is_taken() {
    let mut world = book();
    let limit = |count: u64, period_ns: u64| json!({"issue_limit": {"count": count, "period_ns": period_ns}});
    let ten_years_ns = 3_660_u64 * 24 * 3_600 * 1_000_000_000;
    issue(&mut world, 0, limit(1, ten_years_ns));
    issue(&mut world, 0, limit(100, 1));
    issue(&mut world, 0, json!({"ttl_ns": ten_years_ns}));
    world.send(0, ticket(json!({"ttl_ns": ten_years_ns + 1}))).no("ttl_too_long");
    world.send(0, ticket(limit(1, ten_years_ns + 1))).no("invalid_request");
    let t = issue(&mut world, 0, json!({"ttl_ns": 1}));
    let mut ids = vec!["nowhere".to_owned(); 99];
    ids.push(t.clone());
    let answer = world.send(1, ("tickets.expire", json!({"ids": ids})));
    assert_eq!(answer.ok()["expired"], json!([t]));
    let filled = |bytes: usize| json!({"metadata": {"a": "x".repeat(bytes - r#"{"a":""}"#.len())}});
    issue(&mut world, 0, filled(4_096));
    world.send(0, ticket(filled(4_097))).no("invalid_request");
}
