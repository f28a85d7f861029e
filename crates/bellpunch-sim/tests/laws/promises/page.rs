//! The page on laws names tests that are there, and all that are here.

use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../../../../../docs/internals/laws.md");
const LAWS: [&str; 15] = [
    "model",
    "reject_pure",
    "reject_order",
    "bound",
    "conserve",
    "terminal",
    "once",
    "expiry",
    "time",
    "replay",
    "domain",
    "keys",
    "window",
    "status",
    "dense",
];

/// The text of every source file below a folder.
fn sources(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

/// Names in code quotes of a line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

#[test]
fn the_page_on_laws_names_every_test() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut here, mut core) = (String::new(), String::new());
    sources(&home.join("tests/laws"), &mut here);
    sources(&home.join("../bellpunch-core/src"), &mut core);
    let is_test = |sources: &str, name: &str| sources.contains(&format!("fn {name}("));
    let mut named = Vec::new();
    for line in PAGE.lines().filter(|line| line.starts_with("| ") && line.contains('`')) {
        let tests = line.split('|').nth(3).unwrap();
        let names = quoted(tests).filter(|name| !name.contains(['.', ' ']));
        for name in names {
            let is_there =
                is_test(&here, name) || (tests.contains("*core*") && is_test(&core, name));
            assert!(is_there, "{name} of the page on laws is no test");
            named.push(name);
        }
    }
    for law in LAWS {
        assert!(PAGE.contains(&format!("| `law.{law}` |")), "law.{law} is not on the page");
    }
    let written =
        here.lines().filter_map(|line| line.trim().strip_prefix("fn ")?.strip_suffix("() {"));
    let own: Vec<&str> =
        written.filter(|name| name.starts_with("law_") || name.starts_with("enumerate_")).collect();
    let missing: Vec<&&str> = own.iter().filter(|name| !named.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?} are not on the page on laws");
    assert!(16 <= own.len() && 30 <= named.len(), "{} of {}", own.len(), named.len());
}
