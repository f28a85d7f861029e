//! Frees space: copies what still counts of the oldest segments to the end of the log, a piece with
//! each batch, then removes the segments.
//!
//! Each batch moves on by a multiple of what the one before appended. So the log is bounded under a
//! writer that never pauses, and no commit waits for more than a multiple of its own work.
//!
//! Invariant: copies are appended before the batch's own commits and say only what the index says
//! at that moment, so replaying the log in order gives the same state. Why the oldest: a mark that
//! a record was purged counts only while an older segment may still have that record.

use std::ops::Bound;
use std::sync::Arc;

use bellpunch_store::{Failure, FailureKind};

use crate::batch::Batch;
use crate::files::File;
use crate::format::{BATCH_HEADER_BYTES, Body, Frame, Head, SEGMENT_HEADER_BYTES, frame_bytes};
use crate::index::{Index, Place};

/// How much is read, and so at most copied, at a time; more only if one frame is larger.
const STEP_BYTES: usize = 256 << 10;
/// How many bytes a batch reads for each that the one before appended. The log is compacted while
/// less than half of it counts, so two would hold it where it is, and three let it shrink.
const PACE: usize = 3;

/// How far compaction has come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Compaction {
    /// Within the segment it is at.
    cursor: Option<Cursor>,
    /// Segments up to this one hold nothing that counts; the log has to say so before they go.
    pub(crate) done: Option<u32>,
}

impl Compaction {
    /// Begins with the oldest segment if the log is worth it; whether there is anything to do.
    pub(crate) fn begin(&mut self, index: &Index, slack_bytes: u64) -> bool {
        if self.cursor.is_none() {
            self.cursor = Cursor::start(index, self.done, slack_bytes);
        }
        self.cursor.is_some() || self.done.is_some()
    }

    /// Nothing more is copied; what was done can still go.
    pub(crate) fn ended(done: Option<u32>) -> Self {
        Self { cursor: None, done }
    }

    /// The log says by now what was done before.
    pub(crate) fn told(self, before: Option<u32>) -> Self {
        let Self { cursor, done } = self;
        Self { cursor, done: done.filter(|_| done != before) }
    }

    /// Appends the next copies, after a batch that appended so many bytes.
    pub(crate) fn advance(
        mut self,
        index: &Index,
        (slack_bytes, appended): (u64, usize),
        batch: &mut Batch,
    ) -> Result<Self, Failure> {
        let mut left = appended.saturating_mul(PACE).max(STEP_BYTES);
        while 0 < left && self.begin(index, slack_bytes) {
            let Some(mut cursor) = self.cursor.take() else { break };
            left = left.saturating_sub(cursor.step(index, batch)?);
            if cursor.offset == cursor.end {
                self.done = Some(cursor.segment);
            } else {
                self.cursor = Some(cursor);
            }
        }
        Ok(self)
    }
}

/// How far the compaction of a segment has come.
#[derive(Clone, Debug)]
struct Cursor {
    segment: u32,
    file: Arc<dyn File>,
    offset: u64,
    end: u64,
    /// Bytes left of the batch that the offset is in.
    left: u64,
}

impl Cursor {
    /// The oldest segment after those done, if the log is worth compacting.
    fn start(index: &Index, done: Option<u32>, slack_bytes: u64) -> Option<Self> {
        let from = done.map_or(Bound::Unbounded, Bound::Excluded);
        let mut segments = index.segments.range((from, Bound::Unbounded));
        let (&number, segment) = segments.next()?;
        // The one being written is never compacted.
        segments.next()?;
        let enough = index.live.saturating_mul(2).saturating_add(slack_bytes);
        let gone = index.segments.range(..number).map(|(_, segment)| segment.bytes).sum();
        let offset = u64::try_from(SEGMENT_HEADER_BYTES).expect("64 bits fit");
        (enough < index.total.saturating_sub(gone)).then(|| Self {
            segment: number,
            file: Arc::clone(&segment.file),
            offset,
            end: segment.bytes,
            left: 0,
        })
    }

    /// Appends copies of what counts of the next few frames; how many bytes it went on by.
    fn step(&mut self, index: &Index, batch: &mut Batch) -> Result<usize, Failure> {
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
                self.forward(BATCH_HEADER_BYTES);
                continue;
            }
            let Some(length) = frame_bytes(rest) else { break };
            let Some(frame) = rest.get(..length) else { break };
            let frame = Frame::decode(frame).ok_or_else(|| self.damaged())?;
            self.copy(index, &frame, batch);
            rest = rest.get(length..).expect("it has a frame of this length");
            let length64 = u64::try_from(length).expect("64 bits fit");
            self.left = self.left.checked_sub(length64).ok_or_else(|| self.damaged())?;
            self.forward(length);
        }
        let stepped = bytes.len().saturating_sub(rest.len());
        if stepped == 0 && self.offset != self.end {
            return Err(self.damaged());
        }
        Ok(stepped)
    }

    fn forward(&mut self, bytes: usize) {
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
