//! Settings of the doors: plain data, each with its default. The command line reads them from
//! files, environment and flags; nothing here does.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// All settings of the doors.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Config {
    /// The HTTP door.
    pub http: HttpConfig,
    /// What a listener outside loopback may do without.
    pub security: SecurityConfig,
    /// Payloads.
    pub uploads: UploadsConfig,
    /// Idempotency keys.
    pub idempotency: IdempotencyConfig,
    /// The journal.
    pub journal: JournalConfig,
    /// Receivers of what the journal says.
    pub webhook: Vec<WebhookConfig>,
    /// The auditor.
    pub audit: AuditConfig,
    /// Stopping.
    pub drain: DrainConfig,
    /// Log lines.
    pub log: LogConfig,
}

/// The HTTP door.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct HttpConfig {
    /// Address and port; `off` closes the door.
    pub listen: String,
    /// Names that `Host` may have besides loopback's.
    pub hosts: Vec<String>,
    /// How long a command waits unless it says otherwise.
    pub timeout: Span,
    /// From a request's first byte to the end of its header section.
    pub header_timeout: Span,
    /// For a whole JSON body, and for each write to make progress.
    pub body_timeout: Span,
    /// How long a connection may be quiet.
    pub idle_timeout: Span,
    /// Connections at once; one more is closed.
    pub connections_max: usize,
    /// The older `X-RateLimit-*` fields.
    pub legacy_ratelimit: LegacyRateLimit,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:7117".to_owned(),
            hosts: Vec::new(),
            timeout: Span::seconds(10),
            header_timeout: Span::seconds(10),
            body_timeout: Span::seconds(10),
            idle_timeout: Span::seconds(75),
            connections_max: 10_000,
            legacy_ratelimit: LegacyRateLimit::Off,
        }
    }
}

/// The form of `X-RateLimit-Reset`, if those fields are sent at all.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LegacyRateLimit {
    /// Not sent.
    #[default]
    Off,
    /// Seconds that are left.
    Delta,
    /// Unix seconds.
    Epoch,
}

/// What a listener outside loopback may do without.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SecurityConfig {
    /// Listen outside loopback although everybody may do everything.
    pub allow_anonymous: bool,
    /// Listen outside loopback without TLS, for a proxy that ends it.
    pub allow_plaintext: bool,
}

/// Payloads.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct UploadsConfig {
    /// The folder of the blobs; empty: beside the store.
    pub blobs: String,
    /// The largest payload.
    pub payload_max: Size,
    /// How long a payload may take from its first byte to its publishing.
    pub publish_window: Span,
}

impl Default for UploadsConfig {
    fn default() -> Self {
        Self {
            blobs: String::new(),
            payload_max: Size(100 << 20),
            publish_window: Span::seconds(86_400),
        }
    }
}

/// The journal.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct JournalConfig {
    /// Partitions that have one from their next accepted command on.
    pub partitions: Vec<String>,
}

/// A receiver of what the journal says.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct WebhookConfig {
    /// What it is known by: its places in the journals, and the ids of its messages.
    pub name: String,
    /// Where its messages are posted to.
    pub url: String,
    /// Partitions by name, or what their names begin with and a `*`.
    pub partitions: Vec<String>,
    /// Events that it is told of; `*`: all.
    pub events: Vec<String>,
    /// Commands whose entries it is told of, whatever their events: `tickets.redeem`, `tickets.*`.
    pub commands: Vec<String>,
    /// The file of what its messages are signed with.
    pub secret_file: String,
    /// A file of certificates that sign the receiver's, as PEM; empty: the system's.
    pub root_certificates: String,
    /// From where on it is told, when it is new.
    pub start: WebhookStart,
    /// How long an answer is waited for.
    pub timeout: Span,
    /// How long until the second attempt; each further pause is twice as long.
    pub retry_min: Span,
    /// The longest pause.
    pub retry_max: Span,
}

impl Default for WebhookConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            url: String::new(),
            partitions: Vec::new(),
            events: vec!["*".to_owned()],
            commands: Vec::new(),
            secret_file: String::new(),
            root_certificates: String::new(),
            start: WebhookStart::Now,
            timeout: Span::seconds(10),
            retry_min: Span::seconds(1),
            retry_max: Span::seconds(300),
        }
    }
}

/// From where on a new webhook is told.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookStart {
    /// Of what is accepted from now on.
    #[default]
    Now,
    /// Of all there is, from the first entry on.
    First,
}

