//! `law.keys`: distinct names stay distinct, and what is no name is refused as it is.

use serde_json::json;

use super::{World, ticket, upload};
use crate::partition::Command;

/// Names that something, somewhere, takes for one another.
const NAMES: [&str; 24] = [
    "a.b",
    "a b",
    "a/b",
    "a_b",
    "a-b",
    "a:b",
    "a|b",
    "a%2Fb",
    "a%2fb",
    "A.b",
    "a.b ",
    " a.b",
    "ab",
    "a\u{200b}b",
    "\u{e9}",
    "e\u{301}",
    "\u{130}",
    "\u{131}",
    "i",
    "I",
    "*",
    "..",
    "null",
    "\u{1f511}",
];

const ILLEGAL: [&str; 6] = ["", "\0", "a\0b", "a\n", "\u{7f}", "\u{85}"];

#[test]
fn law_keys() {
    let window = json!({ "algorithm": "fixed_window", "align": "epoch", "limit": 999,
                         "period_ns": 60_000_000_000_u64 });
    let mut world = World::default();
    let mut counts = 0;
    for (place, name) in NAMES.iter().enumerate() {
        let units = place + 1;
        let quota = json!({ "id": name, "limit": 999 });
        world.send("quotas.create", quota, 0).ok();
        world.send("policies.set", super::with(window.clone(), json!({ "id": name })), 0).ok();
        world.send("quotas.consume", json!({ "id": name, "units": units, "charge": name }), 0).ok();
        let items = json!([{ "quota": name, "units": units }]);
        world.send("holds.create", json!({ "id": name, "items": items }), 0).ok();
        let (cmd, args) = upload(json!({ "id": name, "size_limit": units }));
        world.send(cmd, args, 0).ok();
        for (other, key) in NAMES.iter().enumerate() {
            let units = NAMES.len() * place + other + 1;
            world.send("policies.set", super::with(window.clone(), json!({ "id": key })), 0).ok();
            world
                .send("policies.consume", json!({ "id": name, "key": key, "units": units }), 0)
                .ok();
            let (cmd, args) = ticket(
                json!({ "holder": name, "audience": key, "approved": false, "one_pending": true }),
            );
            world.send(cmd, args, 0).ok();
        }
    }
    for (place, name) in NAMES.iter().enumerate() {
        let units = place + 1;
        let quota = world.send("quotas.read", json!({ "id": name }), 0).ok().body;
        assert_eq!(quota["quota"]["used"], units, "{name:?}");
        assert_eq!(quota["quota"]["held"], units, "{name:?}");
        let charge = world.send("charges.read", json!({ "id": name }), 0).ok().body;
        assert_eq!(charge["charge"]["items"][0]["units"], units, "{name:?}");
        let upload = world.send("uploads.read", json!({ "id": name }), 0).ok().body;
        assert_eq!(upload["upload"]["size_limit"], units, "{name:?}");
        assert_eq!(upload["upload"]["id"], *name);
        for (other, key) in NAMES.iter().enumerate() {
            let units = NAMES.len() * place + other + 1;
            let counter =
                world.send("counters.read", json!({ "policy": name, "key": key }), 0).ok();
            assert_eq!(counter.body["counter"]["used"], units, "{name:?} {key:?}");
            counts += 1;
        }
    }
    assert_eq!(counts, NAMES.len() * NAMES.len());
}

/// Two names beside each other are two names, wherever the line between them is.
#[test]
fn law_keys_of_pairs() {
    let lease = |id: &str| json!({ "id": id, "algorithm": "concurrency", "limit": 1 });
    let pairs = [("a", "b/c"), ("a/b", "c"), ("a/", "b/c"), ("a", "/b/c"), ("a%2Fb", "c")];
    let mut world = World::default();
    for (place, (one, other)) in pairs.into_iter().enumerate() {
        world.send("policies.set", lease(one), 0).ok();
        let items = json!([{ "policy": one, "key": other, "units": 1 }]);
        let held = json!({ "id": format!("h{place}"), "items": items });
        world.send("holds.create", held.clone(), 0).ok();
        let again = super::with(held, json!({ "id": format!("i{place}") }));
        assert_eq!(world.send("holds.create", again, 0).code, "rate_limited");
        let pending = json!({ "holder": one, "audience": other, "one_pending": true });
        let (cmd, args) = ticket(super::with(pending, json!({ "approved": false })));
        world.send(cmd, args.clone(), 0).ok();
        assert_eq!(world.send(cmd, args, 0).code, "already_pending");
    }
}

/// Keys of callers are compared as they are.
#[test]
fn law_keys_of_callers() {
    let mut world = World::of(&[("quotas.create", json!({ "id": "q", "limit": 99 }))]);
    let keys = ["k", "K", "k ", " k", "k/", "/k", "k%2F", "k.k", "\"k\""];
    let one: Command = ("quotas.consume", json!({ "id": "q" }));
    for (place, key) in keys.iter().enumerate() {
        let told = world.under(key, &one, 0).ok();
        assert_eq!((told.replayed, &told.body["quota"]["used"]), (false, &json!(place + 1)));
    }
    for (place, key) in keys.iter().enumerate() {
        let told = world.under(key, &one, 0).ok();
        assert_eq!((told.replayed, &told.body["quota"]["used"]), (true, &json!(place + 1)));
    }
}

#[test]
fn law_keys_refuses_what_is_no_name() {
    let long = "n".repeat(257);
    for name in ILLEGAL.iter().copied().chain([long.as_str()]) {
        let commands: Vec<Command> = vec![
            ("quotas.create", json!({ "id": name, "limit": 1 })),
            ("policies.consume", json!({ "id": "p", "key": name })),
            ("policies.consume", json!({ "id": name, "key": "k" })),
            ("holds.void", json!({ "id": name })),
            ("charges.read", json!({ "id": name })),
            upload(json!({ "id": name })),
            ticket(json!({ "holder": name })),
            ticket(json!({ "audience": name })),
        ];
        for (cmd, args) in commands {
            let told = World::default().send(cmd, args.clone(), 0);
            assert_eq!(told.code, "name_invalid", "{cmd} {args}: {told:?}");
        }
    }
    let just = "n".repeat(256);
    World::default().send("quotas.create", json!({ "id": just, "limit": 1 }), 0).ok();
}
