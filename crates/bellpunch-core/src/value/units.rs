//! Counted units, limits and versions.

use std::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ValueError;

/// The largest count, 2^53 − 1: exact in every JSON reader.
const UNITS_MAX: u64 = 9_007_199_254_740_991;

/// A count of units: 0..=9,007,199,254,740,991.
///
/// ```
/// use bellpunch_core::Units;
/// let ten = Units::new(10)?;
/// assert_eq!(ten.checked_add(Units::MAX), None);
/// assert_eq!(ten.checked_sub(Units::new(4)?), Some(Units::new(6)?));
/// # Ok::<(), bellpunch_core::ValueError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Units(
    #[cfg_attr(feature = "schema", schemars(range(max = 9_007_199_254_740_991u64)))] u64,
);

impl Units {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// One unit.
    pub const ONE: Self = Self(1);
    /// The largest count.
    pub const MAX: Self = Self(UNITS_MAX);

    /// A count.
    ///
    /// # Errors
    /// `invalid_units: too_large` above [`Units::MAX`].
    pub const fn new(count: u64) -> Result<Self, ValueError> {
        if UNITS_MAX < count { Err(ValueError::Units("too_large")) } else { Ok(Self(count)) }
    }

    /// The count as an integer.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The sum, or `None` above [`Units::MAX`].
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) if sum <= UNITS_MAX => Some(Self(sum)),
            Some(_) | None => None,
        }
    }

    /// The difference, or `None` below 0.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(rest) => Some(Self(rest)),
            None => None,
        }
    }

    /// `max(0, self - other)`, where a rule writes exactly that.
    #[must_use]
    pub const fn minus_or_zero(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Whether this is 0.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// At least one unit: a command that asks for nothing is a read.
///
/// ```
/// use bellpunch_core::{PositiveUnits, Units, ValueError};
/// assert_eq!(PositiveUnits::new(0), Err(ValueError::Units("zero")));
/// assert_eq!(PositiveUnits::new(7)?.units(), Units::new(7)?);
/// # Ok::<(), ValueError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PositiveUnits(
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 9_007_199_254_740_991u64)))] u64,
);

impl PositiveUnits {
    /// One unit.
    pub const ONE: Self = Self(1);

    /// A count of at least one.
    ///
    /// # Errors
    /// `invalid_units`: `zero`, or `too_large`.
    pub const fn new(count: u64) -> Result<Self, ValueError> {
        match count {
            0 => Err(ValueError::Units("zero")),
            1..=UNITS_MAX => Ok(Self(count)),
            _ => Err(ValueError::Units("too_large")),
        }
    }

    /// The count.
    #[must_use]
    pub const fn units(self) -> Units {
        Units(self.0)
    }

    /// The count as an integer.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// How many units there may be: a count, or `unlimited` (which is neither 0 nor −1).
///
/// ```
/// use bellpunch_core::{Limit, Units};
/// assert_eq!(Limit::Unlimited.units(), Units::MAX);
/// assert_eq!(serde_json::to_string(&Limit::Unlimited)?, "\"unlimited\"");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Limit {
    /// At most this many. 0 refuses every use.
    Finite(Units),
    /// No bound; in arithmetic 2^53 − 1.
    Unlimited,
}

impl Limit {
    /// The bound used in arithmetic.
    #[must_use]
    pub const fn units(self) -> Units {
        match self {
            Self::Finite(units) => units,
            Self::Unlimited => Units::MAX,
        }
    }

    /// Whether there is no bound.
    #[must_use]
    pub const fn is_unlimited(self) -> bool {
        matches!(self, Self::Unlimited)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finite(units) => units.fmt(f),
            Self::Unlimited => f.write_str("unlimited"),
        }
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Finite(units) => units.serialize(serializer),
            Self::Unlimited => serializer.serialize_str("unlimited"),
        }
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Limit {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Limit".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let units = generator.subschema_for::<Units>();
        schemars::json_schema!({ "oneOf": [units, { "const": "unlimited" }] })
    }
}

/// Reads an integer and says precisely why something else is none.
pub(super) struct Count {
    pub(super) unlimited: bool,
    /// What a wrong one is called.
    pub(super) wrong: fn(&'static str) -> ValueError,
}

impl Visitor<'_> for Count {
    type Value = Limit;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.unlimited {
            "an integer from 0 to 9007199254740991, or \"unlimited\""
        } else {
            "an integer from 0 to 9007199254740991"
        })
    }

    fn visit_u64<E: Error>(self, count: u64) -> Result<Limit, E> {
        Units::new(count)
            .map(Limit::Finite)
            .map_err(|error| E::custom((self.wrong)(error.reason())))
    }

    fn visit_i64<E: Error>(self, count: i64) -> Result<Limit, E> {
        let Ok(count) = u64::try_from(count) else {
            return Err(E::custom((self.wrong)("negative")));
        };
        self.visit_u64(count)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Limit, E> {
        // A JSON integer above 2^64 arrives here; so does every fraction and exponent.
        let reason = if number < 0.0 {
            "negative"
        } else if 9_007_199_254_740_992.0 <= number {
            "too_large"
        } else {
            "not_an_integer"
        };
        Err(E::custom((self.wrong)(reason)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Limit, E> {
        if self.unlimited && text == "unlimited" {
            return Ok(Limit::Unlimited);
        }
        Err(E::custom((self.wrong)("not_an_integer")))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Limit, E> {
        Err(E::custom((self.wrong)("not_an_integer")))
    }

    fn visit_unit<E: Error>(self) -> Result<Limit, E> {
        Err(E::custom((self.wrong)("not_an_integer")))
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Count { unlimited: true, wrong: ValueError::Units })
    }
}

impl<'de> Deserialize<'de> for Units {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(Count { unlimited: false, wrong: ValueError::Units })? {
            Limit::Finite(units) => Ok(units),
            Limit::Unlimited => {
                Err(D::Error::invalid_value(Unexpected::Str("unlimited"), &"units"))
            }
        }
    }
}

impl<'de> Deserialize<'de> for PositiveUnits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Units::deserialize(deserializer)?.get()).map_err(D::Error::custom)
    }
}

/// How often a record was written by an accepted command. 0 is absent. Never falls.
///
/// ```
/// use bellpunch_core::Version;
/// assert_eq!(Version::ABSENT.plus(5), Version::new(5));
/// ```
#[derive(
    Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize,
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Version(u64);

impl Version {
    /// A record that never was.
    pub const ABSENT: Self = Self(0);

    /// A version.
    #[must_use]
    pub const fn new(version: u64) -> Self {
        Self(version)
    }

    /// The version as an integer.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The version after `rises` more accepted commands.
    ///
    /// # Panics
    /// After 2^64 writes of one record.
    #[must_use]
    pub const fn plus(self, rises: u64) -> Self {
        Self(self.0.checked_add(rises).expect("no record is written 2^64 times"))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
