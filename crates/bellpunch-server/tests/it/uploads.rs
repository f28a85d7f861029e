//! Payloads in and out over the wire.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bellpunch_server::Size;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::client::{Reply, Server, memory, quiet};

async fn created(server: &Server, more: Value) {
    let mut body = json!({"id": "u", "size_limit": 1_000_000});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    let reply = server.post("/v1/p/uploads", &body).await;
    assert_eq!(
        (reply.status, reply.header("location")),
        (201, Some("/v1/p/uploads/u")),
        "{reply:?}"
    );
}

async fn put(server: &Server, bytes: &[u8]) -> Reply {
    server.send("PUT /v1/p/uploads/u/payload HTTP/1.1", bytes).await
}

async fn completed(server: &Server, bytes: &[u8]) {
    assert_eq!(put(server, bytes).await.status, 200);
    let reply = server.post("/v1/p/uploads/u/complete", &json!({})).await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

fn blobs(server: &Server) -> usize {
    server.blobs.list(None, 1_000).unwrap().len()
}

fn pattern(count: usize) -> Vec<u8> {
    (0..=250).cycle().take(count).collect()
}

#[tokio::test]
async fn bytes_go_in_and_come_out_as_they_were() {
    let server = Server::start().await;
    created(&server, json!({"max_downloads": 2})).await;
    let bytes = pattern(700_001);
    let reply = put(&server, &bytes).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let upload = &reply.json()["upload"];
    assert_eq!((&upload["size"], &upload["generation"]), (&json!(700_001), &json!(1)));
    assert_eq!(upload["sha256"], format!("{:x}", Hex(&Sha256::digest(&bytes))));
    let early = server.get("/v1/p/uploads/u/payload").await;
    assert_eq!(early.refusal(), (409, "upload_pending".to_owned()));
    let reply = server.post("/v1/p/uploads/u/complete", &json!({"generation": 1})).await;
    assert_eq!(reply.json()["upload"]["status"], "completed");
    let reply = server.get("/v1/p/uploads/u/payload").await;
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (200, Some("application/octet-stream"))
    );
    assert_eq!(reply.header("content-length"), Some("700001"));
    assert!(reply.bytes == bytes);
    let digest = format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(&bytes)));
    assert_eq!(reply.header("repr-digest"), Some(digest.as_str()));
    assert_eq!(server.get("/v1/p/uploads/u/payload").await.status, 200);
    let over = server.get("/v1/p/uploads/u/payload").await;
    assert_eq!(over.refusal(), (410, "downloads_exhausted".to_owned()));
}

struct Hex<'a>(&'a [u8]);

impl std::fmt::LowerHex for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[tokio::test]
async fn ranges_under_one_key_are_one_download() {
    let server = Server::start().await;
    created(&server, json!({"max_downloads": 1})).await;
    let bytes = pattern(200_000);
    completed(&server, &bytes).await;
    let get = async |range: &str| {
        let head =
            format!("GET /v1/p/uploads/u/payload HTTP/1.1\r\nIdempotency-Key: d\r\nRange: {range}");
        server.send(&head, b"").await
    };
    let first = get("bytes=0-99999").await;
    assert_eq!((first.status, first.header("content-range")), (206, Some("bytes 0-99999/200000")));
    let rest = get("bytes=100000-").await;
    assert_eq!((rest.status, rest.header("idempotent-replayed")), (206, Some("true")));
    assert!([first.bytes, rest.bytes].concat() == bytes);
    let beyond = get("bytes=200000-").await;
    assert_eq!(beyond.refusal(), (416, "range_not_satisfiable".to_owned()));
    assert_eq!(beyond.header("content-range"), Some("bytes */200000"));
    let read = server.get("/v1/p/uploads/u").await.json();
    assert_eq!(read["upload"]["downloads"], 1);
    assert_eq!(server.get("/v1/p/uploads/u/payload").await.refusal().0, 410);
}

#[tokio::test]
async fn too_many_bytes_are_refused_before_and_while_they_come() {
    let server = Server::start().await;
    created(&server, json!({"size_limit": 100})).await;
    let declared = "PUT /v1/p/uploads/u/payload HTTP/1.1\r\nContent-Length: 101";
    let reply = server.send(declared, b"").await;
    assert_eq!(reply.refusal(), (409, "payload_too_large".to_owned()));
    assert_eq!(reply.json()["data"]["limit"], 100);
    let chunked = "PUT /v1/p/uploads/u/payload HTTP/1.1\r\nTransfer-Encoding: chunked";
    let bytes = format!("65\r\n{}\r\n0\r\n\r\n", "x".repeat(101));
    let reply = server.send(chunked, bytes.as_bytes()).await;
    assert_eq!(reply.refusal(), (409, "payload_too_large".to_owned()));
    assert_eq!(blobs(&server), 0);
    assert_eq!(put(&server, &pattern(100)).await.status, 200);
    assert_eq!(blobs(&server), 1);
}

