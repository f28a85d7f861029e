//! Commits as the arrays of one call, and its answer as their results.
//!
//! Invariant: a call has at most one commit of a partition, so the order of its commits means
//! nothing. Why arrays: one statement, made ready once, in one round trip, takes one commit or a
//! hundred.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bellpunch_store::{
    Commit, CommitResult, Failure, FailureKind, RecordKey, Timestamp, Version, Versioned, Write,
    WriteValue,
};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, ToSql};

use crate::binary::{Numeric, Uuid};
use crate::json::exact;
use crate::text::escape;

/// Locks of single records that one call takes; beyond it takes all at once. The server has room
/// for `max_locks_per_transaction` (64) times `max_connections`, for all sessions together.
const LOCKS_MAX: usize = 256;

/// Preconditions and writes in one commit.
pub(crate) const RECORDS_MAX: usize = 16_384;
/// Records that take less time than all else of a call: 6 to 8 microseconds each, beside 270 and a
/// sync.
pub(crate) const RECORDS_MIN: usize = 24;
/// Bytes of keys and values in one commit.
pub(crate) const BYTES_MAX: usize = 16 << 20;

/// The call, with its parameters in order.
pub(crate) const COMMIT: &str = "select * from {schema}.commit_v2(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)";

/// How a record is locked: what is only read others may read, too.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Hold {
    Shared,
    Exclusive,
}

/// The arrays of a call: first those with an element for each commit, then its records.
#[derive(Debug, Default)]
pub(crate) struct Call<'a> {
    ids: Vec<Uuid>,
    partitions: Vec<Cow<'a, str>>,
    nows: Vec<Numeric>,
    deadlines: Vec<Option<Numeric>>,
    /// How many records each commit writes that are not purged; `None`: it writes nothing.
    puts: Vec<Option<i32>>,
    /// The place, from 0, of each commit's first record.
    firsts: Vec<usize>,
    records: Records<'a>,
    /// What is locked, and how.
    locked: Vec<(i32, Hold)>,
    locks: Vec<i32>,
    exclusive: Vec<bool>,
    lock_all: bool,
}

/// An element of each array for each precondition, in order, and behind those of a commit one for
/// each record that it writes without having read it. An array in which all would be null is not
/// sent.
#[derive(Debug, Default)]
struct Records<'a> {
    commits: Vec<i32>,
    kinds: Vec<Cow<'a, str>>,
    names: Vec<Cow<'a, str>>,
    expected: Vec<Option<i64>>,
    versions: Option<Vec<Option<i64>>>,
    times: Vec<Option<Numeric>>,
    sweeps: Option<Vec<Option<Numeric>>>,
    purged: Option<Vec<bool>>,
    texts: Vec<Option<&'a str>>,
    raws: Option<Vec<Option<&'a [u8]>>>,
}

