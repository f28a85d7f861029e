//! Commands that exclude each other, sent at once over HTTP: one wins, and the loser is told.

use std::net::SocketAddr;

use hyper::Method;
use serde_json::{Value, json};

use crate::client::Client;
use crate::server::Server;

const ROUNDS: usize = 40;

/// Sends two requests at once over two warm connections.
async fn both(
    address: SocketAddr,
    first: (Method, &str, Value),
    second: (Method, &str, Value),
) -> [(u16, Value); 2] {
    let mut one = Client::connect(address).await.unwrap();
    let mut two = Client::connect(address).await.unwrap();
    let (first, second) = tokio::join!(
        one.send(first.0, first.1, (None, first.2)),
        two.send(second.0, second.1, (None, second.2))
    );
    [first.unwrap(), second.unwrap()]
}

fn post(path: &str, body: Value) -> (Method, &str, Value) {
    (Method::POST, path, body)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_used_after_a_revoke_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::on_disk(folder.path());
    let address = server.address;
    let mut client = Client::connect(address).await.unwrap();
    client.post("/v1/x/quotas", json!({ "id": "q", "limit": 1_000_000 })).await;
    let users: Vec<_> = (0..32)
        .map(|_| {
            tokio::spawn(async move {
                let mut client = Client::connect(address).await.unwrap();
                let mut last = 0;
                loop {
                    let (status, reply) =
                        client.post("/v1/x/quotas/q/consume", json!({ "units": 1 })).await;
                    match status {
                        200 => last = reply["quota"]["version"].as_u64().unwrap(),
                        410 => {
                            assert_eq!(reply["code"], "quota_revoked", "{reply}");
                            return last;
                        }
                        _ => panic!("{status}: {reply}"),
                    }
                }
            })
        })
        .collect();
    let (status, revoked) = client.post("/v1/x/quotas/q/revoke", Value::Null).await;
    assert_eq!(status, 200, "{revoked}");
    let revoked_at = revoked["quota"]["version"].as_u64().unwrap();
    for user in users {
        assert!(user.await.unwrap() < revoked_at, "a use came after the revoke");
    }
    let (_, read) = client.get("/v1/x/quotas/q").await;
    assert_eq!(read["quota"]["status"], "revoked", "no use undid it");
    assert_eq!(read["quota"]["version"], revoked_at);
    assert_eq!(read["quota"]["used"], revoked_at - 2, "creation, the uses, the revoke");
}

#[tokio::test(flavor = "multi_thread")]
async fn approve_and_cancel_exclude_each_other() {
    let server = Server::start("memory:");
    let mut client = Client::connect(server.address).await.unwrap();
    for _ in 0..ROUNDS {
        let issue = json!({
            "holder": "c1", "audience": "s1", "max_amount": { "amount": 1, "unit": "use" },
            "ttl_ms": 3_600_000, "issued_by": "s1"
        });
        let (_, made) = client.post("/v1/x/tickets", issue).await;
        let id = made["ticket"]["id"].as_str().unwrap().to_owned();
        let approve = format!("/v1/x/tickets/{id}/approve");
        let cancel = format!("/v1/x/tickets/{id}/cancel");
        let [approved, cancelled] = both(
            server.address,
            post(&approve, json!({ "holder": "c1" })),
            post(&cancel, json!({ "by": "s1" })),
        )
        .await;
        let (_, read) = client.get(&format!("/v1/x/tickets/{id}")).await;
        let told = (approved.0, cancelled.0, read["ticket"]["status"].as_str().unwrap());
        match told {
            (200, 409, "approved") => assert_eq!(cancelled.1["code"], "already_approved"),
            (410, 200, "cancelled") => assert_eq!(approved.1["code"], "ticket_cancelled"),
            _ => panic!("{told:?}: {} {}", approved.1, cancelled.1),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_completed_is_what_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::on_disk(folder.path());
    let mut client = Client::connect(server.address).await.unwrap();
    for round in 0..ROUNDS {
        let id = format!("u{round}");
        let (status, made) =
            client.post("/v1/x/uploads", json!({ "id": id, "size_limit": 6 })).await;
        assert_eq!(status, 201, "{made}");
        let payload = format!("/v1/x/uploads/{id}/payload");
        // "first" and "second", as base64.
        let first = json!({ "payload": "Zmlyc3Q=" });
        let second = json!({ "payload": "c2Vjb25k" });
        let (status, reply) = client.send(Method::PUT, &payload, (None, first)).await.unwrap();
        assert_eq!(status, 200, "{reply}");
        let complete = format!("/v1/x/uploads/{id}/complete");
        let [completed, published] =
            both(server.address, post(&complete, Value::Null), (Method::PUT, &payload, second))
                .await;
        assert_eq!(completed.0, 200, "{}", completed.1);
        let late = published.0 == 409 && published.1["code"] == "upload_completed";
        assert!(published.0 == 200 || late, "{}: {}", published.0, published.1);
        let pinned = &completed.1["upload"];
        let (_, read) = client.get(&format!("/v1/x/uploads/{id}")).await;
        assert_eq!(read["upload"]["status"], "completed");
        for field in ["generation", "payload", "sha256", "size"] {
            assert_eq!(read["upload"][field], pinned[field], "{field}");
        }
    }
}

/// Issues a ticket that nobody approves, and asks for it up to its end and past it; gives how often
/// it was asked for.
async fn ask_past_the_end(address: SocketAddr, ttl_ms: u64) -> usize {
    let mut client = Client::connect(address).await.unwrap();
    let issue = json!({
        "holder": "c1", "audience": "s1", "max_amount": { "amount": 1, "unit": "use" },
        "ttl_ms": ttl_ms, "issued_by": "s1"
    });
    let (_, made) = client.post("/v1/x/tickets", issue).await;
    let path = format!("/v1/x/tickets/{}", made["ticket"]["id"].as_str().unwrap());
    let time = |json: &Value| json.as_str().unwrap().parse::<bellpunch::Timestamp>().unwrap();
    let ends = time(&made["ticket"]["expires_at"]);
    let redeem = json!({ "audience": "s1", "holder": "c1", "amount": 1 });
    for asked in 1.. {
        let (status, reply) = client.post(&format!("{path}/redeem"), redeem.clone()).await;
        let at = time(&reply["at"]);
        match (status, reply["code"].as_str()) {
            (409, Some("ticket_not_approved")) => assert!(at < ends, "{reply}"),
            (410, Some("ticket_expired")) => {
                assert!(ends <= at, "{reply}");
                let approve = json!({ "holder": "c1" });
                let late = client.post(&format!("{path}/approve"), approve).await;
                assert_eq!((late.0, &late.1["code"]), (410, &json!("ticket_expired")));
                return asked;
            }
            _ => panic!("{status}: {reply}"),
        }
    }
    unreachable!("a ticket ends")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_over_at_its_end_for_every_command() {
    const TICKETS: usize = 48;
    let folder = tempfile::tempdir().unwrap();
    let server = Server::on_disk(folder.path());
    let address = server.address;
    // On a slow machine a ticket may be over before it is asked for the first time: then a longer
    // one is tried, until some were asked for on both sides of their ends.
    for ttl_ms in [40, 160, 640, 2_560, 10_240] {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..TICKETS {
            tasks.spawn(ask_past_the_end(address, ttl_ms));
        }
        if TICKETS < tasks.join_all().await.into_iter().sum() {
            return;
        }
    }
    panic!("no ticket was asked for before its end");
}
