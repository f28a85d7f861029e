//! A few worlds in every run of the tests; `cargo xtask sim` runs many.

use bellpunch_sim::campaign::{self, After, Plan, campaign};
use bellpunch_sim::kept::Kept;
use bellpunch_sim::run::run;
use bellpunch_sim::shrink::Shrinking;
use bellpunch_sim::trace::Trace;
use bellpunch_sim::{case::Case, planted, quiet};

/// Seeds of a run of the tests.
const SEEDS: u64 = 60;
/// Of these, so many run twice.
const TWICE: u64 = 10;

fn plan(first: u64, count: u64) -> Plan {
    Plan {
        first,
        count,
        generator: campaign::ALL.to_owned(),
        defect: String::new(),
        planted: "",
        threads: 2,
        twice: 0,
        after: After::GoOn,
    }
}

/// The seeds in every run are the same ones; others are for whoever asks.
#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a failing seed is printed and taken back"
)]
fn first_seed() -> u64 {
    let given = std::env::var("BELLPUNCH_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or(1);
    println!("BELLPUNCH_SEED={seed}");
    seed
}

#[test]
fn promises_hold_in_hostile_worlds() {
    quiet::install();
    let totals = campaign(&Plan { twice: TWICE, ..plan(first_seed(), SEEDS) });
    assert_eq!(totals.seeds, SEEDS);
    assert_eq!(totals.twice, TWICE);
    assert_eq!(totals.rules.get("deterministic"), None, "{:?}", totals.failures.first());
    assert_eq!(totals.failed, 0, "{:?}", totals.failures.first());
    assert_eq!(totals.counts.decided, SEEDS);
    assert!(100 * SEEDS < totals.counts.sent);
}

#[test]
fn threads_change_nothing() {
    quiet::install();
    let one = campaign(&Plan { threads: 1, ..plan(5, 6) });
    let three = campaign(&Plan { threads: 3, ..plan(5, 6) });
    assert_eq!(one, three);
}

#[test]
fn kept_cases_stay_repaired() {
    quiet::install();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/cases");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "json") {
            let text = std::fs::read_to_string(&path).unwrap();
            let kept = Kept::read(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            assert_eq!(kept.text(), text, "{path:?} is written as it would be kept");
            let report = run(&kept.case, Trace::default());
            assert_eq!(report.violations, [], "{path:?}: {}", kept.title);
        }
    }
}

#[test]
fn a_case_reads_back_as_it_was_written() {
    for seed in 0..20 {
        let kept = Kept {
            title: "a \"title\"".to_owned(),
            rule: "reply.once".to_owned(),
            commit: "1a2b3c4".to_owned(),
            case: campaign::generate(campaign::ALL, seed).unwrap(),
        };
        assert_eq!(Kept::read(&kept.text()), Ok(kept.clone()));
        let unknown = kept.text().replacen("\"seed\"", "\"sead\"", 1);
        assert!(Kept::read(&unknown).is_err());
    }
}

#[test]
fn a_store_that_is_wrong_is_found_and_the_case_shrinks() {
    quiet::install();
    let wrong = Plan { defect: "half_commit".to_owned(), after: After::Stop, ..plan(1, 50) };
    let totals = campaign(&wrong);
    let failure = totals.failures.first().expect("a store that keeps half a commit is found");
    let mut case = campaign::generate(&failure.generator, failure.seed).unwrap();
    case.settings.defect = wrong.defect;
    let rule_of = |case: &Case| {
        let report = run(case, Trace::default());
        report.violations.first().map(|first| (first.rule, first.at))
    };
    let mut runs = 0;
    let mut fails = |case: &Case| {
        runs += 1;
        rule_of(case).filter(|(rule, _)| *rule == failure.rule).map(|(_, at)| at)
    };
    let small = Shrinking::new(&mut fails, &|| true).shrink(&case);
    assert_eq!(rule_of(&small).map(|(rule, _)| rule), Some(failure.rule.as_str()));
    assert!(small.steps.len() < 10, "{} of {} are left", small.steps.len(), case.steps.len());
    assert!(0 < runs);
    case.settings.defect = String::new();
    let well = Case { settings: case.settings, ..small };
    assert_eq!(rule_of(&well), None, "it is the store that is wrong");
}

#[test]
fn a_check_that_is_wrong_on_purpose_fails() {
    quiet::install();
    let canary = Plan { defect: planted::CANARY.to_owned(), after: After::Stop, ..plan(1, 8) };
    assert_eq!(campaign(&canary).rules.keys().collect::<Vec<_>>(), [planted::CANARY]);
}

#[test]
fn generators_take_turns() {
    for (all, count) in [(campaign::ALL, 3), (campaign::BOTH, 2)] {
        let names: Vec<&str> = campaign::generators().take(count).collect();
        let seeds = (0..).take(count * 2);
        let turns = seeds.map(|seed| campaign::generate(all, seed).unwrap().generator);
        assert_eq!(turns.collect::<Vec<_>>(), [names.clone(), names].concat());
    }
}
