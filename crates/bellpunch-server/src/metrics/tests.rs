//! Claims about what is counted of money.

use bellpunch::Timestamp;
use serde_json::json;

use super::*;

fn shown(metrics: &Metrics) -> String {
    let mut text = Text::default();
    metrics.doors(&mut text, Timestamp::EPOCH);
    text.0
}

#[test]
fn numbers_that_were_not_given_are_counted_by_reason() {
    let metrics = Metrics::default();
    for (code, commands) in [
        ("series_exhausted", ["series.next", "quotas.consume"].as_slice()),
        ("contended", &["payments.create"]),
        ("contended", &["quotas.consume"]),
        ("invoice_not_found", &["invoices.issue"]),
        ("chain_unsealed", &[]),
    ] {
        metrics.not_accepted(code, commands.iter().copied());
    }
    let text = shown(&metrics);
    for (code, count) in [("series_exhausted", 1), ("contended", 1), ("chain_unsealed", 0)] {
        let line = format!("bellpunch_number_failures_total{{code=\"{code}\"}} {count}\n");
        assert!(text.contains(&line), "{line}{text}");
    }
}

#[test]
fn possible_duplicates_are_counted_among_the_events_of_a_reply() {
    let metrics = Metrics::default();
    let event = json!({ "event": "possible_duplicate_payment", "invoice": "i" });
    metrics.events(&json!({ "events": [event, { "event": "invoice_paid" }, event] }));
    metrics.events(&json!({ "events": [] }));
    metrics.events(&json!({ "quota": {} }));
    let text = shown(&metrics);
    assert!(text.contains("bellpunch_possible_duplicate_payments_total 2\n"), "{text}");
}
