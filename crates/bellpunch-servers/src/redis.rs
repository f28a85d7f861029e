//! A Redis server.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard};

use tempfile::TempDir;

use crate::Identity;
use crate::binaries::find;
use crate::process::{Running, free_port};

const PACKAGE: &str = "redis-server";
/// Ports that are tried: another process may take a free one first.
const ATTEMPTS: u32 = 5;
/// The arguments of a durable server: each write is synced before its reply.
pub const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];
const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "key.pem";

/// A Redis server, stopped and removed when it is dropped.
///
/// ```no_run
/// let server = bellpunch_servers::Redis::start();
/// assert_eq!(server.cli(&["ping"]), "PONG");
/// server.kill();
/// server.restart();
/// ```
#[derive(Debug)]
pub struct Redis {
    running: Mutex<Option<Running>>,
    port: u16,
    binary: PathBuf,
    arguments: Vec<String>,
    /// A sentinel needs a file that it can write to.
    sentinel: bool,
    /// Whether it speaks TLS, and nothing else.
    encrypted: bool,
    folder: TempDir,
}

impl Redis {
    /// Starts a durable server (`appendfsync always`); installs Redis if it is not there.
    ///
    /// # Panics
    /// If it does not start; with what it said.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&DURABLE)
    }

    /// Starts a server with these arguments beside its port, address and folder.
    ///
    /// # Panics
    /// If it does not start; with what it said.
    #[must_use]
    pub fn start_with(arguments: &[&str]) -> Self {
        Self::start_as(None, arguments)
    }

    /// Starts a server with these arguments. One with an identity speaks TLS alone: to its callers,
    /// to its replicas and to the other members of its cluster.
    ///
    /// # Panics
    /// If it does not start; with what it said.
    #[must_use]
    pub fn start_as(identity: Option<&Identity>, arguments: &[&str]) -> Self {
        Self::new(identity, arguments, None)
    }

    /// Starts a sentinel with these lines of configuration.
    pub(crate) fn start_sentinel(identity: Option<&Identity>, lines: &[&str]) -> Self {
        Self::new(identity, &[], Some(&lines.join("\n")))
    }

    fn new(identity: Option<&Identity>, arguments: &[&str], sentinel: Option<&str>) -> Self {
        let binary = find("redis-server", PACKAGE);
        let folder = tempfile::Builder::new().prefix("bellpunch-redis").tempdir();
        let folder = folder.expect("there is a folder for temporary files");
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let keep = |name: &str, content: &[u8]| {
            std::fs::write(folder.path().join(name), content).expect("the folder can be written");
        };
        if let Some(lines) = sentinel {
            keep("sentinel.conf", lines.as_bytes());
        }
        if let Some(Identity { certificate, key }) = identity {
            keep(CERTIFICATE, certificate);
            keep(KEY, key);
        }
        let (running, sentinel) = (Mutex::new(None), sentinel.is_some());
        let encrypted = identity.is_some();
        let mut server = Self { running, port: 0, binary, arguments, sentinel, encrypted, folder };
        for _ in 0..ATTEMPTS {
            server.port = free_port();
            if server.try_start() {
                return server;
            }
        }
        panic!("Redis does not start: {}", server.log());
    }

    /// What the server said.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().expect("no test panics while it holds this lock")
    }

    fn try_start(&self) -> bool {
        let mut command = Command::new(&self.binary);
        if self.sentinel {
            command.arg(self.folder.path().join("sentinel.conf")).arg("--sentinel");
        } else {
            command.args(["--save", ""]);
        }
        let port = self.port.to_string();
        if self.encrypted {
            command.args(["--port", "0", "--tls-port", &port, "--tls-auth-clients", "no"]);
            command.args(["--tls-replication", "yes", "--tls-cluster", "yes"]);
            command.args(["--tls-cert-file", CERTIFICATE, "--tls-key-file", KEY]);
            command.args(["--tls-ca-cert-file", CERTIFICATE]).current_dir(self.folder.path());
        } else {
            command.args(["--port", &port]);
        }
        command.args(["--bind", "127.0.0.1"]);
        command.args(["--daemonize", "no", "--dir"]).arg(self.folder.path()).args(&self.arguments);
        let mut process = Running::start(command, &self.folder.path().join("log"));
        let ready = process.wait_ready(self.port, || self.ask(&["ping"]) == "PONG");
        *self.running() = ready.then_some(process);
        ready
    }

    fn ask(&self, words: &[&str]) -> String {
        let port = self.port.to_string();
        let mut command = self.program("redis-cli");
        command.args(["-h", "127.0.0.1", "-p", &port]);
        if self.encrypted {
            command.args(["--tls", "--cacert"]).arg(self.folder.path().join(CERTIFICATE));
        }
        command.args(words).stdin(Stdio::null());
        let output = command.output().unwrap_or_else(|cause| panic!("{command:?}: {cause}"));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Sends a command with redis-cli; gives what it prints.
    #[must_use]
    pub fn cli(&self, words: &[&str]) -> String {
        self.ask(words)
    }

    /// Another of Redis's programs, such as `redis-benchmark`.
    #[must_use]
    pub fn program(&self, name: &str) -> Command {
        Command::new(self.binary.with_file_name(name))
    }

    /// The port that it listens on, on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The process id.
    ///
    /// # Panics
    /// If it is not running.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.running().as_ref().expect("it runs").id()
    }

    /// The address of one of its databases.
    #[must_use]
    pub fn url(&self, database: u8) -> String {
        format!("{}://127.0.0.1:{}/{database}", self.scheme(), self.port)
    }

    /// What its address begins with.
    pub(crate) const fn scheme(&self) -> &'static str {
        if self.encrypted { "rediss" } else { "redis" }
    }

    /// `kill -9`.
    pub fn kill(&self) {
        drop(self.running().take());
    }

    /// Stops it in order.
    pub fn stop(&self) {
        if let Some(mut process) = self.running().take() {
            process.signal("TERM");
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
        assert!(started, "Redis does not start again: {}", self.log());
    }

    /// Sends a signal, such as STOP or CONT.
    pub fn signal_all(&self, name: &str) {
        let _ = self.running().as_ref().expect("it runs").signal_all(name);
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
