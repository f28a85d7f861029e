//! What the scripts are given: clients, issued invoices, payments.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::sar;
use crate::money::MoneyRejection;
use crate::money::clients::Client;
use crate::trial::World;
use crate::{Command, Draft, Key, RecordId, Timestamp};

/// Puts a client.
#[derive(Clone, Debug, Serialize)]
struct PutClient {
    id: Key,
    archived: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Done {}

impl Command for PutClient {
    const NAME: &'static str = "tests.put_client";
    type Reply = Done;
    type Rejection = MoneyRejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<Done, MoneyRejection> {
        let client = Client {
            number: "CLT-2027-0001".to_owned(),
            scope: self.id.clone(),
            name: self.id.clone(),
            external_id: None,
            archived_at: self.archived.then_some(now),
            metadata: None,
            created_at: now,
        };
        draft.put(&RecordId::from(&self.id), client);
        Ok(Done {})
    }
}

fn client(world: &mut World, id: &str, archived: bool) {
    let put = PutClient { id: Key::new(id).unwrap(), archived };
    world.send_any(0, Arc::new(put)).ok();
}

/// A book with the clients C and D.
pub(super) fn book() -> World {
    let mut world = World::default();
    client(&mut world, "C", false);
    client(&mut world, "D", false);
    world
}

/// A client that takes nothing new.
pub(super) fn archived(world: &mut World, id: &str) {
    client(world, id, true);
}

/// An issued invoice without VAT.
pub(super) fn invoice(world: &mut World, id: &str, (client, total): (&str, u64)) {
    let line = json!({
        "description": "advice", "quantity_milli": 1_000, "unit_price": sar(total), "vat_bp": 0,
    });
    let content = json!({
        "id": id, "client": client, "currency": "SAR", "lines": [line], "due_on": "2027-02-15",
        "issue": true,
    });
    world.send(0, ("invoices.create", content)).ok();
}

/// A pending payment of client C, to stay unapplied.
pub(super) fn pending(world: &mut World, id: &str, amount: u64) {
    let content = json!({
        "id": id, "client": "C", "amount": sar(amount), "method": "cash",
        "destinations": [{"unapplied": sar(amount)}],
    });
    world.send(0, ("payments.create", content)).ok();
}

/// A completed one.
pub(super) fn payment(world: &mut World, id: &str, amount: u64) {
    pending(world, id, amount);
    complete(world, id);
}

/// Completes one that is pending.
pub(super) fn complete(world: &mut World, id: &str) {
    world.send(0, ("payments.complete", json!({"id": id}))).ok();
}
