//! A server's process: started in a group of its own, waited for, stopped by its id.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait before looking again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How often the processes of a server are looked for: one may start another meanwhile.
const LOOKS_MAX: usize = 100;

/// A running server. It and all its processes are killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    /// Kills the group when the pipe to it closes, whatever became of this process. PostgreSQL's
    /// processes leave the group, and end when its first one has.
    watcher: Child,
}

/// The highest port of a member of a Redis cluster: its bus has the one that is 10,000 above.
const PORT_MAX: u16 = 55_535;

/// How many ports are asked for until one is low enough.
const PORTS_MAX: u32 = 1_000;

/// A port that nobody listens on just now.
pub(crate) fn free_port() -> u16 {
    for _ in 0..PORTS_MAX {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = listener.expect("loopback has free ports");
        let port = listener.local_addr().expect("it is bound").port();
        if port <= PORT_MAX {
            return port;
        }
    }
    panic!("no free port is at most {PORT_MAX}: look at net.ipv4.ip_local_port_range")
}

impl Running {
    /// Starts a command, whose words go to a file.
    pub(crate) fn start(mut command: Command, log: &Path) -> Self {
        let file = std::fs::File::options().create(true).append(true).open(log);
        let file = file.expect("the log can be written");
        let errors = file.try_clone().expect("a file can be shared");
        command.stdin(Stdio::null()).stdout(file).stderr(errors).process_group(0);
        let child = command.spawn().unwrap_or_else(|cause| panic!("{command:?}: {cause}"));
        // Not `-9 --`: the shell of Debian takes the two strokes for a number.
        let kill = format!("cat >/dev/null; kill -s KILL -- -{} 2>/dev/null", child.id());
        let watcher = Command::new("sh")
            .args(["-c", &kill])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("there is a shell");
        Self { child, watcher }
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it accepts connections and `ready` says so; `false` if it ended instead.
    pub(crate) fn wait_ready(&mut self, port: u16, mut ready: impl FnMut() -> bool) -> bool {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return false;
            }
            if TcpStream::connect_timeout(&address, PATIENCE).is_ok() && ready() {
                return true;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        false
    }

    /// Sends a signal, by its name, to every process of the server, the first one first: one that is
    /// stopped starts no more. Gives who they are.
    pub(crate) fn signal_all(&self, name: &str) -> BTreeSet<u32> {
        let mut told = BTreeSet::new();
        let mut new = BTreeSet::from([self.child.id()]);
        for _ in 0..LOOKS_MAX {
            if new.is_empty() {
                return told;
            }
            signal(name, &new);
            told.append(&mut new);
            new = descendants(&told);
        }
        panic!("the server starts processes without end");
    }

    /// Sends a signal, by its name, to the first process alone.
    pub(crate) fn signal(&self, name: &str) {
        let (signal, id) = (format!("-{name}"), self.child.id().to_string());
        let status = Command::new("kill").args([signal, id]).status();
        assert!(status.is_ok_and(|status| status.success()), "kill {name}");
    }

    /// Waits until it has ended.
    pub(crate) fn wait(&mut self) {
        let begun = Instant::now();
        while self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            assert!(begun.elapsed() < PATIENCE, "the server does not end");
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Whose processes they are is known only as long as the first one has not ended.
        let all = self.signal_all("STOP");
        signal("KILL", &all);
        let _ = self.child.wait();
        drop(self.watcher.stdin.take());
        let _ = self.watcher.wait();
    }
}

/// One that has ended since it was seen needs no signal.
fn signal(name: &str, ids: &BTreeSet<u32>) {
    let mut command = Command::new("kill");
    command.arg(format!("-{name}")).args(ids.iter().map(u32::to_string));
    let _ = command.stderr(Stdio::null()).status();
}

/// The processes that these have started and are not among them. PostgreSQL's leave its process
/// group, so that a signal to the group is not for them.
fn descendants(of: &BTreeSet<u32>) -> BTreeSet<u32> {
    let mut command = Command::new("ps");
    let output = command.args(["-A", "-o", "pid=,ppid="]).output().expect("there is a ps");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let ids = text.lines().filter_map(|line| {
        let mut ids = line.split_whitespace().map(|id| id.parse().ok());
        Some((ids.next()??, ids.next()??))
    });
    let ids = ids.filter(|(id, parent)| of.contains(parent) && !of.contains(id));
    ids.map(|(id, _): (u32, u32)| id).collect()
}

/// Removes a folder, as far as it is there.
pub(crate) fn remove(folder: &Path) {
    let removed = std::fs::remove_dir_all(folder);
    let fine = removed.as_ref().map_or_else(|error| error.kind() == ErrorKind::NotFound, |()| true);
    if !fine {
        eprintln!("{} is left behind: {removed:?}", folder.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_ends_with_the_process_that_started_it() {
        let folder = tempfile::tempdir().expect("there is a folder for temporary files");
        let mut command = Command::new("sleep");
        command.arg("600");
        let mut running = Running::start(command, &folder.path().join("log"));
        // So it is when that process is killed: nobody holds the pipe any more.
        drop(running.watcher.stdin.take());
        running.wait();
    }
}
