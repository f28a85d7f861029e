//! The conformance kit, on a real server.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use bellpunch_redis::{RedisConfig, RedisStore};
use bellpunch_servers::Redis;
use bellpunch_store::kit::{self, Able, Backend, KitClock, Place};
use bellpunch_store::{Clock, Store};
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

#[derive(Debug)]
struct Server {
    redis: Arc<Redis>,
    places: AtomicU64,
}

#[derive(Debug)]
struct Prefix {
    redis: Arc<Redis>,
    config: Mutex<RedisConfig>,
}

impl Backend for Server {
    fn place(&self, clock: Arc<KitClock>) -> Box<dyn Place> {
        let place = self.places.fetch_add(1, Ordering::SeqCst);
        let mut config = RedisConfig::new(self.redis.url(0));
        config.prefix = format!("kit{place}");
        config.clock = Some(clock as Arc<dyn Clock>);
        Box::new(Prefix { redis: Arc::clone(&self.redis), config: Mutex::new(config) })
    }
}

impl Place for Prefix {
    fn open(&self) -> Result<Arc<dyn Store>, String> {
        let config = self.config.lock().unwrap().clone();
        let store = RUNTIME.block_on(RedisStore::connect(&config));
        Ok(Arc::new(store.map_err(|error| error.to_string())?))
    }

    fn crash(&self) -> Able {
        self.redis.kill();
        self.redis.restart();
        Able::Yes
    }

    fn keeps(&self) -> Able {
        Able::Yes
    }

    fn damage(&self) -> Able {
        let prefix = self.config.lock().unwrap().prefix.clone();
        let key = format!("{prefix}:{{p}}:r:records\\x00a");
        // The last byte of the value.
        let script = format!(
            "local k = '{}' return redis.call('SETRANGE', k, redis.call('STRLEN', k) - 1, '?')",
            key.replace("\\x00", "\\0")
        );
        assert_ne!(self.redis.cli(&["EVAL", &script, "0"]), "0");
        Able::Yes
    }

    fn newer(&self) -> Able {
        let prefix = self.config.lock().unwrap().prefix.clone();
        assert_eq!(self.redis.cli(&["SET", &format!("{prefix}:{{partitions}}:format"), "2"]), "OK");
        Able::Yes
    }

    fn holds(&self) -> Able {
        Able::No("a script has the server to itself")
    }
}

#[test]
fn passes_the_kit_over_kills_of_the_server() {
    let redis = Arc::new(Redis::start());
    let report = kit::check(&Server { redis, places: AtomicU64::new(0) });
    let skipped: Vec<_> = report.skipped.iter().map(|(name, _)| *name).collect();
    assert_eq!(skipped, ["kit.whole", "kit.deadline.exclusivity"], "{report}");
    assert_eq!(report.passed.len(), 26, "{report}");
}
