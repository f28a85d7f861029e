//! Accounts, transfers and holds on the rules alone.

use serde_json::{Value, json};

use crate::AccountId;
use crate::money::Posting;
use crate::money::ledger::posting_id;
use crate::trial::{Answer, Call, World, at, count};

const SECOND_NS: u64 = 1_000_000_000;
const LARGEST: u64 = 9_007_199_254_740_991;

fn sar(amount: u64) -> Value {
    json!({"amount": amount, "currency": "SAR"})
}

fn create(id: &str, over: Value) -> Call<'static> {
    let mut content = json!({"id": id, "owner": id, "currency": "SAR"});
    lay_over(&mut content, over);
    ("accounts.create", content)
}

fn lay_over(content: &mut Value, over: Value) {
    let Value::Object(over) = over else { panic!("an object") };
    for (name, value) in over {
        content[name] = value;
    }
}

/// `bank` stands for the outside; `a`, `b`, `c` are bounded, and `a` has so much.
fn book(funds: u64) -> World {
    let mut world = World::default();
    world.send(0, create("bank", json!({"class": "external"}))).ok();
    for id in ["a", "b", "c"] {
        world.send(0, create(id, json!({}))).ok();
    }
    if 0 < funds {
        world.send(0, credit("a", funds, "bank")).ok();
    }
    world
}

fn credit(id: &str, amount: u64, from: &str) -> Call<'static> {
    ("accounts.credit", json!({"id": id, "amount": sar(amount), "from": from}))
}

fn debit(id: &str, amount: u64, to: &str) -> Call<'static> {
    ("accounts.debit", json!({"id": id, "amount": sar(amount), "to": to}))
}

fn line(account: &str, side: &str, amount: u64) -> Value {
    json!({"account": account, "side": side, "amount": sar(amount)})
}

fn transfer(lines: Value) -> Call<'static> {
    ("transfers.create", json!({"lines": lines}))
}

fn reverse(id: &str) -> Call<'static> {
    ("transfers.reverse", json!({"id": id}))
}

fn hold(id: &str, amount: u64, ttl_ms: u64) -> Call<'static> {
    let ttl_ns = ttl_ms.checked_mul(1_000_000).unwrap();
    ("accounts.hold", json!({"id": id, "amount": sar(amount), "ttl_ns": ttl_ns}))
}

fn capture(hold: &str, amount: u64, to: &str) -> Call<'static> {
    ("accounts.capture", json!({"hold": hold, "amount": sar(amount), "to": to}))
}

fn void(hold: &str) -> Call<'static> {
    ("accounts.void_hold", json!({"hold": hold}))
}

fn close(id: &str) -> Call<'static> {
    ("accounts.close", json!({"id": id}))
}

fn read(world: &mut World, millis: i64, id: &str) -> Value {
    world.send(millis, ("accounts.read", json!({"id": id}))).ok()["account"].clone()
}

fn read_hold(world: &mut World, millis: i64, id: &str) -> Value {
    world.send(millis, ("account_holds.read", json!({"id": id}))).ok()["hold"].clone()
}

/// `posted`, `held` and `available`.
fn sums(account: &Value) -> (i64, i64, i64) {
    let of = |name: &str| account[name].as_i64().unwrap();
    (of("posted"), of("held"), of("available"))
}

fn id_of(answer: &Answer, what: &str) -> String {
    answer.ok()[what]["id"].as_str().unwrap().to_owned()
}

fn time(millis: i64) -> String {
    at(millis).to_string()
}

