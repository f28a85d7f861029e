//! What it was measured on.

use std::fs;
use std::io::Write as _;
use std::process::Command;
use std::time::Instant;

use bellpunch::SystemClock;
use bellpunch::store::Clock as _;

/// Syncs that are timed.
const SYNCS: usize = 200;

/// The load of the machine, as the kernel tells it: of 1, 5 and 15 minutes.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// The date and time, to the minute.
pub(crate) fn now() -> String {
    let now = SystemClock::new().now().to_string();
    let minute = now.get(..16).unwrap_or(&now);
    format!("{} UTC", minute.replace('T', " "))
}

/// The processor time of this process in microseconds, as far as the kernel's ticks tell it.
pub(crate) fn processor_micros() -> u64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses may contain anything; the fields after it are counted.
    let fields = text.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    // The kernel tells ticks of 1/100 s, whatever its own are.
    ticks * 10_000
}

/// The priority that this process was started with: 0 unless somebody chose another.
pub(crate) fn nice() -> String {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    fields.split_whitespace().nth(16).unwrap_or("0").to_owned()
}

/// The first line that a program says of itself.
fn says(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default().lines().next().unwrap_or_default().trim().to_owned()
}

/// The revision, with a mark if something was changed since.
pub(crate) fn revision() -> String {
    says("git", &["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"])
}

/// Cores, processor, memory, kernel, compiler.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{cores} cores ({}), {} of memory, Linux {}, {}",
        field("/proc/cpuinfo", "model name"),
        field("/proc/meminfo", "MemTotal"),
        kernel.trim(),
        says("rustc", &["--version"]),
    )
}

/// The median and the 99th percentile, in microseconds, of writing 4 KiB and syncing it where the
/// servers and stores of a run are.
pub(crate) fn sync_micros() -> (u64, u64) {
    let mut file = tempfile::tempfile().expect("there is a folder for temporary files");
    let block = [7; 4096];
    let mut times: Vec<u128> = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let begun = Instant::now();
        file.write_all(&block).expect("there is room");
        file.sync_data().expect("the disk is well");
        times.push(begun.elapsed().as_micros());
    }
    times.sort_unstable();
    let at = |percent: usize| {
        let micros = times.get(SYNCS * percent / 100).copied().unwrap_or_default();
        u64::try_from(micros).unwrap_or(u64::MAX)
    };
    (at(50), at(99))
}

/// The versions of an engine and of what drives its peers.
pub(crate) fn engine(name: &str) -> String {
    match name {
        "postgres" => {
            let version = says("psql", &["--version"]).replace("psql (PostgreSQL)", "PostgreSQL");
            format!("{version}, `fsync` and `synchronous_commit` on")
        }
        "redis" => {
            let version = says("redis-server", &["--version"]);
            let version = version.split_whitespace().find_map(|word| word.strip_prefix("v="));
            format!("Redis {}, `appendfsync always`", version.unwrap_or_default())
        }
        "book" => {
            let version = says("psql", &["--version"]).replace("psql (PostgreSQL)", "PostgreSQL");
            format!("SQLite {}, `synchronous = full`; {version}", rusqlite::version())
        }
        _ => format!("SQLite {}, `journal_mode = wal`, `synchronous = full`", rusqlite::version()),
    }
}
