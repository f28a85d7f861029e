use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

#[derive(Debug, Default)]
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        at(self.0.load(Ordering::Relaxed))
    }
}

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos.into()).unwrap()
}

#[test]
fn a_clock_that_goes_back_is_counted() {
    let (clock, mut watch) = (Hand::default(), Watch::default());
    for (reading, steps) in [(5, 0), (5, 0), (4, 1), (6, 1), (0, 2)] {
        clock.0.store(reading, Ordering::Relaxed);
        assert_eq!(watch.read(&clock), at(reading));
        assert_eq!(watch.clock_steps, steps);
    }
}

#[test]
fn skew_is_what_the_round_trip_cannot_explain() {
    for (store, expected) in [(10, 0), (15, 0), (20, 0), (7, 3), (26, -6)] {
        assert_eq!(skew(at(store), (at(10), at(20))), expected);
    }
}

#[test]
fn a_commit_is_timed_by_its_result() {
    let mut watch = Watch::default();
    let committed = Input::Committed { op: 1, result: CommitResult::Committed { at: at(3) } };
    let unknown = Input::Committed { op: 2, result: CommitResult::Unknown };
    let took = std::time::Duration::from_micros(200);
    let done = Done { inputs: vec![committed, unknown], sent: Some((at(5), took)) };
    watch.commits(&done, at(9));
    assert_eq!(watch.clock_skew_nanos, 2);
    let counts = watch.commit_micros.map(|histogram| (histogram.count, histogram.sum));
    assert_eq!(counts, [(1, 200), (0, 0), (0, 0), (0, 0), (1, 200), (0, 0)]);
    assert_eq!(watch.commit_micros[0].buckets[..2], [0, 1]);
}
