//! The trait, and what a backend says of itself.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bellpunch_core::{Floor, Kind, Partition, RecordId, RecordKey, Timestamp};

use crate::{Commit, CommitId, CommitResult, Versioned};

/// A future that a `dyn Store` returns: one allocation per call, which is per batch.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where a store of our own gets its time: the driver's clock, or a test's.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// Who else writes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sharing {
    /// This process alone: what it knows is true.
    Exclusive,
    /// Others too: what it knows is confirmed before it is told.
    Shared,
}

/// Whether commits are what they should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Guarantee {
    /// Whole or not at all, on the versions named.
    Atomic,
    /// Not so. Only rate limits whose policy says `best_effort` may use it.
    BestEffort,
}

/// What an acknowledged commit survives.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Survives {
    /// Nothing: it lives in memory.
    Nothing,
    /// The end of the process.
    Process,
    /// The end of the machine's power.
    Machine,
    /// The loss of the machine.
    Failover,
}

/// Whose clock the deadline is compared with, and when.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StoreClock {
    /// The store's, after it has gained exclusivity.
    AtExclusivity,
    /// The store's, when the commit is admitted.
    AtAdmission,
    /// The node's: the engine takes the configured maximum skew off the deadline.
    Node,
}

/// How a commit that was acknowledged can be lost all the same: the store is *relaxed*. Rate limits
/// may use it, and each reply says so; all else only if the operator accepts the risk by its name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Risk {
    /// A crash of the store's machine or process loses what was acknowledged last.
    LostOnCrash,
    /// A replica that takes over lacks what was acknowledged last.
    LostOnFailover,
}

impl Risk {
    /// The name by which it is accepted.
    ///
    /// ```
    /// use bellpunch_store::Risk;
    /// assert_eq!(Risk::LostOnCrash.name(), "lost_on_crash");
    /// ```
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LostOnCrash => "lost_on_crash",
            Self::LostOnFailover => "lost_on_failover",
        }
    }
}

/// What a store says of itself. Each claim has its test in the kit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Properties {
    /// The backend's name, a metric label: `memory`, `disk`.
    pub name: &'static str,
    /// Who else writes.
    pub sharing: Sharing,
    /// Whether commits are atomic.
    pub guarantee: Guarantee,
    /// What an acknowledged commit survives.
    pub survives: Survives,
    /// How an acknowledged commit can be lost within what it survives. `None`: it cannot.
    pub risk: Option<Risk>,
    /// Whose clock is compared.
    pub clock: StoreClock,
    /// How many preconditions and writes one commit may have.
    pub records_max: usize,
    /// Below so many preconditions and writes a commit takes hardly less time, so that it is not
    /// worth while to send them beside another commit before there are more.
    pub records_min: usize,
    /// How many bytes of keys and values one commit may have.
    pub bytes_max: usize,
}

/// What went wrong in a store, and so what to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FailureKind {
    /// It cannot be reached, or has stopped after a failed sync.
    Unavailable,
    /// It has no room: its bound, or a full disk.
    Full,
    /// It asks for fewer requests.
    Throttled,
    /// A stored value is damaged.
    Corrupt,
    /// The commit exceeds the store's maxima.
    TooLarge,
    /// A blob of this name was written before.
    Exists,
}

/// Something broke. Nothing was applied.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    kind: FailureKind,
    message: Arc<str>,
}

impl Failure {
    /// A failure, with what happened, to what, and what to do next.
    ///
    /// ```
    /// use bellpunch_store::{Failure, FailureKind};
    /// let failure = Failure::new(FailureKind::Full, "no space left on the data folder's disk");
    /// assert_eq!(failure.kind(), FailureKind::Full);
    /// ```
    #[must_use]
    pub fn new(kind: FailureKind, message: impl AsRef<str>) -> Self {
        Self { kind, message: message.as_ref().into() }
    }

