//! The rules of series, and their scripts as far as they need no document of the book.

mod chains;
mod laws;
mod templates;

use serde_json::{Value, json};

use crate::Timestamp;
use crate::trial::{Answer, Call, World, at, count};

/// The millisecond of an instant, as a world counts.
pub(super) fn when(instant: &str) -> i64 {
    let instant: Timestamp = instant.parse().unwrap();
    let millis = |at: Timestamp| i64::try_from(at.nanos().div_euclid(1_000_000)).unwrap();
    millis(instant).checked_sub(millis(at(0))).unwrap()
}

/// The day that scripts are on.
const DAY: &str = "2025-06-15T09:00:00Z";

/// A book in Riyadh, on that day.
fn book() -> World {
    book_in("Asia/Riyadh", "2001-01-01T00:00:00Z")
}

fn book_in(zone: &str, since: &str) -> World {
    let mut world = World::default();
    world.send(when(since), ("book.configure", json!({"zone": zone}))).ok();
    world
}

fn next(series: &str, document: &str) -> Call<'static> {
    ("series.next", json!({"name": series, "document": document}))
}

fn scoped(series: &str, scope: &str, document: &str) -> Call<'static> {
    ("series.next", json!({"name": series, "scope": scope, "document": document}))
}

fn void(series: &str, number: &str) -> Call<'static> {
    ("series.void", json!({"name": series, "number": number, "reason": "lost"}))
}

fn advance(series: &str, period: &str, last: u64) -> Call<'static> {
    ("series.advance", json!({"name": series, "period": period, "last": last}))
}

/// Defines a series in UTC; what is laid over.
fn define(name: &str, template: &str, over: Value) -> Call<'static> {
    let mut content =
        json!({"name": name, "template": template, "class": "gapless", "zone": "UTC"});
    let Value::Object(over) = over else { panic!("an object") };
    for (field, value) in over {
        content[field] = value;
    }
    ("series.define", content)
}

fn chain(name: &str, seal: &str) -> Call<'static> {
    let content = json!({"name": name, "genesis_hash": "0".repeat(64), "seal": seal});
    ("chains.define", content)
}

fn send(world: &mut World, call: Call<'_>) -> Answer {
    world.send(when(DAY), call)
}

/// The text of the number that a document is given.
fn number(world: &mut World, instant: &str, call: Call<'_>) -> String {
    let answer = world.send(when(instant), call);
    answer.ok()["number"]["number"].as_str().unwrap().to_owned()
}

fn read(world: &mut World, id: &str) -> Value {
    send(world, ("series.read", json!({"id": id}))).ok()["series"].clone()
}

fn number_read(world: &mut World, id: &str) -> Answer {
    send(world, ("numbers.read", json!({"id": id})))
}

#[test]
fn m41_a_hundred_documents_have_a_hundred_numbers() {
    let mut world = book();
    let numbers: Vec<_> =
        (1..=100).map(|n| number(&mut world, DAY, next("PAY", &format!("p{n}")))).collect();
    let expected: Vec<_> = (1..=100).map(|n| format!("PAY-2025-{n:04}")).collect();
    assert_eq!(numbers, expected);
}

#[test]
fn m43_a_void_number_is_not_given_again() {
    let mut world = book();
    number(&mut world, DAY, next("PAY", "p1"));
    number(&mut world, DAY, next("PAY", "p2"));
    send(&mut world, void("PAY", "PAY-2025-0001")).ok();
    assert_eq!(number(&mut world, DAY, next("PAY", "p3")), "PAY-2025-0003");
}

#[test]
fn a_number_that_was_not_loaded_is_there_after_another_was_given() {
    let mut world = book();
    number(&mut world, DAY, next("PAY", "p1"));
    world.forget();
    // Decided first as if the series had given none: nothing of that pass may be believed.
    assert_eq!(number(&mut world, DAY, next("PAY", "p2")), "PAY-2025-0002");
    send(&mut world, void("PAY", "PAY-2025-0001")).ok();
}

#[test]
fn each_series_counts_apart() {
    let mut world = book();
    let numbers = ["PAY", "RET", "INV", "CRN", "RFD", "TXN"]
        .map(|series| number(&mut world, DAY, next(series, series)));
    let expected = [
        "PAY-2025-0001",
        "RET-2025-0001",
        "INV-202506-0001",
        "CRN-202506-0001",
        "RFD-202506-0001",
        "TXN-202506-00001",
    ];
    assert_eq!(numbers, expected);
}

