//! What is set aside while a commit is in flight, played by hand.

use bellpunch_core::AnyCommand;
use bellpunch_store::WriteValue;

use super::ahead::{two_counters, written};
use super::*;

/// Reads some counters and counts others up; tells the version of the last.
#[derive(Clone, Debug, Serialize)]
struct Touch {
    reads: &'static [&'static str],
    writes: &'static [&'static str],
}

impl Command for Touch {
    const NAME: &'static str = "test.touch";
    type Reply = Version;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, _: Timestamp) -> Result<Version, Rejection> {
        let mut version = Version::ABSENT;
        for name in self.reads {
            version = draft.version::<Counter>(&id(name));
        }
        for name in self.writes {
            let used = draft.get::<Counter>(&id(name)).map_or(0, |counter| counter.used);
            version = draft.put(&id(name), Counter { used: used + 1, ends_at: None });
        }
        Ok(version)
    }
}

impl Bench {
    fn touch(&mut self, reads: &'static [&'static str], writes: &'static [&'static str]) -> u64 {
        let commands: Vec<Arc<dyn AnyCommand>> = vec![Arc::new(Touch { reads, writes })];
        self.request(Request { commands, ..request(0, None) })
    }

    /// The command commits alone; nothing is in flight.
    fn alone(&mut self, reads: &'static [&'static str], writes: &'static [&'static str]) {
        self.touch(reads, writes);
        self.answer_read(None);
        let (op, _) = self.commit();
        self.end(op, committed());
    }

    /// Answers a read, if there is one: what is asked for is absent.
    fn poll_reads(&mut self) {
        for output in self.poll() {
            let Output::Read { op, records, .. } = output else { panic!("{output:?}") };
            let records = records.into_iter().map(|key| (key, Versioned::default())).collect();
            self.handle(Input::Read { op, result: Ok(ReadResult { records, due: Vec::new() }) });
        }
    }

    /// Lands all that is sent, until nothing is left to do.
    fn land_all(&mut self) {
        loop {
            let outputs = self.poll();
            if outputs.is_empty() {
                return;
            }
            for output in outputs {
                let Output::Commit { op, .. } = output else { panic!("{output:?}") };
                self.end(op, committed());
            }
        }
    }
}

/// A bench that knows the counters `c` to `f`, all at version 1, with a commit in flight that writes
/// `c`, and beside which the last batch did not rest on what was in flight.
fn beside_a_flight() -> (Bench, Op) {
    beside_a_flight_with(EngineConfig::default())
}

fn beside_a_flight_with(config: EngineConfig) -> (Bench, Op) {
    let mut bench = Bench::with(Sharing::Shared, config);
    for writes in [&["c"], &["d"], &["e"], &["f"]] {
        bench.alone(&[], writes);
    }
    bench.touch(&[], &["c"]);
    let (before, _) = bench.commit();
    bench.touch(&[], &["d"]);
    let (op, _) = bench.commit();
    bench.end(before, committed());
    bench.end(op, committed());
    bench.touch(&[], &["c"]);
    let (op, _) = bench.commit();
    bench.replies();
    (bench, op)
}

#[test]
fn who_rests_on_a_flight_goes_after_it_and_first_of_all() {
    let (mut bench, first) = beside_a_flight();
    let (resting, other) = (bench.touch(&[], &["c"]), bench.touch(&[], &["d"]));
    let (second, commit) = bench.commit();
    assert_eq!(written(&commit), ["d"]);
    let late = bench.touch(&[], &["c"]);
    assert!(bench.poll().is_empty());
    bench.end(first, committed());
    let (third, commit) = bench.commit();
    assert_eq!((written(&commit), commit.preconditions[0].version), (vec!["c"], Version::new(3)));
    assert_eq!(commit.writes[0].version, Version::new(5), "both that were set aside");
    bench.end(third, committed());
    bench.end(second, committed());
    let mut told = bench.replies();
    told.sort();
    let (callers, told): (Vec<_>, Vec<_>) = told.into_iter().skip(1).unzip();
    assert_eq!(told, ["4 version 4", "3 version 3", "5 version 5"]);
    assert_eq!(callers, [resting, other, late]);
}

