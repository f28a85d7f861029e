//! Laws: what the rules answer is what the reference models say they must.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    reason = "a test that panics has failed, and says what it did"
)]

mod gone;
mod limits;
mod partition;
mod promises;
mod tickets;
mod uploads;
