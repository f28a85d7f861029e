//! Sequences whose verdicts were written down by hand, from the description.

use serde_json::{Value, json};

use super::*;

fn define(currencies: &mut Currencies, code: &str, scale: Value) -> Verdict {
    let args = json!({ "code": code, "scale": scale });
    currencies.apply(&Call { cmd: "currencies.define", args: &args, at: 0, drawn: None })
}

fn code(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::Rejected { code, .. } => code,
        verdict => panic!("{verdict:?}"),
    }
}

#[test]
fn a_currency_is_declared_once() {
    let mut currencies = Currencies::default();
    assert!(currencies.know("currency", "RCN").is_err());
    let Verdict::Accepted { reply, writes } = define(&mut currencies, "RCN", json!(2)) else {
        panic!()
    };
    let shown = json!({ "id": "RCN", "scale": 2, "version": 1 });
    assert_eq!(reply, json!({ "currency": shown, "postings": [], "events": [] }));
    let mut read = |id: &str| {
        let args = json!({ "id": id });
        currencies.apply(&Call { cmd: "currencies.read", args: &args, at: 0, drawn: None })
    };
    let Verdict::Accepted { reply, .. } = read("RCN") else { panic!() };
    assert_eq!(reply, json!({ "currency": shown }));
    assert_eq!(code(&read("SAR")), "currency_not_found");
    assert_eq!(writes, Writes::from(["currencies/RCN".to_owned()]));
    assert!(currencies.know("currency", "RCN").is_ok());
    let again = define(&mut currencies, "RCN", json!(3));
    assert_eq!(
        again,
        Verdict::Rejected { code: "currency_exists".to_owned(), reply: json!({ "scale": 2 }) }
    );
}

#[test]
fn what_iso_4217_has_cannot_be_declared() {
    let mut currencies = Currencies::default();
    for (iso, scale) in [("SAR", 2), ("JPY", 0), ("KWD", 3)] {
        let Verdict::Rejected { code, reply } = define(&mut currencies, iso, json!(2)) else {
            panic!()
        };
        assert_eq!((code.as_str(), reply), ("currency_exists", json!({ "scale": scale })));
    }
}

#[test]
fn a_scale_has_a_bound() {
    let mut currencies = Currencies::default();
    assert_eq!(code(&define(&mut currencies, "RCN", json!(16))), "invalid_request");
    assert_eq!(code(&define(&mut currencies, "RCN", json!(-1))), "invalid_request");
    assert!(matches!(define(&mut currencies, "RCN", json!(15)), Verdict::Accepted { .. }));
}

#[test]
fn units_need_no_declaration() {
    assert!(Currencies::default().know("unit", "use").is_ok());
}

#[test]
fn an_outcome_is_told_until_its_retention_ends() {
    let mut outcomes = Outcomes::default();
    let args = json!({ "id": "k" });
    let ask = |outcomes: &Outcomes, at| match outcomes.apply(&Call {
        cmd: "outcomes.read",
        args: &args,
        at,
        drawn: None,
    }) {
        Verdict::Accepted { reply, writes } if writes.is_empty() => reply,
        verdict => panic!("{verdict:?}"),
    };
    assert_eq!(ask(&outcomes, 5), json!({ "status": "not_applied" }));
    let receipt = json!({ "at": "1970-01-01T00:00:00Z", "versions": {}, "replies": [] });
    outcomes.keep("k", Kept { receipt: receipt.clone(), until: 10 });
    assert_eq!(ask(&outcomes, 9), json!({ "status": "applied", "receipt": receipt }));
    assert_eq!(ask(&outcomes, 10), json!({ "status": "not_applied" }));
}
