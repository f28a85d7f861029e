//! The scripts of the domain, on the rules alone.

mod given;
mod laws;

use serde_json::{Value, json};

use crate::trial::{Answer, Call, World, at, count};

use given::{archived, book, complete, invoice, payment, pending};

pub(super) fn sar(amount: impl Into<Value>) -> Value {
    json!({"amount": amount.into(), "currency": "SAR"})
}

pub(super) fn lay_over(content: &mut Value, over: &Value) {
    for (name, value) in over.as_object().unwrap() {
        content[name] = value.clone();
    }
}

/// Opens retainer R of client C with this balance.
pub(super) fn open(world: &mut World, balance: u64, over: &Value) -> Answer {
    world.send(0, create(balance, over))
}

fn create(balance: u64, over: &Value) -> Call<'static> {
    let mut content = json!({
        "id": "R", "client": "C", "type": "advance", "currency": "SAR",
        "initial_amount": sar(balance),
    });
    lay_over(&mut content, over);
    ("retainers.create", content)
}

/// A book with retainer R of this balance.
fn with(balance: u64, over: &Value) -> World {
    let mut world = book();
    open(&mut world, balance, over).ok();
    world
}

pub(super) fn consume(amount: impl Into<Value>, over: &Value) -> Call<'static> {
    let mut content = json!({"id": "R", "amount": sar(amount)});
    lay_over(&mut content, over);
    ("retainers.consume", content)
}

pub(super) fn replenish(amount: u64, over: &Value) -> Call<'static> {
    let mut content = json!({"id": "R", "amount": sar(amount)});
    lay_over(&mut content, over);
    ("retainers.replenish", content)
}

pub(super) fn restore(consumption: &str, over: &Value) -> Call<'static> {
    let mut content = json!({"consumption": consumption});
    lay_over(&mut content, over);
    ("retainers.restore", content)
}

pub(super) fn refund(over: &Value) -> Call<'static> {
    let mut content = json!({"id": "R", "reason": "asked for"});
    lay_over(&mut content, over);
    ("retainers.refund", content)
}

fn update(over: &Value) -> Call<'static> {
    let mut content = json!({"id": "R"});
    lay_over(&mut content, over);
    ("retainers.update", content)
}

pub(super) fn read(world: &mut World, millis: i64) -> Value {
    world.send(millis, ("retainers.read", json!({"id": "R"}))).ok()["retainer"].clone()
}

fn balance(world: &mut World) -> Value {
    read(world, 0)["balance"].clone()
}

/// The kinds of events that a command brought about.
pub(super) fn events(answer: &Answer) -> Vec<String> {
    let events = answer.ok()["events"].as_array().unwrap();
    events.iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect()
}

fn counts(answers: &[Answer]) -> String {
    let counts = count(answers);
    let words: Vec<String> = counts.iter().map(|(code, n)| format!("{n} {code}")).collect();
    words.join(", ")
}

fn time(millis: i64) -> String {
    at(millis).to_string()
}

fn id_of(answer: &Answer) -> String {
    answer.ok()["consumption"]["id"].as_str().unwrap().to_owned()
}

#[test]
fn m01_sixty_of_a_hundred_are_consumed_once() {
    let mut world = with(10_000, &json!({}));
    let answers = world.all(0, &vec![consume(6_000, &json!({})); 3]);
    assert_eq!(counts(&answers), "2 insufficient_funds, 1 ok");
    assert_eq!(answers[0].ok()["retainer"]["balance"], 4_000);
    for answer in &answers[1..] {
        let data = answer.no("insufficient_funds");
        let seen = (&data["available"], &data["required"], &data["account"]);
        assert_eq!(seen, (&json!(4_000), &json!(6_000), &json!("sys:retainer:R")));
    }
}

#[test]
fn m02_depletion_is_told_once() {
    let mut world = with(10_000, &json!({}));
    let answers = world.all(0, &vec![consume(5_000, &json!({})); 10]);
    assert_eq!(counts(&answers), "2 ok, 8 retainer_depleted");
    assert_eq!(events(&answers[0]), Vec::<String>::new());
    assert_eq!(events(&answers[1]), ["retainer_depleted"]);
    assert_eq!(read(&mut world, 0)["status"], "depleted");
}

