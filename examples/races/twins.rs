//! Deliberately naive twins: each reads, decides, and writes in separate steps.
//!
//! The store between the steps is a map behind a lock, reached over a hop that takes a moment, as
//! a database or an object store does. Every single read and write is atomic. The services are
//! not.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// How long one step to the store takes.
const HOP: Duration = Duration::from_millis(2);

#[derive(Clone, Debug, Default)]
struct Store(Arc<Mutex<BTreeMap<String, Value>>>);

impl Store {
    async fn read(&self, key: &str) -> Value {
        tokio::time::sleep(HOP).await;
        self.0.lock().expect("no code panics here").get(key).cloned().unwrap_or(Value::Null)
    }

    async fn write(&self, key: &str, value: Value) {
        tokio::time::sleep(HOP).await;
        self.0.lock().expect("no code panics here").insert(key.to_owned(), value);
    }
}

/// Starts the twins on a free loopback port.
pub(crate) async fn start() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let store = Store::default();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let store = store.clone();
            let service = service_fn(move |request| serve(store.clone(), request));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok(address)
}

async fn serve(
    store: Store,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let bytes = match request.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => Bytes::new(),
    };
    let body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    let parts: Vec<_> = path.trim_matches('/').split('/').collect();
    let (status, reply) = match parts.as_slice() {
        ["put", kind, id] => {
            store.write(&format!("{kind}/{id}"), body).await;
            (200, Value::Null)
        }
        ["get", kind, id] => (200, store.read(&format!("{kind}/{id}")).await),
        ["tokens", id, "use"] => use_token(&store, id).await,
        ["sessions", id, "redeem"] => redeem(&store, id).await,
        ["limits", key, "check"] => check(&store, key).await,
        ["uploads", id, "upload"] => upload(&store, id, &body).await,
        ["uploads", id, "complete"] => complete(&store, id).await,
        ["retainers", id, "consume"] => consume(&store, id, &body).await,
        ["retainers", id, "replenish"] => replenish(&store, id, &body).await,
        ["payments", id, "complete"] => complete_payment(&store, id, &body).await,
        ["payments", id, "refund"] => refund(&store, id, &body).await,
        ["documents"] => number(&store).await,
        _ => (404, Value::Null),
    };
    let mut response = Response::new(Full::new(Bytes::from(reply.to_string())));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    Ok(response)
}

/// The token quota: the count is read, compared, and written back.
async fn use_token(store: &Store, id: &str) -> (u16, Value) {
    let key = format!("tokens/{id}");
    let mut token = store.read(&key).await;
    let used = token["used"].as_u64().unwrap_or_default();
    if token["limit"].as_u64().unwrap_or_default() <= used {
        return (429, Value::Null);
    }
    token["used"] = json!(used + 1);
    store.write(&key, token).await;
    (200, Value::Null)
}

/// The redemption session: status and expiry are checked, then it is marked as used.
async fn redeem(store: &Store, id: &str) -> (u16, Value) {
    let key = format!("sessions/{id}");
    let mut session = store.read(&key).await;
    if session["used_at_ms"].is_u64() || session["expires_at_ms"].as_u64() <= Some(now_ms()) {
        return (409, Value::Null);
    }
    // Other validations: the shop, the customer.
    let _ = store.read("shops/s1").await;
    let _ = store.read("customers/c1").await;
    let used_at_ms = now_ms();
    session["used_at_ms"] = json!(used_at_ms);
    store.write(&key, session).await;
    (200, json!({ "used_at_ms": used_at_ms }))
}

/// The rate limiter: `checkOnly`, then `increment`.
async fn check(store: &Store, id: &str) -> (u16, Value) {
    let key = format!("limits/{id}");
    let count = store.read(&key).await["count"].as_u64().unwrap_or_default();
    if 5 <= count {
        return (429, Value::Null);
    }
    let latest = store.read(&key).await["count"].as_u64().unwrap_or_default();
    store.write(&key, json!({ "count": latest + 1 })).await;
    (200, Value::Null)
}

