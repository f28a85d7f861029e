//! Quotas: making, changing, revoking and reading them.
//!
//! Invariant: no command here gives a use away. A quota has one life: there is no delete, its name
//! is not reused, and a second create changes nothing. What it is worth (`state`) is derived from
//! the amounts, so that no stored status can say more than they do.

use serde::{Deserialize, Deserializer, Serialize};

use super::account::QuotaAccount;
use super::consume::check_version;
use super::epoch::Epoch;
use super::open_holds::OpenHolds;
use super::view::{QuotaView, Totals};
use super::{Quota, Refill, Rejection, Retention, Target};
use crate::{Command, Draft, IfVersion, Key, Labels, Limit, RecordId, Timestamp, Units, Version};

/// Makes a quota. `quotas.create`.
///
/// ```
/// use bellpunch_core::{Key, Limit, Units};
/// use bellpunch_core::limits::CreateQuota;
/// let quota = CreateQuota::of(Key::new("uploads")?, Limit::Finite(Units::new(50)?));
/// assert_eq!(quota.used, Units::ZERO);
/// # Ok::<(), bellpunch_core::ValueError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateQuota {
    /// Its id; drawn if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Key>,
    /// How many units there may be. 0 refuses every use.
    pub limit: Limit,
    /// Imported: used already.
    #[serde(default)]
    pub used: Units,
    /// Usable before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Refilled so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refill: Option<Refill>,
    /// How long charges are kept.
    #[serde(default)]
    pub charges: Retention,
    /// The caller's own.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub metadata: Labels,
}

impl CreateQuota {
    /// An unused quota without end or refill.
    #[must_use]
    pub fn of(id: Key, limit: Limit) -> Self {
        Self {
            id: Some(id),
            limit,
            used: Units::ZERO,
            expires_at: None,
            refill: None,
            charges: Retention::default(),
            metadata: Labels::default(),
        }
    }
}

/// A quota, and whether the command changed it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct QuotaReply {
    /// The quota as it now is.
    pub quota: QuotaView,
    /// Of a change: whether it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<bool>,
}

impl Command for CreateQuota {
    const NAME: &'static str = "quotas.create";
    type Reply = QuotaReply;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<QuotaReply, Rejection> {
        let id = self.id.clone().unwrap_or_else(|| draft.drawn_key());
        let record_id = RecordId::from(&id);
        if let Some(quota) = draft.get::<Quota>(&record_id) {
            return Err(Rejection::QuotaExists { at: quota.created_at });
        }
        if let Some(expires_at) = self.expires_at.filter(|expires_at| *expires_at <= now) {
            return Err(Rejection::ExpiryNotLater { expires_at });
        }

        // Past here it succeeds.
        let quota = Quota {
            limit: self.limit,
            used: self.used,
            revoked_at: None,
            expires_at: self.expires_at,
            refill: self.refill.clone().map(|refill| refill.fixed(now)),
            refilled_through: None,
            charges: self.charges,
            totals: Totals { opening: self.used.get().into(), ..Totals::default() },
            metadata: self.metadata.clone(),
            created_at: now,
            epoch: Epoch::of(draft.version::<Quota>(&record_id).plus(1)),
            holds: OpenHolds::default(),
        };
        let version = draft.put(&record_id, quota.clone());
        Ok(QuotaReply { quota: quota.view(&id, version, now), changed: None })
    }
}

fn load(draft: &mut Draft<'_>, now: Timestamp, id: &Key) -> Result<QuotaAccount, Rejection> {
    let missing = || Rejection::QuotaNotFound { targets: vec![Target::quota(id.clone())] };
    QuotaAccount::load(draft, now, id).ok_or_else(missing)
}

/// Loads a quota, lets `change` work on it, and writes it if that changed anything.
fn change(
    draft: &mut Draft<'_>,
    now: Timestamp,
    (id, if_version): (&Key, Option<&IfVersion>),
    change: impl FnOnce(&mut Quota) -> bool,
) -> Result<QuotaReply, Rejection> {
    let mut account = load(draft, now, id)?;
    check_version(Some(account.version), if_version)?;

    // Past here it succeeds.
    let changed = change(&mut account.quota);
    if changed {
        account.write(draft);
    }
    let quota = account.quota.view(id, account.version, now);
    Ok(QuotaReply { quota, changed: Some(changed) })
}