#[test]
fn m03_no_amount_but_a_positive_integer() {
    let mut world = with(10_000, &json!({}));
    for (amount, reason) in [
        (json!(-6_000), "negative"),
        (json!(0), "zero"),
        (json!(60.0), "not_an_integer"),
        (json!("60"), "not_an_integer"),
        (json!(9_007_199_254_740_992_u64), "too_large"),
    ] {
        let answer = world.send(0, consume(amount, &json!({})));
        assert_eq!(answer.no("invalid_amount")["reason"], reason);
        assert_eq!(answer.no("invalid_amount")["field"], "amount.amount");
    }
    assert_eq!(balance(&mut world), 10_000);
}

#[test]
fn m04_low_balance_is_told_at_each_fall_and_armed_above() {
    let mut world = with(10_000, &json!({"minimum_balance": sar(5_000), "top_up": sar(7_000)}));
    assert_eq!(events(&world.send(0, consume(4_000, &json!({})))), Vec::<String>::new());
    let low = |balance: u64| {
        json!([{"event": "low_balance", "retainer": "R", "balance": balance,
            "minimum_balance": 5_000, "top_up": 7_000}])
    };
    assert_eq!(world.send(0, consume(1_000, &json!({}))).ok()["events"], low(5_000));
    let answer = world.send(0, consume(1_000, &json!({})));
    assert_eq!((&answer.ok()["retainer"]["balance"], events(&answer)), (&json!(4_000), vec![]));
    let answer = world.send(0, replenish(500, &json!({})));
    let retainer = &answer.ok()["retainer"];
    assert_eq!((&retainer["balance"], &retainer["alert_armed"]), (&json!(4_500), &json!(false)));
    assert_eq!(events(&answer), Vec::<String>::new());
    let answer = world.send(0, replenish(2_000, &json!({})));
    let retainer = &answer.ok()["retainer"];
    assert_eq!((&retainer["balance"], &retainer["alert_armed"]), (&json!(6_500), &json!(true)));
    let answer = world.send(0, consume(2_000, &json!({})));
    assert_eq!(answer.ok()["events"], low(4_500));
    assert_eq!(answer.ok()["retainer"]["alert_armed"], false);
}

#[test]
fn m05_one_low_balance_and_one_depletion_in_twenty_consumptions() {
    let mut world = with(10_000, &json!({"minimum_balance": sar(5_000)}));
    let answers = world.all(0, &vec![consume(500, &json!({})); 20]);
    assert_eq!(counts(&answers), "20 ok");
    let told: Vec<String> = answers.iter().flat_map(events).collect();
    assert_eq!(told, ["low_balance", "retainer_depleted"]);
    let retainer = read(&mut world, 0);
    assert_eq!((&retainer["balance"], &retainer["status"]), (&json!(0), &json!("depleted")));
}

#[test]
fn m06_no_more_goes_out_than_there_is() {
    let mut world = with(10_000, &json!({}));
    world.send(0, consume(6_000, &json!({}))).ok();
    let answer = world.send(0, refund(&json!({})));
    assert_eq!(answer.ok()["refund"]["amount"], 4_000);
    assert_eq!(answer.ok()["refund"]["number"], "RFD-202701-0001");
    let retainer = read(&mut world, 0);
    assert_eq!((&retainer["balance"], &retainer["status"]), (&json!(0), &json!("refunded")));

    let mut world = with(10_000, &json!({}));
    assert_eq!(world.send(0, refund(&json!({}))).ok()["refund"]["amount"], 10_000);
    let answer = world.send(5, consume(6_000, &json!({})));
    assert_eq!(answer.no("retainer_refunded")["at"], time(0));
    let retainer = read(&mut world, 5);
    assert_eq!((&retainer["balance"], &retainer["status"]), (&json!(0), &json!("refunded")));
}

