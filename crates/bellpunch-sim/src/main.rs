//! `bellpunch-sim`: many seeds, or one, or a case.
//!
//! This is the one place of the crate with a clock and with files: `--minutes` and the bound of
//! shrinking are real time. Nothing of it reaches a world.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bellpunch_sim::campaign::{
    self, After, Failure, Plan, SITUATIONS_FROM, Totals, apart, campaign,
};
use bellpunch_sim::case::Case;
use bellpunch_sim::kept::Kept;
use bellpunch_sim::planted::{BUGS, Bug, CANARY, Place};
use bellpunch_sim::report::{self, Facts, Found};
use bellpunch_sim::shrink::Shrinking;
use bellpunch_sim::trace::Trace;
use bellpunch_sim::{quiet, run};
use clap::Parser;
use serde::{Deserialize, Serialize};

/// How long a failure is shrunk, at most.
const SHRINK: Duration = Duration::from_secs(30);
/// Failures that are shrunk, one of each rule; all others are named.
const SHRUNK_MAX: usize = 3;
/// Failures that are named.
const NAMED_MAX: usize = 20;
/// Seeds in which the check that is wrong on purpose has to fail.
const CANARIES: u64 = 8;
/// Seeds between two looks at the clock, and two writings of progress.
const PART: u64 = 500;

/// Seeded simulation of Bellpunch: hostile clocks, networks, stores and crashes.
///
/// Exit codes: 0 every promise held, 1 one was broken or a situation was not reached, 2 usage.
#[derive(Clone, Debug, Parser)]
#[command(name = "bellpunch-sim")]
struct Args {
    /// How many seeds [default: 1, or as many as the minutes allow]
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed, also in hexadecimal with 0x
    #[arg(long, default_value = "1", value_parser = seed)]
    seed: u64,
    /// For so many minutes, instead of a count
    #[arg(long, conflicts_with = "seeds")]
    minutes: Option<u64>,
    /// A case file instead of seeds
    #[arg(long, conflicts_with_all = ["seeds", "minutes", "seed"])]
    case: Option<PathBuf>,
    /// What makes cases from seeds
    #[arg(long, default_value = campaign::ALL, value_parser = clap::builder::PossibleValuesParser::new(campaign::generators()))]
    generator: String,
    /// A bug of the production code; only in a build with the feature `planted`
    #[arg(long, default_value = "")]
    planted: String,
    /// What is wrong with the store
    #[arg(long, default_value = "")]
    defect: String,
    /// Threads [default: one for each core]
    #[arg(long)]
    threads: Option<usize>,
    /// How many of the seeds run twice, to compare the traces; all, without a number
    #[arg(long, num_args = 0..=1, default_value = "0", default_missing_value = "18446744073709551615")]
    twice: u64,
    /// No seed above the first that fails
    #[arg(long)]
    stop: bool,
    /// Print all that happens in the world of one seed, or of a case
    #[arg(long)]
    trace: bool,
    /// Leave failing cases as they are
    #[arg(long)]
    no_shrink: bool,
    /// Leave out the cases that are kept
    #[arg(long)]
    no_cases: bool,
    /// Where failing cases are written
    #[arg(long, default_value = "target/sim")]
    out: PathBuf,
    /// Write what clients of one seed, or of a case, saw
    #[arg(long)]
    history: Option<PathBuf>,
    /// The revision, for reports
    #[arg(long, default_value = "unknown")]
    commit: String,
    /// Write a report to this file
    #[arg(long, requires = "date")]
    page: Option<PathBuf>,
    /// The date in it
    #[arg(long)]
    date: Option<String>,
    /// Keep the sums so far in this file
    #[arg(long)]
    progress: Option<PathBuf>,
    /// Go on after so many seeds, with the sums of `--progress` if they are of as many
    #[arg(long, default_value = "0")]
    from: u64,
}

/// The sums so far, and whose they are.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Progress {
    first: u64,
    generator: String,
    commit: String,
    took_ms: u64,
    totals: Totals,
}

fn seed(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|error| error.to_string())
}

#[expect(clippy::disallowed_methods, reason = "the time that a campaign may take is real time")]
fn now() -> Instant {
    Instant::now()
}

