//! What a caller may not say: names that begin with `_`, and fields that only the door sets.
//!
//! Invariant: a name with `_` in front is Bellpunch's own wherever a name may stand, so nobody
//! ends the hold of an upload but by ending the upload. Which fields are names comes from the
//! schema of the command, so a new command has no way around it.

use std::collections::{BTreeMap, BTreeSet};

use bellpunch_core::CommandSpec;
use serde_json::{Map, Value};

use crate::problem::Problem;
use crate::schema::Schemas;

/// How deep a schema is followed.
const DEPTH_MAX: usize = 8;

/// Texts that have the type of a name but are none of ours: what callers write, and what the outside
/// calls something.
const TEXTS: [&str; 6] =
    ["description", "external_id", "lines.description", "method", "reason", "ref"];
/// Commands whose `name` is what somebody is called, and not where a record is.
const CALLED: [&str; 2] = ["clients.create", "clients.update"];

/// Whether a text stands at this place of a command.
fn is_text(command: &str, place: &str) -> bool {
    TEXTS.contains(&place) || place == "name" && CALLED.contains(&command)
}

/// A setting that the rule is told, and no part of what a caller says.
pub(crate) const PAYLOAD_MAX: &str = "payload_max";
/// Where the hash of a made secret goes; it is no part of the fingerprint.
pub(crate) const MADE: &str = "made_secret_hash";

/// Fields that only the door sets, in the names of the wire. A hash proves nothing: who has read
/// it in a store does not know the secret, so where a secret is presented it is the secret.
const OF_THE_DOOR: [(&str, &[&str]); 6] = [
    ("uploads.create", &[PAYLOAD_MAX]),
    ("uploads.publish", &["blob", "size", "sha256", "started_at", "publish_window_ms"]),
    ("uploads.download", &["grant_ttl_ms"]),
    ("uploads.delete", &["secret_hash"]),
    ("tickets.create", &[MADE]),
    ("tickets.redeem", &["secret_hash"]),
];

/// Whether only the door sets this field.
pub(crate) fn of_the_door(command: &str, field: &str) -> bool {
    OF_THE_DOOR.iter().any(|(name, fields)| *name == command && fields.contains(&field))
}

/// Where names stand in each command: `items.quota`; arrays are passed through.
#[derive(Debug)]
pub(crate) struct Names(BTreeMap<&'static str, BTreeSet<String>>);

impl Names {
    pub(crate) fn new(commands: &[&'static CommandSpec], schemas: &Schemas) -> Self {
        let places = commands.iter().map(|spec| {
            let mut places = BTreeSet::new();
            if let Some(schema) = schemas.requests.get(spec.name) {
                collect(schemas, schema, (String::new(), 0), &mut places);
            }
            places.retain(|place| !is_text(spec.name, place));
            (spec.name, places)
        });
        Self(places.collect())
    }

    /// Refuses what is not the caller's to say.
    pub(crate) fn check(&self, command: &str, content: &Map<String, Value>) -> Result<(), Problem> {
        if let Some(field) = content.keys().find(|field| of_the_door(command, field)) {
            return Err(Problem::field(field, "unknown field: only the door sets it"));
        }
        let Some(places) = self.0.get(command) else { return Ok(()) };
        content.iter().try_for_each(|(name, value)| walk(places, (name, name), value))
    }
}

/// Refuses a name of Bellpunch's own.
pub(crate) fn check(field: &str, name: &str) -> Result<(), Problem> {
    if !name.starts_with('_') {
        return Ok(());
    }
    let reason = "reserved: names that begin with `_` belong to Bellpunch";
    Err(Problem::new("name_invalid")
        .detail(format!("`{field}`: {reason}"))
        .with("field", field)
        .with("reason", reason))
}

/// `place` has no indices, `shown` has.
fn walk(
    places: &BTreeSet<String>,
    (place, shown): (&str, &str),
    value: &Value,
) -> Result<(), Problem> {
    match value {
        Value::String(name) if places.contains(place) => check(shown, name),
        Value::Array(items) => items.iter().enumerate().try_for_each(|(index, item)| {
            walk(places, (place, &format!("{shown}[{index}]")), item)
        }),
        Value::Object(members) => members.iter().try_for_each(|(name, value)| {
            let (place, shown) = (format!("{place}.{name}"), format!("{shown}.{name}"));
            walk(places, (&place, &shown), value)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn collect(
    schemas: &Schemas,
    schema: &Value,
    (place, depth): (String, usize),
    places: &mut BTreeSet<String>,
) {
    let name = schema.get("$ref").and_then(Value::as_str).unwrap_or_default();
    if name.ends_with("/Key") {
        places.insert(place);
        return;
    }
    if DEPTH_MAX < depth {
        return;
    }
    let deeper = depth.saturating_add(1);
    let schema = schemas.resolve(schema);
    for (name, member) in schema.get("properties").and_then(Value::as_object).into_iter().flatten()
    {
        let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
        collect(schemas, member, (place, deeper), places);
    }
    if let Some(items) = schema.get("items") {
        collect(schemas, items, (place.clone(), deeper), places);
    }
    for several in ["anyOf", "oneOf", "allOf"] {
        for option in schema.get(several).and_then(Value::as_array).into_iter().flatten() {
            collect(schemas, option, (place.clone(), deeper), places);
        }
    }
}

#[cfg(test)]
mod tests;
