//! From a request to an answer. A door decides nothing: it reads a command, sends it, and tells
//! what came of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bellpunch::store::BlobStore;
use bellpunch::{CommandSpec, Engine, Partition};
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER,
};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode, Version};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};

use crate::config::Config;
use crate::log::{Line, Log};
use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::reserved::Names;
use crate::route::{Action, Captures, Route, Routes};
use crate::schema::Schemas;
use crate::{below, call, journal, list, payload};

/// The longest request target.
const TARGET_BYTES_MAX: usize = 8 << 10;
/// The largest header section, and how many fields it may have.
const HEADER_BYTES_MAX: usize = 16 << 10;
const HEADER_FIELDS_MAX: usize = 64;

/// Payloads under way at once, each with a thread.
const STREAMS_MAX: usize = 256;

/// A body on its way out.
pub(crate) type Outgoing = BoxBody<Bytes, std::io::Error>;

/// What the doors work with.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) engine: Engine,
    pub(crate) blobs: Arc<dyn BlobStore>,
    /// Payloads under way, in and out.
    pub(crate) streams: Arc<Semaphore>,
    /// Followers of journals by server-sent events.
    pub(crate) followers: Arc<Semaphore>,
    pub(crate) config: Config,
    pub(crate) routes: Routes,
    pub(crate) names: Names,
    pub(crate) commands: Vec<&'static CommandSpec>,
    pub(crate) openapi: String,
    pub(crate) metrics: Metrics,
    pub(crate) log: Log,
    pub(crate) draining: AtomicBool,
    /// Requests that were accepted and not answered yet.
    pub(crate) accepted: watch::Sender<usize>,
    /// Messages of webhooks that are being sent.
    pub(crate) sending: watch::Sender<usize>,
    /// Whether the listener is on loopback, so that `Host` must be too.
    pub(crate) loopback: bool,
}

/// An answer that is 2xx.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: AnswerBody,
}

/// What an answer carries.
#[derive(Debug)]
pub(crate) enum AnswerBody {
    Json(Value),
    Text(&'static str, String),
    Stream(&'static str, Outgoing),
}

impl Answer {
    pub(crate) const fn json(body: Value) -> Self {
        Self { status: StatusCode::OK, headers: Vec::new(), body: AnswerBody::Json(body) }
    }

    pub(crate) const fn text(kind: &'static str, body: String) -> Self {
        Self { status: StatusCode::OK, headers: Vec::new(), body: AnswerBody::Text(kind, body) }
    }

    pub(crate) fn header(&mut self, name: HeaderName, value: &str) {
        self.headers.extend(crate::problem::header(name, value));
    }
}

/// A request with its head taken apart.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) head: Parts,
    pub(crate) body: Incoming,
    pub(crate) captures: Captures,
    pub(crate) partition: Option<&'a Partition>,
}

impl App {
    pub(crate) fn new(
        engine: Engine,
        blobs: Arc<dyn BlobStore>,
        config: Config,
        table: &[&'static CommandSpec],
    ) -> Self {
        let commands = table.to_vec();
        let schemas = Schemas::new(&commands);
        let routes = Routes::new(&commands, &schemas);
        let names = Names::new(&commands, &schemas);
        let openapi = crate::openapi::document(&routes, &schemas);
        let log = Log::new(&config.log);
        let loopback = true;
        let draining = AtomicBool::new(false);
        let (accepted, sending) = (watch::Sender::new(0), watch::Sender::new(0));
        let metrics = Metrics::default();
        let streams = Arc::new(Semaphore::new(STREAMS_MAX));
        let followers = Arc::new(Semaphore::new(journal::FOLLOWERS_MAX));
        Self {
            engine,
            blobs,
            streams,
            followers,
            config,
            routes,
            names,
            commands,
            openapi,
            metrics,
            log,
            draining,
            accepted,
            sending,
            loopback,
        }
    }

    /// The command of this name.
    pub(crate) fn command(&self, name: &str) -> Option<&'static CommandSpec> {
        self.commands.iter().find(|spec| spec.name == name).copied()
    }

    /// The field that names the subject of a read in its path.
    pub(crate) fn subject_of(&self, spec: &CommandSpec) -> &'static str {
        let one = |route: &&Route| {
            matches!(route.action, Action::Command(of) if of.name == spec.name)
                && route.template.ends_with("{name}")
        };
        if self.routes.iter().any(|route| one(&route)) { "name" } else { "id" }
    }

