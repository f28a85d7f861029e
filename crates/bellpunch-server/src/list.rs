//! Pages of collections: the store names the ids, and each record is read by its own command, so
//! that a list shows what a read shows. A page is not one snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bellpunch::store::Scan;
use bellpunch::{AnyOutcome, CallOptions, CommandSpec, Key, Kind, Partition, RecordId, RecordKey};
use serde_json::{Map, Value, json};

use crate::app::{Answer, App, Ask};
use crate::call::{partition, prepare_own};
use crate::problem::Problem;
use crate::{headers, json, reply, reserved};

/// Members of a page, unless the caller says otherwise, and at most.
const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1_000;
/// Reads under way at once.
const READS_MAX: usize = 256;
/// What a list of tickets may be narrowed to.
pub(crate) const TICKET_FILTERS: [&str; 3] = ["holder", "audience", "status"];

/// An id, and the stored form of its record.
pub(crate) type Found = (RecordId, Option<Arc<[u8]>>);

/// Which page.
pub(crate) struct PageAsk {
    limit: usize,
    after: Option<String>,
    pub(crate) prefix: String,
    filters: BTreeMap<String, String>,
}

pub(crate) fn page_ask(ask: &Ask<'_>, filters: &[&'static str]) -> Result<PageAsk, Problem> {
    let known: Vec<&str> = ["limit", "after", "prefix"].iter().chain(filters).copied().collect();
    let mut query = headers::query(&ask.head, &known)?;
    let limit = match query.remove("limit") {
        None => LIMIT,
        Some(text) => match text.parse() {
            Ok(limit @ 1..=LIMIT_MAX) if text.bytes().all(|byte| byte.is_ascii_digit()) => limit,
            Ok(_) | Err(_) => return Err(Problem::field("limit", "must be 1 to 1000")),
        },
    };
    let after = match query.remove("after") {
        None => None,
        Some(cursor) => Some(opened(&cursor)?),
    };
    let prefix = query.remove("prefix").unwrap_or_default();
    Ok(PageAsk { limit, after, prefix, filters: query })
}

/// Cursors are opaque: an id may have any character.
pub(crate) fn sealed(id: &str) -> String {
    URL_SAFE_NO_PAD.encode(id)
}

pub(crate) fn opened(cursor: &str) -> Result<String, Problem> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| Problem::field("after", "must be the `next` of the page before"))
}

/// A page of the records of a collection.
pub(crate) async fn records(
    app: &App,
    spec: &'static CommandSpec,
    ask: Ask<'_>,
) -> Result<Answer, Problem> {
    let (collection, _) = spec.name.split_once('.').expect("a name is `collection.verb`");
    let filters: &[&str] = if collection == "tickets" { &TICKET_FILTERS } else { &[] };
    let page = page_ask(&ask, filters)?;
    let partition = partition(&ask);
    let (ids, next) = scan(app, partition, collection, &page).await?;
    let subject = app.subject_of(spec);
    let contents = ids.iter().filter_map(|(id, _)| content_of(collection, subject, id));
    let bodies = read_all(app, spec, (partition, contents.collect())).await?;
    let resource = |mut body: Map<String, Value>| {
        body.remove(&reply::singular(collection)).unwrap_or(Value::Object(body))
    };
    let mut shown: Vec<Value> = bodies.into_iter().map(resource).collect();
    shown.retain(|resource| {
        page.filters.iter().all(|(name, wanted)| {
            resource.get(name).and_then(Value::as_str) == Some(wanted.as_str())
        })
    });
    Ok(paged(app, partition, (collection, shown), next))
}

/// A page of a policy's counters.
pub(crate) async fn counters(
    app: &App,
    spec: &'static CommandSpec,
    ask: Ask<'_>,
) -> Result<Answer, Problem> {
    let mut page = page_ask(&ask, &[])?;
    let partition = partition(&ask);
    let policy = ask.captures.get("policy").map(String::as_str).unwrap_or_default();
    reserved::check("policy", policy)?;
    let policy = Key::new(policy).map_err(|error| {
        Problem::new(error.code()).with("field", "policy").with("reason", error.reason())
    })?;
    page.prefix.insert_str(0, &RecordId::prefix(&[&policy]));
    let (ids, next) = scan(app, partition, "counters", &page).await?;
    let keys = ids.iter().filter_map(|(id, _)| id.split(2)?.pop());
    let contents = keys.map(|key| named([("policy", policy.as_str()), ("key", key.as_str())]));
    let shown = members(app, spec, (partition, contents.collect())).await?;
    Ok(paged(app, partition, ("counters", shown), next))
}

