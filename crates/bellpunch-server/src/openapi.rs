//! OpenAPI 3.1, made from the table of routes and the schemas of the commands.

use serde_json::{Map, Value, json};

use crate::reserved::of_the_door;
use crate::route::{Action, Route, Routes, Under};
use crate::schema::Schemas;

/// The document.
pub(crate) fn document(routes: &Routes, schemas: &Schemas) -> String {
    let mut paths = Map::new();
    for route in routes.iter() {
        let entry = paths.entry(route.template.clone()).or_insert_with(|| json!({}));
        let method = route.method.as_str().to_ascii_lowercase();
        if let Value::Object(methods) = entry {
            methods.insert(method, operation(route, schemas));
        }
    }
    let mut components = schemas.definitions.clone();
    problems(schemas, &mut components);
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Bellpunch",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Checks, takes and records in one motion."
        },
        "paths": paths,
        "components": { "schemas": components },
    });
    serde_json::to_string_pretty(&document).expect("a document is plain data")
}

/// One schema per code, told apart by `code`; a code without one has no fixed data.
fn problems(schemas: &Schemas, components: &mut Map<String, Value>) {
    components.insert("ProblemBase".to_owned(), problem());
    let errors = crate::problem::ERRORS.iter().map(|(code, ..)| *code);
    let codes: std::collections::BTreeSet<&str> =
        errors.chain(schemas.data.keys().copied()).chain(["idempotency_key_reused"]).collect();
    let (mut options, mut mapping) = (Vec::new(), Map::new());
    for code in codes {
        let data = match schemas.data.get(code).map(Vec::as_slice) {
            None => data_of_error(code),
            Some([only]) => only.clone(),
            Some(several) => json!({ "anyOf": several }),
        };
        let name = format!("Problem.{code}");
        let place = format!("#/components/schemas/{name}");
        let own = json!({ "properties": { "code": { "const": code }, "data": data } });
        let base = json!({ "$ref": "#/components/schemas/ProblemBase" });
        components.insert(name, json!({ "allOf": [base, own] }));
        options.push(json!({ "$ref": place }));
        mapping.insert(code.to_owned(), place.into());
    }
    let discriminator = json!({ "propertyName": "code", "mapping": mapping });
    let union = json!({ "oneOf": options, "discriminator": discriminator });
    components.insert("Problem".to_owned(), union);
}

/// The data of what is no rule's "no".
fn data_of_error(code: &str) -> Value {
    let text = json!({ "type": "string" });
    let time = json!({ "type": "string", "format": "date-time" });
    let properties = match code {
        "name_invalid" | "invalid_amount" | "idempotency_key_invalid" => {
            json!({ "field": text, "reason": text })
        }
        "body_too_large" => json!({ "max": { "type": "integer" } }),
        "grant_expired" => json!({ "expires_at": time }),
        "idempotency_key_reused" => json!({ "at": time }),
        "outcome_unknown" => json!({ "idempotency_key": text, "outcome": text }),
        _ => return json!({ "type": "object" }),
    };
    json!({ "type": "object", "properties": properties })
}

fn problem() -> Value {
    json!({
        "type": "object",
        "description": "RFC 9457. Programs branch on `code` alone.",
        "required": ["type", "title", "status", "detail", "code", "data"],
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
            "code": { "type": "string" },
            "partition": { "type": "string" },
            "at": { "type": "string", "format": "date-time" },
            "as_of": { "type": "object", "additionalProperties": { "type": "integer" } },
            "index": { "type": "integer" },
            "dry_run": { "const": true },
            "decided_by": { "enum": ["open", "local", "cache"] },
            "best_effort": { "const": true },
            "durable": { "const": false },
            "retry_after_ms": { "type": ["integer", "null"] },
            "data": { "type": "object" },
            "violated-policies": { "type": "array", "items": { "type": "string" } },
            "request_id": { "type": "string" }
        }
    })
}

