//! The one place where time is read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bellpunch_core::Timestamp;
use bellpunch_store::Clock;

/// The machine's clock.
///
/// ```
/// use bellpunch::SystemClock;
/// use bellpunch::store::Clock;
/// assert!(SystemClock::new().now() > "2020-01-01T00:00:00Z".parse().unwrap());
/// ```
#[derive(Debug, Default)]
pub struct SystemClock {
    steps_back: AtomicU64,
    last: AtomicU64,
}

impl SystemClock {
    /// The machine's clock.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How often a reading was earlier than one before.
    #[must_use]
    pub fn steps_back(&self) -> u64 {
        self.steps_back.load(Ordering::Relaxed)
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the driver's clock, the only one")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let micros = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        if micros < self.last.swap(micros, Ordering::Relaxed) {
            self.steps_back.fetch_add(1, Ordering::Relaxed);
        }
        Timestamp::from_nanos(since.as_nanos()).unwrap_or(Timestamp::MAX)
    }
}
