//! Retainers.

use super::*;

#[test]
fn m01_m02_no_more_than_there_is() {
    let mut desk = Desk::usual();
    desk.retainer("R", 10_000, json!({}));
    assert_eq!(desk.ok("retainers.consume", of("R", 6_000))["retainer"]["balance"], json!(4_000));
    let refused = desk.no("retainers.consume", of("R", 6_000), "insufficient_funds");
    assert_eq!(refused["available"], json!(4_000));
    let last = desk.ok("retainers.consume", of("R", 4_000));
    assert_eq!(events(&last), ["retainer_depleted"]);
    desk.no("retainers.consume", of("R", 1), "retainer_depleted");
}

#[test]
fn m03_amounts_are_counts() {
    let mut desk = Desk::usual();
    desk.retainer("R", 10_000, json!({}));
    for (amount, reason) in [
        (json!(-6_000), "negative"),
        (json!(0), "zero"),
        (json!(60.0), "not_an_integer"),
        (json!("60"), "not_an_integer"),
    ] {
        let args = json!({ "id": "R", "amount": { "amount": amount, "currency": "SAR" } });
        assert_eq!(desk.no("retainers.consume", args, "invalid_amount")["reason"], reason);
    }
}

#[test]
fn m04_the_alert_fires_once_and_is_armed_from_above() {
    let mut desk = Desk::usual();
    desk.retainer("R", 10_000, json!({ "minimum_balance": sar(5_000) }));
    let mut ask = |cmd: &str, amount| {
        let reply = desk.ok(cmd, of("R", amount));
        let fired = events(&reply).contains(&"low_balance");
        (reply["retainer"]["balance"].as_i64().unwrap(), fired)
    };
    assert_eq!(ask("retainers.consume", 4_000), (6_000, false));
    assert_eq!(ask("retainers.consume", 1_000), (5_000, true));
    assert_eq!(ask("retainers.consume", 1_000), (4_000, false));
    assert_eq!(ask("retainers.replenish", 500), (4_500, false));
    assert_eq!(ask("retainers.replenish", 2_000), (6_500, false));
    assert_eq!(ask("retainers.consume", 2_000), (4_500, true));
}

#[test]
fn a_changed_minimum_fires_or_arms_once() {
    let mut desk = Desk::usual();
    desk.retainer("R", 10_000, json!({}));
    let mut version = 0;
    let mut change = |minimum| {
        version += 1;
        let args = json!({ "id": "R", "if_version": version, "minimum_balance": sar(minimum) });
        let reply = desk.ok("retainers.update", args);
        (reply["retainer"]["alert_armed"] == true, events(&reply).len())
    };
    assert_eq!(change(9_999), (true, 0));
    assert_eq!(change(10_000), (false, 1));
    assert_eq!(change(12_000), (false, 0), "it was told");
    assert_eq!(change(9_000), (true, 0));
    assert_eq!(change(0), (false, 0));
    assert_eq!(change(12_000), (false, 1), "it was above nothing, which is no minimum");
}

#[test]
fn m06_refunded_is_refunded() {
    let mut desk = Desk::usual();
    desk.retainer("R", 10_000, json!({}));
    desk.ok("retainers.consume", of("R", 6_000));
    let done = desk.ok("retainers.refund", json!({ "id": "R", "reason": "end" }));
    assert_eq!(done["refund"]["amount"], json!(4_000));
    assert_eq!(done["retainer"]["status"], "refunded");
    desk.no("retainers.consume", of("R", 1), "retainer_refunded");
}

#[test]
fn m07_m08_a_payment_replenishes_once() {
    let mut desk = Desk::usual();
    desk.retainer("R", 0, json!({}));
    desk.payment("P", 5_000, json!([unapplied(5_000)]));
    let with = |amount| {
        let mut args = of("R", amount);
        args["payment"] = json!("P");
        args
    };
    desk.no("retainers.replenish", with(5_000), "payment_not_completed");
    desk.ok("payments.complete", json!({ "id": "P" }));
    let told = desk.no("retainers.replenish", with(6_000), "amount_mismatch");
    assert_eq!(told["expected"], json!(5_000));
    let done = desk.ok("retainers.replenish", with(5_000));
    assert_eq!(done["retainer"]["balance"], json!(5_000));
    desk.no("retainers.replenish", with(5_000), "payment_already_credited");
}

