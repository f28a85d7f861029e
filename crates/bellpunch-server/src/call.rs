//! Commands over HTTP: one, a list of them all or nothing, and a batch of independent ones.

use std::sync::Arc;

use bellpunch::{
    AnyCommand, AnyOutcome, CallOptions, CommandSpec, IdempotencyKey, Partition, ShapeError,
};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::http::request::Parts;
use serde_json::{Map, Value, json};

use crate::app::{Answer, App, Ask};
use crate::config::KeyRequired;
use crate::metrics::Used;
use crate::problem::{Decided, Problem};
use crate::reserved::PAYLOAD_MAX;
use crate::route::{Captures, OF_THE_DOOR};
use crate::{headers, json, reply, secret, usage};

/// The largest body of one command.
const BODY_BYTES_MAX: usize = 64 << 10;
/// The largest body of a list.
const COMMANDS_BYTES_MAX: usize = 256 << 10;
/// The largest body of a batch.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// Commands in a list.
const COMMANDS_MAX: usize = 64;
/// Commands in a batch.
pub(crate) const BATCH_MAX: usize = 1_000;

/// Commands that take units: none of them takes 0.
const TAKING: [&str; 4] = ["quotas.consume", "policies.consume", "checks.consume", "holds.create"];

/// Collections whose commands may pay an invoice.
const PAYING: [&str; 2] = ["invoices.", "payments."];

/// A command ready to be sent, and the secret that the door made for it.
pub(crate) struct Prepared {
    pub(crate) spec: &'static CommandSpec,
    pub(crate) command: Arc<dyn AnyCommand>,
    pub(crate) made: Option<secret::Made>,
    /// What it takes of limits.
    pub(crate) asked: Vec<usage::Asked>,
}

/// Reads a body of at most `bytes_max` within the body timeout. A declared length is tested first.
pub(crate) async fn read_body(
    app: &App,
    mut body: Incoming,
    bytes_max: usize,
) -> Result<Bytes, Problem> {
    let too_large = || Problem::new("body_too_large").with("max", bytes_max).closing();
    if u64::try_from(bytes_max).unwrap_or(u64::MAX) < body.size_hint().lower() {
        return Err(too_large());
    }
    let read = async {
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let broken = |_| Problem::field("", "the body broke off").closing();
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            if bytes_max < bytes.len().saturating_add(data.len()) {
                return Err(too_large());
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes.freeze())
    };
    match tokio::time::timeout(app.config.http.body_timeout.get(), read).await {
        Ok(read) => read,
        Err(_) => Err(Problem::new("request_timeout").closing()),
    }
}

/// Reads a body that is one JSON object, or nothing.
async fn read_json(
    app: &App,
    head: &Parts,
    body: Incoming,
    bytes_max: usize,
) -> Result<Map<String, Value>, Problem> {
    if !body.is_end_stream() && !headers::is_json(&head.headers) {
        return Err(Problem::new("unsupported_media_type").closing());
    }
    let bytes = read_body(app, body, bytes_max).await?;
    Ok(json::read_object(&bytes)?)
}

/// Makes a command of what a caller said.
pub(crate) fn prepare(
    app: &App,
    spec: &'static CommandSpec,
    content: Map<String, Value>,
) -> Result<Prepared, Problem> {
    app.names.check(spec.name, &content)?;
    prepare_own(app, spec, content)
}

/// Makes a command of content in the wire's names, some of which the door has set.
pub(crate) fn prepare_own(
    app: &App,
    spec: &'static CommandSpec,
    mut content: Map<String, Value>,
) -> Result<Prepared, Problem> {
    let made = secret::hash(spec.name, &mut content)?;
    if spec.name == "uploads.create" {
        let max = app.config.uploads.payload_max.get();
        content.insert(PAYLOAD_MAX.to_owned(), max.into());
    }
    if TAKING.contains(&spec.name) {
        refuse_zero("", &content)?;
    }
    let asked = usage::asked(spec.name, &content);
    json::inward(spec.name, &mut content)?;
    let command = (spec.parse)(Value::Object(content)).map_err(json::outward_error)?;
    Ok(Prepared { spec, command, made, asked })
}

