//! The store: what is asked of the servers, and what their answers mean.
//!
//! Invariant: all work is done by tasks of the runtime on which the store was connected, so a future
//! that is dropped stops nothing half-way, and any thread may wait for one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bellpunch_store::{
    BoxFuture, Commit, CommitId, CommitResult, Failure, FailureKind, Guarantee, Page, Partition,
    PartitionPage, Properties, RecordKey, Resolution, Scan, Sharing, Show, Store, StoreClock,
    Timestamp, Versioned,
};
use futures_util::future::join_all;
use redis::{Cmd, Pipeline, Value};
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinHandle};

use crate::layout::{self, Layout};
use crate::script::{self, Listing, Load, Prepared, Script, Scripts};
use crate::selftest::Verdict;
use crate::server::{Lane, Server, Terms, alone};
use crate::topology::{Scheme, Topology};
use crate::trouble::{self, Trouble};
use crate::{ConnectError, ConnectErrorKind, RedisConfig};

/// Preconditions and writes of one commit: its script keeps the server for about 2 ms.
const RECORDS_MAX: usize = 2_000;
/// Records that take much less time than a sync.
const RECORDS_MIN: usize = 16;
/// Bytes of keys and values of one commit.
const BYTES_MAX: usize = 8 << 20;
/// Preconditions of the commits of one script, unless it has only one.
const SCRIPT_RECORDS_MAX: usize = 512;
/// Bytes of the commits of one script, unless it has only one.
const SCRIPT_BYTES_MAX: usize = 1 << 20;
/// Records read at one instant.
const READ_KEYS_MAX: usize = 1_000;
/// Members looked at for one page of a scan.
const SCAN_VISITS_MAX: usize = 1_024;
/// Bytes of records after which a page ends.
const SCAN_BYTES_MAX: usize = 4 << 20;
/// Times that a call is sent: scripts get lost when a server restarts, slots move.
const SENDINGS_MAX: usize = 4;
/// Commits of unknown fate that are remembered.
const UNKNOWN_MAX: usize = 65_536;
/// Partitions that are known to be in the list, which is in another slot.
const LISTED_MAX: usize = 65_536;

/// A store on Redis or Valkey.
///
/// ```no_run
/// use bellpunch_redis::{RedisConfig, RedisStore};
/// use bellpunch_store::{Sharing, Store};
/// # async fn connect() -> Result<(), bellpunch_redis::ConnectError> {
/// let store = RedisStore::connect(&RedisConfig::new("redis://127.0.0.1/0")).await?;
/// assert_eq!(store.properties().sharing, Sharing::Shared);
/// # Ok(())
/// # }
/// ```
pub struct RedisStore {
    inner: Arc<Inner>,
    runtime: Handle,
    watch: AbortHandle,
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("servers", &self.inner.topology).finish_non_exhaustive()
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

pub(crate) struct Inner {
    pub(crate) topology: Topology,
    pub(crate) scripts: Scripts,
    pub(crate) terms: script::Terms,
    properties: Properties,
    replicas_min: u32,
    timeout: Duration,
    /// The `now` of commits whose replies were lost.
    unknown: Mutex<BTreeMap<CommitId, Timestamp>>,
    /// Why nothing is asked of the servers any more: a newer release wrote there.
    outdated: OnceLock<Failure>,
    /// In a cluster: partitions that the list has, unless it was lost since the last look.
    listed: Mutex<BTreeSet<Partition>>,
    #[cfg(feature = "testing")]
    clock: Option<Arc<dyn bellpunch_store::Clock>>,
}

/// What came of commits, by their places in the call. What is not there is unknown.
type Results = BTreeMap<usize, CommitResult>;

/// What is stored under a prefix.
enum Format {
    Nothing,
    Known,
}

impl RedisStore {
    /// Connects, looks at the server's settings, and marks an empty prefix as a store's.
    ///
    /// # Errors
    /// If the server cannot be reached, is not safe, fails a short test of what a commit is, or holds
    /// what a newer release wrote.
    pub async fn connect(config: &RedisConfig) -> Result<Self, ConnectError> {
        let inner = Arc::new(Inner::connect(config).await?);
        if let Format::Nothing = inner.format().await? {
            inner.mark().await?;
            inner.format().await?;
        }
        match inner.self_test().await {
            Ok(Verdict::Honest) => {}
            Ok(Verdict::Lies(what)) => {
                let message = format!("the server of Redis failed the self-test: {what}");
                return Err(ConnectError::new(ConnectErrorKind::Unsafe, message));
            }
            Err(failure) => {
                let kind = ConnectErrorKind::Unreachable;
                return Err(ConnectError::new(kind, failure.to_string()));
            }
        }
        let runtime = Handle::current();
        let watch = runtime.spawn(watch(Arc::downgrade(&inner), config.check_every)).abort_handle();
        Ok(Self { inner, runtime, watch })
    }

