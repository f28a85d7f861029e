//! A small HTTP client: one connection, one request at a time.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

#[derive(Debug)]
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

/// The request was cut: nobody knows.
#[derive(Debug)]
pub(crate) struct Cut;

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self, Cut> {
        let stream = TcpStream::connect(address).await.map_err(|_| Cut)?;
        stream.set_nodelay(true).map_err(|_| Cut)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|_| Cut)?;
        tokio::spawn(connection);
        Ok(Self { sender, host: address.to_string() })
    }

    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        (key, body): (Option<&str>, Value),
    ) -> Result<(u16, Value), Cut> {
        let mut request =
            Request::builder().method(&method).uri(path).header("host", self.host.as_str());
        if method != Method::GET {
            request = request.header("content-type", "application/json");
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let bytes = if body.is_null() { Vec::new() } else { serde_json::to_vec(&body).unwrap() };
        let request = request.body(Full::new(Bytes::from(bytes))).unwrap();
        self.sender.ready().await.map_err(|_| Cut)?;
        let response = self.sender.send_request(request).await.map_err(|_| Cut)?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(|_| Cut)?.to_bytes();
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    pub(crate) async fn post(&mut self, path: &str, body: Value) -> (u16, Value) {
        self.send(Method::POST, path, (None, body)).await.unwrap()
    }

    pub(crate) async fn get(&mut self, path: &str) -> (u16, Value) {
        self.send(Method::GET, path, (None, Value::Null)).await.unwrap()
    }
}
