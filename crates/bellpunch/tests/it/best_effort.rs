//! A store that cannot keep a promise is given none to keep.

use std::sync::Arc;

use bellpunch::store::{
    BoxFuture, Commit, CommitId, CommitResult, Failure, Guarantee, MemoryConfig, MemoryStore, Page,
    PartitionPage, Properties, Resolution, Scan, Store, Versioned,
};
use bellpunch::{
    CallOptions, Engine, EngineConfig, ErrorKind, Partition, RecordKey, SystemClock, command,
};
use serde_json::json;

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

#[test]
fn a_best_effort_store_is_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let clock = Arc::new(SystemClock::new());
        let store = Loose(MemoryStore::new(Arc::clone(&clock) as _, MemoryConfig::default()));
        let engine = Engine::start(Arc::new(store), clock, EngineConfig::default());
        let partition = Partition::new("p").unwrap();
        for (name, content) in [
            ("quotas.create", json!({ "id": "q", "limit": 1 })),
            ("quotas.consume", json!({ "id": "q" })),
            ("policies.consume", json!({ "id": "p", "key": "k" })),
        ] {
            let command = (command(name).unwrap().parse)(content).unwrap();
            let sent = engine.send(&partition, vec![command], CallOptions::default()).await;
            let error = sent.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::StoreUnavailable, "{name}: {error}");
            assert!(error.to_string().contains("best-effort"), "{error}");
        }
        assert_eq!(engine.ready().await.unwrap_err().kind(), ErrorKind::StoreUnavailable);
        let partitions = engine.partitions(None, 1).await.unwrap().partitions;
        assert_eq!(partitions, [], "nothing was written");
    });
}