/// A protocol that has a cost of 0 passes it to the rules; this one has dry runs and reads.
fn refuse_zero(path: &str, content: &Map<String, Value>) -> Result<(), Problem> {
    if content.get("units").and_then(Value::as_u64) == Some(0) {
        let (code, field) = ("invalid_units", format!("{path}units"));
        return Err(ShapeError { code, field, reason: "zero".to_owned() }.into());
    }
    let items = content.get("items").and_then(Value::as_array).into_iter().flatten();
    items.enumerate().try_for_each(|(index, item)| match item {
        Value::Object(item) => refuse_zero(&format!("{path}items[{index}]."), item),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Ok(())
        }
    })
}

fn beside_path(
    content: &mut Map<String, Value>,
    captures: Captures,
    if_version: Option<Value>,
) -> Result<(), Problem> {
    for (name, value) in captures {
        if content.insert(name.clone(), value.into()).is_some() {
            return Err(Problem::field(&name, "stands in the path"));
        }
    }
    if let Some(versions) = if_version
        && content.insert("if_version".to_owned(), versions).is_some()
    {
        return Err(Problem::field("if_version", "stands in If-Match or If-None-Match"));
    }
    Ok(())
}

pub(crate) fn partition<'a>(ask: &Ask<'a>) -> &'a Partition {
    ask.partition.expect("a route of commands has a partition")
}

impl App {
    /// How a command is sent, as its request says.
    pub(crate) fn options(&self, head: &Parts, known: &[&str]) -> Result<CallOptions, Problem> {
        let query = headers::query(head, known)?;
        let dry_run = headers::dry_run(&query)?;
        let key = headers::idempotency_key(&head.headers)?;
        let timeout = headers::timeout(&head.headers)?;
        let timeout = Some(timeout.unwrap_or_else(|| self.config.http.timeout.get()));
        Ok(CallOptions { key, dry_run, timeout })
    }

    pub(crate) fn key_required(
        &self,
        changes: Changes,
        options: &CallOptions,
    ) -> Result<(), Problem> {
        let required = match (self.config.idempotency.required, changes) {
            (KeyRequired::All, Changes::Something | Changes::Money) => true,
            (KeyRequired::Money, Changes::Money) => true,
            (KeyRequired::All | KeyRequired::Money | KeyRequired::None, _) => false,
        };
        if required && options.key.is_none() && !options.dry_run {
            return Err(Problem::new("idempotency_key_required"));
        }
        Ok(())
    }

    /// Sends commands and tells what came of them.
    pub(crate) async fn send(
        &self,
        partition: &Partition,
        commands: Vec<Arc<dyn AnyCommand>>,
        options: CallOptions,
    ) -> Result<bellpunch::AnyReceipt, Problem> {
        let listed = 1 < commands.len();
        let dry_run = options.dry_run;
        let key = options.key.clone();
        let names: Vec<&'static str> = commands.iter().map(|command| command.name()).collect();
        match self.engine.send(partition, commands, options).await {
            Ok(AnyOutcome::Accepted(receipt)) => {
                let told = !receipt.dry_run && !receipt.replayed;
                if told && names.iter().any(|name| PAYING.iter().any(|of| name.starts_with(of))) {
                    receipt.replies.iter().for_each(|reply| self.metrics.events(&reply.to_json()));
                }
                Ok(receipt)
            }
            Ok(AnyOutcome::Rejected(refusal)) => {
                if !dry_run {
                    self.metrics.not_accepted(refusal.rejection.code, names.into_iter());
                }
                if refusal.rejection.code == "too_many_keys" {
                    self.metrics.used(Used::TooManyKeys, 1);
                }
                let index = listed.then_some(refusal.index);
                let decided = Decided {
                    at: refusal.at,
                    as_of: refusal.as_of,
                    by: refusal.decided_by,
                    category: refusal.rejection.category,
                    dry_run,
                    best_effort: refusal.best_effort,
                    durable: refusal.durable,
                    index,
                };
                let problem = Problem::of_rejection(refusal.rejection, decided);
                Err(reply::limit_fields_of(self, problem))
            }
            Err(error) => {
                if !dry_run {
                    self.metrics.not_accepted(error.kind().code(), names.into_iter());
                }
                Err(with_outcome_link(Problem::of_error(&error), partition, key.as_ref()))
            }
        }
    }
}

