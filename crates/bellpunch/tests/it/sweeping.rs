//! The sweeper leaves the store alone for most of the time, but not while much is due.
#![expect(clippy::unwrap_used, reason = "tests stop at the unexpected")]

use std::future::ready;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bellpunch::store::{
    BoxFuture, Commit, CommitId, CommitResult, Failure, FailureKind, MemoryConfig, MemoryStore,
    Page, PartitionPage, Properties, Resolution, Scan, Show, Store, Versioned,
};
use bellpunch::{
    AnyCommand, CallOptions, Engine, EngineConfig, IdempotencyKey, Kind, Partition, RecordId,
    RecordKey, command,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::clock_back::SetClock;

const START: u64 = 1_800_000_000_000_000_000;
const HOUR: u64 = 3_600_000_000_000;

/// A memory store that takes a while for a page.
#[derive(Debug)]
struct Slow {
    inner: MemoryStore,
    page: Duration,
    /// How many charges it shows that no sweep finds, on each page.
    stuck: usize,
    /// Takes no commit of this partition.
    broken: OnceLock<Partition>,
    pages: AtomicU64,
}

#[deny(clippy::missing_trait_methods)]
impl Store for Slow {
    fn properties(&self) -> Properties {
        self.inner.properties()
    }

    fn read<'a>(
        &'a self,
        partition: &'a Partition,
        keys: &'a [RecordKey],
    ) -> BoxFuture<'a, Result<Vec<Versioned>, Failure>> {
        self.inner.read(partition, keys)
    }

    fn commit(&self, commits: Vec<Arc<Commit>>) -> BoxFuture<'_, Vec<CommitResult>> {
        if commits.iter().any(|commit| self.broken.get() == Some(&commit.partition)) {
            let failure = Failure::new(FailureKind::Unavailable, "it is broken");
            let failed = commits.iter().map(|_| CommitResult::Failed(failure.clone())).collect();
            return Box::pin(ready(failed));
        }
        self.inner.commit(commits)
    }

    fn scan<'a>(
        &'a self,
        partition: &'a Partition,
        scan: &'a Scan,
    ) -> BoxFuture<'a, Result<Page, Failure>> {
        Box::pin(async move {
            sleep(self.page).await;
            self.pages.fetch_add(1, Ordering::SeqCst);
            let mut page = self.inner.scan(partition, scan).await?;
            for place in 0..self.stuck {
                let id = RecordId::stored(&format!("stuck-{place}"));
                let key = RecordKey { kind: Kind::named("charges"), id };
                page.records.push((key, Versioned::default()));
            }
            Ok(page)
        })
    }

    fn resolve<'a>(
        &'a self,
        partition: &'a Partition,
        id: CommitId,
    ) -> BoxFuture<'a, Result<Resolution, Failure>> {
        self.inner.resolve(partition, id)
    }

    fn partitions<'a>(
        &'a self,
        after: Option<&'a Partition>,
        limit: usize,
    ) -> BoxFuture<'a, Result<PartitionPage, Failure>> {
        self.inner.partitions(after, limit)
    }
}

struct World {
    engine: Engine,
    store: Arc<Slow>,
    clock: Arc<SetClock>,
    partition: Partition,
}

impl World {
    fn start(page: Duration, stuck: usize) -> Self {
        let clock = SetClock::new(START);
        let inner = MemoryStore::new(Arc::clone(&clock) as _, MemoryConfig::default());
        let store = Arc::new(Slow {
            inner,
            page,
            stuck,
            broken: OnceLock::new(),
            pages: AtomicU64::new(0),
        });
        let config = EngineConfig {
            keep_outcomes: bellpunch::Duration::from_millis(60_000),
            sweep_every: Duration::from_millis(1),
            ..EngineConfig::default()
        };
        let engine = Engine::start(Arc::clone(&store) as _, Arc::clone(&clock) as _, config);
        Self { engine, store, clock, partition: Partition::new("p").unwrap() }
    }

