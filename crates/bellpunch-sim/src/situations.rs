//! Which situations a run has reached: a generator that never gets anywhere proves nothing.
//!
//! `watch.rs` sees them. A situation is counted when it happened as it is told here, and not when
//! something happened that could have led to it.

use std::collections::BTreeMap;

/// A situation: its name, and when it is reached.
pub type Situation = (&'static str, &'static str);

/// All situations that can be reached, by group.
pub const GROUPS: &[(&str, &[Situation])] = &[
    (
        "batches",
        &[
            ("batch_of_many", "eight commands or more were told by one commit"),
            (
                "batch_full",
                "when a commit was sent, more commands waited for its partition than a batch may have",
            ),
            (
                "batch_order_matters",
                "two equal commands of one batch: one was accepted, and the other rejected because of what that one wrote",
            ),
            (
                "batch_reject_on_draft",
                "a rejection named a version that its own batch wrote, and was told after the commit",
            ),
            (
                "load_mid_decide",
                "a process read twice for one commit: the rule ran again, and asked for more",
            ),
            ("multi_mixed", "of the commits of one call some were applied and some were not"),
            (
                "hot_and_cold",
                "a commit of one or two commands ended while four or more queued behind a commit of another partition at the same process",
            ),
        ],
    ),
    (
        "keys",
        &[
            ("same_key_one_batch", "one commit told a key's outcome for the first time, and again"),
            ("same_key_two_nodes", "a request came while one with its key waited at another node"),
            (
                "same_key_other_body",
                "a request came while one with its key and other commands waited",
            ),
            (
                "replay_after_crash",
                "a key's outcome was told again, and the process whose commit wrote it was gone",
            ),
            ("replay_of_rejection", "commands were rejected, and then accepted under the same key"),
            (
                "key_at_retention",
                "a key's outcome was told again within 150 ms before its end, and decided afresh within 150 ms after it",
            ),
        ],
    ),
    (
        "conflicts",
        &[
            ("conflict_once", "a partition's commit conflicted once, and the next was taken"),
            (
                "conflict_flips",
                "a commit that would have accepted a command conflicted, and the command was rejected",
            ),
            ("conflict_bound", "a caller was told `contended`"),
            (
                "reject_contended",
                "a rejection was confirmed, and another node committed to the partition meanwhile",
            ),
            (
                "stale_cache_caught",
                "a confirmation found another version than the one that was decided on",
            ),
            (
                "two_nodes_one_record",
                "a record was written by one node, by another, and by the first again",
            ),
            (
                "two_nodes_apart",
                "a commit was applied, and since it was sent another node had written other records of its partition",
            ),
            (
                "write_skew_refused",
                "of two nodes each had read what the other wrote, and the second was refused",
            ),
            (
                "torn_read_caught",
                "a commit was refused whose records had never been so at any one instant",
            ),
        ],
    ),
    (
        "unknowns",
        &[
            ("unknown_applied", "a commit whose reply was lost was found to be applied"),
            ("unknown_absent", "a commit whose reply was lost was found not to be applied"),
            (
                "unknown_id_gone",
                "the store had forgotten a commit that was applied, and the record of the key told its outcome",
            ),
            ("late_effect", "an abandoned commit came, and was applied or refused"),
            ("retry_elsewhere", "a client sent again, to another node"),
            ("rejection_lost", "the reply that was lost on its way to a client was a rejection"),
        ],
    ),
    (
        "time",
        &[
            (
                "expired_in_queue",
                "a rejection for an expiry that the node's clock had not reached when the command came",
            ),
            (
                "expired_in_store",
                "the store said `TooLate` by its clock, and the node's clock had not reached the deadline",
            ),
            ("expiry_exact", "a rejection for an expiry, decided at that very instant"),
            (
                "deadline_splits_batch",
                "after `TooLate`, one batch told an expiry to one of those who had waited, and acceptance to another",
            ),
            (
                "clock_back",
                "a decision stands at a later time than its node's clock: that of a commit it read",
            ),
            (
                "clock_forward",
                "a rejection for an expiry that had not come, at a node whose clock was ahead",
            ),
            (
                "clock_forward_undone",
                "as `clock_back`, by a commit time that had not come, at a node whose clock does not jump",
            ),
            ("clock_ahead", "the store refused a commit as from too far ahead"),
            (
                "skew_margin",
                "without a clock of the store's own: refused before the deadline, within the skew of it",
            ),
            (
                "pause_past_deadline",
                "a process stood still between a decision and what it sent, and the commit was too late",
            ),
        ],
    ),
    (
        "crashes",
        &[
            (
                "crash_before_commit",
                "a process died, and a commit of its had not reached the store",
            ),
            (
                "crash_after_commit",
                "a process died, and a commit of its had been applied, but not told to it",
            ),
            ("crash_half_replied", "a process died within the replies of a batch"),
            ("tail_lost", "a crash took commits that were applied and not yet synced"),
            ("corrupt_stopped", "a damaged record was read, and its command was told `internal`"),
            (
                "drain_with_queue",
                "a process was told to stop while commands queued behind a commit",
            ),
            (
                "waiter_gone",
                "a caller was told that nobody knows, and the commit went on and was taken",
            ),
            (
                "newer_refused",
                "a record of a newer format was read, and its command was told `internal`",
            ),
        ],
    ),
    (
        "outages",
        &[
            ("cut_from_store", "a node that was cut from the store sent a commit"),
            ("healed_with_queue", "an outage ended while commands waited at the node"),
            ("overloaded", "a command was told `overloaded` in the turn in which it came"),
            ("throttled", "the store asked a commit to wait"),
            (
                "degraded_open",
                "a caller was told that a policy which stays open let it pass without the store",
            ),
            ("degraded_local", "a caller was told that a node decided by its own counters"),
            (
                "fail_closed",
                "in an outage in which a rate limit was decided without the store, a quota or a ticket was refused",
            ),
        ],
    ),
    (
        "limits and tickets",
        &[
            ("last_unit", "a use took a quota's last unit while three others waited for it"),
            (
                "limit_lowered",
                "a limit was set below what is used and held, while uses were on their way",
            ),
            ("refused_from_memory", "a refusal was told again without asking the store"),
            ("one_limit_of_many", "a list of limits was rejected for some of them and not for all"),
            (
                "evict_pressure",
                "no place for one more key of a policy, and one of those that have a place was exhausted: it kept it",
            ),
            ("revoke_vs_use", "one batch accepted a use, revoked the quota, and rejected a use"),
            (
                "hold_expiry_vs_capture",
                "a capture was decided at the instant at which its hold expires",
            ),
            (
                "upload_vs_complete",
                "an upload was completed while a publication of it was on its way",
            ),
        ],
    ),
    (
        MONEY,
        &[
            (
                "over_refund",
                "a refund or a dispute was refused, and told how much may still go back",
            ),
            ("over_pay", "a payment was refused, and told how much of its invoice is due"),
            ("overdraft_refused", "a debit or a hold was refused, and told how much is available"),
            (
                "void_vs_pay",
                "a payment was refused because its invoice is void, or a voiding because it is paid",
            ),
            ("completed_twice", "a payment was completed, and a second completion was refused"),
            ("equal_payments", "two equal payments of one invoice were told of"),
            ("diverted", "a payment brought more than was due, and the rest became credit"),
            ("credit_gives_back", "a credit note gave back what had been paid"),
            ("minimum_crossed", "a retainer came to its minimum or below, and it was told"),
            ("closing_refuses", "a retainer that is being refunded whole took nothing"),
            ("refund_failed", "a refund for which money was set aside failed"),
            ("lost_after_spending", "a dispute was lost after the retainer had spent the money"),
            ("hold_too_late", "a hold on an account was to be captured at its end or later"),
            ("reversed_twice", "a transfer was reversed, and a second reversal was refused"),
            ("ticket_paid", "a ticket moved money from one account to another"),
            (
                "number_after_abort",
                "a commit that gave a number was not taken, and another document got the number",
            ),
            ("number_voided", "a number was voided whose document never came"),
            ("period_rollover", "a series gave a number of a later period than its last one"),
            ("chain_waits", "a document was refused while the one before it had no seal"),
            ("two_accepts", "a proposal was refused because another one of its job was accepted"),
            ("money_replayed", "the receipt of a command that moved money was told again"),
            (
                "money_unknown",
                "of a commit with entries of the journal nobody knew the fate, and it was found",
            ),
            (
                "crash_with_money",
                "a process died, and had not heard of a commit with entries of the journal",
            ),
        ],
    ),
];