/// Where the outcome of an unknown one can be asked for.
fn with_outcome_link(
    problem: Problem,
    partition: &Partition,
    key: Option<&IdempotencyKey>,
) -> Problem {
    match key {
        Some(key) if problem.code == "outcome_unknown" => {
            let link = reply::path(&[partition.as_str(), "outcomes", key.as_str()]);
            problem.with("idempotency_key", key.as_str()).with("outcome", link)
        }
        Some(_) | None => problem,
    }
}

/// What a command, or any command of a list, changes.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Changes {
    Nothing,
    Something,
    /// Something about money.
    Money,
}

impl Changes {
    pub(crate) const fn of(spec: &CommandSpec) -> Self {
        match (spec.changes, spec.money) {
            (false, _) => Self::Nothing,
            (true, false) => Self::Something,
            (true, true) => Self::Money,
        }
    }
}

/// One command.
pub(crate) async fn command(
    app: &App,
    spec: &'static CommandSpec,
    ask: Ask<'_>,
) -> Result<Answer, Problem> {
    let partition = partition(&ask);
    let mut options = app.options(&ask.head, &["dry_run"])?;
    let if_version = headers::if_version(&ask.head.headers)?;
    if spec.changes {
        app.key_required(Changes::of(spec), &options)?;
    } else {
        options.key = None;
    }
    let mut content = read_json(app, &ask.head, ask.body, BODY_BYTES_MAX).await?;
    if spec.name == "uploads.delete" {
        secret::from_header(&ask.head.headers, &mut content)?;
    }
    beside_path(&mut content, ask.captures, if_version)?;
    let prepared = prepare(app, spec, content)?;
    let receipt = app.send(partition, vec![Arc::clone(&prepared.command)], options).await?;
    if receipt.replayed {
        app.metrics.replay(spec.name);
    }
    Ok(reply::of_one(app, partition, prepared, &receipt))
}

/// A condition names the version of one record, so in a list it stands with its command.
fn unconditional(head: &Parts) -> Result<(), Problem> {
    match headers::if_version(&head.headers)? {
        None => Ok(()),
        Some(_) => Err(Problem::field("If-Match", "stands in each command, as `if_version`")),
    }
}

/// The commands of a list or a batch, each an object with its name under `command`.
pub(crate) fn listed(
    app: &App,
    mut body: Map<String, Value>,
    count_max: usize,
) -> Result<Vec<Result<Listed, Problem>>, Problem> {
    let items = body.remove("commands");
    if let Some((name, _)) = body.iter().next() {
        return Err(Problem::field(name, "unknown field, expected `commands`"));
    }
    let Some(Value::Array(items)) = items else {
        return Err(Problem::field("commands", "must be an array"));
    };
    if items.is_empty() || count_max < items.len() {
        return Err(Problem::field("commands", &format!("must have 1 to {count_max} members")));
    }
    Ok(items.into_iter().enumerate().map(|(index, item)| listed_one(app, index, item)).collect())
}

pub(crate) struct Listed {
    pub(crate) prepared: Prepared,
    pub(crate) key: Option<IdempotencyKey>,
}

fn listed_one(app: &App, index: usize, item: Value) -> Result<Listed, Problem> {
    let place = |field: &str| match field {
        "" => format!("commands[{index}]"),
        field => format!("commands[{index}].{field}"),
    };
    let wrong = |field: &str, reason: &str| Problem::field(&place(field), reason);
    let Value::Object(mut content) = item else { return Err(wrong("", "must be an object")) };
    let name = content.remove("command");
    let Some(name) = name.as_ref().and_then(Value::as_str) else {
        return Err(wrong("command", "must be the name of a command"));
    };
    let Some(spec) = app.command(name).filter(|_| !OF_THE_DOOR.contains(&name)) else {
        return Err(wrong("command", "no command of a list has this name"));
    };
    let key = match content.remove("idempotency_key") {
        None => None,
        Some(Value::String(key)) => Some(IdempotencyKey::new(key).map_err(|error| {
            let field = place("idempotency_key");
            Problem::from(ShapeError { code: error.code(), field, reason: error.reason().into() })
        })?),
        Some(_) => return Err(wrong("idempotency_key", "must be a string")),
    };
    let prepared = prepare(app, spec, content).map_err(|mut problem| {
        if let Some(Value::String(field)) = problem.data.get("field") {
            let field = place(field);
            problem.detail = format!("`{field}`: {}", problem.detail);
            problem.data.insert("field".to_owned(), field.into());
        }
        problem
    })?;
    Ok(Listed { prepared, key })
}

