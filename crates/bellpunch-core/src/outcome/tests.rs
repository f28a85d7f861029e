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
        journaling: Journaling::Off,
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
    let request = Request {
        commands,
        entropy: vec![0],
        key: None,
        keep,
        dry_run: false,
        journaling: Journaling::Off,
    };
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
        let request = Request {
            commands,
            entropy: vec![0],
            key: None,
            keep,
            dry_run: false,
            journaling: Journaling::Off,
        };
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

/// Marks another record, if the first is there.
#[derive(Debug, Serialize)]
struct MarkOther {
    refuse: bool,
}

impl Command for MarkOther {
    const NAME: &'static str = "marks.other";
    type Reply = Timestamp;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<Timestamp, Rejection> {
        draft.get::<Mark>(&RecordId::stored("mark"));
        if self.refuse {
            return Err(Rejection { code: "no", category: Category::State, data: Map::new() });
        }
        draft.put(&RecordId::stored("other"), Mark { at: now });
        Ok(now)
    }

    fn is_best_effort(&self, _: &mut Draft<'_>) -> bool {
        true
    }
}

fn keyed(command: impl Command, hash: u8) -> Request {
    let key = (IdempotencyKey::new("key").unwrap(), Fingerprint::new([hash; 32]));
    let (commands, keep): (Vec<Arc<dyn AnyCommand>>, _) =
        (vec![Arc::new(command)], Duration::from_days(7));
    Request {
        commands,
        entropy: vec![0],
        key: Some(key),
        keep,
        dry_run: false,
        journaling: Journaling::Off,
    }
}

fn known() -> View {
    let mut view = View::default();
    for id in ["mark", "other"] {
        view.load(Mark::key(&RecordId::stored(id)), Loaded::default());
    }
    view.load(OutcomeRecord::key(&RecordId::stored("key")), Loaded::default());
    view
}

fn names(versions: &Versions) -> Vec<&str> {
    versions.keys().map(String::as_str).collect()
}

/// What an answer rests on is what its rule read; of the look for an outcome it tells where that is
/// what said no.
#[test]
fn an_answer_tells_what_it_rests_on() {
    let mut view = known();
    let at = Timestamp::EPOCH;
    let no = decide(&mut view, &keyed(MarkOther { refuse: true }, 1), at);
    let Decision::Rejected { as_of, .. } = no else { panic!("{no:?}") };
    assert_eq!(names(&as_of), ["marks/mark"]);
    let yes = decide(&mut view, &keyed(MarkOther { refuse: false }, 2), at);
    let Decision::Accepted { as_of, versions, touched, .. } = yes else { panic!("{yes:?}") };
    assert_eq!((names(&as_of), names(&versions)), (vec!["marks/mark"], vec!["marks/other"]));
    view.settle(&touched.writes);
    let reused = decide(&mut view, &keyed(MarkOther { refuse: false }, 3), at);
    let Decision::Rejected { as_of, .. } = reused else { panic!("{reused:?}") };
    assert_eq!(names(&as_of), ["outcomes/key"]);
}

#[test]
fn no_outcome_is_kept_where_writes_may_be_lost() {
    let mut view = known();
    let mut request = keyed(MarkOther { refuse: false }, 1);
    assert_eq!(best_effort(&mut view, &request), BestEffort::Refused);
    request.key = None;
    assert_eq!(best_effort(&mut view, &request), BestEffort::Allowed);
}

/// An outcome goes when its retention has ended, and not before.
#[test]
fn an_outcome_is_swept_when_its_time_is_over() {
    let mut view = known();
    let request = keyed(MarkOther { refuse: false }, 1);
    let yes = decide(&mut view, &request, Timestamp::EPOCH);
    let Decision::Accepted { touched, .. } = yes else { panic!("{yes:?}") };
    view.settle(&touched.writes);
    let end = Timestamp::EPOCH.plus(request.keep).unwrap();
    let before = Timestamp::from_nanos(end.nanos().saturating_sub(1)).unwrap();
    for (at, removed) in [(before, 0), (end, 1), (end, 0)] {
        let ids = vec![RecordId::stored("key")];
        let commands: Vec<Arc<dyn AnyCommand>> = vec![Arc::new(SweepOutcomes { ids })];
        let request = Request { commands, key: None, ..request.clone() };
        let mut swept = decide(&mut view, &request, at);
        if let Decision::Load { records, .. } = swept {
            // What was purged is looked for again: the store has its floor.
            for key in records {
                let (version, value) = (Version::new(2), None);
                view.load(key, Loaded { version, at: end, value });
            }
            swept = decide(&mut view, &request, at);
        }
        let Decision::Accepted { replies, touched, .. } = swept else { panic!("{swept:?}") };
        assert_eq!(replies[0].to_json(), Value::from(removed));
        assert_eq!(touched.writes.len(), removed);
        view.settle(&touched.writes);
    }
}
