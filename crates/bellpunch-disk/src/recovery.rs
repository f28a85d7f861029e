//! From the files of a folder to an index and the end of the log.
//!
//! Invariant: what was acknowledged is in the index, or the folder is refused. A batch is begun
//! only after the one before it is synced. So bad bytes with any later batch after them are damage
//! to acknowledged data; bad bytes with none after them are the batch that was being written, and
//! are cut. (A mark left by an orderly close says where the log ends, so after one not even the
//! last batch can be lost unnoticed.)
//!
//! Before anything is served, the last batch is written again in place and synced: it may have been
//! read from the machine's cache after a sync that failed or never came.

use std::collections::BTreeMap;
use std::sync::Arc;

use bellpunch_store::Clock;

use crate::config::{OpenError, OpenErrorKind};
use crate::files::{File, Files};
use crate::format::{
    BATCH_HEADER_BYTES, BatchHeader, Body, End, FORMAT, Frame, SEGMENT_HEADER_BYTES, Seed,
    SegmentHeader,
};
use crate::index::{Forgot, Index, Segment};

/// The mark of an orderly close.
pub(crate) const CLOSED: &str = "closed";

/// The file name of a segment.
pub(crate) fn segment_name(segment: u32) -> String {
    format!("{segment:08x}.log")
}

fn segment_number(name: &str) -> Option<u32> {
    let number = u32::from_str_radix(name.strip_suffix(".log")?, 16).ok()?;
    (segment_name(number) == name).then_some(number)
}

/// Makes a durable segment without batches.
pub(crate) fn create_segment(
    files: &dyn Files,
    segment: u32,
    store: u64,
) -> std::io::Result<Arc<dyn File>> {
    let file = files.create(&segment_name(segment))?;
    let header = SegmentHeader { format: FORMAT, segment: u64::from(segment), store };
    file.write_at(&header.encode(), 0)?;
    file.sync()?;
    files.sync_folder()?;
    Ok(file)
}

/// A log as found.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) index: Index,
    pub(crate) store: u64,
    /// The segment that the log goes on in.
    pub(crate) segment: u32,
    /// The number of the next batch.
    pub(crate) batch: u64,
    /// Bytes of an unfinished batch that were cut.
    pub(crate) cut_bytes: u64,
}

/// A segment in memory while it is replayed.
struct Image {
    number: u32,
    file: Arc<dyn File>,
    bytes: Vec<u8>,
}

/// Where the good part of the log ends, so far.
#[derive(Default)]
struct Progress {
    index: Index,
    store: Option<u64>,
    /// The oldest segment.
    first: Option<u32>,
    /// The number of the next batch, once one was seen.
    batch: Option<u64>,
    /// The last whole batch: its segment, where it begins, where it ends.
    last: Option<(u32, usize, usize)>,
    removed: Option<u32>,
    bad: Option<Bad>,
}

/// Where the good part of the log ended.
#[derive(Clone, Copy)]
struct Bad {
    segment: u32,
    offset: usize,
    /// From where on a later batch is looked for.
    search: usize,
    /// The least number such a batch has.
    least: u64,
}

pub(crate) fn recover(files: &dyn Files, clock: &dyn Clock) -> Result<Recovered, OpenError> {
    let names = files.list().map_err(|cause| refused("list the folder", &cause))?;
    let mut numbers: Vec<_> = names.iter().filter_map(|name| segment_number(name)).collect();
    numbers.sort_unstable();
    let closed = match names.iter().any(|name| name == CLOSED) {
        true => read_end(files)?,
        false => None,
    };
    if numbers.is_empty() && closed.is_none() {
        return fresh(files, clock);
    }
    let mut progress = Progress::default();
    let mut opened = BTreeMap::new();
    let mut before: Option<u32> = None;
    for number in numbers.iter().copied() {
        if before.is_some_and(|before| before.checked_add(1) != Some(number)) {
            return Err(missing(number));
        }
        before = Some(number);
        let image = read_segment(files, number)?;
        let alone = numbers.len() == 1 && closed.is_none();
        if alone && unfinished(&image.bytes) {
            // The folder's first segment was being made when the process ended; one that was closed
            // in order had been made.
            let name = segment_name(number);
            files.remove(&name).map_err(|cause| refused("remove an unfinished segment", &cause))?;
            return fresh(files, clock);
        }
        progress.segment(&image)?;
        let bytes = u64::try_from(image.bytes.len()).expect("64 bits fit");
        opened.insert(number, Segment { file: image.file, bytes });
    }
    progress.check(&numbers, closed)?;
    settle(files, progress, opened, closed)
}

