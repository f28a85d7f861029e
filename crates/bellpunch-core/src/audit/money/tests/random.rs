//! Any sequence of commands leaves a book in which the audit finds nothing.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{accounts, clients, sar};
use crate::audit::audit;
use crate::trial::{World, at, cases};

/// A command in the making: which, two choices of what it is about, and an amount.
type Step = (usize, usize, usize, u64);

/// A book, and the ids that it drew.
struct Books {
    world: World,
    drawn: BTreeMap<&'static str, Vec<String>>,
}

fn one_of<T: Clone>(all: &[T], place: usize) -> T {
    all[place.checked_rem(all.len()).unwrap()].clone()
}

fn retainer(place: usize) -> &'static str {
    one_of(&["R", "S"], place)
}

fn invoice(place: usize) -> &'static str {
    one_of(&["I", "J", "K"], place)
}

fn payment(place: usize) -> &'static str {
    one_of(&["P", "Q", "V"], place)
}

impl Books {
    fn new() -> Self {
        let mut world = World::default();
        clients(&mut world);
        accounts(&mut world);
        Self { world, drawn: BTreeMap::new() }
    }

    fn drawn(&self, kind: &str, place: usize) -> String {
        let ids = self.drawn.get(kind).filter(|ids| !ids.is_empty());
        ids.map_or_else(|| "none".to_owned(), |ids| one_of(ids, place))
    }

