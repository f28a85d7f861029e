//! The attacks: what is fired at both, and what is counted.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::Row;
use crate::billing;
use crate::client::{Client, Fault, connect};
use crate::twins::now_ms;

const CONNECTIONS: usize = 64;

/// Runs every attack, naive twin first.
pub(crate) async fn all(naive: SocketAddr, bellpunch: SocketAddr) -> Result<Vec<Row>, Fault> {
    let targets = (Target::Naive(naive), Target::Bellpunch(bellpunch));
    let mut rows = vec![
        token_quota(targets).await?,
        session_twice(targets).await?,
        session_late(targets).await?,
        rate_limit(targets).await?,
        uploads_in_flight(targets).await?,
        upload_swapped(targets).await?,
    ];
    rows.extend(billing::all(targets).await?);
    Ok(rows)
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    Naive(SocketAddr),
    Bellpunch(SocketAddr),
}

pub(crate) type Targets = (Target, Target);

impl Target {
    pub(crate) const fn address(self) -> SocketAddr {
        match self {
            Self::Naive(address) | Self::Bellpunch(address) => address,
        }
    }

    /// Sends what both need once, each in its own words: an error status is an error.
    async fn set_up(self, naive: (&str, Value), ours: (Method, &str, Value)) -> Result<(), Fault> {
        let mut client = Client::connect(self.address()).await?;
        let (status, reply) = match self {
            Self::Naive(_) => client.post(naive.0, naive.1).await?,
            Self::Bellpunch(_) => client.json(ours.0, ours.1, ours.2).await?,
        };
        if 300 <= status { Err(format!("{status}: {reply}").into()) } else { Ok(()) }
    }

    /// Fires one request many times over many connections; counts the 2xx.
    pub(crate) async fn fire(
        self,
        count: usize,
        request: (&str, &str),
        body: Value,
    ) -> Result<usize, Fault> {
        let path = match self {
            Self::Naive(_) => request.0,
            Self::Bellpunch(_) => request.1,
        };
        let clients = connect(self.address(), CONNECTIONS).await?;
        let mut tasks = JoinSet::new();
        for (place, mut client) in clients.into_iter().enumerate() {
            let (path, body) = (path.to_owned(), body.clone());
            tasks.spawn(async move {
                let mut passed = 0_usize;
                for _ in (place..count).step_by(CONNECTIONS) {
                    let (status, reply) = client.post(&path, body.clone()).await?;
                    match status {
                        200..300 => passed += 1,
                        409 | 410 | 429 => {}
                        _ => return Err(format!("{path}: {status}: {reply}").into()),
                    }
                }
                Ok::<_, Fault>(passed)
            });
        }
        let mut passed = 0;
        while let Some(task) = tasks.join_next().await {
            passed += task??;
        }
        Ok(passed)
    }
}

/// A quota of 10, asked for 100 times at once.
async fn token_quota((naive, ours): Targets) -> Result<Row, Fault> {
    let mut passed = Vec::new();
    for target in [naive, ours] {
        let body = json!({ "limit": 10, "used": 0 });
        let quota = json!({ "id": "t1", "limit": 10 });
        target.set_up(("/put/tokens/t1", body), (Method::POST, "/v1/demo/quotas", quota)).await?;
        let paths = ("/tokens/t1/use", "/v1/demo/quotas/t1/consume");
        passed.push(target.fire(100, paths, json!({})).await?);
    }
    let name = "token quota of 10, 100 uses at once";
    Ok(Row { name, attempted: 100, should_pass: 10, naive: passed[0], bellpunch: passed[1] })
}

fn ticket(ttl_ms: u64) -> Value {
    json!({
        "holder": "c1", "audience": "s1", "max_amount": { "amount": 1, "unit": "use" },
        "ttl_ms": ttl_ms, "issued_by": "s1", "approved": true
    })
}

/// Issues an approved ticket; gives its id and when it expires.
async fn issue(client: &mut Client, ttl_ms: u64) -> Result<(String, String), Fault> {
    let (status, reply) = client.post("/v1/demo/tickets", ticket(ttl_ms)).await?;
    let text = |field: &str| reply["ticket"][field].as_str().map(str::to_owned);
    text("id").zip(text("expires_at")).ok_or_else(|| format!("{status}: {reply}").into())
}

fn redeem_body() -> Value {
    json!({ "audience": "s1", "holder": "c1", "amount": 1 })
}

/// One session, redeemed 20 times at once.
async fn session_twice((naive, ours): Targets) -> Result<Row, Fault> {
    let session = json!({ "expires_at_ms": now_ms() + 60_000 });
    Client::connect(naive.address()).await?.post("/put/sessions/one", session).await?;
    let naive = naive.fire(20, ("/sessions/one/redeem", ""), json!({})).await?;
    let (id, _) = issue(&mut Client::connect(ours.address()).await?, 60_000).await?;
    let path = format!("/v1/demo/tickets/{id}/redeem");
    let bellpunch = ours.fire(20, ("", &path), redeem_body()).await?;
    let name = "redemption session, redeemed 20 times at once";
    Ok(Row { name, attempted: 20, should_pass: 1, naive, bellpunch })
}

