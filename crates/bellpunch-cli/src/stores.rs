//! Stores by their URL, and a walk over what is in one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bellpunch::store::probe::ProbeError;
use bellpunch::store::{
    BlobStore, MemoryBlobs, MemoryConfig, MemoryStore, Scan, Sharing, Show, Store, Versioned,
};
use bellpunch::{BlobName, Floor, Kind, Partition, RecordKey, SystemClock};
use bellpunch_disk::{DiskBlobs, DiskConfig, DiskStore, OpenError, OpenErrorKind};

use crate::config::StoreSettings;
use crate::failure::Failure;

mod remote;

use remote::{Engine, Remote};
pub(crate) use remote::{NOTHING, Work, migrate};

/// Records that one page of a walk has.
const PAGE: usize = 500;

/// Bytes of payloads that a memory store keeps.
const MEMORY_BLOBS_MAX: usize = 1 << 30;

/// Why there are no payloads.
pub(crate) const NO_BLOBS: &str =
    "payloads are not set up: set uploads.blobs to a folder that all nodes share";

/// A store that was opened, and where it is if it is a folder.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) folder: Option<PathBuf>,
    disk: Option<Arc<DiskStore>>,
    remote: Option<Remote>,
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

    /// Opens where payloads are kept: in memory, or in that folder. A folder of this node alone is
    /// none: another node would not find what was published here.
    pub(crate) fn open_blobs(&self, setting: &str) -> Result<Arc<dyn BlobStore>, Failure> {
        let clock = Arc::new(SystemClock::new());
        let Some(folder) = self.blobs(setting) else {
            if self.remote.is_some() {
                return Ok(Arc::new(NoBlobs));
            }
            return Ok(Arc::new(MemoryBlobs::new(clock, MEMORY_BLOBS_MAX)));
        };
        let blobs = DiskBlobs::open(&folder, clock).map_err(|error| of_open(&error))?;
        Ok(Arc::new(blobs))
    }

    /// Whether it is on a server, where other nodes write too.
    pub(crate) const fn is_remote(&self) -> bool {
        self.remote.is_some()
    }

    /// Hangs up, on the runtime that the store was opened on.
    pub(crate) async fn hang_up(&self) {
        if let Some(remote) = &self.remote {
            remote.close().await;
        }
    }

    /// Ends the store in order.
    pub(crate) fn close(&self) {
        if let Some(disk) = &self.disk {
            disk.close();
        }
    }
}

/// Where a URL says that a store is.
#[derive(Debug)]
pub(crate) enum Place {
    /// In this process.
    Memory,
    /// In a folder.
    Folder(PathBuf),
    /// On a server.
    Server(Engine),
}

