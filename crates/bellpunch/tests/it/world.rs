//! An engine over a store, as scripts see it.

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

/// Opens one store, the same one each time: first empty, then as it was left.
pub(crate) type Open = Box<dyn FnMut(Arc<dyn Clock>) -> Arc<dyn Store>>;

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

/// A process that runs an engine. Dropping it kills it: its tasks are gone with their runtime.
struct Node {
    engine: Engine,
    faults: Arc<FaultStore>,
    /// The store without its faults, for the audit.
    store: Arc<dyn Store>,
    runtime: Runtime,
}

impl Node {
    fn start(store: Arc<dyn Store>, clock: Arc<ManualClock>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("the operating system has room for a runtime");
        let config = EngineConfig {
            shards: 1,
            // Scripts say that clocks agree; a span is longer than 0.
            clock_skew_max: Duration::from_nanos(1),
            // No answer depends on whether a sweep has run, but the versions of records do.
            sweep_every: std::time::Duration::from_secs(86_400),
            ..EngineConfig::default()
        };
        let faults = Arc::new(FaultStore::new(Arc::clone(&store)));
        let engine = {
            let _context = runtime.enter();
            Engine::start(Arc::clone(&faults) as Arc<dyn Store>, clock, config)
        };
        Self { engine, faults, store, runtime }
    }
}

/// One partition of a store, and a node.
pub(crate) struct EngineWorld {
    node: Option<Node>,
    clock: Arc<ManualClock>,
    open: Open,
    partition: Partition,
    weather: Weather,
}

impl EngineWorld {
    pub(crate) fn new(open: Open, weather: Weather) -> Self {
        let clock = Arc::new(ManualClock::default());
        clock.set(START);
        let partition = Partition::new("script").expect("a word is a legal name");
        let mut world = Self { node: None, clock, open, partition, weather };
        world.start();
        world
    }

    fn start(&mut self) {
        let store = (self.open)(Arc::clone(&self.clock) as Arc<dyn Clock>);
        self.node = Some(Node::start(store, Arc::clone(&self.clock)));
    }

    fn node(&self) -> &Node {
        self.node.as_ref().expect("a node runs but for the moment of a restart")
    }

    /// Prepares what is to go wrong with a command, and gives the way it is sent.
    fn options(&self, sending: &Sending) -> CallOptions {
        let faults = &self.node().faults;
        if sending.lost {
            faults.plan(Fault::LoseReply);
        } else if let Some(until) = sending.stall_until {
            let clock = Arc::clone(&self.clock);
            faults.stall_next_while(move || clock.set(until));
        } else if faults.planned() == 0 {
            match self.weather {
                Weather::Calm => {}
                Weather::Conflicts => faults.plan(Fault::Conflict),
                Weather::LostReplies => faults.plan(Fault::LoseReply),
                Weather::LostCommits => faults.plan(Fault::LoseCommit),
            }
        }
        CallOptions { key: sending.key.clone(), dry_run: sending.dry_run, ..CallOptions::default() }
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
        let options = self.options(sending);
        let Node { engine, runtime, .. } = self.node();
        let commands = vec![Arc::clone(&sending.command)];
        let outcome = runtime.block_on(engine.send(&self.partition, commands, options));
        // The store's reply was lost, so the engine had to find out; then its own is lost, too.
        Ok(if sending.lost { Answer::code("unknown") } else { answer(outcome) })
    }

    fn send_at_once(&mut self, sendings: &[Sending]) -> Result<Vec<Answer>, Unsupported> {
        let Node { engine, runtime, .. } = self.node();
        let mut calls = JoinSet::new();
        for (index, sending) in sendings.iter().enumerate() {
            let options = self.options(sending);
            let (engine, partition) = (engine.clone(), self.partition.clone());
            let commands = vec![Arc::clone(&sending.command)];
            let call = async move { (index, engine.send(&partition, commands, options).await) };
            calls.spawn_on(call, runtime.handle());
        }
        let mut outcomes = runtime.block_on(calls.join_all());
        outcomes.sort_by_key(|(index, _)| *index);
        Ok(outcomes.into_iter().map(|(_, outcome)| answer(outcome)).collect())
    }

    fn restart(&mut self) -> Result<(), Unsupported> {
        self.node = None;
        self.start();
        Ok(())
    }

    fn store_down(&mut self) -> Result<(), Unsupported> {
        self.node().faults.down();
        Ok(())
    }

    fn store_up(&mut self) -> Result<(), Unsupported> {
        self.node().faults.up();
        Ok(())
    }

    fn records(&mut self) -> Vec<Stored> {
        let Node { store, runtime, .. } = self.node();
        let mut scan = Scan { kind: None, ..Scan::of(Kind::named(""), 1_000) };
        let mut all = Vec::new();
        loop {
            let page = runtime.block_on(store.scan(&self.partition, &scan));
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
