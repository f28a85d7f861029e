//! Uploads that cost something.

use serde_json::{Value, json};

use super::{
    SECOND_NS, complete, counts, create, delete, download, info, millis, ok, publish, send, time,
};
use crate::Command as _;
use crate::trial::{Answer, Call, World};
use crate::uploads::Create;

fn with_quota(over: Value) -> World {
    let mut content = json!({"id": "q", "limit": 1, "used": 0});
    for (name, value) in over.as_object().unwrap() {
        content[name] = value.clone();
    }
    let mut world = World::default();
    send(&mut world, 0, ("quotas.create", content)).ok();
    world
}

/// An upload that costs one unit of q.
fn one(id: &str, over: Value) -> Call<'static> {
    let (name, mut content) = create(id, over);
    content["charge"] = json!([{"quota": "q", "units": 1}]);
    (name, content)
}

fn by_name(name: &'static str, id: &str) -> Call<'static> {
    (name, json!({"id": id}))
}

fn extend(id: &str, seconds: u64) -> Call<'static> {
    let ttl_ns = seconds.checked_mul(SECOND_NS).unwrap();
    ("uploads.extend", json!({"id": id, "ttl_ns": ttl_ns}))
}

fn peek(world: &mut World, seconds: i64, fields: Value) {
    let answer = send(world, seconds, by_name("quotas.read", "q"));
    super::has(&answer.ok()["quota"], fields);
}

#[test]
fn s3_two_uploads_one_unit_left() {
    for order in [["X", "Y"], ["Y", "X"]] {
        let mut world = with_quota(json!({"limit": 50, "used": 49}));
        let answers = world.all(0, &order.map(|id| one(id, json!({}))));
        assert_eq!((answers[0].code(), answers[1].code()), ("ok", "quota_exceeded"));
        let answers = world.all(0, &vec![one("Z", json!({})); 8]);
        assert_eq!(counts(&answers), "8 quota_exceeded");
        peek(&mut world, 0, json!({"used": 49, "held": 1, "state": "exhausted"}));
    }
}

#[test]
fn s3b_a_refused_complete_leaves_the_upload_as_it_was() {
    let mut world = with_quota(json!({"limit": 50, "used": 49}));
    let answer = send(&mut world, 0, one("X", json!({"ttl_ns": 3_600 * SECOND_NS})));
    ok(&answer, json!({"pending_until": time(3_600)}));
    ok(&send(&mut world, 1, publish(1, "X", ("P1", 10))), json!({"generation": 1}));
    send(&mut world, 2, by_name("quotas.revoke", "q")).ok();
    let answer = send(&mut world, 3, complete("X"));
    assert_eq!(answer.no("quota_revoked")["revoked_at"], time(2));
    send(&mut world, 3, publish(3, "X", ("P2", 10))).no("quota_revoked");
    send(&mut world, 3, extend("X", 7_200)).no("quota_revoked");
    let fields = json!({"state": "pending", "generation": 1, "payload": "P1", "version": 2});
    super::has(&info(&mut world, 3, "X"), fields);
    send(&mut world, 4, by_name("quotas.reactivate", "q")).ok();
    let answers = world.all(millis(5), &[complete("X"), complete("X")]);
    assert_eq!(counts(&answers), "1 ok, 1 upload_completed");
    let charge = &answers[0].ok()["upload"]["charged"];
    assert_eq!(&answers[1].no("upload_completed")["charge"], charge);
    peek(&mut world, 5, json!({"used": 50, "held": 0}));
}

#[test]
fn free_a_retried_complete_is_not_charged() {
    let mut world = with_quota(json!({"limit": 9}));
    send(&mut world, 0, one("X", json!({}))).ok();
    send(&mut world, 1, publish(1, "X", ("P1", 10))).ok();
    let first = world.keyed("c", millis(2), complete("X"));
    let again = world.keyed("c", millis(9), complete("X"));
    assert!(!first.replayed() && again.replayed());
    assert_eq!(first.ok(), again.ok());
    ok(&again, json!({"completed_at": time(2)}));
    peek(&mut world, 9, json!({"used": 1, "held": 0}));
}

