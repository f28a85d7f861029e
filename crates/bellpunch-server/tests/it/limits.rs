//! Quotas, rate limits and holds as they are told on the wire.

use serde_json::{Value, json};

use crate::client::{Reply, Server, memory, quiet};

async fn with_quota(limit: u64) -> Server {
    let server = Server::start().await;
    let reply = server.post("/v1/p/quotas", &json!({"id": "q", "limit": limit})).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    server
}

async fn consume(server: &Server, units: u64) -> Reply {
    server.post("/v1/p/quotas/q/consume", &json!({"units": units})).await
}

#[tokio::test]
async fn a_refusal_says_what_remains_and_that_waiting_does_not_help() {
    let server = with_quota(100).await;
    let reply = consume(&server, 97).await;
    assert_eq!(reply.header("ratelimit-policy"), Some("\"q\";q=100"));
    assert_eq!(reply.header("ratelimit"), Some("\"q\";r=3"));
    let reply = consume(&server, 4).await;
    assert_eq!(reply.refusal(), (429, "quota_exceeded".to_owned()));
    assert_eq!(reply.header("ratelimit"), Some("\"q\";r=3"));
    assert_eq!(reply.header("retry-after"), None);
    let problem = reply.json();
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!(problem["title"], "Quota exceeded");
    assert_eq!(problem["detail"], "3 of 100 units remain in quota q; 4 were asked for.");
    assert_eq!(problem["as_of"]["quotas/q"], 2);
    assert_eq!(problem["retry_after_ms"], Value::Null);
    assert_eq!(problem["violated-policies"], json!(["q"]));
    assert_eq!(problem["data"]["remaining"], 3);
    assert_eq!(problem["data"]["violations"][0]["requested"], 4);
    let reply = consume(&server, 101).await;
    assert_eq!(reply.refusal().1, "exceeds_limit");
    assert_eq!(reply.json()["data"]["violations"][0]["never"], true);
}

#[tokio::test]
async fn a_relaxed_rate_says_that_it_is_not_durable_and_nothing_stricter_does() {
    let server = with_quota(100).await;
    let terms = |durability: &str| {
        json!({"algorithm": "sliding_counter", "limit": 50, "period_ms": 3_600_000, "charges": true,
               "durability": durability})
    };
    for name in ["relaxed", "strict"] {
        let reply = server.call("PUT", &format!("/v1/p/policies/{name}"), &terms(name)).await;
        assert_eq!(reply.status, 200, "{}", reply.json());
    }
    let item = |policy: &str| json!({"policy": policy, "key": "k"});
    let mut inline = item("inline");
    inline["terms"] = terms("relaxed");
    inline["terms"].as_object_mut().unwrap().remove("charges");
    let (quota, checks) = (json!({"quota": "q"}), "/v1/p/checks");
    let consume = |policy: &str| format!("/v1/p/policies/{policy}/consume");
    for (path, body, early) in [
        (consume("relaxed"), json!({"key": "k"}), true),
        (consume("strict"), json!({"key": "k"}), false),
        (consume("relaxed"), json!({"key": "k", "charge": "c1"}), false),
        (checks.to_owned(), json!({"items": [item("relaxed")]}), true),
        (checks.to_owned(), json!({"items": [item("relaxed"), inline.clone()]}), true),
        (checks.to_owned(), json!({"items": [item("relaxed")], "id": "c2"}), false),
        (checks.to_owned(), json!({"items": [item("relaxed"), item("strict")]}), false),
        (checks.to_owned(), json!({"items": [item("relaxed"), quota]}), false),
    ] {
        let reply = server.post(&path, &body).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let durable = reply.json().get("durable").cloned();
        assert_eq!(durable, early.then_some(json!(false)), "{path} {body}");
    }
    // All of it counts.
    let reply = server.get("/v1/p/policies/relaxed/counters/k").await;
    assert_eq!(reply.json()["counter"]["used"], 7, "{reply:?}");
    let drawn = server.post(&consume("relaxed"), &json!({"key": "k", "units": 44})).await;
    assert_eq!(drawn.refusal().1, "rate_limited");
}