    /// Makes a quota under a key; the outcome is kept for a minute.
    async fn make(&self, name: &str) {
        self.make_in(&self.partition, name).await;
    }

    async fn make_in(&self, partition: &Partition, name: &str) {
        let content: Value = json!({ "id": name, "limit": 1 });
        let quota: Arc<dyn AnyCommand> =
            (command("quotas.create").unwrap().parse)(content).unwrap();
        let key = Some(IdempotencyKey::new(name).unwrap());
        let options = CallOptions { key, ..CallOptions::default() };
        self.engine.send(partition, vec![quota], options).await.unwrap();
    }

    /// How many outcomes are stored.
    async fn outcomes(&self) -> usize {
        let scan = Scan { show: Show::Records, ..Scan::of(Kind::named("outcomes"), 1_000) };
        self.store.inner.scan(&self.partition, &scan).await.unwrap().records.len()
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_finds_little_works_a_twentieth_of_the_time() {
    let world = World::start(Duration::from_millis(10), 0);
    world.make("one").await;
    sleep(Duration::from_secs(20)).await;
    // A page of 10 ms, a rest of 190, a round each millisecond.
    let pages = world.store.pages.load(Ordering::SeqCst);
    assert!((95..=100).contains(&pages), "{pages} pages in 20 s");
}

#[tokio::test(start_paused = true)]
async fn what_is_due_in_numbers_is_not_waited_for() {
    let world = World::start(Duration::from_millis(10), 0);
    for name in 0..256 {
        world.make(&format!("q{name}")).await;
    }
    assert_eq!(world.outcomes().await, 256);
    world.clock.0.store(START + HOUR, Ordering::SeqCst);
    let begun = Instant::now();
    while 0 < world.outcomes().await {
        sleep(Duration::from_millis(1)).await;
    }
    // At most a rest, then four pages of 64.
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(191 + 60), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_engine_is_not_kept_by_a_sweeper_that_rests() {
    let world = World::start(Duration::from_secs(1_000), 0);
    world.make("one").await;
    sleep(Duration::from_secs(1_001)).await;
    assert_eq!(world.store.pages.load(Ordering::SeqCst), 1, "it rests");
    let store = Arc::downgrade(&world.store);
    drop(world);
    sleep(Duration::from_millis(1)).await;
    assert!(store.upgrade().is_none(), "the engine has ended");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_removed_is_nothing_to_hurry_for() {
    let world = World::start(Duration::from_millis(10), 64);
    world.make("one").await;
    sleep(Duration::from_secs(20)).await;
    let pages = world.store.pages.load(Ordering::SeqCst);
    assert!((95..=100).contains(&pages), "{pages} pages in 20 s");
}

#[tokio::test(start_paused = true)]
async fn a_rest_is_a_minute_at_most() {
    let world = World::start(Duration::from_secs(1_000), 0);
    world.make("one").await;
    sleep(Duration::from_secs(2_061)).await;
    assert_eq!(world.store.pages.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_cannot_be_swept_keeps_the_sweeper_from_no_other() {
    let world = World::start(Duration::from_millis(10), 0);
    let first = Partition::new("a").unwrap();
    world.make_in(&first, "one").await;
    world.make("two").await;
    world.store.broken.set(first).unwrap();
    world.clock.0.store(START + HOUR, Ordering::SeqCst);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(world.outcomes().await, 0);
}

#[tokio::test(start_paused = true)]
async fn partitions_of_all_pages_are_swept() {
    let world = World::start(Duration::from_millis(10), 0);
    for partition in 0..120 {
        world.make_in(&Partition::new(format!("a{partition}")).unwrap(), "one").await;
    }
    world.make("last").await;
    world.clock.0.store(START + HOUR, Ordering::SeqCst);
    // Two rounds, of which the first may have begun before anything was due.
    sleep(Duration::from_millis(200).saturating_mul(2 * 121)).await;
    assert_eq!(world.outcomes().await, 0);
}
