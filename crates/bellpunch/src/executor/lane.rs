//! A lane: the queue, the records and the batches of one partition.
//!
//! Invariant: while batches are in [flight](super::flight) the next one is decided as if they had
//! landed, and what is missing for it is read. It departs when none is in flight that it rests on:
//! no commit is sent upon one that may fail. So the engine and the store work at once, and where
//! commands are about different records, so do two calls of the store; the few that rest on a flight
//! are set aside until it lands. What the next batch wrote is pending in the view exactly while that
//! batch exists.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration as Span;

use bellpunch_core::{
    BestEffort, Category, DecidedBy, Decision, IdempotencyKey, Loaded, Partition, RecordKey,
    Rejection, Request, Timestamp, Versions, View, best_effort, decide, decide_beside, planted,
    rate_limits_alone, stale_denials,
};
use bellpunch_store::{Failure, FailureKind, Guarantee, Sharing, Versioned};

use super::answer::{Asked, DryRun, Prepared, prepare};
use super::batch::{Batch, Member, Waiting};
use super::flight::{Company, Flight};
use super::{Caller, Desk, Op, Output, ReadResult, Rules, Turn};
use crate::{AnyOutcome, Error, ErrorKind, Refusal};

/// Callers that may wait for one idempotency key.
const SAME_KEY_MAX: u32 = 17;
/// Batches of a partition that are in flight at once.
const FLIGHTS_MAX: usize = 2;
/// As many commands may be set aside as make one of so many of those that are decided or in flight, and
/// these more.
const ASIDE_PART: usize = 4;
const ASIDE_MORE: usize = 4;
/// Of the last batch at most one command of so many rested on a flight: then they are about different
/// records.
const APART_PART: usize = 8;
/// How long commands wait behind a commit whose reply was lost. Then they do what they are to do
/// without the store; what was sent is still found out.
pub(super) const DOUBT_MAX: Span = Span::from_millis(250);

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Lane {
    pub(super) partition: Partition,
    pub(super) view: View,
    /// Counters of rate limits that go on without the store; never committed.
    pub(super) local: View,
    pub(super) queue: VecDeque<Waiting>,
    /// Commands that rest on a flight that others do not rest on. All flights go well.
    aside: Vec<Waiting>,
    keys: BTreeMap<IdempotencyKey, u32>,
    /// Batches on their way.
    pub(super) flights: Vec<Flight>,
    /// The next batch, as far as it is decided.
    pub(super) batch: Batch,
    /// Records are being read for so many commands, at the front of the queue.
    pub(super) reading: Option<usize>,
    /// A pause before the next batch, to give way to other nodes.
    pub(super) rests: Option<Op>,
    pub(super) company: Company,
    /// Of the last batch that was decided while another was in flight few commands rest on that.
    apart: bool,
    /// Tells when commands have waited behind a lost reply for long enough.
    pub(super) alarm: Option<Op>,
    /// When the store last took nothing of a commit: until some have landed, nothing is told early.
    pub(super) refused_at: Option<Timestamp>,
    /// The next batch takes this many commands at most: 1 after one was too large or damaged.
    pub(super) batch_max: usize,
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
            aside: Vec::new(),
            keys: BTreeMap::new(),
            flights: Vec::new(),
            batch: Batch::default(),
            reading: None,
            rests: None,
            company: Company::default(),
            apart: false,
            refused_at: None,
            batch_max: usize::MAX,
            alarm: None,
            asked_at: None,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        let waits = !self.flights.is_empty() || self.reading.is_some() || self.rests.is_some();
        !waits && self.batch.is_empty() && self.queue.is_empty()
    }

    /// Idle, and no timer of it runs.
    pub(crate) fn is_over(&self) -> bool {
        self.is_idle() && self.alarm.is_none()
    }

    pub(crate) fn cache_bytes(&self) -> usize {
        self.view.bytes().saturating_add(self.local.bytes())
    }

    /// Records that a commit in flight holds, which stay for as long.
    pub(crate) fn records_of(&self, op: Op) -> usize {
        let flight = self.flights.iter().find(|flight| flight.op() == op);
        flight.map_or(0, |flight| flight.batch.records())
    }

    /// Drops clean records; gives how many were looked at. Not while nothing goes on but that
    /// records are read: those who wait for them would need the others again.
    pub(crate) fn evict(&mut self, bytes_max: usize, visits: usize) -> usize {
        if self.reading.is_some() && self.flights.is_empty() {
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
        let waiting = self.queue.len().saturating_add(self.aside.len());
        if rules.config.queue_max <= waiting {
            let message = format!("{waiting} commands wait for this partition");
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

    pub(super) fn answer(
        &mut self,
        waiting: &Waiting,
        result: Result<AnyOutcome, Error>,
        desk: &mut Desk,
    ) {
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
                // Its own words may name a record.
                let then = error.kind().code();
                let message = format!("an earlier attempt may have been applied; then {then}");
                Err(Error::new(ErrorKind::Unknown, message))
            }
            told => told,
        };
        if !waiting.gone {
            desk.reply(waiting.caller, result);
        }
    }

    /// Answers what a rule said, and counts it if that is a bug.
    pub(super) fn tell(
        &mut self,
        waiting: &Waiting,
        said: Result<AnyOutcome, Error>,
        desk: &mut Desk,
    ) {
        let is_bug = said.as_ref().is_err_and(|error| error.kind() == ErrorKind::Internal);
        desk.stats.panics = desk.stats.panics.saturating_add(u64::from(is_bug));
        self.answer(waiting, said, desk);
    }

    /// Planted: nobody is answered.
    pub(crate) fn forget_queue(&mut self) {
        self.queue.clear();
        self.aside.clear();
    }

    /// The caller's time is up: a command that no commit carries yet is taken back.
    pub(crate) fn gave_up(&mut self, caller: Caller, desk: &mut Desk) {
        // Who was told has given up nothing.
        let is_his = |waiting: &Waiting| waiting.caller == caller && !waiting.gone;
        let decided = |member: &Member| is_his(&member.waiting);
        let told = |member: &Member| member.waiting.gone;
        // What others were told of this batch stays so: then it is as if it was on its way.
        if self.batch.members.iter().any(decided) && !self.batch.members.iter().any(told) {
            self.unwind();
        }
        if self.aside.iter().any(is_his) {
            self.recall();
        }
        if let Some(place) = self.queue.iter().position(is_his) {
            let waiting = self.queue.remove(place).expect("the place was just found");
            let error = Error::new(ErrorKind::TimedOut, "the time was over before it was its turn");
            self.answer(&waiting, Err(error), desk);
            return;
        }
        let sent = self.flights.iter_mut().flat_map(|flight| &mut flight.batch.members);
        let waiting = sent.chain(&mut self.batch.members).map(|member| &mut member.waiting);
        if let Some(waiting) = { waiting }.find(|waiting| is_his(waiting)) {
            waiting.gone = true;
            let message = "the commit is on its way; its outcome was not known in time";
            desk.reply(caller, Err(Error::new(ErrorKind::Unknown, message)));
        }
    }

    /// Decides as many waiting commands as one batch may have, and sends them if nothing is waited
    /// for. Says whether there is more to decide, while what was sent is on its way.
    pub(crate) fn run(&mut self, turn: &mut Turn<'_>) -> bool {
        if self.is_cut_off(turn.now) && !self.queue.is_empty() {
            // None of them was sent, and which of their records will be there nobody can tell.
            let waiting = self.queue.drain(..).collect();
            let message = "the store does not tell what became of the commit before this one";
            self.failed(waiting, &Failure::new(FailureKind::Unavailable, message), turn);
        }
        loop {
            if self.may_decide() {
                self.decide(turn);
            }
            if !self.may_depart(turn.rules) {
                return false;
            }
            self.depart(turn);
            if !self.flights.is_empty() {
                return !self.queue.is_empty();
            }
        }
    }

    /// Whether the next command may be decided now: on what is committed, or while commits are in
    /// flight that will hardly fail.
    fn may_decide(&self) -> bool {
        let may_be_ahead = || !self.view.sends_purges() && self.company.is_calm();
        self.rests.is_none()
            && self.reading.is_none()
            && !self.queue.is_empty()
            && (self.flights.is_empty() || may_be_ahead())
            && self.flights.iter().all(Flight::is_on_course)
    }

    /// Whether what was decided may be sent now: alone, or beside what it does not rest on. Beside
    /// others only if it is not much smaller: it would take as long, for fewer.
    fn may_depart(&self, rules: &Rules) -> bool {
        let commands = |flight: &Flight| flight.batch.members.len();
        let in_flight: usize = self.flights.iter().map(commands).sum();
        let beside = || {
            self.flights.len() < FLIGHTS_MAX
                && rules.records_min <= self.batch.records()
                && in_flight <= self.batch.members.len().saturating_mul(2)
                && !self.batch_rests()
                && !self.view.purges()
        };
        !self.batch.is_empty() && self.rests.is_none() && (self.flights.is_empty() || beside())
    }

    /// Whether the batch rests on a flight.
    fn batch_rests(&self) -> bool {
        let rests_on = |flight: &Flight| self.batch.rests_on.contains(&flight.batch.number());
        self.flights.iter().any(rests_on)
    }

    /// Sends what was decided, if it may be.
    pub(super) fn depart(&mut self, turn: &mut Turn<'_>) {
        if !self.may_depart(turn.rules) {
            return;
        }
        self.batch_max = usize::MAX;
        let batch = std::mem::take(&mut self.batch);
        let writes = |member: &Member| !member.prepared.touched.writes.is_empty();
        if turn.rules.sharing == Sharing::Exclusive && !batch.members.iter().any(writes) {
            // What it rests on has landed since, and nobody else can have changed it. Nothing has to
            // stay for it any more.
            self.view.begin_batch();
            turn.desk.released = turn.desk.released.saturating_add(batch.records());
            for member in batch.members {
                self.tell(&member.waiting, member.prepared.outcome, turn.desk);
            }
            return;
        }
        self.take_off(batch, turn);
    }

    /// Takes back what was decided and not sent: it is decided again.
    pub(super) fn unwind(&mut self) {
        self.recall();
        let batch = std::mem::take(&mut self.batch);
        self.view.discard(batch.touched());
        self.view.begin_batch();
        self.requeue(batch, |_| {});
    }

    /// Whether the reply of a commit is lost for so long that nobody waits for it any more.
    pub(super) fn is_cut_off(&self, now: Timestamp) -> bool {
        let since = self.flights.iter().filter_map(Flight::doubt_since).min();
        let passed = since.and_then(|since| now.since(since));
        passed.is_some_and(|passed| DOUBT_MAX.as_nanos() <= u128::from(passed.nanos()))
    }

    /// Sees to it that somebody looks when the store says nothing at all.
    pub(super) fn watch(&mut self, desk: &mut Desk) {
        let in_doubt = self.flights.iter().any(|flight| flight.doubt_since().is_some());
        if self.alarm.is_none() && in_doubt {
            let op = desk.op(&self.partition);
            self.alarm = Some(op);
            desk.outputs.push_back(Output::Wake { op, after: DOUBT_MAX });
        }
    }

    fn decide(&mut self, turn: &mut Turn<'_>) {
        if self.batch.is_empty() {
            // What is due is asked afresh for each batch.
            self.view.discard([]);
            self.asked_at = None;
        }
        self.decide_on(turn);
    }

    /// Decides what waits, until something is missing. Beside a flight, the few that rest on it are set
    /// aside: for their sake all others would wait until it has landed.
    fn decide_on(&mut self, turn: &mut Turn<'_>) {
        let commands_max = self.commands_max(turn.rules);
        while self.has_room(commands_max, turn.rules) {
            let Some(waiting) = self.queue.pop_front() else { break };
            match self.ask(&waiting, turn) {
                Asked::Load(records, due) => {
                    self.queue.push_front(waiting);
                    // The store is asked what is due only when it knows all that was decided; and
                    // what can be sent does not wait for what others miss.
                    let is_first = self.batch.is_empty() && self.flights.is_empty();
                    if is_first || (due.is_empty() && !self.may_depart(turn.rules)) {
                        self.load((records, due), turn);
                    }
                    break;
                }
                Asked::Aside => self.set_aside(waiting),
                Asked::Broken(error) => self.tell(&waiting, Err(error), turn.desk),
                Asked::Answer(prepared) => self.keep((waiting, prepared), turn),
            }
        }
        if !self.flights.is_empty() && !self.batch.is_empty() {
            let resting = self.batch.resting.saturating_mul(APART_PART);
            self.apart = resting <= self.batch.members.len();
        }
    }

    /// Decides those that were set aside, now that a flight has landed. They come first, and wait for no
    /// records that others miss.
    pub(super) fn decide_aside(&mut self, turn: &mut Turn<'_>) {
        self.view.begin_round();
        let commands_max = self.commands_max(turn.rules);
        let mut waiting = std::mem::take(&mut self.aside).into_iter();
        while let Some(next) = waiting.next() {
            let has_room = self.has_room(commands_max, turn.rules);
            match has_room.then(|| self.ask(&next, turn)) {
                None | Some(Asked::Load(..)) => {
                    let rest = std::iter::once(next).chain(waiting);
                    return self.put_back(rest.collect());
                }
                Some(Asked::Aside) => self.aside.push(next),
                Some(Asked::Broken(error)) => self.tell(&next, Err(error), turn.desk),
                Some(Asked::Answer(prepared)) => self.keep((next, prepared), turn),
            }
        }
    }

    /// Tells an answer, if that may be, or has the batch carry it.
    fn keep(&mut self, (waiting, prepared): (Waiting, Prepared), turn: &mut Turn<'_>) {
        if self.may_tell(&prepared, turn.rules) {
            return self.tell(&waiting, prepared.outcome, turn.desk);
        }
        let Some((waiting, mut prepared)) = self.tell_early((waiting, prepared), turn) else {
            return;
        };
        if prepared.is_denied() {
            prepared.repeats = stale_denials(&mut self.view, &waiting.request);
        }
        if self.may_repeat(&prepared, turn.now) {
            let [_, _, cache] = &mut turn.desk.stats.storeless;
            *cache = cache.saturating_add(1);
            return self.tell(&waiting, prepared.told_from_memory(), turn.desk);
        }
        let now = self.asked_at.unwrap_or(turn.now);
        self.batch.add(Member { waiting, prepared }, &mut self.view, now);
    }

    /// Sets a command aside until a flight has landed; if they are too many, all wait for it together.
    fn set_aside(&mut self, waiting: Waiting) {
        self.aside.push(waiting);
        let in_flight = self.flights.iter().map(|flight| flight.batch.members.len());
        let others = in_flight.fold(self.batch.members.len(), usize::saturating_add);
        let part = others.checked_div(ASIDE_PART).unwrap_or_default();
        if part.saturating_add(ASIDE_MORE) < self.aside.len() {
            self.apart = false;
            self.recall();
        }
    }

    /// Puts those that were set aside back at the front of the queue.
    fn recall(&mut self) {
        self.view.begin_round();
        let aside = std::mem::take(&mut self.aside);
        self.put_back(aside);
    }

    fn commands_max(&self, rules: &Rules) -> usize {
        rules.config.batch_max.min(self.batch_max).min(self.share(rules))
    }

    fn has_room(&self, commands_max: usize, rules: &Rules) -> bool {
        let records_max = rules.records_max.div_ceil(2);
        self.batch.members.len() < commands_max && self.batch.records() < records_max
    }

    /// Puts commands back at the front of the queue, in their order.
    pub(super) fn put_back(&mut self, commands: Vec<Waiting>) {
        self.reading = self.reading.map(|asked| asked.saturating_add(commands.len()));
        for waiting in commands.into_iter().rev() {
            self.queue.push_front(waiting);
        }
    }

    /// How many commands the next batch takes at most. All who ask are in one batch when nobody asked
    /// while the last one was in flight, and so it would be for ever: the store rests while they are
    /// decided, and the engine while it works. If they are about different records half of them go
    /// first, and the others beside them.
    fn share(&self, rules: &Rules) -> usize {
        let waiting = self.queue.len().saturating_add(self.aside.len());
        let all = waiting.saturating_add(self.batch.members.len());
        let worth = rules.records_min.saturating_mul(2) <= all;
        let halve = self.apart && self.flights.is_empty() && worth;
        if halve { all.div_ceil(2) } else { usize::MAX }
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
        let beside = self.apart && !self.flights.is_empty() && !self.batch_rests();
        let decision = if beside {
            decide_beside(&mut self.view, &waiting.request, at)
        } else {
            Some(decide(&mut self.view, &waiting.request, at))
        };
        let Some(decision) = decision else { return Asked::Aside };
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

    /// Whether it is a refusal that its policy lets the node repeat: decided on records that were at
    /// the store just so, at one instant not too long ago, when it refused.
    fn may_repeat(&self, prepared: &Prepared, now: Timestamp) -> bool {
        prepared.repeats.is_some_and(|span| {
            let confirmed = self.view.confirmed_at(&prepared.touched.reads);
            let age = confirmed.and_then(|at| now.since(at));
            age.is_some_and(|age| age < span || planted!("denial_kept"))
        })
    }

    /// Reads what is missing, for this command and those behind it: one round trip for all.
    fn load(
        &mut self,
        (records, due): (Vec<RecordKey>, Vec<bellpunch_core::Due>),
        turn: &mut Turn<'_>,
    ) {
        let mut records: BTreeSet<_> = records.into_iter().collect();
        let mut due: BTreeSet<_> = due.into_iter().collect();
        let now = self.asked_at.unwrap_or(turn.now);
        let is_first = self.batch.is_empty() && self.flights.is_empty();
        let decided = self.batch.members.len();
        let room = turn.rules.config.batch_max.min(self.batch_max).saturating_sub(decided);
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
                due.extend(more_due.into_iter().filter(|_| is_first));
            }
            asked = asked.saturating_add(1);
        }
        if !due.is_empty() {
            self.asked_at = Some(now);
        }
        let op = turn.desk.op(&self.partition);
        self.reading = Some(asked);
        turn.desk.outputs.push_back(Output::Read {
            op,
            partition: self.partition.clone(),
            records: records.into_iter().collect(),
            due: due.into_iter().collect(),
        });
    }

    /// Records were read: go on deciding.
    pub(crate) fn read(&mut self, result: Result<ReadResult, Failure>, turn: &mut Turn<'_>) {
        let asked = self.reading.take().expect("a read that ends was asked for");
        match result {
            Ok(read) => {
                for (key, versioned) in read.records {
                    self.take(key, versioned);
                }
                for (due, ids) in read.due {
                    self.view.answer(due, ids);
                }
                if self.may_decide() {
                    self.decide_on(turn);
                }
            }
            // Whether they can do without the store is told when nothing is on its way.
            Err(_) if !self.flights.is_empty() => self.company.be_careful(),
            Err(failure) => {
                let asked = asked.min(self.queue.len());
                let failed = self.queue.drain(..asked).collect();
                self.failed(failed, &failure, turn);
            }
        }
    }

    pub(super) fn take(&mut self, key: RecordKey, versioned: Versioned) {
        let Versioned { version, at, value, .. } = versioned;
        self.view.load(key, Loaded { version, at, value });
    }
}

/// What is told in the place of something else, by bugs that are planted.
pub(super) fn denied(at: Timestamp) -> AnyOutcome {
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
