//! A library that stands between the server and its disk. `unsafe` is not for this workspace, so it
//! is C; whoever has built Bellpunch has a `cc`, the linker.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::server::Server;

/// What a sync does is told by files in `SYNC_FAULTS`: `fail` makes the next one fail, once, and
/// loses what was written since the last; `stop` stops the process before the next one. Each is
/// removed when it is obeyed; `failed` says that one has failed. `SYNC_MICROS` makes each slow.
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static _Atomic long last_offset = -1;

static int obeyed(const char *name) {
    const char *folder = getenv("SYNC_FAULTS");
    char path[4096];
    if (!folder) return 0;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return unlink(path) == 0;
}

static void say(const char *name) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", getenv("SYNC_FAULTS"), name);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    if (0 <= fd) close(fd);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    last_offset = offset;
    return syscall(SYS_pwrite64, fd, bytes, count, offset);
}

int fdatasync(int fd) {
    if (obeyed("fail")) {
        say("failed");
        /* The kernel drops pages that it could not write. */
        if (0 <= last_offset && ftruncate(fd, last_offset)) abort();
        errno = EIO;
        return -1;
    }
    if (obeyed("stop")) kill(getpid(), SIGSTOP);
    const char *micros = getenv("SYNC_MICROS");
    if (micros) usleep(atoi(micros));
    return syscall(SYS_fdatasync, fd);
}
"#;

#[derive(Debug)]
pub(crate) struct Preload {
    library: PathBuf,
    faults: PathBuf,
}

impl Preload {
    pub(crate) fn build(folder: &Path) -> Self {
        let (source, library) = (folder.join("sync.c"), folder.join("sync.so"));
        let faults = folder.join("faults");
        std::fs::create_dir(&faults).unwrap();
        std::fs::write(&source, SOURCE).unwrap();
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source);
        let output = compile.output().expect("there is a cc: without one nothing links");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { library, faults }
    }

    pub(crate) fn start(&self, data: &Path, settings: &[&str]) -> Server {
        self.slow(data, settings, 0)
    }

    /// A server each of whose syncs takes longer.
    pub(crate) fn slow(&self, data: &Path, settings: &[&str], micros: u64) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bellpunch"));
        let store = crate::disk(data);
        command.args(["serve", "--listen", "127.0.0.1:0", "--store", &store]);
        command.args(settings.iter().flat_map(|setting| ["--set", setting]));
        command.env("LD_PRELOAD", &self.library).env("SYNC_FAULTS", &self.faults);
        if 0 < micros {
            command.env("SYNC_MICROS", micros.to_string());
        }
        Server::launch(command)
    }

    /// Has the next sync do this.
    pub(crate) fn next(&self, what: &str) {
        std::fs::write(self.faults.join(what), "").unwrap();
    }

    pub(crate) fn has(&self, what: &str) -> bool {
        self.faults.join(what).exists()
    }

    pub(crate) fn forget(&self, what: &str) {
        std::fs::remove_file(self.faults.join(what)).unwrap();
    }
}
