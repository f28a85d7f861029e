//! Replies that are lost, and what becomes of their commits, played by hand.

use super::*;

#[test]
fn a_lost_reply_is_sent_again_and_not_decided_again() {
    let mut bench = Bench::loaded(Sharing::Shared, 0, None);
    let (op, first) = bench.commit();
    bench.end(op, CommitResult::Unknown);
    assert_eq!(bench.replies.len(), 0);
    bench.wake();
    let (op, again) = bench.commit();
    assert_eq!(first, again, "the same commit, with the same id");
    bench.end(op, committed());
    assert_eq!(bench.replies(), [(1, "1 version 2".to_owned())]);
    assert_eq!(bench.executor.stats().unknown_open, 0);
    assert_eq!(bench.executor.stats().unknown_resolved, 1);
}

#[test]
fn a_lost_reply_that_is_then_refused_as_ahead_may_still_land() {
    let ahead = || CommitResult::ClockAhead { store_time: at(1) };
    let mut bench = Bench::loaded(Sharing::Shared, 0, None);
    let (op, _) = bench.commit();
    bench.end(op, ahead());
    let certain = bench.replies();
    assert!(certain[0].1.starts_with("clock_ahead"), "nothing was sent before: {certain:?}");

    for (fate, told) in [
        (Resolution::Applied, "1 version 2"),
        (Resolution::NotApplied, "outcome_unknown"),
        (Resolution::NotKnown, "outcome_unknown"),
    ] {
        let mut bench = Bench::loaded(Sharing::Shared, 0, None);
        let (op, _) = bench.commit();
        bench.end(op, CommitResult::Unknown);
        bench.wake();
        let (op, _) = bench.commit();
        bench.end(op, ahead());
        let outputs = bench.poll();
        let [Output::Resolve { op, .. }] = outputs.as_slice() else {
            panic!("its fate is asked for: {outputs:?}");
        };
        bench.handle(Input::Resolved { op: *op, result: Ok(fate) });
        assert_eq!(bench.replies(), [(1, told.to_owned())]);
        assert_eq!(bench.executor.stats().unknown_open, 0);
    }
}

fn unknown_then_conflict(key: Option<&str>) -> (Bench, Op) {
    let mut bench = Bench::new(Sharing::Shared);
    match key {
        Some(key) => bench.keyed(1, key),
        None => bench.take(1),
    };
    bench.answer_read(None);
    let (op, _) = bench.commit();
    bench.end(op, CommitResult::Unknown);
    bench.wake();
    let (op, _) = bench.commit();
    bench.end(op, conflict(5, 5));
    let outputs = bench.poll();
    let [Output::Resolve { op, .. }] = outputs.as_slice() else {
        panic!("a resolution was expected: {outputs:?}");
    };
    let op = *op;
    (bench, op)
}

#[test]
fn a_lost_reply_whose_commit_is_found_is_told_as_it_was() {
    let (mut bench, op) = unknown_then_conflict(None);
    bench.handle(Input::Resolved { op, result: Ok(Resolution::Applied) });
    assert_eq!(bench.replies(), [(1, "1 version 1".to_owned())]);
}

#[test]
fn a_lost_reply_whose_commit_was_not_applied_is_decided_afresh() {
    let (mut bench, op) = unknown_then_conflict(None);
    bench.handle(Input::Resolved { op, result: Ok(Resolution::NotApplied) });
    let (op, _) = bench.commit();
    bench.end(op, committed());
    assert_eq!(bench.replies(), [(1, "6 version 6".to_owned())]);
}

#[test]
fn what_nobody_remembers_is_unknown_without_a_key_and_asked_for_with_one() {
    let (mut bench, op) = unknown_then_conflict(None);
    bench.handle(Input::Resolved { op, result: Ok(Resolution::NotKnown) });
    assert_eq!(bench.replies(), [(1, "outcome_unknown".to_owned())]);

    let (mut bench, op) = unknown_then_conflict(Some("k"));
    bench.handle(Input::Resolved { op, result: Ok(Resolution::NotKnown) });
    let outputs = bench.poll();
    let [Output::Read { records, .. }] = outputs.as_slice() else {
        panic!("the outcome record is read again: {outputs:?}");
    };
    assert!(records.iter().any(|key| key.kind.name() == "outcomes"));
}

#[test]
fn no_error_says_that_what_may_have_been_applied_had_no_effect() {
    let mut bench = Bench::new(Sharing::Shared);
    bench.keyed(1, "k");
    bench.answer_read(Some((1, Counter { used: 0, ends_at: None })));
    let (op, _) = bench.commit();
    bench.end(op, CommitResult::Unknown);
    bench.wake();
    let (op, _) = bench.commit();
    // Nothing that changed is named: no proof, so it is sent once more.
    bench.end(op, CommitResult::Conflict { current: Vec::new() });
    bench.wake();
    let (op, _) = bench.commit();
    bench.end(op, conflict(7, 3));
    let outputs = bench.poll();
    let [Output::Resolve { op, .. }] = outputs.as_slice() else {
        panic!("its fate is asked for: {outputs:?}");
    };
    bench.handle(Input::Resolved { op: *op, result: Ok(Resolution::NotKnown) });
    let outputs = bench.poll();
    let [Output::Read { op, .. }] = outputs.as_slice() else {
        panic!("its outcome is looked for: {outputs:?}");
    };
    let away = Failure::new(FailureKind::Unavailable, "away");
    bench.handle(Input::Read { op: *op, result: Err(away) });
    assert_eq!(bench.replies(), [(1, "outcome_unknown".to_owned())]);
}