/// An empty store.
fn fresh(files: &dyn Files, clock: &dyn Clock) -> Result<Recovered, OpenError> {
    // Not a secret: it only tells segments of different folders apart.
    let nanos = clock.now().nanos().to_le_bytes();
    let store = u64::from_le_bytes(*nanos.first_chunk().expect("16 bytes begin with 8"));
    let file = create_segment(files, 1, store)
        .map_err(|cause| refused("make the first segment", &cause))?;
    let mut index = Index::default();
    index.segments.insert(1, Segment { file, bytes: header_bytes() });
    index.total = header_bytes();
    Ok(Recovered { index, store, segment: 1, batch: 1, cut_bytes: 0 })
}

fn unfinished(bytes: &[u8]) -> bool {
    bytes.len() <= SEGMENT_HEADER_BYTES && SegmentHeader::decode(bytes).is_none()
}

fn read_all(file: &dyn File) -> std::io::Result<Vec<u8>> {
    let length = usize::try_from(file.bytes()?).expect("64 bits fit");
    let mut bytes = vec![0; length];
    file.read_at(&mut bytes, 0)?;
    Ok(bytes)
}

fn read_end(files: &dyn Files) -> Result<Option<End>, OpenError> {
    let read = files.open(CLOSED).and_then(|file| read_all(&*file));
    let bytes = read.map_err(|cause| refused("read the mark of the last close", &cause))?;
    // One that was being written when the process ended says nothing.
    Ok(End::decode(&bytes))
}

fn read_segment(files: &dyn Files, number: u32) -> Result<Image, OpenError> {
    let name = segment_name(number);
    let read = files.open(&name).and_then(|file| {
        let bytes = read_all(&*file)?;
        Ok(Image { number, file, bytes })
    });
    read.map_err(|cause| refused(&format!("read segment {name}"), &cause))
}

impl Progress {
    /// Replays a segment, or looks through it for what must not be there.
    fn segment(&mut self, image: &Image) -> Result<(), OpenError> {
        let number = image.number;
        self.first.get_or_insert(number);
        if let Some(header) = SegmentHeader::decode(&image.bytes) {
            if FORMAT < header.format {
                let found = header.format;
                return Err(OpenError::new(
                    OpenErrorKind::Newer,
                    format!(
                        "segment {} has format {found}, this release reads up to {FORMAT}: \
                         upgrade first",
                        segment_name(number)
                    ),
                ));
            }
            let store = *self.store.get_or_insert(header.store);
            if header.segment != u64::from(number) || header.store != store {
                return Err(damaged(number, 0, "it is a segment of another place or folder"));
            }
        } else if self.store.is_none() {
            return Err(damaged(number, 0, "its header is damaged"));
        } else if self.bad.is_none() {
            let least = self.batch.unwrap_or_default();
            self.bad = Some(Bad { segment: number, offset: 0, search: 0, least });
        }
        let mut offset = SEGMENT_HEADER_BYTES;
        while self.bad.is_none() && offset < image.bytes.len() {
            offset = self.batch(image, offset)?;
        }
        self.search(image)
    }

