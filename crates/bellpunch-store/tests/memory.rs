//! The memory backend against the conformance kit.

use std::sync::Arc;

use bellpunch_store::kit::{self, Backend, KitClock, Place};
use bellpunch_store::{MemoryConfig, MemoryStore, Store};

#[derive(Debug)]
struct Memory;

#[derive(Debug)]
struct Once(Arc<KitClock>);

impl Backend for Memory {
    fn place(&self, clock: Arc<KitClock>) -> Box<dyn Place> {
        Box::new(Once(clock))
    }
}

impl Place for Once {
    fn open(&self) -> Result<Arc<dyn Store>, String> {
        let clock: Arc<KitClock> = Arc::clone(&self.0);
        Ok(Arc::new(MemoryStore::new(clock, MemoryConfig::default())))
    }
}

#[test]
fn passes_the_kit() {
    let report = kit::check(&Memory);
    assert_eq!((report.passed.len(), report.skipped.len()), (21, 7), "{report}");
}
