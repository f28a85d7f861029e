//! A server in this process, and a client that can also say wrong things.

use std::net::SocketAddr;
use std::sync::Arc;

use bellpunch::store::{BlobStore, Clock, MemoryBlobs, MemoryConfig, MemoryStore, Store};
use bellpunch::{Engine, EngineConfig, SystemClock};
use bellpunch_server::{Components, Config, ServeError, Webhook, serve};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A running server. Stops when told, or with the test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) engine: Engine,
    pub(crate) blobs: Arc<dyn BlobStore>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), ServeError>>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new(Arc::new(SystemClock::new()), MemoryConfig::default()))
}

pub(crate) fn blobs() -> Arc<dyn BlobStore> {
    Arc::new(MemoryBlobs::new(Arc::new(SystemClock::new()), 256 << 20))
}

/// Settings that say nothing on stderr.
pub(crate) fn quiet() -> Config {
    let mut config = Config::default();
    config.log.level = bellpunch_server::LogLevel::Error;
    config
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(quiet(), memory()).await
    }

    pub(crate) async fn with(config: Config, store: Arc<dyn Store>) -> Self {
        Self::bounded(config, store, EngineConfig::default()).await
    }

    pub(crate) async fn bounded(
        config: Config,
        store: Arc<dyn Store>,
        bounds: EngineConfig,
    ) -> Self {
        Self::telling((config, Vec::new()), store, bounds).await
    }

    /// A server with webhooks.
    pub(crate) async fn telling(
        told: (Config, Vec<Webhook>),
        store: Arc<dyn Store>,
        bounds: EngineConfig,
    ) -> Self {
        Self::at(Arc::new(SystemClock::new()), told, store, bounds).await
    }

    /// A server whose time is that of this clock.
    pub(crate) async fn at(
        clock: Arc<dyn Clock>,
        (config, webhooks): (Config, Vec<Webhook>),
        store: Arc<dyn Store>,
        bounds: EngineConfig,
    ) -> Self {
        let engine = Engine::start(store, clock, bounds);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            let _ = stopped.await;
        };
        let blobs = blobs();
        let components =
            Components { engine: engine.clone(), blobs: Arc::clone(&blobs), listener, webhooks };
        let task = tokio::spawn(serve(config, components, stopped));
        Self { address, engine, blobs, stop: Some(stop), task }
    }

    pub(crate) fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    pub(crate) async fn stopped(self) -> Result<(), ServeError> {
        self.task.await.unwrap()
    }

    /// Sends bytes as they are and reads until the server closes.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The server may close before all is written.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answer
    }

    pub(crate) async fn send(&self, head: &str, body: &[u8]) -> Reply {
        let length = body.len();
        let mut request = format!("{head}\r\nConnection: close\r\n");
        if !head.to_ascii_lowercase().contains("\r\nhost:") {
            request.push_str("Host: localhost\r\n");
        }
        if !head.to_ascii_lowercase().contains("\r\ncontent-length:")
            && !head.to_ascii_lowercase().contains("\r\ntransfer-encoding:")
        {
            request.push_str(&format!("Content-Length: {length}\r\n"));
        }
        request.push_str("\r\n");
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        Reply::parse(&self.raw(&bytes).await)
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(&format!("GET {path} HTTP/1.1"), b"").await
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: &Value) -> Reply {
        self.with_headers((method, path), &[], body).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        self.call("POST", path, body).await
    }

    pub(crate) async fn with_headers(
        &self,
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Reply {
        let mut head = format!("{method} {path} HTTP/1.1\r\nContent-Type: application/json");
        for (name, value) in headers {
            head.push_str(&format!("\r\n{name}: {value}"));
        }
        self.send(&head, body.to_string().as_bytes()).await
    }

    /// The versions of all records of a partition: what changes when anything is charged.
    pub(crate) async fn state(&self, partition: &str) -> Vec<String> {
        let partition = bellpunch::Partition::new(partition).unwrap();
        let scan = bellpunch::store::Scan {
            kind: None,
            prefix: String::new(),
            after: None,
            due_by: None,
            show: bellpunch::store::Show::Records,
            limit: 10_000,
        };
        let page = self.engine.scan(&partition, &scan).await.unwrap();
        page.records.iter().map(|(key, record)| format!("{key}@{}", record.version)).collect()
    }
}

impl Reply {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no head: {:?}", String::from_utf8_lossy(bytes)));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<_> = lines
            .map(|line| line.split_once(": ").unwrap_or((line, "")))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut reply = Self { status, headers, bytes: bytes[end + 4..].to_vec() };
        if reply.header("transfer-encoding") == Some("chunked") {
            reply.bytes = unchunked(&reply.bytes);
        }
        reply
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|_| panic!("not JSON: {:?}", String::from_utf8_lossy(&self.bytes)))
    }

    /// Status and code of a refusal.
    pub(crate) fn refusal(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{problem}");
        (self.status, problem["code"].as_str().unwrap().to_owned())
    }

    /// The code of a refusal and the field it names.
    pub(crate) fn field(&self) -> (String, String) {
        let (_, code) = self.refusal();
        (code, self.json()["data"]["field"].as_str().unwrap_or_default().to_owned())
    }
}

fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&bytes[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        whole.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 2 + size + 2..];
    }
    whole
}
