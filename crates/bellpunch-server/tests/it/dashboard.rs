//! The dashboard in `ops/` shows what is served, and all of it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::alerts::{closed, named, read};
use crate::client::Server;

fn panels() -> Vec<Value> {
    let dashboard: Value = serde_json::from_str(&read("ops/dashboard.json")).unwrap();
    dashboard["panels"].as_array().unwrap().clone()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn expressions(panel: &Value) -> Vec<&str> {
    let targets = panel["targets"].as_array().into_iter().flatten();
    targets.map(|target| text(target, "expr")).collect()
}

/// The metrics at `/metrics`, and under which names their samples are.
async fn served() -> BTreeSet<(String, String)> {
    let metrics = String::from_utf8(Server::start().await.get("/metrics").await.bytes).unwrap();
    let mut served = BTreeSet::new();
    for line in metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let ends: &[&str] =
            if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        served.extend(ends.iter().map(|end| (name.to_owned(), format!("{name}{end}"))));
    }
    served
}

#[tokio::test]
async fn the_dashboard_shows_what_is_served_and_all_of_it() {
    let served = served().await;
    let mut missing: BTreeSet<&str> = served.iter().map(|(metric, _)| metric.as_str()).collect();
    let panels = panels();
    for panel in &panels {
        for expression in expressions(panel) {
            assert!(closed(expression), "{expression}");
            let samples = named(expression);
            assert!(!samples.is_empty(), "{expression}");
            for sample in samples {
                let found = served.iter().find(|(_, known)| known == sample);
                let (metric, _) = found.unwrap_or_else(|| panic!("no metric {sample}"));
                missing.remove(metric.as_str());
            }
        }
    }
    assert_eq!(missing, BTreeSet::new(), "served, and on no panel");
}

#[test]
fn each_panel_says_what_it_shows_and_in_what_unit() {
    let panels = panels();
    let mut row = "";
    for panel in &panels {
        let title = text(panel, "title");
        assert!(!title.is_empty());
        if panel["type"] == "row" {
            row = title;
            continue;
        }
        assert!(!row.is_empty(), "{title} is in no row");
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str();
        assert!(unit.is_some_and(|unit| !unit.is_empty()), "{title} has no unit");
        assert!(!text(panel, "description").is_empty(), "{title} says nothing");
        assert!(!expressions(panel).is_empty(), "{title} asks nothing");
    }
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
}

/// Whether two panels lie on each other.
fn overlap(one: &Value, other: &Value) -> bool {
    let apart = |from: &str, size: &str| {
        let at = |panel: &Value| {
            let place = &panel["gridPos"];
            let from = place[from].as_u64().unwrap();
            (from, from + place[size].as_u64().unwrap())
        };
        let ((start, end), (other_start, other_end)) = (at(one), at(other));
        end <= other_start || other_end <= start
    };
    !apart("x", "w") && !apart("y", "h")
}

#[test]
fn no_panel_covers_another() {
    let panels = panels();
    for (place, panel) in panels.iter().enumerate() {
        for other in &panels[place + 1..] {
            assert!(!overlap(panel, other), "{} and {}", panel["title"], other["title"]);
        }
    }
}
