//! What a script runs on.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::audit::Stored;
use crate::{AnyCommand, IdempotencyKey, Timestamp, Versions};

/// A command on its way.
#[derive(Clone, Debug)]
pub struct Sending {
    /// What is asked.
    pub command: Arc<dyn AnyCommand>,
    /// What is asked in one list with it, after it: all or nothing.
    pub rest: Vec<Arc<dyn AnyCommand>>,
    /// Under which idempotency key.
    pub key: Option<IdempotencyKey>,
    /// Decide and drop.
    pub dry_run: bool,
    /// Commit it, and lose the reply.
    pub lost: bool,
    /// Keep the store exclusive to somebody else until then.
    pub stall_until: Option<Timestamp>,
}

/// What a caller sees of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// `ok`, `unknown`, the code of a rejection or of an error.
    pub word: String,
    /// The reply, or the data of the rejection.
    pub json: Value,
    /// The decision time, if a rule decided.
    pub at: Option<Timestamp>,
    /// The versions that were written.
    pub versions: Versions,
    /// Told again from the outcome of the key.
    pub replayed: bool,
    /// Decided and dropped.
    pub dry_run: bool,
    /// `store`, `open`, `local` or `cache`.
    pub decided_by: String,
}

impl Answer {
    /// An answer of which only the code is known: an error, or a command of the wrong shape.
    #[must_use]
    pub fn code(word: impl Into<String>) -> Self {
        Self {
            word: word.into(),
            json: Value::Null,
            at: None,
            versions: Versions::new(),
            replayed: false,
            dry_run: false,
            decided_by: "store".to_owned(),
        }
    }
}

/// A world cannot do this. The script needs another one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unsupported(pub &'static str);

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this world has no {}", self.0)
    }
}

/// What a script runs on: one empty partition, and a clock that the script sets.
pub trait World {
    /// Sets the node's clock.
    fn set_clock(&mut self, now: Timestamp);

    /// Sends a command and waits for its answer.
    ///
    /// # Errors
    /// If this world cannot do what the sending asks for.
    fn send(&mut self, sending: &Sending) -> Result<Answer, Unsupported>;

    /// Sends commands at once, to be decided in one batch. Answers in the order sent.
    ///
    /// # Errors
    /// If this world cannot do what a sending asks for.
    fn send_at_once(&mut self, sendings: &[Sending]) -> Result<Vec<Answer>, Unsupported>;

    /// Kills the node and starts it again on what is stored.
    ///
    /// # Errors
    /// If this world cannot.
    fn restart(&mut self) -> Result<(), Unsupported>;

    /// Cuts the store off.
    ///
    /// # Errors
    /// If this world cannot.
    fn store_down(&mut self) -> Result<(), Unsupported>;

    /// Lets the store be reached again.
    ///
    /// # Errors
    /// If this world cannot.
    fn store_up(&mut self) -> Result<(), Unsupported>;

    /// What a command would be answered later, if nobody sent anything else. `None`: this world
    /// cannot tell.
    fn probe(&mut self, sending: &Sending, then: Timestamp) -> Option<Answer> {
        let _ = (sending, then);
        None
    }

    /// Whether others than the script write records, so that versions rise in between.
    fn is_swept(&self) -> bool {
        false
    }

    /// All records of the partition.
    fn records(&mut self) -> Vec<Stored>;
}
