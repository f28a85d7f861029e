//! The format of histories: JSON lines, `bellpunch-history` version 1.
//!
//! The first line is the [`Header`], every other one a [`Line`]. One recorder with one monotonic
//! clock writes them: a call is stamped before it is sent, its end after it was received, so an
//! end before a later stamp did happen first. Clocks of nodes are never compared.
//!
//! Invariant: what is read is complete, or the first line that is not is named. Why lines and not
//! one document: a killed recorder leaves a history that can still be judged up to its last line.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, Write};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The name of the format.
pub const FORMAT: &str = "bellpunch-history";
/// Its version.
pub const VERSION: u32 = 1;

/// Record versions by name, `kind/id`.
pub type Versions = BTreeMap<String, u64>;

/// The first line.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// Who recorded it: `sim`, `process`, `race`, `kit`.
    pub source: String,
    /// The seed of a run that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The revision that was run: a seed means nothing without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The model of each target, by its name; `*` is for all others. `"bellpunch"`: replies carry
    /// versions, and the command names the rule. Anything else is a foreign target that shows
    /// status and body only, for example `{"model": "counter", "limit": 50}`.
    pub model: BTreeMap<String, Value>,
}

impl Header {
    /// A header of a history whose replies carry versions.
    #[must_use]
    pub fn of(source: &str) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            source: source.to_owned(),
            seed: None,
            commit: None,
            model: BTreeMap::from([("*".to_owned(), Value::String("bellpunch".to_owned()))]),
        }
    }
}

/// A call was sent.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invoke {
    /// Nanoseconds on the recorder's clock, before it was sent.
    pub t: u64,
    /// Unique: a retry is a new one with the same `key`.
    pub op: u64,
    /// Which client.
    pub proc: String,
    /// Which node it was sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Which partition.
    pub partition: String,
    /// The command's name, `quotas.consume`; `commands` of a list, all or nothing.
    pub cmd: String,
    /// What it is about, `quotas/q1`: the place in [`Header::model`], and for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// The command's content, durations as `…_ns` or `…_ms`; of a list `[{"cmd", "args"}, …]`.
    pub args: Value,
    /// The idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// It was accepted.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// Nanoseconds on the recorder's clock, after it was received.
    pub t: u64,
    /// Which call.
    pub op: u64,
    /// The decision time, RFC 3339.
    pub at: String,
    /// Told again from the record of its key.
    #[serde(default, skip_serializing_if = "is_false")]
    pub replayed: bool,
    /// The versions it wrote.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub writes: Versions,
    /// The versions it only read, where known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reads: Versions,
    /// Its place in the journal, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Set if it carries no order: `dry_run`, `stale`, `open`, `local`, `best_effort`, `relaxed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flag: Option<String>,
    /// What the rule answered; of a list one each.
    pub reply: Value,
}

/// The rule said no.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rejected {
    /// Nanoseconds on the recorder's clock, after it was received.
    pub t: u64,
    /// Which call.
    pub op: u64,
    /// Why.
    pub code: String,
    /// The versions it was decided on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub as_of: Versions,
    /// The decision time, RFC 3339; empty of a foreign target.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub at: String,
    /// Which command of a list said no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// As of an acceptance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flag: Option<String>,
    /// What the caller was told beside the code.
    #[serde(default)]
    pub reply: Value,
}

/// A read came back.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// Nanoseconds on the recorder's clock, after it was received.
    pub t: u64,
    /// Which call.
    pub op: u64,
    /// The versions of what it shows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub as_of: Versions,
    /// The time it shows them at, RFC 3339; empty of a foreign target.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub at: String,
    /// As of an acceptance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flag: Option<String>,
    /// What it shows.
    pub reply: Value,
}

/// It broke: for certain without an effect (`error`), or nobody can know (`unknown`).
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broke {
    /// Nanoseconds on the recorder's clock.
    pub t: u64,
    /// Which call.
    pub op: u64,
    /// What was said, or what was seen: `overloaded`, `contended`, `outcome_unknown`, `cut`.
    pub code: String,
}

