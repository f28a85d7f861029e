//! Sequences whose verdicts were written down by hand, from the description.

use serde_json::{Value, json};

use super::*;

const SECOND: Nanos = 1_000_000_000;

/// One quota, `q`, that is enough to see when it is asked what.
#[derive(Clone, Debug, Default, PartialEq)]
struct OneQuota {
    limit: u64,
    used: u64,
    held: BTreeMap<String, u64>,
    ends: Option<Nanos>,
    revoked: bool,
}

impl Charging for OneQuota {
    fn hold(&mut self, wanted: &Wanted<'_>) -> Result<Held, Refusal> {
        let units = wanted.items[0]["units"].as_u64().unwrap();
        let rest = self.ends.map(|ends| ends - wanted.at);
        let ttl = wanted.ttl.unwrap_or_else(|| wanted.ttl_default.min(rest.unwrap_or(Nanos::MAX)));
        if self.revoked {
            return refuse("quota_revoked", json!({}));
        }
        if let Some(rest) = rest.filter(|rest| *rest < ttl) {
            return refuse("ttl_too_long", json!({ "max_ttl_ns": span(0, rest) }));
        }
        if self.limit < self.used + self.held.values().sum::<u64>() + units {
            return refuse("quota_exceeded", json!({}));
        }
        let id = wanted.drawn.unwrap_or("h").to_owned();
        self.held.insert(id.clone(), units);
        Ok(Held { id, until: wanted.at + ttl, writes: self.writes() })
    }

    fn usable(&self, _: &str, at: Nanos) -> Result<(), Refusal> {
        if self.revoked {
            return refuse("quota_revoked", json!({}));
        }
        if self.ends.is_some_and(|ends| ends <= at) {
            return refuse("quota_expired", json!({}));
        }
        Ok(())
    }

    fn extend(&mut self, hold: &str, until: Nanos, at: Nanos) -> Result<Writes, Refusal> {
        self.usable(hold, at)?;
        match self.ends {
            Some(ends) if ends < until => {
                refuse("ttl_too_long", json!({ "max_ttl_ns": span(at, ends) }))
            }
            Some(_) | None => Ok(self.writes()),
        }
    }

    fn capture(&mut self, hold: &str, units: &[u64], _: Nanos) -> Result<Captured, Refusal> {
        self.held.remove(hold);
        self.used += units[0];
        Ok(Captured { charge: Some(hold.to_owned()), writes: self.writes() })
    }

    fn release(&mut self, hold: &str, _: Nanos) -> Writes {
        self.held.remove(hold);
        self.writes()
    }
}

impl OneQuota {
    fn writes(&self) -> Writes {
        Writes::from(["quotas/q".to_owned()])
    }
}

#[derive(Default)]
struct Desk {
    uploads: Uploads,
    quota: OneQuota,
}

impl Desk {
    fn send(&mut self, second: Nanos, cmd: &str, args: Value) -> Verdict {
        let before = self.quota.clone();
        let told = json!({ "upload": { "id": "drawn", "hold": "h" }, "grant": { "id": "g" } });
        let call = Call { cmd, args: &args, at: second * SECOND, drawn: Some(&told) };
        let verdict = self.uploads.apply(&call, &mut self.quota);
        if matches!(verdict, Verdict::Rejected { .. }) {
            assert_eq!(self.quota, before, "a refusal takes nothing");
        }
        self.uploads.check(call.at).unwrap();
        verdict
    }

    /// Sends a command that must be accepted; gives its upload.
    fn ok(&mut self, second: Nanos, cmd: &str, args: Value) -> Value {
        match self.send(second, cmd, args) {
            Verdict::Accepted { mut reply, .. } => reply["upload"].take(),
            verdict => panic!("{verdict:?}"),
        }
    }

    /// Sends one that must be refused with this code; gives its data.
    fn no(&mut self, second: Nanos, cmd: &str, args: Value, expected: &str) -> Value {
        match self.send(second, cmd, args) {
            Verdict::Rejected { code, reply } if code == expected => reply,
            verdict => panic!("{expected}: {verdict:?}"),
        }
    }

    fn create(&mut self, second: Nanos, fields: Value) -> Value {
        self.ok(second, "uploads.create", create(fields))
    }
}

