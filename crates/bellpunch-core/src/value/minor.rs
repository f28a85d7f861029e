//! Money: minor units of a currency, as the book counts them.
//!
//! Invariant: a sum is a whole number of minor units, at most 2^53 − 1 in size, and stands beside
//! its currency. Nothing is guessed, rounded, clamped or converted; a sum that does not fit is
//! `None`, for the rule to refuse.

use std::borrow::Cow;
use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::units::Count;
use super::{CurrencyCode, Limit, MinorUnits, ValueError};

/// The largest sum or balance, 2^53 − 1: exact in every JSON reader.
const SUM_MAX: u64 = 9_007_199_254_740_991;
const BALANCE_MAX: i64 = 9_007_199_254_740_991;

/// A sum of minor units: 0..=9,007,199,254,740,991.
///
/// ```
/// use bellpunch_core::Minor;
/// let ten = Minor::new(10)?;
/// assert_eq!(ten.checked_add(Minor::MAX), None);
/// assert_eq!(ten.checked_sub(Minor::new(4)?), Some(Minor::new(6)?));
/// # Ok::<(), bellpunch_core::ValueError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Minor(
    #[cfg_attr(feature = "schema", schemars(range(max = 9_007_199_254_740_991u64)))] u64,
);

impl Minor {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest sum.
    pub const MAX: Self = Self(SUM_MAX);

    /// A sum.
    ///
    /// # Errors
    /// `invalid_amount: too_large` above [`Minor::MAX`].
    pub const fn new(sum: u64) -> Result<Self, ValueError> {
        if SUM_MAX < sum { Err(ValueError::Amount("too_large")) } else { Ok(Self(sum)) }
    }

    /// The sum of a computation in wider numbers; `None` below 0 and above the largest.
    #[must_use]
    pub fn from_wide(sum: i128) -> Option<Self> {
        let sum = u64::try_from(sum).ok()?;
        Self::new(sum).ok()
    }

    /// The sum as an integer.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The sum in wider numbers, in which products are computed.
    #[must_use]
    pub fn wide(self) -> i128 {
        self.0.into()
    }

    /// The sum of both, or `None` above [`Minor::MAX`].
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) if sum <= SUM_MAX => Some(Self(sum)),
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

    /// Whether this is 0.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum as an amount of at least one; `None` if it is 0.
    #[must_use]
    pub fn positive(self) -> Option<MinorUnits> {
        MinorUnits::new(self.0).ok()
    }
}

impl From<MinorUnits> for Minor {
    fn from(units: MinorUnits) -> Self {
        Self(units.get())
    }
}

impl fmt::Display for Minor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

const COUNT: Count = Count { unlimited: false, wrong: ValueError::Amount };

impl<'de> Deserialize<'de> for Minor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let limit: Limit = deserializer.deserialize_any(COUNT)?;
        Self::new(limit.units().get()).map_err(D::Error::custom)
    }
}

/// What stands on an account: credits minus debits, at most 9,007,199,254,740,991 either way.
///
/// ```
/// use bellpunch_core::{Balance, Minor};
/// let ten = Minor::new(10)?;
/// assert_eq!(Balance::ZERO.debit(ten).map(Balance::get), Some(-10));
/// assert_eq!(Balance::ZERO.credit(Minor::MAX).and_then(|full| full.credit(ten)), None);
/// # Ok::<(), bellpunch_core::ValueError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Balance(i64);

impl Balance {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The balance as an integer.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// After a credit; `None` above the largest.
    #[must_use]
    pub fn credit(self, amount: Minor) -> Option<Self> {
        Self::fitting(self.0.checked_add_unsigned(amount.get())?)
    }

    /// After a debit; `None` below the smallest.
    #[must_use]
    pub fn debit(self, amount: Minor) -> Option<Self> {
        Self::fitting(self.0.checked_sub_unsigned(amount.get())?)
    }

    /// The balance as a sum; `None` below 0.
    #[must_use]
    pub fn sum(self) -> Option<Minor> {
        u64::try_from(self.0).ok().map(Minor)
    }

    const fn fitting(balance: i64) -> Option<Self> {
        if BALANCE_MAX < balance || balance < -BALANCE_MAX { None } else { Some(Self(balance)) }
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Balance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong = || D::Error::custom(ValueError::Amount("too_large"));
        Self::fitting(i64::deserialize(deserializer)?).ok_or_else(wrong)
    }
}

