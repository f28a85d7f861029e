//! The journal over HTTP: places in receipts, pages, waiting for the next entry, and its hashes.

use std::collections::BTreeSet;

use bellpunch::{Chain, EngineConfig, Entry, Partition};
use serde_json::{Value, json};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::client::{Server, memory, quiet};

/// A connection that follows the journal of `p` by events.
struct Following(BufReader<TcpStream>);

impl Following {
    async fn ask(server: &Server, path: &str, headers: &str) -> Self {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{headers}\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut following = Self(BufReader::new(stream));
        assert_eq!(following.line().await.unwrap(), "HTTP/1.1 200 OK");
        let mut head = Vec::new();
        while let Some(line) = following.line().await.filter(|line| !line.is_empty()) {
            head.push(line);
        }
        assert!(head.contains(&"content-type: text/event-stream".to_owned()), "{head:?}");
        assert!(head.contains(&"cache-control: no-store".to_owned()), "{head:?}");
        following
    }

    /// The next line; none at the end.
    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let count = self.0.read_line(&mut line).await.unwrap();
        (0 < count).then(|| line.trim_end().to_owned())
    }

    /// The next event, its id beside it; comments and the sizes of chunks are passed over.
    async fn event(&mut self) -> Option<(u64, Entry)> {
        let mut id = None;
        loop {
            let line = self.line().await?;
            if let Some(text) = line.strip_prefix("id: ") {
                id = Some(text.parse().unwrap());
            } else if let Some(text) = line.strip_prefix("data: ") {
                return Some((id.unwrap(), serde_json::from_str(text).unwrap()));
            }
        }
    }
}

/// A server whose partition `p` has a journal.
async fn server() -> Server {
    let journal = BTreeSet::from([Partition::new("p").unwrap()]);
    Server::bounded(quiet(), memory(), EngineConfig { journal, ..EngineConfig::default() }).await
}

fn entries(page: &Value) -> Vec<Entry> {
    serde_json::from_value(page["entries"].clone()).unwrap()
}

#[tokio::test]
async fn receipts_name_their_place_and_entries_link() {
    let server = server().await;
    let made = server.post("/v1/p/quotas", &json!({ "id": "q", "limit": 9 })).await.json();
    assert_eq!(made["seq"], 1);
    let keyed = [("Idempotency-Key", "k")];
    let path = ("POST", "/v1/p/quotas/q/consume");
    let taken = server.with_headers(path, &keyed, &json!({ "units": 4 })).await.json();
    assert_eq!(taken["seq"], 2);
    let again = server.with_headers(path, &keyed, &json!({ "units": 4 })).await.json();
    assert_eq!((&again["seq"], &again["replayed"]), (&json!(2), &json!(true)));
    let outcome = server.get("/v1/p/outcomes/k").await.json();
    assert_eq!(outcome["receipt"]["seq"], 2);
    let refused = server.post("/v1/p/quotas/q/consume", &json!({ "units": 9 })).await;
    assert_eq!(refused.refusal(), (429, "quota_exceeded".to_owned()));
    let list = json!({ "commands": [
        { "command": "quotas.consume", "id": "q", "units": 1 },
        { "command": "quotas.read", "id": "q" },
        { "command": "quotas.consume", "id": "q", "units": 2 },
    ] });
    let both = server.post("/v1/p/commands", &list).await.json();
    let seqs: Vec<&Value> =
        both["results"].as_array().unwrap().iter().map(|it| &it["seq"]).collect();
    assert_eq!(seqs, [&json!(3), &Value::Null, &json!(4)], "{both}");
    let page = server.get("/v1/p/journal").await.json();
    let all = entries(&page);
    assert_eq!(page["last"], all.len());
    let mut chain = Chain::default();
    for entry in &all {
        assert_eq!(chain.follow(entry), Ok(()));
    }
    assert_eq!(all[1].command, "quotas.consume");
    let last = server.get("/v1/p/journal/last").await.json();
    assert_eq!(last["entry"]["seq"], page["last"]);
    assert_eq!(last["entry"]["hash"], page["entries"][all.len() - 1]["hash"]);
    // Another partition has none, and a check of a rate limit has no entry.
    let other = server.get("/v1/other/journal").await;
    assert_eq!(other.refusal(), (404, "not_journaled".to_owned()));
}

#[tokio::test]
async fn a_follower_gets_each_entry_once_and_waits_for_the_next() {
    let server = server().await;
    server.post("/v1/p/quotas", &json!({ "id": "q", "limit": 100 })).await;
    let follower = async {
        let (mut seen, mut after) = (Vec::new(), 0);
        while seen.len() < 21 {
            let path = format!("/v1/p/journal?after={after}&limit=7&wait_ms=10000");
            let page = server.get(&path).await.json();
            let found = entries(&page);
            assert!(!found.is_empty() && found.len() <= 7, "{page}");
            after = found.last().unwrap().seq;
            seen.extend(found.into_iter().map(|entry| entry.seq));
        }
        seen
    };
    let writer = async {
        for _ in 0..20 {
            let taken = server.post("/v1/p/quotas/q/consume", &json!({ "units": 1 })).await;
            assert_eq!(taken.status, 200);
        }
    };
    let (seen, ()) = tokio::join!(follower, writer);
    assert_eq!(seen, (1..=21).collect::<Vec<u64>>());
    let none = server.get("/v1/p/journal?after=21").await.json();
    assert_eq!((&none["entries"], &none["last"]), (&json!([]), &json!(21)));
}

