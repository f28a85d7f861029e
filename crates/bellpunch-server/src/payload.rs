//! Payloads: bytes in, and counted bytes out.
//!
//! Invariant: a payload is never whole in memory, at most 1 MiB of each stream is. In: the blob is
//! durable, then the publish commits, then the reply. Out: the download is counted, then the blob
//! is read, and its size and SHA-256 are those that were published. A crash leaves an orphan, never
//! a reference without bytes.
//!
//! The publish is dry-run before the body is read, so that a caller without the right sends
//! nothing; no answer relies on that.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bellpunch::store::{BlobReader, Failure};
use bellpunch::{BlobName, uploads};
use bellpunch::{CallOptions, CommandSpec, Key, Partition, Reply, Timestamp};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{ACCEPT_RANGES, CONTENT_RANGE, HeaderMap, HeaderName, RANGE};
use hyper::{StatusCode, http};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::app::{Answer, AnswerBody, App, Ask};
use crate::blob::{self, Incoming as Piece, Written};
use crate::call::{self, Prepared, partition, prepare, prepare_own};
use crate::config::LogLevel;
use crate::problem::Problem;
use crate::reserved;
use crate::{headers, reply, secret};

/// The largest body that carries a payload as base64.
const BASE64_BODY_MAX: usize = 8 << 20;
/// How long a stream may be without a byte.
const BYTE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// Where a payload comes from.
enum Source {
    Stream(Incoming),
    Whole(Bytes),
}

/// What a publish is about, before its bytes are known.
struct Publish<'a> {
    app: &'a App,
    spec: &'static CommandSpec,
    partition: &'a Partition,
    id: Key,
    owner: Option<String>,
    started_at: Timestamp,
    blob: BlobName,
}

impl Publish<'_> {
    fn prepare(&self, size: u64, sha256: &str) -> Result<Prepared, Problem> {
        let mut content = Map::new();
        content.insert("id".to_owned(), json!(self.id));
        content.insert("blob".to_owned(), json!(self.blob));
        content.insert("size".to_owned(), size.into());
        content.insert("sha256".to_owned(), sha256.into());
        content.insert("started_at".to_owned(), json!(self.started_at));
        let window = self.app.config.uploads.publish_window.get().as_millis();
        let window = u64::try_from(window).unwrap_or(u64::MAX);
        content.insert("publish_window_ms".to_owned(), window.into());
        if let Some(owner) = &self.owner {
            content.insert("owner".to_owned(), owner.as_str().into());
        }
        prepare_own(self.app, self.spec, content)
    }

    /// Asks the rule without bytes: an answer, or its "no".
    async fn dry_run(&self, size: u64) -> Result<(Answer, u64), Problem> {
        let prepared = self.prepare(size, &"00".repeat(32))?;
        let timeout = Some(self.app.config.http.timeout.get());
        let options = CallOptions { key: None, dry_run: true, timeout };
        let command = Arc::clone(&prepared.command);
        let receipt = self.app.send(self.partition, vec![command], options).await?;
        let reply = receipt.replies.first().map(Reply::to_json).unwrap_or_default();
        let limit = reply.pointer("/upload/size_limit").and_then(Value::as_u64);
        let answer = reply::of_one(self.app, self.partition, prepared, &receipt);
        Ok((answer, limit.unwrap_or_default()))
    }
}

fn key_of(captures: &mut crate::route::Captures) -> Result<Key, Problem> {
    let id = captures.remove("id").unwrap_or_default();
    reserved::check("id", &id)?;
    Key::new(id).map_err(|error| {
        Problem::new(error.code()).with("field", "id").with("reason", error.reason())
    })
}

