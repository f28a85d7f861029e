//! The way between nodes and the store, and back.

use std::sync::Arc;

use bellpunch::executor::{Input, Op, ReadResult};
use bellpunch::store::{Commit, CommitId, CommitResult, Failure, FailureKind, Resolution};
use bellpunch::{RecordKey, Timestamp};

use crate::case::{ClockKind, FaultKind, Instant, MICRO, MILLI, SECOND, StoreKind};
use crate::rng::Rng;
use crate::store::Attempt;
use crate::world::{Asking, Call, Event, Fate, Item, Stray, World};

/// A node waits so long for the store's reply before it gives up on it.
const STORE_PATIENCE: u64 = 400 * MILLI;
/// A slow store is so much slower.
const SLOW_FACTOR: u64 = 100;

impl World {
    fn store_delay(&self, median: u64, node: usize, rng: &mut Rng) -> u64 {
        let delay = rng.delay(median);
        if self.strikes(FaultKind::Slow, node, rng) {
            // Nothing stays slow for long once the world is healed.
            let left = self.case.settings.heal.saturating_sub(self.now).saturating_add(SECOND);
            delay.max(delay.saturating_mul(SLOW_FACTOR).min(left))
        } else {
            delay
        }
    }

    fn half(nanos: u64) -> u64 {
        nanos.checked_div(2).unwrap_or_default()
    }

    /// A node sends its commits, all in one call.
    pub(crate) fn send_commits(
        &mut self,
        (node, life): (usize, u64),
        commits: Vec<(Op, Arc<Commit>)>,
        stalled: u64,
    ) {
        self.next_call = self.next_call.saturating_add(1);
        let number = self.next_call;
        let mut rng = self.rng("call", number);
        let median = self.case.settings.commit;
        let way = Self::half(self.store_delay(median, node, &mut rng));
        let arrives = stalled.saturating_add(way);
        let cut = self.fault(FaultKind::CutStore, node).is_some();
        let mut items = Vec::new();
        let commits = self.torn_apart(commits);
        for (place, (op, commit)) in commits.into_iter().enumerate() {
            let fate = self.fate((node, cut), &commit, &mut rng);
            let (records, writes) = (commit.preconditions.len(), commit.writes.len());
            self.note(format_args!(
                "n{node} commits {number}.{place} {}: {records} records, {writes} writes, {fate:?}",
                commit.partition
            ));
            let mut lands = arrives;
            if self.strikes(FaultKind::Held, node, &mut rng) {
                lands = lands.saturating_add(rng.between(10 * MILLI, 3 * SECOND));
            }
            let slow = self.fault(FaultKind::SlowPartition, node);
            let partition = slow
                .is_some_and(|episode| commit.partition.as_str() == format!("p{}", episode.node));
            if partition {
                lands = lands.saturating_add(rng.delay(median.saturating_mul(SLOW_FACTOR)));
            }
            let place_delay = u64::try_from(place).unwrap_or_default().saturating_mul(2 * MICRO);
            // Nobody holds anything for long once the world is healed.
            let left = self.case.settings.heal.saturating_sub(self.now).saturating_add(SECOND);
            let lands = lands.min(left.max(arrives)).saturating_add(place_delay);
            self.after(lands, Event::Land { call: number, place });
            let arrived = self.now.saturating_add(arrives);
            let clock_arrived = self.deadline_clock(node);
            let late = fate == Fate::Late;
            if late || self.strikes(FaultKind::Twice, node, &mut rng) {
                let span = if late { 12 * SECOND } else { 2 * SECOND };
                // Everything that is on its way has come when the world is healed.
                let left = self.case.settings.heal.saturating_sub(self.now);
                let more = rng.between(MILLI, span).min(left.saturating_add(MILLI));
                let commit = Arc::clone(&commit);
                let stray = Box::new(Stray { commit, arrived, clock_arrived, late });
                self.after(lands.saturating_add(more), Event::Stray { node, life, stray });
            }
            items.push(Item { op, commit, fate, arrived, clock_arrived, result: None });
        }
        self.calls.insert(number, Call { node, life, items, applied: 0 });
    }

