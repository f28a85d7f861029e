//! The executor against a store that is played by hand: every interleaving is written down.

#![expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]

use std::sync::Arc;

use bellpunch_core::{
    Category, Command, Draft, Duration, Fingerprint, IdempotencyKey, Kind, Partition, Record,
    RecordId, RecordKey, Rejection, Request, Timestamp, Version,
};
use bellpunch_store::{
    Commit, CommitResult, Failure, FailureKind, Guarantee, Properties, Resolution, Sharing,
    StoreClock, Survives, Versioned,
};
use serde::{Deserialize, Serialize};

use super::{Executor, Input, Op, Output, ReadResult};
use crate::{AnyOutcome, EngineConfig, Error};

/// A counter with a limit of 10 and perhaps an end: the smallest thing that can be overspent.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Counter {
    used: u64,
    ends_at: Option<Timestamp>,
}

impl Record for Counter {
    const KIND: Kind = Kind::new("counters");
}

#[derive(Clone, Debug, Serialize)]
struct Take {
    from: &'static str,
    units: u64,
}

fn id(name: &str) -> RecordId {
    RecordId::stored(name)
}

fn no(code: &'static str) -> Rejection {
    Rejection { code, category: Category::Limit, data: serde_json::Map::new() }
}

impl Command for Take {
    const NAME: &'static str = "test.take";
    type Reply = u64;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<u64, Rejection> {
        let counter = draft.get::<Counter>(&id(self.from));
        let (used, ends_at) = counter.map_or((0, None), |counter| (counter.used, counter.ends_at));
        if ends_at.is_some_and(|ends_at| ends_at <= now) {
            return Err(no("over"));
        }
        let used = used + self.units;
        assert!(used < 1_000, "no command leaves that behind");
        if 10 < used {
            return Err(no("exceeded"));
        }
        if let Some(ends_at) = ends_at {
            draft.commit_before(ends_at);
        }
        draft.put(&id(self.from), Counter { used, ends_at });
        Ok(used)
    }
}

#[derive(Clone, Debug, Serialize)]
struct Sweep {
    what: &'static str,
}

impl Command for Sweep {
    const NAME: &'static str = "test.sweep";
    type Reply = Version;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, _: Timestamp) -> Result<Version, Rejection> {
        let _ = draft.get::<Counter>(&id(self.what));
        Ok(draft.purge::<Counter>(&id(self.what)))
    }
}

struct Bench {
    executor: Executor,
    now: u64,
    /// Beyond `now`, which is in milliseconds.
    micros: u64,
    callers: u64,
    replies: Vec<(u64, String)>,
}

fn properties(sharing: Sharing) -> Properties {
    Properties {
        name: "played",
        sharing,
        guarantee: Guarantee::Atomic,
        survives: Survives::Nothing,
        risk: None,
        clock: StoreClock::AtExclusivity,
        records_max: 1_000,
        records_min: 1,
        bytes_max: 1 << 20,
    }
}

/// Not a pause: somebody looks whether a lost reply has come.
fn is_alarm(output: &Output) -> bool {
    matches!(output, Output::Wake { after, .. } if *after == super::lane::DOUBT_MAX)
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_nanos(u128::from(millis) * 1_000_000).unwrap()
}

impl Bench {
    fn new(sharing: Sharing) -> Self {
        Self::with(sharing, EngineConfig::default())
    }

    fn with(sharing: Sharing, config: EngineConfig) -> Self {
        Self::on(&properties(sharing), config)
    }

    fn on(properties: &Properties, config: EngineConfig) -> Self {
        let executor = Executor::new(config, properties, 7);
        Self { executor, now: 0, micros: 0, callers: 0, replies: Vec::new() }
    }

    fn handle(&mut self, input: Input) {
        let nanos = u128::from(self.now * 1_000 + self.micros) * 1_000;
        self.executor.handle(input, Timestamp::from_nanos(nanos).unwrap());
    }

