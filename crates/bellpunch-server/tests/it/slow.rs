//! Slow and idle peers, too many of them, and stopping.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bellpunch::store::{
    BoxFuture, Commit, CommitId, CommitResult, Failure, FailureKind, Page, PartitionPage,
    Properties, Resolution, Risk, Scan, Store, Versioned,
};
use bellpunch::{Partition, RecordKey};
use bellpunch_server::Span;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::client::{Server, memory, quiet};

/// A store whose commits wait for a gate, or fail.
#[derive(Debug)]
struct Gated {
    inner: Arc<dyn Store>,
    closed: AtomicBool,
    failing: AtomicBool,
    relaxed: AtomicBool,
    arrived: Notify,
    open: Notify,
}

impl Gated {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: memory(),
            closed: AtomicBool::new(false),
            failing: AtomicBool::new(false),
            relaxed: AtomicBool::new(false),
            arrived: Notify::new(),
            open: Notify::new(),
        })
    }
}

#[deny(clippy::missing_trait_methods)]
impl Store for Gated {
    fn properties(&self) -> Properties {
        let relaxed = self.relaxed.load(Ordering::SeqCst);
        let risk = relaxed.then_some(Risk::LostOnCrash);
        Properties { risk, ..self.inner.properties() }
    }

    fn read<'a>(
        &'a self,
        partition: &'a Partition,
        keys: &'a [RecordKey],
    ) -> BoxFuture<'a, Result<Vec<Versioned>, Failure>> {
        self.inner.read(partition, keys)
    }

    fn commit(&self, commits: Vec<Arc<Commit>>) -> BoxFuture<'_, Vec<CommitResult>> {
        Box::pin(async move {
            if self.failing.load(Ordering::SeqCst) {
                let failure = Failure::new(FailureKind::Unavailable, "cut off");
                return commits.iter().map(|_| CommitResult::Failed(failure.clone())).collect();
            }
            if self.closed.load(Ordering::SeqCst) {
                self.arrived.notify_one();
                self.open.notified().await;
            }
            self.inner.commit(commits).await
        })
    }

    fn scan<'a>(
        &'a self,
        partition: &'a Partition,
        scan: &'a Scan,
    ) -> BoxFuture<'a, Result<Page, Failure>> {
        self.inner.scan(partition, scan)
    }

    fn resolve<'a>(
        &'a self,
        partition: &'a Partition,
        id: CommitId,
    ) -> BoxFuture<'a, Result<Resolution, Failure>> {
        self.inner.resolve(partition, id)
    }

    fn partitions<'a>(
        &'a self,
        after: Option<&'a Partition>,
        limit: usize,
    ) -> BoxFuture<'a, Result<PartitionPage, Failure>> {
        self.inner.partitions(after, limit)
    }
}

async fn closed(mut stream: TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    rest
}

#[tokio::test]
async fn a_slow_body_is_408_and_nothing_happens() {
    let mut config = quiet();
    config.http.body_timeout = Span::milliseconds(50);
    let server = Server::with(config, memory()).await;
    let head = "POST /v1/p/tickets HTTP/1.1\r\nContent-Type: application/json";
    let slow = format!("{head}\r\nContent-Length: 10");
    let reply = server.send(&slow, b"{").await;
    assert_eq!(reply.refusal(), (408, "request_timeout".to_owned()));
    assert_eq!(reply.header("connection"), Some("close"));
}

#[tokio::test]
async fn slow_heads_and_idle_connections_are_closed() {
    let mut config = quiet();
    config.http.header_timeout = Span::milliseconds(50);
    config.http.idle_timeout = Span::milliseconds(150);
    let server = Server::with(config, memory()).await;
    // Nothing at all; half a preface; half a head; half a second head; nothing after an answer.
    let whole = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (bytes, answers) in [
        (String::new(), 0),
        ("PRI * HT".to_owned(), 0),
        ("GET /health/live HT".to_owned(), 0),
        (format!("{whole}GET /he"), 1),
        (whole.to_owned(), 1),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let rest = closed(stream).await;
        let rest = String::from_utf8(rest).unwrap();
        assert_eq!(rest.matches("HTTP/1.1 200 OK").count(), answers, "{bytes:?}: {rest}");
    }
}

#[tokio::test]
async fn one_connection_too_many_is_closed() {
    let mut config = quiet();
    config.http.connections_max = 1;
    let server = Server::with(config, memory()).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    let whole = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
    first.write_all(whole).await.unwrap();
    let mut some = [0; 12];
    first.read_exact(&mut some).await.unwrap();
    let second = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(closed(second).await, b"");
}

/// A server that asks no command for a key.
fn keyless() -> bellpunch_server::Config {
    let mut config = quiet();
    config.idempotency.required = bellpunch_server::KeyRequired::None;
    config
}