    /// A driver that is wrong writes the outcomes of keys in commits of their own, before the
    /// effects they are outcomes of.
    fn torn_apart(&self, commits: Vec<(Op, Arc<Commit>)>) -> Vec<(Op, Arc<Commit>)> {
        if self.case.settings.defect != "outcome_apart" {
            return commits;
        }
        let mut all = Vec::new();
        for (op, commit) in commits {
            let is_outcome = |key: &RecordKey| key.kind.name() == "outcomes";
            let part = |outcomes: bool| {
                let mut part = (*commit).clone();
                part.writes.retain(|write| is_outcome(&write.key) == outcomes);
                part.preconditions.retain(|one| is_outcome(&one.key) == outcomes);
                part
            };
            let (outcomes, mut effect) = (part(true), part(false));
            if !outcomes.writes.is_empty() && !effect.writes.is_empty() {
                effect.id = CommitId::new(commit.id.bits() ^ 1);
                all.push((Op::MAX, Arc::new(outcomes)));
                all.push((op, Arc::new(effect)));
            } else {
                all.push((op, commit));
            }
        }
        all
    }

    /// The clock that deadlines are compared with.
    fn deadline_clock(&self, node: usize) -> Timestamp {
        match self.case.settings.clock {
            ClockKind::AtExclusivity => self.store_clock(),
            ClockKind::Node => self.clock(node),
        }
    }

    fn fate(&mut self, (node, cut): (usize, bool), commit: &Commit, rng: &mut Rng) -> Fate {
        if cut {
            self.reached("cut_from_store");
            // A connection that is refused is a clear answer, one that goes silent is none.
            let refused = Fate::Refused(FailureKind::Unavailable);
            return if rng.chance(500) { refused } else { Fate::Vanishes };
        }
        for (fault, kind) in [
            (FaultKind::Refuse, FailureKind::Unavailable),
            (FaultKind::Throttle, FailureKind::Throttled),
            (FaultKind::Full, FailureKind::Full),
            (FaultKind::PartRefused, FailureKind::Unavailable),
        ] {
            if self.strikes(fault, node, rng) {
                if kind == FailureKind::Throttled {
                    self.reached("throttled");
                }
                return Fate::Refused(kind);
            }
        }
        let lost = self.fault(FaultKind::CutReplies, node).is_some();
        // Memory of one process has no replies to lose.
        if self.case.settings.store == StoreKind::Exclusive {
            return Fate::Lands;
        }
        for (fault, fate) in [
            (FaultKind::LostReply, Fate::ReplyLost),
            (FaultKind::LostCommit, Fate::Vanishes),
            (FaultKind::Late, Fate::Late),
        ] {
            if self.strikes(fault, node, rng) {
                return fate;
            }
        }
        let conflicts = !commit.preconditions.is_empty();
        if conflicts && self.strikes(FaultKind::Conflict, node, rng) {
            return Fate::Contradicted;
        }
        if lost { Fate::ReplyLost } else { Fate::Lands }
    }

    /// A commit has exclusivity.
    pub(crate) fn land(&mut self, number: u64, place: usize) {
        let Some(call) = self.calls.get(&number) else { return };
        let (node, life) = (call.node, call.life);
        let item = call.items.get(place).expect("a commit of this call");
        let (commit, fate) = (Arc::clone(&item.commit), item.fate);
        let (arrived, clock_arrived) = (item.arrived, item.clock_arrived);
        let same_process = self.node(node).life == life;
        if self.case.settings.store == StoreKind::Exclusive && !same_process {
            return;
        }
        let attempt =
            Attempt { arrived, now: self.now, clock_arrived, clock: self.deadline_clock(node) };
        let before = self.store.applied();
        let ahead = self.is_far_ahead(&commit);
        let result = match fate {
            Fate::Refused(kind) => {
                CommitResult::Failed(Failure::new(kind, "the simulated store refuses"))
            }
            Fate::Vanishes | Fate::Late => CommitResult::Unknown,
            Fate::Contradicted => {
                let keys = commit.preconditions.iter().map(|precondition| &precondition.key);
                let current = keys
                    .map(|key| (key.clone(), self.store.truth(&commit.partition, key, self.now)));
                CommitResult::Conflict { current: current.collect() }
            }
            Fate::Lands | Fate::ReplyLost => {
                let result = self.store.commit(&commit, attempt);
                self.watch_met((node, life), &commit, (&result, before));
                result
            }
        };
        let refused = matches!(
            result,
            CommitResult::TooLate { .. }
                | CommitResult::ClockAhead { .. }
                | CommitResult::Failed(_)
        );
        if refused || fate == Fate::Contradicted {
            self.refused.insert(commit.id);
        }
        let applied = self.store.applied();
        let name = name_of(&result);
        self.note(format_args!("store {number}.{place}: {name}, {applied} applied"));
        if before < applied {
            self.test_clock((&commit, ahead), &result);
        }
        let told = match fate {
            Fate::ReplyLost | Fate::Late | Fate::Vanishes => CommitResult::Unknown,
            Fate::Lands | Fate::Refused(_) | Fate::Contradicted => result,
        };
        let call = self.calls.get_mut(&number).expect("it was just there");
        call.applied = applied;
        call.items.get_mut(place).expect("a commit of this call").result = Some(told);
        if call.items.iter().all(|item| item.result.is_some()) {
            self.send_back(number, node);
        }
    }

