//! A store that cannot keep a promise is given none to keep.

use std::sync::Arc;

use bellpunch::store::{
    BoxFuture, Commit, CommitId, CommitResult, Failure, Guarantee, MemoryConfig, MemoryStore, Page,
    PartitionPage, Properties, Resolution, Scan, Store, Versioned,
};
use bellpunch::{
    AnyOutcome, CallOptions, Engine, EngineConfig, ErrorKind, IdempotencyKey, Partition, RecordKey,
    SystemClock, command,
};
use serde_json::{Value, json};

/// A memory store that says of itself that it is best-effort.
#[derive(Debug)]
struct Loose(MemoryStore);

impl Store for Loose {
    fn properties(&self) -> Properties {
        Properties { name: "loose", guarantee: Guarantee::BestEffort, ..self.0.properties() }
    }

    fn read<'a>(
        &'a self,
        partition: &'a Partition,
        keys: &'a [RecordKey],
    ) -> BoxFuture<'a, Result<Vec<Versioned>, Failure>> {
        self.0.read(partition, keys)
    }

    fn commit(&self, commits: Vec<Arc<Commit>>) -> BoxFuture<'_, Vec<CommitResult>> {
        self.0.commit(commits)
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

fn policy(id: &str) -> (&'static str, Value) {
    let second = 1_000_000_000_u64;
    let content = json!({
        "id": id, "algorithm": "sliding_log", "limit": 1, "period_ns": 3_600 * second,
        "best_effort": id == "loose",
    });
    ("policies.set", content)
}

#[test]
fn only_rate_limits_that_say_so_run_on_a_best_effort_store() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let clock = Arc::new(SystemClock::new());
        let store = Loose(MemoryStore::new(Arc::clone(&clock) as _, MemoryConfig::default()));
        let engine = Engine::start(Arc::new(store), clock, EngineConfig::default());
        let partition = Partition::new("p").unwrap();
        let send = |commands: Vec<(&str, Value)>, options| {
            let read = |(name, content)| (command(name).unwrap().parse)(content).unwrap();
            engine.send(&partition, commands.into_iter().map(read).collect(), options)
        };
        let consume = || ("policies.consume", json!({ "id": "loose", "key": "k" }));
        let keyed = CallOptions {
            key: Some(IdempotencyKey::new("again").unwrap()),
            ..CallOptions::default()
        };
        for (refused, options) in [
            (vec![("quotas.create", json!({ "id": "q", "limit": 1 }))], CallOptions::default()),
            (vec![("quotas.consume", json!({ "id": "q" }))], CallOptions::default()),
            (
                vec![("holds.create", json!({ "items": [{ "quota": "q" }] }))],
                CallOptions::default(),
            ),
            (vec![("uploads.read", json!({ "id": "u" }))], CallOptions::default()),
            (vec![policy("strict")], CallOptions::default()),
            (vec![policy("loose")], keyed.clone()),
            // A list is as strict as its strictest member.
            (vec![policy("loose"), policy("strict")], CallOptions::default()),
        ] {
            let what = format!("{refused:?}");
            let error = send(refused, options).await.expect_err(&what);
            assert_eq!(error.kind(), ErrorKind::StoreUnavailable, "{what}: {error}");
            assert!(error.to_string().contains("best-effort"), "{error}");
        }
        let partitions = engine.partitions(None, 1).await.unwrap().partitions;
        assert_eq!(partitions, [], "nothing was written");

        for accepted in [policy("loose"), consume()] {
            let outcome = send(vec![accepted], CallOptions::default()).await.unwrap();
            assert!(
                matches!(&outcome, AnyOutcome::Accepted(receipt) if receipt.best_effort),
                "{outcome:?}"
            );
        }
        let outcome = send(vec![consume()], CallOptions::default()).await.unwrap();
        assert!(
            matches!(&outcome, AnyOutcome::Rejected(refusal) if refusal.best_effort),
            "{outcome:?}"
        );
    });
}
