//! A partition that has no quota and no policy: the models of tickets and uploads by themselves.
//!
//! Invariant: nothing is ever held here.

use serde_json::{Value, json};

use super::fields::{Refusal, Writes, object, refuse};
use super::uploads::{Captured, Charging, Held, Wanted};
use super::{Call, Verdict};
use crate::instant::Nanos;

/// No quota, no policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct WithoutLimits;

impl WithoutLimits {
    /// Knows no command.
    #[expect(clippy::unused_self, reason = "the shape of a model")]
    pub(crate) const fn apply(&self, _: &Call<'_>) -> Verdict {
        Verdict::NotModelled
    }
}

impl Charging for WithoutLimits {
    fn hold(&mut self, wanted: &Wanted<'_>) -> Result<Held, Refusal> {
        let name = |item: &Value, name: &str| item.get(name).cloned();
        let target = |item: &Value| {
            let names = ["quota", "policy", "key"];
            object(names.map(|field| (field, name(item, field))))
        };
        let targets: Vec<Value> = wanted.items.iter().map(target).collect();
        let is_quota = |item: &Value| item.get("quota").is_some();
        let any = wanted.items.iter().any(is_quota);
        let code = if any { "quota_not_found" } else { "policy_not_found" };
        refuse(code, json!({ "targets": targets }))
    }

    fn usable(&self, _: &str, _: Nanos) -> Result<(), Refusal> {
        Ok(())
    }

    fn extend(&mut self, _: &str, _: Nanos, _: Nanos) -> Result<Writes, Refusal> {
        Ok(Writes::new())
    }

    fn capture(&mut self, _: &str, _: &[u64], _: Nanos) -> Result<Captured, Refusal> {
        Ok(Captured { charge: None, writes: Writes::new() })
    }

    fn release(&mut self, _: &str, _: Nanos) -> Writes {
        Writes::new()
    }
}
