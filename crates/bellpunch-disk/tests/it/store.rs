//! What the kit cannot ask of every backend: syncs, failures, bounds, compaction.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bellpunch_disk::testing::{FaultFiles, Loss, Trouble};
use bellpunch_disk::{DiskConfig, DiskStore, OpenErrorKind};
use bellpunch_store::kit::{KitClock, block_on};
use bellpunch_store::{
    Clock, Commit, CommitId, CommitResult, FailureKind, Kind, Partition, Precondition, RecordId,
    RecordKey, Resolution, Store, Timestamp, Version, Versioned, Write, WriteValue,
};

use crate::open;
use crate::workload::{Workload, dump, small};

static IDS: AtomicU64 = AtomicU64::new(1);

fn key(id: &str) -> RecordKey {
    RecordKey { kind: Kind::new("records"), id: RecordId::stored(id) }
}

fn partition() -> Partition {
    Partition::new("p").unwrap()
}

fn commit(id: &str, version: u64, value: WriteValue) -> Arc<Commit> {
    let now = KitClock::new().now();
    Arc::new(Commit {
        id: CommitId::new(u128::from(IDS.fetch_add(1, Ordering::Relaxed))),
        partition: partition(),
        now,
        deadline: None,
        preconditions: vec![Precondition { key: key(id), version: Version::new(version) }],
        writes: vec![Write {
            key: key(id),
            version: Version::new(version + 1),
            at: now,
            sweep_at: None,
            value,
        }],
    })
}

fn put(id: &str, version: u64) -> Arc<Commit> {
    commit(id, version, WriteValue::Put(vec![b'v'; 40].into()))
}

fn store_on(files: &FaultFiles, config: &DiskConfig) -> DiskStore {
    open(files, config, Arc::new(KitClock::new())).unwrap()
}

fn send(store: &DiskStore, commit: &Arc<Commit>) -> CommitResult {
    block_on(store.commit(vec![Arc::clone(commit)])).remove(0)
}

#[track_caller]
fn committed(result: &CommitResult) {
    assert!(matches!(result, CommitResult::Committed { .. }), "{result:?}");
}

#[track_caller]
fn failed(result: &CommitResult) -> FailureKind {
    let CommitResult::Failed(failure) = result else { panic!("expected Failed, got {result:?}") };
    failure.kind()
}

fn version(store: &DiskStore, id: &str) -> u64 {
    let found: Vec<Versioned> = block_on(store.read(&partition(), &[key(id)])).unwrap();
    found[0].version.get()
}

#[test]
fn syncs_once_for_all_that_queued_up_and_shows_nothing_before() {
    let files = FaultFiles::default();
    let store = store_on(&files, &DiskConfig::new("data"));
    files.hold();
    let first = store.commit(vec![put("a", 0)]);
    files.wait_held();
    // The call queues it; nobody has to poll.
    let ids: Vec<_> = (0..100).map(|id| id.to_string()).collect();
    let queued: Vec<_> = ids.iter().map(|id| store.commit(vec![put(id, 0)])).collect();
    let confirms = Commit { writes: Vec::new(), ..(*put("a", 1)).clone() };
    let confirms = store.commit(vec![Arc::new(confirms)]);
    assert_eq!(version(&store, "a"), 0, "not durable, so not visible");
    files.release();
    committed(&block_on(first)[0]);
    for results in queued {
        committed(&block_on(results)[0]);
    }
    committed(&block_on(confirms)[0]);
    assert_eq!(store.report().syncs, 2);
    // A batch without writes syncs nothing.
    let confirms = Commit { writes: Vec::new(), ..(*put("a", 1)).clone() };
    committed(&send(&store, &Arc::new(confirms)));
    assert!(matches!(send(&store, &put("a", 0)), CommitResult::Conflict { .. }));
    assert_eq!(store.report().syncs, 2);
}