/// Sessions of 50 ms, each redeemed about when it expires: none may be used at or after its end.
/// On a machine so busy that every request comes after the end, the twin refuses them all and
/// nothing was shown; then longer sessions are tried, at both.
async fn session_late(targets: Targets) -> Result<Row, Fault> {
    const SESSIONS: usize = 40;
    let (mut naive, mut bellpunch) = (0, 0);
    for ttl_ms in [50, 200, 800, 3_200] {
        naive += late(targets.0, SESSIONS, ttl_ms).await?;
        bellpunch += late(targets.1, SESSIONS, ttl_ms).await?;
        if 0 < naive {
            break;
        }
    }
    let name = "redemption session, used at or after it expired";
    Ok(Row { name, attempted: SESSIONS, should_pass: 0, naive, bellpunch })
}

/// How many sessions were used at or after their end.
async fn late(target: Target, sessions: usize, ttl_ms: u64) -> Result<usize, Fault> {
    let mut tasks = JoinSet::new();
    for place in 0..u64::try_from(sessions)? {
        tasks.spawn(async move {
            let mut client = Client::connect(target.address()).await?;
            let wait = Duration::from_millis(ttl_ms - 10 + place / 4);
            match target {
                Target::Naive(_) => naive_late(&mut client, (place, ttl_ms), wait).await,
                Target::Bellpunch(_) => ours_late(&mut client, ttl_ms, wait).await,
            }
        });
    }
    let mut count = 0;
    while let Some(task) = tasks.join_next().await {
        count += usize::from(task??);
    }
    Ok(count)
}

async fn naive_late(
    client: &mut Client,
    (place, ttl_ms): (u64, u64),
    wait: Duration,
) -> Result<bool, Fault> {
    let begin = Instant::now();
    let expires_at_ms = now_ms() + ttl_ms;
    let session = json!({ "expires_at_ms": expires_at_ms });
    client.post(&format!("/put/sessions/late-{place}"), session).await?;
    tokio::time::sleep(wait.saturating_sub(begin.elapsed())).await;
    let (_, reply) = client.post(&format!("/sessions/late-{place}/redeem"), json!({})).await?;
    Ok(reply["used_at_ms"].as_u64().is_some_and(|used_at_ms| expires_at_ms <= used_at_ms))
}

async fn ours_late(client: &mut Client, ttl_ms: u64, wait: Duration) -> Result<bool, Fault> {
    let begin = Instant::now();
    let (id, expires_at) = issue(client, ttl_ms).await?;
    tokio::time::sleep(wait.saturating_sub(begin.elapsed())).await;
    let path = format!("/v1/demo/tickets/{id}/redeem");
    let (status, reply) = client.post(&path, redeem_body()).await?;
    match status {
        // RFC 3339 with a `Z` and as many digits as are exact: compared as instants, not as text.
        200 => {
            let used_at = reply["ticket"]["used_at"].as_str().ok_or("used without a time")?;
            let instant = |text: &str| text.parse::<bellpunch::Timestamp>();
            Ok(instant(&expires_at)? <= instant(used_at)?)
        }
        410 => Ok(false),
        _ => Err(format!("{status}: {reply}").into()),
    }
}

/// A limit of 5 a minute, asked for 100 times at once.
async fn rate_limit((naive, ours): Targets) -> Result<Row, Fault> {
    let mut passed = Vec::new();
    for target in [naive, ours] {
        let policy = json!({ "algorithm": "sliding_log", "limit": 5, "period_ms": 60_000 });
        let ours = (Method::PUT, "/v1/demo/policies/login", policy);
        target.set_up(("/put/limits/u1", json!({ "count": 0 })), ours).await?;
        let body = match target {
            Target::Naive(_) => json!({}),
            Target::Bellpunch(_) => json!({ "key": "u1" }),
        };
        let paths = ("/limits/u1/check", "/v1/demo/policies/login/consume");
        passed.push(target.fire(100, paths, body).await?);
    }
    let name = "rate limit of 5 a minute, 100 checks at once";
    Ok(Row { name, attempted: 100, should_pass: 5, naive: passed[0], bellpunch: passed[1] })
}

/// Twenty uploads in flight, one unit of the token left: one may complete.
async fn uploads_in_flight((naive, ours): Targets) -> Result<Row, Fault> {
    let mut passed = Vec::new();
    for target in [naive, ours] {
        let token = json!({ "limit": 50, "used": 49 });
        let quota = json!({ "id": "t2", "limit": 50, "used": 49 });
        target.set_up(("/put/tokens/t2", token), (Method::POST, "/v1/demo/quotas", quota)).await?;
        let mut tasks = JoinSet::new();
        for place in 0..20 {
            tasks.spawn(async move {
                let mut client = Client::connect(target.address()).await?;
                match target {
                    Target::Naive(_) => naive_upload(&mut client, place).await,
                    Target::Bellpunch(_) => our_upload(&mut client, place).await,
                }
            });
        }
        let mut completed = 0;
        while let Some(task) = tasks.join_next().await {
            completed += usize::from(task??);
        }
        passed.push(completed);
    }
    let name = "20 uploads in flight, one unit of the token left";
    Ok(Row { name, attempted: 20, should_pass: 1, naive: passed[0], bellpunch: passed[1] })
}

