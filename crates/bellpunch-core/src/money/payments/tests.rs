//! The scripts of payments, on the rules alone.

use serde_json::{Value, json};

use super::fixture::{
    apply, archive_client, book, complete, consume, counts, create, dispute, events, invoice,
    invoice_now, invoice_of, of, paid, parts, payment, posted, put_client, retainer, retainer_now,
    retainer_with, said, sar, unapply,
};
use crate::trial::{Call, World, at};

fn over(call: Call<'static>, over: &Value) -> Call<'static> {
    let (name, mut content) = call;
    for (field, value) in over.as_object().unwrap() {
        content[field] = value.clone();
    }
    (name, content)
}

fn replenish(amount: u64, payment: &str) -> Call<'static> {
    ("retainers.replenish", json!({"id": "R", "amount": sar(amount), "payment": payment}))
}

fn end(verb: &str, id: &str) -> Call<'static> {
    let name = if verb == "fail" { "payments.fail" } else { "payments.cancel" };
    (name, json!({"id": id, "reason": "no money"}))
}

#[test]
fn m07_a_payment_replenishes_once() {
    let mut world = book();
    retainer(&mut world, "R", 0);
    paid(&mut world, "P", 5_000, &[("-", 5_000)]);
    let answers = world.all(0, &vec![replenish(5_000, "P"); 20]);
    assert_eq!(counts(&answers), "1 ok, 19 payment_already_credited");
    assert_eq!(retainer_now(&mut world, "R")["balance"], 5_000);
    assert_eq!(payment(&mut world, "P")["retained"], 5_000);
}

#[test]
fn m08_replenishes_with_what_is_there() {
    let mut world = book();
    retainer(&mut world, "R", 0);
    world.send(0, create("P", 5_000, &[("-", 5_000)])).ok();
    let answer = world.send(0, replenish(5_000, "P"));
    assert_eq!(answer.no("payment_not_completed")["status"], "pending");
    world.send(0, complete("P")).ok();
    assert_eq!(world.send(0, replenish(6_000, "P")).no("amount_mismatch")["expected"], 5_000);
}

#[test]
fn m12_two_part_payments_both_count() {
    let mut world = book();
    invoice(&mut world, "I", 100_000);
    world.send(0, create("P1", 50_000, &[("I", 50_000)])).ok();
    world.send(0, create("P2", 50_000, &[("I", 50_000)])).ok();
    let answers = world.all(0, &[complete("P1"), complete("P2")]);
    assert_eq!(counts(&answers), "2 ok");
    assert_eq!(events(&answers[1]), ["possible_duplicate_payment", "invoice_paid"]);
    assert_eq!(invoice_now(&mut world, "I"), said((100_000, 0, "paid")));
}

/// I is paid by P1; P2 was to pay it too.
fn overpaid() -> World {
    let mut world = book();
    invoice(&mut world, "I", 100_000);
    world.send(0, create("P1", 100_000, &[("I", 100_000)])).ok();
    world.send(0, create("P2", 100_000, &[("I", 100_000)])).ok();
    let answers = world.all(0, &[complete("P1"), complete("P2")]);
    assert_eq!(counts(&answers), "1 exceeds_due, 1 ok");
    assert_eq!(answers[1].no("exceeds_due")["balance_due"], 0);
    assert_eq!(answers[1].no("exceeds_due")["invoice"], "I");
    world
}

#[test]
fn m13_what_is_too_much_is_refused() {
    let mut world = overpaid();
    assert_eq!(payment(&mut world, "P2")["status"], "pending");
    assert_eq!(invoice_now(&mut world, "I"), said((100_000, 0, "paid")));
}

#[test]
fn m14_what_is_too_much_stays_unapplied_if_asked() {
    let mut world = overpaid();
    let call = over(complete("P2"), &json!({"overpayment": "unapplied"}));
    let answer = world.send(0, call);
    assert_eq!(answer.ok()["diverted"], json!([{"invoice": "I", "amount": 100_000}]));
    assert_eq!(answer.ok()["payment"]["unapplied"], 100_000);
    assert_eq!(answer.ok()["invoices"], json!([]), "the invoice is as it was");
    assert_eq!(events(&answer), ["possible_duplicate_payment"]);
    assert_eq!(invoice_now(&mut world, "I"), said((100_000, 0, "paid")));
    assert_eq!(posted(&mut world, "sys:unapplied:C:SAR"), 100_000);
}

