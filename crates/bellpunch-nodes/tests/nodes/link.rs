//! A network between node and engine that loses replies, cuts, holds things up and swallows.
//!
//! It knows nothing of what it carries: what a node sends in one go is a request, what comes back
//! next its reply. Nothing is sent twice, which a stream of bytes cannot survive: a node that was
//! told nothing sends again itself, and what was held up comes after that.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::random::Random;

/// The longest piece that is carried at once.
const PIECE: usize = 1 << 20;

/// What becomes of a request and its reply.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Fault {
    /// The reply is lost, and the connection with it.
    DropReply,
    /// The request is passed on, and the connection cut at once.
    Cut,
    /// The reply comes later than the node waits.
    HoldReply,
    /// The request comes later than the node waits, after it was sent again.
    HoldRequest,
    /// The request is passed on, its reply never, and the connection stays open.
    SwallowReply,
    /// The request is not even passed on.
    SwallowRequest,
}

const FAULTS: [Fault; 6] = [
    Fault::DropReply,
    Fault::Cut,
    Fault::HoldReply,
    Fault::HoldRequest,
    Fault::SwallowReply,
    Fault::SwallowRequest,
];
pub(crate) const FAULTS_COUNT: usize = FAULTS.len();

/// What a link shares with its connections.
#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    random: Mutex<Random>,
    counts: Mutex<BTreeMap<Fault, usize>>,
    bad: AtomicBool,
    /// One of so many requests meets a fault.
    one_in: u64,
    /// Longer than a node waits.
    hold: Duration,
    /// Faults that last.
    under_way: watch::Sender<usize>,
}

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    accept: tokio::task::JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

impl Link {
    /// To an engine at this port; good until it is said to be bad.
    pub(crate) async fn start(port: u16, random: Random, (one_in, hold): (u64, Duration)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            upstream: SocketAddr::from(([127, 0, 0, 1], port)),
            random: Mutex::new(random),
            counts: Mutex::default(),
            bad: AtomicBool::new(false),
            one_in,
            hold,
            under_way: watch::Sender::new(0),
        });
        let accepted = Arc::clone(&shared);
        let accept = tokio::spawn(async move {
            while let Ok((node, _)) = listener.accept().await {
                let shared = Arc::clone(&accepted);
                // How a connection ended is what this is for.
                tokio::spawn(async move { drop(shared.carry(node).await) });
            }
        });
        Self { port: own, shared, accept }
    }

    pub(crate) fn turn_bad(&self) {
        self.shared.bad.store(true, Ordering::Relaxed);
    }

    /// No more faults: waits until the last one is over; gives how often each came.
    pub(crate) async fn turn_good(&self) -> BTreeMap<Fault, usize> {
        self.shared.bad.store(false, Ordering::Relaxed);
        let mut under_way = self.shared.under_way.subscribe();
        let quiet = under_way.wait_for(|count| *count == 0);
        tokio::time::timeout(crate::PATIENCE, quiet).await.unwrap().unwrap();
        self.shared.counts.lock().unwrap().clone()
    }
}

/// A fault that lasts; over when it is dropped.
struct UnderWay<'a>(&'a Shared);

impl<'a> UnderWay<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.under_way.send_modify(|count| *count += 1);
        Self(shared)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.send_modify(|count| *count -= 1);
    }
}

impl Shared {
    fn draw(&self) -> Option<Fault> {
        let mut random = self.random.lock().unwrap();
        let meets = self.bad.load(Ordering::Relaxed) && random.below(self.one_in) == 0;
        if !meets {
            return None;
        }
        // When is drawn; of what kind, one after another, so that few are enough.
        let mut counts = self.counts.lock().unwrap();
        let fault = FAULTS[counts.values().sum::<usize>() % FAULTS.len()];
        *counts.entry(fault).or_default() += 1;
        Some(fault)
    }

    async fn carry(&self, mut node: TcpStream) -> std::io::Result<()> {
        let mut engine = TcpStream::connect(self.upstream).await?;
        node.set_nodelay(true)?;
        engine.set_nodelay(true)?;
        let (mut request, mut reply) = (vec![0; PIECE], vec![0; PIECE]);
        loop {
            let bytes = tokio::select! {
                read = node.read(&mut request) => read?,
                read = engine.read(&mut reply) => match read? {
                    0 => return Ok(()),
                    bytes => {
                        node.write_all(&reply[..bytes]).await?;
                        continue;
                    }
                },
            };
            if bytes == 0 {
                return Ok(());
            }
            let request = &request[..bytes];
            let Some(fault) = self.draw() else {
                engine.write_all(request).await?;
                continue;
            };
            let _under_way = UnderWay::new(self);
            match fault {
                Fault::DropReply => {
                    engine.write_all(request).await?;
                    return engine.read(&mut reply).await.map(drop);
                }
                Fault::Cut => return engine.write_all(request).await,
                Fault::HoldReply => {
                    engine.write_all(request).await?;
                    tokio::time::sleep(self.hold).await;
                }
                Fault::HoldRequest => {
                    tokio::time::sleep(self.hold).await;
                    engine.write_all(request).await?;
                    let bytes = engine.read(&mut reply).await?;
                    node.write_all(&reply[..bytes]).await?;
                }
                Fault::SwallowReply | Fault::SwallowRequest => {
                    if fault == Fault::SwallowReply {
                        engine.write_all(request).await?;
                    }
                    tokio::time::sleep(self.hold * 2).await;
                    return Ok(());
                }
            }
        }
    }
}