#[test]
fn a_failed_write_or_sync_stops_it_for_good() {
    for step in 0..2 {
        let files = FaultFiles::default();
        let store = store_on(&files, &DiskConfig::new("data"));
        committed(&send(&store, &put("a", 0)));
        files.wait_made("00000002.log");
        files.trouble(Trouble::FailAfter(step));
        let lost = put("a", 1);
        assert!(matches!(send(&store, &lost), CommitResult::Unknown));
        files.trouble(Trouble::None);
        assert_eq!(failed(&send(&store, &put("b", 0))), FailureKind::Unavailable);
        let failure = store.report().stopped.unwrap();
        assert!(failure.to_string().contains("restart to recover"), "{failure}");
        let read = block_on(store.read(&partition(), &[key("a")]));
        assert_eq!(read.unwrap_err().kind(), FailureKind::Unavailable);
        assert!(block_on(store.resolve(&partition(), lost.id)).is_err());
        drop(store);
        let store = store_on(&files, &DiskConfig::new("data"));
        let resolution = block_on(store.resolve(&partition(), lost.id)).unwrap();
        let applied = resolution == Resolution::Applied;
        assert_eq!(version(&store, "a"), if applied { 2 } else { 1 });
    }
}

#[test]
fn what_was_read_from_the_cache_is_written_again_before_it_is_served() {
    let files = FaultFiles::default();
    let store = store_on(&files, &DiskConfig::new("data"));
    files.wait_made("00000002.log");
    files.trouble(Trouble::FailAfter(1));
    // Written, and the sync failed.
    assert!(matches!(send(&store, &put("a", 0)), CommitResult::Unknown));
    drop(store);
    files.trouble(Trouble::None);
    let store = store_on(&files, &DiskConfig::new("data"));
    assert_eq!(version(&store, "a"), 1);
    let files = files.after(files.steps().len(), Loss::Everything);
    let store = store_on(&files, &DiskConfig::new("data"));
    assert_eq!(version(&store, "a"), 1, "seen once, so durable");
}

#[test]
fn a_full_disk_stops_a_write_but_only_refuses_a_new_segment() {
    let files = FaultFiles::default();
    let store = store_on(&files, &DiskConfig::new("data"));
    committed(&send(&store, &put("a", 0)));
    files.wait_made("00000002.log");
    files.trouble(Trouble::FullAfter(50));
    assert!(matches!(send(&store, &put("a", 1)), CommitResult::Unknown));
    assert_eq!(failed(&send(&store, &put("a", 1))), FailureKind::Unavailable);
    drop(store);
    files.trouble(Trouble::None);
    let store = store_on(&files, &DiskConfig::new("data"));
    assert_eq!(version(&store, "a"), 1, "the torn batch is cut");
    assert!(0 < store.report().cut_bytes);

    // Segments of one commit. The next one is made; the one after it cannot be.
    let files = FaultFiles::default();
    let config = DiskConfig { segment_bytes: 256, ..DiskConfig::new("data") };
    let store = store_on(&files, &config);
    committed(&send(&store, &put("a", 0)));
    files.wait_made("00000002.log");
    files.trouble(Trouble::NoNewFiles);
    committed(&send(&store, &put("a", 1)));
    for _ in 0..3 {
        assert_eq!(failed(&send(&store, &put("a", 2))), FailureKind::Full);
    }
    assert_eq!(version(&store, "a"), 2, "reads go on");
    files.trouble(Trouble::None);
    // What was tried before there was room may still be refused.
    let mut result = send(&store, &put("a", 2));
    while let CommitResult::Failed(failure) = result {
        assert_eq!(failure.kind(), FailureKind::Full);
        result = send(&store, &put("a", 2));
    }
    committed(&result);
    assert_eq!(version(&store, "a"), 3);
    assert_eq!(store.report().stopped, None);
}

#[test]
fn a_second_owner_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = DiskConfig::new(folder.path().join("made/on/the/way"));
    let store = DiskStore::open(&config, Arc::new(KitClock::new())).unwrap();
    let error = DiskStore::open(&config, Arc::new(KitClock::new())).unwrap_err();
    assert_eq!(error.kind(), OpenErrorKind::Locked);
    assert!(error.to_string().contains("another process"), "{error}");
    drop(store);
    DiskStore::open(&config, Arc::new(KitClock::new())).unwrap();
}

