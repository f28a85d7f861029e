//! Reading the content of a command, and writing verdicts.
//!
//! Invariant: nothing here knows a rule. Of a content, a field that is absent and one that is `null` are the
//! same, as they are to the rules; of an answer, a field that is stated as `null` must be absent.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::Verdict;
use crate::instant::{self, Nanos};

/// The names of written records, `kind/id`.
pub(crate) type Writes = BTreeSet<String>;
/// A code, and the data beside it.
pub(crate) type Refusal = (String, Value);

/// The largest number of units, of minor units, of anything that is counted on a wire.
pub(crate) const COUNT_MAX: u64 = 9_007_199_254_740_991;
/// A day.
pub(crate) const DAY: Nanos = 86_400_000_000_000;

/// A refusal.
pub(crate) fn refuse<T>(code: &str, data: Value) -> Result<T, Refusal> {
    Err((code.to_owned(), data))
}

/// What makes no sense. Why is told in words for people, which no model states.
pub(crate) fn senseless<T>(field: &str) -> Result<T, Refusal> {
    refuse("invalid_request", json!({ "field": field }))
}

/// The verdict of what a command came to: its reply and the records that it wrote, or why not.
pub(crate) fn verdict(outcome: Result<(Value, Writes), Refusal>) -> Verdict {
    match outcome {
        Ok((reply, writes)) => Verdict::Accepted { reply, writes },
        Err((code, reply)) => Verdict::Rejected { code, reply },
    }
}

/// The name of a record in `writes`: its names percent-encoded where they would look like two.
pub(crate) fn record(kind: &str, names: &[&str]) -> String {
    let mut record = kind.to_owned();
    for name in names {
        record.push('/');
        record.push_str(&name.replace('%', "%25").replace('/', "%2F"));
    }
    record
}

/// Stands for an id that was drawn and never told: the call was refused, or is part of a list that
/// was. No id has a control character.
pub(crate) fn undrawn(place: usize) -> String {
    format!("\u{0}{place}")
}

/// Whether an id is such a stand-in.
pub(crate) fn is_undrawn(id: &str) -> bool {
    id.starts_with('\u{0}')
}

/// A field, unless it is absent.
pub(crate) fn field<'a>(args: &'a Value, name: &str) -> Option<&'a Value> {
    args.get(name).filter(|value| !value.is_null())
}

/// A name.
pub(crate) fn text<'a>(args: &'a Value, name: &str) -> Option<&'a str> {
    field(args, name).and_then(Value::as_str)
}

/// A name that has to be there.
pub(crate) fn needed<'a>(args: &'a Value, name: &str) -> Result<&'a str, Refusal> {
    text(args, name).map_or_else(|| senseless(name), Ok)
}

/// A SHA-256, 64 hex digits; in lower case, as replies show it.
pub(crate) fn digest(args: &Value, name: &str) -> Result<Option<String>, Refusal> {
    let is_digest =
        |text: &&str| text.len() == 64 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    match field(args, name) {
        None => Ok(None),
        Some(value) => match value.as_str().filter(is_digest) {
            Some(text) => Ok(Some(text.to_lowercase())),
            None => senseless(name),
        },
    }
}

/// A yes or no; no unless it is said.
pub(crate) fn flag(args: &Value, name: &str) -> bool {
    field(args, name).and_then(Value::as_bool).unwrap_or_default()
}

/// A duration, longer than 0.
pub(crate) fn duration(args: &Value, name: &str) -> Result<Option<Nanos>, Refusal> {
    match field(args, name) {
        None => Ok(None),
        Some(value) => match value.as_u64() {
            None | Some(0) => senseless(name),
            Some(nanos) => Ok(Some(Nanos::from(nanos))),
        },
    }
}

/// An instant.
pub(crate) fn moment(args: &Value, name: &str) -> Result<Option<Nanos>, Refusal> {
    let read = |value: &Value| value.as_str().and_then(instant::parse);
    match field(args, name) {
        None => Ok(None),
        Some(value) => read(value).map_or_else(|| senseless(name), |at| Ok(Some(at))),
    }
}

/// A count of at most [`COUNT_MAX`]; otherwise what is wrong with it.
pub(crate) fn count(value: &Value) -> Result<u64, &'static str> {
    if value.as_i64().is_some_and(|count| count < 0) {
        return Err("negative");
    }
    match value.as_u64() {
        None => Err("not_an_integer"),
        Some(count) if COUNT_MAX < count => Err("too_large"),
        Some(count) => Ok(count),
    }
}

/// A count of units that has to be there.
pub(crate) fn units(args: &Value, name: &str) -> Result<u64, Refusal> {
    let Some(value) = field(args, name) else { return senseless(name) };
    count(value)
        .or_else(|reason| refuse("invalid_units", json!({ "field": name, "reason": reason })))
}

/// A later instant.
pub(crate) fn after(at: Nanos, span: Nanos) -> Nanos {
    at.saturating_add(span)
}

/// How long it is from one instant to a later one, as a JSON integer.
pub(crate) fn span(from: Nanos, to: Nanos) -> Value {
    u64::try_from(to.saturating_sub(from)).map_or(Value::Null, Value::from)
}

/// An instant, as replies show it.
pub(crate) fn shown(at: Nanos) -> Value {
    Value::String(instant::print(at))
}

/// An object of those fields that are there.
pub(crate) fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let there = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(there.collect::<Map<_, _>>())
}

/// An object of fields that are there, and of `null` for those that must not be.
pub(crate) fn stated<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let all = fields.map(|(name, value)| (name.to_owned(), value.unwrap_or_default()));
    Value::Object(all.into_iter().collect::<Map<_, _>>())
}
