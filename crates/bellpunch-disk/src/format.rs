//! The bytes of the log, format 1. All integers are little-endian.
//!
//! Invariant: what decodes was encoded by us, for this folder: every part carries a CRC32C, seeded
//! with what it belongs to. Why three levels: a *batch* header tells a torn tail from damage, a
//! *frame* is the unit of atomicity (one commit), a *write* is what a read fetches alone.
//!
//! | part | bytes |
//! | --- | --- |
//! | segment header | magic 8, format 4, segment 8, store 8, CRC 4 |
//! | batch header | magic 4, number 8, bytes of frames 4, frames 4, CRC 4 (seeded: store, segment) |
//! | frame | length 4, CRC 4, payload |
//! | payload, commit | `1`, id 16, now 16, committed at 16, partition 2 + n, writes 4, the writes |
//! | payload, copy | `2`, partition 2 + n, writes 4, the writes |
//! | payload, removed | `3`, segment 8: it and all before it hold nothing that counts |
//! | write | operation 1, version 8, at 16, sweep at 16, lengths 2 + 2 + 4, kind, id, value, CRC 4 (seeded: partition) |

use std::sync::Arc;

use bellpunch_store::{CommitId, Kind, Partition, RecordId, RecordKey, Timestamp, Version};
use crc32c::{crc32c, crc32c_append};

/// The newest format that this release reads, and the one it writes.
pub(crate) const FORMAT: u32 = 1;
pub(crate) const SEGMENT_HEADER_BYTES: usize = 32;
pub(crate) const BATCH_HEADER_BYTES: usize = 24;
pub(crate) const FRAME_HEADER_BYTES: usize = 8;
/// What one copied write costs at most beside itself and its partition's name: a batch header, a
/// frame header and the payload's own fields.
pub(crate) const COPY_BYTES: usize = 48;
/// Bytes that no UTF-8 text, so no record of ours, contains.
const SEGMENT_MAGIC: [u8; 8] = *b"\xffbpunch\n";
const BATCH_MAGIC: [u8; 4] = *b"\xfeBP1";
const NEVER: u128 = u128::MAX;

const COMMIT: u8 = 1;
const COPY: u8 = 2;
const REMOVED: u8 = 3;

/// Whether a checksum is that of its bytes. The one place where any is compared, so that tests can
/// show what goes unnoticed without.
fn agrees(computed: u32, stored: u32) -> bool {
    computed == stored || unchecked()
}

#[cfg(any(test, feature = "testing"))]
use crate::testing::unchecked;

#[cfg(not(any(test, feature = "testing")))]
const fn unchecked() -> bool {
    false
}

/// Takes integers and bytes off the front of a slice.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(front)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (front, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*front)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Option<usize> {
        self.array().map(u16::from_le_bytes).map(usize::from)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn u128(&mut self) -> Option<u128> {
        self.array().map(u128::from_le_bytes)
    }

    fn size(&mut self) -> Option<usize> {
        self.u32().and_then(|size| usize::try_from(size).ok())
    }

    fn text(&mut self, bytes: usize) -> Option<&'a str> {
        std::str::from_utf8(self.take(bytes)?).ok()
    }

    fn time(&mut self) -> Option<Timestamp> {
        Timestamp::from_nanos(self.u128()?)
    }
}

fn size32(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).expect("lengths were bounded before encoding").to_le_bytes()
}

fn size16(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).expect("names were bounded before encoding").to_le_bytes()
}

fn patch(out: &mut [u8], at: usize, bytes: &[u8]) {
    let end = at.saturating_add(bytes.len());
    out.get_mut(at..end).expect("room was left for it").copy_from_slice(bytes);
}

/// The first bytes of a segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct SegmentHeader {
    pub(crate) format: u32,
    pub(crate) segment: u64,
    pub(crate) store: u64,
}

impl SegmentHeader {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut out = SEGMENT_MAGIC.to_vec();
        out.extend(self.format.to_le_bytes());
        out.extend(self.segment.to_le_bytes());
        out.extend(self.store.to_le_bytes());
        out.extend(crc32c(&out).to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..SEGMENT_HEADER_BYTES)?;
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        let mut reader = Reader(body);
        if reader.array()? != SEGMENT_MAGIC || !agrees(crc32c(body), u32::from_le_bytes(*crc)) {
            return None;
        }
        Some(Self { format: reader.u32()?, segment: reader.u64()?, store: reader.u64()? })
    }
}

/// The first bytes of a batch. A batch is begun only after the one before it is synced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct BatchHeader {
    pub(crate) number: u64,
    pub(crate) bytes: usize,
    pub(crate) frames: u32,
}

/// What batch headers are seeded with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seed {
    pub(crate) store: u64,
    pub(crate) segment: u64,
}

