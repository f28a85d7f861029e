//! Bellpunch, called by many at once: each caller asks, waits for the answer, asks again.
//!
//! Invariant: a call counts when its receipt is there, so when it is durable; any error ends the
//! measurement.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use bellpunch::limits::{ConsumeQuota, CreateQuota, ReadQuota, Retention};
use bellpunch::{
    CallOptions, Engine, ErrorKind, IdempotencyKey, Key, Limit, Outcome, Partition, Units,
};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::figures::{Contender, Figure, excess};
use crate::machine;

/// Callers at once, of every contender of a contest that says no other number.
pub(crate) const CALLERS: usize = 64;
/// Callers where a crowd asks.
pub(crate) const CROWD: usize = 256;
/// Quotas that are drawn from where they are many.
pub(crate) const MANY: usize = 10_000;
/// A limit that is never reached.
pub(crate) const FREE: u64 = 1 << 50;
/// Where the limit binds: quotas, units of each, and calls for each unit.
pub(crate) const BOUND_MANY: usize = 200;
pub(crate) const BOUND_UNITS: u64 = 20;
pub(crate) const BOUND_HOT_UNITS: u64 = 2_000;
pub(crate) const BOUND_CALLS: u64 = 3;

/// A quota, where it is.
type Target = (Partition, Key);

/// What each call brings with it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Keys {
    /// Nothing more: a lost reply is resolved by the engine, or told as unknown.
    None,
    /// An idempotency key: its outcome is recorded with the effect.
    Each,
}

/// The quotas that are called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) quotas: usize,
    pub(crate) partitions: usize,
    pub(crate) charges: Retention,
}

impl Spread {
    pub(crate) const HOT: Self = Self { quotas: 1, partitions: 1, charges: Retention::None };
    pub(crate) const MANY: Self = Self { quotas: MANY, partitions: 1, charges: Retention::None };
    pub(crate) const APART: Self = Self { partitions: 100, ..Self::MANY };

    fn targets(self, name: &str) -> Vec<Target> {
        let named = |quota: usize| {
            let partition = format!("{name}-{}", quota % self.partitions);
            (
                Partition::new(partition).expect("a legal name"),
                Key::new(format!("quota-{quota}")).expect("a legal name"),
            )
        };
        (0..self.quotas).map(named).collect()
    }
}

/// Callers of one or several engines on one store.
#[derive(Debug)]
pub(crate) struct Bellpunch {
    name: String,
    runtime: Arc<Runtime>,
    engines: Vec<Engine>,
    spread: Spread,
    targets: Arc<Vec<Target>>,
    keys: Keys,
    /// Of all engines together.
    callers: usize,
    rounds: u64,
    /// Calls that were told `contended`.
    contended: Arc<AtomicI64>,
}

impl Bellpunch {
    /// Makes the quotas. `label` names its partitions, so that contenders may share a store.
    pub(crate) fn new(
        (name, label): (&str, &str),
        (runtime, engines): (&Arc<Runtime>, Vec<Engine>),
        (spread, keys): (Spread, Keys),
    ) -> Self {
        let targets = Arc::new(spread.targets(label));
        let (name, runtime) = (name.to_owned(), Arc::clone(runtime));
        let (callers, rounds, contended) = (CALLERS, 0, Arc::default());
        let made =
            Self { name, runtime, engines, spread, targets, keys, callers, rounds, contended };
        made.make(&made.targets, FREE);
        made
    }

    /// With so many callers at each engine.
    pub(crate) fn with_callers(self, each: usize) -> Self {
        Self { callers: each * self.engines.len(), ..self }
    }

    fn make(&self, targets: &Arc<Vec<Target>>, limit: u64) {
        let limit = Limit::Finite(Units::new(limit).expect("it is within the maximum"));
        let engine = self.engines.first().expect("there is an engine");
        self.runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for caller in 0..CALLERS {
                let (engine, targets) = (engine.clone(), Arc::clone(targets));
                let charges = self.spread.charges;
                tasks.spawn(async move {
                    for (partition, key) in targets.iter().skip(caller).step_by(CALLERS) {
                        let quota = CreateQuota { charges, ..CreateQuota::of(key.clone(), limit) };
                        let made = engine.call(partition, quota, CallOptions::default()).await;
                        assert!(matches!(made, Ok(Outcome::Accepted(_))), "{made:?}");
                    }
                });
            }
            tasks.join_all().await;
        });
    }

    /// Each caller works until told to stop, or until it has made so many calls; gives how long
    /// that took, and the waits of all.
    fn work(&mut self, targets: &Arc<Vec<Target>>, until: Until) -> (Duration, Vec<Call>) {
        self.rounds += 1;
        let stop = Arc::new(AtomicBool::new(false));
        let calls = match until {
            Until::Over(_) => i64::MAX,
            Until::Called(calls) => calls,
        };
        let left = Arc::new(AtomicI64::new(calls));
        let callers = u64::try_from(self.callers).expect("a few");
        self.runtime.block_on(async {
            let begun = Instant::now();
            let mut tasks = JoinSet::new();
            for (caller, engine) in (0..callers).zip(self.engines.iter().cycle()) {
                let seed = self.rounds * callers + caller;
                let caller = Caller {
                    engine: engine.clone(),
                    targets: Arc::clone(targets),
                    keys: self.keys,
                    draw: Draw(seed),
                    contended: Arc::clone(&self.contended),
                };
                tasks.spawn(caller.call(Arc::clone(&stop), Arc::clone(&left)));
            }
            if let Until::Over(span) = until {
                tokio::time::sleep(span).await;
                stop.store(true, Ordering::Relaxed);
            }
            let calls = tasks.join_all().await.concat();
            (begun.elapsed(), calls)
        })
    }
}

