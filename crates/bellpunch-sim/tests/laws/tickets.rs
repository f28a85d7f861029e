//! `law.model` of tickets: on random sequences the rules answer what the model says; and on every
//! short sequence of a small world.

use serde_json::{Value, json};

use crate::partition::{Answer, Command, Counts, Dice, Enumeration, Pair, every_three, is_legible};

const MS: i128 = 1_000_000;
const MS_NS: u64 = 1_000_000;
const DAY_NS: u64 = 86_400_000_000_000;
const SEQUENCES: u64 = 400;
const COMMANDS: u64 = 60;

/// Every answer that can be reached while there are no accounts.
const REACHED: &[(&str, &str)] = &[
    (
        "tickets.create",
        "ok invalid_request invalid_amount unknown_currency account_not_found already_pending \
         ttl_too_long too_many_pending issue_limit_exceeded",
    ),
    (
        "tickets.approve",
        "ok ticket_not_found wrong_holder version_mismatch already_redeemed ticket_rejected \
         ticket_cancelled ticket_expired already_approved",
    ),
    (
        "tickets.reject",
        "ok ticket_not_found wrong_holder version_mismatch already_redeemed ticket_rejected \
         ticket_cancelled ticket_expired already_approved",
    ),
    (
        "tickets.cancel",
        "ok ticket_not_found not_allowed version_mismatch already_redeemed ticket_rejected \
         ticket_cancelled ticket_expired already_approved",
    ),
    (
        "tickets.revoke",
        "ok ticket_not_found not_allowed version_mismatch already_redeemed ticket_rejected \
         ticket_cancelled ticket_expired",
    ),
    (
        "tickets.redeem",
        "ok invalid_amount invalid_request unknown_currency ticket_not_found wrong_audience \
         wrong_holder wrong_secret version_mismatch already_redeemed ticket_rejected \
         ticket_cancelled ticket_expired ticket_not_approved currency_mismatch \
         amount_exceeds_ticket amount_not_exact",
    ),
    ("tickets.expire", "ok nothing_to_expire invalid_request"),
    ("tickets.read", "ok ticket_not_found"),
    ("currencies.define", "ok currency_exists invalid_request"),
    ("outcomes.read", "ok"),
    ("commands", "ok ticket_not_found already_redeemed"),
];

fn hash(letter: &str) -> String {
    letter.repeat(64)
}

/// Sets some fields of an object.
fn with(mut args: Value, fields: Value) -> Value {
    if let (Value::Object(args), Value::Object(fields)) = (&mut args, fields) {
        args.extend(fields);
    }
    args
}

#[derive(Debug)]
struct Generator {
    dice: Dice,
    ids: Vec<String>,
}

impl Generator {
    fn amount(&mut self) -> Value {
        let count = *self.dice.pick(&[1_u64, 2, 5, 5, 5, 6]);
        match self.dice.below(40) {
            0 => json!({ "amount": 0, "unit": "use" }),
            1 => json!({ "amount": -1, "currency": "SAR" }),
            2 => json!({ "amount": 9_007_199_254_740_992_u64, "currency": "SAR" }),
            3 => json!({ "amount": count }),
            4 => json!({ "amount": count, "currency": "XQQ" }),
            5..=12 => json!({ "amount": count, "currency": "RCN" }),
            13..=25 => json!({ "amount": count, "currency": "SAR" }),
            26 => json!({ "amount": count, "unit": "SAR" }),
            _ => json!({ "amount": count, "unit": "use" }),
        }
    }

    fn create(&mut self) -> Value {
        let dice = &mut self.dice;
        let ttl = *dice.pick(&[1, 10, 10, 50, 50, 100, 1_000]) * 1_000_000_u64;
        let holder = dice.pick(&["c1", "c1", "c2", "c/%"]);
        let mut args = json!({
            "holder": holder, "audience": dice.pick(&["s1", "s1", "s2"]),
            "issued_by": dice.pick(&["s1", "m"]), "ttl_ns": ttl,
        });
        args["max_amount"] = self.amount();
        let dice = &mut self.dice;
        if dice.once_in(3) {
            args["approved"] = json!(true);
        }
        let limit = |count: u64, period: u64| json!({ "issue_limit": { "count": count, "period_ns": period } });
        let extra = match dice.below(36) {
            0 | 1 => json!({ "holder": null, "approved": true, "secret_hash": hash("a") }),
            2 => json!({ "holder": null }),
            3 => json!({ "secret_hash": hash("a"), "approved": true }),
            4 => json!({ "make_secret": true, "made_secret_hash": hash("b") }),
            5 => json!({ "make_secret": true, "secret_hash": hash("b") }),
            6..=9 => json!({ "one_pending": true }),
            10..=12 => limit(1, 10_000_000),
            13 => limit(2, 50_000_000),
            14 => limit(100, 3_660 * DAY_NS),
            15 => limit(dice.below(2) * 101, 5),
            16 => limit(1, 3_660 * DAY_NS + 1),
            17 => json!({ "debit_account": "a", "credit_account": "b" }),
            18 => json!({ "debit_account": "a" }),
            19 => json!({ "require_funds": true }),
            20 => json!({ "ttl_ns": 3_660 * DAY_NS }),
            21 => json!({ "ttl_ns": 3_660 * DAY_NS + 1 }),
            22 => json!({ "ttl_ns": 0 }),
            23 => json!({ "metadata": { "qr": [1, "x"] } }),
            24..=27 => json!({ "partial": false }),
            28 => json!({ "one_pending": true, "ttl_ns": 4_000 * DAY_NS }),
            _ => json!({}),
        };
        with(args, extra)
    }

