//! Quotas, counters, holds and charges.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Book, Finding, Stored, finding, limit, number, same, text, time};
use crate::{Key, RecordId};

pub(super) fn check(book: &mut Book) {
    book.each("quotas", quota);
    book.each("counters", held);
    book.each("inline_counters", held);
    book.each("holds", hold);
    book.each("charges", charge);
    book.each("key_counts", keys);
}

fn quota(book: &Book, quota: &Stored) -> Option<Vec<Finding>> {
    let used = quota.number("used")?;
    let totals = quota.record.get("totals");
    // What is 0 is not stored.
    let total = |name| totals.and_then(|totals| totals.get(name)).map_or(Some(0), number);
    let (opening, forgiven) = (total("opening")?, total("forgiven")?);
    let taken = opening.checked_add(total("charged")?)?;
    let given = total("refunded")?.checked_add(forgiven)?;
    // Compared as sums, so that nothing is subtracted from what may be too small.
    let balance = same("usage_matches_totals", quota, (taken, used.checked_add(given)?));
    let balance =
        balance.map(|_| finding("usage_matches_totals", quota, taken.saturating_sub(given), used));
    let mut findings: Vec<Finding> = balance.into_iter().collect();
    if quota.text("charges") != Some("none") {
        let charged = charged_to(book, quota.key.id.as_str())?;
        let expected = opening.checked_add(total("pruned")?)?.checked_add(charged)?;
        let pair = (expected, used.checked_add(forgiven)?);
        findings.extend(same("usage_matches_charges", quota, pair));
    }
    findings.extend(held(book, quota)?);
    Some(findings)
}

/// Units of a quota in the charges that are kept, less what was given back of them.
fn charged_to(book: &Book, quota: &str) -> Option<u128> {
    let mut sum = 0_u128;
    for item in book.all("charges").flat_map(|charge| charge.list("items")) {
        if item.get("target").and_then(|target| text(target, "quota")) == Some(quota) {
            let units = number(item.get("units")?)?;
            sum = sum.checked_add(units.checked_sub(refunded(item)?)?)?;
        }
    }
    Some(sum)
}

fn refunded(item: &Value) -> Option<u128> {
    match item.get("refunded") {
        None => Some(0),
        Some(refunded) => number(refunded.as_array()?.first()?),
    }
}

/// Open holds: how much until when, by hold.
type Open = BTreeMap<String, (u128, String)>;

/// The open holds that a quota or counter counts are those that hold something of it.
fn held(book: &Book, account: &Stored) -> Option<Vec<Finding>> {
    let mut found = Open::new();
    for hold in account.list("holds") {
        let (id, end) = (text(hold, "id")?, time(hold, "expires_at")?);
        if book.now < end {
            let entry = found.entry(id.to_owned()).or_insert_with(|| (0, end.to_string()));
            entry.0 = entry.0.checked_add(number(hold.get("units")?)?)?;
        }
    }
    let mut expected = Open::new();
    for hold in book.all("holds") {
        let end = hold.time("expires_at")?;
        if hold.has("end") || end <= book.now {
            continue;
        }
        for held in hold.list("items") {
            let units = number(held.get("held")?)?;
            if account_of(held.get("item")?)? == (account.key.kind.name(), account.key.id.clone())
                && 0 < units
            {
                let id = hold.key.id.as_str().to_owned();
                let entry = expected.entry(id).or_insert_with(|| (0, end.to_string()));
                entry.0 = entry.0.checked_add(units)?;
            }
        }
    }
    found.retain(|_, (units, _)| 0 < *units);
    Some(same("held_matches_holds", account, (expected, found)).into_iter().collect())
}

/// The record that an item of a hold is counted in.
fn account_of(item: &Value) -> Option<(&'static str, RecordId)> {
    if let Some(quota) = text(item, "quota") {
        return Some(("quotas", RecordId::stored(quota)));
    }
    let (policy, key) = (Key::new(text(item, "policy")?).ok()?, Key::new(text(item, "key")?).ok()?);
    let kind = if item.get("terms").is_some() { "inline_counters" } else { "counters" };
    Some((kind, RecordId::compound(&[&policy, &key])))
}

fn hold(book: &Book, hold: &Stored) -> Option<Vec<Finding>> {
    let mut findings = Vec::new();
    let open = !hold.has("end") && book.now < hold.time("expires_at")?;
    for held in hold.list("items").iter().filter(|_| open) {
        let (kind, id) = account_of(held.get("item")?)?;
        let counted = 0 < number(held.get("held")?)?;
        if counted && book.one(kind, id.as_str()).is_none() {
            let account = format!("{kind}/{}", id.as_str());
            findings.push(finding("held_matches_holds", hold, account, "no such record"));
        }
    }
    let captured = hold.record.get("end").and_then(|end| end.get("captured"));
    let charge = captured.and_then(|end| text(end, "charge"));
    // A charge that is no longer kept is gone, and its hold may still be here.
    if let Some(kept) = charge.and_then(|id| book.one("charges", id)) {
        let pair = (Some(hold.key.id.as_str()), kept.text("hold"));
        findings.extend(same("captures_match_charges", kept, pair));
    }
    Some(findings)
}

fn charge(book: &Book, charge: &Stored) -> Option<Vec<Finding>> {
    let mut findings = Vec::new();
    let hold = charge.text("hold");
    for item in charge.list("items") {
        let used = number(item.get("used")?)?.checked_add(number(item.get("held")?)?)?;
        let limit = limit(item.get("limit")?)?;
        if hold.is_none() && limit.is_some_and(|limit| limit < used) {
            let most = format!("at most {limit:?}");
            findings.push(finding("usage_within_limit", charge, most, used));
        }
        let (units, back) = (number(item.get("units")?)?, refunded(item)?);
        if units < back {
            let most = format!("at most {units} given back");
            findings.push(finding("usage_matches_charges", charge, most, back));
        }
    }
    // A hold is kept for some days after its end, a charge often for longer.
    if let Some(hold) = hold.and_then(|id| book.one("holds", id)) {
        let captured = hold.record.get("end").and_then(|end| end.get("captured"));
        let named = captured.and_then(|end| text(end, "charge"));
        let pair = (Some(charge.key.id.as_str()), named);
        findings.extend(same("captures_match_charges", hold, pair));
    }
    Some(findings)
}

/// A policy that bounds its keys counts those of its epoch.
fn keys(book: &Book, count: &Stored) -> Option<Vec<Finding>> {
    let policy = book.one("policies", count.key.id.as_str());
    let terms = |policy: &Stored| policy.list("changes").last()?.get("terms").cloned();
    let bounded = policy.and_then(terms).is_some_and(|terms| terms.get("max_keys").is_some());
    if !bounded {
        return Some(Vec::new());
    }
    let epoch = count.record.get("epoch")?;
    let prefix = RecordId::prefix(&[&Key::new(count.key.id.as_str()).ok()?]);
    let of_policy = |counter: &&Stored| {
        counter.key.id.as_str().starts_with(&prefix)
            && counter.record.get("policy_epoch") == Some(epoch)
    };
    let live = u128::try_from(book.all("counters").filter(of_policy).count()).ok()?;
    let pair = (live, count.number("count")?);
    Some(same("keys_match_counters", count, pair).into_iter().collect())
}
