//! Sequences whose verdicts were written down by hand, from the description.

use serde_json::{Value, json};

use super::*;

const SECOND: Nanos = 1_000_000_000;

/// Tickets `t1`, `t2`, … in the order in which they are issued.
#[derive(Default)]
struct Book {
    tickets: Tickets,
    currencies: Currencies,
    money: crate::model::money::Book,
    issued: usize,
}

impl Book {
    fn send(&mut self, second: Nanos, cmd: &str, args: Value) -> Verdict {
        let name = format!("t{}", self.issued + 1);
        let told = json!({ "ticket": { "id": name } });
        let call = Call { cmd, args: &args, at: second * SECOND, drawn: Some(&told) };
        let verdict = self.tickets.apply(&call, (&self.currencies, &mut self.money));
        if cmd == "tickets.create" && matches!(verdict, Verdict::Accepted { .. }) {
            self.issued += 1;
        }
        self.tickets.check(call.at).unwrap();
        verdict
    }

    /// Sends a command that must be accepted; gives its ticket.
    fn ok(&mut self, second: Nanos, cmd: &str, args: Value) -> Value {
        match self.send(second, cmd, args) {
            Verdict::Accepted { mut reply, .. } => reply["ticket"].take(),
            verdict => panic!("{verdict:?}"),
        }
    }

    /// Sends one that must be refused with this code; gives its data.
    fn no(&mut self, second: Nanos, cmd: &str, args: Value, expected: &str) -> Value {
        match self.send(second, cmd, args) {
            Verdict::Rejected { code, reply } if code == expected => reply,
            verdict => panic!("{expected}: {verdict:?}"),
        }
    }

    /// An issue of c1 for s1, 1000 SAR for 300 seconds.
    fn issue(&mut self, second: Nanos, fields: Value) -> Verdict {
        let mut args = json!({
            "holder": "c1", "audience": "s1", "issued_by": "m", "ttl_ns": 300_000_000_000_u64,
            "max_amount": { "amount": 1000, "currency": "SAR" },
        });
        args.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        self.send(second, "tickets.create", args)
    }

    fn issued(&mut self, second: Nanos, fields: Value) {
        assert!(matches!(self.issue(second, fields), Verdict::Accepted { .. }));
    }
}

fn redeem(id: &str, amount: i64) -> Value {
    let amount = json!({ "amount": amount, "currency": "SAR" });
    json!({ "id": id, "holder": "c1", "audience": "s1", "amount": amount })
}

fn holder(id: &str) -> Value {
    json!({ "id": id, "holder": "c1" })
}

fn by(id: &str, by: &str) -> Value {
    json!({ "id": id, "by": by })
}

#[test]
fn an_approved_ticket_is_redeemed_once() {
    let mut book = Book::default();
    book.issued(0, json!({}));
    let approved = book.ok(1, "tickets.approve", holder("t1"));
    assert_eq!(approved["status"], "approved");
    let used = book.ok(2, "tickets.redeem", redeem("t1", 400));
    assert_eq!((&used["status"], &used["version"]), (&json!("used"), &json!(3)));
    assert_eq!(used["used_at"], "1970-01-01T00:00:02Z");
    assert_eq!(used["closed_at"], Value::Null);
    let again = book.no(3, "tickets.redeem", redeem("t1", 600), "already_redeemed");
    assert_eq!(again["amount_used"], json!({ "amount": 400, "currency": "SAR" }));
    assert_eq!((&again["used_by"], &again["version"]), (&json!("s1"), &json!(3)));
}

#[test]
fn the_instant_of_expiry_is_too_late() {
    let mut book = Book::default();
    book.issued(0, json!({ "approved": true }));
    book.issued(0, json!({ "approved": true }));
    book.ok(299, "tickets.redeem", redeem("t1", 1000));
    let late = book.no(300, "tickets.redeem", redeem("t2", 1000), "ticket_expired");
    assert_eq!(late["expires_at"], "1970-01-01T00:05:00Z");
    let read = book.ok(300, "tickets.read", json!({ "id": "t2" }));
    assert_eq!((&read["status"], &read["version"]), (&json!("expired"), &json!(1)));
    assert_eq!(book.ok(300, "tickets.read", json!({ "id": "t1" }))["status"], "used");
}

#[test]
fn a_refusal_burns_nothing_and_names_the_first_reason() {
    let mut book = Book::default();
    book.issued(0, json!({}));
    let mut other = redeem("t1", 9999);
    other["audience"] = json!("s2");
    other["holder"] = json!("c2");
    book.no(0, "tickets.redeem", other.clone(), "wrong_audience");
    other["audience"] = json!("s1");
    book.no(0, "tickets.redeem", other, "wrong_holder");
    let pending = book.no(0, "tickets.redeem", redeem("t1", 9999), "ticket_not_approved");
    assert_eq!(pending, json!({ "status": "pending" }));
    book.no(300, "tickets.redeem", redeem("t1", 9999), "ticket_expired");
    book.no(0, "tickets.redeem", redeem("t9", 1), "ticket_not_found");
}

