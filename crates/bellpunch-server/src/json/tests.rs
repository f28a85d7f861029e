//! Claims about what is read and what is refused.

use serde_json::json;

use super::*;

fn read(text: &str) -> Result<Value, (String, String)> {
    read_object(text.as_bytes()).map(Value::Object).map_err(|e| (e.field, e.reason))
}

#[test]
fn an_empty_body_is_an_empty_object() {
    assert_eq!(read(""), Ok(json!({})));
    assert_eq!(read(" \n"), Ok(json!({})));
}

#[test]
fn refuses_what_is_said_twice() {
    let twice = ("a".to_owned(), "the name stands twice".to_owned());
    assert_eq!(read(r#"{"a": 1, "a": 1}"#), Err(twice.clone()));
    assert_eq!(read(r#"{"b": {"a": 1, "\u0061": 2}}"#), Err(twice));
}

#[test]
fn every_maximum_holds_at_its_value_and_not_one_beyond() {
    let nested = |depth: usize| {
        let inner = depth - 1;
        format!("{{\"a\":{}1{}}}", "[".repeat(inner), "]".repeat(inner))
    };
    assert!(read(&nested(DEPTH_MAX)).is_ok());
    assert!(read(&nested(DEPTH_MAX + 1)).unwrap_err().1.contains("nested deeper"));
    let array = |count: usize| format!("{{\"a\":[{}]}}", vec!["1"; count].join(","));
    assert!(read(&array(MEMBERS_MAX)).is_ok());
    assert!(read(&array(MEMBERS_MAX + 1)).unwrap_err().1.contains("more than 1000"));
}

#[test]
fn only_objects_and_nothing_after_them() {
    for text in ["1", "[]", "null", "\"a\"", "{} {}", "{", "{\"a\":}", "\u{feff}{}", "{'a':1}"] {
        assert!(read(text).is_err(), "{text}");
    }
    assert!(read_object(b"{\"a\":\"\xff\"}").is_err());
}

#[test]
fn durations_are_milliseconds_outside() {
    let mut content = read_object(br#"{"ttl_ms": 5, "terms": {"period_ms": 1000}}"#).unwrap();
    inward("holds.create", &mut content).unwrap();
    let inside = json!({"ttl_ns": 5_000_000, "terms": {"period_ns": 1_000_000_000}});
    assert_eq!(Value::Object(content), inside);
    let mut reply = json!({"retry_after_ns": 1, "list": [{"a_ns": 2_000_000}], "b_ns": null});
    outward(&mut reply);
    assert_eq!(reply, json!({"retry_after_ms": 1, "list": [{"a_ms": 2}], "b_ms": null}));
}

#[test]
fn refuses_other_spellings_of_durations() {
    for text in [
        r#"{"ttl_ns": 5}"#,
        r#"{"ttl_ms": 1.5}"#,
        r#"{"ttl_ms": "5"}"#,
        r#"{"ttl_ms": -1}"#,
        r#"{"ttl_ms": 1e3}"#,
        r#"{"ttl_ms": 9007199254740992}"#,
        r#"{"ttl_ms": 9007199254740991}"#,
        r#"{"ttl_ms": null}"#,
    ] {
        let mut content = read_object(text.as_bytes()).unwrap();
        let error = inward("holds.create", &mut content).unwrap_err();
        assert!(error.field.starts_with("ttl_"), "{text}: {error:?}");
    }
}

#[test]
fn null_only_where_it_means_something() {
    let content = || read_object(br#"{"expires_at": null}"#).unwrap();
    assert!(inward("quotas.configure", &mut content()).is_ok());
    assert_eq!(inward("quotas.create", &mut content()).unwrap_err().field, "expires_at");
    let mut nested = read_object(br#"{"items": [{"units": null}]}"#).unwrap();
    assert_eq!(inward("checks.consume", &mut nested).unwrap_err().field, "items[0].units");
}

#[test]
fn the_callers_own_names_are_left_alone() {
    let mut content = read_object(br#"{"metadata": {"a_ns": "x", "b_ms": "y"}}"#).unwrap();
    let before = content.clone();
    inward("quotas.create", &mut content).unwrap();
    assert_eq!(content, before);
}