#[test]
fn m45_each_scope_counts_apart() {
    let mut world = book();
    assert_eq!(number(&mut world, DAY, scoped("CLT", "L1", "a")), "CLT-2025-0001");
    assert_eq!(number(&mut world, DAY, scoped("CLT", "L2", "b")), "CLT-2025-0001");
    assert_eq!(number(&mut world, DAY, scoped("CLT", "L1", "c")), "CLT-2025-0002");
    // The names of a place are told apart by their lengths, not by a character between them.
    assert_eq!(number(&mut world, DAY, scoped("CLT", "-", "d")), "CLT-2025-0001");
}

#[test]
fn a_scope_is_named_where_each_counts_apart_and_nowhere_else() {
    let mut world = book();
    let answer = send(&mut world, next("CLT", "a"));
    assert_eq!(answer.no("scope_required")["series"], "CLT");
    let answer = send(&mut world, scoped("INV", "L1", "a"));
    assert_eq!(answer.no("invalid_request")["field"], "scope");
    let mut call = advance("CLT", "2025", 7);
    send(&mut world, call.clone()).no("scope_required");
    call.1["scope"] = json!("L1");
    send(&mut world, call).ok();
    assert_eq!(number(&mut world, DAY, scoped("CLT", "L1", "a")), "CLT-2025-0008");
    let mut call = advance("INV", "202506", 7);
    call.1["scope"] = json!("L1");
    assert_eq!(send(&mut world, call).no("invalid_request")["field"], "scope");
}

#[test]
fn m47_the_year_ends_in_the_zone_of_the_book() {
    let mut world = book();
    let before = "2025-12-31T20:59:59.999Z";
    let after = "2025-12-31T21:00:00Z";
    assert_eq!(number(&mut world, before, next("PAY", "p")), "PAY-2025-0001");
    assert_eq!(number(&mut world, after, next("PAY", "q")), "PAY-2026-0001");
    assert_eq!(number(&mut world, after, next("INV", "i")), "INV-202601-0001");
}

#[test]
fn a_number_has_its_date_in_the_zone_of_its_series() {
    let mut world = book();
    let answer = world.send(when("2025-12-31T21:00:00Z"), next("INV", "i"));
    let shown = &answer.ok()["number"];
    assert_eq!((&shown["date"], &shown["period"]), (&json!("2026-01-01"), &json!("202601")));
    assert_eq!((&shown["value"], &shown["status"]), (&json!(1), &json!("used")));
    assert_eq!(read(&mut world, "INV")["last_date"], "2026-01-01");
}

#[test]
fn the_29th_of_february_is_a_day() {
    let mut world = book();
    send(&mut world, define("D", "D-{YYYY}{MM}{DD}-{N:2}", json!({"zone": "+03:00"}))).ok();
    for (instant, expected) in [
        ("2028-02-28T20:59:59Z", "D-20280228-01"),
        ("2028-02-28T21:00:00Z", "D-20280229-01"),
        ("2028-02-29T20:59:59.999999999Z", "D-20280229-02"),
        ("2028-02-29T21:00:00Z", "D-20280301-01"),
    ] {
        assert_eq!(number(&mut world, instant, next("D", instant)), expected);
    }
}

#[test]
fn a_day_of_23_or_25_hours_is_one_day() {
    let mut world = book();
    let zone = json!({"zone": "America/New_York"});
    send(&mut world, define("D", "D-{YYYY}{MM}{DD}-{N:2}", zone)).ok();
    for (instant, expected) in [
        ("2026-03-08T04:59:59Z", "D-20260307-01"),
        ("2026-03-08T05:00:00Z", "D-20260308-01"),
        ("2026-03-09T03:59:59Z", "D-20260308-02"),
        ("2026-03-09T04:00:00Z", "D-20260309-01"),
        ("2026-11-01T03:59:59Z", "D-20261031-01"),
        ("2026-11-01T04:00:00Z", "D-20261101-01"),
        ("2026-11-02T04:59:59Z", "D-20261101-02"),
        ("2026-11-02T05:00:00Z", "D-20261102-01"),
    ] {
        assert_eq!(number(&mut world, instant, next("D", instant)), expected);
    }
}

