//! Receipts, keys, secrets and lists, shown on tickets.

use serde_json::{Value, json};

use crate::client::Server;

fn issue() -> Value {
    json!({
        "holder": "c1", "audience": "s1", "issued_by": "s1", "ttl_ms": 60_000, "approved": true,
        "max_amount": {"amount": 5, "unit": "use"}
    })
}

async fn issued(server: &Server) -> String {
    let reply = server.post("/v1/p/tickets", &issue()).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    reply.json()["ticket"]["id"].as_str().unwrap().to_owned()
}

fn redeem() -> Value {
    json!({"audience": "s1", "holder": "c1"})
}

#[tokio::test]
async fn a_create_is_201_with_its_place_and_tag() {
    let server = Server::start().await;
    let reply = server.post("/v1/p/tickets", &issue()).await;
    let body = reply.json();
    let id = body["ticket"]["id"].as_str().unwrap();
    assert_eq!(reply.header("location"), Some(format!("/v1/p/tickets/{id}").as_str()));
    assert_eq!(reply.header("etag"), Some("\"1\""));
    assert_eq!(body["partition"], "p");
    assert_eq!((&body["replayed"], &body["decided_by"]), (&json!(false), &json!("store")));
    assert_eq!(body["versions"][format!("tickets/{id}")], 1);
    let read = server.get(&format!("/v1/p/tickets/{id}")).await;
    assert_eq!(read.header("etag"), Some("\"1\""));
    assert_eq!(read.json()["ticket"], body["ticket"]);
    assert_eq!(read.json()["as_of"][format!("tickets/{id}")], 1);
    assert!(read.json().get("replayed").is_none());
}

#[tokio::test]
async fn one_key_is_one_effect() {
    let server = Server::start().await;
    let id = issued(&server).await;
    let path = format!("/v1/p/tickets/{id}/redeem");
    let key = [("Idempotency-Key", "\"k 1\"")];
    let first = server.with_headers(("POST", &path), &key, &redeem()).await;
    assert_eq!((first.status, first.header("idempotent-replayed")), (200, None));
    let bare = [("Idempotency-Key", "k 1")];
    let again = server.with_headers(("POST", &path), &bare, &redeem()).await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (200, Some("true")));
    assert_eq!(again.json()["at"], first.json()["at"]);
    assert_eq!(again.json()["ticket"], first.json()["ticket"]);
    let other = json!({"audience": "s1", "holder": "c1", "amount": 2});
    let reused = server.with_headers(("POST", &path), &bare, &other).await;
    assert_eq!(reused.refusal(), (422, "idempotency_key_reused".to_owned()));
    let used = server.post(&path, &redeem()).await;
    assert_eq!(used.refusal(), (409, "already_redeemed".to_owned()));
    assert_eq!(used.json()["data"]["used_by"], "s1");
    assert_eq!(used.json()["as_of"][format!("tickets/{id}")], 2);

    let outcome = server.get("/v1/p/outcomes/k%201").await.json();
    assert_eq!(outcome["status"], "applied");
    assert_eq!(outcome["receipt"]["ticket"], first.json()["ticket"]);
    assert_eq!(outcome["receipt"]["versions"], first.json()["versions"]);
    let outcome = server.get("/v1/p/outcomes/other").await.json();
    assert_eq!(outcome["status"], "not_applied");
    assert!(outcome["kept_since"].as_str() < outcome["at"].as_str());
}

#[tokio::test]
async fn a_wrong_key_changes_nothing() {
    let server = Server::start().await;
    let id = issued(&server).await;
    let before = server.state("p").await;
    let path = format!("/v1/p/tickets/{id}/redeem");
    let long = "k".repeat(256);
    for key in ["", "\"", "\"a\"b", long.as_str(), "caf\u{e9}"] {
        let headers = [("Idempotency-Key", key)];
        let reply = server.with_headers(("POST", &path), &headers, &redeem()).await;
        assert_eq!(reply.refusal(), (400, "idempotency_key_invalid".to_owned()), "{key}");
    }
    let twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "a")];
    let reply = server.with_headers(("POST", &path), &twice, &redeem()).await;
    assert_eq!(reply.refusal(), (400, "idempotency_key_invalid".to_owned()));
    assert_eq!(server.state("p").await, before);
}

