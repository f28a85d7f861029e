//! The model of quotas, rate limits, several at once, and holds.
//!
//! Every command is one function that asks its questions in the order of their description, and
//! changes the state after the last. Time is worked out when it is asked for: a state is never
//! moved forward by itself, and nothing here is swept. When something will fit is found by
//! searching for the first instant at which it does, and not by solving for it.
//!
//! Invariant: a rejected command leaves the state as it was.
//!
//! What a stated field that is `null` says: the answer does not have it. What is not stated:
//!
//! * `version` of a record in a reply. (It is counted for `if_version`, of quotas and policies;
//!   after housekeeping, or where some was not seen, [`Limits::told`] puts it right.)
//! * `totals.pruned` of a quota, which housekeeping changes.
//! * `window_ns` of a quota, for people.
//! * `reset_at` of a token bucket without debt: it is full, and says what a use now would give.
//! * `reason` of an `invalid_request` or `invalid_units`: a text for people.
//! * of the records that were written `key_counts/…`, and counters that were removed to make room
//!   for a new key: what was swept before decides it ([`Limits::states`]).

mod admission;
mod calendar;
mod charges;
mod counter;
mod hold;
mod open;
mod policies;
mod quota;
mod quotas;
mod terms;
#[cfg(test)]
mod tests;
mod uses;
mod value;

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use self::admission::Space;
use self::charges::Charge;
use self::counter::Counter;
use self::hold::Hold;
use self::policies::Policy;
use self::quota::Quota;
use super::{Call, Verdict};
use crate::history::Versions;
use crate::instant::Nanos;

/// All limits of a partition.
///
/// ```
/// use bellpunch_check::model::{Call, Verdict, limits::Limits};
/// use serde_json::json;
///
/// let mut limits = Limits::default();
/// let mut send = |cmd, args| {
///     limits.apply(&Call { cmd, args: &args, at: 0, drawn: None })
/// };
/// send("quotas.create", json!({"id": "q", "limit": 1}));
/// let taken = send("quotas.consume", json!({"id": "q"}));
/// assert!(matches!(taken, Verdict::Accepted { reply, .. } if reply["quota"]["remaining"] == 0));
/// let refused = send("quotas.consume", json!({"id": "q"}));
/// assert!(matches!(refused, Verdict::Rejected { code, .. } if code == "quota_exceeded"));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    quotas: BTreeMap<String, Quota>,
    policies: BTreeMap<String, Policy>,
    /// By where the terms come from, policy and key.
    counters: BTreeMap<(Space, String, String), Counter>,
    holds: BTreeMap<String, Hold>,
    charges: BTreeMap<String, Charge>,
    /// Of quotas and policies, by record name; those of deleted policies stay.
    versions: Versions,
    /// Counts accepted commands, so that what is made by different ones can be told apart.
    births: u64,
}

/// A refusal: the code, and the data that is stated.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct No {
    pub(crate) code: &'static str,
    pub(crate) data: Map<String, Value>,
}

impl No {
    pub(crate) fn new(code: &'static str) -> Self {
        Self { code, data: Map::new() }
    }

    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        self.data.insert(name.to_owned(), value);
        self
    }

    fn shape(code: &'static str, field: String) -> Self {
        Self::new(code).with("field", field.into())
    }
}

/// An acceptance: the fields that are stated, and the records that were written.
#[derive(Clone, Debug, Default, PartialEq)]
struct Yes {
    reply: Map<String, Value>,
    writes: BTreeSet<String>,
}

impl Yes {
    fn with(mut self, name: &str, value: Value) -> Self {
        self.reply.insert(name.to_owned(), value);
        self
    }
}

/// A command's content.
fn content<T: DeserializeOwned>(call: &Call<'_>) -> Result<T, No> {
    T::deserialize(call.args).map_err(|error| {
        let is_units = error.to_string().contains("invalid_units");
        No::new(if is_units { "invalid_units" } else { "invalid_request" })
    })
}

/// The id that was given, or the one that was drawn; it stands at `path` of the answer. Of a call
/// whose answer nobody saw it is a stand-in.
fn given_or_drawn(given: Option<String>, call: &Call<'_>, path: &str) -> Option<String> {
    let drawn = || Some(call.drawn?.pointer(path)?.as_str()?.to_owned());
    let unseen = || call.drawn.is_none().then(|| undrawn(call.args));
    given.or_else(drawn).or_else(unseen)
}

/// A stand-in for an id that nobody saw. No id has a control character.
fn undrawn(args: &Value) -> String {
    format!("\u{0}{args}")
}

/// Whether a counter is idle under the terms that its policy has now: a longer window than the one
/// it was written under may not be over.
fn is_over(
    policies: &BTreeMap<String, Policy>,
    ((space, policy, _), counter): (&(Space, String, String), &Counter),
    at: Nanos,
) -> bool {
    match policies.get(policy).filter(|_| *space == Space::Stored) {
        Some(policy) => policy.forward(counter, at).is_idle(at),
        None => counter.is_idle(at),
    }
}