    /// Whether a store is there. Makes none.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn exists(config: &RedisConfig) -> Result<bool, ConnectError> {
        let inner = Inner::connect(config).await?;
        Ok(matches!(inner.format().await?, Format::Known))
    }

    /// Closes the connections. What is on its way ends first, or is unknown.
    pub async fn close(&self) {
        self.watch.abort();
        self.inner.topology.disconnect().await;
    }

    fn spawn<T, F>(&self, work: F) -> JoinHandle<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.runtime.spawn(work)
    }
}

/// Looks at the servers now and then, for as long as there is a store.
async fn watch(inner: std::sync::Weak<Inner>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(inner) = inner.upgrade() else { return };
        inner.topology.check().await;
        inner.listed().clear();
        inner.check_format().await;
    }
}

impl Inner {
    async fn connect(config: &RedisConfig) -> Result<Self, ConnectError> {
        if config.prefix.is_empty() || config.prefix.contains(['{', '}']) {
            let message = "the prefix of a Redis store is a word without braces";
            return Err(ConnectError::new(ConnectErrorKind::Config, message));
        }
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Somebody else may be first: then that one is used.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let scheme = Scheme::parse(&config.url)?;
        let listing = match scheme {
            Scheme::One(_) | Scheme::Sentinel { .. } => Listing::Script,
            Scheme::Cluster(_) => Listing::Before,
        };
        let terms = Arc::new(Terms {
            timeout: config.timeout,
            way: scheme.way(),
            promised: OnceLock::new(),
        });
        let topology = Topology::new(scheme, config, &terms)?;
        let promise = topology.promise().await?.accepting(config.accept_risk);
        terms.promised.set(promise).expect("it is set here alone");
        Ok(Self {
            topology,
            scripts: scripts(config),
            terms: script::Terms {
                layout: Layout::new(&config.prefix),
                skew_max_ns: config.clock_skew_max_ns,
                remember_ms: u64::try_from(config.remember.as_millis()).unwrap_or(u64::MAX).max(1),
                listing,
            },
            properties: Properties {
                name: "redis",
                sharing: Sharing::Shared,
                guarantee: Guarantee::Atomic,
                survives: promise.survives,
                risk: promise.risk,
                clock: StoreClock::AtExclusivity,
                records_max: RECORDS_MAX,
                records_min: RECORDS_MIN,
                bytes_max: BYTES_MAX,
            },
            replicas_min: config.replicas_min,
            timeout: config.timeout,
            unknown: Mutex::default(),
            outdated: OnceLock::new(),
            listed: Mutex::default(),
            #[cfg(feature = "testing")]
            clock: config.clock.clone(),
        })
    }

    /// What the mark says.
    async fn format(&self) -> Result<Format, ConnectError> {
        let key = self.terms.layout.format();
        let mut get = Cmd::new();
        get.arg("GET").arg(&key);
        let found = self.query(key.as_bytes(), get).await.map_err(unreachable)?;
        match script::bytes(found) {
            Some(found) if found.is_empty() => Ok(Format::Nothing),
            Some(found) if found == layout::FORMAT.as_bytes() => Ok(Format::Known),
            Some(found) => match String::from_utf8_lossy(&found).parse::<u32>() {
                Ok(newer) => Err(ConnectError::new(
                    ConnectErrorKind::Newer,
                    format!(
                        "what is in Redis has format {newer}, this release knows {}: upgrade",
                        layout::FORMAT
                    ),
                )),
                Err(_) => Err(damaged(&key)),
            },
            None => Err(damaged(&key)),
        }
    }

    /// Marks an empty prefix. Another node may be first.
    async fn mark(&self) -> Result<(), ConnectError> {
        let key = self.terms.layout.format();
        let mut set = Cmd::new();
        set.arg("SET").arg(&key).arg(layout::FORMAT).arg("NX");
        self.query(key.as_bytes(), set).await.map_err(unreachable)?;
        Ok(())
    }