    /// What to do.
    #[must_use]
    pub const fn kind(&self) -> FailureKind {
        self.kind
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Whether a scan shows what was removed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Show {
    /// Records alone.
    #[default]
    Records,
    /// Tombstones too, as records without content, and the floors that purged records left: all
    /// that a copy needs so that no version falls.
    All,
}

/// A page of records of one kind, in byte order of ids.
#[derive(Clone, Debug)]
pub struct Scan {
    /// Of this kind; `None`: of all kinds, in order of kind, then id.
    pub kind: Option<Kind>,
    /// Ids that begin so.
    pub prefix: String,
    /// After this record.
    pub after: Option<RecordKey>,
    /// Only those whose `sweep_at` is at or before this.
    pub due_by: Option<Timestamp>,
    /// Whether what was removed belongs to the answer.
    pub show: Show,
    /// At most this many.
    pub limit: usize,
}

impl Scan {
    /// All records of a kind.
    #[must_use]
    pub fn of(kind: Kind, limit: usize) -> Self {
        let (prefix, show) = (String::new(), Show::Records);
        Self { kind: Some(kind), prefix, after: None, due_by: None, show, limit }
    }

    /// Whether a record with this key and time belongs to the answer (the page apart).
    #[must_use]
    pub fn wants(&self, key: &RecordKey, sweep_at: Option<Timestamp>) -> bool {
        self.kind.as_ref().is_none_or(|kind| *kind == key.kind)
            && key.id.as_str().starts_with(&self.prefix)
            && self.due_by.is_none_or(|due_by| sweep_at.is_some_and(|at| at <= due_by))
    }

    /// Whether the floors of a kind belong to the answer: they are on the first page.
    #[must_use]
    pub fn wants_floor(&self, kind: &Kind) -> bool {
        self.show == Show::All
            && self.after.is_none()
            && self.kind.as_ref().is_none_or(|wanted| wanted == kind)
    }

    /// The least key that can belong to the answer.
    #[must_use]
    pub fn start(&self) -> RecordKey {
        let first = RecordKey {
            kind: self.kind.clone().unwrap_or_else(|| Kind::named("")),
            id: RecordId::stored(&self.prefix),
        };
        match &self.after {
            Some(after) if first < *after => after.clone(),
            Some(_) | None => first,
        }
    }
}

/// One page of a scan.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// On the first page of a scan that shows all: the versions, above 0, and the times that absent
    /// records of a kind have at least, in order of kind.
    pub floors: Vec<(Kind, Floor)>,
    /// In order.
    pub records: Vec<(RecordKey, Versioned)>,
    /// The last record looked at, if there may be more after it: pass it as `after`. A store looks
    /// at a bounded number at a time, so a page may be short, or empty, and not the last.
    pub resume: Option<RecordKey>,
}

/// One page of partitions, in byte order.
#[derive(Clone, Debug, Default)]
pub struct PartitionPage {
    /// In order.
    pub partitions: Vec<Partition>,
    /// Whether there may be more after the last one.
    pub more: bool,
}

/// What became of a commit whose reply was lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Resolution {
    /// It was applied.
    Applied,
    /// It was not, as of now. One still on its way may land later, unless its preconditions can no
    /// longer hold.
    NotApplied,
    /// The store no longer remembers.
    NotKnown,
}

/// A storage backend. Open: implement it for the engine you run, then call the kit.
pub trait Store: fmt::Debug + Send + Sync {
    /// What it promises.
    fn properties(&self) -> Properties;

    /// Reads records, linearizably: at least as new as every commit acknowledged before.
    fn read<'a>(
        &'a self,
        partition: &'a Partition,
        keys: &'a [RecordKey],
    ) -> BoxFuture<'a, Result<Vec<Versioned>, Failure>>;

    /// Applies commits, each whole or not at all, independently; results in order.
    fn commit(&self, commits: Vec<Arc<Commit>>) -> BoxFuture<'_, Vec<CommitResult>>;

    /// Reads a page of records.
    fn scan<'a>(
        &'a self,
        partition: &'a Partition,
        scan: &'a Scan,
    ) -> BoxFuture<'a, Result<Page, Failure>>;

    /// Tells whether a commit was applied.
    fn resolve<'a>(
        &'a self,
        partition: &'a Partition,
        id: CommitId,
    ) -> BoxFuture<'a, Result<Resolution, Failure>>;

    /// Lists the partitions that have records, or had some.
    fn partitions<'a>(
        &'a self,
        after: Option<&'a Partition>,
        limit: usize,
    ) -> BoxFuture<'a, Result<PartitionPage, Failure>>;
}
