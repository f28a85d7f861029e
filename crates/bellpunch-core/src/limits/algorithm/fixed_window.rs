//! `fixed_window`: one count per window. At most L in each window, 2L in any span as long as one.

use serde::{Deserialize, Serialize};

use super::{epoch_start, is_over};
use crate::limits::Align;
use crate::{Duration, Timestamp, Units};

/// A window that was opened by a use.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(in crate::limits) struct FixedWindow {
    pub(in crate::limits) start: Timestamp,
    pub(in crate::limits) count: Units,
}

impl FixedWindow {
    /// The window that a use at `at` opens.
    pub(in crate::limits) fn opened(align: Align, period: Duration, at: Timestamp) -> Self {
        let start = match align {
            Align::FirstHit => at,
            Align::Epoch => epoch_start(at, period),
        };
        Self { start, count: Units::ZERO }
    }

    pub(in crate::limits) fn end(&self, period: Duration) -> Option<Timestamp> {
        self.start.plus(period)
    }

    pub(in crate::limits) fn is_over(&self, period: Duration, at: Timestamp) -> bool {
        if crate::planted!("window_edge") {
            return self.end(period).is_some_and(|end| end < at);
        }
        is_over(self.end(period), at)
    }
}