    fn request(&mut self, request: Request) -> u64 {
        self.callers += 1;
        let (caller, partition) = (self.callers, Partition::new("p").unwrap());
        self.handle(Input::Arrived { caller, partition, request: Box::new(request) });
        self.callers
    }

    fn take(&mut self, units: u64) -> u64 {
        self.request(request(units, None))
    }

    fn take_from(&mut self, from: &'static str, units: u64) -> u64 {
        let commands: Vec<Arc<dyn bellpunch_core::AnyCommand>> =
            vec![Arc::new(Take { from, units })];
        self.request(Request { commands, ..request(units, None) })
    }

    fn sweep(&mut self, what: &'static str) -> u64 {
        let commands: Vec<Arc<dyn bellpunch_core::AnyCommand>> = vec![Arc::new(Sweep { what })];
        self.request(Request { commands, ..request(0, None) })
    }

    fn keyed(&mut self, units: u64, key: &str) -> u64 {
        let fingerprint = Fingerprint::new([u8::try_from(units).unwrap(); 32]);
        self.request(request(units, Some((IdempotencyKey::new(key).unwrap(), fingerprint))))
    }

    /// What the executor asks for now, replies apart.
    fn poll(&mut self) -> Vec<Output> {
        let mut outputs = Vec::new();
        while let Some(output) = self.executor.poll() {
            if let Output::Reply { caller, result } = output {
                self.replies.push((caller, told(result)));
            } else {
                outputs.push(output);
            }
        }
        outputs
    }

    fn replies(&mut self) -> Vec<(u64, String)> {
        self.poll();
        std::mem::take(&mut self.replies)
    }

    /// Answers one read: all absent but the counter, if one is given.
    fn answer_read(&mut self, counter: Option<(u64, Counter)>) {
        let outputs = self.poll();
        let [Output::Read { op, records, .. }] = outputs.as_slice() else {
            panic!("a read was expected: {outputs:?}");
        };
        let records = records
            .iter()
            .map(|key| match &counter {
                Some((version, counter)) if *key == Counter::key(&id("c")) => {
                    (key.clone(), stored(*version, counter))
                }
                _ => (key.clone(), Versioned::default()),
            })
            .collect();
        let result = Ok(ReadResult { records, due: Vec::new() });
        self.handle(Input::Read { op: *op, result });
    }

    fn commit(&mut self) -> (Op, Arc<Commit>) {
        let mut outputs = self.poll();
        outputs.retain(|output| !is_alarm(output));
        match (outputs.pop(), outputs.is_empty()) {
            (Some(Output::Commit { op, commit }), true) => (op, commit),
            other => panic!("one commit was expected: {other:?}"),
        }
    }

    fn end(&mut self, op: Op, result: CommitResult) {
        self.handle(Input::Committed { op, result });
    }

    fn wake(&mut self) {
        let mut outputs = self.poll();
        outputs.retain(|output| !is_alarm(output));
        let [Output::Wake { op, .. }] = outputs.as_slice() else {
            panic!("a pause was expected: {outputs:?}");
        };
        self.handle(Input::Woke { op: *op });
    }

    /// A bench on which the counter is loaded with `used` at version 1.
    fn loaded(sharing: Sharing, used: u64, ends_at: Option<Timestamp>) -> Self {
        let mut bench = Self::new(sharing);
        bench.take(1);
        bench.answer_read(Some((1, Counter { used, ends_at })));
        bench
    }
}

fn request(units: u64, key: Option<(IdempotencyKey, Fingerprint)>) -> Request {
    Request {
        commands: vec![Arc::new(Take { from: "c", units })],
        entropy: vec![0],
        key,
        keep: Duration::from_days(7),
        dry_run: false,
        journaling: bellpunch_core::Journaling::Off,
    }
}

fn stored(version: u64, counter: &Counter) -> Versioned {
    use bellpunch_core::AnyRecord as _;
    Versioned {
        version: Version::new(version),
        at: Timestamp::EPOCH,
        sweep_at: None,
        value: Some(counter.encode().into()),
    }
}

