//! Stores by their URL.

use std::sync::Arc;

use bellpunch::SystemClock;
use bellpunch::store::{MemoryConfig, MemoryStore, Store};

use crate::failure::Failure;

/// Opens the store of a URL.
pub(crate) fn open(url: &str) -> Result<Arc<dyn Store>, Failure> {
    let clock = Arc::new(SystemClock::new());
    match url.split_once(':') {
        Some(("memory", "")) => Ok(Arc::new(MemoryStore::new(clock, MemoryConfig::default()))),
        _ => Err(Failure::usage(format!("store.url = {url:?}: write memory: or disk:PATH"))),
    }
}
