//! The architecture, as tests: what must not depend on what, and where what is done.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the root").to_owned()
}

/// Packages by name, with the names of what each needs to be built and run.
struct Graph {
    needs: BTreeMap<String, BTreeSet<String>>,
    defaults: BTreeSet<String>,
}

fn graph() -> Graph {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let names: BTreeMap<String, String> = list(&metadata["packages"])
        .iter()
        .map(|package| (text(&package["id"]), text(&package["name"])))
        .collect();
    // The features of one member are chosen by another one here: what is optional is not needed.
    let mut optional: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in list(&metadata["packages"]) {
        let of = optional.entry(text(&package["name"])).or_default();
        for dependency in list(&package["dependencies"]) {
            let ours = text(&dependency["name"]).starts_with("bellpunch");
            if ours && dependency["optional"] == true {
                of.insert(text(&dependency["name"]));
            }
        }
    }
    let mut needs = BTreeMap::new();
    for node in list(&metadata["resolve"]["nodes"]) {
        let wanted = list(&node["deps"])
            .iter()
            .filter(|dep| list(&dep["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev"))
            .map(|dep| names[&text(&dep["pkg"])].clone())
            .filter(|name| !optional[&names[&text(&node["id"])]].contains(name))
            .collect();
        needs.insert(names[&text(&node["id"])].clone(), wanted);
    }
    let members = list(&metadata["workspace_default_members"]);
    let defaults = members.iter().map(|id| names[&text(id)].clone()).collect();
    Graph { needs, defaults }
}

impl Graph {
    /// Everything a package needs, itself apart.
    fn all(&self, package: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut open = vec![package.to_owned()];
        while let Some(next) = open.pop() {
            for need in self.needs.get(&next).into_iter().flatten() {
                if found.insert(need.clone()) {
                    open.push(need.clone());
                }
            }
        }
        found
    }
}

/// The Rust files of a folder, with their text.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(path) = open.pop() {
        for entry in fs::read_dir(&path).expect("the folder is there") {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() && !path.ends_with("target") {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).expect("sources are text");
                let path = path.strip_prefix(root()).expect("below the root").to_owned();
                files.push((path.display().to_string(), text));
            }
        }
    }
    files.sort();
    files
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("tests.rs") || path.contains("/examples/")
}

#[test]
fn pure_core() {
    let mut graph = graph();
    // Hashes ask the processor what it can do, on some targets through libc: no I/O.
    graph.needs.remove("cpufeatures");
    let needs = graph.all("bellpunch-core");
    for banned in ["tokio", "futures-core", "async-trait", "getrandom", "rand", "libc", "rustix"] {
        assert!(!needs.contains(banned), "bellpunch-core needs {banned}");
    }
}

#[test]
fn apart() {
    let graph = graph();
    assert!(!graph.all("bellpunch-core").iter().any(|name| name.starts_with("bellpunch")));
    let backends = ["bellpunch-disk", "bellpunch-postgres", "bellpunch-redis"];
    for backend in backends {
        let direct = &graph.needs[backend];
        assert!(!direct.contains("bellpunch-core"), "a backend does not know the rules' crate");
    }
    let rules = ["limits", "tickets", "uploads", "Command", "decide"];
    for crate_name in ["bellpunch-store"].into_iter().chain(backends) {
        let folder = &format!("crates/{crate_name}/src");
        for (path, text) in sources(folder) {
            for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
                let mut words =
                    line.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
                let rule = words.find(|word| rules.contains(word));
                assert_eq!(rule, None, "{path} names a rule: {line}");
            }
        }
    }
}

#[test]
fn check_apart() {
    // A mistake has to be made twice to stay unseen: the checkers share nothing with the rules.
    let needs = graph().all("bellpunch-check");
    let ours: Vec<_> = needs.iter().filter(|name| name.starts_with("bellpunch")).collect();
    assert!(ours.is_empty(), "bellpunch-check needs {ours:?}");
    let manifest = fs::read_to_string(root().join("crates/bellpunch-check/Cargo.toml"));
    assert!(!manifest.expect("it is there").contains("bellpunch-core"), "not even for its tests");
}

#[test]
fn no_planted() {
    // Bugs that are planted for tests are in no build that is for use.
    let mut mentions = 0_u32;
    for entry in fs::read_dir(root().join("crates")).expect("the folder is there") {
        let path = entry.expect("an entry").path().join("Cargo.toml");
        let manifest = fs::read_to_string(&path).expect("every crate has a manifest");
        for line in manifest.lines().filter(|line| line.contains("planted")) {
            mentions = mentions.saturating_add(1);
            let by_default = line.starts_with("default") || line.contains("workspace = true");
            assert!(!by_default, "{}: {line}", path.display());
            // Only a feature of the same name passes it on.
            let passed_on = line.starts_with("planted = [") || !line.contains("/planted");
            assert!(passed_on, "{}: {line}", path.display());
        }
    }
    assert!(2 < mentions, "the feature has gone elsewhere");
}

