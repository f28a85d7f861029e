//! Bellpunch on its disk store, beside itself with one commit for each call, and beside SQLite, the
//! engine that people embed.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bellpunch::limits::Retention;
use bellpunch::{Engine, EngineConfig, SystemClock};
use bellpunch_disk::{DiskConfig, DiskStore};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::Effort;
use crate::callers::{
    BOUND_CALLS, BOUND_HOT_UNITS, BOUND_MANY, BOUND_UNITS, Bellpunch, CALLERS, Draw, FREE, Keys,
    MANY, Spread,
};
use crate::figures::{Contender, Contest, Figure, excess};

/// How long a connection waits for the lock of the file.
const PATIENCE: Duration = Duration::from_secs(30);
const UPDATE: &str = "update quota set used = used + 1 \
                      where id = ?1 and used + 1 <= ceiling returning ceiling - used";

/// How the threads come to the file.
#[derive(Clone, Copy, Debug)]
enum Sharing {
    /// A connection each; `BEGIN IMMEDIATE` waits for the lock by `busy_timeout`.
    Connections,
    /// One connection behind a lock of the process.
    Mutex,
}

/// SQLite, write-ahead log, synced at each commit.
struct Sqlite {
    folder: TempDir,
    sharing: Sharing,
    quotas: usize,
}

fn open(folder: &Path) -> Connection {
    let connection = Connection::open(folder.join("quota.db")).expect("it can be opened");
    connection.busy_timeout(PATIENCE).expect("it is open");
    let settings = "pragma journal_mode = wal; pragma synchronous = full;";
    connection.execute_batch(settings).expect("it is open");
    connection
}

/// One decision in a transaction of its own: whether it was admitted.
fn ask(connection: &Connection, quota: usize) -> bool {
    let run = |sql: &str| connection.prepare_cached(sql)?.execute([]);
    run("begin immediate").expect("the lock is free in time");
    let id = i64::try_from(quota).expect("it fits");
    let mut update = connection.prepare_cached(UPDATE).expect("it is SQL");
    let told = update.query_map([id], |row| row.get::<_, i64>(0)).expect("the table is there");
    let told = told.count() == 1;
    run("commit").expect("the disk is well");
    told
}

impl Sqlite {
    fn boxed(sharing: Sharing, quotas: usize) -> Box<dyn Contender> {
        let folder = TempDir::new().expect("there is a folder for temporary files");
        let sqlite = Self { folder, sharing, quotas };
        sqlite.make(quotas, FREE);
        Box::new(sqlite)
    }

    fn make(&self, quotas: usize, ceiling: u64) {
        let sql = format!(
            "drop table if exists quota;
             create table quota (id integer primary key, used integer not null,
                 ceiling integer not null);
             with recursive n(id) as (select 0 union all select id + 1 from n where id + 1 < {quotas})
             insert into quota select id, 0, {ceiling} from n;"
        );
        open(self.folder.path()).execute_batch(&sql).expect("it is SQL");
    }

    fn work(&self, quotas: usize, (calls, span): (i64, Duration)) -> Work {
        let (stop, left) = (AtomicBool::new(false), AtomicI64::new(calls));
        let admitted: Vec<AtomicI64> = (0..quotas).map(|_| 0.into()).collect();
        let shared = Mutex::new(open(self.folder.path()));
        let caller = |seed: u64| {
            let own = match self.sharing {
                Sharing::Connections => Some(open(self.folder.path())),
                Sharing::Mutex => None,
            };
            let (mut draw, mut waits) = (Draw(seed), Vec::new());
            while !stop.load(Ordering::Relaxed) && 0 < left.fetch_sub(1, Ordering::Relaxed) {
                let (quota, begun) = (draw.below(quotas), Instant::now());
                let told = match &own {
                    Some(connection) => ask(connection, quota),
                    None => ask(&shared.lock().expect("no caller panics"), quota),
                };
                waits.push(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
                let count = admitted.get(quota).expect("below their number");
                count.fetch_add(i64::from(told), Ordering::Relaxed);
            }
            waits
        };
        let begun = Instant::now();
        let waits = std::thread::scope(|scope| {
            let seeds = 1..=u64::try_from(CALLERS).expect("a few");
            let threads: Vec<_> = seeds.map(|seed| scope.spawn(move || caller(seed))).collect();
            if calls == i64::MAX {
                std::thread::sleep(span);
                stop.store(true, Ordering::Relaxed);
            }
            let waits = threads.into_iter().map(|thread| thread.join().expect("no caller panics"));
            waits.collect::<Vec<_>>().concat()
        });
        let took = begun.elapsed();
        let admitted = admitted.into_iter().map(AtomicI64::into_inner).collect();
        Work { took, waits, admitted }
    }
}

struct Work {
    took: Duration,
    waits: Vec<u64>,
    admitted: Vec<i64>,
}

impl Contender for Sqlite {
    fn name(&self) -> String {
        match self.sharing {
            Sharing::Connections => {
                "SQLite: `BEGIN IMMEDIATE`, conditional `UPDATE`, 64 connections".to_owned()
            }
            Sharing::Mutex => "SQLite: the same, one connection behind a mutex".to_owned(),
        }
    }

