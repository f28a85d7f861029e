//! The attacks on a billing backend: a retainer drained, a payment completed twice, refunds that
//! lose each other, numbers given twice, a retainer credited twice.

use std::collections::BTreeSet;

use hyper::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::Row;
use crate::attacks::{Target, Targets};
use crate::client::{Client, Fault, connect};

const CONNECTIONS: usize = 50;

/// Runs every attack, naive twin first.
pub(crate) async fn all((naive, ours): Targets) -> Result<Vec<Row>, Fault> {
    let client = json!({ "id": "c1", "scope": "firm", "name": "first client" });
    let mut desk = Client::connect(ours.address()).await?;
    made(&mut desk, "clients", client).await?;
    Ok(vec![
        retainer_drained((naive, ours), &mut desk).await?,
        payment_twice((naive, ours), &mut desk).await?,
        refunds_lost((naive, ours), &mut desk).await?,
        numbers_twice((naive, ours)).await?,
        retainer_credited_twice((naive, ours), &mut desk).await?,
    ])
}

fn sar(amount: u64) -> Value {
    json!({ "amount": amount, "currency": "SAR" })
}

/// Sends a command that sets something up.
async fn made(desk: &mut Client, path: &str, body: Value) -> Result<(), Fault> {
    let (status, reply) = desk.post(&format!("/v1/book/{path}"), body).await?;
    if 300 <= status { Err(format!("{path}: {status}: {reply}").into()) } else { Ok(()) }
}

async fn set(naive: Target, path: &str, body: Value) -> Result<(), Fault> {
    Client::connect(naive.address()).await?.post(path, body).await?;
    Ok(())
}

/// A retainer of 100, asked for 60 by 20 at once: one fits.
async fn retainer_drained((naive, ours): Targets, desk: &mut Client) -> Result<Row, Fault> {
    set(naive, "/put/retainers/r1", json!({ "balance": 100 })).await?;
    let naive = naive.fire(20, ("/retainers/r1/consume", ""), json!({ "amount": 60 })).await?;
    let retainer = json!({
        "id": "r1", "client": "c1", "type": "advance", "currency": "SAR",
        "initial_amount": sar(100),
    });
    made(desk, "retainers", retainer).await?;
    let consume = json!({ "amount": sar(60) });
    let bellpunch = ours.fire(20, ("", "/v1/book/retainers/r1/consume"), consume).await?;
    let name = "retainer of 100, 60 consumed 20 times at once";
    Ok(Row { name, attempted: 20, should_pass: 1, naive, bellpunch })
}

/// An issued invoice of `total`.
async fn invoice(desk: &mut Client, id: &str, total: u64) -> Result<(), Fault> {
    let line = json!({
        "description": "work", "quantity_milli": 1000, "unit_price": sar(total), "vat_bp": 0,
    });
    let body = json!({
        "id": id, "client": "c1", "currency": "SAR", "lines": [line], "due_on": "2030-01-31",
        "issue": true,
    });
    made(desk, "invoices", body).await
}

/// A pending payment of `amount`.
async fn payment(desk: &mut Client, id: &str, to: Value, amount: u64) -> Result<(), Fault> {
    let body = json!({
        "id": id, "client": "c1", "amount": sar(amount), "method": "card", "destinations": [to],
    });
    made(desk, "payments", body).await
}

/// One payment, whose gateway tells of it 20 times at once: it is applied once.
async fn payment_twice((naive, ours): Targets, desk: &mut Client) -> Result<Row, Fault> {
    set(naive, "/put/invoices/i1", json!({ "total": 1000, "paid": 0 })).await?;
    set(naive, "/put/payments/p1", json!({ "status": "pending", "amount": 500 })).await?;
    let naive = naive.fire(20, ("/payments/p1/complete", ""), json!({ "invoice": "i1" })).await?;
    invoice(desk, "i1", 1000).await?;
    payment(desk, "p1", json!({ "invoice": "i1", "amount": sar(500) }), 500).await?;
    let bellpunch = ours.fire(20, ("", "/v1/book/payments/p1/complete"), json!({})).await?;
    let name = "payment completed 20 times at once";
    Ok(Row { name, attempted: 20, should_pass: 1, naive, bellpunch })
}

/// A payment of 100, of which 30 are refunded 20 times at once: three fit.
async fn refunds_lost((naive, ours): Targets, desk: &mut Client) -> Result<Row, Fault> {
    set(naive, "/put/payments/p2", json!({ "amount": 100, "refunded": 0 })).await?;
    let naive = naive.fire(20, ("/payments/p2/refund", ""), json!({ "amount": 30 })).await?;
    payment(desk, "p2", json!({ "unapplied": sar(100) }), 100).await?;
    made(desk, "payments/p2/complete", json!({})).await?;
    let refund = json!({ "amount": sar(30), "reason": "asked for" });
    let bellpunch = ours.fire(20, ("", "/v1/book/payments/p2/refund"), refund).await?;
    let name = "payment of 100, 30 refunded 20 times at once";
    Ok(Row { name, attempted: 20, should_pass: 3, naive, bellpunch })
}

/// Fifty documents at once: none may have the number of another.
async fn numbers_twice((naive, ours): Targets) -> Result<Row, Fault> {
    let naive = repeated(naive).await?;
    let bellpunch = repeated(ours).await?;
    let name = "50 documents numbered at once: numbers repeated";
    Ok(Row { name, attempted: CONNECTIONS, should_pass: 0, naive, bellpunch })
}

async fn repeated(target: Target) -> Result<usize, Fault> {
    let mut tasks = JoinSet::new();
    for mut client in connect(target.address(), CONNECTIONS).await? {
        tasks.spawn(async move {
            let (path, body) = match target {
                Target::Naive(_) => ("/documents", json!({})),
                Target::Bellpunch(_) => (
                    "/v1/book/payments",
                    json!({ "client": "c1", "amount": sar(1), "method": "card" }),
                ),
            };
            let (status, reply) = client.json(Method::POST, path, body).await?;
            let number = [&reply["number"], &reply["payment"]["number"]];
            let number = number.into_iter().find_map(Value::as_str).map(str::to_owned);
            number.ok_or_else(|| Fault::from(format!("{status}: {reply}")))
        });
    }
    let mut numbers = BTreeSet::new();
    let mut all = 0;
    while let Some(task) = tasks.join_next().await {
        numbers.insert(task??);
        all += 1;
    }
    Ok(all - numbers.len())
}

/// One payment, credited to a retainer 20 times at once: once.
async fn retainer_credited_twice((naive, ours): Targets, desk: &mut Client) -> Result<Row, Fault> {
    set(naive, "/put/retainers/r2", json!({ "balance": 0 })).await?;
    set(naive, "/put/payments/p3", json!({ "status": "completed", "amount": 50 })).await?;
    let body = json!({ "payment": "p3" });
    let naive = naive.fire(20, ("/retainers/r2/replenish", ""), body).await?;
    let retainer = json!({ "id": "r2", "client": "c1", "type": "advance", "currency": "SAR" });
    made(desk, "retainers", retainer).await?;
    payment(desk, "p3", json!({ "unapplied": sar(50) }), 50).await?;
    made(desk, "payments/p3/complete", json!({})).await?;
    let body = json!({ "amount": sar(50), "payment": "p3" });
    let bellpunch = ours.fire(20, ("", "/v1/book/retainers/r2/replenish"), body).await?;
    let name = "retainer credited 20 times at once by one payment";
    Ok(Row { name, attempted: 20, should_pass: 1, naive, bellpunch })
}
