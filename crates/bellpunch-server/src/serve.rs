//! The listener: takes connections, and stops without dropping what was taken.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bellpunch::store::BlobStore;
use bellpunch::{CommandSpec, Engine};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::app::App;
use crate::config::{Config, LogLevel};
use crate::webhook::{self, Webhook, WebhookError};
use crate::{audit, connection, sweep};

/// How long to wait after a connection could not be taken.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

/// What the doors work with.
#[derive(Debug)]
pub struct Components {
    /// Takes the commands.
    pub engine: Engine,
    /// Keeps the payloads.
    pub blobs: Arc<dyn BlobStore>,
    /// Where connections come from.
    pub listener: TcpListener,
    /// Who is told of what the journals say.
    pub webhooks: Vec<Webhook>,
}

/// Why a door does not open, or had to close.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// The listener does not work.
    Listener(std::io::Error),
    /// It would be open to everybody: outside loopback, without keys or without TLS.
    Unsafe(String),
    /// The webhooks cannot be told apart.
    Webhooks(WebhookError),
    /// Accepted requests did not finish within `drain.timeout`.
    DrainTimedOut,
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener(cause) => write!(f, "the HTTP door cannot listen: {cause}"),
            Self::Unsafe(cause) => f.write_str(cause),
            Self::Webhooks(cause) => cause.fmt(f),
            Self::DrainTimedOut => {
                f.write_str("accepted requests did not finish within drain.timeout")
            }
        }
    }
}

impl std::error::Error for ServeError {}

/// Answers HTTP on the listener until `stop` is done; then finishes what was accepted, at most for
/// `drain.timeout`.
///
/// # Errors
/// If the listener is unsafe or broken, or what was accepted did not finish in time.
pub async fn serve(
    config: Config,
    components: Components,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let commands: Vec<&'static CommandSpec> = bellpunch::commands().collect();
    let Components { engine, blobs, listener, webhooks } = components;
    Webhook::check_all(&webhooks).map_err(ServeError::Webhooks)?;
    let mut app = App::new(engine, blobs, config, &commands);
    let address = listener.local_addr().map_err(ServeError::Listener)?;
    app.loopback = address.ip().is_loopback();
    bind_allowed(&app, address)?;
    let fields = [("address", address.to_string())];
    app.log.event(LogLevel::Info, "the HTTP door is open", &fields);
    run(Arc::new(app), (listener, webhooks), stop).await
}

/// A listener outside loopback is open to everybody who can reach it.
fn bind_allowed(app: &App, address: SocketAddr) -> Result<(), ServeError> {
    if app.loopback {
        return Ok(());
    }
    let security = &app.config.security;
    if !security.allow_anonymous {
        return Err(ServeError::Unsafe(format!(
            "http.listen = {address} is outside loopback, and this release has no API keys: \
             everybody who reaches it may do everything. Listen on 127.0.0.1, or set \
             security.allow_anonymous = true behind a proxy that authenticates"
        )));
    }
    if !security.allow_plaintext {
        return Err(ServeError::Unsafe(format!(
            "http.listen = {address} is outside loopback, and this release does not speak TLS. \
             Listen on 127.0.0.1, or set security.allow_plaintext = true behind a proxy that \
             ends TLS"
        )));
    }
    app.metrics.insecure_override.store(1, Ordering::Relaxed);
    let fields = [("address", address.to_string())];
    app.log.event(LogLevel::Warn, "listening outside loopback without keys and TLS", &fields);
    Ok(())
}

async fn run(
    app: Arc<App>,
    (listener, webhooks): (TcpListener, Vec<Webhook>),
    stop: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let slots = Arc::new(Semaphore::new(app.config.http.connections_max));
    // Each connection holds a receiver: when all are gone, all are closed.
    let (draining, _) = watch::channel(false);
    let accept = async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                        app.metrics.connections_refused.fetch_add(1, Ordering::Relaxed);
                        continue;
                    };
                    let (app, draining) = (Arc::clone(&app), draining.subscribe());
                    tokio::spawn(async move {
                        connection::drive(app, stream, draining).await;
                        drop(slot);
                    });
                }
                // Out of file descriptors, or the peer went: the next one may do.
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    };
    let finish = async {
        stop.await;
        app.draining.store(true, Ordering::Release);
        app.log.event(LogLevel::Info, "draining", &[]);
        let patience = app.config.drain.timeout.get();
        let finish = async {
            // A message that was taken is not sent again if its cursor moves in time.
            let mut sending = app.sending.subscribe();
            let sent = sending.wait_for(|count| *count == 0);
            let half = patience.checked_div(2).unwrap_or_default();
            let _ = tokio::time::timeout(half, sent).await;
            app.engine.drain().await;
            let _ = app.accepted.subscribe().wait_for(|count| *count == 0).await;
            // Connections close when what they carry is answered.
            let _ = draining.send(true);
            draining.closed().await;
        };
        tokio::time::timeout(patience, finish).await
    };
    // New requests are still taken while draining: they are told to go elsewhere.
    tokio::select! {
        finished = finish => match finished {
            Ok(()) => {
                app.log.event(LogLevel::Info, "stopped", &[]);
                Ok(())
            }
            Err(_) => Err(ServeError::DrainTimedOut),
        },
        () = accept => Ok(()),
        () = sweep::run(&app) => Ok(()),
        () = audit::run(&app) => Ok(()),
        () = webhook::run(&app, webhooks) => Ok(()),
    }
}
