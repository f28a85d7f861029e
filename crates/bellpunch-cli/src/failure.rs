//! How a run ends when it does not end well: what happened, to what, what to do next.

use std::fmt;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// What was asked for is not there.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into() }
    }

    /// Usage or configuration.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into() }
    }

    /// Unreachable, address or folder in use, damaged.
    pub(crate) fn could_not_run(message: impl Into<String>) -> Self {
        Self { code: 4, message: message.into() }
    }

    /// Refused for safety.
    pub(crate) fn unsafe_to_run(message: impl Into<String>) -> Self {
        Self { code: 5, message: message.into() }
    }

    pub(crate) const fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
