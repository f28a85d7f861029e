//! The driver's queues, wakers and end, in many interleavings.
//!
//! `BELLPUNCH_SCHEDULES` is how many there are in all, `BELLPUNCH_SEED` repeats a run. A schedule
//! that fails is kept in `schedules/`, and all that are there are played again by every run.

#![expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]

#[cfg(feature = "planted")]
mod planted;
mod rule;
mod scenarios;
mod search;
mod stage;
mod store;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use scenarios::{ALL, Scenario};
use search::{Played, Way, replay, search};
use stage::reached;

/// Schedules of all scenarios together, unless `BELLPUNCH_SCHEDULES` says otherwise.
const SCHEDULES: usize = 20_000;

/// Fewer schedules than this, each way, need not reach everything.
const FEW: usize = 500;

#[expect(clippy::disallowed_methods, reason = "a random test takes its seed back")]
fn told(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a whole number"))
}

/// The seed of this run.
fn seed() -> u64 {
    told("BELLPUNCH_SEED").unwrap_or_else(|| {
        let marker = Box::new(0_u8);
        // Where the allocator and the linker put things differs from run to run.
        let place = format!("{:p}{}", &raw const *marker, std::process::id());
        place.bytes().fold(1_469_598_103_934_665_603, |seed: u64, byte| {
            (seed ^ u64::from(byte)).wrapping_mul(1_099_511_628_211)
        })
    })
}

fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").expect("somebody reads it");
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schedules")
}

fn scenario(name: &str) -> Scenario {
    *ALL.iter().find(|(known, _)| *known == name).expect("a scenario of this name")
}

/// Searches one scenario in both ways, and keeps the schedule that fails.
fn searched(name: &str) {
    let (scenario, seed) = (scenario(name), seed());
    let all = told("BELLPUNCH_SCHEDULES").map_or(SCHEDULES, |all| all.try_into().expect("a count"));
    let each = all.div_ceil(ALL.len() * 2);
    let mut played = 0;
    for way in [Way::Random, Way::Pct] {
        match search(scenario, way, (each, seed)) {
            Ok((schedules, _)) => played += schedules,
            Err(failure) => {
                let path = folder().join(format!("{name}.{seed:x}.schedule"));
                let rule = failure.rule.replace('\n', "\n# ");
                let text = format!("# {rule}\n{}", failure.played.to_text());
                // Whole or not at all: another test may read the folder now.
                let draft = path.with_extension("draft");
                std::fs::write(&draft, text).expect("the schedule is written");
                std::fs::rename(&draft, &path).expect("the schedule is kept");
                panic!(
                    "{name}, {way:?}, BELLPUNCH_SEED={seed}: after {} schedules: {}\nkept as {}",
                    failure.schedules,
                    failure.rule,
                    path.display()
                );
            }
        }
    }
    let reached = reached();
    say(&format!("{name}: {played} schedules, {reached:?}, BELLPUNCH_SEED={seed}"));
    let missed = reached.iter().find(|(_, times)| **times == 0);
    assert!(missed.is_none() || each < FEW, "{name} never came to be {missed:?}");
}

macro_rules! searched {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                searched(stringify!($name));
            }
        )*

        #[test]
        fn every_scenario_is_searched() {
            let names = [$(stringify!($name)),*];
            assert!(names.iter().eq(ALL.iter().map(|(name, _)| name)));
        }
    };
}

searched! {
    replies leavers drains bounds patience faults pressure dropped runtime_gone sweeps
}

#[test]
fn kept_schedules_pass() {
    let mut count = 0;
    for entry in std::fs::read_dir(folder()).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|ending| ending != "schedule") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("schedules are text");
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let (name, _) = name.split_once('.').expect("named by its scenario");
        let played = Played::parse(&text).expect("a schedule");
        if let Err(failure) = replay(scenario(name), &played) {
            panic!("{}: {}", path.display(), failure.rule);
        }
        count += 1;
    }
    say(&format!("{count} kept schedules"));
}

/// Nothing but the schedule decides: otherwise a kept one would say nothing.
#[test]
fn a_schedule_says_everything() {
    for scenario in ALL {
        for way in [Way::Random, Way::Pct] {
            let (_, played) = search(*scenario, way, (5, 7)).expect("it passes");
            let text = played.to_text();
            let again = Played::parse(&text).expect("it was just written");
            assert_eq!(again, played);
            assert_eq!(replay(*scenario, &again).expect("it passes"), played, "{}", scenario.0);
        }
    }
}

/// A check that is wrong on purpose: it fails, and its schedule fails again.
#[test]
fn canary() {
    fn first_come() {
        let (send, receive) = shuttle::sync::mpsc::channel();
        for by in 0..3 {
            let send = send.clone();
            shuttle::thread::spawn(move || send.send(by).expect("it is waited for"));
        }
        let order: Vec<u64> = (0..3).map(|_| receive.recv().expect("three come")).collect();
        assert_ne!(order, [2, 1, 0], "the last is never the first");
    }
    let canary = ("canary", first_come as fn());
    for way in [Way::Random, Way::Pct] {
        let failure = search(canary, way, (1_000, 1)).expect_err("it is wrong");
        let kept = Played::parse(&failure.played.to_text()).expect("it was just written");
        let again = replay(canary, &kept).expect_err("it is wrong again");
        assert_eq!((again.rule, again.played), (failure.rule, failure.played));
    }
}
