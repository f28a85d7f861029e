//! Many distinct keys of one rate limit on the disk store: what is remembered does not grow beyond
//! what was configured, and nothing that was taken is forgotten.
//!
//! A program of its own, so that its memory can be measured. `BELLPUNCH_KEYS=1000000` with
//! `--release` runs it at its full size.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::integer_division,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that panics has failed; this one measures, and takes its size back"
)]

use std::sync::Arc;
use std::time::Instant;

use bellpunch::limits::{ConsumeRate, ConsumeRateReply};
use bellpunch::{
    AnyCommand, AnyOutcome, CallOptions, Engine, EngineConfig, Error, ErrorKind, Key, Outcome,
    Partition, SystemClock, Units,
};
use bellpunch_disk::{DiskConfig, DiskStore};
use tokio::task::JoinSet;

/// Commands of one list.
const LIST: usize = 64;
/// Lists on their way at once.
const CALLERS: usize = 32;
const CACHE_BYTES_MAX: usize = 4 << 20;
/// What the records of one batch take: all that the callers have sent.
const BATCH_BYTES_MAX: usize = LIST * CALLERS * 1_024;
/// Beside index and cache: buffers, commit ids, what waits, and what an allocator keeps.
const REST_BYTES_MAX: usize = 96 << 20;

struct Bench {
    store: Arc<DiskStore>,
    engine: Engine,
    partition: Partition,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn start(index_bytes_max: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(SystemClock::new());
        let config = DiskConfig { index_bytes_max, ..DiskConfig::new(folder.path().join("data")) };
        let store = Arc::new(DiskStore::open(&config, Arc::clone(&clock) as _).unwrap());
        let config = EngineConfig {
            shards: 1,
            cache_bytes_max: CACHE_BYTES_MAX,
            timeout: std::time::Duration::from_secs(60),
            ..EngineConfig::default()
        };
        let engine = Engine::start(Arc::clone(&store) as _, clock, config);
        let partition = Partition::new("p").unwrap();
        for (id, limit) in [("once", 1), ("twice", 2)] {
            let policy = serde_json::json!({
                "id": id, "algorithm": "sliding_log", "limit": limit,
                "period_ns": 3_600_000_000_000_u64,
            });
            let set = (bellpunch::command("policies.set").unwrap().parse)(policy).unwrap();
            let set = engine.send(&partition, vec![set], CallOptions::default()).await;
            assert!(matches!(set, Ok(AnyOutcome::Accepted(_))), "{set:?}");
        }
        Self { store, engine, partition, _folder: folder }
    }

    async fn take(&self, key: &str) -> Result<Outcome<ConsumeRateReply>, Error> {
        self.take_of("once", key).await
    }

    async fn take_of(&self, id: &str, key: &str) -> Result<Outcome<ConsumeRateReply>, Error> {
        self.engine.call(&self.partition, rate(id, key), CallOptions::default()).await
    }

    async fn take_all(&self, keys: std::ops::Range<usize>) -> Result<AnyOutcome, Error> {
        let command = |key| Arc::new(rate("once", &format!("key-{key}"))) as Arc<dyn AnyCommand>;
        let commands = keys.map(command).collect();
        self.engine.send(&self.partition, commands, CallOptions::default()).await
    }
}

fn rate(id: &str, key: &str) -> ConsumeRate {
    ConsumeRate::of((Key::new(id).unwrap(), Key::new(key).unwrap()), Units::ONE)
}

#[track_caller]
fn refused(outcome: &Result<Outcome<ConsumeRateReply>, Error>) {
    let Ok(Outcome::Rejected(refusal)) = outcome else { panic!("expected no, got {outcome:?}") };
    assert_eq!(refusal.rejection.code, "rate_limited");
}

