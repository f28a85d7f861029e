//! Long sequences at random, so that what is counted in two ways is counted often.

use super::*;
use crate::model::money::Book;
use crate::model::money::ledger::{line as line_of, system};
use crate::model::money::value::Turn;

/// A sequence of numbers from a seed.
struct Luck(u64);

impl Luck {
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn amount(&mut self) -> i64 {
        i64::try_from(self.below(900) + 1).unwrap()
    }

    fn name(&mut self, kind: &str) -> String {
        format!("{kind}{}", self.below(4))
    }
}

fn target(luck: &mut Luck) -> Value {
    if luck.below(2) == 0 {
        json!({ "invoice": luck.name("I") })
    } else {
        json!({ "retainer": luck.name("R") })
    }
}

fn asked(luck: &mut Luck) -> (&'static str, Value) {
    let amount = luck.amount();
    let mut target = target(luck);
    match luck.below(16) {
        0 => (
            "retainers.consume",
            json!({ "id": luck.name("R"), "amount": sar(amount),
                                           "invoice": luck.name("I") }),
        ),
        1 => ("retainers.replenish", of(&luck.name("R"), amount)),
        2 => {
            ("payments.apply", json!({ "id": luck.name("P"), "to": target, "amount": sar(amount) }))
        }
        3 => ("payments.unapply", json!({ "id": luck.name("P"), "from": target })),
        4 | 5 => {
            target["amount"] = sar(amount);
            let id = format!("P{}", luck.below(9));
            (
                "payments.create",
                json!({ "id": id, "client": "C", "amount": sar(amount),
                                        "method": "x", "destinations": [target] }),
            )
        }
        6 | 7 => {
            let id = format!("P{}", luck.below(9));
            ("payments.complete", json!({ "id": id, "overpayment": "unapplied" }))
        }
        8 => (
            "payments.refund",
            json!({ "id": luck.name("P"), "amount": sar(amount),
                                         "reason": "x", "settle": "later" }),
        ),
        9 => ("payments.refund", json!({ "id": luck.name("P"), "reason": "x" })),
        10 => ("refunds.complete", json!({ "id": format!("n{}", luck.below(300)) })),
        11 => (
            "payments.dispute",
            json!({ "id": luck.name("P"), "amount": sar(amount),
                                           "external_id": format!("e{}", luck.below(99)) }),
        ),
        12 => ("disputes.lose", json!({ "id": format!("n{}", luck.below(300)) })),
        13 => (
            "invoices.credit",
            json!({ "id": luck.name("I"), "reason": "x",
                                          "excess": "unapplied",
                                          "lines": [{ "net": sar(amount), "vat_bp": 1_500 }] }),
        ),
        14 => ("retainers.restore", json!({ "consumption": format!("n{}", luck.below(300)) })),
        _ => ("invoices.write_off", json!({ "id": luck.name("I"), "reason": "x" })),
    }
}

#[test]
fn what_happens_twice_is_seen() {
    let mut desk = Desk::usual();
    desk.retainer("R", 500, json!({ "minimum_balance": sar(200) }));
    desk.paid("P", 100, json!([unapplied(100)]));
    desk.ok("retainers.consume", of("R", 400));
    let told = |change: fn(&mut Book)| {
        let mut state = desk.state.clone();
        change(&mut state.book);
        state.check(desk.at).unwrap_err()
    };
    let twice = told(|book| book.retainers.get_mut("R").unwrap().told += 1);
    assert_eq!(twice, "V11: retainer R: 2 told, of 1 falls");
    let untold = told(|book| book.retainers.get_mut("R").unwrap().told = 0);
    assert_eq!(untold, "V11: retainer R: 0 told, of 1 falls");
    // As if it had come twice, and what it brought were somebody's.
    let again = told(|book| book.retainers.get_mut("R").unwrap().stands.push((7, 0)));
    assert_eq!(again, "V11: retainer R: its balance changed unseen");
    let cash = told(|book| {
        let lines = [("sys:cash", -100), ("sys:revenue", 100)];
        let lines = lines.map(|(name, change)| line_of(&system(name, "SAR"), change));
        book.ledger.move_money(lines.to_vec(), (0, &mut Turn::default()));
    });
    assert_eq!(cash, "V7: sys:cash:SAR: -700, and -600 by what came");
}

#[test]
fn what_must_hold_holds_after_every_step() {
    for seed in 0..20 {
        let mut luck = Luck(seed);
        let mut desk = Desk::usual();
        for number in 0..4 {
            let lines =
                json!([{ "unit_price": sar(2_000), "quantity_milli": 1_000, "vat_bp": 1_500 }]);
            desk.invoice_of(&format!("I{number}"), lines);
            desk.retainer(&format!("R{number}"), 500, json!({ "minimum_balance": sar(200) }));
        }
        let mut accepted = 0;
        for _ in 0..300 {
            let (cmd, args) = asked(&mut luck);
            accepted += u64::from(matches!(desk.send(cmd, &args), Verdict::Accepted { .. }));
        }
        assert!(40 < accepted, "seed {seed}: {accepted}");
    }
}
