//! `law.model` of uploads: on random sequences the rules answer what the model says; and on every
//! short sequence of a small world.

use serde_json::{Value, json};

use crate::partition::{
    Answer, Command, Counts, Dice, Enumeration, Pair, every_three, is_legible, written,
};

const MS: i128 = 1_000_000;
const MS_NS: u64 = 1_000_000;
const WEEK_NS: u64 = 604_800_000_000_000;
const SEQUENCES: u64 = 400;
const SEQUENCES_THAT_COST: u64 = 250;
const COMMANDS: u64 = 60;

/// Every answer that can be reached where there is no quota.
const REACHED: &[(&str, &str)] = &[
    (
        "uploads.create",
        "ok invalid_request invalid_units quota_not_found policy_not_found upload_exists \
         ttl_too_long expiry_not_later payload_too_large",
    ),
    (
        "uploads.publish",
        "ok invalid_request upload_not_found not_owner upload_deleted upload_completed \
         upload_abandoned upload_lapsed upload_expired blob_too_old payload_too_large \
         too_many_generations",
    ),
    (
        "uploads.complete",
        "ok upload_not_found not_owner upload_deleted upload_completed upload_abandoned \
         payload_missing generation_mismatch upload_lapsed upload_expired",
    ),
    (
        "uploads.extend",
        "ok upload_not_found not_owner upload_deleted upload_completed upload_abandoned \
         upload_lapsed upload_expired ttl_too_long expiry_not_later",
    ),
    (
        "uploads.abandon",
        "ok upload_not_found not_owner upload_deleted upload_completed upload_abandoned \
         upload_lapsed",
    ),
    (
        "uploads.download",
        "ok upload_not_found upload_deleted upload_abandoned upload_pending upload_expired \
         downloads_exhausted invalid_request",
    ),
    ("uploads.delete", "ok upload_not_found delete_not_enabled delete_denied invalid_request"),
    ("uploads.read", "ok upload_not_found"),
    ("commands", "ok upload_not_found upload_completed"),
];

fn hash(letter: &str) -> String {
    letter.repeat(64)
}

#[derive(Debug)]
struct Generator {
    dice: Dice,
    ids: Vec<String>,
    blobs: u64,
}

impl Generator {
    fn create(&mut self, at: i128) -> Value {
        let dice = &mut self.dice;
        let mut args = json!({ "size_limit": dice.pick(&[0, 1, 10, 10, 10]) });
        if !dice.once_in(4) {
            args["id"] = json!(dice.pick(&["x", "y", "z", "u/%", "v", "w"]));
        }
        if dice.once_in(2) {
            args["owner"] = json!(dice.pick(&["o", "p"]));
        }
        if dice.once_in(2) {
            args["ttl_ns"] = json!(dice.pick(&[10 * MS_NS, 50 * MS_NS, 100 * MS_NS, WEEK_NS]));
        }
        if dice.once_in(2) {
            let later = *dice.pick(&[10, 40, 100, 400]) * MS;
            args["expires_at"] = json!(written(at + later));
        }
        if dice.once_in(2) {
            args["max_downloads"] =
                dice.pick(&[json!(0), json!(1), json!(2), json!("unlimited")]).clone();
        }
        if dice.once_in(2) {
            args["delete_hash"] = json!(hash("a"));
        }
        let extra = match dice.below(40) {
            0 => json!({ "ttl_ns": WEEK_NS + 1 }),
            1 => {
                json!({ "ttl_ns": WEEK_NS + 1, "expires_at": written(at), "size_limit": 101, "payload_max": 100 })
            }
            2 => json!({ "expires_at": written(at) }),
            3 => json!({ "expires_at": written(at + 1) }),
            4 => json!({ "size_limit": 101, "payload_max": 100 }),
            5 => json!({ "size_limit": 104_857_601 }),
            6 => json!({ "size_limit": -1 }),
            7 => json!({ "charge": [{ "quota": "q" }] }),
            8 => {
                json!({ "charge": [{ "policy": "p", "key": "k", "units": 2 }, { "quota": "q", "bytes": true }], "size_limit": 5 })
            }
            9 => json!({ "charge": [{ "policy": "p", "key": "k" }] }),
            10 => json!({ "charge": [{ "quota": "q" }, { "quota": "q", "units": 2 }] }),
            11 => {
                json!({ "charge": (0..17).map(|place| json!({ "quota": place.to_string() })).collect::<Value>() })
            }
            12 => json!({ "charge": [{ "quota": "q", "bytes": true }], "size_limit": 0 }),
            13 => json!({ "auto_delete": true, "labels": { "type": "text" } }),
            14 => json!({ "charge": [{ "quota": "q" }], "ttl_ns": WEEK_NS + 1 }),
            _ => json!({}),
        };
        if let (Value::Object(args), Value::Object(extra)) = (&mut args, extra) {
            args.extend(extra);
        }
        args
    }

