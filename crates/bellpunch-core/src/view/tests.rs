//! What of a view changes when a batch is sent, lands or is taken back.

use super::*;

const KIND: Kind = Kind::new("marks");

/// What no command reads again.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Mark {}

impl Record for Mark {
    const KIND: Kind = KIND;
    const CACHED: bool = false;
}

fn key(id: &str) -> RecordKey {
    RecordKey { kind: KIND, id: RecordId::stored(id) }
}

fn absent(version: u64) -> Loaded {
    Loaded { version: Version::new(version), at: Timestamp::EPOCH, value: None }
}

/// A view that knows these records, absent at version 1.
fn knowing(ids: &[&str]) -> View {
    let mut view = View::default();
    ids.iter().for_each(|id| view.load(key(id), absent(1)));
    view
}

/// Writes a record, as part of a batch.
fn write(view: &mut View, (id, value): (&str, Option<Arc<dyn AnyRecord>>), batch: u64) {
    let key = key(id);
    let expected = view.claim(&key, batch).0.expect("it was not told before");
    let place = view.find(&key.kind, &key.id).expect("it was loaded");
    let (version, at, sweep_at, purge) = (expected.plus(1), Timestamp::EPOCH, None, false);
    view.write(place, PendingWrite { expected, version, at, sweep_at, value, purge });
}

/// Sends a batch that writes one record.
fn send(view: &mut View, id: &str) -> u64 {
    let batch = view.begin_batch();
    write(view, (id, None), batch);
    view.send(batch, [&key(id)]);
    batch
}

/// Drops what can be dropped: at its second visit, if it was used.
fn drop_all(view: &mut View) {
    (0..2).for_each(|_| _ = view.evict(0, 100));
}

/// The version that a batch would expect of a record, and the flight that it rests on.
fn claim(view: &mut View, id: &str) -> (u64, u64) {
    let batch = view.begin_batch();
    let (version, flight) = view.claim(&key(id), batch);
    let version = version.expect("it was not told before");
    (version.get(), flight)
}

