//! What every route has in common.

use serde_json::json;

use crate::client::{Server, quiet};

#[tokio::test]
async fn every_answer_has_its_frame() {
    let server = Server::start().await;
    for path in ["/health/live", "/health/ready", "/metrics", "/openapi.json", "/nothing"] {
        let reply = server.get(path).await;
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(reply.header("request-id").map(str::len), Some(32), "{path}");
    }
}

#[tokio::test]
async fn routing_errors_are_problems() {
    let server = Server::start().await;
    let reply = server.get("/nothing").await;
    assert_eq!(reply.refusal(), (404, "not_found".to_owned()));
    assert_eq!(reply.json()["type"], "/problems/not_found");
    assert_eq!(reply.json()["request_id"], reply.header("request-id").unwrap());
    let reply = server.send("DELETE /health/live HTTP/1.1", b"").await;
    assert_eq!(reply.refusal(), (405, "method_not_allowed".to_owned()));
    assert_eq!(reply.header("allow"), Some("GET"));
    let reply = server.get("/v1/p/journal").await;
    assert_eq!(reply.refusal(), (404, "not_journaled".to_owned()));
    let reply = server.get("/v1/_keys/tickets/t").await;
    assert_eq!(reply.refusal(), (404, "not_found".to_owned()));
}

#[tokio::test]
async fn a_code_has_a_page() {
    let server = Server::start().await;
    for code in ["outcome_unknown", "ticket_not_found"] {
        let reply = server.get(&format!("/problems/{code}")).await;
        assert_eq!(reply.status, 200);
        assert!(String::from_utf8(reply.bytes).unwrap().contains(code));
    }
    assert_eq!(server.get("/problems/none_such").await.status, 404);
}

#[tokio::test]
async fn a_web_page_cannot_reach_loopback_under_its_own_name() {
    let mut config = quiet();
    config.http.hosts = vec!["bell.example".to_owned()];
    let server = Server::with(config, crate::client::memory()).await;
    let status = async |host: &str| {
        server.send(&format!("GET /health/live HTTP/1.1\r\nHost: {host}"), b"").await.status
    };
    for host in ["localhost", "127.0.0.1:7117", "[::1]:80", "LOCALHOST", "bell.example:7117"] {
        assert_eq!(status(host).await, 200, "{host}");
    }
    for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", ""] {
        assert_eq!(status(host).await, 403, "{host}");
    }
}

#[tokio::test]
async fn names_in_a_path_are_checked() {
    let server = Server::start().await;
    let long = "x".repeat(129);
    for (path, field) in [
        ("/v1//tickets/t", "partition"),
        ("/v1/a%00b/tickets/t", "partition"),
        (&format!("/v1/{long}/tickets/t"), "partition"),
        ("/v1/p/tickets/%0a", "id"),
        ("/v1/p/tickets/", "id"),
        ("/v1/p/tickets/%c3%28", "id"),
    ] {
        let reply = server.get(path).await;
        assert_eq!(reply.status, 400, "{path}");
        assert_eq!(reply.field(), ("name_invalid".to_owned(), field.to_owned()), "{path}");
    }
}

#[tokio::test]
async fn maxima_hold_before_memory_is_taken() {
    let server = Server::start().await;
    let target = format!("GET /health/live?{} HTTP/1.1", "x".repeat(8 << 10));
    assert_eq!(server.send(&target, b"").await.refusal().0, 414);
    let wide = format!("GET /health/live HTTP/1.1\r\nX: {}", "x".repeat(17 << 10));
    assert_eq!(server.send(&wide, b"").await.refusal().0, 431);
    let many = "\r\nX: y".repeat(65);
    assert_eq!(server.send(&format!("GET /health/live HTTP/1.1{many}"), b"").await.status, 431);
    // A declared length is refused before a byte of it is sent.
    let head = "POST /v1/p/tickets HTTP/1.1\r\nContent-Type: application/json";
    let declared = format!("{head}\r\nContent-Length: 65537");
    let reply = server.send(&declared, b"").await;
    assert_eq!(reply.refusal(), (413, "body_too_large".to_owned()));
    // One that grows is refused when it has grown.
    let chunk = format!("10001\r\n{}\r\n0\r\n\r\n", " ".repeat(65_537));
    let chunked = format!("{head}\r\nTransfer-Encoding: chunked");
    assert_eq!(server.send(&chunked, chunk.as_bytes()).await.refusal().0, 413);
    let full = " ".repeat(65_536);
    assert_eq!(server.send(head, full.as_bytes()).await.refusal().0, 400);
}

#[tokio::test]
async fn a_body_is_json_and_the_answer_says_how() {
    let server = Server::start().await;
    for kind in
        ["", "\r\nContent-Type: text/plain", "\r\nContent-Type: application/x-www-form-urlencoded"]
    {
        let reply = server.send(&format!("POST /v1/p/tickets HTTP/1.1{kind}"), b"{}").await;
        assert_eq!(reply.refusal(), (415, "unsupported_media_type".to_owned()));
        assert!(reply.json()["detail"].as_str().unwrap().contains("curl --json"));
    }
    let kind = "POST /v1/p/tickets HTTP/1.1\r\nContent-Type: Application/JSON; charset=utf-8";
    assert_eq!(server.send(kind, b"{}").await.refusal().0, 400);
}

#[tokio::test]
async fn speaks_http_2_by_prior_knowledge() {
    use http_body_util::{BodyExt as _, Empty};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let server = Server::start().await;
    let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = hyper::Request::get("http://localhost/v1/p/tickets/none")
        .body(Empty::<bytes::Bytes>::new())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 404);
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let problem: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(problem["code"], "ticket_not_found");
}

#[tokio::test]
async fn partitions_are_listed_in_pages() {
    let server = Server::start().await;
    for partition in ["a", "b", "c"] {
        let body = json!({"code": "XXX", "scale": 2});
        let path = format!("/v1/{partition}/currencies/define");
        let key = [("Idempotency-Key", "k")];
        let reply = server.with_headers(("POST", &path), &key, &body).await;
        assert_eq!(reply.status, 201, "{reply:?}");
    }
    let page = server.get("/v1/partitions?limit=2").await.json();
    assert_eq!(page["partitions"], json!(["a", "b"]));
    let next = page["next"].as_str().unwrap();
    let page = server.get(&format!("/v1/partitions?limit=2&after={next}")).await.json();
    assert_eq!((&page["partitions"], &page["next"]), (&json!(["c"]), &json!(null)));
    for wrong in ["limit=0", "limit=1001", "limit=x", "after=!", "what=1", "limit=1&limit=1"] {
        assert_eq!(server.get(&format!("/v1/partitions?{wrong}")).await.status, 400, "{wrong}");
    }
}