/// What a call is told beside its commits.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Names the locks of this schema: even.
    pub(crate) lock_class: i32,
    /// How far ahead of the server's clock a `now` may be, in nanoseconds.
    pub(crate) skew: Numeric,
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
        let mut locked = std::mem::take(&mut call.locked);
        locked.sort_unstable();
        locked.dedup_by(|(again, stronger), (lock, hold)| {
            let same = again == lock;
            if same {
                *hold = *stronger;
            }
            same
        });
        call.lock_all = LOCKS_MAX < locked.len();
        if !call.lock_all {
            // In one order, so that two calls never wait for each other.
            let exclusive = |(lock, hold)| (lock, hold == Hold::Exclusive);
            (call.locks, call.exclusive) = locked.into_iter().map(exclusive).unzip();
        }
        call
    }

    fn add(&mut self, commit: &'a Commit, number: i32) {
        let partition = commit.partition.as_str();
        let time = |at: Timestamp| Numeric(at.nanos());
        self.ids.push(Uuid(commit.id.bits()));
        self.partitions.push(escape(partition));
        self.nows.push(time(commit.now));
        self.deadlines.push(commit.deadline.map(time));
        let writing = !commit.writes.is_empty();
        let first = self.records.commits.len();
        self.firsts.push(first);
        let locks = self.locked.len();
        for precondition in &commit.preconditions {
            // No record has a version that cannot be stored: none is equal to this one.
            let version = i64::try_from(precondition.version.get()).unwrap_or(-1);
            self.record(number, &precondition.key, Some(version));
            if writing {
                self.lock(partition, &precondition.key, Hold::Shared);
            }
        }
        let puts = self.write(commit, (number, first, locks));
        self.puts.push(writing.then_some(puts));
    }

    /// Adds a record.
    fn record(&mut self, number: i32, key: &'a RecordKey, expected: Option<i64>) {
        let records = &mut self.records;
        records.commits.push(number);
        records.kinds.push(escape(key.kind.name()));
        records.names.push(escape(key.id.as_str()));
        records.expected.push(expected);
        records.times.push(None);
        records.texts.push(None);
        fill(&mut records.versions, records.commits.len());
        fill(&mut records.sweeps, records.commits.len());
        fill(&mut records.purged, records.commits.len());
        fill(&mut records.raws, records.commits.len());
    }

    fn lock(&mut self, partition: &str, key: &RecordKey, hold: Hold) {
        self.locked.push((hash([partition, key.kind.name(), key.id.as_str()]), hold));
    }

    /// Adds what a commit writes to its records, of which there are some from a place on; gives how
    /// many of them are put.
    fn write(&mut self, commit: &'a Commit, (number, first, locks): (i32, usize, usize)) -> i32 {
        let partition = commit.partition.as_str();
        let (mut next, mut by_key, mut puts) = (0_usize, None, 0_i32);
        for write in &commit.writes {
            let reads = &commit.preconditions;
            // An executor writes in the order of its preconditions: then no map is needed.
            let ahead = match by_key {
                None => reads.iter().skip(next).position(|read| read.key == write.key),
                Some(_) => None,
            };
            let read = ahead.map(|steps| next.saturating_add(steps)).or_else(|| {
                let all = || reads.iter().zip(0_usize..).map(|(read, place)| (&read.key, place));
                let by_key: &mut BTreeMap<_, _> = by_key.get_or_insert_with(|| all().collect());
                by_key.get(&write.key).copied()
            });
            let place = match read {
                Some(place) => {
                    next = place.saturating_add(1);
                    if let Some((_, hold)) = self.locked.get_mut(locks.saturating_add(place)) {
                        *hold = Hold::Exclusive;
                    }
                    first.saturating_add(place)
                }
                None => {
                    self.record(number, &write.key, None);
                    self.lock(partition, &write.key, Hold::Exclusive);
                    self.records.commits.len().saturating_sub(1)
                }
            };
            if write.value == WriteValue::Purge {
                // The floor is raised by one at a time, and waited for before the clock.
                self.locked.push((hash([partition, write.key.kind.name()]), Hold::Exclusive));
            } else {
                puts = puts.saturating_add(1);
            }
            self.records.write(place, write);
        }
        puts
    }

    /// The parameters, in order.
    pub(crate) fn parameters<'p>(&'p self, setting: &'p Setting) -> [&'p (dyn ToSql + Sync); 21] {
        let records = &self.records;
        let deadlines: &(dyn ToSql + Sync) =
            if self.deadlines.iter().any(Option::is_some) { &self.deadlines } else { &NONE };
        [
            &self.ids,
            &self.partitions,
            &self.nows,
            deadlines,
            &self.puts,
            &records.commits,
            &records.kinds,
            &records.names,
            &records.expected,
            &records.versions,
            &records.times,
            &records.sweeps,
            &records.purged,
            &records.texts,
            &records.raws,
            &setting.lock_class,
            &self.locks,
            &self.exclusive,
            &self.lock_all,
            &setting.skew,
            &setting.strict,
        ]
    }
}