#[test]
fn an_account_is_opened_once_and_empty() {
    let mut world = World::default();
    let answer = world.send(5, create("a", json!({})));
    let expected = json!({
        "id": "a", "owner": "a", "currency": "SAR", "class": "bounded", "posted": 0, "held": 0,
        "available": 0, "status": "open", "opened_at": time(5), "version": 1,
    });
    assert_eq!(answer.ok(), &json!({"account": expected, "postings": [], "events": []}));
    assert_eq!(world.send(6, create("a", json!({}))).no("account_exists")["id"], "a");
    let unknown = json!({"currency": "XXQ"});
    assert_eq!(world.send(6, create("a", unknown)).no("unknown_currency")["currency"], "XXQ");
    let drawn = world.send(6, ("accounts.create", json!({"owner": "o", "currency": "SAR"})));
    assert_eq!(id_of(&drawn, "account").len(), 32);
    let answer = world.send(6, create("sys:cash:SAR", json!({})));
    assert_eq!(answer.no("reserved_account")["account"], "sys:cash:SAR");
    world.send(6, ("accounts.read", json!({"id": "x"}))).no("account_not_found");
}

#[test]
fn a_transfer_moves_whole_and_tells_all_it_changed() {
    let mut world = book(10_000);
    let lines = json!([line("a", "debit", 70), line("b", "credit", 30), line("c", "credit", 40)]);
    let answer = world.send(7, ("transfers.create", json!({"lines": lines, "ref": "rent"})));
    let reply = answer.ok();
    let moved = &reply["transfer"];
    assert_eq!((&moved["ref"], &moved["at"]), (&json!("rent"), &json!(time(7))));
    assert_eq!((&moved["seq"], &moved["version"]), (&json!(6), &json!(1)));
    let after: Vec<_> = reply["accounts"].as_array().unwrap().iter().map(sums).collect();
    assert_eq!(after, [(9_930, 0, 9_930), (30, 0, 30), (40, 0, 40)]);
    assert_eq!(reply["accounts"][0]["version"], 3);
    let postings = reply["postings"].as_array().unwrap();
    assert_eq!(postings.len(), 3);
    assert_eq!(
        postings[2],
        json!({"transfer": moved["id"], "account": "c", "side": "credit", "amount": 40,
            "posted_after": 40, "ref": "rent", "seq": 6, "at": time(7)}),
    );
    assert_eq!(reply["events"], json!([]));
    for (id, of) in [("a", 9_930), ("b", 30), ("c", 40), ("bank", -10_000)] {
        assert_eq!(read(&mut world, 7, id)["posted"], of);
    }
    let posting: Posting = world.record(&posting_id(&AccountId::of(&"c".parse_key()), 6, 2));
    assert_eq!(posting.posted_after.get(), 40);
    let again = world.send(8, ("transfers.read", json!({"id": moved["id"]})));
    assert_eq!(&again.ok()["transfer"], moved);
    world.send(8, ("transfers.read", json!({"id": "x"}))).no("transfer_not_found");
}

trait ParseKey {
    fn parse_key(&self) -> crate::Key;
}

impl ParseKey for str {
    fn parse_key(&self) -> crate::Key {
        crate::Key::new(self).unwrap()
    }
}

