//! One hot record for all: four nodes make progress, none starves, and nothing is lost. How fast is
//! printed; a release build on a quiet machine measures it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::json;

use crate::client::Client;
use crate::cluster::{Cluster, Start};
use crate::engine::{Engine, Kind};

/// In a normal run; `BELLPUNCH_CONTENTION_SECONDS=15` is the full one.
const SECONDS: u64 = 2;
const CALLERS: usize = 64;
const NODES: usize = 4;
const WAIT_MAX: Duration = Duration::from_secs(5);
const QUOTA: &str = "/v1/hot/quotas/q";

on_each_engine!(four_nodes_share_one_hot_record);

/// What one node answered.
#[derive(Debug, Default)]
struct Share {
    taken: AtomicU64,
    /// `contended` and the like: the caller asks again.
    again: AtomicU64,
    longest_micros: AtomicU64,
}

async fn four_nodes_share_one_hot_record(kind: Kind) {
    let seconds = crate::asked("BELLPUNCH_CONTENTION_SECONDS", SECONDS);
    let one = hot(kind, 1, Duration::from_secs(seconds)).await;
    let four = hot(kind, NODES, Duration::from_secs(seconds)).await;
    println!("{kind:?}: 4 nodes take {} % of what 1 node takes", 100 * four / one.max(1));
}

/// How many a second.
async fn hot(kind: Kind, nodes: usize, span: Duration) -> u64 {
    let engine = Engine::start(kind).await;
    let cluster = Cluster::start(Start::new(engine.url(), &engine.settings()), nodes).await;
    let mut setup = Client::connect(cluster.places.of(0)).await.unwrap();
    let quota = json!({ "id": "q", "limit": 1_000_000_000, "charges": "none" });
    setup.post("/v1/hot/quotas", quota).await;
    let shares: Vec<Arc<Share>> = (0..nodes).map(|_| Arc::default()).collect();
    let mut callers = tokio::task::JoinSet::new();
    let begun = Instant::now();
    for caller in 0..CALLERS {
        let node = caller % nodes;
        let (address, share) = (cluster.places.of(node), Arc::clone(&shares[node]));
        callers.spawn(async move { consume(address, (begun, span), &share).await });
    }
    callers.join_all().await;
    let took = begun.elapsed();
    let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let taken: Vec<u64> = shares.iter().map(|share| load(&share.taken)).collect();
    let again: u64 = shares.iter().map(|share| load(&share.again)).sum();
    let longest = shares.iter().map(|share| load(&share.longest_micros)).max().unwrap();
    let longest = Duration::from_micros(longest);
    let sum: u64 = taken.iter().sum();
    let rate = sum * 1_000 / u64::try_from(took.as_millis()).unwrap();
    println!(
        "{kind:?}, {nodes} nodes: {rate}/s, longest wait {longest:?}, of each node {taken:?}, \
         {again} asked again"
    );
    let (_, read) = setup.get(QUOTA).await;
    assert_eq!(read["quota"]["used"], sum, "what was told is there, once");
    assert!(taken.iter().all(|taken| 0 < *taken), "each node has a share: {taken:?}");
    assert!(longest < WAIT_MAX, "{longest:?}");
    drop(setup);
    cluster.end().await;
    rate
}

/// Asks again as soon as it was answered; a wait lasts until a command is accepted.
async fn consume(address: SocketAddr, (begun, span): (Instant, Duration), share: &Share) {
    let mut client = Client::connect(address).await.unwrap();
    while begun.elapsed() < span {
        let asked = Instant::now();
        loop {
            let body = json!({ "units": 1 });
            let told = client.send(Method::POST, &format!("{QUOTA}/consume"), (None, body)).await;
            let (status, reply) = told.unwrap();
            if status == 200 {
                break;
            }
            assert_eq!((status, &reply["code"]), (503, &json!("contended")), "{reply}");
            share.again.fetch_add(1, Ordering::Relaxed);
        }
        let micros = u64::try_from(asked.elapsed().as_micros()).unwrap();
        share.longest_micros.fetch_max(micros, Ordering::Relaxed);
        share.taken.fetch_add(1, Ordering::Relaxed);
    }
}
