//! The binary `bellpunch`: see the library of this crate.

use std::process::ExitCode;

fn main() -> ExitCode {
    bellpunch_cli::main()
}
