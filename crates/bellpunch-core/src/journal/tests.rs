use std::sync::Arc;

use serde_json::{Value, json};

use super::{Chain, Entry, Journaling, Tail, tail_id};
use crate::{
    AnyCommand, Decision, Duration, Loaded, Record, RecordKey, Request, Timestamp, View, command,
    decide,
};

/// A partition whose records are all in memory.
struct World {
    view: View,
    journaling: Journaling,
    drawn: u128,
    now: Timestamp,
    /// What was asked for of the store.
    asked: Vec<RecordKey>,
}

impl World {
    fn new(journaling: Journaling) -> Self {
        let now = "2026-03-01T00:00:00Z".parse().unwrap();
        Self { view: View::default(), journaling, drawn: 0, now, asked: Vec::new() }
    }

    fn parse((name, content): &(&str, Value)) -> Arc<dyn AnyCommand> {
        (command(name).unwrap().parse)(content.clone()).unwrap()
    }

    fn send(&mut self, commands: &[(&str, Value)]) -> Decision {
        let commands: Vec<_> = commands.iter().map(Self::parse).collect();
        let entropy = commands.iter().map(|_| {
            self.drawn = self.drawn.wrapping_add(1);
            self.drawn << 64
        });
        let (entropy, keep) = (entropy.collect(), Duration::from_days(7));
        let journaling = self.journaling;
        let request = Request { commands, entropy, key: None, keep, dry_run: false, journaling };
        self.decide(&request)
    }

    fn decide(&mut self, request: &Request) -> Decision {
        loop {
            match decide(&mut self.view, request, self.now) {
                Decision::Load { records, due } => {
                    self.asked.extend(records.iter().cloned());
                    records.into_iter().for_each(|key| self.view.load(key, Loaded::default()));
                    due.into_iter().for_each(|due| self.view.answer(due, Vec::new()));
                }
                decision @ (Decision::Accepted { .. }
                | Decision::Rejected { .. }
                | Decision::Panicked { .. }
                | Decision::Failed(_)) => {
                    if let Decision::Accepted { touched, .. } = &decision {
                        self.view.settle(&touched.writes);
                    }
                    return decision;
                }
            }
        }
    }

    /// The places that were given.
    #[track_caller]
    fn seqs(&mut self, commands: &[(&str, Value)]) -> Vec<Option<u64>> {
        let decision = self.send(commands);
        let Decision::Accepted { seqs, .. } = decision else { panic!("{decision:?}") };
        seqs
    }

    fn entries(&mut self) -> Vec<Entry> {
        let mut draft = crate::Draft::new(&mut self.view);
        let last = draft.get::<Tail>(&tail_id()).map_or(0, |tail| tail.seq);
        (1..=last).map(|seq| (*draft.get::<Entry>(&Entry::id(seq)).unwrap()).clone()).collect()
    }
}

fn create(id: &str) -> (&'static str, Value) {
    ("quotas.create", json!({ "id": id, "limit": 9 }))
}

fn consume(id: &str, units: u64) -> (&'static str, Value) {
    ("quotas.consume", json!({ "id": id, "units": units }))
}

#[test]
fn each_accepted_command_has_the_next_place_and_the_hash_before() {
    let mut world = World::new(Journaling::FromStart);
    assert_eq!(world.seqs(&[create("q")]), [Some(1)]);
    assert_eq!(world.seqs(&[consume("q", 2), consume("q", 3)]), [Some(2), Some(3)]);
    assert!(matches!(world.send(&[consume("q", 9)]), Decision::Rejected { .. }));
    assert_eq!(world.seqs(&[("quotas.read", json!({ "id": "q" }))]), []);
    assert_eq!(world.seqs(&[consume("q", 4)]), [Some(4)]);
    let entries = world.entries();
    assert_eq!(entries.len(), 4);
    let mut chain = Chain::default();
    for entry in &entries {
        assert_eq!(chain.follow(entry), Ok(()));
    }
    assert_eq!(entries[2].command, "quotas.consume");
    assert_eq!(entries[2].content["units"], 3);
    assert_eq!(entries[2].versions["quotas/q"].get(), 3);
    assert_eq!(entries[1].versions["quotas/q"].get(), 2, "as of that command, within a list");
}

#[test]
fn a_list_that_is_refused_leaves_no_entry() {
    let mut world = World::new(Journaling::FromStart);
    world.seqs(&[create("q")]);
    let refused = world.send(&[consume("q", 5), consume("q", 5)]);
    assert!(matches!(refused, Decision::Rejected { index: 1, .. }), "{refused:?}");
    assert_eq!(world.entries().len(), 1);
}

