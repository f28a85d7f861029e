//! Amounts: a count of at least one, and of what.
//!
//! Invariant: a count is never without its currency or unit, and two of different ones are never
//! compared, added or converted. Counts are integers of minor units up to 2^53 − 1, exact in every
//! JSON reader; a fraction, an exponent or a string is refused, never rounded.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::units::Count;
use super::{Key, Limit, PositiveUnits, Units, ValueError};

const CODE_BYTES_MAX: usize = 16;

/// The currencies of ISO 4217 in use, with the digits after their point.
const ISO_4217: &str = "\
    AED2 AFN2 ALL2 AMD2 AOA2 ARS2 AUD2 AWG2 AZN2 BAM2 BBD2 BDT2 BHD3 BIF0 BMD2 BND2 BOB2 BOV2 BRL2 \
    BSD2 BTN2 BWP2 BYN2 BZD2 CAD2 CDF2 CHE2 CHF2 CHW2 CLF4 CLP0 CNY2 COP2 COU2 CRC2 CUP2 CVE2 CZK2 \
    DJF0 DKK2 DOP2 DZD2 EGP2 ERN2 ETB2 EUR2 FJD2 FKP2 GBP2 GEL2 GHS2 GIP2 GMD2 GNF0 GTQ2 GYD2 HKD2 \
    HNL2 HTG2 HUF2 IDR2 ILS2 INR2 IQD3 IRR2 ISK0 JMD2 JOD3 JPY0 KES2 KGS2 KHR2 KMF0 KPW2 KRW0 KWD3 \
    KYD2 KZT2 LAK2 LBP2 LKR2 LRD2 LSL2 LYD3 MAD2 MDL2 MGA2 MKD2 MMK2 MNT2 MOP2 MRU2 MUR2 MVR2 MWK2 \
    MXN2 MXV2 MYR2 MZN2 NAD2 NGN2 NIO2 NOK2 NPR2 NZD2 OMR3 PAB2 PEN2 PGK2 PHP2 PKR2 PLN2 PYG0 QAR2 \
    RON2 RSD2 RUB2 RWF0 SAR2 SBD2 SCR2 SDG2 SEK2 SGD2 SHP2 SLE2 SOS2 SRD2 SSP2 STN2 SVC2 SYP2 SZL2 \
    THB2 TJS2 TMT2 TND3 TOP2 TRY2 TTD2 TWD2 TZS2 UAH2 UGX0 USD2 USN2 UYI0 UYU2 UYW4 UZS2 VED2 VES2 \
    VND0 VUV0 WST2 XAF0 XCD2 XCG2 XOF0 XPF0 YER2 ZAR2 ZMW2 ZWG2";

/// A currency: an ISO 4217 code, or one that the book declared. 1 to 16 ASCII letters, digits, `-`
/// or `_`, compared byte for byte. That it is one or the other is tested by the rule.
///
/// ```
/// use bellpunch_core::CurrencyCode;
/// assert_eq!(CurrencyCode::new("KWD")?.iso_scale(), Some(3));
/// assert_eq!(CurrencyCode::new("RCN")?.iso_scale(), None);
/// # Ok::<(), bellpunch_core::ValueError>(())
/// ```
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct CurrencyCode(Key);

impl CurrencyCode {
    /// Takes a code as it is.
    ///
    /// # Errors
    /// `invalid_request` for another length or other characters.
    pub fn new(code: impl AsRef<str>) -> Result<Self, ValueError> {
        const WRONG: ValueError =
            ValueError::Request("a currency is 1 to 16 ASCII letters, digits, - or _");
        let code = code.as_ref();
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if CODE_BYTES_MAX < code.len() || !code.bytes().all(legal) {
            return Err(WRONG);
        }
        Key::new(code).map(Self).map_err(|_| WRONG)
    }

    /// The code as a record's id.
    #[must_use]
    pub const fn key(&self) -> &Key {
        &self.0
    }

    /// The digits after the point, if this is a code of ISO 4217.
    #[must_use]
    pub fn iso_scale(&self) -> Option<u8> {
        let code = self.0.as_str().as_bytes();
        // Each entry is three letters, a digit and a space.
        let mut entries = ISO_4217.as_bytes().chunks(5);
        match entries.find_map(|entry| entry.strip_prefix(code))? {
            [digit, b' '] | [digit] => digit.checked_sub(b'0'),
            // A mere beginning of a code is none.
            _ => None,
        }
    }
}

impl fmt::Display for CurrencyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for CurrencyCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(<Cow<'_, str>>::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for CurrencyCode {
    fn schema_name() -> Cow<'static, str> {
        "CurrencyCode".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,16}$" })
    }
}

