//! How much is asked for, carried, in flight and kept at once, played by hand.

use bellpunch_store::WriteValue;

use super::*;

fn refused(kind: FailureKind) -> CommitResult {
    CommitResult::Failed(Failure::new(kind, "no"))
}

/// Asks which counters are due.
#[derive(Clone, Debug, Serialize)]
struct CountDue;

impl Command for CountDue {
    const NAME: &'static str = "test.count_due";
    type Reply = usize;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, _: Timestamp) -> Result<usize, Rejection> {
        Ok(draft.due::<Counter>("").len())
    }
}

fn count_due(bench: &mut Bench) {
    let commands: Vec<Arc<dyn bellpunch_core::AnyCommand>> = vec![Arc::new(CountDue)];
    bench.request(Request { commands, ..request(0, None) });
}

#[derive(Clone, Debug, Serialize)]
struct Delete;

impl Command for Delete {
    const NAME: &'static str = "test.delete";
    type Reply = Version;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, _: Timestamp) -> Result<Version, Rejection> {
        let _ = draft.get::<Counter>(&id("c"));
        Ok(draft.delete::<Counter>(&id("c")))
    }
}

/// Records and questions of the one read that is asked for.
fn read(outputs: &[Output]) -> (usize, usize) {
    let [Output::Read { records, due, .. }] = outputs else {
        panic!("one read was expected: {outputs:?}");
    };
    (records.len(), due.len())
}

#[test]
fn what_is_too_large_together_is_sent_one_by_one() {
    let mut bench = Bench::loaded(Sharing::Shared, 0, None);
    bench.take(2);
    let (both, _) = bench.commit();
    bench.end(both, refused(FailureKind::TooLarge));
    for version in [2, 3] {
        let (one, commit) = bench.commit();
        assert_eq!(commit.writes[0].version, Version::new(version), "one of them");
        bench.end(one, committed());
    }
    assert_eq!(bench.replies(), [(1, "1 version 2".to_owned()), (2, "3 version 3".to_owned())]);
}

#[test]
fn what_is_too_large_alone_is_refused() {
    let mut bench = Bench::loaded(Sharing::Shared, 0, None);
    let (op, _) = bench.commit();
    bench.end(op, refused(FailureKind::TooLarge));
    assert_eq!(bench.replies(), [(1, "too_large".to_owned())]);
    assert!(bench.poll().is_empty(), "it is not tried again");
}

#[test]
fn what_fails_together_is_told_together() {
    let mut bench = Bench::loaded(Sharing::Shared, 0, None);
    bench.take(2);
    let (both, _) = bench.commit();
    bench.end(both, refused(FailureKind::Unavailable));
    let unavailable = "store_unavailable".to_owned();
    assert_eq!(bench.replies(), [(1, unavailable.clone()), (2, unavailable)]);
    assert!(bench.poll().is_empty(), "nothing is tried again");
}

#[test]
fn two_commits_of_a_partition_are_in_flight_at_most() {
    let mut bench = Bench::new(Sharing::Shared);
    let mut flights = Vec::new();
    for name in ["c", "d", "e"] {
        bench.take_from(name, 1);
        bench.answer_read(None);
        flights.extend(bench.poll());
    }
    let [Output::Commit { op: first, .. }, Output::Commit { .. }] = flights.as_slice() else {
        panic!("two are in flight: {flights:?}");
    };
    bench.end(*first, committed());
    let (_, third) = bench.commit();
    assert_eq!(third.writes[0].key, Counter::key(&id("e")), "it rests on neither");
}

#[test]
fn one_read_is_for_all_who_wait() {
    for (records_max, expected) in [(1_000, 3), (2, 2)] {
        let properties = Properties { records_max, ..properties(Sharing::Shared) };
        let mut bench = Bench::on(&properties, EngineConfig::default());
        for name in ["c", "d", "e"] {
            bench.take_from(name, 1);
        }
        assert_eq!(read(&bench.poll()).0, expected, "of {records_max} at most");
    }
}