#[test]
fn each_target_takes_what_it_can_of_an_overpayment() {
    let mut world = book();
    invoice(&mut world, "I1", 30_000);
    invoice(&mut world, "I2", 20_000);
    world.send(0, ("invoices.void", json!({"id": "I2", "reason": "wrong"}))).ok();
    world.send(0, retainer_with("R", 500, &json!({"ends_at": at(1_000).to_string()}))).ok();
    let to = [("I1", 40_000), ("I2", 20_000), ("R", 10_000), ("-", 5_000)];
    world.send(0, create("P", 75_000, &to)).ok();
    let call = over(complete("P"), &json!({"overpayment": "unapplied"}));
    let answer = world.send(1_000, call);
    let payment = &answer.ok()["payment"];
    assert_eq!((&payment["allocated"], &payment["retained"]), (&json!(30_000), &json!(0)));
    assert_eq!(payment["unapplied"], 45_000);
    let diverted = json!([
        {"invoice": "I1", "amount": 10_000}, {"invoice": "I2", "amount": 20_000},
        {"retainer": "R", "amount": 10_000},
    ]);
    assert_eq!(answer.ok()["diverted"], diverted);
    assert_eq!(answer.deadline(), None, "nothing relied on the end of R");
}

#[test]
fn m15_completes_once() {
    let mut world = book();
    invoice(&mut world, "I", 100_000);
    world.send(0, create("P", 50_000, &[("I", 50_000)])).ok();
    let answers = world.all(0, &vec![complete("P"); 50]);
    assert_eq!(counts(&answers), "49 already_completed, 1 ok");
    let data = answers[1].no("already_completed");
    // The invoice and the payment were made by the entries before.
    assert_eq!((&data["completed_at"], &data["seq"]), (&json!(at(0).to_string()), &json!(3)));
    assert_eq!(invoice_now(&mut world, "I"), said((50_000, 50_000, "partial")));
}

#[test]
fn m16_one_key_is_one_effect() {
    let mut world = book();
    invoice(&mut world, "I", 100_000);
    world.send(0, create("P", 50_000, &[("I", 50_000)])).ok();
    let answers: Vec<_> = (0..50).map(|_| world.keyed("k", 0, complete("P"))).collect();
    assert_eq!(counts(&answers), "50 ok");
    assert_eq!(answers.iter().filter(|answer| answer.replayed()).count(), 49);
    assert_eq!(invoice_now(&mut world, "I"), said((50_000, 50_000, "partial")));
}

#[test]
fn m17_ends_in_one_way() {
    for (first, paid, status) in [
        (complete("P"), 50_000, "completed"),
        (end("fail", "P"), 0, "failed"),
        (end("cancel", "P"), 0, "cancelled"),
    ] {
        let mut world = book();
        invoice(&mut world, "I", 50_000);
        world.send(0, create("P", 50_000, &[("I", 50_000)])).ok();
        world.send(0, first).ok();
        for call in [complete("P"), end("fail", "P"), end("cancel", "P")] {
            let answer = world.send(1, call);
            if status == "completed" {
                answer.no("already_completed");
            } else {
                let data = answer.no("payment_not_pending");
                assert_eq!(data["status"], status);
                assert_eq!(data["at"], at(0).to_string());
            }
        }
        assert_eq!(invoice_now(&mut world, "I").0, paid);
        assert_eq!(payment(&mut world, "P")["number"], "PAY-2027-0001", "its number stays");
    }
}

#[test]
fn m18_goes_to_all_that_are_named() {
    let mut world = book();
    invoice(&mut world, "I1", 30_000);
    invoice(&mut world, "I2", 60_000);
    retainer(&mut world, "R", 0);
    let to = [("I1", 30_000), ("I2", 50_000), ("R", 15_000), ("-", 5_000)];
    world.send(0, create("P", 100_000, &to)).ok();
    let answer = world.send(0, complete("P"));
    let view = &answer.ok()["payment"];
    assert_eq!((&view["allocated"], &view["retained"]), (&json!(80_000), &json!(15_000)));
    assert_eq!((&view["unapplied"], &view["refundable"]), (&json!(5_000), &json!(100_000)));
    assert_eq!((&view["status"], &view["refund_status"]), (&json!("completed"), &json!("none")));
    assert_eq!(answer.ok()["invoices"].as_array().unwrap().len(), 2);
    assert_eq!(answer.ok()["retainers"][0]["balance"], 15_000);
    assert_eq!(invoice_now(&mut world, "I1"), said((30_000, 0, "paid")));
    assert_eq!(invoice_now(&mut world, "I2"), said((50_000, 10_000, "partial")));
    assert_eq!(posted(&mut world, "sys:cash:SAR"), -100_000);
    assert_eq!(posted(&mut world, "sys:receivable:SAR"), -10_000);
    assert_eq!(posted(&mut world, "sys:unapplied:C:SAR"), 5_000);
    let lines = answer.ok()["postings"].as_array().unwrap();
    let of_invoice = lines.iter().filter(|line| line["account"] == "sys:receivable:SAR");
    let of_invoice: Vec<_> = of_invoice.map(|line| line["ref"].clone()).collect();
    assert_eq!(of_invoice, ["I1", "I2"], "what is receivable says of which invoice");
}

