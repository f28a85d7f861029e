//! Nodes that hammer one record of a store they share: a small simulation over real executors.
//!
//! Time is virtual, and all chance comes from a seed, so each number is the same on every machine. The
//! store is one row behind one lock: commits reach it half a round trip after they were sent, wait
//! their turn in order, are compared and written one at a time, and are answered half a round trip
//! later. Every caller sends its next command as soon as the last one is answered.

#![expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
#![expect(clippy::indexing_slicing, reason = "a node that is not there fails the test")]
#![expect(clippy::integer_division, reason = "measurements are rounded")]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bellpunch::executor::{Executor, Input, Output, ReadResult};
use bellpunch::store::{
    Commit, CommitResult, Guarantee, MemoryConfig, MemoryStore, Properties, Sharing, Store as _,
    Versioned, WriteValue,
};
use bellpunch::{
    Command, Draft, Duration, EngineConfig, ErrorKind, Kind, Partition, Record, RecordId,
    RecordKey, Rejection, Request, SystemClock, Timestamp,
};
use serde::{Deserialize, Serialize};

/// How long each simulation runs, in microseconds.
const RUN: u64 = 2_000_000;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Hot {
    used: u64,
}

impl Record for Hot {
    const KIND: Kind = Kind::new("hot");
}

#[derive(Clone, Debug, Serialize)]
struct Take {}

impl Command for Take {
    const NAME: &'static str = "hot.take";
    type Reply = u64;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, _: Timestamp) -> Result<u64, Rejection> {
        let id = RecordId::stored("hot");
        let used = draft.get::<Hot>(&id).map_or(0, |hot| hot.used) + 1;
        draft.put(&id, Hot { used });
        Ok(used)
    }
}

/// Who hammers what.
#[derive(Clone, Debug)]
struct Scene {
    /// Callers of each node.
    callers: Vec<usize>,
    /// Microseconds there and back, without a wait.
    round_trip: u64,
    /// By how many percent more or less a way takes.
    jitter: u64,
    /// Microseconds that the row is locked for a commit.
    locked: u64,
    /// Microseconds for which the first node is alone.
    alone: u64,
    seed: u64,
}

/// What was measured.
#[derive(Debug, Default)]
struct Measured {
    commits: u64,
    conflicts: u64,
    contended: u64,
    /// Commands committed by each node.
    by_node: Vec<u64>,
    /// Microseconds that each command waited.
    waits: Vec<u64>,
}

impl Measured {
    fn commands(&self) -> u64 {
        self.by_node.iter().sum()
    }

    /// The smallest and the largest share, in percent of what each caller should have.
    fn shares(&self, scene: &Scene) -> (u64, u64) {
        let callers: usize = scene.callers.iter().sum();
        let share = |(node, of): (&u64, &usize)| {
            let due = self.commands() * u64::try_from(*of).unwrap_or_default();
            node * 100 * u64::try_from(callers).unwrap_or_default() / due.max(1)
        };
        let shares: Vec<u64> = self.by_node.iter().zip(&scene.callers).map(share).collect();
        (*shares.iter().min().expect("a node"), *shares.iter().max().expect("a node"))
    }

    fn wait(&self, per_mille: usize) -> u64 {
        let mut waits = self.waits.clone();
        waits.sort_unstable();
        let place = (waits.len() * per_mille / 1_000).min(waits.len().saturating_sub(1));
        waits.get(place).copied().unwrap_or_default()
    }
}

/// One row of the table.
struct Row<'a>(&'a Scene, &'a Measured);

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(scene, measured) = self;
        let seconds = RUN / 1_000_000;
        let (least, most) = measured.shares(scene);
        write!(
            f,
            "| {:?} | {} | {} | {} | {} | {} | {} | {least}..{most} | {} | {} | {} | {} |",
            scene.callers,
            scene.round_trip,
            scene.jitter,
            scene.locked,
            measured.commits / seconds,
            measured.conflicts / seconds,
            measured.commands() / seconds,
            measured.wait(500),
            measured.wait(990),
            measured.wait(1_000),
            measured.contended,
        )
    }
}

enum Event {
    /// A commit reaches the store.
    Reaches { node: usize, op: u64, commit: Arc<Commit> },
    /// Something reaches a node.
    Told { node: usize, input: Input },
}