fn told(result: Result<AnyOutcome, Error>) -> String {
    match result {
        Err(error) => error.kind().code().to_owned(),
        Ok(AnyOutcome::Rejected(refusal)) => {
            let early = if refusal.durable { "" } else { ", not durable" };
            format!("{} as_of {:?}{early}", refusal.rejection.code, refusal.as_of.values().next())
                .replace("Some(Version(", "")
                .replace("))", "")
        }
        Ok(AnyOutcome::Accepted(receipt)) => {
            let replayed = if receipt.replayed { " replayed" } else { "" };
            let version = receipt.versions.values().next();
            let version = version.map(|version| format!(" version {version}")).unwrap_or_default();
            let early = if receipt.durable { "" } else { ", not durable" };
            format!("{}{version}{replayed}{early}", receipt.replies[0].to_json())
        }
    }
}

fn committed() -> CommitResult {
    CommitResult::Committed { at: Timestamp::EPOCH }
}

fn conflict(version: u64, used: u64) -> CommitResult {
    let counter = Counter { used, ends_at: None };
    let current: Vec<(RecordKey, Versioned)> =
        vec![(Counter::key(&id("c")), stored(version, &counter))];
    CommitResult::Conflict { current }
}

#[test]
fn arrivals_during_a_commit_are_the_next_batch() {
    let mut bench = Bench::loaded(Sharing::Exclusive, 0, None);
    let (op, first) = bench.commit();
    assert_eq!(first.writes.len(), 1);
    for _ in 0..4 {
        bench.take(2);
    }
    assert!(bench.poll().is_empty(), "one commit of a partition is in flight at a time");
    bench.end(op, committed());
    let (op, second) = bench.commit();
    assert_eq!(bench.replies(), [(1, "1 version 2".to_owned())]);
    assert_eq!(second.writes[0].version, Version::new(6), "four accepted commands, one write");
    assert_eq!(second.preconditions[0].version, Version::new(2));
    bench.end(op, committed());
    let replies: Vec<_> = bench.replies().into_iter().map(|(_, reply)| reply).collect();
    assert_eq!(replies, ["3 version 3", "5 version 4", "7 version 5", "9 version 6"]);
}

#[test]
fn a_refusal_that_rests_on_an_uncommitted_write_waits_for_it() {
    let mut bench = Bench::loaded(Sharing::Exclusive, 5, None);
    bench.take(4);
    bench.take(9);
    let (op, _) = bench.commit();
    assert_eq!(bench.replies(), [], "nothing is told before the commit");
    bench.end(op, conflict(9, 0));
    let (op, again) = bench.commit();
    assert_eq!(again.preconditions[0].version, Version::new(9));
    assert_eq!(bench.replies(), [], "the refusal was decided again, and would be an acceptance");
    bench.end(op, committed());
    let replies: Vec<_> = bench.replies().into_iter().map(|(_, reply)| reply).collect();
    assert_eq!(replies, ["1 version 10", "5 version 11", "exceeded as_of 11"]);
}

#[test]
fn a_refusal_on_durable_state_is_told_at_once_where_nobody_else_writes() {
    let mut bench = Bench::loaded(Sharing::Exclusive, 10, None);
    assert!(bench.poll().is_empty());
    assert_eq!(bench.replies(), [(1, "exceeded as_of 1".to_owned())]);
}

#[test]
fn a_refusal_is_confirmed_where_others_write() {
    let mut bench = Bench::loaded(Sharing::Shared, 10, None);
    let (op, confirmation) = bench.commit();
    assert!(confirmation.writes.is_empty() && confirmation.preconditions.len() == 1);
    assert_eq!(bench.replies(), []);
    bench.end(op, conflict(2, 3));
    let (op, _) = bench.commit();
    bench.end(op, committed());
    assert_eq!(bench.replies(), [(1, "4 version 3".to_owned())], "it was stale, and is accepted");
}

