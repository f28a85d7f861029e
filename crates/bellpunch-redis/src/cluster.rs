//! A cluster: which of its servers has a slot.
//!
//! Invariant: a map may be old, and is never wrong for long: a server that does not have a slot
//! refuses what is sent to it, and says so. Why not the library's cluster client: see `server`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bellpunch_store::{Failure, FailureKind};
use redis::{AsyncConnectionConfig, Cmd, ConnectionAddr, ConnectionInfo, Value};

use crate::promise::Promise;
use crate::server::{Server, Target, Terms};
use crate::topology::client;
use crate::{ConnectError, ConnectErrorKind, RedisConfig, trouble};

const SLOTS: u16 = 16_384;

type Address = (String, u16);

/// Which server has which slots, as far as is known.
#[derive(Debug, Default)]
struct Map {
    /// By the last slot of a range: its first, and who has it.
    ranges: BTreeMap<u16, (u16, Address)>,
    servers: BTreeMap<Address, Arc<Server>>,
}

/// The servers of a cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    seeds: Vec<ConnectionInfo>,
    config: RedisConfig,
    terms: Arc<Terms>,
    map: Mutex<Map>,
    /// Whether the map is to be made again before its next use.
    stale: AtomicBool,
    /// Held by whoever makes it.
    refreshing: tokio::sync::Mutex<()>,
}

/// The slot of a key: that of its tag.
fn slot(key: &[u8]) -> u16 {
    let mut parts = key.splitn(2, |byte| *byte == b'{');
    let tag = parts.nth(1).and_then(|rest| rest.split(|byte| *byte == b'}').next());
    let sum = crc16::State::<crc16::XMODEM>::calculate(tag.unwrap_or(key));
    sum.checked_rem(SLOTS).expect("there are slots")
}

impl Cluster {
    pub(crate) fn new(seeds: Vec<ConnectionInfo>, config: &RedisConfig, terms: Arc<Terms>) -> Self {
        Self {
            seeds,
            config: config.clone(),
            terms,
            map: Mutex::default(),
            stale: AtomicBool::new(true),
            refreshing: tokio::sync::Mutex::default(),
        }
    }