fn create(fields: Value) -> Value {
    let mut args = json!({ "id": "x", "size_limit": 10 });
    args.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    args
}

fn payload(blob: &str, size: u64) -> Value {
    let started_at = shown(0);
    json!({ "id": "x", "blob": blob, "size": size, "sha256": "0A".repeat(32),
            "started_at": started_at })
}

fn x() -> Value {
    json!({ "id": "x" })
}

#[test]
fn complete_pins_the_last_generation_for_ever() {
    let mut desk = Desk::default();
    desk.create(0, json!({}));
    desk.no(0, "uploads.complete", x(), "payload_missing");
    desk.ok(1, "uploads.publish", payload("P1", 10));
    desk.ok(2, "uploads.publish", payload("P2", 9));
    let other = desk.no(
        3,
        "uploads.complete",
        json!({ "id": "x", "generation": 1 }),
        "generation_mismatch",
    );
    assert_eq!(other, json!({ "generation": 2 }));
    let done = desk.ok(3, "uploads.complete", json!({ "id": "x", "generation": 2 }));
    assert_eq!((&done["payload"], &done["sha256"]), (&json!("P2"), &json!("0a".repeat(32))));
    let late = desk.no(4, "uploads.publish", payload("P3", 1), "upload_completed");
    assert_eq!(late, json!({ "at": shown(3 * SECOND), "generation": 2, "charge": null }));
    assert_eq!(desk.ok(5, "uploads.download", x())["payload"], "P2");
}

#[test]
fn a_pending_upload_lapses_at_its_instant() {
    let mut desk = Desk::default();
    let made = desk.create(0, json!({}));
    assert_eq!(made["pending_until"], shown(3_600 * SECOND));
    desk.ok(3_599, "uploads.publish", payload("P1", 1));
    let lapsed = desk.no(3_600, "uploads.complete", x(), "upload_lapsed");
    assert_eq!(lapsed, json!({ "pending_until": shown(3_600 * SECOND) }));
    let read = desk.ok(3_600, "uploads.read", x());
    assert_eq!((&read["status"], &read["state"]), (&json!("pending"), &json!("lapsed")));
    desk.no(3_600, "uploads.abandon", x(), "upload_lapsed");
    desk.no(3_600, "uploads.extend", json!({ "id": "x", "ttl_ns": 5 }), "upload_lapsed");
    assert_eq!(desk.no(3_600, "uploads.download", x(), "upload_pending")["state"], "lapsed");
}

#[test]
fn downloads_are_counted_exactly() {
    let mut desk = Desk::default();
    desk.create(0, json!({ "max_downloads": 2, "expires_at": shown(50 * SECOND) }));
    desk.ok(0, "uploads.publish", payload("P1", 1));
    desk.ok(0, "uploads.complete", x());
    assert_eq!(desk.ok(1, "uploads.download", x())["downloads_remaining"], 1);
    assert_eq!(desk.ok(1, "uploads.download", x())["state"], "exhausted");
    let over = desk.no(1, "uploads.download", x(), "downloads_exhausted");
    assert_eq!(over, json!({ "downloads": 2, "max_downloads": 2 }));
    desk.no(50, "uploads.download", x(), "upload_expired");
}

#[test]
fn a_grant_names_the_generation_and_its_end() {
    let mut desk = Desk::default();
    desk.create(0, json!({}));
    desk.ok(0, "uploads.publish", payload("P1", 1));
    desk.ok(0, "uploads.complete", x());
    let Verdict::Accepted { reply, .. } = desk.send(1, "uploads.download", x()) else { panic!() };
    let end = shown(901 * SECOND);
    assert_eq!(reply["grant"], json!({ "id": "g", "generation": 1, "expires_at": end }));
}

#[test]
fn a_quota_is_held_at_create_and_taken_at_complete() {
    let mut desk = Desk { quota: OneQuota { limit: 5, ..OneQuota::default() }, ..Desk::default() };
    let made =
        desk.create(0, json!({ "charge": [{ "quota": "q", "bytes": true }], "size_limit": 4 }));
    assert_eq!((&made["hold"], &made["charged"]), (&json!("h"), &Value::Null));
    assert_eq!(made["charge"], json!([{ "quota": "q", "bytes": true }]));
    let two = json!({ "id": "y", "size_limit": 1, "charge": [{ "quota": "q", "units": 2 }] });
    desk.no(0, "uploads.create", two, "quota_exceeded");
    desk.ok(0, "uploads.publish", payload("P1", 3));
    let done = desk.ok(1, "uploads.complete", x());
    assert_eq!((&done["charged"], desk.quota.used), (&json!("h"), 3));
    assert_eq!(desk.no(1, "uploads.complete", x(), "upload_completed")["charge"], "h");
    assert_eq!(desk.quota.used, 3);
}

