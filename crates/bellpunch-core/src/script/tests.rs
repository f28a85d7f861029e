use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    Answer, DirectWorld, Expect, Expected, KeyChoice, Order, ParseError, Report, Script, Step,
    Wanted, parse, parse_book, parse_compact, run,
};

const LIMITS: &str = include_str!("../../../../scripts/limits.script");
const SPECIMEN: &str = include_str!("../../../../scripts/specimen.script");
const UPLOADS: &str = include_str!("../../../../scripts/uploads.script");
const TICKETS: &str = include_str!("../../../../scripts/tickets.script");
const MONEY: &str = include_str!("../../../../scripts/money.script");

#[test]
fn reads_every_script() {
    assert_eq!(parse(LIMITS).unwrap().len(), LIMITS.matches("== ").count());
    assert_eq!(parse(UPLOADS).unwrap().len(), UPLOADS.matches("== ").count());
    let tickets = TICKETS.lines().filter(|line| line.starts_with('T')).count();
    let mut read = parse_compact(TICKETS).unwrap();
    // Three ways of a store that stalls, and a crash after its write beside one before.
    assert_eq!(read.len(), tickets + 4);
    read.dedup_by(|one, other| one.id == other.id);
    assert_eq!(read.len(), tickets);
    let money = MONEY.lines().filter(|line| line.starts_with('M')).count();
    assert_eq!(parse_book(MONEY).unwrap().len(), money);
}

/// Runs all scripts on the rules alone. Those that need an engine must be exactly these.
fn run_all(scripts: &[Script], need_an_engine: &[&str]) {
    run_all_in(DirectWorld::new, scripts, need_an_engine);
}

fn run_all_in(fresh: fn() -> DirectWorld, scripts: &[Script], need_an_engine: &[&str]) {
    let mut failures = Vec::new();
    let mut unsupported = Vec::new();
    for script in scripts {
        match run(script, fresh) {
            Ok(Report::Passed { .. }) => {}
            Ok(Report::Unsupported(_)) => unsupported.push(script.id.as_str()),
            Err(failure) => failures.push(failure.to_string()),
        }
    }
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
    unsupported.dedup();
    assert_eq!(unsupported, need_an_engine);
}

#[test]
fn tickets_on_the_rules_alone() {
    run_all(&parse_compact(TICKETS).unwrap(), &["T03", "T13", "T19"]);
}

#[test]
fn money_on_the_rules_alone() {
    run_all(&parse_book(MONEY).unwrap(), &["M54"]);
}

#[test]
fn the_specimen_on_the_rules_alone() {
    run_all(&parse(SPECIMEN).unwrap(), &[]);
}

#[test]
fn limits_on_the_rules_alone() {
    run_all(&parse(LIMITS).unwrap(), &["FAIL"]);
}

/// All but the one that is about what a sweep writes.
#[test]
fn no_answer_depends_on_whether_a_sweep_has_run() {
    run_all_in(DirectWorld::swept, &parse(LIMITS).unwrap(), &["FAIL"]);
    run_all_in(DirectWorld::swept, &parse(UPLOADS).unwrap(), &[]);
    let mut tickets = parse_compact(TICKETS).unwrap();
    tickets.retain(|script| script.id != "T12");
    run_all_in(DirectWorld::swept, &tickets, &["T03", "T13", "T19"]);
}

#[test]
fn limits_as_lists_on_the_rules_alone() {
    let scripts = parse(LIMITS).unwrap().into_iter().map(Script::with_lists);
    run_all(&scripts.collect::<Vec<_>>(), &["FAIL"]);
}

#[test]
fn uploads_on_the_rules_alone() {
    run_all(&parse(UPLOADS).unwrap(), &[]);
}

/// Each thing that a script expects, so that it can be changed.
fn expectations(script: &mut Script) -> impl Iterator<Item = &mut Expected> {
    script.lines.iter_mut().flat_map(|line| match &mut line.expect {
        Expect::One(expected) => vec![expected],
        Expect::Counts(all) => all.iter_mut().flatten().map(|(_, expected)| expected).collect(),
    })
}

