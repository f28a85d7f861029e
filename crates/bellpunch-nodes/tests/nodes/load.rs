//! Callers of several nodes at once: one hot quota and rate limit, and quotas, tickets and lists
//! spread over partitions. Each command has a key of its own, and whoever gets no answer from one
//! node asks the next, with the same key.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bellpunch_check::recorder::Recorder;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cluster::{Cluster, Places, Start};
use crate::engine::Engine;
use crate::judge::Summary;
use crate::random::Random;
use crate::teller::{Ask, Teller, Told};

/// Where all meet.
const HOT: &str = "hot";
/// Where they seldom do.
const SPREAD: [&str; 6] = ["p0", "p1", "p2", "p3", "p4", "p5"];
/// So few that it is soon used up.
const SMALL: u64 = 60;
/// How long a command may be without an answer from any node.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// A retry waits so much longer than the one before it, at most ten times that.
const RETRY_PAUSE: Duration = Duration::from_millis(5);

/// What callers saw of the nodes.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Answers of each node.
    pub(crate) answers: BTreeMap<usize, usize>,
    /// What was no answer, by code.
    pub(crate) troubles: BTreeMap<String, usize>,
    /// The longest from the first attempt to the answer.
    pub(crate) longest: Duration,
}

/// What the callers share.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) recorder: Arc<Recorder>,
    places: Places,
    answers: watch::Sender<usize>,
    tickets: Mutex<Vec<(String, String)>>,
    seen: Mutex<Seen>,
    stop: AtomicBool,
}

impl World {
    /// Makes the quotas and policies, at the first node.
    pub(crate) async fn furnish(recorder: &Arc<Recorder>, places: &Places) -> Arc<Self> {
        let mut teller = Teller::new("setup", places.of(0), recorder);
        for partition in partitions() {
            teller.must(&Ask::quota(partition, "large", 1_000_000_000)).await;
            teller.must(&Ask::kept_quota(partition, "kept", 1_000_000_000)).await;
        }
        teller.must(&Ask::quota(HOT, "small", SMALL)).await;
        // No counter is idle before the end: the sweeps of a server, which nobody sees from outside,
        // remove those that are, and a version that nobody told of cannot be decided on.
        let rate = json!({ "algorithm": "gcra", "rate": 120, "period_ms": 120_000 });
        teller.must(&Ask::policy(HOT, "rate", rate)).await;
        let log = json!({ "algorithm": "sliding_log", "limit": 60, "period_ms": 3_600_000 });
        teller.must(&Ask::policy(HOT, "log", log)).await;
        Arc::new(Self {
            recorder: Arc::clone(recorder),
            places: places.clone(),
            answers: watch::Sender::new(0),
            tickets: Mutex::default(),
            seen: Mutex::default(),
            stop: AtomicBool::new(false),
        })
    }

    /// Waits until so many more answers were told.
    pub(crate) async fn answered(&self, more: u64) {
        let mut answers = self.answers.subscribe();
        let aim = *answers.borrow() + usize::try_from(more).unwrap();
        let told = answers.wait_for(|answers| aim <= *answers);
        tokio::time::timeout(crate::PATIENCE, told).await.unwrap().unwrap();
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Answers that a node gave so far.
    pub(crate) fn answers_of(&self, node: usize) -> usize {
        self.seen.lock().unwrap().answers.get(&node).copied().unwrap_or_default()
    }

    /// What was seen, once.
    pub(crate) fn seen(&self) -> Seen {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    fn trouble(&self, code: &str) {
        *self.seen.lock().unwrap().troubles.entry(code.to_owned()).or_default() += 1;
    }

    fn answer(&self, node: usize, took: Duration) {
        let mut seen = self.seen.lock().unwrap();
        *seen.answers.entry(node).or_default() += 1;
        seen.longest = seen.longest.max(took);
        drop(seen);
        self.answers.send_modify(|answers| *answers += 1);
    }
}

pub(crate) fn partitions() -> impl Iterator<Item = &'static str> {
    std::iter::once(HOT).chain(SPREAD)
}

/// A caller that goes on over the ends of nodes and of the engine.
#[derive(Debug)]
pub(crate) struct Caller {
    name: String,
    /// The node that it asks first.
    home: usize,
    world: Arc<World>,
    random: Random,
    turn: u64,
    patience: Duration,
    /// Commands of whose outcome nobody was told.
    pub(crate) open: Vec<Ask>,
}

impl Caller {
    pub(crate) fn several(count: usize, world: &Arc<World>, random: &mut Random) -> Vec<Self> {
        let caller = |number| Self {
            name: format!("c{number}"),
            home: number % world.places.count(),
            world: Arc::clone(world),
            random: random.fork(),
            turn: 0,
            patience: crate::PATIENCE,
            open: Vec::new(),
        };
        (0..count).map(caller).collect()
    }

    /// Each waits so long for an answer of one node.
    pub(crate) fn patient(mut callers: Vec<Self>, patience: Duration) -> Vec<Self> {
        callers.iter_mut().for_each(|caller| caller.patience = patience);
        callers
    }

    /// Each sends so many commands on a task of its own, or until it is stopped.
    pub(crate) fn start(callers: Vec<Self>, commands: u64) -> JoinSet<Self> {
        let mut working = JoinSet::new();
        for mut caller in callers {
            working.spawn(async move {
                caller.work(commands).await;
                caller
            });
        }
        working
    }

