//! A lane: the queue, the records and the one commit in flight of one partition.
//!
//! Invariant: a lane is idle, or it waits for exactly one thing (a read, a commit, a resolution, a
//! pause). What a batch wrote is pending in the view exactly while that batch exists.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration as Span;

use bellpunch_core::{
    BestEffort, Category, DecidedBy, Decision, IdempotencyKey, Journaling, Loaded, Partition,
    RecordKey, Rejection, Reply, Request, Timestamp, Versions, View, WithoutStore, best_effort,
    decide, planted, rate_limits_alone, without_store,
};
use bellpunch_store::{
    Commit, CommitResult, Failure, FailureKind, Guarantee, Resolution, Sharing, Versioned,
};

use super::answer::{Asked, DryRun, Prepared, prepare, storeless};
use super::batch::{Batch, Member, Waiting};
use super::{Caller, Desk, Op, Output, ReadResult, Rules, Turn};
use crate::{AnyOutcome, Error, ErrorKind, Refusal};

/// Callers that may wait for one idempotency key.
const SAME_KEY_MAX: u32 = 17;
/// Bytes of node-local counters, used while the store is down.
const LOCAL_BYTES_MAX: usize = 1 << 20;
/// The longest pause between two attempts to send one commit.
const PAUSE_MAX: Span = Span::from_secs(1);
/// How long commands wait behind a commit whose reply was lost. Then they do what they are to do
/// without the store; what was sent is still found out.
pub(super) const DOUBT_MAX: Span = Span::from_millis(250);
/// Commits in a row, none of which met another, before this node gives way.
const WINS_MAX: u32 = 16;
/// The longest that a node gives way.
const GIVE_WAY_MAX: Span = Span::from_millis(32);

/// A commit, and how often it was sent.
#[derive(Debug)]
struct Sent {
    commit: Arc<Commit>,
    times: u32,
    /// The node's time when it was decided.
    at: Timestamp,
    /// Since when its reply is lost.
    doubt_since: Option<Timestamp>,
}

#[derive(Debug)]
enum State {
    Idle,
    /// Records are being read; the batch so far is kept.
    Reading {
        batch: Batch,
        asked: usize,
    },
    Committing {
        op: Op,
        batch: Batch,
        sent: Sent,
    },
    /// The reply of a commit was lost, and it cannot be sent again: its fate is being asked for.
    Resolving {
        batch: Batch,
        sent: Sent,
        /// The records of a conflict, as they are now. `None`: there was none, but this node's
        /// clock was too far ahead, so what was sent first may still land.
        current: Option<Vec<(RecordKey, Versioned)>>,
    },
    /// A pause before a commit is sent again.
    Pausing {
        batch: Batch,
        sent: Sent,
    },
    /// A pause before deciding again, to give way to other nodes.
    Resting,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Lane {
    partition: Partition,
    view: View,
    /// Counters of rate limits that go on without the store; never committed.
    local: View,
    queue: VecDeque<Waiting>,
    keys: BTreeMap<IdempotencyKey, u32>,
    state: State,
    /// Tells when commands have waited behind a lost reply for long enough.
    alarm: Option<Op>,
    /// Since when others have committed first.
    lost_since: Option<Timestamp>,
    /// Commits in a row that met no other.
    wins: u32,
    /// The next batch takes this many commands at most: 1 after one was too large or damaged.
    batch_max: usize,
    /// The time of the batch, if it asked what is due: the answer is as of then.
    asked_at: Option<Timestamp>,
}

impl Lane {
    pub(crate) fn new(partition: Partition) -> Self {
        Self {
            partition,
            view: View::default(),
            local: View::default(),
            queue: VecDeque::new(),
            keys: BTreeMap::new(),
            state: State::Idle,
            batch_max: usize::MAX,
            alarm: None,
            lost_since: None,
            wins: 0,
            asked_at: None,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle) && self.queue.is_empty()
    }

    /// Idle, and no timer of it runs.
    pub(crate) fn is_over(&self) -> bool {
        self.is_idle() && self.alarm.is_none()
    }