#[test]
fn the_two_line_forms_are_transfers() {
    let mut world = book(100);
    let answer = world.send(0, debit("a", 30, "b"));
    let lines = &answer.ok()["transfer"]["lines"];
    assert_eq!(lines[0], json!({"account": "a", "side": "debit", "amount": 30}));
    assert_eq!(lines[1], json!({"account": "b", "side": "credit", "amount": 30}));
    world.send(0, credit("a", 10, "b")).ok();
    assert_eq!(sums(&read(&mut world, 0, "a")), (80, 0, 80));
    assert_eq!(sums(&read(&mut world, 0, "b")), (20, 0, 20));
    let data = world.send(0, credit("c", 21, "b"));
    let data = data.no("insufficient_funds");
    assert_eq!((&data["account"], &data["available"]), (&json!("b"), &json!(20)));
    assert_eq!(data["required"], 21);
    // The outside has no lower bound.
    world.send(0, credit("c", 1_000_000, "bank")).ok();
    let wrong = ("accounts.credit", json!({"id": "c", "amount": sar(0), "from": "b"}));
    assert_eq!(world.send(0, wrong).no("invalid_amount")["reason"], "zero");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of refusals, one line of thought each")]
fn transfers_refuse_in_order() {
    let mut world = book(10);
    world.send(0, create("usd", json!({"currency": "USD"}))).ok();
    world.send(0, create("gone", json!({}))).ok();
    world.send(0, close("gone")).ok();
    let usd = |account: &str, side: &str, currency: &str| {
        json!({"account": account, "side": side,
            "amount": {"amount": 5, "currency": currency}})
    };
    let many: Vec<Value> = (0..41).map(|_| line("a", "debit", 1)).collect();
    for (lines, code, field, value) in [
        (json!([]), "invalid_request", "field", json!("lines")),
        (json!(many), "invalid_request", "field", json!("lines")),
        (
            json!([line("x", "debit", 5), usd("y", "credit", "XXQ")]),
            "unknown_currency",
            "currency",
            json!("XXQ"),
        ),
        (
            json!([line("x", "debit", 5), line("sys:cash", "credit", 4)]),
            "unbalanced",
            "credits",
            json!(4),
        ),
        (json!([line("x", "debit", 5)]), "unbalanced", "debits", json!(5)),
        (
            json!([line("a", "debit", 5), usd("usd", "credit", "USD")]),
            "unbalanced",
            "currency",
            json!("SAR"),
        ),
        (
            json!([line("sys:cash", "debit", 5), line("x", "credit", 5)]),
            "account_not_found",
            "id",
            json!("x"),
        ),
        (
            json!([line("gone", "debit", 5), line("sys:cash", "credit", 5)]),
            "reserved_account",
            "account",
            json!("sys:cash"),
        ),
        (
            json!([usd("a", "debit", "USD"), usd("gone", "credit", "USD")]),
            "account_closed",
            "account",
            json!("gone"),
        ),
        (
            json!([usd("a", "debit", "USD"), usd("b", "credit", "USD")]),
            "currency_mismatch",
            "expected",
            json!("SAR"),
        ),
        (
            json!([
                line("a", "debit", 50),
                line("b", "credit", 50),
                usd("usd", "debit", "USD"),
                usd("usd", "credit", "USD"),
            ]),
            "currency_mismatch",
            "got",
            json!("USD"),
        ),
        (
            json!([line("a", "debit", 11), line("b", "credit", 11)]),
            "insufficient_funds",
            "required",
            json!(11),
        ),
    ] {
        let answer = world.send(0, transfer(lines.clone()));
        assert_eq!(answer.no(code)[field], value, "{lines}");
    }
    let whole: Vec<Value> = (0..40)
        .map(|index| line(if index < 20 { "bank" } else { "b" }, side_of(index), 1))
        .collect();
    world.send(0, transfer(json!(whole))).ok();
    assert_eq!(sums(&read(&mut world, 0, "b")), (20, 0, 20));
    let mut at_version = credit("a", 1, "bank");
    at_version.1["if_version"] = json!(9);
    assert_eq!(world.send(0, at_version.clone()).no("version_mismatch")["version"], 2);
    at_version.1["if_version"] = json!(2);
    world.send(0, at_version).ok();
}

fn side_of(index: u32) -> &'static str {
    if index < 20 { "debit" } else { "credit" }
}

#[test]
fn a_transfer_of_a_series_has_a_number() {
    let mut world = book(10);
    let both = json!([line("a", "debit", 5), line("b", "credit", 5)]);
    let numbered = |lines: &Value| ("transfers.create", json!({"lines": lines, "series": "TXN"}));
    let first = world.send(0, numbered(&both)).ok()["transfer"]["number"].clone();
    let second = world.send(0, numbered(&both)).ok()["transfer"]["number"].clone();
    assert!(first.is_string() && first != second, "{first} {second}");
    world.send(0, numbered(&both)).no("insufficient_funds");
}

#[test]
fn what_is_not_there_is_told_before_a_series_without_numbers() {
    let mut world = book(10);
    let content = json!({
        "name": "T", "template": "T{N:1}", "class": "unique", "zone": "UTC", "start": 9,
        "overflow": "refuse",
    });
    world.send(0, ("series.define", content)).ok();
    let numbered = |amount: u64| {
        let lines = json!([line("a", "debit", amount), line("b", "credit", amount)]);
        ("transfers.create", json!({"lines": lines, "series": "T"}))
    };
    assert_eq!(world.send(0, numbered(1)).ok()["transfer"]["number"], "T9");
    assert_eq!(world.send(0, numbered(10)).no("insufficient_funds")["available"], 9);
    assert_eq!(world.send(0, numbered(9)).no("series_exhausted")["last"], 9);
}

