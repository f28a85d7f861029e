//! A history as calls with their ends, by partition and by target.
//!
//! Invariant: each call is in one place, with at most one end, which came no earlier than the call
//! was sent. What breaks this is a violation of the history's form.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::history::{Accepted, Broke, History, Invoke, Line, Read, Record, Rejected, Resolved};
use crate::instant::Nanos;
use crate::judge::{Findings, count};

/// How long an outcome is kept where the header does not say: seven days.
const KEEP: Nanos = 7 * 86_400 * 1_000_000_000;

/// How a call ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ended<'h> {
    Accepted(&'h Accepted),
    Rejected(&'h Rejected),
    Read(&'h Read),
    Error(&'h Broke),
    /// Nobody knows: told so, or no end was recorded.
    Unknown,
}

/// A call and its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Op<'h> {
    pub(crate) call: &'h Invoke,
    pub(crate) end: Ended<'h>,
}

impl<'h> Op<'h> {
    /// When an answer that says something was received; `u64::MAX` if none was.
    pub(crate) const fn returned(&self) -> u64 {
        match self.end {
            Ended::Accepted(end) => end.t,
            Ended::Rejected(end) => end.t,
            Ended::Read(end) => end.t,
            Ended::Error(end) => end.t,
            Ended::Unknown => u64::MAX,
        }
    }

    /// Whether it can have had no effect, whatever it was told: it only looks.
    pub(crate) fn only_looks(&self) -> bool {
        self.call.cmd.ends_with(".read") || self.call.cmd.ends_with(".list")
    }

    pub(crate) fn flag(&self) -> Option<&'h str> {
        match self.end {
            Ended::Accepted(end) => end.flag.as_deref(),
            Ended::Rejected(end) => end.flag.as_deref(),
            Ended::Read(end) => end.flag.as_deref(),
            Ended::Error(_) | Ended::Unknown => None,
        }
    }

    /// The call in words.
    pub(crate) fn named(&self) -> String {
        named(self.call)
    }
}

/// A call in words.
pub(crate) fn named(call: &Invoke) -> String {
    let Invoke { op, cmd, target, proc, .. } = call;
    let of = if target.is_empty() { String::new() } else { format!(" of {target}") };
    format!("call {op} ({cmd}{of} by {proc})")
}

/// What is told of one partition.
#[derive(Debug, Default)]
pub(crate) struct Part<'h> {
    pub(crate) name: &'h str,
    pub(crate) ops: Vec<Op<'h>>,
    pub(crate) records: Vec<&'h Record>,
    pub(crate) floors: BTreeMap<&'h str, u64>,
    pub(crate) resolved: Vec<&'h Resolved>,
    pub(crate) last_entry: Option<u64>,
    /// For how long outcomes are kept.
    pub(crate) keep: Nanos,
    /// Flagged answers the header allows, by flag.
    pub(crate) flagged_max: BTreeMap<&'h str, u64>,
}

impl Part<'_> {
    /// Whether the state at the end was recorded.
    pub(crate) fn is_final(&self) -> bool {
        !self.records.is_empty() || !self.floors.is_empty()
    }
}

/// The calls of one foreign target.
#[derive(Debug)]
pub(crate) struct Foreign<'h> {
    pub(crate) model: &'h Value,
    pub(crate) ops: Vec<Op<'h>>,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Calls<'h> {
    pub(crate) parts: Vec<Part<'h>>,
    pub(crate) foreign: BTreeMap<String, Foreign<'h>>,
}

const FORM: &str = "history.form";

impl<'h> Calls<'h> {
    pub(crate) fn of(history: &'h History, findings: &mut Findings) -> Self {
        let mut ops = sent(history, findings);
        end_them(history, &mut ops, findings);
        tally(&ops, findings);
        let mut calls = Self::default();
        let mut parts: BTreeMap<&'h str, Part<'h>> = BTreeMap::new();
        for op in ops {
            match model(history, &op.call.target) {
                Some(model) if is_ours(model) => {
                    part(&mut parts, &op.call.partition).ops.push(op);
                }
                Some(model) => {
                    let place = format!("{}/{}", op.call.partition, op.call.target);
                    let place = calls.foreign.entry(place);
                    place.or_insert_with(|| Foreign { model, ops: Vec::new() }).ops.push(op);
                }
                None => findings.undecided(format!(
                    "the header has no model for the target {:?}",
                    op.call.target
                )),
            }
        }
        for line in &history.lines {
            at_the_end(&mut parts, line);
        }
        let all = model(history, "");
        for part in parts.values_mut() {
            part.keep = all.and_then(|model| duration(model, "keep")).unwrap_or(KEEP);
            part.flagged_max = flagged_max(all);
        }
        calls.parts = parts.into_values().collect();
        calls
    }
}

fn part<'p, 'h>(parts: &'p mut BTreeMap<&'h str, Part<'h>>, name: &'h str) -> &'p mut Part<'h> {
    parts.entry(name).or_insert_with(|| Part { name, ..Part::default() })
}