#[test]
fn a_panic_is_confirmed_where_others_write() {
    // As records of several states may be: what the rule takes for granted of one is not so.
    let mut bench = Bench::loaded(Sharing::Shared, 5_000, None);
    let (op, confirmation) = bench.commit();
    assert!(confirmation.writes.is_empty() && confirmation.preconditions.len() == 1);
    assert_eq!(bench.replies(), []);
    bench.end(op, conflict(2, 3));
    let (op, _) = bench.commit();
    bench.end(op, committed());
    assert_eq!(bench.replies(), [(1, "4 version 3".to_owned())], "of one state it is accepted");
    assert_eq!(bench.executor.stats().panics, 0);

    let mut bench = Bench::loaded(Sharing::Shared, 5_000, None);
    let (op, _) = bench.commit();
    bench.end(op, committed());
    assert_eq!(bench.replies(), [(1, "internal".to_owned())], "it is a bug");
    assert_eq!(bench.executor.stats().panics, 1);
}

#[test]
fn a_panic_is_told_at_once_where_nobody_else_writes() {
    let mut bench = Bench::loaded(Sharing::Exclusive, 5_000, None);
    assert!(bench.poll().is_empty());
    assert_eq!(bench.replies(), [(1, "internal".to_owned())]);
}

#[test]
fn conflicts_end_in_contended_and_never_in_a_wrong_refusal() {
    let retries_max = 2;
    let config = EngineConfig { retries_max, ..EngineConfig::default() };
    let mut bench = Bench::with(Sharing::Shared, config);
    bench.take(1);
    bench.answer_read(None);
    for round in 1..=3 {
        let (op, _) = bench.commit();
        bench.end(op, conflict(round, round));
    }
    assert_eq!(bench.replies(), [(1, "contended".to_owned())]);
}

#[test]
fn who_wins_after_a_conflict_gives_way_for_as_long_as_it_waited_at_most() {
    let mut bench = Bench::with(Sharing::Shared, EngineConfig::default());
    bench.take(1);
    bench.answer_read(None);
    let (op, _) = bench.commit();
    bench.now = 5;
    bench.end(op, conflict(1, 1));
    let (op, _) = bench.commit();
    bench.now = 9;
    bench.end(op, committed());
    bench.take(1);
    let outputs = bench.poll();
    let [Output::Wake { op, after }] = outputs.as_slice() else { panic!("{outputs:?}") };
    assert!(after.as_millis() < 4, "{after:?}");
    bench.handle(Input::Woke { op: *op });
    bench.commit();
}

/// After which of so many commits in a row the node gives way, if each takes so many microseconds.
fn gives_way_after(bench: &mut Bench, (commits, micros): (u32, u64)) -> Vec<u32> {
    let mut after_which = Vec::new();
    for round in 1..=commits {
        bench.take(0);
        let (op, _) = bench.commit();
        bench.micros += micros;
        bench.end(op, committed());
        if let [Output::Wake { op, after }] = bench.poll().as_slice() {
            assert_eq!(after.as_micros(), u128::from(micros), "a round trip");
            bench.handle(Input::Woke { op: *op });
            after_which.push(round);
        }
    }
    after_which
}

#[test]
fn who_meets_nobody_lets_a_round_trip_pass_now_and_then() {
    let config = |retries_max| EngineConfig { retries_max, ..EngineConfig::default() };
    let every = |step: usize| (0..200_u32).skip(step).step_by(step).collect::<Vec<_>>();
    for (sharing, retries_max, micros, expected) in [
        // Every 32 ms,
        (Sharing::Shared, 64, 1_000, every(32)),
        // but after 16 commits at the earliest,
        (Sharing::Shared, 64, 2_000, every(16)),
        (Sharing::Shared, 64, 9_000, every(16)),
        (Sharing::Shared, 8, 400, every(16)),
        // and before one that loses to each of them is told to be contended.
        (Sharing::Shared, 64, 400, every(48)),
        (Sharing::Shared, 31, 400, every(23)),
        (Sharing::Shared, u32::MAX, 400, every(48)),
        (Sharing::Exclusive, 64, 2_000, vec![]),
    ] {
        let mut bench = Bench::with(sharing, config(retries_max));
        bench.take(0);
        bench.answer_read(None);
        let (op, _) = bench.commit();
        bench.end(op, committed());
        bench.now = 1_000;
        assert_eq!(
            gives_way_after(&mut bench, (15, micros)).len(),
            usize::from(sharing == Sharing::Shared)
        );
        let after_which = gives_way_after(&mut bench, (199, micros));
        assert_eq!(after_which, expected, "{sharing:?}, retries {retries_max}, {micros} us");
    }
}

