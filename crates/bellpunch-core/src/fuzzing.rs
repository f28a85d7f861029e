//! Readers of bytes from outside that only this crate reaches, for fuzzing.
//!
//! Invariant: each takes any bytes, says whether they were read, and panics only if a reader or a
//! writer is wrong. What was read is written and read again, and must be the same.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::{
    Charge, Hold, InlineCounter, KeyCount, LocalCounter, Quota, RateCounter, RatePolicy,
};
use crate::record::decode;
use crate::tickets::{Issues, Ticket};
use crate::uploads::Upload;
use crate::{
    Amount, AnyRecord, BlobName, CurrencyCode, Digest, Duration, Fingerprint, IdempotencyKey, Key,
    Labels, Limit, MinorUnits, OutcomeRecord, Partition, PositiveUnits, Record, RecordId,
    SecretHash, Taking, Timestamp, Units,
};

/// How many kinds of stored records there are.
pub const KINDS: usize = 13;

/// Reads bytes as the stored form of every kind of record.
#[must_use]
pub fn records(bytes: &[u8]) -> bool {
    let read: [bool; KINDS] = [
        record::<Quota>(bytes),
        record::<Hold>(bytes),
        record::<Charge>(bytes),
        record::<RateCounter>(bytes),
        record::<InlineCounter>(bytes),
        record::<LocalCounter>(bytes),
        record::<KeyCount>(bytes),
        record::<RatePolicy>(bytes),
        record::<crate::currencies::Currency>(bytes),
        record::<Upload>(bytes),
        record::<OutcomeRecord>(bytes),
        record::<Issues>(bytes),
        record::<Ticket>(bytes),
    ];
    read.contains(&true)
}

fn record<R: Record>(bytes: &[u8]) -> bool {
    let record = match decode::<R>(bytes) {
        Ok(record) => record,
        Err(error) => {
            assert!(!error.to_string().is_empty(), "an error says why");
            return false;
        }
    };
    let stored = record.encode();
    let again = decode::<R>(&stored).expect("what was written is read");
    assert_eq!(again.encode(), stored, "a record is not what was written");
    assert_eq!(again.due(), record.due(), "a record is due at another time");
    true
}

/// Reads text as every value that has a text or JSON form.
#[must_use]
pub fn values(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let texts = [
        text_of::<Timestamp>(text),
        name_of(text, Key::new),
        name_of(text, Partition::new),
        name_of(text, IdempotencyKey::new),
        name_of(text, CurrencyCode::new),
        blob(text),
    ];
    let id = RecordId::stored(text);
    for count in 1..=3 {
        let Some(parts) = id.split(count) else { continue };
        let parts: Vec<&Key> = parts.iter().collect();
        // A length may be written in more than one way, but names stay the same.
        let again = RecordId::compound(&parts).split(count).expect("it was made of names");
        assert!(again.iter().eq(parts), "an id of other names");
    }
    let json = [
        json_of::<Amount>(bytes),
        json_of::<CurrencyCode>(bytes),
        json_of::<Digest>(bytes),
        json_of::<Duration>(bytes),
        json_of::<Fingerprint>(bytes),
        json_of::<IdempotencyKey>(bytes),
        json_of::<Key>(bytes),
        json_of::<Labels>(bytes),
        json_of::<Limit>(bytes),
        json_of::<MinorUnits>(bytes),
        json_of::<Partition>(bytes),
        json_of::<PositiveUnits>(bytes),
        json_of::<SecretHash>(bytes),
        json_of::<Taking>(bytes),
        json_of::<Timestamp>(bytes),
        json_of::<Units>(bytes),
    ];
    texts.contains(&true) || json.contains(&true)
}

fn text_of<T: FromStr + Display + PartialEq + Debug>(text: &str) -> bool
where
    T::Err: Display,
{
    match text.parse::<T>() {
        Ok(value) => {
            let again = value.to_string().parse::<T>().ok();
            assert_eq!(again, Some(value), "{text:?} is written as another value");
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty(), "an error says why");
            false
        }
    }
}

fn name_of<T: Serialize, E: Display>(text: &str, new: impl Fn(String) -> Result<T, E>) -> bool {
    match new(text.to_owned()) {
        Ok(name) => {
            let written = serde_json::to_value(&name).expect("a name is plain data");
            assert_eq!(written.as_str(), Some(text), "a name was rewritten");
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty(), "an error says why");
            false
        }
    }
}

fn blob(text: &str) -> bool {
    let Ok(name) = BlobName::new(text) else { return false };
    assert_eq!(name.as_str(), text, "a name was rewritten");
    if let Some((partition, upload)) = name.owner() {
        let of = BlobName::of(&partition, &upload, 0);
        assert_eq!(of.owner(), Some((partition, upload)), "a blob of another upload");
    }
    true
}

fn json_of<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> bool {
    let Ok(value) = serde_json::from_slice::<T>(bytes) else { return false };
    let written = serde_json::to_vec(&value).expect("a value is plain data");
    let again: T = serde_json::from_slice(&written).expect("what was written is read");
    let rewritten = serde_json::to_vec(&again).expect("a value is plain data");
    assert_eq!(rewritten, written, "a value is not what was written");
    true
}