#[tokio::test]
async fn a_dry_run_reserves_nothing() {
    let server = Server::start().await;
    let id = issued(&server).await;
    let before = server.state("p").await;
    let path = format!("/v1/p/tickets/{id}/redeem?dry_run=true");
    let reply = server.post(&path, &redeem()).await;
    assert_eq!(reply.status, 200);
    let body = reply.json();
    assert_eq!(body["dry_run"], true);
    assert_eq!(body["as_of"][format!("tickets/{id}")], 1);
    assert!(body.get("versions").is_none() && body.get("replayed").is_none());
    let refused = server.post(&path, &json!({"audience": "s2", "holder": "c1"})).await;
    assert_eq!(refused.refusal(), (403, "wrong_audience".to_owned()));
    assert_eq!(refused.json()["dry_run"], true);
    let dry = server.post("/v1/p/tickets?dry_run=true", &issue()).await;
    assert_eq!((dry.status, dry.header("location")), (200, None));
    assert_eq!(server.state("p").await, before);
}

#[tokio::test]
async fn a_condition_is_part_of_the_command() {
    let server = Server::start().await;
    let id = issued(&server).await;
    let path = format!("/v1/p/tickets/{id}/redeem");
    for tag in ["\"2\"", "W/\"1\"", "\"x\""] {
        let reply = server.with_headers(("POST", &path), &[("If-Match", tag)], &redeem()).await;
        assert_eq!(reply.refusal(), (412, "version_mismatch".to_owned()), "{tag}");
        assert_eq!(reply.json()["data"]["version"], 1);
    }
    let reply = server.with_headers(("POST", &path), &[("If-Match", "1")], &redeem()).await;
    assert_eq!(reply.refusal().0, 400);
    let reply = server.with_headers(("POST", &path), &[("If-Match", "\"1\"")], &redeem()).await;
    assert_eq!((reply.status, reply.header("etag")), (200, Some("\"2\"")));
}

#[tokio::test]
async fn a_made_secret_is_shown_once_and_never_told_again() {
    let server = Server::start().await;
    let mut body = issue();
    body["make_secret"] = json!(true);
    let key = [("Idempotency-Key", "v1")];
    let first = server.with_headers(("POST", "/v1/p/tickets"), &key, &body).await.json();
    let secret = first["secret"].as_str().unwrap();
    assert_eq!(secret.len(), 40);
    assert!(first.get("secret_withheld").is_none());
    let again = server.with_headers(("POST", "/v1/p/tickets"), &key, &body).await;
    assert_eq!(again.status, 201, "a retry is no other command: {again:?}");
    assert_eq!(again.json()["secret_withheld"], true);
    assert!(again.json().get("secret").is_none());

    let id = first["ticket"]["id"].as_str().unwrap();
    let path = format!("/v1/p/tickets/{id}/redeem");
    let with = |secret: &str| json!({"audience": "s1", "holder": "c1", "secret": secret});
    let wrong = server.post(&path, &with("guess")).await;
    assert_eq!(wrong.refusal(), (403, "wrong_secret".to_owned()));
    assert_eq!(server.post(&path, &with(secret)).await.status, 200);
    for reply in [server.get("/v1/p/tickets").await, server.get("/v1/p/outcomes/v1").await] {
        assert!(!String::from_utf8_lossy(&reply.bytes).contains(secret));
    }
    body["made_secret_hash"] = json!("00".repeat(32));
    let reply = server.post("/v1/p/tickets", &body).await;
    assert_eq!(reply.field(), ("invalid_request".to_owned(), "made_secret_hash".to_owned()));
}

#[tokio::test]
async fn a_list_is_all_or_nothing() {
    let server = Server::start().await;
    let (a, b) = (issued(&server).await, issued(&server).await);
    let command =
        |id: &str| json!({"command": "tickets.redeem", "id": id, "audience": "s1", "holder": "c1"});
    let before = server.state("p").await;
    let list = json!({"commands": [command(&a), command("none")]});
    let reply = server.post("/v1/p/commands", &list).await;
    assert_eq!(reply.refusal(), (404, "ticket_not_found".to_owned()));
    assert_eq!(reply.json()["index"], 1);
    assert_eq!(server.state("p").await, before);
    let list = json!({"commands": [command(&a), command(&b)]});
    let key = [("Idempotency-Key", "l")];
    let reply = server.with_headers(("POST", "/v1/p/commands"), &key, &list).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let body = reply.json();
    assert_eq!(body["results"].as_array().unwrap().len(), 2);
    assert_eq!(body["results"][1]["ticket"]["status"], "used");
    let again = server.with_headers(("POST", "/v1/p/commands"), &key, &list).await.json();
    assert_eq!((&again["replayed"], &again["results"]), (&json!(true), &body["results"]));
    let outcome = server.get("/v1/p/outcomes/l").await.json();
    assert_eq!(outcome["receipt"]["results"], body["results"]);
    let one = json!({"commands": [command("none")]});
    assert_eq!(server.post("/v1/p/commands", &one).await.json()["index"], 0);
}

