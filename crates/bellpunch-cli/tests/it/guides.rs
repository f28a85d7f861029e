//! The guides are tested as they are written.
//!
//! Every fenced block of the README, the guides and the operating pages is one of these:
//!
//! * `console`: lines that begin with `$ ` are commands, the lines after them what they print. One
//!   page is one session: one folder, one server on it, started when it is first asked.
//! * `toml`: a configuration that `bellpunch serve --check` accepts.
//! * `sh`: commands that build the project, out of a closed list.
//! * `rust`: in the README, a doctest of the library. `rust,ignore`: lines out of the examples.
//! * `sql`: what is said to a database; there is none here, so the backend's own tests answer for it.
//! * `text`, or no name: prose.
//!
//! Anything else is an error, never skipped. In what a command prints, `…` stands for any text, a
//! line of its own for any lines, `…` in a JSON object for further members, and `"$NAME"` for a
//! string that later commands may use. With `UPDATE_EXPECT=1` answers that are missing or differ are
//! written into the page.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::server::Server;
use crate::{run, text};

/// What a `sh` block may say: it is run by who builds the project, not by this test.
const BUILDS: [&str; 7] = [
    "cargo test --workspace",
    "cargo run --release --example races",
    "cargo run --release --example hot_key",
    "cargo run --example own_rule",
    "cargo build --release",
    "cargo run --features postgres -- serve --store postgres://bell:secret@db/bell",
    "cargo run --features redis -- serve --store redis://cache/0",
];

/// Names of settings and counters of the engines, which look like those of tests.
const THEIRS: [&str; 4] = [
    "max_locks_per_transaction",
    "aof_last_write_status",
    "aof_last_bgrewrite_status",
    "rdb_last_bgsave_status",
];

/// Where the pages say that the server listens.
const DOOR: &str = "localhost:7117";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn pages() -> Vec<PathBuf> {
    let mut pages =
        ["README.md", "docs/README.md", "examples/README.md"].map(PathBuf::from).to_vec();
    for folder in ["docs/guide", "docs/operating", "docs/concepts"] {
        let files = std::fs::read_dir(root().join(folder)).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut found: Vec<_> = names.map(|name| Path::new(folder).join(name)).collect();
        found.sort();
        pages.extend(found);
    }
    pages
}

