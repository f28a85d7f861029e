//! Behind a network that cuts, repeats and forgets, clients retry with their keys: one effect each,
//! and nothing stays unknown.

use std::sync::Arc;
use std::time::Duration;

use crate::load::{Client, World};
use crate::proxy::{Fault, Proxy};
use crate::random::Random;
use crate::server::Server;
use crate::teller::recorder;

/// Commands of each client in a normal run; `BELLPUNCH_COMMANDS` is how many there are.
const COMMANDS: u64 = 60;
const CLIENTS: u64 = 16;
const PATIENCE: Duration = Duration::from_millis(250);

#[tokio::test(flavor = "multi_thread")]
async fn retries_through_a_bad_network_are_one_effect() {
    let mut random = Random::seeded();
    let commands = crate::asked("BELLPUNCH_COMMANDS", COMMANDS);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let recorder = recorder();
    let world = World::new(&recorder);
    let server = Server::on_disk(&data);
    world.furnish(server.address).await;
    let proxy = Proxy::start(server.address, random.fork(), PATIENCE).await;
    let address = proxy.address;
    let mut working = tokio::task::JoinSet::new();
    for mut client in Client::several(CLIENTS, &world, &mut random) {
        working.spawn(async move {
            client.insist(address, (commands, PATIENCE)).await;
            client
        });
    }
    let clients = working.join_all().await;
    let faults = proxy.quiet().await;
    drop(proxy);
    let summary = crate::load::end(server, (Arc::clone(&world), clients), &data).await;
    println!("{faults:?}: {summary:?}");
    assert_eq!(faults.len(), 8, "each fault came");
    assert!(0 < summary.replayed && faults[&Fault::DropReply] <= summary.unknown);
}
