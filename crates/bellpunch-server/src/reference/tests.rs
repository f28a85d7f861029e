//! The generated pages are fresh: `UPDATE_EXPECT=1` writes them.

use std::fmt::Write as _;
use std::path::Path;

use bellpunch_core::Category;
use serde_json::Value;

use super::*;
use crate::problem::{STATUSES, status_of};
use crate::route::{Action, Routes};
use crate::schema::Schemas;

fn tables() -> (Routes, Schemas) {
    let commands: Vec<_> = bellpunch::commands().collect();
    let schemas = Schemas::new(&commands);
    (Routes::new(&commands, &schemas), schemas)
}

fn expect(place: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(place);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "{place} is not fresh: run the tests with UPDATE_EXPECT=1");
}

#[test]
fn openapi_is_fresh() {
    let (routes, schemas) = tables();
    let document = crate::openapi::document(&routes, &schemas);
    expect("snapshots/openapi.json", &format!("{document}\n"));
}

#[test]
fn a_read_tells_its_resource_by_the_name_that_a_list_looks_for() {
    let (routes, schemas) = tables();
    for route in routes.iter() {
        let Action::List(spec) = route.action else { continue };
        let (collection, _) = spec.name.split_once('.').unwrap();
        let reply = schemas.resolve(&schemas.replies[spec.name]);
        let member = crate::reply::singular(collection);
        assert!(reply["properties"].get(&member).is_some(), "{}: {member}", spec.name);
    }
}

#[test]
fn every_reference_in_openapi_leads_somewhere() {
    let (routes, schemas) = tables();
    let text = crate::openapi::document(&routes, &schemas);
    let document: Value = serde_json::from_str(&text).unwrap();
    for part in text.split("\"$ref\": \"#").skip(1) {
        let pointer = part.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
    assert!(!text.contains("_ns\""), "durations are milliseconds on the wire");
}

fn of_type(schema: &Value) -> String {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        return name.rsplit('/').next().unwrap().to_owned();
    }
    for several in ["anyOf", "oneOf"] {
        if let Some(options) = schema.get(several).and_then(Value::as_array) {
            let options: Vec<_> =
                options.iter().map(of_type).filter(|option| option != "null").collect();
            return options.join(" or ");
        }
    }
    match schema.get("type") {
        Some(Value::String(name)) if name == "array" => {
            let items = schema.get("items").map(of_type);
            format!("array of {}", items.unwrap_or_default())
        }
        Some(Value::String(name)) => name.clone(),
        Some(Value::Array(names)) => {
            let names = names.iter().filter_map(Value::as_str).filter(|name| *name != "null");
            names.collect::<Vec<_>>().join(" or ")
        }
        _ if schema.get("const").is_some() => schema["const"].to_string(),
        _ if schema.get("enum").is_some() => schema["enum"].to_string(),
        _ => String::new(),
    }
}

fn fields(page: &mut String, (schemas, command): (&Schemas, &str), schema: &Value) {
    let schema = schemas.resolve(schema);
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    let required = schema.get("required").and_then(Value::as_array);
    page.push_str("\n| field | type | meaning |\n| --- | --- | --- |\n");
    for (name, property) in properties {
        if crate::reserved::of_the_door(command, name) {
            let plain = crate::secret::plain_field(command).filter(|(_, hash)| hash == name);
            if let Some((plain, _)) = plain {
                writeln!(page, "| `{plain}`? | string | Hashed by the server, never kept. |")
                    .unwrap();
            }
            continue;
        }
        let must = required.is_some_and(|names| names.iter().any(|known| known == name.as_str()));
        let text = property.get("description").and_then(Value::as_str).unwrap_or_default();
        let text = text.replace('\n', " ");
        let kind = of_type(property).replace('|', "\\|");
        let optional = if must { "" } else { "?" };
        writeln!(page, "| `{name}`{optional} | {kind} | {text} |").unwrap();
    }
}

#[test]
fn the_page_of_commands_is_fresh() {
    let (routes, schemas) = tables();
    let mut page =
        "# Commands\n\nGenerated from the table of commands. `?` marks what may be left \
                    out; names in braces stand in the path.\n"
            .to_owned();
    for route in routes.iter() {
        let (Action::Command(spec)
        | Action::Publish(spec)
        | Action::Download(spec)
        | Action::Outcome(spec)) = route.action
        else {
            continue;
        };
        write!(page, "\n## `{}`\n\n`{} {}`\n", spec.name, route.method, route.template).unwrap();
        let request = schemas.resolve(&schemas.requests[spec.name]);
        if let Some(text) = request.get("description").and_then(Value::as_str) {
            write!(page, "\n{}\n", text.replace('\n', " ")).unwrap();
        }
        fields(&mut page, (&schemas, spec.name), &schemas.requests[spec.name]);
        let reply = schemas.resolve(&schemas.replies[spec.name]);
        if reply.get("properties").is_some() {
            page.push_str("\nReply:\n");
            fields(&mut page, (&schemas, ""), reply);
        }
    }
    expect("docs/reference/commands.md", &page);
}

fn name_of(category: Category) -> &'static str {
    STATUSES.iter().find(|(_, known, _)| *known == category).unwrap().0
}

#[test]
fn the_page_of_codes_is_fresh() {
    let mut page = "# Codes\n\nGenerated. `code` is stable and the only thing programs branch \
                    on.\n\n## From category to status\n\n| category | status |\n| --- | --- |\n"
        .to_owned();
    for (name, _, status) in STATUSES {
        writeln!(page, "| {name} | {status} |").unwrap();
    }
    page.push_str("\n## Errors\n\nThe rule was not asked, or something broke.\n\n");
    page.push_str("| code | status | meaning |\n| --- | --- | --- |\n");
    for (code, status, meaning) in ERRORS {
        writeln!(page, "| `{code}` | {status} | {meaning} |").unwrap();
    }
    for (domain, table) in DOMAINS {
        write!(page, "\n## Rejections of {domain}, in order of precedence\n\n").unwrap();
        page.push_str("| code | category | status | meaning |\n| --- | --- | --- | --- |\n");
        for (stage, code, meaning) in *table {
            let category = Category::of(*stage, code);
            let (name, status) = (name_of(category), status_of(category));
            writeln!(page, "| `{code}` | {name} | {status} | {} |", meaning.trim()).unwrap();
        }
    }
    expect("docs/reference/codes.md", &page);
}

#[test]
fn every_category_has_one_status() {
    let all = [
        (Stage::Shape, "a", 400),
        (Stage::Key, "a", 422),
        (Stage::Existence, "a_not_found", 404),
        (Stage::Existence, "a_exists", 409),
        (Stage::Right, "a", 403),
        (Stage::Version, "a", 412),
        (Stage::State, "a", 409),
        (Stage::Time, "a_expired", 410),
        (Stage::Amount, "a", 409),
        (Stage::Limit, "a", 429),
    ];
    for (stage, code, status) in all {
        assert_eq!(status_of(Category::of(stage, code)), status, "{stage:?}");
    }
}