#[test]
fn no_caller_reverses_what_the_book_itself_moved() {
    let mut world = book(10);
    world.send(0, ("clients.create", json!({"id": "C", "scope": "L", "name": "C"}))).ok();
    let content = json!({
        "id": "R", "client": "C", "type": "advance", "currency": "SAR",
        "initial_amount": {"amount": 5, "currency": "SAR"},
    });
    let opened = world.send(0, ("retainers.create", content)).ok().clone();
    let id = opened["postings"][0]["transfer"].as_str().unwrap();
    let mut call = reverse(id);
    // Who may not is told so before the version.
    call.1["if_version"] = json!(7);
    let answer = world.send(0, call);
    assert_eq!(answer.no("reserved_account")["account"], "sys:cash:SAR");
    assert_eq!(read(&mut world, 0, "sys:retainer:R")["posted"], 5);
}

#[test]
fn m62_a_balance_has_a_largest() {
    let mut world = book(LARGEST - 1);
    world.send(0, create("other", json!({"class": "external"}))).ok();
    world.send(0, credit("a", 2, "other")).no("amount_overflow");
    world.send(0, credit("a", 1, "other")).ok();
    assert_eq!(read(&mut world, 0, "a")["posted"], LARGEST);
    // The outside has a largest too, on its own side.
    world.send(0, credit("b", 2, "bank")).no("amount_overflow");
    world.send(0, credit("b", 1, "bank")).ok();
    let lines = json!([
        line("bank", "debit", LARGEST),
        line("bank", "debit", LARGEST),
        line("b", "credit", 1)
    ]);
    world.send(0, transfer(lines)).no("amount_overflow");
}

#[test]
fn m63_holds_never_share_a_balance() {
    let mut world = book(10_000);
    let answers = world.all(0, &vec![hold("a", 6_000, 60_000); 2]);
    assert_eq!(sums(&answers[0].ok()["account"]), (10_000, 6_000, 4_000));
    let data = answers[1].no("insufficient_funds");
    assert_eq!((&data["available"], &data["required"]), (&json!(4_000), &json!(6_000)));
    let first = id_of(&answers[0], "hold");
    let answer = world.send(0, capture(&first, 4_000, "b"));
    let accounts = &answer.ok()["accounts"];
    assert_eq!(sums(&accounts[0]), (6_000, 0, 6_000));
    assert_eq!(sums(&accounts[1]), (4_000, 0, 4_000));
    assert_eq!(answer.deadline(), Some(at(60_000)));
    let view = &answer.ok()["hold"];
    assert_eq!((&view["status"], &view["ended_at"]), (&json!("captured"), &json!(time(0))));
    assert_eq!(view["transfer"], answer.ok()["transfer"]["id"]);
    assert_eq!(answer.ok()["transfer"]["command"], "accounts.capture");

    let short = id_of(&world.send(0, hold("a", 6_000, 1_000)), "hold");
    world.send(999, hold("a", 6_000, 1_000)).no("insufficient_funds");
    assert_eq!(read_hold(&mut world, 999, &short)["status"], "open");
    world.send(1_000, hold("a", 6_000, 1_000)).ok();
    assert_eq!(read_hold(&mut world, 1_000, &short)["status"], "expired");
    let answer = world.send(1_000, capture(&short, 1, "b"));
    assert_eq!(answer.no("hold_expired")["expires_at"], time(1_000));
    assert_eq!(world.send(1_000, void(&short)).no("hold_expired")["expires_at"], time(1_000));
}

