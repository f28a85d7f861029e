//! `kill -9` of the engine under load: no acknowledged effect is lost or doubled, and the nodes go
//! on without a restart.

use std::time::{Duration, Instant};

use crate::cluster::{Cluster, Start};
use crate::engine::{Engine, Kind};
use crate::load::{Caller, World};
use crate::random::Random;
use crate::teller::recorder;

/// In a normal run; `BELLPUNCH_ENGINE_KILLS=20` is the full one.
const KILLS: u64 = 4;
const NODES: usize = 3;
const CALLERS: usize = 24;

on_each_engine!(kills_of_the_engine_lose_nothing_and_double_nothing);

async fn kills_of_the_engine_lose_nothing_and_double_nothing(kind: Kind) {
    let mut random = Random::seeded();
    let kills = crate::asked("BELLPUNCH_ENGINE_KILLS", KILLS);
    let engine = Engine::start(kind).await;
    let start = Start::new(engine.url(), &engine.settings()).with(&["store.timeout=1s"]);
    let cluster = Cluster::start(start, NODES).await;
    let recorder = recorder();
    let world = World::furnish(&recorder, &cluster.places).await;
    let nodes = cluster.ids();
    let callers = Caller::several(CALLERS, &world, &mut random);
    let working = Caller::start(callers, u64::MAX);
    let (begun, mut downs, mut slowest) = (Instant::now(), Duration::ZERO, Duration::ZERO);
    for kill in 0..kills {
        // The moment is a number of answers: the kill comes while others are under way.
        world.answered(random.below(250)).await;
        recorder.fault(&format!("kill {kill}"));
        let down = Instant::now();
        engine.kill().await;
        engine.restart().await;
        downs += down.elapsed();
        recorder.fault(&format!("started again {kill}"));
        let up = Instant::now();
        let before: Vec<usize> = (0..NODES).map(|node| world.answers_of(node)).collect();
        let all = async || (0..NODES).all(|node| before[node] < world.answers_of(node));
        crate::until("each node answers again", all).await;
        slowest = slowest.max(up.elapsed());
    }
    world.stop();
    let callers = working.join_all().await;
    assert_eq!(nodes, cluster.ids(), "no node was started again");
    let (took, seen) = (begun.elapsed(), world.seen());
    let summary = crate::load::end(cluster, &engine, (world, callers)).await;
    println!(
        "{kind:?}, {kills} kills in {took:?}, of that {downs:?} without an engine, all nodes answer \
         again within {slowest:?}: {seen:?} {summary:?}"
    );
    assert!(!seen.troubles.is_empty(), "somebody asked while it was down");
}
