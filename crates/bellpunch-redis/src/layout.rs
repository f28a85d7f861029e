//! Where things are in Redis, and how a record is written.
//!
//! Invariant: all keys of a partition share one hash tag, so that a partition is one slot; a stored
//! string says its version and times in digits of one width, which order as strings do, and has a
//! checksum over itself and its name. Why a string per record and not a hash: a commit then reads
//! all its records with one `MGET` and writes them with one `MSET`.

use std::fmt::Write as _;
use std::sync::Arc;

use bellpunch_store::{
    CommitId, Failure, FailureKind, Floor, Kind, Partition, RecordId, RecordKey, Timestamp,
    Version, Versioned, Write, WriteValue,
};

/// The format of all that is stored under a prefix.
pub(crate) const FORMAT: &str = "1";
/// Between the kind and the id of a record: no kind contains it, and nothing sorts before it.
const SEPARATOR: char = '\0';
/// The first byte of a stored record.
const RECORD_FORMAT: u8 = b'1';
const WITH_CONTENT: u8 = b'V';
const TOMBSTONE: u8 = b'T';
/// What a write says instead of a record if it is a purge.
const PURGE: u8 = b'x';
const VERSION_DIGITS: usize = 20;
/// The year 9999 in nanoseconds has 21 digits.
pub(crate) const TIME_DIGITS: usize = 21;
const CHECKSUM_DIGITS: usize = 8;
/// Format, version, time, time of removal, whether there is content, checksum.
pub(crate) const HEADER_BYTES: usize = 1 + VERSION_DIGITS + 2 * TIME_DIGITS + 1 + CHECKSUM_DIGITS;
const NEVER: &str = "---------------------";

/// A time as scripts compare it.
pub(crate) fn time_digits(time: Timestamp) -> String {
    format!("{:0TIME_DIGITS$}", time.nanos())
}

/// A version as scripts compare it.
pub(crate) fn version_digits(version: Version) -> String {
    format!("{:0VERSION_DIGITS$}", version.get())
}

/// The names of all keys under one prefix.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    prefix: String,
}

impl Layout {
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// The sorted set of all partitions.
    pub(crate) fn partitions(&self) -> String {
        format!("{}:{{partitions}}", self.prefix)
    }

    /// Nothing is ever stored here: removing it asks whether this is a primary.
    pub(crate) fn partitions_guard(&self) -> String {
        format!("{}:{{partitions}}:guard", self.prefix)
    }

    /// What says which format the store has.
    pub(crate) fn format(&self) -> String {
        format!("{}:{{partitions}}:format", self.prefix)
    }

    /// Counts the self-tests, so that no two share a key.
    pub(crate) fn self_tests(&self) -> String {
        format!("{}:{{partitions}}:self-tests", self.prefix)
    }

    /// Where a self-test works: no partition's keys begin so.
    pub(crate) fn self_test(&self, number: i64) -> Shelf {
        Shelf { base: format!("{}:self-test:{{{number}}}:", self.prefix) }
    }

    pub(crate) fn shelf(&self, partition: &Partition) -> Shelf {
        let mut base = format!("{}:{{", self.prefix);
        for character in partition.as_str().chars() {
            // A brace within the tag would end it, or begin it elsewhere.
            if matches!(character, '{' | '}' | '%') {
                let code = u32::from(character);
                write!(base, "%{code:02X}").expect("writing to a string succeeds");
            } else {
                base.push(character);
            }
        }
        base.push_str("}:");
        Shelf { base }
    }
}

/// The names of a partition's keys.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    base: String,
}

impl Shelf {
    fn at(&self, name: &str) -> String {
        format!("{}{name}", self.base)
    }

    /// Nothing is ever stored here: removing it asks whether this is a primary.
    pub(crate) fn guard(&self) -> String {
        self.at("guard")
    }

    /// The sorted set of its records' members.
    pub(crate) fn index(&self) -> String {
        self.at("i")
    }

    /// The hash of its floors, by kind.
    pub(crate) fn floors(&self) -> String {
        self.at("f")
    }

    /// What comes before a record's member in its key.
    pub(crate) fn records(&self) -> String {
        self.at("r:")
    }

    pub(crate) fn record(&self, key: &RecordKey) -> String {
        let mut name = self.records();
        push_member(&mut name, key);
        name
    }

    pub(crate) fn commit(&self, id: CommitId) -> Vec<u8> {
        let mut name = self.at("c:").into_bytes();
        name.extend_from_slice(&id.bits().to_be_bytes());
        name
    }
}

/// The place of a record in its partition's order: byte order of this is that of keys.
pub(crate) fn member(key: &RecordKey) -> String {
    let mut member = String::new();
    push_member(&mut member, key);
    member
}

fn push_member(name: &mut String, key: &RecordKey) {
    name.push_str(key.kind.name());
    name.push(SEPARATOR);
    name.push_str(key.id.as_str());
}

