//! The self-test of a store that others write too: a short look, at the start of each node, at
//! whether it is what its [`Properties`](crate::Properties) say.
//!
//! Invariant: what it makes is in a partition of its own, [`PARTITION`], under ids that nobody else
//! draws, and is purged at its end; what a probe left that ended half-way is purged by a later one.
//! So any number of nodes may start at once, and nothing grows but the version of one floor.
//!
//! Why beside the conformance kit: the kit is run by who builds a backend, on a store of the test's
//! own. This looks at the very store that is about to be trusted: behind a proxy that splits reads
//! from writes, restored from the wrong image, or configured to forget. It sees the lies that
//! show without holding a clock or cutting power; that it sees none is no proof.
#![expect(clippy::wildcard_enum_match_arm, reason = "any other answer is a lie, and is shown")]

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use bellpunch_core::{Duration, Kind, Partition, RecordId, RecordKey, Timestamp, Version};

use crate::{
    BoxFuture, Commit, CommitId, CommitResult, Failure, FailureKind, Guarantee, Precondition,
    Resolution, Scan, Show, Store, StoreClock, Versioned, Write, WriteValue,
};

/// The partition of the probe: nobody's data. Copies leave it out.
pub const PARTITION: &str = "_probe";

const KIND: Kind = Kind::new("probes");
/// How often what another probe may have disturbed is begun again.
const TRIES_MAX: usize = 64;
/// How often a commit whose reply was lost is sent.
const SENDS_MAX: usize = 5;
/// Writers of one record at once.
const WRITERS: u64 = 8;
/// How often they meet.
const ROUNDS: u64 = 4;
/// Records of a page, and of other probes' leftovers that are purged.
const PAGE: usize = 64;
/// Between two ids of commits: far, so that seeds that are near each other do not meet.
const STEP: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
/// When what was left by a probe may be purged by another.
const LEFT_AFTER: Duration = Duration::from_secs(600);

/// What a store did that it says it does not do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lie {
    claim: &'static str,
    seen: String,
}

impl Lie {
    /// What should have held.
    #[must_use]
    pub const fn claim(&self) -> &'static str {
        self.claim
    }
}

impl fmt::Display for Lie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { claim, seen } = self;
        write!(f, "the store does not keep what it promises: {claim}; seen: {seen}")
    }
}

/// Why a probe did not end well.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ProbeError {
    /// The store is not what it says. It must not be used.
    Lie(Lie),
    /// The store could not be asked.
    Failed(Failure),
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lie(lie) => lie.fmt(f),
            Self::Failed(failure) => failure.fmt(f),
        }
    }
}

impl std::error::Error for ProbeError {}

impl From<Failure> for ProbeError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

type Probed<T> = Result<T, ProbeError>;

/// Looks whether a store keeps what it promises: two creates of one record, a stale version, a
/// commit sent twice, a deadline in the past, many writers of one record. `seed` is random bits:
/// no two probes may share them.
///
/// A store that says itself that it is not atomic promises nothing that is looked at here.
///
/// ```
/// use std::sync::Arc;
/// use bellpunch_store::kit::{KitClock, block_on};
/// use bellpunch_store::probe::probe;
/// use bellpunch_store::{MemoryConfig, MemoryStore};
///
/// let store = MemoryStore::shared(Arc::new(KitClock::new()), MemoryConfig::default());
/// assert_eq!(block_on(probe(&store, 0x5eed)), Ok(()));
/// ```
///
/// # Errors
/// If the store lies, or fails.
pub async fn probe(store: &dyn Store, seed: u128) -> Result<(), ProbeError> {
    if store.properties().guarantee == Guarantee::BestEffort {
        return Ok(());
    }
    let partition = Partition::new(PARTITION).expect("the name is legal");
    let mut probe = Probe { store, partition, seed, drawn: 0, at: Timestamp::EPOCH, due: None };
    let found = probe.claims().await;
    let purged = probe.purge(None).await;
    found.and(purged)
}

