//! The journal over HTTP: places in receipts, pages, waiting for the next entry, and its hashes.

use std::collections::BTreeSet;

use bellpunch::{Chain, EngineConfig, Entry, Partition};
use serde_json::{Value, json};

use crate::client::{Server, memory, quiet};

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