/// The outcome of a key, asked for after all nodes are quiet.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resolved {
    /// Nanoseconds on the recorder's clock.
    pub t: u64,
    /// The partition of the key.
    pub partition: String,
    /// The key.
    pub key: String,
    /// Whether its command was applied.
    pub applied: bool,
    /// Its receipt, if it was: `at`, `versions`, `replies`.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub receipt: Value,
}

/// A record as stored when all is quiet.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its partition.
    pub partition: String,
    /// Its name, `kind/id`.
    pub record: String,
    /// Its version.
    pub version: u64,
    /// Its content as stored; `null`: deleted.
    pub value: Value,
}

/// The version below which no record of a kind is made again, since some were removed without a
/// trace.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floor {
    /// Its partition.
    pub partition: String,
    /// The kind.
    pub of: String,
    /// The version.
    pub version: u64,
}

/// An entry of a partition's journal.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its partition.
    pub partition: String,
    /// Its place.
    pub seq: u64,
    /// As stored.
    pub value: Value,
}

/// For people.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// Nanoseconds on the recorder's clock.
    pub t: u64,
    /// What happened.
    pub text: String,
}

/// One line.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Line {
    /// A call was sent.
    Invoke(Invoke),
    /// It was accepted.
    Accepted(Accepted),
    /// The rule said no.
    Rejected(Rejected),
    /// A read came back.
    Read(Read),
    /// It broke without an effect.
    Error(Broke),
    /// It broke, and may have had an effect.
    Unknown(Broke),
    /// The outcome of a key, in the final phase.
    Resolved(Resolved),
    /// A record as stored, in the final phase.
    Record(Record),
    /// A floor, in the final phase.
    Floor(Floor),
    /// A journal entry, in the final phase.
    Entry(Entry),
    /// A fault began or ended: for people.
    Fault(Note),
    /// For people.
    Note(Note),
}

/// What happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct History {
    /// The first line.
    pub header: Header,
    /// The others, in the order in which they were recorded.
    pub lines: Vec<Line>,
}

/// A history that cannot be read: which line, and why.
#[derive(Debug)]
pub struct ReadError {
    /// From 1.
    pub line: usize,
    /// What was wrong.
    pub reason: String,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for ReadError {}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl History {
    /// Reads a history.
    ///
    /// ```
    /// use bellpunch_check::history::{Header, History};
    /// let history = History { header: Header::of("kit"), lines: Vec::new() };
    /// let mut bytes = Vec::new();
    /// history.write(&mut bytes)?;
    /// assert_eq!(History::read(&bytes[..]).unwrap(), history);
    /// assert_eq!(History::read(&b"{}"[..]).unwrap_err().line, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// With the first line that cannot be read, or whose format is not known.
    pub fn read(input: impl BufRead) -> Result<Self, ReadError> {
        let mut header: Option<Header> = None;
        let mut lines = Vec::new();
        for (place, text) in input.lines().enumerate() {
            let line = place.saturating_add(1);
            let failed = |reason: String| ReadError { line, reason };
            let text = text.map_err(|cause| failed(cause.to_string()))?;
            if text.trim().is_empty() {
                continue;
            }
            if header.is_none() {
                let first: Header =
                    serde_json::from_str(&text).map_err(|cause| failed(cause.to_string()))?;
                if first.format != FORMAT || first.version != VERSION {
                    let (format, version) = (first.format, first.version);
                    return Err(failed(format!(
                        "this is {format} version {version}; {FORMAT} version {VERSION} is read"
                    )));
                }
                header = Some(first);
            } else {
                lines.push(serde_json::from_str(&text).map_err(|cause| failed(cause.to_string()))?);
            }
        }
        match header {
            Some(header) => Ok(Self { header, lines }),
            None => Err(ReadError { line: 1, reason: "the history is empty".to_owned() }),
        }
    }

    /// Writes a history.
    ///
    /// # Errors
    /// If the output fails.
    pub fn write(&self, mut output: impl Write) -> std::io::Result<()> {
        serde_json::to_writer(&mut output, &self.header)?;
        output.write_all(b"\n")?;
        for line in &self.lines {
            serde_json::to_writer(&mut output, line)?;
            output.write_all(b"\n")?;
        }
        output.flush()
    }
}
