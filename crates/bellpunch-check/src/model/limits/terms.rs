//! Terms of a rate: which algorithm, and its numbers.
//!
//! Invariant: two terms are equal exactly if they are written equally, defaults filled in.

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Map, Value};

use super::calendar::Calendar;
use super::value::{DAY, Limit, Span, Units};

/// The longest hold that a target allows which says nothing else.
pub(super) const TTL_MAX: i128 = 31 * DAY;
/// Open holds that a target allows which says nothing else.
pub(super) const OPEN_HOLDS_MAX: usize = 1_024;

/// How units are counted.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Algorithm {
    FirstHit { period: i128 },
    Epoch { period: i128 },
    Calendar(Calendar),
    SlidingCounter { period: i128 },
    SlidingLog { period: i128 },
    Gcra { rate: i128, period: i128 },
    Concurrency,
}

impl Algorithm {
    /// The name it has on the wire.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::FirstHit { .. } | Self::Epoch { .. } => "fixed_window",
            Self::Calendar(_) => "calendar",
            Self::SlidingCounter { .. } => "sliding_counter",
            Self::SlidingLog { .. } => "sliding_log",
            Self::Gcra { .. } => "gcra",
            Self::Concurrency => "concurrency",
        }
    }

    /// Whether they are one algorithm, in one alignment.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// The terms of a rate.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Terms {
    pub(super) algorithm: Algorithm,
    /// Of a token bucket its burst.
    pub(super) limit: Limit,
    pub(super) max_ttl: i128,
    /// As it was set, or not.
    pub(super) max_open_holds: usize,
    pub(super) max_keys: Option<i128>,
    pub(super) charges: bool,
    pub(super) shadow: bool,
    /// As they are shown.
    pub(super) form: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    algorithm: String,
    align: Option<String>,
    limit: Option<Limit>,
    period_ns: Option<Span>,
    rate: Option<Units>,
    burst: Option<Limit>,
    unit: Option<String>,
    zone: Option<String>,
    anchor: Option<Value>,
    max_ttl_ns: Option<Span>,
    max_open_holds: Option<u32>,
    max_keys: Option<Units>,
    #[serde(default)]
    charges: bool,
    #[serde(default)]
    shadow: bool,
    #[serde(rename = "on_store_failure")]
    _on_store_failure: Option<String>,
    #[serde(rename = "local_limit")]
    _local_limit: Option<Limit>,
    #[serde(rename = "local_rate")]
    _local_rate: Option<Units>,
    #[serde(rename = "stale_denials_ns")]
    _stale_denials_ns: Option<Span>,
    #[serde(default, rename = "best_effort")]
    _best_effort: bool,
    #[serde(rename = "durability")]
    _durability: Option<String>,
}

impl Form {
    fn algorithm(&self) -> Option<Algorithm> {
        let period = self.period_ns.map(|span| span.0);
        Some(match (self.algorithm.as_str(), self.align.as_deref()) {
            ("fixed_window", Some("first_hit")) => Algorithm::FirstHit { period: period? },
            ("fixed_window", Some("epoch")) => Algorithm::Epoch { period: period? },
            ("calendar", None) => {
                let (unit, zone) = (self.unit.as_deref()?, self.zone.as_deref()?);
                Algorithm::Calendar(Calendar::new(unit, zone, self.anchor.as_ref())?)
            }
            ("sliding_counter", None) => Algorithm::SlidingCounter { period: period? },
            ("sliding_log", None) => Algorithm::SlidingLog { period: period? },
            ("gcra", None) => Algorithm::Gcra { rate: self.rate?.0, period: period? },
            ("concurrency", None) => Algorithm::Concurrency,
            _ => return None,
        })
    }

    fn limit(&self) -> Option<Limit> {
        if self.algorithm == "gcra" {
            return self.burst.or_else(|| self.rate.map(|rate| Limit(Some(rate.0))));
        }
        self.limit
    }
}

/// What a policy shows of its terms: what is not the default.
fn shown(content: Map<String, Value>) -> Map<String, Value> {
    let is_default = |name: &str, value: &Value| match name {
        "charges" | "shadow" | "best_effort" => value == &Value::Bool(false),
        "on_store_failure" => value == "closed",
        "durability" => value == "strict",
        _ => value.is_null(),
    };
    content.into_iter().filter(|(name, value)| !is_default(name, value)).collect()
}

impl<'de> Deserialize<'de> for Terms {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let content: Map<String, Value> = Map::deserialize(deserializer)?;
        let form: Form =
            serde_json::from_value(Value::Object(content.clone())).map_err(D::Error::custom)?;
        let missing = || D::Error::custom("a number of the terms is missing");
        let algorithm = form.algorithm().ok_or_else(missing)?;
        let limit = form.limit().ok_or_else(missing)?;
        let mut shown = shown(content);
        if form.algorithm == "gcra" {
            shown.insert("burst".to_owned(), limit.shown());
        }
        Ok(Self {
            algorithm,
            limit,
            max_ttl: form.max_ttl_ns.map_or(TTL_MAX, |span| span.0),
            max_open_holds: form
                .max_open_holds
                .map_or(OPEN_HOLDS_MAX, |max| usize::try_from(max).unwrap_or(usize::MAX)),
            max_keys: form.max_keys.map(|units| units.0),
            charges: form.charges,
            shadow: form.shadow,
            form: shown,
        })
    }
}
