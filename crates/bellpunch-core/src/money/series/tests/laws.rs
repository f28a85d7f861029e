//! Laws over random sequences: what holds of every series, whatever was asked of it.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{scoped, when};
use crate::Key;
use crate::money::series::template::{Mark, Template};
use crate::trial::{World, cases};

/// One step: seconds that pass, which scope asks, and what for.
#[derive(Clone, Debug)]
enum Step {
    Next { scope: usize },
    Void { back: usize },
    Advance { scope: usize, by: u64 },
}

fn steps() -> impl Strategy<Value = Vec<(i64, Step)>> {
    let scope = 0..SCOPES.len();
    let step = prop_oneof![
        6 => scope.clone().prop_map(|scope| Step::Next { scope }),
        1 => (0..4_usize).prop_map(|back| Step::Void { back }),
        1 => (scope, 0..9_u64).prop_map(|(scope, by)| Step::Advance { scope, by }),
    ];
    let pause = prop_oneof![4 => 0..7_200_i64, 1 => 0..4_000_000_i64];
    prop::collection::vec((pause, step), 1..40)
}

/// Scopes that a careless encoding would take for one another.
const SCOPES: [&str; 4] = ["L1", "L", "1:L", "-"];
const TEMPLATES: [&str; 5] = [
    "N-{YYYY}-{N:1}",
    "N-{YYYY}{MM}-{N:2}",
    "{YY}/{MM}/{DD}-{N:1}",
    "{scope}-{DD}-{N:3}",
    "N-{N:2}",
];
const ZONES: [&str; 5] =
    ["Asia/Riyadh", "America/St_Johns", "Pacific/Apia", "+13:45", "America/New_York"];

/// What was given, by scope and period: each value and its text.
type Given = BTreeMap<(String, String), Vec<(u64, String)>>;

fn run(template: &str, zone: &str, steps: &[(i64, Step)]) -> (Given, Vec<Value>) {
    let mut world = World::default();
    let mut now = when("2009-11-20T00:00:00Z");
    let definition = json!({"name": "S", "template": template, "class": "gapless", "zone": zone, "scoped": true});
    world.send(now, ("series.define", definition)).ok();
    let mut given = Given::new();
    let mut shown: Vec<Value> = Vec::new();
    for (place, (pause, step)) in steps.iter().enumerate() {
        now = pause.checked_mul(1_000).and_then(|pause| now.checked_add(pause)).unwrap();
        match step {
            Step::Next { scope } => {
                let call = scoped("S", SCOPES[*scope], &place.to_string());
                let number = world.send(now, call).ok()["number"].clone();
                let text = |field: &str| number[field].as_str().unwrap().to_owned();
                given
                    .entry((text("scope"), text("period")))
                    .or_default()
                    .push((number["value"].as_u64().unwrap(), text("number")));
                shown.push(number);
            }
            Step::Void { back } => {
                let Some(number) = shown.iter().rev().nth(*back) else { continue };
                let content = json!({
                    "name": "S", "scope": number["scope"], "number": number["number"],
                    "reason": "lost",
                });
                let answer = world.send(now, ("series.void", content));
                assert!(["ok", "number_void"].contains(&answer.code()), "{answer:?}");
            }
            Step::Advance { scope, by } => {
                let scope = SCOPES[*scope];
                let newest = shown.iter().rev().find(|number| number["scope"] == scope);
                let Some(newest) = newest else { continue };
                let last = newest["value"].as_u64().unwrap().saturating_add(*by);
                let content = json!({
                    "name": "S", "scope": scope, "period": newest["period"], "last": last,
                });
                world.send(now, ("series.advance", content)).no("series_in_use");
            }
        }
    }
    (given, shown)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(60), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn gapless_unequal_and_dated_in_order(
        template in prop::sample::select(TEMPLATES.to_vec()),
        zone in prop::sample::select(ZONES.to_vec()),
        steps in steps(),
    ) {
        let (given, shown) = run(template, zone, &steps);
        let template = Template::new(template).unwrap();
        for ((scope, period), numbers) in &given {
            for (expected, (value, text)) in (1_u64..).zip(numbers) {
                prop_assert_eq!(*value, expected, "consecutive");
                let scope = Key::new(scope).unwrap();
                let mark = Mark::Value(*value);
                prop_assert_eq!(text, &template.render(period, Some(&scope), &mark));
                prop_assert_eq!(template.parse(text, Some(&scope)), Some((period.clone(), mark)));
            }
        }
        for scope in SCOPES {
            let of_scope = given.iter().filter(|((of, _), _)| of == scope);
            let texts: Vec<_> = of_scope.flat_map(|(_, numbers)| numbers).map(|(_, text)| text).collect();
            let different: BTreeSet<_> = texts.iter().collect();
            prop_assert_eq!(different.len(), texts.len(), "no two equal within a scope");
        }
        let dates: Vec<_> = shown.iter().map(|number| number["date"].as_str().unwrap()).collect();
        prop_assert!(dates.is_sorted(), "{:?}", dates);
        let ids: BTreeSet<_> = shown.iter().map(|number| number["id"].as_str().unwrap()).collect();
        prop_assert_eq!(ids.len(), shown.len());
    }
}