#[test]
fn a_date_does_not_fall_where_a_clock_is_put_back_over_midnight() {
    // In St. John's, one minute after midnight of 7 November 2010 was 23:01 of the 6th.
    let mut world = book();
    let zone = json!({"zone": "America/St_Johns"});
    world.send(when("2010-01-01T00:00:00Z"), define("D", "D-{YYYY}{MM}{DD}-{N:2}", zone)).ok();
    for (instant, expected) in [
        ("2010-11-07T02:29:59Z", "D-20101106-01"),
        ("2010-11-07T02:30:30Z", "D-20101107-01"),
        ("2010-11-07T02:31:30Z", "D-20101107-02"),
        ("2010-11-07T03:30:00Z", "D-20101107-03"),
    ] {
        assert_eq!(number(&mut world, instant, next("D", instant)), expected);
    }
}

#[test]
fn m48_past_its_width_a_series_widens() {
    let mut world = book();
    send(&mut world, advance("PAY", "2025", 9_998)).ok();
    assert_eq!(number(&mut world, DAY, next("PAY", "p")), "PAY-2025-9999");
    assert_eq!(number(&mut world, DAY, next("PAY", "q")), "PAY-2025-10000");
    // In order of the value, which the text is not.
    let answer = send(&mut world, next("PAY", "r"));
    let last = answer.ok()["number"]["id"].as_str().unwrap().to_owned();
    assert!("3:PAY1:-4:20250000000000009999" < last.as_str(), "{last}");
}

#[test]
fn m48_or_refuses_if_it_says_so() {
    let mut world = book();
    send(&mut world, advance("PAY", "2025", 9_998)).ok();
    let zone = json!({"zone": "Asia/Riyadh", "overflow": "refuse"});
    let reply = send(&mut world, define("PAY", "PAY-{YYYY}-{N:4}", zone));
    assert_eq!(reply.ok()["series"]["overflow"], "refuse");
    assert_eq!(number(&mut world, DAY, next("PAY", "p")), "PAY-2025-9999");
    let answer = send(&mut world, next("PAY", "q"));
    assert_eq!(answer.no("series_exhausted")["last"], 9_999);
    // Another year has its own.
    assert_eq!(number(&mut world, "2026-01-01T00:00:00Z", next("PAY", "q")), "PAY-2026-0001");
}

#[test]
fn tells_once_that_80_of_100_are_given() {
    let mut world = book();
    send(&mut world, advance("PAY", "2025", 7_998)).ok();
    let events = |answer: &Answer| answer.ok()["events"].clone();
    assert_eq!(events(&send(&mut world, next("PAY", "a"))), json!([]));
    let told = events(&send(&mut world, next("PAY", "b")));
    let event =
        json!({"event": "series_nearly_full", "series": "PAY", "last": 8_000, "max": 9_999});
    assert_eq!(told, json!([event]));
    assert_eq!(events(&send(&mut world, next("PAY", "c"))), json!([]));
    // An import that passes the mark tells as well.
    let told = events(&send(&mut world, advance("RET", "2025", 9_000)));
    assert_eq!(told[0]["last"], 9_000);
}

#[test]
fn m49_an_import_goes_forward_before_the_first_number() {
    let mut world = book();
    let answer = send(&mut world, advance("INV", "202506", 412));
    let counter = &answer.ok()["counter"];
    assert_eq!((&counter["last"], &counter["given"]), (&json!(412), &json!(0)));
    let answer = send(&mut world, advance("INV", "202506", 400));
    assert_eq!(answer.no("series_cannot_move_back")["last"], 412);
    send(&mut world, advance("INV", "202506", 412)).no("series_cannot_move_back");
    assert_eq!(number(&mut world, DAY, next("INV", "i")), "INV-202506-0413");
    let answer = send(&mut world, advance("INV", "202506", 500));
    assert_eq!(answer.no("series_in_use")["last"], 413);
    // A number of another period is no number of this one.
    send(&mut world, advance("INV", "202505", 77)).ok();
}

#[test]
fn a_unique_series_may_go_forward_at_any_time() {
    let mut world = book();
    assert_eq!(number(&mut world, DAY, next("TXN", "a")), "TXN-202506-00001");
    send(&mut world, advance("TXN", "202506", 10)).ok();
    assert_eq!(number(&mut world, DAY, next("TXN", "b")), "TXN-202506-00011");
    send(&mut world, advance("TXN", "202506", 10)).no("series_cannot_move_back");
}

