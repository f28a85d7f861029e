//! The auditor: recomputes every `audit.period` what the stored records say of each other.
//!
//! Invariant: it writes nothing, and reports only what two looks agree on. A test beside the write
//! cannot see a lost update, since the stored count never passes its limit; a recomputation from
//! the charges, which do not overwrite each other, can.
//!
//! Why one place of the journal: records are read page by page beside a running engine, so what was
//! committed between two pages looks like a mismatch. All that is about money is an entry, so a look
//! with the same tail of the journal before and after it has seen one state of the book, and what it
//! finds there is so.
//!
//! Why two looks at the rest, and at a book that was written without a pause: a mismatch that was
//! none is another one, or gone, when looked at again. The sums of a quota are then asked of the rule
//! that reads all of them in one decision.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bellpunch::audit::{CHECKS, Finding, OF_THE_BOOK, Stored, audit};
use bellpunch::limits::AuditQuota;
use bellpunch::store::{Page, Scan};
use bellpunch::{
    AnyOutcome, CallOptions, Error, ErrorKind, Key, Kind, Partition, RecordId, RecordKey, Version,
};
use tokio::time::{Instant, sleep};

use crate::app::App;
use crate::config::LogLevel;
use crate::metrics::Gauge;

/// Records read at a time, and partitions.
const PAGE: usize = 512;
/// Records of one partition that are held in memory at once; a larger one is named and left to
/// `bellpunch verify`.
const RECORDS_MAX: usize = 200_000;
/// How long the store is left alone between two pages, in multiples of the time that a page took: on
/// one that works in turn everybody else waits for each page.
const REST: u32 = 4;
/// But no longer than this: a page can take long because this node was stopped.
const REST_MAX: Duration = Duration::from_secs(10);
/// Looks at a partition until one has seen it at one place of its journal.
const LOOKS_MAX: usize = 3;
/// Those that the rule itself computes of a quota, in one decision.
const OF_A_QUOTA: [&str; 2] = ["usage_matches_charges", "held_matches_holds"];

/// What a round saw.
#[derive(Debug, Default)]
pub(crate) struct Round {
    pub(crate) findings: Vec<(Partition, Finding)>,
    gauges: BTreeMap<(Gauge, &'static str), u64>,
}

/// Audits for as long as the server runs.
pub(crate) async fn run(app: &App) {
    let period = app.config.audit.period.get();
    if period == Duration::ZERO {
        return std::future::pending().await;
    }
    loop {
        sleep(period).await;
        match once(app).await {
            Ok(round) => report(app, round),
            Err(error) => {
                let fields = [("error", error.to_string())];
                app.log.event(LogLevel::Error, "the audit could not be finished", &fields);
            }
        }
    }
}

/// Logs and counts what a round found.
pub(crate) fn report(app: &App, round: Round) {
    let mut violations: BTreeMap<String, u64> =
        CHECKS.iter().map(|check| ((*check).to_owned(), 0)).collect();
    for (partition, finding) in &round.findings {
        let count = violations.entry(finding.check.to_owned()).or_default();
        *count = count.saturating_add(1);
        let fields = [
            ("check", finding.check.to_owned()),
            ("partition", partition.as_str().to_owned()),
            ("record", finding.subject.clone()),
            ("expected", finding.expected.clone()),
            ("found", finding.found.clone()),
            ("version", finding.version.get().to_string()),
        ];
        app.log.event(LogLevel::Error, "usage_mismatch", &fields);
    }
    let seconds = app.engine.now().nanos().checked_div(1_000_000_000).unwrap_or_default();
    let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
    app.metrics.audited(seconds, violations, round.gauges);
}

/// Looks at every partition once.
pub(crate) async fn once(app: &App) -> Result<Round, Error> {
    let mut round = Round::default();
    let mut after: Option<Partition> = None;
    loop {
        let page = app.engine.partitions(after.as_ref(), PAGE).await?;
        for partition in &page.partitions {
            let mut reader = Reader { rests: REST, ..Reader::of(app, partition) };
            reader.count_and_compare(&mut round).await?;
            reader.rest().await;
        }
        after = page.partitions.last().cloned();
        if !page.more || after.is_none() {
            return Ok(round);
        }
    }
}

/// What does not agree in a partition; `None` if it has too many records to be looked at here.
/// Somebody waits for it, so the store gets no rest.
pub(crate) async fn of_partition(
    app: &App,
    partition: &Partition,
) -> Result<Option<Vec<Finding>>, Error> {
    let mut reader = Reader::of(app, partition);
    match reader.look().await? {
        Some(look) => reader.agreed(look).await.map(Some),
        None => Ok(None),
    }
}

/// What a look at a partition saw.
struct Look {
    records: Vec<Stored>,
    /// Whether no entry came to its journal meanwhile.
    is_settled: bool,
}

/// Whether a partition keeps a journal: then outcomes name its entries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Journal {
    Kept,
    None,
}

