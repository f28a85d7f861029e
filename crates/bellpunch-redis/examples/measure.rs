//! Measures the Redis store on a durable server of its own (`appendfsync always`): one record that
//! all want, batches of 64 records, and a node's whole decisions, beside one Lua call per decision
//! by `redis-benchmark` with as many clients.
//!
//! `cargo run --release -p bellpunch-redis --example measure`
#![expect(clippy::unwrap_used, reason = "a measurement stops at the unexpected")]
#![expect(clippy::print_stdout, reason = "its output is what it is for")]
#![expect(clippy::arithmetic_side_effects, reason = "a measurement stops at an overflow")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]
#![expect(clippy::integer_division, reason = "digits of a rate")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bellpunch::limits::{ConsumeQuota, CreateQuota, Retention};
use bellpunch::{CallOptions, Engine, EngineConfig, Key, Limit, Partition, SystemClock, Units};
use bellpunch_redis::{RedisConfig, RedisStore};
use bellpunch_servers::Redis;
use bellpunch_store::{
    Commit, CommitId, CommitResult, Kind, Precondition, RecordId, RecordKey, Store, Timestamp,
    Version, Write, WriteValue,
};

const CALLERS: u64 = 64;
const UNIFORM: u64 = 10_000;
const SPAN: Duration = Duration::from_secs(3);

/// One decision as it is usually written: read, compare, count.
const LUA: &str = "local used = tonumber(redis.call('GET', KEYS[1]) or '0') \
                   if used < 1000000000 then redis.call('SET', KEYS[1], used + 1) return 1 end \
                   return 0";

fn commit(id: u128, names: &[String], version: u64) -> Arc<Commit> {
    let keys = || {
        names.iter().map(|name| RecordKey { kind: Kind::new("quotas"), id: RecordId::stored(name) })
    };
    let write = |key| Write {
        key,
        version: Version::new(version + 1),
        at: Timestamp::EPOCH,
        sweep_at: None,
        value: WriteValue::Put(vec![b'x'; 200].into()),
    };
    Arc::new(Commit {
        id: CommitId::new(id),
        partition: Partition::new("bench").unwrap(),
        now: Timestamp::EPOCH,
        deadline: None,
        preconditions: keys()
            .map(|key| Precondition { key, version: Version::new(version) })
            .collect(),
        writes: keys().map(write).collect(),
    })
}

/// One commit after the other of the same records.
async fn chain(store: &RedisStore, name: &str, records: usize) {
    let names: Vec<_> = (0..records).map(|record| format!("{name}-{record}")).collect();
    let begun = Instant::now();
    let mut version = 0_u64;
    while begun.elapsed() < SPAN {
        let id = (u128::try_from(records).unwrap() << 64) | u128::from(version);
        let result = store.commit(vec![commit(id, &names, version)]).await.remove(0);
        assert!(matches!(result, CommitResult::Committed { .. }), "{result:?}");
        version += 1;
    }
    let micros = begun.elapsed().as_micros() / u128::from(version);
    println!("{name}: {} commits/s, {micros} us each", 1_000_000 / micros.max(1));
}

/// Many callers of one node.
async fn decisions(store: Arc<RedisStore>, name: &str, records: u64) {
    let clock = Arc::new(SystemClock::new());
    let engine = Engine::start(store, clock, EngineConfig::default());
    let partition = Partition::new(name).unwrap();
    let key = |record: u64| Key::new(format!("q{record}")).unwrap();
    for record in 0..records {
        let create = CreateQuota {
            charges: Retention::None,
            ..CreateQuota::of(key(record), Limit::Finite(Units::new(1 << 40).unwrap()))
        };
        let commands: Vec<Arc<dyn bellpunch::AnyCommand>> = vec![Arc::new(create)];
        engine.send(&partition, commands, CallOptions::default()).await.unwrap();
    }
    let begun = Instant::now();
    let callers = (0..CALLERS).map(|caller| {
        let (engine, partition) = (engine.clone(), partition.clone());
        tokio::spawn(async move {
            let mut seed = caller * 2 + 1;
            let mut done = 0_u64;
            while begun.elapsed() < SPAN {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                let quota = Key::new(format!("q{}", seed % records)).unwrap();
                let consume = ConsumeQuota::of(quota, Units::ONE);
                let commands: Vec<Arc<dyn bellpunch::AnyCommand>> = vec![Arc::new(consume)];
                engine.send(&partition, commands, CallOptions::default()).await.unwrap();
                done += 1;
            }
            done
        })
    });
    let mut done = 0;
    for caller in callers.collect::<Vec<_>>() {
        done += caller.await.unwrap();
    }
    let rate = u128::from(done) * 1_000 / begun.elapsed().as_millis();
    println!("{name}: {rate} decisions/s of {CALLERS} callers");
    engine.drain().await;
}

fn lua(server: &Redis, key: &str) {
    let port = server.port().to_string();
    let mut benchmark = server.program("redis-benchmark");
    benchmark.args(["-p", &port, "-c", &CALLERS.to_string(), "-n", "150000", "-q"]);
    benchmark.args(["-r", &UNIFORM.to_string(), "eval", LUA, "1", key]);
    let output = benchmark.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said.rsplit(['\r', '\n']).find(|line| line.contains("requests per second"));
    let rate = last.and_then(|line| line.rsplit(": ").next()).unwrap_or("nothing");
    println!("one Lua call per decision, {key}: {rate}");
}

#[tokio::main]
async fn main() {
    let server = Redis::start();
    let store = RedisStore::connect(&RedisConfig::new(server.url(0))).await.unwrap();
    let store = Arc::new(store);
    lua(&server, "hot");
    lua(&server, "uniform:__rand_int__");
    chain(&store, "1 record", 1).await;
    chain(&store, "64 records", 64).await;
    decisions(Arc::clone(&store), "one hot record", 1).await;
    decisions(Arc::clone(&store), "10,000 uniform records", UNIFORM).await;
    lua(&server, "hot");
    println!(
        "scripts: {}",
        server
            .cli(&["info", "commandstats"])
            .lines()
            .find(|line| line.contains("evalsha"))
            .unwrap_or_default()
    );
}
