//! What each error of a real server says about a commit, provoked.

use std::sync::Arc;
use std::time::Duration;

use bellpunch_postgres::{ConnectErrorKind, Migration, PostgresConfig, PostgresStore};
use bellpunch_servers::Postgres;
use bellpunch_store::{CommitResult, FailureKind, Resolution, Risk, Scan, Show, Store, Survives};
use tokio::task::JoinHandle;

use crate::commits::{KIND, commit, delete, key, partition, put, reading, writing};
use crate::session::Session;
use crate::{begin, execute, fresh, wait};

fn connect(config: &PostgresConfig) -> PostgresStore {
    wait(PostgresStore::connect(config)).unwrap()
}

fn refused(config: &PostgresConfig) -> (ConnectErrorKind, String) {
    let error = wait(PostgresStore::connect(config)).unwrap_err();
    (error.kind(), error.to_string())
}

fn send(store: &PostgresStore, commit: Arc<bellpunch_store::Commit>) -> CommitResult {
    wait(store.commit(vec![commit])).remove(0)
}

fn later(
    store: &PostgresStore,
    commit: Arc<bellpunch_store::Commit>,
) -> JoinHandle<Vec<CommitResult>> {
    let store = store.clone();
    begin(async move { store.commit(vec![commit]).await })
}

#[track_caller]
fn committed(result: &CommitResult) {
    assert!(matches!(result, CommitResult::Committed { .. }), "{result:?}");
}

#[track_caller]
fn failed(result: &CommitResult) -> FailureKind {
    let CommitResult::Failed(failure) = result else { panic!("expected a failure: {result:?}") };
    failure.kind()
}

fn version(store: &PostgresStore, id: &str) -> u64 {
    wait(store.read(&partition(), &[key(id)])).unwrap()[0].version.get()
}

fn until(session: &Session, ask: &str, answer: &str) {
    while session.ask(ask) != answer {
        std::thread::yield_now();
    }
}

const WAITING: &str = "select count(*)::text from pg_stat_activity where wait_event_type = 'Lock'";

/// A store in a database of its own, with the records `a` and `b` at version 1.
fn with_records(
    server: &Postgres,
    change: impl FnOnce(&mut PostgresConfig),
) -> (PostgresStore, String) {
    let url = server.database(&fresh("errors"));
    let mut config = PostgresConfig::new(url.clone());
    change(&mut config);
    let store = connect(&config);
    committed(&send(&store, put("a", 0)));
    committed(&send(&store, put("b", 0)));
    (store, url)
}

#[test]
fn a_session_that_is_ended_in_a_commit_leaves_it_unknown() {
    let server = Postgres::start();
    let (store, url) = with_records(&server, |_| {});
    let (other, watcher) = (Session::new(url.clone()), Session::new(url));
    other.run("begin; select from bellpunch.records where id = 'a' for update");
    let sent = put("a", 1);
    let waiting = later(&store, Arc::clone(&sent));
    until(&watcher, WAITING, "1");
    watcher.run(
        "select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock'",
    );
    let result = wait(waiting).unwrap().remove(0);
    assert!(matches!(result, CommitResult::Unknown), "{result:?}");
    let resolved = wait(store.resolve(&partition(), sent.id)).unwrap();
    assert_eq!(resolved, Resolution::NotApplied, "as of now");
    other.run("rollback");
    // The pool has a new connection, and the same commit sent again settles it.
    committed(&send(&store, Arc::clone(&sent)));
    assert_eq!(wait(store.resolve(&partition(), sent.id)).unwrap(), Resolution::Applied);
    assert_eq!(version(&store, "a"), 2);
}

#[test]
fn an_answer_that_does_not_come_in_time_leaves_a_commit_unknown() {
    let server = Postgres::start();
    let (store, _) = with_records(&server, |config| config.timeout = Duration::from_millis(300));
    server.signal_all("STOP");
    let sent = put("a", 1);
    let result = send(&store, Arc::clone(&sent));
    server.signal_all("CONT");
    assert!(matches!(result, CommitResult::Unknown), "{result:?}");
    // It may have landed by now, or never will: sent again it is applied once.
    let mut result = send(&store, Arc::clone(&sent));
    while !matches!(result, CommitResult::Committed { .. }) {
        result = send(&store, Arc::clone(&sent));
    }
    assert_eq!(version(&store, "a"), 2);
}

