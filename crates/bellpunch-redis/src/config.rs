//! What a store is connected with, and why it would not be.

use std::fmt;
use std::time::Duration;

use bellpunch_store::Risk;

/// How a Redis store is reached, and what is asked of it.
///
/// ```
/// use bellpunch_redis::RedisConfig;
/// let config = RedisConfig::new("redis://127.0.0.1:6379/0");
/// assert_eq!((config.prefix.as_str(), config.replicas_min), ("bellpunch", 0));
/// ```
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// `redis://host:port/database`, `rediss://` for TLS, `redis+sentinel://one,two/master`,
    /// `redis+cluster://one,two`; with `user:password@` before the hosts. `rediss+sentinel://` and
    /// `rediss+cluster://` are the same over TLS.
    pub url: String,
    /// The certificates that the server's is signed by, as PEM. `None`: the system's.
    pub root_certificates: Option<Vec<u8>>,
    /// How far a commit's `now` may be ahead of the server's clock, in nanoseconds.
    pub clock_skew_max_ns: u64,
    /// How long a connection, a read or a commit may take. A commit that takes longer is unknown.
    pub timeout: Duration,
    /// What all keys begin with: several stores may share a server. No braces.
    pub prefix: String,
    /// How many replicas must have a commit before it is acknowledged (`WAIT`). It makes a loss on
    /// failover rarer, and no less possible: the risk stays.
    pub replicas_min: u32,
    /// How long ids of commits are remembered. A commit whose reply was lost is resolved within
    /// this; after it, the store says that it no longer knows. Each costs about 180 bytes.
    pub remember: Duration,
    /// How often the server's settings are looked at.
    pub check_every: Duration,
    /// The risk that the operator has accepted: the store says it has it, whatever the server's
    /// settings are just now. Without it a server that becomes riskier is refused from then on.
    pub accept_risk: Option<Risk>,
    /// The time that scripts are told instead of reading the server's, for tests.
    #[cfg(feature = "testing")]
    pub clock: Option<std::sync::Arc<dyn bellpunch_store::Clock>>,
}

impl RedisConfig {
    /// The defaults: 500 ms of skew, 5 s, no replicas waited for, ids for 10 minutes, a look at the
    /// settings every 30 s, no risk accepted.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            root_certificates: None,
            clock_skew_max_ns: 500_000_000,
            timeout: Duration::from_secs(5),
            prefix: "bellpunch".to_owned(),
            replicas_min: 0,
            remember: Duration::from_secs(600),
            check_every: Duration::from_secs(30),
            accept_risk: None,
            #[cfg(feature = "testing")]
            clock: None,
        }
    }
}

/// Why a store was not connected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ConnectErrorKind {
    /// The configuration makes no sense.
    Config,
    /// The server cannot be reached, or refuses to talk.
    Unreachable,
    /// The server may lose or change what it acknowledged in ways that no risk has a name for.
    Unsafe,
    /// A newer release wrote what is there.
    Newer,
    /// What is there was not written by Bellpunch, or is damaged.
    Damaged,
}

/// A store was not connected; what happened, to what, and what to do next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnectError {
    kind: ConnectErrorKind,
    message: String,
}

impl ConnectError {
    pub(crate) fn new(kind: ConnectErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// What to do.
    #[must_use]
    pub const fn kind(&self) -> ConnectErrorKind {
        self.kind
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConnectError {}
