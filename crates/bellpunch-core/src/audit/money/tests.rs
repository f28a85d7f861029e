//! The audit of a book: nothing where all was done by commands, and each change of a stored field
//! is named.

mod random;

use serde_json::{Value, json};

use crate::audit::{Finding, Stored, audit};
use crate::trial::{World, at};

pub(super) fn sar(amount: u64) -> Value {
    json!({"amount": amount, "currency": "SAR"})
}

pub(super) fn ok(world: &mut World, name: &str, content: Value) -> Value {
    let answer = world.send(0, (name, content));
    answer.ok().clone()
}

pub(super) fn id_of(reply: &Value, kind: &str) -> String {
    reply[kind]["id"].as_str().unwrap().to_owned()
}

fn hash(of: &str) -> String {
    of.repeat(32)
}

pub(super) fn clients(world: &mut World) {
    for id in ["C", "D"] {
        ok(world, "clients.create", json!({"id": id, "scope": "L", "name": id}));
    }
}

/// Accounts of callers: transfers, holds, a mirror, tickets.
pub(super) fn accounts(world: &mut World) {
    for (id, owner, class) in
        [("bank", "o", "external"), ("a", "c", "bounded"), ("b", "s", "bounded")]
    {
        let content = json!({"id": id, "owner": owner, "currency": "SAR", "class": class});
        ok(world, "accounts.create", content);
    }
    ok(world, "accounts.credit", json!({"id": "a", "amount": sar(10_000), "from": "bank"}));
}

fn line(price: u64, vat_bp: u64) -> Value {
    json!({
        "description": "advice", "quantity_milli": 2_500, "unit_price": sar(price),
        "vat_bp": vat_bp,
    })
}

fn of_accounts(world: &mut World) {
    accounts(world);
    let lines = json!([
        {"account": "a", "side": "debit", "amount": sar(500)},
        {"account": "b", "side": "credit", "amount": sar(500)},
    ]);
    let moved = ok(world, "transfers.create", json!({"lines": lines, "series": "TXN"}));
    let id = id_of(&moved, "transfer");
    ok(world, "transfers.reverse", json!({"id": id}));
    let hold = json!({"id": "a", "amount": sar(300), "ttl_ns": 60_000_000_000_u64});
    let held = ok(world, "accounts.hold", hold.clone());
    let capture = json!({"hold": id_of(&held, "hold"), "amount": sar(200), "to": "b"});
    ok(world, "accounts.capture", capture);
    ok(world, "accounts.hold", hold);
    let ticket = json!({
        "holder": "c", "audience": "s", "max_amount": sar(100), "ttl_ns": 60_000_000_000_u64,
        "issued_by": "m", "debit_account": "a", "credit_account": "b", "approved": true,
    });
    ok(world, "tickets.create", ticket.clone());
    let used = ok(world, "tickets.create", ticket);
    let id = id_of(&used, "ticket");
    let redeem = json!({"id": id, "audience": "s", "holder": "c", "amount": sar(40)});
    ok(world, "tickets.redeem", redeem);
}

fn of_numbers(world: &mut World) {
    for (name, seal) in [("auto", "auto"), ("own", "caller")] {
        let content = json!({"name": name, "genesis_hash": hash("00"), "seal": seal});
        ok(world, "chains.define", content);
    }
    for (name, template, chain) in
        [("INV", "INV-{YYYY}{MM}-{N:4}", "auto"), ("ORD", "O{YY}-{N:3}", "own")]
    {
        let content = json!({
            "name": name, "template": template, "class": "gapless", "zone": "Asia/Riyadh",
            "chain": chain,
        });
        ok(world, "series.define", content);
    }
    ok(world, "series.advance", json!({"name": "PAY", "period": "2027", "last": 40}));
    ok(world, "series.next", json!({"name": "ORD", "document": "x"}));
    ok(world, "chains.seal", json!({"document": "x", "hash": hash("ab")}));
    let next = ok(world, "series.next", json!({"name": "ORD", "document": "y"}));
    let number = next["number"]["number"].clone();
    ok(world, "series.void", json!({"name": "ORD", "number": number, "reason": "never came"}));
}

