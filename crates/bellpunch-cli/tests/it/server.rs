//! A running `bellpunch serve`.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

/// Killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts the binary on a store and a free loopback port, and waits until it listens.
    pub(crate) fn start(store: &str) -> Self {
        Self::with(store, &[])
    }

    pub(crate) fn with(store: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_bellpunch"))
            .args(["serve", "--listen", "127.0.0.1:0", "--store", store])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut log = Vec::new();
        let address = loop {
            let Some(line) = lines.next() else {
                panic!("the server ended: {:?}\n{}", child.wait(), log.join("\n"));
            };
            let line = line.unwrap();
            // {"address":"127.0.0.1:40123","msg":"the HTTP door is open", …}
            if line.contains("\"address\"") {
                let from = line.find("127.0.0.1:").unwrap();
                let port = line[from + 10..].chars().take_while(char::is_ascii_digit);
                break format!("127.0.0.1:{}", port.collect::<String>()).parse().unwrap();
            }
            log.push(line);
        };
        // What else it says is read, so that it never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    pub(crate) fn on_disk(folder: &Path) -> Self {
        Self::start(&format!("disk:{}", folder.display()))
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; gives how it ended.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
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
