//! Currencies that were declared, and the outcomes of idempotency keys.
//!
//! Both state every field. What an outcome has in its receipt is not the model's to say: it is
//! what the caller was told, kept by `Outcomes::keep`.
//!
//! Invariant: a scale never changes; an outcome is told until its retention ends, and not after.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::fields::{Refusal, Writes, field, needed, record, refuse, senseless, verdict};
use super::{Call, Verdict};
use crate::instant::Nanos;

const SCALE_MAX: u64 = 15;

/// ISO 4217, active codes that have minor units, by their number of digits after the point.
const ISO_4217: &[(u64, &str)] = &[
    (0, "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"),
    (
        2,
        "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN \
         BZD CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP \
         GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT \
         LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN \
         NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE \
         SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES \
         WST XCD XCG YER ZAR ZMW ZWG",
    ),
    (3, "BHD IQD JOD KWD LYD OMR TND"),
    (4, "CLF UYW"),
];

/// The currencies that a partition declared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Currencies {
    scales: BTreeMap<String, u64>,
}

impl Currencies {
    fn scale(&self, code: &str) -> Option<u64> {
        let is_in = |codes: &str| codes.split_whitespace().any(|known| known == code);
        let iso = ISO_4217.iter().find(|(_, codes)| is_in(codes)).map(|(scale, _)| *scale);
        iso.or_else(|| self.scales.get(code).copied())
    }

    /// Refuses a code that is neither of ISO 4217 nor declared. Units need no declaration.
    pub(crate) fn know(&self, kind: &str, code: &str) -> Result<(), Refusal> {
        if kind == "currency" && self.scale(code).is_none() {
            return refuse("unknown_currency", json!({ "currency": code }));
        }
        Ok(())
    }

    /// Judges one command.
    pub(crate) fn apply(&mut self, call: &Call<'_>) -> Verdict {
        match call.cmd {
            "currencies.define" => verdict(self.define(call.args)),
            "currencies.read" => verdict(self.read(call.args)),
            _ => Verdict::NotModelled,
        }
    }

    fn define(&mut self, args: &Value) -> Result<(Value, Writes), Refusal> {
        let code = needed(args, "code")?;
        let scale = match field(args, "scale").and_then(Value::as_u64) {
            Some(scale) if scale <= SCALE_MAX => scale,
            Some(_) | None => return senseless("scale"),
        };
        if let Some(scale) = self.scale(code) {
            return refuse("currency_exists", json!({ "scale": scale }));
        }
        self.scales.insert(code.to_owned(), scale);
        let reply = json!({ "currency": show(code, scale), "postings": [], "events": [] });
        Ok((reply, Writes::from([record("currencies", &[code])])))
    }

    fn read(&self, args: &Value) -> Result<(Value, Writes), Refusal> {
        let id = needed(args, "id")?;
        match self.scales.get(id) {
            Some(scale) => Ok((json!({ "currency": show(id, *scale) }), Writes::new())),
            None => refuse("currency_not_found", json!({ "id": id })),
        }
    }
}

/// A currency as it is shown. Nothing changes one, so it has the version of its making.
fn show(code: &str, scale: u64) -> Value {
    json!({ "id": code, "scale": scale, "version": 1 })
}

/// What was recorded under an idempotency key.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// The receipt as it is told: `at`, `versions`, `versions_each` of a list, `replies`.
    pub receipt: Value,
    /// The outcome is told before this instant.
    pub until: Nanos,
}

/// The outcomes of the keys of a partition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcomes {
    kept: BTreeMap<String, Kept>,
}

impl Outcomes {
    pub(crate) fn keep(&mut self, key: &str, kept: Kept) {
        self.kept.insert(key.to_owned(), kept);
    }

    /// Judges one command.
    pub(crate) fn apply(&self, call: &Call<'_>) -> Verdict {
        if call.cmd != "outcomes.read" {
            return Verdict::NotModelled;
        }
        let kept = needed(call.args, "id").map(|key| self.kept.get(key));
        verdict(kept.map(|kept| {
            let reply = match kept.filter(|kept| call.at < kept.until) {
                Some(kept) => json!({ "status": "applied", "receipt": kept.receipt }),
                None => json!({ "status": "not_applied" }),
            };
            (reply, Writes::new())
        }))
    }
}

#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "a test that panics has failed")]
mod tests;
