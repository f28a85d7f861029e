//! `bellpunch digest`: counts and a digest of all that is in a store, equal for equal content.
//!
//! Invariant: what is summed up of a partition was there at one instant. A store of one process is
//! locked. On one that others write too, a partition is read until two passes agree: versions never
//! fall, so what has one version in both passes had it between them, too; what was made and purged
//! meanwhile raised a floor, and floors are read at the end of each pass. Why no long transaction:
//! not every engine has one, and none needs to hold back its housekeeping for a copy.
//!
//! The form that is digested (SHA-256) does not depend on the engine: records in order of kind and
//! id, each with version, times and content, then floors; JSON with its members in order of name
//! and its numbers as digits and an exponent, since a database of JSON writes both as it likes. The
//! digest of a store is that of its partitions' digests, in order; partitions of which nothing is
//! left count for nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitCode;

use bellpunch::store::{Sharing, Store, Versioned};
use bellpunch::{Floor, Kind, Partition, RecordKey};
use serde_json::json;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::args::{DigestArgs, Form, Noise};
use crate::config::Settings;
use crate::failure::Failure;
use crate::stores::{self, Walk};
use crate::transfer::progress;

/// How often a partition is read before it is given up.
const PASSES_MAX: u32 = 8;
/// Levels of content that are looked into; records have fewer.
const DEPTH_MAX: u32 = 200;

/// What is in a partition.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Item<'a> {
    /// A record; without content it was removed.
    Record(&'a RecordKey, &'a Versioned),
    /// What purged records of a kind left.
    Floor(&'a Kind, Floor),
}

/// What a partition sums up to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Sum {
    records: u64,
    floors: u64,
    hash: [u8; 32],
}

/// Sums up a partition.
#[derive(Clone, Debug)]
pub(crate) struct Summing {
    records: u64,
    floors: u64,
    hash: Sha256,
}

impl Summing {
    pub(crate) fn of(partition: &Partition) -> Self {
        let mut hash = Sha256::new();
        feed(&mut hash, partition.as_str().as_bytes());
        Self { records: 0, floors: 0, hash }
    }

    /// Adds the next item.
    pub(crate) fn add(&mut self, item: &Item<'_>) {
        self.hash.update(Self::form(item));
        match item {
            Item::Record(..) => self.records = self.records.saturating_add(1),
            Item::Floor(..) => self.floors = self.floors.saturating_add(1),
        }
    }

    /// The form of one item: equal for equal ones, and for no others.
    pub(crate) fn form(item: &Item<'_>) -> [u8; 32] {
        let mut hash = Sha256::new();
        let number = |hash: &mut Sha256, number: u128| hash.update(number.to_be_bytes());
        match item {
            Item::Record(key, record) => {
                feed(&mut hash, b"record");
                feed(&mut hash, key.kind.name().as_bytes());
                feed(&mut hash, key.id.as_str().as_bytes());
                number(&mut hash, u128::from(record.version.get()));
                number(&mut hash, record.at.nanos());
                let sweep_at = record.sweep_at.map(|at| at.nanos().to_be_bytes());
                feed(&mut hash, sweep_at.as_ref().map_or(&[], |bytes| bytes.as_slice()));
                match &record.value {
                    None => feed(&mut hash, b"removed"),
                    Some(content) => {
                        feed(&mut hash, b"content");
                        feed(&mut hash, &meaning(content));
                    }
                }
            }
            Item::Floor(kind, floor) => {
                feed(&mut hash, b"floor");
                feed(&mut hash, kind.name().as_bytes());
                number(&mut hash, u128::from(floor.version.get()));
                number(&mut hash, floor.at.nanos());
            }
        }
        hash.finalize().into()
    }

    /// The sum.
    pub(crate) fn end(self) -> Sum {
        Sum { records: self.records, floors: self.floors, hash: self.hash.finalize().into() }
    }
}

