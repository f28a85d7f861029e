//! Hostile worlds in one loop: one thread, one seed, the production executor and rules.
//!
//! Nodes, clients, clocks, network, crashes and the store are simulated; what decides, batches,
//! retries and resolves is the code that runs in production. A [`case::Case`] says what happens to
//! a world from outside, [`run::run`] lets it happen, tests every promise while it does, and hands
//! what clients saw to the checkers.
//!
//! Invariant: the same case gives the same trace, byte for byte.

mod calls;
pub mod case;
mod client;
pub mod generate;
mod node;
pub mod planted;
pub mod rng;
pub mod run;
pub mod situations;
mod store;
pub mod trace;
pub mod workload;
mod world;

pub use world::Violation;