    pub(crate) fn cache_bytes(&self) -> usize {
        self.view.bytes().saturating_add(self.local.bytes())
    }

    /// Drops clean records; gives how many were looked at. Not while records are read for a batch:
    /// it would need them again.
    pub(crate) fn evict(&mut self, bytes_max: usize, visits: usize) -> usize {
        if matches!(self.state, State::Reading { .. }) {
            return 0;
        }
        self.view.evict(bytes_max.saturating_sub(self.local.bytes()), visits)
    }

    /// Takes a command, or says at once that it cannot.
    pub(crate) fn enqueue(
        &mut self,
        caller: Caller,
        request: Request,
        rules: &Rules,
    ) -> Result<(), Error> {
        if rules.config.queue_max <= self.queue.len() {
            let message = format!("{} commands wait for this partition", self.queue.len());
            return Err(Error::new(ErrorKind::Overloaded, message));
        }
        if let Some((key, _)) = &request.key {
            let waiting = self.keys.entry(key.clone()).or_default();
            if SAME_KEY_MAX <= *waiting {
                let message = "16 callers already wait for this idempotency key";
                return Err(Error::new(ErrorKind::KeyInProgress, message));
            }
            *waiting = waiting.saturating_add(1);
        }
        let not_before = Timestamp::EPOCH;
        let (conflicts, gone, in_doubt) = (0, false, false);
        let waiting = Waiting { caller, request, conflicts, not_before, gone, in_doubt };
        self.queue.push_back(waiting);
        Ok(())
    }