#[test]
fn a_revoked_quota_stops_everything_but_giving_up() {
    let mut desk = Desk { quota: OneQuota { limit: 5, ..OneQuota::default() }, ..Desk::default() };
    desk.create(0, json!({ "charge": [{ "quota": "q" }] }));
    desk.ok(1, "uploads.publish", payload("P1", 3));
    desk.quota.revoked = true;
    desk.no(2, "uploads.complete", x(), "quota_revoked");
    desk.no(2, "uploads.publish", payload("P2", 3), "quota_revoked");
    // Revoked stands before lapsed, and completed before both.
    desk.no(3_600, "uploads.complete", x(), "quota_revoked");
    let read = desk.ok(2, "uploads.read", x());
    assert_eq!((&read["state"], &read["payload"]), (&json!("pending"), &json!("P1")));
    assert_eq!(desk.ok(2, "uploads.abandon", x())["status"], "abandoned");
    assert!(desk.quota.held.is_empty());
}

#[test]
fn of_two_refusals_the_first_in_order_is_told() {
    let ends = Some(100 * SECOND);
    let mut desk =
        Desk { quota: OneQuota { limit: 1, ends, ..OneQuota::default() }, ..Desk::default() };
    let charged = |fields: Value| {
        let mut args = create(json!({ "charge": [{ "quota": "q" }] }));
        args.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        args
    };
    // The tighter of two bounds is told.
    let week = u64::try_from(PENDING_MAX).unwrap() + 1;
    let both = desk.no(0, "uploads.create", charged(json!({ "ttl_ns": week })), "ttl_too_long");
    assert_eq!(both, json!({ "max_ttl_ns": 100_000_000_000_u64 }));
    // A span stands before a size, and a size before a limit.
    let long = json!({ "ttl_ns": 101_000_000_000_u64, "size_limit": 101, "payload_max": 100 });
    desk.no(0, "uploads.create", charged(long), "ttl_too_long");
    let large =
        json!({ "charge": [{ "quota": "q", "units": 2 }], "size_limit": 101, "payload_max": 100 });
    desk.no(0, "uploads.create", charged(large), "payload_too_large");
    desk.ok(0, "uploads.create", charged(json!({})));
    desk.quota.revoked = true;
    desk.no(0, "uploads.create", charged(json!({})), "upload_exists");
}

#[test]
fn the_end_of_the_quota_bounds_upload_and_hold() {
    let ends = Some(100 * SECOND);
    let mut desk =
        Desk { quota: OneQuota { limit: 1, ends, ..OneQuota::default() }, ..Desk::default() };
    let made = desk.create(65, json!({ "charge": [{ "quota": "q" }] }));
    assert_eq!(made["pending_until"], shown(100 * SECOND));
    let longer = json!({ "id": "x", "ttl_ns": 35_000_000_001_u64 });
    let data = desk.no(65, "uploads.extend", longer, "ttl_too_long");
    assert_eq!(data, json!({ "max_ttl_ns": 35_000_000_000_u64 }));
    let same = json!({ "id": "x", "ttl_ns": 35_000_000_000_u64 });
    let data = desk.no(65, "uploads.extend", same, "expiry_not_later");
    assert_eq!(data, json!({ "expires_at": shown(100 * SECOND) }));
}

#[test]
fn an_upload_is_extended_to_at_most_a_week_after_it_was_made() {
    let mut desk = Desk::default();
    desk.create(0, json!({}));
    let week = u64::try_from(PENDING_MAX).unwrap();
    let data = desk.no(5, "uploads.extend", json!({ "id": "x", "ttl_ns": week }), "ttl_too_long");
    assert_eq!(data, json!({ "max_ttl_ns": week - 5_000_000_000 }));
    let moved = desk.ok(5, "uploads.extend", json!({ "id": "x", "ttl_ns": week - 5_000_000_000 }));
    assert_eq!(moved["pending_until"], shown(PENDING_MAX));
}