/// What a request may ask for behind its path.
fn query_of(route: &Route) -> Vec<(&'static str, Value)> {
    let text = || json!({ "type": "string" });
    let from_to =
        |least: u64, most: u64| json!({ "type": "integer", "minimum": least, "maximum": most });
    match route.action {
        Action::Under(Under::SeriesVerify | Under::ChainVerify, _) => Vec::new(),
        Action::List(_) | Action::Counters(_) | Action::Under(..) | Action::Partitions => {
            let tickets = route.template.ends_with("/tickets");
            let filters = crate::list::TICKET_FILTERS.into_iter().filter(|_| tickets);
            let page = [("limit", from_to(1, 1_000)), ("after", text()), ("prefix", text())];
            let has_prefix = crate::below::has_prefix(route.action);
            let page = page.into_iter().filter(move |(name, _)| has_prefix || *name != "prefix");
            page.chain(filters.map(|name| (name, text()))).collect()
        }
        Action::Command(_) | Action::Commands => vec![("dry_run", json!({ "type": "boolean" }))],
        Action::Publish(_) => vec![("dry_run", json!({ "type": "boolean" })), ("owner", text())],
        Action::Journal => vec![
            ("after", json!({ "type": "integer", "minimum": 0, "default": 0 })),
            ("limit", from_to(1, 1_000)),
            ("wait_ms", from_to(0, 30_000)),
        ],
        Action::Batch
        | Action::Download(_)
        | Action::Outcome(_)
        | Action::JournalLast
        | Action::Live
        | Action::Ready
        | Action::Metrics
        | Action::OpenApi
        | Action::ProblemPage => Vec::new(),
    }
}

fn parameters(route: &Route) -> Vec<Value> {
    let mut parameters: Vec<Value> = route
        .template
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| {
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
        })
        .collect();
    parameters.extend(
        query_of(route)
            .into_iter()
            .map(|(name, schema)| json!({ "name": name, "in": "query", "schema": schema })),
    );
    let mut header = |name: &str, schema: Value| {
        parameters.push(json!({ "name": name, "in": "header", "schema": schema }));
    };
    let changes = match route.action {
        Action::Command(spec) | Action::Publish(spec) | Action::Download(spec) => spec.changes,
        Action::Commands => true,
        Action::List(_)
        | Action::Counters(_)
        | Action::Under(..)
        | Action::Batch
        | Action::Outcome(_)
        | Action::Journal
        | Action::JournalLast
        | Action::Partitions
        | Action::Live
        | Action::Ready
        | Action::Metrics
        | Action::OpenApi
        | Action::ProblemPage => false,
    };
    if changes {
        header("Idempotency-Key", json!({ "type": "string", "minLength": 1, "maxLength": 255 }));
        header(
            "Bellpunch-Timeout-Ms",
            json!({ "type": "integer", "minimum": 1, "maximum": 60000 }),
        );
    }
    if matches!(route.action, Action::Journal) {
        header("Last-Event-ID", json!({ "type": "integer", "minimum": 0 }));
    }
    if let Action::Command(spec) = route.action
        && spec.name == "uploads.delete"
    {
        header("Bellpunch-Secret", json!({ "type": "string" }));
    }
    parameters
}

/// The content of a command without what stands in the path or in a header.
fn body(route: &Route, spec: &bellpunch::CommandSpec, schemas: &Schemas) -> Value {
    let schema = schemas.requests.get(spec.name).cloned().unwrap_or_default();
    let mut schema = schemas.resolve(&schema).clone();
    let in_path = |name: &str| route.template.contains(&format!("{{{name}}}"));
    // The door turns these from the caller's form into the rule's.
    let renamed = crate::secret::plain_field(spec.name);
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.retain(|name, _| !in_path(name));
        if let Some((plain, hashed)) =
            renamed.filter(|(_, hashed)| properties.contains_key(*hashed))
        {
            let description = if of_the_door(spec.name, hashed) {
                "Hashed by the server, never kept.".to_owned()
            } else {
                format!("Instead of `{hashed}`: hashed by the server, never kept.")
            };
            properties
                .insert(plain.to_owned(), json!({ "type": "string", "description": description }));
        }
        properties.retain(|name, _| !of_the_door(spec.name, name));
    }
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| {
            !name.as_str().is_some_and(|name| in_path(name) || of_the_door(spec.name, name))
        });
        if required.is_empty()
            && let Value::Object(schema) = &mut schema
        {
            schema.remove("required");
        }
    }
    schema
}

