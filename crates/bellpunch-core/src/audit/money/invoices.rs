//! Invoices, what was paid of them, and credit notes.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jiff::civil::Date;
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde_json::Value;

use super::{Ledger, add, each, equal, gather, names, sum};
use crate::audit::{Book, Finding, Stored, holds, list, number, same, text};

const CHECK: &str = "invoice_paid_equals_payments";

/// What is known of invoices beside their own records.
#[derive(Default)]
struct Known<'a> {
    /// What receivables say that is owed.
    owed: BTreeMap<&'a str, i128>,
    /// What was allocated, and how many places there are.
    paid: BTreeMap<&'a str, (i128, u128)>,
    /// What credit notes took off, with VAT.
    credited: BTreeMap<&'a str, i128>,
    /// The same by rate: net and VAT.
    rates: BTreeMap<(&'a str, u128), (i128, i128)>,
}

pub(super) fn check(book: &Book, ledger: &Ledger<'_>) -> Vec<Finding> {
    let mut known = Known::default();
    for leg in ledger.of_all("sys:receivable:") {
        if let Some(invoice) = leg.about {
            add(&mut known.owed, invoice, leg.moved.saturating_neg());
        }
    }
    gather(book, "allocations", |allocation| {
        let [invoice, _] = names(allocation.key.id.as_str(), 2)?.try_into().ok()?;
        let paid = known.paid.entry(invoice).or_default();
        paid.0 = paid.0.saturating_add(sum(&allocation.record, "amount")?);
        paid.1 = paid.1.saturating_add(1);
        Some(())
    });
    gather(book, "credit_notes", |note| {
        let invoice = note.text("invoice")?;
        add(&mut known.credited, invoice, sum(&note.record, "total")?);
        for rate in note.list("rates") {
            let of_rate = known.rates.entry((invoice, number(rate.get("vat_bp")?)?)).or_default();
            of_rate.0 = of_rate.0.saturating_add(sum(rate, "net")?);
            of_rate.1 = of_rate.1.saturating_add(sum(rate, "vat")?);
        }
        Some(())
    });
    [
        each(book, "invoices", |invoice| {
            let mut findings = totals(invoice)?;
            findings.extend(amounts(invoice, &known)?);
            findings.extend(status(invoice)?);
            findings.extend(time_to_pay(book, invoice)?);
            Some(findings)
        }),
        each(book, "allocations", |allocation| of_allocation(book, allocation)),
        each(book, "credit_notes", |note| of_note(book, note)),
    ]
    .concat()
}

/// `value * by / per`, rounded half up.
fn half_up(value: i128, by: i128, per: i128) -> Option<i128> {
    value.checked_mul(by)?.checked_add(per.checked_div(2)?)?.checked_div_euclid(per)
}

fn tax(net: i128, vat_bp: u128) -> Option<i128> {
    half_up(net, i128::try_from(vat_bp).ok()?, 10_000)
}

/// Totals follow from lines.
fn totals(invoice: &Stored) -> Option<Vec<Finding>> {
    let mut findings = Vec::new();
    let (mut worth, mut discounts) = (Vec::new(), Vec::new());
    let mut nets: BTreeMap<u128, i128> = BTreeMap::new();
    for (place, line) in invoice.list("lines").iter().enumerate() {
        let quantity = sum(line, "quantity_milli")?;
        let whole = half_up(sum(line, "unit_price")?, quantity, 1_000)?;
        let (off, net) = (sum(line, "discount")?, sum(line, "net")?);
        let of = format!("net of line {place}");
        findings.extend(equal(CHECK, invoice, (whole.saturating_sub(off), net, &of)));
        add(&mut nets, number(line.get("vat_bp")?)?, net);
        worth.push(whole);
        discounts.push(off);
    }
    let discount = sum(&invoice.record, "discount")?;
    findings.extend(same(CHECK, invoice, (spread(discount, &worth)?, discounts)));
    if let Some(asked) = invoice.record.get("asked_discount") {
        let asked = match (asked.get("bp"), asked.get("amount")) {
            (Some(bp), _) => half_up(all(&worth), i128::from(bp.as_u64()?), 10_000)?,
            (None, Some(money)) => sum(money, "amount")?,
            (None, None) => return None,
        };
        findings.extend(equal(CHECK, invoice, (asked, discount, "discount")));
    }
    let (mut expected, mut found) = (BTreeMap::new(), BTreeMap::new());
    for (vat_bp, net) in nets {
        expected.insert(vat_bp, (net, tax(net, vat_bp)?));
    }
    for rate in invoice.list("rates") {
        found.insert(number(rate.get("vat_bp")?)?, (sum(rate, "net")?, sum(rate, "vat")?));
    }
    let net = all(expected.values().map(|(net, _)| net));
    let vat = all(expected.values().map(|(_, vat)| vat));
    findings.extend(same(CHECK, invoice, (expected, found)));
    for (name, expected) in [("net", net), ("vat", vat), ("total", net.saturating_add(vat))] {
        findings.extend(equal(CHECK, invoice, (expected, sum(&invoice.record, name)?, name)));
    }
    Some(findings)
}

