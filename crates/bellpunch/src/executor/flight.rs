//! The flight of a batch: its commit on the way to the store, and what comes of it.
//!
//! Invariant: no commit in flight rests on what another one in flight writes, so each may land or not,
//! in any order. Each is told once the store took it, decided again once it is certain that the store
//! did not and never will, and asked for otherwise. What was decided meanwhile is kept only if all
//! goes well at the first attempt.

use std::sync::Arc;
use std::time::Duration as Span;

use bellpunch_core::{Duration, RecordKey, Timestamp, planted};
use bellpunch_store::{Commit, CommitResult, Failure, FailureKind, Resolution, Sharing, Versioned};

use super::batch::{Batch, Member, Waiting};
use super::lane::Lane;
use super::{Desk, Op, Output, Turn};
use crate::{Error, ErrorKind};

/// The longest pause between two attempts to send one commit.
pub(super) const PAUSE_MAX: Span = Span::from_secs(1);
/// Commits in a row, none of which met another, before this node gives way.
const WINS_MIN: u32 = 16;
/// How many, if they are fast, and it has met nobody for long: a pause takes a tick of a timer at least.
const WINS_MAX: u32 = 48;
/// The least time between two pauses then.
const GIVE_WAY_EVERY: Span = Span::from_millis(32);
/// Who has met another within this time takes it that he is still there.
const MET: Span = Span::from_secs(1);
/// The longest that a node gives way.
const GIVE_WAY_MAX: Span = Span::from_millis(32);
/// Commits in a row, none of which met another, before the next is decided while one is in flight:
/// where others write, it would be in vain.
const CALM: u32 = 8;

/// A commit, and how often it was sent.
#[derive(Debug)]
struct Sent {
    commit: Arc<Commit>,
    times: u32,
    /// The node's time when it was sent first.
    at: Timestamp,
    /// Whether the clock has not gone back since: else nobody knows how long ago that was.
    is_timed: bool,
    /// Since when its reply is lost.
    doubt_since: Option<Timestamp>,
}

/// What is waited for.
#[derive(Debug)]
enum Stage {
    Committing(Op),
    /// The reply of a commit was lost, and it cannot be sent again: its fate is being asked for.
    Resolving {
        op: Op,
        /// The records of a conflict, as they are now. `None`: there was none, but this node's
        /// clock was too far ahead, so what was sent first may still land.
        current: Option<Vec<(RecordKey, Versioned)>>,
    },
    /// A pause before the commit is sent again.
    Pausing(Op),
}

/// A batch on its way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) batch: Batch,
    sent: Sent,
    stage: Stage,
}

impl Flight {
    /// Since when the reply of the commit is lost, if it is.
    pub(super) const fn doubt_since(&self) -> Option<Timestamp> {
        self.sent.doubt_since
    }

    pub(super) const fn op(&self) -> Op {
        match self.stage {
            Stage::Committing(op) | Stage::Resolving { op, .. } | Stage::Pausing(op) => op,
        }
    }

    /// How long ago it was sent first, if the clock has not gone back since.
    pub(super) fn age(&self, now: Timestamp) -> Option<Duration> {
        now.since(self.sent.at).filter(|_| self.sent.is_timed)
    }

    /// Whether all goes well so far: it was sent once, and an answer is to come.
    pub(super) const fn is_on_course(&self) -> bool {
        matches!(self.stage, Stage::Committing(_)) && self.sent.times == 1
    }
}

/// How a lane fares among other nodes.
#[derive(Debug, Default)]
pub(super) struct Company {
    /// Since when others have committed first.
    lost_since: Option<Timestamp>,
    /// Commits in a row that met no other, since this node gave way.
    wins: u32,
    /// When it last gave way.
    gave_way: Timestamp,
    /// When it last lost to another.
    met: Option<Timestamp>,
    /// Commits that have to land before it is calm again.
    unrest: u32,
}

impl Company {
    /// Whether nobody else has committed first of late.
    pub(super) const fn is_calm(&self) -> bool {
        self.unrest == 0
    }

    /// Whether it has committed for long enough without a pause, as far as it knows alone. One of its
    /// kind that loses to each commit is let through before it has lost `retries_max` times, if those
    /// are more than [`WINS_MIN`].
    fn is_to_pause(&self, now: Timestamp, retries_max: u32) -> bool {
        let most = retries_max.saturating_sub(retries_max.div_ceil(4)).min(WINS_MAX);
        let is_over = |span: Span, since: Timestamp| {
            let passed = now.since(since).map_or(0, Duration::nanos);
            span <= Span::from_nanos(passed)
        };
        let is_alone = self.met.is_none_or(|met| is_over(MET, met));
        let is_early = is_alone && self.wins < most && !is_over(GIVE_WAY_EVERY, self.gave_way);
        WINS_MIN <= self.wins && !is_early
    }

