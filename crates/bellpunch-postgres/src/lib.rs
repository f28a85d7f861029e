//! The PostgreSQL backend of Bellpunch: any number of nodes on one database.
//!
//! Invariant: a commit is one call of one function, in one transaction: it takes the locks of all
//! records that it names, then reads the server's clock, then compares and writes. Nothing is owned
//! or leased by a node: the versions are the fence. Why a function and no plain SQL: a predicate in
//! an `UPDATE` is evaluated before the wait for a lock, so one that compares a deadline lets through
//! what expired while it waited.

mod binary;
mod call;
mod config;
mod failure;
mod json;
mod link;
mod schema;
mod store;
mod text;
mod tls;

pub use config::{ConnectError, ConnectErrorKind, PostgresConfig};
pub use schema::Migration;
pub use store::PostgresStore;
