//! The binary `bellpunch` with every store, so that the tests of this crate can start it.

use std::process::ExitCode;

fn main() -> ExitCode {
    bellpunch_cli::main()
}