#[test]
fn refuses_segments_that_are_too_short_or_too_long() {
    for segment_bytes in [0, 255, (1 << 30) + 1] {
        let config = DiskConfig { segment_bytes, ..DiskConfig::new("data") };
        let error = open(&FaultFiles::default(), &config, Arc::new(KitClock::new())).unwrap_err();
        assert_eq!(error.kind(), OpenErrorKind::Config);
    }
}

#[test]
fn refuses_more_than_its_bounds() {
    let files = FaultFiles::default();
    let config = DiskConfig { index_bytes_max: 350, ..DiskConfig::new("data") };
    let store = store_on(&files, &config);
    committed(&send(&store, &put("a", 0)));
    committed(&send(&store, &put("b", 0)));
    assert_eq!(failed(&send(&store, &put("c", 0))), FailureKind::Full);
    committed(&send(&store, &put("b", 1)));
    committed(&send(&store, &commit("b", 2, WriteValue::Purge)));
    committed(&send(&store, &put("c", 3)));
    assert_eq!(store.report().index_bytes, 322);

    files.hold();
    let first = store.commit(vec![put("a", 1)]);
    files.wait_held();
    let confirmation = Arc::new(Commit { writes: Vec::new(), ..(*put("a", 2)).clone() });
    let many = store.commit(vec![Arc::clone(&confirmation); 65_536]);
    let refused = block_on(store.commit(vec![confirmation]));
    assert_eq!(failed(&refused[0]), FailureKind::Throttled);
    files.release();
    committed(&block_on(first)[0]);
    block_on(many).iter().for_each(committed);
}

#[test]
fn compaction_frees_space_and_loses_nothing() {
    let (files, mut workload) = (FaultFiles::default(), Workload::new(77));
    let store = open(&files, &small(), workload.clock()).unwrap();
    let mut bytes_max = 0;
    for _ in 0..600 {
        workload.step(&store);
        bytes_max = store.report().total_bytes.max(bytes_max);
    }
    assert!(bytes_max < 20_000, "{bytes_max} bytes for 20 small records");
    assert_eq!(Some(&dump(&store)), workload.states.last());
    // Nothing more is compacted, so nothing is counted anew, while the two are compared.
    store.close();
    let report = store.report();
    assert!(50 < report.compacted, "{report:?}");
    assert_eq!(report.compaction_stopped, None);
    drop(store);
    let store = open(&files, &small(), workload.clock()).unwrap();
    assert_eq!(Some(&dump(&store)), workload.states.last());
    assert_eq!(store.report().live_bytes, report.live_bytes, "counted the same by recovery");
    let long_gone = CommitId::new(1);
    let resolution = block_on(store.resolve(&partition(), long_gone)).unwrap();
    assert_eq!(resolution, Resolution::NotKnown);
}

#[test]
fn compaction_keeps_up_with_a_writer_that_never_pauses() {
    const MIB: u64 = 1 << 20;
    let files = FaultFiles::default();
    let config = DiskConfig { segment_bytes: MIB, slack_bytes: MIB, ..DiskConfig::new("data") };
    let store = store_on(&files, &config);
    let big = |version| commit("big", version, WriteValue::Put(vec![b'v'; 1 << 20].into()));
    // As much that stays as is written over, in the oldest segments.
    for id in 0..16 {
        let kept = commit(&format!("kept {id}"), 0, WriteValue::Put(vec![b'v'; 1 << 16].into()));
        committed(&send(&store, &kept));
    }
    let (mut bytes_max, mut waiting) = (0, VecDeque::new());
    for version in 0..48 {
        // Two are always queued: the committer is never left alone.
        waiting.push_back(store.commit(vec![big(version)]));
        if 2 < waiting.len() {
            committed(&block_on(waiting.pop_front().unwrap())[0]);
        }
        bytes_max = store.report().total_bytes.max(bytes_max);
    }
    for results in waiting {
        committed(&block_on(results)[0]);
    }
    // Twice the two that count, the slack, and what two batches of up to three commits and their
    // copies append before the first segments go.
    assert!(bytes_max < 16 * MIB, "{bytes_max} bytes for 2 MiB");
    assert_eq!(version(&store, "big"), 48);
    assert_eq!(version(&store, "kept 7"), 1);
}

