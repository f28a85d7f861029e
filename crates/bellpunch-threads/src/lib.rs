//! The engine of `bellpunch`, compiled from the same files over a scheduler that is searched.
//!
//! Invariant: nothing of the engine is written here; all that differs is [`runtime`]. Why a crate
//! and not a feature of `bellpunch`: cargo unites the features of all that is built together, so a
//! test of the workspace would put the searched runtime under the real binary.

// The files are formatted, and their own tests run, where they belong.
#![cfg(not(test))]

#[rustfmt::skip]
#[path = "../../bellpunch/src/api.rs"]
mod api;
#[rustfmt::skip]
#[path = "../../bellpunch/src/driver.rs"]
mod driver;
#[rustfmt::skip]
#[path = "../../bellpunch/src/engine.rs"]
mod engine;
#[rustfmt::skip]
#[path = "../../bellpunch/src/executor/mod.rs"]
pub mod executor;
pub mod runtime;
#[rustfmt::skip]
#[path = "../../bellpunch/src/sweep.rs"]
mod sweep;

pub use api::{
    AnyOutcome, AnyReceipt, BATCH_COMMANDS, COMMIT_MICROS, CallOptions, EngineConfig, EngineStats,
    Error, ErrorKind, Histogram, Outcome, Receipt, Refusal,
};
pub use bellpunch_core::*;
pub use bellpunch_store as store;
pub use engine::{Engine, fingerprint};