#[test]
fn none_overtakes_who_was_set_aside() {
    let (mut bench, first) = beside_a_flight();
    bench.touch(&["f"], &["c", "e"]);
    // These write what it writes, read what it writes, and write what it reads; the last are free.
    bench.touch(&[], &["e"]);
    bench.touch(&["e"], &["d"]);
    bench.touch(&[], &["f"]);
    assert!(bench.poll().is_empty(), "all of them wait");
    bench.end(first, committed());
    bench.land_all();
    let mut told = bench.replies();
    told.sort();
    let told: Vec<_> = told.into_iter().map(|(_, told)| told).skip(1).collect();
    let versions: Vec<_> = told.iter().map(|told| told.split(' ').next().unwrap()).collect();
    assert_eq!(versions, ["2", "3", "3", "2"], "each upon those before it: {told:?}");
}

#[test]
fn none_overtakes_who_was_set_aside_before_anything_has_landed() {
    let mut bench = Bench::new(Sharing::Shared);
    bench.touch(&[], &["c"]);
    bench.answer_read(None);
    let (first, _) = bench.commit();
    bench.touch(&[], &["d"]);
    bench.answer_read(None);
    let (second, _) = bench.commit();
    bench.touch(&["f"], &["d"]);
    bench.answer_read(None);
    assert!(bench.poll().is_empty(), "it is set aside");
    bench.touch(&[], &["f"]);
    assert!(bench.poll().is_empty(), "it would write what the other one reads");
    bench.end(first, committed());
    assert!(bench.poll().is_empty(), "nor does it depart before");
    bench.end(second, committed());
    bench.land_all();
    let mut told = bench.replies();
    told.sort();
    let (_, told): (Vec<_>, Vec<_>) = told.into_iter().unzip();
    assert_eq!(told, ["1 version 1", "1 version 1", "2 version 2", "1 version 1"]);
}

#[test]
fn who_reads_what_one_set_aside_reads_need_not_wait() {
    let (mut bench, _) = beside_a_flight();
    bench.touch(&["f"], &["c"]);
    bench.touch(&["f"], &["d"]);
    let (_, commit) = bench.commit();
    assert_eq!(written(&commit), ["d"]);
    assert_eq!(commit.preconditions.len(), 2, "what it read is confirmed");
}

#[test]
fn a_reader_and_a_writer_of_what_was_set_aside_are_told_apart_each_time() {
    let (mut bench, _) = beside_a_flight();
    // Of the two that are set aside the second only reads what the first writes.
    let writer = bench.touch(&[], &["c", "e"]);
    bench.touch(&["e", "c"], &[]);
    bench.touch(&["e"], &["d"]);
    assert!(bench.poll().is_empty(), "the first is to write it, so its readers wait");
    bench.handle(Input::GaveUp { caller: writer, partition: Partition::new("p").unwrap() });
    bench.touch(&[], &["f"]);
    let (_, commit) = bench.commit();
    assert_eq!(written(&commit), ["d", "f"], "nobody is left who is to write what it reads");
}

#[test]
fn where_many_rest_on_a_flight_all_wait_for_it_in_their_order() {
    let (mut bench, first) = beside_a_flight();
    bench.touch(&[], &["e"]);
    for _ in 0..5 {
        bench.touch(&[], &["c"]);
    }
    bench.touch(&["c"], &["f"]);
    assert!(bench.poll().is_empty(), "they are decided upon the flight");
    bench.end(first, committed());
    let (op, commit) = bench.commit();
    assert_eq!(written(&commit), ["c", "e", "f"]);
    assert_eq!(commit.writes[0].version, Version::new(8), "all five of them");
    bench.touch(&[], &["d"]);
    bench.touch(&[], &["c"]);
    assert!(bench.poll().is_empty(), "nor is anybody set aside the next time");
    bench.end(op, committed());
    assert_eq!(written(&bench.commit().1), ["c", "d"]);
}

