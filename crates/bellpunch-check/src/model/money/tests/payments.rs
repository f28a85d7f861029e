//! Payments.

use super::*;

fn complete(id: &str) -> Value {
    json!({ "id": id })
}

#[test]
fn m12_m13_m14_an_invoice_is_paid_once() {
    let mut desk = Desk::usual();
    desk.invoice("I", 100_000);
    desk.payment("P1", 100_000, json!([to_invoice("I", 100_000)]));
    desk.payment("P2", 100_000, json!([to_invoice("I", 100_000)]));
    let paid = desk.ok("payments.complete", complete("P1"));
    assert_eq!(paid["invoices"][0]["status"], "paid");
    let told = desk.no("payments.complete", complete("P2"), "exceeds_due");
    assert_eq!(told["balance_due"], json!(0));
    assert_eq!(desk.read("payment", "P2")["status"], "pending");
    let args = json!({ "id": "P2", "overpayment": "unapplied" });
    let diverted = desk.ok("payments.complete", args);
    assert_eq!(diverted["payment"]["unapplied"], json!(100_000));
    assert_eq!(desk.read("invoice", "I")["amount_paid"], json!(100_000));
}

#[test]
fn equals_are_told_by_what_was_to_be_paid() {
    let mut desk = Desk::usual();
    desk.invoice("I", 500);
    desk.paid("P", 300, json!([to_invoice("I", 300)]));
    // What is taken back later was paid all the same.
    let args = json!({ "id": "P", "from": { "invoice": "I" }, "amount": sar(100) });
    desk.ok("payments.unapply", args);
    let mut divert = |id: &str, amount| {
        desk.payment(id, amount, json!([to_invoice("I", amount)]));
        let args = json!({ "id": id, "overpayment": "unapplied" });
        desk.ok("payments.complete", args)
    };
    assert_eq!(events(&divert("Q", 200)), [""; 0]);
    // Of this one the invoice takes a part, and of the next nothing.
    let third = divert("R", 300);
    assert_eq!(events(&third), ["possible_duplicate_payment", "invoice_paid"]);
    assert_eq!(third["events"][0]["earlier"], "P");
    assert_eq!(third["events"][0]["amount"], json!(300));
    let fourth = divert("S", 200);
    assert_eq!(fourth["events"][0]["earlier"], "Q");
    desk.at += 600_000 * MILLI;
    desk.payment("T", 300, json!([to_invoice("I", 300)]));
    let args = json!({ "id": "T", "overpayment": "unapplied" });
    assert_eq!(events(&desk.ok("payments.complete", args)), [""; 0]);
}

#[test]
fn a_late_allocation_is_told_as_well() {
    let mut desk = Desk::usual();
    desk.invoice("I", 500);
    desk.paid("P", 100, json!([to_invoice("I", 100)]));
    desk.paid("Q", 100, json!([unapplied(100)]));
    let args = json!({ "id": "Q", "to": { "invoice": "I" }, "amount": sar(100) });
    assert_eq!(events(&desk.ok("payments.apply", args)), ["possible_duplicate_payment"]);
}

#[test]
fn what_is_unapplied_without_an_amount_is_all_that_is_free() {
    let mut desk = Desk::usual();
    desk.invoice("I", 500);
    desk.paid("P", 500, json!([to_invoice("I", 500)]));
    let later = json!({ "id": "P", "amount": sar(200), "reason": "x", "settle": "later" });
    desk.ok("payments.refund", later);
    let args = json!({ "id": "P", "from": { "invoice": "I" } });
    let reply = desk.ok("payments.unapply", args.clone());
    assert_eq!(reply["payment"]["unapplied"], json!(300));
    let told = desk.no("payments.unapply", args, "exceeds_allocation");
    assert_eq!((&told["allocated"], &told["free"]), (&json!(200), &json!(0)));
}

#[test]
fn m15_m17_a_payment_ends_once() {
    let mut desk = Desk::usual();
    desk.invoice("I", 100_000);
    desk.paid("P", 50_000, json!([to_invoice("I", 50_000)]));
    desk.no("payments.complete", complete("P"), "already_completed");
    desk.no("payments.fail", json!({ "id": "P", "reason": "x" }), "already_completed");
    desk.payment("Q", 1, Value::Null);
    desk.ok("payments.fail", json!({ "id": "Q", "reason": "x" }));
    let told = desk.no("payments.complete", complete("Q"), "payment_not_pending");
    assert_eq!(told["status"], "failed");
}

