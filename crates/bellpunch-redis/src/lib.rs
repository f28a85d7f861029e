//! The Redis and Valkey backend of Bellpunch: any number of nodes on one database.
//!
//! Invariant: a commit is one run of one Lua script, which Redis runs alone: it reads the server's
//! clock when it has begun, tests everything, and only then writes. All keys of a partition are in
//! one slot of a cluster. Why not `WATCH` and `MULTI`: between them a deadline passes unseen.
//!
//! What is promised is what the server's settings say, no more (see `docs/operating/redis.md`):
//! commits survive the machine only with `appendonly yes` and `appendfsync always`, and where a
//! replica may take over, a commit that was acknowledged may be lost, whatever is configured.

mod cluster;
mod commits;
mod config;
mod layout;
mod promise;
mod reads;
mod script;
mod selftest;
mod server;
mod store;
mod topology;
mod trouble;

pub use config::{ConnectError, ConnectErrorKind, RedisConfig};
pub use store::RedisStore;
