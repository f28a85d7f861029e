//! Checked values: names, units, instants, spans.
//!
//! Invariant: a value that exists is legal. Each type has a private field and constructors that
//! refuse; none has an operator that can wrap, round or clamp.

mod blob;
mod date;
mod minor;
mod money;
mod name;
mod secret;
mod time;
mod units;

pub use blob::{BlobName, StoredBlob};
pub use date::CivilDate;
pub use minor::{AccountId, Balance, Minor, Money, MoneyOrZero};
pub use money::{Amount, CurrencyCode, Measure, MinorUnits, Taking};
pub use name::{Fingerprint, IdempotencyKey, Key, Labels, Partition};
pub use secret::{Digest, SecretHash};
pub use time::{Duration, Timestamp};
pub use units::{Limit, PositiveUnits, Units, Version};

use std::fmt;

/// Why a value was refused, in the words of the wire: a code and a reason.
///
/// ```
/// use bellpunch_core::{Units, ValueError};
/// assert_eq!(Units::new(1 << 53), Err(ValueError::Units("too_large")));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ValueError {
    /// `invalid_units`: `not_an_integer`, `negative`, `zero` or `too_large`.
    Units(&'static str),
    /// `invalid_amount`: `not_an_integer`, `negative`, `zero` or `too_large`.
    Amount(&'static str),
    /// `name_invalid`: `empty`, `too_long`, `control_character`.
    Name(&'static str),
    /// `idempotency_key_invalid`.
    IdempotencyKey(&'static str),
    /// `invalid_request`: anything else.
    Request(&'static str),
}

impl ValueError {
    /// The stable code a caller sees.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Units(_) => "invalid_units",
            Self::Amount(_) => "invalid_amount",
            Self::Name(_) => "name_invalid",
            Self::IdempotencyKey(_) => "idempotency_key_invalid",
            Self::Request(_) => "invalid_request",
        }
    }

    /// What exactly was wrong.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Units(reason)
            | Self::Amount(reason)
            | Self::Name(reason)
            | Self::IdempotencyKey(reason)
            | Self::Request(reason) => reason,
        }
    }
}

/// `code: reason`, which a door takes apart again (`serde` carries only text).
impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code(), self.reason())
    }
}

impl std::error::Error for ValueError {}

#[cfg(test)]
mod tests;
