//! The chore of the measurements: builds the workspace `bench/` as a release and runs it.
//!
//! Why it is no part of `ci`: it takes minutes, it wants the machine for itself, and its figures
//! are read, not passed. That its folder is what it should be is a test here.

use std::path::Path;
use std::process::{Command, ExitCode};

use crate::sim::code_of;

/// The manifest of the measurements, from the root.
const MANIFEST: &str = "bench/Cargo.toml";

/// Runs the measurements: `bench [--quick] [--only disk|postgres|redis]`.
pub(crate) fn bench(cargo: &str, arguments: &[String]) -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the root");
    let mut command = Command::new(cargo);
    command.args(["run", "--release", "--locked", "--target-dir", "target/bench"]);
    command.args(["--manifest-path", MANIFEST, "--"]).args(arguments).current_dir(root);
    code_of(&mut command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measurements_are_of_this_workspace() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the root");
        let manifest = std::fs::read_to_string(root.join(MANIFEST)).expect("the folder is there");
        assert!(manifest.contains("[workspace]"), "it is a workspace of its own");
        assert!(root.join("bench/Cargo.lock").is_file(), "what it needs is locked");
        for (name, folder) in [
            ("bellpunch", "crates/bellpunch"),
            ("bellpunch-disk", "crates/bellpunch-disk"),
            ("bellpunch-postgres", "crates/bellpunch-postgres"),
            ("bellpunch-redis", "crates/bellpunch-redis"),
            ("bellpunch-servers", "crates/bellpunch-servers"),
        ] {
            let line = format!("{name} = {{ path = \"../{folder}\" }}");
            assert!(manifest.lines().any(|found| found == line), "{MANIFEST} lacks {line}");
            assert!(root.join(folder).join("Cargo.toml").is_file(), "{folder} is not there");
        }
    }
}