#[test]
fn a_server_that_is_away_is_unavailable_and_found_again() {
    let server = Postgres::start();
    let (store, _) = with_records(&server, |_| {});
    server.kill();
    // What was sent on a connection that broke is unknown; what was not sent is not applied.
    let results = [send(&store, put("a", 1)), send(&store, put("a", 1)), send(&store, put("a", 1))];
    for result in &results {
        let told = matches!(result, CommitResult::Unknown);
        assert!(told || failed(result) == FailureKind::Unavailable, "{result:?}");
    }
    let failure = wait(store.read(&partition(), &[key("a")])).unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Unavailable);
    server.restart();
    assert_eq!(version(&store, "a"), 1);
    committed(&send(&store, put("a", 1)));
}

#[test]
fn a_lock_that_others_keep_is_throttled() {
    let server = Postgres::start();
    let (store, url) = with_records(&server, |config| config.timeout = Duration::from_millis(400));
    let other = Session::new(url);
    other.run("begin; select from bellpunch.records where id = 'a' for update");
    assert_eq!(failed(&send(&store, put("a", 1))), FailureKind::Throttled);
    // Together with one that nobody is in the way of, only the one is refused.
    let mut elsewhere = Arc::unwrap_or_clone(put("a", 0));
    elsewhere.partition = bellpunch_store::Partition::new("q").unwrap();
    let results = wait(store.commit(vec![put("a", 1), Arc::new(elsewhere)]));
    assert_eq!(failed(&results[0]), FailureKind::Throttled);
    committed(&results[1]);
    other.run("rollback");
    committed(&send(&store, put("a", 1)));
}

#[test]
fn a_deadlock_with_other_sql_is_retried() {
    let server = Postgres::start();
    let (store, url) = with_records(&server, |_| {});
    execute(&server, "postgres", "alter system set deadlock_timeout = '20ms'");
    let _ = server.sql("postgres", "select pg_reload_conf()");
    let (other, watcher) = (Session::new(url.clone()), Session::new(url));
    other.run("set deadlock_timeout = '10s'");
    other.run("begin; select from bellpunch.records where id = 'b' for update");
    let mut both = commit(vec![reading("a", 1), reading("b", 1)], Vec::new());
    for id in ["a", "b"] {
        both.writes.push(writing(id, 2, bellpunch_store::WriteValue::Delete));
    }
    let waiting = later(&store, Arc::new(both));
    until(&watcher, WAITING, "1");
    // It has `a` and waits for `b`; now the other one has `b` and waits for `a`.
    other.run("select from bellpunch.records where id = 'a' for update");
    other.run("rollback");
    let result = wait(waiting).unwrap().remove(0);
    committed(&result);
    assert!(server.log().contains("deadlock detected"));
    assert_eq!((version(&store, "a"), version(&store, "b")), (2, 2));
}

#[test]
fn what_is_only_read_others_may_read_but_not_write() {
    let server = Postgres::start();
    let (store, url) = with_records(&server, |_| {});
    let (other, watcher) = (Session::new(url.clone()), Session::new(url));
    let value = || bellpunch_store::WriteValue::Put(b"{}".as_slice().into());
    other.run("begin; select from bellpunch.records where id = 'a' for update");
    let first = commit(vec![reading("a", 1), reading("b", 1)], vec![writing("a", 2, value())]);
    let first = later(&store, Arc::new(first));
    until(&watcher, WAITING, "1");
    let beside = commit(vec![reading("b", 1), reading("c", 0)], vec![writing("c", 1, value())]);
    let beside = later(&store, Arc::new(beside));
    let locked = WAITING.replace("wait_event_type = 'Lock'", "wait_event = 'advisory'");
    while !beside.is_finished() {
        assert_eq!(watcher.ask(&locked), "0", "it waits for what it only reads");
    }
    committed(&wait(beside).unwrap().remove(0));
    let third = later(&store, put("b", 1));
    while watcher.ask(&locked) != "1" {
        assert!(!third.is_finished(), "what others read was written");
    }
    other.run("rollback");
    committed(&wait(first).unwrap().remove(0));
    committed(&wait(third).unwrap().remove(0));
}

