//! Bellpunch checks, takes and records in one motion.
//!
//! Add this crate, pick a store, send commands:
//!
//! ```
//! # use std::sync::Arc;
//! use bellpunch::store::{MemoryConfig, MemoryStore};
//! use bellpunch::{Engine, EngineConfig, Partition, SystemClock};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let clock = Arc::new(SystemClock::new());
//! let store = Arc::new(MemoryStore::new(clock.clone(), MemoryConfig::default()));
//! let engine = Engine::start(store, clock, EngineConfig::default());
//! let acme = Partition::new("acme")?;
//! # let _ = (&engine, &acme);
//! engine.drain().await;
//! # Ok(())
//! # })
//! # }
//! ```

mod api;
mod clock;
mod driver;
mod engine;
pub mod executor;
mod runtime;
mod sweep;

pub use api::{
    AnyOutcome, AnyReceipt, BATCH_COMMANDS, COMMIT_MICROS, CallOptions, EngineConfig, EngineStats,
    Error, ErrorKind, Histogram, Outcome, Receipt, Refusal,
};
pub use bellpunch_core::*;
pub use bellpunch_store as store;
pub use clock::SystemClock;
pub use engine::{Engine, fingerprint};

/// The Rust of the README compiles and does what it says.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
