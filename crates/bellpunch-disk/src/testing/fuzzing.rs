//! Readers of the bytes of a folder, for fuzzing.
//!
//! Invariant: each takes any bytes, says whether they were read, and panics only if a reader or a
//! writer is wrong. Everything is read twice: as it is, and with every checksum taken for right,
//! since no fuzzer gets past one. What was read is written and read again, and must be the same.

use bellpunch_store::{Clock, Partition, Timestamp};

use crate::blobs::{name_of, path_of};
use crate::format::{
    BATCH_HEADER_BYTES, BatchHeader, Body, End, Frame, FrameStart, Head, Seed, SegmentHeader,
    WriteRef,
};
use crate::recovery::{CLOSED, segment_name};
use crate::testing::{FaultFiles, Loss, Recovered, Unchecked};

const SEED: Seed = Seed { store: 7, segment: 1 };

#[derive(Debug)]
struct Epoch;

impl Clock for Epoch {
    fn now(&self) -> Timestamp {
        Timestamp::EPOCH
    }
}

fn twice(bytes: &[u8], read: fn(&[u8]) -> bool) -> bool {
    let checked = read(bytes);
    let _unchecked = Unchecked::begin();
    read(bytes) || checked
}

/// Reads bytes as each part of a log: headers, a frame, a write, the mark of a close.
#[must_use]
pub fn log_parts(bytes: &[u8]) -> bool {
    twice(bytes, |bytes| {
        let read = [segment(bytes), batch(bytes), frame(bytes), write(bytes), end(bytes)];
        read.contains(&true)
    })
}

fn segment(bytes: &[u8]) -> bool {
    let Some(header) = SegmentHeader::decode(bytes) else { return false };
    assert_eq!(SegmentHeader::decode(&header.encode()), Some(header));
    true
}

fn end(bytes: &[u8]) -> bool {
    let Some(end) = End::decode(bytes) else { return false };
    assert_eq!(End::decode(&end.encode()), Some(end));
    true
}

fn batch(bytes: &[u8]) -> bool {
    let found = BatchHeader::find(SEED, bytes, 0);
    let Some(header) = BatchHeader::decode(SEED, bytes) else { return found.is_some() };
    let mut written = [0; BATCH_HEADER_BYTES];
    header.put(SEED, &mut written);
    assert_eq!(BatchHeader::decode(SEED, &written), Some(header));
    true
}

fn write(bytes: &[u8]) -> bool {
    let partition = Partition::new("acme").expect("it is a name");
    let Some(write) = WriteRef::decode(&partition, bytes) else { return false };
    let mut written = Vec::new();
    let length = write.put(&partition, &mut written);
    assert_eq!(length, bytes.len(), "a write of another length");
    let body = length.checked_sub(4).expect("a write ends with its checksum");
    assert_eq!(written.get(..body), bytes.get(..body), "a write is not what was written");
    assert_eq!(write.content().is_some(), write.operation == crate::format::Operation::Put);
    true
}

fn frame(bytes: &[u8]) -> bool {
    let Some(frame) = Frame::decode(bytes) else { return false };
    let mut written = Vec::new();
    match &frame.body {
        Body::Removed { through } => {
            FrameStart::put(&Head::Removed { through: *through }, &mut written)
                .end(0, &mut written);
        }
        Body::Writes { commit, partition, writes } => {
            let head = match commit {
                Some((id, at)) => Head::Commit { id: *id, now: *at, at: *at, partition },
                None => Head::Copy { partition },
            };
            let start = FrameStart::put(&head, &mut written);
            for placed in writes {
                assert_eq!(placed.offset, written.len(), "a write is at another place");
                assert_eq!(placed.write.put(partition, &mut written), placed.length);
            }
            start.end(writes.len(), &mut written);
        }
    }
    let again = Frame::decode(&written).expect("what was written is read");
    if let Body::Writes { .. } = frame.body {
        assert_eq!(again.bytes, frame.bytes, "a frame of another length");
    }
    true
}

/// Reads bytes as a folder of one or two segments, which the first byte says, and maybe a mark of
/// its close.
#[must_use]
pub fn folder(bytes: &[u8]) -> bool {
    twice(bytes, |bytes| {
        let Some((how, bytes)) = bytes.split_first() else { return false };
        let files = FaultFiles::default();
        let session = files.session();
        let put = |name: &str, bytes: &[u8]| {
            let file = session.create(name).expect("it is not there yet");
            file.write_at(bytes, 0).expect("memory is written");
        };
        let (log, mark) = match how & 1 {
            0 => (bytes, None),
            _ => bytes
                .split_at_checked(bytes.len().saturating_sub(MARK_BYTES))
                .map_or((bytes, None), |(log, mark)| (log, Some(mark))),
        };
        let half = log.len().div_euclid(2);
        match how & 2 {
            0 => put(&segment_name(1), log),
            _ => {
                let (one, two) = log.split_at_checked(half).unwrap_or((log, &[]));
                put(&segment_name(1), one);
                put(&segment_name(2), two);
            }
        }
        if let Some(mark) = mark {
            put(CLOSED, mark);
        }
        reopens(&files)
    })
}

/// Bytes of the mark of an orderly close.
const MARK_BYTES: usize = 44;

/// What a folder was recovered as, it is recovered as again.
fn reopens(files: &FaultFiles) -> bool {
    let files = files.after(files.steps().len(), Loss::Nothing);
    let recovered = match Recovered::open(&*files.session(), &Epoch) {
        Ok(recovered) => recovered,
        Err(error) => {
            assert!(!error.to_string().is_empty(), "an error says why");
            assert!(files.steps().is_empty(), "a folder was refused, and yet changed");
            return false;
        }
    };
    let dump = recovered.dump();
    let again = Recovered::open(&*files.session(), &Epoch).expect("what was recovered opens");
    assert_eq!(again.dump(), dump, "a folder was recovered to another state");
    true
}

/// Reads text as the name of a file of a blob.
#[must_use]
pub fn blob_files(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Some(name) = name_of(text) else { return false };
    let kept = std::path::Path::new("kept");
    let path = path_of(kept, &name);
    let pieces = path.strip_prefix(kept).expect("a blob is below its folder").iter();
    let hex: String =
        pieces.map(|piece| piece.to_str().expect("hex is text").trim_end_matches('+')).collect();
    assert_eq!(name_of(&hex), Some(name), "a blob of another name");
    true
}
