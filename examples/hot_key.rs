//! One hot record on the disk store: combined commits, one commit per call, and a bare `fdatasync`.
//!
//! All are measured in one run on the same folder, in turn, so that a machine whose speed drifts
//! does not favour one. Prints medians and ratios.
//!
//! ```text
//! cargo run --release --example hot_key [FOLDER]
//! ```

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::arithmetic_side_effects,
    clippy::integer_division,
    clippy::indexing_slicing,
    reason = "a measurement is a program of its own: it prints, and it reads real time"
)]

use std::error::Error;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bellpunch::{
    CallOptions, Command, Draft, Engine, EngineConfig, Kind, Outcome, Partition, Record, RecordId,
    Rejection, SystemClock, Timestamp,
};
use bellpunch_disk::{DiskConfig, DiskStore};
use serde::{Deserialize, Serialize};

const CALLERS: usize = 64;
const ROUNDS: usize = 7;
const SPAN: Duration = Duration::from_millis(700);
const LONE_CALLS: usize = 300;

/// A count and a hundred bytes: about what a quota's record weighs.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Hot {
    used: u64,
    ballast: String,
}

impl Record for Hot {
    const KIND: Kind = Kind::new("hot");
}

#[derive(Clone, Debug, Serialize)]
struct Take;

impl Command for Take {
    const NAME: &'static str = "hot.take";
    type Reply = u64;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, _: Timestamp) -> Result<u64, Rejection> {
        let id = RecordId::stored("one");
        let used = draft.get::<Hot>(&id).map_or(0, |hot| hot.used) + 1;
        draft.put(&id, Hot { used, ballast: "x".repeat(100) });
        Ok(used)
    }
}

fn engine(folder: &Path, batch_max: usize) -> Result<Engine, Box<dyn Error>> {
    let clock = Arc::new(SystemClock::new());
    let store = DiskStore::open(&DiskConfig::new(folder), Arc::clone(&clock) as _)?;
    let config = EngineConfig { batch_max, ..EngineConfig::default() };
    Ok(Engine::start(Arc::new(store), clock, config))
}

/// Calls per second of 64 callers.
async fn crowd(engine: &Engine) -> Result<u64, Box<dyn Error>> {
    let begin = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        let engine = engine.clone();
        callers.spawn(async move {
            let partition = Partition::new("p").expect("a legal name");
            let mut calls = 0_u64;
            while begin.elapsed() < SPAN {
                let outcome = engine.call(&partition, Take, CallOptions::default()).await;
                assert!(matches!(outcome, Ok(Outcome::Accepted(_))), "{outcome:?}");
                calls += 1;
            }
            calls
        });
    }
    let calls: u64 = callers.join_all().await.into_iter().sum();
    Ok(calls * 1_000_000 / u64::try_from(begin.elapsed().as_micros())?)
}

/// Microseconds of one call from a task of the runtime, nobody else calling: the median.
async fn lone(engine: &Engine) -> Result<u64, Box<dyn Error>> {
    let engine = engine.clone();
    let task = tokio::spawn(async move {
        let partition = Partition::new("p").expect("a legal name");
        let mut spans = Vec::new();
        for _ in 0..LONE_CALLS {
            let begin = Instant::now();
            let outcome = engine.call(&partition, Take, CallOptions::default()).await;
            assert!(matches!(outcome, Ok(Outcome::Accepted(_))), "{outcome:?}");
            spans.push(begin.elapsed());
        }
        spans
    });
    let spans = task.await?;
    let micros = spans.iter().map(|span| u64::try_from(span.as_micros()));
    Ok(median(&mut micros.collect::<Result<Vec<_>, _>>()?))
}

/// Microseconds of appending as many bytes and one `fdatasync`: the median.
fn bare(file: &mut File) -> Result<u64, Box<dyn Error>> {
    let frame = [7_u8; 320];
    let mut spans = Vec::new();
    for _ in 0..LONE_CALLS {
        let begin = Instant::now();
        file.write_all(&frame)?;
        file.sync_data()?;
        spans.push(u64::try_from(begin.elapsed().as_micros())?);
    }
    Ok(median(&mut spans))
}

fn median(values: &mut [u64]) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// A ratio with two decimals.
fn ratio(over: u64, under: u64) -> String {
    let hundredths = over * 100 / under.max(1);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = match std::env::args().nth(1) {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let combined = engine(&folder.path().join("combined"), 512)?;
    let single = engine(&folder.path().join("single"), 1)?;
    let mut file = File::create(folder.path().join("bare"))?;
    let mut columns: [Vec<u64>; 4] = Default::default();
    for _ in 0..ROUNDS {
        columns[0].push(crowd(&combined).await?);
        columns[1].push(crowd(&single).await?);
        columns[2].push(lone(&combined).await?);
        columns[3].push(bare(&mut file)?);
    }
    let [combined, single, lone, bare] = columns.each_mut().map(|column| median(column));
    println!("medians of {ROUNDS} rounds in turn, one hot record, durable on disk");
    println!("{CALLERS} callers, combined commits       {combined:>8} calls/s");
    println!(
        "{CALLERS} callers, one commit per call    {single:>8} calls/s   ratio {}",
        ratio(combined, single)
    );
    println!("one caller, one call                {lone:>8} us");
    println!("bare append and fdatasync           {bare:>8} us        ratio {}", ratio(lone, bare));
    Ok(())
}