#[test]
fn a_damaged_segment_is_not_compacted_away() {
    let files = FaultFiles::default();
    let config = DiskConfig { segment_bytes: 4_096, slack_bytes: 8_192, ..DiskConfig::new("data") };
    let store = store_on(&files, &config);
    committed(&send(&store, &put("kept", 0)));
    files.change("00000001.log", |bytes| {
        let at = bytes.len() - 10;
        bytes[at] ^= 1;
    });
    for version in 0..200 {
        committed(&send(&store, &put("a", version)));
    }
    let report = store.report();
    assert_eq!(report.compaction_stopped.unwrap().kind(), FailureKind::Corrupt);
    assert_eq!(report.compacted, 0);
    assert!(files.names().contains(&"00000001.log".to_owned()));
    let failure = block_on(store.read(&partition(), &[key("kept")])).unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Corrupt);
}

#[test]
fn remembers_the_newest_commit_ids() {
    let files = FaultFiles::default();
    let store = store_on(&files, &DiskConfig::new("data"));
    let first = put("a", 0);
    committed(&send(&store, &first));
    let resolve = |id| block_on(store.resolve(&partition(), id)).unwrap();
    assert_eq!(resolve(first.id), Resolution::Applied);
    let mut version = 1;
    for _ in 0..66 {
        let commits: Vec<_> = (0..1_000).map(|next| put("a", version + next)).collect();
        block_on(store.commit(commits)).iter().for_each(committed);
        version += 1_000;
    }
    assert_eq!(resolve(first.id), Resolution::NotKnown);
    assert_eq!(store.report().records, 1);
}

#[test]
fn close_finishes_what_was_queued_and_refuses_what_comes() {
    let files = FaultFiles::default();
    let store = store_on(&files, &DiskConfig::new("data"));
    let queued: Vec<_> = (0..50).map(|id| store.commit(vec![put(&id.to_string(), 0)])).collect();
    store.close();
    for results in queued {
        committed(&block_on(results)[0]);
    }
    assert_eq!(failed(&send(&store, &put("late", 0))), FailureKind::Unavailable);
    store.close();
    assert!(files.names().contains(&"closed".to_owned()));
    drop(store);
    let store = store_on(&files, &DiskConfig::new("data"));
    assert!(!files.names().contains(&"closed".to_owned()), "open again");
    assert_eq!(version(&store, "49"), 1);
}

#[derive(Debug)]
struct Broken;

impl Clock for Broken {
    fn now(&self) -> Timestamp {
        assert_ne!(std::thread::current().name(), Some("bellpunch-commit"), "a broken clock");
        Timestamp::EPOCH
    }
}

#[test]
fn a_panic_of_its_thread_leaves_nobody_waiting() {
    let files = FaultFiles::default();
    let store = open(&files, &DiskConfig::new("data"), Arc::new(Broken)).unwrap();
    let queued = [store.commit(vec![put("a", 0)]), store.commit(vec![put("b", 0)])];
    for results in queued {
        let result = block_on(results).remove(0);
        let answered = matches!(result, CommitResult::Unknown | CommitResult::Failed(_));
        assert!(answered, "{result:?}");
    }
    // Waits until the thread has ended.
    store.close();
    assert_eq!(failed(&send(&store, &put("a", 0))), FailureKind::Unavailable);
    let read = block_on(store.read(&partition(), &[key("a")]));
    assert_eq!(read.unwrap_err().kind(), FailureKind::Unavailable);
    drop(store);
    assert!(!files.names().contains(&"closed".to_owned()), "that was no orderly close");
    assert_eq!(version(&store_on(&files, &DiskConfig::new("data")), "a"), 0);
}
