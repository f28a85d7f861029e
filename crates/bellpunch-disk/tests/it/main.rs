//! Tests of the disk store.
#![expect(clippy::unwrap_used, reason = "tests stop at the unexpected")]
#![expect(clippy::indexing_slicing, reason = "tests stop at the unexpected")]
#![expect(clippy::arithmetic_side_effects, reason = "overflow is checked, and ends the test")]

mod crash;
mod flips;
mod golden;
mod kill;
mod kit;
mod store;
mod workload;

use std::sync::Arc;

use bellpunch_disk::testing::FaultFiles;
use bellpunch_disk::{DiskConfig, DiskStore, OpenError};
use bellpunch_store::Clock;

/// Opens a store on a folder in memory.
fn open(
    files: &FaultFiles,
    config: &DiskConfig,
    clock: Arc<dyn Clock>,
) -> Result<DiskStore, OpenError> {
    DiskStore::open_on(files.session(), config, clock)
}
