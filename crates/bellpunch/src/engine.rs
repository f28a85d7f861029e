//! The engine: takes commands, gives outcomes.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bellpunch_core::{
    AnyCommand, Command, Fingerprint, IdempotencyKey, Journaling, Key, Partition, Reply, Request,
    Timestamp,
};
use bellpunch_store::{Clock, Failure, FailureKind, Guarantee, Page, PartitionPage, Scan, Store};
use sha2::{Digest, Sha256};

use crate::driver::{self, Answer, Message, lock};
use crate::runtime::{Mutex, mpsc, oneshot, timeout};
use crate::{
    AnyOutcome, AnyReceipt, CallOptions, EngineConfig, EngineStats, Error, ErrorKind, Outcome,
    Receipt,
};

/// How long an executor may take to say what became of a command whose caller gave up.
const LAST_WORD: std::time::Duration = std::time::Duration::from_millis(500);

/// Takes commands, gives outcomes. Cheap to clone; stops when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Engine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    config: EngineConfig,
    shards: Vec<Shard>,
    next_caller: AtomicU64,
    draining: AtomicBool,
}

#[derive(Debug)]
struct Shard {
    inbox: mpsc::Sender<Message>,
    stats: Arc<Mutex<EngineStats>>,
}

/// Numbers drawn from the operating system at once: a call of it for each would cost as much as a
/// decision.
const DRAWN_AT_ONCE: usize = 64;

thread_local! {
    static DRAWN: RefCell<Vec<u128>> = const { RefCell::new(Vec::new()) };
}

/// 128 bits from the operating system, each told once.
fn random() -> u128 {
    DRAWN.with_borrow_mut(|drawn| {
        if drawn.is_empty() {
            let mut bytes = [0; 16 * DRAWN_AT_ONCE];
            getrandom::fill(&mut bytes).expect("the operating system has random bits");
            let (numbers, _) = bytes.as_chunks();
            drawn.extend(numbers.iter().copied().map(u128::from_le_bytes));
        }
        drawn.pop().expect("it was just filled")
    })
}

/// The SHA-256 of what is asked for: partition, and each command's name and content. An
/// idempotency key is bound to it.
///
/// ```
/// use bellpunch::{Partition, fingerprint};
/// # fn main() -> Result<(), bellpunch::ValueError> {
/// let (a, b) = (Partition::new("a")?, Partition::new("b")?);
/// assert_ne!(fingerprint(&a, &[]), fingerprint(&b, &[]));
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn fingerprint(partition: &Partition, commands: &[Arc<dyn AnyCommand>]) -> Fingerprint {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(bytes);
    };
    part(partition.as_str().as_bytes());
    for command in commands {
        part(command.name().as_bytes());
        if bellpunch_core::planted!("fingerprint_shallow") {
            continue;
        }
        part(&command.content());
    }
    Fingerprint::new(hash.finalize().into())
}

impl Engine {
    /// Starts an engine on a store, with its shards and its sweeper. Needs a tokio runtime with
    /// time.
    pub fn start(store: Arc<dyn Store>, clock: Arc<dyn Clock>, config: EngineConfig) -> Self {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let count = if config.shards == 0 { cores() } else { config.shards };
        let mut per_shard = config.clone();
        per_shard.cache_bytes_max = config.cache_bytes_max.div_ceil(count);
        let shards = (0..count)
            .map(|_| {
                let seed = u64::try_from(random() >> 64).expect("64 bits are left");
                let (store, clock) = (Arc::clone(&store), Arc::clone(&clock));
                let (inbox, stats) = driver::start(store, clock, (per_shard.clone(), seed));
                Shard { inbox, stats }
            })
            .collect();
        let inner = Arc::new(Inner {
            store,
            clock,
            config,
            shards,
            next_caller: AtomicU64::new(0),
            draining: AtomicBool::new(false),
        });
        crate::sweep::start(&inner.config, Sweeping(Arc::downgrade(&inner)));
        Self(inner)
    }

