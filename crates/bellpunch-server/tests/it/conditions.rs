//! What an alert waits for, provoked: its condition, as `ops/alerts.yml` has it, is true of what
//! `/metrics` says then, and was not before.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bellpunch::store::{
    Clock, Commit, CommitId, CommitResult, MemoryConfig, MemoryStore, Precondition, Scan, Store,
    Write, WriteValue,
};
use bellpunch::{
    CallOptions, Command, Draft, EngineConfig, Kind, Partition, RecordKey, Rejection, SystemClock,
    Timestamp,
};
use bellpunch_server::Config;
use bellpunch_store::fault::{Fault, FaultStore};
use serde::Serialize;
use serde_json::{Value, json};

use crate::alerts::alerts;
use crate::client::{Reply, Server, memory, quiet};
use crate::promql::{Labels, Look, holds};
use crate::webhooks::{journaled, ring, settings, webhook};

/// A test for each provocation, and the alerts that have one.
macro_rules! provoked {
    ($($test:ident: $alert:literal by $provoke:expr;)+) => {
        pub(crate) const PROVOKED: &[&str] = &[$($alert),+];

        $(#[tokio::test]
        async fn $test() {
            let seconds = std::time::Duration::from_secs(120);
            tokio::time::timeout(seconds, $provoke($alert)).await.expect($alert);
        })+
    };
}

provoked! {
    records_that_do_not_agree: "BellpunchAuditViolation" by a_lost_update;
    a_payment_refunded_beside_its_refunds: "BellpunchPaymentAppliedTwice"
        by |alert| tampered(alert, ("payments", "p", "/refunded"));
    a_balance_that_is_not_its_postings: "BellpunchBalanceWrong"
        by |alert| tampered(alert, ("accounts", "sys:cash", "/posted"));
    a_retainer_that_is_not_its_postings: "BellpunchRetainerNegative"
        by |alert| tampered(alert, ("retainers", "r", "/balance"));
    an_invoice_that_is_not_its_payments: "BellpunchInvoicePaidWrong"
        by |alert| tampered(alert, ("invoices", "i", "/amount_paid"));
    a_number_out_of_its_place: "BellpunchNumbersWrong"
        by |alert| tampered(alert, ("numbers", "3:INV", "/value"));
    an_audit_that_does_not_end: "BellpunchAuditLate" by a_store_that_went_away;
    documents_without_a_number: "BellpunchNumberFailures" by a_chain_that_waits_for_its_seal;
    commits_without_an_answer: "BellpunchUnknownOutcomes" by replies_that_are_lost;
    commands_given_up: "BellpunchContention" by conflicts_without_end;
    commits_that_conflict: "BellpunchConflicts" by some_conflicts;
    commits_that_fail: "BellpunchCommitsNotApplied" by a_failed_commit;
    full_queues: "BellpunchQueuesFull" by a_store_that_stands_still;
    decisions_without_the_store: "BellpunchStorelessDecisions" by a_store_that_is_down;
    clocks_that_differ: "BellpunchClockSkew" by a_store_whose_clock_is_ahead;
    a_clock_that_goes_back: "BellpunchClockSkew" by a_clock_set_back;
    rules_that_panic: "BellpunchPanics" by a_rule_with_a_bug;
    a_payload_that_is_gone: "BellpunchPayloadUnavailable" by a_payload_removed;
    a_message_that_nobody_takes: "BellpunchWebhookLate" by a_receiver_that_is_down;
    much_that_nobody_is_told: "BellpunchWebhookBehind" by a_receiver_far_behind;
    payments_that_may_be_one: "BellpunchPossibleDuplicatePayments" by two_equal_payments;
}

/// Looks at `/metrics`, and asks an alert's condition of it.
struct Watch<'a> {
    server: &'a Server,
    alert: &'static str,
    expression: String,
    before: Look,
}

async fn look(server: &Server) -> Look {
    let text = String::from_utf8(server.get("/metrics").await.bytes).unwrap();
    let seconds = server.engine.now().nanos().div_euclid(1_000_000_000);
    Look::new(f64::from(u32::try_from(seconds).unwrap()), &text)
}

impl<'a> Watch<'a> {
    /// From now on; what the alert is about has not happened yet.
    async fn start(server: &'a Server, alert: &'static str) -> Self {
        let found = alerts().into_iter().find(|found| found.name == alert);
        let expression = found.unwrap_or_else(|| panic!("no alert {alert}")).expression;
        let watch = Self { server, alert, expression, before: look(server).await };
        watch.is_silent().await;
        watch
    }