#[test]
fn nobody_is_set_aside_from_a_batch_that_waits_anyway() {
    let (mut bench, first) = two_counters(Sharing::Shared);
    bench.take_from("c", 0);
    for _ in 0..7 {
        bench.take_from("d", 0);
    }
    assert!(bench.poll().is_empty(), "it is not known yet that they are about different records");
    bench.take_from("c", 0);
    assert!(bench.poll().is_empty(), "it is known now, but the batch rests on the flight");
    bench.end(first, committed());
    let (_, commit) = bench.commit();
    assert_eq!((written(&commit), commit.writes[0].version), (vec!["c", "d"], Version::new(4)));
}

#[test]
fn who_was_set_aside_may_give_up() {
    let (mut bench, first) = beside_a_flight();
    let (gone, _) = (bench.touch(&[], &["c"]), bench.touch(&[], &["d"]));
    bench.commit();
    bench.handle(Input::GaveUp { caller: gone, partition: Partition::new("p").unwrap() });
    assert_eq!(bench.replies(), [(gone, "timed_out".to_owned())]);
    bench.end(first, committed());
    assert!(bench.poll().is_empty(), "nothing of it is left");
}

#[test]
fn who_was_set_aside_waits_for_no_records_that_others_miss() {
    let (mut bench, first) = two_counters(Sharing::Shared);
    bench.take_from("d", 1);
    let (second, _) = bench.commit();
    let aside = bench.take_from("c", 1);
    let reader = bench.take_from("e", 1);
    let [Output::Read { op: read, .. }] = bench.poll()[..] else { panic!("it is read") };
    bench.end(second, committed());
    assert!(bench.poll().is_empty(), "it rests on the other flight");
    bench.end(first, committed());
    let (third, commit) = bench.commit();
    assert_eq!(written(&commit), ["c"]);
    bench.end(third, committed());
    assert_eq!(bench.replies().last(), Some(&(aside, "2 version 3".to_owned())));
    let away = Failure::new(FailureKind::Unavailable, "away");
    bench.handle(Input::Read { op: read, result: Err(away) });
    assert_eq!(bench.replies(), [(reader, "store_unavailable".to_owned())]);
}

#[test]
fn who_was_set_aside_goes_with_the_batch_that_is_ready() {
    let (mut bench, first) = beside_a_flight();
    bench.touch(&[], &["d"]);
    let (second, _) = bench.commit();
    bench.touch(&[], &["c"]);
    bench.touch(&[], &["e"]);
    assert!(bench.poll().is_empty(), "two are in flight");
    bench.end(first, committed());
    let at_once: Vec<_> = std::iter::from_fn(|| bench.executor.poll_undecided()).collect();
    let [Output::Reply { .. }, Output::Commit { op, commit }] = at_once.as_slice() else {
        panic!("{at_once:?}");
    };
    assert_eq!(written(commit), ["c", "e"]);
    bench.end(*op, committed());
    bench.end(second, committed());
    assert_eq!(bench.replies().len(), 3);
}