#[tokio::test]
async fn a_refusal_is_read_also_by_who_sends_on() {
    let server = Server::start().await;
    created(&server, json!({"size_limit": 100})).await;
    for head in ["", "\r\nContent-Type: application/json"] {
        let head = format!("PUT /v1/p/uploads/u/payload HTTP/1.1{head}");
        let reply = server.send(&head, &vec![b' '; 16 << 20]).await;
        assert!([409, 413].contains(&reply.status), "{reply:?}");
        assert_eq!(reply.header("connection"), Some("close"));
    }
    assert_eq!(blobs(&server), 0);
}

#[tokio::test]
async fn the_largest_payload_is_a_setting() {
    let mut config = quiet();
    config.uploads.payload_max = Size::bytes(50);
    let server = Server::with(config, memory()).await;
    let body = json!({"id": "u", "size_limit": 51});
    let reply = server.post("/v1/p/uploads", &body).await;
    assert_eq!(reply.refusal(), (409, "payload_too_large".to_owned()));
    let body = json!({"id": "u", "size_limit": 50, "payload_max": 60});
    let reply = server.post("/v1/p/uploads", &body).await;
    assert_eq!(reply.field(), ("invalid_request".to_owned(), "payload_max".to_owned()));
    created(&server, json!({"size_limit": 50})).await;
    let declared = "PUT /v1/p/uploads/u/payload HTTP/1.1\r\nContent-Length: 51";
    assert_eq!(server.send(declared, b"").await.refusal().0, 413);
    assert_eq!(put(&server, &pattern(50)).await.status, 200);
}

#[tokio::test]
async fn a_cut_stream_leaves_nothing() {
    let server = Server::start().await;
    created(&server, json!({})).await;
    let before = server.state("p").await;
    let head =
        "PUT /v1/p/uploads/u/payload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n";
    let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[7; 500]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(!rest.starts_with(b"HTTP/1.1 200"));
    assert_eq!(blobs(&server), 0);
    assert_eq!(server.state("p").await, before);
}

#[tokio::test]
async fn a_digest_that_differs_publishes_nothing() {
    let server = Server::start().await;
    created(&server, json!({})).await;
    let digest = |bytes: &[u8]| STANDARD.encode(Sha256::digest(bytes));
    let head = |field: &str, digest: &str| {
        format!("PUT /v1/p/uploads/u/payload HTTP/1.1\r\n{field}: sha-256=:{digest}:")
    };
    let before = server.state("p").await;
    for field in ["Content-Digest", "Repr-Digest"] {
        let reply = server.send(&head(field, &digest(b"other")), b"bytes").await;
        assert_eq!(reply.refusal(), (400, "digest_mismatch".to_owned()));
    }
    let reply = server.send(&head("Content-Digest", "!"), b"bytes").await;
    assert_eq!(reply.refusal(), (400, "invalid_request".to_owned()));
    assert_eq!((server.state("p").await, blobs(&server)), (before, 0));
    assert_eq!(server.send(&head("Content-Digest", &digest(b"bytes")), b"bytes").await.status, 200);
}

#[tokio::test]
async fn a_payload_may_come_as_base64_in_json() {
    let server = Server::start().await;
    created(&server, json!({"owner": "o"})).await;
    let path = "/v1/p/uploads/u/payload";
    let body = json!({"payload": STANDARD.encode(b"bytes"), "owner": "o"});
    let reply = server.call("PUT", path, &body).await;
    assert_eq!((reply.status, &reply.json()["upload"]["size"]), (200, &json!(5)));
    for (body, field) in [
        (json!({}), "payload"),
        (json!({"payload": 1}), "payload"),
        (json!({"payload": "a"}), "payload"),
        (json!({"payload": "", "name": "x"}), "name"),
    ] {
        assert_eq!(server.call("PUT", path, &body).await.field().1, field, "{body}");
    }
    let other = server.send("PUT /v1/p/uploads/u/payload?owner=x HTTP/1.1", b"bytes").await;
    assert_eq!(other.refusal(), (403, "not_owner".to_owned()));
    let own = server.send("PUT /v1/p/uploads/u/payload?owner=o HTTP/1.1", b"more").await;
    assert_eq!(own.json()["upload"]["generation"], 2);
}

