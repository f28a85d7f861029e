//! Numbers of series, and chains of documents.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{each, gather, names, seals};
use crate::audit::{Book, Finding, Stored, finding, holds, number, same, text};

const UNIQUE: &str = "number_unique";
const GAP: &str = "number_without_gap";
const CHAIN: &str = "chain_intact";

/// The kinds that have a number of a series.
pub(super) const NUMBERED: [&str; 7] =
    ["clients", "retainers", "invoices", "credit_notes", "payments", "refunds", "transfers"];

/// A number with its place.
struct Given<'a> {
    stored: &'a Stored,
    series: &'a str,
    scope: &'a str,
    period: &'a str,
    mark: &'a str,
    text: &'a str,
    value: Option<u128>,
}

impl<'a> Given<'a> {
    fn of(stored: &'a Stored) -> Option<Self> {
        let [series, scope, period, mark] = names(stored.key.id.as_str(), 4)?.try_into().ok()?;
        let value = stored.record.get("value").and_then(number);
        let text = stored.text("text")?;
        Some(Self { stored, series, scope, period, mark, text, value })
    }
}

pub(super) fn check(book: &Book) -> Vec<Finding> {
    let given: Vec<Given<'_>> = book.all("numbers").filter_map(Given::of).collect();
    [
        each(book, "numbers", |stored| of_number(book, &Given::of(stored)?)),
        repeated(&given),
        dates(&given),
        counters(book, &given),
        documents(book, &given),
        each(book, "chains", |chain| of_chain(book, chain)),
    ]
    .concat()
}

/// A number is what its template makes of its place.
fn of_number(book: &Book, given: &Given<'_>) -> Option<Vec<Finding>> {
    let stored = given.stored;
    let series = book.one("series", given.series);
    let template = series.and_then(|series| series.text("template"));
    let right = template.and_then(|template| rendered(template, given));
    let mut findings: Vec<Finding> =
        same(UNIQUE, stored, (right.as_deref(), Some(given.text))).into_iter().collect();
    let digits = given.value.map(|value| format!("{value:016}"));
    let status = stored.text("status")?;
    let claims = [
        (digits.is_none_or(|digits| digits == given.mark), "the place of its value"),
        (stored.has("void") == (status == "void"), "void if and only if its status says so"),
        (stored.has("first") == (status == "imported"), "others with it only if imported"),
        (stored.has("document") != (status == "imported"), "a document unless imported"),
    ];
    findings.extend(claims.into_iter().filter_map(|claim| holds(UNIQUE, stored, claim)));
    if let (Some(template), Some(date)) = (template, stored.text("date")) {
        let period = period_of(template, date)?;
        let period = if period.is_empty() { "-".to_owned() } else { period };
        findings.extend(same(UNIQUE, stored, (period.as_str(), given.period)));
    }
    Some(findings)
}

/// The fields of a template: literals, and what stands in braces.
fn fields(template: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    template.split_inclusive('}').map(|part| match part.split_once('{') {
        Some((literal, field)) => (literal, field.strip_suffix('}')),
        None => (part, None),
    })
}

fn digits_of(field: &str) -> Option<usize> {
    match field {
        "YYYY" => Some(4),
        "YY" | "MM" | "DD" => Some(2),
        _ => None,
    }
}

fn rendered(template: &str, given: &Given<'_>) -> Option<String> {
    let mut text = String::new();
    let mut period = given.period;
    for (literal, field) in fields(template) {
        text.push_str(literal);
        let Some(field) = field else { continue };
        if let Some(digits) = digits_of(field) {
            let (printed, rest) = period.split_at_checked(digits)?;
            text.push_str(printed);
            period = rest;
        } else if field == "scope" {
            text.push_str(given.scope);
        } else if field == "R" {
            text.push_str(given.mark);
        } else {
            let width: usize = field.strip_prefix("N:")?.parse().ok()?;
            text.push_str(&format!("{:0width$}", given.value?));
        }
    }
    Some(text)
}

/// What a template prints of a date like `2025-06-15`.
fn period_of(template: &str, date: &str) -> Option<String> {
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let mut period = String::new();
    for (_, field) in fields(template) {
        match field {
            Some("YYYY") => period.push_str(year),
            Some("YY") => period.push_str(year.get(2..)?),
            Some("MM") => period.push_str(month),
            Some("DD") => period.push_str(day),
            Some(_) | None => {}
        }
    }
    Some(period)
}

