//! Two nodes number the documents of one series, and move the money of one book.

use std::sync::Arc;

use tokio::sync::watch;

use crate::book::{Caller, World};
use crate::cluster::{Cluster, Start};
use crate::engine::{Engine, Kind};
use crate::random::Random;

/// Commands of each caller in a normal run; `BELLPUNCH_NODES_COMMANDS` is how many there are.
const COMMANDS: u64 = 20;
const CALLERS: usize = 16;

on_each_engine!(two_nodes_number_one_series);

async fn two_nodes_number_one_series(kind: Kind) {
    let mut random = Random::seeded();
    let commands = crate::asked("BELLPUNCH_NODES_COMMANDS", COMMANDS);
    let engine = Engine::start(kind).await;
    let cluster = Cluster::start(Start::new(engine.url(), &engine.settings()), 2).await;
    let places = (0..cluster.places.count()).map(|node| cluster.places.of(node)).collect();
    let (_stay, places) = watch::channel(places);
    let mut told = Caller::furnish(&places, &mut random).await;
    let world = Arc::new(World::default());
    let begun = std::time::Instant::now();
    let callers = Caller::start((CALLERS, commands), (&places, &world), &mut random);
    told.extend(callers.join_all().await.into_iter().flatten());
    let took = begun.elapsed();
    cluster.end().await;
    engine.quiet().await;
    let url = engine.url();
    let summary = crate::aside(move || crate::book_judge::judge(&told, &url)).await;
    println!("{kind:?}, {took:?}: {summary:?}");
    assert_eq!(summary.cut, 0, "nothing failed");
    assert!(0 < summary.payments && 0 < summary.invoices && 0 < summary.transfers, "{summary:?}");
}
