use serde_json::json;

use super::*;

fn names() -> Names {
    let commands: Vec<_> = bellpunch::commands().collect();
    Names::new(&commands, &Schemas::new(&commands))
}

#[test]
fn every_command_with_an_id_has_it_among_its_names() {
    let names = names();
    let commands: Vec<_> = bellpunch::commands().collect();
    let schemas = Schemas::new(&commands);
    // A key and a place are no names.
    let named = |name: &str| !["outcomes.read", "numbers.read"].contains(&name);
    for spec in commands.iter().filter(|spec| named(spec.name)) {
        if schemas.has_field(spec.name, "id") {
            assert!(names.0[spec.name].contains("id"), "{}", spec.name);
        }
    }
    for (command, place) in [
        ("checks.consume", "items.quota"),
        ("checks.consume", "items.key"),
        ("holds.create", "items.policy"),
        ("holds.create", "owner"),
        ("uploads.create", "charge.quota"),
        ("tickets.expire", "ids"),
        ("tickets.redeem", "audience"),
        ("charges.refund", "items.quota"),
        ("counters.read", "policy"),
    ] {
        assert!(names.0[command].contains(place), "{command} {place}: {:?}", names.0[command]);
    }
    for (command, place) in [
        ("series.define", "name"),
        ("chains.define", "name"),
        ("clients.create", "scope"),
        ("transfers.create", "lines.account"),
        ("payments.create", "destinations.invoice"),
    ] {
        assert!(names.0[command].contains(place), "{command} {place}");
    }
}

#[test]
fn a_text_is_no_name() {
    let names = names();
    for (command, place) in [
        ("tickets.reject", "reason"),
        ("clients.create", "name"),
        ("clients.update", "name"),
        ("clients.create", "external_id"),
        ("payments.create", "method"),
        ("payments.dispute", "external_id"),
        ("retainers.consume", "description"),
        ("invoices.create", "lines.description"),
        ("transfers.create", "ref"),
        ("accounts.hold", "ref"),
    ] {
        assert!(!names.0[command].contains(place), "{command} {place}");
    }
    // And each of them is there: a list of what is no longer asked for would say nothing.
    for text in TEXTS.iter().chain(&["name"]) {
        let commands: Vec<_> = bellpunch::commands().collect();
        let schemas = Schemas::new(&commands);
        let mut places = BTreeSet::new();
        for schema in schemas.requests.values() {
            collect(&schemas, schema, (String::new(), 0), &mut places);
        }
        assert!(places.contains(*text), "{text}");
    }
}

#[test]
fn a_reserved_name_is_refused_at_its_place() {
    let body =
        json!({"items": [{"quota": "a"}, {"policy": "p", "key": "_k"}], "labels": {"_": ""}});
    let problem = names().check("checks.consume", body.as_object().unwrap()).unwrap_err();
    assert_eq!((problem.code, &problem.data["field"]), ("name_invalid", &json!("items[1].key")));
    let body = json!({"items": [{"quota": "a_"}], "labels": {"_": "_"}});
    assert!(names().check("checks.consume", body.as_object().unwrap()).is_ok());
}

#[test]
fn no_internal_command_is_in_the_table() {
    let known: Vec<_> = bellpunch::commands().map(|spec| spec.name).collect();
    assert!(known.iter().all(|name| {
        let verb = name.split_once('.').unwrap().1;
        !["audit", "sweep", "consume_locally"].contains(&verb) && !verb.starts_with("sweep")
    }));
    for internal in ["quotas.audit", "outcomes.sweep", "charges.sweep", "holds.sweep"] {
        assert!(!known.contains(&internal));
    }
}
