//! The doors of Bellpunch, as a library: [`serve`] answers HTTP on a listener until it is told to
//! stop.
//!
//! Invariant: a door decides nothing. It turns bytes into commands, sends them to the engine, and
//! tells what came of them; every rule, limit and state lives behind [`bellpunch::Engine`]. All
//! maxima are tested before memory is taken for what exceeds them.
//!
//! Why hyper driven directly: slow clients are ended by timers that a framework does not have.
//!
//! ```
//! # use std::sync::Arc;
//! use bellpunch::store::{MemoryBlobs, MemoryConfig, MemoryStore};
//! use bellpunch::{Engine, EngineConfig, SystemClock};
//! use bellpunch_server::{Components, Config, serve};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let clock = Arc::new(SystemClock::new());
//! let store = Arc::new(MemoryStore::new(clock.clone(), MemoryConfig::default()));
//! let engine = Engine::start(store, clock.clone(), EngineConfig::default());
//! let blobs = Arc::new(MemoryBlobs::new(clock, 1 << 20));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let stop = async {};
//! let webhooks = Vec::new();
//! let components = Components { engine, blobs, listener, webhooks };
//! serve(Config::default(), components, stop).await?;
//! # Ok(())
//! # })
//! # }
//! ```

mod app;
mod audit;
mod below;
mod blob;
mod call;
mod config;
mod connection;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod headers;
mod journal;
mod json;
mod list;
mod log;
mod metrics;
mod openapi;
mod payload;
mod problem;
mod reference;
mod reply;
mod reserved;
mod route;
mod schema;
mod secret;
mod serve;
mod sweep;
mod usage;
mod webhook;

pub use config::{
    AuditConfig, Config, DrainConfig, HttpConfig, IdempotencyConfig, JournalConfig, KeyRequired,
    LegacyRateLimit, LogConfig, LogFormat, LogLevel, Pause, SecurityConfig, Size, Span,
    UploadsConfig, WebhookConfig, WebhookStart,
};
pub use log::log;
pub use serve::{Components, ServeError, serve};
pub use webhook::{Webhook, WebhookError, WebhookFiles};
