//! A whole installation moves from store to store, and each copy proves that it is equal.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

#[path = "../../bellpunch-cli/tests/common/filled.rs"]
mod filled;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use bellpunch_servers::{Postgres, Redis};

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellpunch-nodes"));
    command.current_dir(folder).args(arguments).env_clear().output().unwrap()
}

fn said(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    format!("{:?}: {}", output.status.code(), String::from_utf8(both).unwrap())
}

/// What follows `digest ` in a line that a command printed.
fn digest(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let (_, hex) = text.trim_end().rsplit_once("digest ").unwrap();
    hex.to_owned()
}

const TIME: &str = "2026-01-02T03:04:05.123456789Z";

/// An export by hand: ids with every odd letter, content that databases write in other words, what
/// was removed, and what purged records left.
fn exported() -> String {
    let mut lines = vec![format!(r#"{{"bellpunch_export":2,"release":"0.1.0","at":"{TIME}"}}"#)];
    let mut ids: Vec<String> =
        ["a", "A", "a/b", "3:a:b", "é", "日本", "🔔", " ", "%2f", "{x}", "*", "?", "~"]
            .map(str::to_owned)
            .to_vec();
    ids.extend(["[a]", "'", "$1", "\\", "\"", "a\tb", "..", "\u{7f}"].map(str::to_owned));
    ids.extend((0..1_200).map(|number| format!("n{number:05}")));
    ids.sort();
    for partition in ["acme", "b c", "{p}:é"] {
        for (version, id) in ids.iter().enumerate() {
            let (id, version) = (serde_json::to_string(id).unwrap(), version + 1);
            let content = format!(
                r#"{{"zz":[1.50,1e3,-0.0,{version},18446744073709551615],"a":{{"é":"\u00e9\/"}},"n":null}}"#
            );
            let sweep_at =
                if version % 2 == 0 { format!(r#""sweep_at":"{TIME}","#) } else { String::new() };
            let stored = match version % 5 {
                0 => String::new(),
                _ => format!(r#","stored":{{"format":1,"record":{content}}}"#),
            };
            let comma = if stored.is_empty() { sweep_at.trim_end_matches(',') } else { "" };
            let sweep_at = if stored.is_empty() && !comma.is_empty() {
                format!(",{comma}")
            } else {
                format!(",{}", sweep_at.trim_end_matches(',')).trim_end_matches(',').to_owned()
            };
            lines.push(format!(
                r#"{{"partition":"{partition}","kind":"things","id":{id},"version":{version},"at":"{TIME}"{sweep_at}{stored}}}"#
            ));
        }
        for (kind, floor) in [("gone", 7), ("things", 3)] {
            lines.push(format!(
                r#"{{"partition":"{partition}","kind":"{kind}","floor":{floor},"at":"{TIME}"}}"#
            ));
        }
    }
    lines.push(format!(r#"{{"records":{}}}"#, lines.len() - 1));
    lines.join("\n") + "\n"
}

#[test]
fn a_copy_from_store_to_store_is_equal_at_each_step() {
    let (postgres, redis) = (Postgres::start(), Redis::start());
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    std::fs::write(folder.join("0.ndjson"), exported()).unwrap();
    let stores = [
        "disk:one".to_owned(),
        postgres.database("copy"),
        redis.url(0),
        "disk:two".to_owned(),
        redis.url(1),
        postgres.database("again"),
    ];
    copied_through(folder, &stores);
}

/// Copies `0.ndjson` to the first store, from there to the second, and so on.
fn copied_through(folder: &Path, stores: &[String]) {
    let accept = ["--set", "store.accept_risk=lost_on_crash"];
    let mut digests = Vec::new();
    for (step, store) in stores.iter().enumerate() {
        let at = [&["--store", store.as_str()][..], &accept].concat();
        // To look is not to make.
        let missing = run(folder, &[&["digest"], &at[..]].concat());
        assert_eq!(missing.status.code(), Some(4), "{}", said(&missing));
        let file = format!("{step}.ndjson");
        digests.push(digest(folder, &[&["import", file.as_str()], &at[..]].concat()));
        let again = run(folder, &[&["import", file.as_str()], &at[..]].concat());
        assert_eq!(again.status.code(), Some(5), "it is not empty: {}", said(&again));
        digests.push(digest(folder, &[&["digest"], &at[..]].concat()));
        let next = format!("{}.ndjson", step + 1);
        digests.push(digest(folder, &[&["export", next.as_str()], &at[..]].concat()));
        let verified = run(folder, &[&["verify"], &at[..]].concat());
        assert!(verified.status.success(), "{}", said(&verified));
    }
    digests.dedup();
    assert_eq!(digests.len(), 1, "{digests:?}");
}

/// A server, killed with the test.
struct Served(Child);

impl Served {
    fn on(folder: &Path, store: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bellpunch-nodes"));
        command.current_dir(folder).env_clear().stderr(Stdio::piped());
        command.args(["serve", "--listen", "127.0.0.1:0", "--store", store]);
        Self(command.spawn().unwrap())
    }

    /// Waits until it listens; gives where, and what it said until then.
    fn listening(&mut self) -> (String, Vec<String>) {
        let mut lines = BufReader::new(self.0.stderr.take().unwrap()).lines();
        let mut log = Vec::new();
        loop {
            let Some(Ok(line)) = lines.next() else { panic!("the server ended: {log:?}") };
            let told: serde_json::Value = serde_json::from_str(&line).unwrap();
            log.push(line);
            if let Some(address) = told.get("address").and_then(serde_json::Value::as_str) {
                // What else it says is read, so that it never waits for us.
                std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
                return (address.to_owned(), log);
            }
        }
    }
}

/// One request on a connection of its own.
fn ask(address: &str, (request, headers): (&str, &str), body: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_book_from_store_to_store_is_equal_at_each_step() {
    let (postgres, redis) = (Postgres::start(), Redis::start());
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let mut served = Served::on(folder, "disk:first");
    let (address, _) = served.listening();
    for (place, (path, body)) in filled::commands().iter().enumerate() {
        let key = format!("Idempotency-Key: k{place}\r\n");
        let told = ask(&address, (&format!("POST {path}"), &key), &body.to_string());
        assert!(told.starts_with("HTTP/1.1 20"), "{path}: {told}");
    }
    drop(served);
    let whole = digest(folder, &["export", "--store", "disk:first", "0.ndjson"]);
    let stores = [postgres.database("book"), redis.url(0), "disk:last".to_owned()];
    copied_through(folder, &stores);
    assert_eq!(digest(folder, &["digest", "--store", "disk:last"]), whole);
}

#[test]
fn a_node_has_no_payloads_that_the_others_do_not_see() {
    let postgres = Postgres::start();
    let temporary = tempfile::tempdir().unwrap();
    let store = postgres.database("payloads");
    let mut served = Served::on(temporary.path(), &store);
    let (address, log) = served.listening();
    assert!(log.iter().any(|line| line.contains("set uploads.blobs")), "{log:?}");
    let ask = |request: &str, body: &str| ask(&address, (request, ""), body);
    let made = ask("POST /v1/acme/uploads", r#"{"id": "u", "size_limit": 100}"#);
    assert!(made.starts_with("HTTP/1.1 201"), "{made}");
    let refused = ask("PUT /v1/acme/uploads/u/payload", r#"{"payload": "Ynl0ZXM="}"#);
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(refused.contains("store_unavailable"), "{refused}");
    assert!(refused.contains("set uploads.blobs to a folder that all nodes share"), "{refused}");
    assert!(ask("GET /health/ready", "").starts_with("HTTP/1.1 200"));
    // Gone for a while, and back without a restart.
    postgres.stop();
    let gone = ask("GET /health/ready", "");
    assert!(gone.starts_with("HTTP/1.1 503") && gone.contains("store_unavailable"), "{gone}");
    postgres.restart();
    let back = (0..200).any(|_| ask("GET /health/ready", "").starts_with("HTTP/1.1 200"));
    assert!(back, "the store is back");
}

#[test]
fn migrations_are_told_before_they_are_done_and_passwords_are_not() {
    let postgres = Postgres::start();
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let store = postgres.database("migrated");
    for (arguments, told) in [
        (&["migrate", "--check"][..], "the schema bellpunch would be created\n"),
        (&["migrate", "--check"], "the schema bellpunch would be created\n"),
        (&["migrate"], "the schema bellpunch was created\n"),
        (&["migrate"], "nothing to do: the schema bellpunch is up to date\n"),
        (&["migrate", "--check"], "nothing to do: the schema bellpunch is up to date\n"),
    ] {
        let output = run(folder, &[arguments, &["--store", &store]].concat());
        assert_eq!(String::from_utf8(output.stdout.clone()).unwrap(), told, "{}", said(&output));
    }
    // A port that nobody listens on: reserved, and free again.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for scheme in ["postgres", "redis"] {
        let url = format!("{scheme}://ann:s3cret@127.0.0.1:{port}/0");
        std::fs::write(folder.join("url"), format!("{url}\n")).unwrap();
        for arguments in [&["--store", url.as_str()][..], &["--set", "store.url_file=url"]] {
            for command in ["serve", "inspect", "digest"] {
                let what: &[&str] = if command == "inspect" { &["partitions"] } else { &[] };
                let all = [&[command], arguments, &["--set", "store.timeout=1s"], what].concat();
                let output = run(folder, &all);
                assert_eq!(output.status.code(), Some(4), "{command}: {}", said(&output));
                assert!(!said(&output).contains("s3cret"), "{}", said(&output));
                assert!(said(&output).contains("ann:***@127.0.0.1"), "{}", said(&output));
            }
        }
    }
}
