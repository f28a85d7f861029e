//! Files of the corpora that the real encoders write: `UPDATE_EXPECT=1` makes them anew.
//!
//! The others are made by hand, and stay.

use std::sync::Arc;

use bellpunch::store::{
    Clock, Commit, CommitId, CommitResult, MemoryConfig, MemoryStore, Precondition, Scan, Show,
    Store, Versioned, Write, WriteValue,
};
use bellpunch::{
    AnyOutcome, CallOptions, Engine, EngineConfig, IdempotencyKey, Kind, Partition, RecordKey,
    Timestamp,
};
use bellpunch_check::history::{Accepted, Broke, Floor, Header, History, Invoke, Line, Record};
use bellpunch_disk::testing::FaultFiles;
use bellpunch_disk::{DiskConfig, DiskStore};
use bellpunch_store::kit::block_on;
use serde_json::{Value, json};

use crate::root;

/// How many records of a kind are kept.
const OF_A_KIND: usize = 3;

#[derive(Debug)]
struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        "2026-11-21T12:00:00.000000001Z".parse().unwrap()
    }
}

/// Writes the files that encoders make, if it is asked for.
#[expect(clippy::disallowed_methods, reason = "files are written only when asked")]
pub(crate) fn update() {
    if std::env::var("UPDATE_EXPECT").is_err() {
        return;
    }
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    let entered = runtime.enter();
    let store = Arc::new(MemoryStore::new(Arc::new(Noon), MemoryConfig::default()));
    let partition = Partition::new("acme").unwrap();
    let engine = Engine::start(
        Arc::clone(&store) as Arc<dyn Store>,
        Arc::new(Noon),
        EngineConfig::default(),
    );
    let mut refused = Vec::new();
    for (place, (name, content)) in commands().into_iter().enumerate() {
        let command = match (bellpunch::command(name).unwrap().parse)(content) {
            Ok(command) => command,
            Err(error) => {
                refused.push(format!("{name}: {error}"));
                continue;
            }
        };
        let key = Some(IdempotencyKey::new(format!("k{place}")).unwrap());
        let options = CallOptions { key, ..CallOptions::default() };
        match runtime.block_on(engine.send(&partition, vec![command], options)).unwrap() {
            AnyOutcome::Accepted(_) => {}
            AnyOutcome::Rejected(refusal) => {
                refused.push(format!("{name}: {}", refusal.rejection.code));
            }
        }
    }
    assert_eq!(refused, Vec::<String>::new());
    drop(entered);
    let mut scan = Scan::of(Kind::named(""), 1_000);
    (scan.kind, scan.show) = (None, Show::All);
    let stored = block_on(store.scan(&partition, &scan)).unwrap().records;
    write_records(&stored);
    write("exports", "valid-export", &bellpunch_cli::fuzzing::exported(&*store));
    write_log(&partition, &stored);
    write("histories", "valid-history", &history());
}

fn write(target: &str, name: &str, bytes: &[u8]) {
    let folder = root().join("corpus").join(target);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(name), bytes).unwrap();
}

fn write_records(stored: &[(RecordKey, Versioned)]) {
    let mut audited = Vec::new();
    let mut kind = ("", 0);
    for (key, record) in stored {
        let Some(value) = &record.value else { continue };
        kind = if kind.0 == key.kind.name() { (kind.0, kind.1 + 1) } else { (key.kind.name(), 0) };
        if kind.1 < OF_A_KIND {
            write("records", &format!("valid-{}-{}", kind.0, kind.1), value);
        }
        audited.extend(format!("{} {} ", key.kind.name(), key.id.as_str()).into_bytes());
        audited.extend(&value[..]);
        audited.push(b'\n');
    }
    write("audits", "valid-partition", &audited);
}

/// A log with these records, some written over, deleted and purged.
fn write_log(partition: &Partition, stored: &[(RecordKey, Versioned)]) {
    let files = FaultFiles::default();
    let store = DiskStore::open_on(files.session(), &DiskConfig::new("data"), Arc::new(Noon));
    let store = store.unwrap();
    for (place, (key, record)) in stored.iter().enumerate().take(24) {
        let now = Noon.now();
        let before = block_on(store.read(partition, std::slice::from_ref(key))).unwrap();
        let value = match place % 8 {
            6 => WriteValue::Purge,
            7 => WriteValue::Delete,
            _ => WriteValue::Put(record.value.clone().unwrap_or_default()),
        };
        let commit = Commit {
            id: CommitId::new(u128::MAX - u128::try_from(place).unwrap()),
            partition: partition.clone(),
            now,
            deadline: None,
            preconditions: vec![Precondition { key: key.clone(), version: before[0].version }],
            writes: vec![Write {
                key: key.clone(),
                version: before[0].version.plus(1),
                at: now,
                sweep_at: record.sweep_at,
                value,
            }],
        };
        let results = block_on(store.commit(vec![Arc::new(commit)]));
        assert!(matches!(results[..], [CommitResult::Committed { .. }]), "{results:?}");
    }
    store.close();
    let (mut log, mut mark) = (Vec::new(), Vec::new());
    files.change("00000001.log", |bytes| log.clone_from(bytes));
    files.change("closed", |bytes| mark.clone_from(bytes));
    write("folder", "valid-killed", &[&[0], &log[..]].concat());
    write("folder", "valid-closed", &[&[1], &log[..], &mark[..]].concat());
    write("log_parts", "valid-segment", &log[..32]);
    write("log_parts", "valid-closed", &mark);
    let starts = log.windows(4).enumerate().filter(|(_, window)| *window == b"\xfeBP1");
    let starts: Vec<usize> = starts.map(|(at, _)| at).collect();
    for (place, ends) in starts.windows(2).enumerate().filter(|(place, _)| place % 4 < 1) {
        write("log_parts", &format!("valid-batch-{place}"), &log[ends[0]..ends[0] + 24]);
        write("log_parts", &format!("valid-frame-{place}"), &log[ends[0] + 24..ends[1]]);
    }
    for (place, ends) in starts.windows(2).enumerate().filter(|(place, _)| place % 8 > 4) {
        // Behind the headers of batch and frame, the commit's own fields, and the count.
        let head = 24 + 8 + 1 + 16 + 16 + 16 + 2 + partition.as_str().len() + 4;
        write("log_parts", &format!("valid-write-{place}"), &log[ends[0] + head..ends[1]]);
    }
}

