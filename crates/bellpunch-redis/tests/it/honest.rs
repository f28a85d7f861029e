//! What the store says of a server is what the server's settings are, then and later.

use std::time::Duration;

use bellpunch_redis::{ConnectErrorKind, RedisConfig, RedisStore};
use bellpunch_servers::{Redis, RedisCluster, RedisSentinel};
use bellpunch_store::{FailureKind, Risk, Store, Survives};

use crate::{RUNTIME, committed, connect, failed, puts, until};

const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

fn claims(url: String) -> (Survives, Option<Risk>) {
    let properties = connect(&RedisConfig::new(url)).unwrap().properties();
    (properties.survives, properties.risk)
}

#[track_caller]
fn refused(url: &str) -> String {
    let error = connect(&RedisConfig::new(url)).unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::Unsafe, "{error}");
    error.to_string()
}

#[test]
fn promises_what_the_settings_do() {
    assert_eq!(claims(Redis::start().url(0)), (Survives::Machine, None));
    let crash = Some(Risk::LostOnCrash);
    let second = Redis::start_with(&["--appendonly", "yes", "--appendfsync", "everysec"]);
    assert_eq!(claims(second.url(0)), (Survives::Process, crash));
    let memory = Redis::start_with(&[]);
    assert_eq!(claims(memory.url(0)), (Survives::Nothing, crash));
    let rewriting = [&DURABLE[..], &["--no-appendfsync-on-rewrite", "yes"]].concat();
    assert_eq!(claims(Redis::start_with(&rewriting).url(0)), (Survives::Process, crash));
    // One that does not tell: only INFO says that there is a file.
    let silent = [&DURABLE[..], &["--rename-command", "CONFIG", ""]].concat();
    assert_eq!(claims(Redis::start_with(&silent).url(0)), (Survives::Process, crash));
}

#[test]
fn says_that_a_failover_loses() {
    let failover = Some(Risk::LostOnFailover);
    assert_eq!(claims(RedisCluster::start(1).url()), (Survives::Machine, failover));
    let watched = RedisSentinel::start();
    assert_eq!(claims(watched.url()), (Survives::Machine, failover));
    // By its own address, too: it has a replica.
    assert_eq!(claims(watched.primary().url(0)), (Survives::Machine, failover));
    let message = refused(&watched.replica().url(0));
    assert!(message.contains("replica"), "{message}");
}

#[test]
fn refuses_a_server_that_may_drop_records() {
    for policy in ["allkeys-lru", "volatile-ttl"] {
        let server = Redis::start_with(&["--maxmemory-policy", policy]);
        assert!(refused(&server.url(0)).contains(policy));
    }
    let silent = ["--maxmemory-policy", "allkeys-lru", "--rename-command", "CONFIG", ""];
    assert!(refused(&Redis::start_with(&silent).url(0)).contains("allkeys-lru"));
}

#[test]
fn an_accepted_risk_is_said_whatever_the_settings_are() {
    let server = Redis::start();
    let mut config = RedisConfig::new(server.url(0));
    config.accept_risk = Some(Risk::LostOnFailover);
    let properties = connect(&config).unwrap().properties();
    assert_eq!(properties.risk, Some(Risk::LostOnFailover));
    config.accept_risk = Some(Risk::LostOnCrash);
    let properties = connect(&config).unwrap().properties();
    assert_eq!(
        (properties.survives, properties.risk),
        (Survives::Process, Some(Risk::LostOnCrash))
    );
}

