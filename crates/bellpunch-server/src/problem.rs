//! Every answer that is not 2xx: `application/problem+json` (RFC 9457).
//!
//! Invariant: `code` is stable and the only thing programs branch on; a rejection's status follows
//! from its category alone, so a new code touches no door.

use bellpunch_core::{Category, DecidedBy, Rejection, ShapeError, Timestamp, Versions};
use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use crate::json;

/// The codes that are not a rule's: code, status, meaning.
pub(crate) const ERRORS: &[(&str, u16, &str)] = &[
    (
        "invalid_request",
        400,
        "The request is not shaped as it must be; `data.field` names the place.",
    ),
    ("name_invalid", 400, "A name is empty, too long, or has a control character."),
    ("invalid_units", 400, "Units are integers from 0 to 9007199254740991."),
    ("invalid_amount", 400, "An amount is an integer in minor units with its currency or unit."),
    ("idempotency_key_invalid", 400, "An idempotency key has 1 to 255 printable ASCII characters."),
    ("idempotency_key_required", 400, "This command must have an Idempotency-Key."),
    ("digest_mismatch", 400, "The bytes are not those of the digest that was sent with them."),
    ("host_not_allowed", 403, "The Host is neither loopback nor in `http.hosts`."),
    (
        "risk_not_accepted",
        403,
        "The store can lose what it acknowledged: it serves rate limits alone, unless \
         `store.accept_risk` names that risk.",
    ),
    ("not_found", 404, "There is nothing at this path."),
    ("not_journaled", 404, "This partition has no journal."),
    (
        "method_not_allowed",
        405,
        "This path does not take this method; `Allow` names those it takes.",
    ),
    ("request_timeout", 408, "The body did not arrive in time. Nothing was done."),
    ("idempotency_key_in_progress", 409, "Too many requests wait for the outcome of this key."),
    (
        "grant_expired",
        410,
        "The download that this key counted has ended; without that key another is counted.",
    ),
    ("body_too_large", 413, "The body is larger than its maximum."),
    ("too_large", 413, "The command writes more records or bytes than the store takes at once."),
    ("target_too_long", 414, "The request target is longer than 8192 bytes."),
    (
        "unsupported_media_type",
        415,
        "A body is JSON: send `Content-Type: application/json`, as `curl --json` does.",
    ),
    ("range_not_satisfiable", 416, "The range begins after the last byte."),
    ("header_section_too_large", 431, "The header section has more than 16384 bytes or 64 fields."),
    ("internal", 500, "A bug, or damaged data. Nothing was applied."),
    ("payload_unavailable", 500, "The stored bytes are missing or altered."),
    ("contended", 503, "Others committed first, too often. Nothing was applied; send it again."),
    ("overloaded", 503, "A queue is full. Nothing was applied; send it again later."),
    ("draining", 503, "This server is stopping. Nothing was applied; send it to another."),
    ("store_unavailable", 503, "The store cannot be used. Nothing was applied."),
    ("clock_ahead", 503, "This node's clock is too far ahead of the store's. Nothing was applied."),
    (
        "timed_out",
        503,
        "The wait was over before anything was sent to the store. Nothing was applied.",
    ),
    (
        "outcome_unknown",
        504,
        "It may have been applied. Ask for the outcome of its key, or send it again with that key.",
    ),
];

/// From category to status; the one table.
pub(crate) const STATUSES: &[(&str, Category, u16)] = &[
    ("malformed", Category::Malformed, 400),
    ("right", Category::Right, 403),
    ("absent", Category::Absent, 404),
    ("state, funds", Category::State, 409),
    ("gone", Category::Gone, 410),
    ("version", Category::Version, 412),
    ("reuse", Category::Reuse, 422),
    ("limit", Category::Limit, 429),
];

/// The status of a rejection.
pub(crate) fn status_of(category: Category) -> u16 {
    STATUSES.iter().find(|(_, known, _)| *known == category).map_or(409, |(_, _, status)| *status)
}

/// A "no", or an error, on its way out. Boxed: most answers are none.
#[derive(Debug)]
pub(crate) struct Problem(Box<Content>);

/// What a problem says.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) code: &'static str,
    pub(crate) status: u16,
    pub(crate) detail: String,
    pub(crate) data: Map<String, Value>,
    /// What stands on rejections alone.
    pub(crate) decided: Option<Decided>,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether the connection ends with this answer.
    pub(crate) close: bool,
    /// What broke, for the log alone.
    pub(crate) cause: Option<String>,
}