/// Instead of an array.
const NONE: Option<Vec<Numeric>> = None;

/// Makes an array as long as the others, if it is there.
fn fill<T: Clone + Default>(array: &mut Option<Vec<T>>, length: usize) {
    if let Some(array) = array {
        array.resize(length, T::default());
    }
}

/// Sets an element of an array, which is made if it is not there.
fn set<T: Clone + Default>(array: &mut Option<Vec<T>>, (place, length): (usize, usize), value: T) {
    let array = array.get_or_insert_with(|| vec![T::default(); length]);
    if let Some(element) = array.get_mut(place) {
        *element = value;
    }
}

impl<'a> Records<'a> {
    /// Writes a record, which has a place.
    fn write(&mut self, place: usize, write: &'a Write) {
        let at = (place, self.commits.len());
        let version = i64::try_from(write.version.get()).expect("checked before it is sent");
        set(&mut self.versions, at, Some(version));
        if let Some(time) = self.times.get_mut(place) {
            *time = Some(Numeric(write.at.nanos()));
        }
        if let Some(sweep_at) = write.sweep_at {
            set(&mut self.sweeps, at, Some(Numeric(sweep_at.nanos())));
        }
        match &write.value {
            WriteValue::Put(bytes) => match exact(bytes) {
                text @ Some(_) => {
                    if let Some(element) = self.texts.get_mut(place) {
                        *element = text;
                    }
                }
                None => set(&mut self.raws, at, Some(&**bytes)),
            },
            WriteValue::Delete => {}
            WriteValue::Purge => set(&mut self.purged, at, true),
        }
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
    /// The records that differ, each with its place, from 1, among the records of the call.
    differing: Vec<(usize, Stored<'r>)>,
}

impl<'r> Answer<'r> {
    pub(crate) fn of(row: &'r Row) -> Result<Self, Failure> {
        let mut answer = Self {
            outcomes: column(row, "outcomes")?,
            store_time: time(column(row, "store_time")?)?,
            applied: column(row, "applied")?,
            differing: Vec::new(),
        };
        let places: Option<Vec<i32>> = column(row, "c_read")?;
        let Some(places) = places else { return Ok(answer) };
        let versions: Vec<i64> = column(row, "c_version")?;
        let at: Vec<&str> = column(row, "c_at")?;
        let sweep_at: Vec<Option<&str>> = column(row, "c_sweep")?;
        let values: Vec<Option<&str>> = column(row, "c_value")?;
        let raw: Vec<Option<&[u8]>> = column(row, "c_raw")?;
        let first = places.into_iter().zip(versions).zip(at);
        let rest = sweep_at.into_iter().zip(values).zip(raw);
        for (((place, version), at), ((sweep_at, value), raw)) in first.zip(rest) {
            let place = usize::try_from(place).map_err(|_| damaged("a place in an answer"))?;
            answer.differing.push((place, Stored { version, at, sweep_at, value, raw }));
        }
        Ok(answer)
    }

    /// What came of the commits of a call, in order.
    pub(crate) fn results(&self, commits: &[Arc<Commit>], call: &Call<'_>) -> Vec<CommitResult> {
        let mut results = Vec::new();
        for (index, (commit, first)) in commits.iter().zip(&call.firsts).enumerate() {
            let result = match self.outcomes.get(index) {
                Some(3) => self.conflict(commit, *first),
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

    fn conflict(&self, commit: &Commit, first: usize) -> Result<CommitResult, Failure> {
        let mut current = Vec::new();
        for (place, record) in &self.differing {
            let index = place.checked_sub(1).and_then(|place| place.checked_sub(first));
            if let Some(read) = index.and_then(|index| commit.preconditions.get(index)) {
                current.push((read.key.clone(), record.versioned()?));
            }
        }
        Ok(CommitResult::Conflict { current })
    }
}

#[cfg(test)]
mod tests;