/// The group of what happens in a book.
const MONEY: &str = "money";

/// Situations of the table that cannot be reached, and why.
pub const EXCUSED: &[Situation] = &[
    (
        "torn_tail",
        "the simulated store keeps whole commits; `bellpunch-disk` cuts its log at every byte",
    ),
    ("old_and_new", "there is one release"),
];

/// What a generator is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum About {
    /// Everything.
    All,
    /// A book, and nothing else.
    Money,
    /// All but a book.
    Others,
}

/// Situations that a run of many seeds must reach, each at least once.
pub fn required(about: About) -> impl Iterator<Item = &'static str> {
    let groups = GROUPS.iter().filter(move |(group, _)| match about {
        About::All => true,
        About::Money => *group == MONEY,
        About::Others => *group != MONEY,
    });
    groups.flat_map(|(_, group)| group.iter().map(|(name, _)| *name))
}

/// How often each situation was reached.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Situations(BTreeMap<&'static str, u64>);

impl Situations {
    /// It was reached once more.
    pub fn reached(&mut self, situation: &'static str) {
        let count = self.0.entry(situation).or_default();
        *count = count.saturating_add(1);
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        for (situation, more) in &other.0 {
            let count = self.0.entry(situation).or_default();
            *count = count.saturating_add(*more);
        }
    }

    /// How often it was reached.
    #[must_use]
    pub fn count(&self, situation: &str) -> u64 {
        self.0.get(situation).copied().unwrap_or_default()
    }

    /// Those that were reached, in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(situation, count)| (*situation, *count))
    }
}

#[cfg(test)]
mod tests;
