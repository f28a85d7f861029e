//! A rule of your own: seats of a show, taken once each, whatever arrives at once.
//!
//! The rule is plain check-then-act. The engine makes it true: on every store, once per
//! idempotency key, with a receipt.
//!
//! ```text
//! cargo run --example own_rule
//! ```

use std::error::Error;
use std::sync::Arc;

use bellpunch::store::{MemoryConfig, MemoryStore, Store};
use bellpunch::{
    CallOptions, Category, Command, Draft, Engine, EngineConfig, Key, Kind, Outcome, Partition,
    Record, RecordId, Rejection, SystemClock, Timestamp,
};
use bellpunch_disk::{DiskConfig, DiskStore};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Seat {
    taken_by: Key,
    at: Timestamp,
}

impl Record for Seat {
    const KIND: Kind = Kind::new("seats");
}

#[derive(Clone, Debug, Serialize)]
struct TakeSeat {
    seat: Key,
    by: Key,
}

impl Command for TakeSeat {
    const NAME: &'static str = "seats.take";
    type Reply = Seat;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<Seat, Rejection> {
        let id = RecordId::from(&self.seat);
        if let Some(seat) = draft.get::<Seat>(&id) {
            let mut data = serde_json::Map::new();
            data.insert("at".to_owned(), seat.at.to_string().into());
            return Err(Rejection { code: "seat_taken", category: Category::State, data });
        }
        // Past here it succeeds.
        let seat = Seat { taken_by: self.by.clone(), at: now };
        draft.put(&id, seat.clone());
        Ok(seat)
    }
}

/// Fifty people reach for one seat; gives how many got it.
async fn run(store: Arc<dyn Store>, clock: Arc<SystemClock>) -> Result<usize, Box<dyn Error>> {
    let engine = Engine::start(store, clock, EngineConfig::default());
    let mut callers = tokio::task::JoinSet::new();
    for person in 0..50 {
        let engine = engine.clone();
        let take = TakeSeat { seat: Key::new("12A")?, by: Key::new(format!("person {person}"))? };
        let hall = Partition::new("hall")?;
        callers.spawn(async move { engine.call(&hall, take, CallOptions::default()).await });
    }
    let mut seated = 0_usize;
    while let Some(outcome) = callers.join_next().await {
        seated = seated.saturating_add(usize::from(matches!(outcome??, Outcome::Accepted(_))));
    }
    engine.drain().await;
    Ok(seated)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let clock = Arc::new(SystemClock::new());
    let memory = MemoryStore::new(Arc::clone(&clock) as _, MemoryConfig::default());
    assert_eq!(run(Arc::new(memory), Arc::clone(&clock)).await?, 1);

    let folder = tempfile::tempdir()?;
    let disk = DiskStore::open(&DiskConfig::new(folder.path()), Arc::clone(&clock) as _)?;
    assert_eq!(run(Arc::new(disk), clock).await?, 1);
    Ok(())
}