    fn send(&mut self, millis: i64, (name, content): (&'static str, Value)) {
        let answer = self.world.send(millis, (name, content));
        if answer.code() != "ok" {
            return;
        }
        for kind in ["consumption", "refund", "dispute", "hold", "transfer", "ticket"] {
            if let Some(id) = answer.ok()[kind]["id"].as_str() {
                let ids = self.drawn.entry(kind).or_default();
                if !ids.contains(&id.to_owned()) {
                    ids.push(id.to_owned());
                }
            }
        }
    }

    fn of_retainers(&self, (which, a, b, amount): Step) -> (&'static str, Value) {
        let id = retainer(a);
        match which {
            0 => (
                "retainers.create",
                json!({
                    "id": id, "client": "C", "type": "advance", "currency": "SAR",
                    "initial_amount": sar(amount), "minimum_balance": sar(amount.min(25)),
                }),
            ),
            1 => ("retainers.consume", json!({"id": id, "amount": sar(amount)})),
            2 => (
                "retainers.consume",
                json!({
                    "id": id, "amount": sar(amount), "invoice": invoice(b),
                }),
            ),
            3 => ("retainers.replenish", json!({"id": id, "amount": sar(amount)})),
            4 => (
                "retainers.replenish",
                json!({
                    "id": id, "amount": sar(90), "payment": payment(b),
                }),
            ),
            5 => ("retainers.restore", json!({"consumption": self.drawn("consumption", b)})),
            6 => (
                "retainers.restore",
                json!({
                    "consumption": self.drawn("consumption", b), "amount": sar(amount),
                }),
            ),
            7 => (
                "retainers.refund",
                json!({
                    "id": id, "reason": "x", "amount": sar(amount),
                    "settle": one_of(&["now", "later"], b),
                }),
            ),
            8 => (
                "retainers.refund",
                json!({
                    "id": id, "reason": "x", "settle": one_of(&["later", "now"], b),
                }),
            ),
            _ => (
                "retainers.update",
                json!({
                    "id": id, "if_version": "*", "minimum_balance": sar(amount),
                }),
            ),
        }
    }

    fn of_invoices(&self, (which, a, b, amount): Step) -> (&'static str, Value) {
        let id = invoice(a);
        let vat_bp = one_of(&[0, 500, 1_500], b);
        let line = |price: u64, vat_bp: u64| {
            json!({
                "description": "x", "quantity_milli": 1_500, "unit_price": sar(price),
                "vat_bp": vat_bp,
            })
        };
        match which {
            0 => (
                "invoices.create",
                json!({
                    "id": id, "client": "C", "currency": "SAR", "due_on": "2027-02-15", "issue": true,
                    "lines": [line(amount, vat_bp), line(33, 1_500)],
                    "discount": {"bp": amount.saturating_mul(40)},
                }),
            ),
            1 => (
                "invoices.credit",
                json!({
                    "id": id, "lines": [{"net": sar(amount), "vat_bp": vat_bp}], "reason": "x",
                    "excess": "unapplied",
                }),
            ),
            2 => ("invoices.write_off", json!({"id": id, "reason": "x"})),
            3 => ("invoices.reinstate", json!({"id": id})),
            4 => ("invoices.void", json!({"id": id, "reason": "x"})),
            _ => ("invoices.pay", json!({"id": id, "amount": sar(amount), "method": "card"})),
        }
    }

    fn of_payments(&self, (which, a, b, amount): Step) -> (&'static str, Value) {
        let id = payment(a);
        let target = if one_of(&[true, false], b.saturating_add(a)) {
            json!({"invoice": invoice(b)})
        } else {
            json!({"retainer": retainer(b)})
        };
        match which {
            0 | 1 => {
                let mut to = target;
                to["amount"] = sar(amount);
                let list = match which {
                    0 => json!([to, {"unapplied": sar(90_u64.saturating_sub(amount))}]),
                    _ => json!([{"unapplied": sar(90)}]),
                };
                (
                    "payments.create",
                    json!({
                        "id": id, "client": "C", "amount": sar(90), "method": "cash",
                        "destinations": list,
                    }),
                )
            }
            2 => (
                "payments.complete",
                json!({
                    "id": id, "overpayment": one_of(&["refuse", "unapplied"], b),
                }),
            ),
            3 => ("payments.cancel", json!({"id": id, "reason": "x"})),
            4 => ("payments.apply", json!({"id": id, "to": target, "amount": sar(amount)})),
            5 => ("payments.unapply", json!({"id": id, "from": target})),
            6 => (
                "payments.refund",
                json!({
                    "id": id, "amount": sar(amount), "reason": "x",
                    "settle": one_of(&["now", "later"], b),
                }),
            ),
            7 => (
                "payments.dispute",
                json!({
                    "id": id, "amount": sar(amount), "external_id": format!("bank-{amount}"),
                }),
            ),
            8 => ("refunds.complete", json!({"id": self.drawn("refund", b)})),
            9 => ("refunds.fail", json!({"id": self.drawn("refund", b)})),
            10 => ("disputes.lose", json!({"id": self.drawn("dispute", b)})),
            _ => ("disputes.win", json!({"id": self.drawn("dispute", b)})),
        }
    }

    fn of_accounts(&self, (which, a, b, amount): Step) -> (&'static str, Value) {
        match which {
            0 => (
                "accounts.hold",
                json!({"id": "a", "amount": sar(amount), "ttl_ns": 90_000_000_u64}),
            ),
            1 => (
                "accounts.capture",
                json!({
                    "hold": self.drawn("hold", a), "amount": sar(amount), "to": "b",
                }),
            ),
            2 => ("accounts.void_hold", json!({"hold": self.drawn("hold", a)})),
            3 => ("accounts.credit", json!({"id": "a", "amount": sar(amount), "from": "bank"})),
            4 => ("accounts.debit", json!({"id": "b", "amount": sar(amount), "to": "bank"})),
            5 => ("transfers.reverse", json!({"id": self.drawn("transfer", b)})),
            6 => (
                "tickets.create",
                json!({
                    "holder": "c", "audience": "s", "max_amount": sar(amount),
                    "ttl_ns": 120_000_000_u64, "issued_by": "m", "debit_account": "a",
                    "credit_account": "b", "approved": one_of(&[true, false], b),
                }),
            ),
            7 => ("tickets.approve", json!({"id": self.drawn("ticket", a), "holder": "c"})),
            8 => ("tickets.revoke", json!({"id": self.drawn("ticket", a), "by": "s"})),
            _ => (
                "tickets.redeem",
                json!({
                    "id": self.drawn("ticket", a), "audience": "s", "holder": "c",
                    "amount": sar(amount),
                }),
            ),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(30), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_audit_finds_nothing_after_any_commands(
        steps in prop::collection::vec((0..40_usize, 0..6_usize, 0..6_usize, 1..60_u64), 1..80),
    ) {
        let mut books = Books::new();
        let mut millis = 0_i64;
        // Something to work on; the rest is by chance.
        for place in 0..2_usize {
            let step = (0, place, place, 50);
            let calls = [
                books.of_retainers(step), books.of_invoices(step), books.of_payments((place, place, 0, 40)),
                books.of_payments((2, place, 0, 1)),
            ];
            for call in calls {
                books.send(0, call);
            }
        }
        for (which, a, b, amount) in steps {
            millis = millis.checked_add(7).unwrap();
            let call = match which {
                0..10 => books.of_retainers((which, a, b, amount)),
                10..16 => books.of_invoices((which.checked_sub(10).unwrap(), a, b, amount)),
                16..28 => books.of_payments((which.checked_sub(16).unwrap(), a, b, amount)),
                _ => books.of_accounts((which.checked_sub(28).unwrap(), a, b, amount)),
            };
            books.send(millis, call);
        }
        prop_assert_eq!(audit(books.world.stored(), at(millis)), []);
    }
}
