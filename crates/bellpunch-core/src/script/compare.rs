//! Whether an answer is the one that the script says.
//!
//! A field is looked for at the top first and then deeper, level by level, so that `remaining` is
//! the least of several, and `held` that of the only one shown.

use serde_json::Value;

use super::model::{Expected, Field, Wanted};
use super::value;
use super::world::Answer;
use crate::Timestamp;

/// Every difference between what came and what was to come; empty if there is none.
pub(super) fn differences(answer: &Answer, expected: &Expected) -> Vec<String> {
    if answer.word != expected.word {
        return vec![format!("expected {}, got {}", expected.word, answer.word)];
    }
    expected.fields.iter().filter_map(|field| difference(answer, field)).collect()
}

fn difference(answer: &Answer, field: &Field) -> Option<String> {
    let found = find(answer, &field.name);
    let fits = match (&field.wanted, &found) {
        // What is said of the whole: one of several that said no may know when it will pass.
        (Wanted::Absent, _) => deep(&[&answer.json], &names(&field.name), 1).is_none(),
        (Wanted::Between(from, to), Some(found)) => {
            found.as_u64().is_some_and(|number| (*from..=*to).contains(&number))
        }
        (Wanted::Is(text), Some(found)) => is(text, found),
        (Wanted::Json(json), Some(found)) => json == found,
        (Wanted::Between(..) | Wanted::Is(_) | Wanted::Json(_), None) => false,
    };
    let shown = found.map_or_else(|| "nothing".to_owned(), |found| found.to_string());
    (!fits).then(|| format!("{} is {shown}, not {:?}", field.name, field.wanted))
}

/// The value of a field as a caller of this answer finds it.
fn find(answer: &Answer, name: &str) -> Option<Value> {
    match name {
        "at" => return answer.at.map(|at| Value::String(at.to_string())),
        "replayed" => return Some(Value::Bool(answer.replayed)),
        "decided_by" => return Some(Value::String(answer.decided_by.clone())),
        "dry_run" if answer.dry_run => return Some(Value::Bool(true)),
        "events" => return Some(Value::String(events(&answer.json))),
        "violations" => return violations(&answer.json).map(Value::String),
        _ => {}
    }
    let found = deep(&[&answer.json], &names(name), usize::MAX).cloned();
    if found.is_none() && name == "version" {
        let mut versions = answer.versions.values();
        return versions.next().filter(|_| versions.next().is_none()).map(|v| v.get().into());
    }
    found
}

/// A field by its name, or of a span with its unit.
fn names(name: &str) -> [String; 2] {
    [name.to_owned(), format!("{name}_ns")]
}

/// The value nearest to the top that has one of these names, so many levels deep.
fn deep<'a>(level: &[&'a Value], names: &[String], levels: usize) -> Option<&'a Value> {
    if level.is_empty() || levels == 0 {
        return None;
    }
    let here = level.iter().filter_map(|value| value.as_object());
    let found = here.flatten().find(|(name, value)| names.contains(name) && !value.is_null());
    if let Some((_, value)) = found {
        return Some(value);
    }
    let below: Vec<&Value> = level.iter().flat_map(|value| children(value)).collect();
    deep(&below, names, levels.saturating_sub(1))
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(values) => values.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

/// The names of the events that an answer tells, as a script writes them: `a,b`; `-` if none.
fn events(json: &Value) -> String {
    let all = json.get("events").and_then(Value::as_array).into_iter().flatten();
    let names: Vec<&str> = all.filter_map(|event| event.get("event")?.as_str()).collect();
    if names.is_empty() { "-".to_owned() } else { names.join(",") }
}

/// The targets of a refusal, as a script writes them: `b,p/k`.
fn violations(json: &Value) -> Option<String> {
    let text = |value: &Value, name| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let target = |violation: &Value| {
        let target = violation.get("target").unwrap_or(violation);
        let rate = text(target, "policy").zip(text(target, "key"));
        rate.map(|(policy, key)| format!("{policy}/{key}")).or_else(|| text(target, "quota"))
    };
    let all: Option<Vec<String>> =
        deep(&[json], &names("violations"), usize::MAX)?.as_array()?.iter().map(target).collect();
    Some(all?.join(","))
}

/// Whether a value of an answer is what a word of a script says.
fn is(text: &str, found: &Value) -> bool {
    match found {
        Value::Bool(found) => text.parse() == Ok(*found),
        Value::Number(found) => {
            let plain = value::number(text) == Some(Value::Number(found.clone()));
            let span = value::span(text).and_then(|nanos| u64::try_from(nanos).ok());
            plain || (span.is_some() && span == found.as_u64())
        }
        Value::String(found) => {
            let instant = || {
                let found: Timestamp = found.parse().ok()?;
                Some(value::instant(text)? == found)
            };
            value::name(text).as_deref() == Some(found) || instant() == Some(true)
        }
        // An amount is compared by its count, a number by its text, a list of names by the names.
        Value::Object(fields) => {
            let found = fields.get("amount").or_else(|| fields.get("number"));
            found.is_some_and(|found| is(text, found))
        }
        Value::Array(values) => {
            let names: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
            names.len() == values.len() && names.join(",") == text
        }
        Value::Null => false,
    }
}
