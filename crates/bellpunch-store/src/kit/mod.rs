//! The conformance kit: what every backend must show, as one call.
//!
//! Invariant: a test passes, is skipped with a reason that is counted, or panics with the claim
//! that did not hold; none is left out silently. Why threads and no runtime: a backend brings its
//! own futures, and [`block_on`] drives them without a word about how they wake.
//!
//! ```
//! use std::sync::Arc;
//! use bellpunch_store::kit::{self, Backend, KitClock, Place};
//! use bellpunch_store::{MemoryConfig, MemoryStore, Store};
//!
//! #[derive(Debug)]
//! struct Memory;
//! #[derive(Debug)]
//! struct Once(Arc<KitClock>);
//!
//! impl Backend for Memory {
//!     fn place(&self, clock: Arc<KitClock>) -> Box<dyn Place> { Box::new(Once(clock)) }
//! }
//! impl Place for Once {
//!     fn open(&self) -> Result<Arc<dyn Store>, String> {
//!         Ok(Arc::new(MemoryStore::new(self.0.clone(), MemoryConfig::default())))
//!     }
//! }
//! let report = kit::check(&Memory);
//! assert!(report.passed.contains(&"kit.fence"));
//! assert_eq!(report.skipped.iter().filter(|(name, _)| *name == "kit.reopen").count(), 1);
//! ```
#![expect(clippy::unwrap_used, reason = "the kit is test code: it stops at the unexpected")]
#![expect(clippy::indexing_slicing, reason = "the kit is test code: it stops at the unexpected")]
#![expect(clippy::wildcard_enum_match_arm, reason = "any other answer fails the test")]
#![expect(clippy::arithmetic_side_effects, reason = "overflow is checked, and ends the test")]

mod blobs;
mod clock;
mod commits;
mod damage;
mod race;
mod scans;
mod times;

pub use blobs::check_blobs;

pub use clock::{KitClock, block_on};

use std::fmt;
use std::sync::Arc;

use crate::{
    Commit, CommitId, CommitResult, Kind, Partition, Precondition, RecordId, RecordKey, Resolution,
    Scan, Store, Timestamp, Version, Versioned, Write, WriteValue,
};

/// What a backend hands the kit.
pub trait Backend: fmt::Debug {
    /// Somewhere new, where nothing is stored yet.
    fn place(&self, clock: Arc<KitClock>) -> Box<dyn Place>;
}

/// Where a store keeps its data, and what can be done to it. What a backend cannot do is skipped.
pub trait Place: fmt::Debug {
    /// Opens the store. The one before has been dropped.
    ///
    /// # Errors
    /// If the store refuses what it finds, with its message.
    fn open(&self) -> Result<Arc<dyn Store>, String>;

    /// Takes away the power: what was not durable is gone. Called while the store is open; the
    /// store is then dropped, and its drop may change nothing.
    fn crash(&self) -> Able {
        Able::No("it cannot lose power")
    }

    /// Whether what was stored is found again by the next [`open`](Self::open).
    fn keeps(&self) -> Able {
        Able::No("it survives nothing")
    }

    /// Changes the stored bytes of what was last written, while the store is open.
    fn damage(&self) -> Able {
        Able::No("its stored values cannot be damaged")
    }

    /// Makes what is stored say that a newer release wrote it. The store is closed.
    fn newer(&self) -> Able {
        Able::No("it has no stored format")
    }

    /// Whether whoever reads the kit's clock can be held while it has exclusivity. An engine in
    /// another process reads a clock of its own: there, tests of the backend hold it by its locks.
    fn holds(&self) -> Able {
        Able::Yes
    }

    /// Has the `step`th internal step from now on fail. The store is open.
    fn fail_at(&self, step: u64) -> Able {
        let _ = step;
        Able::No("its steps cannot be made to fail")
    }
}

/// Whether a place can do what it was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Able {
    /// Done.
    Yes,
    /// It cannot, and why.
    No(&'static str),
}

/// What the kit found. A test that failed has panicked.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// What was shown.
    pub passed: Vec<&'static str>,
    /// What could not be tried, and why.
    pub skipped: Vec<(&'static str, &'static str)>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} passed, {} skipped", self.passed.len(), self.skipped.len())?;
        for name in &self.passed {
            writeln!(f, "  {name}")?;
        }
        for (name, why) in &self.skipped {
            writeln!(f, "  {name} skipped: {why}")?;
        }
        Ok(())
    }
}

type Test = fn(&dyn Backend) -> Able;