#[tokio::test]
async fn a_store_that_fails_is_503_and_not_applied() {
    let store = Gated::new();
    let server = Server::with(keyless(), Arc::clone(&store) as Arc<dyn Store>).await;
    store.failing.store(true, Ordering::SeqCst);
    let body = json!({"code": "XXX", "scale": 2});
    let reply = server.post("/v1/p/currencies/define", &body).await;
    assert_eq!(reply.refusal(), (503, "store_unavailable".to_owned()));
    assert_eq!(reply.header("retry-after"), Some("5"));
    assert_eq!(reply.json().get("as_of"), None, "no rule decided");
    store.failing.store(false, Ordering::SeqCst);
    assert_eq!(server.post("/v1/p/currencies/define", &body).await.status, 201);
}

#[tokio::test]
async fn each_answer_on_a_relaxed_store_says_that_it_can_be_lost() {
    let store = Gated::new();
    store.relaxed.store(true, Ordering::SeqCst);
    let server = Server::with(quiet(), Arc::clone(&store) as Arc<dyn Store>).await;
    let policy = json!({"algorithm": "sliding_log", "limit": 1, "period_ms": 3_600_000});
    assert_eq!(server.call("PUT", "/v1/p/policies/r", &policy).await.json()["durable"], false);
    let consume = json!({"key": "k"});
    let keyed = [("Idempotency-Key", "once")];
    for replayed in [false, true] {
        let path = "/v1/p/policies/r/consume";
        let reply = server.with_headers(("POST", path), &keyed, &consume).await;
        let body = reply.json();
        assert_eq!((&body["durable"], &body["replayed"]), (&json!(false), &json!(replayed)));
    }
    let refused = server.post("/v1/p/policies/r/consume", &consume).await;
    assert_eq!(refused.refusal(), (429, "rate_limited".to_owned()));
    assert_eq!(refused.json()["durable"], false);
    let list = json!({"commands": [{"command": "policies.reset_all", "id": "r"},
                                   {"command": "policies.read", "id": "r"}]});
    assert_eq!(server.post("/v1/p/commands", &list).await.json()["durable"], false);
    let outcome = server.get("/v1/p/outcomes/once").await.json();
    assert_eq!(
        (&outcome["durable"], &outcome["receipt"]["durable"]),
        (&json!(false), &json!(false))
    );

    let refused = server.post("/v1/p/quotas", &json!({"id": "q", "limit": 1})).await;
    assert_eq!(refused.refusal(), (403, "risk_not_accepted".to_owned()));
    assert_eq!(refused.header("retry-after"), None, "no retry helps");
}

