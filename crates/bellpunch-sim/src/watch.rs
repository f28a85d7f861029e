//! Watches a world for the situations that are counted: what each is, `situations.rs` says.
//!
//! Everything is taken from what goes into an executor and comes out of it, from the store's log,
//! and from the case. The executor is asked for nothing, so that production code has no hook.
//!
//! Invariant: to watch changes nothing. No event depends on what is remembered here, except the end
//! of a world in which one deadline is missed again and again.

mod book;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bellpunch::executor::{Caller, Input, Op, Output};
use bellpunch::store::{Commit, CommitId, CommitResult, Resolution, WriteValue};
use bellpunch::{
    AnyOutcome, AnyReceipt, DecidedBy, Duration, ErrorKind, Partition, RecordKey, Refusal,
    Timestamp, Versions,
};
use serde_json::Value;

use crate::case::{Asked, ClockKind, FaultKind, Instant, MILLI, StoreKind};
use crate::world::{Told, World};

/// Commands of a commit from which on it is one of many.
const MANY: usize = 8;
/// Callers that make the last unit of a quota wanted.
const CROWD: usize = 4;
/// What is just before the end of retention, and just after it.
const JUST: Duration = Duration::from_nanos(150 * MILLI);
/// Faults that keep a node from its store.
const OUTAGES: [FaultKind; 6] = [
    FaultKind::CutStore,
    FaultKind::CutReplies,
    FaultKind::Refuse,
    FaultKind::Throttle,
    FaultKind::Full,
    FaultKind::Slow,
];

/// One process at one partition.
type Place = (usize, u64, Partition);

/// What is remembered of one partition at one process.
#[derive(Debug, Default)]
struct Lane {
    /// It has read since its last commit.
    has_read: bool,
    /// The commit in flight, and since when.
    flight: Option<(Arc<Commit>, Instant)>,
    /// Conflicts since its last commit that was taken.
    conflicts: u32,
    /// Keys that a commit would have carried which then conflicted.
    accepted_then: BTreeSet<String>,
    /// Who waited when a commit was too late.
    too_late: BTreeSet<Caller>,
    /// How often a commit was too late, by deadline.
    missed: BTreeMap<Timestamp, u64>,
    /// How many commands came.
    came: u64,
    /// Keys of commits that were applied, and whose ids the store has forgotten.
    forgotten: BTreeSet<String>,
    /// Somebody was told that nobody knows, while a commit was on its way.
    gone: bool,
    /// A record was read as damaged.
    damaged: bool,
    /// A record was read as of a newer format.
    newer: bool,
}

/// A command that has come to a process.
#[derive(Debug)]
struct Arrival {
    at: Instant,
    clock: Timestamp,
    /// The latest deadline that it has missed.
    missed: Option<Timestamp>,
}

/// A commit that was sent.
#[derive(Debug)]
struct Flight {
    sent: Instant,
    stalled: u64,
    times: u32,
}

/// What is remembered of an idempotency key.
#[derive(Debug, Default)]
struct KeyLife {
    /// The process whose commit wrote its outcome.
    writer: Option<(usize, u64)>,
    keep_until: Option<Timestamp>,
    replayed_just_before: bool,
    /// What was rejected under it.
    rejected: Option<Vec<Asked>>,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Watch {
    lanes: BTreeMap<Place, Lane>,
    ops: BTreeMap<(usize, u64, Op), Partition>,
    arrivals: BTreeMap<Caller, Arrival>,
    flights: BTreeMap<CommitId, Flight>,
    /// Who wrote each commit of the store's log.
    authors: Vec<(usize, u64)>,
    keys: BTreeMap<(Partition, String), KeyLife>,
    /// The nodes that wrote a record last, the latest last.
    turns: BTreeMap<(Partition, RecordKey), Vec<usize>>,
    /// Until when some key of a policy is exhausted.
    exhausted: BTreeMap<(Partition, String), Timestamp>,
    /// The outages in which a node has decided without the store.
    degraded: BTreeMap<usize, BTreeSet<usize>>,
    /// Numbers of commits that were not taken, and the documents that were to have them.
    lost_numbers: BTreeMap<(Partition, String), String>,
    /// The period of the last number of each series and scope.
    periods: BTreeMap<(Partition, String), String>,
}

/// One reply of a batch.
struct Member<'a> {
    commands: &'a [Asked],
    key: Option<&'a str>,
    outcome: &'a AnyOutcome,
}

