//! Settings from defaults, file, environment and flags, in this order.
//!
//! Invariant: a key that nobody knows is an error with the nearest known one: a misspelt
//! `required` must not mean that nothing is required.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bellpunch::store::Risk;
use bellpunch::{EngineConfig, Partition};
use bellpunch_server::{Config, Size, Span, Webhook, WebhookConfig, WebhookFiles};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::args::{ServeArgs, StoreArgs};
use crate::failure::Failure;
use crate::secret;

const PREFIX: &str = "BELLPUNCH_";
const FILE: &str = "bellpunch.toml";

/// Where records are kept, and how a server of them is reached.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoreSettings {
    pub(crate) url: String,
    /// A file that has the URL, so that its password is in no list of processes.
    pub(crate) url_file: String,
    pub(crate) clock_skew_max: Span,
    pub(crate) timeout: Span,
    pub(crate) connections_max: usize,
    /// The schema of the tables; the prefix of the keys.
    pub(crate) schema: String,
    accept_risk: String,
    pub(crate) replicas_min: u32,
    /// A file of certificates that sign the server's, as PEM.
    pub(crate) root_certificates: String,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            url: "disk:./bellpunch-data".to_owned(),
            url_file: String::new(),
            clock_skew_max: Span::milliseconds(500),
            timeout: Span::seconds(5),
            connections_max: 8,
            schema: "bellpunch".to_owned(),
            accept_risk: String::new(),
            replicas_min: 0,
            root_certificates: String::new(),
        }
    }
}

impl std::fmt::Debug for StoreSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreSettings").field("url", &self.shown_url()).finish_non_exhaustive()
    }
}

impl StoreSettings {
    /// The URL as it may be shown.
    pub(crate) fn shown_url(&self) -> String {
        secret::redacted(&self.url)
    }

    /// The risk that the operator accepts by its name.
    pub(crate) fn accepted(&self) -> Result<Option<Risk>, Failure> {
        let risks = [Risk::LostOnCrash, Risk::LostOnFailover];
        match self.accept_risk.as_str() {
            "" => Ok(None),
            name => risks.into_iter().find(|risk| risk.name() == name).map(Some).ok_or_else(|| {
                let [crash, failover] = risks.map(Risk::name);
                Failure::usage(format!(
                    "store.accept_risk = {name:?}: write {crash} or {failover}, or nothing"
                ))
            }),
        }
    }

    /// How far a decision's time may be ahead of the store's clock.
    pub(crate) fn clock_skew_max_ns(&self) -> u64 {
        u64::try_from(self.clock_skew_max.get().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Takes the URL from its file.
    fn take_url(&mut self) -> Result<(), Failure> {
        if self.url_file.is_empty() {
            return Ok(());
        }
        let text = read_text(Path::new(&self.url_file))?;
        let url = text.strip_suffix('\n').unwrap_or(&text);
        let url = url.strip_suffix('\r').unwrap_or(url);
        if url.is_empty() || url.contains(char::is_whitespace) {
            let file = &self.url_file;
            return Err(Failure::usage(format!("store.url_file = {file:?}: it is not one URL")));
        }
        url.clone_into(&mut self.url);
        Ok(())
    }
}

/// Bounds of the engine.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EngineSettings {
    pub(crate) shards: usize,
    pub(crate) queue_max: usize,
    pub(crate) batch_max: usize,
    pub(crate) retries_max: u32,
    pub(crate) cache_max: Size,
}

impl Default for EngineSettings {
    fn default() -> Self {
        let EngineConfig { shards, queue_max, batch_max, retries_max, .. } =
            EngineConfig::default();
        Self { shards, queue_max, batch_max, retries_max, cache_max: Size::bytes(64 << 20) }
    }
}

/// All settings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) server: Config,
    pub(crate) store: StoreSettings,
    pub(crate) engine: EngineSettings,
    origins: BTreeMap<String, (Value, String)>,
}