#[test]
fn m19_destinations_are_explicit_and_all_of_it() {
    let mut world = book();
    invoice(&mut world, "I", 100_000);
    let answer = world.send(0, create("P", 100_000, &[("I", 90_000)]));
    let data = answer.no("destinations_mismatch");
    assert_eq!((&data["sum"], &data["amount"]), (&json!(90_000), &json!(100_000)));
    world.send(0, create("Q", 100_000, &[])).ok();
    world.send(0, complete("Q")).no("destinations_required");
    let call = over(complete("Q"), &json!({"destinations": parts(&[("I", 90_000)])}));
    assert_eq!(world.send(0, call).no("destinations_mismatch")["amount"], 100_000);
    let call = over(complete("Q"), &json!({"destinations": []}));
    world.send(0, call).no("destinations_mismatch");
    let call = over(complete("Q"), &json!({"destinations": parts(&[("I", 100_000)])}));
    let answer = world.send(0, call);
    let destinations = json!([{"invoice": "I", "amount": 100_000}]);
    assert_eq!(answer.ok()["payment"]["destinations"], destinations);
}

#[test]
fn destinations_of_the_completion_replace_those_of_the_creation() {
    let mut world = book();
    invoice(&mut world, "I1", 50_000);
    invoice(&mut world, "I2", 50_000);
    world.send(0, create("P", 50_000, &[("I1", 50_000)])).ok();
    let to = parts(&[("I2", 20_000), ("-", 30_000)]);
    world.send(0, over(complete("P"), &json!({"destinations": to}))).ok();
    assert_eq!(invoice_now(&mut world, "I1"), said((0, 50_000, "issued")));
    assert_eq!(invoice_now(&mut world, "I2"), said((20_000, 30_000, "partial")));
}

#[test]
fn m20_no_retainer_gets_what_was_not_sent_there() {
    let mut world = book();
    retainer(&mut world, "R", 0);
    invoice(&mut world, "I", 50_000);
    paid(&mut world, "P", 50_000, &[("I", 50_000)]);
    assert_eq!(invoice_now(&mut world, "I"), said((50_000, 0, "paid")));
    assert_eq!(retainer_now(&mut world, "R")["balance"], 0);
}

#[test]
fn m21_all_destinations_or_none() {
    let mut world = book();
    invoice(&mut world, "I1", 30_000);
    invoice(&mut world, "I2", 20_000);
    world.send(0, create("P", 60_000, &[("I1", 30_000), ("I2", 30_000)])).ok();
    let answer = world.send(0, complete("P"));
    let data = answer.no("exceeds_due");
    assert_eq!((&data["invoice"], &data["balance_due"]), (&json!("I2"), &json!(20_000)));
    assert_eq!(invoice_now(&mut world, "I1"), said((0, 30_000, "issued")));
    assert_eq!(payment(&mut world, "P")["status"], "pending");
}

#[test]
fn m22_a_void_invoice_takes_nothing_and_a_paid_one_stays() {
    let void = ("invoices.void", json!({"id": "I", "reason": "wrong"}));
    for void_first in [true, false] {
        let mut world = book();
        invoice(&mut world, "I", 50_000);
        world.send(0, create("P", 50_000, &[("I", 50_000)])).ok();
        if void_first {
            let answers = world.all(0, &[void.clone(), complete("P")]);
            answers[0].ok();
            let data = answers[1].no("invoice_not_payable");
            assert_eq!((&data["invoice"], &data["status"]), (&json!("I"), &json!("void")));
        } else {
            let answers = world.all(0, &[complete("P"), void.clone()]);
            answers[0].ok();
            answers[1].no("invoice_not_voidable");
        }
    }
}

#[test]
fn m24_moves_from_one_invoice_to_another() {
    let mut world = book();
    invoice(&mut world, "I1", 50_000);
    invoice(&mut world, "I2", 50_000);
    paid(&mut world, "P", 50_000, &[("I1", 50_000)]);
    let answer = world.send(0, unapply("P", "I1", 20_000));
    assert_eq!(answer.ok()["payment"]["unapplied"], 20_000);
    assert_eq!(answer.ok()["invoice"]["status"], "partial");
    assert_eq!(posted(&mut world, "sys:unapplied:C:SAR"), 20_000);
    let answer = world.send(0, apply("P", "I2", 20_000));
    assert_eq!(answer.ok()["invoice"]["amount_paid"], 20_000);
    assert_eq!(world.send(0, apply("P", "I2", 1)).no("exceeds_unapplied")["unapplied"], 0);
    assert_eq!(invoice_now(&mut world, "I1"), said((30_000, 20_000, "partial")));
    assert_eq!(posted(&mut world, "sys:unapplied:C:SAR"), 0);
    assert_eq!(posted(&mut world, "sys:receivable:SAR"), -50_000);
}

