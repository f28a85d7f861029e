//! `kill -9` at random moments under load: no acknowledged effect is lost, no refused one is found,
//! and every unknown outcome is told by its key.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::Method;
use serde_json::{Value, json};

use crate::client::{Client, Cut};
use crate::server::Server;

const CYCLES: u64 = 50;
const CLIENTS: usize = 8;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Told {
    /// Accepted, at this version of the quota.
    Accepted(u64),
    Refused,
    /// The connection was cut.
    Nothing,
}

/// SplitMix64, seeded: the seed is printed and taken back.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

fn seed() -> u64 {
    let seed = std::env::var("BELLPUNCH_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        u64::try_from(now.as_nanos() % u128::from(u64::MAX)).unwrap()
    });
    println!("BELLPUNCH_SEED={seed}");
    seed
}

/// One client of one cycle: uses the quotas, each use under a key of its own, until it is cut.
async fn client(
    address: SocketAddr,
    (cycle, name): (u64, usize),
    replies: Arc<AtomicUsize>,
) -> Vec<(String, Told)> {
    let mut told = Vec::new();
    let Ok(mut client) = Client::connect(address).await else { return told };
    for turn in 0.. {
        // One quota never runs out; the other has long done so, and refuses.
        let quota = if turn % 4 == 3 { "small" } else { "large" };
        let key = format!("{quota}-{cycle}-{name}-{turn}");
        let path = format!("/v1/x/quotas/{quota}/consume");
        let body = json!({ "units": 1 });
        let reply = client.send(Method::POST, &path, (Some(&key), body)).await;
        replies.fetch_add(1, Ordering::Relaxed);
        match reply {
            Ok((200, reply)) => {
                let version = reply["quota"]["version"].as_u64().unwrap();
                told.push((key, Told::Accepted(version)));
            }
            Ok((429, _)) => told.push((key, Told::Refused)),
            Ok((status, reply)) => panic!("{status}: {reply}"),
            Err(Cut) => {
                told.push((key, Told::Nothing));
                return told;
            }
        }
    }
    told
}

async fn outcome(client: &mut Client, key: &str) -> Value {
    let (status, reply) = client.get(&format!("/v1/x/outcomes/{key}")).await;
    assert_eq!(status, 200, "{reply}");
    reply
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_kills_lose_nothing_and_invent_nothing() {
    let mut random = Random(seed());
    let folder = tempfile::tempdir().unwrap();
    let server = Server::on_disk(folder.path());
    let mut first = Client::connect(server.address).await.unwrap();
    first.post("/v1/x/quotas", json!({ "id": "large", "limit": 1_000_000_000 })).await;
    first.post("/v1/x/quotas", json!({ "id": "small", "limit": 10 })).await;
    drop(first);
    let mut server = Some(server);
    let mut history = BTreeMap::new();
    for cycle in 0..CYCLES {
        let running = server.take().unwrap();
        let replies = Arc::new(AtomicUsize::new(0));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|name| tokio::spawn(client(running.address, (cycle, name), Arc::clone(&replies))))
            .collect();
        // The moment is a number of replies: the kill comes while others are under way.
        let moment = usize::try_from(random.next(200)).unwrap();
        while replies.load(Ordering::Relaxed) < moment {
            tokio::task::yield_now().await;
        }
        tokio::task::spawn_blocking(|| running.kill()).await.unwrap();
        for client in clients {
            history.extend(client.await.unwrap());
        }
        server = Some(Server::on_disk(folder.path()));
    }
    let server = server.unwrap();
    check(&server, &history).await;
}

async fn check(server: &Server, history: &BTreeMap<String, Told>) {
    let mut client = Client::connect(server.address).await.unwrap();
    let mut versions: BTreeMap<u64, &str> = BTreeMap::new();
    let mut found = BTreeMap::from([("large", 0_u64), ("small", 0)]);
    let mut unknown = 0;
    for (key, told) in history {
        let quota = key.split('-').next().unwrap();
        let outcome = outcome(&mut client, key).await;
        let applied = outcome["status"] == "applied";
        match told {
            Told::Accepted(version) => {
                assert!(applied, "{key} was acknowledged and is lost: {outcome}");
                let written = &outcome["receipt"]["versions"][format!("quotas/{quota}")];
                assert_eq!(written, version, "{key}");
            }
            Told::Refused => assert!(!applied, "{key} was refused and is found: {outcome}"),
            Told::Nothing => unknown += 1,
        }
        if applied {
            *found.get_mut(quota).unwrap() += 1;
            if quota == "large" {
                let version = outcome["receipt"]["versions"]["quotas/large"].as_u64().unwrap();
                let before = versions.insert(version, key);
                assert_eq!(before, None, "{key} has another's version");
            }
        }
    }
    for (quota, found) in found {
        let (_, read) = client.get(&format!("/v1/x/quotas/{quota}")).await;
        assert_eq!(read["quota"]["used"], found, "{quota}: every use has its key");
    }
    assert_eq!(versions.keys().next_back(), Some(&(1 + versions.len() as u64)), "no gap");
    assert!(0 < unknown, "no request was under way at any kill");
    println!("{} requests, {unknown} of them cut, all told by their keys", history.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_a_kill_is_one_effect() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::on_disk(folder.path());
    let mut client = Client::connect(server.address).await.unwrap();
    client.post("/v1/x/quotas", json!({ "id": "q", "limit": 10 })).await;
    let path = "/v1/x/quotas/q/consume";
    let body = || json!({ "units": 3 });
    let (status, receipt) = client.send(Method::POST, path, (Some("k"), body())).await.unwrap();
    assert_eq!((status, &receipt["replayed"]), (200, &json!(false)));
    server.kill();
    let server = Server::on_disk(folder.path());
    let mut client = Client::connect(server.address).await.unwrap();
    let (status, replay) = client.send(Method::POST, path, (Some("k"), body())).await.unwrap();
    assert_eq!((status, &replay["replayed"]), (200, &json!(true)));
    assert_eq!(replay["versions"], receipt["versions"]);
    let (_, read) = client.get("/v1/x/quotas/q").await;
    assert_eq!(read["quota"]["used"], 3);
}
