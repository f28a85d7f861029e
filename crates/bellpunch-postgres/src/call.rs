//! Commits as the arrays of one call, and its answer as their results.
//!
//! Invariant: a call has at most one commit of a partition, so the order of its commits means
//! nothing. Why arrays: one statement, made ready once, in one round trip, takes one commit or a
//! hundred.

use std::borrow::Cow;
use std::sync::Arc;

use bellpunch_store::{
    Commit, CommitResult, Failure, FailureKind, Precondition, RecordKey, Timestamp, Version,
    Versioned, WriteValue,
};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, ToSql};

use crate::json::exact;
use crate::text::escape;

/// Locks of single records that one call takes; beyond it takes all at once. The server has room
/// for `max_locks_per_transaction` (64) times `max_connections`, for all sessions together.
const LOCKS_MAX: usize = 256;

/// Preconditions and writes in one commit.
pub(crate) const RECORDS_MAX: usize = 16_384;
/// Bytes of keys and values in one commit.
pub(crate) const BYTES_MAX: usize = 16 << 20;

/// The call, with its parameters in order.
pub(crate) const COMMIT: &str = "select * from {schema}.commit_v1(
    $1::text[]::uuid[], $2, $3::text[]::numeric[], $4::text[]::numeric[],
    $5, $6, $7, $8, $9, $10, $11, $12, $13::text[]::numeric[], $14::text[]::numeric[],
    $15, $16::text[]::jsonb[], $17, $18, $19, $20, $21::text::numeric, $22)";

/// The arrays of a call.
#[derive(Debug, Default)]
pub(crate) struct Call<'a> {
    ids: Vec<String>,
    partitions: Vec<Cow<'a, str>>,
    nows: Vec<String>,
    deadlines: Option<Vec<Option<String>>>,
    reads: Reads<'a>,
    writes: Writes<'a>,
    locks: Vec<i32>,
    lock_all: bool,
}

#[derive(Debug, Default)]
struct Reads<'a> {
    commits: Vec<i32>,
    kinds: Vec<Cow<'a, str>>,
    ids: Vec<Cow<'a, str>>,
    versions: Vec<i64>,
}

#[derive(Debug, Default)]
struct Writes<'a> {
    commits: Vec<i32>,
    kinds: Vec<Cow<'a, str>>,
    ids: Vec<Cow<'a, str>>,
    versions: Vec<i64>,
    at: Vec<String>,
    sweep_at: Vec<Option<String>>,
    put: Vec<bool>,
    values: Vec<Option<&'a str>>,
    raw: Vec<Option<&'a [u8]>>,
}

/// What a call is told beside its commits.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Names the locks of this schema: even.
    pub(crate) lock_class: i32,
    /// How far ahead of the server's clock a `now` may be, in nanoseconds.
    pub(crate) skew: String,
    /// Whether commits are synchronous whatever the session says.
    pub(crate) strict: bool,
}

/// Refuses what the store cannot take at once, before it is sent.
pub(crate) fn check(commit: &Commit) -> Result<(), Failure> {
    let records = commit.preconditions.len().max(commit.writes.len());
    let bytes = commit_bytes(commit);
    let too_large = |message| Err(Failure::new(FailureKind::TooLarge, message));
    if RECORDS_MAX < records || BYTES_MAX < bytes {
        return too_large("the commit has more records or bytes than PostgreSQL is sent at once");
    }
    if commit.writes.iter().any(|write| i64::try_from(write.version.get()).is_err()) {
        return too_large("the version of a write is above 2^63");
    }
    Ok(())
}

/// Bytes of keys and values.
pub(crate) fn commit_bytes(commit: &Commit) -> usize {
    let key = |key: &RecordKey| key.kind.name().len().saturating_add(key.id.as_str().len());
    let writes = commit.writes.iter().map(|write| {
        let value = match &write.value {
            WriteValue::Put(value) => value.len(),
            WriteValue::Delete | WriteValue::Purge => 0,
        };
        key(&write.key).saturating_add(value)
    });
    writes.fold(0, usize::saturating_add)
}

/// A stable number of 32 bits for a list of words (FNV-1a), each ended by a byte that no text has.
pub(crate) fn hash<'w>(words: impl IntoIterator<Item = &'w str>) -> i32 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for word in words {
        for byte in word.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    let [a, b, c, d, e, f, g, h] = hash.to_le_bytes();
    i32::from_le_bytes([a ^ e, b ^ f, c ^ g, d ^ h])
}