fn list_body(maximum: usize, keyed: &[&str]) -> Value {
    let mut properties = Map::new();
    properties.insert("command".to_owned(), json!({ "type": "string" }));
    for name in keyed {
        properties.insert((*name).to_owned(), json!({ "type": "string" }));
    }
    json!({
        "type": "object",
        "required": ["commands"],
        "additionalProperties": false,
        "properties": { "commands": {
            "type": "array", "minItems": 1, "maxItems": maximum,
            "items": { "type": "object", "required": ["command"], "properties": properties }
        } }
    })
}

fn envelope(spec: &bellpunch::CommandSpec, schemas: &Schemas) -> Value {
    let reply = schemas.replies.get(spec.name).cloned().unwrap_or_default();
    let versions = json!({ "type": "object", "additionalProperties": { "type": "integer" } });
    json!({ "allOf": [
        {
            "type": "object",
            "required": ["partition", "at"],
            "properties": {
                "partition": { "type": "string" },
                "at": { "type": "string", "format": "date-time" },
                "replayed": { "type": "boolean" },
                "decided_by": { "enum": ["store", "open", "local", "cache"] },
                "versions": versions,
                "as_of": versions,
                "dry_run": { "const": true },
                "best_effort": { "const": true },
                "durable": { "const": false }
            }
        },
        reply
    ] })
}

/// Name, content and reply of a route.
fn described(route: &Route, schemas: &Schemas) -> (String, Option<Value>, Value) {
    match route.action {
        Action::Command(spec) => {
            let request = (route.method != hyper::Method::GET)
                .then(|| json!({ "application/json": { "schema": body(route, spec, schemas) } }));
            (spec.name.to_owned(), request, envelope(spec, schemas))
        }
        Action::Outcome(spec) => (spec.name.to_owned(), None, json!({ "type": "object" })),
        Action::List(spec) => (spec.name.replace(".read", ".list"), None, page(spec, schemas)),
        Action::Counters(spec) => ("counters.list".to_owned(), None, page(spec, schemas)),
        Action::Under(..) => {
            let of = route.template.rsplit('/').next().unwrap_or_default();
            let collection = route.template.split('/').nth(3).unwrap_or_default();
            (format!("{collection}.{of}"), None, crate::below::schema(of, schemas))
        }
        Action::Publish(spec) => {
            let in_json = json!({
                "type": "object", "required": ["payload"], "additionalProperties": false,
                "properties": {
                    "payload": { "type": "string", "contentEncoding": "base64" },
                    "owner": { "type": "string" }
                }
            });
            let bytes = json!({
                "application/octet-stream": { "schema": {} },
                "application/json": { "schema": in_json }
            });
            (spec.name.to_owned(), Some(bytes), envelope(spec, schemas))
        }
        Action::Download(spec) => (spec.name.to_owned(), None, json!({})),
        Action::Commands => {
            let request = json!({ "application/json": { "schema": list_body(64, &[]) } });
            ("commands".to_owned(), Some(request), list_reply(schemas))
        }
        Action::Batch => {
            let schema = list_body(1_000, &["idempotency_key"]);
            let request = json!({ "application/json": { "schema": schema } });
            ("batch".to_owned(), Some(request), batch_reply(schemas))
        }
        Action::Journal
        | Action::JournalLast
        | Action::Partitions
        | Action::Live
        | Action::Ready
        | Action::Metrics
        | Action::OpenApi
        | Action::ProblemPage => {
            let words = route.template.trim_start_matches('/').replace(['/', '{', '}', '.'], "_");
            (words, None, json!({}))
        }
    }
}

