//! What goes wrong with a server, provoked, and what the store makes of it.

use std::sync::Arc;
use std::time::Duration;

use bellpunch_redis::{RedisConfig, RedisStore};
use bellpunch_servers::Redis;
use bellpunch_store::kit::block_on;
use bellpunch_store::{
    Commit, CommitId, CommitResult, FailureKind, Kind, Resolution, Scan, Store, WriteValue,
};

use crate::{
    RUNTIME, committed, connect, failed, partition, puts, read, reads, send, until, version,
};

fn store(server: &Redis) -> RedisStore {
    connect(&RedisConfig::new(server.url(0))).unwrap()
}

fn resolve(store: &dyn Store, id: u128) -> Resolution {
    block_on(store.resolve(&partition(), CommitId::new(id))).unwrap()
}

/// Whether what a commit would have written is there: all of it, or none.
fn whole(store: &dyn Store, records: &[&str]) -> bool {
    let keys: Vec<_> = records.iter().map(|id| crate::key(id)).collect();
    let found = block_on(store.read(&partition(), &keys)).unwrap();
    let there = found.iter().filter(|found| found.value.is_some()).count();
    assert!(there == 0 || there == records.len(), "{there} of {} are there", records.len());
    0 < there
}

#[test]
fn without_memory_nothing_is_half_done_and_what_frees_some_is_done() {
    let server = Redis::start_with(&["--maxmemory", "8mb"]);
    let store = store(&server);
    let value = vec![7; 30_000];
    let records = |round: u128| [0, 1, 2].map(|part| format!("{round}-{part}"));
    let make = |round: u128| {
        let names = records(round);
        let fresh: Vec<_> = names.iter().map(|name| (name.as_str(), 0)).collect();
        puts(1 + round, &fresh, &value)
    };
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    for call in 0..100 {
        // Several commits to a call, and one that only confirms.
        let rounds = [call * 3, call * 3 + 1, call * 3 + 2];
        let mut commits: Vec<_> = rounds.map(|round| Arc::new(make(round))).into();
        commits.push(Arc::new(reads(0, &[("never", 0)])));
        let mut results = block_on(store.commit(commits));
        let confirmed = results.pop().unwrap();
        assert!(matches!(confirmed, CommitResult::Committed { .. }), "{confirmed:?}");
        for (round, result) in rounds.into_iter().zip(results) {
            match result {
                CommitResult::Committed { .. } => taken.push(round),
                CommitResult::Failed(failure) => {
                    assert_eq!(failure.kind(), FailureKind::Full, "{failure}");
                    refused.push(round);
                }
                other => panic!("expected Committed or Failed, got {other:?}"),
            }
        }
        if 6 < refused.len() {
            break;
        }
    }
    assert!(3 < taken.len() && 6 < refused.len(), "{} {}", taken.len(), refused.len());
    for (rounds, applied) in [(&taken, true), (&refused, false)] {
        for round in rounds {
            let names = records(*round);
            assert_eq!(whole(&store, &names.each_ref().map(String::as_str)), applied);
            let fate = if applied { Resolution::Applied } else { Resolution::NotApplied };
            assert_eq!(resolve(&store, 1 + round), fate);
        }
    }
    // The index has exactly what was taken.
    let (mut scan, mut shown) = (Scan::of(Kind::new("records"), 1_000), 0);
    loop {
        let page = block_on(store.scan(&partition(), &scan)).unwrap();
        shown += page.records.len();
        scan.after = page.resume;
        if scan.after.is_none() {
            break;
        }
    }
    assert_eq!(shown, 3 * taken.len());
    for round in &taken {
        let names = records(*round);
        let found: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
        let mut purge = puts(1_000 + round, &found, b"");
        purge.writes.iter_mut().for_each(|write| write.value = WriteValue::Purge);
        committed(&store, &purge);
    }
    let names = ["again-0", "again-1"];
    committed(&store, &puts(9_999, &names.map(|name| (name, 2)), &value));
}

#[test]
fn goes_on_when_the_server_forgets_its_scripts() {
    let server = Redis::start();
    let store = store(&server);
    committed(&store, &puts(1, &[("a", 0)], b"a"));
    assert_eq!(server.cli(&["script", "flush"]), "OK");
    committed(&store, &puts(2, &[("a", 1)], b"b"));
    assert_eq!(server.cli(&["script", "flush"]), "OK");
    assert_eq!(version(&store, "a"), 2);
    assert_eq!(server.cli(&["script", "flush"]), "OK");
    assert_eq!(resolve(&store, 2), Resolution::Applied);
    server.kill();
    server.restart();
    // Sent or not sent, nobody knows at first; then it is.
    let third = puts(3, &[("a", 2)], b"c");
    until(|| matches!(send(&store, &third), CommitResult::Committed { .. }));
    assert_eq!(version(&store, "a"), 3);
}