async fn naive_upload(client: &mut Client, place: usize) -> Result<bool, Fault> {
    let transfer = json!({ "status": "pending", "token": "t2", "payload": null });
    client.post(&format!("/put/transfers/flight-{place}"), transfer).await?;
    let payload = json!({ "payload": "bytes" });
    client.post(&format!("/uploads/flight-{place}/upload"), payload).await?;
    Ok(client.post(&format!("/uploads/flight-{place}/complete"), json!({})).await?.0 == 200)
}

async fn our_upload(client: &mut Client, place: usize) -> Result<bool, Fault> {
    let id = format!("flight-{place}");
    let create = json!({ "id": id, "size_limit": 5, "charge": [{ "quota": "t2", "units": 1 }] });
    let (status, reply) = client.post("/v1/demo/uploads", create).await?;
    match status {
        200 | 201 => {}
        429 => return Ok(false),
        _ => return Err(format!("{status}: {reply}").into()),
    }
    publish(client, &id, "bytes").await?;
    let (status, _) = client.post(&format!("/v1/demo/uploads/{id}/complete"), json!({})).await?;
    Ok(status == 200)
}

async fn publish(client: &mut Client, id: &str, bytes: &str) -> Result<u16, Fault> {
    let path = format!("/v1/demo/uploads/{id}/payload");
    let body = ("application/octet-stream", Bytes::from(bytes.to_owned()));
    Ok(client.send(Method::PUT, &path, body).await?.0)
}

/// Completions, each with a late upload beside it: what was completed is what is served.
async fn upload_swapped((naive, ours): Targets) -> Result<Row, Fault> {
    const ROUNDS: usize = 40;
    let token = json!({ "limit": 1_000, "used": 0 });
    let quota = json!({ "id": "t3", "limit": 1_000 });
    naive.set_up(("/put/tokens/t3", token), (Method::POST, "", Value::Null)).await?;
    ours.set_up(("", Value::Null), (Method::POST, "/v1/demo/quotas", quota)).await?;
    let (mut swapped_there, mut swapped_here) = (0, 0);
    for round in 0..ROUNDS {
        swapped_there += usize::from(naive_swap(naive.address(), round).await?);
        swapped_here += usize::from(our_swap(ours.address(), round).await?);
    }
    let name = "payload swapped after its completion";
    let (naive, bellpunch) = (swapped_there, swapped_here);
    Ok(Row { name, attempted: ROUNDS, should_pass: 0, naive, bellpunch })
}

async fn naive_swap(address: SocketAddr, round: usize) -> Result<bool, Fault> {
    let mut clients = connect(address, 2).await?;
    let (mut late, mut first) = (clients.remove(1), clients.remove(0));
    let transfer = json!({ "status": "pending", "token": "t3", "payload": "first" });
    first.post(&format!("/put/transfers/swap-{round}"), transfer).await?;
    let upload = format!("/uploads/swap-{round}/upload");
    let complete = format!("/uploads/swap-{round}/complete");
    let second = async {
        // The late upload has read the record when the completion writes it.
        tokio::time::sleep(Duration::from_millis(3)).await;
        late.post(&upload, json!({ "payload": "second" })).await
    };
    let (completed, uploaded) = tokio::join!(first.post(&complete, json!({})), second);
    let (status, pinned) = completed?;
    uploaded?;
    let (_, served) =
        first.json(Method::GET, &format!("/get/transfers/swap-{round}"), Value::Null).await?;
    Ok(status == 200 && served["payload"] != pinned["payload"])
}

async fn our_swap(address: SocketAddr, round: usize) -> Result<bool, Fault> {
    let mut clients = connect(address, 2).await?;
    let (mut late, mut first) = (clients.remove(1), clients.remove(0));
    let id = format!("swap-{round}");
    let create = json!({ "id": id, "size_limit": 6, "charge": [{ "quota": "t3", "units": 1 }] });
    first.post("/v1/demo/uploads", create).await?;
    publish(&mut first, &id, "first").await?;
    let complete = format!("/v1/demo/uploads/{id}/complete");
    let (completed, uploaded) =
        tokio::join!(first.post(&complete, json!({})), publish(&mut late, &id, "second"));
    let (status, reply) = completed?;
    uploaded?;
    if status != 200 {
        return Err(format!("{status}: {reply}").into());
    }
    let pinned = reply["upload"]["size"].as_u64();
    let path = format!("/v1/demo/uploads/{id}/payload");
    let (status, served) = first.send(Method::GET, &path, ("", Bytes::new())).await?;
    if status != 200 {
        return Err(format!("{status}: {served:?}").into());
    }
    Ok(pinned != Some(u64::try_from(served.len())?))
}
