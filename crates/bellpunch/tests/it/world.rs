//! An engine over a store, as scripts see it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bellpunch::audit::Stored;
use bellpunch::script::{Answer, START, Sending, Unsupported, World};
use bellpunch::store::fault::{Fault, FaultStore};
use bellpunch::store::{Clock, Scan, Store};
use bellpunch::{
    AnyOutcome, CallOptions, DecidedBy, Duration, Engine, EngineConfig, Error, ErrorKind, Kind,
    Partition, Timestamp,
};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Opens a store, the same one each time: first empty, then as it was left.
pub(crate) type Open = dyn FnMut(Arc<dyn Clock>) -> Arc<dyn Store>;

/// A store, as scripts need it.
pub(crate) struct Backend {
    /// The way to it.
    pub(crate) open: Box<Open>,
    pub(crate) replies: Replies,
}

/// How a store replies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Replies {
    /// From memory. Then timers are all that a node ever waits for, and are not waited for.
    AtOnce,
    /// From another thread or machine.
    Later,
}

/// A clock that stands where it was set.
#[derive(Debug, Default)]
struct ManualClock(AtomicU64);

impl ManualClock {
    fn set(&self, now: Timestamp) {
        let nanos = u64::try_from(now.nanos()).expect("scripts end before 2554");
        self.0.store(nanos, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.load(Ordering::SeqCst).into()).expect("before 9999")
    }
}

/// What goes wrong beneath every command that says nothing else. No answer may depend on it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Weather {
    /// Nothing.
    Calm,
    /// Somebody else was first, once.
    Conflicts,
    /// The store applied the commit, and its reply was lost.
    LostReplies,
    /// The commit was lost, and nobody can know.
    LostCommits,
}

/// How many nodes share the store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Nodes {
    /// It has the store for itself.
    One,
    /// Each command goes to the one that did not have the one before.
    Two,
}

/// An engine, and what is between it and the store.
struct Node {
    engine: Engine,
    faults: Arc<FaultStore>,
}

impl Node {
    fn start(store: &Arc<dyn Store>, clock: &Arc<ManualClock>) -> Self {
        let config = EngineConfig {
            shards: 1,
            // Scripts say that clocks agree; a span is longer than 0.
            clock_skew_max: Duration::from_nanos(1),
            // No answer depends on whether a sweep has run, but the versions of records do.
            sweep_every: std::time::Duration::from_secs(86_400),
            // No store is killed here, whatever it might lose then.
            accept_risk: store.properties().risk,
            ..EngineConfig::default()
        };
        let faults = Arc::new(FaultStore::new(Arc::clone(store)));
        let store = Arc::clone(&faults) as Arc<dyn Store>;
        let clock = Arc::clone(clock) as Arc<dyn Clock>;
        Self { engine: Engine::start(store, clock, config), faults }
    }
}

/// All nodes of a store. Dropping it kills them: their tasks are gone with their runtime.
struct Cluster {
    /// The next command goes to the first.
    nodes: VecDeque<Node>,
    /// The store without its faults, for the audit.
    store: Arc<dyn Store>,
    runtime: Runtime,
}

/// One partition of a store, and nodes.
pub(crate) struct EngineWorld {
    /// `None` for the moment of a restart only.
    cluster: Option<Cluster>,
    clock: Arc<ManualClock>,
    backend: Backend,
    partition: Partition,
    nodes: Nodes,
    weather: Weather,
}

impl EngineWorld {
    pub(crate) fn new(backend: Backend, nodes: Nodes, weather: Weather) -> Self {
        let clock = Arc::new(ManualClock::default());
        clock.set(START);
        let partition = Partition::new("script").expect("a word is a legal name");
        let mut world = Self { cluster: None, clock, backend, partition, nodes, weather };
        world.start();
        world
    }

    fn start(&mut self) {
        let store = (self.backend.open)(Arc::clone(&self.clock) as Arc<dyn Clock>);
        let count = match self.nodes {
            Nodes::One => 1,
            Nodes::Two => 2,
        };
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(self.backend.replies == Replies::AtOnce);
        let runtime = runtime.build();
        let runtime = runtime.expect("the operating system has room for a runtime");
        let nodes = {
            let _context = runtime.enter();
            let start = || Node::start(&store, &self.clock);
            std::iter::repeat_with(start).take(count).collect()
        };
        self.cluster = Some(Cluster { nodes, store, runtime });
    }

    fn cluster(&mut self) -> &mut Cluster {
        self.cluster.as_mut().expect("nodes run but for the moment of a restart")
    }