#[test]
fn only_its_owner_goes_on() {
    let mut desk = Desk::default();
    desk.create(0, json!({ "owner": "o" }));
    for cmd in ["uploads.complete", "uploads.abandon"] {
        desk.no(0, cmd, x(), "not_owner");
        desk.no(0, cmd, json!({ "id": "x", "owner": "p" }), "not_owner");
    }
    desk.no(0, "uploads.publish", payload("P1", 1), "not_owner");
    desk.ok(0, "uploads.abandon", json!({ "id": "x", "owner": "o" }));
    desk.no(0, "uploads.abandon", x(), "not_owner");
    let over = desk.no(1, "uploads.download", x(), "upload_abandoned");
    assert_eq!(over, json!({ "at": shown(0) }));
}

#[test]
fn deleted_stays_deleted() {
    let mut desk = Desk::default();
    let secret = |letter: &str| json!({ "id": "x", "secret_hash": letter.repeat(64) });
    desk.create(0, json!({ "delete_hash": "a".repeat(64) }));
    desk.no(0, "uploads.delete", x(), "invalid_request");
    desk.no(0, "uploads.delete", secret("b"), "delete_denied");
    assert_eq!(desk.ok(1, "uploads.delete", secret("A"))["ended_at"], shown(SECOND));
    let Verdict::Accepted { reply, writes } = desk.send(2, "uploads.delete", secret("a")) else {
        panic!()
    };
    assert_eq!((&reply["changed"], writes.len()), (&json!(false), 0));
    desk.no(2, "uploads.publish", payload("P1", 1), "upload_deleted");
    let taken = desk.no(2, "uploads.create", create(json!({})), "upload_exists");
    assert_eq!(taken, json!({ "at": shown(0) }));
    desk.create(2, json!({ "id": "y" }));
    let other = json!({ "id": "y", "secret_hash": "a".repeat(64) });
    desk.no(2, "uploads.delete", other, "delete_not_enabled");
}

#[test]
fn payloads_have_bounds() {
    let mut desk = Desk::default();
    desk.create(0, json!({ "ttl_ns": u64::try_from(PENDING_MAX).unwrap() }));
    let data = desk.no(0, "uploads.publish", payload("P", 11), "payload_too_large");
    assert_eq!(data, json!({ "limit": 10 }));
    for blob in 0..16 {
        desk.ok(0, "uploads.publish", payload(&blob.to_string(), 10));
    }
    desk.no(0, "uploads.publish", payload("P", 10), "too_many_generations");
    let data = desk.no(86_400, "uploads.publish", payload("P", 11), "blob_too_old");
    assert_eq!(data, json!({ "publish_before": shown(86_400 * SECOND) }));
}

#[test]
fn what_was_not_recorded_is_not_judged() {
    let mut desk = Desk::default();
    desk.create(0, json!({ "delete_hash": "a".repeat(64) }));
    let plain = json!({ "id": "x", "secret": "a" });
    assert_eq!(desk.send(0, "uploads.delete", plain), Verdict::NotModelled);
}

#[test]
fn what_must_always_hold_is_seen_when_it_does_not() {
    let mut desk = Desk::default();
    desk.create(0, json!({ "max_downloads": 1 }));
    desk.ok(0, "uploads.publish", payload("P1", 1));
    desk.ok(1, "uploads.complete", x());
    desk.ok(1, "uploads.download", x());
    type Change = fn(&mut Upload);
    let changes: [(Change, &str); 5] = [
        (|upload| upload.downloads = 2, "downloaded too often"),
        (|upload| upload.generations.push(upload.generations[0].clone()), "another generation"),
        (|upload| upload.pending_until = SECOND, "completed when it had lapsed"),
        (|upload| upload.size_limit = 0, "larger than it may be"),
        (|upload| upload.pinned = None, "served without a generation"),
    ];
    for (change, what) in changes {
        let mut uploads = desk.uploads.clone();
        change(uploads.uploads.get_mut("x").unwrap());
        assert!(uploads.check(SECOND).is_err(), "{what}");
    }
}
