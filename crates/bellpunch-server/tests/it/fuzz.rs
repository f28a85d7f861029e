//! Broken bytes at a socket: answered or closed, never a panic.
//!
//! Bounded by a count; by time where `BELLPUNCH_FUZZ_SECONDS` is set.

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::Server;
use crate::shapes::seed;

/// Connections in the normal run, and at once.
const COUNT: u64 = 512;
const AT_ONCE: usize = 64;

static PANICS: AtomicU64 = AtomicU64::new(0);

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap() % bound.max(1)
    }
}

const REQUESTS: [&str; 9] = [
    "GET /v1/p/quotas/q HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /v1/p/uploads/u/payload HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-1,5-\r\n\r\n",
    "POST /v1/p/quotas HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
     Content-Length: 20\r\n\r\n{\"id\":\"q\",\"limit\":9}",
    "POST /v1/p/commands HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
     Transfer-Encoding: chunked\r\nIdempotency-Key: \"a\\\"b\";x=1\r\n\r\n\
     c\r\n{\"commands\":\r\n2\r\n[]\r\n1\r\n}\r\n0\r\n\r\n",
    "PUT /v1/p/uploads/u/payload?owner=%6f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\
     Content-Digest: sha-256=:AAAA:\r\nExpect: 100-continue\r\n\r\nabc",
    "POST /v1/p/quotas/q/consume?dry_run=true HTTP/1.1\r\nHost: [::1]:7\r\nIf-Match: W/\"1\", *\r\n\
     Bellpunch-Timeout-Ms: 5\r\nContent-Length: 0\r\n\r\n",
    "DELETE /v1/%5F/policies/%00 HTTP/1.0\r\nBellpunch-Secret: \u{e9}\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0",
    "GET /v1/partitions?limit=1&after=_&prefix=%ff HTTP/1.1\r\nHost: localhost\r\n\r\n",
];

fn broken(random: &mut Random) -> Vec<u8> {
    let mut bytes = REQUESTS[random.below(REQUESTS.len())].as_bytes().to_vec();
    for _ in 0..random.below(5) {
        let at = random.below(bytes.len() + 1);
        match random.below(5) {
            0 => bytes.truncate(at),
            1 => {
                bytes.drain(at..(at + random.below(8)).min(bytes.len()));
            }
            2 => {
                let noise: Vec<u8> =
                    (0..random.below(12)).map(|_| random.below(256).to_le_bytes()[0]).collect();
                bytes.splice(at..at, noise);
            }
            3 => {
                let other = REQUESTS[random.below(REQUESTS.len())].as_bytes();
                bytes.splice(at..at, other[random.below(other.len())..].iter().copied());
            }
            _ if at < bytes.len() => bytes[at] = random.below(256).to_le_bytes()[0],
            _ => {}
        }
    }
    bytes
}

async fn send(server: &Server, bytes: Vec<u8>) -> usize {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let _ = stream.write_all(&bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "neither answered nor closed: {:?}", String::from_utf8_lossy(&bytes));
    answer.len()
}

#[tokio::test]
async fn broken_requests_are_answered_or_closed() {
    let earlier = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // What a test asserts panics in a file of the tests; what serves does not.
        if info.location().is_some_and(|location| !location.file().contains("tests/it")) {
            PANICS.fetch_add(1, Ordering::Relaxed);
        }
        earlier(info);
    }));
    let server = Server::start().await;
    let mut random = Random(seed());
    let seconds = std::env::var_os("BELLPUNCH_FUZZ_SECONDS");
    let seconds: Option<u64> = seconds.and_then(|text| text.to_str()?.parse().ok());
    let begun = tokio::time::Instant::now();
    let (mut sent, mut answered) = (0_u64, 0_u64);
    loop {
        let done = match seconds {
            Some(seconds) => Duration::from_secs(seconds) <= begun.elapsed(),
            None => COUNT <= sent,
        };
        if done {
            break;
        }
        let requests: Vec<_> = (0..AT_ONCE).map(|_| broken(&mut random)).collect();
        let sends = requests.into_iter().map(|bytes| send(&server, bytes));
        for length in futures_util::future::join_all(sends).await {
            sent += 1;
            answered += u64::from(0 < length);
        }
        assert_eq!(PANICS.load(Ordering::Relaxed), 0);
    }
    let _ = writeln!(std::io::stderr(), "{sent} connections, {answered} answered");
    assert_eq!(server.get("/health/ready").await.status, 200);
}
