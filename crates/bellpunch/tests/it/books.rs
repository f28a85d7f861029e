//! Two books beside each other: what is counted in one is not counted in the other.

use std::sync::Arc;

use bellpunch::store::{MemoryConfig, MemoryStore};
use bellpunch::{
    AnyOutcome, CallOptions, Engine, EngineConfig, IdempotencyKey, Partition, SystemClock, command,
};
use serde_json::{Value, json};

const BOOKS: [&str; 2] = ["A", "B"];

fn engine() -> Engine {
    let clock = Arc::new(SystemClock::new());
    let store = MemoryStore::new(Arc::clone(&clock) as _, MemoryConfig::default());
    Engine::start(Arc::new(store), clock, EngineConfig::default())
}

/// Sends a command, which must be accepted; its reply, and whether that was told before.
async fn told(engine: &Engine, (book, key): (&str, &str), call: (&str, Value)) -> (Value, bool) {
    let (name, content) = call;
    let read = command(name).expect("a command").parse;
    let sent = read(content).unwrap_or_else(|error| panic!("{name}: {error}"));
    let key = Some(IdempotencyKey::new(key).expect("a legal key"));
    let options = CallOptions { key, ..CallOptions::default() };
    let book = Partition::new(book).expect("a legal name");
    match engine.send(&book, vec![sent], options).await.expect("an answer") {
        AnyOutcome::Accepted(receipt) => {
            let reply = receipt.replies.first().expect("one command has one reply");
            (reply.to_json(), receipt.replayed)
        }
        AnyOutcome::Rejected(refusal) => panic!("{name}: {refusal:?}"),
    }
}

async fn with_client(engine: &Engine) {
    for book in BOOKS {
        let client = json!({"id": "c", "scope": "firm", "name": "first"});
        told(engine, (book, "client"), ("clients.create", client)).await;
    }
}

fn issue() -> (&'static str, Value) {
    let price = json!({"amount": 1000, "currency": "SAR"});
    let line = json!({
        "description": "work", "quantity_milli": 1000, "unit_price": price, "vat_bp": 0,
    });
    let invoice = json!({
        "client": "c", "currency": "SAR", "lines": [line], "due_on": "2099-01-31", "issue": true,
    });
    ("invoices.create", invoice)
}

/// The last part of an invoice's number: the month of the test's own clock stands before it.
fn value_of(reply: &Value) -> String {
    let number = reply.pointer("/invoice/number").and_then(Value::as_str);
    let number = number.expect("an issued invoice has a number");
    assert!(number.starts_with("INV-"), "{number}");
    number.rsplit('-').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn m46_s22_each_book_has_its_first_number() {
    let engine = engine();
    with_client(&engine).await;
    let ((a, _), (b, _)) =
        tokio::join!(told(&engine, ("A", "i1"), issue()), told(&engine, ("B", "i1"), issue()),);
    assert_eq!((value_of(&a), value_of(&b)), ("0001".to_owned(), "0001".to_owned()));
    assert_ne!(a["invoice"]["id"], b["invoice"]["id"]);
}

#[tokio::test]
async fn what_is_sent_at_once_to_two_books_is_consecutive_in_each() {
    let engine = engine();
    with_client(&engine).await;
    let keys: Vec<String> = (1..=20).map(|n| format!("i{n}")).collect();
    let calls = keys.iter().flat_map(|key| BOOKS.map(|book| (book, key.as_str())));
    let to = &engine;
    let calls = calls.map(|(book, key)| async move {
        let (reply, replayed) = told(to, (book, key), issue()).await;
        assert!(!replayed, "a key is of one book");
        (book, value_of(&reply))
    });
    let mut given = futures_util::future::join_all(calls).await;
    given.sort();
    let expected = BOOKS.iter().flat_map(|book| (1..=20).map(|n| (*book, format!("{n:04}"))));
    assert_eq!(given, expected.collect::<Vec<_>>());
    // Asked again, each book tells what it told.
    for (book, value) in &given {
        let replies = keys.iter().map(|key| told(&engine, (book, key), issue()));
        let replies = futures_util::future::join_all(replies).await;
        assert!(replies.iter().all(|(_, replayed)| *replayed));
        assert!(replies.iter().any(|(reply, _)| value_of(reply) == *value));
    }
}

#[tokio::test]
async fn an_import_into_one_book_moves_no_other() {
    let engine = engine();
    with_client(&engine).await;
    let plain = json!({"name": "ORD", "template": "ORD-{N:4}", "class": "gapless", "zone": "UTC"});
    for book in BOOKS {
        told(&engine, (book, "define"), ("series.define", plain.clone())).await;
    }
    let import = ("series.advance", json!({"name": "ORD", "period": "", "last": 412}));
    told(&engine, ("A", "import"), import).await;
    for (book, number) in [("A", "ORD-0413"), ("B", "ORD-0001")] {
        let next = ("series.next", json!({"name": "ORD", "document": "x"}));
        let (reply, _) = told(&engine, (book, "next"), next).await;
        assert_eq!(reply["number"]["number"], number);
    }
}