#[test]
fn what_was_imported_is_one_record_and_no_number_of_this_book() {
    let mut world = book();
    send(&mut world, advance("INV", "202506", 400)).ok();
    send(&mut world, advance("INV", "202506", 412)).ok();
    let answer = number_read(&mut world, "3:INV1:-6:2025060000000000000412");
    let shown = &answer.ok()["number"];
    assert_eq!((&shown["first"], &shown["value"]), (&json!(401), &json!(412)));
    assert_eq!(
        (&shown["status"], &shown["number"]),
        (&json!("imported"), &json!("INV-202506-0412"))
    );
    send(&mut world, void("INV", "INV-202506-0412")).no("number_not_found");
    send(&mut world, void("INV", "INV-202506-0005")).no("number_not_found");
}

#[test]
fn an_import_names_a_period_that_the_template_prints() {
    let mut world = book();
    for period in ["", "2025", "202513", "202500", "2025061", "2025-6", "20250６"] {
        let answer = send(&mut world, advance("INV", period, 5));
        assert_eq!(answer.no("invalid_request")["field"], "period", "{period}");
    }
    send(&mut world, define("Z", "Z-{N:4}", json!({"overflow": "refuse"}))).ok();
    let answer = send(&mut world, advance("Z", "", 10_000));
    assert_eq!(answer.no("invalid_request")["field"], "last");
    send(&mut world, advance("Z", "", 9_999)).ok();
    send(&mut world, next("Z", "z")).no("series_exhausted");
    send(&mut world, advance("W", "", 1)).no("series_not_found");
}

#[test]
fn m51_a_document_kept_elsewhere_has_one_number() {
    let mut world = book();
    assert_eq!(number(&mut world, DAY, next("INV", "x")), "INV-202506-0001");
    let answer = send(&mut world, next("INV", "x"));
    assert_eq!(answer.no("document_already_numbered")["number"], "INV-202506-0001");
    send(&mut world, next("PAY", "x")).no("document_already_numbered");
    let answer = send(&mut world, void("INV", "INV-202506-0001"));
    let shown = &answer.ok()["number"];
    assert_eq!((&shown["status"], &shown["void_reason"]), (&json!("void"), &json!("lost")));
    let day: Timestamp = DAY.parse().unwrap();
    let answer = send(&mut world, void("INV", "INV-202506-0001"));
    assert_eq!(answer.no("number_void")["at"], day.to_string());
    send(&mut world, next("INV", "x")).no("document_already_numbered");
    assert_eq!(number(&mut world, DAY, next("INV", "y")), "INV-202506-0002");
}

#[test]
fn only_a_number_that_was_given_is_void() {
    let mut world = book();
    number(&mut world, DAY, next("INV", "x"));
    for (series, text) in [
        ("INV", "INV-202506-0002"),
        ("INV", "INV-202505-0001"),
        ("INV", "INV-202506-1"),
        ("INV", "INV-202506-00001"),
        ("INV", "INV-202506-+001"),
        ("INV", "inv-202506-0001"),
        ("INV", "INV-202506-0001 "),
        ("INV", ""),
        ("CRN", "INV-202506-0001"),
        ("nope", "INV-202506-0001"),
        ("CLT", "CLT-2025-0001"),
    ] {
        let answer = send(&mut world, void(series, text));
        assert_eq!(answer.no("number_not_found")["number"], text);
    }
    let mut call = void("INV", "INV-202506-0001");
    call.1["scope"] = json!("L1");
    send(&mut world, call).no("number_not_found");
}

#[test]
fn m50_opaque_numbers_are_random() {
    let mut world = book();
    let over = json!({"class": "opaque"});
    send(&mut world, define("T", "T-{YY}{R}", over)).ok();
    let mut seen = std::collections::BTreeSet::new();
    for n in 0..50 {
        let text = number(&mut world, DAY, next("T", &n.to_string()));
        assert_eq!((text.len(), text.get(..4)), (36, Some("T-25")));
        assert!(seen.insert(text));
    }
    // What was never given is no number, whatever it looks like.
    for digits in ["\n", "A", "é", "g"] {
        let text = format!("T-25{}", digits.repeat(32_usize.div_euclid(digits.len())));
        assert_eq!(send(&mut world, void("T", &text)).no("number_not_found")["number"], text);
    }
    let text = seen.pop_first().unwrap();
    send(&mut world, void("T", &text)).ok();
    send(&mut world, void("T", &text)).no("number_void");
    let answer = send(&mut world, advance("T", "25", 5));
    assert_eq!(answer.no("invalid_request")["field"], "name");
}

