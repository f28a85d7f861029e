//! Hashes of bearer secrets.
//!
//! Invariant: a rule sees a hash and never the secret, and compares in a time that does not depend
//! on where two hashes differ. There is no `==`: the only comparison is [`SecretHash::matches`].

use std::borrow::Cow;
use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ValueError;

const WRONG: ValueError = ValueError::Request("a SHA-256 is 64 hex digits");

/// The SHA-256 of a secret of at least 128 random bits. JSON: 64 hex digits. Not shown by `Debug`.
///
/// ```
/// use bellpunch_core::SecretHash;
/// let (a, b) = (SecretHash::new([1; 32]), SecretHash::new([2; 32]));
/// assert!(a.matches(&a) && !a.matches(&b));
/// assert_eq!(format!("{a:?}"), "SecretHash(..)");
/// ```
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// The hash as computed by a door or a caller.
    #[must_use]
    pub const fn new(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// Whether both are of one secret. Looks at every byte whatever the first ones are.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        let mut differing = 0;
        for (ours, theirs) in self.0.iter().zip(&other.0) {
            differing = std::hint::black_box(differing | (ours ^ theirs));
        }
        differing == 0
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

impl Serialize for SecretHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for SecretHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'_, str>>::deserialize(deserializer)?;
        unhex(&text).map(Self).map_err(D::Error::custom)
    }
}

/// The SHA-256 of some bytes. JSON: 64 hex digits.
///
/// ```
/// use bellpunch_core::Digest;
/// assert_eq!(Digest::new([171; 32]).to_string(), "ab".repeat(32));
/// ```
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest as a door computed it.
    #[must_use]
    pub const fn new(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// Its bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'_, str>>::deserialize(deserializer)?;
        unhex(&text).map(Self).map_err(D::Error::custom)
    }
}

pub(super) fn hex(bytes: &[u8; 32]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).expect("half a byte");
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn unhex(hex: &str) -> Result<[u8; 32], ValueError> {
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(WRONG);
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| WRONG)?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| WRONG)?;
    }
    Ok(bytes)
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for SecretHash {
    fn schema_name() -> Cow<'static, str> {
        "SecretHash".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9a-fA-F]{64}$" })
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Digest {
    fn schema_name() -> Cow<'static, str> {
        "Digest".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9a-fA-F]{64}$" })
    }
}