/// The record that a member names.
pub(crate) fn key_of(member: &[u8]) -> Result<RecordKey, Failure> {
    let text = std::str::from_utf8(member).ok().and_then(|text| text.split_once(SEPARATOR));
    let (kind, id) = text.ok_or_else(|| corrupt("a member of a partition's index"))?;
    Ok(RecordKey { kind: Kind::named(kind), id: RecordId::stored(id) })
}

pub(crate) fn corrupt(what: &str) -> Failure {
    let message =
        format!("{what} in Redis is damaged; restore it from a backup, or ask what wrote there");
    Failure::new(FailureKind::Corrupt, message)
}

/// A write as it is stored, or for a purge as the script knows it.
pub(crate) fn encode(write: &Write) -> Vec<u8> {
    let version = write.version.get();
    let at = write.at.nanos();
    let (flag, value): (u8, &[u8]) = match &write.value {
        WriteValue::Put(value) => (WITH_CONTENT, value),
        WriteValue::Delete => (TOMBSTONE, &[]),
        WriteValue::Purge => {
            let purge = format!("{version:0VERSION_DIGITS$}{at:0TIME_DIGITS$}");
            return [&[PURGE], purge.as_bytes()].concat();
        }
    };
    let mut stored = Vec::with_capacity(HEADER_BYTES.saturating_add(value.len()));
    stored.push(RECORD_FORMAT);
    let times = format!("{version:0VERSION_DIGITS$}{at:0TIME_DIGITS$}");
    stored.extend_from_slice(times.as_bytes());
    match write.sweep_at {
        Some(sweep_at) => stored.extend_from_slice(time_digits(sweep_at).as_bytes()),
        None => stored.extend_from_slice(NEVER.as_bytes()),
    }
    stored.push(flag);
    let checksum = checksum(&write.key, (&stored, value));
    stored.extend_from_slice(format!("{checksum:0CHECKSUM_DIGITS$x}").as_bytes());
    stored.extend_from_slice(value);
    stored
}

/// Over its name too: a record that is found where another belongs is damaged.
fn checksum(key: &RecordKey, (header, value): (&[u8], &[u8])) -> u32 {
    let sum = crc32c::crc32c(key.kind.name().as_bytes());
    let sum = crc32c::crc32c_append(sum, &[0]);
    let sum = crc32c::crc32c_append(sum, key.id.as_str().as_bytes());
    let sum = crc32c::crc32c_append(sum, header);
    crc32c::crc32c_append(sum, value)
}

/// A record as it was stored, without its kind's floor.
pub(crate) fn decode(key: &RecordKey, stored: &[u8]) -> Result<Versioned, Failure> {
    parse(key, stored).ok_or_else(|| corrupt(&format!("the record {key}")))
}

fn parse(key: &RecordKey, stored: &[u8]) -> Option<Versioned> {
    let (header, value) = stored.split_at_checked(HEADER_BYTES)?;
    let (header, sum) = header.split_at_checked(HEADER_BYTES.checked_sub(CHECKSUM_DIGITS)?)?;
    let sum = u32::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
    if sum != checksum(key, (header, value)) {
        return None;
    }
    let (format, rest) = header.split_first()?;
    let (version, rest) = rest.split_at_checked(VERSION_DIGITS)?;
    let (at, rest) = rest.split_at_checked(TIME_DIGITS)?;
    let (sweep_at, flag) = rest.split_at_checked(TIME_DIGITS)?;
    if *format != RECORD_FORMAT {
        return None;
    }
    let sweep_at = if sweep_at == NEVER.as_bytes() { None } else { Some(time(sweep_at)?) };
    let value = match flag {
        [WITH_CONTENT] => Some(Arc::from(value)),
        [TOMBSTONE] => None,
        _ => return None,
    };
    Some(Versioned { version: parse_version(version)?, at: time(at)?, sweep_at, value })
}

fn parse_version(digits: &[u8]) -> Option<Version> {
    std::str::from_utf8(digits).ok()?.parse().ok().map(Version::new)
}

fn time(digits: &[u8]) -> Option<Timestamp> {
    std::str::from_utf8(digits).ok()?.parse().ok().and_then(Timestamp::from_nanos)
}

/// A time that a script told.
pub(crate) fn parse_time(digits: &[u8]) -> Option<Timestamp> {
    if digits.len() == TIME_DIGITS { time(digits) } else { None }
}

/// A floor as it is stored.
pub(crate) fn parse_floor(stored: &[u8]) -> Result<Floor, Failure> {
    let floor = || {
        let (version, at) = stored.split_at_checked(VERSION_DIGITS)?;
        Some(Floor { version: parse_version(version)?, at: parse_time(at)? })
    };
    floor().ok_or_else(|| corrupt("a floor"))
}

#[cfg(test)]
mod tests;
