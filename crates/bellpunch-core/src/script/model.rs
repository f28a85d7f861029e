//! What both notations are read into.

use std::fmt;

use serde_json::{Map, Value};

use crate::Timestamp;

/// One script: a fresh partition, what is set up in it, and lines.
#[derive(Clone, Debug)]
pub struct Script {
    /// Its short name.
    pub id: String,
    /// What it shows.
    pub title: String,
    /// Where it begins.
    pub line: usize,
    /// Commands that must be accepted, at the time of the first line.
    pub setup: Vec<Call>,
    /// In order.
    pub lines: Vec<Line>,
}

/// What is sent at one time, and what must come back.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its number in the text.
    pub number: usize,
    /// The node's clock. May be earlier than before: then the clock went back.
    pub at: Timestamp,
    /// What is sent.
    pub calls: Vec<Call>,
    /// In which order.
    pub order: Order,
    /// What must come back.
    pub expect: Expect,
}

/// The order in which the calls of a line are sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// One after the other, each when the one before was answered.
    InTurn,
    /// At once: any serial order is legal.
    AtOnce,
}

/// One command as it is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Its words, for messages.
    pub text: String,
    /// What it does.
    pub step: Step,
    /// Under which idempotency key.
    pub key: KeyChoice,
    /// Decide and drop.
    pub dry_run: bool,
    /// Committed, but the reply is lost.
    pub lost: bool,
    /// The store is exclusive to somebody else until then.
    pub stall_until: Option<Timestamp>,
    /// The name by which later lines call what this one makes: its drawn id.
    pub binds: Option<String>,
}

/// What a call does.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// Sends a command. In its content `{"$id": "T"}` stands for an id that was drawn earlier.
    Command {
        /// The wire name.
        name: &'static str,
        /// The content as the wire has it.
        content: Value,
    },
    /// Sends several in one list, all or nothing: each its wire name and its content.
    List(Vec<(&'static str, Value)>),
    /// Kills the node and starts it.
    Restart,
    /// Cuts the store off.
    StoreDown,
    /// And back.
    StoreUp,
}

/// Which idempotency key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeyChoice {
    /// None.
    None,
    /// One of its own.
    Fresh,
    /// This one.
    Given(String),
}

/// What must come back.
#[derive(Clone, Debug)]
pub enum Expect {
    /// This, from the only call.
    One(Expected),
    /// So many of each; several are legal, and each must be reachable.
    Counts(Vec<Alternative>),
}

/// One legal outcome of several calls: how many answers of which kind.
pub type Alternative = Vec<(usize, Expected)>;

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// `ok`, `unknown`, or the code.
    pub word: String,
    /// The fields that are compared; no others are.
    pub fields: Vec<Field>,
}

/// One field of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name as in the script.
    pub name: String,
    /// What it must be.
    pub wanted: Wanted,
}

/// What a field must be.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Wanted {
    /// This word, number, span or instant.
    Is(String),
    /// A number from the first to the second, both included.
    Between(u64, u64),
    /// This JSON, drawn ids in their places.
    Json(Value),
    /// Not there.
    Absent,
}

/// Why a text is not a script.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParseError {
    /// Its number in the text, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

impl ParseError {
    pub(super) fn new(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for ParseError {}

impl Script {
    /// The same script with each single use sent as a list of one. Two ways to say one thing must
    /// have one answer.
    #[must_use]
    pub fn with_lists(mut self) -> Self {
        for call in self.lines.iter_mut().flat_map(|line| &mut line.calls) {
            if let Step::Command { name, content } = &mut call.step
                && let Some(list) = list_of_one(name, content)
            {
                (*name, *content) = ("checks.consume", list);
            }
        }
        self
    }
}

fn list_of_one(name: &str, content: &Value) -> Option<Value> {
    let mut item = content.as_object()?.clone();
    let target = match name {
        "quotas.consume" => "quota",
        "policies.consume" => "policy",
        _ => return None,
    };
    if item.contains_key("if_version") {
        // Lists have no place for it.
        return None;
    }
    let charge = item.remove("charge");
    let id = item.remove("id")?;
    item.insert(target.to_owned(), id);
    let mut list = Map::new();
    list.insert("items".to_owned(), Value::Array(vec![Value::Object(item)]));
    if let Some(charge) = charge {
        list.insert("id".to_owned(), charge);
    }
    Some(Value::Object(list))
}

impl Step {
    /// Whether it is a command of a wire.
    #[must_use]
    pub const fn is_command(&self) -> bool {
        matches!(self, Self::Command { .. } | Self::List(_))
    }
}

impl Call {
    pub(super) fn of(text: impl Into<String>, step: Step) -> Self {
        Self {
            text: text.into(),
            step,
            key: KeyChoice::None,
            dry_run: false,
            lost: false,
            stall_until: None,
            binds: None,
        }
    }
}
