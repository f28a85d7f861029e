//! Bellpunch beside the best idiom of each engine it stands on, measured in turn: round after round
//! each contender runs once, so that what else the machine does meets all of them alike.
//!
//! Invariant: both sides are durable, have the same number of callers, and are asked afterwards how
//! much was admitted beyond the limit: a fast wrong answer is no answer.
//!
//! Why a program and no benchmark harness: the peers are other programs (`pgbench`,
//! `redis-benchmark`), and what is compared is decisions per second of a whole system.
#![expect(
    clippy::disallowed_methods,
    reason = "a measurement reads the clock, starts programs and writes its page"
)]

mod book;
mod callers;
mod disk;
mod figures;
mod machine;
mod page;
mod postgres;
mod redis;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// That of the binary `bellpunch`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An engine that is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Part {
    Disk,
    Book,
    Postgres,
    Redis,
}

/// Measures Bellpunch beside the best idiom of each engine.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench")]
struct Arguments {
    /// One short round each: shows that all of it runs. Writes no page.
    #[arg(long)]
    quick: bool,
    /// This engine alone; the page keeps its other sections.
    #[arg(long)]
    only: Option<Part>,
    /// Rounds of each contender.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Seconds of a round.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Only contests and contenders whose names contain these: for a profile. Writes no page.
    #[arg(long, num_args = 1..)]
    like: Vec<String>,
    /// Milliseconds of rest before each round, for others on the machine.
    #[arg(long, default_value_t = 0)]
    rest: u64,
    /// The page whose sections are written.
    #[arg(long, default_value = "docs/benchmarks.md")]
    page: PathBuf,
}

/// How long everything is measured.
#[derive(Clone, Debug)]
struct Effort {
    rounds: usize,
    round: Duration,
    rest: Duration,
    /// What the names of those who are measured contain.
    like: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (rounds, seconds) =
        if arguments.quick { (1, 1) } else { (arguments.rounds, arguments.seconds) };
    let (round, like) = (Duration::from_secs(seconds), arguments.like.clone());
    let rest = Duration::from_millis(arguments.rest);
    let effort = &Effort { rounds, round, rest, like };
    for part in [Part::Disk, Part::Book, Part::Postgres, Part::Redis] {
        if arguments.only.is_some_and(|only| only != part) {
            continue;
        }
        let before = machine::load();
        let (name, contests) = match part {
            Part::Disk => ("disk", disk::measure(effort)),
            Part::Book => ("book", book::measure(effort)),
            Part::Postgres => ("postgres", postgres::measure(effort)),
            Part::Redis => ("redis", redis::measure(effort)),
        };
        let section = page::section(name, &contests, (effort, &before));
        println!("{section}");
        if !arguments.quick
            && arguments.like.is_empty()
            && let Err(cause) = page::write(&arguments.page, name, &section)
        {
            eprintln!("{}: {cause}", arguments.page.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
