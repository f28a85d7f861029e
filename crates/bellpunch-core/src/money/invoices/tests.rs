//! Invoices and credit notes on the rules alone: the scripts of the domain, the rules one by one,
//! and what holds for any lines.

mod credits;
mod rules;
mod scripts;
mod sums;

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use crate::money::series::Zone;
use crate::money::settings::{self, Settings};
use crate::money::{Account, MoneyRejection, clients};
use crate::trial::{Answer, Call, World};
use crate::{Command, Draft, Key, Minor, RecordId, Timestamp};

/// 2025-06-15T09:00:00Z, in Riyadh noon of that day.
const NOW: i64 = -50_022_000_000;

/// What a book is given before a test.
#[derive(Debug, Serialize)]
enum Given {
    Client(&'static str),
    Archived(&'static str),
    Settings { void_allowed: bool },
}

impl Command for Given {
    const NAME: &'static str = "tests.given";
    type Reply = bool;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<bool, MoneyRejection> {
        match self {
            Self::Client(id) => draft.put(&record(id), client(None, now)),
            Self::Archived(id) => draft.put(&record(id), client(Some(now), now)),
            Self::Settings { void_allowed } => {
                let zone = Zone::new("Asia/Riyadh").unwrap();
                let void_allowed = *void_allowed;
                draft.put(&settings::id(), Settings { zone, void_allowed, ..Settings::default() })
            }
        };
        Ok(true)
    }
}

fn record(id: &str) -> RecordId {
    RecordId::from(&Key::new(id).unwrap())
}

fn client(archived_at: Option<Timestamp>, created_at: Timestamp) -> clients::Client {
    serde_json::from_value(json!({
        "number": "CLT-2025-0001", "scope": "l", "name": "n", "created_at": created_at,
        "archived_at": archived_at,
    }))
    .unwrap()
}

fn give(world: &mut World, given: Given) {
    world.send_any(NOW, Arc::new(given)).ok();
}

/// A book in Riyadh with the clients c and d.
fn book() -> World {
    let mut world = World::default();
    give(&mut world, Given::Settings { void_allowed: true });
    give(&mut world, Given::Client("c"));
    give(&mut world, Given::Client("d"));
    world
}

fn sar(amount: u64) -> Value {
    json!({"amount": amount, "currency": "SAR"})
}

/// A line of this price, quantity and rate.
fn line(price: u64, quantity_milli: u64, vat_bp: u64) -> Value {
    json!({
        "description": "work", "quantity_milli": quantity_milli, "unit_price": sar(price),
        "vat_bp": vat_bp,
    })
}

fn with(mut content: Value, over: Value) -> Value {
    for (name, value) in over.as_object().unwrap() {
        if value.is_null() {
            content.as_object_mut().unwrap().remove(name);
        } else {
            content[name] = value.clone();
        }
    }
    content
}

/// An invoice of client c, due in a month, of these lines; and what is laid over that.
fn create(id: &str, lines: &[Value], over: Value) -> Call<'static> {
    let content = json!({
        "id": id, "client": "c", "currency": "SAR", "lines": lines, "due_on": "2025-07-15",
    });
    ("invoices.create", with(content, over))
}

/// One issued at once, of one line of this total and no VAT.
fn issued(world: &mut World, id: &str, total: u64) {
    world.send(NOW, create(id, &[line(total, 1_000, 0)], json!({"issue": true}))).ok();
}

/// One of these lines, issued at once.
fn issued_of(world: &mut World, id: &str, lines: &[Value]) -> Value {
    world.send(NOW, create(id, lines, json!({"issue": true}))).ok()["invoice"].clone()
}

/// A command on an invoice that needs nothing but its id, or also a reason.
fn act(name: &'static str, id: &str) -> Call<'static> {
    let mut content = json!({"id": id});
    if matches!(name, "invoices.void" | "invoices.write_off") {
        content["reason"] = "r".into();
    }
    (name, content)
}

/// Credits these nets at these rates.
fn credit(id: &str, nets: &[(u64, u64)], over: Value) -> Call<'static> {
    let line = |&(net, vat_bp): &(u64, u64)| json!({"net": sar(net), "vat_bp": vat_bp});
    let lines: Vec<Value> = nets.iter().map(line).collect();
    ("invoices.credit", with(json!({"id": id, "lines": lines, "reason": "r"}), over))
}

/// A pending payment of client c, all of it to this invoice.
fn payment(world: &mut World, id: &str, (invoice, amount): (&str, u64)) {
    let content = json!({
        "id": id, "client": "c", "amount": sar(amount), "method": "transfer",
        "destinations": [{"invoice": invoice, "amount": sar(amount)}],
    });
    world.send(NOW, ("payments.create", content)).ok();
}

fn complete(id: &str) -> Call<'static> {
    ("payments.complete", json!({"id": id}))
}

/// A completed one.
fn paid(world: &mut World, id: &str, to: (&str, u64)) {
    payment(world, id, to);
    world.send(NOW, complete(id)).ok();
}

/// A retainer of client c, and a part of it consumed for this invoice; gives the consumption.
fn consumed(world: &mut World, retainer: &str, (invoice, amount): (&str, u64)) -> String {
    let known = world.send(NOW, ("retainers.read", json!({"id": retainer})));
    if known.code() == "retainer_not_found" {
        let content = json!({
            "id": retainer, "client": "c", "type": "advance", "currency": "SAR",
            "initial_amount": sar(10_000),
        });
        world.send(NOW, ("retainers.create", content)).ok();
    }
    let content = json!({"id": retainer, "amount": sar(amount), "invoice": invoice});
    let answer = world.send(NOW, ("retainers.consume", content));
    answer.ok()["consumption"]["id"].as_str().unwrap().to_owned()
}

fn read(world: &mut World, id: &str) -> Value {
    world.send(NOW, act("invoices.read", id)).ok()["invoice"].clone()
}

/// What an invoice shows of these fields.
fn shown(invoice: &Value, fields: &[&str]) -> Value {
    fields.iter().map(|field| invoice[*field].clone()).collect()
}

/// What stands on an account.
fn posted(world: &mut World, account: &str) -> i64 {
    world.record::<Account>(&RecordId::stored(account)).posted.get()
}

/// The postings of an answer: account, side, amount, what it is about.
fn postings(answer: &Answer) -> Vec<String> {
    let text = |posting: &Value| {
        let field = |name: &str| posting[name].as_str().unwrap_or("-").to_owned();
        let (account, side, about) = (field("account"), field("side"), field("ref"));
        format!("{side} {account} {} {about}", posting["amount"])
    };
    answer.ok()["postings"].as_array().unwrap().iter().map(text).collect()
}

/// The names of an answer's events.
fn events(answer: &Answer) -> Vec<String> {
    let events = answer.ok()["events"].as_array().unwrap();
    events.iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect()
}