/// Replaces a value; gives whether it was another one.
fn replace<T: PartialEq>(place: &mut T, value: T) -> bool {
    let changed = *place != value;
    *place = value;
    changed
}

/// Changes how many units there may be, also to fewer than are used. `quotas.set_limit`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SetLimit {
    /// The quota.
    pub id: Key,
    /// The limit from now on.
    pub limit: Limit,
    /// The quota must be at this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for SetLimit {
    const NAME: &'static str = "quotas.set_limit";
    type Reply = QuotaReply;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<QuotaReply, Rejection> {
        let subject = (&self.id, self.if_version.as_ref());
        change(draft, now, subject, |quota| replace(&mut quota.limit, self.limit))
    }
}

/// Changes anything else. What is absent stays; `null` removes. `quotas.configure`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ConfigureQuota {
    /// The quota.
    pub id: Key,
    /// Usable before this; `null` is for ever.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Option<Timestamp>>,
    /// Refilled so from now on; `null` is never.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub refill: Option<Option<Refill>>,
    /// How long charges of later uses are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charges: Option<Retention>,
    /// The caller's own, all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Labels>,
    /// The quota must be at this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

/// Tells `null` from absent.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl Command for ConfigureQuota {
    const NAME: &'static str = "quotas.configure";
    type Reply = QuotaReply;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<QuotaReply, Rejection> {
        let subject = (&self.id, self.if_version.as_ref());
        change(draft, now, subject, |quota| {
            let mut changed = false;
            if let Some(expires_at) = self.expires_at {
                changed |= replace(&mut quota.expires_at, expires_at);
            }
            if let Some(refill) = &self.refill {
                let refill = refill.clone().map(|refill| refill.fixed(quota.created_at));
                if replace(&mut quota.refill, refill) {
                    // What was due before belonged to the schedule of before.
                    quota.refilled_through = Some(now);
                    changed = true;
                }
            }
            if let Some(charges) = self.charges {
                changed |= replace(&mut quota.charges, charges);
            }
            if let Some(metadata) = &self.metadata {
                changed |= replace(&mut quota.metadata, metadata.clone());
            }
            changed
        })
    }
}

/// Ends all uses, holds and captures, until it is taken back. `quotas.revoke`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RevokeQuota {
    /// The quota.
    pub id: Key,
    /// The quota must be at this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for RevokeQuota {
    const NAME: &'static str = "quotas.revoke";
    type Reply = QuotaReply;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<QuotaReply, Rejection> {
        let subject = (&self.id, self.if_version.as_ref());
        change(draft, now, subject, |quota| {
            let changed = quota.revoked_at.is_none();
            quota.revoked_at.get_or_insert(now);
            changed
        })
    }
}

/// Takes a revocation back. What was used and held stays so. `quotas.reactivate`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ReactivateQuota {
    /// The quota.
    pub id: Key,
    /// The quota must be at this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for ReactivateQuota {
    const NAME: &'static str = "quotas.reactivate";
    type Reply = QuotaReply;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<QuotaReply, Rejection> {
        let subject = (&self.id, self.if_version.as_ref());
        change(draft, now, subject, |quota| quota.revoked_at.take().is_some())
    }
}

/// Sets what was used to 0. Open holds stay. `quotas.reset`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ResetQuota {
    /// The quota.
    pub id: Key,
    /// The quota must be at this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for ResetQuota {
    const NAME: &'static str = "quotas.reset";
    type Reply = QuotaReply;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<QuotaReply, Rejection> {
        let subject = (&self.id, self.if_version.as_ref());
        let reply = change(draft, now, subject, |quota| {
            quota.forgive(quota.used);
            true
        })?;
        Ok(QuotaReply { changed: None, ..reply })
    }
}

/// Reads a quota. `quotas.read`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ReadQuota {
    /// The quota.
    pub id: Key,
}

impl Command for ReadQuota {
    const NAME: &'static str = "quotas.read";
    type Reply = QuotaReply;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<QuotaReply, Rejection> {
        let account = load(draft, now, &self.id)?;
        let version: Version = account.version;
        Ok(QuotaReply { quota: account.quota.view(&self.id, version, now), changed: None })
    }
}