/// Where a URL says that a store is.
pub(crate) fn place(settings: &StoreSettings) -> Result<Place, Failure> {
    let url = &settings.url;
    if let Some((scheme, _)) = url.split_once("://")
        && let Some(engine) = Engine::of_scheme(scheme)
    {
        return Ok(Place::Server(engine));
    }
    match url.split_once(':') {
        Some(("memory", "")) => Ok(Place::Memory),
        Some(("disk", path)) if !path.is_empty() => Ok(Place::Folder(PathBuf::from(path))),
        Some(_) | None => Err(Failure::usage(format!(
            "store.url = {:?}: write disk:PATH, memory:, postgres://HOST/DATABASE or \
             redis://HOST/NUMBER",
            settings.shown_url()
        ))),
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

/// Opens the store of the settings; makes its folder if there is none.
pub(crate) async fn open(settings: &StoreSettings) -> Result<Opened, Failure> {
    let clock = Arc::new(SystemClock::new());
    let clock_skew_max_ns = settings.clock_skew_max_ns();
    match place(settings)? {
        Place::Memory => {
            let config = MemoryConfig { clock_skew_max_ns, ..MemoryConfig::default() };
            let store = Arc::new(MemoryStore::new(clock, config));
            Ok(Opened { store, folder: None, disk: None, remote: None })
        }
        Place::Folder(folder) => {
            let config = DiskConfig { clock_skew_max_ns, ..DiskConfig::new(&folder) };
            let disk = DiskStore::open(&config, clock).map_err(|error| of_open(&error))?;
            let disk = Arc::new(disk);
            let store = Arc::clone(&disk) as Arc<dyn Store>;
            Ok(Opened { store, folder: Some(folder), disk: Some(disk), remote: None })
        }
        Place::Server(engine) => {
            let (store, remote) = remote::connect(engine, settings).await?;
            Ok(Opened { store, folder: None, disk: None, remote: Some(remote) })
        }
    }
}

/// Opens a store that is there already: to look into one must not make it.
pub(crate) async fn open_existing(settings: &StoreSettings) -> Result<Opened, Failure> {
    match place(settings)? {
        Place::Memory => {
            return Err(Failure::usage(
                "a memory store ends with its process: name one as disk:PATH",
            ));
        }
        Place::Folder(folder) if !is_used(&folder) => {
            return Err(Failure::could_not_run(format!(
                "there is no store in {}: name its folder with --store disk:PATH",
                folder.display()
            )));
        }
        Place::Server(engine) if !remote::exists(engine, settings).await? => {
            return Err(Failure::could_not_run(format!(
                "there is no store at {}: is that its database, and store.schema its name?",
                settings.shown_url()
            )));
        }
        Place::Folder(_) | Place::Server(_) => {}
    }
    open(settings).await
}

/// Looks whether a store that others write too is what it says, before it is trusted.
pub(crate) async fn probe(opened: &Opened) -> Result<(), Failure> {
    if opened.store.properties().sharing == Sharing::Exclusive {
        return Ok(());
    }
    match bellpunch::store::probe::probe(&*opened.store, crate::transfer::random()).await {
        Ok(()) => Ok(()),
        Err(ProbeError::Lie(lie)) => Err(Failure::unsafe_to_run(lie.to_string())),
        Err(ProbeError::Failed(failure)) => Err(of_store(&failure)),
        Err(other) => Err(Failure::could_not_run(other.to_string())),
    }
}

/// What stands where payloads would be, if the operator named no folder that all nodes share: each
/// use is an error that says so.
#[derive(Debug)]
struct NoBlobs;

impl NoBlobs {
    fn refuse<T>() -> Result<T, bellpunch::store::Failure> {
        let kind = bellpunch::store::FailureKind::Unavailable;
        Err(bellpunch::store::Failure::new(kind, NO_BLOBS))
    }
}

impl BlobStore for NoBlobs {
    fn create(
        &self,
        _: &BlobName,
    ) -> Result<Box<dyn bellpunch::store::BlobWriter>, bellpunch::store::Failure> {
        Self::refuse()
    }

    fn open(
        &self,
        _: &BlobName,
    ) -> Result<Option<Box<dyn bellpunch::store::BlobReader>>, bellpunch::store::Failure> {
        Self::refuse()
    }

    fn remove(&self, _: &BlobName) -> Result<(), bellpunch::store::Failure> {
        Self::refuse()
    }

    /// None: there is nothing to sweep.
    fn list(
        &self,
        _: Option<&BlobName>,
        _: usize,
    ) -> Result<Vec<bellpunch::store::StoredBlob>, bellpunch::store::Failure> {
        Ok(Vec::new())
    }
}

fn is_used(folder: &Path) -> bool {
    folder.read_dir().is_ok_and(|mut entries| entries.next().is_some())
}

pub(crate) fn of_store(failure: &bellpunch::store::Failure) -> Failure {
    Failure::could_not_run(format!("the store cannot be read: {failure}"))
}

/// The names of all partitions, in order; that of the stores' self-test is nobody's data.
pub(crate) async fn partitions(store: &dyn Store) -> Result<Vec<Partition>, Failure> {
    let mut all: Vec<Partition> = Vec::new();
    loop {
        let page = store.partitions(all.last(), PAGE).await.map_err(|f| of_store(&f))?;
        all.extend(page.partitions);
        if !page.more {
            all.retain(|name| name.as_str() != bellpunch::store::probe::PARTITION);
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