    /// Answers one request, whatever it is.
    pub(crate) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Outgoing> {
        let begun = tokio::time::Instant::now();
        let request_id = self.engine.fresh_id();
        let (head, body) = request.into_parts();
        let version = head.version;
        let found =
            self.check(&head).and_then(|()| self.routes.find(&head.method, head.uri.path()));
        let mut label = Label { template: "", command: "" };
        let mut partition = None;
        let result = match found {
            Err(problem) => Err(problem),
            Ok((route, mut captures)) => {
                label = Label::of(route);
                match take_partition(&mut captures) {
                    Err(problem) => Err(problem),
                    Ok(named) => {
                        partition = named;
                        let partition = partition.as_ref();
                        let _accepted = Accepted::new(&self);
                        self.act(route, Ask { head, body, captures, partition }).await
                    }
                }
            }
        };
        let elapsed = begun.elapsed();
        let outcome = match &result {
            Ok(_) => "accepted",
            Err(problem) if problem.decided.is_some() => "rejected",
            Err(_) => "error",
        };
        let code = result.as_ref().err().map(|problem| problem.code);
        let line = Line {
            request_id: request_id.as_str(),
            route: label.template,
            command: label.command,
            outcome,
            code,
            status: result.as_ref().map_or_else(|p| p.status, |answer| answer.status.as_u16()),
            elapsed,
            partition: partition.as_ref().map(Partition::as_str),
            cause: result.as_ref().err().and_then(|problem| problem.cause.as_deref()),
        };
        self.metrics.request(&line);
        self.log.request(&line);
        let partition = partition.as_ref().map(Partition::as_str);
        let mut response = match result {
            Ok(answer) => respond(answer),
            Err(problem) => refuse(&problem, partition, request_id.as_str(), version),
        };
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(id) = HeaderValue::from_str(request_id.as_str()) {
            headers.insert(HeaderName::from_static("request-id"), id);
        }
        response
    }

    /// What is tested before a path is looked at.
    fn check(&self, head: &Parts) -> Result<(), Problem> {
        let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
        if TARGET_BYTES_MAX < target {
            return Err(Problem::new("target_too_long").closing());
        }
        let bytes = head.headers.iter().fold(0_usize, |bytes, (name, value)| {
            // A field takes its name, its value, `: ` and the end of the line.
            bytes.saturating_add(name.as_str().len()).saturating_add(value.len()).saturating_add(4)
        });
        if HEADER_BYTES_MAX < bytes || HEADER_FIELDS_MAX < head.headers.len() {
            return Err(Problem::new("header_section_too_large").closing());
        }
        if self.loopback && !self.host_allowed(head) {
            return Err(Problem::new("host_not_allowed"));
        }
        if self.draining.load(Ordering::Acquire) && head.uri.path().starts_with("/v1/") {
            return Err(Problem::new("draining").header(RETRY_AFTER, "1").closing());
        }
        Ok(())
    }

    /// A web page must not reach a server on loopback under a name of its own (DNS rebinding).
    pub(crate) fn host_allowed(&self, head: &Parts) -> bool {
        let named = head.headers.get_all(HOST).iter().map(|value| value.to_str().ok());
        let named: Vec<Option<&str>> = match head.uri.authority() {
            Some(authority) => named.chain([Some(authority.as_str())]).collect(),
            None => named.collect(),
        };
        let allowed = |host: &Option<&str>| {
            let Some(host) = *host else { return false };
            let name = match host.rsplit_once(':') {
                Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
                Some(_) | None => host,
            };
            let address = name.trim_start_matches('[').trim_end_matches(']');
            name.eq_ignore_ascii_case("localhost")
                || address.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
                || self.config.http.hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
        };
        !named.is_empty() && named.iter().all(allowed)
    }