    fn id(&mut self) -> String {
        let newest = self.ids.len().saturating_sub(6);
        if self.ids.is_empty() || self.dice.once_in(30) {
            return "zz".to_owned();
        }
        self.dice.pick(&self.ids[newest..]).clone()
    }

    fn redeem(&mut self) -> Value {
        let args =
            json!({ "id": self.id(), "audience": self.dice.pick(&["s1", "s1", "s1", "s2"]) });
        let args = match self.dice.below(12) {
            0 | 1 => with(args, json!({ "secret_hash": hash("a") })),
            2 => with(args, json!({ "holder": "c1", "secret_hash": hash("a") })),
            3 => with(args, json!({ "holder": "c1", "secret_hash": hash("b"), "by": "till" })),
            4 | 5 => with(args, json!({ "holder": "c2" })),
            _ => with(args, json!({ "holder": "c1" })),
        };
        match self.dice.below(10) {
            0 | 1 => args,
            2..=4 => with(args, json!({ "amount": self.dice.below(7) })),
            _ => with(args, json!({ "amount": self.amount() })),
        }
    }

    fn command(&mut self) -> Command {
        let id = self.id();
        let holder = *self.dice.pick(&["c1", "c1", "c1", "c2"]);
        let by = *self.dice.pick(&["c1", "s1", "m", "x"]);
        let (cmd, mut args) = match self.dice.below(20) {
            0..=4 => ("tickets.create", self.create()),
            5..=7 => ("tickets.approve", json!({ "id": id, "holder": holder })),
            8 => ("tickets.reject", json!({ "id": id, "holder": holder, "reason": "no" })),
            9 => ("tickets.cancel", json!({ "id": id, "by": by })),
            10 => ("tickets.revoke", json!({ "id": id, "by": by, "reason": "late" })),
            11..=14 => ("tickets.redeem", self.redeem()),
            15 => {
                let count = *self.dice.pick(&[0, 1, 2, 4, 101]);
                let ids: Vec<String> = (0..count).map(|_| self.id()).collect();
                ("tickets.expire", json!({ "ids": ids }))
            }
            16 => {
                let code = self.dice.pick(&["RCN", "RCN", "SAR", "XQQ"]);
                let code = if *code == "XQQ" { "YQQ" } else { *code };
                ("currencies.define", json!({ "code": code, "scale": self.dice.below(18) }))
            }
            17 => ("outcomes.read", json!({ "id": "k" })),
            _ => ("tickets.read", json!({ "id": id })),
        };
        let takes_version = args.get("id").is_some() && cmd.starts_with("tickets.");
        if takes_version && cmd != "tickets.read" && self.dice.once_in(8) {
            args["if_version"] = match self.dice.below(6) {
                0 => json!("*"),
                1 => json!("none"),
                2 => json!([1, 2]),
                version => json!(version - 2),
            };
        }
        (cmd, args)
    }
}

fn id_of(reply: &Value) -> Option<String> {
    Some(reply.get("ticket")?.get("id")?.as_str()?.to_owned())
}

/// A full index: a hundred pending tickets of one holder for one audience, and one more.
fn too_many_pending(pair: &mut Pair, counts: &mut Counts) {
    for place in 0..102 {
        let args = json!({
            "holder": "many", "audience": "s1", "issued_by": "s1", "ttl_ns": 1_000_000,
            "max_amount": { "amount": 1, "unit": "use" }, "approved": place == 101,
        });
        let commands = [("tickets.create", args)];
        let answer = pair.send_all(&commands, 0);
        counts.count(&commands, &answer);
        let is_refused = matches!(&answer, Answer::No { code, .. } if code == "too_many_pending");
        assert_eq!(is_refused, place == 100, "{place}: {answer:?}");
    }
}

