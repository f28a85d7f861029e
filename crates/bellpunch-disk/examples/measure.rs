//! Measures the disk store in a folder: what a commit costs one caller beside a bare sync of the
//! same bytes, what group commit gains, and the worst stall while segments are compacted.
//!
//! `cargo run --release -p bellpunch-disk --example measure -- FOLDER`
#![expect(clippy::unwrap_used, reason = "a measurement stops at the unexpected")]
#![expect(clippy::print_stdout, reason = "its output is what it is for")]
#![expect(clippy::arithmetic_side_effects, reason = "a measurement stops at an overflow")]
#![expect(clippy::indexing_slicing, reason = "a measurement stops at the unexpected")]
#![expect(clippy::integer_division, reason = "digits of a median")]
#![expect(clippy::disallowed_methods, reason = "it measures time, and takes an argument")]

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bellpunch_disk::{DiskConfig, DiskStore};
use bellpunch_store::kit::block_on;
use bellpunch_store::{
    Clock, Commit, CommitId, CommitResult, Kind, Partition, Precondition, RecordId, RecordKey,
    Store, Timestamp, Version, Write, WriteValue,
};

const ROUNDS: usize = 20;
const CALLS: u32 = 200;
const THREADS: u64 = 64;
const RECORDS: u64 = 500_000;
const VALUE_BYTES: usize = 200;

#[derive(Debug)]
struct Machine;

impl Clock for Machine {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Timestamp::from_nanos(since.as_nanos()).unwrap()
    }
}

static IDS: AtomicU64 = AtomicU64::new(1);

/// One writer, raising its own record.
struct Writer {
    partition: Partition,
    key: RecordKey,
    version: Version,
}

impl Writer {
    fn new(store: &DiskStore, number: u64) -> Self {
        let partition = Partition::new(format!("partition {}", number % 8)).unwrap();
        let id = RecordId::stored(&format!("record {number}"));
        let key = RecordKey { kind: Kind::new("records"), id };
        let found = block_on(store.read(&partition, std::slice::from_ref(&key))).unwrap();
        Self { partition, key, version: found[0].version }
    }

    fn commit(&mut self, store: &DiskStore) {
        let commit = self.next();
        let results = block_on(store.commit(vec![Arc::new(commit)]));
        assert!(matches!(results[0], CommitResult::Committed { .. }), "{results:?}");
    }

    fn next(&mut self) -> Commit {
        let now = Machine.now();
        let key = &self.key;
        let precondition = Precondition { key: key.clone(), version: self.version };
        self.version = self.version.plus(1);
        let value = WriteValue::Put(vec![b'v'; VALUE_BYTES].into());
        let (key, version) = (key.clone(), self.version);
        Commit {
            id: CommitId::new(u128::from(IDS.fetch_add(1, Ordering::Relaxed))),
            partition: self.partition.clone(),
            now,
            deadline: None,
            preconditions: vec![precondition],
            writes: vec![Write { key, version, at: now, sweep_at: None, value }],
        }
    }
}

fn micros(duration: Duration) -> u128 {
    duration.as_micros()
}

fn middle(durations: &mut [Duration], per_mille: usize) -> Duration {
    durations.sort_unstable();
    durations[(durations.len() - 1) * per_mille / 1_000]
}

/// Appends as many bytes as one commit of the store has, and syncs.
fn bare(file: &File, offset: &mut u64, bytes: &[u8]) -> Duration {
    let start = Instant::now();
    file.write_all_at(bytes, *offset).unwrap();
    file.sync_data().unwrap();
    *offset += u64::try_from(bytes.len()).unwrap();
    start.elapsed()
}

fn ratio(over: Duration, under: Duration) -> String {
    let hundredths = over.as_nanos() * 100 / under.as_nanos();
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn lone(folder: &Path, store: &DiskStore) {
    let mut writer = Writer::new(store, 1_000);
    let before = store.report().total_bytes;
    writer.commit(store);
    let bytes = usize::try_from(store.report().total_bytes - before).unwrap();
    let path = folder.join("bare");
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
    let zeros = folder.join("zeros");
    let filled = OpenOptions::new().read(true).write(true).create_new(true).open(&zeros).unwrap();
    filled.write_all_at(&vec![0; 64 << 20], 0).unwrap();
    filled.sync_all().unwrap();
    let (mut bares, mut commits, mut offset) = (Vec::new(), Vec::new(), 0);
    let (mut fills, mut filled_offset) = (Vec::new(), 0);
    for _ in 0..ROUNDS * 10 {
        for _ in 0..CALLS / 10 {
            bares.push(bare(&file, &mut offset, &vec![b'b'; bytes]));
        }
        for _ in 0..CALLS / 10 {
            let start = Instant::now();
            writer.commit(store);
            commits.push(start.elapsed());
        }
        for _ in 0..CALLS / 10 {
            fills.push(bare(&filled, &mut filled_offset, &vec![b'b'; bytes]));
        }
    }
    std::fs::remove_file(path).unwrap();
    std::fs::remove_file(zeros).unwrap();
    for per_mille in [500, 990] {
        let (bare, commit) = (middle(&mut bares, per_mille), middle(&mut commits, per_mille));
        println!(
            "lone caller, {bytes} bytes, quantile 0.{per_mille}: bare {} us, commit {} us, ratio {}; \
             bare in a zero-filled file {} us",
            micros(bare),
            micros(commit),
            ratio(commit, bare),
            micros(middle(&mut fills, per_mille))
        );
    }
}

/// Durable commits by this many threads, and how long they took.
fn group(store: &DiskStore, each: u32) -> Duration {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for number in 0..THREADS {
            scope.spawn(move || {
                let mut writer = Writer::new(store, number);
                for _ in 0..each {
                    writer.commit(store);
                }
            });
        }
    });
    start.elapsed()
}

