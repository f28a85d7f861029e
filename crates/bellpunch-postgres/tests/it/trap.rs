//! The expiry trap, on a real server with its real clock: a commit waits for somebody who holds
//! what it names, and its deadline comes while it waits.
//!
//! Time has to pass here. Each test waits for the server's clock in one statement, and for who
//! waits for whom by asking the server.

use std::sync::Arc;

use bellpunch::{
    AnyOutcome, CallOptions, Engine, EngineConfig, Partition, SystemClock, Timestamp, command,
};
use bellpunch_postgres::{PostgresConfig, PostgresStore};
use bellpunch_servers::Postgres;
use bellpunch_store::{CommitResult, Store, Version};
use serde_json::{Value, json};

use crate::commits::{commit, delete, put, reading};
use crate::session::Session;
use crate::{begin, fresh, wait};

/// How long after now the deadlines here are, in nanoseconds.
const SOON_NS: u128 = 400_000_000;

/// A store with the record `a` at version 1, and a session of somebody else.
struct Scene {
    store: PostgresStore,
    other: Session,
    /// Asks, outside of all transactions: within one the server's answers stand still.
    watcher: Session,
    schema: String,
}

/// What somebody else does while a commit waits for them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    Locked,
    RolledBack,
    Committed,
    TableLocked,
}

impl Scene {
    fn new(server: &Postgres) -> Self {
        let mut config = PostgresConfig::new(server.url("postgres"));
        config.schema = fresh("trap");
        let store = wait(PostgresStore::connect(&config)).unwrap();
        let other = Session::new(server.url("postgres"));
        let watcher = Session::new(server.url("postgres"));
        let made = wait(store.commit(vec![put("a", 0)]));
        assert!(matches!(made[..], [CommitResult::Committed { .. }]), "{made:?}");
        Self { store, other, watcher, schema: config.schema }
    }

    fn now(&self) -> Timestamp {
        let now = self.watcher.ask(&format!("select {}.clock_ns()::text", self.schema));
        Timestamp::from_nanos(now.parse().unwrap()).unwrap()
    }

    fn soon(&self) -> Timestamp {
        Timestamp::from_nanos(self.now().nanos() + SOON_NS).unwrap()
    }

    /// Begins to hold what is named `a`.
    fn hold(&self, way: Way) {
        let records = format!("{}.records", self.schema);
        self.other.run("begin");
        self.other.run(&match way {
            Way::Locked => format!("select from {records} where id = 'a' for update"),
            Way::RolledBack | Way::Committed => {
                format!("update {records} set version = version + 1 where id = 'a'")
            }
            Way::TableLocked => format!("lock table {records} in share mode"),
        });
    }

    /// Waits until so many wait for a lock, and then until the deadline has come.
    fn outlast(&self, waiting: usize, deadline: Timestamp) {
        self.until_waiting(waiting);
        let micros = deadline.nanos().div_ceil(1_000);
        self.watcher.run(&format!(
            "select pg_sleep_until('epoch'::timestamptz + {micros} * interval '1 microsecond')"
        ));
        assert!(deadline <= self.now());
    }

    fn until_waiting(&self, waiting: usize) {
        let ask = format!(
            "select count(*)::text from pg_stat_activity
             where wait_event_type = 'Lock' and query like '%{}%'",
            self.schema
        );
        while self.watcher.ask(&ask) != waiting.to_string() {
            std::thread::yield_now();
        }
    }

    fn release(&self, way: Way) {
        self.other.run(if way == Way::Committed { "commit" } else { "rollback" });
    }

    fn spring(&self, way: Way) -> CommitResult {
        let deadline = self.soon();
        self.hold(way);
        let mut late = Arc::unwrap_or_clone(put("a", 1));
        late.deadline = Some(deadline);
        let store = self.store.clone();
        let sent = begin(async move { store.commit(vec![late.into()]).await });
        self.outlast(1, deadline);
        self.release(way);
        wait(sent).unwrap().remove(0)
    }

    fn version(&self) -> u64 {
        self.watcher
            .ask(&format!("select version::text from {}.records where id = 'a'", self.schema))
            .parse()
            .unwrap()
    }
}

#[test]
fn what_expires_while_it_waits_is_late_however_the_wait_ends() {
    let server = Postgres::start();
    for way in [Way::Locked, Way::RolledBack, Way::TableLocked, Way::Committed] {
        let scene = Scene::new(&server);
        let result = scene.spring(way);
        match (way, &result) {
            (Way::Committed, CommitResult::Conflict { current }) => {
                assert_eq!(current[0].1.version, Version::new(2));
            }
            (_, CommitResult::TooLate { .. }) => {}
            _ => panic!("{way:?}: {result:?}"),
        }
        assert_eq!(scene.version(), if way == Way::Committed { 2 } else { 1 }, "{way:?}");
    }
}

#[test]
fn a_clock_that_is_read_before_the_locks_is_caught() {
    let server = Postgres::start();
    for way in [Way::Locked, Way::RolledBack, Way::TableLocked] {
        let scene = Scene::new(&server);
        let defined = scene.other.ask(&format!(
            "select pg_get_functiondef(oid) from pg_proc
             where proname = 'commit_v2' and pronamespace = '{}'::regnamespace",
            scene.schema
        ));
        let read = format!("    clock := \"{}\".clock_ns();\n", scene.schema);
        let begin = "    if current_setting('transaction_isolation')";
        assert_eq!((defined.matches(&read).count(), defined.matches(begin).count()), (1, 1));
        let wrong = defined.replace(&read, "").replace(begin, &format!("{read}{begin}"));
        scene.other.run(&wrong);
        let result = scene.spring(way);
        assert!(matches!(result, CommitResult::Committed { .. }), "{way:?}: {result:?}");
        assert_eq!(scene.version(), 2, "applied after its deadline");
    }
}

