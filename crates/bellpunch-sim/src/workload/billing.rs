//! What clients ask of a firm's book: clients, retainers, invoices, payments, refunds, numbers,
//! jobs.
//!
//! Two clients, a few documents of each kind under names that are chosen beforehand, so that two
//! callers make, pay and give back the same ones.

use serde_json::{Value, json};

use super::{asked, instant, place};
use crate::case::{Asked, SECOND};
use crate::rng::Rng;

fn money(amount: u64) -> Value {
    json!({ "amount": amount, "currency": "SAR" })
}

fn line(price: u64, vat_bp: u64) -> Value {
    json!({ "description": "work", "quantity_milli": 1_000, "unit_price": money(price),
            "vat_bp": vat_bp })
}

fn invoice(id: &str, client: &str, rng: &mut Rng) -> Value {
    let mut lines = vec![line(rng.between(1, 900), 0)];
    if rng.chance(500) {
        lines.push(json!({ "description": "hours", "quantity_milli": rng.between(1, 5_000),
                           "unit_price": money(333), "vat_bp": 1_500 }));
    }
    if rng.chance(300) {
        lines.push(line(rng.between(1, 50), 500));
    }
    let mut args = json!({ "id": id, "client": client, "currency": "SAR", "lines": lines,
                           "due_on": rng.pick(&["2026-02-28", "2026-03-01", "2026-04-01"]) });
    match rng.below(6) {
        0 => args["discount"] = json!({ "amount": money(rng.between(1, 400)) }),
        1 => args["discount"] = json!({ "bp": 1_250 }),
        _ => {}
    }
    args
}

/// What a book is given first, as one list: nobody finds half of it.
pub(super) fn first(rng: &mut Rng) -> Vec<Asked> {
    let mut book = json!({ "zone": "Asia/Riyadh" });
    if rng.chance(150) {
        book["void_allowed"] = json!(false);
    }
    let mut all = vec![asked("book.configure", book)];
    for client in ["C", "D"] {
        let args = json!({ "id": client, "scope": "L", "name": client });
        all.push(asked("clients.create", args));
    }
    for (id, client) in [("R0", "C"), ("R1", "C"), ("R2", "D")] {
        let mut args = json!({ "id": id, "client": client, "type": "advance", "currency": "SAR",
                               "initial_amount": money(1_000) });
        if rng.chance(700) {
            args["minimum_balance"] = money(400);
        }
        if rng.chance(200) {
            args["ends_at"] = json!(instant(rng.between(4, 20).saturating_mul(SECOND)));
        }
        all.push(asked("retainers.create", args));
    }
    for (id, client) in [("I0", "C"), ("I1", "C"), ("I2", "D")] {
        let mut args = invoice(id, client, rng);
        args["issue"] = json!(true);
        all.push(asked("invoices.create", args));
    }
    all.push(asked("jobs.create", json!({ "id": "J0", "owner": "o" })));
    if rng.chance(300) {
        let seal = *rng.pick(&["caller", "auto"]);
        let chain = json!({ "name": "Z", "genesis_hash": "00".repeat(32), "seal": seal });
        all.push(asked("chains.define", chain));
        let args = json!({ "name": "FIN", "template": "FIN-{YYYY}{MM}{DD}-{N:1}",
                           "class": "gapless", "zone": "Asia/Riyadh", "chain": "Z",
                           "overflow": rng.pick(&["widen", "refuse"]) });
        all.push(asked("series.define", args));
    }
    all
}

fn amount(rng: &mut Rng) -> Value {
    money(match rng.below(10) {
        0 => 1_000,
        1 => 9_007_199_254_740_991,
        2 | 3 => 333,
        _ => rng.between(1, 600),
    })
}

fn client(rng: &mut Rng) -> &'static str {
    rng.pick::<&str>(&["C", "C", "C", "C", "D"])
}

fn named(kind: &str, rng: &mut Rng) -> String {
    // The first of a kind are hot; all are of the first client but a few.
    let number = if rng.chance(600) { rng.below(3) } else { rng.below(9) };
    format!("{kind}{number}")
}

fn target(rng: &mut Rng) -> Value {
    if rng.chance(600) {
        json!({ "invoice": named("I", rng) })
    } else {
        json!({ "retainer": named("R", rng) })
    }
}

