//! Two nodes share a store, and one's clock is an hour behind: a sweep of the other gives it nothing.
#![expect(clippy::unwrap_used, reason = "tests stop at the unexpected")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bellpunch::store::{Clock, MemoryConfig, MemoryStore, Scan, Store};
use bellpunch::{
    AnyCommand, AnyOutcome, CallOptions, Duration, Engine, EngineConfig, IdempotencyKey, Kind,
    Partition, Timestamp, command, sweep,
};
use serde_json::{Value, json};

const SECOND: u64 = 1_000_000_000;
const HOUR: u64 = 3_600 * SECOND;
/// The start of a window.
const START: u64 = 500_000 * HOUR;
const LIMIT: u64 = 5;

/// A clock that is set by hand.
#[derive(Debug)]
pub(crate) struct SetClock(pub(crate) AtomicU64);

impl SetClock {
    pub(crate) fn new(now: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(now)))
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        time(self.0.load(Ordering::SeqCst))
    }
}

fn time(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos.into()).unwrap()
}

/// The node whose clock is right, which is also the store's, and the one that is behind.
struct Nodes {
    right: Engine,
    behind: Engine,
    clock: Arc<SetClock>,
    store: Arc<dyn Store>,
    partition: Partition,
}

impl Nodes {
    fn start() -> Self {
        let clock = SetClock::new(START);
        let store = MemoryStore::shared(Arc::clone(&clock) as _, MemoryConfig::default());
        let store: Arc<dyn Store> = Arc::new(store);
        let config = EngineConfig {
            keep_outcomes: Duration::from_millis(60_000),
            sweep_every: std::time::Duration::from_secs(86_400),
            ..EngineConfig::default()
        };
        let start = |clock| Engine::start(Arc::clone(&store), clock, config.clone());
        let right = start(Arc::clone(&clock) as Arc<dyn Clock>);
        // It stands there, and the other one will be an hour further.
        let behind = start(SetClock::new(START));
        let partition = Partition::new("p").unwrap();
        Self { right, behind, clock, store, partition }
    }

    async fn send(&self, node: &Engine, command: Arc<dyn AnyCommand>, key: &str) -> AnyOutcome {
        let key = (!key.is_empty()).then(|| IdempotencyKey::new(key).unwrap());
        let options = CallOptions { key, ..CallOptions::default() };
        node.send(&self.partition, vec![command], options).await.unwrap()
    }

    /// Takes a unit; when it was decided, if it was given one.
    async fn take(&self, node: &Engine, key: &str) -> Option<Timestamp> {
        let consume = read("policies.consume", json!({ "id": "window", "key": "k" }));
        match self.send(node, consume, key).await {
            AnyOutcome::Accepted(receipt) if !receipt.replayed => Some(receipt.at),
            AnyOutcome::Accepted(_) | AnyOutcome::Rejected(_) => None,
        }
    }

    /// Removes what is idle, as the sweeper of the node whose clock is right; so many kinds.
    async fn sweep(&self) -> usize {
        let scan =
            Scan { kind: None, due_by: Some(self.clock.now()), ..Scan::of(Kind::named(""), 9) };
        let found = self.store.scan(&self.partition, &scan).await.unwrap().records;
        let swept = found.len();
        for (key, _) in found {
            let command = sweep(key.kind.name(), vec![key.id]).unwrap();
            let outcome = self.send(&self.right, command, "").await;
            assert!(matches!(outcome, AnyOutcome::Accepted(_)), "{outcome:?}");
        }
        swept
    }
}

fn read(name: &str, content: Value) -> Arc<dyn AnyCommand> {
    (command(name).unwrap().parse)(content).unwrap()
}

#[tokio::test]
async fn no_unit_of_a_window_that_is_over_is_given_again() {
    let nodes = Nodes::start();
    let window = json!({
        "id": "window", "algorithm": "fixed_window", "align": "epoch", "limit": LIMIT,
        "period_ns": 60 * SECOND,
    });
    nodes.send(&nodes.right, read("policies.set", window), "").await;
    let mut given = Vec::new();
    for _ in 0..=LIMIT {
        given.extend(nodes.take(&nodes.right, "").await);
    }
    assert_eq!(given, vec![time(START); 5], "the window is used up");
    // The other knows the policy, and the counter as it is.
    assert_eq!(nodes.take(&nodes.behind, "").await, None);

    nodes.clock.0.store(START + HOUR, Ordering::SeqCst);
    assert_eq!(nodes.sweep().await, 1, "the idle counter");
    for _ in 0..=LIMIT {
        given.extend(nodes.take(&nodes.behind, "").await);
    }
    // By its clock the node is in the old window; what it gives is of the one of the sweep.
    let old = given.iter().filter(|at| **at < time(START + 60 * SECOND)).count();
    assert_eq!(old, 5, "units were given again: {given:?}");
    assert_eq!(given[5..], [time(START + HOUR); 5]);
}

#[tokio::test]
async fn no_key_has_a_second_effect_within_its_retention() {
    let nodes = Nodes::start();
    let window = json!({
        "id": "window", "algorithm": "fixed_window", "align": "epoch", "limit": LIMIT,
        "period_ns": 60 * SECOND,
    });
    nodes.send(&nodes.right, read("policies.set", window), "").await;
    assert_eq!(nodes.take(&nodes.right, "once").await, Some(time(START)));
    assert_eq!(nodes.take(&nodes.behind, "once").await, None, "replayed");
    nodes.clock.0.store(START + HOUR, Ordering::SeqCst);
    assert_eq!(nodes.sweep().await, 2, "the idle counter, and the outcome");
    // It is kept for a minute, and by the clock of this node no time has passed.
    let again = nodes.take(&nodes.behind, "once").await;
    assert_eq!(again, Some(time(START + HOUR)), "decided when the retention is over");
    assert_eq!(nodes.take(&nodes.behind, "once").await, None, "replayed");
}
