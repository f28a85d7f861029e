//! Settings from defaults, file, environment and flags, in this order.
//!
//! Invariant: a key that nobody knows is an error with the nearest known one: a misspelt
//! `required` must not mean that nothing is required.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bellpunch::{EngineConfig, Partition};
use bellpunch_server::{Config, Size, Span};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::args::ServeArgs;
use crate::failure::Failure;

const PREFIX: &str = "BELLPUNCH_";
const FILE: &str = "bellpunch.toml";

/// Where records are kept.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoreSettings {
    pub(crate) url: String,
    pub(crate) clock_skew_max: Span,
}

impl Default for StoreSettings {
    fn default() -> Self {
        let url = "disk:./bellpunch-data".to_owned();
        Self { url, clock_skew_max: Span::milliseconds(500) }
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
    /// Reads all layers.
    pub(crate) fn read(args: &ServeArgs) -> Result<Self, Failure> {
        let mut layers = Layers::of_defaults()?;
        match &args.config {
            Some(path) => layers.file(path)?,
            None if Path::new(FILE).exists() => layers.file(Path::new(FILE))?,
            None => {}
        }
        layers.environment(variables())?;
        layers.flags(args)?;
        layers.settings()
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
            text.push_str(&format!("{key} = {value}  # {origin}\n"));
        }
        text
    }

    /// The same for programs.
    pub(crate) fn shown_json(&self) -> serde_json::Value {
        let each = self.origins.iter().map(|(key, (value, origin))| {
            (key.clone(), serde_json::json!({ "value": value, "origin": origin }))
        });
        serde_json::Value::Object(each.collect())
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
        let table: Table =
            text.parse().map_err(|cause| Failure::usage(format!("{origin}: {cause}")))?;
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

    fn flags(&mut self, args: &ServeArgs) -> Result<(), Failure> {
        if let Some(url) = &args.store {
            self.set_text("store.url", url, "--store")?;
        }
        if let Some(address) = &args.listen {
            self.set_text("http.listen", address, "--listen")?;
        }
        for pair in &args.set {
            let Some((key, text)) = pair.split_once('=') else {
                return Err(Failure::usage(format!("--set {pair}: write KEY=VALUE")));
            };
            self.set_text(key, text, "--set")?;
        }
        Ok(())
    }

    fn settings(self) -> Result<Settings, Failure> {
        let mut table = Table::new();
        for (key, (value, _)) in &self.0 {
            let (section, name) = key.split_once('.').unwrap_or(("", key));
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

    fn wrong(&self, section: &str, cause: &toml::de::Error) -> Failure {
        // Defaults are legal, so what is wrong was set: name where.
        let set: Vec<String> = self
            .0
            .iter()
            .filter(|(key, (_, origin))| key.starts_with(section) && origin != "default")
            .map(|(key, (value, origin))| format!("{key} = {value} ({origin})"))
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