#[derive(Clone, Copy, Debug)]
enum Until {
    Over(Duration),
    Called(i64),
}

/// One call: its target, how long it took in microseconds, whether it was accepted.
#[derive(Clone, Copy, Debug)]
struct Call {
    target: usize,
    micros: u64,
    accepted: bool,
}

#[derive(Debug)]
struct Caller {
    engine: Engine,
    targets: Arc<Vec<Target>>,
    keys: Keys,
    draw: Draw,
    contended: Arc<AtomicI64>,
}

impl Caller {
    async fn call(mut self, stop: Arc<AtomicBool>, left: Arc<AtomicI64>) -> Vec<Call> {
        let mut calls = Vec::with_capacity(1 << 14);
        while !stop.load(Ordering::Relaxed) && 0 < left.fetch_sub(1, Ordering::Relaxed) {
            let target = self.draw.below(self.targets.len());
            let idempotency = match self.keys {
                Keys::None => None,
                Keys::Each => Some(self.key()),
            };
            let options = CallOptions { key: idempotency, ..CallOptions::default() };
            let (partition, key) = self.targets.get(target).expect("below their number");
            let command = ConsumeQuota::of(key.clone(), Units::ONE);
            let begun = Instant::now();
            let outcome = self.engine.call(partition, command, options).await;
            let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            let accepted = match outcome {
                Ok(Outcome::Accepted(_)) => true,
                Ok(Outcome::Rejected(_)) => false,
                // Not applied, and told so: it counts as no decision.
                Err(error) if error.kind() == ErrorKind::Contended => {
                    self.contended.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                Err(error) => panic!("a call failed: {error}"),
            };
            calls.push(Call { target, micros, accepted });
        }
        calls
    }

    fn key(&mut self) -> IdempotencyKey {
        IdempotencyKey::new(format!("{:016x}", self.draw.next())).expect("a legal key")
    }
}

impl Contender for Bellpunch {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn round(&mut self, span: Duration) -> Figure {
        let targets = Arc::clone(&self.targets);
        let before: Vec<_> = self.engines.iter().map(Engine::stats).collect();
        let processor = machine::processor_micros();
        let (took, calls) = self.work(&targets, Until::Over(span));
        let processor = machine::processor_micros() - processor;
        assert!(calls.iter().all(|call| call.accepted), "the limit was reached");
        let (mut commits, mut commands) = (0, 0);
        for (engine, before) in self.engines.iter().zip(&before) {
            let after = engine.stats();
            commits += after.batch_commands.count - before.batch_commands.count;
            commands += after.commands_committed - before.commands_committed;
        }
        let nanos = processor * 1000 / commands.max(1);
        eprintln!("  {commands} commands in {commits} commits, {nanos} ns of processor each");
        let mut waits: Vec<u64> = calls.iter().map(|call| call.micros).collect();
        Figure::of(calls.len(), took, &mut waits)
    }

    fn contended(&self) -> i64 {
        self.contended.load(Ordering::Relaxed)
    }

    fn excess(&mut self) -> Option<i64> {
        let hot = self.spread.quotas == 1;
        let (quotas, units) = if hot { (1, BOUND_HOT_UNITS) } else { (BOUND_MANY, BOUND_UNITS) };
        let bound = Spread { quotas, ..self.spread };
        let (first, _) = self.targets.first().expect("there is a target");
        let targets = Arc::new(bound.targets(&format!("bound-{first}")));
        self.make(&targets, units);
        let units = i64::try_from(units).expect("a few");
        let quotas = i64::try_from(quotas).expect("a few");
        let calls = units * quotas * i64::try_from(BOUND_CALLS).expect("a few");
        let (_, calls) = self.work(&targets, Until::Called(calls));
        let mut admitted: BTreeMap<usize, i64> = BTreeMap::new();
        for call in calls {
            *admitted.entry(call.target).or_default() += i64::from(call.accepted);
        }
        let engine = self.engines.first().expect("there is an engine").clone();
        let over = targets.iter().enumerate().map(|(place, (partition, id))| {
            let read = ReadQuota { id: id.clone() };
            let read = engine.call(partition, read, CallOptions::default());
            let Ok(Outcome::Accepted(receipt)) = self.runtime.block_on(read) else {
                panic!("a quota that was made is there")
            };
            let told = admitted.get(&place).copied().unwrap_or_default();
            let used = i64::try_from(receipt.reply.quota.used.get()).expect("it fits");
            assert_eq!(used, told, "what is recorded is what the callers were told");
            told - units
        });
        Some(excess(over))
    }
}

/// A seeded sequence (SplitMix64: Steele, Lea and Flood, OOPSLA 2014).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).expect("it fits").max(1);
        usize::try_from(self.next() % bound).expect("it is below a usize")
    }
}
