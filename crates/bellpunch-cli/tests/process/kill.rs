//! `kill -9` at random moments under load: no acknowledged effect is lost or doubled, and every
//! unknown outcome is told by its key.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::Client as Http;
use crate::load::{Client, World};
use crate::random::Random;
use crate::server::Server;
use crate::teller::recorder;

/// In a normal run; `BELLPUNCH_KILLS=200` is the full one.
const KILLS: u64 = 40;
const CLIENTS: u64 = 8;

#[tokio::test(flavor = "multi_thread")]
async fn kills_under_load_lose_nothing_and_double_nothing() {
    let mut random = Random::seeded();
    let kills = crate::asked("BELLPUNCH_KILLS", KILLS);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let recorder = recorder();
    let world = World::new(&recorder);
    let mut server = Server::on_disk(&data);
    world.furnish(server.address).await;
    let mut clients = Client::several(CLIENTS, &world, &mut random);
    let (begun, mut restarts) = (Instant::now(), Duration::ZERO);
    for cycle in 0..kills {
        let working = Client::start(&mut clients, server.address);
        // The moment is a number of answers: the kill comes while others are under way.
        world.answered(usize::try_from(random.below(120)).unwrap()).await;
        recorder.fault(&format!("kill {cycle}"));
        let place = data.clone();
        let again = move || {
            server.kill();
            Server::on_disk(&place)
        };
        let restart = Instant::now();
        server = tokio::task::spawn_blocking(again).await.unwrap();
        restarts += restart.elapsed();
        clients = working.join_all().await;
    }
    let took = begun.elapsed();
    let summary = crate::load::end(server, (world, clients), &data).await;
    println!("{kills} kills in {took:?}, of that {restarts:?} starts: {summary:?}");
    assert!(kills < 20 || 0 < summary.unknown, "no request was under way at any kill");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_a_kill_is_one_effect() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::on_disk(folder.path());
    let mut client = Http::connect(server.address).await.unwrap();
    client.post("/v1/x/quotas", json!({ "id": "q", "limit": 10 })).await;
    let path = "/v1/x/quotas/q/consume";
    let body = || json!({ "units": 3 });
    let post = hyper::Method::POST;
    let (status, receipt) = client.send(post.clone(), path, (Some("k"), body())).await.unwrap();
    assert_eq!((status, &receipt["replayed"]), (200, &json!(false)));
    server.kill();
    let server = Server::on_disk(folder.path());
    let mut client = Http::connect(server.address).await.unwrap();
    let (status, replay) = client.send(post, path, (Some("k"), body())).await.unwrap();
    assert_eq!((status, &replay["replayed"]), (200, &json!(true)));
    assert_eq!(replay["versions"], receipt["versions"]);
    let (_, read) = client.get("/v1/x/quotas/q").await;
    assert_eq!(read["quota"]["used"], 3);
}
