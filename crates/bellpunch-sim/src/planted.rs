//! The catalogue of bugs that are planted to test the tests.
//!
//! Invariant: a bug that is not caught within [`SEEDS_MAX`] seeds means that the simulator is
//! blind there, and fails the run. A seed that fails without a bug proves nothing about one.
//!
//! Two kinds. A *defect* is of the simulated store or driver: no production code is touched. A
//! *plant* is a line of production code under `planted!`, which is `false` in every other build.

use std::fmt::Write as _;

use crate::campaign::{BOTH, MONEY, generate};
use crate::run::run;
use crate::trace::Trace;

/// Within so many seeds each bug has to be caught.
pub const SEEDS_MAX: u64 = 200;

/// Where a bug is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// In the simulated store.
    Store,
    /// In the simulated driver.
    Driver,
    /// In the simulator's own checks.
    Check,
    /// In the production executor or engine.
    Executor,
    /// In the production rules, or in what they read through.
    Rules,
    /// In the production rules of a book.
    Book,
}

impl Place {
    const fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Driver => "driver",
            Self::Check => "check",
            Self::Executor => "executor",
            Self::Rules => "rules",
            Self::Book => "book",
        }
    }

    const fn is_planted(self) -> bool {
        matches!(self, Self::Executor | Self::Rules | Self::Book)
    }

    /// Whose seeds it is hunted with: a book's bug shows in a book.
    const fn generator(self) -> &'static str {
        match self {
            Self::Book => MONEY,
            Self::Store | Self::Driver | Self::Check | Self::Executor | Self::Rules => BOTH,
        }
    }
}

/// One bug.
#[derive(Clone, Copy, Debug)]
pub struct Bug {
    /// Its name.
    pub name: &'static str,
    /// Where it is.
    pub place: Place,
    /// What it does wrong.
    pub wrong: &'static str,
}

const fn bug(name: &'static str, place: Place, wrong: &'static str) -> Bug {
    Bug { name, place, wrong }
}

/// The check that is wrong on purpose: where it does not fail, no other check would either.
pub const CANARY: &str = "canary";

/// All of them.
pub const BUGS: &[Bug] = &[
    bug(CANARY, Place::Check, "a check that is wrong on purpose: nothing is ever rejected"),
    bug("conditions_dropped", Place::Store, "a commit's preconditions are silently dropped"),
    bug(
        "no_isolation",
        Place::Store,
        "preconditions are read when a commit comes, not when it lands",
    ),
    bug("racing_create", Place::Store, "two may create one record"),
    bug("lagging_reads", Place::Store, "reads and confirmations come from a replica that lags"),
    bug(
        "lost_at_failover",
        Place::Store,
        "the last acknowledged commits are gone after a failover",
    ),
    bug("written_only", Place::Store, "only the versions of written records are checked"),
    bug("half_commit", Place::Store, "of a commit of many writes only the first lands"),
    bug("version_restarts", Place::Store, "delete and re-create begins at version 0 again"),
    bug("deadline_ignored", Place::Store, "the deadline of a commit is not looked at"),
    bug("deadline_at_arrival", Place::Store, "the store's clock is read before exclusivity"),
    bug("clock_ahead_taken", Place::Store, "a `now` far ahead of the store's clock is taken"),
    bug("resolution_wrong", Place::Store, "a commit that was applied is said not to be"),
    bug("ack_unsynced", Place::Driver, "replies go out before the sync"),
    bug("outcome_apart", Place::Driver, "the outcome of a key is written in a commit of its own"),
    bug("ack_early", Place::Executor, "replies go out when the commit is sent"),
    bug("stale_rejection", Place::Executor, "rejects from an unconfirmed cache"),
    bug(
        "early_batch_rejection",
        Place::Executor,
        "tells a rejection that rests on a write not yet committed",
    ),
    bug(
        "denial_kept",
        Place::Executor,
        "repeats a refusal from memory for longer than its policy says",
    ),
    bug("ahead_kept", Place::Executor, "keeps what it decided upon a commit that failed"),
    bug("reply_swapped", Place::Executor, "a reply goes to the wrong caller"),
    bug("outcome_in_memory", Place::Executor, "outcomes of keys are never stored"),
    bug("unknown_as_failed", Place::Executor, "a lost reply is told as no effect"),
    bug("unknown_decided_again", Place::Executor, "a lost reply is answered by a fresh decision"),
    bug("conflict_as_limit", Place::Executor, "contention is told as a limit that is exceeded"),
    bug("cache_kept_on_conflict", Place::Executor, "decides again on the same stale state"),
    bug(
        "too_late_loops",
        Place::Executor,
        "after a missed deadline decides by its own slow clock again",
    ),
    bug("torn_rejection", Place::Executor, "a confirmation names no record"),
    bug("degraded_unflagged", Place::Executor, "a decision without the store is not marked"),
    bug("drain_drops", Place::Executor, "a node that stops forgets its queue"),
    bug(
        "fingerprint_shallow",
        Place::Executor,
        "the content of a command is left out of its fingerprint",
    ),
    bug("no_replay", Place::Rules, "the outcome of a key is not consulted"),
    bug("clock_unclamped", Place::Rules, "follows a clock that went back"),
    bug("batch_blind", Place::Rules, "the second command is decided on the state before the first"),
    bug(
        "version_per_batch",
        Place::Rules,
        "a batch raises a version by one, however many wrote it",
    ),
    bug("limits_one_by_one", Place::Rules, "a list that is rejected leaves what came before"),
    bug("hold_uncounted", Place::Rules, "a use ignores what is held"),
    bug("refund_unsummed", Place::Rules, "a charge may be refunded again"),
    bug("window_edge", Place::Rules, "a window still counts at its end"),
    bug("expiry_inclusive", Place::Rules, "valid at the instant of expiry"),
    bug("account_hold_uncounted", Place::Book, "a debit ignores what is held on the account"),
    bug("account_hold_forever", Place::Book, "a hold on an account counts after its end"),
    bug("one_sided", Place::Book, "a credit is told and not posted to its account"),
    bug("posting_left_out", Place::Book, "of a transfer only the debits are kept as postings"),
    bug("completed_again", Place::Book, "a payment may be completed again"),
    bug("set_aside_uncounted", Place::Book, "a refund ignores what pending ones have set aside"),
    bug("paid_and_voided", Place::Book, "an invoice may be voided that is paid"),
    bug("accepted_twice", Place::Book, "a job accepts a second proposal"),
    bug("told_twice", Place::Book, "an event is emitted twice"),
    bug("number_left_out", Place::Book, "a gapless series leaves a number out"),
    bug("number_given_twice", Place::Book, "a series gives a number twice"),
];

