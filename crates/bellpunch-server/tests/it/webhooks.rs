//! Webhooks, told to a receiver that does what a test says: nothing is lost, the order of a partition
//! is kept, and what is told again is told under the same id.

mod receiver;

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bellpunch::store::Store;
use bellpunch::{
    CallOptions, Command, Draft, EngineConfig, Key, Kind, Outcome, Partition, Record, RecordId,
    Rejection, Timestamp,
};
use bellpunch_server::{
    Config, SecurityConfig, Webhook, WebhookConfig, WebhookFiles, WebhookStart,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::client::{Server, memory, quiet};
use receiver::{Receiver, Told};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Bell {
    strokes: u64,
}

impl Record for Bell {
    const KIND: Kind = Kind::new("bells");
}

/// Rings, and says so as often as it is told to.
#[derive(Debug, Serialize)]
struct Ring {
    events: u64,
}

impl Command for Ring {
    const NAME: &'static str = "bells.ring";
    type Reply = u64;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, _: Timestamp) -> Result<u64, Rejection> {
        let id = RecordId::from(&Key::new("bell").unwrap());
        let strokes = draft.get::<Bell>(&id).map_or(0, |bell| bell.strokes) + 1;
        draft.put(&id, Bell { strokes });
        for index in 0..self.events {
            draft.emit(json!({ "event": "rang", "strokes": strokes, "index": index }));
        }
        Ok(strokes)
    }
}

fn partition(name: &str) -> Partition {
    Partition::new(name).unwrap()
}

/// Rings once; gives the strokes.
pub(crate) async fn ring(server: &Server, of: &str, events: u64) -> u64 {
    let ring = Ring { events };
    match server.engine.call(&partition(of), ring, CallOptions::default()).await.unwrap() {
        Outcome::Accepted(receipt) => {
            assert_eq!(receipt.seq, Some(receipt.reply));
            receipt.reply
        }
        Outcome::Rejected(refusal) => panic!("{refusal:?}"),
    }
}

pub(crate) fn journaled() -> EngineConfig {
    let journal = ["a/1", "a/2", "b"].iter().map(|name| partition(name)).collect();
    EngineConfig { journal, ..EngineConfig::default() }
}

/// Settings with short pauses, told of everything from the first entry on.
pub(crate) fn settings(url: &str) -> WebhookConfig {
    let mut config = WebhookConfig::default();
    config.name = "bells".to_owned();
    config.url = url.to_owned();
    config.partitions = vec!["a/*".to_owned()];
    config.start = WebhookStart::First;
    config.timeout = "300ms".parse().unwrap();
    config.retry_min = "1ms".parse().unwrap();
    config.retry_max = "20ms".parse().unwrap();
    config
}

pub(crate) fn webhook(config: &WebhookConfig, root_certificates: Option<&[u8]>) -> Webhook {
    let files = WebhookFiles { secret: SECRET, root_certificates };
    Webhook::new(config, files, &SecurityConfig::default()).unwrap()
}

async fn serving(config: &WebhookConfig, store: Arc<dyn Store>) -> Server {
    Server::telling((said_quietly(), vec![webhook(config, None)]), store, journaled()).await
}

fn said_quietly() -> Config {
    quiet()
}

/// The value of a metric.
async fn metric(server: &Server, line: &str) -> Option<u64> {
    let text = String::from_utf8(server.get("/metrics").await.bytes).unwrap();
    let found = text.lines().find_map(|found| found.strip_prefix(&format!("{line} ")));
    found.and_then(|value| value.split('.').next().unwrap().parse().ok())
}

async fn until(server: &Server, line: &str, so: impl Fn(u64) -> bool) {
    let line = format!("bellpunch_{line}");
    while !metric(server, &line).await.is_some_and(&so) {
        tokio::task::yield_now().await;
    }
}

fn results(result: &str) -> String {
    format!("webhook_deliveries_total{{webhook=\"bells\",result=\"{result}\"}}")
}

