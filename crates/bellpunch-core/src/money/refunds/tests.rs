//! The scripts of refunds and disputes, on the rules alone.

mod laws;

use serde_json::{Value, json};

use crate::money::HoldStatus;
use crate::money::payments::fixture::{
    apply, book, complete, consume, counts, create, dispute, events, hold, invoice, invoice_now,
    of, paid, paid_invoice, parts, payment, posted, refund, refund_from, refund_later, retainer,
    retainer_now, said, sar, unapply,
};
use crate::trial::{Answer, Call, World, at};

fn id_of(answer: &Answer, what: &str) -> Value {
    answer.ok()[what]["id"].clone()
}

fn with(call: Call<'static>, field: &str, value: Value) -> Call<'static> {
    let (name, mut content) = call;
    content[field] = value;
    (name, content)
}

#[test]
fn m25_what_was_applied_is_not_refunded_from_unapplied() {
    for applied_first in [true, false] {
        let mut world = book();
        invoice(&mut world, "I", 30_000);
        paid(&mut world, "P", 30_000, &[("-", 30_000)]);
        let back = refund_from("P", 30_000, &[("-", 30_000)]);
        let to = apply("P", "I", 30_000);
        if applied_first {
            let answers = world.all(0, &[to, back]);
            answers[0].ok();
            let data = answers[1].no("exceeds_source");
            assert_eq!((&data["source"], &data["free"]), (&json!("unapplied"), &json!(0)));
        } else {
            let answers = world.all(0, &[back, to]);
            answers[0].ok();
            assert_eq!(answers[1].no("exceeds_unapplied")["unapplied"], 0);
        }
    }
}

#[test]
fn m26_part_refunds_both_count() {
    let mut world = paid_invoice(100_000);
    let answers = world.all(0, &[refund("P", 30_000), refund("P", 30_000)]);
    assert_eq!(counts(&answers), "2 ok");
    assert_eq!(invoice_now(&mut world, "I"), said((40_000, 60_000, "partial")));
    let view = payment(&mut world, "P");
    assert_eq!((&view["status"], &view["refunded"]), (&json!("completed"), &json!(60_000)));
    assert_eq!(view["refund_status"], "partial");
    assert_eq!(posted(&mut world, "sys:cash:SAR"), -40_000);
    assert_eq!(posted(&mut world, "sys:receivable:SAR"), -60_000);
    let numbers = answers.iter().map(|answer| answer.ok()["refund"]["number"].clone());
    assert_eq!(numbers.collect::<Vec<_>>(), ["RFD-202701-0001", "RFD-202701-0002"]);
}

#[test]
fn m27_refunds_at_most_what_came() {
    let mut world = paid_invoice(100_000);
    let answers = world.all(0, &vec![refund("P", 30_000); 4]);
    assert_eq!(counts(&answers), "1 exceeds_refundable, 3 ok");
    let data = answers[3].no("exceeds_refundable");
    assert_eq!((&data["refundable"], &data["requested"]), (&json!(10_000), &json!(30_000)));
    assert_eq!(data["pending"], 0);
}

#[test]
fn m28_refunds_all_of_it_once() {
    let mut world = book();
    paid(&mut world, "P", 30_000, &[("-", 30_000)]);
    let answers = world.all(0, &[refund("P", 30_000), refund("P", 30_000)]);
    assert_eq!(answers[0].ok()["payment"]["refund_status"], "full");
    assert_eq!(answers[0].ok()["refund"]["status"], "succeeded");
    assert_eq!(answers[1].no("exceeds_refundable")["refundable"], 0);
    // Not even nothing: what is left to give back is no amount.
    let all = ("payments.refund", json!({"id": "P", "reason": "again"}));
    assert_eq!(world.send(0, all).no("exceeds_refundable")["requested"], 0);
}

#[test]
fn m29_the_second_is_told_what_is_left() {
    let mut world = book();
    paid(&mut world, "P", 10_000, &[("-", 10_000)]);
    let answers = world.all(0, &[refund("P", 6_000), refund("P", 6_000)]);
    assert_eq!(counts(&answers), "1 exceeds_refundable, 1 ok");
    assert_eq!(answers[1].no("exceeds_refundable")["refundable"], 4_000);
}

#[test]
fn m30_what_is_pending_is_set_aside() {
    let mut world = paid_invoice(100_000);
    let answer = world.send(0, refund_later("P", 70_000));
    assert_eq!(answer.ok()["refund"]["status"], "pending");
    assert_eq!(answer.ok()["payment"]["held"], 70_000);
    assert_eq!(answer.ok()["postings"], json!([]));
    assert_eq!(invoice_now(&mut world, "I"), said((100_000, 0, "paid")));
    let refused = world.send(0, refund("P", 40_000));
    let data = refused.no("exceeds_refundable");
    assert_eq!((&data["refundable"], &data["pending"]), (&json!(30_000), &json!(70_000)));
    let refused = world.send(0, unapply("P", "I", 40_000));
    let data = refused.no("exceeds_allocation");
    assert_eq!((&data["allocated"], &data["free"]), (&json!(100_000), &json!(30_000)));
    let id = id_of(&answer, "refund");
    let done = world.send(7, of("refunds.complete", &id));
    assert_eq!(done.ok()["refund"]["status"], "succeeded");
    assert_eq!(done.ok()["refund"]["ended_at"], at(7).to_string());
    assert_eq!(done.ok()["payment"]["held"], 0);
    assert_eq!(invoice_now(&mut world, "I"), said((30_000, 70_000, "partial")));
    for verb in ["refunds.complete", "refunds.fail"] {
        let refused = world.send(8, of(verb, &id));
        let data = refused.no("refund_not_pending");
        assert_eq!(data["status"], "succeeded");
        assert_eq!(data["at"], at(7).to_string());
    }
}

#[test]
fn m31_what_failed_is_free_again() {
    let mut world = paid_invoice(100_000);
    let answer = world.send(0, refund_later("P", 70_000));
    let id = id_of(&answer, "refund");
    let failed = world.send(0, of("refunds.fail", &id));
    assert_eq!(failed.ok()["payment"]["refundable"], 100_000);
    assert_eq!(failed.ok()["refund"]["status"], "failed");
    assert_eq!(invoice_now(&mut world, "I"), said((100_000, 0, "paid")));
    world.send(0, of("refunds.complete", &id)).no("refund_not_pending");
    world.send(0, refund("P", 100_000)).ok();
    assert_eq!(invoice_now(&mut world, "I"), said((0, 100_000, "issued")));
}

fn two_invoices() -> World {
    let mut world = book();
    invoice(&mut world, "I1", 60_000);
    invoice(&mut world, "I2", 40_000);
    paid(&mut world, "P", 100_000, &[("I1", 60_000), ("I2", 40_000)]);
    world
}

#[test]
fn m32_takes_the_last_listed_first_or_what_is_named() {
    let mut world = two_invoices();
    world.send(0, refund("P", 50_000)).ok();
    assert_eq!((invoice_now(&mut world, "I1").0, invoice_now(&mut world, "I2").0), (50_000, 0));
    let mut world = two_invoices();
    let answer = world.send(0, refund_from("P", 40_000, &[("I1", 40_000)]));
    assert_eq!(answer.ok()["invoices"].as_array().unwrap().len(), 1);
    let paid = (invoice_now(&mut world, "I1").0, invoice_now(&mut world, "I2").0);
    assert_eq!(paid, (20_000, 40_000));
}

#[test]
fn takes_unapplied_then_invoices_then_retainers_newest_first() {
    let mut world = book();
    for name in ["I1", "I2"] {
        invoice(&mut world, name, 100);
    }
    for name in ["R1", "R2"] {
        retainer(&mut world, name, 0);
    }
    paid(&mut world, "P", 600, &[("R1", 100), ("I1", 50), ("R2", 100), ("-", 350)]);
    // Newer ones of each.
    for (name, amount) in [("I2", 100), ("I1", 50), ("R1", 100)] {
        world.send(0, apply("P", name, amount)).ok();
    }
    let order = [("-", 100), ("I1", 50), ("I2", 100), ("I1", 50), ("R1", 100), ("R2", 100)];
    for taken in order.into_iter().chain([("R1", 100)]) {
        let answer = world.send(0, refund("P", taken.1));
        let sources = answer.ok()["refund"]["sources"].as_array().unwrap().clone();
        assert_eq!(sources.len(), 1, "{taken:?}");
        let name = if taken.0.starts_with('I') { "invoice" } else { "retainer" };
        if taken.0 == "-" {
            assert!(sources[0].get("invoice").is_none() && sources[0].get("retainer").is_none());
        } else {
            assert_eq!(sources[0][name], taken.0);
        }
        assert_eq!(sources[0]["amount"], taken.1);
    }
    assert_eq!(payment(&mut world, "P")["refund_status"], "full");
}

#[test]
fn m33_a_dispute_takes_what_a_retainer_has_spent() {
    let mut world = book();
    retainer(&mut world, "R", 0);
    paid(&mut world, "P", 50_000, &[("R", 50_000)]);
    world.send(0, consume("R", 30_000)).ok();
    let refused = world.send(0, refund("P", 50_000));
    assert_eq!(refused.no("exceeds_refundable")["refundable"], 20_000);
    let answer = world.send(0, refund("P", 20_000));
    assert_eq!(answer.ok()["retainers"][0]["status"], "depleted");
    assert_eq!(events(&answer), ["retainer_depleted"]);
    let answer = world.send(0, dispute("P", 30_000, "dp1"));
    assert_eq!(answer.ok()["dispute"]["status"], "open");
    assert_eq!(answer.ok()["dispute"]["sources"][0]["spent"], 30_000);
    let lost = world.send(0, of("disputes.lose", &id_of(&answer, "dispute")));
    let view = &lost.ok()["payment"];
    assert_eq!((&view["lost"], &view["refund_status"]), (&json!(30_000), &json!("full")));
    assert_eq!(retainer_now(&mut world, "R")["balance"], 0);
    assert_eq!(posted(&mut world, "sys:dispute_losses:SAR"), -30_000);
    assert_eq!(posted(&mut world, "sys:cash:SAR"), 0);
}

#[test]
fn a_dispute_takes_from_the_retainer_what_is_there() {
    let mut world = book();
    retainer(&mut world, "R", 0);
    paid(&mut world, "P", 500, &[("R", 500)]);
    world.send(0, consume("R", 300)).ok();
    let answer = world.send(0, dispute("P", 400, "dp1"));
    // What was there is held, so nobody consumes it meanwhile.
    assert_eq!(answer.ok()["retainers"][0]["available"], 0);
    world.send(0, consume("R", 1)).no("insufficient_funds");
    let lost = world.send(0, of("disputes.lose", &id_of(&answer, "dispute")));
    assert_eq!(lost.ok()["retainers"][0]["balance"], 0);
    assert_eq!(posted(&mut world, "sys:dispute_losses:SAR"), -200);
    assert_eq!(posted(&mut world, "sys:retainer:R"), 0);
    assert_eq!(payment(&mut world, "P")["retained"], 100, "the rest of it was spent");
}

#[test]
fn m34_only_a_completed_payment_goes_back() {
    let mut world = book();
    for id in ["P", "Q", "S"] {
        world.send(0, create(id, 500, &[])).ok();
    }
    world.send(0, ("payments.fail", json!({"id": "Q", "reason": "x"}))).ok();
    world.send(0, ("payments.cancel", json!({"id": "S", "reason": "x"}))).ok();
    for (id, status) in [("P", "pending"), ("Q", "failed"), ("S", "cancelled")] {
        for call in [refund(id, 500), dispute(id, 500, "dp1")] {
            assert_eq!(world.send(0, call).no("payment_not_completed")["status"], status);
        }
    }
}

#[test]
fn m35_a_dispute_is_lost_or_won() {
    for lost in [true, false] {
        let mut world = paid_invoice(10_000);
        let answer = world.send(0, dispute("P", 10_000, "dp1"));
        assert_eq!(world.send(0, refund("P", 1)).no("exceeds_refundable")["refundable"], 0);
        assert_eq!(invoice_now(&mut world, "I"), said((10_000, 0, "paid")));
        let id = id_of(&answer, "dispute");
        let verb = if lost { "disputes.lose" } else { "disputes.win" };
        world.send(3, of(verb, &id)).ok();
        let view = payment(&mut world, "P");
        if lost {
            assert_eq!(invoice_now(&mut world, "I"), said((0, 10_000, "issued")));
            assert_eq!((&view["lost"], &view["refundable"]), (&json!(10_000), &json!(0)));
        } else {
            assert_eq!(invoice_now(&mut world, "I"), said((10_000, 0, "paid")));
            assert_eq!((&view["lost"], &view["refundable"]), (&json!(0), &json!(10_000)));
        }
        for verb in ["disputes.lose", "disputes.win"] {
            let refused = world.send(4, of(verb, &id));
            let data = refused.no("dispute_not_open");
            assert_eq!(data["status"], if lost { "lost" } else { "won" });
            assert_eq!(data["at"], at(3).to_string());
        }
        let read = world.send(4, of("disputes.read", &id));
        assert_eq!(read.ok()["dispute"]["version"], 2);
    }
}

#[test]
fn m36_refunds_and_disputes_share_one_budget() {
    let mut world = book();
    paid(&mut world, "P", 10_000, &[("-", 10_000)]);
    world.send(0, refund("P", 6_000)).ok();
    let refused = world.send(0, dispute("P", 10_000, "dp1"));
    assert_eq!(refused.no("exceeds_free")["free"], 4_000);
    // Nor what a pending refund has set aside.
    world.send(0, refund_later("P", 3_000)).ok();
    let refused = world.send(0, dispute("P", 1_001, "dp1"));
    let data = refused.no("exceeds_free");
    assert_eq!((&data["free"], &data["pending"]), (&json!(1_000), &json!(3_000)));
    world.send(0, dispute("P", 1_000, "dp1")).ok();
    assert_eq!(payment(&mut world, "P")["held"], 4_000);
}

#[test]
fn a_pending_refund_holds_on_the_retainer() {
    for (verb, ended, balance) in [
        ("refunds.complete", HoldStatus::Captured, 400),
        ("refunds.fail", HoldStatus::Voided, 1_000),
    ] {
        let mut world = book();
        retainer(&mut world, "R", 500);
        paid(&mut world, "P", 500, &[("R", 500)]);
        // More than the payment brought stands there; it is not this payment's to give back.
        assert_eq!(payment(&mut world, "P")["refundable"], 500);
        let mut answer = world.send(0, refund_later("P", 600));
        answer.no("exceeds_refundable");
        answer = world.send(0, refund_later("P", 500));
        assert_eq!(retainer_now(&mut world, "R")["available"], 500);
        world.send(0, unapply("P", "R", 1)).no("exceeds_allocation");
        let id = id_of(&answer, "refund");
        if balance == 400 {
            world.send(0, consume("R", 100)).ok();
        }
        let record = crate::RecordId::stored(id.as_str().unwrap());
        let holds = world.record::<super::Refund>(&record).holds;
        assert_eq!(hold(&mut world, holds[0].as_str()).status, HoldStatus::Open);
        let answer = world.send(5, of(verb, &id));
        assert_eq!(answer.ok()["retainers"][0]["balance"], balance);
        assert_eq!(answer.ok()["retainers"][0]["available"], balance);
        let hold = hold(&mut world, holds[0].as_str());
        assert_eq!((hold.status, hold.ended_at), (ended, Some(at(5))));
        let transfer = answer.ok()["postings"].get(0).map(|line| line["transfer"].clone());
        assert_eq!(hold.transfer.map(|transfer| json!(transfer)), transfer);
    }
}

/// What is available on R, and at which version.
fn available(world: &mut World) -> (u64, u64) {
    let view = retainer_now(world, "R");
    (view["available"].as_u64().unwrap(), view["version"].as_u64().unwrap())
}

#[test]
fn what_a_retainer_has_available_changes_with_its_version() {
    let ends = ["refunds.complete", "refunds.fail", "disputes.lose", "disputes.win"];
    for end in ends {
        let mut world = book();
        retainer(&mut world, "R", 0);
        paid(&mut world, "P", 500, &[("R", 500)]);
        assert_eq!(available(&mut world), (500, 2));
        let is_refund = end.starts_with("refunds");
        let call = if is_refund { refund_later("P", 200) } else { dispute("P", 200, "b") };
        let answer = world.send(0, call);
        let shown = &answer.ok()["retainers"][0];
        assert_eq!((&shown["available"], &shown["version"]), (&json!(300), &json!(3)), "{end}");
        assert_eq!(available(&mut world), (300, 3));
        let id = id_of(&answer, if is_refund { "refund" } else { "dispute" });
        world.send(0, of(end, &id)).ok();
        let left = if end.ends_with("win") || end.ends_with("fail") { 500 } else { 300 };
        assert_eq!(available(&mut world), (left, 4), "{end}");
    }
    // So who read the retainer before is told that it is another now.
    let mut world = book();
    retainer(&mut world, "R", 0);
    paid(&mut world, "P", 500, &[("R", 500)]);
    world.send(0, refund_later("P", 200)).ok();
    let call = with(consume("R", 300), "if_version", json!(2));
    assert_eq!(world.send(0, call).no("version_mismatch")["version"], 3);
}

#[test]
fn a_part_of_a_retainer_that_did_not_go_is_available_at_another_version() {
    let mut world = book();
    retainer(&mut world, "R", 500);
    let part = json!({"id": "R", "amount": sar(200), "reason": "x", "settle": "later"});
    let answer = world.send(0, ("retainers.refund", part));
    assert_eq!(available(&mut world), (300, 2));
    world.send(0, of("refunds.fail", &id_of(&answer, "refund"))).ok();
    assert_eq!(available(&mut world), (500, 3));
}

#[test]
fn what_was_spent_of_a_retainer_is_not_held_on_it() {
    let mut world = book();
    retainer(&mut world, "R", 0);
    paid(&mut world, "P", 500, &[("R", 500)]);
    world.send(0, consume("R", 500)).ok();
    let before = available(&mut world);
    world.send(0, dispute("P", 500, "b")).ok();
    assert_eq!(available(&mut world), before, "nothing of it changed");
}

#[test]
fn refunds_of_a_retainer_settle_later() {
    let whole = ("retainers.refund", json!({"id": "R", "reason": "over", "settle": "later"}));
    for (call, left) in [(whole.clone(), 0), (with(whole, "amount", sar(300)), 700)] {
        let mut world = book();
        retainer(&mut world, "R", 1_000);
        let answer = world.send(0, call.clone());
        let id = id_of(&answer, "refund");
        let failed = world.send(0, of("refunds.fail", &id));
        assert_eq!(failed.ok()["retainers"][0]["available"], 1_000);
        assert!(failed.ok()["retainers"][0].get("closing").is_none());
        assert_eq!(failed.ok()["retainers"][0]["status"], "active");
        assert!(failed.ok().get("payment").is_none());
        let answer = world.send(0, call);
        let done = world.send(5, of("refunds.complete", &id_of(&answer, "refund")));
        let view = &done.ok()["retainers"][0];
        assert_eq!((&view["balance"], &view["available"]), (&json!(left), &json!(left)));
        assert_eq!(view["status"], if left == 0 { "refunded" } else { "active" });
        let ended = if left == 0 { Some(json!(at(5).to_string())) } else { None };
        assert_eq!(view.get("refunded_at"), ended.as_ref());
        assert_eq!(posted(&mut world, "sys:cash:SAR"), -i64::from(left));
        let read = world.send(6, of("refunds.read", &id));
        assert_eq!(read.ok()["refund"]["status"], "failed");
    }
}

#[test]
fn the_order_of_refusals_of_a_refund() {
    let mut world = book();
    invoice(&mut world, "I", 500);
    world.send(0, create("P", 1_000, &[("I", 500), ("-", 500)])).ok();
    paid(&mut world, "X", 10, &[("-", 10)]);
    world.send(0, with(refund("X", 1), "external_id", json!("x"))).ok();
    let call = with(refund("Q", 2_000), "external_id", json!("x"));
    let call = with(call, "if_version", json!(7));
    let from =
        |call: &Call<'static>, list: &[(&str, u64)]| with(call.clone(), "sources", parts(list));
    let answer = world.send(0, from(&call, &[("I0", 1_999)]));
    let data = answer.no("sources_mismatch");
    assert_eq!((&data["sum"], &data["amount"]), (&json!(1_999), &json!(2_000)));
    world.send(0, from(&call, &[])).no("sources_mismatch");
    let unknown = with(call.clone(), "amount", json!({"amount": 1, "currency": "PTS"}));
    world.send(0, unknown.clone()).no("unknown_currency");
    world.send(0, with(unknown, "sources", json!([{}]))).no("invalid_request");
    world.send(0, from(&call, &[("I0", 2_000)])).no("payment_not_found");
    let call = with(call, "id", json!("P"));
    // A pending payment is nowhere yet.
    let answer = world.send(0, from(&call, &[("I", 2_000)]));
    assert_eq!(answer.no("source_not_found")["source"], "I");
    let answer = world.send(0, call.clone());
    assert_ne!(answer.no("external_id_in_use")["id"], "P");
    let call = with(call, "external_id", json!("y"));
    world.send(0, call.clone()).no("version_mismatch");
    let call = with(call, "if_version", json!([1, 2]));
    world.send(0, call.clone()).no("payment_not_completed");
    world.send(0, complete("P")).ok();
    world.send(0, from(&call, &[("I", 2_000)])).no("exceeds_refundable");
    let usd = json!({"amount": 2_000, "currency": "USD"});
    world.send(0, with(call.clone(), "amount", usd.clone())).no("currency_mismatch");
    let sources = json!([{"unapplied": usd}]);
    world.send(0, with(call.clone(), "sources", sources)).no("currency_mismatch");
    let call = with(call, "amount", sar(900));
    let answer = world.send(0, from(&call, &[("-", 300), ("I", 600)]));
    let data = answer.no("exceeds_source");
    assert_eq!((&data["source"], &data["free"]), (&json!("I"), &json!(500)));
    let call = from(&call, &[("-", 400), ("I", 500)]);
    assert_eq!(world.send(0, call).ok()["refund"]["external_id"], "y");
    assert_eq!(payment(&mut world, "P")["unapplied"], 100);
}

#[test]
fn the_order_of_refusals_of_a_dispute() {
    let mut world = book();
    world.send(0, create("P", 500, &[("-", 500)])).ok();
    let call = with(dispute("Q", 600, "x"), "sources", parts(&[("-", 599)]));
    world.send(0, call.clone()).no("sources_mismatch");
    let call = with(call, "sources", parts(&[("I", 600)]));
    world.send(0, call.clone()).no("payment_not_found");
    let call = with(call, "id", json!("P"));
    world.send(0, call.clone()).no("source_not_found");
    world.send(0, dispute("P", 600, "x")).no("payment_not_completed");
    world.send(0, complete("P")).ok();
    world.send(0, dispute("P", 600, "x")).no("exceeds_free");
    world.send(0, with(dispute("P", 500, "x"), "if_version", json!(1))).no("version_mismatch");
    let answer = world.send(0, dispute("P", 500, "x"));
    // The bank says it twice: once is enough.
    let again = world.send(0, dispute("P", 500, "x"));
    assert_eq!(again.no("external_id_in_use")["id"], id_of(&answer, "dispute"));
    for (verb, code) in
        [("disputes.lose", "dispute_not_found"), ("refunds.fail", "refund_not_found")]
    {
        world.send(0, of(verb, &json!("nobody"))).no(code);
    }
    let id = id_of(&answer, "dispute");
    for verb in ["disputes.lose", "disputes.win"] {
        let call = with(of(verb, &id), "if_version", json!(7));
        world.send(0, call).no("version_mismatch");
    }
    world.send(0, of("disputes.read", &json!("nobody"))).no("dispute_not_found");
    world.send(0, of("refunds.read", &json!("nobody"))).no("refund_not_found");
}

#[test]
fn a_refund_that_settled_is_told_so_at_its_version() {
    let mut world = paid_invoice(100);
    let answer = world.send(0, refund_later("P", 100));
    let id = id_of(&answer, "refund");
    for verb in ["refunds.complete", "refunds.fail"] {
        let call = with(of(verb, &id), "if_version", json!(7));
        assert_eq!(world.send(0, call).no("version_mismatch")["version"], 1);
    }
    assert_eq!(world.send(0, of("refunds.read", &id)).ok()["refund"]["status"], "pending");
}

#[test]
fn all_that_can_is_given_back_unless_told() {
    let mut world = book();
    retainer(&mut world, "R", 0);
    invoice(&mut world, "I", 300);
    paid(&mut world, "P", 1_000, &[("I", 300), ("R", 500), ("-", 200)]);
    world.send(0, consume("R", 100)).ok();
    let all = ("payments.refund", json!({"id": "P", "reason": "returned"}));
    // The amount is all that can be given back; sources that were named must add up to that.
    let named = with(all.clone(), "sources", parts(&[("I", 300)]));
    let answer = world.send(0, named);
    assert_eq!(answer.no("sources_mismatch")["amount"], 900);
    let answer = world.send(0, all);
    assert_eq!(answer.ok()["refund"]["amount"], 900);
    let view = &answer.ok()["payment"];
    assert_eq!((&view["retained"], &view["refund_status"]), (&json!(100), &json!("partial")));
}

#[test]
fn the_holds_on_a_retainer_are_counted() {
    let mut world = book();
    retainer(&mut world, "R", 0);
    paid(&mut world, "P", 2_000, &[("R", 2_000)]);
    for _ in 0..1_024 {
        world.send(0, refund_later("P", 1)).ok();
    }
    assert_eq!(world.send(0, refund_later("P", 1)).no("too_many_holds")["max"], 1_024);
    world.send(0, dispute("P", 1, "dp1")).no("too_many_holds");
    assert_eq!(world.send(0, refund("P", 1)).ok()["refund"]["number"], "RFD-202701-1025");
}
