//! `bellpunch inspect`: what is in a store. Reads only.

use std::process::ExitCode;

use bellpunch::store::Versioned;
use bellpunch::{Key, Kind, Partition, RecordId, RecordKey};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::args::{Form, Inspect, InspectArgs};
use crate::config::Settings;
use crate::failure::Failure;
use crate::stores::{self, Opened, Walk, of_store};

pub(crate) fn run(args: &InspectArgs, form: Form) -> Result<ExitCode, Failure> {
    let settings = Settings::of_store(&args.layers)?.store;
    let (found, opened) = crate::serve::runtime()?.block_on(async {
        let opened = stores::open_existing(&settings).await?;
        let found = look(&opened, &args.what, form).await;
        opened.hang_up().await;
        Ok::<_, Failure>((found, opened))
    })?;
    opened.close();
    found
}

pub(crate) fn partition(name: &str) -> Result<Partition, Failure> {
    Partition::new(name).map_err(|error| Failure::usage(format!("partition {name:?}: {error}")))
}

fn record_id(names: &[String]) -> Result<RecordId, Failure> {
    let keys: Result<Vec<Key>, _> = names.iter().map(Key::new).collect();
    let keys = keys.map_err(|error| Failure::usage(format!("id {names:?}: {error}")))?;
    let keys: Vec<&Key> = keys.iter().collect();
    Ok(RecordId::compound(&keys))
}

/// A record with its stored form.
fn shown(key: &RecordKey, record: &Versioned) -> Value {
    let stored = record.value.as_deref().unwrap_or_default();
    let value: Value = serde_json::from_slice(stored).unwrap_or_default();
    json!({
        "kind": key.kind.name(), "id": key.id.as_str(), "version": record.version,
        "at": record.at, "sweep_at": record.sweep_at, "stored": value
    })
}

async fn look(opened: &Opened, what: &Inspect, form: Form) -> Result<ExitCode, Failure> {
    let store = &*opened.store;
    match what {
        Inspect::Partitions => {
            for name in stores::partitions(store).await? {
                match form {
                    Form::Text => crate::print(&format!("{name}\n"))?,
                    Form::Json => crate::print(&format!("{}\n", json!({ "partition": name })))?,
                }
            }
            Ok(ExitCode::SUCCESS)
        }
        Inspect::Records { partition: name, kind, prefix } => {
            let name = partition(name)?;
            let mut walk = Walk::new(store, &name, kind.as_deref()).prefixed(prefix);
            loop {
                let page = walk.page().await?;
                if page.is_empty() {
                    return Ok(ExitCode::SUCCESS);
                }
                for (key, record) in page {
                    match form {
                        Form::Text => crate::print(&format!("{key} {}\n", record.version))?,
                        Form::Json => crate::print(&format!("{}\n", shown(&key, &record)))?,
                    }
                }
            }
        }
        Inspect::Record { partition: name, kind, id } => {
            let key = RecordKey { kind: Kind::named(kind), id: record_id(id)? };
            one(opened, &partition(name)?, key).await
        }
        Inspect::Outcome { partition: name, key } => {
            let key = RecordKey { kind: Kind::named("outcomes"), id: RecordId::stored(key) };
            one(opened, &partition(name)?, key).await
        }
        Inspect::Folder => {
            let properties = store.properties();
            let mut text = format!("backend = {}\n", properties.name);
            let mut fields = json!({ "backend": properties.name });
            if let Some(report) = opened.report() {
                for (name, count) in [
                    ("records", report.records),
                    ("segments", report.segments),
                    ("total_bytes", report.total_bytes),
                    ("live_bytes", report.live_bytes),
                    ("index_bytes", report.index_bytes),
                    ("cut_bytes", report.cut_bytes),
                ] {
                    text.push_str(&format!("{name} = {count}\n"));
                    if let Value::Object(fields) = &mut fields {
                        fields.insert(name.to_owned(), count.into());
                    }
                }
            }
            match form {
                Form::Text => crate::print(&text)?,
                Form::Json => crate::print(&format!("{fields}\n"))?,
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn one(opened: &Opened, partition: &Partition, key: RecordKey) -> Result<ExitCode, Failure> {
    let keys = [key];
    let read = opened.store.read(partition, &keys).await.map_err(|failure| of_store(&failure))?;
    let [key] = keys;
    let Some(record) = read.into_iter().next().filter(|record| record.value.is_some()) else {
        return Err(Failure::not_found(format!("{partition} has no record {key}")));
    };
    // The stored form is shown as it is, not as it would be written again.
    let stored = record.value.as_deref().unwrap_or_default();
    if serde_json::from_slice::<&RawValue>(stored).is_err() {
        return Err(Failure::could_not_run(format!("the record {key} is not JSON: damaged")));
    }
    let text = serde_json::to_string_pretty(&shown(&key, &record)).unwrap_or_default();
    crate::print(&format!("{text}\n"))?;
    Ok(ExitCode::SUCCESS)
}