fn of_documents(world: &mut World) {
    clients(world);
    for id in ["I", "J", "K"] {
        let content = json!({
            "id": id, "client": "C", "currency": "SAR", "due_on": "2027-02-15", "issue": true,
            "lines": [line(333, 1_500), line(334, 1_500), line(1_000, 500)],
            "discount": {"bp": 1_250},
        });
        ok(world, "invoices.create", content);
    }
    ok(world, "invoices.void", json!({"id": "K", "reason": "wrong"}));
    for id in ["R", "S"] {
        let content = json!({
            "id": id, "client": "C", "type": "evergreen", "currency": "SAR",
            "initial_amount": sar(9_000), "minimum_balance": sar(8_000),
        });
        ok(world, "retainers.create", content);
    }
    let consume = json!({"id": "R", "amount": sar(1_000), "invoice": "I"});
    let consumed = ok(world, "retainers.consume", consume);
    let part = json!({"consumption": id_of(&consumed, "consumption"), "amount": sar(100)});
    ok(world, "retainers.restore", part);
    ok(world, "retainers.consume", json!({"id": "R", "amount": sar(700)}));
    ok(world, "retainers.replenish", json!({"id": "R", "amount": sar(50)}));
    ok(world, "retainers.refund", json!({"id": "R", "amount": sar(10), "reason": "x"}));
    ok(world, "retainers.refund", json!({"id": "S", "reason": "x", "settle": "later"}));
}

fn of_payments(world: &mut World) {
    let to = json!([
        {"invoice": "I", "amount": sar(1_000)}, {"retainer": "R", "amount": sar(500)},
        {"unapplied": sar(500)},
    ]);
    let content = json!({
        "id": "P", "client": "C", "amount": sar(2_000), "method": "cash", "destinations": to,
    });
    ok(world, "payments.create", content);
    ok(world, "payments.complete", json!({"id": "P"}));
    let content = json!({
        "id": "Q", "client": "C", "amount": sar(60), "method": "cash",
        "destinations": [{"unapplied": sar(60)}],
    });
    ok(world, "payments.create", content);
    ok(world, "payments.complete", json!({"id": "Q"}));
    ok(world, "retainers.replenish", json!({"id": "R", "amount": sar(60), "payment": "Q"}));
    ok(world, "invoices.pay", json!({"id": "J", "amount": sar(30), "method": "card"}));
    let refund = |amount: u64, settle: &str| json!({"id": "P", "amount": sar(amount), "reason": "x", "settle": settle});
    ok(world, "payments.refund", refund(600, "now"));
    let mut later = refund(20, "later");
    later["sources"] = json!([{"retainer": "R", "amount": sar(20)}]);
    ok(world, "payments.refund", later);
    let dispute = json!({"id": "P", "amount": sar(25), "external_id": "bank-1"});
    let disputed = ok(world, "payments.dispute", dispute);
    ok(world, "disputes.lose", json!({"id": id_of(&disputed, "dispute")}));
    let credit = json!({
        "id": "I", "lines": [{"net": sar(10), "vat_bp": 1_500}], "reason": "x",
        "excess": "unapplied",
    });
    ok(world, "invoices.credit", credit);
    ok(world, "invoices.write_off", json!({"id": "J", "reason": "x"}));
}

fn of_jobs(world: &mut World) {
    for job in ["open", "given", "gone"] {
        ok(world, "jobs.create", json!({"id": job, "owner": "o"}));
        for proposer in ["x", "y", "z"] {
            ok(world, "proposals.create", json!({"job": job, "proposer": proposer}));
        }
        ok(world, "proposals.withdraw", json!({"job": job, "proposer": "z"}));
    }
    ok(world, "proposals.accept", json!({"job": "given", "proposer": "x", "by": "o"}));
    ok(world, "jobs.cancel", json!({"id": "gone", "by": "o"}));
}

/// A book of which all was done by commands.
fn sound() -> Vec<Stored> {
    let mut world = World::default();
    of_numbers(&mut world);
    of_accounts(&mut world);
    of_documents(&mut world);
    of_payments(&mut world);
    of_jobs(&mut world);
    world.stored()
}

fn found(records: &[Stored]) -> Vec<Finding> {
    audit(records.iter().cloned(), at(1))
}