/// Reads one partition, page by page.
struct Reader<'a> {
    app: &'a App,
    partition: &'a Partition,
    /// How long the store is left alone, in multiples of the time that questions took.
    rests: u32,
    /// How long they took since it was left alone.
    took: Duration,
}

impl<'a> Reader<'a> {
    const fn of(app: &'a App, partition: &'a Partition) -> Self {
        Self { app, partition, rests: 0, took: Duration::ZERO }
    }

    async fn count_and_compare(&mut self, round: &mut Round) -> Result<(), Error> {
        let Some(look) = self.look().await? else {
            let fields = [("partition", self.partition.as_str().to_owned())];
            let message = "too large to audit while it runs: use `bellpunch verify`";
            self.app.log.event(LogLevel::Warn, message, &fields);
            return Ok(());
        };
        count(&look.records, self.app.engine.now(), &mut round.gauges);
        let agreed = self.agreed(look).await?;
        round.findings.extend(agreed.into_iter().map(|finding| (self.partition.clone(), finding)));
        Ok(())
    }

    /// What a settled look says of the book, and of all else what a second look says too.
    async fn agreed(&mut self, look: Look) -> Result<Vec<Finding>, Error> {
        let findings = audit(look.records, self.app.engine.now());
        let is_so = |finding: &Finding| look.is_settled && OF_THE_BOOK.contains(&finding.check);
        let (mut agreed, suspects): (Vec<_>, Vec<_>) = findings.into_iter().partition(is_so);
        if suspects.is_empty() {
            return Ok(agreed);
        }
        let Some(again) = self.look().await? else { return Ok(agreed) };
        let ids = ids_of(&again.records);
        for finding in audit(again.records, self.app.engine.now()) {
            if suspects.contains(&finding) && self.is_confirmed(&finding, &ids).await? {
                agreed.push(finding);
            }
        }
        Ok(agreed)
    }

    /// All records, at one place of the journal if that can be had; `None` if there are too many.
    async fn look(&mut self) -> Result<Option<Look>, Error> {
        let mut looks = 0_usize;
        loop {
            let before = self.tail().await?;
            let journal = if before.is_some() { Journal::Kept } else { Journal::None };
            let Some(records) = self.records(journal).await? else { return Ok(None) };
            let after = self.tail().await?;
            let is_settled = before.is_some() && before == after;
            looks = looks.saturating_add(1);
            if is_settled || after.is_none() || LOOKS_MAX <= looks {
                return Ok(Some(Look { records, is_settled }));
            }
        }
    }

    /// The version of the journal's tail, if the partition keeps one.
    async fn tail(&mut self) -> Result<Option<Version>, Error> {
        let page = self.page(&Scan::of(Kind::named("journal"), 1)).await?;
        Ok(page.records.first().map(|(_, record)| record.version))
    }