#[test]
fn give_abandoned_and_lapsed_uploads_give_back() {
    let mut world = with_quota(json!({}));
    let minute = || json!({"ttl_ns": 60 * SECOND_NS});
    send(&mut world, 0, one("X", minute())).ok();
    let answer = send(&mut world, 1, by_name("uploads.abandon", "X"));
    ok(&answer, json!({"status": "abandoned"}));
    send(&mut world, 1, one("Y", minute())).ok();
    send(&mut world, 2, publish(2, "Y", ("P1", 10))).ok();
    assert_eq!(world.dry(60_999, complete("Y")).code(), "ok");
    let answer = send(&mut world, 61, complete("Y"));
    assert_eq!(answer.no("upload_lapsed")["pending_until"], time(61));
    send(&mut world, 61, one("Z", json!({}))).ok();
    peek(&mut world, 61, json!({"used": 0, "held": 1}));
    // A lapsed one is deleted without a word to its quota.
    send(&mut world, 61, create("W", json!({"delete_hash": "5".repeat(64)}))).ok();
    let (name, mut content) = one("V", json!({"delete_hash": "5".repeat(64)}));
    content["ttl_ns"] = json!(SECOND_NS);
    send(&mut world, 61, by_name("uploads.abandon", "Z")).ok();
    send(&mut world, 61, (name, content)).ok();
    send(&mut world, 62, delete("V", "5")).ok();
    peek(&mut world, 62, json!({"used": 0, "held": 0}));
}

#[test]
fn a_delete_gives_back_what_is_held() {
    let mut world = with_quota(json!({}));
    send(&mut world, 0, one("X", json!({"delete_hash": "5".repeat(64)}))).ok();
    send(&mut world, 1, delete("X", "5")).ok();
    peek(&mut world, 1, json!({"used": 0, "held": 0}));
    // What was paid for stays paid.
    send(&mut world, 1, one("Y", json!({"delete_hash": "5".repeat(64)}))).ok();
    send(&mut world, 1, publish(1, "Y", ("P1", 1))).ok();
    send(&mut world, 1, complete("Y")).ok();
    send(&mut world, 1, delete("Y", "5")).ok();
    peek(&mut world, 1, json!({"used": 1, "held": 0}));
}

#[test]
fn ttl_extend_moves_upload_and_hold_within_the_quota() {
    let mut world = with_quota(json!({"expires_at": time(100)}));
    let answer = send(&mut world, 0, one("X", json!({"ttl_ns": 101 * SECOND_NS})));
    assert_eq!(answer.no("ttl_too_long")["max_ttl_ns"], 100 * SECOND_NS);
    let too_long = 8 * 86_400 * SECOND_NS;
    let answer = send(&mut world, 0, one("X", json!({"ttl_ns": too_long})));
    assert_eq!(answer.no("ttl_too_long")["max_ttl_ns"], 100 * SECOND_NS, "the shorter one");
    send(&mut world, 0, one("X", json!({"ttl_ns": 10 * SECOND_NS}))).ok();
    ok(&send(&mut world, 5, extend("X", 60)), json!({"pending_until": time(65)}));
    send(&mut world, 6, extend("X", 95)).no("ttl_too_long");
    send(&mut world, 6, extend("X", 59)).no("expiry_not_later");
    let answer = send(&mut world, 64, one("Y", json!({})));
    assert_eq!(answer.no("quota_exceeded")["retry_after_ns"], SECOND_NS);
    let answer = send(&mut world, 65, one("Y", json!({})));
    ok(&answer, json!({"pending_until": time(100)}));
    let answer = send(&mut world, 66, publish(66, "Y", ("P1", 1)));
    assert_eq!(answer.deadline(), Some(crate::trial::at(100_000)));
    send(&mut world, 100, one("Z", json!({}))).no("quota_expired");
    send(&mut world, 100, publish(100, "Y", ("P2", 1))).no("upload_lapsed");
}

#[test]
fn bytes_hold_the_declared_and_pay_the_actual() {
    let mut world = with_quota(json!({"limit": 100}));
    let bytes = |size: u64| {
        let charge = json!([{"quota": "q", "bytes": true}]);
        create("X", json!({"size_limit": size, "charge": charge}))
    };
    send(&mut world, 0, bytes(101)).no("payload_too_large");
    send(&mut world, 0, bytes(0)).no("invalid_request");
    send(&mut world, 0, bytes(80)).ok();
    peek(&mut world, 0, json!({"held": 80}));
    let answer = send(&mut world, 1, publish(1, "X", ("P1", 81)));
    assert_eq!(answer.no("payload_too_large")["limit"], 80);
    send(&mut world, 1, publish(1, "X", ("P1", 30))).ok();
    ok(&send(&mut world, 2, complete("X")), json!({"size": 30}));
    peek(&mut world, 2, json!({"used": 30, "held": 0, "remaining": 70}));
    send(&mut world, 3, download("X")).ok();
}