#[tokio::test]
async fn wrong_units_are_named_and_nothing_is_charged() {
    let server = with_quota(10).await;
    let before = server.state("p").await;
    let path = "/v1/p/quotas/q/consume";
    for (units, reason) in [
        (json!(0), "zero"),
        (json!(-1), "negative"),
        (json!(-9_223_372_036_854_775_808_i64), "negative"),
        (json!(1.5), "not_an_integer"),
        (json!("1"), "not_an_integer"),
        (json!(true), "not_an_integer"),
        (json!(9_007_199_254_740_992_u64), "too_large"),
        (json!(1e300), "too_large"),
    ] {
        let reply = server.post(path, &json!({"units": units})).await;
        assert_eq!(reply.field(), ("invalid_units".to_owned(), "units".to_owned()), "{units}");
        assert_eq!(reply.json()["data"]["reason"], reason, "{units}");
        let items = json!({"items": [{"quota": "q"}, {"quota": "q", "units": units}]});
        let reply = server.post("/v1/p/checks", &items).await;
        let code = reply.refusal().1;
        assert_eq!((reply.status, code.as_str()), (400, "invalid_units"), "{units}: {reply:?}");
    }
    let head = format!("POST {path} HTTP/1.1\r\nContent-Type: application/json");
    for body in ["{\"units\": 1.0}", "{\"units\": 1e3}", "{\"units\": 1E0}"] {
        let reply = server.send(&head, body.as_bytes()).await;
        assert_eq!(reply.field().0, "invalid_units", "{body}");
    }
    for (body, field) in [
        (json!({"unit": 1}), "unit"),
        (json!({"units": null}), "units"),
        (json!({"charge": "a\u{1}"}), "charge"),
        (json!({"labels": {"a": 1}}), "labels.a"),
        (json!({"id": "q"}), "id"),
    ] {
        let reply = server.post(path, &body).await;
        assert_eq!((reply.status, reply.field().1.as_str()), (400, field), "{body}: {reply:?}");
    }
    assert_eq!(server.state("p").await, before);
}

#[tokio::test]
async fn a_rate_limit_says_when_to_come_back() {
    let server = Server::start().await;
    let terms = json!({"algorithm": "gcra", "rate": 1, "burst": 2, "period_ms": 3_600_000});
    let reply = server.call("PUT", "/v1/p/policies/login", &terms).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.json()["policy"]["period_ms"], 3_600_000);
    let key = json!({"key": "10.0.0.1", "units": 2});
    let path = "/v1/p/policies/login/consume";
    let reply = server.post(path, &key).await;
    assert_eq!(reply.header("ratelimit"), Some("\"login\";r=0;t=3600"));
    let reply = server.post(path, &json!({"key": "10.0.0.1"})).await;
    assert_eq!(reply.refusal(), (429, "rate_limited".to_owned()));
    let wait = reply.json()["retry_after_ms"].as_u64().unwrap();
    let seconds: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!(0 < wait && wait <= 3_600_000 && wait <= seconds * 1_000);
    assert!(seconds * 1_000 < wait + 1_000, "rounded up once, not twice");
    let read = server.get("/v1/p/policies/login/counters/10.0.0.1").await.json();
    assert_eq!((&read["counter"]["used"], &read["counter"]["remaining"]), (&json!(2), &json!(0)));
    let other = server.get("/v1/p/policies/login/counters/%2F").await.json();
    assert_eq!(other["counter"]["version"], 0);
    let page = server.get("/v1/p/policies/login/counters").await.json();
    assert_eq!(page["counters"][0]["key"], "10.0.0.1");
    assert_eq!(server.get("/v1/p/policies/none/counters/k").await.refusal().0, 404);
    let reply = server.send("DELETE /v1/p/policies/login HTTP/1.1", b"").await;
    assert_eq!(reply.refusal(), (409, "policy_in_use".to_owned()));
}

