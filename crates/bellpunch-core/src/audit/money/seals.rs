//! The seals that the engine makes itself: hashes of documents as they were frozen.
//!
//! Invariant: what is hashed never changes again, so the hash follows from what is stored now. Only
//! what is hashed of a client may change later: of one that did, nothing can be told here.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::numbers::NUMBERED;
use crate::Digest;
use crate::audit::{Book, Finding, Stored, finding};

/// What is told of a seal that is not right, under this check. `before`: the hash of the document
/// before. Where that and what this document carries differ, the difference itself is told elsewhere.
pub(super) fn check(
    book: &Book,
    check: &'static str,
    (chain, counter, sealed): (&str, u64, &Stored),
    before: &str,
) -> Option<Finding> {
    let found = sealed.text("hash")?;
    let mut hashes = Vec::new();
    for previous in [sealed.text("prev_hash")?, before] {
        let place = json!({ "chain": chain, "counter": counter, "prev_hash": previous });
        for document in forms(book, &place, sealed)? {
            let form = json!({ "counter": counter, "document": document, "prev_hash": previous });
            hashes.push(Digest::new(Sha256::digest(form.to_string()).into()).to_string());
        }
    }
    if hashes.iter().any(|hash| hash == found) {
        return None;
    }
    Some(finding(check, sealed, format!("the hash {}", hashes.first()?), format!("hash {found}")))
}

/// What may have been hashed: each document of this id and number, and one that is kept elsewhere.
/// `None`: a client that was changed since.
fn forms(book: &Book, place: &Value, sealed: &Stored) -> Option<Vec<Value>> {
    let (id, number) = (sealed.text("document")?, sealed.text("number")?);
    let mut forms = Vec::new();
    for kind in NUMBERED {
        let document = book.one(kind, id).filter(|found| found.text("number") == Some(number));
        if let Some(document) = document {
            forms.push(form(kind, (id, document), place)?);
        }
    }
    let (series, at) = (sealed.text("series")?, sealed.text("at")?);
    forms.push(json!({ "document": id, "number": number, "series": series, "at": at }));
    Some(forms)
}

/// A document of this kind as it was frozen.
fn form(kind: &str, (id, document): (&str, &Stored), place: &Value) -> Option<Value> {
    let field = |name: &str| document.record.get(name).cloned().unwrap_or_default();
    let of = |names: &[&str]| {
        let fields = names.iter().map(|name| ((*name).to_owned(), field(name)));
        let mut form: serde_json::Map<String, Value> = fields.collect();
        form.insert("id".to_owned(), id.into());
        form.insert("chain".to_owned(), place.clone());
        Value::Object(form)
    };
    let with = |mut form: Value, name: &str, value: Value| {
        form.as_object_mut()?.insert(name.to_owned(), value);
        Some(form)
    };
    match kind {
        // A client is hashed as it was made.
        "clients" if document.version.get() == 1 => Some(document.record.clone()),
        "transfers" => {
            let mut form = document.record.clone();
            // That it was reversed is noted in it later.
            form.as_object_mut()?.remove("reversed");
            Some(form)
        }
        "invoices" => {
            let rates = document.list("rates").iter().map(|rate| {
                let of = |name| rate.get(name).cloned().unwrap_or_default();
                json!({ "vat_bp": of("vat_bp"), "net": of("net"), "vat": of("vat") })
            });
            let names = [
                "number",
                "client",
                "currency",
                "lines",
                "discount",
                "net",
                "vat",
                "total",
                "issue_date",
                "issued_at",
                "due_on",
            ];
            let form = with(of(&names), "rates", rates.collect())?;
            with(form, "document", "invoice".into())
        }
        "credit_notes" => {
            let names = [
                "number",
                "invoice",
                "client",
                "currency",
                "rates",
                "net",
                "vat",
                "total",
                "reason",
                "issue_date",
                "issued_at",
            ];
            with(of(&names), "document", "credit_note".into())
        }
        "retainers" => Some(of(&["number", "client", "type", "currency", "created_at"])),
        "payments" => {
            let amount = json!({ "amount": field("amount"), "currency": field("currency") });
            with(of(&["number", "client", "created_at"]), "amount", amount)
        }
        "refunds" => {
            let form = of(&["number", "amount", "currency", "created_at"]);
            match document.list("retainer") {
                [retainer, _] => with(form, "retainer", retainer.clone()),
                _ => with(form, "payment", field("payment")),
            }
        }
        _ => None,
    }
}
