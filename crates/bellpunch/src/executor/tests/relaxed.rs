//! Answers that are told before they are durable, played by hand.

use super::*;

/// Takes from the counter; its policy lets answers be told early. 0 only looks.
#[derive(Clone, Debug, Serialize)]
struct Dash {
    units: u64,
}

impl Command for Dash {
    const NAME: &'static str = "test.dash";
    type Reply = u64;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<u64, Rejection> {
        let counter = draft.get::<Counter>(&id("c"));
        match self.units {
            0 => Ok(counter.map_or(0, |counter| counter.used)),
            99 => panic!("a bug of the rule"),
            units => Take { from: "c", units }.decide(draft, now),
        }
    }

    fn is_relaxed(&self, known: &mut Draft<'_>) -> bool {
        // As a policy is: it was read when it was decided.
        known.get::<Counter>(&id("c")).is_some()
    }
}

fn dashes(units: &[u64]) -> Request {
    let dash =
        |units: &u64| Arc::new(Dash { units: *units }) as Arc<dyn bellpunch_core::AnyCommand>;
    let entropy = vec![0; units.len()];
    Request { commands: units.iter().map(dash).collect(), entropy, ..request(0, None) }
}

/// A bench with 1 unit used, all of it durable.
fn bench(sharing: Sharing) -> Bench {
    let mut bench = Bench::loaded(sharing, 0, None);
    let (op, _) = bench.commit();
    bench.end(op, committed());
    assert_eq!(bench.replies(), [(1, "1 version 2".to_owned())]);
    bench
}

#[test]
fn a_relaxed_use_is_told_at_once_and_committed_all_the_same() {
    let mut bench = bench(Sharing::Exclusive);
    bench.request(dashes(&[2]));
    let (op, commit) = bench.commit();
    assert_eq!(commit.writes[0].version, Version::new(3));
    assert_eq!(bench.replies(), [(2, "3 version 3, not durable".to_owned())]);
    // While that is on its way the next is told, too, and goes behind it.
    bench.request(dashes(&[4]));
    assert_eq!(bench.replies(), [(3, "7 version 4, not durable".to_owned())]);
    bench.end(op, committed());
    let (op, commit) = bench.commit();
    assert_eq!(commit.preconditions[0].version, Version::new(3));
    assert_eq!(commit.writes[0].version, Version::new(4));
    bench.handle(Input::Drain);
    assert!(bench.poll().is_empty(), "what was told is not done yet");
    bench.end(op, committed());
    assert!(matches!(bench.poll().as_slice(), [Output::Drained]));
    assert_eq!(bench.replies(), [], "nobody is told twice");
    assert_eq!(bench.executor.stats().queued, 0);
}

#[test]
fn refusals_and_looks_are_told_at_once_and_are_over() {
    let mut bench = bench(Sharing::Exclusive);
    bench.request(dashes(&[9]));
    bench.request(dashes(&[1]));
    bench.request(dashes(&[0]));
    let (op, commit) = bench.commit();
    assert_eq!(commit.writes[0].version, Version::new(3));
    let told = ["10 version 3, not durable", "exceeded as_of 3, not durable", "10, not durable"];
    let replies: Vec<_> = bench.replies().into_iter().map(|(_, reply)| reply).collect();
    assert_eq!(replies, told);
    // What the refusal rested on is lost. It is not decided again: its caller was told no.
    let failure = Failure::new(FailureKind::Unavailable, "gone");
    bench.end(op, CommitResult::Failed(failure));
    assert!(bench.poll().is_empty());
    assert_eq!(bench.executor.stats().queued, 0);
    assert_eq!(bench.executor.stats().storeless, [0; 3], "nobody was told anything");
}

#[test]
fn nothing_is_told_early_after_a_refusal_of_the_store_until_it_takes_commits_again() {
    let failed = CommitResult::Failed(Failure::new(FailureKind::Full, "no room"));
    let ahead = CommitResult::ClockAhead { store_time: Timestamp::EPOCH };
    for refusal in [failed, ahead] {
        let mut bench = bench(Sharing::Exclusive);
        bench.now = 1;
        bench.request(dashes(&[1]));
        let (op, _) = bench.commit();
        assert_eq!(bench.replies(), [(2, "2 version 3, not durable".to_owned())]);
        bench.end(op, refusal.clone());
        bench.now = 20_000;
        bench.request(dashes(&[1]));
        let (op, _) = bench.commit();
        assert_eq!(bench.replies(), [], "none has landed since");
        bench.end(op, refusal);
        assert_eq!(bench.replies().len(), 1);
        for (now, early) in [(29_998, false), (29_999, false), (30_000, false), (30_001, true)] {
            bench.now = now;
            bench.request(dashes(&[1]));
            let (op, _) = bench.commit();
            assert_eq!(bench.replies().len(), usize::from(early), "at {now} ms");
            bench.end(op, committed());
            assert_eq!(bench.replies().len(), usize::from(!early));
        }
    }
}