/// Every word of every script is compared, and every field: with one of them altered, it fails. Of
/// fields of one name beside one word a script shows it once.
fn fails_when_altered(script: &Script) {
    let mut script = script.clone();
    if run(&script, DirectWorld::new) != Ok(Report::Passed { runs: 1 }) {
        // Fails anyway, needs an engine, or runs too often to be run so often.
        return;
    }
    let count = expectations(&mut script).count();
    let mut shown = BTreeSet::new();
    for index in 0..count {
        let kept = expectations(&mut script).nth(index).unwrap().clone();
        expectations(&mut script).nth(index).unwrap().word = "altered".to_owned();
        run(&script, DirectWorld::new).unwrap_err();
        for (field, said) in kept.fields.iter().enumerate() {
            if !shown.insert((kept.word.clone(), said.name.clone())) {
                continue;
            }
            let expected = expectations(&mut script).nth(index).unwrap();
            *expected = kept.clone();
            expected.fields[field].wanted = Wanted::Is("altered".to_owned());
            run(&script, DirectWorld::new).unwrap_err();
        }
        *expectations(&mut script).nth(index).unwrap() = kept;
    }
}

#[test]
fn compares_every_word_and_field() {
    for text in [LIMITS, SPECIMEN, UPLOADS] {
        parse(text).unwrap().iter().for_each(fails_when_altered);
    }
    parse_compact(TICKETS).unwrap().iter().for_each(fails_when_altered);
}

fn one(line: &str) -> super::Call {
    let script = parse(&format!("== X\n{line}")).unwrap().remove(0);
    script.lines[0].calls[0].clone()
}

fn content(line: &str) -> (&'static str, Value) {
    match one(line).step {
        Step::Command { name, content } => (name, content),
        other @ (Step::List(_) | Step::Restart | Step::StoreDown | Step::StoreUp) => {
            panic!("{other:?}")
        }
    }
}

