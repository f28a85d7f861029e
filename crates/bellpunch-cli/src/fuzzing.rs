//! Readers of files and settings, for fuzzing.
//!
//! Invariant: each takes any bytes, says whether they were read, and panics only if a reader or a
//! writer is wrong. What was read is written and read again, and must be the same.

use std::sync::{Arc, OnceLock};

use bellpunch::SystemClock;
use bellpunch::store::{MemoryConfig, MemoryStore, Store};

use crate::config::Settings;
use crate::failure::Failure;
use crate::transfer::{Compared, export_bytes, import_bytes};

fn told<T>(result: Result<T, Failure>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(failure) => {
            assert!(!failure.to_string().is_empty() && 1 < failure.code(), "a failure says why");
            None
        }
    }
}

/// Reads text as a configuration file. A first line `# NAME=VALUE` is a variable beside it.
#[must_use]
pub fn configuration(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let first = text.lines().next().and_then(|line| line.strip_prefix("# "));
    let variable = first.and_then(|line| line.split_once('='));
    let Some(settings) = told(Settings::of_text(text, variable)) else { return false };
    let _ = told(settings.engine_config());
    let written = settings.written();
    let again = Settings::of_text(&written, None);
    let again = again.expect("what was written is read");
    assert_eq!(again.written(), written, "settings are not what was written");
    true
}

fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.build().expect("a runtime of one thread")
    })
}

/// What a store is exported as: bytes that are read for certain.
///
/// # Panics
/// If it is not one that can be exported.
#[must_use]
pub fn exported(store: &dyn Store) -> Vec<u8> {
    runtime().block_on(export_bytes(store)).expect("it can be exported")
}

/// Reads bytes as an export: imports it into an empty store, if it is one.
#[must_use]
pub fn exports(bytes: &[u8]) -> bool {
    runtime().block_on(async {
        let store = empty();
        if told(import_bytes(&store, bytes).await).is_none() {
            return false;
        }
        let Some(written) = told(export_bytes(&store).await) else { return true };
        let copy = empty();
        let imported = import_bytes(&copy, &written).await;
        let equal = imported.as_ref().is_ok_and(Compared::is_equal);
        assert!(equal, "what was exported is not imported: {imported:?}");
        let again = export_bytes(&copy).await.expect("it was exported before");
        let (written, again) = (lines(&written), lines(&again));
        assert_eq!(again, written, "an export is not what was imported");
        true
    })
}

fn empty() -> MemoryStore {
    MemoryStore::new(Arc::new(SystemClock::new()), MemoryConfig::default())
}

/// All but the first line, which has the time.
fn lines(export: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(export).lines().skip(1).map(str::to_owned).collect()
}
