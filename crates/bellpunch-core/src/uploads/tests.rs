//! The scripts of the domain, on the rules alone.

mod charged;

use serde_json::{Map, Value, json};

use super::{OrphanAge, Upload, UploadView, garbage};
use crate::trial::{Answer, Call, World, at, count};
use crate::{BlobName, StoredBlob};
use crate::{Duration, Key, Partition, Record, Timestamp};

const SECOND_NS: u64 = 1_000_000_000;
const MAX_PAYLOAD: u64 = 100;

/// A call whose content is laid over defaults; null removes.
fn call(name: &'static str, id: &str, defaults: Value, over: Value) -> Call<'static> {
    let mut content = defaults;
    content["id"] = json!(id);
    let Value::Object(over) = over else { panic!("an object") };
    for (field, value) in over {
        if value.is_null() {
            content.as_object_mut().unwrap().remove(&field);
        } else {
            content[field] = value;
        }
    }
    (name, content)
}

fn create(id: &str, over: Value) -> Call<'static> {
    call("uploads.create", id, json!({"size_limit": 10, "payload_max": MAX_PAYLOAD}), over)
}

/// Publishes blob `blob` of `size` bytes, begun when it is sent.
fn publish(seconds: i64, id: &str, (blob, size): (&str, u64)) -> Call<'static> {
    let content = json!({
        "blob": blob, "size": size, "sha256": "0a".repeat(32), "started_at": at(millis(seconds)),
    });
    call("uploads.publish", id, content, json!({}))
}

fn complete(id: &str) -> Call<'static> {
    call("uploads.complete", id, json!({}), json!({}))
}

fn download(id: &str) -> Call<'static> {
    call("uploads.download", id, json!({}), json!({}))
}

fn delete(id: &str, secret: &str) -> Call<'static> {
    call("uploads.delete", id, json!({"secret_hash": secret.repeat(64)}), json!({}))
}

fn info(world: &mut World, seconds: i64, id: &str) -> Value {
    send(world, seconds, ("uploads.read", json!({"id": id}))).ok()["upload"].clone()
}

fn send(world: &mut World, seconds: i64, call: Call<'_>) -> Answer {
    world.send(millis(seconds), call)
}

fn millis(seconds: i64) -> i64 {
    seconds.checked_mul(1_000).unwrap()
}

fn time(seconds: i64) -> String {
    at(millis(seconds)).to_string()
}

fn counts(answers: &[Answer]) -> String {
    let words: Vec<String> = count(answers).iter().map(|(code, n)| format!("{n} {code}")).collect();
    words.join(", ")
}

/// Compares the fields named.
fn has(value: &Value, fields: Value) {
    let Value::Object(fields) = fields else { panic!("an object") };
    let found: Map<String, Value> = fields
        .keys()
        .map(|name| (name.clone(), value.get(name).cloned().unwrap_or(Value::Null)))
        .collect();
    assert_eq!(Value::Object(found), Value::Object(fields), "{value}");
}

fn ok(answer: &Answer, fields: Value) {
    has(&answer.ok()["upload"], fields);
}

#[test]
fn s4_an_upload_overtaken_by_complete() {
    let mut world = World::default();
    send(&mut world, 0, create("X", json!({}))).ok();
    ok(&send(&mut world, 1, publish(1, "X", ("P1", 10))), json!({"generation": 1}));
    ok(&send(&mut world, 2, complete("X")), json!({"generation": 1}));
    let answer = send(&mut world, 3, publish(3, "X", ("P2", 10)));
    assert_eq!(answer.no("upload_completed")["at"], time(2));
    assert_eq!(answer.no("upload_completed")["generation"], 1);
    let answer = send(&mut world, 3, download("X"));
    ok(&answer, json!({"payload": "P1", "status": "completed"}));
}

