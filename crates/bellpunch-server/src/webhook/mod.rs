//! Webhooks: what the journal says, told to a receiver, at least once.
//!
//! Invariant: the cursor of a webhook in a partition passes an entry only when the receiver has
//! taken, with a 2xx, every message of it and of all entries before. What was committed is
//! therefore told, whatever dies in between; what was told may be told again, under the same id.
//!
//! Why from the journal and not from the reply of a command: between a commit and a sending a
//! process may end, and nobody would know that something was to be sent. An event is part of the
//! entry, so the commit that brings it about is the one that makes it owed.
//!
//! Within a partition messages keep the order of the journal: one that is not taken holds up those
//! behind it, for as long as it takes. Partitions do not wait for each other.

pub(crate) mod client;
mod cursor;
mod lane;
mod message;
mod worker;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bellpunch::{Key, Partition};
use hyper::Uri;
use tokio::task::JoinSet;

use crate::app::App;
use crate::config::{LogLevel, SecurityConfig, WebhookConfig, WebhookStart};
use client::Sender;
use message::{Secrets, Wanted};

/// Webhooks of one server.
const WEBHOOKS_MAX: usize = 64;
/// Partitions, events or commands that a webhook names.
const NAMES_MAX: usize = 64;
/// The longest name of a webhook, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// The longest that an answer, and another attempt, may be waited for.
const TIMEOUT_MAX: Duration = Duration::from_secs(60);
const RETRY_MAX: Duration = Duration::from_hours(24);

/// What is wrong with a webhook's settings.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WebhookError(String);

impl fmt::Display for WebhookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WebhookError {}

/// What the files say that a webhook's settings name. Whoever may read files reads them.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "it has a secret")]
pub struct WebhookFiles<'a> {
    /// Of `secret_file`.
    pub secret: &'a str,
    /// Of `root_certificates`, where it is set.
    pub root_certificates: Option<&'a [u8]>,
}

/// A receiver of what the journal says, and what it is told of.
///
/// ```
/// use bellpunch_server::{SecurityConfig, Webhook, WebhookConfig, WebhookFiles};
/// let mut config = WebhookConfig::default();
/// config.name = "alerts".to_owned();
/// config.url = "https://hooks.example/bell".to_owned();
/// config.partitions = vec!["acme/*".to_owned()];
/// let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// let files = WebhookFiles { secret, root_certificates: None };
/// let security = SecurityConfig::default();
/// assert!(Webhook::new(&config, files, &security).is_ok());
/// config.url = "http://hooks.example/bell".to_owned();
/// assert!(Webhook::new(&config, files, &security).is_err());
/// ```
#[derive(Debug)]
pub struct Webhook {
    name: Key,
    patterns: Vec<Key>,
    wanted: Wanted,
    start: WebhookStart,
    secrets: Secrets,
    sender: Sender,
    retry: (Duration, Duration),
}

impl Webhook {
    /// A webhook with these settings.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(
        config: &WebhookConfig,
        files: WebhookFiles<'_>,
        security: &SecurityConfig,
    ) -> Result<Self, WebhookError> {
        let shown = &config.name;
        let wrong = |what: &dyn fmt::Display| WebhookError(format!("webhook {shown:?}: {what}"));
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let short = (1..=NAME_BYTES_MAX).contains(&shown.len());
        if !short || !shown.bytes().all(legal) {
            return Err(wrong(&"name is 1 to 64 letters, digits, `-`, `_` or `.`"));
        }
        let name = Key::new(shown).map_err(|cause| wrong(&cause))?;
        let patterns = patterns(&config.partitions).map_err(|cause| wrong(&cause))?;
        names(config).map_err(|cause| wrong(&cause))?;
        let wanted = Wanted { events: config.events.clone(), commands: config.commands.clone() };
        let (timeout, first, last) =
            (config.timeout.get(), config.retry_min.get(), config.retry_max.get());
        if TIMEOUT_MAX < timeout {
            return Err(wrong(&"timeout is at most 60s"));
        }
        if last < first || RETRY_MAX < last {
            return Err(wrong(&"retry_max is at least retry_min, and at most 1d"));
        }
        let url = url(&config.url, security).map_err(|cause| wrong(&cause))?;
        let secrets = Secrets::read(files.secret).map_err(|cause| wrong(&cause))?;
        let sender = Sender::new(url, timeout, files.root_certificates);
        let sender = sender.map_err(|cause| wrong(&cause))?;
        let (start, retry) = (config.start, (first, last));
        Ok(Self { name, patterns, wanted, start, secrets, sender, retry })
    }

    /// Tells all of them apart by their names.
    pub(crate) fn check_all(webhooks: &[Self]) -> Result<(), WebhookError> {
        if WEBHOOKS_MAX < webhooks.len() {
            return Err(WebhookError(format!("there are at most {WEBHOOKS_MAX} webhooks")));
        }
        let mut names: Vec<&Key> = webhooks.iter().map(|webhook| &webhook.name).collect();
        names.sort();
        match names.windows(2).find(|pair| pair.first() == pair.last()) {
            Some(pair) => Err(WebhookError(format!("two webhooks are called {:?}", pair.first()))),
            None => Ok(()),
        }
    }

    /// How long until another attempt after so many failures: twice as long after each, half of it
    /// by chance, so that many that failed at once do not come back at once.
    fn pause(&self, failures: u32) -> Duration {
        let (first, last) = self.retry;
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let whole = first.saturating_mul(doubled).min(last);
        let half = whole.checked_div(2).unwrap_or_default();
        let part = half.checked_div(CHANCES).unwrap_or_default();
        half.saturating_add(part.saturating_mul(chance()))
    }
}

