//! Deadlines, skew, and times of records.

use std::sync::Arc;

use super::{Able, Backend, Bench, KIND, block_on, committed, conflict, put, reads, send};
use crate::{Commit, CommitResult, Floor, Scan, Show, StoreClock, Timestamp, Version, WriteValue};

fn nano() -> bellpunch_core::Duration {
    bellpunch_core::Duration::from_nanos(1)
}

#[track_caller]
fn too_late(result: &CommitResult) -> Timestamp {
    match result {
        CommitResult::TooLate { store_time } => *store_time,
        other => panic!("expected TooLate, got {other:?}"),
    }
}

pub(super) fn deadline(backend: &dyn Backend) -> Able {
    let mut bench = Bench::new(backend);
    if bench.store.properties().clock == StoreClock::Node {
        return Able::No("it has no clock: the engine keeps a margin");
    }
    let now = bench.clock.time();
    let at = bench.put("a", 0, "at").before(now);
    assert_eq!(too_late(&bench.send(&at)), now, "the deadline itself is too late");
    let confirmation = bench.commit(vec![reads("a", 0)]).before(now);
    too_late(&bench.send(&confirmation));
    let before = bench.put("a", 0, "before").before(now.plus(nano()).unwrap());
    committed(&bench.send(&before));
    let after = bench.put("a", 1, "after").before(now.minus_or_epoch(nano()));
    too_late(&bench.send(&after));
    bench.expect("a", 1, Some("before"));
    Able::Yes
}

/// Somebody holds the store past the deadline in three ways.
pub(super) fn deadline_after_exclusivity(backend: &dyn Backend) -> Able {
    let mut bench = Bench::new(backend);
    if bench.store.properties().clock != StoreClock::AtExclusivity {
        return Able::No("its clock is not compared at exclusivity");
    }
    if let no @ Able::No(_) = bench.place.holds() {
        return no;
    }
    for way in 0..3 {
        let version = bench.read("a").version.get();
        let deadline = bench.clock.time().plus(super::second()).unwrap();
        let holder = match way {
            0 => bench.commit(vec![reads("a", version)]),
            // Its deadline comes while it holds: it takes back what it would have done.
            1 => bench.put("a", version, "never").before(deadline),
            _ => bench.put("a", version, "changed"),
        };
        let waiting = bench.put("a", version, "late").before(deadline);
        bench.clock.hold_next();
        let (store, clock) = (&bench.store, &bench.clock);
        let (held, waited) = std::thread::scope(|scope| {
            let held = scope.spawn(|| send(&**store, &holder));
            clock.wait_held();
            let waited = scope.spawn(|| {
                let sent = store.commit(vec![Arc::new(waiting)]);
                clock.arrived();
                block_on(sent).remove(0)
            });
            clock.wait_early_reader();
            clock.set(deadline);
            clock.release();
            (held.join().unwrap(), waited.join().unwrap())
        });
        match way {
            0 => assert_eq!(too_late(&waited), deadline),
            1 => {
                too_late(&held);
                assert_eq!(too_late(&waited), deadline);
            }
            _ => {
                committed(&held);
                conflict(&waited);
            }
        }
        let changed = (way == 2).then_some("changed");
        bench.expect("a", u64::from(changed.is_some()), changed);
    }
    Able::Yes
}

pub(super) fn time(backend: &dyn Backend) -> Able {
    let mut bench = Bench::new(backend);
    let start = bench.clock.time();
    let hour = bellpunch_core::Duration::from_secs(3_600);
    let ahead = start.plus(hour).unwrap();
    let mut far = bench.put("a", 0, "far");
    (far.now, far.writes[0].at) = (ahead, ahead);
    match bench.send(&far) {
        CommitResult::ClockAhead { store_time } => assert_eq!(store_time, start),
        other => panic!("expected ClockAhead, got {other:?}"),
    }
    // Written while the store's clock was ahead; then the clock is corrected.
    bench.clock.set(ahead);
    assert_eq!(committed(&bench.send(&far)), ahead);
    bench.clock.set(start);
    assert_eq!(bench.read("a").at, ahead);
    let mut next = bench.put("a", 1, "next");
    (next.now, next.writes[0].at) = (ahead, ahead);
    committed(&bench.send(&next));
    assert_eq!(bench.read("a").at, ahead, "the time of a record does not fall");
    // What may be swept is still there, and readable, until somebody sweeps it.
    let mut due = bench.put("b", 0, "due");
    due.writes[0].sweep_at = Some(start);
    committed(&bench.send(&due));
    bench.clock.set(ahead.plus(hour).unwrap());
    bench.expect("b", 1, Some("due"));
    assert_eq!(bench.read("b").sweep_at, Some(start));
    let delete = bench.commit(vec![reads("b", 1)]).with("b", 2, WriteValue::Delete);
    committed(&bench.send(&delete));
    let tombstone = bench.read("b");
    assert_eq!((tombstone.at, tombstone.value), (delete.now, None), "a tombstone has a time");
    Able::Yes
}