#[test]
fn gen_complete_names_its_generation() {
    let mut world = World::default();
    send(&mut world, 0, create("X", json!({}))).ok();
    send(&mut world, 0, complete("X")).no("payload_missing");
    ok(&send(&mut world, 1, publish(1, "X", ("P1", 10))), json!({"generation": 1}));
    ok(&send(&mut world, 2, publish(2, "X", ("P2", 9))), json!({"generation": 2}));
    let first = call("uploads.complete", "X", json!({"generation": 1}), json!({}));
    let answer = send(&mut world, 3, first);
    assert_eq!(answer.no("generation_mismatch")["generation"], 2);
    let second = call("uploads.complete", "X", json!({"generation": 2}), json!({}));
    ok(&send(&mut world, 3, second), json!({"payload": "P2"}));
}

#[test]
fn down_max_downloads_is_exact_and_expiry_at_its_instant() {
    let mut world = World::default();
    let over = json!({"max_downloads": 3, "expires_at": time(50)});
    send(&mut world, 0, create("X", over)).ok();
    send(&mut world, 0, publish(0, "X", ("P1", 10))).ok();
    let answer = send(&mut world, 1, download("X"));
    assert_eq!(answer.no("upload_pending")["state"], "pending");
    let answer = send(&mut world, 2, complete("X"));
    assert_eq!(answer.deadline(), Some(at(50_000)));
    answer.ok();
    let first = world.keyed("d1", 3_000, download("X"));
    assert_eq!(first.deadline(), Some(at(50_000)));
    ok(&first, json!({"downloads_remaining": 2}));
    assert_eq!(first.ok()["grant"]["expires_at"], time(3 + 15 * 60));
    let mut longer = download("X");
    longer.1["grant_ttl_ns"] = json!(SECOND_NS);
    let again = world.keyed("d1", 4_000, longer);
    assert!(again.replayed(), "how long a grant lasts is the door's setting");
    assert_eq!(again.ok(), first.ok());
    let answers = world.all(5_000, &[download("X"), download("X"), download("X")]);
    assert_eq!(counts(&answers), "1 downloads_exhausted, 2 ok");
    has(&info(&mut world, 5, "X"), json!({"downloads": 3, "state": "exhausted"}));
    let answer = send(&mut world, 50, download("X"));
    assert_eq!(answer.no("upload_expired")["expires_at"], time(50));
    has(&info(&mut world, 50, "X"), json!({"status": "completed", "state": "expired"}));
}

#[test]
fn gone_deleted_stays_deleted() {
    for delete_first in [false, true] {
        let mut world = World::default();
        send(&mut world, 0, create("X", json!({"delete_hash": "5".repeat(64)}))).ok();
        send(&mut world, 0, publish(0, "X", ("P1", 10))).ok();
        send(&mut world, 0, complete("X")).ok();
        let answer = send(&mut world, 1, ("uploads.delete", json!({"id": "X"})));
        assert_eq!(answer.no("invalid_request")["field"], "secret_hash");
        send(&mut world, 1, delete("X", "7")).no("delete_denied");
        let mut both = [download("X"), delete("X", "5")];
        if delete_first {
            both.reverse();
        }
        let answers = world.all(1_000, &both);
        let expected = if delete_first { "1 ok, 1 upload_deleted" } else { "2 ok" };
        assert_eq!(counts(&answers), expected);
        let answer = send(&mut world, 2, delete("X", "5"));
        assert_eq!(answer.ok()["changed"], false);
        send(&mut world, 2, delete("X", "7")).no("delete_denied");
        send(&mut world, 2, create("X", json!({}))).no("upload_exists");
        has(
            &info(&mut world, 2, "X"),
            json!({"status": "deleted", "version": 5 - i32::from(delete_first)}),
        );
    }
}

#[test]
fn a_delete_needs_a_secret_that_was_given() {
    let mut world = World::default();
    send(&mut world, 0, delete("X", "5")).no("upload_not_found");
    send(&mut world, 0, create("X", json!({}))).ok();
    send(&mut world, 0, delete("X", "5")).no("delete_not_enabled");
    send(&mut world, 0, create("Y", json!({"delete_hash": "5".repeat(64)}))).ok();
    let answer = send(&mut world, 0, delete("Y", "5"));
    assert_eq!(answer.ok()["changed"], true);
    let answer = send(&mut world, 1, publish(1, "Y", ("P1", 10)));
    assert_eq!(answer.no("upload_deleted")["at"], time(0));
}

