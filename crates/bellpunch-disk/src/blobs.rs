//! Blobs as files of one folder.
//!
//! Invariant: a file under its name is whole and synced: it is written under a temporary name, and
//! moved only then. The folder belongs to one process at a time, so "is it there? then move" is one
//! step under one lock, and temporary files found at the start belong to nobody.
//!
//! A blob's path is the hex of its name, in pieces that every file system takes. So no name can
//! leave the folder, two names never share a file where case is folded, and files stand in the order
//! of their names. That a blob was begun at a time is kept as the file's own time.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bellpunch_store::{
    BlobName, BlobReader, BlobStore, BlobWriter, Clock, Failure, FailureKind, StoredBlob, Timestamp,
};

use crate::{OpenError, OpenErrorKind};

/// Hex digits in one piece of a path; with the mark of a folder below the 255 bytes of a name.
const PIECE_MAX: usize = 200;
/// Marks a folder: the name goes on in it. Stands before every hex digit, so that order is kept.
const GOES_ON: char = '+';
/// Folders below each other: of a name as long as may be.
const DEPTH_MAX: usize = 12;

/// A folder of blobs. Bytes are durable when their writer has finished.
///
/// ```no_run
/// use std::sync::Arc;
/// use bellpunch_disk::DiskBlobs;
/// use bellpunch_store::{BlobName, BlobStore, Clock};
/// fn write_one(clock: Arc<dyn Clock>) -> Result<(), Box<dyn std::error::Error>> {
///     let blobs = DiskBlobs::open("data/blobs".as_ref(), clock)?;
///     let mut writer = blobs.create(&BlobName::new("a")?)?;
///     writer.write(b"bytes")?;
///     Ok(writer.finish()?)
/// }
/// ```
#[derive(Debug)]
pub struct DiskBlobs {
    clock: Arc<dyn Clock>,
    folder: Arc<Folder>,
}

#[derive(Debug)]
struct Folder {
    kept: PathBuf,
    temporary: PathBuf,
    /// Held while a file is moved to its name.
    moving: Mutex<()>,
    begun: AtomicU64,
    /// Locked as long as this is open.
    _lock: fs::File,
}

impl DiskBlobs {
    /// Opens the folder, made if it is not there, and removes what was never finished.
    ///
    /// # Errors
    /// [`OpenErrorKind::Locked`] if another process has it; [`OpenErrorKind::Files`] if the file
    /// system refuses.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let open = || -> io::Result<Folder> {
            let (kept, temporary) = (path.join("kept"), path.join("temporary"));
            fs::create_dir_all(&kept)?;
            let mut options = fs::OpenOptions::new();
            let lock = options.write(true).create(true).truncate(false).open(path.join("lock"))?;
            lock.try_lock().map_err(io::Error::from)?;
            if temporary.is_dir() {
                fs::remove_dir_all(&temporary)?;
            }
            fs::create_dir(&temporary)?;
            for folder in [Some(path), path.parent()].into_iter().flatten() {
                // The parent of a relative name is empty: then it is this folder's own.
                let here = folder.as_os_str().is_empty();
                sync_folder(if here { Path::new(".") } else { folder })?;
            }
            let (moving, begun) = (Mutex::default(), AtomicU64::new(0));
            Ok(Folder { kept, temporary, moving, begun, _lock: lock })
        };
        match open() {
            Ok(folder) => Ok(Self { clock, folder: Arc::new(folder) }),
            Err(error) => {
                let is_locked = error.kind() == io::ErrorKind::WouldBlock;
                let kind = if is_locked { OpenErrorKind::Locked } else { OpenErrorKind::Files };
                let message = format!("cannot open the blobs in {}: {error}", path.display());
                Err(OpenError::new(kind, message))
            }
        }
    }
}

impl BlobStore for DiskBlobs {
    fn create(&self, name: &BlobName) -> Result<Box<dyn BlobWriter>, Failure> {
        let path = path_of(&self.folder.kept, name);
        if path.is_file() {
            return Err(exists());
        }
        let number = self.folder.begun.fetch_add(1, Ordering::Relaxed);
        let temporary = self.folder.temporary.join(number.to_string());
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create_new(true).open(&temporary);
        Ok(Box::new(DiskWriter {
            file: file.map_err(|error| failed("create", &error))?,
            created_at: self.clock.now(),
            folder: Arc::clone(&self.folder),
            temporary,
            path,
        }))
    }

    fn open(&self, name: &BlobName) -> Result<Option<Box<dyn BlobReader>>, Failure> {
        let path = path_of(&self.folder.kept, name);
        let opened = fs::OpenOptions::new().read(true).open(path);
        match opened.and_then(|file| Ok(DiskReader { bytes: file.metadata()?.len(), file })) {
            Ok(reader) => Ok(Some(Box::new(reader))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("open", &error)),
        }
    }

