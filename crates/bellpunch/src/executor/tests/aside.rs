//! What is set aside while a commit is in flight, played by hand.

use bellpunch_core::AnyCommand;

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
    let mut bench = Bench::new(Sharing::Shared);
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
    bench.end(first, committed());
    let (third, commit) = bench.commit();
    assert_eq!((written(&commit), commit.preconditions[0].version), (vec!["c"], Version::new(3)));
    bench.end(third, committed());
    bench.end(second, committed());
    let (_, told): (Vec<_>, Vec<_>) = bench.replies().into_iter().skip(1).unzip();
    assert_eq!(told, ["4 version 4", "5 version 5", "3 version 3"]);
    assert!(resting < other && other < late);
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
    let (mut bench, first) = beside_a_flight();
    for _ in 0..5 {
        bench.touch(&[], &["c"]);
    }
    for _ in 0..16 {
        bench.touch(&[], &["d"]);
    }
    assert!(bench.poll().is_empty(), "five of the first five are too many");
    bench.touch(&[], &["c"]);
    assert!(bench.poll().is_empty());
    bench.end(first, committed());
    let (_, commit) = bench.commit();
    assert_eq!((written(&commit), commit.writes[0].version), (vec!["c", "d"], Version::new(9)));
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
fn what_is_read_meanwhile_is_for_those_behind_who_was_set_aside() {
    let (mut bench, first) = two_counters(Sharing::Shared);
    bench.take_from("d", 1);
    let (second, _) = bench.commit();
    let aside = bench.take_from("c", 1);
    let reader = bench.take_from("e", 1);
    let [Output::Read { op: read, .. }] = bench.poll()[..] else { panic!("it is read") };
    bench.end(second, committed());
    bench.end(first, committed());
    bench.replies();
    let away = Failure::new(FailureKind::Unavailable, "away");
    bench.handle(Input::Read { op: read, result: Err(away) });
    let unavailable = |caller| (caller, "store_unavailable".to_owned());
    assert_eq!(bench.replies(), [unavailable(aside), unavailable(reader)]);
}