/// Money, at least one minor unit. JSON: `{"amount": 6000, "currency": "SAR"}`.
///
/// ```
/// use bellpunch_core::Money;
/// let sixty: Money = serde_json::from_str(r#"{"amount": 6000, "currency": "SAR"}"#)?;
/// assert_eq!(sixty.amount.get(), 6000);
/// for wrong in ["0", "-1", "60.0", "6e1", "\"60\"", "9007199254740992"] {
///     let json = format!(r#"{{"amount": {wrong}, "currency": "SAR"}}"#);
///     assert!(serde_json::from_str::<Money>(&json).is_err());
/// }
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// Minor units, at least 1.
    pub amount: MinorUnits,
    /// Of this currency.
    pub currency: CurrencyCode,
}

/// Money, where nothing is an amount too: a price, a discount, a minimum balance.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct MoneyOrZero {
    /// Minor units, 0 or more.
    pub amount: Minor,
    /// Of this currency.
    pub currency: CurrencyCode,
}

/// An account by its whole name: a caller's own, or `sys:…`, one of the book's.
///
/// ```
/// use bellpunch_core::{AccountId, CurrencyCode, Key};
/// let sar = CurrencyCode::new("SAR")?;
/// assert_eq!(AccountId::cash(&sar).as_str(), "sys:cash:SAR");
/// assert_eq!(AccountId::retainer(&Key::new("r1")?).as_str(), "sys:retainer:r1");
/// assert!(AccountId::cash(&sar).is_system() && !AccountId::of(&Key::new("a")?).is_system());
/// # Ok::<(), bellpunch_core::ValueError>(())
/// ```
#[derive(Clone, Eq, Ord, PartialEq, PartialOrd)]
pub struct AccountId(std::sync::Arc<str>);

impl AccountId {
    /// What the names of the book's own accounts begin with.
    pub const SYSTEM: &'static str = "sys:";

    /// An account as a caller names it.
    #[must_use]
    pub fn of(key: &super::Key) -> Self {
        Self(key.shared())
    }

    /// Money that came from outside, or went there.
    #[must_use]
    pub fn cash(currency: &CurrencyCode) -> Self {
        Self(format!("sys:cash:{currency}").into())
    }

    /// What clients owe.
    #[must_use]
    pub fn receivable(currency: &CurrencyCode) -> Self {
        Self(format!("sys:receivable:{currency}").into())
    }

    /// What will not be paid.
    #[must_use]
    pub fn written_off(currency: &CurrencyCode) -> Self {
        Self(format!("sys:written_off:{currency}").into())
    }

    /// What disputes took after it was spent.
    #[must_use]
    pub fn dispute_losses(currency: &CurrencyCode) -> Self {
        Self(format!("sys:dispute_losses:{currency}").into())
    }

    /// What was earned.
    #[must_use]
    pub fn revenue(currency: &CurrencyCode) -> Self {
        Self(format!("sys:revenue:{currency}").into())
    }

    /// What is owed in tax.
    #[must_use]
    pub fn vat(currency: &CurrencyCode) -> Self {
        Self(format!("sys:vat:{currency}").into())
    }

    /// A client's credit.
    #[must_use]
    pub fn unapplied(client: &super::Key, currency: &CurrencyCode) -> Self {
        Self(format!("sys:unapplied:{client}:{currency}").into())
    }

    /// What a retainer holds.
    #[must_use]
    pub fn retainer(retainer: &super::Key) -> Self {
        Self(format!("sys:retainer:{retainer}").into())
    }

    /// The name, as the id of a record that could not be found.
    pub(crate) fn key(&self) -> super::Key {
        super::Key::new(&*self.0).expect("an account is called by a name")
    }

    /// The name, shared.
    pub(crate) fn shared(&self) -> std::sync::Arc<str> {
        std::sync::Arc::clone(&self.0)
    }

    /// Whether it is one of the book's own, which no command of a caller may name.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.0.starts_with(Self::SYSTEM)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for AccountId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for AccountId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = <Cow<'_, str>>::deserialize(deserializer)?;
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(D::Error::custom(ValueError::Name("empty")));
        }
        Ok(Self(name.into()))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for AccountId {
    fn schema_name() -> Cow<'static, str> {
        "AccountId".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "minLength": 1 })
    }
}