impl Member<'_> {
    fn is(&self, command: &str) -> bool {
        matches!(self.commands, [one] if one.cmd == command)
    }

    fn id(&self) -> Option<&str> {
        id_of(self.commands)
    }

    const fn accepted(&self) -> Option<&AnyReceipt> {
        match self.outcome {
            AnyOutcome::Accepted(receipt) => Some(receipt),
            AnyOutcome::Rejected(_) => None,
        }
    }

    const fn rejected(&self) -> Option<&Refusal> {
        match self.outcome {
            AnyOutcome::Accepted(_) => None,
            AnyOutcome::Rejected(refusal) => Some(refusal),
        }
    }
}

fn id_of(commands: &[Asked]) -> Option<&str> {
    let [one] = commands else { return None };
    one.args.get("id").and_then(Value::as_str)
}

const fn decided_by(outcome: &AnyOutcome) -> DecidedBy {
    match outcome {
        AnyOutcome::Accepted(receipt) => receipt.decided_by,
        AnyOutcome::Rejected(refusal) => refusal.decided_by,
    }
}

/// The keys whose outcomes a commit writes.
fn keys_of(commit: &Commit) -> impl Iterator<Item = (&str, Timestamp)> {
    let outcomes = commit.writes.iter().filter(|write| write.key.kind.name() == "outcomes");
    let put = outcomes.filter(|write| matches!(write.value, WriteValue::Put(_)));
    put.map(|write| (write.key.id.as_str(), write.at))
}

fn reads_only(commit: &Commit) -> impl Iterator<Item = &RecordKey> {
    let read = commit.preconditions.iter().map(|precondition| &precondition.key);
    read.filter(|key| !commit.writes.iter().any(|write| write.key == **key))
}

fn writes(commit: &Commit, key: &RecordKey) -> bool {
    commit.writes.iter().any(|write| write.key == *key)
}

/// The instant whose passing made a rule say no.
fn expiry(refusal: &Refusal) -> Option<Timestamp> {
    let codes =
        ["hold_expired", "quota_expired", "ticket_expired", "upload_expired", "upload_lapsed"];
    let data = &refusal.rejection.data;
    let named = data.get("expires_at").or_else(|| data.get("pending_until"))?.as_str()?;
    codes.contains(&refusal.rejection.code).then(|| named.parse().ok()).flatten()
}

/// The reply of a lone command.
fn reply_of(receipt: &AnyReceipt) -> Option<Value> {
    let [reply] = receipt.replies.as_slice() else { return None };
    Some(reply.to_json())
}

impl World {
    fn intent_of(&self, caller: Caller) -> Option<&crate::client::Intent> {
        self.sent.get(&caller).map(|sent| self.intent(sent.intent))
    }

    fn lane(&mut self, (node, life): (usize, u64), partition: &Partition) -> &mut Lane {
        self.watch.lanes.entry((node, life, partition.clone())).or_default()
    }

    /// Callers that wait at any node for something of a partition.
    fn in_flight(&self, partition: &Partition) -> impl Iterator<Item = (usize, Caller)> {
        self.nodes.iter().enumerate().flat_map(move |(number, node)| {
            let here = node.waiters.iter().filter(move |(_, of)| *of == partition);
            here.map(move |(caller, _)| (number, *caller))
        })
    }

    fn waiting(&self, node: usize, partition: &Partition) -> usize {
        self.node(node).waiters.values().filter(|of| *of == partition).count()
    }