    /// Sends one command and waits for its outcome.
    ///
    /// # Errors
    /// If something broke; see [`ErrorKind`].
    pub async fn call<C: Command>(
        &self,
        partition: &Partition,
        command: C,
        options: CallOptions,
    ) -> Result<Outcome<C::Reply>, Error> {
        let outcome = self.send(partition, vec![Arc::new(command)], options).await?;
        let mut receipt = match outcome {
            AnyOutcome::Rejected(refusal) => return Ok(Outcome::Rejected(refusal)),
            AnyOutcome::Accepted(receipt) => receipt,
        };
        let reply = match receipt.replies.pop().expect("one command has one reply") {
            Reply::Fresh(reply) => {
                *reply.into_any().downcast().expect("the reply is of its command's type")
            }
            recorded @ (Reply::Recorded(_) | _) => serde_json::from_value(recorded.to_json())
                .map_err(|cause| {
                    Error::new(
                        ErrorKind::Internal,
                        format!("a recorded reply cannot be read: {cause}"),
                    )
                })?,
        };
        let AnyReceipt { at, replayed, decided_by, versions, as_of, .. } = receipt;
        let AnyReceipt { best_effort, durable, mut seqs, .. } = receipt;
        let seq = seqs.pop().flatten();
        let receipt =
            Receipt { at, replayed, decided_by, best_effort, durable, versions, as_of, seq, reply };
        Ok(Outcome::Accepted(receipt))
    }

    /// Sends commands, all or nothing, decided in order, and waits for their outcome.
    ///
    /// # Errors
    /// If something broke; see [`ErrorKind`].
    pub async fn send(
        &self,
        partition: &Partition,
        commands: Vec<Arc<dyn AnyCommand>>,
        options: CallOptions,
    ) -> Result<AnyOutcome, Error> {
        let key = options.key.map(|key| {
            let fingerprint = fingerprint(partition, &commands);
            (key, fingerprint)
        });
        let request = self.request(partition, commands, (key, options.dry_run));
        let caller = self.0.next_caller.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        let inbox = &self.shard(partition).inbox;
        let message = Message::Send {
            partition: partition.clone(),
            request: Box::new(request),
            caller,
            reply,
        };
        if let Err(cause) = inbox.try_send(message) {
            return Err(match cause {
                mpsc::error::TrySendError::Full(_) => {
                    Error::new(ErrorKind::Overloaded, "this shard's queue is full")
                }
                mpsc::error::TrySendError::Closed(_) => {
                    Error::new(ErrorKind::Draining, "this node is stopping")
                }
            });
        }
        let patience = options.timeout.unwrap_or(self.0.config.timeout);
        let answered = answered(patience, (inbox, partition, caller), answer).await;
        answered.map(|outcome| self.marked(outcome))
    }

    /// Says on what kind of store it was decided.
    fn marked(&self, mut outcome: AnyOutcome) -> AnyOutcome {
        let properties = self.0.store.properties();
        let (best_effort, durable) = match &mut outcome {
            AnyOutcome::Accepted(receipt) => (&mut receipt.best_effort, &mut receipt.durable),
            AnyOutcome::Rejected(refusal) => (&mut refusal.best_effort, &mut refusal.durable),
        };
        *best_effort = properties.guarantee == Guarantee::BestEffort;
        *durable = *durable && properties.risk.is_none();
        outcome
    }

    fn request(
        &self,
        partition: &Partition,
        commands: Vec<Arc<dyn AnyCommand>>,
        (key, dry_run): (Option<(IdempotencyKey, Fingerprint)>, bool),
    ) -> Request {
        let entropy = commands.iter().map(|_| random()).collect();
        let config = &self.0.config;
        let from_start = config.journal.contains(partition);
        let journaling = if from_start { Journaling::FromStart } else { Journaling::Begun };
        Request { commands, entropy, key, keep: config.keep_outcomes, dry_run, journaling }
    }

