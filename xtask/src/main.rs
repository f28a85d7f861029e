//! Chores of the workspace: `cargo xtask ci` runs what every change must pass.
//!
//! Why Rust and not a script: it runs wherever the project builds, and its own tests hold the
//! architecture (`arch`).

#[cfg(test)]
mod arch;

use std::process::{Command, ExitCode};

/// A name, the arguments of cargo, and variables of its environment.
type Step = (&'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);

/// What every change must pass, in order; the tests come last, so that their result is the end.
const CI: &[Step] = &[
    ("format", &["fmt", "--all", "--check"], &[]),
    (
        "lints",
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--all-features",
            "--locked",
            "--",
            "-D",
            "warnings",
        ],
        &[],
    ),
    ("docs", &["doc", "--workspace", "--no-deps", "--locked"], &[("RUSTDOCFLAGS", "-D warnings")]),
    ("demonstration", &["run", "--locked", "--example", "races"], &[]),
    ("a rule of one's own", &["run", "--locked", "--example", "own_rule"], &[]),
    (
        "planted bugs",
        &["test", "--locked", "--package", "bellpunch-threads", "--features", "planted", "planted"],
        &[],
    ),
    ("tests", &["test", "--workspace", "--locked"], &[]),
];

#[expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a chore reads its arguments and says what it does"
)]
fn main() -> ExitCode {
    let chore = std::env::args().nth(1);
    if chore.as_deref() != Some("ci") {
        eprintln!("usage: cargo xtask ci");
        return ExitCode::from(2);
    }
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    for (name, arguments, variables) in CI {
        eprintln!("== {name}: cargo {}", arguments.join(" "));
        let status = Command::new(&cargo).args(*arguments).envs(variables.iter().copied()).status();
        if !status.is_ok_and(|status| status.success()) {
            eprintln!("== {name} failed");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
