//! What is left after closing, losing power, failing and damage.

use super::{Able, Backend, Bench, block_on, committed, conflict, key, put, reads};
use crate::{CommitResult, FailureKind, Resolution, WriteValue};

/// Until a commit of some records has passed all its steps.
const STEPS_MAX: u64 = 64;

macro_rules! able {
    ($able:expr) => {
        match $able {
            Able::Yes => {}
            no @ Able::No(_) => return no,
        }
    };
}

pub(super) fn whole(backend: &dyn Backend) -> Able {
    for step in 0..STEPS_MAX {
        let mut bench = Bench::new(backend);
        let before = bench.commit(vec![reads("a", 0), reads("b", 0), reads("c", 0)]);
        let before = before.with("a", 1, put("a")).with("b", 1, put("b")).with("c", 1, put("c"));
        committed(&bench.send(&before));
        able!(bench.place.keeps());
        able!(bench.place.fail_at(step));
        let after = bench.commit(vec![reads("a", 1), reads("b", 1), reads("c", 1), reads("d", 0)]);
        let after = after.with("a", 2, put("a2")).with("b", 2, WriteValue::Delete);
        let after = after.with("c", 2, WriteValue::Purge).with("d", 1, put("d"));
        let result = bench.send(&after);
        able!(bench.place.crash());
        let bench = bench.reopen();
        let applied = bench.read("a").version.get() == 2;
        if applied {
            bench.expect("a", 2, Some("a2"));
            bench.expect("b", 2, None);
            bench.expect("c", 2, None);
            bench.expect("d", 1, Some("d"));
        } else {
            bench.expect("a", 1, Some("a"));
            bench.expect("b", 1, Some("b"));
            bench.expect("c", 1, Some("c"));
            bench.expect("d", 0, None);
        }
        match result {
            CommitResult::Committed { .. } => {
                assert!(applied, "what is acknowledged stays");
                assert!(0 < step, "the first step failed, and nobody noticed");
                return Able::Yes;
            }
            CommitResult::Unknown => {}
            CommitResult::Failed(failure) => assert!(!applied, "failed, but applied: {failure}"),
            other => panic!("expected a failure, got {other:?}"),
        }
    }
    panic!("a commit still fails after {STEPS_MAX} steps");
}

pub(super) fn reopen(backend: &dyn Backend) -> Able {
    let mut bench = Bench::new(backend);
    able!(bench.place.keeps());
    for round in 0..5 {
        for record in 0..20 {
            let commit = bench.put(&record.to_string(), round, &format!("{round} {record}"));
            committed(&bench.send(&commit));
        }
        bench = bench.reopen();
        for record in 0..20 {
            bench.expect(&record.to_string(), round + 1, Some(&format!("{round} {record}")));
        }
    }
    Able::Yes
}

pub(super) fn reopen_after_crash(backend: &dyn Backend) -> Able {
    let mut bench = Bench::new(backend);
    able!(bench.place.keeps());
    for round in 0..5 {
        for record in 0..20 {
            let commit = bench.put(&record.to_string(), round, &format!("{round} {record}"));
            committed(&bench.send(&commit));
        }
        able!(bench.place.crash());
        bench = bench.reopen();
        for record in 0..20 {
            bench.expect(&record.to_string(), round + 1, Some(&format!("{round} {record}")));
        }
    }
    Able::Yes
}

pub(super) fn purge_reopened(backend: &dyn Backend) -> Able {
    let mut bench = Bench::new(backend);
    able!(bench.place.keeps());
    let make = bench.put("a", 0, "a");
    committed(&bench.send(&make));
    let purge = bench.commit(vec![reads("a", 1)]).with("a", 5, WriteValue::Purge);
    committed(&bench.send(&purge));
    // Two purges have raised the floor, one its version and one its time.
    let late = bench.clock.time().plus(super::second()).unwrap();
    let mut purge = bench.commit(vec![reads("c", 5)]).with("c", 3, WriteValue::Purge);
    purge.writes[0].at = late;
    committed(&bench.send(&purge));
    let delete = bench.put("b", 5, "b");
    committed(&bench.send(&delete));
    let delete = bench.commit(vec![reads("b", 6)]).with("b", 7, WriteValue::Delete);
    committed(&bench.send(&delete));
    let mut bench = bench.reopen();
    bench.expect("a", 5, None);
    bench.expect("b", 7, None);
    for absent in ["a", "b", "c", "never"] {
        assert_eq!(bench.read(absent).at, late, "record {absent}");
    }
    let low = bench.put("a", 0, "low");
    assert_eq!(conflict(&bench.send(&low)), [("a".to_owned(), 5)]);
    Able::Yes
}

pub(super) fn resolve_reopened(backend: &dyn Backend) -> Able {
    let mut bench = Bench::new(backend);
    able!(bench.place.keeps());
    let sent = bench.put("a", 0, "sent");
    let at = committed(&bench.send(&sent));
    let stale = bench.put("a", 0, "stale");
    let mut bench = bench.reopen();
    assert_eq!(bench.resolve(sent.id), Resolution::Applied);
    assert_ne!(bench.resolve(stale.id), Resolution::Applied);
    assert_eq!(committed(&bench.send(&sent)), at, "recognised by its id");
    let next = bench.put("a", 1, "next");
    committed(&bench.send(&next));
    Able::Yes
}

pub(super) fn format(backend: &dyn Backend) -> Able {
    let mut bench = Bench::new(backend);
    able!(bench.place.keeps());
    let commit = bench.put("a", 0, "a");
    committed(&bench.send(&commit));
    let Bench { place, store, .. } = bench;
    drop(store);
    able!(place.newer());
    let error = place.open().expect_err("what a newer release wrote is refused");
    assert!(error.contains("upgrade"), "the error says what to do: {error}");
    Able::Yes
}

pub(super) fn corrupt(backend: &dyn Backend) -> Able {
    let mut bench = Bench::new(backend);
    let commit = bench.put("a", 0, "the value to be damaged");
    committed(&bench.send(&commit));
    able!(bench.place.damage());
    let failure = block_on(bench.store.read(&bench.partition, &[key("a")]))
        .expect_err("a damaged value is never given out");
    assert_eq!(failure.kind(), FailureKind::Corrupt, "{failure}");
    let scan = crate::Scan::of(super::KIND, 10);
    let failure = block_on(bench.store.scan(&bench.partition, &scan)).expect_err("nor in a page");
    assert_eq!(failure.kind(), FailureKind::Corrupt, "{failure}");
    let stale = bench.put("a", 0, "stale");
    match bench.send(&stale) {
        CommitResult::Failed(failure) => assert_eq!(failure.kind(), FailureKind::Corrupt),
        CommitResult::Conflict { .. } => panic!("a damaged value was given out by a conflict"),
        other => panic!("expected a failure, got {other:?}"),
    }
    Able::Yes
}