fn operation(route: &Route, schemas: &Schemas) -> Value {
    let mut operation = Map::new();
    let (id, request, reply) = described(route, schemas);
    operation.insert("operationId".to_owned(), id.into());
    let parameters = parameters(route);
    if !parameters.is_empty() {
        operation.insert("parameters".to_owned(), parameters.into());
    }
    if let Some(content) = request {
        operation.insert("requestBody".to_owned(), json!({ "content": content }));
    }
    let kind = if matches!(route.action, Action::Download(_)) {
        "application/octet-stream"
    } else if matches!(route.action, Action::Metrics | Action::ProblemPage) {
        "text/plain"
    } else {
        "application/json"
    };
    let made = |spec: &bellpunch::CommandSpec| -> &'static [&'static str] {
        match spec.name.rsplit('.').next() {
            Some("create") => &["201"],
            // Defined first it is made, defined again it is changed. A currency is not changed.
            Some("define") if spec.name == "currencies.define" => &["201"],
            Some("define") => &["200", "201"],
            Some(_) | None => &["200"],
        }
    };
    let statuses = if let Action::Command(spec) = route.action { made(spec) } else { &["200"] };
    let mut responses = Map::new();
    let mut content = Map::new();
    content.insert(kind.to_owned(), json!({ "schema": reply }));
    if matches!(route.action, Action::Journal) {
        let description = "One event for each entry: `id` is its `seq`, `data` the entry.";
        let schema = json!({ "type": "string", "description": description });
        content.insert("text/event-stream".to_owned(), json!({ "schema": schema }));
    }
    for status in statuses {
        let accepted = json!({ "description": "Accepted.", "content": content });
        responses.insert((*status).to_owned(), accepted);
    }
    let schema = json!({ "$ref": "#/components/schemas/Problem" });
    responses.insert(
        "default".to_owned(),
        json!({
            "description": "Refused, or an error.",
            "content": { "application/problem+json": { "schema": schema } }
        }),
    );
    operation.insert("responses".to_owned(), Value::Object(responses));
    Value::Object(operation)
}

/// A page of a collection: each member as a read shows it.
fn page(spec: &bellpunch::CommandSpec, schemas: &Schemas) -> Value {
    let (collection, _) = spec.name.split_once('.').expect("a name is `collection.verb`");
    let reply = schemas.replies.get(spec.name).cloned().unwrap_or_default();
    let reply = schemas.resolve(&reply);
    let member =
        reply.get("properties").and_then(|members| members.get(crate::reply::singular(collection)));
    let member = member.unwrap_or(reply);
    json!({
        "type": "object",
        "required": ["partition", "at", collection],
        "properties": {
            "partition": { "type": "string" },
            "at": { "type": "string", "format": "date-time" },
            collection: { "type": "array", "items": member },
            "next": { "type": ["string", "null"] }
        }
    })
}

/// The replies that a command of a list may have.
fn any_reply(schemas: &Schemas) -> Value {
    let known = |name: &str| !crate::route::OF_THE_DOOR.contains(&name);
    let replies = schemas.replies.iter().filter(|(name, _)| known(name));
    json!({ "anyOf": replies.map(|(_, schema)| schema).collect::<Vec<_>>() })
}

fn versions() -> Value {
    json!({ "type": "object", "additionalProperties": { "type": "integer" } })
}

/// The receipt of a list.
fn list_reply(schemas: &Schemas) -> Value {
    let own = json!({ "type": "object", "properties": { "versions": versions() } });
    json!({
        "type": "object",
        "required": ["partition", "at", "results"],
        "properties": {
            "partition": { "type": "string" },
            "at": { "type": "string", "format": "date-time" },
            "replayed": { "type": "boolean" },
            "decided_by": { "enum": ["store"] },
            "versions": versions(),
            "as_of": versions(),
            "dry_run": { "const": true },
            "best_effort": { "const": true },
            "durable": { "const": false },
            "results": { "type": "array", "items": { "allOf": [own, any_reply(schemas)] } }
        }
    })
}

/// The answers of a batch.
fn batch_reply(schemas: &Schemas) -> Value {
    json!({
        "type": "object",
        "required": ["partition", "results"],
        "properties": {
            "partition": { "type": "string" },
            "results": { "type": "array", "items": {
                "type": "object",
                "required": ["status"],
                "properties": {
                    "status": { "type": "integer" },
                    "reply": any_reply(schemas),
                    "problem": { "$ref": "#/components/schemas/Problem" }
                }
            } }
        }
    })
}