#[test]
fn a_hold_ends_once() {
    let mut world = book(100);
    let first = id_of(&world.send(0, hold("a", 60, 1_000)), "hold");
    let answer = world.send(3, void(&first));
    assert_eq!(sums(&answer.ok()["account"]), (100, 0, 100));
    assert_eq!(answer.ok()["hold"]["status"], "voided");
    assert_eq!(answer.deadline(), Some(at(1_000)));
    for call in [void(&first), capture(&first, 1, "b")] {
        // What was voided stays so when its time is over.
        assert_eq!(world.send(2_000, call).no("hold_voided")["at"], time(3));
    }
    let second = id_of(&world.send(2_000, hold("a", 60, 1_000)), "hold");
    world.send(2_001, capture(&second, 60, "b")).ok();
    for call in [void(&second), capture(&second, 1, "b")] {
        assert_eq!(world.send(4_000, call).no("hold_captured")["at"], time(2_001));
    }
    world.send(0, void("x")).no("hold_not_found");
    world.send(0, ("account_holds.read", json!({"id": "x"}))).no("hold_not_found");
}

#[test]
fn a_capture_refuses_in_order() {
    let mut world = book(100);
    world.send(0, create("usd", json!({"currency": "USD"}))).ok();
    world.send(0, create("gone", json!({}))).ok();
    world.send(0, close("gone")).ok();
    world.send(0, create("full", json!({}))).ok();
    world.send(0, create("other", json!({"class": "external"}))).ok();
    world.send(0, credit("full", LARGEST, "other")).ok();
    let id = id_of(&world.send(0, hold("a", 60, 1_000)), "hold");
    let usd = |to: &str| {
        (
            "accounts.capture",
            json!({"hold": id, "amount": {"amount": 99, "currency": "USD"}, "to": to}),
        )
    };
    let unknown = (
        "accounts.capture",
        json!({"hold": "x", "amount": {"amount": 1, "currency": "XXQ"},
            "to": "x"}),
    );
    world.send(0, unknown).no("unknown_currency");
    world.send(0, capture("x", 99, "x")).no("hold_not_found");
    assert_eq!(world.send(0, capture(&id, 99, "x")).no("account_not_found")["id"], "x");
    world.send(0, capture(&id, 99, "sys:cash")).no("reserved_account");
    let mut versioned = capture(&id, 99, "gone");
    versioned.1["if_version"] = json!(2);
    assert_eq!(world.send(0, versioned).no("version_mismatch")["version"], 1);
    assert_eq!(world.send(1_000, usd("gone")).no("account_closed")["account"], "gone");
    world.send(1_000, usd("usd")).no("hold_expired");
    let mut world = book(100);
    world.send(0, create("usd", json!({"currency": "USD"}))).ok();
    world.send(0, create("full", json!({}))).ok();
    world.send(0, create("other", json!({"class": "external"}))).ok();
    world.send(0, credit("full", LARGEST, "other")).ok();
    let id = id_of(&world.send(0, hold("a", 60, 1_000)), "hold");
    let answer = world.send(0, capture(&id, 99, "usd"));
    assert_eq!(answer.no("currency_mismatch")["got"], "USD");
    let usd = (
        "accounts.capture",
        json!({"hold": id, "amount": {"amount": 99, "currency": "USD"},
            "to": "b"}),
    );
    assert_eq!(world.send(0, usd).no("currency_mismatch")["expected"], "SAR");
    assert_eq!(world.send(0, capture(&id, 61, "full")).no("exceeds_hold")["amount"], 60);
    world.send(0, capture(&id, 60, "full")).no("amount_overflow");
    assert_eq!(sums(&read(&mut world, 0, "a")), (100, 60, 40));
    world.send(0, capture(&id, 60, "b")).ok();
}

