//! A limit of L, ten times as many requests over 64 connections: exactly L pass, and the receipts'
//! versions run without a gap.

use std::net::SocketAddr;

use hyper::Method;
use serde_json::{Value, json};

use crate::client::Client;
use crate::server::Server;

const CONNECTIONS: usize = 64;
const LIMIT: usize = 20;

/// Sends one request `count` times over all connections; gives the replies.
async fn fire(address: SocketAddr, count: usize, path: &str, body: Value) -> Vec<(u16, Value)> {
    let mut tasks = tokio::task::JoinSet::new();
    for place in 0..CONNECTIONS {
        let (path, body) = (path.to_owned(), body.clone());
        tasks.spawn(async move {
            let mut client = Client::connect(address).await.unwrap();
            let mut replies = Vec::new();
            for _ in (place..count).step_by(CONNECTIONS) {
                replies.push(client.post(&path, body.clone()).await);
            }
            replies
        });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

/// The versions that the accepted replies name, of the record they all wrote.
fn versions(replies: &[(u16, Value)]) -> Vec<u64> {
    let mut versions: Vec<u64> = replies
        .iter()
        .filter(|(status, _)| *status < 300)
        .map(|(_, reply)| {
            let written = reply["versions"].as_object().unwrap();
            let (_, version) = written
                .iter()
                .find(|(name, _)| name.starts_with("quotas/") || name.starts_with("counters/"))
                .unwrap();
            version.as_u64().unwrap()
        })
        .collect();
    versions.sort_unstable();
    versions
}

fn refused(replies: &[(u16, Value)]) -> usize {
    let refused: Vec<_> = replies.iter().filter(|(status, _)| *status != 200).collect();
    for (status, reply) in &refused {
        assert_eq!(*status, 429, "{reply}");
        assert!(reply["as_of"].is_object() && reply["at"].is_string(), "{reply}");
    }
    refused.len()
}

async fn quota(address: SocketAddr) {
    let mut client = Client::connect(address).await.unwrap();
    let made = client.post("/v1/x/quotas", json!({ "id": "q", "limit": LIMIT })).await;
    assert_eq!(made.0, 201, "{}", made.1);
    let replies = fire(address, 10 * LIMIT, "/v1/x/quotas/q/consume", json!({ "units": 1 })).await;
    assert_eq!(refused(&replies), 9 * LIMIT);
    let expected: Vec<u64> = (2..).take(LIMIT).collect();
    assert_eq!(versions(&replies), expected, "creation is version 1, each use one more");
    let (_, read) = client.get("/v1/x/quotas/q").await;
    assert_eq!(read["quota"]["used"], LIMIT, "{read}");
    assert_eq!(read["quota"]["version"], LIMIT + 1);
}

async fn rate(address: SocketAddr, name: &str, terms: Value) {
    let mut client = Client::connect(address).await.unwrap();
    let path = format!("/v1/x/policies/{name}");
    let (status, reply) = client.send(Method::PUT, &path, (None, terms)).await.unwrap();
    assert!(status < 300, "{reply}");
    let path = format!("/v1/x/policies/{name}/consume");
    let replies = fire(address, 10 * LIMIT, &path, json!({ "key": "k" })).await;
    assert_eq!(refused(&replies), 9 * LIMIT, "{name}");
    assert_eq!(versions(&replies), (1..).take(LIMIT).collect::<Vec<u64>>(), "{name}");
}

async fn leases(address: SocketAddr) {
    let mut client = Client::connect(address).await.unwrap();
    let terms = json!({ "algorithm": "concurrency", "limit": LIMIT });
    client.send(Method::PUT, "/v1/x/policies/lease", (None, terms)).await.unwrap();
    let hold = json!({ "items": [{ "policy": "lease", "key": "k" }], "ttl_ms": 3_600_000 });
    let replies = fire(address, 10 * LIMIT, "/v1/x/holds", hold).await;
    let passed = replies.iter().filter(|(status, _)| *status == 201).count();
    assert_eq!(passed, LIMIT, "{:?}", replies.first());
}

async fn ticket(address: SocketAddr) {
    let mut client = Client::connect(address).await.unwrap();
    let issue = json!({
        "holder": "c1", "audience": "s1", "max_amount": { "amount": 1, "unit": "use" },
        "ttl_ms": 3_600_000, "issued_by": "s1", "approved": true
    });
    let (status, reply) = client.post("/v1/x/tickets", issue).await;
    assert_eq!(status, 201, "{reply}");
    let path = format!("/v1/x/tickets/{}/redeem", reply["ticket"]["id"].as_str().unwrap());
    let body = json!({ "audience": "s1", "holder": "c1", "amount": 1 });
    let replies = fire(address, 200, &path, body).await;
    let passed = replies.iter().filter(|(status, _)| *status == 200).count();
    let told = replies.iter().filter(|(status, reply)| {
        *status == 409 && reply["code"] == "already_redeemed" && reply["data"]["used_by"] == "s1"
    });
    assert_eq!((passed, told.count()), (1, 199), "{:?}", replies.last());
}

async fn all(server: &Server) {
    quota(server.address).await;
    let period_ms = 3_600_000_u64 * 24 * 365;
    for (name, terms) in [
        ("first-hit", json!({ "algorithm": "fixed_window", "align": "first_hit" })),
        ("epoch", json!({ "algorithm": "fixed_window", "align": "epoch" })),
        ("counter", json!({ "algorithm": "sliding_counter" })),
        ("log", json!({ "algorithm": "sliding_log" })),
        ("gcra", json!({ "algorithm": "gcra" })),
        ("month", json!({ "algorithm": "calendar", "unit": "year", "zone": "Europe/Berlin" })),
    ] {
        let mut terms = terms;
        if name == "gcra" {
            terms["rate"] = json!(1);
            terms["burst"] = json!(LIMIT);
        } else {
            terms["limit"] = json!(LIMIT);
        }
        if name != "month" {
            terms["period_ms"] = json!(period_ms);
        }
        rate(server.address, name, terms).await;
    }
    leases(server.address).await;
    ticket(server.address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_limit_passes_on_memory() {
    all(&Server::start("memory:")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_limit_passes_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::on_disk(folder.path());
    all(&server).await;
    server.kill();
    // What was used up before the crash is used up after it.
    let server = Server::on_disk(folder.path());
    let mut client = Client::connect(server.address).await.unwrap();
    let (status, _) = client.post("/v1/x/quotas/q/consume", json!({ "units": 1 })).await;
    assert_eq!(status, 429);
    let (status, _) = client.post("/v1/x/policies/log/consume", json!({ "key": "k" })).await;
    assert_eq!(status, 429);
}