#[test]
fn what_was_told_of_a_batch_stays_when_another_gives_up() {
    let mut bench = bench(Sharing::Exclusive);
    bench.take(1);
    let (op, _) = bench.commit();
    let strict = bench.take(2);
    bench.request(dashes(&[3]));
    assert_eq!(bench.replies(), [(4, "7 version 5, not durable".to_owned())]);
    // He waits for the same batch: decided again without him it would be another one.
    give_up(&mut bench, strict);
    assert_eq!(bench.replies(), [(3, "outcome_unknown".to_owned())]);
    give_up(&mut bench, strict);
    bench.end(op, committed());
    let (op, commit) = bench.commit();
    assert_eq!(commit.writes[0].version, Version::new(5));
    bench.end(op, committed());
    assert_eq!(bench.replies(), [(2, "2 version 3".to_owned())]);
}

fn give_up(bench: &mut Bench, caller: u64) {
    let partition = Partition::new("p").unwrap();
    bench.handle(Input::GaveUp { caller, partition });
}

#[test]
fn who_was_told_gives_up_in_vain() {
    let mut bench = bench(Sharing::Exclusive);
    let first = bench.request(dashes(&[2]));
    let (op, _) = bench.commit();
    let second = bench.request(dashes(&[3]));
    assert_eq!(bench.replies().len(), 2);
    give_up(&mut bench, first);
    give_up(&mut bench, second);
    bench.end(op, committed());
    let (op, commit) = bench.commit();
    assert_eq!(commit.writes[0].version, Version::new(4), "it takes what it was told to take");
    bench.end(op, committed());
    assert_eq!(bench.replies(), []);
}

#[test]
fn a_use_that_was_told_is_decided_again_and_not_told_again() {
    let mut bench = bench(Sharing::Exclusive);
    bench.take(1);
    let (op, _) = bench.commit();
    bench.request(dashes(&[3]));
    assert_eq!(bench.replies(), [(3, "5 version 4, not durable".to_owned())]);
    bench.end(op, CommitResult::TooLate { store_time: Timestamp::EPOCH });
    let (op, commit) = bench.commit();
    assert_eq!(commit.writes[0].version, Version::new(4), "both");
    bench.end(op, committed());
    assert_eq!(bench.replies(), [(2, "2 version 3".to_owned())]);
}

#[test]
fn lists_with_a_strict_one_keys_dry_runs_and_bugs_wait() {
    let mut list = dashes(&[1, 1]);
    list.commands.push(Arc::new(Take { from: "c", units: 1 }));
    list.entropy.push(0);
    let key = Some((IdempotencyKey::new("k").unwrap(), Fingerprint::new([7; 32])));
    let keyed = Request { key, ..dashes(&[1]) };
    let dry = Request { dry_run: true, ..dashes(&[1]) };
    for (request, told) in
        [(list, "3 version 6"), (keyed, "3 version 4"), (dry, "3"), (dashes(&[99]), "internal")]
    {
        let mut bench = bench(Sharing::Exclusive);
        bench.take(1);
        let (op, _) = bench.commit();
        let caller = bench.request(request);
        let outputs = bench.poll();
        if let [Output::Read { op, records, .. }] = outputs.as_slice() {
            let absent = |key: &RecordKey| (key.clone(), Versioned::default());
            let records = records.iter().map(absent).collect();
            let (op, result) = (*op, Ok(ReadResult { records, due: Vec::new() }));
            bench.handle(Input::Read { op, result });
        }
        assert_eq!(bench.replies(), [], "{told} rests on what is on its way");
        bench.end(op, committed());
        for output in bench.poll() {
            let Output::Commit { op, .. } = output else { panic!("{output:?}") };
            bench.end(op, committed());
        }
        let replies = bench.replies();
        assert_eq!(replies.last(), Some(&(caller, told.to_owned())), "{replies:?}");
    }
}

#[test]
fn where_others_write_it_waits() {
    let mut bench = bench(Sharing::Shared);
    bench.request(dashes(&[2]));
    let (op, _) = bench.commit();
    assert_eq!(bench.replies(), []);
    bench.end(op, committed());
    assert_eq!(bench.replies(), [(2, "3 version 3".to_owned())]);
}

#[test]
fn nothing_is_told_early_behind_a_commit_that_takes_long_or_whose_time_nobody_knows() {
    for (later, early) in [(500, true), (501, false)] {
        let mut bench = bench(Sharing::Exclusive);
        bench.now = 10;
        bench.request(dashes(&[1]));
        let (op, _) = bench.commit();
        assert_eq!(bench.replies().len(), 1);
        bench.now += later;
        bench.request(dashes(&[1]));
        assert_eq!(bench.replies().len(), usize::from(early), "{later} ms");
        bench.end(op, committed());
        let (op, _) = bench.commit();
        bench.end(op, committed());
        assert_eq!(bench.replies().len(), usize::from(!early));
    }
    let mut bench = bench(Sharing::Exclusive);
    bench.now = 10;
    bench.request(dashes(&[1]));
    let (_, _) = bench.commit();
    assert_eq!(bench.replies().len(), 1);
    bench.now = 9;
    bench.request(dashes(&[1]));
    assert_eq!(bench.replies(), [], "the clock went back: it may be on its way for an hour");
    // Its reply is lost: it may be there or not.
    let mut bench = self::bench(Sharing::Exclusive);
    bench.request(dashes(&[1]));
    let (op, _) = bench.commit();
    assert_eq!(bench.replies().len(), 1);
    bench.end(op, CommitResult::Unknown);
    bench.request(dashes(&[1]));
    assert_eq!(bench.replies(), []);
}
