//! Reference models: what each command does, one after the other, in the plainest way.
//!
//! A model is sequential state with own integers, written from the description of the rules and
//! not from the rules. It is asked for one command at a time, with the decision time that was
//! recorded, and says what the answer had to be.
//!
//! Invariant: a model never looks at an answer to find out what it should be. The one thing it
//! takes from there is what was drawn at random (an id of a hold or a charge): it tests that it is
//! new, and goes on with it.

mod fields;
pub mod limits;
pub mod money;
pub mod others;
pub mod state;
pub mod tickets;
pub mod uploads;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::instant::Nanos;

/// One command, as a model is asked.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Its name, `quotas.consume`.
    pub cmd: &'a str,
    /// Its content; durations are `…_ns`.
    pub args: &'a Value,
    /// The decision time.
    pub at: Nanos,
    /// What was answered, for what was drawn at random and for nothing else.
    pub drawn: Option<&'a Value>,
}

/// What the answer had to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Yes.
    Accepted {
        /// The fields of the reply that the model states; each must be in the answer and equal.
        reply: Value,
        /// The records that were written, `kind/id`.
        writes: BTreeSet<String>,
    },
    /// No.
    Rejected {
        /// Why.
        code: String,
        /// The fields beside the code that the model states.
        reply: Value,
    },
    /// Housekeeping (a sweep): it may remove what no answer shows, and nothing else changes. What
    /// it wrote is taken as told.
    Housekeeping,
    /// The model knows no such command. Nothing that contains one is a pass.
    NotModelled,
}
