//! Deadlines, skew, and times of records.

use std::sync::Arc;

use super::{Able, Backend, Bench, block_on, committed, conflict, reads, send};
use crate::{CommitResult, StoreClock, Timestamp, WriteValue};

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