    fn remove(&self, name: &BlobName) -> Result<(), Failure> {
        // Not synced: what a crash brings back is garbage still, and is removed again.
        match fs::remove_file(path_of(&self.folder.kept, name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn list(&self, after: Option<&BlobName>, limit: usize) -> Result<Vec<StoredBlob>, Failure> {
        let mut page = ListPage { after: after.map(hex_of), limit, found: BTreeMap::new() };
        page.walk(&self.folder.kept, "", 0).map_err(|error| failed("list", &error))?;
        let mut blobs = Vec::with_capacity(page.found.len());
        for (hex, path) in page.found {
            let Some(name) = name_of(&hex) else { continue };
            match fs::metadata(path).and_then(|data| data.modified()) {
                Ok(time) => blobs.push(StoredBlob { name, created_at: from_system(time) }),
                // Removed since it was seen.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed("list", &error)),
            }
        }
        Ok(blobs)
    }
}

/// The first `limit` files after a name, by the hex of their names.
struct ListPage {
    after: Option<String>,
    limit: usize,
    found: BTreeMap<String, PathBuf>,
}

impl ListPage {
    fn walk(&mut self, folder: &Path, prefix: &str, depth: usize) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let Ok(piece) = entry.file_name().into_string() else { continue };
            if let Some(piece) = piece.strip_suffix(GOES_ON) {
                if depth < DEPTH_MAX {
                    let deeper = depth.saturating_add(1);
                    self.walk(&entry.path(), &format!("{prefix}{piece}"), deeper)?;
                }
                continue;
            }
            let hex = format!("{prefix}{piece}");
            if self.after.as_ref().is_none_or(|after| *after < hex) {
                self.found.insert(hex, entry.path());
            }
            if self.limit < self.found.len() {
                self.found.pop_last();
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct DiskWriter {
    file: fs::File,
    created_at: Timestamp,
    folder: Arc<Folder>,
    temporary: PathBuf,
    path: PathBuf,
}

impl DiskWriter {
    fn make_durable(&self) -> io::Result<()> {
        let since_epoch = u64::try_from(self.created_at.nanos()).map(Duration::from_nanos);
        if let Some(time) = since_epoch.ok().and_then(|s| SystemTime::UNIX_EPOCH.checked_add(s)) {
            self.file.set_modified(time)?;
        }
        self.file.sync_all()
    }

    /// Moves the file to its name, unless that is taken.
    fn put(&self) -> io::Result<bool> {
        let _moving = self.folder.moving.lock().expect("no code panics while it holds this lock");
        if self.path.is_file() {
            return Ok(false);
        }
        let mut folders: Vec<&Path> = Vec::new();
        for folder in self.path.ancestors().skip(1) {
            folders.push(folder);
            if folder == self.folder.kept {
                break;
            }
        }
        if let Some(folder) = folders.first() {
            fs::create_dir_all(folder)?;
        }
        fs::rename(&self.temporary, &self.path)?;
        // The innermost last: when its entry is durable, so is the way to it.
        for folder in folders.iter().rev() {
            sync_folder(folder)?;
        }
        Ok(true)
    }
}

impl BlobWriter for DiskWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes).map_err(|error| failed("write", &error))
    }

    fn finish(self: Box<Self>) -> Result<(), Failure> {
        match self.make_durable().and_then(|()| self.put()) {
            Ok(true) => Ok(()),
            Ok(false) => Err(exists()),
            Err(error) => Err(failed("finish", &error)),
        }
    }
}

impl Drop for DiskWriter {
    fn drop(&mut self) {
        // Gone already if it was finished. What cannot be removed now is removed at the next start.
        drop(fs::remove_file(&self.temporary));
    }
}

#[derive(Debug)]
struct DiskReader {
    file: fs::File,
    bytes: u64,
}

impl BlobReader for DiskReader {
    fn size(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Failure> {
        let rest = usize::try_from(self.bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = rest.min(buffer.len());
        let wanted = buffer.get_mut(..count).expect("no more than the buffer has");
        if count != 0 {
            self.file.read_exact_at(wanted, offset).map_err(|error| failed("read", &error))?;
        }
        Ok(count)
    }
}

fn exists() -> Failure {
    Failure::new(FailureKind::Exists, "a blob of this name was written before; draw another name")
}

fn failed(what: &str, error: &io::Error) -> Failure {
    let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
    let kind = if full.contains(&error.kind()) {
        FailureKind::Full
    } else if error.kind() == io::ErrorKind::UnexpectedEof {
        FailureKind::Corrupt
    } else {
        FailureKind::Unavailable
    };
    Failure::new(kind, format!("cannot {what} a blob: {error}"))
}

fn sync_folder(path: &Path) -> io::Result<()> {
    fs::OpenOptions::new().read(true).open(path)?.sync_all()
}

fn hex_of(name: &BlobName) -> String {
    let mut hex = String::new();
    for byte in name.as_str().bytes() {
        write!(hex, "{byte:02x}").expect("writing to a string succeeds");
    }
    hex
}

/// `None` for a file that is none of ours.
pub(crate) fn name_of(hex: &str) -> Option<BlobName> {
    let mut bytes = Vec::with_capacity(hex.len());
    for pair in hex.as_bytes().chunks(2) {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        bytes.push(u8::from_str_radix(pair, 16).ok()?);
    }
    BlobName::new(String::from_utf8(bytes).ok()?).ok()
}

pub(crate) fn path_of(kept: &Path, name: &BlobName) -> PathBuf {
    let hex = hex_of(name);
    let mut path = kept.to_owned();
    let mut rest = hex.as_str();
    while let Some((piece, more)) = rest.split_at_checked(PIECE_MAX).filter(|(_, m)| !m.is_empty())
    {
        path.push(format!("{piece}{GOES_ON}"));
        rest = more;
    }
    path.push(rest);
    path
}

fn from_system(time: SystemTime) -> Timestamp {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(since_epoch.as_nanos()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
