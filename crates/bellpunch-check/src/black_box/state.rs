//! Sequential state of foreign targets, for the search.
//!
//! Invariant: a step is refused exactly when the answer cannot have been given in that state.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::wgl::{Answer, Object, Seen};

/// What a target is in.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum State {
    /// So many units of a limit are used.
    Counter {
        /// How many there are.
        limit: u64,
        /// How many are taken.
        used: u64,
    },
    /// An account.
    Balance {
        /// What it never goes below.
        floor: i64,
        /// What it holds.
        balance: i64,
    },
    /// Units set aside.
    Holds {
        /// How many there are.
        limit: u64,
        /// How many are taken for good.
        used: u64,
        /// What is set aside, by the id of the hold.
        held: BTreeMap<String, u64>,
        /// Set aside by calls whose id nobody was told.
        untold: u64,
    },
}

/// The number that a call is about: of its arguments, or one.
pub(super) fn units(args: &Value) -> u64 {
    ["units", "amount"].iter().find_map(|name| args.get(name)?.as_u64()).unwrap_or(1)
}

fn says(body: &Value, name: &str, number: u64) -> bool {
    body.get(name).is_none_or(|told| told.as_u64() == Some(number))
}

fn says_signed(body: &Value, name: &str, number: i64) -> bool {
    body.get(name).is_none_or(|told| told.as_i64() == Some(number))
}

impl Object for State {
    fn step(&self, seen: &Seen<'_>) -> Option<Self> {
        match self {
            Self::Counter { limit, used } => counter(*limit, *used, seen),
            Self::Balance { floor, balance } => account(*floor, *balance, seen),
            Self::Holds { .. } => holds(self, seen),
        }
    }
}

fn counter(limit: u64, used: u64, seen: &Seen<'_>) -> Option<State> {
    let left = limit.checked_sub(used)?;
    let units = units(seen.args);
    let same = State::Counter { limit, used };
    match seen.answer {
        Answer::Shown(body) => {
            (says(body, "used", used) && says(body, "remaining", left)).then_some(same)
        }
        Answer::No(_, body) => (left < units && says(body, "remaining", left)).then_some(same),
        Answer::Yes(body) => {
            let left = left.checked_sub(units)?;
            let used = used.checked_add(units)?;
            let fits = says(body, "remaining", left) && says(body, "used", used);
            fits.then_some(State::Counter { limit, used })
        }
        Answer::Open => {
            let used = used.checked_add(units).filter(|used| *used <= limit)?;
            Some(State::Counter { limit, used })
        }
    }
}

fn account(floor: i64, balance: i64, seen: &Seen<'_>) -> Option<State> {
    let amount = i64::try_from(units(seen.args)).ok()?;
    let after = match seen.verb {
        "credit" => balance.checked_add(amount)?,
        _ => balance.checked_sub(amount)?,
    };
    match seen.answer {
        Answer::Shown(body) => {
            says_signed(body, "balance", balance).then_some(State::Balance { floor, balance })
        }
        Answer::No(_, body) => {
            let fits = after < floor && says_signed(body, "balance", balance);
            fits.then_some(State::Balance { floor, balance })
        }
        Answer::Yes(body) => (floor <= after && says_signed(body, "balance", after))
            .then_some(State::Balance { floor, balance: after }),
        Answer::Open => (floor <= after).then_some(State::Balance { floor, balance: after }),
    }
}

/// The hold that a call is about.
pub(super) fn hold<'a>(seen: &Seen<'a>) -> Option<&'a str> {
    let of = |value: &'a Value| {
        ["hold", "id"].iter().find_map(|name| value.get(name)).and_then(Value::as_str)
    };
    match seen.answer {
        Answer::Yes(body) if seen.verb == "create" => of(body).or_else(|| of(seen.args)),
        Answer::Yes(_) | Answer::No(..) | Answer::Shown(_) | Answer::Open => of(seen.args),
    }
}

fn holds(state: &State, seen: &Seen<'_>) -> Option<State> {
    let State::Holds { limit, used, held, untold } = state else { return None };
    let sum = held.values().try_fold(*untold, |sum, units| sum.checked_add(*units))?;
    let taken = used.checked_add(sum)?;
    let units = units(seen.args);
    let mut next = (*used, held.clone(), *untold);
    let fits = match seen.verb {
        "create" => {
            match hold(seen) {
                Some(id) => drop(next.1.insert(id.to_owned(), units)),
                None => next.2 = untold.checked_add(units)?,
            }
            taken.checked_add(units)? <= *limit
                && hold(seen).is_none_or(|id| !held.contains_key(id))
        }
        "capture" => match hold(seen).and_then(|id| next.1.remove(id)) {
            // Without an amount it takes all; what it leaves is given back.
            Some(aside) => {
                let units = seen.args.get("units").and_then(Value::as_u64).unwrap_or(aside);
                next.0 = used.checked_add(units)?;
                units <= aside
            }
            None => false,
        },
        "void" => hold(seen).and_then(|id| next.1.remove(id)).is_some(),
        _ => {
            next.0 = used.checked_add(units)?;
            taken.checked_add(units)? <= *limit
        }
    };
    let (used_after, held_after, untold_after) = next;
    let after =
        State::Holds { limit: *limit, used: used_after, held: held_after, untold: untold_after };
    match seen.answer {
        Answer::Shown(body) => {
            (says(body, "used", *used) && says(body, "held", sum)).then(|| state.clone())
        }
        Answer::No(..) => (!fits).then(|| state.clone()),
        Answer::Yes(_) | Answer::Open => fits.then_some(after),
    }
}
