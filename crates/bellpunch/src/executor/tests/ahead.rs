//! What is decided while a commit is in flight, played by hand.

use super::*;

/// A bench with a commit in flight that took one unit; the counter was at `used`.
fn in_flight(sharing: Sharing, used: u64) -> (Bench, Op) {
    let mut bench = Bench::loaded(sharing, used, None);
    let (op, _) = bench.commit();
    (bench, op)
}

fn failed() -> CommitResult {
    CommitResult::Failed(Failure::new(FailureKind::Unavailable, "down"))
}

#[test]
fn the_next_batch_is_decided_in_flight_and_sent_with_the_landing() {
    let (mut bench, op) = in_flight(Sharing::Shared, 0);
    bench.take(2);
    assert!(bench.poll().is_empty(), "one commit of a partition is in flight at a time");
    bench.end(op, committed());
    let mut at_once = Vec::new();
    while let Some(output) = bench.executor.poll_undecided() {
        at_once.push(output);
    }
    let [Output::Reply { caller: 1, .. }, Output::Commit { commit, .. }] = at_once.as_slice()
    else {
        panic!("nothing is left to decide: {at_once:?}");
    };
    assert_eq!(commit.preconditions[0].version, Version::new(2), "upon what has landed");
    assert_eq!(commit.writes[0].version, Version::new(3));
}

#[test]
fn a_small_batch_waits_for_those_who_are_told() {
    let mut bench = Bench::loaded(Sharing::Shared, 0, None);
    bench.take(1);
    bench.take(1);
    let (op, _) = bench.commit();
    bench.take(1);
    bench.poll();
    bench.end(op, committed());
    while let Some(output) = bench.executor.poll_undecided() {
        assert!(matches!(output, Output::Reply { .. }), "{output:?}");
    }
    bench.take(1);
    let (_, commit) = bench.commit();
    assert_eq!(commit.writes[0].version, Version::new(6), "both are in it");
}

#[test]
fn what_was_decided_upon_a_commit_that_is_lost_to_another_is_decided_again() {
    let (mut bench, op) = in_flight(Sharing::Shared, 0);
    bench.take(9);
    bench.poll();
    // With both of ours it would be 10; somebody else has taken 5.
    bench.end(op, conflict(2, 5));
    let (op, again) = bench.commit();
    assert_eq!(again.preconditions[0].version, Version::new(2));
    assert_eq!(again.writes[0].version, Version::new(3), "the first alone fits");
    bench.end(op, committed());
    assert_eq!(
        bench.replies(),
        [(1, "6 version 3".to_owned()), (2, "exceeded as_of 3".to_owned())]
    );
}

#[test]
fn a_refusal_that_rests_on_a_commit_in_flight_waits_for_it() {
    for (result, told) in [(committed(), "exceeded as_of 2"), (failed(), "10 version 2")] {
        let (mut bench, op) = in_flight(Sharing::Exclusive, 5);
        let second = bench.take(5);
        assert_eq!(bench.replies(), [], "6 and 5 are too many, once 6 is true");
        bench.end(op, result);
        let outputs = bench.poll();
        if let [Output::Commit { op, .. }] = outputs.as_slice() {
            bench.end(*op, committed());
        } else {
            assert!(outputs.is_empty(), "nobody else can have changed it: {outputs:?}");
        }
        assert_eq!(bench.replies().last(), Some(&(second, told.to_owned())));
    }
}

