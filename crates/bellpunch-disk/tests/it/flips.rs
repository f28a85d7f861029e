//! Damage: every bit flipped, every length cut, files taken away. It is noticed, or nothing changed.
//!
//! What cannot be noticed, and is allowed here: after a stop without an orderly close, damage to
//! the *last* batch looks like a batch that was being written, so that batch is cut (and with it
//! those before it that are damaged by the same misfortune); and a log that ends early looks like
//! one that never went on.

use bellpunch_disk::testing::{FaultFiles, Loss};
use bellpunch_disk::{DiskConfig, OpenErrorKind};
use bellpunch_store::Store;

use crate::open;
use crate::workload::{Dump, Workload, dump};

const SEGMENT: &str = "00000001.log";
/// A batch header, as the format says.
const BATCH_HEADER_BYTES: usize = 24;
const SEGMENT_HEADER_BYTES: usize = 32;

/// How a store was left.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Left {
    Closed,
    Killed,
}

struct Image {
    files: FaultFiles,
    workload: Workload,
    /// Where the last batch begins.
    last: usize,
    left: Left,
}

fn config() -> DiskConfig {
    DiskConfig::new("data")
}

fn image(left: Left) -> Image {
    let (files, mut workload) = (FaultFiles::default(), Workload::new(11));
    let store = open(&files, &config(), workload.clock()).unwrap();
    let mut last = 0;
    while workload.states.len() < 8 {
        files.change(SEGMENT, |bytes| last = bytes.len());
        let commit = workload.commit();
        if !commit.writes.is_empty() {
            workload.apply(&commit);
            let commit = std::sync::Arc::new(commit);
            let _ = bellpunch_store::kit::block_on(store.commit(vec![commit]));
        }
    }
    let killed = files.after(files.steps().len(), Loss::Nothing);
    store.close();
    let files = if left == Left::Closed { files } else { killed };
    Image { files, workload, last, left }
}

impl Image {
    /// The state after the damage, or why it was refused.
    fn after(&self, damage: impl FnOnce(&mut Vec<u8>), name: &str) -> Result<Dump, OpenErrorKind> {
        let files = self.files.after(self.files.steps().len(), Loss::Nothing);
        files.change(name, damage);
        let store = open(&files, &config(), self.workload.clock()).map_err(|error| error.kind())?;
        Ok(dump(&store))
    }

    fn state(&self) -> &Dump {
        self.workload.states.last().unwrap()
    }

    /// Asserts what damage to this byte of the segment may lead to.
    fn check(&self, after: Result<Dump, OpenErrorKind>, at: usize) {
        let before_last = &self.workload.states[self.workload.states.len() - 2];
        match after {
            Err(OpenErrorKind::Damaged | OpenErrorKind::Newer) => {}
            Err(other) => panic!("byte {at}: refused as {other:?}"),
            Ok(state) if state == *self.state() => {}
            Ok(state) => {
                assert_eq!(self.left, Left::Killed, "byte {at}: damage went unnoticed");
                assert!(self.last <= at, "byte {at}: acknowledged data is gone");
                assert_eq!(state, *before_last, "byte {at}: not even the state before");
            }
        }
    }
}

#[test]
fn notices_every_flipped_bit() {
    for left in [Left::Closed, Left::Killed] {
        let image = image(left);
        let mut length = 0;
        image.files.change(SEGMENT, |bytes| length = bytes.len());
        for at in 0..length {
            for bit in 0..8 {
                let after = image.after(|bytes| bytes[at] ^= 1 << bit, SEGMENT);
                image.check(after, at);
            }
        }
        assert!(image.last + BATCH_HEADER_BYTES < length);
    }
}

#[test]
fn notices_a_log_that_ends_early() {
    for left in [Left::Closed, Left::Killed] {
        let image = image(left);
        let mut length = 0;
        image.files.change(SEGMENT, |bytes| length = bytes.len());
        for at in 0..length {
            match image.after(|bytes| bytes.truncate(at), SEGMENT) {
                Err(kind) => assert_eq!(kind, OpenErrorKind::Damaged),
                Ok(state) => {
                    assert_eq!(left, Left::Killed, "cut at {at}: unnoticed");
                    assert!(image.workload.states.contains(&state), "cut at {at}: never reached");
                }
            }
        }
    }
}

