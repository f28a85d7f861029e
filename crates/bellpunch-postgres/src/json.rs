//! Which values the database can hold as JSON, so that their owner can ask for them.
//!
//! Invariant: a value is stored as `jsonb` only if it comes back meaning the same. The database
//! drops duplicate names and writes numbers its own way (`1e5` as `100000`, `-0` as `0`), so values
//! with one of those are stored as bytes. The order of names and white space mean nothing.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// The value as the text of a JSON object that the database gives back as it is.
pub(crate) fn exact(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?;
    // Mostly what is no JSON at all shows it at once.
    if !text.starts_with('{') {
        return None;
    }
    serde_json::from_str::<Exact>(text).ok().map(|Exact| text)
}

/// Any JSON that the database keeps as it is.
struct Exact;

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Look)
    }
}

struct Look;

impl<'de> Visitor<'de> for Look {
    type Value = Exact;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON with whole numbers, without NUL or a name twice")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Exact, E> {
        Ok(Exact)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Exact, E> {
        Ok(Exact)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Exact, E> {
        Ok(Exact)
    }

    fn visit_unit<E: Error>(self) -> Result<Exact, E> {
        Ok(Exact)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Exact, E> {
        if text.contains('\0') {
            Err(E::custom("the database's text has no NUL"))
        } else {
            Ok(Exact)
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Exact, A::Error> {
        while let Some(Exact) = items.next_element()? {}
        Ok(Exact)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Exact, A::Error> {
        let mut names = BTreeSet::new();
        while let Some(name) = entries.next_key::<String>()? {
            if name.contains('\0') || !names.insert(name) {
                return Err(A::Error::custom("the database would drop or refuse a name"));
            }
            let Exact = entries.next_value()?;
        }
        Ok(Exact)
    }
}

#[cfg(test)]
mod tests;
