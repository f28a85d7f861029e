//! A store that cannot keep a promise is given none to keep.

use std::sync::Arc;

use bellpunch::store::{
    BoxFuture, Commit, CommitId, CommitResult, Failure, Guarantee, MemoryConfig, MemoryStore, Page,
    PartitionPage, Properties, Resolution, Risk, Scan, Store, Versioned,
};
use bellpunch::{
    AnyOutcome, CallOptions, Engine, EngineConfig, Error, ErrorKind, IdempotencyKey, Partition,
    RecordKey, Refusal, SystemClock, command,
};
use serde_json::{Value, json};

/// A memory store that says something else of itself.
#[derive(Debug)]
pub(crate) struct Saying(pub(crate) MemoryStore, pub(crate) fn(Properties) -> Properties);

impl Store for Saying {
    fn properties(&self) -> Properties {
        self.1(self.0.properties())
    }

    fn read<'a>(
        &'a self,
        partition: &'a Partition,
        keys: &'a [RecordKey],
    ) -> BoxFuture<'a, Result<Vec<Versioned>, Failure>> {
        self.0.read(partition, keys)
    }

    fn commit(&self, commits: Vec<Arc<Commit>>) -> BoxFuture<'_, Vec<CommitResult>> {
        self.0.commit(commits)
    }

    fn scan<'a>(
        &'a self,
        partition: &'a Partition,
        scan: &'a Scan,
    ) -> BoxFuture<'a, Result<Page, Failure>> {
        self.0.scan(partition, scan)
    }

    fn resolve<'a>(
        &'a self,
        partition: &'a Partition,
        id: CommitId,
    ) -> BoxFuture<'a, Result<Resolution, Failure>> {
        self.0.resolve(partition, id)
    }

    fn partitions<'a>(
        &'a self,
        after: Option<&'a Partition>,
        limit: usize,
    ) -> BoxFuture<'a, Result<PartitionPage, Failure>> {
        self.0.partitions(after, limit)
    }
}

fn policy(id: &str) -> (&'static str, Value) {
    let second = 1_000_000_000_u64;
    let content = json!({
        "id": id, "algorithm": "sliding_log", "limit": 1, "period_ns": 3_600 * second,
        "best_effort": id == "loose",
    });
    ("policies.set", content)
}

#[test]
fn only_rate_limits_that_say_so_run_on_a_best_effort_store() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let clock = Arc::new(SystemClock::new());
        let store = MemoryStore::new(Arc::clone(&clock) as _, MemoryConfig::default());
        let loose = |known| Properties { guarantee: Guarantee::BestEffort, ..known };
        let store = Saying(store, loose);
        let engine = Engine::start(Arc::new(store), clock, EngineConfig::default());
        let partition = Partition::new("p").unwrap();
        let send = |commands: Vec<(&str, Value)>, options| {
            let read = |(name, content)| (command(name).unwrap().parse)(content).unwrap();
            engine.send(&partition, commands.into_iter().map(read).collect(), options)
        };
        let consume = || ("policies.consume", json!({ "id": "loose", "key": "k" }));
        let keyed = CallOptions {
            key: Some(IdempotencyKey::new("again").unwrap()),
            ..CallOptions::default()
        };
        for (refused, options) in [
            (vec![("quotas.create", json!({ "id": "q", "limit": 1 }))], CallOptions::default()),
            (vec![("quotas.consume", json!({ "id": "q" }))], CallOptions::default()),
            (
                vec![("holds.create", json!({ "items": [{ "quota": "q" }] }))],
                CallOptions::default(),
            ),
            (vec![("uploads.read", json!({ "id": "u" }))], CallOptions::default()),
            (vec![policy("strict")], CallOptions::default()),
            (vec![policy("loose")], keyed.clone()),
            // A list is as strict as its strictest member.
            (vec![policy("loose"), policy("strict")], CallOptions::default()),
        ] {
            let what = format!("{refused:?}");
            let error = send(refused, options).await.expect_err(&what);
            assert_eq!(error.kind(), ErrorKind::StoreUnavailable, "{what}: {error}");
            assert!(error.to_string().contains("best-effort"), "{error}");
        }
        let partitions = engine.partitions(None, 1).await.unwrap().partitions;
        assert_eq!(partitions, [], "nothing was written");

        for accepted in [policy("loose"), consume()] {
            let outcome = send(vec![accepted], CallOptions::default()).await.unwrap();
            assert!(
                matches!(&outcome, AnyOutcome::Accepted(receipt) if receipt.best_effort),
                "{outcome:?}"
            );
        }
        let outcome = send(vec![consume()], CallOptions::default()).await.unwrap();
        assert!(
            matches!(&outcome, AnyOutcome::Rejected(refusal) if refusal.best_effort),
            "{outcome:?}"
        );
    });
}

/// An engine on a store that can lose what it acknowledged.
fn relaxed(accept_risk: Option<Risk>) -> Engine {
    let clock = Arc::new(SystemClock::new());
    let store = MemoryStore::new(Arc::clone(&clock) as _, MemoryConfig::default());
    let store = Saying(store, |known| Properties { risk: Some(Risk::LostOnFailover), ..known });
    let config = EngineConfig { accept_risk, ..EngineConfig::default() };
    Engine::start(Arc::new(store), clock, config)
}

