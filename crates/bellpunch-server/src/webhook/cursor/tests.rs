//! Claims about cursors.

use std::sync::Arc;

use bellpunch::store::{MemoryConfig, MemoryStore};
use bellpunch::{CallOptions, Engine, EngineConfig, Outcome, Partition, SystemClock};

use super::*;

async fn sent<C: Command>(engine: &Engine, command: C) -> C::Reply {
    let of = Partition::new("p").unwrap();
    match engine.call(&of, command, CallOptions::default()).await.unwrap() {
        Outcome::Accepted(receipt) => {
            assert_eq!(receipt.seq, None, "it has no entry");
            receipt.reply
        }
        Outcome::Rejected(refusal) => panic!("{refusal:?}"),
    }
}

fn engine() -> Engine {
    let clock = Arc::new(SystemClock::new());
    let store = Arc::new(MemoryStore::new(clock.clone(), MemoryConfig::default()));
    let journal = std::iter::once(Partition::new("p").unwrap()).collect();
    Engine::start(store, clock, EngineConfig { journal, ..EngineConfig::default() })
}

#[tokio::test]
async fn a_cursor_never_goes_back_and_has_no_entry() {
    let engine = engine();
    let advance = |seq| Advance { webhook: Key::new("w").unwrap(), seq };
    for (seq, there) in [(3, 3), (1, 3), (3, 3), (4, 4), (0, 4)] {
        assert_eq!(sent(&engine, advance(seq)).await, there);
    }
    let other = Advance { webhook: Key::new("x").unwrap(), seq: 1 };
    assert_eq!(sent(&engine, other).await, 1);
}

#[tokio::test]
async fn who_begins_later_begins_where_the_first_did() {
    let engine = engine();
    let key = |name: &str| Key::new(name).unwrap();
    let begin =
        |attempt| Begin { webhook: key("w"), pattern: key("acme/*"), attempt: key(attempt) };
    assert_eq!(sent(&engine, begin("one")).await, key("one"));
    assert_eq!(sent(&engine, begin("two")).await, key("one"));
}
