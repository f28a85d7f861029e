//! Receipts, reads and lists as they are told.

use bellpunch::{AnyReceipt, DecidedBy, Partition};
use hyper::StatusCode;
use hyper::header::{ETAG, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use crate::app::{Answer, App};
use crate::call::Prepared;
use crate::config::LegacyRateLimit;
use crate::json;
use crate::problem::{Problem, header};
use crate::usage;

/// What stands in one segment of a path as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// An integer of a structured field has at most 15 digits.
const FIELD_INTEGER_MAX: u64 = 999_999_999_999_999;

/// A path below `/v1` of these names.
pub(crate) fn path(names: &[&str]) -> String {
    let mut path = "/v1".to_owned();
    for name in names {
        path.push('/');
        path.extend(utf8_percent_encode(name, SEGMENT));
    }
    path
}

/// The member of a reply that is the resource of a collection.
pub(crate) fn singular(collection: &str) -> String {
    if collection == "account_holds" {
        // Of holds on quotas they are told apart by their path alone.
        return "hold".to_owned();
    }
    match collection.strip_suffix("ies") {
        // One word for one and for many.
        Some("ser") => collection.to_owned(),
        Some(stem) => format!("{stem}y"),
        None => collection.strip_suffix('s').unwrap_or(collection).to_owned(),
    }
}

fn envelope(partition: &Partition, receipt: &AnyReceipt) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("partition".to_owned(), json!(partition));
    body.insert("at".to_owned(), json!(receipt.at));
    if !receipt.durable {
        body.insert("durable".to_owned(), false.into());
    }
    body
}

/// What a receipt has beside the reply.
fn receipt_fields(body: &mut Map<String, Value>, receipt: &AnyReceipt) {
    if receipt.best_effort {
        body.insert("best_effort".to_owned(), true.into());
    }
    if receipt.dry_run {
        body.insert("dry_run".to_owned(), true.into());
        body.insert("as_of".to_owned(), json!(receipt.as_of));
        return;
    }
    body.insert("replayed".to_owned(), receipt.replayed.into());
    body.insert("decided_by".to_owned(), json!(receipt.decided_by));
    // Without the store nothing was written, or nothing that others see.
    if receipt.decided_by == DecidedBy::Store {
        body.insert("versions".to_owned(), json!(receipt.versions));
    }
    if !receipt.as_of.is_empty() {
        body.insert("as_of".to_owned(), json!(receipt.as_of));
    }
    // Of a list, each result has its own.
    if let [Some(seq)] = receipt.seqs.as_slice() {
        body.insert("seq".to_owned(), json!(seq));
    }
}

fn merge(body: &mut Map<String, Value>, mut reply: Value) {
    json::outward(&mut reply);
    match reply {
        Value::Object(members) => body.extend(members),
        Value::Null => {}
        other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            body.insert("reply".to_owned(), other);
        }
    }
}

/// Whether a command made the resource that it tells of. What is defined may be changed by the same
/// verb: its first version was made.
fn makes(verb: &str, resource: &Value) -> bool {
    let first = resource.get("version").and_then(Value::as_u64) == Some(1);
    verb == "create" || verb == "define" && first
}

/// The names that follow the collection in a resource's path.
fn place(resource: &Value) -> Vec<&str> {
    let names: &[&str] =
        if resource.get("proposer").is_some() { &["job", "proposer"] } else { &["id"] };
    names.iter().filter_map(|name| resource.get(*name)?.as_str()).collect()
}

/// The answer of one command.
pub(crate) fn of_one(
    app: &App,
    partition: &Partition,
    prepared: Prepared,
    receipt: &AnyReceipt,
) -> Answer {
    let mut body = envelope(partition, receipt);
    if prepared.spec.changes {
        receipt_fields(&mut body, receipt);
    } else {
        body.insert("as_of".to_owned(), json!(receipt.as_of));
    }
    for reply in &receipt.replies {
        merge(&mut body, reply.to_json());
    }
    let asked = (prepared.spec.name, prepared.asked.as_slice());
    usage::note(app, partition, asked, (receipt, &body));
    if let Some(made) = prepared.made.filter(|_| !receipt.replayed && !receipt.dry_run) {
        body.remove("secret_withheld");
        body.insert("secret".to_owned(), made.show().into());
    }
    let (collection, verb) = prepared.spec.name.split_once('.').expect("`collection.verb`");
    let resource = body.get(&singular(collection)).cloned().unwrap_or_default();
    let mut answer = Answer::json(Value::Null);
    if let Some(version) = resource.get("version").and_then(Value::as_u64) {
        answer.header(ETAG, &format!("\"{version}\""));
    }
    if !receipt.dry_run && makes(verb, &resource) {
        answer.status = StatusCode::CREATED;
        let place = place(&resource);
        if !place.is_empty() {
            let names = [partition.as_str(), collection].into_iter().chain(place);
            answer.header(LOCATION, &path(&names.collect::<Vec<_>>()));
        }
    }
    if receipt.replayed {
        answer.header(HeaderName::from_static("idempotent-replayed"), "true");
    }
    if ["quotas", "checks", "holds", "policies"].contains(&collection) && verb != "read" {
        let shown = shown_limits(&body);
        answer.headers.extend(limit_fields(app, &shown));
    }
    answer.body = crate::app::AnswerBody::Json(Value::Object(body));
    answer
}

