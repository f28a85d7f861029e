//! The rules one by one: every condition, and which comes first.

use sha2::{Digest as _, Sha256};

use super::*;

#[test]
fn a_draft_has_no_number_and_owes_nothing() {
    let mut world = book();
    let answer = world.send(NOW, create("i", &[line(100, 1_000, 0)], json!({})));
    let invoice = &answer.ok()["invoice"];
    let fields = ["status", "total", "balance_due", "version"];
    assert_eq!(shown(invoice, &fields), json!(["draft", 100, 0, 1]));
    assert!(invoice.get("number").is_none() && invoice.get("issue_date").is_none());
    assert!(postings(&answer).is_empty());
}

#[test]
fn create_says_which_first() {
    let mut world = book();
    give(&mut world, Given::Archived("a"));
    issued(&mut world, "i", 1);
    let good = create("j", &[line(1, 1_000, 0)], json!({"issue": true})).1;
    // Each is wrong in one more way than the one after it.
    let wrong = [
        ("unknown_currency", json!({"currency": "ZZZ"})),
        ("client_not_found", json!({"client": "nobody"})),
        ("invoice_exists", json!({"id": "i"})),
        ("series_not_found", json!({"series": "NONE"})),
        ("client_archived", json!({"client": "a"})),
        ("currency_mismatch", json!({"currency": "USD"})),
        ("discount_exceeds_net", json!({"discount": {"amount": sar(2)}})),
    ];
    let mut content = good;
    for (code, over) in wrong.iter().rev() {
        content = with(content, over.clone());
        world.send(NOW, ("invoices.create", content.clone())).no(code);
    }
    let none = world.send(NOW, create("j", &[], json!({"currency": "ZZZ"})));
    assert_eq!(none.no("invalid_request")["field"], "lines", "nonsense before what is unknown");
    let late =
        create("j", &[line(1, 1_000, 0)], json!({"currency": "ZZZ", "due_on": "1969-01-01"}));
    assert_eq!(world.send(NOW, late).no("invalid_request")["field"], "due_on");
}

#[test]
fn a_draft_may_name_a_series_that_is_not_there_yet() {
    let mut world = book();
    let over = json!({"series": "NONE"});
    world.send(NOW, create("i", &[line(1, 1_000, 0)], over)).ok();
    assert_eq!(world.send(NOW, act("invoices.issue", "i")).no("series_not_found")["name"], "NONE");
}

#[test]
fn lines_are_1_to_200() {
    let mut world = book();
    let one = line(1, 1_000, 0);
    world.send(NOW, create("i", &vec![one.clone(); 200], json!({}))).ok();
    let answer = world.send(NOW, create("j", &vec![one; 201], json!({})));
    assert_eq!(answer.no("invalid_request")["field"], "lines");
}

#[test]
fn sums_are_in_the_currency_of_the_invoice() {
    let mut world = book();
    let dollars = json!({"amount": 1, "currency": "USD"});
    let other = with(line(1, 1_000, 0), json!({"unit_price": dollars}));
    let answer = world.send(NOW, create("i", &[line(1, 1_000, 0), other], json!({})));
    let data = answer.no("currency_mismatch");
    assert_eq!((&data["expected"], &data["got"]), (&json!("SAR"), &json!("USD")));
    let over = json!({"discount": {"amount": dollars}});
    world.send(NOW, create("i", &[line(1, 1_000, 0)], over)).no("currency_mismatch");
    let unknown = json!({"discount": {"amount": {"amount": 1, "currency": "ZZZ"}}});
    world.send(NOW, create("i", &[line(1, 1_000, 0)], unknown)).no("unknown_currency");
}

