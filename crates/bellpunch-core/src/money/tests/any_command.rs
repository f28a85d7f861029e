//! A command about money by chance, about records that are there or are not.

#![expect(clippy::arithmetic_side_effects, reason = "a test that overflows panics, as it should")]

use serde_json::{Value, json};

use crate::trial::{World, at};

/// A command's name and content.
pub(super) type Any = (&'static str, Value);

/// xorshift64*, Vigna 2016.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(drawn).unwrap() % bound
    }

    /// Once in so many.
    pub(super) fn once_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    fn one_of<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// What commands are made of.
pub(super) struct Maker<'w> {
    pub(super) world: &'w World,
    pub(super) chance: &'w mut Chance,
    pub(super) millis: i64,
    /// Whether sums come near the largest.
    pub(super) large: bool,
}

impl Maker<'_> {
    pub(super) fn any(&mut self) -> Any {
        let (name, mut content) = match self.chance.below(40) {
            0..=12 => self.of_retainers(),
            13..=20 => self.of_invoices(),
            21..=30 => self.of_payments(),
            31..=36 => self.of_refunds(),
            37 => self.of_the_book(),
            _ => self.of_accounts(),
        };
        if !name.ends_with("create") && self.chance.once_in(20) {
            content["if_version"] = [json!(1), json!("*"), json!(7)][self.chance.below(3)].clone();
        }
        (name, content)
    }

    /// The id of a record that is there, or of none.
    fn id(&mut self, kind: &str) -> String {
        let ids = self.world.ids(kind);
        if ids.is_empty() || self.chance.once_in(60) {
            return "none".to_owned();
        }
        ids[self.chance.below(ids.len())].clone()
    }

    fn amount(&mut self) -> u64 {
        if self.large && self.chance.once_in(4) {
            return [9_007_199_254_740_991, 4_503_599_627_370_496][self.chance.below(2)];
        }
        match self.chance.below(4) {
            0 => [50, 90, 100, 200][self.chance.below(4)],
            _ => 1 + u64::try_from(self.chance.below(60)).unwrap(),
        }
    }

    fn money(&mut self) -> Value {
        let amount = self.amount();
        self.of(amount)
    }

    /// So much, of a currency that is most often the right one.
    fn of(&mut self, amount: u64) -> Value {
        let currency = match self.chance.below(80) {
            0 => "USD",
            1 => "XQX",
            _ => "SAR",
        };
        json!({"amount": amount, "currency": currency})
    }

    fn client(&mut self) -> &'static str {
        self.chance.one_of(&["C", "C", "C", "C", "C", "C", "C", "D"])
    }

    fn maybe(&mut self, content: &mut Value, name: &str, value: Value) {
        if self.chance.once_in(2) {
            content[name] = value;
        }
    }

    fn soon(&mut self) -> Value {
        let later = i64::try_from(self.chance.below(300)).unwrap();
        json!(at(self.millis.checked_add(later).unwrap()))
    }

    fn settle(&mut self) -> &'static str {
        self.chance.one_of(&["now", "later"])
    }

    fn of_retainers(&mut self) -> Any {
        let id = self.id("retainers");
        match self.chance.below(16) {
            0 => self.new_retainer(),
            1..=5 => {
                let mut content = json!({"id": id, "amount": self.money()});
                let invoice = self.id("invoices");
                self.maybe(&mut content, "invoice", json!(invoice));
                ("retainers.consume", content)
            }
            6 => ("retainers.replenish", json!({"id": id, "amount": self.money()})),
            7 | 8 => {
                let payment = self.id("payments");
                let of = |stored: &crate::audit::Stored| stored.record["amount"].as_u64();
                let payments = self.world.stored_of(|kind| kind == "payments");
                let found = payments.iter().find(|stored| stored.key.id.as_str() == payment);
                let amount = found.and_then(of).unwrap_or(1);
                let amount = self.of(amount);
                ("retainers.replenish", json!({"id": id, "amount": amount, "payment": payment}))
            }
            9 | 10 => {
                let mut content = json!({"consumption": self.id("consumptions")});
                let amount = self.money();
                self.maybe(&mut content, "amount", amount);
                ("retainers.restore", content)
            }
            11 => ("retainers.refund", json!({"id": id, "reason": "x", "settle": self.settle()})),
            12 | 13 => (
                "retainers.refund",
                json!({"id": id, "reason": "x", "settle": self.settle(), "amount": self.money()}),
            ),
            _ => {
                let mut content = json!({"id": id, "if_version": "*"});
                let (minimum, ends_at) = (self.money(), self.soon());
                self.maybe(&mut content, "minimum_balance", minimum);
                if self.chance.once_in(6) {
                    content["ends_at"] = ends_at;
                }
                ("retainers.update", content)
            }
        }
    }

    fn new_retainer(&mut self) -> Any {
        let mut content = json!({
            "client": self.client(), "type": "advance", "currency": "SAR",
            "initial_amount": self.money(), "minimum_balance": self.money(),
        });
        let id = self.chance.one_of(&["R", "S", "T", "U"]);
        self.maybe(&mut content, "id", json!(id));
        for (name, of) in [("ends_at", 4), ("starts_at", 12)] {
            let when = self.soon();
            if self.chance.once_in(of) {
                content[name] = when;
            }
        }
        ("retainers.create", content)
    }

    fn lines(&mut self) -> Vec<Value> {
        let many = 1 + self.chance.below(3);
        let line = |_| {
            let quantity_milli = [1_000, 1_500, 333][self.chance.below(3)];
            let vat_bp = [0, 0, 500, 1_500][self.chance.below(4)];
            json!({
                "description": "x", "quantity_milli": quantity_milli,
                "unit_price": self.money(), "vat_bp": vat_bp,
            })
        };
        (0..many).map(line).collect()
    }

    fn of_invoices(&mut self) -> Any {
        let id = self.id("invoices");
        match self.chance.below(16) {
            0..=2 => {
                let mut content = json!({
                    "client": self.client(), "currency": "SAR", "due_on": "2027-02-15",
                    "lines": self.lines(), "issue": !self.chance.once_in(4),
                });
                let discount = json!({"bp": self.chance.below(10_001)});
                self.maybe(&mut content, "discount", discount);
                ("invoices.create", content)
            }
            3 => {
                let content = json!({"id": id, "if_version": "*", "lines": self.lines()});
                ("invoices.update", content)
            }
            4 => ("invoices.issue", json!({"id": id})),
            5 => ("invoices.discard", json!({"id": id})),
            6 => ("invoices.send", json!({"id": id})),
            7 | 8 => {
                let mut content = json!({"id": id, "amount": self.money(), "method": "card"});
                let external_id = format!("gateway-{}", self.chance.below(20));
                self.maybe(&mut content, "external_id", json!(external_id));
                ("invoices.pay", content)
            }
            9 => ("invoices.void", json!({"id": id, "reason": "x"})),
            10..=13 => {
                let line = |_| {
                    let vat_bp = [0, 500, 1_500][self.chance.below(3)];
                    json!({"net": self.money(), "vat_bp": vat_bp})
                };
                let lines: Vec<Value> = (0..2).map(line).collect();
                let lines = &lines[self.chance.below(2)..];
                let excess = self.chance.one_of(&["refuse", "unapplied", "unapplied"]);
                let content = json!({"id": id, "lines": lines, "reason": "x", "excess": excess});
                ("invoices.credit", content)
            }
            14 => ("invoices.write_off", json!({"id": id, "reason": "x"})),
            _ => ("invoices.reinstate", json!({"id": id})),
        }
    }

    fn target(&mut self) -> Value {
        if self.chance.once_in(2) {
            json!({"invoice": self.id("invoices")})
        } else {
            json!({"retainer": self.id("retainers")})
        }
    }

    /// Places whose sum is this amount, most often.
    fn places(&mut self, amount: u64) -> Vec<Value> {
        let mut left = amount;
        let mut places = Vec::new();
        for _ in 0..self.chance.below(3) {
            let part = self.amount().min(left);
            let mut place = self.target();
            if part != 0 {
                place["amount"] = self.of(part);
                places.push(place);
            }
            left = left.checked_sub(part).unwrap();
        }
        if left != 0 && !self.chance.once_in(20) {
            places.push(json!({"unapplied": self.of(left)}));
        }
        places
    }

    fn of_payments(&mut self) -> Any {
        let id = self.id("payments");
        match self.chance.below(14) {
            0..=3 => {
                let amount = self.amount();
                let mut content = json!({
                    "client": self.client(), "amount": self.of(amount), "method": "cash",
                });
                let (places, external) = (self.places(amount), self.chance.below(20));
                self.maybe(&mut content, "destinations", json!(places));
                self.maybe(&mut content, "external_id", json!(format!("gateway-{external}")));
                ("payments.create", content)
            }
            4..=7 => {
                let overpayment = self.chance.one_of(&["refuse", "unapplied"]);
                let mut content = json!({"id": id, "overpayment": overpayment});
                let amount = self.amount();
                if self.chance.once_in(3) {
                    content["destinations"] = json!(self.places(amount));
                }
                if self.chance.once_in(6) {
                    content["amount"] = self.of(amount);
                }
                let external = self.chance.below(20);
                if self.chance.once_in(6) {
                    content["external_id"] = json!(format!("gateway-{external}"));
                }
                ("payments.complete", content)
            }
            8 => ("payments.fail", json!({"id": id, "reason": "x"})),
            9 => ("payments.cancel", json!({"id": id, "reason": "x"})),
            10 | 11 => {
                let to = self.target();
                ("payments.apply", json!({"id": id, "to": to, "amount": self.money()}))
            }
            _ => {
                let mut content = json!({"id": id, "from": self.target()});
                let amount = self.money();
                self.maybe(&mut content, "amount", amount);
                ("payments.unapply", content)
            }
        }
    }

    fn of_refunds(&mut self) -> Any {
        let id = self.id("payments");
        match self.chance.below(12) {
            0..=3 => {
                let mut content = json!({"id": id, "reason": "x", "settle": self.settle()});
                let amount = self.amount();
                let (places, external) = (self.places(amount), self.chance.below(20));
                if !self.chance.once_in(6) {
                    content["amount"] = self.of(amount);
                }
                if self.chance.once_in(3) {
                    content["sources"] = json!(places);
                }
                if self.chance.once_in(6) {
                    content["external_id"] = json!(format!("gateway-{external}"));
                }
                ("payments.refund", content)
            }
            4 | 5 => {
                let amount = self.amount();
                let mut content = json!({
                    "id": id, "amount": self.of(amount),
                    "external_id": format!("bank-{}", self.chance.below(40)),
                });
                if self.chance.once_in(3) {
                    content["sources"] = json!(self.places(amount));
                }
                ("payments.dispute", content)
            }
            6 | 7 => ("refunds.complete", json!({"id": self.id("refunds")})),
            8 => ("refunds.fail", json!({"id": self.id("refunds")})),
            9 | 10 => ("disputes.lose", json!({"id": self.id("disputes")})),
            _ => ("disputes.win", json!({"id": self.id("disputes")})),
        }
    }

    /// Accounts of callers; all others are refused to them.
    fn of_accounts(&mut self) -> Any {
        let (id, hold) = (self.id("accounts"), self.id("account_holds"));
        match self.chance.below(7) {
            0 => ("accounts.credit", json!({"id": id, "amount": self.money(), "from": "bank"})),
            1 => ("accounts.debit", json!({"id": id, "amount": self.money(), "to": "bank"})),
            2 => {
                let content = json!({"id": id, "amount": self.money(), "ttl_ns": 90_000_000_u64});
                ("accounts.hold", content)
            }
            3 => ("accounts.capture", json!({"hold": hold, "amount": self.money(), "to": "bank"})),
            4 => ("accounts.void_hold", json!({"hold": hold})),
            5 => ("accounts.close", json!({"id": id})),
            _ => ("transfers.reverse", json!({"id": self.id("transfers")})),
        }
    }

    fn of_the_book(&mut self) -> Any {
        match self.chance.below(5) {
            0 => ("book.configure", json!({"void_allowed": !self.chance.once_in(4)})),
            1 | 2 => {
                let archived = self.chance.once_in(2);
                let id = self.chance.one_of(&["C", "D"]);
                let archived = archived && id == "D";
                ("clients.update", json!({"id": id, "if_version": "*", "archived": archived}))
            }
            3 => ("series.next", json!({"name": "INV", "document": self.amount().to_string()})),
            _ => ("clients.create", json!({"scope": "L", "name": "x"})),
        }
    }
}
