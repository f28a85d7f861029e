//! The image: a folder of exactly 64 KiB, as a store wrote it.
//!
//! It is kept in `testdata/sweep`, since when a store compacts is a matter of timing, and a damage
//! is named by its place. `UPDATE_EXPECT=1` makes it anew.

use std::path::PathBuf;
use std::sync::Arc;

use bellpunch_disk::testing::{Dump, FaultFiles, Loss, Recovered};
use bellpunch_disk::{DiskConfig, DiskStore, Files};
use bellpunch_store::kit::{KitClock, block_on};
use bellpunch_store::{
    Commit, CommitId, CommitResult, Kind, Partition, Precondition, RecordId, RecordKey, Store,
    Write, WriteValue,
};

use crate::clock;
use crate::damage::{Blocks, Damage, Place};

const BYTES: usize = 65_536;
/// The mark of an orderly close.
const CLOSED: &str = "closed";
/// How a batch begins; no value of the image has the first byte.
const BATCH: &[u8] = b"\xfeBP1";

/// How a store was left.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Left {
    Closed,
    Killed,
}

/// A folder of a store, and what is in it.
pub(crate) struct Image {
    pub(crate) left: Left,
    files: Vec<(String, Vec<u8>)>,
    names: Vec<String>,
    /// Where each batch begins.
    pub(crate) batches: Vec<Place>,
    pub(crate) state: Dump,
    pub(crate) before_last: Dump,
    /// The states after each batch of the last segment.
    reached: Vec<Dump>,
}

