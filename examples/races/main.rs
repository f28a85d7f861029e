//! The races that real findings describe, run against naive twins and against Bellpunch: a token
//! quota, a redemption session, a rate limiter, uploads, a billing backend.
//!
//! Starts, on loopback, deliberately naive services (read, decide, write in three steps) and the
//! real `bellpunch` binary on its disk store, fires the same attacks at both over HTTP, and prints
//! what passed. Exits with 1 if Bellpunch is off by one anywhere, or if a naive twin did not race:
//! then the attack proved nothing.
//!
//! ```text
//! cargo run --release --example races
//! ```

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::integer_division,
    reason = "a demonstration is a program of its own: it prints, and it measures real time"
)]

mod attacks;
mod billing;
mod client;
mod process;
mod twins;

use std::error::Error;
use std::process::ExitCode;

/// One line of the table.
#[derive(Debug)]
struct Row {
    name: &'static str,
    attempted: usize,
    should_pass: usize,
    naive: usize,
    bellpunch: usize,
}

impl Row {
    const fn verdict(&self) -> &'static str {
        if self.bellpunch != self.should_pass {
            "BELLPUNCH IS WRONG"
        } else if self.naive == self.should_pass {
            "the twin did not race"
        } else {
            "exact"
        }
    }
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let rows = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run()));
    match rows {
        Ok(rows) => report(&rows),
        Err(error) => {
            eprintln!("the races could not be run: {error}");
            ExitCode::from(4)
        }
    }
}

async fn run() -> Result<Vec<Row>, Box<dyn Error + Send + Sync>> {
    let twin = twins::start().await?;
    let bellpunch = process::Bellpunch::start()?;
    let rows = attacks::all(twin, bellpunch.address).await;
    bellpunch.stop();
    rows
}

fn report(rows: &[Row]) -> ExitCode {
    let head = ("attack", "attempted", "should pass", "naive twin", "Bellpunch");
    println!("{:<52} {:>9}  {:>11}  {:>10}  {:>9}", head.0, head.1, head.2, head.3, head.4);
    for row in rows {
        println!(
            "{:<52} {:>9}  {:>11}  {:>10}  {:>9}  {}",
            row.name,
            row.attempted,
            row.should_pass,
            row.naive,
            row.bellpunch,
            row.verdict()
        );
    }
    if rows.iter().all(|row| row.verdict() == "exact") {
        println!("Bellpunch let through exactly what should pass, in every race.");
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