#[test]
fn m07_a_payment_replenishes_once() {
    let mut world = with(0, &json!({}));
    payment(&mut world, "P", 5_000);
    let call = replenish(5_000, &json!({"payment": "P"}));
    let answers = world.all(0, &vec![call; 20]);
    assert_eq!(counts(&answers), "1 ok, 19 payment_already_credited");
    assert_eq!(answers[0].ok()["retainer"]["balance"], 5_000);
    let paid = &answers[0].ok()["payment"];
    assert_eq!((&paid["retained"], &paid["unapplied"]), (&json!(5_000), &json!(0)));
    let data = answers[1].no("payment_already_credited");
    assert_eq!(data["retainer"], "R");
    assert_eq!(data["seq"], answers[0].ok()["postings"][0]["seq"]);
}

#[test]
fn m08_only_a_completed_payment_and_all_of_it() {
    let mut world = with(0, &json!({}));
    pending(&mut world, "P", 5_000);
    let answer = world.send(0, replenish(5_000, &json!({"payment": "P"})));
    assert_eq!(answer.no("payment_not_completed")["status"], "pending");
    complete(&mut world, "P");
    let answer = world.send(0, replenish(6_000, &json!({"payment": "P"})));
    assert_eq!(answer.no("amount_mismatch")["expected"], 5_000);
    let answer = world.send(0, replenish(4_000, &json!({"payment": "P"})));
    assert_eq!(answer.no("amount_mismatch")["expected"], 5_000);
    let later = json!({"id": "P", "reason": "x", "amount": sar(1), "settle": "later"});
    let refund = world.send(0, ("payments.refund", later)).ok()["refund"]["id"].clone();
    let answer = world.send(0, replenish(5_000, &json!({"payment": "P"})));
    assert_eq!(answer.no("exceeds_unapplied")["unapplied"], 4_999);
    world.send(0, ("refunds.fail", json!({"id": refund}))).ok();
    world.send(0, replenish(5_000, &json!({"payment": "P"}))).ok();
}

#[test]
fn m09_at_its_end_only_its_money_goes_back() {
    let mut world = with(10_000, &json!({"ends_at": time(1_000)}));
    let answer = world.send(999, consume(1, &json!({})));
    assert_eq!(answer.deadline(), Some(at(1_000)));
    let id = id_of(&answer);
    let answer = world.send(999, replenish(1, &json!({})));
    assert_eq!(answer.deadline(), Some(at(1_000)));
    assert_eq!(read(&mut world, 999)["status"], "active");
    assert_eq!(read(&mut world, 1_000)["status"], "expired");
    let answer = world.send(1_000, consume(1, &json!({})));
    assert_eq!(answer.no("retainer_expired")["ends_at"], time(1_000));
    world.send(1_000, replenish(1, &json!({}))).no("retainer_expired");
    let answer = world.send(1_000, restore(&id, &json!({})));
    assert_eq!((&answer.ok()["retainer"]["balance"], answer.deadline()), (&json!(10_001), None));
    let answer = world.send(1_000, refund(&json!({})));
    assert_eq!(answer.ok()["retainer"]["status"], "refunded");
    assert_eq!(answer.ok()["refund"]["status"], "succeeded");
    world.send(1_000, consume(1, &json!({}))).no("retainer_refunded");
    world.send(1_000, replenish(1, &json!({}))).no("retainer_refunded");
    world.send(1_000, refund(&json!({}))).no("retainer_refunded");
}

#[test]
fn m10_consuming_for_an_invoice_is_paying_it() {
    let mut world = with(10_000, &json!({}));
    invoice(&mut world, "I", ("C", 6_000));
    invoice(&mut world, "J", ("D", 6_000));
    let answer = world.send(0, consume(7_000, &json!({"invoice": "I"})));
    let data = answer.no("exceeds_due");
    assert_eq!((&data["invoice"], &data["balance_due"]), (&json!("I"), &json!(6_000)));
    let answer = world.send(0, consume(6_000, &json!({"invoice": "I"})));
    let reply = answer.ok();
    assert_eq!(
        (&reply["retainer"]["balance"], &reply["invoice"]["status"]),
        (&json!(4_000), &json!("paid"))
    );
    assert_eq!(events(&answer), ["invoice_paid"]);
    let answer = world.send(0, restore(&id_of(&answer), &json!({})));
    let reply = answer.ok();
    let invoice = &reply["invoice"];
    assert_eq!(
        (&reply["retainer"]["balance"], &invoice["status"]),
        (&json!(10_000), &json!("issued"))
    );
    assert_eq!(invoice["balance_due"], 6_000);
    let answer = world.send(0, consume(100, &json!({"invoice": "J"})));
    let data = answer.no("client_mismatch");
    assert_eq!((&data["expected"], &data["got"]), (&json!("C"), &json!("D")));
}