/// Adds bytes with their length before them, so that no two rows of them are the same.
fn feed(hash: &mut Sha256, bytes: &[u8]) {
    hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
    hash.update(bytes);
}

/// The content of a record, the same for JSON that means the same. What is not JSON is itself.
pub(crate) fn meaning(content: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(content).ok();
    let raw = text.and_then(|text| serde_json::from_str::<&RawValue>(text).ok());
    let mut meant = b"json ".to_vec();
    match raw.and_then(|raw| write_meaning(raw, 0, &mut meant)) {
        Some(()) => meant,
        None => [b"bytes ", content].concat(),
    }
}

fn write_meaning(raw: &RawValue, depth: u32, into: &mut Vec<u8>) -> Option<()> {
    let (text, deeper) = (raw.get(), depth.checked_add(1)?);
    if DEPTH_MAX < depth {
        return None;
    }
    match text.as_bytes().first()? {
        b'{' => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
            into.push(b'{');
            for (name, member) in members {
                into.extend(serde_json::to_vec(&name).ok()?);
                into.push(b':');
                write_meaning(member, deeper, into)?;
                into.push(b',');
            }
            into.push(b'}');
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            into.push(b'[');
            for item in items {
                write_meaning(item, deeper, into)?;
                into.push(b',');
            }
            into.push(b']');
        }
        b'"' => {
            let string: String = serde_json::from_str(text).ok()?;
            into.extend(serde_json::to_vec(&string).ok()?);
        }
        b'-' | b'0'..=b'9' => into.extend(number(text).into_bytes()),
        _ => into.extend_from_slice(text.as_bytes()),
    }
    Some(())
}

/// A number as its digits without zeros around them, and the power of ten that they stand at.
fn number(text: &str) -> String {
    let (sign, unsigned) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return "0".to_owned();
    }
    let kept = digits.trim_end_matches('0');
    let exponent = exponent.parse::<i64>().ok();
    let zeros = digits.len().checked_sub(kept.len()).and_then(|zeros| i64::try_from(zeros).ok());
    let fraction = i64::try_from(fraction.len()).ok();
    let power = exponent.zip(fraction).zip(zeros).and_then(|((exponent, fraction), zeros)| {
        exponent.checked_sub(fraction)?.checked_add(zeros)
    });
    match power {
        Some(power) => format!("{sign}{kept}e{power}"),
        None => text.to_owned(),
    }
}

/// Goes over a partition once, in order, and sums it up.
pub(crate) async fn pass(
    store: &dyn Store,
    partition: &Partition,
    mut each: impl FnMut(&Item<'_>) -> Result<(), Failure>,
) -> Result<Sum, Failure> {
    let mut walk = Walk::new(store, partition, None).with_removed();
    let mut summing = Summing::of(partition);
    loop {
        let page = walk.page().await?;
        if page.is_empty() {
            break;
        }
        for (key, record) in page {
            // As it reads: what was removed is at least as new as what was purged.
            let floor = walk.floors.iter().find(|(kind, _)| *kind == key.kind);
            let record = record.above(floor.map(|(_, floor)| *floor).unwrap_or_default());
            let item = Item::Record(&key, &record);
            summing.add(&item);
            each(&item)?;
        }
    }
    let floors = if store.properties().sharing == Sharing::Shared {
        let mut last = Walk::new(store, partition, None).with_removed();
        last.page().await?;
        last.floors
    } else {
        walk.floors
    };
    for (kind, floor) in &floors {
        let item = Item::Floor(kind, *floor);
        summing.add(&item);
        each(&item)?;
    }
    Ok(summing.end())
}

/// Whether what was read of a partition was there at one instant.
#[derive(Debug)]
pub(crate) struct Settling<'a> {
    partition: &'a Partition,
    sharing: Sharing,
    before: Option<Sum>,
    passes: u32,
}

impl<'a> Settling<'a> {
    pub(crate) fn of(store: &dyn Store, partition: &'a Partition) -> Self {
        let sharing = store.properties().sharing;
        Self { partition, sharing, before: None, passes: 0 }
    }

