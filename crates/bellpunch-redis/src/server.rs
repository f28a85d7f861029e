//! One server: its connections, and whether it still keeps what was promised.
//!
//! Invariant: a connection is used only after the server's settings were looked at on it; what was
//! handed to a connection and got no reply is lost, never failed, and never sent again from here.
//! Why no `ConnectionManager` or cluster client of the library: they send again by themselves, and
//! they hide that a new connection leads to another server, whose settings nobody has looked at.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bellpunch_store::{Failure, FailureKind};
use redis::aio::MultiplexedConnection;
use redis::sentinel::SentinelClient;
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, RedisError, Value};
use tokio::time::timeout;

use crate::promise::{Answers, Promise, Refusal, SETTINGS, Way};
use crate::trouble::{self, Trouble};
use crate::{ConnectError, ConnectErrorKind};

/// What all servers of a store have in common.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) timeout: Duration,
    pub(crate) way: Way,
    /// What was promised when the store was connected. Unset until then.
    pub(crate) promised: OnceLock<Promise>,
}

/// Where a server is.
pub(crate) enum Target {
    /// At an address.
    Client(Box<Client>),
    /// Wherever the sentinels say that the primary is.
    Sentinel(tokio::sync::Mutex<Box<SentinelClient>>),
}

/// Commits are not kept waiting by large reads.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lane {
    Commits,
    Reads,
}

/// A connection, until it is known to be broken.
#[derive(Debug, Default)]
struct Link(tokio::sync::Mutex<Option<Wire>>);

#[derive(Clone, Debug)]
struct Wire {
    connection: MultiplexedConnection,
    /// Tells connections apart.
    identity: Arc<()>,
}

/// A server, and connections to it.
pub(crate) struct Server {
    target: Target,
    terms: Arc<Terms>,
    commits: Link,
    reads: Link,
    /// Why nothing may be committed, since the server was last looked at.
    weakness: Mutex<Option<Failure>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("weakness", &self.weakness()).finish_non_exhaustive()
    }
}

impl Server {
    pub(crate) fn new(target: Target, terms: Arc<Terms>) -> Self {
        let (commits, reads) = (Link::default(), Link::default());
        Self { target, terms, commits, reads, weakness: Mutex::default() }
    }

    fn weakness(&self) -> MutexGuard<'_, Option<Failure>> {
        self.weakness.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends commands in one go, waits for all replies. A reply may be an error of the server.
    pub(crate) async fn ask(
        &self,
        lane: Lane,
        (pipeline, replies): (&Pipeline, usize),
    ) -> Result<Vec<Value>, Trouble> {
        let mut wire = self.wire(lane).await?;
        if let Some(weakness) = self.weakness().clone() {
            return Err(Trouble::Refused(weakness));
        }
        let sent = wire.connection.send_packed_commands(pipeline, 0, replies);
        match timeout(self.terms.timeout, sent).await {
            Ok(Ok(values)) => Ok(values),
            Ok(Err(error)) => {
                self.broken(lane, &wire).await;
                Err(Trouble::Lost(format!("the connection to Redis broke: {error}")))
            }
            Err(_) => Err(Trouble::Late("Redis did not reply in time".to_owned())),
        }
    }

    fn link(&self, lane: Lane) -> &Link {
        match lane {
            Lane::Commits => &self.commits,
            Lane::Reads => &self.reads,
        }
    }

    /// A connection that was looked at; a new one if there is none.
    async fn wire(&self, lane: Lane) -> Result<Wire, Trouble> {
        let connect = async {
            let mut place = self.link(lane).0.lock().await;
            if let Some(wire) = &*place {
                return Ok(wire.clone());
            }
            let (wire, promise) = self
                .connect()
                .await
                .map_err(|error| Failure::new(FailureKind::Unavailable, error.to_string()))?;
            self.look(promise)?;
            *place = Some(wire.clone());
            Ok(wire)
        };
        match timeout(self.terms.timeout, connect).await {
            Ok(wire) => wire.map_err(Trouble::Refused),
            Err(_) => {
                let message = "Redis cannot be reached: no connection in time";
                Err(Trouble::Refused(Failure::new(FailureKind::Unavailable, message)))
            }
        }
    }

    /// The other connection is made anew, too: a server that ended cut both, and a commit that is
    /// sent on a dead one is unknown where it could have been sent on a new one.
    async fn broken(&self, lane: Lane, wire: &Wire) {
        let mut place = self.link(lane).0.lock().await;
        let known = place.as_ref().is_some_and(|now| Arc::ptr_eq(&now.identity, &wire.identity));
        if known {
            *place = None;
            drop(place);
            self.disconnect().await;
        }
    }

