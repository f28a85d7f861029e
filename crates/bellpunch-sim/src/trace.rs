//! What happened, line by line: its hash always, its text on demand.

use std::fmt::{Arguments, Write as _};

use crate::case::Instant;

/// A trace that is being written.
#[derive(Debug, Default)]
pub struct Trace {
    hash: u64,
    line: String,
    text: Option<String>,
}

impl Trace {
    /// One that keeps its text.
    #[must_use]
    pub fn kept() -> Self {
        Self { text: Some(String::new()), ..Self::default() }
    }

    /// Adds a line.
    pub fn line(&mut self, at: Instant, what: Arguments<'_>) {
        self.line.clear();
        let _ = write!(self.line, "{at:>14} {what}");
        self.hash = self.line.bytes().fold(self.hash ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        if let Some(text) = &mut self.text {
            text.push_str(&self.line);
            text.push('\n');
        }
    }

    /// The hash of all lines.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// The lines, if they were kept.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }
}