    /// Makes the mark again if somebody removed it, and stops where a newer release has been.
    async fn check_format(&self) {
        match self.format().await {
            Ok(Format::Nothing) => {
                // Asked again the next time if it fails.
                let _ = self.mark().await;
            }
            Err(error) if error.kind() == ConnectErrorKind::Newer => {
                let failure = Failure::new(FailureKind::Unavailable, error.to_string());
                // For good: it may be set already.
                let _ = self.outdated.set(failure);
            }
            Ok(Format::Known) | Err(_) => {}
        }
    }

    async fn server(&self, key: &[u8]) -> Result<Arc<Server>, Failure> {
        match self.outdated.get() {
            Some(failure) => Err(failure.clone()),
            None => self.topology.server(key).await,
        }
    }

    /// Asks what may be asked twice: once more if the connection broke.
    pub(crate) async fn query(&self, key: &[u8], command: Cmd) -> Result<Value, Trouble> {
        let pipeline = alone(command);
        let mut last = None;
        for _ in 0..SENDINGS_MAX {
            let server = self.server(key).await?;
            match server.ask(Lane::Reads, (&pipeline, 1)).await {
                Ok(values) => {
                    let value = values.into_iter().next().unwrap_or_default();
                    let Value::ServerError(error) = value else { return Ok(value) };
                    let trouble = trouble::of_server(&error);
                    if !self.topology.follow(&error) {
                        return Err(trouble);
                    }
                    last = Some(trouble);
                }
                Err(trouble) => {
                    self.topology.doubt();
                    if last.is_some() || !matches!(trouble, Trouble::Lost(_)) {
                        return Err(trouble);
                    }
                    last = Some(trouble);
                }
            }
        }
        Err(last.expect("it was sent at least once"))
    }

    /// Runs a script that may be run twice.
    async fn run(&self, script: &Script, key: &[u8], call: Cmd) -> Result<Value, Trouble> {
        let whole = script.whole(&call);
        match self.query(key, call).await {
            Err(Trouble::NoScript(_)) => self.query(key, whole).await,
            other => other,
        }
    }

    async fn read(
        &self,
        partition: &Partition,
        keys: &[RecordKey],
    ) -> Result<Vec<Versioned>, Failure> {
        let shelf = self.terms.layout.shelf(partition);
        let guard = shelf.guard();
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(READ_KEYS_MAX) {
            let mut kinds: Vec<_> = keys.iter().map(|key| &key.kind).collect();
            kinds.sort();
            kinds.dedup();
            let mut call = self.scripts.read.call(keys.len().saturating_add(2));
            call.arg(&guard).arg(shelf.floors());
            for key in keys {
                call.arg(shelf.record(key).concat());
            }
            for kind in &kinds {
                call.arg(kind.name());
            }
            let reply = self.run(&self.scripts.read, guard.as_bytes(), call).await;
            let reply = reply.map_err(Trouble::failure)?;
            let (records, floors) = pair(reply).ok_or_else(nonsense)?;
            let (records, floors) = (all_bytes(records)?, all_bytes(floors)?);
            if records.len() != keys.len() || floors.len() != kinds.len() {
                return Err(nonsense());
            }
            for (key, raw) in keys.iter().zip(&records) {
                let floor =
                    kinds.binary_search(&&key.kind).ok().and_then(|place| floors.get(place));
                let floor = floor.map_or(&[][..], Vec::as_slice);
                found.push(script::versioned(key, (raw, floor))?);
            }
        }
        Ok(found)
    }

