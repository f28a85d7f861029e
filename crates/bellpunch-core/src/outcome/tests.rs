use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::Loaded;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Mark {
    at: Timestamp,
}

impl Record for Mark {
    const KIND: Kind = Kind::new("marks");
}

static SEEN_FROM_BEFORE: AtomicU32 = AtomicU32::new(0);

#[derive(Debug, Serialize)]
struct SetMark {}

impl Command for SetMark {
    const NAME: &'static str = "marks.set";
    type Reply = Timestamp;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<Timestamp, Rejection> {
        let id = RecordId::stored("mark");
        if draft.get::<Mark>(&id).is_some_and(|mark| now < mark.at) {
            SEEN_FROM_BEFORE.fetch_add(1, Ordering::Relaxed);
        }
        draft.put(&id, Mark { at: now });
        Ok(now)
    }
}

#[test]
fn no_rule_sees_a_record_of_its_future() {
    let request = Request {
        commands: vec![Arc::new(SetMark {})],
        entropy: vec![0],
        key: None,
        keep: Duration::from_days(7),
        dry_run: false,
    };
    let mut view = View::default();
    view.load(Mark::key(&RecordId::stored("mark")), Loaded::default());
    let second = |second: u128| Timestamp::from_nanos(second * 1_000_000_000).unwrap();
    for (clock, decided, version) in [(5, 5, 1), (3, 5, 2), (6, 6, 3)] {
        let decision = decide(&mut view, &request, second(clock));
        let Decision::Accepted { at, versions, touched, .. } = decision else {
            panic!("{decision:?}");
        };
        assert_eq!(at, second(decided), "no decision is earlier than what it reads");
        assert_eq!(versions["marks/mark"], Version::new(version));
        view.settle(&touched.writes);
    }
    assert_eq!(SEEN_FROM_BEFORE.load(Ordering::Relaxed), 0);
}

#[derive(Debug, Serialize)]
struct PurgeMark {}

impl Command for PurgeMark {
    const NAME: &'static str = "marks.purge";
    type Reply = Timestamp;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<Timestamp, Rejection> {
        draft.purge::<Mark>(&RecordId::stored("other"));
        Ok(now)
    }
}

/// Decides a command of one record, and settles it; the time and the version.
fn settled(
    view: &mut View,
    (command, record): (Arc<dyn AnyCommand>, &str),
    clock: Timestamp,
) -> (Timestamp, u64) {
    let (commands, keep) = (vec![command], Duration::from_days(7));
    let request = Request { commands, entropy: vec![0], key: None, keep, dry_run: false };
    let decision = decide(view, &request, clock);
    let Decision::Accepted { at, versions, touched, .. } = decision else {
        panic!("{decision:?}");
    };
    view.settle(&touched.writes);
    (at, versions[record].get())
}

#[test]
fn what_is_absent_is_looked_for_again_after_a_purge_of_its_kind() {
    let at = |second: u128| Timestamp::from_nanos(second * 1_000_000_000).unwrap();
    let mut view = View::default();
    for id in ["mark", "other"] {
        view.load(Mark::key(&RecordId::stored(id)), Loaded::default());
    }
    let set = || (Arc::new(SetMark {}) as Arc<dyn AnyCommand>, "marks/mark");
    let purge = || (Arc::new(PurgeMark {}) as Arc<dyn AnyCommand>, "marks/other");
    assert_eq!(settled(&mut view, purge(), at(9)), (at(9), 1));
    // The store's floor is higher now. At which version the mark stands is the store's to say: it
    // may have been made by another node, at the very version that the floor has.
    for (record, command) in [("mark", set().0), ("other", purge().0)] {
        let (commands, keep) = (vec![command], Duration::from_days(7));
        let request = Request { commands, entropy: vec![0], key: None, keep, dry_run: false };
        let decision = decide(&mut view, &request, at(3));
        let Decision::Load { records, .. } = decision else { panic!("{decision:?}") };
        assert_eq!(records, [Mark::key(&RecordId::stored(record))]);
    }
    // As a store tells it, with the time of the purge: the clock is back, the decision is not.
    for (told, decided) in [(at(9), at(9)), (at(12), at(12))] {
        let (version, key) = (Version::new(2), Mark::key(&RecordId::stored("mark")));
        view.load(key, Loaded { version, at: told, value: None });
        assert_eq!(settled(&mut view, set(), at(1)), (decided, 3), "told {told}");
    }
}
