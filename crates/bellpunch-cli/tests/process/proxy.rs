//! A network between client and server that delays, cuts, repeats and forgets.
//!
//! It reads HTTP/1.1 messages with a `content-length`, one at a time, and draws what becomes of
//! each.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::random::Random;

/// The longest message.
const MESSAGE_MAX: usize = 1 << 20;

/// What becomes of a request and its reply.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Fault {
    None,
    /// The request comes late.
    Delay,
    /// The request breaks off.
    CutRequest,
    /// The reply breaks off.
    CutReply,
    /// The reply is lost, and the connection with it.
    DropReply,
    /// The request comes twice at once, on two connections.
    Twice,
    /// The request comes again after its reply was told.
    Again,
    /// The reply is lost, and the connection stays open.
    HalfOpen,
}

const FAULTS: [Fault; 8] = [
    Fault::None,
    Fault::Delay,
    Fault::CutRequest,
    Fault::CutReply,
    Fault::DropReply,
    Fault::Twice,
    Fault::Again,
    Fault::HalfOpen,
];

/// What a proxy shares with its connections.
#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    random: Mutex<Random>,
    counts: Mutex<BTreeMap<Fault, usize>>,
    /// Requests that are on their way, repeated ones too.
    under_way: watch::Sender<usize>,
    /// How long a half-open connection stays so.
    patience: Duration,
}

#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    accept: tokio::task::JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

impl Proxy {
    pub(crate) async fn start(upstream: SocketAddr, random: Random, patience: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (random, counts) = (Mutex::new(random), Mutex::default());
        let under_way = watch::Sender::new(0);
        let shared = Arc::new(Shared { upstream, random, counts, under_way, patience });
        let accepted = Arc::clone(&shared);
        let accept = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let shared = Arc::clone(&accepted);
                tokio::spawn(async move {
                    let _ = client.set_nodelay(true);
                    // How a connection ended is what this is for.
                    let _ = shared.carry(client).await;
                });
            }
        });
        Self { address, shared, accept }
    }

    /// Waits until nothing is on its way any more; gives how often each fault came.
    pub(crate) async fn quiet(&self) -> BTreeMap<Fault, usize> {
        let mut under_way = self.shared.under_way.subscribe();
        let quiet = under_way.wait_for(|count| *count == 0);
        tokio::time::timeout(crate::PATIENCE, quiet).await.unwrap().unwrap();
        self.shared.counts.lock().unwrap().clone()
    }
}

/// A request on its way; over when it is dropped.
struct UnderWay(Arc<Shared>);

impl UnderWay {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.under_way.send_modify(|count| *count += 1);
        Self(Arc::clone(shared))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.send_modify(|count| *count -= 1);
    }
}

impl Shared {
    fn draw(&self, bytes: usize) -> (Fault, usize, Duration) {
        let mut random = self.random.lock().unwrap();
        // Half of all requests go through.
        let fault = if random.below(2) == 0 { Fault::None } else { random.one_of(&FAULTS) };
        *self.counts.lock().unwrap().entry(fault).or_default() += 1;
        let place = usize::try_from(random.below(u64::try_from(bytes).unwrap())).unwrap();
        (fault, place, Duration::from_millis(random.below(30)))
    }

    async fn carry(self: &Arc<Self>, mut client: TcpStream) -> std::io::Result<()> {
        let mut server = TcpStream::connect(self.upstream).await?;
        server.set_nodelay(true)?;
        loop {
            let request = message(&mut client).await?;
            let under_way = UnderWay::new(self);
            let (fault, place, delay) = self.draw(request.len());
            match fault {
                Fault::None => {}
                Fault::Delay => tokio::time::sleep(delay).await,
                Fault::CutRequest => return server.write_all(&request[..place]).await,
                Fault::Twice => {
                    let (one, other) = tokio::join!(self.ask(&request), self.ask(&request));
                    // What had an effect is told: nothing happens behind the client's back.
                    let (one, other) = (one?, other?);
                    client.write_all(if is_yes(&one) { &one } else { &other }).await?;
                    continue;
                }
                Fault::CutReply | Fault::DropReply | Fault::Again | Fault::HalfOpen => {}
            }
            server.write_all(&request).await?;
            let reply = message(&mut server).await?;
            match fault {
                Fault::CutReply => {
                    let place = place.min(reply.len() - 1);
                    return client.write_all(&reply[..place]).await;
                }
                Fault::DropReply => return Ok(()),
                Fault::HalfOpen => {
                    drop(under_way);
                    tokio::time::sleep(self.patience * 2).await;
                    return Ok(());
                }
                // A refused one might pass now, and nobody would be told.
                Fault::Again if is_yes(&reply) => {
                    let shared = Arc::clone(self);
                    tokio::spawn(async move {
                        tokio::time::sleep(delay).await;
                        let _ = shared.ask(&request).await;
                        drop(under_way);
                    });
                }
                Fault::None | Fault::Delay | Fault::CutRequest | Fault::Twice | Fault::Again => {}
            }
            client.write_all(&reply).await?;
        }
    }

    /// Asks on a connection of its own.
    async fn ask(&self, request: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut server = TcpStream::connect(self.upstream).await?;
        server.write_all(request).await?;
        message(&mut server).await
    }
}

fn is_yes(reply: &[u8]) -> bool {
    reply.starts_with(b"HTTP/1.1 2")
}

/// One message: a head and as many bytes as it says.
async fn message(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut length = None;
    while length != Some(bytes.len()) {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        assert!(bytes.len() < MESSAGE_MAX, "messages are short");
        if length.is_none()
            && let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n")
        {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
            let body = head.split("content-length:").nth(1).map_or(0, |rest| {
                let digits = rest.trim_start().split("\r\n").next().unwrap();
                digits.trim().parse().unwrap()
            });
            length = Some(end + 4 + body);
        }
    }
    Ok(bytes)
}
