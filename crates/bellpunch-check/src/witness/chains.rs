//! Follows the versions of each record.
//!
//! Invariant: between two neighbours of a chain nothing is missing, or it is told as a gap. A
//! journal is one more record, whose versions are the places of its entries.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::Node;
use crate::calls::Part;

const RULE: &str = "witness.versions";
const JOURNAL: &str = "journal";

/// Versions that nobody is known to have written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Gap {
    pub(super) record: String,
    pub(super) first: u64,
    pub(super) last: u64,
    /// Places of the nodes before and after it.
    pub(super) around: (Option<u32>, Option<u32>),
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { record, first, last, .. } = self;
        if first == last {
            write!(f, "nobody is known to have written version {first} of {record}")
        } else {
            write!(f, "nobody is known to have written versions {first} to {last} of {record}")
        }
    }
}

/// A rule that is broken, the calls that show it, and how.
pub(super) type Broken = (&'static str, Vec<u64>, String);

/// What the versions say.
#[derive(Debug, Default)]
pub(super) struct Chains<'n> {
    /// Of two nodes the first comes before the second.
    pub(super) edges: Vec<(u32, u32)>,
    pub(super) gaps: Vec<Gap>,
    pub(super) broken: Vec<Broken>,
    /// How many versions a list of commands raised a record by.
    pub(super) rises: BTreeMap<(u32, &'n str), u64>,
    pub(super) records: usize,
}

/// A node at a version of a record; the writer stands before those who saw what it wrote.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Place {
    record: u32,
    version: u64,
    saw: bool,
    node: u32,
}

/// The kind of a record.
pub(super) fn kind(record: &str) -> &str {
    record.split_once('/').map_or(record, |(kind, _)| kind)
}

/// What the rules keep of keys is judged by the table of keys, and the journal by the places that
/// answers tell.
fn is_followed(record: &str) -> bool {
    !["outcomes/", "journal/", "entries/"].iter().any(|kind| record.starts_with(kind))
}

/// Follows all records of a partition.
pub(super) fn follow<'n>(part: &'n Part<'_>, nodes: &'n [Node<'_>]) -> Chains<'n> {
    let (names, mut places) = placed(part, nodes);
    places.sort_unstable();
    let mut chains = Chains { records: names.len(), ..Chains::default() };
    chains.edges.reserve(places.len().saturating_mul(2));
    let mut follower = Follower::new(part, nodes);
    let mut rest = places.as_slice();
    for (number, name) in names.iter().enumerate() {
        let number = u32::try_from(number).expect("fewer records than 2^32");
        let mine = rest.partition_point(|place| place.record <= number);
        let (these, others) = rest.split_at(mine);
        rest = others;
        follower.chain(name, these, &mut chains);
    }
    chains
}

fn placed<'n>(part: &'n Part<'_>, nodes: &'n [Node<'_>]) -> (Vec<&'n str>, Vec<Place>) {
    let mut numbers: BTreeMap<&str, u32> = BTreeMap::new();
    let mut names: Vec<&str> = Vec::new();
    let mut number = |name: &'n str| {
        *numbers.entry(name).or_insert_with(|| {
            names.push(name);
            u32::try_from(names.len().saturating_sub(1)).expect("fewer records than 2^32")
        })
    };
    let mut places = Vec::with_capacity(nodes.len().saturating_mul(2));
    for (node, told) in (0_u32..).zip(nodes) {
        let wrote = told.writes.iter().map(|named| (named, false));
        let saw = told.sees.iter().map(|named| (named, true));
        for ((name, version), saw) in wrote.chain(saw) {
            if is_followed(name) {
                places.push(Place { record: number(name), version: *version, saw, node });
            }
        }
        if let Some(version) = told.seq {
            places.push(Place { record: number(JOURNAL), version, saw: false, node });
        }
    }
    for record in &part.records {
        if is_followed(&record.record) {
            number(&record.record);
        }
    }
    if part.last_entry.is_some() {
        number(JOURNAL);
    }
    (names, places)
}

struct Follower<'n, 'h> {
    part: &'n Part<'h>,
    nodes: &'n [Node<'h>],
    finals: BTreeMap<&'n str, (u64, bool)>,
    sweeps: bool,
    /// Versions that were written of a kind, of those kinds that were asked for.
    written: BTreeMap<&'n str, BTreeSet<u64>>,
}

/// Where a chain is.
#[derive(Clone, Debug, Default)]
struct At {
    version: u64,
    writer: Option<u32>,
    saw: Vec<u32>,
    /// Up to here it is told what is missing.
    missed: u64,
}