fn at_the_end<'h>(parts: &mut BTreeMap<&'h str, Part<'h>>, line: &'h Line) {
    match line {
        Line::Record(record) => part(parts, &record.partition).records.push(record),
        Line::Floor(floor) => {
            part(parts, &floor.partition).floors.insert(&floor.of, floor.version);
        }
        Line::Resolved(resolved) => part(parts, &resolved.partition).resolved.push(resolved),
        Line::Entry(entry) => {
            let part = part(parts, &entry.partition);
            part.last_entry = part.last_entry.max(Some(entry.seq));
        }
        Line::Invoke(_)
        | Line::Accepted(_)
        | Line::Rejected(_)
        | Line::Read(_)
        | Line::Error(_)
        | Line::Unknown(_)
        | Line::Fault(_)
        | Line::Note(_) => {}
    }
}

/// The model of a target: its own, that of its collection (`quotas/*`), or that of all others.
fn model<'h>(history: &'h History, target: &str) -> Option<&'h Value> {
    let models = &history.header.model;
    if 1 < models.len() {
        if let Some(model) = models.get(target) {
            return Some(model);
        }
        let collection = target.split_once('/').map(|(collection, _)| format!("{collection}/*"));
        if let Some(model) = collection.and_then(|collection| models.get(&collection)) {
            return Some(model);
        }
    }
    models.get("*").or_else(|| models.get(target))
}

fn is_ours(model: &Value) -> bool {
    model.as_str().or_else(|| model.get("model")?.as_str()) == Some("bellpunch")
}

/// A duration of a model: `<name>_ns` or `<name>_ms`.
pub(crate) fn duration(model: &Value, name: &str) -> Option<Nanos> {
    let field = |unit: &str| model.get(format!("{name}_{unit}")).and_then(Value::as_u64);
    let whole = field("ms").map(|ms| Nanos::from(ms).saturating_mul(1_000_000));
    field("ns").map(Nanos::from).or(whole)
}

fn flagged_max(model: Option<&Value>) -> BTreeMap<&str, u64> {
    let bounds = model.and_then(|model| model.get("flagged_max")?.as_object());
    let bounds = bounds.into_iter().flatten();
    bounds.filter_map(|(flag, bound)| Some((flag.as_str(), bound.as_u64()?))).collect()
}

fn sent<'h>(history: &'h History, findings: &mut Findings) -> Vec<Op<'h>> {
    let mut ops: Vec<Op<'h>> = Vec::new();
    for line in &history.lines {
        if let Line::Invoke(call) = line {
            ops.push(Op { call, end: Ended::Unknown });
        }
    }
    ops.sort_by_key(|op| op.call.op);
    ops.dedup_by(|later, earlier| {
        let twice = later.call.op == earlier.call.op;
        if twice {
            let op = later.call.op;
            findings.violation(FORM, vec![op], format!("Two calls have the number {op}."));
        }
        twice
    });
    ops
}

fn end_them<'h>(history: &'h History, ops: &mut [Op<'h>], findings: &mut Findings) {
    let mut ended = vec![false; ops.len()];
    for line in &history.lines {
        let (number, t, end) = match line {
            Line::Accepted(end) => (end.op, end.t, Ended::Accepted(end)),
            Line::Rejected(end) => (end.op, end.t, Ended::Rejected(end)),
            Line::Read(end) => (end.op, end.t, Ended::Read(end)),
            Line::Error(end) => (end.op, end.t, Ended::Error(end)),
            Line::Unknown(end) => (end.op, end.t, Ended::Unknown),
            Line::Invoke(_)
            | Line::Resolved(_)
            | Line::Record(_)
            | Line::Floor(_)
            | Line::Entry(_)
            | Line::Fault(_)
            | Line::Note(_) => continue,
        };
        let place = ops.binary_search_by_key(&number, |op| op.call.op).ok();
        let Some((op, ended)) = place.and_then(|at| Some((ops.get_mut(at)?, ended.get_mut(at)?)))
        else {
            let text = format!("The end of call {number} has no call.");
            findings.violation(FORM, vec![number], text);
            continue;
        };
        if *ended {
            let text = format!("The {} ended twice.", op.named());
            findings.violation(FORM, vec![number], text);
            continue;
        }
        *ended = true;
        if t < op.call.t {
            // An end that cannot be is taken for none: it would stand in its own way.
            let text = format!("The {} ended before it was sent.", op.named());
            findings.violation(FORM, vec![number], text);
            continue;
        }
        op.end = end;
    }
}

fn tally(ops: &[Op<'_>], findings: &mut Findings) {
    let counts = &mut findings.counts;
    for op in ops {
        count(&mut counts.ops);
        if let Some(flag) = op.flag() {
            count(counts.flagged.entry(flag.to_owned()).or_default());
        }
        count(match op.end {
            Ended::Accepted(end) if end.replayed => &mut counts.replays,
            Ended::Accepted(_) => &mut counts.accepted,
            Ended::Rejected(_) => &mut counts.rejected,
            Ended::Read(_) => &mut counts.reads,
            Ended::Error(_) => &mut counts.errors,
            Ended::Unknown => &mut counts.unknown,
        });
    }
}
