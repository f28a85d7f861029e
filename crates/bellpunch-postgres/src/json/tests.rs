use super::exact;

#[test]
fn objects_of_text_and_whole_numbers_are_exact() {
    for text in [
        "{}",
        r#"{"format":1,"record":{"used":18446744073709551615,"least":-9223372036854775808}}"#,
        r#"{"a":[true,false,null,"é\n\u00e9\ud83d\ude00",{"b":[]}]}"#,
        r#"{"a":{"a":{"a":1}},"b":{"a":1}}"#,
    ] {
        assert_eq!(exact(text.as_bytes()), Some(text));
    }
}

#[test]
fn what_would_change_or_be_refused_is_not() {
    for text in [
        "",
        "1",
        "[]",
        "\"a\"",
        "null",
        "{",
        "{} {}",
        " {}",
        r#"{"a":1.5}"#,
        r#"{"a":1e5}"#,
        r#"{"a":1.0}"#,
        r#"{"a":-0}"#,
        r#"{"a":-0.0}"#,
        r#"{"a":18446744073709551616}"#,
        r#"{"a":-9223372036854775809}"#,
        r#"{"a":1,"a":1}"#,
        r#"{"a":{"b":1,"b":2}}"#,
        r#"[{"a":1}]"#,
        r#"{"a":"\u0000"}"#,
        r#"{"\u0000":1}"#,
        r#"{"a":"\ud800"}"#,
    ] {
        assert_eq!(exact(text.as_bytes()), None, "{text}");
    }
    assert_eq!(exact(b"{\"a\":\"\xff\"}"), None);
}
