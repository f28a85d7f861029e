//! `law.once`: of any number of redeems, captures and completes of one thing, at most one is taken.

use serde_json::json;

use super::{How, MS, MS_NS, World, hold, issue, publish, quota, redeem, upload};
use crate::partition::{Command, Dice};

const SEQUENCES: u64 = 400;
const COMMANDS: u64 = 25;

#[test]
fn law_once() {
    let mut dice = Dice::of(4);
    let mut taken_at_all = [0_u64; 3];
    for _ in 0..SEQUENCES {
        let mut world = World::of(&[quota(json!({})), hold(), upload(json!({})), publish("b")]);
        let id = issue(&mut world, json!({ "partial": dice.once_in(2) }));
        let last = [
            redeem(&id),
            ("holds.capture", json!({ "id": "h" })),
            ("uploads.complete", json!({ "id": "u" })),
        ];
        let mut others: Vec<Command> = vec![
            ("tickets.approve", json!({ "id": id, "holder": "c" })),
            ("tickets.revoke", json!({ "id": id, "by": "s" })),
            ("holds.extend", json!({ "id": "h", "ttl_ns": 20 * MS_NS })),
            ("holds.void", json!({ "id": "h" })),
            ("uploads.extend", json!({ "id": "u", "ttl_ns": 20 * MS_NS })),
            ("quotas.reset", json!({ "id": "q" })),
            publish("c"),
        ];
        others.extend(last.iter().cloned());
        others.extend(last.iter().cloned());
        let (mut taken, mut now) = ([0_u64; 3], 0);
        for _ in 0..COMMANDS {
            // The clock goes back as well.
            now += *dice.pick(&[0, 0, 1, MS, -MS]);
            let many = 1 + dice.below(3);
            let commands: Vec<Command> = (0..many).map(|_| dice.pick(&others).clone()).collect();
            let key = format!("k{}", dice.below(9));
            let how = How { key: dice.once_in(3).then_some(&key), dry_run: dice.once_in(8) };
            let told = world.send_all(&commands, now.max(0), how);
            if told.code != "ok" || told.replayed || how.dry_run {
                continue;
            }
            for (count, (kind, _)) in taken.iter_mut().zip(&last) {
                let of_kind = commands.iter().filter(|(cmd, _)| cmd == kind).count();
                *count += u64::try_from(of_kind).unwrap();
            }
        }
        assert!(taken.iter().all(|count| *count <= 1), "{taken:?}");
        for (all, one) in taken_at_all.iter_mut().zip(taken) {
            *all += one;
        }
    }
    println!("{taken_at_all:?} of {SEQUENCES} sequences");
    assert!(taken_at_all.iter().all(|count| SEQUENCES <= 4 * count), "{taken_at_all:?}");
}
