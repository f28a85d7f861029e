//! Frees space: copies what still counts of the oldest segment to the end of the log, a little with
//! each batch, then removes the segment.
//!
//! Invariant: copies are appended before the batch's own commits and say only what the index says
//! at that moment, so replaying the log in order gives the same state. Why the oldest: a mark that
//! a record was purged counts only while an older segment may still have that record.

use std::sync::Arc;

use bellpunch_store::{Failure, FailureKind};

use crate::batch::Batch;
use crate::files::File;
use crate::format::{BATCH_HEADER_BYTES, Body, Frame, Head, SEGMENT_HEADER_BYTES, frame_bytes};
use crate::index::{Index, Place};

/// How much of a segment is read, and so at most copied, with one batch; more only if one frame is
/// larger.
pub(crate) const STEP_BYTES: usize = 256 << 10;

/// How far the compaction of a segment has come.
#[derive(Clone, Debug)]
pub(crate) struct Cursor {
    segment: u32,
    file: Arc<dyn File>,
    offset: u64,
    end: u64,
    /// Bytes left of the batch that the offset is in.
    left: u64,
}

/// What one step did.
#[derive(Debug)]
pub(crate) enum Step {
    /// There is more to do.
    More(Cursor),
    /// Nothing in this segment or before it counts any more.
    Done(u32),
}

impl Cursor {
    /// The oldest segment, if the log is worth compacting.
    pub(crate) fn start(index: &Index, slack_bytes: u64) -> Option<Self> {
        let enough = index.live.saturating_mul(2).saturating_add(slack_bytes);
        let mut segments = index.segments.iter();
        let (&number, segment) = segments.next()?;
        // The one being written is never compacted.
        segments.next()?;
        let offset = u64::try_from(SEGMENT_HEADER_BYTES).expect("64 bits fit");
        (enough < index.total).then(|| Self {
            segment: number,
            file: Arc::clone(&segment.file),
            offset,
            end: segment.bytes,
            left: 0,
        })
    }

    /// Appends copies of what counts of the next few frames.
    pub(crate) fn step(mut self, index: &Index, batch: &mut Batch) -> Result<Step, Failure> {
        let mut bytes = self.read(STEP_BYTES)?;
        if let Some(first) = self.frame_at(&bytes)
            && bytes.len() < first
        {
            bytes = self.read(first)?;
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            if self.left == 0 {
                // Batch headers were checked at recovery; all that counts here is their length.
                let Some(frames) = rest.get(12..16).and_then(|length| length.first_chunk()) else {
                    break;
                };
                let Some(after) = rest.get(BATCH_HEADER_BYTES..) else { break };
                self.left = u64::from(u32::from_le_bytes(*frames));
                rest = after;
                self.advance(BATCH_HEADER_BYTES);
                continue;
            }
            let Some(length) = frame_bytes(rest) else { break };
            let Some(frame) = rest.get(..length) else { break };
            let frame = Frame::decode(frame).ok_or_else(|| self.damaged())?;
            self.copy(index, &frame, batch);
            rest = rest.get(length..).expect("it has a frame of this length");
            let length64 = u64::try_from(length).expect("64 bits fit");
            self.left = self.left.checked_sub(length64).ok_or_else(|| self.damaged())?;
            self.advance(length);
        }
        if self.offset == self.end {
            return Ok(Step::Done(self.segment));
        }
        if rest.len() == bytes.len() {
            return Err(self.damaged());
        }
        Ok(Step::More(self))
    }

    fn advance(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).expect("64 bits fit");
        self.offset = self.offset.saturating_add(bytes);
    }

    fn read(&self, bytes: usize) -> Result<Vec<u8>, Failure> {
        let left = usize::try_from(self.end.saturating_sub(self.offset)).expect("64 bits fit");
        let mut buffer = vec![0; bytes.min(left)];
        self.file.read_at(&mut buffer, self.offset).map_err(|_| self.damaged())?;
        Ok(buffer)
    }

    /// How many bytes the first frame here needs, and a batch header before it.
    fn frame_at(&self, bytes: &[u8]) -> Option<usize> {
        if self.left == 0 {
            let frame = frame_bytes(bytes.get(BATCH_HEADER_BYTES..)?)?;
            return frame.checked_add(BATCH_HEADER_BYTES);
        }
        frame_bytes(bytes)
    }

    fn copy(&self, index: &Index, frame: &Frame<'_>, batch: &mut Batch) {
        let Body::Writes { partition, writes, .. } = &frame.body else {
            return;
        };
        let place = |offset: usize, length: usize| {
            let offset = u64::try_from(offset).ok()?.checked_add(self.offset)?;
            let (offset, length) = (u32::try_from(offset).ok()?, u32::try_from(length).ok()?);
            Some(Place { segment: self.segment, offset, length })
        };
        let mut live = writes.iter().filter_map(|placed| {
            index.live(partition, place(placed.offset, placed.length)?, &placed.write)
        });
        let Some(first) = live.next() else {
            return;
        };
        batch.frame(&Head::Copy { partition }, |frame| {
            for write in std::iter::once(first).chain(live) {
                frame.write(partition, write.key(), &write);
            }
        });
    }

    fn damaged(&self) -> Failure {
        let Self { segment, offset, .. } = self;
        let message = format!(
            "segment {segment}, offset {offset}: damaged, so it is kept and no more space is \
             freed; restore the data folder from a backup"
        );
        Failure::new(FailureKind::Corrupt, message)
    }
}