/// A list: one commit, one idempotency key, all or nothing.
pub(crate) async fn commands(app: &App, ask: Ask<'_>) -> Result<Answer, Problem> {
    let partition = partition(&ask);
    let options = app.options(&ask.head, &["dry_run"])?;
    unconditional(&ask.head)?;
    let body = read_json(app, &ask.head, ask.body, COMMANDS_BYTES_MAX).await?;
    let mut prepared = Vec::new();
    for (index, item) in listed(app, body, COMMANDS_MAX)?.into_iter().enumerate() {
        let item = item?;
        if item.key.is_some() {
            let field = format!("commands[{index}].idempotency_key");
            return Err(Problem::field(&field, "a list has one key, in its header"));
        }
        prepared.push(item.prepared);
    }
    let changes = prepared.iter().map(|prepared| Changes::of(prepared.spec)).max();
    let changes = changes.unwrap_or(Changes::Nothing);
    app.key_required(changes, &options)?;
    let sent = prepared.iter().map(|prepared| Arc::clone(&prepared.command)).collect();
    let receipt = app.send(partition, sent, options).await.map_err(|mut problem| {
        // A list of one is a list.
        if let Some(decided) = &mut problem.decided {
            decided.index = decided.index.or(Some(0));
        }
        problem
    })?;
    if receipt.replayed {
        app.metrics.replay("commands");
    }
    Ok(reply::of_list(app, partition, &prepared, &receipt))
}

/// A batch: each is decided, keyed and answered on its own. They are sent at once, in order, so
/// that the executor combines them.
pub(crate) async fn batch(app: &App, ask: Ask<'_>) -> Result<Answer, Problem> {
    let partition = partition(&ask);
    let options = app.options(&ask.head, &[])?;
    if options.key.is_some() {
        return Err(Problem::field("Idempotency-Key", "each command of a batch has its own"));
    }
    unconditional(&ask.head)?;
    let body = read_json(app, &ask.head, ask.body, BATCH_BYTES_MAX).await?;
    let calls = listed(app, body, BATCH_MAX)?.into_iter().map(|item| {
        let mut options = options.clone();
        async move {
            let Listed { prepared, key } = item?;
            options.key = key;
            app.key_required(Changes::of(prepared.spec), &options)?;
            let command = Arc::clone(&prepared.command);
            let receipt = app.send(partition, vec![command], options).await?;
            Ok::<_, Problem>(reply::of_one(app, partition, prepared, &receipt))
        }
    });
    let answers = futures_util::future::join_all(calls).await;
    let results: Vec<Value> = answers
        .into_iter()
        .map(|answer| match answer {
            Ok(Answer { status, body: crate::app::AnswerBody::Json(reply), .. }) => {
                json!({"status": status.as_u16(), "reply": reply})
            }
            Ok(Answer { status, .. }) => json!({"status": status.as_u16()}),
            Err(problem) => {
                let body = problem.body(Some(partition.as_str()), None);
                json!({"status": problem.status, "problem": body})
            }
        })
        .collect();
    Ok(Answer::json(json!({"partition": partition, "results": results})))
}

/// What became of an idempotency key.
pub(crate) async fn outcome(
    app: &App,
    spec: &'static CommandSpec,
    ask: Ask<'_>,
) -> Result<Answer, Problem> {
    let partition = partition(&ask);
    let mut options = app.options(&ask.head, &[])?;
    options.key = None;
    let mut content = Map::new();
    let key = ask.captures.get("key").cloned().unwrap_or_default();
    content.insert("id".to_owned(), key.into());
    let prepared = prepare(app, spec, content).map_err(|problem| problem.with("field", "key"))?;
    let receipt = app.send(partition, vec![prepared.command], options).await?;
    Ok(reply::of_outcome(app, partition, &receipt))
}

#[cfg(test)]
mod tests;
