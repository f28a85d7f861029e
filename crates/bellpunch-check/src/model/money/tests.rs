//! The scripts of the description that are about one caller after another, and their answers.

mod billing;
mod invoices;
mod jobs;
mod ledger;
mod numbers;
mod payments;
mod refunds;
mod retainers;
mod tickets;

use serde_json::{Value, json};

use crate::instant::{Nanos, parse};
use crate::model::state::State;
use crate::model::{Call, Verdict};

const MILLI: Nanos = 1_000_000;

/// A book in Riyadh, and what is asked of it.
struct Desk {
    state: State,
    at: Nanos,
    drawn: u64,
}

fn sar(amount: i64) -> Value {
    json!({ "amount": amount, "currency": "SAR" })
}

impl Desk {
    /// An empty book on 2025-06-15.
    fn empty() -> Self {
        let at = parse("2025-06-15T00:00:00Z").unwrap();
        Self { state: State::default(), at, drawn: 0 }
    }

    /// With the usual series and the client C.
    fn usual() -> Self {
        let mut desk = Self::empty();
        for (name, template, class, scoped) in [
            ("PAY", "PAY-{YYYY}-{N:4}", "gapless", false),
            ("RET", "RET-{YYYY}-{N:4}", "gapless", false),
            ("CLT", "CLT-{YYYY}-{N:4}", "gapless", true),
            ("INV", "INV-{YYYY}{MM}-{N:4}", "gapless", false),
            ("CRN", "CRN-{YYYY}{MM}-{N:4}", "gapless", false),
            ("RFD", "RFD-{YYYY}{MM}-{N:4}", "gapless", false),
            ("TXN", "TXN-{YYYY}{MM}-{N:5}", "unique", false),
        ] {
            let args = json!({ "name": name, "template": template, "class": class,
                               "zone": "Asia/Riyadh", "scoped": scoped });
            desk.ok("series.define", args);
        }
        desk.ok("clients.create", json!({ "id": "C", "scope": "L", "name": "C" }));
        desk
    }

    fn send(&mut self, cmd: &str, args: &Value) -> Verdict {
        self.drawn += 1;
        let id = json!({ "id": format!("n{}", self.drawn) });
        let kinds = [
            "account",
            "transfer",
            "hold",
            "client",
            "retainer",
            "consumption",
            "invoice",
            "credit_note",
            "payment",
            "refund",
            "dispute",
            "job",
            "ticket",
        ];
        let drawn: Value = kinds.iter().map(|kind| ((*kind).to_owned(), id.clone())).collect();
        let call = Call { cmd, args, at: self.at, drawn: Some(&drawn) };
        let before = self.state.clone();
        let verdict = self.state.apply(&call);
        if matches!(verdict, Verdict::Rejected { .. }) {
            assert!(self.state == before, "{cmd} {args} was refused and changed the book");
        }
        self.state.check(self.at).unwrap();
        verdict
    }

    /// Sends a command that must be accepted; gives its reply.
    fn ok(&mut self, cmd: &str, args: Value) -> Value {
        match self.send(cmd, &args) {
            Verdict::Accepted { reply, .. } => reply,
            verdict => panic!("{cmd} {args}: {verdict:?}"),
        }
    }

    /// Sends one that must be refused with this code; gives its data.
    fn no(&mut self, cmd: &str, args: Value, expected: &str) -> Value {
        match self.send(cmd, &args) {
            Verdict::Rejected { code, reply } if code == expected => reply,
            verdict => panic!("{cmd} {args}: {expected}: {verdict:?}"),
        }
    }

    fn retainer(&mut self, id: &str, amount: i64, more: Value) {
        let mut args = json!({ "id": id, "client": "C", "type": "advance", "currency": "SAR" });
        if amount != 0 {
            args["initial_amount"] = sar(amount);
        }
        extend(&mut args, more);
        self.ok("retainers.create", args);
    }

    /// An issued invoice of this total, without tax.
    fn invoice(&mut self, id: &str, total: i64) -> Value {
        self.invoice_of(
            id,
            json!([{ "description": "x", "quantity_milli": 1000,
                                     "unit_price": sar(total), "vat_bp": 0 }]),
        )
    }

    fn invoice_of(&mut self, id: &str, lines: Value) -> Value {
        let args = json!({ "id": id, "client": "C", "currency": "SAR", "lines": lines,
                           "due_on": "2025-07-15", "issue": true });
        self.ok("invoices.create", args)["invoice"].take()
    }

    fn payment(&mut self, id: &str, amount: i64, destinations: Value) {
        let mut args = json!({ "id": id, "client": "C", "amount": sar(amount), "method": "bank" });
        if !destinations.is_null() {
            args["destinations"] = destinations;
        }
        self.ok("payments.create", args);
    }

    /// A completed payment.
    fn paid(&mut self, id: &str, amount: i64, destinations: Value) -> Value {
        self.payment(id, amount, destinations);
        self.ok("payments.complete", json!({ "id": id }))
    }

    fn read(&mut self, kind: &str, id: &str) -> Value {
        let mut reply = self.ok(&format!("{kind}s.read"), json!({ "id": id }));
        reply[kind].take()
    }
}

fn extend(args: &mut Value, more: Value) {
    if let Value::Object(more) = more {
        args.as_object_mut().unwrap().extend(more);
    }
}

fn to_invoice(id: &str, amount: i64) -> Value {
    json!({ "invoice": id, "amount": sar(amount) })
}

fn to_retainer(id: &str, amount: i64) -> Value {
    json!({ "retainer": id, "amount": sar(amount) })
}

fn unapplied(amount: i64) -> Value {
    json!({ "unapplied": sar(amount) })
}

/// The names of the events of a reply.
fn events(reply: &Value) -> Vec<&str> {
    reply["events"].as_array().unwrap().iter().map(|one| one["event"].as_str().unwrap()).collect()
}

fn of(id: &str, amount: i64) -> Value {
    json!({ "id": id, "amount": sar(amount) })
}
