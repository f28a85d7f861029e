//! What recovery makes of a folder, without the threads of a store.
//!
//! Invariant: it is the recovery of [`DiskStore::open_on`](crate::DiskStore::open_on), nothing
//! left out but the threads; a [`Dump`] has all that the answers of the opened store depend on. Why
//! beside the store: hundreds of thousands of damaged folders are opened in a minute.

use bellpunch_store::{
    Clock, CommitId, Failure, Kind, Partition, RecordKey, Scan, Show, Timestamp, Version, Versioned,
};

use crate::config::OpenError;
use crate::files::Files;
use crate::index::Forgot;
use crate::recovery::{self, recover};

/// Records of one page of a dump.
const PAGE: usize = 1_000;

/// A folder as recovery found it.
#[derive(Debug)]
pub struct Recovered(recovery::Recovered);

/// The whole state of a recovered folder.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dump {
    shelves: Vec<Shelf>,
    commits: Vec<(CommitId, Timestamp)>,
    forgot: Forgot,
    store: u64,
    next_batch: u64,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Shelf {
    partition: Partition,
    floors: Vec<(Kind, Version)>,
    records: Vec<(RecordKey, Versioned)>,
}

impl Dump {
    /// How many partitions, records with their tombstones, floors, and remembered commits it has.
    #[must_use]
    pub fn counts(&self) -> [usize; 4] {
        let records = self.shelves.iter().map(|shelf| shelf.records.len()).sum();
        let floors = self.shelves.iter().map(|shelf| shelf.floors.len()).sum();
        [self.shelves.len(), records, floors, self.commits.len()]
    }

    /// How many of the records are tombstones.
    #[must_use]
    pub fn tombstones(&self) -> usize {
        let records = self.shelves.iter().flat_map(|shelf| &shelf.records);
        records.filter(|(_, record)| record.value.is_none()).count()
    }
}

impl Recovered {
    /// Recovers a folder. As with a store, one that is refused was not changed.
    ///
    /// # Errors
    /// As [`DiskStore::open_on`](crate::DiskStore::open_on).
    pub fn open(files: &dyn Files, clock: &dyn Clock) -> Result<Self, OpenError> {
        recover(files, clock).map(Self)
    }

    /// Everything in it, each value read from its file and checked.
    ///
    /// # Errors
    /// With the first value that is damaged.
    pub fn dump(&self) -> Result<Dump, Failure> {
        let Self(recovery::Recovered { index, store, batch, .. }) = self;
        let mut shelves = Vec::new();
        for partition in index.partitions(None, usize::MAX).0 {
            let mut scan = Scan { kind: None, ..Scan::of(Kind::named(""), PAGE) };
            scan.show = Show::All;
            let floors = index.floors(&partition, &scan);
            let mut records = Vec::new();
            loop {
                let (found, resume) = index.page(&partition, &scan);
                for (key, seen) in found {
                    let record = seen.open(index).fetch(&partition, &key)?;
                    records.push((key, record));
                }
                let Some(resume) = resume else { break };
                scan.after = Some(resume);
            }
            shelves.push(Shelf { partition, floors, records });
        }
        let (commits, forgot) = (index.commits(), index.forgot);
        Ok(Dump { shelves, commits, forgot, store: *store, next_batch: *batch })
    }
}