    /// All commits of a call have landed: their results are on the way back, if there are any.
    fn send_back(&mut self, number: u64, node: usize) {
        let call = self.calls.get(&number).expect("it was just there");
        let silent = call
            .items
            .iter()
            .any(|item| matches!(item.fate, Fate::ReplyLost | Fate::Late | Fate::Vanishes));
        if 1 < call.items.len() {
            let committed =
                |item: &Item| matches!(item.result, Some(CommitResult::Committed { .. }));
            let some = call.items.iter().filter(|item| committed(item)).count();
            if some != 0 && some != call.items.len() {
                self.reached("multi_mixed");
            }
        }
        let mut rng = self.rng("back", number);
        let mut back = Self::half(self.store_delay(self.case.settings.commit, node, &mut rng));
        if silent {
            back = back.saturating_add(STORE_PATIENCE);
        }
        self.after(back, Event::Landed { call: number });
    }

    /// A commit comes that nobody waits for any more.
    pub(crate) fn stray(&mut self, (node, life): (usize, u64), stray: &Stray) {
        let exclusive = self.case.settings.store == StoreKind::Exclusive;
        if exclusive && self.node(node).life != life {
            return;
        }
        // What was refused is over: a transport that repeats calls must not repeat those.
        if !stray.late && self.refused.contains(&stray.commit.id) {
            return;
        }
        let (arrived, clock_arrived) = (stray.arrived, stray.clock_arrived);
        let clock = self.deadline_clock(node);
        let attempt = Attempt { arrived, now: self.now, clock_arrived, clock };
        let before = self.store.applied();
        let ahead = self.is_far_ahead(&stray.commit);
        let result = self.store.commit(&stray.commit, attempt);
        self.watch_stray((node, life), &stray.commit, (&result, before, stray.late));
        let (name, applied) = (name_of(&result), self.store.applied());
        self.note(format_args!("store stray of n{node}: {name}, {applied} applied"));
        if before < applied {
            self.test_clock((&stray.commit, ahead), &result);
        }
    }

    /// Whether the time of a commit is ahead of the store's clock by more than the skew, and of
    /// every record that it read.
    fn is_far_ahead(&self, commit: &Commit) -> bool {
        let latest = Timestamp::from_nanos(
            self.store_clock().nanos().saturating_add(self.case.settings.skew.into()),
        );
        let read = commit.preconditions.iter().map(|precondition| {
            self.store.truth(&commit.partition, &precondition.key, self.now).at
        });
        latest.is_some_and(|latest| latest < commit.now) && { read }.all(|at| at < commit.now)
    }

    /// A commit was applied: the store's clock had not reached its deadline, and it does not come
    /// from far ahead.
    fn test_clock(&mut self, (commit, ahead): (&Commit, bool), result: &CommitResult) {
        let CommitResult::Committed { .. } = result else { return };
        if self.case.settings.clock != ClockKind::AtExclusivity {
            return;
        }
        let clock = self.store_clock();
        if let Some(deadline) = commit.deadline
            && deadline <= clock
        {
            let text = format!("applied at {clock}, deadline {deadline}");
            self.violated("store.deadline", text);
        }
        if ahead {
            let text = format!("applied at {clock}, decided at {}", commit.now);
            self.violated("store.clock_ahead", text);
        }
    }

    /// The reply of a call reaches the node.
    pub(crate) fn landed(&mut self, number: u64) {
        let Some(call) = self.calls.remove(&number) else { return };
        let alive = self.node(call.node).life == call.life;
        let unsynced = self.case.settings.defect == "ack_unsynced";
        if self.case.settings.store == StoreKind::Exclusive && alive && !unsynced {
            self.store.sync(call.applied);
        }
        for item in call.items {
            let result = item.result.expect("all have landed");
            if item.op != Op::MAX {
                self.deliver((call.node, call.life), Input::Committed { op: item.op, result });
            }
        }
    }

