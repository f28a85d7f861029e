//! Nothing fails: two and four nodes on one store.

use crate::cluster::{Cluster, Start};
use crate::engine::{Engine, Kind};
use crate::load::{Caller, World};
use crate::random::Random;
use crate::teller::recorder;

/// Commands of each caller in a normal run; `BELLPUNCH_NODES_COMMANDS` is how many there are.
const COMMANDS: u64 = 80;
const CALLERS: usize = 24;

on_each_engine!(two_nodes_are_one, four_nodes_are_one);

async fn two_nodes_are_one(kind: Kind) {
    nodes_are_one(kind, 2).await;
}

async fn four_nodes_are_one(kind: Kind) {
    nodes_are_one(kind, 4).await;
}

async fn nodes_are_one(kind: Kind, nodes: usize) {
    let mut random = Random::seeded();
    let commands = crate::asked("BELLPUNCH_NODES_COMMANDS", COMMANDS);
    let engine = Engine::start(kind).await;
    let start = Start::new(engine.url(), &engine.settings());
    let cluster = Cluster::start(start, nodes).await;
    let recorder = recorder();
    let world = World::furnish(&recorder, &cluster.places).await;
    let callers = Caller::several(CALLERS, &world, &mut random);
    let begun = std::time::Instant::now();
    let callers = Caller::start(callers, commands).join_all().await;
    let took = begun.elapsed();
    let seen = world.seen();
    let summary = crate::load::end(cluster, &engine, (world, callers)).await;
    println!("{kind:?}, {nodes} nodes, {took:?}: {seen:?} {summary:?}");
    // Nothing failed, so nobody was told that something had; but where all meet, some may have to
    // come again.
    assert!(seen.troubles.keys().all(|code| code == "contended"), "{seen:?}");
    assert_eq!(seen.answers.len(), nodes, "each node had a share");
    assert_eq!(summary.unknown, 0);
}