#[test]
fn a_price_is_money_and_never_a_bare_number() {
    let mut world = book();
    for (wrong, code) in [
        (json!({"unit_price": 5}), "invalid_request"),
        (json!({"unit_price": sar(5), "quantity_milli": 1.5}), "invalid_request"),
        (json!({"unit_price": {"amount": -1, "currency": "SAR"}}), "invalid_amount"),
        (json!({"unit_price": {"amount": 1.0, "currency": "SAR"}}), "invalid_amount"),
    ] {
        let wrong = with(line(1, 1_000, 0), wrong);
        assert_eq!(world.send(NOW, create("i", &[wrong], json!({}))).code(), code);
    }
    let free = world.send(NOW, create("i", &[line(0, 1_000, 0)], json!({})));
    assert_eq!(free.ok()["invoice"]["total"], 0, "a price may be nothing");
}

#[test]
fn it_is_overdue_from_the_day_after_in_the_zone() {
    let mut world = book();
    let day = |world: &mut World, id: &str, due_on: &str| {
        let over = json!({"due_on": due_on, "issue": true});
        world.send(NOW, create(id, &[line(1, 1_000, 0)], over))
    };
    let answer = day(&mut world, "i", "2025-06-15");
    assert_eq!(answer.ok()["invoice"]["due_at"], "2025-06-15T21:00:00Z");
    let due_at = NOW + 12 * 3_600_000;
    for (millis, overdue) in [(due_at - 1, false), (due_at, true)] {
        let answer = world.send(millis, act("invoices.read", "i"));
        assert_eq!(answer.ok()["invoice"]["overdue"], overdue);
    }
    paid(&mut world, "p", ("i", 1));
    let answer = world.send(due_at, act("invoices.read", "i"));
    assert_eq!(answer.ok()["invoice"]["overdue"], false, "nothing is due");
    for wrong in ["1970-01-01", "9999-12-29"] {
        assert_eq!(day(&mut world, "j", wrong).no("invalid_request")["field"], "due_on");
    }
    day(&mut world, "j", "1970-01-02").ok();
    day(&mut world, "k", "9999-12-28").ok();
    day(&mut world, "l", "2025-02-29").no("invalid_request");
}

#[test]
fn an_issue_books_what_is_owed() {
    let mut world = book();
    world.send(NOW, create("i", &[line(1_000, 1_000, 1_500)], json!({}))).ok();
    let answer = world.send(NOW, act("invoices.issue", "i"));
    let expected = [
        "debit sys:receivable:SAR 1150 i",
        "credit sys:revenue:SAR 1000 i",
        "credit sys:vat:SAR 150 i",
    ];
    assert_eq!(postings(&answer), expected);
    let invoice = &answer.ok()["invoice"];
    let fields = ["status", "balance_due", "issue_date", "issued_at", "version"];
    let issued = json!(["issued", 1_150, "2025-06-15", "2025-06-15T09:00:00Z", 2]);
    assert_eq!(shown(invoice, &fields), issued);
    world.send(NOW, act("invoices.issue", "i")).no("invoice_not_draft");
    assert_eq!(posted(&mut world, "sys:receivable:SAR"), -1_150);
}

#[test]
fn nothing_to_pay_is_paid_at_once() {
    let mut world = book();
    let answer = world.send(NOW, create("i", &[line(0, 1_000, 0)], json!({"issue": true})));
    let invoice = &answer.ok()["invoice"];
    assert_eq!(shown(invoice, &["status", "paid_at"]), json!(["paid", "2025-06-15T09:00:00Z"]));
    assert_eq!(events(&answer), ["invoice_paid"]);
    assert!(postings(&answer).is_empty());
    assert_eq!(world.send(NOW, act("invoices.void", "i")).ok()["invoice"]["status"], "void");
}

