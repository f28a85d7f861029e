//! Every script on every backend, in every weather: one call each.

use std::sync::Arc;

use bellpunch::script::{Report, parse, parse_compact, run};
use bellpunch::store::{Clock, MemoryConfig, MemoryStore, Store};
use bellpunch_disk::{DiskConfig, DiskStore};

use super::world::{EngineWorld, Nodes, Open, Weather};

const LIMITS: &str = include_str!("../../../../scripts/limits.script");
const TICKETS: &str = include_str!("../../../../scripts/tickets.script");
const UPLOADS: &str = include_str!("../../../../scripts/uploads.script");

/// Runs all scripts, each in fresh worlds. Those that are about one node must be exactly these.
fn run_all(open: fn() -> Open, (nodes, weather): (Nodes, Weather)) {
    let mut scripts = parse(LIMITS).expect("the scripts are well formed");
    scripts.extend(parse(UPLOADS).expect("the scripts are well formed"));
    scripts.extend(parse_compact(TICKETS).expect("the scripts are well formed"));
    let (mut wrong, mut of_one_node) = (Vec::new(), Vec::new());
    for script in &scripts {
        match run(script, || EngineWorld::new(open(), nodes, weather)) {
            Ok(Report::Passed { .. }) => {}
            Ok(_) => of_one_node.push(script.id.as_str()),
            Err(failure) => wrong.push(failure.to_string()),
        }
    }
    assert!(wrong.is_empty(), "{} failed:\n{}", wrong.len(), wrong.join("\n"));
    let expected: &[&str] = if nodes == Nodes::One { &[] } else { &["FAIL"] };
    assert_eq!(of_one_node, expected);
}

/// A store in memory: it outlives the node, not the script.
fn memory() -> Open {
    let mut store: Option<Arc<MemoryStore>> = None;
    Box::new(move |clock: Arc<dyn Clock>| {
        let fresh = || Arc::new(MemoryStore::new(clock, MemoryConfig::default()));
        Arc::clone(store.get_or_insert_with(fresh)) as Arc<dyn Store>
    })
}

/// A store in memory that says others may write it, so nothing is told that it did not confirm.
fn shared_memory() -> Open {
    let mut store: Option<Arc<MemoryStore>> = None;
    Box::new(move |clock: Arc<dyn Clock>| {
        let fresh = || Arc::new(MemoryStore::shared(clock, MemoryConfig::default()));
        Arc::clone(store.get_or_insert_with(fresh)) as Arc<dyn Store>
    })
}

/// A folder of its own, opened again after each restart.
fn disk() -> Open {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    Box::new(move |clock: Arc<dyn Clock>| {
        let store = DiskStore::open(&DiskConfig::new(folder.path()), clock);
        Arc::new(store.expect("the node before is gone, and with it its lock")) as Arc<dyn Store>
    })
}

#[test]
fn memory_in_calm() {
    run_all(memory, (Nodes::One, Weather::Calm));
}

#[test]
fn memory_with_conflicts() {
    run_all(memory, (Nodes::One, Weather::Conflicts));
}

#[test]
fn memory_with_lost_replies() {
    run_all(memory, (Nodes::One, Weather::LostReplies));
}

#[test]
fn memory_with_lost_commits() {
    run_all(memory, (Nodes::One, Weather::LostCommits));
}

#[test]
fn shared_memory_in_calm() {
    run_all(shared_memory, (Nodes::One, Weather::Calm));
}

#[test]
fn two_nodes_in_calm() {
    run_all(shared_memory, (Nodes::Two, Weather::Calm));
}

#[test]
fn two_nodes_with_conflicts() {
    run_all(shared_memory, (Nodes::Two, Weather::Conflicts));
}

#[test]
fn two_nodes_with_lost_replies() {
    run_all(shared_memory, (Nodes::Two, Weather::LostReplies));
}

#[test]
fn two_nodes_with_lost_commits() {
    run_all(shared_memory, (Nodes::Two, Weather::LostCommits));
}

#[test]
fn disk_in_calm() {
    run_all(disk, (Nodes::One, Weather::Calm));
}

#[test]
fn disk_with_lost_replies() {
    run_all(disk, (Nodes::One, Weather::LostReplies));
}
