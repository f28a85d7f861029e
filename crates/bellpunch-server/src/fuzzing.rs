//! Readers of the bytes of requests, for fuzzing.
//!
//! Invariant: each takes any bytes, says whether they were read, and panics only if a reader or a
//! writer is wrong. What has a written form is written and read again, and must be the same.

use std::sync::{Arc, OnceLock};

use bellpunch::store::{MemoryBlobs, MemoryConfig, MemoryStore};
use bellpunch::{Engine, EngineConfig, SystemClock};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request};
use serde_json::{Map, Value};

use crate::app::App;
use crate::call::{BATCH_MAX, listed};
use crate::config::{Config, Pause, Size, Span};
use crate::problem::Problem;
use crate::{call, headers, json, list, payload, secret};

/// The doors over an empty store: what requests are read with.
fn app() -> &'static App {
    static APP: OnceLock<(App, tokio::runtime::Runtime)> = OnceLock::new();
    let (app, _) = APP.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().expect("a runtime of one thread");
        // The engine is begun within one; nothing is sent to it.
        let entered = runtime.enter();
        let clock = Arc::new(SystemClock::new());
        let store = Arc::new(MemoryStore::new(clock.clone(), MemoryConfig::default()));
        let engine = Engine::start(store, clock.clone(), EngineConfig::default());
        let commands: Vec<_> = bellpunch::commands().collect();
        let blobs = Arc::new(MemoryBlobs::new(clock, 0));
        let app = App::new(engine, blobs, Config::default(), &commands);
        drop(entered);
        (app, runtime)
    });
    app
}

/// Whether it was read; what was refused is told as it would be.
fn told<T>(result: Result<T, Problem>) -> bool {
    match result {
        Ok(_) => true,
        Err(problem) => {
            let body = problem.body(None, None);
            assert!((400..500).contains(&problem.status), "not the caller's mistake: {body}");
            assert!(!problem.code.is_empty(), "{body}");
            false
        }
    }
}

/// Reads bytes as a body: alone, as the content of every command, and as a list of commands.
#[must_use]
pub fn bodies(bytes: &[u8]) -> bool {
    let content = match json::read_object(bytes) {
        Ok(content) => content,
        Err(error) => return told::<()>(Err(error.into())),
    };
    let written = serde_json::to_vec(&content).expect("JSON is written");
    assert_eq!(
        json::read_object(&written).as_ref(),
        Ok(&content),
        "a body is not what was written"
    );
    let mut shown = Value::Object(content.clone());
    json::outward(&mut shown);
    let app = app();
    let mut read = false;
    for spec in &app.commands {
        read |= told(call::prepare(app, spec, content.clone()));
    }
    if content.contains_key("commands") {
        match listed(app, content, BATCH_MAX) {
            Ok(items) => {
                for item in items {
                    read |= told(item.map(|listed| (listed.prepared, listed.key)));
                }
            }
            Err(problem) => read |= told::<()>(Err(problem)),
        }
    }
    read
}

/// Reads bytes as lines `name: value` of a request's head.
#[must_use]
pub fn fields(bytes: &[u8]) -> bool {
    let mut map = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let place = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at_checked(place).unwrap_or((line, &[]));
        let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii();
        let name = HeaderName::from_bytes(name);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            // A map has room for 24,576 names, a request has 64.
            if map.try_append(name, value).is_err() {
                return false;
            }
        }
    }
    let key = headers::idempotency_key(&map);
    if let Ok(Some(key)) = &key {
        let quoted = key.as_str().replace('\\', "\\\\").replace('"', "\\\"");
        let value = HeaderValue::from_str(&format!("\"{quoted}\"")).expect("a key is ASCII");
        let mut written = HeaderMap::new();
        written.insert("idempotency-key", value);
        let again = headers::idempotency_key(&written).ok().flatten();
        assert_eq!(again.as_ref(), Some(key), "a key is not what was written");
    }
    let _ = headers::is_json(&map);
    for size in [0, 1, 1_000, u64::MAX] {
        let payload::Ranged::Part(first, end) = payload::range(&map, size) else { continue };
        assert!(first < end && end <= size, "a range of {first} to {end} in {size} bytes");
    }
    let read = [
        told(key),
        told(headers::timeout(&map)),
        told(headers::if_version(&map)),
        told(payload::expected_digest(&map)),
        told(secret::from_header(&map, &mut Map::new())),
    ];
    !read.contains(&false)
}

/// Reads bytes as the method and target of a request, with its host if there is a second line.
#[must_use]
pub fn targets(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let line = lines.next().unwrap_or_default();
    let place = line.iter().position(|byte| *byte == b' ').unwrap_or_default();
    let (method, target) = line.split_at_checked(place).unwrap_or((line, &[]));
    let Ok(method) = Method::from_bytes(method) else { return false };
    let mut request = Request::builder().method(method).uri(target.trim_ascii_start());
    if let Some(Ok(host)) = lines.next().map(HeaderValue::from_bytes) {
        request = request.header("host", host);
    }
    let Ok(request) = request.body(()) else { return false };
    let (head, ()) = request.into_parts();
    let _ = app().host_allowed(&head);
    let found = app().routes.find(&head.method, head.uri.path());
    let known = ["limit", "after", "prefix", "dry_run", "owner"];
    let query = headers::query(&head, &known);
    if let Ok(query) = &query {
        let _ = told(headers::dry_run(query));
        if let Some(cursor) = query.get("after")
            && let Ok(id) = list::opened(cursor)
        {
            let again = list::opened(&list::sealed(&id)).ok();
            assert_eq!(again.as_ref(), Some(&id), "a cursor of another id");
        }
    }
    let read = [told(found), told(query)];
    !read.contains(&false)
}

/// Reads text as the spans and sizes of settings.
#[must_use]
pub fn settings(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let span = text.parse::<Span>().map(|span| {
        // Milliseconds and above are kept exactly.
        assert_eq!(span.to_string().parse().as_ref(), Ok(&span), "{text} is another span");
    });
    let size = text.parse::<Size>().map(|size| {
        assert_eq!(size.to_string().parse().as_ref(), Ok(&size), "{text} is another size");
    });
    let pause = text.parse::<Pause>().map(|pause| {
        assert_eq!(pause.to_string().parse().as_ref(), Ok(&pause), "{text} is another pause");
    });
    [span, size, pause].contains(&Ok(()))
}