/// The answer of a list.
pub(crate) fn of_list(
    app: &App,
    partition: &Partition,
    prepared: &[Prepared],
    receipt: &AnyReceipt,
) -> Answer {
    let mut body = envelope(partition, receipt);
    receipt_fields(&mut body, receipt);
    let only = std::slice::from_ref(&receipt.versions);
    let listed = 1 < receipt.replies.len();
    let mut versions = if listed { &receipt.versions_each } else { only }.iter();
    let mut seqs = receipt.seqs.iter();
    let results = receipt.replies.iter().zip(prepared).map(|(reply, prepared)| {
        let mut result = Map::new();
        if let Some(versions) = versions.next().filter(|_| !receipt.dry_run) {
            result.insert("versions".to_owned(), json!(versions));
        }
        if let Some(Some(seq)) = seqs.next().filter(|_| listed) {
            result.insert("seq".to_owned(), json!(seq));
        }
        merge(&mut result, reply.to_json());
        let asked = (prepared.spec.name, prepared.asked.as_slice());
        usage::note(app, partition, asked, (receipt, &result));
        if let Some(made) = prepared.made.as_ref().filter(|_| !receipt.replayed) {
            result.remove("secret_withheld");
            result.insert("secret".to_owned(), made.show().into());
        }
        Value::Object(result)
    });
    body.insert("results".to_owned(), results.collect());
    let mut answer = Answer::json(Value::Object(body));
    if receipt.replayed {
        answer.header(HeaderName::from_static("idempotent-replayed"), "true");
    }
    answer
}

/// What became of a key: the receipt as it was told, or that nothing was applied.
pub(crate) fn of_outcome(app: &App, partition: &Partition, receipt: &AnyReceipt) -> Answer {
    let known = receipt.replies.first().map(bellpunch::Reply::to_json).unwrap_or_default();
    let mut body = envelope(partition, receipt);
    let Some(stored) = known.get("receipt") else {
        let retention = app.config.idempotency.retention.get().as_nanos();
        let retention = bellpunch::Duration::checked(retention).unwrap_or(bellpunch::Duration::MAX);
        body.insert("status".to_owned(), "not_applied".into());
        body.insert("kept_since".to_owned(), json!(receipt.at.minus_or_epoch(retention)));
        return Answer::json(Value::Object(body));
    };
    let mut told = Map::new();
    told.insert("partition".to_owned(), json!(partition));
    told.insert("at".to_owned(), stored.get("at").cloned().unwrap_or_default());
    told.insert("replayed".to_owned(), true.into());
    told.insert("decided_by".to_owned(), "store".into());
    if !receipt.durable {
        told.insert("durable".to_owned(), false.into());
    }
    told.insert("versions".to_owned(), stored.get("versions").cloned().unwrap_or_default());
    let seqs = stored.get("seqs").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if let [seq] = seqs {
        told.insert("seq".to_owned(), seq.clone());
    }
    match stored.get("replies").and_then(Value::as_array).map(Vec::as_slice) {
        Some([reply]) => merge(&mut told, reply.clone()),
        Some(replies) => {
            let mut versions = stored.get("versions_each").and_then(Value::as_array);
            let mut versions = versions.iter_mut().flat_map(|versions| versions.iter());
            let mut seqs = seqs.iter();
            let results = replies.iter().map(|reply| {
                let mut result = Map::new();
                if let Some(versions) = versions.next() {
                    result.insert("versions".to_owned(), versions.clone());
                }
                if let Some(seq) = seqs.next().filter(|seq| !seq.is_null()) {
                    result.insert("seq".to_owned(), seq.clone());
                }
                merge(&mut result, reply.clone());
                Value::Object(result)
            });
            told.insert("results".to_owned(), results.collect());
        }
        None => {}
    }
    body.insert("status".to_owned(), "applied".into());
    body.insert("receipt".to_owned(), Value::Object(told));
    Answer::json(Value::Object(body))
}

/// A quota or a rate limit, as a reply or a rejection shows it.
struct Shown {
    name: String,
    limit: Option<u64>,
    remaining: Option<u64>,
    window_seconds: Option<u64>,
    next_seconds: Option<u64>,
    unit: Option<String>,
}

fn seconds_up(milliseconds: u64) -> u64 {
    milliseconds.div_ceil(1_000)
}