/// The wait is for another node's commit, which itself waits for somebody else's lock.
#[test]
fn what_expires_while_it_waits_for_another_node_is_late() {
    let server = Postgres::start();
    let scene = Scene::new(&server);
    let made = wait(scene.store.commit(vec![put("b", 0)]));
    assert!(matches!(made[..], [CommitResult::Committed { .. }]), "{made:?}");
    let deadline = scene.soon();
    let records = format!("{}.records", scene.schema);
    scene.other.run("begin");
    scene.other.run(&format!("select from {records} where id = 'b' for update"));
    // It only reads `a`, and so holds it, unchanged, for as long as it waits for `b`.
    let mut holder = Arc::unwrap_or_clone(put("b", 1));
    holder.preconditions.push(reading("a", 1));
    let mut late = Arc::unwrap_or_clone(put("a", 1));
    late.deadline = Some(deadline);
    let mut purge = Arc::unwrap_or_clone(delete("a", 1));
    purge.deadline = Some(deadline);
    let send = |one| {
        let store = scene.store.clone();
        begin(async move { store.commit(vec![Arc::new(one)]).await })
    };
    let held = send(holder);
    scene.until_waiting(1);
    let (late, purge) = (send(late), send(purge));
    scene.outlast(3, deadline);
    scene.release(Way::Locked);
    let held = wait(held).unwrap();
    assert!(matches!(held[..], [CommitResult::Committed { .. }]), "{held:?}");
    for late in [late, purge] {
        let late = wait(late).unwrap();
        assert!(matches!(late[..], [CommitResult::TooLate { .. }]), "{late:?}");
    }
    assert_eq!(scene.version(), 1);
}

#[test]
fn a_confirmation_is_late_too() {
    let server = Postgres::start();
    let scene = Scene::new(&server);
    let mut confirmation = commit(vec![reading("a", 1)], Vec::new());
    confirmation.deadline = Some(scene.now());
    let result = wait(scene.store.commit(vec![Arc::new(confirmation)]));
    assert!(matches!(result[..], [CommitResult::TooLate { .. }]), "{result:?}");
}

/// Sends a command to an engine.
async fn send(engine: &Engine, name: &str, content: Value) -> AnyOutcome {
    let command = (command(name).unwrap().parse)(content).unwrap();
    let partition = Partition::new("p").unwrap();
    engine.send(&partition, vec![command], CallOptions::default()).await.unwrap()
}

/// Issues a ticket that is good for `ttl_ns`; gives its id and its end.
async fn issue(engine: &Engine, ttl_ns: u128) -> (String, Timestamp) {
    let content = json!({
        "holder": "c", "audience": "s", "max_amount": {"amount": 1000, "currency": "SAR"}, "ttl_ns": u64::try_from(ttl_ns).unwrap(),
        "issued_by": "desk", "approved": true,
    });
    let AnyOutcome::Accepted(mut receipt) = send(engine, "tickets.create", content).await else {
        panic!("a ticket is issued");
    };
    let ticket = receipt.replies.pop().unwrap().to_json()["ticket"].take();
    let expires_at = ticket["expires_at"].as_str().unwrap().parse().unwrap();
    (ticket["id"].as_str().unwrap().to_owned(), expires_at)
}

fn redeem(id: &str) -> Value {
    json!({"id": id, "audience": "s", "holder": "c", "amount": {"amount": 1000, "currency": "SAR"}})
}

#[test]
fn a_ticket_that_expires_while_its_row_is_held_is_not_redeemed() {
    let server = Postgres::start();
    for way in [Way::Locked, Way::RolledBack] {
        let scene = Scene::new(&server);
        let engine = wait(async {
            let store = Arc::new(scene.store.clone());
            Engine::start(store, Arc::new(SystemClock::new()), EngineConfig::default())
        });
        let (good, good_until) = wait(issue(&engine, 60_000_000_000));
        let AnyOutcome::Accepted(mut receipt) =
            wait(send(&engine, "tickets.redeem", redeem(&good)))
        else {
            panic!("the ticket is good");
        };
        let used = receipt.replies.pop().unwrap().to_json();
        let used_at: Timestamp = used["ticket"]["used_at"].as_str().unwrap().parse().unwrap();
        assert!(used_at < good_until && used_at <= scene.now(), "{used}");

        let (id, expires_at) = wait(issue(&engine, SOON_NS));
        let change = if way == Way::Locked { "for update" } else { "for no key update" };
        scene.other.run("begin");
        scene
            .other
            .run(&format!("select from {}.records where kind = 'tickets' {change}", scene.schema));
        if way == Way::RolledBack {
            let records = format!("{}.records", scene.schema);
            scene
                .other
                .run(&format!("update {records} set version = version + 1 where id = '{id}'"));
        }
        let sending = engine.clone();
        let redeeming = redeem(&id);
        let sent = begin(async move { send(&sending, "tickets.redeem", redeeming).await });
        scene.outlast(1, expires_at);
        scene.release(way);
        let AnyOutcome::Rejected(refusal) = wait(sent).unwrap() else {
            panic!("{way:?}: a ticket was redeemed after its end");
        };
        assert_eq!(refusal.rejection.code, "ticket_expired", "{way:?}");
        wait(engine.drain());
    }
}
