//! A book for the tests of payments and refunds: SAR, clients C and D, and short words for what
//! they do.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::money::clients::Client;
use crate::money::invoices::Invoice;
use crate::money::{Account, AccountHold, MoneyRejection};
use crate::trial::{Answer, Call, World, count};
use crate::{Command, Draft, Key, RecordId, Timestamp};

/// Writes a client down.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct PutClient {
    id: Key,
    archived: bool,
}

impl Command for PutClient {
    const NAME: &'static str = "tests.put_client";
    type Reply = Value;
    type Rejection = MoneyRejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<Value, MoneyRejection> {
        let client = Client {
            number: self.id.to_string(),
            scope: self.id.clone(),
            name: self.id.clone(),
            external_id: None,
            archived_at: self.archived.then_some(now),
            metadata: None,
            created_at: now,
        };
        draft.put(&RecordId::from(&self.id), client);
        Ok(json!({}))
    }
}

pub(crate) fn put_client(world: &mut World, id: &str) {
    put(world, PutClient { id: Key::new(id).unwrap(), archived: false });
}

pub(crate) fn archive_client(world: &mut World, id: &str) {
    put(world, PutClient { id: Key::new(id).unwrap(), archived: true });
}

fn put(world: &mut World, client: PutClient) {
    world.send_any(0, Arc::new(client)).ok();
}

/// A book with the clients C and D.
pub(crate) fn book() -> World {
    let mut world = World::default();
    put_client(&mut world, "C");
    put_client(&mut world, "D");
    world
}

pub(crate) fn sar(amount: u64) -> Value {
    json!({"amount": amount, "currency": "SAR"})
}

pub(crate) fn invoice_of(client: &str, id: &str, total: u64) -> Call<'static> {
    let line = json!({
        "description": "advice", "quantity_milli": 1000, "unit_price": sar(total), "vat_bp": 0,
    });
    let content = json!({
        "id": id, "client": client, "currency": "SAR", "due_on": "2030-01-01", "issue": true,
        "lines": [line],
    });
    ("invoices.create", content)
}

/// An issued invoice of C.
pub(crate) fn invoice(world: &mut World, id: &str, total: u64) {
    world.send(0, invoice_of("C", id, total)).ok();
}

/// A retainer of C, and what is laid over it.
pub(crate) fn retainer_with(id: &str, balance: u64, over: &Value) -> Call<'static> {
    let mut content = json!({
        "id": id, "client": "C", "type": "advance", "currency": "SAR",
    });
    if balance != 0 {
        content["initial_amount"] = sar(balance);
    }
    for (name, value) in over.as_object().unwrap() {
        content[name] = value.clone();
    }
    ("retainers.create", content)
}

/// A retainer of C.
pub(crate) fn retainer(world: &mut World, id: &str, balance: u64) {
    world.send(0, retainer_with(id, balance, &json!({}))).ok();
}

pub(crate) fn consume(id: &str, amount: u64) -> Call<'static> {
    ("retainers.consume", json!({"id": id, "amount": sar(amount)}))
}

/// `I` and its like are invoices, `R` and its like retainers, `-` is unapplied.
pub(crate) fn parts(list: &[(&str, u64)]) -> Value {
    let part = |(target, amount): &(&str, u64)| match target.chars().next() {
        Some('I') => json!({"invoice": target, "amount": sar(*amount)}),
        Some('R') => json!({"retainer": target, "amount": sar(*amount)}),
        _ => json!({"unapplied": sar(*amount)}),
    };
    list.iter().map(part).collect()
}

pub(crate) fn target(name: &str) -> Value {
    if name.starts_with('I') { json!({"invoice": name}) } else { json!({"retainer": name}) }
}

/// A payment of C.
pub(crate) fn create(id: &str, amount: u64, to: &[(&str, u64)]) -> Call<'static> {
    let mut content = json!({"id": id, "client": "C", "amount": sar(amount), "method": "card"});
    if !to.is_empty() {
        content["destinations"] = parts(to);
    }
    ("payments.create", content)
}

pub(crate) fn complete(id: &str) -> Call<'static> {
    ("payments.complete", json!({"id": id}))
}

/// A completed payment of C.
pub(crate) fn paid(world: &mut World, id: &str, amount: u64, to: &[(&str, u64)]) {
    world.send(0, create(id, amount, to)).ok();
    world.send(0, complete(id)).ok();
}

/// I of this total, paid by P.
pub(crate) fn paid_invoice(total: u64) -> World {
    let mut world = book();
    invoice(&mut world, "I", total);
    paid(&mut world, "P", total, &[("I", total)]);
    world
}

pub(crate) fn apply(id: &str, to: &str, amount: u64) -> Call<'static> {
    ("payments.apply", json!({"id": id, "to": target(to), "amount": sar(amount)}))
}

pub(crate) fn unapply(id: &str, from: &str, amount: u64) -> Call<'static> {
    ("payments.unapply", json!({"id": id, "from": target(from), "amount": sar(amount)}))
}

pub(crate) fn refund(id: &str, amount: u64) -> Call<'static> {
    ("payments.refund", json!({"id": id, "amount": sar(amount), "reason": "returned"}))
}

pub(crate) fn refund_later(id: &str, amount: u64) -> Call<'static> {
    let (name, mut content) = refund(id, amount);
    content["settle"] = json!("later");
    (name, content)
}

pub(crate) fn refund_from(id: &str, amount: u64, sources: &[(&str, u64)]) -> Call<'static> {
    let (name, mut content) = refund(id, amount);
    content["sources"] = parts(sources);
    (name, content)
}

pub(crate) fn dispute(id: &str, amount: u64, external_id: &str) -> Call<'static> {
    let content = json!({"id": id, "amount": sar(amount), "external_id": external_id});
    ("payments.dispute", content)
}

/// A command with nothing but an id.
pub(crate) fn of(name: &'static str, id: &Value) -> Call<'static> {
    (name, json!({"id": id}))
}

/// What came of some, in words: how often each.
pub(crate) fn counts(answers: &[Answer]) -> String {
    let counts = count(answers);
    let words: Vec<String> = counts.iter().map(|(code, n)| format!("{n} {code}")).collect();
    words.join(", ")
}

pub(crate) fn payment(world: &mut World, id: &str) -> Value {
    world.send(0, ("payments.read", json!({"id": id}))).ok()["payment"].clone()
}

pub(crate) fn retainer_now(world: &mut World, id: &str) -> Value {
    world.send(0, ("retainers.read", json!({"id": id}))).ok()["retainer"].clone()
}

/// What is paid and what is due of an invoice, and its status.
pub(crate) fn invoice_now(world: &mut World, id: &str) -> (u64, u64, String) {
    let found = world.record::<Invoice>(&RecordId::stored(id));
    let status = serde_json::to_value(found.status()).unwrap();
    let status = status.as_str().unwrap().to_owned();
    (found.amount_paid.get(), found.balance_due().get(), status)
}

/// What is paid and what is due, as one may say it in a line.
pub(crate) fn said((paid, due, status): (u64, u64, &str)) -> (u64, u64, String) {
    (paid, due, status.to_owned())
}

/// What stands on an account.
pub(crate) fn posted(world: &mut World, account: &str) -> i64 {
    world.record::<Account>(&RecordId::stored(account)).posted.get()
}

pub(crate) fn hold(world: &mut World, id: &str) -> AccountHold {
    world.record::<AccountHold>(&RecordId::stored(id))
}

/// What an event is called, of each that an answer tells.
pub(crate) fn events(answer: &Answer) -> Vec<String> {
    let events = answer.ok()["events"].as_array().unwrap();
    events.iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect()
}
