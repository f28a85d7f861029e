//! The HTTP door, asked over a socket.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that panics has failed"
)]

mod alerts;
mod client;
mod conditions;
mod dashboard;
mod door;
mod fuzz;
mod journal;
mod limits;
mod money;
mod promql;
mod shapes;
mod slow;
mod tickets;
mod uploads;
mod webhooks;
