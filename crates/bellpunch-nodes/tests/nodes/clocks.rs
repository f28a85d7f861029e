//! Nodes whose clocks are minutes off. Time is the engine's: one that is ahead harms nothing, one
//! that is behind accepts nothing late.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::{Cluster, Start};
use crate::engine::{Engine, Kind};
use crate::load::{Caller, World};
use crate::outage::time;
use crate::policies::ask;
use crate::random::Random;
use crate::teller::{Ask, Teller, Told, recorder};

/// Moves the clock of a process. `unsafe` is not for this workspace, so it is C; whoever has built
/// Bellpunch has a `cc`, the linker.
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = syscall(SYS_clock_gettime, clock, time);
    const char *shift = getenv("CLOCK_SHIFT_SECONDS");
    if (!result && clock == CLOCK_REALTIME && shift) time->tv_sec += atol(shift);
    return result;
}
"#;
const SHIFT_SECONDS: i64 = 300;
/// Commands of each caller in a normal run; `BELLPUNCH_NODES_COMMANDS` is how many there are.
const COMMANDS: u64 = 60;
const CALLERS: usize = 18;
const TTL_MS: u64 = 300;

on_each_engine!(
    a_node_ahead_of_its_store_harms_nothing,
    a_node_behind_its_store_accepts_nothing_late,
    nodes_with_wrong_clocks_are_one,
);

fn build(folder: &Path) -> PathBuf {
    let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
    std::fs::write(&source, SOURCE).unwrap();
    let mut compile = Command::new("cc");
    compile.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source);
    let output = compile.output().expect("there is a cc: without one nothing links");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    library
}

/// A node with the right time, and others so far off.
async fn skewed(engine: &Engine, folder: &Path, shifts: &[i64]) -> Cluster {
    let library = build(folder).display().to_string();
    let right = Start::new(engine.url(), &engine.settings());
    let off = shifts.iter().map(|shift| {
        let environment = vec![
            ("LD_PRELOAD".to_owned(), library.clone()),
            ("CLOCK_SHIFT_SECONDS".to_owned(), shift.to_string()),
        ];
        Start { environment, ..right.clone() }
    });
    Cluster::of(std::iter::once(right.clone()).chain(off).collect()).await
}

async fn a_node_ahead_of_its_store_harms_nothing(kind: Kind) {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::start(kind).await;
    let cluster = skewed(&engine, folder.path(), &[SHIFT_SECONDS]).await;
    let (right, ahead) = (cluster.places.of(0), cluster.places.of(1));
    let recorder = recorder();
    let mut teller = Teller::new("c", right, &recorder);
    teller.must(&Ask::quota("p", "q", 9)).await;
    let rate = json!({ "algorithm": "gcra", "rate": 1, "period_ms": 60_000 });
    teller.must(&Ask::policy("p", "r", rate)).await;
    teller.must(&Ask::pass("p", "r", "k")).await;
    // By the clock of the node ahead it is over.
    let issued = teller.must(&Ask::issue("p", 60_000)).await;
    let ticket = issued["ticket"]["id"].as_str().unwrap();
    let redeem = json!({ "audience": "s1", "holder": "c1", "amount": 1 });
    for (path, body) in [
        ("/v1/p/quotas/q/consume", json!({ "units": 1 })),
        // Far above the limit: its refusals would be as wrong as its consent.
        ("/v1/p/quotas/q/consume", json!({ "units": 10 })),
        ("/v1/p/policies/r/consume", json!({ "key": "k" })),
        (&format!("/v1/p/tickets/{ticket}/redeem"), redeem),
        ("/v1/p/quotas", json!({ "id": "new", "limit": 1 })),
    ] {
        let told = ask(ahead, "POST", (path, body)).await;
        assert!(told.is_not_now("clock_ahead"), "{path}: {told:?}");
    }
    let read = ask(ahead, "GET", ("/v1/p/quotas/q", Value::Null)).await;
    assert!(read.is_not_now("clock_ahead"), "{read:?}");
    let quota = teller.read("p", ("quotas", "q")).await;
    assert_eq!((&quota["quota"]["used"], &quota["quota"]["version"]), (&json!(0), &json!(1)));
    let refused = teller.tell(&Ask::pass("p", "r", "k")).await;
    assert!(matches!(refused, Told::Refused(..)), "its counter was not pushed on: {refused:?}");
    teller.must(&Ask::redeem("p", ticket, 1)).await;
    cluster.end().await;
}

async fn a_node_behind_its_store_accepts_nothing_late(kind: Kind) {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::start(kind).await;
    let cluster = skewed(&engine, folder.path(), &[-SHIFT_SECONDS]).await;
    let recorder = recorder();
    let mut right = Teller::new("right", cluster.places.of(0), &recorder);
    let mut behind = Teller::new("behind", cluster.places.of(1), &recorder);
    let short = right.must(&Ask::issue("p", TTL_MS)).await;
    let long = right.must(&Ask::issue("p", 3_600_000)).await;
    let id = |issued: &Value| issued["ticket"]["id"].as_str().unwrap().to_owned();
    // The time of a ticket is what this is about: the right node says when it is over.
    let over = async || {
        let read = right.read("p", ("tickets", &id(&short))).await;
        read["ticket"]["status"] == "expired"
    };
    crate::until("the end of a ticket", over).await;
    match behind.tell(&Ask::redeem("p", &id(&short), 1)).await {
        Told::Refused(code, reply) => {
            assert_eq!(code, "ticket_expired", "{reply}");
            assert!(time(&short["ticket"]["expires_at"]) <= time(&reply["at"]), "{reply}");
        }
        told @ (Told::Accepted(_) | Told::Failed(_) | Told::Unknown) => panic!("{told:?}"),
    }
    let used = behind.must(&Ask::redeem("p", &id(&long), 1)).await;
    let read = right.read("p", ("tickets", &id(&long))).await;
    let (made, at) = (time(&long["ticket"]["issued_at"]), time(&used["ticket"]["used_at"]));
    println!("{kind:?}: made {made}, used {at}, read {}", read["at"]);
    assert_eq!(read["ticket"]["used_at"], used["ticket"]["used_at"]);
    assert!(made <= at && at <= time(&read["at"]), "not before it was there: {read}");
    cluster.end().await;
}

async fn nodes_with_wrong_clocks_are_one(kind: Kind) {
    let mut random = Random::seeded();
    let commands = crate::asked("BELLPUNCH_NODES_COMMANDS", COMMANDS);
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::start(kind).await;
    let cluster = skewed(&engine, folder.path(), &[SHIFT_SECONDS, -SHIFT_SECONDS]).await;
    let recorder = recorder();
    let world = World::furnish(&recorder, &cluster.places).await;
    let callers = Caller::several(CALLERS, &world, &mut random);
    let callers = Caller::patient(callers, Duration::from_secs(5));
    let callers = Caller::start(callers, commands).join_all().await;
    let seen = world.seen();
    let summary = crate::load::end(cluster, &engine, (world, callers)).await;
    println!("{kind:?}: {seen:?} {summary:?}");
    assert!(!seen.answers.contains_key(&1), "the node ahead answers nothing: {seen:?}");
    assert!(0 < seen.answers[&2] && seen.troubles.contains_key("clock_ahead"), "{seen:?}");
}
