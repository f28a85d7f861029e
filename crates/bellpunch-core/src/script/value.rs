//! Words of scripts: spans, instants, names, numbers.

use serde_json::{Number, Value};

use crate::Timestamp;

/// 2026-01-01T00:00:00Z, the instant that scripts count from. At the start of a day, so that
/// windows on the epoch of any length that divides a day begin at 0 s.
pub const START: Timestamp = match Timestamp::from_nanos(START_NANOS) {
    Some(start) => start,
    None => panic!("2026 is before 9999"),
};
const START_NANOS: u128 = 1_767_225_600_000_000_000;

const UNITS: [(&str, i128); 8] = [
    // Longest names first: `ms` ends in `s` as well.
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
    // 365.25 days.
    ("y", 31_557_600_000_000_000),
];

/// A span in nanoseconds: `5.3s`, `100y`, `0s`. `None` if it is none, or not whole.
pub(super) fn span(text: &str) -> Option<i128> {
    let (number, unit) =
        UNITS.iter().find_map(|(name, nanos)| Some((text.strip_suffix(name)?, *nanos)))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || (number.contains('.') && !digits(fraction)) {
        return None;
    }
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let count: i128 = [whole, fraction].concat().parse().ok()?;
    let nanos = count.checked_mul(unit)?;
    (nanos.checked_rem(scale)? == 0).then(|| nanos.checked_div(scale)).flatten()
}

/// The instant so many nanoseconds after the start; before it, if negative.
pub(super) fn instant_at(nanos: i128) -> Option<Timestamp> {
    let start = i128::try_from(START.nanos()).ok()?;
    u128::try_from(start.checked_add(nanos)?).ok().and_then(Timestamp::from_nanos)
}

/// An instant: a span from the start, or a date.
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    match span(text) {
        Some(nanos) => instant_at(nanos),
        None => text.parse().ok(),
    }
}

/// A name: bare, or a quoted JSON string.
pub(super) fn name(text: &str) -> Option<String> {
    if text.starts_with('"') {
        return serde_json::from_str(text).ok();
    }
    (!text.is_empty() && !text.contains('"')).then(|| text.to_owned())
}

/// A number as JSON has it, right or wrong: `-1` and `1.5` are for the command to refuse.
pub(super) fn number(text: &str) -> Option<Value> {
    let number: Number = serde_json::from_str(text).ok()?;
    Some(Value::Number(number))
}

/// The nanoseconds of a span as JSON has them.
pub(super) fn span_json(text: &str) -> Option<Value> {
    let nanos = u64::try_from(span(text)?).ok()?;
    Some(Value::from(nanos))
}

/// Splits at white space outside of quotes.
pub(super) fn words(text: &str) -> Vec<&str> {
    split_outside_quotes(text, char::is_whitespace)
        .into_iter()
        .filter(|word| !word.is_empty())
        .collect()
}

/// Splits at a character outside of quotes.
pub(super) fn split_outside_quotes(text: &str, at: impl Fn(char) -> bool) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut quoted, mut escaped, mut from) = (false, false, 0_usize);
    for (index, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if !quoted && at(character) => {
                parts.push(text.get(from..index).unwrap_or_default());
                from = index.saturating_add(character.len_utf8());
            }
            _ => {}
        }
    }
    parts.push(text.get(from..).unwrap_or_default());
    parts
}