    async fn told(&self) -> Vec<Labels> {
        holds(&self.expression, (&self.before, &look(self.server).await))
    }

    async fn is_silent(&self) {
        assert_eq!(self.told().await, Vec::<Labels>::new(), "{} is told early", self.alert);
    }

    /// Returns as soon as the condition is true.
    async fn is_told(&self) {
        while self.told().await.is_empty() {
            tokio::task::yield_now().await;
        }
    }
}

/// A server on a store that does wrong when it is told to.
async fn faulty(bounds: EngineConfig) -> (Server, Arc<FaultStore>) {
    let store = Arc::new(FaultStore::new(memory()));
    let mut config = quiet();
    config.http.timeout = "300ms".parse().unwrap();
    let server = Server::bounded(config, Arc::clone(&store) as _, bounds).await;
    let made = server.post("/v1/p/quotas", &json!({ "id": "q", "limit": 100 })).await;
    assert_eq!(made.status, 201);
    (server, store)
}

/// The value of a metric, as text.
async fn metric(server: &Server, line: &str) -> String {
    let text = String::from_utf8(server.get("/metrics").await.bytes).unwrap();
    let found = text.lines().find_map(|found| found.strip_prefix(&format!("bellpunch_{line} ")));
    found.unwrap_or_default().to_owned()
}

async fn until(server: &Server, line: &str, wanted: &str) {
    while metric(server, line).await != wanted {
        tokio::task::yield_now().await;
    }
}

async fn consume(server: &Server) -> u16 {
    server.post("/v1/p/quotas/q/consume", &json!({ "units": 1 })).await.status
}

async fn some_conflicts(alert: &'static str) {
    let (server, store) = faulty(EngineConfig::default()).await;
    let watch = Watch::start(&server, alert).await;
    store.conflict_next();
    assert_eq!(consume(&server).await, 200);
    let conflicts = "commits_total{backend=\"memory\",result=\"conflict\"}";
    assert_eq!(metric(&server, conflicts).await, "1");
    // One of two is not more than half.
    watch.is_silent().await;
    store.conflict_next();
    store.conflict_next();
    assert_eq!(consume(&server).await, 200);
    watch.is_told().await;
    assert_eq!(metric(&server, "contended_total").await, "0");
}

async fn conflicts_without_end(alert: &'static str) {
    let bounds = EngineConfig { retries_max: 2, ..EngineConfig::default() };
    let (server, store) = faulty(bounds).await;
    let watch = Watch::start(&server, alert).await;
    store.conflict_next();
    assert_eq!(consume(&server).await, 200);
    watch.is_silent().await;
    for _ in 0..9 {
        store.conflict_next();
    }
    assert_eq!(consume(&server).await, 503);
    watch.is_told().await;
    assert_eq!(metric(&server, "contended_total").await, "1");
}

async fn a_failed_commit(alert: &'static str) {
    let (server, store) = faulty(EngineConfig::default()).await;
    let watch = Watch::start(&server, alert).await;
    assert_eq!(consume(&server).await, 200);
    watch.is_silent().await;
    store.fail_next();
    assert_eq!(consume(&server).await, 503);
    watch.is_told().await;
    let failed = "commits_total{backend=\"memory\",result=\"failed\"}";
    assert_eq!(metric(&server, failed).await, "1");
}

async fn replies_that_are_lost(alert: &'static str) {
    let (server, store) = faulty(EngineConfig::default()).await;
    let watch = Watch::start(&server, alert).await;
    // It may arrive as long as nothing else has: nobody can say.
    store.plan(Fault::Late);
    store.stall_next();
    assert_eq!(consume(&server).await, 504);
    watch.is_told().await;
    assert_eq!(metric(&server, "unknown_open").await, "1");
    store.release();
    until(&server, "unknown_open", "0").await;
    watch.is_silent().await;
    assert_ne!(metric(&server, "unknown_resolved_total").await, "0");
}

async fn a_store_that_stands_still(alert: &'static str) {
    let bounds = EngineConfig { queue_max: 1, ..EngineConfig::default() };
    let (server, store) = faulty(bounds).await;
    let watch = Watch::start(&server, alert).await;
    store.stall_next();
    let many = futures_util::future::join_all((0..8).map(|_| consume(&server)));
    let (statuses, ()) = tokio::join!(many, async {
        watch.is_told().await;
        store.release();
    });
    assert!(statuses.contains(&503), "{statuses:?}");
}

