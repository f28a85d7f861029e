//! Blob stores: where the bytes of payloads are, beside the store of records.
//!
//! Invariant: a name is written once. What is under it is all that was written, durable, or there
//! is nothing; it is never overwritten and never seen half. So whoever reads a name reads what was
//! published under it, however late another writer is.
//!
//! Why synchronous: the bytes of a payload are moved in large pieces by a thread that may block; a
//! door hands them over with back-pressure. Reading a name does not find its bytes changed: a
//! stream that runs when the blob is removed may break off, but never goes on with other bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use bellpunch_core::{BlobName, StoredBlob};

use crate::{Clock, Failure, FailureKind};

/// Where bytes are kept. Open: implement it for the storage you have, then call
/// `check_blobs` of the conformance kit.
pub trait BlobStore: fmt::Debug + Send + Sync {
    /// Begins a blob. Nothing is under the name until [`BlobWriter::finish`].
    ///
    /// # Errors
    /// [`FailureKind::Exists`] if the name was finished before; or the storage fails.
    fn create(&self, name: &BlobName) -> Result<Box<dyn BlobWriter>, Failure>;

    /// Opens a blob for reading; `None` if nothing is under the name.
    ///
    /// # Errors
    /// If the storage fails.
    fn open(&self, name: &BlobName) -> Result<Option<Box<dyn BlobReader>>, Failure>;

    /// Removes a blob. To remove what is not there is no error: a sweep may do it twice.
    ///
    /// # Errors
    /// If the storage fails.
    fn remove(&self, name: &BlobName) -> Result<(), Failure>;

    /// At most `limit` blobs after a name, in byte order of names, each with the time when it was
    /// begun.
    ///
    /// # Errors
    /// If the storage fails.
    fn list(&self, after: Option<&BlobName>, limit: usize) -> Result<Vec<StoredBlob>, Failure>;
}

/// A blob that is being written. Dropped without [`BlobWriter::finish`], it was never there.
pub trait BlobWriter: fmt::Debug + Send {
    /// Adds bytes.
    ///
    /// # Errors
    /// If there is no room, or the storage fails. The blob is then lost.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure>;

    /// Makes the blob durable and puts it under its name: all of it, or nothing.
    ///
    /// # Errors
    /// [`FailureKind::Exists`] if another writer finished the name first; or the storage fails.
    fn finish(self: Box<Self>) -> Result<(), Failure>;
}

/// A blob that can be read.
pub trait BlobReader: fmt::Debug + Send + Sync {
    /// How many bytes it has.
    fn size(&self) -> u64;

    /// Fills the buffer from `offset`, as far as there are bytes; tells how many.
    ///
    /// # Errors
    /// If the storage fails.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Failure>;
}

#[derive(Clone, Debug)]
struct Kept {
    bytes: Arc<[u8]>,
    stored: StoredBlob,
}

#[derive(Debug, Default)]
struct Shelf {
    kept: BTreeMap<BlobName, Kept>,
    /// Of all blobs, those being written included.
    bytes: usize,
}

impl Shelf {
    fn take(&mut self, bytes: usize, bytes_max: usize) -> Result<(), Failure> {
        let taken = self.bytes.checked_add(bytes).filter(|taken| *taken <= bytes_max);
        self.bytes = taken.ok_or_else(|| {
            Failure::new(
                FailureKind::Full,
                "the blobs in memory have reached their bound (bytes_max); remove some or raise it",
            )
        })?;
        Ok(())
    }

