//! `bellpunch export` and `import`: all records as lines of JSON.
//!
//! Invariant: what was exported is read as of one instant, since the folder is locked; what is
//! imported was counted first, and goes into empty partitions only, so that no record is ever
//! written over and no version falls: what was deleted goes on at its version, too.
//!
//! The first line names the format and the last one counts those between: a file that was cut is
//! refused. Between them, each partition's records come first, in order of kind and id; one without
//! `stored` was deleted. After them, a line with `floor` says for a kind at which version a record
//! that is not there begins. Payloads are files of their own and are copied as such.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, IsTerminal as _, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use bellpunch::store::{
    Clock as _, Commit, CommitId, CommitResult, Precondition, Store, Versioned,
    Write as StoreWrite, WriteValue,
};
use bellpunch::{Kind, Partition, RecordId, RecordKey, SystemClock, Timestamp, Version};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::args::{ExportArgs, ImportArgs, Noise};
use crate::config::StoreSettings;
use crate::failure::Failure;
use crate::stores::{self, Opened, Walk, of_store};

/// The format that this release writes, and the newest it reads.
const FORMAT: u32 = 1;
/// Records of one commit of an import.
const BATCH: usize = 500;
/// Bytes of one commit of an import.
const BATCH_BYTES: usize = 4 << 20;
/// The longest line that is read.
const LINE_BYTES_MAX: usize = 64 << 20;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Head {
    bellpunch_export: u32,
    release: String,
    at: Timestamp,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    partition: Partition,
    kind: String,
    id: String,
    version: Version,
    at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sweep_at: Option<Timestamp>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    stored: Option<&'a RawValue>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Floor {
    partition: Partition,
    kind: String,
    floor: Version,
}

/// One line between the first and the last.
enum Item<'a> {
    Record(Line<'a>),
    Floor(Floor),
}

impl Item<'_> {
    fn partition(&self) -> &Partition {
        match self {
            Self::Record(line) => &line.partition,
            Self::Floor(floor) => &floor.partition,
        }
    }

    /// Bytes of its content.
    fn bytes(&self) -> usize {
        match self {
            Self::Record(line) => line.stored.map_or(0, |stored| stored.get().len()),
            Self::Floor(_) => 0,
        }
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Foot {
    records: u64,
}

/// Progress on stderr, if that is a terminal and nobody asked for silence.
pub(crate) fn progress(noise: Noise, length: Option<u64>) -> ProgressBar {
    if noise == Noise::Quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = length.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let template = match length {
        Some(_) => "{bar:40} {pos}/{len} records",
        None => "{spinner} {pos} records",
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

pub(crate) fn export(args: &ExportArgs, noise: Noise) -> Result<ExitCode, Failure> {
    let opened = stores::open_existing(&args.store)?;
    let written = crate::serve::runtime()?.block_on(async {
        match &args.file {
            None => export_to(&opened, &mut std::io::stdout().lock(), noise).await,
            Some(path) => {
                let file = File::create_new(path).map_err(|cause| {
                    let path = path.display();
                    Failure::could_not_run(format!("{path} cannot be made: {cause}"))
                })?;
                let mut file = BufWriter::new(file);
                export_to(&opened, &mut file, noise).await?;
                let file = file.into_inner().map_err(|error| of_writing(&error.into_error()))?;
                file.sync_all().map_err(|cause| of_writing(&cause))
            }
        }
    });
    opened.close();
    written.map(|()| ExitCode::SUCCESS)
}

fn of_writing(cause: &std::io::Error) -> Failure {
    Failure::could_not_run(format!("the export cannot be written: {cause}"))
}

fn put(out: &mut impl Write, line: &impl Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_vec(line)
        .map_err(|cause| Failure::could_not_run(format!("a line cannot be written: {cause}")))?;
    text.push(b'\n');
    out.write_all(&text).map_err(|cause| of_writing(&cause))
}

async fn export_to(opened: &Opened, out: &mut impl Write, noise: Noise) -> Result<(), Failure> {
    let bar = progress(noise, opened.report().map(|report| report.records));
    export_store(&*opened.store, out, bar).await
}

async fn export_store(
    store: &dyn Store,
    out: &mut impl Write,
    bar: ProgressBar,
) -> Result<(), Failure> {
    let (release, at) = (env!("CARGO_PKG_VERSION").to_owned(), SystemClock::new().now());
    put(out, &Head { bellpunch_export: FORMAT, release, at })?;
    let mut records = 0_u64;
    for partition in stores::partitions(store).await? {
        let mut walk = Walk::new(store, &partition, None).with_removed();
        loop {
            let page = walk.page().await?;
            if page.is_empty() {
                break;
            }
            for (key, record) in page {
                put(out, &line(&partition, &key, &record)?)?;
                records = records.saturating_add(1);
                bar.inc(1);
            }
        }
        // After the records: while they are put back, those that are absent are at version 0.
        for (kind, floor) in walk.floors {
            let kind = kind.name().to_owned();
            put(out, &Floor { partition: partition.clone(), kind, floor })?;
            records = records.saturating_add(1);
        }
    }
    put(out, &Foot { records })?;
    out.flush().map_err(|cause| of_writing(&cause))?;
    bar.finish_and_clear();
    Ok(())
}

fn line<'a>(
    partition: &Partition,
    key: &RecordKey,
    record: &'a Versioned,
) -> Result<Line<'a>, Failure> {
    let stored = record.value.as_deref().map(serde_json::from_slice::<&RawValue>).transpose();
    let stored = stored.map_err(|cause| {
        Failure::could_not_run(format!("the record {key} of {partition} is damaged: {cause}"))
    })?;
    Ok(Line {
        partition: partition.clone(),
        kind: key.kind.name().to_owned(),
        id: key.id.as_str().to_owned(),
        version: record.version,
        at: record.at,
        sweep_at: record.sweep_at,
        stored,
    })
}

/// The lines of an export, one at a time.
struct Reader<'p, F> {
    path: &'p Path,
    file: F,
    number: u64,
    text: Vec<u8>,
}

