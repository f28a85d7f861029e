//! The proof at the end of an import: what is in the store is what is in the file.
//!
//! Invariant: both are gone over record by record, in one order, and nothing is taken from what was
//! remembered of writing them. Equal is a record with the same version, times and content, JSON by
//! its meaning; what was deleted, and what purged records left, count as records do.

use std::collections::VecDeque;
use std::io::BufRead;

use bellpunch::store::{Store, Versioned};
use bellpunch::{Floor, Kind, Partition, RecordId, RecordKey};
use indicatif::ProgressBar;
use serde_json::json;

use super::{Item, Line, Reader, Survey};
use crate::args::Form;
use crate::digest::{self, Summing, Total, meaning};
use crate::failure::Failure;
use crate::stores::Walk;

/// Differences that are told; the others are counted.
const TOLD_MAX: usize = 20;

/// What came of a comparison.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    file: Total,
    store: Total,
    different: u64,
    told: Vec<Difference>,
}

#[derive(Debug)]
struct Difference {
    partition: Partition,
    record: String,
    file: String,
    store: String,
}

impl Compared {
    /// Whether all is equal.
    pub(crate) fn is_equal(&self) -> bool {
        self.different == 0 && self.file.hex() == self.store.hex()
    }

    /// As it is told.
    pub(crate) fn told(&self, form: Form) -> String {
        if self.is_equal() {
            return self.store.told("equal", form);
        }
        let mut text = String::new();
        for Difference { partition, record, file, store } in &self.told {
            text.push_str(&match form {
                Form::Json => {
                    let difference = json!({
                        "partition": partition, "record": record, "file": file, "store": store
                    });
                    format!("{difference}\n")
                }
                Form::Text => format!(
                    "{record} of partition {partition}: {file} in the file, {store} in the store\n"
                ),
            });
        }
        text.push_str(&self.file.told("file", form));
        text.push_str(&self.store.told("store", form));
        text.push_str(&match form {
            Form::Json => format!("{}\n", json!({ "differences": self.different })),
            Form::Text => format!("different: {} of them\n", self.different),
        });
        text
    }

    fn differs(&mut self, partition: &Partition, record: String, (file, store): (String, String)) {
        self.different = self.different.saturating_add(1);
        if self.told.len() < TOLD_MAX {
            let partition = partition.clone();
            self.told.push(Difference { partition, record, file, store });
        }
    }
}

const ABSENT: &str = "nothing";

/// One side's records of a partition.
struct Cursor<'a> {
    walk: Walk<'a>,
    page: VecDeque<(RecordKey, Versioned)>,
}

impl<'a> Cursor<'a> {
    fn of(store: &'a dyn Store, partition: &'a Partition) -> Self {
        let walk = Walk::new(store, partition, None).with_removed();
        Self { walk, page: VecDeque::new() }
    }

    /// The next record, if it stands before a key, or there is none.
    async fn next_before(
        &mut self,
        key: Option<&RecordKey>,
    ) -> Result<Option<(RecordKey, Versioned)>, Failure> {
        if self.page.is_empty() {
            self.page.extend(self.walk.page().await?);
        }
        let before = self.page.front().is_some_and(|(next, _)| key.is_none_or(|key| next < key));
        if !before {
            return Ok(None);
        }
        Ok(self.page.pop_front().map(|(key, record)| self.as_read((key, record))))
    }

    /// The next record, if it has this key.
    fn take(&mut self, key: &RecordKey) -> Option<(RecordKey, Versioned)> {
        self.page.front().filter(|(next, _)| next == key)?;
        self.page.pop_front().map(|(key, record)| self.as_read((key, record)))
    }

    fn as_read(&self, (key, record): (RecordKey, Versioned)) -> (RecordKey, Versioned) {
        let floor = self.walk.floors.iter().find(|(kind, _)| *kind == key.kind);
        let record = record.above(floor.map(|(_, floor)| *floor).unwrap_or_default());
        (key, record)
    }
}

