//! A server stopped while commits are on their way, beyond the end of every ticket, and continued:
//! nothing that was not written before its end is ever redeemed.
//!
//! What was written is seen in a copy of the folder that is taken while the process stands still.
//! Stops inside a sync leave commits of other partitions decided and queued behind it. Stops at any
//! moment may come between the look at the clock and the write, so there the copy says nothing.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bellpunch::Timestamp;
use bellpunch_check::recorder::Recorder;
use serde_json::Value;

use crate::judge::Stored;
use crate::preload::Preload;
use crate::random::Random;
use crate::server::Server;
use crate::teller::{Ask, Teller, Told, recorder};

/// In a normal run; `BELLPUNCH_PAUSES=60` is the full one.
const PAUSES: u64 = 12;
const CLIENTS: u64 = 16;
const TTL_MS: u64 = 150;

/// The folder as it was while the server stood still, and when that ended.
struct Still {
    copy: PathBuf,
    until: Timestamp,
}

/// What the clients count.
#[derive(Debug, Default)]
struct Counts {
    stop: AtomicBool,
    redeemed: AtomicUsize,
    expired: AtomicUsize,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_redeems_nothing_late() {
    let mut random = Random::seeded();
    let pauses = crate::asked("BELLPUNCH_PAUSES", PAUSES);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let preload = Preload::build(folder.path());
    let recorder = recorder();
    let server = preload.start(&data, &[]);
    let counts = Arc::new(Counts::default());
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..CLIENTS {
        let (recorder, counts) = (Arc::clone(&recorder), Arc::clone(&counts));
        clients.spawn(redeem_and_redeem((number, server.address), recorder, counts));
    }
    let mut stills = Vec::new();
    for pause in 0..pauses {
        let aim =
            counts.redeemed.load(Ordering::Relaxed) + usize::try_from(random.below(60)).unwrap();
        let so = async || {
            tokio::time::sleep(Duration::from_millis(1)).await;
            aim < counts.redeemed.load(Ordering::Relaxed)
        };
        crate::until("redemptions", so).await;
        recorder.fault(&format!("SIGSTOP {pause}"));
        let in_sync = pause % 3 != 2;
        if in_sync {
            preload.next("stop");
        } else {
            server.signal("STOP");
        }
        crate::until("a stop", async || stands_still(&server)).await;
        let copy = folder.path().join(format!("still-{pause}"));
        if in_sync {
            copy_folder(&data, &copy);
        }
        // As long as the fault lasts: all that was issued before it ends meanwhile.
        tokio::time::sleep(Duration::from_millis(TTL_MS + 20)).await;
        let until = now();
        server.signal("CONT");
        recorder.fault(&format!("SIGCONT {pause}"));
        if in_sync {
            stills.push(Still { copy, until });
        }
    }
    counts.stop.store(true, Ordering::Relaxed);
    clients.join_all().await;
    assert!(tokio::task::spawn_blocking(|| server.terminate()).await.unwrap().success());
    let late = nothing_late(&stills, &Stored::of(&crate::disk(&data)));
    let summary = crate::judge::judge(recorder.so_far(), &crate::disk(&data));
    println!("{pauses} pauses, {late} tickets ended in one: {counts:?} {summary:?}");
    assert!(0 < late && 0 < counts.expired.load(Ordering::Relaxed), "no ticket ended in a pause");
}

/// Issues and redeems tickets in many partitions: a commit each, queued behind one another.
async fn redeem_and_redeem(
    (number, address): (u64, SocketAddr),
    recorder: Arc<Recorder>,
    counts: Arc<Counts>,
) {
    let partition = format!("t{}", number % 8);
    let mut teller = Teller::new(&format!("c{number}"), address, &recorder);
    for turn in 0.. {
        if counts.stop.load(Ordering::Relaxed) {
            return;
        }
        let issue = Ask::issue(&partition, TTL_MS).keyed(&format!("i{number}-{turn}"));
        let issued = teller.must(&issue).await;
        let ticket = issued["ticket"]["id"].as_str().unwrap();
        let redeem = Ask::redeem(&partition, ticket, 1).keyed(&format!("r{number}-{turn}"));
        match teller.tell(&redeem).await {
            Told::Accepted(reply) => {
                let ticket = &reply["ticket"];
                assert!(time(&ticket["used_at"]) < time(&ticket["expires_at"]), "{reply}");
                counts.redeemed.fetch_add(1, Ordering::Relaxed);
            }
            Told::Refused(code, reply) => {
                assert_eq!(code, "ticket_expired", "{reply}");
                counts.expired.fetch_add(1, Ordering::Relaxed);
            }
            told @ (Told::Failed(_) | Told::Unknown) => panic!("{told:?}"),
        }
    }
}

/// What was not used when the server stood still, and was over when it went on, was never used;
/// gives how many there were.
fn nothing_late(stills: &[Still], stored: &Stored) -> usize {
    let mut late = 0;
    for still in stills {
        let then = Stored::of(&crate::disk(&still.copy));
        for ((partition, name), (_, ticket)) in &then.records {
            let is_open = name.starts_with("tickets/") && ticket["status"] == "approved";
            if is_open && time(&ticket["expires_at"]) <= still.until {
                let (_, end) = stored.get(partition, name);
                assert_ne!(end["status"], "used", "{partition} {name} was redeemed late: {end}");
                late += 1;
            }
        }
    }
    late
}

fn stands_still(server: &Server) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/stat", server.id())).unwrap();
    // The state stands behind the name, which is in parentheses.
    status.rsplit(')').next().unwrap().trim_start().starts_with('T')
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

fn now() -> Timestamp {
    use bellpunch::store::Clock as _;
    bellpunch::SystemClock::new().now()
}
