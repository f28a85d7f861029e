//! The disk store against the conformance kit: on files in memory that can fail, and on real ones.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bellpunch_disk::testing::{FaultFiles, Loss, Trouble};
use bellpunch_disk::{DiskConfig, DiskStore};
use bellpunch_store::Store;
use bellpunch_store::kit::{self, Able, Backend, KitClock, Place};
use tempfile::TempDir;

use crate::open;

#[derive(Debug)]
struct InMemory(DiskConfig);

#[derive(Debug)]
struct MemoryPlace {
    config: DiskConfig,
    clock: Arc<KitClock>,
    files: Mutex<FaultFiles>,
}

impl Backend for InMemory {
    fn place(&self, clock: Arc<KitClock>) -> Box<dyn Place> {
        Box::new(MemoryPlace { config: self.0.clone(), clock, files: Mutex::default() })
    }
}

impl MemoryPlace {
    fn files(&self) -> FaultFiles {
        self.files.lock().unwrap().clone()
    }
}

impl Place for MemoryPlace {
    fn open(&self) -> Result<Arc<dyn Store>, String> {
        let clock: Arc<KitClock> = Arc::clone(&self.clock);
        let store = open(&self.files(), &self.config, clock).map_err(|error| error.to_string())?;
        Ok(Arc::new(store))
    }

    fn crash(&self) -> Able {
        let mut files = self.files.lock().unwrap();
        *files = files.after(files.steps().len(), Loss::Everything);
        Able::Yes
    }

    fn keeps(&self) -> Able {
        Able::Yes
    }

    fn damage(&self) -> Able {
        // The last byte of the last batch's last value: before the write's checksum.
        let files = self.files();
        let name = files.names().into_iter().find(|name| name == "00000001.log").unwrap();
        files.change(&name, |bytes| {
            let at = bytes.len() - 5;
            bytes[at] ^= 1;
        });
        Able::Yes
    }

    fn newer(&self) -> Able {
        self.files().change("00000001.log", |bytes| {
            bytes[8] = 2;
            let crc = crc32c(&bytes[..28]);
            bytes[28..32].copy_from_slice(&crc.to_le_bytes());
        });
        Able::Yes
    }

    fn fail_at(&self, step: u64) -> Able {
        self.files().trouble(Trouble::FailAfter(step));
        Able::Yes
    }
}

/// Bit by bit, so that the test does not trust the library that the store uses.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[derive(Debug)]
struct OnDisk;

#[derive(Debug)]
struct FolderPlace {
    clock: Arc<KitClock>,
    folder: TempDir,
    crashed: AtomicBool,
}

impl Backend for OnDisk {
    fn place(&self, clock: Arc<KitClock>) -> Box<dyn Place> {
        let folder = tempfile::tempdir().unwrap();
        Box::new(FolderPlace { clock, folder, crashed: AtomicBool::new(false) })
    }
}

impl Place for FolderPlace {
    fn open(&self) -> Result<Arc<dyn Store>, String> {
        let config = DiskConfig::new(self.folder.path().join("data"));
        if self.crashed.swap(false, Ordering::SeqCst) {
            // As after a kill: no mark of an orderly close.
            let _ = std::fs::remove_file(config.folder.join("closed"));
        }
        let clock: Arc<KitClock> = Arc::clone(&self.clock);
        let store = DiskStore::open(&config, clock).map_err(|error| error.to_string())?;
        Ok(Arc::new(store))
    }

    fn crash(&self) -> Able {
        self.crashed.store(true, Ordering::SeqCst);
        Able::Yes
    }

    fn keeps(&self) -> Able {
        Able::Yes
    }
}

#[test]
fn passes_on_files_that_can_fail() {
    let report = kit::check(&InMemory(DiskConfig::new("data")));
    assert_eq!(report.skipped, [], "{report}");
}

#[test]
fn passes_with_small_segments_that_are_compacted_all_the_time() {
    let config = DiskConfig { segment_bytes: 512, slack_bytes: 512, ..DiskConfig::new("data") };
    let report = kit::check(&InMemory(config));
    assert_eq!(report.skipped, [], "{report}");
}

#[test]
fn passes_on_real_files() {
    let report = kit::check(&OnDisk);
    let skipped: Vec<_> = report.skipped.iter().map(|(name, _)| *name).collect();
    assert_eq!(skipped, ["kit.whole", "kit.format", "kit.corrupt"], "{report}");
}