#[test]
fn a_series_is_defined_once() {
    let mut world = book();
    send(&mut world, next("ORD", "o")).no("series_not_found");
    let answer = send(&mut world, define("ORD", "ORD-{N:3}", json!({"start": 7})));
    assert_eq!(
        (&answer.ok()["series"]["version"], &answer.ok()["series"]["start"]),
        (&json!(1), &json!(7))
    );
    let answer = send(&mut world, define("ORD", "ORD-{N:3}", json!({"start": 7})));
    assert_eq!(answer.no("series_exists")["id"], "ORD");
    assert_eq!(number(&mut world, DAY, next("ORD", "o")), "ORD-007");
}

#[test]
fn only_the_overflow_of_a_series_changes() {
    let mut world = book();
    send(&mut world, chain("c", "auto")).ok();
    let with = |over: Value| {
        let mut call = define("ORD", "ORD-{N:3}", json!({"overflow": "refuse"}));
        for (field, value) in over.as_object().unwrap() {
            call.1[field] = value.clone();
        }
        call
    };
    send(&mut world, with(json!({"overflow": "widen"}))).ok();
    for over in [
        json!({"template": "ORD-{N:4}"}),
        json!({"class": "unique"}),
        json!({"zone": "Asia/Riyadh"}),
        json!({"scoped": true}),
        json!({"start": 2}),
        json!({"chain": "c"}),
        json!({"overflow": "widen"}),
    ] {
        send(&mut world, with(over)).no("series_exists");
    }
    send(&mut world, define("ORD", "ORD-{N:3}", json!({}))).no("series_exists");
    let stale = json!({"if_version": 9});
    assert_eq!(send(&mut world, with(stale)).no("version_mismatch")["version"], 1);
    assert_eq!(send(&mut world, with(json!({}))).ok()["series"]["version"], 2);
}

#[test]
fn one_that_every_book_has_may_be_defined_before_its_first_number() {
    let mut world = book();
    assert_eq!(read(&mut world, "INV")["version"], 0);
    send(&mut world, define("INV", "F-{YY}-{N:6}", json!({}))).ok();
    assert_eq!(number(&mut world, DAY, next("INV", "i")), "F-25-000001");
    number(&mut world, DAY, next("PAY", "p"));
    send(&mut world, define("PAY", "P-{N:6}", json!({}))).no("series_exists");
    send(&mut world, advance("RET", "2025", 3)).ok();
    send(&mut world, define("RET", "R-{N:6}", json!({}))).no("series_exists");
}

#[test]
fn one_that_gave_a_number_keeps_its_zone() {
    let mut world = book();
    let night = "2025-12-31T21:00:00Z";
    assert_eq!(number(&mut world, night, next("PAY", "p")), "PAY-2026-0001");
    world.send(when(night), ("book.configure", json!({"zone": "UTC"}))).ok();
    assert_eq!(number(&mut world, night, next("PAY", "q")), "PAY-2026-0002");
    assert_eq!(number(&mut world, night, next("RET", "r")), "RET-2025-0001");
}