#[test]
fn m11_nothing_moves_while_all_of_it_is_to_go_back() {
    let mut world = with(10_000, &json!({}));
    let answer = world.send(0, refund(&json!({"settle": "later"})));
    let retainer = &answer.ok()["retainer"];
    assert_eq!((&retainer["balance"], &retainer["available"]), (&json!(10_000), &json!(0)));
    let id = answer.ok()["refund"]["id"].clone();
    assert_eq!((&retainer["closing"], &retainer["status"]), (&id, &json!("active")));
    let answer = world.send(0, consume(1, &json!({})));
    assert_eq!(answer.no("insufficient_funds")["available"], 0);
    let answer = world.send(0, replenish(1, &json!({})));
    assert_eq!(answer.no("retainer_closing")["refund"], id);
    world.send(0, refund(&json!({}))).no("retainer_closing");
    world.send(0, refund(&json!({"amount": sar(1)}))).no("retainer_closing");
    let answer = world.send(0, ("refunds.fail", json!({"id": id})));
    let retainer = &answer.ok()["retainers"][0];
    assert_eq!((&retainer["available"], &retainer["status"]), (&json!(10_000), &json!("active")));
    assert_eq!(retainer.get("closing"), None);
    let answer = world.send(0, refund(&json!({"settle": "later"})));
    let id = answer.ok()["refund"]["id"].clone();
    let answer = world.send(7, ("refunds.complete", json!({"id": id})));
    let retainer = &answer.ok()["retainers"][0];
    assert_eq!((&retainer["balance"], &retainer["status"]), (&json!(0), &json!("refunded")));
    assert_eq!((&retainer["refunded_at"], retainer.get("closing")), (&json!(time(7)), None));
    assert_eq!(events(&answer), ["retainer_depleted"]);
}

#[test]
fn m20_nothing_comes_in_but_by_its_name() {
    let mut world = with(0, &json!({}));
    invoice(&mut world, "I", ("C", 50_000));
    let to = json!([{"invoice": "I", "amount": sar(50_000)}]);
    let content = json!({
        "id": "P", "client": "C", "amount": sar(50_000), "method": "cash", "destinations": to,
    });
    world.send(0, ("payments.create", content)).ok();
    let answer = world.send(0, ("payments.complete", json!({"id": "P"})));
    assert_eq!(answer.ok()["invoices"][0]["status"], "paid");
    let postings = answer.ok()["postings"].as_array().unwrap();
    assert!(postings.iter().all(|posting| posting["account"] != "sys:retainer:R"));
    assert_eq!(balance(&mut world), 0);
}

#[test]
fn m54_m56_one_effect_for_one_key() {
    let mut world = with(10_000, &json!({}));
    let call = consume(6_000, &json!({}));
    let first = world.keyed("k", 0, call.clone());
    let again = world.keyed("k", 0, call);
    assert!(again.replayed() && again.ok() == first.ok());
    assert_eq!(again.ok()["retainer"]["balance"], 4_000);
    world.keyed("k", 0, consume(100, &json!({}))).no("idempotency_key_reused");
    let answers = [(); 2].map(|()| world.keyed("j", 0, consume(50, &json!({}))));
    assert!(!answers[0].replayed() && answers[1].replayed());
    assert_eq!(balance(&mut world), 3_950);
    let mut other = with(10_000, &json!({}));
    assert!(!other.keyed("k", 0, consume(100, &json!({}))).replayed());

    // A refusal is not pinned.
    let mut world = with(1_000, &json!({}));
    let call = consume(6_000, &json!({}));
    world.keyed("k", 0, call.clone()).no("insufficient_funds");
    world.send(0, replenish(9_000, &json!({}))).ok();
    assert_eq!(world.keyed("k", 0, call).ok()["retainer"]["balance"], 4_000);
}

