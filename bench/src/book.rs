//! The book on the disk store: transfers between accounts, and documents numbered without a gap,
//! beside SQLite and beside a counter row of PostgreSQL that is locked for each document.
//!
//! Every call has an idempotency key, as the HTTP door asks for it, and every transfer is an entry of
//! the journal with its two postings. The server runs in this process: callers and server share the
//! two cores, as they would on one small machine.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bellpunch::money::accounts::CreateTransfer;
use bellpunch::store::{MemoryBlobs, Store};
use bellpunch::{
    AnyCommand, AnyOutcome, CallOptions, Engine, EngineConfig, IdempotencyKey, Partition,
    SystemClock, command,
};
use bellpunch_disk::{DiskConfig, DiskStore};
use bellpunch_server::{Components, Config, serve};
use bellpunch_servers::Postgres;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::Effort;
use crate::callers::{CALLERS, Draw, MANY};
use crate::figures::{Contender, Contest, Figure};

/// Transfers of one atomic list, and of one batch of independent ones.
const LIST: usize = 64;
const BATCH: usize = 1_000;
/// Batches under way at once.
const BATCHES: usize = 4;

/// A server on a store of its own, and its engine.
struct Served {
    runtime: Arc<Runtime>,
    engine: Engine,
    address: SocketAddr,
    keys: AtomicU64,
    _folder: TempDir,
}