impl Settings {
    /// Reads all layers of a server.
    pub(crate) fn read(args: &ServeArgs) -> Result<Self, Failure> {
        Self::of(&args.layers, args.listen.as_deref())
    }

    /// Reads all layers of a command that looks at a store.
    pub(crate) fn of_store(args: &StoreArgs) -> Result<Self, Failure> {
        Self::of(args, None)
    }

    fn of(args: &StoreArgs, listen: Option<&str>) -> Result<Self, Failure> {
        let mut layers = Layers::of_defaults()?;
        match &args.config {
            Some(path) => layers.file(path)?,
            None if Path::new(FILE).exists() => layers.file(Path::new(FILE))?,
            None => {}
        }
        layers.environment(variables())?;
        layers.flags(args, listen)?;
        let mut settings = layers.settings()?;
        settings.store.take_url()?;
        Ok(settings)
    }

    /// What a file of this text makes of the defaults, and then one variable.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn of_text(text: &str, variable: Option<(&str, &str)>) -> Result<Self, Failure> {
        let mut layers = Layers::of_defaults()?;
        layers.text(text, "a file")?;
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        layers.environment(variable.map(own).into_iter())?;
        layers.settings()
    }

    /// The settings as a file has them.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn written(&self) -> String {
        let line = |(key, (value, _)): (&String, &(Value, String))| format!("{key} = {value}\n");
        self.origins.iter().map(line).collect()
    }

    /// Every setting, its value and where it comes from.
    pub(crate) fn shown(&self) -> String {
        let mut text = String::new();
        for (key, (value, origin)) in &self.origins {
            let value = secret::of_setting(key, value);
            text.push_str(&format!("{key} = {value}  # {origin}\n"));
        }
        text
    }

    /// The same for programs.
    pub(crate) fn shown_json(&self) -> serde_json::Value {
        let each = self.origins.iter().map(|(key, (value, origin))| {
            let value = secret::of_setting(key, value);
            (key.clone(), serde_json::json!({ "value": value, "origin": origin }))
        });
        serde_json::Value::Object(each.collect())
    }

    /// The webhooks, with what is in the files that they name.
    pub(crate) fn webhooks(&self) -> Result<Vec<Webhook>, Failure> {
        let security = &self.server.security;
        let one = |config: &WebhookConfig| {
            let secret = read_text(Path::new(&config.secret_file)).map_err(|failure| {
                Failure::usage(format!("webhook {:?}: secret_file: {failure}", config.name))
            })?;
            let roots = match config.root_certificates.as_str() {
                "" => None,
                path => Some(read_text(Path::new(path))?),
            };
            let root_certificates = roots.as_ref().map(String::as_bytes);
            let files = WebhookFiles { secret: &secret, root_certificates };
            let webhook = Webhook::new(config, files, security);
            webhook.map_err(|error| Failure::usage(error.to_string()))
        };
        self.server.webhook.iter().map(one).collect()
    }

    /// The partitions that have a journal from now on.
    fn journaled(&self) -> Result<BTreeSet<Partition>, Failure> {
        let names = self.server.journal.partitions.iter();
        let wrong = |error| Failure::usage(format!("journal.partitions: {error}"));
        names.map(|name| Partition::new(name).map_err(wrong)).collect()
    }

    /// The engine's settings.
    pub(crate) fn engine_config(&self) -> Result<EngineConfig, Failure> {
        let duration = |name: &str, span: Span| {
            bellpunch::Duration::checked(span.get().as_nanos())
                .ok_or_else(|| Failure::usage(format!("{name} is 0 or longer than 584 years")))
        };
        let EngineSettings { shards, queue_max, batch_max, retries_max, cache_max } = self.engine;
        Ok(EngineConfig {
            shards,
            queue_max,
            batch_max,
            retries_max,
            cache_bytes_max: usize::try_from(cache_max.get()).unwrap_or(usize::MAX),
            journal: self.journaled()?,
            keep_outcomes: duration("idempotency.retention", self.server.idempotency.retention)?,
            clock_skew_max: duration("store.clock_skew_max", self.store.clock_skew_max)?,
            timeout: self.server.http.timeout.get(),
            accept_risk: self.store.accepted()?,
            ..EngineConfig::default()
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "the command line is where files are read")]
pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read(path).map(String::from_utf8);
    match text {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(_)) => Err(Failure::usage(format!("{} is not UTF-8", path.display()))),
        Err(cause) => Err(Failure::usage(format!("{} cannot be read: {cause}", path.display()))),
    }
}

fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok().filter(|name| name.starts_with(PREFIX))?;
        Some((name, value.to_string_lossy().into_owned()))
    })
}

/// The settings by dotted key, each with its value and origin.
struct Layers(BTreeMap<String, (Value, String)>);

fn flatten(prefix: &str, table: Table, into: &mut Vec<(String, Value)>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        match value {
            Value::Table(table) => flatten(&key, table, into),
            value @ (Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::Array(_)) => into.push((key, value)),
        }
    }
}

fn broken(cause: impl std::fmt::Display) -> Failure {
    Failure::usage(format!("configuration: {cause}"))
}

impl Layers {
    fn of_defaults() -> Result<Self, Failure> {
        let mut table = Table::try_from(Config::default()).map_err(broken)?;
        let store = Table::try_from(StoreSettings::default()).map_err(broken)?;
        let engine = Table::try_from(EngineSettings::default()).map_err(broken)?;
        table.insert("store".to_owned(), Value::Table(store));
        table.insert("engine".to_owned(), Value::Table(engine));
        let mut flat = Vec::new();
        flatten("", table, &mut flat);
        let origin = |(key, value)| (key, (value, "default".to_owned()));
        Ok(Self(flat.into_iter().map(origin).collect()))
    }

    fn set(&mut self, key: &str, value: Value, origin: &str) -> Result<(), Failure> {
        let Some(slot) = self.0.get_mut(key) else {
            let nearest = nearest(key, self.0.keys().map(String::as_str));
            return Err(Failure::usage(format!(
                "{origin}: there is no setting `{key}`; the nearest is `{nearest}`"
            )));
        };
        *slot = (value, origin.to_owned());
        Ok(())
    }

    fn file(&mut self, path: &Path) -> Result<(), Failure> {
        self.text(&read_text(path)?, &path.display().to_string())
    }

    fn text(&mut self, text: &str, origin: &str) -> Result<(), Failure> {
        // Not the line itself: it may have a password.
        let wrong = |cause: toml::de::Error| {
            let before = cause.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count().saturating_add(1);
            Failure::usage(format!("{origin}, line {line}: {}", cause.message()))
        };
        let table: Table = text.parse().map_err(wrong)?;
        let mut flat = Vec::new();
        flatten("", table, &mut flat);
        flat.into_iter().try_for_each(|(key, value)| self.set(&key, value, origin))
    }

    fn environment(
        &mut self,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<(), Failure> {
        for (name, text) in variables {
            let key = name.strip_prefix(PREFIX).unwrap_or(&name).replace("__", ".");
            let key = key.to_lowercase();
            if !self.0.contains_key(&key) {
                let nearest = nearest(&key, self.0.keys().map(String::as_str));
                let nearest = nearest.replace('.', "__").to_uppercase();
                return Err(Failure::usage(format!(
                    "there is no setting for the variable {name}; the nearest is {PREFIX}{nearest}"
                )));
            }
            self.set_text(&key, &text, &name)?;
        }
        Ok(())
    }

    /// Text takes the type that the setting has.
    fn set_text(&mut self, key: &str, text: &str, origin: &str) -> Result<(), Failure> {
        let wrong = |what: &str| Failure::usage(format!("{origin}: {text:?} is not {what}"));
        let value = match self.0.get(key).map(|(value, _)| value) {
            Some(Value::Integer(_)) => {
                Value::Integer(text.parse().map_err(|_| wrong("an integer"))?)
            }
            Some(Value::Boolean(_)) => {
                Value::Boolean(text.parse().map_err(|_| wrong("true or false"))?)
            }
            Some(Value::Array(_)) => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                Value::Array(parts.map(|part| Value::String(part.to_owned())).collect())
            }
            _ => Value::String(text.to_owned()),
        };
        self.set(key, value, origin)
    }