impl Seed {
    fn crc(self, bytes: &[u8]) -> u32 {
        let seed = crc32c_append(crc32c(&self.store.to_le_bytes()), &self.segment.to_le_bytes());
        crc32c_append(seed, bytes)
    }
}

impl BatchHeader {
    /// Writes it over the first bytes of `out`.
    pub(crate) fn put(self, seed: Seed, out: &mut [u8]) {
        let mut header = BATCH_MAGIC.to_vec();
        header.extend(self.number.to_le_bytes());
        header.extend(size32(self.bytes));
        header.extend(self.frames.to_le_bytes());
        header.extend(seed.crc(&header).to_le_bytes());
        patch(out, 0, &header);
    }

    pub(crate) fn decode(seed: Seed, bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..BATCH_HEADER_BYTES)?;
        if !bytes.starts_with(&BATCH_MAGIC) {
            return None;
        }
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if !agrees(seed.crc(body), u32::from_le_bytes(*crc)) {
            return None;
        }
        let mut reader = Reader(body.get(BATCH_MAGIC.len()..)?);
        Some(Self { number: reader.u64()?, bytes: reader.size()?, frames: reader.u32()? })
    }

    /// The first batch anywhere in `bytes` whose number is at least `least`.
    pub(crate) fn find(seed: Seed, bytes: &[u8], least: u64) -> Option<Self> {
        let starts = bytes.windows(BATCH_HEADER_BYTES);
        starts
            .filter(|window| window.starts_with(&BATCH_MAGIC))
            .filter_map(|window| Self::decode(seed, window))
            .find(|header| least <= header.number)
    }
}

/// What a write does to its record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Operation {
    Put = 1,
    Delete = 2,
    Purge = 3,
    /// Of a kind, not a record: its purged records left this version.
    Floor = 4,
}

/// One write, borrowed from wherever it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriteRef<'a> {
    pub(crate) operation: Operation,
    pub(crate) version: Version,
    pub(crate) at: Timestamp,
    pub(crate) sweep_at: Option<Timestamp>,
    pub(crate) kind: &'a str,
    pub(crate) id: &'a str,
    pub(crate) value: &'a [u8],
}

impl<'a> WriteRef<'a> {
    /// Appends it; gives its length.
    pub(crate) fn put(&self, partition: &Partition, out: &mut Vec<u8>) -> usize {
        let start = out.len();
        out.push(self.operation as u8);
        out.extend(self.version.get().to_le_bytes());
        out.extend(self.at.nanos().to_le_bytes());
        out.extend(self.sweep_at.map_or(NEVER, Timestamp::nanos).to_le_bytes());
        out.extend(size16(self.kind.len()));
        out.extend(size16(self.id.len()));
        out.extend(size32(self.value.len()));
        out.extend(self.kind.as_bytes());
        out.extend(self.id.as_bytes());
        out.extend(self.value);
        let body = out.get(start..).expect("it was just written");
        let crc = crc32c_append(crc32c(partition.as_str().as_bytes()), body);
        out.extend(crc.to_le_bytes());
        out.len().saturating_sub(start)
    }

    /// Takes one off the reader, and its length.
    fn take(partition: &str, reader: &mut Reader<'a>) -> Option<(Self, usize)> {
        let whole = reader.0;
        let operation = match reader.u8()? {
            1 => Operation::Put,
            2 => Operation::Delete,
            3 => Operation::Purge,
            4 => Operation::Floor,
            _ => return None,
        };
        let (version, at) = (Version::new(reader.u64()?), reader.time()?);
        let sweep_at = match reader.u128()? {
            NEVER => None,
            nanos => Some(Timestamp::from_nanos(nanos)?),
        };
        let (kind, id, value) = (reader.u16()?, reader.u16()?, reader.size()?);
        let (kind, id, value) = (reader.text(kind)?, reader.text(id)?, reader.take(value)?);
        let body = whole.get(..whole.len().checked_sub(reader.0.len())?)?;
        let crc = crc32c_append(crc32c(partition.as_bytes()), body);
        if !agrees(crc, reader.u32()?) {
            return None;
        }
        let length = whole.len().checked_sub(reader.0.len())?;
        Some((Self { operation, version, at, sweep_at, kind, id, value }, length))
    }

    /// The one write that `bytes` are.
    pub(crate) fn decode(partition: &Partition, bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let (write, _) = Self::take(partition.as_str(), &mut reader)?;
        reader.0.is_empty().then_some(write)
    }

    pub(crate) fn key(&self) -> RecordKey {
        RecordKey { kind: Kind::named(self.kind), id: RecordId::stored(self.id) }
    }

    pub(crate) fn content(&self) -> Option<Arc<[u8]>> {
        (self.operation == Operation::Put).then(|| self.value.into())
    }
}

