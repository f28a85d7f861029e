//! Rates while the store fails: closed, open, or decided in the node alone.
//!
//! Invariant: a list is as strict as its strictest item, and what the node does not know for
//! certain is closed. Nothing decided here is merged into what the store has, so the bound is the
//! local limit times the nodes, on top of the policy's own.

use serde::{Deserialize, Serialize};

use super::account::{Account, RateAccount, Space, policy};
use super::admission::{Admission, Entry, Horizon};
use super::consume::{ConsumeRateReply, ConsumeReply};
use super::target::{Demand, demands};
use super::view::{TargetView, least_remaining};
use super::{Algorithm, Item, OnStoreFailure, Rejection, Target, Terms};
use crate::{Command, Draft, Key, Timestamp, Units};

/// What a use answers while the store fails.
pub(super) enum Answer {
    Closed,
    Open(ConsumeReply),
    Local(ConsumeLocally),
}

/// A use as the node alone decides it. Not on any wire.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConsumeLocally {
    items: Vec<LocalItem>,
    /// Of items that are open: as they are known.
    open: Vec<TargetView>,
    /// Nothing is asked for: it is only a look.
    dry_run: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct LocalItem {
    policy: Key,
    key: Key,
    units: Units,
    inline: bool,
    terms: Terms,
}

/// Decides what the strictest of the items allows.
pub(super) fn without_store(known: &mut Draft<'_>, now: Timestamp, items: &[Item]) -> Answer {
    let Ok(demands) = demands(items) else { return Answer::Closed };
    let dry_run = demands.iter().all(|demand| demand.units.is_zero());
    let (mut local, mut open) = (Vec::new(), Vec::new());
    for demand in demands {
        let Some((terms, account)) = known_terms(known, now, &demand) else {
            return Answer::Closed;
        };
        if *terms.algorithm() == Algorithm::Concurrency {
            return Answer::Closed;
        }
        let Target::Rate { policy, key } = demand.target else { return Answer::Closed };
        match (terms.on_store_failure(), terms.local()) {
            (OnStoreFailure::Open, _) => open.push(Account::Rate(Box::new(account)).view(now)),
            (OnStoreFailure::Local { .. }, Some(terms)) => {
                let inline = demand.terms.is_some();
                local.push(LocalItem { policy, key, units: demand.units, inline, terms });
            }
            (OnStoreFailure::Closed | OnStoreFailure::Local { .. }, _) => return Answer::Closed,
        }
    }
    if local.is_empty() {
        let remaining = least_remaining(&open);
        return Answer::Open(ConsumeReply { targets: open, remaining, charge: None, dry_run });
    }
    Answer::Local(ConsumeLocally { items: local, open, dry_run })
}

fn known_terms(
    known: &mut Draft<'_>,
    now: Timestamp,
    demand: &Demand,
) -> Option<(Terms, RateAccount)> {
    let Target::Rate { policy: name, key } = &demand.target else { return None };
    if let Some(terms) = &demand.terms {
        let account = RateAccount::inline(known, now, (name, key, Space::Inline), terms);
        return Some((terms.clone(), account));
    }
    let policy = policy(known, name)?;
    let account = RateAccount::stored(known, now, (name, key), &policy);
    Some((policy.terms().clone(), account))
}

impl Command for ConsumeLocally {
    const NAME: &'static str = "checks.consume_locally";
    type Reply = ConsumeReply;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<ConsumeReply, Rejection> {
        let mut entries = Vec::with_capacity(self.items.len());
        for item in &self.items {
            let space = if item.inline { Space::LocalInline } else { Space::LocalStored };
            let names = (&item.policy, &item.key, space);
            let account = RateAccount::inline(draft, now, names, &item.terms);
            entries.push(Entry::new(Account::Rate(Box::new(account)), item.units, now));
        }
        let mut admission = Admission::of(now, entries);
        admission.check_algorithms()?;
        admission.check_limits(draft, Horizon::default())?;

        // Past here it succeeds.
        admission.charge();
        admission.write(draft);
        let mut targets = admission.views();
        targets.extend(self.open.iter().cloned());
        let remaining = least_remaining(&targets);
        Ok(ConsumeReply { targets, remaining, charge: None, dry_run: self.dry_run })
    }
}

/// A use of one key as the node alone decides it. Not on any wire.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConsumeRateLocally(pub(super) ConsumeLocally);

impl Command for ConsumeRateLocally {
    const NAME: &'static str = "policies.consume_locally";
    type Reply = ConsumeRateReply;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<ConsumeRateReply, Rejection> {
        self.0.decide(draft, now).map(ConsumeRateReply::from)
    }
}
