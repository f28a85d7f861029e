//! `law.expiry`: half open, to the nanosecond, of everything that ends.

use serde_json::{Value, json};

use super::{
    DAY, How, MS, MS_NS, Told, World, consume, hold, issue, publish, quota, redeem, ticket, upload,
};
use crate::partition::{Command, written};

/// A use of a rate at the start.
fn used(terms: Value) -> Vec<Command> {
    let terms = super::with(terms, json!({ "id": "p", "charges": true }));
    let use_it = json!({ "id": "p", "key": "k", "charge": "a" });
    vec![("policies.set", terms), ("policies.consume", use_it)]
}

fn rate() -> Command {
    ("policies.consume", json!({ "id": "p", "key": "k" }))
}

fn refund() -> Command {
    ("charges.refund", json!({ "id": "a" }))
}

/// What is asked: the start, the question, when the answer turns, and what it is before and from then.
struct Row(&'static str, Vec<Command>, Command, i128, [&'static str; 2]);

/// What ends by being used up or refused.
fn limits() -> Vec<Row> {
    let expiring = || vec![quota(json!({ "expires_at": written(10 * MS) })), consume(1)];
    let held = || vec![quota(json!({ "limit": 1 })), hold()];
    let kept = || vec![quota(json!({ "charges": { "keep_ns": 10 * MS_NS } })), consume(1)];
    let refills = json!({ "limit": 1, "refill": { "amount": 1, "period_ns": 10 * MS_NS } });
    let one = || ("quotas.consume", json!({ "id": "q" }));
    let captured = |cmd| (cmd, json!({ "id": "h" }));
    let end = 10 * MS;
    vec![
        Row("a quota", expiring(), one(), end, ["ok", "quota_expired"]),
        Row("a quota that a hold wants", expiring(), hold(), 1, ["ok", "ttl_too_long"]),
        Row("a hold to capture", held(), captured("holds.capture"), end, ["ok", "hold_expired"]),
        Row("a hold to void", held(), captured("holds.void"), end, ["ok", "hold_expired"]),
        Row(
            "a hold to extend",
            held(),
            ("holds.extend", json!({ "id": "h", "ttl_ns": 50 * MS_NS })),
            end,
            ["ok", "hold_expired"],
        ),
        Row("what a hold held", held(), one(), end, ["quota_exceeded", "ok"]),
        Row(
            "a hold that is over",
            held(),
            captured("holds.read"),
            end + 7 * DAY,
            ["ok", "hold_not_found"],
        ),
        Row("a refill", vec![quota(refills), consume(1)], one(), end, ["quota_exceeded", "ok"]),
        Row(
            "a charge to read",
            kept(),
            ("charges.read", json!({ "id": "a" })),
            end,
            ["ok", "charge_not_found"],
        ),
        Row("a charge to refund", kept(), refund(), end, ["ok", "charge_not_found"]),
        Row("a charge's name", kept(), consume(1), end, ["charge_exists", "ok"]),
    ]
}

fn rates() -> Vec<Row> {
    let period = 10 * MS_NS;
    let end = 10 * MS;
    let first = json!({ "algorithm": "fixed_window", "align": "first_hit", "limit": 1, "period_ns": period });
    let epoch =
        json!({ "algorithm": "fixed_window", "align": "epoch", "limit": 1, "period_ns": period });
    let counter = json!({ "algorithm": "sliding_counter", "limit": 1, "period_ns": period });
    let log = json!({ "algorithm": "sliding_log", "limit": 1, "period_ns": period });
    let gcra = json!({ "algorithm": "gcra", "rate": 1, "burst": 1, "period_ns": period });
    let thirds = json!({ "algorithm": "gcra", "rate": 3, "burst": 1, "period_ns": period });
    let day = json!({ "algorithm": "calendar", "unit": "day", "zone": "UTC", "limit": 1 });
    let lease = json!({ "id": "p", "algorithm": "concurrency", "limit": 1 });
    let leased = |id: &str| {
        let items = json!([{ "policy": "p", "key": "k", "units": 1 }]);
        ("holds.create", json!({ "id": id, "items": items, "ttl_ns": period }))
    };
    // The start is at 08:00.
    let midnight = 16 * 3_600_000 * MS;
    let limited = ["rate_limited", "ok"];
    let over = ["ok", "charge_window_over"];
    vec![
        Row("a window from the first use", used(first.clone()), rate(), end, limited),
        Row("a window since the epoch", used(epoch.clone()), rate(), end, limited),
        Row("a sliding count", used(counter.clone()), rate(), 2 * end, limited),
        Row("a log", used(log.clone()), rate(), end, limited),
        Row("a bucket", used(gcra), rate(), end, limited),
        Row("a third of a period, rounded up", used(thirds), rate(), 3_333_334, limited),
        Row("a day", used(day.clone()), rate(), midnight, limited),
        Row("a lease", vec![("policies.set", lease), leased("h")], leased("i"), end, limited),
        Row("a refund in a window", used(first), refund(), end, over),
        Row("a refund in one since the epoch", used(epoch), refund(), end, over),
        Row("a refund in a sliding count", used(counter), refund(), 2 * end, over),
        Row("a refund in a log", used(log), refund(), end, over),
        Row("a refund in a day", used(day), refund(), midnight, over),
    ]
}

