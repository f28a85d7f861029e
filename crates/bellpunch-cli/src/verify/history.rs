//! `bellpunch verify --history FILE`: judges what clients saw.
//!
//! Invariant: the exit code is the verdict: 0 every call was explained, 1 a rule was broken, 3 it
//! could not be decided. A file that is no history has no verdict.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _};
use std::path::Path;
use std::process::ExitCode;

use bellpunch_check::history::{FORMAT, History, VERSION};
use bellpunch_check::judge::{Judgement, Verdict3, judge};
use bellpunch_check::model::state::State;
use serde_json::{Value, json};

use crate::args::Form;
use crate::failure::Failure;

/// Judges the file and says how it went.
pub(super) fn run(path: &Path, form: Form) -> Result<ExitCode, Failure> {
    let judgement = judge::<State>(&read(path)?);
    let text = match form {
        Form::Text => told(&judgement),
        Form::Json => format!("{}\n", as_json(&judgement)),
    };
    crate::print(&text)?;
    Ok(ExitCode::from(match judgement.verdict {
        Verdict3::Pass => 0,
        Verdict3::Fail => 1,
        Verdict3::Inconclusive => 3,
    }))
}

#[expect(clippy::disallowed_methods, reason = "the command line is where files are read")]
fn read(path: &Path) -> Result<History, Failure> {
    let unread = |cause: std::io::Error| {
        Failure::could_not_run(format!("{} cannot be read: {cause}", path.display()))
    };
    let mut file = BufReader::new(File::open(path).map_err(unread)?);
    let mut first = Vec::new();
    file.read_until(b'\n', &mut first).map_err(unread)?;
    let head: Value = serde_json::from_slice(&first).unwrap_or_default();
    let version = head.get("version").and_then(Value::as_u64);
    let is_history = head.get("format").and_then(Value::as_str) == Some(FORMAT);
    if is_history && version.is_some_and(|version| u64::from(VERSION) < version) {
        return Err(Failure::unsafe_to_run(format!(
            "{} is a history of a newer format: read it with the release that wrote it",
            path.display()
        )));
    }
    file.rewind().map_err(unread)?;
    History::read(file).map_err(|cause| {
        Failure::usage(format!(
            "{} is no history that can be judged: {cause}; the format is described in \
             docs/reference/history.md",
            path.display()
        ))
    })
}

fn told(judgement: &Judgement) -> String {
    let sentence = match judgement.verdict {
        Verdict3::Pass => "Every call is explained.",
        Verdict3::Fail => "At least one rule is broken.",
        Verdict3::Inconclusive => "What is undecided may hide a violation: this is no pass.",
    };
    format!("{judgement}{sentence}\n")
}

fn as_json(judgement: &Judgement) -> Value {
    let violations = judgement.violations.iter().map(
        |violation| json!({ "rule": violation.rule, "text": violation.text, "ops": violation.ops }),
    );
    let counts = &judgement.counts;
    json!({
        "verdict": judgement.verdict.to_string().to_lowercase(),
        "violated": judgement.violated,
        "violations": violations.collect::<Vec<_>>(),
        "undecided": judgement.undecided,
        "counts": {
            "ops": counts.ops, "accepted": counts.accepted, "replays": counts.replays,
            "rejected": counts.rejected, "reads": counts.reads, "errors": counts.errors,
            "unknown": counts.unknown, "unknown_resolved": counts.unknown_resolved,
            "flagged": counts.flagged, "partitions": counts.partitions,
            "records": counts.records, "modelled": counts.modelled
        }
    })
}