fn served(runtime: &Arc<Runtime>) -> Arc<Served> {
    let folder = TempDir::new().expect("there is a folder for temporary files");
    let clock = Arc::new(SystemClock::new());
    // A transfer is eight records, and some contests make millions.
    let config = DiskConfig { index_bytes_max: 8 << 30, ..DiskConfig::new(folder.path()) };
    let store = DiskStore::open(&config, clock.clone());
    let store: Arc<dyn Store> = Arc::new(store.expect("an empty folder can be opened"));
    let (engine, address) = runtime.block_on(async {
        let engine = Engine::start(store, clock.clone(), EngineConfig::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback is there");
        let address = listener.local_addr().expect("it is bound");
        let blobs = Arc::new(MemoryBlobs::new(clock, 1 << 20));
        let components =
            Components { engine: engine.clone(), blobs, listener, webhooks: Vec::new() };
        tokio::spawn(serve(Config::default(), components, std::future::pending()));
        (engine, address)
    });
    let (runtime, keys) = (Arc::clone(runtime), AtomicU64::new(0));
    Arc::new(Served { runtime, engine, address, keys, _folder: folder })
}

impl Served {
    fn key(&self) -> String {
        format!("k-{}", self.keys.fetch_add(1, Ordering::Relaxed))
    }

    fn options(&self) -> CallOptions {
        let key = IdempotencyKey::new(self.key()).expect("a legal key");
        CallOptions { key: Some(key), ..CallOptions::default() }
    }

    /// Opens accounts, each with more than is ever moved.
    fn open(&self, partition: &str, accounts: usize) {
        let partition = Partition::new(partition).expect("a legal name");
        let made = |name: &str, content: Value| {
            (command(name).expect("it is in the table").parse)(content).expect("it is well formed")
        };
        let send = |commands: Vec<Arc<dyn AnyCommand>>| {
            let sent = self.engine.send(&partition, commands, self.options());
            let outcome = self.runtime.block_on(sent);
            assert!(matches!(outcome, Ok(AnyOutcome::Accepted(_))), "{outcome:?}");
        };
        let bank = json!({ "id": "bank", "owner": "b", "currency": "SAR", "class": "external" });
        send(vec![made("accounts.create", bank)]);
        let all: Vec<usize> = (0..accounts).collect();
        for some in all.chunks(32) {
            let open = some.iter().flat_map(|account| {
                let id = format!("a{account}");
                let create = json!({ "id": id, "owner": id, "currency": "SAR" });
                let sum = json!({ "amount": 1_000_000_000, "currency": "SAR" });
                let credit = json!({ "id": id, "amount": sum, "from": "bank" });
                [made("accounts.create", create), made("accounts.credit", credit)]
            });
            send(open.collect());
        }
    }
}

/// A transfer of one unit from one account to another, as JSON.
fn transfer(draw: &mut Draw, accounts: usize) -> Value {
    let from = draw.below(accounts);
    let to = (from + 1 + draw.below(accounts - 1)) % accounts;
    let line = |account: usize, side: &str| {
        let amount = json!({ "amount": 1, "currency": "SAR" });
        json!({ "account": format!("a{account}"), "side": side, "amount": amount })
    };
    json!({ "lines": [line(from, "debit"), line(to, "credit")] })
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    /// One call of the library for each transfer.
    Library,
    /// One request for each.
    Http,
    /// Lists of 64, all or nothing, over HTTP.
    Lists,
    /// Batches of 1,000 independent ones, over HTTP.
    Batches,
}

struct Transfers {
    served: Arc<Served>,
    way: Way,
    partition: String,
    accounts: usize,
}

impl Transfers {
    fn boxed(served: &Arc<Served>, way: Way, accounts: usize) -> Box<dyn Contender> {
        let partition = format!("{way:?}-{accounts}");
        served.open(&partition, accounts);
        Box::new(Arc::new(Self { served: Arc::clone(served), way, partition, accounts }))
    }

    async fn caller(self: Arc<Self>, mut draw: Draw, stop: Arc<AtomicBool>) -> Vec<(u64, usize)> {
        let mut http = match self.way {
            Way::Library => None,
            Way::Http | Way::Lists | Way::Batches => Some(Http::connect(self.served.address).await),
        };
        let partition = Partition::new(&self.partition).expect("a legal name");
        let mut calls = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let begun = Instant::now();
            let count = match (&mut http, self.way) {
                (None, _) | (_, Way::Library) => {
                    let content = transfer(&mut draw, self.accounts);
                    let begun: CreateTransfer =
                        serde_json::from_value(content).expect("it is well formed");
                    let sent = self.served.engine.call(&partition, begun, self.served.options());
                    assert!(
                        matches!(sent.await, Ok(bellpunch::Outcome::Accepted(_))),
                        "a transfer was not taken"
                    );
                    1
                }
                (Some(http), Way::Http) => {
                    let path = format!("/v1/{}/transfers", self.partition);
                    let body = transfer(&mut draw, self.accounts);
                    http.post(&path, Some(self.served.key()), &body).await;
                    1
                }
                (Some(http), Way::Lists) => {
                    let commands: Vec<Value> =
                        (0..LIST).map(|_| self.named(&mut draw, None)).collect();
                    let path = format!("/v1/{}/commands", self.partition);
                    let body = json!({ "commands": commands });
                    http.post(&path, Some(self.served.key()), &body).await;
                    LIST
                }
                (Some(http), Way::Batches) => {
                    let key = || Some(self.served.key());
                    let commands: Vec<Value> =
                        (0..BATCH).map(|_| self.named(&mut draw, key())).collect();
                    let path = format!("/v1/{}/batch", self.partition);
                    let reply = http.post(&path, None, &json!({ "commands": commands })).await;
                    let reply: Value = serde_json::from_slice(&reply).expect("it is JSON");
                    let results = reply["results"].as_array().expect("there are results");
                    assert!(results.iter().all(|result| result["status"] == 201), "{reply}");
                    BATCH
                }
            };
            let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            calls.push((micros, count));
        }
        calls
    }

    fn named(&self, draw: &mut Draw, key: Option<String>) -> Value {
        let mut body = transfer(draw, self.accounts);
        body["command"] = json!("transfers.create");
        if let Some(key) = key {
            body["idempotency_key"] = json!(key);
        }
        body
    }
}

