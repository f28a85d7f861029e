//! Where the servers' binaries are; installed from the distribution's packages if they are not.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// One installation at a time within this process; between processes apt has its own lock.
static INSTALLING: Mutex<()> = Mutex::new(());

/// Names the variable of folders that come before all others, separated as in `PATH`: so the tests
/// run on servers of another version.
const FOLDERS: &str = "BELLPUNCH_SERVERS";
/// Folders beside those of `PATH` in which PostgreSQL's binaries are, by version.
const POSTGRES_FOLDERS: &str = "/usr/lib/postgresql";

/// The path of a binary. Its package is installed if it is nowhere.
///
/// # Panics
/// If it is not there and cannot be installed.
pub(crate) fn find(name: &str, package: &str) -> PathBuf {
    if let Some(path) = look(name) {
        return path;
    }
    let installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = look(name) {
        return path;
    }
    eprintln!("{name} is not here: installing Debian's package {package}");
    install(package);
    drop(installing);
    look(name).unwrap_or_else(|| {
        panic!("{name} is needed by this test: install it (on Debian: apt-get install {package})")
    })
}

fn look(name: &str) -> Option<PathBuf> {
    let versions = Path::new(POSTGRES_FOLDERS).read_dir().into_iter().flatten().flatten();
    let mut versions: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    versions.sort();
    versions.reverse();
    let variable = |name| std::env::var_os(name).unwrap_or_default();
    let asked = variable(FOLDERS);
    check(&asked);
    first(name, (&asked, versions, &variable("PATH")))
}

/// Otherwise the tests would pass, and on another version than was asked for.
fn check(asked: &OsStr) {
    // Of nothing an empty name is split.
    let named = std::env::split_paths(asked).filter(|folder| !folder.as_os_str().is_empty());
    for folder in named {
        let is_there = folder.is_absolute() && folder.is_dir();
        assert!(is_there, "{FOLDERS} names {}: not the full path of a folder", folder.display());
    }
}

/// The first of a binary's name: in the folders that are asked for, of the versions that are
/// installed, or in `PATH`.
fn first(name: &str, (asked, versions, path): (&OsStr, Vec<PathBuf>, &OsStr)) -> Option<PathBuf> {
    let folders = std::env::split_paths(asked).chain(versions).chain(std::env::split_paths(path));
    // What is empty would be the folder that the test happens to run in.
    let named = folders.filter(|folder| !folder.as_os_str().is_empty());
    named.map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Installs a package. The distribution's own instance of the server is not started.
fn install(package: &str) {
    let root = is_root();
    for arguments in [&["update"][..], &["install", "-y", "--no-install-recommends", package]] {
        let mut command = if root { Command::new("apt-get") } else { Command::new("sudo") };
        if !root {
            command.args(["-n", "apt-get"]);
        }
        // Init scripts start nothing in the runlevel of a machine that is going down.
        command.env("RUNLEVEL", "1").env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
        // If it fails, the caller says what is missing.
        let _ = command.args(["-o", "DPkg::Lock::Timeout=300"]).args(arguments).status();
    }
}

/// Whether this process is the superuser's.
pub(crate) fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

#[cfg(test)]
mod tests;