#[test]
fn amounts_are_refused_and_never_cut() {
    let mut book = Book::default();
    book.issued(0, json!({ "approved": true }));
    let zero = book.no(0, "tickets.redeem", redeem("t1", 0), "invalid_amount");
    assert_eq!(zero, json!({ "field": "amount.amount", "reason": "zero" }));
    let negative = book.no(0, "tickets.redeem", redeem("t1", -5), "invalid_amount");
    assert_eq!(negative["reason"], "negative");
    let mut half = redeem("t1", 1);
    half["amount"]["amount"] = json!(10.5);
    let half = book.no(0, "tickets.redeem", half, "invalid_amount");
    assert_eq!(half["reason"], "not_an_integer");
    book.no(0, "tickets.redeem", redeem("t1", 1001), "amount_exceeds_ticket");
    let mut other = redeem("t1", 1000);
    other["amount"]["currency"] = json!("USD");
    let other = book.no(0, "tickets.redeem", other, "currency_mismatch");
    assert_eq!(other, json!({ "expected": "SAR", "got": "USD" }));
    let mut unknown = redeem("t1", 1000);
    unknown["amount"]["currency"] = json!("RCN");
    book.no(0, "tickets.redeem", unknown, "unknown_currency");
    book.ok(0, "tickets.redeem", redeem("t1", 1000));
}

#[test]
fn a_whole_ticket_is_used_as_a_whole() {
    let mut book = Book::default();
    book.issued(0, json!({ "approved": true, "partial": false }));
    book.no(0, "tickets.redeem", redeem("t1", 999), "amount_not_exact");
    book.no(0, "tickets.redeem", redeem("t1", 1001), "amount_exceeds_ticket");
    book.ok(0, "tickets.redeem", redeem("t1", 1000));
}

#[test]
fn one_pending_counts_what_is_pending_now() {
    let mut book = Book::default();
    let one = || json!({ "one_pending": true });
    book.issued(0, one());
    let Verdict::Rejected { code, reply } = book.issue(0, one()) else { panic!() };
    assert_eq!((code.as_str(), &reply["ticket"]), ("already_pending", &json!("t1")));
    book.ok(1, "tickets.approve", holder("t1"));
    book.issued(2, one());
    // t2 ended at 302.
    assert!(matches!(book.issue(301, one()), Verdict::Rejected { .. }));
    book.issued(302, one());
}

#[test]
fn the_issue_limit_names_when_the_oldest_leaves() {
    let mut book = Book::default();
    let limit = || json!({ "issue_limit": { "count": 2, "period_ns": 10_000_000_000_u64 } });
    book.issued(0, json!({}));
    book.issued(4, limit());
    let Verdict::Rejected { code, reply } = book.issue(5, limit()) else { panic!() };
    assert_eq!(code, "issue_limit_exceeded");
    assert_eq!(reply["retry_at"], "1970-01-01T00:00:10Z");
    assert_eq!(reply["retry_after_ns"], 5_000_000_000_u64);
    assert!(matches!(book.issue(9, limit()), Verdict::Rejected { .. }));
    book.issued(10, limit());
}

#[test]
fn a_holder_has_at_most_a_hundred_pending_tickets_for_an_audience() {
    let mut book = Book::default();
    (0..100).for_each(|_| book.issued(0, json!({})));
    let Verdict::Rejected { code, reply } = book.issue(0, json!({})) else { panic!() };
    assert_eq!((code.as_str(), reply), ("too_many_pending", json!({ "max": 100 })));
    book.issued(0, json!({ "approved": true }));
    book.issued(0, json!({ "audience": "s2" }));
    book.ok(1, "tickets.reject", holder("t1"));
    book.issued(1, json!({}));
}

#[test]
fn only_those_who_have_to_do_with_it_withdraw_a_ticket() {
    let mut book = Book::default();
    book.issued(0, json!({ "approved": true }));
    book.no(0, "tickets.cancel", by("t1", "s2"), "not_allowed");
    let approved = book.no(0, "tickets.cancel", by("t1", "s1"), "already_approved");
    assert_eq!(approved["approved_at"], "1970-01-01T00:00:00Z");
    book.no(0, "tickets.reject", holder("t1"), "already_approved");
    book.no(0, "tickets.revoke", by("t1", "s2"), "not_allowed");
    let closed = book.ok(1, "tickets.revoke", by("t1", "m"));
    assert_eq!((&closed["status"], &closed["closed_by"]), (&json!("cancelled"), &json!("m")));
    let over = book.no(2, "tickets.redeem", redeem("t1", 1), "ticket_cancelled");
    assert_eq!(over, json!({ "closed_at": "1970-01-01T00:00:01Z", "closed_by": "m" }));
    book.no(2, "tickets.revoke", by("t1", "m"), "ticket_cancelled");
}