#[test]
fn finds_nothing_where_all_was_done_by_commands() {
    let records = sound();
    assert_eq!(found(&records), []);
    // Not because there is nothing to find.
    for kind in [
        "accounts",
        "account_holds",
        "transfers",
        "postings",
        "clients",
        "retainers",
        "consumptions",
        "invoices",
        "allocations",
        "credit_notes",
        "payments",
        "refunds",
        "disputes",
        "series",
        "numbers",
        "series_counters",
        "chains",
        "chain_documents",
        "tickets",
        "entries",
    ] {
        assert!(records.iter().any(|stored| stored.key.kind.name() == kind), "{kind}");
    }
}

/// Records of a kind, with a text in their id or content.
type Which = (&'static str, &'static str);

/// Changes one stored field: which record's, where, to what, and the check that names it.
type Change = (Which, &'static str, Value, &'static str);

fn check(changes: Vec<Change>) {
    let records = sound();
    for ((kind, with), pointer, value, check) in changes {
        let mut changed = records.clone();
        let is_it = |stored: &Stored| {
            let words = format!("{} {} {}", stored.key, stored.key.id.as_str(), stored.record);
            stored.key.kind.name() == kind
                && words.contains(with)
                && stored.record.pointer(pointer).is_some()
        };
        let record = changed.iter_mut().find(|stored| is_it(stored));
        let record = record.unwrap_or_else(|| panic!("no {kind} {with} with {pointer}"));
        let field = record.record.pointer_mut(pointer).unwrap();
        assert_ne!(*field, value, "{kind} {with} {pointer}");
        *field = value;
        let subject = record.key.to_string();
        let found = found(&changed);
        let named = found.iter().any(|one| one.check == check && one.subject == subject);
        assert!(named, "{subject} {pointer}: {found:#?}");
    }
}

#[test]
fn m68_a_balance_changed_behind_the_engines_back_is_named() {
    let mut records = sound();
    let account = records.iter_mut().find(|one| one.key.to_string() == "accounts/b").unwrap();
    let posted = account.record["posted"].as_i64().unwrap();
    account.record["posted"] = json!(posted.checked_add(1).unwrap());
    let found = found(&records);
    let told: Vec<(&str, &str)> =
        found.iter().map(|one| (one.check, one.subject.as_str())).collect();
    assert_eq!(
        told,
        [("transfers_balance", "all accounts in SAR"), ("balance_matches_postings", "accounts/b"),]
    );
    assert_eq!((found[0].found.as_str(), found[1].found.as_str()), ("a sum of 1", "posted 241"));
}

#[test]
fn names_what_differs_in_the_ledger() {
    check(vec![
        (("accounts", "accounts/a "), "/posted", json!(1), "balance_matches_postings"),
        (("accounts", "accounts/a "), "/holds/0/amount", json!(1), "balance_matches_postings"),
        (("accounts", "accounts/a "), "/holds/0/amount", json!(99_999), "balance_not_negative"),
        (("accounts", "accounts/bank "), "/class", json!("bounded"), "balance_not_negative"),
        (("accounts", "accounts/a "), "/class", json!("external"), "balance_not_negative"),
        (("account_holds", "captured"), "/account", json!("none"), "balance_matches_postings"),
        (("account_holds", "\"open\""), "/status", json!("voided"), "balance_matches_postings"),
        (("account_holds", "captured"), "/transfer", json!("none"), "balance_matches_postings"),
        (("postings", "1:a"), "/amount", json!(9), "balance_matches_postings"),
        (("postings", "1:a"), "/side", json!("debit"), "balance_matches_postings"),
        (("postings", "1:a"), "/posted_after", json!(9), "balance_matches_postings"),
        (("postings", "1:a"), "/transfer", json!("none"), "transfers_balance"),
        (("transfers", "transfers.create"), "/lines/0/amount", json!(9), "transfers_balance"),
        (("transfers", "transfers.create"), "/lines/0/account", json!("c"), "transfers_balance"),
        (("transfers", "transfers.create"), "/currency", json!("USD"), "transfers_balance"),
        (("transfers", "transfers.create"), "/seq", json!(1), "transfers_balance"),
        (("transfers", "transfers.create"), "/reversed/0", json!("none"), "transfers_balance"),
        (("transfers", "transfers.reverse"), "/reverses", json!("none"), "transfers_balance"),
        (("tickets", "approved"), "/accounts/hold", json!("none"), "ticket_consistent"),
        (("tickets", "approved"), "/max_amount/amount", json!(99), "ticket_consistent"),
        (("tickets", "\"used\""), "/accounts/transfer", json!("none"), "ticket_consistent"),
        (("tickets", "\"used\""), "/accounts/credit", json!("a"), "ticket_consistent"),
        (("tickets", "\"used\""), "/used/amount/amount", json!(41), "ticket_consistent"),
    ]);
}