#[test]
fn m58_at_the_version_that_the_caller_names() {
    let mut world = with(10_000, &json!({}));
    while read(&mut world, 0)["version"] != 40 {
        world.send(0, consume(1, &json!({}))).ok();
    }
    let stale = json!({"if_version": 39});
    let calls = [consume(1, &stale), replenish(1, &stale), refund(&stale), update(&stale)];
    for call in calls {
        assert_eq!(world.send(0, call).no("version_mismatch")["version"], 40);
    }
    world.send(0, update(&json!({"top_up": sar(1)}))).no("if_version_required");
    assert_eq!(world.send(0, consume(1, &json!({"if_version": 40}))).code(), "ok");
    let id = id_of(&world.send(0, consume(1, &json!({}))));
    let answer = world.send(0, restore(&id, &json!({"if_version": 9})));
    assert_eq!(answer.no("version_mismatch")["version"], 1);
}

#[test]
fn opened_with_all_that_was_said() {
    let mut world = book();
    let answer = open(
        &mut world,
        10_000,
        &json!({"minimum_balance": sar(10_000), "top_up": sar(5), "starts_at": time(10),
            "ends_at": time(20)}),
    );
    let mut retainer = answer.ok()["retainer"].clone();
    assert_eq!(retainer.as_object_mut().unwrap().remove("number"), Some(json!("RET-2027-0001")));
    let expected = json!({
        "id": "R", "client": "C", "type": "advance", "currency": "SAR", "balance": 10_000,
        "available": 10_000, "minimum_balance": 10_000, "alert_armed": false, "top_up": 5,
        "starts_at": time(10), "ends_at": time(20), "status": "active", "version": 1,
    });
    assert_eq!(retainer, expected);
    assert_eq!(answer.deadline(), Some(at(20)));
    assert_eq!(events(&answer), Vec::<String>::new(), "it has not fallen there");
    assert_eq!(answer.ok()["postings"].as_array().unwrap().len(), 2);
    let answer = world.send(5, consume(1, &json!({})));
    assert_eq!(answer.no("retainer_not_started")["starts_at"], time(10));
    world.send(10, consume(1, &json!({}))).ok();
}

#[test]
fn refuses_to_open_in_this_order() {
    let mut world = with(1, &json!({}));
    archived(&mut world, "A");
    let mut wrong = json!({
        "currency": "XXY", "client": "nobody", "ends_at": time(0), "top_up": {"amount": 1, "currency": "USD"},
    });
    let mut next = |code: &str, over: Value| {
        assert_eq!(world.send(0, create(0, &wrong)).code(), code);
        lay_over(&mut wrong, &over);
    };
    next("unknown_currency", json!({"currency": "SAR"}));
    next("client_not_found", json!({"client": "A"}));
    next("retainer_exists", json!({"id": "S"}));
    next("client_archived", json!({"client": "C"}));
    next("expiry_not_later", json!({"starts_at": time(5), "ends_at": time(5)}));
    next("expiry_not_later", json!({"ends_at": time(6)}));
    next("currency_mismatch", json!({"top_up": sar(1)}));
    next("ok", json!({}));
}

#[test]
fn refuses_to_consume_in_this_order() {
    let mut world = with(0, &json!({"starts_at": time(10)}));
    invoice(&mut world, "I", ("D", 100));
    invoice(&mut world, "J", ("C", 100));
    let usd = json!({"amount": {"amount": 200, "currency": "USD"}});
    let mut wrong = json!({"id": "S", "invoice": "K", "if_version": 9});
    lay_over(&mut wrong, &usd);
    let mut next = |code: &str, over: Value| {
        assert_eq!(world.send(0, consume(0, &wrong)).code(), code);
        lay_over(&mut wrong, &over);
    };
    next("retainer_not_found", json!({"id": "R"}));
    next("invoice_not_found", json!({"invoice": "I"}));
    next("client_mismatch", json!({"invoice": "J"}));
    next("version_mismatch", json!({"if_version": "*"}));
    next("retainer_depleted", json!({}));
    world.send(0, replenish(150, &json!({}))).ok();
    let mut next = |millis, code: &str, over: Value| {
        assert_eq!(world.send(millis, consume(0, &wrong)).code(), code);
        lay_over(&mut wrong, &over);
    };
    next(9, "retainer_not_started", json!({}));
    next(10, "currency_mismatch", json!({"amount": sar(200)}));
    next(10, "exceeds_due", json!({"invoice": "J", "amount": sar(100)}));
    next(10, "ok", json!({"amount": sar(51)}));
    next(10, "exceeds_due", json!({}));
    world.send(10, consume(51, &json!({}))).no("insufficient_funds");
}

