//! Clients that use everything: quotas, rate limits, tickets, uploads and lists, in several
//! partitions, each command under a key of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bellpunch_check::recorder::Recorder;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::judge::{PAYLOAD, Summary};
use crate::random::Random;
use crate::server::Server;
use crate::teller::{Ask, Teller, Told};

pub(crate) const PARTITIONS: [&str; 3] = ["hot", "warm", "cold"];
/// Uploads have one of their own.
pub(crate) const UPLOADS: &str = "uploads";
/// So few that it is soon used up.
const SMALL: u64 = 40;
/// Of half of all requests nothing is lost.
const ATTEMPTS_MAX: u32 = 200;

/// What the clients share.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) recorder: Arc<Recorder>,
    /// Answers of any kind.
    answers: watch::Sender<usize>,
    tickets: Mutex<Vec<(String, String)>>,
}

impl World {
    pub(crate) fn new(recorder: &Arc<Recorder>) -> Arc<Self> {
        let recorder = Arc::clone(recorder);
        Arc::new(Self { recorder, answers: watch::Sender::new(0), tickets: Mutex::default() })
    }

    /// Makes the quotas and policies.
    pub(crate) async fn furnish(&self, address: SocketAddr) {
        let mut teller = Teller::new("setup", address, &self.recorder);
        for partition in PARTITIONS {
            teller.must(&Ask::quota(partition, "large", 1_000_000_000)).await;
            teller.must(&Ask::quota(partition, "small", SMALL)).await;
            teller.must(&Ask::kept_quota(partition, "kept", 1_000_000_000)).await;
            let rate = json!({ "algorithm": "gcra", "rate": 30, "period_ms": 1_000 });
            teller.must(&Ask::policy(partition, "rate", rate)).await;
            let log = json!({ "algorithm": "sliding_log", "limit": 3, "period_ms": 250 });
            teller.must(&Ask::policy(partition, "log", log)).await;
        }
        teller.must(&Ask::quota(UPLOADS, "transfers", 1_000_000_000)).await;
    }

    /// Waits until so many more answers were told.
    pub(crate) async fn answered(&self, more: usize) {
        let mut answers = self.answers.subscribe();
        let aim = *answers.borrow() + more;
        let told = answers.wait_for(|answers| aim <= *answers);
        tokio::time::timeout(crate::PATIENCE, told).await.unwrap().unwrap();
    }
}

/// A client that goes on over the ends of its server.
#[derive(Debug)]
pub(crate) struct Client {
    name: String,
    world: Arc<World>,
    random: Random,
    turn: u64,
    /// An upload under way, and how many of its steps are done.
    upload: Option<(String, u64)>,
    /// Commands of whose outcome nobody was told.
    pub(crate) open: Vec<Ask>,
}

impl Client {
    pub(crate) fn several(count: u64, world: &Arc<World>, random: &mut Random) -> Vec<Self> {
        let client = |number| Self {
            name: format!("c{number}"),
            world: Arc::clone(world),
            random: random.fork(),
            turn: 0,
            upload: None,
            open: Vec::new(),
        };
        (0..count).map(client).collect()
    }

    /// Starts work with a server, each on a task of its own.
    pub(crate) fn start(clients: &mut Vec<Self>, address: SocketAddr) -> JoinSet<Self> {
        let mut working = JoinSet::new();
        for mut client in clients.drain(..) {
            working.spawn(async move {
                client.work(address).await;
                client
            });
        }
        working
    }

    /// Sends until the server is gone: first some of what is open, then new commands.
    pub(crate) async fn work(&mut self, address: SocketAddr) {
        let mut teller = Teller::new(&self.name, address, &self.world.recorder);
        for ask in std::mem::take(&mut self.open) {
            // The rest is left for later, so that some keys are long unanswered.
            if self.random.below(2) == 0 || !self.tell(&mut teller, ask.clone()).await {
                self.open.push(ask);
            }
        }
        loop {
            let ask = self.next();
            if !teller.connect().await {
                return;
            }
            if !self.tell(&mut teller, ask.clone()).await {
                self.open.push(ask);
                return;
            }
        }
    }

