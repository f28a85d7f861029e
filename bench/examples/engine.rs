//! What the executor alone spends on a decision: no store, no threads, no callers that wait.
//!
//! Each commit is answered at once, so what is left is deciding, building commits and settling them.
//! For a profile: `perf record -g target/bench/release/examples/engine many`.
#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock and the arguments")]

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use bellpunch::executor::{Executor, Input, Output, ReadResult};
use bellpunch::limits::{ConsumeQuota, CreateQuota, Retention};
use bellpunch::money::accounts::CreateTransfer;
use bellpunch::store::{Clock, CommitResult, MemoryConfig, MemoryStore, Store, Versioned};
use bellpunch::{
    AnyCommand, AnyOutcome, Duration, EngineConfig, IdempotencyKey, Journaling, Key, Limit,
    Partition, Request, Timestamp, Units, command, fingerprint,
};

/// That of the binary `bellpunch`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Commands in a batch.
const BATCH: u64 = 64;
/// Commands of a measurement.
const COMMANDS: u64 = 256_000;

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

    fn ask(&mut self, commands: Vec<Arc<dyn AnyCommand>>, keys: Keys, journaling: Journaling) {
        self.caller += 1;
        let key = (keys == Keys::Each).then(|| {
            let name = format!("{:016x}", self.caller.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let key = IdempotencyKey::new(name).expect("a legal key");
            (key, fingerprint(&self.partition, &commands))
        });
        let entropy = (0..commands.len()).map(|_| u128::from(self.caller) << 64).collect();
        let request = Box::new(Request {
            commands,
            entropy,
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
                        // Also that nothing was forgotten: this store keeps nothing.
                        let taken = matches!(result, Ok(AnyOutcome::Accepted(_)));
                        assert!(taken, "{result:?}");
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

/// What is measured.
#[derive(Clone, Copy)]
struct World {
    name: &'static str,
    quotas: u64,
    charges: Retention,
    keys: Keys,
    journaling: Journaling,
    /// Commands of a request, and requests of a batch.
    list: u64,
    batch: u64,
}

/// Whether each request brings an idempotency key.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Keys {
    None,
    Each,
}

const HOT: World = World {
    name: "hot",
    quotas: 1,
    charges: Retention::None,
    keys: Keys::None,
    journaling: Journaling::Begun,
    list: 1,
    batch: BATCH,
};
const WORLDS: [World; 6] = [
    HOT,
    World { name: "many", quotas: 10_000, ..HOT },
    World { name: "keys", keys: Keys::Each, ..HOT },
    World { name: "charges", charges: Retention::ForEver, ..HOT },
    World {
        name: "journal",
        quotas: 10_000,
        keys: Keys::Each,
        journaling: Journaling::FromStart,
        ..HOT
    },
    World {
        name: "lists",
        quotas: 10_000,
        charges: Retention::ForEver,
        keys: Keys::Each,
        journaling: Journaling::FromStart,
        list: 1_000,
        batch: 1,
    },
];

impl World {
    fn measure(self) {
        let mut alone = Alone::new(self.name);
        let named = |quota| Key::new(format!("quota-{quota}")).expect("a legal name");
        let keys: Vec<Key> = (0..self.quotas).map(named).collect();
        for key in &keys {
            let limit = Limit::Finite(Units::new(1 << 50).expect("it is within the maximum"));
            let quota =
                CreateQuota { charges: self.charges, ..CreateQuota::of(key.clone(), limit) };
            alone.ask(vec![Arc::new(quota)], Keys::None, self.journaling);
            alone.settle();
        }
        let batches = COMMANDS / self.list / self.batch;
        let (begun, mut told, mut draw) = (Instant::now(), 0, 1_u64);
        for _ in 0..batches {
            for _ in 0..self.batch {
                let commands = (0..self.list).map(|_| {
                    draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let place = (draw >> 33) % self.quotas;
                    let key = keys.get(usize::try_from(place).expect("it is a place"));
                    let key = key.expect("below their number").clone();
                    Arc::new(ConsumeQuota::of(key, Units::ONE)) as Arc<dyn AnyCommand>
                });
                alone.ask(commands.collect(), self.keys, self.journaling);
            }
            told += alone.settle();
        }
        assert_eq!(told, batches * self.batch, "each was answered");
        let commands = told * self.list;
        let nanos = begun.elapsed().as_nanos() / u128::from(commands);
        println!("{}: {nanos} ns for each command", self.name);
    }
}

/// Transfers between accounts, each with a key and an entry of the journal.
fn measure_transfers(accounts: u64) {
    let mut alone = Alone::new("transfers");
    let parse = |name: &str, content: serde_json::Value| {
        (command(name).expect("it is in the table").parse)(content).expect("it is well formed")
    };
    let sum = |amount: u64| json!({ "amount": amount, "currency": "SAR" });
    let bank = json!({ "id": "bank", "owner": "b", "currency": "SAR", "class": "external" });
    alone.ask(vec![parse("accounts.create", bank)], Keys::None, Journaling::FromStart);
    for account in 0..accounts {
        let id = format!("a{account}");
        let create = json!({ "id": id, "owner": id, "currency": "SAR" });
        let credit = json!({ "id": id, "amount": sum(1_000_000_000), "from": "bank" });
        let both = vec![parse("accounts.create", create), parse("accounts.credit", credit)];
        alone.ask(both, Keys::None, Journaling::FromStart);
        alone.settle();
    }
    let batches = COMMANDS / 4 / BATCH;
    let (begun, mut told, mut draw) = (Instant::now(), 0, 1_u64);
    for _ in 0..batches {
        for _ in 0..BATCH {
            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let from = (draw >> 33) % accounts;
            let to = (from + 1) % accounts;
            let line = |account: u64, side: &str| json!({ "account": format!("a{account}"), "side": side, "amount": sum(1) });
            let content = json!({ "lines": [line(from, "debit"), line(to, "credit")] });
            let transfer: CreateTransfer = serde_json::from_value(content).expect("well formed");
            alone.ask(vec![Arc::new(transfer)], Keys::Each, Journaling::FromStart);
        }
        told += alone.settle();
    }
    assert_eq!(told, batches * BATCH, "each was answered");
    let nanos = begun.elapsed().as_nanos() / u128::from(told);
    println!("transfers between {accounts}: {nanos} ns for each, parsing its JSON included");
}

fn main() {
    let names: Vec<String> = std::env::args().skip(1).collect();
    for accounts in [2, 10_000] {
        if names.is_empty() || names.iter().any(|name| name == "transfers") {
            measure_transfers(accounts);
        }
    }
    for world in WORLDS {
        if names.is_empty() || names.iter().any(|name| name == world.name) {
            world.measure();
        }
    }
}
