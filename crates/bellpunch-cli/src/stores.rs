//! Stores by their URL, and a walk over what is in one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bellpunch::store::{
    BlobStore, MemoryBlobs, MemoryConfig, MemoryStore, Scan, Show, Store, Versioned,
};
use bellpunch::{Floor, Kind, Partition, RecordKey, SystemClock};
use bellpunch_disk::{DiskBlobs, DiskConfig, DiskStore, OpenError, OpenErrorKind};

use crate::config::StoreSettings;
use crate::failure::Failure;

/// Records that one page of a walk has.
const PAGE: usize = 500;

/// Bytes of payloads that a memory store keeps.
const MEMORY_BLOBS_MAX: usize = 1 << 30;

/// A store that was opened, and where it is if it is a folder.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) folder: Option<PathBuf>,
    disk: Option<Arc<DiskStore>>,
}

impl Opened {
    /// What a folder says of itself.
    pub(crate) fn report(&self) -> Option<bellpunch_disk::DiskReport> {
        self.disk.as_ref().map(|disk| disk.report())
    }

    /// Where the payloads are: a folder of their own beside the store's.
    pub(crate) fn blobs(&self, setting: &str) -> Option<PathBuf> {
        if !setting.is_empty() {
            return Some(PathBuf::from(setting));
        }
        self.folder.as_ref().map(|folder| {
            let mut name = folder.file_name().unwrap_or_default().to_owned();
            name.push("-blobs");
            folder.with_file_name(name)
        })
    }

    /// Opens where payloads are kept: in memory, or in that folder.
    pub(crate) fn open_blobs(&self, setting: &str) -> Result<Arc<dyn BlobStore>, Failure> {
        let clock = Arc::new(SystemClock::new());
        let Some(folder) = self.blobs(setting) else {
            return Ok(Arc::new(MemoryBlobs::new(clock, MEMORY_BLOBS_MAX)));
        };
        let blobs = DiskBlobs::open(&folder, clock).map_err(|error| of_open(&error))?;
        Ok(Arc::new(blobs))
    }

    /// Ends the store in order.
    pub(crate) fn close(&self) {
        if let Some(disk) = &self.disk {
            disk.close();
        }
    }
}

enum Place {
    Memory,
    Folder(PathBuf),
}

fn place(url: &str) -> Result<Place, Failure> {
    match url.split_once(':') {
        Some(("memory", "")) => Ok(Place::Memory),
        Some(("disk", path)) if !path.is_empty() => Ok(Place::Folder(PathBuf::from(path))),
        Some(_) | None => {
            Err(Failure::usage(format!("store.url = {url:?}: write memory: or disk:PATH")))
        }
    }
}

fn of_open(error: &OpenError) -> Failure {
    let message = format!("the store does not open: {error}");
    match error.kind() {
        OpenErrorKind::Newer => Failure::unsafe_to_run(message),
        OpenErrorKind::Config => Failure::usage(message),
        OpenErrorKind::Locked | OpenErrorKind::Damaged | OpenErrorKind::Files | _ => {
            Failure::could_not_run(message)
        }
    }
}

/// Opens the store of a URL; makes its folder if there is none.
pub(crate) fn open(settings: &StoreSettings) -> Result<Opened, Failure> {
    let clock = Arc::new(SystemClock::new());
    let skew = settings.clock_skew_max.get().as_nanos();
    let clock_skew_max_ns = u64::try_from(skew).unwrap_or(u64::MAX);
    match place(&settings.url)? {
        Place::Memory => {
            let config = MemoryConfig { clock_skew_max_ns, ..MemoryConfig::default() };
            let store = Arc::new(MemoryStore::new(clock, config));
            Ok(Opened { store, folder: None, disk: None })
        }
        Place::Folder(folder) => {
            let config = DiskConfig { clock_skew_max_ns, ..DiskConfig::new(&folder) };
            let disk = DiskStore::open(&config, clock).map_err(|error| of_open(&error))?;
            let disk = Arc::new(disk);
            let store = Arc::clone(&disk) as Arc<dyn Store>;
            Ok(Opened { store, folder: Some(folder), disk: Some(disk) })
        }
    }
}

/// Opens a store that is there already: to look into one must not make it.
pub(crate) fn open_existing(url: &str) -> Result<Opened, Failure> {
    match place(url)? {
        Place::Memory => {
            Err(Failure::usage("a memory store ends with its process: name one as disk:PATH"))
        }
        Place::Folder(folder) if !is_used(&folder) => Err(Failure::could_not_run(format!(
            "there is no store in {}: name its folder with --store disk:PATH",
            folder.display()
        ))),
        Place::Folder(_) => {
            open(&StoreSettings { url: url.to_owned(), ..StoreSettings::default() })
        }
    }
}

fn is_used(folder: &Path) -> bool {
    folder.read_dir().is_ok_and(|mut entries| entries.next().is_some())
}

pub(crate) fn of_store(failure: &bellpunch::store::Failure) -> Failure {
    Failure::could_not_run(format!("the store cannot be read: {failure}"))
}

/// The names of all partitions, in order.
pub(crate) async fn partitions(store: &dyn Store) -> Result<Vec<Partition>, Failure> {
    let mut all: Vec<Partition> = Vec::new();
    loop {
        let page = store.partitions(all.last(), PAGE).await.map_err(|f| of_store(&f))?;
        all.extend(page.partitions);
        if !page.more {
            return Ok(all);
        }
    }
}

/// A walk over the records of a partition, in order of kind and id.
pub(crate) struct Walk<'a> {
    /// The floors of purged records, once the first page was taken; none unless all is shown.
    pub(crate) floors: Vec<(Kind, Floor)>,
    store: &'a dyn Store,
    partition: &'a Partition,
    scan: Scan,
    done: bool,
}

impl<'a> Walk<'a> {
    /// Over all records, or those of one kind.
    pub(crate) fn new(store: &'a dyn Store, partition: &'a Partition, kind: Option<&str>) -> Self {
        let kind = kind.map(Kind::named);
        let scan = Scan { kind, ..Scan::of(Kind::named(""), PAGE) };
        Self { floors: Vec::new(), store, partition, scan, done: false }
    }

    /// Over what was removed, too.
    pub(crate) fn with_removed(mut self) -> Self {
        self.scan.show = Show::All;
        self
    }

    /// Of those, the ones whose id begins so.
    pub(crate) fn prefixed(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.scan.prefix);
        self
    }

    /// The next page; empty at the end.
    pub(crate) async fn page(&mut self) -> Result<Vec<(RecordKey, Versioned)>, Failure> {
        // A store looks at a bounded number of records at a time: a page may be empty, and more come.
        while !self.done {
            let page = self.store.scan(self.partition, &self.scan).await;
            let page = page.map_err(|failure| of_store(&failure))?;
            self.done = page.resume.is_none();
            self.scan.after = page.resume;
            self.floors.extend(page.floors);
            if !page.records.is_empty() {
                return Ok(page.records);
            }
        }
        Ok(Vec::new())
    }
}