#[test]
fn names_what_differs_in_retainers_and_their_events() {
    check(vec![
        (("retainers", "retainers/R "), "/balance", json!(1), "retainer_matches_postings"),
        (("retainers", "retainers/R "), "/alert_armed", json!(true), "retainer_matches_postings"),
        (("retainers", "retainers/S "), "/closing", json!("none"), "retainer_matches_postings"),
        (("consumptions", "\"I\""), "/amount", json!(999), "retainer_matches_postings"),
        (("consumptions", "\"I\""), "/restored", json!(101), "retainer_matches_postings"),
        (("consumptions", "\"I\""), "/retainer", json!("none"), "retainer_matches_postings"),
        (("consumptions", "\"I\""), "/invoice/1", json!(7), "retainer_matches_postings"),
        (("entries", "low_balance"), "/events", json!([]), "events_match_postings"),
        (("entries", "low_balance"), "/events/0/balance", json!(1), "events_match_postings"),
        (
            ("entries", "retainers.replenish"),
            "/events",
            json!([{"event": "retainer_depleted", "retainer": "R"}]),
            "events_match_postings",
        ),
    ]);
}

#[test]
fn names_what_differs_in_invoices() {
    const CHECK: &str = "invoice_paid_equals_payments";
    let mut changes = vec![
        (("allocations", "consumption"), "/amount", json!(1), CHECK),
        (("allocations", "payment"), "/amount", json!(1), CHECK),
        (("allocations", "payment"), "/source/payment", json!("none"), CHECK),
        (("credit_notes", ""), "/total", json!(1), CHECK),
        (("credit_notes", ""), "/invoice", json!("none"), CHECK),
        (("invoices", "invoices/K "), "/stage/is", json!("issued"), CHECK),
    ];
    for (pointer, value) in [
        ("/amount_paid", json!(1)),
        ("/credited", json!(1)),
        ("/written_off", json!(1)),
        ("/net", json!(1)),
        ("/vat", json!(1)),
        ("/total", json!(9_999)),
        ("/discount", json!(1)),
        ("/lines/0/net", json!(1)),
        ("/lines/0/discount", json!(1)),
        ("/lines/0/unit_price", json!(1)),
        ("/rates/0/vat", json!(1)),
        ("/rates/0/credited_net", json!(1)),
        ("/allocations", json!(9)),
        ("/stage/is", json!("void")),
        ("/asked_discount/bp", json!(1)),
        ("/due_on", json!("2027-02-14")),
        // An hour before the day ends in Riyadh, and an instant late.
        ("/due_at", json!("2027-02-15T20:00:00Z")),
        ("/due_at", json!("2027-02-15T21:00:00.000000001Z")),
    ] {
        changes.push((("invoices", "invoices/I "), pointer, value, CHECK));
    }
    check(changes);
}

#[test]
fn names_what_differs_in_payments() {
    const CHECK: &str = "refunds_within_payment";
    check(vec![
        (("payments", "payments/P "), "/amount", json!(1_999), CHECK),
        (("payments", "payments/P "), "/unapplied", json!(7), CHECK),
        (("payments", "payments/P "), "/refunded", json!(7), CHECK),
        (("payments", "payments/P "), "/lost", json!(7), CHECK),
        (("payments", "payments/P "), "/parts/0/amount", json!(7), CHECK),
        (("payments", "payments/P "), "/parts/0/set_aside", json!(7), CHECK),
        (("payments", "payments/P "), "/parts/0/target/invoice", json!("J"), CHECK),
        (("payments", "payments/P "), "/status", json!("failed"), CHECK),
        (("refunds", "succeeded"), "/amount", json!(7), CHECK),
        (("refunds", "pending"), "/holds/0", json!("none"), CHECK),
        (("refunds", "pending"), "/status", json!("failed"), CHECK),
        (("disputes", ""), "/sources/0/amount", json!(7), CHECK),
        (("refunds", "succeeded"), "/payment", json!("Q"), CHECK),
        (("accounts", "sys:unapplied:C"), "/posted", json!(7), "credit_matches_payments"),
        (("payments", "payments/P "), "/completed/1", json!(1), "payment_applied_once"),
        (("payments", "payments/Q "), "/credited/1", json!(1), "payment_applied_once"),
    ]);
}

