//! What request fields and query parameters say about a command.

use std::collections::BTreeMap;
use std::time::Duration;

use bellpunch::{IdempotencyKey, ValueError};
use hyper::HeaderMap;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderName, IF_MATCH, IF_NONE_MATCH};
use hyper::http::request::Parts;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::problem::Problem;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TIMEOUT: HeaderName = HeaderName::from_static("bellpunch-timeout-ms");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
pub(crate) const SECRET: HeaderName = HeaderName::from_static("bellpunch-secret");
const TIMEOUT_MS_MAX: u64 = 60_000;

fn key_invalid(reason: &str) -> Problem {
    Problem::new("idempotency_key_invalid").with("field", "Idempotency-Key").with("reason", reason)
}

fn key_error(error: ValueError) -> Problem {
    key_invalid(error.reason())
}

/// The one line of a field.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let mut lines = headers.get_all(name).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(Problem::field(name.as_str(), "stands twice"));
    }
    match line.to_str() {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(Problem::field(name.as_str(), "must be ASCII")),
    }
}

/// A structured-field String (RFC 9651, 3.3.3), its parameters ignored; or the bare value.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let line = single(headers, &IDEMPOTENCY_KEY).map_err(|problem| {
        let reason = problem.data.get("reason").and_then(Value::as_str);
        key_invalid(reason.unwrap_or_default())
    })?;
    let Some(line) = line else { return Ok(None) };
    let line = line.trim_matches(' ');
    let Some(quoted) = line.strip_prefix('"') else {
        return IdempotencyKey::new(line).map(Some).map_err(key_error);
    };
    let mut key = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next() {
            Some('"') => break,
            Some('\\') => match characters.next() {
                Some(escaped @ ('"' | '\\')) => key.push(escaped),
                Some(_) | None => return Err(key_invalid("a wrong escape")),
            },
            Some(character) => key.push(character),
            None => return Err(key_invalid("the quote does not end")),
        }
    }
    let rest = characters.as_str();
    if !rest.is_empty() && !rest.starts_with(';') {
        return Err(key_invalid("text after the quote"));
    }
    IdempotencyKey::new(key).map(Some).map_err(key_error)
}

/// How long the caller waits.
pub(crate) fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Problem> {
    let Some(text) = single(headers, &TIMEOUT)? else { return Ok(None) };
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u64>() {
        Ok(milliseconds @ 1..=TIMEOUT_MS_MAX) if digits => {
            Ok(Some(Duration::from_millis(milliseconds)))
        }
        Ok(_) | Err(_) => Err(Problem::field("Bellpunch-Timeout-Ms", "must be 1 to 60000")),
    }
}

/// `If-Match` and `If-None-Match: *` as `if_version`. Weak tags never match.
pub(crate) fn if_version(headers: &HeaderMap) -> Result<Option<Value>, Problem> {
    let none_match = single(headers, &IF_NONE_MATCH)?;
    let match_lines: Vec<_> = headers.get_all(IF_MATCH).iter().collect();
    match (match_lines.as_slice(), none_match) {
        ([], None) => Ok(None),
        ([], Some("*")) => Ok(Some("none".into())),
        ([], Some(_)) => Err(Problem::field("If-None-Match", "only `*` has a meaning here")),
        (_, Some(_)) => Err(Problem::field("If-Match", "stands beside If-None-Match")),
        (lines, None) => {
            let mut versions = Vec::new();
            for line in lines {
                let line =
                    line.to_str().map_err(|_| Problem::field("If-Match", "must be ASCII"))?;
                if line.trim() == "*" {
                    return Ok(Some("*".into()));
                }
                for tag in line.split(',').map(str::trim) {
                    versions.extend(version_of(tag)?);
                }
            }
            Ok(Some(versions.into()))
        }
    }
}

/// The version of a tag of ours; `None` of one that matches nothing.
fn version_of(tag: &str) -> Result<Option<u64>, Problem> {
    let (weak, strong) = match tag.strip_prefix("W/") {
        Some(rest) => (true, rest),
        None => (false, tag),
    };
    let inner = strong.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let inner =
        inner.ok_or_else(|| Problem::field("If-Match", "must be tags, `\"42\"`, or `*`"))?;
    let digits = !inner.is_empty() && inner.bytes().all(|byte| byte.is_ascii_digit());
    Ok(inner.parse().ok().filter(|_| digits && !weak))
}

/// Whether the body is JSON.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}

/// Whether the caller names server-sent events among what it takes, and does not rule them out.
pub(crate) fn wants_events(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts.next().unwrap_or_default().eq_ignore_ascii_case("text/event-stream");
        // A weight of nothing, in each of its spellings (RFC 9110, 12.4.2).
        let never = |part: &str| {
            let weight = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
            weight.is_some_and(|weight| weight.bytes().all(|byte| matches!(byte, b'0' | b'.')))
        };
        named && !parts.any(never)
    })
}

/// The last event that a caller was told of before its connection broke.
pub(crate) fn last_event_id(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    Ok(single(headers, &LAST_EVENT_ID)?.map(str::to_owned))
}

/// The query, each name once, none but those `known`.
pub(crate) fn query(head: &Parts, known: &[&str]) -> Result<BTreeMap<String, String>, Problem> {
    let mut found = BTreeMap::new();
    let pairs = head.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    for pair in pairs {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !known.contains(&name) {
            let text = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let reason = format!("unknown query parameter; known here: {text}");
            return Err(Problem::field(name, &reason));
        }
        let value = percent_decode_str(value).decode_utf8();
        let value = value.map_err(|_| Problem::field(name, "not percent-encoded UTF-8"))?;
        if found.insert(name.to_owned(), value.into_owned()).is_some() {
            return Err(Problem::field(name, "stands twice"));
        }
    }
    Ok(found)
}

/// `?dry_run=true`.
pub(crate) fn dry_run(query: &BTreeMap<String, String>) -> Result<bool, Problem> {
    match query.get("dry_run").map(String::as_str) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Problem::field("dry_run", "must be true or false")),
    }
}

#[cfg(test)]
mod tests;