/// What a rejection was decided on.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) at: Timestamp,
    pub(crate) as_of: Versions,
    pub(crate) by: DecidedBy,
    pub(crate) category: Category,
    pub(crate) dry_run: bool,
    pub(crate) best_effort: bool,
    pub(crate) durable: bool,
    /// Which command of a list.
    pub(crate) index: Option<usize>,
}

pub(crate) fn header(name: HeaderName, value: &str) -> Option<(HeaderName, HeaderValue)> {
    HeaderValue::from_str(value).ok().map(|value| (name, value))
}

impl Problem {
    /// An error of [`ERRORS`], with its own meaning as detail.
    pub(crate) fn new(code: &'static str) -> Self {
        let known = ERRORS.iter().find(|(name, ..)| *name == code);
        let (status, meaning) = known.map_or((500, ""), |(_, status, text)| (*status, *text));
        Self(Box::new(Content {
            code,
            status,
            detail: meaning.to_owned(),
            data: Map::new(),
            decided: None,
            headers: Vec::new(),
            close: false,
            cause: None,
        }))
    }

    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.data.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.extend(header(name, value));
        self
    }

    /// The rule was asked without bytes so as to say "no" before they are sent: to the caller this
    /// is the answer, and not a dry run.
    pub(crate) fn meant(mut self) -> Self {
        if let Some(decided) = &mut self.0.decided {
            decided.dry_run = false;
        }
        self
    }

    pub(crate) fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    /// A field that is not as it must be.
    pub(crate) fn field(field: &str, reason: &str) -> Self {
        ShapeError { code: "invalid_request", field: field.into(), reason: reason.into() }.into()
    }

    /// An error of the engine.
    pub(crate) fn of_error(error: &bellpunch::Error) -> Self {
        use hyper::header::RETRY_AFTER;
        let mut problem = Self::new(error.kind().code());
        problem.cause = Some(error.to_string());
        match problem.status {
            503 if problem.code == "store_unavailable" => problem.header(RETRY_AFTER, "5"),
            503 | 409 => problem.header(RETRY_AFTER, "1"),
            _ => problem,
        }
    }

    /// A store that could not be read.
    pub(crate) fn of_store(failure: &bellpunch::store::Failure) -> Self {
        use bellpunch::ErrorKind;
        let corrupt = failure.kind() == bellpunch::store::FailureKind::Corrupt;
        let kind = if corrupt { ErrorKind::Internal } else { ErrorKind::StoreUnavailable };
        Self::of_error(&bellpunch::Error::new(kind, failure.to_string()))
    }

    /// A rule's "no".
    pub(crate) fn of_rejection(rejection: Rejection, decided: Decided) -> Self {
        let status = status_of(rejection.category);
        let mut data = Value::Object(rejection.data);
        json::outward(&mut data);
        let Value::Object(mut data) = data else { unreachable!("renaming keeps an object one") };
        if let Some(Value::String(field)) = data.get_mut("field") {
            let parts: Vec<_> = field.split('.').map(json::to_milliseconds).collect();
            *field = parts.join(".");
        }
        let detail = detail_of(rejection.code, &data);
        let code = rejection.code;
        let (headers, close, cause) = (Vec::new(), false, None);
        Self(Box::new(Content {
            code,
            status,
            detail,
            data,
            decided: Some(decided),
            headers,
            close,
            cause,
        }))
    }

    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The body. `partition` and `request_id` are the request's.
    pub(crate) fn body(&self, partition: Option<&str>, request_id: Option<&str>) -> Value {
        let mut body = Map::new();
        body.insert("type".to_owned(), self.kind().into());
        body.insert("title".to_owned(), title(self.code).into());
        body.insert("status".to_owned(), self.status.into());
        body.insert("detail".to_owned(), self.detail.as_str().into());
        body.insert("code".to_owned(), self.code.into());
        if let Some(partition) = partition {
            body.insert("partition".to_owned(), partition.into());
        }
        if let Some(decided) = &self.decided {
            body.insert("at".to_owned(), json!(decided.at));
            body.insert("as_of".to_owned(), json!(decided.as_of));
            if decided.by != DecidedBy::Store {
                body.insert("decided_by".to_owned(), json!(decided.by));
            }
            if decided.best_effort {
                body.insert("best_effort".to_owned(), true.into());
            }
            if !decided.durable {
                body.insert("durable".to_owned(), false.into());
            }
            if decided.dry_run {
                body.insert("dry_run".to_owned(), true.into());
            }
            if let Some(index) = decided.index {
                body.insert("index".to_owned(), index.into());
            }
            if decided.category == Category::Limit {
                let wait = self.data.get("retry_after_ms").cloned().unwrap_or_default();
                body.insert("retry_after_ms".to_owned(), wait);
                let names = violated(&self.data);
                if !names.is_empty() {
                    body.insert("violated-policies".to_owned(), names.into());
                }
            }
        }
        let mut data = self.data.clone();
        if self.decided.as_ref().is_some_and(|decided| decided.category == Category::Limit) {
            data.remove("retry_after_ms");
        }
        body.insert("data".to_owned(), Value::Object(data));
        if let Some(request_id) = request_id {
            body.insert("request_id".to_owned(), request_id.into());
        }
        Value::Object(body)
    }

    fn kind(&self) -> String {
        const REGISTRY: &str = "https://iana.org/assignments/http-problem-types";
        let limit = self.decided.as_ref().is_some_and(|d| d.category == Category::Limit);
        match self.code {
            _ if limit => format!("{REGISTRY}#quota-exceeded"),
            "overloaded" => format!("{REGISTRY}#temporary-reduced-capacity"),
            code => format!("/problems/{code}"),
        }
    }
}