/// Compares a store with a file of this survey.
pub(super) async fn compare(
    store: &dyn Store,
    mut reader: Reader<'_, impl BufRead>,
    (survey, bar): (&Survey, &ProgressBar),
) -> Result<Compared, Failure> {
    let mut compared = Compared::default();
    let (mut items, mut next) = (0_u64, None);
    for partition in survey.floors.keys() {
        let mut cursor = Cursor::of(store, partition);
        let mut sums = (Summing::of(partition), Summing::of(partition));
        let floors = survey.floors.get(partition).cloned().unwrap_or_default();
        loop {
            let read = match next.take() {
                Some(read) => Some(read),
                None => reader.item(items)?.map(|item| {
                    items = items.saturating_add(1);
                    bar.inc(1);
                    owned(&item)
                }),
            };
            match read {
                Some((of, Some((key, record)))) if of == *partition => {
                    let floor = floors.get(&key.kind).copied().unwrap_or_default();
                    let record = record.above(floor);
                    let ours = one(&mut cursor, (&key, &record), (&mut compared, partition));
                    if let Some(found) = ours.await? {
                        sums.1.add(&digest::Item::Record(&key, &found));
                    }
                    sums.0.add(&digest::Item::Record(&key, &record));
                }
                // The survey has them.
                Some((of, None)) if of == *partition => {}
                other => {
                    next = other;
                    break;
                }
            }
        }
        while let Some((key, record)) = cursor.next_before(None).await? {
            sums.1.add(&digest::Item::Record(&key, &record));
            let shown = (ABSENT.to_owned(), shown(&record));
            compared.differs(partition, key.to_string(), shown);
        }
        let found = std::mem::take(&mut cursor.walk.floors);
        compare_floors((&floors, &found), partition, &mut compared);
        floors.iter().for_each(|(kind, floor)| sums.0.add(&digest::Item::Floor(kind, *floor)));
        found.iter().for_each(|(kind, floor)| sums.1.add(&digest::Item::Floor(kind, *floor)));
        compared.file.add(&sums.0.end());
        compared.store.add(&sums.1.end());
    }
    bar.finish_and_clear();
    Ok(compared)
}

/// A line by itself: its partition, and its record unless it is a floor.
fn owned(item: &Item<'_>) -> (Partition, Option<(RecordKey, Versioned)>) {
    let partition = item.partition().clone();
    let Item::Record(Line { kind, id, version, at, sweep_at, stored, .. }) = item else {
        return (partition, None);
    };
    let key = RecordKey { kind: Kind::named(kind), id: RecordId::stored(id) };
    let value = stored.map(|stored| stored.get().as_bytes().into());
    let record = Versioned { version: *version, at: *at, sweep_at: *sweep_at, value };
    (partition, Some((key, record)))
}

/// Compares one record of the file; gives what the store has.
async fn one(
    cursor: &mut Cursor<'_>,
    (key, record): (&RecordKey, &Versioned),
    (compared, partition): (&mut Compared, &Partition),
) -> Result<Option<Versioned>, Failure> {
    while let Some((key, more)) = cursor.next_before(Some(key)).await? {
        let shown = (ABSENT.to_owned(), shown(&more));
        compared.differs(partition, key.to_string(), shown);
    }
    let found = cursor.take(key).map(|(_, found)| found);
    let ours = found.as_ref().map(|found| Summing::form(&digest::Item::Record(key, found)));
    if ours != Some(Summing::form(&digest::Item::Record(key, record))) {
        let store = found.as_ref().map_or_else(|| ABSENT.to_owned(), shown);
        let mut file = shown(record);
        if file == store {
            file.push_str(" with other content");
        }
        compared.differs(partition, key.to_string(), (file, store));
    }
    Ok(found)
}

fn shown(record: &Versioned) -> String {
    let Versioned { version, at, sweep_at, value } = record;
    let content = match value {
        None => "removed".to_owned(),
        Some(content) => format!("{} bytes", meaning(content).len()),
    };
    let sweep_at = sweep_at.map_or_else(String::new, |at| format!(", to be swept at {at}"));
    format!("version {version} of {at}{sweep_at}, {content}")
}

/// Compares what purged records left.
fn compare_floors(
    (file, store): (&std::collections::BTreeMap<Kind, Floor>, &[(Kind, Floor)]),
    partition: &Partition,
    compared: &mut Compared,
) {
    let shown = |floor: Option<&Floor>| match floor {
        Some(Floor { version, at }) => format!("version {version} of {at}"),
        None => ABSENT.to_owned(),
    };
    for (kind, floor) in file {
        let found = store.iter().find(|(other, _)| other == kind).map(|(_, floor)| floor);
        if found != Some(floor) {
            let name = format!("the floor of {}", kind.name());
            compared.differs(partition, name, (shown(Some(floor)), shown(found)));
        }
    }
    for (kind, floor) in store.iter().filter(|(kind, _)| !file.contains_key(kind)) {
        let name = format!("the floor of {}", kind.name());
        compared.differs(partition, name, (shown(None), shown(Some(floor))));
    }
}
