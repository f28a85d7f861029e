//! A receiver that answers what a test says, when it says so.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::header::LOCATION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

type Answer = Response<Empty<Bytes>>;

/// A request that waits for its answer. Dropped, its connection breaks off.
#[derive(Debug)]
pub(super) struct Told {
    headers: HeaderMap,
    pub(super) bytes: Vec<u8>,
    answer: oneshot::Sender<Answer>,
}

impl Told {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap().to_str().unwrap()
    }

    pub(super) fn body(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap()
    }

    pub(super) fn answer(self, status: u16) {
        // Who asked may have gone.
        let _ = self.answer.send(Response::builder().status(status).body(Empty::new()).unwrap());
    }

    pub(super) fn redirect(self, to: &str) {
        let answer = Response::builder().status(307).header(LOCATION, to);
        let _ = self.answer.send(answer.body(Empty::new()).unwrap());
    }
}

/// Where a receiver will be.
pub(super) struct Place(SocketAddr);

impl Place {
    pub(super) fn url(&self) -> String {
        format!("http://{}/bell", self.0)
    }

    pub(super) async fn open(self) -> Receiver {
        let listener = TcpListener::bind(self.0).await.unwrap();
        Receiver::on(listener, None, self.url())
    }
}

#[derive(Debug)]
pub(super) struct Receiver {
    url: String,
    requests: mpsc::Receiver<Told>,
}

async fn take(
    request: Request<Incoming>,
    tells: mpsc::Sender<Told>,
) -> Result<Answer, oneshot::error::RecvError> {
    let (head, body) = request.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes().to_vec();
    let (answer, answered) = oneshot::channel();
    // The test may be over.
    let _ = tells.send(Told { headers: head.headers, bytes, answer }).await;
    answered.await
}

async fn connected(stream: impl AsyncRead + AsyncWrite + Unpin, tells: mpsc::Sender<Told>) {
    let service = service_fn(move |request| take(request, tells.clone()));
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

impl Receiver {
    /// An address that nobody listens on.
    pub(super) async fn place() -> Place {
        Place(TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap())
    }

    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/bell", listener.local_addr().unwrap());
        Self::on(listener, None, url)
    }

    fn on(listener: TcpListener, tls: Option<TlsAcceptor>, url: String) -> Self {
        let (tells, requests) = mpsc::channel(64);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (tls, tells) = (tls.clone(), tells.clone());
                tokio::spawn(async move {
                    match tls {
                        None => connected(stream, tells).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                connected(stream, tells).await;
                            }
                        }
                    }
                    Ok::<(), Infallible>(())
                });
            }
        });
        Self { url, requests }
    }

    /// A receiver over TLS called `localhost`, and the certificate that signs it.
    pub(super) async fn over_tls(folder: &Path) -> (Vec<u8>, Self) {
        let (key, certificate) = (folder.join("key.pem"), folder.join("certificate.pem"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .expect("openssl is there, as for the tests of the stores");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let pem = std::fs::read_to_string(&certificate).unwrap();
        let certificates = vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_file(&key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/bell", listener.local_addr().unwrap().port());
        let tls = TlsAcceptor::from(Arc::new(config));
        (pem.into_bytes(), Self::on(listener, Some(tls), url))
    }

    pub(super) fn url(&self) -> String {
        self.url.clone()
    }

    pub(super) async fn next(&mut self) -> Told {
        self.requests.recv().await.unwrap()
    }

    /// Whether nobody has asked.
    pub(super) fn none(&mut self) -> bool {
        self.requests.try_recv().is_err()
    }
}
