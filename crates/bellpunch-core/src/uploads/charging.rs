//! What an upload costs: a hold at its creation, captured when it is completed.
//!
//! Invariant: hold and upload are written in the same commits and end at the same instant. The
//! rules of quotas and rates are asked on the same draft, never copied: if anything says no, the
//! whole draft is dropped, so it does not matter who was asked first.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Upload;
use crate::limits::{
    CaptureHold, CaptureUnits, CreateHold, ExtendHold, Item, Quota, Rejection as LimitsRejection,
    Target, Terms, VoidHold,
};
use crate::{
    Command, Draft, Duration, Key, Labels, PositiveUnits, RecordId, Rejection, Timestamp, Units,
    ValueError,
};

/// Who owns the holds of uploads: nobody else captures or voids one.
const OWNER: &str = "_uploads";

/// What an upload takes from one target. JSON: `{"quota": "q", "units": 1}`, or `policy` and `key`
/// instead of `quota`; `"bytes": true` instead of units.
///
/// ```
/// use bellpunch_core::uploads::{ChargeItem, ChargeUnits};
/// let item: ChargeItem = serde_json::from_str(r#"{"quota": "b", "bytes": true}"#)?;
/// assert_eq!(item.units, ChargeUnits::Bytes);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ChargeForm", into = "ChargeForm")]
pub struct ChargeItem {
    /// What to take from.
    pub target: Target,
    /// How much.
    pub units: ChargeUnits,
    /// Of a rate without a stored policy: the terms, inline.
    pub terms: Option<Terms>,
}

/// How much an upload takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ChargeUnits {
    /// So many units.
    Units(PositiveUnits),
    /// One per byte: the declared size is held, the actual one captured.
    Bytes,
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct ChargeForm {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quota: Option<Key>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<Key>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<Key>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    units: Option<PositiveUnits>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    bytes: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    terms: Option<Terms>,
}

impl TryFrom<ChargeForm> for ChargeItem {
    type Error = ValueError;

    fn try_from(form: ChargeForm) -> Result<Self, ValueError> {
        let target = match (form.quota, form.policy, form.key) {
            (Some(quota), None, None) => Target::Quota { quota },
            (None, Some(policy), Some(key)) => Target::Rate { policy, key },
            _ => return Err(ValueError::Request("needs either `quota`, or `policy` and `key`")),
        };
        if form.terms.is_some() && matches!(target, Target::Quota { .. }) {
            return Err(ValueError::Request("a quota has no terms"));
        }
        let units = match (form.units, form.bytes) {
            (Some(_), true) => return Err(ValueError::Request("has units or bytes, not both")),
            (None, true) => ChargeUnits::Bytes,
            (units, false) => ChargeUnits::Units(units.unwrap_or(PositiveUnits::ONE)),
        };
        Ok(Self { target, units, terms: form.terms })
    }
}

