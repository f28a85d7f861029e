//! How long a verdict over 1,000,000 calls takes: `cargo run --release --example judge_speed`.

#![expect(
    clippy::disallowed_methods,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it measures, and prints what it measured"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use bellpunch_check::history::{Accepted, Header, History, Invoke, Line, Rejected, Versions};
use bellpunch_check::instant::{Nanos, print};
use bellpunch_check::judge::{Sequential, Verdict3, judge};
use bellpunch_check::model::{Call, Verdict};
use serde_json::json;

const OPS: u64 = 1_000_000;
const CLIENTS: u64 = 16;

/// Takes every answer: what is left is the check itself.
#[derive(Clone, Default)]
struct Nothing;

impl Sequential for Nothing {
    fn apply(&mut self, _: &Call<'_>) -> Verdict {
        Verdict::Housekeeping
    }

    fn check(&self, _: Nanos) -> Result<(), String> {
        Ok(())
    }
}

/// Counters without an end.
#[derive(Clone, Default)]
struct Counters(BTreeMap<String, u64>);

impl Sequential for Counters {
    fn apply(&mut self, call: &Call<'_>) -> Verdict {
        let quota = call.args["quota"].as_str().unwrap();
        let used = self.0.entry(quota.to_owned()).or_default();
        if call.args["units"].as_u64() == Some(0) {
            let code = "quota_exceeded".to_owned();
            return Verdict::Rejected { code, reply: json!({"used": used}) };
        }
        *used += 1;
        let writes = BTreeSet::from([format!("quotas/{quota}")]);
        Verdict::Accepted { reply: json!({"used": used}), writes }
    }

    fn check(&self, _: Nanos) -> Result<(), String> {
        Ok(())
    }
}

/// Sixteen calls are under way at any time; every tenth is rejected.
fn history(quotas: u64) -> History {
    let mut lines = Vec::new();
    let mut used = vec![0_u64; usize::try_from(quotas).unwrap()];
    let mut seed = 7_u64;
    for op in 0..OPS {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let number = (seed >> 33) % quotas;
        let (quota, units) = (format!("q{number}"), u64::from(op % 10 != 0));
        lines.push(Line::Invoke(Invoke {
            t: op * 10,
            op,
            proc: format!("c{}", op % CLIENTS),
            node: None,
            partition: "p".to_owned(),
            cmd: "quotas.consume".to_owned(),
            target: format!("quotas/{quota}"),
            args: json!({"quota": quota, "units": units}),
            key: (op % 2 == 0).then(|| format!("k{op}")),
        }));
        let (t, at) = (op * 10 + 10 * CLIENTS - 5, print(Nanos::from(op) * 1_000));
        let used = &mut used[usize::try_from(number).unwrap()];
        let name = format!("quotas/{quota}");
        let seen = BTreeMap::from([("policies/p".to_owned(), 0)]);
        if units == 0 {
            let as_of = Versions::from([(name, *used)]);
            let (code, reply) = ("quota_exceeded".to_owned(), json!({"used": used}));
            let end = Rejected { t, op, code, as_of, at, index: None, flag: None, reply };
            lines.push(Line::Rejected(end));
            continue;
        }
        *used += 1;
        let reply = json!({"used": used});
        let writes = Versions::from([(name, *used)]);
        lines.push(Line::Accepted(Accepted {
            t,
            op,
            at,
            writes,
            reads: seen,
            reply,
            ..Accepted::default()
        }));
    }
    History { header: Header::of("kit"), lines }
}

fn main() {
    for quotas in [1, 1_000] {
        let history = history(quotas);
        let start = Instant::now();
        let judgement = judge::<Nothing>(&history);
        let without = start.elapsed();
        assert_eq!(judgement.verdict, Verdict3::Pass, "{judgement}");
        let start = Instant::now();
        let judgement = judge::<Counters>(&history);
        let with = start.elapsed();
        assert_eq!(judgement.verdict, Verdict3::Pass, "{judgement}");
        println!(
            "{OPS} calls of {quotas} quotas: {} ms, with a model {} ms",
            without.as_millis(),
            with.as_millis()
        );
    }
}