#[test]
fn m57_completes_once_after_the_key_is_forgotten() {
    const DAY_MS: i64 = 86_400_000;
    let mut world = book();
    invoice(&mut world, "I", 50_000);
    world.send(0, create("P", 50_000, &[("I", 50_000)])).ok();
    world.keyed("k", 0, complete("P")).ok();
    world.keyed("k", 8 * DAY_MS, complete("P")).no("already_completed");
}

#[test]
fn m60_a_list_moves_all_or_nothing() {
    let mut world = book();
    retainer(&mut world, "R", 10_000);
    invoice(&mut world, "I", 50_000);
    paid(&mut world, "P", 50_000, &[("I", 50_000)]);
    let list = [consume("R", 6_000), invoice_of("C", "I1", 1_000), complete("P")];
    world.list(0, &list).no("already_completed");
    assert_eq!(retainer_now(&mut world, "R")["balance"], 10_000);
    let answer = world.send(0, invoice_of("C", "I2", 1_000));
    assert_eq!(answer.ok()["invoice"]["number"], "INV-202701-0002", "no number was used");
    let list = [create("Q", 500, &[("-", 500)]), complete("Q"), apply("Q", "I2", 500)];
    world.list(0, &list).ok();
    assert_eq!(invoice_now(&mut world, "I2"), said((500, 500, "partial")));
}

#[test]
fn m61_currencies_do_not_mix() {
    let usd = json!({"amount": 500, "currency": "USD"});
    let mut world = book();
    invoice(&mut world, "I", 500);
    let to = json!([{"invoice": "I", "amount": usd}]);
    let call = over(create("P", 500, &[]), &json!({"amount": usd, "destinations": to}));
    let answer = world.send(0, call);
    let data = answer.no("currency_mismatch");
    assert_eq!((&data["expected"], &data["got"]), (&json!("SAR"), &json!("USD")));
    // The destinations are of the payment's currency too.
    let call = over(create("P", 500, &[]), &json!({"destinations": [{"unapplied": usd}]}));
    world.send(0, call).no("currency_mismatch");
    world.send(0, create("P", 500, &[("I", 500)])).ok();
    let call = over(complete("P"), &json!({"amount": usd}));
    world.send(0, call).no("currency_mismatch");
    let call = over(complete("P"), &json!({"destinations": [{"unapplied": usd}]}));
    world.send(0, call).no("currency_mismatch");
    world.send(0, complete("P")).ok();
    let call = over(apply("P", "I", 1), &json!({"amount": usd}));
    world.send(0, call).no("currency_mismatch");
    let call = over(unapply("P", "I", 1), &json!({"amount": usd}));
    world.send(0, call).no("currency_mismatch");
    let pay = json!({"id": "I", "amount": usd, "method": "card"});
    world.send(0, ("invoices.pay", pay)).no("currency_mismatch");
}

#[test]
fn an_unknown_currency_is_refused_first() {
    let points = json!({"amount": 500, "currency": "PTS"});
    let mut world = book();
    let call = over(create("P", 500, &[]), &json!({"amount": points, "client": "nobody"}));
    assert_eq!(world.send(0, call).no("unknown_currency")["currency"], "PTS");
    let to = json!([{"unapplied": points}]);
    world.send(0, over(create("P", 500, &[]), &json!({"destinations": to}))).no("unknown_currency");
    for content in [
        json!({"id": "P", "amount": points}),
        json!({"id": "P", "destinations": [{"unapplied": points}]}),
    ] {
        world.send(0, ("payments.complete", content)).no("unknown_currency");
    }
    world.send(0, over(apply("P", "I", 1), &json!({"amount": points}))).no("unknown_currency");
    world.send(0, over(unapply("P", "I", 1), &json!({"amount": points}))).no("unknown_currency");
    let pay = json!({"id": "I", "amount": points, "method": "card"});
    world.send(0, ("invoices.pay", pay)).no("unknown_currency");
    // But what makes no sense is told before what is unknown.
    let nonsense = json!({"amount": points, "destinations": [{}]});
    world.send(0, over(create("P", 500, &[]), &nonsense)).no("invalid_request");
    let nonsense = json!({"id": "P", "amount": points, "destinations": [{}]});
    world.send(0, ("payments.complete", nonsense)).no("invalid_request");
}

#[test]
fn the_form_of_a_destination() {
    let mut world = book();
    for wrong in [
        json!([{"invoice": "I"}]),
        json!([{"invoice": "I", "retainer": "R", "amount": sar(500)}]),
        json!([{"invoice": "I", "unapplied": sar(500)}]),
        json!([{"unapplied": sar(400), "amount": sar(100)}]),
        json!([{"amount": sar(500)}]),
        json!([{}]),
        json!([{"invoice": "I", "amount": sar(200)}, {"invoice": "I", "amount": sar(300)}]),
        json!([{"unapplied": sar(200)}, {"unapplied": sar(300)}]),
    ] {
        let call = over(create("P", 500, &[]), &json!({"destinations": wrong}));
        assert_eq!(world.send(0, call).no("invalid_request")["field"], "destinations");
    }
    for (wrong, reason) in [(0, "zero"), (1_u64 << 53, "too_large")] {
        let call = over(create("P", 500, &[]), &json!({"destinations": parts(&[("I", wrong)])}));
        assert_eq!(world.send(0, call).no("invalid_amount")["reason"], reason);
    }
}