    fn id(&mut self) -> String {
        let newest = self.ids.len().saturating_sub(5);
        if self.ids.is_empty() || self.dice.once_in(40) {
            return "nobody".to_owned();
        }
        self.dice.pick(&self.ids[newest..]).clone()
    }

    fn publish(&mut self, at: i128) -> Value {
        let id = self.id();
        let dice = &mut self.dice;
        if !dice.once_in(20) {
            self.blobs += 1;
        }
        let age = *dice.pick(&[0, 0, 0, 10, 10, 20]) * MS;
        let mut args = json!({
            "id": id, "blob": format!("b{}", self.blobs), "sha256": hash("C"),
            "size": dice.pick(&[0, 0, 1, 1, 10, 11]), "started_at": written(at - age),
        });
        if dice.once_in(3) {
            args["publish_window_ns"] = json!(dice.pick(&[10 * MS_NS, 10 * MS_NS + 1]));
        }
        args
    }

    fn command(&mut self, at: i128) -> Command {
        let id = self.id();
        let (cmd, mut args) = match self.dice.below(24) {
            0..=3 => ("uploads.create", self.create(at)),
            4..=8 => ("uploads.publish", self.publish(at)),
            9..=12 => {
                let mut args = json!({ "id": id });
                if self.dice.once_in(4) {
                    args["generation"] = json!(self.dice.below(3));
                }
                ("uploads.complete", args)
            }
            13..=15 => {
                let ttl =
                    self.dice.pick(&[1, 50 * MS_NS, 200 * MS_NS, WEEK_NS, WEEK_NS - 20 * MS_NS]);
                ("uploads.extend", json!({ "id": id, "ttl_ns": ttl }))
            }
            16 => ("uploads.abandon", json!({ "id": id })),
            17..=19 => {
                let mut args = json!({ "id": id });
                if self.dice.once_in(5) {
                    args["grant_ttl_ns"] = json!(self.dice.pick(&[1, WEEK_NS, WEEK_NS + 1]));
                }
                ("uploads.download", args)
            }
            20 => {
                let secret = self.dice.pick(&["a", "a", "b", "?"]);
                ("uploads.delete", json!({ "id": id, "secret_hash": hash(secret) }))
            }
            _ => ("uploads.read", json!({ "id": id })),
        };
        let owned = ["uploads.publish", "uploads.complete", "uploads.extend", "uploads.abandon"];
        if owned.contains(&cmd) && !self.dice.once_in(4) {
            args["owner"] = json!(self.dice.pick(&["o", "o", "p"]));
        }
        (cmd, args)
    }
}

fn id_of(reply: &Value) -> Option<String> {
    Some(reply.get("upload")?.get("id")?.as_str()?.to_owned())
}

/// As many generations as there may be, and one more.
fn too_many_generations(pair: &mut Pair, counts: &mut Counts) {
    pair.send("uploads.create", json!({ "id": "many", "size_limit": 9 }), 0);
    for place in 0..18 {
        let args = json!({ "id": "many", "blob": format!("many{place}"), "sha256": hash("d"),
            "size": if place == 17 { 10 } else { 9 }, "started_at": written(0) });
        let commands = [("uploads.publish", args)];
        let answer = pair.send_all(&commands, 0);
        counts.count(&commands, &answer);
        let Answer::No { code, .. } = answer else {
            assert!(place < 16);
            continue;
        };
        let expected = if place == 16 { "too_many_generations" } else { "payload_too_large" };
        assert_eq!(code, expected);
    }
    pair.send("uploads.complete", json!({ "id": "many" }), 0);
}

/// Commands on quotas and rates beside those on uploads, and uploads that are charged.
impl Generator {
    fn charged(&mut self, at: i128) -> Command {
        let dice = &mut self.dice;
        let quota = *dice.pick(&["q", "q", "b", "e"]);
        match dice.below(40) {
            0 => ("quotas.revoke", json!({ "id": quota })),
            1..=2 => ("quotas.reactivate", json!({ "id": quota })),
            3 => ("quotas.set_limit", json!({ "id": quota, "limit": dice.below(30) })),
            4 => ("quotas.reset", json!({ "id": quota })),
            5 => ("quotas.consume", json!({ "id": quota, "units": dice.below(3) })),
            6..=8 => ("quotas.read", json!({ "id": quota })),
            9 => {
                let end = written(at + *dice.pick(&[1, 10, 100, 1_000, 100_000]) * MS);
                ("quotas.configure", json!({ "id": "e", "expires_at": end }))
            }
            10 => ("counters.read", json!({ "policy": "p", "key": "k" })),
            11 => (
                "checks.consume",
                json!({ "items": [{ "policy": "p", "key": "k" }, { "quota": quota }] }),
            ),
            12..=20 => {
                let mut args = self.create(at);
                let dice = &mut self.dice;
                let bytes = dice.once_in(2);
                let mut items = vec![match bytes {
                    true => json!({ "quota": quota, "bytes": true }),
                    false => json!({ "quota": quota, "units": 1 + dice.below(4) }),
                }];
                if dice.once_in(4) {
                    items.clear();
                }
                if items.is_empty() || dice.once_in(3) {
                    items.push(
                        json!({ "policy": dice.pick(&["p", "c"]), "key": dice.pick(&["k", "l"]) }),
                    );
                }
                args["charge"] = items.into();
                ("uploads.create", args)
            }
            _ => self.command(at),
        }
    }
}

