//! What callers of the engine see: outcomes, receipts, errors, settings.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use bellpunch_core::{
    DecidedBy, Duration, IdempotencyKey, Partition, Rejection, Reply, Timestamp, Versions,
};
use bellpunch_store::Risk;

/// The answer of a command: the rule said yes, or no. Neither is an error.
#[derive(Clone, Debug)]
pub enum Outcome<R> {
    /// Yes; durable.
    Accepted(Receipt<R>),
    /// No; nothing was written or charged.
    Rejected(Refusal),
}

/// What an accepted command gives back.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Receipt<R> {
    /// The decision time.
    pub at: Timestamp,
    /// Told again from the outcome record of its key.
    pub replayed: bool,
    /// Whether the store decided.
    pub decided_by: DecidedBy,
    /// Decided on a best-effort store: it may have let more pass than the limit.
    pub best_effort: bool,
    /// `false`: a crash can lose it. It was told before it was durable, since its policy is relaxed, or
    /// decided on a relaxed store; see [`Properties::risk`].
    ///
    /// [`Properties::risk`]: bellpunch_store::Properties::risk
    pub durable: bool,
    /// The versions of what it wrote.
    pub versions: Versions,
    /// The versions of what it only read.
    pub as_of: Versions,
    /// Its place in the partition's journal, where there is one.
    pub seq: Option<u64>,
    /// What the rule answered.
    pub reply: R,
}

/// An answer of any commands.
#[derive(Debug)]
pub enum AnyOutcome {
    /// Yes.
    Accepted(AnyReceipt),
    /// No.
    Rejected(Refusal),
}

/// A receipt of any commands: of a list, one reply each.
#[derive(Debug)]
#[non_exhaustive]
pub struct AnyReceipt {
    /// The decision time.
    pub at: Timestamp,
    /// Told again from the outcome record of its key.
    pub replayed: bool,
    /// Whether the store decided.
    pub decided_by: DecidedBy,
    /// A dry run: nothing was written or reserved.
    pub dry_run: bool,
    /// Decided on a best-effort store: it may have let more pass than the limit.
    pub best_effort: bool,
    /// `false`: a crash can lose it. It was told before it was durable, since its policy is relaxed, or
    /// decided on a relaxed store; see [`Properties::risk`].
    ///
    /// [`Properties::risk`]: bellpunch_store::Properties::risk
    pub durable: bool,
    /// The versions of what it wrote.
    pub versions: Versions,
    /// Of a list, the versions that each command wrote. Empty of a single command.
    pub versions_each: Vec<Versions>,
    /// The versions of what it only read (of a dry run: of all it read).
    pub as_of: Versions,
    /// The place of each command in the partition's journal; empty where there is none.
    pub seqs: Vec<Option<u64>>,
    /// What the rules answered, one per command.
    pub replies: Vec<Reply>,
}

/// Why the rule said no, and on what.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Refusal {
    /// Which command of a list said no.
    pub index: usize,
    /// Code, category and data.
    pub rejection: Rejection,
    /// The decision time.
    pub at: Timestamp,
    /// The versions it was decided on.
    pub as_of: Versions,
    /// Whether the store confirmed it.
    pub decided_by: DecidedBy,
    /// Decided on a best-effort store.
    pub best_effort: bool,
    /// `false`: what it was decided on can be lost.
    pub durable: bool,
}

/// How a command is sent.
#[derive(Clone, Debug, Default)]
pub struct CallOptions {
    /// The caller's name for this intent: at most one effect for it.
    pub key: Option<IdempotencyKey>,
    /// Decide and drop: it reserves nothing.
    pub dry_run: bool,
    /// How long to wait; `None`: the engine's default.
    pub timeout: Option<std::time::Duration>,
}

