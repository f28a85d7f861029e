//! `bellpunch`: the one binary. Runs the doors, looks into a store, checks it, and copies it.
//!
//! Invariant: results go to stdout, all else to stderr; the exit code says what kind of end it was
//! (0 done, 1 violation or rejected, 2 usage or configuration, 3 inconclusive, 4 could not run,
//! 5 refused for safety).
//!
//! Why a library beside the binary: its readers of files are fuzzed like all others.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

mod args;
mod config;
mod digest;
mod failure;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod inspect;
mod migrate;
mod secret;
mod serve;
mod stores;
mod transfer;
mod verify;

use args::{Args, Command};
use failure::Failure;

/// Runs what the arguments of this process ask for.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    match run(args) {
        Ok(code) => code,
        Err(failure) => {
            // Nobody can be told that telling failed.
            let _ = writeln!(std::io::stderr(), "bellpunch: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

fn run(args: Args) -> Result<ExitCode, Failure> {
    let (form, noise) = (args.form(), args.noise());
    match args.command {
        Command::Serve(options) => serve::run(&options, form),
        Command::Inspect(options) => inspect::run(&options, form),
        Command::Verify(options) => verify::run(&options, form, noise),
        Command::Export(options) => transfer::export(&options, form, noise),
        Command::Import(options) => transfer::import(&options, form, noise),
        Command::Digest(options) => digest::run(&options, form, noise),
        Command::Migrate(options) => migrate::run(&options),
        Command::Completions { shell } => {
            use clap::CommandFactory as _;
            let mut command = Args::command();
            clap_complete::generate(shell, &mut command, "bellpunch", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Writes a result.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|cause| Failure::could_not_run(format!("stdout cannot be written: {cause}")))
}

/// Says something beside the result.
pub(crate) fn remark(text: &str) {
    // Nobody can be told that telling failed.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
