//! The engine on the memory store, with real threads.

#![expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]

use std::sync::Arc;

use bellpunch_core::{
    Category, Command, Draft, IdempotencyKey, Key, Kind, Partition, Record, RecordId, Rejection,
    Timestamp,
};
use bellpunch_store::{
    BoxFuture, Commit, CommitId, CommitResult, Failure, MemoryConfig, MemoryStore, Page,
    PartitionPage, Properties, RecordKey, Resolution, Scan, Store, Versioned,
};
use serde::{Deserialize, Serialize};

use crate::{CallOptions, Engine, EngineConfig, ErrorKind, Outcome, SystemClock};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Counter {
    used: u64,
}

impl Record for Counter {
    const KIND: Kind = Kind::new("counters");
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Take {
    id: Key,
    limit: u64,
}

impl Command for Take {
    const NAME: &'static str = "test.take";
    type Reply = u64;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, _: Timestamp) -> Result<u64, Rejection> {
        assert_ne!(self.id.as_str(), "panic", "a rule with a bug");
        let id = RecordId::from(&self.id);
        let used = draft.get::<Counter>(&id).map_or(0, |counter| counter.used);
        if self.limit <= used {
            let data = serde_json::Map::new();
            return Err(Rejection { code: "exceeded", category: Category::Limit, data });
        }
        draft.put(&id, Counter { used: used + 1 });
        Ok(used + 1)
    }
}

fn engine(config: EngineConfig) -> Engine {
    let clock = Arc::new(SystemClock::new());
    let store = MemoryStore::new(Arc::clone(&clock) as _, MemoryConfig::default());
    Engine::start(Arc::new(store), clock, config)
}

fn take(id: &str, limit: u64) -> Take {
    Take { id: Key::new(id).unwrap(), limit }
}

