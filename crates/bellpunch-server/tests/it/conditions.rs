//! What an alert waits for, provoked: the metric moves.

use std::sync::Arc;

use bellpunch::store::{
    Clock, Commit, CommitId, CommitResult, MemoryConfig, MemoryStore, Precondition, Write,
    WriteValue,
};
use bellpunch::{
    CallOptions, Command, Draft, EngineConfig, Kind, Partition, RecordId, RecordKey, Rejection,
    SystemClock, Timestamp,
};
use bellpunch_store::fault::{Fault, FaultStore};
use serde::Serialize;
use serde_json::json;

use crate::client::{Server, memory, quiet};

/// A server on a store that does wrong when it is told to.
async fn faulty(bounds: EngineConfig) -> (Server, Arc<FaultStore>) {
    let store = Arc::new(FaultStore::new(memory()));
    let mut config = quiet();
    config.http.timeout = "300ms".parse().unwrap();
    let server = Server::bounded(config, Arc::clone(&store) as _, bounds).await;
    let made = server.post("/v1/p/quotas", &json!({ "id": "q", "limit": 100 })).await;
    assert_eq!(made.status, 201);
    (server, store)
}

/// The value of a metric, as text.
async fn metric(server: &Server, line: &str) -> String {
    let text = String::from_utf8(server.get("/metrics").await.bytes).unwrap();
    let found = text.lines().find_map(|found| found.strip_prefix(&format!("bellpunch_{line} ")));
    found.unwrap_or_default().to_owned()
}

async fn until(server: &Server, line: &str, wanted: &str) {
    while metric(server, line).await != wanted {
        tokio::task::yield_now().await;
    }
}

async fn consume(server: &Server) -> u16 {
    server.post("/v1/p/quotas/q/consume", &json!({ "units": 1 })).await.status
}

#[tokio::test]
async fn conflicts_and_contention() {
    let bounds = EngineConfig { retries_max: 2, ..EngineConfig::default() };
    let (server, store) = faulty(bounds).await;
    store.conflict_next();
    assert_eq!(consume(&server).await, 200);
    let conflicts = "commits_total{backend=\"memory\",result=\"conflict\"}";
    assert_eq!(metric(&server, conflicts).await, "1");
    assert_eq!(metric(&server, "contended_total").await, "0");
    for _ in 0..9 {
        store.conflict_next();
    }
    assert_eq!(consume(&server).await, 503);
    assert_eq!(metric(&server, "contended_total").await, "1");
}

#[tokio::test]
async fn failed_and_unknown_commits() {
    let (server, store) = faulty(EngineConfig::default()).await;
    store.fail_next();
    assert_eq!(consume(&server).await, 503);
    let failed = "commits_total{backend=\"memory\",result=\"failed\"}";
    assert_eq!(metric(&server, failed).await, "1");
    // It may arrive as long as nothing else has: nobody can say.
    store.plan(Fault::Late);
    store.stall_next();
    assert_eq!(consume(&server).await, 504);
    assert_eq!(metric(&server, "unknown_open").await, "1");
    store.release();
    until(&server, "unknown_open", "0").await;
    assert_ne!(metric(&server, "unknown_resolved_total").await, "0");
}

#[tokio::test]
async fn full_queues() {
    let bounds = EngineConfig { queue_max: 1, ..EngineConfig::default() };
    let (server, store) = faulty(bounds).await;
    store.stall_next();
    let many = futures_util::future::join_all((0..8).map(|_| consume(&server)));
    let (statuses, ()) = tokio::join!(many, async {
        while metric(&server, "queue_full_total").await == "0" {
            tokio::task::yield_now().await;
        }
        store.release();
    });
    assert!(statuses.contains(&503), "{statuses:?}");
}

#[tokio::test]
async fn decisions_without_the_store() {
    let (server, store) = faulty(EngineConfig::default()).await;
    let terms = json!({
        "algorithm": "gcra", "rate": 9, "burst": 9, "period_ms": 3_600_000, "on_store_failure": "open",
    });
    let made = server.call("PUT", "/v1/p/policies/r", &terms).await;
    assert_eq!(made.status, 200, "{}", made.json());
    let taken = server.post("/v1/p/policies/r/consume", &json!({ "key": "k" })).await;
    assert_eq!(taken.status, 200);
    store.down();
    let open = server.post("/v1/p/policies/r/consume", &json!({ "key": "k" })).await;
    assert_eq!(open.json()["decided_by"], "open");
    assert_eq!(metric(&server, "storeless_decisions_total{mode=\"open\"}").await, "1");
}

/// A clock two hours ahead of everybody's.
#[derive(Debug)]
struct Ahead(SystemClock);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        let ahead = bellpunch::Duration::from_millis(7_200_000);
        self.0.now().plus(ahead).unwrap()
    }
}

#[tokio::test]
async fn clocks_that_differ() {
    let store = MemoryStore::new(Arc::new(Ahead(SystemClock::new())), MemoryConfig::default());
    let server = Server::with(quiet(), Arc::new(store)).await;
    server.post("/v1/p/quotas", &json!({ "id": "q", "limit": 100 })).await;
    let skew = metric(&server, "clock_skew_seconds").await;
    assert!(skew.starts_with("-7199.") || skew.starts_with("-7200."), "{skew}");
}

#[derive(Debug, Serialize)]
struct Broken;

impl Command for Broken {
    const NAME: &'static str = "test.broken";
    type Reply = ();
    type Rejection = Rejection;

    fn decide(&self, _: &mut Draft<'_>, _: Timestamp) -> Result<(), Rejection> {
        panic!("a rule with a bug");
    }
}

#[tokio::test]
async fn rules_that_panic() {
    let server = Server::start().await;
    let of = Partition::new("p").unwrap();
    assert!(server.engine.call(&of, Broken, CallOptions::default()).await.is_err());
    assert_eq!(metric(&server, "panics_total").await, "1");
}

#[tokio::test]
async fn audits_that_find_something() {
    let store = memory();
    let mut config = quiet();
    config.audit.period = "20ms".parse().unwrap();
    let server = Server::with(config, Arc::clone(&store)).await;
    server.post("/v1/p/quotas", &json!({ "id": "q", "limit": 100 })).await;
    consume(&server).await;
    let violations = "audit_violations{check=\"usage_matches_totals\"}";
    until(&server, violations, "0").await;
    assert_ne!(metric(&server, "audit_last_success_seconds").await, "0");
    // As a lost update would: behind the engine's back.
    let of = Partition::new("p").unwrap();
    let key = RecordKey { kind: Kind::named("quotas"), id: RecordId::stored("q") };
    let old = store.read(&of, std::slice::from_ref(&key)).await.unwrap().remove(0);
    let text = String::from_utf8(old.value.unwrap().to_vec()).unwrap();
    let changed = text.replace("\"used\":1", "\"used\":2");
    assert_ne!(changed, text);
    let commit = Commit {
        id: CommitId::new(7),
        partition: of,
        now: old.at,
        deadline: None,
        preconditions: vec![Precondition { key: key.clone(), version: old.version }],
        writes: vec![Write {
            key,
            version: old.version.plus(1),
            at: old.at,
            sweep_at: None,
            value: WriteValue::Put(changed.into_bytes().into()),
        }],
    };
    let results = store.commit(vec![Arc::new(commit)]).await;
    assert!(matches!(results[0], CommitResult::Committed { .. }), "{results:?}");
    until(&server, violations, "1").await;
}