#[test]
fn what_is_due_is_asked_when_nothing_is_on_its_way() {
    let ask = |bench: &mut Bench| {
        bench.take_from("e", 0);
        count_due(bench);
        read(&bench.poll())
    };
    assert_eq!(ask(&mut Bench::new(Sharing::Exclusive)), (1, 1), "both in one round trip");
    let mut bench = Bench::loaded(Sharing::Exclusive, 0, None);
    bench.commit();
    assert_eq!(ask(&mut bench), (1, 0), "the store does not know yet what is in flight");
}

#[test]
fn what_is_due_waits_for_what_was_decided_before() {
    let mut bench = Bench::loaded(Sharing::Exclusive, 0, None);
    count_due(&mut bench);
    let (op, _) = bench.commit();
    assert!(bench.poll().is_empty(), "it is on its way");
    bench.end(op, committed());
    assert_eq!(read(&bench.poll()), (0, 1));
}

#[test]
fn what_is_sent_is_given_before_more_is_decided() {
    let config = EngineConfig { batch_max: 1, ..EngineConfig::default() };
    let mut bench = Bench::with(Sharing::Shared, config);
    for name in ["c", "d"] {
        bench.take_from(name, 0);
        bench.answer_read(None);
        let (op, _) = bench.commit();
        bench.end(op, committed());
    }
    bench.replies();
    bench.take_from("c", 1);
    bench.take_from("d", 1);
    assert!(matches!(bench.executor.poll_sent(), Some(Output::Commit { .. })));
    assert!(bench.executor.poll_sent().is_none(), "the store can begin with it");
    assert!(matches!(bench.poll()[..], [Output::Commit { .. }]));
}

#[test]
fn what_is_deleted_leaves_its_version_and_what_is_purged_does_not() {
    let mut bench = Bench::loaded(Sharing::Exclusive, 0, None);
    let (op, _) = bench.commit();
    bench.end(op, committed());
    let commands: Vec<Arc<dyn bellpunch_core::AnyCommand>> = vec![Arc::new(Delete)];
    bench.request(Request { commands, ..request(0, None) });
    let (op, commit) = bench.commit();
    assert!(matches!(commit.writes[0].value, WriteValue::Delete), "{commit:?}");
    bench.end(op, committed());
    bench.sweep("c");
    let (_, commit) = bench.commit();
    assert!(matches!(commit.writes[0].value, WriteValue::Purge), "{commit:?}");
}

#[test]
fn a_refusal_waits_for_no_commit_that_it_does_not_rest_on() {
    let properties = Properties { records_min: 2, ..properties(Sharing::Exclusive) };
    let mut bench = Bench::on(&properties, EngineConfig::default());
    for name in ["c", "d"] {
        bench.take_from(name, 0);
        bench.answer_read(None);
        let (op, _) = bench.commit();
        bench.end(op, committed());
    }
    bench.replies();
    bench.take_from("c", 1);
    bench.commit();
    let refused = bench.take_from("d", 11);
    assert_eq!(bench.replies(), [(refused, "exceeded as_of 1".to_owned())]);
}

#[test]
fn what_is_due_is_what_was_due_when_it_was_asked() {
    let mut bench = Bench::new(Sharing::Exclusive);
    count_due(&mut bench);
    let outputs = bench.poll();
    let [Output::Read { op, due, .. }] = outputs.as_slice() else { panic!("{outputs:?}") };
    let due = due.iter().map(|due| (due.clone(), vec![id("c"), id("d")])).collect();
    bench.now = 5;
    bench.handle(Input::Read { op: *op, result: Ok(ReadResult { records: Vec::new(), due }) });
    assert!(bench.poll().is_empty(), "the answer is to the question, however late it comes");
    assert_eq!(bench.replies, [(1, "2".to_owned())]);
}

/// A bench that keeps nothing, on which so much was taken from each of 4,000 counters.
fn of_4_000_counters(units: u64) -> Bench {
    let config = EngineConfig { cache_bytes_max: 0, batch_max: 4_000, ..EngineConfig::default() };
    let large = Properties { records_max: 20_000, ..properties(Sharing::Exclusive) };
    let mut bench = Bench::on(&large, config);
    for counter in 0..4_000 {
        bench.take_from(format!("{counter}").leak(), units);
    }
    bench.answer_read(None);
    bench
}