#[test]
fn what_is_missing_is_read_while_a_commit_is_in_flight() {
    let (mut bench, op) = in_flight(Sharing::Exclusive, 0);
    bench.keyed(2, "k");
    let outputs = bench.poll();
    let [Output::Read { op: read, records, .. }] = outputs.as_slice() else {
        panic!("its outcome is looked for: {outputs:?}");
    };
    assert_eq!(records.len(), 1, "the counter is known");
    bench.take(3);
    bench.end(op, committed());
    assert!(bench.poll().is_empty(), "those behind it wait, as they came later");
    let records = records.iter().map(|key| (key.clone(), Versioned::default())).collect();
    bench.handle(Input::Read { op: *read, result: Ok(ReadResult { records, due: Vec::new() }) });
    let (op, commit) = bench.commit();
    assert_eq!(commit.writes.len(), 2, "the counter and the outcome");
    bench.end(op, committed());
    let told: Vec<_> = bench.replies().into_iter().map(|(_, told)| told).collect();
    assert_eq!(told, ["1 version 2", "3 version 3", "6 version 4"]);
}

#[test]
fn what_is_decided_departs_though_others_still_read() {
    let (mut bench, op) = in_flight(Sharing::Exclusive, 0);
    bench.take(2);
    bench.keyed(3, "k");
    let outputs = bench.poll();
    let [Output::Read { op: read, records, .. }] = outputs.as_slice() else {
        panic!("{outputs:?}");
    };
    bench.end(op, committed());
    let (op, commit) = bench.commit();
    assert_eq!(commit.writes[0].version, Version::new(3));
    let records = records.iter().map(|key| (key.clone(), Versioned::default())).collect();
    bench.handle(Input::Read { op: *read, result: Ok(ReadResult { records, due: Vec::new() }) });
    assert!(bench.poll().is_empty());
    bench.end(op, committed());
    let (_, commit) = bench.commit();
    assert_eq!(commit.preconditions[0].version, Version::new(3));
}

#[test]
fn a_read_that_fails_in_flight_is_told_of_when_nothing_is() {
    let (mut bench, op) = in_flight(Sharing::Exclusive, 0);
    let keyed = bench.keyed(2, "k");
    let [Output::Read { op: read, .. }] = bench.poll()[..] else { panic!("it is read") };
    let away = || Failure::new(FailureKind::Unavailable, "away");
    bench.handle(Input::Read { op: read, result: Err(away()) });
    assert!(bench.poll().is_empty(), "it is not asked again and again");
    assert_eq!(bench.replies(), []);
    bench.end(op, committed());
    let [Output::Read { op: read, .. }] = bench.poll()[..] else { panic!("it is read again") };
    assert_eq!(bench.replies().len(), 1);
    bench.handle(Input::Read { op: read, result: Err(away()) });
    assert_eq!(bench.replies(), [(keyed, "store_unavailable".to_owned())]);
}

#[test]
fn who_lost_to_another_decides_nothing_ahead_until_it_is_calm() {
    let (mut bench, op) = in_flight(Sharing::Shared, 0);
    bench.end(op, conflict(2, 0));
    let (mut op, _) = bench.commit();
    for round in 1..=8 {
        bench.keyed(0, &format!("k{round}"));
        assert!(bench.poll().is_empty(), "in vain, maybe: commit {round}");
        bench.end(op, committed());
        bench.answer_read(None);
        op = bench.commit().0;
    }
    bench.keyed(0, "calm");
    assert!(matches!(bench.poll()[..], [Output::Read { .. }]));
}

#[test]
fn giving_up_takes_back_what_was_decided_and_not_sent() {
    let (mut bench, op) = in_flight(Sharing::Exclusive, 0);
    let (second, third) = (bench.take(4), bench.take(5));
    assert!(bench.poll().is_empty());
    let partition = Partition::new("p").unwrap();
    bench.handle(Input::GaveUp { caller: second, partition });
    assert_eq!(bench.replies(), [(second, "timed_out".to_owned())]);
    bench.end(op, committed());
    let (op, commit) = bench.commit();
    assert_eq!(commit.writes[0].version, Version::new(3), "one of them");
    bench.end(op, committed());
    assert_eq!(bench.replies().last(), Some(&(third, "6 version 3".to_owned())));
}