impl<'a> Call<'a> {
    pub(crate) fn new(commits: &'a [Arc<Commit>]) -> Self {
        let mut call = Self::default();
        for (commit, number) in commits.iter().zip(1_i32..) {
            call.add(commit, number);
        }
        if call.deadlines.as_ref().is_some_and(|all| all.iter().all(Option::is_none)) {
            call.deadlines = None;
        }
        call.locks.sort_unstable();
        call.locks.dedup();
        call.lock_all = LOCKS_MAX < call.locks.len();
        if call.lock_all {
            call.locks.clear();
        }
        call
    }

    fn add(&mut self, commit: &'a Commit, number: i32) {
        let partition = commit.partition.as_str();
        self.ids.push(commit.id.to_string());
        self.partitions.push(escape(partition));
        self.nows.push(commit.now.nanos().to_string());
        let deadline = commit.deadline.map(|deadline| deadline.nanos().to_string());
        self.deadlines.get_or_insert_default().push(deadline);
        let writing = !commit.writes.is_empty();
        for precondition in &commit.preconditions {
            let (kind, id) = (precondition.key.kind.name(), precondition.key.id.as_str());
            self.reads.commits.push(number);
            self.reads.kinds.push(escape(kind));
            self.reads.ids.push(escape(id));
            // No record has a version that cannot be stored: none is equal to this one.
            let version = i64::try_from(precondition.version.get()).unwrap_or(-1);
            self.reads.versions.push(version);
            if writing {
                self.locks.push(hash([partition, kind, id]));
            }
        }
        for write in &commit.writes {
            let (kind, id) = (write.key.kind.name(), write.key.id.as_str());
            let writes = &mut self.writes;
            writes.commits.push(number);
            writes.kinds.push(escape(kind));
            writes.ids.push(escape(id));
            let version = i64::try_from(write.version.get());
            writes.versions.push(version.expect("checked before it is sent"));
            writes.at.push(write.at.nanos().to_string());
            writes.sweep_at.push(write.sweep_at.map(|at| at.nanos().to_string()));
            writes.put.push(write.value != WriteValue::Purge);
            let (value, raw) = match &write.value {
                WriteValue::Put(bytes) => match exact(bytes) {
                    Some(text) => (Some(text), None),
                    None => (None, Some(&**bytes)),
                },
                WriteValue::Delete => (None, None),
                WriteValue::Purge => {
                    // The floor is raised by one at a time, and waited for before the clock.
                    self.locks.push(hash([partition, kind]));
                    (None, None)
                }
            };
            writes.values.push(value);
            writes.raw.push(raw);
            self.locks.push(hash([partition, kind, id]));
        }
    }

    /// The parameters, in order.
    pub(crate) fn parameters<'p>(&'p self, setting: &'p Setting) -> [&'p (dyn ToSql + Sync); 22] {
        let (reads, writes) = (&self.reads, &self.writes);
        [
            &self.ids,
            &self.partitions,
            &self.nows,
            &self.deadlines,
            &reads.commits,
            &reads.kinds,
            &reads.ids,
            &reads.versions,
            &writes.commits,
            &writes.kinds,
            &writes.ids,
            &writes.versions,
            &writes.at,
            &writes.sweep_at,
            &writes.put,
            &writes.values,
            &writes.raw,
            &setting.lock_class,
            &self.locks,
            &self.lock_all,
            &setting.skew,
            &setting.strict,
        ]
    }
}

pub(crate) fn damaged(what: impl AsRef<str>) -> Failure {
    let what = what.as_ref();
    let message = format!("{what} is not what any release writes: restore it from a backup");
    Failure::new(FailureKind::Corrupt, message)
}

/// A column of an answer.
pub(crate) fn column<'r, T: FromSql<'r>>(row: &'r Row, name: &str) -> Result<T, Failure> {
    row.try_get(name).map_err(|error| {
        let message = format!("PostgreSQL's answer has no {name}: {error}");
        Failure::new(FailureKind::Unavailable, message)
    })
}

/// A time as it is stored.
pub(crate) fn time(text: &str) -> Result<Timestamp, Failure> {
    let nanos = text.parse().ok().and_then(Timestamp::from_nanos);
    nanos.ok_or_else(|| damaged(format!("the stored time {text:?}")))
}

/// A record as it is stored.
#[derive(Debug)]
pub(crate) struct Stored<'r> {
    pub(crate) version: i64,
    pub(crate) at: &'r str,
    pub(crate) sweep_at: Option<&'r str>,
    pub(crate) value: Option<&'r str>,
    pub(crate) raw: Option<&'r [u8]>,
}