#[test]
fn refuses_to_replenish_in_this_order() {
    let mut world = with(0, &json!({"ends_at": time(100)}));
    payment(&mut world, "P", 50);
    pending(&mut world, "Q", 60);
    let usd = json!({"amount": {"amount": 49, "currency": "USD"}});
    let mut wrong = json!({"id": "S", "payment": "nothing", "if_version": 9});
    lay_over(&mut wrong, &usd);
    let mut next = |code: &str, over: Value| {
        assert_eq!(world.send(0, replenish(1, &wrong)).code(), code);
        lay_over(&mut wrong, &over);
    };
    next("retainer_not_found", json!({"id": "R"}));
    next("payment_not_found", json!({"payment": "Q"}));
    next("version_mismatch", json!({"if_version": "*"}));
    next("payment_not_completed", json!({"payment": "P"}));
    next("currency_mismatch", json!({"amount": sar(49)}));
    next("amount_mismatch", json!({"amount": sar(50)}));
    next("ok", json!({}));
    world
        .send(
            0,
            (
                "retainers.create",
                json!({
                    "id": "D", "client": "D", "type": "security", "currency": "SAR",
                }),
            ),
        )
        .ok();
    world.send(0, replenish(50, &json!({"id": "D", "payment": "P"}))).no("client_mismatch");
}

#[test]
fn a_balance_never_passes_the_largest() {
    let mut world = with(9_007_199_254_740_990, &json!({}));
    world.send(0, replenish(2, &json!({}))).no("amount_overflow");
    assert_eq!(balance(&mut world), 9_007_199_254_740_990_u64);
}

#[test]
fn restored_in_parts_and_never_more() {
    let mut world = with(10_000, &json!({}));
    invoice(&mut world, "I", ("C", 6_000));
    let id = id_of(&world.send(0, consume(6_000, &json!({"invoice": "I"}))));
    world.send(0, restore("nothing", &json!({}))).no("consumption_not_found");
    let usd = json!({"amount": {"amount": 1, "currency": "USD"}});
    world.send(0, restore(&id, &usd)).no("currency_mismatch");
    let answer = world.send(0, restore(&id, &json!({"amount": sar(1_000)})));
    let reply = answer.ok();
    assert_eq!(
        (&reply["consumption"]["restorable"], &reply["invoice"]["status"]),
        (&json!(5_000), &json!("partial"))
    );
    let answer = world.send(0, restore(&id, &json!({"amount": sar(5_001)})));
    assert_eq!(answer.no("exceeds_consumption")["restorable"], 5_000);
    world.send(0, restore(&id, &json!({}))).ok();
    let answer = world.send(0, restore(&id, &json!({})));
    assert_eq!(answer.no("exceeds_consumption")["restorable"], 0);
    let read = world.send(0, ("consumptions.read", json!({"id": id})));
    let consumption = &read.ok()["consumption"];
    assert_eq!((&consumption["restored"], &consumption["version"]), (&json!(6_000), &json!(3)));
    assert_eq!(balance(&mut world), 10_000);
    let id = id_of(&world.send(0, consume(1_000, &json!({}))));
    world.send(0, refund(&json!({"settle": "later"}))).ok();
    world.send(0, restore(&id, &json!({}))).no("retainer_closing");

    let mut world = with(10_000, &json!({}));
    let id = id_of(&world.send(0, consume(1_000, &json!({}))));
    world.send(0, refund(&json!({}))).ok();
    world.send(0, restore(&id, &json!({}))).no("retainer_refunded");
}

