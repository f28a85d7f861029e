//! JSON Schema of every command and reply, in the wire's names.

use std::collections::BTreeMap;

use bellpunch_core::CommandSpec;
use schemars::SchemaGenerator;
use serde_json::{Map, Value};

use crate::json::{NULLABLE, outward, to_milliseconds};

/// Request and reply of each command, and the definitions that they refer to.
#[derive(Debug)]
pub(crate) struct Schemas {
    pub(crate) definitions: Map<String, Value>,
    pub(crate) requests: BTreeMap<&'static str, Value>,
    pub(crate) replies: BTreeMap<&'static str, Value>,
    /// The data of each rejection, by code; several if domains say different things.
    pub(crate) data: BTreeMap<&'static str, Vec<Value>>,
}

impl Schemas {
    pub(crate) fn new(commands: &[&'static CommandSpec]) -> Self {
        let settings = schemars::generate::SchemaSettings::draft2020_12();
        let settings = settings.with(|settings| {
            settings.definitions_path = "/components/schemas".into();
        });
        let mut generator = SchemaGenerator::new(settings);
        let mut requests = BTreeMap::new();
        let mut replies = BTreeMap::new();
        for spec in commands {
            requests.insert(spec.name, (spec.request)(&mut generator).to_value());
            replies.insert(spec.name, (spec.reply)(&mut generator).to_value());
        }
        let mut data = data_of(&mut generator);
        let mut definitions = generator.take_definitions(true);
        // What `null` means in is known by command, and a definition belongs to one at most.
        let command_of = |name: &str| {
            let place = format!("/components/schemas/{name}");
            let refers = |schema: &Value| {
                schema.get("$ref").and_then(Value::as_str).is_some_and(|to| to.ends_with(&place))
            };
            requests.iter().find(|(_, schema)| refers(schema)).map_or("", |(command, _)| *command)
        };
        for (name, definition) in &mut definitions {
            to_wire(command_of(name), definition);
        }
        requests.iter_mut().for_each(|(command, schema)| to_wire(command, schema));
        replies.values_mut().for_each(|schema| to_wire("", schema));
        data.values_mut().flatten().for_each(|schema| to_wire("", schema));
        Self { definitions, requests, replies, data }
    }

    /// A schema with its reference followed.
    pub(crate) fn resolve<'a>(&'a self, mut schema: &'a Value) -> &'a Value {
        while let Some(name) = schema.get("$ref").and_then(Value::as_str) {
            let name = name.rsplit('/').next().unwrap_or_default();
            let Some(next) = self.definitions.get(name) else { return schema };
            schema = next;
        }
        schema
    }

    /// Whether the content of a command has this field.
    pub(crate) fn has_field(&self, command: &str, field: &str) -> bool {
        let schema = self.requests.get(command).map(|schema| self.resolve(schema));
        schema.and_then(|schema| schema.get("properties")?.get(field)).is_some()
    }
}

/// The data of all codes, as objects. What a limit says of waiting stands beside its data.
fn data_of(generator: &mut SchemaGenerator) -> BTreeMap<&'static str, Vec<Value>> {
    let mut data: BTreeMap<&'static str, Vec<Value>> = BTreeMap::new();
    for (code, fields) in crate::reference::DATA.iter().flat_map(|of| of(generator)) {
        let limit = crate::reference::is_limit(code);
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for (name, optional, schema) in fields {
            if limit && name == "retry_after_ns" {
                continue;
            }
            if !optional {
                required.push(Value::from(name));
            }
            properties.insert(name.to_owned(), schema.to_value());
        }
        let mut schema = Map::new();
        schema.insert("type".to_owned(), "object".into());
        if !required.is_empty() {
            schema.insert("required".to_owned(), required.into());
        }
        schema.insert("properties".to_owned(), Value::Object(properties));
        let (known, schema) = (data.entry(code).or_default(), Value::Object(schema));
        if !known.contains(&schema) {
            known.push(schema);
        }
    }
    data
}

/// Turns a schema of the rules into one of the wire: `…_ns` is `…_ms`, an absent field is left out
/// and never `null`, and a description has no Rust in it.
fn to_wire(command: &str, schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::String(text)) = object.get_mut("description") {
                let prose = text.split("```").next().unwrap_or_default();
                *text = prose.trim_end().replace("_ns", "_ms");
            }
            if let Some(default) = object.get_mut("default") {
                outward(default);
            }
            if let Some(Value::Array(required)) = object.get_mut("required") {
                for name in required {
                    if let Value::String(name) = name {
                        *name = to_milliseconds(name);
                    }
                }
            }
            if let Some(Value::Object(properties)) = object.get_mut("properties") {
                let renamed = std::mem::take(properties).into_iter();
                *properties = renamed
                    .map(|(name, mut value)| {
                        if !NULLABLE.contains(&(command, name.as_str())) {
                            without_null(&mut value);
                        }
                        (to_milliseconds(&name), value)
                    })
                    .collect();
            }
            object.values_mut().for_each(|value| to_wire(command, value));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| to_wire(command, item)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn without_null(schema: &mut Value) {
    let Value::Object(object) = schema else { return };
    if let Some(Value::Array(names)) = object.get_mut("type") {
        names.retain(|name| name != "null");
        if let [only] = names.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(options)) = object.get_mut("anyOf") {
        options.retain(|option| option.get("type").is_none_or(|kind| kind != "null"));
        if let [Value::Object(only)] = options.as_slice() {
            let only = only.clone();
            object.remove("anyOf");
            object.extend(only);
        }
    }
}