    /// Begins to send a command, with what is to go wrong with it.
    fn call(
        &mut self,
        sending: &Sending,
    ) -> impl Future<Output = Result<AnyOutcome, Error>> + Send + 'static {
        let (weather, clock) = (self.weather, Arc::clone(&self.clock));
        let partition = self.partition.clone();
        let nodes = &mut self.cluster().nodes;
        nodes.rotate_left(1);
        let Node { engine, faults } = nodes.front().expect("there is at least one");
        if sending.lost {
            faults.plan(Fault::LoseReply);
        } else if let Some(until) = sending.stall_until {
            faults.stall_next_while(move || clock.set(until));
        } else if faults.planned() == 0 {
            match weather {
                Weather::Calm => {}
                Weather::Conflicts => faults.plan(Fault::Conflict),
                Weather::LostReplies => faults.plan(Fault::LoseReply),
                Weather::LostCommits => faults.plan(Fault::LoseCommit),
            }
        }
        let engine = engine.clone();
        let mut commands = vec![Arc::clone(&sending.command)];
        commands.extend(sending.rest.iter().cloned());
        let (key, dry_run) = (sending.key.clone(), sending.dry_run);
        let options = CallOptions { key, dry_run, ..CallOptions::default() };
        async move { engine.send(&partition, commands, options).await }
    }

    fn each_node(&mut self, act: fn(&FaultStore)) -> Result<(), Unsupported> {
        if self.nodes != Nodes::One {
            // What a node answers then is its own: it depends on what it has in memory.
            return Err(Unsupported("memory that nodes share"));
        }
        self.cluster().nodes.iter().for_each(|node| act(&node.faults));
        Ok(())
    }
}

fn answer(outcome: Result<AnyOutcome, Error>) -> Answer {
    match outcome {
        Ok(AnyOutcome::Accepted(mut receipt)) => Answer {
            json: receipt.replies.pop().map_or(Value::Null, |reply| reply.to_json()),
            at: Some(receipt.at),
            replayed: receipt.replayed,
            dry_run: receipt.dry_run,
            decided_by: decided_by(receipt.decided_by),
            versions: receipt.versions,
            ..Answer::code("ok")
        },
        Ok(AnyOutcome::Rejected(refusal)) => Answer {
            json: Value::Object(refusal.rejection.data),
            at: Some(refusal.at),
            decided_by: decided_by(refusal.decided_by),
            ..Answer::code(refusal.rejection.code)
        },
        Err(error) if error.kind() == ErrorKind::Unknown => Answer::code("unknown"),
        Err(error) => {
            let json = Value::String(error.to_string());
            Answer { json, ..Answer::code(error.kind().code()) }
        }
    }
}

fn decided_by(decided_by: DecidedBy) -> String {
    let word = serde_json::to_value(decided_by).ok();
    word.and_then(|word| word.as_str().map(str::to_owned)).expect("it is one word")
}

impl World for EngineWorld {
    fn set_clock(&mut self, now: Timestamp) {
        self.clock.set(now);
    }

    fn send(&mut self, sending: &Sending) -> Result<Answer, Unsupported> {
        let call = self.call(sending);
        let outcome = self.cluster().runtime.block_on(call);
        // The store's reply was lost, so the engine had to find out; then its own is lost, too.
        Ok(if sending.lost { Answer::code("unknown") } else { answer(outcome) })
    }

    fn send_at_once(&mut self, sendings: &[Sending]) -> Result<Vec<Answer>, Unsupported> {
        let mut calls = JoinSet::new();
        for (index, sending) in sendings.iter().enumerate() {
            let call = self.call(sending);
            let call = async move { (index, call.await) };
            calls.spawn_on(call, self.cluster().runtime.handle());
        }
        let mut outcomes = self.cluster().runtime.block_on(calls.join_all());
        outcomes.sort_by_key(|(index, _)| *index);
        Ok(outcomes.into_iter().map(|(_, outcome)| answer(outcome)).collect())
    }

    fn restart(&mut self) -> Result<(), Unsupported> {
        self.cluster = None;
        self.start();
        Ok(())
    }

    fn store_down(&mut self) -> Result<(), Unsupported> {
        self.each_node(FaultStore::down)
    }

    fn store_up(&mut self) -> Result<(), Unsupported> {
        self.each_node(FaultStore::up)
    }

    fn records(&mut self) -> Vec<Stored> {
        let partition = self.partition.clone();
        let Cluster { store, runtime, .. } = self.cluster();
        let mut scan = Scan { kind: None, ..Scan::of(Kind::named(""), 1_000) };
        let mut all = Vec::new();
        loop {
            let page = runtime.block_on(store.scan(&partition, &scan));
            let page = page.expect("this way to the store has no faults");
            for (key, versioned) in page.records {
                let bytes = versioned.value.expect("tombstones are not shown");
                let stored = Stored::decode(key, versioned.version, &bytes);
                all.push(stored.expect("what was written is a record"));
            }
            if page.resume.is_none() {
                return all;
            }
            scan.after = page.resume;
        }
    }
}