#[test]
fn every_page_says_what_happens() {
    let mut wrong = Vec::new();
    for page in pages() {
        if let Err(problems) = Page::read(&page).check() {
            wrong.push(format!("{}:\n{problems}", page.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The table of the README is that of the demonstration: its attacks, and what should pass.
#[test]
fn the_table_is_that_of_the_demonstration() {
    let page = std::fs::read_to_string(root().join("README.md")).unwrap();
    let table = page.split("```text\n").find(|block| block.starts_with("attack ")).unwrap();
    let table = table.split("```").next().unwrap();
    let mut attacks = String::new();
    read_all(&root().join("examples/races"), &mut attacks);
    let rows: Vec<&str> = table.lines().skip(1).filter(|line| line.ends_with("exact")).collect();
    assert_eq!(rows.len(), attacks.matches("let name = \"").count());
    for row in rows {
        let (name, numbers) = row.split_at(53);
        assert!(attacks.contains(&format!("\"{}\"", name.trim())), "{name}");
        let numbers: Vec<u64> =
            numbers.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [_, should_pass, _, passed] = numbers[..] else { panic!("{row}") };
        assert_eq!(should_pass, passed, "{row}");
    }
}

/// A link that leads nowhere, or a test that is named and is not there, is an empty promise.
#[test]
fn links_and_named_tests_are_there() {
    let mut sources = String::new();
    for folder in ["crates", "examples", "xtask"] {
        read_all(&root().join(folder), &mut sources);
    }
    let codes = std::fs::read_to_string(root().join("docs/reference/codes.md")).unwrap();
    let mut wrong = Vec::new();
    for page in pages() {
        let text = std::fs::read_to_string(root().join(&page)).unwrap();
        let folder = root().join(&page).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { root().join(&page) } else { folder.join(file) };
            let there = target.is_dir()
                || heads(&target).is_some_and(|heads| {
                    place.is_empty() || heads.iter().any(|head| head == place)
                });
            if !link.contains("://") && !there {
                wrong.push(format!("{}: {link}", page.display()));
            }
        }
        for name in text.split('`').skip(1).step_by(2) {
            let named = 2 < name.matches('_').count()
                && name
                    .chars()
                    .all(|sign| sign.is_ascii_lowercase() || matches!(sign, '_' | '0'..='9'));
            let there = THEIRS.contains(&name)
                || bellpunch::audit::CHECKS.contains(&name)
                || sources.contains(&format!("fn {name}("))
                || codes.contains(&format!("`{name}`"))
                || metric(name).is_some_and(|name| sources.contains(&name));
            if named && !there {
                wrong.push(format!("{}: no test or code is called {name}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn read_all(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            into.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

/// A metric as the source names it.
fn metric(name: &str) -> Option<String> {
    name.strip_prefix("bellpunch_").map(|name| format!("\"{name}\""))
}

/// The headings of a file as links name them. `None`: there is no such file.
fn heads(file: &Path) -> Option<Vec<String>> {
    let text = std::fs::read(file).ok()?;
    let text = String::from_utf8_lossy(&text);
    let heads = text.lines().filter_map(|line| line.strip_prefix("## "));
    let named = |sign: &char| sign.is_alphanumeric() || matches!(sign, ' ' | '-' | '_');
    let link = |head: &str| head.chars().filter(named).collect::<String>().to_lowercase();
    Some(heads.map(|head| link(head).replace(' ', "-")).collect())
}

/// A page whose answers are wrong is found out, or the test above proves nothing.
#[test]
fn a_page_that_lies_is_found_out() {
    let page = |text: &str| Page { path: PathBuf::new(), lines: lines(text), out: Vec::new() };
    let quota =
        "```console\n$ curl --json '{\"id\": \"q\", \"limit\": 5}' localhost:7117/v1/p/quotas";
    for (name, answer) in [
        ("another value", "{\"quota\": {\"limit\": 6, …}, …}\n```"),
        ("a member that is not there", "{\"quota\": {\"limit\": 5, \"more\": 1, …}, …}\n```"),
        ("members that are not shown", "{\"quota\": {\"limit\": 5}, …}\n```"),
        ("no answer", "```"),
        ("no end", "{\"quota\": {\"limit\": 5, …}, …}"),
        ("a command that is not known", "{\"quota\": {\"limit\": 5, …}, …}\n$ wget x\n```"),
        ("a block that is not known", "{\"quota\": {\"limit\": 5, …}, …}\n```\n```yaml\n```"),
        (
            "a setting that is not known",
            "{\"quota\": {\"limit\": 5, …}, …}\n```\n```toml\na = 1\n```",
        ),
    ] {
        assert!(page(&format!("{quota}\n{answer}")).check().is_err(), "{name}");
    }
    let told = page(&format!("{quota}\n{{\"quota\": {{\"limit\": 5, …}}, …}}\n```")).check();
    assert_eq!(told, Ok(()));
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

struct Page {
    path: PathBuf,
    lines: Vec<String>,
    /// The page as it would be right.
    out: Vec<String>,
}

impl Page {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(root().join(path)).unwrap();
        Self { path: path.to_owned(), lines: lines(&text), out: Vec::new() }
    }

    fn check(mut self) -> Result<(), String> {
        let mut session = Session::new();
        let mut wrong = String::new();
        let source = std::mem::take(&mut self.lines);
        let mut rest = source.iter().enumerate();
        while let Some((at, line)) = rest.next() {
            self.out.push(line.clone());
            let Some(language) = line.trim_start().strip_prefix("```") else { continue };
            let mut block = Vec::new();
            let mut end = None;
            for (_, line) in rest.by_ref() {
                if line.trim() == "```" {
                    end = Some(line.clone());
                    break;
                }
                block.push(line.clone());
            }
            let Some(end) = end else {
                return Err(format!("{wrong}line {}: the block has no end", at + 1));
            };
            if let Err(problem) = self.block(&mut session, language, &block) {
                wrong.push_str(&format!("line {}: {problem}\n", at + 1));
            }
            self.out.push(end);
        }
        if std::env::var_os("UPDATE_EXPECT").is_some() && self.path != Path::new("") {
            let path = root().join(&self.path);
            std::fs::write(path, format!("{}\n", self.out.join("\n"))).unwrap();
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    fn block(
        &mut self,
        session: &mut Session,
        language: &str,
        block: &[String],
    ) -> Result<(), String> {
        if language == "console" {
            return self.console(session, block);
        }
        self.out.extend_from_slice(block);
        match language {
            "text" | "sql" | "" => Ok(()),
            // A doctest of the library.
            "rust" if self.path == Path::new("README.md") => Ok(()),
            "rust,ignore" => excerpt(block),
            "toml" => {
                let file = session.folder.path().join("page.toml");
                std::fs::write(&file, block.join("\n")).unwrap();
                let arguments = ["serve", "--check", "--store", "memory:", "--config", "page.toml"];
                let output = run(session.folder.path(), &arguments);
                if output.status.success() { Ok(()) } else { Err(text(&output.stderr)) }
            }
            "sh" => match block.iter().find(|line| !BUILDS.contains(&line.as_str())) {
                Some(line) => Err(format!("`{line}` is not in the list of builds")),
                None => Ok(()),
            },
            _ => Err(format!("nothing is known of blocks of `{language}`")),
        }
    }

    fn console(&mut self, session: &mut Session, block: &[String]) -> Result<(), String> {
        let mut wrong = String::new();
        let mut rest = block.iter().peekable();
        while let Some(line) = rest.next() {
            let Some(first) = line.strip_prefix("$ ") else {
                return Err(format!("`{line}` is the answer to nothing"));
            };
            self.out.push(line.clone());
            let mut command = first.to_owned();
            while unfinished(&command) {
                let line = rest.next().ok_or("the command has no end")?;
                self.out.push(line.clone());
                command.push('\n');
                command.push_str(line);
            }
            let mut expected = Vec::new();
            while let Some(line) = rest.next_if(|line| !line.starts_with("$ ")) {
                expected.push(line.clone());
            }
            let answer = session.run(&command)?;
            match answer.is_as(&expected, &mut session.names) {
                Ok(()) => self.out.extend(expected),
                Err(problem) => {
                    wrong.push_str(&format!("`{command}`: {problem}\n"));
                    self.out.extend(answer.shown());
                }
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}

/// Whether each line of an excerpt stands in an example; one with `…` is the page's own.
fn excerpt(block: &[String]) -> Result<(), String> {
    let mut examples = String::new();
    read_all(&root().join("examples"), &mut examples);
    let there = |line: &str| line.contains('…') || examples.lines().any(|real| real.trim() == line);
    match block.iter().map(|line| line.trim()).find(|line| !there(line)) {
        Some(line) => Err(format!("`{line}` stands in no example")),
        None => Ok(()),
    }
}

/// Whether a shell would read on: a quote is open, or the line ends with a backslash.
fn unfinished(command: &str) -> bool {
    words(command).is_none()
}

/// The words of a command, without its quotes. `None`: it goes on.
fn words(command: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut signs = command.chars();
    while let Some(sign) = signs.next() {
        match (quote, sign) {
            (Some(open), _) if sign == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(sign);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => match signs.next()? {
                // A line that goes on; it does not, if nothing follows.
                '\n' if signs.as_str().is_empty() => return None,
                '\n' => {}
                escaped => word.get_or_insert_default().push(escaped),
            },
            (None, _) if sign.is_whitespace() => words.extend(word.take()),
            (Some(_) | None, _) => word.get_or_insert_default().push(sign),
        }
    }
    words.extend(word);
    if quote.is_none() { Some(words) } else { None }
}

/// What a command printed.
struct Answer {
    /// Status line and headers, where they were asked for.
    head: Option<Vec<String>>,
    body: String,
}

impl Answer {
    fn text(body: String) -> Self {
        Self { head: None, body }
    }

    fn is_as(&self, expected: &[String], names: &mut Names) -> Result<(), String> {
        let mut body = expected;
        if let Some(head) = &self.head {
            let end = expected.iter().position(String::is_empty).unwrap_or(expected.len());
            let (shown, rest) = expected.split_at(end);
            body = rest.get(1..).unwrap_or_default();
            head_is_as(head, shown)?;
        }
        let shown = body.join("\n");
        if let Ok(found) = serde_json::from_str::<Value>(&self.body)
            && (found.is_object() || found.is_array())
        {
            let wanted: Value = serde_json::from_str(&opened(&shown))
                .map_err(|error| format!("the page shows no JSON ({error}), but: {}", self.body))?;
            return like(&found, &wanted, names).map_err(|place| format!("{place}: {}", self.body));
        }
        let found: Vec<&str> = self.body.lines().collect();
        let wanted: Vec<&str> = body.iter().map(String::as_str).collect();
        if lines_are_as(&found, &wanted) { Ok(()) } else { Err(format!("it says:\n{}", self.body)) }
    }

    /// As a page shows it, for somebody to shorten.
    fn shown(&self) -> Vec<String> {
        let mut shown = self.head.clone().unwrap_or_default();
        if self.head.is_some() {
            let noise = ["cache-control", "content-length", "content-type", "date", "request-id"];
            shown.retain(|line| !noise.iter().any(|name| line.starts_with(name)));
            shown.push("…".to_owned());
        }
        if self.head.is_some() && !self.body.is_empty() {
            shown.push(String::new());
        }
        match serde_json::from_str::<Value>(&self.body) {
            Ok(value) if value.is_object() => shown.extend(lines(&rendered(&value, 0))),
            Ok(_) | Err(_) => shown.extend(self.body.lines().map(str::to_owned)),
        }
        shown
    }
}

/// What a page leaves out, unless its writer puts it back.
const NOISE: [&str; 18] = [
    "as_of",
    "at",
    "auto_delete",
    "charges",
    "created_at",
    "decided_by",
    "issued_at",
    "metadata",
    "partition",
    "payload",
    "published_at",
    "request_id",
    "since",
    "title",
    "totals",
    "type",
    "versions",
    "violated-policies",
];

/// As wide as a line of a page may be.
const WIDTH: usize = 96;

/// What a reader may want, on one line if it fits, else with a line for each member.
fn rendered(value: &Value, indent: usize) -> String {
    let line = shortened(value);
    let (open, shown, close) = match value {
        _ if indent + line.chars().count() < WIDTH => return line,
        Value::Object(all) => {
            let mut shown: Vec<String> = visible(value)
                .map(|(name, value)| match value {
                    Value::Number(_) | Value::String(_) | Value::Null | Value::Bool(_) => {
                        member(name, value)
                    }
                    Value::Array(_) | Value::Object(_) => {
                        format!("\"{name}\": {}", rendered(value, indent + 6 + name.len()))
                    }
                })
                .collect();
            if shown.len() < all.len() {
                shown.push("…".to_owned());
            }
            ("{", shown, "}")
        }
        Value::Array(all) => {
            ("[", all.iter().map(|value| rendered(value, indent + 2)).collect(), "]")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return line,
    };
    let mut filled: Vec<String> = Vec::new();
    for part in shown {
        match filled.last_mut() {
            // The outermost members each have a line; those within share lines.
            Some(line)
                if indent != 0
                    && !part.contains('\n')
                    && !line.contains('\n')
                    && indent + line.chars().count() + part.chars().count() + 6 < WIDTH =>
            {
                line.push_str(&format!(", {part}"));
            }
            Some(_) | None => filled.push(part),
        }
    }
    let inner = filled.join(",\n").replace('\n', "\n  ");
    format!("{open}\n  {inner}\n{close}")
}

fn member(name: &str, value: &Value) -> String {
    if name == "retry_after_ms" && value.is_number() {
        return format!("\"{name}\": …");
    }
    format!("\"{name}\": {}", shortened(value))
}

fn drawn(text: &str) -> bool {
    let digits = |part: &str| 32 <= part.len() && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.split(['/', '_']).any(digits)
}

fn visible(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let members = value.as_object().unwrap();
    let noise = |name: &str| NOISE.contains(&name) || drawn(name);
    let twice = |name: &str| name == "status" && members.get("state") == members.get("status");
    let first = |name: &str, value: &Value| name == "replayed" && value == &Value::Bool(false);
    members.iter().filter(move |(name, value)| !noise(name) && !twice(name) && !first(name, value))
}

fn shortened(value: &Value) -> String {
    match value {
        Value::Object(all) => {
            let mut shown: Vec<String> =
                visible(value).map(|(name, value)| member(name, value)).collect();
            if shown.len() < all.len() {
                shown.push("…".to_owned());
            }
            format!("{{{}}}", shown.join(", "))
        }
        Value::Array(all) => {
            format!("[{}]", all.iter().map(shortened).collect::<Vec<_>>().join(", "))
        }
        Value::String(text) if drawn(text) || text.starts_with("20") && text.ends_with('Z') => {
            "\"…\"".to_owned()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

fn head_is_as(found: &[String], wanted: &[String]) -> Result<(), String> {
    let told = || format!("it says:\n{}", found.join("\n"));
    let fold = |line: &str| match line.split_once(':') {
        Some((name, value)) => format!("{}:{value}", name.to_ascii_lowercase()),
        None => line.to_owned(),
    };
    let found_lines: Vec<String> = found.iter().map(|line| fold(line)).collect();
    for line in wanted.iter().filter(|line| *line != "…") {
        if !found_lines.iter().any(|found| glob(found, &fold(line))) {
            return Err(format!("`{line}` is not there; {}", told()));
        }
    }
    if wanted.iter().any(|line| line == "…") || wanted.len() == found.len() {
        Ok(())
    } else {
        Err(format!("not all is shown; {}", told()))
    }
}

/// `…` outside a string becomes a member or an element that JSON knows.
fn opened(shown: &str) -> String {
    let mut text = String::new();
    let mut quoted = false;
    let mut escaped = false;
    let mut opened_at = Vec::new();
    for sign in shown.chars() {
        if sign == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = sign == '\\' && !escaped;
        match sign {
            '{' | '[' if !quoted => opened_at.push(sign),
            '}' | ']' if !quoted => drop(opened_at.pop()),
            _ => {}
        }
        let member = opened_at.last() == Some(&'{') && !text.trim_end().ends_with(':');
        match sign {
            '…' if !quoted && member => text.push_str("\"…\": \"…\""),
            '…' if !quoted => text.push_str("\"…\""),
            _ => text.push(sign),
        }
    }
    text
}

/// Strings that a page took out of an answer.
type Names = BTreeMap<String, String>;

fn like(found: &Value, wanted: &Value, names: &mut Names) -> Result<(), String> {
    match (found, wanted) {
        (_, Value::String(any)) if any == "…" => Ok(()),
        (Value::String(found), Value::String(name)) if name.starts_with('$') => {
            let named = names.entry(name.clone()).or_insert_with(|| found.clone());
            if named == found { Ok(()) } else { Err(format!("{found} is not {name}")) }
        }
        (Value::String(found), Value::String(wanted)) if glob(found, wanted) => Ok(()),
        (Value::Object(found), Value::Object(wanted)) => {
            for (name, wanted) in wanted.iter().filter(|(name, _)| *name != "…") {
                let found = found.get(name).ok_or_else(|| format!("`{name}` is not there"))?;
                like(found, wanted, names).map_err(|place| format!("{name}: {place}"))?;
            }
            let hidden = found.keys().find(|name| !wanted.contains_key(*name));
            match hidden {
                Some(name) if !wanted.contains_key("…") => Err(format!("`{name}` is not shown")),
                Some(_) | None => Ok(()),
            }
        }
        (Value::Array(found), Value::Array(wanted)) => {
            if wanted.last() == Some(&Value::from("…")) && wanted.len() <= found.len() + 1 {
                let shown = wanted.iter().take(wanted.len() - 1);
                return found
                    .iter()
                    .zip(shown)
                    .try_for_each(|(one, other)| like(one, other, names));
            }
            if found.len() != wanted.len() {
                return Err(format!("{} elements", found.len()));
            }
            found.iter().zip(wanted).try_for_each(|(one, other)| like(one, other, names))
        }
        _ if found == wanted => Ok(()),
        _ => Err(format!("{found} is not {wanted}")),
    }
}

fn glob(found: &str, wanted: &str) -> bool {
    match wanted.split_once('…') {
        None => found == wanted,
        Some((before, after)) => found.strip_prefix(before).is_some_and(|rest| {
            rest.char_indices().any(|(at, _)| glob(&rest[at..], after)) || glob("", after)
        }),
    }
}

fn lines_are_as(found: &[&str], wanted: &[&str]) -> bool {
    match (found, wanted) {
        ([], []) => true,
        (_, ["…", rest @ ..]) => {
            (0..=found.len()).any(|skipped| lines_are_as(&found[skipped..], rest))
        }
        ([one, found @ ..], [other, wanted @ ..]) => {
            glob(one, other) && lines_are_as(found, wanted)
        }
        ([], _) | (_, []) => false,
    }
}

/// A folder, and the server on it.
struct Session {
    folder: tempfile::TempDir,
    server: Option<Server>,
    names: Names,
    code: i32,
}

impl Session {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, server: None, names: Names::new(), code: 0 }
    }

    fn run(&mut self, command: &str) -> Result<Answer, String> {
        let mut words = words(command).ok_or("a quote is open")?;
        for (name, value) in &self.names {
            words.iter_mut().for_each(|word| *word = word.replace(name, value));
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["curl", arguments @ ..] => self.curl(arguments),
            ["bellpunch", "serve"]
            | ["bellpunch", "serve", "&"]
            | ["cargo", "run", "--", "serve"] => {
                self.stop();
                self.door();
                Ok(Answer::text(String::new()))
            }
            ["bellpunch", "serve", "--set", pair] => {
                self.stop();
                let store = format!("disk:{}", self.folder.path().join("bellpunch-data").display());
                self.server = Some(Server::with(&store, &["--set", pair]));
                Ok(Answer::text(String::new()))
            }
            ["bellpunch", arguments @ ..] => Ok(self.bellpunch(arguments)),
            ["kill", "-9", "%1"] => {
                self.server.take().ok_or("no server runs")?.kill();
                Ok(Answer::text(String::new()))
            }
            ["kill", "%1"] => {
                self.stop();
                Ok(Answer::text(String::new()))
            }
            ["echo", "$?"] => Ok(Answer::text(self.code.to_string())),
            ["printf", content, ">", file] => {
                std::fs::write(self.folder.path().join(file), content).unwrap();
                Ok(Answer::text(String::new()))
            }
            ["cp", "-r", from, to] => {
                copy(&self.folder.path().join(from), &self.folder.path().join(to));
                Ok(Answer::text(String::new()))
            }
            _ => Err(format!("the test does not know the command `{command}`")),
        }
    }

    fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            assert!(server.terminate().success());
        }
    }

    fn door(&mut self) -> std::net::SocketAddr {
        let folder = self.folder.path().join("bellpunch-data");
        self.server.get_or_insert_with(|| Server::on_disk(&folder)).address
    }

    fn bellpunch(&mut self, arguments: &[&str]) -> Answer {
        // A folder belongs to one process.
        self.stop();
        let output = run(self.folder.path(), arguments);
        self.code = output.status.code().unwrap();
        let mut body = text(&output.stdout);
        if self.code != 0 {
            body.push_str(&text(&output.stderr));
        }
        Answer::text(body)
    }

    fn curl(&mut self, arguments: &[&str]) -> Result<Answer, String> {
        let call = Call::parse(self.folder.path(), arguments)?;
        let address = self.door();
        let show_head = call.show_head;
        let file = call.save_as.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (head, body) = runtime.block_on(call.send(address));
        let mut answer =
            Answer { head: show_head.then_some(head), body: String::from_utf8_lossy(&body).into() };
        if let Some(file) = file {
            std::fs::write(self.folder.path().join(file), body).unwrap();
            answer.body.clear();
        }
        Ok(answer)
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &place);
        } else {
            std::fs::copy(entry.path(), place).unwrap();
        }
    }
}

/// What `curl` is asked to do, as far as the pages use it.
#[derive(Default)]
struct Call {
    method: Option<String>,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    path: String,
    show_head: bool,
    save_as: Option<String>,
}

impl Call {
    fn parse(folder: &Path, arguments: &[&str]) -> Result<Self, String> {
        let mut call = Self::default();
        let mut rest = arguments.iter();
        let bytes = |value: &str| match value.strip_prefix('@') {
            Some(file) => std::fs::read(folder.join(file)).map_err(|error| error.to_string()),
            None => Ok(value.as_bytes().to_vec()),
        };
        while let Some(argument) = rest.next() {
            let mut value =
                || rest.next().copied().ok_or_else(|| format!("{argument} has no value"));
            match *argument {
                "-s" | "-sS" => {}
                "-i" | "-si" => call.show_head = true,
                "-X" => call.method = Some(value()?.to_owned()),
                "-H" => {
                    let header = value()?;
                    let (name, value) = header.split_once(':').ok_or("a header has no colon")?;
                    call.headers.push((name.to_owned(), value.trim().to_owned()));
                }
                "--json" => {
                    call.body = Some(bytes(value()?)?);
                    call.standard("accept", "application/json");
                    call.standard("content-type", "application/json");
                }
                "-d" | "--data-binary" => {
                    call.body = Some(bytes(value()?)?);
                    call.standard("content-type", "application/x-www-form-urlencoded");
                }
                "-T" => {
                    call.body = Some(bytes(&format!("@{}", value()?))?);
                    call.method = Some("PUT".to_owned());
                }
                "-o" => call.save_as = Some(value()?.to_owned()),
                url => {
                    let url = url.strip_prefix("http://").unwrap_or(url);
                    let path = url.strip_prefix(DOOR).filter(|path| path.starts_with('/'));
                    let path =
                        path.ok_or_else(|| format!("`{url}` is no option and not at {DOOR}"))?;
                    call.path = path.to_owned();
                }
            }
        }
        if call.path.is_empty() { Err("no URL".to_owned()) } else { Ok(call) }
    }

    /// A header that curl sends unless the page names it.
    fn standard(&mut self, name: &str, value: &str) {
        if !self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            self.headers.push((name.to_owned(), value.to_owned()));
        }
    }

    async fn send(self, address: std::net::SocketAddr) -> (Vec<String>, Bytes) {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let usual = if self.body.is_some() { "POST" } else { "GET" };
        let method = self.method.as_deref().unwrap_or(usual);
        let mut request = Request::builder().method(method).uri(&self.path).header("host", DOOR);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let body = Full::new(Bytes::from(self.body.unwrap_or_default()));
        let response = sender.send_request(request.body(body).unwrap()).await.unwrap();
        let mut head = vec![format!("HTTP/1.1 {}", response.status())];
        for (name, value) in response.headers() {
            head.push(format!("{name}: {}", value.to_str().unwrap()));
        }
        (head, response.into_body().collect().await.unwrap().to_bytes())
    }
}