#[tokio::test]
async fn several_limits_are_all_or_nothing_and_all_violated_ones_are_named() {
    let server = with_quota(1).await;
    let terms = json!({"algorithm": "gcra", "rate": 1, "period_ms": 3_600_000});
    server.call("PUT", "/v1/p/policies/r", &terms).await;
    let check = json!({"items": [{"quota": "q"}, {"policy": "r", "key": "k"}]});
    let reply = server.post("/v1/p/checks", &check).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header("ratelimit-policy"), Some("\"q\";q=1, \"r\";q=1;w=3600"));
    let before = server.state("p").await;
    let reply = server.post("/v1/p/checks", &check).await;
    assert_eq!(reply.refusal(), (429, "quota_exceeded".to_owned()));
    assert_eq!(reply.json()["violated-policies"], json!(["q", "r"]));
    assert_eq!(reply.header("retry-after"), None, "the quota never refills");
    assert_eq!(server.state("p").await, before);
}

#[tokio::test]
async fn a_hold_is_made_captured_and_gone() {
    let server = with_quota(5).await;
    let hold = json!({"id": "h", "items": [{"quota": "q", "units": 4}], "ttl_ms": 60_000});
    let reply = server.post("/v1/p/holds", &hold).await;
    assert_eq!((reply.status, reply.header("location")), (201, Some("/v1/p/holds/h")));
    assert_eq!(consume(&server, 2).await.refusal().0, 429);
    let exists = server.post("/v1/p/holds", &hold).await;
    assert_eq!(exists.refusal(), (409, "hold_exists".to_owned()));
    let reply = server.post("/v1/p/holds/h/capture", &json!({"units": 3})).await;
    assert_eq!((&reply.json()["captured"], &reply.json()["released"]), (&json!(3), &json!(1)));
    let again = server.post("/v1/p/holds/h/capture", &json!({})).await;
    assert_eq!(again.refusal(), (409, "hold_captured".to_owned()));
    assert!(again.json()["data"]["at"].is_string());
    let charge = reply.json()["charge"].as_str().unwrap().to_owned();
    let reply = server.post(&format!("/v1/p/charges/{charge}/refund"), &json!({})).await;
    assert_eq!((reply.status, &reply.json()["refunded"]), (200, &json!(3)));
    let reply = server.post("/v1/p/holds/none/void", &json!({})).await;
    assert_eq!(reply.refusal(), (404, "hold_not_found".to_owned()));
}

#[tokio::test]
async fn null_removes_only_where_it_may() {
    let server = with_quota(5).await;
    let path = "/v1/p/quotas/q/configure";
    let soon = json!({"expires_at": "2090-01-01T00:00:00+03:00"});
    let reply = server.post(path, &soon).await;
    assert_eq!(reply.json()["quota"]["expires_at"], "2089-12-31T21:00:00Z");
    let reply = server.post(path, &json!({"expires_at": null})).await;
    assert_eq!(reply.status, 200);
    assert!(reply.json()["quota"].get("expires_at").is_none());
    let reply = server.post(path, &json!({"metadata": null})).await;
    assert_eq!(reply.field().1, "metadata");
    for wrong in ["2026-01-01", "2026-12-31T23:59:60Z", "2026-01-01T00:00:00.0123456789Z", ""] {
        let reply = server.post(path, &json!({"expires_at": wrong})).await;
        assert_eq!(reply.field().1, "expires_at", "{wrong}");
    }
}

