use std::collections::BTreeSet;

use super::{About, EXCUSED, required};

/// The names of the table of situations.
const TABLE: &str = "
    batch_of_many batch_full batch_order_matters batch_reject_on_draft load_mid_decide multi_mixed
    hot_and_cold
    same_key_one_batch same_key_two_nodes same_key_other_body replay_after_crash replay_of_rejection
    key_at_retention
    conflict_once conflict_flips conflict_bound reject_contended stale_cache_caught
    two_nodes_one_record two_nodes_apart write_skew_refused torn_read_caught
    unknown_applied unknown_absent unknown_id_gone late_effect retry_elsewhere rejection_lost
    expired_in_queue expired_in_store expiry_exact deadline_splits_batch clock_back clock_forward
    clock_forward_undone clock_ahead skew_margin pause_past_deadline
    crash_before_commit crash_after_commit crash_half_replied tail_lost torn_tail corrupt_stopped
    drain_with_queue waiter_gone old_and_new newer_refused
    cut_from_store healed_with_queue overloaded throttled degraded_open degraded_local fail_closed
    refused_from_memory last_unit limit_lowered one_limit_of_many evict_pressure revoke_vs_use hold_expiry_vs_capture
    upload_vs_complete
    over_refund over_pay number_after_abort period_rollover void_vs_pay two_accepts
    overdraft_refused completed_twice equal_payments diverted credit_gives_back minimum_crossed
    closing_refuses refund_failed lost_after_spending hold_too_late reversed_twice ticket_paid
    number_voided chain_waits money_replayed money_unknown crash_with_money
";

#[test]
fn each_situation_is_required_or_excused() {
    let table: BTreeSet<&str> = TABLE.split_whitespace().collect();
    let excused = EXCUSED.iter().map(|(name, _)| *name);
    let all: Vec<&str> = required(About::All).chain(excused).collect();
    let names: BTreeSet<&str> = all.iter().copied().collect();
    assert_eq!(names, table);
    assert_eq!(all.len(), names.len(), "none is named twice");
}

#[test]
fn a_generator_requires_what_it_is_about() {
    let of = |about| required(about).collect::<BTreeSet<&str>>();
    let (money, others) = (of(About::Money), of(About::Others));
    assert!(money.contains("over_pay") && !others.contains("over_pay"));
    assert!(others.contains("last_unit") && !money.contains("last_unit"));
    assert_eq!(money.union(&others).copied().collect::<BTreeSet<_>>(), of(About::All));
}
