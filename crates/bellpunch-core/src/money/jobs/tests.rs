//! The scripts of jobs and proposals.

use serde_json::{Value, json};

use super::Proposal;
use crate::trial::{Call, World, at, count};
use crate::{Key, RecordId};

/// A job of owner `o`, and pending proposals for it.
fn job(proposers: &[&str]) -> World {
    let mut world = World::default();
    world.send(0, ("jobs.create", json!({"id": "j", "owner": "o"}))).ok();
    for proposer in proposers {
        world.send(0, propose(proposer)).ok();
    }
    world
}

fn propose(proposer: &str) -> Call<'static> {
    ("proposals.create", json!({"job": "j", "proposer": proposer}))
}

fn withdraw(proposer: &str) -> Call<'static> {
    ("proposals.withdraw", json!({"job": "j", "proposer": proposer}))
}

fn accept(proposer: &str) -> Call<'static> {
    ("proposals.accept", json!({"job": "j", "proposer": proposer, "by": "o"}))
}

fn reject(proposer: &str) -> Call<'static> {
    ("proposals.reject", json!({"job": "j", "proposer": proposer, "by": "o"}))
}

fn read(proposer: &str) -> Call<'static> {
    ("proposals.read", json!({"job": "j", "proposer": proposer}))
}

fn cancel() -> Call<'static> {
    ("jobs.cancel", json!({"id": "j", "by": "o"}))
}

fn complete() -> Call<'static> {
    ("jobs.complete", json!({"id": "j", "by": "o"}))
}