#[test]
fn several_charges_all_or_nothing() {
    let mut world = with_quota(json!({"limit": 2}));
    send(&mut world, 0, ("quotas.create", json!({"id": "b", "limit": 10}))).ok();
    let both = |id: &str, size: u64| {
        let charge = json!([{"quota": "b", "bytes": true}, {"quota": "q", "units": 2}]);
        create(id, json!({"size_limit": size, "charge": charge}))
    };
    send(&mut world, 0, both("X", 11)).no("exceeds_limit");
    peek(&mut world, 0, json!({"held": 0}));
    send(&mut world, 0, both("X", 10)).ok();
    send(&mut world, 0, publish(0, "X", ("P1", 0))).ok();
    send(&mut world, 0, complete("X")).ok();
    peek(&mut world, 0, json!({"used": 2, "held": 0}));
    let answer = send(&mut world, 0, by_name("quotas.read", "b"));
    super::has(&answer.ok()["quota"], json!({"used": 0, "held": 0}));
    let items = |count: usize| -> Vec<Value> {
        let terms = json!({"algorithm": "concurrency", "limit": 1});
        let item = |key| json!({"policy": "c", "key": key, "terms": terms});
        (0..count).map(|index| item(index.to_string())).collect()
    };
    send(&mut world, 0, create("Z", json!({"charge": items(17)}))).no("invalid_request");
    send(&mut world, 0, create("Z", json!({"charge": items(16)}))).ok();
    let twice = json!({"charge": [{"quota": "q"}, {"quota": "q", "bytes": true}]});
    send(&mut world, 0, create("Y", twice)).no("invalid_request");
}

#[test]
fn creating_refuses_in_the_documented_order() {
    let mut world = with_quota(json!({"limit": 0, "expires_at": time(50)}));
    send(&mut world, 0, create("taken", json!({}))).ok();
    let late = json!({"expires_at": time(0), "size_limit": 101});
    let order =
        |answers: &[Answer]| answers.iter().map(|a| a.code().to_owned()).collect::<Vec<_>>();
    let mut answers = Vec::new();
    let mut nowhere = create("taken", late.clone());
    nowhere.1["charge"] = json!([{"quota": "nowhere"}]);
    answers.push(send(&mut world, 0, nowhere));
    answers.push(send(&mut world, 0, one("taken", late.clone())));
    let mut long = late.clone();
    long["ttl_ns"] = json!(60 * SECOND_NS);
    answers.push(send(&mut world, 0, one("X", long)));
    answers.push(send(&mut world, 0, one("X", late)));
    answers.push(send(&mut world, 0, one("X", json!({"size_limit": 101}))));
    answers.push(send(&mut world, 0, one("X", json!({}))));
    answers.push(send(&mut world, 50, one("X", json!({"expires_at": time(50)}))));
    send(&mut world, 50, by_name("quotas.revoke", "q")).ok();
    answers.push(send(&mut world, 50, one("X", json!({}))));
    answers.push(send(&mut world, 50, one("taken", json!({}))));
    assert_eq!(
        order(&answers),
        [
            "quota_not_found",
            "upload_exists",
            "ttl_too_long",
            "expiry_not_later",
            "payload_too_large",
            "exceeds_limit",
            "quota_expired",
            "quota_revoked",
            "upload_exists",
        ]
    );
    assert_eq!(Create::NAME, "uploads.create");
}

#[test]
fn a_hold_of_an_upload_ends_with_it_alone() {
    let mut world = with_quota(json!({}));
    send(&mut world, 0, one("X", json!({}))).ok();
    let hold = info(&mut world, 0, "X")["hold"].as_str().unwrap().to_owned();
    assert!(hold.starts_with('_'));
    for verb in ["holds.capture", "holds.void"] {
        send(&mut world, 0, by_name(verb, &hold)).no("not_owner");
    }
}

#[test]
fn the_quotas_end_is_a_deadline_also_when_it_was_moved() {
    let mut world = with_quota(json!({}));
    send(&mut world, 0, one("X", json!({}))).ok();
    let sooner = json!({"id": "q", "expires_at": time(50)});
    send(&mut world, 0, ("quotas.configure", sooner)).ok();
    let end = Some(crate::trial::at(50_000));
    let answer = send(&mut world, 1, publish(1, "X", ("P1", 1)));
    assert_eq!(answer.deadline(), end);
    for call in [publish(50, "X", ("P2", 1)), complete("X"), extend("X", 7_200)] {
        let answer = send(&mut world, 50, call);
        assert_eq!(answer.no("quota_expired")["expires_at"], time(50));
    }
    let answer = send(&mut world, 49, complete("X"));
    assert_eq!(answer.deadline(), end);
    answer.ok();
}
