//! What callers are told.

use std::collections::BTreeSet;

use bellpunch::executor::Caller;
use bellpunch::{
    AnyOutcome, AnyReceipt, DecidedBy, Duration, ErrorKind, Partition, Refusal, Timestamp,
};
use serde_json::Value;

use super::{CROWD, JUST, OUTAGES, decided_by, expiry, id_of, reply_of};
use crate::case::{FaultKind, MILLI};
use crate::world::{Told, World};

impl World {
    /// A process tells a caller.
    pub(super) fn watch_reply(&mut self, (node, life): (usize, u64), caller: Caller, told: &Told) {
        let Some(partition) = self.node(node).waiters.get(&caller).cloned() else { return };
        // What is read from now on is for another command.
        self.lane((node, life), &partition).has_read = false;
        match told {
            Ok(outcome) if matches!(decided_by(outcome), DecidedBy::Open | DecidedBy::Local) => {
                let outages = self.outages(node);
                self.watch.degraded.insert(node, outages);
            }
            Ok(AnyOutcome::Accepted(receipt)) => {
                self.watch_accepted((node, life), (caller, &partition), receipt);
            }
            Ok(AnyOutcome::Rejected(refusal)) => {
                self.watch_rejected((node, life), (caller, &partition), refusal);
            }
            Err(error) => {
                // A rule that panics on what the store confirms is contained, and still wrong: the
                // caller is told an error without effect, which no model would miss.
                if error.kind() == ErrorKind::Internal && error.to_string().contains(" panicked") {
                    self.violated("no_panic", format!("request {caller} was told: {error}"));
                }
                self.watch_error((node, life), (caller, &partition), error.kind());
            }
        }
        self.watch.arrivals.remove(&caller);
    }

    fn outages(&self, node: usize) -> BTreeSet<usize> {
        let node = u64::try_from(node).unwrap_or_default();
        let on = self.active.iter().filter(|place| {
            let episode = self.episode(**place);
            episode.node == node && OUTAGES.contains(&episode.fault)
        });
        on.copied().collect()
    }

    fn watch_error(
        &mut self,
        (node, life): (usize, u64),
        (caller, partition): (Caller, &Partition),
        kind: ErrorKind,
    ) {
        if kind == ErrorKind::Contended {
            self.reached("conflict_bound");
        } else if kind == ErrorKind::Overloaded {
            let arrival = self.watch.arrivals.get(&caller);
            // At once: within the turn in which it came.
            if arrival.is_some_and(|one| self.now.saturating_sub(one.at) < MILLI) {
                self.reached("overloaded");
            }
        } else if kind == ErrorKind::Unknown {
            let lane = self.lane((node, life), partition);
            lane.gone = lane.flight.is_some();
        } else if kind == ErrorKind::Internal {
            let lane = self.lane((node, life), partition);
            let (damaged, newer) = (std::mem::take(&mut lane.damaged), lane.newer);
            if damaged {
                self.reached("corrupt_stopped");
            } else if newer {
                self.reached("newer_refused");
            }
        } else if kind == ErrorKind::StoreUnavailable {
            let commands = self.intent_of(caller).map(|intent| intent.commands.as_slice());
            let closed = ["quotas.", "tickets."];
            let strict = commands.into_iter().flatten().any(|asked| {
                closed.iter().any(|collection| asked.cmd.starts_with(collection))
                    && !asked.cmd.ends_with(".read")
            });
            let now = self.outages(node);
            let same = self.watch.degraded.get(&node).is_some_and(|then| !then.is_disjoint(&now));
            if strict && same {
                self.reached("fail_closed");
            }
        }
    }

    /// The node's time at which a reply was decided.
    fn decided_at(&self, (node, life): (usize, u64), partition: &Partition) -> Timestamp {
        let lane = self.watch.lanes.get(&(node, life, partition.clone()));
        let flight = lane.and_then(|lane| lane.flight.as_ref());
        flight.map_or_else(|| self.clock(node), |(commit, _)| commit.now)
    }

    /// The time of a decision was raised to the commit time of a record that it read.
    fn watch_raised(&mut self, (node, caller): (usize, Caller), at: Timestamp) {
        let missed = self.watch.arrivals.get(&caller).and_then(|arrival| arrival.missed);
        if at <= self.clock(node) || missed.is_some_and(|missed| at <= missed) {
            return;
        }
        self.reached("clock_back");
        let jumps = self.fault(FaultKind::ClockJump, node).is_some();
        if self.truth() < at && !jumps {
            self.reached("clock_forward_undone");
        }
    }