fn groups(store: &DiskStore) {
    let (mut alone, mut together) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut writer = Writer::new(store, 2_000);
        let start = Instant::now();
        for _ in 0..CALLS {
            writer.commit(store);
        }
        alone.push(start.elapsed() / CALLS);
        together.push(group(store, CALLS) / (CALLS * u32::try_from(THREADS).unwrap()));
    }
    let (one, many) = (middle(&mut alone, 500), middle(&mut together, 500));
    println!(
        "group commit: one caller {} commits/s, {THREADS} callers {} commits/s, ratio {}",
        1_000_000_000 / one.as_nanos(),
        1_000_000_000 / many.as_nanos(),
        ratio(one, many)
    );
}

/// The slowest commits of one caller while the log is compacted, and while it is not.
fn stalls(folder: &Path) {
    for (name, slack_bytes) in [("never", u64::MAX), ("often", 1 << 20)] {
        let folder = folder.join(name);
        let base = DiskConfig::new(&folder);
        let config = DiskConfig { segment_bytes: 1 << 20, slack_bytes, ..base };
        let store = DiskStore::open(&config, Arc::new(Machine)).unwrap();
        for number in 0..4_000 {
            Writer::new(&store, 10_000 + number).commit(&store);
        }
        let mut commits = Vec::new();
        let mut writer = Writer::new(&store, 10_000);
        for _ in 0..20_000 {
            let start = Instant::now();
            writer.commit(&store);
            commits.push(start.elapsed());
        }
        let (p50, p999) = (middle(&mut commits, 500), middle(&mut commits, 999));
        let report = store.report();
        println!(
            "compaction {name} ({} segments done): median {} us, 0.999 {} us, worst {} us",
            report.compacted,
            micros(p50),
            micros(p999),
            micros(middle(&mut commits, 1_000))
        );
        drop(store);
        std::fs::remove_dir_all(folder).unwrap();
    }
}

/// The slowest commits of many callers with segments of the default size.
fn crowded_stalls(folder: &Path) {
    for (name, slack_bytes) in [("never", u64::MAX), ("often", 0)] {
        let folder = folder.join(name);
        let config = DiskConfig { slack_bytes, ..DiskConfig::new(&folder) };
        let store = DiskStore::open(&config, Arc::new(Machine)).unwrap();
        let mut commits = std::thread::scope(|scope| {
            let callers: Vec<_> = (0..THREADS)
                .map(|number| {
                    let store = &store;
                    scope.spawn(move || {
                        let mut writer = Writer::new(store, number);
                        let timed = |_| {
                            let start = Instant::now();
                            writer.commit(store);
                            start.elapsed()
                        };
                        (0..8_000).map(timed).collect::<Vec<_>>()
                    })
                })
                .collect();
            callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect::<Vec<_>>()
        });
        let (p50, p999) = (middle(&mut commits, 500), middle(&mut commits, 999));
        println!(
            "{THREADS} callers, 64 MiB segments, compaction {name} ({} done): median {} us, 0.999 {} \
             us, worst {} us",
            store.report().compacted,
            micros(p50),
            micros(p999),
            micros(middle(&mut commits, 1_000))
        );
        drop(store);
        std::fs::remove_dir_all(folder).unwrap();
    }
}

fn resident_kilobytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Memory and time to open, with many records.
fn many(folder: &Path) {
    let config = DiskConfig::new(folder.join("many"));
    let before = resident_kilobytes();
    let store = DiskStore::open(&config, Arc::new(Machine)).unwrap();
    let start = Instant::now();
    for base in 0..RECORDS / 1_000 {
        let commits = (0..1_000).map(|next| {
            let mut writer = Writer::new(&store, 100_000_000 + base * 1_000 + next);
            Arc::new(writer.next())
        });
        let results = block_on(store.commit(commits.collect()));
        assert!(results.iter().all(|one| matches!(one, CommitResult::Committed { .. })));
    }
    let (written, report) = (start.elapsed(), store.report());
    drop(store);
    let start = Instant::now();
    let store = DiskStore::open(&config, Arc::new(Machine)).unwrap();
    println!(
        "{RECORDS} records of {VALUE_BYTES} bytes: log {} MB, written in {} ms, opened in {} ms, \
         resident memory grew by {} bytes a record, counted as {}",
        report.total_bytes / 1_000_000,
        written.as_millis(),
        start.elapsed().as_millis(),
        (resident_kilobytes() - before) * 1_024 / RECORDS,
        report.index_bytes / RECORDS
    );
    drop(store);
    std::fs::remove_dir_all(config.folder).unwrap();
}

fn main() {
    let folder = std::env::args().nth(1).expect("name a folder to measure in");
    let folder = Path::new(&folder);
    let store = DiskStore::open(&DiskConfig::new(folder.join("data")), Arc::new(Machine)).unwrap();
    lone(folder, &store);
    groups(&store);
    println!("{:?}", store.report());
    drop(store);
    std::fs::remove_dir_all(folder.join("data")).unwrap();
    stalls(folder);
    crowded_stalls(folder);
    many(folder);
}