async fn send(
    engine: &Engine,
    commands: &[(&str, Value)],
    key: Option<&str>,
) -> Result<AnyOutcome, Error> {
    let read = |(name, content): &(&str, Value)| {
        let known = command(name).unwrap_or_else(|| panic!("no command {name}"));
        (known.parse)(content.clone()).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let options = CallOptions {
        key: key.map(|key| IdempotencyKey::new(key).expect("a legal key")),
        ..CallOptions::default()
    };
    let partition = Partition::new("p").expect("a legal name");
    engine.send(&partition, commands.iter().map(read).collect(), options).await
}

const RATE: &str = "policies.consume";

/// Every command that a wire can name, with whether it is about rate limits alone.
fn every_command() -> Vec<(&'static str, Value, bool)> {
    let quota = json!([{ "quota": "q" }]);
    let mixed = json!([{ "policy": "r", "key": "k" }, { "quota": "q" }]);
    let rates = [
        (
            "policies.set",
            json!({ "id": "r", "algorithm": "sliding_log", "limit": 9, "period_ns": 3_600_000_000_000_u64 }),
        ),
        (RATE, json!({ "id": "r", "key": "k" })),
        ("checks.consume", json!({ "items": [{ "policy": "r", "key": "k" }] })),
        ("counters.read", json!({ "policy": "r", "key": "k" })),
        ("policies.read", json!({ "id": "r" })),
        ("policies.reset", json!({ "id": "r", "key": "k" })),
        ("policies.reset_all", json!({ "id": "r" })),
        ("charges.read", json!({ "id": "c" })),
        ("outcomes.read", json!({ "id": "key" })),
        ("policies.delete", json!({ "id": "r" })),
    ];
    let others = [
        ("quotas.create", json!({ "id": "q", "limit": 1 })),
        ("quotas.consume", json!({ "id": "q" })),
        ("quotas.read", json!({ "id": "q" })),
        ("quotas.reset", json!({ "id": "q" })),
        ("quotas.revoke", json!({ "id": "q" })),
        ("checks.consume", json!({ "items": quota })),
        ("checks.consume", json!({ "items": mixed })),
        ("holds.create", json!({ "items": quota })),
        ("holds.read", json!({ "id": "h" })),
        ("charges.refund", json!({ "id": "c", "units": 1 })),
        ("tickets.read", json!({ "id": "t" })),
        ("uploads.read", json!({ "id": "u" })),
        ("currencies.define", json!({ "code": "XXX", "scale": 2 })),
    ];
    let rates = rates.into_iter().map(|(name, content)| (name, content, true));
    rates.chain(others.into_iter().map(|(name, content)| (name, content, false))).collect()
}

#[tokio::test]
async fn a_relaxed_store_serves_rate_limits_alone_and_says_so() {
    let engine = relaxed(None);
    for (name, content, is_rate) in every_command() {
        let told = send(&engine, &[(name, content.clone())], None).await;
        match told {
            Ok(AnyOutcome::Accepted(receipt)) if is_rate => assert!(!receipt.durable, "{name}"),
            Ok(AnyOutcome::Rejected(Refusal { durable, .. })) if is_rate => {
                assert!(!durable, "{name}");
            }
            Err(error) if !is_rate => {
                assert_eq!(error.kind(), ErrorKind::RiskNotAccepted, "{name}: {error}");
                let setting = "store.accept_risk = \"lost_on_failover\"";
                assert!(error.to_string().contains(setting), "{error}");
            }
            other => panic!("{name} {content}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn on_a_relaxed_store_a_key_does_not_matter_and_a_list_is_as_strict_as_its_strictest() {
    let engine = relaxed(None);
    let commands = every_command();
    let [set, consume] = [0, 1].map(|place: usize| (commands[place].0, commands[place].1.clone()));
    let quota = ("quotas.create", json!({ "id": "q", "limit": 1 }));
    let error = send(&engine, &[set.clone(), quota], None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RiskNotAccepted, "{error}");
    assert_eq!(engine.partitions(None, 1).await.unwrap().partitions, [], "nothing was written");
    for replayed in [false, true] {
        let told = send(&engine, &[set.clone(), consume.clone()], Some("again")).await.unwrap();
        let AnyOutcome::Accepted(receipt) = told else { panic!("{told:?}") };
        assert_eq!((receipt.durable, receipt.replayed), (false, replayed));
    }
}

#[tokio::test]
async fn a_risk_is_accepted_by_its_own_name_and_each_answer_still_says_so() {
    let create = [("quotas.create", json!({ "id": "q", "limit": 1 }))];
    let error = send(&relaxed(Some(Risk::LostOnCrash)), &create, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RiskNotAccepted, "another risk: {error}");
    let engine = relaxed(Some(Risk::LostOnFailover));
    let told = send(&engine, &create, None).await.unwrap();
    assert!(matches!(&told, AnyOutcome::Accepted(receipt) if !receipt.durable), "{told:?}");
    let told = send(&engine, &create, None).await.unwrap();
    assert!(matches!(&told, AnyOutcome::Rejected(refusal) if !refusal.durable), "{told:?}");
}