fn acme() -> Partition {
    Partition::new("acme").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn exactly_the_limit_succeeds_whatever_arrives_at_once() {
    let engine = engine(EngineConfig::default());
    let callers: Vec<_> = (0..64)
        .map(|_| {
            let engine = engine.clone();
            tokio::spawn(async move {
                let mut versions = Vec::new();
                for _ in 0..100 {
                    let options = CallOptions::default();
                    if let Outcome::Accepted(receipt) =
                        engine.call(&acme(), take("c", 640), options).await.unwrap()
                    {
                        assert_eq!(receipt.versions["counters/c"].get(), receipt.reply);
                        versions.push(receipt.reply);
                    }
                }
                versions
            })
        })
        .collect();
    let mut versions = Vec::new();
    for caller in callers {
        versions.extend(caller.await.unwrap());
    }
    versions.sort_unstable();
    assert_eq!(versions, (1..=640).collect::<Vec<_>>(), "no gap and no repeat");
    let stats = engine.stats();
    assert_eq!(stats.queued, 0);
    assert!(stats.commits[0] <= 640);
}

#[tokio::test]
async fn a_key_names_one_effect_also_in_another_partition_none_of_its() {
    let engine = engine(EngineConfig { shards: 3, ..EngineConfig::default() });
    let options =
        || CallOptions { key: Some(IdempotencyKey::new("k").unwrap()), ..CallOptions::default() };
    for replayed in [false, true] {
        let outcome = engine.call(&acme(), take("c", 5), options()).await.unwrap();
        let Outcome::Accepted(receipt) = outcome else { panic!("{outcome:?}") };
        assert_eq!((receipt.reply, receipt.replayed), (1, replayed));
    }
    let other = Partition::new("other").unwrap();
    let outcome = engine.call(&other, take("c", 5), options()).await.unwrap();
    assert!(matches!(outcome, Outcome::Accepted(receipt) if !receipt.replayed));
    let outcome = engine.call(&acme(), take("c", 6), options()).await.unwrap();
    assert!(
        matches!(outcome, Outcome::Rejected(no) if no.rejection.code == "idempotency_key_reused")
    );
}

#[tokio::test]
async fn a_rule_that_panics_harms_nobody_else() {
    let engine = engine(EngineConfig { shards: 1, ..EngineConfig::default() });
    let error = engine.call(&acme(), take("panic", 5), CallOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    let outcome = engine.call(&acme(), take("c", 5), CallOptions::default()).await.unwrap();
    assert!(matches!(outcome, Outcome::Accepted(_)));
    assert_eq!(engine.stats().panics, 1);
}

#[tokio::test]
async fn a_drained_engine_refuses_and_says_so() {
    let engine = engine(EngineConfig::default());
    engine.call(&acme(), take("c", 5), CallOptions::default()).await.unwrap();
    engine.drain().await;
    assert_eq!(engine.ready().await.unwrap_err().kind(), ErrorKind::Draining);
    let error = engine.call(&acme(), take("c", 5), CallOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Draining);
}

/// A store with a bug: it answers no commit, which ends the shard that asked.
#[derive(Debug)]
struct Mute(MemoryStore);

#[deny(clippy::missing_trait_methods)]
impl Store for Mute {
    fn properties(&self) -> Properties {
        self.0.properties()
    }

    fn read<'a>(
        &'a self,
        partition: &'a Partition,
        keys: &'a [RecordKey],
    ) -> BoxFuture<'a, Result<Vec<Versioned>, Failure>> {
        self.0.read(partition, keys)
    }

    fn commit(&self, _: Vec<Arc<Commit>>) -> BoxFuture<'_, Vec<CommitResult>> {
        Box::pin(async { Vec::new() })
    }

    fn scan<'a>(
        &'a self,
        partition: &'a Partition,
        scan: &'a Scan,
    ) -> BoxFuture<'a, Result<Page, Failure>> {
        self.0.scan(partition, scan)
    }

    fn resolve<'a>(
        &'a self,
        partition: &'a Partition,
        id: CommitId,
    ) -> BoxFuture<'a, Result<Resolution, Failure>> {
        self.0.resolve(partition, id)
    }

    fn partitions<'a>(
        &'a self,
        after: Option<&'a Partition>,
        limit: usize,
    ) -> BoxFuture<'a, Result<PartitionPage, Failure>> {
        self.0.partitions(after, limit)
    }
}

#[tokio::test]
async fn an_engine_whose_shard_has_ended_is_not_ready() {
    let clock = Arc::new(SystemClock::new());
    let store = Mute(MemoryStore::new(Arc::clone(&clock) as _, MemoryConfig::default()));
    let engine = Engine::start(Arc::new(store), clock, EngineConfig::default());
    assert!(engine.ready().await.is_ok());
    let error = engine.call(&acme(), take("c", 5), CallOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unknown, "it may have been committed");
    assert_eq!(engine.ready().await.unwrap_err().kind(), ErrorKind::Draining);
}

#[tokio::test]
async fn a_dry_run_reserves_nothing() {
    let engine = engine(EngineConfig::default());
    for _ in 0..3 {
        let options = CallOptions { dry_run: true, ..CallOptions::default() };
        let outcome = engine.call(&acme(), take("c", 1), options).await.unwrap();
        let Outcome::Accepted(receipt) = outcome else { panic!("{outcome:?}") };
        assert_eq!(receipt.reply, 1);
        assert!(receipt.versions.is_empty());
        assert_eq!(receipt.as_of["counters/c"].get(), 0);
    }
}

#[tokio::test]
async fn a_refusal_names_what_the_rule_read_and_not_its_key() {
    let engine = engine(EngineConfig::default());
    let options =
        CallOptions { key: Some(IdempotencyKey::new("k").unwrap()), ..CallOptions::default() };
    let outcome = engine.call(&acme(), take("c", 0), options).await.unwrap();
    let Outcome::Rejected(refusal) = outcome else { panic!("{outcome:?}") };
    assert_eq!(refusal.as_of.keys().collect::<Vec<_>>(), ["counters/c"]);
}