/// The ids of a page, each with what is stored there, and the cursor of the next page.
pub(crate) async fn scan(
    app: &App,
    partition: &Partition,
    kind: &str,
    page: &PageAsk,
) -> Result<(Vec<Found>, Option<String>), Problem> {
    let kind = Kind::named(kind);
    let mut scan = Scan::of(kind.clone(), page.limit);
    scan.prefix.clone_from(&page.prefix);
    scan.after = page.after.as_ref().map(|id| RecordKey { kind, id: RecordId::stored(id) });
    let mut ids: Vec<Found> = Vec::new();
    // A store looks at a bounded number of records at a time; a page is filled from several looks.
    loop {
        scan.limit = page.limit.saturating_sub(ids.len());
        let found = app.engine.scan(partition, &scan).await;
        let found = found.map_err(|error| Problem::of_error(&error))?;
        ids.extend(found.records.into_iter().map(|(key, loaded)| (key.id, loaded.value)));
        match found.resume {
            None => return Ok((ids, None)),
            Some(resume) if page.limit <= ids.len() => {
                return Ok((ids, Some(sealed(resume.id.as_str()))));
            }
            Some(resume) => scan.after = Some(resume),
        }
    }
}

/// What a read is asked for.
pub(crate) fn named<const N: usize>(names: [(&str, &str); N]) -> Map<String, Value> {
    names.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

/// What the read of a record is asked for. A proposal is named by its job and its proposer.
fn content_of(collection: &str, subject: &str, id: &RecordId) -> Option<Map<String, Value>> {
    if collection != "proposals" {
        return Some(named([(subject, id.as_str())]));
    }
    let names = id.split(2)?;
    let [job, proposer] = names.as_slice() else { return None };
    Some(named([("job", job.as_str()), ("proposer", proposer.as_str())]))
}

/// Records as their own command shows them, in order. One that went since the scan is no member.
async fn read_all(
    app: &App,
    spec: &'static CommandSpec,
    (of, contents): (&Partition, Vec<Map<String, Value>>),
) -> Result<Vec<Map<String, Value>>, Problem> {
    let mut bodies = Vec::with_capacity(contents.len());
    for chunk in contents.chunks(READS_MAX) {
        let reads = chunk.iter().map(|content| read(app, spec, of, content.clone()));
        for body in futures_util::future::join_all(reads).await {
            bodies.extend(body?);
        }
    }
    Ok(bodies)
}

/// As [`read_all`], without what stands around each member.
pub(crate) async fn members(
    app: &App,
    spec: &'static CommandSpec,
    asked: (&Partition, Vec<Map<String, Value>>),
) -> Result<Vec<Value>, Problem> {
    let (collection, _) = spec.name.split_once('.').expect("a name is `collection.verb`");
    let name = reply::singular(collection);
    let bodies = read_all(app, spec, asked).await?;
    Ok(bodies.into_iter().filter_map(|mut body| body.remove(&name)).collect())
}

async fn read(
    app: &App,
    spec: &'static CommandSpec,
    partition: &Partition,
    content: Map<String, Value>,
) -> Result<Option<Map<String, Value>>, Problem> {
    let prepared = prepare_own(app, spec, content)?;
    let timeout = Some(app.config.http.timeout.get());
    let options = CallOptions { key: None, dry_run: false, timeout };
    let outcome = app.engine.send(partition, vec![Arc::clone(&prepared.command)], options).await;
    let receipt = match outcome.map_err(|error| Problem::of_error(&error))? {
        AnyOutcome::Accepted(receipt) => receipt,
        AnyOutcome::Rejected(_) => return Ok(None),
    };
    let mut reply = receipt.replies.first().map(bellpunch::Reply::to_json).unwrap_or_default();
    json::outward(&mut reply);
    match reply {
        Value::Object(body) => Ok(Some(body)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Ok(None)
        }
    }
}

pub(crate) fn paged(
    app: &App,
    partition: &Partition,
    (name, members): (&str, Vec<Value>),
    next: Option<String>,
) -> Answer {
    let at = app.engine.now();
    let mut body = Map::new();
    body.insert("partition".to_owned(), json!(partition));
    body.insert("at".to_owned(), json!(at));
    body.insert(name.to_owned(), members.into());
    body.insert("next".to_owned(), json!(next));
    Answer::json(Value::Object(body))
}

/// A page of partition names.
pub(crate) async fn partitions(app: &App, ask: &Ask<'_>) -> Result<Answer, Problem> {
    let page = page_ask(ask, &[])?;
    let after = page.after.as_deref().and_then(|name| Partition::new(name).ok());
    let found = app.engine.partitions(after.as_ref(), page.limit).await;
    let found = found.map_err(|error| Problem::of_error(&error))?;
    let last = found.partitions.last().filter(|_| found.more);
    let next = last.map(|name| sealed(name.as_str()));
    let own = |name: &&Partition| {
        name.as_str().starts_with(&page.prefix) && !name.as_str().starts_with('_')
    };
    let names: Vec<&Partition> = found.partitions.iter().filter(own).collect();
    Ok(Answer::json(json!({"at": app.engine.now(), "partitions": names, "next": next})))
}
