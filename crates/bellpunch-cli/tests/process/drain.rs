//! SIGTERM under load: what was taken is answered, what was acknowledged is there, and it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::json;

use crate::client::{Client, Cut};
use crate::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_load_drops_nothing_it_took() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::on_disk(folder.path());
    let mut client = Client::connect(server.address).await.unwrap();
    client.post("/v1/x/quotas", json!({ "id": "q", "limit": 1_000_000 })).await;
    let replies = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let (address, replies) = (server.address, Arc::clone(&replies));
            tokio::spawn(async move {
                let mut accepted = 0_usize;
                let Ok(mut client) = Client::connect(address).await else { return accepted };
                loop {
                    let body = json!({ "units": 1 });
                    let path = "/v1/x/quotas/q/consume";
                    match client.send(Method::POST, path, (None, body)).await {
                        Ok((200, _)) => accepted += 1,
                        Ok((503, reply)) => {
                            assert_eq!(reply["code"], "draining");
                            return accepted;
                        }
                        Ok((status, reply)) => panic!("{status}: {reply}"),
                        Err(Cut) => return accepted,
                    }
                    replies.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    while replies.load(Ordering::Relaxed) < 200 {
        tokio::task::yield_now().await;
    }
    let begin = Instant::now();
    let status = tokio::task::spawn_blocking(|| server.terminate()).await.unwrap();
    assert!(status.success(), "{status}");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    let mut accepted = 0;
    for client in clients {
        accepted += client.await.unwrap();
    }
    let server = Server::on_disk(folder.path());
    let mut client = Client::connect(server.address).await.unwrap();
    let (_, read) = client.get("/v1/x/quotas/q").await;
    assert_eq!(read["quota"]["used"], accepted, "what was taken was answered, and is there");
}