/// A commit that purges a record, decided at an instant.
fn purged(bench: &mut Bench, (id, before, version): (&str, u64, u64), at: Timestamp) -> Commit {
    let purge = bench.commit(vec![reads(id, before)]);
    let mut purge = purge.with(id, version, WriteValue::Purge);
    purge.writes[0].at = at;
    purge
}

/// A purge leaves its time, too: of all that is absent, since any of it may have been purged.
pub(super) fn purge_time(backend: &dyn Backend) -> Able {
    let mut bench = Bench::new(backend);
    let start = bench.clock.time();
    let hour = bellpunch_core::Duration::from_secs(3_600);
    let late = start.plus(hour).unwrap();
    for id in ["a", "b", "c", "d", "kept", "old"] {
        let mut made = bench.put(id, 0, id);
        made.writes[0].at = start;
        committed(&bench.send(&made));
    }
    let mut delete = bench.commit(vec![reads("old", 1)]).with("old", 2, WriteValue::Delete);
    delete.writes[0].at = start;
    committed(&bench.send(&delete));
    // Decided while the clock was ahead; then it is corrected, or another node's is right.
    bench.clock.set(late);
    let purge = purged(&mut bench, ("a", 1, 5), late);
    committed(&bench.send(&purge));
    bench.clock.set(start);
    for absent in ["a", "never", "old"] {
        let found = bench.read(absent);
        assert_eq!((found.version.get(), found.at), (5, late), "record {absent}");
    }
    assert_eq!(bench.read("kept").at, start, "what is there has its own time");
    // A conflict says it, so that the retry is not decided on an earlier time.
    let low = bench.put("never", 0, "low");
    let CommitResult::Conflict { current } = bench.send(&low) else { panic!("the floor is 5") };
    assert_eq!(current[0].1.at, late);
    // Who decides on what is absent is raised to that time: that is no clock that is ahead.
    let (known, other) = (reads("never", 5), reads("kept", 1));
    for (read, taken) in [(known, true), (other, false)] {
        let mut far = bench.commit(vec![read]);
        far.now = late;
        match (bench.send(&far), taken) {
            (CommitResult::Committed { .. }, true) | (CommitResult::ClockAhead { .. }, false) => {}
            (other, _) => panic!("whether a record it read is as far was {taken}: {other:?}"),
        }
    }
    // The highest version and the latest time need not be of one purge.
    let floor = |bench: &Bench| (bench.read("never").version.get(), bench.read("never").at);
    let purge = purged(&mut bench, ("b", 1, 9), start);
    committed(&bench.send(&purge));
    assert_eq!(floor(&bench), (9, late), "the time does not fall");
    let later = late.plus(hour).unwrap();
    let purge = purged(&mut bench, ("c", 1, 2), later);
    committed(&bench.send(&purge));
    assert_eq!(floor(&bench), (9, later), "nor does the version");
    let scan = Scan { show: Show::All, ..Scan::of(KIND, 1) };
    let page = bench.scan(&scan);
    assert_eq!(page.floors, [(KIND, Floor { version: Version::new(9), at: later })]);
    // Also within one call.
    let (latest, before) = (later.plus(hour).unwrap(), reads("never", 9));
    let purge = purged(&mut bench, ("d", 1, 3), latest);
    let mut far = bench.commit(vec![before]).with("never", 10, put("made"));
    (far.now, far.writes[0].at) = (latest, latest);
    let results = block_on(bench.store.commit(vec![Arc::new(purge), Arc::new(far)]));
    for result in &results {
        committed(result);
    }
    bench.expect("never", 10, Some("made"));
    // Another partition has its own.
    bench.partition = crate::Partition::new("q").unwrap();
    assert_eq!(floor(&bench), (0, Timestamp::EPOCH));
    Able::Yes
}
