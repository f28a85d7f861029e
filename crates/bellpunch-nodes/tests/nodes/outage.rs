//! Nodes that end, stand still, and are replaced one after another, under load.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bellpunch_check::recorder::Recorder;
use serde_json::Value;

use crate::cluster::{Cluster, Start};
use crate::engine::{Engine, Kind};
use crate::load::{Caller, World};
use crate::random::Random;
use crate::teller::{Ask, Teller, Told, recorder};

/// In a normal run; `BELLPUNCH_NODES_KILLS=20` is the full one.
const KILLS: u64 = 4;
/// In a normal run; `BELLPUNCH_NODES_PAUSES=10` is the full one.
const PAUSES: u64 = 2;
/// Replacements of all nodes in a normal run; `BELLPUNCH_NODES_ROLLS=5` is the full one.
const ROLLS: u64 = 1;
const CALLERS: usize = 24;
/// Tickets, each in a partition of its own: a commit each.
const TICKETS: usize = 96;
/// Redemptions under way at once.
const REDEEMING: usize = 8;
const TTL_MS: u64 = 1_000;
/// How long a node waits for its store.
const STORE_TIMEOUT: &str = "store.timeout=500ms";
/// How long a node lets a caller wait.
const HTTP_TIMEOUT: &str = "http.timeout=1s";
/// Longer than every time-out of a node.
const PAUSE: Duration = Duration::from_millis(2_500);

on_each_engine!(
    killed_nodes_lose_nothing_and_double_nothing,
    paused_nodes_harm_nothing,
    a_paused_node_redeems_nothing_late,
    a_rolling_restart_fails_no_caller,
);

async fn killed_nodes_lose_nothing_and_double_nothing(kind: Kind) {
    let mut random = Random::seeded();
    let kills = crate::asked("BELLPUNCH_NODES_KILLS", KILLS);
    let engine = Engine::start(kind).await;
    let start = Start::new(engine.url(), &engine.settings());
    let mut cluster = Cluster::start(start, 3).await;
    let recorder = recorder();
    let world = World::furnish(&recorder, &cluster.places).await;
    let callers = Caller::several(CALLERS, &world, &mut random);
    let begun = Instant::now();
    let working = Caller::start(callers, u64::MAX);
    for kill in 0..kills {
        // The moment is a number of answers: the kill comes while others are under way.
        world.answered(random.below(200)).await;
        let node = random.one_of(&[0, 1, 2]);
        recorder.fault(&format!("kill {kill}: n{node}"));
        cluster.kill(node).await;
        // The others go on.
        world.answered(random.below(100)).await;
        cluster.again(node).await;
        answers_again(&world, node).await;
    }
    world.stop();
    let callers = working.join_all().await;
    let (took, seen) = (begun.elapsed(), world.seen());
    let summary = crate::load::end(cluster, &engine, (world, callers)).await;
    println!("{kind:?}, {kills} kills in {took:?}: {seen:?} {summary:?}");
}

async fn answers_again(world: &World, node: usize) {
    let before = world.answers_of(node);
    crate::until("a node that answers again", async || before < world.answers_of(node)).await;
}

async fn paused_nodes_harm_nothing(kind: Kind) {
    let mut random = Random::seeded();
    let pauses = crate::asked("BELLPUNCH_NODES_PAUSES", PAUSES);
    let engine = Engine::start(kind).await;
    let start = Start::new(engine.url(), &engine.settings()).with(&[STORE_TIMEOUT, HTTP_TIMEOUT]);
    let cluster = Cluster::start(start, 3).await;
    let recorder = recorder();
    let world = World::furnish(&recorder, &cluster.places).await;
    let callers = Caller::several(CALLERS, &world, &mut random);
    let working = Caller::start(Caller::patient(callers, Duration::from_secs(1)), u64::MAX);
    for pause in 0..pauses {
        world.answered(random.below(200)).await;
        let node = random.one_of(&[0, 1, 2]);
        recorder.fault(&format!("SIGSTOP {pause}: n{node}"));
        cluster.node(node).signal("STOP");
        let begun = tokio::time::Instant::now();
        // The others go on meanwhile, hot records too.
        world.answered(200).await;
        // As long as the fault lasts: all time-outs of the node are over.
        tokio::time::sleep_until(begun + PAUSE).await;
        recorder.fault(&format!("SIGCONT {pause}: n{node}"));
        cluster.node(node).signal("CONT");
        answers_again(&world, node).await;
    }
    world.stop();
    let callers = working.join_all().await;
    let seen = world.seen();
    let summary = crate::load::end(cluster, &engine, (world, callers)).await;
    println!("{kind:?}, {pauses} pauses: {seen:?} {summary:?}");
    assert!(seen.troubles.contains_key("unknown"), "somebody asked the node that stood still");
}

