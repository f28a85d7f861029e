//! Numbers of documents.

use super::*;

#[test]
fn m43_numbers_are_never_free_again() {
    let mut desk = Desk::usual();
    for number in 1..=5 {
        desk.payment(&format!("P{number}"), 1, Value::Null);
    }
    desk.ok("payments.cancel", json!({ "id": "P3", "reason": "x" }));
    desk.payment("Q", 1, Value::Null);
    assert_eq!(desk.read("payment", "Q")["number"], "PAY-2025-0006");
}

#[test]
fn m45_a_counter_is_its_scopes() {
    let mut desk = Desk::usual();
    let create = |scope: &str| json!({ "scope": scope, "name": "x" });
    assert_eq!(desk.ok("clients.create", create("L1"))["client"]["number"], "CLT-2025-0001");
    assert_eq!(desk.ok("clients.create", create("L2"))["client"]["number"], "CLT-2025-0001");
    assert_eq!(desk.ok("clients.create", create("L1"))["client"]["number"], "CLT-2025-0002");
}

#[test]
fn m47_the_period_is_the_date_of_the_place() {
    let mut desk = Desk::usual();
    desk.at = parse("2025-12-31T20:59:59.999Z").unwrap();
    desk.payment("P", 1, Value::Null);
    assert_eq!(desk.read("payment", "P")["number"], "PAY-2025-0001");
    desk.at += MILLI;
    desk.payment("Q", 1, Value::Null);
    assert_eq!(desk.read("payment", "Q")["number"], "PAY-2026-0001");
    assert_eq!(desk.invoice("I", 1)["number"], "INV-202601-0001");
}

#[test]
fn a_series_with_a_number_keeps_its_zone() {
    let mut desk = Desk::empty();
    desk.at = parse("2025-06-30T22:00:00Z").unwrap();
    desk.ok("series.next", json!({ "name": "INV", "document": "x" }));
    desk.ok("book.configure", json!({ "zone": "Asia/Riyadh" }));
    let of = |desk: &mut Desk, name: &str| {
        let next = json!({ "name": name, "document": format!("{name}-y") });
        desk.ok("series.next", next)["number"]["number"].clone()
    };
    assert_eq!(of(&mut desk, "INV"), "INV-202506-0002");
    assert_eq!(of(&mut desk, "CRN"), "CRN-202507-0001");
}

#[test]
fn m48_past_the_width() {
    let mut desk = Desk::empty();
    for (name, overflow) in [("PAY", "widen"), ("RET", "refuse")] {
        let template = format!("{name}-{{YYYY}}-{{N:1}}");
        let args = json!({ "name": name, "template": template, "class": "gapless",
                           "zone": "UTC", "overflow": overflow });
        desk.ok("series.define", args);
        for number in 1..=9 {
            let next = json!({ "name": name, "document": format!("{name}{number}") });
            let reply = desk.ok("series.next", next);
            let warns = events(&reply) == ["series_nearly_full"];
            assert_eq!(warns, number == 8, "{number}");
        }
    }
    let wide = desk.ok("series.next", json!({ "name": "PAY", "document": "x" }));
    assert_eq!(wide["number"]["number"], "PAY-2025-10");
    let full =
        desk.no("series.next", json!({ "name": "RET", "document": "x" }), "series_exhausted");
    assert_eq!(full["last"], 9);
}

#[test]
fn m49_only_forward_and_only_before() {
    let mut desk = Desk::usual();
    let advance = |last| json!({ "name": "INV", "period": "202506", "last": last });
    desk.ok("series.advance", advance(412));
    let told = desk.no("series.advance", advance(400), "series_cannot_move_back");
    assert_eq!(told["last"], 412);
    assert_eq!(desk.invoice("I", 1)["number"], "INV-202506-0413");
    desk.no("series.advance", advance(500), "series_in_use");
}

#[test]
fn m51_a_document_has_one_number() {
    let mut desk = Desk::usual();
    let next = json!({ "name": "INV", "document": "x" });
    assert_eq!(desk.ok("series.next", next.clone())["number"]["number"], "INV-202506-0001");
    let told = desk.no("series.next", next, "document_already_numbered");
    assert_eq!(told["number"], "INV-202506-0001");
    let void = json!({ "name": "INV", "number": "INV-202506-0001", "reason": "x" });
    desk.ok("series.void", void.clone());
    desk.no("series.void", void, "number_void");
    assert_eq!(desk.invoice("I", 1)["number"], "INV-202506-0002");
    let used = json!({ "name": "INV", "number": "INV-202506-0002", "reason": "x" });
    desk.no("series.void", used, "number_in_use");
}

#[test]
fn m53_the_next_waits_for_the_seal() {
    let mut desk = Desk::empty();
    let args = json!({ "name": "CLT", "template": "CLT-{YYYY}-{N:4}", "class": "gapless",
                       "zone": "UTC", "scoped": true });
    desk.ok("series.define", args);
    desk.ok("clients.create", json!({ "id": "C", "scope": "L", "name": "C" }));
    let chain = json!({ "name": "zatca", "genesis_hash": "genesis", "seal": "caller" });
    desk.ok("chains.define", chain);
    let args = json!({ "name": "INV", "template": "INV-{YYYY}{MM}-{N:4}", "class": "gapless",
                       "zone": "Asia/Riyadh", "chain": "zatca" });
    desk.ok("series.define", args);
    let issue = |id: &str| {
        json!({ "id": id, "client": "C", "currency": "SAR", "due_on": "2025-07-15", "issue": true,
                "lines": [{ "description": "x", "unit_price": sar(5) }] })
    };
    let first = desk.ok("invoices.create", issue("I1"))["invoice"]["chain"].clone();
    assert_eq!(first, json!({ "counter": 1, "prev_hash": "genesis" }));
    let told = desk.no("invoices.create", issue("I2"), "chain_unsealed");
    assert_eq!((&told["document"], &told["counter"]), (&json!("I1"), &json!(1)));
    let seal = |hash: &str| json!({ "document": "I1", "hash": hash });
    desk.ok("chains.seal", seal("h1"));
    let second = desk.ok("invoices.create", issue("I2"))["invoice"]["chain"].clone();
    assert_eq!(second, json!({ "counter": 2, "prev_hash": "h1" }));
    assert_eq!(desk.no("chains.seal", seal("h9"), "already_sealed")["hash"], "h1");
}