#[test]
fn a_partition_keeps_its_journal_whoever_asks_and_gets_none_by_itself() {
    let mut world = World::new(Journaling::Begun);
    assert_eq!(world.seqs(&[create("q")]), []);
    world.journaling = Journaling::FromStart;
    assert_eq!(world.seqs(&[consume("q", 1)]), [Some(1)]);
    world.journaling = Journaling::Begun;
    assert_eq!(world.seqs(&[consume("q", 1)]), [Some(2)]);
}

#[test]
fn a_check_of_a_rate_limit_waits_for_no_journal() {
    let mut world = World::new(Journaling::FromStart);
    let terms =
        json!({ "id": "p", "algorithm": "sliding_log", "limit": 5, "period_ns": 1_000_000_000 });
    assert_eq!(world.seqs(&[("policies.set", terms)]), [Some(1)], "its terms are entered");
    let before = world.asked.len();
    let check = ("policies.consume", json!({ "id": "p", "key": "k", "units": 1 }));
    assert_eq!(world.seqs(std::slice::from_ref(&check)), []);
    let kinds: Vec<_> = world.asked[before..].iter().map(|key| key.kind.name()).collect();
    assert!(!kinds.contains(&"journal"), "{kinds:?}");
    // In a list, others have their places.
    assert_eq!(world.seqs(&[check, create("q")]), [None, Some(2)]);
}

#[test]
fn an_entry_is_not_looked_for_and_is_no_part_of_the_answer() {
    let mut world = World::new(Journaling::FromStart);
    let decision = world.send(&[create("q")]);
    let Decision::Accepted { versions, as_of, touched, .. } = decision else {
        panic!("{decision:?}")
    };
    let own = |name: &&String| name.starts_with("journal/") || name.starts_with("entries/");
    assert_eq!(versions.keys().chain(as_of.keys()).find(own), None);
    let read: Vec<_> = touched.reads.iter().map(|key| key.kind.name()).collect();
    assert!(read.contains(&"journal"), "its order is in the commit: {read:?}");
    assert!(read.contains(&"entries"), "that it is not there is in the commit: {read:?}");
    assert!(!world.asked.iter().any(|key| key.kind == Entry::KIND), "{:?}", world.asked);
}

#[test]
fn a_dry_run_enters_nothing() {
    let mut world = World::new(Journaling::FromStart);
    world.seqs(&[create("q")]);
    let (commands, keep) = (vec![World::parse(&consume("q", 1))], Duration::from_days(7));
    let (entropy, journaling) = (vec![7], Journaling::FromStart);
    let request = Request { commands, entropy, key: None, keep, dry_run: true, journaling };
    assert!(matches!(world.decide(&request), Decision::Accepted { seqs, .. } if seqs.is_empty()));
    assert_eq!(world.entries().len(), 1);
}

#[test]
fn time_does_not_fall_along_a_journal() {
    let mut world = World::new(Journaling::FromStart);
    world.seqs(&[create("q"), create("r")]);
    let late = world.now;
    world.now = Timestamp::EPOCH;
    world.seqs(&[create("s")]);
    assert_eq!(
        world.entries()[2].at,
        late,
        "another record, and still not before the entry before"
    );
}

#[test]
fn every_change_of_an_entry_is_seen() {
    let mut world = World::new(Journaling::FromStart);
    world.seqs(&[create("q"), consume("q", 1), consume("q", 2)]);
    let entries = world.entries();
    let broken = |change: &dyn Fn(&mut Vec<Entry>)| {
        let mut entries = entries.clone();
        change(&mut entries);
        let mut chain = Chain::default();
        entries.iter().any(|entry| chain.follow(entry).is_err())
    };
    assert!(!broken(&|_| {}));
    assert!(broken(&|all| drop(all.remove(1))));
    assert!(broken(&|all| all.swap(0, 1)));
    assert!(broken(&|all| all[1].content["units"] = json!(2)));
    assert!(broken(&|all| all[1].command.push('x')));
    assert!(broken(&|all| all[1].at = Timestamp::MAX));
    assert!(broken(&|all| drop(all[1].versions.pop_first())));
    assert!(broken(&|all| {
        // Sealed again by somebody who has what it takes: the entry behind it does not name it.
        all[1].content["units"] = json!(2);
        all[1] = all[1].clone().sealed();
    }));
}

#[test]
fn an_entry_older_than_the_one_before_is_seen_however_well_it_is_sealed() {
    let mut world = World::new(Journaling::FromStart);
    world.seqs(&[create("q"), consume("q", 1)]);
    let mut entries = world.entries();
    let before = entries[0].at;
    assert!(Timestamp::EPOCH < before);
    entries[1].at = Timestamp::EPOCH;
    entries[1] = entries[1].clone().sealed();
    let mut chain = Chain::default();
    assert_eq!(chain.follow(&entries[0]), Ok(()));
    assert_eq!(chain.follow(&entries[1]), Err(super::Break::Earlier { expected: before }));
}