    fn answer(&mut self, waiting: &Waiting, result: Result<AnyOutcome, Error>, desk: &mut Desk) {
        desk.stats.queued = desk.stats.queued.saturating_sub(1);
        if let Some(key) = waiting.key()
            && let Some(count) = self.keys.get_mut(key)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.keys.remove(key);
            }
        }
        let result = match result {
            Err(error) if waiting.in_doubt && error.kind() != ErrorKind::Unknown => {
                let message = format!("an earlier attempt may have been applied; then {error}");
                Err(Error::new(ErrorKind::Unknown, message))
            }
            told => told,
        };
        if !waiting.gone {
            desk.reply(waiting.caller, result);
        }
    }

    /// Answers what a rule said, and counts it if that is a bug.
    fn tell(&mut self, waiting: &Waiting, said: Result<AnyOutcome, Error>, desk: &mut Desk) {
        let is_bug = said.as_ref().is_err_and(|error| error.kind() == ErrorKind::Internal);
        desk.stats.panics = desk.stats.panics.saturating_add(u64::from(is_bug));
        self.answer(waiting, said, desk);
    }

    /// Planted: nobody is answered.
    pub(crate) fn forget_queue(&mut self) {
        self.queue.clear();
    }

    /// The caller's time is up: a command that no commit carries yet is taken back.
    pub(crate) fn gave_up(&mut self, caller: Caller, desk: &mut Desk) {
        if let Some(place) = self.queue.iter().position(|waiting| waiting.caller == caller) {
            let waiting = self.queue.remove(place).expect("the place was just found");
            let error = Error::new(ErrorKind::TimedOut, "the time was over before it was its turn");
            self.answer(&waiting, Err(error), desk);
            return;
        }
        let batch = match &mut self.state {
            State::Reading { batch, .. }
            | State::Committing { batch, .. }
            | State::Resolving { batch, .. }
            | State::Pausing { batch, .. } => batch,
            State::Idle | State::Resting => return,
        };
        let waiting = batch.members.iter_mut().map(|member| &mut member.waiting);
        if let Some(waiting) = { waiting }.find(|waiting| waiting.caller == caller) {
            waiting.gone = true;
            let message = "the commit is on its way; its outcome was not known in time";
            desk.reply(caller, Err(Error::new(ErrorKind::Unknown, message)));
        }
    }

    /// Decides as many waiting commands as one batch may have, if nothing is waited for.
    pub(crate) fn run(&mut self, turn: &mut Turn<'_>) {
        if self.is_cut_off(turn.now) && !self.queue.is_empty() {
            // None of them was sent, and which of their records will be there nobody can tell.
            let waiting = self.queue.drain(..).collect();
            let message = "the store does not tell what became of the commit before this one";
            self.failed(waiting, &Failure::new(FailureKind::Unavailable, message), turn);
        }
        if matches!(self.state, State::Idle) && !self.queue.is_empty() {
            // What is due is asked afresh for each batch.
            self.view.discard([]);
            self.asked_at = None;
            self.decide(Batch::default(), turn);
        }
    }

    /// Since when the reply of the commit in flight is lost, if it is.
    fn doubt_since(&self) -> Option<Timestamp> {
        match &self.state {
            State::Committing { sent, .. }
            | State::Resolving { sent, .. }
            | State::Pausing { sent, .. } => sent.doubt_since,
            State::Idle | State::Reading { .. } | State::Resting => None,
        }
    }

    /// Whether the reply of a commit is lost for so long that nobody waits for it any more.
    fn is_cut_off(&self, now: Timestamp) -> bool {
        let passed = self.doubt_since().and_then(|since| now.since(since));
        passed.is_some_and(|passed| DOUBT_MAX.as_nanos() <= u128::from(passed.nanos()))
    }

    /// Sees to it that somebody looks when the store says nothing at all.
    fn watch(&mut self, desk: &mut Desk) {
        if self.alarm.is_none() && self.doubt_since().is_some() {
            let op = desk.op(&self.partition);
            self.alarm = Some(op);
            desk.outputs.push_back(Output::Wake { op, after: DOUBT_MAX });
        }
    }

    fn decide(&mut self, mut batch: Batch, turn: &mut Turn<'_>) {
        let commands_max = turn.rules.config.batch_max.min(self.batch_max);
        let records_max = turn.rules.records_max.div_ceil(2);
        while batch.members.len() < commands_max && batch.records() < records_max {
            let Some(waiting) = self.queue.pop_front() else { break };
            match self.ask(&waiting, turn) {
                Asked::Load(records, due) => {
                    self.queue.push_front(waiting);
                    // The store is asked what is due only when it knows all that was decided.
                    if !due.is_empty() && !batch.is_empty() {
                        break;
                    }
                    self.load(batch, (records, due), turn);
                    return;
                }
                Asked::Broken(error) => self.tell(&waiting, Err(error), turn.desk),
                Asked::Answer(prepared) if self.may_tell(&prepared, turn.rules) => {
                    self.tell(&waiting, prepared.outcome, turn.desk);
                }
                Asked::Answer(prepared) => {
                    let now = self.asked_at.unwrap_or(turn.now);
                    batch.add(Member { waiting, prepared }, &mut self.view, now);
                }
            }
        }
        if batch.is_empty() {
            self.state = State::Idle;
            return;
        }
        self.batch_max = usize::MAX;
        let commands = u64::try_from(batch.members.len()).unwrap_or(u64::MAX);
        turn.desk.stats.batch_commands.observe(&crate::api::BATCH_COMMANDS, commands);
        let commit = batch.commit(&self.partition, &mut self.view, turn);
        self.send(batch, Sent { commit, times: 1, at: turn.now, doubt_since: None }, turn.desk);
    }

    /// Asks the rule, if the store can keep what it promises.
    fn ask(&mut self, waiting: &Waiting, turn: &Turn<'_>) -> Asked {
        if let Some(risk) = turn.rules.risk
            && !rate_limits_alone(&waiting.request)
        {
            let message = format!(
                "the store can lose what it acknowledged ({risk}): only rate limits may use it, \
                 unless that is accepted by store.accept_risk = \"{risk}\"",
                risk = risk.name()
            );
            return Asked::Broken(Error::new(ErrorKind::RiskNotAccepted, message));
        }
        if turn.rules.guarantee == Guarantee::BestEffort {
            match best_effort(&mut self.view, &waiting.request) {
                BestEffort::Allowed => {}
                BestEffort::Load(records) => return Asked::Load(records, Vec::new()),
                BestEffort::Refused => {
                    let message = "the store is best-effort: only rate limits whose policy says \
                                   best_effort, without an idempotency key, may use it";
                    return Asked::Broken(Error::new(ErrorKind::StoreUnavailable, message));
                }
            }
        }
        let at = self.asked_at.unwrap_or(turn.now).max(waiting.not_before);
        let decision = decide(&mut self.view, &waiting.request, at);
        let dry_run = if waiting.request.dry_run { DryRun::Yes } else { DryRun::No };
        prepare(decision, dry_run)
    }

    /// Whether an answer is true without a commit: it wrote nothing, it rests on nothing that is
    /// not durable yet, and nobody else can have changed what it read.
    fn may_tell(&self, prepared: &Prepared, rules: &Rules) -> bool {
        prepared.touched.writes.is_empty()
            && (rules.sharing == Sharing::Exclusive || planted!("stale_rejection"))
            && (planted!("early_batch_rejection")
                || !prepared.touched.reads.iter().any(|key| self.view.is_pending(key)))
    }

    /// Reads what is missing, for this command and those behind it: one round trip for all.
    fn load(
        &mut self,
        batch: Batch,
        (records, due): (Vec<RecordKey>, Vec<bellpunch_core::Due>),
        turn: &mut Turn<'_>,
    ) {
        let mut records: BTreeSet<_> = records.into_iter().collect();
        let mut due: BTreeSet<_> = due.into_iter().collect();
        let now = self.asked_at.unwrap_or(turn.now);
        let room =
            turn.rules.config.batch_max.min(self.batch_max).saturating_sub(batch.members.len());
        let mut asked = 1_usize;
        for waiting in self.queue.iter().take(room).skip(1) {
            if turn.rules.records_max <= records.len() {
                break;
            }
            let probe = Request { dry_run: true, ..waiting.request.clone() };
            if let Decision::Load { records: more, due: more_due } =
                decide(&mut self.view, &probe, now.max(waiting.not_before))
            {
                records.extend(more);
                due.extend(more_due);
            }
            asked = asked.saturating_add(1);
        }
        if !due.is_empty() {
            self.asked_at = Some(now);
        }
        let op = turn.desk.op(&self.partition);
        self.state = State::Reading { batch, asked };
        turn.desk.outputs.push_back(Output::Read {
            op,
            partition: self.partition.clone(),
            records: records.into_iter().collect(),
            due: due.into_iter().collect(),
        });
    }

    /// Records were read: go on deciding.
    pub(crate) fn read(&mut self, result: Result<ReadResult, Failure>, turn: &mut Turn<'_>) {
        let State::Reading { batch, asked } = std::mem::replace(&mut self.state, State::Idle)
        else {
            unreachable!("a lane that reads waits for nothing else");
        };
        match result {
            Ok(read) => {
                for (key, versioned) in read.records {
                    self.take(key, versioned);
                }
                for (due, ids) in read.due {
                    self.view.answer(due, ids);
                }
                self.decide(batch, turn);
            }
            Err(failure) => {
                self.view.discard(batch.touched());
                let decided = batch.members.into_iter().map(|member| member.waiting);
                let mut failed: Vec<Waiting> = decided.collect();
                failed.extend(self.queue.drain(..asked.min(self.queue.len())));
                self.failed(failed, &failure, turn);
            }
        }
    }

    fn take(&mut self, key: RecordKey, versioned: Versioned) {
        let Versioned { version, at, value, .. } = versioned;
        self.view.load(key, Loaded { version, at, value });
    }

    fn send(&mut self, mut batch: Batch, sent: Sent, desk: &mut Desk) {
        let op = desk.op(&self.partition);
        desk.outputs.push_back(Output::Commit { op, commit: Arc::clone(&sent.commit) });
        if planted!("ack_early") {
            for member in &mut batch.members {
                let told =
                    std::mem::replace(&mut member.prepared.outcome, Ok(denied(Timestamp::EPOCH)));
                desk.reply(member.waiting.caller, told);
                member.waiting.gone = true;
            }
        }
        self.state = State::Committing { op, batch, sent };
    }

    /// A commit ended: tell, or decide again.
    pub(crate) fn committed(&mut self, op: Op, result: CommitResult, turn: &mut Turn<'_>) {
        let State::Committing { op: expected, batch, mut sent } =
            std::mem::replace(&mut self.state, State::Idle)
        else {
            unreachable!("a lane that commits waits for nothing else");
        };
        assert_eq!(op, expected, "one commit is in flight");
        count(&result, turn.desk);
        let first = sent.times == 1;
        match result {
            // A store may call a collision a conflict although nothing changed. That is no proof
            // that what was sent before will never land.
            CommitResult::Conflict { current } if !first && !proves(&sent.commit, &current) => {
                return self.pause(batch, sent, turn.desk);
            }
            CommitResult::Conflict { current } if !first => {
                // Sent twice, and somebody else's version stands: was it ours that he built upon?
                return self.ask_fate(batch, sent, (Some(current), turn.desk));
            }
            CommitResult::ClockAhead { .. } if !first => {
                return self.ask_fate(batch, sent, (None, turn.desk));
            }
            // A commit that was sent before may still land, whatever became of this attempt.
            CommitResult::Failed(_) if !first => return self.pause(batch, sent, turn.desk),
            CommitResult::Unknown if planted!("unknown_as_failed") => {
                let failure = Failure::new(FailureKind::Unavailable, "no reply");
                self.refused(batch, &failure, turn);
            }
            CommitResult::Unknown if planted!("unknown_decided_again") => {
                self.view.discard(batch.touched());
                batch.touched().for_each(|key| self.view.forget(key));
                self.requeue(batch, |_| {});
            }
            CommitResult::Unknown => {
                if first {
                    let open = turn.desk.stats.unknown_open.saturating_add(1);
                    turn.desk.stats.unknown_open = open;
                    sent.doubt_since = Some(turn.now);
                }
                return self.pause(batch, sent, turn.desk);
            }
            CommitResult::Committed { .. } => {
                let wrote = !sent.commit.writes.is_empty();
                self.settle(batch, turn.desk);
                if wrote && turn.rules.sharing == Sharing::Shared {
                    self.give_way(sent.at, turn);
                }
            }
            CommitResult::Conflict { current } => self.conflict(batch, current, turn),
            CommitResult::TooLate { .. } => {
                self.view.discard(batch.touched());
                let missed = batch.deadline.unwrap_or(turn.now);
                let missed = if planted!("too_late_loops") { Timestamp::EPOCH } else { missed };
                self.requeue(batch, |waiting| waiting.not_before = waiting.not_before.max(missed));
            }
            CommitResult::ClockAhead { store_time } => {
                self.view.discard(batch.touched());
                let message = format!("this node's clock is ahead of the store's ({store_time})");
                for member in batch.members {
                    let error = Error::new(ErrorKind::ClockAhead, &message);
                    self.answer(&member.waiting, Err(error), turn.desk);
                }
            }
            CommitResult::Failed(failure) => self.refused(batch, &failure, turn),
            other => unreachable!("a result this release does not know: {other:?}"),
        }
        if !first {
            resolved(turn.desk);
        }
    }

    fn ask_fate(
        &mut self,
        batch: Batch,
        sent: Sent,
        (current, desk): (Option<Vec<(RecordKey, Versioned)>>, &mut Desk),
    ) {
        let op = desk.op(&self.partition);
        let (partition, id) = (self.partition.clone(), sent.commit.id);
        desk.outputs.push_back(Output::Resolve { op, partition, id });
        self.state = State::Resolving { batch, sent, current };
    }

    /// The store took the batch: it is told.
    fn settle(&mut self, mut batch: Batch, desk: &mut Desk) {
        if planted!("reply_swapped")
            && let [one, .., other] = batch.members.as_mut_slice()
        {
            std::mem::swap(&mut one.waiting, &mut other.waiting);
        }
        self.view.settle_and_drop(batch.touched());
        let commands = u64::try_from(batch.members.len()).unwrap_or(u64::MAX);
        desk.stats.commands_committed = desk.stats.commands_committed.saturating_add(commands);
        for member in batch.members {
            self.tell(&member.waiting, member.prepared.outcome, desk);
        }
    }

    /// The store took nothing of the batch, for certain.
    fn refused(&mut self, batch: Batch, failure: &Failure, turn: &mut Turn<'_>) {
        self.view.discard(batch.touched());
        if failure.kind() == FailureKind::TooLarge && 1 < batch.members.len() {
            self.batch_max = 1;
            self.requeue(batch, |_| {});
        } else {
            let waiting = batch.members.into_iter().map(|member| member.waiting).collect();
            self.failed(waiting, failure, turn);
        }
    }

    /// Somebody else committed first: take what he wrote, and decide again.
    fn conflict(
        &mut self,
        batch: Batch,
        current: Vec<(RecordKey, Versioned)>,
        turn: &mut Turn<'_>,
    ) {
        self.view.discard(batch.touched());
        if current.is_empty() {
            for key in batch.touched() {
                self.view.forget(key);
            }
        }
        for (key, versioned) in current {
            if !planted!("cache_kept_on_conflict") {
                self.take(key, versioned);
            }
        }
        let mut again = Batch::default();
        for mut member in batch.members {
            member.waiting.conflicts = member.waiting.conflicts.saturating_add(1);
            turn.desk.stats.conflict_retries = turn.desk.stats.conflict_retries.saturating_add(1);
            if turn.rules.config.retries_max < member.waiting.conflicts {
                turn.desk.stats.contended = turn.desk.stats.contended.saturating_add(1);
                let message = "others committed first, more often than retries_max";
                let error = Error::new(ErrorKind::Contended, message);
                let result =
                    if planted!("conflict_as_limit") { Ok(denied(turn.now)) } else { Err(error) };
                self.answer(&member.waiting, result, turn.desk);
            } else {
                again.members.push(member);
            }
        }
        self.requeue(again, |_| {});
        // Decided again at once: who pauses now loses again, to those who do not. It is the winner
        // who gives way.
        let waits = !self.queue.is_empty();
        self.lost_since = self.lost_since.or(Some(turn.now)).filter(|_| waits);
    }

    /// Lets other nodes come first. Who has just committed is the first to know the new versions,
    /// and would come first again and again: each time the others are half a round trip late. So
    /// who had to wait for its turn waits as long again, at most; and who met nobody for long lets
    /// a round trip pass, for he would not know.
    fn give_way(&mut self, sent_at: Timestamp, turn: &mut Turn<'_>) {
        let since = |at: Timestamp| {
            let passed = turn.now.since(at).map_or(0, bellpunch_core::Duration::nanos);
            Span::from_nanos(passed).min(GIVE_WAY_MAX)
        };
        self.wins = self.wins.saturating_add(1);
        let after = match self.lost_since.take() {
            Some(lost) => jittered(since(lost), turn.desk.random()),
            None if self.wins < WINS_MAX => return,
            None => since(sent_at),
        };
        self.wins = 0;
        self.rest(after, turn.desk);
    }

    fn rest(&mut self, after: Span, desk: &mut Desk) {
        if !after.is_zero() {
            let op = desk.op(&self.partition);
            desk.outputs.push_back(Output::Wake { op, after });
            self.state = State::Resting;
        }
    }

    /// Puts the commands of a batch back at the front, in their order.
    fn requeue(&mut self, batch: Batch, change: impl Fn(&mut Waiting)) {
        for member in batch.members.into_iter().rev() {
            let mut waiting = member.waiting;
            change(&mut waiting);
            self.queue.push_front(waiting);
        }
    }

    fn pause(&mut self, batch: Batch, sent: Sent, desk: &mut Desk) {
        let op = desk.op(&self.partition);
        let after = pause_of(sent.times, desk.random());
        desk.outputs.push_back(Output::Wake { op, after });
        self.state = State::Pausing { batch, sent };
    }

    /// A pause is over.
    pub(crate) fn woke(&mut self, op: Op, turn: &mut Turn<'_>) {
        let desk = &mut *turn.desk;
        if self.alarm == Some(op) {
            self.alarm = None;
            if !self.is_cut_off(turn.now) {
                self.watch(desk);
            }
            return;
        }
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Pausing { batch, mut sent } => {
                sent.times = sent.times.saturating_add(1);
                self.send(batch, sent, desk);
                self.watch(desk);
            }
            State::Resting => {}
            other @ (State::Idle
            | State::Reading { .. }
            | State::Committing { .. }
            | State::Resolving { .. }) => {
                unreachable!("a lane that pauses waits for nothing else: {other:?}")
            }
        }
    }

    /// The fate of a commit was asked for, after its preconditions had ceased to hold: what was
    /// not applied by then never will be.
    pub(crate) fn resolved(&mut self, result: Result<Resolution, Failure>, turn: &mut Turn<'_>) {
        let State::Resolving { batch, sent, current } =
            std::mem::replace(&mut self.state, State::Idle)
        else {
            unreachable!("a lane that resolves waits for nothing else");
        };
        match result {
            Ok(Resolution::Applied) => {
                resolved(turn.desk);
                self.view.discard(batch.touched());
                for key in batch.touched() {
                    self.view.forget(key);
                }
                for (key, versioned) in current.into_iter().flatten() {
                    self.take(key, versioned);
                }
                for member in batch.members {
                    self.tell(&member.waiting, member.prepared.outcome, turn.desk);
                }
            }
            Err(_) => self.pause(batch, sent, turn.desk),
            Ok(resolution) => {
                resolved(turn.desk);
                match (resolution, current) {
                    (Resolution::NotApplied, Some(current)) => self.conflict(batch, current, turn),
                    (_, Some(current)) => self.not_known(batch, current, turn),
                    (_, None) => self.may_land(batch, turn.desk),
                }
            }
        }
    }

    /// What was sent first may land once the store's clock has come so far: nothing is guessed.
    fn may_land(&mut self, batch: Batch, desk: &mut Desk) {
        self.view.discard(batch.touched());
        for key in batch.touched() {
            self.view.forget(key);
        }
        for member in batch.members {
            let message = "the reply was lost, and this node's clock is ahead of the store's";
            let error = Error::new(ErrorKind::Unknown, message);
            self.answer(&member.waiting, Err(error), desk);
        }
    }

    /// The store no longer knows. Where there is a key its outcome record does; what had no effect
    /// is decided again; for the rest nothing is guessed.
    fn not_known(
        &mut self,
        mut batch: Batch,
        current: Vec<(RecordKey, Versioned)>,
        turn: &mut Turn<'_>,
    ) {
        let mut again = Vec::new();
        for mut member in std::mem::take(&mut batch.members) {
            let harmless = member.prepared.touched.writes.is_empty();
            member.waiting.in_doubt |= !harmless;
            if harmless || member.waiting.key().is_some() {
                again.push(member);
            } else {
                let message = "the reply was lost, and the store no longer remembers the commit";
                self.answer(
                    &member.waiting,
                    Err(Error::new(ErrorKind::Unknown, message)),
                    turn.desk,
                );
            }
        }
        for key in batch.touched() {
            self.view.forget(key);
        }
        batch.members = again;
        self.conflict(batch, current, turn);
    }

    /// The store failed and took nothing: each command does what it is to do without it.
    fn failed(&mut self, waiting: Vec<Waiting>, failure: &Failure, turn: &mut Turn<'_>) {
        let kind = match failure.kind() {
            FailureKind::TooLarge => ErrorKind::TooLarge,
            FailureKind::Corrupt if 1 < waiting.len() => {
                // One of them needs the damaged record; ask for each alone.
                self.batch_max = 1;
                for waiting in waiting.into_iter().rev() {
                    self.queue.push_front(waiting);
                }
                return;
            }
            FailureKind::Corrupt => ErrorKind::Internal,
            FailureKind::Unavailable | FailureKind::Full | FailureKind::Throttled | _ => {
                ErrorKind::StoreUnavailable
            }
        };
        for waiting in waiting {
            let result = if kind == ErrorKind::StoreUnavailable && !waiting.in_doubt {
                self.go_on(&waiting.request, turn)
            } else {
                None
            };
            let error = || Error::new(kind, failure.to_string());
            self.answer(&waiting, result.ok_or_else(error), turn.desk);
        }
    }

    /// The answer of a rate limit whose policy goes on without the store.
    fn go_on(&mut self, request: &Request, turn: &mut Turn<'_>) -> Option<AnyOutcome> {
        let [open, local] = &mut turn.desk.stats.storeless;
        let now = turn.now;
        match without_store(&mut self.view, request, now) {
            WithoutStore::Open(reply) => {
                *open = open.saturating_add(1);
                let flag =
                    if planted!("degraded_unflagged") { DecidedBy::Store } else { DecidedBy::Open };
                Some(storeless(Reply::Fresh(reply), now, flag))
            }
            WithoutStore::Local(command) if self.local.bytes() < LOCAL_BYTES_MAX => {
                let entropy = request.entropy.clone();
                // Records that live in this node alone have no place in the partition's journal.
                let (commands, journaling) = (vec![command], Journaling::Off);
                let request =
                    Request { commands, entropy, key: None, journaling, ..request.clone() };
                let outcome = decide_local(&mut self.local, &request, now)?;
                *local = local.saturating_add(1);
                Some(outcome)
            }
            WithoutStore::Local(_) | WithoutStore::Closed | _ => None,
        }
    }
}