/// How many values chance may have.
const CHANCES: u32 = 1 << 16;

/// One of [`CHANCES`] values.
fn chance() -> u32 {
    let mut bytes = [0; 2];
    getrandom::fill(&mut bytes).expect("the operating system has random bits");
    u16::from_le_bytes(bytes).into()
}

/// Names of partitions, or what they begin with and a `*`.
fn patterns(named: &[String]) -> Result<Vec<Key>, String> {
    if named.is_empty() || NAMES_MAX < named.len() {
        return Err(format!("partitions names 1 to {NAMES_MAX} partitions or prefixes"));
    }
    let one = |pattern: &String| {
        let reserved = pattern.starts_with('_');
        let exact = pattern.strip_suffix('*').unwrap_or(pattern);
        let legal = exact.is_empty() && pattern == "*" || Partition::new(exact).is_ok();
        if reserved || !legal {
            return Err(format!("partitions: {pattern:?} is no name, and no prefix and `*`"));
        }
        Key::new(pattern).map_err(|cause| cause.to_string())
    };
    named.iter().map(one).collect()
}

fn names(config: &WebhookConfig) -> Result<(), String> {
    let WebhookConfig { events, commands, .. } = config;
    if NAMES_MAX < events.len() || NAMES_MAX < commands.len() {
        return Err(format!("events and commands have at most {NAMES_MAX} names each"));
    }
    if events.is_empty() && commands.is_empty() {
        return Err("it names neither events nor commands: there is nothing to tell".to_owned());
    }
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let wrong =
        events.iter().find(|name| *name != "*" && (name.is_empty() || !name.bytes().all(legal)));
    if let Some(name) = wrong {
        return Err(format!("events: {name:?} is no name of an event"));
    }
    let known =
        |wanted: &str| bellpunch::commands().any(|spec| message::matches(wanted, spec.name));
    let whole = |wanted: &str| wanted == "*" || wanted.ends_with(".*") || !wanted.ends_with('*');
    match commands.iter().find(|name| !known(name) || !whole(name)) {
        Some(name) => Err(format!("commands: no command is called {name:?}")),
        None => Ok(()),
    }
}

fn url(text: &str, security: &SecurityConfig) -> Result<Uri, String> {
    let url: Uri = text.parse().map_err(|_| "url is no URL".to_owned())?;
    let Some(authority) = url.authority() else {
        return Err("url has no host: write https://…".to_owned());
    };
    if authority.as_str().contains('@') {
        return Err("url has a user: receivers know us by the signature".to_owned());
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let loopback = host.eq_ignore_ascii_case("localhost")
        || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    match url.scheme_str() {
        Some("https") => Ok(url),
        Some("http") if loopback || security.allow_plaintext => Ok(url),
        Some("http") => Err("url is http, and not on this machine: everybody on the way can read \
                             what it is told. Use https, or set security.allow_plaintext"
            .to_owned()),
        Some(_) | None => Err("url is neither https nor http".to_owned()),
    }
}

/// Tells all webhooks for as long as the server runs.
pub(crate) async fn run(app: &Arc<App>, webhooks: Vec<Webhook>) {
    let mut all = JoinSet::new();
    for webhook in webhooks {
        app.metrics.webhook(webhook.name.as_str());
        all.spawn(worker::run(Arc::clone(app), Arc::new(webhook)));
    }
    while let Some(ended) = all.join_next().await {
        if let Err(error) = ended {
            // A bug; what it owed is told after a restart, and its age says that it is owed.
            let fields = [("error", error.to_string())];
            app.log.event(LogLevel::Error, "a webhook's task has ended", &fields);
        }
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests;
