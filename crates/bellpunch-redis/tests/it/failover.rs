//! Another server takes over: the store follows, and what it says may be lost is lost.

use std::sync::Arc;

use bellpunch_redis::RedisConfig;
use bellpunch_servers::{RedisCluster, RedisSentinel};
use bellpunch_store::kit::block_on;
use bellpunch_store::{Commit, CommitResult, Partition, Store};

use crate::{committed, connect, puts, send, until, version};

#[test]
fn an_acknowledged_commit_is_lost_on_failover_as_it_says() {
    let watched = RedisSentinel::start();
    let store = connect(&RedisConfig::new(watched.url())).unwrap();
    committed(&store, &puts(1, &[("a", 0)], b"a"));
    until(|| watched.replica().cli(&["zcard", "bellpunch:{p}:i"]) == "1");
    // From now on the replica gets nothing: it does not know the password.
    let primary = watched.primary();
    assert_eq!(primary.cli(&["config", "set", "requirepass", "secret"]), "OK");
    let _ = primary.cli(&["-a", "secret", "client", "kill", "type", "replica"]);
    committed(&store, &puts(2, &[("a", 1)], b"acknowledged, and synced to the primary's disk"));
    assert_eq!(version(&store, "a"), 2);
    primary.kill();
    watched.wait_for_failover();
    let found = || crate::read(&store, "a").ok().map(|found| found.version.get());
    until(|| found().is_some());
    assert_eq!(found(), Some(1), "the second commit is gone");
    let another = puts(3, &[("a", 1)], b"another in its place");
    until(|| matches!(send(&store, &another), CommitResult::Committed { .. }));
    assert_eq!(version(&store, "a"), 2);
}

#[test]
fn follows_a_cluster_when_a_replica_takes_over() {
    let mut cluster = RedisCluster::start(3);
    cluster.add_replica();
    let store = connect(&RedisConfig::new(cluster.url())).unwrap();
    // Partitions on all servers; braces in a name change nothing.
    let names: Vec<_> = (0..12).map(|n| format!("p{n}")).collect();
    let names = names.iter().map(String::as_str).chain(["a{b}c", "}", "{", "{}x", "a%7B"]);
    let partitions: Vec<_> = names.map(|name| Partition::new(name).unwrap()).collect();
    let all = |round: u64| {
        let commit = |(place, partition): (usize, &Partition)| Commit {
            partition: partition.clone(),
            ..puts(u128::from(round) << 64 | place as u128, &[("a", round), ("b", round)], b"x")
        };
        partitions.iter().enumerate().map(commit).map(Arc::new).collect::<Vec<_>>()
    };
    let taken = |result: &CommitResult| matches!(result, CommitResult::Committed { .. });
    assert!(block_on(store.commit(all(0))).iter().all(taken));
    // Which is not among the names below: nothing was ever written there.
    let unwritten = Commit { partition: Partition::new("unwritten").unwrap(), ..puts(9, &[], b"") };
    committed(&store, &unwritten);
    // What its replica has not heard of would be lost with it, as the store says of itself.
    let first = &cluster.servers()[0];
    until(|| {
        let told = first.cli(&["info", "replication"]);
        let after = |name: &str| {
            let (_, rest) = told.split_once(name)?;
            rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse::<u64>().ok()
        };
        let heard = after(",offset=");
        heard.is_some() && after("master_repl_offset:") <= heard
    });
    first.kill();
    cluster.wait_for_failover(3);
    // Nothing of this may be unknown for good.
    until(|| block_on(store.commit(all(1))).iter().all(taken));
    let mut listed = block_on(store.partitions(None, 100)).unwrap().partitions;
    listed.sort();
    let mut expected = partitions.clone();
    expected.sort();
    assert_eq!(listed, expected);
}

#[test]
fn follows_a_slot_that_moves() {
    let cluster = RedisCluster::start(3);
    let store = connect(&RedisConfig::new(cluster.url())).unwrap();
    committed(&store, &Commit { partition: Partition::new("other").unwrap(), ..puts(1, &[], b"") });
    let servers = cluster.servers();
    let slot = servers[0].cli(&["cluster", "keyslot", "bellpunch:{p}:i"]);
    let holds = |server: &bellpunch_servers::Redis| {
        !server.cli(&["get", "bellpunch:{p}:guard"]).contains("MOVED")
    };
    let to = servers.iter().find(|server| !holds(server)).unwrap();
    let id = to.cli(&["cluster", "myid"]);
    for server in servers {
        assert_eq!(server.cli(&["cluster", "setslot", &slot, "node", &id]), "OK");
    }
    committed(&store, &puts(2, &[("a", 0)], b"a"));
    assert_eq!(version(&store, "a"), 1);
    assert!(holds(to));
    assert!(!matches!(send(&store, &puts(3, &[("a", 0)], b"b")), CommitResult::Unknown));
}
