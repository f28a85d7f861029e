//! `law.time`: no record's versions go back in time, and no decision is earlier than what it reads.

use std::collections::BTreeMap;

use serde_json::json;

use super::{How, MS, MS_NS, World, hold, issue, publish, quota, redeem, upload};
use crate::partition::{Command, Dice};

const SEQUENCES: u64 = 300;
const COMMANDS: u64 = 30;

#[test]
fn law_time() {
    let mut dice = Dice::of(5);
    let (mut raised, mut kept) = (0_u64, 0_u64);
    for _ in 0..SEQUENCES {
        let mut world = World::of(&[quota(json!({}))]);
        let id = issue(&mut world, json!({}));
        let gcra = json!({ "id": "p", "algorithm": "gcra", "rate": 3, "burst": 5,
                           "period_ns": 10 * MS_NS });
        let rate = json!({ "id": "p", "key": "k" });
        let commands: Vec<Command> = vec![
            ("policies.set", gcra),
            ("policies.consume", rate.clone()),
            ("policies.reset", rate),
            ("quotas.consume", json!({ "id": "q" })),
            ("quotas.reset", json!({ "id": "q" })),
            ("quotas.set_limit", json!({ "id": "q", "limit": 9 })),
            hold(),
            ("holds.capture", json!({ "id": "h" })),
            ("holds.extend", json!({ "id": "h", "ttl_ns": 30 * MS_NS })),
            upload(json!({})),
            publish("b"),
            ("uploads.complete", json!({ "id": "u" })),
            redeem(&id),
            ("tickets.revoke", json!({ "id": id, "by": "s" })),
            ("quotas.read", json!({ "id": "q" })),
            ("uploads.read", json!({ "id": "u" })),
        ];
        // When each record was last written, and at which version.
        let mut written: BTreeMap<String, (i128, u64)> = BTreeMap::new();
        for _ in 0..COMMANDS {
            let now = i128::from(dice.below(20)) * MS + i128::from(dice.below(3)) - 1;
            let many = 1 + dice.below(2);
            let list: Vec<Command> = (0..many).map(|_| dice.pick(&commands).clone()).collect();
            let key = format!("k{}", dice.below(9));
            let key = dice.once_in(3).then_some(key.as_str());
            let how = How { key, dry_run: false };
            let told = world.send_all(&list, now.max(0), how);
            let reads = told.reads.iter().map(ToString::to_string);
            let latest = reads.filter_map(|read| Some(written.get(&read)?.0)).max();
            let wanted = latest.unwrap_or(0).max(now.max(0));
            if told.replayed {
                assert!(told.at <= wanted, "{list:?}");
                continue;
            }
            // Raised, it may see what it did not see before, and in the end not read again what it was
            // raised to; but it is never raised to a time at which nothing was written.
            let is_known = told.at == now.max(0) || written.values().any(|(at, _)| *at == told.at);
            assert!(wanted <= told.at && is_known, "{list:?} at {now}: {told:?}");
            *(if now.max(0) < told.at { &mut raised } else { &mut kept }) += 1;
            for (record, version) in told.versions {
                let (before, earlier) =
                    written.insert(record, (told.at, version)).unwrap_or_default();
                assert!(before <= told.at && earlier < version, "{list:?}");
            }
            if let (Some(key), "ok") = (key, told.code.as_str()) {
                written.insert(format!("outcomes/{key}"), (told.at, 0));
            }
        }
    }
    println!("{raised} raised, {kept} as they were");
    assert!(1_000 < raised && 1_000 < kept);
}
