//! Redis servers that form a cluster, or that a sentinel watches.
#![expect(clippy::indexing_slicing, reason = "test code: it stops at the unexpected")]

use std::time::{Duration, Instant};

use crate::redis::DURABLE;
use crate::{Identity, Redis};

/// How long servers may take to agree.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait before looking again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const SLOTS: u32 = 16_384;

/// Primaries of a Redis cluster, and replicas if asked for; stopped and removed when it is dropped.
///
/// ```no_run
/// let cluster = bellpunch_servers::RedisCluster::start(3);
/// assert_eq!(cluster.servers().len(), 3);
/// assert!(cluster.url().starts_with("redis+cluster://127.0.0.1:"));
/// ```
#[derive(Debug)]
pub struct RedisCluster {
    servers: Vec<Redis>,
    identity: Option<Identity>,
}

impl RedisCluster {
    /// Starts so many durable primaries, each with its share of the slots.
    ///
    /// # Panics
    /// If they do not start, or do not agree; with what one of them said.
    #[must_use]
    pub fn start(primaries: u32) -> Self {
        Self::start_as(None, primaries)
    }

    /// Starts so many durable primaries; with an identity they speak TLS alone.
    ///
    /// # Panics
    /// If they do not start, or do not agree; with what one of them said.
    #[must_use]
    pub fn start_as(identity: Option<Identity>, primaries: u32) -> Self {
        let servers: Vec<_> = (0..primaries).map(|_| member(identity.as_ref())).collect();
        let share = SLOTS.div_ceil(primaries);
        let mut first = 0_u32;
        for server in &servers {
            let last = first.max(SLOTS.min(first.saturating_add(share)).saturating_sub(1));
            // Each by its number: 6.2 knows no ranges.
            let slots: Vec<_> = (first..=last).map(|slot| slot.to_string()).collect();
            let words = ["cluster", "addslots"].into_iter().chain(slots.iter().map(String::as_str));
            let reply = server.cli(&words.collect::<Vec<_>>());
            assert_eq!(reply, "OK", "slots {first} to {last}");
            first = last.saturating_add(1);
        }
        let cluster = Self { servers, identity };
        for server in &cluster.servers {
            cluster.meet(server);
        }
        cluster.wait(primaries);
        cluster
    }

    /// Adds a replica of the first primary.
    ///
    /// # Panics
    /// If it does not start, or does not follow.
    pub fn add_replica(&mut self) {
        let server = member(self.identity.as_ref());
        self.meet(&server);
        let primary = self.servers[0].cli(&["cluster", "myid"]);
        wait_for(|| server.cli(&["cluster", "nodes"]).contains(&primary));
        wait_for(|| server.cli(&["cluster", "replicate", &primary]) == "OK");
        self.servers.push(server);
        wait_for(|| self.servers[0].cli(&["info", "replication"]).contains("state=online"));
    }

    fn meet(&self, server: &Redis) {
        let port = self.servers[0].port().to_string();
        let reply = server.cli(&["cluster", "meet", "127.0.0.1", &port]);
        assert_eq!(reply, "OK");
    }

    fn wait(&self, members: u32) {
        let known = format!("cluster_known_nodes:{members}");
        for server in &self.servers {
            wait_for(|| {
                let info = server.cli(&["cluster", "info"]);
                info.contains("cluster_state:ok") && info.contains(&known)
            });
        }
    }

    /// Waits until a server that was a replica is a primary, and the others know it.
    ///
    /// # Panics
    /// If that does not happen.
    pub fn wait_for_failover(&self, server: usize) {
        let server = &self.servers[server];
        wait_for(|| {
            server.cli(&["role"]).lines().next() == Some("master")
                && server.cli(&["cluster", "info"]).contains("cluster_state:ok")
        });
    }

    /// Its servers: primaries first.
    #[must_use]
    pub fn servers(&self) -> &[Redis] {
        &self.servers
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        let hosts: Vec<_> =
            self.servers.iter().map(|server| format!("127.0.0.1:{}", server.port())).collect();
        let scheme = self.servers[0].scheme();
        format!("{scheme}+cluster://{}", hosts.join(","))
    }
}

fn member(identity: Option<&Identity>) -> Redis {
    let cluster = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
    Redis::start_as(identity, &[&DURABLE[..], &cluster].concat())
}

/// Waits until something is so.
///
/// # Panics
/// If it is not after a minute.
pub(crate) fn wait_for(mut ready: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !ready() {
        assert!(begun.elapsed() < PATIENCE, "the servers do not agree");
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// A primary, a replica, and a sentinel that puts the one in the place of the other.
///
/// ```no_run
/// let watched = bellpunch_servers::RedisSentinel::start();
/// assert!(watched.url().ends_with("/one"));
/// watched.primary().kill();
/// watched.wait_for_failover();
/// ```
#[derive(Debug)]
pub struct RedisSentinel {
    primary: Redis,
    replica: Redis,
    sentinel: Redis,
}

impl RedisSentinel {
    /// Starts all three. The sentinel calls the primary `one`.
    ///
    /// # Panics
    /// If they do not start, or do not find each other.
    #[must_use]
    pub fn start() -> Self {
        Self::start_as(None)
    }

    /// Starts all three; with an identity they speak TLS alone.
    ///
    /// # Panics
    /// If they do not start, or do not find each other.
    #[must_use]
    pub fn start_as(identity: Option<&Identity>) -> Self {
        let primary = Redis::start_as(identity, &DURABLE);
        let port = primary.port().to_string();
        let follows = ["--replicaof", "127.0.0.1", &port];
        let replica = Redis::start_as(identity, &[&DURABLE[..], &follows].concat());
        wait_for(|| primary.cli(&["info", "replication"]).contains("state=online"));
        let lines = [
            &format!("sentinel monitor one 127.0.0.1 {port} 1"),
            "sentinel down-after-milliseconds one 500",
            "sentinel failover-timeout one 2000",
        ];
        let sentinel = Redis::start_sentinel(identity, &lines);
        let watched = Self { primary, replica, sentinel };
        wait_for(|| watched.sentinel.cli(&["sentinel", "replicas", "one"]).contains("slave"));
        watched
    }

    /// The first primary.
    #[must_use]
    pub const fn primary(&self) -> &Redis {
        &self.primary
    }

    /// Its replica.
    #[must_use]
    pub const fn replica(&self) -> &Redis {
        &self.replica
    }

    /// Waits until the replica is the primary, and the sentinel says so.
    ///
    /// # Panics
    /// If that does not happen.
    pub fn wait_for_failover(&self) {
        let port = self.replica.port().to_string();
        wait_for(|| {
            let told = self.sentinel.cli(&["sentinel", "get-master-addr-by-name", "one"]);
            told.lines().last() == Some(&port)
                && self.replica.cli(&["info", "replication"]).contains("role:master")
        });
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        let (scheme, port) = (self.sentinel.scheme(), self.sentinel.port());
        format!("{scheme}+sentinel://127.0.0.1:{port}/one")
    }
}
