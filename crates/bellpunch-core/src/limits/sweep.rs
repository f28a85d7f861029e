//! Sweeps: removing what says nothing any more.
//!
//! Invariant: a sweep changes no answer. Each record is looked at again, at `now`, in the command
//! that removes it; what is not due is skipped. Not on any wire.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::admission::KeyCount;
use super::charge::{Charge, prune};
use super::counter::{InlineCounter, LocalCounter};
use super::{Hold, RateCounter, RatePolicy};
use crate::{AnyCommand, Category, Command, Draft, Record, RecordId, Rejection, Timestamp, Units};

/// The command that removes these records of a kind, if it is one that is swept.
///
/// ```
/// use bellpunch_core::{RecordId, limits};
/// let ids = || vec![RecordId::stored("h1")];
/// assert_eq!(limits::sweep("holds", ids()).expect("holds are swept").name(), "holds.sweep");
/// assert!(limits::sweep("quotas", ids()).is_none());
/// ```
#[must_use]
pub fn sweep(kind: &str, ids: Vec<RecordId>) -> Option<Arc<dyn AnyCommand>> {
    let is = |other: &crate::Kind| kind == other.name();
    Some(if is(&RateCounter::KIND) {
        Arc::new(SweepCounters { ids })
    } else if is(&InlineCounter::KIND) {
        Arc::new(SweepInlineCounters { ids })
    } else if is(&LocalCounter::KIND) {
        Arc::new(SweepLocalCounters { ids })
    } else if is(&Hold::KIND) {
        Arc::new(SweepHolds { ids })
    } else if is(&Charge::KIND) {
        Arc::new(SweepCharges { ids })
    } else {
        return None;
    })
}

/// What a sweep removed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Swept {
    /// So many records.
    pub removed: u64,
}

/// A sweep with nothing left to do writes nothing; told as a rejection it costs no commit.
fn swept(removed: u64) -> Result<Swept, Rejection> {
    if removed == 0 {
        let data = serde_json::Map::new();
        return Err(Rejection { code: "nothing_due", category: Category::State, data });
    }
    Ok(Swept { removed })
}

/// Removes idle counters of stored policies.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SweepCounters {
    /// Candidates.
    pub ids: Vec<RecordId>,
}

impl Command for SweepCounters {
    const NAME: &'static str = "counters.sweep";
    type Reply = Swept;
    type Rejection = Rejection;

    /// What is idle says nothing, wherever it is.
    fn is_best_effort(&self, _: &mut Draft<'_>) -> bool {
        true
    }

    fn is_rate_limit(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<Swept, Rejection> {
        let mut removed = 0_u64;
        for id in &self.ids {
            let Some(counter) = draft.get::<RateCounter>(id) else { continue };
            let Some(name) = id.split(2).and_then(|names| names.into_iter().next()) else {
                continue;
            };
            let policy_id = RecordId::from(&name);
            let policy = draft.get::<RatePolicy>(&policy_id);
            // The policy may have changed since it was written: a longer window is not over yet.
            let now_counter = match &policy {
                Some(policy) => counter.under(policy, now),
                None => counter.under_own(now),
            };
            if !now_counter.is_idle(now) {
                if now_counter.idle_at() != counter.idle_at() {
                    if now_counter.terms().max_keys().is_some()
                        && now_counter.policy_epoch() != counter.policy_epoch()
                    {
                        KeyCount::add(draft, &name, now_counter.policy_epoch());
                    }
                    draft.put(id, now_counter);
                    removed = removed.saturating_add(1);
                }
                continue;
            }
            draft.purge::<RateCounter>(id);
            removed = removed.saturating_add(1);
            let keys = draft.get::<KeyCount>(&policy_id);
            if let Some(keys) = keys.filter(|keys| keys.epoch == counter.policy_epoch()) {
                let count = keys.count.minus_or_zero(Units::ONE);
                draft.put(&policy_id, KeyCount { count, epoch: keys.epoch });
            }
        }
        swept(removed)
    }
}

/// Removes those of `ids` that are `over`.
fn purge<R: Record>(
    draft: &mut Draft<'_>,
    ids: &[RecordId],
    over: impl Fn(&R) -> bool,
) -> Result<Swept, Rejection> {
    let mut removed = 0_u64;
    for id in ids {
        if draft.get::<R>(id).is_some_and(|record| over(&record)) {
            draft.purge::<R>(id);
            removed = removed.saturating_add(1);
        }
    }
    swept(removed)
}

/// Removes idle counters of inline terms.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SweepInlineCounters {
    /// Candidates.
    pub ids: Vec<RecordId>,
}

impl Command for SweepInlineCounters {
    const NAME: &'static str = "inline_counters.sweep";
    type Reply = Swept;
    type Rejection = Rejection;

    /// What is idle says nothing, wherever it is.
    fn is_best_effort(&self, _: &mut Draft<'_>) -> bool {
        true
    }

    fn is_rate_limit(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<Swept, Rejection> {
        purge(draft, &self.ids, |counter: &InlineCounter| counter.0.under_own(now).is_idle(now))
    }
}

/// Removes idle counters of the node alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SweepLocalCounters {
    /// Candidates.
    pub ids: Vec<RecordId>,
}

impl Command for SweepLocalCounters {
    const NAME: &'static str = "local_counters.sweep";
    type Reply = Swept;
    type Rejection = Rejection;

    fn is_rate_limit(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<Swept, Rejection> {
        purge(draft, &self.ids, |counter: &LocalCounter| counter.0.under_own(now).is_idle(now))
    }
}

/// Removes holds that ended long ago.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SweepHolds {
    /// Candidates.
    pub ids: Vec<RecordId>,
}

impl Command for SweepHolds {
    const NAME: &'static str = "holds.sweep";
    type Reply = Swept;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<Swept, Rejection> {
        purge(draft, &self.ids, |hold: &Hold| hold.sweep_at().is_some_and(|over| over <= now))
    }
}

/// Removes charges that are no longer kept, and adds their units to what their quotas pruned.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SweepCharges {
    /// Candidates.
    pub ids: Vec<RecordId>,
}

impl Command for SweepCharges {
    const NAME: &'static str = "charges.sweep";
    type Reply = Swept;
    type Rejection = Rejection;

    /// Rate limits leave charges too, if their policy says so.
    fn is_rate_limit(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<Swept, Rejection> {
        let mut removed = 0_u64;
        for id in &self.ids {
            let Some(charge) = draft.get::<Charge>(id).filter(|charge| !charge.is_kept(now)) else {
                continue;
            };
            prune(draft, &charge);
            draft.purge::<Charge>(id);
            removed = removed.saturating_add(1);
        }
        swept(removed)
    }
}