#[test]
fn who_has_met_another_takes_it_for_a_second_that_he_is_still_there() {
    let mut bench = Bench::loaded(Sharing::Shared, 0, None);
    let (op, commit) = bench.commit();
    bench.now = 1_000;
    bench.end(op, conflict(commit.preconditions[0].version.get() + 1, 0));
    let (op, _) = bench.commit();
    bench.now += 1;
    bench.end(op, committed());
    bench.wake();
    assert_eq!(gives_way_after(&mut bench, (48, 400)), [16, 32, 48]);
    bench.now = 2_000;
    assert_eq!(gives_way_after(&mut bench, (112, 400)), [16, 64, 112]);
}

#[test]
fn a_missed_deadline_is_decided_again_at_the_deadline_by_a_slow_clock() {
    let mut bench = Bench::loaded(Sharing::Exclusive, 0, Some(at(50)));
    bench.now = 40;
    let (op, commit) = bench.commit();
    assert_eq!(commit.deadline, Some(at(50)));
    bench.end(op, CommitResult::TooLate { store_time: at(51) });
    assert_eq!(bench.replies(), [(1, "over as_of 1".to_owned())]);
}

#[test]
fn one_key_twice_in_a_batch_is_one_effect_and_one_reply_twice() {
    let mut bench = Bench::new(Sharing::Exclusive);
    bench.keyed(3, "k");
    bench.keyed(3, "k");
    bench.keyed(4, "k");
    bench.answer_read(None);
    let (op, commit) = bench.commit();
    assert_eq!(commit.writes.len(), 2, "the counter and the outcome");
    bench.end(op, committed());
    let replies: Vec<_> = bench.replies().into_iter().map(|(_, reply)| reply).collect();
    assert_eq!(replies[0], "3 version 1");
    assert_eq!(replies[1], "3 version 1 replayed");
    assert!(replies[2].starts_with("idempotency_key_reused"));
}

#[test]
fn a_store_that_fails_for_certain_charges_nothing() {
    let mut bench = Bench::loaded(Sharing::Exclusive, 0, None);
    let (op, _) = bench.commit();
    bench.end(op, CommitResult::Failed(Failure::new(FailureKind::Unavailable, "down")));
    assert_eq!(bench.replies(), [(1, "store_unavailable".to_owned())]);
    bench.take(10);
    let (op, commit) = bench.commit();
    assert_eq!(commit.preconditions[0].version, Version::new(1));
    bench.end(op, committed());
    assert_eq!(bench.replies(), [(2, "10 version 2".to_owned())]);
}

#[test]
fn a_full_queue_says_so_at_once() {
    let config = EngineConfig { queue_max: 2, ..EngineConfig::default() };
    let mut bench = Bench::with(Sharing::Exclusive, config);
    for _ in 0..3 {
        bench.take(1);
    }
    let outputs = bench.poll();
    assert_eq!(outputs.len(), 1);
    assert_eq!(bench.replies, [(3, "overloaded".to_owned())]);
}