#[test]
fn giving_up_alone_takes_back_the_only_one_that_was_decided() {
    let (mut bench, op) = in_flight(Sharing::Exclusive, 0);
    let second = bench.take(4);
    assert!(bench.poll().is_empty());
    bench.handle(Input::GaveUp { caller: second, partition: Partition::new("p").unwrap() });
    assert_eq!(bench.replies(), [(second, "timed_out".to_owned())]);
    bench.end(op, committed());
    assert!(bench.poll().is_empty(), "nothing is left of it");
}

#[test]
fn a_lost_reply_takes_back_what_was_decided_upon_it() {
    let (mut bench, op) = in_flight(Sharing::Shared, 0);
    let second = bench.take(1);
    bench.poll();
    bench.end(op, CommitResult::Unknown);
    bench.wake();
    bench.now = 250;
    let third = bench.take(1);
    let unavailable = |caller| (caller, "store_unavailable".to_owned());
    assert_eq!(bench.replies(), [unavailable(second), unavailable(third)]);
}

pub(super) fn two_counters(sharing: Sharing) -> (Bench, Op) {
    two_counters_on(&properties(sharing))
}

/// A bench that knows the counters `c` and `d`, with a commit in flight that took one unit of `c`.
fn two_counters_on(properties: &Properties) -> (Bench, Op) {
    let mut bench = Bench::on(properties, EngineConfig::default());
    for name in ["d", "c"] {
        bench.take_from(name, 0);
        bench.answer_read(None);
        let (op, _) = bench.commit();
        bench.end(op, committed());
    }
    bench.take_from("c", 1);
    let (op, _) = bench.commit();
    bench.replies();
    (bench, op)
}

pub(super) fn written(commit: &Commit) -> Vec<&str> {
    commit.writes.iter().map(|write| write.key.id.as_str()).collect()
}

#[test]
fn what_is_about_other_records_departs_beside_a_commit_in_flight() {
    let (mut bench, first) = two_counters(Sharing::Shared);
    bench.take_from("d", 2);
    let (second, commit) = bench.commit();
    assert_eq!(written(&commit), ["d"]);
    bench.take_from("d", 3);
    bench.take_from("c", 4);
    assert!(bench.poll().is_empty(), "two are in flight, and each rests on one of them");
    bench.end(second, committed());
    let (third, commit) = bench.commit();
    assert_eq!((written(&commit), commit.preconditions[0].version), (vec!["d"], Version::new(2)));
    assert_eq!(bench.replies(), [(4, "2 version 2".to_owned())]);
    bench.end(first, committed());
    let (fourth, commit) = bench.commit();
    assert_eq!((written(&commit), commit.preconditions[0].version), (vec!["c"], Version::new(2)));
    bench.end(third, committed());
    bench.end(fourth, committed());
    let told: Vec<_> = bench.replies().into_iter().map(|(_, told)| told).collect();
    assert_eq!(told, ["1 version 2", "5 version 3", "5 version 3"]);
}

#[test]
fn of_two_commits_in_flight_each_may_fail() {
    let (mut bench, first) = two_counters(Sharing::Shared);
    bench.take_from("d", 2);
    let (second, _) = bench.commit();
    bench.end(first, conflict(2, 5));
    assert!(bench.poll().is_empty(), "others write here: it waits for what is in flight");
    bench.end(second, committed());
    let (again, commit) = bench.commit();
    assert_eq!((written(&commit), commit.preconditions[0].version), (vec!["c"], Version::new(2)));
    bench.end(again, committed());
    let told: Vec<_> = bench.replies().into_iter().map(|(_, told)| told).collect();
    assert_eq!(told, ["2 version 2", "6 version 3"]);
}

#[test]
fn what_lands_confirms_nothing_of_the_commit_beside_it() {
    let (mut bench, first) = two_counters(Sharing::Exclusive);
    bench.take_from("d", 2);
    let (second, _) = bench.commit();
    bench.end(second, committed());
    bench.end(first, failed());
    bench.take_from("c", 5);
    let (op, commit) = bench.commit();
    assert_eq!(commit.preconditions[0].version, Version::new(1), "as it was before the first");
    bench.end(op, committed());
    assert_eq!(bench.replies().last(), Some(&(5, "5 version 2".to_owned())));
}

