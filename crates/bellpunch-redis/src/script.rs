//! The scripts, how they are called, and what they answer.
//!
//! Invariant: a script is named by its hash, and sent whole to a server that does not know it: one
//! that was restarted, or took over. A reply that makes no sense says nothing of what was done.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;

use bellpunch_store::{
    Commit, CommitResult, Failure, Floor, Kind, RecordKey, Timestamp, Versioned, Write, WriteValue,
};
use redis::{Cmd, RedisWrite as _, Value};

use crate::layout::{self, Layout, Shelf};
use crate::trouble;

/// What the script is told of a record beside its key and content: its version, and two places.
const BYTES_TOLD: usize = 24;

/// A script and its name.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    code: String,
    hash: String,
}

/// All scripts of a store.
#[derive(Debug)]
pub(crate) struct Scripts {
    pub(crate) commit: Script,
    pub(crate) read: Script,
    pub(crate) resolve: Script,
    pub(crate) scan: Script,
}

impl Script {
    fn new(code: &str) -> Self {
        let hash = redis::Script::new(code).get_hash().to_owned();
        Self { code: code.to_owned(), hash }
    }

    /// A call of it with this many keys, which come next, and then arguments.
    pub(crate) fn call(&self, keys: usize) -> Cmd {
        let mut command = Cmd::new();
        command.arg("EVALSHA").arg(&self.hash).arg(keys);
        command
    }

    /// The same call for a server that does not know the script: it does from then on.
    pub(crate) fn whole(&self, call: &Cmd) -> Cmd {
        let mut command = Cmd::new();
        command.arg("EVAL").arg(&self.code);
        for argument in call.args_iter().skip(2) {
            if let redis::Arg::Simple(bytes) = argument {
                command.arg(bytes);
            }
        }
        command
    }
}

impl Default for Scripts {
    fn default() -> Self {
        Self {
            commit: Script::new(include_str!("commit.lua")),
            read: Script::new(include_str!("read.lua")),
            resolve: Script::new(include_str!("resolve.lua")),
            scan: Script::new(include_str!("scan.lua")),
        }
    }
}

#[cfg(feature = "testing")]
impl Scripts {
    /// The same, with a commit script that is told the time.
    pub(crate) fn told_the_time() -> Self {
        let code = include_str!("commit.lua");
        let place = "-- Here tests put their own.";
        assert_eq!(code.matches(place).count(), 1, "the script has a place for it");
        let code = code.replace(place, "time = ARGV[1]");
        Self { commit: Script::new(&code), ..Self::default() }
    }
}

/// What all commits of a call have in common.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) layout: Layout,
    pub(crate) skew_max_ns: u64,
    pub(crate) remember_ms: u64,
    /// Whether the list of partitions is where the partition is.
    pub(crate) listing: Listing,
}

/// Who keeps the list of partitions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Listing {
    /// The commit's own script.
    Script,
    /// Somebody else, before it: the list is in another slot.
    Before,
}

/// A commit as the script is told of it.
pub(crate) struct Prepared<'a> {
    commit: &'a Commit,
    shelf: Shelf,
    /// The records: those of its preconditions, then those that are written without one.
    records: Vec<&'a RecordKey>,
    kinds: Vec<&'a Kind>,
    /// Of each record the place of its kind.
    places: Vec<usize>,
    /// Of each write the place of its record.
    writes: Vec<usize>,
}

impl<'a> Prepared<'a> {
    pub(crate) fn new(commit: &'a Commit, layout: &Layout) -> Self {
        Self::on(commit, layout.shelf(&commit.partition))
    }

    /// A commit of records that are somewhere.
    pub(crate) fn on(commit: &'a Commit, shelf: Shelf) -> Self {
        let mut records: Vec<_> = commit.preconditions.iter().map(|one| &one.key).collect();
        let mut writes = Vec::with_capacity(commit.writes.len());
        let (mut next, mut by_key) = (0_usize, None);
        for write in &commit.writes {
            // An executor writes in the order of its preconditions: then no map is needed.
            let ahead = if by_key.is_none() {
                records.iter().skip(next).position(|key| **key == write.key)
            } else {
                None
            };
            let place = match ahead {
                Some(steps) => next.saturating_add(steps),
                None => {
                    let all = || records.iter().enumerate().map(|(place, key)| (*key, place));
                    let by_key: &mut BTreeMap<&RecordKey, usize> =
                        by_key.get_or_insert_with(|| all().collect());
                    *by_key.entry(&write.key).or_insert_with(|| {
                        records.push(&write.key);
                        records.len().saturating_sub(1)
                    })
                }
            };
            next = place.saturating_add(1);
            writes.push(next);
        }
        let mut kinds: Vec<&Kind> = Vec::new();
        let mut places = Vec::with_capacity(records.len());
        for key in &records {
            let place = kinds.iter().position(|kind| **kind == key.kind).unwrap_or_else(|| {
                kinds.push(&key.kind);
                kinds.len().saturating_sub(1)
            });
            places.push(place.saturating_add(1));
        }
        Self { commit, shelf, records, kinds, places, writes }
    }

