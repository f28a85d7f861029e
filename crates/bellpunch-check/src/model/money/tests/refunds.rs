//! Refunds and disputes.

use super::*;

fn refund(id: &str, amount: i64) -> Value {
    json!({ "id": id, "amount": sar(amount), "reason": "x" })
}

fn dispute(id: &str, amount: i64) -> Value {
    json!({ "id": id, "amount": sar(amount), "external_id": "d" })
}

fn paid_invoice(amount: i64) -> Desk {
    let mut desk = Desk::usual();
    desk.invoice("I", amount);
    desk.paid("P", amount, json!([to_invoice("I", amount)]));
    desk
}

#[test]
fn m26_m27_the_budget_is_the_payment() {
    let mut desk = paid_invoice(100_000);
    for left in [70_000, 40_000, 10_000] {
        let done = desk.ok("payments.refund", refund("P", 30_000));
        assert_eq!(done["invoices"][0]["amount_paid"], json!(left));
        assert_eq!(done["invoices"][0]["status"], "partial");
    }
    let told = desk.no("payments.refund", refund("P", 30_000), "exceeds_refundable");
    assert_eq!(told["refundable"], json!(10_000));
}

#[test]
fn m30_m31_what_is_pending_counts() {
    let mut desk = paid_invoice(100_000);
    let mut later = refund("P", 70_000);
    later["settle"] = json!("later");
    let pending = desk.ok("payments.refund", later.clone());
    assert_eq!(pending["payment"]["held"], json!(70_000));
    assert_eq!(desk.read("invoice", "I")["status"], "paid");
    let told = desk.no("payments.refund", refund("P", 40_000), "exceeds_refundable");
    assert_eq!((&told["refundable"], &told["pending"]), (&json!(30_000), &json!(70_000)));
    let from = json!({ "id": "P", "from": { "invoice": "I" }, "amount": sar(40_000) });
    let told = desk.no("payments.unapply", from, "exceeds_allocation");
    assert_eq!((&told["allocated"], &told["free"]), (&json!(100_000), &json!(30_000)));
    let id = json!({ "id": pending["refund"]["id"] });
    let failed = desk.ok("refunds.fail", id.clone());
    assert_eq!(failed["payment"]["refundable"], json!(100_000));
    let pending = desk.ok("payments.refund", later);
    let id = json!({ "id": pending["refund"]["id"] });
    let done = desk.ok("refunds.complete", id.clone());
    assert_eq!(done["invoices"][0]["amount_paid"], json!(30_000));
    assert_eq!(desk.no("refunds.complete", id, "refund_not_pending")["status"], "succeeded");
}

#[test]
fn m32_the_newest_is_given_back_first() {
    for named in [false, true] {
        let mut desk = Desk::usual();
        desk.invoice("I1", 60_000);
        desk.invoice("I2", 40_000);
        desk.paid("P", 100_000, json!([to_invoice("I1", 60_000), to_invoice("I2", 40_000)]));
        let mut args = refund("P", if named { 40_000 } else { 50_000 });
        if named {
            args["sources"] = json!([to_invoice("I1", 40_000)]);
        }
        desk.ok("payments.refund", args);
        let left = |desk: &mut Desk, id: &str| desk.read("invoice", id)["amount_paid"].clone();
        let expected =
            if named { (json!(20_000), json!(40_000)) } else { (json!(50_000), json!(0)) };
        assert_eq!((left(&mut desk, "I1"), left(&mut desk, "I2")), expected);
    }
}

#[test]
fn m33_a_dispute_takes_what_is_spent() {
    let mut desk = Desk::usual();
    desk.retainer("R", 0, json!({}));
    desk.paid("P", 50_000, json!([to_retainer("R", 50_000)]));
    desk.ok("retainers.consume", of("R", 30_000));
    let told = desk.no("payments.refund", refund("P", 50_000), "exceeds_refundable");
    assert_eq!(told["refundable"], json!(20_000));
    let done = desk.ok("payments.refund", refund("P", 20_000));
    assert_eq!(done["retainers"][0]["status"], "depleted");
    let open = desk.ok("payments.dispute", dispute("P", 30_000));
    let lost = desk.ok("disputes.lose", json!({ "id": open["dispute"]["id"] }));
    assert_eq!(lost["payment"]["lost"], json!(30_000));
    assert_eq!(lost["payment"]["refund_status"], "full");
    assert_eq!(lost["retainers"][0]["balance"], json!(0));
    let losses = &lost["postings"][1];
    assert_eq!(
        (&losses["account"], &losses["amount"]),
        (&json!("sys:dispute_losses:SAR"), &json!(30_000))
    );
}

#[test]
fn a_retainer_that_spent_all_is_not_touched_by_what_is_lost() {
    let mut desk = Desk::usual();
    desk.retainer("R", 0, json!({}));
    desk.paid("P", 500, json!([to_retainer("R", 500)]));
    desk.ok("retainers.consume", of("R", 500));
    let open = desk.ok("payments.dispute", dispute("P", 300));
    let lost = desk.ok("disputes.lose", json!({ "id": open["dispute"]["id"] }));
    assert_eq!(lost["retainers"][0]["version"], json!(3), "created, paid and consumed");
    assert_eq!(lost["postings"].as_array().unwrap().len(), 2);
}

#[test]
fn an_invoice_of_two_allocations_is_shown_once() {
    let mut desk = Desk::usual();
    desk.invoice("I", 1_000);
    desk.paid("P", 500, json!([to_invoice("I", 300), unapplied(200)]));
    desk.ok("payments.apply", json!({ "id": "P", "to": { "invoice": "I" }, "amount": sar(200) }));
    let done = desk.ok("payments.refund", refund("P", 500));
    assert_eq!(done["invoices"].as_array().unwrap().len(), 1);
}

#[test]
fn m34_only_what_was_completed() {
    let mut desk = Desk::usual();
    desk.payment("P", 5, Value::Null);
    desk.no("payments.refund", refund("P", 5), "payment_not_completed");
    desk.ok("payments.cancel", json!({ "id": "P", "reason": "x" }));
    let told = desk.no("payments.refund", refund("P", 5), "payment_not_completed");
    assert_eq!(told["status"], "cancelled");
}

#[test]
fn m35_m36_one_budget_for_both() {
    let mut desk = paid_invoice(10_000);
    let open = desk.ok("payments.dispute", dispute("P", 10_000));
    let told = desk.no("payments.refund", refund("P", 1), "exceeds_refundable");
    assert_eq!(told["refundable"], json!(0));
    let id = json!({ "id": open["dispute"]["id"] });
    let won = desk.ok("disputes.win", id.clone());
    assert_eq!(won["payment"]["refundable"], json!(10_000));
    assert_eq!(desk.no("disputes.lose", id, "dispute_not_open")["status"], "won");
    desk.ok("payments.refund", refund("P", 6_000));
    let mut again = dispute("P", 10_000);
    again["external_id"] = json!("e");
    assert_eq!(desk.no("payments.dispute", again, "exceeds_free")["free"], json!(4_000));
}
