//! Deadlines against the server's own clock.

use bellpunch_redis::RedisConfig;
use bellpunch_servers::Redis;
use bellpunch_store::{Commit, CommitResult, Timestamp};

use crate::{committed, connect, puts, read, reads, send, until, version};

/// What the server's clock shows.
fn now(server: &Redis) -> Timestamp {
    let told = server.cli(&["time"]);
    let mut numbers = told.lines().map(|line| line.parse::<u128>().unwrap());
    let (seconds, micros) = (numbers.next().unwrap(), numbers.next().unwrap());
    Timestamp::from_nanos((seconds * 1_000_000 + micros) * 1_000).unwrap()
}

fn millis(count: u64) -> bellpunch_core::Duration {
    bellpunch_core::Duration::from_millis(count)
}

/// Counts. It cannot look at a clock: from some release on that stands while a script runs.
const BUSY: &str = "for _ = 1, tonumber(ARGV[1]) do end return 'done'";
const COUNTED_FIRST: u128 = 50_000_000;

/// Up to which number it counts for two seconds.
fn two_seconds(server: &Redis) -> String {
    let begun = now(server);
    assert_eq!(server.cli(&["eval", BUSY, "0", &COUNTED_FIRST.to_string()]), "done");
    let took = now(server).nanos() - begun.nanos();
    (COUNTED_FIRST * 2_000_000_000).div_ceil(took).to_string()
}

#[track_caller]
fn too_late(result: &CommitResult) -> Timestamp {
    match result {
        CommitResult::TooLate { store_time } => *store_time,
        other => panic!("expected TooLate, got {other:?}"),
    }
}

#[test]
fn reads_the_clock_of_the_server() {
    let server = Redis::start();
    let store = connect(&RedisConfig::new(server.url(0))).unwrap();
    let before = now(&server);
    let CommitResult::Committed { at } = send(&store, &puts(1, &[("a", 0)], b"a")) else {
        panic!("nothing is in its way");
    };
    assert!(before <= at && at <= now(&server), "{before} {at}");
    let ahead = now(&server).plus(millis(60_000)).unwrap();
    let ahead = Commit { now: ahead, ..puts(2, &[("a", 1)], b"ahead") };
    assert!(matches!(send(&store, &ahead), CommitResult::ClockAhead { .. }));
    let past = Commit { deadline: Some(before), ..puts(3, &[("a", 1)], b"late") };
    assert!(before <= too_late(&send(&store, &past)));
    let future = before.plus(millis(60_000)).unwrap();
    committed(&store, &Commit { deadline: Some(future), ..puts(4, &[("a", 1)], b"b") });
}

#[test]
fn a_commit_that_waits_past_its_deadline_behind_a_script_is_too_late() {
    let server = Redis::start();
    let mut patient = RedisConfig::new(server.url(0));
    patient.timeout = std::time::Duration::from_secs(60);
    let store = connect(&patient).unwrap();
    let mut impatient = RedisConfig::new(server.url(0));
    impatient.timeout = std::time::Duration::from_millis(50);
    let impatient = connect(&impatient).unwrap();
    committed(&store, &puts(1, &[("a", 0)], b"a"));
    assert!(read(&impatient, "a").is_ok());
    let count = two_seconds(&server);
    // However long it takes, nobody is told that it does.
    assert_eq!(server.cli(&["config", "set", "lua-time-limit", "60000"]), "OK");
    let deadline = now(&server).plus(millis(300)).unwrap();
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| server.cli(&["eval", BUSY, "0", &count]));
        until(|| read(&impatient, "a").is_err());
        let late = Commit { deadline: Some(deadline), ..puts(2, &[("a", 1)], b"late") };
        assert!(deadline <= too_late(&send(&store, &late)));
        // Nor is what it would have confirmed.
        let late = Commit { deadline: Some(deadline), ..reads(3, &[("a", 1)]) };
        too_late(&send(&store, &late));
        assert_eq!(busy.join().unwrap(), "done");
    });
    assert_eq!(version(&store, "a"), 1);
}

#[test]
fn a_commit_that_waits_for_a_stopped_server_is_too_late() {
    let server = Redis::start();
    let store = connect(&RedisConfig::new(server.url(0))).unwrap();
    committed(&store, &puts(1, &[("a", 0)], b"a"));
    let deadline = now(&server).plus(millis(300)).unwrap();
    server.signal_all("STOP");
    let late = Commit { deadline: Some(deadline), ..puts(2, &[("a", 1)], b"late") };
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| send(&store, &late));
        crate::pause(std::time::Duration::from_millis(400));
        server.signal_all("CONT");
        assert!(deadline <= too_late(&waiting.join().unwrap()));
    });
    assert_eq!(version(&store, "a"), 1);
}
