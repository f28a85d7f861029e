//! `kill -9` between a message of a webhook and its cursor: it is told again under the same id, and
//! nothing is told less than once.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::client::Client as Http;
use crate::random::Random;
use crate::server::Server;

/// In a normal run; `BELLPUNCH_WEBHOOK_KILLS=200` is a full one.
const KILLS: u64 = 12;

/// A message that waits for its answer.
struct Told {
    stream: TcpStream,
    id: String,
    body: Value,
}

impl Told {
    /// The next message; a connection that breaks off before its end has told nothing.
    async fn next(listener: &TcpListener) -> Self {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = Vec::new();
            loop {
                if let Some((id, body)) = whole(&bytes) {
                    return Self { stream, id, body };
                }
                match stream.read_buf(&mut bytes).await {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                }
            }
        }
    }

    fn seq(&self) -> u64 {
        self.body["seq"].as_u64().unwrap()
    }

    async fn answer(mut self) {
        let answer = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
        // Who asked may be dead.
        let _ = self.stream.write_all(answer).await;
        let _ = self.stream.shutdown().await;
    }
}

/// The id and the body of a request that has come whole.
fn whole(bytes: &[u8]) -> Option<(String, Value)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let field = |name: &str| {
        head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    };
    let body = serde_json::from_str(body).ok()?;
    Some((field("webhook-id").unwrap(), body))
}

/// Settings of a server whose webhook tells of every command on quotas.
async fn settings(folder: &Path, listener: &TcpListener) -> String {
    let secret = folder.join("secret");
    std::fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    let text = format!(
        "[journal]\npartitions = [\"acme\"]\n[[webhook]]\nname = \"quotas\"\n\
         url = \"http://{}/\"\npartitions = [\"acme\"]\ncommands = [\"quotas.*\"]\n\
         secret_file = {secret:?}\nstart = \"first\"\nretry_min = \"1ms\"\nretry_max = \"50ms\"\n",
        listener.local_addr().unwrap()
    );
    let file = folder.join("bellpunch.toml");
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_message_and_cursor_tells_again_under_the_same_id() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = settings(folder.path(), &listener).await;
    let store = crate::disk(&folder.path().join("data"));
    let start = || Server::with(&store, &["--config", &config]);
    let server = start();
    let mut client = Http::connect(server.address).await.unwrap();
    client.post("/v1/acme/quotas", json!({ "id": "q", "limit": 10 })).await;
    let first = Told::next(&listener).await;
    assert_eq!((first.seq(), &first.body["type"]), (1, &json!("quotas.create")));
    server.kill();
    let server = start();
    let again = Told::next(&listener).await;
    assert_eq!((&again.id, &again.body), (&first.id, &first.body));
    again.answer().await;
    let mut client = Http::connect(server.address).await.unwrap();
    client.post("/v1/acme/quotas/q/consume", json!({ "units": 1 })).await;
    let next = Told::next(&listener).await;
    assert_eq!(next.seq(), 2);
    assert_ne!(next.id, first.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_any_moment_skip_nothing() {
    let mut random = Random::seeded();
    let kills = crate::asked("BELLPUNCH_WEBHOOK_KILLS", KILLS);
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = settings(folder.path(), &listener).await;
    let store = crate::disk(&folder.path().join("data"));
    let (mut told, mut repeats): (BTreeMap<u64, String>, u64) = (BTreeMap::new(), 0);
    let mut accepted = 0_u64;
    for _ in 0..kills {
        let server = Server::with(&store, &["--config", &config]);
        let mut client = Http::connect(server.address).await.unwrap();
        if accepted == 0 {
            client.post("/v1/acme/quotas", json!({ "id": "q", "limit": 1_000_000 })).await;
            accepted = 1;
        }
        for _ in 0..5 {
            let consume = json!({ "units": 1 });
            let (status, _) = client.post("/v1/acme/quotas/q/consume", consume).await;
            assert_eq!(status, 200);
            accepted += 1;
        }
        // The moment is a number of messages: the last of them is answered, or never will be.
        let taken = 1 + random.below(5);
        for count in 1..=taken {
            let message = Told::next(&listener).await;
            let place = message.seq();
            assert!(place <= told.len() as u64 + 1, "{place} after {} places", told.len());
            match told.get(&place) {
                Some(id) => {
                    assert_eq!(*id, message.id, "told again under the same id");
                    repeats += 1;
                }
                None => drop(told.insert(place, message.id.clone())),
            }
            if count < taken || random.below(2) == 0 {
                message.answer().await;
            }
        }
        server.kill();
    }
    let _server = Server::with(&store, &["--config", &config]);
    while (told.len() as u64) < accepted {
        let message = Told::next(&listener).await;
        told.insert(message.seq(), message.id.clone());
        message.answer().await;
    }
    let places: Vec<u64> = told.keys().copied().collect();
    assert_eq!(places, (1..=accepted).collect::<Vec<_>>());
    println!("{kills} kills, {accepted} messages, {repeats} told again");
}
