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
use bellpunch::store::{Scan, Show};
use bellpunch::{
    AnyOutcome, CallOptions, Error, ErrorKind, Key, Kind, Partition, RecordId, RecordKey, Version,
};

use crate::app::App;
use crate::config::LogLevel;
use crate::metrics::Gauge;

/// Records read at a time, and partitions.
const PAGE: usize = 512;
/// Records of one partition that are held in memory at once; a larger one is named and left to
/// `bellpunch verify`.
const RECORDS_MAX: usize = 200_000;
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
        tokio::time::sleep(period).await;
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
            one(app, partition, &mut round).await?;
        }
        after = page.partitions.last().cloned();
        if !page.more || after.is_none() {
            return Ok(round);
        }
    }
}

/// What a look at a partition saw.
struct Look {
    records: Vec<Stored>,
    /// Whether no entry came to its journal meanwhile.
    is_settled: bool,
}

async fn one(app: &App, partition: &Partition, round: &mut Round) -> Result<(), Error> {
    let Some(look) = look(app, partition).await? else {
        let fields = [("partition", partition.as_str().to_owned())];
        let message = "too large to audit while it runs: use `bellpunch verify`";
        app.log.event(LogLevel::Warn, message, &fields);
        return Ok(());
    };
    count(&look.records, app.engine.now(), &mut round.gauges);
    let agreed = agreed(app, partition, look).await?;
    round.findings.extend(agreed.into_iter().map(|finding| (partition.clone(), finding)));
    Ok(())
}

/// What does not agree in a partition; `None` if it has too many records to be looked at here.
pub(crate) async fn of_partition(
    app: &App,
    partition: &Partition,
) -> Result<Option<Vec<Finding>>, Error> {
    match look(app, partition).await? {
        Some(look) => agreed(app, partition, look).await.map(Some),
        None => Ok(None),
    }
}

/// What a settled look says of the book, and of all else what a second look says too.
async fn agreed(app: &App, partition: &Partition, look: Look) -> Result<Vec<Finding>, Error> {
    let findings = audit(look.records, app.engine.now());
    let is_so = |finding: &Finding| look.is_settled && OF_THE_BOOK.contains(&finding.check);
    let (mut agreed, suspects): (Vec<_>, Vec<_>) = findings.into_iter().partition(is_so);
    if suspects.is_empty() {
        return Ok(agreed);
    }
    let Some(again) = self::look(app, partition).await? else { return Ok(agreed) };
    let ids = ids_of(&again.records);
    for finding in audit(again.records, app.engine.now()) {
        if suspects.contains(&finding) && confirmed(app, partition, (&finding, &ids)).await? {
            agreed.push(finding);
        }
    }
    Ok(agreed)
}

/// All records of a partition, at one place of its journal if that can be had; `None` if there are
/// too many.
async fn look(app: &App, partition: &Partition) -> Result<Option<Look>, Error> {
    let mut looks = 0_usize;
    loop {
        let before = tail(app, partition).await?;
        let journal = if before.is_some() { Journal::Kept } else { Journal::None };
        let Some(records) = records(app, partition, journal).await? else { return Ok(None) };
        let after = tail(app, partition).await?;
        let is_settled = before.is_some() && before == after;
        looks = looks.saturating_add(1);
        if is_settled || after.is_none() || LOOKS_MAX <= looks {
            return Ok(Some(Look { records, is_settled }));
        }
    }
}

/// The version of the journal's tail, if the partition keeps one.
async fn tail(app: &App, partition: &Partition) -> Result<Option<Version>, Error> {
    let scan = Scan {
        kind: Some(Kind::named("journal")),
        prefix: String::new(),
        after: None,
        due_by: None,
        show: Show::Records,
        limit: 1,
    };
    let page = app.engine.scan(partition, &scan).await?;
    Ok(page.records.first().map(|(_, record)| record.version))
}

/// Whether a partition keeps a journal: then outcomes name its entries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Journal {
    Kept,
    None,
}

/// All records of a partition; `None` if there are too many.
async fn records(
    app: &App,
    partition: &Partition,
    journal: Journal,
) -> Result<Option<Vec<Stored>>, Error> {
    let mut scan = Scan {
        kind: None,
        prefix: String::new(),
        after: None,
        due_by: None,
        show: Show::Records,
        limit: PAGE,
    };
    let mut records = Vec::new();
    loop {
        let page = app.engine.scan(partition, &scan).await?;
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

/// Whether the rule, which reads a quota with all its charges and holds at once, sees it too.
async fn confirmed(
    app: &App,
    partition: &Partition,
    (finding, ids): (&Finding, &Ids),
) -> Result<bool, Error> {
    let quota = finding.subject.strip_prefix("quotas/").and_then(|id| Key::new(id).ok());
    let Some(id) = quota.filter(|_| OF_A_QUOTA.contains(&finding.check)) else { return Ok(true) };
    let command = AuditQuota { id, charges: ids.charges.clone(), holds: ids.holds.clone() };
    let sent = app.engine.send(partition, vec![Arc::new(command)], CallOptions::default()).await;
    match sent? {
        AnyOutcome::Accepted(receipt) => Ok(receipt.replies.iter().any(|reply| {
            let reply = reply.to_json();
            let mismatches = reply.get("mismatches").and_then(serde_json::Value::as_array);
            mismatches.is_some_and(|all| all.iter().any(|one| one["check"] == finding.check))
        })),
        AnyOutcome::Rejected(_) => Ok(false),
    }
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
