//! A policy that one node deletes while another counts under it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bellpunch::store::fault::FaultStore;
use bellpunch::store::{Clock, Kind, MemoryConfig, MemoryStore, Properties, Scan, Sharing, Store};
use bellpunch::{
    AnyCommand, AnyOutcome, CallOptions, DecidedBy, Engine, EngineConfig, Partition, RecordId,
    Timestamp, command, sweep,
};
use serde_json::{Value, json};

use crate::best_effort::Saying;

/// A clock that is set by hand, in hours.
#[derive(Debug, Default)]
struct Hours(AtomicU64);

impl Clock for Hours {
    fn now(&self) -> Timestamp {
        let hours = u128::from(self.0.load(Ordering::SeqCst));
        Timestamp::from_nanos(hours.saturating_mul(3_600_000_000_000)).expect("a time")
    }
}

/// Two nodes on one store, each with faults of its own.
struct World {
    clock: Arc<Hours>,
    stores: [Arc<FaultStore>; 2],
    nodes: [Engine; 2],
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(Hours::default());
        let memory = MemoryStore::new(Arc::clone(&clock) as _, MemoryConfig::default());
        let shared = |known| Properties { sharing: Sharing::Shared, ..known };
        let store: Arc<dyn Store> = Arc::new(Saying(memory, shared));
        let stores = [(); 2].map(|()| Arc::new(FaultStore::new(Arc::clone(&store))));
        let nodes = stores.each_ref().map(|store| {
            Engine::start(Arc::clone(store) as _, Arc::clone(&clock) as _, EngineConfig::default())
        });
        Self { clock, stores, nodes }
    }

    async fn counters(&self) -> Vec<RecordId> {
        let [store, _] = &self.stores;
        let scan = Scan::of(Kind::named("counters"), 10);
        let page = store.scan(&partition(), &scan).await.expect("a page");
        page.records.into_iter().map(|(key, _)| key.id).collect()
    }
}

fn partition() -> Partition {
    Partition::new("p").expect("a legal name")
}

/// What a node answers: `yes`, `again no` if it says so from memory, or the code.
async fn send(node: &Engine, name: &str, content: Value) -> &'static str {
    let read = command(name).expect("a command").parse;
    decided(node, read(content).unwrap_or_else(|error| panic!("{name}: {error}"))).await
}

async fn decided(node: &Engine, command: Arc<dyn AnyCommand>) -> &'static str {
    match node.send(&partition(), vec![command], CallOptions::default()).await {
        Ok(AnyOutcome::Accepted(_)) => "yes",
        Ok(AnyOutcome::Rejected(refusal)) if refusal.decided_by == DecidedBy::Cache => "again no",
        Ok(AnyOutcome::Rejected(refusal)) => refusal.rejection.code,
        Err(error) => panic!("{error}"),
    }
}

fn policy() -> Value {
    json!({ "id": "r", "algorithm": "sliding_log", "limit": 1, "period_ns": 3_600_000_000_000_u64 })
}

fn consume() -> Value {
    json!({ "id": "r", "key": "k" })
}

/// Begins a command on a node whose commit stays at the store's door.
async fn held(
    (store, node): (&FaultStore, &Engine),
    (name, content): (&'static str, Value),
) -> tokio::task::JoinHandle<&'static str> {
    store.stall_next();
    let engine = node.clone();
    let held = tokio::spawn(async move { send(&engine, name, content).await });
    while 0 < store.planned() {
        tokio::task::yield_now().await;
    }
    held
}

#[tokio::test]
async fn a_use_that_was_decided_before_its_policy_was_deleted_does_not_come_after() {
    let world = World::new();
    let (stores, [first, second]) = (&world.stores, &world.nodes);
    assert_eq!(send(second, "policies.set", policy()).await, "yes");
    let used = held((&stores[1], second), ("policies.consume", consume())).await;
    assert_eq!(send(first, "policies.delete", json!({ "id": "r" })).await, "yes");
    stores[1].release();
    assert_eq!(used.await.unwrap(), "policy_not_found");
    assert_eq!(world.counters().await, []);
}

#[tokio::test]
async fn a_counter_made_while_its_policy_is_deleted_never_counts_and_is_swept() {
    let world = World::new();
    let (stores, [first, second]) = (&world.stores, &world.nodes);
    assert_eq!(send(second, "policies.set", policy()).await, "yes");
    // The first node has seen that nothing is counted, and its commit is on its way.
    let deleted = held((&stores[0], first), ("policies.delete", json!({ "id": "r" }))).await;
    assert_eq!(send(second, "policies.consume", consume()).await, "yes");
    stores[0].release();
    assert_eq!(deleted.await.unwrap(), "yes");
    assert_eq!(send(second, "policies.consume", consume()).await, "policy_not_found");
    let left = world.counters().await;
    assert_eq!(left.len(), 1, "a counter that no policy is behind");

    // It is of another epoch than the policy that comes: it counts for nothing.
    assert_eq!(send(first, "policies.set", policy()).await, "yes");
    assert_eq!(send(second, "policies.consume", consume()).await, "yes");
    assert_eq!(send(second, "policies.consume", consume()).await, "rate_limited");
    assert_eq!(send(first, "policies.delete", json!({ "id": "r" })).await, "policy_in_use");

    // And once its window is over it goes, with or without a policy.
    world.clock.0.store(2, Ordering::SeqCst);
    assert_eq!(send(first, "policies.delete", json!({ "id": "r" })).await, "yes");
    assert_eq!(decided(first, sweep("counters", left).unwrap()).await, "yes");
    assert_eq!(world.counters().await, []);
}

