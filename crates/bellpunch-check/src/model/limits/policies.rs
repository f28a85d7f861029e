//! Policies, and keys under them.
//!
//! Invariant: a counter that was last decided on under older terms goes through each kept change
//! in turn, at the instant of the change.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::admission::{Account, Admission, Item, Kind, Space};
use super::counter::Counter;
use super::terms::Terms;
use super::value::{IfVersion, Target, at as shown_at, record};
use super::{Limits, No, Yes, content};
use crate::instant::Nanos;
use crate::model::Call;

/// Changes that a policy keeps.
const CHANGES_KEPT: usize = 16;

/// Terms, and since when.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    pub(super) number: u64,
    pub(super) at: Nanos,
    pub(super) terms: Terms,
}

/// A stored policy.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Policy {
    pub(super) changes: Vec<Change>,
    pub(super) epoch: u64,
}

impl Policy {
    /// A counter as the policy's changes have made it.
    pub(super) fn forward(&self, counter: &Counter, now: Nanos) -> Counter {
        let mut counter = counter.clone();
        for change in &self.changes {
            if counter.change < change.number {
                counter.take_terms(&change.terms, change.at);
                counter.change = change.number;
            }
        }
        if counter.policy_epoch != self.epoch {
            counter.reset(now);
            counter.policy_epoch = self.epoch;
        }
        counter
    }

    fn shown(&self, id: &str) -> Value {
        let Some(last) = self.changes.last() else { return Value::Null };
        let mut shown = last.terms.form.clone();
        shown.insert("id".to_owned(), id.into());
        shown.insert("since".to_owned(), shown_at(Some(last.at)));
        Value::Object(shown)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct One {
    id: String,
    if_version: Option<IfVersion>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfKey {
    id: String,
    key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    policy: String,
    key: String,
}

impl Limits {
    fn policy_version(&self, id: &str) -> Option<u64> {
        let known = self.versions.get(&record("policies", &[id])).copied();
        known.filter(|_| self.policies.contains_key(id))
    }

    fn policy_at(&self, one: &One) -> Result<&Policy, No> {
        let Some(policy) = self.policies.get(&one.id) else {
            return Err(No::new("policy_not_found").with("targets", Value::Null));
        };
        check_version(self.policy_version(&one.id), one.if_version.as_ref())?;
        Ok(policy)
    }

    pub(super) fn set_policy(&mut self, call: &Call<'_>) -> Result<Yes, No> {
        let mut fields: Map<String, Value> = content(call)?;
        let mut one = Map::new();
        for name in ["id", "if_version"] {
            if let Some(value) = fields.remove(name) {
                one.insert(name.to_owned(), value);
            }
        }
        let (one, terms) = (Value::Object(one), Value::Object(fields));
        let one: One = content(&Call { args: &one, ..*call })?;
        let terms: Terms = content(&Call { args: &terms, ..*call })?;
        let known = self.policies.get(&one.id);
        // Keys that there are already were not counted.
        let bounded = |policy: &Policy| policy.changes.last().map(|last| last.terms.max_keys);
        if known.and_then(bounded) == Some(None) && terms.max_keys.is_some() {
            return Err(No::shape("invalid_request", "max_keys".to_owned()));
        }
        check_version(self.policy_version(&one.id), one.if_version.as_ref())?;
        let last = known.and_then(|policy| policy.changes.last());
        if let Some(last) = last.filter(|last| !last.terms.algorithm.is_like(&terms.algorithm)) {
            let name = last.terms.algorithm.name();
            return Err(No::new("algorithm_changed").with("algorithm", name.into()));
        }

        let changed = last.is_none_or(|last| last.terms != terms);
        let number = last.map_or(0, |last| last.number.saturating_add(1));
        let births = self.births;
        let policy = self.policies.entry(one.id.clone()).or_insert_with(|| Policy {
            changes: Vec::new(),
            // Not 0: that is the epoch of a counter that was never written.
            epoch: births.saturating_add(1),
        });
        let mut yes = Yes::default();
        if changed {
            policy.changes.push(Change { number, at: call.at, terms });
            let over = policy.changes.len().saturating_sub(CHANGES_KEPT);
            policy.changes.drain(..over);
            yes.writes.insert(record("policies", &[&one.id]));
        }
        Ok(yes.with("policy", policy.shown(&one.id)).with("changed", changed.into()))
    }

    pub(super) fn delete_policy(&mut self, call: &Call<'_>) -> Result<Yes, No> {
        let one: One = content(call)?;
        let shown = self.policy_at(&one)?.shown(&one.id);
        if self.is_in_use(&one.id, call.at) {
            return Err(No::new("policy_in_use"));
        }

        self.policies.remove(&one.id);
        self.counters.retain(|(space, policy, _), _| *space == Space::Inline || *policy != one.id);
        let mut yes = Yes::default();
        yes.writes.insert(record("policies", &[&one.id]));
        Ok(yes.with("policy", shown).with("changed", true.into()))
    }

    pub(super) fn reset_policy(&mut self, call: &Call<'_>) -> Result<Yes, No> {
        let one: One = content(call)?;
        self.policy_at(&one)?;

        let epoch = self.births.saturating_add(1);
        let Some(policy) = self.policies.get_mut(&one.id) else { return Ok(Yes::default()) };
        policy.epoch = epoch;
        let mut yes = Yes::default();
        yes.writes.insert(record("policies", &[&one.id]));
        Ok(yes.with("policy", policy.shown(&one.id)))
    }

    pub(super) fn read_policy(&self, call: &Call<'_>) -> Result<Yes, No> {
        let one: One = content(call)?;
        let policy = self.policy_at(&one)?;
        Ok(Yes::default().with("policy", policy.shown(&one.id)))
    }

    fn key(&self, policy: String, key: String, now: Nanos) -> Result<Admission, No> {
        self.admission(&[Item::of(Target::Rate { policy, key }, 0)], now)
    }

    pub(super) fn read_counter(&self, call: &Call<'_>) -> Result<Yes, No> {
        let read: Read = content(call)?;
        let found = self.key(read.policy, read.key, call.at)?;
        let shown = found.shown().pop().unwrap_or_default();
        Ok(Yes::default().with("counter", shown))
    }

    pub(super) fn reset_counter(&mut self, call: &Call<'_>) -> Result<Yes, No> {
        let of_key: OfKey = content(call)?;
        let mut found = self.key(of_key.id, of_key.key, call.at)?;

        let mut yes = Yes::default();
        for account in &mut found.accounts {
            let Account { kind: Kind::Rate(rate), .. } = account else { continue };
            if !rate.is_new {
                // One that is idle is as good as absent, and so it is left alone.
                let unused = rate.counter.is_idle(call.at);
                rate.counter.reset(call.at);
                let written = account.clone();
                self.write(&[&written], &mut yes.writes, call.at);
                if unused {
                    yes.writes.clear();
                }
            }
        }
        let shown = found.shown().pop().unwrap_or_default();
        Ok(yes.with("counter", shown))
    }
}

/// Stage version.
pub(super) fn check_version(version: Option<u64>, wanted: Option<&IfVersion>) -> Result<(), No> {
    if wanted.is_some_and(|wanted| !wanted.allows(version)) {
        let version = version.unwrap_or_default();
        return Err(No::new("version_mismatch").with("version", version.into()));
    }
    Ok(())
}
