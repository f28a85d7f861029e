//! Power is lost behind every write and every sync of one command of the book that writes many
//! records: a payment to 40 destinations. All of it is there afterwards, or nothing.

use std::cell::Cell;
use std::sync::Arc;

use bellpunch::audit::{Stored, audit};
use bellpunch::store::{Clock as _, Scan, Store, Versioned};
use bellpunch::{
    AnyOutcome, AnyReceipt, CallOptions, Engine, EngineConfig, IdempotencyKey, Kind, Partition,
    RecordKey, SystemClock, command,
};
use bellpunch_disk::testing::{FaultFiles, Loss, Step};
use bellpunch_disk::{DiskConfig, DiskStore};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// Of each of these it gets a part: 39 invoices and a retainer.
const INVOICES: u64 = 39;
const PART: u64 = 100;
const LOSSES: [Loss; 6] =
    [Loss::Nothing, Loss::Everything, Loss::Content, Loss::Names, Loss::Sectors, Loss::Torn(24)];
/// Writes are torn each so many bytes.
const TEAR: usize = 509;

type Dump = Vec<(RecordKey, Versioned)>;

fn sar(amount: u64) -> Value {
    json!({ "amount": amount, "currency": "SAR" })
}

/// An engine on a folder in memory.
struct Book {
    store: Arc<DiskStore>,
    engine: Engine,
    runtime: Runtime,
    partition: Partition,
    sent: Cell<u64>,
}