/// What broke, and so what to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Others committed first, more often than the bound. Not applied; send again.
    Contended,
    /// A queue is full. Not applied; send again later.
    Overloaded,
    /// The engine is stopping. Not applied; send to another node.
    Draining,
    /// The store cannot be used. Not applied.
    StoreUnavailable,
    /// This node's clock is too far ahead of the store's. Not applied.
    ClockAhead,
    /// The wait was over before the commit was sent. Not applied.
    TimedOut,
    /// Too many callers wait for the same idempotency key. Not applied by this call.
    KeyInProgress,
    /// It may have been applied. With a key: ask for its outcome, or send again.
    Unknown,
    /// The store can lose what it acknowledged, this command is no rate limit, and nobody accepted
    /// that risk. Not applied; no retry helps.
    RiskNotAccepted,
    /// The command cannot be carried by this store: too many records or bytes.
    TooLarge,
    /// A bug, or damaged data. Not applied.
    Internal,
}

impl ErrorKind {
    /// The stable code of the wire.
    ///
    /// ```
    /// assert_eq!(bellpunch::ErrorKind::Unknown.code(), "outcome_unknown");
    /// ```
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Contended => "contended",
            Self::Overloaded => "overloaded",
            Self::Draining => "draining",
            Self::StoreUnavailable => "store_unavailable",
            Self::ClockAhead => "clock_ahead",
            Self::TimedOut => "timed_out",
            Self::KeyInProgress => "idempotency_key_in_progress",
            Self::Unknown => "outcome_unknown",
            Self::RiskNotAccepted => "risk_not_accepted",
            Self::TooLarge => "too_large",
            Self::Internal => "internal",
        }
    }
}

/// Something broke; the rule did not say no.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    message: Arc<str>,
}

impl Error {
    /// An error of this kind.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl AsRef<str>) -> Self {
        Self { kind, message: message.as_ref().into() }
    }

    /// What to do.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.code(), self.message)
    }
}

impl std::error::Error for Error {}

/// Maxima and spans of an engine. Every queue, batch, retry and cache has its name here.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Executors; partitions are spread over them. 0: one per core.
    pub shards: usize,
    /// Commands that wait for one partition; above it, `overloaded`.
    pub queue_max: usize,
    /// Commands combined into one commit.
    pub batch_max: usize,
    /// Decisions of one command after conflicts; above it, `contended`.
    pub retries_max: u32,
    /// Bytes of records kept decoded, over all shards; for a moment more by what the batch of a
    /// partition needs, which `batch_max` and the store's own maxima bound.
    pub cache_bytes_max: usize,
    /// How long the outcome of an idempotency key is kept.
    pub keep_outcomes: Duration,
    /// Partitions that have a journal from their next accepted command on. One that has one keeps
    /// it, named here or not.
    pub journal: BTreeSet<Partition>,
    /// How far clocks may be apart: taken off deadlines where the store has no clock.
    pub clock_skew_max: Duration,
    /// How long a call waits unless it says otherwise.
    pub timeout: std::time::Duration,
    /// How long after a round of sweeps the next one begins. A round takes a twentieth of the store's
    /// time at most, unless much is due.
    pub sweep_every: std::time::Duration,
    /// The risk of a relaxed store that is accepted for everything. On a store with another one,
    /// only rate limits are served. `None`: none is accepted.
    pub accept_risk: Option<Risk>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            shards: 0,
            queue_max: 4_096,
            batch_max: 512,
            retries_max: 64,
            cache_bytes_max: 64 << 20,
            keep_outcomes: Duration::from_days(7),
            journal: BTreeSet::new(),
            clock_skew_max: Duration::from_millis(500),
            timeout: std::time::Duration::from_secs(10),
            sweep_every: std::time::Duration::from_secs(10),
            accept_risk: None,
        }
    }
}

/// Counts of values up to bounds, for metrics.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Histogram {
    /// Values at most as large as the bound of the same place, as the caller knows them.
    pub buckets: [u64; 12],
    /// All values.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
}

