//! `bellpunch export` and `import`: all records as lines of JSON, from any store to any other.
//!
//! Invariant: what was exported of a partition is read as of one instant (see the
//! [digest](crate::digest)); what is imported was counted first, and goes into empty partitions only,
//! so that no record is ever written over and no version falls: what was deleted goes on at its
//! version, too. At its end an import reads what it wrote and compares it with the file: that the
//! store acknowledged it all is no proof that it is there.
//!
//! The first line names the format and the last one counts those between: a file that was cut is
//! refused. Between them, partitions are in order, and of each its records come first, in order of
//! kind and id; one without `stored` was deleted. After them, a line with `floor` says for a kind at
//! which version a record that is not there begins, and `at` from which time on it is decided on
//! (since format 2; in format 1 from any). Payloads are files of their own and are copied as such.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, IsTerminal as _, Seek as _, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use bellpunch::store::{
    Clock as _, Commit, CommitId, CommitResult, Precondition, Store, Versioned,
    Write as StoreWrite, WriteValue,
};
use bellpunch::{Floor, Kind, Partition, RecordId, RecordKey, SystemClock, Timestamp, Version};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::args::{ExportArgs, Form, ImportArgs, Noise};
use crate::config::Settings;
use crate::digest::{self, Settling, Total};
use crate::failure::Failure;
use crate::stores::{self, Walk};

mod compare;

pub(crate) use compare::Compared;
use compare::compare;

/// The format that this release writes, and the newest it reads.
const FORMAT: u32 = 2;
/// Records of one commit of an import.
const BATCH: usize = 500;
/// Bytes of one commit of an import.
const BATCH_BYTES: usize = 4 << 20;
/// Bytes of a record beside its name and its content.
const RECORD_BYTES: usize = 160;
/// How often a commit whose reply was lost is sent.
const SENDS_MAX: usize = 5;
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
    #[serde(borrow, default, deserialize_with = "there", skip_serializing_if = "Option::is_none")]
    stored: Option<&'a RawValue>,
}

/// Content that is there: `null` is one, too.
fn there<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct FloorLine {
    partition: Partition,
    kind: String,
    floor: Version,
    #[serde(default)]
    at: Timestamp,
}

/// One line between the first and the last.
enum Item<'a> {
    Record(Line<'a>),
    Floor(FloorLine),
}

