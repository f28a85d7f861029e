//! Laws: what is true of every sequence of commands, decided by the rules alone.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    reason = "a test that panics has failed, and says what it did"
)]

mod limits;
mod partition;
mod tickets;
mod uploads;