    fn keys(&self, command: &mut Cmd) {
        command.arg(self.shelf.commit(self.commit.id));
        command.arg(self.shelf.index()).arg(self.shelf.floors());
        for key in &self.records {
            argument(command, self.shelf.record(key));
        }
    }

    /// About how long its keys and contents are, with what is told of them.
    fn lengths(&self) -> impl Iterator<Item = usize> {
        let of_key = |key| {
            self.shelf
                .record(key)
                .iter()
                .fold(BYTES_TOLD, |sum, part| sum.saturating_add(part.len()))
        };
        let keys = self.records.iter().map(move |key| of_key(key));
        keys.chain(self.commit.writes.iter().map(length))
    }

    fn arguments(&self, terms: &Terms, command: &mut Cmd) {
        let Commit { now, deadline, preconditions, writes, .. } = self.commit;
        let prefix = self.shelf.records().len();
        let counts = [self.records.len(), self.kinds.len(), writes.len(), prefix];
        let least = now.nanos().saturating_sub(u128::from(terms.skew_max_ns));
        let least = Timestamp::from_nanos(least).unwrap_or(*now);
        let counts = counts.map(layout::count_digits).concat();
        let times = [*now, least].map(layout::time_digits).concat();
        let deadline = deadline.map(|deadline| layout::time_digits(deadline).to_vec());
        argument(command, [counts, times, deadline.unwrap_or_default()]);
        let versions = preconditions.iter().map(|one| layout::version_digits(one.version));
        argument(command, versions);
        argument(command, self.places.iter().chain(&self.writes).map(two_bytes));
        command.arg(self.commit.partition.as_str());
        for kind in &self.kinds {
            command.arg(kind.name());
        }
        for write in writes {
            let (header, value) = layout::encode(write);
            argument(command, [&header, value]);
        }
    }

    /// Whether anything would change.
    pub(crate) fn writes(&self) -> bool {
        !self.writes.is_empty()
    }

    /// What the script answered to it.
    pub(crate) fn result(&self, reply: Value) -> CommitResult {
        self.parse(reply).unwrap_or(CommitResult::Unknown)
    }

    fn parse(&self, reply: Value) -> Option<CommitResult> {
        let Value::Array(parts) = reply else { return None };
        let mut parts = parts.into_iter().map(bytes);
        let tag = parts.next()??;
        let mut next = || parts.next().flatten();
        Some(match tag.as_slice() {
            b"C" => CommitResult::Committed { at: layout::parse_time(&next()?)? },
            b"L" => CommitResult::TooLate { store_time: layout::parse_time(&next()?)? },
            b"A" => CommitResult::ClockAhead { store_time: layout::parse_time(&next()?)? },
            b"E" => {
                let text = next()?;
                CommitResult::Failed(trouble::of_script(&String::from_utf8_lossy(&text)))
            }
            b"D" => {
                let key = self.record_at(&next()?)?;
                CommitResult::Failed(layout::corrupt(&format!("the record {key}")))
            }
            b"X" => {
                let mut current = Vec::new();
                while let Some(place) = next() {
                    let key = self.record_at(&place)?;
                    let (raw, floor) = (next()?, next()?);
                    match versioned(key, (&raw, &floor)) {
                        Ok(versioned) => current.push((key.clone(), versioned)),
                        Err(failure) => return Some(CommitResult::Failed(failure)),
                    }
                }
                CommitResult::Conflict { current }
            }
            _ => return None,
        })
    }

    fn record_at(&self, place: &[u8]) -> Option<&'a RecordKey> {
        let place: usize = std::str::from_utf8(place).ok()?.parse().ok()?;
        self.records.get(place.checked_sub(1)?).copied()
    }
}

/// One argument of several parts.
fn argument<T: AsRef<[u8]>>(command: &mut Cmd, parts: impl IntoIterator<Item = T>) {
    let mut argument = command.writer_for_next_arg();
    for part in parts {
        argument.write_all(part.as_ref()).expect("memory takes what is written to it");
    }
}