#[tokio::test]
async fn what_was_owed_while_the_receiver_was_down_is_told_in_order() {
    let place = Receiver::place().await;
    let server = serving(&settings(&place.url()), memory()).await;
    for _ in 0..20 {
        ring(&server, "a/1", 1).await;
        ring(&server, "a/2", 1).await;
        ring(&server, "b", 1).await;
    }
    until(&server, &results("unreachable"), |count| 2 < count).await;
    until(&server, "webhook_lag_entries{webhook=\"bells\"}", |entries| entries == 40).await;
    let mut receiver = place.open().await;
    let mut strokes = [Vec::new(), Vec::new()];
    for _ in 0..40 {
        let told = receiver.next().await;
        let body = told.body();
        let of = usize::from(body["partition"] == "a/2");
        assert!(of == 1 || body["partition"] == "a/1", "{body}");
        strokes[of].push(body["data"]["strokes"].as_u64().unwrap());
        told.answer(200);
    }
    assert_eq!(strokes, [(1..=20).collect::<Vec<u64>>(), (1..=20).collect()]);
    until(&server, "webhook_lag_entries{webhook=\"bells\"}", |entries| entries == 0).await;
    until(&server, "webhook_oldest_undelivered_seconds{webhook=\"bells\"}", |age| age == 0).await;
    until(&server, &results("delivered"), |count| count == 40).await;
}

#[tokio::test]
async fn what_is_refused_is_told_again_under_the_same_id_and_nothing_overtakes_it() {
    let mut receiver = Receiver::start().await;
    let server = serving(&settings(&receiver.url()), memory()).await;
    ring(&server, "a/1", 2).await;
    ring(&server, "a/1", 1).await;
    let (mut ids, mut bodies) = (Vec::new(), Vec::new());
    // The first message is refused twice; the second one of the same entry once, so that the first
    // is told again with it: the cursor is that of entries.
    for status in [500, 429, 200, 503, 200, 200, 200] {
        let told = receiver.next().await;
        ids.push(told.header("webhook-id").to_owned());
        bodies.push(told.body());
        told.answer(status);
    }
    let at: Vec<_> = bodies.iter().map(|body| (&body["seq"], &body["data"]["index"])).collect();
    let (one, two) = (json!(1), json!(2));
    let (first, second) = (json!(0), json!(1));
    let expected = [
        (&one, &first),
        (&one, &first),
        (&one, &first),
        (&one, &second),
        (&one, &first),
        (&one, &second),
        (&two, &first),
    ];
    assert_eq!(at, expected);
    assert_eq!((&ids[0], &ids[1], &ids[2]), (&ids[4], &ids[4], &ids[4]));
    assert_eq!(ids[3], ids[5]);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 3);
    assert_eq!((&bodies[0], &bodies[3]), (&bodies[4], &bodies[5]));
    until(&server, &results("refused"), |count| count == 3).await;
}

#[tokio::test]
async fn a_slow_receiver_is_not_waited_for_for_ever_and_holds_up_no_other_partition() {
    let mut receiver = Receiver::start().await;
    let server = serving(&settings(&receiver.url()), memory()).await;
    ring(&server, "a/1", 1).await;
    let slow = receiver.next().await;
    assert_eq!(slow.body()["partition"], "a/1");
    ring(&server, "a/2", 1).await;
    loop {
        let told = receiver.next().await;
        if told.body()["partition"] == "a/2" {
            told.answer(204);
            break;
        }
    }
    until(&server, &results("timed_out"), |count| 0 < count).await;
    let again = receiver.next().await;
    assert_eq!(again.header("webhook-id"), slow.header("webhook-id"));
    again.answer(200);
    until(&server, "webhook_lag_entries{webhook=\"bells\"}", |entries| entries == 0).await;
}

#[tokio::test]
async fn a_redirect_is_refused() {
    let mut receiver = Receiver::start().await;
    let mut elsewhere = Receiver::start().await;
    let server = serving(&settings(&receiver.url()), memory()).await;
    ring(&server, "a/1", 1).await;
    receiver.next().await.redirect(&elsewhere.url());
    receiver.next().await.redirect(&elsewhere.url());
    receiver.next().await.answer(200);
    until(&server, &results("redirected"), |count| count == 2).await;
    assert!(elsewhere.none(), "nobody was asked there");
}

/// HMAC of RFC 2104, written out: the library that signs is not asked whether it did well.
fn hmac(secret: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut block = [0; 64];
    block[..secret.len()].copy_from_slice(secret);
    let keyed = |pad: u8, parts: &[&[u8]]| -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(block.map(|byte| byte ^ pad));
        for part in parts {
            hash.update(part);
        }
        hash.finalize().into()
    };
    let inner = keyed(0x36, parts);
    keyed(0x5c, &[&inner])
}

fn verified(told: &Told) -> bool {
    let secret = STANDARD.decode(SECRET.strip_prefix("whsec_").unwrap()).unwrap();
    let (id, at) = (told.header("webhook-id"), told.header("webhook-timestamp"));
    let parts = [id.as_bytes(), b".", at.as_bytes(), b".", &told.bytes];
    let expected = format!("v1,{}", STANDARD.encode(hmac(&secret, &parts)));
    told.header("webhook-signature").split(' ').any(|signature| signature == expected)
}