/// Payload in.
pub(crate) async fn publish(
    app: &App,
    spec: &'static CommandSpec,
    mut ask: Ask<'_>,
) -> Result<Answer, Problem> {
    let options = app.options(&ask.head, &["dry_run", "owner"])?;
    app.key_required(call::Changes::of(spec), &options)?;
    let mut query = headers::query(&ask.head, &["dry_run", "owner"])?;
    let expected = expected_digest(&ask.head.headers)?;
    let partition = partition(&ask);
    let id = key_of(&mut ask.captures)?;
    let mut owner = query.remove("owner");
    let source = if headers::is_json(&ask.head.headers) {
        let (bytes, named) = decoded(app, ask.body).await?;
        owner = owner.or(named);
        Source::Whole(bytes)
    } else {
        Source::Stream(ask.body)
    };
    reserved::check("owner", owner.as_deref().unwrap_or_default())?;
    let declared = match &source {
        Source::Whole(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        Source::Stream(body) => body.size_hint().lower(),
    };
    if app.config.uploads.payload_max.get() < declared {
        let max = app.config.uploads.payload_max.get();
        return Err(Problem::new("body_too_large").with("max", max).closing());
    }
    let started_at = app.engine.now();
    let blob = BlobName::of(partition, &id, blob::random());
    let publish = Publish { app, spec, partition, id, owner, started_at, blob };
    let mut size_max = app.config.uploads.payload_max.get();
    // A replay is told again whatever has become of the upload: only the bytes can tell it.
    if options.dry_run || !is_known(app, partition, options.key.as_ref()).await? {
        let asked = publish.dry_run(declared).await.map_err(Problem::closing);
        if options.dry_run {
            return asked.map(|(answer, _)| answer);
        }
        let (_, limit) = asked.map_err(Problem::meant)?;
        size_max = size_max.min(limit);
    }
    let written = store(&publish, source, size_max).await?;
    if expected.is_some_and(|expected| expected != written.sha256) {
        remove(app, publish.blob.clone()).await;
        let found = secret::hex(&written.sha256);
        return Err(Problem::new("digest_mismatch").with("sha256", found));
    }
    commit(&publish, &written, options).await
}

/// Whether the outcome of this key is recorded.
async fn is_known(
    app: &App,
    partition: &Partition,
    key: Option<&bellpunch::IdempotencyKey>,
) -> Result<bool, Problem> {
    let Some(key) = key else { return Ok(false) };
    let command = Arc::new(bellpunch::ReadOutcome { id: key.clone() });
    let timeout = Some(app.config.http.timeout.get());
    let options = CallOptions { key: None, dry_run: false, timeout };
    let receipt = app.send(partition, vec![command], options).await?;
    let status = receipt.replies.first().map(Reply::to_json).unwrap_or_default();
    Ok(status.get("status").and_then(Value::as_str) == Some("applied"))
}

/// A payload in JSON: `payload` in base64, and perhaps `owner`.
async fn decoded(app: &App, body: Incoming) -> Result<(Bytes, Option<String>), Problem> {
    let bytes = call::read_body(app, body, BASE64_BODY_MAX).await?;
    let mut object = crate::json::read_object(&bytes)?;
    let Some(Value::String(text)) = object.remove("payload") else {
        return Err(Problem::field("payload", "must be a string in base64"));
    };
    let owner = match object.remove("owner") {
        None => None,
        Some(Value::String(owner)) => Some(owner),
        Some(_) => return Err(Problem::field("owner", "must be a name")),
    };
    if let Some((name, _)) = object.iter().next() {
        return Err(Problem::field(name, "unknown field, expected `payload` or `owner`"));
    }
    match STANDARD.decode(text) {
        Ok(bytes) => Ok((bytes.into(), owner)),
        Err(_) => Err(Problem::field("payload", "must be base64 (RFC 4648, section 4)")),
    }
}

/// The SHA-256 of `Content-Digest` or `Repr-Digest` (RFC 9530). Other algorithms are not looked at.
pub(crate) fn expected_digest(headers: &HeaderMap) -> Result<Option<[u8; 32]>, Problem> {
    let mut found = None;
    for name in [CONTENT_DIGEST, REPR_DIGEST] {
        for line in headers.get_all(&name) {
            let wrong = || Problem::field(name.as_str(), "must be `sha-256=:base64:`");
            for member in line.to_str().map_err(|_| wrong())?.split(',') {
                let Some((algorithm, value)) = member.trim().split_once('=') else {
                    return Err(wrong());
                };
                if algorithm != "sha-256" {
                    continue;
                }
                let inner = value.strip_prefix(':').and_then(|value| value.strip_suffix(':'));
                let bytes = STANDARD.decode(inner.ok_or_else(wrong)?).map_err(|_| wrong())?;
                let digest: [u8; 32] = bytes.try_into().map_err(|_| wrong())?;
                if found.is_some_and(|earlier| earlier != digest) {
                    return Err(Problem::field(name.as_str(), "differs from the other digest"));
                }
                found = Some(digest);
            }
        }
    }
    Ok(found)
}

/// Writes the bytes as they come; the blob is durable afterwards.
async fn store(publish: &Publish<'_>, source: Source, size_max: u64) -> Result<Written, Problem> {
    let app = publish.app;
    let Ok(slot) = Arc::clone(&app.streams).try_acquire_owned() else {
        let retry = http::header::RETRY_AFTER;
        return Err(Problem::new("overloaded").header(retry, "1").closing());
    };
    let (pieces, writing) = blob::write(Arc::clone(&app.blobs), publish.blob.clone(), slot);
    let sent = match source {
        Source::Whole(bytes) => send_pieces(&pieces, bytes).await,
        Source::Stream(body) => send_body(publish, body, size_max, &pieces).await?,
    };
    if sent {
        // If the writer is gone, it says why below.
        let _ = pieces.send(Piece::End).await;
    }
    drop(pieces);
    match writing.await {
        Ok(Ok(written)) => Ok(written),
        Ok(Err(failure)) => Err(of_blobs(app, &failure)),
        Err(_) => Err(Problem::new("internal")),
    }
}

fn of_blobs(app: &App, failure: &Failure) -> Problem {
    let fields = [("error", failure.to_string())];
    app.log.event(LogLevel::Error, "the blob store failed", &fields);
    let problem =
        Problem::new("store_unavailable").detail(format!("The payload store: {failure}."));
    problem.header(http::header::RETRY_AFTER, "5").closing()
}

/// Whether the writer took all of it.
async fn send_pieces(pieces: &tokio::sync::mpsc::Sender<Piece>, mut bytes: Bytes) -> bool {
    while !bytes.is_empty() {
        let piece = bytes.split_to(bytes.len().min(blob::PIECE_BYTES));
        if pieces.send(Piece::Bytes(piece)).await.is_err() {
            return false;
        }
    }
    true
}

async fn send_body(
    publish: &Publish<'_>,
    mut body: Incoming,
    size_max: u64,
    pieces: &tokio::sync::mpsc::Sender<Piece>,
) -> Result<bool, Problem> {
    let mut size = 0_u64;
    loop {
        let frame = match tokio::time::timeout(BYTE_TIMEOUT, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => return Ok(true),
            Ok(Some(Err(_))) => return Err(Problem::field("", "the body broke off").closing()),
            Err(_) => return Err(Problem::new("request_timeout").closing()),
        };
        let Ok(data) = frame.into_data() else { continue };
        size = size.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        if size_max < size {
            // The rule says the same of this size, and on what.
            let refused = publish.dry_run(size).await.err().map(Problem::meant);
            return Err(refused.unwrap_or_else(|| Problem::new("body_too_large")).closing());
        }
        if !send_pieces(pieces, data).await {
            return Ok(false);
        }
    }
}

/// Publishes what is durable; what was refused, or told again, leaves no blob behind.
async fn commit(
    publish: &Publish<'_>,
    written: &Written,
    options: CallOptions,
) -> Result<Answer, Problem> {
    let app = publish.app;
    let prepared = publish.prepare(written.size, &secret::hex(&written.sha256))?;
    let command = Arc::clone(&prepared.command);
    match app.send(publish.partition, vec![command], options).await {
        Ok(receipt) => {
            if receipt.replayed {
                app.metrics.replay(publish.spec.name);
                remove(app, publish.blob.clone()).await;
            }
            Ok(reply::of_one(app, publish.partition, prepared, &receipt))
        }
        Err(problem) => {
            // Unknown: it may be referred to. The sweep finds out.
            if problem.code != "outcome_unknown" {
                remove(app, publish.blob.clone()).await;
            }
            Err(problem)
        }
    }
}

/// Removes a blob that nothing refers to; if that fails, the sweep does it.
async fn remove(app: &App, name: BlobName) {
    let blobs = Arc::clone(&app.blobs);
    let _ = tokio::task::spawn_blocking(move || blobs.remove(&name)).await;
}

/// Payload out: counted, then read.
pub(crate) async fn download(
    app: &App,
    spec: &'static CommandSpec,
    mut ask: Ask<'_>,
) -> Result<Answer, Problem> {
    let options = app.options(&ask.head, &[])?;
    app.key_required(call::Changes::of(spec), &options)?;
    let partition = partition(&ask);
    let id = key_of(&mut ask.captures)?;
    let Ok(slot) = Arc::clone(&app.streams).try_acquire_owned() else {
        return Err(Problem::new("overloaded").header(http::header::RETRY_AFTER, "1"));
    };
    let mut content = Map::new();
    content.insert("id".to_owned(), json!(id));
    let prepared = prepare(app, spec, content)?;
    let receipt = app.send(partition, vec![prepared.command], options).await?;
    let reply = receipt.replies.first().map(Reply::to_json).unwrap_or_default();
    let told: uploads::UploadReply =
        serde_json::from_value(reply).map_err(|_| Problem::new("internal"))?;
    let grant = told.grant.ok_or_else(|| Problem::new("internal"))?;
    if receipt.replayed {
        app.metrics.replay(spec.name);
        if grant.expires_at <= app.engine.now() {
            return Err(Problem::new("grant_expired").with("expires_at", json!(grant.expires_at)));
        }
    }
    let upload = told.upload;
    let (Some(name), Some(size), Some(sha256)) = (upload.payload, upload.size, upload.sha256)
    else {
        return Err(Problem::new("internal"));
    };
    let reader = checked(app, name, (size.get(), *sha256.bytes())).await?;
    let (status, begin, end) = match range(&ask.head.headers, size.get()) {
        Ranged::All => (StatusCode::OK, 0, size.get()),
        Ranged::Part(begin, end) => (StatusCode::PARTIAL_CONTENT, begin, end),
        Ranged::Beyond => {
            let all = format!("bytes */{size}");
            return Err(Problem::new("range_not_satisfiable").header(CONTENT_RANGE, &all));
        }
    };
    let stream = blob::read(reader, (begin, end), slot);
    let kind = "application/octet-stream";
    let body = AnswerBody::Stream(kind, stream);
    let mut answer = Answer { status, headers: Vec::new(), body };
    answer.header(ACCEPT_RANGES, "bytes");
    if status == StatusCode::PARTIAL_CONTENT {
        let last = end.saturating_sub(1);
        answer.header(CONTENT_RANGE, &format!("bytes {begin}-{last}/{size}"));
    }
    let digest = STANDARD.encode(sha256.bytes());
    answer.header(REPR_DIGEST, &format!("sha-256=:{digest}:"));
    answer.header(HeaderName::from_static("bellpunch-grant"), grant.id.as_str());
    answer
        .header(HeaderName::from_static("bellpunch-grant-expires"), &grant.expires_at.to_string());
    if receipt.replayed {
        answer.header(HeaderName::from_static("idempotent-replayed"), "true");
    }
    Ok(answer)
}

/// Opens a blob whose size and SHA-256 are those that were published. All of it is read once
/// before the first byte goes out: altered bytes are an error with a status, not a broken stream.
async fn checked(
    app: &App,
    name: BlobName,
    (size, sha256): (u64, [u8; 32]),
) -> Result<Arc<dyn BlobReader>, Problem> {
    let blobs = Arc::clone(&app.blobs);
    let shown = name.to_string();
    let look = move || -> Result<Option<Arc<dyn BlobReader>>, Failure> {
        let Some(reader) = blobs.open(&name)? else { return Ok(None) };
        let reader: Arc<dyn BlobReader> = Arc::from(reader);
        if reader.size() != size {
            return Ok(None);
        }
        let mut hash = Sha256::new();
        let mut buffer = vec![0; blob::PIECE_BYTES];
        let mut offset = 0_u64;
        loop {
            let count = reader.read_at(offset, &mut buffer)?;
            if count == 0 {
                break;
            }
            hash.update(buffer.get(..count).unwrap_or_default());
            offset = offset.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        }
        let found: [u8; 32] = hash.finalize().into();
        Ok((found == sha256).then_some(reader))
    };
    match tokio::task::spawn_blocking(look).await {
        Ok(Ok(Some(reader))) => Ok(reader),
        Ok(Ok(None)) => {
            app.metrics.payload_unavailable.fetch_add(1, Ordering::Relaxed);
            let fields = [("blob", shown)];
            app.log.event(LogLevel::Error, "a payload is missing or altered", &fields);
            Err(Problem::new("payload_unavailable"))
        }
        Ok(Err(failure)) => Err(of_blobs(app, &failure)),
        Err(_) => Err(Problem::new("internal")),
    }
}

/// What of a payload is wanted.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Ranged {
    All,
    /// From the first to before the second.
    Part(u64, u64),
    Beyond,
}