/// What is asked for next.
pub(super) fn next(rng: &mut Rng) -> Asked {
    match rng.below(20) {
        0..=4 => of_retainer(rng),
        5..=8 => of_invoice(rng),
        9..=14 => of_payment(rng),
        15..=17 => of_return(rng),
        18 => of_number(rng),
        _ => of_job(rng),
    }
}

fn of_retainer(rng: &mut Rng) -> Asked {
    let id = named("R", rng);
    match rng.below(12) {
        0..=4 => {
            let mut args = json!({ "id": id, "amount": amount(rng) });
            if rng.chance(500) {
                args["invoice"] = json!(named("I", rng));
            }
            asked("retainers.consume", args)
        }
        5 | 6 => {
            let mut args = json!({ "id": id, "amount": amount(rng) });
            if rng.chance(500) {
                args["payment"] = json!(named("P", rng));
            }
            asked("retainers.replenish", args)
        }
        7 => {
            let mut args = json!({ "consumption": format!("$consumptions:{}", place(rng)) });
            if rng.chance(400) {
                args["amount"] = amount(rng);
            }
            asked("retainers.restore", args)
        }
        8 => {
            let mut args = json!({ "id": id, "reason": "end" });
            if rng.chance(700) {
                args["amount"] = amount(rng);
            }
            if rng.chance(500) {
                args["settle"] = json!("later");
            }
            asked("retainers.refund", args)
        }
        9 => {
            let args = json!({ "id": id, "if_version": rng.between(1, 6),
                               "minimum_balance": money(rng.between(100, 900)) });
            asked("retainers.update", args)
        }
        10 => asked("retainers.read", json!({ "id": id })),
        _ => {
            let args = json!({ "id": id, "client": client(rng), "type": "evergreen",
                               "currency": "SAR", "initial_amount": money(rng.between(0, 500)),
                               "minimum_balance": money(100) });
            asked("retainers.create", args)
        }
    }
}

fn of_invoice(rng: &mut Rng) -> Asked {
    let id = named("I", rng);
    match rng.below(16) {
        0..=2 => {
            let mut args = invoice(&id, client(rng), rng);
            if rng.chance(600) {
                args["issue"] = json!(true);
            }
            if rng.chance(250) {
                args["series"] = json!("FIN");
            }
            asked("invoices.create", args)
        }
        3 => asked("invoices.issue", json!({ "id": id })),
        4 => asked("invoices.send", json!({ "id": id })),
        5..=7 => {
            asked("invoices.pay", json!({ "id": id, "amount": amount(rng), "method": "cash" }))
        }
        8 => asked("invoices.void", json!({ "id": id, "reason": "wrong" })),
        9..=11 => {
            let vat_bp = *rng.pick(&[0, 0, 1_500, 500]);
            let lines = json!([{ "net": money(rng.between(1, 300)), "vat_bp": vat_bp }]);
            let mut args = json!({ "id": id, "lines": lines, "reason": "less" });
            if rng.chance(600) {
                args["excess"] = json!("unapplied");
            }
            asked("invoices.credit", args)
        }
        12 => asked("invoices.write_off", json!({ "id": id, "reason": "gone" })),
        13 => asked("invoices.reinstate", json!({ "id": id })),
        14 => {
            if rng.chance(500) {
                return asked("invoices.discard", json!({ "id": id }));
            }
            let mut args = invoice(&id, client(rng), rng);
            args["if_version"] = json!(rng.between(1, 3));
            asked("invoices.update", args)
        }
        _ => asked("invoices.read", json!({ "id": id })),
    }
}

fn of_payment(rng: &mut Rng) -> Asked {
    let id = named("P", rng);
    match rng.below(16) {
        0..=5 => create(&id, rng),
        6..=9 => {
            let mut args = json!({ "id": id });
            if rng.chance(500) {
                args["overpayment"] = json!("unapplied");
            }
            asked("payments.complete", args)
        }
        10 => asked(
            rng.pick::<&str>(&["payments.fail", "payments.cancel"]),
            json!({ "id": id, "reason": "lost" }),
        ),
        11 | 12 => {
            asked("payments.apply", json!({ "id": id, "to": target(rng), "amount": amount(rng) }))
        }
        13 | 14 => {
            let mut args = json!({ "id": id, "from": target(rng) });
            if rng.chance(700) {
                args["amount"] = amount(rng);
            }
            asked("payments.unapply", args)
        }
        _ => asked("payments.read", json!({ "id": id })),
    }
}

