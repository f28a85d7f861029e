//! The binary as it is called.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

#[path = "../common/client.rs"]
mod client;
mod contend;
mod exact;
mod guides;
mod history;
mod removed;
#[allow(dead_code, reason = "the tests of processes use the rest of it")]
#[path = "../common/server.rs"]
mod server;

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn bellpunch(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellpunch"));
    command.current_dir(folder).args(arguments).env_clear();
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    bellpunch(folder, arguments).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn help_is_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = String::new();
    for command in [
        "",
        "serve",
        "inspect",
        "inspect partitions",
        "inspect records",
        "inspect record",
        "inspect outcome",
        "inspect folder",
        "verify",
        "export",
        "import",
        "digest",
        "migrate",
        "completions",
    ] {
        let mut arguments: Vec<&str> = command.split(' ').filter(|word| !word.is_empty()).collect();
        arguments.push("--help");
        let output = run(folder.path(), &arguments);
        assert_eq!(code(&output), 0, "{command}");
        all.push_str(&format!("$ bellpunch {}\n{}\n", arguments.join(" "), text(&output.stdout)));
    }
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../snapshots/cli-help.txt");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(&place, &all).unwrap();
    }
    let found = std::fs::read_to_string(&place).unwrap_or_default();
    assert!(found == all, "snapshots/cli-help.txt is not fresh: run with UPDATE_EXPECT=1");
}

#[test]
fn default_configuration_is_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["serve", "--print-config"]);
    assert_eq!(code(&output), 0);
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../snapshots/config.txt");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&place, &output.stdout).unwrap();
    }
    let found = std::fs::read_to_string(&place).unwrap_or_default();
    assert!(found == text(&output.stdout), "snapshots/config.txt is not fresh: UPDATE_EXPECT=1");
}

#[test]
fn later_layers_win_and_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = "[http]\nlisten = \"127.0.0.1:1\"\ntimeout = \"3s\"\n[engine]\nqueue_max = 5\n";
    std::fs::write(folder.path().join("bellpunch.toml"), file).unwrap();
    let output = bellpunch(folder.path(), &["serve", "--print-config", "--listen", "127.0.0.1:3"])
        .env("BELLPUNCH_HTTP__LISTEN", "127.0.0.1:2")
        .env("BELLPUNCH_ENGINE__QUEUE_MAX", "6")
        .output()
        .unwrap();
    let shown = text(&output.stdout);
    assert!(shown.contains("http.listen = \"127.0.0.1:3\"  # --listen"), "{shown}");
    assert!(shown.contains("engine.queue_max = 6  # BELLPUNCH_ENGINE__QUEUE_MAX"), "{shown}");
    assert!(shown.contains("http.timeout = \"3s\"  # bellpunch.toml"), "{shown}");
    assert!(shown.contains("log.level = \"info\"  # default"), "{shown}");
}

#[test]
fn an_unknown_setting_is_an_error_with_the_nearest_name() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bellpunch.toml"), "[http]\nlistn = \"x\"\n").unwrap();
    let output = run(folder.path(), &["serve", "--check"]);
    assert_eq!(code(&output), 2);
    assert!(text(&output.stderr).contains("`http.listn`; the nearest is `http.listen`"));
    std::fs::remove_file(folder.path().join("bellpunch.toml")).unwrap();
    let output = bellpunch(folder.path(), &["serve", "--check"])
        .env("BELLPUNCH_STORE__ULR", "memory:")
        .output()
        .unwrap();
    assert_eq!(code(&output), 2);
    assert!(text(&output.stderr).contains("the nearest is BELLPUNCH_STORE__URL"));
    for arguments in [
        &["serve", "--check", "--store", "postgres:x"][..],
        &["serve", "--check", "--set", "http.timeout=soon"],
        &["serve", "--check", "--set", "http"],
        &["serve", "--no-such-flag"],
        &["export", "--store", "memory:"],
    ] {
        assert_eq!(code(&run(folder.path(), arguments)), 2, "{arguments:?}");
    }
}