    fn flags(&mut self, args: &StoreArgs, listen: Option<&str>) -> Result<(), Failure> {
        if let Some(url) = &args.store {
            self.set_text("store.url", url, "--store")?;
            self.set_text("store.url_file", "", "--store")?;
        }
        if let Some(address) = listen {
            self.set_text("http.listen", address, "--listen")?;
        }
        for pair in &args.set {
            let Some((key, text)) = pair.split_once('=') else {
                let pair = secret::redacted(pair);
                return Err(Failure::usage(format!("--set {pair}: write KEY=VALUE")));
            };
            self.set_text(key, text, "--set")?;
        }
        Ok(())
    }

    fn settings(self) -> Result<Settings, Failure> {
        self.one_url()?;
        let mut table = Table::new();
        for (key, (value, _)) in &self.0 {
            let Some((section, name)) = key.split_once('.') else {
                table.insert(key.clone(), value.clone());
                continue;
            };
            let section =
                table.entry(section.to_owned()).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(section) = section {
                section.insert(name.to_owned(), value.clone());
            }
        }
        let mut part =
            |name: &str| table.remove(name).unwrap_or_else(|| Value::Table(Table::new()));
        let store = part("store").try_into().map_err(|cause| self.wrong("store", &cause))?;
        let engine = part("engine").try_into().map_err(|cause| self.wrong("engine", &cause))?;
        let server = table.try_into().map_err(|cause| self.wrong("", &cause))?;
        Ok(Settings { server, store, engine, origins: self.0 })
    }

    /// A URL is set once: as such, or by its file.
    fn one_url(&self) -> Result<(), Failure> {
        let file = self.0.get("store.url_file");
        let file = file.filter(|(value, _)| value.as_str().is_some_and(|file| !file.is_empty()));
        let url = self.0.get("store.url").filter(|(_, origin)| origin != "default");
        match (url, file) {
            (Some((_, url)), Some((_, file))) => Err(Failure::usage(format!(
                "store.url ({url}) and store.url_file ({file}) are both set: keep one"
            ))),
            _ => Ok(()),
        }
    }

    fn wrong(&self, section: &str, cause: &toml::de::Error) -> Failure {
        // Defaults are legal, so what is wrong was set: name where.
        let set: Vec<String> = self
            .0
            .iter()
            .filter(|(key, (_, origin))| key.starts_with(section) && origin != "default")
            .map(|(key, (value, origin))| {
                format!("{key} = {} ({origin})", secret::of_setting(key, value))
            })
            .collect();
        Failure::usage(format!("{}; set were: {}", cause.message(), set.join(", ")))
    }
}

/// The known key that takes the fewest changes of letters (Levenshtein 1966).
fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> &'a str {
    known.min_by_key(|candidate| distance(key, candidate)).unwrap_or_default()
}

fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, ours) in left.chars().enumerate() {
        let mut next = vec![index.saturating_add(1)];
        for ((theirs, pair), above) in right.iter().zip(row.windows(2)).zip(row.iter().skip(1)) {
            let diagonal = pair.first().copied().unwrap_or_default();
            let changed = diagonal.saturating_add(usize::from(ours != *theirs));
            let left = next.last().copied().unwrap_or_default().saturating_add(1);
            next.push(changed.min(left).min(above.saturating_add(1)));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