#[test]
fn only_the_owner_changes_it() {
    let mut world = World::default();
    send(&mut world, 0, create("X", json!({"owner": "w"}))).ok();
    let as_owner = |owner: &str, (name, mut content): Call<'static>| {
        content["owner"] = json!(owner);
        (name, content)
    };
    let extend = || call("uploads.extend", "X", json!({"ttl_ns": 7_200 * SECOND_NS}), json!({}));
    let abandon = || call("uploads.abandon", "X", json!({}), json!({}));
    for call in [publish(0, "X", ("P1", 1)), complete("X"), extend(), abandon()] {
        send(&mut world, 0, call.clone()).no("not_owner");
        send(&mut world, 0, as_owner("v", call)).no("not_owner");
    }
    send(&mut world, 0, as_owner("w", publish(0, "X", ("P1", 1)))).ok();
    send(&mut world, 0, as_owner("w", extend())).ok();
    send(&mut world, 0, as_owner("w", abandon())).ok();
    send(&mut world, 0, as_owner("w", abandon())).no("upload_abandoned");
    send(&mut world, 0, download("X")).no("upload_abandoned");
}

#[test]
fn a_pending_upload_lapses_at_its_instant() {
    let mut world = World::default();
    let answer = send(&mut world, 0, create("X", json!({"ttl_ns": 60 * SECOND_NS})));
    ok(&answer, json!({"pending_until": time(60)}));
    let answer = send(&mut world, 1, publish(1, "X", ("P1", 1)));
    assert_eq!(answer.deadline(), Some(at(60_000)));
    answer.ok();
    assert_eq!(world.dry(59_999, complete("X")).code(), "ok");
    let extend = |ttl: u64| call("uploads.extend", "X", json!({"ttl_ns": ttl}), json!({}));
    let week = 7 * 86_400 * SECOND_NS;
    let answer = send(&mut world, 1, extend(59 * SECOND_NS));
    assert_eq!(answer.no("expiry_not_later")["expires_at"], time(60));
    let answer = send(&mut world, 1, extend(week));
    assert_eq!(answer.no("ttl_too_long")["max_ttl_ns"], week - SECOND_NS);
    for call in [
        publish(60, "X", ("P2", 1)),
        complete("X"),
        extend(1),
        call("uploads.abandon", "X", json!({}), json!({})),
    ] {
        let answer = send(&mut world, 60, call);
        assert_eq!(answer.no("upload_lapsed")["pending_until"], time(60));
    }
    has(&info(&mut world, 60, "X"), json!({"status": "pending", "state": "lapsed"}));
    let answer = send(&mut world, 60, download("X"));
    assert_eq!(answer.no("upload_pending")["state"], "lapsed");
    let answer = send(&mut world, 60, create("Y", json!({"ttl_ns": week + 1})));
    assert_eq!(answer.no("ttl_too_long")["max_ttl_ns"], week);
    send(&mut world, 60, create("Y", json!({"expires_at": time(60)}))).no("expiry_not_later");
    ok(&send(&mut world, 60, create("Y", json!({}))), json!({"pending_until": time(3_660)}));
}

#[test]
fn what_is_over_cannot_be_published() {
    let mut world = World::default();
    send(&mut world, 0, create("X", json!({"expires_at": time(50)}))).ok();
    send(&mut world, 0, publish(0, "X", ("P1", 11))).no("payload_too_large");
    let late = publish(-86_400, "X", ("P1", 1));
    let answer = send(&mut world, 0, late);
    assert_eq!(answer.no("blob_too_old")["publish_before"], time(0));
    let answer = send(&mut world, 0, publish(-86_399, "X", ("P1", 1)));
    assert_eq!(answer.deadline(), Some(at(1_000)));
    answer.ok();
    send(&mut world, 0, publish(0, "X", ("P1", 1))).no("invalid_request");
    for generation in 2..=16 {
        let blob = format!("P{generation}");
        send(&mut world, 0, publish(0, "X", (&blob, 1))).ok();
    }
    assert_eq!(
        send(&mut world, 0, publish(0, "X", ("P17", 1))).no("too_many_generations")["max"],
        16
    );
    send(&mut world, 0, publish(0, "X", ("P1", 1))).no("invalid_request");
    send(&mut world, 50, publish(50, "X", ("P17", 1))).no("upload_expired");
    send(&mut world, 50, complete("X")).no("upload_expired");
    // A blob made for another upload.
    let of = |id: &str| {
        let partition = Partition::new("p").unwrap();
        BlobName::of(&partition, &Key::new(id).unwrap(), 7).as_str().to_owned()
    };
    send(&mut world, 0, create("Y", json!({}))).ok();
    send(&mut world, 0, publish(0, "Y", (&of("X"), 1))).no("invalid_request");
    send(&mut world, 0, publish(0, "Y", (&of("Y"), 1))).ok();
}