#[test]
fn as_many_leave_as_come_although_all_are_used() {
    let names: Vec<String> = (0..100).map(|name| name.to_string()).collect();
    let mut view = knowing(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let bytes_max = view.bytes() - 1;
    assert_eq!(view.evict(bytes_max, 4), 3, "two had a chance, and one left");
    assert!(view.bytes() <= bytes_max);
}

#[test]
fn what_was_sent_counts_as_committed_until_it_is_known() {
    let mut view = knowing(&["a", "b"]);
    let (first, second) = (send(&mut view, "a"), send(&mut view, "b"));
    assert!(view.is_pending(&key("a")) && view.is_pending(&key("b")));
    assert_eq!(claim(&mut view, "a"), (2, first));
    view.take_back(first);
    assert_eq!(claim(&mut view, "a"), (1, 0));
    assert_eq!(claim(&mut view, "b"), (2, second));
    view.land(second);
    assert_eq!(claim(&mut view, "b"), (2, 0));
    assert!(!view.is_pending(&key("a")) && !view.is_pending(&key("b")));
}

#[test]
fn a_record_that_is_on_its_way_is_not_replaced_by_what_the_store_told_before() {
    let mut view = knowing(&["a"]);
    let batch = send(&mut view, "a");
    let bytes = view.bytes();
    view.load(key("a"), absent(1));
    assert_eq!((claim(&mut view, "a"), view.bytes()), ((2, batch), bytes));
    view.land(batch);
    view.load(key("a"), absent(7));
    assert_eq!(claim(&mut view, "a"), (7, 0));
}

#[test]
fn a_record_that_is_on_its_way_is_neither_forgotten_nor_dropped() {
    let mut view = knowing(&["a", "b"]);
    let batch = send(&mut view, "a");
    view.begin_batch();
    view.forget(&key("a"));
    drop_all(&mut view);
    assert_eq!(claim(&mut view, "a"), (2, batch));
    assert!(view.find(&KIND, &key("b").id).is_none(), "nothing rests on it");
    view.land(batch);
    view.begin_batch();
    drop_all(&mut view);
    assert!(view.find(&KIND, &key("a").id).is_none());
}

#[test]
fn what_the_last_batch_rests_on_is_not_dropped() {
    let mut view = knowing(&["a", "b"]);
    claim(&mut view, "a");
    drop_all(&mut view);
    assert!(view.find(&KIND, &key("a").id).is_some());
    assert!(view.find(&KIND, &key("b").id).is_none());
}

#[test]
fn what_no_command_reads_again_is_dropped_with_the_landing_unless_the_next_batch_has_read_it() {
    for read_meanwhile in [false, true] {
        let mut view = knowing(&["a"]);
        let batch = view.begin_batch();
        write(&mut view, ("a", Some(Arc::new(Mark {}))), batch);
        view.send(batch, [&key("a")]);
        if read_meanwhile {
            assert_eq!(claim(&mut view, "a"), (2, batch));
        }
        view.land(batch);
        assert_eq!(view.find(&KIND, &key("a").id).is_some(), read_meanwhile);
    }
}

fn nanos(nanos: u128) -> Timestamp {
    Timestamp::from_nanos(nanos).unwrap()
}

/// The store confirms that a record has a version, by a batch that was sent 100 ns after its number.
fn confirm(view: &mut View, (id, version): (&str, u64), batch: u64) {
    let at = nanos(u128::from(batch) + 100);
    view.confirm((batch, at), [(&key(id), Version::new(version))]);
}

fn confirmed_at(view: &View, ids: &[&str]) -> Option<Timestamp> {
    let keys: Vec<_> = ids.iter().map(|id| key(id)).collect();
    view.confirmed_at(&keys)
}

#[test]
fn what_is_confirmed_is_confirmed_until_it_changes() {
    let mut view = knowing(&["a", "b"]);
    assert_eq!(confirmed_at(&view, &["a"]), None);
    confirm(&mut view, ("a", 1), 7);
    assert_eq!(confirmed_at(&view, &["a"]), Some(nanos(107)));
    assert_eq!(confirmed_at(&view, &["a", "b"]), None);
    let batch = send(&mut view, "a");
    assert_eq!(confirmed_at(&view, &["a"]), None, "on its way");
    view.land(batch);
    assert_eq!(confirmed_at(&view, &["a"]), None, "it has changed");
    confirm(&mut view, ("a", 1), 9);
    assert_eq!(confirmed_at(&view, &["a"]), None, "of another version");
    confirm(&mut view, ("b", 1), 5);
    let batch = view.begin_batch();
    write(&mut view, ("b", None), batch);
    assert_eq!(confirmed_at(&view, &["b"]), None, "pending");
    view.discard([&key("b")]);
    assert_eq!(confirmed_at(&view, &["b"]), Some(nanos(105)), "as it was");
    view.load(key("b"), absent(2));
    assert_eq!(confirmed_at(&view, &["b"]), None, "somebody else changed it");
    assert_eq!(confirmed_at(&view, &["c"]), None, "unknown");
    view.load(key("d"), absent(0));
    assert_eq!(confirmed_at(&view, &["d"]), None, "never there, and never confirmed");
    confirm(&mut view, ("d", 0), 3);
    assert_eq!(confirmed_at(&view, &["d"]), Some(nanos(103)));
    view.clock_went_back();
    assert_eq!(confirmed_at(&view, &["d"]), None, "who knows when that was");
    confirm(&mut view, ("d", 0), 2);
    assert_eq!(confirmed_at(&view, &["d"]), Some(nanos(102)));
}

#[test]
fn records_are_confirmed_together_if_they_were_so_at_one_instant() {
    let mut view = knowing(&["a", "b"]);
    confirm(&mut view, ("a", 1), 1);
    confirm(&mut view, ("b", 1), 5);
    assert_eq!(confirmed_at(&view, &["a", "b"]), None, "one may have changed before");
    confirm(&mut view, ("a", 1), 7);
    assert_eq!(confirmed_at(&view, &["a", "b"]), Some(nanos(105)));
    confirm(&mut view, ("b", 1), 9);
    assert_eq!(confirmed_at(&view, &["a", "b"]), Some(nanos(107)));
    // Of two commits beside each other the one that was sent first may be heard of last.
    confirm(&mut view, ("b", 1), 3);
    assert_eq!(confirmed_at(&view, &["a", "b"]), Some(nanos(107)));
}