    /// Compares what the server promises now with what was promised at first.
    fn look(&self, promise: Promise) -> Result<(), Failure> {
        let weak = self.terms.promised.get().filter(|promised| !promise.holds(**promised));
        let failure = weak.map(|promised| {
            let message = format!(
                "the settings or replicas of Redis promise less than when it was connected \
                 ({promise:?}, not {promised:?}): restore them, or accept the risk and start again"
            );
            Failure::new(FailureKind::Unavailable, message)
        });
        self.weakness().clone_from(&failure);
        failure.map_or(Ok(()), Err)
    }

    /// Looks at the server once more. What it says counts from now on.
    pub(crate) async fn check(&self) {
        // A new connection is looked at when it is made.
        let Ok(wire) = self.wire(Lane::Reads).await else { return };
        let asked = timeout(self.terms.timeout, self.question(&wire.connection)).await;
        match asked {
            Ok(Ok(promise)) => {
                // Noted, for whoever asks next.
                let _ = self.look(promise);
            }
            // Another may be the primary now; a new connection is looked at again.
            Ok(Err(_)) | Err(_) => self.disconnect().await,
        }
    }

    /// Whoever asks next connects anew.
    pub(crate) async fn disconnect(&self) {
        *self.reads.0.lock().await = None;
        *self.commits.0.lock().await = None;
    }

    async fn client(&self) -> Result<Client, RedisError> {
        match &self.target {
            Target::Client(client) => Ok((**client).clone()),
            Target::Sentinel(sentinel) => sentinel.lock().await.async_get_client().await,
        }
    }

    /// Connects, and asks what the server promises.
    async fn connect(&self) -> Result<(Wire, Promise), ConnectError> {
        let unreachable = |error: RedisError| {
            let message = trouble::unreachable(&error).to_string();
            ConnectError::new(ConnectErrorKind::Unreachable, message)
        };
        let client = self.client().await.map_err(unreachable)?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.terms.timeout))
            .set_response_timeout(None);
        let connection = client.get_multiplexed_async_connection_with_config(&config).await;
        let connection = connection.map_err(unreachable)?;
        let promise = self.question(&connection).await?;
        Ok((Wire { connection, identity: Arc::new(()) }, promise))
    }

    /// What it promises, before any use of it.
    pub(crate) async fn promise(&self) -> Result<Promise, ConnectError> {
        match timeout(self.terms.timeout, self.connect()).await {
            Ok(connected) => Ok(connected?.1),
            Err(_) => Err(ConnectError::new(
                ConnectErrorKind::Unreachable,
                "Redis cannot be reached: no connection in time",
            )),
        }
    }

    async fn question(&self, connection: &MultiplexedConnection) -> Result<Promise, ConnectError> {
        let mut pipeline = Pipeline::with_capacity(SETTINGS.len());
        pipeline.cmd("INFO");
        for name in SETTINGS {
            pipeline.cmd("CONFIG").arg("GET").arg(name);
        }
        let count = pipeline.len();
        let replies = connection.clone().send_packed_commands(&pipeline, 0, count).await;
        let mut replies = replies
            .map_err(|error| {
                let message = trouble::unreachable(&error).to_string();
                ConnectError::new(ConnectErrorKind::Unreachable, message)
            })?
            .into_iter();
        let info = redis::from_redis_value::<String>(replies.next().unwrap_or_default());
        let info = info.map_err(|error| {
            let message = format!("Redis does not tell what it is (INFO): {error}");
            ConnectError::new(ConnectErrorKind::Unreachable, message)
        })?;
        let mut answers = Answers { info: Answers::info(&info), ..Answers::default() };
        for reply in replies {
            // A server that forbids `CONFIG` answers with an error: it did not say.
            if let Ok(pairs) = redis::from_redis_value::<Vec<(String, String)>>(reply) {
                answers.settings.extend(pairs);
            }
        }
        answers.promise(self.terms.way).map_err(|refusal| match refusal {
            Refusal::Unsafe(message) => ConnectError::new(ConnectErrorKind::Unsafe, message),
            Refusal::NotReady(message) => ConnectError::new(ConnectErrorKind::Unreachable, message),
        })
    }
}

/// A command, alone.
pub(crate) fn alone(command: Cmd) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(1);
    pipeline.add_command(command);
    pipeline
}
