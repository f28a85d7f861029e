//! Hostile worlds in one loop: one thread, one seed, the production executor and rules.
//!
//! Nodes, clients, clocks, network, crashes and the store are simulated; what decides, batches,
//! retries and resolves is the code that runs in production. A [`case::Case`] says what happens to
//! a world from outside, [`run::run`] lets it happen, tests every promise while it does, and hands
//! what clients saw to the checkers.
//!
//! Invariant: the same case gives the same trace, byte for byte.

#[expect(clippy::wildcard_enum_match_arm, reason = "results of other kinds are no situation")]
mod calls;
pub mod campaign;
pub mod case;
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "lines and errors of other kinds do not matter there"
)]
mod client;
pub mod counts;
#[expect(clippy::wildcard_enum_match_arm, reason = "most faults have no amount")]
pub mod generate;
pub mod kept;
mod node;
pub mod planted;
pub mod quiet;
pub mod report;
pub mod rng;
pub mod run;
pub mod shrink;
pub mod situations;
pub mod steer;
#[expect(clippy::type_complexity, reason = "what is dumped is taken apart at once")]
pub mod store;
pub mod trace;
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "results and inputs of other kinds are no situation"
)]
mod watch;
#[expect(clippy::indexing_slicing, reason = "a field of a JSON object is made by writing to it")]
pub mod workload;
#[expect(clippy::wildcard_enum_match_arm, reason = "most faults do nothing when they begin or end")]
pub mod world;

pub use world::Violation;
