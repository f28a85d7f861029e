//! A store that goes down, loses replies, and comes back.

use std::sync::Arc;

use bellpunch::store::fault::{Fault, FaultStore};
use bellpunch::store::{MemoryConfig, MemoryStore};
use bellpunch::{
    AnyOutcome, CallOptions, DecidedBy, Engine, EngineConfig, Error, ErrorKind, Partition,
    SystemClock, command,
};
use serde_json::{Value, json};

struct World {
    store: Arc<FaultStore>,
    engine: Engine,
}

const OPEN: &str = "open";
const LOCAL: &str = "local";
const CLOSED: &str = "closed";

impl World {
    /// One policy of each kind and a quota, all known to the node.
    async fn new() -> Self {
        let clock = Arc::new(SystemClock::new());
        let memory = MemoryStore::new(Arc::clone(&clock) as _, MemoryConfig::default());
        let store = Arc::new(FaultStore::new(Arc::new(memory)));
        // What is decided without the store has no place in the journal.
        let journal = [Partition::new("p").expect("a legal name")].into();
        let config = EngineConfig { journal, ..EngineConfig::default() };
        let engine = Engine::start(Arc::clone(&store) as _, clock, config);
        let world = Self { store, engine };
        for id in [OPEN, LOCAL, CLOSED] {
            let mut policy = json!({ "id": id, "algorithm": "sliding_log", "limit": 100,
                "period_ns": 3_600_000_000_000_u64, "on_store_failure": id });
            if let Some(policy) = policy.as_object_mut().filter(|_| id == LOCAL) {
                policy.insert("local_limit".to_owned(), 2.into());
            }
            accepted(world.send("policies.set", policy).await, DecidedBy::Store);
            accepted(world.consume(id).await, DecidedBy::Store);
        }
        let quota = json!({ "id": "q", "limit": 5 });
        accepted(world.send("quotas.create", quota).await, DecidedBy::Store);
        world
    }

    async fn send(&self, name: &str, content: Value) -> Result<AnyOutcome, Error> {
        let read = command(name).expect("a command").parse;
        let command = read(content).unwrap_or_else(|error| panic!("{name}: {error}"));
        let partition = Partition::new("p").expect("a legal name");
        self.engine.send(&partition, vec![command], CallOptions::default()).await
    }

    async fn consume(&self, policy: &str) -> Result<AnyOutcome, Error> {
        self.send("policies.consume", json!({ "id": policy, "key": "k" })).await
    }

    async fn take(&self) -> Result<AnyOutcome, Error> {
        self.send("quotas.consume", json!({ "id": "q" })).await
    }

    /// What each command answers while the store cannot be used.
    async fn does_what_was_chosen(&self, [opened, local]: [u64; 2]) {
        accepted(self.consume(OPEN).await, DecidedBy::Open);
        for error in [self.consume(CLOSED).await, self.take().await] {
            let error = error.expect_err("fails closed");
            assert_eq!(error.kind(), ErrorKind::StoreUnavailable, "{error}");
        }
        for _ in 0..local {
            accepted(self.consume(LOCAL).await, DecidedBy::Local);
        }
        let told = self.consume(LOCAL).await.expect("an answer");
        let AnyOutcome::Rejected(refusal) = told else { panic!("the bound: {told:?}") };
        assert_eq!(
            (refusal.rejection.code, refusal.decided_by),
            ("rate_limited", DecidedBy::Local)
        );
        let [open, local, _] = self.engine.stats().storeless;
        assert_eq!(open, opened, "each is counted");
        assert_eq!(local, 3, "two that passed and refusals");
    }
}

fn accepted(told: Result<AnyOutcome, Error>, by: DecidedBy) {
    match told {
        Ok(AnyOutcome::Accepted(receipt)) => {
            assert_eq!(receipt.decided_by, by);
            assert_eq!(receipt.versions.is_empty(), by != DecidedBy::Store);
            assert!(by == DecidedBy::Store || receipt.seqs.is_empty(), "{:?}", receipt.seqs);
        }
        other => panic!("{by:?}: {other:?}"),
    }
}

#[tokio::test]
async fn a_store_that_is_down_stops_what_fails_closed_alone_and_needs_no_restart() {
    let world = World::new().await;
    world.store.down();
    world.does_what_was_chosen([1, 2]).await;
    world.store.up();
    for policy in [OPEN, LOCAL, CLOSED] {
        accepted(world.consume(policy).await, DecidedBy::Store);
    }
    accepted(world.take().await, DecidedBy::Store);
}

#[tokio::test]
async fn a_store_that_dies_within_a_commit_holds_up_nobody_behind_it() {
    for (fault, applied) in [(Fault::LoseReply, true), (Fault::LoseCommit, false)] {
        let world = World::new().await;
        world.store.plan(fault);
        // It is sent again, and the store says nothing at all.
        world.store.stall_next();
        let (engine, partition) = (world.engine.clone(), Partition::new("p").unwrap());
        let read = command("quotas.consume").unwrap().parse;
        let lost = tokio::spawn(async move {
            let commands = vec![read(json!({ "id": "q" })).unwrap()];
            engine.send(&partition, commands, CallOptions::default()).await
        });
        while world.engine.stats().unknown_open == 0 {
            tokio::task::yield_now().await;
        }
        world.does_what_was_chosen([1, 2]).await;
        assert!(!lost.is_finished(), "what was sent is not guessed");
        assert_eq!(world.engine.stats().unknown_open, 1);
        world.store.release();
        // What was in doubt comes first.
        let told = lost.await.unwrap();
        accepted(told, DecidedBy::Store);
        assert_eq!(world.engine.stats().unknown_open, 0, "applied before: {applied}");
        accepted(world.take().await, DecidedBy::Store);
        accepted(world.consume(OPEN).await, DecidedBy::Store);
    }
}
