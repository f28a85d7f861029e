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
const SEPARATOR: &str = "\0";
/// Between what all keys of a partition begin with, and a record's member.
const RECORDS: &str = "r:";
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
/// Of any 32 bits.
const COUNT_DIGITS: usize = 10;
/// Format, version, time, time of removal, whether there is content, checksum.
pub(crate) const HEADER_BYTES: usize = 1 + VERSION_DIGITS + 2 * TIME_DIGITS + 1 + CHECKSUM_DIGITS;
const NEVER: [u8; TIME_DIGITS] = [b'-'; TIME_DIGITS];

/// A number that fits, in digits of one width. By hand: there are two or three for each record, and
/// `format!` takes several times as long.
fn digits<const WIDTH: usize>(number: u64) -> [u8; WIDTH] {
    let (mut digits, mut rest) = ([b'0'; WIDTH], number);
    for digit in digits.iter_mut().rev() {
        if rest == 0 {
            break;
        }
        let last = u8::try_from(rest.wrapping_rem(10)).unwrap_or_default();
        *digit = digit.wrapping_add(last);
        rest = rest.wrapping_div(10);
    }
    digits
}

/// A time as scripts compare it.
pub(crate) fn time_digits(time: Timestamp) -> [u8; TIME_DIGITS] {
    // The year 9999 fits into the digits, but not into 64 bits.
    const SECOND: u128 = 1_000_000_000;
    let (seconds, nanos) = (time.nanos().wrapping_div(SECOND), time.nanos().wrapping_rem(SECOND));
    let part = |number: u128| u64::try_from(number).expect("seconds until the year 9999 fit");
    let (seconds, nanos) = (digits::<12>(part(seconds)), digits::<9>(part(nanos)));
    let mut all = [b'0'; TIME_DIGITS];
    for (place, digit) in all.iter_mut().zip(seconds.iter().chain(&nanos)) {
        *place = *digit;
    }
    all
}

/// A version as scripts compare it.
pub(crate) fn version_digits(version: Version) -> [u8; VERSION_DIGITS] {
    digits(version.get())
}

/// A number of things as scripts are told it.
pub(crate) fn count_digits(count: usize) -> [u8; COUNT_DIGITS] {
    let count = u32::try_from(count).expect("a commit is smaller than 4 GiB");
    digits(count.into())
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
        self.at(RECORDS)
    }

    /// The name of a record's key, in parts.
    pub(crate) fn record<'a>(&'a self, key: &'a RecordKey) -> [&'a str; 5] {
        [&self.base, RECORDS, key.kind.name(), SEPARATOR, key.id.as_str()]
    }

    pub(crate) fn commit(&self, id: CommitId) -> Vec<u8> {
        let mut name = self.at("c:").into_bytes();
        name.extend_from_slice(&id.bits().to_be_bytes());
        name
    }
}

/// The place of a record in its partition's order: byte order of this is that of keys.
pub(crate) fn member(key: &RecordKey) -> String {
    [key.kind.name(), SEPARATOR, key.id.as_str()].concat()
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

/// A write as it is stored, or for a purge as the script knows it: a header and a value.
pub(crate) fn encode(write: &Write) -> (Vec<u8>, &[u8]) {
    let (format, flag, value): (u8, u8, &[u8]) = match &write.value {
        WriteValue::Put(value) => (RECORD_FORMAT, WITH_CONTENT, value),
        WriteValue::Delete => (RECORD_FORMAT, TOMBSTONE, &[]),
        WriteValue::Purge => (PURGE, TOMBSTONE, &[]),
    };
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.push(format);
    header.extend_from_slice(&version_digits(write.version));
    header.extend_from_slice(&time_digits(write.at));
    header.extend_from_slice(&write.sweep_at.map_or(NEVER, time_digits));
    header.push(flag);
    let sum = checksum(&write.key, (&header, value));
    for shift in (0..u32::BITS).step_by(4).rev() {
        let digit = char::from_digit(sum.wrapping_shr(shift) & 0xf, 16);
        header.extend(digit.and_then(|digit| u8::try_from(digit).ok()));
    }
    (header, value)
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
    let sweep_at = if *sweep_at == NEVER { None } else { Some(time(sweep_at)?) };
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
