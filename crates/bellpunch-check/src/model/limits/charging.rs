//! What uploads ask of limits: a hold when they are declared, and its end.
//!
//! Invariant: one that refuses has changed nothing, and what was written is counted once.

use serde_json::{Value, json};

use super::admission::{Admission, Horizon, Item, demands};
use super::hold::NewHold;
use super::value::span;
use super::{Limits, No};
use crate::instant::Nanos;
use crate::model::fields::{Refusal, Writes, undrawn};
use crate::model::uploads::{Captured, Charging, Held, Wanted};
use crate::model::{Call, Verdict};

fn refusal(no: No) -> Refusal {
    (no.code.to_owned(), Value::Object(no.data))
}

impl Limits {
    fn targets_of(&self, hold: &str, at: Nanos) -> Option<(Nanos, Admission)> {
        let hold = self.holds.get(hold)?;
        Some((hold.created_at, self.held_targets(hold, at)))
    }

    fn admitted(&self, wanted: &Wanted<'_>) -> Result<(Vec<Item>, Admission, i128), No> {
        let items: Vec<Item> = serde_json::from_value(Value::Array(wanted.items.to_vec()))
            .map_err(|_| No::new("invalid_request"))?;
        let items = demands(&items)?;
        let mut admission = self.admission(&items, wanted.at)?;
        admission.check_revoked()?;
        admission.check_algorithms()?;
        admission.check_expired()?;
        let ttl = admission.ttl(wanted.ttl, wanted.ttl_default)?;
        admission.check_holds()?;
        admission.check_keys(self)?;
        admission.check_room_until(Horizon { ttl: wanted.ttl, before: None })?;
        Ok((items, admission, ttl))
    }
}

impl Charging for Limits {
    fn hold(&mut self, wanted: &Wanted<'_>) -> Result<Held, Refusal> {
        let (items, admission, ttl) = self.admitted(wanted).map_err(refusal)?;
        let id = wanted.drawn.map_or_else(|| undrawn(0), str::to_owned);
        let until = wanted.at.saturating_add(ttl);
        let new = NewHold { id: id.clone(), owner: None, expires_at: until, labels: json!({}) };
        let (_, writes) = self.open_hold(new, &items, admission);
        self.count(&writes);
        Ok(Held { id, until, writes })
    }

    fn usable(&self, hold: &str, at: Nanos) -> Result<(), Refusal> {
        let Some((_, admission)) = self.targets_of(hold, at) else { return Ok(()) };
        admission.check_revoked().and_then(|()| admission.check_expired()).map_err(refusal)
    }

    fn extend(&mut self, hold: &str, until: Nanos, at: Nanos) -> Result<Writes, Refusal> {
        let Some((created_at, admission)) = self.targets_of(hold, at) else {
            return Ok(Writes::new());
        };
        admission.check_revoked().and_then(|()| admission.check_expired()).map_err(refusal)?;
        let max = admission.longest_extension(created_at);
        if at.saturating_add(max) < until {
            let shown = if 0 < max { span(Some(max)) } else { Value::Null };
            return Err(refusal(No::new("ttl_too_long").with("max_ttl_ns", shown)));
        }
        let (_, writes) = self.move_end(hold, until, at);
        self.count(&writes);
        Ok(writes)
    }

    fn capture(&mut self, hold: &str, units: &[u64], at: Nanos) -> Result<Captured, Refusal> {
        let args = json!({ "id": hold, "units": units });
        let call = Call { cmd: "holds.capture", args: &args, at, drawn: None };
        match self.apply(&call) {
            Verdict::Accepted { reply, writes } => {
                let charge = reply.get("charge").and_then(Value::as_str).map(str::to_owned);
                Ok(Captured { charge, writes })
            }
            Verdict::Rejected { code, reply } => Err((code, reply)),
            Verdict::Housekeeping | Verdict::NotModelled => Err(refusal(No::new("not_modelled"))),
        }
    }

    fn release(&mut self, hold: &str, at: Nanos) -> Writes {
        if !self.holds.get(hold).is_some_and(|hold| hold.is_open(at)) {
            return Writes::new();
        }
        let (_, writes) = self.close_voided(hold, at);
        self.count(&writes);
        writes
    }
}