#[test]
fn a_rejected_ticket_stays_rejected_past_its_end() {
    let mut book = Book::default();
    book.issued(0, json!({}));
    book.no(1, "tickets.reject", json!({ "id": "t1", "holder": "s1" }), "wrong_holder");
    book.ok(1, "tickets.reject", json!({ "id": "t1", "holder": "c1", "reason": "no" }));
    book.no(300, "tickets.approve", holder("t1"), "ticket_rejected");
    let read = book.ok(300, "tickets.read", json!({ "id": "t1" }));
    assert_eq!((&read["status"], &read["reason"]), (&json!("rejected"), &json!("no")));
    book.no(300, "tickets.expire", json!({ "ids": ["t1"] }), "nothing_to_expire");
}

#[test]
fn expire_stores_what_is_due_and_skips_the_rest() {
    let mut book = Book::default();
    book.issued(0, json!({}));
    book.issued(1, json!({ "approved": true }));
    let args = json!({ "ids": ["t1", "t2", "t1", "zz"] });
    book.no(299, "tickets.expire", args.clone(), "nothing_to_expire");
    let Verdict::Accepted { reply, writes } = book.send(300, "tickets.expire", args) else {
        panic!()
    };
    let skipped = json!([{ "id": "t2", "status": "approved" }, { "id": "zz" }]);
    assert_eq!(reply, json!({ "expired": ["t1"], "skipped": skipped }));
    assert_eq!(writes, Writes::from(["tickets/t1".to_owned()]));
    book.no(300, "tickets.approve", holder("t1"), "ticket_expired");
}

#[test]
fn a_bearer_shows_the_secret() {
    let mut book = Book::default();
    let bearer = || json!({ "holder": null, "approved": true, "secret_hash": "aB".repeat(32) });
    let Verdict::Accepted { writes, .. } = book.issue(0, bearer()) else { panic!() };
    assert_eq!(writes, Writes::from(["tickets/t1".to_owned()]));
    let shows = |secret: &str| {
        let amount = json!({ "amount": 1, "currency": "SAR" });
        json!({ "id": "t1", "audience": "s1", "amount": amount, "secret_hash": secret.repeat(32) })
    };
    book.no(0, "tickets.redeem", shows("cc"), "wrong_secret");
    book.no(0, "tickets.redeem", redeem("t1", 1), "wrong_holder");
    book.no(0, "tickets.approve", holder("t1"), "wrong_holder");
    book.ok(0, "tickets.redeem", shows("Ab"));
    let Verdict::Rejected { code, .. } = book.issue(0, json!({ "holder": null })) else { panic!() };
    assert_eq!(code, "invalid_request");
}

#[test]
fn a_secret_that_nobody_recorded_is_not_judged() {
    let mut book = Book::default();
    book.issued(0, json!({ "approved": true, "make_secret": true }));
    let mut shown = redeem("t1", 1);
    shown["secret_hash"] = json!("00".repeat(32));
    assert_eq!(book.send(0, "tickets.redeem", shown), Verdict::NotModelled);
    book.no(0, "tickets.redeem", redeem("t1", 1), "wrong_secret");
}

#[test]
fn a_precondition_is_asked_after_the_right_and_before_the_state() {
    let mut book = Book::default();
    book.issued(0, json!({}));
    let at = |version: Value| json!({ "id": "t1", "holder": "c1", "if_version": version });
    let other = json!({ "id": "t1", "holder": "c2", "if_version": 7 });
    book.no(0, "tickets.approve", other, "wrong_holder");
    let told = book.no(0, "tickets.approve", at(json!(2)), "version_mismatch");
    assert_eq!(told, json!({ "version": 1 }));
    book.no(0, "tickets.approve", at(json!("none")), "version_mismatch");
    book.ok(0, "tickets.approve", at(json!([7, 1])));
    book.no(0, "tickets.approve", at(json!(1)), "version_mismatch");
    book.no(0, "tickets.approve", at(json!("*")), "already_approved");
}

#[test]
fn accounts_do_not_exist_yet() {
    let mut book = Book::default();
    let accounts = json!({ "debit_account": "a", "credit_account": "b", "require_funds": true });
    let Verdict::Rejected { code, reply } = book.issue(0, accounts) else { panic!() };
    assert_eq!((code.as_str(), reply), ("account_not_found", json!({ "id": "a" })));
}

#[test]
fn an_id_that_was_drawn_before_is_never_right() {
    let mut book = Book::default();
    book.issued(0, json!({}));
    book.issued = 0;
    let Verdict::Rejected { code, .. } = book.issue(0, json!({})) else { panic!() };
    assert_eq!(code, "drawn_again");
}

#[test]
fn what_must_always_hold_is_seen_when_it_does_not() {
    let mut book = Book::default();
    book.issued(0, json!({ "approved": true }));
    book.ok(1, "tickets.redeem", redeem("t1", 1000));
    assert_eq!(book.tickets.check(SECOND), Ok(()));
    assert!(book.tickets.check(0).is_err(), "used in the future");
    let mut late = book.tickets.clone();
    late.tickets.get_mut("t1").unwrap().expires_at = SECOND;
    assert!(late.check(SECOND).is_err(), "used at its end");
    let mut more = book.tickets.clone();
    more.tickets.get_mut("t1").unwrap().max.count = 999;
    assert!(more.check(SECOND).is_err(), "used for more than it is good for");
}