#[test]
fn a_hold_refuses_in_order() {
    let mut world = book(100);
    let ten_years_ms = 3_660 * 24 * 3_600_000;
    world.send(0, create("gone", json!({}))).ok();
    world.send(0, close("gone")).ok();
    let of = |id: &str, currency: &str, ttl_ns: u64| {
        let amount = json!({"amount": 101, "currency": currency});
        ("accounts.hold", json!({"id": id, "amount": amount, "ttl_ns": ttl_ns}))
    };
    world.send(0, of("x", "XXQ", 1)).no("unknown_currency");
    world.send(0, of("x", "USD", 1)).no("account_not_found");
    world.send(0, of("sys:cash", "USD", 1)).no("reserved_account");
    let mut versioned = hold("gone", 1, 1);
    versioned.1["if_version"] = json!(1);
    assert_eq!(world.send(0, versioned).no("version_mismatch")["version"], 2);
    world.send(0, of("gone", "USD", u64::MAX)).no("account_closed");
    let too_long = ten_years_ms * 1_000_000 + 1;
    let answer = world.send(0, of("a", "USD", too_long));
    assert_eq!(answer.no("ttl_too_long")["max_ttl_ns"], ten_years_ms * 1_000_000);
    world.send(0, of("a", "USD", SECOND_NS)).no("currency_mismatch");
    world.send(0, of("a", "SAR", SECOND_NS)).no("insufficient_funds");
    world.send(0, hold("a", 100, ten_years_ms)).ok();
    world.send(0, hold("a", 1, 1)).no("insufficient_funds");
    // What stands for the outside has no holds.
    assert_eq!(world.send(0, hold("bank", 1, 1)).no("too_many_holds")["max"], 0);
    let wrong = ("accounts.hold", json!({"id": "a", "amount": sar(1), "ttl_ns": 0}));
    assert_eq!(world.send(0, wrong).no("invalid_request")["field"], "ttl_ns");
}

#[test]
fn an_account_has_1024_live_holds() {
    let mut world = book(2_000);
    for _ in 0..1_023 {
        world.send(0, hold("a", 1, 2_000)).ok();
    }
    let last = id_of(&world.send(0, hold("a", 1, 1_000)), "hold");
    assert_eq!(world.send(0, hold("a", 1, 1)).no("too_many_holds")["max"], 1_024);
    // One that ran out is not live, swept or not.
    world.send(999, hold("a", 1, 1)).no("too_many_holds");
    let next = id_of(&world.send(1_000, hold("a", 1, 2_000)), "hold");
    world.send(1_000, void(&last)).no("hold_expired");
    assert_eq!(sums(&read(&mut world, 1_000, "a")), (2_000, 1_024, 976));
    world.send(1_000, void(&next)).ok();
    assert_eq!(sums(&read(&mut world, 2_000, "a")), (2_000, 0, 2_000));
    world.send(2_000, debit("a", 2_000, "b")).ok();
}

#[test]
fn m64_balanced_named_by_callers_reversed_once() {
    let mut world = book(10);
    let lines = json!([line("a", "debit", 5), line("b", "credit", 4)]);
    let answer = world.send(0, transfer(lines));
    let expected = json!({"currency": "SAR", "debits": 5, "credits": 4});
    assert_eq!(Value::Object(answer.no("unbalanced").clone()), expected);
    world.send(0, debit("a", 5, "sys:cash")).no("reserved_account");
    let id = id_of(&world.send(0, debit("a", 5, "b")), "transfer");
    let answer = world.send(4, reverse(&id));
    let mirror = &answer.ok()["transfer"];
    assert_eq!(mirror["reverses"], id);
    assert_eq!(mirror["lines"][0], json!({"account": "a", "side": "credit", "amount": 5}));
    assert_eq!(answer.ok()["reversed"]["reversed_by"], mirror["id"]);
    assert_eq!(answer.ok()["reversed"]["version"], 2);
    assert_eq!(sums(&answer.ok()["accounts"][0]), (10, 0, 10));
    let again = world.send(5, reverse(&id));
    let data = again.no("already_reversed");
    assert_eq!((&data["by"], &data["at"]), (&mirror["id"], &json!(time(4))));
    // A reversal is a transfer, and may be wrong too.
    let mirror = mirror["id"].as_str().unwrap();
    world.send(5, reverse(mirror)).ok();
    assert_eq!(sums(&read(&mut world, 5, "b")), (5, 0, 5));
}

