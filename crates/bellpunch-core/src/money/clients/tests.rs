//! The rules of clients.

use serde_json::{Value, json};

use crate::trial::{Answer, Call, World, at, count};

fn create(scope: &str, over: Value) -> Call<'static> {
    let mut content = json!({"scope": scope, "name": "Noor"});
    for (field, value) in over.as_object().unwrap() {
        content[field] = value.clone();
    }
    ("clients.create", content)
}

fn update(id: &str, over: Value) -> Call<'static> {
    let mut content = json!({"id": id});
    for (field, value) in over.as_object().unwrap() {
        content[field] = value.clone();
    }
    ("clients.update", content)
}

fn number(answer: &Answer) -> String {
    answer.ok()["client"]["number"].as_str().unwrap().to_owned()
}

fn read(world: &mut World, id: &str) -> Value {
    world.send(0, ("clients.read", json!({"id": id}))).ok()["client"].clone()
}

#[test]
fn m45_each_scope_numbers_its_own_clients() {
    let mut world = World::default();
    assert_eq!(number(&world.send(0, create("L1", json!({})))), "CLT-2027-0001");
    assert_eq!(number(&world.send(0, create("L2", json!({})))), "CLT-2027-0001");
    let numbers: Vec<_> =
        (2..=51).map(|_| number(&world.send(0, create("L1", json!({}))))).collect();
    let expected: Vec<_> = (2..=51).map(|n| format!("CLT-2027-{n:04}")).collect();
    assert_eq!(numbers, expected);
}

#[test]
fn an_id_and_an_id_of_the_outside_are_of_one_client() {
    let mut world = World::default();
    world.send(0, create("L1", json!({"id": "c", "external_id": "x"}))).ok();
    assert_eq!(world.send(0, create("L2", json!({"id": "c"}))).no("client_exists")["id"], "c");
    let answer = world.send(0, create("L2", json!({"external_id": "x"})));
    assert_eq!(answer.no("external_id_in_use")["id"], "c");
    // Existence comes in this order.
    world.send(0, create("L1", json!({"id": "c", "external_id": "x"}))).no("client_exists");
    // What was refused took no number.
    assert_eq!(number(&world.send(0, create("L1", json!({})))), "CLT-2027-0002");
    assert_eq!(number(&world.send(0, create("L2", json!({})))), "CLT-2027-0001");
}

#[test]
fn a_series_without_scopes_numbers_all_clients() {
    let mut world = World::default();
    let content = json!({"name": "CLT", "template": "C-{N:3}", "class": "gapless", "zone": "UTC"});
    world.send(0, ("series.define", content)).ok();
    assert_eq!(number(&world.send(0, create("L1", json!({})))), "C-001");
    assert_eq!(number(&world.send(0, create("L2", json!({})))), "C-002");
}

#[test]
fn an_update_says_on_which_version() {
    let mut world = World::default();
    world.send(0, create("L1", json!({"id": "c"}))).ok();
    world.send(0, update("c", json!({"name": "Amal"}))).no("if_version_required");
    world.send(0, update("d", json!({"name": "Amal"}))).no("if_version_required");
    world.send(0, update("d", json!({"name": "Amal", "if_version": 1}))).no("client_not_found");
    let answers = world.all(0, &vec![update("c", json!({"name": "Amal", "if_version": 1})); 2]);
    assert_eq!((count(&answers)["ok"], count(&answers)["version_mismatch"]), (1, 1));
    assert_eq!(answers[1].no("version_mismatch")["version"], 2);
}

#[test]
fn an_update_leaves_what_it_does_not_name() {
    let mut world = World::default();
    world.send(0, create("L1", json!({"id": "c", "external_id": "x"}))).ok();
    let all = json!({"if_version": 1, "name": "Amal", "archived": true, "metadata": {"a": 1}});
    world.send(5, update("c", all)).ok();
    let shown = read(&mut world, "c");
    assert_eq!((&shown["name"], &shown["metadata"]), (&json!("Amal"), &json!({"a": 1})));
    assert_eq!((&shown["archived"], &shown["archived_at"]), (&json!(true), &json!(at(5))));
    world.send(9, update("c", json!({"if_version": 2, "archived": true}))).ok();
    let shown = read(&mut world, "c");
    assert_eq!((&shown["name"], &shown["metadata"]), (&json!("Amal"), &json!({"a": 1})));
    assert_eq!((&shown["external_id"], &shown["scope"]), (&json!("x"), &json!("L1")));
    assert_eq!(shown["archived_at"], json!(at(5)), "archived once");
    world.send(9, update("c", json!({"if_version": 3, "name": "Noor"}))).ok();
    assert_eq!(read(&mut world, "c")["archived"], true);
    world.send(9, update("c", json!({"if_version": 4, "archived": false}))).ok();
    assert_eq!(read(&mut world, "c")["archived"], false);
}

#[test]
fn a_client_that_is_not_there_is_not_shown() {
    let mut world = World::default();
    world.send(0, ("clients.read", json!({"id": "c"}))).no("client_not_found");
}