#[test]
fn a_definition_must_make_sense() {
    let mut world = book();
    let refused = |world: &mut World, template: &str, over: Value| {
        let answer = send(world, define("X", template, over));
        let no = answer.no(answer.code());
        format!("{} {}", answer.code(), no.get("field").map_or("", |field| field.as_str().unwrap()))
    };
    for (template, over, expected) in [
        ("X", json!({}), "invalid_template "),
        ("X-{R}", json!({}), "invalid_template "),
        ("X-{N:4}", json!({"class": "opaque"}), "invalid_template "),
        ("X-{scope}-{N:4}", json!({"scoped": false}), "invalid_template "),
        ("X-{N:4}", json!({"zone": "Mars/Olympus"}), "unknown_zone "),
        ("X-{N:4}", json!({"zone": "+3"}), "unknown_zone "),
        ("X-{N:4}", json!({"zone": "+24:00"}), "unknown_zone "),
        ("X-{N:4}", json!({"start": 0}), "invalid_request start"),
        ("X-{N:2}", json!({"start": 100, "overflow": "refuse"}), "invalid_request start"),
        ("X-{R}", json!({"class": "opaque", "start": 1}), "invalid_request start"),
        ("X-{N:4}", json!({"chain": "c"}), "chain_not_found "),
    ] {
        assert_eq!(refused(&mut world, template, over.clone()), expected, "{template} {over}");
    }
    send(&mut world, define("X", "X-{N:2}", json!({"start": 100}))).ok();
    assert_eq!(number(&mut world, DAY, next("X", "x")), "X-100");
    send(&mut world, define("S", "{scope}-{N:2}", json!({"zone": "asia/riyadh"}))).ok();
    let shown = read(&mut world, "S");
    assert_eq!((&shown["scoped"], &shown["zone"]), (&json!(true), &json!("Asia/Riyadh")));
    assert_eq!(number(&mut world, DAY, scoped("S", "L1", "y")), "L1-01");
}

/// A document of the book, of which nothing but its number is kept.
#[derive(Debug, serde::Serialize)]
pub(super) struct Issue {
    pub(super) series: &'static str,
    pub(super) document: crate::Key,
}

impl crate::Command for Issue {
    const NAME: &'static str = "tests.issue";
    type Reply = String;
    type Rejection = crate::money::MoneyRejection;

    fn decide(
        &self,
        draft: &mut crate::Draft<'_>,
        now: Timestamp,
    ) -> Result<String, Self::Rejection> {
        let mut book = crate::money::Book::open(draft, now);
        let series = super::find(&mut book, self.series)?;
        let assigned = series.assign(&mut book, None, &self.document)?;
        super::seal(&mut book, &assigned, &json!({}));
        Ok(format!("{} {}", assigned.number, series.date_of(now)))
    }
}

#[test]
fn the_number_of_a_document_of_the_book_is_in_use() {
    let mut world = book();
    let document = crate::Key::new("i1").unwrap();
    let issue = || std::sync::Arc::new(Issue { series: "INV", document: document.clone() });
    assert_eq!(world.send_any(when(DAY), issue()).ok(), "INV-202506-0001 2025-06-15");
    let answer = send(&mut world, void("INV", "INV-202506-0001"));
    assert_eq!(answer.no("number_in_use")["document"], "i1");
    // Documents of the book are theirs, and not those kept elsewhere.
    assert_eq!(number(&mut world, DAY, next("INV", "i1")), "INV-202506-0002");
}

#[test]
fn commands_on_a_series_may_name_its_version() {
    let mut world = book();
    let with = |mut call: Call<'static>, version: u64| {
        call.1["if_version"] = json!(version);
        call
    };
    assert_eq!(send(&mut world, with(next("INV", "a"), 3)).no("version_mismatch")["version"], 0);
    send(&mut world, with(next("INV", "a"), 0)).ok();
    let voiding = with(void("INV", "INV-202506-0001"), 2);
    assert_eq!(send(&mut world, voiding).no("version_mismatch")["version"], 1);
    let answer = send(&mut world, with(advance("PAY", "2025", 5), 7));
    assert_eq!(answer.no("version_mismatch")["version"], 0);
}

#[test]
fn a_thousand_numbers_differ() {
    let mut world = book();
    let answers: Vec<_> =
        (0..1_000).map(|n| send(&mut world, next("TXN", &format!("t{n}")))).collect();
    assert_eq!(count(&answers)["ok"], 1_000);
    let texts: std::collections::BTreeSet<_> =
        answers.iter().map(|answer| answer.ok()["number"]["number"].to_string()).collect();
    assert_eq!(texts.len(), 1_000);
    assert_eq!(texts.last().unwrap(), "\"TXN-202506-01000\"");
}

#[test]
fn reads_tell_what_there_is_not() {
    let mut world = book();
    send(&mut world, ("series.read", json!({"id": "nope"}))).no("series_not_found");
    send(&mut world, ("chains.read", json!({"id": "nope"}))).no("chain_not_found");
    for id in ["", "x", "3:INV1:-6:2025060000000000000001", "9:a"] {
        number_read(&mut world, id).no("number_not_found");
    }
}
