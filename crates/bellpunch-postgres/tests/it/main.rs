//! Tests of the PostgreSQL store, on real servers.
#![expect(clippy::unwrap_used, reason = "tests stop at the unexpected")]
#![expect(clippy::indexing_slicing, reason = "tests stop at the unexpected")]
#![expect(clippy::arithmetic_side_effects, reason = "overflow is checked, and ends the test")]

mod commits;
mod errors;
mod kit;
mod scripts;
mod session;
mod tls;
mod trap;
#[path = "../../../bellpunch/tests/it/world.rs"]
mod world;

use std::future::Future;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use bellpunch_servers::Postgres;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// Runs the stores' tasks. It outlives every test.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().unwrap()
});

static NAMES: AtomicU64 = AtomicU64::new(0);

/// Waits for what needs the stores' runtime.
fn wait<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(future)
}

/// Begins what needs the stores' runtime.
fn begin<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    RUNTIME.spawn(future)
}

/// A name that no test has had.
fn fresh(word: &str) -> String {
    format!("{word}_{}", NAMES.fetch_add(1, Ordering::SeqCst))
}

/// Runs SQL that gives nothing.
fn execute(server: &Postgres, database: &str, sql: &str) {
    assert_eq!(server.sql(database, sql), "", "{sql}");
}

/// Puts a clock that tests set in the place of a schema's.
const SETTABLE: &str = "
    create table {schema}.test_clock (nanos numeric not null);
    insert into {schema}.test_clock values (0);
    create or replace function {schema}.clock_ns() returns numeric language sql volatile as
        'select nanos from {schema}.test_clock';";
