//! Plots about a book: two that want the last of it, one that comes twice, one that comes too late.

use serde_json::{Value, json};

use super::{Plot, Tell, rounds};
use crate::case::{Asked, Case, FaultKind, Instant, MILLI, SECOND, StoreKind};
use crate::rng::Rng;

/// All plots about a book. What a book has at first is one list.
const PLOTS: &[(&str, Tell)] = &[
    ("the last of an account", last_money),
    ("a hold at its end", hold_end),
    ("one completion of many", completions),
    ("a voiding and a payment", void_and_pay),
    ("the last of an invoice", last_due),
    ("a refund that fails", refund_fails),
    ("a dispute after spending", spent),
    ("a retainer that ends", ending),
    ("numbers of commits that are not taken", numbers),
    ("the turn of a period", period),
    ("one proposal of many", proposals),
    ("a chain that waits for a seal", chain),
    ("a lost reply of money", lost_money),
    ("a crash with money", crash),
];

/// A case about a book from a seed.
#[must_use]
pub fn book(seed: u64, generator: &str) -> Case {
    let mut case = Plot::new(Rng::of(seed, "book", 0));
    let place = Rng::of(seed, "plot", 0).place(PLOTS.len());
    if let Some((_, plot)) = PLOTS.get(place) {
        plot(&mut case);
    }
    Case { generator: generator.to_owned(), ..case.finish(seed) }
}

fn sar(amount: u64) -> Value {
    json!({ "amount": amount, "currency": "SAR" })
}

const fn later(at: Instant, millis: u64) -> Instant {
    at.saturating_add(millis.saturating_mul(MILLI))
}

impl Plot {
    /// What a book has at first, all of it or nothing.
    fn given(&mut self, commands: &[(&str, Value)]) {
        let first = self.ask(0, 0, ("book.configure", json!({ "zone": "Asia/Riyadh" })));
        let more = commands.iter();
        let asked =
            |(cmd, args): &(&str, Value)| Asked { cmd: (*cmd).to_owned(), args: args.clone() };
        first.commands.extend(more.map(asked));
    }

    /// A client, a retainer and so many issued invoices.
    fn firm(&mut self, (retainer, invoices): (u64, u64)) {
        let client = json!({ "id": "C", "scope": "L", "name": "C" });
        let mut all = vec![("clients.create", client)];
        let args = json!({ "id": "R", "client": "C", "type": "advance", "currency": "SAR",
                           "initial_amount": sar(retainer), "minimum_balance": sar(300) });
        all.push(("retainers.create", args));
        all.extend(
            (1..=invoices).map(|number| ("invoices.create", invoice(&format!("I{number}"), 1_000))),
        );
        self.given(&all);
    }

    /// Two accounts with so much in the first.
    fn bank(&mut self, amount: u64) {
        let open = |id: &str, class: &str| {
            let args = json!({ "id": id, "owner": id, "currency": "SAR", "class": class });
            ("accounts.create", args)
        };
        let credit = json!({ "id": "a", "amount": sar(amount), "from": "bank" });
        let all = [open("bank", "external"), open("a", "bounded"), open("b", "bounded")];
        self.given(&[all.as_slice(), &[("accounts.credit", credit)]].concat());
    }

    /// Each of these from a node of its own choice, at about one instant.
    fn all_at_once(&mut self, at: Instant, commands: &[(&str, Value)]) {
        for command in commands {
            self.crowd(at, (1, None), command.clone());
        }
    }

    /// A payment that is pending.
    fn payment(&mut self, at: Instant, (id, amount): (&str, u64), to: &Value) {
        let args = json!({ "id": id, "client": "C", "amount": sar(amount), "method": "bank",
                           "destinations": to });
        self.ask(at, 0, ("payments.create", args));
    }

    /// A payment that is completed.
    fn paid(&mut self, at: Instant, (id, amount): (&str, u64), to: &Value) {
        self.payment(at, (id, amount), to);
        self.ask(later(at, 30), 0, ("payments.complete", json!({ "id": id })));
    }
}

fn invoice(id: &str, total: u64) -> Value {
    let line = json!({ "description": "work", "quantity_milli": 1_000, "unit_price": sar(total),
                       "vat_bp": 0 });
    json!({ "id": id, "client": "C", "currency": "SAR", "lines": [line], "due_on": "2026-04-01",
            "issue": true })
}

fn to_invoice(id: &str, amount: u64) -> Value {
    json!({ "invoice": id, "amount": sar(amount) })
}

