//! Fuzz targets: every reader of bytes from outside, each a function of bytes.
//!
//! Invariant: a target takes any bytes and never panics, unless a reader or a writer is wrong. It
//! says whether the bytes were read; what was read and has a written form is written and read
//! again, and must be the same. Why functions and not files of a fuzzer: the same ones are run by
//! `cargo test` on stable Rust over the corpora in `fuzz/corpus`, and by `cargo fuzz` for hours.
//!
//! Readers that are private to a crate are reached through its module `fuzzing`, which is there
//! only with the feature of that name (in the disk backend: `testing`).

use bellpunch_check::history::History;
use bellpunch_check::instant;
use bellpunch_core::audit::{Stored, audit};
use bellpunch_core::{Kind, RecordId, RecordKey, Timestamp, Version, script};
use serde_json::Value;

pub use bellpunch_cli::fuzzing::{configuration, exports};
pub use bellpunch_core::fuzzing::{records, values};
pub use bellpunch_disk::testing::fuzzing::{blob_files, folder, log_parts};
pub use bellpunch_server::fuzzing::{bodies, fields, settings, targets as requests};

/// A name, which is that of a folder of `fuzz/corpus` and of a file of `fuzz/fuzz_targets`, and
/// what is run; it says whether the bytes were read.
#[derive(Clone, Copy)]
pub struct Target {
    /// For example `records`.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]) -> bool,
    /// Whether its bytes are text, so that mutations of text find more.
    pub form: Form,
}

/// What bytes a target is made for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Form {
    /// Lines of text.
    Text,
    /// JSON.
    Json,
    /// Anything.
    Binary,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

const fn target(name: &'static str, form: Form, run: fn(&[u8]) -> bool) -> Target {
    Target { name, run, form }
}

/// All of them.
pub const TARGETS: [Target; 15] = [
    target("audits", Form::Json, audits),
    target("blob_files", Form::Text, blob_files),
    target("bodies", Form::Json, bodies),
    target("commands", Form::Json, commands),
    target("configuration", Form::Text, configuration),
    target("exports", Form::Json, exports),
    target("fields", Form::Text, fields),
    target("folder", Form::Binary, folder),
    target("histories", Form::Json, histories),
    target("log_parts", Form::Binary, log_parts),
    target("records", Form::Json, records),
    target("requests", Form::Text, requests),
    target("scripts", Form::Text, scripts),
    target("settings", Form::Text, settings),
    target("values", Form::Text, values),
];

/// Reads bytes as the content of every command, as the engine's callers give it.
#[must_use]
pub fn commands(bytes: &[u8]) -> bool {
    let Ok(content) = serde_json::from_slice::<Value>(bytes) else { return false };
    let mut read = false;
    for spec in bellpunch_core::commands() {
        let command = match (spec.parse)(content.clone()) {
            Ok(command) => command,
            Err(error) => {
                assert!(!error.code.is_empty() && !error.reason.is_empty(), "an error says why");
                continue;
            }
        };
        read = true;
        assert_eq!(command.name(), spec.name, "a command of another name");
        let written = command.content();
        let value = serde_json::from_slice(&written).expect("a command is written as JSON");
        // What only a door adds is not written: such a command is not read from what was.
        if let Ok(again) = (spec.parse)(value) {
            assert_eq!(again.content(), written, "a command is not what was written");
        }
    }
    read
}

/// Reads lines `kind id JSON` as the records of a partition, and audits them.
#[must_use]
pub fn audits(bytes: &[u8]) -> bool {
    let mut records = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(3, |byte| *byte == b' ');
        let mut text = || parts.next().and_then(|part| std::str::from_utf8(part).ok());
        let (Some(kind), Some(id)) = (text(), text()) else { continue };
        let key = RecordKey { kind: Kind::named(kind), id: RecordId::stored(id) };
        let stored = parts.next().unwrap_or_default();
        records.extend(Stored::decode(key, Version::new(1), stored));
    }
    let read = !records.is_empty();
    for now in [Timestamp::EPOCH, Timestamp::MAX] {
        for finding in audit(records.iter().cloned(), now) {
            assert!(!finding.to_string().is_empty(), "a finding says what it is");
        }
    }
    read
}

/// Reads text as scripts, in both notations.
#[must_use]
pub fn scripts(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let lines = text.lines().count();
    let read = [script::parse(text), script::parse_compact(text)].map(|parsed| match parsed {
        Ok(_) => true,
        Err(error) => {
            assert!(error.line <= lines.max(1), "{error}: there is no such line");
            false
        }
    });
    read.contains(&true)
}

/// Reads bytes as a history, and its text as an instant.
#[must_use]
pub fn histories(bytes: &[u8]) -> bool {
    if let Some(nanos) = std::str::from_utf8(bytes).ok().and_then(instant::parse) {
        let printed = instant::print(nanos);
        assert_eq!(instant::parse(&printed), Some(nanos), "{printed} is another instant");
    }
    match History::read(bytes) {
        Ok(history) => {
            let mut written = Vec::new();
            history.write(&mut written).expect("memory is written");
            let again = History::read(&written[..]).expect("what was written is read");
            assert_eq!(again, history, "a history is not what was written");
            true
        }
        Err(error) => {
            assert!(0 < error.line && !error.reason.is_empty(), "an error says where and why");
            false
        }
    }
}