struct World {
    scene: Scene,
    nodes: Vec<Executor>,
    records: BTreeMap<RecordKey, Versioned>,
    events: BTreeMap<(u64, u64), Event>,
    now: u64,
    /// When the lock of the row is free.
    free_at: u64,
    numbered: u64,
    random: u64,
    /// Where each caller is, and since when it waits.
    sent: BTreeMap<u64, (usize, u64)>,
    measured: Measured,
}

fn absent() -> Versioned {
    Versioned::default()
}

impl World {
    fn new(scene: Scene) -> Self {
        let clock = Arc::new(SystemClock::new());
        let known = MemoryStore::new(clock, MemoryConfig::default()).properties();
        let properties =
            Properties { sharing: Sharing::Shared, guarantee: Guarantee::Atomic, ..known };
        let config = EngineConfig::default();
        let node = |place: usize| {
            let seed = scene.seed ^ u64::try_from(place).unwrap_or_default() << 32;
            Executor::new(config.clone(), &properties, seed)
        };
        let nodes = (0..scene.callers.len()).map(node).collect();
        let measured = Measured { by_node: vec![0; scene.callers.len()], ..Measured::default() };
        let (random, records, events) = (scene.seed, BTreeMap::new(), BTreeMap::new());
        let (now, free_at, numbered, sent) = (1, 0, 0, BTreeMap::new());
        Self { scene, nodes, records, events, now, free_at, numbered, random, sent, measured }
    }

    /// Half a round trip, give or take so many percent.
    fn half(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let half = self.scene.round_trip / 2;
        let jitter = half * self.scene.jitter / 100;
        half - jitter + self.random % (2 * jitter + 1)
    }

    fn at(&self) -> Timestamp {
        Timestamp::from_nanos(u128::from(self.now) * 1_000).expect("a time")
    }

    fn later(&mut self, after: u64, event: Event) {
        self.numbered += 1;
        self.events.insert((self.now + after, self.numbered), event);
    }

    fn send(&mut self, node: usize, caller: u64) {
        let request = Request {
            commands: vec![Arc::new(Take {})],
            entropy: vec![0],
            key: None,
            keep: Duration::from_days(7),
            dry_run: false,
            journaling: bellpunch::Journaling::Off,
        };
        let after = if node == 0 { 0 } else { self.scene.alone.saturating_sub(self.now) };
        self.sent.insert(caller, (node, self.now + after));
        let partition = Partition::new("p").expect("a name");
        let input = Input::Arrived { caller, partition, request: Box::new(request) };
        self.later(after, Event::Told { node, input });
    }

    /// The store takes its turn: compared and written at one instant, told half a trip later.
    fn reaches(&mut self, (node, op): (usize, u64), commit: &Commit) {
        let mut known = commit.preconditions.iter();
        let holds = known.all(|precondition| {
            let found = self.records.get(&precondition.key).cloned().unwrap_or_else(absent);
            found.version == precondition.version
        });
        let waits = self.free_at.saturating_sub(self.now);
        // To find a conflict takes the lock too, but writes nothing.
        let takes = if holds { self.scene.locked } else { (self.scene.locked / 4).min(100) };
        self.free_at = self.now + waits + takes;
        let result = if holds {
            self.measured.commits += 1;
            for write in &commit.writes {
                let WriteValue::Put(value) = &write.value else { panic!("{write:?}") };
                let (version, at, value) = (write.version, write.at, Some(Arc::clone(value)));
                let versioned = Versioned { version, at, value, ..absent() };
                self.records.insert(write.key.clone(), versioned);
            }
            CommitResult::Committed { at: self.at() }
        } else {
            self.measured.conflicts += 1;
            let current = commit.preconditions.iter().map(|precondition| {
                let found = self.records.get(&precondition.key).cloned();
                (precondition.key.clone(), found.unwrap_or_else(absent))
            });
            CommitResult::Conflict { current: current.collect() }
        };
        let after = waits + takes + self.half();
        self.later(after, Event::Told { node, input: Input::Committed { op, result } });
    }