#[test]
fn m18_m19_destinations_are_all_of_it() {
    let mut desk = Desk::usual();
    desk.invoice("I1", 30_000);
    desk.invoice("I2", 50_000);
    desk.retainer("R", 0, json!({}));
    let all = json!([
        to_invoice("I1", 30_000),
        to_invoice("I2", 50_000),
        to_retainer("R", 15_000),
        unapplied(5_000),
    ]);
    let done = desk.paid("P", 100_000, all);
    let payment = &done["payment"];
    assert_eq!((&payment["allocated"], &payment["retained"]), (&json!(80_000), &json!(15_000)));
    assert_eq!(payment["refundable"], json!(100_000));
    assert_eq!(done["retainers"][0]["balance"], json!(15_000));
    let args = json!({ "client": "C", "amount": sar(100_000), "method": "bank",
                       "destinations": [to_invoice("I1", 90_000)] });
    desk.no("payments.create", args, "destinations_mismatch");
    desk.payment("Q", 1, Value::Null);
    desk.no("payments.complete", complete("Q"), "destinations_required");
}

#[test]
fn m21_all_or_nothing() {
    let mut desk = Desk::usual();
    desk.invoice("I1", 30_000);
    desk.invoice("I2", 20_000);
    desk.payment("P", 60_000, json!([to_invoice("I1", 30_000), to_invoice("I2", 30_000)]));
    let told = desk.no("payments.complete", complete("P"), "exceeds_due");
    assert_eq!(told["balance_due"], json!(20_000));
    assert_eq!(desk.read("invoice", "I1")["amount_paid"], json!(0));
}

#[test]
fn m24_m25_what_is_not_applied() {
    let mut desk = Desk::usual();
    desk.invoice("I1", 50_000);
    desk.invoice("I2", 50_000);
    desk.paid("P", 50_000, json!([to_invoice("I1", 50_000)]));
    let from = json!({ "id": "P", "from": { "invoice": "I1" }, "amount": sar(20_000) });
    let back = desk.ok("payments.unapply", from);
    assert_eq!(back["invoice"]["status"], "partial");
    assert_eq!(back["payment"]["unapplied"], json!(20_000));
    let to = |amount| json!({ "id": "P", "to": { "invoice": "I2" }, "amount": sar(amount) });
    desk.ok("payments.apply", to(20_000));
    let told = desk.no("payments.apply", to(1), "exceeds_unapplied");
    assert_eq!(told["unapplied"], json!(0));
    desk.paid("Q", 30_000, json!([unapplied(30_000)]));
    desk.ok(
        "payments.refund",
        json!({ "id": "Q", "reason": "x", "amount": sar(30_000),
                                       "sources": [unapplied(30_000)] }),
    );
    let to = json!({ "id": "Q", "to": { "invoice": "I2" }, "amount": sar(30_000) });
    desk.no("payments.apply", to, "exceeds_unapplied");
}

#[test]
fn m61_one_currency() {
    let mut desk = Desk::usual();
    desk.invoice("I", 5);
    let usd = json!({ "amount": 5, "currency": "USD" });
    let args = json!({ "client": "C", "amount": usd, "method": "bank",
                       "destinations": [{ "invoice": "I", "amount": usd }] });
    desk.no("payments.create", args, "currency_mismatch");
}

#[test]
fn a_payment_of_the_outside_is_known_once() {
    let mut desk = Desk::usual();
    let create = |id: &str| json!({ "id": id, "client": "C", "amount": sar(5), "method": "card", "external_id": "x" });
    desk.ok("payments.create", create("P"));
    assert_eq!(desk.no("payments.create", create("Q"), "external_id_in_use")["id"], "P");
    desk.ok("payments.cancel", json!({ "id": "P", "reason": "x" }));
    desk.ok("payments.create", create("Q"));
}

#[test]
fn paying_at_once_is_to_create_and_to_complete() {
    let mut desk = Desk::usual();
    desk.invoice("I", 10);
    let pay = |amount| json!({ "id": "I", "amount": sar(amount), "method": "cash" });
    let part = desk.ok("invoices.pay", pay(4));
    assert_eq!(part["invoices"][0]["status"], "partial");
    assert_eq!(part["payment"]["number"], "PAY-2025-0001");
    desk.no("invoices.pay", pay(7), "exceeds_due");
    let again = desk.ok("invoices.pay", pay(4));
    assert_eq!(events(&again), ["possible_duplicate_payment"]);
}