#[test]
fn a_change_by_other_sql_between_comparison_and_write_is_not_overwritten() {
    let server = Postgres::start();
    let (store, url) = with_records(&server, |_| {});
    let (other, watcher) = (Session::new(url.clone()), Session::new(url));
    other.run("begin; update bellpunch.records set version = 7 where id = 'a'");
    let waiting = later(&store, put("a", 1));
    until(&watcher, WAITING, "1");
    other.run("commit");
    let result = wait(waiting).unwrap().remove(0);
    let CommitResult::Conflict { current } = result else { panic!("{result:?}") };
    assert_eq!(current[0].1.version.get(), 7);
}

#[test]
fn what_is_written_without_being_read_is_recognised_and_moves_no_place() {
    let server = Postgres::start();
    let (store, _) = with_records(&server, |_| {});
    let value = bellpunch_store::WriteValue::Put(b"{}".as_slice().into());
    let unread = Arc::new(commit(vec![reading("b", 1)], vec![writing("u", 3, value)]));
    // Beside it, in another partition, one that expects what is not there.
    let mut other = commit(vec![reading("x", 0), reading("y", 4)], Vec::new());
    other.partition = bellpunch_store::Partition::new("q").unwrap();
    let first = wait(store.commit(vec![Arc::clone(&unread), Arc::new(other)]));
    committed(&first[0]);
    let CommitResult::Conflict { current } = &first[1] else { panic!("{first:?}") };
    let named: Vec<_> = current.iter().map(|(key, now)| (key, now.version.get())).collect();
    assert_eq!(named, [(&key("y"), 0)]);
    // Nothing that it read has changed: only its id tells that it was applied, and when.
    let again = send(&store, unread);
    assert_eq!(format!("{again:?}"), format!("{:?}", first[0]));
    assert_eq!(version(&store, "u"), 3);
}

#[test]
fn a_database_that_is_read_only_is_unavailable() {
    let server = Postgres::start();
    let (store, url) = with_records(&server, |_| {});
    let database = url.rsplit('/').next().unwrap().to_owned();
    let set =
        |value| format!("alter database {database} set default_transaction_read_only = {value}");
    execute(&server, "postgres", &set("on"));
    let ended = format!(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = '{database}'"
    );
    let _ = server.sql("postgres", &ended);
    let mut result = send(&store, put("a", 1));
    if matches!(result, CommitResult::Unknown) {
        result = send(&store, put("a", 1));
    }
    assert_eq!(failed(&result), FailureKind::Unavailable);
    execute(&server, "postgres", &set("off"));
    committed(&send(&store, put("a", 1)));
}

#[test]
fn connections_beyond_the_servers_are_throttled_and_beyond_the_pools_waited_for() {
    let server = Postgres::start_with(
        "max_connections = 8\nsuperuser_reserved_connections = 0\nmax_wal_senders = 0",
    );
    let (store, url) = with_records(&server, |config| {
        config.connections_max = 1;
        config.timeout = Duration::from_secs(60);
    });
    // One connection serves all, in turn.
    let partitions = ["c", "d", "e", "f", "g", "h"];
    let sent: Vec<_> = partitions.map(|id| later(&store, put(id, 0))).into_iter().collect();
    for sent in sent {
        committed(&wait(sent).unwrap()[0]);
    }
    let others: Vec<_> = (0..7).map(|_| Session::new(url.clone())).collect();
    others.iter().for_each(|other| other.run("select 1"));
    let mut config = PostgresConfig::new(url);
    config.timeout = Duration::from_secs(5);
    let (kind, message) = refused(&config);
    assert_eq!(kind, ConnectErrorKind::Unreachable, "{message}");
    assert!(message.contains("53300"), "{message}");
}

