//! No room: the log reaches the greatest size that a file may have (`RLIMIT_FSIZE`). The server
//! says so and takes nothing more; after a restart with room all that was acknowledged is there.

use std::process::Command;
use std::time::Duration;

use hyper::Method;
use serde_json::json;

use crate::client::Client as Http;
use crate::load::{Client, UPLOADS, World};
use crate::random::Random;
use crate::server::Server;
use crate::teller::{Ask, Teller, recorder};

/// In blocks of 512 bytes, as POSIX has them.
const BLOCKS: u32 = 512;
/// More than these blocks hold.
const TOO_LARGE: usize = 400 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_and_says_so() {
    let mut random = Random::seeded();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let recorder = recorder();
    let world = World::new(&recorder);
    let mut command = Command::new("sh");
    let script = format!("ulimit -f {BLOCKS}; exec \"$@\"");
    command.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_bellpunch"), "serve"]);
    command.args(["--listen", "127.0.0.1:0", "--store", &crate::disk(&data)]);
    command.args(["--set", "http.timeout=300ms", "--set", "drain.timeout=1s"]);
    let server = Server::launch(command);
    world.furnish(server.address).await;
    let mut teller = Teller::new("setup", server.address, &recorder);
    teller.must(&Ask::declare_large(UPLOADS, "big", 1 << 20)).await;
    no_room_for_a_payload(&server).await;

    let mut clients = Client::several(8, &world, &mut random);
    let working = Client::start(&mut clients, server.address);
    let mut http = Http::connect(server.address).await.unwrap();
    let full = async || {
        tokio::time::sleep(Duration::from_millis(5)).await;
        http.get("/health/ready").await.0 == 503
    };
    crate::until("a full disk", full).await;
    recorder.fault("no room");
    clients = working.join_all().await;
    let (status, refused) = http.post("/v1/hot/quotas/large/consume", json!({ "units": 1 })).await;
    assert_eq!(status, 503, "{refused}");
    let (status, ready) = http.get("/health/ready").await;
    assert_eq!(status, 503, "{ready}");
    assert!(ready.to_string().contains("write"), "it says why: {ready}");
    drop(http);
    let status = tokio::task::spawn_blocking(|| server.terminate()).await.unwrap();
    assert!(status.code().is_some(), "it ended by itself: {status}");

    let server = Server::on_disk(&data);
    let working = Client::start(&mut clients, server.address);
    world.answered(100).await;
    let status = tokio::task::spawn_blocking(|| server.terminate()).await.unwrap();
    assert!(status.success(), "{status}");
    clients = working.join_all().await;
    let summary = crate::load::end(Server::on_disk(&data), (world, clients), &data).await;
    println!("a full disk: {summary:?}");
}

/// A payload for which there is no room is refused, and nothing else is disturbed.
async fn no_room_for_a_payload(server: &Server) {
    let mut http = Http::connect(server.address).await.unwrap();
    let payload = json!({ "payload": "AAAA".repeat(TOO_LARGE / 3) });
    let path = "/v1/uploads/uploads/big/payload";
    let (status, reply) = http.send(Method::PUT, path, (None, payload)).await.unwrap();
    assert!(matches!(status, 503 | 507), "{status}: {reply}");
    let mut http = Http::connect(server.address).await.unwrap();
    let (_, read) = http.get("/v1/uploads/uploads/big").await;
    assert_eq!(
        (&read["upload"]["version"], &read["upload"]["generation"]),
        (&json!(1), &json!(null))
    );
}
