use super::{Duration, IdempotencyKey, Key, Limit, Partition, PositiveUnits, Timestamp, Units};

fn units(json: &str) -> String {
    match serde_json::from_str::<Units>(json) {
        Ok(units) => units.to_string(),
        Err(error) => error.to_string().split(" at ").next().unwrap().to_owned(),
    }
}

#[test]
fn units_are_integers_and_nothing_else() {
    assert_eq!(units("0"), "0");
    assert_eq!(units("9007199254740991"), "9007199254740991");
    assert_eq!(units("9007199254740992"), "invalid_units: too_large");
    assert_eq!(units("18446744073709551616"), "invalid_units: too_large");
    assert_eq!(units("-1"), "invalid_units: negative");
    for wrong in ["1.5", "1.0", "1e3", "\"1\"", "true", "null"] {
        assert_eq!(units(wrong), "invalid_units: not_an_integer", "{wrong}");
    }
    assert!(serde_json::from_str::<PositiveUnits>("0").is_err());
    assert_eq!(serde_json::from_str::<Limit>("\"unlimited\"").unwrap(), Limit::Unlimited);
    assert!(serde_json::from_str::<Limit>("\"Unlimited\"").is_err());
}

#[test]
fn units_never_wrap() {
    assert_eq!(Units::MAX.checked_add(Units::ONE), None);
    assert_eq!(Units::ZERO.checked_sub(Units::ONE), None);
    assert_eq!(Units::ZERO.minus_or_zero(Units::ONE), Units::ZERO);
}

#[test]
fn names_are_kept_or_refused() {
    assert!(Key::new("").is_err());
    assert!(Key::new("x".repeat(256)).is_ok());
    assert!(Key::new("x".repeat(257)).is_err());
    assert!(Partition::new("x".repeat(128)).is_ok());
    assert!(Partition::new("x".repeat(129)).is_err());
    for control in ["\0", "\u{1f}", "\u{7f}", "\u{9f}"] {
        assert!(Key::new(format!("a{control}")).is_err());
    }
    assert_ne!(Key::new("\u{e9}").unwrap(), Key::new("e\u{301}").unwrap());
    assert_eq!(Key::new(" a ").unwrap().as_str(), " a ");
    assert!(IdempotencyKey::new("é").is_err());
}

#[test]
fn times_are_read_exactly_or_refused() {
    let read = |text: &str| text.parse::<Timestamp>().map(|time| time.to_string());
    assert_eq!(read("1970-01-01T00:00:00Z").unwrap(), "1970-01-01T00:00:00Z");
    assert_eq!(read("2026-02-28T23:59:59.5+01:00").unwrap(), "2026-02-28T22:59:59.500Z");
    assert_eq!(read("2026-01-01T00:00:00.000000001Z").unwrap(), "2026-01-01T00:00:00.000000001Z");
    for wrong in [
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-06-30T23:59:60Z",
        "1969-12-31T23:59:59Z",
        "2026-01-01T00:00:00Z[UTC]",
        "2026-02-30T00:00:00Z",
        "2026-01-01T00:00:00.0000000001Z",
        "2026-01-01 00:00:00Z",
        "10000-01-01T00:00:00Z",
        "",
    ] {
        assert!(read(wrong).is_err(), "{wrong}: {:?}", read(wrong));
    }
}

#[test]
fn spans_are_rounded_against_the_caller() {
    assert_eq!(Duration::from_nanos(1).millis_up(), 1);
    assert_eq!(Duration::from_millis(1).millis_up(), 1);
    assert_eq!(Duration::from_nanos(1_000_001).millis_up(), 2);
    assert_eq!(Duration::checked(0), None);
    assert!(serde_json::from_str::<Duration>("0").is_err());
}
