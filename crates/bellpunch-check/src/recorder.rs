//! Writes a history down while it happens, from many threads.
//!
//! Invariant: a line is stamped and added under one lock, so lines stand in the order of their
//! stamps. A call is recorded before it is sent and its end after it was received: whatever the
//! recorder adds in between makes calls look longer than they were, which can hide a violation and
//! never makes one up.
//!
//! Why the clock is an argument: nothing in this crate reads one, and a simulator has its own.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::history::{
    Accepted, Broke, Header, History, Invoke, Line, Note, Read, Rejected, Resolved,
};

/// What is about to be sent; as in [`Invoke`].
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// Which client.
    pub proc: String,
    /// Which node it goes to.
    pub node: Option<String>,
    /// Which partition.
    pub partition: String,
    /// The command's name, `quotas.consume`.
    pub cmd: String,
    /// What it is about, `quotas/q1`.
    pub target: String,
    /// The command's content.
    pub args: Value,
    /// The idempotency key.
    pub key: Option<String>,
}

/// How a call ended. The recorder fills in `t` and `op`, whatever they hold.
#[derive(Clone, Debug)]
pub enum End {
    /// It was accepted.
    Accepted(Accepted),
    /// The rule said no.
    Rejected(Rejected),
    /// A read came back.
    Read(Read),
    /// It broke, for certain without an effect; the code.
    Error(String),
    /// It broke, and nobody knows; the code.
    Unknown(String),
}

/// A source of stamps that never fall.
pub type Stamps = Box<dyn Fn() -> u64 + Send + Sync>;

/// See the [module](self).
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use bellpunch_check::history::{Accepted, Header};
/// use bellpunch_check::recorder::{End, Recorder, Sent};
/// let clock = AtomicU64::new(0);
/// let stamps = Box::new(move || clock.fetch_add(1, Ordering::SeqCst));
/// let recorder = Recorder::new(Header::of("kit"), stamps);
/// let op = recorder.invoke(Sent { cmd: "quotas.consume".to_owned(), ..Sent::default() });
/// recorder.ended(op, End::Accepted(Accepted::default()));
/// assert_eq!(recorder.finish().lines.len(), 2);
/// ```
pub struct Recorder {
    header: Header,
    stamps: Stamps,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ops: u64,
    lines: Vec<Line>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("header", &self.header).finish_non_exhaustive()
    }
}

impl Recorder {
    /// A recorder that has seen nothing.
    #[must_use]
    pub fn new(header: Header, stamps: Stamps) -> Self {
        Self { header, stamps, state: Mutex::default() }
    }

    /// Records that a call is about to be sent, and returns its number. Send it after this.
    pub fn invoke(&self, sent: Sent) -> u64 {
        self.stamped(|t, state| {
            state.ops = state.ops.saturating_add(1);
            let op = state.ops;
            let Sent { proc, node, partition, cmd, target, args, key } = sent;
            let invoke = Invoke { t, op, proc, node, partition, cmd, target, args, key };
            state.lines.push(Line::Invoke(invoke));
            op
        })
    }

    /// Records how a call ended. Call this after the answer was received. A call that never ends
    /// may have had an effect, as an unknown one.
    pub fn ended(&self, op: u64, end: End) {
        self.stamped(|t, state| {
            state.lines.push(match end {
                End::Accepted(accepted) => Line::Accepted(Accepted { t, op, ..accepted }),
                End::Rejected(rejected) => Line::Rejected(Rejected { t, op, ..rejected }),
                End::Read(read) => Line::Read(Read { t, op, ..read }),
                End::Error(code) => Line::Error(Broke { t, op, code }),
                End::Unknown(code) => Line::Unknown(Broke { t, op, code }),
            });
        });
    }

    /// Records the outcome of a key, asked for when nothing is on its way any more: its receipt,
    /// or `None` if it was not applied.
    pub fn resolved(&self, partition: &str, key: &str, receipt: Option<Value>) {
        let (partition, key, applied) = (partition.to_owned(), key.to_owned(), receipt.is_some());
        self.stamped(|t, state| {
            let receipt = receipt.unwrap_or_default();
            state.lines.push(Line::Resolved(Resolved { t, partition, key, applied, receipt }));
        });
    }

    /// Records for people that a fault began or ended.
    pub fn fault(&self, text: &str) {
        let text = text.to_owned();
        self.stamped(|t, state| state.lines.push(Line::Fault(Note { t, text })));
    }

    /// Records something for people.
    pub fn note(&self, text: &str) {
        let text = text.to_owned();
        self.stamped(|t, state| state.lines.push(Line::Note(Note { t, text })));
    }

    /// Adds a line that has no stamp, as the final ones: a record, a floor, a journal entry.
    pub fn add(&self, line: Line) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).lines.push(line);
    }

    /// What was recorded up to now. Calls that are still under way have no end.
    #[must_use]
    pub fn so_far(&self) -> History {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        History { header: self.header.clone(), lines: state.lines.clone() }
    }

    /// What was recorded.
    #[must_use]
    pub fn finish(self) -> History {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        History { header: self.header, lines: state.lines }
    }

    fn stamped<T>(&self, add: impl FnOnce(u64, &mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let t = (self.stamps)();
        add(t, &mut state)
    }
}

#[cfg(test)]
mod tests;
