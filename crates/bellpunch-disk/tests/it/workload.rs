//! Random commits over a few records, and the memory backend as the model of what they do.

use std::sync::Arc;

use bellpunch_disk::DiskConfig;
use bellpunch_store::kit::{KitClock, block_on};
use bellpunch_store::{
    Commit, CommitId, CommitResult, Kind, MemoryConfig, MemoryStore, Partition, Precondition,
    RecordId, RecordKey, Scan, Store, Timestamp, Versioned, Write, WriteValue,
};

static KINDS: [Kind; 2] = [Kind::new("quotas"), Kind::new("tickets")];
const PARTITIONS: [&str; 2] = ["acme", "bell"];
const IDS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Segments of a few commits, compacted as often as can be.
pub(crate) fn small() -> DiskConfig {
    DiskConfig { segment_bytes: 1_024, slack_bytes: 1_024, ..DiskConfig::new("data") }
}

/// The seed of this run; `BELLPUNCH_SEED` repeats one.
#[expect(clippy::disallowed_methods, reason = "a random test takes its seed back")]
pub(crate) fn seed() -> u64 {
    let given = std::env::var("BELLPUNCH_SEED").ok().map(|seed| seed.parse().unwrap());
    given.unwrap_or_else(|| {
        let marker = Box::new(0_u8);
        // Where the allocator and the linker put things differs from run to run.
        let place = format!("{:p}{}", &raw const *marker, std::process::id());
        place.bytes().fold(1_469_598_103_934_665_603, |seed: u64, byte| {
            (seed ^ u64::from(byte)).wrapping_mul(1_099_511_628_211)
        })
    })
}

pub(crate) fn draw(seed: &mut u64, below: u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed % below
}

/// All that can be seen of a store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Dump {
    records: Vec<Versioned>,
    pages: Vec<Vec<(RecordKey, Versioned)>>,
}

fn universe() -> Vec<RecordKey> {
    let keys = KINDS.iter().flat_map(|kind| IDS.iter().map(move |id| (kind, id)));
    keys.map(|(kind, id)| RecordKey { kind: kind.clone(), id: RecordId::stored(id) }).collect()
}

pub(crate) fn dump(store: &dyn Store) -> Dump {
    let (mut records, mut pages) = (Vec::new(), Vec::new());
    for partition in PARTITIONS.map(|name| Partition::new(name).unwrap()) {
        records.extend(block_on(store.read(&partition, &universe())).unwrap());
        let mut scan = Scan::of(KINDS[0].clone(), 100);
        scan.kind = None;
        pages.push(block_on(store.scan(&partition, &scan)).unwrap().records);
    }
    Dump { records, pages }
}

/// What decision times the writes have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Times {
    /// All the same.
    One,
    /// They come and go.
    Any,
}

/// Makes commits, and knows every state that they lead through.
#[derive(Debug)]
pub(crate) struct Workload {
    seed: u64,
    times: Times,
    clock: Arc<KitClock>,
    model: MemoryStore,
    commits: Vec<Commit>,
    /// The state after each commit taken, the first before any.
    pub(crate) states: Vec<Dump>,
}

impl Workload {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(seed, Times::Any)
    }

    /// One whose clock stands.
    pub(crate) fn at_one_time(seed: u64) -> Self {
        Self::with(seed, Times::One)
    }

    fn with(seed: u64, times: Times) -> Self {
        let clock = Arc::new(KitClock::new());
        let shared: Arc<KitClock> = Arc::clone(&clock);
        let model = MemoryStore::new(shared, MemoryConfig::default());
        let states = vec![dump(&model)];
        Self { seed: seed | 1, times, clock, model, commits: Vec::new(), states }
    }

    /// As it was when it had reached this state; other commits follow.
    pub(crate) fn resumed(&self, reached: usize) -> Self {
        let mut resumed = Self::with(self.seed, self.times);
        for commit in &self.commits[..reached] {
            resumed.apply(commit);
        }
        assert_eq!(resumed.states, self.states[..=reached]);
        resumed
    }

    pub(crate) fn clock(&self) -> Arc<KitClock> {
        Arc::clone(&self.clock)
    }

    pub(crate) fn draw(&mut self, below: u64) -> u64 {
        draw(&mut self.seed, below)
    }

    /// One random commit on the state as the model has it.
    pub(crate) fn commit(&mut self) -> Commit {
        let id = (u128::from(self.draw(u64::MAX)) << 64) | u128::from(self.draw(u64::MAX));
        let partition = PARTITIONS[usize::try_from(self.draw(2)).unwrap()];
        let partition = Partition::new(partition).unwrap();
        let now = self.clock.time();
        let mut commit = Commit {
            id: CommitId::new(id),
            partition,
            now,
            deadline: None,
            preconditions: Vec::new(),
            writes: Vec::new(),
        };
        for key in universe() {
            if self.draw(4) != 0 {
                continue;
            }
            let found = block_on(self.model.read(&commit.partition, std::slice::from_ref(&key)));
            let before = found.unwrap()[0].version;
            commit.preconditions.push(Precondition { key: key.clone(), version: before });
            let version = before.plus(1 + self.draw(3));
            let length = usize::try_from(self.draw(60)).unwrap();
            let fill = u8::try_from(self.draw(256)).unwrap();
            let value = match self.draw(8) {
                0 => WriteValue::Purge,
                1 => WriteValue::Delete,
                _ => WriteValue::Put(vec![fill; length].into()),
            };
            let sweep_at = (self.draw(2) == 0).then_some(now);
            let at = match self.times {
                Times::One => now,
                Times::Any => {
                    Timestamp::from_nanos(now.nanos() + u128::from(self.draw(1_000))).unwrap()
                }
            };
            commit.writes.push(Write { key, version, at, sweep_at, value });
        }
        commit
    }

    /// Does the same to the model, and notes the state.
    pub(crate) fn apply(&mut self, commit: &Commit) {
        let results = block_on(self.model.commit(vec![Arc::new(commit.clone())]));
        assert!(matches!(results[..], [CommitResult::Committed { .. }]), "{results:?}");
        self.states.push(dump(&self.model));
        self.commits.push(commit.clone());
    }

    /// Goes on with other commits from here.
    pub(crate) fn reseed(&mut self, seed: u64) {
        self.seed = seed | 1;
    }

    /// The commits of one call, done to the model.
    pub(crate) fn call(&mut self) -> Vec<Arc<Commit>> {
        let mut commits = Vec::new();
        for _ in 0..=self.draw(3) {
            let commit = self.commit();
            self.apply(&commit);
            commits.push(Arc::new(commit));
        }
        commits
    }

    /// Sends one call of a few commits, and does the same to the model. Gives how many states were
    /// reached by then.
    pub(crate) fn step(&mut self, store: &dyn Store) -> usize {
        let commits = self.call();
        for result in block_on(store.commit(commits)) {
            assert!(matches!(result, CommitResult::Committed { .. }), "{result:?}");
        }
        self.states.len()
    }
}
