//! What the engine needs of a runtime: tasks, channels, timers, locks.
//!
//! Invariant: no other module of the engine names tokio (`arch.one_runtime`). So driver, engine and
//! sweeper are compiled a second time, unchanged, over a scheduler that searches their
//! interleavings: `bellpunch-threads` includes the same files beside a `runtime` of its own.
//!
//! Why a module and not a trait: nothing is chosen at run time, nothing is generic, and this build
//! is what it would be without it.

pub(crate) use std::sync::{Mutex, MutexGuard};

pub(crate) use tokio::sync::{mpsc, oneshot};
pub(crate) use tokio::task::yield_now;
pub(crate) use tokio::time::{Instant, sleep, timeout};
pub(crate) use tokio::{select, spawn};