    /// Those that are not in the commit in flight, at least: they came after it was made, or it has
    /// no room for them.
    fn queued(&self, node: usize, partition: &Partition, since: Instant) -> usize {
        let waiters = self.node(node).waiters.iter().filter(|(_, of)| *of == partition);
        let late = |caller| self.watch.arrivals.get(caller).is_some_and(|one| since < one.at);
        let after = waiters.filter(|(caller, _)| late(*caller)).count();
        let room = self.case.settings.batch_max;
        after.max(self.waiting(node, partition).saturating_sub(room))
    }

    /// A command comes to a process.
    pub(crate) fn watch_arrival(&mut self, node: usize, caller: Caller, place: usize) {
        let (at, clock) = (self.now, self.clock(node));
        self.watch.arrivals.insert(caller, Arrival { at, clock, missed: None });
        let partition = self.intent(place).partition.clone();
        let life = self.node(node).life;
        let lane = self.lane((node, life), &partition);
        lane.came = lane.came.saturating_add(1);
        let intent = self.intent(place);
        if intent.key.is_none() {
            return;
        }
        let (mut elsewhere, mut other) = (false, false);
        for (there, waiter) in self.in_flight(&intent.partition) {
            if let Some(known) = self.intent_of(waiter)
                && known.key == intent.key
                && waiter != caller
            {
                elsewhere |= there != node;
                other |= known.commands != intent.commands;
            }
        }
        if elsewhere {
            self.reached("same_key_two_nodes");
        }
        if other {
            self.reached("same_key_other_body");
        }
    }