/// The name of a counter's record.
fn counter_name((space, policy, key): &(Space, String, String)) -> String {
    let kind = match space {
        Space::Stored => "counters",
        Space::Inline => "inline_counters",
    };
    super::fields::record(kind, &[policy, key])
}

impl Limits {
    /// What the answer to a command had to be; if it was yes, the state goes on.
    pub fn apply(&mut self, call: &Call<'_>) -> Verdict {
        let answer = match call.cmd {
            "quotas.create" => self.create_quota(call),
            "quotas.set_limit" => self.set_limit(call),
            "quotas.configure" => self.configure_quota(call),
            "quotas.revoke" => self.revoke_quota(call),
            "quotas.reactivate" => self.reactivate_quota(call),
            "quotas.reset" => self.reset_quota(call),
            "quotas.read" => self.read_quota(call),
            "quotas.audit" => self.audit_quota(call),
            "quotas.consume" => self.consume_quota(call),
            "quotas.refund" => self.refund_quota(call),
            "policies.set" => self.set_policy(call),
            "policies.delete" => self.delete_policy(call),
            "policies.reset" => self.reset_counter(call),
            "policies.reset_all" => self.reset_policy(call),
            "policies.read" => self.read_policy(call),
            "policies.consume" => self.consume_rate(call),
            "counters.read" => self.read_counter(call),
            "checks.consume" => self.consume(call),
            "holds.create" => self.create_hold(call),
            "holds.capture" => self.capture_hold(call),
            "holds.void" => self.void_hold(call),
            "holds.extend" => self.extend_hold(call),
            "holds.read" => self.read_hold(call),
            "charges.refund" => self.refund_charge(call),
            "charges.read" => self.read_charge(call),
            "charges.sweep" => {
                self.sweep_charges(call);
                return Verdict::Housekeeping;
            }
            "counters.sweep" | "inline_counters.sweep" | "local_counters.sweep" | "holds.sweep" => {
                return Verdict::Housekeeping;
            }
            _ => return Verdict::NotModelled,
        };
        match answer {
            Ok(Yes { reply, writes }) => {
                self.count(&writes);
                Verdict::Accepted { reply: Value::Object(reply), writes }
            }
            Err(No { code, data }) => {
                Verdict::Rejected { code: code.to_owned(), reply: Value::Object(data) }
            }
        }
    }

    /// Counts versions: one more of each record that a command wrote.
    pub(crate) fn count(&mut self, writes: &BTreeSet<String>) {
        if writes.is_empty() {
            return;
        }
        self.births = self.births.saturating_add(1);
        for name in writes {
            if name.starts_with("quotas/") || name.starts_with("policies/") {
                let version = self.versions.entry(name.clone()).or_default();
                *version = version.saturating_add(1);
            }
        }
    }

    /// Takes what housekeeping wrote: it may prune quotas, and takes counters away that are idle.
    pub fn told(&mut self, versions: &Versions, at: Nanos) {
        for (name, version) in versions {
            if let Some(known) = self.versions.get_mut(name) {
                *known = *version;
            }
        }
        let policies = &self.policies;
        self.counters.retain(|id, counter| {
            !(versions.contains_key(&counter_name(id)) && is_over(policies, (id, counter), at))
        });
    }

    /// Whether a record is a counter that is idle, so that housekeeping may take it away.
    pub(crate) fn may_go(&self, record: &str, at: Nanos) -> bool {
        let mut counters = self.counters.iter();
        counters.any(|(id, counter)| {
            counter_name(id) == record && is_over(&self.policies, (id, counter), at)
        })
    }

    /// Whether the model says of a record, `kind/id`, which commands write it. Of `key_counts/…`
    /// it does not: that follows from what was swept.
    #[must_use]
    pub fn states(record: &str) -> bool {
        !record.starts_with("key_counts/")
    }

    /// What must be true of the state itself, whatever was asked.
    ///
    /// # Errors
    /// With the first sentence that is not true.
    pub fn check(&self, at: Nanos) -> Result<(), String> {
        for (id, quota) in &self.quotas {
            let now = quota.moved_to(at);
            if !now.totals_agree() {
                return Err(format!("quota {id}: its totals do not explain what is used"));
            }
            if !now.is_within(at) {
                return Err(format!("quota {id}: more is used and held than it allows"));
            }
            let target = value::Target::Quota(id.clone());
            if self.held_of(&target, at) != now.holds.held(at) {
                return Err(format!("quota {id}: its open holds are not those that there are"));
            }
        }
        for ((space, policy, key), counter) in &self.counters {
            let held = counter.holds.held(at);
            let target = value::Target::Rate { policy: policy.clone(), key: key.clone() };
            let known = self.held_under(&target, *space, at);
            if known != held || counter.used(at) < 0 {
                let change = counter.first_change(at);
                return Err(format!(
                    "{policy}/{key}: holds {known}, not {held} (until {change:?})"
                ));
            }
        }
        Ok(())
    }
}