    fn watch_accepted(
        &mut self,
        (node, life): (usize, u64),
        (caller, partition): (Caller, &Partition),
        receipt: &AnyReceipt,
    ) {
        let Some(intent) = self.intent_of(caller).cloned() else { return };
        self.watch_book_accepted(&intent.commands, receipt);
        if receipt.replayed {
            if let Some(key) = &intent.key {
                self.watch_replayed((node, life), partition, key);
            }
            return;
        }
        if receipt.dry_run {
            return;
        }
        self.watch_raised((node, caller), receipt.at);
        if let Some(key) = &intent.key {
            let known = self.watch.keys.entry((partition.clone(), key.clone())).or_default();
            if known.rejected.take().is_some_and(|rejected| rejected == intent.commands) {
                self.reached("replay_of_rejection");
            }
        }
        let [asked] = intent.commands.as_slice() else { return };
        let quota = || reply_of(receipt)?.get("quota").cloned();
        let rivals = |command: &str| {
            let others = self.in_flight(partition).filter(|(_, other)| *other != caller);
            let theirs = others.filter_map(|(_, other)| self.intent_of(other));
            let same = theirs.filter(|theirs| {
                matches!(theirs.commands.as_slice(), [one] if one.cmd == command)
                    && id_of(&theirs.commands) == id_of(&intent.commands)
            });
            same.count()
        };
        let number = |value: &Value, field: &str| value.get(field).and_then(Value::as_u64);
        match asked.cmd.as_str() {
            "quotas.consume"
                if CROWD <= rivals("quotas.consume").saturating_add(1)
                    && quota().and_then(|quota| number(&quota, "remaining")) == Some(0) =>
            {
                self.reached("last_unit");
            }
            "quotas.set_limit" if 0 < rivals("quotas.consume") => {
                let amounts = quota().and_then(|quota| {
                    let taken = number(&quota, "used")?.saturating_add(number(&quota, "held")?);
                    Some((number(&quota, "limit")?, taken))
                });
                if amounts.is_some_and(|(limit, taken)| limit < taken) {
                    self.reached("limit_lowered");
                }
            }
            "uploads.complete" if 0 < rivals("uploads.publish") => {
                self.reached("upload_vs_complete");
            }
            _ => {}
        }
    }

    fn watch_replayed(&mut self, (node, life): (usize, u64), partition: &Partition, key: &str) {
        let decided = self.decided_at((node, life), partition);
        let name = (partition.clone(), key.to_owned());
        let known = self.watch.keys.entry(name).or_default();
        let writer = known.writer;
        if let Some(end) = known.keep_until
            && decided < end
            && end.minus_or_epoch(JUST) <= decided
        {
            known.replayed_just_before = true;
        }
        if let Some((there, then)) = writer
            && (there, then) != (node, life)
            && self.node(there).life != then
        {
            self.reached("replay_after_crash");
        }
        if self.lane((node, life), partition).forgotten.remove(key) {
            self.reached("unknown_id_gone");
        }
    }

    fn watch_rejected(
        &mut self,
        (node, life): (usize, u64),
        (caller, partition): (Caller, &Partition),
        refusal: &Refusal,
    ) {
        let Some(intent) = self.intent_of(caller).cloned() else { return };
        if intent.dry_run {
            return;
        }
        let code = refusal.rejection.code;
        self.watch_book_rejected(&intent.commands, (code, &refusal.rejection.data));
        self.watch_raised((node, caller), refusal.at);
        if let Some(key) = &intent.key
            && code != "idempotency_key_reused"
        {
            let known = self.watch.keys.entry((partition.clone(), key.clone())).or_default();
            known.rejected = Some(intent.commands.clone());
            if self.lane((node, life), partition).accepted_then.remove(key) {
                self.reached("conflict_flips");
            }
        }
        if let Some(end) = expiry(refusal) {
            self.watch_expired((node, caller), refusal.at, end);
            let capture = intent.commands.iter().any(|asked| asked.cmd == "holds.capture");
            if refusal.at == end {
                self.reached("expiry_exact");
                if capture && code == "hold_expired" {
                    self.reached("hold_expiry_vs_capture");
                }
            }
        }
        let data = &refusal.rejection.data;
        let violations = data.get("violations").and_then(Value::as_array);
        if let ([asked], Some(violations)) = (intent.commands.as_slice(), violations) {
            let items = asked.args.get("items").and_then(Value::as_array).map_or(1, Vec::len);
            if asked.cmd == "checks.consume" && violations.len() < items {
                self.reached("one_limit_of_many");
            }
        }
        self.watch_keys_max(partition, refusal);
    }

    fn watch_expired(&mut self, (node, caller): (usize, Caller), at: Timestamp, end: Timestamp) {
        let arrived = self.watch.arrivals.get(&caller).map(|arrival| arrival.clock);
        if end <= at && arrived.is_some_and(|arrived| arrived < end) {
            self.reached("expired_in_queue");
        }
        let jump = self.fault(FaultKind::ClockJump, node).map_or(0, |episode| episode.amount);
        if 0 < jump && end <= at && self.truth() < end {
            self.reached("clock_forward");
        }
    }

    /// A policy has no place for one more key, while another of its keys is exhausted and live.
    fn watch_keys_max(&mut self, partition: &Partition, refusal: &Refusal) {
        let data = &refusal.rejection.data;
        let policies = |list: &str| -> Vec<String> {
            let list = data.get(list).and_then(Value::as_array).into_iter().flatten();
            let named = list.filter_map(|one| one.get("policy").and_then(Value::as_str));
            named.map(str::to_owned).collect()
        };
        if refusal.rejection.code == "rate_limited" {
            let wait = data.get("retry_after_ns").and_then(Value::as_u64);
            let until = wait.and_then(|wait| refusal.at.plus(Duration::from_nanos(wait)));
            for policy in policies("violations") {
                let known = self.watch.exhausted.entry((partition.clone(), policy));
                let known = known.or_insert(Timestamp::EPOCH);
                *known = (*known).max(until.unwrap_or(Timestamp::EPOCH));
            }
        } else if refusal.rejection.code == "too_many_keys" {
            let live = policies("targets").into_iter().any(|policy| {
                let until = self.watch.exhausted.get(&(partition.clone(), policy));
                until.is_some_and(|until| refusal.at < *until)
            });
            if live {
                self.reached("evict_pressure");
            }
        }
    }
}