fn all<'a>(parts: impl IntoIterator<Item = &'a i128>) -> i128 {
    parts.into_iter().copied().fold(0, i128::saturating_add)
}

/// Parts of a sum by worth: rounded down, and one more for each of the largest remainders.
fn spread(sum: i128, worth: &[i128]) -> Option<Vec<i128>> {
    let whole = all(worth);
    if whole == 0 {
        return Some(vec![0; worth.len()]);
    }
    let mut parts = Vec::new();
    let mut order = Vec::new();
    for (place, part) in worth.iter().enumerate() {
        let product = part.checked_mul(sum)?;
        parts.push(product.checked_div(whole)?);
        order.push((product.checked_rem(whole)?.checked_neg()?, place));
    }
    order.sort_unstable();
    let left = usize::try_from(sum.checked_sub(all(&parts))?).ok()?;
    for (_, place) in order.into_iter().take(left) {
        let part = parts.get_mut(place)?;
        *part = part.checked_add(1)?;
    }
    Some(parts)
}

/// What was paid, credited, and is owed.
fn amounts(invoice: &Stored, known: &Known<'_>) -> Option<Vec<Finding>> {
    let id = invoice.key.id.as_str();
    let of = |name| sum(&invoice.record, name);
    let (paid, places) = known.paid.get(id).copied().unwrap_or_default();
    let credited = known.credited.get(id).copied().unwrap_or_default();
    let owed = known.owed.get(id).copied().unwrap_or_default();
    let due = due(invoice)?;
    let expected = if stage(invoice)? == "issued" { due } else { 0 };
    let mut findings: Vec<Finding> = [
        equal(CHECK, invoice, (paid, of("amount_paid")?, "amount_paid")),
        equal(CHECK, invoice, (credited, of("credited")?, "credited")),
        equal(CHECK, invoice, (owed, expected, "balance_due")),
        holds(CHECK, invoice, (0 <= due, "0 <= balance_due")),
        same(CHECK, invoice, (places, invoice.number("allocations")?)),
    ]
    .into_iter()
    .flatten()
    .collect();
    for rate in invoice.list("rates") {
        let vat_bp = number(rate.get("vat_bp")?)?;
        let (net, vat) = known.rates.get(&(id, vat_bp)).copied().unwrap_or_default();
        let names = [format!("credited at {vat_bp}"), format!("VAT credited at {vat_bp}")];
        let [of_net, of_vat] = &names;
        findings.extend(equal(CHECK, invoice, (net, sum(rate, "credited_net")?, of_net)));
        findings.extend(equal(CHECK, invoice, (tax(net, vat_bp)?, vat, of_vat)));
        let fits = net <= sum(rate, "net")?;
        findings.extend(holds(CHECK, invoice, (fits, "no more credited than invoiced")));
    }
    Some(findings)
}

fn stage(invoice: &Stored) -> Option<&str> {
    text(invoice.record.get("stage")?, "is")
}

fn due(invoice: &Stored) -> Option<i128> {
    let taken = ["credited", "written_off", "amount_paid"];
    let mut due = sum(&invoice.record, "total")?;
    for name in taken {
        due = due.checked_sub(sum(&invoice.record, name)?)?;
    }
    Some(due)
}

