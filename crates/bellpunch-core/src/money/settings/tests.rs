//! The settings of a book.

use serde_json::{Value, json};

use crate::trial::World;

#[test]
fn the_settings_of_a_book_are_those_last_set() {
    let mut world = World::default();
    let read = |world: &mut World| {
        world.send(0, ("book.read", json!({"id": "settings"}))).ok()["book"].clone()
    };
    let expected = json!({
        "id": "settings", "zone": "UTC", "void_allowed": true,
        "duplicate_window_ns": 600_000_000_000_u64, "version": 0,
    });
    assert_eq!(read(&mut world), expected);
    let configure = |world: &mut World, content: Value| world.send(0, ("book.configure", content));
    assert_eq!(configure(&mut world, json!({})).code(), "invalid_request");
    let answer = configure(&mut world, json!({"zone": "Mars"}));
    assert_eq!(answer.no("unknown_zone")["zone"], "Mars");
    configure(&mut world, json!({"zone": "Asia/Riyadh"})).ok();
    configure(&mut world, json!({"void_allowed": false})).ok();
    let answer = configure(&mut world, json!({"duplicate_window_ns": 5, "if_version": 1}));
    assert_eq!(answer.no("version_mismatch")["version"], 2);
    configure(&mut world, json!({"duplicate_window_ns": 5, "if_version": 2})).ok();
    let expected = json!({
        "id": "settings", "zone": "Asia/Riyadh", "void_allowed": false, "duplicate_window_ns": 5,
        "version": 3,
    });
    assert_eq!(read(&mut world), expected);
    world.send(0, ("book.read", json!({"id": "x"}))).no("invalid_request");
}
