//! The sweep removes what nobody can be given, and nothing else.

use std::sync::Mutex;

use bellpunch::BlobName;
use bellpunch::store::{BlobStore, Clock, MemoryBlobs, MemoryConfig, MemoryStore};
use bellpunch::{
    CallOptions, Digest, Engine, EngineConfig, Key, Limit, Partition, Timestamp, Units,
};

use super::*;
use crate::config::Config;

#[derive(Debug)]
struct Set(Mutex<Timestamp>);

impl Set {
    fn later(&self, span: bellpunch::Duration) {
        let mut now = self.0.lock().unwrap();
        *now = now.plus(span).unwrap();
    }
}

impl Clock for Set {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

fn put(blobs: &dyn BlobStore, name: &BlobName) {
    let mut writer = blobs.create(name).unwrap();
    writer.write(b"bytes").unwrap();
    writer.finish().unwrap();
}

#[tokio::test]
async fn orphans_go_when_no_publish_can_commit_and_payloads_stay() {
    let clock = Arc::new(Set(Mutex::new("2026-03-01T00:00:00Z".parse().unwrap())));
    let store = MemoryStore::new(Arc::clone(&clock) as Arc<dyn Clock>, MemoryConfig::default());
    let engine = Engine::start(
        Arc::new(store),
        Arc::clone(&clock) as Arc<dyn Clock>,
        EngineConfig::default(),
    );
    let blobs = Arc::new(MemoryBlobs::new(Arc::clone(&clock) as Arc<dyn Clock>, 1 << 20));
    let shared = Arc::clone(&blobs) as Arc<dyn BlobStore>;
    let commands: Vec<_> = bellpunch::commands().collect();
    let mut config = Config::default();
    config.log.level = LogLevel::Error;
    let app = App::new(engine.clone(), shared, config, &commands);

    let (partition, id) = (Partition::new("p").unwrap(), Key::new("u").unwrap());
    let create =
        serde_json::json!({"id": "u", "size_limit": 10, "ttl_ns": 172_800_000_000_000_u64});
    let create: uploads::Create = serde_json::from_value(create).unwrap();
    assert_eq!(create.max_downloads, Limit::Unlimited);
    engine.call(&partition, create, CallOptions::default()).await.unwrap();
    let [first, second, orphan] = [1, 2, 3].map(|bits| BlobName::of(&partition, &id, bits));
    let foreign = BlobName::new("foreign").unwrap();
    for name in [&first, &second, &orphan, &foreign] {
        put(&*blobs, name);
    }
    for blob in [&first, &second] {
        let publish = uploads::Publish {
            id: id.clone(),
            blob: blob.clone(),
            size: Units::new(5).unwrap(),
            sha256: Digest::new([0; 32]),
            owner: None,
            started_at: clock.now(),
            publish_window_ns: bellpunch::Duration::from_days(1),
        };
        let outcome = engine.call(&partition, publish, CallOptions::default()).await.unwrap();
        assert!(matches!(outcome, bellpunch::Outcome::Accepted(_)), "{outcome:?}");
    }
    let kept = || -> Vec<BlobName> {
        blobs.list(None, 10).unwrap().into_iter().map(|stored| stored.name).collect()
    };
    // The first was replaced, so it is garbage at once.
    assert_eq!(once(&app).await.unwrap(), 1);
    assert_eq!(kept(), [second.clone(), orphan, foreign.clone()]);
    clock.later(bellpunch::Duration::from_days(1));
    assert_eq!(once(&app).await.unwrap(), 0, "at the end of the window clocks may differ");
    clock.later(bellpunch::Duration::from_secs(1));
    assert_eq!(once(&app).await.unwrap(), 1);
    assert_eq!(kept(), [second, foreign.clone()]);
    // Lapsed: nobody can complete it any more.
    clock.later(bellpunch::Duration::from_days(1));
    assert_eq!(once(&app).await.unwrap(), 1);
    assert_eq!(kept(), [foreign]);
    engine.drain().await;
}