fn uploads() -> Vec<Row> {
    let end = 10 * MS;
    let by_id = |cmd| (cmd, json!({ "id": "u" }));
    let lapsing = || vec![upload(json!({})), publish("b")];
    let expiring = || {
        vec![upload(json!({ "expires_at": written(10 * MS), "ttl_ns": 20 * MS_NS })), publish("b")]
    };
    let mut completed = expiring();
    completed.push(by_id("uploads.complete"));
    let lapses = ["ok", "upload_lapsed"];
    let expires = ["ok", "upload_expired"];
    let extended = ("uploads.extend", json!({ "id": "u", "ttl_ns": 50 * MS_NS }));
    let (cmd, args) = publish("c");
    let slow = (cmd, super::with(args, json!({ "publish_window_ns": 5 * MS_NS })));
    vec![
        Row("an upload to publish", lapsing(), publish("c"), end, lapses),
        Row("an upload to complete", lapsing(), by_id("uploads.complete"), end, lapses),
        Row("an upload to extend", lapsing(), extended, end, lapses),
        Row("an upload to abandon", lapsing(), by_id("uploads.abandon"), end, lapses),
        Row("an end to publish before", expiring(), publish("c"), end, expires),
        Row("an end to complete before", expiring(), by_id("uploads.complete"), end, expires),
        Row("an end to download before", completed, by_id("uploads.download"), end, expires),
        Row("a window to publish in", lapsing(), slow, 5 * MS, ["ok", "blob_too_old"]),
    ]
}

fn tickets() -> Vec<Row> {
    let end = 10 * MS;
    let pending = || ticket(json!({ "approved": false, "one_pending": true }));
    let limited = || {
        ticket(json!({ "ttl_ns": MS_NS, "issue_limit": { "count": 1, "period_ns": 10 * MS_NS } }))
    };
    vec![
        Row("one pending", vec![pending()], pending(), end, ["already_pending", "ok"]),
        Row("an issue", vec![limited()], limited(), end, ["issue_limit_exceeded", "ok"]),
    ]
}

fn ask(start: &World, (cmd, args): &Command, at: i128) -> Told {
    start.clone().send_all(&[(cmd, args.clone())], at, How::default())
}

#[test]
fn law_expiry() {
    let mut cases = 0;
    let rows = [limits(), rates(), uploads(), tickets()].into_iter().flatten();
    for Row(what, start, asked, end, [before, from]) in rows {
        let start = World::of(&start);
        let told = ask(&start, &asked, end - 1);
        assert_eq!(told.code, before, "{what}: {told:?}");
        // What was taken because it has not ended yet may not land after it has; but for what gives
        // back, which is as good late.
        let gives = ["holds.void", "charges.refund"].contains(&asked.0);
        if before == "ok" && !asked.0.ends_with(".read") && !gives {
            assert!(
                told.deadline.is_some_and(|deadline| deadline <= end.max(10 * MS)),
                "{what}: {told:?}"
            );
        }
        for at in [end, end + 1] {
            let told = ask(&start, &asked, at);
            assert_eq!(told.code, from, "{what}, {at}: {told:?}");
        }
        cases += 1;
    }
    println!("{cases} ends");
    assert_eq!(cases, 34);
}

/// A ticket's id is drawn, and so these are asked apart.
#[test]
fn law_expiry_of_tickets() {
    for approved in [false, true] {
        let mut world = World::default();
        let id = issue(&mut world, json!({ "approved": approved }));
        let asked = match approved {
            true => redeem(&id),
            false => ("tickets.approve", json!({ "id": id, "holder": "c" })),
        };
        let told = ask(&world, &asked, 10 * MS - 1).ok();
        assert_eq!(told.deadline, Some(10 * MS));
        for at in [10 * MS, 10 * MS + 1] {
            assert_eq!(ask(&world, &asked, at).code, "ticket_expired");
        }
        let sweep = ("tickets.expire", json!({ "ids": [id] }));
        assert_eq!(ask(&world, &sweep, 10 * MS - 1).code, "nothing_to_expire");
        ask(&world, &sweep, 10 * MS).ok();
    }
}

/// An outcome is told until its retention ends; a retry from then on is a new command.
#[test]
fn law_expiry_of_outcomes() {
    let mut world = World::of(&[quota(json!({}))]);
    let one = ("quotas.consume", json!({ "id": "q" }));
    world.under("k", &one, 0).ok();
    for (at, replayed, status) in [(7 * DAY - 1, true, "applied"), (7 * DAY, false, "not_applied")]
    {
        let read = ask(&world, &("outcomes.read", json!({ "id": "k" })), at);
        assert_eq!(read.body["status"], status);
        assert_eq!(world.clone().under("k", &one, at).ok().replayed, replayed);
    }
}
