//! Hunts every planted bug, and writes the page that tells of them.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program for a terminal")]

use std::process::ExitCode;

use bellpunch_sim::planted::{BUGS, hunt, page};

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|_| {}));
    let only = std::env::args().nth(1);
    let mut catches = Vec::new();
    for bug in BUGS.iter().filter(|bug| only.as_ref().is_none_or(|only| only == bug.name)) {
        let catch = hunt(bug, 0);
        println!("{:24} {catch:?}", bug.name);
        catches.push((*bug, catch));
    }
    let missed = catches.iter().filter(|(_, catch)| catch.is_none()).count();
    if only.is_none() {
        std::fs::write("docs/planted.md", page(&catches)).expect("the page can be written");
    }
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
