//! Watches a world for the situations that are counted: what each is, `situations.rs` says.
//!
//! Everything is taken from what goes into an executor and comes out of it, from the store's log,
//! and from the case. The executor is asked for nothing, so that production code has no hook.
//!
//! Invariant: to watch changes nothing. No event depends on what is remembered here, except the end
//! of a world in which one deadline is missed again and again.

mod book;
mod commits;
mod replies;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bellpunch::executor::{Caller, Input, Op, Output};
use bellpunch::store::{Commit, CommitId, CommitResult, WriteValue};
use bellpunch::{
    AnyOutcome, AnyReceipt, DecidedBy, Duration, Partition, RecordKey, Refusal, Timestamp, Versions,
};
use serde_json::Value;

use crate::case::{Asked, FaultKind, Instant, MILLI, StoreKind};
use crate::world::World;

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