fn debit(amount: u64) -> (&'static str, Value) {
    ("accounts.debit", json!({ "id": "a", "amount": sar(amount), "to": "bank" }))
}

fn last_money(plot: &mut Plot) {
    plot.settings.nodes = plot.rng.between(1, 4);
    plot.bank(1_000);
    for (round, at) in rounds(5, 300 * MILLI) {
        let amount = *plot.rng.pick(&[150, 300, 400]);
        let lines = json!([{ "account": "a", "side": "debit", "amount": sar(amount) },
                           { "account": "b", "side": "credit", "amount": sar(amount) }]);
        let hold = json!({ "id": "a", "amount": sar(amount), "ttl_ns": 2 * SECOND });
        plot.crowd(at, (2, None), debit(amount));
        plot.crowd(at, (2, None), ("transfers.create", json!({ "lines": lines, "series": "TXN" })));
        plot.crowd(at, (2, None), ("accounts.hold", hold));
        let name = format!("$transfers:{round}");
        plot.crowd(later(at, 100), (3, None), ("transfers.reverse", json!({ "id": name })));
    }
}

fn hold_end(plot: &mut Plot) {
    plot.bank(1_000);
    for (round, at) in rounds(4, 800 * MILLI) {
        let hold = json!({ "id": "a", "amount": sar(600), "ttl_ns": 500 * MILLI });
        plot.ask(at, 1, ("accounts.hold", hold));
        let name = format!("$account_holds:{}", round.saturating_sub(1));
        let capture = json!({ "hold": name, "amount": sar(100), "to": "b" });
        for _ in 0..plot.rng.between(2, 4) {
            let (at, node) = (plot.about(later(at, 500), 20 * MILLI), plot.node());
            plot.ask(at, node, ("accounts.capture", capture.clone()));
            plot.ask(at, node, debit(500));
        }
    }
    // Tickets that move money, at their end.
    for (round, at) in rounds(3, 900 * MILLI) {
        let create = json!({ "holder": "a", "audience": "b", "issued_by": "i", "approved": true,
                             "ttl_ns": 400 * MILLI, "max_amount": sar(200), "debit_account": "a",
                             "credit_account": "b" });
        plot.ask(at, 0, ("tickets.create", create));
        let redeem = json!({ "id": format!("$tickets:{}", round.saturating_sub(1)), "holder": "a",
                             "audience": "b", "amount": sar(200) });
        for after in [200, 395, 400] {
            let (at, node) = (plot.about(later(at, after), 10 * MILLI), plot.node());
            plot.ask(at, node, ("tickets.redeem", redeem.clone()));
        }
    }
}

fn completions(plot: &mut Plot) {
    plot.firm((1_000, 3));
    for (round, at) in rounds(3, 500 * MILLI) {
        let (name, other) = (format!("P{round}"), format!("Q{round}"));
        let to = json!([to_invoice(&format!("I{round}"), 600)]);
        plot.payment(later(at, 0).saturating_sub(100 * MILLI), (&name, 600), &to);
        plot.payment(at.saturating_sub(100 * MILLI), (&other, 600), &to);
        let end = json!({ "id": name, "reason": "gone" });
        plot.crowd(at, (5, None), ("payments.complete", json!({ "id": name })));
        plot.all_at_once(at, &[("payments.fail", end.clone()), ("payments.cancel", end)]);
        let divert = json!({ "id": other, "overpayment": "unapplied" });
        plot.crowd(later(at, 100), (3, None), ("payments.complete", divert));
        let replenish = json!({ "id": "R", "amount": sar(600), "payment": other });
        plot.crowd(later(at, 200), (2, None), ("retainers.replenish", replenish));
    }
}

fn void_and_pay(plot: &mut Plot) {
    plot.firm((1_000, 4));
    for (round, at) in rounds(4, 300 * MILLI) {
        let id = format!("I{round}");
        let pay = json!({ "id": id, "amount": sar(400), "method": "cash" });
        plot.crowd(at, (2, None), ("invoices.void", json!({ "id": id, "reason": "wrong" })));
        plot.crowd(at, (2, None), ("invoices.pay", pay));
        let args = json!({ "id": "R", "amount": sar(100), "invoice": id });
        plot.crowd(at, (1, None), ("retainers.consume", args));
    }
}

