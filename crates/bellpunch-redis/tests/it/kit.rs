//! The conformance kit, on real servers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bellpunch_redis::RedisConfig;
use bellpunch_servers::{Redis, RedisCluster};
use bellpunch_store::kit::{self, Able, Backend, KitClock, Place};
use bellpunch_store::{Clock, Store};

use crate::connect;

#[derive(Debug)]
enum Servers {
    One(Redis),
    Cluster(RedisCluster),
}

impl Servers {
    fn all(&self) -> &[Redis] {
        match self {
            Self::One(server) => std::slice::from_ref(server),
            Self::Cluster(cluster) => cluster.servers(),
        }
    }

    /// Asks whoever has the key.
    fn cli(&self, words: &[&str]) -> String {
        let replies = self.all().iter().map(|server| server.cli(words));
        replies.into_iter().find(|reply| !reply.contains("MOVED")).unwrap()
    }
}

#[derive(Debug)]
struct Everywhere {
    servers: Arc<Servers>,
    places: AtomicU64,
}

/// A prefix of its own.
#[derive(Debug)]
struct Prefix {
    servers: Arc<Servers>,
    config: Mutex<RedisConfig>,
}

impl Backend for Everywhere {
    fn place(&self, clock: Arc<KitClock>) -> Box<dyn Place> {
        let place = self.places.fetch_add(1, Ordering::SeqCst);
        let mut config = RedisConfig::new(match &*self.servers {
            Servers::One(server) => server.url(0),
            Servers::Cluster(cluster) => cluster.url(),
        });
        config.prefix = format!("kit{place}");
        config.clock = Some(clock as Arc<dyn Clock>);
        Box::new(Prefix { servers: Arc::clone(&self.servers), config: Mutex::new(config) })
    }
}

impl Prefix {
    fn name(&self, key: &str) -> String {
        format!("{}:{key}", self.config.lock().unwrap().prefix)
    }
}

impl Place for Prefix {
    fn open(&self) -> Result<Arc<dyn Store>, String> {
        let config = self.config.lock().unwrap().clone();
        Ok(Arc::new(connect(&config).map_err(|error| error.to_string())?))
    }

    fn crash(&self) -> Able {
        self.servers.all().iter().for_each(Redis::kill);
        self.servers.all().iter().for_each(Redis::restart);
        let ready = |server: &Redis| {
            let info = server.cli(&["cluster", "info"]);
            info.contains("cluster_state:ok") || info.contains("disabled")
        };
        crate::until(|| self.servers.all().iter().all(ready));
        Able::Yes
    }

    fn keeps(&self) -> Able {
        Able::Yes
    }

    fn damage(&self) -> Able {
        // The last byte of the value. No key on a command line has a NUL, so the script adds it.
        let script = "local key = KEYS[1] .. 'r:records\\0a' \
                      return redis.call('SETRANGE', key, redis.call('STRLEN', key) - 1, '?')";
        let reply = self.servers.cli(&["EVAL", script, "1", &self.name("{p}:")]);
        assert!(1 < reply.parse::<u64>().unwrap(), "it was there");
        Able::Yes
    }

    fn newer(&self) -> Able {
        assert_eq!(self.servers.cli(&["SET", &self.name("{partitions}:format"), "2"]), "OK");
        Able::Yes
    }

    fn holds(&self) -> Able {
        Able::No("a script has the server to itself")
    }
}

fn check(servers: Servers) {
    let servers = Arc::new(servers);
    let report = kit::check(&Everywhere { servers, places: AtomicU64::new(0) });
    let skipped: Vec<_> = report.skipped.iter().map(|(name, _)| *name).collect();
    // Its steps cannot be made to fail: a script has none that a crash could divide.
    assert_eq!(skipped, ["kit.whole", "kit.deadline.exclusivity"], "{report}");
    assert_eq!(report.passed.len(), 26, "{report}");
}

#[test]
fn passes_on_one_server_that_is_killed() {
    check(Servers::One(Redis::start()));
}

#[test]
fn passes_on_a_cluster_that_is_killed() {
    check(Servers::Cluster(RedisCluster::start(3)));
}
