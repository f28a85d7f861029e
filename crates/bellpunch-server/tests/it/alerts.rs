//! The alerts in `ops/` name metrics that are there, checks that are made, and pages that explain.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::client::Server;
use crate::conditions::PROVOKED;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// An alert as the file has it: this much of YAML it uses, and no more.
#[derive(Debug, Default)]
pub(crate) struct Alert {
    pub(crate) name: String,
    pub(crate) expression: String,
    severity: String,
    runbook: String,
}

pub(crate) fn alerts() -> Vec<Alert> {
    let mut alerts: Vec<Alert> = Vec::new();
    for line in read("ops/alerts.yml").lines() {
        let Some((field, value)) = line.trim().trim_start_matches("- ").split_once(": ") else {
            continue;
        };
        let value = value.trim_matches('\'').replace("''", "'");
        if field == "alert" {
            alerts.push(Alert { name: value, ..Alert::default() });
            continue;
        }
        let Some(alert) = alerts.last_mut() else { continue };
        match field {
            "expr" => alert.expression = value,
            "severity" => alert.severity = value,
            "runbook" => alert.runbook = value,
            _ => {}
        }
    }
    alerts
}

/// The names of metrics in an expression.
pub(crate) fn named(expression: &str) -> BTreeSet<&str> {
    let words = expression.split(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_');
    words.filter(|word| word.starts_with("bellpunch_")).collect()
}

/// Whether parentheses, braces and quotes are closed as they were opened.
pub(crate) fn closed(expression: &str) -> bool {
    let mut open = Vec::new();
    let mut quoted = false;
    for sign in expression.chars() {
        match sign {
            '"' => quoted = !quoted,
            '(' if !quoted => open.push(')'),
            '{' if !quoted => open.push('}'),
            '[' if !quoted => open.push(']'),
            ')' | '}' | ']' if !quoted && open.pop() != Some(sign) => return false,
            _ => {}
        }
    }
    open.is_empty() && !quoted
}

#[tokio::test]
async fn each_alert_names_what_there_is() {
    let server = Server::start().await;
    let metrics = String::from_utf8(server.get("/metrics").await.bytes).unwrap();
    let page = read("docs/operating/alerts.md");
    let alerts = alerts();
    assert_eq!(alerts.len(), read("ops/alerts.yml").matches("alert: ").count());
    for Alert { name, expression, severity, runbook } in &alerts {
        let metrics_named = named(expression);
        assert!(!metrics_named.is_empty() && closed(expression), "{name}: {expression}");
        for metric in metrics_named {
            assert!(metrics.contains(&format!("# TYPE {metric} ")), "{name}: no metric {metric}");
        }
        assert!(["page", "ticket", "info"].contains(&severity.as_str()), "{name}: {severity}");
        assert!(page.contains(&format!("\n## {name}\n\n`{severity}`. ")), "{name} has no section");
        assert!(page.contains(&format!("\n{expression}\n")), "the page says otherwise: {name}");
        let place = format!("docs/operating/alerts.md#{}", name.to_lowercase());
        assert_eq!(*runbook, place);
    }
    assert_eq!(page.matches("\n## ").count(), alerts.len(), "a section is of no alert");
}

/// The checks of money that the general alert covers and no other.
const GENERAL: [&str; 2] = ["proposals_counted", "events_match_postings"];

#[test]
fn each_check_of_money_has_an_alert_and_no_alert_another() {
    let mut named = BTreeSet::new();
    for alert in alerts() {
        for part in alert.expression.split("check=").skip(1) {
            let text = part.trim_start_matches('~').split('"').nth(1).unwrap();
            named.extend(text.split('|').map(str::to_owned));
        }
    }
    let is_known = |name: &String| bellpunch::audit::CHECKS.contains(&name.as_str());
    assert!(named.iter().all(is_known), "{named:?}");
    // The journal has no alert of its own: it is of more than money.
    let of_money = bellpunch::audit::OF_THE_BOOK
        .into_iter()
        .filter(|check| *check != "journal_intact" && !GENERAL.contains(check));
    assert_eq!(named, of_money.map(str::to_owned).collect());
}

#[test]
fn each_alert_is_provoked() {
    let names: BTreeSet<String> = alerts().into_iter().map(|alert| alert.name).collect();
    let provoked: BTreeSet<String> = PROVOKED.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(names, provoked, "an alert has no test in `conditions.rs`, or that test no alert");
}