fn last_due(plot: &mut Plot) {
    plot.firm((1_000, 3));
    for (round, at) in rounds(3, 400 * MILLI) {
        let id = format!("I{round}");
        let pay = json!({ "id": id, "amount": sar(400), "method": "cash" });
        plot.crowd(at, (4, None), ("invoices.pay", pay));
        let args = json!({ "id": "R", "amount": sar(100), "invoice": id });
        plot.crowd(at, (3, None), ("retainers.consume", args));
        let lines = json!([{ "net": sar(500), "vat_bp": 0 }]);
        let credit = json!({ "id": id, "lines": lines, "reason": "less", "excess": "unapplied" });
        plot.crowd(later(at, 100), (2, None), ("invoices.credit", credit));
    }
}

fn refund_fails(plot: &mut Plot) {
    plot.firm((1_000, 3));
    for (round, at) in rounds(3, 700 * MILLI) {
        let name = format!("P{round}");
        plot.paid(
            at.saturating_sub(500 * MILLI),
            (&name, 1_000),
            &json!([to_invoice(&format!("I{round}"), 1_000)]),
        );
        let mut refund = json!({ "id": name, "amount": sar(600), "reason": "back" });
        plot.crowd(at, (1, None), ("payments.refund", refund.clone()));
        refund["settle"] = json!("later");
        plot.crowd(at, (2, None), ("payments.refund", refund));
        let pending = json!({ "id": format!("$refunds:{}", plot.rng.below(3)) });
        let ends = [("refunds.fail", pending.clone()), ("refunds.complete", pending)];
        plot.all_at_once(later(at, 100), &ends);
        let again = json!({ "id": name, "reason": "back" });
        plot.crowd(later(at, 120), (2, None), ("payments.refund", again));
    }
}

fn spent(plot: &mut Plot) {
    plot.firm((0, 0));
    for (round, at) in rounds(3, 700 * MILLI) {
        let name = format!("P{round}");
        let to = json!([{ "retainer": "R", "amount": sar(500) }]);
        plot.paid(at.saturating_sub(500 * MILLI), (&name, 500), &to);
        let consume = json!({ "id": "R", "amount": sar(300) });
        plot.crowd(at, (3, None), ("retainers.consume", consume));
        let dispute = json!({ "id": name, "amount": sar(500), "external_id": format!("d{round}") });
        plot.crowd(at, (2, None), ("payments.dispute", dispute));
        let open = json!({ "id": format!("$disputes:{}", round.saturating_sub(1)) });
        let ends = [
            ("disputes.lose", open.clone()),
            ("disputes.lose", open.clone()),
            ("disputes.win", open),
        ];
        plot.all_at_once(later(at, 100), &ends);
    }
}

fn ending(plot: &mut Plot) {
    plot.firm((1_000, 1));
    for (round, at) in rounds(3, 400 * MILLI) {
        plot.crowd(at, (2, None), ("retainers.consume", json!({ "id": "R", "amount": sar(150) })));
        let whole = json!({ "id": "R", "reason": "end", "settle": "later" });
        plot.crowd(later(at, 50), (1, None), ("retainers.refund", whole));
        plot.crowd(
            later(at, 100),
            (2, None),
            ("retainers.replenish", json!({ "id": "R", "amount": sar(50) })),
        );
        let pending = json!({ "id": format!("$refunds:{}", round.saturating_sub(1)) });
        let command = if round < 3 { "refunds.fail" } else { "refunds.complete" };
        plot.crowd(later(at, 150), (2, None), (command, pending));
    }
}

fn numbers(plot: &mut Plot) {
    plot.settings.nodes = plot.rng.between(2, 4);
    plot.firm((1_000, 0));
    let fault = *plot.rng.pick(&[FaultKind::Conflict, FaultKind::LostCommit, FaultKind::Refuse]);
    for (round, at) in rounds(4, 400 * MILLI) {
        let node = plot.node();
        plot.fault(fault, node, (at, later(at, 30)));
        for number in 0..plot.rng.between(3, 8) {
            let args = invoice(&format!("N{round}-{number}"), 100);
            plot.crowd(at, (1, None), ("invoices.create", args));
        }
        let taken = json!({ "name": "INV", "document": format!("x{round}") });
        plot.crowd(at, (2, None), ("series.next", taken));
        let number = format!("INV-202603-{:04}", plot.rng.between(1, 12));
        let void = json!({ "name": "INV", "number": number, "reason": "lost" });
        plot.crowd(later(at, 100), (1, None), ("series.void", void));
    }
    let last = json!({ "name": "INV", "document": "last" });
    plot.ask(2 * SECOND, 0, ("series.next", last));
}