/// Answers that only uploads with a charge get.
const REACHED_CHARGED: &[(&str, &str)] = &[
    (
        "uploads.create",
        "ok quota_revoked quota_expired ttl_too_long too_many_holds quota_exceeded exceeds_limit \
         rate_limited",
    ),
    ("uploads.publish", "ok quota_revoked quota_expired"),
    ("uploads.complete", "ok quota_revoked quota_expired upload_completed"),
    ("uploads.extend", "ok quota_revoked quota_expired ttl_too_long"),
    ("uploads.abandon", "ok upload_lapsed"),
    ("uploads.delete", "ok"),
];

#[test]
fn the_rules_answer_what_the_models_say_of_uploads_that_cost() {
    let mut dice = Dice::of(3);
    let mut counts = Counts::default();
    for _ in 0..SEQUENCES_THAT_COST {
        let mut pair = Pair::default();
        for (id, limit) in [("q", 12), ("b", 25), ("e", 1_000)] {
            let args = json!({ "id": id, "limit": limit });
            assert!(matches!(pair.send("quotas.create", args, 0), Answer::Yes { .. }));
        }
        let window = json!({ "id": "p", "algorithm": "fixed_window", "align": "first_hit",
                             "limit": 2, "period_ns": 400 * MS_NS });
        assert!(matches!(pair.send("policies.set", window, 0), Answer::Yes { .. }));
        let leases =
            json!({ "id": "c", "algorithm": "concurrency", "limit": 2, "max_open_holds": 1 });
        assert!(matches!(pair.send("policies.set", leases, 0), Answer::Yes { .. }));
        let mut generator = Generator { dice: dice.fork(), ids: Vec::new(), blobs: 0 };
        let mut at = 0;
        for _ in 0..COMMANDS {
            at += *dice.pick(&[0, 0, 0, 1, 5, 10, 10, 50]) * MS + i128::from(dice.once_in(9));
            let size = if dice.once_in(10) { 1 + dice.below(4) } else { 1 };
            let mut commands: Vec<Command> = (0..size).map(|_| generator.charged(at)).collect();
            if 1 < size {
                commands.retain(is_legible);
            }
            if commands.is_empty() {
                continue;
            }
            let answer = pair.send_all(&commands, at);
            counts.count(&commands, &answer);
            if let Answer::Yes { reply, .. } = answer {
                for (reply, (cmd, _)) in reply.as_array().unwrap().iter().zip(&commands) {
                    let made = id_of(reply).filter(|_| *cmd == "uploads.create");
                    generator.ids.extend(made);
                }
            }
        }
    }
    counts.assert_reached(REACHED_CHARGED);
}

#[test]
fn the_rules_answer_what_the_model_says() {
    let mut dice = Dice::of(2);
    let mut counts = Counts::default();
    for sequence in 0..SEQUENCES {
        let mut pair = Pair::default();
        let mut generator = Generator { dice: dice.fork(), ids: Vec::new(), blobs: 0 };
        let mut at = 0;
        if sequence % 100 == 0 {
            too_many_generations(&mut pair, &mut counts);
        }
        for _ in 0..COMMANDS {
            at += *dice.pick(&[0, 0, 0, 1, 5, 10, 10, 50]) * MS + i128::from(dice.once_in(9));
            let size = if dice.once_in(10) { 1 + dice.below(4) } else { 1 };
            let mut commands: Vec<Command> = (0..size).map(|_| generator.command(at)).collect();
            if 1 < size {
                commands.retain(is_legible);
            }
            if commands.is_empty() {
                continue;
            }
            let answer = pair.send_all(&commands, at);
            counts.count(&commands, &answer);
            if let Answer::Yes { reply, .. } = answer {
                for (reply, (cmd, _)) in reply.as_array().unwrap().iter().zip(&commands) {
                    let made = id_of(reply).filter(|_| *cmd == "uploads.create");
                    generator.ids.extend(made);
                }
            }
        }
    }
    counts.assert_reached(REACHED);
}

