//! Histories written by hand, with known verdicts: a file for each model, in which each history
//! begins with its header, and a note that says its verdict, the rule that is broken, and why.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bellpunch_check::history::{History, Line};
use bellpunch_check::instant::Nanos;
use bellpunch_check::judge::{Sequential, judge};
use bellpunch_check::model::{Call, Verdict};
use serde_json::{Value, json};

/// Quotas with a limit of two, charges that are only made, and pairs that say nothing.
#[derive(Clone, Default)]
struct Model {
    used: u64,
    exists: BTreeMap<String, bool>,
}

impl Sequential for Model {
    fn apply(&mut self, call: &Call<'_>) -> Verdict {
        let accepted = |reply: Value, writes: &[String]| {
            let writes = writes.iter().cloned().collect();
            Verdict::Accepted { reply, writes }
        };
        match call.cmd {
            "quotas.consume" if self.used < 2 => {
                self.used += 1;
                accepted(json!({"remaining": 2 - self.used}), &["quotas/q".to_owned()])
            }
            "quotas.consume" => {
                let code = "quota_exceeded".to_owned();
                Verdict::Rejected { code, reply: json!({}) }
            }
            "quotas.read" => accepted(json!({"used": self.used}), &[]),
            "charges.make" => {
                let record = format!("charges/{}", call.args["charge"].as_str().unwrap());
                self.exists.insert(record.clone(), true);
                accepted(json!({}), &[record])
            }
            "charges.sweep" => Verdict::Housekeeping,
            "pair.make" => accepted(json!({}), &[]),
            _ => Verdict::NotModelled,
        }
    }

    fn check(&self, _: Nanos) -> Result<(), String> {
        if self.used <= 2 { Ok(()) } else { Err("more is used than the limit".to_owned()) }
    }

    fn exists(&self, record: &str) -> Option<bool> {
        self.exists.get(record).copied()
    }
}

fn histories(text: &str) -> Vec<History> {
    let heads = text.match_indices("{\"format\"").map(|(place, _)| place);
    let heads: Vec<usize> = heads.chain([text.len()]).collect();
    heads
        .windows(2)
        .map(|pair| History::read(&text.as_bytes()[pair[0]..pair[1]]).unwrap())
        .collect()
}

#[test]
fn every_history_has_its_verdict() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 9, "a file for each model");
    let mut wrong = String::new();
    for file in files {
        let histories = histories(&std::fs::read_to_string(&file).unwrap());
        assert!(10 <= histories.len(), "{}: {}", file.display(), histories.len());
        for history in histories {
            let Some(Line::Note(note)) = history.lines.first() else { panic!("no verdict") };
            let judgement = judge::<Model>(&history);
            assert_eq!(judgement, judge::<Model>(&history), "the same twice");
            let (verdict, why) = note.text.split_once(": ").unwrap();
            let rules = judgement.violations.iter().map(|violation| violation.rule);
            let rules: BTreeSet<String> = rules.map(|rule| format!(" {rule}")).collect();
            let rules: String = rules.into_iter().collect();
            if format!("{}{rules}", judgement.verdict) != verdict {
                let name = file.file_stem().unwrap().to_string_lossy();
                wrong.push_str(&format!("{name}, {why}: not {verdict} but {judgement}\n"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
