//! Epochs: what a count belongs to, so that a refund never reaches into another one.

use serde::{Deserialize, Serialize};

use crate::Version;

/// Opaque. Changes with every create, refill, reset and conversion, and never repeats, not even
/// over a delete: the version that made the record, then a count.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Epoch(u64, u64);

impl Epoch {
    /// Of a record that no policy is behind.
    pub(super) const NONE: Self = Self(0, 0);

    /// The first epoch of a record, which is made at `version`.
    pub(super) const fn of(version: Version) -> Self {
        Self(version.get(), 0)
    }

    pub(super) fn next(self) -> Self {
        Self(self.0, self.1.checked_add(1).expect("no record begins 2^64 epochs"))
    }
}

/// Integers above 2^64 as strings of digits.
pub(super) mod digits {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(in super::super) fn serialize<S: Serializer>(
        number: &u128,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<u128, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}