/// A place as the script is told it.
fn two_bytes(place: &usize) -> [u8; 2] {
    u16::try_from(*place).expect("a commit has few records").to_be_bytes()
}

/// A record as it was found, above the floor of its kind; either may be absent.
pub(crate) fn versioned(
    key: &RecordKey,
    (raw, floor): (&[u8], &[u8]),
) -> Result<Versioned, Failure> {
    let floor = if floor.is_empty() { Floor::default() } else { layout::parse_floor(floor)? };
    let found = if raw.is_empty() { Versioned::default() } else { layout::decode(key, raw)? };
    Ok(found.above(floor))
}

/// The bytes of a reply; nothing for nothing.
pub(crate) fn bytes(value: Value) -> Option<Vec<u8>> {
    if value == Value::Nil {
        return Some(Vec::new());
    }
    if let Value::BulkString(bytes) = value { Some(bytes) } else { None }
}

/// Two replies in one.
pub(crate) fn pair(value: Value) -> Option<(Value, Value)> {
    let Value::Array(parts) = value else { return None };
    <[Value; 2]>::try_from(parts).ok().map(|[one, other]| (one, other))
}

/// The members of a list, two by two.
pub(crate) fn pairs(list: &[Vec<u8>]) -> impl Iterator<Item = (&[u8], &[u8])> {
    list.chunks_exact(2).filter_map(|pair| match pair {
        [one, other] => Some((one.as_slice(), other.as_slice())),
        _ => None,
    })
}

/// The bytes of each reply of a list.
///
/// # Errors
/// If it is none.
pub(crate) fn all_bytes(value: Value) -> Result<Vec<Vec<u8>>, Failure> {
    let Value::Array(parts) = value else { return Err(nonsense()) };
    parts.into_iter().map(|part| bytes(part).ok_or_else(nonsense)).collect()
}

/// A reply that makes no sense.
pub(crate) fn nonsense() -> Failure {
    layout::corrupt("the answer of a script: something")
}

/// One call for commits, in order.
pub(crate) fn call(
    script: &Script,
    terms: &Terms,
    (commits, time): (&[&Prepared<'_>], &[u8]),
) -> Cmd {
    let listed = usize::from(terms.listing == Listing::Script);
    let keys = commits
        .iter()
        .fold(listed, |keys, commit| keys.saturating_add(commit.records.len()).saturating_add(3));
    let mut command = script.call(keys);
    command.reserve_space_for_args(commits.iter().flat_map(|commit| commit.lengths()));
    if terms.listing == Listing::Script {
        command.arg(terms.layout.partitions());
    }
    for commit in commits {
        commit.keys(&mut command);
    }
    command.arg(time).arg(terms.remember_ms).arg(listed).arg(commits.len());
    for commit in commits {
        commit.arguments(terms, &mut command);
    }
    command
}

/// The bytes of keys and values that a commit has, and of the headers it writes. A record that is
/// written is among those that are read.
pub(crate) fn bytes_of(commit: &Commit) -> usize {
    let of_key = |key: &RecordKey| key.id.as_str().len().saturating_add(key.kind.name().len());
    let read = commit
        .preconditions
        .iter()
        .fold(0_usize, |bytes, one| bytes.saturating_add(of_key(&one.key)));
    commit.writes.iter().map(length).fold(read, usize::saturating_add)
}

/// The bytes of what is written.
fn length(write: &Write) -> usize {
    let value = match &write.value {
        WriteValue::Put(value) => value.len(),
        WriteValue::Delete | WriteValue::Purge => 0,
    };
    value.saturating_add(layout::HEADER_BYTES)
}

/// The commits of one script: their places among the commits of the store's call.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) places: Vec<usize>,
}

/// Splits commits over scripts, none of which keeps the server for long.
pub(crate) fn loads(
    commits: &[Arc<Commit>],
    places: &[usize],
    (records_max, bytes_max): (usize, usize),
) -> Vec<Load> {
    let mut loads: Vec<Load> = Vec::new();
    let (mut records, mut bytes) = (usize::MAX, 0_usize);
    for place in places {
        let Some(commit) = commits.get(*place) else { continue };
        records = records.saturating_add(commit.preconditions.len()).saturating_add(1);
        bytes = bytes.saturating_add(bytes_of(commit));
        match loads.last_mut() {
            Some(load) if records <= records_max && bytes <= bytes_max => load.places.push(*place),
            Some(_) | None => {
                records = commit.preconditions.len().saturating_add(1);
                bytes = bytes_of(commit);
                loads.push(Load { places: vec![*place] });
            }
        }
    }
    loads
}