impl<'p> Reader<'p, BufReader<File>> {
    #[expect(clippy::disallowed_methods, reason = "the command line is where files are read")]
    fn open(path: &'p Path) -> Result<Self, Failure> {
        let file = File::open(path).map_err(|cause| {
            Failure::could_not_run(format!("{} cannot be read: {cause}", path.display()))
        })?;
        Self::of(path, BufReader::new(file))
    }
}

impl<'p, F: BufRead> Reader<'p, F> {
    fn of(path: &'p Path, file: F) -> Result<Self, Failure> {
        let mut reader = Self { path, file, number: 0, text: Vec::new() };
        reader.head()?;
        Ok(reader)
    }

    fn wrong(&self, what: impl std::fmt::Display) -> Failure {
        Failure::usage(format!("{}, line {}: {what}", self.path.display(), self.number))
    }

    /// Reads a line; whether there was one.
    fn advance(&mut self) -> Result<bool, Failure> {
        use std::io::Read as _;
        self.text.clear();
        self.number = self.number.saturating_add(1);
        let maximum = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
        let read = (&mut self.file).take(maximum).read_until(b'\n', &mut self.text);
        match read {
            Ok(0) => Ok(false),
            Ok(_) if self.text.ends_with(b"\n") => Ok(true),
            Ok(_) => Err(self.wrong("the line does not end: the file was cut, or is no export")),
            Err(cause) => Err(self.wrong(cause)),
        }
    }

    fn head(&mut self) -> Result<(), Failure> {
        /// What every format says first.
        #[derive(Deserialize)]
        struct Any {
            bellpunch_export: u32,
        }
        if !self.advance()? {
            return Err(self.wrong("the file is empty"));
        }
        let any: Any = serde_json::from_slice(&self.text)
            .map_err(|_| self.wrong("this is no export of Bellpunch"))?;
        if FORMAT < any.bellpunch_export {
            let found = any.bellpunch_export;
            return Err(Failure::unsafe_to_run(format!(
                "{} has format {found}, this release reads up to {FORMAT}: upgrade first",
                self.path.display()
            )));
        }
        serde_json::from_slice::<Head>(&self.text).map_err(|cause| self.wrong(cause))?;
        Ok(())
    }

    /// The next record or floor, or `None` at the foot; `records` were read before.
    fn item(&mut self, records: u64) -> Result<Option<Item<'_>>, Failure> {
        if !self.advance()? {
            return Err(self.wrong("the last line is missing: the file was cut"));
        }
        if let Ok(foot) = serde_json::from_slice::<Foot>(&self.text) {
            if foot.records != records {
                let counted = foot.records;
                return Err(
                    self.wrong(format!("{counted} records were exported, {records} are here"))
                );
            }
            if self.advance()? {
                return Err(self.wrong("there is text after the last line"));
            }
            return Ok(None);
        }
        if let Ok(floor) = serde_json::from_slice(&self.text) {
            return Ok(Some(Item::Floor(floor)));
        }
        match serde_json::from_slice(&self.text) {
            Ok(line) => Ok(Some(Item::Record(line))),
            Err(cause) => Err(Failure::usage(format!(
                "{}, line {}: {cause}",
                self.path.display(),
                self.number
            ))),
        }
    }
}

