//! Chores of the workspace: `cargo xtask ci` runs what every change must pass, `cargo xtask sim`
//! the simulator, `cargo xtask campaign` many seeds of it, `cargo xtask planted` the hunt for planted bugs,
//! `cargo xtask bench` the measurements beside other ways to do the same.
//!
//! Why Rust and not a script: it runs wherever the project builds, and its own tests hold the
//! architecture (`arch`).

#[cfg(test)]
mod arch;
mod bench;
mod sim;

use std::process::{Command, ExitCode};

/// A name, the arguments of cargo, and variables of its environment.
type Step = (&'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);

/// What every change must pass, in order; after it comes the simulator.
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
        "the binary, killed and drained",
        &["test", "--locked", "-p", "bellpunch-cli", "--test", "process", "--", "under_load"],
        &[("BELLPUNCH_KILLS", "200"), ("BELLPUNCH_DRAINS", "50")],
    ),
    (
        "nodes and their engines, killed",
        &["test", "--locked", "-p", "bellpunch-nodes", "--test", "nodes", "--", "kill"],
        &[("BELLPUNCH_NODES_KILLS", "20"), ("BELLPUNCH_ENGINE_KILLS", "20")],
    ),
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
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut arguments = std::env::args().skip(1);
    let chore = arguments.next().unwrap_or_default();
    let arguments: Vec<String> = arguments.collect();
    match chore.as_str() {
        "ci" => {}
        "sim" => return sim::simulate(&cargo, &arguments),
        "campaign" => return sim::campaign(&cargo, &arguments),
        "planted" => return sim::planted(&cargo, &arguments),
        "bench" => return bench::bench(&cargo, &arguments),
        _ => {
            eprintln!(
                "usage: cargo xtask ci | sim [OPTIONS] | campaign [SEEDS] | planted [BUG] | bench [OPTIONS]"
            );
            return ExitCode::from(2);
        }
    }
    for (name, arguments, variables) in CI {
        eprintln!("== {name}: cargo {}", arguments.join(" "));
        let status = Command::new(&cargo).args(*arguments).envs(variables.iter().copied()).status();
        if !status.is_ok_and(|status| status.success()) {
            eprintln!("== {name} failed");
            return ExitCode::FAILURE;
        }
    }
    eprintln!("== simulator: cargo xtask sim");
    let lane = sim::lane(&cargo);
    if lane != ExitCode::SUCCESS {
        return lane;
    }
    eprintln!("== planted bugs in the simulator: cargo xtask planted");
    sim::planted(&cargo, &[])
}