    async fn scan(&self, partition: &Partition, scan: &Scan) -> Result<Page, Failure> {
        let shelf = self.terms.layout.shelf(partition);
        let guard = shelf.guard();
        let start = scan.start();
        let least = if scan.after.as_ref() == Some(&start) { "(" } else { "[" };
        let least = format!("{least}{}", layout::member(&start));
        let mut call = self.scripts.scan.call(3);
        call.arg(&guard).arg(shelf.index()).arg(shelf.floors());
        call.arg(shelf.records()).arg(least).arg(greatest(scan)).arg(scan.limit.max(1));
        call.arg(SCAN_BYTES_MAX).arg(SCAN_VISITS_MAX);
        call.arg(u8::from(scan.show == Show::All));
        call.arg(scan.due_by.map(|due| layout::time_digits(due).to_vec()).unwrap_or_default());
        let reply = self.run(&self.scripts.scan, guard.as_bytes(), call).await;
        let Value::Array(parts) = reply.map_err(Trouble::failure)? else { return Err(nonsense()) };
        let [floors, resume, records] = <[Value; 3]>::try_from(parts).map_err(|_| nonsense())?;
        let (floors, records) = (all_bytes(floors)?, all_bytes(records)?);
        let mut by_kind = BTreeMap::new();
        for (kind, floor) in pairs(&floors) {
            let kind = std::str::from_utf8(kind).map_err(|_| layout::corrupt("a floor"))?;
            by_kind.insert(bellpunch_store::Kind::named(kind), layout::parse_floor(floor)?);
        }
        let mut page = Page::default();
        for (member, raw) in pairs(&records) {
            let key = layout::key_of(member)?;
            let found = layout::decode(&key, raw)?;
            let floor = by_kind.get(&key.kind).copied().unwrap_or_default();
            if scan.wants(&key, found.sweep_at) {
                page.records.push((key, found.above(floor)));
            }
        }
        page.floors = by_kind.into_iter().filter(|(kind, _)| scan.wants_floor(kind)).collect();
        let resume = script::bytes(resume).ok_or_else(nonsense)?;
        page.resume = if resume.is_empty() { None } else { Some(layout::key_of(&resume)?) };
        Ok(page)
    }

    async fn partitions(
        &self,
        after: Option<&Partition>,
        limit: usize,
    ) -> Result<PartitionPage, Failure> {
        let key = self.terms.layout.partitions();
        // Removes nothing, but a replica refuses it: what it holds may be old.
        let mut guard = Cmd::new();
        guard.arg("DEL").arg(self.terms.layout.partitions_guard());
        self.query(key.as_bytes(), guard).await.map_err(Trouble::failure)?;
        let least = after.map_or_else(|| "-".to_owned(), |after| format!("({}", after.as_str()));
        let mut range = Cmd::new();
        range.arg("ZRANGEBYLEX").arg(&key).arg(least).arg("+");
        range.arg("LIMIT").arg(0).arg(limit.saturating_add(1));
        let found = self.query(key.as_bytes(), range).await.map_err(Trouble::failure)?;
        let mut partitions = Vec::new();
        for name in all_bytes(found)? {
            let name = std::str::from_utf8(&name).ok().and_then(|name| Partition::new(name).ok());
            partitions.push(name.ok_or_else(|| layout::corrupt("the list of partitions"))?);
        }
        let more = limit < partitions.len();
        partitions.truncate(limit);
        Ok(PartitionPage { partitions, more })
    }

    async fn resolve(&self, partition: &Partition, id: CommitId) -> Result<Resolution, Failure> {
        let key = self.terms.layout.shelf(partition).commit(id);
        let mut call = self.scripts.resolve.call(1);
        call.arg(&key).arg(self.terms.remember_ms);
        let reply = self.run(&self.scripts.resolve, &key, call).await.map_err(Trouble::failure)?;
        let (at, time) = pair(reply).ok_or_else(nonsense)?;
        let (at, time) = (script::bytes(at).ok_or_else(nonsense)?, all_bytes(time)?);
        if !at.is_empty() {
            if 0 < self.replicas_min {
                self.wait(&key).await?;
            }
            self.unknown().remove(&id);
            return Ok(Resolution::Applied);
        }
        let seconds = time.first().and_then(|time| std::str::from_utf8(time).ok()?.parse().ok());
        let seconds: u128 = seconds.ok_or_else(nonsense)?;
        let sent = self.unknown().get(&id).copied();
        Ok(match sent {
            Some(now) if self.forgotten(now, seconds) => Resolution::NotKnown,
            Some(_) | None => Resolution::NotApplied,
        })
    }

    /// Whether a commit that was decided at `now` may have been applied, and its id forgotten.
    fn forgotten(&self, now: Timestamp, server_seconds: u128) -> bool {
        let nanos = server_seconds.saturating_add(1).saturating_mul(1_000_000_000);
        let remember = u128::from(self.terms.remember_ms).saturating_mul(1_000_000);
        let skew = u128::from(self.terms.skew_max_ns);
        now.nanos().saturating_add(remember) <= nanos.saturating_add(skew)
    }