fn period(plot: &mut Plot) {
    let client = json!({ "id": "C", "scope": "L", "name": "C" });
    plot.given(&[("clients.create", client)]);
    if let Some(first) = plot.steps.first_mut().and_then(|step| step.commands.first_mut()) {
        // Its month ends a minute after the start.
        first.args["zone"] = json!("-00:01");
    }
    let advance = json!({ "name": "INV", "period": "202602", "last": 7 });
    plot.ask(100 * MILLI, 0, ("series.advance", advance));
    let turn = 60 * SECOND;
    for round in 0..12 {
        let at = plot.about(turn, 20 * MILLI);
        let taken = json!({ "name": "INV", "document": format!("x{round}") });
        plot.crowd(at, (2, None), ("series.next", taken));
        plot.crowd(at, (2, None), ("invoices.create", invoice(&format!("N{round}"), 100)));
    }
    plot.fault(FaultKind::Conflict, 0, (turn.saturating_sub(5 * MILLI), turn));
    plot.ask(turn.saturating_sub(SECOND), 1, ("invoices.create", invoice("before", 100)));
    plot.ask(turn.saturating_add(SECOND), 1, ("invoices.create", invoice("after", 100)));
}

fn proposals(plot: &mut Plot) {
    let create = |id: u64| ("jobs.create", json!({ "id": format!("J{id}"), "owner": "o" }));
    plot.given(&[create(1), create(2), create(3)]);
    for (round, at) in rounds(3, 300 * MILLI) {
        let job = format!("J{round}");
        for proposer in ["p", "q", "r"] {
            let mine = json!({ "job": job, "proposer": proposer });
            plot.crowd(
                at.saturating_sub(100 * MILLI),
                (2, None),
                ("proposals.create", mine.clone()),
            );
            let mut theirs = mine.clone();
            theirs["by"] = json!("o");
            plot.crowd(at, (2, None), ("proposals.accept", theirs));
            if proposer == "r" {
                plot.crowd(at, (1, None), ("proposals.withdraw", mine));
            }
        }
    }
}

fn chain(plot: &mut Plot) {
    let seal = *plot.rng.pick(&["caller", "caller", "auto"]);
    let chain = json!({ "name": "Z", "genesis_hash": "00".repeat(32), "seal": seal });
    let series = json!({ "name": "FIN", "template": "FIN-{YYYY}{MM}-{N:4}", "class": "gapless",
                         "zone": "Asia/Riyadh", "chain": "Z" });
    let client = json!({ "id": "C", "scope": "L", "name": "C" });
    plot.given(&[("clients.create", client), ("chains.define", chain), ("series.define", series)]);
    for (round, at) in rounds(4, 300 * MILLI) {
        for number in 0..3 {
            let mut args = invoice(&format!("F{round}-{number}"), 100);
            args["series"] = json!("FIN");
            plot.crowd(at, (1, None), ("invoices.create", args));
        }
        for number in 0..3 {
            let args = json!({ "document": format!("F{round}-{number}"),
                               "hash": format!("{round}{number}").repeat(32) });
            plot.crowd(later(at, 100), (2, None), ("chains.seal", args));
        }
    }
}

fn lost_money(plot: &mut Plot) {
    plot.settings.patience = 60 * SECOND;
    plot.bank(1_000);
    for (_, at) in rounds(4, SECOND) {
        let fault =
            *plot.rng.pick(&[FaultKind::LostReply, FaultKind::LostReply, FaultKind::LostCommit]);
        plot.fault(fault, 0, (at, later(at, 20)));
        plot.crowd(later(at, 1), (3, Some(0)), debit(100));
        if plot.rng.chance(700) {
            let after = plot.rng.between(30, 300);
            plot.crowd(later(at, after), (1, Some(1)), debit(50));
        }
        let key = format!("again{at}");
        for after in [1, 400, 700] {
            let (at, node) = (later(at, after), plot.node());
            plot.ask(at, node, debit(70)).key = Some(key.clone());
        }
    }
}

fn crash(plot: &mut Plot) {
    if plot.rng.chance(500) {
        plot.settings.nodes = 1;
        plot.settings.store = StoreKind::Exclusive;
    }
    plot.settings.commit = *plot.rng.pick(&[2 * MILLI, 10 * MILLI]);
    plot.bank(1_000);
    for (_, at) in rounds(4, 500 * MILLI) {
        plot.crowd(at, (4, Some(0)), debit(100));
        plot.crowd(later(at, 1), (3, Some(0)), debit(50));
        let most = plot.settings.commit.saturating_mul(2);
        let dies = at.saturating_add(plot.rng.below(most));
        plot.fault(FaultKind::Crash, 0, (dies, later(dies, 100)));
    }
}