    /// The shard of a partition (FNV-1a: stable, and spread well enough over a few).
    fn shard(&self, partition: &Partition) -> &Shard {
        let hash = partition.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let count = u64::try_from(self.0.shards.len()).expect("a few shards");
        let place = hash.checked_rem(count).expect("there is a shard");
        let place = usize::try_from(place).expect("below the number of shards");
        self.0.shards.get(place).expect("below the number of shards")
    }

    /// A page of records as stored, for lists: read each one by a command to see it as of now.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn scan(&self, partition: &Partition, scan: &Scan) -> Result<Page, Error> {
        self.0.store.scan(partition, scan).await.map_err(|failure| store_error(&failure))
    }

    /// A page of partition names.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn partitions(
        &self,
        after: Option<&Partition>,
        limit: usize,
    ) -> Result<PartitionPage, Error> {
        self.0.store.partitions(after, limit).await.map_err(|failure| store_error(&failure))
    }

    /// The time now, as decisions would see it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// An id of 128 random bits, for a door that makes one.
    #[must_use]
    pub fn fresh_id(&self) -> Key {
        Key::new(format!("{:032x}", random())).expect("hex digits are a legal name")
    }

    /// Whether commands are taken, and the store answers.
    ///
    /// # Errors
    /// `Draining`, also if a shard has ended by a bug, or `StoreUnavailable` with what the store
    /// says.
    pub async fn ready(&self) -> Result<(), Error> {
        if self.0.draining.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Draining, "this node is stopping"));
        }
        // Its partitions answer nobody any more, however well the others do.
        if self.0.shards.iter().any(|shard| shard.inbox.is_closed()) {
            return Err(Error::new(
                ErrorKind::Draining,
                "a shard has ended: start this node again",
            ));
        }
        self.partitions(None, 1).await.map(drop)
    }

    /// Counts since the start, over all shards.
    #[must_use]
    pub fn stats(&self) -> EngineStats {
        let mut sum = EngineStats::default();
        for shard in &self.0.shards {
            sum.add(&lock(&shard.stats));
        }
        sum
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.0.store
    }

    /// Takes no more commands, answers all that were taken, and returns when that is done.
    pub async fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
        let mut ends = Vec::new();
        for shard in &self.0.shards {
            let (done, end) = oneshot::channel();
            if shard.inbox.send(Message::Drain(done)).await.is_ok() {
                ends.push(end);
            }
        }
        for end in ends {
            // A shard that is gone has nothing left to answer.
            let _ = end.await;
        }
    }
}

/// The engine as its sweeper holds it: not alive because of it.
#[derive(Debug)]
pub(crate) struct Sweeping(std::sync::Weak<Inner>);

impl Sweeping {
    pub(crate) fn engine(&self) -> Option<Engine> {
        self.0.upgrade().filter(|inner| !inner.draining.load(Ordering::Relaxed)).map(Engine)
    }
}

/// Waits for an answer, but not longer than asked.
async fn answered(
    patience: std::time::Duration,
    (inbox, partition, caller): (&mpsc::Sender<Message>, &Partition, u64),
    mut answer: oneshot::Receiver<Answer>,
) -> Answer {
    if let Ok(answer) = timeout(patience, &mut answer).await {
        return answer.unwrap_or_else(|_| Err(lost()));
    }
    // What no commit carries yet is taken back; of the rest nobody can tell in time.
    let _ = inbox.try_send(Message::GaveUp { partition: partition.clone(), caller });
    let word: Result<Result<Answer, _>, _> = timeout(LAST_WORD, answer).await;
    word.unwrap_or_else(|_| Ok(Err(lost()))).unwrap_or_else(|_| Err(lost()))
}

fn lost() -> Error {
    Error::new(ErrorKind::Unknown, "the outcome was not known in time")
}

fn store_error(failure: &Failure) -> Error {
    let kind = match failure.kind() {
        FailureKind::Corrupt => ErrorKind::Internal,
        FailureKind::Unavailable
        | FailureKind::Full
        | FailureKind::Throttled
        | FailureKind::TooLarge
        | _ => ErrorKind::StoreUnavailable,
    };
    Error::new(kind, failure.to_string())
}

#[cfg(test)]
mod tests;
