//! A small HTTP client: one connection, one request at a time.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

pub(crate) type Fault = Box<dyn Error + Send + Sync>;

/// Keys that were given so far.
static KEYS: AtomicU64 = AtomicU64::new(0);

/// A warm connection to one server.
#[derive(Debug)]
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self, Fault> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, host: address.to_string() })
    }

    /// Sends a request with a JSON body, and gives status and body.
    pub(crate) async fn json(
        &mut self,
        method: Method,
        path: &str,
        body: Value,
    ) -> Result<(u16, Value), Fault> {
        let body = Bytes::from(serde_json::to_vec(&body)?);
        let (status, body) = self.send(method, path, ("application/json", body)).await?;
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    pub(crate) async fn post(&mut self, path: &str, body: Value) -> Result<(u16, Value), Fault> {
        self.json(Method::POST, path, body).await
    }

    /// Sends any bytes.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        (content_type, body): (&str, Bytes),
    ) -> Result<(u16, Bytes), Fault> {
        let mut request = Request::builder().method(&method).uri(path).header("host", &self.host);
        if path.starts_with("/v1/book/") {
            // Where money moves, each call names its intent.
            let key = KEYS.fetch_add(1, Ordering::Relaxed);
            request = request.header("idempotency-key", format!("race-{key}"));
        }
        if method != Method::GET {
            request = request.header("content-type", content_type);
        }
        self.sender.ready().await?;
        let response = self.sender.send_request(request.body(Full::new(body))?).await?;
        let status = response.status().as_u16();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }
}

/// As many warm connections as asked for.
pub(crate) async fn connect(address: SocketAddr, count: usize) -> Result<Vec<Client>, Fault> {
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        clients.push(Client::connect(address).await?);
    }
    Ok(clients)
}
