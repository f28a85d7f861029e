//! Laws: what the rules answer is what the reference models say they must.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    reason = "a test that panics has failed, and says what it did"
)]

#[expect(
    clippy::collapsible_if,
    clippy::fn_params_excessive_bools,
    clippy::print_stderr,
    reason = "a helper of these tests alone; a failing sequence is printed"
)]
mod limits;
mod partition;
mod tickets;
#[expect(clippy::integer_division, reason = "sizes that repeat, and no money")]
mod uploads;