    fn map(&self) -> MutexGuard<'_, Map> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look_up(&self, slot: u16) -> Option<Arc<Server>> {
        let map = self.map();
        let (_, (first, address)) = map.ranges.range(slot..).next()?;
        if slot < *first {
            return None;
        }
        map.servers.get(address).cloned()
    }

    /// The server that has a key, as far as is known.
    pub(crate) async fn server(&self, key: &[u8]) -> Result<Arc<Server>, Failure> {
        let refreshed =
            if self.stale.load(Ordering::SeqCst) { self.refresh().await } else { Ok(()) };
        match (self.look_up(slot(key)), refreshed) {
            (Some(server), _) => Ok(server),
            (None, Err(failure)) => Err(failure),
            (None, Ok(())) => {
                self.stale.store(true, Ordering::SeqCst);
                let message = "no server of the Redis cluster has the partition's slot";
                Err(Failure::new(FailureKind::Unavailable, message))
            }
        }
    }

    /// The map is made again before its next use.
    pub(crate) fn stale(&self) {
        self.stale.store(true, Ordering::SeqCst);
    }

    /// Asks for the map, whoever answers first.
    async fn refresh(&self) -> Result<(), Failure> {
        let _one_at_a_time = self.refreshing.lock().await;
        if !self.stale.load(Ordering::SeqCst) {
            return Ok(());
        }
        let known: Vec<Address> = self.map().servers.keys().cloned().collect();
        let known = known.into_iter().filter_map(|address| self.info(&address));
        let mut last = Failure::new(FailureKind::Unavailable, "the cluster has no address");
        for info in known.chain(self.seeds.iter().cloned()) {
            match tokio::time::timeout(self.terms.timeout, self.ask(info)).await {
                Ok(Ok(ranges)) if !ranges.is_empty() => {
                    self.take(ranges);
                    self.stale.store(false, Ordering::SeqCst);
                    return Ok(());
                }
                Ok(Ok(_)) => {
                    let message = "a server of the Redis cluster knows of no slots";
                    last = Failure::new(FailureKind::Unavailable, message);
                }
                Ok(Err(failure)) => last = failure,
                Err(_) => {
                    let message = "no server of the Redis cluster answers in time";
                    last = Failure::new(FailureKind::Unavailable, message);
                }
            }
        }
        Err(last)
    }

    /// How a server of the cluster is reached: as the first was, at another address.
    fn info(&self, (name, number): &Address) -> Option<ConnectionInfo> {
        let seed = self.seeds.first()?.clone();
        let mut address = seed.addr().clone();
        match &mut address {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                (*host, *port) = (name.clone(), *number);
            }
            ConnectionAddr::Unix(_) | _ => return None,
        }
        Some(seed.set_addr(address))
    }

    /// Asks one server, whatever its role, for the map.
    async fn ask(&self, info: ConnectionInfo) -> Result<BTreeMap<u16, (u16, Address)>, Failure> {
        let host = match info.addr() {
            ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host.clone(),
            ConnectionAddr::Unix(_) | _ => String::new(),
        };
        let failed = |error| trouble::unreachable(&error);
        let client = client(info, &self.config)
            .map_err(|error| Failure::new(FailureKind::Unavailable, error.to_string()))?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.terms.timeout))
            .set_response_timeout(None);
        let connection = client.get_multiplexed_async_connection_with_config(&config).await;
        let mut connection = connection.map_err(failed)?;
        let mut command = Cmd::new();
        command.arg("CLUSTER").arg("SLOTS");
        let reply = connection.send_packed_command(&command).await.map_err(failed)?;
        let reply = reply.extract_error().map_err(failed)?;
        let ranges = parse(reply, &host);
        let message = "the answer to CLUSTER SLOTS makes no sense";
        ranges.ok_or_else(|| Failure::new(FailureKind::Unavailable, message))
    }

    fn take(&self, ranges: BTreeMap<u16, (u16, Address)>) {
        let mut map = self.map();
        let mut before = std::mem::take(&mut map.servers);
        for (_, address) in ranges.values() {
            if map.servers.contains_key(address) {
                continue;
            }
            let known = before.remove(address);
            let server = known.or_else(|| {
                let client = client(self.info(address)?, &self.config).ok()?;
                let target = Target::Client(Box::new(client));
                Some(Arc::new(Server::new(target, Arc::clone(&self.terms))))
            });
            if let Some(server) = server {
                map.servers.insert(address.clone(), server);
            }
        }
        map.ranges = ranges;
    }

    /// All servers that have slots.
    pub(crate) fn servers(&self) -> Vec<Arc<Server>> {
        self.map().servers.values().cloned().collect()
    }

    /// What all of them promise.
    pub(crate) async fn promise(&self) -> Result<Promise, ConnectError> {
        let unreachable = |failure: Failure| {
            ConnectError::new(ConnectErrorKind::Unreachable, failure.to_string())
        };
        self.refresh().await.map_err(unreachable)?;
        let mut all: Option<Promise> = None;
        for server in self.servers() {
            let promise = server.promise().await?;
            all = Some(all.map_or(promise, |all| all.and(promise)));
        }
        let message = "the Redis cluster has no servers";
        all.ok_or_else(|| ConnectError::new(ConnectErrorKind::Unreachable, message))
    }

    /// Makes the map again, and looks at all servers.
    pub(crate) async fn check(&self) {
        self.stale();
        // Asked again with the next commit.
        let _ = self.refresh().await;
        for server in self.servers() {
            server.check().await;
        }
    }
}

/// Ranges of slots, and the primary of each. A server that knows no name of its own leaves it out.
fn parse(reply: Value, asked: &str) -> Option<BTreeMap<u16, (u16, Address)>> {
    let Value::Array(rows) = reply else { return None };
    let mut ranges = BTreeMap::new();
    for row in rows {
        let Value::Array(parts) = row else { return None };
        let mut parts = parts.into_iter();
        let mut number = || match parts.next() {
            Some(Value::Int(number)) => u16::try_from(number).ok(),
            _ => None,
        };
        let (first, last) = (number()?, number()?);
        let Some(Value::Array(primary)) = parts.next() else { return None };
        let mut primary = primary.into_iter();
        let host = String::from_utf8(crate::script::bytes(primary.next()?)?).ok()?;
        let host = if host.is_empty() { asked.to_owned() } else { host };
        let Some(Value::Int(port)) = primary.next() else { return None };
        ranges.insert(last, (first, (host, u16::try_from(port).ok()?)));
    }
    Some(ranges)
}

#[cfg(test)]
mod tests;
