//! The real `bellpunch` binary, on its disk store in a folder of its own.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::client::Fault;

/// A running server. Killed, and its folder removed, when it is dropped.
#[derive(Debug)]
pub(crate) struct Bellpunch {
    child: Child,
    folder: PathBuf,
    pub(crate) address: SocketAddr,
}

impl Bellpunch {
    /// Builds the binary in this example's own profile, and starts it.
    pub(crate) fn start() -> Result<Self, Fault> {
        let examples = std::env::current_exe()?;
        let profile = examples.parent().and_then(|path| path.parent()).ok_or("an odd target")?;
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let mut build = Command::new(cargo);
        // Together with this example, so that nothing is built a second time in another flavour.
        build.args(["build", "--quiet", "--package", "bellpunch-cli"]);
        build.args(["--bin", "bellpunch", "--example", "races"]);
        if profile.ends_with("release") {
            build.arg("--release");
        }
        if !build.status()?.success() {
            return Err("the bellpunch binary could not be built".into());
        }
        let folder = std::env::temp_dir().join(format!("bellpunch-races-{}", std::process::id()));
        let mut child = Command::new(profile.join("bellpunch"))
            .args(["serve", "--listen", "127.0.0.1:0", "--store"])
            .arg(format!("disk:{}", folder.display()))
            .stderr(Stdio::piped())
            .spawn()?;
        let log = BufReader::new(child.stderr.take().ok_or("no standard error")?);
        let mut lines = log.lines();
        // The server says when its door is open, and where: the system chose the port.
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let line: serde_json::Value = serde_json::from_str(&line).ok()?;
            line["address"].as_str()?.parse().ok()
        });
        let Some(address) = address else {
            return Err(format!("bellpunch did not start: {}", child.wait()?).into());
        };
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { child, folder, address })
    }

    pub(crate) fn stop(self) {}
}

impl Drop for Bellpunch {
    fn drop(&mut self) {
        // It may have ended by itself, and the folder with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