#[tokio::test]
async fn accepted_requests_finish_and_new_ones_are_sent_away() {
    let store = Gated::new();
    let mut server = Server::with(keyless(), Arc::clone(&store) as Arc<dyn Store>).await;
    store.closed.store(true, Ordering::SeqCst);
    let body = json!({"code": "XXX", "scale": 2});
    let mut accepted = TcpStream::connect(server.address).await.unwrap();
    let request = format!(
        "POST /v1/p/currencies/define HTTP/1.1\r\nHost: localhost\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.to_string().len()
    );
    accepted.write_all(request.as_bytes()).await.unwrap();
    store.arrived.notified().await;
    // A connection from before, that asks afterwards.
    let mut earlier = TcpStream::connect(server.address).await.unwrap();
    let live = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
    earlier.write_all(live).await.unwrap();
    let mut seen = [0; 12];
    earlier.read_exact(&mut seen).await.unwrap();
    server.stop();
    loop {
        let reply = server.get("/health/ready").await;
        if reply.status == 503 {
            assert_eq!(reply.refusal().1, "draining");
            break;
        }
        tokio::task::yield_now().await;
    }
    let late = server.get("/v1/p/currencies").await;
    assert_eq!(late.refusal(), (503, "draining".to_owned()));
    assert_eq!(late.header("connection"), Some("close"));
    store.open.notify_one();
    let answer = String::from_utf8(closed(accepted).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 Created"), "{answer}");
    server.stopped().await.unwrap();
}

#[tokio::test]
async fn a_listener_outside_loopback_is_refused_unless_overridden() {
    use bellpunch::{Engine, EngineConfig, SystemClock};
    use bellpunch_server::{Components, ServeError, serve};
    for (anonymous, plaintext, opens) in
        [(false, false, false), (true, false, false), (false, true, false), (true, true, true)]
    {
        let mut config = quiet();
        config.security.allow_anonymous = anonymous;
        config.security.allow_plaintext = plaintext;
        let engine = Engine::start(memory(), Arc::new(SystemClock::new()), EngineConfig::default());
        let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
        let components =
            Components { engine, blobs: crate::client::blobs(), listener, webhooks: Vec::new() };
        let served = serve(config, components, async {}).await;
        assert_eq!(served.is_ok(), opens);
        if let Err(error) = served {
            assert!(matches!(error, ServeError::Unsafe(_)), "{error}");
        }
    }
}

/// A server whose store takes commits and does not answer until its gate opens.
async fn gated(bounds: bellpunch::EngineConfig) -> (Server, Arc<Gated>) {
    let store = Gated::new();
    let shared = Arc::clone(&store) as Arc<dyn Store>;
    let server = Server::bounded(keyless(), shared, bounds).await;
    store.closed.store(true, Ordering::SeqCst);
    (server, store)
}

const DEFINE: &str = "/v1/p/currencies/define";

#[tokio::test]
async fn what_may_have_been_applied_is_504_and_says_where_to_ask() {
    let (server, store) = gated(bellpunch::EngineConfig::default()).await;
    let body = json!({"code": "XXX", "scale": 2});
    let headers = [("Idempotency-Key", "k"), ("Bellpunch-Timeout-Ms", "50")];
    let reply = server.with_headers(("POST", DEFINE), &headers, &body).await;
    assert_eq!(reply.refusal(), (504, "outcome_unknown".to_owned()));
    let data = &reply.json()["data"];
    assert_eq!(data["idempotency_key"], "k");
    assert_eq!(data["outcome"], "/v1/p/outcomes/k");
    store.closed.store(false, Ordering::SeqCst);
    store.open.notify_one();
    let again = server.with_headers(("POST", DEFINE), &headers[..1], &body).await;
    assert_eq!((again.status, &again.json()["replayed"]), (201, &json!(true)));
    assert_eq!(server.get("/v1/p/outcomes/k").await.json()["status"], "applied");
}

#[tokio::test]
async fn what_was_never_sent_is_503_and_certainly_not_applied() {
    let (server, store) = gated(bellpunch::EngineConfig::default()).await;
    let body = json!({"code": "XXX", "scale": 2});
    let first = async { server.post(DEFINE, &body).await };
    let second = async {
        store.arrived.notified().await;
        // It waits behind the first, whose commit does not end.
        let body = json!({"code": "XXY", "scale": 2});
        let wait = [("Bellpunch-Timeout-Ms", "50")];
        let reply = server.with_headers(("POST", DEFINE), &wait, &body).await;
        store.closed.store(false, Ordering::SeqCst);
        store.open.notify_one();
        reply
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.status, 201);
    assert_eq!(second.refusal(), (503, "timed_out".to_owned()));
    assert_eq!(second.header("retry-after"), Some("1"));
    let mut state = server.state("p").await;
    state.retain(|record| record.starts_with("currencies/"));
    assert_eq!(state, ["currencies/XXX@1"]);
}

#[tokio::test]
async fn a_full_queue_answers_at_once() {
    let bounds = bellpunch::EngineConfig { queue_max: 1, ..bellpunch::EngineConfig::default() };
    let (server, store) = gated(bounds).await;
    let body = |n: usize| json!({"code": format!("XX{}", ["A", "B", "C", "D"][n]), "scale": 2});
    let first = async { server.post(DEFINE, &body(0)).await.status };
    let rest = async {
        store.arrived.notified().await;
        let calls = (1..4).map(|n| {
            let body = body(n);
            let server = &server;
            async move { server.post(DEFINE, &body).await }
        });
        let mut calls: Vec<_> = calls.map(Box::pin).collect();
        let (reply, _, waiting) = futures_util::future::select_all(calls.drain(..)).await;
        store.closed.store(false, Ordering::SeqCst);
        store.open.notify_one();
        let others = futures_util::future::join_all(waiting).await;
        (reply, others)
    };
    let (first, (refused, others)) = tokio::join!(first, rest);
    assert_eq!(first, 201);
    assert_eq!(refused.refusal(), (503, "overloaded".to_owned()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(
        refused.json()["type"],
        "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
    );
    assert!(others.iter().any(|reply| reply.status == 201), "{others:?}");
}

#[tokio::test]
async fn duplicates_wait_for_their_key_up_to_a_bound() {
    let (server, store) = gated(bellpunch::EngineConfig::default()).await;
    let body = json!({"code": "XXX", "scale": 2});
    let key = [("Idempotency-Key", "k")];
    let call = || server.with_headers(("POST", DEFINE), &key, &body);
    let first = async { call().await.status };
    let rest = async {
        store.arrived.notified().await;
        let calls: Vec<_> = (0..17).map(|_| Box::pin(call())).collect();
        let (refused, _, waiting) = futures_util::future::select_all(calls).await;
        store.closed.store(false, Ordering::SeqCst);
        store.open.notify_one();
        (refused, futures_util::future::join_all(waiting).await)
    };
    let (first, (refused, others)) = tokio::join!(first, rest);
    assert_eq!(first, 201);
    assert_eq!(refused.refusal(), (409, "idempotency_key_in_progress".to_owned()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    for reply in &others {
        assert_eq!((reply.status, &reply.json()["replayed"]), (201, &json!(true)));
    }
    assert_eq!(others.len(), 16);
}