    /// All records; `None` if there are too many.
    async fn records(&mut self, journal: Journal) -> Result<Option<Vec<Stored>>, Error> {
        let mut scan = Scan { kind: None, ..Scan::of(Kind::named(""), PAGE) };
        let mut records = Vec::new();
        loop {
            let page = self.page(&scan).await?;
            for (key, record) in page.records {
                let is_needed = key.kind.name() != "outcomes" || journal == Journal::Kept;
                let Some(bytes) = record.value.filter(|_| is_needed) else { continue };
                // Some stores know the parts of an id; a record has one name on all of them.
                let key = RecordKey { kind: Kind::named(key.kind.name()), id: key.id };
                let name = key.to_string();
                let stored = Stored::decode(key, record.version, &bytes).ok_or_else(|| {
                    Error::new(ErrorKind::Internal, format!("record {name} is not readable"))
                })?;
                records.extend(stored.needed());
            }
            if RECORDS_MAX < records.len() {
                return Ok(None);
            }
            match page.resume {
                Some(resume) => scan.after = Some(resume),
                None => return Ok(Some(records)),
            }
            self.rest().await;
        }
    }

    async fn page(&mut self, scan: &Scan) -> Result<Page, Error> {
        let begun = Instant::now();
        let page = self.app.engine.scan(self.partition, scan).await;
        self.took = self.took.saturating_add(begun.elapsed());
        page
    }

    /// Leaves the store alone. Not before the journal's tail is read again: the longer a look takes the
    /// more comes between.
    async fn rest(&mut self) {
        let took = std::mem::take(&mut self.took);
        sleep(took.saturating_mul(self.rests).min(REST_MAX)).await;
    }

    /// Whether the rule, which reads a quota with all its charges and holds at once, sees it too.
    async fn is_confirmed(&self, finding: &Finding, ids: &Ids) -> Result<bool, Error> {
        let quota = finding.subject.strip_prefix("quotas/").and_then(|id| Key::new(id).ok());
        let quota = quota.filter(|_| OF_A_QUOTA.contains(&finding.check));
        let Some(id) = quota else { return Ok(true) };
        let command = AuditQuota { id, charges: ids.charges.clone(), holds: ids.holds.clone() };
        let (commands, options) = (vec![Arc::new(command) as _], CallOptions::default());
        match self.app.engine.send(self.partition, commands, options).await? {
            AnyOutcome::Accepted(receipt) => Ok(receipt.replies.iter().any(|reply| {
                let reply = reply.to_json();
                let mismatches = reply.get("mismatches").and_then(serde_json::Value::as_array);
                mismatches.is_some_and(|all| all.iter().any(|one| one["check"] == finding.check))
            })),
            AnyOutcome::Rejected(_) => Ok(false),
        }
    }
}

/// Charges and holds, which the rule compares a quota with.
struct Ids {
    charges: Vec<RecordId>,
    holds: Vec<RecordId>,
}

fn ids_of(records: &[Stored]) -> Ids {
    let of = |kind: &str| {
        let same = records.iter().filter(|stored| stored.key.kind.name() == kind);
        same.map(|stored| stored.key.id.clone()).collect()
    };
    Ids { charges: of("charges"), holds: of("holds") }
}

fn count(
    records: &[Stored],
    now: bellpunch::Timestamp,
    gauges: &mut BTreeMap<(Gauge, &'static str), u64>,
) {
    let mut add = |gauge: Gauge, label: &'static str| {
        let sum = gauges.entry((gauge, label)).or_default();
        *sum = sum.saturating_add(1);
    };
    for Stored { key: RecordKey { kind, .. }, record, .. } in records {
        match kind.name() {
            "counters" | "inline_counters" => add(Gauge::RateCounters, "other"),
            "holds" => {
                let end = record.get("expires_at").and_then(serde_json::Value::as_str);
                let end: Option<bellpunch::Timestamp> = end.and_then(|end| end.parse().ok());
                if record.get("end").is_none() && end.is_some_and(|end| now < end) {
                    let items = record.get("items").and_then(serde_json::Value::as_array);
                    let rate = |held: &serde_json::Value| {
                        held.get("item").is_some_and(|item| item.get("policy").is_some())
                    };
                    let rate = items.is_some_and(|items| items.iter().any(rate));
                    add(Gauge::HoldsOpen, if rate { "other" } else { "quota" });
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