#[test]
fn a_payment_applied_twice_is_named() {
    let mut records = sound();
    let is_completing = |one: &&Stored| one.record["command"] == "payments.complete";
    let mut twice = records.iter().find(is_completing).unwrap().clone();
    assert_eq!(twice.key.kind.name(), "entries");
    twice.key.id = crate::RecordId::stored("00000000000000009999");
    twice.record["seq"] = json!(9_999);
    records.push(twice);
    let found = found(&records);
    let named = |one: &Finding| one.check == "payment_applied_once" && one.subject == "payments/P";
    assert!(found.iter().any(named), "{found:#?}");
}

#[test]
fn an_entry_of_two_keys_is_named() {
    let mut records = sound();
    let mut outcome = records[0].clone();
    outcome.key.kind = crate::Kind::named("outcomes");
    outcome.record = json!({"seqs": [1]});
    records.push(outcome.clone());
    assert_eq!(found(&records), []);
    outcome.key.id = crate::RecordId::stored("other");
    records.push(outcome);
    assert_eq!(found(&records)[0].check, "payment_applied_once");
}

#[test]
fn names_what_differs_in_numbers_and_chains() {
    const UNIQUE: &str = "number_unique";
    check(vec![
        (("numbers", "3:INV"), "/text", json!("INV-202701-0002"), UNIQUE),
        (("numbers", "3:INV"), "/date", json!("2027-02-01"), UNIQUE),
        (("numbers", "3:INV"), "/document", json!("none"), UNIQUE),
        (("numbers", "3:INV"), "/value", json!(9), UNIQUE),
        (("numbers", "\"void\""), "/status", json!("used"), UNIQUE),
        (("invoices", "invoices/I "), "/number", json!("INV-202701-0009"), UNIQUE),
        (("clients", "clients/C "), "/number", json!("CLT-2027-0009"), UNIQUE),
        (("series_counters", "3:INV"), "/last", json!(9), "number_without_gap"),
        (("series_counters", "3:PAY"), "/given", json!(9), "number_without_gap"),
        (("numbers", "imported"), "/first", json!(2), "number_without_gap"),
        (("chain_documents", "\"I\""), "/prev_hash", json!(hash("cd")), "chain_intact"),
        (("chain_documents", "\"I\""), "/hash", json!(hash("cd")), "chain_intact"),
        (("chains", "auto"), "/counter", json!(9), "chain_intact"),
        (("chains", "auto"), "/head", json!(hash("cd")), "chain_intact"),
        (("chains", "auto"), "/document", json!("z"), "chain_intact"),
        (("invoices", "invoices/I "), "/chain/counter", json!(2), "chain_intact"),
    ]);
}

/// A book all of whose documents are in one chain that the engine seals.
fn sealed() -> Vec<Stored> {
    let mut world = World::default();
    let chain = json!({"name": "all", "genesis_hash": hash("00"), "seal": "auto"});
    ok(&mut world, "chains.define", chain);
    for (name, template) in [
        ("INV", "INV-{YYYY}{MM}-{N:4}"),
        ("CRN", "CRN-{YYYY}{MM}-{N:4}"),
        ("RFD", "RFD-{YYYY}{MM}-{N:4}"),
        ("TXN", "TXN-{YYYY}{MM}-{N:5}"),
        ("PAY", "PAY-{YYYY}-{N:4}"),
        ("RET", "RET-{YYYY}-{N:4}"),
        ("CLT", "CLT-{YYYY}-{N:4}"),
        ("ORD", "O{YY}-{N:3}"),
    ] {
        let content = json!({
            "name": name, "template": template, "class": "gapless", "zone": "+03:00",
            "chain": "all", "scoped": name == "CLT",
        });
        ok(&mut world, "series.define", content);
    }
    ok(&mut world, "series.next", json!({"name": "ORD", "document": "x"}));
    of_accounts(&mut world);
    of_documents(&mut world);
    of_payments(&mut world);
    ok(&mut world, "clients.update", json!({"id": "D", "if_version": 1, "name": "E"}));
    world.stored()
}