fn create(id: &str, rng: &mut Rng) -> Asked {
    let mut args = json!({ "id": id, "client": client(rng), "method": "bank" });
    let (one, other) = (rng.between(1, 400), rng.between(1, 400));
    let mut first = target(rng);
    first["amount"] = money(one);
    let mut amount = one;
    let mut destinations = vec![first.clone()];
    if rng.chance(500) {
        let mut second = target(rng);
        second["amount"] = money(other);
        // A destination is named once.
        if second["invoice"] != first["invoice"] || second["retainer"] != first["retainer"] {
            destinations.push(second);
            amount = amount.saturating_add(other);
        }
    }
    if rng.chance(300) {
        destinations.push(json!({ "unapplied": money(50) }));
        amount = amount.saturating_add(50);
    }
    if !rng.chance(150) {
        args["destinations"] = json!(destinations);
    }
    args["amount"] = money(amount);
    if rng.chance(200) {
        args["external_id"] = json!(format!("x{}", rng.below(6)));
    }
    asked("payments.create", args)
}

fn of_return(rng: &mut Rng) -> Asked {
    let id = named("P", rng);
    match rng.below(12) {
        0..=3 => {
            let mut args = json!({ "id": id, "reason": "back" });
            if rng.chance(800) {
                args["amount"] = amount(rng);
            }
            if rng.chance(500) {
                args["settle"] = json!("later");
            }
            asked("payments.refund", args)
        }
        4 => {
            let amount = amount(rng);
            let mut source = target(rng);
            source["amount"] = amount.clone();
            let args = json!({ "id": id, "reason": "back", "amount": amount, "sources": [source] });
            asked("payments.refund", args)
        }
        5 | 6 => asked("refunds.complete", json!({ "id": format!("$refunds:{}", place(rng)) })),
        7 => asked("refunds.fail", json!({ "id": format!("$refunds:{}", place(rng)) })),
        8 | 9 => {
            let external = format!("d{}", rng.below(40));
            let args = json!({ "id": id, "amount": amount(rng), "external_id": external });
            asked("payments.dispute", args)
        }
        10 => asked("disputes.lose", json!({ "id": format!("$disputes:{}", place(rng)) })),
        _ => asked("disputes.win", json!({ "id": format!("$disputes:{}", place(rng)) })),
    }
}

fn of_number(rng: &mut Rng) -> Asked {
    let id = client(rng);
    match rng.below(7) {
        5 => {
            let hash = format!("{:02x}", rng.below(3)).repeat(32);
            asked("chains.seal", json!({ "document": named("I", rng), "hash": hash }))
        }
        6 => {
            let period = *rng.pick(&["202603", "202602", "202604"]);
            let args = json!({ "name": rng.pick(&["INV", "CRN"]), "period": period,
                               "last": rng.between(1, 20) });
            asked("series.advance", args)
        }
        0 | 1 => {
            let args = json!({ "name": "INV", "document": format!("x{}", rng.below(5)) });
            asked("series.next", args)
        }
        2 => {
            let number = format!("INV-202603-{:04}", rng.between(1, 9));
            asked("series.void", json!({ "name": "INV", "number": number, "reason": "lost" }))
        }
        3 => asked("clients.create", json!({ "scope": rng.pick(&["L", "M"]), "name": "new" })),
        _ => {
            let mut args = json!({ "id": id, "if_version": rng.between(1, 4), "name": "other" });
            if rng.chance(100) {
                args["archived"] = json!(true);
            }
            asked("clients.update", args)
        }
    }
}

fn of_job(rng: &mut Rng) -> Asked {
    let proposer = *rng.pick(&["p", "p", "q", "r"]);
    let (job, by) = (named("J", rng), *rng.pick(&["o", "o", "o", "p"]));
    match rng.below(12) {
        0 | 1 => asked("jobs.create", json!({ "id": job, "owner": "o" })),
        2..=4 => asked("proposals.create", json!({ "job": job, "proposer": proposer })),
        5 | 6 => asked("proposals.withdraw", json!({ "job": job, "proposer": proposer })),
        7 | 8 => asked("proposals.accept", json!({ "job": job, "proposer": proposer, "by": by })),
        9 => asked("proposals.reject", json!({ "job": job, "proposer": proposer, "by": by })),
        10 => asked("jobs.cancel", json!({ "id": job, "by": by })),
        _ => asked("jobs.complete", json!({ "id": job, "by": by })),
    }
}