/// What stands in the way of a build that has the engine, too, is nobody who listens.
#[test]
fn a_build_without_an_engine_says_how_to_build_it() {
    let folder = tempfile::tempdir().unwrap();
    let engines = [
        ("postgres", "PostgreSQL", cfg!(feature = "postgres")),
        ("redis", "Redis", cfg!(feature = "redis")),
    ];
    for (scheme, name, built) in engines {
        let url = format!("{scheme}://ann:s3cret@127.0.0.1:1/0");
        for arguments in [&["serve", "--check"][..], &["verify"], &["digest"]] {
            let output = run(folder.path(), &[arguments, &["--store", &url]].concat());
            let told = text(&output.stderr);
            assert!(!told.contains("s3cret") && told.contains("ann:***@"), "{told}");
            if built {
                assert_eq!(code(&output), 4, "{told}");
                continue;
            }
            assert_eq!(code(&output), 2, "{told}");
            let how = format!(
                "this build has no {name}. Build it in: cargo run --features {scheme} \
                 -- serve --store {scheme}://…"
            );
            assert!(told.contains(&how), "{told}");
        }
    }
}

#[test]
fn a_url_is_named_once_and_its_password_is_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let url = "postgres://ann:s3cret@h/db?password=s3cret";
    let shown = |output: &Output| {
        let both = text(&output.stdout) + &text(&output.stderr);
        assert!(!both.contains("s3cret"), "{both}");
        both
    };
    for form in [&["serve", "--print-config"][..], &["--json", "serve", "--print-config"]] {
        let output = run(folder, &[form, &["--store", url]].concat());
        let told = shown(&output);
        assert!(told.contains("postgres://ann:***@h/db?password=***"), "{told}");
    }
    // What is wrong is told without the line that it is in.
    std::fs::write(folder.join("broken.toml"), format!("[store]\nurl = \"{url}\n")).unwrap();
    let output = run(folder, &["serve", "--check", "--config", "broken.toml"]);
    assert_eq!(code(&output), 2);
    assert!(shown(&output).contains("broken.toml, line 2"));
    let wrong = ["serve", "--check", "--store", url, "--set", "store.accept_risk=any"];
    shown(&run(folder, &wrong));
    let wrong = ["serve", "--check", "--store", url, "--set", "store.timeout=x"];
    assert_eq!(code(&run(folder, &wrong)), 2);
    shown(&run(folder, &wrong));

    std::fs::write(folder.join("url"), "disk:by-file\n").unwrap();
    let by_file = ["serve", "--check", "--set", "store.url_file=url"];
    assert_eq!(code(&run(folder, &by_file)), 0);
    assert!(folder.join("by-file").is_dir());
    let twice = bellpunch(folder, &by_file).env("BELLPUNCH_STORE__URL", url).output().unwrap();
    assert_eq!(code(&twice), 2);
    let told = shown(&twice);
    assert!(told.contains("store.url_file (--set) are both set: keep one"), "{told}");
    // A flag names the store, whatever the other layers say.
    let flag = [&by_file[..], &["--store", "memory:"]].concat();
    let output = bellpunch(folder, &flag[..2])
        .args(["--store", "memory:"])
        .env("BELLPUNCH_STORE__URL_FILE", "url")
        .output()
        .unwrap();
    assert_eq!(code(&output), 0, "{}", shown(&output));
    std::fs::write(folder.join("url"), "\n").unwrap();
    assert_eq!(code(&run(folder, &by_file)), 2);
}

#[test]
fn there_is_nothing_to_migrate_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["migrate"][..], &["migrate", "--check"]] {
        let output = run(folder.path(), arguments);
        assert_eq!(code(&output), 0);
        assert_eq!(text(&output.stdout), "nothing to do: this store needs no migration\n");
    }
    assert!(!folder.path().join("bellpunch-data").exists());
}

#[test]
fn an_unsafe_listener_is_refused_with_5_and_a_taken_address_with_4() {
    let folder = tempfile::tempdir().unwrap();
    let store = ["serve", "--store", "memory:", "--listen"];
    let refused = run(folder.path(), &[&store[..], &["0.0.0.0:0"]].concat());
    assert_eq!(code(&refused), 5);
    assert!(text(&refused.stderr).contains("security.allow_anonymous"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = run(folder.path(), &[&store[..], &[&address]].concat());
    assert_eq!(code(&refused), 4);
}

#[test]
fn what_is_not_there_is_not_made_by_looking() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["verify"][..], &["export"], &["inspect", "partitions"]] {
        assert_eq!(code(&run(folder.path(), arguments)), 4, "{arguments:?}");
    }
    assert!(!folder.path().join("bellpunch-data").exists());
}