/// Decides on records that live in this node alone: what is not there is absent.
fn decide_local(local: &mut View, request: &Request, now: Timestamp) -> Option<AnyOutcome> {
    loop {
        match prepare(decide(local, request, now), DryRun::No) {
            Asked::Load(records, due) => {
                for key in records {
                    local.load(key, Loaded::default());
                }
                for due in due {
                    local.answer(due, Vec::new());
                }
            }
            Asked::Broken(_) => return None,
            Asked::Answer(prepared) => {
                local.settle(&prepared.touched.writes);
                return Some(match prepared.outcome.ok()? {
                    AnyOutcome::Accepted(mut receipt) => {
                        receipt.decided_by = DecidedBy::Local;
                        receipt.versions.clear();
                        receipt.as_of.clear();
                        AnyOutcome::Accepted(receipt)
                    }
                    AnyOutcome::Rejected(mut refusal) => {
                        refusal.decided_by = DecidedBy::Local;
                        refusal.as_of.clear();
                        AnyOutcome::Rejected(refusal)
                    }
                });
            }
        }
    }
}

/// Whether these records show that a commit can never be applied from now on.
fn proves(commit: &Commit, current: &[(RecordKey, Versioned)]) -> bool {
    commit.preconditions.iter().any(|precondition| {
        let now = current.iter().find(|(key, _)| *key == precondition.key);
        now.is_some_and(|(_, versioned)| versioned.version != precondition.version)
    })
}

