//! A book as files: exported, imported, compared, looked at; and what was changed in one is named.

use std::path::Path;
use std::process::Output;

use hyper::Method;
use serde_json::Value;

use crate::client::Client;
use crate::filled::commands;
use crate::server::Server;

/// Fills a book; each command is accepted under the key of its place. Gives the receipts.
async fn fill(server: &Server) -> Vec<Value> {
    let mut client = Client::connect(server.address).await.unwrap();
    let mut receipts = Vec::new();
    for (place, (path, body)) in commands().into_iter().enumerate() {
        let key = format!("k{place}");
        let (status, receipt) = client.send(Method::POST, &path, (Some(&key), body)).await.unwrap();
        assert!(status < 300, "{path}: {status} {receipt}");
        receipts.push(receipt);
    }
    receipts
}

async fn stop(server: Server) {
    assert!(tokio::task::spawn_blocking(|| server.terminate()).await.unwrap().success());
}

fn on(command: &str, folder: &Path, more: &[&str]) -> Output {
    let store = crate::disk(folder);
    crate::bellpunch(&[&[command, "--store", &store], more].concat())
}

fn told(output: &Output) -> String {
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What follows `digest `.
fn digest(said: &str) -> &str {
    said.trim_end().rsplit_once("digest ").unwrap().1
}

/// An export of the folder without its first line, which says when.
fn exported(folder: &Path) -> String {
    let all = told(&on("export", folder, &[]));
    all.split_once('\n').unwrap().1.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_book_elsewhere_is_the_same_book() {
    let folder = tempfile::tempdir().unwrap();
    let (data, other) = (folder.path().join("data"), folder.path().join("other"));
    let server = Server::on_disk(&data);
    let receipts = fill(&server).await;
    stop(server).await;

    let file = folder.path().join("all.ndjson");
    let file = file.to_str().unwrap();
    let written = told(&on("export", &data, &[file]));
    let read = told(&on("import", &other, &[file]));
    assert!(read.starts_with("equal: 1 partition"), "{read}");
    assert_eq!(digest(&read), digest(&written));
    for folder in [&data, &other] {
        assert_eq!(digest(&told(&on("digest", folder, &[]))), digest(&read));
        crate::verify(folder);
        assert_eq!(told(&on("inspect", folder, &["partitions"])), "firm\n");
        let record = told(&on("inspect", folder, &["record", "firm", "retainers", "r"]));
        let record: Value = serde_json::from_str(&record).unwrap();
        assert_eq!(record["stored"]["record"]["balance"], 3_500, "{record}");
        let outcome = told(&on("inspect", folder, &["outcome", "firm", "k3"]));
        assert!(outcome.contains("low_balance"), "{outcome}");
    }
    assert!(exported(&data) == exported(&other), "the copy differs");

    // Keys go on, and numbers too.
    let server = Server::on_disk(&other);
    let mut client = Client::connect(server.address).await.unwrap();
    for (place, (path, body)) in commands().into_iter().enumerate() {
        let key = format!("k{place}");
        let (_, again) = client.send(Method::POST, &path, (Some(&key), body)).await.unwrap();
        assert_eq!(again["replayed"], true, "{path}: {again}");
        assert_eq!(again["seq"], receipts[place]["seq"], "{path}");
    }
    let (path, mut invoice) =
        commands().into_iter().find(|one| one.0.ends_with("invoices")).unwrap();
    invoice["id"] = "i3".into();
    let (_, new) = client.send(Method::POST, &path, (Some("new"), invoice)).await.unwrap();
    let number = new["invoice"]["number"].as_str().unwrap();
    assert!(number.ends_with("-0004"), "two invoices and one kept elsewhere came before: {number}");
    assert_eq!(new["seq"], commands().len() + 1);
    stop(server).await;
    crate::verify(&other);
}

/// One number of an export, where it is, and the check that names it.
struct Changed {
    kind: &'static str,
    /// What the line has beside the kind.
    with: &'static str,
    pointer: &'static str,
    check: &'static str,
}

const CHANGED: [Changed; 10] = [
    Changed {
        kind: "accounts",
        with: r#""id":"b""#,
        pointer: "/posted",
        check: "balance_matches_postings",
    },
    Changed {
        kind: "accounts",
        with: r#""id":"sys:cash:SAR""#,
        pointer: "/posted",
        check: "transfers_balance",
    },
    Changed {
        kind: "transfers",
        with: "accounts.debit",
        pointer: "/lines/0/amount",
        check: "transfers_balance",
    },
    Changed {
        kind: "retainers",
        with: r#""id":"r""#,
        pointer: "/balance",
        check: "retainer_matches_postings",
    },
    Changed {
        kind: "invoices",
        with: r#""id":"i1""#,
        pointer: "/amount_paid",
        check: "invoice_paid_equals_payments",
    },
    Changed {
        kind: "payments",
        with: r#""id":"p1""#,
        pointer: "/refunded",
        check: "refunds_within_payment",
    },
    Changed {
        kind: "payments",
        with: r#""id":"p2""#,
        pointer: "/unapplied",
        check: "credit_matches_payments",
    },
    Changed {
        kind: "numbers",
        with: r#""document":"i1""#,
        pointer: "/value",
        check: "number_unique",
    },
    Changed { kind: "series_counters", with: "INV", pointer: "/last", check: "number_without_gap" },
    Changed {
        kind: "jobs",
        with: r#""id":"j""#,
        pointer: "/proposals",
        check: "proposals_counted",
    },
];

/// The export with that number raised by one; gives the record's id, too.
fn raised(export: &str, changed: &Changed) -> (String, String) {
    let kind = format!(r#""kind":"{}""#, changed.kind);
    let is_it = |line: &&str| line.contains(&kind) && line.contains(changed.with);
    let line = export.lines().find(is_it).unwrap_or_else(|| panic!("no {}", changed.with));
    let mut parsed: Value = serde_json::from_str(line).unwrap();
    let number = parsed["stored"]["record"].pointer_mut(changed.pointer).unwrap();
    *number = (number.as_i64().unwrap() + 1).into();
    let id = parsed["id"].as_str().unwrap().to_owned();
    (export.replace(line, &parsed.to_string()), id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_number_of_a_book_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::on_disk(&data);
    let _ = fill(&server).await;
    stop(server).await;
    let export = told(&on("export", &data, &[]));
    for (place, changed) in CHANGED.iter().enumerate() {
        let (text, id) = raised(&export, changed);
        let file = folder.path().join(format!("{place}.ndjson"));
        std::fs::write(&file, text).unwrap();
        let other = folder.path().join(format!("other{place}"));
        // An import takes what the file says: it is no judge of it.
        let read = told(&on("import", &other, &[file.to_str().unwrap()]));
        assert!(read.starts_with("equal: "), "{read}");
        let output = on("verify", &other, &["--json"]);
        assert_eq!(output.status.code(), Some(1), "{}: not found", changed.check);
        let findings = String::from_utf8(output.stdout).unwrap();
        let findings: Vec<Value> =
            findings.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let is_it = |finding: &&Value| finding["check"] == changed.check;
        let named = findings.iter().find(is_it);
        let named = named.unwrap_or_else(|| panic!("{id}: {findings:#?}"));
        assert_eq!(named["partition"], "firm");
        println!("{}/{id}{} + 1: {named}", changed.kind, changed.pointer);
    }
    // One command that was never sent, in the place of one that was.
    let line = export.lines().find(|line| line.contains("retainers.consume")).unwrap();
    let forged = export.replace(line, &line.replacen(r#""amount":6000"#, r#""amount":5999"#, 1));
    let file = folder.path().join("forged.ndjson");
    std::fs::write(&file, forged).unwrap();
    let other = folder.path().join("forged");
    told(&on("import", &other, &[file.to_str().unwrap()]));
    let output = on("verify", &other, &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("journal_intact: ") && said.contains("entries/"), "{said}");
}