#[test]
fn an_update_sets_what_it_names_and_no_more() {
    let mut world = book();
    let over = json!({"discount": {"bp": 1_000}});
    world.send(NOW, create("i", &[line(100, 1_000, 0)], over)).ok();
    let update = |over: Value| ("invoices.update", with(json!({"id": "i"}), over));
    let lines = json!([line(200, 1_000, 1_500)]);
    let answer = world.send(NOW, update(json!({"if_version": 1, "lines": lines})));
    let fields = ["net", "vat", "discount", "client", "due_on", "version"];
    let expected = json!([180, 27, 20, "c", "2025-07-15", 2]);
    assert_eq!(
        shown(&answer.ok()["invoice"], &fields),
        expected,
        "the discount is of the new lines"
    );
    let over = json!({"if_version": 2, "discount": {"amount": sar(0)}, "client": "d",
        "due_on": "2025-07-16"});
    let answer = world.send(NOW, update(over));
    let expected = json!([200, 30, 0, "d", "2025-07-16", 3]);
    assert_eq!(shown(&answer.ok()["invoice"], &fields), expected);
    assert_eq!(answer.ok()["invoice"]["due_at"], "2025-07-16T21:00:00Z");
    // Lines are never taken for another currency than they were written in.
    let answer = world.send(NOW, update(json!({"if_version": 3, "currency": "USD"})));
    assert_eq!(answer.no("currency_mismatch")["got"], "SAR");
}

#[test]
fn update_says_which_first() {
    let mut world = book();
    give(&mut world, Given::Archived("a"));
    issued(&mut world, "i", 1);
    world.send(NOW, create("j", &[line(1, 1_000, 0)], json!({}))).ok();
    let mut content = json!({"id": "j", "if_version": 1});
    for (code, over) in [
        ("discount_exceeds_net", json!({"discount": {"amount": sar(2)}})),
        ("currency_mismatch", json!({"currency": "USD"})),
        ("client_archived", json!({"client": "a"})),
        ("invoice_not_draft", json!({"id": "i"})),
        ("version_mismatch", json!({"if_version": 9})),
        ("client_not_found", json!({"client": "nobody"})),
        ("invoice_not_found", json!({"id": "none"})),
        ("if_version_required", json!({"if_version": null})),
        ("unknown_currency", json!({"currency": "ZZZ"})),
        ("invalid_request", json!({"discount": {"bp": 10_001}})),
    ] {
        content = with(content, over);
        world.send(NOW, ("invoices.update", content.clone())).no(code);
    }
}

#[test]
fn a_discarded_draft_is_none_any_more() {
    let mut world = book();
    world.send(NOW, create("i", &[line(1, 1_000, 0)], json!({}))).ok();
    let answer = world.send(NOW, act("invoices.discard", "i"));
    let invoice = &answer.ok()["invoice"];
    assert_eq!(
        shown(invoice, &["status", "ended_at"]),
        json!(["discarded", "2025-06-15T09:00:00Z"])
    );
    for name in ["invoices.discard", "invoices.issue"] {
        let answer = world.send(NOW, act(name, "i"));
        assert_eq!(answer.no("invoice_not_draft")["status"], "discarded");
    }
    let update = json!({"id": "i", "if_version": 2, "client": "d"});
    world.send(NOW, ("invoices.update", update)).no("invoice_not_draft");
    issued(&mut world, "j", 1);
    assert_eq!(
        world.send(NOW, act("invoices.discard", "j")).no("invoice_not_draft")["status"],
        "issued"
    );
    assert_eq!(read(&mut world, "j")["number"], "INV-202506-0001");
}

#[test]
fn only_what_was_issued_is_sent_void_credited_or_written_off() {
    let mut world = book();
    world.send(NOW, create("i", &[line(1, 1_000, 0)], json!({}))).ok();
    let names = ["invoices.send", "invoices.void", "invoices.write_off", "invoices.reinstate"];
    let refused = |world: &mut World, status: &str| {
        for name in names {
            let answer = world.send(NOW, act(name, "i"));
            assert_eq!(answer.no("invoice_not_issued")["status"], status, "{name}");
        }
        let answer = world.send(NOW, credit("i", &[(1, 0)], json!({})));
        assert_eq!(answer.no("invoice_not_issued")["status"], status);
    };
    refused(&mut world, "draft");
    world.send(NOW, act("invoices.issue", "i")).ok();
    world.send(NOW, act("invoices.void", "i")).ok();
    refused(&mut world, "void");
}