impl Image {
    #[expect(clippy::disallowed_methods, reason = "the image is read, and written when asked")]
    pub(crate) fn read(left: Left) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/sweep");
        if std::env::var("UPDATE_EXPECT").is_ok() && left == Left::Closed {
            let _ = std::fs::remove_dir_all(&folder);
            std::fs::create_dir_all(&folder).unwrap();
            for (name, bytes) in make() {
                std::fs::write(folder.join(name), bytes).unwrap();
            }
        }
        let mut files: Vec<(String, Vec<u8>)> = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            files.push((name, std::fs::read(path).unwrap()));
        }
        if left == Left::Killed {
            files.retain(|(name, _)| name != CLOSED);
        }
        files.sort();
        Self::of(left, files)
    }

    fn of(left: Left, files: Vec<(String, Vec<u8>)>) -> Self {
        let mut batches = Vec::new();
        for (file, (name, bytes)) in files.iter().enumerate() {
            if name != CLOSED {
                let starts = bytes.windows(BATCH.len()).enumerate();
                let starts = starts.filter(|(_, window)| *window == BATCH);
                batches.extend(starts.map(|(at, _)| Place { file, at }));
            }
        }
        let last = *batches.last().unwrap();
        let cut_at = |at: usize| {
            let mut cut: Vec<_> = files.clone();
            cut.retain(|(name, _)| name != CLOSED);
            cut[last.file].1.truncate(at);
            dump(&folder(&cut))
        };
        let ends = batches.iter().filter(|place| place.file == last.file).map(|place| place.at);
        let reached: Vec<Dump> = ends.map(cut_at).collect();
        let (state, before_last) = (dump(&folder(&files)), cut_at(last.at));
        let names = files.iter().map(|(name, _)| name.clone()).collect();
        Self { left, files, names, batches, state, before_last, reached }
    }

    /// A copy to damage.
    pub(crate) fn files(&self) -> FaultFiles {
        folder(&self.files)
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    pub(crate) fn bytes(&self) -> usize {
        self.files.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    pub(crate) fn last(&self) -> Place {
        *self.batches.last().unwrap()
    }

    pub(crate) fn reached(&self, state: &Dump) -> bool {
        *state == self.state || self.reached.contains(state)
    }

    fn places(&self) -> impl Iterator<Item = Place> {
        let files = self.files.iter().enumerate();
        files.flat_map(|(file, (_, bytes))| (0..bytes.len()).map(move |at| Place { file, at }))
    }

    pub(crate) fn flips(&self) -> Vec<Damage> {
        self.places().flat_map(|place| (0..8).map(move |bit| Damage::Flip(place, bit))).collect()
    }

    pub(crate) fn cuts(&self) -> Vec<Damage> {
        self.places().map(Damage::Cut).collect()
    }

    /// Every pair of aligned blocks, also of different files.
    pub(crate) fn blocks(&self, bytes: usize, damage: fn(Blocks) -> Damage) -> Vec<Damage> {
        let mut blocks = Vec::new();
        for (file, (_, content)) in self.files.iter().enumerate() {
            let starts = (0..content.len()).step_by(bytes);
            let whole = starts.filter(|at| at + bytes <= content.len());
            blocks.extend(whole.map(|at| Place { file, at }));
        }
        let mut damages = Vec::new();
        for (index, one) in blocks.iter().enumerate() {
            for two in &blocks[index + 1..] {
                damages.push(damage(Blocks { one: *one, two: *two, bytes }));
            }
        }
        damages
    }
}

fn folder(files: &[(String, Vec<u8>)]) -> FaultFiles {
    let folder = FaultFiles::default();
    let session = folder.session();
    for (name, bytes) in files {
        session.create(name).unwrap().write_at(bytes, 0).unwrap();
    }
    folder.after(folder.steps().len(), Loss::Nothing)
}

fn dump(files: &FaultFiles) -> Dump {
    Recovered::open(&*files.session(), &clock()).unwrap().dump().unwrap()
}

fn contents(files: &FaultFiles) -> Vec<(String, Vec<u8>)> {
    let mut contents = Vec::new();
    for name in files.names() {
        let mut bytes = Vec::new();
        files.change(&name, |content| bytes.clone_from(content));
        contents.push((name, bytes));
    }
    contents
}

static KINDS: [Kind; 6] = [
    Kind::new("blobs"),
    Kind::new("charges"),
    Kind::new("counters"),
    Kind::new("holds"),
    Kind::new("outcomes"),
    Kind::new("quotas"),
];
const PARTITIONS: [&str; 5] = ["acme", "bell", "caf\u{e9}", "d", "_"];

/// A store of several segments, one of them compacted away, of exactly so many bytes.
fn make() -> Vec<(String, Vec<u8>)> {
    let files = FaultFiles::default();
    let small = DiskConfig { segment_bytes: 12 << 10, slack_bytes: 2 << 10, ..config() };
    let mut writer = Writer::open(&files, &small, 64);
    while length(&files) < 44 << 10 || files.names().contains(&"00000001.log".to_owned()) {
        writer.commit(0);
        assert!(length(&files) < 60 << 10, "compaction does not keep up");
    }
    writer.store.close();
    // From here on nothing is compacted, so that the length is known ahead.
    let mut pad = 1;
    loop {
        let copy = files.after(files.steps().len(), Loss::Nothing);
        let mut writer = Writer::open(&copy, &config(), 65);
        while length(&copy) < BYTES - (2 << 10) {
            writer.commit(0);
        }
        writer.commit(pad);
        writer.store.close();
        let bytes = length(&copy);
        if bytes == BYTES {
            return contents(&copy);
        }
        assert_eq!(pad, 1, "{bytes} bytes with {pad} more");
        pad = BYTES - bytes + 1;
    }
}

fn length(files: &FaultFiles) -> usize {
    contents(files).iter().map(|(_, bytes)| bytes.len()).sum()
}

fn config() -> DiskConfig {
    DiskConfig::new("data")
}

/// Commits as the engine makes them.
struct Writer {
    store: DiskStore,
    clock: Arc<KitClock>,
    seed: u64,
}

impl Writer {
    fn open(files: &FaultFiles, config: &DiskConfig, seed: u64) -> Self {
        let clock = Arc::new(KitClock::new());
        let files: Arc<dyn Files> = files.session();
        let shared: Arc<KitClock> = Arc::clone(&clock);
        let store = DiskStore::open_on(files, config, shared).unwrap();
        Self { store, clock, seed }
    }

    fn draw(&mut self, below: u64) -> u64 {
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    /// One commit of 1 to 5 records; one that is padded writes one more of so many bytes.
    fn commit(&mut self, pad: usize) {
        let id = (u128::from(self.draw(u64::MAX)) << 64) | u128::from(self.draw(u64::MAX));
        let partition = PARTITIONS[usize::try_from(self.draw(5)).unwrap()];
        let partition = Partition::new(partition).unwrap();
        let mut keys = Vec::new();
        for _ in 0..=self.draw(5) {
            let kind = &KINDS[usize::try_from(self.draw(6)).unwrap()];
            let id = self.draw(4);
            let key = RecordKey {
                kind: kind.clone(),
                id: RecordId::stored(&format!("{id}:n\u{e4}me-{id}")),
            };
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        if 0 < pad {
            keys.push(RecordKey { kind: KINDS[0].clone(), id: RecordId::stored("pad") });
        }
        let found = block_on(self.store.read(&partition, &keys)).unwrap();
        let now = self.clock.time();
        let (mut preconditions, mut writes) = (Vec::new(), Vec::new());
        for (key, before) in keys.into_iter().zip(found) {
            preconditions.push(Precondition { key: key.clone(), version: before.version });
            let value = match (key.id.as_str(), self.draw(10)) {
                ("pad", _) => WriteValue::Put(vec![b' '; pad].into()),
                (_, 0) => WriteValue::Purge,
                (_, 1) => WriteValue::Delete,
                _ => WriteValue::Put(self.value().into_bytes().into()),
            };
            let version = before.version.plus(1 + self.draw(2));
            let sweep_at = (self.draw(2) == 0).then_some(now);
            writes.push(Write { key, version, at: now, sweep_at, value });
        }
        let commit =
            Commit { id: CommitId::new(id), partition, now, deadline: None, preconditions, writes };
        let results = block_on(self.store.commit(vec![Arc::new(commit)]));
        assert!(matches!(results[..], [CommitResult::Committed { .. }]), "{results:?}");
    }

    /// Something like what the rules store.
    fn value(&mut self) -> String {
        let (limit, used) = (self.draw(1 << 40), self.draw(1 << 20));
        let text = "x".repeat(usize::try_from(self.draw(24)).unwrap());
        format!(
            "{{\"format\":1,\"record\":{{\"limit\":{limit},\"used\":{used},\"note\":\"{text}\"}}}}"
        )
    }
}
