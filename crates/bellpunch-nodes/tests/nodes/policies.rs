//! The engine is gone, or stands still: quotas and tickets refuse, rate limits do what their policy
//! chose, and when it is back everything goes on.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::cluster::{Cluster, Start};
use crate::engine::{Engine, Kind};

on_each_engine!(
    an_engine_that_is_gone_closes_what_must_be_closed,
    an_engine_that_stands_still_closes_what_must_be_closed,
);

/// An answer with its head.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In lower case.
    head: String,
    text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Certainly not applied, and when to come again.
    pub(crate) fn is_not_now(&self, code: &str) -> bool {
        self.status == 503 && self.code() == code && self.head.contains("\r\nretry-after: ")
    }
}

/// Asks on a connection of its own, and reads the whole answer.
pub(crate) async fn ask(address: SocketAddr, method: &str, (path, body): (&str, Value)) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    let read = stream.read_to_string(&mut text);
    tokio::time::timeout(crate::PATIENCE, read).await.unwrap().unwrap();
    let (head, text) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_lowercase(), text: text.to_owned() }
}

async fn post(address: SocketAddr, path: &str, body: Value) -> Answer {
    ask(address, "POST", (path, body)).await
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outage {
    Gone,
    StandsStill,
}

async fn an_engine_that_is_gone_closes_what_must_be_closed(kind: Kind) {
    outage(kind, Outage::Gone).await;
}

async fn an_engine_that_stands_still_closes_what_must_be_closed(kind: Kind) {
    outage(kind, Outage::StandsStill).await;
}

async fn begin(engine: &Arc<Engine>, how: Outage) {
    match how {
        Outage::Gone => engine.stop().await,
        Outage::StandsStill => engine.signal("STOP").await,
    }
}

async fn end(engine: &Arc<Engine>, how: Outage) {
    match how {
        Outage::Gone => engine.restart().await,
        Outage::StandsStill => engine.signal("CONT").await,
    }
}

/// Makes what is used; gives the ticket.
async fn furnish(address: SocketAddr) -> String {
    let made = post(address, "/v1/p/quotas", json!({ "id": "q", "limit": 1_000 })).await;
    assert_eq!(made.status, 201, "{made:?}");
    let rate = json!({ "algorithm": "gcra", "rate": 1_000, "period_ms": 1_000 });
    let mut open = rate.clone();
    open["on_store_failure"] = "open".into();
    let local = json!({
        "algorithm": "sliding_log", "limit": 1_000, "period_ms": 600_000,
        "on_store_failure": "local", "local_limit": 2
    });
    for (id, terms) in [("closed", rate), ("open", open), ("local", local)] {
        let set = ask(address, "PUT", (&format!("/v1/p/policies/{id}"), terms)).await;
        assert!(set.status < 300, "{set:?}");
    }
    let ticket = json!({
        "holder": "c1", "audience": "s1", "issued_by": "s1", "ttl_ms": 3_600_000,
        "approved": true, "max_amount": { "amount": 9, "unit": "use" }
    });
    let made = post(address, "/v1/p/tickets", ticket).await;
    made.json()["ticket"]["id"].as_str().unwrap().to_owned()
}

async fn consume(address: SocketAddr) -> Answer {
    post(address, "/v1/p/quotas/q/consume", json!({ "units": 1 })).await
}

async fn redeem(address: SocketAddr, ticket: &str) -> Answer {
    let body = json!({ "audience": "s1", "holder": "c1", "amount": 1 });
    post(address, &format!("/v1/p/tickets/{ticket}/redeem"), body).await
}

async fn pass(address: SocketAddr, policy: &str) -> Answer {
    post(address, &format!("/v1/p/policies/{policy}/consume"), json!({ "key": "k" })).await
}

/// Decisions without the store that a node has counted.
async fn storeless(address: SocketAddr, mode: &str) -> u64 {
    let metrics = ask(address, "GET", ("/metrics", Value::Null)).await;
    let name = format!("bellpunch_storeless_decisions_total{{mode=\"{mode}\"}} ");
    let line = metrics.text.lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap_or_else(|| panic!("{}", metrics.text)).parse().unwrap()
}

async fn outage(kind: Kind, how: Outage) {
    let engine = Engine::start(kind).await;
    let start = Start::new(engine.url(), &engine.settings());
    let cluster = Cluster::start(start.with(&["store.timeout=500ms", "http.timeout=3s"]), 2).await;
    let (knows, strange) = (cluster.places.of(0), cluster.places.of(1));
    let ids = cluster.ids();
    let ticket = furnish(knows).await;
    assert_eq!(consume(knows).await.status, 200);
    for policy in ["closed", "open", "local"] {
        assert_eq!(pass(knows, policy).await.status, 200);
    }
    begin(&engine, how).await;
    let (unknown, unknown_all) = closed(knows, &ticket).await;
    goes_on(knows).await;
    // A policy whose terms a node does not know is closed.
    assert!(pass(strange, "open").await.is_not_now("store_unavailable"));
    end(&engine, how).await;
    let mut after = 0;
    for node in [knows, strange] {
        let back = async || consume(node).await.status == 200;
        crate::until("a node that goes on", back).await;
        after += 1;
        for policy in ["closed", "open", "local"] {
            let passed = pass(node, policy).await;
            assert_eq!((passed.status, &passed.json()["decided_by"]), (200, &json!("store")));
        }
    }
    // If it was unknown before, it may be used now.
    let redeemed = redeem(strange, &ticket).await;
    let was_unknown = 0 < unknown_all && redeemed.code() == "already_redeemed";
    assert!(redeemed.status == 200 || was_unknown, "{redeemed:?}");
    assert_eq!(cluster.ids(), ids, "no node was started again");
    let read = ask(knows, "GET", ("/v1/p/quotas/q", Value::Null)).await.json();
    let (used, told) = (read["quota"]["used"].as_u64().unwrap(), 1 + after);
    println!("{kind:?}, {how:?}: {unknown_all} unknown, {used} used, {told} told");
    assert!(told <= used && used <= told + unknown, "{read}");
    cluster.end().await;
}

/// Quotas, tickets and closed policies are refused; gives how many of the quota are unknown, and
/// how many in all. Only what was sent before anybody knew can be.
async fn closed(node: SocketAddr, ticket: &str) -> (u64, u64) {
    let mut unknown = (0, 0);
    let refused = async || {
        let mut all = true;
        let told = [consume(node).await, redeem(node, ticket).await, pass(node, "closed").await];
        for (place, told) in told.into_iter().enumerate() {
            assert!(told.status == 504 || told.is_not_now("store_unavailable"), "{told:?}");
            let is_unknown = u64::from(told.status == 504);
            unknown.0 += if place == 0 { is_unknown } else { 0 };
            unknown.1 += is_unknown;
            all &= told.status == 503;
        }
        all
    };
    crate::until("refusals", refused).await;
    unknown
}

/// Open and local policies go on, say so, and are counted.
async fn goes_on(node: SocketAddr) {
    let before = (storeless(node, "open").await, storeless(node, "local").await);
    for _ in 0..3 {
        let told = pass(node, "open").await;
        assert_eq!((told.status, &told.json()["decided_by"]), (200, &json!("open")), "{told:?}");
        assert!(told.json().get("versions").is_none(), "{told:?}");
    }
    for _ in 0..2 {
        let told = pass(node, "local").await;
        assert_eq!((told.status, &told.json()["decided_by"]), (200, &json!("local")), "{told:?}");
    }
    let told = pass(node, "local").await;
    assert_eq!((told.status, &told.json()["decided_by"]), (429, &json!("local")), "{told:?}");
    let after = (storeless(node, "open").await, storeless(node, "local").await);
    assert_eq!(after, (before.0 + 3, before.1 + 3), "each is counted");
}
