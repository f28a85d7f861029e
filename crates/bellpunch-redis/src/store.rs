//! The store: how it is connected, and how anything is asked of its servers.
//!
//! Invariant: all work is done by tasks of the runtime on which the store was connected, so a future
//! that is dropped stops nothing half-way, and any thread may wait for one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bellpunch_store::{
    BoxFuture, Commit, CommitId, CommitResult, Failure, FailureKind, Guarantee, Page, Partition,
    PartitionPage, Properties, RecordKey, Resolution, Scan, Sharing, Store, StoreClock, Timestamp,
    Versioned,
};
use redis::{Cmd, Value};
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinHandle};

use crate::commits::{BYTES_MAX, RECORDS_MAX, RECORDS_MIN};
use crate::layout::{self, Layout};
use crate::script::{self, Listing, Script, Scripts};
use crate::selftest::Verdict;
use crate::server::{Lane, Server, Terms, alone};
use crate::topology::{Scheme, Topology};
use crate::trouble::{self, Trouble};
use crate::{ConnectError, ConnectErrorKind, RedisConfig};

/// Times that a call is sent: scripts get lost when a server restarts, slots move.
pub(crate) const SENDINGS_MAX: usize = 4;

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
    pub(crate) replicas_min: u32,
    pub(crate) timeout: Duration,
    /// The `now` of commits whose replies were lost.
    pub(crate) unknown: Mutex<BTreeMap<CommitId, Timestamp>>,
    /// Why nothing is asked of the servers any more: a newer release wrote there.
    outdated: OnceLock<Failure>,
    /// In a cluster: partitions that the list has, unless it was lost since the last look.
    pub(crate) listed: Mutex<BTreeSet<Partition>>,
    #[cfg(feature = "testing")]
    clock: Option<Arc<dyn bellpunch_store::Clock>>,
}

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

    pub(crate) async fn server(&self, key: &[u8]) -> Result<Arc<Server>, Failure> {
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
    pub(crate) async fn run(
        &self,
        script: &Script,
        key: &[u8],
        call: Cmd,
    ) -> Result<Value, Trouble> {
        let whole = script.whole(&call);
        match self.query(key, call).await {
            Err(Trouble::NoScript(_)) => self.query(key, whole).await,
            other => other,
        }
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

fn unreachable(trouble: Trouble) -> ConnectError {
    ConnectError::new(ConnectErrorKind::Unreachable, trouble.failure().to_string())
}

fn damaged(key: &str) -> ConnectError {
    let message = format!("{key} does not say a format: was it written by something else?");
    ConnectError::new(ConnectErrorKind::Damaged, message)
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
