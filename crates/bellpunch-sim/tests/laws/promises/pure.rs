//! `law.reject_pure`: a refusal leaves nothing behind, however much came before it in its list.

use serde_json::json;

use super::{How, World, consume, hold, issue, publish, quota, redeem, upload};
use crate::partition::Command;

#[test]
fn law_reject_pure() {
    let read: [Command; 3] = [
        ("quotas.read", json!({ "id": "q" })),
        ("holds.read", json!({ "id": "h" })),
        ("uploads.read", json!({ "id": "u" })),
    ];
    let mut world = World::of(&[quota(json!({})), hold(), upload(json!({})), publish("b")]);
    let id = issue(&mut world, json!({}));
    let ticket = ("tickets.read", json!({ "id": id }));
    let shown = |world: &mut World| {
        let reads = read.iter().chain([&ticket]);
        reads.map(|(cmd, args)| world.send(cmd, args.clone(), 0).ok().body).collect::<Vec<_>>()
    };
    let before = shown(&mut world);
    let writes: [Command; 6] = [
        consume(1),
        ("holds.capture", json!({ "id": "h" })),
        ("quotas.set_limit", json!({ "id": "q", "limit": 1 })),
        redeem(&id),
        ("uploads.complete", json!({ "id": "u" })),
        ("policies.set", json!({ "id": "p", "algorithm": "concurrency", "limit": 1 })),
    ];
    let refused = [
        (("quotas.consume", json!({ "id": "nope" })), "quota_not_found"),
        (("holds.void", json!({ "id": "nope" })), "hold_not_found"),
        (redeem("nope"), "ticket_not_found"),
        (("uploads.complete", json!({ "id": "nope" })), "upload_not_found"),
    ];
    let mut cases = 0;
    for many in 1..=writes.len() {
        for (no, code) in &refused {
            let mut commands = writes[..many].to_vec();
            commands.push(no.clone());
            // The same list without the last would be taken.
            let dry = How { dry_run: true, key: None };
            assert_eq!(world.send_all(&commands[..many], 0, dry).code, "ok");
            for key in [None, Some("key")] {
                let told = world.send_all(&commands, 0, How { key, dry_run: false });
                assert_eq!(told.code, *code);
                assert_eq!(shown(&mut world), before, "after {commands:?}");
                cases += 1;
            }
            let outcome = world.send("outcomes.read", json!({ "id": "key" }), 0);
            assert_eq!(outcome.body["status"], "not_applied", "a refusal is not pinned");
        }
    }
    // The same again, taken: it was no fault of the list.
    world.send_all(&writes, 0, How::default()).ok();
    assert_ne!(shown(&mut world), before);
    assert_eq!(cases, 48);
}