#[test]
fn each_command_tests_existence_then_version_then_state() {
    let mut world = book();
    issued(&mut world, "i", 1);
    world.send(NOW, create("j", &[line(1, 1_000, 0)], json!({}))).ok();
    for (name, wrong_state) in [
        ("invoices.discard", "i"),
        ("invoices.issue", "i"),
        ("invoices.send", "j"),
        ("invoices.void", "j"),
        ("invoices.write_off", "j"),
        ("invoices.reinstate", "j"),
        ("invoices.credit", "j"),
    ] {
        let call = |id: &str| match name {
            "invoices.credit" => credit(id, &[(1, 0)], json!({})).1,
            _ => act(name, id).1,
        };
        let at = |content: Value| (name, with(content, json!({"if_version": 7})));
        assert_eq!(world.send(NOW, at(call("none"))).no("invoice_not_found")["id"], "none");
        assert_eq!(world.send(NOW, at(call(wrong_state))).no("version_mismatch")["version"], 1);
        let state = world.send(NOW, (name, call(wrong_state)));
        assert!(state.code().starts_with("invoice_not_"), "{name}");
    }
    world.send(NOW, act("invoices.read", "none")).no("invoice_not_found");
}

#[test]
fn sent_is_when() {
    let mut world = book();
    issued(&mut world, "i", 1);
    let answer = world.send(NOW + 1_000, act("invoices.send", "i"));
    let invoice = &answer.ok()["invoice"];
    assert_eq!(shown(invoice, &["status", "sent_at"]), json!(["issued", "2025-06-15T09:00:01Z"]));
}

#[test]
fn a_void_mirrors_the_issue() {
    let mut world = book();
    issued_of(&mut world, "i", &[line(1_000, 1_000, 1_500)]);
    let answer = world.send(NOW, act("invoices.void", "i"));
    let expected = [
        "debit sys:revenue:SAR 1000 i",
        "debit sys:vat:SAR 150 i",
        "credit sys:receivable:SAR 1150 i",
    ];
    assert_eq!(postings(&answer), expected);
    let invoice = &answer.ok()["invoice"];
    assert_eq!(shown(invoice, &["balance_due", "reason"]), json!([0, "r"]));
}

#[test]
fn a_book_may_forbid_to_void() {
    let mut world = book();
    issued(&mut world, "i", 10);
    paid(&mut world, "p", ("i", 1));
    give(&mut world, Given::Settings { void_allowed: false });
    world.send(NOW, act("invoices.void", "i")).no("void_not_allowed");
    give(&mut world, Given::Settings { void_allowed: true });
    world.send(NOW, act("invoices.void", "i")).no("invoice_not_voidable");
}

#[test]
fn what_was_applied_forbids_to_void() {
    let mut world = book();
    for id in ["i", "j", "k"] {
        issued(&mut world, id, 10);
    }
    paid(&mut world, "p", ("i", 1));
    world.send(NOW, credit("j", &[(2, 0)], json!({}))).ok();
    world.send(NOW, act("invoices.write_off", "k")).ok();
    for (id, field, amount) in
        [("i", "amount_paid", 1), ("j", "credited", 2), ("k", "written_off", 10)]
    {
        let answer = world.send(NOW, act("invoices.void", id));
        assert_eq!(answer.no("invoice_not_voidable")[field], amount);
    }
}