#[test]
fn nobody_waits_long_behind_a_lost_reply_and_what_was_sent_is_still_found_out() {
    let mut bench = Bench::loaded(Sharing::Shared, 0, None);
    let (op, _) = bench.commit();
    bench.end(op, CommitResult::Unknown);
    bench.wake();
    let outputs = bench.poll();
    let [Output::Commit { op, .. }, Output::Wake { op: alarm, .. }] = outputs.as_slice() else {
        panic!("it is sent again, and somebody watches: {outputs:?}");
    };
    let waits = bench.take(1);
    bench.now = 249;
    bench.handle(Input::Woke { op: *alarm });
    assert_eq!(bench.replies(), [], "it may still come");
    bench.now = 250;
    let late = bench.take(1);
    let unavailable = |caller| (caller, "store_unavailable".to_owned());
    assert_eq!(bench.replies(), [unavailable(waits), unavailable(late)]);
    // The store is there again: first what was sent, then what comes.
    bench.end(*op, committed());
    assert_eq!(bench.replies(), [(1, "1 version 2".to_owned())]);
    bench.take(1);
    bench.commit();
}

#[test]
fn the_watch_over_a_lost_reply_looks_again_and_outlives_its_lane() {
    let mut bench = Bench::loaded(Sharing::Exclusive, 0, None);
    let (op, _) = bench.commit();
    bench.end(op, CommitResult::Unknown);
    bench.wake();
    let outputs = bench.poll();
    let [Output::Commit { .. }, Output::Wake { op: alarm, .. }] = outputs.as_slice() else {
        panic!("{outputs:?}");
    };
    bench.now = 100;
    bench.handle(Input::Woke { op: *alarm });
    let outputs = bench.poll();
    let [Output::Wake { op: again, .. }] = outputs.as_slice() else { panic!("{outputs:?}") };
    let waits = bench.take(1);
    bench.now = 350;
    bench.handle(Input::Woke { op: *again });
    assert_eq!(bench.replies(), [(waits, "store_unavailable".to_owned())]);

    let mut bench = Bench::loaded(Sharing::Exclusive, 0, None);
    let (op, _) = bench.commit();
    bench.end(op, CommitResult::Unknown);
    bench.wake();
    let outputs = bench.poll();
    let [Output::Commit { op, .. }, Output::Wake { op: alarm, .. }] = outputs.as_slice() else {
        panic!("{outputs:?}");
    };
    bench.end(*op, committed());
    bench.now = 400;
    bench.handle(Input::Woke { op: *alarm });
    bench.take(1);
    bench.commit();
}

#[test]
fn a_commit_whose_reply_was_lost_may_land_though_the_next_attempt_fails() {
    for kind in [FailureKind::Unavailable, FailureKind::TooLarge, FailureKind::Corrupt] {
        let mut bench = Bench::loaded(Sharing::Shared, 0, None);
        let (op, first) = bench.commit();
        bench.end(op, CommitResult::Unknown);
        bench.wake();
        let (op, _) = bench.commit();
        bench.end(op, CommitResult::Failed(Failure::new(kind, "this time")));
        assert_eq!(bench.replies, [], "{kind:?}: nobody can tell yet");
        bench.wake();
        let (op, again) = bench.commit();
        assert_eq!(first, again);
        bench.end(op, committed());
        assert_eq!(bench.replies(), [(1, "1 version 2".to_owned())]);
    }
}

#[test]
fn attempts_are_further_and_further_apart_but_never_by_more_than_a_second() {
    let mut bench = Bench::loaded(Sharing::Shared, 0, None);
    let mut longest = std::time::Duration::ZERO;
    for attempt in 1..=20 {
        let (op, _) = bench.commit();
        bench.end(op, CommitResult::Unknown);
        let outputs = bench.poll();
        let pause = outputs.iter().find(|output| !is_alarm(output));
        let Some(Output::Wake { op, after }) = pause else { panic!("{outputs:?}") };
        let most =
            std::time::Duration::from_millis(1 << attempt).min(super::super::flight::PAUSE_MAX);
        assert!(*after < most, "attempt {attempt}: {after:?}");
        longest = longest.max(*after);
        bench.handle(Input::Woke { op: *op });
    }
    assert!(super::super::flight::PAUSE_MAX / 2 < longest, "{longest:?}");
}

#[test]
fn one_timer_watches_over_all_attempts() {
    let mut bench = Bench::loaded(Sharing::Shared, 0, None);
    let mut alarms = 0;
    for _ in 0..5 {
        let mut outputs = bench.poll();
        alarms += outputs.extract_if(.., |output| is_alarm(output)).count();
        let [Output::Commit { op, .. }] = outputs.as_slice() else { panic!("{outputs:?}") };
        bench.end(*op, CommitResult::Unknown);
        bench.wake();
    }
    assert_eq!(alarms, 1);
}