#[tokio::test]
async fn a_list_has_at_most_64_commands_of_known_names() {
    let server = Server::start().await;
    let command = json!({"command": "tickets.read", "id": "t"});
    for (body, field) in [
        (json!({}), "commands"),
        (json!({"commands": []}), "commands"),
        (json!({"commands": vec![command.clone(); 65]}), "commands"),
        (json!({"commands": [1]}), "commands[0]"),
        (json!({"commands": [{}]}), "commands[0].command"),
        (json!({"commands": [{"command": "tickets.steal"}]}), "commands[0].command"),
        (json!({"commands": [command], "key": "k"}), "key"),
        (json!({"commands": [{"command": "tickets.read", "id": ""}]}), "commands[0].id"),
        (
            json!({"commands": [{"command": "tickets.read", "id": "t", "idempotency_key": "k"}]}),
            "commands[0].idempotency_key",
        ),
    ] {
        let reply = server.post("/v1/p/commands", &body).await;
        assert_eq!(reply.status, 400, "{body}");
        assert_eq!(reply.field().1, field, "{body}");
    }
}

#[tokio::test]
async fn each_of_a_batch_is_answered_on_its_own() {
    let server = Server::start().await;
    let id = issued(&server).await;
    let redeem = |key: &str| {
        json!({
            "command": "tickets.redeem", "id": id, "audience": "s1", "holder": "c1",
            "idempotency_key": key
        })
    };
    let batch = json!({"commands": [
        redeem("a"), redeem("a"), redeem("b"), {"command": "none.such"},
        {"command": "tickets.read", "id": id}
    ]});
    let reply = server.post("/v1/p/batch", &batch).await;
    assert_eq!(reply.status, 200);
    let results = reply.json()["results"].clone();
    let statuses: Vec<_> = (0..5).map(|i| results[i]["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [200, 200, 409, 400, 200], "{results}");
    assert_eq!(results[1]["reply"]["replayed"], true);
    assert_eq!(results[2]["problem"]["code"], "already_redeemed");
    assert_eq!(results[3]["problem"]["data"]["field"], "commands[3].command");
    let many = json!({"commands": vec![json!({"command": "tickets.read", "id": id}); 1_001]});
    assert_eq!(server.post("/v1/p/batch", &many).await.status, 400);
    let full = json!({"commands": vec![json!({"command": "tickets.read", "id": id}); 1_000]});
    let reply = server.post("/v1/p/batch", &full).await.json();
    assert_eq!(reply["results"].as_array().unwrap().len(), 1_000);
}

#[tokio::test]
async fn collections_are_listed_in_pages_and_narrowed() {
    let server = Server::start().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(issued(&server).await);
    }
    ids.sort();
    server.post(&format!("/v1/p/tickets/{}/redeem", ids[2]), &redeem()).await;
    let mut found = Vec::new();
    let mut path = "/v1/p/tickets?limit=2".to_owned();
    loop {
        let page = server.get(&path).await.json();
        for ticket in page["tickets"].as_array().unwrap() {
            found.push(ticket["id"].as_str().unwrap().to_owned());
        }
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/p/tickets?limit=2&after={next}");
    }
    assert_eq!(found, ids);
    let used = server.get("/v1/p/tickets?status=used&holder=c1").await.json();
    assert_eq!(used["tickets"].as_array().unwrap().len(), 1);
    let prefixed = server.get(&format!("/v1/p/tickets?prefix={}", ids[4])).await.json();
    assert_eq!(prefixed["tickets"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn two_callers_cannot_use_one_right() {
    let server = Server::start().await;
    let id = issued(&server).await;
    let path = format!("/v1/p/tickets/{id}/redeem");
    let body = redeem();
    let calls = (0..20).map(|_| server.post(&path, &body));
    let replies = futures_util::future::join_all(calls).await;
    let accepted = replies.iter().filter(|reply| reply.status == 200).count();
    let refused = replies.iter().filter(|reply| reply.status == 409).count();
    assert_eq!((accepted, refused), (1, 19));
}
