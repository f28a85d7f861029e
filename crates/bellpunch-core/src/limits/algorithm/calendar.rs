//! `calendar`: one count per window of a calendar. At most L in each window.
//!
//! A window that was opened keeps its bounds, also when the zone's rules change.

use serde::{Deserialize, Serialize};

use super::is_over;
use crate::limits::Calendar;
use crate::{Timestamp, Units};

/// A window that was opened by a use.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(in crate::limits) struct CalendarWindow {
    pub(in crate::limits) start: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::limits) end: Option<Timestamp>,
    pub(in crate::limits) count: Units,
}

impl CalendarWindow {
    /// The window that contains `at`.
    pub(in crate::limits) fn opened(calendar: &Calendar, at: Timestamp) -> Self {
        let (start, end) = calendar.window(at);
        Self { start, end, count: Units::ZERO }
    }

    pub(in crate::limits) fn is_over(&self, at: Timestamp) -> bool {
        is_over(self.end, at)
    }
}
