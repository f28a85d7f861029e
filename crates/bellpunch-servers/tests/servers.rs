//! Both servers start, lose nothing when they are killed, and start again.

use bellpunch_servers::{Postgres, Redis};

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
