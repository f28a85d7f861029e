//! What is done to a quota beside using it.
//!
//! Invariant: nothing here gives units away: what was used and held stays so, resets apart.

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::policies::check_version;
use super::quota::{Quota, Refill};
use super::value::{IfVersion, Instant, Limit, Retention, Target, Units, at as shown_at, record};
use super::{Limits, No, Yes, content, given_or_drawn};
use crate::model::Call;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    id: Option<String>,
    limit: Limit,
    used: Option<Units>,
    expires_at: Option<Instant>,
    refill: Option<Refill>,
    #[serde(default)]
    charges: Retention,
    metadata: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct One {
    id: String,
    if_version: Option<IfVersion>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetLimit {
    id: String,
    limit: Limit,
    if_version: Option<IfVersion>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Configure {
    id: String,
    #[serde(default, deserialize_with = "present")]
    expires_at: Option<Option<Instant>>,
    #[serde(default, deserialize_with = "present")]
    refill: Option<Option<Refill>>,
    charges: Option<Retention>,
    metadata: Option<Value>,
    if_version: Option<IfVersion>,
}

#[derive(Deserialize)]
struct Audit {
    id: String,
}

/// Absent and `null` are told apart.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl Limits {
    pub(super) fn create_quota(&mut self, call: &Call<'_>) -> Result<Yes, No> {
        let create: Create = content(call)?;
        if let Some(known) = create.id.as_ref().and_then(|id| self.quotas.get(id)) {
            return Err(No::new("quota_exists").with("at", shown_at(Some(known.created_at))));
        }
        if let Some(end) = create.expires_at.filter(|end| end.0 <= call.at) {
            return Err(No::new("expiry_not_later").with("expires_at", shown_at(Some(end.0))));
        }

        let Some(id) = given_or_drawn(create.id, call, "/quota/id") else {
            return Err(No::new("invalid_request"));
        };
        let used = create.used.map_or(0, |used| used.0);
        let quota = Quota {
            limit: create.limit,
            used,
            revoked_at: None,
            expires_at: create.expires_at.map(|end| end.0),
            refill: create.refill,
            refilled_through: call.at,
            charges: create.charges,
            opening: used,
            charged: 0,
            refunded: 0,
            forgiven: 0,
            metadata: create.metadata.unwrap_or_else(|| json!({})),
            created_at: call.at,
            epoch: (self.births, 0),
            holds: super::open::Holds::default(),
            excused: used,
        };
        Ok(self.put_quota(&id, quota, call).with("changed", Value::Null))
    }

    fn put_quota(&mut self, id: &str, quota: Quota, call: &Call<'_>) -> Yes {
        let mut yes = Yes::default().with("quota", Value::Object(quota.shown(id, call.at)));
        yes.writes.insert(record("quotas", &[id]));
        self.quotas.insert(id.to_owned(), quota);
        yes
    }

    /// A quota as it is now.
    fn quota_at(&self, one: &One, call: &Call<'_>) -> Result<Quota, No> {
        let Some(quota) = self.quotas.get(&one.id) else {
            let target = Target::Quota(one.id.clone()).shown();
            return Err(No::new("quota_not_found").with("targets", json!([target])));
        };
        self.check_quota_version(&one.id, one.if_version.as_ref())?;
        Ok(quota.moved_to(call.at))
    }

    /// Stage version, of a quota that there is.
    pub(super) fn check_quota_version(
        &self,
        id: &str,
        wanted: Option<&IfVersion>,
    ) -> Result<(), No> {
        check_version(self.versions.get(&record("quotas", &[id])).copied(), wanted)
    }

    /// Writes what was changed, if anything was.
    fn change_quota(&mut self, one: &One, quota: Quota, call: &Call<'_>) -> Yes {
        let before = self.quotas.get(&one.id).map(|known| known.moved_to(call.at));
        let changed = before.as_ref() != Some(&quota);
        let yes = if changed {
            self.put_quota(&one.id, quota, call)
        } else {
            Yes::default().with("quota", Value::Object(quota.shown(&one.id, call.at)))
        };
        yes.with("changed", changed.into())
    }

    pub(super) fn set_limit(&mut self, call: &Call<'_>) -> Result<Yes, No> {
        let SetLimit { id, limit, if_version } = content(call)?;
        let one = One { id, if_version };
        let mut quota = self.quota_at(&one, call)?;
        if quota.limit != limit {
            quota.limit = limit;
            quota.excuse(call.at);
        }
        Ok(self.change_quota(&one, quota, call))
    }

    pub(super) fn configure_quota(&mut self, call: &Call<'_>) -> Result<Yes, No> {
        let Configure { id, expires_at, refill, charges, metadata, if_version } = content(call)?;
        let one = One { id, if_version };
        let mut quota = self.quota_at(&one, call)?;
        if let Some(expires_at) = expires_at {
            quota.expires_at = expires_at.map(|end| end.0);
        }
        if let Some(refill) = refill.filter(|refill| *refill != quota.refill) {
            quota.refill = refill;
            quota.refilled_through = call.at;
        }
        quota.charges = charges.unwrap_or(quota.charges);
        quota.metadata = metadata.unwrap_or(quota.metadata);
        Ok(self.change_quota(&one, quota, call))
    }

    pub(super) fn revoke_quota(&mut self, call: &Call<'_>) -> Result<Yes, No> {
        let one: One = content(call)?;
        let mut quota = self.quota_at(&one, call)?;
        quota.revoked_at = quota.revoked_at.or(Some(call.at));
        Ok(self.change_quota(&one, quota, call))
    }

    pub(super) fn reactivate_quota(&mut self, call: &Call<'_>) -> Result<Yes, No> {
        let one: One = content(call)?;
        let mut quota = self.quota_at(&one, call)?;
        quota.revoked_at = None;
        Ok(self.change_quota(&one, quota, call))
    }

    pub(super) fn reset_quota(&mut self, call: &Call<'_>) -> Result<Yes, No> {
        let one: One = content(call)?;
        let mut quota = self.quota_at(&one, call)?;
        quota.reset();
        Ok(self.put_quota(&one.id, quota, call))
    }

    pub(super) fn read_quota(&self, call: &Call<'_>) -> Result<Yes, No> {
        let one: One = content(call)?;
        let quota = self.quota_at(&one, call)?;
        Ok(Yes::default().with("quota", Value::Object(quota.shown(&one.id, call.at))))
    }

    /// An audit of all charges and holds of a quota finds nothing.
    pub(super) fn audit_quota(&self, call: &Call<'_>) -> Result<Yes, No> {
        let Audit { id } = content(call)?;
        self.quota_at(&One { id, if_version: None }, call)?;
        Ok(Yes::default().with("mismatches", json!([])))
    }
}
