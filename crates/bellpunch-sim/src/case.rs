//! A case: everything that will happen to a world from outside, written down.
//!
//! A seed means nothing once a generator has changed; a case keeps its meaning. So failures are
//! kept as cases, and shrinking takes parts of a case away.
//!
//! Invariant: a case and the program give one trace. `seed` stands for the luck of delays alone.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Nanoseconds of simulated time since the start.
pub type Instant = u64;

/// A microsecond.
pub const MICRO: u64 = 1_000;
/// A millisecond.
pub const MILLI: u64 = 1_000_000;
/// A second.
pub const SECOND: u64 = 1_000_000_000;

/// What the store tells of itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreKind {
    /// One node has it for itself; what is not synced yet is lost in a crash.
    Exclusive,
    /// Nodes share it.
    Shared,
}

/// Whose clock a deadline is compared with.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockKind {
    /// The store's, when it has exclusivity.
    AtExclusivity,
    /// The node's, less the skew.
    Node,
}

/// How the world is built.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// 1 to 4.
    pub nodes: u64,
    /// Who else writes.
    pub store: StoreKind,
    /// Whose clock.
    pub clock: ClockKind,
    /// What is wrong with the store; empty: nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub defect: String,
    /// Commit ids that the store remembers.
    pub ids_max: usize,
    /// The median of a read, in nanoseconds.
    pub read: u64,
    /// The median of a commit, in nanoseconds.
    pub commit: u64,
    /// Commands that wait for one partition.
    pub queue_max: usize,
    /// Commands of one commit.
    pub batch_max: usize,
    /// Conflicts of one command.
    pub retries_max: u32,
    /// Bytes of cache.
    pub cache_max: usize,
    /// How long outcomes are kept, in nanoseconds.
    pub keep: u64,
    /// The configured skew, in nanoseconds.
    pub skew: u64,
    /// How long a call waits, in nanoseconds.
    pub patience: u64,
    /// How often each node sweeps, in nanoseconds; 0: never.
    pub sweep: u64,
    /// When everything is healed.
    pub heal: Instant,
}

/// One command.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// Its name, `quotas.consume`.
    pub cmd: String,
    /// Its content. A text `$tickets:3` stands for an id that was drawn earlier in its partition.
    pub args: Value,
}

/// One intent of a client.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// When.
    pub at: Instant,
    /// Whose.
    pub client: u64,
    /// First sent to this node.
    pub node: u64,
    /// Where it belongs.
    pub partition: String,
    /// What: more than one is a list, all or nothing.
    pub commands: Vec<Asked>,
    /// Its idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Decide and drop.
    #[serde(default)]
    pub dry_run: bool,
    /// A retry goes to the next node.
    #[serde(default)]
    pub elsewhere: bool,
}

/// What can go wrong.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A node's clock is off by `amount`, and right again at the end.
    ClockJump,
    /// A node's clock stands still.
    ClockFreeze,
    /// A node's clock runs too fast or slow by `amount` millionths.
    ClockDrift,
    /// The store's clock is off by `amount`.
    StoreClock,
    /// A node stands still between a decision and what it sends.
    Stall,
    /// A node stands still, and goes on where it was.
    Pause,
    /// A node is dead; it starts with an empty memory at the end.
    Crash,
    /// A node dies when it has sent half of the replies of a batch.
    CrashReplying,
    /// A node is told to stop, and starts again at the end.
    Drain,
    /// A node is cut from its clients.
    CutClients,
    /// A node is cut from the store.
    CutStore,
    /// Of a node, replies of the store are lost.
    CutReplies,
    /// Store calls take a hundred times as long.
    Slow,
    /// Calls of one partition do.
    SlowPartition,
    /// Commits wait for somebody who holds their records.
    Held,
    /// The store refuses before the effect.
    Refuse,
    /// The store asks for fewer requests.
    Throttle,
    /// The store has no room.
    Full,
    /// Commits are applied, and the reply is lost.
    LostReply,
    /// Commits are lost, and nobody can know.
    LostCommit,
    /// Commits land after the node gave up on the reply.
    Late,
    /// Commits arrive twice.
    Twice,
    /// Commits conflict although nothing changed.
    Conflict,
    /// Some commits of a call are refused, others applied.
    PartRefused,
    /// Reads come from a replica that lags behind by `amount` nanoseconds.
    StaleReads,
    /// The records of one read are of different instants.
    TornReads,
    /// Records read as damaged.
    Corrupt,
    /// Records read as of a newer format.
    Newer,
    /// Requests of clients are lost.
    DropRequest,
    /// Replies to clients are lost.
    DropReply,
    /// Requests of clients are late, and overtake each other.
    Delay,
    /// Requests of clients with a key arrive twice.
    Duplicate,
    /// And the second time long after.
    DuplicateLate,
}

/// A fault for a span of time.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Episode {
    /// What.
    pub fault: FaultKind,
    /// Since when.
    pub from: Instant,
    /// Until when.
    pub until: Instant,
    /// At which node, where that means something.
    #[serde(default)]
    pub node: u64,
    /// How often, in thousandths.
    #[serde(default)]
    pub intensity: u64,
    /// How much, in the unit of the fault.
    #[serde(default)]
    pub amount: i64,
}

/// See the [module](self).
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// The luck of delays.
    pub seed: u64,
    /// What made it.
    pub generator: String,
    /// How the world is built.
    pub settings: Settings,
    /// What is asked for, in order of time.
    pub steps: Vec<Step>,
    /// What goes wrong.
    pub faults: Vec<Episode>,
}
