//! Names of blobs: what records and blob stores both know.
//!
//! Invariant: a name is written once and never shared or used again, so a late writer writes beside
//! what was published and never into it.

use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Key, Partition, Timestamp, ValueError};

const BYTES_MAX: usize = 1_024;

/// The name of a blob: 1 to 1,024 bytes of printable ASCII without spaces.
///
/// ```
/// use bellpunch_core::{BlobName, Key, Partition};
/// let (partition, upload) = (Partition::new("acme")?, Key::new("a/b")?);
/// let name = BlobName::of(&partition, &upload, 255);
/// assert_eq!(name.as_str(), "61636d65/612f62/000000000000000000000000000000ff");
/// assert_eq!(name.owner(), Some((partition, upload)));
/// # Ok::<(), bellpunch_core::ValueError>(())
/// ```
#[derive(Clone, Eq, Ord, PartialEq, PartialOrd)]
pub struct BlobName(Arc<str>);

impl BlobName {
    /// Takes a name as it is.
    ///
    /// # Errors
    /// `invalid_request` for another length or other characters.
    pub fn new(name: impl AsRef<str>) -> Result<Self, ValueError> {
        let name = name.as_ref();
        let legal = name.bytes().all(|byte| byte.is_ascii_graphic());
        if name.is_empty() || BYTES_MAX < name.len() || !legal {
            return Err(ValueError::Request("a blob's name is 1 to 1024 printable characters"));
        }
        Ok(Self(name.into()))
    }

    /// The name of a new blob for an upload: both names in hex, safe in any file system and short
    /// enough for any object store, and 128 random bits.
    #[must_use]
    pub fn of(partition: &Partition, upload: &Key, bits: u128) -> Self {
        let mut name = String::new();
        for part in [partition.as_str(), upload.as_str()] {
            for byte in part.bytes() {
                write!(name, "{byte:02x}").expect("writing to a string succeeds");
            }
            name.push('/');
        }
        write!(name, "{bits:032x}").expect("writing to a string succeeds");
        Self(name.into())
    }

    /// Whose it is; `None` if it was not made by [`BlobName::of`].
    #[must_use]
    pub fn owner(&self) -> Option<(Partition, Key)> {
        let mut parts = self.0.split('/');
        let (partition, upload) = (unhex(parts.next()?)?, unhex(parts.next()?)?);
        let bits = parts.next().filter(|bits| bits.len() == 32)?;
        u128::from_str_radix(bits, 16).ok()?;
        let owner = (Partition::new(partition).ok()?, Key::new(upload).ok()?);
        parts.next().is_none().then_some(owner)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn unhex(hex: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(hex.len());
    for pair in hex.as_bytes().chunks(2) {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        bytes.push(u8::from_str_radix(pair, 16).ok()?);
    }
    String::from_utf8(bytes).ok()
}

impl fmt::Debug for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for BlobName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for BlobName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(<Cow<'_, str>>::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for BlobName {
    fn schema_name() -> Cow<'static, str> {
        "BlobName".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[!-~]{1,1024}$" })
    }
}

/// A blob as its store lists it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredBlob {
    /// Its name.
    pub name: BlobName,
    /// When it was begun.
    pub created_at: Timestamp,
}