/// Whoever reads the report may have closed the pipe, which is no failure of a world.
fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    let _ = std::io::stdout().flush();
}

fn main() -> ExitCode {
    let args = Args::parse();
    quiet::install();
    if let Err(text) = known(&args) {
        print(&format!("{text}\n"));
        return ExitCode::from(2);
    }
    // One name for the whole of a process.
    let planted: &'static str = Box::leak(args.planted.clone().into_boxed_str());
    let tool = Tool { begun: now(), planted, args };
    let done = match (&tool.args.case, tool.is_many()) {
        (Some(file), _) => tool.file(file),
        (None, true) => tool.many(),
        (None, false) => tool.alone(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(text) => {
            print(&format!("{text}\n"));
            ExitCode::from(2)
        }
    }
}

/// A bug that nobody knows would never be found.
fn known(args: &Args) -> Result<(), String> {
    let of_store = |bug: &&Bug| matches!(bug.place, Place::Store | Place::Driver | Place::Check);
    let (defects, plants): (Vec<&Bug>, Vec<&Bug>) = BUGS.iter().partition(of_store);
    for (option, asked, known) in
        [("defect", &args.defect, defects), ("planted", &args.planted, plants)]
    {
        let names: Vec<&str> = known.iter().map(|bug| bug.name).collect();
        if !asked.is_empty() && !names.contains(&asked.as_str()) {
            return Err(format!("--{option} is one of {}", names.join(", ")));
        }
    }
    if !cfg!(feature = "planted") && !args.planted.is_empty() {
        return Err("--planted needs a build with `--features planted`".to_owned());
    }
    Ok(())
}

/// One call of the program.
struct Tool {
    args: Args,
    planted: &'static str,
    begun: Instant,
}

impl Tool {
    fn is_many(&self) -> bool {
        self.args.minutes.is_some() || self.args.seeds.is_some_and(|seeds| seeds != 1)
    }

    fn threads(&self) -> usize {
        let cores = cores();
        self.args.threads.unwrap_or(cores).max(1)
    }

    /// A case from a file.
    fn file(&self, file: &Path) -> Result<bool, String> {
        let kept = read(file)?;
        let mut case = kept.case;
        if !self.args.defect.is_empty() {
            case.settings.defect.clone_from(&self.args.defect);
        }
        print(&format!("{}: {}\n", file.display(), kept.title));
        self.case(&case, Some(file))
    }

    /// One seed.
    fn alone(&self) -> Result<bool, String> {
        let mut case = campaign::generate(&self.args.generator, self.args.seed)
            .ok_or_else(|| "there is no such generator".to_owned())?;
        case.settings.defect.clone_from(&self.args.defect);
        self.case(&case, None)
    }

    fn case(&self, case: &Case, file: Option<&Path>) -> Result<bool, String> {
        let trace = if self.args.trace { Trace::kept() } else { Trace::default() };
        let mut report = apart(self.planted, || run::run(case, trace));
        if self.args.trace {
            print(report.trace.as_deref().unwrap_or_default());
        }
        if let Some(path) = &self.args.history {
            let mut text = Vec::new();
            report.history.write(&mut text).map_err(|error| error.to_string())?;
            write(path, text)?;
        }
        let twice = 0 < self.args.twice
            && apart(self.planted, || campaign::is_equal_again(case, &mut report));
        let mut totals = campaign::totals_of(case, &report);
        totals.twice = u64::from(twice);
        print(&report::summary(&totals));
        for failure in &totals.failures {
            self.tell(failure, case, file)?;
        }
        Ok(totals.failed == 0)
    }

    /// Many seeds.
    fn many(&self) -> Result<bool, String> {
        let kept = if self.args.no_cases { true } else { self.replay()? };
        let mut progress = self.resumed()?;
        let before = Duration::from_millis(progress.took_ms);
        let end = self.args.minutes.map(|minutes| Duration::from_secs(minutes.saturating_mul(60)));
        let count = self.args.seeds.unwrap_or(u64::MAX);
        let mut done = self.args.from;
        while done < count && end.is_none_or(|end| self.begun.elapsed() < end) {
            let part = count.saturating_sub(done).min(PART);
            let totals = campaign(&self.plan(done, part));
            let failed = 0 < totals.failed;
            progress.totals.add(totals);
            done = done.saturating_add(part);
            let took = before.saturating_add(self.begun.elapsed());
            progress.took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            if let Some(path) = &self.args.progress {
                let text = serde_json::to_string(&progress).map_err(|error| error.to_string())?;
                write(path, text)?;
            }
            if failed && self.args.stop {
                break;
            }
        }
        let totals = &progress.totals;
        print(&report::summary(totals));
        self.pages(totals, Duration::from_millis(progress.took_ms))?;
        let pass = self.judge(totals)?;
        let rate = u128::from(totals.seeds).saturating_mul(1_000);
        let rate = rate.checked_div(u128::from(progress.took_ms)).unwrap_or_default();
        let canary = self.canary();
        let pass = pass && kept && canary;
        let verdict = if pass { "PASS" } else { "FAIL" };
        print(&format!(
            "{verdict}  sim   {} seeds from {:#x} in {:.1?}, {rate} per second, {} threads, commit {}\n",
            totals.seeds,
            self.args.seed,
            self.begun.elapsed(),
            self.threads(),
            self.args.commit
        ));
        Ok(pass)
    }

    fn plan(&self, done: u64, count: u64) -> Plan {
        Plan {
            first: self.args.seed.wrapping_add(done),
            count,
            generator: self.args.generator.clone(),
            defect: self.args.defect.clone(),
            planted: self.planted,
            threads: self.threads(),
            twice: self.args.twice.saturating_sub(done),
            after: if self.args.stop { After::Stop } else { After::GoOn },
        }
    }

    /// The sums that are to be gone on with.
    fn resumed(&self) -> Result<Progress, String> {
        let fresh = Progress {
            first: self.args.seed,
            generator: self.args.generator.clone(),
            commit: self.args.commit.clone(),
            ..Progress::default()
        };
        let Some(path) = self.args.progress.as_ref().filter(|_| 0 < self.args.from) else {
            return Ok(fresh);
        };
        let text = std::fs::read_to_string(path).map_err(|error| shown(path, &error))?;
        let found: Progress = serde_json::from_str(&text).map_err(|error| shown(path, &error))?;
        let same = (found.first, &found.generator, &found.commit, found.totals.seeds)
            == (fresh.first, &fresh.generator, &fresh.commit, self.args.from);
        if same {
            return Ok(found);
        }
        Err(format!(
            "{} is of {} seeds from {:#x} at {}: not what --from, --seed and the revision say",
            path.display(),
            found.totals.seeds,
            found.first,
            found.commit
        ))
    }

    /// Whether the sums are good; tells of what is not.
    fn judge(&self, totals: &Totals) -> Result<bool, String> {
        let mut rules = Vec::new();
        for failure in &totals.failures {
            if rules.len() < SHRUNK_MAX && !rules.contains(&&failure.rule) {
                rules.push(&failure.rule);
                let mut case = campaign::generate(&failure.generator, failure.seed)
                    .ok_or_else(|| "there is no such generator".to_owned())?;
                case.settings.defect.clone_from(&self.args.defect);
                self.tell(failure, &case, None)?;
            }
        }
        let mut text = String::new();
        for failure in totals.failures.iter().take(NAMED_MAX) {
            let Failure { seed, generator, rule, .. } = failure;
            let _ = writeln!(text, "failed  {seed:#x} {generator} {rule}");
        }
        let more = totals.failed.saturating_sub(NAMED_MAX.try_into().unwrap_or_default());
        if 0 < more {
            let _ = writeln!(text, "and {more} more seeds");
        }
        let missing = totals.missing(&self.args.generator);
        let well = self.planted.is_empty() && self.args.defect.is_empty();
        let lacks = well && SITUATIONS_FROM <= totals.seeds && !missing.is_empty();
        if lacks {
            let _ = writeln!(text, "never reached: {}", missing.join(", "));
        }
        print(&text);
        Ok(totals.failed == 0 && !lacks)
    }

    /// Whether a check that is wrong on purpose fails, as it has to.
    fn canary(&self) -> bool {
        let plan = Plan { defect: CANARY.to_owned(), after: After::Stop, ..self.plan(0, CANARIES) };
        let fails = campaign(&plan).rules.contains_key(CANARY);
        if !fails {
            print("the canary lives: a check that is wrong on purpose did not fail\n");
        }
        fails
    }

    /// Replays the cases that are kept.
    fn replay(&self) -> Result<bool, String> {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/cases"));
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(|error| shown(folder, &error))? {
            files.push(entry.map_err(|error| error.to_string())?.path());
        }
        files.retain(|file| file.extension().is_some_and(|ending| ending == "json"));
        files.sort();
        let mut failed = 0_u64;
        for file in &files {
            let kept = read(file)?;
            let report = apart(self.planted, || run::run(&kept.case, Trace::default()));
            if let Some(failure) = campaign::totals_of(&kept.case, &report).failures.first() {
                failed = failed.saturating_add(1);
                print(&format!("{}: {}\n", file.display(), kept.title));
                self.tell(failure, &kept.case, Some(file))?;
            }
        }
        print(&format!("{} cases that were kept, {failed} failed\n", files.len()));
        Ok(failed == 0)
    }

    fn pages(&self, totals: &Totals, took: Duration) -> Result<(), String> {
        let Some(path) = &self.args.page else { return Ok(()) };
        let facts = Facts {
            date: self.args.date.clone().unwrap_or_default(),
            commit: self.args.commit.clone(),
            first: self.args.seed,
            generator: self.args.generator.clone(),
            took,
            threads: self.threads(),
            cores: cores(),
        };
        write(path, report::page(totals, &facts))
    }

    /// Shrinks a failure, keeps it, and tells of it.
    fn tell(&self, failure: &Failure, case: &Case, file: Option<&Path>) -> Result<(), String> {
        let after = self.begun.elapsed();
        let shrunk = self.shrunk(failure, case);
        let report = apart(self.planted, || run::run(&shrunk, Trace::kept()));
        let options = self.options();
        let name = self.args.out.join(format!("{:x}.json", failure.seed));
        let kept = Kept {
            title: report::promise(&failure.rule).to_owned(),
            rule: failure.rule.clone(),
            commit: self.args.commit.clone(),
            case: shrunk.clone(),
        };
        write(&name, kept.text())?;
        let again = match file {
            Some(file) => format!("cargo xtask sim --case {}{options}", file.display()),
            None => format!(
                "cargo xtask sim --seed {:#x} --generator {}{options}",
                failure.seed, failure.generator
            ),
        };
        let found = Found {
            failure,
            commit: &self.args.commit,
            after: Some(after),
            case,
            shrunk: &shrunk,
            report: &report,
            again: &again,
            smaller: &format!("cargo xtask sim --case {}{options}", name.display()),
        };
        print(&report::failure(&found));
        Ok(())
    }

    fn options(&self) -> String {
        let mut options = String::new();
        for (name, value) in [("planted", self.planted), ("defect", &self.args.defect)] {
            if !value.is_empty() {
                let _ = write!(options, " --{name} {value}");
            }
        }
        options
    }

    fn shrunk(&self, failure: &Failure, case: &Case) -> Case {
        if self.args.no_shrink || failure.rule == "deterministic" {
            return case.clone();
        }
        let begun = now();
        apart(self.planted, || {
            let mut fails = |case: &Case| {
                let report = run::run(case, Trace::default());
                let first = report.violations.first()?;
                (first.rule == failure.rule).then_some(first.at)
            };
            let go_on = || begun.elapsed() < SHRINK;
            Shrinking::new(&mut fails, &go_on).shrink(case)
        })
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn shown(path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}

fn read(file: &Path) -> Result<Kept, String> {
    let text = std::fs::read_to_string(file).map_err(|error| shown(file, &error))?;
    Kept::read(&text).map_err(|error| shown(file, &error))
}

fn write(path: &Path, text: impl AsRef<[u8]>) -> Result<(), String> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| shown(folder, &error))?;
    }
    std::fs::write(path, text).map_err(|error| shown(path, &error))
}