#[test]
fn a_payment_goes_to_forty_and_no_more() {
    let mut world = book();
    let names: Vec<String> = (0..41).map(|place| format!("I{place}")).collect();
    for name in &names {
        invoice(&mut world, name, 100);
    }
    let to: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 100)).collect();
    let answer = world.send(0, create("P", 4_100, &to));
    assert_eq!(answer.no("too_many_destinations")["max"], 40);
    // What does not add up is told first.
    world.send(0, create("P", 4_000, &to)).no("destinations_mismatch");
    world.send(0, create("P", 4_000, &to[..40])).ok();
    let answer = world.send(0, complete("P"));
    assert_eq!(answer.ok()["invoices"].as_array().unwrap().len(), 40);
    assert_eq!(answer.ok()["payment"]["allocated"], 4_000);
    assert_eq!(world.send(0, unapply("P", "I7", 1)).code(), "ok");
    let answer = world.send(0, apply("P", "I40", 1));
    assert_eq!(answer.no("too_many_destinations")["max"], 40);
    world.send(0, unapply("P", "I8", 100)).ok();
    assert_eq!(world.send(0, apply("P", "I40", 100)).ok()["payment"]["unapplied"], 1);
}

#[test]
fn the_order_of_refusals_of_a_creation() {
    let mut world = book();
    archive_client(&mut world, "A");
    world.send(0, invoice_of("D", "I", 500)).ok();
    let named = json!({"external_id": "x"});
    world.send(0, over(create("P", 1, &[]), &named)).ok();
    let wrong = over(create("P", 500, &[("I0", 500)]), &json!({"client": "E", "external_id": "x"}));
    assert_eq!(world.send(0, wrong.clone()).no("client_not_found")["id"], "E");
    let wrong = over(wrong, &json!({"client": "A"}));
    assert_eq!(world.send(0, wrong.clone()).no("invoice_not_found")["id"], "I0");
    let to = parts(&[("R0", 500)]);
    let missing = over(wrong.clone(), &json!({"destinations": to}));
    assert_eq!(world.send(0, missing).no("retainer_not_found")["id"], "R0");
    let wrong = over(wrong, &json!({"destinations": parts(&[("I", 500)])}));
    assert_eq!(world.send(0, wrong.clone()).no("payment_exists")["id"], "P");
    let wrong = over(wrong, &json!({"id": "Q"}));
    assert_eq!(world.send(0, wrong.clone()).no("external_id_in_use")["id"], "P");
    let wrong = over(wrong, &json!({"external_id": "y"}));
    let answer = world.send(0, wrong.clone());
    let data = answer.no("client_mismatch");
    assert_eq!((&data["expected"], &data["got"]), (&json!("A"), &json!("D")));
    let wrong = over(wrong, &json!({"destinations": parts(&[("-", 500)])}));
    world.send(0, wrong.clone()).no("client_archived");
    world.send(0, over(wrong, &json!({"client": "C"}))).ok();
}

#[test]
fn the_order_of_refusals_of_a_completion() {
    let mut world = book();
    world.send(0, invoice_of("D", "ID", 500)).ok();
    invoice(&mut world, "I", 500);
    world.send(0, ("invoices.void", json!({"id": "I", "reason": "wrong"}))).ok();
    invoice(&mut world, "I5", 500);
    world.send(0, over(create("X", 1, &[]), &json!({"external_id": "x"}))).ok();
    let to = |list: &[(&str, u64)]| json!({"destinations": parts(list)});
    let call = over(complete("P"), &json!({"external_id": "x", "if_version": 7}));
    let call = over(call, &to(&[("I0", 600)]));
    assert_eq!(world.send(0, call.clone()).no("payment_not_found")["id"], "P");
    world.send(0, create("P", 600, &[])).ok();
    world.send(0, call.clone()).no("invoice_not_found");
    let call = over(call, &to(&[("ID", 600)]));
    assert_eq!(world.send(0, call.clone()).no("external_id_in_use")["id"], "X");
    let call = over(call, &json!({"external_id": "z"}));
    world.send(0, call.clone()).no("client_mismatch");
    let call = over(call, &to(&[("I", 600)]));
    assert_eq!(world.send(0, call.clone()).no("version_mismatch")["version"], 1);
    let call = over(call, &json!({"if_version": 1, "amount": sar(700)}));
    let call = over(call, &to(&[("I", 700)]));
    world.send(0, call.clone()).no("invoice_not_payable");
    let call = over(call, &to(&[("I5", 700)]));
    assert_eq!(world.send(0, call.clone()).no("amount_mismatch")["expected"], 600);
    let call = over(call, &json!({"amount": sar(600)}));
    let call = over(call, &to(&[("I5", 600)]));
    assert_eq!(world.send(0, call.clone()).no("exceeds_due")["balance_due"], 500);
    let call = over(call, &to(&[("I5", 500), ("-", 100)]));
    let answer = world.send(0, call);
    assert_eq!(answer.ok()["payment"]["external_id"], "z");
}

