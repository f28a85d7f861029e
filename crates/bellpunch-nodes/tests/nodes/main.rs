//! Several nodes on one PostgreSQL or Redis under real faults: nodes killed, stopped, drained, with
//! wrong clocks; the engine below them killed and stopped; the network between cut and slow. Every
//! run is recorded as one history of all nodes and judged.
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

/// One test on each engine.
macro_rules! on_each_engine {
    ($($name:ident),* $(,)?) => {
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let _alone = crate::ALONE.lock().await;
                Box::pin(super::$name(crate::engine::Kind::Postgres)).await;
            })*
        }

        mod redis {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let _alone = crate::ALONE.lock().await;
                Box::pin(super::$name(crate::engine::Kind::Redis)).await;
            })*
        }
    };
}

#[allow(dead_code, reason = "the tests of one process use the rest of it")]
#[path = "../../../bellpunch-cli/tests/process/book.rs"]
mod book;
#[path = "../../../bellpunch-cli/tests/process/book_judge.rs"]
mod book_judge;
#[path = "../../../bellpunch-cli/tests/common/client.rs"]
mod client;
mod clocks;
mod cluster;
mod contention;
mod crashes;
mod engine;
#[allow(dead_code, reason = "the tests of one process use the rest of it")]
#[path = "../../../bellpunch-cli/tests/process/judge.rs"]
mod judge;
mod link;
mod load;
mod many;
mod numbers;
mod outage;
mod policies;
#[path = "../../../bellpunch-cli/tests/process/random.rs"]
mod random;
#[allow(dead_code, reason = "the tests of one process use the rest of it")]
#[path = "../../../bellpunch-cli/tests/common/server.rs"]
mod server;
#[allow(dead_code, reason = "the tests of one process use the rest of it")]
#[path = "../../../bellpunch-cli/tests/process/teller.rs"]
mod teller;
mod unknown;

use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// The binary that is started.
const BINARY: &str = env!("CARGO_BIN_EXE_bellpunch-nodes");
/// How long anything may take that has to happen.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait before looking again.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// Each test has several nodes, an engine and many callers: one at a time has the machine.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A number from the environment: how long a full run is.
fn asked(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap())
}

fn bellpunch(arguments: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    server::not_ours(&mut command);
    command.args(arguments).output().unwrap()
}

/// `bellpunch verify` finds nothing.
fn verify_store(url: &str) {
    let output = bellpunch(&["verify", "--store", url]);
    let told = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.ends_with("0 findings\n"), "{told}{complaint}");
}

/// Looks until it is so.
async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !so().await {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Does what blocks beside the runtime.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}