async fn a_paused_node_redeems_nothing_late(kind: Kind) {
    let mut random = Random::seeded();
    let pauses = crate::asked("BELLPUNCH_NODES_PAUSES", PAUSES);
    let engine = Engine::start(kind).await;
    // Callers wait for the end of the pause, and are told what became of their command.
    let start = Start::new(engine.url(), &engine.settings()).with(&[STORE_TIMEOUT]);
    let cluster = Cluster::start(start, 2).await;
    let recorder = recorder();
    let (mut before, mut late, mut told) = (0, 0, 0);
    for pause in 0..pauses {
        let tickets = issue(&cluster, &recorder, pause).await;
        let turns = Arc::new(tokio::sync::Semaphore::new(REDEEMING));
        let answers = tokio::sync::watch::Sender::new(0_usize);
        let mut working = tokio::task::JoinSet::new();
        for (number, ticket) in tickets.iter().cloned().enumerate() {
            let (address, recorder) = (cluster.places.of(0), Arc::clone(&recorder));
            let (answers, turns) = (answers.clone(), Arc::clone(&turns));
            working.spawn(async move {
                let name = format!("r{pause}-{number}");
                let _turn = turns.acquire().await.unwrap();
                let mut teller = Teller::new(&name, address, &recorder);
                let ask = Ask::redeem(&partition(number), &ticket, 1).keyed(&name);
                let told = teller.tell(&ask).await;
                answers.send_modify(|answers| *answers += 1);
                (number, ticket, told)
            });
        }
        let aim = usize::try_from(random.below(u64::try_from(TICKETS / 4).unwrap())).unwrap();
        let mut seen = answers.subscribe();
        let enough = seen.wait_for(|answers| aim <= *answers);
        tokio::time::timeout(crate::PATIENCE, enough).await.unwrap().unwrap();
        recorder.fault(&format!("SIGSTOP {pause}"));
        cluster.node(0).signal("STOP");
        // As long as the fault lasts: all tickets end meanwhile.
        tokio::time::sleep(PAUSE.max(Duration::from_millis(TTL_MS))).await;
        engine.quiet().await;
        let then = used(&cluster, &recorder, &tickets).await;
        cluster.node(0).signal("CONT");
        recorder.fault(&format!("SIGCONT {pause}"));
        let outcomes = working.join_all().await;
        engine.quiet().await;
        let now = used(&cluster, &recorder, &tickets).await;
        assert_eq!(then, now, "what was not used when its time was over is never used");
        for (number, ticket, outcome) in outcomes {
            match outcome {
                Told::Accepted(reply) => {
                    assert!(now[number], "{ticket}: {reply}");
                    told += 1;
                }
                Told::Refused(code, reply) => {
                    assert_eq!(code, "ticket_expired", "{reply}");
                    assert!(!now[number], "{ticket}: {reply}");
                    late += 1;
                }
                // The node let its caller go, or lost what it sent.
                Told::Unknown => {}
                Told::Failed(_) => assert!(!now[number], "{ticket} was used: {outcome:?}"),
            }
        }
        before += now.iter().filter(|used| **used).count();
    }
    println!("{kind:?}, {pauses} pauses: {before} used in time, {told} told so, {late} refused");
    cluster.end().await;
    assert!(0 < before && before < TICKETS * usize::try_from(pauses).unwrap(), "in the midst");
}

fn partition(number: usize) -> String {
    format!("t{number}")
}

async fn issue(cluster: &Cluster, recorder: &Arc<Recorder>, pause: u64) -> Vec<String> {
    let mut working = tokio::task::JoinSet::new();
    for number in 0..TICKETS {
        let (address, recorder) = (cluster.places.of(1), Arc::clone(recorder));
        working.spawn(async move {
            let name = format!("i{pause}-{number}");
            let mut teller = Teller::new(&name, address, &recorder);
            let issued = teller.must(&Ask::issue(&partition(number), TTL_MS).keyed(&name)).await;
            (number, issued["ticket"]["id"].as_str().unwrap().to_owned())
        });
    }
    let mut issued = working.join_all().await;
    issued.sort();
    issued.into_iter().map(|(_, ticket)| ticket).collect()
}

/// Which tickets are used, as the other node sees it.
async fn used(cluster: &Cluster, recorder: &Arc<Recorder>, tickets: &[String]) -> Vec<bool> {
    let mut teller = Teller::new("look", cluster.places.of(1), recorder);
    let mut used = Vec::new();
    for (number, ticket) in tickets.iter().enumerate() {
        let read = teller.read(&partition(number), ("tickets", ticket)).await;
        let is_used = read["ticket"]["status"] == "used";
        assert_eq!(is_used, read["ticket"]["used_at"].is_string(), "{read}");
        if is_used {
            let (at, end) = (&read["ticket"]["used_at"], &read["ticket"]["expires_at"]);
            assert!(time(at) < time(end), "{read}");
        }
        used.push(is_used);
    }
    used
}

pub(crate) fn time(value: &Value) -> bellpunch::Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

async fn a_rolling_restart_fails_no_caller(kind: Kind) {
    let mut random = Random::seeded();
    let rolls = crate::asked("BELLPUNCH_NODES_ROLLS", ROLLS);
    let engine = Engine::start(kind).await;
    let start = Start::new(engine.url(), &engine.settings());
    let mut cluster = Cluster::start(start, 4).await;
    let recorder = recorder();
    let world = World::furnish(&recorder, &cluster.places).await;
    let callers = Caller::several(CALLERS, &world, &mut random);
    let working = Caller::start(callers, u64::MAX);
    let mut slowest = Duration::ZERO;
    for roll in 0..rolls {
        for node in 0..4 {
            world.answered(random.below(150)).await;
            recorder.fault(&format!("SIGTERM {roll}: n{node}"));
            let took = cluster.terminate(node).await;
            assert!(took <= Duration::from_secs(5), "{took:?}");
            slowest = slowest.max(took);
            if random.below(2) == 0 {
                cluster.again(node).await;
            } else {
                cluster.elsewhere(node).await;
            }
            answers_again(&world, node).await;
        }
    }
    world.stop();
    let callers = working.join_all().await;
    let seen = world.seen();
    let summary = crate::load::end(cluster, &engine, (world, callers)).await;
    println!("{kind:?}, {rolls} rolls, at most {slowest:?}: {seen:?} {summary:?}");
    // Whoever is told one of these asks elsewhere, and is answered there.
    let may_come = ["contended", "draining", "not_connected", "unknown"];
    let come = seen.troubles.keys().map(|code| code.trim_start_matches("read: "));
    for code in come {
        assert!(may_come.contains(&code) || code == "cut", "{code}: {:?}", seen.troubles);
    }
}