#[test]
fn stops_when_the_settings_become_weaker_and_goes_on_when_they_are_restored() {
    let server = Redis::start();
    let mut config = RedisConfig::new(server.url(0));
    config.check_every = Duration::from_millis(20);
    let store = connect(&config).unwrap();
    committed(&store, &puts(1, &[("a", 0)], b"a"));
    for (name, weak, strong) in [
        ("appendfsync", "everysec", "always"),
        ("appendonly", "no", "yes"),
        ("maxmemory-policy", "allkeys-lru", "noeviction"),
    ] {
        assert_eq!(server.cli(&["config", "set", name, weak]), "OK");
        let confirm = crate::reads(2, &[("a", 1)]);
        until(|| matches!(crate::send(&store, &confirm), bellpunch_store::CommitResult::Failed(_)));
        let failure = failed(&store, &puts(3, &[("a", 1)], b"b"), FailureKind::Unavailable);
        assert!(!failure.to_string().is_empty());
        assert_eq!(server.cli(&["config", "set", name, strong]), "OK");
        until(|| {
            let result = crate::send(&store, &confirm);
            matches!(result, bellpunch_store::CommitResult::Committed { .. })
        });
    }
    assert_eq!(crate::version(&store, "a"), 1);
}

#[test]
fn a_replica_that_appears_later_is_a_risk_that_nobody_accepted() {
    let server = Redis::start();
    let mut config = RedisConfig::new(server.url(0));
    config.check_every = Duration::from_millis(20);
    let store = connect(&config).unwrap();
    config.accept_risk = Some(Risk::LostOnFailover);
    let accepting = connect(&config).unwrap();
    let primary = server.port().to_string();
    let _replica = Redis::start_with(&["--replicaof", "127.0.0.1", &primary]);
    let confirm = crate::reads(1, &[("a", 0)]);
    until(|| matches!(crate::send(&store, &confirm), bellpunch_store::CommitResult::Failed(_)));
    let failure = failed(&store, &confirm, FailureKind::Unavailable);
    assert!(failure.to_string().contains("LostOnFailover"), "{failure}");
    committed(&accepting, &confirm);
}

#[test]
fn says_whether_a_store_is_there_and_makes_none() {
    let server = Redis::start();
    let config = RedisConfig::new(server.url(0));
    let exists = || RUNTIME.block_on(RedisStore::exists(&config)).unwrap();
    assert!(!exists());
    assert_eq!(server.cli(&["dbsize"]), "0", "it made none");
    let store = connect(&config).unwrap();
    assert!(exists());
    RUNTIME.block_on(store.close());
}

#[test]
fn stops_for_good_when_a_newer_release_has_been_there() {
    let server = Redis::start();
    let mut config = RedisConfig::new(server.url(0));
    config.check_every = Duration::from_millis(20);
    let store = connect(&config).unwrap();
    committed(&store, &puts(1, &[("a", 0)], b"a"));
    assert_eq!(server.cli(&["set", "bellpunch:{partitions}:format", "2"]), "OK");
    until(|| crate::read(&store, "a").is_err());
    let failure = failed(&store, &puts(2, &[("a", 1)], b"b"), FailureKind::Unavailable);
    assert!(failure.to_string().contains("upgrade"), "{failure}");
}

#[test]
fn refuses_what_it_did_not_write_and_what_makes_no_sense() {
    let server = Redis::start();
    let kind = |config: &RedisConfig| connect(config).unwrap_err().kind();
    assert_eq!(server.cli(&["set", "bellpunch:{partitions}:format", "what"]), "OK");
    assert_eq!(kind(&RedisConfig::new(server.url(0))), ConnectErrorKind::Damaged);
    assert_eq!(server.cli(&["set", "bellpunch:{partitions}:format", "2"]), "OK");
    assert_eq!(kind(&RedisConfig::new(server.url(0))), ConnectErrorKind::Newer);
    let mut braces = RedisConfig::new(server.url(1));
    braces.prefix = "a{b}".to_owned();
    assert_eq!(kind(&braces), ConnectErrorKind::Config);
    for url in ["postgres://one", "redis", "redis+sentinel://one", "redis+cluster://one/1"] {
        assert_eq!(kind(&RedisConfig::new(url)), ConnectErrorKind::Config, "{url}");
    }
    let url = server.url(0);
    drop(server);
    assert_eq!(kind(&RedisConfig::new(url)), ConnectErrorKind::Unreachable);
}