const TESTS: &[(&str, Test)] = &[
    ("kit.create", commits::create),
    ("kit.fence", commits::fence),
    ("kit.read_set", commits::read_set),
    ("kit.confirm", commits::confirm),
    ("kit.read", commits::read),
    ("kit.order", race::order),
    ("kit.whole", damage::whole),
    ("kit.many", commits::many),
    ("kit.purge", commits::purge),
    ("kit.purge.time", times::purge_time),
    ("kit.purge.reopened", damage::purge_reopened),
    ("kit.deadline", times::deadline),
    ("kit.deadline.exclusivity", times::deadline_after_exclusivity),
    ("kit.unknown", commits::unknown),
    ("kit.resolve", commits::resolve),
    ("kit.resolve.reopened", damage::resolve_reopened),
    ("kit.time", times::time),
    ("kit.scan", scans::scan),
    ("kit.scan.due", scans::due),
    ("kit.scan.removed", scans::removed),
    ("kit.scan.partitions", scans::partitions),
    ("kit.bounds", scans::bounds),
    ("kit.format", damage::format),
    ("kit.corrupt", damage::corrupt),
    ("kit.reopen", damage::reopen),
    ("kit.reopen.crash", damage::reopen_after_crash),
    ("kit.race", race::race),
    ("kit.honest", race::honest),
];

/// Runs every test.
///
/// # Panics
/// With the claim that does not hold.
#[must_use]
pub fn check(backend: &dyn Backend) -> Report {
    let mut report = Report::default();
    for (name, test) in TESTS {
        match test(backend) {
            Able::Yes => report.passed.push(name),
            Able::No(why) => report.skipped.push((name, why)),
        }
    }
    assert_eq!(report.passed.len() + report.skipped.len(), TESTS.len(), "every test is counted");
    report
}

/// A store of a new place, and short ways to use it.
struct Bench {
    clock: Arc<KitClock>,
    place: Box<dyn Place>,
    store: Arc<dyn Store>,
    partition: Partition,
    ids: u128,
}

const KIND: Kind = Kind::new("records");

fn key(id: &str) -> RecordKey {
    RecordKey { kind: KIND, id: RecordId::stored(id) }
}

fn reads(id: &str, version: u64) -> Precondition {
    Precondition { key: key(id), version: Version::new(version) }
}

impl Bench {
    fn new(backend: &dyn Backend) -> Self {
        let clock = Arc::new(KitClock::new());
        let place = backend.place(Arc::clone(&clock));
        let store = place.open().unwrap();
        Self { clock, place, store, partition: Partition::new("p").unwrap(), ids: 0 }
    }

    /// A commit that reads these, and so far writes nothing.
    fn commit(&mut self, preconditions: Vec<Precondition>) -> Commit {
        self.ids += 1;
        let id = CommitId::new(self.ids * 0x9e37_79b9_7f4a_7c15);
        let (partition, now) = (self.partition.clone(), self.clock.time());
        Commit { id, partition, now, deadline: None, preconditions, writes: Vec::new() }
    }

    /// A commit that reads one record and writes it, at the version after.
    fn put(&mut self, id: &str, version: u64, value: &str) -> Commit {
        let commit = self.commit(vec![reads(id, version)]);
        commit.with(id, version + 1, put(value))
    }

    fn send(&self, commit: &Commit) -> CommitResult {
        send(&*self.store, commit)
    }

    fn read(&self, id: &str) -> Versioned {
        block_on(self.store.read(&self.partition, &[key(id)])).unwrap().remove(0)
    }

    /// Asserts a record's version and content.
    #[track_caller]
    fn expect(&self, id: &str, version: u64, value: Option<&str>) {
        let found = self.read(id);
        let text = found.value.as_deref().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
        assert_eq!((found.version.get(), text.as_deref()), (version, value), "record {id}");
    }

    fn resolve(&self, id: CommitId) -> Resolution {
        block_on(self.store.resolve(&self.partition, id)).unwrap()
    }

    fn scan(&self, scan: &Scan) -> crate::Page {
        block_on(self.store.scan(&self.partition, scan)).unwrap()
    }

    /// Closes the store and opens it again.
    fn reopen(self) -> Self {
        let Self { clock, place, store, partition, ids } = self;
        drop(store);
        let store = place.open().unwrap();
        Self { clock, place, store, partition, ids }
    }
}

fn send(store: &dyn Store, commit: &Commit) -> CommitResult {
    block_on(store.commit(vec![Arc::new(commit.clone())])).remove(0)
}

fn put(value: &str) -> WriteValue {
    WriteValue::Put(value.as_bytes().into())
}

fn second() -> bellpunch_core::Duration {
    bellpunch_core::Duration::from_millis(1_000)
}

impl Commit {
    fn with(mut self, id: &str, version: u64, value: WriteValue) -> Self {
        let (at, version) = (self.now, Version::new(version));
        self.writes.push(Write { key: key(id), version, at, sweep_at: None, value });
        self
    }

    fn before(mut self, deadline: Timestamp) -> Self {
        self.deadline = Some(deadline);
        self
    }
}

#[track_caller]
fn committed(result: &CommitResult) -> Timestamp {
    match result {
        CommitResult::Committed { at } => *at,
        other => panic!("expected Committed, got {other:?}"),
    }
}

/// The records that a conflict names, and their versions.
#[track_caller]
fn conflict(result: &CommitResult) -> Vec<(String, u64)> {
    match result {
        CommitResult::Conflict { current } => current
            .iter()
            .map(|(key, now)| (key.id.as_str().to_owned(), now.version.get()))
            .collect(),
        other => panic!("expected Conflict, got {other:?}"),
    }
}