#[test]
fn a_part_goes_back_and_the_rest_stays() {
    let mut world = with(10_000, &json!({"minimum_balance": sar(5_000)}));
    world.send(0, refund(&json!({"id": "S"}))).no("retainer_not_found");
    let usd = json!({"amount": {"amount": 1, "currency": "USD"}});
    world.send(0, refund(&usd)).no("currency_mismatch");
    world.send(0, refund(&json!({"amount": sar(10_001)}))).no("insufficient_funds");
    let answer = world.send(0, refund(&json!({"amount": sar(6_000)})));
    assert_eq!(answer.ok()["retainer"]["status"], "active");
    assert_eq!(events(&answer), ["low_balance"]);
    let answer = world.send(0, refund(&json!({"amount": sar(1_000), "settle": "later"})));
    let retainer = &answer.ok()["retainer"];
    assert_eq!((&retainer["balance"], &retainer["available"]), (&json!(4_000), &json!(3_000)));
    assert_eq!(
        (&answer.ok()["refund"]["status"], retainer.get("closing")),
        (&json!("pending"), None)
    );
    assert_eq!(answer.ok()["postings"], json!([]));
    assert_eq!(world.send(0, refund(&json!({}))).no("retainer_has_holds")["held"], 1_000);
    world.send(0, refund(&json!({"amount": sar(3_001)}))).no("insufficient_funds");
    world.send(0, replenish(1, &json!({}))).ok();
    // All that is there, as a part: the retainer stays.
    world.send(0, refund(&json!({"amount": sar(3_001)}))).ok();
    assert_eq!(read(&mut world, 0)["status"], "active");

    let mut world = with(0, &json!({}));
    world.send(0, refund(&json!({}))).no("nothing_to_refund");
    world.send(0, refund(&json!({"amount": sar(1)}))).no("nothing_to_refund");
    world.send(0, replenish(10, &json!({}))).ok();
    world.send(0, refund(&json!({"amount": sar(10)}))).ok();
    assert_eq!(read(&mut world, 0)["status"], "depleted");
}

#[test]
fn what_one_refund_waits_for_no_other_is_promised() {
    let mut world = with(100, &json!({}));
    let later = |amount: u64| refund(&json!({"amount": sar(amount), "settle": "later"}));
    world.send(0, later(60)).ok();
    let answer = world.send(0, later(41));
    let data = answer.no("insufficient_funds");
    assert_eq!((&data["available"], &data["required"]), (&json!(40), &json!(41)));
    world.send(0, later(40)).ok();
}

#[test]
fn consumes_for_no_invoice_that_is_void() {
    let mut world = with(100, &json!({}));
    invoice(&mut world, "V", ("C", 100));
    world.send(0, ("invoices.void", json!({"id": "V", "reason": "x"}))).ok();
    let answer = world.send(0, consume(1_u64, &json!({"invoice": "V"})));
    let data = answer.no("invoice_not_payable");
    assert_eq!((&data["invoice"], &data["status"]), (&json!("V"), &json!("void")));
}

#[test]
fn currencies_do_not_mix() {
    let mut world = with(100, &json!({}));
    let usd = json!({"amount": 50, "currency": "USD"});
    let content = json!({
        "id": "P", "client": "C", "amount": usd, "method": "cash",
        "destinations": [{"unapplied": usd}],
    });
    world.send(0, ("payments.create", content)).ok();
    complete(&mut world, "P");
    let answer = world.send(0, replenish(50, &json!({"payment": "P"})));
    assert_eq!(answer.no("currency_mismatch")["got"], "USD");
    let line = json!({
        "description": "advice", "quantity_milli": 1_000, "unit_price": usd, "vat_bp": 0,
    });
    let content = json!({
        "id": "U", "client": "C", "currency": "USD", "lines": [line], "due_on": "2027-02-15",
        "issue": true,
    });
    world.send(0, ("invoices.create", content)).ok();
    let answer = world.send(0, consume(50_u64, &json!({"invoice": "U"})));
    assert_eq!(answer.no("currency_mismatch")["got"], "USD");
}