/// Retainers that are refunded, expired and closing, and an invoice that is void.
fn over_and_done() -> World {
    let mut world = book();
    invoice(&mut world, "I", 500);
    world.send(0, ("invoices.void", json!({"id": "I", "reason": "wrong"}))).ok();
    retainer(&mut world, "R1", 100);
    world.send(0, ("retainers.refund", json!({"id": "R1", "reason": "over"}))).ok();
    let ends = json!({"ends_at": at(1_000).to_string()});
    world.send(0, retainer_with("R2", 100, &ends)).ok();
    retainer(&mut world, "R3", 100);
    let later = json!({"id": "R3", "reason": "over", "settle": "later"});
    world.send(0, ("retainers.refund", later)).ok();
    world
}

#[test]
fn each_code_is_tested_on_all_targets_before_the_next() {
    let all = [("R3", 1), ("R2", 1), ("R1", 1), ("I", 1)];
    let codes =
        ["retainer_closing", "retainer_expired", "retainer_refunded", "invoice_not_payable"];
    for (place, code) in codes.iter().enumerate() {
        let mut world = over_and_done();
        let to = &all[..=place];
        let amount = u64::try_from(to.len()).unwrap();
        world.send(0, create("P", amount, to)).ok();
        world.send(1_000, complete("P")).no(code);
    }
}

#[test]
fn applies_only_to_what_takes_money() {
    let mut world = over_and_done();
    paid(&mut world, "P", 500, &[("-", 500)]);
    world.send(1_000, apply("P", "I", 600)).no("invoice_not_payable");
    world.send(1_000, apply("P", "R1", 600)).no("retainer_refunded");
    world.send(1_000, apply("P", "R2", 600)).no("retainer_expired");
    world.send(1_000, apply("P", "R3", 600)).no("retainer_closing");
    let answer = world.send(999, apply("P", "R2", 100));
    assert_eq!(answer.deadline(), Some(at(1_000)), "it relied on the end of R2");
}

#[test]
fn the_order_of_refusals_of_applying() {
    let mut world = book();
    invoice(&mut world, "I", 500);
    world.send(0, invoice_of("D", "ID", 500)).ok();
    world.send(0, apply("P", "I0", 900)).no("payment_not_found");
    world.send(0, create("P", 800, &[("-", 800)])).ok();
    world.send(0, apply("P", "I0", 900)).no("invoice_not_found");
    world.send(0, apply("P", "R0", 900)).no("retainer_not_found");
    let call = over(apply("P", "ID", 900), &json!({"if_version": 7}));
    world.send(0, call).no("client_mismatch");
    let call = over(apply("P", "I", 900), &json!({"if_version": 7}));
    world.send(0, call).no("version_mismatch");
    world.send(0, apply("P", "I", 900)).no("payment_not_completed");
    world.send(0, complete("P")).ok();
    assert_eq!(world.send(0, apply("P", "I", 900)).no("exceeds_unapplied")["unapplied"], 800);
    assert_eq!(world.send(0, apply("P", "I", 501)).no("exceeds_due")["balance_due"], 500);
    world.send(0, apply("P", "I", 500)).ok();
}

#[test]
fn unapplies_from_a_retainer_what_it_has_not_spent() {
    let mut world = book();
    retainer(&mut world, "R", 0);
    world.send(0, unapply("P", "R", 1)).no("payment_not_found");
    paid(&mut world, "P", 1_000, &[("R", 1_000)]);
    world.send(0, unapply("P", "R0", 1)).no("allocation_not_found");
    world.send(0, consume("R", 700)).ok();
    let call = over(unapply("P", "R", 1_001), &json!({"if_version": 7}));
    world.send(0, call).no("version_mismatch");
    let data = world.send(0, unapply("P", "R", 1_001));
    let data = data.no("exceeds_allocation");
    assert_eq!((&data["allocated"], &data["free"]), (&json!(1_000), &json!(1_000)));
    let answer = world.send(0, unapply("P", "R", 301));
    let data = answer.no("insufficient_funds");
    assert_eq!((&data["available"], &data["required"]), (&json!(300), &json!(301)));
    let answer = world.send(0, unapply("P", "R", 300));
    assert_eq!(events(&answer), ["retainer_depleted"]);
    assert_eq!(answer.ok()["payment"]["retained"], 700);
    assert_eq!(posted(&mut world, "sys:unapplied:C:SAR"), 300);
}

