//! Instants as they are written in replies: RFC 3339, to the nanosecond.
//!
//! Invariant: own integers, nanoseconds since the Unix epoch; nothing is rounded.

/// Nanoseconds since the Unix epoch.
pub type Nanos = i128;

/// Reads an instant of a reply; `None` if it is none.
///
/// ```
/// use bellpunch_check::instant::{parse, print};
/// assert_eq!(parse("1970-01-01T00:00:01.5Z"), Some(1_500_000_000));
/// assert_eq!(print(1_500_000_000), "1970-01-01T00:00:01.500Z");
/// assert_eq!(parse("yesterday"), None);
/// ```
#[must_use]
pub fn parse(text: &str) -> Option<Nanos> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_nanosecond)
}

/// Writes an instant as replies do: with 0, 3, 6 or 9 digits after the point, whichever is exact.
///
/// # Panics
/// If the instant is beyond the year 9999, which no reply shows.
#[must_use]
pub fn print(nanos: Nanos) -> String {
    let instant = jiff::Timestamp::from_nanosecond(nanos).expect("an instant before 9999");
    let digits = match nanos.rem_euclid(1_000_000_000) {
        0 => 0,
        fraction if fraction.rem_euclid(1_000_000) == 0 => 3,
        fraction if fraction.rem_euclid(1_000) == 0 => 6,
        _ => 9,
    };
    let printer = jiff::fmt::temporal::DateTimePrinter::new().precision(Some(digits));
    printer.timestamp_to_string(&instant)
}
