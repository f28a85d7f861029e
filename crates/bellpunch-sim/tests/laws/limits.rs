//! `law.model` of limits: every answer and every record written is the reference model's.
//!
//! Random worlds of few names, so that commands meet; times that like edges. A failure prints its
//! seed; `BELLPUNCH_SEED` runs that one alone.

mod generate;
mod small;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use bellpunch_check::instant;
use bellpunch_check::model::limits::Limits;
use bellpunch_check::model::{Call, Verdict};
use serde_json::{Map, Value};

use self::generate::{Generator, Step};
use self::world::{Answer, World};

const SEEDS: u64 = 80;
const STEPS: usize = 150;

/// Every rejection of the domain that `decide` gives, each command, and each algorithm.
const REACHED: &[&str] = &[
    "algorithm_changed",
    "already_refunded",
    "charge_exists",
    "charge_not_found",
    "charge_window_over",
    "exceeds_limit",
    "expiry_not_later",
    "hold_captured",
    "hold_exists",
    "hold_expired",
    "hold_not_found",
    "hold_voided",
    "invalid_request",
    "invalid_units",
    "lease_required",
    "not_owner",
    "not_refundable",
    "policy_in_use",
    "policy_not_found",
    "quota_exceeded",
    "quota_exists",
    "quota_expired",
    "quota_not_found",
    "quota_revoked",
    "rate_limited",
    "refund_too_large",
    "too_many_holds",
    "too_many_keys",
    "ttl_too_long",
    "version_mismatch",
];
const COMMANDS: &[&str] = &[
    "quotas.create",
    "quotas.set_limit",
    "quotas.configure",
    "quotas.revoke",
    "quotas.reactivate",
    "quotas.reset",
    "quotas.read",
    "quotas.audit",
    "quotas.consume",
    "quotas.refund",
    "policies.set",
    "policies.delete",
    "policies.reset",
    "policies.reset_all",
    "policies.read",
    "policies.consume",
    "counters.read",
    "checks.consume",
    "holds.create",
    "holds.capture",
    "holds.void",
    "holds.extend",
    "holds.read",
    "charges.refund",
    "charges.read",
];

#[expect(clippy::disallowed_methods, reason = "a failing seed is run again by its number")]
fn seeds() -> Vec<u64> {
    let given = std::env::var("BELLPUNCH_SEED").ok();
    match given.and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => (0..SEEDS).collect(),
    }
}

/// Whether an answer has all that is stated; where not, the first place.
fn differs(stated: &Value, told: Option<&Value>, place: &str) -> Option<String> {
    let told = told.unwrap_or(&Value::Null);
    match (stated, told) {
        (Value::Object(stated), Value::Object(told)) => stated
            .iter()
            .find_map(|(name, value)| differs(value, told.get(name), &format!("{place}.{name}"))),
        (Value::Array(stated), Value::Array(told)) if stated.len() == told.len() => {
            let each = stated.iter().zip(told).enumerate();
            each.into_iter()
                .find_map(|(at, (one, other))| differs(one, Some(other), &format!("{place}[{at}]")))
        }
        // Empty labels are left out.
        (Value::Object(stated), Value::Null) if stated.is_empty() => None,
        (stated, told) if stated == told => None,
        (stated, told) => Some(format!("{place}: the model says {stated}, the rule {told}")),
    }
}

fn compare(verdict: &Verdict, answer: &Answer) -> Option<String> {
    match (verdict, answer) {
        (Verdict::Accepted { reply, writes }, Answer::Accepted { told, versions, purged, dry }) => {
            let names = versions.keys().filter(|name| Limits::states(name));
            let written: BTreeSet<String> =
                names.filter(|name| !purged.contains(*name)).cloned().collect();
            differs(reply, Some(told), "reply").or_else(|| {
                (!dry && written != *writes)
                    .then(|| format!("the model writes {writes:?}, the rule {written:?}"))
            })
        }
        (Verdict::Rejected { code, reply }, Answer::Rejected { code: told, data }) => {
            if code != told {
                return Some(format!("the model says {code} {reply}, the rule {told} {data}"));
            }
            differs(reply, Some(data), code)
        }
        (Verdict::Housekeeping, Answer::Accepted { .. }) => None,
        (verdict, answer) => Some(format!("the model says {verdict:?}, the rule {answer:?}")),
    }
}

/// Runs one seed; counts what it reached.
fn run(seed: u64, reached: &mut BTreeMap<String, u64>) -> Result<(), String> {
    let mut generator = Generator::new(seed);
    let (mut world, mut model) = (World::default(), Limits::default());
    let mut trail = Vec::new();
    for step in 0..STEPS {
        let Step { command, name, args, dry_run } = generator.step(&mut world);
        let now = generator.now();
        let answer = world.send(command, now, dry_run);
        let told = match &answer {
            Answer::Accepted { told, .. } => Some(told.clone()),
            Answer::Rejected { .. } => None,
        };
        let before = model.clone();
        let mut other = model.clone();
        let used = if dry_run { &mut other } else { &mut model };
        let verdict = used.apply(&Call { cmd: name, args: &args, at: now, drawn: told.as_ref() });
        let what =
            format!("{} {name} {args}{}", instant::print(now), if dry_run { " dry" } else { "" });
        trail.push(format!("{what} => {answer}"));
        let wrong = compare(&verdict, &answer).or_else(|| {
            let unchanged = !matches!(verdict, Verdict::Rejected { .. }) || before == model;
            (!unchanged).then(|| "a rejection changed the model".to_owned())
        });
        if let (Answer::Accepted { versions, .. }, Verdict::Housekeeping) = (&answer, &verdict) {
            model.told(versions, now);
        }
        if let Some(wrong) = wrong.or_else(|| model.check(now).err()) {
            let from = trail.len().saturating_sub(if seeds().len() == 1 { 400 } else { 12 });
            return Err(format!(
                "seed {seed}, step {step}: {wrong}\n{what}\n{}",
                trail.split_off(from).join("\n")
            ));
        }
        generator.heard(&answer);
        if !dry_run {
            let code = match &answer {
                Answer::Accepted { .. } => "ok",
                Answer::Rejected { code, .. } => code,
            };
            for counted in [format!("{name} {code}"), code.to_owned(), name.to_owned()] {
                let count = reached.entry(counted).or_default();
                *count = count.saturating_add(1);
            }
        }
    }
    Ok(())
}

/// `law.model`.
#[test]
#[expect(clippy::print_stderr, reason = "what was reached is a report")]
fn every_answer_is_the_models() {
    let seeds = seeds();
    let mut reached = BTreeMap::new();
    let mut failed = Vec::new();
    for seed in &seeds {
        if let Err(wrong) = run(*seed, &mut reached) {
            failed.push(format!("BELLPUNCH_SEED={seed}: {wrong}"));
        }
    }
    assert!(failed.is_empty(), "{} seeds fail:\n{}", failed.len(), failed.join("\n\n"));
    let shown: Map<String, Value> = reached.iter().map(|(k, v)| (k.clone(), (*v).into())).collect();
    eprintln!("{}", serde_json::to_string_pretty(&shown).unwrap());
    if 1 < seeds.len() {
        let missing: Vec<&&str> =
            REACHED.iter().chain(COMMANDS).filter(|name| !reached.contains_key(**name)).collect();
        assert!(missing.is_empty(), "never reached: {missing:?}");
    }
}