#[test]
fn unapplies_all_that_is_free_unless_told() {
    let mut world = book();
    invoice(&mut world, "I", 900);
    paid(&mut world, "P", 1_000, &[("I", 600), ("-", 400)]);
    world.send(0, apply("P", "I", 300)).ok();
    let answer = world.send(0, ("payments.unapply", json!({"id": "P", "from": {"invoice": "I"}})));
    assert_eq!(answer.ok()["payment"]["unapplied"], 1_000);
    assert_eq!(answer.ok()["invoice"]["amount_paid"], 0);
    world.send(0, unapply("P", "I", 1)).no("allocation_not_found");
}

#[test]
fn pays_an_invoice_in_one_command() {
    let mut world = book();
    invoice(&mut world, "I", 500);
    let pay = |amount: u64| {
        let content = json!({"id": "I", "amount": sar(amount), "method": "card"});
        ("invoices.pay", content)
    };
    let answer = world.send(0, pay(200));
    let view = &answer.ok()["payment"];
    assert_eq!((&view["status"], &view["allocated"]), (&json!("completed"), &json!(200)));
    assert_eq!(view["number"], "PAY-2027-0001");
    assert_eq!(answer.ok()["invoices"][0]["balance_due"], 300);
    let id = view["id"].clone();
    assert_eq!(world.send(0, of("payments.read", &id)).ok()["payment"], *view);
    world.send(0, pay(301)).no("exceeds_due");
    let answer = world.send(0, pay(300));
    assert_eq!(answer.ok()["payment"]["number"], "PAY-2027-0002", "a refused one used none");
    assert_eq!(events(&answer), ["invoice_paid"]);
    assert_eq!(posted(&mut world, "sys:receivable:SAR"), 0);
}

#[test]
fn the_order_of_refusals_of_paying_an_invoice() {
    let mut world = book();
    world.send(0, over(create("X", 1, &[]), &json!({"external_id": "x"}))).ok();
    let content = json!({
        "id": "I", "amount": sar(501), "method": "card", "external_id": "x", "if_version": 7,
    });
    let call = ("invoices.pay", content);
    world.send(0, call.clone()).no("invoice_not_found");
    invoice(&mut world, "I", 500);
    world.send(0, call.clone()).no("external_id_in_use");
    let call = over(call, &json!({"external_id": "y"}));
    world.send(0, call.clone()).no("version_mismatch");
    archive_client(&mut world, "C");
    let call = over(call, &json!({"if_version": 1}));
    world.send(0, call.clone()).no("client_archived");
    put_client(&mut world, "C");
    world.send(0, call.clone()).no("exceeds_due");
    let call = over(call, &json!({"amount": sar(500)}));
    let answer = world.send(0, call.clone());
    assert_eq!(answer.ok()["payment"]["external_id"], "y");
    world.send(0, over(call, &json!({"if_version": 2}))).no("external_id_in_use");
    world.send(0, invoice_of("C", "IV", 500)).ok();
    world.send(0, ("invoices.void", json!({"id": "IV", "reason": "wrong"}))).ok();
    let pay = json!({"id": "IV", "amount": sar(501), "method": "card"});
    world.send(0, ("invoices.pay", pay)).no("invoice_not_payable");
}

#[test]
fn an_id_of_the_outside_is_of_one_payment_until_that_ends_without_effect() {
    for verb in ["fail", "cancel"] {
        let mut world = book();
        let named = |id: &str| over(create(id, 500, &[("-", 500)]), &json!({"external_id": "x"}));
        world.send(0, named("P")).ok();
        assert_eq!(world.send(0, named("Q")).no("external_id_in_use")["id"], "P");
        world.send(0, end(verb, "P")).ok();
        world.send(0, named("Q")).ok();
        world.send(0, complete("Q")).ok();
        world.send(0, named("S")).no("external_id_in_use");
    }
}

#[test]
fn the_completion_may_say_the_id_of_the_outside() {
    let mut world = book();
    let named = |id: &str, external: &str| {
        over(create(id, 500, &[("-", 500)]), &json!({"external_id": external}))
    };
    world.send(0, named("P", "x")).ok();
    // Its own is free for it; another one takes its place.
    world.send(0, over(complete("P"), &json!({"external_id": "y"}))).ok();
    world.send(0, named("Q", "y")).no("external_id_in_use");
    world.send(0, named("Q", "x")).ok();
    world.send(0, over(complete("Q"), &json!({"external_id": "x"}))).ok();
}

#[test]
fn a_failed_payment_says_why() {
    let mut world = book();
    world.send(0, end("fail", "P")).no("payment_not_found");
    world.send(0, create("P", 500, &[])).ok();
    let call = over(end("fail", "P"), &json!({"if_version": 7}));
    world.send(0, call).no("version_mismatch");
    let answer = world.send(5, end("fail", "P"));
    let view = &answer.ok()["payment"];
    assert_eq!((&view["status"], &view["reason"]), (&json!("failed"), &json!("no money")));
    assert_eq!((&view["ended_at"], &view["version"]), (&json!(at(5).to_string()), &json!(2)));
    assert_eq!(view["refundable"], 0);
}

