//! Credit notes: what they take, and where what was paid goes back.

use super::*;

#[test]
fn a_credit_note_mirrors_its_part_of_the_issue() {
    let mut world = book();
    issued_of(&mut world, "i", &[line(1_000, 1_000, 1_500), line(500, 1_000, 0)]);
    let answer = world.send(NOW, credit("i", &[(400, 1_500), (100, 0)], json!({})));
    let expected = [
        "debit sys:revenue:SAR 500 i",
        "debit sys:vat:SAR 60 i",
        "credit sys:receivable:SAR 560 i",
    ];
    assert_eq!(postings(&answer), expected);
    let invoice = &answer.ok()["invoice"];
    assert_eq!(
        shown(invoice, &["credited", "balance_due", "status"]),
        json!([560, 1_090, "issued"])
    );
    let note = answer.ok()["credit_note"].clone();
    let rates = json!([
        {"vat_bp": 0, "net": 100, "vat": 0}, {"vat_bp": 1_500, "net": 400, "vat": 60},
    ]);
    assert_eq!(note["rates"], rates);
    let fields = ["invoice", "client", "net", "vat", "total", "released", "issue_date", "version"];
    let expected = json!(["i", "c", 500, 60, 560, 0, "2025-06-15", 1]);
    assert_eq!(shown(&note, &fields), expected);
    let answer = world.send(NOW, ("credit_notes.read", json!({"id": note["id"]})));
    assert_eq!(answer.ok()["credit_note"], note);
    world.send(NOW, ("credit_notes.read", json!({"id": "x"}))).no("credit_note_not_found");
}

#[test]
fn no_more_is_credited_at_a_rate_than_the_invoice_has() {
    let mut world = book();
    issued_of(&mut world, "i", &[line(100, 1_000, 1_500), line(500, 1_000, 0)]);
    world.send(NOW, credit("i", &[(40, 1_500)], json!({}))).ok();
    for (nets, rate, creditable) in [
        (vec![(61, 1_500)], 1_500, 60),
        (vec![(30, 1_500), (31, 1_500)], 1_500, 60),
        (vec![(1, 700)], 700, 0),
        (vec![(61, 1_500), (501, 0)], 0, 500),
    ] {
        let answer = world.send(NOW, credit("i", &nets, json!({})));
        let data = answer.no("exceeds_invoice");
        assert_eq!((&data["vat_bp"], &data["creditable"]), (&json!(rate), &json!(creditable)));
    }
    let answer = world.send(NOW, credit("i", &[(30, 1_500), (30, 1_500)], json!({})));
    assert_eq!(answer.ok()["credit_note"]["net"], 60, "lines of one rate are added up");
}

#[test]
fn crediting_all_that_is_due_pays_it() {
    let mut world = book();
    issued(&mut world, "i", 100);
    let answer = world.send(NOW, credit("i", &[(100, 0)], json!({})));
    assert_eq!(answer.ok()["invoice"]["status"], "paid");
    assert_eq!(events(&answer), ["invoice_paid"]);
}

#[test]
fn the_shape_of_a_credit_note() {
    let mut world = book();
    issued(&mut world, "i", 100);
    let none = world.send(NOW, credit("i", &[], json!({})));
    assert_eq!(none.no("invalid_request")["field"], "lines");
    let many = world.send(NOW, credit("none", &vec![(1, 0); 201], json!({})));
    assert_eq!(many.no("invalid_request")["field"], "lines");
    let zero = world.send(NOW, credit("i", &[(0, 0)], json!({})));
    assert_eq!(zero.no("invalid_amount")["reason"], "zero");
    let in_currency = |code: &str| {
        let net = json!({"amount": 1, "currency": code});
        credit("i", &[], json!({"lines": [{"net": net, "vat_bp": 0}]}))
    };
    world.send(NOW, in_currency("ZZZ")).no("unknown_currency");
    assert_eq!(world.send(NOW, in_currency("USD")).no("currency_mismatch")["expected"], "SAR");
    let rate = u64::MAX;
    let answer = world.send(NOW, credit("i", &[(1, rate)], json!({})));
    assert_eq!(answer.no("invalid_request")["field"], "lines.vat_bp");
}

#[test]
fn only_as_much_goes_back_as_the_due_cannot_take() {
    let mut world = book();
    issued(&mut world, "i", 100);
    paid(&mut world, "p", ("i", 30));
    paid(&mut world, "q", ("i", 40));
    world.send(NOW, credit("i", &[(31, 0)], json!({}))).no("exceeds_due");
    let unapplied = json!({"excess": "unapplied"});
    // 30 are due, so 50 of 80 go back: all 40 of the newest, 10 of the one before.
    let answer = world.send(NOW, credit("i", &[(80, 0)], unapplied.clone()));
    let expected = [
        "debit sys:revenue:SAR 80 i",
        "credit sys:receivable:SAR 80 i",
        "debit sys:receivable:SAR 50 i",
        "credit sys:unapplied:c:SAR 40 q",
        "credit sys:unapplied:c:SAR 10 p",
    ];
    assert_eq!(postings(&answer), expected);
    let fields = ["credited", "amount_paid", "balance_due", "status"];
    assert_eq!(shown(&answer.ok()["invoice"], &fields), json!([80, 20, 0, "paid"]));
    assert_eq!(answer.ok()["credit_note"]["released"], 50);
    let payments = answer.ok()["payments"].as_array().unwrap().clone();
    let shown: Vec<Value> = payments.iter().map(|one| shown(one, &["id", "unapplied"])).collect();
    assert_eq!(shown, [json!(["q", 40]), json!(["p", 10])]);
    assert_eq!(events(&answer), ["invoice_paid"]);
    // What went back before is no allocation any more.
    let answer = world.send(NOW, credit("i", &[(20, 0)], unapplied));
    assert_eq!(answer.ok()["payments"][0]["id"], "p");
    assert_eq!(posted(&mut world, "sys:unapplied:c:SAR"), 70);
}

