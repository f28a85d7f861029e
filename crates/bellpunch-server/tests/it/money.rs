//! Money over HTTP: keys, versions, lists, what is listed below a record, events.

use serde_json::{Value, json};

use crate::client::{Reply, Server};

fn sar(amount: u64) -> Value {
    json!({"amount": amount, "currency": "SAR"})
}

/// Sends a command under a key of its own.
async fn keyed(server: &Server, key: &str, path: &str, body: &Value) -> Reply {
    let headers = [("Idempotency-Key", key)];
    server.with_headers(("POST", &format!("/v1/book/{path}")), &headers, body).await
}

/// A client, an issued invoice of 1000, and a retainer of 500.
async fn book() -> Server {
    let server = Server::start().await;
    let client = json!({"id": "c1", "scope": "firm", "name": "first"});
    let line = json!({
        "description": "work", "quantity_milli": 1000, "unit_price": sar(1000), "vat_bp": 0,
    });
    let invoice = json!({
        "id": "i1", "client": "c1", "currency": "SAR", "lines": [line], "due_on": "2099-01-31",
        "issue": true,
    });
    let retainer = json!({
        "id": "r1", "client": "c1", "type": "advance", "currency": "SAR",
        "initial_amount": sar(500), "minimum_balance": sar(200),
    });
    for (key, path, body) in
        [("g1", "clients", client), ("g2", "invoices", invoice), ("g3", "retainers", retainer)]
    {
        let reply = keyed(&server, key, path, &body).await;
        assert_eq!(reply.status, 201, "{path}: {reply:?}");
    }
    server
}

#[tokio::test]
async fn money_moves_under_a_key_alone() {
    let server = book().await;
    let consume = json!({"amount": sar(100)});
    let path = "/v1/book/retainers/r1/consume";
    let bare = server.post(path, &consume).await;
    assert_eq!(bare.refusal(), (400, "idempotency_key_required".to_owned()));
    let list =
        json!({"commands": [{"command": "retainers.consume", "id": "r1", "amount": sar(1)}]});
    let bare = server.post("/v1/book/commands", &list).await;
    assert_eq!(bare.refusal(), (400, "idempotency_key_required".to_owned()));
    let bare = server.post("/v1/book/batch", &list).await.json();
    assert_eq!(bare["results"][0]["problem"]["code"], "idempotency_key_required");
    // A dry run moves nothing and needs none.
    let dry = server.post(&format!("{path}?dry_run=true"), &consume).await;
    assert_eq!((dry.status, &dry.json()["retainer"]["balance"]), (200, &json!(400)));
    let first = keyed(&server, "k", "retainers/r1/consume", &consume).await;
    assert_eq!((first.status, &first.json()["retainer"]["balance"]), (200, &json!(400)));
    let again = keyed(&server, "k", "retainers/r1/consume", &consume).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.json()["retainer"], first.json()["retainer"]);
    assert_eq!(again.json()["postings"], first.json()["postings"]);
    assert_eq!(again.json()["seq"], first.json()["seq"]);
}

#[tokio::test]
async fn an_event_stands_in_the_receipt_and_in_the_journal() {
    let server = book().await;
    let told = keyed(&server, "k", "retainers/r1/consume", &json!({"amount": sar(300)})).await;
    let told = told.json();
    let event = json!({
        "event": "low_balance", "retainer": "r1", "balance": 200, "minimum_balance": 200,
    });
    assert_eq!(told["events"], json!([event]));
    let entry = server.get("/v1/book/journal/last").await.json()["entry"].clone();
    assert_eq!((&entry["seq"], &entry["events"]), (&told["seq"], &told["events"]));
    assert_eq!(entry["command"], "retainers.consume");
}