#[tokio::test]
async fn each_sending_is_signed() {
    let mut receiver = Receiver::start().await;
    let mut config = settings(&receiver.url());
    config.commands = vec!["quotas.*".to_owned()];
    let server = serving(&config, memory()).await;
    ring(&server, "a/1", 1).await;
    let mut told = receiver.next().await;
    assert_eq!(told.header("content-type"), "application/json");
    let seconds: i128 = told.header("webhook-timestamp").parse().unwrap();
    let now = i128::try_from(server.engine.now().nanos().div_euclid(1_000_000_000)).unwrap();
    assert!((now - 60..=now).contains(&seconds));
    assert!(verified(&told), "{told:?}");
    told.bytes[0] ^= 1;
    assert!(!verified(&told), "altered");
    told.answer(200);
    // A command is told of if it was asked for: which records it wrote, and nothing it was sent.
    let made = server.post("/v1/a%2F1/quotas", &json!({ "id": "q", "limit": 9 })).await;
    assert_eq!(made.status, 201);
    let told = receiver.next().await;
    let body = told.body();
    assert_eq!((&body["type"], &body["seq"]), (&json!("quotas.create"), &json!(2)), "{body}");
    assert_eq!(body["data"], json!({ "versions": { "quotas/q": 1 } }));
    assert!(verified(&told));
    told.answer(200);
}

#[tokio::test]
async fn a_low_balance_is_told() {
    let mut receiver = Receiver::start().await;
    let mut config = settings(&receiver.url());
    config.events = vec!["low_balance".to_owned()];
    let server = serving(&config, memory()).await;
    let sar = |amount: u64| json!({ "amount": amount, "currency": "SAR" });
    for (key, path, body) in [
        ("1", "clients", json!({ "id": "c", "scope": "l", "name": "A. Client" })),
        (
            "2",
            "retainers",
            json!({
                "id": "r", "client": "c", "type": "evergreen", "currency": "SAR",
                "initial_amount": sar(10_000), "minimum_balance": sar(5_000),
            }),
        ),
        ("3", "retainers/r/consume", json!({ "amount": sar(1_000) })),
        ("4", "retainers/r/consume", json!({ "amount": sar(5_000) })),
    ] {
        let path = format!("/v1/a%2F1/{path}");
        let headers = [("Idempotency-Key", key)];
        let made = server.with_headers(("POST", &path), &headers, &body).await;
        assert!(made.status < 300, "{}", made.json());
    }
    let told = receiver.next().await;
    let body = told.body();
    assert_eq!(
        (&body["type"], &body["command"]),
        (&json!("low_balance"), &json!("retainers.consume"))
    );
    assert_eq!((&body["seq"], &body["data"]["retainer"]), (&json!(4), &json!("r")), "{body}");
    assert!(verified(&told));
    told.answer(200);
}

#[tokio::test]
async fn a_restart_goes_on_at_the_cursor() {
    let mut receiver = Receiver::start().await;
    let store = memory();
    let config = settings(&receiver.url());
    let mut server = serving(&config, Arc::clone(&store)).await;
    for _ in 0..3 {
        ring(&server, "a/1", 1).await;
        receiver.next().await.answer(200);
    }
    // Told and not answered when the server stops: it is told again.
    ring(&server, "a/1", 1).await;
    let open = receiver.next().await;
    server.stop();
    drop(open);
    server.stopped().await.unwrap();
    let server = serving(&config, store).await;
    let again = receiver.next().await;
    assert_eq!(again.body()["seq"], 4);
    again.answer(200);
    ring(&server, "a/1", 1).await;
    let next = receiver.next().await;
    assert_eq!(next.body()["seq"], 5);
    next.answer(200);
}

#[tokio::test]
async fn what_was_taken_before_the_server_stops_is_not_told_again() {
    let mut receiver = Receiver::start().await;
    let store = memory();
    let mut config = settings(&receiver.url());
    config.timeout = "10s".parse().unwrap();
    let mut server = serving(&config, Arc::clone(&store)).await;
    ring(&server, "a/1", 1).await;
    ring(&server, "a/1", 1).await;
    let open = receiver.next().await;
    server.stop();
    open.answer(200);
    server.stopped().await.unwrap();
    let _server = serving(&config, store).await;
    assert_eq!(receiver.next().await.body()["seq"], 2);
}

