//! All the models of one partition together.
//!
//! A list of commands (`commands`) is decided in order, each on what the one before left, all or
//! nothing. Accepted, its reply is the list of their replies and its writes are theirs together.
//! Refused, the reply has, beside what the command that said no states, `index`: its place. A list
//! with a content that cannot be read at all is refused before anything is decided: that is an
//! error of the door's, and not for a model.
//!
//! Replays of idempotency keys are not decided here: a command that was accepted under its key is
//! not given to the model a second time. What was recorded is told with [`State::keep_outcome`].
//!
//! Invariant: a command that is not accepted leaves the state as it was.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::limits::Limits;
use super::money::Book;
use super::others::{Currencies, Kept, Outcomes};
use super::tickets::Tickets;
use super::uploads::Uploads;
use super::{Call, Verdict};
use crate::instant::Nanos;

/// One partition, as its commands left it.
///
/// ```
/// use bellpunch_check::model::state::State;
/// use bellpunch_check::model::{Call, Verdict};
/// use serde_json::json;
///
/// let mut state = State::default();
/// let args = json!({ "code": "RCN", "scale": 2 });
/// let call = Call { cmd: "currencies.define", args: &args, at: 0, drawn: None };
/// assert!(matches!(state.apply(&call), Verdict::Accepted { .. }));
/// let Verdict::Rejected { code, reply } = state.apply(&call) else { panic!("it is declared") };
/// assert_eq!((code.as_str(), &reply["scale"]), ("currency_exists", &json!(2)));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    limits: Limits,
    tickets: Tickets,
    uploads: Uploads,
    currencies: Currencies,
    outcomes: Outcomes,
    pub(super) book: Book,
}

impl State {
    /// Judges one command, or one list of commands, and goes on to the state it leaves.
    pub fn apply(&mut self, call: &Call<'_>) -> Verdict {
        if call.cmd == "commands" {
            return self.apply_all(call);
        }
        let (collection, verb) = call.cmd.split_once('.').unwrap_or((call.cmd, ""));
        match collection {
            _ if verb == "sweep" => Verdict::Housekeeping,
            "tickets" => self.tickets.apply(call, (&self.currencies, &mut self.book)),
            "uploads" => self.uploads.apply(call, &mut self.limits),
            "currencies" => self.currencies.apply(call),
            "outcomes" => self.outcomes.apply(call),
            _ if Book::knows(collection) => self.book.apply(call, &self.currencies),
            "quotas" | "policies" | "counters" | "checks" | "holds" | "charges" => {
                self.limits.apply(call)
            }
            _ => Verdict::NotModelled,
        }
    }

    fn apply_all(&mut self, call: &Call<'_>) -> Verdict {
        let Some(commands) = call.args.as_array() else { return Verdict::NotModelled };
        let mut next = self.clone();
        let (mut replies, mut all) = (Vec::new(), BTreeSet::new());
        for (index, command) in commands.iter().enumerate() {
            let Some(cmd) = command.get("cmd").and_then(Value::as_str) else {
                return Verdict::NotModelled;
            };
            let args = command.get("args").unwrap_or(&Value::Null);
            let drawn = call.drawn.and_then(|replies| replies.get(index));
            match next.apply(&Call { cmd, args, at: call.at, drawn }) {
                Verdict::Accepted { reply, writes } => {
                    replies.push(reply);
                    all.extend(writes);
                }
                Verdict::Rejected { code, mut reply } => {
                    if let Some(data) = reply.as_object_mut() {
                        data.insert("index".to_owned(), json!(index));
                    }
                    return Verdict::Rejected { code, reply };
                }
                Verdict::Housekeeping | Verdict::NotModelled => return Verdict::NotModelled,
            }
        }
        *self = next;
        Verdict::Accepted { reply: Value::Array(replies), writes: all }
    }

    /// Keeps what was recorded under an idempotency key: what `outcomes.read` tells.
    pub fn keep_outcome(&mut self, key: &str, kept: Kept) {
        self.outcomes.keep(key, kept);
    }

    /// Whether what must always hold does at `at`; if not, what does not.
    ///
    /// # Errors
    /// With the record, and what is wrong with it.
    pub fn check(&self, at: Nanos) -> Result<(), String> {
        self.limits.check(at)?;
        self.tickets.check(at)?;
        self.tickets.check_holds(&self.book, at)?;
        self.book.check(at)?;
        self.uploads.check(at)
    }
}

impl crate::judge::Sequential for State {
    fn apply(&mut self, call: &Call<'_>) -> Verdict {
        Self::apply(self, call)
    }

    fn check(&self, at: Nanos) -> Result<(), String> {
        Self::check(self, at)
    }

    fn may_go(&self, record: &str, at: Nanos) -> bool {
        self.limits.may_go(record, at)
    }

    fn told(&mut self, versions: &crate::history::Versions, at: Nanos) {
        self.limits.told(versions, at);
    }

    fn states(&self, record: &str) -> bool {
        Limits::states(record) && Book::states(record)
    }
}

#[cfg(test)]
mod tests;
