//! A sync that fails, once, and loses what it was for: nothing is acknowledged that rests on it,
//! nothing is taken after it, and the next start has all that was acknowledged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::Client as Http;
use crate::load::{Client, World};
use crate::preload::Preload;
use crate::random::Random;
use crate::server::Server;
use crate::teller::{Ask, Teller, Told, recorder};

/// In a normal run; `BELLPUNCH_SYNCS` is how many there are.
const SYNCS: u64 = 4;
const SETTINGS: [&str; 2] = ["http.timeout=300ms", "drain.timeout=1s"];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_after_a_failed_sync() {
    let mut random = Random::seeded();
    let syncs = crate::asked("BELLPUNCH_SYNCS", SYNCS);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let preload = Preload::build(folder.path());
    let recorder = recorder();
    let world = World::new(&recorder);
    let mut server = preload.start(&data, &SETTINGS);
    world.furnish(server.address).await;
    let mut clients = Client::several(12, &world, &mut random);
    for round in 0..syncs {
        let working = Client::start(&mut clients, server.address);
        world.answered(usize::try_from(random.below(200)).unwrap()).await;
        recorder.fault(&format!("a sync fails: {round}"));
        preload.next("fail");
        crate::until("a failed sync", async || preload.has("failed")).await;
        refuses_all(&server, &world).await;
        clients = working.join_all().await;
        assert!(!preload.has("fail"));
        preload.forget("failed");
        // The disk is well again: it makes no difference before a restart.
        refuses_all(&server, &world).await;
        let begun = Instant::now();
        // It cannot finish what it took: it says so by its code.
        let status = tokio::task::spawn_blocking(|| server.terminate()).await.unwrap();
        assert!(status.code().is_some(), "{status}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        server = preload.start(&data, &SETTINGS);
    }
    let summary = crate::load::end(server, (world, clients), &data).await;
    println!("{syncs} failed syncs: {summary:?}");
    assert!(0 < summary.unknown, "no request was under way when a sync failed");
}

/// Commands in each partition, reads and readiness say that the store is gone.
async fn refuses_all(server: &Server, world: &Arc<World>) {
    static TURN: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let mut teller = Teller::new("after", server.address, &world.recorder);
    for partition in crate::load::PARTITIONS {
        let turn = TURN.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let ask = Ask::consume(partition, "large", 1).keyed(&format!("after-{turn}"));
        let told = teller.tell(&ask).await;
        let refused = ["store_unavailable", "timed_out"];
        let Told::Failed(code) = &told else { panic!("{told:?}") };
        assert!(refused.contains(&code.as_str()), "{code}");
    }
    let mut client = Http::connect(server.address).await.unwrap();
    let (status, ready) = client.get("/health/ready").await;
    assert_eq!(status, 503, "{ready}");
    assert!(ready.to_string().contains("sync"), "it says why: {ready}");
    let (status, live) = client.get("/health/live").await;
    assert_eq!(status, 200, "{live}");
}