/// Idempotency keys.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct IdempotencyConfig {
    /// How long an outcome is kept; longer than any caller retries.
    pub retention: Span,
    /// Which commands must have one.
    pub required: KeyRequired,
}

impl Default for IdempotencyConfig {
    fn default() -> Self {
        Self { retention: Span::seconds(7 * 86_400), required: KeyRequired::Money }
    }
}

/// Which commands must have an idempotency key.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyRequired {
    /// None.
    None,
    /// Those that move money.
    #[default]
    Money,
    /// All that change something.
    All,
}

/// The auditor.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct AuditConfig {
    /// How long it rests between two rounds; `off`: it does not run.
    pub period: Pause,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self { period: Pause(Duration::from_secs(300)) }
    }
}

/// Stopping.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct DrainConfig {
    /// How long accepted requests may take to finish.
    pub timeout: Span,
}

impl Default for DrainConfig {
    fn default() -> Self {
        Self { timeout: Span::seconds(5) }
    }
}

/// Log lines.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct LogConfig {
    /// What is written.
    pub level: LogLevel,
    /// How.
    pub format: LogFormat,
    /// Whether partitions and ids are named.
    pub ids: bool,
}

/// What is written to the log: this and what is worse.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Something broke.
    Error,
    /// Something an operator should look at.
    Warn,
    /// What was done.
    #[default]
    Info,
    /// Every request, with ids.
    Debug,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One object per line.
    #[default]
    Json,
    /// For people.
    Text,
}

/// A span of time, written as a number and `ms`, `s`, `m`, `h` or `d`.
///
/// ```
/// use bellpunch_server::Span;
/// assert_eq!("500ms".parse::<Span>()?.get().as_millis(), 500);
/// assert_eq!(Span::seconds(90).to_string(), "90s");
/// assert!("10".parse::<Span>().is_err() && "1.5s".parse::<Span>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Span(Duration);

const SPAN_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Span {
    /// So many seconds.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// So many milliseconds.
    #[must_use]
    pub const fn milliseconds(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }

    /// The span.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl std::str::FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (count, unit) = text.split_at(split);
        SPAN_UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .and_then(|(_, milliseconds)| count.parse::<u64>().ok()?.checked_mul(*milliseconds))
            .filter(|milliseconds| 0 < *milliseconds)
            .map(Self::milliseconds)
            .ok_or_else(|| {
                format!("{text:?} is not a time: write for example \"500ms\" or \"10s\"")
            })
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let milliseconds = self.0.as_millis();
        let seconds = milliseconds.checked_div(1_000).unwrap_or_default();
        if milliseconds.is_multiple_of(1_000) {
            write!(f, "{seconds}s")
        } else {
            write!(f, "{milliseconds}ms")
        }
    }
}

/// A span of time, or `off`.
///
/// ```
/// use bellpunch_server::Pause;
/// assert_eq!("5m".parse::<Pause>()?.get().as_secs(), 300);
/// assert!("off".parse::<Pause>()?.get().is_zero() && "0".parse::<Pause>()?.get().is_zero());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Pause(Duration);

impl Pause {
    /// The span; none if it is off.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl std::str::FromStr for Pause {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" | "0" => Ok(Self(Duration::ZERO)),
            span => span.parse::<Span>().map(|span| Self(span.get())),
        }
    }
}

impl std::fmt::Display for Pause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_zero() { f.write_str("off") } else { Span(self.0).fmt(f) }
    }
}

/// A count of bytes, written as a number and `B`, `KiB`, `MiB` or `GiB`.
///
/// ```
/// use bellpunch_server::Size;
/// assert_eq!("64MiB".parse::<Size>()?.get(), 64 << 20);
/// assert_eq!(Size::bytes(1 << 20).to_string(), "1MiB");
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Size(u64);

const SIZE_UNITS: [(&str, u64); 4] =
    [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl Size {
    /// So many bytes.
    #[must_use]
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The count.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (count, unit) = text.split_at(split);
        SIZE_UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .and_then(|(_, bytes)| count.parse::<u64>().ok()?.checked_mul(*bytes))
            .map(Self)
            .ok_or_else(|| format!("{text:?} is not a size: write for example \"64MiB\""))
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let largest = SIZE_UNITS
            .iter()
            .find(|(_, bytes)| *bytes <= self.0 && self.0.is_multiple_of(*bytes))
            .unwrap_or(&("B", 1));
        write!(f, "{}{}", self.0.checked_div(largest.1).unwrap_or_default(), largest.0)
    }
}

macro_rules! as_text {
    ($($type:ty)*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
as_text!(Span Pause Size);
