//! `law.terminal`: what is over stays as it ended, whatever is asked of it, and whenever.

use serde_json::{Value, json};

use super::{DAY, How, MS, MS_NS, World, consume, hold, issue, publish, quota, redeem, upload};
use crate::partition::Command;

/// Every command that names a ticket, by everyone.
fn on_ticket(id: &str) -> Vec<Command> {
    let mut all = vec![redeem(id), ("tickets.expire", json!({ "ids": [id] }))];
    for by in ["c", "s", "m"] {
        all.push(("tickets.approve", json!({ "id": id, "holder": by })));
        all.push(("tickets.reject", json!({ "id": id, "holder": by })));
        all.push(("tickets.cancel", json!({ "id": id, "by": by })));
        all.push(("tickets.revoke", json!({ "id": id, "by": by })));
    }
    all
}

fn on_hold() -> Vec<Command> {
    vec![
        ("holds.capture", json!({ "id": "h" })),
        ("holds.capture", json!({ "id": "h", "units": 0 })),
        ("holds.void", json!({ "id": "h" })),
        ("holds.extend", json!({ "id": "h", "ttl_ns": 50 * MS_NS })),
        hold(),
    ]
}

fn on_upload() -> Vec<Command> {
    vec![
        publish("other"),
        ("uploads.complete", json!({ "id": "u" })),
        ("uploads.extend", json!({ "id": "u", "ttl_ns": 50 * MS_NS })),
        ("uploads.abandon", json!({ "id": "u" })),
        ("uploads.download", json!({ "id": "u" })),
        ("uploads.delete", json!({ "id": "u", "secret_hash": "a".repeat(64) })),
        upload(json!({})),
    ]
}

/// Asks everything of what is over, alone and after another, at every instant; gives how often.
fn stays(world: &World, (read, path): (&Command, &str), status: &str, all: &[Command]) -> u64 {
    let mut cases = 0;
    // A hold is forgotten a week after its end.
    for at in [10 * MS, 10 * MS + 1, DAY, 6 * DAY] {
        for first in all {
            for second in all {
                let mut world = world.clone();
                let one = world.send_all(std::slice::from_ref(first), at, How::default());
                let two = world.send_all(std::slice::from_ref(second), at, How::default());
                let told = world.send(read.0, read.1.clone(), at).ok();
                let found = told.body.pointer(path).and_then(Value::as_str);
                assert_eq!(found, Some(status), "{first:?} {one:?} {second:?} {two:?}");
                cases += 1;
            }
        }
    }
    cases
}

#[test]
fn law_terminal() {
    let mut cases = 0;
    let tickets: [(&str, Option<&str>); 4] = [
        ("used", Some("tickets.redeem")),
        ("rejected", Some("tickets.reject")),
        ("cancelled", Some("tickets.revoke")),
        ("expired", None),
    ];
    for (status, end) in tickets {
        let mut world = World::default();
        let id = issue(&mut world, json!({ "approved": status != "rejected" }));
        let ends: Vec<Command> =
            on_ticket(&id).into_iter().filter(|(cmd, _)| Some(*cmd) == end).collect();
        for (cmd, args) in ends {
            world.send(cmd, args, 0);
        }
        let read = ("tickets.read", json!({ "id": id }));
        cases += stays(&world, (&read, "/ticket/status"), status, &on_ticket(&id));
    }
    let holds = [("captured", Some(0)), ("voided", Some(2)), ("expired", None)];
    for (status, end) in holds {
        let mut world = World::of(&[quota(json!({})), consume(1), hold()]);
        if let Some(end) = end {
            let (cmd, args) = on_hold()[end].clone();
            world.send(cmd, args, 0).ok();
        }
        let read = ("holds.read", json!({ "id": "h" }));
        cases += stays(&world, (&read, "/hold/status"), status, &on_hold());
    }
    let uploads = [("deleted", Some(5)), ("abandoned", Some(3))];
    for (status, end) in uploads {
        let mut world =
            World::of(&[upload(json!({ "delete_hash": "a".repeat(64) })), publish("b")]);
        if let Some(end) = end {
            let (cmd, args) = on_upload()[end].clone();
            world.send(cmd, args, 0).ok();
        }
        let read = ("uploads.read", json!({ "id": "u" }));
        let mut all = on_upload();
        // An abandoned upload may still be deleted, by who has the secret.
        all.retain(|(cmd, _)| status == "deleted" || *cmd != "uploads.delete");
        cases += stays(&world, (&read, "/upload/status"), status, &all);
    }
    println!("{cases} cases");
    assert_eq!(cases, 3_776);
}