/// One range of bytes (RFC 9110, 14.2). Several, or other units, mean all, as the RFC allows.
pub(crate) fn range(headers: &HeaderMap, size: u64) -> Ranged {
    let mut lines = headers.get_all(RANGE).iter();
    let line = lines.next().and_then(|line| line.to_str().ok());
    let (Some(line), None) = (line, lines.next()) else { return Ranged::All };
    let digits = |text: &str| {
        let all = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|_| all)
    };
    let Some((first, last)) = line.strip_prefix("bytes=").and_then(|spec| spec.split_once('-'))
    else {
        return Ranged::All;
    };
    match (digits(first), digits(last)) {
        (Some(first), _) if size <= first => Ranged::Beyond,
        (Some(first), None) if last.is_empty() => Ranged::Part(first, size),
        (Some(first), Some(last)) if first <= last => {
            Ranged::Part(first, last.saturating_add(1).min(size))
        }
        (None, Some(0)) if first.is_empty() => Ranged::Beyond,
        // Of nothing there is no part that `Content-Range` could name.
        (None, Some(_)) if first.is_empty() && size == 0 => Ranged::All,
        (None, Some(count)) if first.is_empty() => Ranged::Part(size.saturating_sub(count), size),
        (Some(_) | None, _) => Ranged::All,
    }
}

#[cfg(test)]
mod tests;