impl Contender for Arc<Transfers> {
    fn name(&self) -> String {
        match self.way {
            Way::Library => "**Bellpunch**, the library, single calls",
            Way::Http => "**Bellpunch**, HTTP, single calls",
            Way::Lists => "**Bellpunch**, HTTP, atomic lists of 64 (waits: of a list)",
            Way::Batches => "**Bellpunch**, HTTP, batches of 1,000, 4 at once (waits: of a batch)",
        }
        .to_owned()
    }

    fn round(&mut self, span: Duration) -> Figure {
        let rounds = self.served.keys.load(Ordering::Relaxed);
        let callers = if self.way == Way::Batches { BATCHES } else { CALLERS };
        let stop = Arc::new(AtomicBool::new(false));
        let (took, calls) = self.served.runtime.block_on(async {
            let begun = Instant::now();
            let mut tasks = JoinSet::new();
            for caller in 0..u64::try_from(callers).expect("a few") {
                let draw = Draw(rounds + caller * 7_919);
                tasks.spawn(Arc::clone(self).caller(draw, Arc::clone(&stop)));
            }
            tokio::time::sleep(span).await;
            stop.store(true, Ordering::Relaxed);
            (begun.elapsed(), tasks.join_all().await.concat())
        });
        let count = calls.iter().map(|(_, count)| count).sum();
        let mut waits: Vec<u64> = calls.iter().map(|(micros, _)| *micros).collect();
        Figure::of(count, took, &mut waits)
    }

    fn excess(&mut self) -> Option<i64> {
        None
    }
}

/// A connection to the server.
struct Http {
    sender: SendRequest<Full<Bytes>>,
}

impl Http {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        stream.set_nodelay(true).expect("it is TCP");
        let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("it speaks HTTP");
        tokio::spawn(connection);
        Self { sender }
    }

    async fn post(&mut self, path: &str, key: Option<String>, body: &Value) -> Bytes {
        let bytes = Bytes::from(serde_json::to_vec(body).expect("it is JSON"));
        let request = Request::builder().method(Method::POST).uri(path).header("host", "localhost");
        let mut request = request.header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let request = request.body(Full::new(bytes)).expect("it is a request");
        self.sender.ready().await.expect("the server is there");
        let response = self.sender.send_request(request).await.expect("the server answers");
        let status = response.status();
        let body = response.into_body().collect().await.expect("all of it").to_bytes();
        assert!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
        body
    }
}

/// SQLite as one who knows it writes a ledger: two balances and two postings in one transaction.
struct Sqlite {
    connection: Mutex<Connection>,
    accounts: usize,
    _folder: TempDir,
}

impl Sqlite {
    fn boxed(accounts: usize) -> Box<dyn Contender> {
        let folder = TempDir::new().expect("there is a folder for temporary files");
        let connection = Connection::open(folder.path().join("book.db")).expect("it can be opened");
        let sql = format!(
            "pragma journal_mode = wal; pragma synchronous = full;
             create table account (id integer primary key,
                 balance integer not null check (0 <= balance));
             create table posting (id integer primary key, account integer not null,
                 amount integer not null, balance_after integer not null);
             create table intent (key text primary key) without rowid;
             with recursive n(id) as (select 0 union all select id + 1 from n where id + 1 < {accounts})
             insert into account select id, 1000000000 from n;"
        );
        connection.execute_batch(&sql).expect("it is SQL");
        Box::new(Self { connection: Mutex::new(connection), accounts, _folder: folder })
    }

    fn transfer(connection: &Connection, (from, to): (usize, usize), key: &str) {
        let run = |sql: &str| {
            connection.prepare_cached(sql).and_then(|mut sql| sql.execute([])).expect("it is SQL");
        };
        run("begin immediate");
        let mut intent =
            connection.prepare_cached("insert into intent values (?1)").expect("it is SQL");
        intent.execute([key]).expect("the key is new");
        for (account, amount) in [(from, -1_i64), (to, 1)] {
            let account = i64::try_from(account).expect("it fits");
            let sql = "update account set balance = balance + ?2 where id = ?1 returning balance";
            let mut update = connection.prepare_cached(sql).expect("it is SQL");
            let after: i64 =
                update.query_row([account, amount], |row| row.get(0)).expect("there is enough");
            let sql = "insert into posting (account, amount, balance_after) values (?1, ?2, ?3)";
            let mut insert = connection.prepare_cached(sql).expect("it is SQL");
            insert.execute([account, amount, after]).expect("it is SQL");
        }
        run("commit");
    }
}

