//! `kill -9` of a process that writes to a folder while it is compacted all the time: what it was
//! told is kept, commit by commit, and each life goes on where the one before ended.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bellpunch_disk::{DiskConfig, DiskStore};

use crate::workload::{Workload, draw, dump, seed, small};

const LIVES: usize = 8;
/// What the writer is told by: its folder and the lives so far.
const WRITER: &str = "BELLPUNCH_KILL_WRITER";

/// A life: the seed of its commits, and how many commits were made when it had ended.
type Life = (u64, usize);

/// The state at the end of these lives, known without a store.
fn after(lives: &[Life]) -> Workload {
    let mut workload = Workload::new(0);
    for (seed, reached) in lives {
        workload.reseed(*seed);
        while workload.states.len() <= *reached {
            workload.call();
        }
        workload = workload.resumed(*reached);
    }
    workload
}

fn config(folder: &Path) -> DiskConfig {
    DiskConfig { folder: folder.join("data"), ..small() }
}

/// The process that is killed. On its own this does nothing.
#[test]
#[expect(clippy::disallowed_methods, reason = "the way to tell a test that it is another process")]
fn the_writer() {
    let Ok(told) = std::env::var(WRITER) else { return };
    let mut words = told.split('|');
    let folder = words.next().unwrap();
    let next: u64 = words.next().unwrap().parse().unwrap();
    let mut lives = Vec::new();
    while let (Some(seed), Some(reached)) = (words.next(), words.next()) {
        lives.push((seed.parse().unwrap(), reached.parse().unwrap()));
    }
    let mut workload = after(&lives);
    workload.reseed(next);
    let store = DiskStore::open(&config(Path::new(folder)), workload.clock()).unwrap();
    let mut out = std::io::stdout();
    loop {
        let states = workload.step(&store);
        writeln!(out, "acknowledged {}", states - 1).unwrap();
        out.flush().unwrap();
    }
}

fn start(folder: &Path, seed: u64, lives: &[Life]) -> Child {
    let mut told = format!("{}|{seed}", folder.display());
    for (seed, reached) in lives {
        told.push_str(&format!("|{seed}|{reached}"));
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "kill::the_writer", "--nocapture"]).env(WRITER, told);
    command.stdout(Stdio::piped()).spawn().unwrap()
}

/// Kills the writer behind so many calls, and gives the last commit that it was told of.
fn kill(mut writer: Child, calls: u64) -> usize {
    let mut acknowledged = None;
    let mut left = calls;
    for line in BufReader::new(writer.stdout.take().unwrap()).split(b'\n') {
        let line = String::from_utf8(line.unwrap()).unwrap();
        let Some(reached) = line.strip_prefix("acknowledged ") else { continue };
        acknowledged = Some(reached.parse().unwrap());
        if left == 0 {
            continue;
        }
        left -= 1;
        if left == 0 {
            // It goes on meanwhile; what it still says is read too.
            writer.kill().unwrap();
        }
    }
    writer.wait().unwrap();
    assert_eq!(left, 0, "the writer ended of itself");
    acknowledged.unwrap()
}

#[test]
fn keeps_what_was_acknowledged_when_the_process_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut seed = seed();
    writeln!(std::io::stdout(), "BELLPUNCH_SEED={seed}").unwrap();
    seed |= 1;
    let (mut lives, mut removed): (Vec<Life>, u32) = (Vec::new(), 0);
    for _ in 0..LIVES {
        // Elsewhere in the sequence than this test: no two lives name their commits alike.
        let next = draw(&mut seed, u64::MAX).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let calls = 20 + draw(&mut seed, 80);
        let acknowledged = kill(start(folder.path(), next, &lives), calls);

        let mut workload = after(&lives);
        workload.reseed(next);
        while workload.states.len() <= acknowledged {
            workload.call();
        }
        // The call that was on its way, of which any number of commits may be there; and one whose
        // words were cut off.
        workload.call();
        workload.call();
        let store = DiskStore::open(&config(folder.path()), workload.clock()).unwrap();
        let found = dump(&store);
        let open = &workload.states[acknowledged..];
        let reached = open.iter().position(|state| *state == found);
        let reached = acknowledged + reached.expect("an acknowledged commit is lost, or torn");
        assert_eq!(store.report().compaction_stopped, None);
        drop(store);
        lives.push((next, reached));
        let names = std::fs::read_dir(folder.path().join("data")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let first =
            names.filter_map(|name| u32::from_str_radix(name.strip_suffix(".log")?, 16).ok());
        let first = first.min().unwrap();
        assert!(removed < first, "each life compacts: {removed} < {first}");
        removed = first;
    }
}
