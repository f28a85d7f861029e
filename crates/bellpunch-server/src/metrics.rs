//! Counts of the doors, and Prometheus text of those and the engine's.
//!
//! Invariant: labels are bounded: never a partition, an id, a key or an address.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use bellpunch::Engine;

use crate::log::Line;

/// Upper bounds of the histogram, in microseconds, and how they are written.
const BUCKETS: [(u64, &str); 12] = [
    (100, "0.0001"),
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (100_000, "0.1"),
    (500_000, "0.5"),
    (2_500_000, "2.5"),
    (10_000_000, "10"),
];

#[derive(Clone, Debug, Default)]
struct Histogram {
    buckets: [u64; 12],
    count: u64,
    micros: u64,
}

type CommandLabel = (String, &'static str);

#[derive(Debug, Default)]
struct Counts {
    commands: BTreeMap<CommandLabel, Histogram>,
    rejections: BTreeMap<(String, String), u64>,
    replays: BTreeMap<String, u64>,
}

/// What the doors count.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    counts: Mutex<Counts>,
    pub(crate) connections: AtomicU64,
    pub(crate) connections_refused: AtomicU64,
    pub(crate) payload_unavailable: AtomicU64,
    pub(crate) insecure_override: AtomicU64,
}

/// The label of a route that belongs to no command.
const OTHER: &str = "other";

impl Metrics {
    /// A request was answered.
    pub(crate) fn request(&self, line: &Line<'_>) {
        let Line { command, outcome, code, elapsed, .. } = *line;
        let command = if command.is_empty() { OTHER } else { command }.to_owned();
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        let mut counts = self.counts.lock().expect("no code panics while it holds this lock");
        if let Some(code) = code {
            let count = counts.rejections.entry((command.clone(), code.to_owned())).or_default();
            *count = count.saturating_add(1);
        }
        let histogram = counts.commands.entry((command, outcome)).or_default();
        histogram.count = histogram.count.saturating_add(1);
        histogram.micros = histogram.micros.saturating_add(micros);
        for (count, (bound, _)) in histogram.buckets.iter_mut().zip(BUCKETS) {
            if micros <= bound {
                *count = count.saturating_add(1);
            }
        }
    }

    /// A receipt was told again.
    pub(crate) fn replay(&self, command: &str) {
        let mut counts = self.counts.lock().expect("no code panics while it holds this lock");
        let count = counts.replays.entry(command.to_owned()).or_default();
        *count = count.saturating_add(1);
    }

    /// Prometheus text.
    pub(crate) fn render(&self, engine: &Engine) -> String {
        let mut text = Text::default();
        self.doors(&mut text);
        Self::engine(&mut text, engine);
        text.0
    }

    fn doors(&self, text: &mut Text) {
        let counts = self.counts.lock().expect("no code panics while it holds this lock");
        text.head("commands_total", "counter", "Commands by outcome.");
        for ((command, outcome), histogram) in &counts.commands {
            let labels = format!("door=\"http\",command=\"{command}\",outcome=\"{outcome}\"");
            text.value("commands_total", &labels, histogram.count);
        }
        text.head("command_seconds", "histogram", "Seconds from request to answer.");
        for ((command, outcome), histogram) in &counts.commands {
            let labels = format!("door=\"http\",command=\"{command}\",outcome=\"{outcome}\"");
            for (count, (_, bound)) in histogram.buckets.iter().zip(BUCKETS) {
                let labels = format!("{labels},le=\"{bound}\"");
                text.value("command_seconds_bucket", &labels, *count);
            }
            let all = format!("{labels},le=\"+Inf\"");
            text.value("command_seconds_bucket", &all, histogram.count);
            let whole = histogram.micros.checked_div(1_000_000).unwrap_or_default();
            let rest = histogram.micros.checked_rem(1_000_000).unwrap_or_default();
            text.line(&format!("bellpunch_command_seconds_sum{{{labels}}} {whole}.{rest:06}"));
            text.value("command_seconds_count", &labels, histogram.count);
        }
        text.head("rejections_total", "counter", "Answers that were not 2xx, by code.");
        for ((command, code), count) in &counts.rejections {
            let labels = format!("command=\"{command}\",code=\"{code}\"");
            text.value("rejections_total", &labels, *count);
        }
        text.head("replays_total", "counter", "Receipts told again.");
        for (command, count) in &counts.replays {
            text.value("replays_total", &format!("command=\"{command}\""), *count);
        }
        drop(counts);
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        for (name, kind, help, count) in [
            ("connections", "gauge", "Open connections.", load(&self.connections)),
            (
                "connections_refused_total",
                "counter",
                "Connections closed at the maximum.",
                load(&self.connections_refused),
            ),
            (
                "payload_unavailable_total",
                "counter",
                "Payloads found missing or altered.",
                load(&self.payload_unavailable),
            ),
            (
                "insecure_override",
                "gauge",
                "A safety refusal was overridden.",
                load(&self.insecure_override),
            ),
        ] {
            text.head(name, kind, help);
            text.value(name, "", count);
        }
    }

    fn engine(text: &mut Text, engine: &Engine) {
        let stats = engine.stats();
        let backend = engine.store().properties().name;
        text.head("commits_total", "counter", "Commits by result.");
        let results = ["committed", "conflict", "too_late", "clock_ahead", "unknown", "failed"];
        for (result, count) in results.iter().zip(stats.commits) {
            let labels = format!("backend=\"{backend}\",result=\"{result}\"");
            text.value("commits_total", &labels, count);
        }
        text.head("storeless_decisions_total", "counter", "Decisions without the store.");
        for (mode, count) in ["open", "local"].iter().zip(stats.storeless) {
            text.value("storeless_decisions_total", &format!("mode=\"{mode}\""), count);
        }
        for (name, kind, help, count) in [
            (
                "commands_committed_total",
                "counter",
                "Commands in all commits.",
                stats.commands_committed,
            ),
            ("queue_commands", "gauge", "Commands that wait.", stats.queued),
            ("queue_full_total", "counter", "Answers `overloaded`.", stats.queue_full),
            (
                "conflict_retries_total",
                "counter",
                "Decisions repeated after a conflict.",
                stats.conflict_retries,
            ),
            ("contended_total", "counter", "Answers `contended`.", stats.contended),
            ("unknown_open", "gauge", "Commits whose fate is unknown.", stats.unknown_open),
            (
                "unknown_resolved_total",
                "counter",
                "Unknown fates found out.",
                stats.unknown_resolved,
            ),
            ("panics_total", "counter", "Rules that panicked.", stats.panics),
            ("cache_bytes", "gauge", "Bytes of decoded records.", stats.cache_bytes),
        ] {
            text.head(name, kind, help);
            text.value(name, "", count);
        }
        text.head("build_info", "gauge", "The release.");
        let labels = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
        text.value("build_info", &labels, 1);
    }
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.line(&format!("# HELP bellpunch_{name} {help}"));
        self.line(&format!("# TYPE bellpunch_{name} {kind}"));
    }

    fn value(&mut self, name: &str, labels: &str, count: u64) {
        if labels.is_empty() {
            self.line(&format!("bellpunch_{name} {count}"));
        } else {
            self.line(&format!("bellpunch_{name}{{{labels}}} {count}"));
        }
    }

    fn line(&mut self, line: &str) {
        writeln!(self.0, "{line}").expect("writing to a string succeeds");
    }
}