#[test]
fn many_commits_of_one_call_are_applied_in_order() {
    let server = Redis::start();
    let store = store(&server);
    let chain = |version: u64| Arc::new(puts(1 + u128::from(version), &[("a", version)], b"a"));
    let results = block_on(store.commit((0..2_000).map(chain).collect()));
    assert_eq!(results.len(), 2_000);
    assert!(results.iter().all(|result| matches!(result, CommitResult::Committed { .. })));
    assert_eq!(version(&store, "a"), 2_000);
}

#[test]
fn a_reply_that_does_not_come_is_unknown_and_resolved_later() {
    let server = Redis::start();
    let mut config = RedisConfig::new(server.url(0));
    config.timeout = Duration::from_millis(200);
    let store = connect(&config).unwrap();
    committed(&store, &puts(1, &[("a", 0)], b"a"));
    server.signal_all("STOP");
    let lost = puts(2, &[("a", 1)], b"b");
    assert!(matches!(send(&store, &lost), CommitResult::Unknown));
    assert_eq!(read(&store, "a").unwrap_err().kind(), FailureKind::Unavailable);
    server.signal_all("CONT");
    until(|| read(&store, "a").is_ok_and(|found| found.version.get() == 2));
    assert_eq!(resolve(&store, 2), Resolution::Applied);
    committed(&store, &lost);
    assert_eq!(version(&store, "a"), 2, "once");
    server.kill();
    until(|| matches!(send(&store, &puts(3, &[("a", 2)], b"c")), CommitResult::Failed(_)));
    failed(&store, &puts(3, &[("a", 2)], b"c"), FailureKind::Unavailable);
}

#[test]
fn says_that_it_no_longer_knows_once_ids_may_be_forgotten() {
    let server = Redis::start();
    let mut config = RedisConfig::new(server.url(0));
    (config.timeout, config.remember) = (Duration::from_millis(200), Duration::from_millis(300));
    let store = connect(&config).unwrap();
    committed(&store, &puts(1, &[("a", 0)], b"a"));
    server.signal_all("STOP");
    assert!(matches!(send(&store, &puts(2, &[("a", 1)], b"b")), CommitResult::Unknown));
    server.signal_all("CONT");
    until(|| read(&store, "a").is_ok_and(|found| found.version.get() == 2));
    crate::pause(Duration::from_millis(400));
    assert_eq!(resolve(&store, 2), Resolution::NotKnown);
    assert_eq!(resolve(&store, 3), Resolution::NotApplied, "it was never sent");
}

#[test]
fn a_primary_that_was_made_a_replica_answers_nothing() {
    let (server, other) = (Redis::start(), Redis::start());
    let store = store(&server);
    committed(&store, &puts(1, &[("a", 0)], b"a"));
    let port = other.port().to_string();
    assert_eq!(server.cli(&["replicaof", "127.0.0.1", &port]), "OK");
    failed(&store, &puts(2, &[("a", 1)], b"b"), FailureKind::Unavailable);
    failed(&store, &reads(3, &[("a", 1)]), FailureKind::Unavailable);
    assert_eq!(read(&store, "a").unwrap_err().kind(), FailureKind::Unavailable);
    let scan = Scan::of(Kind::new("records"), 1);
    assert!(block_on(store.scan(&partition(), &scan)).is_err());
    assert!(block_on(store.partitions(None, 1)).is_err());
    assert!(block_on(store.resolve(&partition(), CommitId::new(1))).is_err());
}

#[test]
fn a_server_that_refuses_writes_has_done_nothing() {
    let server = Redis::start();
    let store = store(&server);
    committed(&store, &puts(1, &[("a", 0)], b"a"));
    assert_eq!(server.cli(&["config", "set", "min-replicas-to-write", "1"]), "OK");
    let failure = failed(&store, &puts(2, &[("a", 1)], b"b"), FailureKind::Unavailable);
    assert!(failure.to_string().contains("NOREPLICAS"), "{failure}");
    assert_eq!(server.cli(&["config", "set", "min-replicas-to-write", "0"]), "OK");
    // A snapshot that cannot be written.
    assert_eq!(server.cli(&["config", "set", "save", "3600 1"]), "OK");
    let told = server.cli(&["config", "get", "dir"]);
    let snapshot = std::path::Path::new(told.lines().last().unwrap()).join("dump.rdb");
    std::fs::create_dir_all(snapshot.join("in its place")).unwrap();
    let _ = server.cli(&["bgsave"]);
    until(|| server.cli(&["info", "persistence"]).contains("rdb_last_bgsave_status:err"));
    let failure = failed(&store, &puts(3, &[("a", 1)], b"c"), FailureKind::Unavailable);
    assert!(failure.to_string().contains("MISCONF"), "{failure}");
    assert_eq!(server.cli(&["config", "set", "save", ""]), "OK");
    assert_eq!(version(&store, "a"), 1);
}