/// No text twice in one series and scope.
fn repeated(given: &[Given<'_>]) -> Vec<Finding> {
    let mut texts: BTreeMap<(&str, &str, &str), &Given<'_>> = BTreeMap::new();
    let mut findings = Vec::new();
    for one in given {
        if let Some(first) = texts.insert((one.series, one.scope, one.text), one) {
            let expected = format!("a text of its own, not that of {}", first.stored.key);
            findings.push(finding(UNIQUE, one.stored, expected, one.text));
        }
    }
    findings
}

/// In a series, values rise and dates do not fall in the order of entries.
fn dates(given: &[Given<'_>]) -> Vec<Finding> {
    let mut order: BTreeMap<&str, Vec<&Given<'_>>> = BTreeMap::new();
    for one in given.iter().filter(|one| one.stored.has("date")) {
        order.entry(one.series).or_default().push(one);
    }
    let mut findings = Vec::new();
    for numbers in order.values_mut() {
        // A command may take several: their values tell which came first.
        numbers.sort_by_key(|one| (one.stored.number("seq"), one.value));
        let mut last = "";
        let mut values: BTreeMap<(&str, &str), u128> = BTreeMap::new();
        for one in numbers.iter() {
            let date = one.stored.text("date").unwrap_or_default();
            let claim = (last <= date, "a date not before the one before");
            findings.extend(holds(UNIQUE, one.stored, claim));
            last = date;
            let Some(value) = one.value else { continue };
            let before = values.insert((one.scope, one.period), value);
            let rises = before.is_none_or(|before| before < value);
            findings.extend(holds(UNIQUE, one.stored, (rises, "a value above the one before")));
        }
    }
    findings
}

/// A counter counts the values that are there; of a gapless series all of them are.
fn counters(book: &Book, given: &[Given<'_>]) -> Vec<Finding> {
    let mut values: BTreeMap<(&str, &str, &str), Vec<&Given<'_>>> = BTreeMap::new();
    for one in given.iter().filter(|one| one.value.is_some()) {
        values.entry((one.series, one.scope, one.period)).or_default().push(one);
    }
    let findings = each(book, "series_counters", |counter| {
        let [series, scope, period] = names(counter.key.id.as_str(), 3)?.try_into().ok()?;
        let found = values.get(&(series, scope, period)).map_or(&[][..], Vec::as_slice);
        of_counter(book.one("series", series)?, counter, found)
    });
    let mut lost = Vec::new();
    for ((series, scope, period), numbers) in &values {
        let id = format!("{}:{series}{}:{scope}{period}", series.len(), scope.len());
        if let (None, Some(one)) = (book.one("series_counters", &id), numbers.first()) {
            lost.push(finding(GAP, one.stored, format!("a counter {id}"), "none"));
        }
    }
    [findings, lost].concat()
}

fn of_counter(series: &Stored, counter: &Stored, numbers: &[&Given<'_>]) -> Option<Vec<Finding>> {
    let last = counter.number("last")?;
    let start = series.number("start")?;
    let gapless = series.text("class")? == "gapless";
    let mut findings = Vec::new();
    let mut next = start;
    let mut given = 0_u128;
    for one in numbers {
        let value = one.value?;
        let first = match one.stored.record.get("first") {
            Some(first) => number(first)?,
            None => {
                given = given.saturating_add(1);
                value
            }
        };
        if first != next && (gapless || first < next) {
            let expected = format!("the value {next}");
            findings.push(finding(GAP, one.stored, expected, format!("the value {first}")));
        }
        next = value.saturating_add(1);
    }
    findings.extend(same(GAP, counter, (next, last.saturating_add(1))));
    findings.extend(same(GAP, counter, (given, counter.number("given")?)));
    Some(findings)
}

/// Each document has the number that the series gave it, and the other way round.
fn documents(book: &Book, given: &[Given<'_>]) -> Vec<Finding> {
    let used: BTreeSet<(&str, &str)> =
        given.iter().filter_map(|one| Some((one.stored.text("document")?, one.text))).collect();
    let mut known: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut findings = Vec::new();
    for kind in NUMBERED {
        gather(book, kind, |document| {
            let pair = (document.key.id.as_str(), document.text("number")?);
            known.insert(pair);
            let claim = (used.contains(&pair), "a number that its series gave it");
            findings.extend(holds(UNIQUE, document, claim));
            Some(())
        });
    }
    for one in given {
        let elsewhere = one.stored.record.get("elsewhere").and_then(Value::as_bool);
        let Some(document) = one.stored.text("document") else { continue };
        if elsewhere != Some(true) && !known.contains(&(document, one.text)) {
            let expected = format!("a document {document} with this number");
            findings.push(finding(UNIQUE, one.stored, expected, "none"));
        }
    }
    findings
}

/// Counters 1 to the last, each document with the hash of the one before.
fn of_chain(book: &Book, chain: &Stored) -> Option<Vec<Finding>> {
    let name = chain.key.id.as_str();
    let prefix = format!("{}:{name}", name.len());
    let last = chain.number("counter")?;
    let auto = chain.text("seal")? == "auto";
    let mut hash = Some(chain.text("genesis_hash")?);
    let (mut counter, mut document) = (0_u128, None);
    let mut findings = Vec::new();
    let all = book.all("chain_documents");
    for one in all.filter(|one| one.key.id.as_str().starts_with(&prefix)) {
        let [_, place] = names(one.key.id.as_str(), 2)?.try_into().ok()?;
        counter = counter.saturating_add(1);
        findings.extend(same(CHAIN, one, (format!("{counter:016}").as_str(), place)));
        // Only the last one may wait for its seal.
        findings.extend(same(CHAIN, one, (hash, one.text("prev_hash"))));
        if auto {
            let sealed = (name, place.parse().ok()?, one);
            findings.extend(seals::check(book, CHAIN, sealed, hash.unwrap_or_default()));
        }
        hash = one.text("hash");
        document = one.text("document");
        let sealed = (!auto || hash.is_some(), "a seal of its own");
        findings.extend(holds(CHAIN, one, sealed));
    }
    findings.extend(same(CHAIN, chain, (counter, last)));
    let head = if last == 0 { chain.text("head").or(hash) } else { chain.text("head") };
    findings.extend(same(CHAIN, chain, (hash, head)));
    findings.extend(same(CHAIN, chain, (document, chain.text("document"))));
    // What a document carries is its place.
    for document in NUMBERED.iter().flat_map(|kind| book.all(kind)) {
        let Some(place) = document.record.get("chain") else { continue };
        if text(place, "chain") == Some(name) {
            let id = format!("{prefix}{:016}", number(place.get("counter")?)?);
            let found = book.one("chain_documents", &id);
            let is_it = found.is_some_and(|found| {
                found.text("document") == Some(document.key.id.as_str())
                    && found.text("prev_hash") == text(place, "prev_hash")
            });
            findings.extend(holds(CHAIN, document, (is_it, "its place in the chain")));
        }
    }
    Some(findings)
}
