//! Hostile worlds in one loop: one thread, one seed, the production executor and rules.
//!
//! Nodes, clients, clocks, network, crashes and the store are simulated; what decides, batches,
//! retries and resolves is the code that runs in production. A [`case::Case`] says what happens to
//! a world from outside, [`run::run`] lets it happen, tests every promise while it does, and hands
//! what clients saw to the checkers.
//!
//! Invariant: the same case gives the same trace, byte for byte.

mod calls;
pub mod campaign;
pub mod case;
mod client;
pub mod counts;
pub mod generate;
pub mod kept;
mod node;
pub mod quiet;
pub mod report;
pub mod rng;
pub mod run;
pub mod shrink;
pub mod situations;
pub mod store;
pub mod trace;
pub mod workload;
pub mod world;

pub use world::Violation;