    /// Replays one batch, and gives where it ends.
    fn batch(&mut self, image: &Image, offset: usize) -> Result<usize, OpenError> {
        let number = image.number;
        let bytes = image.bytes.get(offset..).unwrap_or_default();
        let next = self.batch;
        let mut bad = Bad { segment: number, offset, search: offset, least: next.unwrap_or(0) };
        let Some(header) = BatchHeader::decode(self.seed(number), bytes) else {
            self.bad = Some(bad);
            return Ok(offset);
        };
        // The log goes on in another segment only after a batch in this one. So if the first batch
        // is not in the oldest segment, that was cut; which number was its first, nobody knows.
        let oldest = self.first == Some(number);
        let follows = next.map_or(oldest, |next| next == header.number);
        if !follows {
            return Err(damaged(number, offset, "batches before it are missing"));
        }
        let start = offset.saturating_add(BATCH_HEADER_BYTES);
        let end = start.saturating_add(header.bytes);
        let body = image.bytes.get(start..end);
        let Some(frames) = body.and_then(|body| frames(body, header.frames)) else {
            (bad.search, bad.least) = (start, header.number.saturating_add(1));
            self.bad = Some(bad);
            return Ok(offset);
        };
        let mut place = start;
        for frame in frames {
            match &frame.body {
                Body::Removed { through } => self.removed = self.removed.max(Some(*through)),
                Body::Writes { commit, partition, writes } => {
                    for placed in writes {
                        let replayed = self.index.replay(partition, placed, (number, place));
                        replayed
                            .ok_or_else(|| damaged(number, place, "the segment is too long"))?;
                    }
                    if let Some((id, at)) = commit {
                        self.index.remember(*id, *at);
                    }
                }
            }
            place = place.saturating_add(frame.bytes);
        }
        self.batch = Some(header.number.saturating_add(1));
        self.last = Some((number, offset, end));
        Ok(end)
    }

    /// Past bad bytes, refuses any batch that was begun after them.
    fn search(&self, image: &Image) -> Result<(), OpenError> {
        let Some(bad) = self.bad else {
            return Ok(());
        };
        let from = if bad.segment == image.number { bad.search } else { 0 };
        let rest = image.bytes.get(from..).unwrap_or_default();
        match BatchHeader::find(self.seed(image.number), rest, bad.least) {
            None => Ok(()),
            Some(_) => Err(damaged(
                bad.segment,
                bad.offset,
                "a batch is damaged, and acknowledged ones follow it",
            )),
        }
    }

    fn seed(&self, segment: u32) -> Seed {
        Seed { store: self.store.unwrap_or_default(), segment: u64::from(segment) }
    }

    /// Refuses a log that lacks its beginning, or the end that it was closed with.
    fn check(&self, numbers: &[u32], closed: Option<End>) -> Result<(), OpenError> {
        let first = numbers.first().copied().unwrap_or_default();
        if 1 < first && self.removed.is_none_or(|removed| removed < first.saturating_sub(1)) {
            return Err(missing(first));
        }
        let Some(closed) = closed else {
            return Ok(());
        };
        let (segment, bytes) = self.end(numbers);
        let store = self.store.unwrap_or_default();
        let batches = self.batch.unwrap_or(1);
        let bytes = u64::try_from(bytes).expect("64 bits fit");
        if closed != (End { store, segment: u64::from(segment), bytes, batches }) {
            let end = usize::try_from(bytes).unwrap_or_default();
            return Err(damaged(segment, end, "the log does not end where it was closed"));
        }
        Ok(())
    }

    /// The segment that the log goes on in, and where.
    fn end(&self, numbers: &[u32]) -> (u32, usize) {
        match self.last {
            Some((segment, _, end)) => (segment, end),
            None => (numbers.first().copied().unwrap_or_default(), SEGMENT_HEADER_BYTES),
        }
    }
}

