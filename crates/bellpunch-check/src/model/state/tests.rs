//! Sequences whose verdicts were written down by hand, from the description.

use serde_json::{Value, json};

use super::*;

fn list(commands: &[(&str, Value)]) -> Value {
    commands.iter().map(|(cmd, args)| json!({ "cmd": cmd, "args": args })).collect()
}

fn send(state: &mut State, args: &Value) -> Verdict {
    state.apply(&Call { cmd: "commands", args, at: 0, drawn: None })
}

fn define(code: &str) -> (&'static str, Value) {
    ("currencies.define", json!({ "code": code, "scale": 2 }))
}

#[test]
fn a_list_is_decided_in_order_and_accepted_as_one() {
    let mut state = State::default();
    let create = json!({ "id": "x", "size_limit": 1 });
    let args = list(&[define("RCN"), ("uploads.create", create), define("PTS")]);
    let Verdict::Accepted { reply, writes } = send(&mut state, &args) else { panic!() };
    assert_eq!(reply.as_array().map(Vec::len), Some(3));
    assert_eq!(reply[2]["currency"]["id"], "PTS");
    let names = ["currencies/PTS", "currencies/RCN", "uploads/x"];
    assert_eq!(writes, names.map(str::to_owned).into());
}

#[test]
fn a_list_that_is_refused_leaves_nothing() {
    let mut state = State::default();
    let args = list(&[define("RCN"), define("RCN"), define("PTS")]);
    let Verdict::Rejected { code, reply } = send(&mut state, &args) else { panic!() };
    assert_eq!(code, "currency_exists");
    assert_eq!(reply, json!({ "scale": 2, "index": 1 }));
    assert_eq!(state, State::default());
}

#[test]
fn a_command_of_a_list_takes_what_was_drawn_for_it() {
    let mut state = State::default();
    let create = || ("uploads.create", json!({ "size_limit": 1 }));
    let args = list(&[create(), create()]);
    let told = json!([{ "upload": { "id": "a" } }, { "upload": { "id": "b" } }]);
    let call = Call { cmd: "commands", args: &args, at: 0, drawn: Some(&told) };
    let Verdict::Accepted { writes, .. } = state.apply(&call) else { panic!() };
    assert_eq!(writes, ["uploads/a", "uploads/b"].map(str::to_owned).into());
}

#[test]
fn what_is_not_known_is_never_judged() {
    let mut state = State::default();
    let args = list(&[define("RCN"), ("things.create", json!({}))]);
    assert_eq!(send(&mut state, &args), Verdict::NotModelled);
    assert_eq!(state, State::default());
    assert_eq!(send(&mut state, &json!("no list")), Verdict::NotModelled);
}

#[test]
fn sweeps_are_housekeeping_and_expire_is_a_command() {
    let mut state = State::default();
    let args = json!({ "ids": ["t"] });
    let call = |cmd| Call { cmd, args: &args, at: 0, drawn: None };
    for cmd in ["outcomes.sweep", "ticket_issues.sweep", "holds.sweep"] {
        assert_eq!(state.apply(&call(cmd)), Verdict::Housekeeping);
    }
    let Verdict::Rejected { code, .. } = state.apply(&call("tickets.expire")) else { panic!() };
    assert_eq!(code, "nothing_to_expire");
}

#[test]
fn an_outcome_is_what_was_kept() {
    let mut state = State::default();
    state.keep_outcome("k", Kept { receipt: json!({ "replies": [] }), until: 9 });
    let args = json!({ "id": "k" });
    let call = Call { cmd: "outcomes.read", args: &args, at: 8, drawn: None };
    let Verdict::Accepted { reply, .. } = state.apply(&call) else { panic!() };
    assert_eq!(reply["status"], "applied");
    assert_eq!(state.check(8), Ok(()));
}