/// Kinds of commands that are sent together: every three on an upload, and creates with some.
fn triples() -> Vec<[&'static str; 3]> {
    const KINDS: [&str; 6] = [
        "uploads.publish",
        "uploads.complete",
        "uploads.extend",
        "uploads.abandon",
        "uploads.download",
        "uploads.delete",
    ];
    let mut triples = vec![
        ["uploads.create", "uploads.publish", "uploads.complete"],
        ["uploads.create", "uploads.extend", "uploads.delete"],
        ["uploads.create", "uploads.abandon", "uploads.read"],
    ];
    triples.extend(every_three(&KINDS));
    triples
}

/// The commands of a kind, by two callers, of no bytes, as many as there may be, and one more.
fn letters(kind: &'static str, place: usize, at: i128) -> Vec<Command> {
    let mut letters = Vec::new();
    for (owner, secret) in [("o", "a"), ("p", "b")] {
        // Whatever a stranger says is refused before its amount is looked at.
        let amounts: &[u64] =
            if owner == "o" || kind == "uploads.create" { &[0, 3, 4] } else { &[0] };
        for &amount in amounts {
            let args = match kind {
                "uploads.create" => json!({
                    "id": "x", "owner": owner, "size_limit": amount, "ttl_ns": 10 * MS_NS,
                    "payload_max": 3, "max_downloads": amount, "delete_hash": hash("a"),
                }),
                "uploads.publish" => json!({
                    "id": "x", "owner": owner, "size": amount, "sha256": hash("c"),
                    "blob": format!("b{place}"), "started_at": written(at),
                }),
                "uploads.extend" => {
                    let span = amount * MS_NS + 1;
                    json!({ "id": "x", "owner": owner, "ttl_ns": span })
                }
                "uploads.complete" if 0 < amount => {
                    json!({ "id": "x", "owner": owner, "generation": amount - 2 })
                }
                _ if 0 < amount => continue,
                "uploads.complete" | "uploads.abandon" => json!({ "id": "x", "owner": owner }),
                "uploads.delete" => json!({ "id": "x", "secret_hash": hash(secret) }),
                _ if owner == "o" => json!({ "id": "x" }),
                _ => continue,
            };
            letters.push((kind, args));
        }
    }
    letters
}

/// What there is before the commands that are enumerated.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Start {
    Nothing,
    Pending,
    Published,
    Completed,
}

/// Three kinds of commands at a time, at most four commands on an upload in each of its statuses,
/// at instants before, at and after its end.
#[test]
fn enumerate_uploads() {
    let mut counts = Counts::default();
    for kinds in triples() {
        if kinds.contains(&"uploads.create") {
            enumerate(kinds, (Start::Nothing, json!({})), &mut counts);
            continue;
        }
        // Its time to be completed ends, or its time to be used.
        let lapses = json!({ "ttl_ns": 10 * MS_NS });
        let expires = json!({ "expires_at": written(10 * MS), "ttl_ns": 12 * MS_NS });
        enumerate(kinds, (Start::Pending, lapses), &mut counts);
        enumerate(kinds, (Start::Published, expires.clone()), &mut counts);
        enumerate(kinds, (Start::Completed, expires), &mut counts);
    }
    counts.assert_reached(&[]);
    println!("{} sequences", counts.total());
    assert_eq!(counts.total(), 57_161);
}

fn enumerate(kinds: [&'static str; 3], (start, ends): (Start, Value), counts: &mut Counts) {
    let mut pair = Pair::default();
    if start != Start::Nothing {
        let mut args = json!({
            "id": "x", "owner": "o", "size_limit": 3, "max_downloads": 1, "delete_hash": hash("a"),
        });
        args.as_object_mut().unwrap().extend(ends.as_object().unwrap().clone());
        pair.send("uploads.create", args, 0);
    }
    if matches!(start, Start::Published | Start::Completed) {
        let args = json!({ "id": "x", "owner": "o", "size": 2, "sha256": hash("c"),
            "blob": "first", "started_at": written(0) });
        pair.send("uploads.publish", args, 0);
    }
    if start == Start::Completed {
        pair.send("uploads.complete", json!({ "id": "x", "owner": "o" }), 0);
    }
    let alphabet = |answers: &[Answer], at: i128| {
        kinds.iter().flat_map(|kind| letters(kind, answers.len(), at)).collect()
    };
    let enumeration = Enumeration { alphabet: &alphabet, instants: &[9 * MS, 10 * MS, 11 * MS] };
    enumeration.extend((&pair, &mut Vec::new()), 4, counts);
}