/// What is told in the place of something else, by bugs that are planted.
fn denied(at: Timestamp) -> AnyOutcome {
    let (code, category, data) = ("quota_exceeded", Category::Limit, serde_json::Map::new());
    AnyOutcome::Rejected(Refusal {
        index: 0,
        rejection: Rejection { code, category, data },
        at,
        as_of: Versions::new(),
        decided_by: DecidedBy::Store,
        best_effort: false,
        durable: true,
    })
}

fn count(result: &CommitResult, desk: &mut Desk) {
    if let Some(counter) = desk.stats.commits.get_mut(crate::driver::place_of(result)) {
        *counter = counter.saturating_add(1);
    }
}

fn resolved(desk: &mut Desk) {
    desk.stats.unknown_open = desk.stats.unknown_open.saturating_sub(1);
    desk.stats.unknown_resolved = desk.stats.unknown_resolved.saturating_add(1);
}

/// A pause that doubles with each attempt, with full jitter.
fn pause_of(attempts: u32, random: u64) -> Span {
    let longest =
        Span::from_millis(1).saturating_mul(2_u32.saturating_pow(attempts.min(16))).min(PAUSE_MAX);
    jittered(longest, random)
}

/// Less than `longest`, by chance.
fn jittered(longest: Span, random: u64) -> Span {
    let nanos = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
    Span::from_nanos(random.checked_rem(nanos).unwrap_or_default())
}
