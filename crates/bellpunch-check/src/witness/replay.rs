//! Asks the model for every answer again.
//!
//! Invariant: a call is asked for with the time that was told, on the state that the calls before
//! it left. What the model states must be what was told; what it does not state is not compared.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::chains::{Chains, index};
use super::places::{Failure, Found, look};
use super::{Node, Told};
use crate::calls::Part;
use crate::history::{Rejected, Versions};
use crate::instant::Nanos;
use crate::judge::{Findings, Sequential, count};
use crate::model::{Call, Verdict};

pub(super) const RULE: &str = "witness.reply";
/// How often the state as a whole is tested, at most.
pub(super) const CHECKS_MAX: usize = 512;
const NONE: &Value = &Value::Null;

/// How a replay ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// Every answer is explained, or is told as a violation.
    Explained,
    /// What was put into the gaps does not explain them: nothing is known.
    Unexplained,
}

pub(super) type Rises<'n> = BTreeMap<(u32, &'n str), u64>;

/// Replays the nodes in this order, or in another legal one if the model does not agree.
pub(super) fn replay<S: Sequential + Default>(
    part: &Part<'_>,
    (nodes, order, chains): (&[Node<'_>], &[u32], &Chains<'_>),
    findings: &mut Findings,
) -> End {
    let mut replayed = Replayed::<S>::new();
    let failed = replayed.all((nodes, chains), order);
    let mut is_whole = failed.is_none();
    // Once the model cannot know a command, its state is a guess.
    if let Some(first) = failed.filter(|_| replayed.unknown.is_empty()) {
        let asked = replayed.asked;
        let found =
            if first.rule == RULE { look((nodes, chains), order) } else { Found::Failed(first) };
        let is_filled = nodes.iter().any(|node| matches!(node.told, Told::Nothing));
        match found {
            Found::Explained(again) => {
                is_whole = true;
                replayed = again;
                replayed.asked = replayed.asked.saturating_add(asked);
            }
            Found::Failed(_) | Found::Untried(_) if is_filled => return End::Unexplained,
            // The model's state no longer is that of the calls: what follows would be noise.
            Found::Failed(Failure { place, rule, text, .. }) => {
                let node = nodes.get(index(place));
                let name = node.map(Node::named).unwrap_or_default();
                let ops = node.iter().map(|node| node.call.op).collect();
                let text = format!("The {name} {text} (partition {:?})", part.name);
                findings.violation(rule, ops, text);
            }
            Found::Untried(Failure { place, text, .. }) => {
                let name = nodes.get(index(place)).map(Node::named).unwrap_or_default();
                findings.undecided(format!(
                    "the {name} {text} Not all places it may have were tried (partition {:?})",
                    part.name
                ));
            }
        }
    }
    let Replayed { state, unknown, asked } = replayed;
    findings.counts.modelled = findings.counts.modelled.saturating_add(asked);
    for cmd in &unknown {
        findings.undecided(format!("no model knows the command {cmd}"));
    }
    if is_whole && unknown.is_empty() && findings.violated() == 0 {
        for line in &part.records {
            let deleted = line.value.is_null();
            if state.exists(&line.record) == Some(deleted) {
                let found = if deleted { "deleted" } else { "there" };
                let text = format!("In the end {} is {found}, and should not be.", line.record);
                findings.violation("witness.final", Vec::new(), text);
            }
        }
    }
    End::Explained
}

/// A model, and how far it got.
pub(super) struct Replayed<S> {
    pub(super) state: S,
    pub(super) unknown: BTreeSet<String>,
    asked: u64,
}

/// What a list of commands comes to.
enum Came {
    Accepted(Vec<(Value, BTreeSet<String>)>),
    Rejected(usize, String, Value),
    Taken,
}

impl<S: Sequential + Default> Replayed<S> {
    pub(super) fn new() -> Self {
        Self { state: S::default(), unknown: BTreeSet::new(), asked: 0 }
    }

    /// All nodes in this order, up to the first that the model disagrees with.
    fn all(
        &mut self,
        (nodes, chains): (&[Node<'_>], &Chains<'_>),
        order: &[u32],
    ) -> Option<Failure> {
        let stride = order.len().div_ceil(CHECKS_MAX).max(1);
        let mut latest = Nanos::MIN;
        for (turn, place) in order.iter().enumerate() {
            let Some(node) = nodes.get(index(*place)) else { continue };
            latest = latest.max(node.at);
            if let Err(text) = self.one(node, (*place, &chains.rises)) {
                return Some(Failure::new(*place, RULE, text));
            }
            let checked =
                turn.checked_rem(stride) == Some(0) || order.len() <= turn.saturating_add(1);
            let unsound = if checked { self.state.check(latest).err() } else { None };
            if let Some(text) = unsound {
                return Some(Failure::new(*place, "model.check", text));
            }
        }
        None
    }

    /// One node: an error is the end of a sentence that begins with it.
    pub(super) fn one(
        &mut self,
        node: &Node<'_>,
        (place, rises): (u32, &Rises<'_>),
    ) -> Result<(), String> {
        let is_list = node.call.cmd == "commands" && node.call.args.is_array();
        let told = match &node.told {
            Told::Accepted(reply) => Some(&**reply),
            Told::Read(reply) => Some(*reply),
            Told::Rejected(_) | Told::Nothing => None,
        };
        let came = if is_list {
            self.list(node, told)
        } else {
            self.ask((&node.call.cmd, &node.call.args), (node.at, told))
        };
        match (&node.told, came) {
            (_, Came::Taken) => {
                self.state.told(&node.writes, node.at);
                Ok(())
            }
            (Told::Rejected(end), Came::Rejected(index, code, reply)) => {
                same_rejection(end, (is_list, index), (&code, &reply))
            }
            (Told::Rejected(end), Came::Accepted(_)) => {
                Err(format!("was rejected with {}, and had to be accepted.", end.code))
            }
            (Told::Nothing, Came::Rejected(_, code, _)) => {
                Err(format!("is needed for a version, and had to be rejected with {code}."))
            }
            (Told::Accepted(_) | Told::Read(_), Came::Rejected(_, code, reply)) => {
                Err(format!("was accepted, and had to be rejected with {code} {reply}."))
            }
            (_, Came::Accepted(expected)) => {
                for (place, (reply, _)) in expected.iter().enumerate() {
                    let Some(told) = told else { break };
                    let told = if is_list { told.get(place).unwrap_or(NONE) } else { told };
                    same(reply, told).map_err(|difference| format!("was told {difference}"))?;
                }
                if matches!(node.told, Told::Read(_)) {
                    let wrote = expected.iter().find(|(_, writes)| !writes.is_empty());
                    return wrote.map_or(Ok(()), |(_, writes)| {
                        Err(format!("was only read, and had to write {writes:?}."))
                    });
                }
                let gone = same_writes(&self.state, node, &expected)?;
                self.state.told(&gone, node.at);
                let state = &self.state;
                same_rises(node, &expected, |name| {
                    let stated = state.states(name) && !gone.contains_key(name);
                    rises.get(&(place, name)).copied().filter(|_| stated)
                })
            }
        }
    }

    fn ask(&mut self, (cmd, args): (&str, &Value), (at, drawn): (Nanos, Option<&Value>)) -> Came {
        // What was recorded under a key is judged by the table of keys.
        if cmd == "outcomes.read" {
            return Came::Taken;
        }
        count(&mut self.asked);
        let args = in_nanos(args);
        match self.state.apply(&Call { cmd, args: &args, at, drawn }) {
            Verdict::Accepted { reply, writes } => Came::Accepted(vec![(reply, writes)]),
            Verdict::Rejected { code, reply } => Came::Rejected(0, code, reply),
            Verdict::Housekeeping => Came::Taken,
            Verdict::NotModelled => {
                self.unknown.insert(cmd.to_owned());
                Came::Taken
            }
        }
    }

    fn list(&mut self, node: &Node<'_>, told: Option<&Value>) -> Came {
        let commands = node.call.args.as_array().map_or(&[][..], Vec::as_slice);
        // All or nothing: what came before a rejection has not happened. A list that was accepted
        // never needs the way back, because a rejection of it ends the replay.
        let before = matches!(node.told, Told::Rejected(_)).then(|| self.state.clone());
        let mut all = Vec::with_capacity(commands.len());
        let mut taken = false;
        for (place, command) in commands.iter().enumerate() {
            let cmd = command.get("cmd").and_then(Value::as_str).unwrap_or_default();
            let args = command.get("args").unwrap_or(NONE);
            let drawn = told.and_then(|told| told.get(place));
            match self.ask((cmd, args), (node.at, drawn)) {
                Came::Accepted(one) => all.extend(one),
                Came::Taken => taken = true,
                Came::Rejected(_, code, reply) => {
                    if let Some(before) = before {
                        self.state = before;
                    }
                    return Came::Rejected(place, code, reply);
                }
            }
        }
        if taken { Came::Taken } else { Came::Accepted(all) }
    }
}

fn same_rejection(
    end: &Rejected,
    (is_list, index): (bool, usize),
    (code, reply): (&str, &Value),
) -> Result<(), String> {
    if end.code != code {
        return Err(format!("was rejected with {}, and had to be with {code}.", end.code));
    }
    let index = u64::try_from(index).unwrap_or(u64::MAX);
    if is_list && end.index.unwrap_or_default() != index {
        return Err(format!("was rejected at another place of its list than {index}."));
    }
    same(reply, &end.reply).map_err(|difference| format!("was told {difference}"))
}

/// Records that were written, where the model says which.
fn same_writes<S: Sequential>(
    state: &S,
    node: &Node<'_>,
    expected: &[(Value, BTreeSet<String>)],
) -> Result<Versions, String> {
    if expected.iter().any(|(_, writes)| writes.is_empty()) {
        return Ok(Versions::new());
    }
    let all: BTreeSet<&str> =
        expected.iter().flat_map(|(_, writes)| writes).map(String::as_str).collect();
    let is_told = |name: &&str| !name.starts_with("outcomes/") && state.states(name);
    let told: BTreeSet<&str> = node.writes.keys().map(String::as_str).filter(is_told).collect();
    // A reset of a key that counts nothing writes nothing, and whether it counts follows from what
    // housekeeping took away.
    if told.is_empty() && node.call.cmd == "policies.reset" {
        return Ok(Versions::new());
    }
    let beside = node
        .writes
        .iter()
        .filter(|(name, _)| told.contains(name.as_str()) && !all.contains(name.as_str()));
    let gone: Versions = beside.map(|(name, version)| (name.clone(), *version)).collect();
    if all.is_subset(&told) && gone.keys().all(|name| state.may_go(name, node.at)) {
        return Ok(gone);
    }
    Err(format!("wrote {told:?}, and had to write {all:?}."))
}

/// A list raises a record by one for each of its commands that wrote it.
fn same_rises<'n>(
    node: &'n Node<'_>,
    expected: &[(Value, BTreeSet<String>)],
    rise: impl Fn(&'n str) -> Option<u64>,
) -> Result<(), String> {
    if expected.len() < 2 || expected.iter().any(|(_, writes)| writes.is_empty()) {
        return Ok(());
    }
    for name in node.writes.keys() {
        let Some(rise) = rise(name) else { continue };
        let writers = expected.iter().filter(|(_, writes)| writes.contains(name)).count();
        if u64::try_from(writers) != Ok(rise) {
            return Err(format!(
                "raised {name} by {rise}, and {writers} of its commands wrote it."
            ));
        }
    }
    Ok(())
}

/// Durations of a wire, as the rules read them.
pub(super) fn in_nanos(args: &Value) -> Cow<'_, Value> {
    if has_millis(args) { Cow::Owned(converted(args)) } else { Cow::Borrowed(args) }
}

/// Names under which callers keep what they like.
const OPAQUE: [&str; 2] = ["metadata", "labels"];

fn has_millis(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.iter().any(|(name, value)| {
            (name.ends_with("_ms") && value.is_u64())
                || (!OPAQUE.contains(&name.as_str()) && has_millis(value))
        }),
        Value::Array(values) => values.iter().any(has_millis),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn converted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut all = Map::new();
            for (name, value) in fields {
                let millis = name.strip_suffix("_ms").zip(value.as_u64());
                let nanos = millis.and_then(|(stem, ms)| Some((stem, ms.checked_mul(1_000_000)?)));
                if let Some((stem, ns)) = nanos {
                    all.insert(format!("{stem}_ns"), ns.into());
                } else if OPAQUE.contains(&name.as_str()) {
                    all.insert(name.clone(), value.clone());
                } else {
                    all.insert(name.clone(), converted(value));
                }
            }
            Value::Object(all)
        }
        Value::Array(values) => values.iter().map(converted).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// Whether all that the model states was told. An error is the rest of "was told …".
fn same(expected: &Value, told: &Value) -> Result<(), String> {
    match (expected, told) {
        (Value::Object(expected), _) => {
            for (name, value) in expected {
                let (found, value) = field((name, value), told);
                let found = found.unwrap_or(NONE);
                let compared = match (&*value, found) {
                    (Value::Array(expected), Value::Array(told))
                        if UNORDERED.contains(&name.as_str()) =>
                    {
                        same_in_any_order(expected, told)
                    }
                    (value, found) => same(value, found),
                };
                compared.map_err(|difference| under(name, &difference))?;
            }
            Ok(())
        }
        (Value::Array(expected), Value::Array(told)) if expected.len() == told.len() => {
            for (place, (expected, told)) in expected.iter().zip(told).enumerate() {
                same(expected, told)
                    .map_err(|difference| under(&place.to_string(), &difference))?;
            }
            Ok(())
        }
        _ if expected == told || as_digits(expected, told) || as_digits(told, expected) => Ok(()),
        _ => Err(format!("{told}, and had to be told {expected}.")),
    }
}

/// Lists whose order nobody promised.
const UNORDERED: [&str; 7] =
    ["accounts", "diverted", "events", "invoices", "payments", "postings", "retainers"];

/// Whether each that the model states was told once, and no others.
fn same_in_any_order(expected: &[Value], told: &[Value]) -> Result<(), String> {
    let mut left: Vec<&Value> = told.iter().collect();
    for one in expected {
        let place = left.iter().position(|told| same(one, told).is_ok());
        match place {
            Some(place) => drop(left.swap_remove(place)),
            None => return Err(differ(told, expected)),
        }
    }
    if left.is_empty() { Ok(()) } else { Err(differ(told, expected)) }
}

fn differ(told: &[Value], expected: &[Value]) -> String {
    let (told, expected) = (Value::Array(told.to_vec()), Value::Array(expected.to_vec()));
    format!("{told}, and had to be told {expected}.")
}

fn under(name: &str, difference: &str) -> String {
    // Paths read from the outside in: `quota.used = 3, and had to be told 2.`
    match difference.split_once(" = ") {
        Some((path, rest)) if !path.contains(' ') => format!("{name}.{path} = {rest}"),
        _ => format!("{name} = {difference}"),
    }
}

/// Large numbers are told as digits.
fn as_digits(number: &Value, text: &Value) -> bool {
    let digits = number.is_number().then(|| number.to_string());
    digits.is_some() && text.as_str() == digits.as_deref()
}

/// The field of a reply that tells `name`: a duration may be told in milliseconds, rounded up.
fn field<'v>(
    (name, value): (&str, &'v Value),
    told: &'v Value,
) -> (Option<&'v Value>, Cow<'v, Value>) {
    let found = told.get(name);
    if found.is_some() {
        return (found, Cow::Borrowed(value));
    }
    let Some(stem) = name.strip_suffix("_ns") else { return (None, Cow::Borrowed(value)) };
    let found = told.get(format!("{stem}_ms"));
    match value.as_u64().filter(|_| found.is_some()) {
        Some(ns) => (found, Cow::Owned(ns.div_ceil(1_000_000).into())),
        None => (found, Cow::Borrowed(value)),
    }
}
