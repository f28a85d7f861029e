//! Targets and items: what a check, a hold or a refund is about.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Rejection, Terms};
use crate::{Key, Units, ValueError};

/// How many items one command may have.
pub const ITEMS_MAX: usize = 32;

/// What units are taken from.
///
/// ```
/// use bellpunch_core::{Key, limits::Target};
/// let target = Target::rate(Key::new("login")?, Key::new("10.0.0.1")?);
/// assert_eq!(target.to_string(), "login/10.0.0.1");
/// # Ok::<(), bellpunch_core::ValueError>(())
/// ```
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Target {
    /// A quota.
    Quota {
        /// Its id.
        quota: Key,
    },
    /// One key under a rate policy.
    Rate {
        /// The policy's name.
        policy: Key,
        /// The key that is counted.
        key: Key,
    },
}

impl Target {
    /// The quota with this id.
    #[must_use]
    pub const fn quota(quota: Key) -> Self {
        Self::Quota { quota }
    }

    /// One key under a rate policy.
    #[must_use]
    pub const fn rate(policy: Key, key: Key) -> Self {
        Self::Rate { policy, key }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quota { quota } => quota.fmt(f),
            Self::Rate { policy, key } => write!(f, "{policy}/{key}"),
        }
    }
}

/// Units of one target. JSON: `{"quota": "q", "units": 3}`, or `policy` and `key` instead of
/// `quota`; one unit if none are named.
///
/// ```
/// use bellpunch_core::{Units, limits::Item};
/// let item: Item = serde_json::from_str(r#"{"policy": "login", "key": "10.0.0.1"}"#)?;
/// assert_eq!(item.units, Units::ONE);
/// assert!(serde_json::from_str::<Item>(r#"{"quota": "q", "unit": 3}"#).is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "ItemForm", into = "ItemForm")]
pub struct Item {
    /// What to take from.
    pub target: Target,
    /// How many; 0 only looks.
    pub units: Units,
    /// Of a rate without a stored policy: the terms, inline.
    pub terms: Option<Terms>,
}

impl Item {
    /// Units of a target under its stored terms.
    #[must_use]
    pub const fn new(target: Target, units: Units) -> Self {
        Self { target, units, terms: None }
    }

    /// Units of one key under inline terms.
    #[must_use]
    pub const fn inline(target: Target, units: Units, terms: Terms) -> Self {
        Self { target, units, terms: Some(terms) }
    }
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename = "Item")]
struct ItemForm {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quota: Option<Key>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<Key>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<Key>,
    #[serde(default = "one")]
    units: Units,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    terms: Option<Terms>,
}

pub(super) const fn one() -> Units {
    Units::ONE
}

impl TryFrom<ItemForm> for Item {
    type Error = ValueError;

    fn try_from(form: ItemForm) -> Result<Self, ValueError> {
        let target = target_of(form.quota, form.policy, form.key)?;
        if form.terms.is_some() && matches!(target, Target::Quota { .. }) {
            return Err(ValueError::Request("a quota has no terms"));
        }
        if form.terms.as_ref().is_some_and(|terms| terms.max_keys().is_some()) {
            return Err(ValueError::Request("inline terms have no max_keys"));
        }
        Ok(Self { target, units: form.units, terms: form.terms })
    }
}

impl From<Item> for ItemForm {
    fn from(item: Item) -> Self {
        let (quota, policy, key) = names_of(item.target);
        Self { quota, policy, key, units: item.units, terms: item.terms }
    }
}

pub(super) fn target_of(
    quota: Option<Key>,
    policy: Option<Key>,
    key: Option<Key>,
) -> Result<Target, ValueError> {
    match (quota, policy, key) {
        (Some(quota), None, None) => Ok(Target::Quota { quota }),
        (None, Some(policy), Some(key)) => Ok(Target::Rate { policy, key }),
        _ => Err(ValueError::Request("needs either `quota`, or `policy` and `key`")),
    }
}

pub(super) fn names_of(target: Target) -> (Option<Key>, Option<Key>, Option<Key>) {
    match target {
        Target::Quota { quota } => (Some(quota), None, None),
        Target::Rate { policy, key } => (None, Some(policy), Some(key)),
    }
}

/// The units of one target, summed over its items.
#[derive(Clone, Debug)]
pub(super) struct Demand {
    pub(super) target: Target,
    pub(super) units: Units,
    pub(super) terms: Option<Terms>,
}

/// Sums the units of each target, in the order in which targets first occur.
pub(super) fn demands(items: &[Item]) -> Result<Vec<Demand>, Rejection> {
    if items.is_empty() || ITEMS_MAX < items.len() {
        return Err(Rejection::invalid_request("items", "needs 1 to 32 items"));
    }
    let mut demands: Vec<Demand> = Vec::with_capacity(items.len());
    let mut too_large = None;
    for (index, item) in items.iter().enumerate() {
        let Some(demand) = demands.iter_mut().find(|demand| demand.target == item.target) else {
            let Item { target, units, terms } = item.clone();
            demands.push(Demand { target, units, terms });
            continue;
        };
        if demand.terms != item.terms {
            let field = format!("items[{index}].terms");
            return Err(Rejection::invalid_request(field, "two terms for one target"));
        }
        match demand.units.checked_add(item.units) {
            Some(sum) => demand.units = sum,
            // Terms that contradict each other come first, wherever they stand.
            None => too_large = too_large.or_else(|| Some(format!("items[{index}].units"))),
        }
    }
    match too_large {
        Some(field) => Err(Rejection::InvalidUnits { field, reason: "too_large" }),
        None => Ok(demands),
    }
}
