//! From replies to effects: one per idempotency key.
//!
//! Invariant: replies that tell of one effect become one node, whoever was told. An effect of which
//! only replays or the final question tell may have come from any call of that key without a known
//! end, so its node begins with the first of these.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Known, Node, Told};
use crate::calls::{Ended, Op, Part};
use crate::history::{Accepted, Rejected, Resolved, Versions};
use crate::instant::{Nanos, parse, print};
use crate::judge::{Findings, count};

const RULE: &str = "witness.key";
const REUSED: &str = "idempotency_key_reused";

/// What one key did, once.
#[derive(Debug)]
struct Effect<'h> {
    at: Nanos,
    writes: Cow<'h, Versions>,
    sees: Cow<'h, Versions>,
    seq: Option<u64>,
    reply: Cow<'h, Value>,
    /// Who was told first hand.
    first: Option<Op<'h>>,
    /// Who was told again.
    again: Vec<Op<'h>>,
}

/// Finds the effects of a partition, and judges its keys.
pub(super) fn known<'h>(part: &Part<'h>, findings: &mut Findings) -> Known<'h> {
    let mut known = Known::default();
    known.nodes.reserve(part.ops.len());
    let mut keyed: Vec<(&'h str, usize)> = Vec::new();
    for (place, op) in part.ops.iter().enumerate() {
        if op.flag().is_some() {
            continue;
        }
        match &op.call.key {
            Some(key) if !op.only_looks() => keyed.push((key, place)),
            _ => without_key(*op, &mut known, findings),
        }
    }
    keyed.sort_unstable();
    let mut resolved: BTreeMap<&str, &'h Resolved> = BTreeMap::new();
    for line in &part.resolved {
        let earlier = resolved.insert(&line.key, line);
        if let Some(earlier) = earlier.filter(|earlier| earlier.applied && !line.applied) {
            let text = format!("The outcome of key {:?} was there, and then was not.", line.key);
            findings.violation(RULE, Vec::new(), text);
            resolved.insert(&line.key, earlier);
        }
    }
    for group in keyed.chunk_by(|(one, _), (other, _)| one == other) {
        let Some((key, _)) = group.first() else { continue };
        let ops = group.iter().filter_map(|(_, place)| part.ops.get(*place)).copied().collect();
        let (resolved, keep) = (resolved.remove(key), part.keep);
        let group = Group { part, key, ops, resolved, keep };
        group.judge(&mut known, findings);
    }
    for (key, line) in resolved {
        if line.applied {
            let text = format!("Key {key:?} had an effect, and no call has it.");
            findings.violation(RULE, Vec::new(), text);
        }
    }
    known
}

fn instant(op: &Op<'_>, at: &str, findings: &mut Findings) -> Option<Nanos> {
    let parsed = parse(at);
    if parsed.is_none() {
        let text = format!("The {} was told the time {at:?}, which is none.", op.named());
        findings.violation("history.form", vec![op.call.op], text);
    }
    parsed
}

fn without_key<'h>(op: Op<'h>, known: &mut Known<'h>, findings: &mut Findings) {
    match op.end {
        Ended::Accepted(end) => {
            if end.replayed {
                let text = format!("The {} has no key and was told a replay.", op.named());
                findings.violation(RULE, vec![op.call.op], text);
                return;
            }
            let Some(at) = instant(&op, &end.at, findings) else { return };
            known.nodes.push(Node {
                call: op.call,
                sent: op.call.t,
                returned: end.t,
                at,
                sees: Cow::Borrowed(&end.reads),
                writes: Cow::Borrowed(&end.writes),
                seq: end.seq,
                told: Told::Accepted(Cow::Borrowed(&end.reply)),
            });
        }
        Ended::Rejected(end) => known.nodes.extend(rejection(op, end, findings)),
        Ended::Read(end) => {
            let Some(at) = instant(&op, &end.at, findings) else { return };
            known.nodes.push(Node {
                call: op.call,
                sent: op.call.t,
                returned: end.t,
                at,
                sees: Cow::Borrowed(&end.as_of),
                writes: Cow::Owned(Versions::new()),
                seq: None,
                told: Told::Read(&end.reply),
            });
        }
        Ended::Error(_) => {}
        Ended::Unknown if op.only_looks() => count(&mut findings.counts.unknown_resolved),
        Ended::Unknown => known.open.push(op),
    }
}