/// An invoice has what its status says.
fn status(invoice: &Stored) -> Option<Vec<Finding>> {
    let (stage, due) = (stage(invoice)?, due(invoice)?);
    let is_document = matches!(stage, "issued" | "void");
    let untouched = || {
        let names = ["amount_paid", "credited", "written_off"];
        names.iter().all(|name| sum(&invoice.record, name) == Some(0))
    };
    let is_settled = stage == "issued" && due == 0;
    let claims = [
        (matches!(stage, "draft" | "discarded" | "issued" | "void"), "a stage"),
        (
            ["number", "issued_at", "issue_date"]
                .iter()
                .all(|name| invoice.has(name) == is_document),
            "a number and a date if and only if it was issued",
        ),
        (stage == "issued" || untouched(), "nothing applied to what is not issued"),
        (invoice.has("paid_at") == is_settled, "paid_at if and only if nothing is due"),
    ];
    Some(claims.into_iter().filter_map(|claim| holds(CHECK, invoice, claim)).collect())
}

fn zone(name: &str) -> Option<TimeZone> {
    static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);
    DateTimeParser::new().parse_time_zone_with(&ZONES, name).ok()
}

/// The time to pay what was issued ends with its day, in the zone of its series: the instant before
/// is of that day, and it itself is not.
fn time_to_pay(book: &Book, invoice: &Stored) -> Option<Option<Finding>> {
    let series = book.one("series", invoice.text("series")?);
    let Some(series) = series.filter(|_| invoice.has("number")) else { return Some(None) };
    let zone = zone(series.text("zone")?)?;
    let due_on: Date = invoice.text("due_on")?.parse().ok()?;
    let due_at = invoice.time("due_at")?.to_jiff();
    let before = due_at.checked_sub(jiff::Span::new().nanoseconds(1)).ok()?;
    let date = |at: jiff::Timestamp| zone.to_datetime(at).date();
    let ends_it = date(before) <= due_on && due_on < date(due_at);
    let words = "due_at at the end of due_on in the zone of its series";
    Some(holds(CHECK, invoice, (ends_it, words)))
}

/// The other end of an allocation has as much of it.
fn of_allocation(book: &Book, allocation: &Stored) -> Option<Vec<Finding>> {
    let [invoice, ordinal] = names(allocation.key.id.as_str(), 2)?.try_into().ok()?;
    let (ordinal, amount) = (ordinal.parse().ok()?, sum(&allocation.record, "amount")?);
    let source = allocation.record.get("source")?;
    let there = match (text(source, "payment"), text(source, "consumption")) {
        (Some(payment), _) => book.one("payments", payment).map(|payment| {
            let parts = payment.list("parts").iter();
            let of_it = parts.filter(|part| is_there(part, (invoice, ordinal)));
            of_it.filter_map(|part| sum(part, "amount")).fold(0, i128::saturating_add)
        }),
        (None, Some(consumption)) => {
            book.one("consumptions", consumption).and_then(|consumption| {
                let [paid, place] = list(&consumption.record, "invoice") else { return None };
                let is_it = paid.as_str() == Some(invoice) && place.as_u64() == Some(ordinal);
                let restored = sum(&consumption.record, "restored")?;
                let left = sum(&consumption.record, "amount")?.checked_sub(restored)?;
                is_it.then_some(left)
            })
        }
        (None, None) => return None,
    };
    let mut findings: Vec<Finding> =
        same(CHECK, allocation, (there, Some(amount))).into_iter().collect();
    let known = book.one("invoices", invoice);
    let place = known.and_then(|invoice| invoice.number("allocations"));
    let numbered = place.is_some_and(|last| 1 <= ordinal && u128::from(ordinal) <= last);
    findings.extend(holds(CHECK, allocation, (numbered, "a place of an invoice")));
    Some(findings)
}

/// Whether a part of a payment is at this place of an invoice.
fn is_there(part: &Value, (invoice, ordinal): (&str, u64)) -> bool {
    let target = part.get("target").and_then(|target| text(target, "invoice"));
    target == Some(invoice) && part.get("ordinal").and_then(Value::as_u64) == Some(ordinal)
}

/// A credit note adds up.
fn of_note(book: &Book, note: &Stored) -> Option<Vec<Finding>> {
    let (mut net, mut vat) = (0_i128, 0_i128);
    for rate in note.list("rates") {
        net = net.saturating_add(sum(rate, "net")?);
        vat = vat.saturating_add(sum(rate, "vat")?);
    }
    let mut findings = Vec::new();
    for (name, expected) in [("net", net), ("vat", vat), ("total", net.saturating_add(vat))] {
        findings.extend(equal(CHECK, note, (expected, sum(&note.record, name)?, name)));
    }
    let there = book.one("invoices", note.text("invoice")?).is_some();
    findings.extend(holds(CHECK, note, (there, "an invoice")));
    Some(findings)
}
