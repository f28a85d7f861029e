//! Bugs planted on purpose, to test the tests.
//!
//! Invariant: without the feature `planted`, which no default or release build has, every plant is
//! the constant `false` and nothing of it is left. With it, one bug at a time is chosen at run
//! time, per thread, so that one build holds them all.

/// Whether this bug is the one that was chosen; `false` in every build that is for use.
#[macro_export]
#[cfg(feature = "planted")]
macro_rules! planted {
    ($bug:literal) => {
        $crate::planted::chosen($bug)
    };
}

/// Whether this bug is the one that was chosen; `false` in every build that is for use.
#[macro_export]
#[cfg(not(feature = "planted"))]
macro_rules! planted {
    ($bug:literal) => {
        false
    };
}

#[cfg(feature = "planted")]
mod choice {
    use std::cell::Cell;

    thread_local! {
        static CHOSEN: Cell<&'static str> = const { Cell::new("") };
    }

    /// A build that has this text in it is not for use.
    const MARK: &str = "bellpunch-planted: this build has bugs in it on purpose";

    /// Chooses a bug for this thread; `""`: none.
    pub fn choose(bug: &'static str) {
        assert!(bug != MARK, "a mark is no bug");
        CHOSEN.set(bug);
    }

    /// Whether it is the one that was chosen.
    #[must_use]
    pub fn chosen(bug: &str) -> bool {
        CHOSEN.get() == bug
    }
}

#[cfg(feature = "planted")]
pub use choice::{choose, chosen};