#[tokio::test]
async fn a_retried_publish_is_told_again_and_leaves_one_blob() {
    let server = Server::start().await;
    created(&server, json!({})).await;
    let head = "PUT /v1/p/uploads/u/payload HTTP/1.1\r\nIdempotency-Key: k";
    let first = server.send(head, b"bytes").await;
    assert_eq!(first.status, 200);
    let again = server.send(head, b"bytes").await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (200, Some("true")));
    assert_eq!(again.json()["upload"], first.json()["upload"]);
    assert_eq!(server.send(head, b"other").await.refusal().0, 422);
    assert_eq!(blobs(&server), 1);
    assert_eq!(server.post("/v1/p/uploads/u/complete", &json!({})).await.status, 200);
    let late = server.send(head, b"bytes").await;
    assert_eq!((late.status, &late.json()["replayed"]), (200, &json!(true)), "also when over");
    let other = put(&server, b"bytes").await;
    assert_eq!(other.refusal(), (409, "upload_completed".to_owned()));
    assert!(other.json().get("dry_run").is_none(), "it was meant: {:?}", other.json());
    assert_eq!(blobs(&server), 1);
}

#[tokio::test]
async fn a_missing_or_altered_payload_is_an_error_and_the_grant_stays() {
    let server = Server::start().await;
    created(&server, json!({})).await;
    completed(&server, b"bytes").await;
    let name = server.blobs.list(None, 1).unwrap()[0].name.clone();
    server.blobs.remove(&name).unwrap();
    let reply = server.get("/v1/p/uploads/u/payload").await;
    assert_eq!(reply.refusal(), (500, "payload_unavailable".to_owned()));
    let mut writer = server.blobs.create(&name).unwrap();
    writer.write(b"BYTES").unwrap();
    writer.finish().unwrap();
    let key = "GET /v1/p/uploads/u/payload HTTP/1.1\r\nIdempotency-Key: d";
    assert_eq!(server.send(key, b"").await.refusal().0, 500);
    server.blobs.remove(&name).unwrap();
    let mut writer = server.blobs.create(&name).unwrap();
    writer.write(b"bytes").unwrap();
    writer.finish().unwrap();
    assert_eq!(server.send(key, b"").await.bytes, b"bytes");
}

#[tokio::test]
async fn a_delete_needs_its_secret_in_a_header() {
    let server = Server::start().await;
    created(&server, json!({"delete_secret": "a secret of many bits"})).await;
    let delete = async |secret: &str| {
        server.send(&format!("DELETE /v1/p/uploads/u HTTP/1.1{secret}"), b"").await
    };
    assert_eq!(delete("").await.refusal(), (400, "invalid_request".to_owned()));
    let wrong = delete("\r\nBellpunch-Secret: guess").await;
    assert_eq!(wrong.refusal(), (403, "delete_denied".to_owned()));
    let right = "\r\nBellpunch-Secret: a secret of many bits";
    let reply = delete(right).await;
    assert_eq!((reply.status, &reply.json()["upload"]["status"]), (200, &json!("deleted")));
    assert_eq!(delete(right).await.json()["changed"], false);
    let stored = server.state("p").await;
    assert!(!stored.is_empty());
}

#[tokio::test]
async fn a_dry_publish_reads_no_body_and_reserves_nothing() {
    let server = Server::start().await;
    created(&server, json!({})).await;
    let before = server.state("p").await;
    let head = "PUT /v1/p/uploads/u/payload?dry_run=true HTTP/1.1";
    let reply = server.send(head, b"bytes").await;
    assert_eq!((reply.status, &reply.json()["dry_run"]), (200, &json!(true)));
    let none = server.send("PUT /v1/p/uploads/none/payload HTTP/1.1", b"bytes").await;
    assert_eq!(none.refusal(), (404, "upload_not_found".to_owned()));
    assert_eq!((server.state("p").await, blobs(&server)), (before, 0));
}

#[tokio::test]
async fn a_door_only_command_has_no_place_in_a_list() {
    let server = Server::start().await;
    for name in ["uploads.publish", "uploads.download"] {
        let list = json!({"commands": [{"command": name, "id": "u"}]});
        let reply = server.post("/v1/p/commands", &list).await;
        assert_eq!(reply.field().1, "commands[0].command");
    }
}
