use std::sync::Mutex;

use bellpunch::store::{
    Commit, CommitId, CommitResult, MemoryBlobs, MemoryConfig, MemoryStore, Precondition, Store,
    Write, WriteValue,
};
use bellpunch::{Engine, EngineConfig, SystemClock};
use bellpunch_store::fault::FaultStore;
use serde_json::json;

use super::*;
use crate::config::Config;

fn server(store: Arc<dyn Store>) -> App {
    let clock = Arc::new(SystemClock::new());
    // Nobody else looks at all records while a test does.
    let config = EngineConfig { sweep_every: Duration::from_hours(1), ..EngineConfig::default() };
    let engine = Engine::start(store, clock.clone(), config);
    let commands: Vec<_> = bellpunch::commands().collect();
    let mut config = Config::default();
    config.log.level = LogLevel::Error;
    App::new(engine, Arc::new(MemoryBlobs::new(clock, 1 << 20)), config, &commands)
}

async fn call(app: &App, name: &str, content: serde_json::Value) {
    let command = (app.command(name).unwrap().parse)(content).unwrap();
    let partition = Partition::new("p").unwrap();
    let sent = app.engine.send(&partition, vec![command], CallOptions::default()).await.unwrap();
    assert!(matches!(sent, AnyOutcome::Accepted(_)), "{sent:?}");
}

/// Overwrites a record behind the back of every engine, as a lost update would.
async fn plant(
    store: &dyn Store,
    (kind, id): (&str, &str),
    change: impl Fn(&mut serde_json::Value),
) {
    let partition = Partition::new("p").unwrap();
    let key = RecordKey { kind: Kind::named(kind), id: RecordId::stored(id) };
    let old = store.read(&partition, std::slice::from_ref(&key)).await.unwrap().remove(0);
    let mut record: serde_json::Value = serde_json::from_slice(&old.value.unwrap()).unwrap();
    change(&mut record["record"]);
    let commit = Commit {
        // Two commits of one id would be one.
        id: CommitId::new(u128::try_from(id.len()).unwrap()),
        partition,
        now: old.at,
        deadline: None,
        preconditions: vec![Precondition { key: key.clone(), version: old.version }],
        writes: vec![Write {
            key,
            version: old.version.plus(1),
            at: old.at,
            sweep_at: None,
            value: WriteValue::Put(serde_json::to_vec(&record).unwrap().into()),
        }],
    };
    let results = store.commit(vec![Arc::new(commit)]).await;
    assert!(matches!(results[0], CommitResult::Committed { .. }), "{results:?}");
}

#[tokio::test]
async fn a_lost_update_is_found_and_named() {
    let clock = Arc::new(SystemClock::new());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(clock, MemoryConfig::default()));
    let app = server(Arc::clone(&store));
    call(&app, "quotas.create", json!({"id": "q", "limit": 9})).await;
    for _ in 0..3 {
        call(&app, "quotas.consume", json!({"id": "q", "units": 2})).await;
    }
    let hold = json!({"items": [{"quota": "q"}], "ttl_ns": 60_000_000_000_u64});
    call(&app, "holds.create", hold).await;
    let round = once(&app).await.unwrap();
    assert_eq!(round.findings, []);
    report(&app, round);
    let metrics = app.metrics.render(&app.engine);
    assert!(metrics.contains("audit_violations{check=\"usage_matches_charges\"} 0"), "{metrics}");
    assert!(metrics.contains("bellpunch_holds_open{policy=\"quota\"} 1"), "{metrics}");
    assert!(!metrics.contains("audit_last_success_seconds 0"), "{metrics}");

    // One of three uses is lost: the count stays within its limit and looks well.
    plant(&*store, ("quotas", "q"), |quota| {
        quota["used"] = json!(4);
        quota["totals"]["charged"] = json!("4");
    })
    .await;
    // Another node, that has nothing of it in memory.
    let app = server(store);
    let round = once(&app).await.unwrap();
    let [(partition, finding)] = round.findings.as_slice() else { panic!("{round:?}") };
    assert_eq!((partition.as_str(), finding.check), ("p", "usage_matches_charges"));
    let Finding { subject, expected, found, .. } = finding;
    assert_eq!([subject, expected, found], ["quotas/q", "6", "4"]);
    report(&app, round);
    let metrics = app.metrics.render(&app.engine);
    assert!(metrics.contains("audit_violations{check=\"usage_matches_charges\"} 1"), "{metrics}");
}

/// A book with 10 from the bank on an account.
async fn book(app: &App) {
    for (id, class) in [("bank", "external"), ("a", "bounded")] {
        let content = json!({"id": id, "owner": "o", "currency": "SAR", "class": class});
        call(app, "accounts.create", content).await;
    }
    let amount = json!({"amount": 10, "currency": "SAR"});
    call(app, "accounts.credit", json!({"id": "a", "amount": amount, "from": "bank"})).await;
}