    const fn give(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// Blobs in memory, up to a number of bytes; gone with the process.
///
/// ```
/// use std::sync::Arc;
/// use bellpunch_store::{BlobName, BlobStore, Clock, MemoryBlobs, Timestamp};
/// #[derive(Debug)]
/// struct Stopped;
/// impl Clock for Stopped {
///     fn now(&self) -> Timestamp { Timestamp::EPOCH }
/// }
/// let blobs = MemoryBlobs::new(Arc::new(Stopped), 1 << 20);
/// let name = BlobName::new("a")?;
/// let mut writer = blobs.create(&name)?;
/// writer.write(b"bytes")?;
/// assert!(blobs.open(&name)?.is_none(), "nothing is there before it is finished");
/// writer.finish()?;
/// assert_eq!(blobs.open(&name)?.map(|reader| reader.size()), Some(5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct MemoryBlobs {
    clock: Arc<dyn Clock>,
    bytes_max: usize,
    shelf: Arc<Mutex<Shelf>>,
}

impl MemoryBlobs {
    /// None at first, and at most `bytes_max` bytes of them.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, bytes_max: usize) -> Self {
        Self { clock, bytes_max, shelf: Arc::default() }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        lock(&self.shelf)
    }
}

fn lock(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    shelf.lock().expect("no code panics while it holds this lock")
}

fn exists() -> Failure {
    Failure::new(FailureKind::Exists, "a blob of this name was written before; draw another name")
}

impl BlobStore for MemoryBlobs {
    fn create(&self, name: &BlobName) -> Result<Box<dyn BlobWriter>, Failure> {
        if self.shelf().kept.contains_key(name) {
            return Err(exists());
        }
        Ok(Box::new(MemoryWriter {
            shelf: Arc::clone(&self.shelf),
            bytes_max: self.bytes_max,
            stored: StoredBlob { name: name.clone(), created_at: self.clock.now() },
            bytes: Vec::new(),
        }))
    }

    fn open(&self, name: &BlobName) -> Result<Option<Box<dyn BlobReader>>, Failure> {
        let kept = self.shelf().kept.get(name).cloned();
        Ok(kept.map(|kept| Box::new(MemoryReader(kept.bytes)) as Box<dyn BlobReader>))
    }

    fn remove(&self, name: &BlobName) -> Result<(), Failure> {
        let mut shelf = self.shelf();
        if let Some(kept) = shelf.kept.remove(name) {
            shelf.give(kept.bytes.len());
        }
        Ok(())
    }

    fn list(&self, after: Option<&BlobName>, limit: usize) -> Result<Vec<StoredBlob>, Failure> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let shelf = self.shelf();
        let range = shelf.kept.range::<BlobName, _>((start, Bound::Unbounded));
        Ok(range.take(limit).map(|(_, kept)| kept.stored.clone()).collect())
    }
}

struct MemoryWriter {
    shelf: Arc<Mutex<Shelf>>,
    bytes_max: usize,
    stored: StoredBlob,
    bytes: Vec<u8>,
}

impl fmt::Debug for MemoryWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryWriter").field("stored", &self.stored).finish_non_exhaustive()
    }
}

impl BlobWriter for MemoryWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        lock(&self.shelf).take(bytes.len(), self.bytes_max)?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), Failure> {
        let mut shelf = lock(&self.shelf);
        if shelf.kept.contains_key(&self.stored.name) {
            drop(shelf);
            return Err(exists());
        }
        let bytes: Arc<[u8]> = std::mem::take(&mut self.bytes).into();
        let stored = self.stored.clone();
        shelf.kept.insert(stored.name.clone(), Kept { bytes, stored });
        drop(shelf);
        Ok(())
    }
}

impl Drop for MemoryWriter {
    fn drop(&mut self) {
        // What was finished is no longer here, so this gives back only what was not.
        lock(&self.shelf).give(self.bytes.len());
    }
}

struct MemoryReader(Arc<[u8]>);

impl fmt::Debug for MemoryReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemoryReader").field(&self.0.len()).finish()
    }
}

impl BlobReader for MemoryReader {
    fn size(&self) -> u64 {
        u64::try_from(self.0.len()).expect("memory is smaller than 2^64 bytes")
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Failure> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.0.get(offset..));
        let rest = rest.unwrap_or_default();
        let count = rest.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(rest) {
            *to = *from;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