#[test]
fn a_pool_that_stays_empty_is_unavailable() {
    let server = Postgres::start();
    let (store, url) = with_records(&server, |config| {
        config.connections_max = 1;
        config.timeout = Duration::from_secs(1);
    });
    let (other, watcher) = (Session::new(url.clone()), Session::new(url));
    other.run("begin; lock table bellpunch.records in share mode");
    let first = later(&store, put("a", 1));
    until(&watcher, WAITING, "1");
    let result = send(&store, put("b", 1));
    let kind = failed(&result);
    assert!(matches!(kind, FailureKind::Unavailable | FailureKind::Throttled), "{result:?}");
    other.run("rollback");
    let _ = wait(first).unwrap();
}

#[test]
fn servers_that_lose_commits_are_refused_unless_that_is_accepted() {
    let server = Postgres::start();
    let (database, setting) = ("lossy", "synchronous_commit = off");
    let mut config = PostgresConfig::new(server.database(database));
    execute(&server, "postgres", &format!("alter database {database} set {setting}"));
    let (kind, message) = refused(&config);
    assert_eq!(kind, ConnectErrorKind::Unsafe);
    assert!(message.contains(setting) && message.contains("lost_on_crash"), "{message}");
    config.accept_risk = Some(Risk::LostOnFailover);
    assert_eq!(refused(&config).0, ConnectErrorKind::Unsafe, "another risk");
    config.accept_risk = Some(Risk::LostOnCrash);
    assert_eq!(connect(&config).properties().risk, Some(Risk::LostOnCrash));
    let safe = connect(&PostgresConfig::new(server.database("safe"))).properties();
    assert_eq!((safe.risk, safe.survives), (None, Survives::Machine));
    for setting in ["fsync", "full_page_writes"] {
        let server = Postgres::start_with(&format!("{setting} = off"));
        let (kind, message) = refused(&PostgresConfig::new(server.url("postgres")));
        assert_eq!(kind, ConnectErrorKind::Unsafe);
        assert!(message.contains(setting), "{message}");
    }
}

#[test]
fn a_session_that_turns_synchronous_commits_off_gets_them_all_the_same() {
    let server = Postgres::start();
    let (store, url) = with_records(&server, |_| {});
    let other = Session::new(url);
    let within = "create function pg_temp.seen() returns text language plpgsql as $$
        begin
            perform bellpunch.commit_v2(
                array[gen_random_uuid()], array['p'], array[0], null, array[1],
                array[1], array['records'], array['z'], array[0]::bigint[], array[1]::bigint[],
                array[0], null, null, array['{}'], null, 2, array[5], array[true], false, 0, true);
            return current_setting('synchronous_commit');
        end $$";
    other.run(within);
    other.run("set synchronous_commit = off");
    assert_eq!(other.ask("select pg_temp.seen()"), "on");
    assert_eq!(version(&store, "z"), 1);
}

#[test]
fn databases_of_another_encoding_are_refused() {
    let server = Postgres::start();
    execute(
        &server,
        "postgres",
        "create database latin encoding 'LATIN1' locale 'C' template template0",
    );
    let (kind, message) = refused(&PostgresConfig::new(server.url("latin")));
    assert_eq!(kind, ConnectErrorKind::Config);
    assert!(message.contains("UTF8"), "{message}");
    let away = PostgresConfig::new("postgres://bellpunch@127.0.0.1:1/none");
    assert_eq!(refused(&away).0, ConnectErrorKind::Unreachable);
}

