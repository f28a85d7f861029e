//! What a PostgreSQL store is told, and how its address is read.
//!
//! Invariant: whatever an address asks for and this release does not know is refused. With TLS the
//! server's certificate and name are always verified: a mode that encrypts to nobody in particular
//! is not offered.

use std::fmt;
use std::str::FromStr as _;
use std::time::Duration;

use bellpunch_store::Risk;
use tokio_postgres::config::TargetSessionAttrs;

/// How to reach a store, and what to bear with.
///
/// ```
/// use bellpunch_postgres::PostgresConfig;
/// let config = PostgresConfig::new("postgres://bellpunch@db.example/bellpunch?sslmode=verify-full");
/// assert_eq!(config.schema, "bellpunch");
/// assert_eq!(config.accept_risk, None);
/// ```
#[derive(Clone)]
pub struct PostgresConfig {
    /// `postgres://user:password@host:port/database`; several hosts, parted by commas, are tried in
    /// turn, and the one that can be written is used. `sslmode` is one of `disable`, `prefer`,
    /// `require` and `verify-full`; the last two are the same here.
    pub url: String,
    /// Certificates (PEM) of those whose signature is trusted. `None`: the system's.
    pub root_certificates: Option<Vec<u8>>,
    /// How far a commit's `now` may be ahead of the server's clock, in nanoseconds.
    pub clock_skew_max_ns: u64,
    /// How long a connection and each answer are waited for.
    pub timeout: Duration,
    /// At most so many connections.
    pub connections_max: usize,
    /// The schema in which all tables, views and functions are.
    pub schema: String,
    /// The way of losing commits that is borne with. `None`: a server with one is refused.
    pub accept_risk: Option<Risk>,
}

impl PostgresConfig {
    /// A skew of 500 ms, 5 s for an answer, 8 connections, the schema `bellpunch`, no risk.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            root_certificates: None,
            clock_skew_max_ns: 500_000_000,
            timeout: Duration::from_secs(5),
            connections_max: 8,
            schema: "bellpunch".to_owned(),
            accept_risk: None,
        }
    }
}

/// Without the address, which may hold a password.
impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig").field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// Why a store cannot be used, and so what to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ConnectErrorKind {
    /// The configuration is wrong, or the server's does not fit it: change one.
    Config,
    /// No server that can be written answers: try again.
    Unreachable,
    /// It would lose commits it acknowledged, or is a standby.
    Unsafe,
    /// A newer release wrote what is stored: upgrade.
    Newer,
    /// What is stored there is not what any release writes.
    Damaged,
}

/// Why a store cannot be used.
#[derive(Clone, Debug)]
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

fn wrong(message: impl Into<String>) -> ConnectError {
    ConnectError::new(ConnectErrorKind::Config, message)
}

/// A schema's name that needs no thought where it is quoted.
pub(crate) fn check_schema(name: &str) -> Result<(), ConnectError> {
    let first = name.starts_with(|letter: char| letter.is_ascii_lowercase() || letter == '_');
    let letter =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    if first && name.len() <= 63 && name.chars().all(letter) && !name.starts_with("pg_") {
        return Ok(());
    }
    Err(wrong(format!(
        "the schema {name:?} is refused: it has up to 63 letters a-z, digits and _, begins with no \
         digit and not with pg_"
    )))
}

/// Reads the address. What the sessions need is set as they begin.
pub(crate) fn parse(config: &PostgresConfig) -> Result<tokio_postgres::Config, ConnectError> {
    check_schema(&config.schema)?;
    if config.connections_max == 0 || config.timeout.is_zero() {
        return Err(wrong("connections and timeout are above 0"));
    }
    let known = config.url.starts_with("postgres://") || config.url.starts_with("postgresql://");
    if !known {
        return Err(wrong("the address begins with postgres:// or postgresql://"));
    }
    let (address, query) = config.url.split_once('?').unwrap_or((&config.url, ""));
    let mut kept = Vec::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter {
            "sslmode=verify-full" => kept.push("sslmode=require"),
            other if other.starts_with("sslrootcert=") => {
                if config.root_certificates.is_none() {
                    let message = "sslrootcert names a file: pass its content as root certificates";
                    return Err(wrong(message));
                }
            }
            other => kept.push(other),
        }
    }
    let separator = if kept.is_empty() { "" } else { "?" };
    let url = format!("{address}{separator}{}", kept.join("&"));
    let parsed = tokio_postgres::Config::from_str(&url);
    let mut parsed = parsed.map_err(|error| {
        wrong(format!("the address cannot be read: {}", crate::failure::causes(&error)))
    })?;
    if 1 < parsed.get_hosts().len().max(parsed.get_hostaddrs().len()) {
        parsed.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
    if parsed.get_application_name().is_none() {
        parsed.application_name("bellpunch");
    }
    // Locks are waited for half as long as answers, so that a commit in the way of others' SQL is
    // refused with a cause.
    let millis = config.timeout.as_millis().max(2);
    let options = format!(
        "{} -c default_transaction_isolation=read\\ committed -c statement_timeout={millis} \
         -c lock_timeout={}",
        parsed.get_options().unwrap_or_default(),
        millis.checked_div(2).unwrap_or(1),
    );
    parsed.options(options.trim_start());
    parsed.connect_timeout(config.timeout);
    Ok(parsed)
}

#[cfg(test)]
mod tests;