impl Contender for Sqlite {
    fn name(&self) -> String {
        "SQLite: two balances, two postings, one key in a transaction; in process".to_owned()
    }

    fn round(&mut self, span: Duration) -> Figure {
        let stop = AtomicBool::new(false);
        let (accounts, shared) = (self.accounts, &self.connection);
        let begun = Instant::now();
        let caller = |seed: u64| {
            let (mut draw, mut waits) = (Draw(seed), Vec::new());
            while !stop.load(Ordering::Relaxed) {
                let from = draw.below(accounts);
                let to = (from + 1 + draw.below(accounts - 1)) % accounts;
                let key = format!("{:016x}{:016x}", draw.next(), draw.next());
                let begun = Instant::now();
                Self::transfer(&shared.lock().expect("no caller panics"), (from, to), &key);
                waits.push(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
            }
            waits
        };
        let nanos = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(1, |since| u64::from(since.subsec_nanos()));
        let mut waits = std::thread::scope(|scope| {
            let callers = u64::try_from(CALLERS).expect("a few");
            let threads: Vec<_> =
                (0..callers).map(|place| scope.spawn(move || caller(nanos + place))).collect();
            std::thread::sleep(span);
            stop.store(true, Ordering::Relaxed);
            let waits = threads.into_iter().map(|thread| thread.join().expect("no caller panics"));
            waits.collect::<Vec<_>>().concat()
        });
        Figure::of(waits.len(), begun.elapsed(), &mut waits)
    }

    fn excess(&mut self) -> Option<i64> {
        None
    }
}

/// A counter row of PostgreSQL, locked until its document is committed: no gap, one at a time.
struct CounterRow {
    server: Arc<Postgres>,
    folder: TempDir,
}

const NUMBERED: &str = "\
begin;
update counter set last = last + 1 where series = 'INV' returning last \\gset
insert into document (number) values ('INV-202506-' || lpad(:last::text, 4, '0'));
commit;
";

impl CounterRow {
    fn boxed(server: &Arc<Postgres>) -> Box<dyn Contender> {
        let _ = server.database("numbers");
        for sql in [
            "create table counter (series text primary key, last bigint not null) \
             with (fillfactor = 50)",
            "create table document (id bigserial primary key, number text unique not null)",
            "insert into counter values ('INV', 0)",
        ] {
            let _ = server.sql("numbers", sql);
        }
        let folder = TempDir::new().expect("there is a folder for temporary files");
        Box::new(Self { server: Arc::clone(server), folder })
    }
}

impl Contender for CounterRow {
    fn name(&self) -> String {
        "PostgreSQL: a counter row locked for each document".to_owned()
    }

    fn round(&mut self, span: Duration) -> Figure {
        let file = self.folder.path().join("script.sql");
        std::fs::write(&file, NUMBERED).expect("it can be written");
        let seconds = span.as_secs().max(1).to_string();
        let mut command = self.server.program("pgbench");
        command.args(["-n", "-M", "prepared", "-j", "2", "-c", &CALLERS.to_string(), "-f"]);
        command.arg(&file).args(["-T", &seconds]).arg(self.server.url("numbers"));
        let output = command.current_dir(self.folder.path()).output().expect("pgbench is there");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("aborted"), "{said}{complaint}");
        let number = |name: &str| {
            let rest = said.lines().find_map(|line| line.strip_prefix(name))?;
            rest.split(['.', ' ']).next()?.parse::<u64>().ok()
        };
        let per_second = number("tps = ").expect("pgbench says a rate");
        let micros = number("latency average = ").unwrap_or_default() * 1_000;
        Figure { per_second, p50: micros, ..Figure::default() }
    }

