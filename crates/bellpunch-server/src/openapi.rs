//! OpenAPI 3.1, made from the table of routes and the schemas of the commands.

use serde_json::{Map, Value, json};

use crate::route::{Action, Route, Routes};
use crate::schema::Schemas;

/// Fields that the server fills in.
pub(crate) const OF_THE_SERVER: [&str; 2] = ["made_secret_hash", crate::call::PAYLOAD_MAX];

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
    components.insert("Problem".to_owned(), problem());
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
            "retry_after_ms": { "type": ["integer", "null"] },
            "data": { "type": "object" },
            "violated-policies": { "type": "array", "items": { "type": "string" } },
            "request_id": { "type": "string" }
        }
    })
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
    let mut query = |name: &str, schema: Value| {
        parameters.push(json!({ "name": name, "in": "query", "schema": schema }));
    };
    match route.action {
        Action::List(_) | Action::Counters(_) | Action::Partitions => {
            query("limit", json!({ "type": "integer", "minimum": 1, "maximum": 1000 }));
            query("after", json!({ "type": "string" }));
            query("prefix", json!({ "type": "string" }));
            if route.template.ends_with("/tickets") {
                for name in crate::list::TICKET_FILTERS {
                    query(name, json!({ "type": "string" }));
                }
            }
        }
        Action::Command(_) | Action::Commands => query("dry_run", json!({ "type": "boolean" })),
        Action::Publish(_) => {
            query("dry_run", json!({ "type": "boolean" }));
            query("owner", json!({ "type": "string" }));
        }
        Action::Batch
        | Action::Download(_)
        | Action::Outcome(_)
        | Action::Journal
        | Action::Live
        | Action::Ready
        | Action::Metrics
        | Action::OpenApi
        | Action::ProblemPage => {}
    }
    let mut header = |name: &str, schema: Value| {
        parameters.push(json!({ "name": name, "in": "header", "schema": schema }));
    };
    let changes = match route.action {
        Action::Command(spec) | Action::Publish(spec) | Action::Download(spec) => spec.changes,
        Action::Commands => true,
        Action::List(_)
        | Action::Counters(_)
        | Action::Batch
        | Action::Outcome(_)
        | Action::Journal
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
    let renamed = match spec.name {
        "uploads.create" => Some(("delete_hash", "delete_secret")),
        name if name.starts_with("tickets.") => Some(("secret_hash", "secret")),
        _ => None,
    };
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.retain(|name, _| !in_path(name) && !OF_THE_SERVER.contains(&name.as_str()));
        if let Some((hashed, plain)) =
            renamed.filter(|(hashed, _)| properties.contains_key(*hashed))
        {
            let description = format!("Instead of `{hashed}`: hashed by the server, never kept.");
            properties
                .insert(plain.to_owned(), json!({ "type": "string", "description": description }));
        }
    }
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| !name.as_str().is_some_and(in_path));
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
                "best_effort": { "const": true }
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
        Action::List(spec) => (spec.name.replace(".read", ".list"), None, page()),
        Action::Counters(_) => ("counters.list".to_owned(), None, page()),
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
            ("commands".to_owned(), Some(request), json!({ "type": "object" }))
        }
        Action::Batch => {
            let schema = list_body(1_000, &["idempotency_key"]);
            let request = json!({ "application/json": { "schema": schema } });
            ("batch".to_owned(), Some(request), json!({ "type": "object" }))
        }
        Action::Journal
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
    let status = if route.method == hyper::Method::POST
        && matches!(route.action, Action::Command(spec) if spec.name.ends_with(".create"))
    {
        "201"
    } else {
        "200"
    };
    let mut responses = Map::new();
    let content = json!({ kind: { "schema": reply } });
    responses.insert(status.to_owned(), json!({ "description": "Accepted.", "content": content }));
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

fn page() -> Value {
    json!({ "type": "object", "properties": { "next": { "type": ["string", "null"] } } })
}
