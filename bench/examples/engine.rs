//! What the executor alone spends on a decision: no store, no threads, no callers that wait.
//!
//! Each commit is answered at once, so what is left is deciding, building commits and settling them.
//! For a profile: `perf record -g target/bench/release/examples/engine many`.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measurement reads the clock and the arguments, and prints"
)]

use std::sync::Arc;
use std::time::Instant;

use bellpunch::executor::{Executor, Input, Output, ReadResult};
use bellpunch::limits::{ConsumeQuota, CreateQuota, Retention};
use bellpunch::store::{Clock, CommitResult, MemoryConfig, MemoryStore, Store, Versioned};
use bellpunch::{
    AnyCommand, Duration, EngineConfig, IdempotencyKey, Journaling, Key, Limit, Partition, Request,
    Timestamp, Units, fingerprint,
};

/// That of the binary `bellpunch`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Commands in a batch.
const BATCH: u64 = 64;
/// Batches of a measurement.
const BATCHES: u64 = 4_000;

#[derive(Debug)]
struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        Timestamp::EPOCH
    }
}

/// The executor, and what was asked of it.
struct Alone {
    executor: Executor,
    partition: Partition,
    caller: u64,
    now: Timestamp,
}

impl Alone {
    fn new(journaling: &str) -> Self {
        let store = MemoryStore::shared(Arc::new(Stopped), MemoryConfig::default());
        let executor = Executor::new(EngineConfig::default(), &store.properties(), 7);
        let partition = Partition::new(format!("bench-{journaling}")).expect("a legal name");
        Self { executor, partition, caller: 0, now: Timestamp::EPOCH }
    }

    fn ask(&mut self, command: Arc<dyn AnyCommand>, key: bool, journaling: Journaling) {
        self.caller += 1;
        let key = key.then(|| {
            let name = format!("{:016x}", self.caller.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let key = IdempotencyKey::new(name).expect("a legal key");
            (key, fingerprint(&self.partition, std::slice::from_ref(&command)))
        });
        let request = Box::new(Request {
            commands: vec![command],
            entropy: vec![u128::from(self.caller) << 64],
            key,
            keep: Duration::from_days(7),
            dry_run: false,
            journaling,
        });
        let (caller, partition) = (self.caller, self.partition.clone());
        self.executor.handle(Input::Arrived { caller, partition, request }, self.now);
    }

    /// Answers what the executor asks of its store, until it asks nothing.
    fn settle(&mut self) -> u64 {
        let (mut told, mut inputs) = (0, Vec::new());
        loop {
            while let Some(output) = self.executor.poll() {
                match output {
                    Output::Reply { result, .. } => {
                        assert!(result.is_ok(), "{result:?}");
                        told += 1;
                    }
                    Output::Read { op, records, due, .. } => {
                        let absent = |key| (key, Versioned::default());
                        let records = records.into_iter().map(absent).collect();
                        let due = due.into_iter().map(|due| (due, Vec::new())).collect();
                        inputs.push(Input::Read { op, result: Ok(ReadResult { records, due }) });
                    }
                    Output::Commit { op, .. } => {
                        let result = CommitResult::Committed { at: self.now };
                        inputs.push(Input::Committed { op, result });
                    }
                    Output::Wake { op, .. } => inputs.push(Input::Woke { op }),
                    Output::Resolve { .. } | Output::Drained => {}
                }
            }
            if inputs.is_empty() {
                return told;
            }
            for input in inputs.drain(..) {
                self.executor.handle(input, self.now);
            }
        }
    }
}

fn main() {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let all = ["hot", "many", "keys", "charges", "journal"].map(str::to_owned).to_vec();
    for name in if names.is_empty() { all } else { names } {
        let mut alone = Alone::new(&name);
        let quotas: u64 = if name == "many" || name == "journal" { 10_000 } else { 1 };
        let journaling = if name == "journal" { Journaling::FromStart } else { Journaling::Begun };
        let keys: Vec<Key> = (0..quotas)
            .map(|quota| Key::new(format!("quota-{quota}")).expect("a legal name"))
            .collect();
        for key in &keys {
            let limit = Limit::Finite(Units::new(1 << 50).expect("it is within the maximum"));
            let charges = if name == "charges" { Retention::default() } else { Retention::None };
            let quota = CreateQuota { charges, ..CreateQuota::of(key.clone(), limit) };
            alone.ask(Arc::new(quota), false, journaling);
            alone.settle();
        }
        let (begun, mut told, mut draw) = (Instant::now(), 0, 1_u64);
        for _ in 0..BATCHES {
            for _ in 0..BATCH {
                draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let place = usize::try_from((draw >> 33) % quotas).expect("below their number");
                let key = keys.get(place).expect("below their number").clone();
                let command = Arc::new(ConsumeQuota::of(key, Units::ONE));
                alone.ask(command, name == "keys" || name == "journal", journaling);
            }
            told += alone.settle();
        }
        assert_eq!(told, BATCH * BATCHES, "each was answered");
        let nanos = begun.elapsed().as_nanos() / u128::from(BATCH * BATCHES);
        println!("{name}: {nanos} ns for each decision");
    }
}