/// How a bug was caught.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Catch {
    /// Seeds up to, and with, the first that failed.
    pub seeds: u64,
    /// The rule that fired.
    pub rule: String,
}

/// Chooses a bug for this thread, where the build has any.
fn choose(bug: &Bug) -> bool {
    if !bug.place.is_planted() {
        return true;
    }
    #[cfg(feature = "planted")]
    {
        bellpunch::planted::choose(bug.name);
        true
    }
    #[cfg(not(feature = "planted"))]
    false
}

fn choose_none() {
    #[cfg(feature = "planted")]
    bellpunch::planted::choose("");
}

/// Looks for a bug; `None` if no seed caught it.
///
/// # Panics
/// If this build has no plants, and the bug is one.
#[must_use]
pub fn hunt(bug: &Bug, first_seed: u64) -> Option<Catch> {
    let mut caught = None;
    for number in 1..=SEEDS_MAX {
        let seed = first_seed.saturating_add(number);
        let mut case = generate(bug.place.generator(), seed).expect("there are generators");
        if bug.place.is_planted() {
            assert!(choose(bug), "build with the feature `planted`");
        } else {
            bug.name.clone_into(&mut case.settings.defect);
        }
        let report = run(&case, Trace::default());
        choose_none();
        let Some(violation) = report.violations.first() else { continue };
        let rule = violation.rule.to_owned();
        // It counts only if the same case passes without the bug.
        case.settings.defect.clear();
        if run(&case, Trace::default()).violations.is_empty() {
            caught = Some(Catch { seeds: number, rule });
            break;
        }
    }
    caught
}

/// The page that tells of all of them.
#[must_use]
pub fn page(catches: &[(Bug, Option<Catch>)]) -> String {
    let mut page = String::from(
        "# Planted bugs\n\nGenerated by `cargo xtask planted`. Each bug is put in on purpose, alone, \
         and hunted with the seeds of every other run. One that is not caught means that the tests \
         are blind there.\n\n| bug | where | what it does wrong | seeds to first failure | rule that \
         fired |\n| --- | --- | --- | --- | --- |\n",
    );
    for (bug, catch) in catches {
        let (seeds, rule) = match catch {
            Some(catch) => (catch.seeds.to_string(), format!("`{}`", catch.rule)),
            None => ("not caught".to_owned(), String::new()),
        };
        let (name, place) = (bug.name, bug.place.name());
        let _ = writeln!(page, "| `{name}` | {place} | {} | {seeds} | {rule} |", bug.wrong);
    }
    page
}
