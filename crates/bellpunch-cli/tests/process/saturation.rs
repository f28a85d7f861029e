//! Three times as many commands as can be taken: those that are taken go on as fast, the others are
//! told at once, and memory stays bounded.
//!
//! The bound is the store: each sync takes long, and a batch has few commands. Were it the
//! processor, the generator on the same cores would measure itself. A normal run holds memory and
//! correctness; times are printed, for a release build on a quiet machine to be held against.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::json;

use crate::client::Client;
use crate::preload::Preload;
use crate::server::Server;

/// In a normal run; `BELLPUNCH_SATURATION_SECONDS=15` is the full one.
const SECONDS: u64 = 2;
/// Connections that ask again as soon as they are answered, where nothing but the processor is the
/// bound.
const CONNECTIONS: u64 = 64;
const GROWTH_MAX: u64 = 64 << 20;
/// Commands of the generator that are under way at once.
const OUTSTANDING_MAX: usize = 4_000;

/// What came of the commands of a phase.
#[derive(Debug, Default)]
struct Counts {
    taken: u64,
    /// How long it took to be told.
    taken_micros: Vec<u64>,
    shed_micros: Vec<u64>,
}

impl Counts {
    fn add(&mut self, (status, code): (u16, &str), micros: u64) {
        if status == 200 {
            self.taken += 1;
            self.taken_micros.push(micros);
        } else {
            assert_eq!((status, code), (503, "overloaded"));
            self.shed_micros.push(micros);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_is_refused_and_costs_no_memory() {
    let seconds = crate::asked("BELLPUNCH_SATURATION_SECONDS", SECONDS);
    let micros = crate::asked("BELLPUNCH_SATURATION_SYNC_MICROS", 40_000);
    let batch = crate::asked("BELLPUNCH_SATURATION_BATCH", 16);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let preload = Preload::build(folder.path());
    let mut settings = Vec::new();
    if 0 < batch {
        settings.push(format!("engine.batch_max={batch}"));
        settings.push(format!("engine.queue_max={}", batch * 4));
    }
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let server = preload.slow(&data, &settings, micros);
    let mut first = Client::connect(server.address).await.unwrap();
    let quota = json!({ "id": "q", "limit": 1_000_000_000, "charges": "none" });
    first.post("/v1/x/quotas", quota).await;

    let span = Duration::from_secs(seconds);
    // So many that each batch is full, and that the queue never is.
    let connections = if 0 < batch { batch * 4 } else { CONNECTIONS };
    let (mut peak, took) = closed(server.address, (connections, span / 2)).await;
    let peak_rate = rate(peak.taken, took);
    let before = memory(&server);
    let (mut over, took, most) = open(&server, (3 * peak_rate, span)).await;
    let over_rate = rate(over.taken, took);
    let growth = most.saturating_sub(before);
    let share = 100 * over_rate / peak_rate.max(1);
    println!(
        "peak {peak_rate}/s (p99 {} us), offered {}/s: {over_rate}/s taken = {share} % (p99 {} us), \
         {} shed, p50 {} us, p99 {} us, memory {} MiB + {} KiB",
        percentile(&mut peak.taken_micros, 99),
        3 * peak_rate,
        percentile(&mut over.taken_micros, 99),
        over.shed_micros.len(),
        percentile(&mut over.shed_micros, 50),
        percentile(&mut over.shed_micros, 99),
        before >> 20,
        growth >> 10,
    );
    assert!(growth <= GROWTH_MAX, "{growth} bytes");
    let (_, read) = first.get("/v1/x/quotas/q").await;
    assert_eq!(read["quota"]["used"], peak.taken + over.taken, "what was shed had no effect");
    drop(first);
    assert!(tokio::task::spawn_blocking(|| server.terminate()).await.unwrap().success());
    crate::verify(&data);
}

fn rate(count: u64, took: Duration) -> u64 {
    count * 1_000 / u64::try_from(took.as_millis()).unwrap().max(1)
}

fn percentile(micros: &mut [u64], percent: usize) -> u64 {
    micros.sort_unstable();
    micros.get(micros.len() * percent / 100).copied().unwrap_or_default()
}

fn memory(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

async fn consume(client: &mut Client, counts: &Mutex<Counts>) {
    let begun = Instant::now();
    let body = json!({ "units": 1 });
    let asked = client.send(Method::POST, "/v1/x/quotas/q/consume", (None, body)).await;
    let (status, reply) = asked.unwrap();
    let micros = u64::try_from(begun.elapsed().as_micros()).unwrap();
    let code = reply["code"].as_str().unwrap_or_default();
    counts.lock().unwrap().add((status, code), micros);
}

/// Each connection asks again as soon as it was answered.
async fn closed(address: SocketAddr, (connections, span): (u64, Duration)) -> (Counts, Duration) {
    let counts = Arc::new(Mutex::new(Counts::default()));
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let counts = Arc::clone(&counts);
        tasks.spawn(async move {
            let mut client = Client::connect(address).await.unwrap();
            while begun.elapsed() < span {
                consume(&mut client, &counts).await;
            }
        });
    }
    tasks.join_all().await;
    (Arc::into_inner(counts).unwrap().into_inner().unwrap(), begun.elapsed())
}

/// So many a second, whatever becomes of those before; the most memory that was seen.
async fn open(server: &Server, (per_second, span): (u64, Duration)) -> (Counts, Duration, u64) {
    let counts = Arc::new(Mutex::new(Counts::default()));
    let idle = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = tokio::task::JoinSet::new();
    let mut tick = tokio::time::interval(Duration::from_millis(1));
    let (begun, mut sent, mut unsent) = (Instant::now(), 0, 0_u64);
    let (mut most, mut next_look) = (0, Duration::ZERO);
    while begun.elapsed() < span {
        tick.tick().await;
        let elapsed = begun.elapsed();
        let due = per_second * u64::try_from(elapsed.as_micros()).unwrap() / 1_000_000;
        while sent < due {
            sent += 1;
            if OUTSTANDING_MAX <= tasks.len() {
                // The generator is the bound: more connections would only measure the kernel.
                unsent += 1;
                continue;
            }
            let (counts, idle, address) = (Arc::clone(&counts), Arc::clone(&idle), server.address);
            tasks.spawn(async move {
                let kept = idle.lock().unwrap().pop();
                let mut client = match kept {
                    Some(client) => client,
                    None => Client::connect(address).await.unwrap(),
                };
                consume(&mut client, &counts).await;
                idle.lock().unwrap().push(client);
            });
        }
        while let Some(ended) = tasks.try_join_next() {
            ended.unwrap();
        }
        if next_look <= elapsed {
            most = most.max(memory(server));
            next_look = elapsed + Duration::from_millis(100);
        }
    }
    tasks.join_all().await;
    let took = begun.elapsed();
    println!("{unsent} of {sent} were not sent: {OUTSTANDING_MAX} were under way");
    drop(idle);
    (Arc::into_inner(counts).unwrap().into_inner().unwrap(), took, most.max(memory(server)))
}