#[test]
fn the_rules_answer_what_the_model_says() {
    let mut dice = Dice::of(1);
    let mut counts = Counts::default();
    for sequence in 0..SEQUENCES {
        let mut pair = Pair::default();
        let mut generator = Generator { dice: dice.fork(), ids: Vec::new() };
        let mut at = 0;
        if sequence % 100 == 0 {
            too_many_pending(&mut pair, &mut counts);
        }
        for _ in 0..COMMANDS {
            at += *dice.pick(&[0, 0, 0, 1, 5, 9, 10, 10, 50]) * MS + i128::from(dice.once_in(9));
            let size = if dice.once_in(10) { 1 + dice.below(4) } else { 1 };
            let mut commands: Vec<Command> = (0..size).map(|_| generator.command()).collect();
            if 1 < size {
                commands.retain(is_legible);
            }
            if commands.is_empty() {
                continue;
            }
            let answer = pair.send_all(&commands, at);
            counts.count(&commands, &answer);
            if let Answer::Yes { reply, .. } = answer {
                for (reply, (cmd, _)) in reply.as_array().unwrap().iter().zip(&commands) {
                    let made = id_of(reply).filter(|_| *cmd == "tickets.create");
                    generator.ids.extend(made);
                }
            }
        }
    }
    counts.assert_reached(REACHED);
}

/// Whether the model's own list of ISO 4217 is that of the rules.
#[test]
fn every_code_of_three_letters_is_a_currency_of_both_or_of_neither() {
    let mut pair = Pair::default();
    let letters = || 'A'..='Z';
    for first in letters() {
        for second in letters() {
            for third in letters() {
                let code = format!("{first}{second}{third}");
                pair.send("currencies.define", json!({ "code": code, "scale": 7 }), 0);
            }
        }
    }
}

/// Kinds of commands that are sent together: every three that end or approve a ticket, and issues
/// with some of them.
fn triples() -> Vec<[&'static str; 3]> {
    const KINDS: [&str; 6] = [
        "tickets.approve",
        "tickets.reject",
        "tickets.cancel",
        "tickets.revoke",
        "tickets.redeem",
        "tickets.expire",
    ];
    let mut triples = vec![
        ["tickets.create", "tickets.approve", "tickets.redeem"],
        ["tickets.create", "tickets.reject", "tickets.expire"],
        ["tickets.create", "tickets.revoke", "tickets.read"],
    ];
    triples.extend(every_three(&KINDS));
    triples
}

/// The commands of a kind, by two callers, of no, one and all units, about the newest ticket.
fn letters(kind: &'static str, id: &str, letters: &mut Vec<Command>) {
    let callers = [("c1", "s1"), ("c2", "s2")];
    for (holder, audience) in callers {
        for amount in [0, 1, 3] {
            let args = match kind {
                "tickets.create" => json!({
                    "holder": holder, "audience": "s1", "issued_by": "m", "one_pending": true,
                    "ttl_ns": 10 * MS_NS, "max_amount": { "amount": amount, "unit": "use" },
                }),
                "tickets.redeem" => json!({
                    "id": id, "holder": "c1", "audience": audience, "amount": amount,
                }),
                _ if 0 < amount => continue,
                "tickets.approve" | "tickets.reject" => json!({ "id": id, "holder": holder }),
                "tickets.cancel" | "tickets.revoke" => json!({ "id": id, "by": audience }),
                "tickets.expire" if holder == "c1" => json!({ "ids": [id] }),
                "tickets.read" if holder == "c1" => json!({ "id": id }),
                _ => continue,
            };
            letters.push((kind, args));
        }
    }
}

/// Three kinds of commands at a time, at most four commands after an issue, at instants before, at and
/// after its end.
#[test]
fn enumerate_tickets() {
    let mut counts = Counts::default();
    for kinds in triples() {
        enumerate(kinds, &mut counts);
    }
    counts.assert_reached(&[]);
    println!("{} sequences", counts.total());
    assert_eq!(counts.total(), 42_228);
}

fn enumerate(kinds: [&'static str; 3], counts: &mut Counts) {
    for approved in [false, true] {
        let mut pair = Pair::default();
        let args = json!({
            "holder": "c1", "audience": "s1", "issued_by": "m", "approved": approved,
            "ttl_ns": 10 * MS_NS, "max_amount": { "amount": 3, "unit": "use" },
        });
        let mut answers = vec![pair.send("tickets.create", args, 0)];
        let alphabet = |answers: &[Answer], _: i128| {
            let id = answers.iter().rev().find_map(|answer| match answer {
                Answer::Yes { reply, .. } => id_of(reply.get(0).unwrap_or(reply)),
                Answer::No { .. } => None,
            });
            let mut all = Vec::new();
            kinds.iter().for_each(|kind| letters(kind, &id.clone().unwrap(), &mut all));
            all
        };
        let instants = [9 * MS, 10 * MS, 11 * MS];
        let enumeration = Enumeration { alphabet: &alphabet, instants: &instants };
        enumeration.extend((&pair, &mut answers), 4, counts);
    }
}