#[test]
fn a_sealed_document_that_is_another_now_is_named() {
    let records = sealed();
    assert_eq!(found(&records), []);
    for (kind, with, pointer, value) in [
        ("invoices", "invoices/I ", "/issued_at", json!("2027-01-02T00:00:00Z")),
        ("credit_notes", "", "/reason", json!("y")),
        ("retainers", "retainers/R ", "/type", json!("security")),
        ("payments", "payments/P ", "/created_at", json!("2027-01-02T00:00:00Z")),
        ("refunds", "\"payment\"", "/created_at", json!("2027-01-02T00:00:00Z")),
        ("refunds", "\"part\"", "/created_at", json!("2027-01-02T00:00:00Z")),
        ("clients", "clients/C ", "/name", json!("E")),
        ("transfers", "TXN-", "/at", json!("2027-01-02T00:00:00Z")),
        ("chain_documents", "\"x\"", "/at", json!("2027-01-02T00:00:00Z")),
    ] {
        let mut changed = records.clone();
        let is_it = |stored: &&mut Stored| {
            let words = format!("{} {}", stored.key, stored.record);
            stored.key.kind.name() == kind && words.contains(with)
        };
        let record = changed.iter_mut().find(is_it);
        let record = record.unwrap_or_else(|| panic!("no {kind} {with}"));
        let id = record.text("document").unwrap_or(record.key.id.as_str()).to_owned();
        let field = record.record.pointer_mut(pointer).unwrap();
        assert_ne!(*field, value);
        *field = value;
        let of_it = |one: &&Stored| {
            one.key.kind.name() == "chain_documents" && one.text("document") == Some(&id)
        };
        let subject = records.iter().find(of_it).unwrap().key.to_string();
        let found = found(&changed);
        let named = found.iter().any(|one| (one.check, &one.subject) == ("chain_intact", &subject));
        assert!(named, "{kind} {with} {subject}: {found:#?}");
    }
    // What is hashed of a client may change: of one that did, nothing is told.
    let mut changed = records;
    let client = changed.iter_mut().find(|one| one.key.to_string() == "clients/D").unwrap();
    client.record["name"] = json!("F");
    assert_eq!(found(&changed), []);
}

#[test]
fn a_refund_is_listed_of_its_payment() {
    let records = sound();
    let is_place = |one: &Stored| one.key.kind.name() == "payment_refunds";
    let mut unlisted = records.clone();
    unlisted.retain(|one| !is_place(one));
    let findings = found(&unlisted);
    let told: Vec<_> = findings.iter().map(|one| (one.check, one.expected.as_str())).collect();
    assert_eq!(told, [("refunds_within_payment", "listed of its payment"); 2]);
    let mut gone = records;
    let mut other = gone.iter().find(|one| is_place(one)).unwrap().clone();
    other.key.id = crate::RecordId::stored("1:Pnone");
    gone.push(other);
    let found = found(&gone);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].subject, "payment_refunds/P/none");
}

#[test]
fn names_what_differs_in_jobs() {
    const CHECK: &str = "proposals_counted";
    check(vec![
        (("jobs", "jobs/open "), "/proposals", json!(3), CHECK),
        (("jobs", "jobs/given "), "/proposals", json!(2), CHECK),
        (("jobs", "jobs/given "), "/accepted_proposal", json!("y"), CHECK),
        (("jobs", "jobs/given "), "/status", json!("open"), CHECK),
        (("jobs", "jobs/gone "), "/status", json!("open"), CHECK),
        (("jobs", "jobs/gone "), "/status", json!("in_progress"), CHECK),
    ]);
    let mut records = sound();
    let second = records.iter_mut().find(|one| one.key.to_string() == "proposals/given/y");
    second.unwrap().record["status"] = json!("accepted");
    let found = found(&records);
    assert!(found.iter().all(|one| (one.check, &*one.subject) == (CHECK, "jobs/given")));
    assert_eq!(found.len(), 2, "{found:#?}");
}

#[test]
fn a_number_that_is_gone_leaves_a_gap() {
    let mut records = sound();
    let first = |one: &Stored| one.record["text"] == "INV-202701-0001";
    records.retain(|one| !first(one));
    let found = found(&records);
    assert!(found.iter().any(|one| one.check == "number_without_gap"), "{found:#?}");
}
