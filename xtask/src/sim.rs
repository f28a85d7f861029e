//! The simulator's chores: one call, the lane of a change, and the campaign before a release.
//!
//! Invariant: a run that is reported names the revision, because a seed means nothing without it.

use std::process::{Command, ExitCode};

/// Seeds of a campaign, unless a number is given.
const CAMPAIGN: &str = "50000";
/// Seeds of every change.
const CHANGE: &str = "2000";
/// How many of these run twice.
const TWICE: &str = "50";
/// The sums of a campaign that is going on.
const PROGRESS: &str = "target/sim/campaign.json";

/// What a program says, if it is there and well.
fn says(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// The revision, with a mark if something was changed since.
fn revision() -> String {
    says("git", &["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"])
        .unwrap_or_else(|| "unknown".to_owned())
}

/// Seeds that no earlier revision has tried; the same ones when it is tried again.
fn first_seed() -> String {
    let hash = says("git", &["rev-parse", "HEAD"]).unwrap_or_default();
    let digits: String = hash.chars().take(12).collect();
    if digits.is_empty() { "1".to_owned() } else { format!("0x{digits}") }
}

/// Runs the simulator with these arguments, in a build that is fast and still asserts.
pub(crate) fn simulate(cargo: &str, arguments: &[String]) -> ExitCode {
    let mut command = Command::new(cargo);
    command.args(["run", "--quiet", "--locked", "--profile", "sim", "--package", "bellpunch-sim"]);
    if arguments.iter().any(|argument| argument.starts_with("--planted")) {
        command.args(["--features", "planted"]);
    }
    command.arg("--").args(arguments);
    if !arguments.iter().any(|argument| argument.starts_with("--commit")) {
        command.args(["--commit", &revision()]);
    }
    code_of(&mut command)
}

pub(crate) fn code_of(command: &mut Command) -> ExitCode {
    let code = command.status().ok().and_then(|status| status.code());
    code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Hunts the planted bugs, or one of them.
pub(crate) fn planted(cargo: &str, arguments: &[String]) -> ExitCode {
    let mut command = Command::new(cargo);
    command.args(["run", "--quiet", "--locked", "--profile", "sim", "--package", "bellpunch-sim"]);
    command.args(["--features", "planted", "--example", "planted", "--"]).args(arguments);
    code_of(&mut command)
}

/// What every change must pass: new seeds, some of them twice, and all kept cases.
pub(crate) fn lane(cargo: &str) -> ExitCode {
    let seed = first_seed();
    let arguments = ["--seeds", CHANGE, "--seed", &seed, "--twice", TWICE, "--generator", "all"];
    simulate(cargo, &arguments.map(str::to_owned))
}

/// The long one: `campaign [SEEDS] [--seed S] [--from N] [--date YYYY-MM-DD] …`, with a page of its
/// sums. What it does not know, the simulator is told.
pub(crate) fn campaign(cargo: &str, arguments: &[String]) -> ExitCode {
    let mut seeds = CAMPAIGN.to_owned();
    let (mut seed, mut date) = (None, None);
    let mut others = Vec::new();
    let mut left = arguments.iter().cloned();
    let mut place = 0_u32;
    while let Some(argument) = left.next() {
        match argument.as_str() {
            "--seed" => seed = left.next(),
            "--date" => date = left.next(),
            _ if place == 0 && argument.parse::<u64>().is_ok() => seeds = argument,
            _ => others.push(argument),
        }
        place = place.saturating_add(1);
    }
    let Some(date) = date.or_else(|| says("date", &["-u", "+%Y-%m-%d"])) else {
        return ExitCode::from(2);
    };
    let page = format!("docs/campaigns/{date}.md");
    let seed = seed.unwrap_or_else(first_seed);
    let mut all: Vec<String> = [
        ("--seeds", seeds.as_str()),
        ("--seed", &seed),
        ("--page", &page),
        ("--date", &date),
        ("--progress", PROGRESS),
        ("--twice", TWICE),
    ]
    .into_iter()
    .flat_map(|(name, value)| [name.to_owned(), value.to_owned()])
    .collect();
    all.extend(others);
    simulate(cargo, &all)
}
