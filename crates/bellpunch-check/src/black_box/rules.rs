//! The cheap rules of what is taken once or up to a limit.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::state::{State, hold, units};
use super::{Rule, Target};
use crate::wgl::{Answer, Seen};

/// How many sums of unknown amounts are followed.
const SUMS_MAX: usize = 100_000;

fn accepted<'s, 'h>(seen: &'s [Seen<'h>]) -> impl Iterator<Item = &'s Seen<'h>> + Clone {
    seen.iter().filter(|seen| matches!(seen.answer, Answer::Yes(_)))
}

fn ops<'s, 'h: 's>(seen: impl Iterator<Item = &'s Seen<'h>>) -> Vec<u64> {
    seen.map(|seen| seen.op).take(64).collect()
}

fn sum<'s, 'h: 's>(seen: impl Iterator<Item = &'s Seen<'h>>) -> u64 {
    seen.map(|seen| units(seen.args)).fold(0, u64::saturating_add)
}

/// The first that was told no.
fn first_no<'s, 'h>(seen: &'s [Seen<'h>]) -> Option<&'s Seen<'h>> {
    let no = seen.iter().filter(|seen| matches!(seen.answer, Answer::No(..)));
    no.min_by_key(|seen| (seen.returned, seen.op))
}

/// No more is given than there is; what is refused was gone.
pub(super) fn counter(of: &Target<'_, '_>) -> Result<Rule, String> {
    let (limit, seen) = (of.number("limit")?, of.seen);
    let used = u64::try_from(of.number_or("used", 0)).map_err(|_| "used is below 0".to_owned())?;
    let start = State::Counter { limit, used };
    let yes = accepted(seen);
    let taken = sum(yes.clone()).saturating_add(used);
    if limit < taken {
        let text = format!("{taken} units are taken, and the limit is {limit}.");
        return Ok(Rule::Broken(ops(yes), text));
    }
    let single =
        seen.iter().all(|seen| units(seen.args) == 1 && !matches!(seen.answer, Answer::Shown(_)));
    if !single {
        return Ok(Rule::NotAll(Box::new(start)));
    }
    if let Some(no) = first_no(seen) {
        if let Some(late) = yes.clone().find(|yes| no.returned < yes.sent) {
            let text =
                format!("Call {} was refused, and call {} was accepted later.", no.op, late.op);
            return Ok(Rule::Broken(vec![no.op, late.op], text));
        }
        let open = seen
            .iter()
            .filter(|open| matches!(open.answer, Answer::Open) && open.sent <= no.returned);
        if taken.saturating_add(sum(open)) < limit {
            let text =
                format!("Call {} was refused when at most {taken} of {limit} were taken.", no.op);
            return Ok(Rule::Broken(vec![no.op], text));
        }
    }
    let tells = |seen: &Seen<'_>| match seen.answer {
        Answer::Yes(body) | Answer::No(_, body) => {
            body.get("remaining").is_some() || body.get("used").is_some()
        }
        Answer::Shown(_) | Answer::Open => false,
    };
    Ok(if seen.iter().any(tells) { Rule::NotAll(Box::new(start)) } else { Rule::Holds })
}

/// Used once, in time, by whom it is for, up to its amount.
pub(super) fn ticket(of: &Target<'_, '_>) -> Result<Rule, String> {
    let seen = of.seen;
    let yes: Vec<&Seen<'_>> = accepted(seen).collect();
    if 1 < yes.len() {
        let text = format!("It was redeemed {} times.", yes.len());
        return Ok(Rule::Broken(ops(yes.into_iter()), text));
    }
    let expires = of.model.get("expires_at_ns").and_then(Value::as_u64);
    let apart = of.nanos_or_none("clock_difference");
    for seen in &yes {
        if let Some(expires) = expires.filter(|at| at.saturating_add(apart) <= seen.sent) {
            let text = format!("Call {} redeemed it after it had expired ({expires}).", seen.op);
            return Ok(Rule::Broken(vec![seen.op], text));
        }
        if let Some(what) = wrong(of.model, seen.args) {
            let text = format!("Call {} redeemed it with the wrong {what}.", seen.op);
            return Ok(Rule::Broken(vec![seen.op], text));
        }
    }
    for no in seen {
        let Answer::No(code, _) = no.answer else { continue };
        let is = |name: &str, other: &str| {
            let own = of.model.get(name).and_then(Value::as_str);
            own.unwrap_or(other) == code
        };
        let used = seen.iter().any(|earlier| {
            matches!(earlier.answer, Answer::Yes(_) | Answer::Open)
                && earlier.op != no.op
                && earlier.sent <= no.returned
        });
        if is("used_code", "used") && !used {
            let text = format!("Call {} was told it is used, which nobody had done.", no.op);
            return Ok(Rule::Broken(vec![no.op], text));
        }
        let expired = expires.is_some_and(|expires| expires <= no.returned.saturating_add(apart));
        if is("expired_code", "expired") && !expired {
            let text = format!("Call {} was told it has expired, which it had not.", no.op);
            return Ok(Rule::Broken(vec![no.op], text));
        }
        let late = yes.iter().find(|yes| is("used_code", "used") && no.returned < yes.sent);
        if let Some(late) = late {
            let untold = seen
                .iter()
                .any(|open| matches!(open.answer, Answer::Open) && open.sent <= no.returned);
            let how = if untold { ", once more" } else { "" };
            let text = format!(
                "Call {} was told it is used, and call {} redeemed it later{how}.",
                no.op, late.op
            );
            return Ok(Rule::Broken(vec![no.op, late.op], text));
        }
    }
    Ok(Rule::Holds)
}