#[test]
fn giving_up_takes_back_what_no_commit_carries() {
    let mut bench = Bench::loaded(Sharing::Exclusive, 0, None);
    let (op, _) = bench.commit();
    let second = bench.take(1);
    let partition = Partition::new("p").unwrap();
    bench.handle(Input::GaveUp { caller: second, partition: partition.clone() });
    assert_eq!(bench.replies(), [(2, "timed_out".to_owned())]);
    bench.handle(Input::GaveUp { caller: 1, partition });
    assert_eq!(bench.replies(), [(1, "outcome_unknown".to_owned())]);
    bench.end(op, committed());
    assert_eq!(bench.replies(), [], "it was answered already");
    bench.take(1);
    let (_, commit) = bench.commit();
    assert_eq!(commit.preconditions[0].version, Version::new(2), "the effect stands");
}

#[test]
fn draining_answers_all_that_was_taken_and_nothing_more() {
    let mut bench = Bench::loaded(Sharing::Exclusive, 0, None);
    let (op, _) = bench.commit();
    bench.take(1);
    bench.handle(Input::Drain);
    let late = bench.take(1);
    assert_eq!(bench.replies(), [(late, "draining".to_owned())]);
    bench.end(op, committed());
    let (op, _) = bench.commit();
    bench.end(op, committed());
    let outputs = bench.poll();
    assert!(matches!(outputs.as_slice(), [Output::Drained]), "{outputs:?}");
}

#[test]
fn too_many_callers_of_one_key_are_told() {
    let mut bench = Bench::new(Sharing::Exclusive);
    for _ in 0..17 {
        bench.keyed(1, "k");
    }
    assert_eq!(bench.replies(), []);
    let one_more = bench.keyed(1, "k");
    let refused = |caller| (caller, "idempotency_key_in_progress".to_owned());
    assert_eq!(bench.replies(), [refused(one_more)]);
    // For one that leaves there is room for one.
    bench.handle(Input::GaveUp { caller: 2, partition: Partition::new("p").unwrap() });
    assert_eq!(bench.replies(), [(2, "timed_out".to_owned())]);
    bench.keyed(1, "k");
    assert_eq!(bench.replies(), []);
    let one_more = bench.keyed(1, "k");
    assert_eq!(bench.replies(), [refused(one_more)]);
}

#[test]
fn a_cache_of_nothing_still_decides() {
    let config = EngineConfig { cache_bytes_max: 0, ..EngineConfig::default() };
    let mut bench = Bench::with(Sharing::Exclusive, config);
    let mut counter = None;
    for round in 1..=5 {
        bench.take(1);
        bench.answer_read(counter.clone());
        let (op, commit) = bench.commit();
        assert_eq!(commit.writes[0].version, Version::new(round));
        bench.end(op, committed());
        assert_eq!(bench.replies().len(), 1);
        counter = Some((round, Counter { used: round, ends_at: None }));
    }
    assert_eq!(bench.executor.stats().cache_bytes, 0);
}

#[test]
fn the_same_inputs_give_the_same_outputs() {
    let run = || {
        let mut bench = Bench::new(Sharing::Shared);
        let mut trace = String::new();
        for round in 0..20 {
            bench.keyed(round % 3 + 1, &format!("k{}", round % 5));
            for output in bench.poll() {
                trace.push_str(&format!("{output:?}\n"));
                match output {
                    Output::Read { op, records, .. } => {
                        let absent = |key| (key, Versioned::default());
                        let records = records.into_iter().map(absent).collect();
                        let result = Ok(ReadResult { records, due: Vec::new() });
                        bench.handle(Input::Read { op, result });
                    }
                    Output::Commit { op, .. } if round % 4 == 0 => {
                        bench.end(op, conflict(round, 0))
                    }
                    Output::Commit { op, .. } => bench.end(op, committed()),
                    Output::Wake { op, .. } => bench.handle(Input::Woke { op }),
                    Output::Reply { .. } | Output::Resolve { .. } | Output::Drained => {}
                }
            }
        }
        trace.push_str(&format!("{:?}", bench.replies()));
        trace
    };
    assert_eq!(run(), run());
}

mod ahead;
mod aside;
mod bounds;
mod lost;
mod memory;
mod relaxed;
