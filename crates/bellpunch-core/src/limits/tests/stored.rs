//! What is stored, in all formats that are read.

use serde_json::json;

use super::nanos;
use crate::AnyRecord as _;
use crate::limits::Quota;
use crate::record::decode;

#[test]
fn a_quota_is_stored_without_what_says_nothing_and_read_in_its_first_format() {
    let first = json!({ "format": 1, "record": {
        "limit": 9, "used": 4, "refilled_through": nanos(0), "charges": "none",
        "totals": {
            "opening": "1", "charged": "5", "refunded": "2", "forgiven": "0", "pruned": "0",
        },
        "created_at": nanos(0), "epoch": [1, 0],
    }});
    let mut before: Quota = decode(first.to_string().as_bytes()).expect("a release wrote it");
    assert_eq!((before.totals.opening, before.totals.refunded), (1, 2));
    assert_eq!(before.refilled_through, Some(nanos(0)));

    before.refilled_through = None;
    let stored = before.encode();
    let text = std::str::from_utf8(&stored).expect("JSON is text");
    for said in ["refilled_through", "forgiven", "pruned", "metadata", "holds"] {
        assert!(!text.contains(said), "{said} in {text}");
    }
    let after: Quota = decode(&stored).expect("it was just written");
    assert_eq!(format!("{after:?}"), format!("{before:?}"));
    let all_zero = text.replace(r#"{"opening":"1","charged":"5","refunded":"2"}"#, "{}");
    assert_ne!(all_zero, text);
    let after: Quota = decode(all_zero.as_bytes()).expect("no total is 0 as well");
    assert!(after.totals.is_zero());
}