#[tokio::test]
async fn a_new_webhook_begins_now_and_misses_nothing_of_what_is_new() {
    let mut receiver = Receiver::start().await;
    let store = memory();
    let mut config = settings(&receiver.url());
    config.start = WebhookStart::Now;
    let silent = Server::bounded(quiet(), Arc::clone(&store), journaled()).await;
    for _ in 0..5 {
        ring(&silent, "a/1", 1).await;
    }
    let mut server = serving(&config, Arc::clone(&store)).await;
    // The beginning is kept under its name, for every node and every restart.
    let book = partition("_webhooks");
    loop {
        let scan = bellpunch::store::Scan::of(Kind::named("webhook_beginnings"), 1);
        if !server.engine.scan(&book, &scan).await.unwrap().records.is_empty() {
            break;
        }
        tokio::task::yield_now().await;
    }
    server.stop();
    server.stopped().await.unwrap();
    // Nobody looks while these happen; one partition is new, and is told from its first entry on.
    ring(&silent, "a/1", 1).await;
    ring(&silent, "a/2", 1).await;
    let _server = serving(&config, store).await;
    let mut told = BTreeSet::new();
    for _ in 0..2 {
        let message = receiver.next().await;
        let body = message.body();
        told.insert(format!("{} {}", body["partition"].as_str().unwrap(), body["seq"]));
        message.answer(200);
    }
    assert_eq!(told, BTreeSet::from(["a/1 6".to_owned(), "a/2 1".to_owned()]));
}

#[tokio::test]
async fn two_nodes_tell_everything_and_the_cursor_never_goes_back() {
    let mut receiver = Receiver::start().await;
    let store = memory();
    let config = settings(&receiver.url());
    let one = serving(&config, Arc::clone(&store)).await;
    let _two = serving(&config, store).await;
    let writer = async {
        for _ in 0..30 {
            ring(&one, "a/1", 1).await;
        }
    };
    let reader = async {
        let (mut seen, mut ids) = (BTreeSet::new(), BTreeSet::new());
        while seen.len() < 30 {
            let told = receiver.next().await;
            let seq = told.body()["seq"].as_u64().unwrap();
            // Told again or the next: never one beyond what was told.
            assert!(seq <= seen.last().copied().unwrap_or(0) + 1, "{seq} after {seen:?}");
            seen.insert(seq);
            ids.insert(told.header("webhook-id").to_owned());
            told.answer(200);
        }
        assert_eq!(ids.len(), 30);
    };
    tokio::join!(writer, reader);
}

#[tokio::test]
async fn entries_that_nobody_is_told_of_are_passed_and_not_read_again() {
    let mut receiver = Receiver::start().await;
    let store = memory();
    let server = serving(&settings(&receiver.url()), Arc::clone(&store)).await;
    let rings = futures_util::future::join_all((0..1_200).map(|_| ring(&server, "a/1", 0)));
    rings.await;
    let kind = Kind::named("webhook_cursors");
    let key = bellpunch::RecordKey { kind, id: RecordId::stored("bells") };
    loop {
        let kept = store.read(&partition("a/1"), std::slice::from_ref(&key)).await.unwrap();
        if kept[0].value.is_some() {
            break;
        }
        tokio::task::yield_now().await;
    }
    ring(&server, "a/1", 1).await;
    let told = receiver.next().await;
    assert_eq!(told.body()["seq"], 1_201);
    told.answer(200);
}

#[tokio::test]
async fn a_receiver_is_who_its_certificate_says_or_is_told_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (root, mut receiver) = Receiver::over_tls(folder.path()).await;
    let config = settings(&receiver.url());
    let mut stranger = settings(&receiver.url());
    stranger.name = "strangers".to_owned();
    // The name in the certificate is that of the address, and of no other.
    let mut other = settings(&receiver.url().replace("localhost", "127.0.0.1"));
    other.name = "others".to_owned();
    let webhooks =
        vec![webhook(&config, Some(&root)), webhook(&stranger, None), webhook(&other, Some(&root))];
    let server = Server::telling((quiet(), webhooks), memory(), journaled()).await;
    ring(&server, "a/1", 1).await;
    let told = receiver.next().await;
    assert!(verified(&told));
    told.answer(200);
    until(&server, &results("delivered"), |count| count == 1).await;
    for name in ["strangers", "others"] {
        let line = format!("webhook_deliveries_total{{webhook=\"{name}\",result=\"unreachable\"}}");
        until(&server, &line, |count| 1 < count).await;
    }
    assert!(receiver.none(), "what is not verified is told nothing");
}