    fn round(&mut self, span: Duration) -> Figure {
        let mut work = self.work(self.quotas, (i64::MAX, span));
        Figure::of(work.waits.len(), work.took, &mut work.waits)
    }

    fn excess(&mut self) -> Option<i64> {
        let hot = self.quotas == 1;
        let (quotas, units) = if hot { (1, BOUND_HOT_UNITS) } else { (BOUND_MANY, BOUND_UNITS) };
        self.make(quotas, units);
        let units = i64::try_from(units).expect("a few");
        let calls = units * i64::try_from(quotas).expect("a few");
        let calls = calls * i64::try_from(BOUND_CALLS).expect("a few");
        let work = self.work(quotas, (calls, Duration::ZERO));
        let connection = open(self.folder.path());
        let used = |quota: usize| -> i64 {
            let id = i64::try_from(quota).expect("it fits");
            let sql = "select used from quota where id = ?1";
            connection.query_one(sql, [id], |row| row.get(0)).expect("it is there")
        };
        let over = work.admitted.iter().enumerate().map(|(quota, told)| {
            assert_eq!(used(quota), *told, "what is recorded is what the callers were told");
            told - units
        });
        Some(excess(over))
    }
}

/// An engine on a store in a folder of its own.
fn engine(runtime: &Runtime, config: EngineConfig) -> (TempDir, Engine) {
    let folder = TempDir::new().expect("there is a folder for temporary files");
    let clock = Arc::new(SystemClock::new());
    let store = DiskStore::open(&DiskConfig::new(folder.path()), clock.clone());
    let store = Arc::new(store.expect("an empty folder can be opened"));
    let engine = runtime.block_on(async { Engine::start(store, clock, config) });
    (folder, engine)
}

/// Measures all of it.
pub(crate) fn measure(effort: &Effort) -> Vec<Contest> {
    let runtime = Arc::new(Runtime::new().expect("there are threads"));
    let (_folder, combining) = engine(&runtime, EngineConfig::default());
    let single = EngineConfig { batch_max: 1, ..EngineConfig::default() };
    let (_other, single) = engine(&runtime, single);
    let bellpunch = |name: &str, label: &str, engine: &Engine, spread: Spread, keys: Keys| {
        let engines = vec![engine.clone()];
        let callers = Bellpunch::new((name, label), (&runtime, engines), (spread, keys));
        Box::new(callers) as Box<dyn Contender>
    };
    let charged = Spread { charges: Retention::default(), ..Spread::HOT };
    let alone = "Bellpunch, one commit for each call (`batch_max = 1`)";
    let hot = vec![
        Sqlite::boxed(Sharing::Mutex, 1),
        Sqlite::boxed(Sharing::Connections, 1),
        bellpunch(alone, "hot", &single, Spread::HOT, Keys::None),
        bellpunch("**Bellpunch**", "hot", &combining, Spread::HOT, Keys::None),
        bellpunch(
            "**Bellpunch**, idempotency keys",
            "hot-keys",
            &combining,
            Spread::HOT,
            Keys::Each,
        ),
        bellpunch(
            "**Bellpunch**, a charge kept of each use",
            "hot-charges",
            &combining,
            charged,
            Keys::None,
        ),
    ];
    let hot = Contest::run("One hot quota", hot, effort);
    let many = vec![
        Sqlite::boxed(Sharing::Mutex, MANY),
        Sqlite::boxed(Sharing::Connections, MANY),
        bellpunch(alone, "many", &single, Spread::MANY, Keys::None),
        bellpunch("**Bellpunch**, in one partition", "many", &combining, Spread::MANY, Keys::None),
        bellpunch(
            "**Bellpunch**, in 100 partitions",
            "apart",
            &combining,
            Spread::APART,
            Keys::None,
        ),
    ];
    let many = Contest::run("10,000 quotas, drawn evenly", many, effort);
    runtime.block_on(async {
        combining.drain().await;
        single.drain().await;
    });
    vec![hot, many]
}