impl<'r> Stored<'r> {
    pub(crate) fn of(row: &'r Row) -> Result<Self, Failure> {
        Ok(Self {
            version: column(row, "version")?,
            at: column(row, "at")?,
            sweep_at: column(row, "sweep_at")?,
            value: column(row, "value")?,
            raw: column(row, "raw")?,
        })
    }

    pub(crate) fn versioned(&self) -> Result<Versioned, Failure> {
        let version = u64::try_from(self.version);
        let version = version.map_err(|_| damaged("a record's version"))?;
        let value = match (self.value, self.raw) {
            (None, None) => None,
            (Some(text), None) if text.starts_with('{') => Some(text.as_bytes().into()),
            (None, Some(bytes)) => Some(bytes.into()),
            (Some(_), _) => return Err(damaged("a record's content")),
        };
        let sweep_at = self.sweep_at.map(time).transpose()?;
        Ok(Versioned { version: Version::new(version), at: time(self.at)?, sweep_at, value })
    }
}

/// A name as it is stored.
pub(crate) fn name(stored: &str) -> Result<Cow<'_, str>, Failure> {
    crate::text::unescape(stored).ok_or_else(|| damaged(format!("the stored name {stored:?}")))
}

/// The answer of a call.
#[derive(Debug)]
pub(crate) struct Answer<'r> {
    outcomes: Vec<i32>,
    store_time: Timestamp,
    applied: Option<Vec<Option<&'r str>>>,
    /// The records that differ, each with its place, from 1, among the preconditions of the call.
    differing: Vec<(i64, Stored<'r>)>,
}

impl<'r> Answer<'r> {
    pub(crate) fn of(row: &'r Row) -> Result<Self, Failure> {
        let mut answer = Self {
            outcomes: column(row, "outcomes")?,
            store_time: time(column(row, "store_time")?)?,
            applied: column(row, "applied")?,
            differing: Vec::new(),
        };
        let places: Option<Vec<i64>> = column(row, "c_read")?;
        let Some(places) = places else { return Ok(answer) };
        let versions: Vec<i64> = column(row, "c_version")?;
        let at: Vec<&str> = column(row, "c_at")?;
        let sweep_at: Vec<Option<&str>> = column(row, "c_sweep")?;
        let values: Vec<Option<&str>> = column(row, "c_value")?;
        let raw: Vec<Option<&[u8]>> = column(row, "c_raw")?;
        let first = places.into_iter().zip(versions).zip(at);
        let rest = sweep_at.into_iter().zip(values).zip(raw);
        for (((place, version), at), ((sweep_at, value), raw)) in first.zip(rest) {
            answer.differing.push((place, Stored { version, at, sweep_at, value, raw }));
        }
        Ok(answer)
    }

    /// What came of the commits, in order.
    pub(crate) fn results(&self, commits: &[Arc<Commit>]) -> Vec<CommitResult> {
        let mut results = Vec::new();
        let mut places = 1_i64..;
        for (index, commit) in commits.iter().enumerate() {
            let reads: Vec<_> = commit.preconditions.iter().zip(places.by_ref()).collect();
            let result = match self.outcomes.get(index) {
                Some(3) => self.conflict(&reads),
                _ => self.result(index),
            };
            results.push(result.unwrap_or_else(CommitResult::Failed));
        }
        results
    }

    fn result(&self, index: usize) -> Result<CommitResult, Failure> {
        let store_time = self.store_time;
        Ok(match self.outcomes.get(index) {
            Some(0 | 1) => CommitResult::Committed { at: store_time },
            Some(2) => {
                let at = self.applied.as_ref().and_then(|all| *all.get(index)?);
                CommitResult::Committed { at: at.map_or(Ok(store_time), time)? }
            }
            Some(4) => CommitResult::TooLate { store_time },
            Some(5) => CommitResult::ClockAhead { store_time },
            // The statement succeeded, so its effects are there, whatever they are.
            Some(_) | None => CommitResult::Unknown,
        })
    }

    fn conflict(&self, reads: &[(&Precondition, i64)]) -> Result<CommitResult, Failure> {
        let first = reads.first().map_or(0, |(_, place)| *place);
        let mut current = Vec::new();
        for (place, record) in &self.differing {
            let index = place.checked_sub(first).and_then(|index| usize::try_from(index).ok());
            if let Some((read, _)) = index.and_then(|index| reads.get(index)) {
                current.push((read.key.clone(), record.versioned()?));
            }
        }
        Ok(CommitResult::Conflict { current })
    }
}

#[cfg(test)]
mod tests;
