//! Bytes between a connection and a blob store, whose calls block: a thread on one side, a bounded
//! channel between, so that neither gets ahead by more than [`PIECES`] pieces.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bellpunch::BlobName;
use bellpunch::store::{BlobReader, BlobStore, Failure};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinHandle;

use crate::app::Outgoing;

/// Bytes that go through the channel at once.
pub(crate) const PIECE_BYTES: usize = 64 << 10;
/// Pieces in the channel: with the one being written and the one being read below 1 MiB.
const PIECES: usize = 12;

/// What the writer is told.
pub(crate) enum Incoming {
    Bytes(Bytes),
    /// That was all: what ends without it was cut, and is dropped.
    End,
}

/// What was written, and is durable.
pub(crate) struct Written {
    pub(crate) size: u64,
    pub(crate) sha256: [u8; 32],
}

pub(crate) fn random() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system has random bits");
    u128::from_le_bytes(bytes)
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Begins a blob; its pieces go into the channel.
pub(crate) fn write(
    blobs: Arc<dyn BlobStore>,
    name: BlobName,
    slot: OwnedSemaphorePermit,
) -> (mpsc::Sender<Incoming>, JoinHandle<Result<Written, Failure>>) {
    let (sender, mut pieces) = mpsc::channel(PIECES);
    let writing = tokio::task::spawn_blocking(move || {
        let _slot = slot;
        let mut writer = blobs.create(&name)?;
        let (mut size, mut hash) = (0_u64, Sha256::new());
        loop {
            match pieces.blocking_recv() {
                Some(Incoming::Bytes(bytes)) => {
                    writer.write(&bytes)?;
                    hash.update(&bytes);
                    size = size.saturating_add(wide(bytes.len()));
                }
                Some(Incoming::End) => break,
                None => {
                    // Dropped unfinished, the blob was never there; nobody waits for this.
                    let cut = "the payload was cut";
                    return Err(Failure::new(bellpunch::store::FailureKind::Unavailable, cut));
                }
            }
        }
        writer.finish()?;
        Ok(Written { size, sha256: hash.finalize().into() })
    });
    (sender, writing)
}

/// The bytes of a blob from the first offset to before the second.
pub(crate) fn read(
    reader: Arc<dyn BlobReader>,
    (begin, end): (u64, u64),
    slot: OwnedSemaphorePermit,
) -> Outgoing {
    let (sender, pieces) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || {
        let _slot = slot;
        let mut offset = begin;
        while offset < end {
            let rest = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
            let mut buffer = vec![0; PIECE_BYTES.min(rest)];
            let piece = match reader.read_at(offset, &mut buffer) {
                Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    buffer.truncate(count);
                    offset = offset.saturating_add(wide(count));
                    Ok(Bytes::from(buffer))
                }
                Err(failure) => Err(io::Error::other(failure)),
            };
            let broken = piece.is_err();
            if sender.blocking_send(piece).is_err() || broken {
                return;
            }
        }
    });
    Streamed { pieces, left: end.saturating_sub(begin) }.boxed()
}

/// A body that comes through the channel; its length is known.
struct Streamed {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let polled = self.pieces.poll_recv(context);
        polled.map(|piece| {
            let piece = piece?;
            Some(piece.map(|bytes| {
                self.left = self.left.saturating_sub(wide(bytes.len()));
                Frame::data(bytes)
            }))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
