//! The audit of a quota: its count against the records that were written with each use.
//!
//! Invariant: what is compared was read in one decision. A count that lost an update stays within
//! its limit and looks well; the charges, one record per use, do not overwrite each other, so more
//! of them than the count says is the race. Not on any wire.

use serde::{Deserialize, Serialize};

use super::{Charge, Hold, Quota, Rejection, Target};
use crate::{Command, Draft, Key, RecordId, Timestamp, Units};

/// Compares a quota with all charges and holds of its partition, as a scan has listed them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuditQuota {
    /// The quota.
    pub id: Key,
    /// All charges there are. What is not on it says nothing.
    pub charges: Vec<RecordId>,
    /// All holds there are.
    pub holds: Vec<RecordId>,
}

/// What does not agree; nothing, as it should be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuditReply {
    /// One for each check that failed.
    pub mismatches: Vec<Mismatch>,
}

/// A check that failed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Mismatch {
    /// `usage_matches_charges` or `held_matches_holds`.
    pub check: String,
    /// What the charges or holds say.
    #[serde(with = "super::epoch::digits")]
    pub expected: u128,
    /// What the quota says.
    #[serde(with = "super::epoch::digits")]
    pub found: u128,
}

impl Command for AuditQuota {
    const NAME: &'static str = "quotas.audit";
    type Reply = AuditReply;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<AuditReply, Rejection> {
        let target = Target::quota(self.id.clone());
        let Some(quota) = draft.get::<Quota>(&RecordId::from(&self.id)) else {
            return Err(Rejection::QuotaNotFound { targets: vec![target] });
        };
        let mut charged = quota.totals.opening.saturating_add(quota.totals.pruned);
        for id in &self.charges {
            let Some(charge) = draft.get::<Charge>(id) else { continue };
            for item in charge.items.iter().filter(|item| item.target == target) {
                let refunded = item.refunded.map_or(Units::ZERO, |(units, _)| units);
                charged = charged.saturating_add(item.units.minus_or_zero(refunded).get().into());
            }
        }
        let mut held = 0_u128;
        for id in &self.holds {
            let Some(hold) = draft.get::<Hold>(id) else { continue };
            held = held.saturating_add(hold.open_units(&target, now).into());
        }
        let used = quota.totals.forgiven.saturating_add(quota.used.get().into());
        let checks = [
            ("usage_matches_charges", charged, used),
            ("held_matches_holds", held, quota.holds.held(now).get().into()),
        ];
        let failed = checks.into_iter().filter(|(_, expected, found)| expected != found);
        let mismatches = failed.map(|(check, expected, found)| Mismatch {
            check: check.to_owned(),
            expected,
            found,
        });
        Ok(AuditReply { mismatches: mismatches.collect() })
    }
}
