//! Names: compared byte for byte; never trimmed, folded, normalised or rewritten.

use std::borrow::{Borrow, Cow};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ValueError;

const KEY_BYTES_MAX: usize = 256;
const PARTITION_BYTES_MAX: usize = 128;
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
const LABELS_MAX: usize = 16;
const LABEL_BYTES_MAX: usize = 256;

fn check_name(name: &str, bytes_max: usize) -> Result<(), ValueError> {
    if name.is_empty() {
        return Err(ValueError::Name("empty"));
    }
    if bytes_max < name.len() {
        return Err(ValueError::Name("too_long"));
    }
    if name.chars().any(char::is_control) {
        return Err(ValueError::Name("control_character"));
    }
    Ok(())
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $bytes_max:expr) => {
        $(#[$doc])*
        #[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes a name as it is.
            ///
            /// # Errors
            /// `name_invalid`: `empty`, `too_long` or `control_character`.
            pub fn new(name: impl AsRef<str>) -> Result<Self, ValueError> {
                let name = name.as_ref();
                check_name(name, $bytes_max)?;
                Ok(Self(name.into()))
            }

            /// The name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = <Cow<'_, str>>::deserialize(deserializer)?;
                Self::new(name).map_err(D::Error::custom)
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string", "minLength": 1, "maxLength": $bytes_max,
                    "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"
                })
            }
        }
    };
}

name_type! {
    /// An id or a rate-limit key: 1 to 256 bytes of UTF-8 without control characters.
    ///
    /// ```
    /// use bellpunch_core::{Key, ValueError};
    /// assert_ne!(Key::new("a.b")?, Key::new("a_b")?);
    /// assert_eq!(Key::new("a\0"), Err(ValueError::Name("control_character")));
    /// # Ok::<(), ValueError>(())
    /// ```
    Key, KEY_BYTES_MAX
}

impl Key {
    /// The name, shared: ids that are the same text are one text in memory.
    pub(crate) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

name_type! {
    /// The unit of order and atomicity: 1 to 128 bytes of UTF-8 without control characters.
    ///
    /// ```
    /// use bellpunch_core::Partition;
    /// assert_eq!(Partition::new("acme")?.as_str(), "acme");
    /// # Ok::<(), bellpunch_core::ValueError>(())
    /// ```
    Partition, PARTITION_BYTES_MAX
}

/// The caller's name for one intent: 1 to 255 printable ASCII characters.
///
/// ```
/// use bellpunch_core::IdempotencyKey;
/// assert!(IdempotencyKey::new("order-81").is_ok());
/// assert!(IdempotencyKey::new("tab\t").is_err());
/// ```
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct IdempotencyKey(Arc<str>);

impl IdempotencyKey {
    /// Takes a key as it is.
    ///
    /// # Errors
    /// `idempotency_key_invalid` for an empty or longer key, or other characters.
    pub fn new(key: impl AsRef<str>) -> Result<Self, ValueError> {
        let key = key.as_ref();
        if key.is_empty() || IDEMPOTENCY_KEY_BYTES_MAX < key.len() {
            return Err(ValueError::IdempotencyKey("must have 1 to 255 characters"));
        }
        if !key.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(ValueError::IdempotencyKey("must be printable ASCII"));
        }
        Ok(Self(key.into()))
    }

    /// The key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for IdempotencyKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let key = <Cow<'_, str>>::deserialize(deserializer)?;
        Self::new(key).map_err(D::Error::custom)
    }
}

/// The SHA-256 of a command's whole content, defaults filled in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The hash as computed by the engine.
    #[must_use]
    pub const fn new(hash: [u8; 32]) -> Self {
        Self(hash)
    }
}

/// 64 lowercase hex digits.
impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::secret::hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let hex = <Cow<'_, str>>::deserialize(deserializer)?;
        let wrong = || D::Error::custom("a fingerprint is 64 hex digits");
        let mut hash = [0; 32];
        if hex.len() != 64 {
            return Err(wrong());
        }
        for (byte, pair) in hash.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Self(hash))
    }
}

/// At most 16 pairs of [`Key`] and up to 256 bytes of text. Stored, never interpreted.
///
/// ```
/// use bellpunch_core::Labels;
/// let labels: Labels = serde_json::from_str(r#"{"action": "upload"}"#)?;
/// assert_eq!(labels.get("action"), Some("upload"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Labels(BTreeMap<Key, String>);

impl Labels {
    /// Takes the pairs.
    ///
    /// # Errors
    /// `invalid_request` for more than 16 pairs or a value above 256 bytes.
    pub fn new(pairs: BTreeMap<Key, String>) -> Result<Self, ValueError> {
        if LABELS_MAX < pairs.len() {
            return Err(ValueError::Request("more than 16 labels"));
        }
        if pairs.values().any(|value| LABEL_BYTES_MAX < value.len()) {
            return Err(ValueError::Request("a label's value is longer than 256 bytes"));
        }
        Ok(Self(pairs))
    }

    /// The value of a label.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(BTreeMap::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