    /// Gaps: numbers that were given and are of no document, and the other way about.
    fn excess(&mut self) -> Option<i64> {
        let sql = "select last - (select count(*) from document) from counter";
        self.server.sql("numbers", sql).trim().parse().ok()
    }
}

/// Numbers of one series on the disk store.
struct Numbered {
    served: Arc<Served>,
    given: u64,
}

impl Contender for Numbered {
    fn name(&self) -> String {
        "**Bellpunch**, the library, `series.next`".to_owned()
    }

    fn round(&mut self, span: Duration) -> Figure {
        let stop = Arc::new(AtomicBool::new(false));
        let spec = command("series.next").expect("it is in the table");
        let (took, mut waits) = self.served.runtime.block_on(async {
            let begun = Instant::now();
            let mut tasks = JoinSet::new();
            for _ in 0..CALLERS {
                let (served, stop) = (Arc::clone(&self.served), Arc::clone(&stop));
                tasks.spawn(async move {
                    let partition = Partition::new("numbers").expect("a legal name");
                    let mut waits = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let content = json!({ "name": "INV", "document": served.key() });
                        let next = (spec.parse)(content).expect("it is well formed");
                        let begun = Instant::now();
                        let sent = served.engine.send(&partition, vec![next], served.options());
                        let outcome = sent.await;
                        assert!(matches!(outcome, Ok(AnyOutcome::Accepted(_))), "{outcome:?}");
                        waits.push(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
                    }
                    waits
                });
            }
            tokio::time::sleep(span).await;
            stop.store(true, Ordering::Relaxed);
            let waits = tasks.join_all().await.concat();
            (begun.elapsed(), waits)
        });
        self.given += u64::try_from(waits.len()).expect("it fits");
        Figure::of(waits.len(), took, &mut waits)
    }

    /// Gaps: the next number less one is how many were told.
    fn excess(&mut self) -> Option<i64> {
        let partition = Partition::new("numbers").expect("a legal name");
        let spec = command("series.next").expect("it is in the table");
        let content = json!({ "name": "INV", "document": "last" });
        let next = (spec.parse)(content).expect("it is well formed");
        let sent = self.served.engine.send(&partition, vec![next], self.served.options());
        let Ok(AnyOutcome::Accepted(receipt)) = self.served.runtime.block_on(sent) else {
            panic!("a number is given")
        };
        let reply = receipt.replies.first().map(bellpunch::Reply::to_json).unwrap_or_default();
        let number = reply["number"]["number"].as_str().expect("it has a number");
        let last: i64 = number.rsplit('-').next()?.parse().ok()?;
        Some(last - 1 - i64::try_from(self.given).ok()?)
    }
}

/// Measures all of it.
pub(crate) fn measure(effort: &Effort) -> Vec<Contest> {
    let runtime = Arc::new(Runtime::new().expect("there are threads"));
    let served = served(&runtime);
    let contest = |title: &str, accounts: usize| {
        let ways = [Way::Library, Way::Http, Way::Lists, Way::Batches];
        let own = ways.into_iter().map(|way| Transfers::boxed(&served, way, accounts));
        let all = std::iter::once(Sqlite::boxed(accounts)).chain(own).collect();
        Contest::run(title, all, effort)
    };
    let hot = contest("Transfers between 2 accounts, durable", 2);
    let many = contest("Transfers between 10,000 accounts, durable", MANY);
    let server = Arc::new(Postgres::start_with(""));
    let numbered = Numbered { served: Arc::clone(&served), given: 0 };
    let numbers = vec![CounterRow::boxed(&server), Box::new(numbered) as Box<dyn Contender>];
    let numbers = Contest::run("Documents of one series, numbered without a gap", numbers, effort);
    vec![hot, many, numbers]
}
