//! The default backend of Bellpunch: durable, on one machine, in one folder.
//!
//! Invariant: what is acknowledged was synced, and is found again or its loss is reported; nothing
//! is guessed. The folder belongs to one process at a time.
//!
//! The shape is Bitcask's: an append-only log in segment files, and an index in memory that says
//! where each record's last write is. Why not an engine: the rules need one conditional commit of
//! many records, which an index in memory answers at once; one thread appends whatever has queued
//! up and syncs once for all of it; and a log of our own can be torn, lost and failed at every byte
//! by tests.
//!
//! ```
//! use std::sync::Arc;
//! use bellpunch_disk::{DiskConfig, DiskStore, testing::FaultFiles};
//! use bellpunch_store::{Clock, Store, Survives, Timestamp};
//! #[derive(Debug)]
//! struct Stopped;
//! impl Clock for Stopped {
//!     fn now(&self) -> Timestamp { Timestamp::EPOCH }
//! }
//! let files = FaultFiles::new();
//! let store = DiskStore::open_on(files, &DiskConfig::new("data"), Arc::new(Stopped))?;
//! assert_eq!(store.properties().survives, Survives::Machine);
//! store.close();
//! # Ok::<(), bellpunch_disk::OpenError>(())
//! ```

mod batch;
mod blobs;
mod committer;
mod compaction;
mod config;
mod files;
mod format;
mod index;
mod keeper;
mod recovery;
mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use blobs::DiskBlobs;
pub use config::{DiskConfig, OpenError, OpenErrorKind};
pub use files::{File, Files};
pub use store::{DiskReport, DiskStore};