#[test]
fn reads_commands_as_the_wire_has_them() {
    for (line, name, json) in [
        (
            "0s consume q 1 id=c if_version=4 => ok",
            "quotas.consume",
            r#"{"id":"q","units":1,"charge":"c","if_version":4}"#,
        ),
        ("0s consume p/k 1.5 => ok", "policies.consume", r#"{"id":"p","key":"k","units":1.5}"#),
        (
            r#"0s consume a/"k\u0000" -1 => ok"#,
            "policies.consume",
            r#"{"id":"a","key":"k\u0000","units":-1}"#,
        ),
        (
            "0s consume q 1 + p/k 2 id=c => ok",
            "checks.consume",
            r#"{"items":[{"quota":"q","units":1},{"policy":"p","key":"k","units":2}],"id":"c"}"#,
        ),
        (
            "0s hold h q 3 ttl=1.5s owner=w => ok",
            "holds.create",
            r#"{"id":"h","items":[{"quota":"q","units":3}],"ttl_ns":1500000000,"owner":"w"}"#,
        ),
        (
            "0s set_policy g gcra rate=1/0s burst=unlimited => ok",
            "policies.set",
            r#"{"id":"g","algorithm":"gcra","rate":1,"period_ns":0,"burst":"unlimited"}"#,
        ),
        (
            "0s create_quota q limit=2 expires=30s refill=30/1h charges=none => ok",
            "quotas.create",
            r#"{"id":"q","limit":2,"expires_at":"2026-01-01T00:00:30Z","charges":"none",
                "refill":{"amount":30,"period_ns":3600000000000}}"#,
        ),
        ("0s peek p/k => ok", "counters.read", r#"{"policy":"p","key":"k"}"#),
        ("0s reset p/k => ok", "policies.reset", r#"{"id":"p","key":"k"}"#),
        (
            "0s create_upload X size=9 charge=q:1+b:bytes => ok",
            "uploads.create",
            r#"{"id":"X","size_limit":9,"payload_max":100,
                "charge":[{"quota":"q","units":1},{"quota":"b","bytes":true}]}"#,
        ),
    ] {
        assert_eq!(content(line), (name, serde_json::from_str(json).unwrap()), "{line}");
    }
}

#[test]
fn reads_modifiers_times_and_orders() {
    let call = one("1s dry consume q 1 key=k !lost !stall_commit_until=2s => ok");
    assert_eq!(call.key, KeyChoice::Given("k".to_owned()));
    assert!(call.dry_run && call.lost);
    assert_eq!(call.stall_until, super::value::instant("2s"));
    let script = parse("== X\n1s | consume q 1 x3 | revoke q => 4 ok").unwrap().remove(0);
    assert_eq!(script.lines[0].order, Order::AtOnce);
    assert_eq!(script.lines[0].calls.len(), 4);
    for (text, nanos) in [
        ("0s", 0),
        ("142857142ns", 142_857_142),
        ("5.3s", 5_300_000_000),
        ("1y", 31_557_600_000_000_000),
        ("1.5us", 1_500),
    ] {
        assert_eq!(super::value::span(text), Some(nanos), "{text}");
    }
    for text in ["", "s", "1", ".5s", "1.s", "-1s", "1.5ns", "1 s", "1e3s"] {
        assert_eq!(super::value::span(text), None, "{text}");
    }
}

#[test]
fn refuses_what_it_does_not_understand_by_its_line() {
    for line in [
        "0s consume q 1",
        "consume q 1 => ok",
        "0s consume q => ok",
        "0s consume q 1 units=2 => ok",
        "0s consume q 1 !late => ok",
        "0s consume q one => ok",
        "0s consumes q 1 => ok",
        "0s consume q 1 x2 => ok",
        "0s consume q 1 x2 => 1 ok",
        "0s consume q 1 => 1 ok or",
        "0s consume q 1 => ok used",
        "0s consume q 1 => Ok",
        "0s consume q 1 x0 => 0 ok",
        "0s restart key=k => ok",
        "0s hold h q => ok",
        "0s policy p gcra rate=1 => ok",
        "0s quota q limit=1 limit=2 => ok",
        "0s store sideways => ok",
        "0s consume a/b/c 1 => ok",
    ] {
        let error = parse(&format!("== X\n0s peek q => ok\n\n{line}")).unwrap_err();
        assert_eq!(error.line, 4, "{line}");
    }
    assert_eq!(parse("0s peek q => ok").unwrap_err().line, 1);
    assert_eq!(parse("\n== X").unwrap_err().line, 2);
    for line in [
        "    redeem T c1 => ok",
        "    redeem T c1 s1 1000 => ok; ok",
        "    redeem T c1 s1 1000 x2 => ok",
        "    redeem T c1 s1 1000 => ok {used",
        "    redeem T c1 s1 1000 => ok_then {what}",
        "    approve T for c1 => ok",
        "    T for=ever => ok",
        "    1000 => ok",
        "    @soon approve T => ok",
        "    burn T => ok",
    ] {
        let error = parse_compact(&format!("# one\nT1 T => ok\n{line}")).unwrap_err();
        assert_eq!(error.line, 3, "{line}");
    }
    let error = ParseError::new(3, "what");
    assert_eq!(error.to_string(), "line 3: what");
}

#[test]
fn says_which_line_of_a_script_failed_and_how() {
    let script = parse("== X a title\n0s peek nothing => quota_found").unwrap().remove(0);
    let failure = run(&script, DirectWorld::new).unwrap_err();
    assert_eq!((failure.script.as_str(), failure.line), ("X", 2));
    assert!(failure.message.contains("expected quota_found, got quota_not_found"), "{failure}");
    assert_eq!(Answer::code("x").word, "x");
}

#[test]
fn a_script_without_lines_shows_nothing_in_either_notation() {
    for text in ["T01", "T01 \nT02 T1! => ok", "\u{0}"] {
        let error = parse_compact(text).unwrap_err();
        assert_eq!((error.line, error.message.contains("shows nothing")), (1, true), "{error}");
    }
    assert!(parse("== A title").is_err());
}
