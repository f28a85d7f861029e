//! What limits do for uploads: a hold whose end is the upload's.
//!
//! Invariant: what refuses has changed nothing.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Horizon, Item, NewHold, demands};
use crate::instant::Nanos;
use crate::model::limits::charges::Event;
use crate::model::limits::value::span;
use crate::model::limits::{Limits, No};
use crate::model::uploads::{Captured, Charging, Held, Wanted};

/// Owns the holds of uploads: nobody else ends them.
const OWNER: &str = "_uploads";

type Refusal = (String, Value);

fn told(no: No) -> Refusal {
    (no.code.to_owned(), Value::Object(no.data))
}

impl Limits {
    fn hold_for_upload(&mut self, wanted: &Wanted<'_>) -> Result<Held, No> {
        let items = wanted.items.iter().map(Item::deserialize);
        let items: Result<Vec<Item>, _> = items.collect();
        let items = demands(&items.map_err(|_| No::new("invalid_request"))?)?;
        let mut admission = self.admission(&items, wanted.at)?;
        admission.check_revoked()?;
        admission.check_algorithms()?;
        admission.check_expired()?;
        let ttl = admission.ttl(wanted.ttl, wanted.ttl_default)?;
        admission.check_holds()?;
        admission.check_keys(self)?;
        admission.check_room_until(Horizon { ttl: wanted.ttl, before: None })?;

        let (id, until) = (wanted.drawn.unwrap_or_default(), wanted.at.saturating_add(ttl));
        let owner = Some(OWNER.to_owned());
        let labels = json!({});
        let new = NewHold { id: id.to_owned(), owner, expires_at: until, labels };
        let (_, writes) = self.open_hold(new, &items, admission);
        self.count(&writes);
        Ok(Held { id: id.to_owned(), until, writes })
    }

    fn is_usable(&self, id: &str, at: Nanos) -> Result<(), No> {
        let Some(hold) = self.holds.get(id) else { return Ok(()) };
        let admission = self.held_targets(hold, at);
        admission.check_revoked()?;
        admission.check_expired()
    }

    fn extend_for_upload(
        &mut self,
        id: &str,
        until: Nanos,
        at: Nanos,
    ) -> Result<BTreeSet<String>, No> {
        self.is_usable(id, at)?;
        let Some(hold) = self.holds.get(id) else { return Ok(BTreeSet::new()) };
        let max = self.held_targets(hold, at).longest_extension(hold.created_at);
        if max < until.saturating_sub(at) {
            return Err(No::new("ttl_too_long").with("max_ttl_ns", span(Some(max))));
        }
        let (_, writes) = self.move_end(id, until, at);
        self.count(&writes);
        Ok(writes)
    }

    fn capture_for_upload(&mut self, id: &str, units: &[u64], at: Nanos) -> Result<Captured, No> {
        let Some(hold) = self.holds.get(id).cloned() else { return Err(No::new("hold_not_found")) };
        let mut admission = self.held_targets(&hold, at);
        let taken: Vec<i128> = units.iter().map(|units| i128::from(*units)).collect();
        admission.take(&hold, &taken);
        admission.check_room_until(Horizon { ttl: None, before: Some(hold.expires_at) })?;
        let event = Event { id: Some(id), hold: Some(id), labels: Some(&hold.labels) };
        let captured = self.close_captured(id, admission, &event);
        let mut writes = captured.writes;
        writes.insert(format!("holds/{id}"));
        self.count(&writes);
        Ok(Captured { charge: captured.charge.as_str().map(str::to_owned), writes })
    }
}

impl Charging for Limits {
    fn hold(&mut self, wanted: &Wanted<'_>) -> Result<Held, Refusal> {
        self.hold_for_upload(wanted).map_err(told)
    }

    fn usable(&self, hold: &str, at: Nanos) -> Result<(), Refusal> {
        self.is_usable(hold, at).map_err(told)
    }

    fn extend(&mut self, hold: &str, until: Nanos, at: Nanos) -> Result<BTreeSet<String>, Refusal> {
        self.extend_for_upload(hold, until, at).map_err(told)
    }

    fn capture(&mut self, hold: &str, units: &[u64], at: Nanos) -> Result<Captured, Refusal> {
        self.capture_for_upload(hold, units, at).map_err(told)
    }

    fn release(&mut self, hold: &str, at: Nanos) -> BTreeSet<String> {
        if !self.holds.get(hold).is_some_and(|hold| hold.is_open(at)) {
            return BTreeSet::new();
        }
        let (_, writes) = self.close_voided(hold, at);
        self.count(&writes);
        writes
    }
}
