//! Invoices and credit notes.

use super::*;

fn line(price: i64, vat_bp: u64) -> Value {
    json!({ "description": "x", "quantity_milli": 1_000, "unit_price": sar(price), "vat_bp": vat_bp })
}

fn credit(id: &str, net: i64, vat_bp: u64) -> Value {
    json!({ "id": id, "lines": [{ "net": sar(net), "vat_bp": vat_bp }], "reason": "x" })
}

#[test]
fn m23_a_void_invoice_keeps_its_number() {
    let mut desk = Desk::usual();
    assert_eq!(desk.invoice("I", 5)["number"], "INV-202506-0001");
    let void = json!({ "id": "I", "reason": "x" });
    let voided = desk.ok("invoices.void", void.clone());
    assert_eq!(voided["invoice"]["number"], "INV-202506-0001");
    assert_eq!(desk.no("invoices.void", void, "invoice_not_issued")["status"], "void");
    assert_eq!(desk.invoice("J", 5)["number"], "INV-202506-0002");
    desk.payment("P", 5, json!([to_invoice("I", 5)]));
    let told = desk.no("payments.complete", json!({ "id": "P" }), "invoice_not_payable");
    assert_eq!(told["status"], "void");
}

#[test]
fn m37_crediting_all_gives_back_the_tax() {
    let mut desk = Desk::usual();
    let invoice = desk.invoice_of("I", json!([line(100_000, 1_500)]));
    assert_eq!(invoice["total"], json!(115_000));
    let half = desk.ok("invoices.credit", credit("I", 50_000, 1_500));
    assert_eq!(half["credit_note"]["number"], "CRN-202506-0001");
    assert_eq!(half["credit_note"]["total"], json!(57_500));
    assert_eq!(half["invoice"]["balance_due"], json!(57_500));
    desk.paid("P", 57_500, json!([to_invoice("I", 57_500)]));
    let told = desk.no("invoices.credit", credit("I", 50_000, 1_500), "exceeds_due");
    assert_eq!(told["balance_due"], json!(0));
    let mut args = credit("I", 50_000, 1_500);
    args["excess"] = json!("unapplied");
    let done = desk.ok("invoices.credit", args);
    assert_eq!(done["invoice"]["credited"], json!(115_000));
    assert_eq!(done["invoice"]["amount_paid"], json!(0));
    assert_eq!(done["invoice"]["status"], "paid");
    assert_eq!(done["payments"][0]["unapplied"], json!(57_500));
    let told = desk.no("invoices.credit", credit("I", 1, 1_500), "exceeds_invoice");
    assert_eq!(told["creditable"], json!(0));
}

#[test]
fn an_excess_goes_back_once_to_each() {
    let mut desk = Desk::usual();
    desk.invoice("I", 1_000);
    desk.retainer("R", 1_000, json!({}));
    for amount in [200, 300] {
        let mut args = of("R", amount);
        args["invoice"] = json!("I");
        desk.ok("retainers.consume", args);
    }
    desk.paid("P", 400, json!([to_invoice("I", 400)]));
    desk.paid("Q", 100, json!([to_invoice("I", 100)]));
    let mut args = credit("I", 1_000, 0);
    args["excess"] = json!("unapplied");
    let done = desk.ok("invoices.credit", args);
    let credits = done["postings"].as_array().unwrap().iter().skip(3);
    let credits: Vec<(&Value, &Value)> =
        credits.map(|one| (&one["account"], &one["amount"])).collect();
    let unapplied = json!("sys:unapplied:C:SAR");
    let retainer = json!("sys:retainer:R");
    assert_eq!(
        credits,
        [(&unapplied, &json!(100)), (&unapplied, &json!(400)), (&retainer, &json!(500))]
    );
    let ids = |list: &str| {
        let all = done[list].as_array().unwrap();
        all.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (ids("payments"), ids("retainers")),
        (vec!["Q".into(), "P".into()], vec!["R".into()])
    );
    assert_eq!(done["retainers"][0]["balance"], json!(1_000));
}

#[test]
fn m38_tax_is_worked_out_once_and_comes_back_whole() {
    let mut desk = Desk::usual();
    let one = desk.invoice_of("I", json!([line(333, 1_500), line(333, 1_500), line(333, 1_500)]));
    assert_eq!((&one["vat"], &one["total"]), (&json!(150), &json!(1_149)));
    for _ in 0..3 {
        let reply = desk.ok("invoices.credit", credit("I", 333, 1_500));
        assert_eq!(reply["credit_note"]["vat"], json!(50));
    }
    let other = desk.invoice_of("J", json!([line(10, 500), line(10, 500), line(10, 500)]));
    assert_eq!((&other["vat"], &other["total"]), (&json!(2), &json!(32)));
    for vat in [1, 0, 1] {
        let reply = desk.ok("invoices.credit", credit("J", 10, 500));
        assert_eq!(reply["credit_note"]["vat"], json!(vat));
    }
}

#[test]
fn m39_discounts_are_spread_and_quantities_rounded() {
    use super::super::totals::{Discount, InvoiceLine, Totals};
    let of = |unit_price, quantity_milli| InvoiceLine {
        description: String::new(),
        quantity_milli,
        unit_price,
        vat_bp: 0,
    };
    let lines = [of(333, 1_000), of(333, 1_000), of(334, 1_000)];
    let totals = Totals::of(&lines, Some(Discount::Amount(100))).unwrap();
    let off: Vec<i128> = totals.parts.iter().map(|(_, off)| *off).collect();
    assert_eq!(off, [33, 33, 34]);
    assert_eq!(of(33_333, 2_500).net(), 83_333);
    assert_eq!(Totals::of(&lines, Some(Discount::Amount(1_001))), None);
}

#[test]
fn m40_written_off_and_back() {
    let mut desk = Desk::usual();
    desk.invoice("I", 1_000);
    let off = desk.ok("invoices.write_off", json!({ "id": "I", "reason": "x" }));
    assert_eq!(off["invoice"]["status"], "written_off");
    desk.no("invoices.write_off", json!({ "id": "I", "reason": "x" }), "nothing_due");
    desk.payment("P", 1_000, json!([to_invoice("I", 1_000)]));
    let told = desk.no("payments.complete", json!({ "id": "P" }), "exceeds_due");
    assert_eq!(told["balance_due"], json!(0));
    let back = desk.ok("invoices.reinstate", json!({ "id": "I" }));
    assert_eq!(back["invoice"]["status"], "issued");
    desk.no("invoices.reinstate", json!({ "id": "I" }), "nothing_written_off");
    let paid = desk.ok("payments.complete", json!({ "id": "P" }));
    assert_eq!(paid["invoices"][0]["status"], "paid");
}

#[test]
fn drafts_are_changed_and_discarded() {
    let mut desk = Desk::usual();
    let args = json!({ "id": "I", "client": "C", "currency": "SAR", "due_on": "2025-07-15",
                       "lines": [line(10, 0)] });
    assert_eq!(desk.ok("invoices.create", args)["invoice"]["status"], "draft");
    let args = json!({ "id": "I", "if_version": 1, "lines": [line(12, 0)] });
    assert_eq!(desk.ok("invoices.update", args)["invoice"]["total"], json!(12));
    assert_eq!(desk.ok("invoices.discard", json!({ "id": "I" }))["invoice"]["status"], "discarded");
    desk.no("invoices.issue", json!({ "id": "I" }), "invoice_not_draft");
    let args = json!({ "id": "I", "if_version": 3, "lines": [line(12, 0)] });
    desk.no("invoices.update", args, "invoice_not_draft");
}
