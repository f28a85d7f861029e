//! Claims about request fields.

use hyper::header::HeaderValue;

use super::*;

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    headers
}

#[test]
fn a_key_is_quoted_or_bare_and_both_name_the_same() {
    let key = |value| {
        let headers = headers(&[("idempotency-key", value)]);
        idempotency_key(&headers).map_err(|p| p.code).map(|k| k.unwrap().as_str().to_owned())
    };
    assert_eq!(key("order-81"), Ok("order-81".to_owned()));
    assert_eq!(key("\"order-81\""), Ok("order-81".to_owned()));
    assert_eq!(key("\"a\\\"b\";p=1"), Ok("a\"b".to_owned()));
    let long = "k".repeat(256);
    for wrong in ["", "\"", "\"a", "\"a\"b", "\"a\\b\"", "\"\"", long.as_str()] {
        assert_eq!(key(wrong), Err("idempotency_key_invalid"), "{wrong}");
    }
    assert_eq!(key(&"k".repeat(255)).map(|key| key.len()), Ok(255));
}

#[test]
fn two_lines_of_a_key_are_none() {
    let headers = headers(&[("idempotency-key", "a"), ("idempotency-key", "a")]);
    assert_eq!(idempotency_key(&headers).unwrap_err().code, "idempotency_key_invalid");
}

#[test]
fn tags_become_versions_and_weak_ones_never_match() {
    let version = |value| if_version(&headers(&[("if-match", value)])).map_err(|p| p.code);
    assert_eq!(version("\"42\""), Ok(Some(serde_json::json!([42]))));
    assert_eq!(version("\"1\", W/\"2\", \"x\""), Ok(Some(serde_json::json!([1]))));
    assert_eq!(version("*"), Ok(Some("*".into())));
    assert_eq!(version("42"), Err("invalid_request"));
    let none = if_version(&headers(&[("if-none-match", "*")])).unwrap();
    assert_eq!(none, Some("none".into()));
}

#[test]
fn a_deadline_is_1_to_60000_milliseconds() {
    let wait = |value| timeout(&headers(&[("bellpunch-timeout-ms", value)])).map_err(|p| p.code);
    assert_eq!(wait("60000"), Ok(Some(Duration::from_millis(60_000))));
    for wrong in ["0", "60001", "+5", "1.5", "", "x"] {
        assert_eq!(wait(wrong), Err("invalid_request"), "{wrong}");
    }
}