#[test]
fn one_clock() {
    // The runtime's timers bound waiting, and decide nothing; the time of day is read once.
    for (path, text) in sources("crates") {
        let clocks = ["SystemTime::now", "std::time::Instant", "Timestamp::now("];
        let reads = clocks.iter().any(|clock| text.contains(clock));
        // The simulator's command line bounds campaigns by real time; no world sees it.
        let places = ["crates/bellpunch/src/clock.rs", "crates/bellpunch-sim/src/main.rs"];
        let servers = path.starts_with("crates/bellpunch-servers/");
        let allowed = places.contains(&path.as_str()) || servers || is_test(&path);
        assert!(!reads || allowed, "{path} reads a clock");
    }
}

#[test]
fn one_env() {
    for (path, text) in sources("crates") {
        let reads = ["env::var", "env::args", "env::vars"].iter().any(|read| text.contains(read));
        // The servers of the tests look for their binaries; the world of the rules' tests, which is
        // in no other build, for how many cases it is to draw.
        let places = [
            "crates/bellpunch-cli/",
            "crates/bellpunch-servers/",
            "crates/bellpunch-core/src/trial.rs",
        ];
        let allowed = places.iter().any(|place| path.starts_with(place)) || is_test(&path);
        assert!(!reads || allowed, "{path} reads the environment");
    }
}

#[test]
fn one_runtime() {
    // What names tokio itself is not searched when the same file is compiled over a scheduler.
    for (path, text) in sources("crates/bellpunch/src") {
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let names = code.filter(|line| line.contains("tokio")).count();
        let allowed = path == "crates/bellpunch/src/runtime.rs" || is_test(&path);
        assert!(names == 0 || allowed, "{path} names tokio");
    }
}

#[test]
fn one_answer() {
    // There is no public function to test first and take later.
    for (path, text) in sources("crates/bellpunch-core/src") {
        for banned in
            ["pub fn remaining(", "pub fn is_valid(", "pub fn would_pass(", "pub fn check("]
        {
            assert!(!text.contains(banned), "{path} has {banned}…)");
        }
    }
}

#[test]
fn light() {
    let graph = graph();
    let mut all: BTreeSet<String> = graph.defaults.clone();
    for member in &graph.defaults {
        all.extend(graph.all(member));
    }
    assert!(all.len() <= 155, "{} packages behind the default members", all.len());
}

#[test]
fn every_module_says_what_it_is() {
    for folder in ["crates", "xtask/src", "examples"] {
        for (path, text) in sources(folder) {
            let opens = text.starts_with("//!") || path.ends_with("tests.rs") || is_test(&path);
            assert!(opens, "{path} does not open with what it is");
        }
    }
}

#[test]
fn architecture_fits_a_sitting_and_links_are_alive() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("it is there");
    assert!(text.lines().count() < 250);
    let mut pages = vec![root()];
    let mut checked = 0_u32;
    while let Some(path) = pages.pop() {
        if path.is_dir() {
            let hidden =
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if !hidden && !path.ends_with("target") {
                let entries = fs::read_dir(&path).expect("the folder can be read");
                pages.extend(entries.map(|entry| entry.expect("an entry").path()));
            }
        } else if path.extension().is_some_and(|ending| ending == "md") {
            checked = checked.saturating_add(links_of(&path));
        }
    }
    assert!(0 < checked, "no link was looked at");
}

#[test]
fn the_code_map_names_what_is_there() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("it is there");
    let named = text.split('`').skip(1).step_by(2);
    let mut count = 0_u32;
    for path in named.filter(|path| path.contains('/') && !path.contains([' ', '{', '*'])) {
        assert!(root().join(path).exists(), "ARCHITECTURE.md names {path}");
        count = count.saturating_add(1);
    }
    assert!(10 < count, "{count} paths were looked at");
}

/// Checks the relative links of a page; gives how many there were.
fn links_of(page: &Path) -> u32 {
    let text = fs::read_to_string(page).expect("pages are text");
    let mut count = 0_u32;
    for rest in text.split("](").skip(1) {
        let link = rest.split([')', '#']).next().unwrap_or_default();
        if link.is_empty() || link.contains("://") || link.starts_with('/') {
            continue;
        }
        count = count.saturating_add(1);
        let target = page.parent().expect("a page is in a folder").join(link);
        assert!(target.exists(), "{} links to {link}", page.display());
    }
    count
}
