//! `bellpunch`: the one binary. Runs the doors, looks into a store, checks it, and copies it.
//!
//! Invariant: results go to stdout, all else to stderr; the exit code says what kind of end it was
//! (0 done, 1 violation or rejected, 2 usage or configuration, 4 could not run, 5 refused for
//! safety).

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

mod args;
mod config;
mod failure;
mod serve;
mod stores;

use args::{Args, Command};
use failure::Failure;

fn main() -> ExitCode {
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
    let form = args.form();
    match args.command {
        Command::Serve(options) => serve::run(&options, form),
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