fn history() -> Vec<u8> {
    let invoke = Line::Invoke(Invoke {
        t: 1,
        op: 0,
        proc: "a".to_owned(),
        node: Some("n1".to_owned()),
        partition: "acme".to_owned(),
        cmd: "quotas.consume".to_owned(),
        target: "quotas/q".to_owned(),
        args: json!({"id": "q", "units": 1}),
        key: Some("k".to_owned()),
    });
    let accepted = Line::Accepted(Accepted {
        t: 2,
        op: 0,
        at: "2026-11-21T12:00:00Z".to_owned(),
        replayed: true,
        writes: [("quotas/q".to_owned(), u64::MAX)].into(),
        reads: std::collections::BTreeMap::new(),
        seq: None,
        flag: Some("dry_run".to_owned()),
        reply: json!({"quota": {"used": 1}}),
    });
    let broke = Line::Unknown(Broke { t: 3, op: 1, code: "cut".to_owned() });
    let record = Line::Record(Record {
        partition: "acme".to_owned(),
        record: "quotas/q".to_owned(),
        version: 2,
        value: Value::Null,
    });
    let floor = Floor { partition: "acme".to_owned(), of: "holds".to_owned(), version: 7 };
    let lines = vec![invoke, accepted, broke, record, Line::Floor(floor)];
    let mut header = Header::of("kit");
    header.seed = Some(u64::MAX);
    let mut bytes = Vec::new();
    History { header, lines }.write(&mut bytes).unwrap();
    bytes
}

const SECOND: u64 = 1_000_000_000;

/// One of everything that is kept.
fn commands() -> Vec<(&'static str, Value)> {
    [of_limits(), of_tickets_and_uploads()].concat()
}

fn of_limits() -> Vec<(&'static str, Value)> {
    let second = SECOND;
    let policy = |id: &str, rest: Value| {
        let mut content = rest;
        content["id"] = json!(id);
        ("policies.set", content)
    };
    let consume = |id: &str| ("policies.consume", json!({"id": id, "key": "u:1/%\u{e9}"}));
    vec![
        ("currencies.define", json!({"code": "XTS", "scale": 3})),
        (
            "quotas.create",
            json!({"id": "q", "limit": 50, "used": 4, "metadata": {"by": "ops"},
                "refill": {"amount": "full", "period_ns": 60 * second}}),
        ),
        ("quotas.create", json!({"id": "free", "limit": "unlimited"})),
        ("quotas.consume", json!({"id": "q", "units": 3, "labels": {"a": "b"}})),
        (
            "holds.create",
            json!({"id": "h", "items": [{"quota": "q", "units": 2}], "owner": "o",
            "ttl_ns": 60 * second}),
        ),
        ("holds.create", json!({"id": "g", "items": [{"quota": "q", "units": 2}]})),
        ("holds.capture", json!({"id": "g"})),
        policy(
            "w",
            json!({"algorithm": "fixed_window", "limit": 9, "period_ns": 60 * second,
            "align": "epoch"}),
        ),
        policy(
            "m",
            json!({"algorithm": "calendar", "limit": 9, "unit": "month",
            "zone": "Asia/Riyadh"}),
        ),
        policy("c", json!({"algorithm": "sliding_counter", "limit": 9, "period_ns": second})),
        policy(
            "l",
            json!({"algorithm": "sliding_log", "limit": 9, "period_ns": 60 * second,
            "max_keys": 3}),
        ),
        policy("g", json!({"algorithm": "gcra", "rate": 5, "period_ns": 60 * second})),
        policy("n", json!({"algorithm": "concurrency", "limit": 2})),
        consume("w"),
        consume("m"),
        consume("c"),
        consume("l"),
        consume("g"),
        (
            "holds.create",
            json!({"id": "lease", "items": [{"policy": "n", "key": "k"}],
            "ttl_ns": 60 * second}),
        ),
        (
            "checks.consume",
            json!({"items": [{"quota": "free"}, {"policy": "inline", "key": "k", "units": 2,
                "terms": {"algorithm": "gcra", "rate": 5, "period_ns": 60 * second}}]}),
        ),
    ]
}

fn of_tickets_and_uploads() -> Vec<(&'static str, Value)> {
    let (second, hash) = (SECOND, "ab".repeat(32));
    vec![
        (
            "tickets.create",
            json!({"audience": "shop", "holder": "h", "issued_by": "h", "ttl_ns": 60 * second,
                "max_amount": {"amount": 500, "currency": "SAR"}, "secret_hash": hash,
                "one_pending": true}),
        ),
        (
            "tickets.create",
            json!({"audience": "gate", "holder": "o", "issued_by": "gate", "ttl_ns": 60 * second,
                "max_amount": {"amount": 1, "unit": "entry"}, "approved": true}),
        ),
        (
            "uploads.create",
            json!({"id": "u", "size_limit": 10, "charge": [{"quota": "q", "units": 1}],
                "max_downloads": 2, "delete_hash": hash, "labels": {"x": ""}}),
        ),
    ]
}