fn with(mut call: Call<'static>, field: &str, value: Value) -> Call<'static> {
    call.1[field] = value;
    call
}

fn shown(world: &mut World) -> Value {
    world.send(0, ("jobs.read", json!({"id": "j"}))).ok()["job"].clone()
}

fn status(world: &mut World, proposer: &str) -> String {
    let answer = world.send(0, read(proposer));
    answer.ok()["proposal"]["status"].as_str().unwrap().to_owned()
}

#[test]
fn m65_one_proposal_is_accepted_and_the_others_are_rejected() {
    let mut world = job(&["a", "b"]);
    let answers = world.all(0, &[accept("a"), accept("b")]);
    answers[0].ok();
    let no = answers[1].no("job_not_open");
    assert_eq!((&no["status"], &no["accepted_proposal"]), (&json!("in_progress"), &json!("a")));
    assert_eq!(
        (status(&mut world, "a").as_str(), status(&mut world, "b").as_str()),
        ("accepted", "rejected")
    );
    let shown = shown(&mut world);
    assert_eq!((&shown["proposals"], &shown["accepted_proposal"]), (&json!(1), &json!("a")));
    assert_eq!(shown["status"], "in_progress");
}

#[test]
fn accepting_writes_the_job_and_one_proposal() {
    let mut world = job(&["a", "b"]);
    let before = shown(&mut world)["version"].as_u64().unwrap();
    let answer = world.send(7, accept("a"));
    assert_eq!(answer.ok()["job"]["version"].as_u64(), before.checked_add(1));
    let proposal = &answer.ok()["proposal"];
    assert_eq!((&proposal["version"], &proposal["answered_at"]), (&json!(2), &json!(at(7))));
    let key = |name: &str| Key::new(name).unwrap();
    let other: Proposal = world.record(&RecordId::compound(&[&key("j"), &key("b")]));
    assert_eq!(other.status, super::ProposalStatus::Pending, "as it is stored");
    assert_eq!(status(&mut world, "b"), "rejected");
}

#[test]
fn m66_a_proposer_answers_once_and_withdraws_once() {
    let mut world = job(&[]);
    let answers = world.all(0, &vec![propose("l"); 2]);
    assert_eq!((count(&answers)["ok"], count(&answers)["already_proposed"]), (1, 1));
    assert_eq!(answers[1].no("already_proposed")["status"], "pending");
    assert_eq!(shown(&mut world)["proposals"], 1);
    let answers = world.all(0, &vec![withdraw("l"); 10]);
    assert_eq!((count(&answers)["ok"], count(&answers)["proposal_not_pending"]), (1, 9));
    assert_eq!(answers[9].no("proposal_not_pending")["status"], "withdrawn");
    assert_eq!(shown(&mut world)["proposals"], 0);
    assert_eq!(world.send(0, propose("l")).no("already_proposed")["status"], "withdrawn");
}

#[test]
fn m67_withdrawn_or_accepted_but_not_both() {
    let mut world = job(&["a"]);
    let answers = world.all(0, &[withdraw("a"), accept("a")]);
    assert_eq!(answers[1].no("proposal_not_pending")["status"], "withdrawn");
    assert_eq!(
        (&shown(&mut world)["status"], status(&mut world, "a").as_str()),
        (&json!("open"), "withdrawn")
    );
    let mut world = job(&["a"]);
    let answers = world.all(0, &[accept("a"), withdraw("a")]);
    assert_eq!(answers[1].no("proposal_not_pending")["status"], "accepted");
    assert_eq!(shown(&mut world)["accepted_proposal"], "a");
}

#[test]
fn a_rejected_proposal_leaves_the_job_open() {
    let mut world = job(&["a", "b"]);
    world.send(0, reject("a")).ok();
    assert_eq!(shown(&mut world)["proposals"], 1);
    world.send(0, reject("a")).no("proposal_not_pending");
    assert_eq!(world.send(0, propose("a")).no("already_proposed")["status"], "rejected");
    world.send(0, accept("b")).ok();
    world.send(0, reject("b")).no("job_not_open");
}

#[test]
fn a_cancelled_job_rejects_what_was_pending() {
    let mut world = job(&["a", "b"]);
    world.send(0, withdraw("b")).ok();
    assert_eq!(world.send(0, cancel()).ok()["job"]["proposals"], 0);
    assert_eq!(
        (status(&mut world, "a").as_str(), status(&mut world, "b").as_str()),
        ("rejected", "withdrawn")
    );
    assert_eq!(world.send(0, withdraw("a")).no("proposal_not_pending")["status"], "rejected");
    assert_eq!(world.send(0, propose("a")).no("already_proposed")["status"], "rejected");
    let answer = world.send(0, propose("c"));
    let no = answer.no("job_not_open");
    assert_eq!((&no["status"], no.get("accepted_proposal")), (&json!("cancelled"), None));
    world.send(0, accept("a")).no("job_not_open");
    world.send(0, cancel()).no("job_not_open");
    assert_eq!(world.send(0, complete()).no("job_not_in_progress")["status"], "cancelled");
}

#[test]
fn a_job_in_progress_is_completed_once() {
    let mut world = job(&["a", "b"]);
    assert_eq!(world.send(0, complete()).no("job_not_in_progress")["status"], "open");
    world.send(0, accept("a")).ok();
    world.send(0, cancel()).no("job_not_open");
    world.send(0, complete()).ok();
    assert_eq!(world.send(0, complete()).no("job_not_in_progress")["status"], "completed");
    assert_eq!(
        (status(&mut world, "a").as_str(), status(&mut world, "b").as_str()),
        ("accepted", "rejected")
    );
    assert_eq!(shown(&mut world)["proposals"], 1);
}

#[test]
fn only_the_owner_decides() {
    let mut world = job(&["a"]);
    for call in [accept("a"), reject("a"), cancel(), complete()] {
        world.send(0, with(call, "by", json!("a"))).no("not_job_owner");
    }
    // Right comes before state, and after existence.
    world.send(0, with(accept("z"), "by", json!("a"))).no("proposal_not_found");
    world.send(0, cancel()).ok();
    world.send(0, with(accept("a"), "by", json!("a"))).no("not_job_owner");
}

#[test]
fn a_job_and_a_proposal_are_there() {
    let mut world = job(&[]);
    assert_eq!(
        world.send(0, ("jobs.create", json!({"id": "j", "owner": "p"}))).no("job_exists")["id"],
        "j"
    );
    for call in [withdraw("z"), accept("z"), reject("z")] {
        assert_eq!(world.send(0, call).no("proposal_not_found")["proposer"], "z");
    }
    for call in [propose("a"), withdraw("a"), accept("a"), reject("a")] {
        world.send(0, with(call, "job", json!("k"))).no("job_not_found");
    }
    for call in [cancel(), complete(), ("jobs.read", json!({}))] {
        world.send(0, with(call, "id", json!("k"))).no("job_not_found");
    }
    world.send(0, with(read("a"), "job", json!("k"))).no("job_not_found");
    world.send(0, read("z")).no("proposal_not_found");
}

#[test]
fn the_version_that_a_caller_names_is_tested_after_the_right() {
    let mut world = job(&["a"]);
    let version = json!(9);
    for call in [withdraw("a"), accept("a"), reject("a"), cancel(), complete()] {
        world.send(0, with(call, "if_version", version.clone())).no("version_mismatch");
    }
    let call = with(cancel(), "if_version", version);
    world.send(0, with(call, "by", json!("a"))).no("not_job_owner");
    world.send(0, with(accept("a"), "if_version", json!(1))).ok();
}