pub(crate) fn import(args: &ImportArgs, noise: Noise) -> Result<ExitCode, Failure> {
    // All of it is read before any of it is written.
    let (records, partitions) = survey(Reader::open(&args.file)?)?;
    let settings = StoreSettings { url: args.store.clone(), ..StoreSettings::default() };
    let opened = stores::open(&settings)?;
    let imported = crate::serve::runtime()?.block_on(async {
        refuse_used(&*opened.store, &partitions).await?;
        let reader = Reader::open(&args.file)?;
        import_from(&*opened.store, reader, progress(noise, Some(records))).await
    });
    opened.close();
    imported.map(|()| ExitCode::SUCCESS)
}

fn survey(mut reader: Reader<'_, impl BufRead>) -> Result<(u64, BTreeSet<Partition>), Failure> {
    let (mut records, mut partitions) = (0_u64, BTreeSet::new());
    while let Some(item) = reader.item(records)? {
        if !partitions.contains(item.partition()) {
            partitions.insert(item.partition().clone());
        }
        records = records.saturating_add(1);
    }
    Ok((records, partitions))
}

async fn refuse_used(store: &dyn Store, partitions: &BTreeSet<Partition>) -> Result<(), Failure> {
    for partition in partitions {
        let mut walk = Walk::new(store, partition, None).with_removed();
        if !walk.page().await?.is_empty() || !walk.floors.is_empty() {
            return Err(Failure::unsafe_to_run(format!(
                "partition {partition} is not empty: import into an unused folder"
            )));
        }
    }
    Ok(())
}

async fn import_from(
    store: &dyn Store,
    mut reader: Reader<'_, impl BufRead>,
    bar: ProgressBar,
) -> Result<(), Failure> {
    let mut batch = Batch::default();
    let mut records = 0_u64;
    while let Some(item) = reader.item(records)? {
        records = records.saturating_add(1);
        bar.inc(1);
        if batch.is_full(&item) {
            std::mem::take(&mut batch).commit(store).await?;
        }
        batch.add(&item);
    }
    batch.commit(store).await?;
    bar.finish_and_clear();
    Ok(())
}

/// Records of one partition, written together.
#[derive(Default)]
struct Batch {
    partition: Option<Partition>,
    writes: Vec<StoreWrite>,
    bytes: usize,
}

impl Batch {
    fn is_full(&self, item: &Item<'_>) -> bool {
        let partition = item.partition();
        self.partition.as_ref().is_some_and(|ours| ours != partition)
            || BATCH <= self.writes.len()
            || BATCH_BYTES < self.bytes.saturating_add(item.bytes())
    }

    fn add(&mut self, item: &Item<'_>) {
        self.partition = Some(item.partition().clone());
        self.bytes = self.bytes.saturating_add(item.bytes());
        self.writes.push(match item {
            Item::Record(line) => StoreWrite {
                key: RecordKey { kind: Kind::named(&line.kind), id: RecordId::stored(&line.id) },
                version: line.version,
                at: line.at,
                sweep_at: line.sweep_at,
                value: line.stored.map_or(WriteValue::Delete, |stored| {
                    WriteValue::Put(stored.get().as_bytes().into())
                }),
            },
            // As purging a record did, of which nothing else is left.
            Item::Floor(floor) => StoreWrite {
                key: RecordKey { kind: Kind::named(&floor.kind), id: RecordId::stored("") },
                version: floor.floor,
                at: Timestamp::EPOCH,
                sweep_at: None,
                value: WriteValue::Purge,
            },
        });
    }

    async fn commit(self, store: &dyn Store) -> Result<(), Failure> {
        let Some(partition) = self.partition else { return Ok(()) };
        let absent =
            |write: &StoreWrite| Precondition { key: write.key.clone(), version: Version::ABSENT };
        let commit = Commit {
            id: CommitId::new(random()),
            partition,
            now: SystemClock::new().now(),
            deadline: None,
            preconditions: self.writes.iter().map(absent).collect(),
            writes: self.writes,
        };
        match store.commit(vec![Arc::new(commit)]).await.pop() {
            Some(CommitResult::Committed { .. }) => Ok(()),
            Some(CommitResult::Failed(failure)) => Err(of_store(&failure)),
            other => Err(Failure::could_not_run(format!(
                "the import did not finish ({other:?}): begin again in an unused folder"
            ))),
        }
    }
}

fn random() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system has random bits");
    u128::from_le_bytes(bytes)
}

/// Imports a file of these bytes into a store that is empty, if it is one.
#[cfg(feature = "fuzzing")]
pub(crate) async fn import_bytes(store: &dyn Store, bytes: &[u8]) -> Result<(), Failure> {
    let path = Path::new("a file");
    let (_, partitions) = survey(Reader::of(path, bytes)?)?;
    refuse_used(store, &partitions).await?;
    import_from(store, Reader::of(path, bytes)?, ProgressBar::hidden()).await
}

/// What a store is exported as.
#[cfg(feature = "fuzzing")]
pub(crate) async fn export_bytes(store: &dyn Store) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    export_store(store, &mut bytes, ProgressBar::hidden()).await?;
    Ok(bytes)
}