#[test]
fn a_dispute_that_is_won_frees_what_it_held() {
    let mut world = with(0, &json!({}));
    let content = json!({
        "id": "P", "client": "C", "amount": sar(50), "method": "cash",
        "destinations": [{"retainer": "R", "amount": sar(50)}],
    });
    world.send(0, ("payments.create", content)).ok();
    complete(&mut world, "P");
    let content = json!({"id": "P", "amount": sar(50), "external_id": "x"});
    let answer = world.send(0, ("payments.dispute", content));
    let dispute = answer.ok()["dispute"]["id"].clone();
    assert_eq!(read(&mut world, 0)["available"], 0);
    world.send(0, ("disputes.win", json!({"id": dispute}))).ok();
    assert_eq!(read(&mut world, 0)["available"], 50);
}

#[test]
fn at_most_so_many_refunds_are_pending() {
    let mut world = with(10_000, &json!({}));
    let later = refund(&json!({"amount": sar(1), "settle": "later"}));
    let answers = world.all(0, &vec![later.clone(); 1_024]);
    assert_eq!(counts(&answers), "1024 ok");
    assert_eq!(world.send(0, later).no("too_many_holds")["max"], 1_024);
    assert_eq!(world.send(0, refund(&json!({"amount": sar(1)}))).code(), "ok");
}

#[test]
fn a_changed_minimum_tells_once() {
    let mut world = with(10_000, &json!({}));
    let mut change = |minimum: u64| {
        let over = json!({"if_version": "*", "minimum_balance": sar(minimum)});
        let answer = world.send(0, update(&over));
        (answer.ok()["retainer"]["alert_armed"] == true, events(&answer).len())
    };
    assert_eq!(change(9_999), (true, 0));
    assert_eq!(change(10_000), (false, 1));
    assert_eq!(change(12_000), (false, 0), "it was told");
    assert_eq!(change(9_000), (true, 0));
    assert_eq!(change(0), (false, 0));
    assert_eq!(change(12_000), (false, 1));
    world.send(0, consume(10_000, &json!({}))).ok();
    let answer = world.send(0, update(&json!({"if_version": "*", "minimum_balance": sar(1)})));
    assert_eq!(events(&answer), Vec::<String>::new());
}

#[test]
fn updates_values_but_no_end_that_has_come() {
    let mut world = with(10, &json!({"starts_at": time(50), "ends_at": time(100)}));
    world.send(0, update(&json!({"id": "S", "if_version": 1}))).no("retainer_not_found");
    let usd = json!({"amount": 1, "currency": "USD"});
    let over = json!({"if_version": 1, "ends_at": time(50), "top_up": usd});
    assert_eq!(world.send(0, update(&over)).no("expiry_not_later")["after"], time(50));
    let over = json!({"if_version": 1, "ends_at": time(51), "top_up": usd});
    world.send(0, update(&over)).no("currency_mismatch");
    let over = json!({"if_version": 1, "ends_at": time(200), "top_up": sar(7),
        "metadata": {"a": 1}});
    let answer = world.send(0, update(&over));
    let retainer = answer.ok()["retainer"].clone();
    assert_eq!((&retainer["ends_at"], &retainer["top_up"]), (&json!(time(200)), &json!(7)));
    assert_eq!((&retainer["metadata"], &retainer["version"]), (&json!({"a": 1}), &json!(2)));
    assert_eq!(answer.deadline(), Some(at(100)), "it had not ended yet");
    let kept = world.send(199, update(&json!({"if_version": 2}))).ok()["retainer"].clone();
    assert_eq!((&kept["ends_at"], &kept["top_up"]), (&retainer["ends_at"], &retainer["top_up"]));
    assert_eq!(kept["metadata"], json!({"a": 1}));
    let later = json!({"if_version": 3, "ends_at": time(999)});
    world.send(200, update(&later)).no("retainer_expired");
    world.send(200, refund(&json!({}))).ok();
    world.send(200, update(&json!({"if_version": "*"}))).no("retainer_refunded");
}
