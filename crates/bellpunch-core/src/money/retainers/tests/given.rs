//! What the scripts are given: clients, issued invoices, payments.

use serde_json::json;

use super::sar;
use crate::trial::World;

fn client(world: &mut World, id: &str) {
    world.send(0, ("clients.create", json!({"id": id, "scope": "L", "name": id}))).ok();
}

/// A book with the clients C and D.
pub(super) fn book() -> World {
    let mut world = World::default();
    client(&mut world, "C");
    client(&mut world, "D");
    world
}

/// A client that takes nothing new.
pub(super) fn archived(world: &mut World, id: &str) {
    client(world, id);
    let content = json!({"id": id, "if_version": 1, "archived": true});
    world.send(0, ("clients.update", content)).ok();
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