impl<'n, 'h> Follower<'n, 'h> {
    fn new(part: &'n Part<'h>, nodes: &'n [Node<'h>]) -> Self {
        let finals = part.records.iter();
        let finals = finals
            .map(|line| (line.record.as_str(), (line.version, line.value.is_null())))
            .chain(part.last_entry.map(|seq| (JOURNAL, (seq, false))))
            .collect();
        let sweeps = part.ops.iter().any(|op| op.call.cmd.ends_with(".sweep"));
        Self { part, nodes, finals, sweeps, written: BTreeMap::new() }
    }

    fn chain(&mut self, name: &'n str, places: &[Place], chains: &mut Chains<'n>) {
        let mut at = At::default();
        for place in places {
            let Some(node) = self.nodes.get(index(place.node)) else { continue };
            if place.saw {
                if at.version < place.version && !self.is_floor(name, place.version) {
                    Self::gap((name, &mut at, place.version), Some(place.node), chains);
                }
                if let Some(writer) = at.writer {
                    chains.edges.push((writer, place.node));
                    self.never_earlier((name, writer), (place.node, node), chains);
                }
                at.saw.push(place.node);
                continue;
            }
            if place.version <= at.version && (place.version == 0 || at.writer.is_some()) {
                let earlier = at.writer.and_then(|writer| self.nodes.get(index(writer)));
                let ops = earlier.into_iter().chain([node]).map(|node| node.call.op).collect();
                let of = earlier.map(Node::named).unwrap_or_default();
                let text = format!(
                    "The {} wrote version {} of {name}, which {of} wrote.",
                    node.named(),
                    place.version
                );
                chains.broken.push((RULE, ops, text));
                continue;
            }
            self.step((name, &mut at), place, chains);
            for before in at.writer.iter().chain(&at.saw) {
                // A call may see a version and write the next.
                if *before != place.node {
                    chains.edges.push((*before, place.node));
                }
            }
            if let Some(writer) = at.writer {
                self.never_earlier((name, writer), (place.node, node), chains);
            }
            at = At { version: place.version, writer: Some(place.node), ..At::default() };
        }
        self.end(name, at, chains);
    }

    /// From one version to the next that was written.
    fn step(&mut self, (name, at): (&'n str, &mut At), place: &Place, chains: &mut Chains<'n>) {
        let Some(node) = self.nodes.get(index(place.node)) else { return };
        let rise = place.version.saturating_sub(at.version);
        let commands = node.commands();
        if 1 < commands {
            if rise <= commands {
                chains.rises.insert((place.node, name), rise);
                return;
            }
        } else if rise <= 1 {
            return;
        }
        // A list may raise a record more than once after it was made above the floor.
        let below = (1..=commands).map(|rise| place.version.saturating_sub(rise));
        if below.into_iter().any(|below| at.version < below && self.is_floor(name, below)) {
            return;
        }
        Self::gap((name, at, place.version.saturating_sub(1)), Some(place.node), chains);
    }

    /// Whether an absent record of its kind may have stood at this version, because another one
    /// with that version was removed without a trace.
    fn is_floor(&mut self, name: &'n str, version: u64) -> bool {
        let kind = kind(name);
        let floor = self.part.floors.get(kind).copied();
        if self.part.is_final() && floor.is_none_or(|floor| floor < version) {
            return false;
        }
        if !self.sweeps {
            return floor.is_some();
        }
        let nodes = self.nodes;
        let written = self.written.entry(kind).or_insert_with(|| {
            let of_kind =
                |(name, version): (&String, &u64)| (self::kind(name) == kind).then_some(*version);
            nodes.iter().flat_map(|node| node.writes.iter().filter_map(of_kind)).collect()
        });
        written.contains(&version)
    }

    fn gap((name, at, last): (&str, &mut At, u64), after: Option<u32>, chains: &mut Chains<'n>) {
        let first = at.version.max(at.missed).saturating_add(1);
        at.missed = at.missed.max(last);
        if first <= last {
            let (record, around) = (name.to_owned(), (at.writer, after));
            chains.gaps.push(Gap { record, first, last, around });
        }
    }

    fn never_earlier(
        &self,
        (name, writer): (&str, u32),
        (_, node): (u32, &Node<'_>),
        chains: &mut Chains<'n>,
    ) {
        let Some(writer) = self.nodes.get(index(writer)) else { return };
        if node.at < writer.at {
            let text = format!(
                "The {} was decided at an earlier time than the {}, whose version of {name} it \
                 stands on.",
                node.named(),
                writer.named()
            );
            chains.broken.push(("witness.time", vec![writer.call.op, node.call.op], text));
        }
    }

    /// The last version against the one that was found in the end.
    fn end(&mut self, name: &'n str, mut at: At, chains: &mut Chains<'n>) {
        let writer = at.writer.and_then(|writer| self.nodes.get(index(writer)));
        let ops = || writer.map(|writer| writer.call.op).into_iter().collect();
        let floor = self.part.floors.get(kind(name)).copied().unwrap_or_default();
        let Some((version, deleted)) = self.finals.get(name).copied() else {
            let is_listed = self.part.is_final() && name != JOURNAL;
            if is_listed && 0 < at.version && floor < at.version && writer.is_some() {
                let text = format!(
                    "Version {} of {name} was told, and in the end there is no such record.",
                    at.version
                );
                chains.broken.push((RULE, ops(), text));
            }
            return;
        };
        if version < at.version {
            let text = format!(
                "Version {} of {name} was told, and in the end it is at version {version}.",
                at.version
            );
            chains.broken.push((RULE, ops(), text));
        } else if at.version < version && !(deleted && version == floor) {
            Self::gap((name, &mut at, version), None, chains);
        }
    }
}

/// The place of a node.
pub(super) fn index(node: u32) -> usize {
    usize::try_from(node).expect("a node has a place in memory")
}