    fn poll(&mut self, node: usize) {
        while let Some(output) = self.nodes[node].poll() {
            match output {
                Output::Commit { op, commit } => {
                    let after = self.half();
                    self.later(after, Event::Reaches { node, op, commit });
                }
                Output::Read { op, records, .. } => {
                    let found = |key: RecordKey| {
                        let versioned = self.records.get(&key).cloned().unwrap_or_else(absent);
                        (key, versioned)
                    };
                    let records = records.into_iter().map(found).collect();
                    let result = Ok(ReadResult { records, due: Vec::new() });
                    let after = self.half() + self.half();
                    self.later(after, Event::Told { node, input: Input::Read { op, result } });
                }
                Output::Wake { op, after } => {
                    let after = u64::try_from(after.as_micros()).expect("a pause");
                    self.later(after, Event::Told { node, input: Input::Woke { op } });
                }
                Output::Reply { caller, result } => {
                    let (node, since) = self.sent.remove(&caller).expect("it was sent");
                    match result {
                        Ok(_) => self.measured.by_node[node] += 1,
                        Err(error) if error.kind() == ErrorKind::Contended => {
                            self.measured.contended += 1;
                        }
                        Err(error) => panic!("{error}"),
                    }
                    self.measured.waits.push(self.now - since);
                    self.send(node, caller);
                }
                other @ (Output::Resolve { .. } | Output::Drained) => panic!("{other:?}"),
            }
        }
    }

    fn run(mut self) -> Measured {
        let mut caller = 0;
        for (node, callers) in self.scene.callers.clone().into_iter().enumerate() {
            for _ in 0..callers {
                caller += 1;
                self.send(node, caller);
            }
        }
        while let Some(((at, _), event)) = self.events.pop_first().filter(|((at, _), _)| *at < RUN)
        {
            self.now = at;
            match event {
                Event::Reaches { node, op, commit } => self.reaches((node, op), &commit),
                Event::Told { node, input } => {
                    let now = self.at();
                    self.nodes[node].handle(input, now);
                    // All that comes at one instant is one batch.
                    let more = self.events.first_key_value().is_some_and(|((next, _), event)| {
                        *next == at && matches!(event, Event::Told { node: n, .. } if *n == node)
                    });
                    if !more {
                        self.poll(node);
                    }
                }
            }
        }
        // Whoever still waits has waited so long.
        let waiting: Vec<u64> = self.sent.values().map(|(_, since)| self.now - since).collect();
        self.measured.waits.extend(waiting);
        self.measured
    }
}

fn scenes() -> Vec<Scene> {
    let shapes: [&[usize]; 5] = [&[64], &[32, 32], &[16, 16, 16, 16], &[8; 8], &[61, 1, 1, 1]];
    let mut scenes = Vec::new();
    for (round_trip, jitter, locked) in [(500, 0, 100), (2_000, 25, 1_000), (500, 5, 5_000)] {
        for callers in shapes {
            let callers = callers.to_vec();
            scenes.push(Scene { callers, round_trip, jitter, locked, alone: 0, seed: 0x5eed });
        }
    }
    scenes
}

#[test]
#[expect(clippy::print_stdout, reason = "the table is copied into docs/internals/executor.md")]
fn nodes_that_share_a_hot_record_share_it_fairly() {
    println!(
        "| callers | round trip | jitter % | lock | commits/s | conflicts/s | commands/s | share % | p50 | p99 | max | contended |"
    );
    let mut alone = 0;
    for scene in scenes() {
        let measured = World::new(scene.clone()).run();
        println!("{}", Row(&scene, &measured));
        if scene.callers.len() == 1 {
            alone = measured.commits;
            continue;
        }
        let (least, most) = measured.shares(&scene);
        assert!(20 <= least, "{scene:?}: {least}..{most} percent");
        assert_eq!(measured.contended, 0, "{scene:?}");
        assert!(measured.wait(1_000) < 500_000, "{scene:?}: {} us", measured.wait(1_000));
        assert!(alone * 85 < measured.commits * 100, "{scene:?}: {} commits", measured.commits);
    }
}

/// However long a node was alone, one that comes is let through before it has lost too often.
#[test]
fn who_comes_to_a_node_that_was_alone_for_long_is_let_through() {
    for (callers, jitter) in [(vec![64, 1], 0), (vec![32, 32], 0), (vec![61, 1, 1, 1], 5)] {
        let alone = RUN - RUN / 4;
        let scene = Scene { callers, round_trip: 500, jitter, locked: 100, alone, seed: 0x5eed };
        let measured = World::new(scene.clone()).run();
        assert_eq!(measured.contended, 0, "{scene:?}");
        assert!(measured.wait(1_000) < 100_000, "{scene:?}: {} us", measured.wait(1_000));
        assert!(measured.by_node.iter().all(|commands| 50 < *commands), "{:?}", measured.by_node);
    }
}
