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
