//! The journal of a partition: its entries in order, and waiting for the next one.
//!
//! Invariant: what is shown is durable, in order and without gap, so a follower that keeps the last
//! place it was told misses nothing and is told nothing twice. An entry is shown as it is stored,
//! so that whoever has it can compute its hash.

use bellpunch::store::Scan;
use bellpunch::{Entry, Kind, Partition, Record as _, RecordKey, Tail, tail_id};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use crate::app::{Answer, App, Ask};
use crate::call::partition;
use crate::headers;
use crate::problem::Problem;

/// Entries of a page, unless the caller says otherwise, and at most.
const LIMIT: u64 = 100;
const LIMIT_MAX: u64 = 1_000;
/// The longest that a request waits for an entry, in milliseconds.
const WAIT_MS_MAX: u64 = 30_000;
/// How long until the store is asked again. Another node may have written what is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The value of a query field.
fn number(
    found: Option<String>,
    field: &'static str,
    (otherwise, max): (u64, u64),
) -> Result<u64, Problem> {
    let Some(text) = found else { return Ok(otherwise) };
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits && number <= max => Ok(number),
        Ok(_) | Err(_) => Err(Problem::field(field, &format!("must be 0 to {max}"))),
    }
}

pub(crate) fn undecodable(key: &RecordKey) -> Problem {
    Problem::new("internal").detail(format!("The record {key} cannot be read."))
}

/// The content of a stored record.
fn content<R: serde::de::DeserializeOwned>(
    key: &RecordKey,
    bytes: Option<&[u8]>,
) -> Result<Option<R>, Problem> {
    let Some(bytes) = bytes else { return Ok(None) };
    let mut envelope: Value = serde_json::from_slice(bytes).map_err(|_| undecodable(key))?;
    let record = envelope.get_mut("record").map(Value::take).unwrap_or_default();
    serde_json::from_value(record).map(Some).map_err(|_| undecodable(key))
}

async fn tail(app: &App, of: &Partition) -> Result<Tail, Problem> {
    let key = Tail::key(&tail_id());
    let found = app.engine.store().read(of, std::slice::from_ref(&key)).await;
    let found =
        found.map_err(|failure| Problem::new("store_unavailable").detail(failure.to_string()))?;
    let bytes = found.first().and_then(|found| found.value.as_deref());
    content(&key, bytes)?.ok_or_else(|| Problem::new("not_journaled"))
}

/// The entries after a place.
async fn entries(
    app: &App,
    of: &Partition,
    (after, limit): (u64, usize),
) -> Result<Vec<Entry>, Problem> {
    let mut scan = Scan::of(Entry::KIND, limit);
    scan.after = Some(RecordKey { kind: Kind::clone(&Entry::KIND), id: Entry::id(after) });
    let mut found = Vec::new();
    loop {
        scan.limit = limit.saturating_sub(found.len());
        let page = app.engine.scan(of, &scan).await.map_err(|error| Problem::of_error(&error))?;
        for (key, record) in page.records {
            found.extend(content::<Entry>(&key, record.value.as_deref())?);
        }
        match page.resume {
            Some(resume) if found.len() < limit => scan.after = Some(resume),
            Some(_) | None => return Ok(found),
        }
    }
}

/// Entries after a place; waits for the first if it is asked to.
pub(crate) async fn page(app: &App, ask: Ask<'_>) -> Result<Answer, Problem> {
    let mut query = headers::query(&ask.head, &["after", "limit", "wait_ms"])?;
    let after = number(query.remove("after"), "after", (0, u64::MAX))?;
    let limit = number(query.remove("limit"), "limit", (LIMIT, LIMIT_MAX))?;
    let wait = number(query.remove("wait_ms"), "wait_ms", (0, WAIT_MS_MAX))?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX).max(1);
    let (of, begun) = (partition(&ask), Instant::now());
    let wait = Duration::from_millis(wait);
    loop {
        let last = tail(app, of).await;
        let journaled = last.is_ok();
        let found = if journaled { entries(app, of, (after, limit)).await? } else { Vec::new() };
        let waited = wait <= begun.elapsed() || app.is_draining();
        if found.is_empty() && !waited {
            sleep(LOOK_AGAIN).await;
            continue;
        }
        let last = last?;
        return Ok(Answer::json(json!({
            "partition": of, "at": app.engine.now(), "entries": found, "last": last.seq,
        })));
    }
}

/// The last entry.
pub(crate) async fn last(app: &App, ask: Ask<'_>) -> Result<Answer, Problem> {
    headers::query(&ask.head, &[])?;
    let of = partition(&ask);
    let tail = tail(app, of).await?;
    let before = tail.seq.saturating_sub(1);
    let found = entries(app, of, (before, 1)).await?;
    Ok(Answer::json(json!({"partition": of, "at": app.engine.now(), "entry": found.first()})))
}
