//! Uses: of one quota, of one key, of several targets at once.
//!
//! Invariant: all of it is taken, or nothing.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::admission::{Admission, Item, demands};
use super::charges::Event;
use super::value::{IfVersion, Target, Units};
use super::{Limits, No, Yes, content};
use crate::model::Call;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Check {
    items: Vec<Item>,
    id: Option<String>,
    labels: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfQuota {
    id: String,
    units: Option<Units>,
    charge: Option<String>,
    labels: Option<Value>,
    if_version: Option<IfVersion>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfRate {
    id: String,
    key: String,
    units: Option<Units>,
    charge: Option<String>,
    labels: Option<Value>,
}

/// What every use answers.
struct Used {
    admission: Admission,
    charge: Value,
    dry_run: Value,
    writes: BTreeSet<String>,
}

impl Used {
    fn answer(self) -> Yes {
        let Self { charge, dry_run, writes, .. } = self;
        Yes { writes, reply: Map::new() }.with("charge", charge).with("dry_run", dry_run)
    }

    /// The one target of it.
    fn one(&self) -> Value {
        self.admission.uses().pop().unwrap_or_default()
    }
}

impl Admission {
    /// The targets, with what shadow policies would have said.
    pub(super) fn uses(&self) -> Vec<Value> {
        let shown = self.shown().into_iter().zip(&self.accounts).map(|(mut shown, account)| {
            if let (true, Some(fields)) = (account.is_shadow(), shown.as_object_mut()) {
                fields.insert("would_reject".to_owned(), account.would_reject.into());
            }
            shown
        });
        shown.collect()
    }
}

impl Limits {
    fn take(
        &mut self,
        check: &Check,
        call: &Call<'_>,
        if_version: Option<(&str, &IfVersion)>,
    ) -> Result<Used, No> {
        let demands = demands(&check.items)?;
        let mut admission = self.admission(&demands, call.at)?;
        self.check_charge_free(check.id.as_deref(), call.at)?;
        if let Some((id, wanted)) = if_version {
            self.check_quota_version(id, Some(wanted))?;
        }
        admission.check_revoked()?;
        admission.check_algorithms()?;
        admission.check_leases()?;
        admission.check_expired()?;
        admission.check_keys(self)?;
        admission.check_room()?;

        for account in &mut admission.accounts {
            account.charge(call.at);
        }
        let charged: Vec<_> =
            admission.accounts.iter().filter(|account| account.charged.is_some()).collect();
        let mut writes = BTreeSet::new();
        self.write(&charged, &mut writes, admission.now);
        let labels = check.labels.as_ref();
        let event = Event { id: check.id.as_deref(), hold: None, labels };
        let (charge, written) = self.record_charge(&admission, &event, call);
        writes.extend(written);
        let looked = demands.iter().all(|demand| demand.units == 0);
        let dry_run = if looked { true.into() } else { Value::Null };
        Ok(Used { admission, charge, dry_run, writes })
    }

    pub(super) fn consume(&mut self, call: &Call<'_>) -> Result<Yes, No> {
        let check: Check = content(call)?;
        let used = self.take(&check, call, None)?;
        let targets = Value::Array(used.admission.uses());
        let remaining = used.admission.least_left();
        Ok(used.answer().with("targets", targets).with("remaining", remaining))
    }

    pub(super) fn consume_quota(&mut self, call: &Call<'_>) -> Result<Yes, No> {
        let OfQuota { id, units, charge, labels, if_version } = content(call)?;
        let units = units.map_or(1, |units| units.0);
        let items = vec![Item::of(Target::Quota(id.clone()), units)];
        let check = Check { items, id: charge, labels };
        let used = self.take(&check, call, if_version.as_ref().map(|wanted| (&*id, wanted)))?;
        let mut quota = used.one();
        if let Some(fields) = quota.as_object_mut() {
            fields.remove("quota");
        }
        Ok(used.answer().with("quota", quota))
    }

    pub(super) fn consume_rate(&mut self, call: &Call<'_>) -> Result<Yes, No> {
        let OfRate { id, key, units, charge, labels } = content(call)?;
        let units = units.map_or(1, |units| units.0);
        let items = vec![Item::of(Target::Rate { policy: id, key }, units)];
        let used = self.take(&Check { items, id: charge, labels }, call, None)?;
        let counter = used.one();
        Ok(used.answer().with("counter", counter))
    }
}