/// Bytes of memory that this process has; 0 where it cannot be asked.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).map_or(0, |pages| pages.parse::<usize>().unwrap() * 4_096)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_stays_exhausted_behind_many_others() {
    let keys = std::env::var("BELLPUNCH_KEYS").map_or(40_000, |keys| keys.parse().unwrap());
    let index_bytes_max = keys * 256 + (1 << 20);
    let bench = Arc::new(Bench::start(index_bytes_max).await);
    let before = resident();
    assert!(matches!(bench.take("first").await, Ok(Outcome::Accepted(_))));
    refused(&bench.take("first").await);

    let (begin, mut callers) = (Instant::now(), JoinSet::new());
    for caller in 0..CALLERS {
        let bench = Arc::clone(&bench);
        callers.spawn(async move {
            let (mut list, mut cache) = (caller, 0);
            while list * LIST < keys {
                let taken = bench.take_all(list * LIST..keys.min((list + 1) * LIST)).await;
                assert!(matches!(taken, Ok(AnyOutcome::Accepted(_))), "{taken:?}");
                cache = bench.engine.stats().cache_bytes.max(cache);
                list += CALLERS;
            }
            cache
        });
    }
    let cache = callers.join_all().await.into_iter().max().unwrap();
    let micros = usize::try_from(begin.elapsed().as_micros()).unwrap();

    refused(&bench.take("first").await);
    refused(&bench.take("key-0").await);
    refused(&bench.take(&format!("key-{}", keys - 1)).await);
    let report = bench.store.report();
    let grown = resident().saturating_sub(before);
    println!(
        "{keys} keys: {} keys/s, {} commits, cache {cache}, index {} of {index_bytes_max}, \
         resident +{grown}, log {}",
        keys * 1_000_000 / micros,
        bench.engine.stats().commits[0],
        report.index_bytes,
        report.total_bytes,
    );
    // Whoever is told may be told before others leave the cache, but not before nothing goes on.
    bench.engine.drain().await;
    let kept = bench.engine.stats().cache_bytes;
    assert!(kept <= u64::try_from(CACHE_BYTES_MAX).unwrap(), "{kept} bytes are kept decoded");
    let cache_max = u64::try_from(CACHE_BYTES_MAX + BATCH_BYTES_MAX).unwrap();
    assert!(cache <= cache_max, "{cache} bytes were kept decoded");
    assert!(report.index_bytes <= u64::try_from(index_bytes_max).unwrap());
    assert!(grown < index_bytes_max + CACHE_BYTES_MAX + REST_BYTES_MAX, "{grown} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_index_refuses_new_keys_and_charges_nothing() {
    // Room for the policies and some 40 keys.
    let bench = Bench::start(8_192).await;
    let accepted = |taken: &Result<Outcome<_>, Error>| matches!(taken, Ok(Outcome::Accepted(_)));
    assert!(accepted(&bench.take_of("twice", "known").await));
    let mut keys = 0;
    let error = loop {
        match bench.take(&format!("key-{keys}")).await {
            Err(error) => break error,
            taken @ Ok(_) => assert!(accepted(&taken), "{taken:?}"),
        }
        keys += 1;
    };
    assert!(20 < keys, "{keys} keys");
    assert_eq!(error.kind(), ErrorKind::StoreUnavailable);
    assert!(error.to_string().contains("index_bytes_max"), "{error}");
    let records = bench.store.report().records;
    // A new key, alone and in a list behind one that is known.
    for _ in 0..3 {
        let error = bench.take("new").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StoreUnavailable);
        let list = vec![Arc::new(rate("twice", "known")) as _, Arc::new(rate("once", "new")) as _];
        let error = bench.engine.send(&bench.partition, list, CallOptions::default()).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::StoreUnavailable);
    }
    assert_eq!(bench.store.report().records, records, "nothing was added");
    // The one that is known goes on, and has what it had.
    assert!(accepted(&bench.take_of("twice", "known").await));
    refused(&bench.take_of("twice", "known").await);
    refused(&bench.take("key-0").await);
}