    fn unknown(&self) -> std::sync::MutexGuard<'_, BTreeMap<CommitId, Timestamp>> {
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_command(&self) -> Cmd {
        let half = self.timeout.as_millis().checked_div(2).unwrap_or_default();
        let mut wait = Cmd::new();
        wait.arg("WAIT").arg(self.replicas_min).arg(u64::try_from(half).unwrap_or(u64::MAX).max(1));
        wait
    }

    /// Waits until the replicas have what this node wrote.
    async fn wait(&self, key: &[u8]) -> Result<(), Failure> {
        let found = self.query(key, self.wait_command()).await.map_err(Trouble::failure)?;
        if self.enough(&found) {
            return Ok(());
        }
        Err(Failure::new(FailureKind::Unavailable, "too few replicas of Redis have the commit yet"))
    }

    fn enough(&self, waited: &Value) -> bool {
        matches!(waited, Value::Int(replicas) if i64::from(self.replicas_min) <= *replicas)
    }

    async fn commit(&self, commits: Vec<Arc<Commit>>) -> Vec<CommitResult> {
        let mut results = Results::new();
        let mut places: BTreeMap<Option<&Partition>, Vec<usize>> = BTreeMap::new();
        for (place, commit) in commits.iter().enumerate() {
            let records = commit.preconditions.len().max(commit.writes.len());
            if RECORDS_MAX < records || BYTES_MAX < script::bytes_of(commit) {
                let message =
                    "the commit has more records or bytes than a Redis store takes at once";
                let failure = Failure::new(FailureKind::TooLarge, message);
                results.insert(place, CommitResult::Failed(failure));
                continue;
            }
            let apart = self.terms.listing == Listing::Before;
            places.entry(apart.then_some(&commit.partition)).or_default().push(place);
        }
        let layout = &self.terms.layout;
        let prepared: Vec<_> = commits.iter().map(|commit| Prepared::new(commit, layout)).collect();
        let groups = places.iter().map(|(partition, places)| async {
            match self.list(*partition, (&prepared, places)).await {
                Ok(()) => self.send((&commits, &prepared), places).await,
                Err(failure) => {
                    let failed = |place: &usize| (*place, CommitResult::Failed(failure.clone()));
                    places.iter().map(failed).collect()
                }
            }
        });
        results.extend(join_all(groups).await.into_iter().flatten());
        let result = |place| results.remove(&place).unwrap_or(CommitResult::Unknown);
        let results: Vec<_> = (0..commits.len()).map(result).collect();
        let mut unknown = self.unknown();
        for (commit, result) in commits.iter().zip(&results) {
            let lost = matches!(result, CommitResult::Unknown);
            if lost && !commit.writes.is_empty() {
                unknown.insert(commit.id, commit.now);
                if UNKNOWN_MAX < unknown.len() {
                    unknown.pop_first();
                }
            }
        }
        results
    }

