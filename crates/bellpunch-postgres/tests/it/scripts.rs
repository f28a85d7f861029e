//! Every script on one node and on two, on a server whose clock the scripts set.

use std::sync::Arc;

use bellpunch::script::{Report, Script, parse, parse_book, parse_compact, run};
use bellpunch_postgres::{PostgresConfig, PostgresStore};
use bellpunch_servers::Postgres;
use bellpunch_store::{
    BoxFuture, Clock, Commit, CommitId, CommitResult, Failure, Page, Partition, PartitionPage,
    Properties, RecordKey, Resolution, Scan, Store, Versioned,
};

use crate::session::Session;
use crate::world::{Backend, EngineWorld, Nodes, Replies, Weather};
use crate::{SETTABLE, wait};

const LIMITS: &str = include_str!("../../../../scripts/limits.script");
const MONEY: &str = include_str!("../../../../scripts/money.script");
const SPECIMEN: &str = include_str!("../../../../scripts/specimen.script");
const TICKETS: &str = include_str!("../../../../scripts/tickets.script");
const UPLOADS: &str = include_str!("../../../../scripts/uploads.script");

/// Sets the server's clock to the script's before each commit.
#[derive(Debug)]
struct Clocked {
    store: PostgresStore,
    clock: Arc<dyn Clock>,
    session: Arc<Session>,
}

impl Store for Clocked {
    fn properties(&self) -> Properties {
        self.store.properties()
    }

    fn read<'a>(
        &'a self,
        partition: &'a Partition,
        keys: &'a [RecordKey],
    ) -> BoxFuture<'a, Result<Vec<Versioned>, Failure>> {
        self.store.read(partition, keys)
    }

    fn commit(&self, commits: Vec<Arc<Commit>>) -> BoxFuture<'_, Vec<CommitResult>> {
        let now = self.clock.now().nanos();
        Box::pin(async move {
            let set = format!("update bellpunch.test_clock set nanos = {now} where nanos <> {now}");
            let session = Arc::clone(&self.session);
            // The session waits on the stores' runtime; this is a node's.
            std::thread::spawn(move || session.run(&set)).join().unwrap();
            self.store.commit(commits).await
        })
    }

    fn scan<'a>(
        &'a self,
        partition: &'a Partition,
        scan: &'a Scan,
    ) -> BoxFuture<'a, Result<Page, Failure>> {
        self.store.scan(partition, scan)
    }

    fn resolve<'a>(
        &'a self,
        partition: &'a Partition,
        id: CommitId,
    ) -> BoxFuture<'a, Result<Resolution, Failure>> {
        self.store.resolve(partition, id)
    }

    fn partitions<'a>(
        &'a self,
        after: Option<&'a Partition>,
        limit: usize,
    ) -> BoxFuture<'a, Result<PartitionPage, Failure>> {
        self.store.partitions(after, limit)
    }
}

/// A server, a store on it, and the session that sets its clock.
struct Stage {
    _server: Postgres,
    store: PostgresStore,
    session: Arc<Session>,
}

impl Stage {
    fn new() -> Self {
        let server = Postgres::start();
        let url = server.database("scripts");
        let store = wait(PostgresStore::connect(&PostgresConfig::new(url.clone()))).unwrap();
        let session = Arc::new(Session::new(url));
        session.run("set synchronous_commit = off");
        session.run(&SETTABLE.replace("{schema}", "bellpunch"));
        Self { _server: server, store, session }
    }

    /// An empty store.
    fn backend(&self) -> Backend {
        self.session.run("truncate bellpunch.records, bellpunch.floors, bellpunch.commits");
        let (store, session) = (self.store.clone(), Arc::clone(&self.session));
        let open = move |clock| {
            let (store, session) = (store.clone(), Arc::clone(&session));
            Arc::new(Clocked { store, clock, session }) as Arc<dyn Store>
        };
        Backend { open: Box::new(open), replies: Replies::Later }
    }
}

/// All but those of the book.
fn plain() -> Vec<Script> {
    let mut scripts = Vec::new();
    for text in [LIMITS, SPECIMEN, UPLOADS] {
        scripts.extend(parse(text).unwrap());
    }
    scripts.extend(parse_compact(TICKETS).unwrap());
    scripts
}

/// Those of the book, too. They are slow here, so they run where most of their own can go wrong;
/// the engine's own tests have them in every weather.
fn with_money() -> Vec<Script> {
    let mut scripts = plain();
    scripts.extend(parse_book(MONEY).unwrap());
    scripts
}

/// Runs scripts, each in fresh worlds. Those that are about one node must be exactly these.
fn run_all(scripts: &[Script], (nodes, weather): (Nodes, Weather)) {
    let stage = Stage::new();
    let (mut wrong, mut of_one_node) = (Vec::new(), Vec::new());
    for script in scripts {
        match run(script, || EngineWorld::new(stage.backend(), nodes, weather)) {
            Ok(Report::Passed { .. }) => {}
            Ok(_) => of_one_node.push(script.id.as_str()),
            Err(failure) => wrong.push(failure.to_string()),
        }
    }
    assert!(wrong.is_empty(), "{} failed:\n{}", wrong.len(), wrong.join("\n"));
    let expected: &[&str] = if nodes == Nodes::One { &[] } else { &["FAIL"] };
    assert_eq!(of_one_node, expected);
}

#[test]
fn one_node_in_calm() {
    run_all(&plain(), (Nodes::One, Weather::Calm));
}

#[test]
fn one_node_with_lost_replies() {
    run_all(&plain(), (Nodes::One, Weather::LostReplies));
}

#[test]
fn two_nodes_in_calm() {
    run_all(&with_money(), (Nodes::Two, Weather::Calm));
}

#[test]
fn two_nodes_with_conflicts() {
    run_all(&plain(), (Nodes::Two, Weather::Conflicts));
}

#[test]
fn two_nodes_with_lost_commits() {
    run_all(&with_money(), (Nodes::Two, Weather::LostCommits));
}
