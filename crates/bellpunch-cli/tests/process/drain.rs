//! SIGTERM under load: what was taken is answered, what was acknowledged is there, and it ends.

use std::time::{Duration, Instant};

use crate::load::{Client, World};
use crate::random::Random;
use crate::server::Server;
use crate::teller::{Teller, recorder};

/// In a normal run; `BELLPUNCH_DRAINS=50` is the full one.
const DRAINS: u64 = 12;
const CLIENTS: u64 = 16;

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_load_drops_nothing_it_took() {
    let mut random = Random::seeded();
    let drains = crate::asked("BELLPUNCH_DRAINS", DRAINS);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let recorder = recorder();
    let world = World::new(&recorder);
    let mut server = Server::on_disk(&data);
    world.furnish(server.address).await;
    let mut clients = Client::several(CLIENTS, &world, &mut random);
    let (mut slowest, mut unanswered) = (Duration::ZERO, 0);
    for drain in 0..drains {
        let working = Client::start(&mut clients, server.address);
        world.answered(usize::try_from(random.below(150)).unwrap()).await;
        recorder.fault(&format!("SIGTERM {drain}"));
        let begun = Instant::now();
        let status = tokio::task::spawn_blocking(|| server.terminate()).await.unwrap();
        let took = begun.elapsed();
        assert!(status.success(), "{status}");
        assert!(took <= Duration::from_secs(5), "{took:?}");
        slowest = slowest.max(took);
        clients = working.join_all().await;
        let place = data.clone();
        let again = move || Server::on_disk(&place);
        server = tokio::task::spawn_blocking(again).await.unwrap();
        // Whoever got no answer, or was refused, had not been taken.
        let mut teller = Teller::new("resolver", server.address, &recorder);
        for ask in clients.iter_mut().flat_map(|client| client.open.drain(..)) {
            unanswered += 1;
            let applied = teller.resolve(&ask.partition, ask.key.as_ref().unwrap()).await;
            assert!(!applied, "it was taken, and nobody was told: {ask:?}");
        }
    }
    let summary = crate::load::end(server, (world, clients), &data).await;
    println!("{drains} times SIGTERM, at most {slowest:?}, {unanswered} not taken: {summary:?}");
    assert!(0 < unanswered, "no request came while it was draining");
}
