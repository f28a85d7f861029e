//! Jobs and proposals.

use super::*;

fn by(proposer: &str) -> Value {
    json!({ "job": "J", "proposer": proposer, "by": "o" })
}

fn from(proposer: &str) -> Value {
    json!({ "job": "J", "proposer": proposer })
}

fn open() -> Desk {
    let mut desk = Desk::empty();
    desk.ok("jobs.create", json!({ "id": "J", "owner": "o" }));
    for proposer in ["A", "B"] {
        desk.ok("proposals.create", from(proposer));
    }
    desk
}

#[test]
fn m65_one_is_accepted() {
    let mut desk = open();
    desk.ok("proposals.accept", by("A"));
    let told = desk.no("proposals.accept", by("B"), "job_not_open");
    assert_eq!(told["accepted_proposal"], "A");
    let told = desk.no("proposals.withdraw", from("B"), "proposal_not_pending");
    assert_eq!(told["status"], "rejected");
    assert_eq!(desk.read("job", "J")["proposals"], 1);
    desk.no("jobs.cancel", json!({ "id": "J", "by": "o" }), "job_not_open");
    desk.no("jobs.complete", json!({ "id": "J", "by": "A" }), "not_job_owner");
    desk.ok("jobs.complete", json!({ "id": "J", "by": "o" }));
}

#[test]
fn m66_m67_who_withdraws_is_out() {
    let mut desk = open();
    desk.no("proposals.create", from("A"), "already_proposed");
    desk.ok("proposals.withdraw", from("A"));
    desk.no("proposals.withdraw", from("A"), "proposal_not_pending");
    desk.no("proposals.create", from("A"), "already_proposed");
    desk.no("proposals.accept", by("A"), "proposal_not_pending");
    desk.ok("proposals.reject", by("B"));
    assert_eq!(desk.read("job", "J")["proposals"], 0);
    desk.ok("jobs.cancel", json!({ "id": "J", "by": "o" }));
    desk.no("proposals.create", from("C"), "job_not_open");
}