#[test]
fn a_write_off_is_all_that_is_due_and_comes_back_whole() {
    let mut world = book();
    issued(&mut world, "i", 100);
    paid(&mut world, "p", ("i", 30));
    world.send(NOW, act("invoices.reinstate", "i")).no("nothing_written_off");
    let answer = world.send(NOW, act("invoices.write_off", "i"));
    let expected = ["debit sys:written_off:SAR 70 i", "credit sys:receivable:SAR 70 i"];
    assert_eq!(postings(&answer), expected);
    let fields = ["status", "written_off", "write_off_reason", "balance_due", "amount_paid"];
    let expected = json!(["written_off", 70, "r", 0, 30]);
    assert_eq!(shown(&answer.ok()["invoice"], &fields), expected);
    assert!(answer.ok()["invoice"].get("paid_at").is_some());
    assert!(events(&answer).is_empty(), "nobody paid it");
    world.send(NOW, act("invoices.write_off", "i")).no("nothing_due");
    let answer = world.send(NOW, act("invoices.reinstate", "i"));
    let expected = ["debit sys:receivable:SAR 70 i", "credit sys:written_off:SAR 70 i"];
    assert_eq!(postings(&answer), expected);
    let fields = ["status", "written_off", "balance_due"];
    assert_eq!(shown(&answer.ok()["invoice"], &fields), json!(["partial", 0, 70]));
    assert!(answer.ok()["invoice"].get("paid_at").is_none());
}

#[test]
fn status_is_a_function() {
    use super::super::{Invoice, InvoiceStatus as Is, Stage};
    let mut world = book();
    world.send(NOW, create("i", &[line(10, 1_000, 0)], json!({}))).ok();
    let draft = world.record::<Invoice>(&record("i"));
    let at = draft.created_at;
    let (issued, discarded) = (Stage::Issued, Stage::Discarded { at });
    let void = Stage::Void { at, reason: Key::new("r").unwrap() };
    for (stage, (credited, written_off, paid), status) in [
        (Stage::Draft, (0, 0, 0), Is::Draft),
        (discarded, (0, 0, 0), Is::Discarded),
        (void, (0, 0, 0), Is::Void),
        (issued.clone(), (0, 0, 0), Is::Issued),
        (issued.clone(), (4, 0, 0), Is::Issued),
        (issued.clone(), (0, 0, 4), Is::Partial),
        (issued.clone(), (3, 3, 3), Is::Partial),
        (issued.clone(), (3, 3, 0), Is::Issued),
        (issued.clone(), (0, 0, 10), Is::Paid),
        (issued.clone(), (10, 0, 0), Is::Paid),
        (issued.clone(), (4, 0, 6), Is::Paid),
        (issued.clone(), (0, 10, 0), Is::WrittenOff),
        (issued, (4, 1, 5), Is::WrittenOff),
    ] {
        let of = |amount| Minor::new(amount).unwrap();
        let (credited, written_off, amount_paid) = (of(credited), of(written_off), of(paid));
        let invoice = Invoice { stage, credited, written_off, amount_paid, ..draft.clone() };
        assert_eq!(invoice.status(), status);
    }
}

#[test]
fn a_chain_has_each_document_in_its_place() {
    let mut world = book();
    let genesis = "0".repeat(64);
    let chain = json!({"name": "zatca", "genesis_hash": genesis, "seal": "auto"});
    world.send(NOW, ("chains.define", chain)).ok();
    let series = json!({
        "name": "TAX", "template": "TAX-{YYYY}-{N:4}", "class": "gapless", "zone": "Asia/Riyadh",
        "chain": "zatca",
    });
    world.send(NOW, ("series.define", series)).ok();
    let mut issue = |id: &str| {
        let over = json!({"issue": true, "series": "TAX"});
        let answer = world.send(NOW, create(id, &[line(1, 1_000, 0)], over));
        answer.ok()["invoice"].clone()
    };
    let (first, second) = (issue("i"), issue("j"));
    assert_eq!(first["number"], "TAX-2025-0001");
    assert_eq!(shown(&first["chain"], &["counter", "prev_hash"]), json!([1, genesis]));
    assert_eq!(second["chain"]["counter"], 2);
    // The second document names the hash of the first, as anybody can compute it.
    let frozen = super::super::issue::frozen(&Key::new("i").unwrap(), &world.record(&record("i")));
    let form = json!({"counter": 1, "document": frozen, "prev_hash": genesis}).to_string();
    let hash = crate::Digest::new(Sha256::digest(form).into());
    assert_eq!(second["chain"]["prev_hash"], hash.to_string());
}