impl Item<'_> {
    fn partition(&self) -> &Partition {
        match self {
            Self::Record(line) => &line.partition,
            Self::Floor(floor) => &floor.partition,
        }
    }

    /// Bytes that it has in a commit, or somewhat more.
    fn bytes(&self) -> usize {
        let (name, content) = match self {
            Self::Record(line) => {
                let content = line.stored.map_or(0, |stored| stored.get().len());
                (line.kind.len().saturating_add(line.id.len()), content)
            }
            Self::Floor(line) => (line.kind.len(), 0),
        };
        name.saturating_add(content).saturating_add(RECORD_BYTES)
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

/// Where an export goes.
trait Out: Write {
    /// Where it is now, if it can go back.
    fn mark(&mut self) -> std::io::Result<Option<u64>>;

    /// Forgets what was written after a mark.
    fn back_to(&mut self, mark: u64) -> std::io::Result<()>;
}

impl Out for BufWriter<File> {
    fn mark(&mut self) -> std::io::Result<Option<u64>> {
        self.stream_position().map(Some)
    }

    fn back_to(&mut self, mark: u64) -> std::io::Result<()> {
        self.seek(std::io::SeekFrom::Start(mark))?;
        self.get_mut().set_len(mark)
    }
}

impl Out for std::io::StdoutLock<'_> {
    fn mark(&mut self) -> std::io::Result<Option<u64>> {
        Ok(None)
    }

    fn back_to(&mut self, _: u64) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

impl Out for Vec<u8> {
    fn mark(&mut self) -> std::io::Result<Option<u64>> {
        Ok(u64::try_from(self.len()).ok())
    }

    fn back_to(&mut self, mark: u64) -> std::io::Result<()> {
        self.truncate(usize::try_from(mark).unwrap_or(usize::MAX));
        Ok(())
    }
}

pub(crate) fn export(args: &ExportArgs, form: Form, noise: Noise) -> Result<ExitCode, Failure> {
    let settings = Settings::of_store(&args.layers)?.store;
    let (written, opened) = crate::serve::runtime()?.block_on(async {
        let opened = stores::open_existing(&settings).await?;
        let bar = progress(noise, opened.report().map(|report| report.records));
        let written = match &args.file {
            None => export_to(&*opened.store, &mut std::io::stdout().lock(), bar).await,
            Some(path) => export_file(&*opened.store, path, bar).await,
        };
        opened.hang_up().await;
        Ok::<_, Failure>((written, opened))
    })?;
    opened.close();
    let told = written?.told("exported", form);
    match &args.file {
        Some(_) => crate::print(&told)?,
        // Stdout is the export.
        None if noise == Noise::Progress => crate::remark(&told),
        None => {}
    }
    Ok(ExitCode::SUCCESS)
}

async fn export_file(store: &dyn Store, path: &Path, bar: ProgressBar) -> Result<Total, Failure> {
    let file = File::create_new(path).map_err(|cause| {
        Failure::could_not_run(format!("{} cannot be made: {cause}", path.display()))
    })?;
    let mut file = BufWriter::new(file);
    let total = export_to(store, &mut file, bar).await?;
    let file = file.into_inner().map_err(|error| of_writing(&error.into_error()))?;
    file.sync_all().map_err(|cause| of_writing(&cause))?;
    Ok(total)
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

async fn export_to(
    store: &dyn Store,
    out: &mut impl Out,
    bar: ProgressBar,
) -> Result<Total, Failure> {
    let (release, at) = (env!("CARGO_PKG_VERSION").to_owned(), SystemClock::new().now());
    put(out, &Head { bellpunch_export: FORMAT, release, at })?;
    let mut total = Total::default();
    for partition in stores::partitions(store).await? {
        total.add(&export_partition(store, &partition, (out, &bar)).await?);
    }
    put(out, &Foot { records: total.items() })?;
    out.flush().map_err(|cause| of_writing(&cause))?;
    bar.finish_and_clear();
    Ok(total)
}

/// Writes a partition as of one instant. If others write it too, it is written again until it was
/// read twice alike.
async fn export_partition(
    store: &dyn Store,
    partition: &Partition,
    (out, bar): (&mut impl Out, &ProgressBar),
) -> Result<digest::Sum, Failure> {
    let mut settling = Settling::of(store, partition);
    let mark = out.mark().map_err(|cause| of_writing(&cause))?;
    loop {
        // What cannot go back is written by the second pass alone.
        let passes = settling.passes();
        let silent = settling.is_shared() && mark.is_none() && passes == 0;
        match mark {
            Some(mark) if passes != 0 => out.back_to(mark).map_err(|cause| of_writing(&cause))?,
            None if 1 < passes => return Err(settling.written()),
            Some(_) | None => {}
        }
        let sum = digest::pass(store, partition, |item| {
            if silent {
                return Ok(());
            }
            bar.inc(1);
            match item {
                digest::Item::Record(key, record) => put(out, &line(partition, key, record)?),
                digest::Item::Floor(kind, floor) => put(
                    out,
                    &FloorLine {
                        partition: partition.clone(),
                        kind: kind.name().to_owned(),
                        floor: floor.version,
                        at: floor.at,
                    },
                ),
            }
        });
        let sum = sum.await?;
        if settling.settled(sum)? {
            return Ok(sum);
        }
    }
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

pub(crate) fn import(args: &ImportArgs, form: Form, noise: Noise) -> Result<ExitCode, Failure> {
    let settings = Settings::of_store(&args.layers)?.store;
    // All of it is read before any of it is written.
    let survey = survey(Reader::open(&args.file)?)?;
    let (imported, opened) = crate::serve::runtime()?.block_on(async {
        let opened = stores::open(&settings).await?;
        let imported = import_file(&*opened.store, &args.file, (&survey, noise)).await;
        opened.hang_up().await;
        Ok::<_, Failure>((imported, opened))
    })?;
    opened.close();
    let compared = imported?;
    crate::print(&compared.told(form))?;
    Ok(if compared.is_equal() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

async fn import_file(
    store: &dyn Store,
    path: &Path,
    (survey, noise): (&Survey, Noise),
) -> Result<Compared, Failure> {
    refuse_used(store, survey).await?;
    import_from(store, Reader::open(path)?, progress(noise, Some(survey.items))).await?;
    let bar = progress(noise, Some(survey.items));
    compare(store, Reader::open(path)?, (survey, &bar)).await
}

/// What a file says, before any of it is written.
#[derive(Default)]
struct Survey {
    items: u64,
    /// What purged records left, by partition and kind.
    floors: BTreeMap<Partition, BTreeMap<Kind, Floor>>,
}

/// Counts what a file has, and makes sure that it is in order: each record once.
fn survey(mut reader: Reader<'_, impl BufRead>) -> Result<Survey, Failure> {
    let (mut survey, mut before) = (Survey::default(), None);
    while let Some(item) = reader.item(survey.items)? {
        survey.items = survey.items.saturating_add(1);
        let place = Place::of(&item);
        let floors = survey.floors.entry(item.partition().clone()).or_default();
        if let Item::Floor(line) = &item {
            let floor = Floor { version: line.floor, at: line.at };
            floors.insert(Kind::named(&line.kind), floor);
        }
        if before.is_some_and(|before| place <= before) {
            return Err(reader.wrong("it is out of order: this is no whole export"));
        }
        before = Some(place);
    }
    Ok(survey)
}

/// Where a line stands.
#[derive(Eq, Ord, PartialEq, PartialOrd)]
struct Place {
    partition: Partition,
    floor: bool,
    kind: String,
    id: String,
}

impl Place {
    fn of(item: &Item<'_>) -> Self {
        let partition = item.partition().clone();
        match item {
            Item::Record(Line { kind, id, .. }) => {
                Self { partition, floor: false, kind: kind.clone(), id: id.clone() }
            }
            Item::Floor(line) => {
                Self { partition, floor: true, kind: line.kind.clone(), id: String::new() }
            }
        }
    }
}

async fn refuse_used(store: &dyn Store, survey: &Survey) -> Result<(), Failure> {
    for partition in survey.floors.keys() {
        let mut walk = Walk::new(store, partition, None).with_removed();
        if !walk.page().await?.is_empty() || !walk.floors.is_empty() {
            return Err(Failure::unsafe_to_run(format!(
                "partition {partition} is not empty: import into an unused store"
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
    let properties = store.properties();
    let room = (BATCH.min(properties.records_max), BATCH_BYTES.min(properties.bytes_max));
    let mut batch = Batch::default();
    let mut records = 0_u64;
    while let Some(item) = reader.item(records)? {
        records = records.saturating_add(1);
        bar.inc(1);
        if batch.is_full(&item, room) {
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
    fn is_full(&self, item: &Item<'_>, (records_max, bytes_max): (usize, usize)) -> bool {
        let partition = item.partition();
        self.partition.as_ref().is_some_and(|ours| ours != partition)
            || records_max <= self.writes.len()
            || bytes_max < self.bytes.saturating_add(item.bytes())
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
                at: floor.at,
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
        let commit = Arc::new(commit);
        let mut result = None;
        // The same commit sent again is known by its id.
        for _ in 0..SENDS_MAX {
            result = store.commit(vec![Arc::clone(&commit)]).await.pop();
            if !matches!(result, Some(CommitResult::Unknown)) {
                break;
            }
        }
        let why = match result {
            Some(CommitResult::Committed { .. }) => return Ok(()),
            Some(CommitResult::Failed(failure)) => failure.to_string(),
            Some(CommitResult::Conflict { .. }) => "somebody else writes there".to_owned(),
            Some(CommitResult::ClockAhead { .. }) => {
                "this machine's clock is ahead of the store's".to_owned()
            }
            _ => "the store's replies were lost".to_owned(),
        };
        Err(Failure::could_not_run(format!(
            "the import did not finish: {why}. Begin again in an unused store"
        )))
    }
}

/// Random bits, of the operating system.
pub(crate) fn random() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system has random bits");
    u128::from_le_bytes(bytes)
}

/// Imports a file of these bytes into a store that is empty, if it is one.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) async fn import_bytes(store: &dyn Store, bytes: &[u8]) -> Result<Compared, Failure> {
    let path = Path::new("a file");
    let survey = survey(Reader::of(path, bytes)?)?;
    refuse_used(store, &survey).await?;
    import_from(store, Reader::of(path, bytes)?, ProgressBar::hidden()).await?;
    compare(store, Reader::of(path, bytes)?, (&survey, &ProgressBar::hidden())).await
}

/// What a store is exported as.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) async fn export_bytes(store: &dyn Store) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    export_to(store, &mut bytes, ProgressBar::hidden()).await?;
    Ok(bytes)
}

#[cfg(test)]
pub(crate) mod tests;