#[test]
fn many_nodes_start_at_once_and_a_role_without_rights_later() {
    let server = Postgres::start();
    let config = PostgresConfig::new(server.database("start"));
    assert!(!wait(PostgresStore::exists(&config)).unwrap(), "asking makes none");
    assert!(!wait(PostgresStore::exists(&config)).unwrap());
    execute(&server, "start", "create role app login");
    let app = config.url.replace("bellpunch@", "app@");
    let app = PostgresConfig::new(app);
    let (kind, message) = refused(&app);
    assert_eq!(kind, ConnectErrorKind::Config);
    assert!(message.contains("bellpunch migrate"), "{message}");
    let starts: Vec<_> = (0..8)
        .map(|_| {
            let config = config.clone();
            begin(async move { PostgresStore::connect(&config).await.map(drop) })
        })
        .collect();
    for start in starts {
        wait(start).unwrap().unwrap();
    }
    assert!(wait(PostgresStore::exists(&config)).unwrap());
    assert_eq!(wait(PostgresStore::migrate(&config)).unwrap(), Migration::UpToDate);
    execute(&server, "start", "update bellpunch.meta set functions = 0");
    assert_eq!(wait(PostgresStore::migrate(&config)).unwrap(), Migration::Updated);
    execute(
        &server,
        "start",
        "grant usage on schema bellpunch to app;
         grant select, insert, update, delete on all tables in schema bellpunch to app;
         revoke insert, update, delete on bellpunch.meta from app",
    );
    let store = connect(&app);
    let mut dated = Arc::unwrap_or_clone(put("a", 0));
    dated.deadline = Some(bellpunch_store::Timestamp::MAX);
    committed(&send(&store, Arc::new(dated)));
    committed(&send(&store, delete("a", 1)));
    assert_eq!(version(&store, "a"), 2);
}

#[test]
fn owners_ask_for_records_in_their_own_sql() {
    let server = Postgres::start();
    let (store, url) = with_records(&server, |_| {});
    let mut odd = Arc::unwrap_or_clone(put("odd", 0));
    let value = br#"{"format":1,"record":{"price":1.50}}"#;
    odd.writes[0].value = bellpunch_store::WriteValue::Put(value.as_slice().into());
    committed(&send(&store, Arc::new(odd)));
    let ask = Session::new(url);
    let found = ask.ask(
        "select id || ' ' || version || ' ' || (record ->> 'version') || ' ' || format || ' '
         || (at at time zone 'UTC') from bellpunch.live where kind = 'records' and id = 'a'",
    );
    assert_eq!(found, "a 1 1 1 1970-01-01 00:00:00");
    let found =
        ask.ask("select convert_from(raw, 'UTF8') from bellpunch.live where record is null");
    assert_eq!(found.as_bytes(), value);
    let read = wait(store.read(&partition(), &[key("odd")])).unwrap();
    assert_eq!(read[0].value.as_deref(), Some(value.as_slice()), "byte by byte");
    let now =
        "select (abs(bellpunch.clock_ns() / 1000000000 - extract(epoch from now())) < 5)::text";
    assert_eq!(ask.ask(now), "true");
    let page = wait(store.scan(&partition(), &Scan { show: Show::All, ..Scan::of(KIND, 9) }));
    assert_eq!(page.unwrap().records.len(), 3);
}

#[test]
fn a_copy_that_stands_by_is_refused() {
    let server = Postgres::start();
    let (store, _) = with_records(&server, |_| {});
    drop(store);
    server.stop();
    server.stand_by();
    server.restart();
    let (kind, message) = refused(&PostgresConfig::new(server.url("postgres")));
    assert_eq!(kind, ConnectErrorKind::Unsafe);
    assert!(message.contains("standby"), "{message}");
}

#[test]
fn old_commits_are_forgotten_in_steps() {
    let server = Postgres::start();
    let (_, url) = with_records(&server, |_| {});
    let session = Session::new(url);
    session.run(
        "insert into bellpunch.commits select gen_random_uuid(), 'p', n from generate_series(1, 25) n",
    );
    let forget = "select bellpunch.forget_v1(86400000000000, 10)";
    let steps: Vec<_> = (0..4).map(|_| session.ask(forget)).collect();
    assert_eq!(steps, ["10", "10", "5", "0"]);
    assert_eq!(session.ask("select count(*) from bellpunch.commits"), "2");
}