#[tokio::test]
async fn what_is_asked_for_amiss_is_said() {
    let server = server().await;
    for (query, field) in
        [("after=x", "after"), ("wait_ms=30001", "wait_ms"), ("limit=1001", "limit")]
    {
        let reply = server.get(&format!("/v1/p/journal?{query}")).await;
        assert_eq!(reply.refusal().0, 400, "{query}");
        assert_eq!(reply.json()["data"]["field"], field, "{}", reply.json());
    }
    let reply = server.get("/v1/p/journal/last").await;
    assert_eq!(
        reply.refusal(),
        (404, "not_journaled".to_owned()),
        "it begins with its first entry"
    );
}

#[tokio::test]
async fn events_are_the_entries_and_go_on_where_they_broke_off() {
    let server = server().await;
    server.post("/v1/p/quotas", &json!({ "id": "q", "limit": 100 })).await;
    let consume = || async {
        let taken = server.post("/v1/p/quotas/q/consume", &json!({ "units": 1 })).await;
        assert_eq!(taken.status, 200);
    };
    let mut following = Following::ask(&server, "/v1/p/journal", "").await;
    let mut chain = Chain::default();
    for place in 1..=5 {
        let (id, entry) = following.event().await.unwrap();
        assert_eq!((id, entry.seq), (place, place));
        assert_eq!(chain.follow(&entry), Ok(()));
        consume().await;
    }
    drop(following);
    consume().await;
    // What was asked for first is asked for again; how far it got stands beside it.
    let mut again = Following::ask(&server, "/v1/p/journal?after=2", "Last-Event-ID: 5\r\n").await;
    for place in 6..=7 {
        let (id, entry) = again.event().await.unwrap();
        assert_eq!((id, chain.follow(&entry)), (place, Ok(())));
    }
    let mut other = Following::ask(&server, "/v1/p/journal?after=6", "").await;
    assert_eq!(other.event().await.unwrap().0, 7);
}

#[tokio::test]
async fn events_end_when_the_server_drains() {
    let mut server = server().await;
    server.post("/v1/p/quotas", &json!({ "id": "q", "limit": 100 })).await;
    let mut following = Following::ask(&server, "/v1/p/journal", "").await;
    assert_eq!(following.event().await.unwrap().0, 1);
    server.stop();
    while following.line().await.is_some() {}
    assert!(server.stopped().await.is_ok());
}

#[tokio::test]
async fn events_are_for_who_asks_rightly_and_for_so_many() {
    let server = server().await;
    let wanted = [("Accept", "text/html, text/event-stream;q=0.9")];
    let ask = |path: &'static str, headers: Vec<(&'static str, &'static str)>| {
        let server = &server;
        async move { server.with_headers(("GET", path), &headers, &json!({})).await }
    };
    let none = ask("/v1/p/journal", wanted.to_vec()).await;
    assert_eq!(none.refusal(), (404, "not_journaled".to_owned()));
    server.post("/v1/p/quotas", &json!({ "id": "q", "limit": 100 })).await;
    for (path, last, field) in [
        ("/v1/p/journal?wait_ms=1", "1", "wait_ms"),
        ("/v1/p/journal?limit=1", "1", "limit"),
        ("/v1/p/journal?after=x", "", "after"),
        ("/v1/p/journal", "x", "Last-Event-ID"),
    ] {
        let mut headers = wanted.to_vec();
        if !last.is_empty() {
            headers.push(("Last-Event-ID", last));
        }
        let reply = ask(path, headers).await;
        assert_eq!((reply.refusal().0, reply.field().1), (400, field.to_owned()), "{path}");
    }
    // Who rules events out gets a page.
    let page = ask("/v1/p/journal", vec![("Accept", "text/event-stream;q=0.0, */*")]).await;
    assert_eq!(entries(&page.json()).len(), 1);
    let mut all = Vec::new();
    for _ in 0..256 {
        all.push(Following::ask(&server, "/v1/p/journal", "").await);
    }
    let full = ask("/v1/p/journal", wanted.to_vec()).await;
    assert_eq!(full.refusal(), (503, "overloaded".to_owned()));
    let text = String::from_utf8(server.get("/metrics").await.bytes).unwrap();
    assert!(text.contains("\nbellpunch_journal_followers 256\n"), "{text}");
    // One that goes makes room.
    all.pop();
    let wanted =
        "GET /v1/p/journal HTTP/1.1\r\nAccept: text/event-stream\r\nHost: localhost\r\n\r\n";
    loop {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(wanted.as_bytes()).await.unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await.unwrap();
        if line.contains(" 200 ") {
            break;
        }
        tokio::task::yield_now().await;
    }
}