    async fn work(&mut self, commands: u64) {
        let address = self.world.places.of(self.home);
        let mut teller = Teller::new(&self.name, address, &self.world.recorder);
        teller = teller.patient(self.patience);
        for _ in 0..commands {
            if self.world.stop.load(Ordering::Relaxed) {
                return;
            }
            if self.random.below(16) == 0 {
                self.look(&mut teller).await;
            }
            let ask = self.next();
            self.insist(&mut teller, ask).await;
        }
    }

    /// Sends it until it is answered, or almost always.
    async fn insist(&mut self, teller: &mut Teller, ask: Ask) {
        let begun = Instant::now();
        // Now and then it begins elsewhere: a node knows nothing that the others do not.
        let nodes = self.world.places.count();
        let away = usize::from(self.random.below(8) == 0);
        for attempt in 0.. {
            assert!(begun.elapsed() < ANSWER_MAX, "never answered: {ask:?}");
            let node = (self.home + away + attempt) % nodes;
            teller.turn_to(&format!("n{node}"), self.world.places.of(node));
            match teller.tell(&ask).await {
                Told::Accepted(reply) => {
                    self.world.answer(node, begun.elapsed());
                    self.keep_ticket(&ask, &reply);
                    return;
                }
                Told::Refused(..) => return self.world.answer(node, begun.elapsed()),
                Told::Failed(code) => self.world.trouble(&code),
                Told::Unknown => {
                    self.world.trouble("unknown");
                    // Now and then it gives up: then its key tells in the end.
                    if self.random.below(16) == 0 {
                        self.open.push(ask);
                        return;
                    }
                }
            }
            let pause = RETRY_PAUSE * u32::try_from(attempt.min(10)).unwrap();
            tokio::time::sleep(pause).await;
        }
    }

    fn keep_ticket(&self, ask: &Ask, reply: &serde_json::Value) {
        if let Some(id) = reply["ticket"]["id"].as_str()
            && reply["ticket"]["status"] == "approved"
        {
            let ticket = (ask.partition.clone(), id.to_owned());
            self.world.tickets.lock().unwrap().push(ticket);
        }
    }

    /// Reads what others write, at any node.
    async fn look(&mut self, teller: &mut Teller) {
        let nodes = u64::try_from(self.world.places.count()).unwrap();
        let node = usize::try_from(self.random.below(nodes)).unwrap();
        teller.turn_to(&format!("n{node}"), self.world.places.of(node));
        if let Err(code) = teller.look(HOT, ("quotas", "large")).await {
            self.world.trouble(&format!("read: {code}"));
        }
    }

    fn next(&mut self) -> Ask {
        self.turn += 1;
        let units = 1 + self.random.below(5);
        let spread = self.random.one_of(&SPREAD);
        let ask = match self.random.below(100) {
            0..30 => Ask::consume(HOT, "large", units),
            30..38 => Ask::consume(HOT, "small", units),
            38..48 => Ask::pass(HOT, "rate", self.random.one_of(&["a", "b"])),
            48..54 => Ask::pass(HOT, "log", "one"),
            54..68 => Ask::consume(spread, "large", units),
            68..74 => Ask::consume(spread, "kept", units),
            74..82 => Ask::issue(spread, 1 + self.random.below(3_600_000)),
            82..93 => self.redeem(units),
            _ => self.list(spread, units),
        };
        ask.keyed(&format!("{}-{}", self.name, self.turn))
    }

    /// Often one that others redeem, too.
    fn ticket(&mut self) -> Option<(String, String)> {
        let tickets = self.world.tickets.lock().unwrap();
        let late = tickets.len().saturating_sub(20);
        (!tickets.is_empty()).then(|| self.random.one_of(&tickets[late..]))
    }

    fn redeem(&mut self, units: u64) -> Ask {
        match self.ticket() {
            Some((partition, ticket)) => Ask::redeem(&partition, &ticket, units),
            None => Ask::issue(SPREAD[0], 3_600_000),
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
}

/// The end of a run: all nodes stop, and the engine has done what was sent to it. Then a fresh node
/// is asked for each open key and reads all quotas, and what is stored is judged.
pub(crate) async fn end(
    cluster: Cluster,
    engine: &Arc<Engine>,
    (world, callers): (Arc<World>, Vec<Caller>),
) -> Summary {
    cluster.end().await;
    judge(engine, (world, callers)).await
}

/// The same when the nodes have ended.
pub(crate) async fn judge(
    engine: &Arc<Engine>,
    (world, callers): (Arc<World>, Vec<Caller>),
) -> Summary {
    engine.quiet().await;
    let fresh = Cluster::start(Start::new(engine.url(), &engine.settings()), 1).await;
    let mut teller = Teller::new("end", fresh.places.of(0), &world.recorder);
    for ask in callers.iter().flat_map(|caller| &caller.open) {
        teller.resolve(&ask.partition, ask.key.as_ref().unwrap()).await;
    }
    for partition in partitions() {
        for quota in ["large", "kept"] {
            teller.read(partition, ("quotas", quota)).await;
        }
    }
    teller.read(HOT, ("quotas", "small")).await;
    fresh.end().await;
    let (history, url) = (world.recorder.so_far(), engine.url());
    crate::aside(move || crate::judge::judge(history, &url)).await
}