#[tokio::test]
async fn values_are_written_on_a_named_version_alone() {
    let server = book().await;
    let update = json!({"minimum_balance": sar(100)});
    let blind = keyed(&server, "u1", "retainers/r1/update", &update).await;
    assert_eq!(blind.refusal(), (400, "if_version_required".to_owned()));
    let send = async |key: &str, tag: &str| {
        let headers = [("Idempotency-Key", key), ("If-Match", tag)];
        let path = "/v1/book/retainers/r1/update";
        server.with_headers(("POST", path), &headers, &update).await
    };
    let old = send("u2", "\"7\"").await;
    assert_eq!(old.refusal(), (412, "version_mismatch".to_owned()));
    assert_eq!(old.json()["data"]["version"], 1);
    let right = send("u3", "\"1\"").await;
    assert_eq!((right.status, right.header("etag")), (200, Some("\"2\"")));
}

#[tokio::test]
async fn what_belongs_to_a_record_is_listed_below_it() {
    let server = book().await;
    let payment = json!({
        "id": "p1", "client": "c1", "amount": sar(700), "method": "card",
        "destinations": [{"invoice": "i1", "amount": sar(700)}],
    });
    assert_eq!(keyed(&server, "k1", "payments", &payment).await.status, 201);
    assert_eq!(keyed(&server, "k2", "payments/p1/complete", &json!({})).await.status, 200);
    let refund = json!({"amount": sar(100), "reason": "reduced"});
    assert_eq!(keyed(&server, "k3", "payments/p1/refund", &refund).await.status, 200);
    let job = json!({"id": "j1", "owner": "o"});
    assert_eq!(keyed(&server, "k4", "jobs", &job).await.status, 201);
    for proposer in ["a", "b"] {
        let proposal = json!({"job": "j1", "proposer": proposer});
        let reply = keyed(&server, proposer, "proposals", &proposal).await;
        assert_eq!(reply.status, 201, "{reply:?}");
    }
    let page = async |path: &str| server.get(&format!("/v1/book/{path}")).await.json();
    let refunds = page("payments/p1/refunds").await;
    assert_eq!(refunds["refunds"].as_array().unwrap().len(), 1);
    assert_eq!(refunds["refunds"][0]["amount"], 100);
    assert_eq!(page("payments/p2/refunds").await["refunds"], json!([]));
    let postings = page("accounts/sys:receivable:SAR/postings").await;
    let amounts: Vec<u64> = postings["postings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|posting| posting["amount"].as_u64().unwrap())
        .collect();
    assert_eq!(amounts, [1000, 700, 100], "in their order");
    let first = page("accounts/sys:receivable:SAR/postings?limit=1").await;
    let next = first["next"].as_str().unwrap();
    let rest = page(&format!("accounts/sys:receivable:SAR/postings?after={next}")).await;
    assert_eq!(rest["postings"].as_array().unwrap().len(), 2);
    let postings = page("retainers/r1/postings").await;
    assert_eq!(postings["postings"][0]["posted_after"], 500);
    let numbers = page("series/PAY/numbers").await;
    assert_eq!(numbers["numbers"].as_array().unwrap().len(), 1);
    let proposals = page("jobs/j1/proposals").await;
    let proposers: Vec<&Value> =
        proposals["proposals"].as_array().unwrap().iter().map(|one| &one["proposer"]).collect();
    assert_eq!(proposers, ["a", "b"]);
    assert_eq!(page("proposals/j1/a").await["proposal"]["status"], "pending");
    let second = page("jobs/j1/proposals?prefix=b").await;
    assert_eq!(second["proposals"], json!([proposals["proposals"][1]]));
    assert_eq!(page("proposals").await["proposals"], proposals["proposals"]);
    for path in ["retainers/r1/postings", "series/PAY/numbers"] {
        let refused = server.get(&format!("/v1/book/{path}?prefix=1")).await;
        assert_eq!(refused.refusal(), (400, "invalid_request".to_owned()));
    }
    assert_eq!(page("clients").await["clients"][0]["id"], "c1");
    assert_eq!(page("series/PAY").await["series"]["class"], "gapless");
}

#[tokio::test]
async fn a_list_is_all_or_nothing() {
    let server = book().await;
    let before = server.state("book").await;
    let list = json!({"commands": [
        {"command": "retainers.consume", "id": "r1", "amount": sar(100), "invoice": "i1"},
        {"command": "invoices.pay", "id": "i1", "amount": sar(950), "method": "cash"},
    ]});
    let refused = keyed(&server, "k", "commands", &list).await;
    assert_eq!(refused.refusal(), (409, "exceeds_due".to_owned()));
    assert_eq!(refused.json()["index"], 1);
    assert_eq!(refused.json()["data"], json!({"invoice": "i1", "balance_due": 900}));
    assert_eq!(server.state("book").await, before, "nothing moved, no number was used");
}

#[tokio::test]
async fn what_was_made_says_where_it_is() {
    let server = book().await;
    let chain = json!({"name": "t x", "genesis_hash": "0".repeat(64), "seal": "auto"});
    let series = json!({
        "name": "ORD", "template": "ORD-{N:2}", "class": "gapless", "zone": "UTC", "chain": "t x",
    });
    let job = json!({"id": "j/1", "owner": "o"});
    let proposal = json!({"job": "j/1", "proposer": "p"});
    for (key, path, body, location) in [
        ("k1", "chains/define", &chain, "/v1/book/chains/t%20x"),
        ("k2", "series/define", &series, "/v1/book/series/ORD"),
        ("k3", "jobs", &job, "/v1/book/jobs/j%2F1"),
        ("k4", "proposals", &proposal, "/v1/book/proposals/j%2F1/p"),
    ] {
        let made = keyed(&server, key, path, body).await;
        assert_eq!((made.status, made.header("location")), (201, Some(location)), "{made:?}");
        assert_eq!(made.header("etag"), Some("\"1\""));
        let read = server.get(location).await;
        assert_eq!((read.status, read.header("etag")), (200, Some("\"1\"")), "{read:?}");
    }
    // What is defined again is changed, and was made before.
    let mut refusing = series.clone();
    refusing["overflow"] = json!("refuse");
    let changed = keyed(&server, "k5", "series/define", &refusing).await;
    assert_eq!((changed.status, changed.header("location")), (200, None));
    assert_eq!(changed.header("etag"), Some("\"2\""));
}

#[tokio::test]
async fn a_read_stands_on_the_record_alone() {
    let server = book().await;
    assert_eq!(keyed(&server, "k", "jobs", &json!({"id": "j1", "owner": "o"})).await.status, 201);
    let proposal = json!({"job": "j1", "proposer": "p"});
    assert_eq!(keyed(&server, "l", "proposals", &proposal).await.status, 201);
    for (path, as_of) in [
        ("clients/c1", json!({"clients/c1": 1})),
        ("jobs/j1", json!({"jobs/j1": 2})),
        ("proposals/j1/p", json!({"jobs/j1": 2, "proposals/j1/p": 1})),
        ("series/INV", json!({"series/INV": 1})),
    ] {
        assert_eq!(server.get(&format!("/v1/book/{path}")).await.json()["as_of"], as_of, "{path}");
    }
}

#[tokio::test]
async fn every_collection_of_money_asks_for_a_key() {
    let server = Server::start().await;
    let of_money: std::collections::BTreeSet<&str> = bellpunch::commands()
        .filter(|spec| spec.money)
        .filter_map(|spec| spec.name.split('.').next())
        .collect();
    let expected = [
        "account_holds",
        "accounts",
        "book",
        "chains",
        "clients",
        "consumptions",
        "credit_notes",
        "currencies",
        "disputes",
        "invoices",
        "jobs",
        "numbers",
        "payments",
        "proposals",
        "refunds",
        "retainers",
        "series",
        "transfers",
    ];
    assert_eq!(of_money.into_iter().collect::<Vec<_>>(), expected);
    let bare = server.post("/v1/book/jobs", &json!({"owner": "o"})).await;
    assert_eq!(bare.refusal(), (400, "idempotency_key_required".to_owned()));
    let define = json!({"code": "PTS", "scale": 0});
    let bare = server.post("/v1/book/currencies/define", &define).await;
    assert_eq!(bare.refusal(), (400, "idempotency_key_required".to_owned()));
    assert_eq!(keyed(&server, "k", "currencies/define", &define).await.status, 201);
}

#[tokio::test]
async fn refunds_of_a_payment_are_paged_whatever_others_have() {
    let server = book().await;
    for id in ["p1", "p2", "p"] {
        let payment = json!({
            "id": id, "client": "c1", "amount": sar(100), "method": "card",
            "destinations": [{"unapplied": sar(100)}],
        });
        assert_eq!(keyed(&server, id, "payments", &payment).await.status, 201);
        let complete = format!("payments/{id}/complete");
        assert_eq!(keyed(&server, &complete, &complete, &json!({})).await.status, 200);
    }
    let mut own = std::collections::BTreeSet::new();
    for round in 0..5 {
        for id in ["p1", "p2", "p"] {
            let (path, key) = (format!("payments/{id}/refund"), format!("{id} {round}"));
            let refund = json!({"amount": sar(1), "reason": "reduced"});
            let reply = keyed(&server, &key, &path, &refund).await.json();
            if id == "p1" {
                own.insert(reply["refund"]["id"].as_str().unwrap().to_owned());
            }
        }
    }
    let (mut listed, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/book/payments/p1/refunds?limit=2{after}");
        let page = server.get(&path).await.json();
        let refunds = page["refunds"].as_array().unwrap();
        listed.extend(refunds.iter().map(|one| one["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        // Those of other payments are not looked at, so they make no page shorter.
        assert_eq!(refunds.len(), 2);
        after = format!("&after={next}");
    }
    assert_eq!(listed, own.iter().cloned().collect::<Vec<_>>(), "in order of their ids");
    let one = own.first().unwrap();
    let page = server.get(&format!("/v1/book/payments/p1/refunds?prefix={one}")).await.json();
    assert_eq!(page["refunds"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn names_are_reserved_and_texts_are_not() {
    let server = book().await;
    let line = json!({
        "description": "_work_", "quantity_milli": 1000, "unit_price": sar(1), "vat_bp": 0,
    });
    let invoice = json!({
        "id": "i9", "client": "c1", "currency": "SAR", "lines": [line], "due_on": "2099-01-31",
    });
    let payment = json!({
        "id": "p9", "client": "c1", "amount": sar(1), "method": "_card", "external_id": "_x1",
    });
    let update = json!({"if_version": 1, "name": "_Noor", "metadata": {"_note": "_kept"}});
    let consume = json!({"amount": sar(1), "description": "_call"});
    for (path, body) in [
        ("clients", json!({"id": "c9", "scope": "firm", "name": "_Noor", "external_id": "_c9"})),
        ("clients/c9/update", update),
        ("invoices", invoice),
        ("payments", payment),
        ("payments/p9/fail", json!({"reason": "_declined"})),
        ("retainers/r1/consume", consume),
    ] {
        let reply = keyed(&server, path, path, &body).await;
        assert!(reply.status < 300, "{path}: {reply:?}");
    }
    for (path, body, field) in [
        ("clients", json!({"id": "_c", "scope": "firm", "name": "n"}), "id"),
        ("clients", json!({"scope": "_firm", "name": "n"}), "scope"),
        ("chains/define", json!({"name": "_z"}), "name"),
        ("retainers/r1/consume", json!({"amount": sar(1), "invoice": "_i"}), "invoice"),
    ] {
        let refused = keyed(&server, "k", path, &body).await;
        assert_eq!(refused.field(), ("name_invalid".to_owned(), field.to_owned()), "{path}");
    }
}

#[tokio::test]
async fn currencies_of_the_book_are_listed() {
    let server = Server::start().await;
    let listed = async |query: &str| {
        let page = server.get(&format!("/v1/book/currencies{query}")).await;
        assert_eq!(page.status, 200, "{page:?}");
        page.json()
    };
    assert_eq!(listed("").await["currencies"], json!([]));
    for (seq, code) in [(1, "PTS"), (2, "KM"), (3, "PTX")] {
        let define = json!({"code": code, "scale": 3});
        let made = keyed(&server, code, "currencies/define", &define).await;
        let location = format!("/v1/book/currencies/{code}");
        assert_eq!((made.status, made.header("location")), (201, Some(location.as_str())));
        assert_eq!(made.json()["seq"], seq);
    }
    let shown = |code: &str| json!({"id": code, "scale": 3, "version": 1});
    let read = server.get("/v1/book/currencies/KM").await.json();
    assert_eq!(read["currency"], shown("KM"));
    let page = listed("?limit=2").await;
    assert_eq!(page["currencies"], json!([shown("KM"), shown("PTS")]));
    let rest = listed(&format!("?after={}", page["next"].as_str().unwrap())).await;
    assert_eq!((&rest["currencies"], &rest["next"]), (&json!([shown("PTX")]), &Value::Null));
    assert_eq!(listed("?prefix=PT").await["currencies"], json!([shown("PTS"), shown("PTX")]));
    let iso = server.get("/v1/book/currencies/SAR").await;
    assert_eq!(iso.refusal(), (404, "currency_not_found".to_owned()));
}

#[tokio::test]
async fn a_refusal_says_what_was_wrong_and_what_would_be_right() {
    let server = book().await;
    let sent = async |path: &str, body: Value| {
        let refused = keyed(&server, "k", path, &body).await;
        assert!(400 <= refused.status, "{path}: {refused:?}");
        refused.json()["detail"].as_str().unwrap().to_owned()
    };
    let template = json!({"name": "X", "template": "X", "class": "gapless", "zone": "UTC"});
    let consume = json!({"amount": sar(501)});
    let advance = json!({"period": "2025", "last": 7});
    let paid = json!({"amount": sar(1001), "method": "cash"});
    for (path, body, detail) in [
        ("series/define", template, "The template must have one {N:width}, or one {R}."),
        (
            "series/INV/advance",
            advance,
            "`period`: must be the date fields that the template prints.",
        ),
        (
            "book/configure",
            json!({}),
            "must name a setting: zone, void_allowed or duplicate_window.",
        ),
        (
            "retainers/r1/consume",
            consume,
            "Not enough is available (account sys:retainer:r1, available 500, required 501).",
        ),
        ("invoices/i1/pay", paid, "More than is due (balance due 1000, invoice i1)."),
        ("jobs/j1/cancel", json!({"by": "o"}), "No job has this id (id j1)."),
    ] {
        assert_eq!(sent(path, body).await, detail, "{path}");
    }
}

#[tokio::test]
async fn a_series_and_a_chain_are_verified() {
    let server = book().await;
    let chain = json!({"name": "tax", "genesis_hash": "0".repeat(64), "seal": "auto"});
    assert_eq!(keyed(&server, "k", "chains/define", &chain).await.status, 201);
    for path in ["series/INV", "series/CLT", "series/TXN", "chains/tax"] {
        let reply = server.get(&format!("/v1/book/{path}/verify")).await;
        assert_eq!((reply.status, &reply.json()["findings"]), (200, &json!([])), "{reply:?}");
    }
    for (path, code) in [("series/x", "series_not_found"), ("chains/x", "chain_not_found")] {
        let reply = server.get(&format!("/v1/book/{path}/verify")).await;
        assert_eq!(reply.refusal(), (404, code.to_owned()));
    }
    let reply = server.get("/v1/book/series/INV/verify?limit=1").await;
    assert_eq!(reply.refusal(), (400, "invalid_request".to_owned()));
}
