//! Bellpunch on Redis, beside a Lua script that decides, run by `redis-benchmark`.
//!
//! The script of the peer is as short as it can be: one read, one comparison, one write, on a key
//! that holds a number; the limit comes from its caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use bellpunch::limits::Retention;
use bellpunch::{Engine, EngineConfig, SystemClock};
use bellpunch_redis::{RedisConfig, RedisStore};
use bellpunch_servers::Redis;
use redis::aio::MultiplexedConnection;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::Effort;
use crate::callers::{
    BOUND_CALLS, BOUND_HOT_UNITS, BOUND_MANY, BOUND_UNITS, Bellpunch, CALLERS, CROWD, Draw, FREE,
    Keys, MANY, Spread,
};
use crate::figures::{Contender, Contest, Figure, excess};

const SCRIPT: &str = "
local used = tonumber(redis.call('GET', KEYS[1]) or '0')
local units, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
if limit < used + units then return -1 end
redis.call('INCRBY', KEYS[1], units)
return limit - used - units
";
/// The peers' database; Bellpunch has 0.
const DATABASE: u8 = 1;

/// `redis-benchmark` with the script.
struct Script {
    server: Arc<Redis>,
    runtime: Arc<Runtime>,
    quotas: usize,
    clients: usize,
    pipelined: usize,
    per_second: u64,
}

impl Script {
    fn hash(&self) -> String {
        let database = DATABASE.to_string();
        self.server.cli(&["-n", &database, "script", "load", SCRIPT])
    }

    fn run(&self, requests: u64) -> Figure {
        let hash = self.hash();
        let mut command = self.server.program("redis-benchmark");
        let number = |value: usize| value.to_string();
        command.args(["-p", &self.server.port().to_string(), "--dbnum", &DATABASE.to_string()]);
        command.args(["-c", &number(self.clients), "-P", &number(self.pipelined), "--csv"]);
        command.args(["-n", &requests.to_string(), "-r", &number(self.quotas)]);
        let key = if self.quotas == 1 { "quota" } else { "quota:__rand_int__" };
        command.args(["evalsha", &hash, "1", key, "1", &FREE.to_string()]);
        let output = command.output().expect("redis-benchmark is there");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}{complaint}");
        figure(&said)
    }
}

/// Reads `"test","rps","avg","min","p50","p95","p99","max"`; times in milliseconds.
fn figure(said: &str) -> Figure {
    let line = said.lines().last().unwrap_or_default();
    let fields: Vec<&str> = line.rsplit("\",\"").collect();
    let field = |place: usize| {
        let text = fields.get(place).copied().unwrap_or_default().trim_matches('"');
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let whole: u64 = whole.parse().unwrap_or_else(|_| panic!("not a figure: {said}"));
        let part = format!("{part:0<3}").get(..3).and_then(|part| part.parse::<u64>().ok());
        whole * 1000 + part.unwrap_or_default()
    };
    Figure { per_second: field(6) / 1000, p50: field(3), p99: field(1), longest: field(0) }
}

impl Contender for Script {
    fn name(&self) -> String {
        match self.pipelined {
            1 => "a Lua script that decides (`EVALSHA`)".to_owned(),
            many => format!("the same, {many} calls pipelined by each client"),
        }
    }

    fn round(&mut self, span: Duration) -> Figure {
        // It counts requests, not seconds: as many as took so long before.
        let requests = (self.per_second.max(1_000) * span.as_secs()).max(10_000);
        let figure = self.run(requests);
        self.per_second = figure.per_second;
        figure
    }

    fn excess(&mut self) -> Option<i64> {
        if 1 < self.pipelined {
            // It is the same script.
            return None;
        }
        let asks = Asks::Script(self.hash());
        let (server, runtime) = (Arc::clone(&self.server), Arc::clone(&self.runtime));
        let (quotas, clients) = (self.quotas, self.clients);
        Some(Clients { server, runtime, quotas, clients }.bound(&asks))
    }
}

/// Clients with a connection each: what `redis-benchmark` cannot do, since it looks at no reply.
struct Clients {
    server: Arc<Redis>,
    runtime: Arc<Runtime>,
    quotas: usize,
    clients: usize,
}