#[test]
fn m09_the_end_is_too_late_for_all_but_the_way_back() {
    let mut desk = Desk::usual();
    desk.retainer("R", 10_000, json!({ "ends_at": "2025-06-15T00:00:01Z" }));
    desk.at += 999 * MILLI;
    desk.ok("retainers.consume", of("R", 1));
    desk.at += MILLI;
    desk.no("retainers.consume", of("R", 1), "retainer_expired");
    desk.no("retainers.replenish", of("R", 1), "retainer_expired");
    let done = desk.ok("retainers.refund", json!({ "id": "R", "reason": "end" }));
    assert_eq!(done["retainer"]["status"], "refunded");
}

#[test]
fn m10_to_consume_for_an_invoice_is_to_pay_it() {
    let mut desk = Desk::usual();
    desk.retainer("R", 10_000, json!({}));
    desk.invoice("I", 6_000);
    let with = |amount| {
        let mut args = of("R", amount);
        args["invoice"] = json!("I");
        args
    };
    let told = desk.no("retainers.consume", with(7_000), "exceeds_due");
    assert_eq!(told["balance_due"], json!(6_000));
    let done = desk.ok("retainers.consume", with(6_000));
    assert_eq!(done["invoice"]["status"], "paid");
    assert_eq!(events(&done), ["invoice_paid"]);
    let name = done["consumption"]["id"].clone();
    let back = desk.ok("retainers.restore", json!({ "consumption": name }));
    assert_eq!(back["retainer"]["balance"], json!(10_000));
    assert_eq!(back["invoice"]["balance_due"], json!(6_000));
    assert_eq!(back["invoice"]["status"], "issued");
    desk.no("retainers.restore", json!({ "consumption": name }), "exceeds_consumption");
    desk.ok("clients.create", json!({ "id": "D", "scope": "L", "name": "D" }));
    let args = json!({ "id": "S", "client": "D", "type": "advance", "currency": "SAR",
                       "initial_amount": sar(100) });
    desk.ok("retainers.create", args);
    let mut other = with(100);
    other["id"] = json!("S");
    desk.no("retainers.consume", other, "client_mismatch");
}

#[test]
fn m11_a_retainer_that_closes_takes_nothing() {
    let mut desk = Desk::usual();
    desk.retainer("R", 10_000, json!({}));
    let args = json!({ "id": "R", "reason": "end", "settle": "later" });
    let later = desk.ok("retainers.refund", args);
    let retainer = &later["retainer"];
    assert_eq!((&retainer["balance"], &retainer["available"]), (&json!(10_000), &json!(0)));
    let told = desk.no("retainers.consume", of("R", 1), "insufficient_funds");
    assert_eq!(told["available"], json!(0));
    desk.no("retainers.replenish", of("R", 1), "retainer_closing");
    let id = json!({ "id": later["refund"]["id"] });
    let failed = desk.ok("refunds.fail", id.clone());
    assert_eq!(failed["retainers"][0]["available"], json!(10_000));
    assert_eq!(failed["retainers"][0]["status"], "active");
    desk.no("refunds.complete", id, "refund_not_pending");
}

#[test]
fn m58_values_are_written_on_a_version() {
    let mut desk = Desk::usual();
    desk.retainer("R", 10_000, json!({}));
    let mut args = of("R", 1);
    args["if_version"] = json!(7);
    assert_eq!(desk.no("retainers.consume", args, "version_mismatch")["version"], 1);
    desk.no("retainers.update", json!({ "id": "R" }), "if_version_required");
    let args = json!({ "id": "R", "if_version": 1, "minimum_balance": sar(10_000) });
    assert_eq!(desk.ok("retainers.update", args)["retainer"]["version"], 2);
}