    /// Sends commits that one server has the records of.
    async fn send(
        &self,
        (commits, prepared): (&[Arc<Commit>], &[Prepared<'_>]),
        places: &[usize],
    ) -> Results {
        let mut results = Results::new();
        let first = places.first().and_then(|place| commits.get(*place));
        let Some(first) = first else { return results };
        let key = self.terms.layout.shelf(&first.partition).guard();
        let script = &self.scripts.commit;
        let mut calls: Vec<(Load, Cmd)> = Vec::new();
        for load in script::loads(commits, places, (SCRIPT_RECORDS_MAX, SCRIPT_BYTES_MAX)) {
            let members: Vec<_> =
                load.places.iter().filter_map(|place| prepared.get(*place)).collect();
            let call = script::call(script, &self.terms, (&members, &self.time()));
            calls.push((load, call));
        }
        for _ in 0..SENDINGS_MAX {
            if calls.is_empty() {
                return results;
            }
            match self.server(key.as_bytes()).await {
                Ok(server) => {
                    calls = self.attempt(&server, calls, (prepared, &mut results)).await;
                }
                Err(failure) => {
                    fail(calls.iter().map(|(load, _)| load), &failure, &mut results);
                    return results;
                }
            }
        }
        let failure = Failure::new(FailureKind::Unavailable, "the servers of Redis keep changing");
        fail(calls.iter().map(|(load, _)| load), &failure, &mut results);
        results
    }

    /// In a cluster: has the list of partitions name one, before its first commit.
    async fn list(
        &self,
        partition: Option<&Partition>,
        (prepared, places): (&[Prepared<'_>], &[usize]),
    ) -> Result<(), Failure> {
        let Some(partition) = partition else { return Ok(()) };
        let writes = |place: &usize| prepared.get(*place).is_some_and(Prepared::writes);
        if !places.iter().any(writes) || self.listed().contains(partition) {
            return Ok(());
        }
        let key = self.terms.layout.partitions();
        let mut add = Cmd::new();
        add.arg("ZADD").arg(&key).arg(0).arg(partition.as_str());
        self.query(key.as_bytes(), add).await.map_err(Trouble::failure)?;
        let mut listed = self.listed();
        if LISTED_MAX <= listed.len() {
            listed.clear();
        }
        listed.insert(partition.clone());
        Ok(())
    }

    fn listed(&self) -> std::sync::MutexGuard<'_, BTreeSet<Partition>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends calls; gives back those that the server did not take and another, or the same, may.
    async fn attempt(
        &self,
        server: &Server,
        calls: Vec<(Load, Cmd)>,
        (prepared, results): (&[Prepared<'_>], &mut Results),
    ) -> Vec<(Load, Cmd)> {
        let mut pipeline = Pipeline::with_capacity(calls.len().saturating_add(1));
        let mut loads = Vec::with_capacity(calls.len());
        for (load, call) in calls {
            loads.push(load);
            pipeline.add_command(call);
        }
        if 0 < self.replicas_min {
            pipeline.add_command(self.wait_command());
        }
        let count = pipeline.len();
        let mut replies = match server.ask(Lane::Commits, (&pipeline, count)).await {
            Ok(replies) => replies.into_iter(),
            Err(trouble) => {
                self.topology.doubt();
                if let Trouble::Refused(failure) = trouble {
                    fail(&loads, &failure, results);
                }
                // Unknown is what a place without a result is.
                return Vec::new();
            }
        };
        let mut again = Vec::new();
        let mut written = Vec::new();
        for (load, call) in loads.into_iter().zip(pipeline.cmd_iter()) {
            match replies.next() {
                Some(Value::Array(parts)) if parts.len() == load.places.len() => {
                    for (place, reply) in load.places.iter().zip(parts) {
                        let Some(prepared) = prepared.get(*place) else { continue };
                        let result = prepared.result(reply);
                        let taken = matches!(result, CommitResult::Committed { .. });
                        if taken && prepared.writes() {
                            written.push(*place);
                        }
                        results.insert(*place, result);
                    }
                }
                Some(Value::ServerError(error)) => match trouble::of_server(&error) {
                    Trouble::NoScript(_) => {
                        let whole = self.scripts.commit.whole(call);
                        again.push((load, whole));
                    }
                    Trouble::Refused(_) if self.topology.follow(&error) => {
                        again.push((load, call.clone()));
                    }
                    Trouble::Refused(failure) => fail(&[load], &failure, results),
                    Trouble::Lost(_) | Trouble::Late(_) => {}
                },
                Some(_) | None => {}
            }
        }
        if 0 < self.replicas_min && !replies.next().is_some_and(|waited| self.enough(&waited)) {
            for place in written {
                results.insert(place, CommitResult::Unknown);
            }
        }
        again
    }

    #[cfg(not(feature = "testing"))]
    pub(crate) fn time(&self) -> Vec<u8> {
        Vec::new()
    }

    #[cfg(feature = "testing")]
    pub(crate) fn time(&self) -> Vec<u8> {
        let time = self.clock.as_ref().map(|clock| layout::time_digits(clock.now()).to_vec());
        time.unwrap_or_default()
    }
}

#[cfg(not(feature = "testing"))]
fn scripts(_: &RedisConfig) -> Scripts {
    Scripts::default()
}

#[cfg(feature = "testing")]
fn scripts(config: &RedisConfig) -> Scripts {
    if config.clock.is_some() { Scripts::told_the_time() } else { Scripts::default() }
}

fn fail<'a>(loads: impl IntoIterator<Item = &'a Load>, failure: &Failure, results: &mut Results) {
    for place in loads.into_iter().flat_map(|load| &load.places) {
        results.insert(*place, CommitResult::Failed(failure.clone()));
    }
}

fn unreachable(trouble: Trouble) -> ConnectError {
    ConnectError::new(ConnectErrorKind::Unreachable, trouble.failure().to_string())
}

fn damaged(key: &str) -> ConnectError {
    let message = format!("{key} does not say a format: was it written by something else?");
    ConnectError::new(ConnectErrorKind::Damaged, message)
}

fn nonsense() -> Failure {
    layout::corrupt("the answer of a script: something")
}

fn pair(value: Value) -> Option<(Value, Value)> {
    let Value::Array(parts) = value else { return None };
    <[Value; 2]>::try_from(parts).ok().map(|[one, other]| (one, other))
}

fn pairs(list: &[Vec<u8>]) -> impl Iterator<Item = (&[u8], &[u8])> {
    list.chunks_exact(2).filter_map(|pair| match pair {
        [one, other] => Some((one.as_slice(), other.as_slice())),
        _ => None,
    })
}

fn all_bytes(value: Value) -> Result<Vec<Vec<u8>>, Failure> {
    let Value::Array(parts) = value else { return Err(nonsense()) };
    parts.into_iter().map(|part| script::bytes(part).ok_or_else(nonsense)).collect()
}

/// After the last member that a scan may want.
fn greatest(scan: &Scan) -> Vec<u8> {
    let Some(kind) = &scan.kind else { return b"+".to_vec() };
    let prefix =
        RecordKey { kind: kind.clone(), id: bellpunch_store::RecordId::stored(&scan.prefix) };
    let mut bound = b"(".to_vec();
    bound.extend_from_slice(layout::member(&prefix).as_bytes());
    // No text contains this byte, and it comes after all that text is made of.
    bound.push(0xff);
    bound
}

impl Store for RedisStore {
    fn properties(&self) -> Properties {
        self.inner.properties.clone()
    }

    fn read<'a>(
        &'a self,
        partition: &'a Partition,
        keys: &'a [RecordKey],
    ) -> BoxFuture<'a, Result<Vec<Versioned>, Failure>> {
        let (inner, partition, keys) = (Arc::clone(&self.inner), partition.clone(), keys.to_vec());
        let work = self.spawn(async move { inner.read(&partition, &keys).await });
        Box::pin(async { work.await.unwrap_or_else(|_| Err(stopped())) })
    }

    fn commit(&self, commits: Vec<Arc<Commit>>) -> BoxFuture<'_, Vec<CommitResult>> {
        let (inner, count) = (Arc::clone(&self.inner), commits.len());
        let work = self.spawn(async move { inner.commit(commits).await });
        Box::pin(async move { work.await.unwrap_or_else(|_| vec![CommitResult::Unknown; count]) })
    }

    fn scan<'a>(
        &'a self,
        partition: &'a Partition,
        scan: &'a Scan,
    ) -> BoxFuture<'a, Result<Page, Failure>> {
        let (inner, partition, scan) = (Arc::clone(&self.inner), partition.clone(), scan.clone());
        let work = self.spawn(async move { inner.scan(&partition, &scan).await });
        Box::pin(async { work.await.unwrap_or_else(|_| Err(stopped())) })
    }

    fn resolve<'a>(
        &'a self,
        partition: &'a Partition,
        id: CommitId,
    ) -> BoxFuture<'a, Result<Resolution, Failure>> {
        let (inner, partition) = (Arc::clone(&self.inner), partition.clone());
        let work = self.spawn(async move { inner.resolve(&partition, id).await });
        Box::pin(async { work.await.unwrap_or_else(|_| Err(stopped())) })
    }

    fn partitions<'a>(
        &'a self,
        after: Option<&'a Partition>,
        limit: usize,
    ) -> BoxFuture<'a, Result<PartitionPage, Failure>> {
        let (inner, after) = (Arc::clone(&self.inner), after.cloned());
        let work = self.spawn(async move { inner.partitions(after.as_ref(), limit).await });
        Box::pin(async { work.await.unwrap_or_else(|_| Err(stopped())) })
    }
}

/// The runtime of the store ended.
fn stopped() -> Failure {
    Failure::new(FailureKind::Unavailable, "the runtime of the Redis store has ended")
}
