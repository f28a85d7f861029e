//! Log lines on stderr: one JSON object each, or text for people.
//!
//! Invariant: no secret, body or header ever reaches a line; partitions only where asked for.

use std::io::Write as _;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::config::{LogConfig, LogFormat, LogLevel};

/// Writes one line as the doors do, for whoever starts them.
pub fn log(config: &LogConfig, level: LogLevel, message: &str) {
    Log::new(config).event(level, message, &[]);
}

/// Writes lines.
#[derive(Debug)]
pub(crate) struct Log {
    level: LogLevel,
    format: LogFormat,
    ids: bool,
}

/// What is told of a request.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) route: &'a str,
    pub(crate) command: &'a str,
    pub(crate) outcome: &'static str,
    pub(crate) code: Option<&'a str>,
    pub(crate) status: u16,
    pub(crate) elapsed: Duration,
    pub(crate) partition: Option<&'a str>,
    /// What broke, if anything did.
    pub(crate) cause: Option<&'a str>,
}

impl Log {
    pub(crate) const fn new(config: &LogConfig) -> Self {
        let ids = config.ids || matches!(config.level, LogLevel::Debug);
        Self { level: config.level, format: config.format, ids }
    }

    /// A request was answered. A "no" is not an error; what broke is.
    pub(crate) fn request(&self, line: &Line<'_>) {
        let level = match line.status {
            500 | 504 => LogLevel::Error,
            503 => LogLevel::Warn,
            _ => LogLevel::Debug,
        };
        if level <= self.level {
            self.write(level, "request", self.fields(line));
        }
    }

    fn fields(&self, line: &Line<'_>) -> Map<String, Value> {
        let mut fields = Map::new();
        let mut add = |name: &str, value: Value| {
            fields.insert(name.to_owned(), value);
        };
        add("request_id", line.request_id.into());
        add("door", "http".into());
        add("route", line.route.into());
        if !line.command.is_empty() {
            add("command", line.command.into());
        }
        add("outcome", line.outcome.into());
        add("status", line.status.into());
        if let Some(code) = line.code {
            add("code", code.into());
        }
        let milliseconds = u64::try_from(line.elapsed.as_millis()).unwrap_or(u64::MAX);
        add("ms", milliseconds.into());
        if let Some(partition) = line.partition.filter(|_| self.ids) {
            add("partition", partition.into());
        }
        // Of a bug or a damaged record it names the record.
        if let Some(cause) = line.cause.filter(|_| self.ids || line.status != 500) {
            add("cause", cause.into());
        }
        fields
    }

    /// Something else an operator should know.
    pub(crate) fn event(&self, level: LogLevel, message: &str, fields: &[(&str, String)]) {
        if level <= self.level {
            let fields = fields
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Value::String(value.clone())));
            self.write(level, message, fields.collect());
        }
    }

    fn write(&self, level: LogLevel, message: &str, fields: Map<String, Value>) {
        use bellpunch::store::Clock as _;
        let now = bellpunch::SystemClock::new().now().to_string();
        let name = match level {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
        };
        let mut text = match self.format {
            LogFormat::Json => {
                let mut line = Map::new();
                line.insert("ts".to_owned(), now.into());
                line.insert("level".to_owned(), name.into());
                line.insert("target".to_owned(), "bellpunch".into());
                line.insert("msg".to_owned(), message.into());
                line.extend(fields);
                Value::Object(line).to_string()
            }
            LogFormat::Text => {
                let mut line = format!("{now} {name:5} {message}");
                for (field, value) in fields {
                    // A JSON string has its control characters escaped.
                    line.push_str(&format!(" {field}={value}"));
                }
                line
            }
        };
        text.push('\n');
        // Nobody can be told that telling failed.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Log = Log { level: LogLevel::Info, format: LogFormat::Json, ids: false };

    fn fields(log: &Log, status: u16) -> Map<String, Value> {
        let line = Line {
            request_id: "r",
            route: "/v1/{partition}/quotas",
            command: "quotas.create",
            outcome: "error",
            code: Some("store_unavailable"),
            status,
            elapsed: Duration::from_millis(7),
            partition: Some("acme"),
            cause: Some("the index has reached its bound"),
        };
        log.fields(&line)
    }

    #[test]
    fn a_line_says_what_broke_and_names_nothing_unless_it_may() {
        let quiet = fields(&QUIET, 503);
        assert_eq!(quiet["cause"], "the index has reached its bound");
        assert_eq!((quiet.get("partition"), &quiet["ms"]), (None, &Value::from(7)));
        assert_eq!(fields(&QUIET, 500).get("cause"), None, "it may name a record");
        let naming = Log { ids: true, ..QUIET };
        let all = fields(&naming, 500);
        assert_eq!((&all["cause"], &all["partition"]), (&quiet["cause"], &Value::from("acme")));
    }
}
