//! A folder written by format 1 opens, whatever releases come.
//!
//! The files are in `testdata/format-1`. `UPDATE_EXPECT=1` writes them anew, which is right only
//! before a release has written format 1.

use std::path::PathBuf;
use std::sync::Arc;

use bellpunch_disk::{DiskConfig, DiskStore};
use bellpunch_store::Store;

use crate::workload::{Workload, dump};

const SEED: u64 = 0x0f0f_2026;
const FILES: [&str; 2] = ["00000001.log", "closed"];

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/format-1")
}

/// Writes the same folder again.
fn write(folder: &std::path::Path) -> Workload {
    let mut workload = Workload::at_one_time(SEED);
    let store = DiskStore::open(&DiskConfig::new(folder), workload.clock()).unwrap();
    for _ in 0..12 {
        workload.step(&store);
    }
    store.close();
    workload
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a snapshot is read, and written when asked")]
fn opens_format_1_and_still_writes_it() {
    let folder = tempfile::tempdir().unwrap();
    let workload = write(folder.path());
    if std::env::var("UPDATE_EXPECT").is_ok() {
        std::fs::create_dir_all(golden()).unwrap();
        for name in FILES {
            std::fs::copy(folder.path().join(name), golden().join(name)).unwrap();
        }
    }
    for name in FILES {
        let (written, kept) = (folder.path().join(name), golden().join(name));
        let same = std::fs::read(written).unwrap() == std::fs::read(kept).unwrap();
        assert!(same, "format 1 is written in another way: {name}");
    }
    let copy = tempfile::tempdir().unwrap();
    for name in FILES {
        std::fs::copy(golden().join(name), copy.path().join(name)).unwrap();
    }
    let clock = workload.clock();
    let store: Arc<dyn Store> =
        Arc::new(DiskStore::open(&DiskConfig::new(copy.path()), clock).unwrap());
    assert_eq!(Some(&dump(&*store)), workload.states.last());
}