    async fn act(self: &Arc<Self>, route: &Route, ask: Ask<'_>) -> Result<Answer, Problem> {
        match route.action {
            Action::Command(spec) => call::command(self, spec, ask).await,
            Action::Commands => call::commands(self, ask).await,
            Action::Batch => call::batch(self, ask).await,
            Action::Outcome(spec) => call::outcome(self, spec, ask).await,
            Action::List(spec) => list::records(self, spec, ask).await,
            Action::Counters(spec) => list::counters(self, spec, ask).await,
            Action::Under(under, spec) => below::page(self, (under, spec), ask).await,
            Action::Partitions => list::partitions(self, &ask).await,
            Action::Publish(spec) => payload::publish(self, spec, ask).await,
            Action::Download(spec) => payload::download(self, spec, ask).await,
            Action::Journal => journal::page(self, ask).await,
            Action::JournalLast => journal::last(self, ask).await,
            Action::Live => Ok(Answer::json(json!({"status": "live"}))),
            Action::Ready => self.ready().await,
            Action::Metrics => {
                let text = self.metrics.render(&self.engine);
                Ok(Answer::text("text/plain; version=0.0.4; charset=utf-8", text))
            }
            Action::OpenApi => Ok(Answer::text("application/json", self.openapi.clone())),
            Action::ProblemPage => problem_page(&ask.captures),
        }
    }

    /// Whether no more requests are taken.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    async fn ready(&self) -> Result<Answer, Problem> {
        if self.draining.load(Ordering::Acquire) {
            return Err(Problem::new("draining"));
        }
        match self.engine.ready().await {
            Ok(()) => Ok(Answer::json(json!({"status": "ready"}))),
            Err(error) => Err(Problem::of_error(&error).detail(error.to_string())),
        }
    }
}

/// A request that was accepted; ends when dropped.
struct Accepted<'a>(&'a App);

impl<'a> Accepted<'a> {
    fn new(app: &'a App) -> Self {
        app.accepted.send_modify(|count| *count = count.saturating_add(1));
        Self(app)
    }
}

impl Drop for Accepted<'_> {
    fn drop(&mut self) {
        self.0.accepted.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// A message that is being sent, until its cursor has moved; ends when dropped.
pub(crate) struct Sending<'a>(&'a App);

impl<'a> Sending<'a> {
    pub(crate) fn new(app: &'a App) -> Self {
        app.sending.send_modify(|count| *count = count.saturating_add(1));
        Self(app)
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.0.sending.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// Bounded labels of a request.
struct Label<'a> {
    template: &'a str,
    command: &'static str,
}

impl<'a> Label<'a> {
    fn of(route: &'a Route) -> Self {
        let command = match route.action {
            Action::Command(spec)
            | Action::List(spec)
            | Action::Counters(spec)
            | Action::Under(_, spec)
            | Action::Publish(spec)
            | Action::Download(spec)
            | Action::Outcome(spec) => spec.name,
            Action::Commands => "commands",
            Action::Batch => "batch",
            Action::Journal
            | Action::JournalLast
            | Action::Partitions
            | Action::Live
            | Action::Ready
            | Action::Metrics
            | Action::OpenApi
            | Action::ProblemPage => "",
        };
        Self { template: &route.template, command }
    }
}

fn take_partition(captures: &mut Captures) -> Result<Option<Partition>, Problem> {
    let Some(name) = captures.remove("partition") else { return Ok(None) };
    match Partition::new(&name) {
        // Names that begin so belong to Bellpunch; without API keys nobody is an administrator.
        Ok(_) if name.starts_with('_') => Err(Problem::new("not_found")),
        Ok(partition) => Ok(Some(partition)),
        Err(error) => Err(Problem::new(error.code())
            .with("field", "partition")
            .with("reason", error.reason())),
    }
}

fn problem_page(captures: &Captures) -> Result<Answer, Problem> {
    let code = captures.get("code").map(String::as_str).unwrap_or_default();
    let meaning = crate::reference::meaning(code).ok_or_else(|| Problem::new("not_found"))?;
    let text = format!("{}\n\n{code}: {meaning}\n", crate::problem::title(code));
    Ok(Answer::text("text/plain; charset=utf-8", text))
}

fn respond(answer: Answer) -> Response<Outgoing> {
    let (kind, body) = match answer.body {
        AnswerBody::Json(value) => ("application/json", full(value.to_string())),
        AnswerBody::Text(kind, text) => (kind, full(text)),
        AnswerBody::Stream(kind, body) => (kind, body),
    };
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in answer.headers {
        headers.append(name, value);
    }
    response
}

fn refuse(
    problem: &Problem,
    partition: Option<&str>,
    request_id: &str,
    version: Version,
) -> Response<Outgoing> {
    let body = problem.body(partition, Some(request_id));
    let mut response = Response::new(full(body.to_string()));
    *response.status_mut() = problem.status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    for (name, value) in &problem.headers {
        headers.append(name.clone(), value.clone());
    }
    if problem.close && version <= Version::HTTP_11 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn full(text: String) -> Outgoing {
    Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed()
}
