//! A PostgreSQL server.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard};

use tempfile::TempDir;

use crate::binaries::{find, is_root};
use crate::process::{Running, free_port};

const PACKAGE: &str = "postgresql";
/// The superuser of the server, who needs no password on loopback.
const USER: &str = "bellpunch";
/// The user of the operating system for whom the server runs if the test is run by root.
const SYSTEM_USER: &str = "postgres";
/// Ports that are tried: another process may take a free one first.
const ATTEMPTS: u32 = 5;

/// Durable, as it is installed, and small.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = on
synchronous_commit = on
full_page_writes = on
shared_buffers = 128MB
max_connections = 200
";

/// A PostgreSQL server with durable settings, stopped and removed when it is dropped.
///
/// ```no_run
/// let server = bellpunch_servers::Postgres::start();
/// let url = server.database("one");
/// assert!(url.starts_with("postgres://bellpunch@127.0.0.1:"));
/// server.kill();
/// server.restart();
/// assert_eq!(server.sql("one", "select 1"), "1");
/// ```
#[derive(Debug)]
pub struct Postgres {
    running: Mutex<Option<Running>>,
    port: u16,
    binaries: PathBuf,
    folder: TempDir,
}

impl Postgres {
    /// Starts a server with an empty cluster; installs PostgreSQL if it is not there.
    ///
    /// # Panics
    /// If it does not start; with what it said.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// Starts a server with further lines of `postgresql.conf`.
    ///
    /// # Panics
    /// If it does not start; with what it said.
    #[must_use]
    pub fn start_with(settings: &str) -> Self {
        let binaries = find("initdb", PACKAGE);
        let binaries = binaries.canonicalize().unwrap_or(binaries);
        let binaries = binaries.parent().expect("a file is in a folder").to_owned();
        let folder = tempfile::Builder::new().prefix("bellpunch-postgres").tempdir();
        let folder = folder.expect("there is a folder for temporary files");
        if is_root() {
            run(Command::new("chown").arg(SYSTEM_USER).arg(folder.path()));
        }
        let mut server = Self { running: Mutex::new(None), port: 0, binaries, folder };
        let data = server.data();
        run(server
            .command("initdb")
            .args(["-U", USER, "-A", "trust", "-E", "UTF8", "--no-locale"])
            .arg("-D")
            .arg(&data));
        let file = data.join("postgresql.conf");
        let conf = format!("{SETTINGS}{settings}\n");
        let mut whole = std::fs::read_to_string(&file).expect("initdb wrote it");
        whole.push_str(&conf);
        std::fs::write(&file, whole).expect("it can be written");
        for _ in 0..ATTEMPTS {
            server.port = free_port();
            if server.try_start() {
                return server;
            }
        }
        panic!("PostgreSQL does not start: {}", server.log());
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What the server said.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// One of PostgreSQL's own programs; those that refuse to run as root run as another user.
    fn command(&self, program: &str) -> Command {
        let path = self.binaries.join(program);
        if !is_root() {
            return Command::new(path);
        }
        let mut command = Command::new("setpriv");
        let user = ["--reuid", SYSTEM_USER, "--regid", SYSTEM_USER, "--clear-groups", "--"];
        command.args(user).arg(path).current_dir("/");
        command
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().expect("no test panics while it holds this lock")
    }

    fn try_start(&self) -> bool {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        let mut process = Running::start(command, &self.folder.path().join("log"));
        let ready = || {
            let mut ask = Command::new(self.binaries.join("pg_isready"));
            ask.args(["-q", "-h", "127.0.0.1", "-U", USER, "-p", &self.port.to_string()]);
            ask.status().is_ok_and(|status| status.success())
        };
        let ready = process.wait_ready(self.port, ready);
        *self.running() = ready.then_some(process);
        ready
    }

    /// The port that it listens on, on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The process id of its first process.
    ///
    /// # Panics
    /// If it is not running.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.running().as_ref().expect("it runs").id()
    }

    /// The address of a database.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes a database; gives its address.
    ///
    /// # Panics
    /// If it is there already.
    #[must_use]
    pub fn database(&self, name: &str) -> String {
        let _ = self.sql("postgres", &format!("create database {name}"));
        self.url(name)
    }

    /// Runs SQL with psql; gives what it prints, unaligned and without headings.
    ///
    /// # Panics
    /// If it fails.
    #[must_use]
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let url = self.url(database);
        let arguments = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql, url.as_str()];
        run(Command::new(self.binaries.join("psql")).args(arguments))
    }

    /// Another of PostgreSQL's programs, such as `pgbench`, to be run against it.
    #[must_use]
    pub fn program(&self, name: &str) -> Command {
        Command::new(self.binaries.join(name))
    }

    /// `kill -9` of all its processes.
    pub fn kill(&self) {
        drop(self.running().take());
    }

    /// Stops it in order ("fast": connections are closed).
    pub fn stop(&self) {
        if let Some(mut process) = self.running().take() {
            process.signal("INT");
            process.wait();
        }
    }

    /// Starts it again on the same folder and port.
    ///
    /// # Panics
    /// If it does not start; with what it said.
    pub fn restart(&self) {
        self.kill();
        let started = (0..ATTEMPTS).any(|_| self.try_start());
        assert!(started, "PostgreSQL does not start again: {}", self.log());
    }

    /// Has it be a standby from its next start on. It is stopped.
    ///
    /// # Panics
    /// If its folder cannot be written.
    pub fn stand_by(&self) {
        self.keep("standby.signal", b"");
    }

    /// Writes a file that only the server's user may read, such as a key; gives its path.
    ///
    /// # Panics
    /// If the folder cannot be written.
    pub fn keep(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.data().join(name);
        std::fs::write(&path, content).expect("the folder can be written");
        run(Command::new("chmod").arg("600").arg(&path));
        if is_root() {
            run(Command::new("chown").arg(SYSTEM_USER).arg(&path));
        }
        path
    }

    /// Sends a signal, such as STOP or CONT, to all its processes.
    pub fn signal_all(&self, name: &str) {
        let _ = self.running().as_ref().expect("it runs").signal_all(name);
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
        crate::process::remove(&self.data());
    }
}

/// Runs a command to its end; gives what it printed.
fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|cause| panic!("{command:?}: {cause}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {complaint}");
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}