#[test]
fn tells_of_a_possible_duplicate_within_the_window() {
    const WINDOW_MS: i64 = 600_000;
    for (millis, amount, told) in
        [(WINDOW_MS - 1, 100, true), (WINDOW_MS, 100, false), (1, 101, false)]
    {
        let mut world = book();
        invoice(&mut world, "I", 1_000);
        paid(&mut world, "P", 100, &[("I", 100)]);
        world.send(millis, create("Q", amount, &[("I", amount)])).ok();
        let answer = world.send(millis, complete("Q"));
        let expected = json!([{
            "event": "possible_duplicate_payment", "invoice": "I", "payment": "Q",
            "earlier": "P", "amount": 100,
        }]);
        let expected = if told { expected } else { json!([]) };
        assert_eq!(answer.ok()["events"], expected, "{millis} {amount}");
    }
}

#[test]
fn a_payment_is_no_duplicate_of_itself() {
    let mut world = book();
    invoice(&mut world, "I", 1_000);
    paid(&mut world, "P", 200, &[("I", 100), ("-", 100)]);
    assert_eq!(events(&world.send(0, apply("P", "I", 100))), [""; 0]);
    // Late or not, another payment may be.
    paid(&mut world, "Q", 100, &[("-", 100)]);
    assert_eq!(events(&world.send(0, apply("Q", "I", 100))), ["possible_duplicate_payment"]);
}

const MOST: u64 = 9_007_199_254_740_991;

/// Leaves one number in the series of payments.
fn nearly_exhausted(world: &mut World) {
    let content = json!({
        "name": "PAY", "template": "P{N:1}", "class": "gapless", "zone": "UTC", "start": 9,
        "overflow": "refuse",
    });
    world.send(0, ("series.define", content)).ok();
}

#[test]
fn a_sum_above_the_largest_is_told_before_a_series_without_numbers() {
    let mut world = book();
    nearly_exhausted(&mut world);
    paid(&mut world, "P", MOST, &[("-", MOST)]);
    invoice(&mut world, "I", 1);
    let pay = |amount: u64| {
        let content = json!({"id": "I", "amount": sar(amount), "method": "card"});
        ("invoices.pay", content)
    };
    world.send(0, pay(2)).no("exceeds_due");
    world.send(0, pay(1)).no("amount_overflow");
    world.send(0, ("payments.refund", json!({"id": "P", "amount": sar(1), "reason": "x"}))).ok();
    assert_eq!(world.send(0, pay(1)).no("series_exhausted")["last"], 9);
}

/// R with all that a retainer can have, though nothing came in for it: what it had was spent, taken
/// back by the bank, and restored.
fn full_retainer(world: &mut World) {
    retainer(world, "R", 0);
    paid(world, "P", MOST, &[("R", MOST)]);
    let consumed = world.send(0, consume("R", MOST)).ok()["consumption"]["id"].clone();
    let disputed = world.send(0, dispute("P", MOST, "b1")).ok()["dispute"]["id"].clone();
    world.send(0, of("disputes.lose", &disputed)).ok();
    world.send(0, ("retainers.restore", json!({"consumption": consumed}))).ok();
    assert_eq!(retainer_now(world, "R")["balance"], MOST);
    assert_eq!(posted(world, "sys:cash:SAR"), 0);
}

#[test]
fn a_sum_above_the_largest_is_told_before_too_many_parts() {
    let mut world = book();
    full_retainer(&mut world);
    retainer(&mut world, "R2", 0);
    paid(&mut world, "Q", 41, &[("-", 41)]);
    for _ in 0..40 {
        world.send(0, apply("Q", "R2", 1)).ok();
    }
    world.send(0, apply("Q", "R2", 2)).no("exceeds_unapplied");
    assert_eq!(world.send(0, apply("Q", "R2", 1)).no("too_many_destinations")["max"], 40);
    world.send(0, apply("Q", "R", 1)).no("amount_overflow");
}

#[test]
fn a_sum_above_the_largest_is_refused() {
    let mut world = book();
    let to = [("I", MOST), ("-", MOST)];
    world.send(0, create("P", MOST, &to)).no("amount_overflow");
    paid(&mut world, "P", MOST, &[("-", MOST)]);
    world.send(0, create("Q", 1, &[("-", 1)])).ok();
    world.send(0, complete("Q")).no("amount_overflow");
    assert_eq!(payment(&mut world, "Q")["status"], "pending");
    invoice(&mut world, "I", 1);
    let pay = ("invoices.pay", json!({"id": "I", "amount": sar(1), "method": "card"}));
    world.send(0, pay).no("amount_overflow");
}