#[tokio::test]
async fn a_balance_changed_behind_the_engines_back_is_named() {
    let clock = Arc::new(SystemClock::new());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(clock, MemoryConfig::default()));
    let app = server(Arc::clone(&store));
    book(&app).await;
    assert_eq!(once(&app).await.unwrap().findings, []);
    plant(&*store, ("accounts", "a"), |account| account["posted"] = json!(11)).await;
    let app = server(store);
    let round = once(&app).await.unwrap();
    let found: Vec<(&str, &str)> = round
        .findings
        .iter()
        .map(|(_, finding)| (finding.check, finding.subject.as_str()))
        .collect();
    let expected =
        [("transfers_balance", "all accounts in SAR"), ("balance_matches_postings", "accounts/a")];
    assert_eq!(found, expected);
    report(&app, round);
    let metrics = app.metrics.render(&app.engine);
    for (check, count) in [("transfers_balance", 1), ("journal_intact", 0), ("chain_intact", 0)] {
        let line = format!("audit_violations{{check=\"{check}\"}} {count}");
        assert!(metrics.contains(&line), "{metrics}");
    }
}

#[tokio::test]
async fn a_look_is_settled_if_no_entry_came_meanwhile() {
    let clock = Arc::new(SystemClock::new());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(clock, MemoryConfig::default()));
    let app = server(store);
    let partition = Partition::new("p").unwrap();
    call(&app, "quotas.create", json!({"id": "q", "limit": 9})).await;
    // A partition without a journal has no place in one.
    assert!(!Reader::of(&app, &partition).look().await.unwrap().unwrap().is_settled);
    book(&app).await;
    assert!(Reader::of(&app, &partition).look().await.unwrap().unwrap().is_settled);
    let first = Reader::of(&app, &partition).tail().await.unwrap();
    call(&app, "quotas.consume", json!({"id": "q", "units": 1})).await;
    assert_ne!(Reader::of(&app, &partition).tail().await.unwrap(), first);
}

#[tokio::test(start_paused = true)]
async fn the_store_is_left_alone_between_pages_but_for_those_who_wait() {
    let partition = Partition::new("p").unwrap();
    for (millis, rest) in [(10, 8), (5_000, 2)] {
        let (page, begins) = (Duration::from_millis(millis), Arc::new(Mutex::new(Vec::new())));
        let clock = Arc::new(SystemClock::new());
        let store = Arc::new(MemoryStore::new(clock, MemoryConfig::default()));
        let asked = Arc::clone(&begins);
        let store = FaultStore::new(store).before_scans(move || {
            asked.lock().unwrap().push(Instant::now());
            Box::pin(sleep(page))
        });
        let app = server(Arc::new(store));
        for quota in 0..=PAGE {
            call(&app, "quotas.create", json!({"id": format!("q{quota}"), "limit": 9})).await;
        }
        // From each page to the next, in pages: of the journal's tail, two of records, the tail.
        let gaps = || {
            let mut begins = std::mem::take(&mut *begins.lock().unwrap());
            begins.push(Instant::now());
            let gap = |pair: &[Instant]| (pair[1] - pair[0]).as_millis();
            begins.windows(2).map(|pair| gap(pair).div_ceil(u128::from(millis))).collect::<Vec<_>>()
        };
        assert_eq!(once(&app).await.unwrap().findings, []);
        assert_eq!(gaps(), [1, 1 + rest, 1, 1 + rest]);
        assert_eq!(of_partition(&app, &partition).await.unwrap(), Some(Vec::new()));
        assert_eq!(gaps(), [1, 1, 1, 1]);
    }
}

#[tokio::test]
async fn a_series_and_a_chain_are_told_what_does_not_agree_in_them() {
    let clock = Arc::new(SystemClock::new());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(clock, MemoryConfig::default()));
    let app = server(Arc::clone(&store));
    let chain = json!({"name": "tax", "genesis_hash": "0".repeat(64), "seal": "auto"});
    call(&app, "chains.define", chain).await;
    for (name, document) in [("A", "a"), ("A/", "b")] {
        let series = json!({
            "name": name, "template": "A-{N:2}", "class": "gapless", "zone": "UTC", "chain": "tax",
        });
        call(&app, "series.define", series).await;
        call(&app, "series.next", json!({"name": name, "document": document})).await;
    }
    plant(&*store, ("series_counters", "1:A1:--"), |counter| counter["last"] = json!(7)).await;
    plant(&*store, ("chain_documents", "3:tax0000000000000002"), |document| {
        document["prev_hash"] = json!("1".repeat(64));
    })
    .await;
    let app = server(store);
    let partition = Partition::new("p").unwrap();
    let found = async |collection: &str, id: &str| {
        let id = Key::new(id).unwrap();
        let found = crate::below::disagreements(&app, &partition, (collection, &id)).await;
        let name = |finding: Finding| (finding.check, finding.subject);
        found.unwrap().into_iter().map(name).collect::<Vec<_>>()
    };
    let counter = ("number_without_gap", "series_counters/1:A1:--".to_owned());
    assert_eq!(found("series", "A").await, [counter]);
    assert_eq!(found("series", "A/").await, []);
    let document = ("chain_intact", "chain_documents/3:tax0000000000000002".to_owned());
    assert_eq!(found("chains", "tax").await, [document]);
}