#[test]
fn more_may_be_set_aside_where_many_are_in_flight() {
    let (mut bench, first) = beside_a_flight();
    bench.end(first, committed());
    for name in ["c", "d"] {
        for _ in 0..20 {
            bench.take_from(name, 0);
        }
    }
    let outputs = bench.poll();
    let [Output::Commit { op: first, .. }, Output::Commit { op: second, .. }] = outputs[..] else {
        panic!("half of them go beside the others: {outputs:?}");
    };
    for name in ["c", "c", "c", "c", "c", "c", "e", "f"] {
        bench.take_from(name, 0);
    }
    assert!(bench.poll().is_empty(), "two are in flight");
    bench.end(second, committed());
    for _ in 0..10 {
        bench.take_from("d", 0);
    }
    let (second, commit) = bench.commit();
    assert_eq!(written(&commit), ["d", "e", "f"], "six are few beside forty");
    for _ in 0..5 {
        bench.take_from("d", 0);
    }
    assert!(bench.poll().is_empty(), "eleven are few beside thirty-two");
    bench.end(second, committed());
    assert!(bench.poll().is_empty(), "five would be a small batch beside twenty");
    bench.end(first, committed());
    let (last, commit) = bench.commit();
    assert_eq!(written(&commit), ["c", "d"]);
    bench.end(last, committed());
    bench.land_all();
    assert_eq!(bench.replies().len(), 1 + 40 + 8 + 10 + 5);
}

#[test]
fn a_flight_that_does_not_land_brings_back_who_was_set_aside() {
    for result in [conflict(9, 0), CommitResult::Unknown] {
        let unknown = matches!(result, CommitResult::Unknown);
        let (mut bench, first) = beside_a_flight();
        let aside = bench.touch(&[], &["c"]);
        assert!(bench.poll().is_empty());
        bench.end(first, result);
        if unknown {
            bench.wake();
            bench.now = 250;
            bench.touch(&[], &["e"]);
            assert_eq!(bench.replies()[0], (aside, "store_unavailable".to_owned()));
        } else {
            assert_eq!(written(&bench.commit().1), ["c"]);
        }
    }
}

#[test]
fn one_key_keeps_its_order_though_one_request_is_set_aside() {
    let (mut bench, first) = beside_a_flight();
    let key = || (IdempotencyKey::new("k").unwrap(), Fingerprint::new([1; 32]));
    let other = || (IdempotencyKey::new("k").unwrap(), Fingerprint::new([2; 32]));
    for (writes, key) in [(&["c"], key()), (&["d"], other())] {
        let commands: Vec<Arc<dyn AnyCommand>> = vec![Arc::new(Touch { reads: &[], writes })];
        let request = Request { commands, key: Some(key), ..request(0, None) };
        bench.request(request);
        bench.poll_reads();
    }
    assert!(bench.poll().is_empty(), "the second waits for the first");
    bench.end(first, committed());
    let (op, commit) = bench.commit();
    let outcome = commit.writes.iter().find(|write| write.key.kind.name() == "outcomes").unwrap();
    assert_eq!(written(&commit), ["c", "k"]);
    bench.end(op, committed());
    let [Output::Read { op, .. }] = bench.poll()[..] else { panic!("it looks for the outcome") };
    let WriteValue::Put(value) = &outcome.value else { panic!("{outcome:?}") };
    let (version, at, value) = (outcome.version, outcome.at, Some(Arc::clone(value)));
    let found = Versioned { version, at, value, ..Versioned::default() };
    let records = vec![(outcome.key.clone(), found)];
    bench.handle(Input::Read { op, result: Ok(ReadResult { records, due: Vec::new() }) });
    bench.land_all();
    let told: Vec<_> = bench.replies().into_iter().map(|(_, told)| told).skip(1).collect();
    assert!(told[0].starts_with("4 version"), "{told:?}");
    assert!(told[1].starts_with("idempotency_key_reused"), "{told:?}");
}

#[test]
fn those_set_aside_count_for_the_bound_of_the_queue() {
    let config = EngineConfig { queue_max: 2, ..EngineConfig::default() };
    let (mut bench, _) = beside_a_flight_with(config);
    bench.touch(&[], &["c"]);
    bench.touch(&[], &["c"]);
    assert!(bench.poll().is_empty());
    let third = bench.touch(&[], &["c"]);
    assert_eq!(bench.replies(), [(third, "overloaded".to_owned())]);
}