/// What of a redeem is not as the ticket says.
fn wrong(model: &Value, args: &Value) -> Option<&'static str> {
    let differs = |name: &str| {
        let (own, asked) = (model.get(name), args.get(name));
        own.is_some() && asked.is_some() && own != asked
    };
    let above = || {
        let max = model.get("max_amount").and_then(Value::as_u64);
        let asked = args.get("amount").and_then(Value::as_u64);
        max.zip(asked).is_some_and(|(max, asked)| max < asked)
    };
    if differs("holder") {
        Some("holder")
    } else if differs("shop") {
        Some("shop")
    } else {
        above().then_some("amount")
    }
}

/// What came in and did not go out is there.
pub(super) fn balance(of: &Target<'_, '_>) -> Result<Rule, String> {
    let (seen, floor, initial) = (of.seen, of.number_or("floor", 0), of.number_or("initial", 0));
    let signed = |seen: &Seen<'_>| {
        let amount = i128::from(units(seen.args));
        if seen.verb == "credit" { amount } else { amount.saturating_neg() }
    };
    let known = accepted(seen).map(signed).fold(i128::from(initial), i128::saturating_add);
    let last = seen.iter().filter(|seen| !matches!(seen.answer, Answer::Shown(_)));
    let quiet = last.filter(|seen| seen.returned < u64::MAX).map(|seen| seen.returned).max();
    let open = seen.iter().filter(|seen| matches!(seen.answer, Answer::Open));
    let mut sums = Some(BTreeSet::from([known]));
    for open in open {
        let amount = signed(open);
        sums = sums.filter(|sums| sums.len() < SUMS_MAX).map(|sums| {
            let with = sums.iter().map(|sum| sum.saturating_add(amount));
            with.chain(sums.iter().copied()).collect()
        });
    }
    for read in seen {
        let Answer::Shown(body) = read.answer else { continue };
        let Some(balance) = body.get("balance").and_then(Value::as_i64) else { continue };
        if balance < floor {
            let text = format!("Call {} read {balance}, which is below {floor}.", read.op);
            return Ok(Rule::Broken(vec![read.op], text));
        }
        let is_last = quiet.is_none_or(|quiet| quiet < read.sent);
        if is_last && sums.as_ref().is_some_and(|sums| !sums.contains(&i128::from(balance))) {
            let text = format!(
                "Call {} read {balance} in the end; what was accepted comes to {known}.",
                read.op
            );
            return Ok(Rule::Broken(vec![read.op], text));
        }
    }
    Ok(Rule::NotAll(Box::new(State::Balance { floor, balance: initial })))
}

/// What is set aside and what is taken fit below the limit; a hold ends once.
pub(super) fn holds(of: &Target<'_, '_>) -> Result<Rule, String> {
    let (limit, seen) = (of.number("limit")?, of.seen);
    let mut made: BTreeMap<&str, u64> = BTreeMap::new();
    for create in accepted(seen).filter(|seen| seen.verb == "create") {
        let Some(id) = hold(create) else {
            return Err(format!("call {} made a hold and was told no id", create.op));
        };
        if made.insert(id, units(create.args)).is_some() {
            let text = format!("Two holds were made with the id {id:?}.");
            return Ok(Rule::Broken(vec![create.op], text));
        }
    }
    let mut ended: BTreeMap<&str, u64> = BTreeMap::new();
    let mut captured = 0_u64;
    for end in accepted(seen).filter(|seen| ["capture", "void"].contains(&seen.verb)) {
        let Some(id) = hold(end) else {
            return Err(format!("call {} names no hold", end.op));
        };
        if let Some(other) = ended.insert(id, end.op) {
            let text = format!("Calls {other} and {} both ended the hold {id:?}.", end.op);
            return Ok(Rule::Broken(vec![other, end.op], text));
        }
        let aside = made.get(id).copied();
        let taken = end.args.get("units").and_then(Value::as_u64).or(aside).unwrap_or_default();
        if end.verb == "capture" {
            captured = captured.saturating_add(taken);
            if aside.is_some_and(|aside| aside < taken) {
                let text = format!("Call {} captured {taken} of the hold {id:?}.", end.op);
                return Ok(Rule::Broken(vec![end.op], text));
            }
        }
    }
    let consumed =
        sum(accepted(seen).filter(|seen| !["create", "capture", "void"].contains(&seen.verb)));
    let used = captured.saturating_add(consumed);
    if limit < used {
        let text = format!("{used} units are taken, and the limit is {limit}.");
        return Ok(Rule::Broken(ops(accepted(seen)), text));
    }
    let held = BTreeMap::new();
    Ok(Rule::NotAll(Box::new(State::Holds { limit, used: 0, held, untold: 0 })))
}