#[test]
fn nothing_goes_back_while_the_due_takes_it() {
    let mut world = book();
    issued(&mut world, "i", 100);
    paid(&mut world, "p", ("i", 60));
    let answer = world.send(NOW, credit("i", &[(40, 0)], json!({"excess": "unapplied"})));
    assert_eq!(answer.ok()["payments"], json!([]));
    assert_eq!(answer.ok()["invoice"]["amount_paid"], 60);
}

#[test]
fn what_a_retainer_paid_returns_to_it() {
    let mut world = book();
    issued(&mut world, "i", 6_000);
    let consumption = consumed(&mut world, "r", ("i", 4_000));
    let second = consumed(&mut world, "r", ("i", 2_000));
    let answer = world.send(NOW, credit("i", &[(3_000, 0)], json!({"excess": "unapplied"})));
    let expected = [
        "debit sys:revenue:SAR 3000 i",
        "credit sys:receivable:SAR 3000 i",
        "debit sys:receivable:SAR 3000 i",
        "credit sys:retainer:r 3000 r",
    ];
    assert_eq!(postings(&answer), expected);
    assert_eq!(shown(&answer.ok()["retainers"][0], &["id", "balance"]), json!(["r", 7_000]));
    assert_eq!(answer.ok()["retainers"].as_array().unwrap().len(), 1);
    assert_eq!(answer.ok()["payments"], json!([]));
    // What went back cannot be restored once more.
    for (id, restorable) in [(second, 0), (consumption, 3_000)] {
        let content = json!({"consumption": id, "amount": sar(restorable + 1)});
        let answer = world.send(NOW, ("retainers.restore", content));
        assert_eq!(answer.no("exceeds_consumption")["restorable"], restorable);
    }
}

#[test]
fn a_retainer_that_takes_nothing_refuses_the_note() {
    for (settle, code) in [("now", "retainer_refunded"), ("later", "retainer_closing")] {
        let mut world = book();
        issued(&mut world, "i", 6_000);
        consumed(&mut world, "r", ("i", 6_000));
        let refund = json!({"id": "r", "reason": "left", "settle": settle});
        world.send(NOW, ("retainers.refund", refund)).ok();
        let unapplied = json!({"excess": "unapplied"});
        world.send(NOW, credit("i", &[(1, 0)], unapplied.clone())).no(code);
        // Also before its sums: what it would give back follows from them alone.
        world.send(NOW, credit("i", &[(6_001, 0)], unapplied)).no(code);
        world.send(NOW, credit("i", &[(1, 0)], json!({}))).no("exceeds_due");
    }
}

#[test]
fn what_is_set_aside_does_not_go_back() {
    let mut world = book();
    issued(&mut world, "i", 100);
    paid(&mut world, "p", ("i", 60));
    paid(&mut world, "q", ("i", 40));
    let refund = json!({"id": "q", "amount": sar(30), "reason": "r", "settle": "later"});
    world.send(NOW, ("payments.refund", refund)).ok();
    let unapplied = json!({"excess": "unapplied"});
    let answer = world.send(NOW, credit("i", &[(71, 0)], unapplied.clone()));
    let data = answer.no("exceeds_allocation");
    assert_eq!((&data["allocated"], &data["free"]), (&json!(100), &json!(70)));
    let answer = world.send(NOW, credit("i", &[(70, 0)], unapplied));
    let payments = answer.ok()["payments"].as_array().unwrap().clone();
    let shown: Vec<Value> = payments.iter().map(|one| shown(one, &["id", "unapplied"])).collect();
    assert_eq!(shown, [json!(["q", 10]), json!(["p", 60])]);
}

#[test]
fn what_was_written_off_is_not_credited_too() {
    let mut world = book();
    issued(&mut world, "i", 100);
    paid(&mut world, "p", ("i", 40));
    world.send(NOW, act("invoices.write_off", "i")).ok();
    let answer = world.send(NOW, credit("i", &[(41, 0)], json!({"excess": "unapplied"})));
    assert_eq!(answer.no("exceeds_allocation")["free"], 40);
    let answer = world.send(NOW, credit("i", &[(40, 0)], json!({"excess": "unapplied"})));
    assert_eq!(answer.ok()["invoice"]["status"], "written_off");
}

#[test]
fn one_note_gives_back_to_so_many_and_no_more() {
    let mut world = book();
    issued(&mut world, "i", 100);
    for payment in 0..37 {
        paid(&mut world, &format!("p{payment}"), ("i", 1));
    }
    let unapplied = json!({"excess": "unapplied"});
    let answer = world.send(NOW, credit("i", &[(100, 0)], unapplied.clone()));
    assert_eq!(answer.no("too_many_allocations")["max"], 36);
    let answer = world.send(NOW, credit("i", &[(99, 0)], unapplied));
    assert_eq!(answer.ok()["payments"].as_array().unwrap().len(), 36);
    assert_eq!(postings(&answer).len(), 39, "a transfer has at most 40 lines");
}