struct Probe<'a> {
    store: &'a dyn Store,
    partition: Partition,
    seed: u128,
    /// Ids of commits so far.
    drawn: u128,
    /// The latest time seen.
    at: Timestamp,
    /// When what is written here may be purged by others, once the store has told its time.
    due: Option<Timestamp>,
}

fn lie<T>(claim: &'static str, seen: impl fmt::Debug) -> Probed<T> {
    Err(ProbeError::Lie(Lie { claim, seen: format!("{seen:?}") }))
}

/// A record in the form that all have, so that whoever walks over a store can read it.
fn value(number: u64) -> WriteValue {
    let text = format!("{{\"format\":1,\"record\":{{\"probe\":{number}}}}}");
    WriteValue::Put(text.into_bytes().into())
}

/// Whether a record is at this version and has this content; a store of JSON may add blanks.
fn is(found: &Versioned, version: Version, content: &WriteValue) -> bool {
    let WriteValue::Put(content) = content else { return false };
    let bytes = found.value.iter().flat_map(|value| value.iter());
    let bytes = bytes.copied().filter(|byte| !byte.is_ascii_whitespace());
    found.version == version && bytes.eq(content.iter().copied())
}

/// The version before one that was written.
const fn before(version: Version) -> Version {
    Version::new(version.get().saturating_sub(1))
}

