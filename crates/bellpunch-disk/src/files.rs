//! The few things the store asks of a file system, so that tests can tear, lose and fail them.
//!
//! Invariant: the rest of this crate touches files only through here. What is written is durable
//! after [`File::sync`]; that a file exists or is gone is durable after [`Files::sync_folder`].

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// One folder.
pub trait Files: fmt::Debug + Send + Sync {
    /// Takes the folder for this process, until the value is dropped.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if another process has it.
    fn lock(&self) -> io::Result<()>;
    /// The names in the folder.
    ///
    /// # Errors
    /// What the file system says.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Makes a new, empty file.
    ///
    /// # Errors
    /// What the file system says, also if there is one of this name.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;
    /// Opens a file to read and write.
    ///
    /// # Errors
    /// What the file system says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;
    /// Removes a file.
    ///
    /// # Errors
    /// What the file system says.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations and removals durable.
    ///
    /// # Errors
    /// What the file system says.
    fn sync_folder(&self) -> io::Result<()>;
}

/// One open file.
pub trait File: fmt::Debug + Send + Sync {
    /// Its length.
    ///
    /// # Errors
    /// What the file system says.
    fn bytes(&self) -> io::Result<u64>;
    /// Fills the buffer from this place on.
    ///
    /// # Errors
    /// What the file system says, also if the file is too short.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of it at this place.
    ///
    /// # Errors
    /// What the file system says; a part may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts the file.
    ///
    /// # Errors
    /// What the file system says.
    fn cut(&self, bytes: u64) -> io::Result<()>;
    /// Makes its content and length durable.
    ///
    /// # Errors
    /// What the file system says. Then nothing is known of what is durable.
    fn sync(&self) -> io::Result<()>;
}

/// A folder of the machine.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    folder: fs::File,
    lock: OnceLock<fs::File>,
}

impl Folder {
    /// The folder, made if it is not there.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if !path.is_dir() {
            fs::create_dir_all(path)?;
            if let Some(parent) = path.canonicalize()?.parent() {
                fs::OpenOptions::new().read(true).open(parent)?.sync_all()?;
            }
        }
        let folder = fs::OpenOptions::new().read(true).open(path)?;
        Ok(Self { path: path.to_owned(), folder, lock: OnceLock::new() })
    }
}

impl Files for Folder {
    fn lock(&self) -> io::Result<()> {
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).open(self.path.join("lock"))?;
        file.try_lock().map_err(io::Error::from)?;
        self.lock.set(file).map_err(|_| io::Error::from(io::ErrorKind::WouldBlock))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.path)?;
        names.map(|name| Ok(name?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).open(self.path.join(name))?;
        Ok(Arc::new(DiskFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        Ok(Arc::new(DiskFile(options.read(true).write(true).open(self.path.join(name))?)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.folder.sync_all()
    }
}

#[derive(Debug)]
struct DiskFile(fs::File);

impl File for DiskFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn cut(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