#[test]
fn what_is_just_within_a_bound_is_taken() {
    let mut world = World::default();
    let week = 7 * 86_400 * SECOND_NS;
    let answer = send(&mut world, 0, create("X", json!({"ttl_ns": week, "size_limit": 100})));
    ok(&answer, json!({"pending_until": time(7 * 86_400)}));
    send(&mut world, 0, create("Y", json!({"size_limit": 101}))).no("payload_too_large");
    send(&mut world, 0, create("Y", json!({}))).ok();
    let extend = |ttl: u64| call("uploads.extend", "Y", json!({"ttl_ns": ttl}), json!({}));
    let answer = send(&mut world, 10, extend(week));
    assert_eq!(answer.no("ttl_too_long")["max_ttl_ns"], week - 10 * SECOND_NS);
    let answer = send(&mut world, 10, extend(week - 10 * SECOND_NS));
    assert_eq!(answer.deadline(), Some(at(3_600_000)));
    ok(&answer, json!({"pending_until": time(7 * 86_400)}));
    send(&mut world, 10, publish(10, "Y", ("P1", 10))).ok();
    send(&mut world, 10, complete("Y")).ok();
    send(&mut world, 10, extend(week)).no("upload_completed");
    let lasting = |ttl: u64| call("uploads.download", "Y", json!({"grant_ttl_ns": ttl}), json!({}));
    send(&mut world, 10, lasting(week + 1)).no("invalid_request");
    send(&mut world, 10, lasting(week)).ok();
    let abandon = call("uploads.abandon", "X", json!({}), json!({}));
    let answer = send(&mut world, 10, abandon);
    assert_eq!(answer.deadline(), Some(at(millis(7 * 86_400))));
    answer.ok();
}

#[test]
fn what_would_end_after_all_instants_is_refused() {
    // The last instant is within this second, as counted from the start.
    let last = 251_602_207_200;
    for (over, code) in [
        (json!({}), "ttl_too_long"),
        (json!({"ttl_ns": 1_000_000_000}), "ttl_too_long"),
        (json!({"ttl_ns": 999_999_999}), "ok"),
    ] {
        let answer = send(&mut World::default(), last, create("X", over));
        assert_eq!(answer.code(), code);
    }
}

#[test]
fn a_repeated_publish_is_told_the_blob_that_was_published() {
    let mut world = World::default();
    send(&mut world, 0, create("X", json!({}))).ok();
    world.keyed("p", 0, publish(0, "X", ("P1", 1))).ok();
    let again = world.keyed("p", 1_000, publish(1, "X", ("P2", 1)));
    assert!(again.replayed());
    ok(&again, json!({"payload": "P1"}));
    world.keyed("p", 1_000, publish(1, "X", ("P2", 2))).no("idempotency_key_reused");
}

/// The record behind a view of the world, made by hand: the tests of garbage need time, not rules.
fn stored(world: &mut World, id: &str) -> Upload {
    world.record::<Upload>(&crate::RecordId::from(&Key::new(id).unwrap()))
}

fn blob(name: &str) -> BlobName {
    BlobName::new(name).unwrap()
}