/// The frames of a batch, all of them whole.
fn frames(mut body: &[u8], count: u32) -> Option<Vec<Frame<'_>>> {
    let mut frames = Vec::new();
    for _ in 0..count {
        let frame = Frame::decode(body)?;
        body = body.get(frame.bytes..)?;
        frames.push(frame);
    }
    body.is_empty().then_some(frames)
}

/// Makes the folder be what was recovered: the only part that changes files.
fn settle(
    files: &dyn Files,
    progress: Progress,
    mut opened: BTreeMap<u32, Segment>,
    closed: Option<End>,
) -> Result<Recovered, OpenError> {
    let numbers: Vec<_> = opened.keys().copied().collect();
    let (segment, end) = progress.end(&numbers);
    let mut cut_bytes = 0_u64;
    let unsettled = |cause| refused("settle the end of the log", &cause);
    let gone = |number: u32| {
        files.remove(&segment_name(number)).and_then(|()| files.sync_folder()).map_err(unsettled)
    };
    // What is left is without gap at every moment: those after the end, which were prepared and
    // hold nothing, go from the last; those before it, which were copied, from the first.
    for number in numbers.iter().rev().copied().take_while(|number| segment < *number) {
        let bytes = opened.remove(&number).map_or(0, |gone| gone.bytes);
        cut_bytes = cut_bytes.saturating_add(bytes.saturating_sub(header_bytes()));
        gone(number)?;
    }
    let copied = |number: &u32| *number < segment && Some(*number) <= progress.removed;
    for number in numbers.iter().copied().take_while(copied) {
        opened.remove(&number);
        gone(number)?;
    }
    let active = opened.get_mut(&segment).ok_or_else(|| missing(segment))?;
    let end = u64::try_from(end).expect("64 bits fit");
    cut_bytes = cut_bytes.saturating_add(active.bytes.saturating_sub(end));
    let start = match closed {
        Some(_) => end,
        None => progress.last.map_or(0, |(_, start, _)| u64::try_from(start).unwrap_or(0)),
    };
    rewrite(active, start, end).map_err(unsettled)?;
    if files.list().map_err(unsettled)?.iter().any(|name| name == CLOSED) {
        files.remove(CLOSED).map_err(unsettled)?;
    }
    files.sync_folder().map_err(unsettled)?;
    let mut index = progress.index;
    index.total = opened.values().map(|segment| segment.bytes).sum();
    if opened.keys().next() != Some(&1) {
        index.forgot = Forgot::Some;
    }
    index.segments = opened;
    let store = progress.store.unwrap_or_default();
    Ok(Recovered { index, store, segment, batch: progress.batch.unwrap_or(1), cut_bytes })
}

/// Ends a segment here, and makes what is from `start` on durable.
fn rewrite(segment: &mut Segment, start: u64, end: u64) -> std::io::Result<()> {
    if end < segment.bytes {
        segment.file.cut(end)?;
        segment.bytes = end;
    }
    let length = usize::try_from(end.saturating_sub(start)).expect("64 bits fit");
    let mut batch = vec![0; length];
    segment.file.read_at(&mut batch, start)?;
    segment.file.write_at(&batch, start)?;
    segment.file.sync()
}

fn header_bytes() -> u64 {
    u64::try_from(SEGMENT_HEADER_BYTES).expect("64 bits fit")
}

fn refused(what: &str, cause: &std::io::Error) -> OpenError {
    let message = format!("cannot {what}: {cause}; check the data folder and its disk");
    OpenError::new(OpenErrorKind::Files, message)
}

fn damaged(segment: u32, offset: usize, what: &str) -> OpenError {
    let name = segment_name(segment);
    let message = format!("{name}, offset {offset}: {what}; restore the data folder from a backup");
    OpenError::new(OpenErrorKind::Damaged, message)
}

fn missing(segment: u32) -> OpenError {
    let name = segment_name(segment);
    let message = format!("segments before {name} are missing; restore the folder from a backup");
    OpenError::new(OpenErrorKind::Damaged, message)
}
