//! Every script on every backend: one call each.

use std::sync::Arc;

use bellpunch::script::{Report, Script, parse_compact, run};
use bellpunch::store::{Clock, MemoryConfig, MemoryStore, Store};

use super::world::{EngineWorld, Open};

const TICKETS: &str = include_str!("../../../../scripts/tickets.script");

/// Runs all scripts, each in fresh worlds.
fn run_all(scripts: &[Script], open: fn() -> Open) {
    let mut wrong = Vec::new();
    for script in scripts {
        match run(script, || EngineWorld::new(open())) {
            Ok(Report::Passed { .. }) => {}
            Ok(other) => wrong.push(format!("{}: {other:?}", script.id)),
            Err(failure) => wrong.push(failure.to_string()),
        }
    }
    assert!(wrong.is_empty(), "{} failed:\n{}", wrong.len(), wrong.join("\n"));
}

/// A store in memory: it outlives the node, not the script.
fn memory() -> Open {
    let mut store: Option<Arc<MemoryStore>> = None;
    Box::new(move |clock: Arc<dyn Clock>| {
        let fresh = || Arc::new(MemoryStore::new(clock, MemoryConfig::default()));
        Arc::clone(store.get_or_insert_with(fresh)) as Arc<dyn Store>
    })
}

#[test]
fn tickets_in_memory() {
    run_all(&parse_compact(TICKETS).unwrap(), memory);
}
