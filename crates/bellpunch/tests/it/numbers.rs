//! M52: a thousand documents of one series, ten at once, and of each ten one commit fails, is in
//! conflict, loses its reply, is lost, comes late, or is under way when the node ends. Whoever is not
//! answered asks again with its key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bellpunch::audit::{Stored, audit};
use bellpunch::script::START;
use bellpunch::store::fault::{Fault, FaultStore};
use bellpunch::store::{Clock, FailureKind, MemoryConfig, MemoryStore, Scan, Store};
use bellpunch::{
    AnyOutcome, CallOptions, Duration, Engine, EngineConfig, Error, IdempotencyKey, Kind,
    Partition, Timestamp, command,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const WAVES: u64 = 100;
const AT_ONCE: u64 = 10;
/// An answer comes at the latest when nothing fails any more.
const ATTEMPTS_MAX: u64 = 8;

/// A clock that stands.
#[derive(Debug)]
struct Standing;

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        START
    }
}

/// A node, and what is between it and the store.
struct Node {
    engine: Engine,
    faults: Arc<FaultStore>,
    runtime: Runtime,
}

impl Node {
    fn start(store: &Arc<dyn Store>) -> Self {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        // The store answers at once, so timers are all that is ever waited for.
        let runtime = runtime.enable_all().start_paused(true).build();
        let runtime = runtime.expect("the operating system has room for a runtime");
        let faults = Arc::new(FaultStore::new(Arc::clone(store)));
        let config = EngineConfig {
            shards: 1,
            clock_skew_max: Duration::from_nanos(1),
            accept_risk: store.properties().risk,
            ..EngineConfig::default()
        };
        let engine = {
            let _context = runtime.enter();
            Engine::start(Arc::clone(&faults) as _, Arc::new(Standing), config)
        };
        Self { engine, faults, runtime }
    }

    fn send(
        &self,
        key: &str,
        (name, content): (&str, Value),
    ) -> impl Future<Output = Result<AnyOutcome, Error>> + Send + 'static {
        let parse = command(name).expect("a command").parse;
        let command = parse(content).unwrap_or_else(|error| panic!("{name}: {error}"));
        let key = IdempotencyKey::new(key).expect("a legal key");
        let options = CallOptions { key: Some(key), ..CallOptions::default() };
        let engine = self.engine.clone();
        async move { engine.send(&firm(), vec![command], options).await }
    }

    /// Begins ten documents at once.
    fn begin(&self, wave: u64) -> JoinSet<(u64, Result<AnyOutcome, Error>)> {
        let mut calls = JoinSet::new();
        for number in 0..AT_ONCE {
            let call = self.send(&key(wave, number), payment(wave, number));
            calls.spawn_on(async move { (number, call.await) }, self.runtime.handle());
        }
        calls
    }

    /// Sends one until it is answered; gives its number.
    fn insist(&self, wave: u64, number: u64, first: Option<Result<AnyOutcome, Error>>) -> String {
        let mut outcome = first;
        for _ in 0..ATTEMPTS_MAX {
            if let Some(Ok(AnyOutcome::Accepted(mut receipt))) = outcome {
                let reply = receipt.replies.pop().expect("one command has one reply").to_json();
                let number = reply.pointer("/payment/number").and_then(Value::as_str);
                return number.expect("a payment has a number").to_owned();
            }
            let call = self.send(&key(wave, number), payment(wave, number));
            outcome = Some(self.runtime.block_on(call));
        }
        panic!("payment {wave}-{number} was never accepted: {outcome:?}");
    }
}

fn firm() -> Partition {
    Partition::new("firm").expect("a legal name")
}

fn key(wave: u64, number: u64) -> String {
    format!("p{wave}-{number}")
}

fn payment(wave: u64, number: u64) -> (&'static str, Value) {
    let amount = json!({ "amount": 1, "currency": "SAR" });
    let id = key(wave, number);
    ("payments.create", json!({ "id": id, "client": "c", "amount": amount, "method": "card" }))
}

#[test]
fn m52_the_accepted_are_numbered_from_1_on_whatever_becomes_of_commits() {
    let store = MemoryStore::new(Arc::new(Standing), MemoryConfig::default());
    let store: Arc<dyn Store> = Arc::new(store);
    let mut node = Node::start(&store);
    let client = json!({ "id": "c", "scope": "firm", "name": "one" });
    let made = node.send("client", ("clients.create", client));
    let made = node.runtime.block_on(made);
    assert!(matches!(made, Ok(AnyOutcome::Accepted(_))), "{made:?}");

    let (mut numbers, mut ends) = (BTreeSet::new(), 0_u64);
    for wave in 0..WAVES {
        let (fault, is_end) = match wave % 8 {
            0 => (Fault::Fail(FailureKind::Unavailable), false),
            1 => (Fault::Conflict, false),
            2 => (Fault::LoseReply, false),
            3 => (Fault::LoseCommit, false),
            4 => (Fault::Late, false),
            5 => (Fault::Stall, true),
            6 => (Fault::LoseReply, true),
            _ => (Fault::Late, true),
        };
        node.faults.plan(fault);
        let calls = node.begin(wave);
        let mut answers = BTreeMap::new();
        let faults = Arc::clone(&node.faults);
        if is_end {
            // The node ends as soon as the commit is with the store, with all that it knew.
            while 0 < faults.planned() {
                node.runtime.block_on(tokio::task::yield_now());
            }
            node = Node::start(&store);
            ends = ends.saturating_add(1);
        } else {
            answers.extend(node.runtime.block_on(calls.join_all()));
        }
        for number in 0..AT_ONCE {
            let told = node.insist(wave, number, answers.remove(&number));
            assert!(numbers.insert(told.clone()), "{told} was given twice");
        }
        assert_eq!(faults.planned(), 0, "what was planned has happened");
        // What was given up comes now, and finds that others were there.
        let _ = node.runtime.block_on(faults.land());
    }
    assert!(0 < ends);
    let expected: BTreeSet<String> =
        (1..=WAVES.saturating_mul(AT_ONCE)).map(|value| format!("PAY-2026-{value:04}")).collect();
    assert!(numbers == expected, "{:?}", numbers.symmetric_difference(&expected));
    let all = node.runtime.block_on(stored(&*store));
    assert_eq!(all.iter().filter(|one| one.key.kind.name() == "payments").count(), expected.len());
    assert_eq!(audit(all, START), []);
}

async fn stored(store: &dyn Store) -> Vec<Stored> {
    let mut scan = Scan { kind: None, ..Scan::of(Kind::named(""), 1_000) };
    let mut all = Vec::new();
    loop {
        let page = store.scan(&firm(), &scan).await.expect("nothing fails");
        for (key, versioned) in page.records {
            let bytes = versioned.value.expect("tombstones are not shown");
            all.push(Stored::decode(key, versioned.version, &bytes).expect("it is a record"));
        }
        if page.resume.is_none() {
            return all;
        }
        scan.after = page.resume;
    }
}