impl Probe<'_> {
    async fn claims(&mut self) -> Probed<()> {
        if self.store.properties().clock != StoreClock::Node {
            self.deadline().await?;
        }
        let first = self.key("first");
        let version = self.create(&first).await?;
        self.whole(&first, version).await?;
        self.stale(&first, version).await?;
        let version = self.twice(&first, version).await?;
        let version = self.race(&first, version).await?;
        self.ahead(&first, version).await?;
        self.pages(&first).await?;
        self.removed(&first, version).await
    }

    fn key(&self, name: &str) -> RecordKey {
        RecordKey { kind: KIND, id: RecordId::stored(&format!("{:032x}-{name}", self.seed)) }
    }

    fn commit(&mut self) -> Commit {
        self.drawn = self.drawn.wrapping_add(1);
        let id = CommitId::new(self.seed.wrapping_add(self.drawn.wrapping_mul(STEP)));
        let (partition, now) = (self.partition.clone(), self.at);
        Commit { id, partition, now, deadline: None, preconditions: vec![], writes: vec![] }
    }

    /// A commit that expects a version and writes the one after.
    fn write(&mut self, key: &RecordKey, version: Version, value: WriteValue) -> Commit {
        let at = self.at;
        let sweep_at = self.due.filter(|_| value != WriteValue::Purge);
        let mut commit = self.commit();
        commit.preconditions.push(Precondition { key: key.clone(), version });
        let version = version.plus(1);
        commit.writes.push(Write { key: key.clone(), version, at, sweep_at, value });
        commit
    }

    async fn read(&mut self, key: &RecordKey) -> Probed<Versioned> {
        let found = self.store.read(&self.partition, std::slice::from_ref(key)).await?.pop();
        let Some(found) = found else { return lie("each record asked for is answered", "none") };
        self.at = self.at.max(found.at);
        Ok(found)
    }

    /// Sends a commit until it is known what came of it.
    async fn send(&self, commit: Commit) -> Probed<CommitResult> {
        let commit = Arc::new(commit);
        for _ in 0..SENDS_MAX {
            match self.store.commit(vec![Arc::clone(&commit)]).await.pop() {
                Some(CommitResult::Unknown) => {}
                Some(CommitResult::Failed(failure)) => return Err(failure.into()),
                Some(result) => return Ok(result),
                None => return lie("each commit has a result", "none"),
            }
        }
        let message = "the replies of the probe's commits were lost; try again";
        Err(Failure::new(FailureKind::Unavailable, message).into())
    }

    async fn committed(&self, commit: Commit, claim: &'static str) -> Probed<()> {
        match self.send(commit).await? {
            CommitResult::Committed { .. } => Ok(()),
            other => lie(claim, other),
        }
    }

    /// Asserts that a commit is refused because the record is at this version, and not changed.
    async fn refused(
        &mut self,
        commit: Commit,
        (key, version): (&RecordKey, Version),
        claim: &'static str,
    ) -> Probed<()> {
        let result = self.send(commit).await?;
        let CommitResult::Conflict { current } = &result else { return lie(claim, result) };
        match current.as_slice() {
            [(named, now)] if named == key && now.version == version && now.value.is_some() => {}
            _ => return lie("a conflict shows the records that differed, as they are", result),
        }
        let found = self.read(key).await?;
        if found.version == version { Ok(()) } else { lie(claim, found) }
    }

    /// A deadline in the past is refused, on a record that is not there. Learns the store's time.
    async fn deadline(&mut self) -> Probed<()> {
        let claim = "a commit after its deadline is refused";
        let key = self.key("late");
        for _ in 0..TRIES_MAX {
            let before = self.read(&key).await?;
            let mut commit = self.write(&key, before.version, value(0));
            commit.deadline = Some(Timestamp::EPOCH);
            match self.send(commit).await? {
                CommitResult::TooLate { store_time } => {
                    self.at = self.at.max(store_time);
                    self.due = store_time.plus(LEFT_AFTER);
                    self.purge(Some(store_time)).await?;
                    let found = self.read(&key).await?;
                    return if found.value.is_none() { Ok(()) } else { lie(claim, found) };
                }
                // Another probe purged its records meanwhile: what is absent rose.
                CommitResult::Conflict { .. } => {}
                other => return lie(claim, other),
            }
        }
        busy()
    }

    /// Of two creates of one record exactly one wins, a read sees it, and no other partition does.
    async fn create(&mut self, key: &RecordKey) -> Probed<Version> {
        let claim = "of two creates of one record exactly one wins";
        for _ in 0..TRIES_MAX {
            let before = self.read(key).await?;
            if before.value.is_some() {
                return lie("what nobody made is absent", before);
            }
            let creates = [1, 2].map(|number| self.write(key, before.version, value(number)));
            let sends = creates.map(|commit| Box::pin(self.send(commit)) as BoxFuture<'_, _>);
            let results = all(Vec::from(sends)).await.into_iter().collect::<Probed<Vec<_>>>()?;
            let number = match results.as_slice() {
                [CommitResult::Committed { .. }, CommitResult::Conflict { .. }] => 1,
                [CommitResult::Conflict { .. }, CommitResult::Committed { .. }] => 2,
                [CommitResult::Conflict { .. }, CommitResult::Conflict { .. }]
                    if before.version < self.read(key).await?.version =>
                {
                    continue;
                }
                _ => return lie(claim, results),
            };
            let (version, found) = (before.version.plus(1), self.read(key).await?);
            if !is(&found, version, &value(number)) {
                return lie("a read sees what was acknowledged", found);
            }
            let elsewhere = Partition::new("_probe-elsewhere").expect("the name is legal");
            let found = self.store.read(&elsewhere, std::slice::from_ref(key)).await?;
            if found.iter().any(|found| found.value.is_some()) {
                return lie("partitions are apart", found);
            }
            return Ok(version);
        }
        busy()
    }

    /// What was decided on an older version is refused, written or only confirmed.
    async fn stale(&mut self, key: &RecordKey, version: Version) -> Probed<()> {
        let older = before(version);
        let write = self.write(key, older, value(3));
        self.refused(write, (key, version), "a stale version is refused").await?;
        let mut confirm = self.commit();
        confirm.preconditions.push(Precondition { key: key.clone(), version: older });
        let claim = "a confirmation of a stale version is refused";
        self.refused(confirm, (key, version), claim).await?;
        let mut confirm = self.commit();
        confirm.preconditions.push(Precondition { key: key.clone(), version });
        self.committed(confirm, "a confirmation of what is there passes").await
    }

    /// A record that was only read fences what is written, and commits of one call are apart.
    async fn whole(&mut self, read: &RecordKey, version: Version) -> Probed<()> {
        let claim = "a commit is refused if a record that it only read has changed";
        let second = self.key("second");
        for _ in 0..TRIES_MAX {
            let found = self.read(&second).await?;
            let expected = found.version;
            let mut stale = self.write(&second, expected, value(4));
            let older = before(version);
            stale.preconditions.push(Precondition { key: read.clone(), version: older });
            let right = self.write(&second, expected, value(5));
            let calls = vec![Arc::new(stale), Arc::new(right.clone())];
            let results = self.store.commit(calls).await;
            let [first, second_result] = results.as_slice() else {
                return lie("each commit has a result, in order", results);
            };
            match first {
                CommitResult::Conflict { .. } => {}
                CommitResult::Failed(failure) => return Err(failure.clone().into()),
                // Sent again, it must be refused: the record has not become older.
                CommitResult::Unknown => {}
                other => return lie(claim, other),
            }
            // Sent again, it is known by its id, if its reply was lost.
            let result = match second_result {
                CommitResult::Unknown => self.send(right).await?,
                CommitResult::Failed(failure) => return Err(failure.clone().into()),
                other => other.clone(),
            };
            let found = self.read(&second).await?;
            match result {
                CommitResult::Committed { .. } if is(&found, expected.plus(1), &value(5)) => {
                    return Ok(());
                }
                CommitResult::Conflict { .. }
                    if found.value.is_none() && expected < found.version => {}
                other => return lie("commits of one call are apart", (other, found)),
            }
        }
        busy()
    }

    /// One commit sent again is applied once, also after others; and its id is known.
    async fn twice(&mut self, key: &RecordKey, version: Version) -> Probed<Version> {
        let claim = "a commit that is sent again is applied once, and acknowledged again";
        let once = self.write(key, version, value(6));
        let then = self.write(key, version.plus(1), value(7));
        let version = version.plus(2);
        self.committed(once.clone(), claim).await?;
        self.committed(once.clone(), claim).await?;
        self.committed(then, "a commit of the version that is there passes").await?;
        self.committed(once.clone(), claim).await?;
        let found = self.read(key).await?;
        if !is(&found, version, &value(7)) {
            return lie(claim, found);
        }
        let claim = "the store knows which commits it applied";
        match self.store.resolve(&self.partition, once.id).await? {
            Resolution::NotApplied => return lie(claim, "an applied one is not"),
            Resolution::Applied | Resolution::NotKnown => {}
        }
        let never = self.commit().id;
        match self.store.resolve(&self.partition, never).await? {
            Resolution::Applied => lie(claim, "one that was never sent is applied"),
            Resolution::NotApplied | Resolution::NotKnown => Ok(version),
        }
    }

    /// Of many that write one record at once, one wins.
    async fn race(&mut self, key: &RecordKey, mut version: Version) -> Probed<Version> {
        let claim = "of many commits on one version exactly one wins";
        for round in 0..ROUNDS {
            let numbers = (0..WRITERS)
                .map(|writer| round.wrapping_add(1).wrapping_mul(100).wrapping_add(writer));
            let writes: Vec<_> =
                numbers.map(|number| (number, self.write(key, version, value(number)))).collect();
            let us = &*self;
            let sends = writes.into_iter().map(|(number, commit)| {
                let send = async move { (number, us.send(commit).await) };
                Box::pin(send) as BoxFuture<'_, _>
            });
            let mut winners = Vec::new();
            for (number, result) in all(sends.collect()).await {
                match result {
                    Ok(CommitResult::Committed { .. }) => winners.push(number),
                    Ok(CommitResult::Conflict { .. }) => {}
                    // It asks for fewer at once, and applied none of this.
                    Err(ProbeError::Failed(failure))
                        if failure.kind() == FailureKind::Throttled => {}
                    Ok(other) => return lie(claim, other),
                    Err(error) => return Err(error),
                }
            }
            let [winner] = winners.as_slice() else { return lie(claim, winners) };
            version = version.plus(1);
            let found = self.read(key).await?;
            if !is(&found, version, &value(*winner)) {
                return lie("a read sees what was acknowledged", found);
            }
        }
        Ok(version)
    }

    /// A decision that is far ahead of the store's clock is refused.
    async fn ahead(&mut self, key: &RecordKey, version: Version) -> Probed<()> {
        if self.store.properties().clock == StoreClock::Node {
            return Ok(());
        }
        let mut commit = self.write(key, version, value(8));
        commit.now = Timestamp::MAX;
        match self.send(commit).await? {
            CommitResult::ClockAhead { .. } => Ok(()),
            other => lie("a commit far ahead of the store's clock is refused", other),
        }
    }

    /// A scan shows all that is there, page by page, and nothing that was not asked for.
    async fn pages(&mut self, first: &RecordKey) -> Probed<()> {
        let prefix = format!("{:032x}-", self.seed);
        let mut scan = Scan { prefix, ..Scan::of(KIND, 1) };
        let mut found = Vec::new();
        for _ in 0..TRIES_MAX {
            let page = self.store.scan(&self.partition, &scan).await?;
            found.extend(page.records.into_iter().map(|(key, _)| key));
            scan.after = page.resume;
            if scan.after.is_none() {
                break;
            }
        }
        if found != [first.clone(), self.key("second")] {
            return lie("a scan shows each record once, in order", found);
        }
        let due = Scan { after: None, due_by: Some(Timestamp::EPOCH), limit: PAGE, ..scan };
        let page = self.store.scan(&self.partition, &due).await?;
        if page.records.is_empty() {
            return Ok(());
        }
        lie("a scan of what is due shows nothing else", page.records)
    }

    /// What is removed, and then purged, never reads at a version or a time before.
    async fn removed(&mut self, key: &RecordKey, version: Version) -> Probed<()> {
        let claim = "the version and the time of what was removed never fall";
        let delete = self.write(key, version, WriteValue::Delete);
        self.committed(delete, "a record can be removed").await?;
        let found = self.read(key).await?;
        if found.value.is_some() || found.version < version.plus(1) {
            return lie(claim, found);
        }
        // Taken before the purge: a read raises it.
        let at = self.at;
        self.purge(None).await?;
        let found = self.read(key).await?;
        if found.value.is_some() || found.version < version.plus(2) || found.at < at {
            return lie(claim, found);
        }
        Ok(())
    }

    /// Purges what this probe wrote, or what others left that was due by then.
    async fn purge(&mut self, due_by: Option<Timestamp>) -> Probed<()> {
        let mine = due_by.is_none();
        let prefix = if mine { format!("{:032x}-", self.seed) } else { String::new() };
        let scan = Scan { prefix, due_by, show: Show::All, ..Scan::of(KIND, PAGE) };
        for _ in 0..TRIES_MAX {
            let page = self.store.scan(&self.partition, &scan).await?;
            if page.records.is_empty() && page.resume.is_none() {
                return Ok(());
            }
            for (key, found) in page.records {
                self.at = self.at.max(found.at);
                let purge = self.write(&key, found.version, WriteValue::Purge);
                // A conflict: another probe was first, or raised what is absent. Looked at again.
                self.send(purge).await?;
            }
            if !mine {
                return Ok(());
            }
        }
        busy()
    }
}

fn busy<T>() -> Probed<T> {
    let message = "others changed the probe's records again and again; start again";
    Err(Failure::new(FailureKind::Unavailable, message).into())
}

/// Drives all to their ends at once.
async fn all<T>(futures: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    let mut open: Vec<_> = futures.into_iter().map(|future| (Some(future), None)).collect();
    poll_fn(|context| {
        let mut left = false;
        for (running, ended) in &mut open {
            let Some(future) = running else { continue };
            match future.as_mut().poll(context) {
                Poll::Ready(result) => (*running, *ended) = (None, Some(result)),
                Poll::Pending => left = true,
            }
        }
        if left { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    open.into_iter().filter_map(|(_, ended)| ended).collect()
}
