//! `bellpunch verify --history`: the histories of the reference page have the verdicts it says.

use std::path::Path;

use crate::{code, run, text};

/// The blocks of the page, each with the heading it stands under.
fn examples() -> Vec<(String, String)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/history.md");
    let page = std::fs::read_to_string(page).unwrap();
    let mut all = Vec::new();
    for section in page.split("\n## ") {
        let head = section.lines().next().unwrap();
        for block in section.split("```jsonl\n").skip(1) {
            all.push((head.to_owned(), block.split("```").next().unwrap().to_owned()));
        }
    }
    all
}

#[test]
fn the_histories_of_the_page_have_its_verdicts() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    for (head, history) in examples() {
        std::fs::write(folder.path().join("h.jsonl"), history).unwrap();
        let output = run(folder.path(), &["verify", "--history", "h.jsonl"]);
        let said = text(&output.stdout);
        let verdict = said.lines().next().unwrap_or_default().to_owned();
        assert!(head.ends_with(&verdict), "{head}: {said}{}", text(&output.stderr));
        let expected = match verdict.as_str() {
            "PASS" => 0,
            "FAIL" => 1,
            _ => 3,
        };
        assert_eq!(code(&output), expected, "{head}");
        let output = run(folder.path(), &["verify", "--json", "--history", "h.jsonl"]);
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(told["verdict"], verdict.to_lowercase());
        assert_eq!(code(&output), expected);
        seen.push(expected);
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [0, 1, 3]);
}

#[test]
fn a_file_that_is_no_history_has_no_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let (_, whole) = examples().swap_remove(0);
    let newer = whole.replacen("\"version\": 1", "\"version\": 2", 1);
    assert_ne!(newer, whole);
    let (cut, _) = whole.split_at(whole.len() - 9);
    for (content, expected, said) in [
        ("", 2, "the history is empty"),
        ("{}\n", 2, "line 1"),
        (cut, 2, "docs/reference/history.md"),
        (newer.as_str(), 5, "newer format"),
    ] {
        std::fs::write(folder.path().join("h.jsonl"), content).unwrap();
        let output = run(folder.path(), &["verify", "--history", "h.jsonl"]);
        assert_eq!(code(&output), expected, "{content}");
        assert!(text(&output.stderr).contains(said), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "");
    }
    assert_eq!(code(&run(folder.path(), &["verify", "--history", "none"])), 4);
    let both = ["verify", "--history", "h.jsonl", "--store", "memory:"];
    assert_eq!(code(&run(folder.path(), &both)), 2);
}