#[test]
fn a_server_that_is_busy_throttles() {
    let server = Redis::start_with(&["--lua-time-limit", "20"]);
    let store = store(&server);
    committed(&store, &puts(1, &[("a", 0)], b"a"));
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| server.cli(&["eval", "while true do end", "0"]));
        until(|| server.cli(&["get", "a"]).contains("BUSY"));
        let failure = failed(&store, &puts(2, &[("a", 1)], b"b"), FailureKind::Throttled);
        assert!(failure.to_string().contains("BUSY"), "{failure}");
        assert_eq!(server.cli(&["script", "kill"]), "OK");
        busy.join().unwrap();
    });
    assert_eq!(version(&store, "a"), 1);
}

#[test]
fn what_somebody_else_wrote_stops_a_commit_before_its_first_write() {
    let server = Redis::start();
    let store = store(&server);
    committed(&store, &puts(1, &[("a", 0)], b"a"));
    for (name, id) in
        [("bellpunch:{p}:i", 2), ("bellpunch:{p}:f", 3), ("bellpunch:{partitions}", 4)]
    {
        assert_eq!(server.cli(&["rename", name, "kept"]).contains("ERR"), name.ends_with(":f"));
        assert_eq!(server.cli(&["set", name, "what"]), "OK");
        let both = puts(id, &[("a", 1), ("b", 0)], b"b");
        let failure = failed(&store, &both, FailureKind::Unavailable);
        assert!(failure.to_string().contains("WRONGTYPE"), "{failure}");
        assert_eq!(server.cli(&["del", name]), "1");
        let _ = server.cli(&["rename", "kept", name]);
        assert_eq!(version(&store, "a"), 1, "{name}");
        assert_eq!(version(&store, "b"), 0, "{name}");
    }
    committed(&store, &puts(5, &[("a", 1), ("b", 0)], b"b"));
}

#[test]
fn replicas_that_are_waited_for_and_do_not_come_leave_it_unknown() {
    let server = Redis::start();
    let mut config = RedisConfig::new(server.url(0));
    config.accept_risk = Some(bellpunch_store::Risk::LostOnFailover);
    (config.replicas_min, config.timeout) = (1, Duration::from_millis(600));
    let store = connect(&config).unwrap();
    let alone = puts(1, &[("a", 0)], b"a");
    assert!(matches!(send(&store, &alone), CommitResult::Unknown));
    assert_eq!(version(&store, "a"), 1, "it was applied");
    let asked = block_on(store.resolve(&partition(), alone.id));
    assert_eq!(asked.unwrap_err().kind(), FailureKind::Unavailable, "not yet safe to tell");
    // Nothing is waited for where nothing is written.
    committed(&store, &reads(2, &[("a", 1)]));
    let primary = server.port().to_string();
    let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &primary]);
    until(|| replica.cli(&["info", "replication"]).contains("master_link_status:up"));
    until(|| matches!(send(&store, &alone), CommitResult::Committed { .. }));
    assert_eq!(resolve(&store, 1), Resolution::Applied);
    committed(&store, &puts(3, &[("a", 1)], b"b"));
    assert_eq!(replica.cli(&["zcard", "bellpunch:{p}:i"]), "1");
}

#[test]
fn a_flushed_server_is_an_empty_store_and_no_trap() {
    let server = Redis::start();
    let mut config = RedisConfig::new(server.url(0));
    config.check_every = Duration::from_millis(20);
    let store = connect(&config).unwrap();
    committed(&store, &puts(1, &[("a", 0)], b"a"));
    assert_eq!(server.cli(&["flushall"]), "OK");
    let stale: Commit = puts(2, &[("a", 1)], b"b");
    assert!(matches!(send(&store, &stale), CommitResult::Conflict { .. }));
    committed(&store, &puts(3, &[("a", 0)], b"c"));
    let listed = block_on(store.partitions(None, 9)).unwrap().partitions;
    assert_eq!(listed, [partition()]);
    until(|| server.cli(&["get", "bellpunch:{partitions}:format"]) == "1");
    RUNTIME.block_on(store.close());
}