async fn a_store_that_is_down(alert: &'static str) {
    let (server, store) = faulty(EngineConfig::default()).await;
    let watch = Watch::start(&server, alert).await;
    let terms = json!({
        "algorithm": "gcra", "rate": 9, "burst": 9, "period_ms": 3_600_000, "on_store_failure": "open",
    });
    let made = server.call("PUT", "/v1/p/policies/r", &terms).await;
    assert_eq!(made.status, 200, "{}", made.json());
    let taken = server.post("/v1/p/policies/r/consume", &json!({ "key": "k" })).await;
    assert_eq!(taken.status, 200);
    watch.is_silent().await;
    store.down();
    let open = server.post("/v1/p/policies/r/consume", &json!({ "key": "k" })).await;
    assert_eq!(open.json()["decided_by"], "open");
    watch.is_told().await;
    assert_eq!(metric(&server, "storeless_decisions_total{mode=\"open\"}").await, "1");
}

/// A clock that is set by hand, forth and back from a day ahead.
#[derive(Debug)]
struct ByHand {
    clock: SystemClock,
    ahead_seconds: AtomicU64,
}

const DAY_SECONDS: u64 = 86_400;

impl ByHand {
    fn new() -> Arc<Self> {
        Arc::new(Self { clock: SystemClock::new(), ahead_seconds: AtomicU64::new(DAY_SECONDS) })
    }

    fn forth(&self, seconds: u64) {
        self.ahead_seconds.fetch_add(seconds, Ordering::Relaxed);
    }

    fn back(&self, seconds: u64) {
        self.ahead_seconds.fetch_sub(seconds, Ordering::Relaxed);
    }
}

impl Clock for ByHand {
    fn now(&self) -> Timestamp {
        let ahead = self.ahead_seconds.load(Ordering::Relaxed);
        let ahead = bellpunch::Duration::from_millis(ahead * 1_000);
        self.clock.now().plus(ahead).unwrap()
    }
}

/// A server and its store, both by this clock.
async fn timed(clock: &Arc<ByHand>, config: Config) -> (Server, Arc<FaultStore>) {
    let store = MemoryStore::new(Arc::clone(clock) as _, MemoryConfig::default());
    let store = Arc::new(FaultStore::new(Arc::new(store)));
    let told = (config, Vec::new());
    let bounds = EngineConfig::default();
    let server = Server::at(Arc::clone(clock) as _, told, Arc::clone(&store) as _, bounds).await;
    (server, store)
}

async fn a_store_whose_clock_is_ahead(alert: &'static str) {
    let store = MemoryStore::new(ByHand::new(), MemoryConfig::default());
    let server = Server::with(quiet(), Arc::new(store)).await;
    let watch = Watch::start(&server, alert).await;
    server.post("/v1/p/quotas", &json!({ "id": "q", "limit": 100 })).await;
    watch.is_told().await;
    let skew = metric(&server, "clock_skew_seconds").await;
    assert!(skew.starts_with("-86399.") || skew.starts_with("-86400."), "{skew}");
}

async fn a_clock_set_back(alert: &'static str) {
    let clock = ByHand::new();
    let (server, _) = timed(&clock, quiet()).await;
    server.post("/v1/p/quotas", &json!({ "id": "q", "limit": 100 })).await;
    let watch = Watch::start(&server, alert).await;
    assert_eq!(consume(&server).await, 200);
    watch.is_silent().await;
    clock.back(60);
    assert_eq!(consume(&server).await, 200);
    watch.is_told().await;
}

#[derive(Debug, Serialize)]
struct Broken;

impl Command for Broken {
    const NAME: &'static str = "test.broken";
    type Reply = ();
    type Rejection = Rejection;

    fn decide(&self, _: &mut Draft<'_>, _: Timestamp) -> Result<(), Rejection> {
        panic!("a rule with a bug");
    }
}

async fn a_rule_with_a_bug(alert: &'static str) {
    let server = Server::start().await;
    let watch = Watch::start(&server, alert).await;
    let of = Partition::new("p").unwrap();
    assert!(server.engine.call(&of, Broken, CallOptions::default()).await.is_err());
    watch.is_told().await;
    assert_eq!(metric(&server, "panics_total").await, "1");
}

/// Settings under which an audit follows the other.
fn audited() -> Config {
    let mut config = quiet();
    config.audit.period = "20ms".parse().unwrap();
    config
}