/// Upper bounds of the seconds of a commit, in microseconds.
pub const COMMIT_MICROS: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 500_000, 2_500_000, 10_000_000];
/// Upper bounds of the commands of a batch.
pub const BATCH_COMMANDS: [u64; 12] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 4_096];

impl Histogram {
    /// Counts a value.
    ///
    /// ```
    /// use bellpunch::{BATCH_COMMANDS, Histogram};
    /// let mut batches = Histogram::default();
    /// batches.observe(&BATCH_COMMANDS, 3);
    /// assert_eq!((batches.buckets[1], batches.buckets[2], batches.count), (0, 1, 1));
    /// ```
    pub fn observe(&mut self, bounds: &[u64; 12], value: u64) {
        for (count, bound) in self.buckets.iter_mut().zip(bounds) {
            if value <= *bound {
                *count = count.saturating_add(1);
            }
        }
        self.count = self.count.saturating_add(1);
        self.sum = self.sum.saturating_add(value);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, count) in self.buckets.iter_mut().zip(other.buckets) {
            *sum = sum.saturating_add(count);
        }
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.saturating_add(other.sum);
    }
}

/// Counts since the start, for metrics.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct EngineStats {
    /// Commits by result, in the order committed, conflict, too late, clock ahead, unknown, failed.
    pub commits: [u64; 6],
    /// Microseconds of commits by result, in the same order, within [`COMMIT_MICROS`].
    pub commit_micros: [Histogram; 6],
    /// Commands of each batch that was sent, within [`BATCH_COMMANDS`].
    pub batch_commands: Histogram,
    /// How often the clock was earlier than before.
    pub clock_steps: u64,
    /// Nanoseconds that this node's clock is ahead of the store's, as far as the last commit can
    /// tell; less than 0: behind.
    pub clock_skew_nanos: i64,
    /// Commands in all commits.
    pub commands_committed: u64,
    /// Commands that wait now.
    pub queued: u64,
    /// Answers `overloaded`.
    pub queue_full: u64,
    /// Decisions repeated after a conflict.
    pub conflict_retries: u64,
    /// Answers `contended`.
    pub contended: u64,
    /// Commits whose fate is unknown now.
    pub unknown_open: u64,
    /// Commits whose unknown fate was found out.
    pub unknown_resolved: u64,
    /// Decisions without the store: open, local, and refusals told again from memory.
    pub storeless: [u64; 3],
    /// Rules that panicked.
    pub panics: u64,
    /// Bytes of records kept decoded.
    pub cache_bytes: u64,
}

impl EngineStats {
    /// Adds the counts of another shard.
    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, count) in self.commits.iter_mut().zip(other.commits) {
            *sum = sum.saturating_add(count);
        }
        for (sum, micros) in self.commit_micros.iter_mut().zip(&other.commit_micros) {
            sum.add(micros);
        }
        self.batch_commands.add(&other.batch_commands);
        // All shards have one clock, and one store.
        self.clock_steps = self.clock_steps.max(other.clock_steps);
        if self.clock_skew_nanos.unsigned_abs() < other.clock_skew_nanos.unsigned_abs() {
            self.clock_skew_nanos = other.clock_skew_nanos;
        }
        for (sum, count) in self.storeless.iter_mut().zip(other.storeless) {
            *sum = sum.saturating_add(count);
        }
        for (sum, count) in [
            (&mut self.commands_committed, other.commands_committed),
            (&mut self.queued, other.queued),
            (&mut self.queue_full, other.queue_full),
            (&mut self.conflict_retries, other.conflict_retries),
            (&mut self.contended, other.contended),
            (&mut self.unknown_open, other.unknown_open),
            (&mut self.unknown_resolved, other.unknown_resolved),
            (&mut self.panics, other.panics),
            (&mut self.cache_bytes, other.cache_bytes),
        ] {
            *sum = sum.saturating_add(count);
        }
    }
}
