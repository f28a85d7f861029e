//! `bellpunch verify`: recomputes from stored records what limits, tickets, uploads and the book
//! promise; or judges a [history](history) of what clients saw.
//!
//! Invariant: nothing here trusts a sum that a rule wrote. The core's audit computes each again
//! from the records that do not overwrite each other; what it cannot see, the bytes of payloads, is
//! read here. Reads only.

use std::process::ExitCode;

use bellpunch::audit::{Finding, Stored, audit};
use bellpunch::store::{Clock as _, Store, Versioned};
use bellpunch::{Partition, RecordKey, SystemClock, Version};
use serde_json::json;

use crate::args::{Form, Noise, VerifyArgs};
use crate::config::Settings;
use crate::digest::{self, Item, Settling};
use crate::failure::Failure;
use crate::stores::{self, Opened};
use crate::transfer::progress;

mod history;
mod uploads;

/// Something that cannot be if every rule did what it says.
#[derive(Debug, Eq, PartialEq)]
struct Found {
    check: &'static str,
    record: String,
    version: Version,
    expected: String,
    found: String,
}

impl From<Finding> for Found {
    fn from(finding: Finding) -> Self {
        let Finding { check, subject: record, version, expected, found, .. } = finding;
        Self { check, record, version, expected, found }
    }
}

impl Found {
    fn shown(&self, partition: &Partition, form: Form) -> String {
        let Self { check, record, version, expected, found } = self;
        match form {
            Form::Json => json!({
                "check": check, "partition": partition, "record": record, "version": version,
                "expected": expected, "found": found
            })
            .to_string(),
            Form::Text => format!(
                "{check}: {record} of partition {partition} at version {version}: \
                 expected {expected}, found {found}"
            ),
        }
    }
}

pub(crate) fn run(args: &VerifyArgs, form: Form, noise: Noise) -> Result<ExitCode, Failure> {
    if let Some(path) = &args.history {
        return history::run(path, form);
    }
    let settings = Settings::of_store(&args.layers)?;
    let setting = args.blobs.as_ref().unwrap_or(&settings.server.uploads.blobs);
    let (verified, opened) = crate::serve::runtime()?.block_on(async {
        let opened = stores::open_existing(&settings.store).await?;
        let verified = verify(&opened, setting, noise).await;
        opened.hang_up().await;
        Ok::<_, Failure>((verified, opened))
    })?;
    opened.close();
    let (findings, records) = verified?;
    for (partition, found) in &findings {
        crate::print(&format!("{}\n", found.shown(partition, form)))?;
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

async fn verify(
    opened: &Opened,
    setting: &str,
    noise: Noise,
) -> Result<(Vec<(Partition, Found)>, u64), Failure> {
    let blobs = uploads::Payloads::open(opened.blobs(setting))?;
    all(opened, &blobs, noise).await
}

async fn all(
    opened: &Opened,
    payloads: &uploads::Payloads,
    noise: Noise,
) -> Result<(Vec<(Partition, Found)>, u64), Failure> {
    let store = &*opened.store;
    let bar = progress(noise, opened.report().map(|report| report.records));
    let (mut found, mut count) = (Vec::new(), 0_u64);
    for partition in stores::partitions(store).await? {
        let (records, mut findings) = records(store, &partition).await?;
        // Not before what was read: other nodes may have written meanwhile.
        let now = SystemClock::new().now();
        let several = u64::try_from(records.len()).unwrap_or(u64::MAX);
        let several = several.saturating_add(u64::try_from(findings.len()).unwrap_or(u64::MAX));
        count = count.saturating_add(several);
        bar.inc(several);
        findings.extend(records.iter().filter_map(|stored| payloads.check(stored, now)));
        let records = records.into_iter().filter_map(Stored::needed);
        findings.extend(audit(records, now).into_iter().map(Found::from));
        found.extend(findings.into_iter().map(|finding| (partition.clone(), finding)));
    }
    bar.finish_and_clear();
    Ok((found, count))
}

/// The records of a partition as of one instant: sums over records are true of one state.
async fn records(
    store: &dyn Store,
    partition: &Partition,
) -> Result<(Vec<Stored>, Vec<Found>), Failure> {
    let mut settling = Settling::of(store, partition);
    loop {
        let (mut records, mut findings) = (Vec::new(), Vec::new());
        let sum = digest::pass(store, partition, |item| {
            if let Item::Record(key, record) = item
                && record.value.is_some()
            {
                match read((*key).clone(), record) {
                    Ok(stored) => records.push(stored),
                    Err(finding) => findings.push(finding),
                }
            }
            Ok(())
        });
        if settling.settled(sum.await?)? {
            return Ok((records, findings));
        }
    }
}

fn read(key: RecordKey, record: &Versioned) -> Result<Stored, Found> {
    let name = key.to_string();
    let bytes = record.value.as_deref().unwrap_or_default();
    Stored::decode(key, record.version, bytes).ok_or_else(|| Found {
        check: "record_readable",
        record: name,
        version: record.version,
        expected: "a record with its format".to_owned(),
        found: "damaged bytes".to_owned(),
    })
}

#[cfg(test)]
mod tests;