impl From<ChargeItem> for ChargeForm {
    fn from(item: ChargeItem) -> Self {
        let (quota, policy, key) = match item.target {
            Target::Quota { quota } => (Some(quota), None, None),
            Target::Rate { policy, key } => (None, Some(policy), Some(key)),
        };
        let (units, bytes) = match item.units {
            ChargeUnits::Units(units) => (Some(units), false),
            ChargeUnits::Bytes => (None, true),
        };
        Self { quota, policy, key, units, bytes, terms: item.terms }
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for ChargeItem {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ChargeItem".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        ChargeForm::json_schema(generator)
    }
}

impl ChargeItem {
    fn units(&self, bytes: Units) -> Units {
        match self.units {
            ChargeUnits::Units(units) => units.units(),
            ChargeUnits::Bytes => bytes,
        }
    }
}

/// An id for the hold of an upload. Names that begin with `_` are the engine's own.
pub(super) fn hold_id(draft: &mut Draft<'_>) -> Key {
    Key::new(format!("_{}", draft.drawn_key())).expect("hex digits are a legal name")
}

fn owner() -> Option<Key> {
    Some(Key::new(OWNER).expect("a legal name"))
}

/// The hold of a new upload.
pub(super) struct Hold {
    pub(super) id: Key,
    pub(super) upload: Key,
    pub(super) size_limit: Units,
    /// What the caller asked for.
    pub(super) ttl: Option<Duration>,
    /// What it is otherwise, or what is left of the quota if that is shorter.
    pub(super) ttl_default: Duration,
}

impl Hold {
    /// Sets aside what the upload will cost; tells until when.
    pub(super) fn create(
        &self,
        draft: &mut Draft<'_>,
        charge: &[ChargeItem],
        now: Timestamp,
    ) -> Result<Timestamp, LimitsRejection> {
        let item = |item: &ChargeItem| Item {
            target: item.target.clone(),
            units: item.units(self.size_limit),
            terms: item.terms.clone(),
        };
        let command = CreateHold {
            items: charge.iter().map(item).collect(),
            id: Some(self.id.clone()),
            ttl_ns: self.ttl,
            owner: owner(),
            labels: labels(&self.upload),
        };
        let held = command.decide_with_default(draft, now, self.ttl_default)?;
        Ok(held.hold.expires_at)
    }
}

fn labels(upload: &Key) -> Labels {
    let name = Key::new("upload").expect("a legal name");
    Labels::new(BTreeMap::from([(name, upload.as_str().to_owned())]))
        .expect("one label, and an id is as long as a label may be")
}

/// Takes what was held, bytes as they are. Gives the charge, where one is kept.
pub(super) fn capture(
    draft: &mut Draft<'_>,
    (id, upload): (&Key, &Upload),
    size: Units,
    now: Timestamp,
) -> Result<Option<Key>, LimitsRejection> {
    let Some(hold) = upload.hold.clone() else { return Ok(None) };
    let units = upload.charge.iter().map(|item| item.units(size)).collect();
    let command = CaptureHold {
        id: hold,
        units: Some(CaptureUnits::Each(units)),
        owner: owner(),
        charge: None,
        labels: labels(id),
    };
    command.decide(draft, now).map(|reply| reply.charge)
}

/// Gives back what was held.
pub(super) fn void(
    draft: &mut Draft<'_>,
    upload: &Upload,
    now: Timestamp,
) -> Result<(), LimitsRejection> {
    let Some(id) = upload.hold.clone() else { return Ok(()) };
    VoidHold { id, owner: owner() }.decide(draft, now).map(drop)
}

/// Moves the end of what is held.
pub(super) fn extend(
    draft: &mut Draft<'_>,
    upload: &Upload,
    ttl: Duration,
    now: Timestamp,
) -> Result<(), LimitsRejection> {
    let Some(id) = upload.hold.clone() else { return Ok(()) };
    ExtendHold { id, ttl_ns: ttl, owner: owner() }.decide(draft, now).map(drop)
}

/// Why the upload's quotas would not pay at `now`: revoked, or expired. States their ends as the
/// deadline.
pub(super) fn standing(
    draft: &mut Draft<'_>,
    upload: &Upload,
    now: Timestamp,
) -> [Option<Rejection>; 2] {
    let (mut revoked, mut expired) = (None, None);
    for item in &upload.charge {
        let Target::Quota { quota: id } = &item.target else { continue };
        let Some(quota) = draft.get::<Quota>(&RecordId::from(id)) else { continue };
        let targets = vec![item.target.clone()];
        if let Some(revoked_at) = quota.revoked_at() {
            revoked.get_or_insert(LimitsRejection::QuotaRevoked { revoked_at, targets });
        } else if let Some(expires_at) = quota.expires_at() {
            draft.commit_before(expires_at);
            if expires_at <= now {
                expired.get_or_insert(LimitsRejection::QuotaExpired { expires_at, targets });
            }
        }
    }
    [revoked.map(Rejection::from), expired.map(Rejection::from)]
}