#[test]
fn garbage_is_what_nobody_can_be_given() {
    let mut world = World::default();
    let over = json!({
        "ttl_ns": 60 * SECOND_NS, "expires_at": time(1_000), "max_downloads": 1,
        "auto_delete": true, "delete_hash": "5".repeat(64),
    });
    send(&mut world, 0, create("X", over.clone())).ok();
    send(&mut world, 0, publish(0, "X", ("P1", 1))).ok();
    send(&mut world, 0, publish(0, "X", ("P2", 1))).ok();
    let x = stored(&mut world, "X");
    assert_eq!(x.garbage(at(59_999)), [blob("P1")]);
    assert_eq!(x.garbage(at(60_000)), [blob("P1"), blob("P2")], "lapsed");
    send(&mut world, 1, complete("X")).ok();
    assert_eq!(stored(&mut world, "X").garbage(at(999_999)), [blob("P1")]);
    assert_eq!(stored(&mut world, "X").garbage(at(1_000_000)).len(), 2, "expired, never granted");
    send(&mut world, 990, download("X")).ok();
    let end = 990_000 + 15 * 60 * 1_000;
    let x = stored(&mut world, "X");
    assert_eq!(x.garbage(at(1_000_000)), [blob("P1")], "a grant is open");
    assert_eq!(x.garbage(at(end - 1)), [blob("P1")]);
    assert_eq!(x.garbage(at(end)).len(), 2);
    send(&mut world, 991, delete("X", "5")).ok();
    assert_eq!(stored(&mut world, "X").garbage(at(991_000)).len(), 2, "deleted: at once");

    let mut kept = over;
    kept["auto_delete"] = json!(false);
    kept["expires_at"] = Value::Null;
    send(&mut world, 991, create("Y", kept)).ok();
    send(&mut world, 991, publish(991, "Y", ("P1", 1))).ok();
    send(&mut world, 991, complete("Y")).ok();
    send(&mut world, 991, download("Y")).ok();
    assert_eq!(stored(&mut world, "Y").garbage(Timestamp::MAX), [], "exhausted, but kept");
}

#[test]
fn an_orphan_waits_until_no_publish_can_overtake() {
    let mut world = World::default();
    send(&mut world, 0, create("X", json!({"delete_hash": "5".repeat(64)}))).ok();
    send(&mut world, 0, publish(0, "X", ("P1", 1))).ok();
    send(&mut world, 0, publish(0, "X", ("P2", 1))).ok();
    let x = stored(&mut world, "X");
    let age = OrphanAge {
        publish_window: Duration::from_secs(100),
        clock_skew_max: Duration::from_secs(1),
    };
    let of = |name: &str| StoredBlob { name: blob(name), created_at: at(0) };
    assert!(garbage(&of("P1"), Some(&x), age, at(0)), "replaced: at once");
    assert!(!garbage(&of("P2"), Some(&x), age, at(102_000)), "referenced");
    for upload in [Some(&x), None] {
        assert!(!garbage(&of("P3"), upload, age, at(101_000)), "its publish may be on the way");
        assert!(garbage(&of("P3"), upload, age, at(101_001)));
    }
    send(&mut world, 0, delete("X", "5")).ok();
    assert!(garbage(&of("P3"), Some(&stored(&mut world, "X")), age, at(0)), "final");
}

#[test]
fn names_of_blobs_are_told_apart() {
    let long = (Partition::new("é".repeat(64)).unwrap(), Key::new("é".repeat(128)).unwrap());
    let name = BlobName::of(&long.0, &long.1, u128::MAX);
    assert_eq!(BlobName::new(name.as_str()).unwrap(), name);
    assert_eq!(name.owner(), Some(long));
    for foreign in ["P1", "61/62/zz", "6/62/00000000000000000000000000000000", "61/62", "a/b/c/d"] {
        assert_eq!(blob(foreign).owner(), None, "{foreign}");
    }
    assert!(BlobName::new("x".repeat(1_024)).is_ok());
    for wrong in ["", "a b", "é", &"x".repeat(1_025)] {
        assert!(BlobName::new(wrong).is_err());
    }
}

#[test]
fn what_is_stored_and_told_is_read_again() {
    let mut world = World::default();
    send(&mut world, 0, create("X", json!({"labels": {"type": "text/plain"}}))).ok();
    let view = info(&mut world, 0, "X");
    let typed: UploadView = serde_json::from_value(view.clone()).unwrap();
    assert_eq!(serde_json::to_value(typed).unwrap(), view);
    assert_eq!(Upload::KIND.name(), "uploads");
}
