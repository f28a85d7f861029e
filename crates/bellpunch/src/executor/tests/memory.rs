//! Refusals that are told again from memory, played by hand.

use bellpunch_core::DecidedBy;

use super::*;

/// Takes from the counter; its policy lets a refusal be told again for 5 ms. 0 only looks, and 99 is
/// refused for another reason than the limit.
#[derive(Clone, Debug, Serialize)]
struct Knock {
    units: u64,
}

impl Command for Knock {
    const NAME: &'static str = "test.knock";
    type Reply = u64;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<u64, Rejection> {
        match self.units {
            0 => Ok(draft.get::<Counter>(&id("c")).map_or(0, |counter| counter.used)),
            99 => {
                let _ = draft.get::<Counter>(&id("c"));
                Err(Rejection { category: Category::State, ..no("revoked") })
            }
            units => Take { from: "c", units }.decide(draft, now),
        }
    }

    fn stale_denials(&self, _: &mut Draft<'_>) -> Option<Duration> {
        Some(Duration::from_nanos(5_000_000))
    }
}

fn knocks(units: &[u64]) -> Request {
    let knock =
        |units: &u64| Arc::new(Knock { units: *units }) as Arc<dyn bellpunch_core::AnyCommand>;
    let entropy = vec![0; units.len()];
    Request { commands: units.iter().map(knock).collect(), entropy, ..request(0, None) }
}

/// A bench on which so many units are used, and the store has confirmed a refusal of 11.
fn denied(used: u64) -> Bench {
    let mut bench = Bench::new(Sharing::Shared);
    bench.request(knocks(&[11]));
    bench.answer_read(Some((1, Counter { used, ends_at: None })));
    confirmed(&mut bench);
    bench
}

/// What is asked for is a commit that changes nothing, and it lands.
#[track_caller]
fn confirmed(bench: &mut Bench) {
    let (op, commit) = bench.commit();
    assert!(commit.writes.is_empty(), "{commit:?}");
    assert_eq!(bench.replies(), [], "nobody is told before");
    bench.end(op, committed());
    assert_eq!(bench.replies().len(), 1);
}

/// Whether a request is refused from memory, without the store.
#[track_caller]
fn is_from_memory(bench: &mut Bench, request: Request) -> bool {
    let caller = bench.request(request);
    let outputs: Vec<_> = std::iter::from_fn(|| bench.executor.poll()).collect();
    let [Output::Reply { caller: told, result: Ok(AnyOutcome::Rejected(refusal)) }] =
        outputs.as_slice()
    else {
        let [Output::Commit { op, .. }] = outputs.as_slice() else { panic!("{outputs:?}") };
        bench.end(*op, committed());
        assert_eq!(bench.replies().len(), 1);
        return false;
    };
    assert_eq!((*told, refusal.decided_by), (caller, DecidedBy::Cache));
    assert_eq!(refusal.as_of.values().next(), Some(&Version::new(1)));
    true
}

#[test]
fn a_refusal_that_the_store_confirmed_is_told_again_for_as_long_as_its_policy_says() {
    let mut bench = denied(10);
    bench.now = 4;
    assert!(is_from_memory(&mut bench, knocks(&[11])));
    assert!(is_from_memory(&mut bench, knocks(&[1])), "of what the same counter refuses, too");
    bench.now = 5;
    assert!(!is_from_memory(&mut bench, knocks(&[11])), "it is over");
    bench.now = 9;
    assert!(is_from_memory(&mut bench, knocks(&[11])), "and confirmed again");
    assert_eq!(bench.executor.stats().storeless, [0, 0, 3]);
}

#[test]
fn what_fits_is_never_refused_from_memory() {
    let mut bench = denied(9);
    bench.request(knocks(&[1]));
    let (op, commit) = bench.commit();
    assert_eq!(commit.writes.len(), 1);
    bench.end(op, committed());
    assert_eq!(bench.replies(), [(2, "10 version 2".to_owned())]);
}

#[test]
fn what_no_limit_refused_is_asked_of_the_store() {
    for units in [0, 99] {
        let mut bench = denied(10);
        bench.request(knocks(&[units]));
        confirmed(&mut bench);
    }
}

