//! Bugs planted in the driver, each found by the search, and found again by its schedule.

use bellpunch_core::planted::choose;

use crate::scenarios::ALL;
use crate::search::{Failure, Played, Way, replay, search};
use crate::{say, scenario, seed};

/// Schedules of a scenario and a way, before it is the next one's turn, and how often each has one.
const WITHIN: usize = 200;
const TURNS: u64 = 10;

/// The first scenario and way that find it, with what they found.
fn found(seed: u64) -> Option<(&'static str, Way, Failure)> {
    let searches =
        |seed| ALL.iter().flat_map(move |all| [(all, Way::Random, seed), (all, Way::Pct, seed)]);
    (0..TURNS).flat_map(|turn| searches(seed.wrapping_add(turn))).find_map(
        |(scenario, way, seed)| {
            let failure = search(*scenario, way, (WITHIN, seed)).err()?;
            Some((scenario.0, way, failure))
        },
    )
}

fn finds(bug: &'static str, rule: &str) {
    let seed = seed();
    choose(bug);
    let (name, way, failure) = found(seed).expect("a planted bug is found");
    let schedules = failure.schedules;
    say(&format!("{bug}: `{name}`, {way:?}, after {schedules} schedules: {}", failure.rule));
    assert!(failure.rule.contains(rule), "BELLPUNCH_SEED={seed}: {}", failure.rule);

    let kept = Played::parse(&failure.played.to_text()).expect("it was just written");
    let again = replay(scenario(name), &kept).expect_err("the schedule fails again");
    assert_eq!((again.rule, again.played), (failure.rule, failure.played));
    choose("");
    replay(scenario(name), &kept).expect("without the bug the schedule passes");
}

#[test]
fn a_reply_to_the_wrong_waiter_is_found() {
    finds("reply_swapped", "the reply is the waiter's own");
}

#[test]
fn a_reply_before_the_commit_ended_is_found() {
    finds("told_in_flight", "no reply before its commit ended");
}

#[test]
fn an_end_that_forgets_the_queue_is_found() {
    finds("drain_drops", "");
}

#[test]
fn a_waker_that_is_forgotten_is_found() {
    finds("wake_lost", "deadlock");
}

#[test]
fn a_waiter_that_cancels_the_commit_is_found() {
    finds("gone_cancels", "");
}

#[test]
fn a_task_that_ends_before_its_commits_is_found() {
    finds("ends_early", "");
}

#[test]
fn a_command_that_is_taken_back_too_late_is_found() {
    finds("taken_back_late", "was told Error(TimedOut)");
}

#[test]
fn a_message_that_is_lost_with_the_branch_that_held_it_is_found() {
    finds("message_lost", "outcome_unknown");
}
