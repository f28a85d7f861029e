//! Runs a case to its end, and says what was broken.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bellpunch::Partition;
use bellpunch::audit::{Stored, audit};
use bellpunch_check::history::{Entry, Floor, History, Line, Record};
use bellpunch_check::judge::{Verdict3, judge};
use bellpunch_check::model::state::State;
use serde_json::{Value, json};

use crate::case::{Asked, Case, SECOND};
use crate::counts::Counts;
use crate::quiet;
use crate::situations::Situations;
use crate::trace::Trace;
use crate::world::{Violation, World};

/// After the world is healed, everything has ended within this.
const LIVENESS: u64 = 10 * SECOND;

/// What came of a case.
#[derive(Debug)]
pub struct Report {
    /// What was broken: the first of it.
    pub violations: Vec<Violation>,
    /// What clients saw.
    pub history: History,
    /// Which situations were reached.
    pub situations: Situations,
    /// The hash of all that happened.
    pub hash: u64,
    /// All that happened, if it was to be kept.
    pub trace: Option<String>,
    /// The calls that show what was broken, if a checker named them.
    pub shown: Vec<u64>,
    /// How much was tried.
    pub counts: Counts,
}

/// Runs a case.
#[must_use]
pub fn run(case: &Case, trace: Trace) -> Report {
    let mut world = World::new(case.clone(), trace);
    let ended = catch_unwind(AssertUnwindSafe(|| world.run()));
    if let Err(panic) = ended {
        let text = quiet::last()
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default();
        world.violated("no_panic", text);
    }
    let history = History { header: world.header(), lines: std::mem::take(&mut world.lines) };
    let mut counts = Counts::of(&history);
    counts.commits = world.store.applied().try_into().unwrap_or(u64::MAX);
    counts.decided = 1;
    let mut shown = Vec::new();
    if world.violations.is_empty() {
        let judgement = judge::<State>(&history);
        let lines: Vec<String> = match judgement.verdict {
            Verdict3::Pass => Vec::new(),
            Verdict3::Fail => judgement.violations.iter().map(ToString::to_string).collect(),
            Verdict3::Inconclusive => judgement.undecided,
        };
        if judgement.verdict == Verdict3::Inconclusive {
            counts.decided = 0;
        }
        if judgement.verdict != Verdict3::Pass {
            let rule = judgement.violations.first().map_or("undecided", |first| first.rule);
            world.violated(rule, lines.join("\n"));
        }
        shown = judgement.violations.into_iter().flat_map(|broken| broken.ops).collect();
    }
    Report {
        violations: std::mem::take(&mut world.violations),
        history,
        situations: world.situations.clone(),
        hash: world.trace.hash(),
        trace: world.trace.text().map(str::to_owned),
        shown,
        counts,
    }
}

impl World {
    /// From the beginning to the end: faults, healing, the last questions, the last reads.
    fn run(&mut self) {
        let heal = self.case.settings.heal;
        self.run_until(heal);
        if self.violations.is_empty() {
            self.run_until(heal.saturating_add(LIVENESS));
        }
        if self.violations.is_empty() {
            self.test_liveness();
        }
        if self.violations.is_empty() {
            self.ask_last();
            let end = self.now.saturating_add(4 * LIVENESS);
            self.run_until(end);
        }
        if self.violations.is_empty() {
            self.test_liveness();
            self.stop_all();
            self.dump();
        }
    }

    /// Every command has ended, every unknown is resolved, queues are empty, every node serves.
    fn test_liveness(&mut self) {
        let open = self.intents.iter().filter(|intent| !intent.ended).count();
        if 0 < open {
            let first = self.intents.iter().position(|intent| !intent.ended);
            let text = format!("{open} intents have not ended, the first is {first:?}");
            self.violated("live.commands_end", text);
        }
        for number in 0..self.nodes.len() {
            let node = self.node(number);
            let Some(stats) = node.executor().map(bellpunch::executor::Executor::stats) else {
                self.violated("live.nodes_serve", format!("n{number} is not up"));
                continue;
            };
            let waiting: Vec<_> = node.waiters.keys().collect();
            if stats.queued != 0 || !waiting.is_empty() {
                let text = format!("n{number}: {} queued, {waiting:?} wait", stats.queued);
                self.violated("live.queues_empty", text);
            }
            if stats.unknown_open != 0 {
                let text = format!("n{number}: {} commits of unknown fate", stats.unknown_open);
                self.violated("live.unknowns_resolved", text);
            }
        }
    }

    /// Asks for the outcome of every key that was ever answered `unknown`, now that all is quiet.
    fn ask_last(&mut self) {
        let mut unknown = std::collections::BTreeSet::new();
        for line in &self.lines {
            if let Line::Unknown(broke) = line
                && let Some(sent) = self.sent.get(&broke.op)
            {
                let intent = self.intent(sent.intent);
                if let Some(key) = &intent.key {
                    unknown.insert((intent.partition.clone(), key.clone()));
                }
            }
        }
        for (partition, key) in unknown {
            let asked = Asked { cmd: "outcomes.read".to_owned(), args: json!({ "id": key }) };
            self.plan_last(&partition, asked, Some(key));
        }
        let partitions: Vec<Partition> = self.store.partitions().cloned().collect();
        for partition in partitions {
            for number in 0..self.nodes.len() {
                let args = json!({ "id": "q" });
                let asked = Asked { cmd: "quotas.read".to_owned(), args };
                self.plan_last(&partition, asked, None);
                if let Some(intent) = self.intents.last_mut() {
                    intent.node = number;
                    intent.elsewhere = false;
                }
            }
        }
    }

    fn stop_all(&mut self) {
        for number in 0..self.nodes.len() {
            self.drain(number);
        }
        let end = self.now.saturating_add(LIVENESS);
        self.run_until(end);
        for number in 0..self.nodes.len() {
            if !self.node(number).drained {
                self.violated("drain.ends", format!("n{number} does not stop"));
            }
        }
    }

    /// Writes down what is stored, and audits it.
    fn dump(&mut self) {
        let partitions: Vec<Partition> = self.store.partitions().cloned().collect();
        for partition in partitions {
            let (records, floors) = self.store.dump(&partition);
            let name = partition.as_str().to_owned();
            let mut stored = Vec::new();
            for (key, versioned) in records {
                let value = match &versioned.value {
                    Some(bytes) => {
                        let envelope: Value = serde_json::from_slice(bytes).unwrap_or_default();
                        stored.extend(Stored::decode(key.clone(), versioned.version, bytes));
                        envelope.get("record").cloned().unwrap_or_default()
                    }
                    None => Value::Null,
                };
                let (partition, record) = (name.clone(), key.to_string());
                if let Some(seq) = entry_at(&record) {
                    self.lines.push(Line::Entry(Entry { partition, seq, value }));
                    continue;
                }
                let version = versioned.version.get();
                self.lines.push(Line::Record(Record { partition, record, version, value }));
            }
            for (kind, version) in floors {
                let (partition, of) = (name.clone(), kind.name().to_owned());
                self.lines.push(Line::Floor(Floor { partition, of, version: version.get() }));
            }
            for finding in audit(stored, self.truth()) {
                let text = format!("{partition}: {finding:?}");
                self.violated("audit", text);
            }
        }
    }
}

/// The place of an entry of the journal, by the name of its record.
fn entry_at(record: &str) -> Option<u64> {
    record.strip_prefix("entries/")?.parse().ok()
}
