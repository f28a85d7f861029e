//! `law.replay`: a key and its content are told the receipt again, until its retention ends; another
//! content is refused; another partition knows nothing of it.

use std::collections::BTreeMap;

use bellpunch::{Partition, command, fingerprint};
use serde_json::{Value, json};

use super::{DAY, Told, World, quota};
use crate::partition::Command;

/// What should be known of a key: the content, its receipt, and until when.
type Known = BTreeMap<&'static str, (usize, Told, i128)>;

/// Two contents of one command: one unit, and all there are.
fn contents() -> [Command; 2] {
    [1, 5].map(|units| ("quotas.consume", json!({ "id": "q", "units": units })))
}

/// Sends what comes next, compares, and goes on. Two callers share their keys; the third kind has none.
fn extend(world: &World, (known, used): (&Known, u64), (length, from): (usize, usize)) -> u64 {
    const INSTANTS: [i128; 3] = [7 * DAY - 1, 7 * DAY, 7 * DAY + 1];
    let mut cases = 0;
    if length == 0 {
        return cases;
    }
    for (place, now) in INSTANTS.into_iter().enumerate().skip(from) {
        for key in [Some("a"), Some("b"), None] {
            for (content, sent) in contents().iter().enumerate() {
                let (mut world, mut known, mut used) = (world.clone(), known.clone(), used);
                let told = match key {
                    Some(key) => world.under(key, sent, now),
                    None => world.send(sent.0, sent.1.clone(), now),
                };
                cases += 1;
                let before = key.and_then(|key| known.get(key)).filter(|known| now < known.2);
                if let Some((earlier, receipt, _)) = before {
                    if *earlier == content {
                        assert!(told.replayed);
                        let same = Told { replayed: false, reads: receipt.reads.clone(), ..told };
                        assert_eq!(same, Told { deadline: None, ..receipt.clone() });
                    } else {
                        assert_eq!(told.code, "idempotency_key_reused");
                        let at = crate::partition::written(receipt.at);
                        assert_eq!(told.body, json!({ "at": at }));
                    }
                } else {
                    assert!(!told.replayed);
                    let units = [1, 5][content];
                    let fits = used + units <= 5;
                    assert_eq!(told.code, if fits { "ok" } else { "quota_exceeded" });
                    assert!(told.at == now);
                    if fits {
                        used += units;
                        assert_eq!(told.body["quota"]["used"], used);
                        if let Some(key) = key {
                            known.insert(key, (content, told, now + 7 * DAY));
                        }
                    }
                }
                cases += asked(&mut world, &known, now);
                cases += extend(&world, (&known, used), (length - 1, place));
            }
        }
    }
    cases
}

/// Asks for each key's outcome.
fn asked(world: &mut World, known: &Known, now: i128) -> u64 {
    for key in ["a", "b"] {
        let told = world.send("outcomes.read", json!({ "id": key }), now).ok();
        match known.get(key).filter(|known| now < known.2) {
            Some((_, receipt, _)) => {
                assert_eq!(told.body["status"], "applied");
                assert_eq!(told.body["receipt"]["replies"], json!([receipt.body]));
                assert_eq!(told.body["receipt"]["versions"], json!(receipt.versions));
            }
            None => assert_eq!(told.body, json!({ "status": "not_applied" })),
        }
    }
    2
}

/// At most four commands: one under a key at the start, and then three around the end of its
/// retention, under the same key, another or none, of the same content or another.
#[test]
fn law_replay() {
    let mut cases = 0;
    for (content, sent) in contents().iter().enumerate() {
        let mut world = World::of(&[quota(json!({}))]);
        let told = world.under("a", sent, 0).ok();
        let known = Known::from([("a", (content, told, 7 * DAY))]);
        cases += 1 + extend(&world, (&known, [1, 5][content]), (3, 0));
    }
    println!("{cases} cases");
    assert_eq!(cases, 14_366);
}

/// A key in another partition is another key, and so is the same content there.
#[test]
fn law_replay_is_of_one_partition() {
    let [one, _] = contents();
    let parsed = (command(one.0).unwrap().parse)(one.1.clone()).unwrap();
    let of =
        |name: &str| fingerprint(&Partition::new(name).unwrap(), std::slice::from_ref(&parsed));
    assert_ne!(of("a"), of("b"));
    let mut worlds = [World::of(&[quota(json!({}))]), World::of(&[quota(json!({}))])];
    let used: Vec<Value> = worlds
        .iter_mut()
        .map(|world| {
            let told = world.under("k", &one, 0).ok();
            assert!(!told.replayed);
            told.body["quota"]["used"].clone()
        })
        .collect();
    assert_eq!(used, [1, 1]);
}
