//! JSON Schema of every command and reply, in the wire's names.

use std::collections::BTreeMap;

use bellpunch_core::CommandSpec;
use schemars::SchemaGenerator;
use serde_json::{Map, Value};

use crate::json::to_milliseconds;

/// Request and reply of each command, and the definitions that they refer to.
#[derive(Debug)]
pub(crate) struct Schemas {
    pub(crate) definitions: Map<String, Value>,
    pub(crate) requests: BTreeMap<&'static str, Value>,
    pub(crate) replies: BTreeMap<&'static str, Value>,
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
            let mut request = (spec.request)(&mut generator).to_value();
            rename(&mut request);
            requests.insert(spec.name, request);
            let mut reply = (spec.reply)(&mut generator).to_value();
            rename(&mut reply);
            replies.insert(spec.name, reply);
        }
        let mut definitions = generator.take_definitions(true);
        definitions.values_mut().for_each(rename);
        Self { definitions, requests, replies }
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

/// `…_ns` is `…_ms` on the wire, as a property and as a required one.
fn rename(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            for (name, value) in object.iter_mut() {
                if let ("properties", Value::Object(properties)) = (name.as_str(), &mut *value) {
                    let renamed = std::mem::take(properties).into_iter();
                    *properties =
                        renamed.map(|(name, value)| (to_milliseconds(&name), value)).collect();
                }
                if let ("required", Value::Array(required)) = (name.as_str(), &mut *value) {
                    for name in required {
                        if let Value::String(name) = name {
                            *name = to_milliseconds(name);
                        }
                    }
                } else {
                    rename(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(rename),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
