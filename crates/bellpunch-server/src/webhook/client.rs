//! One sending over HTTP: what was sent, and what the receiver said.
//!
//! Invariant: only a 2xx of the receiver that was named counts. Its certificate and name are
//! verified, always; nothing is followed elsewhere, and no proxy of the environment is asked. A
//! redirect would take what is signed for one place to another one of somebody else's choice.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::message::{Message, Secrets, timestamp};

/// Of what a receiver answers, so much is read that its connection can be used again.
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// How long the rest of an answer is waited for.
const REST: Duration = Duration::from_secs(1);
/// How long a connection may be idle before another one is made.
const IDLE: Duration = Duration::from_secs(30);
/// Idle connections that are kept.
const IDLE_MAX: usize = 4;

/// Why a sending was not a delivery.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Failed {
    /// The receiver said anything but 2xx or 3xx.
    Refused,
    /// It named another place.
    Redirected,
    /// It said nothing in time.
    TimedOut,
    /// It cannot be reached, or is not who it should be.
    Unreachable,
    /// It took the message, and the store did not take the cursor: it will be sent again.
    NotRecorded,
}

impl Failed {
    /// As a label of metrics, and in log lines.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Redirected => "redirected",
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
            Self::NotRecorded => "not_recorded",
        }
    }
}

/// A sending that was not a delivery, and what is known of it.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) failed: Failed,
    pub(super) detail: String,
    /// How long the receiver asks to be left alone.
    pub(super) wait: Option<Duration>,
}

/// Sends to one place.
pub(super) struct Sender {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: Uri,
    timeout: Duration,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").field("host", &self.url.host()).finish_non_exhaustive()
    }
}

/// The roots of trust: those in `pem`, or the system's.
fn roots(pem: Option<&[u8]>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let wrong = |cause: &dyn std::fmt::Display| format!("root_certificates: {cause}");
    match pem {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|cause| wrong(&cause))?;
                roots.add(certificate).map_err(|cause| wrong(&cause))?;
            }
            if roots.is_empty() {
                return Err(wrong(&"there is no certificate in it"));
            }
        }
        None => {
            // Without any, only what is sent over TLS fails, and says so.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}

impl Sender {
    pub(super) fn new(url: Uri, timeout: Duration, pem: Option<&[u8]>) -> Result<Self, String> {
        // Named, because a process may have several providers.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|cause| cause.to_string())?
            .with_root_certificates(roots(pem)?)
            .with_no_client_auth();
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_MAX)
            .build(connector);
        Ok(Self { client, url, timeout })
    }

    /// Sends a message once.
    pub(super) async fn send(
        &self,
        message: &Message,
        (secrets, now): (&Secrets, bellpunch::Timestamp),
    ) -> Result<(), Failure> {
        let failure = |failed, detail: String| Failure { failed, detail, wait: None };
        let timestamp = timestamp(now);
        let request = Request::post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("bellpunch/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", &timestamp)
            .header("webhook-signature", secrets.sign(message, &timestamp))
            .body(Full::new(message.body.clone()))
            .expect("all of it is ASCII");
        let told = tokio::time::timeout(self.timeout, self.client.request(request));
        let (head, body) = match told.await {
            Ok(Ok(answer)) => answer.into_parts(),
            Ok(Err(error)) => return Err(failure(Failed::Unreachable, causes(&error))),
            Err(_) => {
                let patience = self.timeout.as_millis();
                return Err(failure(Failed::TimedOut, format!("no answer within {patience} ms")));
            }
        };
        // What else it says does not matter, only that its connection is free again.
        let rest = Limited::new(body, ANSWER_BYTES_MAX).collect();
        let _ = tokio::time::timeout(REST, rest).await;
        let status = head.status;
        if status.is_success() {
            return Ok(());
        }
        let failed = if status.is_redirection() { Failed::Redirected } else { Failed::Refused };
        let wait = head.headers.get(RETRY_AFTER).and_then(|wait| wait.to_str().ok()?.parse().ok());
        let wait = wait.map(Duration::from_secs);
        Err(Failure { failed, detail: format!("status {}", status.as_u16()), wait })
    }
}

/// An error and what is behind it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