    /// A process has taken what had come, and asks for something.
    pub(crate) fn watch_turn(
        &mut self,
        (node, life): (usize, u64),
        (ended, outputs): (&[(Op, &'static str)], &[Output]),
        stalled: u64,
    ) {
        for (op, result) in ended {
            let Some(partition) = self.watch.ops.remove(&(node, life, *op)) else { continue };
            self.watch_ended((node, life), &partition, (result, outputs));
        }
        for output in outputs {
            if let Output::Reply { caller, result } = output {
                self.watch_reply((node, life), *caller, result);
            }
        }
        for output in outputs {
            if let Output::Commit { op, commit } = output {
                let partition = commit.partition.clone();
                if self.case.settings.batch_max < self.waiting(node, &partition) {
                    self.reached("batch_full");
                }
                self.watch.ops.insert((node, life, *op), partition.clone());
                let sent = self.now;
                let flight = self.watch.flights.entry(commit.id).or_insert(Flight {
                    sent,
                    stalled,
                    times: 0,
                });
                flight.times = flight.times.saturating_add(1);
                let lane = self.lane((node, life), &partition);
                lane.flight = Some((Arc::clone(commit), sent));
                lane.has_read = false;
            }
            if let Output::Read { partition, .. } = output {
                let lane = self.lane((node, life), partition);
                if std::mem::replace(&mut lane.has_read, true) {
                    self.reached("load_mid_decide");
                }
            }
        }
    }

    /// A commit of a process has ended, and it was told so.
    fn watch_ended(
        &mut self,
        (node, life): (usize, u64),
        partition: &Partition,
        (result, outputs): (&str, &[Output]),
    ) {
        let lane = self.lane((node, life), partition);
        let Some((commit, since)) = lane.flight.clone() else { return };
        match result {
            "committed" => {
                let conflicts = std::mem::take(&mut lane.conflicts);
                let gone = std::mem::take(&mut lane.gone);
                lane.flight = None;
                if conflicts == 1 {
                    self.reached("conflict_once");
                }
                if gone {
                    self.reached("waiter_gone");
                }
                self.watch_batch((node, life), (&commit, since), outputs);
            }
            "conflict" => {
                lane.conflicts = lane.conflicts.saturating_add(1);
                lane.accepted_then.extend(keys_of(&commit).map(|(key, _)| key.to_owned()));
                lane.flight = None;
                self.watch_numbers_lost(&commit);
            }
            "too late" => {
                lane.flight = None;
                let here = self.node(node).waiters.iter().filter(|(_, of)| *of == partition);
                let callers: BTreeSet<Caller> = here.map(|(caller, _)| *caller).collect();
                for caller in &callers {
                    if let Some(arrival) = self.watch.arrivals.get_mut(caller) {
                        arrival.missed = arrival.missed.max(commit.deadline);
                    }
                }
                let lane = self.lane((node, life), partition);
                lane.too_late = callers;
                let deadline = commit.deadline.unwrap_or(Timestamp::EPOCH);
                let missed = lane.missed.entry(deadline).or_default();
                *missed = missed.saturating_add(1);
                // Each time at least one command stated it for the first time.
                let (missed, came) = (*missed, lane.came);
                if came < missed {
                    let text = format!("n{node} missed {deadline} {missed} times, of {came}");
                    self.violated("live.too_late_once", text);
                }
            }
            "unknown" => {}
            _ => lane.flight = None,
        }
    }

    /// A commit was taken: what it carried is told.
    fn watch_batch(
        &mut self,
        (node, life): (usize, u64),
        (commit, since): (&Arc<Commit>, Instant),
        outputs: &[Output],
    ) {
        let partition = &commit.partition;
        let shared = self.case.settings.store == StoreKind::Shared;
        let mut members = Vec::new();
        let mut callers = Vec::new();
        for output in outputs {
            let Output::Reply { caller, result: Ok(outcome) } = output else { continue };
            if self.node(node).waiters.get(caller) != Some(partition) {
                continue;
            }
            // A store that one node has for itself confirms nothing: the rest was told at once.
            let carried = match outcome {
                AnyOutcome::Accepted(receipt) => !receipt.versions.is_empty() && !receipt.replayed,
                AnyOutcome::Rejected(_) => false,
            };
            let Some(intent) = self.intent_of(*caller) else { continue };
            if decided_by(outcome) == DecidedBy::Store && !intent.dry_run && (shared || carried) {
                let (commands, key) = (intent.commands.as_slice(), intent.key.as_deref());
                members.push(Member { commands, key, outcome });
                callers.push(*caller);
            }
        }
        let mut reached = in_batch(commit, &members);
        let rejects = members.iter().any(|member| member.rejected().is_some());
        if commit.writes.is_empty() && rejects && self.others_since(node, partition, since) {
            reached.push("reject_contended");
        }
        if members.len() <= 2 && self.is_hot_elsewhere(node, life, partition) {
            reached.push("hot_and_cold");
        }
        let place = (node, life, partition.clone());
        if let Some(lane) = self.watch.lanes.get(&place) {
            let mut late = members.iter().zip(&callers);
            let mut told = late
                .by_ref()
                .filter(|(_, caller)| lane.too_late.contains(caller))
                .map(|(member, _)| member.rejected().map(expiry));
            let told: Vec<_> = told.by_ref().collect();
            let expired = told.iter().any(|told| matches!(told, Some(Some(_))));
            if expired && told.iter().any(Option::is_none) {
                reached.push("deadline_splits_batch");
            }
        }
        for situation in reached {
            self.reached(situation);
        }
    }

    /// Whether other nodes committed to a partition since an instant.
    fn others_since(&self, node: usize, partition: &Partition, since: Instant) -> bool {
        self.log_since(node, partition, since).next().is_some()
    }

    /// What other nodes committed to a partition since an instant, the latest first.
    fn log_since<'w>(
        &'w self,
        node: usize,
        partition: &'w Partition,
        since: Instant,
    ) -> impl Iterator<Item = &'w Arc<Commit>> {
        let log = self.store.log().iter().zip(&self.watch.authors).rev();
        let recent = log.take_while(move |(applied, _)| since <= applied.when);
        let others = recent.filter(move |(_, (author, _))| *author != node);
        others.map(|(applied, _)| &applied.commit).filter(|commit| commit.partition == *partition)
    }

    fn is_hot_elsewhere(&self, node: usize, life: u64, cold: &Partition) -> bool {
        self.watch.lanes.iter().any(|((at, of, hot), lane)| {
            let here = *at == node && *of == life && hot != cold;
            let since = lane.flight.as_ref().map(|(_, since)| *since);
            here && since.is_some_and(|since| CROWD <= self.queued(node, hot, since))
        })
    }

    /// A process tells a caller.
    fn watch_reply(&mut self, (node, life): (usize, u64), caller: Caller, told: &Told) {
        let Some(partition) = self.node(node).waiters.get(&caller).cloned() else { return };
        // What is read from now on is for another command.
        self.lane((node, life), &partition).has_read = false;
        match told {
            Ok(outcome) if decided_by(outcome) != DecidedBy::Store => {
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

/// What is to be seen in one batch.
fn in_batch(commit: &Commit, members: &[Member<'_>]) -> Vec<&'static str> {
    let mut reached = Vec::new();
    if MANY <= members.len() {
        reached.push("batch_of_many");
    }
    let before: BTreeMap<String, u64> = commit
        .preconditions
        .iter()
        .map(|precondition| (precondition.key.to_string(), precondition.version.get()))
        .collect();
    // What a rejection read that was not committed yet.
    let draft = |as_of: &Versions| -> Vec<(String, u64)> {
        let read = as_of.iter().map(|(name, version)| (name.clone(), version.get()));
        read.filter(|(name, version)| before.get(name).is_some_and(|before| before < version))
            .collect()
    };
    for member in members {
        let Some(refusal) = member.rejected() else { continue };
        let rests_on = draft(&refusal.as_of);
        if rests_on.is_empty() || refusal.rejection.code == "idempotency_key_reused" {
            continue;
        }
        reached.push("batch_reject_on_draft");
        let earlier = |other: &&Member<'_>| {
            let versions = other.accepted().map(|receipt| &receipt.versions);
            other.commands == member.commands
                && rests_on.iter().any(|(name, version)| {
                    let wrote = versions.and_then(|versions| versions.get(name));
                    wrote.is_some_and(|wrote| wrote.get() <= *version)
                })
        };
        if members.iter().any(|other| earlier(&other)) {
            reached.push("batch_order_matters");
        }
    }
    for (place, member) in members.iter().enumerate() {
        let Some(receipt) = member.accepted().filter(|receipt| receipt.replayed) else { continue };
        let first = members.iter().take(place).any(|other| {
            let fresh = other.accepted().is_some_and(|fresh| !fresh.replayed);
            fresh && other.key == member.key && other.key.is_some()
        });
        if first && !receipt.versions.is_empty() {
            reached.push("same_key_one_batch");
        }
    }
    let revokes = members.iter().filter(|member| member.is("quotas.revoke"));
    for revoke in revokes.filter(|revoke| revoke.accepted().is_some()) {
        let name = revoke.id().map(|id| format!("quotas/{id}")).unwrap_or_default();
        let version = |member: &Member<'_>| {
            let versions = member.accepted().map(|receipt| &receipt.versions);
            versions.and_then(|versions| versions.get(&name)).copied()
        };
        let mut uses = members.iter().filter(|member| member.is("quotas.consume"));
        let after = uses.clone().any(|used| {
            let refusal = used.rejected();
            used.id() == revoke.id()
                && refusal.is_some_and(|refusal| refusal.rejection.code == "quota_revoked")
        });
        let written = version(revoke);
        let before = uses.any(|used| version(used).is_some() && version(used) < written);
        if before && after && written.is_some() {
            reached.push("revoke_vs_use");
        }
    }
    reached
}

impl World {
    /// A commit has met the store.
    pub(crate) fn watch_met(
        &mut self,
        (node, life): (usize, u64),
        commit: &Arc<Commit>,
        (result, before): (&CommitResult, usize),
    ) {
        let flight = self.watch.flights.get(&commit.id);
        let (sent, times) = flight.map_or((self.now, 1), |flight| (flight.sent, flight.times));
        let stalled = flight.is_some_and(|flight| 0 < flight.stalled);
        let applied = before < self.store.applied();
        match result {
            CommitResult::Committed { .. } if applied => {
                if 1 < times {
                    self.reached("unknown_absent");
                    self.watch_known(commit);
                }
                self.watch_applied((node, life), commit, sent);
            }
            CommitResult::Committed { .. } if 1 < times && !commit.writes.is_empty() => {
                self.reached("unknown_applied");
                self.watch_known(commit);
            }
            CommitResult::Conflict { .. } => self.watch_conflict(node, commit, sent),
            CommitResult::TooLate { .. } => {
                let deadline = commit.deadline.unwrap_or(Timestamp::EPOCH);
                if stalled && commit.now < deadline {
                    self.reached("pause_past_deadline");
                }
                match self.case.settings.clock {
                    ClockKind::AtExclusivity if self.clock(node) < deadline => {
                        self.reached("expired_in_store");
                    }
                    ClockKind::AtExclusivity => {}
                    // What the rule stated lies later by the skew, and has not come yet.
                    ClockKind::Node => {
                        let skew = Duration::from_nanos(self.case.settings.skew);
                        if deadline.plus(skew).is_some_and(|end| self.clock(node) < end) {
                            self.reached("skew_margin");
                        }
                    }
                }
            }
            CommitResult::ClockAhead { .. } => self.reached("clock_ahead"),
            _ => {}
        }
    }

    /// A late commit has met the store.
    pub(crate) fn watch_stray(
        &mut self,
        (node, life): (usize, u64),
        commit: &Arc<Commit>,
        (result, before, late): (&CommitResult, usize, bool),
    ) {
        let applied = before < self.store.applied();
        let fenced = matches!(result, CommitResult::Conflict { .. } | CommitResult::TooLate { .. });
        if applied {
            let now = self.now;
            self.watch_applied((node, life), commit, now);
        }
        if late && (applied || fenced) {
            self.reached("late_effect");
        }
    }

    fn watch_applied(&mut self, (node, life): (usize, u64), commit: &Arc<Commit>, sent: Instant) {
        let partition = &commit.partition;
        let apart = self
            .log_since(node, partition, sent)
            .any(|other| !commit.preconditions.iter().any(|mine| writes(other, &mine.key)));
        if apart {
            self.reached("two_nodes_apart");
        }
        self.watch.authors.push((node, life));
        self.watch_numbers(commit);
        for write in &commit.writes {
            let turns = self.watch.turns.entry((partition.clone(), write.key.clone())).or_default();
            turns.push(node);
            if let [first, second, third] = turns.as_slice() {
                let alternate = first == third && first != second;
                turns.remove(0);
                if alternate {
                    self.reached("two_nodes_one_record");
                }
            }
        }
        let keep = Duration::from_nanos(self.case.settings.keep);
        for (key, at) in keys_of(commit) {
            let name = (partition.clone(), key.to_owned());
            let known = self.watch.keys.entry(name).or_default();
            let just_after = known
                .keep_until
                .is_some_and(|end| end <= at && end.plus(JUST).is_some_and(|just| at < just));
            let before = std::mem::take(&mut known.replayed_just_before);
            known.writer = Some((node, life));
            known.keep_until = at.plus(keep);
            if before && just_after {
                self.reached("key_at_retention");
            }
        }
    }

    /// It turned out what became of a commit whose fate nobody knew.
    fn watch_known(&mut self, commit: &Commit) {
        if book::enters(commit) {
            self.reached("money_unknown");
        }
    }

    fn watch_conflict(&mut self, node: usize, commit: &Commit, sent: Instant) {
        if commit.writes.is_empty() {
            self.reached("stale_cache_caught");
        }
        let skewed = self.log_since(node, &commit.partition, sent).any(|other| {
            reads_only(commit).any(|key| writes(other, key))
                && reads_only(other).any(|key| writes(commit, key))
        });
        if skewed {
            self.reached("write_skew_refused");
        }
        let mut since = 0;
        let mut until = Instant::MAX;
        for one in &commit.preconditions {
            let span = self.store.span(&commit.partition, &one.key, one.version);
            let Some((from, to)) = span else { return };
            since = since.max(from);
            until = until.min(to);
        }
        if until <= since {
            self.reached("torn_read_caught");
        }
    }

    /// Records that were read are on their way to a process.
    pub(crate) fn watch_read(
        &mut self,
        at: (usize, u64),
        partition: &Partition,
        (damaged, newer): (bool, bool),
    ) {
        let lane = self.lane(at, partition);
        lane.damaged |= damaged;
        lane.newer |= newer;
    }

    /// The fate of a commit was asked for, and the store says what it knows.
    pub(crate) fn watch_fate(&mut self, at: (usize, u64), id: CommitId, fate: Resolution) {
        if matches!(fate, Resolution::Applied | Resolution::NotApplied) {
            let mut flights = self.watch.lanes.values().filter_map(|lane| lane.flight.as_ref());
            let commit = flights.find(|(commit, _)| commit.id == id);
            if let Some(commit) = commit.map(|(commit, _)| Arc::clone(commit)) {
                self.watch_known(&commit);
            }
        }
        match fate {
            Resolution::Applied => self.reached("unknown_applied"),
            Resolution::NotApplied => self.reached("unknown_absent"),
            _ => {
                let log = self.store.log().iter().rev();
                let found = { log }.find(|applied| applied.commit.id == id);
                let Some(commit) = found.map(|applied| Arc::clone(&applied.commit)) else { return };
                let keys: Vec<String> = keys_of(&commit).map(|(key, _)| key.to_owned()).collect();
                self.lane(at, &commit.partition).forgotten.extend(keys);
            }
        }
    }

    /// A process dies.
    pub(crate) fn watch_crash(&mut self, node: usize, life: u64) {
        let mut reached = Vec::new();
        for call in self.calls.values().filter(|call| call.node == node && call.life == life) {
            let landed = |item: &crate::world::Item| {
                matches!(item.result, Some(CommitResult::Committed { .. }))
                    && !item.commit.writes.is_empty()
            };
            if call.items.iter().any(|item| item.result.is_none()) {
                reached.push("crash_before_commit");
            } else if call.items.iter().any(landed) {
                reached.push("crash_after_commit");
            }
            if call.items.iter().any(|item| book::enters(&item.commit)) {
                reached.push("crash_with_money");
            }
        }
        for situation in reached {
            self.reached(situation);
        }
        self.watch.lanes.retain(|(at, of, _), _| (*at, *of) != (node, life));
    }

    /// A process is told to stop.
    pub(crate) fn watch_drain(&mut self, node: usize, life: u64) {
        let queues = self.watch.lanes.iter().any(|((at, of, partition), lane)| {
            let since = lane.flight.as_ref().map(|(_, since)| *since);
            (*at, *of) == (node, life)
                && since.is_some_and(|since| 0 < self.queued(node, partition, since))
        });
        if queues {
            self.reached("drain_with_queue");
        }
    }

    /// A fault is over.
    pub(crate) fn watch_end(&mut self, fault: FaultKind, node: usize) {
        let partitions: BTreeSet<&Partition> = self.node(node).waiters.values().collect();
        let queues = partitions.into_iter().any(|partition| 2 <= self.waiting(node, partition));
        if OUTAGES.contains(&fault) && queues {
            self.reached("healed_with_queue");
        }
    }

    /// Forgets what a crash took.
    pub(crate) fn watch_forget(&mut self, kept: usize) {
        self.watch.authors.truncate(kept);
    }
}

/// The commits that end with these inputs.
pub(crate) fn ended(
    inbox: &[Input],
    name: fn(&CommitResult) -> &'static str,
) -> Vec<(Op, &'static str)> {
    let ended = inbox.iter().filter_map(|input| match input {
        Input::Committed { op, result } => Some((*op, name(result))),
        _ => None,
    });
    ended.collect()
}
