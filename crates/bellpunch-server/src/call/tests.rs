//! Broken text at the parsers of JSON and of every command: refused or read, never a panic.
//!
//! Bounded by a count; by time where `BELLPUNCH_FUZZ_SECONDS` is set. `BELLPUNCH_TEST_SEED` repeats
//! a run.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bellpunch::store::{MemoryBlobs, MemoryConfig, MemoryStore};
use bellpunch::{Engine, EngineConfig, SystemClock};
use serde_json::{Value, json};

use crate::app::App;
use crate::config::Config;
use crate::{call, json, route};

/// Texts in the normal run.
const COUNT: u64 = 2_000;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap().checked_rem(bound.max(1)).unwrap()
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var_os(name).and_then(|text| text.to_str()?.parse().ok())
}

fn seed() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    let seed = number("BELLPUNCH_TEST_SEED").unwrap_or_else(|| u64::from_le_bytes(bytes));
    // Not captured, so that the seed of a failure is known.
    let _ = writeln!(std::io::stderr(), "BELLPUNCH_TEST_SEED={seed}");
    seed
}

fn bodies() -> Vec<String> {
    let item = json!({"quota": "q", "policy": "p", "key": "k", "units": 3});
    let amount = json!({"amount": 5, "unit": "use", "currency": "SAR"});
    let terms = json!({
        "algorithm": "gcra", "rate": 3, "burst": 2, "period_ms": 60_000, "limit": "unlimited",
        "align": "epoch", "unit": "month", "zone": "Asia/Riyadh", "max_keys": 7
    });
    [
        json!({"id": "q", "limit": 9, "refill": {"amount": "full", "period_ms": 5}, "used": 1}),
        json!({"items": [item, item], "ttl_ms": 60_000, "labels": {"a": "b"}, "owner": "o"}),
        terms.clone(),
        json!({"policy": "p", "key": "k", "terms": terms, "units": 9_007_199_254_740_991_u64}),
        json!({"holder": "h", "audience": "s", "issued_by": "s", "ttl_ms": 5, "max_amount": amount,
            "make_secret": true, "metadata": {"x": [1, {"y": null}]}}),
        json!({"id": "t", "audience": "s", "holder": "h", "amount": "all", "secret": "x",
            "if_version": [1, 2], "expires_at": "2026-02-28T24:00:00.1234567890+14:00"}),
        json!({"id": "u", "size_limit": 10, "charge": [item], "max_downloads": "unlimited",
            "delete_secret": "s", "generation": 1}),
        json!({"commands": [{"command": "quotas.consume", "id": "q", "idempotency_key": "k"}]}),
    ]
    .iter()
    .map(Value::to_string)
    .collect()
}

const PIECES: [&str; 24] = [
    "null",
    "true",
    "-1",
    "1e999",
    "0.5",
    "18446744073709551616",
    "\"\"",
    "\"_\"",
    "\"\\ud800\"",
    "{}",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "\"",
    "\\",
    "\u{0}",
    "\u{feff}",
    "_ns",
    "_ms",
    "é",
    "\"id\"",
];

/// Some changes of a text that is nearly right.
fn broken(random: &mut Random, bodies: &[String]) -> Vec<u8> {
    let mut bytes = bodies[random.below(bodies.len())].clone().into_bytes();
    for _ in 0..random.below(6) {
        let at = random.below(bytes.len().saturating_add(1));
        match random.below(5) {
            0 => bytes.truncate(at),
            1 => {
                let end = at.saturating_add(random.below(16)).min(bytes.len());
                bytes.drain(at..end);
            }
            2 => {
                let piece = PIECES[random.below(PIECES.len())];
                bytes.splice(at..at, piece.bytes());
            }
            3 if at < bytes.len() => bytes[at] = random.next().to_le_bytes()[0],
            _ => {
                let other = bodies[random.below(bodies.len())].as_bytes();
                let from = random.below(other.len());
                bytes.splice(at..at, other[from..].iter().copied());
            }
        }
    }
    bytes
}

#[tokio::test]
async fn broken_text_is_refused_or_read_by_every_command() {
    let clock = Arc::new(SystemClock::new());
    let store = Arc::new(MemoryStore::new(clock.clone(), MemoryConfig::default()));
    let engine = Engine::start(store, clock.clone(), EngineConfig::default());
    let commands: Vec<_> = bellpunch::commands().collect();
    let blobs = Arc::new(MemoryBlobs::new(clock, 1 << 20));
    let app = App::new(engine, blobs, Config::default(), &commands);
    let (mut random, bodies) = (Random(seed()), bodies());
    let (begun, seconds) = (tokio::time::Instant::now(), number("BELLPUNCH_FUZZ_SECONDS"));
    let (mut texts, mut objects, mut made) = (0_u64, 0_u64, 0_u64);
    loop {
        let done = match seconds {
            Some(seconds) => Duration::from_secs(seconds) <= begun.elapsed(),
            None => COUNT <= texts,
        };
        if done {
            break;
        }
        let bytes = broken(&mut random, &bodies);
        texts += 1;
        let path = String::from_utf8_lossy(&bytes);
        let _ = app.routes.find(&hyper::Method::GET, &format!("/v1/{path}"));
        let Ok(mut content) = json::read_object(&bytes) else { continue };
        objects += 1;
        for spec in &commands {
            made += u64::from(call::prepare(&app, spec, content.clone()).is_ok());
        }
        for spec in &route::OF_THE_DOOR {
            assert!(app.command(spec).is_some());
        }
        let mut value = Value::Object(std::mem::take(&mut content));
        json::outward(&mut value);
    }
    let _ = writeln!(std::io::stderr(), "{texts} texts, {objects} objects, {made} commands");
    assert!(0 < made, "some texts are commands");
}