/// An audit has found nothing.
async fn was_audited(server: &Server) {
    while ["", "0"].contains(&metric(server, "audit_last_success_seconds").await.as_str()) {
        tokio::task::yield_now().await;
    }
}

/// Writes a field, as a lost update would: behind the engine's back. The record is the first of
/// its kind whose id begins so.
async fn write(
    (store, of): (&Arc<dyn Store>, &str),
    (kind, prefix): (&'static str, &str),
    (pointer, value): (&str, &Value),
) {
    let of = Partition::new(of).unwrap();
    let mut scan = Scan::of(Kind::named(kind), 1);
    scan.prefix = prefix.to_owned();
    let (key, old) = store.scan(&of, &scan).await.unwrap().records.remove(0);
    // Not all that a scan gives says when it was decided.
    let key = RecordKey { kind: Kind::named(kind), id: key.id };
    let mut record: Value = serde_json::from_slice(&old.value.unwrap()).unwrap();
    let field = record["record"].pointer_mut(pointer);
    let field = field.unwrap_or_else(|| panic!("{key} has no {pointer}"));
    assert_ne!(field, value);
    *field = value.clone();
    let commit = Commit {
        id: CommitId::new(7),
        partition: of,
        now: old.at,
        deadline: None,
        preconditions: vec![Precondition { key: key.clone(), version: old.version }],
        writes: vec![Write {
            key,
            version: old.version.plus(1),
            at: old.at,
            sweep_at: None,
            value: WriteValue::Put(record.to_string().into_bytes().into()),
        }],
    };
    let results = store.commit(vec![Arc::new(commit)]).await;
    assert!(matches!(results[0], CommitResult::Committed { .. }), "{results:?}");
}

async fn a_lost_update(alert: &'static str) {
    let store = memory();
    let server = Server::with(audited(), Arc::clone(&store)).await;
    server.post("/v1/p/quotas", &json!({ "id": "q", "limit": 100 })).await;
    consume(&server).await;
    was_audited(&server).await;
    let watch = Watch::start(&server, alert).await;
    write((&store, "p"), ("quotas", "q"), ("/used", &json!(2))).await;
    watch.is_told().await;
    assert_eq!(metric(&server, "audit_violations{check=\"usage_matches_totals\"}").await, "1");
}

/// A book with something of everything, of which then one field is another.
async fn tampered(
    alert: &'static str,
    (kind, prefix, pointer): (&'static str, &'static str, &'static str),
) {
    let store = memory();
    let server = Server::with(audited(), Arc::clone(&store)).await;
    invoiced(&server).await;
    let to = json!([{ "invoice": "i", "amount": sar(700) }]);
    for (path, body) in [
        (
            "retainers",
            json!({
                "id": "r", "client": "c", "type": "advance", "currency": "SAR",
                "initial_amount": sar(500),
            }),
        ),
        (
            "payments",
            json!({
                "id": "p", "client": "c", "amount": sar(700), "method": "cash", "destinations": to,
            }),
        ),
        ("payments/p/complete", json!({})),
    ] {
        let made = keyed(&server, path, body).await;
        assert!(made.status < 300, "{}", made.json());
    }
    was_audited(&server).await;
    let watch = Watch::start(&server, alert).await;
    write((&store, "firm"), (kind, prefix), (pointer, &json!(3))).await;
    watch.is_told().await;
}

async fn a_store_that_went_away(alert: &'static str) {
    let clock = ByHand::new();
    let (server, store) = timed(&clock, audited()).await;
    server.post("/v1/p/quotas", &json!({ "id": "q", "limit": 100 })).await;
    was_audited(&server).await;
    let watch = Watch::start(&server, alert).await;
    store.down();
    watch.is_silent().await;
    clock.forth(1_900);
    watch.is_told().await;
    store.up();
    while !watch.told().await.is_empty() {
        tokio::task::yield_now().await;
    }
}

/// Sends a command about money; each has a key of its own.
async fn keyed(server: &Server, path: &str, body: Value) -> Reply {
    let key = server.engine.fresh_id();
    let headers = [("Idempotency-Key", key.as_str())];
    server.with_headers(("POST", &format!("/v1/firm/{path}")), &headers, &body).await
}

fn sar(amount: u64) -> Value {
    json!({ "amount": amount, "currency": "SAR" })
}

/// A client, and an invoice that it has to pay.
async fn invoiced(server: &Server) {
    let client = json!({ "id": "c", "scope": "l", "name": "A. Client" });
    assert!(keyed(server, "clients", client).await.status < 300);
    let line = json!({
        "description": "advice", "quantity_milli": 1000, "unit_price": sar(9000), "vat_bp": 0,
    });
    let invoice = json!({
        "id": "i", "client": "c", "currency": "SAR", "due_on": "2090-01-31", "lines": [line],
        "issue": true,
    });
    let made = keyed(server, "invoices", invoice).await;
    assert!(made.status < 300, "{}", made.json());
}

async fn two_equal_payments(alert: &'static str) {
    let server = Server::start().await;
    invoiced(&server).await;
    let watch = Watch::start(&server, alert).await;
    let pay = || async {
        let pay = json!({ "amount": sar(1000), "method": "cash" });
        let paid = keyed(&server, "invoices/i/pay", pay).await;
        assert!(paid.status < 300, "{}", paid.json());
    };
    pay().await;
    watch.is_silent().await;
    pay().await;
    watch.is_told().await;
    assert_eq!(metric(&server, "possible_duplicate_payments_total").await, "1");
}

async fn a_chain_that_waits_for_its_seal(alert: &'static str) {
    let server = Server::start().await;
    let chain = json!({ "name": "z", "genesis_hash": "00".repeat(32), "seal": "caller" });
    let series = json!({
        "name": "Z", "template": "Z-{YYYY}-{N:4}", "class": "gapless", "zone": "UTC", "chain": "z",
    });
    for (path, body) in [("chains/define", chain), ("series/define", series)] {
        let made = keyed(&server, path, body).await;
        assert!(made.status < 300, "{}", made.json());
    }
    let watch = Watch::start(&server, alert).await;
    let mut statuses = Vec::new();
    for document in ["a", "b", "c", "d"] {
        statuses.push(keyed(&server, "series/Z/next", json!({ "document": document })).await);
    }
    let codes: Vec<String> = statuses[1..].iter().map(|reply| reply.refusal().1).collect();
    assert_eq!(codes, ["chain_unsealed"; 3]);
    // Three in five minutes are not more than three.
    watch.is_silent().await;
    keyed(&server, "series/Z/next", json!({ "document": "e" })).await;
    watch.is_told().await;
}

async fn a_payload_removed(alert: &'static str) {
    let server = Server::start().await;
    server.post("/v1/p/uploads", &json!({ "id": "u", "size_limit": 9 })).await;
    let sent = server.send("PUT /v1/p/uploads/u/payload HTTP/1.1", b"bytes").await;
    assert_eq!(sent.status, 200, "{sent:?}");
    assert_eq!(server.post("/v1/p/uploads/u/complete", &json!({})).await.status, 200);
    let watch = Watch::start(&server, alert).await;
    assert_eq!(server.get("/v1/p/uploads/u/payload").await.status, 200);
    watch.is_silent().await;
    for blob in server.blobs.list(None, 9).unwrap() {
        server.blobs.remove(&blob.name).unwrap();
    }
    let gone = server.get("/v1/p/uploads/u/payload").await;
    assert_eq!(gone.refusal(), (500, "payload_unavailable".to_owned()));
    watch.is_told().await;
}

/// An address that nobody listens on.
fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/bell", listener.local_addr().unwrap())
}

async fn a_receiver_that_is_down(alert: &'static str) {
    let clock = ByHand::new();
    let told = (quiet(), vec![webhook(&settings(&nowhere()), None)]);
    let store = MemoryStore::new(Arc::clone(&clock) as _, MemoryConfig::default());
    let clocked = Arc::clone(&clock) as _;
    let server = Server::at(clocked, told, Arc::new(store), journaled()).await;
    let watch = Watch::start(&server, alert).await;
    ring(&server, "a/1", 1).await;
    let owed = "webhook_oldest_undelivered_seconds{webhook=\"bells\"}";
    while ["", "0.000000"].contains(&metric(&server, owed).await.as_str()) {
        tokio::task::yield_now().await;
    }
    watch.is_silent().await;
    clock.forth(301);
    watch.is_told().await;
}

async fn a_receiver_far_behind(alert: &'static str) {
    let told = (quiet(), vec![webhook(&settings(&nowhere()), None)]);
    let server = Server::telling(told, memory(), journaled()).await;
    let watch = Watch::start(&server, alert).await;
    ring(&server, "a/1", 1).await;
    for _ in 0..5 {
        watch.is_silent().await;
        let rings = (0..2_000).map(|_| ring(&server, "a/1", 0));
        futures_util::future::join_all(rings).await;
    }
    watch.is_told().await;
}