impl Book {
    fn open(files: &FaultFiles, config: &DiskConfig) -> Self {
        let clock = Arc::new(SystemClock::new());
        let store = DiskStore::open_on(files.session(), config, Arc::clone(&clock) as _);
        let store = Arc::new(store.expect("what was left can be opened"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("the operating system has room for a runtime");
        let config = EngineConfig {
            shards: 1,
            // Nothing but what is told here is written.
            sweep_every: std::time::Duration::from_secs(86_400),
            ..EngineConfig::default()
        };
        let engine = {
            let _context = runtime.enter();
            Engine::start(Arc::clone(&store) as _, clock, config)
        };
        let partition = Partition::new("firm").expect("a legal name");
        Self { store, engine, runtime, partition, sent: Cell::new(0) }
    }

    fn send(&self, key: &str, name: &str, content: Value) -> AnyReceipt {
        let parse = command(name).expect("a command").parse;
        let command = parse(content).unwrap_or_else(|error| panic!("{name}: {error}"));
        let key = IdempotencyKey::new(key).expect("a legal key");
        let options = CallOptions { key: Some(key), ..CallOptions::default() };
        let sent = self.engine.send(&self.partition, vec![command], options);
        match self.runtime.block_on(sent) {
            Ok(AnyOutcome::Accepted(receipt)) => receipt,
            other => panic!("{name}: {other:?}"),
        }
    }

    fn tell(&self, name: &str, content: Value) {
        self.sent.set(self.sent.get().saturating_add(1));
        self.send(&format!("k{}", self.sent.get()), name, content);
    }

    /// A client, what it owes and what it has, and the payment that is to complete.
    fn furnish(&self) {
        self.tell("clients.create", json!({ "id": "c", "scope": "firm", "name": "one" }));
        let mut destinations = vec![json!({ "retainer": "r", "amount": sar(PART) })];
        for number in 0..INVOICES {
            let id = format!("i{number}");
            destinations.push(json!({ "invoice": id, "amount": sar(PART) }));
            let line = json!({
                "description": "work", "quantity_milli": 1_000, "unit_price": sar(PART), "vat_bp": 0,
            });
            let invoice = json!({
                "id": id, "client": "c", "currency": "SAR", "lines": [line],
                "due_on": "2099-01-31", "issue": true,
            });
            self.tell("invoices.create", invoice);
        }
        let retainer = json!({ "id": "r", "client": "c", "type": "advance", "currency": "SAR" });
        self.tell("retainers.create", retainer);
        let payment = json!({
            "id": "p", "client": "c", "method": "card", "amount": sar(PART * (INVOICES + 1)),
            "destinations": destinations,
        });
        self.tell("payments.create", payment);
    }

    fn complete(&self) -> AnyReceipt {
        self.send("complete", "payments.complete", json!({ "id": "p" }))
    }

    fn dump(&self) -> Dump {
        self.runtime.block_on(dump(&*self.store, &self.partition))
    }

    fn close(self) {
        self.runtime.block_on(self.engine.drain());
        self.store.close();
    }
}

async fn dump(store: &dyn Store, partition: &Partition) -> Dump {
    let mut scan = Scan { kind: None, ..Scan::of(Kind::named(""), 1_000) };
    let mut all = Vec::new();
    loop {
        let page = store.scan(partition, &scan).await.expect("nothing fails");
        all.extend(page.records);
        if page.resume.is_none() {
            return all;
        }
        scan.after = page.resume;
    }
}

/// No record disagrees with another.
fn agrees(dump: &Dump) {
    let stored = dump.iter().map(|(key, versioned)| {
        let bytes = versioned.value.as_deref().expect("tombstones are not shown");
        Stored::decode(key.clone(), versioned.version, bytes).expect("it is a record")
    });
    assert_eq!(audit(stored, SystemClock::new().now()), []);
}

/// How many records differ.
fn changed(before: &Dump, after: &Dump) -> usize {
    after.iter().filter(|record| !before.contains(record)).count()
}

fn sweep(config: &DiskConfig) {
    let files = FaultFiles::default();
    let book = Book::open(&files, config);
    book.furnish();
    let before = book.dump();
    book.close();
    agrees(&before);

    // From here on every step is one of the command, or of what follows it.
    let files = files.after(files.steps().len(), Loss::Nothing);
    let book = Book::open(&files, config);
    book.complete();
    let acknowledged = files.steps().len();
    let after = book.dump();
    book.close();
    agrees(&after);
    assert!(3 * INVOICES < u64::try_from(changed(&before, &after)).expect("few"), "few records");

    let (mut whole, mut nothing) = (0_u64, 0_u64);
    let steps = files.steps();
    for behind in 0..=steps.len() {
        let mut losses = LOSSES.to_vec();
        if let Some(Step::Write(_, _, bytes)) = behind.checked_sub(1).and_then(|at| steps.get(at)) {
            losses.extend((0..bytes.len()).step_by(TEAR).map(Loss::Torn));
            // The last bytes of it, one by one.
            losses.extend((bytes.len().saturating_sub(9)..bytes.len()).map(Loss::Torn));
        }
        for loss in losses {
            let left = files.after(behind, loss);
            let book = Book::open(&left, config);
            let found = book.dump();
            let place = format!("behind step {behind} of {}, {loss:?}", steps.len());
            if found == after {
                whole = u64::saturating_add(whole, 1);
            } else {
                assert!(found == before, "{place}: {} records", changed(&before, &found));
                assert!(behind < acknowledged, "{place}: it was acknowledged");
                nothing = u64::saturating_add(nothing, 1);
            }
            if loss == Loss::Everything {
                // Its key has one effect, whatever was left.
                let receipt = book.complete();
                assert_eq!(receipt.replayed, found == after, "{place}");
                agrees(&book.dump());
            }
            book.close();
        }
    }
    assert!(0 < whole && 0 < nothing, "{whole} times all of it, {nothing} times nothing");
}

#[test]
fn a_payment_to_40_destinations_is_whole_or_not_there() {
    sweep(&DiskConfig::new("data"));
}

#[test]
fn so_it_is_where_every_batch_has_a_segment_of_its_own() {
    let small = DiskConfig { segment_bytes: 1_024, slack_bytes: 1_024, ..DiskConfig::new("data") };
    sweep(&small);
}