/// A server of its own process, ended with the test.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Served {
    /// Starts one and waits for the log line that names its address.
    fn start(folder: &Path) -> (Self, String) {
        Self::start_with(folder, &[])
    }

    fn start_with(folder: &Path, flags: &[&str]) -> (Self, String) {
        let arguments = [&["serve", "--listen", "127.0.0.1:0"], flags].concat();
        let mut command = bellpunch(folder, &arguments);
        let mut served = Self(command.stderr(Stdio::piped()).spawn().unwrap());
        let log = served.0.stderr.as_mut().unwrap();
        let mut seen = Vec::new();
        let mut byte = [0];
        while log.read(&mut byte).unwrap() == 1 {
            seen.push(byte[0]);
            if byte[0] == b'\n' {
                let line: serde_json::Value = serde_json::from_slice(&seen).unwrap();
                let Some(address) = line["address"].as_str() else {
                    seen.clear();
                    continue;
                };
                return (served, address.to_owned());
            }
        }
        panic!("the server ended: {}", text(&seen));
    }

    #[cfg(unix)]
    fn terminate(mut self) -> i32 {
        let process = self.0.id().to_string();
        assert!(Command::new("kill").arg(process).status().unwrap().success());
        self.0.wait().unwrap().code().unwrap()
    }
}

fn ask(address: &str, request: &str, body: &str) -> String {
    use std::io::Write as _;
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

const TICKET: &str = r#"{"holder": "c1", "audience": "s1", "issued_by": "s1", "ttl_ms": 60000,
    "approved": true, "max_amount": {"amount": 5, "unit": "use"}}"#;

#[cfg(unix)]
#[test]
fn what_was_served_is_kept_shown_verified_and_copied() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (served, address) = Served::start(folder);
    for partition in ["acme", "b%20c"] {
        let answer = ask(&address, &format!("POST /v1/{partition}/tickets"), TICKET);
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }
    // The folder is the server's.
    assert_eq!(code(&run(folder, &["verify"])), 4);
    assert_eq!(served.terminate(), 0);

    let output = run(folder, &["inspect", "partitions"]);
    assert_eq!(text(&output.stdout), "acme\nb c\n");
    let output = run(folder, &["inspect", "--json", "records", "acme", "tickets"]);
    let record: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(record["version"], 1);
    let id = record["id"].as_str().unwrap();
    let output = run(folder, &["inspect", "record", "acme", "tickets", id]);
    let again: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(again, record);
    assert_eq!(code(&run(folder, &["inspect", "record", "acme", "tickets", "none"])), 1);
    assert_eq!(code(&run(folder, &["inspect", "folder"])), 0);
    let output = run(folder, &["verify"]);
    assert_eq!((code(&output), text(&output.stdout).ends_with("0 findings\n")), (0, true));

    assert_eq!(code(&run(folder, &["export", "all.ndjson"])), 0);
    assert_eq!(code(&run(folder, &["export", "all.ndjson"])), 4, "a file is not written over");
    let other = ["import", "--store", "disk:other", "all.ndjson"];
    let output = run(folder, &other);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    assert_eq!(code(&run(folder, &other)), 5, "the target is not empty");
    let lines = |store: &str| {
        let output = run(folder, &["export", "--store", store]);
        let all = text(&output.stdout);
        all.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines("disk:other"), lines("disk:bellpunch-data"));
}

#[cfg(unix)]
#[test]
fn a_file_that_is_no_whole_export_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (served, address) = Served::start(folder);
    ask(&address, "POST /v1/acme/tickets", TICKET);
    assert_eq!(served.terminate(), 0);
    let whole = text(&run(folder, &["export"]).stdout);
    let lines: Vec<&str> = whole.lines().collect();
    let cut = &whole[..whole.len() - 5];
    let newer = whole.replacen("\"bellpunch_export\":2", "\"bellpunch_export\":3", 1);
    for (content, expected) in [
        ("", 2),
        ("{}\n", 2),
        (cut, 2),
        (format!("{}\n{}\n", lines[0], lines[1]).as_str(), 2),
        (format!("{}\n{}\n", lines[0], lines[lines.len() - 1]).as_str(), 2),
        (format!("{whole}{{}}\n").as_str(), 2),
        (whole.replacen("\"version\":1", "\"version\":-1", 1).as_str(), 2),
        (newer.as_str(), 5),
    ] {
        std::fs::write(folder.join("bad.ndjson"), content).unwrap();
        let output = run(folder, &["import", "--store", "disk:bad", "bad.ndjson"]);
        assert_eq!(code(&output), expected, "{}", text(&output.stderr));
    }
    assert!(!folder.join("bad").exists());
}

