//! Every script on every backend, in every weather: one call each.

use std::sync::Arc;

use bellpunch::script::{Report, parse, parse_book, parse_compact, run};
use bellpunch::store::{Clock, MemoryConfig, MemoryStore, Store};
use bellpunch_disk::{DiskConfig, DiskStore};

use super::world::{Backend, EngineWorld, Nodes, Replies, Weather};

const LIMITS: &str = include_str!("../../../../scripts/limits.script");
const MONEY: &str = include_str!("../../../../scripts/money.script");
const SPECIMEN: &str = include_str!("../../../../scripts/specimen.script");
const TICKETS: &str = include_str!("../../../../scripts/tickets.script");
const UPLOADS: &str = include_str!("../../../../scripts/uploads.script");

/// Runs all scripts, each in fresh worlds. Those that are about one node must be exactly these.
fn run_all(backend: fn() -> Backend, (nodes, weather): (Nodes, Weather)) {
    let mut scripts = Vec::new();
    for text in [LIMITS, SPECIMEN, UPLOADS] {
        scripts.extend(parse(text).expect("the scripts are well formed"));
    }
    scripts.extend(parse_compact(TICKETS).expect("the scripts are well formed"));
    scripts.extend(parse_book(MONEY).expect("the scripts are well formed"));
    let (mut wrong, mut of_one_node) = (Vec::new(), Vec::new());
    for script in &scripts {
        match run(script, || EngineWorld::new(backend(), nodes, weather)) {
            Ok(Report::Passed { .. }) => {}
            Ok(_) => of_one_node.push(script.id.as_str()),
            Err(failure) => wrong.push(failure.to_string()),
        }
    }
    assert!(wrong.is_empty(), "{} failed:\n{}", wrong.len(), wrong.join("\n"));
    let expected: &[&str] = if nodes == Nodes::One { &[] } else { &["FAIL"] };
    assert_eq!(of_one_node, expected);
}

fn in_memory(new: fn(Arc<dyn Clock>, MemoryConfig) -> MemoryStore) -> Backend {
    let mut store: Option<Arc<MemoryStore>> = None;
    let open = move |clock| {
        let fresh = || Arc::new(new(clock, MemoryConfig::default()));
        Arc::clone(store.get_or_insert_with(fresh)) as Arc<dyn Store>
    };
    Backend { open: Box::new(open), replies: Replies::AtOnce }
}

/// A store in memory: it outlives the node, not the script.
fn memory() -> Backend {
    in_memory(MemoryStore::new)
}

/// One that others may write, so nothing is told that it did not confirm.
fn shared_memory() -> Backend {
    in_memory(MemoryStore::shared)
}

/// A folder of its own, opened again after each restart.
fn disk() -> Backend {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let open = move |clock| {
        let store = DiskStore::open(&DiskConfig::new(folder.path()), clock);
        Arc::new(store.expect("the node before is gone, and with it its lock")) as Arc<dyn Store>
    };
    Backend { open: Box::new(open), replies: Replies::Later }
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