/// What a client asks.
#[derive(Clone, Debug)]
enum Asks {
    /// The script, by its hash.
    Script(String),
    /// Reads, decides, then writes: two commands.
    Naive,
}

impl Asks {
    async fn ask(
        &self,
        connection: &mut MultiplexedConnection,
        key: &str,
        limit: u64,
    ) -> redis::RedisResult<bool> {
        match self {
            Self::Script(hash) => {
                let mut call = redis::cmd("EVALSHA");
                call.arg(hash).arg(1).arg(key).arg(1).arg(limit);
                let left: i64 = call.query_async(connection).await?;
                Ok(0 <= left)
            }
            Self::Naive => {
                let used: Option<u64> = redis::cmd("GET").arg(key).query_async(connection).await?;
                if limit <= used.unwrap_or_default() {
                    return Ok(false);
                }
                let _: u64 = redis::cmd("INCR").arg(key).query_async(connection).await?;
                Ok(true)
            }
        }
    }
}

impl Clients {
    /// Each of the clients asks until it is told to stop or all calls are made; gives the waits in
    /// microseconds, and of each quota how much was admitted.
    fn work(
        &self,
        (asks, prefix): (&Asks, &str),
        (quotas, limit): (usize, u64),
        (calls, span): (i64, Duration),
    ) -> (Duration, Vec<u64>, Vec<i64>) {
        let stop = Arc::new(AtomicBool::new(false));
        let left = Arc::new(AtomicI64::new(calls));
        let admitted: Arc<Vec<AtomicI64>> = Arc::new((0..quotas).map(|_| 0.into()).collect());
        let client = redis::Client::open(self.server.url(DATABASE)).expect("a legal address");
        let (took, waits) = self.runtime.block_on(async {
            let mut connections = Vec::new();
            for _ in 0..self.clients {
                connections
                    .push(client.get_multiplexed_async_connection().await.expect("it is up"));
            }
            let begun = Instant::now();
            let mut tasks = JoinSet::new();
            for (seed, mut connection) in (1..).zip(connections) {
                let (stop, left) = (Arc::clone(&stop), Arc::clone(&left));
                let (asks, prefix) = (asks.clone(), prefix.to_owned());
                let admitted = Arc::clone(&admitted);
                tasks.spawn(async move {
                    let (mut draw, mut waits) = (Draw(seed), Vec::new());
                    while !stop.load(Ordering::Relaxed) && 0 < left.fetch_sub(1, Ordering::Relaxed)
                    {
                        let quota = draw.below(quotas);
                        let (key, begun) = (format!("{prefix}:{quota}"), Instant::now());
                        let told = asks.ask(&mut connection, &key, limit).await;
                        let told = told.expect("the server is well");
                        let micros = u64::try_from(begun.elapsed().as_micros());
                        waits.push(micros.unwrap_or(u64::MAX));
                        let count = admitted.get(quota).expect("below their number");
                        count.fetch_add(i64::from(told), Ordering::Relaxed);
                    }
                    waits
                });
            }
            if calls == i64::MAX {
                tokio::time::sleep(span).await;
                stop.store(true, Ordering::Relaxed);
            }
            let waits = tasks.join_all().await.concat();
            (begun.elapsed(), waits)
        });
        let admitted = admitted.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        (took, waits, admitted)
    }

    /// What is admitted beyond limits that bind.
    fn bound(&self, asks: &Asks) -> i64 {
        let hot = self.quotas == 1;
        let (quotas, units) = if hot { (1, BOUND_HOT_UNITS) } else { (BOUND_MANY, BOUND_UNITS) };
        let calls = units * u64::try_from(quotas).expect("a few") * BOUND_CALLS;
        let calls = i64::try_from(calls).expect("a few");
        let word = match asks {
            Asks::Script(_) => "script",
            Asks::Naive => "naive",
        };
        let prefix = format!("bound-{word}-{}-{}", self.quotas, self.clients);
        let how_many = (calls, Duration::ZERO);
        let (_, _, admitted) = self.work((asks, &prefix), (quotas, units), how_many);
        let units = i64::try_from(units).expect("a few");
        let database = DATABASE.to_string();
        excess(admitted.iter().enumerate().map(|(quota, told)| {
            let key = format!("{prefix}:{quota}");
            let used = self.server.cli(&["-n", &database, "get", &key]);
            assert_eq!(used, told.to_string(), "what is recorded is what the callers were told");
            told - units
        }))
    }
}

