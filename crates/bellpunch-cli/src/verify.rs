//! `bellpunch verify`: recomputes from stored records what limits, tickets and uploads promise.
//!
//! Invariant: nothing here trusts a sum that a rule wrote; each is computed again from the records
//! that do not overwrite each other, and compared. Reads only.

use std::collections::BTreeMap;
use std::process::ExitCode;

use bellpunch::store::{Clock as _, Versioned};
use bellpunch::{Partition, RecordKey, SystemClock, Timestamp};
use serde_json::{Value, json};

use crate::args::{Form, Noise, VerifyArgs};
use crate::failure::Failure;
use crate::stores::{self, Opened, Walk};
use crate::transfer::progress;

mod uploads;

/// Something that cannot be if every rule did what it says.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Finding {
    check: &'static str,
    partition: String,
    record: String,
    expected: String,
    found: String,
}

impl Finding {
    fn to_json(&self) -> Value {
        json!({
            "check": self.check, "partition": self.partition, "record": self.record,
            "expected": self.expected, "found": self.found
        })
    }
}

pub(crate) fn run(args: &VerifyArgs, form: Form, noise: Noise) -> Result<ExitCode, Failure> {
    let opened = stores::open_existing(&args.store)?;
    let blobs = opened.blobs(args.blobs.as_deref().unwrap_or_default());
    let blobs = uploads::Payloads::open(blobs)?;
    let verified = crate::serve::runtime()?.block_on(all(&opened, &blobs, noise));
    opened.close();
    let (findings, records) = verified?;
    for finding in &findings {
        let Finding { check, partition, record, expected, found } = finding;
        match form {
            Form::Json => crate::print(&format!("{}\n", finding.to_json()))?,
            Form::Text => crate::print(&format!(
                "{check}: {record} of partition {partition}: expected {expected}, found {found}\n"
            ))?,
        }
    }
    let count = findings.len();
    match form {
        Form::Json => {
            crate::print(&format!("{}\n", json!({ "records": records, "findings": count })))?;
        }
        Form::Text => crate::print(&format!("{records} records, {count} findings\n"))?,
    }
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

async fn all(
    opened: &Opened,
    payloads: &uploads::Payloads,
    noise: Noise,
) -> Result<(Vec<Finding>, u64), Failure> {
    let store = &*opened.store;
    let bar = progress(noise, opened.report().map(|report| report.records));
    let now = SystemClock::new().now();
    let (mut findings, mut records) = (Vec::new(), 0_u64);
    for partition in stores::partitions(store).await? {
        let mut book = Book::new(&partition, now);
        let mut walk = Walk::new(store, &partition, None);
        loop {
            let page = walk.page().await?;
            if page.is_empty() {
                break;
            }
            for (key, record) in &page {
                book.take(key, record, payloads);
                records = records.saturating_add(1);
                bar.inc(1);
            }
        }
        findings.extend(book.close());
    }
    bar.finish_and_clear();
    Ok((findings, records))
}

/// What is known of the quotas of one partition.
#[derive(Debug, Default)]
struct QuotaSums {
    stored: Option<Value>,
    /// Units of kept charges that were not refunded.
    kept: u128,
    /// Units of open holds.
    held: u128,
}

/// One partition while it is read.
#[derive(Debug)]
struct Book {
    partition: String,
    now: Timestamp,
    quotas: BTreeMap<String, QuotaSums>,
    findings: Vec<Finding>,
}

fn units(value: Option<&Value>) -> u128 {
    match value {
        Some(Value::Number(number)) => number.as_u64().unwrap_or_default().into(),
        Some(Value::String(digits)) => digits.parse().unwrap_or_default(),
        Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => 0,
    }
}

fn time(value: Option<&Value>) -> Option<Timestamp> {
    value.and_then(Value::as_str).and_then(|text| text.parse().ok())
}

impl Book {
    fn new(partition: &Partition, now: Timestamp) -> Self {
        let partition = partition.as_str().to_owned();
        Self { partition, now, quotas: BTreeMap::new(), findings: Vec::new() }
    }

    fn find(&mut self, check: &'static str, record: String, what: (String, String)) {
        let (partition, (expected, found)) = (self.partition.clone(), what);
        self.findings.push(Finding { check, partition, record, expected, found });
    }

    fn take(&mut self, key: &RecordKey, record: &Versioned, payloads: &uploads::Payloads) {
        let name = key.to_string();
        let bytes = record.value.as_deref().unwrap_or_default();
        let value = match serde_json::from_slice::<Value>(bytes) {
            Ok(Value::Object(mut envelope)) if envelope.contains_key("record") => {
                envelope.remove("record").unwrap_or_default()
            }
            Ok(_) | Err(_) => {
                let what = ("a record with its format".to_owned(), "damaged bytes".to_owned());
                return self.find("records_readable", name, what);
            }
        };
        match key.kind.name() {
            "quotas" => {
                self.quotas.entry(key.id.as_str().to_owned()).or_default().stored = Some(value);
            }
            "charges" => self.charge(name, &value),
            "holds" => self.hold(&value),
            "tickets" => self.ticket(&name, &value),
            "uploads" => {
                for (check, expected, found) in payloads.check(&value, self.now) {
                    self.find(check, name.clone(), (expected, found));
                }
            }
            _ => {}
        }
    }

    /// `usage_within_limit`: no charge left more than the limit it was decided under. A capture
    /// may: its hold was a promise, kept also when the limit was lowered.
    fn charge(&mut self, name: String, charge: &Value) {
        let captured = charge.get("hold").is_some();
        for item in charge["items"].as_array().into_iter().flatten() {
            let refunded = units(item["refunded"].get(0));
            let kept = units(item.get("units")).saturating_sub(refunded);
            if let Some(quota) = item.pointer("/target/quota").and_then(Value::as_str) {
                let sums = self.quotas.entry(quota.to_owned()).or_default();
                sums.kept = sums.kept.saturating_add(kept);
            }
            let total = units(item.get("used")).saturating_add(units(item.get("held")));
            let unlimited = item["limit"].as_str() == Some("unlimited");
            let limit = units(item.get("limit"));
            if !captured && !unlimited && limit < total {
                let what = (format!("at most {limit} after it"), total.to_string());
                self.find("usage_within_limit", name.clone(), what);
            }
        }
    }

    fn hold(&mut self, hold: &Value) {
        let open = hold.get("end").is_none_or(Value::is_null)
            && time(hold.get("expires_at")).is_some_and(|expires_at| self.now < expires_at);
        for item in hold["items"].as_array().into_iter().flatten().filter(|_| open) {
            if let Some(quota) = item.pointer("/item/quota").and_then(Value::as_str) {
                let sums = self.quotas.entry(quota.to_owned()).or_default();
                sums.held = sums.held.saturating_add(units(item.get("held")));
            }
        }
    }

    /// One terminal status, reached once, with the fields of that one.
    fn ticket(&mut self, name: &str, ticket: &Value) {
        let status = ticket["status"].as_str().unwrap_or_default();
        let used = ticket.get("used").filter(|used| !used.is_null());
        let closed = ticket.get("closed").filter(|closed| !closed.is_null());
        let expected = match status {
            "pending" | "approved" => (false, false),
            "used" => (true, false),
            _ => (false, true),
        };
        if expected != (used.is_some(), closed.is_some()) {
            let fields = |(used, closed)| format!("{status}: used {used}, closed {closed}");
            let what = (fields(expected), fields((used.is_some(), closed.is_some())));
            self.find("ticket_terminal_fields", name.to_owned(), what);
        }
        let Some(used) = used else { return };
        let (used_at, expires_at) = (time(used.get("at")), time(ticket.get("expires_at")));
        let approved_at = time(ticket.get("approved_at"));
        if !(approved_at.is_some() && approved_at <= used_at && used_at < expires_at) {
            let what = (
                "approved_at <= used_at < expires_at".to_owned(),
                format!("{} <= {} < {}", ticket["approved_at"], used["at"], ticket["expires_at"]),
            );
            self.find("ticket_times", name.to_owned(), what);
        }
        let amount = |value: &Value| units(value.get("amount"));
        let (taken, most) = (amount(&used["amount"]), amount(&ticket["max_amount"]));
        if most < taken {
            let what = (format!("at most {most}"), taken.to_string());
            self.find("ticket_amount", name.to_owned(), what);
        }
    }

    fn close(mut self) -> Vec<Finding> {
        for (id, sums) in std::mem::take(&mut self.quotas) {
            let name = format!("quotas/{id}");
            let Some(quota) = &sums.stored else {
                let what = ("a quota".to_owned(), "charges or holds without one".to_owned());
                self.find("usage_matches_charges", name, what);
                continue;
            };
            let total = |name: &str| units(quota["totals"].get(name));
            let left = units(quota.get("used")).saturating_add(total("forgiven"));
            let events = total("opening").saturating_add(total("pruned")).saturating_add(sums.kept);
            if left != events {
                let what = (
                    format!("used + forgiven = opening + pruned + kept charges = {events}"),
                    left.to_string(),
                );
                self.find("usage_matches_charges", name.clone(), what);
            }
            let held = quota["holds"].as_array().into_iter().flatten().filter(|hold| {
                time(hold.get("expires_at")).is_some_and(|expires_at| self.now < expires_at)
            });
            let held = held.fold(0_u128, |sum, hold| sum.saturating_add(units(hold.get("units"))));
            if held != sums.held {
                let what = (format!("{} in open holds", sums.held), held.to_string());
                self.find("held_matches_holds", name, what);
            }
        }
        self.findings
    }
}

#[cfg(test)]
mod tests;