#[tokio::test]
async fn ids_are_never_rewritten() {
    let server = Server::start().await;
    for (id, path) in [("a.b", "a.b"), ("a b", "a%20b"), ("a/b", "a%2Fb"), ("a%b", "a%25b")] {
        let reply = server.post("/v1/p/quotas", &json!({"id": id, "limit": 1})).await;
        assert_eq!(reply.status, 201, "{id}");
        let path = format!("/v1/p/quotas/{path}");
        assert_eq!(server.get(&path).await.json()["quota"]["id"], id);
        assert_eq!(server.post(&format!("{path}/consume"), &json!({})).await.status, 200);
    }
    let page = server.get("/v1/p/quotas").await.json();
    assert_eq!(page["quotas"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn older_fields_tell_the_tightest_limit() {
    let mut config = quiet();
    config.http.legacy_ratelimit = bellpunch_server::LegacyRateLimit::Delta;
    let server = Server::with(config, memory()).await;
    let terms = json!({"algorithm": "gcra", "rate": 5, "period_ms": 3_600_000});
    server.call("PUT", "/v1/p/policies/r", &terms).await;
    let reply = server.post("/v1/p/policies/r/consume", &json!({"key": "k"})).await;
    assert_eq!(reply.header("x-ratelimit-limit"), Some("5"));
    assert_eq!(reply.header("x-ratelimit-remaining"), Some("4"));
    assert_eq!(reply.header("x-ratelimit-reset"), Some("720"));
}

#[tokio::test]
async fn a_key_may_be_required_of_all_commands() {
    let mut config = quiet();
    config.idempotency.required = bellpunch_server::KeyRequired::All;
    let server = Server::with(config, memory()).await;
    let quota = json!({"id": "q", "limit": 5});
    let reply = server.post("/v1/p/quotas", &quota).await;
    assert_eq!(reply.refusal(), (400, "idempotency_key_required".to_owned()));
    let key = [("Idempotency-Key", "k")];
    assert_eq!(server.with_headers(("POST", "/v1/p/quotas"), &key, &quota).await.status, 201);
    assert_eq!(server.get("/v1/p/quotas/q").await.status, 200);
    assert_eq!(server.post("/v1/p/quotas/q/consume?dry_run=true", &json!({})).await.status, 200);
}

#[tokio::test]
async fn the_last_unit_is_taken_once() {
    let server = with_quota(7).await;
    let calls = (0..50).map(|_| consume(&server, 1));
    let replies = futures_util::future::join_all(calls).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 7);
    assert_eq!(replies.iter().filter(|reply| reply.status == 429).count(), 43);
    let metrics = String::from_utf8(server.get("/metrics").await.bytes).unwrap();
    let refused =
        "bellpunch_rejections_total{command=\"quotas.consume\",code=\"quota_exceeded\"} 43";
    assert!(metrics.contains(refused), "{metrics}");
}

#[tokio::test]
async fn each_result_of_a_list_has_its_own_versions_also_when_told_again() {
    let server = Server::start().await;
    server.post("/v1/p/quotas", &json!({"id": "q", "limit": 9})).await;
    let list = json!({"commands": [
        {"command": "quotas.consume", "id": "q", "units": 1},
        {"command": "quotas.read", "id": "q"},
        {"command": "quotas.create", "id": "r", "limit": 5},
        {"command": "quotas.consume", "id": "q", "units": 2},
    ]});
    let key = [("Idempotency-Key", "list-1")];
    let path = "/v1/p/commands";
    let expected =
        [json!({"quotas/q": 2}), json!({}), json!({"quotas/r": 1}), json!({"quotas/q": 3})];
    let check = |body: &Value| {
        assert_eq!(body["versions"]["quotas/q"], 3, "{body}");
        for (result, versions) in body["results"].as_array().unwrap().iter().zip(&expected) {
            let mut own = result["versions"].clone();
            own.as_object_mut().unwrap().retain(|name, _| name.starts_with("quotas/"));
            assert_eq!(own, *versions, "{result}");
            if let Some(version) = versions["quotas/q"].as_u64() {
                assert_eq!(result["quota"]["version"], version, "{result}");
            }
        }
        assert_eq!(body["results"].as_array().unwrap().len(), 4);
    };
    for replayed in [false, true] {
        let reply = server.with_headers(("POST", path), &key, &list).await;
        assert_eq!(reply.json()["replayed"], replayed);
        check(&reply.json());
    }
    check(&server.get("/v1/p/outcomes/list-1").await.json()["receipt"]);
    let one = json!({"commands": [{"command": "quotas.consume", "id": "q", "units": 1}]});
    let reply = server.post(path, &one).await.json();
    assert_eq!(reply["results"][0]["versions"], reply["versions"]);
    let dry = server.post(&format!("{path}?dry_run=true"), &one).await.json();
    assert_eq!(dry["results"][0].get("versions"), None, "{dry}");
}

fn fields(reply: &Reply) -> (&str, &str) {
    let field = |name: &str| reply.header(name).unwrap_or("none");
    (field("ratelimit-policy"), field("ratelimit"))
}

#[tokio::test]
async fn fields_tell_limit_window_rest_and_wait() {
    let server = Server::start().await;
    server.post("/v1/p/quotas", &json!({"id": "q", "limit": 10})).await;
    let refill = json!({"amount": 5, "period_ms": 30_000});
    let quota = json!({"id": "f", "limit": 10, "refill": refill, "used": 1});
    let reply = server.post("/v1/p/quotas", &quota).await;
    assert_eq!(fields(&reply), ("\"f\";q=10;w=60", "\"f\";r=9;t=30"), "{reply:?}");
    let window = json!({
        "algorithm": "fixed_window", "align": "first_hit", "limit": 3, "period_ms": 60_000
    });
    server.call("PUT", "/v1/p/policies/w", &window).await;
    let bucket = json!({"algorithm": "gcra", "rate": 3, "burst": 2, "period_ms": 60_000});
    let reply = server.call("PUT", "/v1/p/policies/g", &bucket).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let policies = "\"q\";q=10, \"w\";q=3;w=60, \"g\";q=2;w=40";
    let items = json!([{"quota": "q"}, {"policy": "w", "key": "k"}, {"policy": "g", "key": "k"}]);
    let reply = server.post("/v1/p/checks", &json!({"items": items})).await;
    assert_eq!(fields(&reply), (policies, "\"q\";r=9, \"w\";r=2;t=60, \"g\";r=1;t=20"));
    let hold = json!({"id": "h", "items": items, "ttl_ms": 10_000});
    let reply = server.post("/v1/p/holds", &hold).await;
    // Here a hold that runs out gives units back before the window does.
    assert_eq!(fields(&reply), (policies, "\"q\";r=8;t=10, \"w\";r=1;t=10, \"g\";r=0;t=10"));
    let reply = server.post("/v1/p/holds/h/capture", &json!({})).await;
    assert_eq!(fields(&reply), (policies, "\"q\";r=8, \"w\";r=1;t=60, \"g\";r=0;t=20"));
    let consume = json!({"key": "k", "units": 3});
    let reply = server.post("/v1/p/policies/w/consume", &consume).await;
    assert_eq!(reply.status, 429, "{reply:?}");
    assert_eq!(fields(&reply), ("\"w\";q=3;w=60", "\"w\";r=1;t=60"));
    assert_eq!(reply.header("retry-after"), Some("60"));
    // What asks for more than may ever be has no wait; that some come back is true all the same.
    let reply = server.post("/v1/p/policies/g/consume", &json!({"key": "k", "units": 3})).await;
    assert_eq!(fields(&reply), ("\"g\";q=2;w=40", "\"g\";r=0;t=20"));
    assert_eq!((reply.refusal().1.as_str(), reply.header("retry-after")), ("exceeds_limit", None));
    // Both units come back later than the first of them.
    let reply = server.post("/v1/p/policies/g/consume", &json!({"key": "k", "units": 2})).await;
    assert_eq!(fields(&reply).1, "\"g\";r=0;t=20");
    assert_eq!(reply.header("retry-after"), Some("40"));
    let reply = server.post("/v1/p/policies/w/consume", &json!({"key": "k"})).await;
    assert_eq!(fields(&reply).1, "\"w\";r=0;t=60");
    let reply = server.post("/v1/p/holds", &json!({"items": items, "ttl_ms": 9_000})).await;
    assert_eq!(
        fields(&reply),
        ("\"w\";q=3;w=60, \"g\";q=2;w=40", "\"w\";r=0;t=60, \"g\";r=0;t=20")
    );
}

#[tokio::test]
async fn metrics_count_what_was_committed_and_have_no_names_of_callers() {
    let server = with_quota(20).await;
    let shadow = json!({
        "algorithm": "gcra", "rate": 1, "period_ms": 3_600_000, "shadow": true
    });
    server.call("PUT", "/v1/p/policies/secret-policy", &shadow).await;
    let bounded = json!({"algorithm": "gcra", "rate": 1, "period_ms": 3_600_000, "max_keys": 1});
    server.call("PUT", "/v1/p/policies/narrow", &bounded).await;
    for key in ["a", "b"] {
        server.post("/v1/p/policies/narrow/consume", &json!({"key": key})).await;
    }
    let key = [("Idempotency-Key", "m-1")];
    for _ in 0..2 {
        let path = ("POST", "/v1/p/quotas/q/consume");
        server.with_headers(path, &key, &json!({"units": 3})).await;
    }
    server.post("/v1/p/quotas/q/consume?dry_run=true", &json!({"units": 3})).await;
    let rate = json!({"policy": "secret-policy", "key": "secret-key"});
    let items = json!([{"quota": "q", "units": 2}, rate]);
    for _ in 0..2 {
        server.post("/v1/p/checks", &json!({"items": items})).await;
    }
    let hold = json!({"id": "h", "items": [{"quota": "q", "units": 4}], "ttl_ms": 60_000});
    server.post("/v1/p/holds", &hold).await;
    server.post("/v1/p/holds/h/capture", &json!({})).await;
    server.post("/v1/p/quotas/q/refund", &json!({"units": 1})).await;
    let text = String::from_utf8(server.get("/metrics").await.bytes).unwrap();
    for line in [
        "bellpunch_units_charged_total{policy=\"quota\"} 11",
        "bellpunch_units_charged_total{policy=\"other\"} 2",
        "bellpunch_shadow_rejections_total{policy=\"other\"} 1",
        "bellpunch_too_many_keys_total{policy=\"other\"} 1",
        "bellpunch_holds_ended_total{how=\"captured\"} 1",
        "bellpunch_storeless_decisions_total{mode=\"cache\"} 0",
        "bellpunch_clock_steps_total 0",
        "bellpunch_queue_commands 0",
        "bellpunch_conflict_retries_total 0",
        "bellpunch_contended_total 0",
        "bellpunch_unknown_open 0",
        "bellpunch_unknown_resolved_total 0",
        "bellpunch_audit_last_success_seconds 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    for name in
        ["commit_seconds_bucket", "batch_commands_bucket", "clock_skew_seconds", "build_info"]
    {
        assert!(text.contains(&format!("\nbellpunch_{name}")), "{name}");
    }
    let count = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let committed = count("bellpunch_commits_total{backend=\"memory\",result=\"committed\"}");
    assert!(0 < committed);
    let timed = "bellpunch_commit_seconds_count{backend=\"memory\",result=\"committed\"}";
    assert_eq!(count(timed), committed);
    assert!(!text.contains("secret"), "{text}");
}

#[tokio::test]
async fn openapi_knows_every_field_of_a_refusal() {
    let server = with_quota(1).await;
    let document = server.get("/openapi.json").await.json();
    let bucket = json!({"algorithm": "gcra", "rate": 1, "period_ms": 60_000});
    server.call("PUT", "/v1/p/policies/g", &bucket).await;
    let both = json!({"items": [{"quota": "q"}, {"policy": "g", "key": "k"}]});
    server.post("/v1/p/checks", &both).await;
    for (path, body) in [
        ("/v1/p/checks", both.clone()),
        ("/v1/p/policies/g/consume", json!({"key": "k"})),
        ("/v1/p/quotas/q/consume", json!({"units": 2})),
        ("/v1/p/quotas", json!({"id": "q", "limit": 1})),
        ("/v1/p/quotas", json!({"id": "q"})),
        ("/v1/p/quotas/none/consume", json!({})),
        ("/v1/p/holds/none/void", json!({})),
        ("/v1/p/tickets/none/redeem", json!({"audience": "a"})),
        ("/v1/p/uploads/none/complete", json!({})),
    ] {
        let reply = server.post(path, &body).await;
        let (_, code) = reply.refusal();
        let schema = &document["components"]["schemas"][format!("Problem.{code}")];
        let data = &schema["allOf"][1]["properties"]["data"];
        for (field, _) in reply.json()["data"].as_object().unwrap() {
            assert!(data["properties"].get(field).is_some(), "{code}.{field}: {schema}");
        }
        for field in data["required"].as_array().into_iter().flatten() {
            assert!(reply.json()["data"].get(field.as_str().unwrap()).is_some(), "{code}: {field}");
        }
    }
}