/// All are told, as by a driver, and nobody asks again: what is kept then.
fn kept(bench: &mut Bench) -> u64 {
    assert!(4_000 <= std::iter::from_fn(|| bench.executor.poll_undecided()).count());
    assert!(bench.executor.poll().is_none());
    bench.executor.stats().cache_bytes
}

#[test]
fn what_many_looked_at_leaves_when_they_are_told() {
    let mut bench = of_4_000_counters(11);
    assert_eq!(kept(&mut bench), 0, "no is told without a commit");
}

#[test]
fn what_a_large_commit_held_leaves_when_it_has_landed() {
    let mut bench = of_4_000_counters(1);
    let (op, commit) = bench.commit();
    assert_eq!(commit.writes.len(), 4_000);
    bench.end(op, committed());
    assert_eq!(kept(&mut bench), 0);
}

#[test]
fn what_many_waited_with_leaves_when_they_are_told_without_a_commit() {
    let config = EngineConfig { cache_bytes_max: 0, batch_max: 4_000, ..EngineConfig::default() };
    let large = Properties { records_max: 20_000, ..properties(Sharing::Exclusive) };
    let mut bench = Bench::on(&large, config);
    bench.take(1);
    bench.answer_read(None);
    let (op, _) = bench.commit();
    for counter in 0..4_000 {
        let takes = [("c", 1), (&*format!("{counter}").leak(), 11)];
        let commands = takes.map(|(from, units)| Arc::new(Take { from, units }) as _).to_vec();
        bench.request(Request { commands, entropy: vec![0; 2], ..request(0, None) });
    }
    bench.answer_read(None);
    assert!(bench.poll().is_empty(), "they rest on what is in flight");
    bench.end(op, committed());
    assert_eq!(kept(&mut bench), 0);
}

#[test]
fn what_one_waited_with_who_gave_up_leaves() {
    let config = EngineConfig { cache_bytes_max: 0, ..EngineConfig::default() };
    let mut bench = Bench::with(Sharing::Exclusive, config);
    bench.take(1);
    bench.answer_read(None);
    let (op, _) = bench.commit();
    let takes = [("c", 1), ("other", 11)];
    let commands = takes.map(|(from, units)| Arc::new(Take { from, units }) as _).to_vec();
    let caller = bench.request(Request { commands, entropy: vec![0; 2], ..request(0, None) });
    bench.answer_read(None);
    assert!(bench.poll().is_empty(), "it rests on what is in flight");
    bench.handle(Input::GaveUp { caller, partition: Partition::new("p").unwrap() });
    bench.end(op, committed());
    assert_eq!(bench.replies().len(), 2);
    assert_eq!(bench.executor.stats().cache_bytes, 0);
}

#[test]
fn a_partition_of_which_nothing_is_known_is_forgotten() {
    let config = EngineConfig { cache_bytes_max: 0, ..EngineConfig::default() };
    let mut bench = Bench::with(Sharing::Exclusive, config);
    bench.take(1);
    bench.answer_read(None);
    let (op, _) = bench.commit();
    assert_eq!(bench.executor.lanes.len(), 1);
    bench.end(op, committed());
    bench.poll();
    bench.poll();
    assert!(bench.executor.lanes.is_empty(), "{:?}", bench.executor.lanes);
}

#[test]
fn each_end_of_a_commit_is_counted_apart() {
    let ends = [
        committed(),
        conflict(2, 0),
        CommitResult::TooLate { store_time: at(1) },
        CommitResult::ClockAhead { store_time: at(1) },
        CommitResult::Unknown,
        refused(FailureKind::Unavailable),
    ];
    for (place, end) in ends.into_iter().enumerate() {
        let mut bench = Bench::loaded(Sharing::Shared, 0, None);
        let (op, _) = bench.commit();
        bench.end(op, end);
        let mut expected = [0; 6];
        expected[place] = 1;
        assert_eq!(bench.executor.stats().commits, expected);
    }
}
