//! The journal of a partition: its entries in order, and waiting for the next one.
//!
//! Invariant: what is shown is durable, in order and without gap, so a follower that keeps the last
//! place it was told misses nothing and is told nothing twice. An entry is shown as it is stored,
//! so that whoever has it can compute its hash.
//!
//! A follower is a page that waits, again and again, or server-sent events: the same entries on one
//! connection. Those have no memory of their own; a follower that is slow is waited for, and one that
//! takes nothing is let go, to come back with the last place it was told.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bellpunch::store::Scan;
use bellpunch::{Entry, Kind, Partition, Record as _, RecordKey, Tail, tail_id};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use hyper::body::{Body, Frame};
use hyper::header::RETRY_AFTER;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant, sleep, timeout};

use crate::app::{Answer, AnswerBody, App, Ask};
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
/// Followers by server-sent events at once; one more is told to come again.
pub(crate) const FOLLOWERS_MAX: usize = 256;
/// Entries that are read for a follower at once.
const FOLLOWED_AT_ONCE: usize = 100;
/// How long a follower hears nothing at most: a comment keeps what is between from closing.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

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
pub(crate) fn content<R: serde::de::DeserializeOwned>(
    key: &RecordKey,
    bytes: Option<&[u8]>,
) -> Result<Option<R>, Problem> {
    let Some(bytes) = bytes else { return Ok(None) };
    let mut envelope: Value = serde_json::from_slice(bytes).map_err(|_| undecodable(key))?;
    let record = envelope.get_mut("record").map(Value::take).unwrap_or_default();
    serde_json::from_value(record).map(Some).map_err(|_| undecodable(key))
}

pub(crate) async fn tail(app: &App, of: &Partition) -> Result<Tail, Problem> {
    let key = Tail::key(&tail_id());
    let found = app.engine.store().read(of, std::slice::from_ref(&key)).await;
    let found = found.map_err(|failure| Problem::of_store(&failure))?;
    let bytes = found.first().and_then(|found| found.value.as_deref());
    content(&key, bytes)?.ok_or_else(|| Problem::new("not_journaled"))
}

/// The entries after a place, without gap: a page is not one instant, so it may have an entry and
/// not yet the one before.
pub(crate) async fn entries(
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
            Some(_) | None => break,
        }
    }
    let places = after.saturating_add(1)..=u64::MAX;
    let whole = found.iter().zip(places).take_while(|(entry, place)| entry.seq == *place).count();
    found.truncate(whole);
    Ok(found)
}

/// Entries after a place; waits for the first if it is asked to.
pub(crate) async fn page(app: &Arc<App>, ask: Ask<'_>) -> Result<Answer, Problem> {
    if headers::wants_events(&ask.head.headers) {
        return follow(app, &ask).await;
    }
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

/// The entries after a place as server-sent events, until the follower goes or the server drains.
async fn follow(app: &Arc<App>, ask: &Ask<'_>) -> Result<Answer, Problem> {
    let mut query = headers::query(&ask.head, &["after"])?;
    // A browser that comes back asks for what it asked for first, and says beside it how far it got.
    let (said, field) = match headers::last_event_id(&ask.head.headers)? {
        Some(last) => (Some(last), "Last-Event-ID"),
        None => (query.remove("after"), "after"),
    };
    let after = number(said, field, (0, u64::MAX))?;
    let of = partition(ask).clone();
    tail(app, &of).await?;
    let Ok(slot) = Arc::clone(&app.followers).try_acquire_owned() else {
        return Err(Problem::new("overloaded").header(RETRY_AFTER, "1"));
    };
    let (sender, pieces) = mpsc::channel(1);
    let mut follower = Follower { app: Arc::clone(app), of, after, sender };
    tokio::spawn(async move {
        let counted = &follower.app.metrics.journal_followers;
        counted.fetch_add(1, Ordering::Relaxed);
        // Why it ended is told by the connection's end: what is owed is asked for again.
        let _ = follower.run().await;
        follower.app.metrics.journal_followers.fetch_sub(1, Ordering::Relaxed);
        drop(slot);
    });
    let body = AnswerBody::Stream("text/event-stream", Events(pieces).boxed());
    Ok(Answer { status: StatusCode::OK, headers: Vec::new(), body })
}

/// Who is told of entries as they come.
struct Follower {
    app: Arc<App>,
    of: Partition,
    /// The last place that it was told.
    after: u64,
    sender: mpsc::Sender<Bytes>,
}

/// Why a follower is told no more.
enum Ended {
    Gone,
    Failed,
    Draining,
}

impl Follower {
    async fn run(&mut self) -> Result<(), Ended> {
        // The head goes out with the first bytes, and an idle journal may have none for long.
        self.tell(Bytes::from_static(b": follows\n\n")).await?;
        let mut told = Instant::now();
        loop {
            let place = (self.after, FOLLOWED_AT_ONCE);
            let found = entries(&self.app, &self.of, place).await.map_err(|_| Ended::Failed)?;
            let none = found.is_empty();
            for entry in found {
                self.tell(event(&entry)).await?;
                self.after = entry.seq;
                told = Instant::now();
            }
            if self.app.is_draining() {
                return Err(Ended::Draining);
            }
            if KEEP_ALIVE <= told.elapsed() {
                self.tell(Bytes::from_static(b":\n\n")).await?;
                told = Instant::now();
            }
            if none {
                tokio::select! {
                    () = self.sender.closed() => return Err(Ended::Gone),
                    () = sleep(LOOK_AGAIN) => {}
                }
            }
        }
    }

    /// Waits for room, as long as a connection may make no progress with a write.
    async fn tell(&self, bytes: Bytes) -> Result<(), Ended> {
        let patience = self.app.config.http.body_timeout.get();
        match timeout(patience, self.sender.send(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Ended::Gone),
        }
    }
}

/// An entry as an event. JSON has no line breaks, so it is one line of data.
fn event(entry: &Entry) -> Bytes {
    let data = serde_json::to_string(entry).expect("an entry is plain data");
    format!("id: {}\ndata: {data}\n\n", entry.seq).into()
}

/// A body that goes on for as long as somebody tells.
struct Events(mpsc::Receiver<Bytes>);

impl Body for Events {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}