/// The one file below a folder that holds these bytes.
#[cfg(unix)]
fn file_of(folder: &Path, bytes: &[u8]) -> std::path::PathBuf {
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        for entry in std::fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if std::fs::read_to_string(&path).is_ok_and(|text| text.as_bytes() == bytes) {
                return path;
            }
        }
    }
    panic!("no file has these bytes");
}

#[cfg(unix)]
#[test]
fn an_altered_payload_is_a_violation() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (served, address) = Served::start(folder);
    let quota = ask(&address, "POST /v1/acme/quotas", r#"{"id": "q", "limit": 5}"#);
    assert!(quota.starts_with("HTTP/1.1 201"), "{quota}");
    let create = r#"{"id": "u", "size_limit": 100, "charge": [{"quota": "q", "units": 2}]}"#;
    let created = ask(&address, "POST /v1/acme/uploads", create);
    assert!(created.starts_with("HTTP/1.1 201"), "{created}");
    let published = ask(&address, "PUT /v1/acme/uploads/u/payload", r#"{"payload": "Ynl0ZXM="}"#);
    assert!(published.starts_with("HTTP/1.1 200"), "{published}");
    let completed = ask(&address, "POST /v1/acme/uploads/u/complete", "{}");
    assert!(completed.starts_with("HTTP/1.1 200"), "{completed}");
    let held = ask(&address, "POST /v1/acme/holds", r#"{"items": [{"quota": "q"}]}"#);
    assert!(held.starts_with("HTTP/1.1 201"), "{held}");
    assert_eq!(served.terminate(), 0);

    let output = run(folder, &["verify"]);
    assert_eq!(code(&output), 0, "{}{}", text(&output.stdout), text(&output.stderr));
    let blob = file_of(&folder.join("bellpunch-data-blobs"), b"bytes");
    std::fs::write(&blob, b"BYTES").unwrap();
    let output = run(folder, &["verify", "--json"]);
    assert_eq!(code(&output), 1);
    let finding: serde_json::Value =
        serde_json::from_str(text(&output.stdout).lines().next().unwrap()).unwrap();
    assert_eq!(
        (&finding["check"], &finding["record"]),
        (&"payload_present".into(), &"uploads/u".into())
    );
}

#[cfg(unix)]
#[test]
fn no_secret_is_ever_logged() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let flags = ["--set", "log.level=debug", "--set", "log.ids=true"];
    let (mut served, address) = Served::start_with(folder, &flags);
    let made = TICKET.replacen('{', r#"{"make_secret": true, "#, 1);
    let answer = ask(&address, "POST /v1/acme/tickets", &made);
    let answer: serde_json::Value =
        serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    let (secret, id) =
        (answer["secret"].as_str().unwrap(), answer["ticket"]["id"].as_str().unwrap());
    let planted = "a planted secret that nobody may see";
    for secret in [planted, secret] {
        let redeem = format!(r#"{{"audience": "s1", "holder": "c1", "secret": "{secret}"}}"#);
        ask(&address, &format!("POST /v1/acme/tickets/{id}/redeem"), &redeem);
    }
    let create = format!(r#"{{"id": "u", "size_limit": 1, "delete_secret": "{planted}"}}"#);
    ask(&address, "POST /v1/acme/uploads", &create);
    let delete =
        format!("DELETE /v1/acme/uploads/u HTTP/1.1\r\nBellpunch-Secret: {planted}\r\nX: y");
    // The request line goes on with a header of its own.
    ask(&address, &delete, "");
    let process = served.0.id().to_string();
    assert!(Command::new("kill").arg(process).status().unwrap().success());
    let mut log = String::new();
    served.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.contains("tickets.redeem") && log.contains("wrong_secret"), "{log}");
    let exported = text(&run(folder, &["export"]).stdout);
    assert!(exported.contains("tickets"), "{exported}");
    for place in [&log, &exported] {
        assert!(!place.contains(secret) && !place.contains(planted), "{place}");
    }
}
