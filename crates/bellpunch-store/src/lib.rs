//! The storage trait of Bellpunch: one primitive, a conditional commit of many records.
//!
//! Invariant: a [`Commit`] is applied whole or not at all, only if every record it names is at the
//! version it names, and only before its deadline, compared with the store's clock *after* it has
//! gained exclusivity. Everything else (order, batching, retries, replies) is the engine's.
//!
//! Why so little: a row, item or document with a version column is the native conditional write of
//! every engine. (The literature's minitransaction: Sinfonia, SOSP 2007.)
//!
//! A backend is one implementation of [`Store`] and one call to the conformance kit,
//! the module `kit` (feature `kit`).

mod blob;
mod commit;
#[cfg(any(test, feature = "fault"))]
pub mod fault;
#[cfg(any(test, feature = "kit"))]
pub mod kit;
mod memory;
pub mod probe;
mod store;

pub use bellpunch_core::{BlobName, StoredBlob};
pub use bellpunch_core::{Floor, Kind, Partition, RecordId, RecordKey, Timestamp, Version};
pub use blob::{BlobReader, BlobStore, BlobWriter, MemoryBlobs};
pub use commit::{Commit, CommitId, CommitResult, Precondition, Versioned, Write, WriteValue};
pub use memory::{MemoryConfig, MemoryStore};
pub use store::{
    BoxFuture, Clock, Failure, FailureKind, Guarantee, Page, PartitionPage, Properties, Resolution,
    Risk, Scan, Sharing, Show, Store, StoreClock, Survives,
};