/// A count of at least one minor unit, at most 2^53 − 1.
///
/// ```
/// use bellpunch_core::{MinorUnits, ValueError};
/// assert_eq!(MinorUnits::new(0), Err(ValueError::Amount("zero")));
/// assert_eq!(MinorUnits::new(1 << 53), Err(ValueError::Amount("too_large")));
/// ```
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MinorUnits(PositiveUnits);

impl MinorUnits {
    /// One.
    pub const ONE: Self = Self(PositiveUnits::ONE);

    /// A count of at least one.
    ///
    /// # Errors
    /// `invalid_amount`: `zero` or `too_large`.
    pub fn new(count: u64) -> Result<Self, ValueError> {
        PositiveUnits::new(count).map(Self).map_err(|error| ValueError::Amount(error.reason()))
    }

    /// The count as an integer.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    fn of<E: Error>(limit: Limit) -> Result<Self, E> {
        Self::new(limit.units().get()).map_err(E::custom)
    }
}

const COUNT: Count = Count { unlimited: false, wrong: ValueError::Amount };

impl<'de> Deserialize<'de> for MinorUnits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of(deserializer.deserialize_any(COUNT)?)
    }
}

impl From<MinorUnits> for Units {
    fn from(count: MinorUnits) -> Self {
        count.0.units()
    }
}

/// What is counted.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Measure {
    /// Minor units of money.
    Currency(CurrencyCode),
    /// Anything else: uses, seats, megabytes.
    Unit(Key),
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Currency(code) => code.fmt(f),
            Self::Unit(unit) => unit.fmt(f),
        }
    }
}

/// Money or units, at least one. JSON: `{"amount": 1000, "currency": "SAR"}` or
/// `{"amount": 1, "unit": "use"}`.
///
/// ```
/// use bellpunch_core::Amount;
/// let json = r#"{"amount":1000,"currency":"SAR"}"#;
/// let amount: Amount = serde_json::from_str(json)?;
/// assert_eq!(amount.count.get(), 1000);
/// assert_eq!(serde_json::to_string(&amount)?, json);
/// assert!(serde_json::from_str::<Amount>(r#"{"amount":1}"#).is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Amount {
    /// How many.
    pub count: MinorUnits,
    /// Of what.
    pub measure: Measure,
}

#[derive(Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct AmountForm {
    amount: MinorUnits,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    currency: Option<CurrencyCode>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<Key>,
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (currency, unit) = match &self.measure {
            Measure::Currency(code) => (Some(code.clone()), None),
            Measure::Unit(unit) => (None, Some(unit.clone())),
        };
        AmountForm { amount: self.count, currency, unit }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = AmountForm::deserialize(deserializer)?;
        let measure = match (form.currency, form.unit) {
            (Some(code), None) => Measure::Currency(code),
            (None, Some(unit)) => Measure::Unit(unit),
            (Some(_), Some(_)) | (None, None) => {
                let wrong = ValueError::Request("an amount has a currency or a unit");
                return Err(D::Error::custom(wrong));
            }
        };
        Ok(Self { count: form.amount, measure })
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Amount {
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        AmountForm::json_schema(generator)
    }
}

/// How much a command takes: an amount, or a bare count where units are meant. A bare count is
/// never money.
///
/// ```
/// use bellpunch_core::{MinorUnits, Taking};
/// assert_eq!(serde_json::from_str::<Taking>("1")?, Taking::Units(MinorUnits::ONE));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Taking {
    /// A count of whatever unit the record has.
    Units(MinorUnits),
    /// A count that says of what.
    Amount(Amount),
}

impl Serialize for Taking {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Units(count) => count.serialize(serializer),
            Self::Amount(amount) => amount.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Taking {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TakingVisitor)
    }
}

/// Tells apart by the JSON type alone, so that each form keeps its own precise refusal.
struct TakingVisitor;

impl<'de> Visitor<'de> for TakingVisitor {
    type Value = Taking;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer, or an amount with its currency or unit")
    }

    fn visit_u64<E: Error>(self, count: u64) -> Result<Taking, E> {
        MinorUnits::of(COUNT.visit_u64(count)?).map(Taking::Units)
    }

    fn visit_i64<E: Error>(self, count: i64) -> Result<Taking, E> {
        MinorUnits::of(COUNT.visit_i64(count)?).map(Taking::Units)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Taking, E> {
        MinorUnits::of(COUNT.visit_f64(number)?).map(Taking::Units)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Taking, E> {
        MinorUnits::of(COUNT.visit_str(text)?).map(Taking::Units)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Taking, A::Error> {
        Amount::deserialize(MapAccessDeserializer::new(map)).map(Taking::Amount)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Taking {
    fn schema_name() -> Cow<'static, str> {
        "Taking".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let (count, amount) =
            (generator.subschema_for::<MinorUnits>(), generator.subschema_for::<Amount>());
        schemars::json_schema!({ "oneOf": [count, amount] })
    }
}
