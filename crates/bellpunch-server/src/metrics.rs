//! Counts of the doors, and Prometheus text of those and the engine's.
//!
//! Invariant: labels are bounded: never a partition, an id, a key or an address.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use bellpunch::{BATCH_COMMANDS, COMMIT_MICROS, Engine, Histogram, Timestamp};
use serde_json::Value;

use crate::log::Line;

/// How the bounds of [`COMMIT_MICROS`] are written in seconds.
const SECONDS: [&str; 12] = [
    "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.1", "0.5",
    "2.5", "10",
];

type CommandLabel = (String, &'static str);

#[derive(Debug, Default)]
struct Counts {
    commands: BTreeMap<CommandLabel, Histogram>,
    rejections: BTreeMap<(String, String), u64>,
    replays: BTreeMap<String, u64>,
    usage: BTreeMap<Used, u64>,
    gauges: BTreeMap<(Gauge, &'static str), u64>,
    violations: BTreeMap<String, u64>,
    audited_at_seconds: u64,
    webhooks: BTreeMap<String, Deliveries>,
}

/// What became of sendings, by result.
const RESULTS: [&str; 6] =
    ["delivered", "refused", "redirected", "timed_out", "unreachable", "not_recorded"];

/// What a webhook did, and what it owes.
#[derive(Debug, Default)]
struct Deliveries {
    results: BTreeMap<&'static str, u64>,
    entries: u64,
    oldest: Option<Timestamp>,
}

/// What is counted of quotas and rate limits. The label says `quota`, or `other` of a rate: the
/// names of policies are the callers', and without bound.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Used {
    Charged(&'static str),
    Refunded(&'static str),
    ShadowRejection(&'static str),
    TooManyKeys,
    HoldEnded(&'static str),
    NumberFailure(&'static str),
    PossibleDuplicatePayment,
}

/// Why a document that was to be numbered got no number.
const NUMBER_FAILURES: [&str; 3] = ["series_exhausted", "chain_unsealed", "contended"];
/// Commands that may number a document.
const NUMBERING: [&str; 13] = [
    "accounts.credit",
    "accounts.debit",
    "clients.create",
    "invoices.create",
    "invoices.credit",
    "invoices.issue",
    "invoices.pay",
    "payments.create",
    "payments.refund",
    "retainers.create",
    "retainers.refund",
    "series.next",
    "transfers.create",
];

/// What the auditor counts in its round.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Gauge {
    HoldsOpen,
    RateCounters,
}

impl Counts {
    fn usage(&self, text: &mut Text) {
        let count = |used: Used| self.usage.get(&used).copied().unwrap_or_default();
        let both = ["quota", "other"];
        let mut each = |name,
                        help,
                        (label, known): (&str, &[&'static str]),
                        used: fn(&'static str) -> Used| {
            text.head(name, "counter", help);
            for value in known {
                text.value(name, &format!("{label}=\"{value}\""), count(used(value)));
            }
        };
        let policies: (&str, &[&str]) = ("policy", &both);
        each("units_charged_total", "Units charged.", policies, Used::Charged);
        each("units_refunded_total", "Units given back.", policies, Used::Refunded);
        let rates: (&str, &[&str]) = ("policy", &["other"]);
        let help = "A shadow policy would have said no.";
        each("shadow_rejections_total", help, rates, Used::ShadowRejection);
        let help = "No place for one more key.";
        each("too_many_keys_total", help, rates, |_| Used::TooManyKeys);
        let ends: (&str, &[&str]) = ("how", &["captured", "voided"]);
        each("holds_ended_total", "Holds ended by a command.", ends, Used::HoldEnded);
        let failures: (&str, &[&str]) = ("code", &NUMBER_FAILURES);
        let help = "Documents that were to be numbered and were not.";
        each("number_failures_total", help, failures, Used::NumberFailure);
        let help = "Two payments of one amount to one invoice, shortly after each other.";
        text.head("possible_duplicate_payments_total", "counter", help);
        let payments = count(Used::PossibleDuplicatePayment);
        text.value("possible_duplicate_payments_total", "", payments);
        let gauges = [
            ("holds_open", "Open holds, as last audited.", Gauge::HoldsOpen),
            ("rate_counters", "Counters of rate limits, as last audited.", Gauge::RateCounters),
        ];
        for (name, help, gauge) in gauges {
            text.head(name, "gauge", help);
            for ((_, label), count) in self.gauges.iter().filter(|((known, _), _)| *known == gauge)
            {
                text.value(name, &format!("policy=\"{label}\""), *count);
            }
        }
    }

    fn webhooks(&self, text: &mut Text, now: Timestamp) {
        text.head("webhook_deliveries_total", "counter", "Messages sent, by what came of it.");
        for (name, webhook) in &self.webhooks {
            for result in RESULTS {
                let count = webhook.results.get(result).copied().unwrap_or_default();
                let labels = format!("webhook=\"{name}\",result=\"{result}\"");
                text.value("webhook_deliveries_total", &labels, count);
            }
        }
        text.head("webhook_lag_entries", "gauge", "Entries a webhook has not dealt with.");
        for (name, webhook) in &self.webhooks {
            text.value("webhook_lag_entries", &format!("webhook=\"{name}\""), webhook.entries);
        }
        let help = "How old the oldest entry is whose message was not taken; 0 without any.";
        text.head("webhook_oldest_undelivered_seconds", "gauge", help);
        for (name, webhook) in &self.webhooks {
            let age = webhook.oldest.map_or(0, |oldest| now.nanos().saturating_sub(oldest.nanos()));
            let micros = u64::try_from(age).unwrap_or(u64::MAX).div_ceil(1_000);
            let labels = format!("webhook=\"{name}\"");
            let age = seconds(micros);
            text.line(&format!("bellpunch_webhook_oldest_undelivered_seconds{{{labels}}} {age}"));
        }
    }

    fn audit(&self, text: &mut Text) {
        text.head("audit_violations", "gauge", "What the last audit found, by check.");
        for (check, count) in &self.violations {
            text.value("audit_violations", &format!("check=\"{check}\""), *count);
        }
        text.head("audit_last_success_seconds", "gauge", "When the last audit was finished.");
        text.value("audit_last_success_seconds", "", self.audited_at_seconds);
    }
}

/// What the doors count.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    counts: Mutex<Counts>,
    pub(crate) connections: AtomicU64,
    pub(crate) connections_refused: AtomicU64,
    pub(crate) journal_followers: AtomicU64,
    pub(crate) payload_unavailable: AtomicU64,
    pub(crate) insecure_override: AtomicU64,
}

/// The event of two payments that may be one.
const DUPLICATE: &str = "possible_duplicate_payment";

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
        histogram.observe(&COMMIT_MICROS, micros);
    }

    /// A receipt was told again.
    pub(crate) fn replay(&self, command: &str) {
        let mut counts = self.counts.lock().expect("no code panics while it holds this lock");
        let count = counts.replays.entry(command.to_owned()).or_default();
        *count = count.saturating_add(1);
    }

    /// Something was used, given back, or refused a place.
    pub(crate) fn used(&self, used: Used, count: u64) {
        let mut counts = self.counts.lock().expect("no code panics while it holds this lock");
        let sum = counts.usage.entry(used).or_default();
        *sum = sum.saturating_add(count);
    }

    /// Commands were not accepted, for this reason.
    pub(crate) fn not_accepted<'a>(&self, code: &str, mut commands: impl Iterator<Item = &'a str>) {
        let known = NUMBER_FAILURES.into_iter().find(|known| *known == code);
        if let Some(code) = known
            && commands.any(|command| NUMBERING.contains(&command))
        {
            self.used(Used::NumberFailure(code), 1);
        }
    }

    /// What an accepted command brought about, as its reply says.
    pub(crate) fn events(&self, reply: &Value) {
        let events = reply.get("events").and_then(Value::as_array).into_iter().flatten();
        let name = |event: &&Value| event.get("event") == Some(&DUPLICATE.into());
        let count = u64::try_from(events.filter(name).count()).unwrap_or(u64::MAX);
        if 0 < count {
            self.used(Used::PossibleDuplicatePayment, count);
        }
    }

    /// An audit was finished: the counts of its checks and of what it saw.
    pub(crate) fn audited(
        &self,
        at_seconds: u64,
        violations: BTreeMap<String, u64>,
        gauges: BTreeMap<(Gauge, &'static str), u64>,
    ) {
        let mut counts = self.counts.lock().expect("no code panics while it holds this lock");
        counts.audited_at_seconds = at_seconds;
        counts.violations = violations;
        counts.gauges = gauges;
    }

    /// There is a webhook of this name.
    pub(crate) fn webhook(&self, name: &str) {
        let mut counts = self.counts.lock().expect("no code panics while it holds this lock");
        counts.webhooks.entry(name.to_owned()).or_default();
    }

    /// A message was sent.
    pub(crate) fn webhook_sent(&self, name: &str, result: &'static str) {
        let mut counts = self.counts.lock().expect("no code panics while it holds this lock");
        let results = &mut counts.webhooks.entry(name.to_owned()).or_default().results;
        let count = results.entry(result).or_default();
        *count = count.saturating_add(1);
    }

    /// So many entries are owed; the oldest that has a message was accepted then.
    pub(crate) fn webhook_owes(&self, name: &str, (entries, oldest): (u64, Option<Timestamp>)) {
        let mut counts = self.counts.lock().expect("no code panics while it holds this lock");
        let webhook = counts.webhooks.entry(name.to_owned()).or_default();
        webhook.entries = entries;
        webhook.oldest = oldest;
    }

    /// Prometheus text.
    pub(crate) fn render(&self, engine: &Engine) -> String {
        let mut text = Text::default();
        self.doors(&mut text, engine.now());
        Self::engine(&mut text, engine);
        text.0
    }

    fn doors(&self, text: &mut Text, now: Timestamp) {
        let counts = self.counts.lock().expect("no code panics while it holds this lock");
        text.head("commands_total", "counter", "Commands by outcome.");
        for ((command, outcome), histogram) in &counts.commands {
            let labels = format!("door=\"http\",command=\"{command}\",outcome=\"{outcome}\"");
            text.value("commands_total", &labels, histogram.count);
        }
        text.head("command_seconds", "histogram", "Seconds from request to answer.");
        for ((command, outcome), histogram) in &counts.commands {
            let labels = format!("door=\"http\",command=\"{command}\",outcome=\"{outcome}\"");
            text.seconds("command_seconds", &labels, histogram);
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
        counts.usage(text);
        counts.audit(text);
        counts.webhooks(text, now);
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
                "journal_followers",
                "gauge",
                "Followers by server-sent events.",
                load(&self.journal_followers),
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
        text.head("commit_seconds", "histogram", "Seconds of a commit, by result.");
        for (result, histogram) in results.iter().zip(&stats.commit_micros) {
            let labels = format!("backend=\"{backend}\",result=\"{result}\"");
            text.seconds("commit_seconds", &labels, histogram);
        }
        text.head("batch_commands", "histogram", "Commands of a batch.");
        for (count, bound) in stats.batch_commands.buckets.iter().zip(BATCH_COMMANDS) {
            text.value("batch_commands_bucket", &format!("le=\"{bound}\""), *count);
        }
        text.value("batch_commands_bucket", "le=\"+Inf\"", stats.batch_commands.count);
        text.value("batch_commands_sum", "", stats.batch_commands.sum);
        text.value("batch_commands_count", "", stats.batch_commands.count);
        text.head("clock_skew_seconds", "gauge", "This clock ahead of the store's.");
        let sign = if stats.clock_skew_nanos < 0 { "-" } else { "" };
        let skew = stats.clock_skew_nanos.unsigned_abs().div_ceil(1_000);
        text.line(&format!("bellpunch_clock_skew_seconds {sign}{}", seconds(skew)));
        text.head("storeless_decisions_total", "counter", "Decisions without the store.");
        for (mode, count) in ["open", "local", "cache"].into_iter().zip(stats.storeless) {
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
            ("clock_steps_total", "counter", "The clock went back.", stats.clock_steps),
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

fn seconds(micros: u64) -> String {
    let whole = micros.checked_div(1_000_000).unwrap_or_default();
    let rest = micros.checked_rem(1_000_000).unwrap_or_default();
    format!("{whole}.{rest:06}")
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

    fn seconds(&mut self, name: &str, labels: &str, histogram: &Histogram) {
        for (count, bound) in histogram.buckets.iter().zip(SECONDS) {
            self.value(&format!("{name}_bucket"), &format!("{labels},le=\"{bound}\""), *count);
        }
        self.value(&format!("{name}_bucket"), &format!("{labels},le=\"+Inf\""), histogram.count);
        self.line(&format!("bellpunch_{name}_sum{{{labels}}} {}", seconds(histogram.sum)));
        self.value(&format!("{name}_count"), labels, histogram.count);
    }

    fn line(&mut self, line: &str) {
        writeln!(self.0, "{line}").expect("writing to a string succeeds");
    }
}

#[cfg(test)]
mod tests;