/// What heads the writes of a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Head<'a> {
    Commit { id: CommitId, now: Timestamp, at: Timestamp, partition: &'a Partition },
    Copy { partition: &'a Partition },
    Removed { through: u32 },
}

/// A frame being appended to a batch.
#[derive(Debug)]
pub(crate) struct FrameStart {
    start: usize,
    count: Option<usize>,
}

impl FrameStart {
    pub(crate) fn put(head: &Head<'_>, out: &mut Vec<u8>) -> Self {
        let start = out.len();
        out.extend([0; FRAME_HEADER_BYTES]);
        let partition = match head {
            Head::Commit { id, now, at, partition } => {
                out.push(COMMIT);
                out.extend(id.bits().to_le_bytes());
                out.extend(now.nanos().to_le_bytes());
                out.extend(at.nanos().to_le_bytes());
                partition
            }
            Head::Copy { partition } => {
                out.push(COPY);
                partition
            }
            Head::Removed { through } => {
                out.push(REMOVED);
                out.extend(u64::from(*through).to_le_bytes());
                return Self { start, count: None };
            }
        };
        out.extend(size16(partition.as_str().len()));
        out.extend(partition.as_str().as_bytes());
        let count = Some(out.len());
        out.extend([0; 4]);
        Self { start, count }
    }

    pub(crate) fn end(self, writes: usize, out: &mut [u8]) {
        if let Some(count) = self.count {
            patch(out, count, &size32(writes));
        }
        let payload = self.start.saturating_add(FRAME_HEADER_BYTES);
        let payload = out.get(payload..).expect("the header was written");
        let (length, crc) = (size32(payload.len()), crc32c(payload).to_le_bytes());
        patch(out, self.start, &[length, crc].concat());
    }
}

/// A write within a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed<'a> {
    pub(crate) write: WriteRef<'a>,
    /// From the start of the frame.
    pub(crate) offset: usize,
    pub(crate) length: usize,
}

/// A frame as read.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) bytes: usize,
    pub(crate) body: Body<'a>,
}

#[derive(Debug)]
pub(crate) enum Body<'a> {
    Writes { commit: Option<(CommitId, Timestamp)>, partition: Partition, writes: Vec<Placed<'a>> },
    Removed { through: u32 },
}

/// How many bytes the frame that `bytes` begins with has, header included.
pub(crate) fn frame_bytes(bytes: &[u8]) -> Option<usize> {
    Reader(bytes).size()?.checked_add(FRAME_HEADER_BYTES)
}

impl<'a> Frame<'a> {
    /// The frame that `bytes` begins with; `None` if it is cut off, damaged or of no known type.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let (length, crc) = (reader.size()?, reader.u32()?);
        let payload = reader.take(length)?;
        if !agrees(crc32c(payload), crc) {
            return None;
        }
        let whole = length.checked_add(FRAME_HEADER_BYTES)?;
        let mut reader = Reader(payload);
        let commit = match reader.u8()? {
            COMMIT => {
                let id = CommitId::new(reader.u128()?);
                let _now = reader.time()?;
                Some((id, reader.time()?))
            }
            COPY => None,
            REMOVED => {
                let through = u32::try_from(reader.u64()?).ok()?;
                return Some(Self { bytes: whole, body: Body::Removed { through } });
            }
            _ => return None,
        };
        let partition = reader.u16()?;
        let partition = Partition::new(reader.text(partition)?).ok()?;
        let count = reader.u32()?;
        let mut writes = Vec::new();
        for _ in 0..count {
            let offset = whole.checked_sub(reader.0.len())?;
            let (write, length) = WriteRef::take(partition.as_str(), &mut reader)?;
            writes.push(Placed { write, offset, length });
        }
        let body = Body::Writes { commit, partition, writes };
        reader.0.is_empty().then_some(Self { bytes: whole, body })
    }
}

/// Where a log ended when it was closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct End {
    pub(crate) store: u64,
    pub(crate) segment: u64,
    pub(crate) bytes: u64,
    pub(crate) batches: u64,
}

impl End {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut out = SEGMENT_MAGIC.to_vec();
        for part in [self.store, self.segment, self.bytes, self.batches] {
            out.extend(part.to_le_bytes());
        }
        out.extend(crc32c(&out).to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        let mut reader = Reader(body);
        if reader.array()? != SEGMENT_MAGIC || !agrees(crc32c(body), u32::from_le_bytes(*crc)) {
            return None;
        }
        let (store, segment) = (reader.u64()?, reader.u64()?);
        Some(Self { store, segment, bytes: reader.u64()?, batches: reader.u64()? })
    }
}

#[cfg(test)]
mod tests;
