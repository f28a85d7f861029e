//! The real binary under real faults: killed, stopped, drained, without room, on a disk whose sync
//! fails, behind a network that cuts and repeats. Every run is recorded as a history and judged.
//!
//! Normal runs are short. The full ones are asked for by variables of the environment; see
//! `docs/internals/process-tests.md`.

#![cfg(unix)]
#![expect(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::integer_division,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that panics has failed; it prints its seed, and takes it back"
)]

mod book;
mod book_copy;
mod book_judge;
mod book_kill;
#[allow(dead_code, reason = "the other tests of the binary use the rest of it")]
#[path = "../common/client.rs"]
mod client;
mod copy;
mod drain;
#[path = "../common/filled.rs"]
mod filled;
mod full;
mod judge;
mod kill;
mod load;
mod network;
mod pause;
mod preload;
mod proxy;
mod random;
mod saturation;
#[allow(dead_code, reason = "the other tests of the binary use the rest of it")]
#[path = "../common/server.rs"]
mod server;
mod sync;
#[allow(dead_code, reason = "the tests of several nodes use the rest of it")]
mod teller;
mod webhook;

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// The binary that is started.
const BINARY: &str = env!("CARGO_BIN_EXE_bellpunch");
/// How long anything may take that has to happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A number from the environment: how long a full run is.
fn asked(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap())
}

fn bellpunch(arguments: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    server::not_ours(&mut command);
    command.args(arguments).output().unwrap()
}

fn disk(folder: &Path) -> String {
    format!("disk:{}", folder.display())
}

/// `bellpunch verify` finds nothing.
fn verify(folder: &Path) {
    verify_store(&disk(folder));
}

fn verify_store(url: &str) {
    let output = bellpunch(&["verify", "--store", url]);
    let told = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.ends_with("0 findings\n"), "{told}{complaint}");
}

/// Asks until it is so.
async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !so().await {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::task::yield_now().await;
    }
}