    /// Nothing more is decided upon the commit in flight.
    pub(super) fn be_careful(&mut self) {
        self.unrest = self.unrest.max(1);
    }
}

impl Lane {
    /// Sends a batch that was decided.
    pub(super) fn take_off(&mut self, mut batch: Batch, turn: &mut Turn<'_>) {
        let commands = u64::try_from(batch.members.len()).unwrap_or(u64::MAX);
        turn.desk.stats.batch_commands.observe(&crate::api::BATCH_COMMANDS, commands);
        let commit = batch.commit(&self.partition, &mut self.view, turn);
        self.view.send(batch.number(), batch.touched());
        let sent = Sent { commit, times: 1, at: turn.now, is_timed: true, doubt_since: None };
        self.send(batch, sent, turn.desk);
    }

    fn send(&mut self, mut batch: Batch, sent: Sent, desk: &mut Desk) {
        let op = desk.op(&self.partition);
        desk.outputs.push_back(Output::Commit { op, commit: Arc::clone(&sent.commit) });
        if planted!("ack_early") {
            for member in &mut batch.members {
                let denied = Ok(super::lane::denied(Timestamp::EPOCH));
                let told = std::mem::replace(&mut member.prepared.outcome, denied);
                desk.reply(member.waiting.caller, told);
                member.waiting.gone = true;
            }
        }
        self.flights.push(Flight { batch, sent, stage: Stage::Committing(op) });
    }

    /// The flight that this is about.
    fn take_flight(&mut self, op: Op) -> Option<Flight> {
        let place = self.flights.iter().position(|flight| flight.op() == op)?;
        Some(self.flights.remove(place))
    }

    /// The clock of this node shows an earlier time than before.
    pub(crate) fn clock_went_back(&mut self) {
        self.view.clock_went_back();
        self.flights.iter_mut().for_each(|flight| flight.sent.is_timed = false);
    }

    /// A commit ended: tell, or decide again.
    pub(crate) fn committed(&mut self, op: Op, result: CommitResult, turn: &mut Turn<'_>) {
        let flight = self.take_flight(op).expect("a commit that ends was in flight");
        let Flight { batch, mut sent, stage: Stage::Committing(_) } = flight else {
            unreachable!("a commit that is in flight is not asked for")
        };
        count(&result, turn.desk);
        let first = sent.times == 1;
        if !matches!(result, CommitResult::Committed { .. }) && !planted!("ahead_kept") {
            self.unwind();
        }
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
                self.view.take_back(batch.number());
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
            CommitResult::Committed { .. } => self.landed(batch, &sent, turn),
            CommitResult::Conflict { current } => self.conflict(batch, current, turn),
            CommitResult::TooLate { .. } => {
                self.view.take_back(batch.number());
                let missed = batch.deadline.unwrap_or(turn.now);
                let missed = if planted!("too_late_loops") { Timestamp::EPOCH } else { missed };
                self.requeue(batch, |waiting| waiting.not_before = waiting.not_before.max(missed));
            }
            CommitResult::ClockAhead { store_time } => {
                self.view.take_back(batch.number());
                self.refused_at = Some(turn.now);
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

    /// The store took the batch: it is told.
    fn landed(&mut self, mut batch: Batch, sent: &Sent, turn: &mut Turn<'_>) {
        if planted!("reply_swapped")
            && let [one, .., other] = batch.members.as_mut_slice()
        {
            std::mem::swap(&mut one.waiting, &mut other.waiting);
        }
        if sent.is_timed {
            self.view.confirm((batch.number(), sent.at), batch.confirmed());
        }
        self.view.land(batch.number());
        self.company.unrest = self.company.unrest.saturating_sub(1);
        self.trust_again(turn.now);
        self.decide_aside(turn);
        let commands = u64::try_from(batch.members.len()).unwrap_or(u64::MAX);
        let told = &mut turn.desk.stats.commands_committed;
        *told = told.saturating_add(commands);
        let landed = batch.members.len();
        for member in batch.members {
            self.tell(&member.waiting, member.prepared.outcome, turn.desk);
        }
        if !sent.commit.writes.is_empty() && turn.rules.sharing == Sharing::Shared {
            self.give_way(sent.at, turn);
        }
        // Those who are decided need not wait for those who are told now, if they are many enough:
        // else each batch would be a small one after a large one, for ever.
        if landed <= self.batch.members.len().saturating_mul(2) {
            self.depart(turn);
        }
    }

    /// The store took nothing of the batch, for certain.
    fn refused(&mut self, batch: Batch, failure: &Failure, turn: &mut Turn<'_>) {
        self.view.take_back(batch.number());
        self.refused_at = Some(turn.now);
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
        self.view.take_back(batch.number());
        self.company.unrest = CALM;
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
                let limit = planted!("conflict_as_limit");
                let result = if limit { Ok(super::lane::denied(turn.now)) } else { Err(error) };
                self.answer(&member.waiting, result, turn.desk);
            } else {
                again.members.push(member);
            }
        }
        self.requeue(again, |_| {});
        // Decided again at once: who pauses now loses again, to those who do not. It is the winner
        // who gives way.
        let waits = !self.queue.is_empty();
        self.company.met = Some(turn.now);
        let lost_since = self.company.lost_since.or(Some(turn.now));
        self.company.lost_since = lost_since.filter(|_| waits);
    }