#[test]
fn notices_swapped_blocks() {
    for left in [Left::Closed, Left::Killed] {
        let image = image(left);
        let mut length = 0;
        image.files.change(SEGMENT, |bytes| length = bytes.len());
        for block in [16, 64, 128] {
            for at in (0..length - 2 * block).step_by(block) {
                let swap = |bytes: &mut Vec<u8>| {
                    let (one, two) = bytes[at..at + 2 * block].split_at_mut(block);
                    one.swap_with_slice(two);
                };
                let after = image.after(swap, SEGMENT);
                if image.left == Left::Killed && image.last < at + 2 * block {
                    // It may reach the batch before too, and hide that by hiding the last one.
                    let unnoticed =
                        after.is_ok_and(|state| !image.workload.states.contains(&state));
                    assert!(!unnoticed, "blocks at {at}: a state that was never reached");
                } else {
                    image.check(after, at);
                }
            }
        }
    }
}

#[test]
fn notices_missing_segments() {
    let (files, mut workload) = (FaultFiles::default(), Workload::new(5));
    let config = DiskConfig { segment_bytes: 600, ..config() };
    let store = open(&files, &config, workload.clock()).unwrap();
    for _ in 0..20 {
        workload.step(&store);
    }
    store.close();
    let mut segments: Vec<_> =
        files.names().into_iter().filter(|name| name.ends_with(".log")).collect();
    assert!(5 < segments.len(), "{segments:?}");
    // The last one was only prepared.
    segments.pop();
    for name in segments {
        let left = files.after(files.steps().len(), Loss::Nothing);
        left.session().remove(&name).unwrap();
        let error = open(&left, &config, workload.clock()).expect_err("data is missing");
        assert_eq!(error.kind(), OpenErrorKind::Damaged, "{name}: {error}");
    }
}

#[test]
fn notices_segments_cut_to_their_headers() {
    let (files, mut workload) = (FaultFiles::default(), Workload::new(5));
    // After a compaction the oldest segment does not begin with the first batch.
    let config = crate::workload::small();
    let store = open(&files, &config, workload.clock()).unwrap();
    while files.names().contains(&SEGMENT.to_owned()) {
        workload.step(&store);
    }
    store.close();
    let left = files.after(files.steps().len(), Loss::Nothing);
    left.session().remove("closed").unwrap();
    let cut = |name: &String| {
        let left = left.after(left.steps().len(), Loss::Nothing);
        let mut had = 0;
        left.change(name, |bytes| {
            had = bytes.len();
            bytes.truncate(SEGMENT_HEADER_BYTES);
        });
        (had, open(&left, &config, workload.clock()).map(|store| dump(&store)))
    };
    let cuts: Vec<_> = files.names().iter().filter(|name| *name != "closed").map(cut).collect();
    let with_batches = cuts.iter().filter(|(had, _)| SEGMENT_HEADER_BYTES < *had).count();
    assert!(1 < with_batches);
    // Of the last one it cannot be known that it had any.
    for (_, after) in cuts.into_iter().take(with_batches - 1) {
        assert_eq!(after.unwrap_err().kind(), OpenErrorKind::Damaged);
    }
}

#[test]
fn a_closed_folder_is_never_taken_for_one_being_made() {
    let image = image(Left::Closed);
    // Without room no segment was made ahead.
    image.files.session().remove("00000002.log").unwrap();
    for at in 0..=SEGMENT_HEADER_BYTES {
        let after = image.after(|bytes| bytes.truncate(at), SEGMENT);
        assert_eq!(after.unwrap_err(), OpenErrorKind::Damaged, "cut at {at}");
    }
}

#[test]
fn a_mark_of_closing_that_is_damaged_is_no_mark() {
    let image = image(Left::Closed);
    let mut length = 0;
    image.files.change("closed", |bytes| length = bytes.len());
    for at in 0..length {
        for bit in 0..8 {
            let after = image.after(|bytes| bytes[at] ^= 1 << bit, "closed");
            assert_eq!(after.unwrap(), *image.state());
        }
        let after = image.after(|bytes| bytes.truncate(at), "closed");
        assert_eq!(after.unwrap(), *image.state());
    }
}
