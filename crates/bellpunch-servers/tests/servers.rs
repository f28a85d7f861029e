//! Both servers start, lose nothing when they are killed, and start again.

use bellpunch_servers::{Postgres, Redis, RedisCluster, RedisSentinel};

#[test]
fn postgres_is_there_again_after_a_kill() {
    let server = Postgres::start();
    let _ = server.database("one");
    assert_eq!(server.sql("one", "create table t as select 7 as n; select n from t"), "7");
    server.kill();
    server.restart();
    assert_eq!(server.sql("one", "select n from t"), "7");
    server.stop();
    server.restart();
    assert_eq!(server.sql("one", "show synchronous_commit"), "on");
}

#[test]
fn redis_is_there_again_after_a_kill() {
    let server = Redis::start();
    assert_eq!(server.cli(&["set", "a", "7"]), "OK");
    server.kill();
    server.restart();
    assert_eq!(server.cli(&["get", "a"]), "7");
    server.stop();
    server.restart();
    assert_eq!(server.cli(&["get", "a"]), "7");
}

#[test]
fn a_cluster_has_all_slots_and_a_replica_takes_over() {
    let mut cluster = RedisCluster::start(3);
    cluster.add_replica();
    let (old, new) = (&cluster.servers()[0], &cluster.servers()[3]);
    assert_eq!(new.cli(&["role"]).lines().next(), Some("slave"));
    old.kill();
    cluster.wait_for_failover(3);
    assert_eq!(new.cli(&["role"]).lines().next(), Some("master"));
}

#[test]
fn a_sentinel_puts_the_replica_in_the_place_of_the_primary() {
    let watched = RedisSentinel::start();
    watched.primary().kill();
    watched.wait_for_failover();
    assert_eq!(watched.replica().cli(&["set", "a", "7"]), "OK");
}