    /// Sends so many commands, each until it is answered, or almost each.
    pub(crate) async fn insist(
        &mut self,
        address: SocketAddr,
        (commands, patience): (u64, Duration),
    ) {
        let teller = Teller::new(&self.name, address, &self.world.recorder);
        let mut teller = teller.patient(patience);
        for _ in 0..commands {
            let ask = self.next();
            let mut attempts = 0;
            while !self.tell(&mut teller, ask.clone()).await {
                // Now and then it gives up: then its key tells in the end.
                if self.random.below(16) == 0 {
                    self.open.push(ask);
                    break;
                }
                attempts += 1;
                assert!(attempts < ATTEMPTS_MAX, "never answered: {ask:?}");
            }
        }
    }

    /// Sends it once; whether it was answered.
    async fn tell(&mut self, teller: &mut Teller, ask: Ask) -> bool {
        let told = teller.tell(&ask).await;
        match &told {
            Told::Accepted(reply) => {
                if let Some(id) = reply["ticket"]["id"].as_str()
                    && reply["ticket"]["status"] == "approved"
                {
                    let ticket = (ask.partition.clone(), id.to_owned());
                    self.world.tickets.lock().unwrap().push(ticket);
                }
            }
            Told::Refused(..) => {}
            Told::Failed(_) | Told::Unknown => return false,
        }
        self.world.answers.send_modify(|answers| *answers += 1);
        true
    }

    fn next(&mut self) -> Ask {
        self.turn += 1;
        let partition = self.random.one_of(&PARTITIONS);
        let units = 1 + self.random.below(5);
        let ask = match self.random.below(100) {
            0..30 => Ask::consume(partition, "large", units),
            30..38 => Ask::consume(partition, "small", units),
            38..48 => Ask::consume(partition, "kept", units),
            48..60 => Ask::pass(partition, "rate", self.random.one_of(&["a", "b", "c"])),
            60..66 => Ask::pass(partition, "log", self.random.one_of(&["a", "b"])),
            66..76 => Ask::issue(partition, 3_600_000),
            76..86 => self.redeem(units),
            86..93 => self.list(partition, units),
            _ => self.upload(),
        };
        ask.keyed(&format!("{}-{}", self.name, self.turn))
    }

    fn ticket(&mut self) -> Option<(String, String)> {
        let tickets = self.world.tickets.lock().unwrap();
        (!tickets.is_empty()).then(|| self.random.one_of(&tickets))
    }

    fn redeem(&mut self, units: u64) -> Ask {
        match self.ticket() {
            Some((partition, ticket)) => Ask::redeem(&partition, &ticket, units),
            None => Ask::issue(PARTITIONS[0], 3_600_000),
        }
    }

    /// Takes from two quotas, and redeems: the second or the third may say no.
    fn list(&mut self, partition: &str, units: u64) -> Ask {
        let ticket = self.ticket();
        let partition = ticket.as_ref().map_or(partition, |(partition, _)| partition);
        let mut all =
            vec![Ask::consume(partition, "large", units), Ask::consume(partition, "kept", 1)];
        if let Some((_, ticket)) = &ticket {
            all.push(Ask::redeem(partition, ticket, units));
        }
        Ask::list(partition, &all)
    }

    /// The next step of an upload; of one that was cut short, nothing more.
    fn upload(&mut self) -> Ask {
        let (id, step) = match self.upload.take() {
            Some((id, step))
                if step < 3 && !self.open.iter().any(|ask| ask.partition == UPLOADS) =>
            {
                (id, step)
            }
            _ => (format!("u-{}-{}", self.name, self.turn), 0),
        };
        let ask = match step {
            0 => Ask::declare(UPLOADS, &id, "transfers"),
            1 => Ask::publish(UPLOADS, &id, PAYLOAD),
            _ => Ask::complete(UPLOADS, &id),
        };
        self.upload = Some((id, step + 1));
        ask
    }
}

/// The end of a run: nothing is on its way, so each open key is asked for and all quotas are read.
/// Then the server ends, and what is left in its folder is judged.
pub(crate) async fn end(
    server: Server,
    (world, clients): (Arc<World>, Vec<Client>),
    folder: &Path,
) -> Summary {
    let mut teller = Teller::new("end", server.address, &world.recorder);
    for ask in clients.iter().flat_map(|client| &client.open) {
        teller.resolve(&ask.partition, ask.key.as_ref().unwrap()).await;
    }
    for partition in PARTITIONS {
        for quota in ["large", "small", "kept"] {
            teller.read(partition, ("quotas", quota)).await;
        }
    }
    assert!(tokio::task::spawn_blocking(|| server.terminate()).await.unwrap().success());
    crate::judge::judge(world.recorder.so_far(), &crate::disk(folder))
}