    /// Lets other nodes come first. Who has just committed is the first to know the new versions,
    /// and would come first again and again: each time the others are half a round trip late. So
    /// who had to wait for its turn waits as long again, at most; and who met nobody for long lets
    /// a round trip pass, for he would not know.
    fn give_way(&mut self, sent_at: Timestamp, turn: &mut Turn<'_>) {
        let since = |at: Timestamp| {
            let passed = turn.now.since(at).map_or(0, Duration::nanos);
            Span::from_nanos(passed).min(GIVE_WAY_MAX)
        };
        let company = &mut self.company;
        company.wins = company.wins.saturating_add(1);
        let after = match company.lost_since.take() {
            Some(lost) => jittered(since(lost), turn.desk.random()),
            None if !company.is_to_pause(turn.now, turn.rules.config.retries_max) => return,
            None => since(sent_at),
        };
        (company.wins, company.gave_way) = (0, turn.now);
        if !after.is_zero() {
            let op = turn.desk.op(&self.partition);
            turn.desk.outputs.push_back(Output::Wake { op, after });
            self.rests = Some(op);
        }
    }

    fn pause(&mut self, batch: Batch, sent: Sent, desk: &mut Desk) {
        let op = desk.op(&self.partition);
        let after = pause_of(sent.times, desk.random());
        desk.outputs.push_back(Output::Wake { op, after });
        self.flights.push(Flight { batch, sent, stage: Stage::Pausing(op) });
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
        self.flights.push(Flight { batch, sent, stage: Stage::Resolving { op, current } });
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
        if self.rests == Some(op) {
            self.rests = None;
            return;
        }
        let flight = self.take_flight(op).expect("what pauses is in flight");
        let Flight { batch, mut sent, stage: Stage::Pausing(_) } = flight else {
            unreachable!("a commit that pauses waits for nothing else")
        };
        sent.times = sent.times.saturating_add(1);
        self.send(batch, sent, desk);
        self.watch(desk);
    }

    /// The fate of a commit was asked for, after its preconditions had ceased to hold: what was
    /// not applied by then never will be.
    pub(crate) fn resolved(
        &mut self,
        op: Op,
        result: Result<Resolution, Failure>,
        turn: &mut Turn<'_>,
    ) {
        let flight = self.take_flight(op).expect("what is asked for was in flight");
        let Flight { batch, sent, stage: Stage::Resolving { current, .. } } = flight else {
            unreachable!("a commit that is asked for waits for nothing else")
        };
        match result {
            Ok(Resolution::Applied) => {
                resolved(turn.desk);
                self.view.take_back(batch.number());
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
        self.view.take_back(batch.number());
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
        self.view.take_back(batch.number());
        for key in batch.touched() {
            self.view.forget(key);
        }
        batch.members = again;
        self.conflict(batch, current, turn);
    }

    /// Puts the commands of a batch back at the front, in their order.
    pub(super) fn requeue(&mut self, batch: Batch, change: impl Fn(&mut Waiting)) {
        let changed = |mut member: Member| {
            change(&mut member.waiting);
            member.waiting
        };
        self.put_back(batch.members.into_iter().map(changed).collect());
    }
}

/// Whether these records show that a commit can never be applied from now on.
fn proves(commit: &Commit, current: &[(RecordKey, Versioned)]) -> bool {
    commit.preconditions.iter().any(|precondition| {
        let now = current.iter().find(|(key, _)| *key == precondition.key);
        now.is_some_and(|(_, versioned)| versioned.version != precondition.version)
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