#[test]
fn a_refusal_of_what_has_changed_since_is_confirmed() {
    let mut bench = denied(9);
    bench.request(knocks(&[1]));
    let (taking, _) = bench.commit();
    bench.request(knocks(&[11]));
    assert!(bench.poll().is_empty());
    assert_eq!(bench.replies(), [], "it rests on what may not land");
    bench.end(taking, committed());
    let (_, commit) = bench.commit();
    assert!(commit.writes.is_empty(), "{commit:?}");
    assert_eq!(bench.replies, [(2, "10 version 2".to_owned())]);

    // Somebody else has written it, and the node hears of that.
    let mut bench = denied(10);
    bench.take(11);
    let (op, _) = bench.commit();
    bench.end(op, conflict(2, 10));
    confirmed(&mut bench);
    bench.request(knocks(&[11]));
    confirmed(&mut bench);
}

#[test]
fn a_refusal_beside_a_change_of_the_same_record_confirms_nothing() {
    let mut bench = Bench::new(Sharing::Shared);
    bench.request(knocks(&[1]));
    bench.request(knocks(&[11]));
    bench.answer_read(Some((1, Counter { used: 9, ends_at: None })));
    let (op, commit) = bench.commit();
    assert_eq!(commit.writes.len(), 1);
    bench.end(op, committed());
    assert_eq!(bench.replies().len(), 2);
    bench.request(knocks(&[11]));
    confirmed(&mut bench);
}

#[test]
fn keys_looks_and_commands_without_such_a_policy_ask_the_store() {
    let mut bench = denied(10);
    let key = (IdempotencyKey::new("k").unwrap(), Fingerprint::new([0; 32]));
    bench.request(Request { key: Some(key), ..knocks(&[11]) });
    bench.answer_read(None);
    confirmed(&mut bench);
    bench.request(Request { dry_run: true, ..knocks(&[11]) });
    confirmed(&mut bench);
    bench.take(11);
    confirmed(&mut bench);
    let mut list = knocks(&[11]);
    list.commands.push(Arc::new(Take { from: "c", units: 1 }));
    list.entropy.push(0);
    bench.request(list);
    confirmed(&mut bench);
    assert_eq!(bench.executor.stats().storeless, [0, 0, 0]);
}

#[test]
fn a_refusal_without_such_a_policy_confirms_nothing_for_others() {
    let mut bench = Bench::loaded(Sharing::Shared, 10, None);
    confirmed(&mut bench);
    bench.request(knocks(&[11]));
    confirmed(&mut bench);
}

#[test]
fn a_clock_that_went_back_tells_nothing_from_memory() {
    let mut bench = Bench::new(Sharing::Shared);
    bench.now = 3;
    bench.request(knocks(&[11]));
    bench.answer_read(Some((1, Counter { used: 10, ends_at: None })));
    confirmed(&mut bench);
    bench.now = 2;
    assert!(!is_from_memory(&mut bench, knocks(&[11])));
    bench.now = 3;
    assert!(is_from_memory(&mut bench, knocks(&[11])));
    // It goes back for somebody else, and is as far as it was: so long ago it was not.
    bench.now = 1;
    bench.take(11);
    confirmed(&mut bench);
    bench.now = 4;
    assert!(!is_from_memory(&mut bench, knocks(&[11])));
}

#[test]
fn what_is_confirmed_across_a_step_of_the_clock_is_of_unknown_age() {
    let mut bench = Bench::new(Sharing::Shared);
    bench.now = 10;
    bench.request(knocks(&[11]));
    bench.answer_read(Some((1, Counter { used: 10, ends_at: None })));
    let (op, _) = bench.commit();
    bench.now = 5;
    bench.end(op, committed());
    assert_eq!(bench.replies().len(), 1);
    bench.now = 11;
    assert!(!is_from_memory(&mut bench, knocks(&[11])));
    assert!(is_from_memory(&mut bench, knocks(&[11])));
}

#[test]
fn one_who_has_the_store_for_itself_knows_and_does_not_remember() {
    let mut bench = Bench::new(Sharing::Exclusive);
    bench.request(knocks(&[11]));
    bench.answer_read(Some((1, Counter { used: 10, ends_at: None })));
    bench.request(knocks(&[11]));
    let outputs: Vec<_> = std::iter::from_fn(|| bench.executor.poll()).collect();
    assert_eq!(outputs.len(), 2);
    for output in outputs {
        let Output::Reply { result: Ok(AnyOutcome::Rejected(refusal)), .. } = output else {
            panic!("{output:?}")
        };
        assert_eq!(refusal.decided_by, DecidedBy::Store);
    }
    assert_eq!(bench.executor.stats().storeless, [0, 0, 0]);
}
