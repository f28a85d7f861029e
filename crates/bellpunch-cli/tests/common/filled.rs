//! What fills a book: something in each part of it.

use serde_json::{Value, json};

fn sar(amount: u64) -> Value {
    json!({ "amount": amount, "currency": "SAR" })
}

/// Commands of every part of a book, each with its path.
pub(crate) fn commands() -> Vec<(String, Value)> {
    let line = json!({
        "description": "advice", "quantity_milli": 2_500, "unit_price": sar(40_000), "vat_bp": 1_500,
    });
    let invoice = |id: &str| {
        json!({
            "id": id, "client": "c", "currency": "SAR", "due_on": "2099-01-31", "lines": [line],
            "issue": true,
        })
    };
    let payment = |id: &str, destinations: Value| {
        json!({
            "id": id, "client": "c", "amount": sar(65_000), "method": "card",
            "destinations": destinations,
        })
    };
    let account = |id: &str, class: &str| json!({ "id": id, "owner": "o", "currency": "SAR", "class": class });
    let later = |amount| json!({ "amount": sar(amount), "reason": "less", "settle": "later" });
    let all = [
        ("book/configure", json!({ "zone": "Asia/Riyadh" })),
        ("clients", json!({ "id": "c", "scope": "lawyer", "name": "A. Client" })),
        (
            "retainers",
            json!({
                "id": "r", "client": "c", "type": "evergreen", "currency": "SAR",
                "initial_amount": sar(10_000), "minimum_balance": sar(5_000),
            }),
        ),
        ("retainers/r/consume", json!({ "amount": sar(6_000) })),
        ("invoices", invoice("i1")),
        ("invoices", invoice("i2")),
        ("invoices/i2/void", json!({ "reason": "twice" })),
        ("payments", payment("p1", json!([{ "invoice": "i1", "amount": sar(65_000) }]))),
        ("payments/p1/complete", json!({})),
        ("payments/p1/refund", json!({ "amount": sar(20_000), "reason": "reduced" })),
        ("payments/p1/refund", later(5_000)),
        ("payments", payment("p2", json!([{ "unapplied": sar(65_000) }]))),
        ("payments/p2/complete", json!({})),
        ("payments", payment("p3", json!([{ "unapplied": sar(65_000) }]))),
        ("retainers/r/consume", json!({ "amount": sar(500), "invoice": "i1" })),
        ("accounts", account("bank", "external")),
        ("accounts", account("a", "bounded")),
        ("accounts", account("b", "bounded")),
        ("accounts/a/credit", json!({ "amount": sar(900), "from": "bank" })),
        ("accounts/a/debit", json!({ "amount": sar(200), "to": "b" })),
        ("accounts/a/hold", json!({ "amount": sar(300), "ttl_ms": 86_400_000 })),
        ("jobs", json!({ "id": "j", "owner": "o" })),
        ("proposals", json!({ "job": "j", "proposer": "x" })),
        ("proposals", json!({ "job": "j", "proposer": "y" })),
        ("series/INV/next", json!({ "document": "elsewhere" })),
    ];
    all.into_iter().map(|(path, body)| (format!("/v1/firm/{path}"), body)).collect()
}
