//! Chains of documents.

use serde_json::json;

use super::{DAY, Issue, book, chain, define, next, send, when};
use crate::trial::{Call, World};

fn sealed(document: &str, digit: &str) -> Call<'static> {
    ("chains.seal", json!({"document": document, "hash": digit.repeat(64)}))
}

#[test]
fn m53_a_document_waits_for_the_seal_of_the_one_before() {
    let mut world = book();
    send(&mut world, chain("tax", "caller")).ok();
    assert_eq!(send(&mut world, chain("tax", "auto")).no("chain_exists")["id"], "tax");
    let over = json!({"chain": "tax"});
    send(&mut world, define("INV", "INV-{YYYY}{MM}-{N:4}", over.clone())).ok();
    send(&mut world, define("CRN", "CRN-{YYYY}{MM}-{N:4}", over)).ok();
    let answer = send(&mut world, next("INV", "i1"));
    let genesis = "0".repeat(64);
    let place = json!({"chain": "tax", "counter": 1, "prev_hash": genesis});
    assert_eq!(answer.ok()["number"]["chain"], place);
    let answer = send(&mut world, next("INV", "i2"));
    let no = answer.no("chain_unsealed");
    assert_eq!((&no["document"], &no["counter"]), (&json!("i1"), &json!(1)));
    assert_eq!(no["prev_hash"], genesis);
    // Every document of the chain waits, whichever series it is of.
    send(&mut world, next("CRN", "c1")).no("chain_unsealed");
    assert_eq!(send(&mut world, sealed("i1", "1")).ok()["chain"]["next_prev_hash"], "1".repeat(64));
    let answer = send(&mut world, next("INV", "i2"));
    let shown = &answer.ok()["number"];
    assert_eq!(shown["number"], "INV-202506-0002", "what was refused took no number");
    assert_eq!(
        (&shown["chain"]["counter"], &shown["chain"]["prev_hash"]),
        (&json!(2), &json!("1".repeat(64)))
    );
    let answer = send(&mut world, sealed("i1", "9"));
    assert_eq!(answer.no("already_sealed")["hash"], "1".repeat(64));
    assert_eq!(send(&mut world, sealed("i9", "9")).no("document_not_found")["document"], "i9");
    let stale = ("chains.seal", json!({"document": "i2", "hash": "2".repeat(64), "if_version": 1}));
    assert_eq!(send(&mut world, stale).no("version_mismatch")["version"], 4);
}

#[test]
fn a_chain_that_seals_by_itself_waits_for_nobody() {
    let mut world = book();
    send(&mut world, chain("tax", "auto")).ok();
    send(&mut world, define("INV", "INV-{N:4}", json!({"chain": "tax"}))).ok();
    let mut before = json!("0".repeat(64));
    for n in 1..=3 {
        let answer = send(&mut world, next("INV", &format!("i{n}")));
        let place = &answer.ok()["number"]["chain"];
        assert_eq!((&place["counter"], &place["prev_hash"]), (&json!(n), &before));
        let read = send(&mut world, ("chains.read", json!({"id": "tax"})));
        let head = read.ok()["chain"]["next_prev_hash"].clone();
        assert_ne!(head, before);
        before = head;
    }
    let answer = send(&mut world, sealed("i3", "9"));
    assert_eq!(answer.no("already_sealed")["hash"], before);
}

#[test]
fn one_name_waits_for_one_seal_at_a_time() {
    let mut world = book();
    for (series, tax) in [("A", "a"), ("B", "b")] {
        send(&mut world, chain(tax, "caller")).ok();
        send(&mut world, define(series, &format!("{series}-{{N:2}}"), json!({"chain": tax}))).ok();
    }
    let document = crate::Key::new("i1").unwrap();
    let issue = |world: &mut World, series: &'static str| {
        world.send_any(when(DAY), std::sync::Arc::new(Issue { series, document: document.clone() }))
    };
    issue(&mut world, "A").ok();
    issue(&mut world, "B").no("chain_unsealed");
    send(&mut world, sealed("i1", "1")).ok();
    issue(&mut world, "B").ok();
    send(&mut world, sealed("i1", "2")).ok();
}

/// Two accounts of callers, one of which stands for the outside, and TXN in the chain `tax`.
fn moving(seal: &str) -> World {
    let mut world = book();
    for (id, class) in [("bank", "external"), ("a", "bounded")] {
        let content = json!({"id": id, "owner": id, "currency": "SAR", "class": class});
        send(&mut world, ("accounts.create", content)).ok();
    }
    send(&mut world, chain("tax", seal)).ok();
    let over = json!({"chain": "tax", "class": "unique"});
    send(&mut world, define("TXN", "TXN-{N:5}", over)).ok();
    world
}

fn numbered() -> Call<'static> {
    let line = |account: &str, side: &str| json!({"account": account, "side": side, "amount": {"amount": 1, "currency": "SAR"}});
    let lines = json!([line("bank", "debit"), line("a", "credit")]);
    ("transfers.create", json!({"lines": lines, "series": "TXN"}))
}

#[test]
fn a_transfer_of_a_chain_that_seals_by_itself_is_sealed() {
    let mut world = moving("auto");
    let mut before = json!("0".repeat(64));
    for n in 1..=2 {
        let answer = send(&mut world, numbered());
        let place = &answer.ok()["transfer"]["chain"];
        assert_eq!((&place["counter"], &place["prev_hash"]), (&json!(n), &before));
        let read = send(&mut world, ("chains.read", json!({"id": "tax"})));
        let head = read.ok()["chain"]["next_prev_hash"].clone();
        assert!(head.is_string() && head != before, "{head}");
        before = head;
    }
}

#[test]
fn a_transfer_waits_for_the_seal_of_the_one_before() {
    let mut world = moving("caller");
    let answer = send(&mut world, numbered());
    let first = answer.ok()["transfer"]["id"].as_str().unwrap().to_owned();
    let answer = send(&mut world, numbered());
    assert_eq!(answer.no("chain_unsealed")["document"], first);
    let account = send(&mut world, ("accounts.read", json!({"id": "a"})));
    assert_eq!(account.ok()["account"]["posted"], 1, "what was refused moved nothing");
    send(&mut world, sealed(&first, "1")).ok();
    let answer = send(&mut world, numbered());
    let shown = &answer.ok()["transfer"];
    assert_eq!((&shown["number"], &shown["chain"]["counter"]), (&json!("TXN-00002"), &json!(2)));
}

#[test]
fn a_void_number_stays_in_its_chain() {
    for seal in ["auto", "caller"] {
        let mut world = book();
        send(&mut world, chain("tax", seal)).ok();
        send(&mut world, define("INV", "INV-{N:4}", json!({"chain": "tax"}))).ok();
        send(&mut world, next("INV", "i1")).ok();
        let place =
            send(&mut world, super::void("INV", "INV-0001")).ok()["number"]["chain"].clone();
        assert_eq!(place["counter"], 1);
        if seal == "caller" {
            send(&mut world, next("INV", "i2")).no("chain_unsealed");
            send(&mut world, sealed("i1", "1")).ok();
        }
        let answer = send(&mut world, next("INV", "i2"));
        let shown = &answer.ok()["number"];
        assert_eq!((&shown["number"], &shown["chain"]["counter"]), (&json!("INV-0002"), &json!(2)));
        assert_ne!(shown["chain"]["prev_hash"], place["prev_hash"]);
    }
}
