//! What people read: a failure as a short story, and the sums of a campaign.
//!
//! Invariant: a failure can be run again from what is printed, and nothing here depends on how long
//! something took, except the two places that say so.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use crate::campaign::{Failure, Totals};
use crate::case::{Case, Episode, Instant, MICRO, SECOND};
use crate::run::Report;
use crate::situations::{About, GROUPS, required};

/// Lines of a story, at most: the beginning and the end of a longer one.
const STORY_MAX: usize = 60;
/// Lines of what was seen.
const SEEN_MAX: usize = 12;
/// Where these are wrapped.
const WRAP_AT: usize = 100;
/// Characters of a line.
const LINE_MAX: usize = 170;

/// A failure, and all that is known of it.
#[derive(Debug)]
pub struct Found<'a> {
    /// The failure.
    pub failure: &'a Failure,
    /// The revision.
    pub commit: &'a str,
    /// How long the campaign had run, if somebody took the time.
    pub after: Option<Duration>,
    /// The case that failed.
    pub case: &'a Case,
    /// A smaller one that fails too.
    pub shrunk: &'a Case,
    /// What came of the smaller one, with its trace.
    pub report: &'a Report,
    /// How to run the seed again.
    pub again: &'a str,
    /// How to run the smaller case.
    pub smaller: &'a str,
}

/// The promise behind the name of a rule.
#[must_use]
pub fn promise(rule: &str) -> &'static str {
    match rule {
        "audit" => "what is stored adds up",
        "deterministic" => "the same case gives the same trace",
        "drain.answers_all" => "a node that stops has answered every command it took",
        "canary" => "a check that is wrong on purpose fails",
        "drain.ends" => "a node that is told to stop stops",
        "live.commands_end" => "every command ends when the world is healed",
        "live.ends" => "a world comes to rest",
        "live.nodes_serve" => "every node serves when the world is healed",
        "live.too_late_once" => "what missed a deadline is not decided before it again",
        "live.queues_empty" => "queues are empty when the world is healed",
        "live.unknowns_resolved" => "no commit is of unknown fate when the world is healed",
        "no_panic" => "nothing panics",
        "reply.durable_first" => "nothing is told that a crash could take back",
        "reply.once" => "each command is answered once",
        "store.clock_ahead" => "no commit from far ahead of the store's clock lands",
        "store.deadline" => "no commit is applied at or after its deadline",
        "store.versions_rise" => "the versions of a record rise with every commit",
        "undecided" => "every history can be decided",
        _ => "what clients saw is explained by one order of commands and the reference models",
    }
}

/// A failure as text.
#[must_use]
pub fn failure(found: &Found<'_>) -> String {
    let Found { failure, commit, case, shrunk, report, .. } = found;
    let mut text = format!("FAIL  sim   rule {}   seed {:#x}", failure.rule, failure.seed);
    let _ = write!(text, "   generator {}   commit {commit}", failure.generator);
    if let Some(after) = found.after {
        let _ = write!(text, "   after {after:.1?}");
    }
    let (before, after) = (commands(case), commands(shrunk));
    let _ = writeln!(text, "\nrule  {}", promise(&failure.rule));
    let _ = writeln!(
        text,
        "      shrunk: {before} commands -> {after}, {} faults -> {}",
        case.faults.len(),
        kinds(&shrunk.faults)
    );
    let seen = report.violations.first().map_or(failure.text.as_str(), |first| &first.text);
    let seen = seen.lines().flat_map(wrapped);
    for (place, line) in seen.take(SEEN_MAX).enumerate() {
        let _ = writeln!(text, "{}{line}", if place == 0 { "seen  " } else { "      " });
    }
    for line in story(report) {
        let _ = writeln!(text, "{line}");
    }
    let _ = writeln!(text, "again  {}", found.again);
    let _ = writeln!(text, "case   {}", found.smaller);
    text
}

fn commands(case: &Case) -> usize {
    case.steps.iter().map(|step| step.commands.len()).sum()
}

fn kinds(faults: &[Episode]) -> String {
    let kinds: BTreeSet<String> =
        faults.iter().map(|episode| format!("{:?}", episode.fault)).collect();
    let kinds: Vec<String> = kinds.into_iter().collect();
    if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") }
}