    /// Whether one pass is not enough, because others write too.
    pub(crate) fn is_shared(&self) -> bool {
        self.sharing == Sharing::Shared
    }

    /// How many passes there were.
    pub(crate) const fn passes(&self) -> u32 {
        self.passes
    }

    /// Takes the sum of one more pass.
    pub(crate) fn settled(&mut self, sum: Sum) -> Result<bool, Failure> {
        let before = self.before.replace(sum);
        self.passes = self.passes.saturating_add(1);
        if !self.is_shared() || before == Some(sum) {
            return Ok(true);
        }
        if PASSES_MAX <= self.passes { Err(self.written()) } else { Ok(false) }
    }

    /// That it is being written.
    pub(crate) fn written(&self) -> Failure {
        Failure::could_not_run(format!(
            "partition {} is being written, and changed each time that it was read: stop the \
             servers, or try again",
            self.partition
        ))
    }
}

/// Sums up partitions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Total {
    partitions: u64,
    records: u64,
    floors: u64,
    hash: Sha256,
}

impl Total {
    /// Adds the next partition.
    pub(crate) fn add(&mut self, sum: &Sum) {
        if sum.records == 0 && sum.floors == 0 {
            return;
        }
        self.partitions = self.partitions.saturating_add(1);
        self.records = self.records.saturating_add(sum.records);
        self.floors = self.floors.saturating_add(sum.floors);
        self.hash.update(sum.hash);
    }

    /// How many records and floors there are.
    pub(crate) const fn items(&self) -> u64 {
        self.records.saturating_add(self.floors)
    }

    /// The digest, as hex digits.
    pub(crate) fn hex(&self) -> String {
        self.hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// As it is told.
    pub(crate) fn told(&self, word: &str, form: Form) -> String {
        let Self { partitions, records, floors, .. } = self;
        match form {
            Form::Text => format!("{word}: {self}\n"),
            Form::Json => {
                let told = json!({
                    "result": word, "partitions": partitions, "records": records,
                    "floors": floors, "digest": self.hex()
                });
                format!("{told}\n")
            }
        }
    }
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partitions, records, floors, .. } = self;
        let count = |count: &u64, one: &str| match count {
            1 => format!("1 {one}"),
            _ => format!("{} {one}s", grouped(*count)),
        };
        let (partitions, records) = (count(partitions, "partition"), count(records, "record"));
        let floors = count(floors, "floor");
        write!(f, "{partitions}, {records}, {floors}, digest {}", self.hex())
    }
}

/// Digits in threes.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.char_indices() {
        let left = digits.len().saturating_sub(index);
        if index != 0 && left.is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(crate) fn run(args: &DigestArgs, form: Form, noise: Noise) -> Result<ExitCode, Failure> {
    let settings = Settings::of_store(&args.layers)?.store;
    let (total, opened) = crate::serve::runtime()?.block_on(async {
        let opened = stores::open_existing(&settings).await?;
        let total = total(&*opened.store, noise).await;
        opened.hang_up().await;
        Ok::<_, Failure>((total, opened))
    })?;
    opened.close();
    crate::print(&total?.told("digest", form))?;
    Ok(ExitCode::SUCCESS)
}

/// All that is in a store.
pub(crate) async fn total(store: &dyn Store, noise: Noise) -> Result<Total, Failure> {
    let (mut total, bar) = (Total::default(), progress(noise, None));
    for partition in stores::partitions(store).await? {
        let mut settling = Settling::of(store, &partition);
        let sum = loop {
            let sum = pass(store, &partition, |_| {
                bar.inc(1);
                Ok(())
            });
            let sum = sum.await?;
            if settling.settled(sum)? {
                break sum;
            }
        };
        total.add(&sum);
    }
    bar.finish_and_clear();
    Ok(total)
}

#[cfg(test)]
mod tests;
