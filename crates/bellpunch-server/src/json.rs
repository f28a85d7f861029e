//! JSON on the wire: what is read strictly, and the names of durations.
//!
//! Invariant: a body that says a thing twice, nests deeper or is wider than the maxima, or says
//! `null` where that means nothing, never becomes a command. Durations are whole milliseconds
//! outside (`…_ms`) and nanoseconds inside (`…_ns`); out they are rounded up, so a caller that
//! waits as told has waited long enough.
//!
//! Why a pass of its own: `serde_json` keeps the last of two equal names, and a proxy the first.

use std::fmt;

use bellpunch_core::ShapeError;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How deep a body may nest.
pub(crate) const DEPTH_MAX: usize = 16;
/// How many members one array or object may have.
pub(crate) const MEMBERS_MAX: usize = 1_000;
/// The largest integer on a wire: every JSON reader gets it exactly.
pub(crate) const INTEGER_MAX: u64 = 9_007_199_254_740_991;
const NANOS_PER_MILLI: u64 = 1_000_000;
/// Objects whose names are the caller's, stored and never interpreted.
const OPAQUE: [&str; 4] = ["metadata", "labels", "versions", "as_of"];
/// The only fields that may be `null`: there it says "none from now on".
pub(crate) const NULLABLE: [(&str, &str); 2] =
    [("quotas.configure", "expires_at"), ("quotas.configure", "refill")];

fn refused(field: impl Into<String>, reason: impl Into<String>) -> ShapeError {
    ShapeError { code: "invalid_request", field: field.into(), reason: reason.into() }
}

/// Reads one object.
pub(crate) fn read_object(bytes: &[u8]) -> Result<Map<String, Value>, ShapeError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth: 1 }.deserialize(&mut deserializer).map_err(|error| {
        let reason = error.to_string();
        // The seed reports `field|reason`; what the parser itself says has no field.
        match reason.split_once('|') {
            Some((field, reason)) => refused(field, strip_place(reason)),
            None => refused("", format!("not JSON: {reason}")),
        }
    })?;
    deserializer.end().map_err(|_| refused("", "not JSON: text after the object"))?;
    match value {
        Value::Object(object) => Ok(object),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(refused("", "a body is one object"))
        }
    }
}

fn strip_place(reason: &str) -> &str {
    reason.rsplit_once(" at line ").map_or(reason, |(reason, _)| reason)
}

struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: serde::de::Error>(&self) -> Result<Self, E> {
        if DEPTH_MAX < self.depth {
            return Err(E::custom(format!("|nested deeper than {DEPTH_MAX}")));
        }
        Ok(Self { depth: self.depth.saturating_add(1) })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        // Kept, so that the type it stands for says what is wrong with it, by its name.
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("|not a number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self.deeper()?)? {
            if array.len() == MEMBERS_MAX {
                return Err(A::Error::custom(format!("|an array of more than {MEMBERS_MAX}")));
            }
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.len() == MEMBERS_MAX {
                return Err(A::Error::custom(format!("|an object of more than {MEMBERS_MAX}")));
            }
            if object.contains_key(&name) {
                let name = name.replace('|', "_");
                return Err(A::Error::custom(format!("{name}|the name stands twice")));
            }
            let value = members.next_value_seed(self.deeper()?)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

/// Turns the content of a command from the wire's names into the rules': refuses `null` and
/// `…_ns`, and renames `…_ms`.
pub(crate) fn inward(command: &str, content: &mut Map<String, Value>) -> Result<(), ShapeError> {
    inward_object(command, "", content)
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn inward_object(
    command: &str,
    path: &str,
    object: &mut Map<String, Value>,
) -> Result<(), ShapeError> {
    let mut renamed = Map::new();
    for (name, mut value) in std::mem::take(object) {
        let field = join(path, &name);
        let opaque = OPAQUE.contains(&name.as_str()) && !value.is_null();
        let empty = value.is_null() && NULLABLE.contains(&(command, field.as_str()));
        if opaque || empty {
            renamed.insert(name, value);
        } else if name.ends_with("_ns") {
            let milliseconds = to_milliseconds(&name);
            let reason = format!("unknown field: durations are milliseconds, `{milliseconds}`");
            return Err(refused(field, reason));
        } else if let Some(stem) = name.strip_suffix("_ms") {
            let nanos = value
                .as_u64()
                .filter(|milliseconds| *milliseconds <= INTEGER_MAX)
                .ok_or_else(|| {
                    refused(field.as_str(), format!("must be an integer from 1 to {INTEGER_MAX}"))
                })?
                .checked_mul(NANOS_PER_MILLI)
                .ok_or_else(|| refused(field.as_str(), "longer than 584 years"))?;
            renamed.insert(format!("{stem}_ns"), nanos.into());
        } else {
            inward_value(command, &field, &mut value)?;
            renamed.insert(name, value);
        }
    }
    *object = renamed;
    Ok(())
}

fn inward_value(command: &str, path: &str, value: &mut Value) -> Result<(), ShapeError> {
    match value {
        Value::Null => Err(refused(path, "must not be null: leave it out")),
        Value::Object(object) => inward_object(command, path, object),
        Value::Array(items) => items
            .iter_mut()
            .enumerate()
            .try_for_each(|(index, item)| inward_value(command, &format!("{path}[{index}]"), item)),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// Turns what a rule said into the wire's names: `…_ns` becomes `…_ms`, rounded up.
pub(crate) fn outward(value: &mut Value) {
    match value {
        Value::Object(object) => {
            let mut renamed = Map::new();
            for (name, mut value) in std::mem::take(object) {
                if OPAQUE.contains(&name.as_str()) {
                    renamed.insert(name, value);
                    continue;
                }
                outward(&mut value);
                match (name.strip_suffix("_ns"), value.as_u64()) {
                    (Some(stem), Some(nanos)) => {
                        let milliseconds = nanos.div_ceil(NANOS_PER_MILLI);
                        renamed.insert(format!("{stem}_ms"), milliseconds.into());
                    }
                    (Some(stem), None) => {
                        renamed.insert(format!("{stem}_ms"), value);
                    }
                    (None, _) => {
                        renamed.insert(name, value);
                    }
                }
            }
            *object = renamed;
        }
        Value::Array(items) => items.iter_mut().for_each(outward),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The wire's name of a field.
pub(crate) fn to_milliseconds(name: &str) -> String {
    name.strip_suffix("_ns").map_or_else(|| name.to_owned(), |stem| format!("{stem}_ms"))
}

/// The same error in the wire's names.
pub(crate) fn outward_error(error: ShapeError) -> ShapeError {
    let field: Vec<_> = error.field.split('.').map(to_milliseconds).collect();
    let reason = error.reason.replace("_ns`", "_ms`").replace("_ns ", "_ms ");
    let field = match reason.strip_suffix(" is missing") {
        // What is missing has no place of its own; its name is in the reason.
        Some(name) if error.field.is_empty() && !name.contains(' ') => name.to_owned(),
        Some(_) | None => field.join("."),
    };
    ShapeError { code: error.code, field, reason }
}

#[cfg(test)]
mod tests;