fn rejection<'h>(op: Op<'h>, end: &'h Rejected, findings: &mut Findings) -> Option<Node<'h>> {
    Some(Node {
        call: op.call,
        sent: op.call.t,
        returned: end.t,
        at: instant(&op, &end.at, findings)?,
        sees: Cow::Borrowed(&end.as_of),
        writes: Cow::Owned(Versions::new()),
        seq: None,
        told: Told::Rejected(end),
    })
}

/// The calls of one key.
struct Group<'p, 'h> {
    part: &'p Part<'h>,
    key: &'h str,
    ops: Vec<Op<'h>>,
    resolved: Option<&'h Resolved>,
    keep: Nanos,
}

/// The place in the journal that a receipt tells: of a list, that of its last command.
fn last_place(receipt: &Value) -> Option<u64> {
    let all = receipt.get("seqs").and_then(Value::as_array).into_iter().flatten();
    let last = all.filter_map(Value::as_u64).next_back();
    receipt.get("seq").and_then(Value::as_u64).or(last)
}

/// Whether two calls ask for the same.
fn alike(one: &Op<'_>, other: &Op<'_>) -> bool {
    one.call.cmd == other.call.cmd && one.call.args == other.call.args
}

/// A reply without what is told once only.
fn repeatable(reply: &Value) -> Cow<'_, Value> {
    let once = ["secret", "secret_withheld"];
    match reply {
        Value::Object(fields) if once.iter().any(|name| fields.contains_key(*name)) => {
            let mut fields = fields.clone();
            fields.retain(|name, _| !once.contains(&name.as_str()));
            Cow::Owned(Value::Object(fields))
        }
        Value::Object(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_) => Cow::Borrowed(reply),
    }
}

