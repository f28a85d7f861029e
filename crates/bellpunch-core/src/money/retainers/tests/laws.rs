//! Any sequence of commands: the balance is what came less what went, and each fall is told once.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::audit::audit;
use crate::trial::{at, cases};

use super::given::{book, invoice};
use super::{consume, events, open, read, refund, replenish, restore, sar};

#[derive(Clone, Debug)]
enum Step {
    Consume(u64),
    Pay(u64),
    Replenish(u64),
    /// Of the consumption in this place, or all that is left of it.
    Restore(usize, Option<u64>),
    Refund(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..60_u64).prop_map(Step::Consume),
        2 => (1..30_u64).prop_map(Step::Pay),
        3 => (1..60_u64).prop_map(Step::Replenish),
        2 => (0..8_usize, prop::option::of(1..20_u64)).prop_map(|(one, of)| Step::Restore(one, of)),
        1 => (1..40_u64).prop_map(Step::Refund),
    ]
}

fn less(amount: u64) -> i128 {
    i128::from(amount).checked_neg().unwrap()
}

fn wide(value: &Value) -> i128 {
    value.as_u64().unwrap().into()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(50), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn balance_and_events_follow_from_what_was_accepted(
        start in 0..100_u64,
        minimum in 0..60_u64,
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut world = book();
        open(&mut world, start, &json!({"minimum_balance": sar(minimum)})).ok();
        invoice(&mut world, "I", ("C", 100));
        let mut balance = i128::from(start);
        let (mut low, mut falls) = (Vec::new(), Vec::new());
        let mut consumptions: Vec<(String, i128)> = Vec::new();
        let minimum = i128::from(minimum);
        for step in steps {
            let before = balance;
            let (call, moves) = match step.clone() {
                Step::Consume(amount) => (consume(amount, &json!({})), less(amount)),
                Step::Pay(amount) => {
                    (consume(amount, &json!({"invoice": "I"})), less(amount))
                }
                Step::Replenish(amount) => (replenish(amount, &json!({})), i128::from(amount)),
                Step::Refund(amount) => {
                    (refund(&json!({"amount": sar(amount)})), less(amount))
                }
                Step::Restore(place, part) => {
                    let Some((id, left)) = consumptions.get(place) else { continue };
                    let over = part.map_or_else(|| json!({}), |part| json!({"amount": sar(part)}));
                    (restore(id, &over), part.map_or(*left, i128::from))
                }
            };
            let answer = world.send(0, call);
            if answer.code() != "ok" {
                prop_assert_eq!(wide(&read(&mut world, 0)["balance"]), balance);
                continue;
            }
            balance = balance.checked_add(moves).unwrap();
            match step {
                Step::Consume(_) | Step::Pay(_) => {
                    let id = answer.ok()["consumption"]["id"].as_str().unwrap().to_owned();
                    consumptions.push((id, moves.checked_neg().unwrap()));
                }
                Step::Restore(place, _) => {
 let left = &mut consumptions[place].1;
 *left = left.checked_sub(moves).unwrap();
 }
                Step::Replenish(_) | Step::Refund(_) => {}
            }
            let told = events(&answer);
            low.extend(told.iter().filter(|event| *event == "low_balance").cloned());
            if 0 < minimum && minimum < before && balance <= minimum {
                falls.push("low_balance".to_owned());
            }
            let depleted = told.iter().any(|event| event == "retainer_depleted");
            prop_assert_eq!(depleted, balance == 0 && before != 0);
            let retainer = &answer.ok()["retainer"];
            prop_assert_eq!(wide(&retainer["balance"]), balance);
            prop_assert_eq!(&retainer["alert_armed"], &json!(0 < minimum && minimum < balance));
            prop_assert_eq!(&low, &falls);
            prop_assert!(0 <= balance);
        }
        prop_assert_eq!(audit(world.stored(), at(0)), []);
        for (id, left) in consumptions {
            let answer = world.send(0, ("consumptions.read", json!({"id": id})));
            prop_assert_eq!(wide(&answer.ok()["consumption"]["restorable"]), left);
        }
    }
}
