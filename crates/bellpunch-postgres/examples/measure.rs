//! Commits per second, and where their time goes: `cargo run --release --example measure`.
#![expect(clippy::print_stdout, reason = "it shows what it measured")]
#![expect(clippy::float_arithmetic, reason = "a rate is a quotient")]
#![expect(clippy::disallowed_methods, reason = "it measures real time")]
#![expect(clippy::unwrap_used, reason = "it stops at the unexpected")]
#![expect(clippy::indexing_slicing, reason = "it stops at the unexpected")]
#![expect(clippy::arithmetic_side_effects, reason = "overflow is checked, and ends it")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bellpunch_postgres::{PostgresConfig, PostgresStore};
use bellpunch_servers::Postgres;
use bellpunch_store::{
    Commit, CommitId, CommitResult, Kind, Partition, Precondition, RecordId, RecordKey, Risk,
    Store, Timestamp, Version, Write, WriteValue,
};

const KIND: Kind = Kind::new("records");
const VALUE: &str = r#"{"format":1,"record":{"limit":1000000,"used":123456,"held":0,"holds":3,"labels":{"team":"a"}}}"#;
const SPAN: Duration = Duration::from_secs(3);

/// Versions of the records that one caller writes.
struct Caller {
    store: PostgresStore,
    partition: Partition,
    versions: Vec<u64>,
    ids: u128,
    deadline: Option<Timestamp>,
}

fn key(index: usize) -> RecordKey {
    RecordKey { kind: KIND, id: RecordId::stored(&format!("record-{index:06}")) }
}

fn now() -> Timestamp {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_nanos(now.as_nanos()).unwrap()
}

impl Caller {
    fn commit(&mut self, records: &[usize]) -> Arc<Commit> {
        self.ids += 1;
        let mut commit = Commit {
            id: CommitId::new(self.ids),
            partition: self.partition.clone(),
            now: now(),
            deadline: self.deadline,
            preconditions: Vec::new(),
            writes: Vec::new(),
        };
        for &index in records {
            let version = Version::new(self.versions[index]);
            commit.preconditions.push(Precondition { key: key(index), version });
            let (version, value) = (version.plus(1), WriteValue::Put(VALUE.as_bytes().into()));
            let (key, at) = (key(index), commit.now);
            commit.writes.push(Write { key, version, at, sweep_at: None, value });
            self.versions[index] += 1;
        }
        Arc::new(commit)
    }

    /// Commits `batch` records at a time, round and round; gives commits per second.
    async fn run(&mut self, batch: usize) -> f64 {
        let (begun, mut done, mut next) = (Instant::now(), 0_u32, 0);
        while begun.elapsed() < SPAN {
            let records: Vec<usize> =
                (0..batch).map(|step| (next + step * 97) % self.versions.len()).collect();
            next += 31;
            let mut unique = records;
            unique.sort_unstable();
            unique.dedup();
            let commit = self.commit(&unique);
            let result = self.store.commit(vec![commit]).await.remove(0);
            assert!(matches!(result, CommitResult::Committed { .. }), "{result:?}");
            done += 1;
        }
        f64::from(done) / begun.elapsed().as_secs_f64()
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let server = Postgres::start();
    let url = server.database("measure");
    for unsynced in [true, false] {
        let mut config = PostgresConfig::new(url.clone());
        if unsynced {
            config.url.push_str("?options=-c%20synchronous_commit=off");
            config.accept_risk = Some(Risk::LostOnCrash);
        }
        println!("synced: {}", !unsynced);
        measure(PostgresStore::connect(&config).await.unwrap()).await;
    }
    let hot = "select relname, n_tup_upd, n_tup_hot_upd from pg_stat_user_tables";
    println!("{}", server.sql("measure", hot));
}

async fn measure(store: PostgresStore) {
    let partition = Partition::new("p").unwrap();
    let begun = Instant::now();
    for _ in 0..500 {
        store.read(&partition, &[key(0)]).await.unwrap();
    }
    println!("read of one record: {:?}", begun.elapsed() / 500);
    let mut ids = if store.properties().risk.is_some() { 1 << 100 } else { 0 };
    for (records, batch) in [(1, 1), (64, 64), (1_000, 64), (10_000, 64)] {
        for deadline in [None, Some(Timestamp::MAX)] {
            ids += 1_u128 << 64;
            let partition = Partition::new(format!("p{}", ids >> 64)).unwrap();
            let versions = vec![0; records];
            let store = store.clone();
            let mut caller = Caller { store, partition, versions, ids, deadline };
            let rate = caller.run(batch).await;
            println!(
                "{records} records, {batch} in a commit, deadline {}: {rate:.0} commits/s",
                deadline.is_some()
            );
        }
    }
    let mut confirm = Caller {
        store: store.clone(),
        partition,
        versions: vec![0],
        ids: ids + 99,
        deadline: None,
    };
    let begun = Instant::now();
    for _ in 0..1_000 {
        let mut commit = Commit::clone(&confirm.commit(&[0]));
        (commit.writes, commit.preconditions[0].version) = (Vec::new(), Version::ABSENT);
        let result = store.commit(vec![Arc::new(commit)]).await.remove(0);
        assert!(matches!(result, CommitResult::Committed { .. }), "{result:?}");
    }
    println!("confirmation of one record: {:?}", begun.elapsed() / 1_000);
}
