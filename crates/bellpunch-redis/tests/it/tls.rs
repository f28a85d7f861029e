//! Over TLS, with a certificate that the configuration names: one server, sentinels, a cluster.

use std::sync::Arc;

use bellpunch_redis::{ConnectErrorKind, RedisConfig};
use bellpunch_servers::{DURABLE, Identity, Redis, RedisCluster, RedisSentinel};
use bellpunch_store::kit::block_on;
use bellpunch_store::{Commit, CommitResult, Partition, Store};

use crate::{committed, connect, puts, send, until, version};

fn identity() -> Identity {
    Identity::of("IP:127.0.0.1")
}

/// What trusts the certificate of this one.
fn trusting(identity: &Identity, url: String) -> RedisConfig {
    let root_certificates = Some(identity.certificate.clone());
    RedisConfig { root_certificates, ..RedisConfig::new(url) }
}

#[track_caller]
fn not_trusted(config: &RedisConfig) {
    let error = connect(config).unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::Unreachable, "{error}");
}

#[test]
fn talks_to_a_server_whose_certificate_it_was_given_and_to_no_other() {
    let ours = identity();
    let server = Redis::start_as(Some(&ours), &DURABLE);
    not_trusted(&RedisConfig::new(server.url(0)));
    not_trusted(&trusting(&identity(), server.url(0)));
    let store = connect(&trusting(&ours, server.url(0))).unwrap();
    committed(&store, &puts(1, &[("a", 0)], b"a"));
    assert_eq!(version(&store, "a"), 1);
    assert_eq!(server.cli(&["zcard", "bellpunch:{p}:i"]), "1");
}

#[test]
fn talks_to_no_server_by_another_name() {
    let elsewhere = Identity::of("DNS:elsewhere.example");
    let server = Redis::start_as(Some(&elsewhere), &DURABLE);
    not_trusted(&trusting(&elsewhere, server.url(0)));
}

#[test]
fn follows_what_the_sentinels_say() {
    let ours = identity();
    let watched = RedisSentinel::start_as(Some(&ours));
    not_trusted(&RedisConfig::new(watched.url()));
    not_trusted(&trusting(&identity(), watched.url()));
    let store = connect(&trusting(&ours, watched.url())).unwrap();
    committed(&store, &puts(1, &[("a", 0)], b"a"));
    until(|| watched.replica().cli(&["zcard", "bellpunch:{p}:i"]) == "1");
    watched.primary().kill();
    watched.wait_for_failover();
    let after = puts(2, &[("b", 0)], b"b");
    until(|| matches!(send(&store, &after), CommitResult::Committed { .. }));
    assert_eq!((version(&store, "a"), version(&store, "b")), (1, 1));
}

#[test]
fn talks_to_all_servers_of_a_cluster() {
    let ours = identity();
    let cluster = RedisCluster::start_as(Some(ours.clone()), 3);
    not_trusted(&RedisConfig::new(cluster.url()));
    not_trusted(&trusting(&identity(), cluster.url()));
    writes_to_all(&cluster, &trusting(&ours, cluster.url()));
}

#[test]
fn calls_the_servers_of_a_cluster_by_the_names_that_they_announce() {
    let named = Identity::of("DNS:localhost");
    let cluster = RedisCluster::start_as(Some(named.clone()), 3);
    let by_name = trusting(&named, cluster.url().replace("127.0.0.1", "localhost"));
    not_trusted(&by_name);
    let set = |server: &Redis, name: &str, value: &str| server.cli(&["config", "set", name, value]);
    for server in cluster.servers() {
        assert_eq!(set(server, "cluster-announce-hostname", "localhost"), "OK");
        assert_eq!(set(server, "cluster-preferred-endpoint-type", "hostname"), "OK");
    }
    let named_by = |server: &Redis| server.cli(&["cluster", "slots"]).matches("localhost").count();
    until(|| cluster.servers().iter().all(|server| named_by(server) == 3));
    writes_to_all(&cluster, &by_name);
}

/// A store on a cluster has partitions on each of its servers.
fn writes_to_all(cluster: &RedisCluster, config: &RedisConfig) {
    let store = connect(config).unwrap();
    let commit = |number: u8| Commit {
        partition: Partition::new(format!("p{number}")).unwrap(),
        ..puts(number.into(), &[("a", 0)], b"a")
    };
    let results = block_on(store.commit((0..12).map(commit).map(Arc::new).collect()));
    let taken = |result: &CommitResult| matches!(result, CommitResult::Committed { .. });
    assert!(results.iter().all(taken), "{results:?}");
    let holds = |server: &Redis| server.cli(&["dbsize"]) != "0";
    assert!(cluster.servers().iter().all(holds), "each has partitions");
    assert_eq!(block_on(store.partitions(None, 100)).unwrap().partitions.len(), 12);
}