/// The upload: the record is loaded, the bytes and the status are set, the record is saved.
async fn upload(store: &Store, id: &str, body: &Value) -> (u16, Value) {
    let key = format!("transfers/{id}");
    let mut transfer = store.read(&key).await;
    if transfer["status"] == "completed" {
        return (409, Value::Null);
    }
    transfer["payload"] = body["payload"].clone();
    transfer["status"] = json!("pending");
    store.write(&key, transfer).await;
    (200, Value::Null)
}

/// The completion: if the token is still active, the status is set, and the token charged
/// afterwards; that the charge is refused is not looked at.
async fn complete(store: &Store, id: &str) -> (u16, Value) {
    let key = format!("transfers/{id}");
    let mut transfer = store.read(&key).await;
    let token = transfer["token"].as_str().unwrap_or_default().to_owned();
    let quota = store.read(&format!("tokens/{token}")).await;
    if transfer["status"] == "completed" || quota["limit"].as_u64() <= quota["used"].as_u64() {
        return (409, Value::Null);
    }
    transfer["status"] = json!("completed");
    let payload = transfer["payload"].clone();
    store.write(&key, transfer).await;
    let _ = use_token(store, &token).await;
    (200, json!({ "payload": payload }))
}

/// The retainer: the balance is read, compared, and written back.
async fn consume(store: &Store, id: &str, body: &Value) -> (u16, Value) {
    let key = format!("retainers/{id}");
    let balance = store.read(&key).await["balance"].as_u64().unwrap_or_default();
    let Some(left) = balance.checked_sub(body["amount"].as_u64().unwrap_or_default()) else {
        return (409, Value::Null);
    };
    store.write(&key, json!({ "balance": left })).await;
    (200, Value::Null)
}

/// The payment: its status is read, the invoice is credited, the status is written.
async fn complete_payment(store: &Store, id: &str, body: &Value) -> (u16, Value) {
    let key = format!("payments/{id}");
    let mut payment = store.read(&key).await;
    if payment["status"] == "completed" {
        return (409, Value::Null);
    }
    let invoice = format!("invoices/{}", body["invoice"].as_str().unwrap_or_default());
    let mut credited = store.read(&invoice).await;
    let amount = payment["amount"].as_u64().unwrap_or_default();
    credited["paid"] = json!(credited["paid"].as_u64().unwrap_or_default() + amount);
    store.write(&invoice, credited).await;
    payment["status"] = json!("completed");
    store.write(&key, payment).await;
    (200, Value::Null)
}

/// The refund: what was refunded is read, compared, and written back.
async fn refund(store: &Store, id: &str, body: &Value) -> (u16, Value) {
    let key = format!("payments/{id}");
    let mut payment = store.read(&key).await;
    let asked = body["amount"].as_u64().unwrap_or_default();
    let refunded = payment["refunded"].as_u64().unwrap_or_default() + asked;
    if payment["amount"].as_u64().unwrap_or_default() < refunded {
        return (409, Value::Null);
    }
    payment["refunded"] = json!(refunded);
    store.write(&key, payment).await;
    (200, Value::Null)
}

/// The number: how many there are, and one.
async fn number(store: &Store) -> (u16, Value) {
    let count = store.read("documents").await["count"].as_u64().unwrap_or_default();
    store.write("documents", json!({ "count": count + 1 })).await;
    (200, json!({ "number": format!("DOC-{:04}", count + 1) }))
}

/// The retainer is credited with a payment, if it was not before; that it was is noted afterwards.
async fn replenish(store: &Store, id: &str, body: &Value) -> (u16, Value) {
    let payment = format!("payments/{}", body["payment"].as_str().unwrap_or_default());
    let mut paid = store.read(&payment).await;
    if paid["credited"] == true {
        return (409, Value::Null);
    }
    let key = format!("retainers/{id}");
    let balance = store.read(&key).await["balance"].as_u64().unwrap_or_default();
    let amount = paid["amount"].as_u64().unwrap_or_default();
    store.write(&key, json!({ "balance": balance + amount })).await;
    paid["credited"] = json!(true);
    store.write(&payment, paid).await;
    (200, Value::Null)
}

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
