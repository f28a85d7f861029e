//! The state of each algorithm, and what it counts at an instant.
//!
//! Invariant: without new commands a count never rises, so what is admitted stays admitted, and
//! what will fit once fits ever after. Times are exact to the nanosecond; counts round up.

pub(super) mod calendar;
pub(super) mod fixed_window;
pub(super) mod gcra;
pub(super) mod sliding_counter;
pub(super) mod sliding_log;

use crate::{Duration, Timestamp};

/// The start of the window of `period` since the epoch that contains `at`.
pub(super) fn epoch_start(at: Timestamp, period: Duration) -> Timestamp {
    let into = at.nanos().checked_rem(period.nanos().into()).expect("a period is longer than 0");
    let start = at.nanos().checked_sub(into).expect("a remainder is no larger than the number");
    Timestamp::from_nanos(start).expect("an earlier instant is within the same years")
}

/// Whether an end has come; an end beyond the year 9999 never does.
pub(super) fn is_over(end: Option<Timestamp>, at: Timestamp) -> bool {
    end.is_some_and(|end| end <= at)
}
