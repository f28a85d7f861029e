//! An engine over a store, as scripts see it.

use std::sync::Arc;

use bellpunch::audit::Stored;
use bellpunch::script::{Answer, Sending, Unsupported, World};
use bellpunch::store::{Clock, Scan, Store};
use bellpunch::{
    AnyOutcome, CallOptions, DecidedBy, Duration, Engine, EngineConfig, Error, ErrorKind,
    Partition, Timestamp,
};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::cable::{Cable, Down, Faults, ManualClock};

/// Opens one store, the same one each time: first empty, then as it was left.
pub(crate) type Open = Box<dyn FnMut(Arc<dyn Clock>) -> Arc<dyn Store>>;

/// A process that runs an engine. Dropping it kills it: its tasks are gone with their runtime.
struct Node {
    engine: Engine,
    runtime: Runtime,
}

impl Node {
    fn start(store: Arc<dyn Store>, clock: Arc<ManualClock>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let config = EngineConfig {
            shards: 1,
            // Scripts say that clocks agree; a span is longer than 0.
            clock_skew_max: Duration::from_nanos(1),
            // No answer depends on whether a sweep has run, but the versions of records do.
            sweep_every: std::time::Duration::from_secs(86_400),
            ..EngineConfig::default()
        };
        let engine = {
            let _context = runtime.enter();
            Engine::start(store, clock, config)
        };
        Self { engine, runtime }
    }
}

/// One partition of a store, and a node.
pub(crate) struct EngineWorld {
    node: Option<Node>,
    clock: Arc<ManualClock>,
    faults: Arc<Faults>,
    open: Open,
    partition: Partition,
}

impl EngineWorld {
    pub(crate) fn new(open: Open) -> Self {
        let clock = Arc::new(ManualClock::default());
        clock.set(bellpunch::script::START);
        let faults = Arc::new(Faults::new(Arc::clone(&clock)));
        let partition = Partition::new("script").unwrap();
        let mut world = Self { node: None, clock, faults, open, partition };
        world.start();
        world
    }

    fn start(&mut self) {
        let store = (self.open)(Arc::clone(&self.clock) as Arc<dyn Clock>);
        let cable = Cable { store, faults: Arc::clone(&self.faults) };
        self.node = Some(Node::start(Arc::new(cable), Arc::clone(&self.clock)));
    }

    fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    /// Prepares what is to go wrong with a command, and gives the way it is sent.
    fn options(&self, sending: &Sending) -> CallOptions {
        if sending.lost {
            self.faults.lose_next();
        }
        if let Some(until) = sending.stall_until {
            self.faults.stall_until(until);
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
    serde_json::to_value(decided_by).unwrap().as_str().unwrap().to_owned()
}

impl World for EngineWorld {
    fn set_clock(&mut self, now: Timestamp) {
        self.clock.set(now);
    }

    fn send(&mut self, sending: &Sending) -> Result<Answer, Unsupported> {
        let options = self.options(sending);
        let Node { engine, runtime } = self.node();
        let commands = vec![Arc::clone(&sending.command)];
        let outcome = runtime.block_on(engine.send(&self.partition, commands, options));
        // The store's reply was lost, so the engine had to find out; then its own is lost, too.
        Ok(if sending.lost { Answer::code("unknown") } else { answer(outcome) })
    }

    fn send_at_once(&mut self, sendings: &[Sending]) -> Result<Vec<Answer>, Unsupported> {
        let Node { engine, runtime } = self.node();
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
        self.faults.cut(&Down::Yes);
        Ok(())
    }

    fn store_up(&mut self) -> Result<(), Unsupported> {
        self.faults.cut(&Down::No);
        Ok(())
    }

    fn records(&mut self) -> Vec<Stored> {
        // The audit reads beside the cable: it is no part of what the script tells.
        let Node { engine, runtime } = self.node.as_ref().unwrap();
        let mut scan = Scan { kind: None, ..Scan::of(bellpunch::Kind::named(""), 1_000) };
        let mut all = Vec::new();
        loop {
            let Ok(page) = runtime.block_on(engine.store().scan(&self.partition, &scan)) else {
                return Vec::new();
            };
            for (key, versioned) in page.records {
                let stored = Stored::decode(key, versioned.version, &versioned.value.unwrap());
                all.push(stored.expect("what was written is a record"));
            }
            if page.resume.is_none() {
                return all;
            }
            scan.after = page.resume;
        }
    }
}