#[tokio::test]
async fn a_policy_that_bounds_its_keys_is_not_deleted_past_a_new_one() {
    let world = World::new();
    let (stores, [first, second]) = (&world.stores, &world.nodes);
    let bounded = json!({ "id": "r", "algorithm": "sliding_log", "limit": 1, "max_keys": 1,
                          "period_ns": 3_600_000_000_000_u64 });
    assert_eq!(send(second, "policies.set", bounded).await, "yes");
    let deleted = held((&stores[0], first), ("policies.delete", json!({ "id": "r" }))).await;
    assert_eq!(send(second, "policies.consume", consume()).await, "yes");
    stores[0].release();
    assert_eq!(deleted.await.unwrap(), "policy_in_use", "the count of its keys had changed");
}

#[tokio::test]
async fn a_refusal_is_told_from_memory_where_its_policy_allows_it_until_the_node_knows_better() {
    let world = World::new();
    let [first, second] = &world.nodes;
    let mut terms = policy();
    terms["stale_denials_ns"] = 60_000_000_000_u64.into();
    assert_eq!(send(first, "policies.set", terms).await, "yes");
    assert_eq!(send(first, "policies.consume", consume()).await, "yes");
    let items = json!({ "items": [{ "policy": "r", "key": "k" }] });
    let beside = json!({ "items": [{ "policy": "r", "key": "k" }, { "quota": "q" }] });
    assert_eq!(send(first, "quotas.create", json!({ "id": "q", "limit": 9 })).await, "yes");
    for node in [first, second] {
        assert_eq!(send(node, "policies.consume", consume()).await, "rate_limited", "confirmed");
        assert_eq!(send(node, "policies.consume", consume()).await, "again no");
        assert_eq!(send(node, "checks.consume", items.clone()).await, "again no");
        let strict = send(node, "checks.consume", beside.clone()).await;
        assert_eq!(strict, "rate_limited", "a list is as strict as its strictest item");
    }
    // The one who gives it back knows it at once; the other may say no until the minute is over.
    let back = json!({ "id": "r", "key": "k" });
    assert_eq!(send(second, "policies.reset", back).await, "yes");
    assert_eq!(send(first, "policies.consume", consume()).await, "again no");
    assert_eq!(send(second, "policies.consume", consume()).await, "yes");
    assert_eq!(send(second, "policies.consume", consume()).await, "rate_limited");
    assert_eq!(send(second, "policies.consume", consume()).await, "again no");
    world.clock.0.store(2, Ordering::SeqCst);
    assert_eq!(send(first, "policies.consume", consume()).await, "yes", "the window is over");
}

#[tokio::test]
async fn nothing_is_refused_from_memory_by_terms_that_came_after() {
    let world = World::new();
    let [first, second] = &world.nodes;
    let terms = |limit: u64| {
        let mut terms = policy();
        terms["limit"] = limit.into();
        terms["stale_denials_ns"] = 60_000_000_000_u64.into();
        terms
    };
    let uses = |key: &str, units: u64| json!({ "id": "r", "key": key, "units": units });
    assert_eq!(send(first, "policies.set", terms(10)).await, "yes");
    assert_eq!(send(first, "policies.consume", uses("k", 4)).await, "yes");
    assert_eq!(send(first, "policies.consume", uses("k", 7)).await, "rate_limited");
    assert_eq!(send(second, "policies.reset", json!({ "id": "r", "key": "k" })).await, "yes");
    assert_eq!(send(first, "policies.set", terms(5)).await, "yes");
    assert_eq!(send(first, "policies.consume", uses("l", 5)).await, "yes");
    assert_eq!(send(first, "policies.consume", uses("l", 1)).await, "rate_limited");
    // 4 and 3 were never too many: not before the terms changed, and not since it was given back.
    assert_eq!(send(first, "policies.consume", uses("k", 3)).await, "yes");
}

#[tokio::test]
async fn a_use_with_a_name_is_not_refused_from_memory() {
    let world = World::new();
    let [first, second] = &world.nodes;
    let mut terms = policy();
    terms["charges"] = true.into();
    terms["stale_denials_ns"] = 60_000_000_000_u64.into();
    assert_eq!(send(first, "policies.set", terms).await, "yes");
    assert_eq!(send(first, "policies.consume", consume()).await, "yes");
    let named = json!({ "id": "r", "key": "k", "charge": "c" });
    let items = json!({ "items": [{ "policy": "r", "key": "k" }], "id": "c" });
    for use_of in [("policies.consume", named), ("checks.consume", items)] {
        let (name, content) = use_of;
        assert_eq!(send(first, name, content.clone()).await, "rate_limited");
        assert_eq!(send(first, name, content).await, "rate_limited");
    }
    let named = json!({ "id": "r", "key": "k", "charge": "c" });
    assert_eq!(send(second, "policies.reset", json!({ "id": "r", "key": "k" })).await, "yes");
    assert_eq!(send(second, "policies.consume", named.clone()).await, "yes");
    assert_eq!(send(first, "policies.consume", named).await, "charge_exists");
}