fn shown_limit(view: &Value, at: Option<&str>) -> Option<Shown> {
    let text = |name: &str| view.get(name).and_then(Value::as_str);
    let name = text("quota").or_else(|| text("policy")).or_else(|| text("id"))?;
    let wait = view.get("retry_after_ms").and_then(Value::as_u64).map(seconds_up);
    let next = || {
        let next: bellpunch::Timestamp = text("next_at")?.parse().ok()?;
        let rest = next.since(at?.parse().ok()?)?;
        Some(seconds_up(rest.millis_up()))
    };
    Some(Shown {
        name: name.to_owned(),
        limit: view.get("limit").and_then(Value::as_u64),
        remaining: view.get("remaining").and_then(Value::as_u64),
        window_seconds: view.get("window_ms").and_then(Value::as_u64).map(seconds_up),
        next_seconds: next().or(wait),
        unit: view.get("metadata").and_then(|m| m.get("unit")?.as_str()).map(str::to_owned),
    })
}

fn shown_limits(body: &Map<String, Value>) -> Vec<Shown> {
    let at = body.get("at").and_then(Value::as_str);
    let single = ["quota", "counter"].iter().filter_map(|name| body.get(*name));
    let several = body.get("targets").and_then(Value::as_array).into_iter().flatten();
    single.chain(several).filter_map(|view| shown_limit(view, at)).collect()
}

/// A structured-field String; `None` of a name that has no such form.
fn quoted(name: &str) -> Option<String> {
    if !name.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return None;
    }
    Some(format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// `RateLimit-Policy`, `RateLimit`, and the older fields.
fn limit_fields(app: &App, shown: &[Shown]) -> Vec<(HeaderName, HeaderValue)> {
    let mut policies = Vec::new();
    let mut states = Vec::new();
    for one in shown {
        let Some(name) = quoted(&one.name) else { continue };
        let parameter = |letter: &str, value: Option<u64>| {
            value.map(|value| format!(";{letter}={}", value.min(FIELD_INTEGER_MAX)))
        };
        if let Some(limit) = parameter("q", one.limit) {
            let window = parameter("w", one.window_seconds).unwrap_or_default();
            let unit = one.unit.as_deref().and_then(quoted);
            let unit = unit.map(|unit| format!(";bellpunch-unit={unit}")).unwrap_or_default();
            policies.push(format!("{name}{limit}{window}{unit}"));
        }
        if let Some(remaining) = parameter("r", one.remaining) {
            let next = parameter("t", one.next_seconds).unwrap_or_default();
            states.push(format!("{name}{remaining}{next}"));
        }
    }
    let mut fields = Vec::new();
    if !policies.is_empty() {
        fields.extend(header(HeaderName::from_static("ratelimit-policy"), &policies.join(", ")));
    }
    if !states.is_empty() {
        fields.extend(header(HeaderName::from_static("ratelimit"), &states.join(", ")));
    }
    fields.extend(legacy_fields(app, shown));
    fields
}

/// The fields of older clients know one limit: the tightest.
fn legacy_fields(app: &App, shown: &[Shown]) -> Vec<(HeaderName, HeaderValue)> {
    let tightest = shown.iter().filter(|one| one.limit.is_some()).min_by_key(|one| one.remaining);
    let (Some(tightest), form) = (tightest, app.config.http.legacy_ratelimit) else {
        return Vec::new();
    };
    let reset = match (form, tightest.next_seconds) {
        (LegacyRateLimit::Off, _) => return Vec::new(),
        (LegacyRateLimit::Delta, next) => next,
        (LegacyRateLimit::Epoch, next) => next.map(|next| {
            let now = app.engine.now().nanos().div_ceil(1_000_000_000);
            u64::try_from(now).unwrap_or(u64::MAX).saturating_add(next)
        }),
    };
    let fields = [
        ("x-ratelimit-limit", tightest.limit),
        ("x-ratelimit-remaining", tightest.remaining),
        ("x-ratelimit-reset", reset),
    ];
    fields
        .into_iter()
        .filter_map(|(name, value)| header(HeaderName::from_static(name), &value?.to_string()))
        .collect()
}

/// Gives a refusal its rate-limit fields and `Retry-After`: the wait rounded up, at least 1.
pub(crate) fn limit_fields_of(app: &App, mut problem: Problem) -> Problem {
    if problem.status != 429 {
        return problem;
    }
    let at = problem.decided.as_ref().map(|decided| decided.at.to_string());
    let violations = problem.data.get("violations").and_then(Value::as_array);
    let shown: Vec<Shown> = violations
        .into_iter()
        .flatten()
        .filter_map(|violation| shown_limit(violation, at.as_deref()))
        .collect();
    problem.headers.extend(limit_fields(app, &shown));
    if let Some(wait) = problem.data.get("retry_after_ms").and_then(Value::as_u64) {
        let earliest = shown.iter().filter_map(|one| one.next_seconds).max().unwrap_or(1);
        let seconds = seconds_up(wait).max(earliest).max(1);
        problem.headers.extend(header(RETRY_AFTER, &seconds.to_string()));
    }
    problem
}