#[test]
fn a_reversal_refuses_in_order() {
    let mut world = book(10);
    world.send(0, reverse("x")).no("transfer_not_found");
    let id = id_of(&world.send(0, debit("a", 5, "b")), "transfer");
    let mut versioned = reverse(&id);
    versioned.1["if_version"] = json!(2);
    world.send(0, versioned).no("version_mismatch");
    world.send(0, debit("b", 1, "c")).ok();
    let data = world.send(0, reverse(&id));
    assert_eq!(data.no("insufficient_funds")["available"], 4);
    world.send(0, debit("b", 4, "c")).ok();
    world.send(0, close("b")).ok();
    assert_eq!(world.send(0, reverse(&id)).no("account_closed")["account"], "b");

    // A capture is reversed like any other: the hold stays captured.
    let mut world = book(10);
    let held = id_of(&world.send(0, hold("a", 10, 1_000)), "hold");
    let id = id_of(&world.send(0, capture(&held, 10, "b")), "transfer");
    world.send(2_000, reverse(&id)).ok();
    assert_eq!(sums(&read(&mut world, 2_000, "a")), (10, 0, 10));
    assert_eq!(read_hold(&mut world, 2_000, &held)["status"], "captured");

    let mut world = book(10);
    let id = id_of(&world.send(0, debit("a", 10, "bank")), "transfer");
    world.send(0, create("other", json!({"class": "external"}))).ok();
    world.send(0, credit("a", LARGEST, "other")).ok();
    world.send(0, reverse(&id)).no("amount_overflow");
}

#[test]
fn m61_one_currency_in_one_operation() {
    let mut world = book(10);
    world.send(0, create("usd", json!({"currency": "USD"}))).ok();
    for call in [debit("a", 1, "usd"), credit("usd", 1, "a"), hold("usd", 1, 1)] {
        let answer = world.send(0, call);
        let data = answer.no("currency_mismatch");
        assert_eq!((&data["expected"], &data["got"]), (&json!("USD"), &json!("SAR")));
    }
}

#[test]
fn an_account_is_closed_once_and_empty() {
    let mut world = book(10);
    let held = id_of(&world.send(0, hold("a", 10, 1_000)), "hold");
    let answer = world.send(0, close("a"));
    let data = answer.no("account_not_empty");
    assert_eq!((&data["posted"], &data["held"]), (&json!(10), &json!(10)));
    world.send(0, void(&held)).ok();
    world.send(0, close("a")).no("account_not_empty");
    world.send(0, close("bank")).no("account_not_empty");
    world.send(0, debit("a", 10, "bank")).ok();
    let mut versioned = close("a");
    versioned.1["if_version"] = json!(1);
    world.send(0, versioned).no("version_mismatch");
    let answer = world.send(9, close("a"));
    let view = &answer.ok()["account"];
    assert_eq!((&view["status"], &view["closed_at"]), (&json!("closed"), &json!(time(9))));
    for call in [close("a"), credit("a", 1, "bank"), debit("bank", 1, "a"), hold("a", 1, 1)] {
        assert_eq!(world.send(9, call).no("account_closed")["account"], "a");
    }
    world.send(9, create("a", json!({}))).no("account_exists");
    world.send(9, close("x")).no("account_not_found");
    world.send(9, close("sys:cash")).no("reserved_account");
}

#[test]
fn what_is_sent_at_once_never_overspends() {
    let mut world = book(10_000);
    let answers = world.all(0, &vec![debit("a", 3_000, "b"); 5]);
    let counts = count(&answers);
    assert_eq!((counts["ok"], counts["insufficient_funds"]), (3, 2));
    let view = read(&mut world, 0, "a");
    assert_eq!((sums(&view), &view["version"]), ((1_000, 0, 1_000), &json!(5)));
}

#[test]
fn a_dry_run_moves_nothing() {
    let mut world = book(10);
    assert_eq!(world.dry(0, debit("a", 10, "b")).code(), "ok");
    assert_eq!(sums(&read(&mut world, 0, "a")), (10, 0, 10));
    world.send(0, debit("a", 10, "b")).ok();
}
