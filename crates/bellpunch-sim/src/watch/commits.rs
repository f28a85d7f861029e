//! What becomes of commits, and of those who sent them.

use std::collections::BTreeSet;
use std::sync::Arc;

use bellpunch::store::{Commit, CommitId, CommitResult, Resolution};
use bellpunch::{Duration, Partition, Timestamp};

use super::{JUST, OUTAGES, book, keys_of, reads_only, writes};
use crate::case::{ClockKind, FaultKind, Instant};
use crate::world::World;

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