/// Clients that read, decide and write in turn.
struct Naive(Clients);

impl Contender for Naive {
    fn name(&self) -> String {
        "naive: `GET`, then `INCR` (wrong)".to_owned()
    }

    fn round(&mut self, span: Duration) -> Figure {
        let (quotas, how_long) = (self.0.quotas, (i64::MAX, span));
        let asks = (&Asks::Naive, "naive");
        let (took, mut waits, _) = self.0.work(asks, (quotas, FREE), how_long);
        Figure::of(waits.len(), took, &mut waits)
    }

    fn excess(&mut self) -> Option<i64> {
        Some(self.0.bound(&Asks::Naive))
    }
}

/// Measures all of it on one server.
pub(crate) fn measure(effort: &Effort) -> Vec<Contest> {
    let server = Arc::new(Redis::start());
    let runtime = Arc::new(Runtime::new().expect("there are threads"));
    let engine = runtime.block_on(async {
        let config = RedisConfig::new(server.url(0));
        let store = RedisStore::connect(&config).await.expect("the store is well");
        let clock = Arc::new(SystemClock::new());
        Engine::start(Arc::new(store), clock, EngineConfig::default())
    });
    let bellpunch = |name: &str, label: &str, spread: Spread, keys: Keys| {
        let engines = vec![engine.clone()];
        Bellpunch::new((name, label), (&runtime, engines), (spread, keys))
    };
    let boxed = |callers: Bellpunch| Box::new(callers) as Box<dyn Contender>;
    let script = |quotas: usize, (clients, pipelined): (usize, usize)| {
        let (server, runtime) = (Arc::clone(&server), Arc::clone(&runtime));
        let script = Script { server, runtime, quotas, clients, pipelined, per_second: 0 };
        Box::new(script) as Box<dyn Contender>
    };
    let naive = |quotas: usize| {
        let (server, runtime) = (Arc::clone(&server), Arc::clone(&runtime));
        Box::new(Naive(Clients { server, runtime, quotas, clients: CALLERS })) as Box<dyn Contender>
    };
    let charged = Spread { charges: Retention::default(), ..Spread::HOT };
    let hot = vec![
        script(1, (CALLERS, 1)),
        script(1, (CALLERS, 16)),
        naive(1),
        boxed(bellpunch("**Bellpunch**", "hot", Spread::HOT, Keys::None)),
        boxed(bellpunch("**Bellpunch**, idempotency keys", "hot-keys", Spread::HOT, Keys::Each)),
        boxed(bellpunch(
            "**Bellpunch**, a charge kept of each use",
            "hot-charges",
            charged,
            Keys::None,
        )),
    ];
    let hot = Contest::run("One hot quota", hot, effort);
    let many = vec![
        script(MANY, (CALLERS, 1)),
        script(MANY, (CALLERS, 16)),
        naive(MANY),
        boxed(bellpunch("**Bellpunch**, in one partition", "many", Spread::MANY, Keys::None)),
        boxed(bellpunch("**Bellpunch**, in 100 partitions", "apart", Spread::APART, Keys::None)),
    ];
    let many = Contest::run("10,000 quotas, drawn evenly", many, effort);
    let hot_crowd = bellpunch("**Bellpunch**", "hot-crowd", Spread::HOT, Keys::None);
    let hot_crowd = vec![script(1, (CROWD, 1)), boxed(hot_crowd.with_callers(CROWD))];
    let hot_crowd = Contest::run("One hot quota, asked by 256 callers", hot_crowd, effort);
    let crowd = bellpunch("**Bellpunch**, in one partition", "crowd", Spread::MANY, Keys::None);
    let crowd = vec![script(MANY, (CROWD, 1)), boxed(crowd.with_callers(CROWD))];
    let crowd = Contest::run("10,000 quotas, drawn evenly by 256 callers", crowd, effort);
    runtime.block_on(engine.drain());
    vec![hot, many, hot_crowd, crowd]
}