impl<'h> Group<'_, 'h> {
    fn judge(&self, known: &mut Known<'h>, findings: &mut Findings) {
        let mut effects = self.told_first_hand(findings);
        for op in &self.ops {
            if let Ended::Accepted(end) = op.end
                && end.replayed
            {
                self.told_again(*op, (end, &mut effects), findings);
            }
        }
        self.asked_for(&mut effects, findings);
        effects.sort_by_key(|effect| effect.at);
        self.once(&effects, findings);
        let nodes: Vec<Node<'h>> =
            effects.into_iter().filter_map(|effect| self.node(effect, findings)).collect();
        self.rejections((&nodes, known), findings);
        for op in &self.ops {
            if matches!(op.end, Ended::Unknown) {
                if self.resolved.is_some() || !nodes.is_empty() {
                    count(&mut findings.counts.unknown_resolved);
                } else {
                    known.open.push(*op);
                }
            }
        }
        known.nodes.extend(nodes);
    }

    fn told_first_hand(&self, findings: &mut Findings) -> Vec<Effect<'h>> {
        let mut effects = Vec::new();
        for op in &self.ops {
            let Ended::Accepted(end) = op.end else { continue };
            if end.replayed {
                continue;
            }
            let Some(at) = instant(op, &end.at, findings) else { continue };
            effects.push(Effect {
                at,
                writes: Cow::Borrowed(&end.writes),
                sees: Cow::Borrowed(&end.reads),
                seq: end.seq,
                reply: Cow::Borrowed(&end.reply),
                first: Some(*op),
                again: Vec::new(),
            });
        }
        effects
    }

    fn told_again(
        &self,
        op: Op<'h>,
        (end, effects): (&'h Accepted, &mut Vec<Effect<'h>>),
        findings: &mut Findings,
    ) {
        let Some(at) = instant(&op, &end.at, findings) else { return };
        let Some(effect) = effects.iter_mut().find(|effect| effect.at == at) else {
            if effects.iter().any(|effect| effect.at.abs_diff(at) < self.keep.unsigned_abs()) {
                let text = format!(
                    "The {} was told a replay with another time than the first of key {:?}.",
                    op.named(),
                    self.key
                );
                findings.violation(RULE, vec![op.call.op], text);
                return;
            }
            effects.push(Effect {
                at,
                writes: Cow::Borrowed(&end.writes),
                sees: Cow::Borrowed(&end.reads),
                seq: end.seq,
                reply: Cow::Borrowed(&end.reply),
                first: None,
                again: vec![op],
            });
            return;
        };
        let first = effect.first.or_else(|| effect.again.first().copied());
        let wrong = if *effect.writes != end.writes {
            Some("other versions")
        } else if repeatable(&effect.reply) != repeatable(&end.reply) {
            Some("another reply")
        } else if first.is_some_and(|first| !alike(&first, &op)) {
            Some("the receipt of another content")
        } else if effect.first.is_some_and(|first| end.t < first.call.t) {
            Some("its receipt before the first was sent,")
        } else {
            None
        };
        if let Some(wrong) = wrong {
            let first = first.map(|first| first.call.op);
            let text = format!(
                "The {} was told {wrong} as a replay of key {:?}, whose first was call {}.",
                op.named(),
                self.key,
                first.unwrap_or_default()
            );
            let ops = first.into_iter().chain([op.call.op]).collect();
            findings.violation(RULE, ops, text);
        }
        effect.again.push(op);
    }

    /// What the final question says.
    fn asked_for(&self, effects: &mut Vec<Effect<'h>>, findings: &mut Findings) {
        let Some(resolved) = self.resolved else { return };
        let receipt = &resolved.receipt;
        let ops = || self.ops.iter().map(|op| op.call.op).collect::<Vec<_>>();
        let time = |name: &str| receipt.get(name).and_then(Value::as_str).and_then(parse);
        if !resolved.applied {
            // Past its retention an outcome is gone, and nothing can be said.
            let kept_since = time("kept_since");
            let gone = |effect: &Effect<'_>| match kept_since {
                Some(since) => effect.at < since,
                None => self.latest().is_some_and(|at| effect.at.saturating_add(self.keep) <= at),
            };
            if let Some(lost) = effects.iter().find(|effect| !gone(effect)) {
                let text = format!(
                    "Key {:?} was accepted at {}, and in the end it is not applied.",
                    self.key,
                    print(lost.at)
                );
                findings.violation(RULE, ops(), text);
            }
            return;
        }
        let versions = |name: &str| {
            let known = receipt.get(name).cloned();
            known.map_or(Some(Versions::new()), |known| serde_json::from_value(known).ok())
        };
        let read = (time("at"), versions("versions"), versions("as_of"));
        let (Some(at), Some(writes), Some(sees)) = read else {
            let text = format!("The receipt of key {:?} cannot be read: {receipt}.", self.key);
            findings.violation("history.form", ops(), text);
            return;
        };
        if let Some(effect) = effects.iter().find(|effect| effect.at == at) {
            if *effect.writes != writes {
                let text = format!(
                    "Key {:?} was told other versions than its outcome has in the end.",
                    self.key
                );
                findings.violation(RULE, ops(), text);
            }
            return;
        }
        let replies = ["replies", "results", "reply"].iter().find_map(|name| receipt.get(*name));
        let list = self.ops.iter().any(|op| op.call.cmd == "commands");
        let mut reply = replies.cloned().unwrap_or_default();
        if let Value::Array(replies) = &mut reply
            && !list
            && replies.len() == 1
        {
            reply = replies.swap_remove(0);
        }
        effects.push(Effect {
            at,
            writes: Cow::Owned(writes),
            sees: Cow::Owned(sees),
            seq: last_place(receipt),
            reply: Cow::Owned(reply),
            first: None,
            again: Vec::new(),
        });
    }

    /// The latest time that any call of the partition was told.
    fn latest(&self) -> Option<Nanos> {
        let at = |op: &Op<'_>| match op.end {
            Ended::Accepted(end) => parse(&end.at),
            Ended::Rejected(end) => parse(&end.at),
            Ended::Read(end) => parse(&end.at),
            Ended::Error(_) | Ended::Unknown => None,
        };
        self.part.ops.iter().filter_map(at).max()
    }

    fn once(&self, effects: &[Effect<'h>], findings: &mut Findings) {
        for pair in effects.windows(2) {
            let [one, other] = pair else { continue };
            if other.at.saturating_sub(one.at) < self.keep {
                let of = |effect: &Effect<'_>| {
                    effect.first.or_else(|| effect.again.first().copied()).map(|op| op.call.op)
                };
                let text = format!(
                    "Key {:?} had two effects, at {} and at {}.",
                    self.key,
                    print(one.at),
                    print(other.at)
                );
                findings.violation(RULE, of(one).into_iter().chain(of(other)).collect(), text);
            }
        }
    }

    fn node(&self, effect: Effect<'h>, findings: &mut Findings) -> Option<Node<'h>> {
        let told = effect.again.iter().chain(&effect.first).map(Op::returned).min();
        let returned = told.unwrap_or(u64::MAX);
        let first = match effect.first {
            Some(first) => first,
            None => self.may_have_been(&effect, findings)?,
        };
        Some(Node {
            call: first.call,
            sent: first.call.t,
            returned,
            at: effect.at,
            sees: effect.sees,
            writes: effect.writes,
            seq: effect.seq,
            told: Told::Accepted(effect.reply),
        })
    }

    /// The first call that can have had an effect nobody was told of first hand.
    fn may_have_been(&self, effect: &Effect<'h>, findings: &mut Findings) -> Option<Op<'h>> {
        let again = effect.again.first();
        let unsure = self.ops.iter().filter(|op| matches!(op.end, Ended::Unknown));
        let unsure = unsure.filter(|op| again.is_none_or(|again| alike(again, op)));
        let may: Vec<&Op<'h>> = unsure.chain(&effect.again).collect();
        let Some(first) = may.iter().min_by_key(|op| op.call.t) else {
            let text = format!(
                "Key {:?} had an effect at {}, and each of its calls was told that it had none.",
                self.key,
                print(effect.at)
            );
            let ops = self.ops.iter().map(|op| op.call.op).collect();
            findings.violation(RULE, ops, text);
            return None;
        };
        if may.iter().any(|op| !alike(op, first)) {
            findings.undecided(format!(
                "key {:?} had an effect, and calls with different content may have had it",
                self.key
            ));
            return None;
        }
        Some(**first)
    }

    /// A key that was reused is told so, and nobody else is.
    fn rejections(&self, (effects, known): (&[Node<'h>], &mut Known<'h>), findings: &mut Findings) {
        for op in &self.ops {
            let Ended::Rejected(end) = op.end else { continue };
            let Some(node) = rejection(*op, end, findings) else { continue };
            let kept = |effect: &Node<'_>| {
                effect.at <= node.at && node.at < effect.at.saturating_add(self.keep)
            };
            let content = |call: &crate::history::Invoke| {
                call.cmd == op.call.cmd && call.args == op.call.args
            };
            if end.code != REUSED {
                let done =
                    effects.iter().find(|effect| effect.returned < op.call.t && kept(effect));
                if let Some(done) = done {
                    let text = format!(
                        "Key {:?} had its effect when the {} was sent, which was decided afresh.",
                        self.key,
                        op.named()
                    );
                    findings.violation(RULE, vec![done.call.op, op.call.op], text);
                }
                known.nodes.push(node);
                continue;
            }
            let told_at = end.reply.get("at").and_then(Value::as_str).and_then(parse);
            let other = effects.iter().any(|effect| {
                effect.sent <= node.returned
                    && kept(effect)
                    && !content(effect.call)
                    && told_at.is_none_or(|at| at == effect.at)
            });
            let unsure = || {
                let open = |op: &&Op<'_>| matches!(op.end, Ended::Unknown) && !content(op.call);
                self.resolved.is_none() && self.ops.iter().any(|op| open(&op))
            };
            if other {
                continue;
            }
            if unsure() {
                findings.undecided(format!(
                    "the {} was told that its key was used, and nobody knows whether it was",
                    op.named()
                ));
            } else {
                let text = format!(
                    "The {} was told that key {:?} was used for something else, which it was not \
                     ({}).",
                    op.named(),
                    self.key,
                    json!(end.reply)
                );
                findings.violation(RULE, vec![op.call.op], text);
            }
        }
    }
}
