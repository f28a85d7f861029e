//! A running `bellpunch serve`.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

/// The variables of a test are none of the binary's settings.
pub(crate) fn not_ours(command: &mut Command) {
    let ours = std::env::vars_os().map(|(name, _)| name);
    let ours = ours.filter(|name| name.to_string_lossy().starts_with("BELLPUNCH_"));
    for name in ours {
        command.env_remove(name);
    }
}

/// Killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// What it says after it listens.
    log: Arc<Mutex<String>>,
}

impl Server {
    /// Starts the binary on a store and a free loopback port, and waits until it listens.
    pub(crate) fn start(store: &str) -> Self {
        Self::with(store, &[])
    }

    pub(crate) fn with(store: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(crate::BINARY);
        command.args(["serve", "--listen", "127.0.0.1:0", "--store", store]).args(arguments);
        Self::launch(command)
    }

    /// Starts a command that becomes the binary.
    pub(crate) fn launch(mut command: Command) -> Self {
        not_ours(&mut command);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut early = Vec::new();
        let address = loop {
            let Some(line) = lines.next() else {
                panic!("the server ended: {:?}\n{}", child.wait(), early.join("\n"));
            };
            let line = line.unwrap();
            // {"address":"127.0.0.1:40123","msg":"the HTTP door is open", …}
            if line.contains("\"address\"") {
                let from = line.find("127.0.0.1:").unwrap();
                let port = line[from + 10..].chars().take_while(char::is_ascii_digit);
                break format!("127.0.0.1:{}", port.collect::<String>()).parse().unwrap();
            }
            early.push(line);
        };
        // What else it says is read, so that it never waits for us.
        let log = Arc::new(Mutex::new(String::new()));
        let keep = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = keep.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self { child, address, log }
    }

    pub(crate) fn on_disk(folder: &Path) -> Self {
        Self::start(&format!("disk:{}", folder.display()))
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said since it listens, also when it has ended.
    pub(crate) fn log_kept(&self) -> Arc<Mutex<String>> {
        Arc::clone(&self.log)
    }

    /// What it has said since it listens.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let (name, pid) = (format!("-{name}"), self.child.id().to_string());
        assert!(Command::new("kill").args([&name, &pid]).status().unwrap().success());
    }

    /// Whether it has ended, and how.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; gives how it ended.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        self.signal("TERM");
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