    /// A node reads records.
    pub(crate) fn ask(&mut self, (node, life): (usize, u64), asked: Asking, stalled: u64) {
        let mut rng = self.rng("read", asked.number);
        let delay = self.store_delay(self.case.settings.read, node, &mut rng);
        self.note(format_args!(
            "n{node} reads {} records, {} questions of {}",
            asked.records.len(),
            asked.due.len(),
            asked.partition
        ));
        let delay = stalled.saturating_add(delay);
        self.after(delay, Event::Read { node, life, asked: Box::new(asked) });
    }

    /// The answer to a read reaches its node.
    pub(crate) fn read(&mut self, (node, life): (usize, u64), asked: Asking) {
        let mut rng = self.rng("read answer", asked.number);
        let op = asked.op;
        let refused = [FaultKind::Refuse, FaultKind::Throttle]
            .into_iter()
            .any(|fault| self.strikes(fault, node, &mut rng));
        if refused || self.fault(FaultKind::CutStore, node).is_some() {
            let result = Err(Failure::new(FailureKind::Unavailable, "the simulated store is away"));
            self.deliver((node, life), Input::Read { op, result });
            return;
        }
        if self.strikes(FaultKind::Corrupt, node, &mut rng) {
            self.watch_read((node, life), &asked.partition, (true, false));
            let result = Err(Failure::new(FailureKind::Corrupt, "a simulated record is damaged"));
            self.deliver((node, life), Input::Read { op, result });
            return;
        }
        let result = Ok(self.records((node, life), &asked, &mut rng));
        self.deliver((node, life), Input::Read { op, result });
    }

    fn records(&mut self, (node, life): (usize, u64), asked: &Asking, rng: &mut Rng) -> ReadResult {
        let shared = self.case.settings.store == StoreKind::Shared;
        let stale = shared && self.strikes(FaultKind::StaleReads, node, rng);
        let torn = shared && self.strikes(FaultKind::TornReads, node, rng);
        let newer = self.strikes(FaultKind::Newer, node, rng);
        let lag = self.fault(FaultKind::StaleReads, node).map_or(0, |episode| episode.amount);
        let lag = u64::try_from(lag).unwrap_or_default();
        let mut records = Vec::new();
        for key in &asked.records {
            let when: Instant = match () {
                () if stale => self.now.saturating_sub(lag),
                () if torn => rng.between(asked.begun, self.now.saturating_add(1)),
                () => self.now,
            };
            let mut record = self.store.read(&asked.partition, key, when);
            if newer && record.value.is_some() {
                self.watch_read((node, life), &asked.partition, (false, true));
                record.value = Some(Arc::from(&br#"{"format":99,"record":{}}"#[..]));
            }
            records.push((key.clone(), record));
        }
        let due = asked
            .due
            .iter()
            .map(|due| (due.clone(), self.store.due(&asked.partition, due, self.now)));
        ReadResult { records, due: due.collect::<Vec<_>>() }
    }

    /// A node asks what became of a commit.
    pub(crate) fn ask_fate(
        &mut self,
        (node, life): (usize, u64),
        (op, id): (Op, CommitId),
        stalled: u64,
    ) {
        self.next_call = self.next_call.saturating_add(1);
        let mut rng = self.rng("resolve", self.next_call);
        let delay = self.store_delay(self.case.settings.read, node, &mut rng);
        self.after(stalled.saturating_add(delay), Event::Resolve { node, life, op, id });
    }

    /// The answer reaches the node.
    pub(crate) fn resolve(&mut self, (node, life): (usize, u64), op: Op, id: CommitId) {
        let mut rng = self.rng("resolve answer", op);
        let away = self.fault(FaultKind::CutStore, node).is_some()
            || self.strikes(FaultKind::Refuse, node, &mut rng);
        let result = if away {
            Err(Failure::new(FailureKind::Unavailable, "the simulated store is away"))
        } else {
            Ok(match self.store.resolve(id) {
                Resolution::Applied if self.case.settings.defect == "resolution_wrong" => {
                    Resolution::NotApplied
                }
                truth => truth,
            })
        };
        if let Ok(fate) = &result {
            self.watch_fate((node, life), id, *fate);
        }
        self.deliver((node, life), Input::Resolved { op, result });
    }
}

pub(crate) const fn name_of(result: &CommitResult) -> &'static str {
    match result {
        CommitResult::Committed { .. } => "committed",
        CommitResult::Conflict { .. } => "conflict",
        CommitResult::TooLate { .. } => "too late",
        CommitResult::ClockAhead { .. } => "clock ahead",
        CommitResult::Unknown => "unknown",
        CommitResult::Failed(_) => "failed",
        _ => "?",
    }
}