fn short(line: &str) -> String {
    if line.chars().count() <= LINE_MAX {
        return line.to_owned();
    }
    let kept: String = line.chars().take(LINE_MAX.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// A long line as several.
fn wrapped(line: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in line.split(' ') {
        let last = lines.last().map_or(0, String::len);
        if 0 < last && WRAP_AT < last.saturating_add(word.len()) {
            lines.push(String::new());
        }
        let Some(last) = lines.last_mut() else { continue };
        if !last.is_empty() {
            last.push(' ');
        }
        last.push_str(word);
    }
    lines
}

/// Seconds with six places.
fn seconds(at: Instant) -> String {
    let whole = at.checked_div(SECOND).unwrap_or_default();
    let micros = at.checked_rem(SECOND).and_then(|rest| rest.checked_div(MICRO));
    format!("{whole}.{:06}", micros.unwrap_or_default())
}

/// The lines of a trace that matter, the calls that show the failure with an arrow.
fn story(report: &Report) -> Vec<String> {
    let trace = report.trace.as_deref().unwrap_or_default();
    let stops = report.violations.first().is_some_and(|first| first.rule.starts_with("drain"));
    let mut lines = Vec::new();
    let (mut healed, mut over) = (false, false);
    for line in trace.lines() {
        let Some((at, what)) = line.trim_start().split_once(' ') else { continue };
        // What was seen may have several lines, and is told elsewhere.
        let Ok(at) = at.parse::<Instant>() else { continue };
        let words: Vec<&str> = what.split(' ').take(7).collect();
        let op = match words.as_slice() {
            [_, "sends", op, ..] | [op, "accepted" | "rejected" | "is" | "hears", ..] => {
                op.parse::<u64>().ok()
            }
            _ => None,
        };
        match words.as_slice() {
            ["heal"] => healed = true,
            ["VIOLATION", ..] | [_, "takes" | "reads", ..] => continue,
            [_, "hears", sent, "as", caller] if sent == caller => continue,
            // What is asked in the end is asked in every world.
            ["c0", "sends", _, "to", _, cmd, ..] if healed && cmd.ends_with(".read") => {
                over = true;
            }
            _ => {}
        }
        let shown = op.is_some_and(|op| report.shown.contains(&op));
        if over && !shown && !stops {
            continue;
        }
        let mark = if shown { "->" } else { "  " };
        lines.push(short(&format!("{:>12} {mark} {what}", seconds(at))));
    }
    if STORY_MAX < lines.len() {
        let half = STORY_MAX.checked_div(2).unwrap_or_default();
        let left_out = lines.len().saturating_sub(STORY_MAX);
        let end = lines.split_off(lines.len().saturating_sub(half));
        lines.truncate(half);
        lines.push(format!("{:>12}    … {left_out} lines; `--trace` shows all", ""));
        lines.extend(end);
    }
    lines
}

/// All situations that were reached, or have to be, by group.
fn grouped_situations(totals: &Totals) -> Vec<(&'static str, Vec<(String, u64)>)> {
    let mut all = totals.situations.clone();
    for name in required(About::All) {
        all.entry(name.to_owned()).or_default();
    }
    let mut groups = Vec::new();
    for (title, names) in GROUPS {
        let found = names.iter().filter_map(|(name, _)| all.remove_entry(*name));
        groups.push((*title, found.collect()));
    }
    groups.push(("other", all.into_iter().collect()));
    groups
}

/// What was counted, by name.
#[must_use]
pub fn counted(totals: &Totals) -> Vec<(&'static str, u64)> {
    let counts = &totals.counts;
    vec![
        ("seeds", totals.seeds),
        ("seeds run twice with equal traces", totals.twice),
        ("histories", counts.histories),
        ("histories decided", counts.decided),
        ("commands sent", counts.sent),
        ("commands decided", counts.accepted.saturating_add(counts.rejected)),
        ("retries with a key among these", counts.retried),
        ("accepted", counts.accepted),
        ("replayed", counts.replayed),
        ("rejected", counts.rejected),
        ("reads", counts.reads),
        ("errors without effect", counts.errors),
        ("unknown", counts.unknown),
        ("outcomes asked for in the end", counts.resolved),
        ("commits", counts.commits),
        ("crashes", counts.crashes),
        ("seeds failed", totals.failed),
    ]
}

fn listed<T: AsRef<str>>(text: &mut String, title: &str, counts: &[(T, u64)]) {
    if counts.is_empty() {
        return;
    }
    let _ = writeln!(text, "{title}");
    let mut line = String::from(" ");
    for (name, count) in counts {
        let item = format!(" {} {}", name.as_ref(), grouped(*count));
        if 100 < line.len().saturating_add(item.len()) {
            let _ = writeln!(text, "{line}");
            line = String::from(" ");
        }
        line.push_str(&item);
        line.push_str(" ·");
    }
    let _ = writeln!(text, "{}", line.trim_end_matches(" ·"));
}

/// The sums of a campaign as text.
#[must_use]
pub fn summary(totals: &Totals) -> String {
    let mut text = String::new();
    listed(&mut text, "counted", &counted(totals));
    listed(&mut text, "faults that began", &sorted(&totals.counts.faults));
    for (title, counts) in grouped_situations(totals) {
        listed(&mut text, &format!("situations: {title}"), &counts);
    }
    listed(&mut text, "rules broken, in seeds", &sorted(&totals.rules));
    text
}

fn sorted(counts: &BTreeMap<String, u64>) -> Vec<(&str, u64)> {
    counts.iter().map(|(name, count)| (name.as_str(), *count)).collect()
}

/// What a report says of where and how a campaign ran.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The day.
    pub date: String,
    /// The revision.
    pub commit: String,
    /// The first seed.
    pub first: u64,
    /// Which generators.
    pub generator: String,
    /// How long it took.
    pub took: Duration,
    /// How many threads.
    pub threads: usize,
    /// How many cores the machine has.
    pub cores: usize,
}

/// The sums of a campaign as a page.
#[must_use]
pub fn page(totals: &Totals, facts: &Facts) -> String {
    let Facts { date, commit, first, generator, took, threads, cores } = facts;
    let last = first.wrapping_add(totals.seeds.saturating_sub(1));
    let mut text = format!("# Campaign of {date}\n\n");
    let missing = totals.missing(generator);
    let verdict = match (totals.failed, missing.is_empty()) {
        (0, true) => "**PASS**: no rule was broken, and every required situation was reached.",
        (0, false) => "**FAIL**: no rule was broken, but situations were missing.",
        _ => "**FAIL**: rules were broken.",
    };
    let _ = writeln!(text, "{verdict}\n");
    let _ = writeln!(text, "Revision `{commit}`, generator `{generator}`, seeds {first:#x} to");
    let _ = writeln!(text, "{last:#x}, {threads} threads on {cores} cores, {took:.0?}.\n");
    let _ = writeln!(text, "Again: `cargo xtask campaign {} --seed {first:#x}`\n", totals.seeds);
    table(&mut text, ("counted", "number"), &counted(totals));
    table(&mut text, ("fault", "began"), &sorted(&totals.counts.faults));
    for (title, counts) in grouped_situations(totals) {
        table(&mut text, (&format!("situation: {title}"), "reached"), &counts);
    }
    table(&mut text, ("rule broken", "seeds"), &sorted(&totals.rules));
    if !missing.is_empty() {
        let _ = writeln!(text, "Missing: {}\n", missing.join(", "));
    }
    for failure in totals.failures.iter().take(20) {
        let line = failure.text.lines().next().unwrap_or_default();
        let Failure { seed, generator, rule, .. } = failure;
        let _ = writeln!(text, "* `{seed:#x}` ({generator}) {rule}: {}", short(line));
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn table<T: AsRef<str>>(text: &mut String, (what, number): (&str, &str), rows: &[(T, u64)]) {
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(text, "| {what} | {number} |\n| --- | ---: |");
    for (name, count) in rows {
        let _ = writeln!(text, "| {} | {} |", name.as_ref(), grouped(*count));
    }
    text.push('\n');
}

/// A number with a comma after each thousand.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        let left = digits.len().saturating_sub(place);
        if 0 < place && left.checked_rem(3) == Some(0) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
