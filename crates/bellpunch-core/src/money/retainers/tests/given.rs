//! What the scripts are given: clients, issued invoices, payments.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::money::clients::Client;
use crate::money::invoices::{Invoice, Stage};
use crate::money::payments::{Payment, PaymentStatus};
use crate::money::{Book, Booking, MoneyRejection};
use crate::trial::World;
use crate::{AccountId, Command, CurrencyCode, Draft, Key, Minor, MinorUnits, RecordId, Timestamp};

pub(super) fn key(id: &str) -> Key {
    Key::new(id).unwrap()
}

pub(super) fn sar() -> CurrencyCode {
    CurrencyCode::new("SAR").unwrap()
}

/// Puts records that commands would have made, with their postings.
#[derive(Clone, Debug, Serialize)]
enum Given {
    Client(Key),
    Archived(Key),
    Invoice(Key, Key, u64),
    Payment(Key, Key, u64),
    Pending(Key, Key, u64),
}

#[derive(Debug, Serialize, Deserialize)]
struct Done {}

fn client(archived_at: Option<Timestamp>, now: Timestamp) -> Client {
    Client {
        number: "CLT-2025-0001".to_owned(),
        scope: key("l1"),
        name: key("C"),
        external_id: None,
        archived_at,
        metadata: None,
        created_at: now,
    }
}

fn issued(client: &Key, total: Minor, now: Timestamp) -> Invoice {
    Invoice {
        stage: Stage::Issued,
        number: Some("INV-202506-0001".to_owned()),
        client: client.clone(),
        currency: sar(),
        series: key("INV"),
        lines: Vec::new(),
        discount: Minor::ZERO,
        rates: Vec::new(),
        net: total,
        vat: Minor::ZERO,
        total,
        amount_paid: Minor::ZERO,
        credited: Minor::ZERO,
        written_off: Minor::ZERO,
        allocations: 0,
        due_on: "2025-07-15".to_owned(),
        due_at: Timestamp::MAX,
        issue_date: Some("2025-06-15".to_owned()),
        issued_at: Some(now),
        sent_at: None,
        paid_at: None,
        chain: None,
        recent: Vec::new(),
        created_at: now,
    }
}

fn paid(client: &Key, amount: u64, (status, at): (PaymentStatus, (Timestamp, u64))) -> Payment {
    let amount = MinorUnits::new(amount).unwrap();
    let completed = status == PaymentStatus::Completed;
    Payment {
        number: "PAY-2025-0001".to_owned(),
        client: client.clone(),
        amount,
        currency: sar(),
        method: key("cash"),
        external_id: None,
        status,
        destinations: Vec::new(),
        parts: Vec::new(),
        unapplied: if completed { amount.into() } else { Minor::ZERO },
        unapplied_set_aside: Minor::ZERO,
        refunded: Minor::ZERO,
        lost: Minor::ZERO,
        created_at: at.0,
        completed: completed.then_some(at),
        ended: None,
        credited: None,
    }
}

impl Command for Given {
    const NAME: &'static str = "tests.given";
    type Reply = Done;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<Done, MoneyRejection> {
        let mut book = Book::open(draft, now);
        let at = (now, book.seq);
        match self {
            Self::Client(id) => {
                book.draft.put(&RecordId::from(id), client(None, now));
            }
            Self::Archived(id) => {
                book.draft.put(&RecordId::from(id), client(Some(now), now));
            }
            Self::Invoice(id, client, total) => {
                let total = Minor::new(*total).unwrap();
                let booking = Booking::of(Self::NAME, sar())
                    .debit(AccountId::receivable(&sar()), total, Some(id))
                    .credit(AccountId::revenue(&sar()), total, Some(id));
                book.post(booking)?;
                book.draft.put(&RecordId::from(id), issued(client, total, now));
            }
            Self::Payment(id, client, amount) => {
                let sum = Minor::new(*amount).unwrap();
                let booking = Booking::of(Self::NAME, sar())
                    .debit(AccountId::cash(&sar()), sum, Some(id))
                    .credit(AccountId::unapplied(client, &sar()), sum, Some(id));
                book.post(booking)?;
                let payment = paid(client, *amount, (PaymentStatus::Completed, at));
                book.draft.put(&RecordId::from(id), payment);
            }
            Self::Pending(id, client, amount) => {
                let payment = paid(client, *amount, (PaymentStatus::Pending, at));
                book.draft.put(&RecordId::from(id), payment);
            }
        }
        Ok(Done {})
    }
}

fn give(world: &mut World, given: Given) {
    world.send_any(0, Arc::new(given)).ok();
}

/// A book with the clients C and D.
pub(super) fn book() -> World {
    let mut world = World::default();
    give(&mut world, Given::Client(key("C")));
    give(&mut world, Given::Client(key("D")));
    world
}

/// A client that takes nothing new.
pub(super) fn archived(world: &mut World, id: &str) {
    give(world, Given::Archived(key(id)));
}

/// An issued invoice without VAT.
pub(super) fn invoice(world: &mut World, id: &str, (client, total): (&str, u64)) {
    give(world, Given::Invoice(key(id), key(client), total));
}

/// A completed payment of client C, all of it unapplied.
pub(super) fn payment(world: &mut World, id: &str, amount: u64) {
    give(world, Given::Payment(key(id), key("C"), amount));
}

/// One that is not completed.
pub(super) fn pending(world: &mut World, id: &str, amount: u64) {
    give(world, Given::Pending(key(id), key("C"), amount));
}