impl std::ops::Deref for Problem {
    type Target = Content;

    fn deref(&self) -> &Content {
        &self.0
    }
}

impl std::ops::DerefMut for Problem {
    fn deref_mut(&mut self) -> &mut Content {
        &mut self.0
    }
}

impl From<ShapeError> for Problem {
    fn from(error: ShapeError) -> Self {
        let right = match error.code {
            "invalid_units" | "invalid_amount" => {
                "; right is an integer from 1 to 9007199254740991, without fraction or exponent"
            }
            "name_invalid" => "; right are 1 to 256 bytes of UTF-8 without control characters",
            _ => "",
        };
        let detail = match error.field.as_str() {
            "" => format!("{}{right}", error.reason),
            field => format!("`{field}`: {}{right}", error.reason),
        };
        Self::new(error.code).detail(detail).with("field", error.field).with("reason", error.reason)
    }
}

/// The names of the quotas and policies that were violated, each once.
pub(crate) fn violated(data: &Map<String, Value>) -> Vec<&str> {
    let mut names = Vec::new();
    let violations = data.get("violations").and_then(Value::as_array);
    for violation in violations.into_iter().flatten() {
        let name = violation.get("quota").or_else(|| violation.get("policy"));
        if let Some(name) = name.and_then(Value::as_str).filter(|name| !names.contains(name)) {
            names.push(name);
        }
    }
    names
}

/// The fixed title of a code: `quota_exceeded` is "Quota exceeded".
pub(crate) fn title(code: &str) -> String {
    let words = code.replace('_', " ");
    let mut characters = words.chars();
    characters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// A sentence for people.
fn detail_of(code: &str, data: &Map<String, Value>) -> String {
    let first = data.get("violations").and_then(|violations| violations.get(0));
    if let Some(violation) = first {
        let number = |name| match violation.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => "?".to_owned(),
        };
        let of = match (violation.get("quota"), violation.get("policy")) {
            (Some(quota), _) => format!("quota {}", quota.as_str().unwrap_or_default()),
            (None, Some(policy)) => format!("rate limit {}", policy.as_str().unwrap_or_default()),
            (None, None) => "the limit".to_owned(),
        };
        let (remaining, limit) = (number("remaining"), number("limit"));
        return format!(
            "{remaining} of {limit} units remain in {of}; {} were asked for.",
            number("requested")
        );
    }
    let text = |name: &str| data.get(name).and_then(Value::as_str);
    match (text("field"), text("reason")) {
        (None | Some(""), Some(reason)) if code == "invalid_template" => {
            return format!("The template {reason}.");
        }
        (None | Some(""), Some(reason)) if code == "invalid_request" => {
            return format!("{reason}.");
        }
        (Some(field), Some(reason)) => return format!("`{field}`: {reason}."),
        (Some(_) | None, Some(_) | None) => {}
    }
    let meaning = crate::reference::meaning(code);
    let meaning = meaning.map_or_else(|| format!("{}.", title(code)), str::to_owned);
    let facts = if crate::reference::is_of_the_book(code) { facts(data) } else { Vec::new() };
    match meaning.strip_suffix('.') {
        Some(sentence) if !facts.is_empty() => format!("{sentence} ({}).", facts.join(", ")),
        Some(_) | None => meaning,
    }
}

/// What a rule said, in words: `available 4000`, `required 6000`.
fn facts(data: &Map<String, Value>) -> Vec<String> {
    let of = |(name, value): (&String, &Value)| {
        let name = name.replace('_', " ");
        match value {
            Value::String(text) => Some(format!("{name} {text}")),
            Value::Number(number) => Some(format!("{name} {number}")),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    };
    data.iter().filter_map(of).collect()
}