#[test]
fn of_two_commits_in_flight_one_may_be_lost_and_found() {
    let (mut bench, first) = two_counters(Sharing::Shared);
    bench.take_from("d", 2);
    let (second, _) = bench.commit();
    bench.end(first, CommitResult::Unknown);
    let outputs = bench.poll();
    let [Output::Wake { op: pause, .. }] = outputs.as_slice() else { panic!("{outputs:?}") };
    bench.end(second, committed());
    assert_eq!(bench.replies(), [(4, "2 version 2".to_owned())]);
    bench.take_from("d", 1);
    assert!(bench.poll().is_empty(), "nothing is sent while a reply is lost");
    bench.handle(Input::Woke { op: *pause });
    let (first, again) = bench.commit();
    assert_eq!(written(&again), ["c"]);
    bench.end(first, committed());
    let (_, commit) = bench.commit();
    assert_eq!(written(&commit), ["d"]);
    assert_eq!(bench.replies(), [(3, "1 version 2".to_owned())]);
}

#[test]
fn a_few_do_not_depart_beside_many() {
    let (mut bench, first) = two_counters(Sharing::Shared);
    for _ in 0..5 {
        bench.take_from("c", 0);
    }
    bench.end(first, committed());
    let (_, many) = bench.commit();
    assert_eq!(many.writes[0].version, Version::new(7));
    bench.take_from("d", 0);
    bench.take_from("d", 0);
    assert!(bench.poll().is_empty());
    bench.take_from("d", 0);
    assert_eq!(written(&bench.commit().1), ["d"]);
}

#[test]
fn what_takes_the_store_no_longer_with_more_waits_for_more() {
    let properties = Properties { records_min: 2, ..properties(Sharing::Shared) };
    let (mut bench, first) = two_counters_on(&properties);
    bench.take_from("d", 1);
    assert!(bench.poll().is_empty(), "one record is not worth a call beside another");
    bench.take_from("e", 0);
    bench.answer_read(None);
    assert_eq!(written(&bench.commit().1), ["d", "e"]);
    bench.end(first, committed());
    bench.take_from("f", 0);
    bench.answer_read(None);
    assert!(bench.poll().is_empty(), "it goes with more, or when nothing is in flight");
}

#[test]
fn what_purges_is_in_flight_alone_and_nothing_is_decided_upon_it() {
    let (mut bench, first) = two_counters(Sharing::Shared);
    bench.sweep("d");
    assert!(bench.poll().is_empty(), "what the other one reads of absent records would change");
    bench.end(first, committed());
    let (sweeping, commit) = bench.commit();
    assert_eq!(written(&commit), ["d"]);
    bench.take_from("c", 1);
    assert!(bench.poll().is_empty(), "what absent records have is not certain before it landed");
    bench.end(sweeping, committed());
    assert_eq!(written(&bench.commit().1), ["c"]);
}

#[test]
fn where_commands_are_about_different_records_half_of_them_go_first() {
    for (apart, expected) in [(true, vec![1, 1]), (false, vec![2])] {
        let (mut bench, op) = two_counters(Sharing::Shared);
        bench.take_from(if apart { "d" } else { "c" }, 1);
        let beside = apart.then(|| bench.commit().0);
        bench.poll();
        bench.end(op, committed());
        let second = beside.unwrap_or_else(|| bench.commit().0);
        bench.end(second, committed());
        bench.replies();
        for _ in 0..20 {
            bench.take_from("c", 0);
        }
        for _ in 0..20 {
            bench.take_from("d", 0);
        }
        let outputs = bench.poll();
        let commits: Vec<usize> = outputs
            .iter()
            .map(|output| {
                let Output::Commit { commit, .. } = output else { panic!("{output:?}") };
                commit.preconditions.len()
            })
            .collect();
        assert_eq!(commits, expected, "apart: {apart}");
    }
}
