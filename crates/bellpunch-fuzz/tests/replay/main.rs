//! The corpora of `fuzz/corpus`, and mutations of them, at every reader of bytes from outside.
//!
//! Each input is read or refused, never a panic, within a second and within memory of a multiple
//! of its length. Files named `valid-…` have to be read. `BELLPUNCH_SEED` repeats a run;
//! `BELLPUNCH_FUZZ_SECONDS` has it go on for so long at each target.
#![expect(clippy::unwrap_used, reason = "tests stop at the unexpected")]
#![expect(clippy::indexing_slicing, reason = "tests stop at the unexpected")]
#![expect(clippy::arithmetic_side_effects, reason = "overflow is checked, and ends the test")]

mod corpus;
mod mutate;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bellpunch_fuzz::{TARGETS, Target};
use peak_alloc::PeakAlloc;

use mutate::Random;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Mutations of a target's corpus in a run without `BELLPUNCH_FUZZ_SECONDS`.
const MUTATIONS: usize = 1_000;
/// The longest mutation.
const BYTES_MAX: usize = 64 << 10;
/// What a target may take at most: so many bytes, and so many more for each byte it was given.
const MEMORY_BASE: usize = 8 << 20;
const MEMORY_FACTOR: usize = 512;
/// Far above what is needed, below what anybody waits for.
const TIME: Duration = Duration::from_secs(5);

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[expect(clippy::disallowed_methods, reason = "a random test takes its seed back")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

fn seed() -> u64 {
    let seed = number("BELLPUNCH_SEED").unwrap_or_else(|| {
        let marker = Box::new(0_u8);
        // Where the allocator and the linker put things differs from run to run.
        let place = format!("{:p}{}", &raw const *marker, std::process::id());
        place.bytes().fold(1_469_598_103_934_665_603, |seed: u64, byte| {
            (seed ^ u64::from(byte)).wrapping_mul(1_099_511_628_211)
        })
    });
    say(&format!("BELLPUNCH_SEED={seed}"));
    seed
}

/// The files of a target's corpus, by name.
#[expect(clippy::disallowed_methods, reason = "a corpus is files")]
fn corpus_of(target: &Target) -> BTreeMap<String, Vec<u8>> {
    let folder = root().join("corpus").join(target.name);
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    entries.map(|path| (name(&path), std::fs::read(&path).unwrap())).collect()
}

/// What runs of a target came to.
#[derive(Default)]
struct Runs {
    inputs: usize,
    read: usize,
    longest: Duration,
    most: usize,
}

impl Runs {
    /// Runs a target on one input; whether it was read.
    #[expect(clippy::disallowed_methods, reason = "an input must not hang")]
    fn run(&mut self, target: &Target, (name, bytes): (&str, &[u8])) -> bool {
        MEMORY.reset_peak_usage();
        let (before, begun) = (MEMORY.current_usage(), Instant::now());
        let result = catch_unwind(AssertUnwindSafe(|| (target.run)(bytes)));
        let (took, memory) = (begun.elapsed(), MEMORY.peak_usage().saturating_sub(before));
        let shown = || {
            let shown = bytes.escape_ascii().to_string();
            format!("{} {name}, {} bytes: {shown}", target.name, bytes.len())
        };
        let Ok(read) = result else { panic!("panicked: {}", shown()) };
        let allowed = MEMORY_BASE + MEMORY_FACTOR * bytes.len();
        assert!(memory <= allowed, "took {memory} bytes of memory: {}", shown());
        assert!(took <= TIME, "took {took:?}: {}", shown());
        self.inputs += 1;
        self.read += usize::from(read);
        self.longest = self.longest.max(took);
        self.most = self.most.max(memory);
        read
    }

    fn tell(&self, target: &Target, corpus: usize) {
        let Self { inputs, read, longest, most } = self;
        say(&format!(
            "{:<14} {corpus:>3} files {inputs:>6} inputs {read:>6} read  longest {longest:>7.1?}  \
             most {} KiB",
            target.name,
            most >> 10
        ));
    }
}

/// One test, since memory is counted for the whole process.
#[test]
#[expect(clippy::disallowed_methods, reason = "a long run ends by the clock")]
fn every_reader_reads_or_refuses() {
    corpus::update();
    let (mut random, seconds) = (Random(seed()), number("BELLPUNCH_FUZZ_SECONDS"));
    let mut misnamed = Vec::new();
    for target in &TARGETS {
        let corpus = corpus_of(target);
        assert!(corpus.len() < 60, "{}: keep few files, each for a reason", target.name);
        let mut runs = Runs::default();
        // What is made once, as the tables of commands, is not of an input.
        let _ = (target.run)(b"");
        let mut inputs: Vec<&[u8]> = corpus.values().map(Vec::as_slice).collect();
        for (name, bytes) in &corpus {
            let read = runs.run(target, (name, bytes));
            if read {
                // What is nearly right gets further than what is not.
                inputs.extend([bytes.as_slice(); 4]);
            }
            if name.starts_with(if read { "wrong-" } else { "valid-" }) {
                misnamed.push(format!("{}/{name}: read is {read}", target.name));
            }
        }
        assert!(0 < runs.read && runs.read < runs.inputs, "{}: no contrast", target.name);
        let begun = Instant::now();
        for round in 0.. {
            let done = match seconds {
                Some(seconds) => Duration::from_secs(seconds) <= begun.elapsed(),
                None => MUTATIONS <= round,
            };
            if done {
                break;
            }
            let mut bytes = mutate::mutated(&mut random, target.form, &inputs);
            bytes.truncate(BYTES_MAX);
            runs.run(target, ("mutated", &bytes));
        }
        runs.tell(target, corpus.len());
    }
    assert_eq!(misnamed, Vec::<String>::new(), "names say what becomes of them");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the files of the fuzzer are looked at")]
fn the_fuzzer_has_the_same_targets() {
    let manifest = String::from_utf8(std::fs::read(root().join("Cargo.toml")).unwrap()).unwrap();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root().join("fuzz_targets")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = String::from_utf8(std::fs::read(&path).unwrap()).unwrap();
        assert!(text.contains(&format!("bellpunch_fuzz::{name}(bytes)")), "{text}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is in no manifest");
        names.push(name);
    }
    names.sort();
    assert_eq!(names, TARGETS.map(|target| target.name));
}
