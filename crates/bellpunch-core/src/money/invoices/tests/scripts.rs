//! The scripts of the domain by their numbers.

use super::*;

#[test]
fn m22_an_invoice_is_paid_or_void_never_both() {
    let mut world = book();
    issued(&mut world, "i", 50_000);
    payment(&mut world, "p", ("i", 50_000));
    world.send(NOW, act("invoices.void", "i")).ok();
    let answer = world.send(NOW, complete("p"));
    assert_eq!(answer.no("invoice_not_payable")["status"], "void");

    issued(&mut world, "j", 50_000);
    paid(&mut world, "q", ("j", 50_000));
    let answer = world.send(NOW, act("invoices.void", "j"));
    let data = answer.no("invoice_not_voidable");
    assert_eq!((&data["amount_paid"], &data["credited"]), (&json!(50_000), &json!(0)));
}

#[test]
fn m23_a_void_invoice_keeps_its_number() {
    let mut world = book();
    let first = issued_of(&mut world, "i", &[line(100, 1_000, 0)]);
    assert_eq!(first["number"], "INV-202506-0001");
    let answer = world.send(NOW, act("invoices.void", "i"));
    let void = &answer.ok()["invoice"];
    assert_eq!((&void["number"], &void["status"]), (&json!("INV-202506-0001"), &json!("void")));
    let second = issued_of(&mut world, "j", &[line(100, 1_000, 0)]);
    assert_eq!(second["number"], "INV-202506-0002");
}

#[test]
fn m37_a_credit_note_lowers_what_is_due() {
    let mut world = book();
    let invoice = issued_of(&mut world, "i", &[line(100_000, 1_000, 1_500)]);
    assert_eq!(invoice["total"], 115_000);
    let answer = world.send(NOW, credit("i", &[(50_000, 1_500)], json!({})));
    let note = &answer.ok()["credit_note"];
    assert_eq!((&note["number"], &note["total"]), (&json!("CRN-202506-0001"), &json!(57_500)));
    assert_eq!(answer.ok()["invoice"]["balance_due"], 57_500);

    paid(&mut world, "p", ("i", 57_500));
    assert_eq!(read(&mut world, "i")["status"], "paid");
    let rest = [(50_000, 1_500)];
    let answer = world.send(NOW, credit("i", &rest, json!({})));
    assert_eq!(answer.no("exceeds_due")["balance_due"], 0);

    let answer = world.send(NOW, credit("i", &rest, json!({"excess": "unapplied"})));
    let fields = ["credited", "amount_paid", "balance_due", "status"];
    let invoice = shown(&answer.ok()["invoice"], &fields);
    assert_eq!(invoice, json!([115_000, 0, 0, "paid"]));
    let payment = &answer.ok()["payments"][0];
    assert_eq!(shown(payment, &["id", "allocated", "unapplied"]), json!(["p", 0, 57_500]));
    assert_eq!(posted(&mut world, "sys:unapplied:c:SAR"), 57_500);
    assert_eq!(posted(&mut world, "sys:receivable:SAR"), 0);
    assert_eq!(posted(&mut world, "sys:vat:SAR"), 0);
    assert!(events(&answer).is_empty(), "nothing was due before it and nothing after");
}

#[test]
fn m38_vat_of_credit_notes_is_cumulative() {
    let mut world = book();
    let lines = [line(333, 1_000, 1_500), line(333, 1_000, 1_500), line(333, 1_000, 1_500)];
    let invoice = issued_of(&mut world, "i", &lines);
    assert_eq!(shown(&invoice, &["vat", "total"]), json!([150, 1_149]));
    let vats = |world: &mut World, id: &str, net: (u64, u64)| -> Vec<Value> {
        let one = |_| world.send(NOW, credit(id, &[net], json!({}))).ok()["credit_note"].clone();
        (0..3).map(one).map(|note| note["vat"].clone()).collect()
    };
    assert_eq!(vats(&mut world, "i", (333, 1_500)), [50, 50, 50]);

    let lines = [line(10, 1_000, 500), line(10, 1_000, 500), line(10, 1_000, 500)];
    let invoice = issued_of(&mut world, "j", &lines);
    assert_eq!(shown(&invoice, &["vat", "total"]), json!([2, 32]));
    assert_eq!(vats(&mut world, "j", (10, 500)), [1, 0, 1]);
}

#[test]
fn m39_a_discount_is_spread_by_largest_remainder() {
    let mut world = book();
    let lines = [line(333, 1_000, 0), line(333, 1_000, 0), line(334, 1_000, 0)];
    let over = json!({"discount": {"amount": sar(100)}});
    let answer = world.send(NOW, create("i", &lines, over));
    let lines = answer.ok()["invoice"]["lines"].as_array().unwrap();
    let discounts: Vec<&Value> = lines.iter().map(|line| &line["discount"]).collect();
    assert_eq!(discounts, [33, 33, 34]);
    let answer = world.send(NOW, create("j", &[line(33_333, 2_500, 0)], json!({})));
    assert_eq!(answer.ok()["invoice"]["net"], 83_333);
}

#[test]
fn m40_what_is_written_off_takes_no_payment() {
    let mut world = book();
    issued(&mut world, "i", 1_000);
    payment(&mut world, "p", ("i", 1_000));
    let answer = world.send(NOW, act("invoices.write_off", "i"));
    assert_eq!(answer.ok()["invoice"]["status"], "written_off");
    let answer = world.send(NOW, complete("p"));
    assert_eq!(answer.no("exceeds_due")["balance_due"], 0);
    let answer = world.send(NOW, act("invoices.reinstate", "i"));
    assert_eq!(answer.ok()["invoice"]["status"], "issued");
    world.send(NOW, complete("p")).ok();
    assert_eq!(read(&mut world, "i")["status"], "paid");
}

#[test]
fn m46_two_books_number_apart() {
    for mut world in [book(), book()] {
        let invoice = issued_of(&mut world, "i", &[line(1, 1_000, 0)]);
        assert_eq!(invoice["number"], "INV-202506-0001");
    }
}

#[test]
fn m47_the_period_is_the_date_in_the_zone_of_the_series() {
    // 2025-12-31T21:00:00Z, in Riyadh the first instant of 2026.
    const NEW_YEAR: i64 = 1_767_214_800_000 - 1_800_000_000_000;
    let mut world = book();
    let pending = json!({"client": "c", "amount": sar(1), "method": "cash"});
    let answer = world.send(NEW_YEAR - 1, ("payments.create", pending.clone()));
    assert_eq!(answer.ok()["payment"]["number"], "PAY-2025-0001");
    let answer = world.send(NEW_YEAR, ("payments.create", pending));
    assert_eq!(answer.ok()["payment"]["number"], "PAY-2026-0001");
    world.send(NEW_YEAR, create("i", &[line(1, 1_000, 0)], json!({}))).ok();
    let answer = world.send(NEW_YEAR, act("invoices.issue", "i"));
    let invoice = &answer.ok()["invoice"];
    assert_eq!(invoice["number"], "INV-202601-0001");
    assert_eq!(invoice["issue_date"], "2026-01-01");
}
